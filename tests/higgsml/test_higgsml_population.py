"""Pseudo-experiments at event level from events that are biased once, and calibrations by them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from higgs_events import table
from test_higgsml_method import Gaussian

from bumpfit import higgsml
from bumpfit.higgsml.bounds import bound
from bumpfit.higgsml.likelihood import response_model
from bumpfit.higgsml.method import Method, State
from bumpfit.higgsml.nuisances import Nuisances
from bumpfit.higgsml.population import (
    Asked,
    Population,
    calibrated,
    event_calibration,
    event_range_calibration,
    measure_many,
    nuisance_points,
    worlds,
)  # fmt: skip


@dataclasses.dataclass
class Masses(Method):
    """Counts in four bins of the visible mass, templates of the events themselves."""

    kind = "masses"

    def fit(self, train: pd.DataFrame, seed: int = 0) -> "Masses":
        point = Population.of(train).at(Nuisances(), [0])
        place = self.summaries(point.features)
        yields = np.stack([np.bincount(place, point.weights * (point.process == p), 4) for p in range(4)], axis=1)
        self.model = response_model(yields, np.zeros((4, 4, 9)))
        return self

    def summaries(self, features: np.ndarray) -> np.ndarray:
        return np.searchsorted([50.0, 90.0, 140.0], features[17])

    def measure(self, events: pd.DataFrame) -> higgsml.Score:
        raise NotImplementedError

    def state(self) -> State:
        return State()

    def restore(self, state: State) -> None:
        pass


def events() -> pd.DataFrame:
    """As many simulated events as expected ones, a third of them signal."""
    result = table(3000, 5)
    return result.assign(weights=np.float32(1.0))


def test_events_of_a_point_are_the_biased_ones() -> None:
    sample = events()
    at = Nuisances(tes=1.02, jes=0.97, ttbar_scale=1.1, diboson_scale=0.5, bkg_scale=1.01)
    point = Population.of(sample, 5.0).at(at, [1])
    want = higgsml.bias(sample, **at.to_dict())
    np.testing.assert_array_equal(point.features[17], want["DER_mass_vis"])
    np.testing.assert_allclose(point.weights, 0.5 * want["weights"], rtol=1e-6)
    rates = point.rates(2.0)
    assert rates[point.process == 0].sum() == pytest.approx(2 * point.weights[point.process == 0].sum())
    times = point.times(1.0, np.random.default_rng(0))
    assert times.sum() == pytest.approx(point.weights.sum(), abs=5 * point.weights.sum() ** 0.5)


def test_heavy_events_have_noise_of_their_own_in_every_copy() -> None:
    sample = events().assign(weights=np.float32(3.0))
    population = Population.of(sample)
    assert population.copies == 3
    point = population.at(Nuisances(soft_met=4.0), [2])
    plain = population.at(Nuisances(), [2])
    assert point.features.shape[1] == 3 * plain.features.shape[1]
    assert point.weights.sum() == pytest.approx(plain.weights.sum())
    first, second = np.split(point.features[14], 3)[:2]
    assert np.std(first - second) > 1.0


def test_points_of_the_nuisances_follow_their_prior() -> None:
    points = nuisance_points(256, 3)
    soft = np.array([p.soft_met for p in points])
    assert np.mean(soft == 5.0) == pytest.approx(0.0538, abs=0.01)
    tes = np.array([p.tes for p in points])
    assert (tes.mean(), tes.std()) == pytest.approx((1.0, 0.01), abs=3e-4)
    assert all(p.jes == 1.0 and p.soft_met == 0.0 for p in nuisance_points(9, 3, ["tes"]))
    with pytest.raises(higgsml_error(), match="1 or more"):
        nuisance_points(0, 1)


def higgsml_error() -> type[Exception]:
    from bumpfit.errors import InputError

    return InputError


def test_counts_of_bins_have_the_law_of_single_events() -> None:
    sample = events()
    fitted = Masses().fit(sample)
    point = Population.of(sample).at(Nuisances(tes=1.01), [3])
    place = fitted.summaries(point.features)
    found = measure_many(fitted, point, np.full(400, 1.5), [1], Asked())
    rng = np.random.default_rng(9)
    from bumpfit.higgsml.likelihood import fit_all

    single = np.array([np.bincount(place, point.times(1.5, rng), 4) for _ in range(400)])
    hats = fit_all(fitted.model, single, 1.5).best[:, 0]  # type: ignore[arg-type]
    error = hats.std() / 20
    assert found.mu_hat.mean() == pytest.approx(hats.mean(), abs=5 * error)
    assert found.mu_hat.std() == pytest.approx(hats.std(), rel=0.15)


@pytest.mark.slow
def test_a_calibration_by_events_covers_where_templates_are_wrong() -> None:
    sample = events()
    fitted = Masses().fit(sample)  # it knows nothing of tes, jes, soft_met
    assert fitted.model is not None
    mus = np.tile([0.5, 1.0, 2.0], 500)
    plain = worlds(fitted, sample, mus, 5, Asked(ends=True), points=60)
    fitted.calibration = event_calibration(fitted, sample, 4200, 1, points=60)
    assert "events" in fitted.calibration.mode
    found = worlds(fitted, sample, mus, 5, Asked(ends=True), points=60)

    def covered(w: object) -> float:
        return float(np.mean((w.low <= mus) & (mus <= w.high)))  # type: ignore[attr-defined]

    assert covered(found) == pytest.approx(0.6827, abs=0.05)
    assert bound(fitted.model, 1.0).profiled > 0 and plain.valid.all()
    again = worlds(fitted, sample, mus[:120], 5, Asked(ends=True), points=60)
    np.testing.assert_array_equal(
        again.low, worlds(fitted, sample, mus[:120], 5, Asked(ends=True), points=60, workers=2).low
    )
    assert 0.5 < event_range_calibration(fitted, sample, 100, points=20).credibility < 1.0


def test_strengths_that_repeat_meet_all_points(monkeypatch: pytest.MonkeyPatch) -> None:
    from bumpfit.higgsml import population

    seen: dict[float, set[float]] = {}

    def at_point(task: tuple) -> population.Worlds:
        for mu in task[3]:
            seen.setdefault(float(mu), set()).add(task[2].tes)
        n = len(task[3])
        return population.Worlds(task[3], *np.zeros((4, n)), np.ones(n, bool), np.empty((n, 0)))  # type: ignore[call-arg]

    monkeypatch.setattr(population, "_at_point", at_point)
    mus = np.tile([0.5, 1.0, 2.0], 40)
    found = worlds(Gaussian(0.2), events(), mus, 1, points=6)
    np.testing.assert_array_equal(found.mu, mus)
    assert [len(points) for points in seen.values()] == [6, 6, 6]


def test_methods_without_bins_are_measured_event_by_event() -> None:
    sample = events()
    fitted = Gaussian(0.2).fit(sample)
    found = worlds(fitted, sample, np.full(6, 1.0), 5, Asked(ends=True, curves=True), points=2)
    assert found.valid.all() and np.isfinite(found.rise).all() and (found.low < found.mu_hat).all()
    assert found.mu_hat.std() > 0


@pytest.mark.parametrize("by", ("templates", "events"))
def test_the_range_of_the_challenge_is_calibrated_where_it_is_wanted(by: str) -> None:
    sample = table(3000, 5).assign(weights=np.float32(1.0))
    plain, ranged = Masses().fit(sample), Masses().fit(sample)
    assert calibrated(plain, sample, 500, 1, by, challenge_range=False) == by == calibrated(ranged, sample, 500, 1, by)
    assert plain.range_calibration is None and ranged.range_calibration is not None
    assert plain.calibration is not None and ranged.calibration is not None
    np.testing.assert_array_equal(plain.calibration.critical, ranged.calibration.critical)
