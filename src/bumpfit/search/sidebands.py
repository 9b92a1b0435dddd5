"""Signal regions and their sidebands: scores of events without a background table.

A resonance is in a narrow range of the dijet mass, the background is on both sides of it too. In every signal region
a classifier learns to tell its events from those of its sidebands, without labels; where it selects, a peak stands out
(Metodiev, Nachman, Thaler, JHEP 10 (2017) 174; Collins, Howe, Nachman, PRL 121 (2018) 241803). No event is scored by a
model that saw it; features and scores are ranks among events of like mass (`bumpfit.search.local_ranks`), so that a
selection keeps the shape of the spectrum unless it finds something in the region.
"""

from __future__ import annotations

import dataclasses
import functools
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from bumpfit.events.tables import Events
from bumpfit.progress import bar
from bumpfit.results import Record
from bumpfit.runs import Arrays, Run
from bumpfit.scoring.classifier import Classifier
from bumpfit.scoring.crossfit import deal_folds
from bumpfit.scoring.forward import Job, train_and_score
from bumpfit.search.local_ranks import decorrelated, local_survival

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class SidebandSettings:
    """How signal regions and sidebands are laid, without a background table.

    `ratio`: high / low of a signal region; `side`: of each sideband; `step`: of neighbouring centres; `min_events`:
    that a region and its two sidebands need (a quarter in each sideband); `width`: of the neighbourhood in ln m in
    which features and scores are ranked; `folds`: of the scores; `toys`: of the global p-value.
    """

    ratio: float = 1.13
    side: float = 1.13
    step: float = 1.065
    min_events: int = 500
    width: float = 0.1
    folds: int = 5
    toys: int = 2000


@dataclasses.dataclass(frozen=True)
class Region(Record):
    """A signal region, low <= m < high, with sidebands from `below` and up to `above`, all in GeV."""

    low: float
    high: float
    below: float
    above: float

    @property
    def centre(self) -> float:
        """Logarithmic centre."""
        return float(np.sqrt(self.low * self.high))

    def inside(self, mass: Array) -> Mask:
        """Events of the signal region."""
        return np.asarray((mass >= self.low) & (mass < self.high))

    def beside(self, mass: Array) -> tuple[Mask, Mask]:
        """Events of the lower and of the upper sideband."""
        return (
            np.asarray((mass >= self.below) & (mass < self.low)),
            np.asarray((mass >= self.high) & (mass < self.above)),
        )


def signal_regions(mass: Array, span: tuple[float, float], settings: SidebandSettings) -> tuple[Region, ...]:
    """Overlapping signal regions with a sideband on each side inside `span` (GeV), that hold enough events."""
    ordered, half = np.sort(mass), float(np.sqrt(settings.ratio))
    found = []
    centre = span[0] * settings.side * half
    while centre * half * settings.side <= span[1] * (1 + 1e-12):
        low, high = centre / half, centre * half
        region = Region(low, high, low / settings.side, high * settings.side)
        lower, middle, upper = np.diff(np.searchsorted(ordered, [region.below, low, high, region.above]))
        least = settings.min_events
        if middle >= least and lower + upper >= least and min(lower, upper) >= 0.25 * least:
            found.append(region)
        centre *= settings.step
    return tuple(found)


def region_ranks(
    data: Events,
    span: tuple[float, float],
    regions: tuple[Region, ...],
    approach: Classifier,
    settings: SidebandSettings,
    *,
    seed: int,
    executor: Executor | None,
    kept: Run,
) -> Array:
    """Ranks of the cross-fitted scores of every region, shape (regions, N): fraction of like events that score higher.

    The reference are the events outside of the signal region, fold by fold; NaN outside of `span`.
    """

    def make() -> Arrays:
        dealt = _Dealt.of(data, span, settings, seed)
        ranks = np.full((len(regions), len(data)), np.nan)
        folds = range(settings.folds)
        results = train_and_score(
            approach, (dealt.job(r, x, f) for r, x in enumerate(regions) for f in folds), executor
        )
        with bar("signal regions", total=len(regions)) as advance:
            for r, region in enumerate(regions):
                for f in folds:
                    ranks[r, dealt.rows[dealt.fold == f]] = dealt.ranks(region, f, next(results)[0])
                advance()
        return {"ranks": ranks}

    return kept.piece("signal_regions", make)["ranks"]


def simulated_ranks(
    data: Events,
    span: tuple[float, float],
    place: tuple[int, Region],
    simulated: tuple[Array, Array],
    approach: Classifier,
    settings: SidebandSettings,
    *,
    seed: int,
    executor: Executor | None,
) -> Array:
    """Ranks of simulated events by the models of one region, shape (folds, K).

    Args:
        place: number of the region, and the region.
        simulated: features (K, F) and masses (K,) in GeV; nothing is trained on them.
    """
    dealt = _Dealt.of(data, span, settings, seed)
    number, region = place
    jobs = (dealt.job(number, region, f, simulated) for f in range(settings.folds))
    results = train_and_score(approach, jobs, executor)
    return np.stack([dealt.ranks(region, f, own, (of, simulated[1])) for f, (own, of) in enumerate(results)])


@dataclasses.dataclass(frozen=True, eq=False)
class _Dealt:
    """Events of the range, their places in the table, and the folds that they are dealt into."""

    rows: NDArray[np.int64]
    mass: Array
    features: Array
    fold: NDArray[np.int64]
    settings: SidebandSettings
    seed: int

    @classmethod
    def of(cls, data: Events, span: tuple[float, float], settings: SidebandSettings, seed: int) -> _Dealt:
        rows = np.flatnonzero((data.mass >= span[0]) & (data.mass < span[1]))
        rng = np.random.default_rng(np.random.SeedSequence([seed, 501]))
        return cls(
            rows, data.mass[rows], data.features[rows], deal_folds(len(rows), settings.folds, rng), settings, seed
        )

    @functools.cached_property
    def ranked(self) -> list[Array]:
        """Features as ranks among the events that are trained on, fold by fold.

        Among all events, a fluctuation of the training would be missing in the fold that is scored.
        """
        return [
            decorrelated(self.features, self.mass, self.settings.width, self.fold != f)
            for f in range(self.settings.folds)
        ]

    def job(self, r: int, region: Region, f: int, extra: tuple[Array, Array] | None = None) -> Job:
        """Sidebands, both of the same weight, against the signal region; the fold is scored, and `extra` events."""
        train, x = self.fold != f, self.ranked[f]
        inside, (lower, upper) = region.inside(self.mass), region.beside(self.mass)
        beside = (lower | upper) & train
        n_lower, n_upper = (lower & train).sum(), (upper & train).sum()
        weights = np.where(lower[beside], 0.5 / max(n_lower, 1), 0.5 / max(n_upper, 1)) * beside.sum()
        seed = int(np.random.SeedSequence([self.seed, 502, r, f]).generate_state(1)[0])
        tables: tuple[Array, ...] = (x[~train],)
        if extra is not None:
            both = np.concatenate([self.features, extra[0]]), np.concatenate([self.mass, extra[1]])
            reference = np.r_[train, np.zeros(len(extra[1]), np.bool_)]
            tables = (x[~train], decorrelated(*both, self.settings.width, reference)[len(x) :])
        return Job(seed, x[beside], x[inside & train], tables, weights)

    def ranks(self, region: Region, f: int, scores: Array, others: tuple[Array, Array] | None = None) -> Array:
        """Ranks of a fold among its events outside of the region; of other events, scores and masses, instead."""
        mass = self.mass[self.fold == f]
        outside = ~region.inside(mass)
        # the sidebands are the class that carries weights, so that the ratio is turned round
        if others is None:
            return local_survival(-scores, mass, self.settings.width, outside)
        reference = np.r_[outside, np.zeros(len(others[1]), np.bool_)]
        both = -np.concatenate([scores, others[0]]), np.concatenate([mass, others[1]])
        return local_survival(*both, self.settings.width, reference)[len(mass) :]
