"""Spectra of shapes as likelihoods: derivatives, minima, data that were not seen."""

import numpy as np
import pytest

from bumpfit import histograms, shapes
from bumpfit.errors import InputError

EDGES = np.linspace(3000.0, 5000.0, 41)
BOTH = shapes.add(shapes.exponential(2, reference=3500.0), shapes.tie(shapes.gaussian(), sigma=(0, 0.03)))
MASSES = np.r_[3000 + np.random.default_rng(1).exponential(500, 3000), np.random.default_rng(2).normal(3900, 117, 150)]
BINNED = shapes.likelihood(BOTH, histograms.fill(MASSES, EDGES), fixed={"mass": 3900.0})
UNBINNED = shapes.unbinned_likelihood(BOTH, MASSES, 3000.0, 5000.0, fixed={"mass": 3900.0})


@pytest.mark.parametrize("spectrum", [BINNED, UNBINNED], ids=["binned", "unbinned"])
def test_derivatives_are_those_of_the_value(spectrum: shapes.SpectrumLikelihood) -> None:
    x = spectrum.solve().x * 1.02
    steps = np.diag([1e-4 * x[0], 1e-4 * x[1], 1e-2, 1e-2])
    slope = [(spectrum.value(x + s) - spectrum.value(x - s)) / (2 * s.sum()) for s in steps]
    np.testing.assert_allclose(spectrum.slope(x), slope, rtol=1e-4, atol=1e-7)
    bend = np.array([(spectrum.slope(x + s) - spectrum.slope(x - s)) / (2 * s.sum()) for s in steps])
    np.testing.assert_allclose(spectrum.curvature(x), bend, rtol=1e-4, atol=1e-6 * np.abs(bend).max())


@pytest.mark.parametrize("spectrum", [BINNED, UNBINNED], ids=["binned", "unbinned"])
def test_settings_change_a_copy(spectrum: shapes.SpectrumLikelihood) -> None:
    assert spectrum.poi == "n_signal" and not spectrum.free[3] and spectrum.start[3] == 3900
    best = spectrum.solve()
    assert best.valid
    held = spectrum.at("n_signal", 20.0).begin(best.x)
    assert held.start[2] == 20.0 and spectrum.free[2]
    found = held.solve()
    assert found.valid and found.x[2] == 20.0 and found.value > best.value
    near = spectrum.within("n_signal", 0.0, 50.0).solve()
    assert near.x[2] == 50.0 and near.valid
    with pytest.raises(InputError, match="no parameter"):
        spectrum.at("height", 1.0)


def test_the_minimum_is_that_of_the_fit() -> None:
    fitted = shapes.fit(BOTH, histograms.fill(MASSES, EDGES), fixed={"mass": 3900.0})
    best = BINNED.solve()
    np.testing.assert_allclose(best.x, fitted.array, rtol=1e-6)
    assert BINNED.constant + 2 * best.value == pytest.approx(fitted.twice_nll, abs=1e-7)
    free = BINNED.free
    covariance = np.linalg.inv(BINNED.curvature(best.x)[np.ix_(free, free)])
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), np.array(list(fitted.errors.values()))[free], rtol=1e-5)


def test_data_that_were_not_seen() -> None:
    best = BINNED.solve()
    asimov = BINNED.asimov(best.x)
    np.testing.assert_allclose(asimov.solve().x, best.x, rtol=1e-5)
    ((counts, expected),) = asimov.bins(best.x).values()
    np.testing.assert_allclose(counts, expected, rtol=1e-12)
    rng = np.random.default_rng(7)
    thrown = [BINNED.throw(best.x, rng).solve().x[2] for _ in range(12)]
    loose = [UNBINNED.throw(best.x, rng).solve().x[2] for _ in range(12)]
    error = BINNED.curvature(best.x)[2, 2] ** -0.5
    for values in (thrown, loose):
        assert np.mean(values) == pytest.approx(best.x[2], abs=2 * error)
        assert 0.4 * error < np.std(values) < 3 * error
    narrow = UNBINNED.asimov(UNBINNED.solve().x)
    np.testing.assert_allclose(narrow.solve().x, UNBINNED.solve().x, rtol=1e-4)


def test_events_that_decide() -> None:
    """A signal in one bin: the background there."""
    one = shapes.add(
        shapes.template(histograms.from_counts([0.0, 1.0, 2.0], [7.0, 50.0])),
        shapes.template(histograms.from_counts([0.0, 1.0, 2.0], [1.0, 0.0]), name="s", parameter="n_signal"),
    )
    spectrum = shapes.likelihood(one, histograms.from_counts([0.0, 1.0, 2.0], [7.0, 50.0]))
    assert spectrum.events("n_signal", np.array([57.0, 0.0])) == pytest.approx(7.0)
    assert np.isnan(UNBINNED.events("n_signal", UNBINNED.start))
