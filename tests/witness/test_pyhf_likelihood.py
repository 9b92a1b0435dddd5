"""Parameters, -2 ln L and its derivatives against pyhf and numerical differentiation."""

import json
from pathlib import Path

import jsonpatch
import numpy as np
import pyhf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_models import random_workspace

from bumpfit.workspace import Model, read


def random_point(model: Model, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    unit = np.array([p.low < 0 for p in model.parameters])
    x = model.inits + np.where(unit, rng.normal(0, 1.3, model.inits.size), rng.uniform(-0.3, 0.3, model.inits.size))
    return np.clip(x, model.lower, model.upper)


def test_random_models_agree_with_pyhf() -> None:
    checked = 0
    for seed in range(60):
        spec = random_workspace(seed)
        try:
            workspace = pyhf.Workspace(spec)
            theirs = workspace.model()
        except Exception:
            continue
        model = read(spec)
        assert list(model.names) == theirs.config.par_names
        assert model.inits.tolist() == theirs.config.suggested_init()
        assert [[p.low, p.high] for p in model.parameters] == [list(b) for b in theirs.config.suggested_bounds()]
        assert [p.fixed for p in model.parameters] == theirs.config.suggested_fixed()
        assert model.poi == theirs.config.poi_name
        data = workspace.data(theirs)
        np.testing.assert_allclose(np.concatenate(model.split()), data, rtol=1e-15)
        for k in range(3):
            x = random_point(model, 100 * seed + k)
            np.testing.assert_allclose(model.expected(x), theirs.expected_actualdata(x), rtol=1e-12)
            if model.auxdata.size:
                np.testing.assert_allclose(model.expected_auxiliary(x), theirs.expected_auxdata(x), rtol=1e-12)
            assert model.twice_nll(x) == pytest.approx(float(-2 * theirs.logpdf(x, data)[0]), abs=1e-9, rel=1e-13)
        checked += 1
    assert checked > 40


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_derivatives_are_those_of_the_likelihood(seed: int) -> None:
    model = read(random_workspace(seed))
    x = random_point(model, seed)
    # away from bounds and from |alpha| = 1, where third derivatives jump
    x = np.clip(x, model.lower + 1e-3, model.upper - 1e-3)
    step = 1e-5
    gradient = [(model.twice_nll(x + step * e) - model.twice_nll(x - step * e)) / (2 * step) for e in np.eye(x.size)]
    np.testing.assert_allclose(model.gradient(x), gradient, rtol=1e-5, atol=1e-4)
    hessian = [(model.gradient(x + step * e) - model.gradient(x - step * e)) / (2 * step) for e in np.eye(x.size)]
    np.testing.assert_allclose(model.hessian(x), hessian, rtol=1e-4, atol=1e-2)
    jacobian = [(model.expected(x + step * e) - model.expected(x - step * e)) / (2 * step) for e in np.eye(x.size)]
    np.testing.assert_allclose(model.jacobian(x), jacobian, rtol=1e-5, atol=1e-4)


def test_fisher_information_is_the_hessian_of_asimov_data() -> None:
    model = read(random_workspace(5))
    x = random_point(model, 7)
    np.testing.assert_allclose(model.hessian(x, model.asimov(x)) / 2, model.information(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("codes", [{"normsys": "code1"}, {"histosys": "code0"}])
def test_other_interpolation_codes_agree_with_pyhf(codes: dict[str, str]) -> None:
    for seed in range(12):
        spec = random_workspace(seed)
        settings = {"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}}
        settings.update({kind: {"interpcode": code} for kind, code in codes.items()})
        try:
            theirs = pyhf.Workspace(spec).model(modifier_settings=settings)
        except Exception:
            continue
        model = read(spec, interpolation=codes)
        for k in range(4):
            x = random_point(model, k)
            np.testing.assert_allclose(model.expected(x), theirs.expected_actualdata(x), rtol=1e-12)


def test_expected_by_sample_agrees_with_pyhf() -> None:
    for seed in (1, 4, 8, 9):
        spec = random_workspace(seed)
        theirs = pyhf.Workspace(spec).model()
        model = read(spec)
        x = random_point(model, seed)
        by_sample = theirs.main_model.expected_data(x, return_by_sample=True)
        ours = model.expected_by_sample(x)
        for channel in model.channels:
            for name in channel.samples:
                row = by_sample[theirs.config.samples.index(name)][channel.first : channel.last]
                np.testing.assert_allclose(ours[channel.name][name], row, rtol=1e-12)


def test_published_likelihood(atlas: Path) -> None:
    folder = atlas / "RegionC"
    patch = folder / "patch.sbottom_1600_850_60.json"
    model = read(folder / "BkgOnly.json", patch)
    spec = jsonpatch.apply_patch(json.loads((folder / "BkgOnly.json").read_text()), json.loads(patch.read_text()))
    workspace = pyhf.Workspace(spec)
    theirs = workspace.model()
    assert list(model.names) == theirs.config.par_names
    for k in range(5):
        x = random_point(model, k)
        assert model.twice_nll(x) == pytest.approx(float(-2 * theirs.logpdf(x, workspace.data(theirs))[0]), abs=1e-9)
