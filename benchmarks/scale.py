"""How time and memory of `bumpfit run` grow with the tables.

    python benchmarks/scale.py POOL.parquet --rows 100000 300000 1000000 [--quick] [--workers 2]

The tables are drawn anew, with repetition, from the rows of POOL (a table of a search), n events as data and half as
many as background; every number is moved by a thousandth of its column's standard deviation, so that no event is there
twice. Seconds are those of the processor, of the command and its workers, writing of the report included. Memory is the
sum of the largest resident sizes of the command and its workers (Linux; an upper bound, for they need not be reached at
the same time). The exponent is that of time or memory as a power of n since the row before.
"""

from __future__ import annotations

import argparse
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

MOVED = 1e-3
TICK = 0.1


def drawn(pool: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """n rows of a table, each number moved a little."""
    rng = np.random.default_rng(seed)
    rows = pool.iloc[rng.integers(len(pool), size=n)].reset_index(drop=True)
    for name in rows:
        moved = rows[name] + MOVED * pool[name].std() * rng.standard_normal(n)
        rows[name] = moved.abs().astype(pool[name].dtype)
    return rows


def resident(process: int) -> dict[int, float]:
    """Largest resident size so far, in GB, of a process and those that it started, by their numbers."""
    parents, sizes = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        except OSError:  # it has ended
            continue
        if "VmHWM" in status:
            parents[int(folder.name)], sizes[int(folder.name)] = int(status["PPid"]), int(status["VmHWM"].split()[0])
    found = {process} & set(sizes)
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return {each: sizes[each] / 1e6 for each in found}


def measured(data: Path, background: Path, options: list[str]) -> tuple[float, float]:
    """Processor seconds and GB of one search."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bumpfit", "run", data, "--background", background, "-o", folder, *options]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        largest: dict[int, float] = {}
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None:
                for each, size in resident(process.pid).items():
                    largest[each] = max(size, largest.get(each, 0.0))
                time.sleep(TICK)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"bumpfit run ended with {process.returncode}")
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, sum(largest.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--rows", type=float, nargs="+", default=[1e5, 3e5, 1e6])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    pool = pd.read_parquet(options.pool)
    more = ["--workers", str(options.workers), *(["--quick"] if options.quick else [])]
    before: tuple[float, float, float] | None = None
    for n in (int(rows) for rows in options.rows):
        with tempfile.TemporaryDirectory() as folder:
            paths = Path(folder) / "data.parquet", Path(folder) / "background.parquet"
            for seed, (path, size) in enumerate(zip(paths, (n, n // 2), strict=True)):
                drawn(pool, size, seed).to_parquet(path)
            seconds, memory = measured(*paths, more)
        words = f"| {n:.0e} + {n // 2:.0e} | {'quick' if options.quick else 'default'} | {seconds:.0f} | {memory:.2f} |"
        if before is not None:
            steps = [
                math.log(new / old) / math.log(n / before[0])
                for new, old in zip((seconds, memory), before[1:], strict=True)
            ]
            words += f" {steps[0]:.2f}, {steps[1]:.2f} |"
        print(words, flush=True)
        before = (n, seconds, memory)


if __name__ == "__main__":
    main()
