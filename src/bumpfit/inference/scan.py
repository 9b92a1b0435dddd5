"""Likelihood scans: the profile along one parameter, with the nuisance parameters refitted at every point."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Unpack

import numpy as np

from bumpfit.errors import InputError
from bumpfit.inference.discovery import require_free, require_poi, require_valid
from bumpfit.inference.fit import FitOptions, Minimum, Problem, Settings, prepare, solve
from bumpfit.inference.interval import LOWER, first_step
from bumpfit.results import Scan
from bumpfit.workspace import Model
from bumpfit.workspace.kernels import Floats
from bumpfit.workspace.model import Data, numbers


def scan(
    model: Model,
    parameter: str | None = None,
    points: Sequence[float] | None = None,
    data: Data = None,
    *,
    n_points: int = 41,
    n_sigma: float = 3.0,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Scan:
    """Profile likelihood at `points`, by default `n_points` over the best fit -/+ `n_sigma` errors within the range.

    A point whose fit does not converge has no value and says so in its status. Raises InputError for empty or
    non-finite points, BumpfitError when the free fit does not converge.
    """
    name = require_poi(model, parameter)
    if points is None and not (n_points >= 1 and 0 < n_sigma < math.inf):
        raise InputError(f"a scan needs n_points >= 1 and n_sigma > 0, got {n_points} and {n_sigma}")
    problem = prepare(model, data, **settings)
    require_free(problem, name)
    i = model.index(name)
    best = require_valid(solve(problem, options), "the free fit")
    if points is None:
        reach = first_step(problem, best, i, n_sigma**2)
        low, high = max(problem.low[i], best.x[i] - reach), min(problem.high[i], best.x[i] + reach)
        values = np.linspace(low, high, n_points)
    else:
        values = numbers(points, "the points of a scan")
        if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
            raise InputError("a scan needs a list of finite points")
    held = _walk(problem, name, values, best, options)
    valid = [found for found in held if found.valid]
    lowest = min(valid, key=lambda found: found.value, default=best)
    if lowest.value < best.value - LOWER:
        # the free fit had missed the lower of several minima
        best = require_valid(solve(dataclasses.replace(problem, start=lowest.x), options), "the free fit")
        held = _walk(problem, name, values, best, options)
    return Scan(
        parameter=name,
        points=tuple(float(v) for v in values),
        delta_twice_nll=tuple(2 * (found.value - best.value) if found.valid else None for found in held),
        best=float(best.x[i]),
        twice_nll_min=problem.constant + 2 * best.value,
        status=tuple("converged" if found.valid else found.attempts[-1] for found in held),
    )


def _walk(problem: Problem, name: str, values: Floats, best: Minimum, options: FitOptions) -> list[Minimum]:
    """Fits at the points, walking away from the best fit on both sides, each starting from its neighbour."""
    centre = best.x[problem.model.index(name)]
    last = {True: best.x, False: best.x}
    result: dict[int, Minimum] = {}
    for k in np.argsort(np.abs(values - centre), kind="stable"):
        side = bool(values[k] >= centre)
        found = solve(problem.at(name, float(values[k]), last[side]), options)
        if found.valid:
            last[side] = found.x
        result[int(k)] = found
    return [result[k] for k in range(values.size)]
