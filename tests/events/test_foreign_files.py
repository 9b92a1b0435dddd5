"""Files that others wrote: every tree of scikit-hep-testdata is opened and its branches read (all of them in `make
studies`, some of each tree in the usual tests), no raw exception.
"""

import warnings
from pathlib import Path

import pytest

from bumpfit.errors import BumpfitError
from study_size import FULL

testdata = pytest.importorskip("skhep_testdata")
EVENTS = 5
MOST = None if FULL else 25  # branches of a tree, spread evenly
MOST_SIZES = 100  # of a tree with 1400 branches each wrong object is looked for among all names


def at_hand() -> list[Path]:
    """The files of the package (0.3.12 is the last whose wheel has them) or of its cache, else of the network."""
    kinds = (".root", ".lhe", ".lhe.gz", ".parquet")
    folders = {Path(testdata.__file__).parent / "data", Path.home() / ".local" / "skhepdata"}
    found = sorted(path for folder in folders if folder.is_dir() for path in folder.iterdir())
    if not found:
        try:
            found = [Path(testdata.data_path(name)) for name in sorted(testdata.known_files) if name.endswith(kinds)]
        except OSError:  # no network (errors of requests are OSErrors, too)
            pytest.skip("no file of scikit-hep-testdata is at hand: pip install scikit-hep-testdata==0.3.12 brings 141")
    return [path for path in found if path.name.endswith(kinds)]


def here(name: str) -> Path:
    return next((path for path in at_hand() if path.name == name), None) or pytest.skip(f"{name} is not at hand")


def test_branches_of_one_name_in_several_groups() -> None:
    """They were all read as the last one; now each by the name of its group, as uproot reads it."""
    import uproot

    from bumpfit import events

    path = here("uproot-issue126a.root")
    chunk = next(events.open(path, tree="ChannelSet").chunks(events=EVENTS))
    with uproot.open(path) as file:
        wanted = {group: file["ChannelSet"][f"{group}/fSamples"].array().tolist() for group in ("BLM1", "PSR_ph")}
    assert {group: events.observable(f"`{group}.fSamples`", chunk).tolist() for group in wanted} == wanted
    assert wanted["BLM1"] != wanted["PSR_ph"]
    with pytest.raises(BumpfitError, match="fSamples"):
        events.observable("fSamples", chunk)


def test_branches_of_one_path_are_refused() -> None:
    """A Delphes file with two branches `Particle` of 2519 and 201 entries; `Jet` is read as before."""
    from bumpfit import events

    chunk = next(events.open(here("uproot-issue513.root"), tree="Delphes").chunks(events=EVENTS))
    with pytest.raises(BumpfitError, match=r"'Particle.PT' stands more than once in the tree"):
        events.observable("particle0.pt", chunk)
    assert len(events.observable("jet0.pt", chunk)) == EVENTS


@pytest.mark.slow
def test_every_tree() -> None:
    import uproot

    from bumpfit import events
    from bumpfit.events.root import KINDS

    files = at_hand()
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
    assert read > (50 if FULL else 10) * len(files)  # 14 097 branches of 141 files


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
        branches = list(source.layout.branches.exact)
        for at, branch in enumerate(branches[:: max(1, len(branches) // (MOST or len(branches) or 1))]):
            for name in (f"`{branch}`", f"`{branch}`0.size")[: 1 + (at < MOST_SIZES)]:
                try:
                    events.observable(name, chunk)
                    read += name.endswith("`")
                except BumpfitError:
                    pass
                except Exception as error:
                    raw.append(f"{path.name}:{tree}:{name} {type(error).__name__}: {error}")
    return read
