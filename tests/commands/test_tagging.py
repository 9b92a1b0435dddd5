import json
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import Run, refused
from sklearn.metrics import accuracy_score, roc_auc_score

from bumpfit.events import dataset as sets
from bumpfit.scoring import models

pytest.importorskip("awkward")

FEATURES = ("mass", "tau21")
LIKELIHOOD = ("--luminosity", 10, "--cross-section", "qcd=0.2", "--expected", "w=20")
QUICK = ("--set", "models=1", "--set", "iterations=20")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two classes with a flat table each; some events are light, some have no tau21."""
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("tables")
    tables = {
        "qcd": {"mass": rng.exponential(60, 900), "tau21": rng.beta(4, 3, 900)},
        "w": {"mass": rng.normal(80, 12, 700), "tau21": rng.beta(2, 5, 700)},
    }
    for name, columns in tables.items():
        columns["tau21"][::50] = np.nan
        pd.DataFrame(columns).to_parquet(folder / f"{name}.parquet")
    return {name: folder / f"{name}.parquet" for name in tables}


def make(bumpfit: Run, files: dict[str, Path], out: Path, *more: object) -> object:
    classes = [word for name, file in files.items() for word in ("--class", f"{name}={file}")]
    names = [word for name in FEATURES for word in ("--observable", name)]
    return bumpfit("dataset", *classes, *names, "--cut", "mass > 20", "-o", out, "--seed", 3, "--json", *more)


@pytest.fixture
def data(bumpfit: Run, files: dict[str, Path], tmp_path: Path) -> Path:
    done = make(bumpfit, files, tmp_path / "set.ds")
    assert done.code == 0, done.err  # type: ignore[attr-defined]
    return tmp_path / "set.ds"


def test_dataset(bumpfit: Run, files: dict[str, Path], tmp_path: Path) -> None:
    told = make(bumpfit, files, tmp_path / "a.ds", "--split", "0.5,0.3,0.2", "--cutflow").json  # type: ignore[attr-defined]
    made = sets.read(tmp_path / "a.ds")
    tables = {name: pd.read_parquet(file).query("mass > 20") for name, file in files.items()}
    whole = pd.concat(tables.values())
    np.testing.assert_allclose(made.samples, whole[list(FEATURES)].to_numpy("f4"))
    assert made.classes == ("qcd", "w") and told["counts"]["qcd"]["passed"] == len(tables["qcd"])
    for name in files:
        parts = [told["counts"][name][part] for part in ("train", "test", "validation")]
        np.testing.assert_allclose(np.array(parts) / len(tables[name]), [0.5, 0.3, 0.2], atol=0.002)
    assert told["missing"] == {"tau21": int(whole["tau21"].isna().sum())}
    assert told["cutflow"][0]["steps"][0]["events"] == len(tables["qcd"])
    shown = bumpfit("dataset", "--class", f"b={files['qcd']}", "--class", f"s={files['w']}", "--observable", "mass",
                    "-o", tmp_path / "b.ds", "--weight", "s=0.5")  # fmt: skip
    assert shown.code == 0 and "data set written to" in shown.out
    assert sets.read(tmp_path / "b.ds").weights[-1] == 0.5


def png_size(path: Path) -> tuple[int, int]:
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", path.read_bytes()[16:24])


def test_cut_flow_in_all_forms(bumpfit: Run, files: dict[str, Path], tmp_path: Path) -> None:
    """Scaled to cross-section x luminosity / N, as a table, JSON, HTML and figure; N-1 by hand."""
    more = ("--cut", "tau21 < 0.5", "--luminosity", 2, "--cross-section", "qcd=0.3", "--cross-section", "w=0.01",
            "--cutflow-figure", tmp_path / "flow.png", "--cutflow-html", tmp_path / "flow.html",
            "--figure", tmp_path / "seen.png")  # fmt: skip
    told = make(bumpfit, files, tmp_path / "a.ds", *more).json  # type: ignore[attr-defined]
    for name, sigma in (("qcd", 0.3), ("w", 0.01)):
        table = pd.read_parquet(files[name])
        heavy, narrow = table["mass"] > 20, table["tau21"] < 0.5
        flow = next(entry for entry in told["cutflow"] if entry["name"] == name)
        assert flow["weighted"] == pytest.approx(sigma * 2000)
        assert flow["steps"][1]["weighted"] == pytest.approx(sigma * 2000 * (heavy & narrow).mean())
        assert flow["steps"][0]["others"] == narrow.sum()
        assert flow["steps"][0]["alone"] == pytest.approx((heavy & narrow).sum() / narrow.sum())
    assert (tmp_path / "flow.html").read_text().count("<table") == 2
    assert min(png_size(tmp_path / "flow.png")) > 300 and min(png_size(tmp_path / "seen.png")) > 300
    classes = [word for name, file in files.items() for word in ("--class", f"{name}={file}")]
    shown = bumpfit("dataset", *classes, "--observable", "mass", "--cut", "mass > 20", "--cutflow",
                    "-o", tmp_path / "b.ds", "--weight", "w=0.5")  # fmt: skip
    assert "cut flow of qcd" in shown.out and "cut flow of w" in shown.out and "350 ±" in shown.out


def test_figures_of_a_score_and_of_a_likelihood(bumpfit: Run, data: Path, tmp_path: Path) -> None:
    pictures = [tmp_path / name for name in ("score.png", "template.png")]
    asked = ("--bootstrap", 20, *LIKELIHOOD, "--figure", pictures[0], "--template-figure", pictures[1])
    shown = bumpfit("train", data, "-m", tmp_path / "t.model", *QUICK, *asked)
    assert shown.code == 0 and "figure written to" in shown.out and "figure of the histogram" in shown.out
    assert all(min(png_size(picture)) > 500 for picture in pictures)
    for picture in pictures:
        picture.unlink()
    found = bumpfit("metrics", data, "--observable", "mass", *LIKELIHOOD, "--observed", data,
                    "--template-figure", pictures[1])  # fmt: skip
    assert found.code == 0 and min(png_size(pictures[1])) > 500
    wrong = bumpfit("metrics", data, "--observable", "mass", *LIKELIHOOD, "--figure", pictures[0])
    assert "--template-figure draws its histogram" in refused(wrong)
    assert "expected a name that ends in" in refused(bumpfit("train", data, *QUICK, "--figure", tmp_path / "x.doc"))


@pytest.mark.slow
def test_systematic_variations(
    bumpfit: Run, files: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jets 5 % heavier and lighter, events in their parts: yields by hand, a scale of the feature, and refusals."""
    varied = {}
    for side, factor in (("up", 1.05), ("down", 0.95)):
        moved = {}
        for name, file in files.items():
            moved[name] = tmp_path / f"{name}_{side}.parquet"
            table = pd.read_parquet(file)
            table.assign(mass=table["mass"] * factor).to_parquet(moved[name])
        varied[side] = tmp_path / f"{side}.ds"
        assert make(bumpfit, moved, varied[side], "--split-as", data).code == 0  # type: ignore[attr-defined]
    model, workspace = tmp_path / "t.model", tmp_path / "w.json"
    both = f"jes={varied['up']},{varied['down']}"
    told = bumpfit("train", data, "-m", model, *QUICK, "--bootstrap", 0, *LIKELIHOOD, "--variation", both,
                   "--scale", "tau21=0.1", "--workspace", workspace, "--json").json  # fmt: skip
    found = told["likelihood"]
    assert found["notes"] == [] and set(found["variations"]) == {"jes", "scale_tau21"}
    for side, factor in (("up", 1.05), ("down", 0.95)):
        for name, total in (("qcd", 0.2e4), ("w", 20)):
            mass = pd.read_parquet(files[name])["mass"]
            nominal = total * (mass > 20).mean() if name == "qcd" else total  # a cross-section; events after cuts
            wanted = nominal * (mass * factor > 20).sum() / (mass > 20).sum()
            assert sum(found["variations"]["jes"][name][side]) == pytest.approx(wanted)
            assert sum(found["variations"]["scale_tau21"][name][side]) == pytest.approx(nominal)
    kinds = {
        (m["name"], m["type"]) for m in json.loads(workspace.read_text())["channels"][0]["samples"][0]["modifiers"]
    }
    assert {("jes", "normsys"), ("jes", "histosys"), ("scale_tau21", "histosys")} <= kinds
    assert bumpfit("limit", workspace, "--json").json["expected"] == pytest.approx(found["limit"]["expected"])
    shown = bumpfit("metrics", data, "-m", model, "--bootstrap", 0, *LIKELIHOOD, "--variation", both, "--shape-only",
                    "--workspace", workspace, "--report", tmp_path / "page.html")  # fmt: skip
    page = (tmp_path / "page.html").read_text()
    assert shown.code == 0 and "--variation jes=up.ds,down.ds" in page and str(tmp_path) not in page
    assert "systematic uncertainty" in shown.out and "jes" in shown.out
    assert [len(entry["path"]) > 0 for entry in told["inputs"]] == [True] * 3
    for words, message in (
        (("--variation", f"jes={varied['up']},{varied['down']},x.ds"), "expected one file, or two"),
        (("--variation", both, "--variation", both), "is given twice"),
        (("--variation", f"mu={varied['up']}"), "cannot be called 'mu'"),
        (("--variation", "jes=nothing.ds"), "there is no file nothing.ds"),
        (("--scale", "pt=0.1"), "has no 'pt'"),
        (("--scale", "mass=1.5"), "between 0 and 1"),
    ):
        monkeypatch.chdir(tmp_path)
        assert message in refused(bumpfit("metrics", data, "-m", model, "--bootstrap", 0, *LIKELIHOOD, *words))


def test_what_may_be_a_mistake_is_told(bumpfit: Run, files: dict[str, Path], data: Path, tmp_path: Path) -> None:
    """Other cuts, a variation without effect, events outside of the edges, a file given twice."""
    loose = tmp_path / "loose.ds"
    twice = bumpfit("dataset", "--class", f"d={files['qcd']}", "--class", f"d={files['qcd']}", "--observable", "mass",
                    "-o", loose)  # fmt: skip
    assert twice.code == 0 and "is given 2 times: its events count as often" in twice.out
    told = bumpfit("metrics", data, "--observable", "mass", *LIKELIHOOD, "--edges", "50,100", "--observed", loose,
                   "--variation", f"same={data}", "--json").json["likelihood"]["notes"]  # fmt: skip
    test = sets.read(data).get("test").samples[:, 0]
    outside = int(((test < 50) | (test > 100)).sum())
    assert f"{outside} of {len(test)} events lie outside of the edges and count in the outermost bins" in told
    assert "the variation 'same' changes nothing" in told
    assert "the observed events passed other cuts (none) than the data set (mass > 20)" in told


def test_varied_events_that_trained_are_refused(
    bumpfit: Run, files: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    looser, model = tmp_path / "looser.ds", tmp_path / "t.model"
    classes = [word for name, file in files.items() for word in ("--class", f"{name}={file}")]
    same = (*classes, "--observable", "mass", "--observable", "tau21", "--cut", "mass > 15")
    assert bumpfit("train", data, "-m", model, *QUICK, "--bootstrap", 0).code == 0
    assert bumpfit("dataset", *same, "-o", looser, "--seed", 4).code == 0
    ask = ("metrics", data, "-m", model, "--bootstrap", 0, *LIKELIHOOD, "--variation", f"cut={looser}")
    assert "are training events of the data set; make it with bumpfit dataset --split-as" in refused(bumpfit(*ask))
    assert bumpfit("dataset", *same, "-o", looser, "--split-as", data).code == 0
    assert bumpfit(*ask).code == 0
    assert "--split or --split-as" in refused(
        bumpfit("dataset", *same, "-o", looser, "--split-as", data, "--split", "0.5,0.5")
    )


def test_events_that_trained_are_no_test(bumpfit: Run, files: dict[str, Path], data: Path, tmp_path: Path) -> None:
    """The same events split another way, or not at all: training events among those that a model is tested on."""
    other, model = tmp_path / "other.ds", tmp_path / "t.model"
    assert bumpfit("train", data, "-m", model, *QUICK, "--bootstrap", 0).code == 0
    assert make(bumpfit, files, other, "--seed", 4).code == 0  # type: ignore[attr-defined]
    mine, theirs = sets.read(data).get("train"), sets.read(other).get("test")
    seen = [len(set(mine.index[mine.targets == k]) & set(theirs.index[theirs.targets == k])) for k in (0, 1)]  # type: ignore[index]
    assert min(seen) > 50 and models.read(model).trained_on(theirs) == {"qcd": seen[0], "w": seen[1]}
    ask = ("metrics", other, "-m", model, "--bootstrap", 0)
    told = refused(bumpfit(*ask))
    assert f"{seen[0]} events of 'qcd', {seen[1]} events of 'w' in the test part trained the model" in told
    everything = bumpfit(*ask, "--part", "all")
    assert everything.code == 0 and f"{(mine.targets == 1).sum()} events of 'w' trained the model" in everything.out
    looked = bumpfit("metrics", data, "-m", model, "--bootstrap", 0, *LIKELIHOOD, "--observed", data)
    assert f"{(mine.targets == 0).sum()} observed events ('qcd') trained the model" in looked.out
    assert make(bumpfit, files, other, "--split-as", data).code == 0  # type: ignore[attr-defined]
    assert bumpfit(*ask).code == 0


def test_train_then_metrics(bumpfit: Run, data: Path, tmp_path: Path) -> None:
    model = tmp_path / "trees.model"
    told = bumpfit("train", data, "-m", model, *QUICK, "--bootstrap", 20, "--json").json
    test = sets.read(data).get("test")
    p = models.read(model).probabilities(test)
    assert told["metrics"]["accuracy"]["value"] == pytest.approx(accuracy_score(test.targets, p.argmax(axis=1)))
    assert told["metrics"]["auc"]["value"] == pytest.approx(roc_auc_score(test.targets, p[:, 1]))
    assert told["metrics"]["auc"]["value"] > 0.85 and told["metrics"]["auc"]["error"] > 0
    assert told["settings"]["iterations"] == 20 and told["inputs"][0]["sha256"]
    again = bumpfit("metrics", data, "-m", model, "--bootstrap", 20, "--json").json
    assert again["metrics"] == told["metrics"]
    shown = bumpfit("metrics", data, "-m", model, "--bootstrap", 0)
    assert shown.code == 0 and "AUC" in shown.out and "rejection at 0.99" in shown.out


def test_cuts_are_told_as_a_sentence(bumpfit: Run, data: Path) -> None:
    told = bumpfit("train", data, "--approach", "cuts", "--set", "search=hml", "--bootstrap", 0, "--json").json
    assert "mass" in told["cuts"] and told["metrics"]["accuracy"]["value"] > 0.7


def test_a_figure_of_merit_of_ones_own(bumpfit: Run, data: Path, tmp_path: Path) -> None:
    formula, model = "s / s_total / (1.5 + sqrt(b))", tmp_path / "c.model"
    told = bumpfit("train", data, "--approach", "cuts", "--set", f"merit={formula}", "-m", model, "--bootstrap", 0,
                   "--merit", formula, "--json").json  # fmt: skip
    assert told["settings"]["merit"] == formula and told["metrics"]["formula"] == formula
    page = tmp_path / "r.html"
    again = bumpfit("metrics", data, "-m", model, "--merit", "s/sqrt(b)", "--bootstrap", 0, "--report", page)
    assert "largest s/sqrt(b)" in again.out and "s/sqrt(b)" in page.read_text()
    assert "names 'x'" in refused(bumpfit("metrics", data, "-m", model, "--merit", "s/x"))


def test_on_to_a_likelihood(bumpfit: Run, data: Path, tmp_path: Path) -> None:
    model, workspace = tmp_path / "trees.model", tmp_path / "w.json"
    told = bumpfit("train", data, "-m", model, *QUICK, "--bootstrap", 0, "--json", *LIKELIHOOD,
                   "--workspace", workspace, "--cross-section-error", "w=0.05").json  # fmt: skip
    found = told["likelihood"]
    kept = sets.read(data).provenance["classes"]["qcd"]
    assert sum(found["yields"]["qcd"]) == pytest.approx(0.2 * 1e4 * kept["passed"] / kept["events"])
    assert sum(found["yields"]["w"]) == pytest.approx(20)
    assert found["expected"]["z"] > 0.3 and found["observed"] is None
    spec = json.loads(workspace.read_text())
    kinds = {m["name"]: m["type"] for s in spec["channels"][0]["samples"] for m in s["modifiers"]}
    assert kinds == {
        "lumi": "lumi", "xsec_qcd": "normsys", "xsec_w": "normsys", "stat_score_qcd": "shapesys", "mu": "normfactor",
    }  # fmt: skip
    assert bumpfit("limit", workspace, "--json").json["expected"] == pytest.approx(found["limit"]["expected"])
    shown = bumpfit("metrics", data, "-m", model, "--bootstrap", 0, *LIKELIHOOD, "--observed", data)
    assert shown.code == 0 and "observed significance" in shown.out and "95 % CLs limit" in shown.out
    plain = bumpfit("metrics", data, "--observable", "mass", *LIKELIHOOD, "--edges", "20,65,95,300", "--json").json
    assert plain["likelihood"]["edges"] == [20, 65, 95, 300]
    assert 0 < plain["likelihood"]["expected"]["z"] < found["expected"]["z"] * 1.2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--approach", "trees", "--set", "depth=3"), "no setting 'depth'"),
        (("--set", "models=two"), "expected a whole number"),
        (("--set", "models"), "expected NAME=VALUE"),
        (("--set", "models=1", "--set", "models=2"), "--set models is given twice"),
        (("--set", "leaves=1"), "leaves is 1; expected 2 or more"),
        (("--approach", "cuts", "--set", "n_bins=1000000000"), "at most 1000"),
        (("--signal", "z"), "no class 'z'"),
        (("--approach", "cnn"), "learns from images, but the data set holds observables"),
        (("--cross-section", "qcd=1"), "needs a luminosity"),
        (("--luminosity", "1", "--cross-section", "qcd=x"), "'x' is no number"),
        (("--expected", "qcd=1", "--expected", "qcd=2"), "is given twice"),
        (("--edges", "3,2"), "must increase"),
        (("--efficiency", "2"), "above 0 and at most 1"),
        (("--background-error", "-1"), "from 0 to below 1"),
        (("--shape-only",), "give --variation or --scale"),
        (("--figure", "same.png", "--template-figure", "same.png"), "the name of two outputs"),
        (("--observed", "none.ds"), "there is no file none.ds"),
    ],
)
def test_train_refuses(bumpfit: Run, data: Path, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    quick = () if {"cnn", "cuts"} & set(words) else ("--set", "iterations=5")
    done = bumpfit("train", data, "--bootstrap", 0, "--workspace", tmp_path / "w.json", *quick, *words)
    assert message in refused(done)
    assert not (tmp_path / "w.json").exists()


def test_other_refusals(bumpfit: Run, files: dict[str, Path], data: Path, tmp_path: Path) -> None:
    b, s = (f"{name}={file}" for name, file in files.items())
    new = ("-o", tmp_path / "new.ds")
    both = ("--class", b, "--class", s)
    assert "give --observable" in refused(bumpfit("dataset", *both, *new))
    none = bumpfit("dataset", *both, "--observable", "mass", "--cut", "mass > 1e9", *new)
    assert "none of the 900 events of the class 'qcd' passes" in refused(none)
    assert "expected NAME=VALUE" in refused(bumpfit("dataset", "--class", "qcd", "--observable", "mass", *new))
    negative = bumpfit("dataset", *both, "--observable", "mass", "--weight", "w=-1", *new)
    assert "add up to -700 (700 of 700 weights are negative)" in refused(negative)
    twice = bumpfit("dataset", *both, "--observable", "mass", "--weight", "w=1", "--weight", "w=2", *new)
    assert "--weight w is given twice" in refused(twice)
    nothing = bumpfit("dataset", *both, "--observable", "mass", "--weight", "w=0", *new)
    assert "add up to 0 (all weights are 0)" in refused(nothing)
    assert "'mass' is named twice" in refused(
        bumpfit("dataset", *both, "--observable", "mass", "--observable", "mass", *new)
    )
    assert "--extent is 0" in refused(bumpfit("dataset", *both, "--image", "x", "--extent", 0, *new))
    missing = bumpfit("dataset", *both, "--observable", "mas", *new)
    assert "mas" in refused(missing)
    assert "add up to 1" in refused(bumpfit("dataset", *both, "--observable", "mass", "--split", "0.5,0.4", *new))
    flow = (*both, "--observable", "mass", *new)
    assert "there is no --cut" in refused(bumpfit("dataset", *flow, "--cutflow"))
    cut = (*flow, "--cut", "mass > 20", "--cutflow")
    assert "needed together" in refused(bumpfit("dataset", *cut, "--luminosity", 1))
    assert "no --cross-section of 'w'" in refused(
        bumpfit("dataset", *cut, "--luminosity", 1, "--cross-section", "qcd=1")
    )
    assert "ask for it with --cutflow" in refused(bumpfit("dataset", *flow, "--luminosity", 1))
    assert "expected a name that ends in" in refused(bumpfit("dataset", *cut, "--cutflow-figure", tmp_path / "x.txt"))
    assert not (tmp_path / "new.ds").exists()
    assert "give --model or --observable" in refused(bumpfit("metrics", data))
    assert "cannot be read as a model" in refused(bumpfit("metrics", data, "-m", files["qcd"]))
    assert "has no 'pt'" in refused(bumpfit("metrics", data, "--observable", "pt"))
    assert "is an input" in refused(bumpfit("train", data, "-m", data))
    one = bumpfit("dataset", "--class", b, "--observable", "mass", "--observable", "tau21", "-o", tmp_path / "one.ds")
    assert one.code == 0
    assert "one class" in refused(bumpfit("train", tmp_path / "one.ds"))
