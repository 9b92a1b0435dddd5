"""Numbers of result.json from findings that were never run."""

import dataclasses
import math

import numpy as np
import pytest
from findings_examples import claimed, nothing, particle, spectrum, spectrum_only, two_sample
from scipy.stats import norm

from bumpfit.errors import BumpfitError
from bumpfit.pages.answers import answer
from bumpfit.search.checks import fitted_range
from bumpfit.search.findings import SignalEvents
from bumpfit.search.mass_range import MassRange


def test_a_claim() -> None:
    found = claimed(windows=3)
    answers = answer(found, 1.5)
    given = answers.to_dict()
    p = given["p_value"]
    assert found.test is not None
    overall = found.test.overall
    assert (p["global"], p["z_global"], p["error"], p["draws"]) == (overall.p, overall.z, overall.error, overall.draws)
    assert (p["local"], p["z_local"], p["trials"], p["floor"]) == (overall.p_local, max(overall.z_local), 3, 0)
    sources = {"learned": (1.0, math.nan), "library": (2.0, 0.3)}  # a source that a window does not have is no trial
    assert dataclasses.replace(overall, z_sources=sources).trials == 3
    assert given["particles"][0]["p_value"] == p
    assert given["claim"] is True and given["runtime_s"] == 1.5 and given["seed"] == 7
    assert given["resonance_mass"] == {"value": 2990.0, "error": pytest.approx(0.011 * 2990)}
    assert [d["name"] for d in given["daughter_masses"]] == ["J1", "J2"]
    assert [d["value"] for d in given["daughter_masses"]] == [201, 398]
    assert given["daughter_masses"][0]["error"] == pytest.approx(0.011 * 201)
    n = given["n_signal"]
    assert (n["value"], n["error_low"], n["error_high"]) == (310.0, 46.4, 82.1)
    assert given["n_signal_upper_limit_95"] == 494
    assert given["signal_percent"] == pytest.approx(100 * 310 / 3000)
    assert given["decay"].startswith("A (2990 GeV) -> B (398 GeV) + C (201 GeV)")
    first = given["selections"][0]
    assert (first["n_data"], first["n_background_expected"], first["background_error"]) == (150, 60, 10)
    assert given["goodness_of_fit"]["background_shape"] == {"0.1": 0.5, "0.01": 3e-5}
    assert found.yield_fit is not None and given["goodness_of_fit"]["templates"] == found.yield_fit.goodness_p


def test_daughters_are_sorted() -> None:
    found = claimed()
    assert found.updated is not None
    swapped = dataclasses.replace(found.updated, light=found.updated.heavy, heavy=found.updated.light)
    assert found.test is not None
    given = answer(dataclasses.replace(found, particles=(particle(swapped, found.test),)), 1.0).to_dict()
    assert [d["value"] for d in given["daughter_masses"]] == [201, 398]


def test_no_claim_has_no_masses() -> None:
    found = dataclasses.replace(nothing(), signal=SignalEvents(0.0, 0.0, 40.0, "generic templates"))
    given = answer(dataclasses.replace(found, upper_95=66.0), 1.0).to_dict()
    assert given["resonance_mass"] is None and given["daughter_masses"] is None and given["decay"] is None
    assert (given["n_signal"]["value"], given["n_signal"]["error_high"]) == (0, 40)
    assert given["n_signal_upper_limit_95"] == 66 and given["signal_percent"] == 0
    fit = given["mass_spectrum_fit"]
    assert not fit["usable"] and "sidebands" in fit["reason"]


def test_the_second_p_value_counts_masses_and_spectra() -> None:
    """Two usable spectra of twenty masses: forty times the local p."""
    fit = answer(claimed(), 1.0).to_dict()["mass_spectrum_fit"]
    assert fit["usable"] and fit["p_global"] == pytest.approx(40 * norm.sf(3.09))
    assert fit["z_global"] == pytest.approx(norm.isf(40 * norm.sf(3.09)))
    assert (fit["p_local"], fit["n_signal"], fit["n_signal_error"], len(fit["spectra"])) == (0.001, 60, 21, 3)
    assert "2 spectra" in fit["method"]


def test_a_spectrum_alone() -> None:
    found = dataclasses.replace(spectrum_only(claim=True), spectra=(spectrum(1, usable=True),))
    given = answer(found, 1.0).to_dict()
    p = given["p_value"]
    assert (p["local"], p["global"], p["z_local"], p["z_global"]) == (0.001, 0.02, 3.09, 2.05)
    assert (p["trials"], p["draws"], p["floor"]) == (20, 0, 1e-300)
    assert given["resonance_mass"] == {"value": 3000, "error": 41} and given["daughter_masses"] is None
    assert len(given["inputs"]) == 1 and given["searched"] is None


def test_masses_that_are_searched_are_those_of_the_fitted_range() -> None:
    check = fitted_range(MassRange(3249.0, 5987.0, 800, 10), 3000)
    found = dataclasses.replace(spectrum_only(), spectra=(spectrum(1, usable=True),), checks=(check,))
    wanted = {"low": 3249.0, "high": 5987.0, "below": 800, "above": 10, "given": False}
    assert answer(found, 1.0).to_dict()["searched"] == wanted


def test_best_window_is_the_largest() -> None:
    found = dataclasses.replace(claimed(windows=3), test=two_sample(1e-12, 1e-11, 3))
    assert found.test is not None
    z = np.array(found.test.overall.z_local)
    assert answer(found, 1.0).p_value.z_local == z.max() > z.min()


def test_answers_show_themselves() -> None:
    found = answer(claimed(windows=1), 1.5)
    line, page = repr(found), found._repr_html_()
    assert "verdict='resonance'" in line and "2990 ± 33 GeV" in line and len(line) < 500
    assert "<th>check</th>" in page
    drawn = found.plot().axes[0]
    assert drawn.get_xlabel() == "Background efficiency of the selection"
    z = [s["z_local"] for s in found.selections]
    assert np.max(drawn.lines[0].get_ydata()) == max(z)
    with pytest.raises(BumpfitError, match="no selections to draw"):
        answer(spectrum_only(), 1.0).plot()
