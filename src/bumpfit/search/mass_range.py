"""Where a mass spectrum follows a dijet function: the range that is fitted, found without cutting a peak away.

A turn-on at low masses is cut off: the low edge climbs until the function describes what lies above it, and falls. A
peak is no reason to climb. Where the fit is bad, or rises, the region of the largest excess is left out of it (three
resolutions on each side), then that of the next one, too, and when the function describes the rest, and goes on doing
so for the next edges with the excesses at the same masses, the range is as smooth as without the peaks. What a turn-on
leaves moves with the edge, a peak does not.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from bumpfit import toys
from bumpfit.errors import BumpfitError, InputError
from bumpfit.histograms import Histogram, fill, mass_edges
from bumpfit.results import Fit, Record
from bumpfit.search.falling import peaks_by_itself
from bumpfit.shapes import LogLinear, Shape, dijet, gaussian
from bumpfit.shapes.order import Order, likelihood_chi2, order_by_f_test

Array = NDArray[np.float64]

LEAST = 1e-12
"""Smallest background expectation of a bin: far tails of the function underflow."""

PEAKS = 2
"""Excesses that are left out at most where a range is judged."""

PASSES = 2
"""Times the last excess is looked for: the second time over the background without it."""


@dataclasses.dataclass(frozen=True)
class SpectrumSettings:
    """How the spectrum is binned, fitted and scanned.

    `low`, `high`: ends of the range in GeV (0: found from the spectrum); `resolution`: sigma / mass of a narrow
    resonance, also the width of the bins; `orders`: parameters of the dijet function that the F-test chooses among;
    `min_events`: events that a spectrum needs; `per_sigma`: scan points per resolution; `sidebands`: largest factor by
    which the free background may inflate the error of the yield - beyond it the spectrum has no sidebands; `smooth_p`:
    goodness of fit that a spectrum must reach above the low edge, and above the next `settle` edges; `least_p`: what it
    must reach where none reaches that within `far` bins, as a fluctuation far from the edge stays whatever the edge is;
    `left_out`:
    resolutions on each side of the largest excess that are left out where the fit is judged without it; `drift`:
    resolutions that this excess may move from edge to edge; `above`: events above the high edge; `permutations`: deals
    of the labels where data and background table are fitted together; `measured`: local significance from which the
    mass of an excess is measured.
    """

    low: float = 0.0
    high: float = 0.0
    resolution: float = 0.03
    orders: tuple[int, ...] = (2, 3, 4, 5)
    min_events: int = 100
    per_sigma: float = 1.0
    sidebands: float = 2.0
    smooth_p: float = 0.05
    least_p: float = 0.002
    settle: int = 3
    far: int = 6
    left_out: float = 3.0
    drift: float = 1.5
    above: int = 10
    permutations: int = 2000
    measured: float = 2.0


@dataclasses.dataclass(frozen=True)
class MassRange(Record):
    """The range that is fitted, in GeV.

    `below` and `above`: events outside of it; `peaks`: the excesses that were left out of the judgement, the largest
    first; `smooth`: the function describes the range (False: no edge was found, the range starts at the mode); `given`:
    the user gave an end.
    """

    low: float
    high: float
    below: int
    above: int
    peaks: tuple[float, ...] = ()
    smooth: bool = True
    given: bool = False


def smooth_range(mass: Array, settings: SpectrumSettings = SpectrumSettings()) -> tuple[float, float]:
    """Ends of `mass_range` in GeV."""
    found = mass_range(mass, settings)
    return found.low, found.high


def mass_range(mass: Array, settings: SpectrumSettings = SpectrumSettings()) -> MassRange:
    """The range in which masses (GeV, shape (N,)) follow a dijet function, but for a peak.

    The high edge leaves `above` events above it. The low edge climbs, bin by bin from the mode, until the fit has
    reached `smooth_p` from `settle` edges before it as well: a turn-on that a flexible function can just follow still
    makes false peaks next to it, so the range starts at the last of these edges. A spectrum that is smooth from its
    lowest mass on is taken whole. Where no edge has reached `smooth_p`, or only `far` bins above one that has reached
    `least_p`, the latter is taken: what a turn-on leaves is gone after a few bins. Ends that the settings give are
    taken as they are.
    """
    ordered = np.sort(mass)
    high = float(ordered[-min(settings.above, len(ordered))]) if not settings.high else settings.high
    if settings.low:
        edges = mass_edges(settings.low, high, resolution=settings.resolution, minimum_bins=12)
        peaks = _judged(fill(ordered, edges, name="m_JJ"), dataclasses.replace(settings, smooth_p=settings.least_p))
        return dataclasses.replace(
            _range(ordered, settings.low, high, peaks or (), given=True), smooth=peaks is not None
        )
    given = bool(settings.high)
    edges = mass_edges(float(ordered[0]), high, resolution=settings.resolution)
    counts = np.histogram(ordered, edges)[0]
    first = _mode(counts / np.diff(edges))

    def climbed(goal: float) -> MassRange | None:
        return _climbed(ordered, edges, first, dataclasses.replace(settings, smooth_p=goal), given=given)

    found = climbed(settings.smooth_p)
    far = (1 + settings.resolution) ** settings.far
    if found is None or found.low > float(edges[first]) * far:  # no range begins below the first edge
        looser = climbed(settings.least_p)
        if found is None or (looser is not None and found.low > looser.low * far):
            found = looser
    if found is not None:
        return found
    return dataclasses.replace(_range(ordered, float(edges[first]), high, given=given), smooth=False)


def _climbed(ordered: Array, edges: Array, first: int, settings: SpectrumSettings, *, given: bool) -> MassRange | None:
    """The range whose low edge has climbed from the first one until the function describes it; None at the end."""
    passed, high = 0, float(edges[-1])
    before: tuple[float, ...] = ()
    begun = first
    for start in range(first, max(first + 1, len(edges) - 9)):
        peaks = _judged(fill(ordered, edges[start:], name="m_JJ"), settings)
        if peaks is None:
            passed, before = 0, ()
            continue
        passed = 1 if _moved(before, peaks, settings) else passed + 1
        begun = start if passed == 1 else begun
        before = peaks or before
        if start == 0 and not peaks:
            return _range(ordered, float(edges[0]), high, given=given)
        if passed > settings.settle:
            low = float(edges[0 if begun == 0 else start])
            return _range(ordered, low, high, before, given=given)
    return None


def _moved(before: tuple[float, ...], now: tuple[float, ...], settings: SpectrumSettings) -> bool:
    """Whether an excess of one edge is not where those of the edge before are, which may be one more or less."""
    few, many = sorted((before, now), key=len)
    near = settings.drift * settings.resolution
    return any(min(abs(np.log(one / other)) for other in many) > near for one in few)


def _range(ordered: Array, low: float, high: float, peaks: tuple[float, ...] = (), *, given: bool = False) -> MassRange:
    below, above = np.searchsorted(ordered, [low, high])
    return MassRange(low, high, int(below), int(len(ordered) - above), peaks, True, given)


def _mode(density: Array) -> int:
    """Bin of the largest density, with peaks of a few bins taken off by a running median."""
    reach = 3
    smoothed = [np.median(density[max(0, k - reach) : k + reach + 1]) for k in range(density.size)]
    return int(np.argmax(smoothed))


def _judged(histogram: Histogram, settings: SpectrumSettings) -> tuple[float, ...] | None:
    """The masses of the peaks that had to be left out for a dijet function that falls to describe a spectrum.

    None where it does not. Three parameters have a maximum, which follows a turn-on: such a range begins too low.
    """
    try:
        order = choose(histogram, settings)
        if goodness(histogram, order)[1] > settings.smooth_p and _falls(histogram, order):
            return ()
        found: tuple[float, ...] = ()
        for _ in range(PEAKS):
            seen, before = _without(histogram, found, settings), found
            for _ in range(PASSES):
                peak = _largest_excess(seen, order, settings)
                if peak is None:
                    return None
                found = (*before, peak)
                hidden = _without(histogram, found, settings)
                order = choose(hidden, settings)
                if goodness(hidden, order)[1] > settings.smooth_p and _falls(hidden, order):
                    return found
    except (BumpfitError, InputError):
        pass  # a spectrum that cannot be judged is not smooth
    return None


def _without(histogram: Histogram, peaks: tuple[float, ...], settings: SpectrumSettings) -> Histogram:
    width = settings.left_out * settings.resolution
    for peak in peaks:
        histogram = histogram.blind(peak * (1 - width), peak * (1 + width))
    return histogram


def _falls(histogram: Histogram, order: Order) -> bool:
    return not peaks_by_itself(order.shape.integrate(histogram.edges, order.fit.values), histogram.edges)


def _largest_excess(histogram: Histogram, order: Order, settings: SpectrumSettings) -> float | None:
    """Mass of the largest q0 over the background of the fit, of those with bins on both sides when it is left out."""
    masses, signals = scan_points(histogram.edges, settings)
    width, edges = settings.left_out * settings.resolution, histogram.edges
    seen = ~histogram.blinded
    inside = (masses * (1 - width) >= edges[settings.settle]) & (masses * (1 + width) <= edges[-3])
    inside &= seen[np.clip(np.searchsorted(edges, masses, side="right") - 1, 0, len(seen) - 1)]
    if not inside.any():
        return None
    masses, signals = masses[inside], signals[inside]
    model = fitted_around(histogram, order.shape, order.fit, signals)
    found = toys.engine(model).fit_data(histogram.counts[None, seen])
    return float(masses[int(np.nanargmax(found.statistic[0]))])


def choose(histogram: Histogram, settings: SpectrumSettings) -> Order:
    """The dijet function that the F-test chooses; a reference mass inside the spectrum keeps the prefactor finite."""
    middle = float(np.sqrt(histogram.edges[0] * histogram.edges[-1]))
    return order_by_f_test(histogram, lambda n: dijet(n, reference=middle), orders=settings.orders)


def goodness(histogram: Histogram, order: Order) -> tuple[float, float]:
    """Likelihood chi2 of the background-only fit in bins of at least 5 events, and its probability.

    Raises BumpfitError where bins are too few.
    """
    return goodness_of(histogram, order.shape.integrate(histogram.edges, order.fit.values), order.n_parameters)


def goodness_of(histogram: Histogram, expected: Array, n_parameters: int) -> tuple[float, float]:
    """`goodness` of a fit that expects so many events in the bins, (B,), by so many parameters."""
    merged = histogram.merge_until(5)
    seen = ~merged.blinded
    summed = np.add.reduceat(expected, np.searchsorted(histogram.edges, merged.edges[:-1]))
    value = float(likelihood_chi2(merged.counts[seen], summed[seen]))
    freedom = int(seen.sum()) - n_parameters
    if freedom < 1:
        raise BumpfitError(
            f"a spectrum of {int(histogram.total)} events fills {int(seen.sum())} bins, too few for a function of "
            f"{n_parameters} parameters; select more events"
        )
    return value, float(chi2.sf(value, freedom))


def fitted_around(histogram: Histogram, shape: Shape, fit: Fit, signals: Array) -> toys.LogLinear:
    """A fitted function around its fit, with signals (M, B) of any size from none on, and the data.

    Blinded bins are left out.
    """
    assert isinstance(shape, LogLinear)
    edges, values, seen = histogram.edges, fit.values, ~histogram.blinded
    rate = np.maximum(shape.integrate(edges, values), LEAST)[seen]
    basis = shape.log_linear_basis(edges, values)[seen]
    return toys.LogLinear(rate, basis, signals[:, seen], (0.0, np.inf), observed=histogram.counts[seen])


def scan_points(edges: Array, settings: SpectrumSettings) -> tuple[Array, Array]:
    """Masses of a scan, (K,), from one resolution above the low edge to one below the high one, and one signal event
    at each, (K, B).
    """
    step = np.log1p(settings.resolution / settings.per_sigma)
    low, high = np.log(edges[0]) + settings.resolution, np.log(edges[-1]) - settings.resolution
    masses = np.exp(np.linspace(low, high, max(2, round((high - low) / step) + 1)))
    peak = gaussian()
    return masses, np.array([peak.integrate(edges, [1.0, m, settings.resolution * m]) for m in masses])
