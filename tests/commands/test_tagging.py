import json
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
        "lumi": "lumi", "xsec_qcd": "normsys", "xsec_w": "normsys", "stat_score": "staterror", "mu": "normfactor",
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
        (("--signal", "z"), "no class 'z'"),
        (("--approach", "cnn"), "learns from images, but the data set holds observables"),
        (("--cross-section", "qcd=1"), "needs a luminosity"),
        (("--luminosity", "1", "--cross-section", "qcd=x"), "'x' is no number"),
    ],
)
def test_train_refuses(bumpfit: Run, data: Path, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    quick = () if "cnn" in words else ("--set", "iterations=5")
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
    assert "weights" in refused(negative)
    missing = bumpfit("dataset", *both, "--observable", "mas", *new)
    assert "mas" in refused(missing)
    assert "add up to 1" in refused(bumpfit("dataset", *both, "--observable", "mass", "--split", "0.5,0.4", *new))
    assert not (tmp_path / "new.ds").exists()
    assert "give --model or --observable" in refused(bumpfit("metrics", data))
    assert "cannot be read as a model" in refused(bumpfit("metrics", data, "-m", files["qcd"]))
    assert "has no 'pt'" in refused(bumpfit("metrics", data, "--observable", "pt"))
    assert "is an input" in refused(bumpfit("train", data, "-m", data))
    one = bumpfit("dataset", "--class", b, "--observable", "mass", "--observable", "tau21", "-o", tmp_path / "one.ds")
    assert one.code == 0
    assert "one class" in refused(bumpfit("train", tmp_path / "one.ds"))
