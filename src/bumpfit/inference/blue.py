"""The best linear unbiased estimate of one quantity from several measurements (Lyons, Gibaut, Clifford, NIM A 270
(1988) 110).

Each measurement has an error from each source, and the errors of one source are correlated between measurements. With
the covariance V summed over the sources the weights are V^-1 1 / (1' V^-1 1); for Gaussian errors the estimate is that
of maximum likelihood. A weight may be negative where two errors are strongly correlated and differ (Valassi, Chierici,
Eur. Phys. J. C 74 (2014) 2717).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import chdtrc

from bumpfit.errors import InputError
from bumpfit.results import Record
from bumpfit.types import Floats

SINGULAR = 1e-12
"""Smallest eigenvalue of the correlation matrix below which there is no estimate."""


@dataclasses.dataclass(frozen=True, eq=False)
class Combination(Record):
    """The estimate with its error, that of each source (they add in quadrature), and the weights, which sum to 1.

    `chi2` of the measurements around the estimate has `degrees_of_freedom` and the probability `p`. `correlation`
    (N, N) of the measurements, all sources together.

    Examples:
        >>> found = bumpfit.inference.blue({"a": 1.0, "b": 2.0}, {"stat": [0.3, 0.4]})
        >>> {name: round(weight, 2) for name, weight in found.weights.items()}
        {'a': 0.64, 'b': 0.36}
    """

    value: float
    error: float
    errors: dict[str, float]
    weights: dict[str, float]
    chi2: float
    degrees_of_freedom: int
    p: float
    correlation: Floats
    notes: tuple[str, ...] = ()


def blue(
    values: Mapping[str, float],
    errors: Mapping[str, Sequence[float]],
    correlations: Mapping[str, float | Sequence[Sequence[float]]] | None = None,
) -> Combination:
    """Combine measurements of one quantity.

    values        by name of the measurement, N of them
    errors        N standard deviations by source of uncertainty, in the order of the values; 0 where there is none
    correlations  of the errors of a source: one number for all pairs, or an (N, N) matrix; 0 without an entry

    Raises InputError for lengths that differ, errors that are negative, not finite or all 0 for a measurement, matrices
    that are no correlations, and a covariance that is singular.

    Examples:
        >>> errors = {"stat": [0.3, 0.4], "scale": [0.1, 0.1]}
        >>> found = bumpfit.inference.blue({"a": 1.0, "b": 2.0}, errors, {"scale": 1.0})
        >>> round(found.value, 3), round(found.error, 3)
        (1.36, 0.26)
    """
    names, measured = list(values), np.array(list(values.values()), dtype=np.float64)
    if len(names) < 2 or not np.isfinite(measured).all():
        raise InputError(f"a combination needs two or more finite values, got {list(values.values())}")
    for source in correlations or {}:
        if source not in errors:
            raise InputError(
                f"there are correlations of '{source}', which has no errors; there are {', '.join(errors)}"
            )
    parts = {
        source: _covariance(source, row, (correlations or {}).get(source, 0.0), len(names))
        for source, row in errors.items()
    }
    if not parts:
        raise InputError("the measurements have no errors")
    covariance = np.sum(list(parts.values()), axis=0)
    sizes = np.sqrt(np.diag(covariance))
    if not (sizes > 0).all():
        raise InputError(f"'{names[int(sizes.argmin())]}' has no error, so it has all the weight")
    scaled = covariance / np.outer(sizes, sizes)
    if float(np.linalg.eigvalsh(scaled)[0]) < SINGULAR:
        raise InputError("the covariance is singular: some measurements are fully correlated; lower a correlation")
    solved = np.linalg.solve(scaled, np.column_stack([1.0 / sizes, measured / sizes])) / sizes[:, None]
    variance = 1.0 / float(solved[:, 0].sum())
    weights = solved[:, 0] * variance
    value = float(weights @ measured)
    residual = (measured - value) / sizes
    chi2, left = float(residual @ np.linalg.solve(scaled, residual)), len(names) - 1
    negative = [name for name, weight in zip(names, weights, strict=True) if weight < 0]
    notes = (
        (f"negative weights: {', '.join(negative)}; the correlations decide, look at them again",) if negative else ()
    )
    return Combination(
        value, math.sqrt(variance), {s: math.sqrt(max(float(weights @ v @ weights), 0.0)) for s, v in parts.items()},
        dict(zip(names, weights.tolist(), strict=True)), chi2, left, float(chdtrc(left, chi2)), scaled, notes,
    )  # fmt: skip


def _covariance(source: str, row: Sequence[float], given: float | Sequence[Sequence[float]], n: int) -> Floats:
    """Covariance of one source, (N, N)."""
    error = np.asarray(row, dtype=np.float64)
    if error.shape != (n,) or not np.isfinite(error).all() or (error < 0).any():
        raise InputError(f"the errors of '{source}' must be {n} numbers from 0 on, got {np.asarray(row).tolist()}")
    rho = np.asarray(given, dtype=np.float64)
    if rho.ndim == 0:
        rho = np.where(np.eye(n, dtype=np.bool_), 1.0, float(rho))
    right = rho.shape == (n, n) and bool(np.isfinite(rho).all()) and np.allclose(rho, rho.T, atol=1e-9)
    if not (right and np.allclose(np.diag(rho), 1.0) and float(np.linalg.eigvalsh(rho)[0]) > -1e-9):
        raise InputError(
            f"the correlations of '{source}' are none: expected a number or a symmetric {n} by {n} matrix with 1 on "
            "the diagonal and no negative eigenvalue"
        )
    return np.asarray(rho * np.outer(error, error))
