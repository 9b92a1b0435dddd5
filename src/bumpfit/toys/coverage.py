"""Coverage of intervals and limits, and expected sensitivity, from toys.

An interval by the profile likelihood at a threshold c contains the true strength exactly when t(true) <= c, and a
limit excludes it exactly when its test does: coverage needs the test statistic of each toy at its own true strength,
no interval.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Literal

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.normal import chi2_quantile, significance
from bumpfit.results import Record
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.throw import ToySample, throw
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

Kind = Literal["interval", "upper limit"]
LEVELS = np.array([0.02275, 0.15866, 0.5, 0.84134, 0.97725])
"""Fractions of toys below the ends of the bands: -2, -1, 0, 1, 2 standard deviations."""


@dataclasses.dataclass(frozen=True, eq=False)
class Coverage(Record):
    """Fraction of toys whose interval or limit at `level` contains their true strength, with its error, a strength
    each.
    """

    kind: Kind
    level: float
    strengths: tuple[float, ...]
    coverage: tuple[float, ...]
    errors: tuple[float, ...]
    toys: int
    failed: int


@dataclasses.dataclass(frozen=True, eq=False)
class Sensitivity(Record):
    """Discovery significance sqrt(q0) expected at each strength: quantiles at -2, -1, 0, 1, 2 standard deviations.

    `power`: fraction of toys that reach `threshold`. `significance_errors`, `power_errors`: their statistical errors.
    """

    strengths: tuple[float, ...]
    significance: tuple[tuple[float, ...], ...]
    threshold: float
    power: tuple[float, ...]
    toys: int
    significance_errors: tuple[tuple[float, ...], ...]
    power_errors: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Throwing:
    """How toys are thrown: `n` for each strength."""

    n: int
    seed: int
    workers: int
    executor: Executor | None
    data: Data
    parameter: str | None

    def toys(self, model: Model | LogLinear, statistic: str, mu: float, test: float) -> ToySample:
        """Toys at strength mu, tested at strength `test`."""
        return throw(
            model, self.n, statistic=statistic, mu=mu, test=test, seed=self.seed, workers=self.workers,
            executor=self.executor, data=self.data, parameter=self.parameter,
        )  # fmt: skip


def bounds(model: Model | LogLinear, parameter: str | None) -> tuple[float, float]:
    """Range of the strength; raises InputError when the model has none."""
    if isinstance(model, LogLinear):
        return model.bounds
    name = model.poi if parameter is None else parameter
    if name is None:
        raise InputError("the model has no parameter of interest; name a parameter")
    place = model.index(name)
    return float(model.lower[place]), float(model.upper[place])


def coverage(
    model: Model | LogLinear,
    strengths: Sequence[float],
    n: int,
    level: float = 0.6827,
    *,
    kind: Kind = "interval",
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    data: Data = None,
    parameter: str | None = None,
) -> Coverage:
    """Coverage of the asymptotic profile-likelihood interval, or of the asymptotic (not CLs) upper limit, at each
    strength.

    n toys a strength; other arguments as for `throw`. Raises InputError for wrong settings.
    """
    _check(level, strengths)
    if kind not in ("interval", "upper limit"):
        raise InputError(f"unknown kind '{kind}'; coverage knows 'interval' and 'upper limit'")
    throwing = Throwing(n, seed, workers, executor, data, parameter)
    low, high = bounds(model, parameter)
    for mu in strengths:
        if not low <= mu <= high:
            raise InputError(f"the true strength {mu:g} is outside the range of the model, {low:g} to {high:g}")
    bounded = low >= 0
    if kind == "interval":
        name, threshold = "ttilde" if bounded else "tmu", chi2_quantile(level)
    else:
        name, threshold = "qtilde" if bounded else "qmu", significance(1 - level) ** 2
    covered, errors, failed = [], [], 0
    for mu in strengths:
        found = throwing.toys(model, name, float(mu), float(mu))
        good = found.statistic[found.valid]
        failed += found.n - good.size
        if good.size == 0:
            raise BumpfitError(f"no toy could be fitted at strength {mu:g}, so there is no coverage")
        fraction = float(np.mean(good <= threshold))
        covered.append(fraction)
        errors.append(_error(fraction, good.size))
    return Coverage(kind, level, tuple(map(float, strengths)), tuple(covered), tuple(errors), n, failed)


def sensitivity(
    model: Model | LogLinear,
    strengths: Sequence[float],
    n: int,
    *,
    threshold: float = 5.0,
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    data: Data = None,
    parameter: str | None = None,
) -> Sensitivity:
    """Expected significance of a discovery at each strength: bands and power from n toys a strength."""
    _check(0.5, strengths)
    if not (math.isfinite(threshold) and threshold >= 0):
        raise InputError(f"the threshold is {threshold}; expected a significance from 0 on")
    throwing = Throwing(n, seed, workers, executor, data, parameter)
    bands, errors, power, spread = [], [], [], []
    for mu in strengths:
        found = throwing.toys(model, "q0", float(mu), 0.0)
        z = np.sqrt(found.statistic[found.valid])
        if z.size == 0:
            raise BumpfitError(f"no toy could be fitted at strength {mu:g}, so there is no sensitivity")
        # half of how far one standard error of the fraction of toys moves a quantile
        step = np.sqrt(LEVELS * (1 - LEVELS) / z.size)
        low, centre, high = (
            np.quantile(z, np.clip(LEVELS + k * step, 0, 1), method="inverted_cdf") for k in (-1, 0, 1)
        )
        bands.append(tuple(map(float, centre)))
        known = np.isfinite(low) & np.isfinite(high)  # a significance without bound has no error
        half = 0.5 * (np.where(known, high, np.inf) - np.where(known, low, 0.0))
        errors.append(tuple(map(float, half)))
        share = float(np.mean(z >= threshold))
        power.append(share)
        spread.append(_error(share, z.size))
    return Sensitivity(
        tuple(map(float, strengths)), tuple(bands), threshold, tuple(power), n, tuple(errors), tuple(spread)
    )


def _error(fraction: float, n: int) -> float:
    """Standard error of a fraction of n toys; where all or none are in it, that of one toy."""
    return math.sqrt(max(fraction * (1 - fraction), 1 / n) / n)


def _check(level: float, strengths: Sequence[float]) -> None:
    if not 0 < level < 1:
        raise InputError(f"the level must lie between 0 and 1, got {level}")
    if len(strengths) == 0:
        raise InputError("give at least one true strength")
