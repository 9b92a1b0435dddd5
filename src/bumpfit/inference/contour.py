"""Two-dimensional confidence contours of the profile likelihood: -2 ln L rises by the quantile of chi2(2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Unpack

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.fit import covariance_at, likelihood_of
from bumpfit.inference.histfactory import FitOptions, Settings
from bumpfit.inference.interval import apart, first_step
from bumpfit.inference.profile import Profile, require_poi, require_valid
from bumpfit.inference.roots import with_slope
from bumpfit.likelihood import Floats, Likelihood, Minimum, ZeroLikelihoodError, at_ends, position
from bumpfit.normal import chi2_quantile
from bumpfit.results import Contour
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

REACH = 1.1
"""First step along a ray, in units of where a parabola crosses: it should just cross. Changes no answer."""

LOWER = 1e-5
"""How far below that of its ray, in -ln L, another minimum at a point must be for the ray to be followed again."""

PRECISION = 1e-7
"""Relative precision of the distance of a point of the contour from the best fit."""


def contour(
    model: Model | Likelihood,
    x: str,
    y: str,
    level: float = 0.6827,
    data: Data = None,
    *,
    n_points: int = 40,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Contour:
    """Joint confidence region of parameters x and y, all others profiled.

    The line is found on `n_points` rays from the best fit, spread evenly where the likelihood is Gaussian; a ray that
    leaves the ranges first ends there, and the contour is then not closed. Its ends in x and y (`ranges`) are found
    apart from the points; it is not closed either where one of them is an end of a range.
    Of a region in several parts it is the one around the best fit, and a note says where another is.
    Raises InputError for wrong names or level, BumpfitError when a fit does not converge or the data do not determine
    the parameters.

    Examples:
        >>> found = bumpfit.inference.contour(model, "mu", "norm", n_points=8)
        >>> len(found.x), found.closed
        (8, True)
    """
    if x == y:
        raise InputError(f"a contour needs two different parameters, got '{x}' twice")
    if not 0 < level < 1:
        raise InputError(f"the level must lie between 0 and 1, got {level}")
    if n_points < 4:
        raise InputError(f"a contour needs at least 4 points, got {n_points}")
    likelihood = likelihood_of(model, data, options=options, **settings)
    for name in (x, y):
        require_poi(likelihood, name)
    profile = Profile(likelihood, x)
    threshold = chi2_quantile(level, freedom=2)
    points, closed, found = profile.settled(lambda: _Rays(profile, y, threshold).line(n_points))
    profiles = profile, Profile(likelihood, y)
    ends = [_ends(one, threshold) for one in profiles]
    told = [note for one, (end, _) in zip(profiles, ends, strict=True) for note in apart(one, threshold, *end)]
    i, j = position(likelihood, x), position(likelihood, y)
    best = profile.best
    return Contour(
        parameters=(x, y),
        level=level,
        x=tuple(float(p[0]) for p in points),
        y=tuple(float(p[1]) for p in points),
        best=(float(best.x[i]), float(best.x[j])),
        ranges=(ends[0][0], ends[1][0]),
        closed=closed and all(crossed for _, crossed in ends),
        at_bounds=at_ends(likelihood, best, *found),
        notes=tuple(told),
    )


def _ends(profile: Profile, threshold: float) -> tuple[tuple[float, float], bool]:
    """Where the profile of one parameter crosses the threshold of both, or its range ends; whether it crosses twice."""

    def question() -> tuple[tuple[float, float], bool]:
        step, best = abs(first_step(profile, threshold)), profile.estimate
        found = []
        for sign, end in zip((-1.0, 1.0), profile.range, strict=True):
            curve = partial(_margin, profile, threshold, sign)
            found.append(with_slope(curve, step, abs(end - best), PRECISION) if end != best else None)
        low, high = (
            end if one is None else best + sign * one
            for one, sign, end in zip(found, (-1.0, 1.0), profile.range, strict=True)
        )
        return (low, high), None not in found

    return profile.settled(question)


def _margin(profile: Profile, threshold: float, sign: float, distance: float) -> tuple[float, float]:
    """How far below the threshold sqrt of the rise of a profile is at a distance from the best value, and its slope."""
    value = profile.estimate + sign * distance
    rise = profile.rise(value)
    if not (math.isfinite(rise) and rise > 0):
        return (math.sqrt(threshold) if rise <= 0 else -math.inf), math.nan
    slope = sign * float(profile.likelihood.slope(profile.held(value).x)[profile.index])
    return math.sqrt(threshold) - math.sqrt(rise), -slope / math.sqrt(rise)


Ended = tuple[Minimum, float]
"""A fit of a ray, and its distance from the best one."""


class _Rays:
    """Rises of -2 ln L along rays from the best fit in the plane of two parameters."""

    def __init__(self, profile: Profile, other: str, threshold: float) -> None:
        self.profile, self.names = profile, (profile.parameter, other)
        self.threshold = threshold
        self.places = [position(profile.likelihood, name) for name in self.names]
        self.known = profile.best, 0.0  # the last fit of a ray, and its distance from the best one
        self.thorough = False  # whether each fit of a ray looks for other minima
        self.ended = list[Ended]()  # the same as `known` at the end of the ray before, if there is one
        covariance, _, note = covariance_at(profile.likelihood, profile.best)
        if covariance is None or not np.all(np.diag(covariance)[self.places] > 0):
            x, y = self.names
            raise BumpfitError(f"no contour of '{x}' and '{y}': {note or 'the data do not determine them'}")
        # where the others go when these two move by one, as far as -ln L is a parabola
        self.drift = np.linalg.solve(covariance[np.ix_(self.places, self.places)], covariance[self.places])
        self.axes = np.linalg.cholesky(covariance[np.ix_(self.places, self.places)]) * math.sqrt(threshold)

    def line(self, n_points: int) -> tuple[list[Floats], bool, list[Minimum]]:
        """Points of the contour, whether all rays reach it, and the fits there."""
        points, found, closed = list[Floats](), list[Minimum](), True
        last = list[float]()  # distances of the rays before, as far as they cross
        low, high = (end[self.places] for end in (self.profile.likelihood.low, self.profile.likelihood.high))
        origin = self.profile.best.x[self.places]
        for k in range(n_points):
            angle = 2 * math.pi * k / n_points
            direction = self.axes @ np.array([math.cos(angle), math.sin(angle)])
            room = np.where(direction > 0, high - origin, origin - low)
            with np.errstate(divide="ignore"):
                end = float(np.min(np.where(direction != 0, room / np.abs(direction), np.inf)))
            distance, crossed = 0.0, False
            self.known = self.profile.best, 0.0
            if end > 0:
                # about as far as the line through the last two goes
                step = max(2 * last[-1] - last[-2], 0.5 * last[-1]) if len(last) > 1 else REACH
                distance, crossed = self._crossing(origin, direction, end, step)
            last, closed = [*last[-1:], distance] if crossed else [], closed and crossed
            points.append(origin + distance * direction)
            found.append(self.known[0])
        return points, closed, found

    def _crossing(self, origin: Floats, direction: Floats, end: float, step: float) -> tuple[float, bool]:
        """How far a ray goes, and whether it crosses the threshold there.

        It is followed from minimum to next minimum. Where there is a lower one at its end, or next to that of the ray
        before, it is followed from there, and each step looks for lower ones.
        """
        before, margin = self.ended, partial(self._margin, origin, direction)
        self.known, self.thorough = (self.profile.best, 0.0), False
        crossed = with_slope(margin, step, end, PRECISION)
        own = self.known
        if crossed is None:
            distance, level = end, own[0].value
        else:
            distance, level = crossed, self.profile.best.value + self.threshold / 2
        ends = [self._end(margin, distance, one, thorough=one is own) for one in (own, *before)]
        self.known = min((one for one in ends if one), key=lambda one: one[0].value, default=own)
        if self.known[0].value < level - LOWER:
            self.thorough = True
            crossed = with_slope(margin, distance, end, PRECISION)
            distance = end if crossed is None else crossed
        self.ended = [self.known]
        return distance, crossed is not None

    def _end(
        self, margin: Callable[[float], tuple[float, float]], distance: float, known: Ended, *, thorough: bool
    ) -> Ended | None:
        """The fit at a distance along a ray, from a known one; None where there is no likelihood."""
        self.known, self.thorough = known, thorough
        return self.known if math.isfinite(margin(distance)[0]) else None

    def _margin(self, origin: Floats, direction: Floats, distance: float) -> tuple[float, float]:
        """How far below the threshold sqrt of the rise is at a distance along a ray, and its slope there."""
        held, best = self.profile.likelihood, self.profile.best
        values = origin + distance * direction
        for name, value in zip(self.names, values, strict=True):
            held = held.at(name, float(value))
        near, reached = self.known
        # along the line through the best fit and the last one
        moved = (near.x - best.x) / reached if reached > 0 else direction @ self.drift
        begin = np.clip(best.x + distance * moved, held.low, held.high)
        what = ", ".join(f"{name} = {value:g}" for name, value in zip(self.names, values, strict=True))
        try:
            ahead = held.begin(begin)
            found = require_valid(ahead.solve() if self.thorough else ahead.nearest(), f"the fit at {what}")
        except ZeroLikelihoodError:
            return -math.inf, math.nan
        self.profile.compare(found)
        self.known = found, distance
        rise = 2 * (found.value - best.value)
        if rise <= 0:
            return math.sqrt(self.threshold), math.nan
        slope = float(held.slope(found.x)[self.places] @ direction)
        return math.sqrt(self.threshold) - math.sqrt(rise), -slope / math.sqrt(rise)
