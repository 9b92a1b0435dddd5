"""How a test statistic is distributed: by formula (`bumpfit.inference.Asymptotic`) or in toys (`bumpfit.toys.Toys`).

Questions that need a probability take a law. To make one, write a record with the members of `Law`; it answers for one
likelihood with a `Distribution`, which keeps what its tails share (fits, toys).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, Protocol

from bumpfit.likelihood import Likelihood, Minimum

Statistic = Literal["q0", "q", "qtilde", "t"]
"""Profile likelihood ratios of a strength (Cowan et al., arXiv:1007.1727): q0 (eq. 12), q (14), q-tilde (16), t (8)."""
Fitness = Literal["saturated", "chi2", "ks"]
"""Statistics of the goodness of a fit."""

SMALLEST = 1e-300
"""A probability that is smaller is given as this: floating-point numbers end there, and no p-value is 0."""


@dataclasses.dataclass(frozen=True)
class Tail:
    """Probability that a statistic reaches a value: ln p, and the standard error of p where toys estimate it.

    `upper`: p is at most this, with 95 % confidence (None where p is a formula).
    """

    log_p: float
    error: float | None = None
    upper: float | None = None

    @property
    def p(self) -> float:
        """The probability, `SMALLEST` where it is smaller."""
        return max(math.exp(min(self.log_p, 0.0)), SMALLEST)

    @property
    def underflows(self) -> bool:
        """Whether `p` is only a bound, as floating-point numbers end above it."""
        return self.log_p < math.log(SMALLEST)


class Distribution(Protocol):
    """Law of one statistic of one likelihood, for any tested and any true strength."""

    def tail(self, tested: float, true: float, value: float) -> Tail:
        """P(statistic of `tested` >= value) where the strength is `true`."""

    def quantile(self, tested: float, true: float, p: float) -> float:
        """The value that the statistic of `tested` reaches with probability p where the strength is `true`."""


class Law(Protocol):
    """Where probabilities come from."""

    @property
    def method(self) -> str:
        """Its name in results: "asymptotic", "toys"."""

    @property
    def precision(self) -> float:
        """Relative precision to which ends of intervals and limits are worth looking for."""

    def of(self, likelihood: Likelihood, parameter: str, statistic: Statistic) -> Distribution:
        """Law of a statistic of a parameter; nuisance parameters are at their fit to its data."""

    def fitness(self, likelihood: Likelihood, best: Minimum, statistic: Fitness, value: float) -> Tail:
        """P(goodness-of-fit statistic >= value) where the best fit is true. Raises InputError without such a law."""
