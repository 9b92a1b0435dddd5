"""Bernstein polynomials: f(m) = sum_k c_k C(n, k) t^k (1 - t)^(n - k), t = (m - low) / (high - low), c_k >= 0.

Linear in the parameters, positive in the range by the signs of the coefficients alone. Bin integrals are closed: the
integral of a Bernstein polynomial of degree n is a sum of those of degree n + 1 (Farouki, CAGD 29 (2012) 379, eq. 24).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls
from scipy.special import comb

from bumpfit.errors import InputError
from bumpfit.shapes.shape import Bounds, Shape, Values

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bernstein(Shape):
    """Bernstein polynomial between two masses, coefficients c0, c1, ... in events per GeV.

    Examples:
        >>> shape = bumpfit.shapes.bernstein(3, 100.0, 200.0)
        >>> shape.degree, shape.parameters
        (2, ('c0', 'c1', 'c2'))
    """

    low: float
    high: float

    @property
    def bounds(self) -> tuple[Bounds, ...]:
        """Coefficients are not negative, which keeps the polynomial positive."""
        return ((0.0, None),) * len(self.parameters)

    @property
    def degree(self) -> int:
        """Degree of the polynomial, one less than the number of coefficients."""
        return len(self.parameters) - 1

    def check_range(self, edges: ArrayLike) -> Array:
        """Edges as an array; raises InputError when they leave the range of the polynomial."""
        result = super().check_range(edges)
        if result[0] < self.low or result[-1] > self.high:
            raise InputError(
                f"{self.name} lives between {self.low:g} and {self.high:g}, "
                f"got bins from {result[0]:g} to {result[-1]:g}"
            )
        return result

    def density(self, x: ArrayLike, parameters: Values) -> Array:
        """Events per GeV, shape (N,)."""
        return np.asarray(self.density_gradient(x, parameters) @ self.array(parameters))

    def density_gradient(self, x: ArrayLike, parameters: Values) -> Array:
        """The Bernstein polynomials at x, shape (N, P)."""
        return _basis(self._scaled(np.asarray(x, dtype=np.float64)), self.degree)

    def integrate(self, edges: ArrayLike, parameters: Values) -> Array:
        """Expected events a bin in closed form, shape (B,)."""
        return np.asarray(self.gradient(edges, parameters) @ self.array(parameters))

    def gradient(self, edges: ArrayLike, parameters: Values) -> Array:
        """Integrals of the Bernstein polynomials over the bins, shape (B, P)."""
        higher = np.diff(_basis(self._scaled(self.check_range(edges)), self.degree + 1), axis=0)
        sums = np.cumsum(higher[:, :0:-1], axis=1)[:, ::-1]
        return np.asarray((self.high - self.low) / (self.degree + 1) * sums)

    def curvature(self, edges: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """None: the contents are linear in the parameters, shape (Z, Z)."""
        return np.zeros((directions.shape[1], directions.shape[1]))

    def density_curvature(self, x: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """None, shape (Z, Z)."""
        return np.zeros((directions.shape[1], directions.shape[1]))

    def _scaled(self, x: Array) -> Array:
        return (x - self.low) / (self.high - self.low)

    def start(self, edges: ArrayLike, counts: ArrayLike, fixed: Mapping[str, float] | None = None) -> Array:
        """Non-negative least squares with the errors of the counts; zeros become a thousandth of the mean."""
        n = np.asarray(counts, dtype=np.float64)
        if not n.sum() > 0:
            raise InputError(f"cannot fit {self.name}: the histogram holds no events")
        root = np.sqrt(np.maximum(n, 1.0))
        best = nnls(self.gradient(edges, np.ones(len(self.parameters))) / root[:, None], n / root)[0]
        return np.asarray(np.maximum(best, 1e-3 * best.mean()))


def _basis(t: Array, degree: int) -> Array:
    """C(n, k) t^k (1 - t)^(n - k) for all k, shape (N, n + 1)."""
    k = np.arange(degree + 1)
    return np.asarray(comb(degree, k) * t[:, None] ** k * (1 - t[:, None]) ** (degree - k))


def bernstein(n_parameters: int, low: float, high: float) -> Bernstein:
    """Bernstein polynomial with `n_parameters` coefficients (degree one less), between masses `low` and `high`.

    Raises InputError for no coefficient or an empty range.

    Examples:
        >>> shape = bumpfit.shapes.bernstein(2, 100.0, 200.0)
        >>> shape.integrate([100.0, 150.0, 200.0], [2.0, 0.0]).round(6).tolist()  # a falling line
        [75.0, 25.0]
    """
    if n_parameters < 1:
        raise InputError(f"a Bernstein polynomial needs at least one coefficient, got n_parameters = {n_parameters}")
    if not low < high:
        raise InputError(f"a Bernstein polynomial needs a range, got {low:g} to {high:g}")
    return Bernstein(f"bernstein{n_parameters}", tuple(f"c{k}" for k in range(n_parameters)), float(low), float(high))
