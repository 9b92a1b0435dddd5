"""Fits, q0, CLs and limits beside pyhf in one run: the same answers, and how much faster.

    python benchmarks/fits.py [--atlas FOLDER] [--limits] [--json FILE] [--store]

Models: a signal over a background with N bins and N statistical parameters, over correlated systematic
uncertainties, and (with --atlas, the folder or archive of HEPData ins1748602) published ATLAS likelihoods. pyhf runs
with its numpy backend and scipy's SLSQP, its defaults. Times are processor times (set OMP_NUM_THREADS=1), of the
fastest of a few calls for bumpfit, after one that compiles its kernels, and of one call for pyhf.
"""

from __future__ import annotations

import argparse
import json
import logging
import tarfile
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonpatch
import numpy as np
import pyhf

import stored
from bumpfit.inference import cls, discovery, fit, limit
from bumpfit.workspace import build, read

COLUMNS = {
    "model": ("model", ""), "bins": ("bins", "d"), "parameters": ("parameters", "d"), "question": ("question", ""),
    "bumpfit": ("bumpfit", ".6g"), "pyhf": ("pyhf", ".6g"), "bumpfit_ms": ("bumpfit, ms", ".1f"),
    "pyhf_ms": ("pyhf, ms", ".0f"), "ratio": ("ratio", ".0f"),
}  # fmt: skip
POINTS = [("A", "1300_205_60"), ("B", "1300_850_60"), ("C", "1600_850_60")]


def statistical(bins: int) -> dict[str, Any]:
    """A falling background with one statistical parameter a bin, and a peak."""
    rng = np.random.default_rng(bins)
    background = 200 * np.exp(-np.arange(bins) / (bins / 3)) + 5
    signal = 15 * np.exp(-0.5 * ((np.arange(bins) - bins / 2) / (bins / 15)) ** 2) + 1e-6
    samples = [
        build.sample("background", background, build.modifier("shapesys", "stat", 0.1 * background)),
        build.sample(
            "signal", signal, build.modifier("normfactor", "mu"), build.modifier("normsys", "acc", (0.9, 1.1))
        ),
    ]
    return build.workspace({"SR": samples}, {"SR": rng.poisson(background + signal)}, "mu")


def systematic(bins: int, sources: int) -> dict[str, Any]:
    """Three backgrounds that share shape and normalisation uncertainties, statistical errors, two channels."""
    rng = np.random.default_rng(sources)
    channels, observed = {}, {}
    for channel in ("SR", "CR"):
        samples, total = [], np.zeros(bins)
        for name, size in (("ttbar", 120.0), ("wjets", 60.0), ("fakes", 20.0)):
            content = size * rng.uniform(0.6, 1.4, bins)
            effects = [build.modifier("staterror", f"stat_{channel}", 0.04 * content)]
            for k in range(sources):
                if rng.random() < 0.7:
                    effects.append(
                        build.modifier("normsys", f"sys{k}", (1 - rng.uniform(0, 0.08), 1 + rng.uniform(0, 0.08)))
                    )
                tilt = rng.normal(0, 0.03, bins)
                effects.append(build.modifier("histosys", f"sys{k}", (content * (1 - tilt), content * (1 + tilt))))
            samples.append(build.sample(name, content, *effects))
            total += content
        signal = (8.0 if channel == "SR" else 0.5) * np.linspace(0.2, 2, bins)
        samples.append(build.sample("signal", signal, build.modifier("normfactor", "mu")))
        channels[channel], observed[channel] = samples, rng.poisson(total + signal)
    return build.workspace(channels, observed, "mu")


def published(source: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Signal points of the ATLAS sbottom search."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = source
        if source.is_file():
            with tarfile.open(source) as archive:
                archive.extractall(scratch, filter="data")
            folder = Path(scratch)
        for region, point in POINTS:
            base = folder / f"Region{region}"
            patch = json.loads((base / f"patch.sbottom_{point}.json").read_text())
            spec = jsonpatch.apply_patch(json.loads((base / "BkgOnly.json").read_text()), patch)
            yield f"ATLAS sbottom {region} {point}", spec


def timed(call: Callable[[], Any], repeat: int) -> tuple[Any, float]:
    """Answer and processor seconds of the fastest of a few calls (other work on the machine does not count)."""
    best = np.inf
    for _ in range(repeat):
        begin = time.process_time()
        answer = call()
        best = min(best, time.process_time() - begin)
    return answer, best


def compare(name: str, spec: dict[str, Any], with_limits: bool) -> list[dict[str, Any]]:
    """One row a question."""
    model = read(spec)
    workspace = pyhf.Workspace(spec)
    theirs = workspace.model()
    data = workspace.data(theirs)
    fit(model)
    rows = []

    def row(question: str, ours: float, our_time: float, other: float, other_time: float) -> None:
        rows.append({"model": name, "bins": model.compiled.n_bins, "parameters": len(model.names), "question": question,
                     "bumpfit": ours, "pyhf": other, "bumpfit_s": our_time, "pyhf_s": other_time,
                     "ratio": other_time / our_time})  # fmt: skip

    result, seconds = timed(lambda: fit(model), 5)
    (_, value), slow = timed(lambda: pyhf.infer.mle.fit(data, theirs, return_fitted_val=True), 1)
    row("fit: -2 ln L", result.twice_nll, seconds, float(value), slow)
    found, seconds = timed(lambda: discovery(model), 5)
    p0, slow = timed(lambda: pyhf.infer.hypotest(0.0, data, theirs, test_stat="q0"), 1)
    row("discovery: p0", found.p, seconds, float(p0), slow)
    tested, seconds = timed(lambda: cls(model, 1.0), 5)
    (observed, expected), slow = timed(lambda: pyhf.infer.hypotest(1.0, data, theirs, return_expected_set=True), 1)
    assert tested.observed is not None
    row("CLs(1), observed", tested.observed, seconds, float(observed), slow)
    row("CLs(1), median", tested.expected[2], seconds, float(expected[2]), slow)
    if with_limits:
        bound, seconds = timed(lambda: limit(model), 3)
        (upper, band), slow = timed(lambda: pyhf.infer.intervals.upper_limits.upper_limit(data, theirs), 1)
        assert bound.observed is not None
        assert bound.expected[2] is not None
        row("95 % limit, observed", bound.observed, seconds, float(upper), slow)
        row("95 % limit, median", bound.expected[2], seconds, float(band[2]), slow)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", type=Path, help="folder or archive of the ATLAS sbottom likelihood")
    parser.add_argument("--limits", action="store_true", help="upper limits too (minutes of pyhf for the ATLAS models)")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--store", action="store_true", help="keep the rows in benchmarks/results")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    models = [
        ("statistical, 20 bins", statistical(20)),
        ("statistical, 60 bins", statistical(60)),
        ("systematic, 2 x 10 bins", systematic(10, 15)),
        ("systematic, 2 x 15 bins", systematic(15, 25)),
    ]
    if arguments.atlas is not None:
        models += list(published(arguments.atlas))
    rows = []
    print(f"pyhf {pyhf.__version__}, times in ms")
    print("| model | bins | parameters | question | bumpfit | pyhf | bumpfit time | pyhf time | ratio |")
    print("| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for name, spec in models:
        for entry in compare(name, spec, arguments.limits):
            rows.append(entry)
            print(f"| {entry['model']} | {entry['bins']} | {entry['parameters']} | {entry['question']} | "
                  f"{entry['bumpfit']:.6g} | {entry['pyhf']:.6g} | {1e3 * entry['bumpfit_s']:.2f} | "
                  f"{1e3 * entry['pyhf_s']:.0f} | {entry['ratio']:.0f} |", flush=True)  # fmt: skip
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(rows, indent=1))
    if arguments.store:
        options = " --atlas FOLDER_OR_ARCHIVE" * (arguments.atlas is not None) + " --limits" * arguments.limits
        stored.save("fits", f"python benchmarks/fits.py{options}", [milliseconds(row) for row in rows], COLUMNS)


def milliseconds(row: dict[str, Any]) -> dict[str, Any]:
    """A row with times as they are shown."""
    return {**row, "bumpfit_ms": 1e3 * row["bumpfit_s"], "pyhf_ms": 1e3 * row["pyhf_s"]}


if __name__ == "__main__":
    main()
