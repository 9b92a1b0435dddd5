"""CPU seconds of short commands: the first after an installation (nothing compiled) and later ones, beside pyhf's.

python benchmarks/start.py WORKSPACE.json [--repeats N]
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

SOURCE = Path(__file__).resolve().parent.parent / "src"


def cpu(command: list[str], environment: dict[str, str]) -> float:
    """User and system seconds of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--toys", type=int, default=2000)
    given = parser.parse_args()
    workspace = str(given.workspace.resolve())
    commands = {
        "--help": ["--help"],
        "fit": ["fit", workspace],
        "limit": ["limit", workspace],
        "impacts": ["impacts", workspace],
        "toys": ["toys", workspace, "-n", str(given.toys)],
    }
    print(f"load {os.getloadavg()[0]:.1f}")
    for name, words in commands.items():
        first, later = [], []
        for _ in range(given.repeats):
            with tempfile.TemporaryDirectory() as folder:
                ignore = shutil.ignore_patterns("__pycache__")
                tree = shutil.copytree(SOURCE, Path(folder) / "src", ignore=ignore)
                environment = {"PYTHONPATH": str(tree), "NUMBA_CACHE_DIR": f"{folder}/cache"}
                call = [sys.executable, "-m", "bumpfit", *words]
                first.append(cpu(call, environment))
                later.append(cpu(call, environment))
        print(f"{name}: first {statistics.median(first):.2f} s, later {statistics.median(later):.2f} s", flush=True)
    command = [sys.executable, "-c", "from pyhf.cli import cli; cli()", "fit", workspace]
    pyhf = [cpu(command, {}) for _ in range(given.repeats)]
    print(f"pyhf fit: {statistics.median(pyhf):.2f} s")


if __name__ == "__main__":
    main()
