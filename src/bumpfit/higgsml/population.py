"""Pseudo-experiments of simulated events without a table for each: biased once at a point, then drawn many times.

The nuisances of the challenge are drawn anew in every experiment, and biasing all events for each costs seconds. Here
they are drawn at a number of points, spread evenly over their prior (scrambled Sobol points). The simulated events are
biased once at each point and every method makes its `summaries` of them; an experiment is the Poisson number of times
that each event appears. A bin's count is then a sum of Poisson numbers, so that counts of a binned method are drawn as
Poisson numbers of its exact expectation at the point: the same law, not an approximation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, qmc

from bumpfit.errors import InputError
from bumpfit.execute import Workers, ordered_map
from bumpfit.higgsml.bias import NO_NOISE, biased
from bumpfit.higgsml.calibration import RANGE_POINTS, template_calibration, template_range_calibration
from bumpfit.higgsml.columns import LUMINOSITY, PROCESS, PROCESSES, WEIGHTS, checked, matrix, process_index
from bumpfit.higgsml.interval import STEPS, STRENGTHS, Calibration, RangeCalibration, calibrate, calibrate_range
from bumpfit.higgsml.interval import credibility_needed as needed
from bumpfit.higgsml.likelihood import Model, fit_all, poisson, profile_curves
from bumpfit.higgsml.measurement import Curve
from bumpfit.higgsml.method import Method
from bumpfit.higgsml.nuisances import NAMES, PRIORS, Nuisances
from bumpfit.higgsml.pseudo import MU_RANGE
from bumpfit.higgsml.score import LEVEL
from bumpfit.higgsml.split import parts
from bumpfit.progress import bar

Floats = NDArray[np.float64]
MOST_COPIES = 4
"""Most copies of an event whose soft noise differs."""


@dataclasses.dataclass(frozen=True, eq=False)
class Point:
    """Selected events at a point of the nuisances: features (28, M), processes, expected events at mu = 1 (M,)."""

    nuisances: Nuisances
    features: NDArray[np.float32]
    process: NDArray[np.int8]
    weights: Floats

    def rates(self, mu: float) -> Floats:
        """Expected events at a strength, (M,)."""
        return np.where(self.process == 0, mu * self.weights, self.weights)

    def times(self, mu: float, rng: np.random.Generator) -> NDArray[np.int64]:
        """How often each event appears in an experiment, (M,)."""
        return np.asarray(rng.poisson(self.rates(mu)))


@dataclasses.dataclass(frozen=True, eq=False)
class Population:
    """Simulated events: primary quantities (16, N), expected events and processes (N,).

    An event that stands for many expected ones is taken in `copies` whose soft noise differs, as the official code
    gives every repetition noise of its own.
    """

    primary: NDArray[np.float32]
    weights: Floats
    process: NDArray[np.int8]
    copies: int = 1

    @classmethod
    def of(cls, table: pd.DataFrame, luminosity: float = LUMINOSITY) -> Population:
        """From weighted, labelled events; weights are scaled to the luminosity (fb-1)."""
        table = checked(table, weights=True, processes=True)
        weights = table[WEIGHTS].to_numpy(np.float64) * (luminosity / LUMINOSITY)
        process = process_index(table[PROCESS])
        background = weights[process > 0]
        mean = float((background**2).sum() / background.sum()) if len(background) else 1.0
        return cls(matrix(table), weights, process, int(np.clip(np.ceil(mean), 1, MOST_COPIES)))

    def at(self, nuisances: Nuisances, seed: Sequence[int]) -> Point:
        """The events at values of the nuisances; `seed` is that of the soft noise."""
        v = nuisances
        rng = np.random.default_rng(list(seed))
        factors = np.array([v.weight(name) for name in PROCESSES])
        copies = self.copies if v.soft_met > 0 else 1
        pieces = []
        for _ in range(copies):
            noise = v.soft_met * rng.standard_normal((2, len(self.weights))) if v.soft_met > 0 else NO_NOISE
            found = biased(self.primary, v.tes, v.jes, noise)
            process = self.process[found.rows]
            pieces.append((found.features, process, self.weights[found.rows] * factors[process] / copies))
        if copies == 1:
            return Point(v, *pieces[0])
        features = np.concatenate([piece[0] for piece in pieces], axis=1)
        return Point(v, features, *(np.concatenate([piece[k] for piece in pieces]) for k in (1, 2)))


def nuisance_points(number: int, seed: int, enabled: Sequence[str] = NAMES) -> list[Nuisances]:
    """Values of the nuisances spread evenly over the prior of those that are enabled; the others have no effect."""
    if number < 1:
        raise InputError(f"{number} points of the nuisances are wanted; expected 1 or more")
    power = max(int(np.ceil(np.log2(number))), 0)
    uniform = qmc.Sobol(len(NAMES), rng=np.random.default_rng([seed, 23])).random_base2(power)[:number]
    z = norm.ppf(np.clip(uniform, 1e-9, 1 - 1e-9))
    return [
        Nuisances(**{name: PRIORS[name].value(float(row[k])) for k, name in enumerate(NAMES) if name in enabled})
        for row in z
    ]


@dataclasses.dataclass(frozen=True, eq=False)
class Worlds:
    """Experiments at event level (T,): true mu, fitted mu, statistic of the true mu, ends of the interval (NaN where
    none was asked for), whether the measurement is valid; and the rise of -2 ln L in the range of the challenge (T, M).
    """

    mu: Floats
    mu_hat: Floats
    statistic: Floats
    low: Floats
    high: Floats
    valid: NDArray[np.bool_]
    rise: Floats


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is wanted of experiments.

    ends: calibrated intervals. curves: the rises in the range of the challenge. thrown: where the likelihood has the
    error of the simulation, every experiment has a truth that differs from the events by such an error (the events are
    those of the templates); otherwise the events are the truth.
    """

    ends: bool = False
    curves: bool = False
    thrown: bool = True


def measure_many(fitted: Method, point: Point, mus: Floats, seed: Sequence[int], asked: Asked) -> Worlds:
    """Draw one experiment for each mu (T,) at a point and measure it.

    Args:
        fitted: the method.
        point: the events.
        mus: true strengths.
        seed: of the multiplicities.
        asked: what is wanted.
    """
    rng = np.random.default_rng(list(seed))
    summaries = fitted.summaries(point.features)
    grid = np.linspace(*MU_RANGE, RANGE_POINTS)
    if fitted.counted is not None:
        return _binned(fitted, fitted.counted, point, summaries, mus, rng, asked)
    hats, statistic, low, high = np.full((4, len(mus)), np.nan)
    valid, rises = np.zeros(len(mus), bool), np.full((len(mus), RANGE_POINTS if asked.curves else 0), np.nan)
    for i, mu in enumerate(mus):
        times = point.times(float(mu), rng)
        there = times > 0
        if not (asked.ends or asked.curves):
            hats[i], statistic[i] = fitted.statistic(summaries[there], times[there], float(mu))
            valid[i] = np.isfinite(statistic[i])
            continue
        found = fitted.measure_summaries(summaries[there], times[there])
        if not found.valid or found.twice_nll is None:
            continue
        if asked.ends:
            found = fitted.calibrated(found)
        valid[i], hats[i], low[i], high[i] = found.valid, found.mu_hat, found.low, found.high
        assert found.twice_nll is not None
        statistic[i] = max(float(found.twice_nll.at(float(mu))), 0.0)
        if asked.curves:
            rises[i] = found.twice_nll.at(grid)
    return Worlds(mus, hats, statistic, low, high, valid, rises)


def _binned(
    fitted: Method, model: Model, point: Point, place: NDArray[np.integer], mus: Floats, rng: np.random.Generator,
    asked: Asked,
) -> Worlds:  # fmt: skip
    """Counts of a binned method are Poisson numbers of its expectation at the point, all experiments in one loop."""
    parts = [
        np.bincount(place[chosen], point.weights[chosen], model.bins)
        for chosen in (point.process == 0, point.process > 0)
    ]
    rates = mus[:, None] * parts[0] + parts[1]
    counts = poisson(model, rates, rng) if asked.thrown else rng.poisson(rates).astype(np.float64)
    fits = fit_all(model, counts, mus, calibration=fitted.calibration, ends=asked.ends)
    rise = np.empty((len(mus), 0))
    if asked.curves:
        grid = np.linspace(*MU_RANGE, RANGE_POINTS)
        f = profile_curves(model, counts, fits.best, grid)
        rise = 2.0 * (f - np.fmin.reduce(f, axis=1, keepdims=True))
    return Worlds(mus, fits.best[:, 0], fits.statistic, fits.low, fits.high, fits.valid, rise)


def dealt(experiments: int, points: int) -> NDArray[np.int64]:
    """The point of the nuisances of each experiment, (T,).

    One on in each round: strengths that repeat meet all points.

    Examples:
        >>> bumpfit.higgsml.population.dealt(7, 3).tolist()
        [0, 1, 2, 1, 2, 0, 2]
    """
    order = np.arange(experiments)
    return np.asarray((order + order // points) % points)


def worlds(
    fitted: Method, table: pd.DataFrame, mus: ArrayLike, seed: int, asked: Asked | None = None, *, points: int = 100,
    enabled: Sequence[str] = NAMES, workers: Workers = 1,
) -> Worlds:  # fmt: skip
    """One experiment for each mu (T,) of a method, drawn from a table of weighted events at the method's luminosity.

    Args:
        fitted: the method.
        table: simulated events (in the mode closure those of the templates, see `split.parts`).
        mus: true strengths.
        seed: the same seed gives the same numbers, whatever the workers.
        points: of the nuisances; experiments go through them in rounds, each of which begins one further on.
        enabled: nuisances that are drawn.
        asked: what is wanted.
        workers: processes, or an executor (`clusters.dask_executor`).
    """
    true = np.atleast_1d(np.asarray(mus, dtype=np.float64))
    population = Population.of(table, fitted.luminosity)
    number = min(points, len(true))
    place = dealt(len(true), number)
    tasks = [
        (fitted, population, at, true[place == k], seed, k, asked or Asked())
        for k, at in enumerate(nuisance_points(number, seed, enabled))
    ]
    with bar("points of the nuisances", number) as advance:
        pieces = []
        for piece in ordered_map(_at_point, tasks, workers=workers):
            pieces.append(piece)
            advance()
    result = {}
    for field in dataclasses.fields(Worlds):
        parts = [getattr(piece, field.name) for piece in pieces]
        whole = np.empty((len(true), *parts[0].shape[1:]), dtype=parts[0].dtype)
        for k, part in enumerate(parts):
            whole[place == k] = part
        result[field.name] = whole
    return Worlds(**result)


def _at_point(task: tuple[Method, Population, Nuisances, Floats, int, int, Asked]) -> Worlds:
    fitted, population, nuisances, mus, seed, k, asked = task
    return measure_many(fitted, population.at(nuisances, [seed, 31, k]), mus, [seed, 37, k], asked)


def event_calibration(
    fitted: Method, table: pd.DataFrame, n: int = 10_000, seed: int = 1, *, points: int = 100,
    strengths: Sequence[float] = STRENGTHS, level: float = LEVEL, workers: Workers = 1,
) -> Calibration:  # fmt: skip
    """Critical values from n experiments at event level, shared evenly by the strengths.

    Raises:
        InputError: fewer than 50 valid experiments at a strength.
    """
    mus = np.resize(np.asarray(strengths, dtype=np.float64), max(n, len(strengths)))
    found = worlds(fitted, table, mus, seed, points=points, workers=workers)
    groups = [found.statistic[(mus == mu) & found.valid] for mu in strengths]
    return calibrate(strengths, groups, seed, f"events, {fitted.mode}", level)


def event_range_calibration(
    fitted: Method, table: pd.DataFrame, n: int = 5_000, seed: int = 2, *, points: int = 100, level: float = LEVEL,
    workers: Workers = 1,
) -> RangeCalibration:  # fmt: skip
    """The credibility that covers, from n experiments at event level with mu uniform in the range of the challenge."""
    mus = np.random.default_rng([seed, 7]).uniform(*MU_RANGE, n)
    found = worlds(fitted, table, mus, seed, Asked(curves=True), points=points, workers=workers)
    grid, fine = np.linspace(*MU_RANGE, RANGE_POINTS), np.linspace(*MU_RANGE, STEPS + 1)
    good = np.flatnonzero(found.valid & np.isfinite(found.rise).all(axis=1))
    values = [needed(fine, Curve(tuple(grid), tuple(found.rise[i])).at(fine), float(mus[i])) for i in good]
    return calibrate_range(values, *MU_RANGE, seed, f"events, {fitted.mode}", level)


def calibrated(
    fitted: Method, table: pd.DataFrame, n: int, seed: int, by: str = "auto", *, challenge_range: bool = True,
    workers: Workers = 1,
) -> str:  # fmt: skip
    """Calibrate a method in place; tells by what.

    Args:
        fitted: the method.
        table: the events that it was trained on; those of the templates make experiments.
        n: experiments at each strength from templates; from events a tenth of it, at least 100.
        seed: those of the experiments are the next ones.
        by: `templates`, `events`, or `auto`: templates where the method has some that its events follow.
        challenge_range: also for mu in the range of the challenge. With events it costs a method without bins three
            times as much as the rest: it needs the whole curve of each experiment, not one point of it.
        workers: processes, or an executor (`clusters.dask_executor`).

    Raises:
        InputError: templates are wanted and there are none.
    """
    model = fitted.counted
    if by == "templates" and model is None:
        raise InputError(f"the method '{fitted.kind}' has no templates; calibrate it with events")
    follows = model is not None and fitted.simulation.get("simulation_large_enough") is not False
    if by == "templates" or (by == "auto" and follows):
        assert model is not None
        fitted.calibration = template_calibration(model, n, seed + 1, workers=workers)
        if challenge_range:
            fitted.range_calibration = template_range_calibration(model, 2 * n, seed + 2)
        return "templates"
    _, events = parts(table)
    number = max(n // 10, 100) * len(STRENGTHS)
    fitted.calibration = event_calibration(fitted, events, number, seed + 1, workers=workers)
    if challenge_range:
        fitted.range_calibration = event_range_calibration(fitted, events, number // 2, seed + 2, workers=workers)
    return "events"
