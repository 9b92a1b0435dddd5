"""Poisson maximum likelihood of a binned spectrum, by MIGRAD with analytic gradients in whitened parameters.

The parameters of a dijet function are correlated at the level of 0.9999 and differ by many orders of magnitude. So
positive ones are fitted through their logarithm, and all that have no finite bound are rotated and scaled to unit
Fisher information at the start values: MIGRAD then sees nearly the unit matrix. Bounded ones keep their own axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import iminuit
import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from bumpfit.errors import InputError
from bumpfit.histograms import Histogram
from bumpfit.results import Fit
from bumpfit.shapes.shape import Shape, Values

Array = NDArray[np.float64]

FLOOR = 1e-9
"""Events a bin below which ln(expected) goes on as a parabola, so that MIGRAD can come back from negative contents.
A fit that ends there is not valid."""

UNDETERMINED = "a parameter left the range of floating-point numbers"

HUGE = 1e300
"""Stands for a likelihood that is no number (overflow far from the minimum), so that MIGRAD turns back."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The bins of a histogram that a fit sees: edges in stretches (blinding cuts them), counts and their scale.

    `scale` is variance / count for weighted events (Bohm and Zech, NIM A 748 (2014) 1): n / scale is taken as a Poisson
    number with mean mu / scale. It is 1 for plain events.
    """

    edges: Array
    seen: NDArray[np.bool_]
    counts: Array
    scale: Array


def spectrum(histogram: Histogram) -> Spectrum:
    """What a fit needs of a histogram; raises InputError when there is nothing to fit or counts are negative."""
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


def twice_nll(shape: Shape, histogram: Histogram, parameters: Values) -> float:
    """-2 ln L of a histogram for given parameter values (Poisson, with ln n!)."""
    data = spectrum(histogram)
    return 2 * poisson(shape.integrate(data.edges, parameters)[data.seen], data)[0]


@dataclass(frozen=True, eq=False)
class Coordinates:
    """theta(z): whitened coordinates of the free parameters. z = 0 at the start, unit Fisher information there."""

    origin: Array
    matrix: Array
    logarithmic: NDArray[np.bool_]
    free: NDArray[np.intp]

    def values(self, z: Array) -> Array:
        """Parameter values, shape (P,)."""
        u = self.origin.copy()
        u[self.free] += self.matrix @ z
        with np.errstate(over="ignore"):
            return np.where(self.logarithmic, np.exp(np.where(self.logarithmic, u, 0.0)), u)

    def slope(self, values: Array) -> Array:
        """d theta / d z at the values, shape (P, Z)."""
        result = np.zeros((self.origin.size, self.free.size))
        result[self.free] = self.matrix
        return result * np.where(self.logarithmic, values, 1.0)[:, None]


def whiten(information: Array) -> Array:
    """Matrix T with T^T information T = 1, from the eigenvectors; directions without information get their scale from
    the diagonal, so that a flat direction stays a finite step. Shape (Z, Z)."""
    diagonal = np.sqrt(np.maximum(np.diag(information), np.finfo(float).tiny))
    correlation = information / np.outer(diagonal, diagonal)
    values, vectors = np.linalg.eigh(correlation)
    values = np.maximum(values, values.max(initial=0.0) * np.finfo(float).eps)
    return np.asarray(vectors / np.sqrt(values) / diagonal[:, None])


def coordinates(shape: Shape, data: Spectrum, start: Array, fixed: NDArray[np.bool_]) -> Coordinates:
    """Whitened coordinates around start values."""
    logarithmic = np.array(shape.positive) & ~fixed
    expected = np.maximum(shape.integrate(data.edges, start)[data.seen], FLOOR)
    jacobian = shape.gradient(data.edges, start)[data.seen] * np.where(logarithmic, start, 1.0)
    free = np.flatnonzero(~fixed)
    jacobian = jacobian[:, free]
    information = (jacobian / (expected * data.scale)[:, None]).T @ jacobian
    bounded = np.array([b != (None, None) for b in shape.bounds])[free] & ~logarithmic[free]
    matrix = np.diag(1 / np.sqrt(np.maximum(np.diag(information), np.finfo(float).tiny)))
    open_ = np.flatnonzero(~bounded)
    matrix[np.ix_(open_, open_)] = whiten(information[np.ix_(open_, open_)])
    return Coordinates(
        np.where(logarithmic, np.log(np.where(logarithmic, start, 1.0)), start), matrix, logarithmic, free
    )


def _names(shape: Shape, mask: NDArray[np.bool_]) -> list[str]:
    return [name for name, use in zip(shape.parameters, mask, strict=True) if use]


def fit(
    shape: Shape,
    histogram: Histogram,
    *,
    start: Values | None = None,
    fixed: dict[str, float] | None = None,
) -> Fit:
    """Fit a shape to a histogram by maximum Poisson likelihood; blinded bins are left out.

    `start` replaces the shape's own start values; `fixed` holds parameters at values. Weighted histograms use the
    scaled Poisson likelihood of Bohm and Zech. `twice_nll` is -2 ln L with ln n!, as in pyhf. Errors come from the
    Hessian. A fit that does not end in a valid minimum is returned with `valid` False and the reason in `status`.
    Raises InputError for histograms without events, fewer bins than free parameters, and unknown names.
    """
    data = spectrum(histogram)
    fixed = dict(fixed or {})
    unknown = [name for name in fixed if name not in shape.parameters]
    if unknown:
        raise InputError(f"{shape.name} has no parameter {', '.join(unknown)}; it has {', '.join(shape.parameters)}")
    held = np.array([name in fixed for name in shape.parameters])
    number = int((~held).sum())
    if number > data.counts.size:
        raise InputError(
            f"{shape.name} has {number} free parameters but the histogram only {data.counts.size} bins; "
            "take fewer parameters or more bins"
        )
    if start is None:
        values = start_values(shape, data)
    else:
        values = shape.array(start)
        low = np.array(shape.positive) & ~held & ~(values > 0)
        if low.any() or not np.isfinite(values).all():
            raise InputError(
                f"{shape.name}: start values must be finite, and positive for {', '.join(_names(shape, low))}"
            )
    values = np.array([fixed.get(name, value) for name, value in zip(shape.parameters, values, strict=True)])
    if not np.isfinite(values).all() or (values[np.array(shape.positive) & ~held] <= 0).any():
        return _impossible(shape, values, held)
    if shape.positive[0] and not held[0]:
        # The first parameter scales the shape: with the observed number of events the descent starts in the valley.
        values[0] *= data.counts.sum() / shape.integrate(data.edges, values)[data.seen].sum()
    return minimise(shape, data, values, held)


def _impossible(shape: Shape, values: Array, held: NDArray[np.bool_]) -> Fit:
    """The fit that has no start: the spectrum leaves the parameters undetermined over hundreds of powers of ten."""
    return Fit(
        parameters=shape.parameters,
        values=dict(zip(shape.parameters, map(float, values), strict=True)),
        errors=dict.fromkeys(shape.parameters, 0.0),
        covariance=None,
        twice_nll=float("nan"),
        valid=False,
        status=f"{UNDETERMINED}: take fewer parameters, a wider range or a reference mass",
        fixed=tuple(_names(shape, held)),
        minimiser="none",
    )


def start_values(shape: Shape, data: Spectrum) -> Array:
    """The shape's own start values; a blinded stretch is filled by interpolating the log density of its neighbours."""
    if data.seen.all():
        return shape.start(data.edges, data.counts)
    widths, centres = np.diff(data.edges), 0.5 * (data.edges[1:] + data.edges[:-1])
    log = np.log((data.counts + 0.5) / widths[data.seen])
    filled = np.exp(np.interp(centres, centres[data.seen], log)) * widths
    filled[data.seen] = data.counts
    return shape.start(data.edges, filled)


TOLERANCE = 1e-4
"""MIGRAD's tolerance: it stops at an expected distance of 0.002 TOLERANCE 0.5 = 1e-7 in -ln L from the minimum."""

NEAR = 1e-3
"""A bounded parameter this many standard deviations from its bound counts as being there."""


def minimise(shape: Shape, data: Spectrum, start: Array, held: NDArray[np.bool_]) -> Fit:
    """MIGRAD from whitened coordinates made at the start, then again from those made where it ended, then the Hessian.

    The last round is repeated at MIGRAD's highest strategy when it did not converge.
    """
    attempts: list[str] = []
    evaluations = 0
    values = start
    for strategy in (0, 1, 2):
        space = coordinates(shape, data, values, held)
        minuit = _minuit(shape, data, space)
        minuit.strategy = strategy
        if space.free.size:
            minuit.migrad()
        values = space.values(np.array(minuit.values)[: space.free.size])
        evaluations += minuit.nfcn + minuit.ngrad
        valid = minuit.valid or not space.free.size
        attempts.append(f"migrad strategy {strategy}: {'valid' if valid else 'not valid'}")
        if strategy > 0 and valid:
            break
    if space.free.size:
        minuit.hesse()
    return _record(shape, data, space, minuit, held, tuple(attempts), evaluations)


def _minuit(shape: Shape, data: Spectrum, space: Coordinates) -> iminuit.Minuit:
    """MIGRAD on -ln L(z), with limits for the bounded parameters."""

    def nll(z: Array) -> float:
        values = space.values(z)
        expected = shape.integrate(data.edges, values)[data.seen]
        return poisson(expected, data)[0] if np.isfinite(expected).all() else HUGE

    def gradient(z: Array) -> Array:
        values = space.values(z)
        expected = shape.integrate(data.edges, values)[data.seen]
        if not np.isfinite(expected).all():
            return np.zeros(z.size)
        jacobian = shape.gradient(data.edges, values)[data.seen] @ space.slope(values)
        return np.asarray(poisson(expected, data)[1] @ jacobian)

    minuit = iminuit.Minuit(nll, np.zeros(max(space.free.size, 1)), grad=gradient)
    minuit.errordef = iminuit.Minuit.LIKELIHOOD
    minuit.tol = TOLERANCE
    minuit.errors = 1.0
    for z, index in enumerate(space.free):
        if not space.logarithmic[index]:
            low, high = (
                None if bound is None else (bound - space.origin[index]) / space.matrix[z, z]
                for bound in shape.bounds[index]
            )
            minuit.limits[z] = (low, high)
    return minuit


def _record(
    shape: Shape,
    data: Spectrum,
    space: Coordinates,
    minuit: iminuit.Minuit,
    held: NDArray[np.bool_],
    attempts: tuple[str, ...],
    evaluations: int,
) -> Fit:
    """The result with the covariance carried back to the shape's own parameters."""
    z = np.array(minuit.values)[: space.free.size]
    values = space.values(z)
    expected = shape.integrate(data.edges, values)[data.seen]
    covariance: Array | None = None
    bound = np.zeros(values.size, dtype=bool)
    for k, index in enumerate(space.free):
        low, high = minuit.limits[k]
        bound[index] = min(z[k] - low, high - z[k]) < NEAR
    if not space.free.size:
        covariance = np.zeros((values.size, values.size))
    elif minuit.covariance is not None:
        slope = space.slope(values)
        slope[bound] = 0.0
        covariance = slope @ np.array(minuit.covariance) @ slope.T
    problems = []
    if space.free.size and not minuit.valid:
        problems.append(f"MIGRAD did not converge (edm {minuit.fmin.edm:.2g})")
    short = (expected < 0) | ((expected < FLOOR * data.scale) & (data.counts > 0))
    if short.any():
        problems.append(f"the fit expects no or negative events in {int(short.sum())} bins")
    if not np.isfinite(values).all():
        problems.append(
            "a parameter left the range of floating-point numbers: fewer parameters are enough for this range"
        )
    if covariance is None or not np.isfinite(covariance).all():
        covariance = None
        problems.append("the Hessian could not be inverted")
    errors = np.zeros(values.size) if covariance is None else np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return Fit(
        parameters=shape.parameters,
        values=dict(zip(shape.parameters, map(float, values), strict=True)),
        errors=dict(zip(shape.parameters, map(float, errors), strict=True)),
        covariance=covariance,
        twice_nll=2 * poisson(expected, data)[0],
        valid=not problems,
        status="converged" if not problems else "; ".join(problems),
        fixed=tuple(_names(shape, held)),
        at_bounds=tuple(_names(shape, bound)),
        minimiser="MIGRAD, whitened, analytic gradient",
        evaluations=evaluations,
        edm=float(minuit.fmin.edm) if minuit.fmin is not None else None,
        attempts=attempts,
    )
