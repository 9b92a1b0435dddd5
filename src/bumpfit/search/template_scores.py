"""Scores of signal-like templates, out of fold, and the bins in which the number of signal events is fitted.

Two questions are asked of every event: is it like the signal or like background, and if like the signal, does it have
two or three prongs. The first alone does not tell the second: three prongs look more like background, so that a
spectrum of that score may be more events with three or fewer with two. Bins of both scores hold both kinds apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from bumpfit.scoring import Classifier, Job, deal_folds, train_and_score
from bumpfit.search.surrogate import Surrogate

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Variants = Sequence[tuple[float, tuple[Array, Array]]]
"""Templates of two- and three-prong decays, (B,) each, as other detectors may see them; with penalties in -2 ln L."""


@dataclasses.dataclass(frozen=True, eq=False)
class TemplateScores:
    """Log density ratios signal-like / background, out of fold: data (N,), background (M,), signal-like (K,).

    `varied`: the same of the signal-like events as other detectors may see them, each with its penalty in -2 ln L.
    `prongs`: log density ratios of two to three prongs, of the same events; None where that is not asked.
    """

    data: Array
    background: Array
    signal: Array
    varied: tuple[tuple[float, Array], ...] = ()
    prongs: TemplateScores | None = None

    def of_kind(self, prongs: int, surrogate: Surrogate) -> TemplateScores:
        """Log density ratios of signal-like events with so many prongs alone to background; `prongs` must be there.

        With the shares w of both kinds in training, p_2 / (w_2 p_2 + w_3 p_3) = 1 / (w_2 + w_3 p_3 / p_2).
        """
        assert self.prongs is not None
        shares = {kind: float(surrogate.weights[surrogate.prongs == kind].sum()) for kind in (2, 3)}

        def alone(mixed: Array, two_to_three: Array) -> Array:
            other = -two_to_three if prongs == 2 else two_to_three
            return np.asarray(mixed - np.log(shares[prongs] + shares[5 - prongs] * np.exp(other)))

        return TemplateScores(
            alone(self.data, self.prongs.data),
            alone(self.background, self.prongs.background),
            alone(self.signal, self.prongs.signal),
        )


@dataclasses.dataclass(frozen=True)
class CrossFit:
    """How the classifiers of templates are trained: in `folds`, on the executor where there is one."""

    approach: Classifier
    folds: int = 3
    seed: int = 0
    executor: Executor | None = None


def template_scores(
    data: Array,
    background: Array,
    surrogate: Surrogate,
    how: CrossFit,
    variants: Sequence[tuple[float, Surrogate]] = (),
) -> TemplateScores:
    """Train signal-like against background, cross-fitted over both; data events are dealt to the folds at random.

    Args:
        data, background: features (N, F), (M, F), in the order of the surrogate's features.
    """
    deal = _Deal(data, background, surrogate, variants, how, stream=202)

    def job(k: int) -> Job:
        of_s, of_b = deal.of_signal != k, deal.of_background != k
        positive, negative = surrogate.features[of_s], background[of_b]
        return Job(deal.seed_of(k), positive, negative, deal.tables(k), surrogate.weights[of_s])

    return deal.scored(job)


def candidate_scores(
    data: Array,
    background: Array,
    surrogate: Surrogate,
    how: CrossFit,
    variants: Sequence[tuple[float, Surrogate]] = (),
) -> TemplateScores:
    """`template_scores` and, where every training has signal-like events of both kinds, those of two to three prongs.

    The second classifier is trained on signal-like events alone, cross-fitted.
    """
    scores = template_scores(data, background, surrogate, how, variants)
    two, three = (surrogate.prongs == prongs for prongs in (2, 3))
    deal = _Deal(data, background, surrogate, variants, how, stream=204)
    others = [deal.of_signal != k for k in range(how.folds)]
    if not all(surrogate.weights[kind & rows].sum() > 0 for kind in (two, three) for rows in others):
        return scores

    def job(k: int) -> Job:
        of_two, of_three = (kind & (deal.of_signal != k) for kind in (two, three))
        positive, negative = surrogate.features[of_two], surrogate.features[of_three]
        weights = surrogate.weights[of_two], surrogate.weights[of_three]
        return Job(deal.seed_of(k), positive, negative, deal.tables(k), *weights)

    return dataclasses.replace(scores, prongs=deal.scored(job))


class _Deal:
    """Data, background, signal-like events and their variants dealt to folds; those of a fold are asked together."""

    def __init__(
        self,
        data: Array,
        background: Array,
        surrogate: Surrogate,
        variants: Sequence[tuple[float, Surrogate]],
        how: CrossFit,
        *,
        stream: int,
    ) -> None:
        rng = np.random.default_rng(np.random.SeedSequence([how.seed, stream]))
        self.data, self.background, self.signal, self.variants = data, background, surrogate.features, variants
        self.of_data, self.of_background, self.of_signal = (
            deal_folds(len(table), how.folds, rng) for table in (data, background, self.signal)
        )
        self.how, self.stream = how, stream

    def seed_of(self, k: int) -> int:
        return int(np.random.SeedSequence([self.how.seed, self.stream + 1, k]).generate_state(1)[0])

    def tables(self, k: int) -> tuple[Array, ...]:
        """Events of fold k: data, background, signal-like, variants."""
        mine = self.of_signal == k
        of_data, of_background = self.data[self.of_data == k], self.background[self.of_background == k]
        return of_data, of_background, self.signal[mine], *(v.features[mine] for _, v in self.variants)

    def scored(self, job: Callable[[int], Job]) -> TemplateScores:
        """The scores of all events, each by the training of `job` that left out its fold."""
        data, background = np.empty(len(self.data)), np.empty(len(self.background))
        like = [np.empty(len(self.signal)) for _ in range(1 + len(self.variants))]
        jobs = (job(k) for k in range(self.how.folds))
        for k, found in enumerate(train_and_score(self.how.approach, jobs, self.how.executor)):
            data[self.of_data == k], background[self.of_background == k] = found[:2]
            for values, scored in zip(like, found[2:], strict=True):
                values[self.of_signal == k] = scored
        varied = ((penalty, values) for (penalty, _), values in zip(self.variants, like[1:], strict=True))
        return TemplateScores(data, background, like[0], tuple(varied))


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreBins:
    """Bins of the density ratio, between background fractions of the class of prongs that an event is like.

    `cuts`: inner edges of the density ratio for each class; two classes, like two and like three prongs, or one.
    `data`, `background` (B,): contents; the bins of a class stand together.
    """

    cuts: tuple[Array, ...]
    data: Array
    background: Array

    @classmethod
    def of(cls, scores: TemplateScores, fractions: Sequence[float], fewest: int) -> ScoreBins:
        """Bins bounded by `fractions` of the background of a class, where its part of `fewest` events is left."""
        classes = 1 if scores.prongs is None else 2
        of_data = None if scores.prongs is None else scores.prongs.data
        of_background = None if scores.prongs is None else scores.prongs.background
        in_class = _classes(scores.background, of_background)
        cuts = []
        for which in range(classes):
            mine = scores.background[in_class == which]
            at = [float(np.quantile(mine, 1 - f)) for f in fractions if classes * f * len(mine) >= fewest]
            cuts.append(np.unique(at))
        return cls(tuple(cuts), _filled(cuts, scores.data, of_data), _filled(cuts, scores.background, of_background))

    @property
    def edges(self) -> Array:
        """All bins in a row, (B+1,): infinite at the ends and between classes."""
        return np.concatenate([[-np.inf], *(np.append(cuts, np.inf) for cuts in self.cuts)])

    def kinds_of(self, scores: TemplateScores, surrogate: Surrogate) -> tuple[Array, Array]:
        """Fractions (B,) of two- and of three-prong decays in the bins; zeros where there are none."""
        return self._kinds(scores.signal, None if scores.prongs is None else scores.prongs.signal, surrogate)

    def variants(self, scores: TemplateScores, surrogate: Surrogate) -> Variants:
        """`kinds_of` the variants of the signal-like events, with penalties; of the events themselves without any."""
        if not scores.varied:
            return ((0.0, self.kinds_of(scores, surrogate)),)
        prongs = [None] * len(scores.varied) if scores.prongs is None else [v for _, v in scores.prongs.varied]
        return tuple(
            (penalty, self._kinds(values, of_prongs, surrogate))
            for (penalty, values), of_prongs in zip(scores.varied, prongs, strict=True)
        )

    def _kinds(self, values: Array, prongs: Array | None, surrogate: Surrogate) -> tuple[Array, Array]:
        two, three = (np.where(surrogate.prongs == kind, surrogate.weights, 0.0) for kind in (2, 3))
        return self._share(values, prongs, two), self._share(values, prongs, three)

    def _share(self, values: Array, prongs: Array | None, weights: Array) -> Array:
        return _filled(self.cuts, values, prongs, weights) / max(float(weights.sum()), 1e-300)


def _filled(cuts: Sequence[Array], values: Array, prongs: Array | None, weights: Array | None = None) -> Array:
    """Weight of events with these scores in the bins between the cuts of each class, (B,)."""
    which, number, first = _classes(values, prongs), np.empty(len(values), np.int64), 0
    for k, inner in enumerate(cuts):
        mine = which == k
        number[mine] = first + np.searchsorted(inner, values[mine], side="right")
        first += len(inner) + 1
    return np.bincount(number, weights, minlength=first).astype(np.float64)


def _classes(values: Array, prongs: Array | None) -> Numbers:
    """0 for events that are more like two prongs than like three, 1 for the others; 0 for all where it is not asked."""
    return np.zeros(len(values), np.int64) if prongs is None else (prongs <= 0).astype(np.int64)
