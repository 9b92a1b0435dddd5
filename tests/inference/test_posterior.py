"""Posteriors against closed forms and direct quadrature."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import integrate, interpolate, optimize, stats

from bumpfit import inference
from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.posterior import posterior
from bumpfit.workspace import build, read
from bumpfit.workspace.model import Model


def counting(n: int, b: float, *modifiers: dict[str, Any], top: float = 60.0) -> Model:
    """n events over b, one signal event a unit of strength."""
    signal = build.sample("signal", [1.0], build.modifier("normfactor", "mu"))
    background = build.sample("background", [b], *modifiers)
    spec = build.workspace({"SR": [signal, background]}, {"SR": [n]}, "mu", {"mu": {"bounds": [[0, top]]}})
    return read(spec)


@pytest.mark.parametrize(("n", "b"), [(0, 3.0), (2, 0.5), (7, 3.0), (30, 20.0)])
def test_limits_of_a_count_over_a_known_background_are_those_of_helene(n: int, b: float) -> None:
    """O. Helene, NIM 212 (1983) 319: 1 - level = Q(n + 1, s + b) / Q(n + 1, b), sums of Poisson terms."""
    found = posterior(counting(n, b), levels=(0.9, 0.95))

    def beyond(s: float) -> float:
        return float(stats.poisson.cdf(n, s + b) / stats.poisson.cdf(n, b))

    def quantile(p: float) -> float:
        return float(optimize.brentq(lambda s: beyond(s) - (1 - p), 0.0, 200.0))

    assert found.upper == pytest.approx(quantile(0.95), rel=1e-4)
    assert (found.low, found.high) == (pytest.approx(quantile(0.05), rel=1e-3), pytest.approx(quantile(0.95), rel=1e-4))
    assert found.median == pytest.approx(quantile(0.5), rel=1e-4)
    assert found.mode == pytest.approx(max(n - b, 0.0), abs=0.01)
    assert found.upper_error == 0.0 and found.effective == 1.0 and found.notes == ()
    # CLs of the same count is the same number (Zech, NIM A 277 (1989) 608)
    assert np.trapezoid(found.density, found.points) == pytest.approx(1.0, abs=2e-3)


def test_the_shortest_interval_of_no_events_begins_at_none() -> None:
    found = posterior(counting(0, 3.0), levels=(0.9, 0.95))
    assert found.shortest_low == pytest.approx(0.0, abs=1e-3)
    assert found.shortest_high == pytest.approx(-math.log(0.1), rel=1e-3)


def test_jeffreys_prior_of_a_count() -> None:
    """Posterior (s + b)^(n - 1/2) exp(-s)."""
    n, b = 5, 2.0
    found = posterior(counting(n, b), prior="jeffreys")

    def density(s: float) -> float:
        return (s + b) ** (n - 0.5) * math.exp(-s)

    whole = integrate.quad(density, 0, 60)[0]
    assert integrate.quad(density, 0, found.upper)[0] / whole == pytest.approx(0.95, abs=1e-5)
    assert integrate.quad(density, 0, found.low)[0] / whole == pytest.approx((1 - 0.6827) / 2, abs=1e-5)


@pytest.mark.parametrize("modifier", [("normsys", (0.6, 1.5)), ("staterror", [2.5]), ("shapesys", [3.0])])
def test_a_nuisance_parameter_is_integrated(modifier: tuple[str, Any]) -> None:
    """One nuisance parameter: the likelihood over its whole range by quadrature, for every value of the strength."""
    n, b = 12, 6.0
    model = counting(n, b, build.modifier(modifier[0], "x", modifier[1]))
    found = posterior(model, samples=256)
    name = next(p for p in model.parameters if p.name != "mu")

    def marginal(mu: float) -> float:
        def likelihood(x: float) -> float:
            return math.exp(-0.5 * (model.twice_nll({"mu": mu, name.name: x}) - floor))

        x = np.linspace(max(name.low, name.init - 6 * width), min(name.high, name.init + 6 * width), 25)
        return float(integrate.simpson([likelihood(value) for value in x], x=x))

    floor, width = inference.fit(model).twice_nll, 1.0 if modifier[0] == "normsys" else 0.5
    few, grid = np.linspace(0.0, 36.0, 31), np.linspace(0.0, 36.0, 3001)
    density = np.exp(interpolate.CubicSpline(few, np.log([marginal(mu) for mu in few]))(grid))
    sums = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid))])
    upper, median = np.interp([0.95, 0.5], sums / sums[-1], grid)
    assert found.upper == pytest.approx(upper, rel=5e-3)
    assert found.median == pytest.approx(median, rel=5e-3)
    assert found.upper_error < 5e-3 * upper and found.effective > 0.2


def test_many_constrained_parameters_are_those_of_a_gaussian() -> None:
    """Many events: mean and deviation are those of the fit with its profiled error."""
    modifiers = [
        build.modifier("normsys", f"n{i}", (1 / (1 + w), 1 + w)) for i, w in enumerate((0.004, 0.006, 0.003, 0.008))
    ]
    signal = build.sample("signal", [900.0, 2500.0], build.modifier("normfactor", "mu"))
    background = build.sample("background", [60000.0, 52000.0], *modifiers)
    spec = build.workspace({"SR": [signal, background]}, {"SR": [61000, 54400]}, "mu", {"mu": {"bounds": [[-20, 20]]}})
    model = read(spec)
    fit, found = inference.fit(model), posterior(model)
    assert found.mean == pytest.approx(fit.values["mu"], abs=0.02 * fit.errors["mu"])
    assert found.deviation == pytest.approx(fit.errors["mu"], rel=0.02)
    assert (found.high - found.low) / 2 == pytest.approx(fit.errors["mu"], rel=0.02)
    assert posterior(model) == found or posterior(model).upper == found.upper  # the seed fixes the points


def test_a_range_that_cuts_is_told_and_wrong_use_refused() -> None:
    model = counting(9, 3.0, top=5.0)
    assert posterior(model).notes == ("the posterior is cut at 5, the end of the range (see --range)",)
    assert posterior(model).upper < 5.0
    for change, message in (
        ({"prior": "x"}, "must be 'flat'"), ({"levels": (1.0, 0.9)}, "between 0 and 1"),
        ({"samples": 100}, "a power of two"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            posterior(model, **change)  # type: ignore[arg-type]
    with pytest.raises(BumpfitError, match="not finite in its range"):
        posterior(counting(0, 0.0), prior="jeffreys")
