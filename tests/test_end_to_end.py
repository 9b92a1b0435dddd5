"""The main job on the packaged example, through the command line, and what a user may get wrong."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pyhf
import pytest

import bumpfit
from bumpfit.search.config import SearchConfig
from bumpfit.search.two_sample import RankSettings

pytestmark = pytest.mark.slow

DATA = files("bumpfit") / "data"
KEYS = {
    "version", "seed", "inputs", "runtime_s", "p_value", "claim", "resonance_mass", "daughter_masses", "decay",
    "n_signal", "n_signal_upper_limit_95", "signal_percent", "selections", "mass_spectrum_fit", "goodness_of_fit",
    "checks", "iterations",
}  # fmt: skip


def bumpfit_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "bumpfit", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "out"
    done = bumpfit_command("demo", "-o", str(folder), "--workers", "2")
    assert done.returncode == 0, done.stderr
    return folder


def test_answers_of_the_example(out: Path) -> None:
    result = json.loads((out / "result.json").read_text())
    assert set(result) >= KEYS
    assert set(result["p_value"]) >= {"local", "global", "z_local", "z_global", "method", "floor"}
    # what was simulated: 400 events at (detector-level peaks) 3032, 202 and 403 GeV
    assert result["claim"] is True
    assert result["p_value"]["z_global"] > 4
    for found, truth in ((result["resonance_mass"], 3032), *zip(result["daughter_masses"], (202, 403), strict=True)):
        assert abs(found["value"] - truth) < 3 * found["error"]
    n = result["n_signal"]
    assert abs(n["value"] - 400) < 2.5 * max(n["error_low"], n["error_high"])
    assert result["n_signal_upper_limit_95"] > n["value"]
    assert len(result["iterations"]) == 2


def test_scores_have_the_documented_form(out: Path) -> None:
    data = pd.read_parquet(DATA / "example_data.parquet")
    for name in ("scores.csv", "scores_updated.csv"):
        scores = pd.read_csv(out / name, index_col=0)
        assert scores.columns.tolist() == ["score"]
        assert scores.index.tolist() == sorted(data.index)
        assert scores.score.between(0, 1).all()


def test_report_is_one_file(out: Path) -> None:
    page = (out / "report.html").read_text()
    assert str(out.parent) not in page
    assert 'src="http' not in page
    assert (out / "report.md").exists()
    assert len(list((out / "figures").glob("*.png"))) > 10
    assert not (out / ".stages").exists()


@pytest.mark.parametrize("name", ["selection", "yield", "m_JJ"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_workspaces_in_plain_pyhf(out: Path, name: str) -> None:
    path = out / "workspaces" / f"{name}.json"
    workspace = pyhf.Workspace(json.loads(path.read_text()))
    model = workspace.model()
    values, twice_nll = pyhf.infer.mle.fit(workspace.data(model), model, return_fitted_val=True)
    ours = bumpfit.inference.fit(bumpfit.workspace.read(path))
    assert 0.5 * abs(float(twice_nll) - ours.twice_nll) < 1e-2
    mu = float(values[model.config.poi_index])
    assert mu == pytest.approx(ours.values["mu"], abs=0.05 * ours.errors["mu"] + 1e-3)


def test_report_command_and_existing_folder(out: Path) -> None:
    shown = bumpfit_command("report", str(out), "--json")
    assert json.loads(shown.stdout)["claim"] is True
    again = bumpfit_command("demo", "-o", str(out))
    assert again.returncode == 2
    assert "already holds another run" in again.stderr


def small(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "m_JJ": rng.uniform(3300, 3700, n),
            "m_J1": rng.exponential(80, n) + 20,
            "delta_m_J": rng.exponential(100, n),
            "tau_2_over_tau_1_J1": rng.uniform(0.1, 1, n),
            "tau_2_over_tau_1_J2": rng.uniform(0.1, 1, n),
        }
    )


def test_same_answers_for_any_workers_and_for_frames(tmp_path: Path) -> None:
    data, background = small(1500, 1), small(1000, 2)
    data.to_csv(tmp_path / "d.csv")
    background.to_csv(tmp_path / "b.csv")
    config = SearchConfig(rank=RankSettings(error=0.1))
    found = [
        bumpfit.run(*tables, seed=4, workers=workers, quick=True, config=config).to_dict()
        for tables, workers in (((data, background), 1), ((tmp_path / "d.csv", tmp_path / "b.csv"), 2))
    ]
    for answer in found:
        for key in ("runtime_s", "inputs"):
            del answer[key]
    assert found[0] == found[1]
    assert found[0]["claim"] is False
    assert found[0]["resonance_mass"] is None


def test_without_a_background_table_a_narrow_spectrum_is_refused() -> None:
    with pytest.raises(bumpfit.errors.BumpfitError, match="no sidebands"):
        bumpfit.run(small(3000, 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.drop(columns="m_J1"), "m_J1"),
        (lambda d: d.iloc[:0], "no events"),
        (lambda d: d.assign(m_J1=np.where(np.arange(len(d)) == 3, np.nan, d.m_J1)), "not"),
        (lambda d: d.assign(m_J1=-d.m_J1), "negative"),
        (lambda d: d.assign(m_JJ=10 * d.m_JJ), "."),
        (lambda d: d.iloc[:4], "fewer"),
        (lambda d: d.set_index(pd.Index([0] * len(d))), "index"),
    ],
)
def test_bad_tables(tmp_path: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]
    small(500, 2).to_csv(tmp_path / "b.csv")
    change(small(500, 1)).to_csv(tmp_path / "d.csv")
    with pytest.raises(bumpfit.errors.InputError, match=message):
        bumpfit.run(tmp_path / "d.csv", tmp_path / "b.csv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_file_is_one_sentence(tmp_path: Path) -> None:
    done = bumpfit_command("run", str(tmp_path / "nothing.csv"), "-o", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [("run", "--seed", "-1", "x.csv"), ("run",), ("nothing",), ("run", "x.csv", "--no")]
)
def test_wrong_use_is_one_sentence(arguments: tuple[str, ...]) -> None:
    done = bumpfit_command(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("bumpfit: ")


def test_an_unfinished_run_goes_on_and_other_files_are_left_alone(tmp_path: Path) -> None:
    data, background, out = small(1200, 1), small(800, 2), tmp_path / "out"
    config = SearchConfig(rank=RankSettings(error=0.1))
    first = bumpfit.run(data, background, out, seed=1, quick=True, config=config, iterations=0)
    (out / "result.json").unlink()  # as if it had been stopped while it wrote
    second = bumpfit.run(data, background, out, seed=1, quick=True, config=config, iterations=0)
    assert second.p_value == first.p_value
    (out / "mine.txt").write_text("keep")
    with pytest.raises(bumpfit.errors.InputError, match="other files"):
        bumpfit.run(data, background, out, seed=1, quick=True, config=config, iterations=0, overwrite=True)
    assert (out / "mine.txt").read_text() == "keep"
