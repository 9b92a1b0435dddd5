"""Profile-likelihood intervals, as MINOS finds them: -2 ln L rises by the quantile of chi2(1) above its minimum.

References: Wilks, Ann. Math. Stat. 9 (1938) 60; James, CERN 81-03 (MINOS).
"""

from __future__ import annotations

from typing import Literal, Unpack

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.discovery import require_free, require_poi, require_valid
from bumpfit.inference.fit import FitOptions, Minimum, Problem, Settings, covariance_at, prepare, solve
from bumpfit.results import Interval
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

Side = Literal["both", "low", "high"]


class Profile:
    """The profile likelihood of one parameter: rise of -2 ln L above the minimum, warm-started from point to point."""

    def __init__(self, problem: Problem, parameter: str, options: FitOptions) -> None:
        self.problem, self.parameter, self.options = problem, parameter, options
        self.index = problem.model.index(parameter)
        self.best: Minimum = require_valid(solve(problem, options), "the fit")
        self._last = self.best.x

    def minimum_at(self, value: float) -> Minimum:
        """The fit with the parameter held at `value`; raises BumpfitError when it does not converge."""
        held = solve(self.problem.at(self.parameter, value, self._last), self.options)
        require_valid(held, f"the fit with {self.parameter} = {value:g}")
        self._last = held.x
        return held

    def __call__(self, value: float) -> float:
        """Rise of -2 ln L at this value."""
        return 2 * (self.minimum_at(value).value - self.best.value)

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
    return float(brentq(lambda value: profile(value) - threshold, inner, outer, xtol=tolerance, rtol=1e-12))


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
    threshold = float(chi2.ppf(level if side == "both" else 2 * level - 1, 1))
    problem = prepare(model, data, **settings)
    require_free(problem, name)
    profile = Profile(problem, name, options)
    i = profile.index
    step = first_step(problem, profile.best, i, threshold)
    ends: dict[int, float | None] = {-1: None, 1: None}
    at_bound = {-1: False, 1: False}
    for direction, wanted in ((-1, side != "high"), (1, side != "low")):
        if not wanted:
            continue
        found = crossing(profile, threshold, direction, step)
        at_bound[direction] = found is None
        ends[direction] = float((problem.high if direction > 0 else problem.low)[i]) if found is None else found
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
