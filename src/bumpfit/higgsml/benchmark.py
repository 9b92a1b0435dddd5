"""The benchmark: the same pseudo-experiments for all methods, resumable, the same numbers for any number of workers.

Modes: `closure` draws the experiments from the template events of the sample that the methods were trained on (their
learners saw the other half, see `split`): it measures a method without the error of the simulation. `independent` draws
them from another sample; the error of both simulations, about sigma / sqrt(k) with k simulated for one expected event,
is then a shift that all experiments share.

The nuisances are drawn anew in every experiment, as in the challenge, or (`points`) at some points that the sets share:
there events are biased and summarised once, and thousands of experiments are cheap (see `population`).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.files import atomic, sha256, write_json
from bumpfit.higgsml.benchmark_summary import Benchmark, Compared, Difference, Mode, Plan, summarised
from bumpfit.higgsml.columns import FEATURES, LUMINOSITY, WEIGHTS, matrix
from bumpfit.higgsml.dataset import Dataset, Part
from bumpfit.higgsml.likelihood import Model, fit_all
from bumpfit.higgsml.measurement import Measurement, failed
from bumpfit.higgsml.method import UNRANGED, Method, load
from bumpfit.higgsml.nuisances import PRIORS, Nuisances, draw_nuisances
from bumpfit.higgsml.population import Population
from bumpfit.higgsml.pseudo import PseudoExperiment, experiment
from bumpfit.higgsml.split import parts
from bumpfit.higgsml.streamed import Wanted, experiments, large, training
from bumpfit.higgsml.submission import Submission
from bumpfit.progress import bar
from bumpfit.results import plain
from bumpfit.runs import in_folder

__all__ = ["Benchmark", "Compared", "Difference", "Mode", "Plan", "benchmark", "population"]
log = logging.getLogger(__name__)
LINES, RESULT = "experiments.jsonl", "result.json"
OUTPUTS = (LINES, "report.md", "report.html", "report.pdf", "figures/")


def benchmark(
    plan: Plan,
    out: str | os.PathLike[str],
    *,
    workers: int = 1,
    executor: Executor | None = None,
    overwrite: bool = False,
    write: Any = None,
) -> Benchmark:
    """Run all experiments through all methods.

    Args:
        plan: what is compared.
        out: folder of the results; an interrupted run with the same plan goes on there.
        workers: processes.
        executor: run on this executor instead (`clusters.dask_executor`), whose workers read the files of the plan.
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
        lines, seconds = [], []
        function, tasks = _tasks(plan)
        with bar("pseudo-experiments", len(plan.settings.mus) * plan.settings.experiments) as advance:
            for _, piece in held.map(function, tasks, workers=workers, executor=executor):
                found = json.loads(piece["line"].tobytes())
                lines += found if isinstance(found, list) else [found]
                seconds += list(np.atleast_2d(piece["seconds"]))
                advance(len(np.atleast_2d(piece["seconds"])))
        order = sorted(range(len(lines)), key=lambda k: (lines[k]["set"], lines[k]["index"]))
        lines, seconds = [lines[k] for k in order], [seconds[k] for k in order]
        events = population(plan.sample, plan.mode)[1]
        methods = {Path(path).stem: _method(path) for path in plan.methods}
        result = summarised(plan, events, methods, lines, np.array(seconds))
        assert held.folder is not None
        with atomic(held.folder / LINES) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        if write is not None:
            write(result, lines, held.folder)
        write_json(held.folder / RESULT, result.to_dict())
        held.finish()
    return result


Task = tuple[Plan, int, int]
Made = TypeVar("Made")
PASS = 8
"""Experiments that are drawn from a large file in one pass."""


def _tasks(plan: Plan) -> tuple[Callable[[Task], dict[str, NDArray[Any]]], dict[str, Task]]:
    """What makes experiments, and its tasks by name."""
    if plan.points:
        return _share, _shared_tasks(plan)
    if large(plan.sample):
        number = len(plan.settings.mus) * plan.settings.experiments
        return _stream, {f"pass-{k:06d}": (plan, k, min(k + PASS, number)) for k in range(0, number, PASS)}
    return _evaluate, _single_tasks(plan)


def _single_tasks(plan: Plan) -> dict[str, Task]:
    """One experiment each: the plan, its set, its index."""
    return {
        f"experiment-{s:03d}-{i:06d}": (plan, s, i)
        for s in range(len(plan.settings.mus)) for i in range(plan.settings.experiments)
    }  # fmt: skip


def _shared_tasks(plan: Plan) -> dict[str, Task]:
    """All experiments at a point each: the plan, the point, and the number of points."""
    number = min(plan.points, plan.settings.experiments)
    return {f"point-{k:06d}": (plan, k, number) for k in range(number)}


def _check(plan: Plan) -> None:
    if not plan.names:
        raise InputError("there is nothing to compare: give the files of methods, or --submission FILE.py")
    if len(set(plan.names)) != len(plan.names):
        raise InputError(f"two of the methods have the same name: {', '.join(plan.names)}; rename a file")
    if plan.mode not in ("closure", "independent"):
        raise InputError(f"there is no mode '{plan.mode}'; expected closure or independent")
    for path in plan.methods:
        found = load(path)
        if not math.isclose(found.luminosity, plan.luminosity, rel_tol=1e-6):
            raise InputError(
                f"{path} measures data of {found.luminosity:g} fb-1, the experiments have {plan.luminosity:g}; "
                f"give --luminosity {found.luminosity:g}, or train it for {plan.luminosity:g}"
            )
        if plan.mode == "independent" and found.mode == "closure" and found.model is not None:
            log.warning("%s has no error of the simulation in its interval (trained with --mode closure)", path)
        if plan.challenge_range and found.range_calibration is None and not found.uses_range:
            raise InputError(f"{path} {UNRANGED}")


def _of_file(maxsize: int) -> Callable[[Callable[..., Made]], Callable[..., Made]]:
    """Keep what is made of a file, its first argument, until the file changes (trained again, say)."""

    def decorate(make: Callable[..., Made]) -> Callable[..., Made]:
        @functools.lru_cache(maxsize)
        def kept(changed: tuple[int, int], path: str, *others: Any) -> Made:
            return make(path, *others)

        @functools.wraps(make)
        def called(path: str, *others: Any) -> Made:
            file = Path(path)
            found = file.stat() if file.exists() else None
            return kept((found.st_mtime_ns, found.st_size) if found else (0, 0), path, *others)

        return called

    return decorate


@_of_file(2)
def population(sample: str, mode: Mode) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training events of entries, and the events that experiments are drawn from (of a large file, some of them)."""
    table = training(sample)
    return (table, table) if mode == "independent" else parts(table)


@_of_file(32)
def _method(path: str) -> Method:
    return load(path)


@_of_file(8)
def _submission(path: str, sample: str, mode: Mode) -> Submission:
    return Submission(path, population(sample, mode)[0])


def _evaluate(task: Task) -> dict[str, NDArray[Any]]:
    """One experiment: a line of JSON, and the seconds of each method."""
    plan, s, i = task
    seed, mu = plan.settings.seed_of(s, i), plan.settings.mus[s]
    table = population(plan.sample, plan.mode)[1]
    if plan.luminosity != LUMINOSITY:
        table = table.assign(**{WEIGHTS: table[WEIGHTS] * (plan.luminosity / LUMINOSITY)})
    made = experiment(table, mu, draw_nuisances(seed, plan.settings.enabled), seed)
    line, seconds = _compare(plan, s, i, made)
    return _piece(line, [seconds])


def _stream(task: Task) -> dict[str, NDArray[Any]]:
    """Experiments `first` to `last` of a plan from one pass over a large file."""
    plan, first, last = task
    places = [divmod(k, plan.settings.experiments) for k in range(first, last)]
    seeds = [plan.settings.seed_of(s, i) for s, i in places]
    wanted = [
        Wanted(plan.settings.mus[s], Nuisances.of(draw_nuisances(seed, plan.settings.enabled)), seed)
        for (s, _), seed in zip(places, seeds, strict=True)
    ]
    part: Part = "test" if plan.mode == "closure" else "all"
    made = experiments(Dataset(plan.sample), wanted, part, plan.luminosity)
    found = [_compare(plan, s, i, one) for (s, i), one in zip(places, made, strict=True)]
    return _piece([line for line, _ in found], [seconds for _, seconds in found])


def _compare(plan: Plan, s: int, i: int, made: PseudoExperiment) -> tuple[dict[str, Any], list[float]]:
    """All methods on one experiment: its line, and their seconds."""
    found: dict[str, Measurement] = {}
    oracles = {}
    features, once = matrix(made.table, FEATURES), np.ones(len(made.table), dtype=np.int64)
    for path in plan.methods:
        name, fitted = Path(path).stem, _method(path)
        begin = time.perf_counter()
        held = fitted.summaries(features)
        one = _tried(functools.partial(fitted.measure_summaries, held, once))
        found[name] = dataclasses.replace(one, seconds=time.perf_counter() - begin)
        if fitted.counted is not None:
            oracles[name] = _oracle(fitted.counted, held, once, made.nuisances)
    for path in plan.submissions:
        found[Path(path).stem] = _submission(path, plan.sample, plan.mode).predict(made.table)
    line = _line(plan, s, i, made.nuisances, len(made.table), made.largest_multiplicity, found, oracles)
    return line, [one.seconds for one in found.values()]


def _share(task: Task) -> dict[str, NDArray[Any]]:
    """All experiments at a point of the nuisances: lines of JSON, and the seconds of each method in each."""
    plan, k, number = task
    settings = plan.settings
    nuisances = Nuisances.of(draw_nuisances(settings.seed_of(0, k), settings.enabled))
    point = _population(plan.sample, plan.mode, plan.luminosity).at(nuisances, [settings.seed, 41, k])
    summaries, begun = {}, {}
    for path in plan.methods:
        begin = time.perf_counter()
        summaries[path] = _method(path).summaries(point.features)
        begun[path] = (time.perf_counter() - begin) / len(point.weights)
    lines, seconds = [], []
    for i in range(k, settings.experiments, number):
        for s, mu in enumerate(settings.mus):
            times = point.times(mu, np.random.default_rng([settings.seed, 43, s, i]))
            there, n = np.flatnonzero(times), int(times.sum())
            found, oracles, spent = {}, {}, []
            for path in plan.methods:
                name, fitted = Path(path).stem, _method(path)
                held, often = summaries[path][there], times[there]
                one = _tried(functools.partial(fitted.measure_summaries, held, often))
                spent.append(one.seconds + n * begun[path])
                found[name] = one
                if fitted.counted is not None:
                    oracles[name] = _oracle(fitted.counted, held, often, nuisances)
            if plan.submissions:
                features = np.repeat(point.features, times, axis=1)
                table = pd.DataFrame(dict(zip(FEATURES, features, strict=True)))
                for path in plan.submissions:
                    one = _submission(path, plan.sample, plan.mode).predict(table)
                    found[Path(path).stem] = one
                    spent.append(one.seconds)
            most = int(times.max(initial=0))
            lines.append(_line(plan, s, i, nuisances, n, most, found, oracles))
            seconds.append(spent)
    return _piece(lines, seconds)


@_of_file(2)
def _population(sample: str, mode: Mode, luminosity: float) -> Population:
    return Population.of(population(sample, mode)[1], luminosity)


def _tried(measure: Callable[[], Measurement]) -> Measurement:
    try:
        return measure()
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        return failed(f"{type(error).__name__}: {error}")


def _oracle(
    model: Model, place: NDArray[Any], times: NDArray[np.int64], nuisances: Nuisances
) -> dict[str, float] | None:
    """Best fit and asymptotic interval where the nuisances are known; None where they cannot be (a grid ends)."""
    counts = np.bincount(place, times, model.bins).astype(np.float64)
    values = nuisances.to_dict()
    theta = [PRIORS[name].standard(values[name]) if values[name] > 0 else model.arrays.low[k]
             for k, name in enumerate(model.nuisances)]  # fmt: skip
    start = np.array([1.0, *np.clip(theta, model.arrays.low, model.arrays.high)])
    found = fit_all(model, counts, 1.0, frozen=model.nuisances, start=start)
    if not found.valid[0]:
        return None
    return {"mu_hat": float(found.best[0, 0]), "low": float(found.low[0]), "high": float(found.high[0])}


def _line(
    plan: Plan, s: int, i: int, nuisances: Nuisances, events: int, most: int, found: Mapping[str, Measurement],
    oracles: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    line = {
        "set": s, "index": i, "seed": plan.settings.seed_of(s, i), "mu": plan.settings.mus[s],
        "nuisances": nuisances.to_dict(), "events": events, "largest_multiplicity": most,
        "methods": {name: _short(_method_of(plan, name, one, False)) for name, one in found.items()},
        "oracles": dict(oracles),
    }  # fmt: skip
    if plan.challenge_range:
        line["ranged"] = {name: _short(_method_of(plan, name, one, True)) for name, one in found.items()}
    return line


def _method_of(plan: Plan, name: str, found: Measurement, ranged: bool) -> Measurement:
    """A measurement with the calibrated interval of its method; an entry's as it is."""
    path = next((path for path in plan.methods if Path(path).stem == name), None)
    if path is None or not found.valid or _method(path).uses_range:
        return found
    return _method(path).calibrated(found, ranged)


def _piece(line: Any, seconds: Any) -> dict[str, NDArray[Any]]:
    text = json.dumps(plain(line), allow_nan=False).encode()
    return {"line": np.frombuffer(text, np.uint8), "seconds": np.array(seconds, dtype=np.float64)}


def _short(one: Measurement) -> dict[str, Any]:
    result = one.to_dict()
    for name in ("twice_nll", "seconds"):  # times differ between runs, lines do not
        result.pop(name)
    return result
