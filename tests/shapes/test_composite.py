import iminuit
import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import norm

from bumpfit import histograms, shapes
from bumpfit.errors import InputError

EDGES = histograms.mass_edges(2900.0, 7000.0)
BACKGROUND = shapes.dijet(4)
WIDTH = {"sigma": (0.0, 0.03)}


def data(n_signal: float, seed: int) -> histograms.Histogram:
    expected = BACKGROUND.integrate(EDGES, [0.05, 8.0, 6.0, 1.2])
    expected *= 60000 / expected.sum()
    peak = n_signal * np.diff(norm.cdf(EDGES, 4000, 120))
    return histograms.from_counts(EDGES, np.random.default_rng(seed).poisson(expected + peak))


def test_sum_is_the_sum() -> None:
    model = shapes.add(BACKGROUND, shapes.gaussian(), shapes.gaussian())
    assert model.parameters[4:] == ("n_signal", "mass", "sigma", "n_signal_2", "mass_2", "sigma_2")
    values = [0.05, 8, 6, 1.2, 100, 4000, 120, 50, 5000, 150]
    want = (
        BACKGROUND.integrate(EDGES, values[:4])
        + 100 * np.diff(norm.cdf(EDGES, 4000, 120))
        + 50 * np.diff(norm.cdf(EDGES, 5000, 150))
    )
    np.testing.assert_allclose(model.integrate(EDGES, values), want, rtol=1e-9)
    assert model.gradient(EDGES, values).shape == (EDGES.size - 1, 10)
    np.testing.assert_allclose(
        model.density(EDGES, values) - BACKGROUND.density(EDGES, values[:4]),
        100 * norm.pdf(EDGES, 4000, 120) + 50 * norm.pdf(EDGES, 5000, 150),
        atol=1e-12,
    )


def test_floating_mass_and_width_find_the_signal() -> None:
    histogram = data(700, 8)
    free = shapes.fit(shapes.add(BACKGROUND, shapes.gaussian()), histogram)
    tied = shapes.fit(shapes.add(BACKGROUND, shapes.tie(shapes.gaussian(), **WIDTH)), histogram)
    null = shapes.fit(BACKGROUND, histogram)
    for result in (free, tied):
        assert result.valid, result.status
        assert abs(result.values["mass"] - 4000) < 3 * result.errors["mass"] < 150
        assert abs(result.values["n_signal"] - 700) < 3 * result.errors["n_signal"]
        assert null.twice_nll - result.twice_nll > 9
    assert free.twice_nll <= tied.twice_nll + 1e-6
    assert abs(free.values["sigma"] - 120) < 3 * free.errors["sigma"]


def test_floating_fit_equals_direct_iminuit() -> None:
    """A likelihood written here, minimised by plain MIGRAD from displaced values, ends at the same -2 ln L."""
    histogram = data(700, 8)
    n = histogram.counts
    result = shapes.fit(shapes.add(BACKGROUND, shapes.gaussian()), histogram)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    low, high = EDGES[:-1, None], EDGES[1:, None]
    x = (0.5 * (high + low) + 0.5 * (high - low) * nodes) / 13000.0
    x0 = 3500.0 / 13000.0
    terms = np.stack([np.log((1 - x) / (1 - x0)), -np.log(x / x0), -(np.log(x) ** 2) + np.log(x0) ** 2])

    def nll(log0, p1, p2, p3, number, mass, sigma):
        f = np.exp(log0 + np.tensordot([p1, p2, p3], terms, 1))
        mu = (f * weights).sum(1) * 0.5 * np.diff(EDGES) + number * np.diff(norm.cdf(EDGES, mass, sigma))
        return float(np.sum(mu - n * np.log(mu) + gammaln(n + 1)))

    v = result.values
    at = BACKGROUND.density([3500.0], [v[f"p{k}"] for k in range(4)])[0]
    minuit = iminuit.Minuit(nll, np.log(at) + 0.01, v["p1"] + 0.5, v["p2"] - 0.5, v["p3"], 600.0, 3950.0, 110.0)
    minuit.errordef, minuit.strategy, minuit.tol = 0.5, 2, 1e-5
    minuit.limits["sigma"] = (10, 500)
    for _ in range(4):
        minuit.migrad()
    assert result.twice_nll == pytest.approx(2 * minuit.fval, abs=1e-6)
    assert result.values["mass"] == pytest.approx(minuit.values["mass"], abs=0.01 * result.errors["mass"])
    assert result.errors["mass"] == pytest.approx(minuit.errors["mass"], rel=0.02)


def test_the_mass_is_the_global_maximum() -> None:
    """A scan with the mass held at 14 points finds no better fit than the floating mass."""
    model = shapes.add(BACKGROUND, shapes.tie(shapes.gaussian(), **WIDTH))
    for seed in (1, 2):
        histogram = data(0, seed)
        best = shapes.fit(model, histogram)
        scan = [shapes.fit(model, histogram, fixed={"mass": mass}) for mass in np.linspace(3000, 6900, 14)]
        upward = [result.twice_nll for result in scan if result.valid and result.values["n_signal"] > 0]
        assert best.valid
        assert best.twice_nll <= min(upward) + 1e-4


def test_limits_hold_and_are_told() -> None:
    model = shapes.add(BACKGROUND, shapes.tie(shapes.gaussian(), **WIDTH))
    result = shapes.fit(model, data(700, 8), limits={"mass": (4200.0, 5000.0)})
    assert result.values["mass"] == pytest.approx(4200, abs=1)
    assert result.at_bounds == ("mass",)
    assert result.errors["mass"] == 0
    positive = shapes.fit(model, data(0, 3), fixed={"mass": 4000.0}, limits={"n_signal": (0.0, None)})
    assert positive.values["n_signal"] >= 0
    bounded = shapes.fit(shapes.dijet(3), data(0, 3), limits={"p0": (1e3, None)})
    assert bounded.values["p0"] >= 1e3 * (1 - 1e-9)


def test_tied_parameters_follow_the_mass() -> None:
    full = shapes.double_crystal_ball()
    peak = shapes.tie(full, sigma=(10.0, 0.02, 1e-6), alpha_low=[1.5], n_low=[4], alpha_high=(1.0, 1e-4), n_high=[6])
    assert peak.parameters == ("n_signal", "mass")
    values = np.array([300.0, 4000.0])
    np.testing.assert_array_equal(
        peak.integrate(EDGES, values), full.integrate(EDGES, [300, 4000, 10 + 80 + 16, 1.5, 4, 1.4, 6])
    )
    step = np.array([0.0, 0.05])
    want = (peak.integrate(EDGES, values + step) - peak.integrate(EDGES, values - step)) / 0.1
    np.testing.assert_allclose(peak.gradient(EDGES, values)[:, 1], want, atol=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shapes.fit(shapes.add(BACKGROUND, BACKGROUND), data(0, 1)), "is a background"),
        (lambda: shapes.tie(shapes.gaussian(), mass=[3]), "cannot tie mass"),
        (lambda: shapes.tie(shapes.gaussian(), width=[3]), "can be tied: sigma"),
        (lambda: shapes.tie(shapes.gaussian(), sigma=[]), "coefficients"),
        (lambda: shapes.fit(BACKGROUND, data(0, 1), limits={"p9": (0, 1)}), "no parameter p9"),
        (lambda: shapes.fit(BACKGROUND, data(0, 1), limits={"p1": (2, 1)}), "leave nothing"),
    ],
)
def test_bad_input_is_refused(call, message) -> None:
    with pytest.raises(InputError, match=message):
        call()
