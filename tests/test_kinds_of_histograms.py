"""Every kind of axis and storage at every door that takes histograms: read right, or refused with one sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boost_histogram as bh
import hist
import numpy as np
import pytest

from bumpfit import histograms, inference, published, shapes, workspace
from bumpfit.errors import InputError
from bumpfit.workspace import build
from bumpfit.workspace.templates import RootHistograms

uhi = pytest.importorskip("uhi.io.json")
VALUES = [-1.0, 0.5, 1.5, 2.5, 2.6, 9.0]
N, INF = np.nan, np.inf


def filled(axis: bh.axis.Axis, storage: bh.storage.Storage | None = None, **more: Any) -> bh.Histogram:
    return bh.Histogram(axis, storage=storage or bh.storage.Int64()).fill(VALUES, **more)


def regular(**options: bool) -> bh.axis.Regular:
    return bh.axis.Regular(3, 0, 3, **options)


def counted(**options: bool) -> bh.Histogram:
    return bh.Histogram(bh.axis.Integer(0, 3, **options)).fill([0, 2, 2, 5])


def holding(values: list[float], variances: list[float] | None = None) -> bh.Histogram:
    storage = bh.storage.Double() if variances is None else bh.storage.Weight()
    made, flow = bh.Histogram(regular(), storage=storage), len(values) > 3
    view = made.view(flow=flow)
    if variances is None:
        view[...] = values
    else:
        view.value, view.variance = values, variances
    return made


RIGHT = {  # as NumPy counts the values that were filled: counts, below and above
    "no flow": (filled(regular(underflow=False, overflow=False)), [1, 1, 2], (0, 0)),
    "no overflow": (filled(regular(overflow=False)), [1, 1, 2], (1, 0)),
    "no underflow": (filled(regular(underflow=False)), [1, 1, 2], (0, 1)),
    "grown": (filled(regular(growth=True)), [1, 1, 1, 2, *[0] * 6, 1], (0, 0)),
    "grown edges": (filled(bh.axis.Variable([0.0, 1.0, 3.0], growth=True)), [1, 1, 3, 1], (0, 0)),
    "whole numbers": (counted(), [1, 0, 2], (0, 1)),
    "grown whole numbers": (counted(growth=True), [1, 0, 2, 0, 0, 1], (0, 0)),
    "double": (filled(regular(), bh.storage.Double()), [1, 1, 2], (1, 1)),
    "atomic": (filled(regular(), bh.storage.AtomicInt64()), [1, 1, 2], (1, 1)),
    "unlimited": (filled(regular(), bh.storage.Unlimited()), [1, 1, 2], (1, 1)),
    "weights of one": (filled(regular(), bh.storage.Weight()), [1, 1, 2], (1, 1)),
    "logarithmic": (
        filled(bh.axis.Regular(3, 1, 8, transform=bh.axis.transform.log)),
        [1, 2, 0],
        (1, 2),
    ),  # the logarithm of -1 is above
}
WRONG = {
    "circular": (filled(regular(circular=True)), "circular axis"),
    "circular edges": (filled(bh.axis.Variable([0.0, 1.0, 3.0], circular=True)), "circular axis"),
    "circular whole numbers": (counted(circular=True), "circular axis"),
    "words": (bh.Histogram(bh.axis.StrCategory(["a", "b"])).fill(["a"]), "categories"),
    "growing words": (bh.Histogram(bh.axis.StrCategory([], growth=True)).fill(["a"]), "categories"),
    "numbers as words": (bh.Histogram(bh.axis.IntCategory([1, 2, 3])).fill([1]), "categories"),
    "yes or no": (bh.Histogram(bh.axis.Boolean()).fill([True]), "categories"),
    "means": (filled(regular(), bh.storage.Mean(), sample=VALUES), "kind MEAN"),
    "weighted means": (filled(regular(), bh.storage.WeightedMean(), sample=VALUES), "kind MEAN"),
    "two axes": (bh.Histogram(regular(), regular()), "one axis"),
    "endless edge": (filled(bh.axis.Variable([0.0, 1.0, INF])), "edges must be finite"),
    "endless first edge": (filled(bh.axis.Variable([-INF, 1.0, 3.0])), "edges must be finite"),
    "NaN": (holding([1, N, 3], [1, 2, 3]), "content of nan in bin 2"),
    "NaN of plain counts": (holding([1, N, 3]), "content of nan in bin 2"),
    "NaN beside NaN": (holding([1, N, 3], [1, N, 3]), "content of nan in bin 2"),
    "infinity": (holding([1, INF, 3], [1, 2, 3]), "content of inf in bin 2"),
    "minus infinity": (holding([1, 2, -INF], [1, 2, 3]), "content of -inf in bin 3"),
    "variance NaN": (holding([1, 2, 3], [1, N, 3]), "variance of nan in bin 2"),
    "variance infinity": (holding([1, 2, 3], [INF, 2, 3]), "variance of inf in bin 1"),
    "negative variance": (holding([1, 2, 3], [1, -1, 3]), "variance of -1 in bin 2"),
    "no variance": (holding([1, 2, 3], [1, 0, 3]), "variance of 0 in bin 2"),
    "no variances": (holding([1, 2, 3], [0, 0, 0]), "variance of 0 in bin 1"),
    "NaN below": (holding([N, 1, 2, 3, 0], [0, 1, 2, 3, 0]), "content of nan in the underflow"),
    "NaN above": (holding([0, 1, 2, 3, 0], [0, 1, 2, 3, N]), "variance of nan in the overflow"),
    "negative counts": (holding([1, -1, 3]), "content of -1 in bin 2"),
}
UNKNOWN_IN_ROOT = ("circular", "yes or no", "variance", "NaN above")
"""What a TH1 cannot hold: uproot writes the axis as another one, or the variance as 0."""
SPEC = build.workspace({"c": [build.sample("s", [1.0] * 3, build.modifier("normfactor", "mu"))]}, {"c": [1] * 3}, "mu")


def decoded(source: bh.Histogram) -> dict[str, Any]:
    return json.loads(json.dumps(source, default=uhi.default), object_hook=uhi.object_hook)


def in_json(source: bh.Histogram, folder: Path) -> Path:
    path = folder / "h.json"
    path.write_text(json.dumps(source, default=uhi.default))
    return path


def in_root(source: bh.Histogram, folder: Path) -> Path:
    uproot = pytest.importorskip("uproot")
    if source.values().dtype == np.int64:  # which uproot does not write
        whole, source = source, bh.Histogram(*source.axes, storage=bh.storage.Double())
        source.view(flow=True)[...] = whole.view(flow=True)
    with uproot.recreate(folder / "h.root") as file:
        file["h"] = source
    return folder / "h.root"


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_read_is_what_was_filled(name: str, tmp_path: Path) -> None:
    source, counts, outside = RIGHT[name]
    files = (in_json(source, tmp_path), in_root(source, tmp_path))
    for given in (source, hist.Hist(source), decoded(source), *files, published.read(files[1]).histogram):
        found = histograms.as_histogram(given)
        assert found.counts.tolist() == found.variances.tolist() == counts
        np.testing.assert_allclose(found.edges, source.axes[0].edges, rtol=1e-12, atol=1e-12)
        if isinstance(given, bh.Histogram | dict):
            assert (found.underflow, found.overflow) == outside  # uproot writes both or none of them
        assert build.sample("b", given if isinstance(given, bh.Histogram) else found)["data"] == counts


DOORS: dict[str, Callable[[Any], object]] = {
    "as_histogram": histograms.as_histogram,
    "fit of a shape": lambda source: shapes.fit(shapes.exponential(2), source),
    "data of a model": lambda source: inference.fit(workspace.read(SPEC), source),
    "data of a channel": lambda source: inference.fit(workspace.read(SPEC), {"c": source}),
    "yields": lambda source: build.sample("b", source),
    "observations": lambda source: build.workspace({"c": [build.sample("s", [1.0] * 3)]}, {"c": source}, "mu"),
    "spectrum": lambda source: build.spectrum_of(source, shapes.exponential(2), {"p0": 1.0, "p1": 1.0}, [1.0] * 3),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_spectrum_is_refused_at_every_door(name: str, door: str) -> None:
    source, words = WRONG[name]
    for given in (source, hist.Hist(source), decoded(source)):
        with pytest.raises(InputError, match=words) as said:
            DOORS[door](given)
        assert "\n" not in str(said.value)


@pytest.mark.parametrize("name", WRONG)
def test_and_in_files(name: str, tmp_path: Path) -> None:
    source, words = WRONG[name]
    path = in_json(source, tmp_path)
    for reader in (histograms.as_histogram, published.read, published.as_written):
        with pytest.raises(InputError, match=words):
            reader(path)
    if any(word in name for word in UNKNOWN_IN_ROOT):
        return
    path = in_root(source, tmp_path)
    for reader in (histograms.as_histogram, published.read, published.as_written):
        with pytest.raises(InputError, match="variance of 0|edges need|has no histogram" + f"|{words}"):
            reader(f"{path}:h" if reader is histograms.as_histogram else path)
    if "edge" in name or "words" in name or "NaN below" in name:
        return  # templates of likelihoods are contents of bins, whatever the bins are called
    if "negative" not in name:
        with RootHistograms("templates") as files, pytest.raises(InputError, match=words):
            files.find(path, "h", "a test")


def test_blinded_bins_are_those_of_our_own_histograms() -> None:
    edges = [0.0, 1.0, 2.0, 3.0]
    hidden = histograms.from_counts(edges, [4, N, 2])
    assert hidden.blinded.tolist() == [False, True, False]
    assert histograms.as_histogram(hidden) is hidden
    for source in (([4, N, 2], edges), hidden.to_hist()):
        with pytest.raises(InputError, match="content of nan in bin 2"):
            histograms.as_histogram(source)
    with pytest.raises(InputError, match="variance of nan in bin 1"):
        histograms.from_counts(edges, [4, N, 2], [N, N, 2])
    with pytest.raises(InputError, match="variance of 0 in bin 1"):
        shapes.fit(shapes.exponential(2), histograms.from_counts(edges, [4, 3, 2], [0, 3, 2]))


def test_weights_that_cancel_are_a_bin_without_events() -> None:
    source = bh.Histogram(regular(), storage=bh.storage.Weight()).fill([0.5, 1.5, 1.6, 2.5], weight=[2, 1, -1, 3])
    found = histograms.as_histogram(source)
    assert (found.counts.tolist(), found.variances.tolist()) == ([2, 0, 3], [4, 2, 9])
    assert shapes.fit(shapes.exponential(2), source).valid


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bins": 2.5}, "got 2.5 bins"),
        ({"bins": 0}, "got 0 bins"),
        ({"bins": N}, "not made of numbers"),
        ({"upper": 0}, "edges must increase"),
        ({"upper": N}, "edges must be finite"),
        ({"circular": True}, "circular axis"),
    ],
)
def test_axes_of_files(change: dict[str, Any], words: str) -> None:
    axis = {"type": "regular", "lower": 0, "upper": 3, "bins": 3, "underflow": False, "overflow": False}
    made = {"uhi_schema": 1, "axes": [axis | change], "storage": {"type": "int"}}
    with pytest.raises(InputError, match=words):
        histograms.as_histogram(made)


@pytest.mark.parametrize("index", [[[-1, 0]], [[1, 1]]])
def test_sparse_contents_are_never_put_elsewhere(index: list[list[int]]) -> None:
    axis = {"type": "regular", "lower": 0, "upper": 3, "bins": 3, "underflow": False, "overflow": False}
    made = {"uhi_schema": 1, "axes": [axis], "storage": {"type": "int", "index": index, "values": [4, 7]}}
    with pytest.raises(InputError, match="negative or there twice"):
        histograms.as_histogram(made)


YODA = "BEGIN YODA_HISTO1D_V2 /h\n---\n# edges\n{}\nEND YODA_HISTO1D_V2\n"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", "low,high,count\n0,1,5\n1,2,nan\n", "must be finite"),
        ("t.csv", "low,high,count\n0,1,5\n1,inf,3\n", "must be finite"),
        ("t.csv", "low,high,count\n0,1,5\n1,1,3\n", "a bin goes from 1 to 1"),
        ("t.yoda", YODA.format("0 1 nan 4 1 1 4\n1 2 3 3 1 1 3"), "content of nan in bin 1"),
        ("t.yoda", YODA.format("0 1 4 nan 1 1 4\n1 2 3 3 1 1 3"), "variance of nan in bin 1"),
        ("t.yoda", YODA.format("0 1 4 4 1 1 4\n1 2 3 -3 1 1 3"), "variance of -3 in bin 2"),
        ("t.yoda", YODA.format("0 1 4 4 1 1 4\n1 1 3 3 1 1 3"), "a bin goes from 1 to 1"),
    ],
)
def test_tables(name: str, text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=words):
        published.read(tmp_path / name)


def test_means_of_yoda_without_a_value_do_not_change_the_counts(tmp_path: Path) -> None:
    (tmp_path / "t.yoda").write_text(YODA.format("0 1 4 4 nan nan 4\n1 2 3 3 1 1 3"))
    assert published.read(tmp_path / "t.yoda").histogram.counts.tolist() == [4, 3]


def test_a_profile_is_no_template(tmp_path: Path) -> None:
    path = in_root(filled(regular(), bh.storage.WeightedMean(), sample=VALUES), tmp_path)
    with RootHistograms("templates") as files, pytest.raises(InputError, match=r"'h' of .* kind MEAN"):
        files.find(path, "h", "a test")
