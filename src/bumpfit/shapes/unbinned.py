"""Extended likelihood of a list of masses, for small counts and as a cross-check of binned fits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.shapes.shape import Shape

Array = NDArray[np.float64]

POINTS = 1000
"""Masses, equally spaced in the window, at which the density must not be negative (a parabola between two of them loses
less than 1e-5 of a peak as wide as a hundredth of the window)."""

SOFT = 1e-3
"""Density below which its logarithm goes on as a parabola, relative to the mean density, so that MIGRAD can come
back from negative ones."""


@dataclass(frozen=True, eq=False)
class Unbinned:
    """ln L = -N(theta) + sum_i ln f(m_i; theta) of masses in a window, f in events per GeV.

    `virtual` events stand at each of the points at which the density must not be negative.
    """

    shape: Shape
    masses: Array
    window: Array
    virtual: float = 0.0
    points: Array = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", np.linspace(self.window[0], self.window[1], POINTS))

    @property
    def mean_density(self) -> float:
        """Events per GeV, the unit of densities here."""
        return float(self.masses.size / (self.window[1] - self.window[0]))

    @property
    def constant(self) -> float:
        """-2 ln L is this plus twice `value`: that of the flat density with as many events."""
        return 2 * self.masses.size * (1 - float(np.log(self.mean_density)))

    @property
    def _places(self) -> tuple[Array, Array]:
        """Masses and the number of events at each, (N,) each."""
        if not self.virtual:
            return self.masses, np.ones(self.masses.size)
        x = np.concatenate([self.masses, self.points])
        return x, np.repeat([1.0, self.virtual], [self.masses.size, self.points.size])

    def total(self, values: Array) -> float:
        """Expected events in the window."""
        return float(self.shape.integrate(self.window, values).sum())

    def value(self, values: Array) -> float:
        """-ln L relative to that of a flat density; inf where the density is not positive at an event."""
        x, events = self._places
        density = self.shape.density(x, values) / self.mean_density
        if not (density > 0).all() or (self.shape.density(self.points, values) < 0).any():
            return np.inf
        value = self.total(values) - self.masses.size - float(events @ np.log(density))
        return value if np.isfinite(value) else np.inf

    def slope(self, values: Array) -> Array:
        """Derivatives of -ln L, shape (P,)."""
        x, events = self._places
        weights = events / self.shape.density(x, values)
        total = self.shape.gradient(self.window, values).sum(axis=0)
        return np.asarray(total - weights @ self.shape.density_gradient(x, values))

    def soft(self, values: Array) -> float:
        """-ln L with ln(density) continued as a parabola, and a soft wall at the points."""
        safe, short, below = self._soft(values)
        events = self._places[1]
        value = self.total(values) - self.masses.size
        value -= float(events @ (np.log(safe) + short - 0.5 * short**2))
        return value + 0.5 * float(np.sum((below / SOFT) ** 2)) / POINTS

    def soft_slope(self, values: Array) -> Array:
        """Derivatives of `soft`, shape (P,)."""
        (x, events), (safe, short, below) = self._places, self._soft(values)
        slope = self.shape.gradient(self.window, values).sum(axis=0)
        slope = slope - (events * (1 - short) / safe / self.mean_density) @ self.shape.density_gradient(x, values)
        if below.any():
            wall = below / SOFT**2 / POINTS / self.mean_density
            slope = slope + wall @ self.shape.density_gradient(self.points, values)
        return np.asarray(slope)

    def _soft(self, values: Array) -> tuple[Array, Array, Array]:
        """At the events: the density (not below `SOFT`) and how far it is below; at the points: how far below none."""
        density = self.shape.density(self._places[0], values) / self.mean_density
        safe = np.maximum(density, SOFT)
        below = np.minimum(self.shape.density(self.points, values) / self.mean_density, 0.0)
        return safe, (density - safe) / SOFT, below

    def curvature(self, values: Array, directions: Array) -> Array:
        """Exact second derivatives of -ln L along directions, shape (Z, Z)."""
        x, events = self._places
        density = self.shape.density(x, values)
        along = (self.shape.density_gradient(x, values) * self.shape.units(values)) @ directions
        first = along * (np.sqrt(events) / density)[:, None]
        total = self.shape.curvature(self.window, values, np.ones(1), directions)
        return total + first.T @ first - self.shape.density_curvature(x, values, events / density, directions)

    def information(self, values: Array, units: Array) -> Array:
        """Outer products of the scores of the events: an estimate of the Fisher information, shape (P, P)."""
        x, events = self._places
        density = np.maximum(self.shape.density(x, values), np.finfo(float).tiny)
        score = self.shape.density_gradient(x, values) * units / density[:, None]
        return np.asarray((score * events[:, None]).T @ score)

    def empty(self, values: Array) -> tuple[Array, Array]:
        """Density at the points, in units of the mean density, (K,), and its derivatives, (K, P)."""
        density = self.shape.density(self.points, values) / self.mean_density
        return density, self.shape.density_gradient(self.points, values) / self.mean_density

    def with_events(self, events: float) -> Unbinned:
        """The same with this many events at each point."""
        return replace(self, virtual=events)

    def problems(self, values: Array) -> list[str]:
        """Events where the fitted density is not positive."""
        wrong = int((self.shape.density(self.masses, values) <= 0).sum())
        return [f"the fitted density is not positive at {wrong} events"] if wrong else []


def window_of(masses: ArrayLike, low: float, high: float) -> tuple[Array, Array]:
    """The masses in a window, and the window, (N,) and (2,).

    Raises InputError for masses that are not finite and a window without extent.
    """
    values = np.asarray(masses, dtype=np.float64).ravel()
    if not np.isfinite(values).all():
        raise InputError(f"{int((~np.isfinite(values)).sum())} of {values.size} masses are not finite numbers")
    if not low < high:
        raise InputError(f"an unbinned fit needs a window, got {low:g} to {high:g}")
    return values[(values >= low) & (values < high)], np.array([low, high], dtype=np.float64)
