"""Assignments between rows of numbers, in loops when compiled.

Numba's own (`a[:] = b`, `a[places] = b`, `np.where`) bring the text of an error message about shapes into the compiled
code, which takes ten seconds to compile.
"""

from __future__ import annotations

import numpy as np

from bumpfit.compiled import njit
from bumpfit.types import Flags, Floats, Integers


@njit(internal=True)
def copy_row(source, target):  # type: ignore[no-untyped-def]
    """Write a row to the beginning of another."""
    for i in range(source.size):
        target[i] = source[i]


def _copy_row(source: Floats, target: Floats) -> None:
    target[: source.size] = source


copy_row.from_python(_copy_row)


@njit(internal=True)
def add_row(target, factor, source):  # type: ignore[no-untyped-def]
    """Add a multiple of a row to another."""
    for i in range(source.size):
        target[i] += factor * source[i]


def _add_row(target: Floats, factor: float, source: Floats) -> None:
    target += factor * source


add_row.from_python(_add_row)


@njit(internal=True)
def put(target, places, values):  # type: ignore[no-untyped-def]
    """Write values to places of a row."""
    for i in range(places.size):
        target[places[i]] = values[i]


def _put(target: Floats, places: Integers, values: Floats) -> None:
    target[places] = values


put.from_python(_put)


@njit(internal=True)
def within(x, free, low, high):  # type: ignore[no-untyped-def]
    """A copy of x with its free elements moved into their ranges."""
    result = x.copy()
    for i in range(x.size):
        if free[i]:
            result[i] = min(max(x[i], low[i]), high[i])
    return result


def _within(x: Floats, free: Flags, low: Floats, high: Floats) -> Floats:
    return np.where(free, np.minimum(np.maximum(x, low), high), x)


within.from_python(_within)
