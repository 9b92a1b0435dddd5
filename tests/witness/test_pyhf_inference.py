"""Fits, q0, CLs, limits against pyhf; fits and intervals against iminuit."""

import json
from pathlib import Path
from typing import Literal

import iminuit
import jsonpatch
import numpy as np
import pyhf
import pytest
from random_models import random_workspace

from bumpfit.inference import FitOptions, cls, discovery, fit, interval, limit
from bumpfit.workspace import Model, read


def simple(number: int) -> pyhf.Model:
    if number == 0:
        return pyhf.simplemodels.uncorrelated_background([12.0, 11.0], [50.0, 52.0], [3.0, 7.0])
    return pyhf.simplemodels.correlated_background([5.0, 10.0], [50.0, 60.0], [45.0, 63.0], [55.0, 57.0])


DATA = [[51.0, 48.0], [66.0, 75.0]]


@pytest.mark.parametrize("number", range(2))
def test_simple_models(number: int) -> None:
    theirs, counts = simple(number), DATA[number]
    model = read(theirs.spec)
    data = counts + theirs.config.auxdata
    values, twice_nll = pyhf.infer.mle.fit(data, theirs, return_fitted_val=True)
    result = fit(model, counts)
    assert result.valid
    assert result.twice_nll == pytest.approx(float(twice_nll), abs=1e-6)
    np.testing.assert_allclose(result.array, values, atol=2e-3)
    p0 = pyhf.infer.hypotest(0.0, data, theirs, test_stat="q0")
    found = discovery(model, counts)
    assert found.p == pytest.approx(float(p0), rel=1e-3)
    observed, expected = pyhf.infer.hypotest(1.0, data, theirs, return_expected_set=True)
    tested = cls(model, 1.0, counts)
    assert tested.observed == pytest.approx(float(observed), rel=1e-4)
    assert tested.expected == pytest.approx([float(e) for e in expected], rel=1e-4)
    bound = limit(model, counts)
    assert bound.observed is not None
    at_limit = pyhf.infer.hypotest(bound.observed, data, theirs)
    assert float(at_limit) == pytest.approx(0.05, rel=1e-3)
    for k in (0, 2, 4):
        _, band = pyhf.infer.hypotest(bound.expected[k], data, theirs, return_expected_set=True)
        assert float(band[k]) == pytest.approx(0.05, rel=1e-3)


def test_limits_of_the_pyhf_documentation() -> None:
    """pyhf.infer.intervals.upper_limits.upper_limit, its example with a scan in steps of 0.25 interpolated linearly."""
    model = read(simple(0).spec)
    bound = limit(model, DATA[0])
    assert bound.observed == pytest.approx(1.01764089, rel=0.01)
    documented = [0.59576921, 0.76169166, 1.08504773, 1.50170482, 2.06654952]
    assert bound.expected == pytest.approx(documented, rel=0.07)


def test_cls_of_another_level_solves_cls() -> None:
    model = read(simple(0).spec)
    bound = limit(model, DATA[0], level=0.9)
    assert bound.observed is not None
    assert cls(model, bound.observed, DATA[0]).observed == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("statistic", ["qtilde", "q"])
def test_negative_strengths_follow_pyhf(statistic: Literal["qtilde", "q"]) -> None:
    """q with a range below zero; q-tilde compares with 0 whatever the range, as pyhf does where the range says so."""
    theirs = simple(0)
    theirs.config.par_map["mu"]["paramset"].suggested_bounds = [(-10.0 if statistic == "q" else 0.0, 10.0)]
    counts = [30.0, 38.0]
    model = read({**theirs.spec, "parameters": [{"name": "mu", "bounds": [[-10.0, 10.0]]}]})
    assert fit(model, counts).values["mu"] < -0.3
    observed, expected = pyhf.infer.hypotest(
        0.7, counts + theirs.config.auxdata, theirs, return_expected_set=True, test_stat=statistic
    )
    tested = cls(model, 0.7, counts, statistic=statistic)
    assert tested.observed == pytest.approx(float(observed), rel=1e-3)
    assert tested.expected == pytest.approx([float(e) for e in expected], rel=1e-3)


def reference(model: Model, minimum: np.ndarray) -> iminuit.Minuit:
    """iminuit on -2 ln L from pyhf's start, without our gradient or minimiser."""
    m = iminuit.Minuit(lambda x: model.twice_nll(x), model.inits, name=model.names)
    m.errordef = iminuit.Minuit.LEAST_SQUARES
    m.limits = list(zip(model.lower, model.upper, strict=True))
    m.fixed = [p.fixed for p in model.parameters]
    m.strategy = 2
    m.migrad()
    return m


def test_random_models_fit_as_iminuit() -> None:
    agreeing = 0
    for seed in range(12):
        model = read(random_workspace(seed))
        result = fit(model)
        assert result.valid, result.status
        assert result.edm is not None
        assert result.edm < 1e-6
        assert result.minimiser == "newton"
        np.testing.assert_allclose(model.twice_nll(result.values), result.twice_nll, rtol=1e-12)
        other = reference(model, result.array)
        # iminuit may stop in a local minimum (seed 0 does), it must not find a lower one
        assert result.twice_nll <= other.fval + 1e-6
        if not other.valid or other.fval > result.twice_nll + 0.1:
            continue
        assert result.twice_nll == pytest.approx(other.fval, abs=2e-3)
        by_minuit = fit(model, options=FitOptions(minimiser="minuit"))
        assert by_minuit.twice_nll == pytest.approx(result.twice_nll, abs=1e-4)
        if result.covariance is not None and not result.at_bounds:
            other.limits = [(None, None)] * len(model.names)  # MINUIT's transformation of limits bends the errors
            other.hesse()
            errors = np.array([result.errors[n] for n in model.names])
            np.testing.assert_allclose(errors, np.where(other.fixed, 0, other.errors), rtol=0.02)
            agreeing += 1
    assert agreeing >= 6


def test_intervals_are_those_of_minos() -> None:
    compared = 0
    for seed in (2, 3, 7, 8, 9, 13):
        model = read(random_workspace(seed))
        best = fit(model)
        other = reference(model, best.array)
        if not other.valid or other.fval > best.twice_nll + 0.1:
            continue
        found = interval(model, "mu", level=0.6827)
        other.minos("mu", cl=0.6827)
        errors = other.merrors["mu"]
        if not errors.is_valid or found.low_at_bound:
            continue
        assert found.low == pytest.approx(other.values["mu"] + errors.lower, abs=0.01 * errors.upper)
        assert found.high == pytest.approx(other.values["mu"] + errors.upper, abs=0.01 * errors.upper)
        compared += 1
    assert compared >= 3


def published(atlas: Path, region: str, point: str) -> tuple[Model, dict[str, object]]:
    folder = atlas / f"Region{region}"
    patch = folder / f"patch.sbottom_{point}.json"
    spec = jsonpatch.apply_patch(json.loads((folder / "BkgOnly.json").read_text()), json.loads(patch.read_text()))
    return read(folder / "BkgOnly.json", patch), spec


def test_published_cls(atlas: Path) -> None:
    """CLs of sbottom 1300_205_60 in region A as published by ATLAS (ATL-PHYS-PUB-2019-029) through pyhf."""
    model, _ = published(atlas, "A", "1300_205_60")
    result = cls(model, 1.0)
    assert result.observed == pytest.approx(0.24443635, rel=1e-4)
    expected = [0.09022521939741368, 0.19378411715432514, 0.3843236961508878, 0.6557759457699649, 0.8910421945189615]
    assert result.expected == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_published_fit_and_q0_as_pyhf(atlas: Path) -> None:
    model, spec = published(atlas, "C", "1600_850_60")
    workspace = pyhf.Workspace(spec)
    theirs = workspace.model()
    data = workspace.data(theirs)
    _, twice_nll = pyhf.infer.mle.fit(data, theirs, return_fitted_val=True)
    _, null = pyhf.infer.mle.fixed_poi_fit(0.0, data, theirs, return_fitted_val=True)
    found = discovery(model)
    assert found.free_fit is not None
    assert found.free_fit.twice_nll == pytest.approx(float(twice_nll), abs=1e-4)
    assert found.q0 == pytest.approx(float(null - twice_nll), rel=1e-3)
