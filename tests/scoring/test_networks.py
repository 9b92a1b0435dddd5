"""Networks; every test that trains needs PyTorch."""

import dataclasses
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bumpfit.errors import InputError, MissingExtraError
from bumpfit.events.dataset import Dataset
from bumpfit.scoring import CNN, MLP, models
from bumpfit.scoring.networks import Network

QUICK = MLP(hidden=(16,), epochs=8, learning_rate=1e-2)
SMALL = CNN(filters=(4, 8), hidden=16, epochs=6, batch=32, learning_rate=1e-2)


def events(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two Gaussians in two features, whose best AUC is known; the third feature is missing more often in class 1."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n)
    x = rng.normal(size=(2 * n, 3)) * [1, 1000, 1] + y[:, None] * np.array([1.0, 1000, 0])
    x[rng.random(2 * n) < 0.1 + 0.6 * (y == 1), 2] = np.nan
    return x, y


def images(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The same energy in one pixel (class 0) or in four neighbours (class 1), anywhere in 12 x 12, with noise."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n)
    pictures = rng.exponential(0.1, (2 * n, 12, 12))
    row, column = rng.integers(0, 11, (2, 2 * n))
    for i in range(2):
        for j in range(2):
            spread = (y == 1) | (i + j == 0)
            pictures[np.flatnonzero(spread), row[spread] + i, column[spread] + j] += 20 / (1 + 3 * y[spread])
    return pictures, y


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"bumpfit\[deep\]"):
        MLP().fit(*events(20, 1))


def test_mlp_reaches_the_best_possible_and_uses_what_is_missing() -> None:
    pytest.importorskip("torch")
    x, y = events(1000, 1)
    fresh, label = events(1500, 2)
    p = QUICK.fit(x, y, seed=1).predict_proba(fresh)
    missing = np.isnan(fresh[:, 2])
    exact = fresh[:, 0] + fresh[:, 1] / 1000 + np.where(missing, np.log(0.7 / 0.1), np.log(0.3 / 0.9))
    assert roc_auc_score(label, p[:, 1]) > roc_auc_score(label, exact) - 0.015
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert np.isfinite(MLP.predict_proba(QUICK, np.array([[1e30, -1e30, np.nan], [np.nan] * 3]))).all()


@pytest.mark.parametrize("normalisation", ["max", "log"])
def test_cnn_tells_narrow_from_wide_spots(normalisation: str) -> None:
    pytest.importorskip("torch")
    x, y = images(250, 1)
    fresh, label = images(250, 2)
    p = dataclasses.replace(SMALL, normalisation=normalisation).fit(x, y, seed=1).predict_proba(fresh)
    assert roc_auc_score(label, p[:, 1]) > 0.9
    blank = np.zeros((1, 12, 12))
    blank[0, 0, 0] = np.nan
    assert np.isfinite(SMALL.fit(x[::20], y[::20]).predict_proba(blank)).all()


@pytest.mark.parametrize("model", [QUICK, dataclasses.replace(SMALL, hidden=0)], ids=["mlp", "cnn"])
def test_seed_threads_and_files(model: Network, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    x, y = (events if model.kind == "mlp" else images)(60, 3)
    features = ("a", "b", "c") if model.kind == "mlp" else ()
    data = Dataset(x.astype("f4"), y.astype("i4"), np.ones(len(y)), features, ("b", "s"))
    short = dataclasses.replace(model, epochs=3)  # type: ignore[type-var]
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    trained = models.train(short, data, seed=5)
    p = trained.probabilities(data)
    assert torch.equal(torch.random.get_rng_state(), before) and torch.get_num_threads() == threads
    trained.save(tmp_path / "net.model")
    back = models.read(tmp_path / "net.model")
    np.testing.assert_array_equal(back.probabilities(data), p)
    assert back.classifier.get_params() == short.get_params()
    with zipfile.ZipFile(tmp_path / "net.model") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["files/weights.safetensors"] = content["files/weights.safetensors"][:100]
    with zipfile.ZipFile(tmp_path / "cut.model", "w") as archive:
        for name, piece in content.items():
            archive.writestr(name, piece)
    with pytest.raises(InputError, match="weights of the network are damaged"):
        models.read(tmp_path / "cut.model")
    torch.manual_seed(99)
    again = models.train(dataclasses.replace(short), data, seed=5)  # type: ignore[type-var]
    np.testing.assert_array_equal(again.probabilities(data), p)
    other = models.train(dataclasses.replace(short), data, seed=6)  # type: ignore[type-var]
    assert not np.array_equal(other.probabilities(data), p)


def test_stops_early_and_keeps_the_best_epoch() -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(200, 4)), rng.integers(0, 2, 200)  # nothing to learn
    model = MLP(hidden=(64, 64), epochs=100, batch=32, patience=4, learning_rate=1e-2).fit(x, y, seed=1)
    losses = [epoch["validation"] for epoch in model.history_]
    assert len(losses) < 100 and len(losses) == int(np.argmin(losses)) + 1 + 4
    assert losses[0] > 0


def test_weights_shift_probabilities() -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(1000, 1)), np.repeat([0, 1], 500)
    p = (
        MLP(hidden=(4,), epochs=12, batch=32, learning_rate=1e-2)
        .fit(x, y, np.where(y == 1, 9.0, 1.0), seed=1)
        .predict_proba(x)[:, 1]
    )
    assert np.median(p) == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (MLP(hidden=()), "layers of 1 unit or more"),
        (MLP(dropout=1.0), "a fraction"),
        (MLP(learning_rate=0), "positive rate"),
        (MLP(epochs=0), "1 or more"),
        (CNN(normalisation="sum"), "expected one of max, log"),
        (CNN(filters=(4, 4, 4, 4)), "too small for 4 poolings"),
    ],
)
def test_refuses(model: Network, message: str) -> None:
    pytest.importorskip("torch")
    x, y = (events if model.kind == "mlp" else images)(20, 3)
    with pytest.raises(InputError, match=message):
        model.fit(x, y)
    with pytest.raises(InputError, match="shape"):
        type(model)().fit(x[0], y)


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (MLP(hidden=(4,), epochs=1), ({"hidden": [10**9]}, {"hidden": [0]}, {"hidden": "x"})),
        (CNN(filters=(2,), hidden=4, epochs=1), ({"filters": [10**9]}, {"filters": [0]}, {"hidden": 10**12})),
    ],
    ids=["mlp", "cnn"],
)
def test_settings_that_do_not_fit_to_the_weights(
    model: Network, changes: tuple[dict[str, object], ...], tmp_path: Path
) -> None:
    """A damaged file may ask for a network of any size: it is refused before memory is taken, without a warning."""
    pytest.importorskip("torch")
    x, y = (events if model.kind == "mlp" else images)(20, 3)
    names = tuple(f"f{i}" for i in range(x.shape[1])) if model.kind == "mlp" else ()
    data = Dataset(x.astype("f4"), y.astype("i4"), np.ones(len(y)), names, ("b", "s"))
    models.train(model, data).save(tmp_path / "a.model")
    with zipfile.ZipFile(tmp_path / "a.model") as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    told = json.loads(content["bumpfit.json"])
    wrong = [{**told, "settings": {**told["settings"], **change}} for change in changes]
    wrong += [{**told, "state": {**told["state"], "classes": []}}]
    wrong += [{**told, "state": {**told["state"], "scale": 0}}] if model.kind == "cnn" else []
    for described in wrong:
        with zipfile.ZipFile(tmp_path / "b.model", "w") as archive:
            for name, part in {**content, "bumpfit.json": json.dumps(described)}.items():
                archive.writestr(name, part)
        with pytest.raises(InputError, match="cannot be read as a model"):
            models.read(tmp_path / "b.model")
