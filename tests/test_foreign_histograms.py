"""Histograms of other libraries: what their protocol and their files say is read right or refused."""

import json
from pathlib import Path

import boost_histogram as bh
import boost_histogram.serialization
import hist
import numpy as np
import pytest

from bumpfit import histograms, inference, shapes, workspace
from bumpfit.errors import InputError
from bumpfit.workspace import build

uhi = pytest.importorskip("uhi.io.json")
EDGES = np.linspace(1000.0, 3000.0, 21)
VALUES = np.random.default_rng(3).exponential(300, 2000) + 900


def boost(storage: bh.storage.Storage, **options: object) -> bh.Histogram:
    return bh.Histogram(bh.axis.Regular(20, 1000, 3000), storage=storage).fill(VALUES, **options)


def same(found: histograms.Histogram, wanted: histograms.Histogram) -> None:
    for name in ("edges", "counts", "variances", "underflow", "overflow"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("weighted", [False, True])
def test_flow_bins_and_variances_are_kept(weighted: bool, tmp_path: Path) -> None:
    weights = np.random.default_rng(4).uniform(0.5, 2.0, VALUES.size) if weighted else None
    wanted = histograms.fill(VALUES, EDGES, weights)
    assert wanted.underflow > 0 and wanted.overflow > 0
    plain = boost(bh.storage.Weight() if weighted else bh.storage.Int64(), **({"weight": weights} if weighted else {}))
    path = tmp_path / "h.json"
    path.write_text(json.dumps(plain, default=uhi.default))
    decoded = json.loads(path.read_text(), object_hook=uhi.object_hook)
    for source in (plain, hist.Hist(plain), path, str(path), decoded, {"m": decoded}):
        same(histograms.as_histogram(source), wanted)


def test_a_workspace_as_histograms(tmp_path: Path) -> None:
    """As boost-histogram and we read them back, errors and both sides of a shape included."""
    stat = build.modifier("staterror", "stat", [3.0, 2.0])
    tilt = build.modifier("histosys", "tilt", ([8.0, 9.0], [12.0, 7.0]))
    samples = [
        build.sample("signal", [2.5, 6.0], build.modifier("normfactor", "mu")),
        build.sample("b", [10, 8], stat, tilt),
    ]
    path = tmp_path / "w.json"
    workspace.write(workspace.read(build.workspace({"SR": samples}, {"SR": [13, 12]}, "mu")), path, format="uhi")
    names = ["SR/data", "SR/signal", "SR/b", "SR/b/tilt/up", "SR/b/tilt/down"]
    tree = json.loads(path.read_text(), object_hook=uhi.object_hook)
    assert list(tree) == names
    read = {name: bh.Histogram(bh.serialization.from_uhi(tree[name])) for name in names}
    assert [read[name].values().tolist() for name in names] == [[13, 12], [2.5, 6], [10, 8], *map(list, sides(tilt))]
    assert read["SR/b"].variances().tolist() == [9.0, 4.0]
    assert histograms.as_histogram(tree["SR/data"]).counts.tolist() == [13, 12]


def sides(modifier: dict[str, object]) -> list[list[float]]:
    data = modifier["data"]
    assert isinstance(data, dict)
    return [data["hi_data"], data["lo_data"]]


def test_uproot(tmp_path: Path) -> None:
    uproot = pytest.importorskip("uproot")
    plain, heavy = boost(bh.storage.Double()), boost(bh.storage.Weight(), weight=np.full(VALUES.size, 5.0))
    with uproot.recreate(tmp_path / "h.root") as file:
        file["plain"], file["heavy"] = plain, heavy
    with uproot.open(tmp_path / "h.root") as file:
        same(histograms.as_histogram(file["plain"]), histograms.fill(VALUES, EDGES))
        same(histograms.as_histogram(file["heavy"]), histograms.fill(VALUES, EDGES, np.full(VALUES.size, 5.0)))
        assert shapes.fit(shapes.exponential(2), file["plain"]).valid


def test_sparse_and_empty_storages() -> None:
    axis = {"type": "variable", "edges": [0, 1, 3], "underflow": True, "overflow": False, "circular": False}
    made = {"uhi_schema": 1, "axes": [axis], "storage": {"type": "int", "index": [[0, 2]], "values": [4, 7]}}
    found = histograms.as_histogram(made)
    assert (found.underflow, found.counts.tolist(), found.overflow) == (4, [0, 7], 0)
    made["storage"] = {"type": "double"}
    assert histograms.as_histogram(made).counts.tolist() == [0, 0]


def test_whole_numbers_are_masses_and_categories_are_not() -> None:
    integers = bh.Histogram(bh.axis.Integer(3, 7)).fill([2, 3, 3, 6])
    found = histograms.as_histogram(integers)
    assert found.edges.tolist() == [3, 4, 5, 6, 7]
    assert (found.underflow, found.counts.tolist()) == (1, [2, 0, 0, 1])
    for axis in (bh.axis.StrCategory(["a", "b"]), bh.axis.IntCategory([1, 5]), bh.axis.Boolean()):
        with pytest.raises(InputError, match="categories have no masses"):
            histograms.as_histogram(bh.Histogram(axis))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (boost(bh.storage.Double(), weight=np.full(VALUES.size, 5.0)), "keeps no variances"),
        (boost(bh.storage.Double()) * 0.5, "keeps no variances"),
        (boost(bh.storage.Mean(), sample=VALUES), "kind MEAN"),
        (boost(bh.storage.WeightedMean(), sample=VALUES), "kind MEAN"),
        (bh.Histogram(bh.axis.Regular(2, 0, 1), bh.axis.Regular(2, 0, 1)), "one axis"),
    ],
)
def test_what_is_no_spectrum_is_refused(source: bh.Histogram, message: str) -> None:
    with pytest.raises(InputError, match=message):
        shapes.fit(shapes.exponential(2), source)


def test_a_file_of_weights_without_variances_is_refused() -> None:
    decoded = json.loads(json.dumps(boost(bh.storage.Double()) * 0.3, default=uhi.default))
    with pytest.raises(InputError, match="keeps no variances"):
        histograms.as_histogram(decoded)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"uhi_schema": 2}, "expected 1"),
        ({"axes": "x"}, "needs 'axes'"),
        ({"axes": [{"type": "category_str", "categories": ["a"], "flow": False}]}, "categories have no masses"),
        ({"axes": [{"type": "regular", "lower": 0, "upper": 1}]}, "has no 'bins'"),
        ({"storage": {"type": "int", "values": [1]}}, "22 bins"),
        ({"storage": {"type": "int", "values": ["many"] * 22}}, "cannot be read"),
        ({"storage": {"type": "weighted", "values": [1] * 22}}, "variances"),
        ({"storage": {"type": "thing"}}, "kind thing"),
    ],
)
def test_bad_files_are_refused(change: dict, message: str, tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    path.write_text(json.dumps(json.loads(json.dumps(boost(bh.storage.Int64()), default=uhi.default)) | change))
    with pytest.raises(InputError, match=message):
        histograms.as_histogram(path)


def test_files_that_are_none(tmp_path: Path) -> None:
    for text, message in (("{", "not valid JSON"), ("[]", "no UHI histogram"), ("{}", "no key")):
        (tmp_path / "h.json").write_text(text)
        with pytest.raises(InputError, match=message):
            histograms.as_histogram(tmp_path / "h.json")
    with pytest.raises(InputError, match="there is no file"):
        histograms.as_histogram(tmp_path / "nothing.json")


def test_histograms_are_data_of_workspaces_and_are_built_into_them() -> None:
    data = boost(bh.storage.Int64())
    fitted = shapes.fit(shapes.exponential(2, reference=1500.0), data)
    spec = build.spectrum_of(data, shapes.exponential(2, reference=1500.0), fitted.values, np.eye(20)[5])
    assert spec["observations"][0]["data"] == histograms.as_histogram(data).counts.tolist()
    model = workspace.read(spec)
    best = inference.fit(model)
    decoded = json.loads(json.dumps(data, default=uhi.default))
    for source in (data, hist.Hist(data), decoded, {"spectrum": data}):
        assert inference.fit(model, source).twice_nll == best.twice_nll
    with pytest.raises(InputError, match="weighted histogram"):
        inference.fit(model, boost(bh.storage.Weight(), weight=np.full(VALUES.size, 0.5)))
    with pytest.raises(InputError, match="blinded"):
        inference.fit(model, histograms.as_histogram(data).blind(1500, 1700))
    simulated = boost(bh.storage.Weight(), weight=np.full(VALUES.size, 0.5))
    made = build.sample("b", simulated)
    assert made["data"] == pytest.approx(histograms.as_histogram(simulated).counts.tolist())
    with pytest.raises(InputError, match="weighted histogram"):
        build.workspace({"c": [made]}, {"c": simulated}, "mu")
