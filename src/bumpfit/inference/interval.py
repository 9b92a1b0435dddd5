"""Confidence intervals of one parameter from its profile likelihood ratio t.

A value is in the interval when the data are not among its 1 - level most extreme: P(t >= observed) > 1 - level. The
asymptotic law makes it the rise of -2 ln L by the quantile of chi2(1) (Wilks, Ann. Math. Stat. 9 (1938) 60; James, CERN
81-03, MINOS), toys the construction of Neyman with the ordering of Feldman and Cousins (Phys. Rev. D 57 (1998) 3873),
nuisance parameters at their fit to the data for each value (profile construction; Sen, Walker, Woodroofe 2009).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Unpack

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.asymptotic import Asymptotic, few_events
from bumpfit.inference.fit import covariance_at, likelihood_of
from bumpfit.inference.histfactory import FitOptions, Problem, Settings
from bumpfit.inference.profile import Profile, require_poi
from bumpfit.inference.roots import outward
from bumpfit.inference.valleys import curved_steps, effects_of, turns
from bumpfit.law import Distribution, Law
from bumpfit.likelihood import Likelihood, at_ends
from bumpfit.normal import chi2_quantile
from bumpfit.results import Interval
from bumpfit.words import Side
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

NAMES = {"asymptotic": "profile likelihood", "toys": "Feldman-Cousins, toys"}
SLOPE = 0.1
"""Distance, relative to that of an end from the best value, over which the slope of p is taken for the error of it."""


def first_step(profile: Profile, threshold: float) -> float:
    """A guess of how far from the best value -2 ln L has risen by the threshold: from the curvature where it is known,
    else a hundredth of the range. At an end of the range the slope may make it rise sooner.
    """
    covariance, _, _ = covariance_at(profile.likelihood, profile.best)
    i, (low, high) = profile.index, profile.range
    if covariance is not None and covariance[i, i] > 0:
        step = float(1.1 * np.sqrt(threshold * covariance[i, i]))
    else:
        step = (high - low) / 100 if math.isfinite(high - low) else max(1.0, abs(profile.estimate))
    slope = abs(float(profile.likelihood.slope(profile.best.x)[i]))
    return min(step, 1.1 * threshold / (2 * slope)) if slope > 0 else step


@dataclasses.dataclass(frozen=True, eq=False)
class Acceptance:
    """How far inside the interval values are."""

    profile: Profile
    law: Law
    distribution: Distribution
    level: float

    def __call__(self, value: float) -> float:
        """Positive inside the interval: ln of P(t >= observed) over 1 - level, or for formulae the distance of sqrt(t)
        from its threshold, which is nearly straight.
        """
        rise = self.profile.rise(value)
        if rise == math.inf:
            return -math.inf
        if self.law.method == "asymptotic":
            return math.sqrt(chi2_quantile(self.level)) - math.sqrt(rise)
        return self.distribution.tail(value, value, rise).log_p - math.log(1 - self.level)

    def error(self, end: float) -> float | None:
        """Statistical error of an end from that of p; None without toys, and where values beyond are impossible."""
        if self.law.method == "asymptotic":
            return None
        step = SLOPE * (end - self.profile.estimate)
        inner, outer = (min(max(end + sign * step, self.profile.range[0]), self.profile.range[1]) for sign in (-1, 1))
        if self(outer) == -math.inf:
            return None
        tail = self.distribution.tail(end, end, self.profile.rise(end))
        if tail.error is None:
            return None
        slope = (self(inner) - self(outer)) / abs(outer - inner) if step else 0.0
        return tail.error / tail.p / slope if slope > 0 else math.nan


def interval(
    model: Model | Likelihood,
    parameter: str | None = None,
    level: float = 0.6827,
    data: Data = None,
    *,
    side: Side = "both",
    law: Law = Asymptotic(),
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Interval:
    """Interval of any parameter (default: of interest) at any level.

    `side`: "both" is the central interval; "high" is an upper limit (the low end is None), "low" a lower limit, each
    with the whole 1 - level on its side, so at the quantile chi2(1) of 2 level - 1. An end where the profile does
    not reach the threshold within the range is the end of the range, flagged at_bound. `law`: asymptotic, or
    `bumpfit.toys.Toys(n)` (both sides only). Raises InputError for a level outside (0, 1), BumpfitError when fits do
    not converge or the data do not constrain the parameter. Of a region in several parts the
    interval is the one around the best value, and a note says where another is.

    Examples:
        >>> found = bumpfit.inference.interval(model, "mu")
        >>> print(f"{found.low:.2f} to {found.high:.2f}")
        0.51 to 2.06
    """
    _check(level, side, law)
    law.resolves(1 - level)
    likelihood = likelihood_of(model, data, options=options, **settings)
    name = require_poi(likelihood, parameter)
    profile = Profile(likelihood, name)
    two_sided = level if side == "both" else 2 * level - 1
    accepts = Acceptance(profile, law, law.of(likelihood, name, "t"), two_sided)
    low_end, high_end = profile.range

    def question() -> tuple[float | None, float | None]:
        step = first_step(profile, chi2_quantile(two_sided))
        best = profile.estimate
        low = None if side == "high" else outward(accepts, best, -step, low_end, law.precision)
        high = None if side == "low" else outward(accepts, best, step, high_end, law.precision)
        for end in (low, high):
            if end is not None:
                profile.beside(end)
        return low, high

    low, high = profile.settled(question)
    low_open, high_open = low is None and side != "high", high is None and side != "low"
    if low_open and high_open:
        raise BumpfitError(
            f"the data do not constrain '{name}': the profile likelihood stays below the {level:g} threshold over its "
            f"whole range [{low_end:g}, {high_end:g}]; widen the range"
        )
    found = [profile.held(end) for end in (low, high) if end is not None]
    elsewhere = apart(profile, chi2_quantile(two_sided), low, high) if law.method == "asymptotic" else ()
    command = "bumpfit interval WORKSPACE --method feldman-cousins"
    formula = law.method == "asymptotic"
    return Interval(
        parameter=name,
        low=low_end if low_open else low,
        high=high_end if high_open else high,
        best=profile.estimate,
        level=level,
        method=NAMES.get(law.method, law.method),
        low_at_bound=low_open,
        high_at_bound=high_open,
        low_error=None if low is None else accepts.error(low),
        high_error=None if high is None else accepts.error(high),
        at_bounds=at_ends(likelihood, profile.best, *found),
        notes=(
            *(few_events(likelihood, name, profile.best, command) if formula and name == likelihood.poi else ()),
            *elsewhere,
        ),
    )


def parts(profile: Profile, threshold: float, low: float | None, high: float | None) -> list[tuple[float, float]]:
    """Best values beyond an end whose rise of -2 ln L is below the threshold, with worse ones between, and their rises.

    They are looked for where -ln L along the parameter dips, from the lowest dip of a side.
    """
    likelihood, i, (bottom, top) = profile.likelihood, profile.index, profile.range
    x = profile.best.x
    if isinstance(likelihood, Problem) and effects_of(likelihood.model).straight[i]:
        return []
    steps = curved_steps((i,), x, likelihood.low, likelihood.high)
    starts = turns(
        lambda line: np.array([likelihood.value(y) for y in line]), x, steps, likelihood.low, likelihood.high
    )
    result = []
    for end, first, last in ((low, bottom, low), (high, high, top)):
        if end is None or first is None or last is None:
            continue
        beside = [y for y in starts if first < y[i] < last]
        if not beside:
            continue
        begin = min(beside, key=likelihood.value)
        found = likelihood.within(profile.parameter, first, last).begin(begin).solve()
        place, rise = float(found.x[i]), max(2 * (found.value - profile.best.value), 0.0)
        if found.valid and rise < threshold and not math.isclose(place, end, rel_tol=1e-6, abs_tol=1e-9):
            result.append((place, rise))
    return result


def apart(profile: Profile, threshold: float, low: float | None, high: float | None) -> tuple[str, ...]:
    """Says where `parts` are: an interval or a contour holds the values around the best one only."""
    return tuple(
        f"values around {profile.parameter} = {place:.4g} are within the level too (-2 ln L {rise:.2g} above "
        "its minimum), and values between are not: the region has several parts, see bumpfit scan"
        for place, rise in parts(profile, threshold, low, high)
    )


def _check(level: float, side: Side, law: Law) -> None:
    if not 0 < level < 1:
        raise InputError(f"the level must lie between 0 and 1, got {level}")
    if side not in ("both", "low", "high"):
        raise InputError(f"side must be 'both', 'low' or 'high', got {side!r}")
    if side != "both" and level <= 0.5:
        raise InputError(f"a one-sided level must be above 0.5, got {level}")
    if side != "both" and law.method != "asymptotic":
        raise InputError("toys make two-sided intervals; for an upper limit take bumpfit.inference.limit")
