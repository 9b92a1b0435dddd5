"""`run`, `toys` and `simulate`, killed at any time (SIGKILL, which no program can catch): the same command goes on, its
numbers are those of a run without a kill, and neither a file nor a process is left over.

A chain is a command that is killed up to three times, resumed each time, and then left to end. Half of the kills are
uniform over the time of a whole run, counted from when the output is locked; the others come soon after one of the
outputs has appeared, when results are written and pieces removed. `make studies` makes 50 kills of each command, the
usual tests one.
"""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from writing_commands import Case, Commands, Make, numbers, tree

from bumpfit import files
from study_size import FULL

SEEDS = (1, 2) if FULL else (1,)
KILLS = 25 if FULL else 1
"""Of each seed."""
CHAIN = 3
SOON = 0.3
"""Seconds after an output in which a run writes others and tidies up."""
COMPLETE = "already holds another run"
TICK = 0.002
PATIENCE = 30.0
CASES = {
    "run": Case("run {events} --background {table} --quick --iterations 0 --workers 2", {"--out": "out"}),
    "toys": Case(f"toys {{workspace}} -n {100_000 if FULL else 30_000} --workers 2", {"--out": "out.parquet"}),
    "simulate": Case(
        "simulate process --settings {settings} -n 1000 --chunk 250 --workers 2", {"--out": "out.parquet"}
    ),
}


@dataclass
class Killer:
    """Starts a command and kills it."""

    command: Commands
    seconds: float
    """That a whole run takes."""
    outputs: list[str]
    """Files of a whole run."""
    draw: random.Random
    groups: list[int] = field(default_factory=list)

    def __call__(self) -> bool:
        """Kill the command, but not its workers; whether it still ran then."""
        line = [sys.executable, "-m", "bumpfit", *self.command.line(self.command.outputs)]
        folder, over = self.command.folder, self.draw.random()
        with subprocess.Popen(
            line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, text=True
        ) as process:
            self.groups.append(process.pid)

            def wait(happened: Callable[[], bool]) -> None:
                while process.poll() is None and not happened():
                    time.sleep(TICK)

            wait(lambda: any(f'"pid": {process.pid},' in text(lock) for lock in folder.rglob(".lock")))
            if self.draw.random() < 0.5:
                end = time.monotonic() + over * self.seconds
            else:
                output = folder / self.draw.choice(self.outputs)
                wait(output.exists)
                end = time.monotonic() + over * SOON
            wait(lambda: time.monotonic() >= end)
            process.kill()
            told = process.communicate()[1]
        complete = process.returncode == 2 and COMPLETE in told  # its predecessor was killed after the last output
        assert process.returncode in (0, -signal.SIGKILL) or complete, told
        return process.returncode == -signal.SIGKILL


def text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # removed in this moment
        return ""


def running(group: int) -> list[str]:
    """Processes of a group that have not ended, where the system tells."""
    stats = (text(path).rpartition(")") for path in Path("/proc").glob("[0-9]*/stat"))
    return [f"{name})" for name, _, rest in stats if rest and rest.split()[0] != "Z" and rest.split()[2] == str(group)]


def names(folder: Path) -> set[str]:
    """Files and folders below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.slow
@pytest.mark.statistics
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_kill_at_any_time_changes_nothing(name: str, seed: int, commands: Make) -> None:
    command = commands(CASES[name])
    start = time.monotonic()
    assert command(command.outputs).code == 0
    seconds, whole, there = time.monotonic() - start, tree(command.folder), names(command.folder)
    draw = random.Random(seed)
    kill = Killer(command, seconds, sorted(whole), draw)
    kills = chains = late = 0
    while kills < KILLS:
        chains += 1
        command.clear()
        for _ in range(min(draw.randint(1, CHAIN), KILLS - kills)):
            if not kill():
                break
            kills += 1
        complete = names(command.folder) == there
        if not complete:
            files._swept.clear()  # as in a new process
            again = command(command.outputs)
            if again.code:  # killed after it had removed its pieces: as a second run
                assert COMPLETE in again.err, again.err
                late += 1
        assert names(command.folder) == there
        assert numbers(tree(command.folder)) == numbers(whole)
    end = time.monotonic() + PATIENCE
    while left := [process for group in kill.groups for process in running(group)]:
        assert time.monotonic() < end, left
        time.sleep(0.1)
    print(
        f"{name}: {kills} kills in {chains} chains, {late} after the end, {len(there)} outputs equal, nothing left over"
    )
