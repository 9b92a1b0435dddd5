"""Configurations of other tools wherever a workspace is read."""

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import Run, refused

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


def test_yaml_that_is_none_is_told(bumpfit: Run, configuration: Path, tmp_path: Path) -> None:
    assert "belongs to a published spectrum" in refused(bumpfit("fit", configuration, "--family", "dijet"))
    table = tmp_path / "table.yaml"
    table.write_text("dependent_variables: []\n")
    assert "no table General (a published spectrum is for bumpfit fit)" in refused(bumpfit("limit", table))
    assert "there is no file" in refused(bumpfit("limit", tmp_path / "missing.yml"))
