"""CPU seconds of short commands: the first after an installation (nothing compiled) and later ones, beside pyhf's.

python benchmarks/start.py WORKSPACE.json [--repeats N] [--store]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import stored

SOURCE = Path(__file__).resolve().parent.parent / "src"
WANTED = {"--help": (0.6, 0.6), "--version": (0.6, 0.6), "fit": (6.0, None), "limit": (6.0, None),
          "impacts": (6.0, None), "toys": (15.0, None)}  # fmt: skip
"""CPU seconds: first, later; a later fit shall take no longer than pyhf's."""


def cpu(command: list[str], environment: dict[str, str]) -> float:
    """User and system seconds of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(words: list[str], repeats: int) -> tuple[float, float]:
    """Medians of the first call of a fresh copy of the package, and of the next."""
    first, later = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            tree = shutil.copytree(SOURCE, Path(folder) / "src", ignore=shutil.ignore_patterns("__pycache__"))
            environment = {"PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": f"{folder}/cache"}
            call = [sys.executable, "-m", "bumpfit", *words]
            first.append(cpu(call, environment))
            later.append(cpu(call, environment))
    return statistics.median(first), statistics.median(later)


def main() -> None:
    """Measure, print and store a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--toys", type=int, default=2000)
    parser.add_argument("--store", action="store_true", help="keep the rows in benchmarks/results")
    given = parser.parse_args()
    workspace = str(given.workspace.resolve())
    commands = {
        "--help": ["--help"],
        "--version": ["--version"],
        "fit": ["fit", workspace],
        "limit": ["limit", workspace],
        "impacts": ["impacts", workspace],
        "toys": ["toys", workspace, "-n", str(given.toys)],
    }
    rows: list[dict[str, object]] = []
    print(f"load {os.getloadavg()[0]:.1f}")

    def row(command: str, first: float | None, later: float, wanted: str = "") -> None:
        rows.append({"command": command, "first": first, "later": later, "wanted": wanted})
        print(f"{command}: {'' if first is None else f'first {first:.2f} s, '}later {later:.2f} s", flush=True)

    for name, words in commands.items():
        wanted = ", ".join("as pyhf" if name == "fit" and one is None else f"{one:g}" for one in WANTED[name]
                           if one is not None or name == "fit")  # fmt: skip
        row(f"`bumpfit {' '.join([name, *words[2:]])}`", *measured(words, given.repeats), wanted)
    for words in (["--help"], ["--version"], ["fit", workspace]):
        command = [sys.executable, "-c", "from pyhf.cli import cli; cli()", *words]
        row(f"`pyhf {words[0]}`", None, statistics.median(cpu(command, {}) for _ in range(given.repeats)))
    if given.store:
        columns = {"command": ("command", ""), "first": ("first [CPU s]", ".2f"), "later": ("later [CPU s]", ".2f"),
                   "wanted": ("wanted: first, later", "")}  # fmt: skip
        shown = " ".join(["python benchmarks/start.py", str(given.workspace), f"--repeats {given.repeats}"])
        stored.save("start", shown, rows, columns)


if __name__ == "__main__":
    main()
