"""Metrics exactly as HEP ML Lab 0.4 defines them, to compare with its tables; use `merits` for results.

Both take the class probabilities (N, 2) and count events without weights, as hml does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError

Array = NDArray[np.float64]


def hml_rejection(labels: ArrayLike, probabilities: ArrayLike, efficiency: float, *, thresholds: int = 200) -> float:
    """hml's `RejectionAtEfficiency`: 1 / (1 - specificity) of keras, classes pooled, at 200 equally spaced thresholds.

    Pooled: every event enters twice, once with the probability of its class as a positive and once with that of the
    other class as a negative. So this is not 1 / eps_B at eps_S of one class: its negatives are all events, and it is
    at most their number. Infinite where no negative passes.

    Raises:
        InputError: labels other than 0 and 1, probabilities of another shape than (N, 2), an efficiency outside (0, 1].

    Examples:
        >>> probabilities = [[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.8, 0.2]]
        >>> round(bumpfit.scoring.hml_rejection([1, 1, 0, 0], probabilities, 0.9), 3)
        4.0
    """
    y, p = _checked(labels, probabilities)
    if not 0 < efficiency <= 1:
        raise InputError(f"the signal efficiency is {efficiency:g}; expected a number above 0 and at most 1")
    if thresholds < 2:
        raise InputError(f"there are {thresholds} thresholds; expected at least 2")
    cuts = np.arange(thresholds) / (thresholds - 1)
    own, other = np.sort(p[np.arange(len(y)), y]), np.sort(p[np.arange(len(y)), 1 - y])
    sensitivity = 1 - np.searchsorted(own, cuts, side="right") / len(y)
    passed = len(y) - np.searchsorted(other, cuts, side="right")
    fewest = passed[sensitivity >= efficiency]  # the threshold 0 may cut off exact zeros, so it can be empty
    if not len(fewest):
        return 1.0
    return float(len(y) / fewest.min()) if fewest.min() else float("inf")


def hml_significance(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    thresholds: Sequence[float] = (0.5,),
    cross_sections: tuple[float, float] | None = None,
    luminosity: float = 1.0,
) -> float:
    """hml's `MaxSignificance`: the largest S / sqrt(S + B) over the given thresholds, by default 0.5 alone.

    Without cross-sections (background, signal) S and B are the numbers of test events above the threshold, so the
    value grows with the size of the sample.

    Raises:
        InputError: labels other than 0 and 1, probabilities of another shape than (N, 2), no thresholds.

    Examples:
        >>> probabilities = [[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.8, 0.2]]
        >>> round(bumpfit.scoring.hml_significance([1, 1, 0, 0], probabilities), 3)  # 2 / sqrt(2 + 1)
        1.155
    """
    y, p = _checked(labels, probabilities)
    if not len(thresholds):
        raise InputError("there is no threshold; expected at least one")
    values = []
    for threshold in thresholds:
        passed = p[:, 1] > threshold
        s, b = float((passed & (y == 1)).sum()), float((passed & (y == 0)).sum())
        if cross_sections is not None:
            if b == 0 and tuple(thresholds) != (0.5,):
                continue  # hml leaves out thresholds that no background passes
            s *= cross_sections[1] * luminosity / float((y == 1).sum())
            b *= cross_sections[0] * luminosity / float((y == 0).sum())
        values.append(s / np.sqrt(s + b) if s + b > 0 else 0.0)
    return float(max(values, default=0.0))


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    y, p = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if y.ndim != 1 or p.shape != (len(y), 2) or not len(y):
        raise InputError(f"labels and probabilities have the shapes {y.shape} and {p.shape}; expected (N,) and (N, 2)")
    if not np.isin(y, (0, 1)).all() or len(np.unique(y)) < 2:
        raise InputError(f"labels are {np.unique(y)[:5].tolist()}; expected 0 (background) and 1 (signal), both there")
    if not np.isfinite(p).all():
        raise InputError("probabilities must be finite numbers")
    return y.astype(np.int64), p
