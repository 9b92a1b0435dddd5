"""Poisson maximum likelihood of a binned spectrum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from bumpfit.errors import InputError
from bumpfit.histograms import HistogramLike, as_histogram
from bumpfit.results import Fit
from bumpfit.shapes.minimise import minimise, names
from bumpfit.shapes.shape import Bounds, Shape, Values

Array = NDArray[np.float64]

FLOOR = 1e-9
"""Events a bin below which ln(expected) goes on as a parabola, so that MIGRAD can come back from negative contents.
A fit that ends there is not valid."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The bins of a histogram that a fit sees (`seen`, all but the blinded ones), their counts and their scale.

    `scale` is variance / count for weighted events (Bohm and Zech, NIM A 748 (2014) 1): n / scale is taken as a Poisson
    number with mean mu / scale. It is 1 for plain events.
    """

    edges: Array
    seen: NDArray[np.bool_]
    counts: Array
    scale: Array


def spectrum(histogram: HistogramLike) -> Spectrum:
    """What a fit needs of a histogram; raises InputError when there is nothing to fit or counts are negative."""
    histogram = as_histogram(histogram)
    counts, variances = histogram.counts, histogram.variances
    seen = ~histogram.blinded
    if not seen.any():
        raise InputError("cannot fit: every bin of the histogram is blinded")
    counts, variances = counts[seen], variances[seen]
    if (counts < 0).any():
        raise InputError(f"cannot fit: {int((counts < 0).sum())} bins have negative contents; merge bins")
    if not counts.sum() > 0:
        raise InputError("cannot fit: the histogram holds no events")
    scale = np.ones_like(counts)
    if histogram.weighted:
        mean = variances.sum() / counts.sum()
        scale = np.divide(variances, counts, out=np.full_like(counts, mean), where=(counts > 0) & (variances > 0))
    return Spectrum(histogram.edges, seen, counts, scale)


def poisson(expected: Array, data: Spectrum) -> tuple[float, Array]:
    """-ln L of the counts for the expected events of the seen bins, and its derivative for each, shape (B,).

    Full Poisson probabilities (with ln n!), as in pyhf. Below `FLOOR` the logarithm is continued to second order.
    """
    n, mean = data.counts / data.scale, expected / data.scale
    safe = np.maximum(mean, FLOOR)
    short = (mean - safe) / FLOOR
    log = np.log(safe) + short - 0.5 * short**2
    value = float(np.sum(mean - n * log + gammaln(n + 1)))
    return value, np.asarray((1 - n * (1 - short) / safe) / data.scale)


@dataclass(frozen=True, eq=False)
class Binned:
    """Poisson likelihood of a shape in the bins of a spectrum."""

    shape: Shape
    data: Spectrum

    def expected(self, values: Array) -> Array:
        """Events in the seen bins, shape (B,)."""
        return self.shape.integrate(self.data.edges, values)[self.data.seen]

    def value(self, values: Array) -> float:
        """-ln L."""
        return poisson(self.expected(values), self.data)[0]

    def slope(self, values: Array) -> Array:
        """Derivatives of -ln L, shape (P,)."""
        jacobian = self.shape.gradient(self.data.edges, values)[self.data.seen]
        return np.asarray(poisson(self.expected(values), self.data)[1] @ jacobian)

    def information(self, values: Array, units: Array) -> Array:
        """Fisher information for the parameters in the given units, shape (P, P)."""
        jacobian = self.shape.gradient(self.data.edges, values)[self.data.seen] * units
        expected = np.maximum(self.expected(values), FLOOR)
        return np.asarray((jacobian / (expected * self.data.scale)[:, None]).T @ jacobian)

    def problems(self, values: Array) -> list[str]:
        """Bins with negative expectation, and bins with data and none."""
        expected = self.expected(values)
        short = (expected < 0) | ((expected < FLOOR * self.data.scale) & (self.data.counts > 0))
        return [f"the fit expects no or negative events in {int(short.sum())} bins"] if short.any() else []


def twice_nll(shape: Shape, histogram: HistogramLike, parameters: Values) -> float:
    """-2 ln L of a histogram for given parameter values (Poisson, with ln n!)."""
    return 2 * Binned(shape, spectrum(histogram)).value(shape.array(parameters))


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
    bounds that the shape has in these bins. A fit that ends on a bound says so in `at_bounds`. Weighted histograms use
    the scaled Poisson likelihood of Bohm and Zech. `twice_nll` is -2 ln L with ln n!, as in pyhf. Errors come from the
    Hessian. A fit that does not end in a valid minimum is returned with `valid` False and the reason in `status`.
    Raises InputError for histograms without events, fewer bins than free parameters, and unknown names.
    """
    data = spectrum(histogram)
    fixed = dict(fixed or {})
    held = held_parameters(shape, fixed)
    number = int((~held).sum())
    if number > data.counts.size:
        raise InputError(
            f"{shape.name} has {number} free parameters but the histogram only {data.counts.size} bins; "
            "take fewer parameters or more bins"
        )
    values = starts(shape, data, fixed) if start is None else given_start(shape, start, held)
    values = np.array([fixed.get(name, value) for name, value in zip(shape.parameters, values, strict=True)])
    likelihood = Binned(shape, data)
    if start is not None and shape.positive[0] and not held[0]:
        # The first parameter scales such a shape: with the observed number of events the descent starts in the valley.
        total = float(likelihood.expected(values).sum())
        if 0 < total < np.inf:
            values[0] *= data.counts.sum() / total
    return minimise(shape, likelihood, values, held, merged_limits(shape, data.edges, limits or {}))


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
    return tuple(limits.get(name, own) for name, own in zip(shape.parameters, shape.bounds_in(edges), strict=True))


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
