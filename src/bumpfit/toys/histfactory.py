"""Toys of any HistFactory model: rates, derivatives and minimiser are those of a single fit, in one compiled loop.

Toys are thrown at the nuisance parameters that fit the data best at the given strength, and the auxiliary measurements
fluctuate with the counts: Gaussian ones by their width, Poisson ones as counts.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference import newton
from bumpfit.inference.effort import Effort
from bumpfit.inference.histfactory import FitOptions, Problem, prepare
from bumpfit.inference.profile import Profile
from bumpfit.likelihood import Minimum, ZeroLikelihoodError, at_ends
from bumpfit.poisson import deviance
from bumpfit.toys.careful import ITERATIONS, TOLERANCE, Elsewhere, elsewhere, fit_carefully, looked_at, reflections
from bumpfit.toys.engine import FAILED, FITTED, MINUIT, NEWTON, Batch, Sendable, digest_of
from bumpfit.toys.general_lanes import MEASURED, MIRRORED, THROWN, draw_toys, fit_toys
from bumpfit.toys.general_likelihood import MEMORY, Shared, places_of
from bumpfit.toys.lanes import WIDTH
from bumpfit.toys.loglinear_batch import DISAGREEMENT
from bumpfit.toys.poisson import AliasTables, alias_tables
from bumpfit.toys.statistic import Name, Plan, evaluate, plan
from bumpfit.types import Flags, Floats, Integers
from bumpfit.workspace import Model

RETRY_ITERATIONS = 5000
COMPILE_AFTER, PILOT, TRIED = 25_000, 256, 8
"""Evaluations of the likelihood (half a millisecond each) by the careful minimiser after which it is compiled, which
takes a minute; toys that tell how many of a run need it; and how many of these are fitted to tell what one takes.
"""
SUSPECT = 3.0
"""Standard deviations of chi2 with the number of bins from which on toys of formulas are fitted as single data are."""
RIDGE = 1e-9
"""Of the expected curvature, added to it: keeps the metric of the fits defined where parameters are degenerate."""
DIGITS = 9  # of coefficients that go into the hash of a model


@dataclasses.dataclass(frozen=True, eq=False)
class HistFactoryEngine(Sendable):
    """Toys of a HistFactory model, thrown at parameter `values`, shape (P,), with the strength at `thrown`.

    `forms`, shape (F, B + A): linear forms of counts and auxiliary measurements to return with each toy. `source`,
    shape (B + A,): their expectations to throw from instead. `fitted`: the values are the fit of the model's data.
    `earlier`: toys of the same question that were thrown before these (see `uncompiled`).
    """

    model: Model
    parameter: str
    values: Floats
    name: Name = "q0"
    thrown: float = 0.0
    tested: float = 0.0
    forms: Floats | None = None
    source: Floats | None = None
    fitted: bool = False
    earlier: float = 0

    @cached_property
    def problem(self) -> Problem:
        """Start, ranges and free parameters of the fits."""
        return prepare(self.model, self.model.asimov(self.values))

    @cached_property
    def poi(self) -> int:
        """Position of the strength among the parameters."""
        return self.model.index(self.parameter)

    @property
    def walls(self) -> tuple[str, ...]:
        """Free parameters but the strength that are at an end of their range where the toys are thrown."""
        thrown = Minimum(self.values, 0.0, 0.0, 0, 0, True, ())
        return tuple(name for name in at_ends(self.problem, thrown) if name != self.parameter)

    @cached_property
    def plan(self) -> Plan:
        """The fits of each toy."""
        return plan(self.name, self.tested, (float(self.model.lower[self.poi]), float(self.model.upper[self.poi])))

    @cached_property
    def rates(self) -> Floats:
        """Expected counts that the toys are thrown from, shape (B,)."""
        if self.source is not None:
            return self.source[: self.model.compiled.n_bins]
        rates = self.model.expected(self.values)
        if not (rates >= 0).all():
            b = int(np.argmin(rates))
            raise InputError(
                f"{self.model.bin_name(b)} expects {rates[b]:g} events; toys can only be thrown where expectations are "
                "not negative: merge bins, or give the background a positive yield there"
            )
        return rates

    @cached_property
    def center(self) -> Floats:
        """Expectation of counts and auxiliary measurements that the toys are thrown from, shape (B + A,)."""
        if self.source is not None:
            return self.source
        return np.concatenate([self.rates, self.model.expected_auxiliary(self.values)])

    @cached_property
    def width(self) -> Floats:
        """Widths of the Gaussian auxiliary measurements, shape (B + A,); 0 for counts."""
        c = self.model.compiled
        result = np.zeros(self.center.size)
        result[c.n_bins + c.normal_aux] = c.normal_sigma
        return result

    @cached_property
    def tables(self) -> AliasTables:
        """Poisson tables of the counts and of the Poisson constraints."""
        c = self.model.compiled
        return alias_tables(np.concatenate([self.rates, self.center[c.n_bins + c.poisson_aux]]))

    @cached_property
    def order(self) -> Integers:
        """The free parameters, the strength last, (K,)."""
        return np.array([p for p in np.flatnonzero(self.problem.free) if p != self.poi] + [self.poi])

    @cached_property
    def information(self) -> Floats:
        """Expected second derivatives of -ln L in the free parameters, shape (K, K), in their `order`."""
        information = self.model.information(self.values)[np.ix_(self.order, self.order)]
        bare = np.diag(information).copy()
        information[np.diag_indices(bare.size)] += np.where(bare > 0, RIDGE * bare, 1.0)
        return information

    @cached_property
    def elsewhere(self) -> Elsewhere:
        """What can give toys other minima."""
        return elsewhere(self.problem, self.poi, self.values, self.information, self.order)

    @cached_property
    def shared(self) -> Shared:
        """What the fits of all toys share."""
        c, problem, order, information = self.model.compiled, self.problem, self.order, self.information
        straight = np.diag(information).copy()
        lower = np.linalg.cholesky(information)
        lower[np.diag_indices(order.size)] = 1 / np.diag(lower)
        shifts = np.column_stack([c.shift_parameter, c.shift_code]).reshape(-1, 2)
        weights, of = np.unique(shifts, axis=0, return_inverse=True)
        rates, poisson = self.model.expected(self.values), c.poisson_factor * self.values[c.poisson_parameter]
        low, high = problem.low, problem.high
        bound = [p for p in order[:-1] if np.isfinite(low[p]) or np.isfinite(high[p])]
        mirrored = reflections(self.model, self.values, problem.free)
        kinds = [THROWN, MEASURED, *range(MIRRORED, MIRRORED + len(mirrored))] if self.model.bends else [THROWN]
        return Shared(
            order=order,
            lower=np.ascontiguousarray(lower),
            straight=straight,
            bound=np.array(bound, dtype=np.int64),
            low=low,
            high=high,
            reference=np.where(rates > 0, rates, 1.0),
            reference_poisson=np.where(poisson > 0, poisson, 1.0),
            weights=np.ascontiguousarray(weights[:, 0]),
            code=np.ascontiguousarray(weights[:, 1]),
            weight_of=np.ascontiguousarray(of.reshape(-1)),
            start=self.values,
            free=problem.free,
            mirrored=mirrored,
            kinds=np.array(kinds),
            poi=self.poi,
        )

    @property
    def chunk(self) -> int:
        """Number of toys that takes about a tenth of a second."""
        c = self.model.compiled
        pass_ = 4 * c.shift_up.size + 40 * c.scale_parameter.size + 10 * c.nominal.size + 60 * c.n_bins
        work = pass_ + c.n_parameters * (c.n_parameters + 4 * MEMORY)
        fits = 2 * len(self.shared.kinds)
        return int(np.clip(1e7 / (work * fits), 64, 8192))

    @cached_property
    def digest(self) -> str:
        """Hash of the model, the strengths and the statistic; the last digits of what is computed (a fit, solved
        coefficients), in which processors differ, are no part of it.
        """
        c = self.model.compiled
        arrays = {key: np.asarray(value) for key, value in c._asdict().items()}
        arrays["scale_coefficients"] = np.round(c.scale_coefficients, DIGITS) + 0.0  # 0 and -0 are one
        data = self.observed_data() if self.fitted else None
        return digest_of(
            **arrays,
            values=self.values if data is None else data,
            lower=self.model.lower,
            upper=self.model.upper,
            free=self.problem.free,
            parameter=self.parameter,
            name=self.name,
            thrown=float(self.thrown),
            tested=float(self.tested),
            source=np.zeros(0) if self.source is None else self.source,
        )

    def run(self, first: int, n: int, seed: int) -> Batch:
        """Toys first .. first + n of the seed."""
        data = self.data(np.arange(first, first + n), seed)
        return self.fit_data(data, first)

    def fit(self, counts: Floats, pulls: Floats) -> Batch:
        """Toys with counts, shape (n, B), and pulls of the Gaussian constraints of the free parameters, shape (n,
        J).
        """
        c = self.model.compiled
        auxs = np.tile(self.model.auxdata, (len(counts), 1))
        place = {int(p): i for i, p in enumerate(c.normal_parameter)}
        moved = [p for p in range(len(self.model.parameters)) if self.problem.free[p] and p in place]
        for j, p in enumerate(moved):
            i = place[p]
            auxs[:, c.normal_aux[i]] = self.values[p] + c.normal_sigma[i] * pulls[:, j]
        return self._run(np.ascontiguousarray(counts), auxs)

    def data(self, toys: NDArray[np.int64], seed: int) -> Floats:
        """Counts and auxiliary measurements of the listed toys, shape (n, B + A), as pyhf takes them."""
        c = self.model.compiled
        mains, auxs = np.empty((len(toys), c.n_bins)), np.tile(self.model.auxdata, (len(toys), 1))
        mean = self.center[c.n_bins + c.normal_aux]
        draw_toys(c, self.tables, mean, seed, np.ascontiguousarray(toys, dtype=np.int64), mains, auxs)
        return np.hstack([mains, auxs])

    def tangent(self) -> tuple[Floats, Floats]:
        """Derivatives of `center` in the strength, shape (B + A,), and in the other free parameters, (B + A, K)."""
        c = self.model.compiled
        jacobian = np.zeros((c.n_parameters, self.center.size))
        jacobian[:, : c.n_bins] = self.model.jacobian(self.values)
        jacobian[c.normal_parameter, c.n_bins + c.normal_aux] = 1.0
        jacobian[c.poisson_parameter, c.n_bins + c.poisson_aux] = c.poisson_factor
        free = [p for p in np.flatnonzero(self.problem.free) if p != self.poi]
        return jacobian[self.poi], jacobian[free].T

    def thrown_from(self, center: Floats, forms: Floats) -> HistFactoryEngine:
        """The same fits of toys from another expectation of the data, with linear forms of the data."""
        return dataclasses.replace(self, source=center, forms=forms)

    def saturated(self, batch: Batch, data: Floats) -> Floats:
        """-2 ln L of each toy at the tested strength relative to the saturated model, (n,); NaN where it failed."""
        return np.where(batch.status == FITTED, 2 * batch.fixed[:, 0], np.nan)

    def fit_data(self, data: Floats, before: int = 0) -> Batch:
        """Given toys: counts and auxiliary measurements, shape (n, B + A), as `data` makes them; `before`: their place
        in a run.
        """
        return self._run(*self._split(data), before)

    def _split(self, data: Floats) -> tuple[Floats, Floats]:
        bins = self.model.compiled.n_bins
        return np.ascontiguousarray(data[:, :bins]), np.ascontiguousarray(data[:, bins:])

    def observed(self) -> float | None:
        """The statistic of the observed data; None without data."""
        found = self.observed_fit()
        return None if found is None else found[0]

    def observed_fit(self) -> tuple[float, float] | None:
        """The statistic and the best strength of the observed data, by the fits of all other questions; None without
        data, or where a fit fails.
        """
        if self.model.observed is None:
            return None
        main, aux = self.model.split()
        try:
            free, fixed, best = self._searched(main, aux)
        except BumpfitError:
            return None
        return float(evaluate(self.name, self.tested, np.array(free), np.array(fixed), np.array(best))), best

    def observed_data(self) -> Floats | None:
        """The observed counts and auxiliary measurements, shape (1, B + A); None without data."""
        return None if self.model.observed is None else np.concatenate(self.model.split())[None, :]

    @cached_property
    def forbidden(self) -> Flags:
        """Bins in which the tested strength expects no events whatever the other parameters, (B,)."""
        values, free = self.values.copy(), self.problem.free.copy()
        values[self.poi], free[self.poi] = self.plan.mu, False
        moved = (self.model.jacobian(values)[free] != 0).any(axis=0)
        return np.asarray((self.model.expected(values) == 0) & ~moved)

    def _lanes(self, mains: Floats, auxs: Floats) -> Floats:
        """Results of `fit_toys`, relative to the saturated model; the last column counts fits that were given up.

        Toys with events where the tested strength expects none are fitted with that of the throws in its place: their
        likelihood at the tested one is zero.
        """
        out = np.full((len(mains), 4), np.inf)
        if self.model.compiled.program_first.size:  # formulas are left to the careful way
            return out
        excluded = (mains[:, self.forbidden] > 0).any(axis=1)
        if not excluded.any():
            return self._fit_toys(mains, auxs, self.plan.mu)
        for toys, mu in ((~excluded, self.plan.mu), (excluded, float(self.values[self.poi]))):
            if toys.any():
                out[toys] = self._fit_toys(np.ascontiguousarray(mains[toys]), np.ascontiguousarray(auxs[toys]), mu)
        out[excluded, 1] = np.inf
        return out

    def _fit_toys(self, mains: Floats, auxs: Floats, mu: float) -> Floats:
        """As `_lanes`, with the strength of the held fits."""
        c, shared = self.model.compiled, self.shared
        out = np.full((len(mains), 4), np.inf)
        at = places_of(c, shared)
        work = np.zeros((at.size, WIDTH))
        fit_toys(c, shared, self.elsewhere, at, work, mu, self.plan.low, self.plan.high, mains, auxs, out)
        constant = deviance(mains, shared.reference).sum(axis=1)  # from the common reference to the saturated model
        constant += deviance(auxs[:, c.poisson_aux], shared.reference_poisson).sum(axis=1)
        out[:, :2] += 0.5 * constant[:, None]
        out[:, 3] += (self.plan.low <= mu <= self.plan.high) & (out[:, 0] > out[:, 1] + DISAGREEMENT)
        return out

    @cached_property
    def effort(self) -> float:
        """Evaluations of the likelihood by the careful minimiser for a toy of a run, most of which need none."""
        mains, auxs = self._split(self.data(np.arange(PILOT), 0))
        lost = np.flatnonzero(self._lanes(mains, auxs)[:, 3] > 0)
        p, begin = self.problem, self.values.copy()
        begin[self.poi] = self.plan.mu
        held = p.free.copy()
        held[self.poi] = False
        evaluations = [
            newton.minimise(begin, held, p.low, p.high, mains[i], auxs[i], self.model.compiled, TOLERANCE, ITERATIONS)[
                4
            ]
            for i in lost[:TRIED]
        ]
        e = self.elsewhere
        fits = 4 + 2 * e.along.size if e.along.size else 2
        fits += 2 * ((1 << e.sides.size) - 1) if e.steps.size else 0
        looks = looked_at(e, p.free) + looked_at(e, held)
        return (fits * float(np.mean(evaluations)) + looks) * lost.size / PILOT if evaluations else 0.0

    @cached_property
    def uncompiled(self) -> float:
        """Toys of a question whose lost ones the careful minimiser takes as it stands; after them it is compiled.

        Both forms reach the same minima to rounding. The place of a toy in its run decides, not what has been compiled
        before, so that toys are the same in any number of pieces and processes. (A law keeps no pieces and
        also looks at what lies on disk: `toys.law`.)
        """
        return COMPILE_AFTER / self.effort if self.effort else math.inf

    def _run(self, mains: Floats, auxs: Floats, before: float = 0) -> Batch:
        problem = self.problem
        out = self._lanes(mains, auxs)
        lost = np.flatnonzero(out[:, 3] > 0)
        before += self.earlier
        late = before + lost >= (self.uncompiled if lost.size and before < math.inf else 0.0)
        for compiled, toys in ((False, lost[~late]), (True, lost[late])):
            if toys.size:
                minimise = fit_carefully.dispatcher if compiled else fit_carefully
                minimise(
                    self.model.compiled, self.plan, self.poi, self.values, problem.free, problem.low, problem.high,
                    mains, auxs, toys, self.elsewhere, out,
                )  # fmt: skip
        failed = out[:, 3] > 0
        route = np.where(failed, MINUIT, NEWTON).astype(np.int8)
        status = np.full(len(out), FITTED, np.int8)
        for i in np.flatnonzero(failed | self._suspect(out[:, 0])):
            try:
                found = self._searched(mains[i], auxs[i])
            except BumpfitError:  # no start has a likelihood, or no fit converges
                if failed[i]:
                    status[i], out[i, :3] = FAILED, np.nan
                continue
            if failed[i] or found[0] < out[i, 0]:
                out[i, 0], out[i, 2] = found[0], found[2]
            out[i, 1] = found[1] if failed[i] else min(found[1], out[i, 1])
        statistic = evaluate(self.name, self.tested, out[:, 0], out[:, 1], out[:, 2])
        statistic[status != FITTED] = np.nan
        forms = np.empty((len(out), 0)) if self.forms is None else np.hstack([mains, auxs]) @ self.forms.T
        return Batch(statistic[:, None], out[:, 2:3], status, route, forms, out[:, 0:1], out[:, 1:2])

    def _suspect(self, free: Floats) -> Flags:
        """Toys whose fit by formulas is so far from them that all starts of single fits are tried, (n,)."""
        bins, formulas = self.model.compiled.n_bins, self.elsewhere.steps.size > 0
        return np.asarray((2 * free - bins > SUSPECT * math.sqrt(2 * bins)) & formulas)

    def _searched(self, main: Floats, aux: Floats) -> tuple[float, float, float]:
        """-ln L free and fixed, and the best strength, as single data are fitted; BumpfitError where that fails."""
        options = FitOptions(tolerance=TOLERANCE, max_iterations=RETRY_ITERATIONS)
        problem = dataclasses.replace(self.problem.facing(main, aux), effort=Effort(alone=True), options=options)
        problem = problem.begin(self.values).within(self.parameter, self.plan.low, self.plan.high)
        profile = Profile(problem, self.parameter)

        def question() -> tuple[float, float, float]:
            try:
                fixed = profile.held(self.tested).value
            except ZeroLikelihoodError:
                fixed = math.inf
            return profile.best.value, fixed, profile.estimate

        return profile.settled(question)
