"""Scrambled counters: the output of splitmix64 (Steele, Lea and Flood, OOPSLA 2014), the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import njit

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Step of the counter."""


@njit(inline=True, plain=True)
def mix(x):  # type: ignore[no-untyped-def]
    """A bijection of 64 bits that scrambles a counter, one number when compiled, an array of them as it stands."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def mixed(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash of 64 bits of whole numbers."""
    with np.errstate(over="ignore"):
        return np.asarray(mix(keys + GOLDEN))
