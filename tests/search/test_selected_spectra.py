"""Small spectra: errors with a closed form, trials of a scan and of several spectra, limits and intervals."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from small_records import events, spectrum

from bumpfit import toys
from bumpfit.search import falling as falling_background
from bumpfit.search import spectra
from bumpfit.search import spectrum as scan
from bumpfit.search.config import SearchConfig
from bumpfit.search.spectrum import SpectrumTest, spectrum_test, upper_limits


def falling(number: int, at: float = 3500.0, events: int = 20_000) -> np.ndarray:
    """Quantiles of a falling spectrum from 2 to 7 TeV and of a peak of 3 %: no fluctuations."""
    u = (np.arange(events) + 0.5) / events
    masses = 2000 * (1 - u * (1 - (7 / 2) ** -6.0)) ** (-1 / 6)
    return np.r_[masses, norm.ppf((np.arange(number) + 0.5) / max(number, 1), at, 0.03 * at)]


@pytest.fixture(scope="module")
def weak() -> SpectrumTest:
    return spectrum_test("weak", falling(60), 1.0, (2000.0, 6500.0))


@pytest.fixture(scope="module")
def strong() -> SpectrumTest:
    return spectrum_test("strong", falling(300), 1.0, (2000.0, 6500.0))


def test_errors_by_hand() -> None:
    """Signal s in the first of two bins (b1, b2) of one free background: error sqrt(b1 (b1 + b2) / b2) / s."""
    rate, basis, signal = np.array([100.0, 300.0]), np.ones((2, 1)), np.array([0.5, 0.0])
    assert scan.error_inflation(rate, basis, signal) == pytest.approx(np.sqrt(400 / 300))
    model = toys.LogLinear(rate, basis, signal[None], (0.0, np.inf), observed=rate)
    found = falling_background.Scan(np.zeros(1), np.zeros(1), model)
    assert scan.yield_errors(found) == pytest.approx(np.sqrt(100 * 400 / 300) / 0.5)
    # 30 of 130 events are the signal's: information 1 / 130 [[.25, 50], [50, 100^2]] and 300 for the background
    model = dataclasses.replace(model, rate=1.1 * rate, observed=np.array([130.0, 300.0]))
    found = falling_background.Scan(np.zeros(1), np.full(1, 60.0), model)
    information = np.array([[0.25 / 130, 50 / 130], [50 / 130, 1e4 / 130 + 300]])
    assert scan.yield_errors(found) == pytest.approx(np.sqrt(np.linalg.inv(information)[0, 0]))


def test_trials_of_a_scan(weak: SpectrumTest, strong: SpectrumTest) -> None:
    """The global p is the local one times the masses that were tried, at most 1."""
    for test in (weak, strong):
        assert test.usable and test.masses is not None and test.q0 is not None and test.z_local is not None
        assert test.p_local == pytest.approx(norm.sf(test.z_local), rel=1e-9)
        assert test.z_local == pytest.approx(np.sqrt(test.q0.max()))
        assert test.p_global == pytest.approx(min(1.0, len(test.masses) * norm.sf(test.z_local)), rel=1e-9)
        assert test.z_global == pytest.approx(norm.isf(test.p_global), abs=1e-6)
    assert weak.z_global is not None and weak.z_global < 1.5 < 4 < (strong.z_global or 0)


def test_yields_of_a_scan(weak: SpectrumTest, strong: SpectrumTest) -> None:
    assert strong.mass == pytest.approx(3500, rel=0.02)
    assert strong.n_signal == pytest.approx(300, rel=0.15)
    for test in (weak, strong):
        n, error, z = test.n_signal, test.n_signal_error, test.z_global
        assert n is not None and error is not None and z is not None and test.limit is not None
        assert n / error == pytest.approx(test.z_local, rel=0.2)  # with and without signal in the error
        assert test.n_signal_high == pytest.approx(n + error)
        assert test.n_signal_low == pytest.approx(n * (1 - 1 / z) if z > 1 else 0.0)
        # CLs of a Gaussian: n + sigma isf(.05 Phi(n / sigma))
        assert test.limit == pytest.approx(n + error * norm.isf(0.05 * norm.cdf(n / error)), rel=0.06)
    low, high = strong.peak_low, strong.peak_high
    assert low is not None and high is not None and low < 3500 < high
    m = np.linspace(3000.0, 4000.0, 1001)
    peak, below = norm.pdf(m, 3500, 105), 20_000 * 6 / 2000 * (m / 2000) ** -7.0
    information = ((300 * peak * (m - 3500) / 105**2) ** 2 / (below + 300 * peak)).sum()  # in steps of 1 GeV
    assert (high - low) / 2 == pytest.approx(1 / np.sqrt(information), rel=0.1)


def test_no_sidebands_no_test() -> None:
    masses = falling(0)
    test = spectrum_test("narrow", masses[(masses > 2000) & (masses < 2120)], 1.0, (2000.0, 2120.0))
    assert not test.usable and "no sidebands" in test.reason and test.p_local is None
    assert test.inflation is not None and test.inflation > SearchConfig().spectrum.sidebands
    few = spectrum_test("few", masses[::300], 1.0, (2000.0, 6500.0))
    assert not few.usable and "67 events are selected" in few.reason


def test_limits_of_known_backgrounds() -> None:
    """One bin of many events: CLs of a Gaussian, n + sigma isf(.05 Phi(n / sigma)), also for a deficit."""
    b = 1e6
    for excess in (-800.0, 0.0, 1500.0):
        model = toys.LogLinear(
            np.array([b, 1e9]), np.array([[0.0], [1.0]]), np.array([[1.0, 0.0]]), (0.0, np.inf),
            observed=np.array([b + excess, 1e9]),
        )  # fmt: skip
        wanted = excess + 1000 * norm.isf(0.05 * norm.cdf(excess / 1000))
        assert upper_limits(model, np.array([10.0]))[0] == pytest.approx(wanted, rel=4e-3)


def test_selections_are_nested(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, float, np.ndarray]] = []

    def test(name: str, mass: np.ndarray, efficiency: float, *_: Any) -> SpectrumTest:
        seen.append((name, efficiency, mass))
        return spectrum(name)

    monkeypatch.setattr(spectra, "spectrum_test", test)
    monkeypatch.setattr(spectra, "smooth_range", lambda *_: (2000.0, 6000.0))
    data = events(np.linspace(2000, 2500, 6))
    survival = np.array([np.nan, 0.001, 0.02, 0.1, 0.5, 0.01])
    config = SearchConfig(efficiencies=(0.01, 0.1))
    assert len(spectra.selected_spectra(data, data, survival, (survival, survival), config, 1)) == 3
    assert [(name, e) for name, e, _ in seen] == [
        ("no selection", 1.0), ("10.00% of background", 0.1), ("1.00% of background", 0.01),
    ]  # fmt: skip
    for (_, _, mass), rows in zip(seen, ([1, 2, 3, 4, 5], [1, 2, 3, 5], [1, 5]), strict=True):
        np.testing.assert_array_equal(mass, data.mass[rows])


def test_trials_of_several_spectra() -> None:
    """Two usable spectra of five masses each: ten times the smallest local p; the one without a test counts none."""
    three = (spectrum("a", z_local=2.0), spectrum("b", usable=False), spectrum("c", z_local=4.0))
    found = spectra.combined(three)
    assert found is not None and found.best.name == "c" and found.usable == 2
    assert found.p_global == pytest.approx(10 * norm.sf(4.0))
    assert found.z_global == pytest.approx(norm.isf(10 * norm.sf(4.0)))
    assert spectra.combined((spectrum(z_local=0.5),)).p_global == 1.0  # type: ignore[union-attr]
    assert spectra.combined((spectrum(usable=False),)) is None
