"""Slow checks of toys: tails by brute force and importance sampling, uniform p-values, intervals that cover.

The usual tests run a tenth of `make studies`.
"""

import dataclasses
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bumpfit import inference, toys, workspace
from bumpfit.workspace import build
from study_size import FULL

sys.path.insert(0, str(Path(__file__).parents[1] / "toys"))
from toy_models import dijet

SCALE = 10 if FULL else 1


@pytest.mark.statistics
@pytest.mark.parametrize("events", [60_000, 600])
def test_brute_force_agrees_with_importance_sampling_in_the_tail(events: int) -> None:
    model = dijet(events)
    direct = toys.run(toys.engine(model), 30_000_000 if FULL else 1_000_000, workers=2, show=False)
    assert direct.failed == 0
    weighted = toys.tail(model, 30_000 * SCALE, seed=1)
    for z in (1, 2, 3, 4):
        (p, error), (w, w_error) = direct.p_value(z * z), weighted.p_value(z * z)
        assert abs(p - w) < 4 * math.hypot(error, w_error)


@pytest.mark.statistics
def test_p_values_of_background_are_uniform_where_they_can_be() -> None:
    """Half of all experiments have q0 = 0 and p = 1, the others share the rest evenly."""
    model = dijet(3000)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60 * SCALE):
        seen = dataclasses.replace(model, observed=rng.poisson(model.rate).astype(float))
        found.append(toys.throw(seen, 2000, seed=int(rng.integers(2**31))).p_value()[0])
    p = np.array(found)
    excess = p[p < 0.9]
    assert stats.binomtest(len(excess), len(p), 0.5).pvalue > 1e-3
    assert stats.kstest(excess / 0.5, "uniform").pvalue > 1e-3


@pytest.mark.statistics
def test_feldman_cousins_intervals_cover() -> None:
    """Known background of 3 events: intervals at 90 % hold the truth at least that often."""
    rng = np.random.default_rng(1)
    strength, inside = 2.0, {}
    counts = rng.poisson(3.0 + strength, 200 * SCALE)
    for n in np.unique(counts):
        signal = build.sample("s", [1.0], build.modifier("normfactor", "mu"))
        ranges = {"mu": {"bounds": [[0.0, 100.0]]}}
        spec = build.workspace({"a": [signal, build.sample("b", [3.0])]}, {"a": [float(n)]}, "mu", ranges)
        found = inference.interval(workspace.read(spec), level=0.9, law=toys.Toys(8000, seed=int(n)))
        inside[int(n)] = found.low <= strength <= found.high
    covered = sum(inside[int(n)] for n in counts)
    assert stats.binomtest(int(covered), len(counts), 0.9, alternative="less").pvalue > 1e-3
