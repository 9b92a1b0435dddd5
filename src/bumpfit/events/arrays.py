"""Awkward arrays: the optional package, asked for once, and the few operations on missing values used everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from bumpfit.errors import MissingExtraError

try:
    import awkward as ak
except ModuleNotFoundError as _error:
    raise MissingExtraError("awkward", "root", "reading events by the names of observables") from _error

__all__ = ["Jagged", "ak", "defined", "double", "fill_false", "lists"]

Jagged = Any  # an awkward array, or the NumPy array of a flat column


def double(array: Jagged) -> Jagged:
    """The values as 64-bit floats: stored 32-bit momenta are combined in double precision."""
    return ak.values_astype(array, np.float64)


def lists(array: Jagged) -> Jagged:
    """Variable-length lists all the way down: fixed-length axes would broadcast from the right, as in NumPy."""
    for axis in range(1, array.ndim):
        array = ak.from_regular(array, axis=axis)
    return array


def defined(array: Jagged) -> Jagged:
    """None where the value is not finite (tau2 / tau1 of a jet with tau1 = 0, the momentum of a pT = 0 tower)."""
    return ak.mask(array, ak.fill_none(np.isfinite(array), False, axis=-1))


def fill_false(array: Jagged) -> Jagged:
    """Booleans with None as False, and with missing lists as empty ones."""
    for axis in range(array.ndim - 1):
        array = ak.fill_none(array, [], axis=axis)
    return ak.fill_none(array, False, axis=-1)
