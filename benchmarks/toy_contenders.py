"""Other tools on the same toys as bumpfit, each in a process (and, if need be, an environment) of its own.

    python benchmarks/toy_contenders.py CONTENDER FOLDER --toys N        one contender, as `toys.py` calls it

FOLDER holds `problem.npz`: `rate` (B,), `directions` (B, P), `signal` (B,), the model of the expected counts
rate exp(directions z) + mu signal with mu >= 0, and `counts` (n, B), the toys; and the same model as `workspace.json`
(pyhf's form) and `workspace.hs3.json`. A contender is a function of the folder that returns a function from counts
to q0. Only numpy and the tool itself are imported here, never bumpfit, so that a tool may live in an environment where
bumpfit is not. The seconds (processor time) and q0 go to FOLDER/CONTENDER.npz, made after the tool's own compilation.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "XLA_FLAGS"):
    os.environ.setdefault(variable, "--xla_cpu_multi_thread_eigen=false" if variable == "XLA_FLAGS" else "1")

import numpy as np  # noqa: E402

Fitter = Callable[[np.ndarray], np.ndarray]
MISSING = 3
"""Exit code when the tool is not installed in this environment."""


@dataclass(frozen=True)
class Contender:
    """A row of the table: what it is, which distribution it needs, how many toys fit into some seconds."""

    label: str
    needs: tuple[str, ...]
    toys: int
    build: Callable[[Path], Fitter]


def problem(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rate (B,), directions (B, P), and signal (B,)."""
    with np.load(folder / "problem.npz") as content:
        return content["rate"], np.ascontiguousarray(content["directions"]), content["signal"]


def by_iminuit(folder: Path, *, compiled: bool) -> Fitter:
    """What an analyst writes: Minuit on a likelihood in whitened parameters; compiled with gradient, or in numpy."""
    from iminuit import Minuit

    rate, directions, signal = problem(folder)

    def plain(x, n):  # type: ignore[no-untyped-def]
        expected = rate * np.exp(directions @ x[:4]) + x[4] * signal
        return np.sum(expected - n * np.log(expected))

    nll, gradient = compiled_likelihood(rate, directions, signal) if compiled else (plain, None)

    def fit(counts: np.ndarray) -> np.ndarray:
        result = np.empty(len(counts))
        for i, n in enumerate(counts):
            slope = None if gradient is None else partial(gradient, n=n)
            minuit = Minuit(partial(nll, n=n), np.zeros(5), grad=slope, name=list("abcdm"))
            minuit.errordef, minuit.strategy, minuit.tol = 0.5, 1, 1e-3
            minuit.limits[4] = (0, None)
            minuit.fixed[4] = True
            minuit.migrad()
            null = minuit.fval
            minuit.fixed[4] = False
            minuit.values[4] = 1.0  # a start on the limit would have no gradient in Minuit's coordinate
            minuit.migrad()
            result[i] = max(0.0, 2 * (null - minuit.fval))
        return result

    return fit


def compiled_likelihood(rate, directions, signal):  # type: ignore[no-untyped-def]
    """Negative log-likelihood and gradient as numba functions of (x, n)."""
    from numba import njit

    @njit(fastmath=True)
    def nll(x, n):  # type: ignore[no-untyped-def]
        total = 0.0
        for b in range(n.size):
            eta = 0.0
            for k in range(4):
                eta += directions[b, k] * x[k]
            expected = rate[b] * np.exp(eta) + x[4] * signal[b]
            if expected <= 0:
                return 1e30
            total += expected - n[b] * np.log(expected)
        return total

    @njit(fastmath=True)
    def gradient(x, n):  # type: ignore[no-untyped-def]
        g = np.zeros(5)
        for b in range(n.size):
            eta = 0.0
            for k in range(4):
                eta += directions[b, k] * x[k]
            background = rate[b] * np.exp(eta)
            slope = 1 - n[b] / (background + x[4] * signal[b])
            for k in range(4):
                g[k] += slope * background * directions[b, k]
            g[4] += slope * signal[b]
        return g

    return nll, gradient


def by_roofit(folder: Path, *, tolerance: float) -> Fitter:
    """RooFit's own form for binned models: a yield a bin, Poisson probabilities (no density at bin centres)."""
    import ROOT

    ROOT.gErrorIgnoreLevel = ROOT.kError
    ROOT.RooMsgService.instance().setGlobalKillBelow(ROOT.RooFit.ERROR)
    rate, directions, signal = problem(folder)
    bins = len(rate)
    x = ROOT.RooRealVar("x", "", 0, bins)
    x.setBins(bins)
    z = [ROOT.RooRealVar(f"z{k}", "", 0, -20, 20) for k in range(directions.shape[1])]
    mu = ROOT.RooRealVar("mu", "", 1, 0, 1000)

    def histogram(contents: np.ndarray) -> object:
        filled = ROOT.TH1D("h", "", bins, 0, bins)
        filled.SetDirectory(ROOT.nullptr)
        for i, content in enumerate(contents.tolist()):
            filled.SetBinContent(i + 1, content)
        return ROOT.RooDataHist("d", "", ROOT.RooArgList(x), filled)

    yields = []
    for i, row in enumerate(directions.tolist()):
        exponent = " + ".join(f"({value!r}) * @{k}" for k, value in enumerate(row))
        yields.append(ROOT.RooFormulaVar(f"yield{i}", "", f"{float(rate[i])!r} * exp({exponent})", ROOT.RooArgList(*z)))
    background = ROOT.ParamHistFunc("background", "", ROOT.RooArgList(x), ROOT.RooArgList(*yields))
    template = histogram(signal)
    peak = ROOT.RooHistFunc("signal", "", ROOT.RooArgSet(x), template)
    one = ROOT.RooFit.RooConst(1.0)
    model = ROOT.RooRealSumPdf("model", "", ROOT.RooArgList(background, peak), ROOT.RooArgList(one, mu), True)
    model.setAttribute("BinnedLikelihood")
    first = histogram(rate)
    nll = model.createNLL(first, ROOT.RooFit.EvalBackend("cpu"))
    minimizer = ROOT.RooMinimizer(nll)
    minimizer.setPrintLevel(-1)
    minimizer.setStrategy(1)
    minimizer.setEps(tolerance)
    keep = (yields, background, template, peak, one, model, first)  # Python owns them; nll points to them

    def minimum(strength: float, fixed: bool) -> float:
        mu.setVal(strength)
        mu.setConstant(fixed)
        if minimizer.minimize("Minuit2", "migrad") != 0:
            raise RuntimeError("RooMinimizer did not converge")
        return float(nll.getVal())

    def fit(counts: np.ndarray, keep: object = keep) -> np.ndarray:
        result = np.empty(len(counts))
        for i, n in enumerate(counts):
            data = histogram(n)
            nll.setData(data, False)
            for parameter in z:
                parameter.setVal(0)
            null = minimum(0.0, True)
            result[i] = max(0.0, 2 * (null - minimum(1.0, False)))
        return result

    return fit


def by_zfit(folder: Path, *, hepstats: bool) -> Fitter:
    """A zfit model of the bin contents with its extended binned likelihood; q0 by zfit itself, or by hepstats."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import zfit

    rate, directions, signal = (tf.constant(array) for array in problem(folder))
    bins = int(rate.shape[0])
    space = zfit.Space("x", binning=zfit.binned.RegularBinning(bins, 0.0, float(bins), name="x"))
    z = {f"z{k}": zfit.Parameter(f"z{k}", 0.0, -20.0, 20.0) for k in range(directions.shape[1])}
    mu = zfit.Parameter("mu", 1.0, 0.0, 1000.0)

    def expected(values):  # type: ignore[no-untyped-def]
        exponent = tf.linalg.matvec(directions, tf.stack([tf.convert_to_tensor(values[name]) for name in z]))
        return rate * tf.exp(exponent) + tf.convert_to_tensor(values["mu"]) * signal

    class Spectrum(zfit.pdf.BaseBinnedPDF):
        def __init__(self):  # type: ignore[no-untyped-def]
            total = zfit.ComposedParameter(
                "total", lambda params: tf.reduce_sum(expected(params)), params={**z, "mu": mu}
            )
            super().__init__(obs=space, params={**z, "mu": mu}, name="Spectrum", extended=total)

        @zfit.supports(norm="norm")
        def _counts(self, x, norm=None):  # type: ignore[no-untyped-def]
            return expected(self.params)

        @zfit.supports(norm="norm")
        def _rel_counts(self, x, norm=None):  # type: ignore[no-untyped-def]
            contents = expected(self.params)
            return contents / tf.reduce_sum(contents)

    model, minimizer = Spectrum(), zfit.minimize.Minuit(tol=1e-3)
    free = [*z.values(), mu]

    def by_hand(loss) -> float:  # type: ignore[no-untyped-def]
        best = minimizer.minimize(loss).fmin
        mu.set_value(0.0)
        mu.floating = False
        null = minimizer.minimize(loss).fmin
        mu.floating = True
        return max(0.0, 2 * (null - best))

    def by_hepstats(loss) -> float:  # type: ignore[no-untyped-def]
        from hepstats.hypotests import Discovery
        from hepstats.hypotests.calculators import AsymptoticCalculator
        from hepstats.hypotests.parameters import POI

        _, significance = Discovery(AsymptoticCalculator(loss, minimizer), POI(mu, 0)).result(printlevel=0)
        return max(0.0, float(significance)) ** 2

    statistic = by_hepstats if hepstats else by_hand

    def fit(counts: np.ndarray) -> np.ndarray:
        result = np.empty(len(counts))
        for i, n in enumerate(counts):
            data = zfit.data.BinnedData.from_tensor(space, values=n, variances=n)
            zfit.param.set_values(free, [0.0] * len(z) + [1.0])
            result[i] = statistic(zfit.loss.ExtendedBinnedNLL(model, data))
        return result

    return fit


def by_evermore(folder: Path) -> Fitter:
    """evermore's modifiers and Poisson likelihood under a vmapped Newton iteration of our own (it has no minimiser)."""
    import evermore
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    rate, directions, signal = (jnp.asarray(array) for array in problem(folder))
    size = directions.shape[1]

    def nll(x, n):  # type: ignore[no-untyped-def]
        shape = evermore.effect.Lambda(lambda z, rates: rates * jnp.exp(directions @ z), normalize_by="scale")
        background = evermore.Modifier(value=x[:size], effect=shape)(rate)
        expected = background + evermore.Parameter(x[size]).scale()(signal)
        return -evermore.pdf.PoissonContinuous(lamb=expected).log_prob(n).sum()

    def minimum(n, free):  # type: ignore[no-untyped-def]
        """Six Newton steps from z = 0 and mu = 0 in the first `free` parameters, and a step's size at the end."""

        def restricted(y):  # type: ignore[no-untyped-def]
            return nll(jnp.zeros(size + 1).at[:free].set(y), n)

        def step(_, y):  # type: ignore[no-untyped-def]
            return y - jnp.linalg.solve(jax.hessian(restricted)(y), jax.grad(restricted)(y))

        y = jax.lax.fori_loop(0, 6, step, jnp.zeros(free))
        return restricted(y), y, jnp.abs(step(0, y) - y).max()

    def q0(n):  # type: ignore[no-untyped-def]
        null, _, left = minimum(n, size)
        best, y, last = minimum(n, size + 1)
        # the likelihood has one minimum here: below mu = 0 the bounded one is the null
        return jnp.where(y[size] > 0, jnp.maximum(0.0, 2 * (null - best)), 0.0), jnp.maximum(left, last)

    batch = jax.jit(jax.vmap(q0))

    def fit(counts: np.ndarray, block: int = 500) -> np.ndarray:
        result = np.empty(len(counts))
        for start in range(0, len(counts), block):
            part = counts[start : start + block]
            filled = np.concatenate(
                [part, np.repeat(part[:1], block - len(part), axis=0)]
            )  # one shape, one compilation
            values, left = batch(filled)
            if not float(left.max()) < 1e-6:
                raise RuntimeError(f"Newton's iteration is {float(left.max()):.1e} away from the minimum")
            result[start : start + len(part)] = np.asarray(values)[: len(part)]
        return result

    return fit


def by_nextstat(folder: Path, *, form: str) -> Fitter:
    """NextStat on the portable workspace; `form` is pyhf or hs3."""
    import nextstat

    nextstat.set_threads(1)
    if form == "pyhf":
        model = nextstat.from_pyhf((folder / "workspace.json").read_text())
    else:
        model = nextstat.HistFactoryModel.from_hs3((folder / "workspace.hs3.json").read_text())

    def fit(counts: np.ndarray) -> np.ndarray:
        result = np.empty(len(counts))
        for i, n in enumerate(counts):
            scan = nextstat.profile_scan(model.with_observed_main(n.tolist()), [0.0])
            result[i] = max(0.0, 2 * (scan["points"][0]["nll_mu"] - scan["nll_hat"]))
        return result

    return fit


def by_pyhf(folder: Path, *, backend: str, optimizer: str, form: str) -> Fitter:
    import toy_pyhf

    return toy_pyhf.q0(folder, problem(folder), backend, optimizer, form)


CONTENDERS = {
    "iminuit-numba": Contender(
        "iminuit, compiled likelihood with gradient", ("iminuit", "numba"), 1000, partial(by_iminuit, compiled=True)
    ),
    "iminuit-numpy": Contender("iminuit, numpy likelihood", ("iminuit",), 200, partial(by_iminuit, compiled=False)),
    "roofit": Contender("RooFit, default tolerance", ("root",), 200, partial(by_roofit, tolerance=1.0)),
    "roofit-tight": Contender("RooFit, tolerance 1e-4", ("root",), 200, partial(by_roofit, tolerance=1e-4)),
    "evermore": Contender("evermore likelihood, jax vmapped Newton", ("evermore",), 20_000, by_evermore),
    "nextstat": Contender("NextStat, portable HS3", ("nextstat",), 200, partial(by_nextstat, form="hs3")),
    "nextstat-pyhf": Contender("NextStat, portable JSON", ("nextstat",), 200, partial(by_nextstat, form="pyhf")),
    "zfit": Contender("zfit", ("zfit",), 8, partial(by_zfit, hepstats=False)),
    "hepstats": Contender("hepstats Discovery on zfit", ("hepstats", "zfit"), 8, partial(by_zfit, hepstats=True)),
} | {
    f"pyhf-{backend}-{optimizer}-{form}": Contender(
        f"pyhf {backend} {optimizer}, {'custom modifier' if form == 'custom' else 'portable JSON'}",
        ("pyhf", "jax") if backend == "jax" else ("pyhf",),
        100 if form == "custom" else 24,
        partial(by_pyhf, backend=backend, optimizer=optimizer, form=form),
    )
    for backend in ("numpy", "jax")
    for optimizer in ("scipy", "minuit")
    for form in ("custom", "portable")
}


def versions(contender: Contender) -> str | None:
    """Name and version of what it needs; None when something is not installed here."""
    try:
        return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in contender.needs)
    except importlib.metadata.PackageNotFoundError:
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contender", choices=list(CONTENDERS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--toys", type=int, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)  # pyhf prints every failed fit at length
    contender = CONTENDERS[options.contender]
    label = versions(contender)
    if label is None:
        return MISSING
    with np.load(options.folder / "problem.npz") as content:
        counts = content["counts"][: options.toys]
    fit = contender.build(options.folder)
    fit(counts[:1])  # compilation is not counted
    start = time.process_time()
    found = fit(counts)
    seconds = time.process_time() - start
    np.savez(options.folder / f"{options.contender}.npz", seconds=seconds, q0=found, versions=label)
    return 0


if __name__ == "__main__":
    sys.exit(main())
