import math

import numpy as np
import pytest
from scipy import stats

from bumpfit.errors import InputError
from bumpfit.search.permutations import Labelled, SaddlePoint, smallest_p
from study_size import FULL

DEPTHS = (0.1, 0.01, 0.001)


def experiment(rng: np.random.Generator, n_signal: int = 0, cells: int = 1, blocks: int = 2) -> Labelled:
    """Random scores, some signal at the top; blocks of 400 data and 300 background events; rank statistics."""
    n_data, n_background = 400, 300
    block = np.repeat(np.arange(blocks), n_data + n_background)
    is_data = np.tile(np.arange(n_data + n_background) < n_data, blocks)
    score = rng.normal(size=len(block))
    score[rng.permutation(np.flatnonzero(is_data))[:n_signal]] += 3
    rows, values = [], []
    for depth in DEPTHS:
        chosen, weight = [], []
        for b in range(blocks):
            mine = np.flatnonzero(block == b)
            u = (np.arange(len(mine)) + 0.5) / len(mine)
            keep = u < 0.2
            chosen.append(mine[np.argsort(-score[mine])][keep])
            weight.append(np.log((1 + depth / u[keep]) / (1 + depth / 0.2)))
        rows.append(np.concatenate(chosen))
        values.append(np.concatenate(weight))
    return Labelled(block * cells + rng.integers(cells, size=len(block)), is_data, tuple(rows), tuple(values))


def brute_force(events: Labelled, n: int, seed: int) -> float:
    """The same p-value from plain permutations of the labels of every cell."""
    points = [SaddlePoint(events, s) for s in range(len(events.rows))]
    observed = min(float(p.log_p(t)) for p, t in zip(points, events.observed(), strict=True))
    weights = np.zeros((len(events.cell), len(events.rows)))
    for s, (rows, values) in enumerate(zip(events.rows, events.values, strict=True)):
        weights[rows, s] = values
    rng, extreme = np.random.default_rng(seed), 0
    for first in range(0, n, BATCH):
        size = min(BATCH, n - first)
        total = np.zeros((size, len(events.rows)))
        for cell in range(events.cell.max() + 1):
            mine = np.flatnonzero(events.cell == cell)
            data = int(events.is_data[mine].sum())
            heavy = mine[(weights[mine] != 0).any(axis=1)]  # the others only fill up
            taken = rng.hypergeometric(data, len(mine) - data, len(heavy), size)
            place = rng.random((size, len(heavy))).argsort(axis=1).argsort(axis=1)
            total += (place < taken[:, None]).astype(float) @ weights[heavy]
        smallest = np.min([p.log_p(total[:, s]) for s, p in enumerate(points)], axis=0)
        extreme += int((smallest <= observed + 1e-9).sum())
    return extreme / n


BATCH = 4000


@pytest.mark.parametrize("n_data_above", [20, 40, 48])
def test_one_cut_is_hypergeometric(n_data_above: int) -> None:
    """Weight one above a fixed rank: the number of data events there has a closed form, down to 1e-21."""
    is_data = np.zeros(600, bool)
    is_data[:n_data_above] = True
    is_data[100 : 100 + 200 - n_data_above] = True
    events = Labelled(np.zeros(600, np.int64), is_data, (np.arange(50),), (np.ones(50),))
    found = smallest_p(events, seed=1, error=0.01)
    exact = stats.hypergeom.sf(n_data_above - 1, 600, 200, 50)
    assert exact < {20: 0.2, 40: 1e-9, 48: 1e-19}[n_data_above]
    assert found.p == pytest.approx(exact, rel=0.05)
    assert abs(found.p - exact) < 4 * found.error + 1e-3 * exact


@pytest.mark.parametrize(("n_signal", "cells"), [(6, 1), (8, 3)])
def test_tilted_permutations_equal_plain_ones(n_signal: int, cells: int) -> None:
    events = experiment(np.random.default_rng(n_signal), n_signal, cells)
    found, n = smallest_p(events, seed=2, error=0.02), 8_000
    plain = brute_force(events, n, seed=3)
    assert abs(found.p - plain) < 4 * math.hypot(found.error, math.sqrt(found.p / n))


@pytest.mark.statistics
@pytest.mark.parametrize(("seed", "n_signal", "size"), [(2, 14, 1e-3), (2, 30, 2e-4), (1, 30, 4e-5), (2, 26, 3e-5)])
def test_tilted_permutations_equal_a_million_plain_ones(seed: int, n_signal: int, size: float) -> None:
    """The p-values that a claim rests on, by brute force; 30 000 permutations, of the first one alone, usually."""
    if not FULL and size < 5e-4:
        pytest.skip("make studies")
    events = experiment(np.random.default_rng([seed, n_signal]), n_signal, 2)
    found, n = smallest_p(events, seed=2, error=0.02), 1_000_000 if FULL else 30_000
    assert 0.5 * size < found.p < 2 * size
    plain = brute_force(events, n, seed=3)
    print(
        f"tilted {found.p:.3e} +- {found.error:.1e}, {n} plain permutations {plain:.3e} +- {math.sqrt(plain / n):.1e}"
    )
    assert abs(found.p - plain) < 4 * math.hypot(found.error, math.sqrt(found.p / n))


def test_p_values_are_uniform_without_signal() -> None:
    rng = np.random.default_rng(4)
    p = [smallest_p(experiment(rng, cells=2), seed=i, error=0.1).p for i in range(60)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_deep_tails_agree_between_seeds_and_with_the_saddle_point() -> None:
    events = experiment(np.random.default_rng(5), 120)
    one, two = (smallest_p(events, seed=seed, error=0.03) for seed in (1, 2))
    assert one.log_p < math.log(1e-12)
    assert abs(one.p - two.p) < 4 * math.hypot(one.error, two.error)
    smallest = float(one.log_local[one.smallest])
    # the joint p lies between the smallest local one and the union bound
    assert smallest - 0.1 < one.log_p < smallest + math.log(len(DEPTHS)) + 0.1


def test_saddle_point_beside_plain_permutations() -> None:
    """ln p of single statistics, where 8000 permutations can see it."""
    events = experiment(np.random.default_rng(6), 6)
    for s in range(len(DEPTHS)):
        alone = Labelled(events.cell, events.is_data, events.rows[s : s + 1], events.values[s : s + 1])
        assert math.exp(SaddlePoint(alone, 0).log_p(alone.observed()[0])) == pytest.approx(
            brute_force(alone, 8_000, seed=s), rel=0.25
        )


def test_few_draws_stay_valid() -> None:
    """The observed labels count as a draw: even with hardly any draws p is not too small too often."""
    rng = np.random.default_rng(7)
    p = np.array([smallest_p(experiment(rng), seed=i, most=10).p for i in range(100)])
    for level in (0.3, 0.1):
        assert (p <= level).mean() <= level + 3 * math.sqrt(level * (1 - level) / len(p))


def test_wrong_inputs() -> None:
    cell, label = np.zeros(4, np.int64), np.array([True, False, True, False])
    with pytest.raises(InputError, match="each event once"):
        Labelled(cell, label, (np.array([1, 1]),), (np.ones(2),))
    with pytest.raises(InputError, match="one value only"):
        smallest_p(Labelled(cell, label, (np.arange(4),), (np.ones(4),)))
