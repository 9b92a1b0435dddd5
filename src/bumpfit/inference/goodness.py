"""Goodness of fit: does any choice of parameters describe the data?

"saturated": the likelihood ratio to the saturated model, auxiliary measurements included (Baker, Cousins, Nucl.
Instrum. Meth. 221 (1984) 437). "chi2": Pearson's statistic of the bins and the squared pulls of the constraints. "ks":
the largest distance between the normalised cumulative counts of data and fit in any channel; only toys know its law.
"""

from __future__ import annotations

import math
from typing import Literal, Unpack

import numpy as np

from bumpfit.errors import InputError
from bumpfit.inference.discovery import require_valid
from bumpfit.inference.fit import FitOptions, Minimum, Problem, Settings, prepare, solve
from bumpfit.results import Goodness
from bumpfit.workspace import Model
from bumpfit.workspace.kernels import Floats
from bumpfit.workspace.model import Data

Statistic = Literal["saturated", "chi2", "ks"]


def degrees_of_freedom(problem: Problem) -> int:
    """Bins and auxiliary measurements of free parameters, minus free parameters."""
    model = problem.model
    constrained = np.array([p.constraint != "none" for p in model.parameters])
    return int(model.reachable.sum() + (constrained & problem.free).sum() - problem.free.sum())


def _pulls(problem: Problem, x: Floats) -> float:
    c = problem.model.compiled
    normal = (x[c.normal_parameter] - problem.aux[c.normal_aux]) / c.normal_sigma
    mean = c.poisson_factor * x[c.poisson_parameter]
    counted = (problem.aux[c.poisson_aux] - mean) / np.sqrt(mean)
    free = problem.free
    return float(np.sum(normal[free[c.normal_parameter]] ** 2) + np.sum(counted[free[c.poisson_parameter]] ** 2))


def _fixed_part(problem: Problem, x: Floats) -> float:
    """What constraints of held parameters add to -2 ln L: no measurement of this fit."""
    c = problem.model.compiled
    held = ~problem.free
    pulls = (x[c.normal_parameter] - problem.aux[c.normal_aux]) / c.normal_sigma
    total = float(np.sum(pulls[held[c.normal_parameter]] ** 2))
    n, mean = problem.aux[c.poisson_aux], c.poisson_factor * x[c.poisson_parameter]
    safe = np.where(n > 0, n, 1.0)
    deviance = 2 * (mean - n + np.where(n > 0, n * np.log(safe / mean), 0.0))
    return total + float(np.sum(deviance[held[c.poisson_parameter]]))


def statistic_of(problem: Problem, minimum: Minimum, statistic: Statistic) -> tuple[float, dict[str, float]]:
    """The statistic at a minimum, and its part in each channel."""
    model, x = problem.model, minimum.x
    rate, counts = model.expected(x), problem.main
    if statistic == "saturated":
        safe = np.where(counts > 0, counts, 1.0)
        with np.errstate(divide="ignore"):
            terms = 2 * (rate - counts + np.where(counts > 0, counts * np.log(safe / rate), 0.0))
        parts = {c.name: float(terms[c.first : c.last].sum()) for c in model.channels}
        return 2 * minimum.value - _fixed_part(problem, x), parts
    if statistic == "chi2":
        terms = np.divide((counts - rate) ** 2, rate, out=np.zeros_like(rate), where=rate > 0)
        parts = {c.name: float(terms[c.first : c.last].sum()) for c in model.channels}
        return sum(parts.values()) + _pulls(problem, x), parts
    parts = {}
    for c in model.channels:
        seen, fitted = np.cumsum(counts[c.first : c.last]), np.cumsum(rate[c.first : c.last])
        distance = np.abs(seen / seen[-1] - fitted / fitted[-1]).max() if seen[-1] > 0 and fitted[-1] > 0 else 0.0
        parts[c.name] = float(distance)
    return max(parts.values()), parts


def goodness(
    model: Model,
    data: Data = None,
    statistic: Statistic = "saturated",
    *,
    toys: int = 0,
    seed: int = 0,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Goodness:
    """Goodness of fit; the p-value is asymptotic (chi2), or from `toys` thrown at the best fit and fitted again.

    Toys that cannot be fitted are left out and make `toys` of the result smaller. Raises InputError for an unknown
    statistic or a fit without degrees of freedom, BumpfitError when the fit does not converge.
    """
    if statistic not in ("saturated", "chi2", "ks"):
        raise InputError(f"unknown goodness-of-fit statistic {statistic!r}; choose 'saturated', 'chi2' or 'ks'")
    if toys < 0:
        raise InputError(f"the number of toys must not be negative, got {toys}")
    problem = prepare(model, data, **settings)
    best = require_valid(solve(problem, options), "the fit")
    observed, parts = statistic_of(problem, best, statistic)
    freedom = degrees_of_freedom(problem)
    if toys == 0:
        from scipy.special import chdtrc  # here, for a quicker start

        if statistic != "ks" and freedom < 1:
            raise InputError(
                f"{int(model.reachable.sum())} bins and {int(problem.free.sum())} free parameters leave no degree of "
                "freedom, so every data set fits; fix parameters or take more bins"
            )
        p = None if statistic == "ks" else float(chdtrc(freedom, observed))
        return Goodness(statistic, observed, p, None if statistic == "ks" else freedom, channels=parts)
    thrown = _throw(problem, best, statistic, toys, np.random.default_rng(seed), options)
    # the observed data count as one more toy, so that p is never 0
    above = int(np.sum(thrown >= observed))
    p = (above + 1) / (thrown.size + 1)
    error = math.sqrt(p * (1 - p) / (thrown.size + 1))
    return Goodness(statistic, observed, p, None, "toys", error, thrown.size, parts)


def _throw(
    problem: Problem,
    best: Minimum,
    statistic: Statistic,
    toys: int,
    generator: np.random.Generator,
    options: FitOptions,
) -> Floats:
    """The statistic of data and auxiliary measurements thrown at the best fit, shape (at most toys,)."""
    from dataclasses import replace

    model, c = problem.model, problem.model.compiled
    rate, centre = model.expected(best.x), model.expected_auxiliary(best.x)
    start = np.where(problem.free, best.x, problem.start)
    values = []
    for _ in range(toys):
        main = generator.poisson(rate).astype(np.float64)
        aux = centre.copy()
        aux[c.normal_aux] += c.normal_sigma * generator.normal(size=c.normal_aux.size)
        aux[c.poisson_aux] = generator.poisson(centre[c.poisson_aux])
        toy = replace(problem, main=main, aux=aux, start=start)
        found = solve(toy, options)
        if found.valid:
            values.append(statistic_of(toy, found, statistic)[0])
    return np.array(values)
