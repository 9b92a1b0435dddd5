"""Fits of log-linear toys against iminuit, closed forms and exact enumeration."""

import dataclasses
import math

import numpy as np
import pytest
from iminuit import Minuit
from scipy import stats
from toy_models import dijet

from bumpfit import toys
from bumpfit.errors import BumpfitError, InputError
from bumpfit.toys import LogLinear
from bumpfit.toys.engine import NEWTON, LogLinearEngine
from bumpfit.toys.statistic import NAMES


def minuit_nll(model: LogLinear, counts, fixed_mu=None, low=-np.inf, pulls=None):
    """Minimum of -ln L from iminuit in a scaled basis, and its mu."""
    root = np.linalg.cholesky((model.basis * model.rate[:, None]).T @ model.basis)
    basis = np.linalg.solve(root, model.basis.T).T
    signal = model.signals[0]

    def nll(x):
        background = model.rate * np.exp(basis @ x[:-1])
        expected = background + x[-1] * signal
        if not (expected > 0).all():
            return 1e9
        total = np.sum(expected - counts * np.log(expected))
        if pulls is not None:
            total += 0.5 * np.sum((model.pull @ np.linalg.solve(root.T, x[:-1]) - pulls) ** 2)
        return total

    minuit = Minuit(nll, np.append(np.zeros(basis.shape[1]), 0.0 if fixed_mu is None else fixed_mu))
    minuit.errordef = 0.5
    minuit.limits[-1] = (low, None)
    minuit.fixed[-1] = fixed_mu is not None
    if fixed_mu is not None:
        minuit.limits[-1] = None
    minuit.strategy, minuit.tol = 2, 1e-4
    for _ in range(3):
        minuit.migrad()
    return minuit.fval, minuit.values[-1]


def reference(name: str, model: LogLinear, counts, mu: float, pulls=None) -> float:
    low = 0.0 if name in ("q0", "qtilde", "ttilde") else model.bounds[0]
    free, best = minuit_nll(model, counts, low=low, pulls=pulls)
    fixed, _ = minuit_nll(model, counts, fixed_mu=mu, pulls=pulls)
    if (name == "q0" and best <= 0) or (name in ("qmu", "qtilde") and best > mu):
        return 0.0
    return max(0.0, 2 * (fixed - free))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("parameters", [1, 4, 6])
def test_statistics_agree_with_iminuit(name: str, parameters: int) -> None:
    model = dijet(20_000, np.linspace(2500.0, 6500.0, 23), parameters)
    tested = 0.0 if name == "q0" else 1.0
    engine = LogLinearEngine(model, name, thrown=0.5, tested=tested)
    counts, _ = engine.draw(np.arange(6), seed=3)
    found = engine.fit(counts)
    assert (found.status == 0).all()
    for n, value in zip(counts, found.statistic[:, 0], strict=True):
        assert value == pytest.approx(reference(name, model, n, tested), abs=3e-5)


def test_constraints_and_their_pulls(spectrum: LogLinear) -> None:
    size = spectrum.basis.shape[1]
    model = dataclasses.replace(spectrum, pull=0.5 * np.linalg.inv(spectrum.whitening) + 0.1 * np.eye(size))
    engine = LogLinearEngine(model)
    counts, pulls = engine.draw(np.arange(6), seed=1)
    assert np.abs(pulls).max() > 0.5
    found = engine.fit(counts, pulls)
    for n, pull, value in zip(counts, pulls, found.statistic[:, 0], strict=True):
        assert value == pytest.approx(reference("q0", model, n, 0.0, pull), abs=3e-5)


@pytest.mark.parametrize("events", [60_000, 600])
@pytest.mark.parametrize("name", NAMES)
def test_fast_fits_agree_with_the_damped_minimiser(name: str, events: int) -> None:
    """Two minimisers that share no code beyond the likelihood; the damped one runs to 1e-12."""
    from bumpfit.toys import damped
    from bumpfit.toys.statistic import evaluate

    model = dijet(events)
    engine = LogLinearEngine(model, name, tested=0.0 if name == "q0" else 1.0)
    found = engine.run(0, 2000, seed=5)
    counts, pulls = engine.draw(np.arange(2000), seed=5)
    results = engine.fit(counts)
    np.testing.assert_array_equal(results.statistic, found.statistic)
    exact = dataclasses.replace(engine)
    careful = exact.model.arrays._replace(tolerance=1e-12)
    from bumpfit.toys.loglinear_batch import Results

    room = Results(*(np.zeros((2000, 1)) for _ in range(3)), np.zeros(2000, np.uint8), np.zeros((2000, 0)))
    damped.repair(careful, engine.plan, counts, pulls, np.arange(2000), room)
    expected = evaluate(name, engine.tested, room.free, room.fixed, room.best)
    assert (room.open == 0).all()
    assert np.abs(found.statistic - expected).max() < 2e-7


@pytest.mark.parametrize("events", [60_000, 600, 40])
def test_no_toy_is_lost(events: int) -> None:
    for name in ("q0", "tmu", "qtilde"):
        found = toys.throw(
            dijet(events, parameters=3), 4000, statistic=name, mu=0.0, test=None if name == "q0" else 1.0
        )
        assert (found.status == 0).all()
        assert np.isfinite(found.statistic).all()
        assert (found.statistic >= 0).all()


def one_bin(background: float, signal: float = 1.0) -> LogLinear:
    return LogLinear(np.array([background]), np.zeros((1, 0)), np.array([signal]), bounds=(0.0, 100.0))


@pytest.mark.parametrize("background", [0.5, 5.0, 20.0])
def test_one_bin_against_enumeration(background: float) -> None:
    found = toys.throw(one_bin(background, 2.0), 200_000, seed=4)
    assert (found.status == 0).all()
    for n in range(math.ceil(background) + 1, int(background + 4 * math.sqrt(background)) + 2):
        q0 = 2 * (n * math.log(n / background) - (n - background))
        p, error = found.p_value(q0)
        exact = stats.poisson.sf(n - 1, background)
        assert p == pytest.approx(exact, abs=4.5 * max(error, math.sqrt(exact / found.n)))
    n = np.arange(math.ceil(background), 200)
    possible = np.append(0.0, 2 * (n * np.log(n / background) - (n - background)))
    assert np.abs(found.statistic[:, None] - possible).min(axis=1).max() < 2e-7


def test_qmu_of_one_bin_in_closed_form() -> None:
    model = dataclasses.replace(one_bin(5.0), bounds=(-5.0, 100.0))
    engine = LogLinearEngine(model, "qmu", tested=3.0)
    counts = np.arange(0.0, 12.0)[:, None]
    found = engine.fit(counts)
    assert (found.status == 0).all()
    for n, q in zip(counts[:, 0], found.statistic[:, 0], strict=True):
        expected = 2 * (8 - n + (n * math.log(n / 8) if n else 0.0)) if n <= 8 else 0.0
        assert q == pytest.approx(expected, abs=1e-7)


def test_known_background_with_several_bins_is_a_weighted_count() -> None:
    """Without background parameters and with s proportional to b, all bins count as one."""
    rate = np.array([3.0, 5.0, 12.0])
    model = LogLinear(rate, np.zeros((3, 0)), 0.1 * rate, bounds=(0.0, 100.0))
    engine = LogLinearEngine(model)
    counts, _ = engine.draw(np.arange(200), seed=0)
    n = counts.sum(axis=1)
    expected = np.where(n > 20, 2 * (n * np.log(np.maximum(n, 1) / 20) - (n - 20)), 0.0)
    np.testing.assert_allclose(engine.fit(counts).statistic[:, 0], expected, atol=2e-7)


def test_asymptotic_law(spectrum: LogLinear) -> None:
    found = toys.throw(spectrum, 200_000)
    for q in (0.5, 1.0, 4.0, 9.0):
        p, error = found.p_value(q)
        assert p == pytest.approx(0.5 * stats.chi2.sf(q, 1), abs=4 * error + 0.02 * p)
    t = toys.throw(spectrum, 20_000, statistic="tmu", mu=1.0)
    assert stats.kstest(t.statistic, stats.chi2(1).cdf).pvalue > 1e-3


def test_any_split_gives_the_same_bits(few_events: LogLinear) -> None:
    whole = toys.throw(few_events, 1003, statistic="qtilde", mu=1.0, seed=9)
    parts = [
        toys.throw(few_events, k, statistic="qtilde", mu=1.0, seed=9, first=f)
        for f, k in ((0, 1), (1, 517), (518, 485))
    ]
    np.testing.assert_array_equal(whole.statistic, np.concatenate([p.statistic for p in parts]))
    np.testing.assert_array_equal(whole.route, np.concatenate([p.route for p in parts]))
    two = toys.throw(few_events, 1003, statistic="qtilde", mu=1.0, seed=9, workers=2)
    np.testing.assert_array_equal(whole.statistic, two.statistic)
    rare = dijet(60)  # where many toys take the careful way
    whole = toys.throw(rare, 500)
    assert (whole.route != NEWTON).any()
    np.testing.assert_array_equal(whole.statistic[300:], toys.throw(rare, 200, first=300).statistic)
    assert not np.array_equal(whole.statistic, toys.throw(rare, 500, seed=1).statistic)


def test_several_signals_are_several_models(spectrum: LogLinear) -> None:
    signals = np.stack([dijet(60_000, peak=peak).signal for peak in (3000.0, 3500.0, 5200.0)])
    together = toys.throw(spectrum.with_signal(signals), 500)
    for i, signal in enumerate(signals):
        alone = toys.throw(spectrum.with_signal(signal), 500)
        np.testing.assert_array_equal(together.statistic[:, i], alone.statistic)


def test_throwing_at_the_fit_to_the_data(spectrum: LogLinear) -> None:
    rng = np.random.default_rng(0)
    tilted = spectrum.rate * np.linspace(1.1, 0.9, spectrum.rate.size)
    model = dataclasses.replace(spectrum, observed=rng.poisson(tilted).astype(float))
    engine = toys.engine(model)
    information = engine.model.basis.T @ (model.observed - engine.rates)
    scale = np.sqrt(np.diag((engine.model.basis * engine.rates[:, None]).T @ engine.model.basis))
    assert np.abs(information / scale).max() < 1e-3  # the score equations of the background fit
    found = toys.throw(model, 200)
    assert found.observed == pytest.approx(reference("q0", model, model.observed, 0.0), abs=3e-5)


def test_p_values() -> None:
    found = toys.throw(one_bin(5.0), 1000)
    with pytest.raises(BumpfitError, match="no observed data"):
        found.p_value()
    with pytest.raises(InputError, match="not a number"):
        found.p_value(float("nan"))
    assert found.p_value(0.0) == (1.0, pytest.approx(1 / 1001))
    assert found.p_value(1e6) == (found.floor, pytest.approx(found.floor, rel=1e-3))
    assert found.floor == 1 / 1001
    summary = found.to_dict()
    assert summary["toys"] == summary["fitted"] == 1000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": np.array([1.0, 0.0])}, "positive expectation"),
        ({"rate": np.array([1.0, -2.0])}, "positive expectation"),
        ({"rate": np.array([1.0, np.nan])}, "positive expectation"),
        ({"signal": np.array([0.0, 0.0])}, "at least one bin"),
        ({"signal": np.array([-1.0, 1.0])}, "not negative"),
        ({"signal": np.ones(3)}, "got shapes"),
        ({"basis": np.ones((3, 1))}, "3 rows for 2 bins"),
        ({"basis": np.array([[1.0], [np.inf]])}, "not finite"),
        ({"bounds": (1.0, 1.0)}, "range of mu"),
        ({"observed": np.array([1.0])}, "observed counts"),
        ({"observed": np.array([1.0, -1.0])}, "not negative"),
    ],
)
def test_bad_models(change, message) -> None:
    good = {"rate": np.array([4.0, 3.0]), "basis": np.ones((2, 1)), "signal": np.array([1.0, 0.0])}
    with pytest.raises(InputError, match=message):
        LogLinear(**{**good, **change})


def test_bad_settings(spectrum: LogLinear) -> None:
    for n in (0, -5, 2.5, True):
        with pytest.raises(InputError, match="number of toys"):
            toys.throw(spectrum, n)
    with pytest.raises(InputError, match="unknown test statistic"):
        toys.throw(spectrum, 10, statistic="q1")
    with pytest.raises(InputError, match="tests strength 0"):
        toys.throw(spectrum, 10, test=1.0)
    with pytest.raises(InputError, match="expects -"):
        toys.throw(spectrum, 10, statistic="tmu", mu=-1000.0)
    with pytest.raises(InputError, match="workers"):
        toys.throw(spectrum, 10, workers=0)
    with pytest.raises(InputError, match="seed"):
        toys.throw(spectrum, 10, seed=-1)
    with pytest.raises(InputError, match="finite"):
        toys.throw(spectrum, 10, statistic="tmu", mu=np.nan)
    twice = LogLinear(spectrum.rate, np.column_stack([spectrum.basis, spectrum.basis[:, 0]]), spectrum.signal)
    with pytest.raises(InputError, match="cannot be told apart"):
        toys.throw(twice, 10)
    imitated = LogLinear(spectrum.rate, np.ones((spectrum.rate.size, 1)), spectrum.rate)
    with pytest.raises(InputError, match="imitate"):
        toys.throw(imitated, 10)


def test_no_toy_is_lost_where_a_negative_signal_empties_a_bin() -> None:
    """Toys 11111 and 18472 of this seed end where an empty bin expects nothing, with the background on a ridge."""
    rng = np.random.default_rng(2)
    for _ in range(47):
        events, parameters = rng.uniform(300, 900), int(rng.integers(2, 6))
        peak, width = rng.uniform(2800, 6000), rng.uniform(60, 300)
    model = dataclasses.replace(dijet(events, peak=peak, width=width, parameters=parameters), bounds=(-1e3, 1e3))
    engine = toys.engine(model, statistic="tmu", mu=1.0)
    found = engine.fit_data(engine.data(np.array([11111, 18472]), 46))
    assert (found.status == 0).all()
    assert (found.free <= found.fixed).all()
