"""`bumpfit higgsml` on small files, entries of the challenge, and the benchmark."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from higgs_events import table

from browser import Chromium, is_well_made
from bumpfit import higgsml
from bumpfit.cli import main
from bumpfit.console import Console
from bumpfit.errors import BumpfitError, InputError
from bumpfit.higgsml import benchmark as benchmarks
from bumpfit.higgsml import method
from bumpfit.higgsml.benchmark import Plan, benchmark
from bumpfit.higgsml.dataset import Dataset
from bumpfit.higgsml.measurement import Measurement
from bumpfit.higgsml.method_unbinned import Unbinned
from bumpfit.higgsml.split import parts
from bumpfit.higgsml.submission import Submission, export, measured, systematics
from bumpfit.pages import higgsml as pages
from bumpfit.pages import higgsml_benchmark

ENTRY = """
import time

import numpy as np

class Model:
    def __init__(self, get_train_set=None, systematics=None):
        self.train = get_train_set(train_size=200)
        self.shift = systematics

    def fit(self):
        shifted = self.shift({"data": self.train.drop(columns=["weights", "labels", "detailed_labels"]),
                              "weights": self.train["weights"]}, tes=1.01)
        self.mean = shifted["data"]["PRI_met"].mean()

    def predict(self, test):
        met = test["data"]["PRI_met"]
        FAULT
        mu = met.mean() / self.mean
        return {"mu_hat": mu, "delta_mu_hat": 0.4, "p16": mu - 0.2, "p84": mu + 0.2}
"""


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["higgsml", *arguments])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "events.parquet"
    table(1500, 1, total=1500.0).to_parquet(path)
    return path


@pytest.fixture
def grid(tmp_path: Path) -> Path:
    path = tmp_path / "grid.json"
    content = {
        f"({t}, {j})": {"sig": [5.0 * t, 20.0, 40.0 * j], "bg": [900.0 * t, 100.0 * j, 20.0]}
        for t in (0.98, 1.0, 1.02) for j in (0.97, 1.0, 1.03)
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return path


def test_biasing_and_pseudo_experiments(events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.parquet"
    code, text, _ = command(capsys, "bias", str(events), "--tes", "1.02", "-o", str(out), "--json")
    assert code == 0
    want = higgsml.bias(pd.read_parquet(events), tes=1.02)
    pd.testing.assert_frame_equal(pd.read_parquet(out), want)
    assert json.loads(text)["written"] == len(want)
    kept = command(capsys, "pseudo", str(events), "--closure", "--nuisances", "none", "-o", str(out))
    assert kept[0] == 0
    _, templates = parts(pd.read_parquet(events))
    found = pd.read_parquet(out)
    assert set(found["PRI_lep_pt"]) <= set(higgsml.bias(templates)["PRI_lep_pt"])
    code, text, _ = command(capsys, "pseudo", str(events), "--mu", "1.5", "--seed", "7", "-o", str(out))
    assert code == 0 and "repeated" in text
    nuisances = higgsml.draw_nuisances(7)
    pd.testing.assert_frame_equal(
        pd.read_parquet(out), higgsml.pseudo_experiment(pd.read_parquet(events), 1.5, nuisances, 7)
    )


def test_the_packaged_sample_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "events.parquet"
    code, text, _ = command(capsys, "sample", "-o", str(out), "--json")
    assert code == 0 and json.loads(text)["written"] == len(pd.read_parquet(out))
    assert Dataset(out).rows == len(pd.read_parquet(out))
    assert command(capsys, "sample", "-o", str(out))[0] == 0  # the same again: as after an interruption
    (tmp_path / "other.parquet").write_bytes(b"of somebody else")
    for name, says in (("other.parquet", "there already"), ("events.csv", "ends with .parquet")):
        code, _, err = command(capsys, "sample", "-o", str(tmp_path / name))
        assert code == 2 and says in " ".join(err.split())
    assert (tmp_path / "other.parquet").read_bytes() == b"of somebody else"
    assert command(capsys, "sample", "-o", str(tmp_path / "other.parquet"), "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("bias", "EVENTS", "--tes", "1.3", "-o", "OUT"), "tes is 1.3; expected a number from 0.9 to 1.1"),
        (("bias", "EVENTS", "-o", "EVENTS"), "is an input of this command"),
        (("pseudo", "EVENTS", "--mu", "-1", "-o", "OUT"), "mu is -1"),
        (("pseudo", "EVENTS", "--nuisances", "met", "-o", "OUT"), "no nuisance 'met'"),
        (("train", "magic", "EVENTS", "-o", "OUT"), "no method 'magic'"),
        (("train", "binned", "EVENTS", "--member", "GRID", "-o", "OUT"), "--member goes with the method combined"),
        (("train", "combined", "EVENTS", "-o", "OUT"), "give two or more, with --member"),
        (("train", "combined", "EVENTS", "--member", "GRID", "-o", "OUT"), "cannot be read as a method"),
        (("train", "aggregate", "EVENTS", "--mode", "independent", "-o", "OUT"), "'aggregate' is for closure"),
        (("train", "unbinned", "EVENTS", "--mode", "both", "-o", "OUT"), "--mode is both"),
        (("train", "baseline", "EVENTS", "--set", "points=2", "-o", "OUT"), "points more than degree"),
        (("train", "baseline", "EVENTS", "--luminosity", "0", "-o", "OUT"), "a number above 0"),
        (("fit", "EVENTS", "--method", "EVENTS"), "cannot be read as a method"),
        (("fit", "EVENTS"), "--method FILE"),
        (("fit", "--templates", "GRID", "--counts", "1,2"), "2 counts for 3 bins"),
        (("fit", "--templates", "GRID", "--counts", "1,2,x"), "there is no file 1,2,x"),
        (("fit", "--templates", "EVENTS", "--counts", "1,2,3"), "not JSON"),
        (("fit", "--templates", "GRID", "--counts", "1,2,3", "--challenge-range"), "--calibrate"),
        (("fit", "--templates", "GRID", "--counts", "9" * 400 + ",1"), "2 counts for 3 bins"),
        (("fit", "--templates", "GRID", "--counts", "nowhere.json"), "there is no file nowhere.json"),
        (("bounds", "--templates", "GRID", "--mu", "a"), "cannot read --mu"),
        (("coverage", "--templates", "GRID", "--method", "EVENTS"), "--method excludes"),
        (("score", "GRID", "--mu", "1"), "has no lists"),
        (("benchmark", "--sample", "EVENTS", "-o", "OUT"), "nothing to compare"),
        (("benchmark", "EVENTS", "--sample", "EVENTS", "-o", "OUT"), "cannot be read as a method"),
    ],
)
def test_mistakes_are_one_sentence(
    arguments: tuple[str, ...], says: str, events: Path, grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"EVENTS": str(events), "GRID": str(grid), "OUT": str(tmp_path / "out")}
    code, _, err = command(capsys, *(places.get(word, word) for word in arguments))
    assert code == 2 and says in " ".join(err.split()) and "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_fits_of_counts(grid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = tmp_path / "counts.json"
    counts.write_text("[905, 120, 60]")
    code, text, _ = command(capsys, "fit", "--templates", str(grid), "--counts", str(counts), "--json")
    found = json.loads(text)["measurement"]
    assert code == 0 and found["mu_hat"] == pytest.approx(1.0, abs=0.02) and found["low"] < 1 < found["high"]
    for same in ("905.0, 120,60", "905.0 120 60"):
        again = json.loads(command(capsys, "fit", "--templates", str(grid), "--counts", same, "--json")[1])
        assert again["measurement"]["mu_hat"] == found["mu_hat"]
    calibrated = ("--calibrate", "60", "--seed", "3")
    code, text, _ = command(
        capsys, "fit", "--templates", str(grid), "--counts", "905,120,60", *calibrated, "--challenge-range", "--json"
    )
    assert code == 0 and "flat prior" in json.loads(text)["measurement"]["interval_kind"]
    few = ("-n", "60", "--calibrate", "50", "--challenge-range")
    code, text, _ = command(capsys, "coverage", "--templates", str(grid), *few, "--json")
    assert code == 0 and len(json.loads(text)["ways"]) == 5
    code, text, _ = command(capsys, "coverage", "--templates", str(grid), *few[:-1])
    assert code == 0 and "closure" in text and "eps of the score" in text
    code, text, _ = command(capsys, "bounds", "--mu", "1")
    assert code == 0 and "3.304" in text
    code, text, _ = command(capsys, "fit", "--counts", "57245,18190,17698,1185,4287,843370", "--unbounded", "--json")
    assert code == 0 and json.loads(text)["measurement"]["low"] == pytest.approx(-2.3, abs=0.1)


def test_scores_of_result_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    files, low, high = [], [], []
    for place, mu in enumerate((0.5, 2.0)):
        middle = mu + rng.normal(0, 0.2, 50)
        low.append(middle - 0.2)
        high.append(middle + 0.2)
        files.append(tmp_path / f"result_{place}.json")
        files[-1].write_text(json.dumps({"p16": low[-1].tolist(), "p84": high[-1].tolist()}))
    code, text, _ = command(capsys, "score", *map(str, files), "--mu", "0.5,2", "--json")
    found = json.loads(text)
    assert code == 0
    want = higgsml.score(np.repeat([0.5, 2.0], 50), np.concatenate(low), np.concatenate(high))
    assert found["merged"]["score"] == pytest.approx(want.score) and len(found["sets"]) == 2
    settings = tmp_path / "test_settings.json"
    settings.write_text(json.dumps(higgsml.Settings((0.5, 2.0), 50).official()))
    code, text, _ = command(capsys, "score", *map(str, files), "--settings", str(settings))
    assert code == 0 and "bootstrap" in text


def test_metadata_of_another_file_are_told(events: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    for content, says in (
        ({"sum_weights": 5.0, "total_rows": 1500}, "another file's metadata"),
        ({"sum_weights": 1500.0, "total_rows": 3}, "another file's metadata"),
        ({"total_rows": 1500}, "no positive 'sum_weights'"),
    ):
        events.with_name(f"{events.stem}_metadata.json").write_text(json.dumps(content))
        for arguments in (("pseudo", str(events)), ("train", "baseline", str(events))):
            code, _, err = command(capsys, *arguments, "-o", str(out))
            assert code == 2 and says in " ".join(err.split()) and not out.exists()


def entry(folder: Path, fault: str = "") -> Path:
    path = folder / "model.py"
    path.write_text(ENTRY.replace("FAULT", fault))
    return path


def test_an_entry_runs_unchanged(tmp_path: Path) -> None:
    events = table(600, 3, total=600.0)
    with Submission(entry(tmp_path), events) as running:
        test = higgsml.pseudo_experiment(events, 1.0, {}, 1)
        one, two = running.predict(test), running.predict(test)
        assert one.valid and one.high - one.low == pytest.approx(0.4) and one.mu_hat == two.mu_hat


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("raise ValueError('no fit')", "ValueError: no fit"),
        ("return {'mu_hat': 1.0}", "no 'delta_mu_hat'"),
        ("return 5", "no dictionary"),
        ("return {'mu_hat': np.nan, 'delta_mu_hat': 1.0, 'p16': 0.0, 'p84': 1.0}", "no finite number"),
        ("return {'mu_hat': 1.0, 'delta_mu_hat': 1.0, 'p16': 2.0, 'p84': 1.0}", "above p84"),
        ("import os; os._exit(3)", "its process died"),
        ("time.sleep(30)", "no answer within"),
    ],
)
def test_a_failed_prediction_is_a_value(fault: str, says: str, tmp_path: Path) -> None:
    events = table(600, 3, total=600.0)
    with Submission(entry(tmp_path, fault), events, limit=1.0 if "sleep" in fault else 20.0) as running:
        found = running.predict(higgsml.pseudo_experiment(events, 1.0, {}, 1))
        assert not found.valid and says in found.diagnostics["reason"]


def test_files_that_are_no_entries(tmp_path: Path) -> None:
    events = table(100, 3)
    for content, says in (
        ("x = 1", "no class Model"),
        ("class Model:\n    pass", "no method fit"),
        ("1 +", "imported"),
    ):
        path = tmp_path / "model.py"
        path.write_text(content)
        with pytest.raises(InputError, match=says):
            Submission(path, events)
    with pytest.raises(BumpfitError, match="before its first prediction"):
        Submission(entry(tmp_path).rename(tmp_path / "b.py"), events.drop(columns="PRI_met"))


def test_answers_and_systematics() -> None:
    assert not measured([1], 0.0).valid
    events = table(50, 1)
    found = systematics({"data": events[list(higgsml.columns.PRIMARY)], "weights": events["weights"]}, tes=1.02)
    want = higgsml.bias(events, tes=1.02, compatible=True)
    np.testing.assert_array_equal(found["data"]["PRI_met"], want["PRI_met"])
    np.testing.assert_array_equal(found["weights"], want["weights"])
    assert len(systematics(events, dopostprocess=False)) == 50


@pytest.fixture
def gaussian(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    from test_higgsml_method import Gaussian

    monkeypatch.setitem(method.METHODS, "gaussian", f"{Gaussian.__module__}:Gaussian")
    path = tmp_path / "gaussian.zip"
    method.save(Gaussian(0.2).fit(table(600, 3, total=600.0)), path)
    return path


@pytest.mark.slow
def test_a_benchmark_goes_on_after_an_interruption(
    gaussian: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = tmp_path / "sample.parquet"
    table(600, 3, total=600.0).to_parquet(sample)
    settings = higgsml.Settings((0.5, 1.5), 4)
    plan = Plan(str(sample), (str(gaussian),), (str(entry(tmp_path)),), settings)
    whole = benchmark(plan, tmp_path / "a", write=higgsml_benchmark.write)
    calls = 0
    evaluate = benchmarks._evaluate

    def stops(task: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return evaluate(task)

    monkeypatch.setattr(benchmarks, "_evaluate", stops)
    with pytest.raises(KeyboardInterrupt):
        benchmark(plan, tmp_path / "b")
    monkeypatch.setattr(benchmarks, "_evaluate", evaluate)
    benchmark(plan, tmp_path / "b")
    lines = [(tmp_path / name / "experiments.jsonl").read_bytes() for name in ("a", "b")]
    assert lines[0] == lines[1] and len(lines[0].splitlines()) == 8
    assert {one.name for one in whole.methods} == {"gaussian", "model"}
    assert whole.methods[0].scores.merged.n == 8 and len(whole.correlation) == 2
    report = (tmp_path / "a" / "report.md").read_text()
    assert "Mode closure" in report and "gaussian" in report and str(tmp_path) not in report
    assert "benchmark gaussian.zip --submission model.py --sample sample.parquet --mode closure --mu 0.5,1.5" in report
    page = (tmp_path / "a" / "report.html").read_text()
    assert "--seed 31415" in page and str(tmp_path) not in page
    with pytest.raises(InputError, match="another run"):
        benchmark(plan, tmp_path / "a")


def test_an_exported_method_is_an_entry(tmp_path: Path, gaussian: Path) -> None:
    path = export(gaussian, tmp_path / "entry")
    assert path.name == "model.py" and (tmp_path / "entry" / "method.zip").exists()
    with pytest.raises(InputError, match="already"):
        export(gaussian, tmp_path / "entry")


@pytest.mark.slow
def test_a_benchmark_shares_points_of_the_nuisances(gaussian: Path, tmp_path: Path) -> None:
    from test_higgsml_binned import SMALL, strong

    from bumpfit.higgsml.calibration import template_calibration, template_range_calibration
    from bumpfit.higgsml.method_binned import Binned

    sample = tmp_path / "sample.parquet"
    strong().to_parquet(sample)
    fitted = Binned(**SMALL).fit(strong(), 3)  # type: ignore[arg-type]
    assert fitted.model is not None
    fitted.calibration = template_calibration(fitted.model, 100, 1)
    fitted.range_calibration = template_range_calibration(fitted.model, 100)
    method.save(fitted, tmp_path / "binned.zip")
    settings = higgsml.Settings((0.5, 1.0), 6)
    plan = Plan(str(sample), (str(tmp_path / "binned.zip"),), settings=settings, points=4, challenge_range=True)
    found = benchmark(plan, tmp_path / "a", write=higgsml_benchmark.write)
    benchmark(plan, tmp_path / "b", workers=2)
    lines = [(tmp_path / name / "experiments.jsonl").read_bytes() for name in ("a", "b")]
    assert lines[0] == lines[1]
    one = found.methods[0]
    assert one.scores.merged.n == 12 and one.ranged is not None and one.oracle is not None
    assert one.oracle.merged.width <= one.scores.merged.width * 1.05
    assert set(one.pulls) == {"tes", "jes", "soft_met", "ttbar_scale", "diboson_scale", "bkg_scale"}
    first = [json.loads(line) for line in lines[0].splitlines()]
    assert first[0]["nuisances"] == first[6]["nuisances"] != first[1]["nuisances"]
    report = (tmp_path / "a" / "report.md").read_text()
    assert "oracle" in report and "All methods use that mu" in report and "statistics only" in report
    pictures = {path.name for path in (tmp_path / "a" / "figures").iterdir()}
    shown = ("scores", "ladder", "coverage", "nuisances", "impacts")
    assert pictures == {f"{name}.{ending}" for name in shown for ending in ("png", "svg")}
    with pytest.raises(InputError, match=r"measures data of 10 fb-1, the experiments have 1;"):
        benchmark(dataclasses.replace(plan, luminosity=1.0), tmp_path / "c")


def test_a_small_simulation_is_told_loudly(gaussian: Path, tmp_path: Path) -> None:
    sample = tmp_path / "sample.parquet"
    table(600, 3, total=60000.0).to_parquet(sample)
    plan = Plan(str(sample), (str(gaussian),), (), higgsml.Settings((1.0,), 3), points=2)
    found = benchmark(plan, tmp_path / "a", write=higgsml_benchmark.write)
    assert found.largest_multiplicity > 50
    report = (tmp_path / "a" / "report.md").read_text()
    assert "Do not believe these numbers" in report and "repeat simulated events up to" in report


def test_the_report_in_a_browser(chromium: Chromium, gaussian: Path, tmp_path: Path) -> None:
    sample = tmp_path / "sample.parquet"
    table(600, 3, total=600.0).to_parquet(sample)
    plan = Plan(str(sample), (str(gaussian),), (), higgsml.Settings((0.5, 1.0, 1.5), 3), points=2)
    benchmark(plan, tmp_path / "a", write=higgsml_benchmark.write)
    is_well_made(chromium.see(tmp_path / "a" / "report.html"), len(list((tmp_path / "a" / "figures").glob("*.png"))))


def test_a_method_is_trained_for_a_lowered_luminosity_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from test_higgsml_binned import SMALL, strong

    sample, trained, out = (str(tmp_path / name) for name in ("sample.parquet", "binned.zip", "w.json"))
    strong().to_parquet(sample)
    settings = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    how = ("--mode", "independent", "--luminosity", "0", "--calibrate", "60", "--no-challenge-range", "--json")
    code, text, _ = command(capsys, "train", "binned", sample, *settings, *how, "-o", trained)
    told = json.loads(text)
    assert code == 0 and told["calibrated_with"] in ("templates", "events")
    luminosity = told["report"]["luminosity"]
    assert 0 < luminosity < 10 and told["report"]["simulated_per_expected"] == pytest.approx(20, rel=0.2)
    code, text, _ = command(capsys, "workspace", trained, "-o", out, "--experiments", "5", "--json")
    assert code == 0 and json.loads(text)["difference"]["n"] == 5
    samples = json.loads(Path(out).read_text())["channels"][0]["samples"]
    assert {one["name"] for one in samples} == set(higgsml.columns.PROCESSES)
    data = str(tmp_path / "data.parquet")
    code, _, _ = command(capsys, "pseudo", sample, "--mu", "2", "--luminosity", f"{luminosity:.17g}", "-o", data)
    assert code == 0
    code, text, _ = command(capsys, "fit", data, "--method", trained)
    assert code == 0 and "68.27 % interval" in text
    for arguments, says in (
        (("train", "binned", sample, "--set", "depth=3", "-o", out + "2"), "no setting 'depth'"),
        (("train", "binned", sample, "--set", "depth", "-o", out + "2"), "expected NAME=VALUE"),
        (("train", "binned", sample, "--mode", "both", "-o", out + "2"), "no mode 'both'"),
        (
            ("train", "binned", sample, "--calibrate-with", "hope", "-o", out + "2"),
            "expected auto, templates or events",
        ),
        (("workspace", sample, "-o", out + "2"), "cannot be read as a method"),
        (("benchmark", trained, "--sample", sample, "-o", out + "2"), "measures data of"),
        (("fit", data, "--method", trained, "--challenge-range"), "unless --no-challenge-range"),
    ):
        code, _, err = command(capsys, *arguments)
        assert code == 2 and says in " ".join(err.split())


def test_a_method_that_knows_little_of_its_simulation_is_told() -> None:
    """`unbinned` does not count simulated events, and takes no luminosity of 0."""
    fitted = Unbinned(luminosity=2.0)
    fitted.report = {"largest_response_deviation": 7.0, "response_shift": 0.4}
    known = fitted.simulation
    said = {"method": "unbinned", "report": {}, "simulation": known, "calibrated": False, "out": "m.zip"}
    found = Measurement(1.0, 0.5, 1.5, "profile", {}, None, True, False, 1.0, ((0.5, 1.5),), known)
    console = Console(width=200, file=io.StringIO())
    console.print(pages.trained({**said, "calibrated_with": "events"}))
    console.print(pages.measured(found))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "made for 2 fb-1, mode closure" in " ".join(text.split())
    assert "too small: lower the luminosity (--luminosity)" in text and "too small at 2 fb-1 (closure)" in text


def test_a_benchmark_on_paper(
    gaussian: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sample = tmp_path / "sample.parquet"
    table(600, 3, total=600.0).to_parquet(sample)
    words = ("benchmark", str(gaussian), "--sample", str(sample), "--mu", "1", "--experiments", "2", "--workers", "1")
    monkeypatch.setattr("bumpfit.report.paper.browser", lambda: "there")
    monkeypatch.setattr("bumpfit.report.paper.pdf", lambda page, program: printed.append((page, program)))
    printed: list[tuple[Path, str]] = []
    assert command(capsys, *words, "-o", str(tmp_path / "a"), "--pdf")[0] == 0
    assert printed == [(tmp_path / "a" / "report.html", "there")] and printed[0][0].is_file()
    monkeypatch.undo()
    monkeypatch.setattr("bumpfit.report.paper.PROGRAMS", ())
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path))
    code, _, err = command(capsys, *words, "-o", str(tmp_path / "b"), "--pdf")
    assert code == 1 and "install one" in err and not (tmp_path / "b").exists()
