"""Intervals from profile curves: where the likelihood ratio stays below a critical value, and its calibration.

The statistic of a true mu is t = -2 ln L(mu) + 2 ln max_{mu' >= 0} L(mu'), nuisances profiled (Feldman and Cousins,
Phys. Rev. D 57 (1998) 3873, with profiling). Its quantile at the level, as a smooth function of mu, comes from
pseudo-experiments whose nuisances are drawn from the prior: the interval {mu: t(mu) <= c(mu)} then covers averaged over
that prior, as the challenge scores it. Without a calibration c is the quantile of chi-squared with one degree of
freedom.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import UnivariateSpline
from scipy.stats import chi2, norm

from bumpfit.errors import InputError
from bumpfit.higgsml.measurement import Curve, Measurement
from bumpfit.higgsml.score import LEVEL
from bumpfit.results import Record

Array = NDArray[np.float64]
POINTS = 201
"""Points of the line through the quantiles."""
STRENGTHS = tuple((np.linspace(0.0, 1.0, 21) ** 2 * 4.5).round(4).tolist())
"""Strengths of the pseudo-experiments of a calibration: closer near 0, and beyond the range of the challenge."""
STEPS = 2000
"""Points at which a curve is compared with the critical value before the crossings are refined."""


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration(Record):
    """Critical value of the statistic as a function of mu.

    `mu` (K,) are the strengths of the pseudo-experiments, `quantile` and `error` (K,) the measured quantiles. What is
    used are the smooth values `critical` at `grid` (linear between them, constant beyond). `n` is the smallest number
    of experiments at a strength, `seed` the first of their seeds; `mode` says what they were drawn from.
    """

    mu: tuple[float, ...]
    quantile: tuple[float, ...]
    error: tuple[float, ...]
    grid: tuple[float, ...]
    critical: tuple[float, ...]
    level: float
    n: int
    seed: int
    mode: str

    def at(self, mu: ArrayLike) -> Array:
        """The critical value."""
        return np.interp(np.asarray(mu, dtype=np.float64), self.grid, self.critical)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Calibration:
        """Back from `to_dict`."""
        names = ("mu", "quantile", "error", "grid", "critical")
        sequences = {key: tuple(float(v) for v in content[key]) for key in names}
        if len(sequences["grid"]) != len(sequences["critical"]) or not sequences["grid"]:
            raise ValueError("the parts of its calibration do not fit together")
        return cls(
            **sequences, level=float(content["level"]), n=int(content["n"]), seed=int(content["seed"]),
            mode=str(content["mode"]),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class RangeCalibration(Record):
    """Credibility of the shortest posterior interval (flat prior on [low, high]) that covers `level` of such mu."""

    low: float
    high: float
    credibility: float
    level: float
    n: int
    seed: int
    mode: str


def threshold(level: float = LEVEL) -> float:
    """The asymptotic critical value: a quantile of chi-squared with one degree of freedom."""
    return float(chi2.ppf(level, 1))


def calibrate(mu: ArrayLike, statistics: list[Array], seed: int, mode: str, level: float = LEVEL) -> Calibration:
    """Quantiles of the statistic at each mu, and a smooth line through them.

    Args:
        mu: strengths, ascending, shape (K,), K >= 4.
        statistics: t at the true mu in the pseudo-experiments of each.
        seed: first seed of the experiments, for the record.
        mode: what they were drawn from, for the record.
        level: the coverage that is asked for.

    The line is a cubic smoothing spline in sqrt(mu) (the quantile changes fast where mu = 0 is near), weighted by the
    statistical errors (from the binomial law of the order statistics), with as much chi-squared as there are points.

    Raises:
        InputError: too few strengths or experiments, or values that are not finite.
    """
    x = np.asarray(mu, dtype=np.float64)
    if len(x) < 4 or (np.diff(x) <= 0).any() or len(statistics) != len(x):
        raise InputError(f"a calibration wants 4 or more ascending strengths, got {len(x)}")
    n = min(len(t) for t in statistics)
    if n < 50 or not all(np.isfinite(t).all() for t in statistics):
        raise InputError(f"a calibration wants 50 or more finite values of the statistic at each strength, got {n}")
    points = np.array([quantile(t, level) for t in statistics])
    line = UnivariateSpline(np.sqrt(x), points[:, 0], w=1.0 / points[:, 1], k=3, s=len(x))
    grid = np.linspace(math.sqrt(x[0]), math.sqrt(x[-1]), POINTS) ** 2
    smooth = np.maximum(line(np.sqrt(grid)), 0.0)
    found, error, line_at, value = (tuple(a.tolist()) for a in (points[:, 0], points[:, 1], grid, smooth))
    return Calibration(tuple(x.tolist()), found, error, line_at, value, level, n, seed, mode)


def quantile(values: Array, level: float) -> tuple[float, float]:
    """A quantile, and half the distance of the order statistics one binomial standard deviation away."""
    n, ordered = len(values), np.sort(values)
    spread = math.sqrt(level * (1 - level) * n)
    low, high = (ordered[min(max(round(level * n + side * spread), 0), n - 1)] for side in (-1, 1))
    return float(np.quantile(ordered, level)), float(max(0.5 * (high - low), 1e-12 + 1e-6 * high))


def region(
    curve: Curve, calibration: Calibration | None = None, level: float = LEVEL
) -> tuple[tuple[float, float], ...]:
    """The parts of {mu >= 0: t(mu) <= c(mu)}, in order."""
    top = curve.mu[-1]
    grid = np.linspace(0.0, top, STEPS + 1)

    def excess(mu: Array) -> Array:
        return curve.at(mu) - (threshold(level) if calibration is None else calibration.at(mu))

    while excess(grid[-1:])[0] <= 0.0 and top < 1e6:  # a flat likelihood goes on beyond the curve's grid
        top *= 2.0
        grid = np.linspace(0.0, top, STEPS + 1)
    inside = excess(grid) <= 0.0
    edges = np.flatnonzero(np.diff(inside.astype(np.int8)))
    ends = [_crossing(excess, grid[i], grid[i + 1]) for i in edges]
    if inside[0]:
        ends.insert(0, 0.0)
    if inside[-1]:
        ends.append(math.inf)
    return tuple(zip(ends[::2], ends[1::2], strict=True))


def _crossing(excess: Any, low: float, high: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(lambda mu: excess(np.array([mu]))[0], low, high, xtol=1e-9))


def with_interval(measurement: Measurement, calibration: Calibration | RangeCalibration | None = None) -> Measurement:
    """The measurement with the interval that its curve has under a calibration (None: the asymptotic one)."""
    if not measurement.valid or measurement.twice_nll is None:
        return measurement
    if isinstance(calibration, RangeCalibration):
        low, high = posterior_interval(measurement.twice_nll, calibration)
        ends: tuple[tuple[float, float], ...] = ((low, high),)
        kind = f"flat prior on [{calibration.low:g}, {calibration.high:g}], calibrated"
        bound = low <= calibration.low or high >= calibration.high
    else:
        ends = region(measurement.twice_nll, calibration)
        kind = "profile likelihood" if calibration is None else "profile likelihood, calibrated"
        bound = bool(ends) and ends[0][0] == 0.0
    low, high = (ends[0][0], ends[-1][1]) if ends else (math.nan, math.nan)
    return dataclasses.replace(
        measurement, low=low, high=high, pieces=ends, interval_kind=kind, at_bound=bound, valid=bool(ends)
    )


def posterior_interval(curve: Curve, calibration: RangeCalibration) -> tuple[float, float]:
    """Ends of the shortest interval that holds the credibility of the posterior with a flat prior on the range."""
    mu = np.linspace(calibration.low, calibration.high, STEPS + 1)
    return shortest(mu, curve.at(mu), calibration.credibility)


def shortest(mu: Array, rise: Array, credibility: float) -> tuple[float, float]:
    """Ends of {mu: rise <= cut} whose posterior probability is the credibility (one piece where there is one dip)."""
    weight = np.exp(-0.5 * (rise - rise.min()))
    weight[[0, -1]] *= 0.5
    order = np.argsort(rise, kind="stable")
    held = np.cumsum(weight[order]) / weight.sum()
    last = int(np.searchsorted(held, credibility))
    inside = order[: last + 1]
    step = mu[1] - mu[0]
    share = credibility - (held[last - 1] if last else 0.0)
    part = share / (held[last] - (held[last - 1] if last else 0.0))
    low, high = mu[inside.min()], mu[inside.max()]
    edge = mu[order[last]]
    if edge == low and low > mu[0]:
        low += (1.0 - part) * step
    elif edge == high and high < mu[-1]:
        high -= (1.0 - part) * step
    return float(low), float(high)


def credibility_needed(mu: Array, rise: Array, true: float) -> float:
    """The smallest credibility whose shortest interval holds the true mu."""
    weight = np.exp(-0.5 * (rise - rise.min()))
    weight[[0, -1]] *= 0.5
    return float(weight[rise < np.interp(true, mu, rise)].sum() / weight.sum())


def calibrate_range(
    needed: ArrayLike, low: float, high: float, seed: int, mode: str, level: float = LEVEL
) -> RangeCalibration:
    """The credibility that covers: the quantile of what pseudo-experiments with mu uniform in the range needed."""
    values = np.asarray(needed, dtype=np.float64)
    if len(values) < 50 or not np.isfinite(values).all():
        raise InputError(f"a calibration wants 50 or more pseudo-experiments, got {len(values)}")
    return RangeCalibration(low, high, float(np.quantile(values, level)), level, len(values), seed, mode)


def gaussian_width(sigma: float, level: float = LEVEL) -> float:
    """Width of a central interval of a Gaussian measurement."""
    return 2.0 * sigma * float(norm.ppf(0.5 + level / 2))
