"""Intervals, their calibration, and the file of a method."""

import dataclasses
import math
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from higgs_events import table
from scipy.stats import chi2, norm

from bumpfit import higgsml
from bumpfit.errors import InputError
from bumpfit.higgsml import interval, method
from bumpfit.higgsml.measurement import Curve, Measurement
from bumpfit.higgsml.method import Method, State


@dataclasses.dataclass
class Gaussian(Method):
    """A toy: mu_hat is the mean missing momentum relative to training."""

    kind = "gaussian"
    width: float = 0.5
    ends: tuple[float, ...] = (0.0, 1.0)

    def __post_init__(self) -> None:
        self.mean: float | None = None

    def fit(self, train: pd.DataFrame, seed: int = 0) -> "Gaussian":
        self.mean = float(np.average(train["PRI_met"], weights=train["weights"]))
        return self

    def measure(self, events: pd.DataFrame) -> Measurement:
        assert self.mean is not None
        mu = float(events["PRI_met"].mean()) / self.mean
        curve = Curve.parabola(mu, self.width)
        raw = Measurement(mu, math.nan, math.nan, "", {}, curve, True, False, 0.0)
        return interval.with_interval(raw)

    def state(self) -> State:
        if self.mean is None:
            raise InputError("this method is not fitted")
        return State({"mean": self.mean}, {"number": np.array([self.mean])})

    def restore(self, state: State) -> None:
        self.mean = float(state.arrays["number"][0])


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(method.METHODS, "gaussian", f"{Gaussian.__module__}:Gaussian")


def test_a_method_is_the_same_after_saving(registered: None, tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    fitted = method.method("gaussian", width=0.3).fit(table(500, 1))
    fitted.calibration = interval.calibrate(np.arange(5.0), [np.linspace(0, 3, 100)] * 5, 1, "closure")
    method.save(fitted, path)
    again = method.load(path)
    events = higgsml.bias(table(500, 2))
    assert again.predict(events).to_dict() == fitted.predict(events).to_dict()
    assert again.settings == {"width": 0.3, "ends": (0.0, 1.0)}
    with pytest.raises(InputError, match="not calibrated for the range"):
        again.predict(events, challenge_range=True)


def test_bad_files_and_names_are_told(registered: None, tmp_path: Path) -> None:
    path = tmp_path / "m.zip"
    with pytest.raises(InputError, match="not fitted"):
        method.save(method.method("gaussian"), path)
    assert not path.exists()
    with pytest.raises(InputError, match="no method 'magic'"):
        method.method("magic")
    with pytest.raises(InputError, match="no setting 'depth'"):
        method.method("gaussian", depth=3)
    method.save(method.method("gaussian").fit(table(50, 1)), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for before, after, says in (
                                (b'"PRI_met"', b'"PRI_mat"', "other features"),
 (b'"gaussian"', b'"magic"', "no method"),
                                (b"bumpfit-higgsml-method", b"bumpfit-model", "format")):  # fmt: skip
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content.replace(before, after, 1) if name.endswith(".json") else content)
        with pytest.raises(InputError, match=says):
            method.load(path)


def test_intervals_of_a_parabola() -> None:
    z = norm.ppf(0.5 + 0.6827 / 2)
    low, high = interval.region(Curve.parabola(2.0, 0.3))[0]
    assert (low, high) == pytest.approx((2.0 - 0.3 * z, 2.0 + 0.3 * z), abs=1e-6)
    low, high = interval.region(Curve.parabola(-0.2, 0.3))[0]
    # t = ((mu + .2)^2 - .2^2) / .3^2
    assert (low, high) == pytest.approx((0.0, math.sqrt(0.04 + (0.3 * z) ** 2) - 0.2), abs=1e-6)
    assert interval.threshold() == pytest.approx(chi2.ppf(0.6827, 1))


def test_two_pieces_and_empty_regions_are_said() -> None:
    mu = np.linspace(0.0, 4.0, 81)
    rise = np.minimum((mu - 0.5) ** 2, (mu - 2.5) ** 2 + 0.2) / 0.04
    pieces = interval.region(Curve(tuple(mu), tuple(rise)), None, 0.9999)
    assert len(pieces) == 2 and pieces[0][1] < pieces[1][0]
    raw = Measurement(0.5, 0, 0, "", {}, Curve(tuple(mu), tuple(rise + 5.0)), True, False, 0.0)
    assert not interval.with_interval(raw).valid


def test_a_calibration_makes_a_wrong_error_cover() -> None:
    rng = np.random.default_rng(0)
    mus = np.array(interval.STRENGTHS)

    def statistic(mu: float, n: int) -> tuple[np.ndarray, np.ndarray]:
        hat = rng.normal(mu, 0.3, n)  # thought to be .25
        best = np.maximum(hat, 0.0)
        return hat, ((mu - hat) ** 2 - (best - hat) ** 2) / 0.25**2

    found = interval.calibrate(mus, [statistic(mu, 4000)[1] for mu in mus], 0, "closure")
    assert found.at(2.0) == pytest.approx(chi2.ppf(0.6827, 1) * (0.3 / 0.25) ** 2, rel=0.06)
    for mu in (0.1, 0.5, 1.3, 2.8):
        assert np.mean(statistic(mu, 20000)[1] <= found.at(mu)) == pytest.approx(0.6827, abs=0.015)
    covers = [interval.region(Curve.parabola(hat, 0.25), found) for hat in statistic(0.1, 600)[0]]
    assert np.mean([low <= 0.1 <= high for ((low, high),) in covers]) == pytest.approx(0.6827, abs=0.05)


def test_range_calibration_covers_averaged_over_the_range() -> None:
    rng = np.random.default_rng(1)
    grid = np.linspace(0.1, 3.0, 1001)
    mus = rng.uniform(0.1, 3.0, 3000)
    hats = rng.normal(mus, 0.3)
    needed = [interval.credibility_needed(grid, ((grid - h) / 0.3) ** 2, m) for h, m in zip(hats, mus, strict=True)]
    found = interval.calibrate_range(needed, 0.1, 3.0, 1, "closure")
    assert found.credibility == pytest.approx(0.6827, abs=0.02)  # exact for a Bayesian with the true prior
    ends = [interval.posterior_interval(Curve.parabola(max(h, 0.0), 0.3), found) for h in hats[:800] if h > 0]
    assert np.mean([a <= m <= b for (a, b), m in zip(ends, mus[:800][hats[:800] > 0], strict=True)]) > 0.63
    low, high = interval.posterior_interval(Curve.parabola(1.5, 0.3), found)
    assert high - low == pytest.approx(2 * 0.3 * norm.ppf(0.5 + found.credibility / 2), abs=0.01)


def test_few_experiments_are_no_calibration() -> None:
    with pytest.raises(InputError, match="50 or more"):
        interval.calibrate(np.arange(4.0), [np.ones(10)] * 4, 0, "closure")
    with pytest.raises(InputError, match="4 or more"):
        interval.calibrate([1.0, 0.5, 2.0, 3.0], [np.ones(100)] * 4, 0, "closure")
