"""A workspace with data, ranges and a start as a `Likelihood`: minimised by Newton's method from several starts.

One-sided shapes (both ends of a systematic move a yield the same way) give a likelihood several minima. A fit that
starts at a neighbour's answer stays in its valley, a cold one ends in another: `Problem.solve` looks for the lowest.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypedDict, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.inference import low_rank, newton
from bumpfit.inference.effort import Effort
from bumpfit.inference.starts import lifted
from bumpfit.inference.valley_search import Search
from bumpfit.inference.valleys import bends
from bumpfit.likelihood import Floats, Minimum, ZeroLikelihoodError, lowest
from bumpfit.poisson import deviance
from bumpfit.words import Minimiser
from bumpfit.workspace import Model, kernels
from bumpfit.workspace.model import Data, scratch

STATUS = {
    newton.CONVERGED: "converged",
    newton.NO_PROGRESS: "no step lowers -ln L",
    newton.TOO_MANY_ITERATIONS: "too many iterations",
    newton.BAD_START: "the likelihood is zero at the start",
}


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """How to minimise; a fit has converged when its estimated distance to the minimum of -ln L is below `tolerance`.

    Examples:
        >>> options = bumpfit.inference.FitOptions(minimiser="minuit")
        >>> bumpfit.inference.fit(model, options=options).valid
        True
    """

    minimiser: Minimiser = "newton"
    tolerance: float = 1e-8
    max_iterations: int = 200
    minuit_strategy: int = 1

    def __post_init__(self) -> None:
        if self.minimiser not in get_args(Minimiser):
            raise InputError(f"unknown minimiser {self.minimiser!r}; choose from {', '.join(get_args(Minimiser))}")
        if not (self.tolerance > 0 and self.max_iterations >= 1 and self.minuit_strategy in (0, 1, 2)):
            raise InputError(
                "a minimisation needs tolerance > 0, max_iterations >= 1 and minuit_strategy 0, 1 or 2, got "
                f"{self.tolerance}, {self.max_iterations} and {self.minuit_strategy}"
            )


Setting = TypeVar("Setting")


class Settings(TypedDict, total=False):
    """Settings of parameters that every question takes; `prepare` says what they mean.

    Examples:
        >>> settings: bumpfit.inference.Settings = {"fixed": {"norm": 0.0}}
        >>> print(f"{bumpfit.inference.discovery(model, **settings).z:.2f}")
        2.19
    """

    fixed: Mapping[str, float | None] | None
    start: Mapping[str, float] | None
    ranges: Mapping[str, tuple[float, float]] | None
    free: Collection[str]


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A workspace's likelihood with data, ranges and a start, resolved and checked. All arrays (P,) but the data.

    `origin` is the start that was asked for; `start` may be the answer of another fit, which is nearer. `valleys` are
    the minima that were found with these data, shared by all records made from this one; `bent` the parameters that can
    make several (`bends`); `looked` how far from the data those fits were that looked far away in vain.
    """

    model: Model
    main: Floats
    aux: Floats
    start: Floats
    low: Floats
    high: Floats
    free: NDArray[np.bool_]
    undetermined: tuple[str, ...]
    constant: float
    origin: Floats
    options: FitOptions = FitOptions()
    bent: tuple[int, ...] = ()
    valleys: list[Floats] = dataclasses.field(default_factory=list)
    looked: list[float] = dataclasses.field(default_factory=list)
    effort: Effort = dataclasses.field(default_factory=Effort)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return self.model.names

    @property
    def poi(self) -> str | None:
        """Parameter of interest."""
        return self.model.poi

    @property
    def data(self) -> Floats:
        """Counts and auxiliary measurements, shape (B + A,)."""
        return np.concatenate([self.main, self.aux])

    def value(self, x: Floats) -> float:
        """-ln L relative to the saturated model."""
        c = self.model.compiled
        rate = np.empty(c.n_bins)
        kernels.rates(x, c, rate, *scratch(c))
        return float(kernels.objective(x, self.main, self.aux, c, rate))

    def values(self, points: Floats) -> Floats:
        """`value` at many parameters, (N, P) to (N,): compiled, for thousands of them."""
        found: Floats = kernels.objectives(points, self.main, self.aux, self.model.compiled)
        return found

    def slope(self, x: Floats) -> Floats:
        """First derivatives of `value`."""
        return self.model.gradient(x, self.data) / 2

    def curvature(self, x: Floats) -> Floats:
        """Second derivatives of `value`, shape (P, P)."""
        return self.model.hessian(x, self.data) / 2

    def bins(self, x: Floats) -> dict[str, tuple[Floats, Floats]]:
        """Observed and expected counts of the bins that can have events, by channel."""
        rate, result = self.model.expected(x), {}
        for channel in self.model.channels:
            here = np.arange(channel.first, channel.last)
            here = here[self.model.reachable[here]]
            result[channel.name] = self.main[here], rate[here]
        return result

    def pulls(self, x: Floats) -> Floats:
        """Pulls of the auxiliary measurements of free parameters."""
        pulls, own = self.pulls_of(x, self.aux[None, :])
        return np.asarray(pulls[0, own])

    def pulls_of(self, x: Floats, aux: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """Pulls of auxiliary measurements, shape (n, A), at x, shape (n, A), and which constrain free parameters, (A,).

        Correlated measurements have the pulls of the independent combinations of `Compiled.joint_weight`.
        """
        c, free = self.model.compiled, self.free
        distance = x[c.normal_parameter] - aux[:, c.normal_aux]
        alone = slice(0, c.n_independent)
        counts, mean = aux[:, c.poisson_aux], c.poisson_factor * x[c.poisson_parameter]
        pulls = [distance[:, alone] / c.normal_sigma[alone], np.sign(mean - counts) * np.sqrt(deviance(counts, mean))]
        own = [free[c.normal_parameter[alone]], free[c.poisson_parameter]]
        for begin, end in itertools.pairwise(c.joint_pointer):
            columns = c.joint_column[begin:end]
            pulls.append(distance[:, columns] @ c.joint_weight[begin:end, None])
            own.append(np.array([free[c.normal_parameter[columns]].any()]))
        return np.hstack(pulls), np.concatenate(own)

    def at(self, name: str, value: float) -> Problem:
        """The same with one parameter held at a value (which may lie outside its range, as in pyhf)."""
        i = self.model.index(name)
        start, origin, free = self.start.copy(), self.origin.copy(), self.free.copy()
        start[i], origin[i], free[i] = value, value, False
        return dataclasses.replace(self, start=start, origin=origin, free=free)

    def within(self, name: str, low: float, high: float) -> Problem:
        """The same with another range of one parameter."""
        i = self.model.index(name)
        lows, highs, start, origin = self.low.copy(), self.high.copy(), self.start.copy(), self.origin.copy()
        lows[i], highs[i] = low, high
        if self.free[i]:
            start[i], origin[i] = np.clip([start[i], origin[i]], low, high)
        return dataclasses.replace(self, start=start, origin=origin, low=lows, high=highs)

    def begin(self, x: Floats) -> Problem:
        """The same with another start; held parameters keep their value."""
        return dataclasses.replace(self, start=np.where(self.free, x, self.start))

    def asimov(self, x: Floats) -> Problem:
        """The same with the data that are expected at x."""
        made = self._with(self.model.expected(x), self.model.expected_auxiliary(x), x)
        return dataclasses.replace(made, effort=self.effort)  # of the same question

    def throw(self, x: Floats, generator: np.random.Generator) -> Problem:
        """The same with data drawn at x."""
        c, aux = self.model.compiled, self.model.expected_auxiliary(x)
        z = generator.normal(size=c.normal_aux.size)
        moved = c.normal_sigma * z
        for i, (begin, end) in enumerate(itertools.pairwise(c.joint_pointer), start=c.n_independent):
            moved[i] = c.joint_lower[begin:end] @ z[c.joint_column[begin:end]]
        aux[c.normal_aux] += moved
        aux[c.poisson_aux] = generator.poisson(aux[c.poisson_aux])
        return self._with(generator.poisson(self.model.expected(x)).astype(np.float64), aux, x)

    def facing(self, main: Floats, aux: Floats) -> Problem:
        """The same with other data, shapes (B,) and (A,)."""
        return self._with(main, aux, self.start)

    def _with(self, main: Floats, aux: Floats, x: Floats) -> Problem:
        start = np.where(self.free, x, self.start)
        constant = self.model.saturated_twice_nll(np.concatenate([main, aux]))
        afresh: dict[str, Any] = {"valleys": [], "looked": [], "effort": Effort()}
        return dataclasses.replace(self, main=main, aux=aux, start=start, constant=constant, **afresh)

    def events(self, name: str, x: Floats) -> float:
        """Expected events that decide about a parameter."""
        slope, rate = np.abs(self.model.jacobian(x)[self.model.index(name)]), self.model.expected(x)
        moved = slope > 0
        if not moved.any():
            return np.nan
        with np.errstate(over="ignore", divide="ignore"):
            return float(slope.sum() ** 2 / np.sum(slope[moved] ** 2 / np.maximum(rate[moved], 0.0)))

    def solve(self) -> Minimum:
        """The lowest minimum: of that from the start and those that are found from there; as `nearest`."""
        best = self.nearest()
        return Search(self, self._newton).lowest(best) if best.valid else best

    def nearest(self) -> Minimum:
        """A minimum; retries from other starts and with iminuit, and says in `attempts` what was tried.

        The minimum is not valid when everything failed; raises ZeroLikelihoodError when the likelihood is zero at every
        start.
        """
        first: list[Minimum] = []
        for label, begin in self._starts():
            first += self._from(label, begin)
            if first[-1].valid:
                break
        best = lowest(first)
        if best is None:
            raise ZeroLikelihoodError(self._why_zero())
        return best

    def _starts(self) -> Iterator[tuple[str, Floats]]:
        """The given start, the one that was asked for (without the signal of another fit there may be nothing left
        where that ended), then unconstrained parameters at one, in the middle of their ranges, and what is `lifted`.
        """
        yield "the start", self.start
        if not np.array_equal(self.start, self.origin):
            yield "the first start", self.origin
        loose = self.free & np.array([p.constraint == "none" for p in self.model.parameters])
        yield "one", np.where(loose, np.clip(1.0, self.low, self.high), self.start)
        bounded = loose & np.isfinite(self.low) & np.isfinite(self.high)
        middle = self.start.copy()
        middle[bounded] = 0.5 * (self.low[bounded] + self.high[bounded])
        yield "the middle of the ranges", middle
        possible = lifted(self.model, self.start, self.main, self.aux, self.free, self.low, self.high)
        if possible is not None:
            yield "the nearest start with possible rates", possible

    def _from(self, label: str, begin: Floats) -> list[Minimum]:
        """What a start leads to: Newton, and iminuit where it does not converge."""
        if self.options.minimiser == "minuit":
            return [self._minuit(begin, f"minuit from {label}")]
        found = self._newton(begin, f"newton from {label}")
        if found.valid or not np.isfinite(found.value):
            return [found]
        return [found, self._minuit(found.x, f"minuit after newton from {label}")]

    def _newton(self, begin: Floats, label: str) -> Minimum:
        x, value, edm, iterations, evaluations, status = low_rank.minimise(
            begin, self.free, self.low, self.high, self.main, self.aux, self.model.compiled,
            self.options.tolerance, self.options.max_iterations, self.effort.minimise,
        )  # fmt: skip
        text = f"{label}: {STATUS[status]} after {iterations} iterations"
        return Minimum(x, value, edm, iterations, evaluations, status == newton.CONVERGED, (text,))

    def _minuit(self, begin: Floats, label: str) -> Minimum:
        from iminuit import Minuit  # here, for a quicker start

        first = np.where(self.free, np.clip(begin, self.low, self.high), begin)
        minuit = Minuit(self.value, first, grad=self.slope, name=self.names)
        minuit.errordef = Minuit.LIKELIHOOD
        minuit.limits = list(zip(self.low, self.high, strict=True))
        minuit.fixed = list(~self.free)
        for i in np.flatnonzero(~self.free):
            minuit.limits[int(i)] = None
        minuit.strategy = self.options.minuit_strategy
        # Minuit's goal is edm < 0.002 * tol * errordef
        minuit.tol = self.options.tolerance / (0.002 * 0.5)
        minuit.migrad()
        summary = minuit.fmin
        assert summary is not None
        text = f"{label}: {'converged' if minuit.valid else 'not converged'} after {summary.nfcn} calls"
        return Minimum(
            np.array(minuit.values), float(summary.fval), float(summary.edm), int(summary.nfcn), int(summary.nfcn),
            minuit.valid, (text,),
        )  # fmt: skip

    def _why_zero(self) -> str:
        rate = self.model.expected(self.start)
        bad = np.flatnonzero(~((rate > 0) | ((rate == 0) & (self.main == 0))))
        if bad.size == 0:
            return "the likelihood is zero at every start of the fit; check the start values and the constraints"
        b = int(bad[0])
        return (
            f"the likelihood is zero at every start of the fit: {self.model.bin_name(b)} has {self.main[b]:g} events "
            f"and {rate[b]:g} expected; give the background a positive yield there, or merge bins"
        )


def members(model: Model, name: str) -> list[str]:
    """A parameter, or all bins of one that has a parameter a bin ("gamma" for "gamma[0]", "gamma[1]"); raises
    InputError when there is none.
    """
    if name in model.names:
        return [name]
    return [full for full in model.names if full.startswith(f"{name}[")] or [model.names[model.index(name)]]


def prepare(
    model: Model,
    data: Data = None,
    fixed: Mapping[str, float | None] | None = None,
    *,
    start: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    free: Collection[str] = (),
    options: FitOptions = FitOptions(),
) -> Problem:
    """Resolve the settings of a fit.

    `fixed`: parameters to hold, at a value or (None) at their start; `free`: parameters to release that the
    workspace holds. A name without index stands for all bins of a parameter (`members`). Parameters that change no rate
    and have no constraint are held and listed as undetermined. Raises InputError for unknown names, empty ranges, and a
    start outside its range.

    Examples:
        >>> likelihood = bumpfit.inference.prepare(model, fixed={"norm": 0.0})
        >>> likelihood.names, likelihood.free.tolist()
        (('mu', 'norm'), [True, False])
    """
    main, aux = model.split(data)
    held, first, spans = _each(model, fixed), _each(model, start), _each(model, ranges)
    begin = model.array(first)
    low, high = model.lower.copy(), model.upper.copy()
    for name, ends in spans.items():
        i = model.index(name)
        low[i], high[i] = checked_range(name, ends)
        if name not in first:
            begin[i] = min(max(begin[i], low[i]), high[i])
    for name in first:
        i = model.index(name)
        if not low[i] <= begin[i] <= high[i]:
            raise InputError(f"the start {begin[i]} of parameter '{name}' lies outside its range [{low[i]}, {high[i]}]")
    loose = np.array([not p.fixed for p in model.parameters])
    for name in free:
        for full in members(model, name):
            loose[model.index(full)] = True
    values = model.array({name: value for name, value in held.items() if value is not None})
    for name, value in held.items():
        i = model.index(name)
        loose[i] = False
        if value is not None:
            begin[i] = values[i]
    idle = loose & (model.compiled.touched_first == model.compiled.touched_last)
    idle &= np.array([p.constraint == "none" for p in model.parameters])
    return Problem(
        model=model,
        main=main,
        aux=aux,
        start=begin,
        low=low,
        high=high,
        free=loose & ~idle,
        undetermined=tuple(name for name, i in zip(model.names, idle, strict=True) if i),
        constant=model.saturated_twice_nll(data),
        origin=begin,
        options=options,
        bent=bends(model, main),
    )


def _each(model: Model, given: Mapping[str, Setting] | None) -> dict[str, Setting]:
    """Settings by full names."""
    return {full: value for name, value in (given or {}).items() for full in members(model, name)}


def checked_range(name: str, ends: tuple[float, float]) -> tuple[float, float]:
    """The ends of a range; raises InputError where they are none."""
    try:
        low, high = (float(end) for end in ends)
    except (TypeError, ValueError):
        raise InputError(f"the range of parameter '{name}' must be two numbers, got {ends!r}") from None
    if not low < high:
        raise InputError(f"the range of parameter '{name}' is [{low}, {high}]; the lower end must be below the upper")
    return low, high
