"""Figures of merit of a score, exact over all thresholds, with weights and bootstrap errors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.results import Record

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Merit(Record):
    """A figure of merit at a threshold: its value, bootstrap error (None when not asked for) and the efficiencies.

    Examples:
        >>> found = bumpfit.scoring.rejection([1, 1, 0, 0], [0.9, 0.7, 0.8, 0.3], efficiency=0.5)
        >>> found.threshold, found.signal_efficiency
        (0.9, 0.5)
    """

    value: float
    error: float | None
    threshold: float
    signal_efficiency: float
    background_efficiency: float
    background_events: float


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """Signal and background passing `score >= threshold` at each distinct score, from the highest; shapes (T,).

    With weights of either sign they need not grow with looser thresholds, and `background_entries` are the numbers of
    equivalent events (sum w)^2 / sum w^2, 0 where the sum is not positive: what cancels is no event. The squares are
    sums of squared weights.
    """

    threshold: Array
    signal: Array
    background: Array
    background_entries: Array
    total_signal: float
    total_background: float
    signal_squares: Array
    background_squares: Array


Found = tuple[Curve, Array, int]
"""A curve, a figure of merit at each of its thresholds, and the threshold that was chosen."""


def curve(labels: ArrayLike, scores: ArrayLike, weights: ArrayLike | None = None) -> Curve:
    """Count what passes each possible threshold; events with equal scores pass together.

    Raises:
        InputError: labels other than 0 and 1, different lengths, non-finite scores or weights, a class without weight.
    """
    y, s = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    w = np.ones(len(s)) if weights is None else np.asarray(weights, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape or w.shape != s.shape:
        raise InputError(
            f"labels, scores and weights have the shapes {y.shape}, {s.shape}, {w.shape}; expected one length"
        )
    if not np.isin(y, (0, 1)).all():
        raise InputError(f"labels are {np.unique(y)[:5].tolist()}; expected 0 (background) and 1 (signal)")
    if not np.isfinite(s).all() or not np.isfinite(w).all():
        raise InputError("scores and weights must be finite numbers; drop or repair the others first")
    signal = y == 1
    if not w[signal].sum() > 0 or not w[~signal].sum() > 0:
        raise InputError(
            f"{int(signal.sum())} signal and {int((~signal).sum())} background events have weights that add up to "
            f"{w[signal].sum():g} and {w[~signal].sum():g}; both must be positive"
        )
    order = np.argsort(-s, kind="stable")
    s, w, signal = s[order], w[order], signal[order]
    last = np.flatnonzero(np.r_[s[1:] != s[:-1], True])
    passed_signal, passed_background = np.cumsum(w * signal)[last], np.cumsum(w * ~signal)[last]
    return Curve(
        threshold=s[last],
        signal=passed_signal,
        background=passed_background,
        background_entries=_entries(w, ~signal)[last],
        total_signal=float(passed_signal[-1]),
        total_background=float(passed_background[-1]),
        signal_squares=np.cumsum(w**2 * signal)[last],
        background_squares=np.cumsum(w**2 * ~signal)[last],
    )


def _entries(weights: Array, chosen: NDArray[np.bool_]) -> Array:
    """Running number of the chosen events; of equivalent ones where some weights are negative."""
    if not (weights[chosen] < 0).any():
        return np.asarray(np.cumsum(chosen), dtype=np.float64)
    total, squares = np.cumsum(weights * chosen), np.cumsum(weights**2 * chosen)
    return np.where(total > 0, total**2 / np.where(squares > 0, squares, 1.0), 0.0)


def measured(
    at: Callable[[Array], Found], labels: NDArray[Any], weights: Array, bootstrap: int = 0, seed: int = 0
) -> Merit:
    """What `at(weights)` finds (a curve, the figure of merit along it and a place), with the bootstrap error of it."""
    c, value, place = at(weights)
    return Merit(
        value=float(value[place]),
        error=spread(lambda w: float((found := at(w))[1][found[2]]), labels, weights, bootstrap, seed),
        threshold=float(c.threshold[place]),
        signal_efficiency=float(c.signal[place] / c.total_signal),
        background_efficiency=float(c.background[place] / c.total_background),
        background_events=float(c.background_entries[place]),
    )


def spread(
    statistic: Callable[[Array], float], labels: NDArray[Any], weights: Array, n: int, seed: int
) -> float | None:
    """Standard deviation of `statistic(weights)` over n Poisson bootstrap replicas.

    None for fewer than 2 replicas, and where a replica is infinite. A replica that has lost a whole class, which
    happens to classes of a few events, is drawn again.
    """
    if n < 2:
        return None
    rng = np.random.default_rng(seed)
    groups = [group for group in (labels == label for label in np.unique(labels)) if weights[group].sum() > 0]
    values: list[float] = []
    while len(values) < n:
        drawn = weights * rng.poisson(1.0, len(weights))
        if all(drawn[group].sum() > 0 for group in groups):
            values.append(float(statistic(drawn)))
    return float(np.std(values, ddof=1)) if np.isfinite(values).all() else None


def significance_improvement(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    background_efficiency: float | None = None,
    min_background: float = 25,
    weights: ArrayLike | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> Merit:
    """Significance improvement eps_S / sqrt(eps_B): its maximum, or its value at one background efficiency.

    Args:
        labels, scores: shapes (N,), 1 for signal; higher scores are more signal-like.
        background_efficiency: take the threshold with the largest eps_B not above this; None maximises.
        min_background: thresholds with fewer background entries left are not considered (maxima on a handful of
            events are noise).
        weights: event weights (N,), of either sign.
        bootstrap: Poisson bootstrap replicas for the error; 0 gives None.

    Raises:
        InputError: bad labels, scores or weights; no threshold leaves `min_background` events.

    Examples:
        >>> labels, scores = [1, 1, 0, 0, 0, 0], [0.9, 0.7, 0.8, 0.3, 0.2, 0.1]
        >>> bumpfit.scoring.significance_improvement(labels, scores, background_efficiency=0.25).value
        2.0
    """

    def at(w: Array) -> Found:
        c = curve(labels, scores, w)
        eps_b = c.background / c.total_background
        value = np.divide(
            c.signal / c.total_signal, np.sqrt(np.maximum(eps_b, 0.0)), out=np.zeros_like(eps_b), where=eps_b > 0
        )
        if background_efficiency is not None:
            allowed = eps_b <= background_efficiency
            if not allowed.any():
                raise InputError(f"no threshold has a background efficiency of at most {background_efficiency:g}")
            return c, value, int(np.flatnonzero(allowed)[-1])
        allowed = (c.background_entries >= min_background) & (eps_b > 0)
        if not allowed.any():
            raise InputError(
                f"no threshold leaves {min_background:g} background events; there are {c.background_entries[-1]:g}"
            )
        return c, value, int(np.argmax(np.where(allowed, value, -1.0)))

    y = np.asarray(labels)
    w = np.ones(y.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    return measured(at, y, w, bootstrap, seed)


def rejection(
    labels: ArrayLike,
    scores: ArrayLike,
    efficiency: float,
    *,
    weights: ArrayLike | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> Merit:
    """Background rejection 1 / eps_B at the tightest threshold that keeps at least `efficiency` of the signal.

    Raises:
        InputError: bad labels, scores or weights; an efficiency outside (0, 1].

    Examples:
        >>> bumpfit.scoring.rejection([1, 1, 0, 0, 0, 0], [0.9, 0.7, 0.8, 0.3, 0.2, 0.1], efficiency=1.0).value
        4.0
    """
    if not 0 < efficiency <= 1:
        raise InputError(f"the signal efficiency is {efficiency:g}; expected a number above 0 and at most 1")

    def at(w: Array) -> Found:
        c = curve(labels, scores, w)
        value = np.divide(
            c.total_background, c.background, out=np.full_like(c.background, np.inf), where=c.background > 0
        )
        return c, value, int(np.argmax(c.signal / c.total_signal >= efficiency * (1 - 1e-12)))

    y = np.asarray(labels)
    w = np.ones(y.shape) if weights is None else np.asarray(weights, dtype=np.float64)
    return measured(at, y, w, bootstrap, seed)
