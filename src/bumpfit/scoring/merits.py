"""Metrics of a classifier: accuracy, AUC, significance, rejections; exact over all thresholds, weighted, with errors.

Errors come from a Poisson bootstrap of the events: every replica weights each event by a Poisson number of mean 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.results import Record
from bumpfit.scoring.hml import hml_rejection, hml_significance
from bumpfit.scoring.metrics import Found, Merit, curve, measured, rejection, spread
from bumpfit.scoring.own_merit import FigureOfMerit
from bumpfit.scoring.significance import asimov, simple

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Measure(Record):
    """A figure of merit without a threshold: its value and bootstrap error (None when not asked for).

    Examples:
        >>> bumpfit.scoring.accuracy([1, 1, 0, 0], [1, 0, 0, 0])
        Measure(value=0.75, error=None)
    """

    value: float
    error: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class Merits(Record):
    """Metrics of one classifier on one part of a data set.

    `significance` is the largest S / sqrt(S + B) and `asimov` the largest Asimov significance with background error
    over all thresholds on the probability of the signal class, `own` that of a figure of merit of one's own, whose
    formula is `formula`; `rejections` 1 / eps_B by signal efficiency, against
    all other classes; `by_class` the same against each class alone. `hml` repeats the definitions of HEP ML Lab
    (None unless there are two classes). `notes` say what could not be had.

    Examples:
        >>> found = bumpfit.scoring.evaluate([0, 1], [[0.8, 0.2], [0.3, 0.7]], ["qcd", "w"], bootstrap=0)
        >>> found.signal, found.events
        ('w', {'qcd': 1, 'w': 1})
    """

    events: Mapping[str, int]
    signal: str
    accuracy: Measure
    auc: Measure
    significance: Merit | None
    asimov: Merit | None
    background_error: float
    rejections: Mapping[str, Merit]
    by_class: Mapping[str, Mapping[str, Merit]]
    hml: Mapping[str, float] | None
    notes: tuple[str, ...] = ()
    own: Merit | None = None
    formula: str | None = None


def accuracy(
    labels: ArrayLike, predictions: ArrayLike, *, weights: ArrayLike | None = None, bootstrap: int = 0, seed: int = 0
) -> Measure:
    """Weighted fraction of events whose class is predicted rightly; `predictions` (N,) classes or (N, K) probabilities.

    Raises:
        InputError: shapes that do not match, no events, non-finite weights.

    Examples:
        >>> bumpfit.scoring.accuracy([1, 1, 0, 0], [1, 0, 0, 0]).value
        0.75
    """
    y, p = np.asarray(labels), np.asarray(predictions)
    w = _weights(weights, len(y))
    if p.shape[:1] != y.shape or y.ndim != 1 or p.ndim > 2:
        raise InputError(f"labels and predictions have the shapes {y.shape} and {p.shape}; expected one length")
    right = (p.argmax(axis=1) if p.ndim == 2 else p) == y
    return Measure(
        float(np.average(right, weights=w)),
        spread(lambda v: float(np.average(right, weights=v)), y, w, bootstrap, seed),
    )


def auc(
    labels: ArrayLike, scores: ArrayLike, *, weights: ArrayLike | None = None, bootstrap: int = 0, seed: int = 0
) -> Measure:
    """Area under the ROC curve: the probability that a signal event scores higher than a background event, ties half.

    Raises:
        InputError: as `metrics.curve`.

    Examples:
        >>> bumpfit.scoring.auc([1, 1, 0, 0, 0, 0], [0.9, 0.7, 0.8, 0.3, 0.2, 0.1]).value
        0.875
    """
    y, s = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    w = _weights(weights, len(y))

    def area(v: Array) -> float:
        c = curve(y, s, v)
        return float(np.trapezoid(np.r_[0, c.signal] / c.total_signal, np.r_[0, c.background] / c.total_background))

    return Measure(area(w), spread(area, y, w, bootstrap, seed))


def max_significance(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    kind: str = "asimov",
    background_error: float = 0.0,
    signal: float | None = None,
    background: float | None = None,
    threshold: float | None = None,
    min_background: float = 1,
    weights: ArrayLike | None = None,
    bootstrap: int = 0,
    seed: int = 0,
) -> Merit:
    """The largest expected significance over all thresholds `score >= t`, or the one at a given threshold.

    Args:
        labels, scores: shapes (N,), 1 for signal; higher scores are more signal-like.
        kind: "asimov" (`significance.asimov`), "simple" (S / sqrt(S + B)), or a formula of one's own (`own_merit`),
            as "s / sqrt(b + b_error**2)"; thresholds where it does not exist are not considered.
        background_error: relative uncertainty of the background, for "asimov" and formulas.
        signal, background: expected events before the threshold; the weights of each class are scaled to it. None takes
            the weights as they are.
        threshold: take this one instead of the best.
        min_background: thresholds with fewer background entries left are not considered; 1 leaves out B = 0, where
            the Asimov significance is infinite or undefined.
        weights: event weights (N,), of either sign; what adds up to less than 0 counts as 0 events.
        bootstrap: Poisson bootstrap replicas for the error; 0 gives None.

    Raises:
        InputError: bad labels, scores or weights; an unknown kind; no threshold leaves `min_background` events, or
            has a value of the formula.

    Examples:
        >>> found = bumpfit.scoring.max_significance([1, 1, 0, 0], [0.9, 0.8, 0.7, 0.2], min_background=1)
        >>> round(found.value, 2), found.threshold
        (1.61, 0.7)
    """
    own = None if kind in ("asimov", "simple") else FigureOfMerit.read(kind)
    if not (np.isfinite(background_error) and background_error >= 0):
        raise InputError(f"the background error is {background_error}; expected a fraction of 0 or more")
    for name, total in (("signal", signal), ("background", background)):
        if total is not None and not (np.isfinite(total) and total > 0):
            raise InputError(f"the expected {name} is {total}; expected a positive number of events")
    y, x = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    w = _weights(weights, len(y))

    def at(v: Array) -> Found:
        c = curve(y, x, v)
        signals = 1.0 if signal is None else signal / c.total_signal
        backgrounds = 1.0 if background is None else background / c.total_background
        s, b = np.maximum(c.signal * signals, 0.0), np.maximum(c.background * backgrounds, 0.0)
        if own is None:
            value = simple(s, b) if kind == "simple" else asimov(s, b, background_error * b)
        else:
            value = own(
                s=s, b=b, s_error=signals * np.sqrt(c.signal_squares),
                b_error=np.sqrt((background_error * b) ** 2 + backgrounds**2 * c.background_squares),
                s_total=signals * c.total_signal, b_total=backgrounds * c.total_background,
            )  # fmt: skip
        if threshold is not None:
            passing = np.flatnonzero(c.threshold >= threshold)
            if not len(passing):
                raise InputError(f"no event has a score of at least {threshold:g}")
            return c, value, int(passing[-1])
        allowed = c.background_entries >= min_background
        if not allowed.any():
            raise InputError(
                f"no threshold leaves {min_background:g} background events; there are {c.background_entries[-1]:g}"
            )
        if own is None:
            return c, value, int(np.argmax(np.where(allowed, value, -1.0)))
        allowed &= ~np.isnan(value)
        if not allowed.any():
            raise InputError(f"the figure of merit '{kind}' has a value at no threshold; look at its denominators")
        return c, value, int(np.argmax(np.where(allowed, value, -np.inf)))

    return measured(at, y, w, bootstrap, seed)


def evaluate(
    targets: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    *,
    weights: ArrayLike | None = None,
    signal: str | None = None,
    background_error: float = 0.1,
    efficiencies: Sequence[float] = (0.5, 0.99),
    expected: Mapping[str, float] | None = None,
    min_background: float = 10,
    bootstrap: int = 100,
    seed: int = 0,
    merit: str | None = None,
) -> Merits:
    """All metrics of class probabilities (N, K) for `targets` (N,), numbers of `classes`.

    Args:
        weights: event weights (N,); they enter every metric but those of hml.
        signal: name of the signal class; the last one by default.
        background_error: relative, for the Asimov significance.
        efficiencies: signal efficiencies at which rejections are given.
        expected: expected events of each class; the weights of a class are scaled to it for the significances.
        min_background: entries that a threshold must leave for the significances.
        bootstrap: replicas for the errors.
        merit: a figure of merit of one's own, a formula (`own_merit`).

    Raises:
        InputError: shapes that do not match, a formula that cannot be read, unknown classes, a class without events,
            bad weights or probabilities.

    Examples:
        >>> probabilities = [[0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.1, 0.9]]
        >>> found = bumpfit.scoring.evaluate([0, 0, 1, 1], probabilities, ["qcd", "w"], bootstrap=0)
        >>> found.signal, found.auc.value, found.accuracy.value
        ('w', 1.0, 0.75)
    """
    y, p = np.asarray(targets), np.asarray(probabilities, dtype=np.float64)
    if p.shape != (len(y), len(classes)):
        raise InputError(f"probabilities have the shape {p.shape}; expected {(len(y), len(classes))}")
    if not np.isfinite(p).all():
        raise InputError(f"{int((~np.isfinite(p)).sum())} probabilities are not finite numbers")
    if not (np.isfinite(background_error) and background_error >= 0):
        raise InputError(f"the background error is {background_error}; expected a fraction of 0 or more")
    name = classes[-1] if signal is None else signal
    for given in (name, *(expected or {})):
        if given not in classes:
            raise InputError(f"there is no class '{given}'; the data set has {', '.join(classes)}")
    number = list(classes).index(name)
    w = _weights(weights, len(y))
    for place, label in enumerate(classes):
        if not w[y == place].sum() > 0:
            raise InputError(f"the class '{label}' has no events with weight; metrics need events of every class")
    scale = np.ones(len(classes))
    for label, events in (expected or {}).items():
        place = list(classes).index(label)
        scale[place] = events / w[y == place].sum()
    if merit is not None:
        FigureOfMerit.read(merit)
    is_signal, score = (y == number).astype(np.int64), p[:, number]
    notes: list[str] = []
    options = {"bootstrap": bootstrap, "seed": seed}

    def largest(kind: str) -> Merit | None:
        try:
            return max_significance(
                is_signal, score, kind=kind, background_error=0.0 if kind == "simple" else background_error,
                min_background=min_background, weights=w * scale[y], bootstrap=bootstrap, seed=seed,
            )  # fmt: skip
        except InputError as error:
            what = "figure of merit" if kind == merit else "significance"
            notes.append(f"no {what}: {error}")
            return None

    def rejections(against: NDArray[np.bool_]) -> dict[str, Merit]:
        rows = against | (y == number)
        return {
            f"{efficiency:g}": rejection(is_signal[rows], score[rows], efficiency, weights=w[rows], bootstrap=0)
            for efficiency in efficiencies
        }

    others = {label: y == place for place, label in enumerate(classes) if place != number}
    everything = {
        f"{efficiency:g}": rejection(is_signal, score, efficiency, weights=w * scale[y], **options)
        for efficiency in efficiencies
    }
    notes += [
        f"the rejection at {efficiency} has no error: some bootstrap replicas are left without background there"
        for efficiency, merit in everything.items()
        if bootstrap and merit.error is None and np.isfinite(merit.value)
    ]
    return Merits(
        events={label: int((y == place).sum()) for place, label in enumerate(classes)},
        signal=name,
        accuracy=accuracy(y, p, weights=w, **options),
        auc=auc(is_signal, score, weights=w * scale[y], **options),
        significance=largest("simple"),
        asimov=largest("asimov"),
        background_error=background_error,
        rejections=everything,
        by_class={label: rejections(rows) for label, rows in others.items()} if len(others) > 1 else {},
        hml=_hml(is_signal, score, efficiencies) if len(classes) == 2 else None,
        own=None if merit is None else largest(merit),
        formula=merit,
        notes=tuple(dict.fromkeys(notes)),
    )


def _hml(labels: NDArray[np.int64], score: Array, efficiencies: Sequence[float]) -> dict[str, float]:
    p = np.column_stack([1 - score, score])
    found = {f"rejection at {e:g} (classes pooled, 200 thresholds)": hml_rejection(labels, p, e) for e in efficiencies}
    return {"significance at 0.5 (test events)": hml_significance(labels, p), **found}


def _weights(weights: ArrayLike | None, n: int) -> Array:
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != (n,) or not n:
        raise InputError(f"there are {n} events and weights of shape {w.shape}; expected at least one event")
    if not np.isfinite(w).all():
        raise InputError(f"{int((~np.isfinite(w)).sum())} weights are not finite; expected numbers")
    if not w.sum() > 0:
        raise InputError(f"the weights add up to {w.sum():g}; expected a positive sum")
    return w
