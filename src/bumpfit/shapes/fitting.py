"""Maximum-likelihood fits of shapes to histograms and to lists of masses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.histograms import HistogramLike, fill
from bumpfit.results import Fit
from bumpfit.shapes.binned import Binned, Spectrum, spectrum
from bumpfit.shapes.minimise import Ended, minimise
from bumpfit.shapes.shape import Bounds, Shape, Values
from bumpfit.shapes.unbinned import Unbinned, window_of

Array = NDArray[np.float64]

START_BINS = (10, 100)
"""Fewest and most bins of the histogram that gives an unbinned fit its start (about one for ten events in between)."""


def twice_nll(shape: Shape, histogram: HistogramLike, parameters: Values) -> float:
    """-2 ln L of a histogram for given parameter values (Poisson, with ln n!); inf where they are impossible."""
    binned = Binned(shape, spectrum(histogram))
    return binned.constant + 2 * binned.value(shape.array(parameters))


def fit(
    shape: Shape,
    histogram: HistogramLike,
    *,
    start: Values | None = None,
    fixed: Mapping[str, float] | None = None,
    limits: Mapping[str, Bounds] | None = None,
) -> Fit:
    """Fit a shape to a histogram by maximum Poisson likelihood; blinded bins are left out.

    `start` replaces the shape's own start values; `fixed` holds parameters at values; `limits` replaces the
    bounds that the shape has in these bins. A fit that ends on a bound says so in `at_bounds`; one that ends where bins
    without events expect none says so in `status`. Weighted histograms use the scaled Poisson likelihood of Bohm and
    Zech. `twice_nll` is -2 ln L with ln n!, as in pyhf. Errors come from the exact second derivatives. A fit that does
    not end in a valid minimum is returned with `valid` False and the reason in `status`.
    Raises InputError for histograms without events, fewer bins than free parameters, and unknown names.
    """
    data = spectrum(histogram)
    fixed = dict(fixed or {})
    held = held_parameters(shape, fixed)
    enough_bins(shape, data, held)
    values = starts(shape, data, fixed) if start is None else given_start(shape, start, held)
    values = with_fixed(shape, values, fixed)
    binned = Binned(shape, data)
    if start is not None:
        values = scaled(binned, values, held)
    ends = merged_limits(shape, data.edges, limits or {})
    return record(shape, minimise(shape, binned, values, held, ends), held, binned.constant)


def fit_unbinned(
    shape: Shape,
    masses: ArrayLike,
    low: float,
    high: float,
    *,
    start: Values | None = None,
    fixed: Mapping[str, float] | None = None,
    limits: Mapping[str, Bounds] | None = None,
) -> Fit:
    """Fit a shape to the masses between `low` and `high` (others are left out) by extended maximum likelihood.

    `twice_nll` is 2 [N - sum ln f(m_i)] with f in events per unit of mass: it compares fits of the same masses only.
    Other arguments as `fit`. Raises InputError for masses that are not finite, none in the window, fewer events than
    free parameters, and shapes without a smooth density.
    """
    inside, window = window_of(masses, low, high)
    fixed = dict(fixed or {})
    held = held_parameters(shape, fixed)
    edges = enough_events(inside, window, int((~held).sum()))
    if start is None:
        point = starts(shape, spectrum(fill(inside, edges)), fixed)
    else:
        point = given_start(shape, start, held)
    unbinned = Unbinned(shape, inside, window)
    ends = merged_limits(shape, edges, limits or {})
    ended = minimise(shape, unbinned, with_fixed(shape, point, fixed), held, ends)
    return record(shape, ended, held, unbinned.constant)


def record(shape: Shape, ended: Ended, held: NDArray[np.bool_], constant: float) -> Fit:
    """The result of a fit in the shape's own parameters."""
    errors = np.zeros(ended.values.size)
    if ended.covariance is not None:
        errors = np.sqrt(np.maximum(np.diag(ended.covariance), 0.0))
    status = "; ".join(ended.problems) or "converged"
    if ended.walls and not ended.problems:
        status += f"; where there are no events {ended.walls} expectations are none, and errors hold them there"
    return Fit(
        parameters=shape.parameters,
        values=_named(shape, ended.values),
        errors=_named(shape, errors),
        covariance=ended.covariance,
        twice_nll=constant + 2 * ended.value,
        valid=not ended.problems,
        status=status,
        fixed=names(shape, held),
        at_bounds=names(shape, ended.bound),
        minimiser="MIGRAD, whitened, analytic gradient; exact Newton steps" if ended.attempts else "none",
        iterations=ended.steps,
        evaluations=ended.evaluations,
        edm=ended.edm,
        attempts=ended.attempts,
    )


def enough_bins(shape: Shape, data: Spectrum, held: NDArray[np.bool_]) -> None:
    """Raise InputError when bins are fewer than free parameters."""
    number = int((~held).sum())
    if number > data.counts.size:
        raise InputError(
            f"{shape.name} has {number} free parameters but the histogram only {data.counts.size} bins; "
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


def _named(shape: Shape, values: Array) -> dict[str, float]:
    return dict(zip(shape.parameters, map(float, values), strict=True))
