"""Poisson counts: the deviance, and coordinates in which their Fisher information is the unit matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def deviance(counts: ArrayLike, expected: ArrayLike) -> Floats:
    """-2 ln of the likelihood ratio of each expectation to the saturated one, 2 (r - n + n ln(n / r)), broadcast.

    0 where both are 0, inf where events are that are not expected, and where the expectation is negative (Baker,
    Cousins, Nucl. Instrum. Meth. 221 (1984) 437).
    """
    n, r = np.asarray(counts, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = (r - n) / n  # r - n + n ln(n / r) = n (ratio - ln(1 + ratio)), without the large terms that cancel
        value = np.where(np.isfinite(ratio), 2 * n * (ratio - np.log1p(ratio)), 2 * r)
    possible = (r > 0) | ((r == 0) & (n == 0))
    return np.where(possible, np.maximum(value, 0.0), np.inf)


def whiten(information: Floats) -> Floats:
    """Matrix T with T^T information T = 1, shape (Z, Z), from the eigenvectors of the scaled information.

    A direction without information gets the largest step that floating-point numbers allow instead of an infinite one.
    Information that is not finite gives NaN.
    """
    if not np.isfinite(information).all():
        return np.full_like(information, np.nan)
    diagonal = np.sqrt(np.maximum(np.diag(information), np.finfo(float).tiny))
    correlation = information / np.outer(diagonal, diagonal)
    values, vectors = np.linalg.eigh(correlation)
    values = np.maximum(values, values.max(initial=0.0) * np.finfo(float).eps)
    return np.asarray(vectors / np.sqrt(values) / diagonal[:, None])
