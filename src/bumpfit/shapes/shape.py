"""What every shape can do: a density in events per GeV, its integrals over bins, and their derivatives.

A shape is a frozen description; the parameter values are arguments, as an array in the order of `parameters` or as a
dict by name. Derivatives are analytic. The first parameter of a shape scales it (number of events or prefactor).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.histograms import check_edges
from bumpfit.shapes.quadrature import rule

Array = NDArray[np.float64]
Values = Mapping[str, float] | Sequence[float] | ArrayLike
Bounds = tuple[float | None, float | None]
FREE: Bounds = (None, None)

STEP = 0.05
"""Step of differences of exact slopes, in units of the directions (standard deviations in a fit): the error of fourth
order is below 1e-6 of a second derivative that changes over one of them."""


@dataclass(frozen=True)
class Shape(ABC):
    """A parametric spectrum. Subclasses give the density and its gradient; closed-form bin integrals where they exist.

    name        what the shape is called in messages and files
    parameters  names, in order

    Examples:
        >>> isinstance(bumpfit.shapes.gaussian(), bumpfit.shapes.Shape)
        True
        >>> bumpfit.shapes.gaussian().name
        'gaussian'
    """

    name: str
    parameters: tuple[str, ...]

    @property
    def bounds(self) -> tuple[Bounds, ...]:
        """Physical bounds of each parameter; None where there is none."""
        return (FREE,) * len(self.parameters)

    def bounds_in(self, edges: Array) -> tuple[Bounds, ...]:
        """Bounds for a fit of bins between edges: the physical ones, and the range for a mass that may float."""
        return self.bounds

    @property
    def positive(self) -> tuple[bool, ...]:
        """True for a parameter that only makes sense above zero and is fitted through its logarithm."""
        return (False,) * len(self.parameters)

    @property
    def upper(self) -> float | None:
        """Mass where the density ends (the collision energy), None when there is no such end."""
        return None

    @abstractmethod
    def density(self, x: ArrayLike, parameters: Values) -> Array:
        """Events per GeV at masses x, shape (N,) -> (N,)."""

    @abstractmethod
    def density_gradient(self, x: ArrayLike, parameters: Values) -> Array:
        """Derivatives of `density` with respect to the parameters, shape (N, P)."""

    @abstractmethod
    def start(self, edges: ArrayLike, counts: ArrayLike, fixed: Mapping[str, float] | None = None) -> Array:
        """Start values near the maximum likelihood for counts, shape (B,), in bins between edges; shape (P,).

        `fixed` tells which parameters will be held, for shapes whose other start values depend on them.
        """

    def candidates(self, edges: Array) -> Array:
        """Parameter values at which a search for this shape on top of another one starts, shape (K, P); the first is 1.

        Raises InputError for a shape that is no signal.
        """
        raise InputError(
            f"{self.name} cannot be added to another shape: it is a background; take a signal or a template"
        )

    def integrate(self, edges: ArrayLike, parameters: Values) -> Array:
        """Expected events a bin: the integral of the density, shape (B + 1,) edges -> (B,). Relative precision 1e-12.

        Raises InputError for edges that do not increase or lie outside the range of the shape, and for a wrong number
        of parameters.
        """
        nodes = rule(self.check_range(edges), self.upper)
        return nodes.sum(self.density(nodes.nodes, parameters))

    def gradient(self, edges: ArrayLike, parameters: Values) -> Array:
        """Derivatives of `integrate` with respect to the parameters, shape (B, P). Analytic under the integral."""
        nodes = rule(self.check_range(edges), self.upper)
        return nodes.sum(self.density_gradient(nodes.nodes, parameters).T).T

    def curvature(self, edges: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """Second derivatives of sum_i weights_i (content of bin i) along `directions`, shape (P, Z) -> (Z, Z).

        `weights` has shape (B,). A direction moves the logarithm of a positive parameter and any other itself. Exact
        where a shape has a formula, else by differences of the exact slopes.
        """
        return self._differences(lambda p: weights @ self.gradient(edges, p), self.array(parameters), directions)

    def density_curvature(self, x: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """As `curvature`, of sum_i weights_i density(x_i); x and `weights` have shape (N,)."""
        return self._differences(lambda p: weights @ self.density_gradient(x, p), self.array(parameters), directions)

    def units(self, values: Array) -> Array:
        """Derivative of each parameter along its own axis, shape (P,): its value where the axis is its logarithm."""
        return np.where(self.positive, values, 1.0)

    def moved(self, values: Array, change: Array) -> Array:
        """The values after a change along the axes, both (P,)."""
        with np.errstate(over="ignore"):
            return np.where(self.positive, values * np.exp(np.where(self.positive, change, 0.0)), values + change)

    def _differences(self, slope: Callable[[Array], Array], values: Array, directions: Array) -> Array:
        """Derivatives of a slope, (P,) -> (P,), by central differences of fourth order along each direction."""

        def along(change: Array) -> Array:
            point = self.moved(values, change)
            return np.asarray((slope(point) * self.units(point)) @ directions)

        columns = []
        for direction in directions.T:
            step = STEP * self._room(values, direction)
            near, far = (along(k * step * direction) - along(-k * step * direction) for k in (1, 2))
            columns.append((8 * near - far) / (12 * step))
        result = np.array(columns).reshape(directions.shape[1], directions.shape[1])
        return 0.5 * (result + result.T)

    def _room(self, values: Array, direction: Array) -> float:
        """Part of a unit along a direction that stays well inside the physical bounds on both sides, at most 1."""
        room = 1.0
        for value, change, positive, bounds in zip(values, direction, self.positive, self.bounds, strict=True):
            for bound in bounds:
                if bound is not None and change and not positive and value != bound:
                    room = min(room, abs(value - bound) / abs(change))
        return room

    def check_range(self, edges: ArrayLike) -> Array:
        """Edges as an array; raises InputError when the shape is not defined between them."""
        result = np.asarray(edges, dtype=np.float64)
        if result.ndim != 1 or not _increase(result.tobytes()):
            check_edges(result)
        if self.upper is not None and not (result[0] > 0 and result[-1] <= self.upper):
            raise InputError(
                f"{self.name} lives between 0 and sqrt(s) = {self.upper:g}, "
                f"got bins from {result[0]:g} to {result[-1]:g}; "
                "are masses and sqrt_s in the same units (GeV by default)?"
            )
        return result

    def array(self, parameters: Values) -> Array:
        """Parameter values as an array, shape (P,), from an array or a dict by name; raises InputError otherwise."""
        if isinstance(parameters, Mapping):
            missing = [name for name in self.parameters if name not in parameters]
            if missing:
                raise InputError(
                    f"{self.name} needs values for {', '.join(self.parameters)}; missing: {', '.join(missing)}"
                )
            return np.array([parameters[name] for name in self.parameters], dtype=np.float64)
        result = np.asarray(parameters, dtype=np.float64)
        if result.shape != (len(self.parameters),):
            raise InputError(
                f"{self.name} has {len(self.parameters)} parameters ({', '.join(self.parameters)}), "
                f"got values of shape {result.shape}"
            )
        return result


@lru_cache(maxsize=256)
def _increase(edges: bytes) -> bool:
    """Whether these are bin edges; a fit asks for the same ones at every step."""
    values = np.frombuffer(edges)
    return values.size > 1 and bool(np.isfinite(values).all() and (np.diff(values) > 0).all())
