"""Toy rates beside other tools in one run, on the same toys, with the agreement of q0.

    python benchmarks/toys.py                       all sections; tools that are not installed are left out
    python benchmarks/toys.py --sections dijet prior scan tails histfactory start workers
    python benchmarks/toys.py --sections dijet --python others=OTHERS/bin/python    tools of another environment too
    python benchmarks/toys.py --likelihood BkgOnly.json --patch patch.json     a published workspace for `histfactory`
    python benchmarks/toys.py --out docs/figures    the table as CSV and the rates as a figure

Times are processor seconds of one core (so that a busy machine counts less), except in `start` and `workers`.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "XLA_FLAGS"):
    os.environ.setdefault(variable, "--xla_cpu_multi_thread_eigen=false" if variable == "XLA_FLAGS" else "1")

import numpy as np  # noqa: E402
from scipy.stats import norm  # noqa: E402

from bumpfit import toys, workspace  # noqa: E402
from bumpfit.toys import LogLinear  # noqa: E402
from bumpfit.workspace import build  # noqa: E402
from toy_contenders import CONTENDERS, MISSING  # noqa: E402

ROWS: list[dict[str, object]] = []
PYTHONS = [sys.executable]
"""Interpreters in which contenders are looked for; `--python` adds to them."""
PATIENCE = 240.0
"""Seconds (wall) given to a contender in a turn, with its start and compilation."""


def note(
    section: str, tool: str, rate: float, unit: str = "toys/s/core", agreement: str = "", n: int | str = "",
    version: str = "",
) -> None:  # fmt: skip
    """A row; `agreement` was found on `n` toys."""
    ROWS.append({"section": section, "tool": tool, "rate": rate, "unit": unit, "agreement": agreement, "toys": n,
                 "version": version})  # fmt: skip
    print(f"{section:12s} {tool:52s} {rate:12.4g} {unit:16s} {agreement} {f'({n} toys)' if n else ''} {version}",
          flush=True)  # fmt: skip


def spent(function, *arguments) -> tuple[float, object]:  # type: ignore[no-untyped-def]
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result


def dijet(events: float = 60_000, signals: int = 1) -> LogLinear:
    """40 bins, 4 parameters, and Gaussian signals."""
    edges = np.linspace(2500.0, 6500.0, 41)
    x = 0.5 * (edges[1:] + edges[:-1]) / 13000
    shape = np.exp(9 * np.log(1 - x) - 5 * np.log(x) - 0.1 * np.log(x) ** 2)
    basis = np.column_stack([np.ones_like(x), np.log(1 - x), -np.log(x), -(np.log(x) ** 2)])
    peaks = [3500.0] if signals == 1 else np.linspace(2800, 6000, signals)
    signal = [events / 600 * np.diff(norm.cdf(edges, m, 150.0)) for m in peaks]
    return LogLinear(events * shape / shape.sum(), basis, np.array(signal)[0] if signals == 1 else np.array(signal),
                     bounds=(0.0, 1e3))  # fmt: skip


def largest(a, b) -> str:  # type: ignore[no-untyped-def]
    return f"max |dq0| {np.max(np.abs(np.asarray(a) - np.asarray(b))):.1e}"


def spectrum_of(model: LogLinear, counts, **options) -> dict[str, object]:  # type: ignore[no-untyped-def]
    return build.spectrum(counts, model.rate, model.basis, model.signals[0], **options)


def measure(name: str, folder: Path, n: int) -> tuple[float, np.ndarray, str] | str:
    """Seconds, q0 and versions of a contender in the first environment that has it, or why there are none."""
    script = Path(__file__).with_name("toy_contenders.py")
    for python in PYTHONS:
        command = [python, str(script), name, str(folder), "--toys", str(n)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return f"{n} toys were not finished in {PATIENCE:.0f} s"
        if done.returncode == 0:
            with np.load(folder / f"{name}.npz") as content:
                return float(content["seconds"]), content["q0"], str(content["versions"])
        if done.returncode != MISSING:
            return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:100]
    return f"not installed ({', '.join(CONTENDERS[name].needs)})"


def section_dijet(quick: bool, rounds: int = 1) -> None:
    """q0 of a 40-bin dijet spectrum, background-only and signal fit of each toy, by every tool that is here.

    The tools take turns, `rounds` times, and the fastest turn of each counts.
    """
    model = dijet()
    engine = toys.engine(model)
    engine.run(0, 64, 0)
    counts, _ = engine.draw(np.arange(100_000), 0)
    q0 = engine.fit(counts).statistic[:, 0]
    made = 200_000 if quick else 1_000_000
    own, given = "bumpfit, toys made and fitted", "bumpfit, given toys"
    best: dict[str, float] = {own: np.inf, given: np.inf}
    outcome: dict[str, tuple[np.ndarray, str]] = {}
    refused: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = spectrum_of(model, counts[0])
        (folder / "workspace.json").write_text(json.dumps(content))
        workspace.write(workspace.read(content), folder / "workspace.hs3.json", format="hs3")
        np.savez(folder / "problem.npz", rate=model.rate, directions=model.basis @ model.whitening,
                 signal=model.signals[0], counts=counts[:20_000])  # fmt: skip
        for turn in range(1 if quick else rounds):
            best[own] = min(best[own], spent(engine.run, 0, made, turn)[0] / made)
            best[given] = min(best[given], spent(engine.fit, counts)[0] / len(counts))
            for key, contender in CONTENDERS.items():
                if key in refused:
                    continue
                n = max(2, contender.toys // 10) if quick else contender.toys
                found = measure(key, folder, n)
                if isinstance(found, str):
                    refused[key] = found
                    continue
                best[key] = min(best.get(key, np.inf), found[0] / n)
                outcome[key] = found[1:]
                print(f"turn {turn + 1}: {contender.label} {n / found[0]:.4g} toys/s", file=sys.stderr, flush=True)
    exact = converged(model, counts[: 20_000 if quick else None])
    note("dijet", own, 1 / best[own])
    note("dijet", given, 1 / best[given])
    note("dijet", "the same minima run to 1e-12 by damped steps", len(exact[1]) / exact[0],
         agreement=largest(exact[1], q0[: len(exact[1])]), n=len(exact[1]))  # fmt: skip
    for key in sorted(outcome, key=lambda key: best[key]):
        values, version = outcome[key]
        note("dijet", CONTENDERS[key].label, 1 / best[key], agreement=largest(values, exact[1][: len(values)]),
             n=len(values), version=version)  # fmt: skip
    for key, reason in refused.items():
        print(f"{'dijet':12s} {CONTENDERS[key].label:52s} {'not measured':>12s} {reason}", flush=True)


def section_prior(quick: bool) -> None:
    """Why the portable workspace differs in q0: its constraint terms, whose width is K standard deviations."""
    if not importlib.util.find_spec("pyhf"):
        print(f"{'prior':12s} not measured: pyhf is not installed")
        return
    import toy_pyhf

    model = dijet()
    counts, _ = toys.engine(model).draw(np.arange(10 if quick else 50), 0)
    _, exact = converged(model, counts)
    for wanted in (50.0, 100.0, 200.0, 400.0):
        spec = spectrum_of(model, counts[0], prior_width=wanted)
        width, rows = toy_pyhf.prior_share(spec, model.basis @ model.whitening, counts)
        difference = rows[:, 0] - exact
        print(f"{'prior':12s} K = {width:5.0f}: max |dq0| {np.abs(difference).max():.2e}, "
              f"without the constraint terms at the fitted parameters {np.abs(difference - rows[:, 1]).max():.1e}, "
              f"largest times K^2 {np.abs(difference).max() * width**2:.3f}")  # fmt: skip


def converged(model: LogLinear, counts) -> tuple[float, np.ndarray]:  # type: ignore[no-untyped-def]
    """q0 from the second minimiser at a tolerance of 1e-12."""
    from bumpfit.toys import damped
    from bumpfit.toys.loglinear_batch import Results
    from bumpfit.toys.statistic import evaluate, plan

    n = len(counts)
    room = Results(*(np.zeros((n, 1)) for _ in range(3)), np.zeros(n, np.uint8), np.zeros((n, 0)))
    arrays, pulls = model.arrays._replace(tolerance=1e-12), np.zeros((n, 0))
    wanted = plan("q0", 0.0, model.bounds)
    damped.repair(arrays, wanted, counts[:1], pulls[:1], np.arange(1), room)
    seconds, _ = spent(damped.repair, arrays, wanted, counts, pulls, np.arange(n), room)
    assert (room.open == 0).all(), "a toy was lost"
    return seconds, evaluate("q0", 0.0, room.free, room.fixed, room.best)[:, 0]


def section_scan(quick: bool) -> None:
    """The largest q0 of 60 masses on each toy."""
    model = dijet(signals=60)
    toys.scan_toys(model, 64)
    n = 2000 if quick else 20_000
    seconds, found = spent(toys.scan_toys, model, n)
    note("scan", "bumpfit, scans of 60 masses", n / seconds, "scans/s/core")
    for z in (3.0, 3.5):
        p, error = found.p_value(z * z)
        bound, _ = found.gross_vitells(z * z)
        print(f"{'':12s} local {z} sigma: global p {p:.3g} +- {error:.1g}, Gross-Vitells {bound:.3g}")


def section_tails(quick: bool) -> None:
    """Tail frequencies at 1 to 5 sigma: brute force, importance sampling, asymptotic formula."""
    n = 1_000_000 if quick else 300_000_000
    model = dijet()
    start = time.perf_counter()
    direct = toys.run(toys.engine(model), n, workers=os.cpu_count() or 1, show=None)
    wall = time.perf_counter() - start
    note("tails", f"bumpfit, {n:.0e} toys on {os.cpu_count()} cores", n / wall, "toys/s (wall)")
    weighted = toys.tail(model, 20_000 if quick else 400_000)
    for z in (1, 2, 3, 4, 5):
        (p, error), (w, w_error) = direct.p_value(z * z), weighted.p_value(z * z)
        pull = (p - w) / np.hypot(error, w_error)
        print(f"{'':12s} {z} sigma: brute force {p:.4e} +- {error:.1e}, importance sampling {w:.4e} +- {w_error:.1e} "
              f"(pull {pull:+.1f}), asymptotic {norm.sf(z):.4e}")  # fmt: skip


def generated(parameters: int = 60) -> dict[str, object]:
    """A workspace of about 60 parameters with every kind of modifier."""
    rng = np.random.default_rng(1)
    channels = []
    for c in range(4):
        bins = 4
        samples = [build.sample("signal", rng.uniform(1, 6, bins), build.modifier("normfactor", "mu", None),
                                build.modifier("staterror", f"stat{c}", rng.uniform(0.1, 0.3, bins)))]  # fmt: skip
        for s in range(3):
            data = rng.uniform(10, 80, bins)
            effects = [build.modifier("staterror", f"stat{c}", 0.05 * data)]
            for k in range(parameters - 20):
                if rng.random() < 0.5:
                    effects.append(build.modifier("normsys", f"norm{k}", (rng.uniform(0.9, 1), rng.uniform(1, 1.1))))
                else:
                    tilt = rng.normal(0, 0.04, bins)
                    effects.append(build.modifier("histosys", f"shape{k}", (data * (1 - tilt), data * (1 + tilt))))
            samples.append(build.sample(f"b{s}", data, *effects))
        channels.append((f"channel{c}", samples))
    observed = {name: rng.poisson(np.sum([s["data"] for s in group[1:]], axis=0)) for name, group in channels}
    return build.workspace(dict(channels), observed, "mu")


def section_histfactory(quick: bool, likelihood: str | None = None, patch: str | None = None) -> None:
    """q~ toys (two fits each) of a model with about 60 parameters."""
    content = generated() if likelihood is None else likelihood
    model = workspace.read(content, patch=patch)
    label = f"{len(model.parameters)} parameters, {model.compiled.n_bins} bins"
    engine = toys.engine(model, statistic="qtilde", mu=1.0)
    engine.run(0, 4, 0)
    n = 100 if quick else 1000
    seconds, found = spent(engine.run, 0, n, 0)
    assert (found.status == 0).all(), "a toy was lost"
    note("histfactory", f"bumpfit ({label})", 2 * n / seconds, "fits/s/core")
    if not importlib.util.find_spec("pyhf"):
        return
    import jsonpatch
    import pyhf

    spec = content if isinstance(content, dict) else json.loads(Path(content).read_text())
    if patch is not None:
        spec = jsonpatch.apply_patch(spec, json.loads(Path(patch).read_text()))
    data = engine.data(np.arange(40), 0)
    for backend in ["numpy"] + (["jax"] if importlib.util.find_spec("jax") else []):
        pyhf.set_backend(backend)
        target = pyhf.Workspace(spec).model()
        config = target.config

        def one(toy, target=target, config=config):  # type: ignore[no-untyped-def]
            return float(pyhf.infer.test_statistics.qmu_tilde(
                1.0, toy.tolist(), target, config.suggested_init(), config.suggested_bounds(), config.suggested_fixed()
            ))  # fmt: skip

        one(data[0])
        few = data[: (2 if quick else 6) if backend == "numpy" else 40]
        seconds, values = spent(lambda few=few, one=one: [one(toy) for toy in few])
        note("histfactory", f"pyhf {backend} scipy ({label})", 2 * len(few) / seconds, "fits/s/core",
             largest(values, found.statistic[: len(few), 0]).replace("q0", "q~"))  # fmt: skip
    pyhf.set_backend("numpy")


def section_start(quick: bool) -> None:
    """Seconds until the first p-value of `bumpfit toys`: with an empty numba cache, and with a filled one."""
    with tempfile.TemporaryDirectory() as folder:
        model = dijet()
        path = Path(folder) / "workspace.json"
        counts = np.random.default_rng(0).poisson(model.rate)
        path.write_text(json.dumps(build.spectrum(counts, model.rate, model.basis, model.signal)))
        command = [sys.executable, "-m", "bumpfit", "toys", str(path), "-n", "10000"]
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(Path(folder) / "cache")}
        walls = []
        for _ in range(4 if quick else 9):
            start = time.perf_counter()
            subprocess.run(command, env=environment, check=True, capture_output=True)
            walls.append(time.perf_counter() - start)
        note("start", "first start, empty cache", walls[0], "s (wall)")
        note("start", "later starts, median", float(np.median(walls[1:])), "s (wall)",
             f"best {min(walls[1:]):.2f} of {len(walls) - 1}")  # fmt: skip


def section_workers(quick: bool) -> None:
    """Wall-clock gain of two workers, and equality of the numbers; beside it what two processes gain that share
    nothing.
    """
    model = dijet()
    n = 1_000_000 if quick else 4_000_000
    toys.throw(model, 1000)
    loop = [sys.executable, "-c", "import math\nfor i in range(6_000_000): math.sqrt(i)"]
    walls: dict[str, list[float]] = {"one": [], "two": [], "alone": [], "beside": []}
    statistics = {}
    for _ in range(3 if quick else 7):
        for label, workers in (("one", 1), ("two", 2)):
            start = time.perf_counter()
            statistics[label] = toys.throw(model, n, workers=workers).statistic
            walls[label].append(time.perf_counter() - start)
        for label, copies in (("alone", 1), ("beside", 2)):
            start = time.perf_counter()
            running = [subprocess.Popen(loop) for _ in range(copies)]
            for process in running:
                process.wait()
            walls[label].append((time.perf_counter() - start) / copies)
    same = "same bits" if np.array_equal(statistics["one"], statistics["two"]) else "DIFFERENT"
    for what, one, two, remark in (
        ("two workers", "one", "two", same),
        ("two processes that share nothing", "alone", "beside", "what this machine gives"),
    ):
        turns = np.array(walls[one]) / np.array(walls[two])
        note("workers", f"gain of {what}, best times", min(walls[one]) / min(walls[two]), "times",
             f"{remark}; turn by turn {turns.min():.2f} to {turns.max():.2f}")  # fmt: skip


def save(folder: Path) -> None:
    """Table and figure; the sections that were not run keep the rows of the table that is there."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    table = folder / "toys_speed.csv"
    measured = {row["section"] for row in ROWS}
    if table.exists():
        with table.open(newline="") as stream:
            ROWS.extend({**dict.fromkeys(ROWS[0], ""), **old} for old in csv.DictReader(stream)
                        if old["section"] not in measured)  # fmt: skip
    with table.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    rows = [r for r in ROWS if r["section"] in ("dijet", "histfactory")]
    if not rows:
        return
    figure, axes = plt.subplots(figsize=(9, 0.4 * len(rows) + 1.2), constrained_layout=True)
    names = [f"{r['tool']}" for r in rows][::-1]
    axes.barh(
        names, [float(r["rate"]) for r in rows][::-1], color=["#3f6fb5" if "bumpfit" in n else "#b0b7c3" for n in names]
    )
    axes.set_xscale("log")
    axes.set_xlabel("toys (dijet) or fits (HistFactory) per second and core")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(folder / "toys_speed.png", dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [name.removeprefix("section_") for name in globals() if name.startswith("section_")]
    parser.add_argument("--sections", nargs="+", choices=names, default=names)
    parser.add_argument("--quick", action="store_true", help="a minute instead of half an hour")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH",
                        help="another environment with tools for the section dijet; may be repeated")  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3, help="turns of each tool in the section dijet")
    parser.add_argument("--likelihood", help="workspace for the section histfactory")
    parser.add_argument("--patch", help="JSON patch for it")
    parser.add_argument("--out", type=Path, help="folder for the table and the figure")
    options = parser.parse_args()
    for environment in options.python:
        name, _, path = environment.partition("=")
        if not (name and Path(path).is_file()):
            parser.error(f"--python takes NAME=PATH with an existing Python, got {environment!r}")
        PYTHONS.append(path)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # pyhf prints every failed fit at length
    for name in options.sections:
        section = globals()[f"section_{name}"]
        if name == "histfactory":
            section(options.quick, options.likelihood, options.patch)
        elif name == "dijet":
            section(options.quick, options.rounds)
        else:
            section(options.quick)
    if options.out is not None and ROWS:
        save(options.out)


if __name__ == "__main__":
    main()
