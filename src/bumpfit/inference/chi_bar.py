"""Chi-bar-squared: the law of a likelihood ratio of several strengths that cannot be negative.

For many events -2 ln [L(all 0) / L(best >= 0)] is the squared length of a normal vector's projection onto the positive
orthant: a mixture of chi2 with 0, 1, ..., k degrees of freedom, one for each strength that the projection leaves above
zero (Kudo, Biometrika 50 (1963) 403; Self, Liang, J. Am. Stat. Assoc. 82 (1987) 605, theorem 3 and case 7).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from functools import cached_property

import numpy as np

from bumpfit.errors import InputError
from bumpfit.law import Tail
from bumpfit.types import Floats

DRAWS = 100_000
"""Normal vectors that are projected for the weights of three strengths and more."""
MOST = 10
"""Strengths whose weights are simulated; there are 2^k faces that a vector can be projected onto."""


@dataclasses.dataclass(frozen=True, eq=False)
class ChiBar:
    """The law for strengths whose estimates have the `information` (inverse covariance), shape (k, k)."""

    information: Floats

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """Share of chi2 with 0, 1, ..., k degrees of freedom: a closed form up to k = 2, simulated beyond."""
        k = len(self.information)
        if k == 1:
            return 0.5, 0.5
        scale = np.sqrt(np.diag(self.information))
        matrix = self.information / scale[:, None] / scale
        if k == 2:
            # estimates are correlated as minus the information is
            none = math.acos(min(max(-float(matrix[0, 1]), -1.0), 1.0)) / (2 * math.pi)
            return none, 0.5, 0.5 - none
        return _projected(matrix)

    @property
    def weight_errors(self) -> tuple[float, ...] | None:
        """Statistical errors of simulated weights; None for those of a closed form."""
        if len(self.information) <= 2:
            return None
        return tuple(math.sqrt(w * (1 - w) / DRAWS) for w in self.weights)

    def tail(self, value: float) -> Tail:
        """P(ratio >= value), 1 - weights[0] at zero as the half of chi2(1) of one strength has; with the statistical
        error that simulated weights leave.
        """
        terms = [
            math.log(w) + log_tail(freedom, value) for freedom, w in enumerate(self.weights) if freedom > 0 and w > 0
        ]
        log_p = float(np.logaddexp.reduce(terms))
        if self.weight_errors is None:
            return Tail(log_p)
        chances = np.array([math.exp(log_tail(j, value)) if j else 0.0 for j in range(len(self.weights))])
        spread = float(np.dot(self.weights, chances**2) - math.exp(log_p) ** 2)
        return Tail(log_p, math.sqrt(max(spread, 0.0) / DRAWS))


def log_tail(freedom: int, value: float) -> float:
    """ln P(chi2 >= value) of at least one degree of freedom, by recurrence in steps of two."""
    from scipy.special import gammaln, log_ndtr  # here, for a quicker start

    log_p = math.log(2) + float(log_ndtr(-math.sqrt(value))) if freedom % 2 else -value / 2
    for j in range(2 - freedom % 2, freedom, 2):
        if value > 0:
            log_p = float(np.logaddexp(log_p, j / 2 * math.log(value / 2) - value / 2 - gammaln(j / 2 + 1)))
    return log_p


def _projected(matrix: Floats) -> tuple[float, ...]:
    """Shares of normal vectors whose projection leaves 0, 1, ..., k components above zero.

    With u the vector times the information I, the face J of the orthant is the one whose m = I_JJ^-1 u_J is above zero
    while u - I m is not on the others (Karush, Kuhn, Tucker); every vector has one.
    """
    k = len(matrix)
    if k > MOST:
        raise InputError(f"the law of {k} strengths is not known by formula, only up to {MOST}; throw toys")
    left = np.random.default_rng(0).standard_normal((DRAWS, k)) @ np.linalg.cholesky(matrix).T
    counts = np.zeros(k + 1)
    for size in range(k + 1):
        for face in itertools.combinations(range(k), size):
            inside, outside = list(face), [i for i in range(k) if i not in face]
            best = np.linalg.solve(matrix[np.ix_(inside, inside)], left[:, inside].T).T
            pull = left[:, outside] - best @ matrix[np.ix_(inside, outside)]
            here = (best > 0).all(axis=1) & (pull <= 0).all(axis=1)
            counts[size] += np.count_nonzero(here)
            left = left[~here]
    return tuple(float(share) for share in counts / counts.sum())
