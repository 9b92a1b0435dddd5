"""Best linear unbiased estimates against closed forms and least squares."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from bumpfit.errors import InputError
from bumpfit.inference import blue


@given(st.floats(0.1, 3.0), st.floats(0.1, 3.0), st.floats(-0.95, 0.95))
@settings(max_examples=50, deadline=None)
def test_two_measurements_have_a_closed_form(s1: float, s2: float, rho: float) -> None:
    """Lyons, Gibaut, Clifford, eq. 5."""
    found = blue({"a": 1.0, "b": 2.5}, {"all": [s1, s2]}, {"all": rho})
    below = s1**2 + s2**2 - 2 * rho * s1 * s2
    assert found.weights["a"] == pytest.approx((s2**2 - rho * s1 * s2) / below, rel=1e-9, abs=1e-12)
    assert found.error**2 == pytest.approx(s1**2 * s2**2 * (1 - rho**2) / below, rel=1e-9)
    assert found.chi2 == pytest.approx(1.5**2 / below, rel=1e-9)


def test_several_sources_are_a_fit_of_all_shifts() -> None:
    """Fully correlated sources are common shifts with unit Gaussians: minimise over the value and the shifts."""
    values = np.array([172.4, 173.1, 171.8])
    stat, jes, theory = np.array([0.4, 0.6, 0.9]), np.array([0.5, 0.3, 0.0]), np.array([0.2, 0.2, 0.3])
    found = blue(
        dict(zip("abc", values, strict=True)), {"stat": list(stat), "jes": list(jes), "theory": list(theory)},
        {"jes": 1.0, "theory": 1.0},
    )  # fmt: skip

    def residuals(x: np.ndarray) -> np.ndarray:
        return np.r_[(values - x[0] - x[1] * jes - x[2] * theory) / stat, x[1], x[2]]

    fit = optimize.least_squares(residuals, [172.0, 0.0, 0.0], xtol=1e-14)
    assert found.value == pytest.approx(fit.x[0], rel=1e-9)
    assert found.error == pytest.approx(np.sqrt(np.linalg.inv(fit.jac.T @ fit.jac)[0, 0]), rel=1e-6)
    assert found.chi2 == pytest.approx(2 * fit.cost, rel=1e-6)
    assert found.p == pytest.approx(stats.chi2.sf(found.chi2, 2))
    assert sum(v**2 for v in found.errors.values()) == pytest.approx(found.error**2)
    assert sum(found.weights.values()) == pytest.approx(1.0)


def test_negative_weights_are_told_and_nonsense_refused() -> None:
    found = blue({"a": 1.0, "b": 2.0}, {"e": [0.3, 1.0]}, {"e": 0.9})
    assert found.weights["b"] < 0 and "negative weights: b" in found.notes[0]
    two = {"a": 1.0, "b": 2.0}
    for values, errors, correlations, message in (
        ({"a": 1.0}, {"e": [0.3]}, {}, "two or more"),
        (two, {}, {}, "no errors"),
        (two, {"e": [0.3]}, {}, "must be 2 numbers"),
        (two, {"e": [0.3, -1.0]}, {}, "from 0 on"),
        (two, {"e": [0.3, 0.0]}, {}, "'b' has no error"),
        (two, {"e": [0.3, 0.4]}, {"e": 1.0}, "singular"),
        (two, {"e": [0.3, 0.4]}, {"e": 1.5}, "are none"),
        (two, {"e": [0.3, 0.4]}, {"e": [[1, 0.5], [0.2, 1]]}, "are none"),
        (two, {"e": [0.3, 0.4]}, {"f": 0.5}, "'f', which has no errors"),
    ):
        with pytest.raises(InputError, match=message):
            blue(values, errors, correlations)  # type: ignore[arg-type]
