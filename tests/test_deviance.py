"""The Poisson deviance against scipy's law."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from bumpfit.poisson import deviance


@given(st.integers(0, 2000), st.floats(1e-3, 3e3))
def test_deviance_is_twice_the_log_likelihood_ratio_to_the_saturated_model(n: int, mean: float) -> None:
    ratio = 2 * (poisson.logpmf(n, max(n, 1e-300)) - poisson.logpmf(n, mean))
    assert deviance(n, mean) == np.float64(0) or np.isclose(deviance(n, mean), ratio, rtol=1e-8, atol=1e-8)


def test_deviance_at_the_edges() -> None:
    assert deviance([0, 3, 0, 1], [0, 0, 2, -1]).tolist() == [0.0, np.inf, 4.0, np.inf]
