"""What every fit of a shape begins with: held parameters, ranges, and start values, checked."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.shapes.binned import Binned, Spectrum
from bumpfit.shapes.shape import Bounds, Shape, Values

Array = NDArray[np.float64]

START_BINS = (10, 100)
"""Fewest and most bins of the histogram that gives an unbinned fit its start (about one for ten events in between)."""


def enough_bins(
    shape: Shape, bins: int, held: Collection[str] = (), *, judged: bool = False, what: str = "the histogram"
) -> None:
    """Raise InputError when bins are fewer than free parameters, all but the `held` ones.

    `judged`: the fit is to say whether the shape describes the bins, so that one degree of freedom is needed. `what`
    has the bins, for the message.
    """
    number = sum(name not in held for name in shape.parameters)
    if bins < number + judged:
        raise InputError(
            f"{shape.name} has {number} free parameters but {what} only {bins} bin{'' if bins == 1 else 's'}; expected "
            f"{number + judged} or more{', so that a degree of freedom is left to judge it by' if judged else ''}: "
            "take fewer parameters or more bins"
        )


def enough_events(inside: Array, window: Array, number: int) -> Array:
    """Edges of the histogram for the start values; raises InputError when events are fewer than free parameters."""
    if inside.size < max(number, 1):
        raise InputError(f"{inside.size} events between {window[0]:g} and {window[1]:g} cannot fix {number} parameters")
    return np.linspace(window[0], window[1], int(np.clip(inside.size // 10, *START_BINS)) + 1)


def scaled(binned: Binned, values: Array, held: NDArray[np.bool_]) -> Array:
    """A start with the observed number of events, where the first parameter scales the shape: it is in the valley."""
    if not binned.shape.positive[0] or held[0]:
        return values
    total = float(binned.expected(values).sum())
    result = values.copy()
    if 0 < total < np.inf:
        result[0] *= binned.data.counts.sum() / total
    return result


def with_fixed(shape: Shape, values: Array, fixed: Mapping[str, float]) -> Array:
    """Values with the fixed ones in their place, shape (P,)."""
    return np.array([fixed.get(name, value) for name, value in zip(shape.parameters, values, strict=True)], dtype=float)


def held_parameters(shape: Shape, fixed: Mapping[str, float]) -> NDArray[np.bool_]:
    """Mask of the fixed parameters; raises InputError for a name that the shape does not have."""
    unknown = [name for name in fixed if name not in shape.parameters]
    if unknown:
        raise InputError(f"{shape.name} has no parameter {', '.join(unknown)}; it has {', '.join(shape.parameters)}")
    return np.array([name in fixed for name in shape.parameters])


def merged_limits(shape: Shape, edges: Array, limits: Mapping[str, Bounds]) -> tuple[Bounds, ...]:
    """The shape's bounds with the user's in their place; raises InputError for unknown names and empty ranges."""
    held_parameters(shape, dict.fromkeys(limits, 0.0))
    for name, (low, high) in limits.items():
        if low is not None and high is not None and not low < high:
            raise InputError(f"the limits of {name} leave nothing: {low:g} to {high:g}")
    return tuple(
        (_end(low), _end(high))
        for low, high in (
            limits.get(name, own) for name, own in zip(shape.parameters, shape.bounds_in(edges), strict=True)
        )
    )


def _end(bound: float | None) -> float | None:
    """An end of a range; infinity is none."""
    return None if bound is None or not np.isfinite(bound) else float(bound)


def given_start(shape: Shape, start: Values, held: NDArray[np.bool_]) -> Array:
    """A user's start values; raises InputError for values that are impossible."""
    values = shape.array(start)
    low = np.array(shape.positive) & ~held & ~(values > 0)
    if low.any() or not np.isfinite(values).all():
        raise InputError(f"{shape.name}: start values must be finite, and positive for {', '.join(names(shape, low))}")
    return values


def starts(shape: Shape, data: Spectrum, fixed: Mapping[str, float]) -> Array:
    """The shape's own start values; a blinded stretch is filled by interpolating the log density of its neighbours."""
    if data.seen.all():
        return shape.start(data.edges, data.counts, fixed)
    widths, centres = np.diff(data.edges), 0.5 * (data.edges[1:] + data.edges[:-1])
    log = np.log((data.counts + 0.5) / widths[data.seen])
    filled = np.exp(np.interp(centres, centres[data.seen], log)) * widths
    filled[data.seen] = data.counts
    return shape.start(data.edges, filled, fixed)


def names(shape: Shape, mask: NDArray[np.bool_]) -> tuple[str, ...]:
    """Names of the parameters that the mask marks."""
    return tuple(name for name, use in zip(shape.parameters, mask, strict=True) if use)
