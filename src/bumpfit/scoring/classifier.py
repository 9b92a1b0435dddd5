"""One interface for every approach: scikit-learn's fit and predict_proba, with sample weights and missing values.

An approach is a record of settings (a dataclass). `fit` learns and returns the approach itself, now trained; the seed
is an argument of `fit`, so that the settings say what is learned and the caller says with which randomness.
"""

from __future__ import annotations

import abc
import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class State:
    """What a trained approach is, besides its settings: plain numbers and texts, arrays, and ready-made files."""

    plain: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = dataclasses.field(default_factory=dict)
    files: Mapping[str, bytes] = dataclasses.field(default_factory=dict)


class Estimator(Protocol):
    """The part of scikit-learn's classifier interface that is used here."""

    def fit(self, X: Array, y: NDArray[np.int64], sample_weight: Array | None = None) -> Any:
        """Learn class 1 against class 0."""

    def predict_proba(self, X: Array) -> Array:
        """Class probabilities, shape (N, 2)."""


class Classifier(abc.ABC):
    """Base of the approaches. `classes_` (K,) and `n_features_in_` exist once it is trained.

    Examples:
        >>> issubclass(bumpfit.scoring.BoostedTrees, bumpfit.scoring.Classifier)
        True
    """

    kind: ClassVar[str]
    dimensions: ClassVar[int] = 2
    classes_: NDArray[Any]
    n_features_in_: int
    _shape: tuple[int, ...]
    models: int = 1
    """Models of an ensemble that tells two samples apart; their log odds are averaged."""

    def estimator(self, seed: int) -> Estimator:
        """One untrained model; the same seed gives the same model. Raises InputError for settings out of range."""
        return Seeded(copy.deepcopy(self), seed)

    def asked(self, seed: int, X: Array, y: Labels, weights: Array, tables: Sequence[Array]) -> list[Array]:
        """Class probabilities, shape (N, 2), of each table by a model that learns from X and is not kept."""
        model = self.estimator(seed).fit(X, y, sample_weight=weights)
        return [model.predict_proba(table) for table in tables]

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, *, seed: int = 0) -> Self:
        """Learn to tell the classes.

        Args:
            X: features, shape (N, F), or images, shape (N, rows, columns); NaN where a value is missing.
            y: class of each event, shape (N,); two different values or more.
            sample_weight: weights, shape (N,), 0 or more; 1 by default.
            seed: of every random choice; the same seed gives the same model.

        Raises:
            InputError: shapes that do not match, infinite features, a single class, a class without weight, negative or
                non-finite weights.
        """
        features = checked_features(X, self.dimensions)
        self.classes_, index = checked_classes(y, len(features))
        weights = checked_weights(sample_weight, index, self.classes_)
        if seed < 0:
            raise InputError(f"the seed is {seed}; expected 0 or more")
        self._shape, self.n_features_in_ = features.shape[1:], features.shape[1]
        self._train(features, index.astype(np.int64), weights, seed)
        return self

    def predict_proba(self, X: ArrayLike) -> Array:
        """Class probabilities, shape (N, K), columns in the order of `classes_`; rows add up to 1.

        Raises:
            InputError: not trained yet, or features of another shape than those of `fit`.
        """
        self._require_trained()
        features = checked_features(X, self.dimensions, may_be_empty=True)
        if features.shape[1:] != self._shape:
            raise InputError(
                f"events have the shape {features.shape[1:]}, but the approach was trained on {self._shape}; "
                "give the same features in the same order"
            )
        return self._probabilities(features) if len(features) else np.empty((0, len(self.classes_)))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The most probable class of each event, shape (N,)."""
        probabilities = self.predict_proba(X)
        return np.asarray(self.classes_[probabilities.argmax(axis=1)])

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Weighted fraction of events whose class is predicted rightly (scikit-learn's default score)."""
        right = self.predict(X) == np.asarray(y)
        return float(np.average(right, weights=None if sample_weight is None else np.asarray(sample_weight)))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name, as scikit-learn asks for them."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]

    def set_params(self, **settings: Any) -> Self:
        """Change settings; raises InputError for one that does not exist."""
        check_settings(type(self), settings)
        for name, value in settings.items():
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(allow_nan=True, two_d_array=self.dimensions == 2, three_d_array=self.dimensions == 3),
        )

    def state(self) -> State:
        """What the trained approach is, for a file; `restore` takes it back."""
        self._require_trained()
        inner = self._state()
        plain = {"classes": self.classes_.tolist(), "shape": list(self._shape), **inner.plain}
        return dataclasses.replace(inner, plain=plain)

    def restore(self, state: State) -> Self:
        """Become the approach that `state` was taken from (settings are those of the constructor)."""
        self.classes_ = np.array(state.plain["classes"])
        self._shape = tuple(int(size) for size in state.plain["shape"])
        self.n_features_in_ = self._shape[0]
        self._restore(state)
        return self

    def _require_trained(self) -> None:
        if not hasattr(self, "classes_"):
            raise InputError(f"the approach {type(self).__name__} is not trained yet; call fit first")

    @abc.abstractmethod
    def _train(self, features: Array, index: Labels, weights: Array, seed: int) -> None:
        """Learn from checked input; `index` (N,) are positions in `classes_`."""

    @abc.abstractmethod
    def _probabilities(self, features: Array) -> Array:
        """Class probabilities of at least one event."""

    @abc.abstractmethod
    def _state(self) -> State:
        """What was learned."""

    @abc.abstractmethod
    def _restore(self, state: State) -> None:
        """Take back what was learned."""


@dataclasses.dataclass(frozen=True)
class Seeded:
    """An approach with its seed."""

    approach: Classifier
    seed: int

    def fit(self, X: Array, y: Labels, sample_weight: Array | None = None) -> Classifier:
        """Learn class 1 against class 0; the trained approach."""
        return self.approach.fit(X, y, sample_weight, seed=self.seed)

    def predict_proba(self, X: Array) -> Array:
        """Class probabilities, shape (N, 2)."""
        return self.approach.predict_proba(X)


def checked_features(X: ArrayLike, dimensions: int, *, may_be_empty: bool = False) -> Array:
    """Features as numbers; raises InputError for another number of axes, no events or infinities."""
    try:
        features = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"features must be numbers: {error}") from error
    expected = "(events, features)" if dimensions == 2 else "(events, rows, columns)"
    if features.ndim != dimensions:
        raise InputError(f"features have the shape {features.shape}; expected {expected}")
    if 0 in features.shape[1:] or (not len(features) and not may_be_empty):
        raise InputError(f"features have the shape {features.shape}: there is nothing to learn from")
    infinite = int(np.isinf(features).sum())
    if infinite:
        raise InputError(f"{infinite} features are infinite; expected numbers, or NaN where a value is missing")
    return features


def checked_classes(y: ArrayLike, n: int) -> tuple[NDArray[Any], Labels]:
    """The different classes, sorted, and the number of each event's class; raises InputError for fewer than two."""
    labels = np.asarray(y)
    if labels.shape != (n,):
        raise InputError(f"there are {n} events and classes of shape {labels.shape}; expected one class an event")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InputError(f"{int((~np.isfinite(labels)).sum())} classes are not finite numbers")
    classes, index = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"all events are of class {classes[0]}; expected events of at least two classes")
    return classes, np.asarray(index, dtype=np.int64)


def checked_weights(weights: ArrayLike | None, index: Labels, classes: NDArray[Any]) -> Array:
    """Weights as numbers, 1 by default; raises InputError when negative, not finite, or none left in a class."""
    if weights is None:
        return np.ones(len(index))
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != index.shape:
        raise InputError(f"there are {len(index)} events and weights of shape {w.shape}; expected one weight an event")
    bad = int((~np.isfinite(w)).sum())
    if bad:
        raise InputError(f"{bad} weights are not finite; expected 0 or more")
    if (w < 0).any():
        raise InputError(
            f"{int((w < 0).sum())} weights are negative; no approach learns from them: take their absolute values, or "
            "drop those events"
        )
    total = np.bincount(index, w, minlength=len(classes))
    if (total <= 0).any():
        raise InputError(f"the class {classes[total.argmin()]} has no events with weight; every class needs some")
    return w


def check_settings(approach: type, settings: Mapping[str, Any]) -> None:
    """Raise InputError for a setting that the approach does not have."""
    known = [field.name for field in dataclasses.fields(approach)]
    for name in settings:
        if name not in known:
            raise InputError(f"{approach.__name__} has no setting '{name}'; it has {', '.join(known)}")


def balanced(weights: ArrayLike | None, y: ArrayLike) -> Array:
    """Weights scaled so that every class has the same total, and 1 on average, shape (N,).

    A classifier of simulated classes should learn their shapes; how many events of each are expected enters later.

    Examples:
        >>> bumpfit.scoring.balanced(None, [0, 0, 0, 1]).round(3).tolist()
        [0.667, 0.667, 0.667, 2.0]
    """
    classes, index = checked_classes(y, len(np.asarray(y)))
    w = checked_weights(weights, index, classes)
    total = np.bincount(index, w, minlength=len(classes))
    return np.asarray(w * (len(w) / (len(classes) * total))[index], dtype=np.float64)
