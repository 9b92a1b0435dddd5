"""Toys from the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import Run, refused
from scipy.stats import chi2, norm, poisson

from bumpfit.toys.engine import LogLinearEngine


def test_p_value_of_a_counting_experiment(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    out = tmp_path / "toys.parquet"
    found = bumpfit("toys", counting, "-n", "40000", "--seed", "4", "-o", out, "--figure", tmp_path / "q0.png",
                    "--json").json  # fmt: skip
    assert found["p_value"] == pytest.approx(poisson.sf(8, 4.0), abs=4 * found["p_error"])
    assert found["z"] == pytest.approx(norm.isf(found["p_value"]))
    assert found["p_asymptotic"] == pytest.approx(norm.sf(found["observed"] ** 0.5))
    again = bumpfit("toys", counting, "-n", "40000", "--seed", "4", "--workers", "1", "-o", tmp_path / "t.json")
    assert again.code == 0
    assert json.loads((tmp_path / "t.json").read_text())["p_value"] == found["p_value"]


def test_toys_tell_a_wall_that_the_asymptotic_law_does_not_know(bumpfit: Run, tmp_path: Path) -> None:
    """Data above the background pull the nuisance to the end of its range in the fit without signal, if it is near."""
    samples = [
        {"name": "s", "data": [5.0, 9.0], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
        {"name": "b", "data": [50.0, 60.0],
         "modifiers": [{"name": "jes", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}]},
    ]  # fmt: skip
    for end, walls in ((0.1, ["jes"]), (5.0, [])):
        config = {"poi": "mu", "parameters": [{"name": "jes", "bounds": [[-5, end]]}]}
        path = tmp_path / "w.json"
        path.write_text(json.dumps({
            "channels": [{"name": "c", "samples": samples}], "observations": [{"name": "c", "data": [62.0, 75.0]}],
            "measurements": [{"name": "m", "config": config}], "version": "1.0.0",
        }))  # fmt: skip
        assert bumpfit("toys", path, "-n", "20", "--json").json["at_bounds"] == walls
        assert ("at an end of the range" in bumpfit("toys", path, "-n", "20").out) is bool(walls)


def test_shards_merge_to_the_whole(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    whole = bumpfit("toys", counting, "-n", "3000", "--json").json
    parts = [tmp_path / f"part{i}.parquet" for i in (1, 2, 3)]
    for i, part in enumerate(parts, start=1):
        assert bumpfit("toys", counting, "-n", "3000", "--shard", f"{i}/3", "-o", part).code == 0
    merged = bumpfit("toys", "--merge", *parts, "-o", tmp_path / "all.parquet", "--json").json
    assert (merged["p_value"], merged["toys"]) == (whole["p_value"], 3000)
    some = bumpfit("toys", "--merge", parts[0], parts[1], "-n", "3000").out
    assert "toys 2000 to 2999 are missing" in some
    assert "missing" not in bumpfit("toys", "--merge", *parts, "-n", "3000").out
    assert "more than one result" in refused(bumpfit("toys", "--merge", parts[0], parts[0]))
    assert "is not a result of 'bumpfit toys'" in refused(bumpfit("toys", "--merge", counting))


def test_a_mass_scan_in_shards_is_the_whole_scan(bumpfit: Run, tmp_path: Path) -> None:
    """Two bins without systematics, each with a signal of its own: global p is that of two independent experiments."""
    files = []
    for k, shape in enumerate(([1.0, 0.0], [0.0, 1.0])):
        samples = [
            {"name": "s", "data": shape, "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
            {"name": "b", "data": [9.0, 9.0], "modifiers": []},
        ]
        strength = {"name": "mu", "bounds": [[0, 100]], "inits": [1.0]}
        files.append(tmp_path / f"m{k}.json")
        files[-1].write_text(json.dumps({
            "channels": [{"name": "c", "samples": samples}], "observations": [{"name": "c", "data": [17.0, 8.0]}],
            "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [strength]}}], "version": "1.0.0",
        }))  # fmt: skip
    whole = bumpfit("toys", *files, "-n", "20000", "--figure", tmp_path / "global.png", "--json").json
    assert whole["statistic"] == "largest q0"
    assert whole["p_global"] == pytest.approx(1 - poisson.cdf(16, 9.0) ** 2, abs=4 * whole["p_global_error"])
    assert whole["z_global"] == pytest.approx(norm.isf(whole["p_global"]))
    parts = [tmp_path / f"part{i}.parquet" for i in (1, 2)]
    for i, part in enumerate(parts, start=1):
        assert bumpfit("toys", *files, "-n", "20000", "--shard", f"{i}/2", "-o", part).code == 0
    merged = bumpfit("toys", "--merge", *reversed(parts), "--json").json
    same = ("p_global", "gross_vitells", "crossings", "observed", "model", "toys")
    assert [merged[key] for key in same] == [whole[key] for key in same]
    assert "toys 10000 to 19999 are missing" in bumpfit("toys", "--merge", parts[0]).out
    until = bumpfit("toys", *files, "-n", "1000000", "--until", "0.1", "--json").json
    assert until["p_global_error"] < 0.1 * until["p_global"]
    jobs = bumpfit("toys", *files, "-n", "20000", "--submit", "slurm", "--shards", "2", "-o", tmp_path / "jobs")
    assert all(str(file) in (tmp_path / "jobs" / "toys.sbatch").read_text() for file in files), jobs.out
    for wrong in (["--mu", "1"], ["--statistic", "qmu"], ["--observed", "3"], ["--tail"]):
        assert f"leave out {wrong[0]}" in refused(bumpfit("toys", *files, "-n", "10", *wrong))


def test_until(bumpfit: Run, counting: Path) -> None:
    found = bumpfit("toys", counting, "-n", "100000000", "--until", "0.1", "--json").json
    assert found["toys"] < 10_000_000
    assert found["p_error"] / found["p_value"] < 0.1


def test_tail(bumpfit: Run, counting: Path) -> None:
    found = bumpfit("toys", counting, "-n", "20000", "--tail", "--seed", "2", "--json").json
    assert found["p_value"] == pytest.approx(poisson.sf(8, 4.0), abs=4 * found["p_error"])
    assert found["p_error"] / found["p_value"] < 0.1


def test_tail_in_shards_until_known_and_as_jobs(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    whole = bumpfit("toys", counting, "-n", "6000", "--tail", "--json").json
    assert whole["method"] == "importance sampling"
    parts = [tmp_path / f"{i}.parquet" for i in (1, 2)]
    for i, part in enumerate(parts, start=1):
        assert bumpfit("toys", counting, "-n", "6000", "--tail", "--shard", f"{i}/2", "-o", part).code == 0
    merged = bumpfit("toys", "--merge", *parts, "--figure", tmp_path / "tail.png", "--json").json
    assert merged["p_value"] == pytest.approx(whole["p_value"])
    assert (merged["toys"], merged["method"]) == (whole["toys"], whole["method"])
    until = bumpfit("toys", counting, "-n", "10000000", "--tail", "--until", "0.02", "--json").json
    assert until["toys"] < 10**7
    assert until["p_error"] < 0.02 * until["p_value"]
    jobs = bumpfit("toys", counting, "-n", "6000", "--tail", "--submit", "slurm", "--shards", "2", "-o", tmp_path / "j")
    assert "--tail" in (tmp_path / "j" / "toys.sbatch").read_text(), jobs.out
    assert "model is" in refused(bumpfit("toys", counting, "-n", "6000", "-o", parts[0]))


def test_tail_far_beyond_all_numbers(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    figure = tmp_path / "tail.png"
    found = bumpfit("toys", counting, "-n", "3000", "--tail", "--observed", "1e300", "--figure", figure, "--json").json
    assert found["p_is_upper_bound"]
    assert figure.stat().st_size > 1000


def test_results_say_what_was_asked(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    patch = tmp_path / "patch.json"
    patch.write_text(json.dumps([{"op": "replace", "path": "/observations/0/data/0", "value": 3}]))
    found = bumpfit(
        "toys", counting, "-n", "100", "--statistic", "qtilde", "--mu", "2", "--patch", patch, "--json"
    ).json
    assert found["options"] == {"n": 100, "statistic": "qtilde", "mu": 2.0, "seed": 0, "patch": str(patch)}


def test_table(bumpfit: Run, counting: Path) -> None:
    shown = bumpfit("toys", counting, "-n", "2000", "--observed", "400").out
    assert "p-value" in shown
    assert "p < 0.0015, Z > 2.97 at 95 % confidence" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give the number of toys"),
        (["-n", "0"], "expected a whole number of at least 1"),
        (["-n", "10", "--statistic", "t0"], "unknown test statistic"),
        (["-n", "10", "--shard", "1/2"], "needs a result file"),
        (["-n", "10", "--shard", "5/2", "-o", "x.parquet"], "there is no shard 5/2"),
        (["-n", "10", "--shard", "half", "-o", "x.parquet"], "expected its number and how many there are"),
        (["-n", "10", "--shard", "0/2", "-o", "x.parquet"], "there is no shard 0/2"),
        (["-n", "-4"], "expected a whole number of at least 1"),
        (["-n", "10", "--shard", "1/11", "-o", "x.parquet"], "at most as many shards as toys"),
        (["--merge", "--until", "0.1"], "leave out --until"),
        (["--merge", "--tail"], "leave out --tail"),
        (["--merge", "--statistic", "tmu", "--mu", "1", "--seed", "2"], "leave out --statistic, --mu, --seed"),
        (["-n", "10", "--observed", "nan"], "expected a finite number"),
        (["-n", "10", "--observed", "-1"], "expected a finite number"),
        (["-n", "10", "--shards", "3"], "belongs to --submit"),
        (["-n", "10", "--submit", "slurm", "-o", "jobs"], "--shards 100"),
        (["-n", "10", "--submit", "slurm", "--shards", "11", "-o", "jobs"], "no shard may be empty"),
        (["-n", "0", "--submit", "slurm", "--shards", "1", "-o", "jobs"], "expected a whole number of at least 1"),
        (["-n", "10", "--submit", "slurm", "--shards", "2", "-o", "jobs", "--mu", "-9"], "expectations are not neg"),
        (["-n", "10", "--submit", "slurm", "--shards", "2", "-o", "jobs", "--until", "0.1"], "goes without --until"),
        (["-n", "10", "--submit", "slurm", "--shards", "2", "-o", "jobs", "--minutes", "0"], "must be at least 1"),
        (["-n", "10", "-o", "x.txt"], "ends in .parquet or .json"),
        (["-n", "10", "--until", "7"], "between 0 and 1"),
    ],
)
def test_bad_toys(
    bumpfit: Run, counting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(bumpfit("toys", counting, *arguments))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("system", ["slurm", "htcondor"])
def test_jobs_throw_the_shards_of_the_run(system: str, bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    """The scripts are run as the batch system would, with its variable or argument, and a relative workspace."""
    jobs = tmp_path / "my jobs"
    options = ["--seed", "7", "--statistic", "qtilde", "--mu", "3", "--test", "3", "--observed", "0.5", "--poi", "mu"]
    found = bumpfit("toys", counting, "-n", "2000", *options, "--submit", system, "--shards", "2", "-o", jobs,
                    "--json").json  # fmt: skip
    place = tmp_path / "bin"
    place.mkdir()
    (place / "bumpfit").write_text(f'#!/bin/bash\nexec {sys.executable} -m bumpfit "$@"\n')
    (place / "bumpfit").chmod(0o755)
    environment = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}"}
    script = found["files"][0]
    for i in (0, 1):
        command = ["bash", script] if system == "slurm" else [script, str(i)]
        subprocess.run(
            command, env={**environment, "SLURM_ARRAY_TASK_ID": str(i + 1)}, cwd=tmp_path, check=True,
            capture_output=True,
        )  # fmt: skip
    subprocess.run(["bash", "-c", found["commands"][-1]], env=environment, check=True, capture_output=True)
    merged = bumpfit("toys", "--merge", jobs / "toys.parquet", "--json").json
    whole = bumpfit("toys", counting, "-n", "2000", *options, "--json").json
    assert merged["ranges"] == [[0, 2000]]
    for key in ("model", "seed", "statistic", "thrown", "tested", "observed", "p_value", "p_error"):
        assert merged[key] == whole[key], key


def test_submit_says_what_to_type(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    shown = bumpfit("toys", counting, "-n", "2000", "--submit", "slurm", "--shards", "8", "--cores", "2", "--minutes",
                    "30", "-o", tmp_path / "jobs").out  # fmt: skip
    assert f"sbatch {tmp_path}/jobs/toys.sbatch" in shown
    assert f"bumpfit toys --merge {tmp_path}/jobs/shard-*.parquet" in shown
    assert "8 jobs of 2 cores, 30 minutes" in shown
    assert [file.name for file in (tmp_path / "jobs").iterdir()] == ["toys.sbatch"]
    assert "is a file" in refused(
        bumpfit("toys", counting, "-n", "10", "--submit", "slurm", "--shards", "1", "-o", counting)
    )


def test_merge_refuses_other_toys_and_names_the_files(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    parts = [tmp_path / f"{name}.parquet" for name in "abcd"]
    for part, options in zip(parts, ([], ["--seed", "1"], ["--statistic", "tmu"], ["--shard", "3/3"]), strict=True):
        n = "300" if "--shard" not in options else "900"
        assert bumpfit("toys", counting, "-n", n, "-o", part, *options).code == 0
    assert f"{parts[0]} and {parts[1]}: " in (said := refused(bumpfit("toys", "--merge", *parts[:2])))
    assert "seed is 0 in one and 1" in said
    assert "cannot be merged: model is" in refused(bumpfit("toys", "--merge", parts[0], parts[2]))
    shown = bumpfit("toys", "--merge", parts[0], parts[3]).out
    assert "toys 300 to 599 are missing" in shown
    assert "holds other toys" in refused(bumpfit("toys", counting, "-n", "300", "-o", parts[0], "--seed", "5"))
    assert "choose another name" in refused(bumpfit("toys", "--merge", parts[0], "-o", parts[0]))


def test_merge_asks_which_observed_value_is_meant(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    parts = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for i, (part, more) in enumerate(zip(parts, ([], ["--observed", "2"]), strict=True), start=1):
        assert bumpfit("toys", counting, "-n", "1000", "--shard", f"{i}/2", "-o", part, *more).code == 0
    assert "compared with different observed values" in refused(bumpfit("toys", "--merge", *parts))
    found = [bumpfit("toys", "--merge", *files, "--observed", "2", "--json").json for files in (parts, parts[::-1])]
    assert found[0]["p_value"] == found[1]["p_value"]
    whole = bumpfit("toys", counting, "-n", "1000", "--observed", "2", "--json").json
    assert found[0]["p_value"] == whole["p_value"]


def test_weighted_and_plain_toys_are_not_mixed(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    parts = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for i, (part, more) in enumerate(zip(parts, ([], ["--tail"]), strict=True), start=1):
        assert bumpfit("toys", counting, "-n", "1000", "--shard", f"{i}/2", "-o", part, *more).code == 0
    assert "that are weighted (--tail)" in refused(bumpfit("toys", "--merge", *parts))


def test_figures(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    for i, arguments in enumerate((
        ["toys", counting, "-n", "500"],
        ["toys", counting, "-n", "500", "--observed", "1000"],
        ["toys", counting, "-n", "2000", "--tail"],
        ["toys", counting, counting, "-n", "300"],
        ["limit", counting, "--toys", "200", "--test", "6"],
        ["coverage", counting, "--strengths", "1", "-n", "100"],
        ["sensitivity", counting, "--strengths", "3,1", "-n", "100"],
    )):  # fmt: skip
        assert bumpfit(*arguments, "--figure", tmp_path / f"{i}.png").code == 0, arguments
        assert (tmp_path / f"{i}.png").read_bytes().startswith(b"\x89PNG")


def test_coverage_by_enumeration(bumpfit: Run, counting: Path) -> None:
    """4 + mu events expected: t of n counts is known in closed form, and so is what an interval holds."""
    found = bumpfit("coverage", counting, "--strengths", "0,2,6", "-n", "20000", "--json").json
    n = np.arange(200)
    for mu, share, error in zip((0, 2, 6), found["coverage"], found["errors"], strict=True):
        best = np.maximum(n, 4.0)
        t = 2 * ((4 + mu) - best - n * np.log((4 + mu) / best))
        expected = poisson.pmf(n, 4 + mu)[t <= chi2.isf(1 - 0.6827, 1)].sum()
        assert share == pytest.approx(expected, abs=4.5 * error)
    assert (found["kind"], found["level"], found["parameter"], found["failed"]) == ("interval", 0.6827, "mu", 0)
    upper = bumpfit("coverage", counting, "--strengths", "6", "-n", "20000", "--kind", "upper-limit", "--json").json
    best = np.maximum(n, 4.0)
    q = np.where(best - 4 <= 6, 2 * (10 - best - n * np.log(10 / best)), 0.0)
    assert upper["coverage"][0] == pytest.approx(poisson.pmf(n, 10)[q <= norm.isf(0.05) ** 2].sum(), abs=0.01)
    assert upper["level"] == 0.95


def test_sensitivity_by_enumeration(bumpfit: Run, counting: Path) -> None:
    found = bumpfit("sensitivity", counting, "--strengths", "0,9", "-n", "20000", "--threshold", "3", "--json").json
    n = np.arange(5, 200)
    z = np.sqrt(2 * (n * np.log(n / 4) - (n - 4)))
    for mu, power in zip((0, 9), found["power"], strict=True):
        expected = poisson.pmf(n, 4 + mu)[z >= 3].sum()
        assert power == pytest.approx(expected, abs=5 * np.sqrt(expected * (1 - expected) / 20000))
    median = poisson.median(13)
    assert found["significance"][1][2] == pytest.approx(np.sqrt(2 * (median * np.log(median / 4) - (median - 4))))


def test_intervals_of_a_counting_experiment(bumpfit: Run, counting: Path) -> None:
    """Feldman and Cousins, Phys. Rev. D 57 (1998) 3873, Table IV: 9 events over 4.0 at 90 %; and the profile."""
    found = bumpfit("interval", counting, "--method", "feldman-cousins", "--toys", "20000", "--level", "0.9", "--seed",
                    "1", "--json").json  # fmt: skip
    (one,) = found["intervals"]
    assert (one["low"], one["high"]) == pytest.approx((1.33, 11.30), abs=0.12)
    assert (found["best"], found["parameter"]) == (pytest.approx(5.0, abs=1e-4), "mu")
    profile = bumpfit("interval", counting, "--json").json
    assert [one["level"] for one in profile["intervals"]] == [0.6827, 0.9545]
    for end in ("low", "high"):
        mu = profile["intervals"][0][end]
        assert 2 * ((4 + mu) - 9 - 9 * np.log((4 + mu) / 9)) == pytest.approx(chi2.isf(1 - 0.6827, 1), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["coverage", "--strengths", "a,b"], "cannot read --strengths a,b"),
        (["coverage", "--strengths", "nan"], "cannot read --strengths"),
        (["coverage", "--strengths", "1", "-n", "0"], "expected a whole number of at least 1"),
        (["coverage", "--strengths", "1", "--level", "1.2"], "between 0 and 1"),
        (["coverage", "--strengths=1,-1"], "outside the range of the model, 0 to 50"),
        (["coverage", "--strengths", "51"], "outside the range of the model"),
        (["coverage", "--strengths", "1", "--parameter", "nu"], "nu"),
        (["coverage", "--strengths", "1", "--figure", "x.txt"], "cannot draw"),
        (["sensitivity", "--strengths", ""], "argument is empty"),
        (["sensitivity", "--strengths", "1", "--threshold", "-1"], "threshold"),
        (["interval", "--toys", "100"], "belongs to --method feldman-cousins"),
        (["interval", "--method", "feldman-cousins", "--toys", "10"], "cannot resolve"),
        (["interval", "--method", "feldman-cousins", "--fix", "mu"], "is held fixed"),
        (["interval", "--method", "feldman-cousins", "--level", "2"], "between 0 and 1"),
    ],
)
def test_bad_studies(bumpfit: Run, counting: Path, arguments: list[str], words: str) -> None:
    assert words in refused(bumpfit(arguments[0], counting, *arguments[1:]))


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_goes_on(how: signal.Signals, bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    out, n = tmp_path / "toys.parquet", 6_000_000
    command = [sys.executable, "-m", "bumpfit", "toys", str(counting), "-n", str(n), "-o", str(out), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("*.parts/part-*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(how)
    said = process.communicate(timeout=120)[1]
    assert not out.exists()
    kept = list(tmp_path.glob("*.parts/part-*"))
    assert kept
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert said.strip().removeprefix("bumpfit: compiling, once").strip() == (
            f"bumpfit: interrupted; the toys thrown so far are kept in {out}.parts, and the same command goes on from "
            "there"
        )
    again = bumpfit(*command[3:]).json
    whole = bumpfit("toys", counting, "-n", n, "-o", tmp_path / "whole.parquet", "--workers", "1", "--json").json
    for key in ("p_value", "p_error", "fitted", "ranges", "model"):
        assert again[key] == whole[key], key
    tables = [pq.read_table(file) for file in (out, tmp_path / "whole.parquet")]
    assert tables[0].equals(tables[1], check_metadata=True)


def test_interruption_before_anything_is_kept(
    bumpfit: Run, counting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LogLinearEngine, "run", stop)
    assert "nothing was kept; with -o NAME.parquet" in refused(bumpfit("toys", counting, "-n", "100"), 130)
    done = bumpfit("toys", counting, "-n", "100", "-o", tmp_path / "toys.parquet", "--workers", "1")
    assert "nothing was written" in refused(done, 130)
    assert not list(tmp_path.iterdir())
