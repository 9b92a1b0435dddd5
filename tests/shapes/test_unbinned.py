import numpy as np
import pytest

from bumpfit import histograms, shapes
from bumpfit.errors import InputError


def test_exponential_has_a_closed_form() -> None:
    """Far from the upper end the slope is 1 / mean and its error slope / sqrt(n)."""
    masses = 1000 + np.random.default_rng(1).exponential(200.0, 800)
    shape = shapes.exponential(2)
    result = shapes.fit_unbinned(shape, masses, 1000.0, 12000.0)
    slope = 13000.0 / (masses.mean() - 1000)
    assert result.valid, result.status
    assert result.values["p1"] == pytest.approx(slope, rel=1e-6)
    assert result.errors["p1"] == pytest.approx(slope / np.sqrt(800), rel=1e-4)
    assert shape.integrate([1000.0, 12000.0], result.values)[0] == pytest.approx(800, rel=1e-6)
    f = 800 * slope / 13000.0 * np.exp(-slope * (masses - 1000) / 13000.0)
    assert result.twice_nll == pytest.approx(2 * (800 - np.log(f).sum()), abs=1e-5)


def test_gaussian_has_a_closed_form() -> None:
    masses = np.random.default_rng(2).normal(3500, 100, 500)
    result = shapes.fit_unbinned(shapes.gaussian(), masses, 2000.0, 5000.0)
    np.testing.assert_allclose(result.array, [500, masses.mean(), masses.std()], rtol=1e-5)
    np.testing.assert_allclose(
        list(result.errors.values()),
        [np.sqrt(500), masses.std() / np.sqrt(500), masses.std() / np.sqrt(1000)],
        rtol=1e-3,
    )


def test_binned_fit_tends_to_the_unbinned_one() -> None:
    shape = shapes.dijet(3, reference=3500.0)
    edges = np.linspace(2900, 8000, 1000)
    content = shape.integrate(edges, [1.0, 11.0, 1.0])
    rng = np.random.default_rng(3)
    counts = rng.multinomial(3000, content / content.sum())
    masses = np.repeat(edges[:-1], counts) + rng.uniform(0, 5.1, 3000)
    unbinned = shapes.fit_unbinned(shape, masses, 2900.0, 8000.0)
    binned = shapes.fit(shape, histograms.fill(masses, edges))
    for name in shape.parameters:
        assert unbinned.values[name] == pytest.approx(binned.values[name], abs=0.02 * binned.errors[name])
        assert unbinned.errors[name] == pytest.approx(binned.errors[name], rel=0.01)


def test_small_counts_with_a_peak() -> None:
    rng = np.random.default_rng(4)
    masses = np.concatenate([3000 + rng.exponential(500, 40), rng.normal(4200, 60, 25)])
    model = shapes.add(shapes.exponential(2), shapes.tie(shapes.gaussian(), sigma=[60.0]))
    result = shapes.fit_unbinned(model, masses, 3000.0, 8000.0)
    assert result.valid, result.status
    assert abs(result.values["mass"] - 4200) < 3 * result.errors["mass"] < 90
    assert abs(result.values["n_signal"] - 25) < 3 * result.errors["n_signal"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shapes.fit_unbinned(shapes.dijet(3), [np.nan, 1], 1, 2), "1 of 2 masses"),
        (lambda: shapes.fit_unbinned(shapes.dijet(3), [3e3] * 9, 5, 2), "needs a window"),
        (lambda: shapes.fit_unbinned(shapes.dijet(3), [3e3] * 2, 2e3, 4e3), "2 events between"),
        (lambda: shapes.fit_unbinned(shapes.dijet(3), [], 2e3, 4e3), "0 events between"),
    ],
)
def test_bad_input_is_refused(call, message) -> None:
    with pytest.raises(InputError, match=message):
        call()
