"""The primary test without a signal, training included: p-values must be uniform, and small ones not too frequent.

The pool is the packaged background table; every experiment deals it anew into data and background. The usual tests run
300 of them, `make studies` 1400. Of 1400 global p-values 21 are below 0.01, where 14 are expected (chance 5 %), ten of
them among the first 200; those of seeds 60 to 1399 alone are uniform (KS p 0.95, 16 below 0.01 where 13 are expected).
"""

from importlib.resources import files

import numpy as np
import pytest
from scipy import stats
from study_size import FULL

from bumpfit.events.tables import read
from bumpfit.scoring import BoostedTrees, ForwardPlan, forward_scores
from bumpfit.search.two_sample import two_sample_test
from bumpfit.search.windows import Window

EXPERIMENTS = 1400 if FULL else 300
ALARM = 1e-3 if FULL else 1e-4
"""Chance below which a count is an alarm: twelve counts are looked at, and the usual tests run often."""


@pytest.mark.statistics
def test_global_p_values_are_uniform_through_the_training() -> None:
    pool = read(files("bumpfit") / "data" / "example_background.parquet")
    n, m = 6000, 4000
    plan, trees = ForwardPlan(first=0.4, blocks=3), BoostedTrees(models=1, iterations=30)
    windows = (Window(-np.inf, np.inf, 3000.0),)
    everything = [(np.ones(n, bool), np.ones(m, bool))]
    found = []
    for seed in range(EXPERIMENTS):
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(pool))
        data, background = pool.take(order[:n]), pool.take(order[n : n + m])
        blocks = plan.deal(n, rng), plan.deal(m, rng)
        scored = [
            block
            for _, block in forward_scores(data.features, background.features, *blocks, everything, trees, seed=seed)
        ]
        test = two_sample_test([scored], windows, (0.1, 0.03, 0.01, 0.003), (data.mass, background.mass), seed=seed)
        found.append([test.overall.p, *(s.p_local for s in test.selections)])
    p = np.array(found)
    assert stats.kstest(p[:, 0], "uniform").pvalue > 10 * ALARM
    for column in p.T:  # each at most its nominal rate: exact laws are conservative by their steps only
        for a in (0.1, 0.01):
            assert stats.binom.sf((column <= a).sum() - 1, EXPERIMENTS, a) > ALARM
