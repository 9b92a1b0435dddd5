"""Signal events before any selection, where it is not known how many of them a selection keeps.

The scores of a classifier that learned from the data do not tell which part of a signal it has not learned. The m_JJ
spectrum of all events has that part, too: the yield of a peak at the mass that the best selection shows, and no fewer
events than are seen in it. With a background table the expectation of each bin is free and measured by the table, up to
one ratio of the two tables, which is free as well,

    n_i ~ Poisson(b_i + N s_i),  m_i ~ Poisson(tau b_i),

so that no function of the mass is assumed. s is the dijet mass of the library's decays, whatever the features; -2 ln L
is profiled in all b_i (closed form) and in tau.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from bumpfit.histograms import mass_edges
from bumpfit.inference.counting import profile_on_off
from bumpfit.search.findings import Origin, SignalEvents
from bumpfit.search.surrogate import resonance_shape
from bumpfit.search.two_sample import SelectionResult

Array = NDArray[np.float64]

ONE_SIDED = 1.645
"""Errors above a value at a one-sided 95 % limit."""

LIMIT = ONE_SIDED**2
"""-2 ln L above its minimum there."""

POINTS = 40
"""Numbers of signal events at which a profile is computed; between them it is interpolated."""

FACTOR, STEPS = 3.0, 28
"""The ratio of the tables is looked for within this factor of that of all events, to 2e-6 in so many steps."""


class Estimate(NamedTuple):
    """A number of signal events with its 68.27 % interval and 95 % upper limit."""

    value: float
    low: float
    high: float
    limit: float

    @classmethod
    def gaussian(cls, value: float, error: float, limit: float | None = None) -> Estimate:
        """From a value and a symmetric error, which tell the limit where it is not given."""
        return cls(value, value - error, value + error, value + ONE_SIDED * error if limit is None else limit)

    @classmethod
    def seen(cls, best: SelectionResult) -> Estimate:
        """The excess of a selection over the table."""
        error = float(np.hypot(np.sqrt(best.n_data), best.background_error))
        return cls.gaussian(best.n_data - best.n_background_expected, error)


def read_profile(numbers: Array, curve: Array) -> Estimate:
    """Best number, interval and limit from -2 ln L, (K,), at numbers of events that are spaced like squares."""
    fine = np.linspace(0.0, numbers[-1], 40 * POINTS)
    line = CubicSpline(np.sqrt(numbers), curve)(np.sqrt(fine))
    line -= line.min()
    best = int(np.argmin(line))
    inside = np.flatnonzero(line <= 1.0)
    below = np.flatnonzero(line[best:] <= LIMIT)[-1] + best
    return Estimate(*(float(fine[k]) for k in (best, inside[0], inside[-1], below)))


def peak_yield(masses: tuple[Array, Array], mass: float, resolution: float) -> tuple[Estimate, float]:
    """Events of a resonance in the data, and -2 ln L of none above the best.

    Args:
        masses: m_JJ of data (N,) and background table (M,) in GeV.
        mass: of the peak, in GeV; resolution: relative, two bins wide.
    """
    low = min(float(m.min()) for m in masses)
    high = float(np.nextafter(max(float(m.max()) for m in masses), np.inf))
    edges = mass_edges(low, high, resolution=resolution, bins_per_resolution=2.0, minimum_bins=12)
    edges[-1] = high
    n, m = (np.histogram(each, edges)[0].astype(np.float64) for each in masses)
    shape = resonance_shape(mass, edges) + 1e-9
    shape /= shape.sum()
    share = len(masses[1]) / len(masses[0])
    reach = 4.0 * np.sqrt(n.sum() * (1 + 1 / share)) + 10.0
    while True:
        numbers = np.linspace(0.0, np.sqrt(reach), POINTS) ** 2
        curve = _profiled(n, m, share, numbers[:, None] * shape)
        if curve[-1] > curve.min() + 2 * LIMIT:
            return read_profile(numbers, curve), float(curve[0] - curve.min())
        reach *= 2


def _profiled(n: Array, m: Array, share: float, signal: Array) -> Array:
    """-2 ln L at the best ratio of the tables for each of these signals, shape (..., B), by golden sections."""

    def at(log_ratio: Array) -> Array:
        twice_nll, _ = profile_on_off(n, m, share * np.exp(log_ratio)[..., None], signal)
        return np.asarray(twice_nll.sum(axis=-1))

    low, high = (np.full(signal.shape[:-1], sign * np.log(FACTOR)) for sign in (-1.0, 1.0))
    part = (np.sqrt(5.0) - 1) / 2
    a, b = high - part * (high - low), low + part * (high - low)
    of_a, of_b = at(a), at(b)
    for _ in range(STEPS):
        left = of_a < of_b
        low, high = np.where(left, low, a), np.where(left, b, high)
        new = np.where(left, high - part * (high - low), low + part * (high - low))
        of_new = at(new)
        a, b = np.where(left, new, b), np.where(left, a, new)
        of_a, of_b = np.where(left, of_new, of_b), np.where(left, of_a, of_new)
    return np.minimum(of_a, of_b)


def before_selection(
    whole: Estimate, seen: Estimate, origin: Origin, *, significant: bool
) -> tuple[SignalEvents, float]:
    """Yield and 95 % limit from the spectrum of all events, `whole`, and from those of a selection.

    The low end is at none where nothing is `significant`: where the global significance is below one, as it is in 84 %
    of tables without signal.
    """
    value = max(whole.value, seen.value, 0.0)
    low = max(whole.low, seen.low, 0.0) if significant else 0.0
    high = max(whole.high, seen.high)
    return SignalEvents(value, value - min(low, value), high - value, origin), max(whole.limit, seen.limit)
