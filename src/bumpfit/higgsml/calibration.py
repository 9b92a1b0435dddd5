"""Calibration by pseudo-experiments that draw the nuisances from the prior, and the coverage that it has in others.

Binned likelihoods throw theirs from templates, a hundred thousand in minutes. Calibration and test have other seeds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.execute import Workers
from bumpfit.higgsml.bounds import bound
from bumpfit.higgsml.interval import (
    STEPS,
    STRENGTHS,
    Calibration,
    RangeCalibration,
    calibrate,
    calibrate_range,
    credibility_needed,
    shortest,
)  # fmt: skip
from bumpfit.higgsml.likelihood import Model, Worlds, fit_all, profile_curves, throw, throw_counts
from bumpfit.higgsml.measurement import Curve
from bumpfit.higgsml.pseudo import MU_RANGE
from bumpfit.higgsml.score import LEVEL, Score, score
from bumpfit.results import Record

Array = NDArray[np.float64]
MOST_LOST = 0.01
"""Largest share of experiments without a profile."""
RANGE_POINTS = 41
"""Points of a profile curve in the range of the challenge."""


def template_calibration(
    model: Model, n: int = 5000, seed: int = 1, *, strengths: Sequence[float] = STRENGTHS, level: float = LEVEL,
    workers: Workers = 1,
) -> Calibration:  # fmt: skip
    """Critical values from n template-level experiments at each strength."""
    mus = np.repeat(np.asarray(strengths, dtype=np.float64), n)
    worlds = throw(model, mus, seed, workers=workers)
    valid = worlds.fits.valid
    groups = [worlds.fits.statistic[(mus == mu) & valid] for mu in strengths]
    return calibrate(strengths, groups, seed, "templates", level)


def range_curves(model: Model, n: int, seed: int) -> tuple[Array, Array, Array]:
    """True mu (n,), uniform in the range of the challenge, grid of mu, and the rise of -2 ln L on it, (n, M).

    Experiments whose profile fails are left out.

    Raises:
        InputError: those are more than a hundredth.
    """
    rng = np.random.default_rng([seed, 7])
    mus = rng.uniform(*MU_RANGE, n)
    counts = throw_counts(model, mus, rng)[1]
    grid = np.linspace(*MU_RANGE, RANGE_POINTS)
    f = profile_curves(model, counts, fit_all(model, counts, mus, ends=False).best, grid)
    good = np.isfinite(f).all(axis=1)
    if n - good.sum() > MOST_LOST * n:
        raise InputError(f"{n - good.sum()} of {n} profiles in the range of the challenge did not converge")
    f = f[good]
    return mus[good], grid, 2.0 * (f - f.min(axis=1, keepdims=True))


def template_range_calibration(model: Model, n: int = 10_000, seed: int = 2, level: float = LEVEL) -> RangeCalibration:
    """The credibility that covers, from n template-level experiments with mu uniform in the range of the challenge."""
    mus, grid, rise = range_curves(model, n, seed)
    fine = np.linspace(*MU_RANGE, STEPS + 1)
    needed = [
        credibility_needed(fine, Curve(tuple(grid), tuple(one)).at(fine), mu) for mu, one in zip(mus, rise, strict=True)
    ]
    return calibrate_range(needed, *MU_RANGE, seed, "templates", level)


@dataclasses.dataclass(frozen=True)
class CoverageAt(Record):
    """Experiments at one mu: coverage with its binomial error, mean width, bias and spread of mu_hat, and the bound."""

    mu: float
    n: int
    coverage: float
    coverage_error: float
    width: float
    bias: float
    spread: float
    bound: float
    failed: int


@dataclasses.dataclass(frozen=True)
class Coverage(Record):
    """Coverage and width of intervals in template-level experiments, per mu and merged.

    `width_over_bound` compares the merged mean width with twice the profiled Fisher bound, averaged over the same mu.
    """

    points: tuple[CoverageAt, ...]
    merged: Score
    width_over_bound: float
    seed: int
    kind: str


def template_coverage(
    model: Model, mus: Sequence[float], n: int, seed: int, calibration: Calibration | None = None, *,
    truth: Model | None = None, draw: bool = True, workers: int = 1,
) -> Coverage:  # fmt: skip
    """Throw n experiments at each mu and look whether the intervals hold it.

    Raises:
        InputError: the seed is that of the calibration.
    """
    if calibration is not None and calibration.seed == seed:
        raise InputError(f"the seed {seed} is that of the calibration: coverage would be measured on its experiments")
    true = np.repeat(np.asarray(mus, dtype=np.float64), n)
    worlds = throw(model, true, seed, truth=truth, draw=draw, calibration=calibration, ends=True, workers=workers)
    points = tuple(_point(model, worlds, mu) for mu in mus)
    good = worlds.fits.valid
    merged = score(true[good], worlds.fits.low[good], worlds.fits.high[good])
    limit = np.mean([2.0 * point.bound for point in points])
    kind = "asymptotic" if calibration is None else "calibrated"
    return Coverage(points, merged, float(merged.width / limit), seed, kind)


def _point(model: Model, worlds: Worlds, mu: float) -> CoverageAt:
    fits, here = worlds.fits, worlds.mu == mu
    good = here & fits.valid
    n = int(good.sum())
    covers = float(np.mean((fits.low[good] <= mu) & (mu <= fits.high[good])))
    best = fits.best[good, 0]
    return CoverageAt(
        float(mu), n, covers, math.sqrt(max(covers * (1 - covers), 1e-12) / n),
        float(np.mean(fits.high[good] - fits.low[good])), float(best.mean() - mu), float(best.std()),
        bound(model, mu).profiled, int(here.sum() - n),
    )  # fmt: skip


def range_score(model: Model, calibration: RangeCalibration, n: int, seed: int) -> Score:
    """Score of the intervals of a range calibration in other experiments."""
    mus, grid, rise = range_curves(model, n, seed)
    fine = np.linspace(*MU_RANGE, STEPS + 1)
    ends = [shortest(fine, Curve(tuple(grid), tuple(one)).at(fine), calibration.credibility) for one in rise]
    low, high = np.array(ends).T
    return score(mus, low, high)
