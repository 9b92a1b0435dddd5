"""A peak whose mass is free: without events of it, mass and width change nothing."""

import numpy as np
import pytest

from bumpfit import inference, shapes
from bumpfit.histograms import from_counts

EDGES = np.linspace(100.0, 300.0, 41)


def spectrum(seed: int, n_signal: int, *, unbinned: bool = False) -> shapes.SpectrumLikelihood:
    """4000 falling events and a peak at 150 of width 4, with a free mass."""
    rng = np.random.default_rng(seed)
    masses = np.concatenate([100.0 + rng.exponential(60.0, 4000), rng.normal(150.0, 4.0, n_signal)])
    masses = masses[masses < 300.0]
    both = shapes.add(shapes.exponential(2), shapes.gaussian())
    fixed, limits = {"sigma": 4.0}, {"mass": (110.0, 290.0), "n_signal": (0.0, None)}
    if unbinned:
        return shapes.unbinned_likelihood(both, masses, 100.0, 300.0, fixed=fixed, limits=limits)
    histogram = from_counts(EDGES, np.histogram(masses, EDGES)[0])
    return shapes.likelihood(both, histogram, fixed=fixed, limits=limits)


@pytest.mark.parametrize("unbinned", [False, True])
def test_the_fit_without_signal_does_not_need_the_mass(unbinned: bool) -> None:
    """It is the fit at any held mass, and the mass is told as undetermined."""
    likelihood = spectrum(0, 120, unbinned=unbinned)
    null = likelihood.at("n_signal", 0.0).solve()
    assert null.valid and null.idle == ("mass",)
    held = likelihood.at("n_signal", 0.0).at("mass", 222.0).solve()
    assert null.value == pytest.approx(held.value, abs=1e-9) and held.idle == ()


@pytest.mark.parametrize(("seed", "n_signal"), [(0, 0), (1, 120), (2, 0)])
def test_limits_and_discovery_with_a_free_mass(seed: int, n_signal: int) -> None:
    """The rise at the limit, from fits at a fine grid of masses; the discovery says what its law leaves out."""
    likelihood = spectrum(seed, n_signal)
    found = inference.discovery(likelihood)
    grid = np.linspace(112.0, 288.0, 353)
    by_mass = [likelihood.at("mass", m).begin(likelihood.start).solve().value for m in grid[:: 8 if n_signal else 4]]
    null = likelihood.at("n_signal", 0.0).solve().value
    assert found.q0 >= 2 * (null - min(by_mass)) - 1e-6
    assert found.null_fit is not None and found.null_fit.undetermined == ("mass",)
    assert any("mass changes nothing without signal" in note for note in found.notes)
    limit = inference.limit(likelihood)
    assert limit.observed is not None and limit.observed > found.mu
    assert any("mass changes nothing" in note for note in limit.notes)


def test_a_fit_that_ends_without_signal() -> None:
    """Expected events without signal: the best strength is none, and the mass is not determined."""
    likelihood = spectrum(3, 0)
    null = likelihood.at("n_signal", 0.0).solve()
    fitted = likelihood.asimov(null.x).solve()
    assert fitted.valid and fitted.x[likelihood.names.index("n_signal")] == pytest.approx(0.0, abs=1e-3)


def test_no_parameter_is_idle_in_an_ordinary_fit() -> None:
    assert spectrum(1, 120).solve().idle == ()
