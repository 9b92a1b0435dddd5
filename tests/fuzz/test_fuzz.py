"""Nonsense of every kind, bounded and seeded: each input ends in a result or in one sentence.

BUMPFIT_FUZZ multiplies the numbers of inputs (1 in the usual tests; 500, as in `make studies`, gives 1e5 cut
sentences, 4e4 workspaces, and 5e4 archives and files of toys each).
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


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, inner in members.items():
            archive.writestr(name, inner)
    return stream.getvalue()


def changed(whole: Path, draw: random.Random) -> bytes:
    """An archive whose bytes, a member of it (with the right checksum), or its JSON description is changed."""
    kind = draw.randrange(4)
    if kind == 0:
        return damaged(whole.read_bytes(), draw)
    members = members_of(whole)
    descriptions = [name for name in members if name.endswith(".json")]
    if kind < 3 and descriptions:
        name = draw.choice(descriptions)
        tree = mutated(json.loads(members[name]), draw)
        members[name] = json.dumps(tree).encode()
    else:
        name = draw.choice(list(members))
        members[name] = damaged(members[name], draw)
    return packed(members)


def write_archive(kind: str, path: Path) -> None:
    """A small archive of a kind."""
    from bumpfit import runs, scoring
    from bumpfit.events import dataset
    from bumpfit.scoring import models

    rng = np.random.default_rng(3)
    if kind == "piece":
        with runs.in_folder(path.parent / "out", {}, outputs=(), result="r.json") as run:
            run.piece("a", lambda: {"x": rng.random(30), "n": np.arange(3)})
            os.replace(run.pieces(runs.ARRAYS).path("a"), path)
        return
    made = dataset.Dataset(
        rng.random((30, 2)).astype("f4"), np.repeat([0, 1], 15).astype("i4"), np.ones(30), ("x", "y"), ("b", "s")
    )
    made.split().save(path)
    if kind == "hml":
        numbers = io.BytesIO()
        np.savez(numbers, samples=made.samples, targets=made.targets)
        configs = {"been_split": False, "observable_configs": {
            name: {"config": {"physics_object": "jet0", "class_name": name}} for name in ("pt", "mass")
        }}  # fmt: skip
        path.write_bytes(packed({"configs.json": json.dumps(configs).encode(), "data.npz": numbers.getvalue()}))
    elif kind in ("trees", "cuts"):
        settings = {"models": 1, "iterations": 3} if kind == "trees" else {"min_background": 2}
        models.train(scoring.approach(kind, **settings), made).save(path)


def read_archive(kind: str, path: Path) -> None:
    """What a user does with an archive."""
    from bumpfit import runs
    from bumpfit.events import dataset
    from bumpfit.scoring import models

    if kind == "piece":
        runs.ARRAYS.read(path)
    elif kind in ("trees", "cuts"):
        model = models.read(path)
        model.classifier.predict_proba(np.zeros((2, len(model.features))))
    else:
        found = dataset.read(path)
        assert len(found) == found.samples.shape[0] == found.targets.shape[0]
        repr(found)


@pytest.mark.parametrize("kind", ["ours", "hml", "trees", "cuts", "piece"])
def test_archives(kind: str, tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.zip", tmp_path / "a.zip"
    write_archive(kind, whole)
    read_archive(kind, whole)
    draw = random.Random(3)
    before = {file.name for file in tmp_path.iterdir()} | {path.name}
    for _ in range(number(20)):
        path.write_bytes(changed(whole, draw))
        ends_well(lambda: read_archive(kind, path))
    assert {file.name for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("weighted", [False, True])
def test_toys_files(weighted: bool, tmp_path: Path) -> None:
    """Bytes are changed, and, inside an intact Parquet file, the provenance and the columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from bumpfit import toys

    path, n = tmp_path / "a.parquet", 40
    value, counts = np.arange(n) * 0.5, np.full(n, 3)
    squares = {"weight": np.full(n, 0.1), "squares": np.full(n, 0.01)} if weighted else {}
    made = toys.Tally(
        "ab" * 32, "q0", 0.0, 0.0, 1, 4.0, ((0, 3 * n),), 0, value, counts, 2.5, course=((3.0 * n, 9.0, 9.0),),
        sums=((1.0, 2.0),), wanted=3 * n, **squares,
    )  # fmt: skip
    made.write(path)
    whole, table = path.read_bytes(), pq.read_table(path)
    provenance = json.loads(table.schema.metadata[b"bumpfit"])
    strange = [None, -1, 0, 2**62, float("nan"), float("inf"), 1e300, "x"]
    draw = random.Random(6)

    def use() -> None:
        found = toys.read(path)
        repr(found), found.to_dict(), found.quantile(0.5)
        found.p_value(draw.choice((0.0, 3.3, 1e9)))
        toys.merge([found, found])

    use_well = toys.read(path)
    assert use_well.p_value()[0] > 0
    for _ in range(number(50)):
        kind = draw.randrange(3)
        if kind == 0:
            path.write_bytes(damaged(whole, draw))
        else:
            content, columns = provenance, table.to_pydict()
            if kind == 1:
                content = mutated(provenance, draw)
            else:
                name = draw.choice(list(columns))
                columns[name][draw.randrange(n)] = draw.choice(strange)
                if draw.random() < 0.3:
                    columns[draw.choice((name, "zz", "value"))] = columns.pop(name)
            try:
                changed = pa.table(columns).replace_schema_metadata({"bumpfit": json.dumps(content)})
            except (pa.ArrowException, OverflowError):  # numbers and a text in one column
                changed = pa.table({name: [str(entry) for entry in entries] for name, entries in columns.items()})
            pq.write_table(changed, path)
        ends_well(use)


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
