"""Forests: averages of many deep trees, of scikit-learn; a stored one is plain arrays that any version can read."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bumpfit.errors import InputError
from bumpfit.scoring.approaches import QuantileBinned
from bumpfit.scoring.classifier import Array, Classifier, Estimator, Labels, State
from bumpfit.scoring.trees import leaves

FIELDS = {"left": "<i8", "right": "<i8", "feature": "<i8", "threshold": "<f8", "missing_left": "<u1"}
LEAF = -1
"""Child of a node that has none."""
TREES = 5
"""Trees that are in memory at one time where a forest is asked and not kept."""


@dataclasses.dataclass(frozen=True, eq=False)
class StoredForest:
    """Trees as arrays: `nodes` of all trees one after the other, `sizes` (trees,) their numbers, `values` (nodes, K).

    A value is the distribution of the classes in a node; the forest is the mean over its trees. Children count from
    the first node of their tree.
    """

    nodes: NDArray[Any]
    sizes: NDArray[np.int64]
    values: Array

    @classmethod
    def of(cls, model: Any) -> StoredForest:
        """Take apart a trained forest of scikit-learn, also one that sees quantile bins."""
        edges = model.edges if isinstance(model, QuantileBinned) else None
        model = model.estimator if isinstance(model, QuantileBinned) else model
        trees = [estimator.tree_ for estimator in model.estimators_]
        nodes = np.concatenate([_nodes(tree) for tree in trees])
        if edges is not None:
            nodes["threshold"] = _unbinned(nodes, edges)
        values = np.concatenate([tree.value[:, 0, :] for tree in trees])
        sizes = np.array([tree.node_count for tree in trees], dtype=np.int64)
        return cls(nodes, sizes, np.ascontiguousarray(values / values.sum(axis=1, keepdims=True)))

    def probabilities(self, X: Array) -> Array:
        """Class probabilities, shape (N, K)."""
        x = X.astype(np.float32)  # scikit-learn compares values of 32 bits with thresholds of 64
        total = np.zeros((len(x), self.values.shape[1]))
        starts = np.r_[0, np.cumsum(self.sizes)]
        for start, end in itertools.pairwise(starts):
            tree = {name: self.nodes[name][start:end] for name in FIELDS}
            children = np.stack([tree["right"], tree["left"]], axis=1)
            leaf, missing_left = tree["left"] == LEAF, tree["missing_left"] != 0
            total += self.values[start + leaves(children, tree["feature"], tree["threshold"], missing_left, leaf, x)]
        return np.asarray(total / total.sum(axis=1, keepdims=True))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> StoredForest:
        """Back from the arrays of a file; raises ValueError when they cannot be a forest."""
        nodes, sizes, values = arrays["nodes"], arrays["sizes"], arrays["values"]
        if nodes.dtype != np.dtype(list(FIELDS.items())) or sizes.dtype.kind != "i" or values.dtype.kind != "f":
            raise ValueError("its arrays cannot be those of a forest")
        if nodes.ndim != 1 or sizes.ndim != 1 or values.ndim != 2 or not len(sizes) or (sizes < 1).any():
            raise ValueError("its arrays cannot be those of a forest")
        if sizes.sum() != len(nodes) or len(values) != len(nodes):
            raise ValueError("the nodes of the forest do not fit together")
        if not (np.isfinite(values).all() and (values >= 0).all() and (values.sum(axis=1) > 0).all()):
            raise ValueError("the values of the forest are no probabilities")
        size = np.repeat(sizes, sizes)
        own = np.arange(len(nodes)) - np.repeat(np.r_[0, np.cumsum(sizes)[:-1]], sizes)
        inner = nodes["left"] != LEAF
        for side in ("left", "right"):  # children come later in the same tree: no walk can run in a circle
            if ((nodes[side] <= own) | (nodes[side] >= size))[inner].any():
                raise ValueError("a node of the forest points to where no child can be")
        if (nodes["feature"][inner] < 0).any():
            raise ValueError("a node of the forest asks for a feature that does not exist")
        return cls(nodes, sizes, values)


def _unbinned(nodes: NDArray[Any], edges: list[Array]) -> Array:
    """Thresholds in the feature of nodes whose thresholds are numbers of bins.

    The bin of x is the number of edges below x, so "bin <= t" is "x <= edge number floor(t)".
    """
    found = nodes["threshold"].copy()
    for feature, inner in enumerate(edges):
        mine = (nodes["left"] != LEAF) & (nodes["feature"] == feature)
        place = np.floor(found[mine]).astype(np.int64)
        found[mine] = np.r_[inner, np.inf][np.clip(place, 0, len(inner))] if len(inner) else np.inf
    return np.asarray(found)


def _asked(forest: Any, X: Array, y: Labels, weights: Array, tables: Sequence[Array]) -> list[Array]:
    """As `predict_proba` of an untrained forest of scikit-learn that is fitted, to the last bit.

    Of millions of events a tree takes many megabytes, so it is asked and dropped. Trees are asked in their order.
    """
    if isinstance(forest, QuantileBinned):
        forest.learn_bins(X)
        return _asked(forest.estimator, forest.bins_of(X), y, weights, [forest.bins_of(table) for table in tables])
    x = [np.ascontiguousarray(table, np.float32) for table in tables]  # as scikit-learn does
    totals = [np.zeros((len(table), 2)) for table in tables]
    trees = forest.n_estimators
    forest.set_params(warm_start=True)
    for first in range(0, trees, TREES):
        forest.set_params(n_estimators=min(first + TREES, trees)).fit(X, y, sample_weight=weights)
        for tree in forest.estimators_[first:]:
            for total, table in zip(totals, x, strict=True):
                total += tree.predict_proba(table, check_input=False)
        forest.estimators_ = [None] * len(forest.estimators_)  # only their number is looked at
    return [total / trees for total in totals]


def _nodes(tree: Any) -> NDArray[Any]:
    nodes = np.zeros(tree.node_count, dtype=list(FIELDS.items()))
    nodes["left"], nodes["right"] = tree.children_left, tree.children_right
    nodes["feature"], nodes["threshold"] = tree.feature, tree.threshold
    nodes["missing_left"] = tree.missing_go_to_left
    return nodes


@dataclasses.dataclass(unsafe_hash=True)
class RandomForest(Classifier):
    """Trees on bootstrap samples that take the best cut of a few features (Breiman, Mach. Learn. 45 (2001) 5).

    `trees`: of the forest; `leaf_events`: events that a leaf needs; `features`: fraction of the features that a split
    chooses among.

    Examples:
        >>> bumpfit.scoring.RandomForest(trees=10)
        RandomForest(trees=10, leaf_events=50, features=0.5)
    """

    kind: ClassVar[str] = "forest"
    trees: int = 60
    leaf_events: int = 50
    features: float = 0.5

    def estimator(self, seed: int) -> Estimator:
        """One untrained forest of scikit-learn; raises InputError for settings out of range."""
        from sklearn.ensemble import RandomForestClassifier

        model: Estimator = RandomForestClassifier(**self._settings(), random_state=seed)
        return model

    def asked(self, seed: int, X: Array, y: Labels, weights: Array, tables: Sequence[Array]) -> list[Array]:
        """Class probabilities of each table by a forest of which only some trees are there at a time."""
        return _asked(self.estimator(seed), X, y, weights, tables)

    def _settings(self) -> dict[str, Any]:
        if self.trees < 1 or self.leaf_events < 1 or not 0 < self.features <= 1:
            raise InputError(
                f"trees {self.trees}, leaf_events {self.leaf_events}, features {self.features}; expected 1 or more "
                "trees and events, and a fraction above 0 of the features"
            )
        return {
            "n_estimators": self.trees,
            "min_samples_leaf": self.leaf_events,
            "max_features": float(self.features),
        }

    def _train(self, features: Array, index: Labels, weights: Array, seed: int) -> None:
        with threadpool_limits(1):
            model = self.estimator(seed).fit(features, index, sample_weight=weights / weights.mean())
        self.forest_ = StoredForest.of(model)

    def _probabilities(self, features: Array) -> Array:
        return self.forest_.probabilities(features)

    def _state(self) -> State:
        forest = self.forest_
        return State(arrays={"nodes": forest.nodes, "sizes": forest.sizes, "values": forest.values})

    def _restore(self, state: State) -> None:
        self.forest_ = StoredForest.from_arrays(state.arrays)
        if (self.forest_.nodes["feature"] >= self.n_features_in_).any():
            raise ValueError("a node of the forest asks for a feature that does not exist")
        if self.forest_.values.shape[1] != len(self.classes_):
            raise ValueError("the values of the forest do not fit to its classes")


@dataclasses.dataclass(unsafe_hash=True)
class ExtraTrees(RandomForest):
    """Extremely randomised trees: cuts at random places, on all events (Geurts et al., Mach. Learn. 63 (2006) 3).

    `bins`: quantile bins of each feature, so that random places are random quantiles: a feature with a long tail is
    cut where its events are.

    Examples:
        >>> bumpfit.scoring.ExtraTrees(trees=10)
        ExtraTrees(trees=10, leaf_events=50, features=1.0, bins=512)
    """

    kind: ClassVar[str] = "extra_trees"
    features: float = 1.0
    bins: int = 512

    def estimator(self, seed: int) -> Estimator:
        """One untrained `ExtraTreesClassifier` on bins; raises InputError for settings out of range."""
        from sklearn.ensemble import ExtraTreesClassifier

        if self.bins < 2:
            raise InputError(f"bins is {self.bins}; expected 2 or more")
        return QuantileBinned(ExtraTreesClassifier(**self._settings(), random_state=seed), self.bins, single=True)
