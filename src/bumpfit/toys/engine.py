"""Engines: what makes toys of a model and computes a test statistic of each, a run of toy indices at a time.

Toy t of a seed is the same toy for every split of the work, and so is its result. A toy that cannot be fitted is a
value (`FAILED`), not an exception.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.toys import damped
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.loglinear_batch import CLOSED, DISAGREEMENT, OUTSIDE, UNSETTLED, Results, call, draw_toys
from bumpfit.toys.loglinear_kernel import Rows, rows_of
from bumpfit.toys.poisson import AliasTables, alias_tables
from bumpfit.toys.statistic import Name, Plan, evaluate, plan

Floats = NDArray[np.float64]

FITTED, FAILED = 0, 1
"""Status of a toy: its fits have converged, or no minimiser found a minimum."""
NEWTON, DAMPED, MINUIT, GENERAL = 0, 1, 2, 3
"""How a toy was fitted: plain Newton steps, with damping, by iminuit, or as a general HistFactory model."""


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """Results of n toys for M signal hypotheses."""

    statistic: Floats  # (n, M)
    strength: Floats  # (n, M) best strength
    status: NDArray[np.int8]  # (n,) FITTED or FAILED
    route: NDArray[np.int8]  # (n,) NEWTON, DAMPED, MINUIT or GENERAL
    forms: Floats  # (n, F) linear forms of the data that were asked for
    free: Floats  # (n, M) -ln L at the best fit, up to a constant of the toy
    fixed: Floats  # (n, M) the same with the strength under test
    weights: Floats | None = None  # (n,) of importance sampling; None where every toy counts one


class Source(Protocol):
    """Makes toys with a statistic each."""

    @property
    def name(self) -> str:
        """The statistic."""

    @property
    def thrown(self) -> float:
        """Strength that the toys are thrown at."""

    @property
    def tested(self) -> float:
        """Strength under test."""

    @property
    def chunk(self) -> int:
        """Number of toys that takes about a tenth of a second."""

    @property
    def digest(self) -> str:
        """Hash of the model, the strengths and the statistic: equal for equal toys."""

    def run(self, first: int, n: int, seed: int) -> Batch:
        """Toys first .. first + n of the seed."""

    def observed(self) -> float | None:
        """The statistic of the observed data; None without data or with several signals."""


class Engine(Source, Protocol):
    """Makes and fits toys."""

    @property
    def name(self) -> Name:
        """The statistic."""

    @property
    def center(self) -> Floats:
        """Expectation of the data that the toys are thrown from: counts, then auxiliary measurements, shape (B +
        A,).
        """

    @property
    def width(self) -> Floats:
        """Standard deviations of the Gaussian measurements, shape (B + A,); 0 for counts."""

    def observed_fit(self) -> tuple[float, float] | None:
        """The statistic and the best strength of the observed data; None as above."""

    def observed_data(self) -> Floats | None:
        """The observed data, shape (1, B + A); None without data."""

    def data(self, toys: NDArray[np.int64], seed: int) -> Floats:
        """Counts and auxiliary measurements of the listed toys, shape (n, B + A)."""

    def fit_data(self, data: Floats, before: int = 0) -> Batch:
        """Given toys, shape (n, B + A), as `data` makes them; `before`: the place of the first in a run, by which some
        engines choose how they fit, never what they find.
        """

    def tangent(self) -> tuple[Floats, Floats]:
        """Derivatives of `center` in the strength, shape (B + A,), and in the other free parameters, (B + A, K)."""

    def thrown_from(self, center: Floats, forms: Floats) -> Engine:
        """The same fits of toys from another expectation of the data, with linear forms of the data."""

    def saturated(self, batch: Batch, data: Floats) -> Floats:
        """-2 ln L of each toy at the tested strength relative to the saturated model, (n,); NaN where it failed."""


class GeneralEngine(Engine, Protocol):
    """An engine of a general model that also fits toys of its log-linear form."""

    def fit(self, counts: Floats, pulls: Floats) -> Batch:
        """Counts, shape (n, B), and pulls of the Gaussian constraints around the values thrown at, shape (n, J)."""


def digest_of(**content: object) -> str:
    """SHA-256 of named arrays and plain values."""
    total = hashlib.sha256()
    for key in sorted(content):
        value = content[key]
        if isinstance(value, np.ndarray):
            total.update(f"{key}:{value.dtype}:{value.shape}:".encode())
            total.update(np.ascontiguousarray(value).tobytes())
        else:
            total.update(f"{key}:{json.dumps(value, sort_keys=True)}:".encode())
    return total.hexdigest()


@dataclasses.dataclass(frozen=True, eq=False)
class Sendable:
    """A record that is sent to workers without what it has computed and keeps: they compute it once themselves."""

    def __getstate__(self) -> dict[str, object]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


@dataclasses.dataclass(frozen=True, eq=False)
class LogLinearEngine(Sendable):
    """Toys of a log-linear model, thrown at its rates plus `thrown` times its (first) signal.

    `forms`, shape (F, B + J): linear forms of counts and pulls to return with each toy. `source`, shape (B + J,): their
    expectations to throw from instead. `general` fits the toys whose parameters leave the range in which the model is
    log-linear.
    """

    model: LogLinear
    name: Name = "q0"
    thrown: float = 0.0
    tested: float = 0.0
    forms: Floats | None = None
    source: Floats | None = None
    general: GeneralEngine | None = None

    @cached_property
    def plan(self) -> Plan:
        """The fits of each toy."""
        return plan(self.name, self.tested, self.model.bounds)

    @cached_property
    def rates(self) -> Floats:
        """Expected counts that the toys are thrown from, shape (B,)."""
        if self.source is not None:
            return self.source[: self.model.rate.size]
        with np.errstate(over="ignore"):
            rates = self.model.rate + self.thrown * self.model.signals[0]
        if not (rates >= 0).all():
            raise InputError(
                f"at strength {self.thrown:g} bin {int(np.argmin(rates))} expects {rates.min():g} events; "
                "toys can only be thrown where expectations are not negative"
            )
        return np.asarray(rates)

    @cached_property
    def means(self) -> Floats:
        """Expectations of the pulls, shape (J,)."""
        n_pulls = self.model.arrays.pull.shape[0]
        return np.zeros(n_pulls) if self.source is None else np.ascontiguousarray(self.source[self.model.rate.size :])

    @property
    def center(self) -> Floats:
        """Expectation of counts and pulls that the toys are thrown from, shape (B + J,)."""
        return np.concatenate([self.rates, self.means])

    @property
    def width(self) -> Floats:
        """0 for counts and 1 for pulls, shape (B + J,)."""
        return np.concatenate([np.zeros(self.rates.size), np.ones(self.means.size)])

    @cached_property
    def tables(self) -> AliasTables:
        """Poisson tables of the rates."""
        return alias_tables(self.rates)

    @cached_property
    def rows(self) -> Rows:
        """Layout of the kernels' work space."""
        return rows_of(*self.model.arrays.basis.shape)

    @property
    def chunk(self) -> int:
        """Number of toys that takes about a tenth of a second."""
        bins, size = self.model.arrays.basis.shape
        work = bins * (10 + size * size) * (1 + 0.5 * len(self.model.signals))
        return int(np.clip(1.5e8 / work, 256, 131072))

    @cached_property
    def digest(self) -> str:
        """Hash of the model, the strengths and the statistic."""
        m = self.model
        nothing = np.zeros(0)
        return digest_of(
            rate=m.rate,
            basis=m.basis,
            signal=m.signals,
            bounds=[float(b) for b in m.bounds],
            pull=nothing if m.pull is None else m.pull,
            name=self.name,
            thrown=float(self.thrown),
            tested=float(self.tested),
            source=nothing if self.source is None else self.source,
        )

    def run(self, first: int, n: int, seed: int) -> Batch:
        """Toys first .. first + n of the seed."""
        found = call(
            self.model.arrays, self.plan, self.rows, self.tables, self.means, n,
            seed=seed, first=first, forms=self._forms,
        )  # fmt: skip
        toys = self._doubtful(found)
        counts, pulls = self.draw(first + toys, seed)
        return self._careful(found, toys, counts, pulls)

    def fit(self, counts: Floats, pulls: Floats | None = None) -> Batch:
        """Given toys: counts, shape (n, B), and pulls of the constraints, shape (n, J), by default none."""
        counts = np.ascontiguousarray(np.atleast_2d(counts), dtype=np.float64)
        n_pulls = self.model.arrays.pull.shape[0]
        pulls = np.zeros((len(counts), n_pulls)) if pulls is None else np.ascontiguousarray(np.atleast_2d(pulls))
        if counts.shape[1] != self.model.rate.size or pulls.shape != (len(counts), n_pulls):
            raise InputError(
                f"expected counts (n, {self.model.rate.size}) and pulls (n, {n_pulls}), "
                f"got shapes {counts.shape} and {pulls.shape}"
            )
        found = call(
            self.model.arrays, self.plan, self.rows, self.tables, self.means, len(counts),
            seed=0, first=0, forms=self._forms, counts=counts, pulls=pulls,
        )  # fmt: skip
        toys = self._doubtful(found)
        return self._careful(found, toys, counts[toys], pulls[toys])

    def draw(self, toys: NDArray[np.int64], seed: int) -> tuple[Floats, Floats]:
        """Counts, shape (n, B), and pulls, shape (n, J), of the listed toys."""
        n_pulls = self.model.arrays.pull.shape[0]
        counts, pulls = np.empty((len(toys), self.model.rate.size)), np.empty((len(toys), n_pulls))
        if len(toys):
            draw_toys(self.tables, self.means, seed, np.ascontiguousarray(toys, dtype=np.int64), counts, pulls)
        return counts, pulls

    def data(self, toys: NDArray[np.int64], seed: int) -> Floats:
        """Counts and pulls of the listed toys, shape (n, B + J)."""
        return np.hstack(self.draw(toys, seed))

    def fit_data(self, data: Floats, before: int = 0) -> Batch:
        """Given toys: counts and pulls, shape (n, B + J)."""
        bins = self.model.rate.size
        return self.fit(data[:, :bins], data[:, bins:])

    def tangent(self) -> tuple[Floats, Floats]:
        """Derivatives of `center` in the strength, shape (B + J,), and in the background's parameters, (B + J, K)."""
        arrays = self.model.arrays
        signal = np.concatenate([self.model.signals[0], np.zeros(self.means.size)])
        return signal, np.vstack([self.model.rate[:, None] * arrays.basis[: arrays.bins], arrays.pull])

    def thrown_from(self, center: Floats, forms: Floats) -> LogLinearEngine:
        """The same fits of toys from another expectation of the data, with linear forms of the data."""
        return dataclasses.replace(self, source=center, forms=forms)

    def saturated(self, batch: Batch, data: Floats) -> Floats:
        """-2 ln L of each toy at the tested strength relative to the saturated model, (n,); NaN where it failed."""
        # the fits leave out what does not depend on the parameters
        counts, pulls = data[:, : self.model.rate.size], data[:, self.model.rate.size :]
        safe = np.where(counts > 0, counts, 1.0)
        constant = (counts * np.log(safe / self.model.rate) - counts).sum(axis=1) + 0.5 * (pulls**2).sum(axis=1)
        return np.where(batch.status == FITTED, 2 * (batch.fixed[:, 0] + constant), np.nan)

    def observed(self) -> float | None:
        """The statistic of the observed data; None without data or with several signals."""
        found = self.observed_fit()
        return None if found is None else found[0]

    def observed_fit(self) -> tuple[float, float] | None:
        """The statistic and the best strength of the observed data; None as above, or where the fit fails."""
        if self.model.observed is None or len(self.model.signals) > 1:
            return None
        found = self.fit(self.model.observed, self.model.observed_pull)
        return (float(found.statistic[0, 0]), float(found.strength[0, 0])) if found.status[0] == FITTED else None

    def observed_data(self) -> Floats | None:
        """The observed counts and pulls, shape (1, B + J); None without data."""
        if self.model.observed is None:
            return None
        pulls = np.zeros(self.means.size) if self.model.observed_pull is None else self.model.observed_pull
        return np.concatenate([self.model.observed, pulls])[None, :]

    @cached_property
    def _forms(self) -> Floats:
        return np.empty((0, self.center.size)) if self.forms is None else np.ascontiguousarray(self.forms)

    def _doubtful(self, found: Results) -> NDArray[np.int64]:
        """Toys to be fitted again: not converged, or with a free minimum above the fixed one."""
        within = self.plan.low <= self.plan.mu <= self.plan.high
        upside_down = within & (found.free > found.fixed + DISAGREEMENT).any(axis=1)
        return np.flatnonzero((found.open != CLOSED) | upside_down)

    def _careful(self, found: Results, toys: NDArray[np.int64], counts: Floats, pulls: Floats) -> Batch:
        """Fit the listed toys again: damped, then by iminuit, then as a general model."""
        route = np.zeros(len(found.open), np.int8)
        general: Batch | None = None
        outside = np.zeros(0, np.int64)
        if toys.size:
            arrays = self.model.arrays
            route[toys] = DAMPED
            damped.repair(arrays, self.plan, counts, pulls, toys, found)
            left = found.open[toys] == UNSETTLED
            if left.any():
                route[toys[left]] = MINUIT
                damped.last_retry(arrays, self.plan, counts[left], pulls[left], toys[left], found)
            far = found.open[toys] == OUTSIDE
            outside = toys[far]
            if self.general is not None and outside.size:
                general = self.general.fit(counts[far], pulls[far])
        status = (found.open != CLOSED).astype(np.int8)
        statistic = evaluate(self.name, self.tested, found.free, found.fixed, found.best)
        strength, free, fixed = found.best, found.free, found.fixed
        if general is not None:
            statistic[outside], strength[outside] = general.statistic, general.strength
            status[outside], route[outside] = general.status, GENERAL
            # only differences of minima mean something in either engine: keep that of the general fit
            free[outside] = fixed[outside] + general.free - general.fixed
        statistic[status != FITTED] = np.nan
        return Batch(statistic, strength, status, route, found.forms, free, fixed)
