"""A binned method as a HistFactory workspace, and how far that is from the exact response.

One channel, four samples; mu is free, the scales of ttbar, diboson and all backgrounds are `normsys` of their prior's
standard deviations. tes, jes and soft_met are `histosys` with the exact yields at one standard deviation to both
sides; that of soft_met is in z = ln(soft_met), so that the nominal yields are those of soft_met = 1 GeV and its
templates those of 0.37 and 2.72. HistFactory interpolates between the three, adds the effects of several nuisances
where the exact response multiplies them, and goes on linearly beyond one standard deviation: at the clip of soft_met,
5 GeV, the exact response goes with 25 GeV^2 and the straight line is far below.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit import inference
from bumpfit import workspace as workspaces
from bumpfit.errors import BumpfitError, InputError
from bumpfit.higgsml.columns import PROCESSES
from bumpfit.higgsml.likelihood import Model, fit_all, throw_counts
from bumpfit.higgsml.nuisances import NAMES, PRIORS
from bumpfit.higgsml.templates import monomials
from bumpfit.results import Record
from bumpfit.workspace import build
from bumpfit.workspace.effects_bins import STATERROR
from bumpfit.workspace.effects_scale import NORMFACTOR, NORMSYS
from bumpfit.workspace.effects_shape import HISTOSYS

Floats = NDArray[np.float64]
CHANNEL = "bins"
SHAPES = ("tes", "jes", "soft_met")


def yields(model: Model, theta: ArrayLike) -> Floats:
    """Expected events (bins, processes) at mu = 1 and nuisances in standard deviations, scales of yields left out."""
    a, (t, j, z) = model.arrays, np.asarray(theta, dtype=np.float64)[:3]
    return np.asarray(a.yields * np.exp(a.response @ monomials(t, j, np.exp(2.0 * z))))


def workspace(model: Model, counts: ArrayLike | None = None) -> dict[str, Any]:
    """The workspace of a binned method's likelihood.

    Args:
        model: with log-quadratic responses.
        counts: of the bins; those expected at mu = 1 and the centres of the nuisances by default.

    Raises:
        InputError: a likelihood of another kind, or counts that do not fit.
    """
    if model.nuisances != NAMES or not model.arrays.square:
        raise InputError("only a likelihood of log-quadratic responses can be written as a HistFactory workspace")
    nominal = yields(model, np.zeros(3))
    observed = model.expected(1.0)[0][0] if counts is None else model.counts(counts)
    shifted = {name: tuple(yields(model, side * np.eye(3)[k]) for side in (-1.0, 1.0)) for k, name in enumerate(SHAPES)}
    samples = []
    for p, process in enumerate(PROCESSES):
        modifiers = [HISTOSYS.modifier(name, (low[:, p], high[:, p])) for name, (low, high) in shifted.items()]
        names = ["bkg_scale"] if process != "htautau" else []
        names += [f"{process}_scale"] if process in ("ttbar", "diboson") else []
        for name in names:
            sigma = PRIORS[name].sigma
            modifiers.append(NORMSYS.modifier(name, (1.0 - sigma, 1.0 + sigma)))
        if process == "htautau":
            modifiers.append(NORMFACTOR.modifier("mu"))
        if model.simulated.any():
            modifiers.append(STATERROR.modifier("simulation", _errors(model, nominal)[:, p]))
        samples.append(build.sample(process, nominal[:, p], *modifiers))
    low, high = model.arrays.low, model.arrays.high
    settings: dict[str, dict[str, Any]] = {
        name: {"bounds": [[float(low[k]), float(high[k])]]} for k, name in enumerate(NAMES)
    }
    settings["mu"] = {"bounds": [[-10.0, 20.0]], "inits": [1.0]}
    return build.workspace({CHANNEL: samples}, {CHANNEL: observed}, "mu", settings)


def _errors(model: Model, nominal: Floats) -> Floats:
    """Errors of the samples whose root of the sum of squares is that of the simulation in each bin."""
    total, m = nominal.sum(axis=1), model.simulated
    error = np.divide(total, np.sqrt(m), out=np.zeros_like(total), where=m > 0)
    size = np.sqrt((nominal**2).sum(axis=1))
    return np.asarray(error[:, None] * nominal / np.maximum(size, 1e-300)[:, None])


@dataclasses.dataclass(frozen=True)
class Difference(Record):
    """The workspace against the exact response.

    `expected`: by nuisance and its value in standard deviations, the largest difference of a bin's expectation in its
    Poisson errors (soft_met at the clip of its prior among them). `shift`, `spread`: mean and standard deviation of the
    difference of mu_hat in experiments thrown from the exact response with nuisances from the prior, in units of the
    exact error; `error_ratio`: mean ratio of the errors of mu; `n` experiments at `mu`, `failed` ones left out.
    """

    expected: dict[str, dict[str, float]]
    shift: float
    spread: float
    error_ratio: float
    n: int
    failed: int
    mu: float
    seed: int


def difference(model: Model, n: int = 200, mu: float = 1.0, seed: int = 0) -> Difference:
    """Measure what the form of HistFactory costs.

    Args:
        model: the exact likelihood.
        n: pseudo-experiments that are fitted with both.
        mu: their true strength.
        seed: of the experiments.
    """
    written = workspaces.read(workspace(model))
    found: dict[str, dict[str, float]] = {}
    for k, name in enumerate(NAMES):
        found[name] = {}
        for value in (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0 if name != "soft_met" else float(model.arrays.high[k])):
            exact = model.expected(mu, value * np.eye(len(NAMES))[k])[0][0]
            got = written.expected({"mu": mu, name: value})
            found[name][f"{value:.3g}"] = float((np.abs(got - exact) / np.sqrt(np.maximum(exact, 1.0))).max())
    counts = throw_counts(model, np.full(n, mu), np.random.default_rng([seed, 53]))[1]
    fits = fit_all(model, counts, mu, ends=False)
    shifts, ratios = [], []
    for row, best, valid in zip(counts, fits.best, fits.valid, strict=True):
        try:
            other = inference.fit(written, row)
        except BumpfitError:
            continue
        if not (valid and other.valid):
            continue
        covariance = np.linalg.pinv(model.information(max(best[0], 0.0), best[1:]), hermitian=True)
        sigma = float(np.sqrt(covariance[0, 0]))
        shifts.append((other.values["mu"] - best[0]) / sigma)
        ratios.append(other.errors["mu"] / sigma)
    if not shifts:
        raise BumpfitError(f"none of {n} experiments could be fitted with both likelihoods")
    return Difference(
        found, float(np.mean(shifts)), float(np.std(shifts)), float(np.mean(ratios)), n, n - len(shifts), mu, seed
    )
