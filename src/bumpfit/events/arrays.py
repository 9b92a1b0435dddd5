"""Awkward arrays: the optional package, asked for once, and the few operations on missing values used everywhere.

A missing value is None outside and, in sums and products of one value an event, NaN inside: plain NumPy arrays are ten
times faster than arrays with None, and what is not finite is None in the end anyway.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError, MissingExtraError

try:
    import awkward as ak
except ModuleNotFoundError as _error:
    raise MissingExtraError("awkward", "root", "reading events by the names of observables") from _error

__all__ = ["Jagged", "ak", "defined", "double", "fill_false", "filled", "lists", "nth", "numbers", "unequal"]

_NO_NUMBERS = ("string", "bytes", "complex", "datetime", "timedelta", "union")
Jagged = Any  # an awkward array, or a NumPy array of one value an event


def double(array: Jagged) -> Jagged:
    """64-bit floats, for arithmetic: a NumPy array with NaN for None where there is one value an event."""
    if array.ndim == 1:
        return np.asarray(filled(array), dtype=np.float64)
    return ak.values_astype(array, np.float64)


def filled(array: Jagged) -> NDArray[Any]:
    """One value an event as a NumPy array; where some are None, floats with NaN."""
    values: Any = array if isinstance(array, np.ndarray) else ak.to_numpy(array)
    if not isinstance(values, np.ma.MaskedArray):
        return np.asarray(values)
    floats: Any = values if values.dtype.kind == "f" else values.astype(np.float64)
    return np.asarray(floats.filled(np.nan))


def numbers(array: Jagged) -> bool:
    """Whether an array holds real numbers (or booleans) all the way down."""
    if isinstance(array, np.ndarray):
        return array.dtype.kind in "biuf"
    kind = str(ak.type(array))
    return not ak.fields(array) and not any(word in kind for word in _NO_NUMBERS)


def lists(array: Jagged) -> Jagged:
    """Variable-length lists all the way down: fixed-length axes would broadcast from the right, as in NumPy."""
    simple = array.layout.is_list and not array.layout.is_regular and array.ndim == 2
    if not simple:
        for axis in range(1, array.ndim):
            array = ak.from_regular(array, axis=axis)
    return array


def nth(array: Jagged, index: int) -> Jagged:
    """The entry at a position of every list, None where the list is shorter."""
    layout = array.layout
    if not (layout.is_list and layout.content.is_numpy) or layout.content.purelist_depth != 1:
        return ak.firsts(array[:, index : index + 1], axis=1)
    starts, stops = np.asarray(layout.starts), np.asarray(layout.stops)
    there = stops - starts > index
    content = np.asarray(layout.content.data)
    if not len(content):
        content = np.zeros(1, content.dtype)
    return _masked(content[np.where(there, starts + index, 0)], there)


def defined(array: Jagged) -> Jagged:
    """None where the value is not finite (tau2 / tau1 of a jet with tau1 = 0, the momentum of a pT = 0 tower)."""
    if getattr(array, "ndim", 0) == 0:
        raise InputError(f"an observable gives one {type(array).__name__} for all events; expected one value an event")
    if array.ndim == 1:
        values = filled(array)
        return _masked(values, np.isfinite(values))
    if np.isfinite(np.asarray(ak.to_numpy(ak.flatten(array, axis=None), allow_missing=True))).all():
        return array
    return ak.mask(array, ak.fill_none(np.isfinite(array), False, axis=-1))


def fill_false(array: Jagged) -> Jagged:
    """Booleans with None as False, and with missing lists as empty ones."""
    for axis in range(array.ndim - 1):
        array = ak.fill_none(array, [], axis=axis)
    return ak.fill_none(array, False, axis=-1)


def unequal(a: Jagged, b: Jagged) -> int | None:
    """The first event in which the lists that two arrays have in common differ in length; None without one."""
    for axis in range(1, min(a.ndim, b.ndim)):
        differ = ak.fill_none(ak.num(a, axis=axis), -1, axis=-1) != ak.fill_none(ak.num(b, axis=axis), -1, axis=-1)
        while differ.ndim > 1:
            differ = ak.any(differ, axis=-1)
        found = np.asarray(ak.to_numpy(fill_false(differ)))
        if found.any():
            return int(np.argmax(found))
    return None


def _masked(values: NDArray[Any], there: NDArray[np.bool_]) -> Jagged:
    if there.all():
        return ak.Array(values)
    mask = ak.index.Index8(there.view(np.int8))
    return ak.Array(ak.contents.ByteMaskedArray(mask, ak.contents.NumpyArray(values), valid_when=True))
