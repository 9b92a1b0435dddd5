"""Toy rates beside other tools in one run, on the same toys, with the agreement of q0.

    python benchmarks/toys.py                       all sections; tools that are not installed are left out
    python benchmarks/toys.py --sections dijet scan tails histfactory start workers
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
from functools import partial
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "XLA_FLAGS"):
    os.environ.setdefault(variable, "--xla_cpu_multi_thread_eigen=false" if variable == "XLA_FLAGS" else "1")

import numpy as np  # noqa: E402
from scipy.stats import norm  # noqa: E402

from bumpfit import toys, workspace  # noqa: E402
from bumpfit.toys import LogLinear  # noqa: E402
from bumpfit.workspace import build  # noqa: E402

ROWS: list[dict[str, object]] = []


def note(section: str, tool: str, rate: float, unit: str = "toys/s/core", agreement: str = "") -> None:
    ROWS.append({"section": section, "tool": tool, "rate": rate, "unit": unit, "agreement": agreement})
    print(f"{section:12s} {tool:52s} {rate:12.4g} {unit:16s} {agreement}", flush=True)


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


def section_dijet(quick: bool) -> None:
    """q0 of a 40-bin dijet spectrum: background-only and signal fit of each toy."""
    model = dijet()
    engine = toys.engine(model)
    engine.run(0, 64, 0)
    n = 200_000 if quick else 2_000_000
    seconds, _ = min((spent(engine.run, 0, n, seed) for seed in range(3)), key=lambda pair: pair[0])
    note("dijet", "bumpfit, toys made and fitted", n / seconds)
    counts, _ = engine.draw(np.arange(100_000), 0)
    seconds, found = spent(engine.fit, counts)
    q0 = found.statistic[:, 0]
    note("dijet", "bumpfit, given toys", len(counts) / seconds)
    exact = converged(model, counts[: 10_000 if quick else None])
    note("dijet", "the same minima run to 1e-12 by damped steps", len(exact[1]) / exact[0],
         agreement=largest(exact[1], q0[: len(exact[1])]))  # fmt: skip
    seconds, found = hand_written(model, counts[: 100 if quick else 1000])
    note("dijet", "iminuit, numba likelihood with gradient", len(found) / seconds,
         agreement=largest(found, q0[: len(found)]))  # fmt: skip
    if importlib.util.find_spec("pyhf"):
        pyhf_dijet(model, counts[: 20 if quick else 200], q0)


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


def hand_written(model: LogLinear, counts) -> tuple[float, np.ndarray]:  # type: ignore[no-untyped-def]
    """What an analyst would write: iminuit on a compiled likelihood with gradient in a whitened basis."""
    from iminuit import Minuit
    from numba import njit

    basis, rate, signal = np.ascontiguousarray(model.basis @ model.whitening), model.rate, model.signals[0]

    @njit(fastmath=True)
    def nll(x, n, basis, rate, signal):  # type: ignore[no-untyped-def]
        total = 0.0
        for b in range(n.size):
            eta = 0.0
            for k in range(4):
                eta += basis[b, k] * x[k]
            expected = rate[b] * np.exp(eta) + x[4] * signal[b]
            if expected <= 0:
                return 1e30
            total += expected - n[b] * np.log(expected)
        return total

    @njit(fastmath=True)
    def gradient(x, n, basis, rate, signal):  # type: ignore[no-untyped-def]
        g = np.zeros(5)
        for b in range(n.size):
            eta = 0.0
            for k in range(4):
                eta += basis[b, k] * x[k]
            background = rate[b] * np.exp(eta)
            slope = 1 - n[b] / (background + x[4] * signal[b])
            for k in range(4):
                g[k] += slope * background * basis[b, k]
            g[4] += slope * signal[b]
        return g

    x0, fixed = np.zeros(5), {"basis": basis, "rate": rate, "signal": signal}
    nll(x0, counts[0], basis, rate, signal), gradient(x0, counts[0], basis, rate, signal)
    result = np.empty(len(counts))
    start = time.process_time()
    for i, n in enumerate(counts):
        minuit = Minuit(partial(nll, n=n, **fixed), x0, grad=partial(gradient, n=n, **fixed), name=list("abcdm"))
        minuit.errordef, minuit.strategy, minuit.tol = 0.5, 1, 1e-3
        minuit.limits[4] = (0, None)
        minuit.fixed[4] = True
        minuit.migrad()
        null = minuit.fval
        minuit.fixed[4] = False
        minuit.values[4] = 1.0  # a start on the limit would have no gradient in Minuit's coordinate
        minuit.migrad()
        result[i] = max(0.0, 2 * (null - minuit.fval))
    return time.process_time() - start, result


def pyhf_dijet(model: LogLinear, counts, q0) -> None:  # type: ignore[no-untyped-def]
    """The portable workspace, and a vector custom modifier (pyhf's best for this model)."""
    import pyhf

    spec = build.spectrum(counts[0], model.rate, model.basis, model.signal)
    custom = custom_model(model)
    portable = pyhf.Workspace(spec).model()
    backends = [("numpy", "numpy")] + ([("jax", "jax")] if importlib.util.find_spec("jax") else [])
    for label, backend in backends:
        optimizers = [("scipy", pyhf.optimize.scipy_optimizer()), ("minuit", pyhf.optimize.minuit_optimizer())]
        for name, optimizer in optimizers:
            pyhf.set_backend(backend, optimizer)
            for kind, target, aux in (
                ("portable JSON", portable, portable.config.auxdata),
                ("custom modifier", custom, []),
            ):
                few = counts[: len(counts) if kind == "custom modifier" else len(counts) // 4]
                config = target.config

                def one(n, target=target, aux=aux, config=config):  # type: ignore[no-untyped-def]
                    return float(pyhf.infer.test_statistics.q0(
                        0.0, [*n.tolist(), *aux], target, config.suggested_init(), config.suggested_bounds(),
                        config.suggested_fixed(),
                    ))  # fmt: skip

                try:
                    one(few[0])
                    seconds, found = spent(lambda few=few, one=one: [one(n) for n in few])
                except Exception as error:  # another tool's failure is a result of the comparison
                    print(f"dijet        pyhf {label} {name}, {kind}: {type(error).__name__}: {str(error)[:60]}")
                    continue
                note(
                    "dijet",
                    f"pyhf {label} {name}, {kind}",
                    len(few) / seconds,
                    agreement=largest(found, q0[: len(few)]),
                )
    pyhf.set_backend("numpy")


def custom_model(model: LogLinear):  # type: ignore[no-untyped-def]
    """A pyhf model whose background is one vector modifier, exp(basis z)."""
    import pyhf
    from pyhf.parameters import ParamViewer

    basis = model.basis @ model.whitening
    size = basis.shape[1]

    class Builder:
        is_shared = True

        def __init__(self, config):  # type: ignore[no-untyped-def]
            self.builder_data, self.required_parsets, self.config = {}, {}, config

        def append(self, key, channel, sample, thismod, defined_samp):  # type: ignore[no-untyped-def]
            self.builder_data.setdefault(key, {}).setdefault(sample, {}).setdefault("data", {"mask": []})
            self.builder_data[key][sample]["data"]["mask"] += [bool(thismod)] * len(model.rate)
            if thismod:
                self.required_parsets.setdefault(
                    thismod["name"],
                    [{"paramset_type": "unconstrained", "n_parameters": size, "is_scalar": False,
                      "inits": (1e-6,) * size, "bounds": ((-20.0, 20.0),) * size, "fixed": False}],
                )  # fmt: skip

        def finalize(self):  # type: ignore[no-untyped-def]
            return self.builder_data

    class Applier:
        name, op_code = "spectrum", "multiplication"

        def __init__(self, modifiers, pdfconfig, builder_data, batch_size=None):  # type: ignore[no-untyped-def]
            names = [m for m, _ in modifiers]
            self.viewer = ParamViewer((pdfconfig.npars,), pdfconfig.par_map, names)
            key = f"spectrum/{names[0]}"
            self.mask = np.array([[[builder_data[key][s]["data"]["mask"]] for s in pdfconfig.samples]])

        def apply(self, pars):  # type: ignore[no-untyped-def]
            tensorlib, _ = pyhf.get_backend()
            exponent = tensorlib.einsum("bk,k->b", tensorlib.astensor(basis), self.viewer.get(pars))
            factors = tensorlib.einsum("b,msab->msab", tensorlib.exp(exponent), tensorlib.ones(self.mask.shape))
            return tensorlib.where(
                tensorlib.astensor(self.mask, dtype="bool"), factors, tensorlib.ones(self.mask.shape)
            )

    spec = {"channels": [{"name": "spectrum", "samples": [
        {"name": "background", "data": model.rate.tolist(),
         "modifiers": [{"name": "z", "type": "spectrum", "data": None}]},
        {"name": "signal", "data": model.signals[0].tolist(),
         "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
    ]}]}  # fmt: skip
    modifiers = {**pyhf.modifiers.histfactory_set, "spectrum": (Builder, Applier)}
    settings = {"poi_name": "mu", "validate": False, "modifier_set": modifiers}
    return pyhf.Model(spec, **settings)


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
    """Seconds until the first p-value in a new process: with an empty numba cache, and with a filled one."""
    with tempfile.TemporaryDirectory() as folder:
        model = dijet()
        path = Path(folder) / "workspace.json"
        counts = np.random.default_rng(0).poisson(model.rate)
        path.write_text(json.dumps(build.spectrum(counts, model.rate, model.basis, model.signal)))
        code = (
            f"import bumpfit.workspace as w, bumpfit.toys as t\nprint(t.throw(w.read({str(path)!r}), 10000).p_value())"
        )
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(Path(folder) / "cache")}
        for label in ("first start, empty cache", "second start"):
            start = time.perf_counter()
            before = os.times()
            subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
            after = os.times()
            used = after.children_user + after.children_system - before.children_user - before.children_system
            note("start", label, time.perf_counter() - start, "s (wall)", f"{used:.1f} s of processor time")


def section_workers(quick: bool) -> None:
    """Wall-clock gain of two workers, and equality of the numbers."""
    model = dijet()
    n = 1_000_000 if quick else 10_000_000
    toys.throw(model, 1000)
    walls, statistics = [], []
    for workers in (1, 2):
        start = time.perf_counter()
        statistics.append(toys.throw(model, n, workers=workers).statistic)
        walls.append(time.perf_counter() - start)
    note("workers", "gain of two workers", walls[0] / walls[1], "times",
         "same bits" if np.array_equal(*statistics) else "DIFFERENT")  # fmt: skip


def save(folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "toys_speed.csv").open("w", newline="") as stream:
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
    parser.add_argument("--likelihood", help="workspace for the section histfactory")
    parser.add_argument("--patch", help="JSON patch for it")
    parser.add_argument("--out", type=Path, help="folder for the table and the figure")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # pyhf prints every failed fit at length
    for name in options.sections:
        section = globals()[f"section_{name}"]
        if name == "histfactory":
            section(options.quick, options.likelihood, options.patch)
        else:
            section(options.quick)
    if options.out is not None:
        save(options.out)


if __name__ == "__main__":
    main()
