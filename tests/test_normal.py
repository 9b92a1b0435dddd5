"""Tails of the normal and chi-squared laws against scipy."""

import math

import numpy as np
import pytest
from scipy.special import chdtri, ndtr, ndtri

from bumpfit.normal import chi2_quantile, significance, upper_tail


def test_tails_agree_with_scipy() -> None:
    for z in np.linspace(-8, 37, 200):
        assert upper_tail(z) == pytest.approx(float(ndtr(-z)), rel=1e-13)
    for p in [*np.logspace(-300, -0.01, 300), 0.5, 0.9, 1 - 1e-12]:
        assert significance(p) == pytest.approx(-float(ndtri(p)), rel=1e-13, abs=1e-13)
    assert (significance(0.0), significance(1.0)) == (math.inf, -math.inf)


@pytest.mark.parametrize("freedom", [1, 2])
def test_chi2_quantiles_agree_with_scipy(freedom: int) -> None:
    for level in (0.01, 0.3, 0.6827, 0.9, 0.95, 0.9973, 1 - 1e-9):
        assert chi2_quantile(level, freedom) == pytest.approx(float(chdtri(freedom, 1 - level)), rel=1e-12)


def test_other_degrees_of_freedom_are_refused() -> None:
    with pytest.raises(ValueError, match="one or two degrees"):
        chi2_quantile(0.95, 3)
