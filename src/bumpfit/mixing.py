"""A hash of whole numbers, the same on every machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mixed(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash of 64 bits (splitmix64, Steele, Lea and Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = keys + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(z ^ (z >> np.uint64(31)))
