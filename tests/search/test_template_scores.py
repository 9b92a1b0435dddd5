"""Bins of two scores: signal against background, two prongs against three."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from bumpfit.scoring import BoostedTrees
from bumpfit.search.surrogate import Surrogate
from bumpfit.search.template import TemplateSettings, fit_candidate
from bumpfit.search.template_scores import CrossFit, ScoreBins, TemplateScores, candidate_scores

TREES = BoostedTrees(models=1, iterations=30)
FRACTIONS = TemplateSettings().fractions


def cloud(n: int, rng: np.random.Generator, three: float = 0.5) -> Surrogate:
    """Two features: a mass, and a ratio that is smaller with two prongs."""
    prongs = np.where(rng.uniform(size=n) < three, 3, 2)
    features = np.column_stack([rng.normal(3, 1, n), rng.normal(np.where(prongs == 2, 0.3, 0.5), 0.08)])
    return Surrogate(features, np.zeros(n), np.full(n, 1 / n), prongs)


def background(n: int, rng: np.random.Generator) -> np.ndarray:
    return np.column_stack([rng.normal(0, 1, n), rng.normal(0.65, 0.15, n)])


def of_three(values: list[np.ndarray], prongs: TemplateScores | None = None) -> TemplateScores:
    data, of_background, signal = values
    return TemplateScores(data, of_background, signal, prongs=prongs)


def test_the_second_score_tells_the_kinds_apart() -> None:
    rng = np.random.default_rng(1)
    like = cloud(4000, rng)
    variant = dataclasses.replace(like, features=like.features + np.array([0.0, 0.02]))
    scores = candidate_scores(
        background(3000, rng), background(2000, rng), like, CrossFit(TREES, seed=3), ((1.0, variant),)
    )
    assert scores.prongs is not None
    two = like.prongs == 2
    right = (
        stats.mannwhitneyu(scores.prongs.signal[two], scores.prongs.signal[~two]).statistic / two.sum() / (~two).sum()
    )
    best = stats.norm.cdf(0.2 / np.hypot(0.08, 0.08))  # area under the curve of the likelihood ratio
    assert right == pytest.approx(best, abs=0.02)
    ((penalty, shifted),) = scores.prongs.varied
    assert penalty == 1.0 and shifted.mean() < scores.prongs.signal.mean()  # more like three prongs
    sizes = [len(getattr(part, name)) for part in (scores, scores.prongs) for name in ("data", "background", "signal")]
    assert sizes == [3000, 2000, 4000] * 2


def test_one_kind_asks_nothing() -> None:
    rng = np.random.default_rng(2)
    scores = candidate_scores(background(900, rng), background(900, rng), cloud(900, rng, three=0.0), CrossFit(TREES))
    assert scores.prongs is None
    bins = ScoreBins.of(scores, FRACTIONS, 15)
    assert len(bins.cuts) == 1 and np.isfinite(bins.edges[1:-1]).all()


def test_a_kind_that_some_training_has_not_is_not_asked() -> None:
    """A single event with weight is in one fold: the training without that fold knows nothing of its kind."""
    rng = np.random.default_rng(7)
    like = cloud(900, rng)
    left = np.where((like.prongs == 2) | (np.arange(900) == np.flatnonzero(like.prongs == 3)[0]), 1.0, 0.0)
    few = dataclasses.replace(like, weights=left / left.sum())
    scores = candidate_scores(background(900, rng), background(900, rng), few, CrossFit(TREES))
    assert scores.prongs is None and np.isfinite(scores.signal).all()
    assert np.isfinite(fit_candidate(scores, few).high)


def test_weights_of_both_kinds_are_seen() -> None:
    """Events of weight zero, wherever they are, teach nothing."""
    rng = np.random.default_rng(3)
    like = cloud(3000, rng)
    wrong = dataclasses.replace(like, prongs=5 - like.prongs, weights=np.zeros(3000))
    names = ("features", "mass", "weights", "prongs")
    both = dataclasses.replace(
        like, **{name: np.concatenate([getattr(like, name), getattr(wrong, name)]) for name in names}
    )
    tables = background(500, rng), background(500, rng)
    scores, clean = (candidate_scores(*tables, one, CrossFit(TREES)).prongs for one in (both, like))
    assert scores is not None and clean is not None
    for kind in (2, 3):
        mine = like.prongs == kind
        assert np.median(scores.signal[:3000][mine]) == pytest.approx(np.median(clean.signal[mine]), abs=0.4)


def test_bins_hold_every_event_once() -> None:
    rng = np.random.default_rng(4)
    of_prongs = of_three([rng.normal(0, 1, n) for n in (2000, 1500, 800)])
    scores = of_three([rng.normal(0, 1, n) for n in (2000, 1500, 800)], of_prongs)
    bins = ScoreBins.of(scores, FRACTIONS, 15)
    like = cloud(800, rng)
    assert bins.data.sum() == 2000 and bins.background.sum() == 1500
    assert bins.background.min() >= 7  # half of the fewest: two classes
    assert len(bins.edges) == len(bins.data) + 1
    assert np.isinf(bins.edges).sum() == 3
    for kind, share in zip((2, 3), bins.kinds_of(scores, like), strict=True):
        assert share.sum() == pytest.approx(1)
        mine = (like.prongs == kind) & (of_prongs.signal > 0)
        first = share[: len(bins.cuts[0]) + 1]  # those of events like two prongs
        assert first.sum() == pytest.approx(mine.sum() / (like.prongs == kind).sum())
        lowest = mine & (scores.signal < bins.cuts[0][0])
        assert first[0] == pytest.approx(lowest.sum() / (like.prongs == kind).sum())


@pytest.mark.parametrize("prongs", [2, 3])
def test_the_yield_of_either_kind_is_right(prongs: int) -> None:
    """Exact scores of a toy: with the second one the error of the yield falls, as the kind of decay is known."""
    rng = np.random.default_rng(prongs)
    n_signal, like = 200, cloud(6000, rng)

    def log_density(x: np.ndarray, kind: int) -> np.ndarray:
        return stats.norm.logpdf(x[:, 0], 3, 1) + stats.norm.logpdf(x[:, 1], 0.3 if kind == 2 else 0.5, 0.08)

    def first(x: np.ndarray) -> np.ndarray:
        both = np.logaddexp(log_density(x, 2), log_density(x, 3)) - np.log(2)
        return both - stats.norm.logpdf(x[:, 0], 0, 1) - stats.norm.logpdf(x[:, 1], 0.65, 0.15)

    def second(x: np.ndarray) -> np.ndarray:
        return log_density(x, 2) - log_density(x, 3)

    errors: dict[bool, list[float]] = {True: [], False: []}
    held = 0
    for _ in range(12):
        signal = cloud(n_signal, rng, three=prongs - 2.0).features
        tables = np.concatenate([background(20_000, rng), signal]), background(12_000, rng), like.features
        plain = of_three([first(table) for table in tables])
        for known in (True, False):
            scores = dataclasses.replace(plain, prongs=of_three([second(table) for table in tables]) if known else None)
            found = fit_candidate(scores, like, TemplateSettings(template_error=0.0))
            errors[known].append(found.n_signal - n_signal)
            if known:
                held += found.low <= n_signal <= found.high
                assert found.two_prong_preference is not None
                assert found.two_prong_preference * (2.5 - prongs) > 0
    assert abs(np.mean(errors[True])) < 3 * np.std(errors[True]) / np.sqrt(12) + 4
    assert np.mean(np.square(errors[True])) < np.mean(np.square(errors[False]))
    assert stats.binom.sf(held - 1, 12, 0.6827) > 0.003 and stats.binom.cdf(held, 12, 0.6827) > 0.003


@pytest.mark.parametrize("prongs", [2, 3])
def test_scores_of_one_kind(prongs: int) -> None:
    """Its density ratio, from that of the mixture and that of the kinds, as the closed form says."""
    rng = np.random.default_rng(6)
    like = cloud(500, rng, three=0.3)
    shares = {kind: float(like.weights[like.prongs == kind].sum()) for kind in (2, 3)}
    x = [rng.normal(0, 2, n) for n in (40, 30, 500)]
    p = {2: [stats.norm.pdf(v, 1, 1) for v in x], 3: [stats.norm.pdf(v, 2, 1.5) for v in x]}
    none = [stats.norm.pdf(v, 0, 2) for v in x]
    mixed = [np.log((shares[2] * a + shares[3] * b) / c) for a, b, c in zip(p[2], p[3], none, strict=True)]
    ratio = [np.log(a / b) for a, b in zip(p[2], p[3], strict=True)]
    found = of_three(mixed, of_three(ratio)).of_kind(prongs, like)
    for values, one, background_like in zip((found.data, found.background, found.signal), p[prongs], none, strict=True):
        np.testing.assert_allclose(values, np.log(one / background_like), rtol=1e-9)
