"""Configurations of TRExFitter: its published example, its arithmetic written out, and faulty configurations."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bumpfit import workspace
from bumpfit.errors import BumpfitError, InputError, InputWarning
from bumpfit.inference import fit
from bumpfit.workspace.read import read_spec
from bumpfit.workspace.smoothing import smooth_353qh_twice, smooth_variations
from bumpfit.workspace.variations import largest, mean_size, one_sided, two_sided

uproot = pytest.importorskip("uproot")
hist = pytest.importorskip("hist")

# TRExFitter's test/configs/FitExample.config, with its titles left out
EXAMPLE = """Job: "FitExample"
  Label: "Fit Example"
  CmeLabel: "13 TeV"
  POI: "SigXsecOverSM"
  ReadFrom: HIST
  HistoPath: "inputs/Histo"
  DebugLevel: 2
  SystControlPlots: TRUE

Fit: "myFit"
  FitType: SPLUSB
  FitRegion: CRSR
  doLHscan: SigXsecOverSM

Region: "SR_1"
  Type: CONTROL
  HistoName: "HTj"
  VariableTitle: "H_{T} [GeV]"

Region: "SR_2"
  Type: SIGNAL
  HistoName: "HTj"

Region: "VR"
  Type: VALIDATION
  HistoName: "HTj_VR"

Sample: "Data"
  Title: "Data 2015"   % a comment
  Type: data
  HistoFile: "data"

Sample: "Bkg1"
  Type: BACKGROUND
  HistoFile: "bkg1"

Sample: "Bkg2"
  Type: BACKGROUND
  Title: "t#bar{t}"
  HistoFile: "bkg2"

Sample: "Signal"
  Type: SIGNAL
  FillColor: 632
  NormFactor: "SigXsecOverSM",1,0,100
  HistoFile: "sig"

Systematic: "JES"
  Title: "Jet Energy Scale"
  Type: HISTO
  HistoNameSufUp: "_jesUp"
%   HistoNameSufDown: "_jesDown"
  Samples: Bkg1,Signal
  Smoothing: 40
  Symmetrisation: ONESIDED
  Category: Instrumental

Systematic: "Bkg1Xsec"
  Type: OVERALL
  OverallUp: 0.10
  OverallDown: -0.10
  Samples: Bkg1
  Category: "t#bar{t} uncertainty"
  Regions: SR_1,VR

Systematic: "Bkg2Xsec"
  Type: OVERALL
  OverallUp: 0.20
  OverallDown: -0.20
  Samples: Bkg2
  Category: "t#bar{t} uncertainty"
"""

# yields of its CreateHistograms.C, and errors as if of 25 times as many events
YIELDS = {
    "sig": {"HTj": [0.1, 0.5, 1.5, 3.1], "HTj_jesUp": [0.11, 0.51, 1.52, 3.13],
            "HTj_jesDown": [0.09, 0.49, 1.48, 3.06]},
    "bkg1": {"HTj": [100.0, 75, 20, 10], "HTj_jesUp": [90.0, 70, 30, 20], "HTj_jesDown": [110.0, 80, 15, 5]},
    "bkg2": {"HTj": [10.0, 30, 50, 15]},
    "data": {"HTj": [112.0, 110, 70, 27]},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inputs" / "Histo").mkdir(parents=True)
    for name, histograms in YIELDS.items():
        with uproot.recreate(tmp_path / "inputs" / "Histo" / f"{name}.root") as file:
            for key, values in histograms.items():
                filled = hist.Hist.new.Reg(4, 0, 400).Weight()
                filled.view().value, filled.view().variance = values, np.array(values) / 25.0
                file[key] = filled
    return tmp_path


def written(text: str, folder: Path) -> Path:
    (folder / "fit.config").write_text(text)
    return folder / "fit.config"


def found(spec: dict[str, Any], channel: str, sample: str, name: str, kind: str) -> Any:
    samples = next(c["samples"] for c in spec["channels"] if c["name"] == channel)
    modifiers = next(s["modifiers"] for s in samples if s["name"] == sample)
    data = [m["data"] for m in modifiers if (m["name"], m["type"]) == (name, kind)]
    assert len(data) <= 1
    return data[0] if data else None


def test_the_published_example(folder: Path) -> None:
    """Channels, samples and modifiers are those of its test/FitExample/RooStats/*.xml; the signal's JES has its numbers
    there (High 1.01346, Low 0.986538), and the integrals those of Tables/Yields.txt (310, 5.2)."""
    spec = read_spec(written(EXAMPLE, folder))
    assert [c["name"] for c in spec["channels"]] == ["SR_1", "SR_2"]
    names = {
        (c["name"], s["name"]): sorted((m["type"], m["name"]) for m in s["modifiers"])
        for c in spec["channels"]
        for s in c["samples"]
    }
    jes = [("histosys", "JES"), ("normsys", "JES")]
    for region in ("SR_1", "SR_2"):
        gammas = ("staterror", f"staterror_{region}")
        xs = [("normsys", "Bkg1Xsec")] if region == "SR_1" else []
        assert names[region, "Bkg1"] == sorted([*jes, *xs, gammas])
        assert names[region, "Bkg2"] == [("normsys", "Bkg2Xsec"), gammas]
        assert names[region, "Signal"] == sorted([*jes, ("normfactor", "SigXsecOverSM"), gammas])
    signal = found(spec, "SR_2", "Signal", "JES", "normsys")
    assert (signal["hi"], signal["lo"]) == (pytest.approx(1.01346, abs=5e-6), pytest.approx(0.986538, abs=5e-7))
    assert found(spec, "SR_2", "Bkg2", "Bkg2Xsec", "normsys") == {"hi": 1.2, "lo": 0.8}
    yields = {s["name"]: sum(s["data"]) for s in spec["channels"][0]["samples"]}
    assert yields["Bkg1"] + yields["Bkg2"] == pytest.approx(310.0) and yields["Signal"] == pytest.approx(5.2)
    config = spec["measurements"][0]["config"]
    assert config["poi"] == "SigXsecOverSM"
    assert config["groups"] == {"Instrumental": ["JES"], "t#bar{t} uncertainty": ["Bkg1Xsec", "Bkg2Xsec"]}
    settings = {p["name"]: p for p in config["parameters"]}
    assert settings["SigXsecOverSM"]["bounds"] == [[0.0, 100.0]]
    assert settings["staterror_SR_1"]["constraint"] == "poisson"
    assert fit(workspace.read(folder / "fit.config")).valid


def test_templates_by_hand(folder: Path) -> None:
    """Without smoothing: norm and shape of a one-sided and of a two-sided variation, in TRExFitter's arithmetic."""
    text = EXAMPLE.replace("  Smoothing: 40\n", "")
    nominal, up, down = (np.array(YIELDS["bkg1"][key]) for key in ("HTj", "HTj_jesUp", "HTj_jesDown"))
    spec = read_spec(written(text, folder))
    assert found(spec, "SR_1", "Bkg1", "JES", "normsys") == pytest.approx({"hi": 210 / 205, "lo": 200 / 205})
    shape = found(spec, "SR_1", "Bkg1", "JES", "histosys")
    assert shape["hi_data"] == pytest.approx(up * 205 / 210)
    assert shape["lo_data"] == pytest.approx((2 * nominal - up) * 205 / 200)
    both = text.replace("%   HistoNameSufDown", "   HistoNameSufDown")
    spec = read_spec(
        written(
            both.replace("ONESIDED", "TWOSIDED").replace("  Category: Inst", "  ScaleUp: SR_2:2\n  Category: Inst"),
            folder,
        )
    )
    half = (up - down) / 2
    assert found(spec, "SR_1", "Bkg1", "JES", "normsys") == pytest.approx({"hi": 205 / 205, "lo": 205 / 205})
    assert found(spec, "SR_1", "Bkg1", "JES", "histosys")["hi_data"] == pytest.approx(nominal + half)
    # the difference up is doubled in SR_2 before it is made symmetric
    shape = found(spec, "SR_2", "Bkg1", "JES", "histosys")["hi_data"]
    twice = nominal + (2 * (up - nominal) - (down - nominal)) / 2
    assert shape == pytest.approx(twice * 205 / twice.sum())


def test_symmetric_templates() -> None:
    nominal, up, down = np.array([10.0, 10.0, 0.0]), np.array([13.0, 8.0, 1.0]), np.array([9.0, 16.0, 0.0])
    assert [list(part) for part in one_sided(nominal, up, down)] == [[11.0, 4.0, 0.0], [9.0, 16.0, 0.0]]
    assert [list(part) for part in two_sided(nominal, up, down)] == [[12.0, 6.0, 0.0], [8.0, 14.0, 0.0]]
    assert [list(part) for part in mean_size(nominal, up, down)] == [[12.0, 14.0, 0.0], [8.0, 6.0, 0.0]]
    assert [list(part) for part in largest(nominal, up, down)] == [[13.0, 16.0, 0.0], [7.0, 4.0, 0.0]]


def test_smoothing_by_joined_bins() -> None:
    nominal = np.array([400.0, 380, 350, 300, 260, 200, 150, 100, 60, 30, 12, 5])
    errors = np.sqrt(nominal)
    random = np.random.default_rng(2)
    slope = 1.0 + np.linspace(-0.1, 0.1, 12)
    noisy = nominal * (slope + random.normal(0.0, 0.08, 12))
    smooth = smooth_variations(nominal, errors, noisy, 4)
    assert smooth.sum() == pytest.approx(noisy.sum())
    assert np.abs(smooth / nominal - slope).max() < np.abs(noisy / nominal - slope).max()
    # a constant ratio stays, few bins are only joined, one bin is left alone
    assert smooth_variations(nominal, errors, 1.2 * nominal, 4) == pytest.approx(1.2 * nominal)
    assert smooth_variations(nominal[:2], errors[:2] / 20, np.array([440.0, 342.0]), 4) == pytest.approx([440.0, 342.0])
    assert smooth_variations(nominal[:1], errors[:1], np.array([500.0]), 4) == pytest.approx([500.0])
    # two bins with large errors: one group with the ratio of the sums
    joined = smooth_variations(np.array([10.0, 30.0]), np.array([3.0, 5.0]), np.array([14.0, 30.0]), 4)
    assert joined == pytest.approx(np.array([11.0, 33.0]))
    # bins with small errors are not joined: 353QH, twice, two times on the ratio, then the old sum
    few, shift = np.array([100.0, 100, 100, 100, 100, 100]), np.array([1.0, 4.0, 2.0, 5.0, 6.0, 7.0])
    ratio = smooth_353qh_twice(smooth_353qh_twice(100 + shift / 100)) - 100
    wanted = few * (1 + ratio)
    assert smooth_variations(few, np.full(6, 0.1), few + shift, 9) == pytest.approx(wanted * 625 / wanted.sum())


def test_pruning_threshold_constraint_and_rebinning(folder: Path) -> None:
    job = "  SystPruningNorm: 0.03\n  SystPruningShape: 0.03\n  MCstatThreshold: 0.05\n  MCstatConstraint: GAUSSIAN\n"
    text = EXAMPLE.replace("  DebugLevel: 2\n", job).replace("  Smoothing: 40\n", "")
    spec = read_spec(written(text, folder))
    assert found(spec, "SR_1", "Bkg1", "JES", "normsys") is None  # 2.4 %
    assert found(spec, "SR_1", "Bkg1", "JES", "histosys") is not None
    assert found(spec, "SR_1", "Signal", "JES", "histosys") is not None  # 8 % in the first bin
    settings = {p["name"]: p for p in spec["measurements"][0]["config"]["parameters"]}
    assert settings["staterror_SR_1"] == {"name": "staterror_SR_1", "threshold": 0.05}
    joined = EXAMPLE.replace('  Type: SIGNAL\n  HistoName: "HTj"\n', '  Type: SIGNAL\n  HistoName: "HTj"\n  Rebin: 2\n')
    spec = read_spec(written(joined, folder))
    assert spec["channels"][1]["samples"][0]["data"] == [175.0, 30.0]
    assert spec["observations"][1]["data"] == [222.0, 97.0]
    edges = joined.replace("Rebin: 2", "Binning: 0,100,400")
    assert read_spec(written(edges, folder))["channels"][1]["samples"][0]["data"] == [100.0, 105.0]


def test_blocks_that_share_lines_and_other_settings(folder: Path) -> None:
    more = """
Systematic: "XA";"XB"
  Type: OVERALL
  OverallUp: 0.3;0.4
  OverallDown: -0.3
  NuisanceParameter: "pA";"pB"
  Exclude: Bkg2
  ExcludeRegionSample: SR_1:Signal

NormFactor: "k"
  Samples: Bkg*
  Regions: SR_2
  Nominal: 1.5
  Min: 0
  Max: 5
  Constant: TRUE
"""
    scaled = EXAMPLE.replace('  HistoFile: "bkg2"\n', '  HistoFile: "bkg2"\n  LumiScale: 2\n  UseMCstat: FALSE\n')
    spec = read_spec(written(scaled + more, folder))
    assert found(spec, "SR_1", "Bkg1", "pB", "normsys") == {"hi": 1.4, "lo": 0.7}
    assert found(spec, "SR_1", "Signal", "pA", "normsys") is None
    assert found(spec, "SR_2", "Signal", "pA", "normsys") == {"hi": 1.3, "lo": 0.7}
    assert found(spec, "SR_2", "Bkg2", "pA", "normsys") is None
    bkg2 = spec["channels"][1]["samples"][1]
    assert bkg2["data"] == [20.0, 60.0, 100.0, 30.0]
    assert [m["type"] for m in bkg2["modifiers"]] == ["normfactor", "normsys"]
    settings = {p["name"]: p for p in spec["measurements"][0]["config"]["parameters"]}
    assert settings["k"] == {"name": "k", "inits": [1.5], "bounds": [[0.0, 5.0]], "fixed": True}


def test_trees(tmp_path: Path) -> None:
    """NTUP: selections and weights of job, region, sample and systematic, with the overflow in the last bin."""
    random = np.random.default_rng(4)
    for name, n in {"data": 300, "sig": 200, "bkg": 900}.items():
        branches = {"x": random.exponential(20.0, n), "w": random.uniform(0.5, 1.5, n), "n": random.integers(0, 4, n)}
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file.mktree("t", {k: v.dtype for k, v in branches.items()})
            file["t"].extend(branches)
        if name == "bkg":
            bkg = branches
    text = """Job: "trees"
  POI: mu
  ReadFrom: NTUP
  NtuplePath: "."
  NtupleName: t
  MCweight: "w"
  Selection: "n > 0"
  Lumi: 2

Region: "SR"
  Type: SIGNAL
  Variable: "x/10",4,0,6
  Selection: "x > 5 && n < 3"

Sample: "data"
  Type: DATA
  NtupleFile: data

Sample: "sig"
  Type: SIGNAL
  NormFactor: mu,1,0,10
  NtupleFile: sig

Sample: "bkg"
  NtupleFile: bkg
  MCweight: "0.5"

Systematic: "up"
  WeightSufUp: "1 + x / 100"
  Samples: bkg
"""
    spec = read_spec(written(text, tmp_path))
    taken = (bkg["n"] > 0) & (bkg["n"] < 3) & (bkg["x"] > 5)
    edges = [0.0, 1.5, 3.0, 4.5, 600.0]  # the last bin takes the overflow
    wanted = np.histogram(bkg["x"][taken] / 10, edges, weights=bkg["w"][taken])[0]
    sample = spec["channels"][0]["samples"][1]
    assert sample["data"] == pytest.approx(wanted)  # 2 times 0.5
    error = np.sqrt(np.histogram(bkg["x"][taken] / 10, edges, weights=bkg["w"][taken] ** 2)[0])
    assert sample["modifiers"][0]["data"] == pytest.approx(error)
    varied = np.histogram(bkg["x"][taken] / 10, edges, weights=(bkg["w"] * (1 + bkg["x"] / 100))[taken])[0]
    high = varied.sum() / wanted.sum()
    assert found(spec, "SR", "bkg", "up", "normsys") == pytest.approx({"hi": high, "lo": 1.0})
    assert found(spec, "SR", "bkg", "up", "histosys")["hi_data"] == pytest.approx(varied / high)


def test_empty_bins_of_backgrounds(folder: Path) -> None:
    with uproot.update(folder / "inputs" / "Histo" / "bkg2.root") as file:
        filled = hist.Hist.new.Reg(4, 0, 400).Weight()
        filled.view().value, filled.view().variance = [10.0, -1.0, 50.0, 0.0], [4.0, 1.0, 9.0, 0.0]
        file["HTj"] = filled
    spec = read_spec(written(EXAMPLE, folder))
    sample = spec["channels"][0]["samples"][1]
    assert sum(sample["data"]) == pytest.approx(59.0)
    assert sample["data"] == pytest.approx(np.array([10.0, 1e-6, 50.0, 1e-6]) * 59.0 / 60.000002)
    assert sample["modifiers"][0]["data"] == pytest.approx([2.0, 1.0, 3.0, 2.0])  # the smallest of the filled bins


POLARISED = """
NormFactor: "right"
  Expression: "(1.+Pmag*cos(theta))/2.":"Pmag[0.9,0,1],theta[0.5,0,3.14]"
  Samples: Bkg1

NormFactor: "left"
  Expression: (1.-Pmag*cos(theta))/2.:Pmag[0.9,0,1],theta[0.5,0,3.14]
  Samples: Bkg2
"""


def test_factors_that_are_formulas_of_others(folder: Path) -> None:
    """The example of its README: two samples share two parameters, whose start and range are those of the lists."""
    model = workspace.read(written(EXAMPLE + POLARISED, folder))
    values = {"Pmag": 0.7, "theta": 1.1, "SigXsecOverSM": 0.0}
    plain = workspace.read(written(EXAMPLE, folder)).expected_by_sample({"SigXsecOverSM": 0.0})
    found = model.expected_by_sample(values)
    for sample, sign in (("Bkg1", 1), ("Bkg2", -1)):
        share = (1 + sign * 0.7 * np.cos(1.1)) / 2
        np.testing.assert_allclose(found["SR_1"][sample], share * plain["SR_1"][sample], rtol=1e-12)
    settings = {p.name: p for p in model.parameters}
    assert "left" not in settings and "right" not in settings
    assert (settings["theta"].init, settings["theta"].low, settings["theta"].high) == (0.5, 0.0, 3.14)


MADE = """
Sample: "Other"
  Type: GHOST
  HistoFile: "bkg2"
  UseSystematics: TRUE

Sample: "Sum"
  Type: SIGNAL
  HistoFile: "bkg1"
  {how}

Systematic: "own"
  Type: HISTO
  HistoNameSufUp: "_jesUp"
  HistoNameSufDown: "_jesDown"
  Samples: Sum

Systematic: "theirs"
  Type: OVERALL
  OverallUp: 0.2
  OverallDown: -0.1
  Samples: Other
"""


@pytest.mark.parametrize(
    ("how", "nominal", "own", "theirs", "variance"),
    [
        ("AddSample: Other", lambda a, b: a + b, lambda a, b: a + b, lambda a, b, t: a + t, lambda a, b: a + b),
        ("AddSamples: Other\n  AddSample: Bkg1", lambda a, b: a + b, lambda a, b: a + b, lambda a, b, t: a + t,
         lambda a, b: a + b),
        ("SubtractSamples: Other", lambda a, b: a - b, lambda a, b: a - b, lambda a, b, t: a - t, lambda a, b: a + b),
        ("MultiplyBy: Other", lambda a, b: a * b, lambda a, b: a * b, lambda a, b, t: a * t,
         lambda a, b: a * b**2 + b * a**2),
        ("DivideBy: Other", lambda a, b: a / b, lambda a, b: a / b, lambda a, b, t: 2 * a / b - a / b**2 * t,
         lambda a, b: a / b**2 + a**2 / b**3),
    ],
)  # fmt: skip
def test_sums_and_products_of_samples(
    how: str, nominal: Any, own: Any, theirs: Any, variance: Any, folder: Path
) -> None:
    """A systematic of the sample itself goes through; one that only the other has is inherited as histograms."""
    with uproot.update(folder / "inputs" / "Histo" / "bkg2.root") as file:  # so small that differences stay positive
        filled = hist.Hist.new.Reg(4, 0, 400).Weight()
        filled.view().value, filled.view().variance = [1.0, 3.0, 5.0, 1.5], np.array([1.0, 3.0, 5.0, 1.5]) / 25
        file["HTj"] = filled
    text = EXAMPLE + MADE.format(how=how)
    spec = read_spec(written(text, folder))
    a, up = (np.array(YIELDS["bkg1"][key]) for key in ("HTj", "HTj_jesUp"))
    b = np.array([1.0, 3.0, 5.0, 1.5])
    sample = next(s for s in spec["channels"][0]["samples"] if s["name"] == "Sum")
    assert sample["data"] == pytest.approx(nominal(a, b))
    total = sum(sample["data"])
    assert found(spec, "SR_1", "Sum", "own", "normsys")["hi"] == pytest.approx(own(up, b).sum() / total)
    varied = theirs(a, b, 1.2 * b)
    assert found(spec, "SR_1", "Sum", "theirs", "normsys")["hi"] == pytest.approx(varied.sum() / total)
    shape = found(spec, "SR_1", "Sum", "theirs", "histosys")["hi_data"]
    assert shape == pytest.approx(varied * total / varied.sum())
    error = found(spec, "SR_1", "Sum", "staterror_SR_1", "staterror")
    assert error == pytest.approx(np.sqrt(variance(a, b) / 25))
    assert "Other" not in [s["name"] for s in spec["channels"][0]["samples"]]


def test_normalised_to_another_sample_and_other_samples_as_variations(folder: Path) -> None:
    more = """
Sample: "up"
  Type: GHOST
  HistoFile: "bkg1"
  HistoName: "HTj_jesUp"

Sample: "Scaled"
  HistoFile: "sig"
  NormToSample: Bkg2
  UseMCstat: FALSE

Systematic: "model"
  SampleUp: up
  ReferenceSample: Bkg1
  Samples: Scaled
  NuisanceParameter: "other"
"""
    spec = read_spec(written(EXAMPLE + more, folder))
    sample = next(s for s in spec["channels"][0]["samples"] if s["name"] == "Scaled")
    nominal = np.array(YIELDS["sig"]["HTj"]) * 105 / 5.2
    assert sample["data"] == pytest.approx(nominal)
    ratio = np.array(YIELDS["bkg1"]["HTj_jesUp"]) / np.array(YIELDS["bkg1"]["HTj"])
    high = (nominal * ratio).sum() / nominal.sum()
    assert found(spec, "SR_1", "Scaled", "other", "normsys") == pytest.approx({"hi": high, "lo": 1.0})
    assert found(spec, "SR_1", "Scaled", "other", "histosys")["hi_data"] == pytest.approx(nominal * ratio / high)


def test_variations_of_a_reference_sample(folder: Path) -> None:
    """The relative change of each bin is carried over, and that of the sum is the reference's."""
    text = EXAMPLE.replace("  Smoothing: 40\n", "  ReferenceSample: Bkg1\n").replace(
        "Samples: Bkg1,Signal", "Samples: Bkg2"
    )
    text = text.replace('  HistoNameSufUp: "_jesUp"', '  HistoFileUp: "bkg1"\n  HistoNameSufUp: "_jesUp"')
    spec = read_spec(written(text, folder))
    nominal, up, other = (
        np.array(v) for v in (YIELDS["bkg1"]["HTj"], YIELDS["bkg1"]["HTj_jesUp"], YIELDS["bkg2"]["HTj"])
    )
    assert found(spec, "SR_1", "Bkg2", "JES", "normsys")["hi"] == pytest.approx(up.sum() / nominal.sum())
    carried = up / nominal * other
    shape = found(spec, "SR_1", "Bkg2", "JES", "histosys")["hi_data"]
    assert shape == pytest.approx(carried * other.sum() / carried.sum())


def test_own_statistical_errors_and_parameters_by_region(folder: Path) -> None:
    """SeparateGammas: a Poisson shapesys instead of the common errors; Decorrelate: a parameter a region."""
    text = replaced('  HistoFile: "bkg2"\n', '  HistoFile: "bkg2"\n  SeparateGammas: True\n')
    text = text.replace("  Category: Instrumental\n", "  Decorrelate: REGION\n  Category: Instrumental\n")
    text = text.replace("  OverallUp: 0.20\n", "  OverallUp: 0.20\n  Decorrelate: SAMPLE\n")
    spec = read_spec(written(text, folder))
    assert found(spec, "SR_1", "Bkg2", "staterror_SR_1", "staterror") is None
    errors = found(spec, "SR_1", "Bkg2", "shape_stat_Bkg2_SR_1", "shapesys")
    assert errors == pytest.approx(np.sqrt(np.array(YIELDS["bkg2"]["HTj"]) / 25))
    assert found(spec, "SR_2", "Signal", "JES_SR_2", "normsys")["hi"] == pytest.approx(1.01346, abs=5e-6)
    assert found(spec, "SR_2", "Bkg2", "Bkg2Xsec_Bkg2", "normsys") == {"hi": 1.2, "lo": 0.8}
    assert spec["measurements"][0]["config"]["groups"]["Instrumental"] == ["JES_SR_1", "JES_SR_2"]


def test_large_systematics_are_removed_and_pruning_follows_a_sample(folder: Path) -> None:
    text = replaced("  DebugLevel: 2\n", "  SystLarge: 0.15\n  SystPruningNorm: 0.02\n")
    spec = read_spec(written(text, folder))
    assert found(spec, "SR_1", "Bkg2", "Bkg2Xsec", "normsys") is None
    assert found(spec, "SR_1", "Bkg1", "Bkg1Xsec", "normsys") is not None
    assert found(spec, "SR_1", "Signal", "JES", "normsys") is None  # 1.3 %
    assert found(spec, "SR_1", "Bkg1", "JES", "normsys") is not None  # 2.4 %
    text = text.replace("  Smoothing: 40\n", "  Smoothing: 40\n  ReferencePruning: Bkg1\n")
    assert found(read_spec(written(text, folder)), "SR_1", "Signal", "JES", "normsys") is not None
    kept = text.replace("  OverallUp: 0.20\n", "  OverallUp: 0.20\n  NoPruning: TRUE\n")
    assert found(read_spec(written(kept, folder)), "SR_1", "Bkg2", "Bkg2Xsec", "normsys") == {"hi": 1.2, "lo": 0.8}


MORPHED = """
NormFactor: "width"
  Nominal: 1.32
  Min: 0.7
  Max: 2.0
  Samples: none
"""


def morphing(folder: Path) -> Path:
    """Three templates at .7, 1.5 and 2, each block of which has its own name."""
    with uproot.update(folder / "inputs" / "Histo" / "sig.root") as file:
        for i, values in enumerate(([10.0, 20, 30, 5], [12.0, 18, 28, 8], [15.0, 15, 25, 12])):
            filled = hist.Hist.new.Reg(4, 0, 400).Weight()
            filled.view().value, filled.view().variance = values, np.array(values) / 25.0
            file[f"w{i}"] = filled
    samples = "".join(
        f'\nSample: "T{i}"\n  Type: SIGNAL\n  HistoFile: sig\n  HistoName: w{i}\n  Morphing: "width",{value}\n'
        for i, value in enumerate((0.7, 1.5, 2.0))
    )
    return written(EXAMPLE.replace('POI: "SigXsecOverSM"', 'POI: "width"') + MORPHED + samples, folder)


def test_templates_at_values_of_a_parameter(folder: Path) -> None:
    """Piecewise linear between the templates, which have 1.32 as .775 of the one at 1.5 and .225 of that at .7."""
    model = workspace.read(morphing(folder))
    setting = next(p for p in model.parameters if p.name == "width")
    assert (setting.init, setting.low, setting.high) == (1.32, 0.7, 2.0)
    weights = {0.7: (1, 0, 0), 1.32: (0.225, 0.775, 0), 1.5: (0, 1, 0), 1.6: (0, 0.8, 0.2), 2.0: (0, 0, 1)}
    templates = ([10.0, 20, 30, 5], [12.0, 18, 28, 8], [15.0, 15, 25, 12])
    for value, shares in weights.items():
        by_sample = model.expected_by_sample({"width": value})["SR_2"]
        for i, share in enumerate(shares):
            np.testing.assert_allclose(by_sample[f"T{i}"], share * np.array(templates[i]), atol=1e-12)
    found = fit(model)
    assert found.valid and 0.7 <= found.values["width"] <= 2.0


@pytest.mark.parametrize(
    ("old", "new"),
    [("Max: 2.0", "Max: 3.0"), ("Nominal: 1.32", "Nominal: 0.5"), ("Min: 0.7", "Min: 0.6")],
)
def test_nothing_is_known_beyond_the_templates(old: str, new: str, folder: Path) -> None:
    path = morphing(folder)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=r"'width': Min, Nominal and Max must be .* between the templates, 0.7 and 2"):
        read_spec(path)


def test_the_same_names_for_other_regions(folder: Path) -> None:
    """Data and systematics may be written once a region, with one name."""
    once = EXAMPLE[EXAMPLE.index('Sample: "Data"') : EXAMPLE.index('Sample: "Bkg1"')]
    twice = once.rstrip() + "\n  Regions: SR_1,VR\n\n" + once.rstrip() + "\n  Regions: SR_2\n\n"
    text = EXAMPLE.replace(once, twice)
    more = EXAMPLE[EXAMPLE.index('Systematic: "Bkg1Xsec"') : EXAMPLE.index('Systematic: "Bkg2Xsec"')]
    second = more.replace("SR_1,VR", "SR_2").replace("0.10", "0.30")
    spec = read_spec(written(text + "\n" + second, folder))
    assert [o["data"] for o in spec["observations"]] == [YIELDS["data"]["HTj"]] * 2
    assert found(spec, "SR_1", "Bkg1", "Bkg1Xsec", "normsys") == {"hi": 1.1, "lo": 0.9}
    assert found(spec, "SR_2", "Bkg1", "Bkg1Xsec", "normsys") == {"hi": 1.3, "lo": 0.7}
    with pytest.raises(InputError, match="'Bkg1Xsec' is there twice for sample 'Bkg1' in region 'SR_1'"):
        read_spec(written(EXAMPLE + "\n" + more, folder))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("1-SigXsecOverSM", "expected FORMULA:NAME"),
        ("1-mu:nu[1,0,2]", "it names mu"),
        ("1-mu:mu[1,2,0]", "starts outside its range"),
        ("1-mu:mu[a,0,2]", "cannot read the dependent"),
        ("1-half:half[1,0,2]", "depends on itself"),
        ("1-(mu:mu[1,0,2]", ""),
        ("__import__('os').system('x'):mu[1,0,2]", ""),
    ],
)
def test_faulty_expressions_are_told_by_line(expression: str, message: str, folder: Path) -> None:
    text = EXAMPLE + f'\nNormFactor: "half"\n  Samples: Bkg1\n  Expression: {expression}\n'
    with pytest.raises(InputError, match=rf"line \d+ .*'half': Expression: .*{message}"):
        read_spec(written(text, folder))


@pytest.mark.parametrize("strength", [None, 0.0, 2.5])
def test_a_blind_fit_has_expected_data(strength: float | None, folder: Path) -> None:
    at = "" if strength is None else f"  POIAsimov: {strength}\n"
    text = replaced("  FitRegion: CRSR\n", f"  FitBlind: TRUE\n{at}") + '\nLimit: "l"\n  LimitBlind: TRUE\n'
    text = text.replace("  Type: data\n", "  Type: GHOST\n")
    with pytest.warns(InputWarning, match="FitBlind is TRUE in line 12 .* SigXsecOverSM = "):
        spec = read_spec(written(text, folder))
    open_spec = read_spec(written(EXAMPLE, folder))
    assert spec["channels"] == open_spec["channels"]
    model = workspace.read(spec)
    signal = 1.0 if strength is None else strength
    x = model.inits.copy()
    x[model.index("SigXsecOverSM")] = signal
    assert model.observed is not None
    np.testing.assert_allclose(model.observed, model.expected(x), rtol=1e-12)
    assert fit(model).values["SigXsecOverSM"] == pytest.approx(signal, abs=1e-4)


def replaced(old: str, new: str) -> str:
    assert old in EXAMPLE
    return EXAMPLE.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (replaced("  DebugLevel: 2\n", "  Frobnicate: 2\n"), "line 7 .*the setting 'Frobnicate' is not read"),
        (replaced("  FitRegion: CRSR\n", "  FitRegion: CRONLY\n"), "line 12 .*read as CRSR only.*prune -c"),
        (replaced("  FitRegion: CRSR\n", "  FitBlind: MAYBE\n"), "FitBlind must be TRUE or FALSE"),
        (replaced("  FitRegion: CRSR\n", "  LimitBlind: TRUE\n"), "the setting 'LimitBlind' is not read"),
        (EXAMPLE + '\nLimit: "l"\n  LimitBlind: TRUE\n', "LimitBlind is read as FALSE only.*--asimov"),
        (replaced("  FillColor: 632\n", "  MCstatScale: 2\n"), "Sample 'Signal': the setting 'MCstatScale'"),
        (replaced("  FillColor: 632\n", "  AddSample: Bkg9\n"), "AddSample names the sample 'Bkg9', which does not"),
        (replaced("  FillColor: 632\n", "  Morphing: m,1\n"), "Morphing needs templates at two values of 'm'"),
        (replaced("  FillColor: 632\n", "  Morphing: m\n"), "expected Morphing: PARAMETER,VALUE"),
        (replaced("  FitRegion: CRSR\n", "  TemplateInterpolationOption: SQUAREROOT\n"), "is read as LINEAR only"),
        (replaced("  Smoothing: 40\n", "  ReferencePruning: Bkg2\n"), "ReferencePruning names 'Bkg2', which does not"),
        (replaced('Systematic: "Bkg2Xsec"', 'Unfolding: "x"'), "unknown block 'Unfolding'"),
        (replaced("  Smoothing: 40\n", "  Smoothing 40\n"), "expected 'Key: value', got 'Smoothing 40'"),
        (replaced("  Smoothing: 40\n", "  Smoothing: much\n"), "Smoothing must be a number, got 'much'"),
        (replaced("ONESIDED", "ODD"), "Symmetrisation is 'ODD'; expected NONE, ONESIDED"),
        (replaced("  Smoothing: 40\n", "  Smoothing: 40\n  Smoothing: 40\n"), "Smoothing is there twice"),
        (EXAMPLE + '\nSample: "Bkg1"\n  HistoFile: "bkg2"\n', "'Bkg1' is there twice in region 'SR_1'"),
        (replaced('Sample: "Bkg2"', 'Sample: "Data"'), "'Data' is there twice, with different types"),
        (replaced("Samples: Bkg1,Signal", "Samples: Bkg1,Signl"), "Samples names 'Signl'; there are Bkg1, Bkg2"),
        (replaced("  Regions: SR_1,VR\n", "  Regions: SR9\n"), "Regions names 'SR9'"),
        (replaced("  Type: data\n", "  Type: BACKGROUND\n"), "there are 0 samples of type DATA"),
        (replaced("ReadFrom: HIST", "ReadFrom: TEXT"), "ReadFrom is 'TEXT'; expected HIST, NTUP"),
        (replaced("inputs/Histo", "inputs/Hist"), "there is no file 'inputs/Hist/data.root' of region 'SR_1'"),
        (replaced('  HistoNameSufUp: "_jesUp"\n', '  HistoNameSufUp: "_jerUp"\n'), "'HTj_jerUp' of .* Up of"),
        (replaced('  HistoNameSufUp: "_jesUp"\n', ""), "it names no varied histos"),
        (replaced('"SigXsecOverSM",1,0,100', '"SigXsecOverSM",1'), "expected NormFactor: NAME,START,MIN,MAX"),
        (replaced('  HistoName: "HTj"\n  V', '  HistoName: "HTj"\n  Rebin: 3\n  V'), "4 bins do not make groups of 3"),
        (replaced('  HistoName: "HTj"\n  V', '  Binning: "AutoBin"\n  V'), "no HistoName"),
        (EXAMPLE + '\nJob: "two"\n', "has 2 blocks Job"),
        (EXAMPLE + '\nSystematic: "a";"b"\n  Type: OVERALL\n  OverallUp: 1;2;3\n', "3 values for 2 names"),
    ],
)  # fmt: skip
def test_a_faulty_configuration_is_one_sentence(text: str, message: str, folder: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_spec(written(text, folder))


def test_damaged_configurations_end_in_a_sentence(folder: Path) -> None:
    """Lines that are lost, doubled, joined, cut or swapped: a workspace or a refusal, never anything else."""
    random = np.random.default_rng(8)
    lines = EXAMPLE.splitlines()
    for _ in range(50):
        damaged = list(lines)
        for _ in range(random.integers(1, 4)):
            i, j = random.integers(0, len(damaged), 2)
            match random.integers(0, 5):
                case 0:
                    del damaged[i]
                case 1:
                    damaged.insert(j, damaged[i])
                case 2:
                    damaged[i] += damaged[j]
                case 3:
                    damaged[i] = damaged[i][: random.integers(0, len(damaged[i]) + 1)]
                case _:
                    damaged[i], damaged[j] = damaged[j], damaged[i]
        try:
            read_spec(written("\n".join(damaged), folder))
        except BumpfitError as error:
            assert len(str(error).splitlines()) == 1


def test_negative_bins_are_refused_or_repaired(folder: Path) -> None:
    with uproot.update(folder / "inputs" / "Histo" / "sig.root") as file:
        filled = hist.Hist.new.Reg(4, 0, 400).Weight()
        filled.view().value, filled.view().variance = [0.1, -0.1, 1.5, 3.1], [0.1] * 4
        file["HTj_jesUp"] = filled
    with pytest.raises(InputError, match="'JES' of sample 'Signal' in region 'SR_1': Up has a negative bin"):
        read_spec(written(EXAMPLE, folder))
    repaired = EXAMPLE.replace("  DebugLevel: 2\n", "  HistoChecks: NOCRASH\n").replace("  Smoothing: 40\n", "")
    spec = read_spec(written(repaired, folder))
    assert found(spec, "SR_1", "Signal", "JES", "normsys")["hi"] == pytest.approx(4.700001 / 5.2)
