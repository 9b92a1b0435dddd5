import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import crystalball, norm

from bumpfit import shapes
from bumpfit.errors import InputError

EDGES = np.linspace(2500.0, 4500.0, 41)
DCB = np.array([500.0, 3500.0, 105.0, 1.2, 4.0, 1.9, 7.0])


def test_gaussian_is_the_normal_distribution() -> None:
    got = shapes.gaussian().integrate(EDGES, [200.0, 3500.0, 90.0])
    np.testing.assert_allclose(got, 200 * np.diff(norm.cdf(EDGES, 3500, 90)), rtol=1e-9, atol=1e-13)
    # The upper tail keeps its relative precision, where differences of the cumulative function are zero.
    far = shapes.gaussian().integrate([4500.0, 4600.0], [1.0, 3500.0, 90.0])[0]
    assert far == pytest.approx(norm.sf(4500, 3500, 90) - norm.sf(4600, 3500, 90), rel=1e-10)


def test_gaussian_density() -> None:
    np.testing.assert_allclose(
        shapes.gaussian().density(EDGES, [3.0, 3500.0, 90.0]), 3 * norm.pdf(EDGES, 3500, 90), rtol=1e-12
    )


def test_crystal_ball_sides_equal_scipy() -> None:
    """Each half of the double-sided shape is scipy's one-sided Crystal Ball up to normalisation."""
    shape = shapes.double_crystal_ball()
    low = np.linspace(2500, 3500, 50)
    ratio = shape.density(low, DCB) / crystalball.pdf((low - 3500) / 105, 1.2, 4.0)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-10)
    high = np.linspace(3500, 4500, 50)
    ratio = shape.density(high, DCB) / crystalball.pdf(-(high - 3500) / 105, 1.9, 7.0)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-10)


def test_crystal_ball_is_normalised_and_exact() -> None:
    shape = shapes.double_crystal_ball()
    assert shape.integrate([-1e12, 3500.0, 1e12], DCB).sum() == pytest.approx(500.0, rel=1e-12)
    want = [
        quad(lambda m: shape.density([m], DCB)[0], a, b, epsabs=0, epsrel=1e-12, points=[3500 - 126, 3500 + 199.5])[0]
        for a, b in itertools.pairwise(EDGES)
    ]
    np.testing.assert_allclose(shape.integrate(EDGES, DCB), want, rtol=1e-9)


@pytest.mark.parametrize(
    ("shape", "values"),
    [(shapes.gaussian(), np.array([200.0, 3500.0, 90.0])), (shapes.double_crystal_ball(), DCB)],
    ids=["gaussian", "double_crystal_ball"],
)
def test_gradients_equal_differences(shape, values) -> None:
    for function, gradient in ((shape.integrate, shape.gradient), (shape.density, shape.density_gradient)):
        got = gradient(EDGES, values)
        for j in range(values.size):
            step = np.zeros(values.size)
            step[j] = 1e-5 * values[j]
            want = (
                8 * (function(EDGES, values + step) - function(EDGES, values - step))
                - (function(EDGES, values + 2 * step) - function(EDGES, values - 2 * step))
            ) / (12 * step[j])
            np.testing.assert_allclose(got[:, j], want, rtol=1e-6, atol=1e-9 * np.abs(want).max())


@settings(max_examples=50, deadline=None)
@given(
    mass=st.floats(2000, 5000),
    sigma=st.floats(20, 400),
    alpha=st.floats(0.3, 3),
    n=st.floats(1.5, 30),
    beta=st.floats(0.3, 3),
)
def test_bins_add_up(mass: float, sigma: float, alpha: float, n: float, beta: float) -> None:
    shape, values = shapes.double_crystal_ball(), [1.0, mass, sigma, alpha, n, beta, n + 1]
    fine = shape.integrate(EDGES, values)
    assert (fine >= 0).all()
    assert fine.sum() == pytest.approx(shape.integrate(EDGES[[0, -1]], values)[0], rel=1e-9, abs=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shapes.gaussian().integrate(EDGES, [1, 3500, 0]), "positive width"),
        (lambda: shapes.double_crystal_ball().density(EDGES, [1, 3500, 90, 1, 1, 1, 3]), "n > 1 on both sides"),
        (lambda: shapes.double_crystal_ball().density(EDGES, [1, 3500, 90, -1, 2, 1, 3]), "alpha > 0"),
    ],
)
def test_bad_input_is_refused(call, message) -> None:
    with pytest.raises(InputError, match=message):
        call()
