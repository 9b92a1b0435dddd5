import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from bumpfit import events, report
from bumpfit.errors import InputError
from bumpfit.events import dataset
from bumpfit.events.dataset import Dataset
from bumpfit.events.representations import Image
from bumpfit.files import sha256

FEATURES = ["jet0.pt", "jet0.mass", "jet0,jet1.delta_r"]
CUTS = ["jet.size > 0", "jet0.pt > 10"]


def build(flat: str, **options: object) -> Dataset:
    return dataset.build({"background": flat, "signal": [flat, flat]}, FEATURES, cuts=CUTS, **options)  # type: ignore[arg-type]


def test_build(flat: str) -> None:
    made = build(flat, weights={"signal": 0.25, "background": "met0.met"})
    passed = events.mask("jet.size > 0 and jet0.pt > 10", flat)
    n = int(passed.sum())
    assert made.samples.shape == (3 * n, 3) and made.samples.dtype == np.float32
    np.testing.assert_array_equal(made.targets, np.repeat([0, 1, 1], n))
    np.testing.assert_array_equal(made.weights[n:], 0.25)
    np.testing.assert_allclose(made.weights[:n], np.array(events.observable("met0.met", flat))[passed])
    assert np.isnan(made.samples[:, 2]).any() and not np.isnan(made.samples[:, 0]).any()
    assert made.features == tuple(FEATURES) and made.classes == ("background", "signal")
    origin = made.provenance["classes"]["background"]
    everything = float(np.sum(np.array(events.observable("met0.met", flat), dtype=np.float64)))
    assert origin.pop("weight") == pytest.approx(everything)
    assert origin == {"files": {flat: sha256(flat)}, "events": 400, "passed": n}
    one = dataset.build({"background": flat}, FEATURES, cuts=CUTS[0])
    assert one.provenance["cuts"] == CUTS[:1] and len(one) == events.mask(CUTS[0], flat).sum()
    assert made.provenance["cuts"] == CUTS and made.provenance["representation"]["observables"] == FEATURES


def test_split_is_stratified_and_seeded(flat: str) -> None:
    made = build(flat)
    parts = made.split(0.6, 0.3, 0.1, seed=3)
    for number in (0, 1):
        mine = parts.targets == number
        share = [np.mean(parts.part[mine] == code) for code in range(3)]
        np.testing.assert_allclose(share, [0.6, 0.3, 0.1], atol=1.5 / mine.sum())
    np.testing.assert_array_equal(parts.part, made.split(0.6, 0.3, 0.1, seed=3).part)
    assert (parts.part != made.split(0.6, 0.3, 0.1, seed=4).part).any()
    assert sum(len(parts.get(name)) for name in ("train", "test", "validation")) == len(made)
    assert parts.provenance["split"] == {"train": 0.6, "test": 0.3, "validation": 0.1, "seed": 3}
    with pytest.raises(InputError, match="add up to 1"):
        made.split(0.5, 0.3)
    with pytest.raises(InputError, match="has no validation part"):
        made.split().get("validation")
    with pytest.raises(InputError, match="not split"):
        made.get("train")
    with pytest.raises(InputError, match="expected one of train"):
        parts.get("val")
    with pytest.raises(InputError, match="too few for every part"):
        made.take(np.array([0, 1, -1])).split()


def test_varied_events_stay_in_their_parts(tmp_path: Path) -> None:
    """The same events with another cut: what is in both data sets has one part; the others are shared out."""
    rng = np.random.default_rng(5)
    tables = {name: {"x": rng.uniform(size=4000)} for name in ("b", "s")}
    nominal = dataset.build(tables, ["x"], cuts=["x > 0.4"]).split(0.5, 0.3, 0.2, seed=1)
    varied = dataset.build({"s": tables["s"]}, ["x"], cuts=["x > 0.2 and x < 0.9"]).split_as(nominal, seed=2)
    assert nominal.part is not None and varied.part is not None
    parts = dict(zip(nominal.samples[nominal.targets == 1, 0], nominal.part[nominal.targets == 1], strict=True))
    old = np.array([x in parts for x in varied.samples[:, 0]])
    np.testing.assert_array_equal(old, varied.samples[:, 0] > 0.4)
    np.testing.assert_array_equal(varied.part[old], [parts[x] for x in varied.samples[old, 0]])
    np.testing.assert_allclose(np.bincount(varied.part[~old]) / (~old).sum(), [0.5, 0.3, 0.2], atol=0.06)
    varied.save(tmp_path / "v.ds")
    equal(dataset.read(tmp_path / "v.ds"), varied)
    np.testing.assert_array_equal(nominal.get("test").index, nominal.index[nominal.part == 1])  # type: ignore[index]
    other = dataset.build({"s": {"x": tables["s"]["x"][1:]}}, ["x"])
    with pytest.raises(InputError, match="made of 3999 events here and of 4000 there"):
        other.split_as(nominal)
    with pytest.raises(InputError, match="the class 't' is not in"):
        dataset.build({"t": tables["s"]}, ["x"]).split_as(nominal)
    with pytest.raises(InputError, match="is not split itself"):
        nominal.split_as(other)
    with pytest.raises(InputError, match="does not say which events"):
        replace(nominal, index=None).split_as(nominal)


def equal(a: Dataset, b: Dataset) -> None:
    for name in ("samples", "targets", "weights", "part", "index"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None)
        if x is not None:
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x, y)
    assert (a.features, a.classes, a.provenance) == (b.features, b.classes, b.provenance)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_round_trip(tmp_path: Path, data: st.DataObject) -> None:
    n, k = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 3))
    shape = data.draw(st.sampled_from([(n, k), (n, 4, 5)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    samples = np.where(rng.uniform(size=shape) < 0.2, np.nan, rng.normal(size=shape)).astype(np.float32)
    made = Dataset(
        samples,
        rng.integers(0, 2, n).astype(np.int32),
        rng.uniform(size=n),
        tuple(data.draw(st.lists(st.text(max_size=5), min_size=k, max_size=k))) if len(shape) == 2 else (),
        ("a", "β"),
        rng.integers(0, 3, n).astype(np.int8) if data.draw(st.booleans()) else None,
        {"cuts": ["x > 1"], "seed": 3},
    )
    made.save(tmp_path / "d.zip")
    equal(dataset.read(tmp_path / "d.zip"), made)
    assert np.load(tmp_path / "d.zip", allow_pickle=False)["samples"].shape == shape  # a plain NumPy archive too


def hml_file(path: Path, samples: np.ndarray, targets: np.ndarray, configs: dict[str, object], split: int = 0) -> None:  # type: ignore[type-arg]
    """As hml 0.4.3 writes it (hml/datasets/set_dataset.py, save)."""

    def archive(target: Path | io.BytesIO, rows: slice, config: dict[str, object], inner: dict[str, bytes]) -> None:
        data = io.BytesIO()
        np.savez(data, samples=samples[rows], targets=targets[rows])
        with zipfile.ZipFile(target, "w") as file:
            file.writestr("configs.json", json.dumps(config))
            file.writestr("data.npz", data.getvalue())
            for name, content in inner.items():
                file.writestr(name, content)

    inner: dict[str, bytes] = {}
    if split:
        for name, rows in (("train.ds", slice(0, split)), ("test.ds", slice(split, None))):
            memory = io.BytesIO()
            archive(memory, rows, {**configs, "been_split": False}, {})
            inner[name] = memory.getvalue()
    archive(path, slice(None), {**configs, "been_split": bool(split)}, inner)


SET_CONFIG: dict[str, object] = {
    "observable_configs": {
        "0": {"class_name": "M", "config": {"physics_object": "fatjet0", "class_name": "mass"}},
        "1": {"class_name": "AngularDistance", "config": {"physics_object": "jet0,jet1", "class_name": "delta_r"}},
    },
    "class_name": "SetDataset",
    "seed": 42,
}


@pytest.mark.parametrize("split", [0, 4])
def test_hml_set(tmp_path: Path, split: int) -> None:
    samples = np.arange(12, dtype=np.float32).reshape(6, 2)
    samples[2, 1] = np.nan
    targets = np.array([1, 0, 1, 1, 0, 0], np.int32)
    hml_file(tmp_path / "a.ds", samples, targets, SET_CONFIG, split)
    read = dataset.read(tmp_path / "a.ds")
    np.testing.assert_array_equal(read.samples, samples)
    np.testing.assert_array_equal(read.targets, targets)
    assert read.features == ("fatjet0.mass", "jet0,jet1.delta_r")
    if split:
        assert len(read.get("train")) == 4 and len(read.get("test")) == 2
    else:
        assert read.part is None


def test_hml_images_are_turned(tmp_path: Path) -> None:
    samples = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    hml_file(tmp_path / "a.ds", samples, np.array([0, 1]), {"height_config": {}, "seed": None})
    read = dataset.read(tmp_path / "a.ds")
    assert read.samples.shape == (2, 4, 3) and read.samples[1, 3, 0] == samples[1, 0, 3] and read.features == ()


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    ragged = np.empty(2, object)
    ragged[:] = [np.ones(2), np.ones(3)]
    hml_file(tmp_path / "a.ds", ragged, np.array([0, 1]), SET_CONFIG)
    with pytest.raises(InputError, match="cannot be read as a data set"):
        dataset.read(tmp_path / "a.ds")


def test_wrong_files(tmp_path: Path, flat: str) -> None:
    with pytest.raises(InputError, match="there is no file"):
        dataset.read(tmp_path / "a.ds")
    (tmp_path / "a.ds").write_text("no archive")
    with pytest.raises(InputError, match="cannot be read as a data set"):
        dataset.read(tmp_path / "a.ds")
    with zipfile.ZipFile(tmp_path / "b.ds", "w") as file:
        file.writestr("x", "y")
    with pytest.raises(InputError, match="not of a data set"):
        dataset.read(tmp_path / "b.ds")
    build(flat).save(tmp_path / "c.zip")
    whole = (tmp_path / "c.zip").read_bytes()
    for keep in (0.3, 0.95):
        (tmp_path / "d.zip").write_bytes(whole[: int(keep * len(whole))])
        with pytest.raises(InputError, match="cannot be read"):
            dataset.read(tmp_path / "d.zip")
    for change, message in (({"version": 2}, "has version 2 of the format"), ({"format": "other"}, "format 'other'")):
        with zipfile.ZipFile(tmp_path / "e.zip", "w") as file:
            file.writestr("bumpfit.json", json.dumps({"format": "bumpfit-dataset", "version": 1, **change}))
        with pytest.raises(InputError, match=message):
            dataset.read(tmp_path / "e.zip")


def test_wrong_use(flat: str) -> None:
    with pytest.raises(InputError, match="none of the 400 events of the class 'signal' passes the cuts"):
        dataset.build({"signal": flat}, FEATURES, cuts=["jet0.pt > 1e9"])
    with pytest.raises(InputError, match="weights for 'other', which is no class"):
        build(flat, weights={"other": 1.0})
    with pytest.raises(InputError, match="of 680 weights are negative"):
        build(flat, weights={"signal": -1.0})
    with pytest.raises(InputError, match="no class"):
        dataset.build({}, FEATURES)
    ones, zero = np.ones((2, 1), np.float32), np.zeros(2, np.int32)
    for arguments, message in (
        ((ones, zero, np.ones(3), ("x",), ("a",)), "expected equal numbers"),
        ((ones, zero, np.ones(2), (), ("a",)), "1 columns and 0 names"),
        ((ones, zero + 1, np.ones(2), ("x",), ("a",)), "targets go from 1 to 1"),
        ((ones, zero, np.array([1.0, np.nan]), ("x",), ("a",)), "1 weights are not finite"),
        ((ones, np.array([0.7, 0.0]), np.ones(2), ("x",), ("a",)), "targets are float64; expected whole numbers"),
        ((ones[:0], zero[:0], np.ones(0), ("x",), ("a",)), "empty"),
    ):
        with pytest.raises(InputError, match=message):
            Dataset(*arguments)


def test_figures(flat: str, delphes: str) -> None:
    figure = report.observables(build(flat))
    assert [axes.get_xlabel() for axes in figure.axes] == ["jet0.pt [GeV]", "jet0.mass [GeV]", "jet0,jet1.delta_r"]
    heights, edges, _ = figure.axes[0].patches[0].get_data()
    assert heights.sum() == pytest.approx(1.0) and len(edges) == 41
    shape = Image("jet0.constituents.phi", "jet0.constituents.eta", "jet0.constituents.pt")
    pictures = dataset.build({"a": delphes, "b": delphes}, shape.translate("jet0").pixelate((9, 9), ((-1, 1), (-1, 1))))
    figure = report.images(pictures)
    drawn = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(np.ma.filled(drawn, 0), pictures.samples[pictures.targets == 0].mean(axis=0), rtol=1e-6)
    mine = pictures.targets == 1
    some = replace(pictures, weights=np.where(mine, 0.0, np.arange(len(pictures)) % 2.0))
    drawn = report.images(some).axes[0].images[0].get_array()  # half of the events of the class that has weight
    np.testing.assert_allclose(np.ma.filled(drawn, 0), some.samples[some.weights > 0].mean(axis=0), rtol=1e-6)
    assert pictures.plot().axes[0].images and "images='9 x 9'" in repr(pictures)
    one = report.images(pictures, event=1, log=False).axes[0]
    np.testing.assert_array_equal(one.images[0].get_array(), pictures.samples[1])
    assert one.get_title() == f"{pictures.classes[pictures.targets[1]]}, event 1"
    with pytest.raises(InputError, match="the event is -1; expected a number from 0 to"):
        report.images(pictures, event=-1)
    table = build(flat)
    assert table.plot().axes[0].get_xlabel() == "jet0.pt [GeV]" and "jet0.pt" in repr(table)
    assert f"<td>{(table.targets == 0).sum()}</td>" in table._repr_html_()
    axes = Figure().subplots(1, 3)
    assert table.plot(ax=axes, label="ATLAS").axes[2].has_data()
    with pytest.raises(InputError, match="all weights are 0"):
        report.images(replace(pictures, weights=np.zeros(len(pictures))))
    for draw, wrong in ((report.images, build(flat)), (report.observables, pictures)):
        with pytest.raises(InputError, match="draw it with"):
            draw(wrong)


def test_damaged_descriptions(tmp_path: Path, flat: str) -> None:
    """A file whose parts are whole but do not fit together is told when it is read, not where it is used."""
    data = build(flat).split()
    data.save(tmp_path / "a.ds")
    with zipfile.ZipFile(tmp_path / "a.ds") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    told = json.loads(content["bumpfit.json"])
    assert data.part is not None and data.index is not None
    origin = told["provenance"]["classes"]

    def array(values: np.ndarray) -> bytes:
        stream = io.BytesIO()
        np.save(stream, values)
        return stream.getvalue()

    changes: list[dict[str, object]] = [
        {"bumpfit.json": value}
        for value in (
            [], 3, {**told, "features": 3}, {**told, "classes": [1]}, {**told, "provenance": []},
            {**told, "provenance": {**told["provenance"], "classes": dict.fromkeys(origin, 3)}},
            {**told, "provenance": {**told["provenance"], "split": {"train": "most"}}},
            {**told, "provenance": {**told["provenance"], "cuts": "x > 1"}},
        )
    ]  # fmt: skip
    changes += [{"part.npy": array(data.part + 7)}, {"index.npy": array(data.index * 0.5)}]
    changes += [{"index.npy": array(data.index - 10**6)}, {"weights.npy": array(data.weights[:, None])}]
    changes += [{"targets.npy": content["targets.npy"].replace(b"}", b" ", 1)}]
    for change in changes:
        with zipfile.ZipFile(tmp_path / "b.ds", "w") as archive:
            for name, old in content.items():
                new = change.get(name, old)
                archive.writestr(name, new if isinstance(new, bytes) else json.dumps(new))
        with pytest.raises(InputError):
            dataset.read(tmp_path / "b.ds")
    beyond = replace(data, index=data.index + 10**6)
    with pytest.raises(InputError, match=r"beyond its \d+ events"):
        data.split_as(beyond)


@pytest.mark.parametrize(
    ("targets", "message"),
    [([0.7, 0.0], "no whole numbers"), ([2**32, 0], "targets go from 0 to 4294967296"), ([-1, 0], "from -1 to 0"),
     ([True, False], "no whole numbers")],
)  # fmt: skip
def test_labels_of_a_file_are_class_numbers(tmp_path: Path, targets: list[float], message: str) -> None:
    from bumpfit import archives

    arrays = {"samples": np.ones((2, 1), "f4"), "targets": np.array(targets), "weights": np.ones(2)}
    described = {"features": ["x"], "classes": ["a", "b"], "provenance": {}}
    archives.write(tmp_path / "a.ds", dataset.FORMAT, dataset.VERSION, described, arrays)
    with pytest.raises(InputError, match=message):
        dataset.read(tmp_path / "a.ds")
