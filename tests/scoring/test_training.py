import dataclasses
from typing import get_args

import numpy as np
import pytest
from scipy.special import logit
from sklearn.metrics import roc_auc_score

from bumpfit.commands.tagging import Kind
from bumpfit.errors import InputError
from bumpfit.execute import worker_pool
from bumpfit.scoring import (
    APPROACHES,
    RANKING,
    Average,
    BoostedTrees,
    Classifier,
    ExtraTrees,
    ForwardPlan,
    RandomForest,
    approach,
    cross_fit,
    deal_folds,
    forward_scores,
    survival,
    train,
)
from bumpfit.scoring.approaches import SURE, log_ratios
from bumpfit.scoring.forests import TREES as TREES_AT_ONCE

TREES = BoostedTrees(models=2, iterations=30)


def two_samples(n: int, shift: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(shift, 1, (n, 2)), rng.normal(0, 1, (n, 2))


@pytest.mark.parametrize("recipe", [TREES, RandomForest(trees=20), ExtraTrees(trees=20)])
def test_log_ratio_of_two_gaussians(recipe: Classifier) -> None:
    positive, negative = two_samples(4000, 1.0, 1)
    ensemble = train(recipe, positive, negative, seed=1)
    fresh_p, fresh_n = two_samples(4000, 1.0, 2)
    x = np.concatenate([fresh_p, fresh_n])
    exact = x.sum(axis=1) - 1.0  # ln N(x; 1) / N(x; 0) in two dimensions
    assert np.corrcoef(ensemble.log_ratio(x), exact)[0, 1] > 0.95
    labels = np.r_[np.ones(4000), np.zeros(4000)]
    assert roc_auc_score(labels, ensemble.log_ratio(x)) > roc_auc_score(labels, exact) - 0.02


def test_class_sizes_do_not_shift_the_ratio() -> None:
    positive, negative = two_samples(6000, 0.0, 3)
    assert abs(train(TREES, positive[:1000], negative, 1).log_ratio(negative).mean()) < 0.15


def test_weights_count() -> None:
    rng = np.random.default_rng(5)
    positive = np.r_[rng.normal(-2, 0.3, (2000, 1)), rng.normal(2, 0.3, (2000, 1))]
    negative = rng.uniform(-3, 3, (4000, 1))
    weights = np.r_[np.full(2000, 9.0), np.full(2000, 1.0)]
    ensemble = train(BoostedTrees(models=1), positive, negative, 1, weights)
    left, right = ensemble.log_ratio(np.array([[-2.0], [2.0]]))
    assert left - right == pytest.approx(np.log(9), abs=0.7)


def test_blocks_are_dealt_in_the_right_shares() -> None:
    block = ForwardPlan(first=0.3, blocks=7).deal(1000, np.random.default_rng(1))
    assert np.bincount(block).tolist() == [300, *[100] * 7]
    with pytest.raises(InputError, match="fewer than the 8 blocks"):
        ForwardPlan(first=0.3, blocks=7).deal(7, np.random.default_rng(1))


def test_forward_models_never_see_their_block_or_later_ones() -> None:
    """Changing the events of the last block changes no score of the blocks before it, nor the models that score it."""
    data, background = two_samples(900, 0.3, 7)
    rng = np.random.default_rng(1)
    plan = ForwardPlan(first=0.4, blocks=3)
    block_d, block_b = plan.deal(900, rng), plan.deal(900, rng)
    everything = [(np.ones(900, bool), np.ones(900, bool))]

    def scores(d: np.ndarray) -> list[np.ndarray]:
        found = [b for _, b in forward_scores(d, background, block_d, block_b, everything, TREES, seed=3)]
        return [b.data for b in found] + [b.background for b in found]

    changed = data.copy()
    changed[block_d == 3] += 5.0
    before, after = scores(data), scores(changed)
    for k in (0, 1, 3, 4, 5):  # data of blocks 1, 2 and background of blocks 1, 2, 3
        np.testing.assert_array_equal(before[k], after[k])
    assert not np.array_equal(before[2], after[2])


def test_cross_fit_never_scores_a_training_event() -> None:
    """Moving all data events of a fold changes no score of that fold's background: its models never saw them."""
    data, background = two_samples(600, 0.5, 11)
    rng = np.random.default_rng(2)
    fold_d, fold_b = deal_folds(600, 3, rng), deal_folds(600, 3, rng)
    place = [(np.ones(600, bool), np.ones(600, bool))]

    def run(d: np.ndarray) -> np.ndarray:
        return next(cross_fit(d, background, fold_d, fold_b, place, TREES, seed=1))[1]

    moved = data.copy()
    moved[fold_d == 0] += 3.0
    first, second = run(data), run(moved)
    np.testing.assert_array_equal(first[fold_b == 0], second[fold_b == 0])
    assert not np.array_equal(first[fold_b == 1], second[fold_b == 1])


@pytest.mark.slow
def test_same_numbers_in_worker_processes() -> None:
    data, background = two_samples(400, 0.5, 13)
    rng = np.random.default_rng(2)
    folds = deal_folds(400, 2, rng), deal_folds(400, 2, rng)
    place = [(np.ones(400, bool), np.ones(400, bool))]
    here = next(cross_fit(data, background, *folds, place, TREES, seed=1))
    with worker_pool(2) as pool:
        there = next(cross_fit(data, background, *folds, place, TREES, seed=1, executor=pool))
    np.testing.assert_array_equal(here[0], there[0])


def test_survival_is_a_rank() -> None:
    rng = np.random.default_rng(1)
    background = rng.exponential(size=999)
    fresh = rng.exponential(size=4000)
    found = survival(fresh, background)
    assert ((found > 0) & (found < 1)).all()
    np.testing.assert_allclose(found, np.exp(-fresh), atol=0.05)
    order = np.argsort(fresh)
    assert (np.diff(found[order]) <= 1e-12).all()
    # above all background events the order is kept and the exponential tail goes on
    far = survival(np.array([10.0, 11.0, 12.0]), background)
    assert (np.diff(far) < 0).all()
    assert np.log(far[2] / far[0]) == pytest.approx(-2, abs=1.0)


def test_survival_of_ties() -> None:
    background = np.array([0.0, 0.0, 1.0, 1.0, 2.0])
    np.testing.assert_allclose(survival(background, background), np.array([5, 5, 3, 3, 1]) / 6)


def test_unknown_approach_and_setting() -> None:
    with pytest.raises(InputError, match="no approach 'net'"):
        approach("net")
    with pytest.raises(InputError, match="no setting 'depth'"):
        approach("trees", depth=3)


def test_too_few_events() -> None:
    with pytest.raises(InputError, match="at least two events"):
        train(TREES, np.zeros((1, 2)), np.zeros((5, 2)), 1)
    with pytest.raises(InputError, match="fewer than the 5 folds"):
        deal_folds(4, 5, np.random.default_rng(1))


@pytest.mark.parametrize("kind", [RandomForest, ExtraTrees])
@pytest.mark.parametrize("missing", [False, True])
def test_stored_forests_are_those_of_scikit_learn(kind: type[RandomForest], missing: bool) -> None:
    """The arrays of a forest give scikit-learn's own probabilities, with three classes and missing values too."""
    rng = np.random.default_rng(3)
    y = rng.integers(3, size=900)
    x = rng.normal(y[:, None], 1.0, (900, 4))
    if missing:
        x[rng.uniform(size=x.shape) < 0.1] = np.nan
    w = rng.uniform(0.5, 2.0, 900)
    made = kind(trees=12, leaf_events=5).fit(x, y, w, seed=4)
    theirs = made.estimator(4).fit(x, y, sample_weight=w / w.mean())
    np.testing.assert_allclose(made.predict_proba(x), theirs.predict_proba(x), rtol=0, atol=1e-12)
    again = kind(trees=12, leaf_events=5).restore(made.state())
    np.testing.assert_array_equal(again.predict_proba(x), made.predict_proba(x))


def test_damaged_forests_are_refused() -> None:
    positive, negative = two_samples(200, 1.0, 1)
    x, y = np.concatenate([positive, negative]), np.r_[np.ones(200), np.zeros(200)]
    good = ExtraTrees(trees=3, leaf_events=20).fit(x, y).state()
    circle = good.arrays["nodes"].copy()
    circle["left"][0] = 0
    beyond = good.arrays["nodes"].copy()
    beyond["feature"][0] = 7
    arrays = good.arrays
    wrong = {"nodes": circle}, {"nodes": beyond}, {"values": arrays["values"] * np.nan}, {"sizes": arrays["sizes"][:2]}
    for changed in wrong:
        with pytest.raises(ValueError, match="forest"):
            ExtraTrees().restore(dataclasses.replace(good, arrays={**arrays, **changed}))


def test_average_is_the_mean_of_the_log_odds_of_its_members() -> None:
    positive, negative = two_samples(500, 1.0, 1)
    x, y = np.concatenate([positive, negative]), np.r_[np.ones(500), np.zeros(500)]
    names, settings = ("trees", "extra_trees", "trees"), {"trees": {"models": 1, "iterations": 10}}
    average = Average(names, settings).fit(x, y, seed=2)
    seeds = np.random.SeedSequence(2).generate_state(3)
    alone = [
        approach(name, **settings.get(name, {})).fit(x, y, seed=int(s)) for name, s in zip(names, seeds, strict=True)
    ]
    odds = np.mean([logit(np.clip(one.predict_proba(x)[:, 1], SURE, 1 - SURE)) for one in alone], axis=0)
    np.testing.assert_allclose(logit(average.predict_proba(x)[:, 1]), odds, atol=1e-5)
    again = Average(names, settings).restore(average.state())
    np.testing.assert_array_equal(again.predict_proba(x), average.predict_proba(x))


@pytest.mark.parametrize("wrong", [(), ("cuts",), ("average",), ("oak",)])
def test_averages_of_what_cannot_be_averaged(wrong: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        Average(wrong).made()


@pytest.mark.parametrize("name", RANKING)
def test_every_ranking_approach_tells_two_samples_apart(name: str) -> None:
    """Whatever is in the registry can serve a search: an ensemble of it ranks, the same for the same seed."""
    if name == "mlp":
        pytest.importorskip("torch")
    quick = {"mlp": {"epochs": 5}, "trees": {"models": 1, "iterations": 20}}
    positive, negative = two_samples(600, 1.5, 1)
    fresh = two_samples(300, 1.5, 2)
    ratios = [
        [train(approach(name, **quick.get(name, {})), positive, negative, seed=3).log_ratio(x) for x in fresh]
        for _ in range(2)
    ]
    labels = np.r_[np.ones(300), np.zeros(300)]
    assert roc_auc_score(labels, np.concatenate(ratios[0])) > 0.9
    np.testing.assert_array_equal(ratios[0], ratios[1])


def test_commands_offer_what_the_registry_holds() -> None:
    assert get_args(Kind) == tuple(APPROACHES)


@pytest.mark.parametrize("name", ["extra_trees", "forest", "trees"])
def test_models_that_are_not_kept_say_the_same(name: str) -> None:
    rng = np.random.default_rng(8)
    positive, negative, fresh = rng.normal(0.3, 1, (600, 3)), rng.normal(0, 1, (400, 3)), rng.normal(0, 1, (50, 3))
    made = approach(name, **({"iterations": 20} if name == "trees" else {"trees": 2 * TREES_AT_ONCE + 1}))
    weights = rng.random(600)
    kept = train(made, positive, negative, seed=4, weights=weights)
    of_fresh, of_none = log_ratios(made, positive, negative, (fresh, fresh[:0]), seed=4, weights=weights)
    assert np.array_equal(of_fresh, kept.log_ratio(fresh)) and not len(of_none)
