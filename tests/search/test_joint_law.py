"""The law of the smallest p-value of several windows, beside all labels one by one, and the ranks by hand."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import betabinom, norm

from bumpfit.scoring import ScoredBlock
from bumpfit.search import two_sample
from bumpfit.search.permutations import Labelled, SaddlePoint, smallest_p
from bumpfit.search.two_sample import RankSettings, two_sample_test
from bumpfit.search.windows import Window


@pytest.mark.parametrize("shared", [0, 3, 6])
def test_every_label_one_by_one(shared: int) -> None:
    """Two statistics of six events each, of which `shared` are the same: 924 choices of the labels."""
    size = 12
    is_data = np.isin(np.arange(size), (0, 1, 2, 3, 6, 7))
    values = np.array([3.0, 2.2, 1.7, 1.1, 0.6, 0.2])
    other = np.r_[np.arange(6 - shared, 6), np.arange(6, 12 - shared)]
    events = Labelled(np.zeros(size, np.int64), is_data, (np.arange(6), other), (values, values[::-1].copy()))
    points = [SaddlePoint(events, s) for s in range(2)]
    observed = min(float(p.log_p(t)) for p, t in zip(points, events.observed(), strict=True))
    chosen = np.zeros((math.comb(size, 6), size), bool)
    for row, places in zip(chosen, itertools.combinations(range(size), 6), strict=True):
        row[list(places)] = True
    sums = [chosen[:, rows] @ v for rows, v in zip(events.rows, events.values, strict=True)]
    smallest = np.min([p.log_p(t) for p, t in zip(points, sums, strict=True)], axis=0)
    exact = (smallest <= observed + 1e-9).mean()
    found = smallest_p(events, seed=1, error=0.02)
    assert found.p == pytest.approx(exact, rel=4 * 0.02)
    assert found.log_local.min() == pytest.approx(observed)


def test_ranks_by_hand() -> None:
    """Place u of the order, data and background together, weighs ln((1 + d / u) / (1 + d / r)) sqrt(k / K)."""
    data, background = np.array([9.0, 5.0, 1.0, 0.5, 0.1]), np.array([8.0, 4.0, 3.0, 2.0, 0.2])
    blocks = [ScoredBlock(k, np.arange(5), np.arange(5), data, background) for k in (1, 2)]
    rank = RankSettings(depth=0.1, reach=0.4)
    rows, weights = two_sample._ranked(blocks, 100, rank, np.random.default_rng(1))
    np.testing.assert_array_equal(rows, [0, 100, 1, 101] * 2)
    u = np.array([0.05, 0.15, 0.25, 0.35])
    wanted = np.log((1 + 0.1 / u) / (1 + 0.1 / 0.4))
    np.testing.assert_allclose(weights, np.r_[np.sqrt(0.5) * wanted, wanted])


def test_counts_of_two_blocks_by_hand() -> None:
    """8 data and 4 background events a block, cut on the second: twice 2 / 4 x 8 = 4 expected, of 4 events."""
    data, background = np.array([9.0, 8, 7, 6, 5, 1, 0.5, 0.4]), np.array([8.5, 3.0, 2.0, 0.0])
    blocks = [ScoredBlock(k, np.arange(8) + 8 * (k - 1), np.arange(4) + 4 * (k - 1), data, background) for k in (1, 2)]
    window = (Window(-np.inf, np.inf, 3000.0),)
    test = two_sample_test([blocks], window, (0.5,), (np.full(16, 3e3), np.full(8, 3e3)), min_background=1)
    found = test.selections[0]
    assert (found.n_data, found.n_background, found.n_background_expected) == (10, 4, 8.0)
    assert found.background_error == pytest.approx(8 / np.sqrt(4))
    one = betabinom.pmf(np.arange(9), 8, 2, 3)
    assert found.p_local == pytest.approx(np.convolve(one, one)[10:].sum(), rel=1e-9)
    assert found.z_local == pytest.approx(norm.isf(found.p_local))


def test_windows_are_trials() -> None:
    """Two windows without common events: 1 - (1 - p)^2 of the smaller p."""
    rng = np.random.default_rng(3)
    windows = (Window(-np.inf, 3000.0, 2750.0), Window(3000.0, np.inf, 3250.0))
    mass = np.r_[np.full(300, 2800.0), np.full(300, 3200.0)]
    score = rng.normal(size=600)
    score[300:312] += 2.5
    scored = []
    for w in range(2):
        rows = np.arange(300) + 300 * w
        scored.append([ScoredBlock(1, rows, rows, score[rows], rng.normal(size=300))])
    found = two_sample_test(scored, windows, (0.1,), (mass, mass), rank=RankSettings(depth=0.03, error=0.03), seed=2)
    alone = two_sample_test(scored[1:], windows[1:], (0.1,), (mass, mass), rank=RankSettings(depth=0.03, error=0.03))
    p = alone.overall.p
    assert 1e-4 < p < 0.1
    assert found.overall.tested == (0, 1) and found.overall.window == 1
    assert found.overall.p == pytest.approx(1 - (1 - p) ** 2, rel=0.15)
    assert found.overall.z == pytest.approx(norm.isf(found.overall.p), abs=1e-6)
    assert (
        max(found.overall.z_local)
        == found.overall.z_local[1]
        == pytest.approx(norm.isf(found.overall.p_local), abs=1e-6)
    )
