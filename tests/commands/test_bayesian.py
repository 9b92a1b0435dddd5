"""`bumpfit posterior`."""

import json
from pathlib import Path

import pytest
from command_line import Run, refused

from bumpfit import inference
from bumpfit.workspace import build, read


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    signal = build.sample("signal", [3.0, 6.0], build.modifier("normfactor", "mu"))
    background = build.sample("background", [20.0, 9.0], build.modifier("normsys", "norm", (0.8, 1.25)))
    spec = build.workspace({"SR": [signal, background]}, {"SR": [25, 14]}, "mu", {"mu": {"bounds": [[0, 10]]}})
    (tmp_path / "w.json").write_text(json.dumps(spec))
    return tmp_path / "w.json"


@pytest.mark.slow
def test_the_posterior_is_that_of_inference(bumpfit: Run, workspace: Path) -> None:
    figure = workspace.parent / "p.png"
    found = bumpfit("posterior", workspace, "--samples", "64", "--level", "0.9", "--json", "--figure", figure).json
    direct = inference.posterior(read(workspace), samples=64, levels=(0.6827, 0.9))
    assert found["upper"] == direct.upper and found["median"] == direct.median and figure.exists()
    assert found["upper_error"] < 0.01 * found["upper"]
    narrow = bumpfit("posterior", workspace, "--range", "mu=0:1.5", "--prior", "jeffreys").out
    assert "jeffreys prior from 0 to 1.5" in narrow and "the posterior is cut at 1.5" in narrow


def test_wrong_use_is_one_sentence(bumpfit: Run, workspace: Path) -> None:
    assert "a power of two" in refused(bumpfit("posterior", workspace, "--samples", "100"))
    assert "between 0 and 1" in refused(bumpfit("posterior", workspace, "--level", "2"))
    assert "no parameter 'nu'" in refused(bumpfit("posterior", workspace, "--parameter", "nu"))
