"""What decides between a resonance and a difference of another kind, beside the p-value.

The tables must be equal where no signal can be; the excess must lie at one dijet mass; and no shift of a feature that
the other events allow may make it. All three look at what was found; none changes the p-value.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from bumpfit.events.tables import Events
from bumpfit.poisson import deviance
from bumpfit.results import Record
from bumpfit.search.candidates import Region, region, together
from bumpfit.search.config import SearchConfig
from bumpfit.search.describe import best_cut
from bumpfit.search.equality import Equality, compare
from bumpfit.search.findings import Check, Description
from bumpfit.search.peaks import PeakFit, fit_peak
from bumpfit.search.sensitivity import Shift, shifts
from bumpfit.search.surrogate import resonance_shape
from bumpfit.search.two_sample import TwoSampleTest
from bumpfit.search.windows import Window, interval_edges

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

FEWEST = 1000
"""Events of each table below which equality is not judged."""

POSITIONS, SMEARINGS = (0.97, 1.0, 1.03), (0.0, 0.03, 0.05)
"""Positions relative to a fitted peak, and additional relative resolutions, of the peaks that are compared."""

SPREAD_OUT = 4.0
"""Difference in -2 ln L by which an excess must prefer the shape of the background to be no peak in m_JJ."""

LOCALISED = 9.0
"""Difference in -2 ln L from which a peak in m_JJ stands for masses that the library does not hold."""

PEAK_EVENTS = 20
"""Selected data events below which no peak is looked for in the dijet mass."""

ALLOWED = 3.0
"""Standard deviations of the shift of a feature that the other events allow."""


@dataclasses.dataclass(frozen=True)
class Localisation(Record):
    """Is the excess at one mass? -2 ln L of an excess shaped like the table less that of a peak at `mass`."""

    mass: float
    preference: float


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What was looked at: None where it does not apply."""

    equality: Equality | None = None
    localisation: Localisation | None = None
    shifts: tuple[Shift, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Selected:
    """Tested events of the best window, masks (N,) of data and (M,) of table, and those with the highest scores.

    The scores are those of the classifiers alone. The selections of the p-value also know what the library says, and
    with it the dijet mass: their background has a peak of its own.
    """

    tested: tuple[Mask, Mask]
    chosen: tuple[Mask, Mask]
    low: float
    high: float

    @property
    def tau(self) -> float:
        """Tested events of the table for one of the data."""
        return float(self.tested[1].sum() / self.tested[0].sum())

    @property
    def expected(self) -> float:
        """Background events that are expected among the chosen data; at least one of the table is taken."""
        return max(float(self.chosen[1].sum()), 1.0) / self.tau

    @property
    def excess(self) -> float:
        """Chosen data events above that."""
        return float(self.chosen[0].sum()) - self.expected


def selected(
    data: Events,
    background: Events,
    survival: tuple[Array, Array],
    test: TwoSampleTest,
    windows: tuple[Window, ...],
    config: SearchConfig,
) -> Selected | None:
    """The most precise selection by the classifiers' `survival` in the window of the smallest p-value.

    None where no event of one of the tables is tested there, or none of the data is chosen.
    """
    window = windows[test.overall.window]
    d, b = (window.contains(t.mass) & np.isfinite(u) for t, u in zip((data, background), survival, strict=True))
    if not d.any() or not b.any():
        return None
    cut = best_cut(survival[0][d], survival[1][b], config.efficiencies)
    chosen = d & (survival[0] <= cut), b & (survival[1] <= cut)
    if not chosen[0].any():
        return None
    inside = data.mass[d]
    return Selected((d, b), chosen, float(inside.min()), float(np.nextafter(inside.max(), np.inf)))


def equality(
    data: Events,
    background: Events,
    windows: tuple[Window, ...],
    descriptions: Sequence[Description],
    survival: tuple[Array, Array],
    peak: PeakFit | None,
    config: SearchConfig,
) -> Equality | None:
    """Data against table where the described candidates have no signal.

    Without templates: tested events whose rank does not count in the primary test (`survival` of data and table), 1.5
    widths away from the `peak` in m_JJ; all events where there is no peak either. None for fewer than `FEWEST` events.
    """
    found = [region(d, data, background, config.equality.leftover) for d in descriptions]
    regions = [r for r in found if r is not None]
    rows: tuple[Mask, Mask]
    left = None
    if regions:
        whole: Region = together(regions)
        rows, left = (~whole.data, ~whole.background), whole.left
    elif peak is not None:
        low, high = peak.mass - 1.5 * peak.sigma, peak.mass + 1.5 * peak.sigma
        rows = _quiet(data, survival[0], config, low, high), _quiet(background, survival[1], config, low, high)
    else:
        rows = np.ones(len(data), np.bool_), np.ones(len(background), np.bool_)
    if min(rows[0].sum(), rows[1].sum()) < FEWEST:
        return None
    edges = interval_edges(windows, config.rank.interval, data.mass, background.mass)
    return compare(data.take(rows[0]), background.take(rows[1]), edges, left, config.equality)


def _quiet(events: Events, survival: Array, config: SearchConfig, low: float, high: float) -> Mask:
    beside = (events.mass < low) | (events.mass > high)
    return np.asarray(beside & ~(survival <= config.rank.reach) & np.isfinite(survival))


def localisation(
    data: Array, selected: int, table: Array, tau: float, span: tuple[float, float], peak: PeakFit, bins: int = 12
) -> Localisation:
    """Selected masses of the data (GeV): background and a peak against an excess with the table's own shape.

    `selected` events of the table, tau for one of the data, say how much background there is, all its masses in the
    span, `table`, what shape it has (a selection keeps it). The form of the peak is that of the dijet mass of all
    decays of the library near the mass of `peak`, as it is or smeared (`POSITIONS`, `SMEARINGS`: what a detector may
    do to it), whichever fits best.
    """
    edges = np.linspace(*span, bins + 1)
    n = np.histogram(data, edges)[0].astype(float)
    flat = np.histogram(table, edges)[0] + 0.5
    flat = flat / flat.sum()
    total, best = float(n.sum()), np.inf
    for position, smearing in itertools.product(POSITIONS, SMEARINGS):
        shape = resonance_shape(peak.mass * position, edges, smearing) + 0.5
        shape = shape / shape.sum()

        def with_peak(background: float, shape: Array = shape) -> float:
            """-2 ln L where all but the background is the peak: the best number of both is the number of data."""
            expected = background * flat + max(total - background, 0.0) * shape
            return float(deviance(n, expected).sum() + deviance(selected, background * tau))

        found = minimize_scalar(with_peak, bounds=(1e-6, max(total, 1.0)), method="bounded")
        best = min(best, float(found.fun))
    return Localisation(peak.mass, float(deviance(n, total * flat).sum()) - best)


def selected_peak(data: Events, background: Events, best: Selected | None, config: SearchConfig) -> PeakFit | None:
    """The peak in the dijet mass of the chosen events; None where too few are."""
    if best is None or best.chosen[0].sum() < PEAK_EVENTS:
        return None
    return fit_peak(
        data.mass_name, data.mass[best.chosen[0]], background.mass[best.chosen[1]], best.tau, low=best.low,
        high=best.high, settings=config.peaks,
    )  # fmt: skip


def localised(data: Events, background: Events, best: Selected | None, peak: PeakFit | None) -> Localisation | None:
    """Whether the excess of the chosen events is at the mass of the peak."""
    if best is None or peak is None:
        return None
    inside = background.mass[(background.mass >= best.low) & (background.mass < best.high)]
    span = (best.low, best.high)
    return localisation(data.mass[best.chosen[0]], int(best.chosen[1].sum()), inside, best.tau, span, peak)


def sensitivity(
    data: Events,
    background: Events,
    survival: tuple[Array, Array],
    best: Selected | None,
    config: SearchConfig,
    seed: int,
) -> tuple[Shift, ...]:
    """Which shift of a feature would make the excess of the chosen events."""
    if best is None or best.excess <= 0:
        return ()
    d, b = best.tested
    return shifts(
        data.take(d), background.take(b), survival[0][d], survival[1][b], best.expected, best.excess,
        config.sensitivity, seed,
    )  # fmt: skip


def checks_of(
    evidence: Evidence, config: SearchConfig, *, inside: bool = True, decisive: bool = True
) -> tuple[Check, ...]:
    """The checks that this evidence allows; without a significant excess only a clear difference of the tables decides.

    A candidate that is not `inside` the library must be a peak in the dijet mass by that alone.
    """
    found = [_equality(evidence.equality, config, decisive)]
    if decisive:
        found += [_localised(evidence.localisation, -SPREAD_OUT if inside else LOCALISED), _unshifted(evidence)]
    return tuple(found)


def _equality(found: Equality | None, config: SearchConfig, decisive: bool) -> Check:
    if found is None:
        return Check("equality", None, {"fewest": FEWEST}, decisive=decisive)
    clear = found.p < config.equality.clearly
    return Check("equality", found.p >= config.equality.differ, found.to_dict(), decisive=decisive or clear)


def _localised(found: Localisation | None, least: float = -SPREAD_OUT) -> Check:
    if found is None:
        return Check("localisation", None, {}, decisive=True)
    return Check("localisation", found.preference > least, found.to_dict(), decisive=True)


def _unshifted(evidence: Evidence) -> Check:
    """No shift that the other events allow makes the excess."""
    if not evidence.shifts or evidence.equality is None:
        return Check("shifts", None, {"compared": evidence.equality is not None}, decisive=True)
    rows = []
    for shift in evidence.shifts:
        other = evidence.equality.of(shift.feature)
        allowed = abs(other.shift) + ALLOWED * other.shift_error
        rows.append({**shift.to_dict(), "allowed": allowed})
    passed = all(row["needed"] is None or abs(row["needed"]) > row["allowed"] for row in rows)
    return Check("shifts", passed, {"shifts": rows}, decisive=True)
