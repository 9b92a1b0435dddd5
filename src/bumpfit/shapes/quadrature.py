"""Gauss-Legendre rules over bins: integrals of a smooth density to a stated precision with one vectorised evaluation.

Each bin is cut into panels on which ln m and ln(s - m) change by at most `LOG_STEP`, and each panel gets `NODES` nodes.
The error of an n-point rule for exp(a t) on [-1, 1] is below 2^(2n+1) n!^4 / ((2n+1) (2n)!^3) a^(2n) (Abramowitz and
Stegun 25.4.30): with 12 nodes it is 2e-14 of the central value for a density that changes by exp(10) over a panel,
which is the steepness of m^-100.
"""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NODES = 12
"""Nodes a panel: the relative precision is 1e-13 for log slopes up to 10 a panel."""

LOG_STEP = 0.1
"""Largest change of ln m, and of ln(upper - m), over a panel."""

END_PANELS = 1e-6
"""Smallest upper - m that the panels follow, relative to that of the bin's low edge (for a bin that ends at upper)."""


class Rule:
    """Nodes (M,) and weights (M,) of a rule over B bins; `sum` adds weighted values into bins."""

    def __init__(self, edges: Array, upper: float | None) -> None:
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        limits = [_panels(low, high, upper) for low, high in itertools.pairwise(edges)]
        low = np.concatenate([line[:-1] for line in limits])
        high = np.concatenate([line[1:] for line in limits])
        half = 0.5 * (high - low)
        self.nodes: Array = (0.5 * (high + low)[:, None] + half[:, None] * nodes).ravel()
        self.weights: Array = (half[:, None] * weights).ravel()
        counts = np.array([line.size - 1 for line in limits]) * NODES
        self.starts: NDArray[np.intp] = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)

    def spread(self, values: Array) -> Array:
        """The value of each bin at all its nodes: (B,) -> (M,)."""
        return np.repeat(values, np.diff(np.append(self.starts, self.nodes.size)))

    def sum(self, values: Array) -> Array:
        """Integrals over the bins of a function given at the nodes: (..., M) -> (..., B)."""
        return np.asarray(np.add.reduceat(values * self.weights, self.starts, axis=-1))


def _panels(low: float, high: float, upper: float | None) -> Array:
    """Panel limits of one bin."""
    number = 1
    if low > 0:
        number = int(np.ceil(np.log(high / low) / LOG_STEP - 1e-9))
    lines = [np.geomspace(low, high, number + 1)[1:-1] if number > 1 else np.empty(0)]
    if upper is not None:
        near, far = max(upper - high, END_PANELS * (upper - low)), upper - low
        number = int(np.ceil(np.log(far / near) / LOG_STEP - 1e-9))
        if number > 1:
            lines.append(upper - np.geomspace(far, near, number + 1)[1:-1])
            if near > upper - high:
                lines.append(np.array([upper - near]))
    return np.concatenate([[low], np.unique(np.concatenate(lines)), [high]])


def rule(edges: Array, upper: float | None = None) -> Rule:
    """Rule for the bins between `edges`, shape (B + 1,); `upper` is a mass where the density ends (sqrt(s))."""
    return _cached(edges.tobytes(), upper)


@lru_cache(maxsize=128)
def _cached(edges: bytes, upper: float | None) -> Rule:
    return Rule(np.frombuffer(edges, dtype=np.float64), upper)
