"""Goodness of fit from toys: the likelihood ratio to the saturated model (Baker, Cousins, Nucl. Instrum. Meth. 221
(1984) 437).

Toys are thrown at the fit to the data and fitted like them, so the p-value needs no degrees of freedom.
"""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.results import Goodness
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.throw import TIE, batches, engine, fraction
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data


def goodness(
    model: Model | LogLinear,
    n: int,
    *,
    mu: float = 0.0,
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    data: Data = None,
    parameter: str | None = None,
) -> Goodness:
    """Does the model with strength mu describe the data? The p-value comes from n toys; arguments as for `throw`.

    The statistic is -2 ln of the likelihood ratio of the fit with the strength held at mu to the saturated model,
    auxiliary measurements included. Raises InputError without data, BumpfitError when no toy can be fitted.
    """
    base = engine(model, statistic="tmu", mu=mu, data=data, parameter=parameter)
    seen = base.observed_data()
    if seen is None:
        raise InputError("there are no observed data whose fit could be good or bad; give data")
    observed = base.saturated(base.fit_data(seen), seen)
    if not np.isfinite(observed[0]):
        raise BumpfitError("the fit to the data did not converge, so there is no goodness of fit")
    values = []
    for first, batch in batches(base, 0, n, seed, workers=workers, executor=executor):
        thrown = base.data(np.arange(first, first + len(batch.status)), seed)
        values.append(base.saturated(batch, thrown))
    toys = np.concatenate(values)
    toys = toys[np.isfinite(toys)]
    if toys.size == 0:
        raise BumpfitError("no toy could be fitted, so there is no goodness of fit")
    p, error = fraction(toys >= observed[0] - TIE)
    return Goodness("saturated", float(observed[0]), p, None, "toys", error, int(toys.size))
