"""Pulls and impacts: how far each nuisance parameter moves, and how far it moves the parameter of interest.

The impact of a parameter is the shift of the parameter of interest when it is held at its best value plus or minus its
uncertainty and everything else is fitted again: with its uncertainty after the fit, and with the one before it.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Unpack

import numpy as np

from bumpfit.inference.fit import covariance_at, likelihood_of
from bumpfit.inference.histfactory import FitOptions, Settings
from bumpfit.inference.profile import Profile, require_poi
from bumpfit.likelihood import Likelihood, Minimum, ZeroLikelihoodError, at_ends
from bumpfit.results import Impact, Impacts
from bumpfit.types import Floats
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
    model: Model | Likelihood,
    data: Data = None,
    *,
    parameter: str | None = None,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Impacts:
    """Pulls and impacts on `parameter` (default: of interest) of all free nuisance parameters, largest impact first.

    A value that the fit or a range does not allow gives None; a parameter of interest that the data do not determine
    has no impacts at all, and a note says so. A likelihood that is not a workspace has no constraints.
    Raises InputError without a parameter of interest and BumpfitError when the free fit does not converge.

    Examples:
        >>> (norm,) = bumpfit.inference.impacts(model).impacts
        >>> print(f"{norm.parameter}: pull {norm.pull:.2f}")
        norm: pull 0.08
    """
    likelihood = likelihood_of(model, data, options=options, **settings)
    name = require_poi(likelihood, parameter)
    profile = Profile(likelihood, name)
    described = {p.name: p for p in model.parameters} if isinstance(model, Model) else {}
    rows, found = profile.settled(lambda: _rows(profile, described))
    covariance, errors, note = covariance_at(likelihood, profile.best)
    error = float(errors[profile.index])
    lost = covariance is None and not math.isfinite(error) and _inside(profile)
    if lost:  # where fits end along a flat -ln L is chance
        rows = [dataclasses.replace(row, up=None, down=None, prefit_up=None, prefit_down=None) for row in rows]
    return Impacts(
        name,
        profile.estimate,
        error if error > 0 else None,
        tuple(sorted(rows, key=lambda row: -max(abs(row.up or 0.0), abs(row.down or 0.0)))),
        at_bounds=at_ends(likelihood, profile.best, *found),
        notes=(f"no impacts on {name}: {note or 'the data do not determine it'}",) if lost else (),
    )


def _inside(profile: Profile) -> bool:
    """Whether the parameter of interest is inside its range where -ln L has second derivatives."""
    low, high = profile.range
    return low < profile.estimate < high and bool(np.isfinite(profile.likelihood.curvature(profile.best.x)).all())


def _rows(profile: Profile, described: dict[str, Parameter]) -> tuple[list[Impact], list[Minimum]]:
    """Impacts in the order of the parameters, and the fits behind them."""
    likelihood, best = profile.likelihood, profile.best
    covariance, errors, _ = covariance_at(likelihood, best)
    rows, fits = [], []
    for i, name in enumerate(likelihood.names):
        if i == profile.index or not likelihood.free[i]:
            continue
        width = prefit_width(described[name]) if name in described else None
        centre = prefit_centre(described[name]) if name in described else None
        error = float(errors[i]) if math.isfinite(errors[i]) and errors[i] > 0 else None
        value = float(best.x[i])
        # where the others go when this one moves by one, as far as -ln L is a parabola
        slope = None if covariance is None or error is None else covariance[:, i] / covariance[i, i]
        shifts: list[float | None] = []
        for distance in (error, width):
            for sign in (1, -1):
                held = None if distance is None else _held(profile, i, value + sign * distance, slope)
                shifts.append(None if held is None else float(held.x[profile.index] - best.x[profile.index]))
                fits += [] if held is None else [held]
        rows.append(
            Impact(
                parameter=name,
                value=value,
                error=error,
                pull=None if width is None or centre is None else (value - centre) / width,
                constraint=None if width is None or error is None else error / width,
                up=shifts[0],
                down=shifts[1],
                prefit_up=shifts[2],
                prefit_down=shifts[3],
            )
        )
    return rows, fits


def _held(profile: Profile, index: int, value: float, slope: Floats | None) -> Minimum | None:
    """The fit with another parameter held at a value, begun along `slope` (P,); None where it cannot be."""
    likelihood, start = profile.likelihood, profile.best.x
    if not likelihood.low[index] <= value <= likelihood.high[index]:
        return None
    if slope is not None:
        start = np.clip(start + slope * (value - start[index]), likelihood.low, likelihood.high)
    try:
        found = likelihood.at(likelihood.names[index], value).begin(start).solve()
    except ZeroLikelihoodError:  # a value in a batch, not a failure of the question
        return None
    if not found.valid:
        return None
    profile.compare(found)
    return found
