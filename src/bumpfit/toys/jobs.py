"""Job files for batch systems: one shard of toys a job, joined afterwards.

Shards know nothing of each other; a job that dies is submitted again and continues from the pieces it left.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from bumpfit.errors import InputError
from bumpfit.files import atomic
from bumpfit.words import System

SLURM = """#!/bin/bash
#SBATCH --job-name=bumpfit-toys
#SBATCH --array=1-{shards}
#SBATCH --cpus-per-task={cores}
#SBATCH --time={minutes}
#SBATCH --requeue
#SBATCH --output={folder}/shard-%a.log
set -euo pipefail
exec {command} --shard "$SLURM_ARRAY_TASK_ID/{shards}" -o {folder}/shard-"$SLURM_ARRAY_TASK_ID".parquet
"""

CONDOR_SCRIPT = """#!/bin/bash
# $1: number of the shard, counted from 0 by HTCondor
set -euo pipefail
shard=$(($1 + 1))
exec {command} --shard "$shard/{shards}" -o {folder}/shard-"$shard".parquet
"""

CONDOR = """executable = {script}
arguments = $(Process)
log = {folder}/condor.log
output = {folder}/shard-$(Process).out
error = {folder}/shard-$(Process).err
request_cpus = {cores}
+MaxRuntime = {seconds}
max_retries = 3
queue {shards}
"""


def job_files(
    system: System,
    workspaces: str | Path | Sequence[str | Path],
    n: int,
    shards: int,
    folder: str | Path,
    *,
    options: Sequence[str] = (),
    cores: int = 1,
    minutes: int = 60,
) -> tuple[list[Path], list[str]]:
    """Write the files that throw n toys of a workspace (of a scan over several) in shards; returns them and the
    commands to type.

    options   further options of `bumpfit toys` (statistic, seed, ...), the same for every shard
    folder    where job files, logs and results go; on a file system that the workers see

    Raises InputError for an unknown system, a workspace that does not exist, or fewer than one shard, core or minute.

    Examples:
        >>> import json
        >>> from pathlib import Path
        >>> Path("w.json").write_text(json.dumps(model.spec)) > 0
        True
        >>> files, commands = bumpfit.toys.job_files("slurm", "w.json", 1_000_000, 10, "jobs")
        >>> commands[0]
        'sbatch ...toys.sbatch'
    """
    if system not in ("slurm", "htcondor"):
        raise InputError(f"unknown batch system '{system}'; known are slurm and htcondor")
    if not 1 <= shards <= n or cores < 1 or minutes < 1:
        raise InputError(
            f"cannot split {n} toys into {shards} shards of {cores} cores and {minutes} minutes; all must be "
            "at least 1, and no shard may be empty"
        )
    given = [Path(path) for path in ([workspaces] if isinstance(workspaces, str | Path) else workspaces)]
    for path in given:
        if not path.is_file():
            raise InputError(f"there is no workspace {path}")
    target = Path(folder).resolve()
    place = shlex.quote(str(target))
    command = shlex.join(
        ["bumpfit", "toys", *(str(path.resolve()) for path in given), "-n", str(n), "--workers", str(cores), *options]
    )
    values = {"shards": shards, "cores": cores, "minutes": minutes, "seconds": 60 * minutes, "command": command}
    merge = f"bumpfit toys --merge {place}/shard-*.parquet -n {n} -o {shlex.quote(str(target / 'toys.parquet'))}"
    if system == "slurm":
        script = target / "toys.sbatch"
        _write(script, SLURM.format(folder=place, **values))
        return [script], [shlex.join(["sbatch", str(script)]), merge]
    script, description = target / "toys.sh", target / "toys.sub"
    _write(script, CONDOR_SCRIPT.format(folder=place, **values))
    script.chmod(0o755)
    _write(description, CONDOR.format(script=script, folder=target, **values))
    return [script, description], [shlex.join(["condor_submit", str(description)]), merge]


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
