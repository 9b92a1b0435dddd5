"""Checks of a search: each looks at one thing that would make the answer worth less, and keeps its numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from bumpfit.events.tables import Events
from bumpfit.search.config import SearchConfig
from bumpfit.search.describe import Neighbourhood
from bumpfit.search.findings import Check, Description, Further, ShapeCheck
from bumpfit.search.local_ranks import correlations, decorrelated
from bumpfit.search.mass_range import MassRange
from bumpfit.search.sideband_test import SCULPTED, SidebandTest
from bumpfit.search.spectra import with_table
from bumpfit.search.spectrum import SpectrumTest
from bumpfit.search.template import YieldFit
from bumpfit.search.two_sample import SelectionResult

LEAST = 0.01
"""Probability below which data and expectation are said to differ ..."""

DECISIVE = 1e-3
"""... and below which that forbids the claim of a resonance."""

SEEN = 2.0
"""Significance that the fit of signal-like templates must have for a claimed excess to look like its candidate."""

FAR = 3.0
"""Standard deviations by which a mass must move in the steps to be said to disagree with the first one."""


REPEATED = 0.01
"""Share of repeated events above which events are not independent, and no p-value holds."""


def repeated(*tables: Events) -> Check:
    """Events that are there twice, in one table or in two: the tests need independent ones."""
    rows = np.concatenate([np.column_stack([t.mass, t.features]) for t in tables])
    again = len(rows) - len(np.unique(rows, axis=0))
    return Check("repeated", again <= REPEATED * len(rows), {"repeated": again, "events": len(rows)}, decisive=True)


def background_shape(shapes: tuple[ShapeCheck, ...]) -> Check:
    """The selected background keeps its m_JJ shape; the smallest probability, times their number, must not be small."""
    worst = min(shapes, key=lambda s: s.p)
    numbers = {
        "p": worst.p, "selections": len(shapes), "background_efficiency": worst.background_efficiency,
        "chi2": worst.chi2, "bins": worst.bins,
    }  # fmt: skip
    return Check("background shape", worst.p * len(shapes) > LEAST, numbers)


def sidebands(spectra: tuple[SpectrumTest, ...]) -> Check:
    """At least one m_JJ spectrum can be tested, alone or with the table; where none can, the second test has no say."""
    usable = sum(s.usable for s in spectra)
    reason = "" if usable else spectra[0].reason
    numbers = {"usable": usable, "spectra": len(spectra), "with_table": with_table(spectra), "reason": reason}
    return Check("sidebands", True if usable else None, numbers)


def fitted_range(found: MassRange, events: int) -> Check:
    """The function describes the range that was fitted; what lies outside of it was not searched."""
    return Check("mass range", found.smooth, {**found.to_dict(), "events": events}, decisive=True)


def of_features(data: Events, found: MassRange, test: SidebandTest, config: SearchConfig) -> Check:
    """Features, ranked among events of like mass, say nothing of the mass: a classifier cannot make a peak of it.

    Spearman's rank correlations with the mass, as given and ranked; the mean ranks in the mass bins away from the
    leading region: their chi2 beyond a difference of `DRIFT`, with its smallest probability times the features; and the
    mean ranks in the region and its sidebands, which a signal shifts by half of its share of the events at most, its
    upper limit in the spectrum of all events.
    """
    inside = (data.mass >= found.low) & (data.mass < found.high)
    mass, features = data.mass[inside], data.features[inside]
    ranks = decorrelated(features, mass, config.sidebands.width)
    given, ranked = (
        dict(zip(data.names, (float(r) for r in correlations(x, mass)), strict=True)) for x in (features, ranks)
    )
    edges, region = test.spectra[0].edges, test.regions[test.region]
    away = (edges[1:] <= region.below) | (edges[:-1] >= region.above)
    n = np.histogram(mass, edges)[0]
    possible = _largest_shift(test, n)
    p, beyond = {}, {}
    for name, rank in zip(data.names, ranks.T, strict=True):
        shift = np.abs(np.histogram(mass, edges, weights=rank)[0] / np.maximum(n, 1) - 0.5)
        left = np.maximum(shift - DRIFT, 0.0)
        p[name] = float(chi2.sf((12 * n * left**2)[away].sum(), max(int(away.sum()), 1)))
        beyond[name] = float((left - FAR / np.sqrt(12 * np.maximum(n, 1)))[~away].max(initial=0.0) / possible)
    worst = max(abs(r) for r in ranked.values())
    allowed = max(CORRELATED, FAR / np.sqrt(len(mass)))
    smallest, furthest = min(p, key=lambda name: p[name]), max(beyond, key=lambda name: beyond[name])
    least = min(1.0, len(p) * p[smallest])
    numbers = {
        "given": given, "ranked": ranked, "p": least, "least": smallest, "beyond": beyond[furthest],
        "furthest": furthest,
    }  # fmt: skip
    good = worst < allowed and least > DECISIVE and beyond[furthest] <= 1
    return Check("features", good, numbers, decisive=True)


def _largest_shift(test: SidebandTest, n: NDArray[np.int64]) -> float:
    """The largest shift of the mean rank of n events in a bin, (B,), that the signal can make."""
    whole, leading = test.spectra[0], test.leading
    assert whole.limits is not None and leading.signal is not None and leading.mass is not None
    limit = float(whole.limits[whole.nearest(leading.mass)])
    return 0.5 * min(float((limit * leading.signal / np.maximum(n, 1)).max()), 1.0)


CORRELATED = 0.05
"""Rank correlation with the mass from which a ranked feature is said to depend on it, in large tables."""

DRIFT = 0.01
"""Difference of a mean rank from one half that a slow change of a feature with the mass leaves."""


def elsewhere(test: SidebandTest, claim_z: float) -> Check:
    """Regions that no candidate touches show no excess: a classifier that makes peaks makes them in all regions."""
    *_, last = candidates = test.candidates(claim_z)
    p = last.elsewhere
    auc = [test.auc[k] for k in last.away]
    numbers = {
        "p": p, "regions": len(last.away), "auc": max(auc) if auc else None, "candidates": len(candidates)
    }  # fmt: skip
    return Check("elsewhere", None if p is None else p > SCULPTED, numbers, decisive=True)


def templates(fitted: YieldFit) -> Check:
    """Signal-like and background templates describe the score spectrum."""
    p = fitted.goodness_p
    numbers = {"p": p, "deviance": fitted.deviance, "bins": fitted.bins}
    return Check("templates", p > DECISIVE, numbers, decisive=True)


def yield_covers_excess(best: SelectionResult, fitted: YieldFit, config: SearchConfig) -> Check:
    """The fitted yield is seen and not below the excess of the best selection, by more than two of its errors."""
    seen = best.n_data - best.n_background_expected
    tested = 1 - config.forward.first
    error = float(np.hypot(np.sqrt(best.n_data), best.background_error))
    numbers = {"seen": seen, "error": error, "tested": tested, "n_signal": fitted.n_signal, "z": fitted.z}
    passed = bool(seen - 2 * error <= fitted.high * tested) and fitted.z >= SEEN
    return Check("yield and excess", passed, numbers, decisive=True)


def of_further(found: Further | None) -> tuple[Check, ...]:
    """A further excess that is no particle is something to look at; none to speak of is as it should be."""
    if found is None:
        return ()
    return (Check("further excess", found.reason == "not significant", found.to_dict()),)


def of_candidate(first: Description, updated: Description | None, near: Neighbourhood) -> tuple[Check, ...]:
    """Checks of masses: the fits, what the steps did to them, and whether signal-like events exist there."""
    peaks = (updated or first).peaks
    bad = [p for p in peaks if not p.valid or "mass" in p.at_bounds]
    fits = [{"name": p.name, "valid": p.valid, "at_bounds": p.at_bounds} for p in bad]
    ends = [f"{name} of {p.name}" for p in peaks for name in p.at_bounds if name != "mass"]
    found = [Check("mass fits", not bad, {"bad": fits, "ends": ends})]
    if updated is not None:
        pulls = {
            b.name: (b.mass - a.mass) / float(np.hypot(a.error, b.error))
            for a, b in zip(first.peaks, peaks, strict=True)
        }
        same = all(a.mass == b.mass for a, b in zip(first.peaks, peaks, strict=True))
        agree = None if same else max(abs(v) for v in pulls.values()) < FAR
        found.append(Check("masses agree", agree, {"pulls": pulls}))
    found.append(Check("library", not near.surrogate.extrapolated, {}))
    return tuple(found)
