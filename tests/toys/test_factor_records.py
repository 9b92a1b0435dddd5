"""Toys of factors beyond pyhf against a likelihood written out: shapesys shared by channels, Poisson staterror."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import poisson

from bumpfit.toys.histfactory import HistFactoryEngine
from bumpfit.types import Floats
from bumpfit.workspace import Model, build, read

SIGNAL = np.array([[6.0, 2.0], [3.0, 7.0]])
SHARED = np.array([[40.0, 30.0], [20.0, 15.0]])
OTHER = np.array([12.0, 18.0])
RELATIVE = np.array([0.2, 0.3])  # of the shared shapesys
ERRORS = np.array([4.0, 5.0]), np.array([3.0, 2.0])  # simulation of both backgrounds of the first channel
TAU = np.concatenate([RELATIVE**-2.0, (SHARED[0] + OTHER) ** 2 / (ERRORS[0] ** 2 + ERRORS[1] ** 2)])
NAMES = ("q[0]", "q[1]", "s[0]", "s[1]")


def both() -> Model:
    m = build.modifier
    strength = m("normfactor", "mu")
    uncertain = [m("shapesys", "q", list(RELATIVE * row)) for row in SHARED]
    channels = {
        "a": [build.sample("s", list(SIGNAL[0]), strength),
              build.sample("b", list(SHARED[0]), uncertain[0], m("staterror", "s", list(ERRORS[0]))),
              build.sample("o", list(OTHER), m("staterror", "s", list(ERRORS[1])))],
        "b": [build.sample("s", list(SIGNAL[1]), strength), build.sample("b", list(SHARED[1]), uncertain[1])],
    }  # fmt: skip
    settings = {"s": {"constraint": "poisson"}}
    return read(build.workspace(channels, {"a": [60.0, 55.0], "b": [22.0, 21.0]}, "mu", settings))


def expected(mu: float, factors: Floats) -> Floats:
    """Events of the four bins and of the four auxiliary measurements; factors (4,)."""
    q, s = factors[:2], factors[2:]
    return np.concatenate([mu * SIGNAL[0] + (SHARED[0] * q + OTHER) * s, mu * SIGNAL[1] + SHARED[1] * q, TAU * factors])


def lowest(toy: Floats, mu: float | None) -> float:
    """-2 ln L at its minimum, with the strength held or from zero on; toy (8,) as `expected`."""

    def height(x: Floats) -> float:
        return float(-2 * poisson.logpmf(toy, expected(x[0], x[1:])).sum())

    ends = [(0.0, 10.0) if mu is None else (mu, mu), *[(1e-3, 5.0)] * 4]
    start = np.array([0.5 if mu is None else mu, 1.0, 1.0, 1.0, 1.0])
    return float(minimize(height, start, bounds=ends, options={"ftol": 1e-14, "gtol": 1e-8}).fun)


def test_toys_of_shared_and_poisson_factors_are_those_of_their_formula() -> None:
    model = both()
    factors = np.array([1.1, 0.8, 0.95, 1.2])
    values = model.array({"mu": 0.7, **dict(zip(NAMES, factors, strict=True))})
    engine = HistFactoryEngine(model, "mu", values, "q0", 0.7, 0.0)
    n, mean = 20_000, expected(0.7, factors)
    c = model.compiled
    named = {model.names[p]: 4 + int(k) for p, k in zip(c.poisson_parameter, c.poisson_aux, strict=True)}
    columns = [0, 1, 2, 3, *(named[name] for name in NAMES)]
    toys = engine.data(np.arange(n), 11)[:, columns]
    assert (np.abs(toys.mean(axis=0) - mean) < 4.5 * np.sqrt(mean / n)).all()
    spread = mean * np.sqrt((2 + 1 / mean) / n)  # of the variance of Poisson counts
    assert (np.abs(toys.var(axis=0, ddof=1) - mean) < 4.5 * spread).all()
    correlations = np.corrcoef(toys.T) - np.eye(8)
    assert (np.abs(correlations) < 4.5 / np.sqrt(n)).all()
    found = engine.fit_data(engine.data(np.arange(12), 11))
    for toy, q0 in zip(toys, found.statistic[:, 0], strict=False):
        assert q0 == pytest.approx(max(lowest(toy, 0.0) - lowest(toy, None), 0.0), abs=2e-4)
    assert found.statistic.max() > 1.0
