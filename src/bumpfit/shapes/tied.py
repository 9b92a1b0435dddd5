"""Peaks whose width and tails are functions of the mass: sigma(m) = sum_k c_k m^k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.shapes.shape import Bounds, Shape, Values

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Tied(Shape):
    """A peak with some parameters given by polynomials in its mass; the others stay free.

    Examples:
        >>> shape = bumpfit.shapes.tie(bumpfit.shapes.gaussian(), sigma=(0.0, 0.03))
        >>> shape.integrate([100.0, 103.0], [10.0, 100.0]).round(3).tolist()  # one standard deviation
        [3.413]
    """

    peak: Shape
    functions: tuple[tuple[str, tuple[float, ...]], ...]

    @cached_property
    def _kept(self) -> NDArray[np.intp]:
        return np.array([self.peak.parameters.index(name) for name in self.parameters])

    def full(self, parameters: Values) -> Array:
        """Values of all parameters of the peak, shape (P of the peak,)."""
        return self._chain(parameters)[0]

    def _chain(self, parameters: Values) -> tuple[Array, Array]:
        """The peak's parameter values and their derivatives for the free ones, shapes (Q,) and (Q, P)."""
        free = self.array(parameters)
        values = np.zeros(len(self.peak.parameters))
        matrix = np.zeros((values.size, free.size))
        values[self._kept] = free
        matrix[self._kept, np.arange(free.size)] = 1.0
        at = self.parameters.index("mass")
        for name, coefficients in self.functions:
            row = self.peak.parameters.index(name)
            values[row], matrix[row, at] = _horner(coefficients, free[at])
        return values, matrix

    @property
    def bounds(self) -> tuple[Bounds, ...]:
        """Those of the free parameters."""
        return tuple(self.peak.bounds[k] for k in self._kept)

    def bounds_in(self, edges: Array) -> tuple[Bounds, ...]:
        """Those of the free parameters."""
        inside = self.peak.bounds_in(edges)
        return tuple(inside[k] for k in self._kept)

    def candidates(self, edges: Array) -> Array:
        """The peak's candidates without the tied parameters."""
        return np.unique(self.peak.candidates(edges)[:, self._kept], axis=0)

    def density(self, x: ArrayLike, parameters: Values) -> Array:
        """Events per GeV, shape (N,)."""
        return self.peak.density(x, self.full(parameters))

    def density_gradient(self, x: ArrayLike, parameters: Values) -> Array:
        """Derivatives for the free parameters by the chain rule, shape (N, P)."""
        values, matrix = self._chain(parameters)
        return self.peak.density_gradient(x, values) @ matrix

    def integrate(self, edges: ArrayLike, parameters: Values) -> Array:
        """Expected events a bin, shape (B,)."""
        return self.peak.integrate(edges, self.full(parameters))

    def gradient(self, edges: ArrayLike, parameters: Values) -> Array:
        """Derivatives of `integrate` for the free parameters, shape (B, P)."""
        values, matrix = self._chain(parameters)
        return self.peak.gradient(edges, values) @ matrix

    def curvature(self, edges: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """Second derivatives along directions by the chain rule, shape (Z, Z)."""
        values, matrix = self._chain(parameters)
        second = self.peak.curvature(edges, values, weights, matrix @ directions)
        return second + self._bend(weights @ self.peak.gradient(edges, values), parameters, directions)

    def density_curvature(self, x: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """Second derivatives of the weighted density by the chain rule, shape (Z, Z)."""
        values, matrix = self._chain(parameters)
        second = self.peak.density_curvature(x, values, weights, matrix @ directions)
        return second + self._bend(weights @ self.peak.density_gradient(x, values), parameters, directions)

    def _bend(self, slope: Array, parameters: Values, directions: Array) -> Array:
        """What the second derivatives of the polynomials add; `slope` (Q,) is that of the peak's parameters."""
        at = self.parameters.index("mass")
        mass = self.array(parameters)[at]
        bend = sum(slope[self.peak.parameters.index(name)] * _bending(c, mass) for name, c in self.functions)
        return np.asarray(bend * np.outer(directions[at], directions[at]))

    def start(self, edges: ArrayLike, counts: ArrayLike, fixed: Mapping[str, float] | None = None) -> Array:
        """The peak's start without the tied parameters."""
        return self.peak.start(edges, counts, fixed)[self._kept]


def _horner(coefficients: Sequence[float], x: float) -> tuple[float, float]:
    """A polynomial, constant term first, and its derivative."""
    value, slope = 0.0, 0.0
    for coefficient in reversed(coefficients):
        value, slope = value * x + coefficient, slope * x + value
    return value, slope


def _bending(coefficients: Sequence[float], x: float) -> float:
    """Second derivative of a polynomial, constant term first."""
    return float(sum(k * (k - 1) * c * x ** (k - 2) for k, c in enumerate(coefficients) if k > 1))


def tie(peak: Shape, **functions: Sequence[float]) -> Tied:
    """A peak with parameters that follow its mass: `tie(gaussian(), sigma=(0, 0.03))` is a width of 3 % of the mass.

    Each keyword names a parameter and gives polynomial coefficients in the mass, constant first, so a single number in
    the list fixes the parameter. Raises InputError for names the peak does not have and for its yield and mass.

    Examples:
        >>> shape = bumpfit.shapes.tie(bumpfit.shapes.gaussian(), sigma=(0.0, 0.03))
        >>> shape.parameters
        ('n_signal', 'mass')
    """
    for name, coefficients in functions.items():
        if name not in peak.parameters or name in (peak.parameters[0], "mass"):
            free = ", ".join(other for other in peak.parameters[1:] if other != "mass")
            raise InputError(f"cannot tie {name} of {peak.name} to its mass; parameters that can be tied: {free}")
        if len(coefficients) == 0 or not np.isfinite(coefficients).all():
            raise InputError(f"{name} needs finite polynomial coefficients in the mass, got {list(coefficients)}")
    kept = tuple(name for name in peak.parameters if name not in functions)
    given = tuple((name, tuple(float(value) for value in values)) for name, values in functions.items())
    return Tied(peak.name, kept, peak, given)
