"""Simulated events per second and core, and the share of the time that is spent inside Pythia and fastjet.

    python benchmarks/simulate.py [EVENTS]

Times are CPU times of one process after a first batch (Pythia started, libraries loaded). 'inside' is what the calls
of Pythia (event generation) and of fastjet (clustering, constituents, N-subjettiness) take, their Python layers
included; the rest is detector, columns and tables.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import fastjet._pyjet
import pythia8mc

from bumpfit import simulate
from bumpfit.simulate.task import Job, run_chunk

spent = {"pythia": 0.0, "fastjet": 0.0}


def timed(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return function(*arguments, **options)
        finally:
            spent[what] += time.process_time() - start

    return call


def jobs() -> dict[str, Job]:
    return {
        "dijet, QCD": simulate.dijet(),
        "dijet, QCD, multi-parton interactions": simulate.dijet(simulate.qcd_dijets(mpi=True)),
        "dijet, 3500 -> 500, 100 GeV": simulate.dijet(simulate.resonance(3500, 500, 100)),
        "wtag, signal": simulate.wtag("signal"),
        "wtag, background": simulate.wtag("background"),
    }


def main() -> None:
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    pythia8mc.Pythia.nextBatch = timed(pythia8mc.Pythia.nextBatch, "pythia")
    sequence = fastjet._pyjet.AwkwardClusterSequence
    for name in ("__init__", "inclusive_jets", "constituent_index", "njettiness"):
        setattr(sequence, name, timed(getattr(sequence, name), "fastjet"))
    result = {}
    for name, job in jobs().items():
        run_chunk((job, 0, 0, 5))
        spent.update(pythia=0.0, fastjet=0.0)
        start = time.process_time()
        piece = run_chunk((dataclasses.replace(job, chunk=events), 0, 1, events))
        total = time.process_time() - start
        result[name] = {
            "generated_per_second": round(piece.generated / total, 1),
            "written_per_second": round(piece.table.num_rows / total, 1),
            "inside": round((spent["pythia"] + spent["fastjet"]) / total, 4),
            "pythia": round(spent["pythia"] / total, 4),
            "fastjet": round(spent["fastjet"] / total, 4),
        }
        print(json.dumps({name: result[name]}), flush=True)


if __name__ == "__main__":
    main()
