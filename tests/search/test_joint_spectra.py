"""Data and background table fitted together: a peak in a spectrum without sidebands, and the law without one."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, kstest

from bumpfit import toys
from bumpfit.search.joint_spectra import joint_spectra
from bumpfit.search.mass_range import SpectrumSettings
from bumpfit.search.spectra import combined
from bumpfit.search.spectrum import SpectrumTest, spectrum_test, upper_limits
from bumpfit.workspace import read, write
from study_size import FULL

Array = NDArray[np.float64]
SPAN = (3300.0, 3700.0)
SETTINGS = SpectrumSettings(permutations=300)


def falling(n: int, rng: np.random.Generator) -> Array:
    """Masses between 3300 and 3700 GeV that fall as m^-6."""
    u = rng.random(n)
    low, high = SPAN[0] ** -5.0, SPAN[1] ** -5.0
    return np.asarray((low + u * (high - low)) ** -0.2)


def joint(n_signal: int, seed: int = 1, n: int = 12_000, m: int = 8_000) -> tuple[SpectrumTest, ...]:
    rng = np.random.default_rng(seed)
    data = np.r_[falling(n, rng), np.clip(rng.normal(3500, 70, n_signal), *SPAN)]
    ranks = np.r_[rng.random(n), 0.1 * rng.random(n_signal)], rng.random(m)
    return joint_spectra((data, falling(m, rng)), ranks, (0.1, 0.03), SPAN, SETTINGS, seed=seed)


@pytest.mark.slow
def test_a_peak_without_sidebands_is_found_at_its_mass_with_its_events() -> None:
    rng = np.random.default_rng(1)
    assert not spectrum_test("alone", falling(12_000, rng), 1.0, SPAN).usable
    tests = joint(400)
    assert [t.name for t in tests] == ["no selection", "10.00% of all events", "3.00% of all events"]
    best = combined(tests)
    assert best is not None and best.best.name == "10.00% of all events" and best.usable == 3
    assert best.best.mass == pytest.approx(3500, rel=0.02)
    assert best.best.n_signal is not None and best.best.n_signal_error is not None
    assert abs(best.best.n_signal - 400) < 2.5 * best.best.n_signal_error
    assert best.p_global < 0.05 and best.permutations == 300 and not best.bound
    assert best.best.limit is not None and best.best.limit > 400


def test_workspaces_of_both_forms_hold_the_same_likelihood(tmp_path: Path) -> None:
    test = joint(400)[1]
    assert test.workspace is not None and test.table is not None and test.n_signal is not None
    model = read(test.workspace)
    from bumpfit.inference import discovery, fit

    found = fit(model)
    assert found.values["mu"] == pytest.approx(test.n_signal, rel=0.01)
    assert discovery(model).z == pytest.approx(test.z_local, rel=0.01)
    for name in ("histfactory", "hs3"):
        write(model, tmp_path / f"{name}.json", format=name)
        assert read(tmp_path / f"{name}.json").twice_nll(found.values) == pytest.approx(found.twice_nll, abs=1e-4)


def test_the_error_of_a_yield_that_is_most_of_its_spectrum_is_that_of_the_fit_of_its_workspace() -> None:
    """300 of 540 events are signal: beside them the background is far below the fit without a signal."""
    rng = np.random.default_rng(3)
    data = np.r_[falling(12_000, rng), np.clip(rng.normal(3500, 70, 300), *SPAN)]
    ranks = np.r_[rng.random(12_000), 0.02 * rng.random(300)], rng.random(8_000)
    test = joint_spectra((data, falling(8_000, rng)), ranks, (0.02,), SPAN, SETTINGS, seed=1)[-1]
    assert test.workspace is not None and test.counts.sum() > 500
    from bumpfit.inference import fit

    found = fit(read(test.workspace))
    assert test.n_signal == pytest.approx(found.values["mu"], rel=0.02)
    assert test.n_signal_error == pytest.approx(found.errors["mu"], rel=0.15)


def test_pyhf_reads_the_workspace() -> None:
    pyhf = pytest.importorskip("pyhf")
    warnings.simplefilter("ignore", DeprecationWarning)  # pyhf's own use of jsonschema
    test = joint(400)[1]
    model = pyhf.Workspace(test.workspace).model()
    assert model.config.channels == ["spectrum", "spectrum_background"] and model.config.poi_name == "mu"


def test_a_table_that_is_too_small_makes_no_test() -> None:
    tests = joint(0, m=50)
    assert not any(t.usable for t in tests) and "need 100" in tests[0].reason
    assert combined(tests) is None


def test_limits_do_not_know_which_mass_is_the_first() -> None:
    """Data that end where the table goes on (another scale of the mass): a wide first signal leaves no background."""
    x = np.linspace(0.0, 1.0, 12)
    rate, seen = 800.0 * np.exp(-x), np.where(x < 0.7, 1000.0 * np.exp(-0.5 * x), 0.0).round()
    basis = np.column_stack([np.ones(24), np.r_[x, x], np.r_[x, x] ** 2, np.repeat([0.5, -0.5], 12)])
    signals = np.exp(-0.5 * ((x - np.array([[0.3], [0.5], [0.9]])) / np.array([[0.25], [0.1], [0.1]])) ** 2)
    signals = np.column_stack([signals / signals.sum(axis=1, keepdims=True), np.zeros((3, 12))])
    model = toys.LogLinear(np.r_[rate, rate], basis, signals, (0.0, np.inf), observed=np.r_[seen, rate.round()])
    guess = np.array([1.4 * seen.sum(), 60.0, 60.0])
    limits = upper_limits(model, guess)
    assert np.isfinite(limits).all() and (limits > 0).all()
    turned = upper_limits(dataclasses.replace(model, signal=signals[::-1]), guess[::-1])
    np.testing.assert_allclose(turned[::-1], limits, rtol=1e-3)


@pytest.mark.statistics
def test_p_is_uniform_without_a_signal() -> None:
    n = 200 if FULL else 80
    p = [found.p_global for seed in range(n) if (found := combined(joint(0, seed, 3000, 2000))) is not None]
    assert len(p) == n and kstest(p, "uniform").pvalue > 0.01
    assert sum(x < 0.05 for x in p) <= binom.isf(0.005, n, 0.05)
