"""Two-dimensional confidence contours of the profile likelihood: -2 ln L rises by the quantile of chi2(2)."""

from __future__ import annotations

import math
from typing import Unpack

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.discovery import require_free, require_valid
from bumpfit.inference.fit import FitOptions, Minimum, Problem, Settings, covariance_at, prepare, solve
from bumpfit.normal import chi2_quantile
from bumpfit.results import Contour
from bumpfit.workspace import Model
from bumpfit.workspace.kernels import Floats
from bumpfit.workspace.model import Data


def contour(
    model: Model,
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
    leaves the ranges first ends there, and the contour is then not closed. Raises InputError for wrong names or level,
    BumpfitError when a fit does not converge or the data do not determine the parameters.
    """
    if x == y:
        raise InputError(f"a contour needs two different parameters, got '{x}' twice")
    if not 0 < level < 1:
        raise InputError(f"the level must lie between 0 and 1, got {level}")
    if n_points < 4:
        raise InputError(f"a contour needs at least 4 points, got {n_points}")
    problem = prepare(model, data, **settings)
    indices = [model.index(x), model.index(y)]
    for name in (x, y):
        require_free(problem, name)
    best = require_valid(solve(problem, options), "the free fit")
    covariance, _, note = covariance_at(problem, best.x)
    if covariance is None or not np.all(np.diag(covariance)[indices] > 0):
        raise BumpfitError(f"no contour of '{x}' and '{y}': {note or 'the data do not determine them'}")
    threshold = chi2_quantile(level, freedom=2)
    axes = np.linalg.cholesky(covariance[np.ix_(indices, indices)]) * math.sqrt(threshold)
    points, closed = [], True
    for k in range(n_points):
        angle = 2 * math.pi * k / n_points
        direction = axes @ np.array([math.cos(angle), math.sin(angle)])
        distance, inside = _along(problem, best, indices, direction, threshold, options)
        closed &= inside
        points.append(best.x[indices] + distance * direction)
    return Contour(
        parameters=(x, y),
        level=level,
        x=tuple(float(p[0]) for p in points),
        y=tuple(float(p[1]) for p in points),
        best=(float(best.x[indices[0]]), float(best.x[indices[1]])),
        closed=closed,
    )


def _along(
    problem: Problem, best: Minimum, indices: list[int], direction: Floats, threshold: float, options: FitOptions
) -> tuple[float, bool]:
    """Distance along a ray to the threshold, in lengths of `direction`; False when the range ends first."""
    origin = best.x[indices]
    room = np.where(direction > 0, problem.high[indices] - origin, origin - problem.low[indices])
    with np.errstate(divide="ignore"):
        end = float(np.min(np.where(direction != 0, room / np.abs(direction), np.inf)))
    names = [problem.model.names[i] for i in indices]
    start = best.x

    def excess(distance: float) -> float:
        nonlocal start
        values = origin + distance * direction
        held = problem.at(names[0], float(values[0]), start).at(names[1], float(values[1]))
        found = require_valid(
            solve(held, options), f"the fit at {names[0]} = {values[0]:g}, {names[1]} = {values[1]:g}"
        )
        start = found.x
        return 2 * (found.value - best.value) - threshold

    low, high = 0.0, min(1.0, end)
    while high < end and excess(high) < 0:
        low, high = high, min(2 * high, end)
    if high == end and (end == 0 or excess(end) < 0):
        return end, False
    from scipy.optimize import brentq  # here, for a quicker start

    return float(brentq(excess, low, high, xtol=1e-6, rtol=1e-9)), True
