"""Toys from the command line."""

import json
from pathlib import Path

import pytest
from command_line import Run, refused
from scipy.stats import norm, poisson


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


def test_shards_merge_to_the_whole(bumpfit: Run, counting: Path, tmp_path: Path) -> None:
    whole = bumpfit("toys", counting, "-n", "3000", "--json").json
    parts = [tmp_path / f"part{i}.parquet" for i in (1, 2, 3)]
    for i, part in enumerate(parts, start=1):
        assert bumpfit("toys", counting, "-n", "3000", "--shard", f"{i}/3", "-o", part).code == 0
    merged = bumpfit("toys", "--merge", *parts, "-o", tmp_path / "all.parquet", "--json").json
    assert (merged["p_value"], merged["toys"]) == (whole["p_value"], 3000)
    assert "more than one result" in refused(bumpfit("toys", "--merge", parts[0], parts[0]))
    assert "is not a result of 'bumpfit toys'" in refused(bumpfit("toys", "--merge", counting))


def test_until(bumpfit: Run, counting: Path) -> None:
    found = bumpfit("toys", counting, "-n", "100000000", "--until", "0.1", "--json").json
    assert found["toys"] < 10_000_000
    assert found["p_error"] / found["p_value"] < 0.1


def test_tail(bumpfit: Run, counting: Path) -> None:
    found = bumpfit("toys", counting, "-n", "20000", "--tail", "--seed", "2", "--json").json
    assert found["p_value"] == pytest.approx(poisson.sf(8, 4.0), abs=4 * found["p_error"])
    assert found["p_error"] / found["p_value"] < 0.1


def test_table(bumpfit: Run, counting: Path) -> None:
    shown = bumpfit("toys", counting, "-n", "2000", "--observed", "400").out
    assert "p-value" in shown
    assert "< 0.0005" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give the number of toys"),
        (["-n", "0"], "expected a whole number of at least 1"),
        (["-n", "10", "--statistic", "t0"], "unknown test statistic"),
        (["-n", "10", "--shard", "1/2"], "needs a result file"),
        (["-n", "10", "--shard", "5/2", "-o", "x.parquet"], "there is no shard 5/2"),
        (["-n", "10", "--shard", "half", "-o", "x.parquet"], "expected I/N"),
        (["-n", "10", "-o", "x.txt"], "ends in .parquet or .json"),
        (["-n", "10", "--tail", "--until", "0.1"], "goes without"),
        (["-n", "10", "--until", "7"], "between 0 and 1"),
    ],
)
def test_bad_toys(
    bumpfit: Run, counting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(bumpfit("toys", counting, *arguments))
    assert not list(tmp_path.iterdir())


def test_unreachable_scheduler(bumpfit: Run, counting: Path) -> None:
    pytest.importorskip("distributed")
    assert "no Dask scheduler answers" in refused(
        bumpfit("toys", counting, "-n", "10", "--dask", "tcp://127.0.0.1:1"), 1
    )
