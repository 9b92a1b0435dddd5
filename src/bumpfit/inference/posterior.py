"""The posterior of one parameter, its credible intervals and its upper limit (Bayesian answers).

The posterior is the prior times the likelihood, integrated over the nuisance parameters: their constraints are their
priors, those without one have a flat prior within their range. At each value of a grid the integral is the mean of
likelihood over density of points drawn from the normal law around the conditional fit (Laplace's approximation
corrected by importance sampling; Evans, Swartz, Stat. Sci. 10 (1995) 254), the points being scrambled Sobol points
(Owen, Ann. Stat. 25 (1997) 1541) that are the same at all values. Several scramblings give the error. Between the
values the logarithm is a cubic spline.

Priors of the parameter, within its range: flat, or Jeffreys' sqrt(I), where I is its Fisher information with the
nuisance parameters at their conditional fit (for one count over a known background: 1 / sqrt(s + b), the reference
prior of Demortier, Jain, Prosper, Phys. Rev. D 82 (2010) 034002).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Unpack

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.fit import likelihood_of
from bumpfit.inference.histfactory import FitOptions, Problem, Settings
from bumpfit.inference.interval import first_step
from bumpfit.inference.profile import Profile, require_poi
from bumpfit.likelihood import Likelihood, ZeroLikelihoodError
from bumpfit.results import Record
from bumpfit.types import Floats
from bumpfit.words import Prior
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

REACH = 50.0
"""Rise of -2 ln L at which the posterior is taken for 0."""

VALUES = 21
"""Values of the parameter on each side of the best one at which the likelihood is integrated."""

FINE = 4001
"""Values at which the spline between them is summed."""

SCRAMBLINGS = 8
"""Independent integrals, whose spread is the error."""

CUT = 1e-3
"""Density at an end of the range, relative to the largest, above which the range is said to cut the posterior."""

FEW = 0.05
"""Effective part of the points below which the integral is said to be uncertain."""


@dataclasses.dataclass(frozen=True, eq=False)
class Posterior(Record):
    """What is known about a parameter.

    `points`, `density` (K,): the posterior, normalised within the prior's range `range_low` to `range_high`. `low` to
    `high` is the central interval of `level`, `shortest_low` to `shortest_high` the shortest one, `upper` the value
    below which the parameter is with probability `limit_level`. `upper_error`: numerical error of the integral.
    `effective`: the smallest effective part of the points that integrate, where the posterior matters (1 without
    nuisance parameters).
    """

    parameter: str
    prior: str
    level: float
    limit_level: float
    mode: float
    mean: float
    median: float
    deviation: float
    low: float
    high: float
    shortest_low: float
    shortest_high: float
    upper: float
    upper_error: float
    range_low: float
    range_high: float
    effective: float
    points: Floats
    density: Floats
    notes: tuple[str, ...] = ()


def posterior(
    model: Model | Likelihood,
    parameter: str | None = None,
    data: Data = None,
    *,
    prior: Prior = "flat",
    levels: tuple[float, float] = (0.6827, 0.95),
    samples: int = 128,
    seed: int = 0,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Posterior:
    """The posterior of a parameter (default: of interest) within its range.

    prior    "flat", or "jeffreys"
    levels   probability of the intervals, and below the upper limit
    samples  points of each of the integrals over the nuisance parameters, a power of two
    seed     of the scramblings

    Raises InputError for levels outside (0, 1), unknown priors and wrong numbers; BumpfitError when fits do not
    converge, or the posterior is not finite.

    Examples:
        >>> round(bumpfit.inference.posterior(model, "mu").median, 1)
        1.4
    """
    _check(prior, levels, samples, seed)
    level, limit_level = levels
    likelihood = likelihood_of(model, data, options=options, **settings)
    name = require_poi(likelihood, parameter)
    profile = Profile(likelihood, name)
    values = profile.settled(lambda: _values(profile))
    integral = _Integral(likelihood, name, samples, seed)
    logs, effective = integral.over(profile, values)
    if prior == "jeffreys":
        logs = logs + np.array([_half_log_information(likelihood, name, profile, value) for value in values])
    if not np.isfinite(logs).all():
        raise BumpfitError(f"the posterior of '{name}' is not finite in its range; take another prior or --range")
    fine = np.linspace(values[0], values[-1], FINE)
    uppers = [_quantiles(fine, _density(values, row, fine), [limit_level])[0] for row in logs]
    density = _density(values, np.logaddexp.reduce(logs, axis=0) - math.log(len(logs)), fine)
    tail = (1 - level) / 2
    low, median, high, upper = _quantiles(fine, density, [tail, 0.5, 1 - tail, limit_level])
    mean = float(np.trapezoid(fine * density, fine))
    matters = np.interp(values, fine, density) > 0.01 * density.max()
    ends = _ends(profile, fine, density)
    worst = float(effective[matters].min())
    notes = [f"the posterior is cut at {end:g}, the end of the range (see --range)" for end in ends]
    if worst < FEW:
        notes.append(f"only {worst:.1%} of the points that integrate count; take more (--samples)")
    return Posterior(
        name, prior, level, limit_level, float(fine[density.argmax()]), mean, median,
        math.sqrt(max(float(np.trapezoid((fine - mean) ** 2 * density, fine)), 0.0)), low, high,
        *_shortest(fine, density, level), upper, float(np.std(uppers, ddof=1) / math.sqrt(len(uppers))), *profile.range,
        worst, fine[::20], density[::20], tuple(notes),
    )  # fmt: skip


def _check(prior: str, levels: tuple[float, float], samples: int, seed: int) -> None:
    if prior not in ("flat", "jeffreys"):
        raise InputError(f"the prior must be 'flat' or 'jeffreys', got '{prior}'")
    if len(levels) != 2 or not all(0 < level < 1 for level in levels):
        raise InputError(f"two levels are needed, between 0 and 1, got {levels}")
    if samples < 2 or samples & (samples - 1) or seed < 0:
        raise InputError(f"samples must be a power of two from 2 on and the seed 0 or more, got {samples} and {seed}")


def _values(profile: Profile) -> Floats:
    """Values where -2 ln L rises by less than `REACH`, within the range: on each side of the best one the points of
    Chebyshev, which are close together at the ends, where the likelihood may bend.
    """
    step, best = first_step(profile, 1.0), profile.estimate
    ends = []
    for end, sign in zip(profile.range, (-1.0, 1.0), strict=True):
        far = best
        for doubling in range(60):
            far = best + sign * step * 1.3**doubling
            if (far - end) * sign >= 0:
                far = end
                break
            if profile.rise(far) > REACH:
                break
        ends.append(far)
    if not (ends[0] < ends[1] and np.isfinite(ends).all()):
        raise BumpfitError(f"the data do not constrain '{profile.parameter}'; give it a range")
    nodes = 0.5 * (1.0 - np.cos(np.linspace(0.0, math.pi, VALUES)))
    sides = [ends[0] + nodes * (best - ends[0]), best + nodes * (ends[1] - best)]
    return np.unique(np.concatenate([side for side in sides if side[-1] > side[0]]))


class _Integral:
    """Integrates a likelihood over its nuisance parameters."""

    def __init__(self, likelihood: Likelihood, name: str, samples: int, seed: int) -> None:
        from scipy.special import ndtri
        from scipy.stats import qmc

        self.likelihood, self.name = likelihood, name
        free = likelihood.free.copy()
        free[likelihood.names.index(name)] = False
        self.free = np.flatnonzero(free)
        self.normals: list[Floats] = []
        if self.free.size:
            for scrambling in range(SCRAMBLINGS):
                sobol = qmc.Sobol(self.free.size, rng=np.random.default_rng([seed, scrambling]))
                points = sobol.random(samples)
                self.normals.append(ndtri(np.clip(points, 1e-12, 1 - 1e-12)))

    def over(self, profile: Profile, values: Floats) -> tuple[Floats, Floats]:
        """Logarithms of the integrals relative to the best fit, (SCRAMBLINGS, K), and effective parts, (K,)."""
        rows, effective = [], []
        for value in values:
            logs, part = self._at(profile, float(value))
            rows.append(logs)
            effective.append(part)
        return np.array(rows).T, np.array(effective)

    def _at(self, profile: Profile, value: float) -> tuple[list[float], float]:
        held = self.likelihood.at(self.name, value)
        try:
            fit = profile.held(value)
        except ZeroLikelihoodError:
            return [-745.0] * SCRAMBLINGS, 0.0  # the smallest number: impossible values at an end of the range
        best = profile.best.value
        if not self.free.size:
            return [best - fit.value] * SCRAMBLINGS, 1.0
        curvature = held.curvature(fit.x)[np.ix_(self.free, self.free)]
        sizes, axes = np.linalg.eigh(curvature)
        widths = 1.0 / np.sqrt(np.maximum(sizes, 1e-10 * max(float(sizes.max()), 1e-300)))
        constant = float(np.log(widths).sum()) + 0.5 * self.free.size * math.log(2 * math.pi)
        low, high = held.low[self.free], held.high[self.free]
        logs, parts = [], []
        for normals in self.normals:
            shifts = (normals * widths) @ axes.T
            x = np.tile(fit.x, (len(normals), 1))
            x[:, self.free] += shifts
            inside = ((x[:, self.free] >= low) & (x[:, self.free] <= high)).all(axis=1)
            weights = np.full(len(normals), -np.inf)
            weights[inside] = best - _at_all(held, x[inside]) + 0.5 * (normals[inside] ** 2).sum(axis=1)
            weights[~np.isfinite(weights)] = -np.inf
            top = float(weights.max())
            if top == -np.inf:
                return [-745.0] * SCRAMBLINGS, 0.0
            relative = np.exp(weights - top)
            logs.append(top + math.log(float(relative.mean())) + constant)
            parts.append(float(relative.sum() ** 2 / (relative**2).sum()) / len(normals))
        return logs, float(np.mean(parts))


def _at_all(likelihood: Likelihood, points: Floats) -> Floats:
    """-ln L at many parameters, (N, P) to (N,)."""
    if isinstance(likelihood, Problem):
        return likelihood.values(points)
    return np.array([likelihood.value(x) for x in points])


def _half_log_information(likelihood: Likelihood, name: str, profile: Profile, value: float) -> float:
    """ln sqrt(I): Fisher information of the parameter where the nuisance parameters are at their conditional fit."""
    i = likelihood.names.index(name)
    try:
        x = profile.held(value).x
    except ZeroLikelihoodError:
        return -math.inf
    information = float(likelihood.asimov(x).curvature(x)[i, i])
    return 0.5 * math.log(information) if information > 0 and math.isfinite(information) else math.inf


def _density(values: Floats, logs: Floats, fine: Floats) -> Floats:
    """Normalised density between the values."""
    from scipy.interpolate import CubicSpline

    curve = CubicSpline(values, logs - logs.max())(fine)
    result = np.exp(curve - curve.max())
    return np.asarray(result / np.trapezoid(result, fine))


def _quantiles(fine: Floats, density: Floats, wanted: list[float]) -> list[float]:
    steps = np.diff(fine) * 0.5 * (density[1:] + density[:-1])
    sums = np.concatenate([[0.0], np.cumsum(steps)])
    return [float(q) for q in np.interp(wanted, sums / sums[-1], fine)]


def _shortest(fine: Floats, density: Floats, level: float) -> tuple[float, float]:
    """The shortest interval of a probability."""
    starts = np.linspace(0.0, 1.0 - level, 2001)
    lows = np.array(_quantiles(fine, density, list(starts)))
    highs = np.array(_quantiles(fine, density, list(starts + level)))
    at = int((highs - lows).argmin())
    return float(lows[at]), float(highs[at])


def _ends(profile: Profile, fine: Floats, density: Floats) -> list[float]:
    """Ends of the range at which the posterior is cut, the natural end 0 apart."""
    pairs = zip(profile.range, (fine[0], fine[-1]), (density[0], density[-1]), strict=True)
    return [end for end, last, value in pairs if end == last and end != 0.0 and value > CUT * density.max()]
