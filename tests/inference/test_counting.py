import numpy as np
import pytest
from scipy import optimize, stats

from bumpfit.errors import InputError
from bumpfit.inference.counting import (
    fixed_cut_p,
    on_off_q0,
    order_statistic_law,
    profile_on_off,
    sum_of_laws,
    upper_tail,
)


def test_li_ma_published_value() -> None:
    # Li & Ma (1983), formula 17, with alpha = 1 / tau, and the closed form for an empty background region
    n, m, tau = 140.0, 100.0, 1.2
    alpha = 1 / tau
    s2 = 2 * (n * np.log((1 + alpha) / alpha * n / (n + m)) + m * np.log((1 + alpha) * m / (n + m)))
    assert on_off_q0(n, m, tau) == pytest.approx(s2, rel=1e-12)
    assert on_off_q0(5, 100, 1.0) == 0
    assert on_off_q0(3, 0, 2.0) == pytest.approx(2 * 3 * np.log(3.0))


def test_fixed_cut_is_z_bi() -> None:
    # published Z_Bi: n_on = 4, n_off = 5, tau = 5.0 gives 1.66 (table 1 of Cousins, Linnemann, Tucker)
    assert stats.norm.isf(fixed_cut_p(4, 5, 5.0)) == pytest.approx(1.66, abs=0.01)


@pytest.mark.parametrize(("n_data", "n_background", "m"), [(20, 30, 1), (50, 10, 10), (7, 400, 33)])
def test_law_against_scipy(n_data: int, n_background: int, m: int) -> None:
    ours = np.exp(order_statistic_law(n_data, n_background, m))
    theirs = stats.betabinom.pmf(np.arange(n_data + 1), n_data, m, n_background - m + 1)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    assert ours.sum() == pytest.approx(1, abs=1e-12)


def test_law_by_shuffling() -> None:
    rng = np.random.default_rng(1)
    n_data, n_background, m = 12, 9, 3
    counts = np.zeros(n_data + 1)
    for _ in range(20000):
        is_background = rng.permutation(n_data + n_background) < n_background
        counts[np.flatnonzero(is_background)[m - 1] - (m - 1)] += 1
    expected = np.exp(order_statistic_law(n_data, n_background, m)) * counts.sum()
    chi2 = ((counts - expected) ** 2 / expected)[expected > 5].sum()
    assert stats.chi2.sf(chi2, (expected > 5).sum() - 1) > 1e-3


def test_law_tends_to_negative_binomial() -> None:
    ours = np.exp(order_statistic_law(200_000, 400_000, 5))[:40]
    np.testing.assert_allclose(ours, stats.nbinom.pmf(np.arange(40), 5, 2 / 3), rtol=1e-2)


def test_sum_of_negative_binomials_and_tail() -> None:
    n = np.arange(400)
    low, law = sum_of_laws([stats.nbinom.logpmf(n, 5, 0.4), stats.nbinom.logpmf(n, 8, 0.4)])
    tail = upper_tail(low, law, 300)
    np.testing.assert_allclose(tail, stats.nbinom.sf(np.arange(300) - 1, 13, 0.4), rtol=1e-9)
    assert tail[-1] > 0


def test_impossible_cut() -> None:
    with pytest.raises(InputError, match="background event number 0 of 5"):
        order_statistic_law(3, 5, 0)


@pytest.mark.parametrize(
    ("n", "m", "tau", "s"), [(9, 4, 2.0, 3.0), (0, 3, 1.5, 2.0), (5, 0, 0.5, 1.0), (7, 8, 3.0, 0.0)]
)
def test_profiled_background_against_scipy(n: int, m: int, tau: float, s: float) -> None:
    value, b = profile_on_off(n, m, tau, s)
    saturated = stats.poisson.logpmf(n, n) + stats.poisson.logpmf(m, m)

    def twice_nll(b: float) -> float:
        return -2 * (stats.poisson.logpmf(n, s + b) + stats.poisson.logpmf(m, tau * b) - saturated)

    best = optimize.minimize_scalar(twice_nll, bounds=(0, 50), method="bounded", options={"xatol": 1e-10})
    assert float(value) == pytest.approx(best.fun, abs=1e-7)
    assert float(b) == pytest.approx(best.x, abs=1e-4)
