"""Weighted toys against exact enumeration, brute force and the asymptotic formula."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from test_histfactory import MIXED
from toy_models import dijet

from bumpfit import toys, workspace
from bumpfit.errors import InputError
from bumpfit.toys import LogLinear
from bumpfit.toys.importance import tail_engine


@pytest.mark.parametrize("background", [3.0, 20.0])
def test_five_sigma_of_a_counting_experiment(background: float) -> None:
    model = LogLinear(np.array([background]), np.zeros((1, 0)), np.array([1.0]), bounds=(0.0, 1e3))
    found = toys.tail(model, 40_000)
    for z in (1, 3, 5, 6):
        n = int(stats.poisson.isf(stats.norm.sf(z), background)) + 1
        p, error = found.p_value(2 * (n * math.log(n / background) - (n - background)))
        exact = stats.poisson.sf(n - 1, background)
        assert p == pytest.approx(exact, abs=4 * error)
        assert error < 0.05 * exact


def test_results_of_runs_quote_the_error_of_the_toys_however_small_p() -> None:
    """200 seeds at 8 and 10 sigma: the estimates scatter about the exact p by their quoted errors."""
    model = LogLinear(np.array([400.0]), np.zeros((1, 0)), np.array([1.0]), bounds=(0.0, 1e4))
    source = tail_engine(toys.engine(model), reach=11.0)
    for n in (560, 600):
        q = 2 * (n * math.log(n / 400) - (n - 400))
        exact = stats.poisson.sf(n - 1, 400)
        runs = [toys.run(source, source.whole(1000), seed=seed, observed=q).p_value() for seed in range(200)]
        p, error = np.array(runs).T
        assert p.mean() == pytest.approx(exact, abs=4 * p.std() / math.sqrt(200))
        assert np.sqrt(np.mean(error**2)) == pytest.approx(p.std(), rel=0.25)
        direct = toys.tail(model, 1000, reach=11.0, seed=7)
        assert runs[7] == pytest.approx(direct.p_value(q))


def test_brute_force_at_three_sigma(spectrum: LogLinear) -> None:
    direct = toys.throw(spectrum, 500_000, seed=1)
    weighted = toys.tail(spectrum, 60_000, seed=2)
    for q in (0.5, 4.0, 9.0):
        p, error = direct.p_value(q)
        p2, error2 = weighted.p_value(q)
        assert abs(p - p2) < 4 * math.hypot(error, error2)
        assert error2 < 0.03 * p2
    assert weighted.weights is not None
    assert weighted.weights.mean() == pytest.approx(1, abs=5 * weighted.weights.std() / math.sqrt(60_000))


def test_absurdly_significant_data_are_no_accident(spectrum: LogLinear) -> None:
    """Warnings are errors here: ratios of probabilities beyond the range of doubles must not overflow."""
    data = spectrum.rate + 400 * np.sqrt(spectrum.rate) * (spectrum.signal > 0.1 * spectrum.signal.max())
    found = toys.tail(spectrum, 4000, data=data)
    assert found.observed is not None
    assert found.observed > 1e4
    # no toy reaches it, and the bound is that of 37 sigma
    assert (found.statistic[found.valid] < found.observed).all()
    assert found.p_value()[0] < 1e-200
    assert np.isfinite(found.statistic[found.valid]).all()


def test_five_sigma_of_a_spectrum_is_asymptotic(spectrum: LogLinear) -> None:
    p, error = toys.tail(spectrum, 60_000).p_value(25.0)
    assert error < 0.05 * p
    assert p == pytest.approx(stats.norm.sf(5), rel=0.25)


def test_deficits_and_two_sided_tests() -> None:
    model = dijet(60_000)
    for name in ("qmu", "tmu"):
        direct = toys.throw(model, 200_000, statistic=name, mu=1.0, seed=3)
        weighted = toys.tail(model, 60_000, statistic=name, mu=1.0, seed=4, reach=4.0)
        for q in (1.0, 7.0):
            (p, error), (p2, error2) = direct.p_value(q), weighted.p_value(q)
            assert abs(p - p2) < 4 * math.hypot(error, error2)


def test_general_models() -> None:
    model = workspace.read(MIXED)
    direct = toys.throw(model, 20_000, seed=5)
    weighted = toys.tail(model, 4000, seed=6)
    for q in (0.5, 2.7, 7.0):
        (p, error), (p2, error2) = direct.p_value(q), weighted.p_value(q)
        assert abs(p - p2) < 4 * math.hypot(error, error2)
    p, error = weighted.p_value(25.0)
    assert error < 0.3 * p
    assert p == pytest.approx(stats.norm.sf(5), rel=0.8)


def test_same_numbers_on_workers(spectrum: LogLinear) -> None:
    one, two = toys.tail(spectrum, 3000), toys.tail(spectrum, 3000, workers=2)
    np.testing.assert_array_equal(one.weights, two.weights)
    np.testing.assert_array_equal(one.statistic, two.statistic)


def test_weighted_toys_survive_interruptions_shards_and_bins(spectrum: LogLinear, tmp_path: Path) -> None:
    source = tail_engine(toys.engine(spectrum), reach=6.0)
    n = source.whole(6000)
    direct = toys.tail(spectrum, 6000, seed=3)
    assert direct.n == n
    whole = toys.run(source, n, seed=3, observed=25.0)
    assert whole.p_value() == pytest.approx(direct.p_value(25.0))
    assert (whole.weight is not None, whole.fitted) == (True, n)
    files = [tmp_path / f"{i}.parquet" for i in (1, 2, 3)]
    for i, file in enumerate(files, start=1):
        toys.run(source, n, seed=3, observed=25.0, part=toys.shard(n, i, 3), path=file)
    merged = toys.merge([toys.read(file) for file in files])
    np.testing.assert_array_equal(merged.value, whole.value)
    np.testing.assert_allclose(merged.weight, whole.weight, rtol=1e-14)
    assert merged.p_value() == pytest.approx(whole.p_value())
    curve = toys.convergence(merged)
    assert (curve.x[-1], curve.p[-1], curve.error[-1]) == pytest.approx((n, *whole.p_value()))
    binned = toys.run(source, n, seed=3, observed=25.0, keep_above=9.0)
    assert binned.value.size < whole.value.size
    assert binned.p_value() == pytest.approx(whole.p_value())
    assert binned.p_value(4.0) == pytest.approx(direct.p_value(4.0))
    never = whole.p_value(1e4)
    assert never[0] < 1e-8
    few = toys.run(source, 10**7, seed=3, observed=25.0, until=0.1)
    assert few.n < 10**7
    p, error = few.p_value()
    assert error < 0.1 * p
    assert p == pytest.approx(stats.norm.sf(5.0), rel=0.4)


def test_misuse(spectrum: LogLinear) -> None:
    assert toys.tail(spectrum, 7).n == 12  # as many of each of the six worlds
    with pytest.raises(InputError, match="positive number"):
        toys.tail(spectrum, 1000, reach=-1.0)
    with pytest.raises(InputError, match="number of toys"):
        toys.tail(spectrum, 0)
