"""`bumpfit discovery`."""

import json
from pathlib import Path

import pytest
from command_line import Run, refused

from bumpfit import inference
from bumpfit.toys import Toys
from bumpfit.workspace import build, read


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    channels = {
        c: [build.sample("signal", [s], build.modifier("normfactor", f"mu_{c}")), build.sample("background", [b])]
        for c, s, b in (("a", 6.0, 19.0), ("b", 4.0, 20.0))
    }
    (tmp_path / "w.json").write_text(json.dumps(build.workspace(channels, {"a": [29], "b": [27]}, "mu_a")))
    return tmp_path / "w.json"


def test_the_answer_is_that_of_inference(bumpfit: Run, workspace: Path) -> None:
    model, both = read(workspace), ("-p", "mu_a", "-p", "mu_b")
    found = bumpfit("discovery", workspace, *both, "--json").json
    direct = inference.joint_discovery(model, ["mu_a", "mu_b"])
    assert {name: found[name] for name in direct.to_dict()} == direct.to_dict()
    one = bumpfit("discovery", workspace, "--json").json
    assert one["p"] == inference.discovery(model).p and list(one["strengths"]) == ["mu_a"]
    toys = bumpfit("discovery", workspace, *both, "--toys", "40", "--seed", "3", "--workers", "1", "--json").json
    assert toys["p"] == inference.joint_discovery(model, ["mu_a", "mu_b"], law=Toys(40, seed=3)).p
    shown = bumpfit("discovery", workspace, *both).out
    assert "mu_b" in shown and "0.250, 0.500, 0.250" in shown


def test_wrong_use_is_one_sentence(bumpfit: Run, workspace: Path) -> None:
    assert "no parameter 'nu'" in refused(bumpfit("discovery", workspace, "-p", "nu"))
    assert "named twice" in refused(bumpfit("discovery", workspace, "-p", "mu_a", "-p", "mu_a"))
    assert "held fixed" in refused(bumpfit("discovery", workspace, "-p", "mu_a", "--fix", "mu_a=1"))
    assert "nothing above zero" in refused(bumpfit("discovery", workspace, "-p", "mu_a", "--range", "mu_a=-2:0"))
