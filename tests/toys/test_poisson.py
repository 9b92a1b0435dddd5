from decimal import Decimal, getcontext

import numpy as np
import pytest
from numba import njit
from scipy import stats

from bumpfit.errors import InputError
from bumpfit.mixing import GOLDEN
from bumpfit.toys.lanes import store
from bumpfit.toys.poisson import _support, alias_draw, alias_draws, alias_tables, normal, stream, uniform


@njit
def counts_of(seed, toys, cells, start, bits, low, out):
    for i in range(toys.size):
        state = stream(seed, toys[i], low.size)
        for b in range(low.size):
            state += GOLDEN
            out[i, b] = alias_draw(state, cells, start[b], bits[b], low[b])


def draw(rate, n, seed=1):
    tables = alias_tables(np.asarray(rate, dtype=float))
    out = np.empty((n, len(tables.low)))
    counts_of(seed, np.arange(n), *tables, out)
    return out


@pytest.mark.parametrize("mean", [1e-3, 0.5, 3.7, 20.0, 1234.5, 1e6])
def test_counts_follow_the_poisson_law(mean: float) -> None:
    n = 200_000
    counts = draw([mean], n)[:, 0]
    edges = np.unique(stats.poisson.ppf(np.linspace(0.001, 0.999, 60), mean))
    seen = np.histogram(counts, [-0.5, *(edges + 0.5), np.inf])[0]
    cumulative = np.concatenate([[0], stats.poisson.cdf(edges, mean), [1]])
    expected = n * np.diff(cumulative)
    keep = expected > 5
    chi2 = np.sum((seen[keep] - expected[keep]) ** 2 / expected[keep])
    assert stats.chi2.sf(chi2, keep.sum()) > 1e-4


def test_tables_hold_the_exact_probabilities() -> None:
    mean = 7.3
    tables = alias_tables(np.array([mean]))
    columns = 1 << int(tables.bits[0])
    threshold = (tables.cells >> np.uint64(20)).astype(float) / 2.0**44
    alias = (tables.cells & np.uint64((1 << 20) - 1)).astype(int)
    probability = threshold / columns
    np.add.at(probability, alias, (1 - threshold) / columns)
    expected = stats.poisson.pmf(np.arange(columns), mean)
    np.testing.assert_allclose(probability, expected, atol=1e-15)
    far = stats.poisson.pmf(40, mean)
    assert probability[40] == pytest.approx(far, rel=1e-3)  # a 1e-17 tail is there with its right weight


@pytest.mark.parametrize("mean", [1e-5, 0.3, 1.0, 17.0, 17.5, 3e4])
def test_support_holds_the_law_at_any_mean(mean: float) -> None:
    first, probability = _support(mean)
    counts = first + np.arange(probability.size)
    np.testing.assert_allclose(probability, stats.poisson.pmf(counts, mean), rtol=1e-9, atol=1e-18)
    assert probability.sum() == pytest.approx(1, abs=1e-15)


def test_support_of_a_large_mean_is_exact() -> None:
    """Against ln p in 50 digits with Stirling's series; 64 bits lose 1e-5 of p in k ln(mean) - mean - ln k!."""
    first, probability = _support(1.9e9)
    getcontext().prec = 50
    mean = Decimal("1.9e9")
    pi = Decimal("3.14159265358979323846264338327950288419716939937511")
    for i in (0, probability.size // 3, probability.size // 2, probability.size - 1):
        k = Decimal(first + i)
        factorial = k * k.ln() - k + (2 * pi * k).ln() / 2 + 1 / (12 * k) - 1 / (360 * k**3)
        assert probability[i] == pytest.approx(float((k * mean.ln() - mean - factorial).exp()), rel=1e-10)


def test_zero_rate_gives_zero() -> None:
    assert not draw([0.0, 0.0], 100).any()


def test_bins_toys_and_seeds_are_independent() -> None:
    counts = draw([50.0] * 4, 50_000)
    correlation = np.corrcoef(counts.T)[np.triu_indices(4, 1)]
    assert np.abs(correlation).max() < 5 / np.sqrt(50_000)
    serial = np.corrcoef(counts[:-1, 0], counts[1:, 0])[0, 1]
    other = np.corrcoef(counts[:, 0], draw([50.0] * 4, 50_000, seed=2)[:, 0])[0, 1]
    assert max(abs(serial), abs(other)) < 5 / np.sqrt(50_000)


def test_eight_lanes_draw_the_same_as_one() -> None:
    rates = np.array([0.3, 5.0, 4000.0, 17.0])
    tables = alias_tables(rates)
    states, x = np.empty(8, np.uint64), np.empty((4, 8))

    @njit
    def lanes(seed, states, cells, start, bits, low, x):
        for lane in range(8):
            states[lane] = stream(seed, 100 + lane, low.size)
        step = np.uint64(0)
        for b in range(low.size):
            step += GOLDEN
            store(x, b, alias_draws(states, step, cells, start[b], bits[b], low[b]))

    lanes(3, states, *tables, x)
    scalar = np.empty((8, 4))
    counts_of(3, np.arange(100, 108), *tables, scalar)
    np.testing.assert_array_equal(x.T, scalar)


def test_normal_and_uniform_numbers() -> None:
    @njit
    def fill(out, uniforms):
        state = stream(5, 0, 2 * out.size)
        for i in range(out.size):
            state += GOLDEN + GOLDEN
            out[i] = normal(state)
            uniforms[i] = uniform(state)

    out, uniforms = np.empty(100_000), np.empty(100_000)
    fill(out, uniforms)
    assert stats.kstest(out, "norm").pvalue > 1e-3
    assert stats.kstest(uniforms, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("rate", [-1.0, np.nan, np.inf, 3e9])
def test_impossible_rates(rate: float) -> None:
    with pytest.raises(InputError, match="bin 1 expects"):
        alias_tables(np.array([1.0, rate]))
