"""Uncertainty bands of a fitted shape: linear propagation, or sampling of the parameters.

Both use the Fisher information of the fitted bins at the fitted values, in whitened coordinates, so that parameters
correlated at the level of 0.999999 lose no precision. They are the error of the fitted function, without the Poisson
fluctuation of the counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from bumpfit.errors import BumpfitError, InputError
from bumpfit.histograms import HistogramLike, as_histogram, check_edges
from bumpfit.results import Fit, Record
from bumpfit.shapes.binned import Binned, spectrum
from bumpfit.shapes.coordinates import Coordinates, coordinates
from bumpfit.shapes.shape import FREE, Shape

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Band(Record):
    """Expected events a bin with their uncertainty, shape (B,): `low` to `high` is the interval of the level.

    Examples:
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0, 130.0], [52, 25, 13])
        >>> shape = bumpfit.shapes.exponential(2)
        >>> band = bumpfit.shapes.propagated_band(shape, bumpfit.shapes.fit(shape, histogram), histogram)
        >>> band.expected.round(1).tolist(), band.level
        ([51.7, 25.6, 12.7], 0.6827)
    """

    edges: Array
    expected: Array
    low: Array
    high: Array
    level: float
    method: str


def _space(shape: Shape, result: Fit, histogram: HistogramLike) -> Coordinates:
    """Whitened coordinates around the fitted values, without parameters that were fixed or ended on a bound."""
    if not result.valid:
        raise BumpfitError(f"no uncertainty band: the fit of {shape.name} is not valid ({result.status})")
    values = shape.array(result.values)
    held = np.array([name in (*result.fixed, *result.at_bounds) for name in shape.parameters])
    return coordinates(shape, Binned(shape, spectrum(histogram)), values, held, (FREE,) * values.size)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"a confidence level lies between 0 and 1, got {level:g}")


def propagated_band(
    shape: Shape, result: Fit, histogram: HistogramLike, *, edges: ArrayLike | None = None, level: float = 0.6827
) -> Band:
    """Band by linear propagation: expected +- z sigma with sigma^2 = J C J^T.

    `histogram` is the one that was fitted; `edges` are the bins of the band (those of the histogram by default).
    Raises BumpfitError for a fit that is not valid, InputError for a level outside (0, 1).

    Examples:
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0, 130.0], [52, 25, 13])
        >>> shape = bumpfit.shapes.exponential(2)
        >>> band = bumpfit.shapes.propagated_band(shape, bumpfit.shapes.fit(shape, histogram), histogram)
        >>> band.low.shape, bool((band.low < band.expected).all())
        ((3,), True)
    """
    _check_level(level)
    space = _space(shape, result, histogram)
    bins = as_histogram(histogram).edges if edges is None else check_edges(edges)
    values = shape.array(result.values)
    expected = shape.integrate(bins, values)
    jacobian = shape.gradient(bins, values) @ space.slope(values)
    half = float(ndtri(0.5 + 0.5 * level)) * np.linalg.norm(jacobian, axis=1)
    return Band(bins, expected, expected - half, expected + half, level, "propagation")


def sampled_band(
    shape: Shape,
    result: Fit,
    histogram: HistogramLike,
    rng: np.random.Generator,
    *,
    samples: int = 1000,
    edges: ArrayLike | None = None,
    level: float = 0.6827,
) -> Band:
    """Band by sampling: quantiles of the shape over parameters drawn from the normal distribution of the fit.

    Positive parameters are drawn in their logarithm. Arguments and errors as `propagated_band`.

    Examples:
        >>> import numpy as np
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0, 130.0], [52, 25, 13])
        >>> shape = bumpfit.shapes.exponential(2)
        >>> found = bumpfit.shapes.fit(shape, histogram)
        >>> bumpfit.shapes.sampled_band(shape, found, histogram, np.random.default_rng(0), samples=50).low.shape
        (3,)
    """
    _check_level(level)
    space = _space(shape, result, histogram)
    bins = as_histogram(histogram).edges if edges is None else check_edges(edges)
    draws = rng.standard_normal((samples, space.free.size))
    curves = np.array([shape.integrate(bins, space.values(z)) for z in draws])
    low, high = np.quantile(curves, [0.5 - 0.5 * level, 0.5 + 0.5 * level], axis=0)
    return Band(bins, shape.integrate(bins, shape.array(result.values)), low, high, level, "sampling")
