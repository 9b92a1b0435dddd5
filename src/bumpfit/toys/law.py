"""Toys as a law: the distribution of a statistic in many worlds, for every question of `bumpfit.inference`.

    from bumpfit import inference
    from bumpfit.toys import Toys
    inference.limit(model, law=Toys(10_000, seed=1)).observed_error

Nuisance parameters are at their fit to the data for the strength that is true; auxiliary measurements fluctuate. Toys
of a workspace are made and fitted by the engines, a few thousand times as fast as one by one; those of any other
likelihood by its own `throw` and `solve`. Toys of one seed share their random numbers, so that neighbouring strengths
share their fluctuations; the answers carry the statistical error that is left.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.execute import ordered_map
from bumpfit.inference.goodness import fitness
from bumpfit.inference.histfactory import Problem
from bumpfit.inference.profile import Profile, require_valid
from bumpfit.law import Nested, Statistic, Tail, estimate, upper_limit
from bumpfit.likelihood import Floats, Likelihood, Minimum, position
from bumpfit.toys.careful import fit_carefully
from bumpfit.toys.histfactory import HistFactoryEngine
from bumpfit.toys.throw import TIE, batches, check_run, collect, engine
from bumpfit.words import Fitness
from bumpfit.workspace import Model

ENGINES = {"q0": "q0", "q": "qmu", "qtilde": "qtilde", "t": "tmu"}
"""What the engines call the statistics."""
LEAST = 10
"""Toys beyond a probability from which on it is resolved."""


@dataclasses.dataclass(frozen=True)
class Toys:
    """n toys for each hypothesis, as a `Law`; `workers` threads, or an `executor` of any kind, throw them.

    Examples:
        >>> law = bumpfit.toys.Toys(1000, seed=1)
        >>> law.n, law.method
        (1000, 'toys')
    """

    n: int
    seed: int = 0
    workers: int = 1
    executor: Executor | None = None
    method: str = dataclasses.field(default="toys", init=False)
    precision: float = dataclasses.field(default=1e-3, init=False)

    def __post_init__(self) -> None:
        check_run(self.n, self.seed, self.workers)

    def resolves(self, p: float) -> None:
        """Raise InputError where so few toys are as extreme as probability p that nothing can be looked for there."""
        if self.n * p < LEAST:
            raise InputError(
                f"{self.n} toys cannot resolve a probability of {p:.4g}; throw at least {math.ceil(LEAST / p)}"
            )

    def of(self, likelihood: Likelihood, parameter: str, statistic: Statistic) -> Sampled:
        """Law of a test statistic."""
        return Sampled(likelihood, parameter, statistic, self)

    def fitness(
        self, likelihood: Likelihood, best: Minimum, statistic: Fitness, value: float, parts: Mapping[str, float]
    ) -> tuple[Tail | None, int | None, dict[str, Tail]]:
        """Fraction of toys of the best fit, fitted again, at least as extreme, how many were fitted, and the fractions
        of the same toys for the `parts` of channels; the engines know no parts.
        """
        fast = _saturated(likelihood, best, self) if statistic == "saturated" and not parts else None
        if fast is not None:
            return *_beyond(fast, value), {}
        totals, found = _misfits(likelihood, best, statistic, self)
        return *_beyond(totals, value), {name: _beyond(found[name], part)[0] for name, part in parts.items()}

    def nested(self, ratio: Nested, best: Minimum, value: float) -> tuple[Tail, int | None]:
        """Fraction of toys of the special case at least as extreme, and how many were fitted."""
        tasks = ((ratio, best.x, self.seed, i) for i in range(self.n))
        return _beyond(np.array(list(_mapped(_ratio, tasks, self))), value)


def _beyond(values: Floats, value: float) -> tuple[Tail, int]:
    """The tail of toys at least as large as `value`, and how many were fitted; values (n,), NaN where a fit failed."""
    fitted = values[np.isfinite(values)]
    return tail_of(fitted >= value - TIE), int(fitted.size)


def tail_of(above: NDArray[np.bool_]) -> Tail:
    """The tail of which `above`, shape (n,), are hits: p = (h + 1) / (n + 1), the data being one more world.

    Raises BumpfitError without toys.
    """
    n, hits = above.size, int(np.count_nonzero(above))
    if n == 0:
        raise BumpfitError("no toy could be fitted, so there is no probability; look at one toy's fit by itself")
    p, error = estimate(hits, hits, n, plain=True)
    return Tail(math.log(p), error, upper_limit(hits, n), hits == 0)


@dataclasses.dataclass(frozen=True, eq=False)
class Sampled:
    """Law of one statistic from toys, as a `Distribution`; keeps the toys of every pair of strengths."""

    likelihood: Likelihood
    parameter: str
    statistic: Statistic
    toys: Toys

    @cached_property
    def _known(self) -> dict[tuple[float, float], Floats | None]:
        return {}

    def values(self, tested: float, true: float) -> Floats | None:
        """The statistic of the fitted toys, ascending; None where the true strength expects fewer than no events."""
        if (tested, true) not in self._known:
            thrown = self._thrown(tested, true)
            self._known[tested, true] = None if thrown is None else np.sort(thrown[~np.isnan(thrown)])
        found = self._known[tested, true]
        if found is not None and found.size == 0:
            raise BumpfitError(f"no toy could be fitted at {self.parameter} = {true:g}, so there is no probability")
        return found

    def tail(self, tested: float, true: float, value: float) -> Tail:
        """Fraction of toys at least as extreme, all of them where the value is 0; an impossible strength has none."""
        if value <= 0:  # no statistic is below, also where nothing is expected and no fit is possible
            return tail_of(np.ones(self.toys.n, np.bool_))
        found = self.values(tested, true)
        return Tail(-math.inf, 0.0, 0.0) if found is None else tail_of(found >= value - TIE)

    def quantile(self, tested: float, true: float, p: float) -> tuple[float, float, float]:
        """The value that a fraction p of the toys reaches, and that value one standard error of the fraction away."""
        found = self.values(tested, true)
        if found is None:
            raise InputError(f"{self.parameter} = {true:g} expects fewer than no events, so there are no toys of it")
        error = math.sqrt(p * (1 - p) / found.size)
        levels = np.clip([1 - p, 1 - p - error, 1 - p + error], 0, 1)
        value, below, above = np.quantile(found, levels, method="inverted_cdf")
        return float(value), float(below), float(above)

    def _thrown(self, tested: float, true: float) -> Floats | None:
        likelihood, toys, what = self.likelihood, self.toys, f"the fit with {self.parameter} = {true:g}"
        where = require_valid(likelihood.at(self.parameter, true).solve(), what)
        if isinstance(likelihood, Problem):
            model = as_model(likelihood)
            if (model.expected(where.x) < 0).any():
                return None
            chosen = engine(model, statistic=self._name, mu=true, test=tested, parameter=self.parameter)
            if isinstance(chosen, HistFactoryEngine):  # one question throws many runs: neither waits for long
                earlier = math.inf if fit_carefully.kept else toys.n * len(self._known)
                chosen = dataclasses.replace(chosen, earlier=earlier)
            sample, _ = collect(
                chosen, toys.n, seed=toys.seed, workers=toys.workers, executor=toys.executor, show=False
            )
            return sample.statistic
        tasks = ((likelihood, self.parameter, self.statistic, tested, where.x, toys.seed, i) for i in range(toys.n))
        return np.array(list(_mapped(_one, tasks, toys)))

    @property
    def _name(self) -> str:
        """The engines' name of the statistic: with a range from zero, t is t~."""
        at_zero = self.statistic == "t" and self.likelihood.low[position(self.likelihood, self.parameter)] == 0
        return "ttilde" if at_zero else ENGINES[self.statistic]


def as_model(problem: Problem) -> Model:
    """The workspace with the data and the settings of a problem as its own."""
    parameters = tuple(
        dataclasses.replace(
            described, init=float(start), low=float(low), high=float(high),
            fixed=not (free or described.name in problem.undetermined),
        )
        for described, start, low, high, free in zip(
            problem.model.parameters, problem.origin, problem.low, problem.high, problem.free, strict=True
        )
    )  # fmt: skip
    return dataclasses.replace(problem.model, parameters=parameters, observed=problem.main, auxdata=problem.aux)


def _one(task: tuple[Likelihood, str, Statistic, float, Floats, int, int]) -> float:
    """The statistic of toy number i; NaN where a fit fails, a value and not a failure of the others."""
    likelihood, parameter, statistic, tested, x, seed, i = task
    try:
        toy = likelihood.throw(x, np.random.default_rng([seed, i]))
        return Profile(toy, parameter).statistic(statistic, tested)
    except BumpfitError:
        return math.nan


def _mapped(function, tasks, toys: Toys) -> Iterator[Any]:  # type: ignore[no-untyped-def]
    """Results in order, on the workers."""
    threads = toys.executor is None and toys.workers > 1
    with ThreadPoolExecutor(toys.workers) if threads else nullcontext(toys.executor) as executor:
        yield from ordered_map(function, tasks, executor=executor)


def _saturated(likelihood: Likelihood, best: Minimum, toys: Toys) -> Floats | None:
    """Saturated likelihood ratio of toys by the engines, shape (n,), NaN where a fit fails; None where they cannot.

    An engine has a strength that it moves: the parameter of interest, or any other free one; held, it is fitted at its
    value.
    """
    if not isinstance(likelihood, Problem):
        return None
    model, names = as_model(likelihood), likelihood.names
    moved = [name for name, free in zip(names, likelihood.free, strict=True) if free]
    strength = likelihood.poi if likelihood.poi is not None and likelihood.poi not in likelihood.undetermined else None
    if strength is None and not moved:
        return None
    strength = strength or moved[0]
    i = names.index(strength)
    if not likelihood.free[i]:
        loose = dataclasses.replace(model.parameters[i], fixed=False)
        model = dataclasses.replace(model, parameters=(*model.parameters[:i], loose, *model.parameters[i + 1 :]))
    at = float(best.x[i])
    source = engine(model, statistic="tmu", mu=at, parameter=strength)
    found = []
    for first, batch in batches(source, 0, toys.n, toys.seed, workers=toys.workers, executor=toys.executor):
        data = source.data(np.arange(first, first + len(batch.status)), toys.seed)
        # what the engine calls fixed is the fit with the strength held
        fitted = dataclasses.replace(batch, fixed=batch.free) if likelihood.free[i] else batch
        values = source.saturated(fitted, data)
        if isinstance(source, HistFactoryEngine):
            # constraints of held parameters are no measurements of a fit
            pulls, own = likelihood.pulls_of(best.x, data[:, likelihood.main.size :])
            values -= np.sum(pulls[:, ~own] ** 2, axis=1)
        found.append(values)
    return np.concatenate(found)


def _misfits(likelihood: Likelihood, best: Minimum, statistic: Fitness, toys: Toys) -> tuple[Floats, dict[str, Floats]]:
    """A goodness-of-fit statistic of toys that are fitted one by one, and its parts in the channels, shapes (n,); NaN
    where a fit fails.
    """
    tasks = ((likelihood, best.x, statistic, toys.seed, i) for i in range(toys.n))
    channels = fitness(likelihood, best.x, statistic)[1]
    failed = math.nan, dict.fromkeys(channels, math.nan)
    found = [failed if one is None else one for one in _mapped(_misfit, tasks, toys)]
    return np.array([total for total, _ in found]), {
        channel: np.array([parts[channel] for _, parts in found]) for channel in channels
    }


def _misfit(task: tuple[Likelihood, Floats, Fitness, int, int]) -> tuple[float, dict[str, float]] | None:
    """The statistic of toy number i and its parts; None where the fit fails."""
    likelihood, x, statistic, seed, i = task
    try:
        toy = likelihood.throw(x, np.random.default_rng([seed, i]))
        found = toy.solve()
    except BumpfitError:
        return None
    return fitness(toy, found.x, statistic) if found.valid else None


def _ratio(task: tuple[Nested, Floats, int, int]) -> float:
    """The ratio of toy number i; NaN where a fit fails."""
    ratio, x, seed, i = task
    try:
        return ratio.statistic(ratio.null.throw(x, np.random.default_rng([seed, i])))
    except BumpfitError:
        return math.nan
