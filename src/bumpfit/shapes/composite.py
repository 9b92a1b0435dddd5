"""Signal plus background: the sum of a background shape and peaks, with any parameter floating."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.shapes.shape import Bounds, Shape, Values

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sum(Shape):
    """Sum of shapes: the first is the background, the others lie on top of it. Parameters follow one another.

    Examples:
        >>> shape = bumpfit.shapes.add(bumpfit.shapes.exponential(2), bumpfit.shapes.gaussian())
        >>> [part.name for part in shape.parts]
        ['exponential2', 'gaussian']
    """

    parts: tuple[Shape, ...]

    def split(self, parameters: Values) -> list[Array]:
        """The parameter values of each part."""
        return np.split(self.array(parameters), np.cumsum([len(part.parameters) for part in self.parts])[:-1])

    @property
    def bounds(self) -> tuple[Bounds, ...]:
        """Those of the parts."""
        return tuple(bound for part in self.parts for bound in part.bounds)

    def bounds_in(self, edges: Array) -> tuple[Bounds, ...]:
        """Those of the parts."""
        return tuple(bound for part in self.parts for bound in part.bounds_in(edges))

    @property
    def positive(self) -> tuple[bool, ...]:
        """Those of the parts."""
        return tuple(value for part in self.parts for value in part.positive)

    @property
    def upper(self) -> float | None:
        """The lowest end of the parts."""
        ends = [part.upper for part in self.parts if part.upper is not None]
        return min(ends) if ends else None

    def density(self, x: ArrayLike, parameters: Values) -> Array:
        """Events per GeV, shape (N,)."""
        return self._total(lambda part, values: part.density(x, values), parameters)

    def density_gradient(self, x: ArrayLike, parameters: Values) -> Array:
        """Derivatives for all parameters, shape (N, P)."""
        pairs = zip(self.parts, self.split(parameters), strict=True)
        return np.concatenate([part.density_gradient(x, values) for part, values in pairs], axis=1)

    def integrate(self, edges: ArrayLike, parameters: Values) -> Array:
        """Expected events a bin, each part by its own rule, shape (B,)."""
        bins = self.check_range(edges)
        return self._total(lambda part, values: part.integrate(bins, values), parameters)

    def gradient(self, edges: ArrayLike, parameters: Values) -> Array:
        """Derivatives of `integrate`, shape (B, P)."""
        bins = self.check_range(edges)
        pairs = zip(self.parts, self.split(parameters), strict=True)
        return np.concatenate([part.gradient(bins, values) for part, values in pairs], axis=1)

    def curvature(self, edges: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """Those of the parts, each along its own rows of the directions, shape (Z, Z)."""
        bins = self.check_range(edges)
        return self._second(lambda part, p, rows: part.curvature(bins, p, weights, rows), parameters, directions)

    def density_curvature(self, x: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """Those of the parts, shape (Z, Z)."""
        return self._second(lambda part, p, rows: part.density_curvature(x, p, weights, rows), parameters, directions)

    def _second(self, function: Callable[[Shape, Array, Array], Array], parameters: Values, directions: Array) -> Array:
        rows = np.split(directions, np.cumsum([len(part.parameters) for part in self.parts])[:-1])
        parts = zip(self.parts, self.split(parameters), rows, strict=True)
        return np.asarray(sum(function(*part) for part in parts))

    def _total(self, function: Callable[[Shape, Array], Array], parameters: Values) -> Array:
        pairs = zip(self.parts, self.split(parameters), strict=True)
        return np.asarray(sum(function(part, values) for part, values in pairs))

    def start(self, edges: ArrayLike, counts: ArrayLike, fixed: Mapping[str, float] | None = None) -> Array:
        """The background fitted alone, then for each peak the candidate with the largest excess over it.

        The excess of a candidate s over the background b is the score test: with the part of s that the background
        cannot absorb (the residual of s on the background's derivatives, weights 1 / b), its size is
        n = s.r / s.s and its significance z = s.r / sqrt(s.s), r = counts - b.
        """
        bins, n = self.check_range(edges), np.asarray(counts, dtype=np.float64)
        held = [fixed.get(name) if fixed else None for name in self.parameters]
        first = len(self.parts[0].parameters)
        given = {
            name: value for name, value in zip(self.parts[0].parameters, held[:first], strict=True) if value is not None
        }
        result = [self.parts[0].start(bins, n, given)]
        if not np.isfinite(result[0]).all():
            # The background alone has no usable start; the minimiser says so.
            return np.concatenate([result[0], *(part.candidates(bins)[0] for part in self.parts[1:])])
        expected = self.parts[0].integrate(bins, result[0])
        basis = self.parts[0].gradient(bins, result[0])
        for part in self.parts[1:]:
            own = held[first : first + len(part.parameters)]
            first += len(part.parameters)
            best = _best(part, part.candidates(bins), own, bins, n - expected, expected, basis)
            expected = expected + part.integrate(bins, best)
            result.append(best)
        return np.concatenate(result)


def _best(
    part: Shape,
    candidates: Array,
    held: list[float | None],
    edges: Array,
    residual: Array,
    expected: Array,
    basis: Array,
) -> Array:
    """The candidate with the most significant excess, scaled to the size of the excess."""
    root = np.sqrt(np.maximum(expected, np.finfo(float).tiny))
    orthogonal = np.linalg.qr(basis / np.linalg.norm(basis, axis=0) / root[:, None])[0]
    for k, value in enumerate(held[1:], start=1):
        if value is not None:
            candidates = candidates.copy()
            candidates[:, k] = value
    candidates = np.unique(candidates, axis=0)
    best, highest, size = candidates[0], -np.inf, 0.0
    for candidate in candidates:
        content = part.integrate(edges, candidate) / root
        content = content - orthogonal @ (orthogonal.T @ content)
        norm = float(content @ content)
        if norm <= 0:
            continue
        z = float(content @ (residual / root)) / np.sqrt(norm)
        if z > highest:
            best, highest, size = candidate, z, z / np.sqrt(norm)
    # A peak of no size leaves its mass and width undetermined: start from half an event at least.
    return np.array([max(size, 0.5), *best[1:]]) if held[0] is None else np.array([held[0], *best[1:]])


def add(background: Shape, *peaks: Shape) -> Sum:
    """Background plus peaks. A parameter name that is taken already gets the number of the part: mass, mass_2.

    Raises InputError when a part other than the first is no peak or template.

    Examples:
        >>> peak = bumpfit.shapes.gaussian()
        >>> bumpfit.shapes.add(bumpfit.shapes.exponential(2), peak, peak).parameters
        ('p0', 'p1', 'n_signal', 'mass', 'sigma', 'n_signal_2', 'mass_2', 'sigma_2')
    """
    names: list[str] = []
    for number, part in enumerate((background, *peaks)):
        names += [f"{name}_{number}" if name in names else name for name in part.parameters]
    name = " + ".join(part.name for part in (background, *peaks))
    return Sum(name, tuple(names), (background, *peaks))
