"""Configurations of cabinetry: the workspace that cabinetry builds, to the last digit, and faulty configurations."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest

from bumpfit import workspace
from bumpfit.errors import InputError, InputWarning
from bumpfit.inference import fit
from bumpfit.workspace.read import read_spec
from bumpfit.workspace.smoothing import smooth_353qh_twice

yaml = pytest.importorskip("yaml")

pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")  # pyhf asks for it

# cabinetry's example (config_example.yml), with a second region of one bin
TREES: dict[str, Any] = {
    "General": {
        "Measurement": "minimal_example",
        "POI": "Signal_norm",
        "InputPath": "ntuples/{SamplePath}",
        "HistogramFolder": "histograms/",
        "Fixed": [{"Name": "Luminosity", "Value": 0.25}],
    },
    "Regions": [
        {
            "Name": "Signal region",
            "Variable": "jet_pt",
            "Filter": "lep_charge > 0",
            "Binning": [200, 300, 400, 500, 550, 600],
        },
        {"Name": "One", "Variable": "jet_pt", "Binning": [200, 600]},
    ],
    "Samples": [
        {"Name": "Data", "Tree": "pseudodata", "SamplePath": "data.root", "Data": True},
        {"Name": "Signal", "Tree": "signal", "SamplePath": "prediction.root", "Weight": "weight"},
        {"Name": "Background", "Tree": "background", "SamplePath": "prediction.root", "Weight": "weight"},
        {
            "Name": "Rare",
            "Tree": "background_varied",
            "SamplePath": ["data.root", "prediction.root"],
            "Weight": "0.01",
            "Filter": "(lep_charge < 0) & (jet_pt > 250)",
            "DisableStaterror": True,
            "Regions": "Signal region",
        },
    ],
    "Systematics": [
        {
            "Name": "Luminosity",
            "Up": {"Normalization": 0.05},
            "Down": {"Normalization": -0.05},
            "Type": "Normalization",
        },
        {
            "Name": "Modeling",
            "Up": {"SamplePath": "prediction.root", "Tree": "background_varied"},
            "Down": {"Symmetrize": True},
            "Samples": "Background",
            "Type": "NormPlusShape",
            "ModifierName": "theory",
        },
        {
            "Name": "WeightBasedModeling",
            "Up": {"Weight": "weight_up"},
            "Down": {"Weight": "0.7*weight", "Filter": "lep_charge < 0"},
            "Samples": ["Background"],
            "Type": "NormPlusShape",
            "Smoothing": {"Algorithm": "353QH, twice", "Regions": ["Signal region"]},
        },
    ],
    "NormFactors": [
        {"Name": "Signal_norm", "Samples": "Signal", "Nominal": 1, "Bounds": [-5, 10]},
        {"Name": "Rare_norm", "Samples": "Rare", "Bounds": [0, 3], "Regions": ["Signal region", "One"]},
    ],
}


def written(content: dict[str, Any], folder: Path) -> Path:
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trees, and histograms of the same events, with an event on the last edge and an undefined error."""
    uproot = pytest.importorskip("uproot")
    import hist

    folder: Path = tmp_path_factory.mktemp("cabinetry")
    (folder / "ntuples").mkdir()
    random = np.random.default_rng(3)

    def tree(n: int, low: float, scale: float, weight: float = 1.0) -> dict[str, Any]:
        pt = random.exponential(scale, n) + low
        weights = weight * random.uniform(0.5, 1.5, n)
        charge = random.choice([-1, 1], n)
        return {"jet_pt": pt, "lep_charge": charge, "weight": weights, "weight_up": weights * (0.9 + pt / 2500)}

    trees = {
        "prediction": {
            "signal": tree(800, 180, 150, 0.05),
            "background": tree(3000, 150, 120),
            "background_varied": tree(3000, 150, 130),
        },
        "data": {"pseudodata": tree(2000, 150, 120), "background_varied": tree(200, 150, 200)},
    }
    trees["data"]["pseudodata"]["jet_pt"][:3] = [200.0, 300.0, 600.0]
    histograms = uproot.recreate(folder / "histograms.root")
    for name, content in trees.items():
        with uproot.recreate(folder / "ntuples" / f"{name}.root") as file:
            for key, branches in content.items():
                file.mktree(key, {k: v.dtype for k, v in branches.items()})
                file[key].extend(branches)
                filled = hist.Hist.new.Regular(6, 200, 600).Weight()
                filled.fill(branches["jet_pt"], weight=np.ones(len(branches["jet_pt"])))
                histograms[f"SR/{key}"] = filled
                varied = filled.copy()
                varied.view().value *= np.linspace(1.2, 0.9, 6) + 0.05 * (-1.0) ** np.arange(6)
                if key == "background":
                    varied.view().variance[2] = np.nan
                histograms[f"SR/{key}_up"] = varied
    histograms.close()
    return folder


def from_histograms() -> dict[str, Any]:
    content = copy.deepcopy(TREES)
    content["General"] |= {"InputPath": "histograms.root:{RegionPath}/{SamplePath}{VariationPath}"}
    content["Regions"] = [{"Name": "Signal region", "RegionPath": "SR"}]
    content["Samples"] = [
        {"Name": "Data", "SamplePath": "pseudodata", "Data": True},
        {"Name": "Signal", "SamplePath": "signal"},
        {"Name": "Background", "SamplePath": "background"},
    ]
    content["NormFactors"] = content["NormFactors"][:1]
    content["Systematics"][1] |= {"Up": {"SamplePath": "background_varied"}}
    content["Systematics"][2] |= {"Up": {"VariationPath": "_up"}, "Down": {"Symmetrize": True}}
    return content


@pytest.mark.parametrize("kind", ["trees", "histograms"])
def test_the_workspace_is_that_of_cabinetry_to_the_last_digit(
    kind: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cabinetry = pytest.importorskip("cabinetry")
    content = TREES if kind == "trees" else from_histograms()
    path = written(content, tmp_path)
    monkeypatch.chdir(inputs)
    ours = read_spec(path)
    content = copy.deepcopy(content)
    content["General"]["HistogramFolder"] = str(tmp_path / "stored")
    cabinetry.configuration.validate(content)
    (cabinetry.templates.build if kind == "trees" else cabinetry.templates.collect)(content)
    with np.errstate(invalid="ignore"):
        cabinetry.templates.postprocess(content)
        theirs = cabinetry.workspace.build(content)
    assert ours == theirs
    assert read_spec(written(content, tmp_path)) == theirs  # of the histograms that cabinetry wrote


def test_the_fit_is_that_of_pyhf(inputs: Path) -> None:
    content = copy.deepcopy(TREES)
    content["Regions"].pop()
    del content["General"]["Fixed"], content["NormFactors"][1], content["Samples"][3]
    path = written(content, inputs)
    best = fit(workspace.read(path))
    there = pyhf.Workspace(read_spec(path))
    model = there.model(modifier_settings={"normsys": {"interpcode": "code4"}, "histosys": {"interpcode": "code4p"}})
    values = [best.values[name] for name in model.config.par_names]
    data = there.data(model)
    assert best.twice_nll == pytest.approx(-2 * float(model.logpdf(values, data)[0]), abs=1e-9)
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-6))
    _, least = pyhf.infer.mle.fit(data, model, return_fitted_val=True)
    assert best.twice_nll == pytest.approx(float(least), abs=1e-5)


def test_numbers_by_hand(tmp_path: Path) -> None:
    """Symmetrised and two-sided templates of two bins, from stored histograms, with the formulas written out."""
    for name, values in {
        "SR_Data": [12, 7], "SR_bkg": [10, 8], "SR_bkg_one_Up": [14, 4], "SR_bkg_two_Up": [11, 10],
        "SR_bkg_two_Down": [9, 7.2],
    }.items():  # fmt: skip
        np.savez(tmp_path / f"{name}.npz", bins=[0.0, 1.0, 3.0], yields=values, stdev=[1.0, np.nan])
    content: dict[str, Any] = {
        "General": {"Measurement": "m", "InputPath": "", "HistogramFolder": "."},
        "Regions": [{"Name": "SR"}],
        "Samples": [{"Name": "Data", "Data": True}, {"Name": "bkg"}],
        "NormFactors": [{"Name": "mu"}],
        "Systematics": [
            {"Name": "one", "Type": "NormPlusShape", "Up": {}, "Down": {"Symmetrize": True}},
            {"Name": "two", "Type": "NormPlusShape", "Up": {}, "Down": {}},
        ],
    }
    spec = read_spec(written(content, tmp_path))
    assert spec["observations"] == [{"name": "SR", "data": [12.0, 7.0]}]
    sample = spec["channels"][0]["samples"][0]
    kinds = ["staterror", "normfactor", "normsys", "histosys", "normsys", "histosys"]
    assert [m["type"] for m in sample["modifiers"]] == kinds
    found = [m["data"] for m in sample["modifiers"]]
    assert found[0] == [1.0, 0.0]
    assert found[2] == {"hi": 1.0, "lo": 1.0}
    assert found[3] == {"hi_data": [14.0, 4.0], "lo_data": [6.0, 12.0]}
    assert found[4] == pytest.approx({"hi": 21 / 18, "lo": 16.2 / 18})
    assert found[5]["hi_data"] == pytest.approx([11 * 18 / 21, 10 * 18 / 21])
    assert found[5]["lo_data"] == pytest.approx([10.0, 8.0])
    assert spec["measurements"] == [{"name": "m", "config": {"parameters": [{"name": "mu"}], "poi": ""}}]


def test_smoothing_is_that_of_cabinetry_and_keeps_straight_lines() -> None:
    line = 0.3 + 0.2 * np.arange(9.0)
    assert smooth_353qh_twice(line) == pytest.approx(line)
    spike = np.ones(9)
    spike[4] = 3.0
    assert smooth_353qh_twice(spike) == pytest.approx(np.ones(9))
    assert smooth_353qh_twice(np.array([1.0, 5.0])) == pytest.approx([1.0, 5.0])
    theirs = pytest.importorskip("cabinetry.smooth")
    random = np.random.default_rng(0)
    for size in range(3, 24):
        for values in (random.normal(0.3, 1.0, size), random.integers(0, 4, size).astype(float)):
            assert np.array_equal(smooth_353qh_twice(values), theirs.smooth_353qh_twice(values))


def test_smoothing_that_cabinetry_did_not_apply_is_told(tmp_path: Path, inputs: Path) -> None:
    content = from_histograms()
    content["General"]["HistogramFolder"] = str(tmp_path)
    for name in ("Data", "Signal", "Background", "Background_Modeling_Up", "Background_WeightBasedModeling_Up"):
        np.savez(tmp_path / f"Signal-region_{name}.npz", bins=[0.0, 1.0, 3.0], yields=[4.0, 3.0], stdev=[2.0, 1.0])
    with pytest.warns(InputWarning, match="not postprocessed"):
        read_spec(written(content, tmp_path))


def changed(*place: str | int, value: Any = None) -> dict[str, Any]:
    """The configuration with another value at a place; None removes it."""
    content = copy.deepcopy(TREES)
    node: Any = content
    for key in place[:-1]:
        node = node[key]
    if value is None:
        del node[place[-1]]
    else:
        node[place[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed("General"), "no table General"),
        (changed("Plots", value=[]), "the key 'Plots'"),
        (changed("General", "Lumi", value=1), "General of .* the key 'Lumi' is not known; known are Measurement"),
        (changed("General", "Measurement"), "the key 'Measurement' is missing"),
        (changed("Regions", 0, "Binning", value=[1, "2"]), r"Regions\[0\] 'Signal region'.*Binning must be a list of"),
        (changed("Regions", 0, "Binning", value=[1, 3, 2]), "must increase"),
        (changed("Regions", value=[]), "Regions of .*expected a list"),
        (changed("Regions", 1, "Name", value="Signal region"), "the name 'Signal region' is there twice"),
        (changed("Samples", 1, "Data", value=True), "exactly one with Data: True, got 2: Data, Signal"),
        (changed("Samples", 0, "Data"), "exactly one with Data: True, got 0"),
        (changed("Samples", 1, "Weight", value=2), "Weight must be a text"),
        (changed("Samples", 1, "Regions", value="SR"), "Regions names 'SR'; there are One, Signal region"),
        (changed("Systematics", 1, "Samples", value=["Signal", "ttbar"]), "Samples names 'ttbar'"),
        (changed("Systematics", 2, "Smoothing", "Samples", value="ttbar"), "Smoothing: Samples names 'ttbar'"),
        (changed("Systematics", 2, "Smoothing", "Algorithm", value="LOWESS"), "unknown algorithm 'LOWESS'"),
        (changed("Systematics", 0, "Type", value="Shape"), "unknown Type 'Shape'"),
        (changed("Systematics", 0, "Down", value={"Symmetrize": True}), "needs the key Normalization only"),
        (changed("Systematics", 0, "Up", "Normalization", value="5e-2"), "1.0e-3, not 1e-3"),
        (changed("Systematics", 1, "Up", value={"Symmetrize": True}), "Symmetrize belongs to Down"),
        (changed("Systematics", 1, "Down", "Weight", value="2"), "Down is symmetrised and names a template"),
        (changed("Systematics", 1, "Down", "Normalization", value=0.1), "belongs to the type Normalization"),
        (changed("NormFactors", 0, "Bounds", value=[3, 1]), "the lower first"),
        (changed("General", "Fixed", 0, "Value"), r"Fixed\[0\] of .* 'Value' is missing"),
        (changed("Samples", 1, "SamplePath"), "asks for a SamplePath"),
        (changed("General", "InputPath", value="ntuples/data.root"), "has no place for it"),
        (changed("Samples", 1, "SamplePath", value="no.root"), "there is no file 'ntuples/no.root' of region 'Signal"),
        (changed("Samples", 1, "Tree"), "need the key Tree"),
        (changed("Samples", 1, "Weight", value="wieght"), "no column 'wieght'"),
        (changed("Samples", 1, "Weight", value="__import__('os')"), "not part of the cut language"),
        (changed("Regions", 0, "Filter", value="jet_pt"), "not a condition"),
        (changed("Samples", 2, "Weight", value="0"), "a template has no events"),
    ],
)
def test_a_faulty_configuration_is_one_sentence(
    content: dict[str, Any], message: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(inputs)
    with pytest.raises(InputError, match=message):
        read_spec(written(content, tmp_path))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"yields": [1.0, 2.0, 3.0]}, "3 bins with 3 edges"),
        ({"yields": [1.0, np.inf]}, "content of inf in bin 2"),
        ({"stdev": [-1.0, 1.0]}, "in bin 1"),
        ({"stdev": [1.0, np.inf]}, "of inf in bin 2"),
        ({"yields": ["a", "b"]}, "cannot read"),
        ({"stdev": np.array([None, 1], dtype=object)}, "cannot read"),
        ({"bins": [0.0, 1.0, 2.5]}, "other edges than its region's Binning"),
    ],
)
def test_a_faulty_histogram_is_one_sentence(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    content = changed("General", "HistogramFolder", value=".")
    content["Regions"] = [{"Name": "SR", "Binning": [0, 1, 2]}]
    content["Samples"] = [{"Name": "Data", "Data": True}, {"Name": "Background"}]
    content["NormFactors"] = [{"Name": "mu"}]
    content["Systematics"] = []
    there = {"bins": [0.0, 1.0, 2.0], "yields": [1.0, 2.0], "stdev": [1.0, 1.0]}
    np.savez(tmp_path / "SR_Data.npz", **there)
    with pytest.raises(InputError, match=r"there is no histogram .*SR_Background\.npz"):
        read_spec(written(content, tmp_path))
    np.savez(tmp_path / "SR_Background.npz", allow_pickle=True, **{**there, **arrays})
    with pytest.raises(InputError, match=message):
        read_spec(written(content, tmp_path))
