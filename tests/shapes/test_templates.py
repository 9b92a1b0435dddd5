import numpy as np
import pytest
from scipy.stats import norm

from bumpfit import histograms, shapes
from bumpfit.errors import InputError

FINE = np.linspace(2000.0, 6000.0, 401)
COARSE = np.linspace(2500.0, 5500.0, 31)


def peak(mass: float, edges: np.ndarray = FINE) -> histograms.Histogram:
    return histograms.from_counts(edges, 1000 * np.diff(norm.cdf(edges, mass, 0.03 * mass)))


def test_template_shares_bins_exactly() -> None:
    sample = histograms.from_counts([0.0, 1.0, 3.0], [2, 6])
    shape = shapes.template(sample)
    np.testing.assert_allclose(shape.integrate([0.0, 0.5, 2.0, 3.0, 4.0], [80.0]), [10, 40, 30, 0], rtol=1e-12)
    np.testing.assert_allclose(shape.density([-1, 0.5, 2.0, 5.0], [80.0]), [0, 20, 30, 0])


def test_template_fit_is_the_ratio_of_numbers() -> None:
    sample = histograms.from_counts(COARSE, np.linspace(900, 100, 30))
    counts = np.random.default_rng(1).poisson(np.linspace(90, 10, 30))
    result = shapes.fit(shapes.template(sample), histograms.from_counts(COARSE, counts))
    assert result.values["n_events"] == pytest.approx(counts.sum(), rel=1e-6)
    assert result.errors["n_events"] == pytest.approx(np.sqrt(counts.sum()), rel=1e-4)


def test_template_background_under_a_peak() -> None:
    sample = histograms.from_counts(COARSE, 1e6 * np.exp(-COARSE[1:] / 400))
    peaked = 500 * np.diff(norm.cdf(COARSE, 4000, 120))
    expected = 20000 * sample.counts / sample.total + peaked
    model = shapes.add(shapes.template(sample), shapes.gaussian())
    result = shapes.fit(model, histograms.from_counts(COARSE, expected))
    assert result.valid, result.status
    np.testing.assert_allclose(result.array, [20000, 500, 4000, 120], rtol=1e-3)


@pytest.mark.parametrize("method", ["vertical", "horizontal"])
def test_morphing_returns_its_templates(method) -> None:
    shape = shapes.morph({3000: peak(3000), 4000: peak(4000), 5000: peak(5000)}, method=method)
    for mass in (3000, 4000, 5000):
        np.testing.assert_allclose(
            shape.integrate(COARSE, [1.0, mass]),
            np.diff(np.interp(COARSE, FINE, np.append(0, np.cumsum(peak(mass).counts)))) / peak(mass).total,
            atol=1e-9,
        )


def test_horizontal_morphing_of_gaussians_is_exact() -> None:
    """Quantiles of normal distributions are linear in mean and width, so the morphed one is normal again."""
    fine = np.linspace(1500.0, 6500.0, 20001)
    shape = shapes.morph({3000: peak(3000, fine), 5000: peak(5000, fine)})
    want = np.diff(norm.cdf(COARSE, 3700, 0.03 * 3700))
    np.testing.assert_allclose(shape.integrate(COARSE, [1.0, 3700]), want, atol=1e-6)


def test_vertical_morphing_is_linear_in_contents() -> None:
    shape = shapes.morph({3000: peak(3000), 4000: peak(4000)}, method="vertical")
    want = 0.75 * shape.integrate(COARSE, [1.0, 3000]) + 0.25 * shape.integrate(COARSE, [1.0, 4000])
    np.testing.assert_allclose(shape.integrate(COARSE, [1.0, 3250]), want, atol=1e-12)


@pytest.mark.parametrize("method", ["vertical", "horizontal"])
def test_morph_gradient_and_density(method) -> None:
    shape = shapes.morph({3000: peak(3000), 3400: peak(3400)}, method=method)
    values, step = np.array([200.0, 3133.0]), np.array([0.0, 1e-3])
    want = (shape.integrate(COARSE, values + step) - shape.integrate(COARSE, values - step)) / 2e-3
    got = shape.gradient(COARSE, values)
    np.testing.assert_allclose(got[:, 1], want, atol=1e-6)
    np.testing.assert_allclose(got[:, 0] * 200, shape.integrate(COARSE, values), rtol=1e-12)
    middles = COARSE[0] + (np.arange(300_000) + 0.5) * 0.01
    total = 0.01 * shape.density(middles, values).reshape(30, -1).sum(axis=1)
    np.testing.assert_allclose(total, shape.integrate(COARSE, values), atol=0.01)


def test_morphed_signal_floats_on_a_background() -> None:
    background, truth = shapes.dijet(3), [1e3, 11.0, 1.0]
    signal = shapes.morph({mass: peak(mass) for mass in (3000, 3500, 4000, 4500)})
    expected = background.integrate(COARSE, truth)
    expected *= 30000 / expected.sum()
    counts = expected + 600 * np.diff(norm.cdf(COARSE, 3810, 0.03 * 3810))
    result = shapes.fit(shapes.add(background, signal), histograms.from_counts(COARSE, counts))
    assert result.valid, result.status
    assert result.values["mass"] == pytest.approx(3810, abs=3)
    assert result.values["n_signal"] == pytest.approx(600, rel=0.02)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shapes.morph({3000: peak(3000)}), "two masses or more"),
        (lambda: shapes.morph({3000: peak(3000), 4000: peak(4000, COARSE)}), "other edges"),
        (lambda: shapes.morph({3000: peak(3000), 4000: peak(4000)}, method="both"), "'vertical' or 'horizontal'"),
        (lambda: shapes.morph({1: peak(3000), 2: peak(3000)}).integrate(FINE, [1, 3]), "templates from 1 to 2"),
        (lambda: shapes.template(peak(3000).blind(3000, 3100)), "blinded"),
        (lambda: shapes.template(histograms.from_counts([0, 1], [0])), "with events"),
        (lambda: shapes.fit(shapes.template(peak(3000)), histograms.from_counts([7e3, 8e3], [4])), "is empty between"),
    ],
)
def test_bad_input_is_refused(call, message) -> None:
    with pytest.raises(InputError, match=message):
        call()
