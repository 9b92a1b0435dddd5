"""Bands, orders, envelopes, spurious signal and bias, each against a closed form or a direct computation."""

import numpy as np
import pytest
from scipy.stats import f as f_distribution
from scipy.stats import norm

from bumpfit import histograms, shapes
from bumpfit.errors import InputError
from bumpfit.inference import spectra

EDGES = histograms.mass_edges(2900.0, 7000.0)
TRUTH = [0.05, 8.0, 6.0, 1.2]
SIGNAL = shapes.tie(shapes.gaussian(), sigma=(0.0, 0.03))


def expected(total: float = 60000.0) -> np.ndarray:
    content = shapes.dijet(4).integrate(EDGES, TRUTH)
    return total * content / content.sum()


def sample(seed: int, total: float = 60000.0) -> histograms.Histogram:
    return histograms.from_counts(EDGES, np.random.default_rng(seed).poisson(expected(total)))


def test_band_of_a_normalisation_is_the_square_root() -> None:
    """One parameter, the total: the error of each bin is its share of sqrt(n)."""
    sample_ = histograms.from_counts([0.0, 1.0, 2.0], [300, 100])
    shape = shapes.template(sample_)
    data = histograms.from_counts([0.0, 1.0, 2.0], [80, 20])
    band = shapes.propagated_band(shape, shapes.fit(shape, data), data)
    np.testing.assert_allclose(band.high - band.expected, norm.ppf(0.84135) * 10 * np.array([0.75, 0.25]), rtol=1e-4)
    two_sigma = shapes.propagated_band(shape, shapes.fit(shape, data), data, level=0.9545)
    np.testing.assert_allclose((two_sigma.high - two_sigma.low) / (band.high - band.low), 2.0, rtol=1e-3)


def test_bands_agree_and_equal_the_hat_matrix() -> None:
    shape, data = shapes.dijet(4), sample(1)
    result = shapes.fit(shape, data)
    linear = shapes.propagated_band(shape, result, data)
    drawn = shapes.sampled_band(shape, result, data, np.random.default_rng(5), samples=2000)
    np.testing.assert_allclose(drawn.high - drawn.low, linear.high - linear.low, rtol=0.1)
    b = shape.integrate(EDGES, result.values)
    q = np.linalg.qr(shape.log_linear_basis(EDGES, result.values) * np.sqrt(b)[:, None])[0]
    want = np.sqrt(b * np.sum(q * q, axis=1)) * norm.ppf(0.5 + 0.6827 / 2)
    np.testing.assert_allclose(linear.high - linear.expected, want, rtol=1e-5)
    # The trace of the hat matrix is the number of parameters.
    sigma = (linear.high - linear.low) / (2 * norm.ppf(0.5 + 0.6827 / 2))
    assert np.sum(sigma**2 / b) == pytest.approx(4, rel=1e-5)


def test_f_test_equals_scipy() -> None:
    value, p = shapes.f_test(52.0, 30, 45.0, 29)
    assert value == pytest.approx(7.0 / (45 / 29))
    assert p == pytest.approx(f_distribution.sf(7.0 * 29 / 45, 1, 29))
    assert shapes.f_test(45.0, 30, 46.0, 29)[1] == 1.0


def test_order_is_found_and_explained() -> None:
    found = shapes.order_by_f_test(sample(3, 400000.0))
    assert found.n_parameters == 4
    assert found.shape == shapes.dijet(4)
    assert [trial.n_parameters for trial in found.trials] == [2, 3, 4, 5]
    assert found.trials[2].p_f < 0.05 <= found.trials[3].p_f
    assert "p_F" in found.reason
    assert found.to_dict()["shape"] == "dijet4"
    merged = sample(3, 400000.0).merge_until(5)
    want = shapes.likelihood_chi2(merged.counts, found.shape.integrate(merged.edges, found.fit.values))
    assert found.trials[2].chi2 == pytest.approx(float(want))


def test_order_guard_refuses_large_errors() -> None:
    strict = shapes.order_by_f_test(sample(3, 400000.0), largest_error=0.03, mass=6900.0)
    assert strict.n_parameters < 4
    assert "% of the function" in strict.reason
    lenient = shapes.order_by_f_test(sample(3, 400000.0), largest_error=0.03, mass=3500.0)
    assert lenient.n_parameters == 4


def test_batch_fits_equal_single_fits() -> None:
    counts = np.random.default_rng(7).poisson(expected(3000.0), (20, EDGES.size - 1))
    content = SIGNAL.integrate(EDGES, [1.0, 4000.0])
    shape = shapes.dijet(3)
    many = shapes.fit_many(shape, EDGES, counts, signal=content)
    alone = shapes.fit_many(shape, EDGES, counts)
    assert many.converged.all()
    assert alone.converged.all()
    for k in range(0, 20, 4):
        data = histograms.from_counts(EDGES, counts[k])
        result = shapes.fit(shapes.add(shape, SIGNAL), data, fixed={"mass": 4000.0})
        assert many.n_signal[k] == pytest.approx(result.values["n_signal"], abs=1e-3 * result.errors["n_signal"])
        assert many.n_error[k] == pytest.approx(result.errors["n_signal"], rel=0.1)
        null = shapes.fit(shape, data)
        assert alone.deviance[k] - many.deviance[k] == pytest.approx(null.twice_nll - result.twice_nll, abs=1e-5)


def test_expected_error_of_spurious_signal_is_that_of_the_fit() -> None:
    """sigma equals the Hessian error of a fit to the Asimov spectrum; n_spurious is zero there; scale works."""
    asimov = histograms.from_counts(EDGES, expected())
    study = shapes.spurious_signal(asimov, shapes.dijet(4), SIGNAL, [3500.0, 4500.0])
    direct = shapes.fit(shapes.add(shapes.dijet(4), SIGNAL), asimov, fixed={"mass": 4500.0})
    assert study.sigma[1] == pytest.approx(direct.errors["n_signal"], rel=1e-3)
    assert np.abs(study.ratio).max() < 1e-2
    assert study.passed
    tenth = shapes.spurious_signal(asimov, shapes.dijet(4), SIGNAL, [3500.0, 4500.0], scale=0.1)
    np.testing.assert_allclose(tenth.sigma, study.sigma * np.sqrt(0.1), rtol=1e-3)
    np.testing.assert_allclose(tenth.simulation_error, 0.1 * study.simulation_error, rtol=1e-2)


def test_spurious_signal_sees_a_function_that_is_too_stiff() -> None:
    study = shapes.spurious_signal(
        histograms.from_counts(EDGES, expected()), shapes.dijet(2), SIGNAL, np.arange(3200, 6000, 400.0)
    )
    assert not study.passed
    assert np.abs(study.ratio).max() > 3
    assert abs(study.largest) == np.abs(study.n_spurious).max()


def test_bias_is_zero_for_the_true_function_and_not_for_a_stiff_one() -> None:
    data = histograms.from_counts(EDGES, expected())
    arguments = {"injected": 200.0, "toys": 400}
    right = shapes.bias(
        data, shapes.dijet(4), shapes.dijet(4), SIGNAL, {"mass": 4200.0}, np.random.default_rng(1), **arguments
    )
    assert abs(right.mean_pull) < 4 * right.mean_pull_error
    assert right.width == pytest.approx(1, abs=0.15)
    assert right.failed == 0
    wrong = shapes.bias(
        data, shapes.dijet(4), shapes.dijet(2), SIGNAL, {"mass": 4200.0}, np.random.default_rng(1), **arguments
    )
    assert abs(wrong.mean_pull) > 2


def test_bias_one_by_one_equals_the_batch() -> None:
    """The same function wrapped so that the general path is taken gives the same pulls."""
    data = histograms.from_counts(EDGES, expected(5000.0))
    nominal, wrapped = shapes.dijet(2), shapes.add(shapes.dijet(2))
    a = shapes.bias(
        data, shapes.dijet(3), nominal, SIGNAL, {"mass": 4200.0}, np.random.default_rng(2), injected=0, toys=12
    )
    b = shapes.bias(
        data, shapes.dijet(3), wrapped, SIGNAL, {"mass": 4200.0}, np.random.default_rng(2), injected=0, toys=12
    )
    assert b.mean_fitted == pytest.approx(a.mean_fitted, rel=1e-3)
    assert b.mean_pull == pytest.approx(a.mean_pull, rel=1e-2)


def test_envelope_of_one_family_is_its_profile_likelihood() -> None:
    data = sample(5)
    study = shapes.envelope(data, [shapes.dijet(4)], SIGNAL, fixed={"mass": 4000.0}, points=[-100.0, 0.0, 100.0])
    free = shapes.fit(shapes.add(shapes.dijet(4), SIGNAL), data, fixed={"mass": 4000.0})
    null = shapes.fit(shapes.dijet(4), data)
    assert study.interval.best == pytest.approx(free.values["n_signal"])
    assert study.interval.high - study.interval.best == pytest.approx(free.errors["n_signal"], rel=0.05)
    assert study.curves["dijet4"][1] == pytest.approx(null.twice_nll + 4, abs=1e-5)
    assert study.envelope == study.curves["dijet4"]


def test_envelope_is_the_lower_one_and_wider() -> None:
    data = sample(5)
    families = [shapes.dijet(3), shapes.power_law(3), shapes.ua2(3)]
    study = shapes.envelope(data, families, SIGNAL, fixed={"mass": 4000.0}, points=[-200.0, 0.0, 200.0])
    for k in range(3):
        assert study.envelope[k] == min(curve[k] for curve in study.curves.values())
    alone = shapes.envelope(
        data, [shape for shape in families if shape.name == study.family], SIGNAL, fixed={"mass": 4000.0}
    )
    assert study.interval.high - study.interval.low >= alone.interval.high - alone.interval.low - 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shapes.f_test(1, 3, 1, 3), "nu_b < nu_a"),
        (lambda: shapes.order_by_f_test(sample(1), orders=(3, 2)), "must rise"),
        (lambda: shapes.order_by_f_test(sample(1), mass=100.0), "outside the histogram"),
        (lambda: shapes.order_by_f_test(sample(1), minimum=1e9), "only 1 bin; expected 3"),
        (lambda: shapes.envelope(sample(1), [shapes.dijet(3)] * 2, SIGNAL), "different names"),
        (lambda: shapes.spurious_signal(sample(1), shapes.dijet(3), SIGNAL, [4e3], scale=0), "positive"),
        (lambda: shapes.fit_many(shapes.dijet(3), EDGES, [[1, 2]]), "must have the shape"),
        (
            lambda: shapes.propagated_band(shapes.dijet(3), shapes.fit(shapes.dijet(3), sample(1)), sample(1), level=2),
            "between 0 and 1",
        ),
        (
            lambda: shapes.spurious_signal(sample(1), shapes.dijet(3), SIGNAL, [20000.0]),
            "must lie in the histogram",
        ),
    ],
)
def test_bad_input_is_refused(call, message) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_an_envelope_counts_free_parameters_and_holds_those_of_one_family() -> None:
    edges = np.linspace(3000.0, 5000.0, 41)
    mean = 20_000 * np.diff(-np.exp(-(edges - 3000) / 700))
    data = histograms.from_counts(edges, np.random.default_rng(3).poisson(mean))
    two, three = shapes.exponential(2, reference=3500.0), shapes.exponential(3, reference=3500.0)
    peak, mass = shapes.gaussian(), {"mass": 3900.0, "sigma": 80.0}
    held = {**mass, "exponential3.p2": 0.0}
    found = shapes.envelope(data, [two, three], peak, fixed=held, points=[0.0])
    assert found.fits["exponential3"].fixed == ("p2", "mass", "sigma") and found.fits["exponential2"].fixed == (
        "mass",
        "sigma",
    )
    # with its third parameter held the one is the other, and costs as much
    assert found.curves["exponential3"][0] == pytest.approx(found.curves["exponential2"][0], abs=1e-6)
    free = shapes.envelope(data, [two, three], peak, fixed=mass, points=[0.0])
    costs = shapes.fit(shapes.add(three, peak), data, fixed={**mass, "n_signal": 0.0}).twice_nll + 3
    assert free.curves["exponential3"][0] == pytest.approx(costs, abs=1e-6)
    with pytest.raises(InputError, match=r"no family has a parameter 'exponential2\.p2'"):
        shapes.envelope(data, [two, three], peak, fixed={**mass, "exponential2.p2": 0.0})


THREE = histograms.from_counts([1000.0, 1300.0, 1600.0, 2000.0], [900, 400, 150])
AT = {"mass": 1500.0, "sigma": 100.0}
NARROW = shapes.tie(shapes.gaussian(), sigma=(100.0, 0.0))
TWO = shapes.bernstein(2, 1000.0, 2500.0)
RNG = np.random.default_rng(1)


@pytest.mark.parametrize("bins", [3, 4])
@pytest.mark.parametrize(
    "call",
    [
        lambda h: shapes.envelope(h, [shapes.dijet(2), shapes.ua2(2)], NARROW, fixed={"mass": 1500.0}),
        lambda h: shapes.spurious_signal(h, shapes.dijet(2), NARROW, [1500.0]),
        lambda h: shapes.bias(h, shapes.ua2(2), shapes.dijet(2), NARROW, {"mass": 1500.0}, RNG, injected=0.0, toys=9),
        lambda h: shapes.bias(h, shapes.ua2(2), TWO, shapes.gaussian(), AT, RNG, injected=0.0, toys=9),
        lambda h: spectra.scan_spectrum(h, order=2, peak=spectra.Peak.of("gauss:100"), masses=[1500.0]),
        lambda h: shapes.order_by_f_test(h, orders=(3, 4)),
    ],
)
def test_a_degree_of_freedom_is_left_to_judge_a_function_by(call, bins: int) -> None:
    """Three parameters with the signal go through three bins whatever the function is; four bins can tell."""
    if bins == 4:
        call(histograms.from_counts([*THREE.edges, 2500.0], [*THREE.counts, 60]))
        return
    with pytest.raises(InputError, match=r"3 free parameters but the histogram .*only 3 bins; expected 4 or more"):
        call(THREE)


def test_blinded_bins_leave_no_degree_of_freedom() -> None:
    four = histograms.from_counts([*THREE.edges, 2500.0], [*THREE.counts, 60]).blind(1000.0, 1300.0)
    with pytest.raises(InputError, match="only 3 bins"):
        shapes.envelope(four, [shapes.dijet(2), shapes.ua2(2)], NARROW, fixed={"mass": 1500.0})
