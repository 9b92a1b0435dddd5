"""The primary test without a signal, training included: p-values must be uniform, and small ones not too frequent.

The pool is the packaged background table; every experiment deals it anew into data and background. The usual test runs
24 small ones, and shows that the criterion sees events that were learned from (four of them suffice); `make studies`
runs 1400 of full size. Of 1400 global p-values 21 are below 0.01, where 14 are expected (chance 5 %), ten of them among
the first 200; those of seeds 60 to 1399 alone are uniform (KS p 0.95, 16 below 0.01 where 13 are expected).
"""

import dataclasses
from importlib.resources import files

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from bumpfit.events.tables import Events, read
from bumpfit.scoring import BoostedTrees, ForwardPlan, forward_scores, train
from bumpfit.search.two_sample import RankSettings, two_sample_test
from bumpfit.search.windows import Window
from study_size import FULL

EXPERIMENTS, SIZE = (1400, (6000, 4000)) if FULL else (24, (1500, 1000))
ALARM = 1e-3 if FULL else 1e-4
"""Chance below which a count is an alarm: twelve counts are looked at, and the usual tests run often."""
TREES = BoostedTrees(models=1, iterations=30 if FULL else 12, leaves=31 if FULL else 8)
PLAN = ForwardPlan(first=0.4, blocks=3 if FULL else 2)


def p_values(pool: Events, seed: int, *, learned: bool = False) -> list[float]:
    """Global p-value and those of the selections, of tested events that were `learned` from, or not."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pool))
    n, m = SIZE
    data, background = pool.take(order[:n]), pool.take(order[n : n + m])
    blocks = PLAN.deal(n, rng), PLAN.deal(m, rng)
    region = [(np.ones(n, bool), np.ones(m, bool))]
    scored = [
        block for _, block in forward_scores(data.features, background.features, *blocks, region, TREES, seed=seed)
    ]
    if learned:
        model = train(TREES, data.features, background.features, seed)
        of_data, of_background = model.log_ratio(data.features), model.log_ratio(background.features)
        scored = [
            dataclasses.replace(b, data=of_data[b.data_rows], background=of_background[b.background_rows])
            for b in scored
        ]
    rank = RankSettings() if FULL else RankSettings(error=0.15)
    everything = (Window(-np.inf, np.inf, 3000.0),)
    masses = (data.mass, background.mass)
    test = two_sample_test([scored], everything, (0.1, 0.03, 0.01, 0.003), masses, rank=rank, seed=seed)
    return [test.overall.p, *(s.p_local for s in test.selections)]


def alarms(p: NDArray[np.float64]) -> bool:
    """Whether p-values (experiments, laws) are not uniform or, exact laws being conservative by steps, too small."""
    if stats.kstest(p[:, 0], "uniform").pvalue <= 10 * ALARM:
        return True
    return any(stats.binom.sf((of <= a).sum() - 1, len(of), a) <= ALARM for of in p.T for a in (0.1, 0.01))


@pytest.mark.statistics
def test_global_p_values_are_uniform_through_the_training() -> None:
    pool = read(files("bumpfit") / "data" / "example_background.parquet")
    assert not alarms(np.array([p_values(pool, seed) for seed in range(EXPERIMENTS)]))
    assert alarms(np.array([p_values(pool, seed, learned=True) for seed in range(4)]))
