"""Maximum-likelihood fit: our bounded Newton first, iminuit when it does not converge (or when asked for)."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Literal, TypedDict, get_args

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference import newton
from bumpfit.results import Fit
from bumpfit.workspace import Model, kernels
from bumpfit.workspace.kernels import Floats
from bumpfit.workspace.model import Data, scratch

Minimiser = Literal["newton", "minuit"]

SINGULAR = 1e-11
"""Pivot or eigenvalue of the Hessian in units of its diagonal below which parameters are not determined."""

LARGE = 200
"""Size from which LAPACK, with its threads, inverts a matrix quicker than our own function."""

STATUS = {
    newton.CONVERGED: "converged",
    newton.NO_PROGRESS: "no step lowers -ln L",
    newton.TOO_MANY_ITERATIONS: "too many iterations",
    newton.BAD_START: "the likelihood is zero at the start",
}


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """How to minimise; a fit has converged when its estimated distance to the minimum of -ln L is below `tolerance`."""

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


class Settings(TypedDict, total=False):
    """Settings of parameters that every question takes; `prepare` says what they mean."""

    fixed: Mapping[str, float | None] | None
    start: Mapping[str, float] | None
    ranges: Mapping[str, tuple[float, float]] | None
    free: Collection[str]


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A likelihood with data, ranges and a start: what a minimiser needs, resolved and checked. All arrays (P,).

    `origin` is the start that was asked for; `start` may be the answer of another fit, which is nearer.
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

    def at(self, parameter: str, value: float, start: Floats | None = None) -> Problem:
        """The same with one parameter held at a value (which may lie outside its range, as in pyhf)."""
        i = self.model.index(parameter)
        begin, origin = (self.start if start is None else start).copy(), self.origin.copy()
        free = self.free.copy()
        begin[i], origin[i], free[i] = value, value, False
        return dataclasses.replace(self, start=begin, origin=origin, free=free)


@dataclasses.dataclass(frozen=True, eq=False)
class Minimum:
    """Where a minimisation ended; `value` is half of -2 ln L without its constant."""

    x: Floats
    value: float
    edm: float
    iterations: int
    evaluations: int
    valid: bool
    attempts: tuple[str, ...]


def prepare(
    model: Model,
    data: Data = None,
    fixed: Mapping[str, float | None] | None = None,
    *,
    start: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    free: Collection[str] = (),
) -> Problem:
    """Resolve the settings of a fit.

    `fixed`: parameters to hold, at a value or (None) at their start; `free`: parameters to release that the
    workspace holds. Parameters that change no rate and have no constraint are held and listed as undetermined.
    Raises InputError for unknown names, empty ranges, and a start outside its range.
    """
    main, aux = model.split(data)
    begin = model.array(start or {})
    low, high = model.lower.copy(), model.upper.copy()
    for name, ends in (ranges or {}).items():
        try:
            bottom, top = (float(end) for end in ends)
        except (TypeError, ValueError):
            raise InputError(f"the range of parameter '{name}' must be two numbers, got {ends!r}") from None
        if not bottom < top:
            raise InputError(
                f"the range of parameter '{name}' is [{bottom}, {top}]; the lower end must be below the upper"
            )
        i = model.index(name)
        low[i], high[i] = bottom, top
        if name not in (start or {}):
            begin[i] = min(max(begin[i], bottom), top)
    for name in start or {}:
        i = model.index(name)
        if not low[i] <= begin[i] <= high[i]:
            raise InputError(f"the start {begin[i]} of parameter '{name}' lies outside its range [{low[i]}, {high[i]}]")
    loose = np.array([not p.fixed for p in model.parameters])
    for name in free:
        loose[model.index(name)] = True
    values = model.array({name: value for name, value in (fixed or {}).items() if value is not None})
    for name, value in (fixed or {}).items():
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
    )


def solve(problem: Problem, options: FitOptions = FitOptions()) -> Minimum:
    """Minimise; retries from other starts and with iminuit, and says in `attempts` what was tried.

    The minimum is not valid when everything failed; raises BumpfitError only when the likelihood is zero at every
    start.
    """
    attempts: list[str] = []
    best: Minimum | None = None
    for label, begin in _starts(problem):
        if options.minimiser == "newton":
            found = _newton(problem, begin, options, f"newton from {label}")
            attempts += found.attempts
            if not found.valid and np.isfinite(found.value):
                found = _minuit(problem, found.x, options, f"minuit after newton from {label}")
                attempts += found.attempts
        else:
            found = _minuit(problem, begin, options, f"minuit from {label}")
            attempts += found.attempts
        if np.isfinite(found.value) and (best is None or found.value < best.value or found.valid > best.valid):
            best = found
        if found.valid:
            break
    if best is None:
        raise BumpfitError(_why_zero(problem))
    return dataclasses.replace(best, attempts=tuple(attempts))


def _starts(problem: Problem) -> list[tuple[str, Floats]]:
    """The given start, the one that was asked for (without the signal of another fit there may be nothing left where
    that ended), then unconstrained parameters at one, and in the middle of their ranges.
    """
    loose = problem.free & np.array([p.constraint == "none" for p in problem.model.parameters])
    one = np.where(loose, np.clip(1.0, problem.low, problem.high), problem.start)
    bounded = loose & np.isfinite(problem.low) & np.isfinite(problem.high)
    middle = problem.start.copy()
    middle[bounded] = 0.5 * (problem.low[bounded] + problem.high[bounded])
    first = [("the start", problem.start)]
    if not np.array_equal(problem.start, problem.origin):
        first.append(("the first start", problem.origin))
    return [*first, ("one", one), ("the middle of the ranges", middle)]


def _why_zero(problem: Problem) -> str:
    rate = problem.model.expected(problem.start)
    bad = np.flatnonzero(~((rate > 0) | ((rate == 0) & (problem.main == 0))))
    if bad.size == 0:
        return "the likelihood is zero at every start of the fit; check the start values and the constraints"
    b = int(bad[0])
    return (
        f"the likelihood is zero at every start of the fit: {problem.model.bin_name(b)} has {problem.main[b]:g} events "
        f"and {rate[b]:g} expected; give the background a positive yield there, or merge bins"
    )


def _newton(problem: Problem, begin: Floats, options: FitOptions, label: str) -> Minimum:
    x, value, edm, iterations, evaluations, status = newton.minimise(
        begin,
        problem.free,
        problem.low,
        problem.high,
        problem.main,
        problem.aux,
        problem.model.compiled,
        options.tolerance,
        options.max_iterations,
    )
    text = f"{label}: {STATUS[status]} after {iterations} iterations"
    return Minimum(x, value, edm, iterations, evaluations, status == newton.CONVERGED, (text,))


def _minuit(problem: Problem, begin: Floats, options: FitOptions, label: str) -> Minimum:
    from iminuit import Minuit

    model = problem.model
    c = model.compiled
    rate, state = np.empty(c.n_bins), scratch(c)
    jac, hess = np.empty((c.n_parameters, c.n_bins)), np.empty((c.n_parameters, c.n_parameters))
    slope, diagonal = np.empty(c.n_parameters), np.empty(c.n_parameters)

    def value(x: Floats) -> float:
        kernels.rates(x, c, rate, *state)
        return float(kernels.objective(x, problem.main, problem.aux, c, rate))

    def gradient(x: Floats) -> Floats:
        kernels.rates(x, c, rate, *state)
        kernels.derivatives(x, problem.main, problem.aux, c, rate, *state, jac, slope, hess, diagonal)
        return slope

    first = np.where(problem.free, np.clip(begin, problem.low, problem.high), begin)
    minuit = Minuit(value, first, grad=gradient, name=model.names)
    minuit.errordef = Minuit.LIKELIHOOD
    minuit.limits = list(zip(problem.low, problem.high, strict=True))
    minuit.fixed = list(~problem.free)
    for i in np.flatnonzero(~problem.free):
        minuit.limits[int(i)] = None
    minuit.strategy = options.minuit_strategy
    # Minuit's goal is edm < 0.002 * tol * errordef
    minuit.tol = options.tolerance / (0.002 * 0.5)
    minuit.migrad()
    summary = minuit.fmin
    assert summary is not None
    text = f"{label}: {'converged' if minuit.valid else 'not converged'} after {summary.nfcn} calls"
    return Minimum(
        np.array(minuit.values),
        float(summary.fval),
        float(summary.edm),
        int(summary.nfcn),
        int(summary.nfcn),
        minuit.valid,
        (text,),
    )


def covariance_at(problem: Problem, x: Floats) -> tuple[Floats | None, Floats, str]:
    """Inverse of the second derivatives of -ln L over the free parameters, shape (P, P), errors (P,), and a note.

    Parameters at a bound take part when the matrix stays positive definite with them (their curvature is then as
    informative as elsewhere), otherwise they are left out with zero rows. When some combination of parameters is not
    determined at all there is no covariance, and those parameters have error NaN.
    """
    model = problem.model
    matrix = model.hessian(x, np.concatenate([problem.main, problem.aux])) / 2
    if not np.isfinite(matrix).all():
        return None, np.where(problem.free, np.nan, 0.0), "the Hessian is not finite, so errors are not known"
    at_bound = problem.free & ((x <= problem.low) | (x >= problem.high))
    for chosen, note in ((problem.free, ""), (problem.free & ~at_bound, "errors hold parameters at their bounds")):
        result = np.zeros_like(matrix)
        if not chosen.any():
            return result, np.zeros(x.size), note
        index = np.ix_(chosen, chosen)
        inverse = _inverse(np.ascontiguousarray(matrix[index]))
        if inverse is not None:
            result[index] = 0.5 * (inverse + inverse.T)
            return result, np.sqrt(np.diag(result)), note if at_bound.any() else ""
    return None, *_partial_errors(problem, matrix, chosen)


def _inverse(matrix: Floats) -> Floats | None:
    """Inverse of a positive definite matrix, None for one that is not (`SINGULAR`)."""
    size = matrix.shape[0]
    if size <= LARGE:
        inverse = np.empty_like(matrix)
        return inverse if newton.invert(matrix, SINGULAR, inverse) else None
    try:
        lower = np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return None
    if (np.diag(lower) ** 2 <= SINGULAR * np.diag(matrix)).any():
        return None
    from scipy.linalg import solve_triangular  # rarely needed, and slow to import

    half = solve_triangular(lower, np.eye(size), lower=True)
    return np.asarray(half.T @ half)


def _partial_errors(problem: Problem, matrix: Floats, chosen: NDArray[np.bool_]) -> tuple[Floats, str]:
    """Errors when the Hessian is singular: NaN for the parameters in the directions that are not determined."""
    index = np.ix_(chosen, chosen)
    scale = np.sqrt(np.maximum(np.diag(matrix[index]), 0.0))
    scale[scale == 0] = 1.0
    eigenvalues, vectors = np.linalg.eigh(matrix[index] / scale[:, None] / scale)
    flat = eigenvalues <= SINGULAR
    unknown = np.zeros(chosen.size, dtype=bool)
    unknown[chosen] = (np.abs(vectors[:, flat]) > np.sqrt(SINGULAR)).any(axis=1)
    errors = np.zeros(chosen.size)
    inverse = np.sum(vectors[:, ~flat] ** 2 / eigenvalues[~flat], axis=1)
    errors[chosen] = np.sqrt(inverse) / scale
    errors[unknown] = np.nan
    names = [name for name, bad in zip(problem.model.names, unknown, strict=True) if bad]
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return errors, f"the Hessian is singular: the data do not determine {shown}"


def fit(
    model: Model,
    data: Data = None,
    fixed: Mapping[str, float | None] | None = None,
    *,
    start: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    free: Collection[str] = (),
    options: FitOptions = FitOptions(),
) -> Fit:
    """Maximum-likelihood fit of all free parameters; settings as in `prepare`.

    Values maximise the likelihood within the ranges; the covariance is the inverse of the exact second derivatives of
    -ln L there. `valid` is False when no minimiser converged (`attempts` says what was tried). Raises InputError for
    wrong settings or data, BumpfitError when the likelihood is zero wherever the fit starts.
    """
    problem = prepare(model, data, fixed, start=start, ranges=ranges, free=free)
    return report(problem, solve(problem, options), options)


def report(problem: Problem, minimum: Minimum, options: FitOptions) -> Fit:
    """The fit record of a minimum."""
    x = minimum.x
    covariance, errors, note = covariance_at(problem, x)
    names = problem.model.names
    at_bounds = problem.free & ((x <= problem.low) | (x >= problem.high))
    status = "converged" if minimum.valid else f"not converged: {'; '.join(minimum.attempts)}"
    return Fit(
        parameters=names,
        values={name: float(v) for name, v in zip(names, x, strict=True)},
        errors={name: float(e) for name, e in zip(names, errors, strict=True)},
        covariance=covariance,
        twice_nll=problem.constant + 2 * minimum.value,
        valid=minimum.valid,
        status=f"{status}; {note}" if note else status,
        fixed=tuple(n for n, f in zip(names, problem.free, strict=True) if not f and n not in problem.undetermined),
        undetermined=problem.undetermined,
        at_bounds=tuple(n for n, b in zip(names, at_bounds, strict=True) if b),
        minimiser=options.minimiser if len(minimum.attempts) == 1 else "newton, minuit",
        iterations=minimum.iterations,
        evaluations=minimum.evaluations,
        edm=minimum.edm,
        attempts=minimum.attempts,
    )
