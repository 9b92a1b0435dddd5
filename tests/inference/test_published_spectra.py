"""Every question of a spectrum of a shape: as of the workspace that says the same, and of MINOS."""

import numpy as np
import pytest
from scipy.stats import chi2, norm

from bumpfit import histograms, inference, shapes, workspace
from bumpfit.errors import InputError
from bumpfit.workspace.build import spectrum_of

EDGES = histograms.mass_edges(3000.0, 6000.0)
BACKGROUND = shapes.dijet(3, reference=4000.0)
PEAK = shapes.tie(shapes.gaussian(), sigma=(0, 0.03))
BOTH = shapes.add(BACKGROUND, PEAK)


@pytest.fixture(scope="module")
def data() -> histograms.Histogram:
    mean = BACKGROUND.integrate(EDGES, [5.0, 8.0, 5.0])
    mean = 20_000 * mean / mean.sum() + 150 * np.diff(norm.cdf(EDGES, 4200, 126))
    return histograms.from_counts(EDGES, np.random.default_rng(5).poisson(mean))


def test_answers_are_those_of_the_workspace(data: histograms.Histogram) -> None:
    spectrum = shapes.likelihood(BOTH, data, fixed={"mass": 4200.0}, limits={"n_signal": (0, 1e4)})
    fitted = shapes.fit(BACKGROUND, data)
    signal = PEAK.integrate(EDGES, [1.0, 4200.0])
    model = workspace.read(spectrum_of(data, BACKGROUND, fitted.values, signal, poi_range=(0, 1e4)))
    ours, theirs = inference.discovery(spectrum), inference.discovery(model)
    assert ours.q0 == pytest.approx(theirs.q0, abs=0.02)
    assert ours.mu == pytest.approx(theirs.mu, rel=2e-3)
    assert inference.limit(spectrum).observed == pytest.approx(inference.limit(model).observed, rel=3e-3)
    np.testing.assert_allclose(inference.limit(spectrum).expected, inference.limit(model).expected, rtol=1e-2)
    fitness, best = inference.goodness(spectrum), spectrum.solve()
    assert fitness.degrees_of_freedom == data.counts.size - 4
    assert fitness.p == pytest.approx(
        chi2.sf(shapes.likelihood_chi2(data.counts, BOTH.integrate(EDGES, best.x)), data.counts.size - 4), rel=1e-6
    )
    points = [0.0, 100.0, 200.0]
    np.testing.assert_allclose(
        inference.scan(spectrum, "n_signal", points).delta_twice_nll,
        inference.scan(model, model.poi, points).delta_twice_nll,
        atol=0.03,
    )


def test_a_floating_mass_and_unbinned_masses(data: histograms.Histogram) -> None:
    spectrum = shapes.likelihood(BOTH, data)
    for name in ("n_signal", "mass", "p1"):
        ours, best = inference.interval(spectrum, name), shapes.fit(BOTH, data)
        for end in (ours.low, ours.high):
            held = shapes.fit(BOTH, data, fixed={name: end}, start=best.values)
            assert held.twice_nll - best.twice_nll == pytest.approx(chi2.ppf(0.6827, 1), rel=1e-3)
    fit = inference.fit(spectrum)
    assert fit.errors["mass"] == pytest.approx(shapes.fit(BOTH, data).errors["mass"], rel=1e-4)
    masses = np.repeat(data.centres, data.counts.astype(int))
    loose = shapes.unbinned_likelihood(BOTH, masses[::8], 3000.0, 6000.0, fixed={"mass": 4200.0})
    found = inference.interval(loose, "n_signal")
    assert found.low < found.best < found.high
    contour = inference.contour(spectrum, "mass", "n_signal", n_points=12)
    assert min(contour.x) < 4200 < max(contour.x)


def test_a_wall_where_there_are_no_events() -> None:
    masses = 1000 + np.random.default_rng(4).exponential(220.0, 2500)
    empty = histograms.fill(masses, np.linspace(1000, 3800, 57))
    both = shapes.add(shapes.exponential(2, reference=1500.0), PEAK)
    spectrum = shapes.likelihood(both, empty, fixed={"mass": 3500.0}, limits={"n_signal": (0, None)})
    assert inference.fit(spectrum).at_bounds == ("n_signal",)
    found = inference.limit(spectrum)
    assert found.observed == pytest.approx(3.0 / PEAK.integrate(empty.edges, [1.0, 3500.0]).sum(), rel=0.5)


def test_settings_of_a_likelihood_are_checked_as_those_of_a_workspace(data: histograms.Histogram) -> None:
    spectrum = shapes.likelihood(BOTH, data, fixed={"mass": 4200.0}, limits={"n_signal": (0, 1e4)})
    for settings, words in (
        ({"ranges": {"n_signal": (5.0, 5.0)}}, "lower end must be below"),
        ({"ranges": {"n_signal": 3.0}}, "must be two numbers"),
        ({"start": {"n_signal": -1.0}}, "outside its range"),
        ({"ranges": {"height": (0.0, 1.0)}}, "no parameter 'height'"),
    ):
        with pytest.raises(InputError, match=words):
            inference.fit(spectrum, **settings)  # type: ignore[arg-type]
