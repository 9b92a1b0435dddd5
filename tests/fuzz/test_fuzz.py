"""Nonsense of every kind, bounded and seeded: each input ends in a result or in one sentence.

BUMPFIT_FUZZ multiplies the numbers of inputs (1 in the usual tests; 500 gives 1e5 cut sentences).
"""

import copy
import io
import json
import os
import random
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bumpfit.errors import BumpfitError

TIMES = float(os.environ.get("BUMPFIT_FUZZ", "1"))
NAMES = "x y jet.pt jet0.pt jet1:3.pt met.met jet,jet1.delta_r count sum min max sqrt log and or not veto any all [any]"
MARKS = "( ) < <= > >= == != + - * / ** ^ & && | ! ~ , . ` = => # ' \" \\ : [ ] {"
OTHERS = "1 2.5 1e9 1e999 0x1 .5 5. `a \x1b \u202e ü 😀"
WORDS = " ".join((NAMES, MARKS, OTHERS)).split(" ")
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 2**70, 1e308, -1e-308, float("nan"), float("inf"), "", "x" * 300, "\x1b[2J", "$x^{", [], [[]],
    {}, {"a": 1}, [None], "histosys", "mu",
)  # fmt: skip


def number(n: int) -> int:
    return max(1, int(n * TIMES))


def ends_well(call: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            call()
        except BumpfitError as error:
            assert str(error).strip()


def test_cut_sentences() -> None:
    import awkward as ak

    from bumpfit import events

    source = events.open({
        "x": np.array([1.0, np.nan, 3.0]), "y": np.array([1, 2, 3]), "jet.pt": ak.Array([[3.0, 1.0], [], [2.0]]),
        "jet.eta": ak.Array([[0.0, 1.0], [], [2.0]]), "jet.phi": ak.Array([[0.0, 1.0], [], [2.0]]),
        "met.met": np.array([1.0, 2.0, 3.0]), "a b": np.array([True, False, True]),
    })  # fmt: skip
    draw = random.Random(1)
    for _ in range(number(200)):
        text = " ".join(draw.choices(WORDS, k=draw.randint(1, 12)))
        ends_well(lambda text=text: events.mask(text, source))
        ends_well(lambda text=text: events.observable(text, source))


SPEC: dict[str, Any] = {
    "channels": [{"name": "SR", "samples": [
        {"name": "s", "data": [5.0, 3.0], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
        {"name": "b", "data": [50.0, 40.0], "modifiers": [
            {"name": "n", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
            {"name": "h", "type": "histosys", "data": {"hi_data": [52.0, 41.0], "lo_data": [49.0, 39.0]}},
            {"name": "stat", "type": "staterror", "data": [2.0, 1.0]}]}]}],
    "observations": [{"name": "SR", "data": [55, 41]}],
    "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [{"name": "mu", "bounds": [[0, 10]]}]}}],
    "version": "1.0.0",
}  # fmt: skip


def mutated(tree: Any, draw: random.Random) -> Any:
    """A copy with one to three changes at random places: other values, lost, repeated and renamed entries."""
    made = copy.deepcopy(tree)
    for _ in range(draw.randint(1, 3)):
        node = made
        while isinstance(node, dict | list) and node:
            key: Any = draw.choice(list(node)) if isinstance(node, dict) else draw.randrange(len(node))
            if not (isinstance(node[key], dict | list) and node[key]) or draw.random() < 0.2:
                kind = draw.randrange(4)
                if kind == 0:
                    node[key] = copy.deepcopy(draw.choice(VALUES))
                elif kind == 1:
                    del node[key]
                elif isinstance(node, list):
                    node.append(copy.deepcopy(node[key]))
                else:
                    node[draw.choice(("name", "type", "data", "bounds", "zz"))] = copy.deepcopy(node[key])
                break
            node = node[key]
    return made


@pytest.mark.parametrize("form", ["histfactory", "hs3"])
def test_workspaces(form: str, tmp_path: Path) -> None:
    from bumpfit import inference, workspace

    spec = SPEC
    if form == "hs3":
        workspace.write(workspace.read(SPEC), tmp_path / "a.json", format="hs3")
        spec = json.loads((tmp_path / "a.json").read_text())
    draw = random.Random(2)

    def whole(tree: Any, at: int) -> None:
        model = workspace.read(tree)
        values = {name: model.starts[place] for place, name in enumerate(model.parameters)} if at < 0 else {}
        assert values is not None
        if at % 10 == 0:
            inference.fit(model)

    for place in range(number(40)):
        tree = mutated(spec, draw)
        ends_well(lambda tree=tree, place=place: whole(tree, place))


def damaged(content: bytes, draw: random.Random) -> bytes:
    """Cut off, with changed, lost or repeated bytes."""
    kind = draw.randrange(4)
    if kind == 0:
        return content[: draw.randrange(len(content) + 1)]
    made = bytearray(content)
    for _ in range(draw.choice((1, 3, 30))):
        place = draw.randrange(len(made))
        if kind == 1:
            made[place] = draw.randrange(256)
        elif kind == 2:
            del made[place : place + draw.randint(1, 9)]
        else:
            made[place:place] = made[place : place + draw.randint(1, 99)]
        if not made:
            break
    return bytes(made)


def test_archives(tmp_path: Path) -> None:
    from bumpfit.events import dataset

    rng = np.random.default_rng(3)
    made = dataset.Dataset(
        rng.random((30, 2)).astype("f4"), np.repeat([0, 1], 15).astype("i4"), np.ones(30), ("x", "y"), ("b", "s")
    )
    made.split().save(tmp_path / "a.ds")
    whole = (tmp_path / "a.ds").read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    draw = random.Random(3)
    before = {path.name for path in tmp_path.iterdir()}
    for place in range(number(60)):
        if place % 2:
            content = damaged(whole, draw)
        else:  # inside a member, so that checksums are right
            stream = io.BytesIO()
            changed = draw.choice(list(members))
            with zipfile.ZipFile(stream, "w") as archive:
                for name, inner in members.items():
                    archive.writestr(name, damaged(inner, draw) if name == changed else inner)
            content = stream.getvalue()
        (tmp_path / "a.ds").write_bytes(content)
        ends_well(lambda: dataset.read(tmp_path / "a.ds"))
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".feather", ".h5", ".root", ".lhco"])
def test_tables(suffix: str, tmp_path: Path) -> None:
    import pandas as pd

    from bumpfit.events.tables import read

    rng = np.random.default_rng(4)
    frame = pd.DataFrame({"m_JJ": 3000 + rng.random(20), "m_J1": rng.random(20), "delta_m_J": rng.random(20)})
    path = tmp_path / f"a{suffix}"
    if suffix in (".csv", ".tsv"):
        frame.to_csv(path, sep="," if suffix == ".csv" else "\t")
    elif suffix == ".parquet":
        frame.to_parquet(path)
    elif suffix == ".feather":
        frame.to_feather(path)
    elif suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            for name in frame:
                file[f"events/{name}"] = frame[name].to_numpy()
    elif suffix == ".root":
        uproot = pytest.importorskip("uproot")
        with uproot.recreate(path) as file:
            file.mktree("Events", {name: np.dtype("f8") for name in frame}).extend(dict(frame.items()))
    else:
        path.write_text("0 1 3\n1 4 0.5 1.0 120.0 12.5 7 2 1.1 0 0\n2 6 0 3.0 60 0 0 0 0 0 0\n" * 5)
    whole = path.read_bytes()
    draw = random.Random(5)
    for _ in range(number(12)):
        path.write_bytes(damaged(whole, draw))
        ends_well(lambda: read(path, features=("m_J1", "delta_m_J")))
