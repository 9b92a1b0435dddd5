"""`bumpfit dataset --image` and `train --approach cnn`: from constituents of jets to images, a network and back."""

from pathlib import Path

import numpy as np
import pytest
from command_line import Run, refused

from bumpfit.events import dataset as sets
from bumpfit.scoring import models

ak = pytest.importorskip("awkward")
pytest.importorskip("fastjet")

EVENTS = 260


def jets(prongs: int, seed: int) -> list[list[dict[str, float]]]:
    """Constituents around one axis, or around two that are 0.8 apart in a random direction."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(EVENTS):
        axis, angle = rng.uniform(-1, 1, 2), rng.uniform(0, 2 * np.pi)
        centres = [axis, axis + 0.8 * np.array([np.cos(angle), np.sin(angle)])][:prongs]
        where = np.concatenate([rng.normal(c, 0.05, (12, 2)) for c in centres])
        pt = rng.exponential(10, len(where)) + 1
        found.append([{"pt": p, "eta": x, "phi": y, "mass": 0.0} for p, (x, y) in zip(pt, where, strict=True)])
    return found


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    words = []
    for name, prongs in (("one", 1), ("two", 2)):
        path = tmp_path_factory.mktemp("jets") / f"{name}.parquet"
        ak.to_parquet(ak.Array({"constituent": jets(prongs, prongs)}), path)
        words += ["--class", f"{name}={path}"]
    return words


@pytest.fixture
def images(bumpfit: Run, classes: list[str], tmp_path: Path) -> Path:
    path = tmp_path / "images.ds"
    made = bumpfit("dataset", *classes, "--image", "constituent", "--pixels", 11, "--extent", 1.1, "-o", path,
                   "--figure", tmp_path / "mean.png")  # fmt: skip
    assert made.code == 0, made.err
    return path


def test_images(bumpfit: Run, classes: list[str], images: Path, tmp_path: Path) -> None:
    """The hardest subjet is in the middle pixel, the second 0.8 below it: four pixels of 0.2."""
    made = sets.read(images)
    assert made.samples.shape == (2 * EVENTS, 11, 11) and made.features == ()
    one, two = (made.samples[made.targets == number].mean(axis=0) for number in (0, 1))
    assert one[4:7, 4:7].sum() > 0.95 * one.sum()
    row, column = np.unravel_index(np.where(np.hypot(*np.indices((11, 11)) - 5) < 2, 0, two).argmax(), two.shape)
    assert sorted((abs(int(row) - 5), abs(int(column) - 5))) == [0, 4]
    assert 0.2 < two[row - 1 : row + 2, column - 1 : column + 2].sum() / two.sum() < 0.5
    assert (tmp_path / "mean.png").stat().st_size > 5000
    both = bumpfit("dataset", *classes, "--image", "constituent", "--observable", "constituent.size", "-o", images)
    assert "give --observable (one or more) or --image" in refused(both)
    assert "learns from observables, but the data set holds images" in refused(bumpfit("train", images))
    none = bumpfit("dataset", *classes, "--image", "tower", "-o", tmp_path / "none.ds")
    assert "tower" in refused(none) and not (tmp_path / "none.ds").exists()
    assert "has no 'mass'" in refused(bumpfit("metrics", images, "--observable", "mass", "--expected", "one=5"))


def test_cnn(bumpfit: Run, images: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    model = tmp_path / "cnn.model"
    told = bumpfit("train", images, "--approach", "cnn", "-m", model, "--set", "epochs=6", "--set", "filters=4,8",
                   "--set", "batch=32", "--bootstrap", 10, "--expected", "one=200", "--expected", "two=20",
                   "--figure", tmp_path / "cnn.png", "--json").json  # fmt: skip
    assert told["metrics"]["auc"]["value"] > 0.98  # one prong against two is plain to see
    test = sets.read(images).get("test")
    right = models.read(model).probabilities(test).argmax(axis=1) == test.targets
    assert told["metrics"]["accuracy"]["value"] == pytest.approx(right.mean())
    assert told["likelihood"]["expected"]["z"] > 0.5
    again = bumpfit("metrics", images, "-m", model, "--bootstrap", 10, "--json").json
    assert again["metrics"] == told["metrics"]
    assert (tmp_path / "cnn.png").stat().st_size > 10_000
    assert "has no 'x'; its features are images" in refused(
        bumpfit("metrics", images, "-m", model, "--expected", "one=5", "--scale", "x=0.1")
    )
