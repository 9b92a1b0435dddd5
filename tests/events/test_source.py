import os
import sys
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from bumpfit import events
from bumpfit.errors import InputError, MissingExtraError
from bumpfit.events.source import Source

Same = Callable[..., None]
CUT = "jet.pt > 30 [any] and met0.met > 10"


def test_several_files_are_one_source(flat: str) -> None:
    one, three = events.open(flat), events.open([flat, flat, flat])
    assert (len(one), len(three)) == (400, 1200)
    for name in ("jet.pt", "jet0,jet1.inv_mass"):
        single = ak.to_list(events.observable(name, one))
        assert ak.to_list(events.observable(name, three)) == single * 3
    np.testing.assert_array_equal(events.mask(CUT, three), np.tile(events.mask(CUT, one), 3))


@pytest.mark.parametrize("step", [1, 7, 399, 400, 1000])
def test_chunks_cover_all_events_across_files(flat: str, step: int) -> None:
    source = events.open([flat, flat])
    chunks = list(source.chunks(events=step))
    assert [len(chunk) for chunk in chunks] == [min(step, 800 - start) for start in range(0, 800, step)]
    joined = np.concatenate([events.mask(CUT, chunk) for chunk in chunks[:5]])
    np.testing.assert_array_equal(joined, events.mask(CUT, source)[: len(joined)])


def test_chunks_are_sized_by_what_they_read(flat: str) -> None:
    source = events.open([flat] * 30)
    sizes = []
    for chunk in source.chunks(chunk_bytes=20_000):
        events.observable("jet.pt", chunk)
        sizes.append(chunk.nbytes)
    assert len(sizes) > 3 and max(sizes[1:]) < 40_000


def test_patterns(flat: str) -> None:
    assert len(events.open(flat.replace("flat.root", "fl*.root"))) == 400
    with pytest.raises(InputError, match="no file matches"):
        events.open("nothing*.root")


def parquet(path: Path, collections: dict[str, ak.Array]) -> str:
    table = pa.table({name: ak.to_arrow(values, extensionarray=False) for name, values in collections.items()})
    pq.write_table(table, path, row_group_size=130)
    return str(path)


def test_parquet_with_records(tmp_path: Path, collections: dict[str, ak.Array], flat: str, same: Same) -> None:
    source = events.open(parquet(tmp_path / "a.parquet", collections))
    for name in ("jet.pt", "jet0.b_tag", "jet0,jet1.inv_mass", "jet.size", "lepton0.pt"):
        same(events.observable(name, source), events.observable(name, flat))
    assert events.open([source.paths[0]] * 2).all().column("Jet").ndim == 2


@pytest.mark.parametrize("kind", ["tree", "ntuple"])
def test_nanoaod_names(tmp_path: Path, collections: dict[str, ak.Array], flat: str, same: Same, kind: str) -> None:
    jet = collections["Jet"]
    path = str(tmp_path / "nano.root")
    content = {
        "Jet": ak.zip({"pt": jet.PT, "eta": jet.Eta, "phi": jet.Phi, "mass": jet.Mass}),
        "MET_pt": np.arange(400.0),
    }
    with uproot.recreate(path) as file:
        if kind == "tree":
            file.mktree("Events", {"Jet": content["Jet"].type.content, "MET_pt": "f8"}).extend(content)
        else:
            file.mkrntuple("Events", content)
    source = events.open(path)
    same(events.observable("jet0,jet1.inv_mass", source), events.observable("jet0,jet1.inv_mass", flat), 1e-6)
    assert events.mask("MET_pt >= 200 and jet.size >= 0", source).sum() == 200
    np.testing.assert_array_equal(
        events.mask("jet.pt > 30 and jet.eta < 1 [any]", source), events.mask("jet.pt > 30 and jet.eta < 1 [any]", flat)
    )
    if kind == "tree":
        np.testing.assert_array_equal(
            events.mask("Jet_pt > 30 and jet.eta < 1 [any]", source),
            events.mask("jet.pt > 30 and jet.eta < 1 [any]", flat),
        )


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".h5"])
def test_search_tables_are_sources(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"m_JJ": [3.1, 3.5, 3.6], "m_J1": [0.1, 0.2, 0.5], "tau_2_over_tau_1_J1": [0.1, 0.9, 0.2]})
    path = tmp_path / f"a{suffix}"
    if suffix == ".csv":
        frame.to_csv(path)
    elif suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_hdf(path, key="df")
    for source in (events.open(path), events.open(frame), path, [path]):
        assert ak.to_list(events.observable("m_JJ", source)) == [3.1, 3.5, 3.6]
        assert events.mask("M_jj > 3.2 and max(m_J1, 0.3) > 2*tau_2_over_tau_1_J1", source).tolist() == [
            False,
            False,
            True,
        ]
    with pytest.raises(InputError, match=r"no column 'm_J'.*did you mean m_JJ.*the columns m_J1, m_JJ, tau"):
        events.observable("m_J", frame)


def test_arrays_in_memory() -> None:
    source = events.open({"x": np.arange(3), "Jet_pt": ak.Array([[1.0], [], [2.0, 3.0]]), "nJet": [1, 0, 2]})
    assert isinstance(source, Source) and source.sha256() == {}
    assert ak.to_list(events.observable("jet.size", source)) == [1, 0, 2]
    with pytest.raises(InputError, match=r"different lengths: \[2, 3\]"):
        events.open({"x": [1, 2], "y": [1, 2, 3]})


def test_columns_of_words() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "label": ["signal", "background"]})
    assert events.mask("x > 1", frame).tolist() == [False, True]
    with pytest.raises(InputError, match="'label' holds no numbers"):
        events.mask("label > 1", frame)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("arrays", "source", "opening", "observables")
    for module in (f"bumpfit.events.{name}" for name in names):
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, "awkward", None)
    with pytest.raises(MissingExtraError, match=r"'awkward', which is not installed: pip install 'bumpfit\[root\]'"):
        events.open("a.root")


def test_empty_tree(tmp_path: Path) -> None:
    path = str(tmp_path / "empty.root")
    with uproot.recreate(path) as file:
        tree = file.mktree("Events", {"x": np.float64, "Jet_pt": ak.Array([[1.0]]).type.content})
        tree.extend({"x": np.empty(0), "Jet_pt": ak.Array([[1.0]])[:0]})
    source = events.open(path)
    assert len(source) == 0 and events.mask("x > 1", source).shape == (0,)
    assert events.mask("jet_pt > 1", source).shape == (0,)


def test_which_tree(tmp_path: Path) -> None:
    path = str(tmp_path / "two.root")
    with uproot.recreate(path) as file:
        for name, n in (("a", 2), ("b", 3)):
            file.mktree(name, {"x": np.int64}).extend({"x": np.arange(n)})
    with pytest.raises(InputError, match="several trees: a, b; choose one"):
        events.open(path)
    assert len(events.open(path, tree="b")) == 3
    with pytest.raises(InputError, match="no tree 'c'; it has a, b"):
        events.open(path, tree="c")
    with uproot.recreate(path) as file:
        file["h"] = np.histogram([1.0, 2.0])
    with pytest.raises(InputError, match="holds no tree"):
        events.open(path)


def test_wrong_files(tmp_path: Path, flat: str, delphes: str) -> None:
    with pytest.raises(InputError, match="there is no file"):
        events.open(tmp_path / "no.root")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"no known suffix; expected one of \.root"):
        events.open(tmp_path / "a.txt")
    with pytest.raises(InputError, match="no files were given"):
        events.open([])
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(InputError, match="of different kinds: root, table"):
        events.open([flat, tmp_path / "a.csv"])
    (tmp_path / "b.csv").write_text("y\n1\n")
    with pytest.raises(InputError, match="other columns"):
        events.open([tmp_path / "a.csv", tmp_path / "b.csv"])
    with pytest.raises(InputError, match="has no branch"):
        events.open([delphes, flat])
    (tmp_path / "c.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        events.open(tmp_path / "c.parquet")


@pytest.mark.parametrize("keep", [0.0, 0.001, 0.3, 0.9])
def test_truncated_root_file(tmp_path: Path, flat: str, keep: float) -> None:
    whole = Path(flat).read_bytes()
    path = tmp_path / "cut.root"
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(InputError, match="cannot be read as a ROOT file") as failure:
        events.mask(CUT, events.open(path))
    assert "\n" not in str(failure.value) and os.fspath(path) in str(failure.value)


def test_damaged_root_file(tmp_path: Path, flat: str) -> None:
    """Random bytes overwritten: a result or an InputError, nothing else."""
    whole = np.frombuffer(Path(flat).read_bytes(), np.uint8)
    rng = np.random.default_rng(5)
    failed = 0
    for _ in range(40):
        broken = whole.copy()
        start = rng.integers(0, len(whole))
        broken[start : start + rng.integers(1, 300)] = rng.integers(0, 256)
        path = tmp_path / "broken.root"
        path.write_bytes(broken.tobytes())
        try:
            assert events.mask(CUT, events.open(path)).dtype == bool
        except InputError as error:
            failed += 1
            assert "\n" not in str(error).split("\n  ")[0]
    assert failed > 0


@pytest.mark.parametrize("packed", ["LZ4", "ZSTD", "ZLIB", "LZMA"])
@pytest.mark.parametrize("kind", ["mktree", "mkrntuple"])
def test_damaged_content_of_every_compression(tmp_path: Path, packed: str, kind: str) -> None:
    columns = {"x": np.arange(4000.0) % 17, "y": np.arange(4000) % 5}
    path = tmp_path / "whole.root"
    with uproot.recreate(path, compression=getattr(uproot, packed)(4)) as file:
        getattr(file, kind)("Events", {name: values.dtype for name, values in columns.items()}).extend(columns)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    assert events.mask("x > 3", events.open(path)).sum() == (columns["x"] > 3).sum()
    rng = np.random.default_rng(5)
    failed = 0
    for _ in range(30):
        broken = whole.copy()
        start = rng.integers(300, len(whole) - 60)
        broken[start : start + 40] = rng.integers(0, 256, 40)
        (tmp_path / "broken.root").write_bytes(broken.tobytes())
        try:
            assert events.mask("x > 3 and y > 1", events.open(tmp_path / "broken.root")).dtype == bool
        except InputError as error:
            failed += 1
            assert "\n" not in str(error).split("\n  ")[0]
    assert failed > 0
