"""Bernstein polynomials and the modified exponential."""

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.interpolate import BPoly

from bumpfit import histograms, shapes
from bumpfit.errors import InputError

S = 13000.0
EDGES = np.linspace(2500.0, 6500.0, 21)


@pytest.mark.parametrize("n", [1, 2, 4, 6])
def test_bernstein_equals_scipy(n: int) -> None:
    shape, values = shapes.bernstein(n, 2000.0, 7000.0), np.linspace(5.0, 1.0, n)
    witness = BPoly(values[:, None], [2000.0, 7000.0])
    np.testing.assert_allclose(shape.density(EDGES, values), witness(EDGES), rtol=1e-12)
    want = [witness.integrate(a, b) for a, b in itertools.pairwise(EDGES)]
    np.testing.assert_allclose(shape.integrate(EDGES, values), want, rtol=1e-11)
    np.testing.assert_allclose(shape.gradient(EDGES, values) @ values, want, rtol=1e-11)


def test_bernstein_fit_finds_its_truth_and_stays_positive() -> None:
    shape = shapes.bernstein(4, 2500.0, 6500.0)
    truth = np.array([40.0, 12.0, 5.0, 1.0])
    exact = shapes.fit(shape, histograms.from_counts(EDGES, shape.integrate(EDGES, truth)))
    assert exact.valid, exact.status
    np.testing.assert_allclose(exact.array, truth, rtol=1e-3)
    falling = np.random.default_rng(1).poisson(1e4 * np.exp(-np.arange(20) / 1.5))
    steep = shapes.fit(shape, histograms.from_counts(EDGES, falling))
    assert (steep.array >= 0).all()
    assert steep.at_bounds


def test_bernstein_unbounded_minimum_is_the_weighted_least_squares_one() -> None:
    """For large counts the Poisson fit of a linear model is the least-squares fit with expected variances."""
    shape, truth = shapes.bernstein(3, 2500.0, 6500.0), np.array([4e4, 3e4, 2e4])
    expected = shape.integrate(EDGES, truth)
    counts = np.random.default_rng(2).poisson(expected)
    jacobian = shape.gradient(EDGES, truth)
    want = np.linalg.solve((jacobian / expected[:, None]).T @ jacobian, jacobian.T @ (counts / expected))
    got = shapes.fit(shape, histograms.from_counts(EDGES, counts))
    np.testing.assert_allclose(got.array, want, atol=0.05 * min(got.errors.values()))


MODIFIED = [(3, [2e5, -11.0, 0.7]), (5, [1e-4, -9.0, 0.6, 14.0, 1.5])]


@pytest.mark.parametrize(("n", "values"), MODIFIED)
def test_modified_exponential_is_exact(n: int, values: list[float]) -> None:
    shape = shapes.modified_exponential(n)

    def formula(m, p0, p1, p2, p3=0.0, p4=1.0):
        return p0 * np.exp(p1 * (m / S) ** p2 + p3 * (1 - m / S) ** p4)

    want = [quad(formula, a, b, args=tuple(values), epsabs=0, epsrel=1e-13)[0] for a, b in itertools.pairwise(EDGES)]
    np.testing.assert_allclose(shape.integrate(EDGES, values), want, rtol=1e-12)
    for j in range(n):
        used = np.array(values, dtype=complex)
        used[j] += 1e-30j
        slope = formula(EDGES, *used).imag / 1e-30
        np.testing.assert_allclose(shape.density_gradient(EDGES, values)[:, j], slope, rtol=1e-11)


@pytest.mark.parametrize("reference", [None, 3500.0])
def test_modified_exponential_fits(reference) -> None:
    shape = shapes.modified_exponential(3, reference=reference)
    literal = shapes.modified_exponential(3)
    expected = literal.integrate(EDGES, [2e5, -11.0, 0.7])
    exact = shapes.fit(shape, histograms.from_counts(EDGES, 5e4 * expected / expected.sum()))
    assert exact.valid, exact.status
    assert exact.values["p2"] == pytest.approx(0.7, rel=2e-2)
    np.testing.assert_allclose(shape.integrate(EDGES, exact.values), 5e4 * expected / expected.sum(), rtol=2e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shapes.bernstein(0, 1, 2), "at least one coefficient"),
        (lambda: shapes.bernstein(3, 2, 1), "needs a range"),
        (lambda: shapes.bernstein(3, 3000, 4000).integrate(EDGES, [1, 1, 1]), "lives between 3000 and 4000"),
        (lambda: shapes.modified_exponential(4), "3 or 5 parameters"),
        (lambda: shapes.modified_exponential(3, sqrt_s=-1), "positive energy"),
    ],
)
def test_bad_input_is_refused(call, message) -> None:
    with pytest.raises(InputError, match=message):
        call()
