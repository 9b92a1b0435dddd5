"""The starting kit: additive templates against Minuit, the published mistake, and a small sample."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from higgs_events import strong, table
from iminuit import Minuit

from bumpfit import higgsml
from bumpfit.errors import InputError
from bumpfit.higgsml import method
from bumpfit.higgsml.bounds import bound
from bumpfit.higgsml.likelihood import fit_all, sum_model
from bumpfit.higgsml.method_baseline import Baseline
from bumpfit.higgsml.nuisances import NAMES
from bumpfit.higgsml.split import parts
from bumpfit.higgsml.templates import Sample

SMALL = {"bins": 10, "points": 7, "degree": 3, "trees": 20, "leaves": 6, "draws": 2}


@pytest.fixture(scope="module")
def fitted() -> Baseline:
    return Baseline(**SMALL).fit(strong(), 3)


def rates(nominal: np.ndarray, effects: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Expected events by the formula, one bin and nuisance after the other."""
    result = []
    at = [np.exp(v) if k == 2 else v for k, v in enumerate(x[1:])]
    for yields, by_part in zip(nominal, effects, strict=True):
        both = [
            y + sum(np.polyval([*c[::-1], 0.0], v) for c, v in zip(by, at, strict=True))
            for y, by in zip(yields, by_part, strict=True)
        ]
        result.append(x[0] * both[0] + both[1])
    return np.array(result)


def test_sums_of_effects_against_minuit() -> None:
    rng = np.random.default_rng(0)
    nominal = rng.uniform(50, 300, (9, 2))
    effects = rng.normal(0, 1.0, (9, 2, 6, 3)) * np.array([4.0, 0.5, 0.05])
    model = sum_model(nominal, effects)
    x = np.array([1.3, 0.4, -0.7, 0.3, 0.2, -0.5, 0.8])
    r, d = model.expected(x[0], x[1:])
    np.testing.assert_allclose(r[0], rates(nominal, effects, x), rtol=1e-12)
    for k in range(7):
        step = 1e-5 * np.eye(7)[k]
        (up, _), (down, _) = (model.expected(y[0], y[1:]) for y in (x + step, x - step))
        np.testing.assert_allclose(d[0, :, k], (up[0] - down[0]) / 2e-5, rtol=1e-6, atol=1e-6)
    counts = rng.poisson(r[0]).astype(float)

    def twice_nll(v: np.ndarray) -> float:
        e = np.maximum(rates(nominal, effects, v), 1e-10)
        return float(2 * np.sum(e - counts * np.log(e)) + np.sum(v[1:] ** 2))

    found = fit_all(model, counts[None], 1.0)
    minuits = []
    for soft in (0.0, 1.2):  # the soft noise may have two minima
        one = Minuit(twice_nll, np.array([1.0, 0, 0, soft, 0, 0, 0]))
        one.strategy, one.tol = 2, 1e-5
        one.limits["x3"] = (-5.0, np.log(5.0))
        minuits.append(one.migrad())
    minuit = min(minuits, key=lambda m: m.fval)
    assert found.valid[0]
    assert twice_nll(found.best[0]) == pytest.approx(minuit.fval, abs=1e-4)
    assert found.best[0] == pytest.approx(np.array(minuit.values), abs=5e-3)
    assert sum_model(np.zeros((1, 2)), np.zeros((1, 2, 6, 1))).expected(1.0)[0][0, 0] == 1e-10
    with pytest.raises(InputError, match="expected \\(B, 2\\)"):
        sum_model(nominal, effects[:3])


def test_a_measurement_finds_the_strength(fitted: Baseline, tmp_path: Path) -> None:
    _, templates = parts(strong())
    pulls = []
    for seed in range(5):
        one = higgsml.experiment(templates, 2.0, {}, seed)
        found = fitted.predict(one.table)
        assert found.valid and found.low < found.mu_hat < found.high
        pulls.append((found.mu_hat - 2.0) / bound(fitted.model, 2.0).profiled)  # type: ignore[arg-type]
    assert abs(np.mean(pulls)) < 2.0
    path = tmp_path / "m.zip"
    method.save(fitted, path)
    again = method.load(path).predict(one.table)
    assert dataclasses.replace(again, seconds=0.0).to_dict() == dataclasses.replace(found, seconds=0.0).to_dict()


def test_templates_are_yields_and_effects_of_one_nuisance_each(fitted: Baseline) -> None:
    _, templates = parts(strong())
    sample = Sample.of(templates, 2, 3)
    want = fitted._yields(sample, 3.0, 0.0, 0.0)
    model = fitted.model
    assert model is not None
    theta = np.zeros(6)
    theta[2] = -50.0  # no soft noise
    np.testing.assert_allclose(model.expected(1.0, theta)[0][0], fitted._yields(sample, 0, 0, 0).sum(axis=1), rtol=1e-9)
    theta[0] = 3.0
    np.testing.assert_allclose(model.expected(1.0, theta)[0][0], want.sum(axis=1), rtol=0.08)
    assert len(fitted.edges) >= 3


def test_as_published_every_effect_is_six_times_too_small(fitted: Baseline) -> None:
    theirs = Baseline(**{**SMALL, "bins": 10}, as_published=True).fit(strong(), 3)
    assert theirs.model is None and len(theirs.edges) == 9
    assert theirs.edges == pytest.approx(np.linspace(0.1, 0.9, 9))
    scale = theirs.effects[:, 1, NAMES.index("bkg_scale"), 0]
    assert scale == pytest.approx(theirs.nominal[:, 1] * 0.001 / 6)
    _, templates = parts(strong())
    found = theirs.predict(higgsml.experiment(templates, 2.0, {}, 1).table)
    assert found.valid and found.interval_kind == "Minuit's error, as published"
    ours = fitted.predict(higgsml.experiment(templates, 2.0, {}, 1).table)
    assert found.high - found.low < ours.high - ours.low  # it believes that the nuisances are known


def test_bad_settings_and_few_events_are_told() -> None:
    with pytest.raises(InputError, match="points more than degree"):
        Baseline(points=5)
    with pytest.raises(InputError, match="take more events"):
        Baseline(**{**SMALL, "leaves": 60}).fit(table(400, 1))
    with pytest.raises(InputError, match="not fitted"):
        Baseline().predict(higgsml.bias(table(50, 1)))
