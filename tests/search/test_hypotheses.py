"""The library as a source of evidence: densities, the block-by-block mixture, and what labels may change."""

import numpy as np
import pytest
from numpy.typing import NDArray

from bumpfit.search.hypotheses import (
    FLOOR,
    LibrarySettings,
    Tried,
    WindowEvents,
    _jet,
    _mean_density,
    _Position,
    cloud,
    daughter_masses,
    jet_densities,
    resonance_masses,
    try_library,
)
from bumpfit.search.surrogate import Masses, signal_like
from study_size import FULL

SETTINGS = LibrarySettings(step=1.3, mass_step=1.1, fractions=(0.03, 0.1))
SPAN = (3000.0, 3600.0)


def events(
    n_signal: int, n: int = 3000, m: int = 2000, seed: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Flat background in ln of both masses and tau21, and decays 3300 -> 400 + 200 among the data."""
    rng = np.random.default_rng(seed)
    light, heavy = np.sort(np.exp(rng.uniform(np.log(40), np.log(700), (2, n + m))), axis=0)
    x = np.column_stack([light, heavy - light, rng.uniform(0.1, 0.9, (n + m, 2))])
    mass = rng.uniform(*SPAN, n + m)
    made = signal_like(Masses(3300.0, 200.0, 400.0)).inside(*SPAN)
    chosen = rng.choice(len(made.mass), n_signal, p=made.weights)
    x[:n_signal], mass[:n_signal] = made.features[chosen], made.mass[chosen]
    return x, mass, np.arange(n + m) < n


def tried(n_signal: int, is_data: NDArray[np.bool_] | None = None, seed: int = 1) -> tuple[Tried, NDArray[np.int64]]:
    x, mass, labels = events(n_signal, seed=seed)
    rng = np.random.default_rng(seed + 100)
    block, fold = rng.integers(0, 6, len(mass)), rng.integers(0, 3, len(mass))
    used = labels if is_data is None else is_data
    return try_library(
        WindowEvents(x, mass, used, block, fold, np.arange(len(mass))), SPAN, np.zeros(len(mass)), SETTINGS
    ), block


def test_densities_are_normalised_and_never_zero() -> None:
    grid, density = jet_densities()
    assert grid.tolist() == sorted(grid) and np.allclose(density.sum(axis=(2, 3)), 1)
    assert density.min() >= FLOOR / density[0, 0].size * 0.999


def test_masses_cover_the_grid_of_the_library() -> None:
    masses = daughter_masses(4000.0, LibrarySettings())
    assert masses[0] == pytest.approx(60) and masses[-1] == pytest.approx(700)
    assert np.diff(np.log(masses)).max() <= np.log(1.12)
    tried_masses = resonance_masses(3000.0, 3600.0, LibrarySettings())
    assert tried_masses[0] > 3000 and tried_masses[-1] < 3600 and len(tried_masses) == 5


def test_mean_density_is_the_mean_over_pairs_and_prongs() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.random((2, 5, 4, 2)).astype(np.float32)
    pairs = [(j, k) for j in range(4) for k in range(j, 4)]
    direct = np.mean(
        [first[:, j, p] * second[:, k, p] + first[:, k, p] * second[:, j, p] for j, k in pairs for p in range(2)],
        axis=0,
    )
    assert np.allclose(_mean_density(first, second), direct, rtol=1e-5)


def test_cloud_has_the_density_that_it_is_weighted_with() -> None:
    masses = daughter_masses(3300.0, SETTINGS)
    made = cloud(masses, 3300.0, 20_000, np.random.default_rng(5))
    assert (made[:, 1] >= 0).all()
    light, heavy = made[:, 0], made[:, 0] + made[:, 1]
    density = _mean_density(_jet(light, made[:, 2], masses, 3300.0), _jet(heavy, made[:, 3], masses, 3300.0))
    flat = 1 / density / np.mean(1 / density)
    share = flat[(light > 100) & (light < 200) & (heavy > 200) & (heavy < 400)].sum() / len(made)
    inside = flat[(light > 60) & (heavy < 500)].sum() / len(made)
    # flat in ln m: areas of the triangle or rectangles of ln masses
    expected = np.log(2) ** 2 / (0.5 * np.log(500 / 60) ** 2)
    assert share / inside == pytest.approx(expected, rel=0.1)


def test_position_of_a_resonance_is_a_density_over_that_of_the_events() -> None:
    mass = np.random.default_rng(2).uniform(3000, 3600, 5000)
    found = _Position.of(mass, np.array([3100.0, 3300.0]))(mass)
    assert np.allclose(found.mean(axis=0), 1, atol=0.05)  # integrates to the part inside of the table
    assert found[np.abs(mass - 3300) < 30, 1].mean() > 2


def test_a_signal_is_found_at_its_masses_and_nothing_without_one() -> None:
    found, _ = tried(400)
    resonance, light, heavy = found.masses
    assert abs(resonance / 3300 - 1) < 0.1 and abs(np.log(light / 200)) < 0.3 and abs(np.log(heavy / 400)) < 0.3
    assert excess(found, 400) > 5 and abs(excess(tried(0)[0], 0)) < 3
    assert found.scores[:400].mean() > 3 * found.scores[400:].mean()


def excess(found: Tried, n_signal: int) -> float:
    """Excess of the weights of data events in standard deviations."""
    labels = events(n_signal)[2]
    rho, w = labels.mean(), found.weights
    return float((w[labels].sum() - rho * w.sum()) / (w.std() * np.sqrt(len(w) * rho * (1 - rho))))


def test_weights_of_a_block_do_not_know_its_labels_nor_later_ones() -> None:
    first, block = tried(400)
    labels = events(400)[2]
    mixed = labels.copy()
    late = np.flatnonzero(block >= 3)
    mixed[late] = np.random.default_rng(9).permutation(labels[late])
    second, _ = tried(400, mixed)
    assert np.array_equal(first.weights[block <= 3], second.weights[block <= 3])
    assert not np.allclose(first.weights[block > 3], second.weights[block > 3])


@pytest.mark.statistics
def test_law_is_that_of_fixed_ranks_though_the_order_is_learned() -> None:
    """Labels dealt anew and everything learned again, against the saddle point of the rank statistic."""
    from scipy.stats import binom, kstest

    from bumpfit.search.permutations import Labelled, SaddlePoint
    from bumpfit.search.two_sample import RankSettings, _tried

    labels, block, p, n = events(0)[2], tried(0)[1], [], 100 if FULL else 40
    for seed in range(n):
        rng = np.random.default_rng(seed + 1000)
        mixed = labels.copy()
        for number in range(6):
            here = np.flatnonzero(block == number)
            mixed[here] = rng.permutation(labels[here])
        rows, weights = _tried(tried(0, mixed)[0], block, RankSettings(), rng)
        law = SaddlePoint(Labelled(block, mixed, (rows,), (weights,)), 0)
        p.append(float(np.exp(law.log_p(float(weights[mixed[rows]].sum())))))
    assert kstest(p, "uniform").pvalue > 0.01
    assert sum(x < 0.01 for x in p) <= binom.isf(0.003, n, 0.01)
