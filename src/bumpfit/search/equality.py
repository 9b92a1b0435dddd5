"""Are data and background table equal where no signal can be? What differs, where, and by how much.

A resonance leaves the bulk of the events alone; a table of another detector, period or simulation does not. Every
feature of the events without signal is compared in bins inside mass intervals, in which the table is scaled to the
data: by chi2, and by the trend over the bins, which sees shifts. Signal events that are expected among them are
subtracted, with an uncertainty.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from bumpfit.events.tables import Events
from bumpfit.results import Record

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class EqualitySettings:
    """How tables are compared.

    `bins`: bins of a feature, with equal numbers of events; `least`: events (both tables together) that a bin of a mass
    interval needs to count; `differ`: probability, all comparisons together, below which the tables are said to
    differ; `clearly`: below which that decides also where there is no excess (5 sigma); `leftover`: share of a
    candidate's signal that may be left among the compared events; `leftover_error`: relative uncertainty of what is
    left.
    """

    bins: int = 10
    least: int = 20
    differ: float = 1e-3
    clearly: float = 2.9e-7
    leftover: float = 0.05
    leftover_error: float = 0.5


@dataclasses.dataclass(frozen=True)
class Deviation(Record):
    """How one variable of the compared events differs.

    `p` of chi2 and trend together; `z_trend` > 0: data lie higher. `shift`: relative shift of the median of the data
    against the table, with its error. `low`, `high`: the bin that differs most, where the data are `ratio` times the
    table (with its error).
    """

    variable: str
    p: float
    chi2: float
    degrees: int
    z_trend: float
    shift: float
    shift_error: float
    low: float
    high: float
    ratio: float
    ratio_error: float


@dataclasses.dataclass(frozen=True)
class Equality(Record):
    """Comparison of `data` and `background` events where no signal can be, `signal` of them expected to be left.

    `p`: smallest probability of all variables times their number; `deviations` by ascending p.
    """

    data: int
    background: int
    signal: float
    p: float
    deviations: tuple[Deviation, ...]

    def of(self, variable: str) -> Deviation:
        """The comparison of one variable."""
        return next(d for d in self.deviations if d.variable == variable)


@dataclasses.dataclass(frozen=True, eq=False)
class Left:
    """Signal events that are expected among the compared ones: values (K,) by those variables that they have, dijet
    mass (K,), weights (K,) that sum to their number.
    """

    values: dict[str, Array]
    mass: Array
    weights: Array


def variables(events: Events) -> dict[str, Array]:
    """What is compared: the mass, every feature, and the heavier jet's mass where there are two jets."""
    found = {events.mass_name: events.mass, **{name: events.column(name) for name in events.names}}
    if "m_J1" in events.names and "delta_m_J" in events.names:
        found["m_J2"] = found["m_J1"] + found["delta_m_J"]
    return found


def compare(
    data: Events,
    background: Events,
    edges: Array,
    left: Left | None = None,
    settings: EqualitySettings = EqualitySettings(),
) -> Equality:
    """Compare two tables of events among which no signal, or that of `left`, is expected.

    Args:
        data, background: the compared events alone.
        edges: masses (GeV) that bound the intervals in which the table is scaled to the data, ascending; the dijet
            mass itself is compared without them.
    """
    of_data, of_table = variables(data), variables(background)
    place_d, place_b = (np.searchsorted(edges, t.mass, side="right") for t in (data, background))
    none = np.zeros(0)
    left = left or Left({}, none, none)
    found = []
    for name, values in of_data.items():
        whole = name == data.mass_name
        signal = left.mass if whole else left.values.get(name)  # of some features no signal events are known
        mass, weights = (none, none) if signal is None else (left.mass, left.weights)
        place_s = np.searchsorted(edges, mass, side="right")
        found.append(
            _deviation(
                name,
                values,
                of_table[name],
                np.zeros_like(place_d) if whole else place_d,
                np.zeros_like(place_b) if whole else place_b,
                none if signal is None else signal,
                np.zeros_like(place_s) if whole else place_s,
                weights,
                settings,
            )
        )
    found.sort(key=lambda d: d.p)
    number = float(left.weights.sum())
    return Equality(len(data), len(background), number, min(1.0, len(found) * found[0].p), tuple(found))


def _deviation(
    name: str,
    data: Array,
    table: Array,
    place_d: NDArray[np.int64],
    place_b: NDArray[np.int64],
    signal: Array,
    place_s: NDArray[np.int64],
    weights: Array,
    settings: EqualitySettings,
) -> Deviation:
    cuts = np.unique(np.quantile(np.concatenate([data, table]), np.linspace(0, 1, settings.bins + 1)[1:-1]))
    size = len(cuts) + 1
    bins = [np.searchsorted(cuts, v, side="right") for v in (data, table, signal)]
    intervals = int(max(place_d.max(initial=0), place_b.max(initial=0))) + 1
    shape = (intervals, size)
    n, m, c = (
        np.bincount(p * size + b, w, intervals * size).reshape(shape)
        for p, b, w in zip(
            (place_d, place_b, np.minimum(place_s, intervals - 1)), bins, (None, None, weights), strict=True
        )
    )
    used = (n + m >= settings.least) & (n.sum(1) > 0)[:, None] & (m.sum(1) > 0)[:, None]
    n, m, c = (np.where(used, v, 0.0) for v in (n, m, c))
    rest = np.maximum(n.sum(1) - c.sum(1), 0.0)
    ratio = np.divide(rest, m.sum(1), out=np.zeros(intervals), where=m.sum(1) > 0)[:, None]
    excess = n - c - ratio * m
    pooled = (n - c + m) / np.maximum(rest + m.sum(1), 1.0)[:, None]  # fraction of the background in each bin
    spread = np.maximum(pooled, 0.0) * (rest[:, None] + ratio**2 * m.sum(1)[:, None])
    variance = np.where(used, spread + c + (settings.leftover_error * c) ** 2, 0.0)
    safe = np.where(variance > 0, variance, 1.0)
    value = float((excess**2 / safe * (variance > 0)).sum())
    degrees = int((variance > 0).sum() - (variance > 0).any(1).sum())
    p_value = float(chi2.sf(value, degrees)) if degrees > 0 else 1.0
    trend, error = _trend(excess, variance)
    z = trend / error if error > 0 else 0.0
    p = min(1.0, 2 * min(p_value, float(2 * norm.sf(abs(z)))))
    worst, between = _worst(excess.sum(0), variance.sum(0), (ratio * m).sum(0), data, table, cuts)
    shift, shift_error = _shift(data, table, np.append(ratio[:, 0], 0.0)[np.minimum(place_b, intervals)])
    return Deviation(name, p, value, degrees, float(z), shift, shift_error, *between, *worst)


def _trend(excess: Array, variance: Array) -> tuple[float, float]:
    """Sum of the excesses weighted by the number of their bin, and its error at fixed totals of the intervals."""
    total, error = 0.0, 0.0
    for x, v in zip(excess, variance, strict=True):
        if v.sum() > 0:
            w = np.arange(len(x)) - (np.arange(len(x)) * v).sum() / v.sum()
            total += float((w * x).sum())
            error += float((w**2 * v).sum())
    return total, float(np.sqrt(error))


def _worst(
    excess: Array, variance: Array, expected: Array, data: Array, table: Array, cuts: Array
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ratio with its error, and range, of the bin with the largest pull."""
    pull = np.abs(excess) / np.sqrt(np.maximum(variance, 1e-9))
    k = int(np.argmax(np.where(variance > 0, pull, -1.0)))
    scale = max(expected[k], 1e-9)
    ends = np.r_[min(data.min(), table.min()), cuts, max(data.max(), table.max())]
    ratio = (float(1 + excess[k] / scale), float(np.sqrt(variance[k]) / scale))
    return ratio, (float(ends[k]), float(ends[k + 1]))


def _shift(data: Array, table: Array, weights: Array) -> tuple[float, float]:
    """Relative shift of the median of the data against that of the weighted table, and its error."""
    if not len(data) or not weights.sum() > 0:
        return 0.0, np.inf
    order = np.argsort(table)
    share = np.cumsum(weights[order]) / weights.sum()
    low, middle, high = np.interp((0.4, 0.5, 0.6), share, table[order])
    sd = 0.5 * (high - low) / 0.2  # of a median: sqrt(p (1 - p)) = 1/2 over the density, 0.2 / (high - low)
    effective = weights.sum() ** 2 / (weights**2).sum()
    error = sd * float(np.sqrt(1 / len(data) + 1 / effective))
    scale = abs(float(middle)) or 1.0
    return float(np.median(data) - middle) / scale, float(error / scale)
