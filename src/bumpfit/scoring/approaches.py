"""Boosted trees, and ensembles of any approach that tell two samples apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bumpfit.errors import InputError
from bumpfit.scoring.classifier import Classifier, Estimator, Labels, State
from bumpfit.scoring.trees import LightTrees, StoredTrees, binned

Array = NDArray[np.float64]
LEAST = 5  # events of a class, so that some can be held out to stop early
SURE = 1e-6  # probabilities nearer to 0 and 1 are taken for this: one model that is sure does not outvote all others


class QuantileBinned:
    """An estimator that sees the number of each feature's quantile bin instead of its value; missing values stay NaN.

    Trees split on bins anyway. Binning here, without weights, spares scikit-learn's weighted percentiles, which take
    most of the training time of `HistGradientBoostingClassifier` when sample weights are given. `single`: values are
    taken with 32 bits, as a stored forest takes them; an event at an edge is in the same bin in both then.
    """

    def __init__(self, estimator: Estimator, bins: int = 255, *, single: bool = False) -> None:
        self.estimator = estimator
        self.bins = bins
        self.single = single
        self.edges: list[Array] = []

    def fit(self, X: Array, y: NDArray[np.int64], sample_weight: Array | None = None) -> QuantileBinned:
        """Find the bins, then learn."""
        self.learn_bins(X)
        self.estimator.fit(self.bins_of(X), y, sample_weight=sample_weight)
        return self

    def predict_proba(self, X: Array) -> Array:
        """Class probabilities, shape (N, 2)."""
        return self.estimator.predict_proba(self.bins_of(X))

    def learn_bins(self, X: Array) -> None:
        """Find the bins."""
        levels = np.linspace(0, 1, self.bins + 1)[1:-1]
        self.edges = []
        for column in X.T:
            values = self._taken(column[~np.isnan(column)])
            found = np.quantile(values, levels, method="averaged_inverted_cdf") if len(values) else values
            self.edges.append(np.unique(found))

    def bins_of(self, X: Array) -> Array:
        """Numbers of the bins of all values, shape of X."""
        return np.asarray(binned(self._taken(X), self.edges, single=self.single))

    def _taken(self, X: Array) -> Array:
        return X.astype(np.float32).astype(np.float64) if self.single else X


@dataclasses.dataclass(unsafe_hash=True)
class BoostedTrees(Classifier):
    """Histogram-based gradient-boosted trees, stopped early on a random validation part; several models averaged.

    Trees on a handful of physics features learn weak signals better than networks and survive features without
    information (Finke et al., Phys. Rev. D 109 (2024) 034033, arXiv:2309.13111). `backend`: "sklearn"
    (`HistGradientBoostingClassifier` on quantile bins) or "lightgbm". A missing value goes to the side of a split where
    it lowers the loss.

    Examples:
        >>> bumpfit.scoring.BoostedTrees(models=2).leaves
        31
    """

    kind: ClassVar[str] = "trees"

    models: int = 4
    learning_rate: float = 0.08
    iterations: int = 200
    leaves: int = 31
    leaf_events: int = 50
    l2: float = 1.0
    validation_fraction: float = 0.3
    patience: int = 10

    backend: str = "sklearn"

    def estimator(self, seed: int) -> Estimator:
        """One untrained model of the backend; raises InputError for settings out of range."""
        self._check()
        if self.backend == "lightgbm":
            settings = {
                "learning_rate": self.learning_rate,
                "num_leaves": self.leaves,
                "min_data_in_leaf": self.leaf_events,
                "lambda_l2": self.l2,
            }
            return LightTrees(settings, self.iterations, self.validation_fraction, self.patience, seed)
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

    def _check(self) -> None:
        if self.backend not in ("sklearn", "lightgbm"):
            raise InputError(f"the backend is '{self.backend}'; expected sklearn or lightgbm")
        if self.models < 1:
            raise InputError(f"there are {self.models} models to average; expected at least 1")
        for name, least in (("iterations", 1), ("leaves", 2), ("leaf_events", 1), ("patience", 1), ("l2", 0)):
            value = getattr(self, name)
            if not least <= value < np.inf:
                raise InputError(f"{name} is {value}; expected {least} or more")
        if not 0 < self.learning_rate < np.inf:
            raise InputError(f"learning_rate is {self.learning_rate}; expected a number above 0")
        if not 0 < self.validation_fraction < 1:
            raise InputError(f"validation_fraction is {self.validation_fraction}; expected a fraction between 0 and 1")

    def _train(self, features: Array, index: Labels, weights: Array, seed: int) -> None:
        require_events(index, self.classes_)
        self._check()
        held, classes = int(np.ceil(self.validation_fraction * len(index))), len(self.classes_)
        if not classes <= held <= len(index) - classes:
            raise InputError(
                f"validation_fraction {self.validation_fraction} holds out {held} of {len(index)} events; expected at "
                f"least {classes} on both sides, one of each class"
            )
        seeds = np.random.SeedSequence(seed).generate_state(self.models)
        with threadpool_limits(1):
            self.members_: tuple[Any, ...] = tuple(
                self.estimator(int(s)).fit(features, index, sample_weight=weights / weights.mean()) for s in seeds
            )

    def _probabilities(self, features: Array) -> Array:
        """Geometric mean of the members: log odds are averaged."""
        with threadpool_limits(1):
            return mean_log_odds([member.predict_proba(features) for member in self.members_])

    def _state(self) -> State:
        if self.backend == "lightgbm":
            return State(files={f"member{i}.txt": m.text().encode() for i, m in enumerate(self.members_)})
        arrays: dict[str, NDArray[Any]] = {}
        for i, member in enumerate(self.members_):
            stored = member if isinstance(member, StoredTrees) else StoredTrees.of(member.edges, member.estimator)
            arrays |= {f"member{i}_{name}": array for name, array in stored.arrays().items()}
        return State(arrays=arrays)

    def _restore(self, state: State) -> None:
        if self.models < 1:
            raise ValueError(f"it says that it has {self.models} models")
        if self.backend == "lightgbm":
            texts = [state.files[f"member{i}.txt"].decode() for i in range(self.models)]
            self.members_ = tuple(LightTrees.from_text(text) for text in texts)
            return
        named = (  # one after the other: a wrong number of models ends at the first that is missing
            {name.removeprefix(f"member{i}_"): a for name, a in state.arrays.items() if name.startswith(f"member{i}_")}
            for i in range(self.models)
        )
        self.members_ = tuple(StoredTrees.from_arrays(arrays) for arrays in named)


def mean_log_odds(probabilities: Sequence[Array], least: float = 1e-12) -> Array:
    """Class probabilities (N, K) from those of several models: log odds are averaged; `least` counts as 0."""
    mean = np.exp(np.mean([np.log(np.clip(p, least, 1.0)) for p in probabilities], axis=0))
    return np.asarray(mean / mean.sum(axis=1, keepdims=True))


def require_events(index: NDArray[np.integer[Any]], classes: NDArray[Any]) -> None:
    """Raise InputError when a class has too few events to hold some out for early stopping."""
    counts = np.bincount(index, minlength=len(classes))
    if counts.min() < LEAST:
        raise InputError(
            f"the class {classes[counts.argmin()]} has {counts.min()} events; expected at least {LEAST}, of which some "
            "are held out to stop the training in time"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Ensemble:
    """Trained models of one approach; `log_ratio` estimates ln p(x | class 1) / p(x | class 0).

    Examples:
        >>> import numpy as np
        >>> from bumpfit.scoring import BoostedTrees, train
        >>> rng = np.random.default_rng(1)
        >>> two, one = rng.normal(1.0, 1.0, (500, 1)), rng.normal(-1.0, 1.0, (500, 1))
        >>> trained = train(BoostedTrees(models=2), two, one, seed=1)
        >>> low, high = trained.log_ratio(np.array([[-1.0], [1.0]]))
        >>> bool(low < 0 < high)
        True
    """

    estimators: tuple[Estimator, ...]

    def log_ratio(self, features: Array) -> Array:
        """Average log odds at equal class weights, shape (N,); probabilities are kept away from 0 and 1."""
        if len(features) == 0:
            return np.empty(0)
        total = np.zeros(len(features))
        with threadpool_limits(1):
            for model in self.estimators:
                total += _log_odds(model.predict_proba(features))
        return total / len(self.estimators)


def train(approach: Classifier, positive: Array, negative: Array, seed: int, weights: Array | None = None) -> Ensemble:
    """Train an ensemble to tell `positive` (N, F) from `negative` (M, F), both classes with the same total weight.

    `weights` (N,) are relative weights of the positive events. Model i is seeded by the pair (seed, i).

    Examples:
        >>> import numpy as np
        >>> rng = np.random.default_rng(1)
        >>> signal, background = rng.normal(1.0, 1.0, (500, 2)), rng.normal(0.0, 1.0, (500, 2))
        >>> trees = bumpfit.scoring.BoostedTrees(models=1, iterations=20)
        >>> trained = bumpfit.scoring.train(trees, signal, background, seed=1)
        >>> bool(trained.log_ratio(signal).mean() > trained.log_ratio(background).mean())
        True
    """
    samples = _labelled(positive, negative, weights)
    seeds = np.random.SeedSequence(seed).generate_state(approach.models)
    with threadpool_limits(1):  # parallel over trainings, never inside one: the numbers depend on no thread count
        return Ensemble(tuple(approach.estimator(int(s)).fit(*samples) for s in seeds))


def log_ratios(
    approach: Classifier,
    positive: Array,
    negative: Array,
    tables: Sequence[Array],
    seed: int,
    weights: Array | None = None,
    negative_weights: Array | None = None,
) -> tuple[Array, ...]:
    """As `train(...).log_ratio` of each table, without keeping the models: one is trained, asked and dropped."""
    samples = _labelled(positive, negative, weights, negative_weights)
    asked = [table for table in tables if len(table)]
    totals = [np.zeros(len(table)) for table in asked]
    seeds = np.random.SeedSequence(seed).generate_state(approach.models)
    with threadpool_limits(1):
        for s in seeds:
            for total, p in zip(totals, approach.asked(int(s), *samples, asked), strict=True):
                total += _log_odds(p)
    found = iter(total / len(seeds) for total in totals)
    return tuple(next(found) if len(table) else np.empty(0) for table in tables)


def _log_odds(probabilities: Array) -> Array:
    """ln p / (1 - p) of class 1, shape (N,); probabilities are kept away from 0 and 1."""
    p = np.clip(probabilities[:, 1], SURE, 1 - SURE)
    return np.asarray(np.log(p / (1 - p)))


def _labelled(
    positive: Array, negative: Array, weights: Array | None, negative_weights: Array | None = None
) -> tuple[Array, Labels, Array]:
    """Features, labels and weights of both classes, of which each has half of the total."""
    if len(positive) < 2 or len(negative) < 2:
        raise InputError(
            f"training needs at least two events of each class; got {len(positive)} and {len(negative)} "
            "(take fewer folds, or wider mass windows)"
        )
    features = np.concatenate([positive, negative])
    labels = np.r_[np.ones(len(positive), np.int64), np.zeros(len(negative), np.int64)]
    shares = []
    for table, given in ((positive, weights), (negative, negative_weights)):
        w = np.ones(len(table)) if given is None else np.asarray(given, float)
        shares.append(w / w.mean() / (2 * len(w)))
    sample_weight = np.concatenate(shares) * len(features)
    return features, labels, sample_weight
