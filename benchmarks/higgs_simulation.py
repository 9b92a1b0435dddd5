"""The simulation of HiggsML events against official ones: Kolmogorov-Smirnov tests, figures, and rows a CPU second.

    python benchmarks/higgs_simulation.py --official FAIR_Universe_HiggsML_data.parquet SAMPLE.parquet... \
        [--out docs/figures/higgs_simulation.png] [--json FILE]
    python benchmarks/higgs_simulation.py --speed [--json FILE]

SAMPLE files are what `bumpfit simulate higgs` writes (finished chunks in FILE.parts/ will do). Both sides are cut at
had_pt > 26 GeV. Test: the largest distance of the two weighted distribution functions, with Kolmogorov's law for the
effective numbers of rows; ties make it conservative (n_jets). The official file is published at zenodo.org, record
15131565 (CC-BY-4.0), and is no part of this project.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import kstwobign

from bumpfit.higgsml.derived import derived
from bumpfit.simulate.higgs import CARDS, HiggsJob, simulate_chunk

Array = NDArray[np.float64]
VARIABLES = {
    "DER_mass_transverse_met_lep": (0, 120), "DER_mass_vis": (20, 180), "DER_pt_h": (0, 200), "PRI_had_pt": (26, 120),
    "PRI_had_eta": (0, 2.6), "PRI_lep_pt": (20, 100), "PRI_lep_eta": (0, 2.6), "PRI_met": (0, 100),
    "PRI_n_jets": (-0.5, 5.5), "PRI_jet_all_pt": (0, 300), "PRI_jet_leading_pt": (20, 200),
    "PRI_jet_leading_eta": (0, 5),
}  # fmt: skip
LEAST = 20
"""Official events of a process below which a test says nothing."""
OFFICIAL_EFFICIENCY = {"htautau": 0.0496, "ztautau": 0.0153, "ttbar": 0.00634, "diboson": 0.00407}
SPEED_TRIES = {"ztautau": 4000, "htautau": 1000, "ttbar": 4000, "diboson": 10_000}


def values(table: pd.DataFrame, name: str) -> tuple[Array, NDArray[np.bool_]]:
    """A variable and where it is defined; |eta| for eta."""
    v = table[name].to_numpy(np.float64)
    defined = v > -25 if "jet_leading" in name else np.ones(v.size, np.bool_)
    return (np.abs(v) if name.endswith("eta") else v), defined


def ks(a: Array, wa: Array, b: Array, wb: Array) -> float:
    """p-value of two weighted samples."""
    both = np.concatenate([a, b])
    order = np.argsort(both, kind="stable")
    one = np.cumsum(np.concatenate([wa / wa.sum(), np.zeros(b.size)])[order])
    two = np.cumsum(np.concatenate([np.zeros(a.size), wb / wb.sum()])[order])
    last = np.append(np.diff(both[order]) > 0, True)
    na, nb = effective(wa), effective(wb)
    return float(kstwobign.sf(np.max(np.abs(one - two)[last]) * np.sqrt(na * nb / (na + nb))))


def effective(weights: Array) -> float:
    return float(weights.sum() ** 2 / (weights**2).sum())


def read(paths: list[Path]) -> pd.DataFrame:
    files = [f for p in paths for f in (sorted(p.glob("*.parquet")) if p.is_dir() else [p])]
    table = pd.concat([pd.read_parquet(f) for f in files], ignore_index=True)
    table = table[table.PRI_had_pt > 26].reset_index(drop=True)
    fresh = derived(table)
    return table.assign(**{name: fresh[name] for name in fresh.columns if name.startswith("DER_")})


def compare(sample: pd.DataFrame, official: pd.DataFrame) -> dict[str, Any]:
    """By process: rows, and for each variable p-value and means with the official one's error."""
    result: dict[str, Any] = {}
    for process in CARDS:
        ours, theirs = (t[t.detailed_labels == process] for t in (sample, official))
        if ours.empty or theirs.empty:
            continue
        found = {}
        for name in VARIABLES:
            (a, fa), (b, fb) = values(ours, name), values(theirs, name)
            wa, wb = ours.weights.to_numpy(np.float64)[fa], theirs.weights.to_numpy(np.float64)[fb]
            found[name] = {
                "p": ks(a[fa], wa, b[fb], wb) if fb.sum() >= LEAST else None,
                "mean": float(np.average(a[fa], weights=wa)) if fa.any() else None,
                "official": float(np.average(b[fb], weights=wb)) if fb.any() else None,
                "official_error": float(b[fb].std() / np.sqrt(fb.sum())) if fb.any() else None,
            }
        rows = {"rows": len(ours), "effective": effective(ours.weights.to_numpy(np.float64)), "official": len(theirs)}
        result[process] = {**rows, "variables": found}
    return result


def draw(sample: pd.DataFrame, official: pd.DataFrame, out: Path) -> None:
    """Normalised distributions: lines simulated, points official; htautau and ztautau."""
    figure, axes = plt.subplots(3, 4, figsize=(15, 9), constrained_layout=True)
    for axis, (name, (low, high)) in zip(axes.flat, VARIABLES.items(), strict=True):
        edges = np.linspace(low, high, 7 if name == "PRI_n_jets" else 16)
        for process, colour in (("ztautau", "tab:blue"), ("htautau", "tab:red")):
            for table, points in ((sample, False), (official, True)):
                chosen = table[table.detailed_labels == process]
                v, defined = values(chosen, name)
                w = chosen.weights.to_numpy(np.float64)
                inside = np.histogram(v[defined], edges, weights=w[defined])[0] / w[defined].sum()
                error = np.sqrt(np.histogram(v[defined], edges, weights=w[defined] ** 2)[0]) / w[defined].sum()
                centre = (edges[1:] + edges[:-1]) / 2
                if points:
                    axis.errorbar(centre, inside, error, fmt="o", ms=3, color=colour, label=f"{process}, official")
                else:
                    axis.stairs(inside, edges, color=colour, label=f"{process}, simulated")
        axis.set_xlabel(f"|{name}|" if name.endswith("eta") else name)
        axis.set_ylim(bottom=0)
    axes[0, 0].legend(fontsize=8)
    figure.savefig(out, dpi=110)
    plt.close(figure)


def speed() -> dict[str, Any]:
    """Rows a CPU second of one core and inclusive efficiencies; Pythia and the compiled code are warm."""
    result = {}
    for process, tries in SPEED_TRIES.items():
        simulate_chunk(process, 1, 0, max(tries // 50, 20))
        start = time.process_time()
        piece = simulate_chunk(process, 1, 1, tries)
        seconds = time.process_time() - start
        job = HiggsJob((process,))
        numbers = job.numbers([(1, tries, piece.table)])["processes"][process]
        kept = ("rows", "efficiency", "efficiency_error", "effective_rows", "largest_weight_over_median")
        result[process] = {
            "rows_per_cpu_second": piece.table.num_rows / seconds, "cpu_seconds": seconds, "tries": tries,
            "official_efficiency": OFFICIAL_EFFICIENCY[process], **{name: numbers[name] for name in kept},
        }  # fmt: skip
    return {"load": os.getloadavg()[0], "processes": result}


def show_speed(result: dict[str, Any]) -> None:
    print(f"load {result['load']:.1f}")
    print("process   rows/CPU s   efficiency %        official %   effective of rows   max/median weight")
    for name, of in result["processes"].items():
        print(
            f"{name:9} {of['rows_per_cpu_second']:10.1f}   {100 * of['efficiency']:.3f} +- "
            f"{100 * of['efficiency_error']:.3f}   {100 * of['official_efficiency']:10.3f}   "
            f"{of['effective_rows']:.0f} of {of['rows']}   {of['largest_weight_over_median']:.1f}"
        )


def show(result: dict[str, Any]) -> None:
    for process, of in result.items():
        print(f"\n{process}: {of['rows']} rows (effective {of['effective']:.0f}), {of['official']} official")
        for name, v in of["variables"].items():
            p = "     -" if v["p"] is None else f"{v['p']:.4f}"
            mean = f"{v['mean']:8.2f}" if v["mean"] is not None else "-"
            official = "-" if v["official"] is None else f"{v['official']:8.2f} +- {v['official_error']:.2f}"
            print(f"  {name:28} p {p}  mean {mean}  official {official}")
        known = [v["p"] for v in of["variables"].values() if v["p"] is not None]
        if known:
            print(f"  p > 0.01 in {sum(p > 0.01 for p in known)} of {len(known)}, lowest {min(known):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sample", nargs="*", type=Path)
    parser.add_argument("--official", type=Path)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if not given.speed and (given.official is None or not given.sample):
        parser.error("give --official FILE and sample files, or --speed")
    if given.speed:
        result = speed()
        show_speed(result)
    else:
        sample, official = read(given.sample), read([given.official])
        result = compare(sample, official)
        show(result)
        if given.out is not None:
            draw(sample, official, given.out)
    if given.json is not None:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
