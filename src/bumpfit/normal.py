"""Tails of the normal and of the chi-squared law for single numbers, from the standard library.

For arrays `scipy.special` has the same functions; importing it takes as long as a short command does.
"""

from __future__ import annotations

import math

SMALLEST = 1e-300
"""Stands for every p-value below it: a p-value is never said to be 0."""


def upper_tail(z: float) -> float:
    """One-sided p-value of z standard deviations, 1 - Phi(z)."""
    return 0.5 * math.erfc(z / math.sqrt(2.0))


def significance(p: float) -> float:
    """Number of standard deviations of a one-sided p-value, the inverse of `upper_tail`; infinite at 0 and 1."""
    if p in (0.0, 1.0):
        return math.inf if p == 0.0 else -math.inf
    from statistics import NormalDist  # here, for a quicker --help

    return -NormalDist().inv_cdf(p)


def significance_of_log(log_p: float) -> float:
    """Number of standard deviations of a one-sided p-value given by its logarithm, also below all numbers."""
    if log_p > -600.0:
        return significance(math.exp(log_p))
    from scipy.special import ndtri_exp  # here, because so small a p-value is rare

    return -float(ndtri_exp(log_p))


def at_least(log_p: float) -> float:
    """A p-value from its logarithm; `SMALLEST`, an upper bound, where there is hardly a number so small."""
    return max(math.exp(log_p), SMALLEST)


def chi2_quantile(level: float, freedom: int = 1) -> float:
    """Value that chi-squared with 1 or 2 degrees of freedom stays below with probability `level`."""
    if freedom == 1:
        return significance(0.5 * (1.0 - level)) ** 2
    if freedom == 2:
        return -2.0 * math.log1p(-level)
    raise ValueError(f"one or two degrees of freedom, not {freedom}")
