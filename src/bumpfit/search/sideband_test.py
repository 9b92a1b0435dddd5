"""The test without a background table: peaks in the spectra that signal regions select, and their joint law.

The dijet function is fitted to the spectrum of every selection of every signal region (`bumpfit.search.sidebands`), and
a peak inside the region is looked for; the spectrum of all events is searched too.

**Law.** Without a signal the scores tell nothing of the mass. Toys keep every event with all its scores and give it a
mass from the fitted spectrum of all events: that is the joint law of all selections of all regions, and of the masses
scanned. The largest local significance of all is compared with its largest in every toy. Beyond the toys the tail is
that of a maximum of a chi2 field, p_local + c exp(-z^2 / 2) (Gross and Vitells, EPJC 70 (2010) 525), c from the toys.
Models are not trained again in a toy; what that leaves is measured on tables without signal (docs/methods/search.md).
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from bumpfit import toys
from bumpfit.law import estimate
from bumpfit.normal import at_least, significance_of_log
from bumpfit.results import Record
from bumpfit.search.falling import Scan
from bumpfit.search.sidebands import Region, SidebandSettings
from bumpfit.search.spectrum import Scannable, SpectrumSettings, SpectrumTest, scan_of, scannable, scanned

Array = NDArray[np.float64]

SCULPTED = 0.01
"""Smallest probability of the largest significances of regions where no resonance is."""

TOLD = 2.0
"""Global significance from which a further candidate is looked at."""

RESOLVED = 20
"""Toys at least as extreme as the data from which p is their share; with fewer the tail is extrapolated."""


@dataclasses.dataclass(frozen=True)
class SidebandSelection(Record):
    """One selection of one region: events inside the region, what the fit without a signal expects there, and the
    largest peak.

    `n_background` and after it are None where the spectrum cannot be tested.
    """

    name: str
    region: int
    efficiency: float
    n_data: int
    n_background: float | None = None
    background_error: float | None = None
    mass: float | None = None
    z_local: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class SidebandTest(Record):
    """The search of all signal regions, and of the spectrum of all events.

    `best` indexes `selections` (None: the spectrum of all events has the largest significance), `leading` is its
    spectrum; `p_local`, `z_local` of it; `p_global`, `z_global` over all masses, selections and regions, by `toys`
    toys; `error`: Monte Carlo error, and `extrapolated`: beyond them. `trials`: masses of all spectra. `elsewhere`:
    probability of the largest significances of the regions `away` from the candidate, None where there are none: a
    resonance touches neither them nor their sidebands; of a further candidate, no candidate is inside of them. `auc`
    (regions,): of the held-out scores, signal region against its sidebands. `spectra`: of all events, and of the
    selections of the best region. `survival` (regions, N): ranks of the scores, NaN outside of the range. `further`:
    the same test of the regions that no earlier candidate touches, over these; None where its global significance is
    below `TOLD`.
    """

    regions: tuple[Region, ...]
    selections: tuple[SidebandSelection, ...]
    best: int | None
    leading: SpectrumTest
    p_local: float
    z_local: float
    p_global: float
    z_global: float
    error: float | None
    extrapolated: bool
    toys: int
    trials: int
    elsewhere: float | None
    away: tuple[int, ...]
    auc: tuple[float, ...]
    spectra: tuple[SpectrumTest, ...]
    survival: Array = dataclasses.field(repr=False)
    further: SidebandTest | None = None

    def candidates(self, claim_z: float) -> tuple[SidebandTest, ...]:
        """This test, and those of the further candidates that are significant, one after the other.

        Each is tested at the full level once the earlier ones are claimed: a fixed sequence of tests. There are no
        further ones unless the regions without any show no excess: a classifier that makes peaks makes them there, too.
        """
        found = [self]
        while (more := found[-1].further) is not None and min(self.z_global, more.z_global) >= claim_z:
            found.append(more)
        last = found[-1].elsewhere
        return tuple(found) if last is not None and last > SCULPTED else (self,)

    @property
    def region(self) -> int:
        """Number of the region whose scores select best; that of the largest peak where no selection is better."""
        if self.best is not None:
            return self.selections[self.best].region
        assert self.leading.mass is not None
        return _nearest(self.regions, self.leading.mass)


def sideband_test(
    mass: Array,
    span: tuple[float, float],
    regions: tuple[Region, ...],
    ranks: Array,
    efficiencies: tuple[float, ...],
    spectrum: SpectrumSettings,
    settings: SidebandSettings,
    *,
    seed: int,
) -> SidebandTest | SpectrumTest:
    """Scan all selected spectra, and calibrate the largest significance; without a test of all events, its spectrum.

    Args:
        mass: of all events in GeV, (N,); ranks: of `region_ranks`.
    """
    whole = scannable("no selection", mass, 1.0, span, spectrum)
    if isinstance(whole, SpectrumTest):
        return whole
    scan = scan_of(whole, spectrum)
    if scan is None:
        return scanned(whole, scan, spectrum)
    inside = np.flatnonzero((mass >= whole.histogram.edges[0]) & (mass < whole.histogram.edges[-1]))
    tried = [_Tried(whole, scan, inside, None)]
    selections: list[SidebandSelection] = []
    for r, region in enumerate(regions):
        for efficiency in sorted(efficiencies, reverse=True):
            rows = inside[ranks[r, inside] <= efficiency]
            name = f"{efficiency:.2%} around {region.centre:.0f} GeV"
            selection = SidebandSelection(name, r, efficiency, int(region.inside(mass[rows]).sum()))
            found = scannable(name, mass[rows], efficiency, span, spectrum, (region.low, region.high))
            scan = scan_of(found, spectrum) if isinstance(found, Scannable) else None
            if isinstance(found, Scannable) and scan is not None:
                number, error = _expected(found, region)
                peak = scan.best
                selection = dataclasses.replace(
                    selection, n_background=number, background_error=error, mass=float(found.masses[peak]),
                    z_local=float(np.sqrt(scan.q0[peak])),
                )  # fmt: skip
                tried.append(_Tried(found, scan, rows, selection))
            selections.append(selection)
    largest = _thrown(mass, inside, tried, len(regions), settings.toys, np.random.default_rng([seed, 503]))
    test = _judged(tried, tuple(selections), regions, ranks, mass, largest, spectrum)
    assert test is not None  # all events are among the spectra
    return test


def _expected(prepared: Scannable, region: Region) -> tuple[float, float]:
    """Events that the fit without a signal expects inside a region, with their statistical error."""
    edges, rate, basis = prepared.histogram.edges, prepared.model.rate, prepared.model.basis
    inside = np.clip((np.minimum(edges[1:], region.high) - np.maximum(edges[:-1], region.low)) / np.diff(edges), 0, 1)
    covariance = np.linalg.pinv(basis.T @ (rate[:, None] * basis), hermitian=True)
    slope = basis.T @ (inside * rate)
    return float(inside @ rate), float(np.sqrt(np.maximum(slope @ covariance @ slope, 0.0)))


def _nearest(regions: tuple[Region, ...], mass: float) -> int:
    return int(np.argmin([abs(np.log(r.centre / mass)) for r in regions]))


@dataclasses.dataclass(frozen=True, eq=False)
class _Tried:
    """One spectrum of the family, its rows in the table, and its selection (None: all events)."""

    prepared: Scannable
    scan: Scan
    rows: NDArray[np.int64]
    selection: SidebandSelection | None

    @property
    def region(self) -> int | None:
        """Number of its region; None: all events."""
        return None if self.selection is None else self.selection.region

    @property
    def z(self) -> float:
        """Significance of its largest peak."""
        return float(np.sqrt(self.scan.q0.max()))


def _thrown(
    mass: Array, inside: NDArray[np.int64], tried: list[_Tried], regions: int, number: int, rng: np.random.Generator
) -> Array:
    """Largest significance of all events, then of every region, in every toy, shape (number, 1 + regions)."""
    whole = tried[0].prepared
    bins, shape = len(whole.histogram.counts), whole.model.rate / whole.model.rate.sum()
    place = np.full(len(mass), -1)
    place[inside] = np.arange(len(inside))
    rows = [place[each.rows] for each in tried]
    counts = [np.zeros((number, bins)) for _ in tried]
    limits = np.cumsum(shape)
    for t in range(number):
        drawn = np.minimum(np.searchsorted(limits, rng.random(len(inside)), side="right"), bins - 1)
        for filled, chosen in zip(counts, rows, strict=True):
            filled[t] = np.bincount(drawn[chosen], minlength=bins)
    largest = np.zeros((number, 1 + regions))
    for each, filled in zip(tried, counts, strict=True):
        q0 = toys.engine(each.prepared.model).fit_data(filled).statistic
        z = np.sqrt(np.nanmax(np.maximum(np.nan_to_num(q0), 0.0), axis=1))
        column = 0 if each.region is None else 1 + each.region
        largest[:, column] = np.maximum(largest[:, column], z)
    return largest


def _judged(
    tried: list[_Tried],
    selections: tuple[SidebandSelection, ...],
    regions: tuple[Region, ...],
    ranks: Array,
    mass: Array,
    largest: Array,
    settings: SpectrumSettings,
    asked: tuple[int, ...] | None = None,
    before: tuple[float, ...] = (),
) -> SidebandTest | None:
    """The test of the regions `asked` for; of all, and of the spectrum of all events, when None.

    `before`: masses of the earlier candidates. None where no spectrum can be tested, or none is significant (`TOLD`).
    """
    family = tried if asked is None else [each for each in tried if each.region in asked]
    if not family:
        return None
    winner = max(family, key=lambda each: each.z)
    thrown = largest if asked is None else largest[:, [1 + k for k in asked]]
    log_p, error, extrapolated = tail(thrown.max(axis=1), winner.z)
    p_global, z_global = at_least(log_p), significance_of_log(log_p)
    if asked is not None and z_global < TOLD:
        return None

    def told(each: _Tried) -> SpectrumTest:
        """The whole result of one spectrum, with the p-value of all."""
        test = scanned(each.prepared, each.scan, settings)
        low = (1 - 1 / z_global) * (test.n_signal or 0.0) if z_global > 1 else 0.0
        return dataclasses.replace(
            test, p_global=p_global, z_global=z_global, permutations=len(largest), n_signal_low=low
        )

    leading = told(winner)
    peak = leading.mass
    assert peak is not None
    away = tuple(k for k in _away(regions, peak) if asked is None or k in asked)
    quiet = away if asked is None else _quiet(regions, (*before, peak), settings.resolution)
    shown = _nearest(regions, peak) if winner.region is None else winner.region
    spectra = [leading if each is winner else told(each) for each in tried if each.region in (None, shown)]
    return SidebandTest(
        regions=regions,
        selections=selections,
        best=None if winner.selection is None else selections.index(winner.selection),
        leading=leading,
        p_local=at_least(float(log_ndtr(-winner.z))),
        z_local=winner.z,
        p_global=p_global,
        z_global=z_global,
        error=error,
        extrapolated=extrapolated,
        toys=len(largest),
        trials=sum(len(each.prepared.masses) for each in family),
        elsewhere=_elsewhere(tried, largest, quiet),
        away=quiet,
        auc=tuple(_auc(ranks[r], mass, region) for r, region in enumerate(regions)),
        spectra=tuple(spectra),
        survival=ranks,
        further=_judged(tried, selections, regions, ranks, mass, largest, settings, away, (*before, peak)),
    )


def tail(largest: Array, z: float) -> tuple[float, float | None, bool]:
    """ln p of a maximum z, its Monte Carlo error (of p), and whether it is beyond the toys, shape (T,).

    Where fewer than `RESOLVED` toys reach z, p_local(z) + c exp(-z^2 / 2), with c such that it meets the toys where
    `RESOLVED` of them are larger; c is no less than none.
    """
    n = len(largest)
    hits = int((largest >= z * (1 - 1e-9)).sum())
    if hits >= RESOLVED or n < 2 * RESOLVED:
        p, error = estimate(hits, hits, n, plain=True)
        return float(np.log(p)), error, False
    meets = float(np.sort(largest)[-RESOLVED])
    c = max((RESOLVED / n - float(norm.sf(meets))) * np.exp(0.5 * meets**2), 0.0)
    others = float(np.log(c) - 0.5 * z**2) if c > 0 else -np.inf
    log_p = min(float(np.logaddexp(float(log_ndtr(-z)), others)), 0.0)
    return log_p, float(np.exp(log_p) / np.sqrt(RESOLVED)), True


def _away(regions: tuple[Region, ...], mass: float) -> tuple[int, ...]:
    """Regions that a resonance of this mass touches neither inside nor in a sideband."""
    return tuple(k for k, r in enumerate(regions) if not r.below <= mass < r.above)


def _quiet(regions: tuple[Region, ...], masses: tuple[float, ...], resolution: float) -> tuple[int, ...]:
    """Regions that hold less of these resonances than their sidebands: their masses lie a resolution outside or more.

    A classifier that learns them there selects against them, and makes no peak inside.
    """
    reach = 1 + resolution
    return tuple(k for k, r in enumerate(regions) if not any(r.low / reach <= mass < r.high * reach for mass in masses))


def _elsewhere(tried: list[_Tried], largest: Array, away: tuple[int, ...]) -> float | None:
    """Probability of the largest significance away from the candidate, and of their mean, the smaller one twice."""
    if not away:
        return None
    seen = np.zeros(len(away))
    for each in tried:
        if each.region in away:
            k = away.index(each.region)
            seen[k] = max(seen[k], each.z)
    columns = largest[:, [1 + k for k in away]]
    p = [
        estimate(hits, hits, len(largest), plain=True)[0]
        for hits in (
            int((columns.max(axis=1) >= seen.max()).sum()),
            int((columns.mean(axis=1) >= seen.mean()).sum()),
        )
    ]
    return min(1.0, 2 * min(p))


def _auc(rank: Array, mass: Array, region: Region) -> float:
    """P(an event of the signal region scores higher than one of its sidebands), of held-out scores."""
    inside, (lower, upper) = region.inside(mass), region.beside(mass)
    known = (inside | lower | upper) & ~np.isnan(rank)
    return float(roc_auc_score(inside[known], -rank[known]))  # small ranks are signal-like
