"""Profile-likelihood intervals, as MINOS finds them: -2 ln L rises by the quantile of chi2(1) above its minimum.

References: Wilks, Ann. Math. Stat. 9 (1938) 60; James, CERN 81-03 (MINOS).
"""

from __future__ import annotations

import dataclasses
from typing import Literal, Unpack

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.discovery import require_free, require_poi, require_valid
from bumpfit.inference.fit import FitOptions, Minimum, Problem, Settings, covariance_at, prepare, solve
from bumpfit.normal import chi2_quantile
from bumpfit.results import Interval
from bumpfit.workspace import Model
from bumpfit.workspace.kernels import Floats
from bumpfit.workspace.model import Data

LOWER = 1e-5
"""How far below the free fit, in -ln L, another fit must end to show that the free fit was not the minimum."""

RESTARTS = 5
"""Times that the free fit is repeated from a lower point before giving up."""

Side = Literal["both", "low", "high"]


class LowerMinimumError(BumpfitError):
    """A profile fit ended below the free fit, which therefore was not the minimum; `x` is where."""

    def __init__(self, x: Floats) -> None:
        super().__init__("the likelihood has several minima and the fit keeps finding lower ones; try other starts")
        self.x = x


class Profile:
    """The profile likelihood of one parameter: rise of -2 ln L above the minimum, warm-started from point to point."""

    def __init__(self, problem: Problem, parameter: str, options: FitOptions) -> None:
        self.problem, self.parameter, self.options = problem, parameter, options
        self.index = problem.model.index(parameter)
        self.best: Minimum = require_valid(solve(problem, options), "the fit")
        self._last = self.best.x
        self._known = {float(self.best.x[self.index]): 0.0}

    def __call__(self, value: float) -> float:
        """Rise of -2 ln L at this value; raises BumpfitError when the fit there does not converge."""
        if value not in self._known:
            self._known[value] = self._rise(value)
        return self._known[value]

    def _rise(self, value: float) -> float:
        held = solve(self.problem.at(self.parameter, value, self._last), self.options)
        require_valid(held, f"the fit with {self.parameter} = {value:g}")
        if held.value < self.best.value - LOWER:
            raise LowerMinimumError(held.x)
        self._last = held.x
        return 2 * (held.value - self.best.value)

    def restart(self) -> None:
        """Start the next fit from the best fit."""
        self._last = self.best.x


def crossing(profile: Profile, threshold: float, direction: int, first_step: float) -> float | None:
    """Where the profile rises above `threshold` on one side of the best fit; None when the range ends first."""
    best = float(profile.best.x[profile.index])
    end = float((profile.problem.high if direction > 0 else profile.problem.low)[profile.index])
    profile.restart()
    inner, step = best, first_step
    while True:
        outer = best + direction * step
        if direction * (outer - end) >= 0:
            outer = end
        if outer == inner:
            return None
        if profile(outer) > threshold:
            break
        if outer == end:
            return None
        inner, step = outer, 2 * step
    tolerance = 1e-7 * max(abs(outer - best), 1e-300)
    from scipy.optimize import brentq  # here, for a quicker start

    return float(brentq(lambda value: profile(value) - threshold, inner, outer, xtol=tolerance, rtol=1e-12))


def _ends(
    problem: Problem,
    name: str,
    options: FitOptions,
    threshold: float,
    directions: list[int],
    restarts: int = RESTARTS,
) -> tuple[Profile, dict[int, float | None]]:
    """Crossings on the wanted sides; starts again when a lower minimum turns up on the way."""
    profile = Profile(problem, name, options)
    step = first_step(problem, profile.best, profile.index, threshold)
    try:
        return profile, {direction: crossing(profile, threshold, direction, step) for direction in directions}
    except LowerMinimumError as lower:
        if restarts == 0:
            raise
        problem = dataclasses.replace(problem, start=lower.x)
    return _ends(problem, name, options, threshold, directions, restarts - 1)


def first_step(problem: Problem, minimum: Minimum, index: int, threshold: float) -> float:
    """A first guess of the half width: from the curvature where it is known, else a hundredth of the range."""
    covariance, _, _ = covariance_at(problem, minimum.x)
    width = float(problem.high[index] - problem.low[index])
    if covariance is not None and covariance[index, index] > 0:
        return float(min(1.1 * np.sqrt(threshold * covariance[index, index]), width))
    return width / 100 if np.isfinite(width) else max(1.0, abs(float(minimum.x[index])))


def interval(
    model: Model,
    parameter: str | None = None,
    level: float = 0.6827,
    data: Data = None,
    *,
    side: Side = "both",
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Interval:
    """Profile-likelihood interval of any parameter (default: of interest) at any level.

    `side`: "both" is the central interval; "high" is an upper limit (the low end is None), "low" a lower limit, each
    with the whole 1 - level on its side, so at the quantile chi2(1) of 2 level - 1. An end where the profile does
    not reach the threshold within the range is the end of the range, flagged at_bound. Raises InputError for a level
    outside (0, 1).
    """
    name = require_poi(model, parameter)
    if not 0 < level < 1:
        raise InputError(f"the level must lie between 0 and 1, got {level}")
    if side not in ("both", "low", "high"):
        raise InputError(f"side must be 'both', 'low' or 'high', got {side!r}")
    if side != "both" and level <= 0.5:
        raise InputError(f"a one-sided level must be above 0.5, got {level}")
    threshold = chi2_quantile(level if side == "both" else 2 * level - 1)
    problem = prepare(model, data, **settings)
    require_free(problem, name)
    directions = [direction for direction, other in ((-1, "high"), (1, "low")) if side != other]
    profile, found = _ends(problem, name, options, threshold, directions)
    i = profile.index
    at_bound = {direction: found.get(direction, 0.0) is None for direction in (-1, 1)}
    ends = {-1: found.get(-1), 1: found.get(1)}
    for direction, edge in ((-1, problem.low[i]), (1, problem.high[i])):
        if at_bound[direction]:
            ends[direction] = float(edge)
    if at_bound[-1] and at_bound[1]:
        raise BumpfitError(
            f"the data do not constrain '{name}': the profile likelihood stays below the {level:g} threshold over its "
            f"whole range [{problem.low[i]:g}, {problem.high[i]:g}]; widen the range"
        )
    return Interval(
        parameter=name,
        low=ends[-1],
        high=ends[1],
        best=float(profile.best.x[i]),
        level=level,
        low_at_bound=at_bound[-1],
        high_at_bound=at_bound[1],
    )
