"""Discrete profiling over background families, the envelope method (Dauncey et al., JINST 10 (2015) P04015).

Which function describes the background is a nuisance parameter without a scale: at each signal size the likeliest
family is taken, each family paying `penalty` units of -2 ln L a free parameter (1 in the paper's recommended form, 2 is
Akaike's). The envelope of the curves gives the signal, and its rise the interval: it is wider than each family's own
where they disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import chdtri

from bumpfit.errors import BumpfitError, InputError
from bumpfit.histograms import Histogram, HistogramLike, as_histogram
from bumpfit.results import Fit, Interval, Record
from bumpfit.shapes.composite import Sum, add
from bumpfit.shapes.fitting import fit
from bumpfit.shapes.prepare import enough_bins
from bumpfit.shapes.shape import Shape

REACH = 30
"""Doublings of the step with which an end of the interval is looked for before the search gives up."""

PRECISION = 1e-7
"""Precision of an end of the interval, in units of the parameter's error."""


@dataclass(frozen=True, eq=False)
class Envelope(Record):
    """Corrected -2 ln L against the number of signal events, one curve a family, and their lower envelope.

    `curves[family][i]` belongs to `points[i]` (None where the fit failed); `fits` are the free fits of all families.

    Examples:
        >>> import numpy as np
        >>> data = bumpfit.histograms.from_counts(np.linspace(100.0, 200.0, 6), [90, 61, 52, 27, 20])
        >>> families, held = [bumpfit.shapes.dijet(2), bumpfit.shapes.ua2(2)], {"mass": 150.0, "sigma": 9.0}
        >>> peak = bumpfit.shapes.gaussian()
        >>> found = bumpfit.shapes.envelope(data, families, peak, fixed=held, points=[0.0, 10.0])
        >>> list(found.curves) == [family.name for family in families]
        True
        >>> found.envelope[0] == min(curve[0] for curve in found.curves.values())
        True
    """

    points: tuple[float, ...]
    curves: dict[str, tuple[float | None, ...]]
    envelope: tuple[float | None, ...]
    family: str
    fits: dict[str, Fit]
    interval: Interval
    penalty: float


def envelope(
    histogram: HistogramLike,
    backgrounds: Sequence[Shape],
    signal: Shape,
    *,
    fixed: Mapping[str, float] | None = None,
    points: ArrayLike = (),
    penalty: float = 1.0,
    level: float = 0.6827,
) -> Envelope:
    """Signal size with the background family profiled.

    backgrounds  shapes with different names
    signal       a peak
    fixed        parameters to hold: of the signal (its mass, say), or of backgrounds; a name holds the parameter in
                 each family that has it, FAMILY.NAME in that family alone. Held parameters cost nothing
    points       numbers of signal events at which the curves are recorded (none: only the best value and the interval)
    penalty      units of -2 ln L a free parameter of a family costs
    level        confidence level of the interval

    Raises InputError for families of one name, names that no family has and families that leave no degree of freedom,
    BumpfitError when no family can be fitted or the interval has no end.

    Examples:
        >>> import numpy as np
        >>> edges = np.linspace(2000.0, 4000.0, 21)
        >>> counts = np.round(2000.0 * np.exp(-(edges[:-1] - 2000.0) / 400.0))
        >>> families = [bumpfit.shapes.dijet(2), bumpfit.shapes.ua2(2)]
        >>> held = {"mass": 3000.0, "sigma": 90.0}
        >>> data = bumpfit.histograms.from_counts(edges, counts)
        >>> found = bumpfit.shapes.envelope(data, families, bumpfit.shapes.gaussian(), fixed=held)
        >>> bool(found.interval.low < found.interval.best < found.interval.high)
        True
    """
    histogram = as_histogram(histogram)
    families = {background.name: add(background, signal) for background in backgrounds}
    if len(families) < len(backgrounds) or not families:
        raise InputError(f"an envelope needs families of different names, got {[shape.name for shape in backgrounds]}")
    held = _held_of(families, fixed or {})
    number = signal.parameters[0]
    if any(number in values for values in held.values()):
        raise InputError(f"'{number}' is fixed, so it has no envelope; leave it free")
    cost = {
        shape.name: penalty * sum(name not in held[shape.name] for name in shape.parameters) for shape in backgrounds
    }
    for name, shape in families.items():
        enough_bins(shape, int((~histogram.blinded).sum()), held[name], judged=True)
    fits = {name: fit(shape, histogram, fixed=held[name]) for name, shape in families.items()}
    working = {name: result for name, result in fits.items() if result.valid}
    if not working:
        raise BumpfitError("no family fits the spectrum: " + "; ".join(f"{n}: {r.status}" for n, r in fits.items()))
    best = min(working, key=lambda name: working[name].twice_nll + cost[name])
    lowest = working[best].twice_nll + cost[best]

    def curve(name: str, size: float) -> float | None:
        return _profiled(families[name], histogram, {**held[name], number: size}, fits[name], cost[name])

    def rise(size: float) -> float:
        values = [value for name in working if (value := curve(name, size)) is not None]
        if not values:
            raise BumpfitError(f"no family fits the spectrum with {size:g} signal events")
        return min(values) - lowest - float(chdtri(1, 1 - level))

    centre = working[best].values[number]
    step = working[best].errors[number] or max(1.0, abs(centre))
    low, high = (crossing(rise, centre, sign * step) for sign in (-1, 1))
    at = tuple(float(value) for value in np.asarray(points, dtype=np.float64))
    curves = {name: tuple(curve(name, value) for value in at) for name in families}
    lower = tuple(
        min((value for name in families if (value := curves[name][i]) is not None), default=None)
        for i in range(len(at))
    )
    interval = Interval(number, low, high, centre, level, method=f"envelope of {len(families)} families")
    return Envelope(at, curves, lower, best, fits, interval, penalty)


def crossing(rise: Callable[[float], float], centre: float, step: float) -> float:
    """Where a rising function becomes positive, on the side of `centre` that the step points to."""
    if not step:
        raise BumpfitError("the fit gives the parameter no error, so the ends of its interval cannot be looked for")
    near = centre
    for doubling in range(REACH):
        far = centre + step * 2**doubling
        if rise(far) > 0:
            return float(brentq(rise, near, far, xtol=PRECISION * abs(step)))
        near = far
    raise BumpfitError(f"the profile likelihood does not rise enough between {centre:g} and {near:g}")


def _held_of(families: Mapping[str, Sum], fixed: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The held parameters of each family; raises InputError for a name that none has."""
    held: dict[str, dict[str, float]] = {name: {} for name in families}
    for key, value in fixed.items():
        family, _, parameter = key.rpartition(".")
        chosen = [name for name, shape in families.items() if family in ("", name) and parameter in shape.parameters]
        if not chosen:
            known = "; ".join(f"{name}: {', '.join(shape.parameters)}" for name, shape in families.items())
            raise InputError(f"no family has a parameter '{key}' to hold; there are {known}")
        for name in chosen:
            held[name][parameter] = float(value)
    return held


def _profiled(shape: Sum, histogram: Histogram, held: dict[str, float], free: Fit, cost: float) -> float | None:
    """Corrected -2 ln L of one family at a signal size; started from its free fit, and afresh when that fails."""
    result = fit(shape, histogram, fixed=held, start=free.values if free.valid else None)
    if not result.valid:
        result = fit(shape, histogram, fixed=held)
    return result.twice_nll + cost if result.valid else None
