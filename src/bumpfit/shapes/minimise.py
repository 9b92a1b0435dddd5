"""MIGRAD with analytic gradients in whitened parameters, for every likelihood of a shape.

The parameters of a dijet function are correlated at the level of 0.9999 and differ by many orders of magnitude. So
positive ones are fitted through their logarithm, and all that have no finite bound are rotated and scaled to unit
Fisher information at the start values: MIGRAD then sees nearly the unit matrix. Bounded ones keep their own axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import iminuit
import numpy as np
from numpy.typing import NDArray

from bumpfit.poisson import whiten
from bumpfit.results import Fit
from bumpfit.shapes.shape import FREE, Bounds, Shape

Array = NDArray[np.float64]

TOLERANCE = 1e-4
"""MIGRAD's tolerance: it stops at an expected distance of 0.002 TOLERANCE 0.5 = 1e-7 in -ln L from the minimum."""

NEAR = 1e-3
"""A bounded parameter this many standard deviations from its bound counts as being there."""

LARGEST = 1e250
"""Positive parameters start between 1 / LARGEST and LARGEST: beyond, derivatives leave the floating-point numbers."""

HUGE = 1e300
"""Stands for a likelihood that is no number (overflow far from the minimum), so that MIGRAD turns back."""

UNDETERMINED = (
    "the spectrum does not determine the parameters, one left the range of floating-point numbers: "
    "take fewer parameters, a wider range or a reference mass"
)


class Likelihood(Protocol):
    """What the minimiser asks of a likelihood; `values` are the parameters of the shape, shape (P,)."""

    def value(self, values: Array) -> float:
        """-ln L; any number that is not finite means that the values are impossible."""

    def slope(self, values: Array) -> Array:
        """Derivatives of `value`, shape (P,)."""

    def information(self, values: Array, units: Array) -> Array:
        """Fisher information or an estimate of it for the parameters in the given units, shape (P, P)."""

    def problems(self, values: Array) -> list[str]:
        """Why a minimum at the values is no good; empty when it is."""


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


def coordinates(
    shape: Shape, likelihood: Likelihood, start: Array, held: NDArray[np.bool_], limits: Sequence[Bounds]
) -> Coordinates:
    """Whitened coordinates around start values; parameters with limits keep their own axis."""
    logarithmic = np.array(shape.positive) & ~held
    stretch = np.where(logarithmic, start, 1.0)
    free = np.flatnonzero(~held)
    information = likelihood.information(start, stretch)[np.ix_(free, free)]
    alone = np.array([limit != FREE for limit in limits])[free]
    matrix = np.diag(1 / np.sqrt(np.maximum(np.diag(information), np.finfo(float).tiny)))
    joint = np.flatnonzero(~alone)
    matrix[np.ix_(joint, joint)] = whiten(information[np.ix_(joint, joint)])
    return Coordinates(np.where(logarithmic, np.log(stretch), start), matrix, logarithmic, free)


def scaled_limits(shape: Shape, limits: Sequence[Bounds]) -> tuple[Bounds, ...]:
    """Limits as the minimiser's axes see them: logarithms for positive parameters, whose bound at zero is none then."""

    def logarithm(bound: float | None) -> float | None:
        return None if bound is None or bound <= 0 else float(np.log(bound))

    return tuple(
        (logarithm(low), logarithm(high)) if positive else (low, high)
        for (low, high), positive in zip(limits, shape.positive, strict=True)
    )


def minimise(
    shape: Shape, likelihood: Likelihood, start: Array, held: NDArray[np.bool_], limits: Sequence[Bounds]
) -> Fit:
    """MIGRAD from whitened coordinates made at the start, then again from those made where it ended, then the Hessian.

    The last round is repeated at MIGRAD's highest strategy when it did not converge. `held` marks fixed parameters;
    start values on or outside their limits are moved inside by a hundredth of the range (or of their size).
    """
    positive = np.array(shape.positive) & ~held
    if not np.isfinite(start).all() or not ((start > 1 / LARGEST) & (start < LARGEST))[positive].all():
        return _impossible(shape, start, held)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # Overflow far from the minimum is met on the way and judged at the end: every result is checked to be finite.
        return _descend(shape, likelihood, inside(start, limits, held), held, scaled_limits(shape, limits))


def _descend(
    shape: Shape, likelihood: Likelihood, start: Array, held: NDArray[np.bool_], limits: Sequence[Bounds]
) -> Fit:
    attempts: list[str] = []
    evaluations = 0
    values = start
    for strategy in (0, 1, 2):
        space = coordinates(shape, likelihood, values, held, limits)
        if not np.isfinite(space.matrix).all():
            return _impossible(shape, values, held)
        minuit = _minuit(likelihood, space, limits)
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
    return _record(shape, likelihood, space, minuit, held, tuple(attempts), evaluations)


def inside(start: Array, limits: Sequence[Bounds], held: NDArray[np.bool_]) -> Array:
    """Start values moved off and inside their limits, where MIGRAD's transformation has a slope."""
    result = start.copy()
    for k, (low, high) in enumerate(limits):
        if held[k] or (low is None and high is None):
            continue
        size = max(abs(start[k]), 1.0) if low is None or high is None else high - low
        if low is not None:
            result[k] = max(result[k], low + 0.01 * size if result[k] <= low else low)
        if high is not None:
            result[k] = min(result[k], high - 0.01 * size if result[k] >= high else high)
    return result


def _minuit(likelihood: Likelihood, space: Coordinates, limits: Sequence[Bounds]) -> iminuit.Minuit:
    """MIGRAD on -ln L(z), with limits for the bounded parameters."""

    def nll(z: Array) -> float:
        value = likelihood.value(space.values(z))
        return value if np.isfinite(value) else HUGE

    def gradient(z: Array) -> Array:
        values = space.values(z)
        result = likelihood.slope(values) @ space.slope(values)
        return result if np.isfinite(result).all() else np.zeros(z.size)

    minuit = iminuit.Minuit(nll, np.zeros(max(space.free.size, 1)), grad=gradient)
    minuit.errordef = iminuit.Minuit.LIKELIHOOD
    minuit.tol = TOLERANCE
    minuit.errors = 1.0
    for z, index in enumerate(space.free):
        if limits[index] != FREE:
            minuit.limits[z] = tuple(
                None if bound is None else (bound - space.origin[index]) / space.matrix[z, z] for bound in limits[index]
            )
    return minuit


def _record(
    shape: Shape,
    likelihood: Likelihood,
    space: Coordinates,
    minuit: iminuit.Minuit,
    held: NDArray[np.bool_],
    attempts: tuple[str, ...],
    evaluations: int,
) -> Fit:
    """The result with the covariance carried back to the shape's own parameters."""
    z = np.array(minuit.values)[: space.free.size]
    values = space.values(z)
    bound = np.zeros(values.size, dtype=bool)
    for k, index in enumerate(space.free):
        low, high = minuit.limits[k]
        bound[index] = min(z[k] - low, high - z[k]) < NEAR
    covariance: Array | None = None
    if not space.free.size:
        covariance = np.zeros((values.size, values.size))
    elif minuit.covariance is not None:
        slope = space.slope(values)
        slope[bound] = 0.0
        covariance = slope @ np.array(minuit.covariance) @ slope.T
    problems = []
    if space.free.size and not minuit.valid:
        problems.append(f"MIGRAD did not converge (edm {minuit.fmin.edm:.2g})")
    problems += likelihood.problems(values)
    if covariance is None:
        problems.append("the Hessian could not be inverted")
    elif not (np.isfinite(values).all() and np.isfinite(covariance).all()):
        covariance = None
        problems.append(UNDETERMINED)
    errors = np.zeros(values.size) if covariance is None else np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return Fit(
        parameters=shape.parameters,
        values=_named(shape, values),
        errors=_named(shape, errors),
        covariance=covariance,
        twice_nll=2 * likelihood.value(values),
        valid=not problems,
        status="converged" if not problems else "; ".join(problems),
        fixed=names(shape, held),
        at_bounds=names(shape, bound),
        minimiser="MIGRAD, whitened, analytic gradient",
        evaluations=evaluations,
        edm=float(minuit.fmin.edm) if minuit.fmin is not None else None,
        attempts=attempts,
    )


def _impossible(shape: Shape, values: Array, held: NDArray[np.bool_]) -> Fit:
    """The fit that has no start: the spectrum leaves the parameters undetermined over hundreds of powers of ten."""
    return Fit(
        parameters=shape.parameters,
        values=_named(shape, values),
        errors=dict.fromkeys(shape.parameters, 0.0),
        covariance=None,
        twice_nll=float("nan"),
        valid=False,
        status=UNDETERMINED,
        fixed=names(shape, held),
        minimiser="none",
    )


def names(shape: Shape, mask: NDArray[np.bool_]) -> tuple[str, ...]:
    """Names of the parameters that the mask marks."""
    return tuple(name for name, use in zip(shape.parameters, mask, strict=True) if use)


def _named(shape: Shape, values: Array) -> dict[str, float]:
    return dict(zip(shape.parameters, map(float, values), strict=True))
