"""How a test statistic is distributed: by formula (`bumpfit.inference.Asymptotic`) or in toys (`bumpfit.toys.Toys`).

Questions that need a probability take a law. To make one, write a record with the members of `Law`; it answers for one
likelihood with a `Distribution`, which keeps what its tails share (fits, toys).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal, Protocol

from bumpfit.likelihood import Likelihood, Minimum
from bumpfit.normal import SMALLEST
from bumpfit.words import Fitness

Statistic = Literal["q0", "q", "qtilde", "t"]
"""Profile likelihood ratios of a strength (Cowan et al., arXiv:1007.1727): q0 (eq. 12), q (14), q-tilde (16), t (8)."""
SHAPES = ("ks", "ad")
"""Those of the shapes alone: they have no formula, only toys know their laws."""


@dataclasses.dataclass(frozen=True)
class Tail:
    """Probability that a statistic reaches a value: ln p, and the standard error of p where it is estimated.

    `upper`: p is at most this, with 95 % confidence (None where p is a formula). `floor`: no toy reaches the value, so
    that more toys would make p smaller.
    """

    log_p: float
    error: float | None = None
    upper: float | None = None
    floor: bool = False

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

    def quantile(self, tested: float, true: float, p: float) -> tuple[float, float, float]:
        """The value that the statistic of `tested` reaches with probability p where the strength is `true`, and that
        value one standard error of the toys down and up (the same without toys).
        """


class Nested(Protocol):
    """A likelihood, and a wider one that has it as a special case, with the ratio of both as a statistic."""

    @property
    def null(self) -> Likelihood:
        """The special case, with the data."""

    def tail(self, value: float) -> Tail:
        """P(-2 ln ratio >= value) for many events, where the special case is true."""

    def statistic(self, toy: Likelihood) -> float:
        """-2 ln of the ratio for a toy of `null`; raises BumpfitError where a fit does not converge."""


class Law(Protocol):
    """Where probabilities come from."""

    @property
    def method(self) -> str:
        """Its name in results: "asymptotic", "toys"."""

    @property
    def precision(self) -> float:
        """Relative precision to which ends of intervals and limits are worth looking for."""

    def resolves(self, p: float) -> None:
        """Raise InputError where the law cannot tell a probability p from zero (too few toys)."""

    def of(self, likelihood: Likelihood, parameter: str, statistic: Statistic) -> Distribution:
        """Law of a statistic of a parameter; nuisance parameters are at their fit to its data."""

    def fitness(
        self, likelihood: Likelihood, best: Minimum, statistic: Fitness, value: float, parts: Mapping[str, float]
    ) -> tuple[Tail | None, int | None, dict[str, Tail]]:
        """P(goodness-of-fit statistic >= value) where the best fit is true (None where the law is not known), the
        number of toys that were thrown and fitted (None without toys), and P(part of the channel >= its part) of all
        `parts`, from the same toys (empty where the law is not known).
        """

    def nested(self, ratio: Nested, best: Minimum, value: float) -> tuple[Tail, int | None]:
        """P(-2 ln ratio >= value) where `best`, the fit of the special case, is true, and the number of toys as in
        `fitness`.
        """


def estimate(weight: float, squares: float, n: int, *, plain: bool) -> tuple[float, float]:
    """Probability and its standard error from the sums of weights, and of their squares, of those of n toys that are
    as extreme.

    Of `plain` toys, which weigh one, h hits give (h + 1) / (n + 1): the data are one more world, so p is never 0 and is
    at most alpha with probability alpha where the hypothesis is true, whatever n (Davison, Hinkley, Bootstrap Methods
    and their Application, 1997, eq. 4.11). What the true probability is at most says `upper_limit`.
    """
    if plain:
        p = (weight + 1) / (n + 1)
        # no p is known better than to one toy
        return p, math.sqrt(p * max(1 - p, 1 / (n + 1)) / (n + 1))
    p = weight / n
    return min(1.0, p), math.sqrt(max(squares / n - p * p, 0.0) / n)


def upper_limit(hits: int, n: int, confidence: float = 0.95) -> float:
    """Largest true probability for which h or fewer hits of n toys happen with 1 - confidence: 3 / n without hits
    (Clopper, Pearson, Biometrika 26 (1934) 404).
    """
    from scipy.special import betaincinv  # here, for a quicker start

    return 1.0 if hits >= n else float(betaincinv(hits + 1, n - hits, confidence))
