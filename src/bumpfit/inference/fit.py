"""Maximum-likelihood fit, and what its minimum says about the parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.inference import factors
from bumpfit.inference.histfactory import FitOptions, checked_range, prepare
from bumpfit.likelihood import Floats, Likelihood, Minimum, at_ends, position
from bumpfit.results import Fit
from bumpfit.threads import matched
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

SINGULAR = 1e-11
"""Pivot or eigenvalue of the Hessian in units of its diagonal below which parameters are not determined."""

LARGE = 200
"""Size from which LAPACK, with its threads, inverts a matrix quicker than our own function."""


def likelihood_of(
    model: Model | Likelihood,
    data: Data = None,
    fixed: Mapping[str, float | None] | None = None,
    *,
    start: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    free: Collection[str] = (),
    options: FitOptions = FitOptions(),
) -> Likelihood:
    """A workspace with data and settings (`histfactory.prepare`), or a likelihood with settings.

    Raises InputError for wrong settings, and for data, released parameters or options of a likelihood, which has its
    own.
    """
    if isinstance(model, Model):
        return prepare(model, data, fixed, start=start, ranges=ranges, free=free, options=options)
    if data is not None or free or options != FitOptions():
        raise InputError("a likelihood has its data and minimiser already; leave out data, free and options")
    result = model
    for name, ends in (ranges or {}).items():
        position(result, name)
        result = result.within(name, *checked_range(name, ends))
    if start:
        begin = result.start.copy()
        for name, value in start.items():
            i = position(result, name)
            if not result.low[i] <= value <= result.high[i]:
                raise InputError(
                    f"the start {value} of parameter '{name}' lies outside its range [{result.low[i]}, "
                    f"{result.high[i]}]"
                )
            begin[i] = value
        result = result.begin(begin)
    for name, held in (fixed or {}).items():
        place = position(result, name)
        result = result.at(name, float(result.start[place]) if held is None else held)
    return result


def covariance_at(likelihood: Likelihood, minimum: Minimum) -> tuple[Floats | None, Floats, str]:
    """Inverse of the second derivatives of -ln L over the free parameters, shape (P, P), errors (P,), and a note.

    Where these are singular a covariance that the minimiser knows stands in.

    Parameters at a bound take part when the matrix stays positive definite with them (their curvature is then as
    informative as elsewhere), otherwise they are left out with zero rows. When some combination of parameters is not
    determined at all there is no covariance. Parameters without an error, held ones too, have NaN.
    """
    x, known = minimum.x, minimum.covariance
    with matched(float(x.size) ** 3):
        found = _covariance(likelihood, x)
    if found[0] is not None or known is None:
        return found
    errors = np.sqrt(np.diag(known))
    return known, np.where(likelihood.free & (errors > 0), errors, np.nan), ""


def _covariance(likelihood: Likelihood, x: Floats) -> tuple[Floats | None, Floats, str]:
    free, matrix = likelihood.free, likelihood.curvature(x)
    if not np.isfinite(matrix).all():
        return None, np.full(x.size, np.nan), "the Hessian is not finite, so errors are not known"
    at_bound = free & ((x <= likelihood.low) | (x >= likelihood.high))
    for chosen, note in ((free, ""), (free & ~at_bound, "errors hold parameters at their bounds")):
        result, errors = np.zeros_like(matrix), np.full(x.size, np.nan)
        if not chosen.any():
            return result, errors, note
        index = np.ix_(chosen, chosen)
        inverse = _inverse(np.ascontiguousarray(matrix[index]))
        if inverse is not None:
            result[index] = 0.5 * (inverse + inverse.T)
            errors[chosen] = np.sqrt(np.diag(result)[chosen])
            return result, errors, note if at_bound.any() else ""
    return None, *_partial_errors(likelihood, matrix, chosen)


def _inverse(matrix: Floats) -> Floats | None:
    """Inverse of a positive definite matrix, None for one that is not (`SINGULAR`)."""
    size = matrix.shape[0]
    if size <= LARGE:
        inverse = np.empty_like(matrix)
        return inverse if factors.invert(matrix, SINGULAR, inverse) else None
    from scipy.linalg.lapack import dpotrf, dpotri  # rarely needed, and slow to import

    lower, failed = dpotrf(matrix, lower=1)
    if failed or (np.diag(lower) ** 2 <= SINGULAR * np.diag(matrix)).any():
        return None
    inverse, failed = dpotri(lower, lower=1)
    if failed:
        return None
    half = np.tril(inverse)
    return np.asarray(half + np.tril(half, -1).T)


def _partial_errors(likelihood: Likelihood, matrix: Floats, chosen: NDArray[np.bool_]) -> tuple[Floats, str]:
    """Errors when the Hessian is singular: NaN for the parameters in the directions that are not determined."""
    index = np.ix_(chosen, chosen)
    scale = np.sqrt(np.maximum(np.diag(matrix[index]), 0.0))
    scale[scale == 0] = 1.0
    eigenvalues, vectors = np.linalg.eigh(matrix[index] / scale[:, None] / scale)
    flat = eigenvalues <= SINGULAR
    unknown = np.zeros(chosen.size, dtype=bool)
    unknown[chosen] = (np.abs(vectors[:, flat]) > np.sqrt(SINGULAR)).any(axis=1)
    errors = np.full(chosen.size, np.nan)
    inverse = np.sum(vectors[:, ~flat] ** 2 / eigenvalues[~flat], axis=1)
    errors[chosen] = np.sqrt(inverse) / scale
    errors[unknown] = np.nan
    names = [name for name, bad in zip(likelihood.names, unknown, strict=True) if bad]
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return errors, f"the Hessian is singular: the data do not determine {shown}"


def fit(
    model: Model | Likelihood,
    data: Data = None,
    fixed: Mapping[str, float | None] | None = None,
    *,
    start: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    free: Collection[str] = (),
    options: FitOptions = FitOptions(),
) -> Fit:
    """Maximum-likelihood fit of all free parameters; settings as in `likelihood_of`.

    Values maximise the likelihood within the ranges, at the lowest of several minima; the covariance is the inverse of
    the exact second derivatives of -ln L there. `valid` is False when no minimiser converged (`attempts` says what was
    tried). Raises InputError for wrong settings or data, BumpfitError when the likelihood is zero wherever the fit
    starts.

    Examples:
        >>> found = bumpfit.inference.fit(model)
        >>> print(f"mu = {found.values['mu']:.2f} +- {found.errors['mu']:.2f}")
        mu = 1.26 +- 0.77
        >>> bumpfit.inference.fit(model, fixed={"mu": 1.0}).errors["mu"]
        0.0
    """
    likelihood = likelihood_of(model, data, fixed, start=start, ranges=ranges, free=free, options=options)
    return report(likelihood, likelihood.solve())


def report(likelihood: Likelihood, minimum: Minimum) -> Fit:
    """The fit record of a minimum. A free parameter whose error does not exist has NaN (None in JSON), a held one 0."""
    covariance, errors, note = covariance_at(likelihood, minimum)
    names = likelihood.names
    status = "converged" if minimum.valid else f"not converged: {'; '.join(minimum.attempts)}"
    return Fit(
        parameters=names,
        values={name: float(v) for name, v in zip(names, minimum.x, strict=True)},
        errors={
            name: float(e) if loose else 0.0 for name, e, loose in zip(names, errors, likelihood.free, strict=True)
        },
        covariance=covariance,
        twice_nll=likelihood.constant + 2 * minimum.value,
        valid=minimum.valid,
        status=f"{status}; {note}" if note else status,
        fixed=tuple(
            n for n, f in zip(names, likelihood.free, strict=True) if not f and n not in likelihood.undetermined
        ),
        undetermined=(*likelihood.undetermined, *minimum.idle),
        at_bounds=at_ends(likelihood, minimum),
        minimiser=", ".join(dict.fromkeys(text.split()[0] for text in minimum.attempts)),
        iterations=minimum.iterations,
        evaluations=minimum.evaluations,
        edm=minimum.edm,
        attempts=minimum.attempts,
    )
