import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import poisson

from bumpfit.errors import InputError
from bumpfit.scoring.significance import asimov, simple


def test_simple() -> None:
    np.testing.assert_allclose(simple([30, 0, 5, 0], [70, 10, 0, 0]), [3, 0, np.sqrt(5), 0])


def test_without_error_is_the_closed_form() -> None:
    """Cowan et al., eq. 97, by hand: s = 10, b = 20."""
    assert asimov(10, 20) == pytest.approx(np.sqrt(2 * (30 * np.log(1.5) - 10)), rel=1e-14)
    assert asimov(1e-3, 1e6) == pytest.approx(1e-6, rel=1e-3)  # s / sqrt(b) for small s, no digits lost


@pytest.mark.parametrize(("s", "b", "relative"), [(10.0, 20.0, 0.3), (3.0, 1.5, 0.5), (50.0, 400.0, 0.1)])
def test_with_error_is_the_profile_likelihood_ratio(s: float, b: float, relative: float) -> None:
    """-2 ln of the ratio at n = s + b, m = tau b, minimised by scipy."""
    tau = 1 / (relative**2 * b)
    n, m = s + b, tau * b

    def twice_nll(mu: float, nu: float) -> float:
        return 2 * (mu * s + nu - n * np.log(mu * s + nu) + tau * nu - m * np.log(tau * nu))

    null = minimize(lambda x: twice_nll(0.0, np.exp(x[0])), [np.log(b)], method="Nelder-Mead", tol=1e-13).fun
    assert asimov(s, b, relative * b) ** 2 == pytest.approx(null - twice_nll(1.0, b), rel=1e-6)


def test_tends_to_the_one_without_error() -> None:
    np.testing.assert_allclose(asimov(10, 20, [1e-2, 1e-3, 1e-6, 0]), asimov(10, 20), rtol=1e-4)


def test_edges() -> None:
    assert asimov(0, 0) == 0 and asimov(0, 5, 1) == 0
    assert asimov(2, 0) == np.inf and asimov(2, 0, 0.5) == 0
    assert asimov(2, 1e-12, 0.5) < 1e-3


def test_is_the_median_of_counting_experiments() -> None:
    """The median p-value of n ~ Poisson(s + b) against a known b is close to the Asimov one."""
    from scipy.stats import norm

    s, b = 40.0, 100.0
    median = norm.isf(poisson.sf(np.floor(s + b) - 1, b))
    assert asimov(s, b) == pytest.approx(median, rel=0.03)


@pytest.mark.parametrize("arguments", [(-1, 2), (1, -2), (1, np.nan), (np.inf, 1), (1, 2, -1), (1, 2, np.nan)])
def test_refuses(arguments: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="0 or more"):
        asimov(*arguments)
