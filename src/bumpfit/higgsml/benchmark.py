"""The benchmark: the same pseudo-experiments for all methods, resumable, the same numbers for any number of workers.

Modes: `closure` draws the experiments from the template events of the sample that the methods were trained on (their
learners saw the other half, see `split`): it measures a method without the error of the simulation. `independent` draws
them from another sample; the error of both simulations, about sigma / sqrt(k) with k simulated for one expected event,
is then a shift that all experiments share.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.events.formats import read_frame
from bumpfit.files import atomic, sha256, write_json
from bumpfit.higgsml.bounds import bound
from bumpfit.higgsml.columns import PROCESS, PROCESSES, WEIGHTS, checked, process_index
from bumpfit.higgsml.measurement import Measurement, failed
from bumpfit.higgsml.method import Method, load
from bumpfit.higgsml.nuisances import draw_nuisances
from bumpfit.higgsml.pseudo import Settings, experiment
from bumpfit.higgsml.score import EPS, Scores, scores
from bumpfit.higgsml.split import parts
from bumpfit.higgsml.submission import Submission
from bumpfit.progress import bar
from bumpfit.results import Record, plain
from bumpfit.runs import in_folder

Mode = Literal["closure", "independent"]
LINES, RESULT = "experiments.jsonl", "result.json"
OUTPUTS = (LINES, "report.md", "report.html", "figures/")


@dataclasses.dataclass(frozen=True)
class Plan(Record):
    """What is compared: methods' files and entries, the sample, the mode, the experiments."""

    sample: str
    methods: tuple[str, ...]
    submissions: tuple[str, ...] = ()
    settings: Settings = dataclasses.field(default_factory=lambda: Settings((1.0,)))
    mode: Mode = "closure"
    challenge_range: bool = False
    eps: float = EPS

    @property
    def names(self) -> tuple[str, ...]:
        """Names of what is compared: the files' without ending."""
        return tuple(Path(p).stem for p in self.methods) + tuple(Path(p).stem for p in self.submissions)


@dataclasses.dataclass(frozen=True)
class Compared(Record):
    """One method: its scores, the number of failed experiments with the reasons, the median seconds of a prediction.

    `bias` (sets): mean of mu_hat - mu, `spread`: its standard deviation. `width_over_bound`: mean width over twice the
    profiled Fisher bound of its own templates (None without templates).
    """

    name: str
    scores: Scores
    failed: int
    reasons: dict[str, int]
    bias: tuple[float, ...]
    spread: tuple[float, ...]
    width_over_bound: float | None
    seconds: float


@dataclasses.dataclass(frozen=True)
class Benchmark(Record):
    """A finished benchmark; `simulated` is k, the effective simulated events for one expected, by process."""

    plan: Plan
    luminosity: float
    simulated: dict[str, float]
    largest_multiplicity: int
    methods: tuple[Compared, ...]
    correlation: tuple[tuple[float, ...], ...]


def benchmark(
    plan: Plan, out: str | os.PathLike[str], *, workers: int = 1, overwrite: bool = False, write: Any = None
) -> Benchmark:
    """Run all experiments through all methods.

    Args:
        plan: what is compared.
        out: folder of the results; an interrupted run with the same plan goes on there.
        workers: processes.
        overwrite: remove what another run left in the folder.
        write: called with the benchmark, the lines and the folder before the result is written, for pages.

    Raises:
        InputError: bad plan, sample or method; the folder holds another run.
        BumpfitError: an entry cannot be trained.
    """
    _check(plan)
    inputs = [plan.sample, *plan.methods, *plan.submissions]
    settings = {**plan.to_dict(), "inputs": {path: sha256(path) for path in inputs}}
    with in_folder(out, settings, outputs=OUTPUTS, result=RESULT, overwrite=overwrite) as held:
        tasks = {
            f"experiment-{s:03d}-{i:06d}": (plan, s, i)
            for s in range(len(plan.settings.mus)) for i in range(plan.settings.experiments)
        }  # fmt: skip
        lines, seconds = [], []
        with bar("pseudo-experiments", len(tasks)) as advance:
            for _, piece in held.map(_evaluate, tasks, workers=workers):
                lines.append(json.loads(piece["line"].tobytes()))
                seconds.append(piece["seconds"])
                advance()
        result = summarised(plan, lines, np.array(seconds))
        assert held.folder is not None
        with atomic(held.folder / LINES) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        if write is not None:
            write(result, lines, held.folder)
        write_json(held.folder / RESULT, result.to_dict())
        held.finish()
    return result


def _check(plan: Plan) -> None:
    if not plan.names:
        raise InputError("there is nothing to compare: give the files of methods, or --submission FILE.py")
    if len(set(plan.names)) != len(plan.names):
        raise InputError(f"two of the methods have the same name: {', '.join(plan.names)}; rename a file")
    if plan.mode not in ("closure", "independent"):
        raise InputError(f"there is no mode '{plan.mode}'; expected closure or independent")
    for path in plan.methods:
        found = load(path)
        if plan.challenge_range and found.range_calibration is None:
            raise InputError(f"{path} was not calibrated for the range of the challenge")


@functools.lru_cache(maxsize=2)
def population(sample: str, mode: Mode) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training events of entries, and the events that experiments are drawn from."""
    table = checked(read_frame(sample), weights=True, processes=True, what=sample)
    if mode == "independent":
        return table, table
    return parts(table)


@functools.lru_cache(maxsize=32)
def _method(path: str) -> Method:
    return load(path)


@functools.lru_cache(maxsize=8)
def _submission(path: str, sample: str, mode: Mode) -> Submission:
    return Submission(path, population(sample, mode)[0])


def _evaluate(task: tuple[Plan, int, int]) -> dict[str, NDArray[Any]]:
    """One experiment: a line of JSON, and the seconds of each method."""
    plan, s, i = task
    seed, mu = plan.settings.seed_of(s, i), plan.settings.mus[s]
    made = experiment(population(plan.sample, plan.mode)[1], mu, draw_nuisances(seed, plan.settings.enabled), seed)
    found: dict[str, Measurement] = {}
    for path in plan.methods:
        try:
            found[Path(path).stem] = _method(path).predict(made.table, challenge_range=plan.challenge_range)
        except (ArithmeticError, np.linalg.LinAlgError) as error:
            found[Path(path).stem] = failed(f"{type(error).__name__}: {error}")
    for path in plan.submissions:
        found[Path(path).stem] = _submission(path, plan.sample, plan.mode).predict(made.table)
    line = {
        "set": s, "index": i, "seed": seed, "mu": mu, "nuisances": made.nuisances.to_dict(), "events": len(made.table),
        "largest_multiplicity": made.largest_multiplicity,
        "methods": {name: _short(one) for name, one in found.items()},
    }  # fmt: skip
    text = json.dumps(plain(line), allow_nan=False).encode()
    return {"line": np.frombuffer(text, np.uint8), "seconds": np.array([one.seconds for one in found.values()])}


def _short(one: Measurement) -> dict[str, Any]:
    result = one.to_dict()
    for name in ("twice_nll", "seconds"):
        result.pop(name)
    return result


def summarised(plan: Plan, lines: Sequence[dict[str, Any]], seconds: NDArray[np.float64]) -> Benchmark:
    """What the lines of a benchmark say.

    Raises:
        InputError: a method has no valid measurement in a set.
    """
    table = population(plan.sample, plan.mode)[1]
    process, w = process_index(table[PROCESS]), table[WEIGHTS].to_numpy(np.float64)
    simulated = {
        name: float(w[process == p].sum() / (w[process == p] ** 2).sum()) for p, name in enumerate(PROCESSES)
        if (process == p).any()
    }  # fmt: skip
    methods = tuple(_compared(plan, name, lines, seconds[:, k]) for k, name in enumerate(plan.names))
    good = [line for line in lines if all(line["methods"][name]["valid"] for name in plan.names)]
    pulls = np.array([[line["methods"][name]["mu_hat"] - line["mu"] for line in good] for name in plan.names])
    correlation = np.atleast_2d(np.corrcoef(pulls)) if len(good) > 2 else np.full((len(pulls), len(pulls)), np.nan)
    most = max(line["largest_multiplicity"] for line in lines)
    return Benchmark(plan, 10.0, simulated, most, methods, tuple(tuple(row) for row in correlation.tolist()))


def _compared(plan: Plan, name: str, lines: Sequence[dict[str, Any]], seconds: NDArray[np.float64]) -> Compared:
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
    ratio = None
    path = next((p for p in plan.methods if Path(p).stem == name), None)
    model = getattr(_method(path), "model", None) if path is not None else None
    if model is not None:
        limit = np.mean([2.0 * bound(model, mu).profiled for mu in plan.settings.mus])
        ratio = float(found.merged.width / limit)
    return Compared(
        name, found, sum(reasons.values()), reasons, tuple(bias), tuple(spread), ratio, float(np.nanmedian(seconds))
    )
