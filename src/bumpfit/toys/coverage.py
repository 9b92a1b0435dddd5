"""Coverage of intervals and limits, and expected sensitivity, from toys.

An interval by the profile likelihood at a threshold c contains the true strength exactly when t(true) <= c, and a
limit excludes it exactly when its test does: coverage needs the test statistic of each toy at its own true strength,
no interval.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.histfactory import prepare
from bumpfit.normal import chi2_quantile, significance
from bumpfit.results import Record
from bumpfit.toys.engine import Engine, LogLinearEngine
from bumpfit.toys.histfactory import HistFactoryEngine
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.statistic import Plan, plan
from bumpfit.toys.throw import ToySample, collect, engine
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

Kind = Literal["interval", "upper limit"]
LEVELS = np.array([0.02275, 0.15866, 0.5, 0.84134, 0.97725])
"""Fractions of toys below the ends of the bands: -2, -1, 0, 1, 2 standard deviations."""
PERFECT = 1e-6
"""Deviance of the best fit, a degree of freedom, below which data are an expectation and no fluctuation: that of one
degree of freedom is so small once in a thousand times.
"""
NOMINAL = "the data are an expectation (Asimov): toys are thrown at the nuisance parameters that they were made with"


@dataclasses.dataclass(frozen=True, eq=False)
class Coverage(Record):
    """Fraction of toys whose interval or limit at `level` contains their true strength, with its error, a strength
    each.

    Examples:
        >>> fractions, errors = (0.71, 0.68), (0.01, 0.01)
        >>> found = bumpfit.toys.Coverage("interval", 0.6827, (0.0, 1.0), fractions, errors, toys=2000, failed=0)
        >>> found.coverage[1]
        0.68
    """

    kind: Kind
    level: float
    strengths: tuple[float, ...]
    coverage: tuple[float, ...]
    errors: tuple[float, ...]
    toys: int
    failed: int
    at_bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Sensitivity(Record):
    """Discovery significance sqrt(q0) expected at each strength: quantiles at -2, -1, 0, 1, 2 standard deviations.

    `power`: fraction of toys that reach `threshold`. `significance_errors`, `power_errors`: their statistical errors.

    Examples:
        >>> bands, errors = ((0.3, 1.1, 2.0, 3.0, 4.1),), ((0.1,) * 5,)
        >>> found = bumpfit.toys.Sensitivity((1.0,), bands, 3.0, (0.16,), 1000, errors, (0.01,))
        >>> found.power
        (0.16,)
    """

    strengths: tuple[float, ...]
    significance: tuple[tuple[float, ...], ...]
    threshold: float
    power: tuple[float, ...]
    toys: int
    significance_errors: tuple[tuple[float, ...], ...]
    power_errors: tuple[float, ...]
    at_bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Throwing:
    """How toys are thrown: `n` for each strength, at nuisance parameters `values`, or fitted to the data at that
    strength.
    """

    model: Model | LogLinear
    n: int
    seed: int
    workers: int
    executor: Executor | None
    data: Data
    parameter: str | None
    values: dict[str, float] | None = None
    notes: tuple[str, ...] = ()

    def toys(self, statistic: str, mu: float, test: float) -> tuple[ToySample, tuple[str, ...]]:
        """Toys at strength mu, tested at strength `test`, and the parameters at an end of their range behind them."""
        found = engine(
            self.model, statistic=statistic, mu=mu, test=test, data=self.data, values=self.values,
            parameter=self.parameter,
        )  # fmt: skip
        sample = collect(found, self.n, seed=self.seed, workers=self.workers, executor=self.executor)[0]
        return sample, _ended(found, sample, plan(found.name, found.tested, bounds(self.model, self.parameter)))


def throwing(
    model: Model | LogLinear, n: int, seed: int, workers: int, executor: Executor | None, data: Data,
    parameter: str | None,
) -> Throwing:  # fmt: skip
    """How to throw for a study of an experiment to come.

    Data that are an expectation say where they were made; a fit at another strength would move nuisance parameters away
    to imitate the signal that is not there, or hide the one that is.
    """
    plain = Throwing(model, n, seed, workers, executor, data, parameter)
    if isinstance(model, LogLinear):
        counts = model.observed if data is None else np.asarray(data, dtype=np.float64)
        if counts is None or counts.shape != model.rate.shape or not _expected(model, counts):
            return plain
        bare = dataclasses.replace(model, observed=None, observed_pull=None)
        return dataclasses.replace(plain, model=bare, data=None, notes=(NOMINAL,))
    if model.observed is None and data is None:
        return plain
    values = made_with(model, data, model.poi if parameter is None else parameter)
    return plain if values is None else dataclasses.replace(plain, values=values, notes=(NOMINAL,))


def made_with(model: Model, data: Data, poi: str | None) -> dict[str, float] | None:
    """Parameters whose expectation the data are, auxiliary ones included; None for data that fluctuate.

    A model that can describe any counts tells them apart only where they are nominal, without signal or at its start.
    """
    main, aux = model.split(data)
    for start in [{}] if poi is None else [{poi: 0.0}, {}]:
        point = model.array(start)
        if np.allclose(np.concatenate([main, aux]), model.asimov(point), rtol=PERFECT, atol=PERFECT):
            return dict(zip(model.names, point.tolist(), strict=True))
    problem = prepare(model, data)
    loose = [p.constraint == "none" and free for p, free in zip(model.parameters, problem.free, strict=True)]
    freedom = np.count_nonzero(model.expected(problem.start)) - sum(loose)
    if freedom <= 0:
        return None
    best = problem.solve()
    if not (best.valid and 2 * best.value < PERFECT * freedom):
        return None
    return dict(zip(model.names, best.x.tolist(), strict=True))


def _expected(model: LogLinear, counts: NDArray[np.float64]) -> bool:
    """Whether counts are the expectation of a log-linear model at some strength."""
    signal = model.signals[0]
    mu = float(signal @ (counts - model.rate) / (signal @ signal)) if counts.size > 1 else 0.0
    pulls = 0.0 if model.observed_pull is None else np.abs(model.observed_pull).max(initial=0.0)
    return bool(pulls == 0 and np.allclose(counts, model.rate + mu * signal, rtol=PERFECT, atol=PERFECT))


def _ended(found: Engine, sample: ToySample, fits: Plan) -> tuple[str, ...]:
    """Parameters at an end of their range: of the values thrown at, and the strength of any toy.

    A statistic that compares with no signal below none ends the strength at zero on purpose; that is not told.
    """
    full = found.general if isinstance(found, LogLinearEngine) else found
    names: tuple[str, ...] = ()
    name = "strength"
    if isinstance(full, HistFactoryEngine):
        name, names = full.parameter, full.walls
    best = sample.strength[sample.valid]
    if ((best >= fits.high) | ((best <= fits.low) & (fits.low != 0))).any():
        names += (name,)
    return names


def bounds(model: Model | LogLinear, parameter: str | None) -> tuple[float, float]:
    """Range of the strength; raises InputError when the model has none."""
    if isinstance(model, LogLinear):
        return model.bounds
    name = model.poi if parameter is None else parameter
    if name is None:
        raise InputError("the model has no parameter of interest; name a parameter")
    place = model.index(name)
    return float(model.lower[place]), float(model.upper[place])


def coverage(
    model: Model | LogLinear,
    strengths: Sequence[float],
    n: int,
    level: float = 0.6827,
    *,
    kind: Kind = "interval",
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    data: Data = None,
    parameter: str | None = None,
) -> Coverage:
    """Coverage of the asymptotic profile-likelihood interval, or of the asymptotic (not CLs) upper limit, at each
    strength.

    n toys a strength; other arguments as for `throw`. Raises InputError for wrong settings.

    Examples:
        >>> found = bumpfit.toys.coverage(model, [0.0, 1.0], 200, seed=1)
        >>> all(0.5 < share < 0.9 for share in found.coverage)
        True
    """
    _check(level, strengths)
    if kind not in ("interval", "upper limit"):
        raise InputError(f"unknown kind '{kind}'; coverage knows 'interval' and 'upper limit'")
    source = throwing(model, n, seed, workers, executor, data, parameter)
    low, high = bounds(model, parameter)
    for mu in strengths:
        if not low <= mu <= high:
            raise InputError(f"the true strength {mu:g} is outside the range of the model, {low:g} to {high:g}")
    bounded = low >= 0
    if kind == "interval":
        name, threshold = "ttilde" if bounded else "tmu", chi2_quantile(level)
    else:
        name, threshold = "qtilde" if bounded else "qmu", significance(1 - level) ** 2
    covered, errors, failed = [], [], 0
    ended: list[str] = []
    for mu in strengths:
        found, ends = source.toys(name, float(mu), float(mu))
        ended += ends
        good = found.statistic[found.valid]
        failed += found.n - good.size
        if good.size == 0:
            raise BumpfitError(f"no toy could be fitted at strength {mu:g}, so there is no coverage")
        fraction = float(np.mean(good <= threshold))
        covered.append(fraction)
        errors.append(_error(fraction, good.size))
    return Coverage(
        kind, level, tuple(map(float, strengths)), tuple(covered), tuple(errors), n, failed,
        at_bounds=tuple(dict.fromkeys(ended)), notes=source.notes,
    )  # fmt: skip


def sensitivity(
    model: Model | LogLinear,
    strengths: Sequence[float],
    n: int,
    *,
    threshold: float = 5.0,
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    data: Data = None,
    parameter: str | None = None,
) -> Sensitivity:
    """Expected significance of a discovery at each strength: bands and power from n toys a strength.

    Examples:
        >>> found = bumpfit.toys.sensitivity(model, [0.0, 2.0], 200, threshold=2.0, seed=1)
        >>> found.power[0] < found.power[1]
        True
    """
    _check(0.5, strengths)
    if not (math.isfinite(threshold) and threshold >= 0):
        raise InputError(f"the threshold is {threshold}; expected a significance from 0 on")
    source = throwing(model, n, seed, workers, executor, data, parameter)
    ended: list[str] = []
    bands, errors, power, spread = [], [], [], []
    for mu in strengths:
        found, ends = source.toys("q0", float(mu), 0.0)
        ended += ends
        z = np.sqrt(found.statistic[found.valid])
        if z.size == 0:
            raise BumpfitError(f"no toy could be fitted at strength {mu:g}, so there is no sensitivity")
        # half of how far one standard error of the fraction of toys moves a quantile
        step = np.sqrt(LEVELS * (1 - LEVELS) / z.size)
        low, centre, high = (
            np.quantile(z, np.clip(LEVELS + k * step, 0, 1), method="inverted_cdf") for k in (-1, 0, 1)
        )
        bands.append(tuple(map(float, centre)))
        known = np.isfinite(low) & np.isfinite(high)  # a significance without bound has no error
        half = 0.5 * (np.where(known, high, np.inf) - np.where(known, low, 0.0))
        errors.append(tuple(map(float, half)))
        share = float(np.mean(z >= threshold))
        power.append(share)
        spread.append(_error(share, z.size))
    return Sensitivity(
        tuple(map(float, strengths)), tuple(bands), threshold, tuple(power), n, tuple(errors), tuple(spread),
        at_bounds=tuple(dict.fromkeys(ended)), notes=source.notes,
    )  # fmt: skip


def _error(fraction: float, n: int) -> float:
    """Standard error of a fraction of n toys; where all or none are in it, that of one toy."""
    return math.sqrt(max(fraction * (1 - fraction), 1 / n) / n)


def _check(level: float, strengths: Sequence[float]) -> None:
    if not 0 < level < 1:
        raise InputError(f"the level must lie between 0 and 1, got {level}")
    if len(strengths) == 0:
        raise InputError("give at least one true strength")
