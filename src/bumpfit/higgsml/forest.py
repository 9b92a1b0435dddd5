"""Boosted trees as plain arrays, evaluated by one compiled loop: a million events in seconds, and a safe file.

A block of events goes through one tree after the other, every event as many steps as the tree is deep (a leaf leads to
itself): no branch depends on the data, and a tree stays in the fastest memory.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import njit
from bumpfit.errors import InputError
from bumpfit.scoring.trees import binned

Floats = NDArray[np.float64]
FIELDS = ("feature", "threshold", "left", "right", "missing_left", "leaf", "value", "starts", "baseline")
KINDS = "ifiibbfif"
"""NumPy's kinds of the `FIELDS`."""


BLOCK = 128
"""Events that go through a tree together."""


@njit()
def walk(x, feature, threshold, left, right, missing_left, value, starts, depth, out):  # type: ignore[no-untyped-def]
    """Add the values of the leaves that each event (row of x) falls into to out."""
    node = np.empty(BLOCK, np.int64)
    for begin in range(0, x.shape[0], BLOCK):
        size = min(BLOCK, x.shape[0] - begin)
        for tree in range(starts.size):
            for i in range(size):
                node[i] = starts[tree]
            for _ in range(depth[tree]):
                for i in range(size):
                    at = node[i]
                    v = x[begin + i, feature[at]]
                    go_left = (v <= threshold[at]) | ((v != v) & missing_left[at])
                    node[i] = left[at] if go_left else right[at]
            for i in range(size):
                out[begin + i] += value[node[i]]


@dataclasses.dataclass(frozen=True, eq=False)
class Forest:
    """Trees one after the other; `starts` are their first nodes, children count from there. `baseline` (1,)."""

    feature: NDArray[np.int64]
    threshold: Floats
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    leaf: NDArray[np.bool_]
    value: Floats
    starts: NDArray[np.int64]
    baseline: Floats

    @classmethod
    def of(cls, model: Any, output: int = 0) -> Forest:
        """Take apart a trained `HistGradientBoostingClassifier` (one class of several) or `...Regressor`."""
        trees = [iteration[output].nodes for iteration in model._predictors]
        nodes = np.concatenate(trees)
        starts = np.concatenate([[0], np.cumsum([len(tree) for tree in trees])[:-1]])
        return cls(
            nodes["feature_idx"].astype(np.int64), nodes["num_threshold"].astype(np.float64),
            nodes["left"].astype(np.int64), nodes["right"].astype(np.int64), nodes["missing_go_to_left"].astype(bool),
            nodes["is_leaf"].astype(bool), nodes["value"].astype(np.float64), starts.astype(np.int64),
            np.asarray(model._baseline_prediction, dtype=np.float64).reshape(-1)[[output]],
        )  # fmt: skip

    def of_values(self, edges: Sequence[Floats]) -> Forest:
        """Trees that were trained on numbers of bins, between these `edges` of each feature, for the values."""
        threshold = self.threshold.copy()
        for node in np.flatnonzero(~self.leaf):
            if np.isfinite(threshold[node]):  # else: missing values alone are on one side
                threshold[node] = edges[self.feature[node]][int(threshold[node])]
        return dataclasses.replace(self, threshold=threshold)

    def raw(self, x: NDArray[Any]) -> Floats:
        """The log-odds of events, rows of x; missing values are NaN."""
        out = np.full(len(x), self.baseline[0])
        walk(np.ascontiguousarray(x, dtype=np.float32), *self._walked, out)
        return out

    @functools.cached_property
    def _walked(self) -> tuple[NDArray[Any], ...]:
        """The trees as `walk` wants them: children counted from the first node, thresholds as float32 (rounded down:
        the same float32 values are below), a leaf its own child; and the depth of each tree.
        """
        n = len(self.value)
        first = np.repeat(self.starts, np.diff(np.append(self.starts, n)))
        left, right = (np.where(self.leaf, np.arange(n), first + child) for child in (self.left, self.right))
        threshold = self.threshold.astype(np.float32)
        threshold = np.where(threshold > self.threshold, np.nextafter(threshold, np.float32(-np.inf)), threshold)
        depth = np.zeros(n, dtype=np.int64)
        for node in np.flatnonzero(~self.leaf):  # children come later
            depth[left[node]] = depth[right[node]] = depth[node] + 1
        feature = np.where(self.leaf, 0, self.feature)
        return (
            feature.astype(np.int32), threshold, left.astype(np.int32), right.astype(np.int32), self.missing_left,
            self.value, self.starts, np.maximum.reduceat(depth, self.starts),
        )  # fmt: skip

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """The arrays of a file."""
        return {f"{prefix}_{name}": getattr(self, name) for name in FIELDS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str, features: int) -> Forest:
        """Back from `arrays`; raises ValueError for what cannot be trees (walks that would not end)."""
        found = cls(**{name: arrays[f"{prefix}_{name}"] for name in FIELDS})
        n = len(found.value)
        sizes = {len(getattr(found, name)) for name in FIELDS[:7]}
        starts = found.starts
        if sizes != {n} or found.baseline.shape != (1,) or not n or not len(starts) or starts[0] != 0:
            raise ValueError("its trees do not fit together")
        if (np.diff(starts) <= 0).any() or starts[-1] >= n:
            raise ValueError("its trees do not fit together")
        kinds = "".join(getattr(found, name).dtype.kind for name in FIELDS)
        if kinds != KINDS or not (np.isfinite(found.value).all() and np.isfinite(found.baseline).all()):
            raise ValueError("the nodes of its trees have values that no tree has")
        if np.isnan(found.threshold).any():  # infinite: missing values alone are on one side
            raise ValueError("a threshold of its trees is no number")
        ends = np.append(starts[1:], n)
        own = np.arange(n) - np.repeat(starts, ends - starts)
        size = np.repeat(ends - starts, ends - starts)
        inner = ~found.leaf
        for child in (found.left, found.right):  # children come later in the same tree: every walk ends
            if ((child <= own) | (child >= size))[inner].any():
                raise ValueError("a node of its trees points to where no child can be")
        if ((found.feature < 0) | (found.feature >= features))[inner].any():
            raise ValueError("a node of its trees asks for a feature that does not exist")
        return found


def boosted(
    kind: Literal["classifier", "mean", "quantile"], x: NDArray[Any], y: NDArray[Any], weights: Floats | None = None,
    **settings: Any,
) -> Any:  # fmt: skip
    """scikit-learn's histogram-based boosted trees, trained on one thread and to the last tree.

    With `weights` x are numbers of bins (`signal_classifier`): scikit-learn would sort each feature anew for every bin.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    if kind == "quantile":
        settings["loss"] = "quantile"
    made = HistGradientBoostingClassifier if kind == "classifier" else HistGradientBoostingRegressor
    model = made(early_stopping=False, **settings)
    with threadpool_limits(1):  # two threads that wait for each other are slower than one on a busy machine
        model.fit(x, y, sample_weight=weights)
    return model


def signal_classifier(
    x: NDArray[Any], signal: NDArray[np.bool_], weights: Floats, fewest: int, **settings: Any
) -> Forest:
    """Trees that tell signal from background, both of the same weight in all.

    Args:
        x: what the trees see, (N, K).
        signal: which are signal, (N,).
        weights: expected events, (N,).
        fewest: events of each that are needed.
        settings: of the trees, by scikit-learn's names.

    Raises:
        InputError: there are fewer.
    """
    if min(signal.sum(), (~signal).sum()) < fewest:
        raise InputError(
            f"{signal.sum()} signal and {(~signal).sum()} background events are left to train the classifier; "
            f"expected {fewest} or more of each: take more events"
        )
    w = np.where(signal, weights / weights[signal].sum(), weights / weights[~signal].sum()) * len(x) / 2.0
    edges = [weighted_edges(column, w, settings.get("max_bins", 255)) for column in x.T]
    return Forest.of(boosted("classifier", binned(x, edges), signal, w, **settings)).of_values(edges)


def weighted_edges(values: NDArray[Any], weights: Floats, bins: int) -> Floats:
    """Ends of bins of equal weight, at most `bins` - 1, as scikit-learn's trees have them.

    The averaged inverse of the weighted distribution function at k / bins (Hyndman and Fan, Am. Stat. 50 (1996) 361,
    definition 2); half-way between neighbours where no more than `bins` values differ. NaN and weights of 0 are left
    out.
    """
    there = ~np.isnan(values) & (weights != 0)
    x = np.asarray(values[there], dtype=np.float64)
    order = np.argsort(x)
    x, summed = x[order], np.cumsum(weights[there][order])
    distinct = np.unique(x)
    if len(distinct) <= bins:
        return np.asarray(0.5 * (distinct[1:] + distinct[:-1]))
    wanted = np.arange(1, bins) / bins * summed[-1]
    first, last = (np.searchsorted(summed, wanted, side=side) for side in ("left", "right"))
    return np.unique(0.5 * (x[np.minimum(first, len(x) - 1)] + x[np.minimum(last, len(x) - 1)]))
