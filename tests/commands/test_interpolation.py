"""`--interpolation` against pyhf's codes."""

import json
from pathlib import Path

import pyhf
import pytest
from command_line import Run, refused

from bumpfit.workspace import build

pytestmark = pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")  # pyhf asks for it


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    signal = build.sample("signal", [4.0, 9.0], build.modifier("normfactor", "mu"))
    background = build.sample(
        "background", [50.0, 40.0], build.modifier("normsys", "norm", (0.7, 1.6)),
        build.modifier("histosys", "shape", ([40.0, 43.0], [55.0, 39.0])),
    )  # fmt: skip
    spec = build.workspace({"SR": [signal, background]}, {"SR": [85, 61]}, "mu")
    (tmp_path / "w.json").write_text(json.dumps(spec))
    return tmp_path / "w.json"


@pytest.mark.parametrize(("norm", "shape"), [("4", "4p"), ("1", "4p"), ("code4", "0"), ("1", "code0")])
def test_codes_are_those_of_pyhf(bumpfit: Run, workspace: Path, norm: str, shape: str) -> None:
    found = bumpfit("fit", workspace, "--interpolation", f"normsys={norm}", "--interpolation", f"histosys={shape}",
                    "--json").json  # fmt: skip
    codes = {
        "normsys": {"interpcode": f"code{norm[-1]}"},
        "histosys": {"interpcode": f"code{shape.removeprefix('code')}"},
    }
    model = pyhf.Workspace(json.loads(workspace.read_text())).model(modifier_settings=codes)
    data = [85, 61, *model.config.auxdata]
    values = [found["values"][name] for name in model.config.par_names]
    assert found["twice_nll"] == pytest.approx(-2 * float(model.logpdf(values, data)[0]), abs=1e-9)


def test_what_cannot_be_read_or_written_is_told(bumpfit: Run, workspace: Path, tmp_path: Path) -> None:
    for text, message in {
        "lumi=1": "expected TYPE=CODE",
        "normsys": "expected TYPE=CODE",
        "normsys=7": "code7",
    }.items():
        assert message in refused(bumpfit("fit", workspace, "--interpolation", text))
    words = ("--to", "histfactory", "--interpolation", "normsys=1")
    assert "try format='hs3'" in refused(bumpfit("convert", workspace, tmp_path / "out.json", *words))


@pytest.mark.parametrize(
    "words",
    ["fit {w}", "scan {w} --points 3", "limit {w}", "impacts {w}", "gof {w}", "contour {w} mu norm --points 4",
     "posterior {w} --samples 2", "interval {w}", "coverage {w} --strengths 1 -n 5", "toys {w} -n 5", "validate {w}"],
)  # fmt: skip
def test_results_say_how_the_workspace_was_read(bumpfit: Run, workspace: Path, words: str) -> None:
    given = ["--interpolation", "normsys=1", "--poi", "mu"]
    found = bumpfit(*words.format(w=workspace).split(), *given, "--json").json
    assert found["options"]["interpolation"] == ["normsys=1"] and found["options"]["poi"] == "mu"
