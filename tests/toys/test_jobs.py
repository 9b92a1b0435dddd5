"""Job files: the scripts are run with a stand-in for bumpfit that records what it is asked for."""

import os
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from bumpfit import toys
from bumpfit.errors import InputError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a space in its name, a workspace, and a `bumpfit` that writes its arguments down."""
    folder = tmp_path / "my search"
    folder.mkdir()
    (folder / "workspace.json").write_text("{}")
    recorder = tmp_path / "bin" / "bumpfit"
    recorder.parent.mkdir()
    recorder.write_text("#!/bin/bash\nprintf '%s\\n' \"$@\"\n")
    recorder.chmod(0o755)
    return folder


def arguments(place: Path, command: list[str], **variables: str) -> list[str]:
    path = f"{place.parent / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(command, env={"PATH": path, **variables}, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_slurm(place: Path) -> None:
    files, commands = toys.job_files(
        "slurm", place / "workspace.json", 1000, 8, place / "jobs", options=["--seed", "5"], cores=4, minutes=30
    )
    text = files[0].read_text()
    assert "#SBATCH --array=1-8\n" in text and "--cpus-per-task=4" in text and "--time=30" in text
    found = arguments(place, ["bash", str(files[0])], SLURM_ARRAY_TASK_ID="3")
    jobs = place / "jobs"
    assert found == [
        "toys", str(place / "workspace.json"), "-n", "1000", "--workers", "4", "--seed", "5",
        "--shard", "3/8", "-o", str(jobs / "shard-3.parquet"),
    ]  # fmt: skip
    assert commands[0] == f"sbatch '{files[0]}'"
    merged = arguments(place, ["bash", "-c", f"touch '{jobs}/shard-1.parquet'; {commands[1]}"])
    assert merged == [
        "toys", "--merge", str(jobs / "shard-1.parquet"), "-n", "1000", "-o", str(jobs / "toys.parquet"),
    ]  # fmt: skip


def test_htcondor_counts_from_zero(place: Path) -> None:
    files, commands = toys.job_files("htcondor", place / "workspace.json", 1000, 8, place / "jobs")
    found = arguments(place, [str(files[0]), "0"])
    assert found[-4:] == ["--shard", "1/8", "-o", str(place / "jobs" / "shard-1.parquet")]
    assert "queue 8" in files[1].read_text()
    assert commands[0].startswith("condor_submit")


def test_misuse(place: Path) -> None:
    with pytest.raises(InputError, match="unknown batch system"):
        toys.job_files("pbs", place / "workspace.json", 1000, 8, place)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no workspace"):
        toys.job_files("slurm", place / "none.json", 1000, 8, place)
    for shards in (0, 1001):
        with pytest.raises(InputError, match="cannot split"):
            toys.job_files("slurm", place / "workspace.json", 1000, shards, place)


@pytest.mark.parametrize("text", ["", "3", "0/8", "9/8", "a/b", "-1/4", "1/0", "1/2/3", "1.0/2"])
def test_bad_shards(text: str) -> None:
    with pytest.raises(InputError, match="shard"):
        toys.parse_shard(text)


def test_shards_cover_all_toys() -> None:
    assert toys.parse_shard("3/8") == (3, 8)
    ranges = [toys.shard(1003, i, 7) for i in range(1, 8)]
    assert ranges[0][0] == 0 and ranges[-1][1] == 1003
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
