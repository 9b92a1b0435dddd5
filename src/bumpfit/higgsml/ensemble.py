"""What intervals of a template likelihood achieve in the ensemble of the challenge: mu uniform in a range, nuisances
drawn from the prior, counts thrown from the templates. Several ways to make an interval, on the same experiments.

Those that do not use the range: the asymptotic profile interval, and the calibrated one. Those that do: the profile
interval clipped a hundredth outside it (as HEPHY's), the shortest one of the posterior with a flat prior on it at the
nominal credibility (IBRAHIME's is of that kind), and the same at the calibrated credibility. Scores of the two groups
cannot be compared with each other: to know the range is worth .05 of score.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from bumpfit.errors import InputError
from bumpfit.execute import ordered_map
from bumpfit.higgsml.calibration import RANGE_POINTS
from bumpfit.higgsml.interval import STEPS, Calibration, RangeCalibration, quantile, shortest
from bumpfit.higgsml.likelihood import BLOCK, Model, fit_all, profile_curves, throw_counts
from bumpfit.higgsml.pseudo import MU_RANGE
from bumpfit.higgsml.score import EPS, LEVEL, Score, score
from bumpfit.progress import bar
from bumpfit.results import Record

Array = NDArray[np.float64]
MARGIN = 0.01
"""How far outside the range HEPHY clips."""
WAYS = {
    "plain": ("profile likelihood", False),
    "tuned": ("profile likelihood, calibrated", False),
    "clipped": ("profile likelihood, clipped", True),
    "prior": ("flat prior on the range", True),
    "ranged": ("flat prior on the range, calibrated", True),
}
"""Ways to make an interval: what they are called, and whether they use the range."""


@dataclasses.dataclass(frozen=True)
class Achieved(Record):
    """Width, coverage and score of one way to make intervals; `uses_range`: it knows where mu is."""

    name: str
    uses_range: bool
    score: Score
    coverage_error: float


@dataclasses.dataclass(frozen=True)
class Ensemble(Record):
    """An ensemble of n experiments with mu uniform in [low, high].

    `statistic` is the 68.27 % quantile of t at the true mu, with its error; `failed` experiments have no interval and
    are left out. Calibrations come from other experiments.
    """

    low: float
    high: float
    n: int
    seed: int
    statistic: tuple[float, float]
    failed: int
    ways: tuple[Achieved, ...]


def ensemble(
    model: Model, n: int, seed: int, calibration: Calibration, ranged: RangeCalibration | None = None, *,
    eps: float = EPS, workers: int = 1,
) -> Ensemble:  # fmt: skip
    """Throw n experiments with mu uniform in the range of the challenge and judge every way to make an interval.

    Args:
        model: the template likelihood.
        n: experiments.
        seed: of the experiments; that of a calibration is refused.
        calibration: critical values.
        ranged: a calibration of the posterior with the range; None: ways that use the range are left out.
        eps: of the score.
        workers: processes.

    Raises:
        InputError: fewer than 50 experiments, or a seed of a calibration.
    """
    if n < 50:
        raise InputError(f"{n} experiments cannot measure a coverage; expected 50 or more")
    for one in (calibration, ranged):
        if one is not None and one.seed == seed:
            raise InputError(f"the seed {seed} is that of a calibration: coverage would be measured on its experiments")
    tasks = [(model, min(BLOCK, n - first), [seed, 3, first], calibration, ranged) for first in range(0, n, BLOCK)]
    with bar("pseudo-experiments", n) as advance:
        blocks = []
        for block in ordered_map(_block, tasks, workers=workers):
            blocks.append(block)
            advance(len(block["mu"]))
    every = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    good = every["valid"] == 1.0
    held = {name: values[good] for name, values in every.items()}
    ways = tuple(
        _achieved(name, uses_range, held["mu"], held[f"{key} low"], held[f"{key} high"], eps)
        for key, (name, uses_range) in WAYS.items() if f"{key} low" in held
    )  # fmt: skip
    return Ensemble(*MU_RANGE, n, seed, quantile(held["t"], LEVEL), int(n - good.sum()), ways)


def _block(task: tuple[Model, int, list[int], Calibration, RangeCalibration | None]) -> dict[str, Array]:
    """Experiments that share a stream of random numbers: mu, t(mu), whether all fits converged, ends by way."""
    model, n, seed, calibration, ranged = task
    rng = np.random.default_rng(seed)
    mu = rng.uniform(*MU_RANGE, n)
    counts = throw_counts(model, mu, rng)[1]
    plain = fit_all(model, counts, mu)
    tuned = fit_all(model, counts, mu, calibration=calibration)
    result = {
        "mu": mu, "t": plain.statistic, "valid": np.asarray(plain.valid & tuned.valid, dtype=np.float64),
        "plain low": plain.low, "plain high": plain.high, "tuned low": tuned.low, "tuned high": tuned.high,
    }  # fmt: skip
    if ranged is not None:
        low, high = MU_RANGE[0] - MARGIN, MU_RANGE[1] + MARGIN
        result |= {"clipped low": np.clip(plain.low, low, high), "clipped high": np.clip(plain.high, low, high)}
        grid, fine = np.linspace(*MU_RANGE, RANGE_POINTS), np.linspace(*MU_RANGE, STEPS + 1)
        curves = 2.0 * profile_curves(model, counts, plain.best, grid)
        result["valid"] *= np.isfinite(curves).all(axis=1)
        for key, credibility in (("prior", LEVEL), ("ranged", ranged.credibility)):
            ends = np.full((n, 2), np.nan)
            for i in np.flatnonzero(result["valid"]):
                ends[i] = shortest(fine, CubicSpline(grid, curves[i])(fine), credibility)
            result |= {f"{key} low": ends[:, 0], f"{key} high": ends[:, 1]}
    return result


def _achieved(name: str, uses_range: bool, mu: Array, low: Array, high: Array, eps: float) -> Achieved:
    found = score(mu, low, high, eps)
    return Achieved(name, uses_range, found, math.sqrt(found.coverage * (1.0 - found.coverage) / found.n))
