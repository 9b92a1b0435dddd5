"""Lines of code that stand at the head of a module, without a prompt, are run too."""

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bumpfit
from bumpfit import histograms, inference, shapes, toys
from bumpfit.cli import main

ROOT = Path(bumpfit.__file__).parent
NOT_RUN = {
    "__init__.py": "a whole search: the README has these lines, which test_readme.py runs",
    "runs/__init__.py": "the frame of a command; tests/runs",
}


def indented(text: str) -> Iterator[str]:
    """Blocks of a docstring that are indented and have no prompt."""
    for block in re.findall(r"(?:^|\n\n)((?:    .*(?:\n|$)|\n(?=    ))+)", text):
        if ">>>" not in block:
            yield textwrap.dedent(block)


def calls(text: str) -> bool:
    """Whether this is Python that calls something."""
    try:
        return any(isinstance(node, ast.Call) for node in ast.walk(ast.parse(text)))
    except SyntaxError:
        return False


def found() -> dict[str, list[str]]:
    """Such blocks that call something, by file."""
    kept: dict[str, list[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        for block in indented(text):
            if calls(block):
                kept.setdefault(path.relative_to(ROOT).as_posix(), []).append(block)
    return kept


FOUND = found()


def test_lists_are_true() -> None:
    assert len(FOUND) >= 9 and set(NOT_RUN) <= set(FOUND)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the sketches speak of."""
    pytest.importorskip("uproot")
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    from bumpfit import events, workspace
    from bumpfit.events.representations import Image, Set
    from bumpfit.workspace import build

    folder = tmp_path_factory.mktemp("events")
    with pytest.raises(SystemExit):
        main(["simulate", "wtag", "signal", "-n", "30", "--workers", "1", "--quiet", "-o", str(folder / "run.root")])
    sample = build.sample("s", [2.0], build.modifier("normfactor", "mu"))
    model = workspace.read(build.workspace({"c": [sample, build.sample("b", [9.0])]}, {"c": [11]}, "mu"))
    edges = np.linspace(2900.0, 4400.0, 31)
    masses = 2900.0 + np.random.default_rng(1).exponential(300.0, 4000)
    return {
        "folder": folder, "events": events, "source": events.open(folder / "run.root"), "np": np, "Set": Set,
        "Image": Image, "inference": inference, "toys": toys, "Toys": toys.Toys, "shapes": shapes, "model": model,
        "histogram": histograms.fill(masses, edges),
    }  # fmt: skip


def jets() -> Any:
    """Three events with two jets, and a wide one of which the constituents are known."""
    import awkward as ak

    from bumpfit import events

    rng = np.random.default_rng(1)
    inside = {"pt": rng.exponential(20, (3, 1, 9)), "eta": rng.normal(0, 0.4, (3, 1, 9)),
              "phi": rng.normal(0, 0.4, (3, 1, 9))}  # fmt: skip
    wide = {name: np.full((3, 1), value) for name, value in
            {"pt": 300.0, "eta": 0.0, "phi": 0.0, "mass": 80.0, "tau1": 0.4, "tau2": 0.1}.items()}  # fmt: skip
    two = {name: rng.uniform(0.5, 2, (3, 2)) for name in ("pt", "eta", "phi", "mass")}
    constituents = ak.zip({name: ak.Array(values.tolist()) for name, values in inside.items()})
    lists = {name: ak.Array(values.tolist()) for name, values in wide.items()}
    return events.open({
        "fatjet": ak.zip({**lists, "constituents": constituents}, depth_limit=2),
        "jet": ak.zip({name: ak.Array(values.tolist()) for name, values in two.items()}),
    })  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("file", [file for file in FOUND if file not in NOT_RUN])
def test_a_sketch_runs(file: str, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(names["folder"])
    if file == "events/representations.py":
        names = {**names, "source": jets()}
    for block in FOUND[file]:
        text = re.sub(r"(?<=Toys\()\d[\d_]*", "200", block)
        exec(compile(text, file, "exec"), dict(names))
