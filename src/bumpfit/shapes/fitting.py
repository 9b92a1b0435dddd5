"""Maximum-likelihood fits of shapes to histograms and to lists of masses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.histograms import HistogramLike
from bumpfit.results import Fit
from bumpfit.shapes.binned import Binned, spectrum
from bumpfit.shapes.likelihood import SpectrumLikelihood, likelihood, unbinned_likelihood
from bumpfit.shapes.prepare import names
from bumpfit.shapes.shape import Bounds, Shape, Values

Array = NDArray[np.float64]


def twice_nll(shape: Shape, histogram: HistogramLike, parameters: Values) -> float:
    """-2 ln L of a histogram for given parameter values (Poisson, with ln n!); inf where they are impossible.

    Examples:
        >>> histogram = bumpfit.histograms.from_counts([100.0, 200.0], [1])
        >>> round(bumpfit.shapes.twice_nll(bumpfit.shapes.bernstein(1, 100.0, 200.0), histogram, [0.01]), 6)  # mu = 1
        2.0
    """
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

    Examples:
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0, 130.0], [52, 25, 13])
        >>> found = bumpfit.shapes.fit(bumpfit.shapes.exponential(2), histogram)
        >>> found.valid
        True
        >>> bumpfit.shapes.exponential(2).integrate(histogram.edges, found.values).round(1).tolist()
        [51.7, 25.6, 12.7]
    """
    return record(likelihood(shape, histogram, start=start, fixed=fixed, limits=limits))


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

    Examples:
        >>> shape, masses = bumpfit.shapes.bernstein(1, 0.0, 10.0), [2.0, 3.0, 7.0, 9.0]
        >>> found = bumpfit.shapes.fit_unbinned(shape, masses, 0.0, 10.0)
        >>> round(found.values["c0"], 3)  # four events in ten units
        0.4
    """
    return record(unbinned_likelihood(shape, masses, low, high, start=start, fixed=fixed, limits=limits))


def record(spectrum: SpectrumLikelihood) -> Fit:
    """The fit from the start of a likelihood, with the covariance of whitened coordinates."""
    shape, ended = spectrum.shape, spectrum.descend(spectrum.start)
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
        twice_nll=spectrum.constant + 2 * ended.value,
        valid=not ended.problems,
        status=status,
        fixed=names(shape, ~spectrum.free),
        at_bounds=names(shape, ended.bound),
        minimiser="MIGRAD, whitened, analytic gradient; exact Newton steps" if ended.attempts else "none",
        iterations=ended.steps,
        evaluations=ended.evaluations,
        edm=ended.edm,
        attempts=ended.attempts,
    )


def _named(shape: Shape, values: Array) -> dict[str, float]:
    return dict(zip(shape.parameters, map(float, values), strict=True))
