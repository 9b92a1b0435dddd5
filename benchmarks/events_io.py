"""Reading events: time and memory of observables and cuts against uproot reading the same branches alone.

    python benchmarks/events_io.py --folder FOLDER --gigabytes 1

Writes a set of flat Delphes-like ROOT files (size `--gigabytes`) if the folder does not hold them yet, then measures
in one process and in turn: uproot alone (`uproot.iterate` over the branches in use), uproot with the same arithmetic
written by hand, and bumpfit. Times are CPU seconds, the least of `--repeats`, ratios the median over them;
memory is the largest resident size of a fresh process (Linux).
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

EVENTS = 250_000  # a file
DISTINCT = 5  # files that are made; the others are copies
Work = Callable[[list[str]], int]
BRANCHES = ("Jet.PT", "Jet.Eta", "Jet.Phi", "Jet.Mass", "MissingET.MET")
CUT = "jet0.pt > 100 and jet.size > 2 and jet0,jet1.delta_r < 3 and met0.met > 20"


def write(folder: Path, gigabytes: float) -> list[str]:
    import awkward as ak
    import uproot

    folder.mkdir(parents=True, exist_ok=True)
    paths = sorted(str(path) for path in folder.glob("events_*.root"))
    number = len(paths)
    while sum(Path(path).stat().st_size for path in paths) < gigabytes * 1e9:
        if number >= DISTINCT:
            copied = folder / f"events_{len(paths):03d}.root"
            shutil.copyfile(paths[len(paths) % DISTINCT], copied)
            paths.append(str(copied))
            continue
        rng = np.random.default_rng(number)
        counts = rng.poisson(5, EVENTS)
        n = counts.sum()
        jets = {"PT": rng.exponential(60, n) + 20, "Eta": rng.normal(0, 1.5, n), "Phi": rng.uniform(-np.pi, np.pi, n)}
        jets |= {"Mass": rng.exponential(9, n), "BTag": rng.integers(0, 2, n), "Charge": rng.integers(-1, 2, n)}
        events = {
            "Jet": ak.unflatten(ak.zip({key: value.astype("f4") for key, value in jets.items()}), counts),
            "MissingET": ak.unflatten(
                ak.zip({key: rng.exponential(30, EVENTS).astype("f4") for key in ("MET", "Phi")}), np.ones(EVENTS, int)
            ),
        }
        path = str(folder / f"events_{number:03d}.root")
        with uproot.recreate(path) as file:
            tree = file.mktree(
                "Delphes",
                {name: values.type.content for name, values in events.items()},
                counter_name=lambda name: f"{name}_size",
                field_name=lambda outer, inner: f"{outer}.{inner}",
            )
            for start in range(0, EVENTS, 50_000):
                tree.extend({name: values[start : start + 50_000] for name, values in events.items()})
        paths.append(path)
        number += 1
    return paths


def uproot_alone(paths: list[str]) -> int:
    import uproot

    files = [f"{path}:Delphes" for path in paths]
    return sum(len(batch) for batch in uproot.iterate(files, BRANCHES, step_size=50_000))


def uproot_by_hand(paths: list[str]) -> int:
    import awkward as ak
    import uproot

    passed = 0
    for batch in uproot.iterate([f"{path}:Delphes" for path in paths], BRANCHES, step_size=50_000):
        eta, phi, pt = (ak.pad_none(batch[f"Jet.{name}"], 2) for name in ("Eta", "Phi", "PT"))
        gap = (phi[:, 0] - phi[:, 1] + np.pi) % (2 * np.pi) - np.pi
        near = np.hypot(eta[:, 0] - eta[:, 1], gap) < 3
        kept = (pt[:, 0] > 100) & (ak.num(batch["Jet.PT"]) > 2) & near & (batch["MissingET.MET"][:, 0] > 20)
        passed += int(ak.sum(ak.fill_none(kept, False)))
    return passed


def bumpfit_read(paths: list[str]) -> int:
    from bumpfit import events

    total = 0
    for chunk in events.open(paths).chunks(events=50_000):
        for name in BRANCHES:
            total += len(events.observable(name, chunk)) if name == BRANCHES[0] else 0 * len(chunk.column(name))
    return total


def bumpfit_cut(paths: list[str]) -> int:
    from bumpfit import events

    return int(events.mask(CUT, events.open(paths)).sum())


def memory(work: Work, paths: list[str], queue: multiprocessing.Queue[float]) -> None:
    work(paths)
    # not ru_maxrss, which a child inherits from its parent
    lines = Path("/proc/self/status").read_text().splitlines()
    queue.put(next(float(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM")))


def largest(work: Work, paths: list[str]) -> float:
    """Megabytes of a fresh process that does the work."""
    context = multiprocessing.get_context("spawn")
    queue: multiprocessing.Queue[float] = context.Queue()
    process = context.Process(target=memory, args=(work, paths, queue))
    process.start()
    result = queue.get()
    process.join()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    paths = write(options.folder, options.gigabytes)
    size = sum(Path(path).stat().st_size for path in paths) / 1e9
    print(f"{len(paths)} files, {size:.2f} GB; the branches {', '.join(BRANCHES)}")
    works = (uproot_alone, bumpfit_read, uproot_by_hand, bumpfit_cut)
    seconds = np.zeros((options.repeats, len(works)))
    results = [work(paths[:1]) for work in works]  # imports, first use
    for row in seconds:  # in turn, so that what else the machine does hits all alike
        for place, work in enumerate(works):
            start = time.process_time()
            results[place] = work(paths)
            row[place] = time.process_time() - start
    for place, work in enumerate(works):
        ratio = np.median(seconds[:, place] / seconds[:, 0])
        print(
            f"{work.__name__:16s} {seconds[:, place].min():7.2f} s  {ratio:5.2f} of uproot alone  "
            f"{largest(work, paths):6.0f} MB  {results[place]} events"
        )


if __name__ == "__main__":
    main()
