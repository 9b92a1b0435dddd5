"""cabinetry's example: the numbers that its integration test holds, and those that it gives here where it is installed.

Its events are drawn by numpy with a seed, so that the input files are the same everywhere. Published: cabinetry,
tests/test_integration.py of version 0.2 to 0.6 (limits: with cabinetry 0.6.0, which the test itself asks to 1 %).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bumpfit import inference, workspace
from bumpfit.workspace import Model
from bumpfit.workspace.read import read_spec

yaml = pytest.importorskip("yaml")
uproot = pytest.importorskip("uproot")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pyhf, and MINUIT's words on its steps

CONFIG = """
General:
  {Measurement: minimal_example, POI: Signal_norm, HistogramFolder: histograms/, InputPath: "inputs/{SamplePath}"}
Regions:
  - {Name: Signal_region, Variable: jet_pt, Filter: "lep_charge > 0", Binning: [200, 300, 400, 500, 600]}
Samples:
  - {Name: Data, Tree: pseudodata, SamplePath: data.root, Data: true}
  - {Name: Signal, Tree: signal, SamplePath: prediction.root, Weight: weight}
  - {Name: Background, Tree: background, SamplePath: prediction.root, Weight: weight}
Systematics:
  - {Name: Luminosity, Up: {Normalization: 0.05}, Down: {Normalization: -0.05}, Type: Normalization}
  - {Name: Modeling, Up: {SamplePath: prediction.root, Tree: background_varied}, Down: {Symmetrize: true},
     Samples: Background, Type: NormPlusShape}
  - {Name: WeightBasedModeling, Up: {Weight: weight_up}, Down: {Weight: 0.7*weight}, Samples: Background,
     Type: NormPlusShape}
NormFactors:
  - {Name: Signal_norm, Samples: Signal, Nominal: 1, Bounds: [0, 10]}
"""
STATERROR = [f"staterror_Signal_region[{i}]" for i in range(4)]
NAMES = [*STATERROR, "Signal_norm", "Luminosity", "Modeling", "WeightBasedModeling"]
BEST = [1.00102289, 0.98910429, 1.01970061, 0.98296235, 1.68953317, -0.0880332, -0.32457145, -0.58582788]
ERRORS = [0.04108053, 0.03792499, 0.03651557, 0.04250593, 0.93760399, 0.99131386, 0.5547287, 0.62647293]
WITH_SIGNAL = [-0.11102759, 0.14668324, -0.11512695, -0.05875069, 1.0, -0.1681882, -0.93098096, -0.89116314]
PREFIT_UP = [-0.10787925, 0.14350015, -0.11328328, -0.05573699, -0.14964691, -1.67766172, -1.51712811]
PREFIT_DOWN = [0.10910502, -0.15092356, 0.1162032, 0.05864963, 0.17084682, 1.41570164, 1.15025176]
POSTFIT_UP = [-0.10503025, 0.13865911, -0.10801309, -0.05485107, -0.14842401, -1.09991789, -0.89574803]
POSTFIT_DOWN = [0.10604367, -0.14654339, 0.11081899, 0.05779548, 0.16930794, 0.84262594, 0.76490797]


def events(folder: Path) -> None:
    """The files of cabinetry's utils/create_ntuples.py: the same numbers of the same generator in the same order."""
    draw = np.random.RandomState(0)

    def pt(shift: float, scale: float, offset: float, n: int) -> np.ndarray[Any, Any]:
        return np.asarray(draw.noncentral_chisquare(5, shift, n) * scale + offset)

    def charges(n: int) -> np.ndarray[Any, Any]:
        return np.asarray(draw.randint(0, 2, size=n) * 2 - 1)

    jets = [pt(10, 12, 350, 5000), pt(10, 25, 0, 5000), pt(12, 30, 0, 5000)]
    weights = []
    for total in (125, 1000, 1000):
        weight = draw.normal(total / 5000.0, total / 5000.0 * 0.1, 5000)
        weights.append(weight * (total / np.sum(weight)))
    seen = np.hstack((pt(10, 12, 350, 150), pt(10, 25, 0, 1000)))
    draw.shuffle(seen)
    trees: dict[str, dict[str, Any]] = {}
    for name, jet, weight in zip(("signal", "background", "background_varied"), jets, weights, strict=True):
        trees[name] = {"jet_pt": jet, "weight": weight, "lep_charge": charges(5000)}
    trees["background"]["weight_up"] = 1.2 * (jets[1] / 350) * weights[1]
    for file, content in (
        ("prediction", trees),
        ("data", {"pseudodata": {"jet_pt": seen, "lep_charge": charges(1150)}}),
    ):
        with uproot.recreate(folder / "inputs" / f"{file}.root") as written:
            for name, branches in content.items():
                written.mktree(name, {key: values.dtype for key, values in branches.items()})
                written[name].extend(branches)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("cabinetry_example")
    (folder / "inputs").mkdir()
    events(folder)
    (folder / "config.yml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def model(place: Path) -> Model:
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(place)
        return workspace.read("config.yml")


def test_fit_and_figures_have_the_published_numbers(model: Model) -> None:
    """MINUIT ends 1e-6 above the minimum, and its second derivatives are off by 1 % along the flat direction."""
    found = inference.fit(model)
    assert 17.194205 - 2e-6 < found.twice_nll < 17.194205
    for name, value, error in zip(NAMES, BEST, ERRORS, strict=True):
        assert found.values[name] == pytest.approx(value, abs=1.5e-3 * error)
        assert found.errors[name] == pytest.approx(error, rel=0.013)
    i = found.parameters.index("Signal_norm")
    assert found.correlation is not None
    np.testing.assert_allclose([found.correlation[i, found.parameters.index(n)] for n in NAMES], WITH_SIGNAL, atol=2e-3)
    assert inference.goodness(model).p == pytest.approx(0.24679341, abs=1e-6)
    minos = inference.interval(model, "Signal_norm", 0.6826894921370859)
    assert minos.low is not None and minos.high is not None
    assert [minos.low, minos.high] == pytest.approx([1.6895 - 0.9580, 1.6895 + 0.9052], abs=2e-4)
    scan = inference.scan(model, "Signal_norm", points=[1.18967971, 1.68967971, 2.18967971])
    assert scan.delta_twice_nll == pytest.approx([0.27153966, 0.0, 0.29018620], abs=5e-5)


def test_ranking_has_the_published_impacts(model: Model) -> None:
    """Shifts of the strength; those after the fit follow the errors, which differ by up to 1 %."""
    found = {one.parameter: one for one in inference.impacts(model).impacts}
    names = [name for name in NAMES if name != "Signal_norm"]
    for field, values, scale in (
        ("prefit_up", PREFIT_UP, 0.012), ("prefit_down", PREFIT_DOWN, 0.012),
        ("up", POSTFIT_UP, 0.012), ("down", POSTFIT_DOWN, 0.012),
    ):  # fmt: skip
        np.testing.assert_allclose([getattr(found[name], field) for name in names], values, rtol=scale, atol=2e-3)


def test_limits_are_those_of_cabinetry(model: Model) -> None:
    found = inference.limit(model)
    assert found.observed == pytest.approx(3.1566, rel=1e-3)
    np.testing.assert_allclose(found.expected, [1.0114, 1.3972, 1.9770, 2.7073, 3.5291], rtol=3.5e-3)
    assert inference.discovery(model).z == pytest.approx(1.80119, abs=1e-4)
    assert inference.discovery(model, inference.asimov(model, 1.0)).z == pytest.approx(1.04613, abs=2e-4)


def test_cabinetry_itself_gives_these_numbers(place: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    cabinetry = pytest.importorskip("cabinetry")
    monkeypatch.chdir(place)
    content = cabinetry.configuration.load("config.yml")
    cabinetry.templates.build(content)
    cabinetry.templates.postprocess(content)
    theirs = cabinetry.workspace.build(content)
    assert read_spec("config.yml") == json.loads(json.dumps(theirs))
    there, data = cabinetry.model_utils.model_and_data(theirs)
    fitted = cabinetry.fit.fit(there, data)
    ours = inference.fit(model)
    assert ours.twice_nll == pytest.approx(fitted.best_twice_nll, abs=5e-6)
    for name, value, error in zip(fitted.labels, fitted.bestfit, fitted.uncertainty, strict=True):
        assert ours.values[name] == pytest.approx(value, abs=1.5e-3 * error)
        assert ours.errors[name] == pytest.approx(error, rel=0.013)
    for found, prediction in (
        (inference.prefit(model), cabinetry.model_utils.prediction(there)),
        (inference.postfit(model), cabinetry.model_utils.prediction(there, fit_results=fitted)),
    ):
        samples = {one.name: one.yields for one in found.channels[0].samples}
        for name, yields in zip(there.config.samples, prediction.model_yields[0], strict=True):
            np.testing.assert_allclose(samples[name], yields, rtol=3e-4, atol=1e-9)
