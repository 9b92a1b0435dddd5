"""Goodness of fit: does any choice of parameters describe the data?

"saturated": the likelihood ratio to the saturated model, auxiliary measurements included (Baker, Cousins, Nucl.
Instrum. Meth. 221 (1984) 437). "chi2": Pearson's statistic of the bins and the squared pulls of the constraints. Two
compare the normalised cumulative counts of data and fit, and only toys know their laws: "ks", the largest distance in
any channel (Kolmogorov, Smirnov), and "ad", the squared distance weighted to see the tails too, summed over bins and
channels (Anderson, Darling, Ann. Math. Statist. 23 (1952) 193; binned as in `GoodnessOfFit::EvaluateADDistance` of
Combine, https://github.com/cms-analysis/HiggsAnalysis-CombinedLimit/blob/main/src/GoodnessOfFit.cc).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack, get_args

import numpy as np

from bumpfit.errors import InputError
from bumpfit.inference.asymptotic import Asymptotic, degrees_of_freedom, sparse_bins
from bumpfit.inference.fit import likelihood_of
from bumpfit.inference.histfactory import FitOptions, Settings
from bumpfit.inference.profile import require_valid
from bumpfit.law import SHAPES, Law, Tail
from bumpfit.likelihood import Floats, Likelihood, at_ends
from bumpfit.poisson import deviance
from bumpfit.results import ChannelGoodness, Goodness
from bumpfit.words import Fitness
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data


def fitness(likelihood: Likelihood, x: Floats, statistic: Fitness) -> tuple[float, dict[str, float]]:
    """The statistic at parameters x, and its part in each channel.

    Shapes leave channels of one bin out. Raises InputError for unbinned data, and for shapes where no channel is left.
    """
    bins = likelihood.bins(x)
    if not bins:
        raise InputError("unbinned data have no goodness of fit of this kind; bin them")
    if statistic in SHAPES:
        bins = {channel: here for channel, here in bins.items() if here[0].size > 1}
        if not bins:
            raise InputError(f"{statistic} compares shapes, but no channel has two bins; take saturated")
    parts = {channel: float(PARTS[statistic](counts, rate)) for channel, (counts, rate) in bins.items()}
    if statistic == "ks":
        return max(parts.values()), parts
    return sum(parts.values()) + (constraints(likelihood, x, statistic) or 0.0), parts


def constraints(likelihood: Likelihood, x: Floats, statistic: Fitness) -> float | None:
    """What the auxiliary measurements of free parameters add to the statistic; None for shapes, which do without."""
    return None if statistic in SHAPES else float(np.sum(likelihood.pulls(x) ** 2))


def _saturated(counts: Floats, rate: Floats) -> float:
    return float(deviance(counts, rate).sum())


def _pearson(counts: Floats, rate: Floats) -> float:
    return float(np.divide((counts - rate) ** 2, rate, out=np.zeros_like(rate), where=rate > 0).sum())


def _cumulative(counts: Floats, rate: Floats) -> tuple[Floats, Floats]:
    """Fractions of data and fit up to the upper edge of each bin, shape (B,); the same where there are no events."""
    seen, fitted = np.cumsum(counts), np.cumsum(rate)
    if not (seen[-1] > 0 and fitted[-1] > 0):
        return np.zeros_like(fitted), np.zeros_like(fitted)
    return seen / seen[-1], fitted / fitted[-1]


def _kolmogorov_smirnov(counts: Floats, rate: Floats) -> float:
    seen, fitted = _cumulative(counts, rate)
    return float(np.abs(seen - fitted).max())


def _anderson_darling(counts: Floats, rate: Floats) -> float:
    """n sum over bins of (S - F)^2 / (F (1 - F)) dF, without the bins where F is 0 or 1."""
    seen, fitted = _cumulative(counts, rate)
    weight = fitted * (1 - fitted)
    distance = np.divide((seen - fitted) ** 2, weight, out=np.zeros_like(weight), where=weight > 0)
    return float(counts.sum() * np.sum(distance * np.diff(fitted, prepend=0.0)))


PARTS: dict[Fitness, Callable[[Floats, Floats], float]] = {
    "saturated": _saturated,
    "chi2": _pearson,
    "ks": _kolmogorov_smirnov,
    "ad": _anderson_darling,
}
"""What the counts and the expectations of one channel, shapes (B,), say."""


def goodness(
    model: Model | Likelihood,
    data: Data = None,
    statistic: Fitness = "saturated",
    *,
    law: Law = Asymptotic(),
    by_channel: bool = False,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Goodness:
    """Goodness of fit; the p-value is that of chi2, or of `law=bumpfit.toys.Toys(n)`, thrown at the best fit.

    Toys that cannot be fitted are left out and make `toys` of the result smaller. They give each channel a p-value too;
    for "saturated" with `by_channel` only, as they must then be fitted one by one. Raises InputError for an unknown
    statistic or a fit without degrees of freedom, BumpfitError when the fit does not converge.

    Examples:
        >>> print(f"p = {bumpfit.inference.goodness(model).p:.2f}")
        p = 0.83
    """
    if statistic not in get_args(Fitness):
        raise InputError(f"unknown goodness-of-fit statistic {statistic!r}; choose 'saturated', 'chi2', 'ks' or 'ad'")
    likelihood = likelihood_of(model, data, options=options, **settings)
    best = require_valid(likelihood.solve(), "the fit")
    value, parts = fitness(likelihood, best.x, statistic)
    tail, toys, tails = law.fitness(
        likelihood, best, statistic, value, parts if by_channel or statistic != "saturated" else {}
    )
    asymptotic = law.method == "asymptotic"
    freedom = degrees_of_freedom(likelihood, best) if asymptotic and statistic not in SHAPES else None
    return Goodness(
        statistic,
        value,
        None if tail is None else tail.p,
        freedom,
        law.method,
        None if tail is None else tail.error,
        toys,
        {channel: _channel(part, tails.get(channel)) for channel, part in parts.items()},
        constraints(likelihood, best.x, statistic),
        p_upper=None if tail is None else tail.upper,
        p_is_upper_bound=tail is not None and tail.underflows,
        at_bounds=at_ends(likelihood, best),
        notes=sparse_bins(likelihood, best, "bumpfit gof WORKSPACE --toys 1000") if asymptotic and tail else (),
    )


def _channel(part: float, tail: Tail | None) -> ChannelGoodness:
    return ChannelGoodness(part) if tail is None else ChannelGoodness(part, tail.p, tail.error, tail.upper)
