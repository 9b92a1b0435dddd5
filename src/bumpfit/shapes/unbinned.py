"""Unbinned extended maximum likelihood of a list of masses, through iminuit's cost functions: for small counts, and as
a cross-check of binned fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from iminuit.cost import ExtendedUnbinnedNLL
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.histograms import fill
from bumpfit.results import Fit
from bumpfit.shapes.fitting import given_start, held_parameters, merged_limits, spectrum, starts
from bumpfit.shapes.minimise import minimise
from bumpfit.shapes.shape import Bounds, Shape, Values

Array = NDArray[np.float64]

START_BINS = (10, 100)
"""Fewest and most bins of the histogram that gives the start values (about one for ten events in between)."""


@dataclass(frozen=True, eq=False)
class Unbinned:
    """Extended likelihood of masses in a window, ln L = -N(theta) + sum_i ln f(m_i; theta), f in events per GeV."""

    shape: Shape
    masses: Array
    window: Array
    cost: ExtendedUnbinnedNLL = field(init=False)

    def __post_init__(self) -> None:
        def scaled(x: Array, *values: float) -> tuple[float, Array]:
            return float(self.shape.integrate(self.window, values).sum()), self.shape.density(x, values)

        def gradient(x: Array, *values: float) -> tuple[Array, Array]:
            return self.shape.gradient(self.window, values).sum(axis=0), self.shape.density_gradient(x, values).T

        names = self.shape.parameters
        object.__setattr__(self, "cost", ExtendedUnbinnedNLL(self.masses, scaled, grad=gradient, name=names))

    def value(self, values: Array) -> float:
        """-ln L; not a number where the density is negative at an event."""
        return 0.5 * float(self.cost(*values))

    def slope(self, values: Array) -> Array:
        """Derivatives of -ln L, shape (P,)."""
        return 0.5 * np.asarray(self.cost.grad(*values))

    def information(self, values: Array, units: Array) -> Array:
        """Outer products of the scores of the events: an estimate of the Fisher information, shape (P, P)."""
        density = np.maximum(self.shape.density(self.masses, values), np.finfo(float).tiny)
        score = self.shape.density_gradient(self.masses, values) * units / density[:, None]
        return np.asarray(score.T @ score)

    def problems(self, values: Array) -> list[str]:
        """Events where the fitted density is not positive."""
        wrong = int((self.shape.density(self.masses, values) <= 0).sum())
        return [f"the fitted density is not positive at {wrong} events"] if wrong else []


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
    """
    values = np.asarray(masses, dtype=np.float64).ravel()
    if not np.isfinite(values).all():
        raise InputError(f"{int((~np.isfinite(values)).sum())} of {values.size} masses are not finite numbers")
    if not low < high:
        raise InputError(f"an unbinned fit needs a window, got {low:g} to {high:g}")
    inside = values[(values >= low) & (values < high)]
    fixed = dict(fixed or {})
    held = held_parameters(shape, fixed)
    if inside.size < max(int((~held).sum()), 1):
        raise InputError(
            f"{inside.size} events between {low:g} and {high:g} cannot fix {int((~held).sum())} parameters"
        )
    edges = np.linspace(low, high, int(np.clip(inside.size // 10, *START_BINS)) + 1)
    if start is None:
        point = starts(shape, spectrum(fill(inside, edges)), fixed)
    else:
        point = given_start(shape, start, held)
    point = np.array([fixed.get(name, value) for name, value in zip(shape.parameters, point, strict=True)])
    likelihood = Unbinned(shape, inside, np.array([low, high], dtype=np.float64))
    return minimise(shape, likelihood, point, held, merged_limits(shape, edges, limits or {}))
