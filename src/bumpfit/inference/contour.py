"""Two-dimensional confidence contours of the profile likelihood: -2 ln L rises by the quantile of chi2(2)."""

from __future__ import annotations

import math
from functools import partial
from typing import Unpack

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.fit import covariance_at, likelihood_of
from bumpfit.inference.histfactory import FitOptions, Settings
from bumpfit.inference.interval import first_step
from bumpfit.inference.profile import Profile, require_poi, require_valid
from bumpfit.inference.roots import outward
from bumpfit.likelihood import Floats, Likelihood, Minimum, ZeroLikelihoodError, at_ends, position
from bumpfit.normal import chi2_quantile
from bumpfit.results import Contour
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

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
    ends = [_ends(one, threshold) for one in (profile, Profile(likelihood, y))]
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
    )


def _ends(profile: Profile, threshold: float) -> tuple[tuple[float, float], bool]:
    """Where the profile of one parameter crosses the threshold of both, or its range ends; whether it crosses twice."""

    def inside(value: float) -> float:
        return math.sqrt(threshold) - math.sqrt(profile.rise(value))

    def question() -> tuple[tuple[float, float], bool]:
        step, best = first_step(profile, threshold), profile.estimate
        ends = [outward(inside, best, sign * step, end, PRECISION)
                for sign, end in zip((-1.0, 1.0), profile.range, strict=True)]  # fmt: skip
        low, high = (end if found is None else found for found, end in zip(ends, profile.range, strict=True))
        return (low, high), None not in ends

    return profile.settled(question)


class _Rays:
    """Rises of -2 ln L along rays from the best fit in the plane of two parameters."""

    def __init__(self, profile: Profile, other: str, threshold: float) -> None:
        self.profile, self.names = profile, (profile.parameter, other)
        self.threshold = threshold
        self.places = [position(profile.likelihood, name) for name in self.names]
        self.start = profile.best
        covariance, _, note = covariance_at(profile.likelihood, profile.best)
        if covariance is None or not np.all(np.diag(covariance)[self.places] > 0):
            x, y = self.names
            raise BumpfitError(f"no contour of '{x}' and '{y}': {note or 'the data do not determine them'}")
        self.axes = np.linalg.cholesky(covariance[np.ix_(self.places, self.places)]) * math.sqrt(threshold)

    def line(self, n_points: int) -> tuple[list[Floats], bool, list[Minimum]]:
        """Points of the contour, whether all rays reach it, and the fits there."""
        points, found, closed = [], [], True
        low, high = (end[self.places] for end in (self.profile.likelihood.low, self.profile.likelihood.high))
        origin = self.profile.best.x[self.places]
        for k in range(n_points):
            angle = 2 * math.pi * k / n_points
            direction = self.axes @ np.array([math.cos(angle), math.sin(angle)])
            room = np.where(direction > 0, high - origin, origin - low)
            with np.errstate(divide="ignore"):
                end = float(np.min(np.where(direction != 0, room / np.abs(direction), np.inf)))
            self.start = self.profile.best
            distance = 0.0
            if end > 0:
                crossed = outward(partial(self._along, origin, direction), 0.0, 1.0, end, PRECISION)
                distance, closed = end if crossed is None else crossed, closed and crossed is not None
            else:
                closed = False
            points.append(origin + distance * direction)
            found.append(self.start)
        return points, closed, found

    def _along(self, origin: Floats, direction: Floats, distance: float) -> float:
        """`_inside` at a distance along a ray."""
        return self._inside(origin + distance * direction)

    def _inside(self, values: Floats) -> float:
        """How far below the threshold sqrt of the rise is."""
        held = self.profile.likelihood
        for name, value in zip(self.names, values, strict=True):
            held = held.at(name, float(value))
        what = ", ".join(f"{name} = {value:g}" for name, value in zip(self.names, values, strict=True))
        try:
            found = require_valid(held.begin(self.start.x).solve(), f"the fit at {what}")
        except ZeroLikelihoodError:
            return -math.inf
        self.profile.compare(found)
        self.start = found
        return math.sqrt(self.threshold) - math.sqrt(max(2 * (found.value - self.profile.best.value), 0.0))
