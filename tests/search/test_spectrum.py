"""The mass scan of a spectrum: a range that no peak cuts, answers of the engine, p-values below all numbers."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.special import log_ndtr
from scipy.stats import norm

import bumpfit
from bumpfit import inference, toys, workspace
from bumpfit.errors import BumpfitError
from bumpfit.histograms import fill
from bumpfit.search.mass_range import choose, fitted_around, mass_range, smooth_range
from bumpfit.search.spectra import combined
from bumpfit.search.spectrum import SpectrumSettings, SpectrumTest, spectrum_test, upper_limits
from bumpfit.workspace.build import spectrum_of


def falling(seed: int, events: int = 60_000) -> np.ndarray:
    masses = 2000 * np.random.default_rng(seed).uniform(size=events) ** (-1 / 6.0)
    return masses[masses < 7000]


def with_peak(seed: int, number: int, mass: float = 3500.0, events: int = 60_000) -> np.ndarray:
    return np.r_[falling(seed, events), np.random.default_rng(seed + 100).normal(mass, 0.03 * mass, number)]


@pytest.mark.parametrize(("number", "mass"), [(300, 3500.0), (700, 4200.0), (1500, 3000.0), (5500, 3500.0)])
def test_a_peak_does_not_cut_the_range(number: int, mass: float) -> None:
    quiet, loud = falling(3), with_peak(3, number, mass)
    wanted, found = smooth_range(quiet), smooth_range(loud)
    assert found == pytest.approx(wanted, rel=0.05)
    test = spectrum_test("all", loud, 1.0, found)
    assert test.usable and test.mass == pytest.approx(mass, rel=0.03)
    assert test.n_signal == pytest.approx(number, rel=0.2)
    assert test.z_global is not None and test.z_global > 4
    assert test.limit is not None and test.limit > 0.85 * number
    assert test.peak_low is not None and test.peak_high is not None and test.peak_mass is not None
    assert abs(test.peak_mass - mass) < 3.5 * (test.peak_high - test.peak_low) / 2


@pytest.mark.parametrize(("seed", "numbers"), [(3, (700, 600)), (4, (600, 500)), (5, (1500, 400))])
def test_two_peaks_do_not_cut_the_range(seed: int, numbers: tuple[int, int]) -> None:
    """The range began above the second one: 21 +48 -21 events of signal where 1200 were."""
    loud = np.r_[with_peak(seed, numbers[0], 3000.0), np.random.default_rng(seed).normal(4200, 126, numbers[1])]
    found = mass_range(loud)
    assert found.low < 2300 and found.smooth
    test = spectrum_test("all", loud, 1.0, (found.low, found.high))
    assert test.z_local is not None and test.z_local > 5


def test_an_excess_far_from_the_edge_does_not_cut_half_of_the_events() -> None:
    """With three peaks no edge below the first reaches the strict goal: the range began at 3113 GeV, above it."""
    more = (np.random.default_rng(105).normal(4200, 126, 120), np.random.default_rng(106).normal(3500, 105, 150))
    loud = np.r_[with_peak(105, 350, 2800.0, events=40_000), *more]
    found, strict = mass_range(loud), mass_range(loud, SpectrumSettings(far=1000))
    assert found.below == 0 and found.smooth
    assert strict.below > 0.5 * loud.size


def test_twenty_thousand_events_and_a_peak() -> None:
    for number in (300, 500, 1000):
        loud = with_peak(5, number, 4200.0, events=20_000)
        found = mass_range(loud)
        assert found.low < 2100 and found.smooth
        test = spectrum_test("all", loud, 1.0, (found.low, found.high))
        assert test.z_local is not None and test.z_local > 5


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_a_function_that_rises_does_not_describe_a_range(seed: int) -> None:
    """Few events of a turn-on at 2.5 TeV: a function with a maximum would follow it from the lowest mass on."""
    masses = falling(50 + seed, 400_000)
    turned = np.random.default_rng(seed).uniform(size=masses.size) < norm.cdf((masses - 2500) / 200)
    found = mass_range(masses[turned][:15_000])
    assert found.low > 2600 and found.smooth
    test = spectrum_test("all", masses[turned][:15_000], 1.0, (found.low, found.high))
    assert test.z_local is not None and test.z_local < 3


def test_a_turn_on_is_cut_off_and_counted() -> None:
    masses = falling(7, 120_000)
    kept = masses[np.random.default_rng(8).uniform(size=masses.size) < norm.cdf((masses - 2300) / 120)]
    found = mass_range(kept)
    assert 2300 < found.low < 3200 and found.smooth and not found.peaks
    assert found.below == (kept < found.low).sum() > 1000
    with_it = mass_range(np.r_[kept, np.random.default_rng(9).normal(4200, 126, 600)])
    assert with_it.low < 3400
    given = mass_range(kept, SpectrumSettings(low=2900.0, high=6000.0))
    assert (given.low, given.high, given.given) == (2900.0, 6000.0, True)
    assert given.above == (kept >= 6000).sum()


def test_a_test_that_cannot_be_made_is_a_state() -> None:
    """The last bin is the mode, or there are next to no bins: a sentence, no error."""
    for masses in (np.random.default_rng(4).uniform(3000, 3600, 4000), np.full(300, 3000.0) + np.arange(300) * 1e-3):
        span = mass_range(masses)
        test = spectrum_test("all", masses, 1.0, (span.low, span.high))
        assert not test.usable and test.reason


def test_the_engine_gives_what_the_workspace_gives() -> None:
    masses = with_peak(3, 300)
    span = smooth_range(masses)
    test = spectrum_test("all", masses, 1.0, span)
    assert test.masses is not None and test.q0 is not None and test.limits is not None and test.signal is not None
    model = workspace.read(test.workspace)
    found = inference.discovery(model)
    assert test.z_local == pytest.approx(found.z, abs=2e-3)
    assert test.n_signal == pytest.approx(found.mu, rel=1e-3)
    assert test.n_signal_error == pytest.approx(found.mu_error, rel=0.02)
    assert test.limit == pytest.approx(inference.limit(model).observed, rel=5e-3)
    histogram = fill(masses, test.edges)
    order = choose(histogram, SpectrumSettings())
    far = int(np.argmax(test.masses > 5000))
    engine = fitted_around(histogram, order.shape, order.fit, test.signal[None])
    assert upper_limits(engine, np.array([500.0]))[0] == pytest.approx(test.limit, rel=1e-4)
    signal = np.diff(norm.cdf(test.edges, test.masses[far], 0.03 * test.masses[far]))
    away = workspace.read(spectrum_of(histogram, order.shape, order.fit.values, signal))
    assert test.q0[far] == pytest.approx(inference.discovery(away).q0, abs=2e-3)
    assert test.limits[far] == pytest.approx(inference.limit(away).observed, rel=1e-2)


def test_an_upper_limit_on_a_known_background_has_a_closed_form() -> None:
    """One bin of many events: CLs of a Gaussian, n + sigma Phi^-1(1 - alpha Phi(n / sigma))."""
    b, n = 1e6, 1e6 + 1500.0
    model = toys.LogLinear(np.array([b, 1e9]), np.array([[0.0], [1.0]]), np.array([[1.0, 0.0]]), (0.0, np.inf),
                           observed=np.array([n, 1e9]))  # fmt: skip
    wanted = 1500 + 1000 * norm.isf(0.05 * norm.cdf(1.5))
    assert upper_limits(model, np.array([2000.0]))[0] == pytest.approx(wanted, rel=2e-3)


def test_the_interval_takes_the_choice_of_the_largest_into_account() -> None:
    """Without signal it holds none where the global significance is below one, which is most of the time."""
    held = 0
    for seed in range(6):
        masses = falling(50 + seed, 8000)
        test = spectrum_test("all", masses, 1.0, smooth_range(masses))
        assert test.n_signal_low is not None and test.z_global is not None
        assert (test.n_signal_low == 0) == (test.z_global <= 1)
        held += test.n_signal_low == 0
    assert held >= 4


def test_p_values_below_all_numbers_are_bounds() -> None:
    edges, counts = np.array([1.0, 2.0]), np.array([1.0])
    common = {"usable": True, "reason": "", "edges": edges, "counts": counts, "masses": np.arange(30.0)}
    weak = SpectrumTest("weak", 1.0, **common, p_local=0.2, p_global=0.9, z_local=0.8, z_global=-1.0)
    strong = SpectrumTest("strong", 0.1, **common, p_local=0.0, p_global=0.0, z_local=50.0, z_global=np.inf)
    for given in ((weak, strong), (strong, weak), (strong,)):
        found = combined(given)
        assert found is not None and found.best is strong
        assert found.p_global == 1e-300
        z = brentq(lambda z, k=len(given): log_ndtr(-z) - log_ndtr(-50.0) - np.log(30 * k), 40, 50)
        assert found.z_global == pytest.approx(z, abs=1e-6)
    assert combined((dataclasses.replace(weak, usable=False),)) is None


def test_run_without_a_background_table() -> None:
    table = pd.DataFrame({"m_JJ": with_peak(11, 900, 4000.0, events=30_000)})
    answers = bumpfit.run(table, features=[])
    found = answers.to_dict()
    assert found["claim"] and found["p_value"]["global"] < 1e-10
    assert found["resonance_mass"]["value"] == pytest.approx(4000, abs=4 * found["resonance_mass"]["error"])
    assert 50 < found["resonance_mass"]["error"] < 65  # 1.25 % are of the energy scale and the form
    n = found["n_signal"]
    assert n["value"] - 4 * n["error_low"] < 900 < n["value"] + 4 * n["error_high"]
    assert found["n_signal_upper_limit_95"] > n["value"]
    assert any("not searched" in check["detail"] for check in found["checks"])
    with pytest.raises(BumpfitError, match="cannot"):
        bumpfit.run(pd.DataFrame({"m_JJ": np.random.default_rng(4).uniform(3000, 3600, 4000)}), features=[])
