"""A peak in a spectrum with the family of the background profiled (Dauncey et al., JINST 10 (2015) P04015).

Which function describes the background is one more nuisance parameter: at each number of signal events the likeliest
family counts, each paying `penalty` units of -2 ln L a free parameter (`shapes.envelope`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from numpy.typing import ArrayLike

from bumpfit.errors import BumpfitError, InputError
from bumpfit.histograms import HistogramLike, as_histogram
from bumpfit.inference.spectra import ORDERS, Peak, functions, masses_of
from bumpfit.normal import upper_tail
from bumpfit.progress import bar
from bumpfit.results import Interval, Record
from bumpfit.shapes import Envelope, LogLinear, Shape, envelope, order_by_f_test


@dataclasses.dataclass(frozen=True, eq=False)
class PeakEnvelope(Record):
    """A peak at one mass: the number of its events with an interval, the likeliest family, and the test of no peak
    against more events than none: q0 of the envelope (0 for a deficit), asymptotic p and z.
    """

    mass: float
    interval: Interval
    family: str
    q0: float
    p: float
    z: float
    envelope: Envelope


@dataclasses.dataclass(frozen=True, eq=False)
class EnvelopeScan(Record):
    """Peaks at several masses over the same families; `functions` are their names, with the number of parameters."""

    functions: tuple[str, ...]
    peaks: tuple[PeakEnvelope, ...]
    penalty: float
    level: float

    @property
    def best(self) -> PeakEnvelope:
        """The one with the largest q0."""
        return max(self.peaks, key=lambda peak: peak.q0)


def functions_of(
    histogram: HistogramLike, families: Sequence[str], *, order: int | None = None, sqrt_s: float = 13000.0
) -> list[LogLinear]:
    """One function of each family for a spectrum, with `order` parameters or as many as its F-test chooses.

    Raises InputError for fewer than two families, unknown or repeated ones, BumpfitError where none can be fitted.
    """
    if len(families) < 2 or len(set(families)) < len(families):
        raise InputError(f"an envelope needs two or more different families, got {', '.join(families) or 'none'}")
    histogram = as_histogram(histogram)
    found = []
    for family in families:
        made = functions(family, histogram.edges, sqrt_s)
        shape = made(order) if order is not None else order_by_f_test(histogram, made, ORDERS).shape
        assert isinstance(shape, LogLinear)
        found.append(shape)
    return found


def scan_envelope(
    histogram: HistogramLike,
    shapes: Sequence[Shape],
    peak: Peak,
    *,
    masses: ArrayLike | None = None,
    penalty: float = 1.0,
    level: float = 0.6827,
    points: int = 0,
) -> EnvelopeScan:
    """The number of signal events at each mass with the background function profiled.

    shapes    background functions of different names (`functions_of`)
    masses    where a peak is looked for, by default one width apart
    penalty   units of -2 ln L a free parameter of a function costs
    level     confidence level of the intervals
    points    how many numbers of events the curves of the most significant mass are recorded at, besides none

    Raises InputError for masses outside and a negative penalty, BumpfitError where no function can be fitted.
    """
    if points == 1 or points < 0:
        raise InputError(f"curves need two or more points, got {points}")
    if not (math.isfinite(penalty) and penalty >= 0):
        raise InputError(f"the penalty of a parameter must be 0 or more, got {penalty:g}")
    histogram = as_histogram(histogram)
    fixed = [{"mass": mass} for mass in masses_of(histogram.edges, peak, masses)]
    asked = {"penalty": penalty, "level": level}
    found = []
    with bar("masses", len(fixed)) as advance:
        for held in fixed:
            found.append(_tested(envelope(histogram, shapes, peak.shape(), fixed=held, points=[0.0], **asked), **held))
            advance(1)
    if points:
        best = max(range(len(found)), key=lambda i: found[i].q0)
        at = _around(found[best].interval, points)
        curves = envelope(histogram, shapes, peak.shape(), fixed=fixed[best], points=at, **asked)
        found[best] = dataclasses.replace(found[best], envelope=curves)
    return EnvelopeScan(tuple(shape.name for shape in shapes), tuple(found), penalty, level)


def _tested(found: Envelope, mass: float) -> PeakEnvelope:
    """q0 of the envelope, whose first point is no signal."""
    fit, none = found.fits[found.family], found.envelope[0]
    if none is None:
        raise BumpfitError(f"no family fits the spectrum without a peak at {mass:g}")
    least = fit.twice_nll + found.penalty * (len(fit.parameters) - len(fit.fixed) - 1)
    q0 = max(none - least, 0.0) if found.interval.best > 0 else 0.0
    return PeakEnvelope(mass, found.interval, found.family, q0, upper_tail(math.sqrt(q0)), math.sqrt(q0), found)


def _around(interval: Interval, points: int) -> list[float]:
    """Numbers of events two and a half times as far as the ends of an interval, and none."""
    ends = [end for end in (interval.low, interval.high) if end is not None]
    low, high = (interval.best + 2.5 * (end - interval.best) for end in (min(ends), max(ends)))
    low, high = min(low, 0.0), max(high, 0.0)
    return sorted({0.0, interval.best, *(low + (high - low) * i / (points - 1) for i in range(points))})
