"""Confidence intervals whose coverage comes from toys: the construction of Neyman with the ordering of Feldman and
Cousins.

A strength is in the interval when the data are not among its most extreme 1 - level toys, ordered by the profile
likelihood ratio (t~, or t where the strength may be negative): Feldman and Cousins, Phys. Rev. D 57 (1998) 3873; with
nuisance parameters at their fit to the data for that strength (profile construction; Sen, Walker, Woodroofe 2009).
"""

from __future__ import annotations

import math
from concurrent.futures import Executor

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.results import Interval
from bumpfit.toys.limits import Throwing, bounds
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.throw import engine
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

STEPS = 40
"""Most strengths tried on the way to an end of the interval."""
PRECISION = 1e-3
"""Width of the bracket of an end relative to the width of the interval at which the search stops."""


def feldman_cousins(
    model: Model | LogLinear,
    n: int,
    level: float = 0.6827,
    *,
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    data: Data = None,
    parameter: str | None = None,
) -> Interval:
    """Interval of the strength from n toys at each strength tried; arguments as for `throw`.

    Raises InputError for a level outside (0, 1) or a model without data, BumpfitError when no end is found.
    """
    if not 0 < level < 1:
        raise InputError(f"the level must lie between 0 and 1, got {level}")
    if n * (1 - level) < 10:
        raise InputError(f"{n} toys cannot resolve a level of {level:g}; throw at least {math.ceil(10 / (1 - level))}")
    throwing = Throwing(n, seed, workers, executor, data, parameter)
    bottom, top = bounds(model, parameter)
    name = "ttilde" if bottom >= 0 else "tmu"
    best, sigma = _best(model, throwing)
    known: dict[float, bool] = {}

    def accepted(mu: float) -> bool:
        if mu not in known:
            try:
                known[mu] = throwing.toys(model, name, mu, mu).p_value()[0] > 1 - level
            except InputError:
                if mu == best:
                    raise
                known[mu] = False  # so negative that some bin expects fewer than no events: no hypothesis
        return known[mu]

    if not accepted(best):
        raise BumpfitError(
            f"even the best strength {best:g} is not accepted: too few toys, or a fit that does not converge"
        )
    high = _end(accepted, best, sigma, top)
    low = _end(accepted, best, -sigma, bottom)
    return Interval(
        parameter="mu" if isinstance(model, LogLinear) else (parameter or model.poi or "mu"),
        low=low,
        high=high,
        best=best,
        level=level,
        method="Feldman-Cousins, toys",
        low_at_bound=low == bottom,
        high_at_bound=high == top,
    )


def _best(model: Model | LogLinear, throwing: Throwing) -> tuple[float, float]:
    """Best strength of the data, and the spread of best strengths of background-only toys."""
    base = engine(model, statistic="tmu", mu=0.0, data=throwing.data, parameter=throwing.parameter)
    found = base.observed_fit()
    if found is None:
        raise InputError("there are no observed data to make an interval for; give data")
    toys = base.run(0, min(throwing.n, 200), throwing.seed)
    spread = float(np.std(toys.strength[toys.status == 0, 0])) if (toys.status == 0).any() else 1.0
    return found[1], spread or 1.0


def _end(accepted, best: float, step: float, bound: float) -> float:  # type: ignore[no-untyped-def]
    """Outermost accepted strength in the direction of the step."""
    inside, outside = best, best
    for _ in range(STEPS):
        outside = inside + step
        if (step < 0 and outside <= bound) or (step > 0 and outside >= bound):
            if accepted(bound):
                return bound
            outside = bound
            break
        if not accepted(outside):
            break
        inside, step = outside, 1.5 * step
    else:
        raise BumpfitError(f"strengths as far as {outside:g} are accepted; is the strength determined by the data?")
    for _ in range(STEPS):
        if abs(outside - inside) < PRECISION * max(abs(outside - best), abs(step) / 100):
            break
        middle = 0.5 * (inside + outside)
        if accepted(middle):
            inside = middle
        else:
            outside = middle
    return 0.5 * (inside + outside)
