import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numba import njit

from bumpfit.toys.lanes import exp, fma, load, log, splat, spread, sqrt, store, where_less


@njit
def apply(x, out):
    value = load(x, 0)
    store(out, 0, exp(value))
    store(out, 1, log(value))
    store(out, 2, sqrt(value))
    store(out, 3, fma(value, splat(2.0), spread(x, 3)))
    store(out, 4, (value + splat(1.0)) * value - value / splat(3.0))
    store(out, 5, where_less(value, splat(0.0), splat(-1.0), splat(1.0)))


def run(x):
    out = np.empty((6, 8))
    apply(x.reshape(1, 8), out)
    return out


def number(low: float, high: float):
    return arrays(np.float64, 8, elements=st.floats(low, high))


@settings(max_examples=300, deadline=None)
@given(number(-699, 699))
def test_exp(x) -> None:
    np.testing.assert_allclose(run(x)[0], np.exp(x), rtol=4e-16)


@settings(max_examples=300, deadline=None)
@given(arrays(np.float64, 8, elements=st.floats(1e-300, 1e300)))
def test_log_and_sqrt(x) -> None:
    out = run(x)
    np.testing.assert_allclose(out[1], np.log(x), rtol=4e-16, atol=1e-16)
    np.testing.assert_array_equal(out[2], np.sqrt(x))


def test_arithmetic_and_edges() -> None:
    x = np.array([-2.0, -0.0, 0.0, 1.5, 3.0, np.nan, 1e5, -1e5])
    out = run(x)
    np.testing.assert_allclose(out[3], 2 * x + 1.5)
    np.testing.assert_allclose(out[4], (x + 1) * x - x / 3)
    np.testing.assert_array_equal(out[5], [-1, 1, 1, 1, 1, 1, 1, -1])
    assert np.isnan(out[1, [0, 1, 2, 5, 7]]).all()
    assert np.isfinite(out[0, [6, 7]]).all()  # clamped, no overflow
