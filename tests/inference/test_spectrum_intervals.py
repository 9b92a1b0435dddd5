"""Profile-likelihood intervals of spectra against MINOS and closed forms."""

import numpy as np
import pytest
from iminuit import Minuit
from scipy.stats import chi2, norm, poisson

from bumpfit import histograms, inference, shapes
from bumpfit.errors import BumpfitError, InputError

EDGES = np.linspace(3000.0, 5000.0, 41)


def spectrum(signal: float = 400.0, seed: int = 0) -> histograms.Histogram:
    mean = 20_000 * np.diff(-np.exp(-(EDGES - 3000) / 700)) + signal * np.diff(norm.cdf(EDGES, 3900, 80))
    return histograms.from_counts(EDGES, np.random.default_rng(seed).poisson(mean))


MODEL = shapes.add(shapes.exponential(2), shapes.gaussian())


@pytest.mark.parametrize("level", [0.6827, 0.95])
def test_yield_mass_and_width_are_the_intervals_of_minos(level: float) -> None:
    data = spectrum()

    def cost(scale: float, slope: float, n: float, mass: float, sigma: float) -> float:
        expected = np.exp(scale) * np.diff(-np.exp(-slope * (EDGES - 3000) / 1000))
        return float(-2 * poisson.logpmf(data.counts, expected + n * np.diff(norm.cdf(EDGES, mass, sigma))).sum())

    minuit = Minuit(cost, scale=np.log(20_000), slope=1.4, n=400, mass=3900, sigma=80)
    minuit.errordef, minuit.tol, minuit.strategy = 1.0, 1e-3, 2
    minuit.migrad()
    minuit.minos(cl=float(chi2.cdf(chi2.ppf(level, 1), 1)))
    for parameter, name in (("n_signal", "n"), ("mass", "mass"), ("sigma", "sigma")):
        found, wanted = inference.interval(shapes.likelihood(MODEL, data), parameter, level), minuit.merrors[name]
        width = wanted.upper - wanted.lower
        assert found.low == pytest.approx(minuit.values[name] + wanted.lower, abs=0.005 * width)
        assert found.high == pytest.approx(minuit.values[name] + wanted.upper, abs=0.005 * width)
        assert not found.low_at_bound and not found.high_at_bound


def test_an_interval_without_end_stops_at_the_range_and_says_so() -> None:
    data, held = spectrum(60.0, seed=3), {"mass": 3900.0, "sigma": 80.0}
    found = inference.interval(
        shapes.likelihood(MODEL, data, fixed=held, limits={"n_signal": (0, 1e4)}), "n_signal", 0.999
    )
    assert found.low == 0 and found.low_at_bound
    assert found.high is not None and found.high > found.best and not found.high_at_bound


def test_counting_events_has_a_closed_form() -> None:
    """One bin, one free scale: 2 (mu - n - n ln(mu / n)) = chi2 quantile."""
    data = histograms.from_counts([0.0, 1.0], [25.0])
    template = shapes.template(histograms.from_counts([0.0, 1.0], [10.0]))
    found = inference.interval(shapes.likelihood(template, data), "n_events")
    for end in (found.low, found.high):
        assert 2 * (end - 25 - 25 * np.log(end / 25)) == pytest.approx(chi2.ppf(0.6827, 1), abs=0.01)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("height",), "the likelihood has p0"),
        (("mass", 1.5), "between 0 and 1"),
    ],
)
def test_wrong_questions(arguments: tuple, words: str) -> None:
    with pytest.raises(InputError, match=words):
        inference.interval(shapes.likelihood(MODEL, spectrum()), *arguments)


def test_a_held_parameter_has_no_interval() -> None:
    with pytest.raises(InputError, match="held fixed"):
        inference.interval(shapes.likelihood(MODEL, spectrum(), fixed={"mass": 3900}), "mass")


def test_a_mass_that_the_data_do_not_constrain() -> None:
    likelihood = shapes.likelihood(MODEL, spectrum(0.0, seed=5), fixed={"n_signal": 1.0, "sigma": 80})
    with pytest.raises(BumpfitError, match=r"do not constrain|did not converge|several minima"):
        inference.interval(likelihood, "mass", 0.999)


@pytest.mark.parametrize("parameter", ["p0", "p1", "p3"])
def test_a_free_prefactor_needs_no_reference_mass(parameter: str) -> None:
    """Its second derivatives are singular to the precision of the numbers; other coordinates give the answers."""
    edges = np.geomspace(1500, 6000, 41)
    mean = shapes.dijet(4).integrate(edges, [1e-6, 8.0, 5.0, 0.1])
    data = histograms.from_counts(edges, np.random.default_rng(2).poisson(mean * 1e6 / mean.sum()))
    likelihood, best = shapes.likelihood(shapes.dijet(4), data), shapes.fit(shapes.dijet(4), data)
    assert inference.fit(likelihood).errors == pytest.approx(best.errors, rel=1e-3)
    found = inference.interval(likelihood, parameter)
    for end in (found.low, found.high):
        held = shapes.fit(shapes.dijet(4), data, fixed={parameter: end}, start=best.values)
        assert held.twice_nll - best.twice_nll == pytest.approx(chi2.ppf(0.6827, 1), rel=2e-3)
