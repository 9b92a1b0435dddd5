"""Fits against direct iminuit fits of formulas written here, and against closed forms."""

import iminuit
import numpy as np
import pytest
from iminuit.cost import ExtendedBinnedNLL
from scipy.special import gammaln

from bumpfit import histograms, shapes
from bumpfit.errors import InputError

S = 13000.0
EDGES = histograms.mass_edges(2900.0, 7000.0)
TRUTH = {"p0": 0.05, "p1": 8.0, "p2": 6.0, "p3": 1.2}


@pytest.fixture(scope="module")
def spectrum() -> histograms.Histogram:
    expected = shapes.dijet(4).integrate(EDGES, TRUTH)
    return histograms.from_counts(EDGES, np.random.default_rng(11).poisson(60000 * expected / expected.sum()))


def direct(histogram: histograms.Histogram, names: tuple[str, ...]) -> float:
    """-2 ln L at the minimum of a plain MIGRAD in parameters relative to 3.5 TeV, with no code of ours."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    low, high = histogram.edges[:-1, None], histogram.edges[1:, None]
    m = 0.5 * (high + low) + 0.5 * (high - low) * nodes
    x, x0 = m / S, 3500.0 / S
    terms = {
        "p1": np.log((1 - x) / (1 - x0)),
        "p2": -(np.log(x) - np.log(x0)),
        "p3": -(np.log(x) ** 2 - np.log(x0) ** 2),
        "p4": -(np.log(x) ** 3 - np.log(x0) ** 3),
    }
    n = histogram.counts

    def nll(p):
        f = np.exp(p[0] + sum(value * terms[name] for name, value in zip(names[1:], p[1:], strict=True)))
        mu = (f * weights).sum(1) * 0.5 * (high - low)[:, 0]
        return float(np.sum(mu - n * np.log(mu) + gammaln(n + 1)))

    minuit = iminuit.Minuit(nll, np.array([4.0, *(5.0 for _ in names[1:])]))
    minuit.errordef, minuit.strategy, minuit.tol = 0.5, 2, 1e-4
    for _ in range(4):
        minuit.simplex()
        minuit.migrad()
    return 2 * minuit.fval


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_minimum_equals_direct_iminuit(spectrum, n: int) -> None:
    shape = shapes.dijet(n)
    result = shapes.fit(shape, spectrum)
    assert result.valid, result.status
    witness = direct(spectrum, shape.parameters)
    print(f"\n| dijet({n}) | {result.twice_nll:.7f} | {result.twice_nll - witness:+.1e} |")
    assert result.twice_nll == pytest.approx(witness, abs=1e-6)
    assert shapes.twice_nll(shape, spectrum, result.values) == pytest.approx(result.twice_nll, abs=1e-9)
    # The likelihood of a function with a free prefactor makes the expected total equal to the observed one.
    assert shape.integrate(EDGES, result.values).sum() == pytest.approx(spectrum.total, rel=1e-6)


def test_errors_equal_the_inverse_information(spectrum) -> None:
    """Observed equals expected information for a log-linear Poisson model (up to the spread inside bins)."""
    shape = shapes.dijet(4, reference=3500.0)
    result = shapes.fit(shape, spectrum)
    jacobian, b = shape.gradient(EDGES, result.values), shape.integrate(EDGES, result.values)
    want = np.linalg.inv((jacobian / b[:, None]).T @ jacobian)
    assert result.covariance is not None
    np.testing.assert_allclose(list(result.errors.values()), np.sqrt(np.diag(want)), rtol=2e-2)


def test_exponential_of_two_bins_is_solved_exactly() -> None:
    """Two parameters and two equal bins: the fit must reproduce both counts."""
    histogram = histograms.from_counts([1000.0, 1100.0, 1200.0], [400, 150])
    shape = shapes.exponential(2)
    result = shapes.fit(shape, histogram)
    np.testing.assert_allclose(shape.integrate(histogram.edges, result.values), [400, 150], rtol=1e-5)
    assert result.values["p1"] == pytest.approx(S * np.log(400 / 150) / 100, rel=1e-5)


def test_gaussian_matches_iminuit_cost() -> None:
    rng = np.random.default_rng(5)
    histogram = histograms.fill(rng.normal(3500, 100, 2000), np.linspace(3000, 4000, 51))
    shape = shapes.gaussian()
    result = shapes.fit(shape, histogram)
    cost = ExtendedBinnedNLL(
        histogram.counts,
        histogram.edges,
        lambda e, n, mass, sigma: np.concatenate([[0], np.cumsum(shape.integrate(e, [n, mass, sigma]))]),
    )
    minuit = iminuit.Minuit(cost, n=1900, mass=3480, sigma=120)
    minuit.limits["sigma"] = (1, None)
    minuit.migrad()
    minuit.hesse()
    assert result.valid
    np.testing.assert_allclose(list(result.values.values()), np.array(minuit.values), rtol=1e-4)
    np.testing.assert_allclose(list(result.errors.values()), np.array(minuit.errors), rtol=1e-2)


def test_crystal_ball_finds_its_truth() -> None:
    shape, truth = shapes.double_crystal_ball(), [1e6, 3500.0, 100.0, 1.2, 4.0, 1.8, 6.0]
    edges = np.linspace(2000, 5000, 101)
    result = shapes.fit(shape, histograms.from_counts(edges, shape.integrate(edges, truth)))
    assert result.valid, result.status
    np.testing.assert_allclose(result.array, truth, rtol=2e-3)


def test_narrow_window_with_five_parameters_needs_a_reference() -> None:
    edges = histograms.mass_edges(3300.0, 3700.0)
    expected = shapes.dijet(3).integrate(edges, [1.0, 10.0, 5.0])
    window = histograms.from_counts(edges, np.random.default_rng(2).poisson(25000 * expected / expected.sum()))
    stable = shapes.fit(shapes.dijet(5, reference=3500.0), window)
    assert stable.valid, stable.status
    three = shapes.fit(shapes.dijet(3), window)
    assert three.valid, three.status
    assert stable.twice_nll <= three.twice_nll + 1e-6


def test_blinded_bins_change_nothing_and_are_not_seen(spectrum) -> None:
    shape = shapes.dijet(3)
    hidden = spectrum.blind(3600, 4200)
    loud = spectrum.counts
    loud[hidden.blinded] *= 5
    first = shapes.fit(shape, hidden)
    second = shapes.fit(shape, histograms.from_counts(EDGES, loud).blind(3600, 4200))
    assert first.valid
    assert first.twice_nll == second.twice_nll
    assert first.values["p1"] == pytest.approx(shapes.fit(shape, spectrum).values["p1"], abs=3 * first.errors["p1"])


def test_weighted_events_keep_the_error_of_their_number(spectrum) -> None:
    """Constant weights w: the values scale, errors of exponents stay those of the plain events."""
    shape, plain = shapes.dijet(3, reference=3500.0), spectrum
    heavy = histograms.from_counts(EDGES, 0.1 * plain.counts, 0.01 * plain.counts)
    a, b = shapes.fit(shape, plain), shapes.fit(shape, heavy)
    assert b.values["p0"] == pytest.approx(0.1 * a.values["p0"], rel=1e-5)
    assert b.values["p1"] == pytest.approx(a.values["p1"], abs=1e-3 * a.errors["p1"])
    assert b.errors["p1"] == pytest.approx(a.errors["p1"], rel=1e-3)


def test_fixed_and_start(spectrum) -> None:
    shape = shapes.dijet(4)
    free = shapes.fit(shape, spectrum)
    held = shapes.fit(shape, spectrum, fixed={"p3": free.values["p3"]})
    assert held.fixed == ("p3",)
    assert held.errors["p3"] == 0
    assert held.twice_nll == pytest.approx(free.twice_nll, abs=1e-5)
    from_truth = shapes.fit(shape, spectrum, start=TRUTH)
    assert from_truth.twice_nll == pytest.approx(free.twice_nll, abs=1e-5)
    nothing = shapes.fit(shape, spectrum, fixed=free.values)
    assert nothing.valid
    assert nothing.twice_nll == pytest.approx(free.twice_nll, abs=1e-9)


def test_empty_tail_is_no_trouble() -> None:
    edges = np.linspace(3000, 12000, 46)
    expected = shapes.dijet(3).integrate(edges, [1.0, 10.0, 5.0])
    counts = np.random.default_rng(4).poisson(500 * expected / expected.sum())
    assert (counts == 0).any()
    assert shapes.fit(shapes.dijet(3), histograms.from_counts(edges, counts)).valid


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shapes.fit(shapes.dijet(4), histograms.from_counts(EDGES, 0 * EDGES[1:])), "no events"),
        (lambda: shapes.fit(shapes.dijet(4), histograms.from_counts([3000, 4000, 5000], [3, 1])), "only 2 bins"),
        (
            lambda: shapes.fit(shapes.dijet(2), histograms.from_counts(EDGES, EDGES[1:]), fixed={"q": 1}),
            "no parameter q",
        ),
        (lambda: shapes.fit(shapes.dijet(2), histograms.from_counts(EDGES, EDGES[1:]).blind(0, 9000)), "blinded"),
        (lambda: shapes.fit(shapes.dijet(2), histograms.from_counts(EDGES, EDGES[1:]), start=[-1, 2]), "positive"),
    ],
)
def test_bad_input_is_refused(call, message) -> None:
    with pytest.raises(InputError, match=message):
        call()
