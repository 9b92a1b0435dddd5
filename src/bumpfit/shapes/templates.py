"""Shapes taken from histograms: a background sample as it is, and signal templates morphed between masses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.histograms import Histogram
from bumpfit.shapes.shape import FREE, Bounds, Shape, Values

Array = NDArray[np.float64]

FAINT = 1e-12
"""Share of the total that an empty bin of a morphed template is given: its cumulative function can then be inverted."""


@dataclass(frozen=True)
class Template(Shape):
    """A histogram scaled to n_events: the density is constant in each of its bins and zero outside of them.

    Examples:
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0], [3, 1])
        >>> bumpfit.shapes.template(histogram, parameter="n_top").parameters
        ('n_top',)
    """

    edges: tuple[float, ...]
    contents: tuple[float, ...]

    def _cumulative(self, x: Array) -> Array:
        """Share of the template below x."""
        knots = np.concatenate([[0.0], np.cumsum(self.contents)])
        return np.asarray(np.interp(x, self.edges, knots))

    def density(self, x: ArrayLike, parameters: Values) -> Array:
        """Events per GeV, shape (N,)."""
        return np.asarray(self.density_gradient(x, parameters)[:, 0] * self.array(parameters)[0])

    def density_gradient(self, x: ArrayLike, parameters: Values) -> Array:
        """Density of one event, shape (N, 1)."""
        mass, edges = np.asarray(x, dtype=np.float64), np.array(self.edges)
        height = np.pad(np.array(self.contents) / np.diff(edges), 1)
        return height[np.searchsorted(edges, mass, side="right")][:, None]

    def integrate(self, edges: ArrayLike, parameters: Values) -> Array:
        """Expected events a bin, exact for any edges, shape (B,)."""
        return np.asarray(self.array(parameters)[0] * np.diff(self._cumulative(self.check_range(edges))))

    def gradient(self, edges: ArrayLike, parameters: Values) -> Array:
        """Share of the template in each bin, shape (B, 1)."""
        return np.diff(self._cumulative(self.check_range(edges)))[:, None]

    def curvature(self, edges: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """None: the contents are linear in the parameters, shape (Z, Z)."""
        return np.zeros((directions.shape[1], directions.shape[1]))

    def density_curvature(self, x: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """None, shape (Z, Z)."""
        return np.zeros((directions.shape[1], directions.shape[1]))

    def candidates(self, edges: Array) -> Array:
        """One event: a template has no other parameters."""
        return np.ones((1, 1))

    def start(self, edges: ArrayLike, counts: ArrayLike, fixed: Mapping[str, float] | None = None) -> Array:
        """The events in the bins over the share of the template there: this is already the best fit."""
        share = self.gradient(edges, [1.0]).sum()
        if not share > 0:
            raise InputError(f"{self.name} is empty between {np.min(edges):g} and {np.max(edges):g}")
        return np.array([np.sum(counts) / share])


def template(histogram: Histogram, *, name: str = "template", parameter: str = "n_events") -> Template:
    """Shape of a background (or signal) sample with one parameter, its number of events over all its bins.

    Raises InputError for a histogram that is blinded, empty or has negative bins. The statistical error of the sample
    is not part of the shape: a workspace carries it as `staterror`.

    Examples:
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0], [3, 1])
        >>> bumpfit.shapes.template(histogram).integrate(histogram.edges, [8.0]).round(6).tolist()
        [6.0, 2.0]
    """
    return Template(name, (parameter,), tuple(map(float, histogram.edges)), tuple(map(float, _shares(histogram, name))))


def _shares(histogram: Histogram, name: str) -> Array:
    counts = histogram.counts
    if histogram.blinded.any() or (counts < 0).any() or not counts.sum() > 0:
        raise InputError(f"{name} needs a histogram with events, without blinded or negative bins")
    return np.asarray(counts / counts.sum())


@dataclass(frozen=True)
class Morph(Shape):
    """Templates at several masses, interpolated in between. Parameters n_signal and mass.

    vertical    bin contents are interpolated linearly in the mass: right for a change of height
    horizontal  quantile functions are interpolated linearly in the mass (Read, NIM A 425 (1999) 357): a peak moves

    Examples:
        >>> flat = bumpfit.histograms.from_counts([0.0, 1.0, 2.0], [4, 4])
        >>> shape = bumpfit.shapes.morph({100.0: flat, 200.0: flat})
        >>> shape.parameters, shape.masses
        (('n_signal', 'mass'), (100.0, 200.0))
    """

    masses: tuple[float, ...]
    edges: tuple[float, ...]
    contents: tuple[tuple[float, ...], ...]
    method: Literal["vertical", "horizontal"]

    @property
    def bounds(self) -> tuple[Bounds, ...]:
        """The mass stays between the first and the last template."""
        return (FREE, (self.masses[0], self.masses[-1]))

    def _neighbours(self, mass: float) -> tuple[Array, Array, float, float]:
        """Cumulative functions of the templates around a mass, the weight of the upper one, and their distance."""
        if not self.masses[0] <= mass <= self.masses[-1]:
            raise InputError(
                f"{self.name} has templates from {self.masses[0]:g} to {self.masses[-1]:g}, got a mass of {mass:g}"
            )
        k = min(int(np.searchsorted(self.masses, mass, side="right")) - 1, len(self.masses) - 2)
        low, high = (np.concatenate([[0.0], np.cumsum(self.contents[j])]) for j in (k, k + 1))
        # Both end at exactly 1, so that no two shares of the union differ by rounding alone.
        low, high = low / low[-1], high / high[-1]
        distance = self.masses[k + 1] - self.masses[k]
        return low, high, (mass - self.masses[k]) / distance, distance

    def _quantiles(self, low: Array, high: Array) -> tuple[Array, Array, Array]:
        """Shares at which either cumulative function has a knot, and the quantiles of both templates there."""
        shares = np.union1d(low, high)
        # Shares that differ by rounding alone would give knots at one mass: the first of two such goes.
        shares = shares[np.append(np.diff(shares) > 0.1 * FAINT, True)]
        return shares, np.interp(shares, low, self.edges), np.interp(shares, high, self.edges)

    def _cumulative(self, x: Array, mass: float) -> tuple[Array, Array]:
        """Share below x and its derivative with respect to the mass."""
        low, high, weight, distance = self._neighbours(mass)
        edges = np.array(self.edges)
        if self.method == "vertical":
            below, above = np.interp(x, edges, low), np.interp(x, edges, high)
            return (1 - weight) * below + weight * above, (above - below) / distance
        shares, left, right = self._quantiles(low, high)
        knots = (1 - weight) * left + weight * right
        value = np.interp(x, knots, shares)
        k = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, knots.size - 2)
        along = (x - knots[k]) / (knots[k + 1] - knots[k])
        moved = (1 - along) * (right - left)[k] + along * (right - left)[k + 1]
        slope = -(shares[k + 1] - shares[k]) / (knots[k + 1] - knots[k]) * moved / distance
        return value, np.where((x <= knots[0]) | (x >= knots[-1]), 0.0, slope)

    def integrate(self, edges: ArrayLike, parameters: Values) -> Array:
        """Expected events a bin, exact for the interpolated cumulative function, shape (B,)."""
        number, mass = self.array(parameters)
        return np.asarray(number * np.diff(self._cumulative(self.check_range(edges), mass)[0]))

    def gradient(self, edges: ArrayLike, parameters: Values) -> Array:
        """Derivatives for n_signal and mass, shape (B, 2); one-sided where a template stands."""
        number, mass = self.array(parameters)
        value, slope = self._cumulative(self.check_range(edges), mass)
        return np.stack([np.diff(value), number * np.diff(slope)], axis=-1)

    def density(self, x: ArrayLike, parameters: Values) -> Array:
        """Events per GeV: constant between the knots of the interpolated cumulative function, shape (N,)."""
        number, mass = self.array(parameters)
        at, edges = np.asarray(x, dtype=np.float64), np.array(self.edges)
        low, high, weight, _ = self._neighbours(mass)
        if self.method == "vertical":
            knots, shares = edges, (1 - weight) * low + weight * high
        else:
            shares, left, right = self._quantiles(low, high)
            knots = (1 - weight) * left + weight * right
        height = np.pad(np.diff(shares) / np.diff(knots), 1)
        return np.asarray(number * height[np.searchsorted(knots, at, side="right")])

    def density_gradient(self, x: ArrayLike, parameters: Values) -> Array:
        """A density of steps has no derivative with respect to the mass: raises InputError; fit bins instead."""
        raise InputError(f"{self.name} is made of bins: fit it to a histogram, an unbinned fit needs a smooth density")

    def candidates(self, edges: Array) -> Array:
        """One event at each template and at steps of a bin in between, shape (K, 2)."""
        step = float(np.diff(edges).min())
        number = max(int(np.ceil((self.masses[-1] - self.masses[0]) / step)), len(self.masses))
        masses = np.union1d(np.linspace(self.masses[0], self.masses[-1], number), self.masses)
        return np.stack([np.ones_like(masses), masses], axis=-1)

    def start(self, edges: ArrayLike, counts: ArrayLike, fixed: Mapping[str, float] | None = None) -> Array:
        """The mass among the candidates whose shares describe the counts best, and the events over its share."""
        bins, n = self.check_range(edges), np.asarray(counts, dtype=np.float64)
        options = self.candidates(bins)
        if fixed and "mass" in fixed:
            options[:, 1] = fixed["mass"]
        shares = np.array([self.integrate(bins, option) for option in options])
        likelihood = np.sum(n * np.log(np.maximum(shares, FAINT)), axis=1) - n.sum() * np.log(shares.sum(axis=1))
        best = int(np.argmax(likelihood))
        return np.array([n.sum() / shares[best].sum(), options[best, 1]])


def morph(
    histograms: Mapping[float, Histogram],
    *,
    method: Literal["vertical", "horizontal"] = "horizontal",
    name: str = "template signal",
) -> Morph:
    """Signal from templates at two or more masses (the keys), all with the same edges, morphed to any mass in between.

    Raises InputError for fewer than two masses, edges that differ, and histograms that are blinded, empty or negative.

    Examples:
        >>> low, high = (bumpfit.histograms.from_counts([0.0, 1.0, 2.0], counts) for counts in ([8, 0], [4, 4]))
        >>> shape = bumpfit.shapes.morph({100.0: low, 200.0: high}, method="vertical")
        >>> shape.integrate([0.0, 1.0, 2.0], [8.0, 150.0]).round(6).tolist()
        [6.0, 2.0]
    """
    masses = sorted(histograms)
    if len(masses) < 2:
        raise InputError(f"morphing needs templates at two masses or more, got {len(masses)}")
    if method not in ("vertical", "horizontal"):
        raise InputError(f"morphing is 'vertical' or 'horizontal', got '{method}'")
    edges = histograms[masses[0]].edges
    contents = []
    for mass in masses:
        if not np.array_equal(histograms[mass].edges, edges):
            raise InputError(f"the template at {mass:g} has other edges than the one at {masses[0]:g}: fill them alike")
        shares = np.maximum(_shares(histograms[mass], f"the template at {mass:g}"), FAINT)
        contents.append(tuple(map(float, shares / shares.sum())))
    return Morph(
        name, ("n_signal", "mass"), tuple(map(float, masses)), tuple(map(float, edges)), tuple(contents), method
    )
