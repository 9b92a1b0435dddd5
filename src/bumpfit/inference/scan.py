"""Likelihood scans: the profile along one parameter, with the nuisance parameters refitted at every point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np

from bumpfit.errors import InputError
from bumpfit.inference.discovery import require_free, require_poi, require_valid
from bumpfit.inference.fit import FitOptions, Settings, prepare, solve
from bumpfit.inference.interval import first_step
from bumpfit.results import Scan
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data


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
    problem = prepare(model, data, **settings)
    require_free(problem, name)
    i = model.index(name)
    best = require_valid(solve(problem, options), "the free fit")
    if points is None:
        reach = first_step(problem, best, i, n_sigma**2)
        low, high = max(problem.low[i], best.x[i] - reach), min(problem.high[i], best.x[i] + reach)
        values = np.linspace(low, high, n_points)
    else:
        values = np.asarray(points, dtype=np.float64)
        if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
            raise InputError("a scan needs a list of finite points")
    rises: list[float | None] = [None] * values.size
    status = [""] * values.size
    # walk away from the best fit on both sides, each point starting from its neighbour
    order = np.argsort(np.abs(values - best.x[i]), kind="stable")
    last = {True: best.x, False: best.x}
    for k in order:
        side = bool(values[k] >= best.x[i])
        held = solve(problem.at(name, float(values[k]), last[side]), options)
        status[k] = "converged" if held.valid else held.attempts[-1]
        if held.valid:
            last[side] = held.x
            rises[k] = 2 * (held.value - best.value)
    return Scan(
        parameter=name,
        points=tuple(float(v) for v in values),
        delta_twice_nll=tuple(rises),
        best=float(best.x[i]),
        twice_nll_min=problem.constant + 2 * best.value,
        status=tuple(status),
    )
