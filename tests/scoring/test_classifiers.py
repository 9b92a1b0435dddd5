"""The interface that all approaches share, the trees, and files of models."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score

from bumpfit.errors import InputError
from bumpfit.events.dataset import Dataset
from bumpfit.scoring import BoostedTrees, Classifier, CutAndCount, approach, balanced, models
from bumpfit.scoring.trees import StoredTrees

SMALL = BoostedTrees(models=2, iterations=20, leaf_events=10)


def shells(n: int, seed: int, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Classes at growing distance in the first two of three features; the third is missing in some events."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), n)
    x = rng.normal(size=(len(y), 3)) + 1.5 * y[:, None] * np.array([1, 1, 0])
    x[rng.random(len(y)) < 0.2 + 0.3 * (y == 1), 2] = np.nan
    return x.astype("f4"), y


def dataset(n: int = 300, seed: int = 1, classes: int = 2) -> Dataset:
    x, y = shells(n, seed, classes)
    names = ("background", "signal", "other")[:classes]
    return Dataset(x, y.astype("i4"), np.ones(len(y)), ("a", "b", "c"), names).split(0.6, 0.4, seed=1)


@pytest.mark.parametrize("model", [CutAndCount(), CutAndCount(search="hml"), SMALL], ids=["cuts", "hml", "trees"])
def test_is_an_estimator_of_scikit_learn(model: Classifier) -> None:
    x, y = shells(300, 1)
    copy = clone(model)
    assert type(copy) is type(model) and copy.get_params() == model.get_params() and not hasattr(copy, "classes_")
    scores = cross_val_score(clone(model), x, y, cv=3)
    assert scores.mean() > 0.6
    fitted = copy.fit(x, np.where(y == 1, 7, 3))
    assert fitted is copy and fitted.classes_.tolist() == [3, 7]
    p = fitted.predict_proba(x)
    assert p.shape == (600, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert set(fitted.predict(x)) == {3, 7}
    assert fitted.predict_proba(x[:0]).shape == (0, 2)


def test_trees_know_several_classes_and_missing_values() -> None:
    x, y = shells(500, 2, 3)
    model = BoostedTrees(models=2, iterations=40, leaf_events=10).fit(x, y, seed=4)
    fresh, label = shells(500, 3, 3)
    p = model.predict_proba(fresh)
    assert roc_auc_score(label, p, multi_class="ovr") > 0.85
    again = BoostedTrees(models=2, iterations=40, leaf_events=10).fit(x, y, seed=4)
    np.testing.assert_array_equal(p, again.predict_proba(fresh))
    only = np.full((2, 3), np.nan)
    only[1, 2] = 0.0  # a value is there more often outside class 1
    assert model.predict_proba(only)[0, 1] > model.predict_proba(only)[1, 1]


def test_weights_shift_probabilities() -> None:
    """Class 1 with nine times the weight: the odds of events that look alike are nine."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4000, 1)), np.repeat([0, 1], 2000)
    p = BoostedTrees(models=1, iterations=30).fit(x, y, np.where(y == 1, 9.0, 1.0)).predict_proba(x)[:, 1]
    assert np.median(p) == pytest.approx(0.9, abs=0.02)
    even = balanced(np.where(y == 1, 9.0, 1.0), y)
    assert even[y == 1].sum() == pytest.approx(even[y == 0].sum()) and even.mean() == pytest.approx(1.0)


@pytest.mark.parametrize("classes", [2, 3])
def test_stored_trees_are_the_trees_of_scikit_learn(classes: int) -> None:
    x, y = shells(400, 5, classes)
    model = BoostedTrees(models=1, iterations=30, leaf_events=5).fit(x, y)
    member = model.members_[0]
    stored = StoredTrees.of(member.edges, member.estimator)
    fresh, _ = shells(300, 6, classes)
    np.testing.assert_allclose(stored.predict_proba(fresh), member.predict_proba(fresh), atol=1e-14)


@pytest.mark.parametrize(
    ("model", "classes"),
    [(CutAndCount(search="hml"), 2), (CutAndCount(), 2), (SMALL, 2), (SMALL, 3)],
    ids=["hml", "cuts", "trees", "trees3"],
)
def test_a_file_gives_the_same_model(model: Classifier, classes: int, tmp_path: Path) -> None:
    data = dataset(classes=classes)
    trained = models.train(clone(model), data, seed=3)
    trained.save(tmp_path / "a.model")
    back = models.read(tmp_path / "a.model")
    test = data.get("test")
    np.testing.assert_allclose(back.probabilities(test), trained.probabilities(test), atol=1e-13)
    assert (back.features, back.classes) == (trained.features, trained.classes)
    assert back.provenance["seed"] == 3 and back.provenance["made_from"]["split"]["train"] == 0.6
    assert back.classifier.get_params() == trained.classifier.get_params()
    back.save(tmp_path / "b.model")  # and again from what was read
    np.testing.assert_array_equal(models.read(tmp_path / "b.model").probabilities(test), back.probabilities(test))
    with zipfile.ZipFile(tmp_path / "a.model") as archive:
        for name in archive.namelist():
            assert not name.endswith((".pkl", ".pickle")) and b"\x80\x04\x95" not in archive.read(name)[:8]


def test_only_the_training_part_is_seen() -> None:
    data = dataset()
    assert data.part is not None
    changed = data.samples.copy()
    changed[data.part == 1] += 100
    test = data.get("test")
    seen = models.train(clone(SMALL), data).probabilities(test)
    other = Dataset(changed, data.targets, data.weights, data.features, data.classes, data.part)
    np.testing.assert_array_equal(seen, models.train(clone(SMALL), other).probabilities(test))


def broken(path: Path, change: str) -> Path:
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    described = json.loads(content["bumpfit.json"])
    if change == "version":
        described["version"] = 99
    elif change == "format":
        described["format"] = "bumpfit-dataset"
    elif change == "approach":
        described["approach"] = "oracle"
    elif change == "setting":
        described["settings"]["depth"] = 3
    content["bumpfit.json"] = json.dumps(described).encode()
    if change == "array":
        del content["arrays/member0_nodes.npy"]
    elif change == "circle":
        name = "arrays/member0_nodes.npy"
        header = len(content[name]) - len(content[name].split(b"\n", 1)[1])
        nodes = np.frombuffer(content[name][header:], dtype=_nodes(path).dtype).copy()
        nodes["left"][nodes["is_leaf"] == 0] = 0
        content[name] = content[name][:header] + nodes.tobytes()
    elif change == "nothing":
        content = {"readme": b"no model"}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    if change == "cut":
        path.write_bytes(path.read_bytes()[:200])
    return path


def _nodes(path: Path) -> np.ndarray:
    with zipfile.ZipFile(path) as archive, archive.open("arrays/member0_nodes.npy") as stream:
        return np.asarray(np.lib.format.read_array(stream))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("version", "reads up to 1"),
        ("format", "expected 'bumpfit-model'"),
        ("approach", "no approach 'oracle'"),
        ("setting", "no setting 'depth'"),
        ("array", "cannot be read as a model"),
        ("circle", "where no child can be"),
        ("nothing", "no bumpfit.json"),
        ("cut", "cannot be read as a model"),
    ],
)
def test_damaged_models(change: str, message: str, tmp_path: Path) -> None:
    models.train(clone(SMALL), dataset()).save(tmp_path / "a.model")
    with pytest.raises(InputError, match=message):
        models.read(broken(tmp_path / "a.model", change))


@pytest.mark.parametrize(
    ("x", "y", "w", "message"),
    [
        ([[1.0], [2.0]], [1, 1], None, "at least two classes"),
        ([[1.0], [2.0]], [0, 1], [1, -1], "1 weights are negative"),
        ([[1.0], [2.0]], [0, 1], [1, float("nan")], "1 weights are not finite"),
        ([[1.0], [2.0]], [0, 1], [1, 0], "class 1 has no events with weight"),
        ([[1.0], [float("inf")]], [0, 1], None, "1 features are infinite"),
        ([[1.0], [2.0]], [0, 1, 1], None, "one class an event"),
        ([1.0, 2.0], [0, 1], None, r"expected \(events, features\)"),
        (np.empty((0, 2)), [], None, "nothing to learn from"),
        ([["a"], ["b"]], [0, 1], None, "must be numbers"),
        ([[1.0], [2.0]], [0, 1], [1], "one weight an event"),
    ],
)
@pytest.mark.parametrize("model", [CutAndCount(), SMALL], ids=["cuts", "trees"])
def test_bad_input(model: Classifier, x: object, y: object, w: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        clone(model).fit(x, y, w)  # type: ignore[arg-type]


def test_more_bad_input(tmp_path: Path) -> None:
    x, y = shells(50, 1)
    with pytest.raises(InputError, match="not trained yet"):
        BoostedTrees().predict_proba(x)
    with pytest.raises(InputError, match=r"trained on \(3,\)"):
        clone(SMALL).fit(x, y).predict_proba(x[:, :2])
    with pytest.raises(InputError, match="expected at least 5"):
        clone(SMALL).fit(x[:53], y[:53])
    with pytest.raises(InputError, match="expected sklearn or lightgbm"):
        BoostedTrees(backend="oak").fit(x, y)
    with pytest.raises(InputError, match="no setting 'depth'"):
        approach("trees", depth=3)
    with pytest.raises(InputError, match="tells two classes, got 3"):
        CutAndCount().fit(*shells(50, 1, 3))
    one = Dataset(x, np.zeros(len(x), "i4"), np.ones(len(x)), ("a", "b", "c"), ("only",))
    with pytest.raises(InputError, match="one class, 'only'"):
        models.train(clone(SMALL), one)
    empty = Dataset(x, np.zeros(len(x), "i4"), np.ones(len(x)), ("a", "b", "c"), ("background", "signal"))
    with pytest.raises(InputError, match="class 'signal' has no events"):
        models.train(clone(SMALL), empty)
    images = Dataset(np.zeros((4, 8, 8), "f4"), np.array([0, 0, 1, 1], "i4"), np.ones(4), (), ("b", "s"))
    with pytest.raises(InputError, match="learns from observables, but the data set holds images"):
        models.train(clone(SMALL), images)
    trained = models.train(clone(SMALL), dataset())
    with pytest.raises(InputError, match="trained on a, b, c, the data set holds images"):
        trained.probabilities(images)


def test_lightgbm(tmp_path: Path) -> None:
    pytest.importorskip("lightgbm")
    for classes in (2, 3):
        data = dataset(500, 2, classes)
        trained = models.train(BoostedTrees(models=2, leaf_events=10, backend="lightgbm"), data, seed=1)
        test = data.get("test")
        p = trained.probabilities(test)
        score = p[:, 1] if classes == 2 else p
        assert roc_auc_score(test.targets, score, multi_class="ovr") > 0.85
        trained.save(tmp_path / "light.model")
        np.testing.assert_allclose(models.read(tmp_path / "light.model").probabilities(test), p, atol=1e-12)


def test_any_byte_may_be_wrong(tmp_path: Path) -> None:
    """A damaged file ends in one sentence or, where the damage does not matter, in the model."""
    models.train(clone(SMALL), dataset(60)).save(tmp_path / "a.model")
    whole = bytearray((tmp_path / "a.model").read_bytes())
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        damaged[int(rng.integers(len(whole)))] ^= int(rng.integers(1, 256))
        (tmp_path / "b.model").write_bytes(damaged)
        try:
            models.read(tmp_path / "b.model")
        except InputError:
            refused += 1
    assert refused > 100


def repacked(path: Path, **members: object) -> Path:
    """The archive with members exchanged; bumpfit.json as a change of its content."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for name, value in members.items():
        content[name] = value if isinstance(value, bytes) else json.dumps(value).encode()
    new = path.with_name("changed.model")
    with zipfile.ZipFile(new, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return new


def test_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """What a file says of itself is checked against what is in it, before any event is scored."""
    for model, changes in (
        (SMALL, ({"models": 10**30}, {"models": 0}, {"models": "x"})),
        (CutAndCount(), ()),
    ):
        models.train(clone(model), dataset()).save(tmp_path / "a.model")
        with zipfile.ZipFile(tmp_path / "a.model") as archive:
            told = json.loads(archive.read("bumpfit.json"))
            arrays = {name: archive.read(name) for name in archive.namelist() if name.endswith(".npy")}
        plain = told["state"]
        wrong = [{**told, "settings": {**told["settings"], **change}} for change in changes]
        wrong += [{**told, "features": value} for value in (["a", "b"], ["a", "b", 3], "abc", None)]
        wrong += [{**told, "classes": value} for value in (["a", "b", "c"], [], 1)]
        wrong += [{**told, "state": {**plain, "shape": value}} for value in ([], [2], [3, 3])]
        wrong += [{**told, "provenance": 3}, [], 7]  # type: ignore[list-item]
        if "cuts" in plain:
            cut = {"kind": "below", "low": 1.0}
            bad: list[list[object]] = [[cut], [cut, cut, {"kind": "oracle"}], [cut, cut, {"kind": "below"}]]
            wrong += [{**told, "state": {**plain, "cuts": cuts}} for cuts in bad]
        for described in wrong:
            with pytest.raises(InputError, match="cannot be read as a model"):
                models.read(repacked(tmp_path / "a.model", **{"bumpfit.json": described}))
        for name, other in ((n, o) for n in arrays for o in arrays if arrays[n] != arrays[o]):
            with pytest.raises(InputError, match="cannot be read as a model"):
                models.read(repacked(tmp_path / "a.model", **{name: arrays[other]}))
        for name, content in arrays.items():  # NumPy's parser of headers fails with an error of its own
            with pytest.raises(InputError, match="cannot be read as a model"):
                models.read(repacked(tmp_path / "a.model", **{name: content.replace(b"}", b" ", 1)}))


def test_an_archive_bigger_than_memory_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.train(clone(SMALL), dataset()).save(tmp_path / "a.model")
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 4, "SC_PAGE_SIZE": 1024}.__getitem__)
    with pytest.raises(InputError, match="too much for the"):
        models.read(tmp_path / "a.model")


def test_a_feature_without_any_value_says_nothing() -> None:
    x, y = shells(200, 1)
    blind = np.column_stack([x[:, :2], np.full(len(x), np.nan)])
    found = clone(SMALL).fit(blind, y)
    known = blind.copy()
    known[:, 2] = 1.0
    np.testing.assert_array_equal(found.predict_proba(blind), found.predict_proba(known))
    assert roc_auc_score(y, found.predict_proba(blind)[:, 1]) > 0.7
    nothing = clone(SMALL).fit(np.full_like(x, np.nan), y).predict_proba(x)
    np.testing.assert_allclose(nothing, 0.5, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": -1.0}, {"learning_rate": float("nan")}, {"iterations": 0}, {"leaves": 1}, {"leaf_events": 0},
        {"l2": -1.0}, {"patience": 0}, {"validation_fraction": 0.0}, {"validation_fraction": 1.0},
        {"validation_fraction": 0.999}, {"validation_fraction": 1e-4}, {"models": 0},
    ],
)  # fmt: skip
def test_settings_of_trees_out_of_range(wrong: dict[str, float]) -> None:
    x, y = shells(50, 1)
    with pytest.raises(InputError, match=f"{next(iter(wrong))}|models to average"):
        BoostedTrees(**wrong).fit(x, y)  # type: ignore[arg-type]


def test_too_few_events_of_a_class_by_its_name() -> None:
    x, y = shells(50, 1)
    rows = np.r_[:53]
    data = Dataset(x[rows].astype("f4"), y[rows].astype("i4"), np.ones(53), ("a", "b", "c"), ("qcd", "w"))
    with pytest.raises(InputError, match="the class 'w' has 3 events"):
        models.train(clone(SMALL), data)
