"""Approaches: recipes that make scikit-learn classifiers of two samples."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bumpfit.errors import InputError

Array = NDArray[np.float64]


class Estimator(Protocol):
    """The part of scikit-learn's classifier interface that is used here."""

    def fit(self, X: Array, y: NDArray[np.int64], sample_weight: Array | None = None) -> Any:
        """Learn class 1 against class 0."""

    def predict_proba(self, X: Array) -> Array:
        """Class probabilities, shape (N, 2)."""


class Approach(Protocol):
    """A recipe: how many models an ensemble has, and how one model is made from a seed."""

    @property
    def models(self) -> int:
        """Models whose log odds are averaged."""

    def estimator(self, seed: int) -> Estimator:
        """An untrained classifier; the same seed gives the same model."""


class QuantileBinned:
    """An estimator that sees the number of each feature's quantile bin instead of its value; missing values stay NaN.

    Trees split on bins anyway. Binning here, without weights, spares scikit-learn's weighted percentiles, which take
    most of the training time of `HistGradientBoostingClassifier` when sample weights are given.
    """

    def __init__(self, estimator: Estimator, bins: int = 255) -> None:
        self.estimator = estimator
        self.bins = bins
        self.edges: list[Array] = []

    def fit(self, X: Array, y: NDArray[np.int64], sample_weight: Array | None = None) -> QuantileBinned:
        """Find the bins, then learn."""
        levels = np.linspace(0, 1, self.bins + 1)[1:-1]
        self.edges = [np.unique(np.nanquantile(column, levels, method="averaged_inverted_cdf")) for column in X.T]
        self.estimator.fit(self._binned(X), y, sample_weight=sample_weight)
        return self

    def predict_proba(self, X: Array) -> Array:
        """Class probabilities, shape (N, 2)."""
        return self.estimator.predict_proba(self._binned(X))

    def _binned(self, features: Array) -> Array:
        columns = [
            np.where(np.isnan(column), np.nan, np.searchsorted(edges, column, side="left"))
            for column, edges in zip(features.T, self.edges, strict=True)
        ]
        return np.column_stack(columns)


@dataclasses.dataclass(frozen=True)
class BoostedTrees:
    """Histogram-based gradient-boosted trees of scikit-learn, stopped early on a random validation part.

    Trees on a handful of physics features learn weak signals better than networks and survive features without
    information (Finke et al., Phys. Rev. D 109 (2024) 034033, arXiv:2309.13111).
    """

    models: int = 4
    learning_rate: float = 0.08
    iterations: int = 200
    leaves: int = 31
    leaf_events: int = 50
    l2: float = 1.0
    validation_fraction: float = 0.3
    patience: int = 10

    def estimator(self, seed: int) -> Estimator:
        """One untrained `HistGradientBoostingClassifier` on quantile bins."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        return QuantileBinned(
            HistGradientBoostingClassifier(
                learning_rate=self.learning_rate,
                max_iter=self.iterations,
                max_leaf_nodes=self.leaves,
                min_samples_leaf=self.leaf_events,
                l2_regularization=self.l2,
                early_stopping=True,
                validation_fraction=self.validation_fraction,
                n_iter_no_change=self.patience,
                random_state=seed,
            )
        )


@dataclasses.dataclass(frozen=True)
class RandomForest:
    """Extremely randomised trees: an approach of another kind (averaging, not boosting) for cross-checks."""

    models: int = 1
    trees: int = 60
    leaf_events: int = 50

    def estimator(self, seed: int) -> Estimator:
        """One untrained `ExtraTreesClassifier`."""
        from sklearn.ensemble import ExtraTreesClassifier

        model: Estimator = ExtraTreesClassifier(
            n_estimators=self.trees, min_samples_leaf=self.leaf_events, max_features=None, random_state=seed
        )
        return model


APPROACHES: dict[str, type[BoostedTrees] | type[RandomForest]] = {"trees": BoostedTrees, "forest": RandomForest}


def approach(name: str, **settings: Any) -> Approach:
    """The approach of this name; raises InputError for an unknown name or setting."""
    if name not in APPROACHES:
        raise InputError(f"there is no approach '{name}'; known: {', '.join(sorted(APPROACHES))}")
    known = [field.name for field in dataclasses.fields(APPROACHES[name])]
    for key in settings:
        if key not in known:
            raise InputError(f"the approach '{name}' has no setting '{key}'; it has {', '.join(known)}")
    return APPROACHES[name](**settings)


@dataclasses.dataclass(frozen=True, eq=False)
class Ensemble:
    """Trained models of one approach; `log_ratio` estimates ln p(x | class 1) / p(x | class 0)."""

    estimators: tuple[Estimator, ...]

    def log_ratio(self, features: Array) -> Array:
        """Average log odds at equal class weights, shape (N,); probabilities are kept away from 0 and 1."""
        if len(features) == 0:
            return np.empty(0)
        total = np.zeros(len(features))
        with threadpool_limits(1):
            for model in self.estimators:
                p = np.clip(model.predict_proba(features)[:, 1], 1e-6, 1 - 1e-6)
                total += np.log(p / (1 - p))
        return total / len(self.estimators)


def train(approach: Approach, positive: Array, negative: Array, seed: int, weights: Array | None = None) -> Ensemble:
    """Train an ensemble to tell `positive` (N, F) from `negative` (M, F), both classes with the same total weight.

    `weights` (N,) are relative weights of the positive events. Model i is seeded by the pair (seed, i).
    """
    if len(positive) < 2 or len(negative) < 2:
        raise InputError(
            f"training needs at least two events of each class; got {len(positive)} and {len(negative)} "
            "(take fewer folds, or wider mass windows)"
        )
    features = np.concatenate([positive, negative])
    labels = np.r_[np.ones(len(positive), np.int64), np.zeros(len(negative), np.int64)]
    w = np.ones(len(positive)) if weights is None else np.asarray(weights, float)
    sample_weight = np.r_[w / w.mean() / (2 * len(w)), np.full(len(negative), 0.5 / len(negative))] * len(features)
    seeds = np.random.SeedSequence(seed).generate_state(approach.models)
    with threadpool_limits(1):  # parallel over trainings, never inside one: the numbers depend on no thread count
        return Ensemble(
            tuple(approach.estimator(int(s)).fit(features, labels, sample_weight=sample_weight) for s in seeds)
        )
