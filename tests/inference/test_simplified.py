"""Simplified likelihoods: closed forms of the covariance, and the full likelihood beside them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest

from bumpfit import inference
from bumpfit.errors import InputError
from bumpfit.workspace import Model, build, read

modifier = build.modifier
pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")  # pyhf asks for it


def spec(**other: Any) -> dict[str, Any]:
    """Two bins of a background that 400 events of a control region scale, with a rate of 5 % and a shape."""
    b = [60.0, 30.0]
    background = build.sample(
        "b", b, modifier("normfactor", "k"), modifier("normsys", "rate", (0.95, 1.05)),
        modifier("histosys", "tilt", ([57.0, 33.0], [63.0, 27.0])),
    )  # fmt: skip
    signal = build.sample("s", [4.0, 8.0], modifier("normfactor", "mu"), *other.get("of_signal", ()))
    control = build.sample("b", [200.0], modifier("normfactor", "k"))
    channels = {"SR": [signal, background, *other.get("more", ())], "CR": [control]}
    return build.workspace(channels, {"SR": [125, 66], "CR": [400]}, "mu", {"mu": {"bounds": [[0.0, 20.0]]}})


@pytest.fixture(scope="module")
def model() -> Model:
    return read(spec())


def test_the_covariance_is_that_of_the_control_region(model: Model) -> None:
    found = inference.simplified(model, ["SR"])
    b = np.array([120.0, 60.0])  # k = 2
    tilt = 2 * np.array([3.0, -3.0])
    np.testing.assert_allclose(found.background, b, rtol=1e-6)
    rate = (1.05**0.5 - 0.95**0.5) / (1.05**0.5 + 0.95**0.5)  # only to see that it is not the slope
    slope = 0.5 * np.log(1.05 / 0.95)
    assert rate != pytest.approx(slope, rel=1e-6)
    exact = np.outer(b, b) * (1 / 400) + np.outer(tilt, tilt)
    relative = (found.covariance - exact) / np.outer(b, b)
    np.testing.assert_allclose(relative, relative[0, 0], rtol=1e-5)  # what is left is the rate, of both bins alike
    assert np.sqrt(relative[0, 0]) == pytest.approx(0.05, rel=0.01)
    assert found.data.tolist() == [125.0, 66.0] and found.signals["s"].tolist() == [4.0, 8.0]


def test_eigenvectors_make_up_the_covariance_and_one_shape_the_total(model: Model) -> None:
    found = inference.simplified(model, ["SR"])
    for total in (False, True):
        made = found.workspace(total=total)
        (background,) = (s for s in made["channels"][0]["samples"] if s["name"] == "background")
        shifts = np.array([np.array(m["data"]["hi_data"]) - background["data"] for m in background["modifiers"]])
        covariance = np.sqrt(np.outer(*[np.diag(found.covariance)] * 2)) if total else found.covariance
        np.testing.assert_allclose(shifts.T @ shifts, covariance, rtol=1e-9)
        there = pyhf.Workspace(made)
        full = there.model()
        at = [0.7 if name == "mu" else 0.0 for name in full.config.par_names]
        theirs = -2 * float(full.logpdf(at, there.data(full))[0])
        assert read(made).twice_nll({"mu": 0.7}) == pytest.approx(theirs, abs=1e-8)


def test_limits_are_those_of_the_full_likelihood(model: Model) -> None:
    simple = read(inference.simplified(model, ["SR"]).workspace())
    full, quick = inference.limit(model), inference.limit(simple)
    assert quick.observed == pytest.approx(full.observed, rel=0.01)
    np.testing.assert_allclose(quick.expected, full.expected, rtol=0.015)
    assert inference.discovery(simple).z == pytest.approx(inference.discovery(model).z, abs=0.02)


@pytest.mark.parametrize(
    ("other", "channels", "words"),
    [
        ({}, ["SR", "CR"], "all channels would be blinded"),
        ({}, ["XR"], "no channel XR"),
        ({"more": [build.sample("o", [5.0, 5.0], modifier("normfactor", "o"))]}, ["SR"], "'o' changes the backgrounds"),
        ({"of_signal": [modifier("normfactor", "mu")]}, ["SR"], "twice|not linear"),
        ({}, ["CR"], "changes no yield"),
    ],
)
def test_what_cannot_be_simplified(other: dict[str, Any], channels: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        inference.simplified(read(spec(**other)), channels)


@pytest.mark.parametrize("form", ["eigenvectors", "total", "covariance"])
def test_the_command_writes_each_form(form: str, model: Model, tmp_path: Path) -> None:
    from bumpfit.cli import main

    (tmp_path / "w.json").write_text(json.dumps(spec()))
    out = tmp_path / "o.json"
    with pytest.raises(SystemExit) as done:
        main(["workspace", "simplify", str(tmp_path / "w.json"), "-c", "SR", "--form", form, "-o", str(out)])
    assert not done.value.code
    found = inference.simplified(model, ["SR"])
    wanted = found.to_dict() if form == "covariance" else found.workspace(total=form == "total")
    assert json.loads(out.read_text()) == json.loads(json.dumps(wanted))
