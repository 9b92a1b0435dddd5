"""Trained models: an approach with the names of what it was trained on, in one safe file.

The file is a ZIP archive of `bumpfit.json` (format, version, approach, settings, names, provenance), NumPy arrays
(never pickled) and what a library writes itself (safetensors of PyTorch, text of LightGBM). Reading it runs no code.
"""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit import __version__, archives
from bumpfit.errors import InputError
from bumpfit.events.dataset import Dataset, checked_provenance
from bumpfit.files import sha256
from bumpfit.scoring.approaches import require_events
from bumpfit.scoring.classifier import Array, Classifier, State, balanced
from bumpfit.scoring.cuts import CutAndCount
from bumpfit.scoring.registry import approach

FORMAT, VERSION = "bumpfit-model", 1


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """A trained approach; `classes` are the names of its classes, `features` of its inputs (none for images).

    `rows` are the training events of each class, by their rows among all events of its files before cuts (none where
    the data set did not know them).
    """

    classifier: Classifier
    features: tuple[str, ...]
    classes: tuple[str, ...]
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rows: Mapping[str, NDArray[np.int64]] = dataclasses.field(default_factory=dict)

    def trained_on(self, dataset: Dataset) -> dict[str, int]:
        """How many events of each class of the data set trained the model; classes without any are left out.

        Events are known by their rows where both were made of the same files (by SHA-256).
        """
        origins = self.provenance.get("made_from", {}).get("classes", {})
        found: dict[str, int] = {}
        for number, name in enumerate(dataset.classes):
            theirs = dataset.provenance.get("classes", {}).get(name, {})
            for label, rows in self.rows.items():
                mine = origins.get(label, {})
                digests = [sorted(map(str, (each.get("files") or {}).values())) for each in (mine, theirs)]
                if dataset.index is None or not digests[0] or digests[0] != digests[1]:
                    continue
                both = int(np.isin(dataset.index[dataset.targets == number], rows).sum())
                found |= {name: max(both, found.get(name, 0))} if both else {}
        return found

    def probabilities(self, dataset: Dataset) -> Array:
        """Class probabilities of the samples, shape (N, K).

        Raises:
            InputError: the data set has other features than the model was trained on.
        """
        if dataset.features != self.features:
            raise InputError(
                f"the model was trained on {_list(self.features)}, the data set holds {_list(dataset.features)}; make "
                "the data set with the same observables in the same order"
            )
        return self.classifier.predict_proba(dataset.samples)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model, complete or not at all."""
        state = self.classifier.state()
        described = {
            "approach": self.classifier.kind,
            "settings": self.classifier.get_params(),
            "features": list(self.features),
            "classes": list(self.classes),
            "state": state.plain,
            "provenance": self.provenance,
        }
        arrays = {f"arrays/{name}": array for name, array in state.arrays.items()}
        arrays |= {f"rows/{self.classes.index(name)}": rows for name, rows in self.rows.items()}
        contents = {f"files/{name}": content for name, content in state.files.items()}
        archives.write(path, FORMAT, VERSION, described, arrays, contents)


NEGATIVE = ("refuse", "absolute")
"""What training does with negative weights: no approach can learn from them as they are."""


def train(
    chosen: Classifier,
    dataset: Dataset,
    *,
    seed: int = 0,
    balance: bool = True,
    source: str | None = None,
    negative: str = "refuse",
) -> Trained:
    """Train an approach on the training part of a data set (all of it when it is not split).

    Args:
        chosen: settings; it is trained in place.
        dataset: the samples; other parts than "train" are not looked at.
        seed: of the training.
        balance: give every class the same total weight.
        source: file of the data set, named in the provenance with its SHA-256.
        negative: "refuse" weights below 0, or take the "absolute" value of all weights; metrics and templates keep
            the signs.

    Raises:
        InputError: a class without events, negative weights that are refused, images where observables are expected.
    """
    if negative not in NEGATIVE:
        raise InputError(f"negative weights are asked to be '{negative}'; expected one of {', '.join(NEGATIVE)}")
    part = dataset if dataset.part is None else dataset.get("train")
    signed = int((part.weights < 0).sum())
    if signed and negative == "refuse":
        raise InputError(
            f"{signed} of {len(part)} training events have negative weights, and no approach learns from those; take "
            "the absolute values (--negative-weights absolute, in Python negative='absolute'), or drop the events"
        )
    part = dataclasses.replace(part, weights=np.abs(part.weights)) if signed else part
    counts = np.bincount(part.targets, weights=part.weights, minlength=len(part.classes))
    if len(part.classes) < 2:
        raise InputError(f"the data set has one class, '{part.classes[0]}'; training needs at least two")
    if (counts <= 0).any():
        raise InputError(
            f"the class '{part.classes[int(counts.argmin())]}' has no events with weight in the training part"
        )
    if part.samples.ndim != chosen.dimensions:
        wanted, got = ("images", "observables") if chosen.dimensions == 3 else ("observables", "images")
        raise InputError(f"the approach '{chosen.kind}' learns from {wanted}, but the data set holds {got}")
    if not isinstance(chosen, CutAndCount):
        require_events(part.targets, np.array([f"'{name}'" for name in part.classes]))
    weights = balanced(part.weights, part.targets) if balance else part.weights
    chosen.fit(part.samples, part.targets, weights, seed=seed)
    provenance = {
        "bumpfit": __version__,
        "seed": seed,
        "balanced": balance,
        "negative_weights": {"events": signed, "taken": "absolute value"} if signed else None,
        "events": np.bincount(part.targets, minlength=len(part.classes)).tolist(),
        "dataset": None if source is None else {"path": str(source), "sha256": sha256(source)},
        "made_from": dict(dataset.provenance),
    }
    rows = {}
    if part.index is not None:
        rows = {name: part.index[part.targets == number] for number, name in enumerate(part.classes)}
    return Trained(chosen, part.features, part.classes, provenance, rows)


def read(path: str | os.PathLike[str]) -> Trained:
    """Read a model that `Trained.save` wrote.

    Raises:
        InputError: no such file, not a model, damaged, or of a newer version.
        MissingExtraError: a network, and PyTorch is not installed.
    """
    with archives.opened(path, "model") as archive:
        if archives.DESCRIPTION not in archive.namelist():
            raise InputError(f"{path} is an archive, but not of a model: it has no bumpfit.json")
        return _restored(archive)


def _restored(archive: zipfile.ZipFile) -> Trained:
    described = archives.description(archive, FORMAT, VERSION)
    arrays, files = {}, {}
    for name in archive.namelist():
        if name.startswith("arrays/"):
            stem = name.removesuffix(".npy")
            arrays[stem.removeprefix("arrays/")] = archives.array(archive, stem)
        elif name.startswith("files/"):
            files[name.removeprefix("files/")] = archive.read(name)
    model = approach(described["approach"], **described["settings"])
    model.restore(State(described["state"], arrays, files))
    features, classes = (archives.texts(described[name], name) for name in ("features", "classes"))
    _works(model, features, classes)
    members = {name: f"rows/{number}" for number, name in enumerate(classes)}
    rows = {name: archives.array(archive, m) for name, m in members.items() if f"{m}.npy" in archive.namelist()}
    if any(numbers.dtype.kind != "i" or numbers.ndim != 1 for numbers in rows.values()):
        raise ValueError("its rows of training events are no whole numbers")
    provenance = dict(described["provenance"])
    checked_provenance(provenance.get("made_from", {}))
    return Trained(model, features, classes, provenance, rows)


def _works(model: Classifier, features: tuple[str, ...], classes: tuple[str, ...]) -> None:
    """Raise ValueError when a restored model does not do what a trained one does: parts of several models, say."""
    shape = tuple(model.state().plain["shape"])
    if len(shape) != model.dimensions - 1 or (len(features) != shape[0] if len(shape) == 1 else features):
        raise ValueError(f"its features ({_list(features)}) do not fit to samples of the shape {shape}")
    probes = np.stack([np.full(shape, value) for value in (0.0, 1e9, -1e9, np.nan)])
    found = model.predict_proba(probes)
    if found.shape != (len(probes), len(classes)) or not np.isfinite(found).all():
        raise ValueError("its parts do not give a probability of every class")


def _list(features: tuple[str, ...]) -> str:
    return ", ".join(features) or "images"
