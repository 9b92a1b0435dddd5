"""Networks: a multi-layer perceptron on observables and a convolutional network on images (PyTorch, extra `deep`).

Both are trained by Adam on the weighted cross-entropy, on one thread and with random numbers of their own, so that a
seed gives the same model on one machine; a part of every class is held out, the training stops when its loss has not
fallen for `patience` epochs, and the weights of the best epoch are kept.
"""

from __future__ import annotations

import abc
import contextlib
import copy
import dataclasses
import importlib
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError, MissingExtraError
from bumpfit.progress import bar
from bumpfit.scoring.approaches import require_events
from bumpfit.scoring.classifier import Array, Classifier, Labels, State
from bumpfit.scoring.trees import held_out

FAR = 10.0  # standard deviations at which inputs are cut off: beyond, a network extrapolates a straight line
BATCH = 4096  # events at a time when scoring; no number depends on it
NORMALISATIONS = ("max", "log")


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise MissingExtraError("torch", "deep", "a network") from error
    return torch


def _safetensors(part: str = "") -> Any:
    try:
        return importlib.import_module("safetensors" + (f".{part}" if part else ""))
    except ModuleNotFoundError as error:
        raise MissingExtraError("safetensors", "deep", "a file of a network") from error


@contextlib.contextmanager
def _alone(seed: int | None = None) -> Iterator[Any]:
    """PyTorch on one thread, with random numbers from the seed; what others see of both is left as it was."""
    torch = _torch()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.manual_seed(seed)
            yield torch
    finally:
        torch.set_num_threads(threads)


class Network(Classifier):
    """What the networks share: training, early stopping, scoring, files."""

    learning_rate: float
    epochs: int
    batch: int
    patience: int
    validation_fraction: float
    decay: float
    history_: tuple[dict[str, float], ...]

    @abc.abstractmethod
    def _prepare(self, features: Array, weights: Array) -> None:
        """Learn how features are turned to inputs."""

    @abc.abstractmethod
    def _inputs(self, features: Array) -> NDArray[np.float32]:
        """Features as inputs of the network, without missing values."""

    @abc.abstractmethod
    def _build(self, torch: Any) -> Any:
        """The untrained network: inputs to logits (N, K)."""

    @abc.abstractmethod
    def _check(self) -> None:
        """Raise InputError for settings out of range."""

    def _train(self, features: Array, index: Labels, weights: Array, seed: int) -> None:
        _torch()
        require_events(index, self.classes_)
        if not (self.learning_rate > 0 and 0 < self.validation_fraction < 1 and self.decay >= 0):
            raise InputError(
                f"learning_rate {self.learning_rate}, validation_fraction {self.validation_fraction}, decay "
                f"{self.decay}; expected a positive rate, a fraction between 0 and 1 and a decay of 0 or more"
            )
        if min(self.epochs, self.batch, self.patience) < 1:
            raise InputError(f"epochs {self.epochs}, batch {self.batch}, patience {self.patience}; expected 1 or more")
        self._check()
        held = held_out(index, self.validation_fraction, np.random.default_rng(seed))
        self._prepare(features[~held], weights[~held])
        x, w = self._inputs(features), (weights / weights[~held].mean()).astype(np.float32)
        with _alone(seed) as torch:
            self._net = self._build(torch)
            self._learn(torch, x, index, w, held)

    def _learn(self, torch: Any, x: NDArray[np.float32], y: Labels, w: NDArray[np.float32], held: Any) -> None:
        inputs, targets, factors = torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(w)
        training, validation = (torch.from_numpy(np.flatnonzero(rows)) for rows in (~held, held))
        optimiser = torch.optim.AdamW(self._net.parameters(), lr=self.learning_rate, weight_decay=self.decay)
        loss = torch.nn.CrossEntropyLoss(reduction="none")
        best, kept, waited, history = np.inf, copy.deepcopy(self._net.state_dict()), 0, []
        with bar(f"training {type(self).__name__}", self.epochs) as advance:
            for _ in range(self.epochs):
                self._net.train()
                total = 0.0
                for rows in training[torch.randperm(len(training))].split(self.batch):
                    optimiser.zero_grad()
                    value = (loss(self._net(inputs[rows]), targets[rows]) * factors[rows]).sum() / len(rows)
                    value.backward()
                    optimiser.step()
                    total += float(value.detach()) * len(rows)
                self._net.eval()
                with torch.no_grad():
                    lost = sum(
                        float((loss(self._net(inputs[rows]), targets[rows]) * factors[rows]).sum())
                        for rows in validation.split(BATCH)
                    )
                now = lost / max(float(factors[validation].sum()), 1e-30)
                history.append({"training": total / len(training), "validation": now})
                advance(1, f"validation loss {now:.4f}")
                if now < best:
                    best, kept, waited = now, copy.deepcopy(self._net.state_dict()), 0
                else:
                    waited += 1
                if waited >= self.patience:
                    break
        if not np.isfinite(best):
            raise InputError("the loss of the network is not finite from the first epoch on; lower learning_rate")
        self._net.load_state_dict(kept)
        self._net.eval()
        self.history_ = tuple(history)

    def _probabilities(self, features: Array) -> Array:
        pieces = []
        with _alone() as torch, torch.no_grad():
            for start in range(0, len(features), BATCH):
                logits = self._net(torch.from_numpy(self._inputs(features[start : start + BATCH])))
                pieces.append(torch.softmax(logits.double(), dim=1).numpy())
        return np.concatenate(pieces)

    def _state(self) -> State:
        weights = {name: tensor.numpy() for name, tensor in self._net.state_dict().items()}
        history = [dict(epoch) for epoch in self.history_]
        return State({"history": history}, {}, {"weights.safetensors": _safetensors("numpy").save(weights)})

    def _restore(self, state: State) -> None:
        try:
            weights = _safetensors("numpy").load(state.files["weights.safetensors"])
        except _safetensors().SafetensorError as error:
            raise ValueError(f"the weights of the network are damaged: {error}") from error
        with _alone(0) as torch:
            # "meta" takes no memory: settings that do not fit to the weights may ask for layers of any size, or of none
            with torch.device("meta"), warnings.catch_warnings(action="ignore"):
                self._net = self._build(torch)
            self._net.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()}, assign=True)
            self._net.eval()
        self.history_ = tuple(state.plain["history"])


@dataclasses.dataclass(unsafe_hash=True)
class MLP(Network):
    """A multi-layer perceptron on observables, each standardised by its mean and deviation in training.

    A missing value is replaced by the mean, and a further input says that it was missing. `hidden`: widths of the
    layers (those of HEP ML Lab's SimpleMLP by default); `dropout`: fraction of units left out in training.

    Examples:
        >>> bumpfit.scoring.MLP(hidden=(16, 16)).hidden
        (16, 16)
    """

    kind: ClassVar[str] = "mlp"
    hidden: tuple[int, ...] = (32, 64, 32)
    dropout: float = 0.0
    learning_rate: float = 1e-3
    epochs: int = 200
    batch: int = 128
    patience: int = 15
    validation_fraction: float = 0.2
    decay: float = 1e-4

    def __post_init__(self) -> None:
        self.hidden = tuple(self.hidden)

    def _check(self) -> None:
        if not self.hidden or min(self.hidden) < 1 or not 0 <= self.dropout < 1:
            raise InputError(
                f"hidden {self.hidden}, dropout {self.dropout}; expected layers of 1 unit or more and a fraction"
            )

    def _prepare(self, features: Array, weights: Array) -> None:
        known = ~np.isnan(features)
        w = weights[:, None] * known
        total = np.maximum(w.sum(axis=0), 1e-300)
        filled = np.where(known, features, 0.0)
        self.mean_ = (w * filled).sum(axis=0) / total
        spread = np.sqrt((w * np.where(known, features - self.mean_, 0.0) ** 2).sum(axis=0) / total)
        self.spread_ = np.where(spread > 0, spread, 1.0)
        self.missing_ = np.flatnonzero((~known).any(axis=0))

    def _inputs(self, features: Array) -> NDArray[np.float32]:
        unknown = np.isnan(features)
        scaled = np.clip(np.where(unknown, 0.0, (features - self.mean_) / self.spread_), -FAR, FAR)
        return np.hstack([scaled, unknown[:, self.missing_]]).astype(np.float32)

    def _build(self, torch: Any) -> Any:
        nn = torch.nn
        layers: list[Any] = []
        width = len(self.mean_) + len(self.missing_)
        for units in self.hidden:
            layers += [nn.Linear(width, units), nn.ReLU(), *([nn.Dropout(self.dropout)] if self.dropout else [])]
            width = units
        return nn.Sequential(*layers, nn.Linear(width, len(self.classes_)))

    def _state(self) -> State:
        arrays = {"mean": self.mean_, "spread": self.spread_, "missing": self.missing_}
        return dataclasses.replace(super()._state(), arrays=arrays)

    def _restore(self, state: State) -> None:
        self.mean_, self.spread_, self.missing_ = (state.arrays[name] for name in ("mean", "spread", "missing"))
        super()._restore(state)


@dataclasses.dataclass(unsafe_hash=True)
class CNN(Network):
    """A convolutional network on images of one channel: 3 x 3 convolutions, each followed by pooling, then one layer.

    `normalisation`: "max" divides an image by its brightest pixel, "log" takes ln(1 + pixel) (pixels in GeV), then
    divides all by the largest of the training; a missing pixel is 0, negative ones count as 0. `filters`: of each
    convolution (those of HEP ML Lab's SimpleCNN by default); `hidden`: units of the layer between the last pooling
    and the answer, 0 for the mean of every filter instead, as SimpleCNN has it (where in the image something was
    seen is lost then).

    Examples:
        >>> bumpfit.scoring.CNN().filters
        (8, 16, 32)
    """

    kind: ClassVar[str] = "cnn"
    dimensions: ClassVar[int] = 3
    normalisation: str = "log"
    filters: tuple[int, ...] = (8, 16, 32)
    hidden: int = 64
    dropout: float = 0.3
    learning_rate: float = 1e-3
    epochs: int = 60
    batch: int = 128
    patience: int = 8
    validation_fraction: float = 0.2
    decay: float = 1e-4

    def __post_init__(self) -> None:
        self.filters = tuple(self.filters)

    def _check(self) -> None:
        if self.normalisation not in NORMALISATIONS:
            raise InputError(
                f"the normalisation is '{self.normalisation}'; expected one of {', '.join(NORMALISATIONS)}"
            )
        if not self.filters or min(self.filters) < 1 or self.hidden < 0 or not 0 <= self.dropout < 1:
            raise InputError(
                f"filters {self.filters}, hidden {self.hidden}, dropout {self.dropout}; expected convolutions of at "
                "least 1 filter, 0 or more units and a fraction below 1"
            )
        least = 2 ** len(self.filters)
        if min(self._shape) < least:
            raise InputError(
                f"images of {self._shape[0]} x {self._shape[1]} pixels are too small for {len(self.filters)} poolings; "
                f"expected at least {least} x {least}, or fewer filters"
            )

    def _prepare(self, features: Array, weights: Array) -> None:
        self.scale_ = 1.0
        self.scale_ = float(self._inputs(features).max()) or 1.0

    def _inputs(self, features: Array) -> NDArray[np.float32]:
        pixels = np.maximum(np.nan_to_num(features, nan=0.0), 0.0)
        if self.normalisation == "max":
            brightest = pixels.max(axis=(1, 2), keepdims=True)
            scaled = pixels / np.where(brightest > 0, brightest, 1.0)
        else:
            scaled = np.log1p(pixels)
        return (scaled / self.scale_).astype(np.float32)[:, None]

    def _build(self, torch: Any) -> Any:
        nn = torch.nn
        layers: list[Any] = []
        channels, size = 1, self._shape
        for filters in self.filters:
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
            channels, size = filters, (size[0] // 2, size[1] // 2)
        if not self.hidden:
            head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(self.dropout)]
            return nn.Sequential(*layers, *head, nn.Linear(channels, len(self.classes_)))
        head = [nn.Flatten(), nn.Linear(channels * size[0] * size[1], self.hidden), nn.ReLU(), nn.Dropout(self.dropout)]
        return nn.Sequential(*layers, *head, nn.Linear(self.hidden, len(self.classes_)))

    def _state(self) -> State:
        inner = super()._state()
        return dataclasses.replace(inner, plain={**inner.plain, "scale": self.scale_})

    def _restore(self, state: State) -> None:
        self.scale_ = float(state.plain["scale"])
        if not 0 < self.scale_ < np.inf:
            raise ValueError(f"the scale of its images is {self.scale_}")
        super()._restore(state)
