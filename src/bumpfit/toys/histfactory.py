"""Toys of any HistFactory model: rates, derivatives and minimiser are those of a single fit, in one compiled loop.

Toys are thrown at the nuisance parameters that fit the data best at the given strength, and the auxiliary measurements
fluctuate with the counts: Gaussian ones by their width, Poisson ones as counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import njit
from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference import newton
from bumpfit.inference.histfactory import FitOptions, Problem, prepare
from bumpfit.inference.profile import require_poi, require_valid
from bumpfit.toys.engine import FAILED, FITTED, MINUIT, NEWTON, Batch, Sendable, digest_of
from bumpfit.toys.poisson import GOLDEN, AliasTables, alias_draw, alias_tables, normal, stream
from bumpfit.toys.statistic import Name, Plan, evaluate, plan
from bumpfit.workspace import Model

Floats = NDArray[np.float64]

TOLERANCE = 1e-9
"""Estimated distance to a minimum of -ln L at which a fit has converged."""
ITERATIONS, RETRY_ITERATIONS = 200, 5000
DIGITS = 9  # of coefficients that go into the hash of a model


@njit()
def draw_toy(tables, normal_mean, compiled, seed, toy, main, aux):  # type: ignore[no-untyped-def]
    """Counts of the main measurement, shape (B,), and auxiliary measurements, shape (A,), of one toy.

    `tables` holds the bins, then the Poisson constraints.
    """
    poisson_aux, independent = compiled.poisson_aux, compiled.n_independent
    bins, n_normal, n_poisson = main.size, normal_mean.size, poisson_aux.size
    state = stream(seed, toy, bins + n_poisson + 2 * n_normal)
    for i in range(bins + n_poisson):
        state += GOLDEN
        count = alias_draw(state, tables.cells, tables.start[i], tables.bits[i], tables.low[i])
        if i < bins:
            main[i] = count
        else:
            aux[poisson_aux[i - bins]] = count
    for j in range(n_normal):
        state += GOLDEN + GOLDEN
        width = compiled.normal_sigma[j] if j < independent else 1.0
        aux[compiled.normal_aux[j]] = normal_mean[j] + width * normal(state)
    for i in range(n_normal - independent - 1, -1, -1):  # correlated: rows of a lower triangle, so the last one first
        shift = 0.0
        for k in range(compiled.joint_pointer[i], compiled.joint_pointer[i + 1]):
            column = compiled.joint_column[k]
            shift += compiled.joint_lower[k] * (aux[compiled.normal_aux[column]] - normal_mean[column])
        aux[compiled.normal_aux[independent + i]] = normal_mean[independent + i] + shift


@njit()
def run_toys(  # type: ignore[no-untyped-def]
    compiled, compiled_plan, poi, start, free, low, high, tables, mean, seed, first, mains, auxs, given, twice, out
):
    """Fit toys first .. first + n; columns of `out`, shape (n, 4): minimum free, minimum fixed, best strength, failed.

    With `given` the toys are rows of mains and auxs, otherwise these receive the toys that were made. With `twice`
    each fit is repeated from the auxiliary measurements of the toy, and the lower minimum kept.
    """
    mu, bottom, top = compiled_plan.mu, compiled_plan.low, compiled_plan.high
    held = free.copy()
    held[poi] = False
    low_free, high_free = low.copy(), high.copy()
    low_free[poi], high_free[poi] = bottom, top
    for i in range(out.shape[0]):
        main, aux = mains[i], auxs[i]
        if not given:
            draw_toy(tables, mean, compiled, seed, first + i, main, aux)
        begin = start.copy()
        begin[poi] = mu
        x, fixed, _, _, _, status = newton.minimise(begin, held, low, high, main, aux, compiled, TOLERANCE, ITERATIONS)
        x2, best, _, _, _, status2 = newton.minimise(
            x, free, low_free, high_free, main, aux, compiled, TOLERANCE, ITERATIONS
        )
        if twice:
            for j in range(compiled.normal_aux.size):
                k = compiled.normal_parameter[j]
                if free[k]:
                    begin[k] = min(max(aux[compiled.normal_aux[j]], low[k]), high[k])
            y, fixed2, _, _, _, status3 = newton.minimise(
                begin, held, low, high, main, aux, compiled, TOLERANCE, ITERATIONS
            )
            y2, best2, _, _, _, status4 = newton.minimise(
                y, free, low_free, high_free, main, aux, compiled, TOLERANCE, ITERATIONS
            )
            if status3 == newton.CONVERGED and (status != newton.CONVERGED or fixed2 < fixed):
                fixed, status = fixed2, status3
            if status4 == newton.CONVERGED and (status2 != newton.CONVERGED or best2 < best):
                x2, best, status2 = y2, best2, status4
        out[i, 0] = best
        out[i, 1] = fixed
        out[i, 2] = x2[poi]
        within = bottom <= mu <= top
        wrong = within and not best <= fixed + 1e-6
        out[i, 3] = 1.0 if status != newton.CONVERGED or status2 != newton.CONVERGED or wrong else 0.0


@dataclasses.dataclass(frozen=True, eq=False)
class HistFactoryEngine(Sendable):
    """Toys of a HistFactory model, thrown at parameter `values`, shape (P,), with the strength at `thrown`.

    `forms`, shape (F, B + A): linear forms of counts and auxiliary measurements to return with each toy. `source`,
    shape (B + A,): their expectations to throw from instead. `fitted`: the values are the fit of the model's data.
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

    @cached_property
    def problem(self) -> Problem:
        """Start, ranges and free parameters of the fits."""
        return prepare(self.model, self.model.asimov(self.values))

    @cached_property
    def poi(self) -> int:
        """Position of the strength among the parameters."""
        return self.model.index(self.parameter)

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
    def twice(self) -> bool:
        """Whether the likelihood can have several minima: both ends of a systematic change a yield the same way, or one
        end makes it vanish.

        In a published likelihood of this kind (ATLAS sbottom A) 5 % of the toys end in a higher minimum from one
        start, 0.5 % from two.
        """
        return self.model.bends

    @property
    def chunk(self) -> int:
        """Number of toys that takes about a tenth of a second."""
        c = self.model.compiled
        work = c.n_parameters**2 * (c.n_parameters + 3 * c.n_bins) + 100 * c.nominal.size
        return int(np.clip(1e7 / work, 8, 8192))

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
        mains, auxs = np.empty((n, self.model.compiled.n_bins)), np.tile(self.model.auxdata, (n, 1))
        return self._run(mains, auxs, first, seed, given=False)

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
        return self._run(np.ascontiguousarray(counts), auxs, 0, 0, given=True)

    def data(self, toys: NDArray[np.int64], seed: int) -> Floats:
        """Counts and auxiliary measurements of the listed toys, shape (n, B + A), as pyhf takes them."""
        c = self.model.compiled
        mains, auxs = np.empty((len(toys), c.n_bins)), np.tile(self.model.auxdata, (len(toys), 1))
        mean = self.center[c.n_bins + c.normal_aux]
        for i, toy in enumerate(toys):
            draw_toy(self.tables, mean, c, seed, int(toy), mains[i], auxs[i])
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

    def fit_data(self, data: Floats) -> Batch:
        """Given toys: counts and auxiliary measurements, shape (n, B + A), as `data` makes them."""
        split = [self.model.split(row) for row in data]
        mains, auxs = np.array([main for main, _ in split]), np.array([aux for _, aux in split])
        return self._run(mains, auxs, 0, 0, given=True)

    def observed(self) -> float | None:
        """The statistic of the observed data; None without data."""
        found = self.observed_fit()
        return None if found is None else found[0]

    def observed_fit(self) -> tuple[float, float] | None:
        """The statistic and the best strength of the observed data; None without data, or where the fit fails."""
        data = self.observed_data()
        if data is None:
            return None
        found = self.fit_data(data)
        return (float(found.statistic[0, 0]), float(found.strength[0, 0])) if found.status[0] == FITTED else None

    def observed_data(self) -> Floats | None:
        """The observed counts and auxiliary measurements, shape (1, B + A); None without data."""
        return None if self.model.observed is None else np.concatenate(self.model.split())[None, :]

    def _run(self, mains: Floats, auxs: Floats, first: int, seed: int, *, given: bool) -> Batch:
        c, problem = self.model.compiled, self.problem
        out = np.empty((len(mains), 4))
        mean = self.center[c.n_bins + c.normal_aux]
        run_toys(
            c, self.plan, self.poi, self.values, problem.free, problem.low, problem.high,
            self.tables, mean, seed, first, mains, auxs, given, self.twice, out,
        )  # fmt: skip
        failed = np.flatnonzero(out[:, 3])
        route = np.full(len(out), NEWTON, np.int8)
        route[failed] = MINUIT
        status = np.full(len(out), FITTED, np.int8)
        for i in failed:
            try:
                fitted = self._retry(mains[i], auxs[i], out[i])
            except BumpfitError:  # no start has a likelihood
                fitted = False
            if not fitted:
                status[i], out[i, :3] = FAILED, np.nan
        statistic = evaluate(self.name, self.tested, out[:, 0], out[:, 1], out[:, 2])
        statistic[status != FITTED] = np.nan
        forms = np.empty((len(out), 0)) if self.forms is None else np.hstack([mains, auxs]) @ self.forms.T
        return Batch(statistic[:, None], out[:, 2:3], status, route, forms, out[:, 0:1], out[:, 1:2])

    def _retry(self, main: Floats, aux: Floats, row: Floats) -> bool:
        """Fit one toy with all starts and with iminuit; fills its row of results."""
        low, high = self.problem.low.copy(), self.problem.high.copy()
        low[self.poi], high[self.poi] = self.plan.low, self.plan.high
        start = self.values.copy()
        start[self.poi] = np.clip(start[self.poi], self.plan.low, self.plan.high)
        problem = dataclasses.replace(
            self.problem, main=main, aux=aux, start=start, origin=start, low=low, high=high, valleys=[],
            options=FitOptions(tolerance=TOLERANCE, max_iterations=RETRY_ITERATIONS),
        )  # fmt: skip
        best = problem.solve()
        try:
            fixed = problem.at(self.parameter, self.tested).begin(best.x).solve()
        except BumpfitError:
            if best.valid and self._impossible(main):
                row[:3] = best.value, np.inf, best.x[self.poi]
                return True
            raise
        again = problem.begin(np.clip(fixed.x, low, high)).solve()
        if again.valid and (not best.valid or again.value < best.value):
            best = again
        row[:3] = best.value, fixed.value, best.x[self.poi]
        return best.valid and fixed.valid

    def _impossible(self, main: Floats) -> bool:
        """Whether a bin has events where the tested strength expects none, whatever the other parameters."""
        values = self.values.copy()
        values[self.poi] = self.tested
        free = self.problem.free.copy()
        free[self.poi] = False
        moved = (self.model.jacobian(values)[free] != 0).any(axis=0)
        return bool(((main > 0) & (self.model.expected(values) == 0) & ~moved).any())


def values_at(model: Model, poi: str, mu: float, values: Mapping[str, float] | None) -> Floats:
    """Parameters to throw at: given, or fitted to the data with the strength held at mu, or their start values.

    Raises InputError when the data say nothing about the strength, BumpfitError when the fit fails.
    """
    if values is not None:
        return model.array({**values, poi: mu})
    if model.observed is None:
        return model.array({poi: mu})
    problem = prepare(model)
    require_poi(problem, poi)
    return require_valid(problem.at(poi, mu).solve(), f"the fit of the nuisance parameters at {poi} = {mu:g}").x
