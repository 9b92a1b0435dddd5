"""Whitened coordinates of the parameters of a shape, and what its likelihoods are asked for.

The parameters of a dijet function are correlated at the level of 0.9999 and differ by many orders of magnitude. So
positive ones are moved through their logarithm (the axes of a shape), and all that have no finite bound are rotated and
scaled to unit Fisher information: a minimiser then sees nearly the unit matrix. Bounded ones keep their own axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bumpfit.poisson import whiten
from bumpfit.shapes.shape import FREE, Bounds, Shape

Array = NDArray[np.float64]


class Measured(Protocol):
    """Data of a shape: binned or unbinned. `values` are the parameters of the shape, shape (P,)."""

    def value(self, values: Array) -> float:
        """-ln L without a large constant; inf where the values are impossible."""

    def slope(self, values: Array) -> Array:
        """Derivatives of `value`, shape (P,)."""

    def soft(self, values: Array) -> float:
        """`value`, continued smoothly to where the values are impossible."""

    def soft_slope(self, values: Array) -> Array:
        """Derivatives of `soft`, shape (P,)."""

    def curvature(self, values: Array, directions: Array) -> Array:
        """Exact second derivatives of `value` along directions (P, Z) of the axes of the shape, shape (Z, Z)."""

    def information(self, values: Array, units: Array) -> Array:
        """Fisher information or an estimate of it for the parameters in the given units, shape (P, P)."""

    def empty(self, values: Array) -> tuple[Array, Array]:
        """Expectations that must not be negative and hold no events, (K,), and their derivatives, (K, P)."""

    def with_events(self, events: float) -> Measured:
        """The same with this many events where there are none."""

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

    @property
    def directions(self) -> Array:
        """d axis / d z, shape (P, Z)."""
        result = np.zeros((self.origin.size, self.free.size))
        result[self.free] = self.matrix
        return result

    def slope(self, values: Array) -> Array:
        """d theta / d z at the values, shape (P, Z)."""
        return self.directions * np.where(self.logarithmic, values, 1.0)[:, None]

    def ends(self, limits: Sequence[Bounds]) -> tuple[Array, Array]:
        """Limits of the axes as those of z, shape (Z,) each; infinite where there are none."""
        low, high = np.full(self.free.size, -np.inf), np.full(self.free.size, np.inf)
        for z, index in enumerate(self.free):
            for side, bound in zip((low, high), limits[int(index)], strict=True):
                if bound is not None:
                    side[z] = (bound - self.origin[index]) / self.matrix[z, z]
        return low, high


def coordinates(
    shape: Shape, likelihood: Measured, start: Array, held: NDArray[np.bool_], limits: Sequence[Bounds]
) -> Coordinates:
    """Whitened coordinates around start values; parameters with limits keep their own axis, in units of at most the
    range.
    """
    logarithmic = np.array(shape.positive) & ~held
    stretch = np.where(logarithmic, start, 1.0)
    free = np.flatnonzero(~held)
    information = likelihood.information(start, stretch)[np.ix_(free, free)]
    alone = np.array([limit != FREE for limit in limits])[free]
    matrix = np.diag(1 / np.sqrt(np.maximum(np.diag(information), np.finfo(float).tiny)))
    for z, index in enumerate(free):
        low, high = limits[int(index)]
        if low is not None and high is not None:
            matrix[z, z] = min(matrix[z, z], high - low)
    joint = np.flatnonzero(~alone)
    matrix[np.ix_(joint, joint)] = whiten(information[np.ix_(joint, joint)])
    return Coordinates(np.where(logarithmic, np.log(stretch), start), matrix, logarithmic, free)


def scaled_limits(shape: Shape, limits: Sequence[Bounds]) -> tuple[Bounds, ...]:
    """Limits on the axes: logarithms for positive parameters, whose bound at zero is none then."""

    def logarithm(bound: float | None) -> float | None:
        return None if bound is None or bound <= 0 else float(np.log(bound))

    return tuple(
        (logarithm(low), logarithm(high)) if positive else (low, high)
        for (low, high), positive in zip(limits, shape.positive, strict=True)
    )
