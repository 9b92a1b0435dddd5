"""Trees behind `BoostedTrees`: what scikit-learn's trees are as plain arrays, and LightGBM as another backend.

A stored model holds the nodes of every tree as numbers, not the objects of one version of scikit-learn: it can be read
by any version, runs no code, and gives the probabilities of the trained model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.recfunctions import repack_fields
from numpy.typing import NDArray
from scipy.special import expit, softmax

from bumpfit.errors import InputError, MissingExtraError

Array = NDArray[np.float64]
NODES = ("value", "feature_idx", "num_threshold", "missing_go_to_left", "left", "right", "is_leaf")


@dataclasses.dataclass(frozen=True, eq=False)
class StoredTrees:
    """Histogram-boosted trees on quantile bins, as arrays.

    `nodes` are all nodes of all trees one after the other, `sizes` (iterations, trees an iteration) their numbers,
    `baseline` (trees an iteration,) the raw prediction before the first tree, `edges` the bins of each feature.
    """

    edges: tuple[Array, ...]
    nodes: NDArray[Any]
    sizes: NDArray[np.int64]
    baseline: Array

    @classmethod
    def of(cls, edges: list[Array], model: Any) -> StoredTrees:
        """Take apart a trained `HistGradientBoostingClassifier` that sees the bins between `edges`."""
        predictors = model._predictors
        pieces = [tree.nodes[list(NODES)] for iteration in predictors for tree in iteration]
        sizes = np.array([[len(tree.nodes) for tree in iteration] for iteration in predictors], dtype=np.int64)
        return cls(
            tuple(np.asarray(e, dtype=np.float64) for e in edges),
            repack_fields(np.concatenate(pieces)),
            sizes,
            np.asarray(model._baseline_prediction, dtype=np.float64).ravel(),
        )

    def fit(self, X: Array, y: NDArray[np.int64], sample_weight: Array | None = None) -> StoredTrees:
        """Stored trees are trained already; raises InputError."""
        raise InputError("these trees were read from a file; make a new approach to train")

    def predict_proba(self, X: Array) -> Array:
        """Class probabilities, shape (N, K)."""
        x = binned(X, self.edges)
        raw = np.tile(self.baseline, (len(x), 1))
        starts = np.r_[0, np.cumsum(self.sizes.ravel())].astype(np.int64)
        for number in range(self.sizes.size):
            tree = self.nodes[starts[number] : starts[number + 1]]
            raw[:, number % self.sizes.shape[1]] += _values(tree, x)
        if raw.shape[1] > 1:
            return np.asarray(softmax(raw, axis=1))
        p = expit(raw[:, 0])
        return np.column_stack([1 - p, p])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of a file."""
        return {
            "edges": np.concatenate(self.edges),
            "edge_counts": np.array([len(e) for e in self.edges], dtype=np.int64),
            "nodes": self.nodes,
            "sizes": self.sizes,
            "baseline": self.baseline,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> StoredTrees:
        """Back from the arrays of a file; raises ValueError when they cannot be trees."""
        nodes, sizes, baseline = arrays["nodes"], arrays["sizes"], arrays["baseline"]
        numbers = {"edges": "f", "edge_counts": "i", "sizes": "i", "baseline": "f"}
        wrong = [name for name, kind in numbers.items() if arrays[name].dtype.kind != kind]
        if wrong or baseline.ndim != 1 or arrays["edges"].ndim != 1 or arrays["edge_counts"].ndim != 1:
            raise ValueError(f"its {', '.join(wrong) or 'arrays'} cannot be those of trees")
        if (sizes < 1).any() or (arrays["edge_counts"] < 0).any() or sizes.shape[1:] != baseline.shape:
            raise ValueError("the sizes of the trees do not fit together")
        if arrays["edge_counts"].sum() != len(arrays["edges"]) or not np.isfinite(arrays["edges"]).all():
            raise ValueError("the edges of the trees do not fit together")
        if nodes.dtype.names != NODES or sizes.ndim != 2 or sizes.sum() != len(nodes):
            raise ValueError("the nodes of the trees do not fit together")
        tree_size = np.repeat(sizes.ravel(), sizes.ravel())
        own = np.arange(len(nodes)) - np.repeat(np.r_[0, np.cumsum(sizes.ravel())[:-1]], sizes.ravel())
        inner = nodes["is_leaf"] == 0
        for side in ("left", "right"):  # children come later in the same tree: no walk can run in a circle
            child = nodes[side].astype(np.int64)
            if ((child <= own) | (child >= tree_size))[inner].any():
                raise ValueError("a node of the trees points to where no child can be")
        features = len(arrays["edge_counts"])
        if (nodes["feature_idx"][inner] >= features).any() or (nodes["feature_idx"][inner] < 0).any():
            raise ValueError("a node of the trees asks for a feature that does not exist")
        edges = np.split(arrays["edges"], np.cumsum(arrays["edge_counts"])[:-1])
        return cls(tuple(edges), nodes, sizes, baseline)


def binned(features: Array, edges: Sequence[Array], *, single: bool = False) -> NDArray[np.floating[Any]]:
    """Number of the quantile bin of every value, of 32 bits if `single`; NaN stays NaN.

    A feature that training never saw is 0 for all.
    """
    found = np.zeros(features.shape, np.float32 if single else np.float64)
    for place, (column, inner) in enumerate(zip(features.T, edges, strict=True)):
        if len(inner):
            found[:, place] = np.searchsorted(inner, column, side="left")
            found[np.isnan(column), place] = np.nan
    return found


def _values(tree: NDArray[Any], x: NDArray[np.floating[Any]]) -> Array:
    """The value of the leaf that each event falls into."""
    field = {name: np.ascontiguousarray(tree[name]) for name in NODES}
    children = np.stack([field["right"], field["left"]], axis=1).astype(np.int64)
    feature = field["feature_idx"].astype(np.int64)
    at = leaves(children, feature, field["num_threshold"], field["missing_go_to_left"] != 0, field["is_leaf"] != 0, x)
    return np.asarray(field["value"][at], dtype=np.float64)


def leaves(
    children: NDArray[np.int64],
    feature: NDArray[np.int64],
    threshold: Array,
    missing_left: NDArray[np.bool_],
    leaf: NDArray[np.bool_],
    x: NDArray[np.floating[Any]],
) -> NDArray[np.int64]:
    """Number of the leaf of one tree that each event falls into, shape (N,); `children` (nodes, 2): right, left."""
    at = np.zeros(len(x), dtype=np.int64)
    rows = np.arange(len(x)) if not leaf[0] else np.empty(0, np.int64)
    while len(rows):
        node = at[rows]
        value = x[rows, feature[node]]
        left = (value <= threshold[node]) | (np.isnan(value) & missing_left[node])
        at[rows] = node = children[node, left.astype(np.int64)]
        rows = rows[~leaf[node]]
    return at


class LightTrees:
    """LightGBM's trees, stopped early on a random validation part of every class."""

    def __init__(
        self, settings: Mapping[str, Any], rounds: int, validation_fraction: float, patience: int, seed: int
    ) -> None:
        self.settings = dict(settings)
        self.rounds = rounds
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.seed = seed
        self.booster: Any = None

    def fit(self, X: Array, y: NDArray[np.int64], sample_weight: Array | None = None) -> LightTrees:
        """Learn."""
        lightgbm = _lightgbm()
        held = held_out(y, self.validation_fraction, np.random.default_rng(self.seed))
        w = np.ones(len(y)) if sample_weight is None else sample_weight
        several = {"objective": "multiclass", "num_class": int(y.max()) + 1}
        fixed = {"seed": self.seed, "deterministic": True, "force_row_wise": True, "num_threads": 1, "verbosity": -1}
        training = lightgbm.Dataset(X[~held], y[~held], weight=w[~held], free_raw_data=False)
        self.booster = lightgbm.train(
            {**self.settings, **fixed, **({"objective": "binary"} if y.max() == 1 else several)},
            training,
            num_boost_round=self.rounds,
            valid_sets=[lightgbm.Dataset(X[held], y[held], weight=w[held], reference=training)],
            callbacks=[lightgbm.early_stopping(self.patience, verbose=False)],
        )
        return self

    def predict_proba(self, X: Array) -> Array:
        """Class probabilities, shape (N, K)."""
        p = np.asarray(self.booster.predict(X, num_threads=1), dtype=np.float64)
        return np.column_stack([1 - p, p]) if p.ndim == 1 else p

    def text(self) -> str:
        """The model in LightGBM's own text format."""
        return str(self.booster.model_to_string(num_iteration=self.booster.best_iteration))

    @classmethod
    def from_text(cls, text: str) -> LightTrees:
        """Back from the text."""
        model, lightgbm = cls({}, 0, 0.0, 0, 0), _lightgbm()
        try:
            model.booster = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as error:
            raise ValueError(f"the text of the trees is damaged: {error}") from error
        return model


def held_out(y: NDArray[np.int64], fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A random part of the events of every class, at least one of each and never all, shape (N,)."""
    held = np.zeros(len(y), bool)
    for number in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == number))
        held[rows[: min(max(1, round(fraction * len(rows))), len(rows) - 1)]] = True
    return held


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ModuleNotFoundError as error:
        raise MissingExtraError("lightgbm", "lightgbm", "training with the backend lightgbm") from error
    return lightgbm
