"""Building, converting, combining and checking workspaces from the command line."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyhf
import pytest
from command_line import EXAMPLES, Run, refused
from typer.main import get_command

from bumpfit.cli import MODULES, application
from bumpfit.inference.counting import on_off_q0


def fitted(path: Path) -> tuple[float, float]:
    """Strength and -2 ln L of plain pyhf with default settings."""
    workspace = pyhf.Workspace(json.loads(path.read_text()))
    model = workspace.model()
    best, twice_nll = pyhf.infer.mle.fit(workspace.data(model), model, return_fitted_val=True)
    return float(best[model.config.poi_index]), float(twice_nll)


def test_build_spectrum(bumpfit: Run, scored: Path, tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    out, figure = tmp_path / "w.json", tmp_path / "w.png"
    built = bumpfit("build", scored, "-o", out, "--keep", "0.05", "--low", "2400", "--high", "3800", "--bins", "28",
                    "--figure", figure, "--json").json  # fmt: skip
    frame = tables["data"]
    assert built["n_selected"] == round(0.05 * len(frame)) == int(np.sum(frame["score"] >= built["cut"]))
    kept = frame[frame["score"] >= built["cut"]]
    assert built["counts"] == np.histogram(kept["m_JJ"], np.linspace(2400, 3800, 29))[0].tolist()
    assert built["mass"] == pytest.approx(3000, abs=90)
    # the scan has a free background, the workspace a constraint that is wide enough not to matter
    assert built["q0"][int(np.argmax(built["q0"]))] == pytest.approx(bumpfit("fit", out, "--json").json["q0"], abs=1e-3)
    ours = bumpfit("fit", out, "--json").json
    mu, twice_nll = fitted(out)
    assert ours["twice_nll"] == pytest.approx(twice_nll, abs=1e-3)
    assert ours["mu"] == pytest.approx(mu, abs=0.02)
    assert figure.exists()


def test_a_window_of_the_mass_is_blinded(bumpfit: Run, scored: Path, tmp_path: Path) -> None:
    """The same bins are left out of what `build` writes and `fit` builds, and both say so; figures have no points."""
    out, figure = tmp_path / "w.json", tmp_path / "w.png"
    options = ["--keep", "0.05", "--low", "2400", "--high", "3800", "--bins", "28", "--parameters", "3",
               "--mass", "3000", "--width", "120", "--blind-mass", "2910:3100"]  # fmt: skip
    built = bumpfit("build", scored, "-o", out, *options, "--figure", figure, "--json").json
    assert built["blinded"] == [2900, 3100] and figure.exists()
    assert [k for k, n in enumerate(built["counts"]) if n is None] == [10, 11, 12, 13]
    assert sum(n for n in built["counts"] if n is not None) == built["n_selected"]
    (channel,) = json.loads(out.read_text())["channels"]
    assert len(channel["samples"][0]["data"]) == 24
    direct = bumpfit("fit", scored, *options, "--json").json
    assert direct["mu"] == pytest.approx(bumpfit("fit", out, "--json").json["mu"], abs=1e-6)
    assert direct["built"]["blinded"] == [2900, 3100]
    assert "all bins from 2900 to 3100 GeV are left out" in bumpfit("fit", scored, *options).out
    assert "expected LOW:HIGH" in refused(bumpfit("build", scored, "-o", out, "--blind-mass", "2910-3100"))


def test_masses_from_another_table(bumpfit: Run, scored: Path, tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    scores, data = tmp_path / "scores.csv", tmp_path / "data.parquet"
    tables["data"][["score"]].sort_values("score").to_csv(scores)
    (tables["data"][["m_JJ"]] / 1000).to_parquet(data)
    options = ["--keep", "0.05", "--mass", "3000", "--parameters", "2", "--low", "2400", "--high", "3800"]
    out = [tmp_path / "a.json", tmp_path / "b.json"]
    assert bumpfit("build", scored, "-o", out[0], *options).code == 0
    assert bumpfit("build", scores, "-o", out[1], "--data", data, *options).code == 0
    a, b = (json.loads(path.read_text())["observations"] for path in out)
    assert a == b
    assert "no column of masses" in refused(bumpfit("build", scores, "-o", tmp_path / "c.json"))
    tables["data"][["m_JJ"]].iloc[1:].to_parquet(data)
    assert "1 of 4040 scored events are not in" in refused(bumpfit("build", scores, "-o", out[1], "--data", data))


def test_build_selection(bumpfit: Run, scored: Path, tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    background, out = tmp_path / "background.csv", tmp_path / "selection.json"
    tables["background"][["score"]].to_csv(background)
    built = bumpfit("build", scored, "--background", background, "-o", out, "--cut", "0.5", "--json").json
    n, m = (int(np.sum(tables[name]["score"] >= 0.5)) for name in ("data", "background"))
    tau = len(tables["background"]) / len(tables["data"])
    assert (built["n_selected"], built["background_selected"], built["tau"]) == (n, m, tau)
    assert bumpfit("fit", out, "--json").json["q0"] == pytest.approx(float(on_off_q0(n, m, tau)), abs=1e-6)
    assert fitted(out)[0] == pytest.approx(n - m / tau, abs=0.05)


def test_exclusive_categories_combine(bumpfit: Run, scored: Path, tmp_path: Path) -> None:
    common = ["--low", "2400", "--high", "3800", "--mass", "3000", "--parameters", "2", "--strength", "0:10"]
    tight, loose, both = (tmp_path / f"{name}.json" for name in ("tight", "loose", "both"))
    assert (
        bumpfit("build", scored, "-o", tight, "--cut", "0.6", "--signal", "20", *common, "--channel", "tight").code == 0
    )
    assert bumpfit("build", scored, "-o", loose, "--cut", "0.4", "--below", "0.6", "--signal", "12", *common).code == 0
    assert bumpfit("combine", tight, loose, "-o", both, "--rename", "2:spectrum=loose").code == 0
    assert {c["name"] for c in json.loads(both.read_text())["channels"]} == {"tight", "loose"}
    one, two, joint = (bumpfit("fit", path, "--json").json for path in (tight, loose, both))
    assert joint["mu_error"] < min(one["mu_error"], two["mu_error"])
    mu, twice_nll = fitted(both)
    assert joint["twice_nll"] == pytest.approx(twice_nll, abs=1e-3)
    assert joint["mu"] == pytest.approx(mu, abs=0.01)
    assert "is in more than one workspace" in refused(bumpfit("combine", loose, loose, "-o", tmp_path / "x.json"))
    assert "expected N:OLD=NEW" in refused(bumpfit("combine", tight, loose, "-o", both, "--rename", "3:a=b"))
    assert "cannot rename nothing" in refused(bumpfit("combine", tight, loose, "-o", both, "--rename", "1:nothing=b"))
    assert not (tmp_path / "x.json").exists()


def test_convert(bumpfit: Run, multi: Path, tmp_path: Path) -> None:
    hs3, back = tmp_path / "hs3.json", tmp_path / "back.json"
    assert bumpfit("convert", multi, hs3, "--to", "hs3").code == 0
    assert "distributions" in json.loads(hs3.read_text())
    assert bumpfit("convert", hs3, back, "--to", "histfactory").code == 0
    values = [bumpfit("fit", path, "--json").json for path in (multi, hs3, back)]
    for other in values[1:]:
        assert other["q0"] == pytest.approx(values[0]["q0"], abs=1e-6)
    assert fitted(back)[0] == pytest.approx(values[0]["mu"], abs=1e-3)
    assert "is an input" in refused(bumpfit("convert", multi, multi, "--to", "hs3"))


def test_patch(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    patches = {
        "metadata": {"name": "p", "description": "", "digests": {}, "labels": ["x"], "references": {}},
        "patches": [
            {
                "metadata": {"name": f"s{s}", "values": [s]},
                "patch": [{"op": "replace", "path": "/channels/0/samples/1/data/0", "value": s}],
            }
            for s in (2.0, 5.0)
        ],
        "version": "1.0.0",
    }
    patchset = tmp_path / "patchset.json"
    patchset.write_text(json.dumps(patches))
    found = bumpfit("fit", counting, "--patch", patchset, "--patch-name", "s5.0", "--json").json
    assert found["mu"] == pytest.approx(1.0, abs=1e-6)
    assert len(found["inputs"]) == 2
    assert "name one of" in refused(bumpfit("fit", counting, "--patch", patchset))


def test_patchset_of_another_workspace_is_refused(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    patches = {
        "metadata": {"digests": {"md5": "0" * 32}},
        "patches": [{"metadata": {"name": "a", "values": [1]}, "patch": []}],
        "version": "1.0.0",
    }
    patchset = tmp_path / "patchset.json"
    patchset.write_text(json.dumps(patches))
    assert "made for another workspace" in refused(bumpfit("fit", counting, "--patch", patchset, "--json"))
    done = bumpfit("fit", counting, "--patch", patchset, "--patch-any", "--json")
    assert done.json["mu"] == pytest.approx(5.0, abs=1e-6)


@pytest.mark.filterwarnings("always::bumpfit.errors.InputWarning")
def test_settings_without_a_parameter_are_told(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    spec = json.loads(counting.read_text())
    spec["measurements"][0]["config"]["parameters"].append({"name": "nope", "inits": [1.0]})
    path = tmp_path / "leftover.json"
    path.write_text(json.dumps(spec))
    for command in ("validate", "fit"):
        assert "sets nope, which no modifier has" in bumpfit(command, path).err
    assert bumpfit("validate", path, "--json").json["settings_without_parameter"] == ["nope"]


def test_validate(bumpfit: Run, multi: Path, tmp_path: Path) -> None:
    found = bumpfit("validate", multi, "--json").json
    model = pyhf.Workspace(json.loads(multi.read_text())).model()
    assert sum(c["bins"] for c in found["channels"]) == sum(model.config.channel_nbins.values())
    assert sum(map(len, found["parameters"].values())) == model.config.npars
    assert "the workspace is valid" in bumpfit("validate", multi).out
    spec = json.loads(multi.read_text())
    spec["channels"][1]["samples"][0]["modifiers"][0]["type"] = "morph"
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(spec))
    assert "unknown modifier type 'morph' at channels[1]" in refused(bumpfit("validate", wrong))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--keep", "2"], "expected 0 to 1"),
        (["--cut", "0.5", "--keep", "0.1"], "not both"),
        (["--cut", "7"], "no event of"),
        (["--mass", "3"], "lies outside the spectrum"),
        (["--low", "9000"], "has no event from 9000"),
        (["--low", "3000", "--high", "2000"], "low < high"),
        (["--parameters", "9"], "2 to 6 parameters"),
        (["--bins", "0"], "at least 1"),
        (["--signal", "0"], "above 0"),
        (["--strength", "3"], "expected LOW:HIGH"),
        (["--score-column", "s"], "has no column 's'"),
        (["--unit", "MeV"], "expected 'GeV' or 'TeV'"),
        (["--cut", "0.92"], "select more"),
    ],
)
def test_bad_builds(bumpfit: Run, scored: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    out = tmp_path / "w.json"
    assert words in refused(bumpfit("build", scored, "-o", out, *arguments))
    assert not out.exists()


def test_bad_tables(bumpfit: Run, tables: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    frame = tables["data"].copy()
    frame.loc[7, "score"] = np.nan
    path = tmp_path / "nan.csv"
    frame.to_csv(path)
    assert "not finite" in refused(bumpfit("build", path, "-o", tmp_path / "w.json"))
    path.write_text("")
    assert "is empty" in refused(bumpfit("build", path, "-o", tmp_path / "w.json"))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_examples(bumpfit: Run, path: Path) -> None:
    ours = bumpfit("fit", path, "--json").json
    mu, twice_nll = fitted(path)
    # pyhf's SLSQP stops a little above the minimum
    assert ours["twice_nll"] == pytest.approx(twice_nll, abs=2e-3)
    assert ours["twice_nll"] <= twice_nll + 1e-6
    assert ours["mu"] == pytest.approx(mu, abs=0.05 * ours["mu_error"])


def test_the_multi_channel_example_is_what_its_script_builds(multi: Path) -> None:
    assert multi.read_text() == (EXAMPLES / "multi_channel.json").read_text()


def test_help_starts_without_heavy_modules() -> None:
    code = (
        "import sys, bumpfit.cli; bumpfit.cli.application(); "
        "print(sorted({'numpy', 'scipy', 'pandas', 'numba', 'matplotlib', 'pyhf', 'iminuit'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_outline_lists_the_same_commands() -> None:
    outlined, whole = (get_command(application(outline=outline)).commands for outline in (True, False))
    for name, command in whole.items():
        assert outlined[name].get_short_help_str(200) == command.get_short_help_str(200)
        assert outlined[name].rich_help_panel == command.rich_help_panel
    assert set(outlined) == set(whole) and not outlined["fit"].params


def test_each_command_is_in_the_module_that_is_named_for_it() -> None:
    everything = {name for part in MODULES.values() for name in part.names}
    assert set(get_command(application()).commands) == everything
    for module, (_, names) in MODULES.items():
        for name in names:
            assert set(get_command(application(name)).commands) == set(names), module


@pytest.mark.parametrize(
    "command",
    ["build", "combine", "contour", "convert", "fit", "gof", "impacts", "limit", "scan", "toys", "validate"],
)
def test_every_help_has_an_example(bumpfit: Run, command: str) -> None:
    done = bumpfit(command, "--help")
    assert done.code == 0
    assert f"bumpfit {command} " in done.out


@pytest.mark.parametrize("word", ["NaN", "1e400", "-Infinity"])
def test_numbers_that_json_has_not_are_not_written(bumpfit: Run, counting: Path, tmp_path: Path, word: str) -> None:
    """A faulty workspace can be taken apart; what is left of it must not have null in place of the number."""
    faulty, out = tmp_path / "faulty.json", tmp_path / "out.json"
    faulty.write_text(counting.read_text().replace("4.0", word))
    patch = [{"op": "replace", "path": "/channels/0/samples/0/data/0", "value": 4.0}]
    head = {"name": "p", "description": "", "digests": {}, "labels": [], "references": {}}
    patches = [{"metadata": {"name": "bad", "values": []}, "patch": patch}]
    patchset = {"metadata": head, "patches": patches, "version": "1.0.0"}
    place = tmp_path / "patchset.json"
    place.write_text(json.dumps(patchset).replace("4.0", word))
    for line in (
        ("workspace", "sort", faulty), ("workspace", "rename", faulty, "-c", "bin=SR"),
        ("patchset", "apply", counting, place, "--name", "bad"),
    ):  # fmt: skip
        for target in (("-o", out), ()):
            sentence = refused(bumpfit(*line, *target))
            assert "samples[0] 'background' / data[0]; correct it" in sentence and not out.exists()
    assert bumpfit("workspace", "prune", faulty, "-s", "background", "-o", out).code == 0


def test_the_luminosity_keeps_its_name(bumpfit: Run, multi: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    spec = json.loads(multi.read_text())
    spec["channels"][0]["samples"][0]["modifiers"].append({"name": "lumi", "type": "lumi", "data": None})
    place = tmp_path / "lumi.json"
    place.write_text(json.dumps(spec))
    assert "cannot rename lumi" in refused(bumpfit("workspace", "rename", place, "-m", "lumi=L", "-o", out))
    assert not out.exists()
