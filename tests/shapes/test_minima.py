"""Where fits end and what their errors are: at walls, with very many events, with weights that vary."""

import itertools

import numpy as np
import pytest
from iminuit import Minuit
from scipy.optimize import minimize
from scipy.stats import chi2, norm

from bumpfit import histograms, inference, shapes

EDGES = np.linspace(1000.0, 3800.0, 57)
PEAK = shapes.tie(shapes.gaussian(), sigma=(0, 0.03))
BOTH = shapes.add(shapes.exponential(2), PEAK)


def sparse(seed: int) -> tuple[np.ndarray, histograms.Histogram]:
    masses = 1000 + np.random.default_rng(seed).exponential(220.0, 2500)
    return masses, histograms.fill(masses, EDGES)


def peak(mass: float) -> np.ndarray:
    return np.diff(norm.cdf(EDGES, mass, 0.03 * mass))


def walled(counts: np.ndarray, mass: float) -> tuple[float, float]:
    """Yield and -2 ln L (up to a constant) of scipy's SLSQP with every expectation held above none."""

    def expected(p: np.ndarray) -> np.ndarray:
        return np.exp(p[0]) * -np.diff(np.exp(-(EDGES - 1000) * p[1] / 220)) + p[2] * peak(mass)

    def value(p: np.ndarray) -> float:
        r = np.maximum(expected(p), 1e-300)
        return float(np.sum(r - np.where(counts > 0, counts * np.log(r), 0.0)))

    found = minimize(
        value,
        [np.log(counts.sum()), 1.0, 0.0],
        constraints=[{"type": "ineq", "fun": lambda p: 100 * expected(p)}],
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 1000},
    )
    return float(found.x[2]), 2 * float(found.fun)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("mass", [2900.0, 3200.0, 3500.0])
def test_signal_where_there_are_no_events_ends_at_the_wall(mass: float, seed: int) -> None:
    masses, data = sparse(seed)
    found = shapes.fit(BOTH, data, fixed={"mass": mass})
    assert found.valid, found.status
    number, lowest = walled(data.counts, mass)
    constant = found.twice_nll - lowest
    null = shapes.fit(BOTH, data, fixed={"mass": mass, "n_signal": 0.0})
    r = shapes.exponential(2).integrate(EDGES, null.array[:2])
    assert null.twice_nll - constant == pytest.approx(
        2 * float(np.sum(r - np.where(data.counts > 0, data.counts * np.log(r), 0.0))), abs=1e-5
    )
    assert found.values["n_signal"] == pytest.approx(number, rel=2e-3)
    assert (BOTH.integrate(EDGES, found.values) > -1e-12).all()
    unbinned = shapes.fit_unbinned(BOTH, masses, 1000.0, 3800.0, fixed={"mass": mass})
    assert unbinned.valid, unbinned.status
    if masses.max() < 0.9 * mass:  # an event in the foot of the peak is seen better without bins
        assert unbinned.values["n_signal"] == pytest.approx(number, rel=0.15, abs=0.01)
    x = np.linspace(1000, 3800, 4001)
    assert BOTH.density(x, unbinned.values).min() > -1e-6


@pytest.mark.parametrize("limits", [(0, None), (0, 100), (0, np.inf), (-0.0, 1e6)])
def test_one_sided_limits_are_ranges(limits: tuple[float, float | None]) -> None:
    """Far from all events the upper end at 95 % is chi2 / 2 over the part of the peak inside."""
    data = sparse(4)[1]
    likelihood = shapes.likelihood(BOTH, data, fixed={"mass": 3500.0}, limits={"n_signal": limits})
    found = inference.interval(likelihood, "n_signal", 0.95)
    assert (found.low, found.low_at_bound, found.high_at_bound) == (0.0, True, False)
    assert found.high == pytest.approx(chi2.ppf(0.95, 1) / 2 / peak(3500.0).sum(), rel=2e-3)


def test_below_the_wall_the_background_gives_way() -> None:
    """A yield below the wall is possible with a steeper tail: the interval without limits has both ends."""
    data = sparse(4)[1]
    found = inference.interval(shapes.likelihood(BOTH, data, fixed={"mass": 3200.0}), "n_signal", 0.95)
    assert found.low is not None and found.low < found.best < 0
    held = shapes.fit(BOTH, data, fixed={"mass": 3200.0, "n_signal": found.low})
    assert (BOTH.integrate(EDGES, held.values) > -1e-12).all()


@pytest.mark.parametrize("events", [1e10, 1e11, 1e13])
def test_very_many_events_converge(events: float) -> None:
    edges = np.geomspace(1100, 6000, 58)
    density = shapes.dijet(4).integrate(edges, [1e-6, 8.0, 5.0, 0.1])
    data = histograms.from_counts(edges, np.random.default_rng(1).poisson(density * events / density.sum()))
    for n in (3, 4, 5):
        found = shapes.fit(shapes.dijet(n), data)
        assert found.valid, found.status
    assert found.values["p1"] == pytest.approx(8.0, abs=5 * found.errors["p1"])
    assert shapes.order_by_f_test(data).n_parameters == 4
    ends = inference.interval(shapes.likelihood(shapes.dijet(4), data), "p1")
    fit = shapes.fit(shapes.dijet(4), data)
    assert ends.high - ends.best == pytest.approx(fit.errors["p1"], rel=1e-3)  # asymptotic at this size


def exact_errors(counts: np.ndarray, edges: np.ndarray, values: dict[str, float], mass: float) -> float:
    """Error of the yield from the analytic Hessian, whitened by QR; no code of ours."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    half = np.diff(edges) / 2
    x = ((edges[1:] + edges[:-1])[:, None] / 2 + half[:, None] * nodes) / 13000
    basis = [np.ones_like(x), np.log1p(-x), -np.log(x), -(np.log(x) ** 2)]
    p = [np.log(values["p0"]), values["p1"], values["p2"], values["p3"]]
    density = np.exp(sum(b * q for b, q in zip(basis, p, strict=True))) * half[:, None] * weights
    signal = np.diff(norm.cdf(edges, mass, 0.03 * mass))
    mu = density.sum(1) + values["n_signal"] * signal
    j = np.array([(density * b).sum(1) for b in basis] + [signal]).T
    t = np.linalg.inv(np.linalg.qr(j / np.sqrt(mu)[:, None])[1])
    q = (j @ t) / np.sqrt(mu)[:, None]
    z = [sum(basis[i] * t[i, k] for i in range(4)) for k in range(5)]
    h = q.T @ (q * (counts / mu)[:, None])
    h += np.array([[(density * a * b).sum(1) @ (1 - counts / mu) for b in z] for a in z])
    return float(np.sqrt((t @ np.linalg.inv(h) @ t.T)[-1, -1]))


@pytest.mark.parametrize("events", [2e4, 6.5e6, 1e8])
def test_errors_are_those_of_the_exact_hessian(events: float) -> None:
    edges = np.geomspace(1530, 8752, 43)
    truth = shapes.dijet(3).integrate(edges, [1e-6, 8.2, 5.2])
    for seed in range(3):
        counts = np.random.default_rng(seed).poisson(truth * events / truth.sum()).astype(float)
        found = shapes.fit(
            shapes.add(shapes.dijet(4), PEAK), histograms.from_counts(edges, counts), fixed={"mass": 3500.0}
        )
        assert found.valid, found.status
        assert found.errors["n_signal"] == pytest.approx(exact_errors(counts, edges, found.values, 3500.0), rel=1e-5)


def test_errors_of_a_log_linear_function_have_a_closed_form() -> None:
    """One bin wide enough to be exact: with ln f linear and bins as points the Hessian is the Fisher information."""
    edges = np.linspace(1000, 1000.4, 41)  # bins so narrow that ln f is constant in each
    shape = shapes.exponential(2, sqrt_s=2000.0, reference=1000.0)
    truth = shape.integrate(edges, [3e7, 400.0])
    found = shapes.fit(shape, histograms.from_counts(edges, np.random.default_rng(3).poisson(truth)))
    x = (edges[1:] + edges[:-1]) / 2
    basis = np.stack([np.ones(x.size), -(x - 1000.0) / 2000.0], axis=1)
    expected = shape.integrate(edges, found.values)
    covariance = np.linalg.inv((basis * expected[:, None]).T @ basis)
    assert found.errors["p1"] == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-5)
    assert found.errors["p0"] == pytest.approx(found.values["p0"] * np.sqrt(covariance[0, 0]), rel=1e-5)


def test_errors_are_those_of_minuit_on_a_scaled_problem() -> None:
    edges = np.linspace(3000.0, 5000.0, 41)
    mean = 20_000 * np.diff(-np.exp(-(edges - 3000) / 700)) + 400 * np.diff(norm.cdf(edges, 3900, 80))
    counts = np.random.default_rng(0).poisson(mean)
    found = shapes.fit(shapes.add(shapes.exponential(2), shapes.gaussian()), histograms.from_counts(edges, counts))

    def cost(scale: float, slope: float, n: float, mass: float, sigma: float) -> float:
        r = 20_000 * np.exp(scale) * np.diff(-np.exp(-slope * (edges - 3000) / 700))
        r = r + 400 * n * np.diff(norm.cdf(edges, 3900 + 80 * mass, 80 * sigma))
        return float(2 * np.sum(r - counts - np.where(counts > 0, counts * np.log(r / np.maximum(counts, 1)), 0.0)))

    minuit = Minuit(cost, scale=0, slope=1, n=1, mass=0, sigma=1)
    minuit.errordef, minuit.strategy, minuit.tol = 1.0, 2, 1e-6
    minuit.migrad()
    minuit.hesse()
    for name, label, unit in (("n_signal", "n", 400), ("mass", "mass", 80), ("sigma", "sigma", 80)):
        assert found.errors[name] == pytest.approx(unit * minuit.errors[label], rel=1e-3)


def sliced(rng: np.random.Generator, generated: int, tau: float) -> histograms.Histogram:
    """Simulation of an exponential in slices of mass with as many events each, so that weights differ by thousands."""
    edges, borders, total = np.linspace(1000, 3000, 41), np.linspace(1000, 3000, 6), 1e6
    masses, weights = [], []
    for low, high in itertools.pairwise(borders):
        first, last = np.exp(-(low - 1000) / tau), np.exp(-(high - 1000) / tau)
        n = rng.poisson(generated)
        masses.append(1000 - tau * np.log(first - rng.random(n) * (first - last)))
        weights.append(np.full(n, total * (first - last) / generated))
    return histograms.fill(np.concatenate(masses), edges, np.concatenate(weights))


@pytest.mark.parametrize(("generated", "tau"), [(8, 200.0), (12, 150.0)])
def test_empty_bins_of_weighted_histograms_take_a_local_weight(generated: int, tau: float) -> None:
    """The tail is not pulled up by the heavy weights of low masses (one mean weight gave +0.47, 59 % too many)."""
    rng, shape, ratios, pulls = np.random.default_rng(11), shapes.exponential(2), [], []
    tail = np.linspace(2600, 3000, 9)
    truth = 1e6 * float(np.exp(-1600 / tau) - np.exp(-2000 / tau))
    for _ in range(60):
        data = sliced(rng, generated, tau)
        assert (data.counts == 0).any()
        found = shapes.fit(shape, data)
        ratios.append(np.log(shape.integrate(tail, found.values).sum() / truth))
        pulls.append((found.values["p1"] - 13000 / tau) / found.errors["p1"])
    assert abs(np.mean(ratios)) < 0.16
    assert abs(np.mean(pulls)) < 0.45
    assert 0.7 < np.std(pulls) < 1.3


def least(counts: np.ndarray, strength: float | None) -> float:
    """Least -2 ln L over masses from 1200 to 2200 GeV, of Minuit at each, with a yield that is held or not negative."""

    def value(size: float, p0: float, p1: float, mass: float) -> float:
        rate = np.exp(p0) * -np.diff(np.exp(-(EDGES - 1000) * p1 / 220)) + size * peak(mass)
        return 2 * float(np.sum(rate - counts * np.log(rate)))

    found = []
    for mass in np.linspace(1200, 2200, 101):
        fit = Minuit(value, size=5.0 if strength is None else strength, p0=np.log(counts.sum()), p1=1.0, mass=mass)
        fit.errordef, fit.limits["size"], fit.limits["p1"] = Minuit.LIKELIHOOD * 2, (0.0, None), (0.5, 2.0)
        fit.fixed["mass"], fit.fixed["size"] = True, strength is not None
        found.append(fit.migrad().fval)
    return min(found)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_peak_of_free_mass_is_at_the_deepest_of_its_minima(seed: int) -> None:
    histogram = sparse(seed)[1]
    spectrum = shapes.likelihood(BOTH, histogram, limits={"n_signal": (0.0, None), "mass": (1200.0, 2200.0)})
    differs = inference.fit(spectrum, fixed={"n_signal": 15.0}).twice_nll - inference.fit(spectrum).twice_nll
    assert abs(differs - (least(histogram.counts, 15.0) - least(histogram.counts, None))) < 0.05


def test_unbinned_a_peak_of_free_mass_is_at_the_deepest_of_its_minima() -> None:
    masses = 2000 * np.random.default_rng(3).random(4000) ** (-1 / 6)
    masses = masses[masses < 6000][:2500]
    limits = {"n_signal": (0.0, None), "mass": (3200.0, 3800.0)}
    spectrum = shapes.unbinned_likelihood(shapes.add(shapes.dijet(3), PEAK), masses, 2000.0, 6000.0, limits=limits)
    held = [inference.fit(spectrum, fixed={"mass": mass}).twice_nll for mass in np.linspace(3200, 3800, 7)]
    assert inference.fit(spectrum).twice_nll < min(held) + 1e-4
