"""Numbers of docs/methods/higgsml.md: a sample that is large enough for 10 fb-1, coverage at template and event level.

    python benchmarks/higgs_methods.py smooth SAMPLE.parquet OUT.parquet [--rows 400000] [--dealt 1] [--single 1]
    python benchmarks/higgs_methods.py templates METHOD.zip [-n 10000] [--workers 2]
    python benchmarks/higgs_methods.py events METHOD.zip SAMPLE.parquet [-n 100] [--points 100]
    python benchmarks/higgs_methods.py folds METHOD.zip SAMPLE.parquet CALIBRATED.zip [-n 100] [--points 50]
    python benchmarks/higgs_methods.py independent OUT.parquet [--luminosity 0] [-n 200] [--pairs 10]
    python benchmarks/higgs_methods.py simulated METHOD.zip [-n 200]
    python benchmarks/higgs_methods.py speed METHOD.zip SAMPLE.parquet
    python benchmarks/higgs_methods.py stream SAMPLE.parquet OUT.parquet [--rows 20000000]

`smooth` makes a smoothed bootstrap (Silverman and Young, Biometrika 74 (1987) 469): rows are drawn with replacement,
signal-like ones more often and with smaller weights, and every copy is smeared (momenta by 5 to 10 %, angles by .05,
missing momentum by 6 GeV). It is a population of its own, close to the simulation but with a worse resolution, whose
templates are smooth and as deep as one likes. Copies keep the `hard_event` of their row. With `--dealt` K, K times as
many are smeared, and kept by how signal-like they are afterwards, so that no copy with a large weight is among them;
with `--single` F, F times as many where `unbinned` takes events one by one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from bumpfit.higgsml.bias import biased
from bumpfit.higgsml.calibration import template_calibration, template_coverage
from bumpfit.higgsml.columns import PRIMARY, PROCESS, PROCESSES, WEIGHTS, checked, matrix, process_index
from bumpfit.higgsml.interval import STRENGTHS, Calibration, calibrate, threshold
from bumpfit.higgsml.likelihood import response_model, throw
from bumpfit.higgsml.method import load, save
from bumpfit.higgsml.method_binned import Binned
from bumpfit.higgsml.population import Asked, dealt, event_calibration, worlds
from bumpfit.higgsml.pseudo import experiment
from bumpfit.higgsml.regions import UNBINNED, group
from bumpfit.higgsml.score import LEVEL, score
from bumpfit.higgsml.split import parts
from bumpfit.higgsml.templates import Sample, measure_templates, responses

MUS = (0.1, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
SHARES = {"htautau": 0.2, "ztautau": 0.55, "ttbar": 0.17, "diboson": 0.08}
REACH = (0.2, 60.0)


def smooth(arguments: argparse.Namespace) -> None:
    """Write a smoothed bootstrap of a sample."""
    table = checked(pd.read_parquet(arguments.sample), weights=True, processes=True)
    rng = np.random.default_rng(arguments.seed)
    process, weights = process_index(table[PROCESS]), table[WEIGHTS].to_numpy(np.float64)
    likeness = _likeness(table, process, weights)

    def wanted(p: int, rows: pd.DataFrame) -> np.ndarray:
        times = np.where(group(biased(matrix(rows), selection=False).features) < len(UNBINNED), arguments.single, 1.0)
        return times * (1.0 if p == 0 else likeness(rows))

    pieces = []
    for p, name in enumerate(PROCESSES):
        rows = np.flatnonzero(process == p)
        q = weights[rows] * wanted(p, table.iloc[rows])
        q /= q.sum()
        n, unit = int(SHARES[name] * arguments.rows), None
        kept = []
        for _ in range(arguments.dealt):
            picked = rng.choice(len(rows), n, p=q)
            piece = table.iloc[rows[picked]].reset_index(drop=True)
            drawn = weights[rows][picked] / (n * q[picked])
            drawn *= weights[rows].sum() / drawn.sum() / arguments.dealt
            piece["hard_event"] = rows[picked]
            piece = _smeared(piece, rng)
            if arguments.dealt > 1:
                deep = drawn * wanted(p, piece)
                unit = _unit(deep, n / arguments.dealt) if unit is None else unit
                chance = np.minimum(deep / unit, 1.0)
                stays = rng.random(n) < chance
                piece, drawn = piece[stays], drawn[stays] / chance[stays]
            kept.append(piece.assign(**{WEIGHTS: drawn}))
        copies = pd.concat(kept, ignore_index=True)
        scaled = copies[WEIGHTS] * (weights[rows].sum() / copies[WEIGHTS].sum())
        pieces.append(copies.assign(**{WEIGHTS: scaled.astype(np.float32)}))
    result = pd.concat(pieces, ignore_index=True).sample(frac=1, random_state=arguments.seed).reset_index(drop=True)
    result.to_parquet(arguments.out)
    print(result.groupby(PROCESS)[WEIGHTS].agg(["size", "sum", lambda w: w.sum() ** 2 / (w**2).sum()]))


def _unit(ratio: np.ndarray, number: float) -> float:
    """The unit in which chances min(ratio / unit, 1) have the sum `number`."""
    from scipy.optimize import brentq

    top = float(ratio.sum() / number)
    return float(brentq(lambda u: np.minimum(ratio / u, 1.0).sum() - number, 1e-9 * top, 1.001 * top))


def _likeness(table: pd.DataFrame, process: np.ndarray, weights: np.ndarray) -> Callable[[pd.DataFrame], np.ndarray]:
    """Likelihood ratio of signal to background, within `REACH` of its mean in background."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    def inputs(rows: pd.DataFrame) -> np.ndarray:
        return biased(matrix(rows), selection=False).features.T

    signal = process == 0
    w = np.where(signal, weights / weights[signal].sum(), weights / weights[~signal].sum()) * len(table) / 2
    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=12, min_samples_leaf=60, early_stopping=False)
    model.fit(inputs(table), signal, sample_weight=w)

    def ratio(rows: pd.DataFrame) -> np.ndarray:
        p = model.predict_proba(inputs(rows))[:, 1]
        return np.clip(p / np.maximum(1 - p, 1e-6), *REACH)

    return ratio


def _smeared(t: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    n = len(t)
    c = {}
    for name, width in (("lep", 0.05), ("had", 0.08)):
        c[f"PRI_{name}_pt"] = t[f"PRI_{name}_pt"] * np.exp(width * rng.standard_normal(n))
    jets = np.exp(0.1 * rng.standard_normal(n))  # one factor: their order stays
    for name in ("lep", "had", "jet_leading", "jet_subleading"):
        there = t[f"PRI_{name}_pt"] > 0
        for part in ("eta", "phi"):
            moved = t[f"PRI_{name}_{part}"] + 0.05 * rng.standard_normal(n)
            if part == "phi":
                moved = (moved + np.pi) % (2 * np.pi) - np.pi
            c[f"PRI_{name}_{part}"] = np.where(there, moved, -25.0)
        if name.startswith("jet"):
            c[f"PRI_{name}_pt"] = np.where(there, t[f"PRI_{name}_pt"] * jets, -25.0)
    c["PRI_jet_all_pt"] = t["PRI_jet_all_pt"] * jets
    x, y = (t["PRI_met"] * f(t["PRI_met_phi"]) + 6.0 * rng.standard_normal(n) for f in (np.cos, np.sin))
    c["PRI_met"], c["PRI_met_phi"] = np.hypot(x, y), np.arctan2(y, x)
    return t.assign(**{name: np.asarray(values, dtype=np.float32) for name, values in c.items()})


def templates(arguments: argparse.Namespace) -> None:
    """Coverage at template level."""
    fitted = load(arguments.method)
    begin = time.process_time()
    found = template_coverage(fitted.model, MUS, arguments.n, 77, fitted.calibration, workers=arguments.workers)
    for p in found.points:
        print(f"| {p.mu:g} | {p.coverage:.4f} ± {p.coverage_error:.4f} | {p.width / (2 * p.bound):.3f} | "
              f"{p.bias / p.spread:+.3f} | {p.failed} |")  # fmt: skip
    m = found.merged
    print(f"merged: coverage {m.coverage:.4f}, width {m.width:.4f}, / bound {found.width_over_bound:.4f}, "
          f"score {m.score:.4f}, N = {m.n}, {time.process_time() - begin:.0f} s of CPU")  # fmt: skip


def events(arguments: argparse.Namespace) -> None:
    """Coverage at event level, closure: n experiments at each mu from the templates' events, calibrated with both."""
    fitted = load(arguments.method)
    table = parts(checked(pd.read_parquet(arguments.sample), weights=True, processes=True))[1]
    mus = np.tile(MUS, arguments.n)
    print(json.dumps(fitted.simulation))
    for by in ("templates", "events"):
        begin = time.process_time()
        if by == "events":
            fitted.calibration = event_calibration(fitted, table, 21 * 1000, 1, points=arguments.points)
        found = worlds(fitted, table, mus, 20_001, Asked(ends=True), points=arguments.points)
        good = found.valid
        print(f"calibrated with {by}")
        for mu in MUS:
            here = good & (mus == mu)
            hats = found.mu_hat[here]
            covers, widths = (found.low <= mu) & (mu <= found.high), found.high - found.low
            shift = (hats.mean() - mu) / hats.std()
            print(f"| {mu:g} | {covers[here].mean():.3f} | {widths[here].mean():.3f} | {shift:+.3f} |")
        m = score(mus[good], found.low[good], found.high[good])
        print(f"merged: coverage {m.coverage:.4f}, width {m.width:.4f}, score {m.score:.4f}, N = {m.n}, eps = {m.eps}; "
              f"{time.process_time() - begin:.0f} s of CPU", flush=True)  # fmt: skip


def folds(arguments: argparse.Namespace) -> None:
    """Coverage of a calibration with n events' experiments at each strength, and the method calibrated with all.

    Critical values come from nine tenths of the points of the nuisances, coverage from the others, ten times: each
    experiment tests a calibration that has seen neither it nor another one at its point.
    """
    fitted = load(arguments.method)
    table = parts(checked(pd.read_parquet(arguments.sample), weights=True, processes=True))[1]
    mus, points = np.resize(STRENGTHS, arguments.n * len(STRENGTHS)), arguments.points
    place = dealt(len(mus), points)
    found = worlds(fitted, table, mus, 2, points=points, workers=arguments.workers)

    def calibrated(used: np.ndarray) -> Calibration:
        groups = [found.statistic[used & found.valid & (mus == mu)] for mu in STRENGTHS]
        return calibrate(STRENGTHS, groups, 2, f"events, {fitted.mode}")

    covered = np.zeros(len(mus), bool)
    for k in range(10):
        tested = place % 10 == k
        covered[tested] = found.statistic[tested] <= calibrated(~tested).at(mus[tested])
    print("| mu | coverage | bias | spread | quantile of the statistic |")
    for mu in STRENGTHS:
        here = found.valid & (mus == mu)
        off, quantile = found.mu_hat[here] - mu, np.quantile(found.statistic[here], LEVEL)
        bias = f"{off.mean():+.3f} ± {off.std() / np.sqrt(here.sum()):.3f}"
        print(f"| {mu:.2f} | {covered[here].mean():.3f} | {bias} | {off.std():.3f} | {quantile:.2f} |")
    each = np.array([covered[found.valid & (place == k)].mean() for k in range(points)])
    error, plain = each.std(ddof=1) / np.sqrt(points), (found.statistic[found.valid] <= threshold()).mean()
    print(f"coverage {covered[found.valid].mean():.4f} ± {error:.4f} (over the points); with the asymptotic critical "
          f"value {plain:.4f}; {found.valid.sum()} of {len(mus)} experiments valid")  # fmt: skip
    fitted.calibration = calibrated(np.ones(len(mus), bool))
    save(fitted, arguments.out)


def independent(arguments: argparse.Namespace) -> None:
    """Coverage when the templates have an error of simulation, with it in the interval and without.

    The template events are the truth that data are drawn from. Each simulation is a bootstrap of them, drawn with
    replacement: its error is exactly that of so many simulated events, and another one in each.
    """
    table = checked(pd.read_parquet(arguments.sample), weights=True, processes=True)
    made = Binned(mode="independent", luminosity=arguments.luminosity, bins=arguments.bins).fit(table, arguments.seed)
    print(json.dumps(made.report))
    truth = parts(table)[1]
    mus = np.tile(MUS, arguments.n // len(MUS))
    result: dict[str, list[tuple[np.ndarray, ...]]] = {}
    for pair in range(arguments.pairs):
        simulation = truth.sample(len(truth), replace=True, random_state=pair).reset_index(drop=True)
        simulation["hard_event"] = np.arange(len(simulation))
        sample = Sample.of(simulation, 3, pair)
        found = measure_templates(sample, made.summaries, made.binning.count).scaled(made.luminosity / 10)
        for mode in ("independent", "closure"):
            made.mode, made.calibration = mode, None
            made.model = made._model(found, responses(found)[0])
            made.calibration = template_calibration(made.model, 300, 1)
            w = worlds(made, truth, mus, 999 + pair, Asked(ends=True, thrown=False), points=40)
            result.setdefault(mode, []).append((mus[w.valid], w.low[w.valid], w.high[w.valid]))
            m = score(*result[mode][-1])
            print(pair, mode, f"coverage {m.coverage:.3f} width {m.width:.3f}", flush=True)
    for mode, pairs in result.items():
        m = score(*(np.concatenate(column) for column in zip(*pairs, strict=True)))
        each = np.array([score(*one).coverage for one in pairs])
        print(f"{mode}: coverage {m.coverage:.4f} ± {each.std(ddof=1) / len(each) ** 0.5:.4f} (spread of the pairs), "
              f"width {m.width:.4f}, N = {m.n}, L = {made.luminosity:.3g} fb-1")  # fmt: skip


def simulated(arguments: argparse.Namespace) -> None:
    """Coverage when the truth differs from the templates by the error of k simulated events for an expected one."""
    arrays = load(arguments.method).model.arrays
    without = response_model(arrays.yields, arrays.response)
    rates, mus = without.expected(1.0)[0][0], np.repeat(MUS, arguments.n)
    for k in (1.0, 5.0, 20.0):
        within = response_model(arrays.yields, arrays.response, simulated=k * rates)
        for name, model in (("with", within), ("without", without)):
            calibration = template_calibration(model, 300, 1)
            w = throw(model, mus, 5, truth=within, calibration=calibration, ends=True).fits
            m = score(mus[w.valid], w.low[w.valid], w.high[w.valid])
            print(f"k = {k:g}, {name} its error: coverage {m.coverage:.3f}, width {m.width:.3f}, N = {m.n}", flush=True)


def speed(arguments: argparse.Namespace) -> None:
    """CPU seconds of one prediction, and of its parts."""
    fitted = load(arguments.method)
    table = parts(checked(pd.read_parquet(arguments.sample), weights=True, processes=True))[1]
    made = experiment(table, 1.0, {"soft_met": 1.0}, 1)
    fitted.predict(made.table)
    for _ in range(3):
        begin, wall = time.process_time(), time.perf_counter()
        found = fitted.predict(made.table)
        cpu = time.process_time() - begin
        print(
            f"{len(made.table)} events: {cpu:.2f} s of CPU, {time.perf_counter() - wall:.2f} s; mu {found.mu_hat:.3f}"
        )


def stream(arguments: argparse.Namespace) -> None:
    """Write a large file of the challenge's form (rows of a sample, drawn again); time and memory of the commands."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = checked(pd.read_parquet(arguments.sample), weights=True, processes=True)
    table = table[[*PRIMARY, WEIGHTS, PROCESS]].copy()
    total = 1_051_433.0
    rng = np.random.default_rng(arguments.seed)
    path, piece = Path(arguments.out), 500_000
    table[WEIGHTS] = (table[WEIGHTS] * (len(table) / arguments.rows)).astype(np.float32)
    schema = pa.Schema.from_pandas(table, preserve_index=False)
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, arguments.rows, piece):
            rows = rng.choice(len(table), min(piece, arguments.rows - start))
            writer.write_table(pa.Table.from_pandas(table.iloc[rows], schema, preserve_index=False))
    path.with_name(f"{path.stem}_metadata.json").write_text(
        json.dumps({"sum_weights": total, "total_rows": arguments.rows})
    )
    print(f"{arguments.rows} rows, {path.stat().st_size / 1e9:.2f} GB")
    out, method = str(path.with_suffix(".out")), str(path.with_suffix(".zip"))
    train = ["train", "binned", str(path), "--rows", "500000", "--calibrate", "0", "--set", "draws=2", "-o", method]
    compare = ["benchmark", method, "--sample", str(path), "--mu", "1", "--experiments", "8", "-o", f"{out}.d"]
    for words in (["pseudo", str(path), "--mu", "1", "-o", out], train, compare):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-m", "bumpfit", "higgsml", *words, "--json"], check=True, capture_output=True)
        used, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - begin
        print(f"{words[0]}: {seconds:.0f} s; all so far: {used.ru_utime + used.ru_stime:.0f} s of CPU, largest memory "
              f"{used.ru_maxrss / 1e6:.2f} GB", flush=True)  # fmt: skip


def main() -> None:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    inputs = {
        smooth: ("sample", "out"), templates: ("method",), events: ("method", "sample"),
        folds: ("method", "sample", "out"), independent: ("sample",), simulated: ("method",),
        speed: ("method", "sample"), stream: ("sample", "out"),
    }  # fmt: skip
    for function, names in inputs.items():
        command = commands.add_parser(function.__name__)
        command.set_defaults(run=function)
        for name in names:
            command.add_argument(name)
        command.add_argument("-n", type=int, default=10_000 if function is templates else 100)
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--rows", type=int, default=400_000)
        command.add_argument("--dealt", type=int, default=1)
        command.add_argument("--single", type=float, default=1.0)
        command.add_argument("--luminosity", type=float, default=0.0)
        command.add_argument("--pairs", type=int, default=10)
        command.add_argument("--bins", type=int, default=60)
        command.add_argument("--points", type=int, default=100)
        command.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
