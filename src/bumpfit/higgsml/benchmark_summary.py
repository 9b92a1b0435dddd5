"""What the experiments of a benchmark say: scores, bounds, pulls, correlations, differences; the records of it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml.bounds import Bound, bound
from bumpfit.higgsml.columns import LUMINOSITY, PROCESS, PROCESSES, WEIGHTS, process_index
from bumpfit.higgsml.method import Method
from bumpfit.higgsml.nuisances import NAMES, PRIORS
from bumpfit.higgsml.pseudo import Settings
from bumpfit.higgsml.score import EPS, Scores, paired_difference, scores
from bumpfit.results import Record

Mode = Literal["closure", "independent"]
Lines = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Plan(Record):
    """What is compared: methods' files and entries, the sample, the mode, the experiments.

    `challenge_range`: also compare intervals that use that mu is in [0.1, 3].
    `points`: of the nuisances, shared by the sets (experiment i of a set is at point i modulo their number); 0: anew in
    every experiment.
    """

    sample: str
    methods: tuple[str, ...]
    submissions: tuple[str, ...] = ()
    settings: Settings = dataclasses.field(default_factory=lambda: Settings((1.0,)))
    mode: Mode = "closure"
    challenge_range: bool = False
    eps: float = EPS
    luminosity: float = LUMINOSITY
    points: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what is compared: the files' without ending."""
        return tuple(Path(p).stem for p in self.methods) + tuple(Path(p).stem for p in self.submissions)


@dataclasses.dataclass(frozen=True)
class Compared(Record):
    """One method: its scores, the number of failed experiments with the reasons, the median seconds of a prediction.

    `bias` (sets): mean of mu_hat - mu, `spread`: its standard deviation. `width_over_bound`: mean width over twice the
    profiled Fisher bound of its own templates (None without templates). `bounds`: those, a set each. `oracle`: scores
    of the intervals of the same experiments when the nuisances are known (None without templates). `pulls`: mean and
    standard deviation of (fitted - true) / error of each nuisance, and the mean of its error. `simulation`: what the
    method knows about its simulation. `ranged`: scores of the intervals that use the range of the challenge (None where
    it was not asked for); `uses_range`: the method does so always.
    """

    name: str
    scores: Scores
    failed: int
    reasons: dict[str, int]
    bias: tuple[float, ...]
    spread: tuple[float, ...]
    width_over_bound: float | None
    seconds: float
    bounds: tuple[Bound, ...] = ()
    oracle: Scores | None = None
    pulls: dict[str, tuple[float, float, float]] = dataclasses.field(default_factory=dict)
    simulation: dict[str, Any] = dataclasses.field(default_factory=dict)
    ranged: Scores | None = None
    uses_range: bool = False


@dataclasses.dataclass(frozen=True)
class Difference(Record):
    """Score of the first method minus that of the second on the same experiments, with its central 95 %."""

    first: str
    second: str
    value: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Benchmark(Record):
    """A finished benchmark; `simulated` is k, the effective simulated events for one expected, by process.

    `differences`: scores of pairs of methods on the experiments where both have an interval; `ranged_differences`: of
    their intervals that use the range.
    """

    plan: Plan
    luminosity: float
    simulated: dict[str, float]
    largest_multiplicity: int
    methods: tuple[Compared, ...]
    correlation: tuple[tuple[float, ...], ...]
    differences: tuple[Difference, ...] = ()
    ranged_differences: tuple[Difference, ...] = ()

    @property
    def too_small(self) -> tuple[str, ...]:
        """Methods whose simulation is too small for what the mode promises."""
        return tuple(one.name for one in self.methods if one.simulation.get("simulation_large_enough") is False)

    @property
    def best_bound(self) -> float | None:
        """Mean over the sets of the smallest profiled bound of any method, as a width; None without one."""
        found = [[one.profiled for one in method.bounds] for method in self.methods if method.bounds]
        return 2.0 * float(np.mean(np.min(found, axis=0))) if found else None


def summarised(
    plan: Plan, events: pd.DataFrame, fitted: Mapping[str, Method], lines: Lines, seconds: NDArray[np.float64]
) -> Benchmark:
    """What the lines of a benchmark say.

    Args:
        plan: what was compared.
        events: the simulated events that experiments were drawn from.
        fitted: methods by name.
        lines: of the experiments.
        seconds: of each experiment and method.

    Raises:
        InputError: a method has no valid measurement in a set.
    """
    process = process_index(events[PROCESS])
    w = events[WEIGHTS].to_numpy(np.float64) * (plan.luminosity / LUMINOSITY)
    simulated = {
        name: float(w[process == p].sum() / (w[process == p] ** 2).sum()) for p, name in enumerate(PROCESSES)
        if (process == p).any()
    }  # fmt: skip
    methods = tuple(_compared(plan, name, fitted.get(name), lines, seconds[:, k]) for k, name in enumerate(plan.names))
    good = [line for line in lines if all(line["methods"][name]["valid"] for name in plan.names)]
    shifts = np.array([[line["methods"][name]["mu_hat"] - line["mu"] for line in good] for name in plan.names])
    correlation = np.atleast_2d(np.corrcoef(shifts)) if len(good) > 2 else np.full((len(shifts), len(shifts)), np.nan)
    most = max(line["largest_multiplicity"] for line in lines)
    return Benchmark(
        plan, plan.luminosity, simulated, most, methods, tuple(tuple(row) for row in correlation.tolist()),
        _differences(plan, lines, "methods"), _differences(plan, lines, "ranged") if plan.challenge_range else (),
    )  # fmt: skip


def _differences(plan: Plan, lines: Lines, kind: str) -> tuple[Difference, ...]:
    good = [line for line in lines if all(line[kind][name]["valid"] for name in plan.names)]
    pairs = itertools.combinations(plan.names, 2) if good else ()
    return tuple(_difference(plan, good, kind, a, b) for a, b in pairs)


def _difference(plan: Plan, good: Lines, kind: str, first: str, second: str) -> Difference:
    mu = np.array([line["mu"] for line in good])
    ends = [
        tuple(np.array([line[kind][name][end] for line in good]) for end in ("low", "high")) for name in (first, second)
    ]
    return Difference(first, second, *paired_difference(mu, ends[0], ends[1], eps=plan.eps))  # type: ignore[arg-type]


def _compared(
    plan: Plan, name: str, fitted: Method | None, lines: Lines, seconds: NDArray[np.float64]
) -> Compared:  # fmt: skip
    low, high, bias, spread = [], [], [], []
    reasons: dict[str, int] = {}
    for s, mu in enumerate(plan.settings.mus):
        answers = [line["methods"][name] for line in lines if line["set"] == s]
        good = [answer for answer in answers if answer["valid"]]
        for answer in answers:
            if not answer["valid"]:
                reason = str(answer["diagnostics"].get("reason", "the interval is empty"))
                reasons[reason] = reasons.get(reason, 0) + 1
        if not good:
            raise InputError(f"'{name}' has no valid measurement at mu = {mu:g}: {'; '.join(reasons)}")
        low.append(np.array([answer["low"] for answer in good]))
        high.append(np.array([answer["high"] for answer in good]))
        hats = np.array([answer["mu_hat"] for answer in good])
        bias.append(float(hats.mean() - mu))
        spread.append(float(hats.std(ddof=1)) if len(hats) > 1 else float("nan"))
    found = scores(plan.settings.mus, list(low), list(high), eps=plan.eps)
    bounds: tuple[Bound, ...] = ()
    simulation: dict[str, Any] = {}
    ratio = None
    if fitted is not None:
        simulation = fitted.simulation
    if fitted is not None and fitted.model is not None:
        bounds = tuple(bound(fitted.model, mu) for mu in plan.settings.mus)
        ratio = float(found.merged.width / np.mean([2.0 * one.profiled for one in bounds]))
    return Compared(
        name, found, sum(reasons.values()), reasons, tuple(bias), tuple(spread), ratio, float(np.nanmedian(seconds)),
        bounds, _scores_of(plan, "oracles", name, lines), _pulls(name, lines), simulation,
        _scores_of(plan, "ranged", name, lines) if plan.challenge_range else None,
        fitted is not None and fitted.uses_range,
    )  # fmt: skip


def _scores_of(plan: Plan, kind: str, name: str, lines: Lines) -> Scores | None:
    """Scores of other intervals of the same experiments; None where a set has none."""
    sets: list[list[Mapping[str, Any]]] = [[] for _ in plan.settings.mus]
    for line in lines:
        one = line[kind].get(name)
        if one is not None and one.get("valid", True):
            sets[line["set"]].append(one)
    if not all(sets):
        return None
    low, high = ([np.array([one[end] for one in answers]) for answers in sets] for end in ("low", "high"))
    return scores(plan.settings.mus, list(low), list(high), eps=plan.eps)


def _pulls(name: str, lines: Lines) -> dict[str, tuple[float, float, float]]:
    """Mean and standard deviation of the pulls of each nuisance, and its mean error (standard deviations of priors)."""
    result = {}
    for nuisance in NAMES:
        pulls, errors = [], []
        for line in lines:
            answer, true = line["methods"][name], line["nuisances"][nuisance]
            if not answer["valid"] or nuisance not in answer["nuisances"]:
                continue
            if PRIORS[nuisance].lognormal and true <= 0.0:
                continue
            value, error = answer["nuisances"][nuisance]
            if error > 0.0:
                pulls.append((value - PRIORS[nuisance].standard(true)) / error)
                errors.append(error)
        if len(pulls) > 1:
            result[nuisance] = (float(np.mean(pulls)), float(np.std(pulls, ddof=1)), float(np.mean(errors)))
    return result
