"""Poisson likelihood of a shape in the bins of a histogram."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from bumpfit.errors import InputError
from bumpfit.foreign_histograms import check_errors
from bumpfit.histograms import HistogramLike, as_histogram
from bumpfit.poisson import deviance
from bumpfit.shapes.shape import Shape

Array = NDArray[np.float64]

FLOOR = 1e-9
"""Events a bin below which ln(expected) goes on as a parabola in a bin with events, so that MIGRAD can come back from
negative contents. A fit that ends there is not valid."""

SOFT = 0.1
"""Events below none at which a bin without events costs half a unit of -ln L while MIGRAD descends, so that it stays
near the wall. The minimum itself is found with a hard wall (`settle.along_walls`)."""

VIRTUAL_FLOOR = 1e-3
"""The same for a bin with virtual events, in units of them: the minimum lies above where -ln L falls by less than the
inverse of this an event towards the wall."""

LARGE = 1e6
"""Counts from which ln n! - n ln n + n is taken from Stirling's series (to 1e-20), as it would lose its digits."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The bins of a histogram that a fit sees (`seen`, all but the blinded ones), their counts and their scale.

    `scale` is variance / count for weighted events (Bohm and Zech, NIM A 748 (2014) 1): n / scale is taken as a Poisson
    number with mean mu / scale. It is 1 for plain events. A bin without events has the scale of the nearest filled bins
    on both sides, sum of variances over sum of counts: weights vary over a histogram by orders of magnitude.
    """

    edges: Array
    seen: NDArray[np.bool_]
    counts: Array
    scale: Array


def spectrum(histogram: HistogramLike) -> Spectrum:
    """What a fit needs of a histogram; raises InputError when there is nothing to fit, counts are negative, or bins
    with contents have a variance of 0.
    """
    histogram = as_histogram(histogram)
    counts, variances = histogram.counts, histogram.variances
    seen = ~histogram.blinded
    if not seen.any():
        raise InputError("cannot fit: every bin of the histogram is blinded")
    counts, variances = counts[seen], variances[seen]
    if (counts < 0).any():
        raise InputError(f"cannot fit: {int((counts < 0).sum())} bins have negative contents; merge bins")
    if not counts.sum() > 0:
        raise InputError("cannot fit: the histogram holds no events")
    check_errors(counts, variances)
    scale = _local_scale(counts, variances) if histogram.weighted else np.ones_like(counts)
    return Spectrum(histogram.edges, seen, counts, scale)


def _local_scale(counts: Array, variances: Array) -> Array:
    """Variance over count, and where there are no events that of the nearest filled bins on both sides, shape (B,)."""
    filled = np.flatnonzero((counts > 0) & (variances > 0))
    if not filled.size:
        raise InputError("cannot fit: no bin of the weighted histogram has a count and a variance")
    bins = np.arange(counts.size)
    after = np.searchsorted(filled, bins)
    left = filled[np.maximum(np.where(np.isin(bins, filled), after, after - 1), 0)]
    right = filled[np.minimum(after, filled.size - 1)]
    return np.asarray((variances[left] + variances[right]) / (counts[left] + counts[right]))


@dataclass(frozen=True, eq=False)
class Binned:
    """Poisson likelihood of a shape in the bins of a spectrum; `virtual` events stand for none in empty bins."""

    shape: Shape
    data: Spectrum
    virtual: float = 0.0

    @property
    def numbers(self) -> Array:
        """Counts in units of the scale, the Poisson numbers, shape (B,)."""
        numbers = self.data.counts / self.data.scale
        return np.where(numbers > 0, numbers, self.virtual)

    @property
    def constant(self) -> float:
        """-2 ln L is this plus twice `value`: that of the saturated model, with ln n! as in pyhf."""
        n = self.data.counts / self.data.scale
        safe = np.where(n > LARGE, n, 1.0)
        stirling = 0.5 * np.log(2 * np.pi * safe) + 1 / (12 * safe) - 1 / (360 * safe**3)
        few = np.where((n > 0) & (n <= LARGE), n, 1.0)
        exact = np.where(n > 0, few - few * np.log(few) + gammaln(few + 1), 0.0)
        return float(2 * np.sum(np.where(n > LARGE, stirling, exact)))

    def expected(self, values: Array) -> Array:
        """Events in the seen bins, shape (B,)."""
        return self.shape.integrate(self.data.edges, values)[self.data.seen]

    def gradient(self, values: Array) -> Array:
        """Derivatives of `expected`, shape (B, P)."""
        return self.shape.gradient(self.data.edges, values)[self.data.seen]

    def value(self, values: Array) -> float:
        """-ln L relative to the saturated model; inf where a bin expects less than none, or none where events are."""
        value = 0.5 * float(np.sum(deviance(self.numbers, self.expected(values) / self.data.scale)))
        return value if np.isfinite(value) else np.inf

    def slope(self, values: Array) -> Array:
        """Derivatives of -ln L, shape (P,)."""
        mean = self.expected(values) / self.data.scale
        per_event = np.where(self.numbers > 0, (mean - self.numbers) / np.where(mean > 0, mean, np.inf), 1.0)
        return np.asarray(per_event / self.data.scale @ self.gradient(values))

    def soft(self, values: Array) -> float:
        """-ln L with ln(expected) continued as a parabola below `FLOOR`, and a soft wall where there are no events."""
        n, mean, safe, short = self._soft(values)
        beyond = np.where(n > 0, -n * (short - 0.5 * short**2), 0.5 * short**2)
        return float(np.sum(0.5 * deviance(n, safe) + (mean - safe) + beyond))

    def soft_slope(self, values: Array) -> Array:
        """Derivatives of `soft`, shape (P,)."""
        n, _, safe, short = self._soft(values)
        per_event = np.where(n > 0, (safe - n * (1 - short)) / np.where(safe > 0, safe, 1.0), 1 + short / SOFT)
        return np.asarray(per_event / self.data.scale @ self.gradient(values))

    def _soft(self, values: Array) -> tuple[Array, Array, Array, Array]:
        """Numbers, their means, the means not below the floor, and how far below they are in units of it."""
        n, mean = self.numbers, self.expected(values) / self.data.scale
        floor = np.where(self.data.counts > 0, FLOOR, VIRTUAL_FLOOR * self.virtual)
        safe = np.maximum(mean, floor)
        return n, mean, safe, (mean - safe) / np.where(floor > 0, floor, SOFT)

    def curvature(self, values: Array, directions: Array) -> Array:
        """Exact second derivatives of -ln L along directions, shape (Z, Z)."""
        n, mean = self.numbers, self.expected(values) / self.data.scale
        safe = np.where(mean > 0, mean, np.inf)
        along = (self.gradient(values) * self.shape.units(values)) @ directions
        first = along * (np.sqrt(n) / safe / self.data.scale)[:, None]
        weights = np.zeros(self.data.seen.size)
        weights[self.data.seen] = np.where(n > 0, (mean - n) / safe, 1.0) / self.data.scale
        return np.asarray(first.T @ first) + self.shape.curvature(self.data.edges, values, weights, directions)

    def information(self, values: Array, units: Array) -> Array:
        """Fisher information for the parameters in the given units, shape (P, P)."""
        jacobian = self.gradient(values) * units
        expected = np.maximum(self.expected(values), FLOOR)
        return np.asarray((jacobian / (expected * self.data.scale)[:, None]).T @ jacobian)

    def empty(self, values: Array) -> tuple[Array, Array]:
        """Expectation of the bins without events, (K,), and its derivatives, (K, P).

        Bins where no value of the parameters expects anything are left out.
        """
        without = self.data.counts == 0
        slopes = self.gradient(values)[without] / self.data.scale[without, None]
        felt = slopes.any(axis=1)
        return (self.expected(values) / self.data.scale)[without][felt], slopes[felt]

    def with_events(self, events: float) -> Binned:
        """The same with this many events in each empty bin."""
        return replace(self, virtual=events)

    def problems(self, values: Array) -> list[str]:
        """Bins with negative expectation, and bins with data and none."""
        expected = self.expected(values)
        short = (expected < 0) | ((expected < FLOOR * self.data.scale) & (self.data.counts > 0))
        return [f"the fit expects no or negative events in {int(short.sum())} bins"] if short.any() else []
