import numpy as np
import pytest
from scipy import stats

from bumpfit.errors import InputError
from bumpfit.scoring import ScoredBlock
from bumpfit.search.two_sample import RankSettings, TwoSampleTest, two_sample_test
from bumpfit.search.windows import Window, WindowPlan, home_window

EVERYTHING = (Window(-np.inf, np.inf, 3000.0),)
BLOCKS = 3


def experiment(rng: np.random.Generator, n_signal: int = 0, windows: tuple[Window, ...] = EVERYTHING) -> TwoSampleTest:
    """Random scores of a signal-free table, with some signal at the top; 3 blocks of 400 data and 300 background."""
    mass_d, mass_b = rng.uniform(2500, 3500, 400 * BLOCKS), rng.uniform(2500, 3500, 300 * BLOCKS)
    block_d, block_b = np.arange(400 * BLOCKS) % BLOCKS + 1, np.arange(300 * BLOCKS) % BLOCKS + 1
    score_d, score_b = rng.normal(size=len(mass_d)), rng.normal(size=len(mass_b))
    score_d[:n_signal] += 3
    scored = []
    for window in windows:
        blocks = []
        for k in range(1, BLOCKS + 1):
            d = np.flatnonzero((block_d == k) & window.contains(mass_d))
            b = np.flatnonzero((block_b == k) & window.contains(mass_b))
            blocks.append(ScoredBlock(k, d, b, score_d[d], score_b[b]))
        scored.append(blocks)
    seed = int(rng.integers(2**31))
    return two_sample_test(
        scored, windows, (0.1, 0.03, 0.01), (mass_d, mass_b), rank=RankSettings(error=0.1), seed=seed
    )


def test_counts_and_exact_p_by_hand() -> None:
    """One block, cut on the second-highest background event: the p-value is a beta-binomial tail."""
    data, background = np.array([5.0, 4.0, 3.5, 1.0, 0.5]), np.array([4.5, 3.0, 2.0, 0.0])
    block = ScoredBlock(1, np.arange(5), np.arange(4), data, background)
    found = two_sample_test(
        [[block]], EVERYTHING, (0.5,), (np.full(5, 3e3), np.full(4, 3e3)), min_background=1,
    )  # fmt: skip
    selection = found.selections[0]
    assert (selection.n_data, selection.n_background) == (3, 2)
    assert selection.n_background_expected == pytest.approx(2.5)
    assert selection.p_local == pytest.approx(stats.betabinom.sf(2, 5, 2, 3), rel=1e-12)


def test_p_values_are_uniform_without_signal() -> None:
    rng = np.random.default_rng(5)
    p = np.array([experiment(rng).overall.p for _ in range(120)])
    assert stats.kstest(p, "uniform").pvalue > 0.01


@pytest.mark.slow
def test_several_windows_are_uniform_too() -> None:
    windows = (Window(-np.inf, 2900.0, 2600.0), Window(2700.0, 3300.0, 3000.0), Window(3100.0, np.inf, 3400.0))
    rng = np.random.default_rng(6)
    found = [experiment(rng, windows=windows) for _ in range(80)]
    assert len(found[0].selections) == 2 + 3 + 2  # the tightest selections of the outer windows expect too little
    assert stats.kstest([t.overall.p for t in found], "uniform").pvalue > 0.01


def test_local_tails_are_not_too_small() -> None:
    """P(p <= a) <= a for every selection: the exact law is conservative only by its steps."""
    rng = np.random.default_rng(7)
    p = np.array([[s.p_local for s in experiment(rng).selections] for _ in range(150)])
    for a in (0.2, 0.05, 0.01):
        fraction = (p <= a).mean(axis=0)
        assert (fraction <= a + 4 * np.sqrt(a / 150)).all()


def test_a_signal_is_found_deep_in_the_tail() -> None:
    found = experiment(np.random.default_rng(8), n_signal=100)
    assert found.overall.z > 6
    assert 0 < found.overall.error < 0.11 * found.overall.p
    assert found.selections[found.best].z_local > 4


def test_the_window_of_the_signal_is_the_one_that_is_shown() -> None:
    windows = (Window(-np.inf, 2900.0, 2600.0), Window(2700.0, 3300.0, 3000.0), Window(3100.0, np.inf, 3400.0))
    rng = np.random.default_rng(9)
    mass = np.concatenate([rng.uniform(3000, 3090, 60), rng.uniform(2500, 3500, 1140)])
    mass_b = rng.uniform(2500, 3500, 900)
    block_d, block_b = np.arange(1200) % BLOCKS + 1, np.arange(900) % BLOCKS + 1
    score, score_b = rng.normal(size=1200) + 3 * (np.arange(1200) < 60), rng.normal(size=900)
    scored = []
    for window in windows:
        rows = [
            [np.flatnonzero((block == k) & window.contains(m)) for block, m in ((block_d, mass), (block_b, mass_b))]
            for k in range(1, BLOCKS + 1)
        ]
        scored.append([ScoredBlock(k, d, b, score[d], score_b[b]) for k, (d, b) in enumerate(rows, start=1)])
    found = two_sample_test(scored, windows, (0.1, 0.03), (mass, mass_b))
    assert found.overall.window == 1 == found.windows[found.best]
    assert found.overall.p_local < found.overall.p < 4 * found.overall.p_local


def test_too_small_a_table() -> None:
    block = ScoredBlock(1, np.arange(3), np.arange(3), np.zeros(3), np.zeros(3))
    with pytest.raises(InputError, match="larger background table"):
        two_sample_test([[block]], EVERYTHING, (0.1,), (np.ones(3), np.ones(3)))


def test_windows_cover_everything_and_overlap() -> None:
    mass = np.random.default_rng(1).exponential(700, 50_000) + 2000
    windows = WindowPlan().windows(mass)
    assert len(windows) > 5
    inside = np.array([w.contains(mass) for w in windows])
    assert inside.any(axis=0).all()
    home = home_window(mass, windows)
    assert inside[home, np.arange(len(mass))].all()
    assert min(row.sum() for row in inside) >= 900


def test_a_narrow_table_is_one_window() -> None:
    windows = WindowPlan().windows(np.random.default_rng(1).uniform(3300, 3700, 20_000))
    assert len(windows) == 1
    assert windows[0].contains(np.array([0.0, 1e6])).all()
