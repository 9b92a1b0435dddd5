"""Discovery: how improbable are the data without signal?

The statistic is q0 of Cowan, Cranmer, Gross, Vitells (Eur. Phys. J. C 71 (2011) 1554, arXiv:1007.1727), eq. 12; its
asymptotic p-value is 1 - Phi(sqrt(q0)), eq. 52. It is not reliable when few events are expected: throw toys then.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Unpack

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.fit import FitOptions, Minimum, Problem, Settings, prepare, report, solve
from bumpfit.normal import upper_tail
from bumpfit.results import Discovery
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data


def require_poi(model: Model, parameter: str | None = None) -> str:
    """The named parameter, or the model's parameter of interest; raises InputError when there is none."""
    name = model.poi if parameter is None else parameter
    if name is None:
        raise InputError("the model has no parameter of interest; name a parameter")
    model.index(name)
    return name


def require_valid(minimum: Minimum, what: str) -> Minimum:
    """The minimum itself; raises BumpfitError when it is not one."""
    if not minimum.valid:
        raise BumpfitError(f"{what} did not converge: {'; '.join(minimum.attempts)}; try other starts or ranges")
    return minimum


def require_free(problem: Problem, parameter: str) -> None:
    """Raise InputError when the parameter in question is held fixed or changes nothing."""
    if not problem.free[problem.model.index(parameter)]:
        reason = "changes no expectation" if parameter in problem.undetermined else "is held fixed"
        raise InputError(f"parameter '{parameter}' {reason}, so nothing can be learnt about it")


def free_and_null(problem: Problem, parameter: str, options: FitOptions) -> tuple[Minimum, Minimum]:
    """The free fit and the fit with the parameter at zero; each also starts from the other's answer if that is better.

    A likelihood with several minima can hide the lower one from a single start; the free fit must not end above the
    other. Raises BumpfitError when a fit does not converge.
    """
    best = require_valid(solve(problem, options), "the fit with signal")
    null = require_valid(
        solve(problem.at(parameter, 0.0, best.x), options), f"the fit without signal ({parameter} = 0)"
    )
    allowed = problem.low[problem.model.index(parameter)] <= 0 <= problem.high[problem.model.index(parameter)]
    if allowed and null.value < best.value:
        again = solve(dataclasses.replace(problem, start=null.x), options)
        if again.valid and again.value < best.value:
            best = again
    return best, null


def q0(problem: Problem, parameter: str, options: FitOptions = FitOptions()) -> tuple[float, Minimum, Minimum]:
    """q0 of a parameter, with the free fit and the fit at zero."""
    require_free(problem, parameter)
    best, null = free_and_null(problem, parameter, options)
    if best.x[problem.model.index(parameter)] < 0:
        return 0.0, best, null
    return max(0.0, 2 * (null.value - best.value)), best, null


def discovery(
    model: Model,
    data: Data = None,
    *,
    parameter: str | None = None,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Discovery:
    """q0, asymptotic p-value and significance of the background-only hypothesis `parameter` = 0 (default: the
    model's own).

    Raises InputError without a parameter of interest, BumpfitError when a fit does not converge.
    """
    name = require_poi(model, parameter)
    problem = prepare(model, data, **settings)
    statistic, best, null = q0(problem, name, options)
    free_fit = report(problem, best, options)
    return Discovery(
        q0=statistic,
        p=upper_tail(math.sqrt(statistic)),
        z=math.sqrt(statistic),
        mu=free_fit.values[name],
        mu_error=free_fit.errors[name] or None,
        parameter=name,
        free_fit=free_fit,
        null_fit=report(problem.at(name, 0.0), null, options),
    )
