"""A function that follows the peak: backgrounds of the spectra have to fall."""

import numpy as np
import pytest

from bumpfit.histograms import fill
from bumpfit.search import falling
from bumpfit.search.mass_range import SpectrumSettings, choose, fitted_around, scan_points
from bumpfit.search.spectrum import spectrum_test


def selected(seed: int, background: int, signal: int, mass: float = 3030.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    masses = 2500 + rng.exponential(350, 6 * background)
    return np.r_[masses[masses < 3600][:background], rng.normal(mass, 0.03 * mass, signal)]


@pytest.mark.parametrize(("background", "signal"), [(60, 200), (200, 200), (60, 60)])
def test_a_selection_that_is_mostly_signal_has_its_peak_where_it_is(background: int, signal: int) -> None:
    """A free function of three parameters follows such a peak, and the largest q0 is at another mass."""
    test = spectrum_test("selection", selected(0, background, signal), 0.001, (2500.0, 3600.0))
    assert test.usable and test.mass == pytest.approx(3030, rel=0.025)
    assert test.n_signal is not None and test.n_signal_error is not None and test.z_local is not None
    assert abs(test.n_signal - signal) < 3 * test.n_signal_error + 0.05 * signal
    assert test.z_local > 0.9 * test.n_signal / test.n_signal_error


def test_a_background_that_falls_is_fitted_freely_and_a_fall_is_kept() -> None:
    edges, quiet = np.linspace(2500.0, 3600.0, 13), selected(1, 2000, 0)
    histogram = fill(quiet, edges, name="m")
    order = choose(histogram, SpectrumSettings(orders=(3,)))
    signals = scan_points(edges, SpectrumSettings())[1]
    model = fitted_around(histogram, order.shape, order.fit, signals)
    free, bound = falling.free_scan(model), falling.falling_scan(model, edges)
    assert free is not None and bound is not None
    assert not falling.peaks_by_itself(model.rate, edges)
    assert np.diff(bound.background(bound.best)).max() < 1e-6
    # SLSQP is another way to the engine's numbers where the background falls anyway
    assert bound.q0 == pytest.approx(free.q0, abs=1e-3) and bound.yields == pytest.approx(free.yields, abs=0.3)
