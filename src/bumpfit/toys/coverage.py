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
from bumpfit.toys.limits import Throwing, bounds
from bumpfit.toys.loglinear import LogLinear
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

Kind = Literal["interval", "upper limit"]


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

    `power`: fraction of toys that reach `threshold`.
    """

    strengths: tuple[float, ...]
    significance: tuple[tuple[float, ...], ...]
    threshold: float
    power: tuple[float, ...]
    toys: int


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
        errors.append(math.sqrt(max(fraction * (1 - fraction), 1 / good.size) / good.size))
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
    levels = (0.02275, 0.15866, 0.5, 0.84134, 0.97725)
    bands, power = [], []
    for mu in strengths:
        found = throwing.toys(model, "q0", float(mu), 0.0)
        z = np.sqrt(found.statistic[found.valid])
        if z.size == 0:
            raise BumpfitError(f"no toy could be fitted at strength {mu:g}, so there is no sensitivity")
        bands.append(tuple(float(v) for v in np.quantile(z, levels, method="inverted_cdf")))
        power.append(float(np.mean(z >= threshold)))
    return Sensitivity(tuple(map(float, strengths)), tuple(bands), threshold, tuple(power), n)


def _check(level: float, strengths: Sequence[float]) -> None:
    if not 0 < level < 1:
        raise InputError(f"the level must lie between 0 and 1, got {level}")
    if len(strengths) == 0:
        raise InputError("give at least one true strength")
