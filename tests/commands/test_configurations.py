"""Configurations of other tools wherever a workspace is read."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Run, refused

from bumpfit.workspace import build

pytest.importorskip("yaml")

CABINETRY = """
General: {Measurement: m, POI: mu, InputPath: none, HistogramFolder: made}
Regions: [{Name: SR}]
Samples: [{Name: Data, Data: True}, {Name: sig}, {Name: bkg}]
NormFactors: [{Name: mu, Samples: sig, Nominal: 1, Bounds: [-5, 10]}]
Systematics:
  - {Name: xs, Type: Normalization, Samples: bkg, Up: {Normalization: 0.2}, Down: {Normalization: -0.2}}
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    for name, yields in {"Data": [55.0, 44.0], "sig": [2.0, 9.0], "bkg": [50.0, 30.0]}.items():
        np.savez(tmp_path / "made" / f"SR_{name}.npz", bins=[0.0, 1.0, 2.0], yields=yields, stdev=np.sqrt(yields))
    path = tmp_path / "config.yml"
    path.write_text(CABINETRY)
    return path


def test_a_cabinetry_configuration_is_a_workspace(bumpfit: Run, configuration: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    bumpfit("convert", configuration, copy, "--to", "histfactory")
    assert json.loads(copy.read_text())["channels"][0]["samples"][1]["data"] == [50.0, 30.0]
    of_copy, found = (bumpfit("fit", source, "--json").json for source in (copy, configuration))
    assert found["values"] == pytest.approx(of_copy["values"], abs=1e-9)
    limits = [bumpfit("limit", source, "--json").json["observed"] for source in (copy, configuration)]
    assert limits[0] == pytest.approx(limits[1], rel=1e-9)
    digests = {bumpfit("workspace", "digest", source).out.split()[0] for source in (copy, configuration)}
    assert len(digests) == 1
    assert "sig" in bumpfit("workspace", "inspect", configuration).out


TREX = """Job: "j"
  POI: mu
  HistoFile: inputs
  MCstatThreshold: NONE

Region: "SR"
  HistoNameSuff: "_SR"

Sample: "Data"
  Type: DATA
  HistoName: data

Sample: "sig"
  Type: SIGNAL
  NormFactor: mu,1,-5,10
  HistoName: sig

Sample: "bkg"
  HistoName: bkg

Systematic: "xs"
  Type: OVERALL
  OverallUp: 0.2
  OverallDown: -0.2
  Samples: bkg
"""


def test_a_trexfitter_configuration_is_a_workspace(bumpfit: Run, tmp_path: Path) -> None:
    uproot = pytest.importorskip("uproot")
    edges = np.array([0.0, 1.0, 2.0])
    with uproot.recreate(tmp_path / "inputs.root") as file:
        for name, yields in {"data": [55.0, 44.0], "sig": [2.0, 9.0], "bkg": [50.0, 30.0]}.items():
            file[f"{name}_SR"] = (np.array(yields), edges)
    path = tmp_path / "fit.config"
    path.write_text(TREX)
    sample = build.sample("sig", [2.0, 9.0], build.modifier("normfactor", "mu"))
    background = build.sample("bkg", [50.0, 30.0], build.modifier("normsys", "xs", (0.8, 1.2)))
    spec = build.workspace({"SR": [sample, background]}, {"SR": [55, 44]}, "mu", {"mu": {"bounds": [[-5, 10]]}})
    (tmp_path / "same.json").write_text(json.dumps(spec))
    found, same = (bumpfit("fit", tmp_path / name, "--json").json for name in ("fit.config", "same.json"))
    assert found["values"] == pytest.approx(same["values"], abs=1e-6)
    assert found["twice_nll"] == pytest.approx(same["twice_nll"], abs=1e-8)
    assert "bkg" in bumpfit("workspace", "inspect", path).out
    path.write_text(TREX.replace("  POI: mu\n", "  POI: mu\n  Blind: TRUE\n"))
    assert "line 3 of the TRExFitter configuration" in refused(bumpfit("limit", path))


def test_yaml_that_is_none_is_told(bumpfit: Run, configuration: Path, tmp_path: Path) -> None:
    assert "belongs to a published spectrum" in refused(bumpfit("fit", configuration, "--family", "dijet"))
    table = tmp_path / "table.yaml"
    table.write_text("dependent_variables: []\n")
    assert "no table General (a published spectrum is for bumpfit fit)" in refused(bumpfit("limit", table))
    assert "there is no file" in refused(bumpfit("limit", tmp_path / "missing.yml"))
