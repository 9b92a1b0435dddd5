"""Pulls and impacts: how far each nuisance parameter moves, and how far it moves the parameter of interest.

The impact of a parameter is the shift of the parameter of interest when it is held at its best value plus or minus its
uncertainty and everything else is fitted again: with its uncertainty after the fit, and with the one before it.
"""

from __future__ import annotations

import math
from typing import Unpack

from bumpfit.errors import BumpfitError
from bumpfit.inference.discovery import require_free, require_poi, require_valid
from bumpfit.inference.fit import FitOptions, Minimum, Problem, Settings, covariance_at, prepare, solve
from bumpfit.results import Impact, Impacts
from bumpfit.workspace import Model, Parameter
from bumpfit.workspace.model import Data


def prefit_width(parameter: Parameter) -> float | None:
    """Uncertainty that the constraint alone gives; None without a constraint."""
    if parameter.constraint == "none" or parameter.width is None:
        return None
    return parameter.width if parameter.constraint == "normal" else 1 / math.sqrt(parameter.width)


def prefit_centre(parameter: Parameter) -> float | None:
    """Value that the auxiliary measurement alone gives; None without a constraint."""
    if parameter.auxdata is None or parameter.width is None:
        return None
    return parameter.auxdata if parameter.constraint == "normal" else parameter.auxdata / parameter.width


def impacts(
    model: Model,
    data: Data = None,
    *,
    parameter: str | None = None,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Impacts:
    """Pulls and impacts on `parameter` (default: of interest) of all free nuisance parameters, largest impact first.

    A value that the fit or a range does not allow gives None. Raises InputError without a parameter of interest and
    BumpfitError when the free fit does not converge.
    """
    name = require_poi(model, parameter)
    problem = prepare(model, data, **settings)
    require_free(problem, name)
    best = require_valid(solve(problem, options), "the free fit")
    _, errors, _ = covariance_at(problem, best.x)
    poi = model.index(name)
    rows = []
    for i, described in enumerate(model.parameters):
        if i == poi or not problem.free[i]:
            continue
        width, centre = prefit_width(described), prefit_centre(described)
        error = float(errors[i]) if math.isfinite(errors[i]) and errors[i] > 0 else None
        value = float(best.x[i])
        rows.append(
            Impact(
                parameter=described.name,
                value=value,
                error=error,
                pull=None if width is None or centre is None else (value - centre) / width,
                constraint=None if width is None or error is None else error / width,
                up=_shift(problem, best, i, poi, error, options),
                down=_shift(problem, best, i, poi, None if error is None else -error, options),
                prefit_up=_shift(problem, best, i, poi, width, options),
                prefit_down=_shift(problem, best, i, poi, None if width is None else -width, options),
            )
        )
    rows.sort(key=lambda row: -max(abs(row.up or 0.0), abs(row.down or 0.0)))
    return Impacts(name, float(best.x[poi]), float(errors[poi]) if errors[poi] > 0 else None, tuple(rows))


def _shift(
    problem: Problem, best: Minimum, index: int, poi: int, distance: float | None, options: FitOptions
) -> float | None:
    """Change of the parameter of interest when another is held `distance` from its best value."""
    if distance is None:
        return None
    value = float(best.x[index]) + distance
    if not problem.low[index] <= value <= problem.high[index]:
        return None
    try:
        held = solve(problem.at(problem.model.names[index], value, best.x), options)
    except BumpfitError:  # the likelihood is zero there: a value in a batch, not a failure of the question
        return None
    return float(held.x[poi] - best.x[poi]) if held.valid else None
