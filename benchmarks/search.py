"""Measure the search on tables with known truth: `python benchmarks/search.py sets|nulls|injections|power ...`.

sets FOLDER...           each FOLDER holds data, background (.csv or .parquet), labels.csv and maybe truth.json; prints
                         answers beside the truth, significance improvements of both scores, time and memory
nulls POOL -n 60         POOL is a table of background events alone; n whole-chain searches on random splits of it
injections POOL SIGNAL   signal events from SIGNAL added to random splits of POOL; coverage of the yield and of its
                         limit, sums of the scores (--sizes 0: tables without signal)
power POOL SIGNAL        significance of every statistic of the primary test against the number of injected events,
                         beside counting in selections and a plain 5-fold chain (which is not valid); --whole runs the
                         whole search and adds masses, yields and improvements; --figure FILE draws it

`--background 0` gives no background table: signal regions against their sidebands; `--config FILE` gives settings.
Pools and signals are search tables (CSV or Parquet) with the columns of `bumpfit run`. Labels are read here, after the
search, never by it. Every line is also appended to --json FILE.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom, kstest, norm

import bumpfit
from bumpfit import runs
from bumpfit.events.tables import read
from bumpfit.execute import available_cores
from bumpfit.search.config import SearchConfig, read_config
from bumpfit.search.library_part import library_part
from bumpfit.search.score_events import cross_fitted, mass_windows, primary_test
from bumpfit.search.two_sample import two_sample_test

DESCRIBED = ("claim", "n_signal", "resonance_mass", "daughter_masses")


def table(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, index_col=0)


def find(folder: Path, name: str) -> Path:
    return next(p for p in (folder / f"{name}.parquet", folder / f"{name}.csv") if p.exists())


def sets(arguments: argparse.Namespace) -> None:
    for folder in arguments.folders:
        out = arguments.out / folder.name
        started = time.monotonic()
        data = find(folder, "data")
        answers = bumpfit.run(
            data, find(folder, "background"), out, workers=arguments.workers, quick=arguments.quick, overwrite=True
        ).to_dict()
        wall = time.monotonic() - started
        labels = pd.read_csv(folder / "labels.csv", index_col=0).iloc[:, 0]
        row: dict[str, Any] = {
            "set": folder.name,
            "events": len(labels),
            "signal": int(labels.sum()),
            "seconds": round(wall),
        }
        row["peak_MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        row |= {k: answers["p_value"][k] for k in ("local", "global", "z_global", "method")}
        row |= {
            k: answers[k] for k in ("claim", "resonance_mass", "daughter_masses", "n_signal", "n_signal_upper_limit_95")
        }
        if labels.sum():
            for name in ("scores", "scores_updated"):
                scores = pd.read_csv(out / f"{name}.csv", index_col=0).score.reindex(labels.index)
                merit = bumpfit.scoring.significance_improvement(labels.to_numpy(), scores.to_numpy(), bootstrap=50)
                row[f"improvement_{name}"] = (round(merit.value, 2), round(merit.error or 0, 2))
        if (folder / "truth.json").exists():
            row["truth"] = json.loads((folder / "truth.json").read_text())
        report(row, arguments.json)


def split(
    pool: pd.DataFrame, n_data: int, n_background: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    order = rng.permutation(len(pool))
    data, background = order[:n_data], order[n_data : n_data + n_background]
    table = pool.iloc[background].reset_index(drop=True) if n_background else None
    return pool.iloc[data].reset_index(drop=True), table


def settings(arguments: argparse.Namespace) -> SearchConfig | None:
    return None if arguments.config is None else read_config(arguments.config)


def nulls(arguments: argparse.Namespace) -> None:
    pool = table(arguments.pool)
    found = []
    for seed in range(arguments.first, arguments.first + arguments.n):
        data, background = split(pool, arguments.data, arguments.background, np.random.default_rng(seed))
        answers = bumpfit.run(
            data,
            background,
            seed=seed,
            workers=arguments.workers,
            iterations=0,
            quick=arguments.quick,
            config=settings(arguments),
        ).to_dict()
        found.append(answers)
        report(
            {
                "seed": seed,
                "global": answers["p_value"]["global"],
                "verdict": answers["verdict"],
                "claim": answers["claim"],
                "n_signal": answers["n_signal"],
            },
            arguments.json,
        )
    p = [a["p_value"]["global"] for a in found]
    covers = [a["n_signal"]["value"] <= a["n_signal"]["error_low"] for a in found]
    report(
        {
            "searches": len(p),
            "kolmogorov_smirnov_p": kstest(p, "uniform").pvalue,
            "claims": sum(a["claim"] for a in found),
            "interval_holds_0": float(np.mean(covers)),
        },
        arguments.json,
    )


def injections(arguments: argparse.Namespace) -> None:
    pool, signal = table(arguments.pool), table(arguments.signal)
    covered = []
    for n in arguments.sizes:
        for draw in range(arguments.draws):
            rng = np.random.default_rng([n, draw])
            data, background = split(pool, arguments.data, arguments.background, rng)
            data = pd.concat([data, signal.iloc[rng.permutation(len(signal))[:n]]])
            data = data.iloc[rng.permutation(len(data))].reset_index(drop=True)
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "out"
                answers = bumpfit.run(
                    data,
                    background,
                    out,
                    seed=draw,
                    workers=arguments.workers,
                    quick=arguments.quick,
                    config=settings(arguments),
                ).to_dict()
                scores = [pd.read_csv(path).score for path in sorted(out.glob("scores*.csv"))]
            y, limit = answers["n_signal"], answers.get("n_signal_upper_limit_95")
            inside = y["value"] - y["error_low"] <= n <= y["value"] + y["error_high"]
            covered.append(inside)
            row = {"injected": n, "draw": draw, "covered": inside, "z_global": answers["p_value"]["z_global"]}
            row |= {"limit": limit, "below_limit": limit is None or n <= limit, "verdict": answers["verdict"]}
            row |= {"sums_of_scores": [float(score.sum()) for score in scores]}
            row |= {"scores_above_half": [int((score > 0.5).sum()) for score in scores]}
            report(
                row | {k: answers[k] for k in ("claim", "n_signal", "resonance_mass", "daughter_masses")},
                arguments.json,
            )
    report({"intervals": len(covered), "coverage": float(np.mean(covered))}, arguments.json)


def power(arguments: argparse.Namespace) -> None:
    pool, signal = table(arguments.pool), table(arguments.signal)
    rows = []
    for n in arguments.sizes:
        for draw in range(arguments.draws):
            rng = np.random.default_rng([n, draw])
            data, background = split(pool, arguments.data, arguments.background, rng)
            labels = np.r_[np.zeros(len(data)), np.ones(min(n, len(signal)))]
            data = pd.concat([data, signal.iloc[rng.permutation(len(signal))[:n]]])
            mix = rng.permutation(len(data))
            data, labels = data.iloc[mix].reset_index(drop=True), labels[mix]
            row = {"injected": n, "draw": draw} | significances(data, background, draw)
            if arguments.whole:
                row |= whole(data, background, labels, draw, arguments)
            rows.append(row)
            report(row, arguments.json)
    if arguments.figure is not None:
        draw_power(pd.DataFrame(rows), arguments.figure)


def significances(data: pd.DataFrame, background: pd.DataFrame, seed: int) -> dict[str, float]:
    """Z of every statistic, of all together, of the best selection with its trials, and of a 5-fold chain."""
    config = SearchConfig()
    tables = tuple(read(t) for t in (data, background))
    windows = mass_windows(*tables, config, seed)
    shared: dict[str, Any] = {"seed": seed, "executor": None, "kept": runs.nowhere()}
    library = library_part(*tables, windows, config, **shared)
    scored, test = primary_test(*tables, windows, config.approach, config, library=library, **shared)
    alone = two_sample_test(scored, windows, config.efficiencies, (tables[0].mass, tables[1].mass), seed=seed)
    smallest = min(s.p_local for s in alone.selections)
    found = {f"z_{name}": max(z) for name, z in test.overall.z_sources.items()} | {"z_global": test.overall.z}
    found["z_counting"] = float(norm.isf(min(1.0, smallest * len(alone.selections))))
    u_data, u_background = (np.concatenate(u.values) for u in cross_fitted(*tables, windows, config, **shared))
    tau = len(background) / len(data)
    p = [
        binom.sf((u_data <= e).sum() - 1, (u_data <= e).sum() + (u_background <= e).sum(), 1 / (1 + tau))
        for e in config.efficiencies
    ]
    return found | {"z_five_fold_not_valid": float(norm.isf(min(1.0, min(p) * len(p))))}


def whole(
    data: pd.DataFrame, background: pd.DataFrame, labels: np.ndarray, seed: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Masses, yield and significance improvements of the whole search."""
    answers = bumpfit.run(
        data, background, arguments.out, seed=seed, workers=arguments.workers, overwrite=True
    ).to_dict()
    row = {k: answers[k] for k in DESCRIBED}
    if labels.any():
        for name in ("scores", "scores_updated"):
            scores = pd.read_csv(arguments.out / f"{name}.csv", index_col=0).score.to_numpy()
            row[f"improvement_{name}"] = bumpfit.scoring.significance_improvement(labels, scores, bootstrap=0).value
    return row


def draw_power(rows: pd.DataFrame, path: Path) -> None:
    """Mean significances against the number of injected events."""
    from matplotlib import pyplot as plt

    names = {
        "z_global": "all together, global", "z_library": "library, local", "z_learned": "learned, local",
        "z_counting": "counting in selections, all trials", "z_five_fold_not_valid": "5-fold counting (not valid)",
    }  # fmt: skip
    mean = rows.groupby("injected").mean(numeric_only=True)
    figure, axis = plt.subplots(figsize=(6, 4))
    for name, label in names.items():
        if name in mean:
            axis.plot(mean.index, mean[name], "o--" if "not" in name else "o-", label=label)
    axis.axhline(3, color="grey", lw=0.8)
    axis.set(xlabel="injected signal events", ylabel="Z")
    axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def report(row: dict[str, Any], path: Path | None) -> None:
    line = json.dumps(row, default=float)
    print(line, flush=True)
    if path is not None:
        with path.open("a") as stream:
            stream.write(line + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, function in (("sets", sets), ("nulls", nulls), ("injections", injections), ("power", power)):
        command = commands.add_parser(name)
        command.set_defaults(function=function)
        command.add_argument("--workers", type=int, default=available_cores())
        command.add_argument("--json", type=Path)
        if name != "power":
            command.add_argument("--quick", action="store_true")
        if name == "sets":
            command.add_argument("folders", type=Path, nargs="+")
            command.add_argument("--out", type=Path, default=Path("benchmark_out"))
            continue
        command.add_argument("pool", type=Path)
        command.add_argument("--data", type=int, default=20_000)
        command.add_argument("--background", type=int, default=12_000)
        command.add_argument("--config", type=Path)
        if name == "nulls":
            command.add_argument("-n", type=int, default=60)
            command.add_argument("--first", type=int, default=0)
        else:
            command.add_argument("signal", type=Path)
            command.add_argument("--sizes", type=int, nargs="+", default=[0, 250, 500, 1000])
            command.add_argument("--draws", type=int, default=5)
        if name == "power":
            command.add_argument("--whole", action="store_true")
            command.add_argument("--figure", type=Path)
            command.add_argument("--out", type=Path, default=Path("benchmark_out"))
    arguments = parser.parse_args()
    arguments.function(arguments)


if __name__ == "__main__":
    main()
