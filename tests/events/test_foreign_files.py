"""Files that others wrote: every tree of scikit-hep-testdata is opened and every branch read, no raw exception."""

import warnings
from pathlib import Path

import pytest

from bumpfit.errors import BumpfitError

testdata = pytest.importorskip("skhep_testdata")
EVENTS = 5
MOST_BRANCHES = 2000


def at_hand() -> list[Path]:
    """The ROOT files and files of generators that are on this machine, fetched where the network allows."""
    names = [name for name in sorted(testdata.known_files) if name.endswith((".root", ".lhe", ".lhe.gz", ".parquet"))]
    try:
        return [Path(testdata.data_path(name)) for name in names]
    except OSError:  # no network (errors of requests are OSErrors, too): what was fetched earlier
        folders = {Path(testdata.__file__).parent / "data", Path.home() / ".local" / "skhepdata"}
        return [folder / name for folder in folders for name in names if (folder / name).is_file()]


@pytest.mark.slow
def test_every_tree() -> None:
    import uproot

    from bumpfit import events
    from bumpfit.events.root import KINDS

    files = at_hand()
    if not files:
        pytest.skip("no file of scikit-hep-testdata is at hand, and the network is not there")
    raw: list[str] = []
    read = 0
    for path in files:
        trees: list[str | None] = [None]
        if path.suffix == ".root":
            try:
                with uproot.open(path) as file:
                    trees = sorted({key.split(";")[0] for key, kind in file.classnames().items() if kind in KINDS})
            except Exception:  # files that uproot itself cannot open: the sentence is ours
                trees = [None]
        for tree in trees:
            read += _walk(events, path, tree, raw)
    assert not raw, f"{len(raw)} raw exceptions: {raw[:5]}"
    assert read > 100


def _walk(events, path: Path, tree: str | None, raw: list[str]) -> int:
    """Read every branch of a tree; how many could be read. What is no sentence of ours is added to `raw`."""
    read = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            source = events.open(path, tree=tree)
        except BumpfitError:
            return 0
        except Exception as error:
            raw.append(f"{path.name}:{tree} {type(error).__name__}: {error}")
            return 0
        chunk = next(source.chunks(events=EVENTS))
        for branch in list(source.layout.branches.exact)[:MOST_BRANCHES]:
            for name in (f"`{branch}`", f"`{branch}`0.size"):
                try:
                    events.observable(name, chunk)
                    read += name.endswith("`")
                except BumpfitError:
                    pass
                except Exception as error:
                    raw.append(f"{path.name}:{tree}:{name} {type(error).__name__}: {error}")
    return read
