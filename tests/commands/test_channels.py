"""`bumpfit compatibility`."""

import json
from pathlib import Path

import pytest
from command_line import Run, refused

from bumpfit import inference
from bumpfit.workspace import build, read


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    channels = {
        name: [build.sample("signal", [s], build.modifier("normfactor", "mu")), build.sample("background", [b])]
        for name, s, b in (("SR", 6.0, 9.0), ("VR", 4.0, 20.0), ("CR", 2.0, 30.0))
    }
    spec = build.workspace(channels, {"SR": [19], "VR": [17], "CR": [35]}, "mu", {"mu": {"bounds": [[-4, 10]]}})
    (tmp_path / "w.json").write_text(json.dumps(spec))
    return tmp_path / "w.json"


def test_the_answer_is_that_of_inference(bumpfit: Run, workspace: Path) -> None:
    figure = workspace.parent / "c.png"
    found = bumpfit("compatibility", workspace, "--group", "low=[VC]R", "--json", "--figure", figure).json
    direct = inference.compatibility(read(workspace), groups={"low": ["VR", "CR"]})
    assert found["statistic"] == direct.statistic and found["p"] == direct.p and figure.exists()
    assert [row["channels"] for row in found["channels"]] == [["SR"], ["VR", "CR"]]
    toys = bumpfit("compatibility", workspace, "--toys", "40", "--seed", "3")
    assert "(toys)" in toys.out and "all channels" in toys.out


def test_wrong_use_is_one_sentence(bumpfit: Run, workspace: Path) -> None:
    assert "has no channel with 'mu'" in refused(bumpfit("compatibility", workspace, "--group", "x=XR"))
    assert "no parameter 'nu'" in refused(bumpfit("compatibility", workspace, "--parameter", "nu"))
    assert "cannot read --group" in refused(bumpfit("compatibility", workspace, "--group", "SR"))
