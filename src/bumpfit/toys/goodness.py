"""Goodness of fit from toys: the likelihood ratio to the saturated model (Baker, Cousins, Nucl. Instrum. Meth. 221
(1984) 437).

Toys are thrown at the fit to the data and fitted like them, so the p-value needs no degrees of freedom.
"""

from __future__ import annotations

import math
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.results import Goodness
from bumpfit.toys.engine import FITTED, Batch, Engine, LogLinearEngine
from bumpfit.toys.histfactory import HistFactoryEngine
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.throw import TIE, batches, engine, fraction
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

Floats = NDArray[np.float64]


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
    observed = _saturated(base, _fit(base, seen), seen)
    if not np.isfinite(observed[0]):
        raise BumpfitError("the fit to the data did not converge, so there is no goodness of fit")
    values = []
    for first, batch in batches(base, 0, n, seed, workers=workers, executor=executor):
        thrown = base.data(np.arange(first, first + len(batch.status)), seed)
        values.append(_saturated(base, batch, thrown))
    toys = np.concatenate(values)
    toys = toys[np.isfinite(toys)]
    if toys.size == 0:
        raise BumpfitError("no toy could be fitted, so there is no goodness of fit")
    p, error = fraction(toys >= observed[0] - TIE)
    return Goodness("saturated", float(observed[0]), p, None, "toys", error, int(toys.size))


def _fit(base: Engine, data: Floats) -> Batch:
    if isinstance(base, LogLinearEngine):
        bins = base.model.rate.size
        return base.fit(data[:, :bins], data[:, bins:])
    assert isinstance(base, HistFactoryEngine)
    return base.fit_data(data)


def _saturated(base: Engine, batch: Batch, data: Floats) -> Floats:
    """-2 ln L of each toy relative to the saturated model, NaN where the fit failed; shape (n,)."""
    value = batch.fixed[:, 0]
    if isinstance(base, LogLinearEngine):
        # the log-linear fits leave out what does not depend on the parameters
        counts, pulls = data[:, : base.model.rate.size], data[:, base.model.rate.size :]
        safe = np.where(counts > 0, counts, 1.0)
        constant = counts * np.log(safe / base.model.rate) - counts
        value = value + constant.sum(axis=1) + 0.5 * (pulls**2).sum(axis=1)
    return np.where(batch.status == FITTED, 2 * value, math.nan)
