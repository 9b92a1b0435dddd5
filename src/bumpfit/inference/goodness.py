"""Goodness of fit: does any choice of parameters describe the data?

"saturated": the likelihood ratio to the saturated model, auxiliary measurements included (Baker, Cousins, Nucl.
Instrum. Meth. 221 (1984) 437). "chi2": Pearson's statistic of the bins and the squared pulls of the constraints. "ks":
the largest distance between the normalised cumulative counts of data and fit in any channel; only toys know its law.
"""

from __future__ import annotations

from typing import Unpack, get_args

import numpy as np

from bumpfit.errors import InputError
from bumpfit.inference.asymptotic import Asymptotic, degrees_of_freedom, sparse_bins
from bumpfit.inference.fit import likelihood_of
from bumpfit.inference.histfactory import FitOptions, Settings
from bumpfit.inference.profile import require_valid
from bumpfit.law import Fitness, Law
from bumpfit.likelihood import Floats, Likelihood, at_ends
from bumpfit.poisson import deviance
from bumpfit.results import Goodness
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data


def fitness(likelihood: Likelihood, x: Floats, statistic: Fitness) -> tuple[float, dict[str, float]]:
    """The statistic at parameters x, and its part in each channel; raises InputError for unbinned data."""
    bins = likelihood.bins(x)
    if not bins:
        raise InputError("unbinned data have no goodness of fit of this kind; bin them")
    parts: dict[str, float] = {}
    for channel, (counts, rate) in bins.items():
        if statistic == "saturated":
            parts[channel] = float(deviance(counts, rate).sum())
        elif statistic == "chi2":
            square = np.divide((counts - rate) ** 2, rate, out=np.zeros_like(rate), where=rate > 0)
            parts[channel] = float(square.sum())
        else:
            seen, fitted = np.cumsum(counts), np.cumsum(rate)
            known = seen.size > 0 and seen[-1] > 0 and fitted[-1] > 0
            parts[channel] = float(np.abs(seen / seen[-1] - fitted / fitted[-1]).max()) if known else 0.0
    if statistic == "ks":
        return max(parts.values()), parts
    return sum(parts.values()) + float(np.sum(likelihood.pulls(x) ** 2)), parts


def goodness(
    model: Model | Likelihood,
    data: Data = None,
    statistic: Fitness = "saturated",
    *,
    law: Law = Asymptotic(),
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Goodness:
    """Goodness of fit; the p-value is that of chi2, or of `law=bumpfit.toys.Toys(n)`, thrown at the best fit.

    Toys that cannot be fitted are left out and make `toys` of the result smaller. Raises InputError for an unknown
    statistic or a fit without degrees of freedom, BumpfitError when the fit does not converge.

    Examples:
        >>> print(f"p = {bumpfit.inference.goodness(model).p:.2f}")
        p = 0.83
    """
    if statistic not in get_args(Fitness):
        raise InputError(f"unknown goodness-of-fit statistic {statistic!r}; choose 'saturated', 'chi2' or 'ks'")
    likelihood = likelihood_of(model, data, options=options, **settings)
    best = require_valid(likelihood.solve(), "the fit")
    value, parts = fitness(likelihood, best.x, statistic)
    tail, toys = law.fitness(likelihood, best, statistic, value)
    asymptotic = law.method == "asymptotic"
    freedom = degrees_of_freedom(likelihood, best) if asymptotic and statistic != "ks" else None
    return Goodness(
        statistic,
        value,
        None if tail is None else tail.p,
        freedom,
        law.method,
        None if tail is None else tail.error,
        toys,
        parts,
        p_upper=None if tail is None else tail.upper,
        p_is_upper_bound=tail is not None and tail.underflows,
        at_bounds=at_ends(likelihood, best),
        notes=sparse_bins(likelihood, best, "bumpfit gof WORKSPACE --toys 1000") if asymptotic and tail else (),
    )
