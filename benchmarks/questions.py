"""CPU seconds of every question on one workspace.

    python benchmarks/questions.py WORKSPACE.json [--patch PATCH.json] [--only fit,limit]
    python benchmarks/questions.py --made 328

`--made N` makes a workspace of N parameters: ten channels of ten bins, a signal strength, systematics that change rates
and shapes (those of shapes differ at both ends) and the statistical errors of the bins.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bumpfit import inference, workspace
from bumpfit.errors import BumpfitError

CHANNELS, BINS = 10, 10


def made(parameters: int) -> workspace.Model:
    """A workspace of so many parameters, with data near what it expects."""
    build, random = workspace.build, np.random.default_rng(5)
    names = [f"s{i}" for i in range(parameters - 1 - CHANNELS * BINS)]
    channels, observed = {}, {}
    for c in range(CHANNELS):
        samples = []
        for name, scale in (("signal", 5.0), ("top", 120.0), ("wjets", 60.0)):
            rates = scale * np.exp(-np.arange(BINS) / 6) * random.uniform(0.8, 1.2, BINS)
            modifiers = [build.modifier("normfactor", "mu")] if name == "signal" else []
            for systematic in random.choice(names, len(names) // 3, replace=False):
                low, high = np.exp(random.normal(0, 0.02, 2))
                if random.random() < 0.4:
                    tilt = np.linspace(-1, 1, BINS)
                    ends = rates * (1 - 0.03 * random.normal() * tilt), rates * (1 + 0.03 * random.normal() * tilt)
                    modifiers.append(build.modifier("histosys", systematic, ends))
                else:
                    modifiers.append(build.modifier("normsys", systematic, (low, high)))
            if name != "signal":
                modifiers.append(build.modifier("staterror", f"stat_{c}", 0.03 * rates))
            samples.append(build.sample(name, rates.tolist(), *modifiers))
        channels[f"c{c}"] = samples
        observed[f"c{c}"] = random.poisson(np.sum([s["data"] for s in samples[1:]], axis=0)).tolist()
    spec = build.workspace(channels, observed, "mu", {"mu": {"bounds": [[-10.0, 10.0]]}})
    return workspace.read(spec)


def questions(model: workspace.Model) -> dict[str, Callable[[], Any]]:
    """What is asked."""
    best = inference.fit(model)
    poi = str(model.poi)
    other = max(
        (n for n in best.errors if n not in (poi, *best.fixed) and "[" not in n), key=lambda n: best.errors[n] or 0
    )
    return {
        "fit": lambda: inference.fit(model),
        "discovery": lambda: inference.discovery(model),
        "interval": lambda: inference.interval(model),
        "scan, 41 points": lambda: inference.scan(model),
        "limit with band": lambda: inference.limit(model),
        "contour, 40 points": lambda: inference.contour(model, poi, other),
        "goodness": lambda: inference.goodness(model),
        "yields with errors": lambda: inference.postfit(model),
        "impacts": lambda: inference.impacts(model),
    }


def main() -> None:
    """Ask, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path, nargs="?")
    parser.add_argument("--patch", type=Path)
    parser.add_argument("--made", type=int)
    parser.add_argument("--only", default="", help="Questions that begin so, with commas.")
    arguments = parser.parse_args()
    if arguments.made is None and arguments.workspace is None:
        parser.error("give a workspace, or --made N")
    model = made(arguments.made) if arguments.made else workspace.read(arguments.workspace, patch=arguments.patch)
    print(f"{len(model.names)} parameters")
    only = tuple(arguments.only.split(","))
    for name, ask in questions(model).items():
        if name.startswith(only):
            begun, told = time.process_time(), ""
            try:
                ask()
            except BumpfitError as error:
                told = f" {error}"
            print(f"| {name} | {time.process_time() - begun:.2f} |{told}", flush=True)


if __name__ == "__main__":
    main()
