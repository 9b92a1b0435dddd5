"""A spectrum of a shape, binned or unbinned, as a `bumpfit.likelihood.Likelihood`: every question of
`bumpfit.inference` can be asked of it.

    both = shapes.add(shapes.dijet(3, reference=3500.0), shapes.tie(shapes.gaussian(), sigma=(0, 0.03)))
    spectrum = shapes.likelihood(both, histogram, fixed={"mass": 3500.0}, limits={"n_signal": (0, None)})
    inference.limit(spectrum)                       # law=toys.Toys(1000): the same from toys

With a free prefactor p0 of a dijet function (no `reference` mass) the second derivatives in the shape's own parameters
are singular to the precision of the numbers; the covariance is that of the minimiser, in whitened coordinates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.histograms import HistogramLike, fill, from_counts
from bumpfit.likelihood import Minimum, ZeroLikelihoodError, lowest, position
from bumpfit.shapes.binned import Binned, spectrum
from bumpfit.shapes.elsewhere import starts_elsewhere
from bumpfit.shapes.minimise import Ended, minimise
from bumpfit.shapes.prepare import (
    enough_bins,
    enough_events,
    given_start,
    held_parameters,
    merged_limits,
    scaled,
    starts,
    with_fixed,
)
from bumpfit.shapes.shape import Bounds, Shape, Values
from bumpfit.shapes.unbinned import Unbinned, window_of

Array = NDArray[np.float64]

FINE = 4096
"""Bins of the cumulative function from which unbinned toys are drawn."""

NARROW = 1000
"""Bins of the expected data of an unbinned spectrum; a peak of a hundredth of the window has ten in its sigma."""


@dataclasses.dataclass(frozen=True, eq=False)
class SpectrumLikelihood:
    """A shape with measured data, ranges and a start; arrays are (P,). `origin` is the first start.

    Examples:
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0, 130.0], [52, 25, 13])
        >>> bumpfit.shapes.likelihood(bumpfit.shapes.exponential(2), histogram).solve().valid
        True
    """

    shape: Shape
    measured: Binned | Unbinned
    start: Array
    origin: Array
    low: Array
    high: Array
    free: NDArray[np.bool_]
    poi: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self.shape.parameters

    @property
    def undetermined(self) -> tuple[str, ...]:
        """None is held for this."""
        return ()

    @property
    def constant(self) -> float:
        """-2 ln L is this plus twice `value`."""
        return self.measured.constant

    @property
    def limits(self) -> tuple[Bounds, ...]:
        """Ranges with None for an open end."""

        def end(bound: float) -> float | None:
            return float(bound) if np.isfinite(bound) else None

        return tuple((end(low), end(high)) for low, high in zip(self.low, self.high, strict=True))

    def value(self, x: Array) -> float:
        """-ln L relative to `constant`."""
        return self.measured.value(x)

    def slope(self, x: Array) -> Array:
        """First derivatives, shape (P,)."""
        return self.measured.slope(x)

    def curvature(self, x: Array) -> Array:
        """Second derivatives, shape (P, P): those along the axes of the shape, carried to its parameters."""
        positive = np.array(self.shape.positive)
        along = self.measured.curvature(x, np.eye(x.size))
        # d2/dp2 = (d2/du2 - d/du) / p^2 for u = ln p
        along -= np.diag(np.where(positive, x * self.slope(x), 0.0))
        units = self.shape.units(x)
        return np.asarray(along / np.outer(units, units))

    def bins(self, x: Array) -> dict[str, tuple[Array, Array]]:
        """Observed and expected counts (in units of the weight, for weighted histograms)."""
        if isinstance(self.measured, Unbinned):
            return {}
        return {"spectrum": (self.measured.numbers, self.measured.expected(x) / self.measured.data.scale)}

    def pulls(self, x: Array) -> Array:
        """There are no auxiliary measurements."""
        return np.zeros(0)

    def at(self, name: str, value: float) -> SpectrumLikelihood:
        """The same with one parameter held."""
        i = position(self, name)
        start, origin, free = self.start.copy(), self.origin.copy(), self.free.copy()
        start[i], origin[i], free[i] = value, value, False
        return dataclasses.replace(self, start=start, origin=origin, free=free)

    def within(self, name: str, low: float, high: float) -> SpectrumLikelihood:
        """The same with another range of one parameter."""
        i = position(self, name)
        lows, highs, start, origin = self.low.copy(), self.high.copy(), self.start.copy(), self.origin.copy()
        lows[i], highs[i] = low, high
        if self.free[i]:
            start[i], origin[i] = np.clip(start[i], low, high), np.clip(origin[i], low, high)
        return dataclasses.replace(self, low=lows, high=highs, start=start, origin=origin)

    def begin(self, x: Array) -> SpectrumLikelihood:
        """The same with another start; held parameters keep their value."""
        return dataclasses.replace(self, start=np.where(self.free, x, self.start))

    def descend(self, start: Array) -> Ended:
        """The minimum below one start."""
        return self._descend(start, np.zeros_like(self.free))

    def _descend(self, start: Array, idle: NDArray[np.bool_]) -> Ended:
        return minimise(self.shape, self.measured, start, ~self.free | idle, self.limits)

    def _idle(self, x: Array) -> NDArray[np.bool_]:
        """Free parameters that change no expectation, (P,), as mass and width of a peak of no size."""
        if x.all():
            return np.zeros_like(self.free)
        return np.asarray(self.free & (np.diag(self.measured.information(x, self.shape.units(x))) == 0))

    def _below(self, start: Array) -> Minimum:
        """The minimum below one start, in which idle parameters stay where they are."""
        idle = self._idle(start)
        ended = self._descend(start, idle)
        if not np.array_equal(self._idle(ended.values), idle):
            ended = self.descend(start) if idle.any() else ended
            idle = self._idle(ended.values)
            if ended.problems and idle.any():
                ended = self._descend(ended.values, idle)
                idle = self._idle(ended.values)
        return _minimum(ended, tuple(np.array(self.names)[idle].tolist()))

    def nearest(self) -> Minimum:
        """The minimum below the start, or, where that fails, the lowest."""
        found = self._below(self.start)
        return found if found.valid and np.isfinite(found.value) else self.solve()

    def solve(self) -> Minimum:
        """The lowest minimum below the start, the first start and, for a peak of free mass, starts at other masses."""
        begins = [self.start] if np.array_equal(self.start, self.origin) else [self.start, self.origin]
        begins += self._elsewhere()
        found = lowest(self._below(begin) for begin in begins)
        if found is None:
            raise ZeroLikelihoodError(
                f"{self.shape.name}: the likelihood is zero at every start of the fit; check start values and ranges"
            )
        return found

    def _elsewhere(self) -> list[Array]:
        """Starts with the peak at other masses; none where its mass is held or may be anything, or without a peak."""
        if self.poi is None or "mass" not in self.names:
            return []
        size, mass = position(self, self.poi), position(self, "mass")
        held = not self.free[size]
        none_possible = self.start[size] != 0 if held else self.low[size] <= 0 <= self.high[size]
        bounded = np.isfinite([self.low[mass], self.high[mass]]).all()
        if not (none_possible and bounded and self.free[mass]):
            return []
        null = self.at(self.poi, 0.0)
        found = null._below(null.start)
        idle = null._idle(found.x)
        if not (found.valid and idle[mass]):
            return []
        low, high = self.low.copy(), self.high.copy()
        if held:
            low[size] = high[size] = self.start[size]
        background = null.free & ~idle
        return starts_elsewhere(self._in_bins(), found.x, background, size, mass, (low, high))

    def _in_bins(self) -> Binned:
        """The data; unbinned ones in `NARROW` bins of equal width."""
        measured = self.measured
        if isinstance(measured, Binned):
            return measured
        low, high = measured.window
        edges = np.linspace(low, high, NARROW + 1)
        return Binned(self.shape, spectrum(fill(measured.points, edges)))

    def asimov(self, x: Array) -> SpectrumLikelihood:
        """The same with every count equal to its expectation, that of unbinned data in `NARROW` bins of equal width.

        Raises InputError where a count would be negative.
        """
        measured = self.measured
        if isinstance(measured, Unbinned):
            low, high = measured.window
            edges = np.linspace(low, high, NARROW + 1)
            measured = Binned(self.shape, spectrum(from_counts(edges, np.ones(NARROW))))
        expected = measured.expected(x)
        if (expected < 0).any():
            raise InputError("the expected data have negative counts")
        return self._with(Binned(self.shape, dataclasses.replace(measured.data, counts=expected)), x)

    def throw(self, x: Array, generator: np.random.Generator) -> SpectrumLikelihood:
        """The same with drawn data: Poisson counts (of the scale, for weighted bins), or a Poisson number of masses."""
        if isinstance(self.measured, Binned):
            data = self.measured.data
            mean = np.maximum(self.measured.expected(x), 0.0) / data.scale
            counts = generator.poisson(mean) * data.scale
            return self._with(Binned(self.shape, dataclasses.replace(data, counts=counts)), x)
        low, high = self.measured.window
        edges = np.linspace(low, high, FINE + 1)
        below = np.append(0.0, np.cumsum(np.maximum(self.shape.integrate(edges, x), 0.0)))
        places = generator.random(generator.poisson(below[-1])) * below[-1]
        return self._with(Unbinned(self.shape, np.interp(places, below, edges), self.measured.window), x)

    def events(self, name: str, x: Array) -> float:
        """(sum |r'|)^2 / sum(r'^2 / r) over bins; NaN for unbinned data."""
        if isinstance(self.measured, Unbinned):
            return float("nan")
        slope = self.measured.gradient(x)[:, position(self, name)]
        rate = self.measured.expected(x) / self.measured.data.scale
        felt = (slope != 0) & (rate > 0)
        if not felt.any():
            return float("nan")
        slope, rate = slope[felt] / self.measured.data.scale[felt], rate[felt]
        return float(np.abs(slope).sum() ** 2 / np.sum(slope**2 / rate))

    def _with(self, measured: Binned | Unbinned, x: Array) -> SpectrumLikelihood:
        held = np.where(self.free, x, self.start)
        return dataclasses.replace(self, measured=measured, start=held, origin=held)


def _minimum(ended: Ended, idle: tuple[str, ...]) -> Minimum:
    return Minimum(
        x=ended.values,
        value=ended.value,
        edm=float("inf") if ended.edm is None else ended.edm,
        iterations=ended.steps,
        evaluations=ended.evaluations,
        valid=not ended.problems,
        attempts=(*ended.attempts, *ended.problems),
        covariance=ended.covariance,
        idle=idle,
    )


def likelihood(
    shape: Shape,
    histogram: HistogramLike,
    *,
    start: Values | None = None,
    fixed: Mapping[str, float] | None = None,
    limits: Mapping[str, Bounds] | None = None,
    poi: str | None = None,
) -> SpectrumLikelihood:
    """Likelihood of a histogram; arguments as for `shapes.fit`. `poi`: parameter of interest (default: n_signal, where
    the shape has one).

    Examples:
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0, 130.0], [52, 25, 13])
        >>> bumpfit.shapes.likelihood(bumpfit.shapes.exponential(2), histogram).names
        ('p0', 'p1')
    """
    data = spectrum(histogram)
    fixed = dict(fixed or {})
    held = held_parameters(shape, fixed)
    enough_bins(shape, data.counts.size, fixed)
    values = starts(shape, data, fixed) if start is None else given_start(shape, start, held)
    values = with_fixed(shape, values, fixed)
    binned = Binned(shape, data)
    if start is not None:
        values = scaled(binned, values, held)
    return _likelihood(shape, binned, values, held, merged_limits(shape, data.edges, limits or {}), poi)


def unbinned_likelihood(
    shape: Shape,
    masses: ArrayLike,
    low: float,
    high: float,
    *,
    start: Values | None = None,
    fixed: Mapping[str, float] | None = None,
    limits: Mapping[str, Bounds] | None = None,
    poi: str | None = None,
) -> SpectrumLikelihood:
    """Extended likelihood of masses between `low` and `high`; arguments as for `shapes.fit_unbinned`.

    Examples:
        >>> shape = bumpfit.shapes.bernstein(2, 0.0, 10.0)
        >>> bumpfit.shapes.unbinned_likelihood(shape, [2.0, 3.0, 7.0, 9.0], 0.0, 10.0).names
        ('c0', 'c1')
    """
    inside, window = window_of(masses, low, high)
    fixed = dict(fixed or {})
    held = held_parameters(shape, fixed)
    edges = enough_events(inside, window, int((~held).sum()))
    if start is None:
        point = starts(shape, spectrum(fill(inside, edges)), fixed)
    else:
        point = given_start(shape, start, held)
    ends = merged_limits(shape, edges, limits or {})
    return _likelihood(shape, Unbinned(shape, inside, window), with_fixed(shape, point, fixed), held, ends, poi)


def _likelihood(
    shape: Shape,
    measured: Binned | Unbinned,
    values: Array,
    held: NDArray[np.bool_],
    limits: tuple[Bounds, ...],
    poi: str | None,
) -> SpectrumLikelihood:
    if poi is None and "n_signal" in shape.parameters:
        poi = "n_signal"
    low, high = np.array([[-np.inf if a is None else a, np.inf if b is None else b] for a, b in limits]).T
    made = SpectrumLikelihood(shape, measured, values, values, low, high, ~held, poi)
    if poi is not None:
        position(made, poi)
    return made
