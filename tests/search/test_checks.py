"""Every check on both sides of its boundary, on records made by hand."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import chi2
from small_records import events, near, peak, peaks, selection, spectrum, surrogate, yield_fit

from bumpfit.search import checks
from bumpfit.search.config import SearchConfig
from bumpfit.search.findings import Description, ShapeCheck
from bumpfit.search.mass_range import MassRange


def shape(p: float) -> ShapeCheck:
    return ShapeCheck(0.01, 9.0, 5, p, np.arange(6.0), np.ones(5), np.ones(5))


@pytest.mark.parametrize(("p", "passed"), [(0.004, True), (0.003, False)])
def test_background_shape_counts_its_looks(p: float, passed: bool) -> None:
    """The smallest of three probabilities, three times: .012 and .009 beside .01."""
    found = checks.background_shape((shape(0.5), shape(p), shape(0.9)))
    assert found.passed is passed
    assert (found.numbers["p"], found.numbers["selections"]) == (p, 3)


def test_sidebands() -> None:
    one = checks.sidebands((spectrum(usable=False), spectrum()))
    assert one.passed and one.numbers["usable"] == 1 and one.numbers["reason"] == "" and not one.numbers["with_table"]
    joint = dataclasses.replace(spectrum(), table=np.ones(3))
    assert checks.sidebands((joint,)).numbers["with_table"]
    none = checks.sidebands((spectrum(usable=False),))
    assert none.passed is None and none.numbers["reason"] == "too narrow"


def test_fitted_range() -> None:
    span = MassRange(2000.0, 6000.0, 10, 5)
    assert checks.fitted_range(span, 100).passed
    assert not checks.fitted_range(dataclasses.replace(span, smooth=False), 100).passed


@pytest.mark.parametrize(("p", "passed"), [(0.002, True), (0.0005, False)])
def test_templates(p: float, passed: bool) -> None:
    fitted = yield_fit()
    fitted = dataclasses.replace(fitted, deviance=float(chi2.isf(p, fitted.bins - 3)))
    found = checks.templates(fitted)
    assert found.passed is passed and found.numbers["p"] == pytest.approx(p)


@pytest.mark.parametrize(("high", "passed"), [(100.0, True), (70.0, False)])
def test_yield_covers_the_excess(high: float, passed: bool) -> None:
    """90 events are seen, error hypot(sqrt(150), 10) = 15.81: at least 58.4, in the tested half of the data."""
    config = SearchConfig()
    config = dataclasses.replace(config, forward=dataclasses.replace(config.forward, first=0.4))
    found = checks.yield_covers_excess(selection(), dataclasses.replace(yield_fit(), high=high), config)
    assert found.passed is passed  # 60 and 42 of the tested 60 %
    assert found.numbers["seen"] == 90
    assert found.numbers["error"] == pytest.approx(15.8114, abs=1e-4)


def candidate(**moved: float) -> tuple[Description, Description]:
    first = Description(*peaks(), None, None)
    return first, dataclasses.replace(first, **{name: peak("m_JJ", mass) for name, mass in moved.items()})


@pytest.mark.parametrize(("mass", "passed"), [(3040.0, True), (3044.0, False), (2956.0, False)])
def test_masses_agree(mass: float, passed: bool) -> None:
    """Errors of 10 GeV each: three standard deviations are 42.4 GeV, in both directions."""
    first, updated = candidate(resonance=mass)
    data = events(np.linspace(2600, 3400, 81))
    fits, masses, library = checks.of_candidate(first, updated, near(data, data))
    assert fits.passed and library.passed and masses.passed is passed
    assert masses.numbers["pulls"]["m_JJ"] == pytest.approx((mass - 3000) / np.sqrt(200))


def test_bad_mass_fits_and_masses_beyond_the_library() -> None:
    data = events(np.linspace(2600, 3400, 81))
    first = Description(*peaks(), None, None)
    far = dataclasses.replace(near(data, data), surrogate=surrogate(extrapolated=True))
    assert [c.passed for c in checks.of_candidate(first, None, far)] == [True, False]
    for bad in (peak("m_J1", 150.0, valid=False), peak("m_J1", 150.0, at_bounds=("mass",))):
        fits, _ = checks.of_candidate(dataclasses.replace(first, light=bad), None, near(data, data))
        assert not fits.passed and fits.numbers["bad"][0]["name"] == "m_J1"
    width = peak("m_J1", 150.0, at_bounds=("sigma",))
    assert checks.of_candidate(dataclasses.replace(first, light=width), None, near(data, data))[0].passed


def test_repeated_events() -> None:
    """100 events, of which one or two are there again in the other table."""
    rng = np.random.default_rng(1)
    table = dataclasses.replace(events(rng.uniform(2600, 3400, 100)), features=rng.uniform(size=(100, 4)))
    rows = np.arange(100)
    for again, passed in ((1, True), (2, False)):
        found = checks.repeated(table.take(rows[:60]), table.take(np.r_[rows[60:], rows[:again]]))
        assert found.passed is passed and found.decisive
        assert found.numbers == {"repeated": again, "events": 100 + again}
