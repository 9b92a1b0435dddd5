"""What a score does at every threshold, as arrays for a figure: distributions, efficiencies, significances."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.results import Record
from bumpfit.scoring.metrics import curve
from bumpfit.scoring.significance import asimov, simple

Array = NDArray[np.float64]
POINTS = 500


@dataclasses.dataclass(frozen=True, eq=False)
class Curves(Record):
    """The score of the signal class, class by class, and what passes `score >= threshold`.

    `distributions` are fractions of each class between `edges` (B+1,); `threshold` (T,) falls. `signal` is the
    efficiency of the signal and `backgrounds` that of every other class, and of "all others" where there are several.
    `significance` is S / sqrt(S + B) and `asimov` the Asimov significance with `background_error`, NaN where fewer than
    the least number of background events are left.
    """

    name: str
    edges: Array
    distributions: Mapping[str, Array]
    threshold: Array
    signal: Array
    backgrounds: Mapping[str, Array]
    significance: Array
    asimov: Array
    background_error: float


def curves(
    targets: ArrayLike,
    score: ArrayLike,
    classes: Sequence[str],
    *,
    weights: ArrayLike | None = None,
    signal: str | None = None,
    background_error: float = 0.1,
    min_background: float = 10,
    bins: int = 40,
) -> Curves:
    """Curves of a score (N,) for `targets` (N,), numbers of `classes`; at most `POINTS` thresholds, evenly in rank.

    Raises:
        InputError: shapes that do not match, an unknown class, scores that are not finite, a class without events.
    """
    y, s = np.asarray(targets), np.asarray(score, dtype=np.float64)
    w = np.ones(len(s)) if weights is None else np.asarray(weights, dtype=np.float64)
    name = classes[-1] if signal is None else signal
    if name not in classes:
        raise InputError(f"there is no class '{name}'; the data set has {', '.join(classes)}")
    number = list(classes).index(name)
    full = curve((y == number).astype(np.int64), s, w)
    s_left, b_left = np.maximum(full.signal, 0.0), np.maximum(full.background, 0.0)
    allowed = np.where(full.background_entries >= min_background, 1.0, np.nan)
    kept = np.unique(np.linspace(0, len(full.threshold) - 1, POINTS).astype(int))
    steps = full.threshold[kept]
    others = {label: y == place for place, label in enumerate(classes) if place != number}
    if len(others) > 1:
        others = {"all others": y != number, **others}
    edges = np.histogram_bin_edges(s, bins)
    distributions = {}
    for place, label in enumerate(classes):
        counts = np.histogram(s[y == place], edges, weights=w[y == place])[0]
        distributions[label] = counts / counts.sum()
    return Curves(
        name=name,
        edges=edges,
        distributions=distributions,
        threshold=steps,
        signal=(full.signal / full.total_signal)[kept],
        backgrounds={label: _passing(s[mine], w[mine], steps) for label, mine in others.items()},
        significance=(simple(s_left, b_left) * allowed)[kept],
        asimov=(asimov(s_left, b_left, background_error * b_left) * allowed)[kept],
        background_error=background_error,
    )


def _passing(scores: Array, weights: Array, steps: Array) -> Array:
    """Fraction of the weight at or above each threshold."""
    order = np.argsort(-scores, kind="stable")
    total = np.r_[0.0, np.cumsum(weights[order])]
    passed: Array = total[np.searchsorted(-scores[order], -steps, side="right")] / total[-1]
    return passed
