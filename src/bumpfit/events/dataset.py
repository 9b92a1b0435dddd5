"""Data sets for training and testing: samples, targets, weights, parts and where they came from, in one safe file.

The file is a ZIP archive of NumPy arrays (never pickled) and `bumpfit.json`, which names its format and version; `read`
also understands the `.ds` files of HEP ML Lab.
"""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit import __version__, archives
from bumpfit.display import Shown, Table
from bumpfit.errors import InputError
from bumpfit.events import cuts as language
from bumpfit.events import opening
from bumpfit.events.cutflow import event_weights
from bumpfit.events.ranges import Range, over_ranges, picklable
from bumpfit.events.representations import Image, Representation, Set
from bumpfit.events.source import Chunk, Source
from bumpfit.foreign import parse_json
from bumpfit.progress import bar

FORMAT, VERSION = "bumpfit-dataset", 1
PARTS = ("train", "test", "validation")


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset(Shown):
    """N samples with a target class each.

    `samples` (N, features) or (N, rows, columns), 32-bit, NaN where an object is missing; `targets` (N,)
    numbers of `classes`; `weights` (N,) of either sign; `part` (N,) numbers of `PARTS`, or None before a split.
    `features` names the columns (empty for images). `provenance` holds cuts, files with their SHA-256,
    representation and seed. `index` (N,) is the row of each event among all events of its class, before cuts
    (None where it is not known).
    """

    samples: NDArray[np.float32]
    targets: NDArray[np.int32]
    weights: NDArray[np.float64]
    features: tuple[str, ...]
    classes: tuple[str, ...]
    part: NDArray[np.int8] | None = None
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    index: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n = len(self.samples)
        if self.samples.ndim not in (2, 3) or self.targets.ndim != 1 or self.weights.ndim != 1:
            raise InputError(
                f"samples, targets and weights have the shapes {self.samples.shape}, {self.targets.shape} and "
                f"{self.weights.shape}; expected (N, features) or (N, rows, columns), (N,) and (N,)"
            )
        if self.targets.dtype.kind not in "iu":
            raise InputError(f"the targets are {self.targets.dtype.name}; expected whole numbers of classes")
        lengths = {"targets": len(self.targets), "weights": len(self.weights)}
        lengths |= {} if self.part is None else {"part": len(self.part)}
        lengths |= {} if self.index is None else {"index": len(self.index)}
        wrong = {name: length for name, length in lengths.items() if length != n}
        if wrong:
            raise InputError(f"there are {n} samples but {wrong}; expected equal numbers")
        if not n:
            raise InputError("the data set is empty; expected at least one sample")
        if self.samples.ndim == 2 and len(self.features) != self.samples.shape[1]:
            raise InputError(f"there are {self.samples.shape[1]} columns and {len(self.features)} names of features")
        if self.targets.min() < 0 or self.targets.max() >= len(self.classes):
            raise InputError(
                f"targets go from {self.targets.min()} to {self.targets.max()}; expected 0 to {len(self.classes) - 1}"
            )
        if self.part is not None and not np.isin(self.part, range(len(PARTS))).all():
            raise InputError(f"parts are {np.unique(self.part)[:5].tolist()}; expected 0 to {len(PARTS) - 1}")
        if self.index is not None and self.index.min() < 0:
            raise InputError(f"the rows of events go from {self.index.min()}; expected 0 or more")
        bad = ~np.isfinite(self.weights)
        if bad.any():
            raise InputError(f"{bad.sum()} weights are not finite; expected numbers")

    def __len__(self) -> int:
        return len(self.samples)

    def _summary(self) -> dict[str, Any]:
        shape = self.samples.shape[1:]
        what = {"features": self.features} if len(shape) == 1 else {"images": f"{shape[0]} x {shape[1]}"}
        return {"events": len(self), **what, "classes": self.classes}

    def _table(self) -> Table:
        parts = PARTS if self.part is not None else ()
        rows = []
        for number, name in enumerate(self.classes):
            mine = self.targets == number
            split = [] if self.part is None else [int(np.sum(mine & (self.part == i))) for i in range(len(parts))]
            rows.append([name, int(mine.sum()), float(self.weights[mine].sum()), *split])
        return ("class", "events", "sum of weights", *parts), rows

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Dataset:
        """The samples of these rows."""
        part = None if self.part is None else self.part[rows]
        index = None if self.index is None else self.index[rows]
        return dataclasses.replace(
            self, samples=self.samples[rows], targets=self.targets[rows], weights=self.weights[rows], part=part,
            index=index,
        )  # fmt: skip

    def get(self, part: str) -> Dataset:
        """One part of a split data set: "train", "test" or "validation"."""
        if part not in PARTS:
            raise InputError(f"the part is '{part}'; expected one of {', '.join(PARTS)}")
        if self.part is None:
            raise InputError("the data set is not split; call split first")
        rows = self.part == PARTS.index(part)
        if not rows.any():
            raise InputError(f"the data set has no {part} part")
        return self.take(rows)

    def split(self, train: float = 0.7, test: float = 0.3, validation: float = 0.0, *, seed: int = 0) -> Dataset:
        """Assign samples to parts at random, with equal fractions in every class.

        Raises:
            InputError: fractions that are negative or do not add up to 1, or a class too small for its parts.
        """
        fractions = np.array([train, test, validation], dtype=np.float64)
        if (fractions < 0).any() or not np.isclose(fractions.sum(), 1.0):
            raise InputError(f"the fractions {train}, {test}, {validation} must be 0 or more and add up to 1")
        part = np.empty(len(self), np.int8)
        rng = np.random.default_rng(seed)
        for number, name in enumerate(self.classes):
            rows = rng.permutation(np.flatnonzero(self.targets == number))
            edges = np.round(np.cumsum(fractions) * len(rows)).astype(int)
            counts = np.diff(edges, prepend=0)
            if ((counts == 0) & (fractions > 0)).any():
                raise InputError(f"the class '{name}' has {len(rows)} samples: too few for every part to have one")
            part[rows] = np.repeat(np.arange(3), counts)
        split = {"train": train, "test": test, "validation": validation, "seed": seed}
        return dataclasses.replace(self, part=part, provenance={**self.provenance, "split": split})

    def split_as(self, other: Dataset, *, seed: int = 0) -> Dataset:
        """Put every event into the part that it has in `other`, made of the same events in another variation.

        Without this an event that trained a model could be, varied, among those that the model is tested on. Events
        that `other` does not hold (they passed the cuts here only) are assigned at random with its fractions.

        Raises:
            InputError: `other` is not split, either does not know its events, or they are not the same events.
        """
        if other.part is None:
            raise InputError("the data set to split alike is not split itself")
        if self.index is None or other.index is None:
            raise InputError("a data set does not say which events it holds, so parts cannot be alike; make it again")
        split = other.provenance.get("split", {})
        fractions = [split.get(name, float((other.part == place).mean())) for place, name in enumerate(PARTS)]
        part = np.random.default_rng(seed).choice(len(PARTS), len(self), p=fractions).astype(np.int8)
        for number, name in enumerate(self.classes):
            if name not in other.classes:
                raise InputError(
                    f"the class '{name}' is not in the data set to split alike: {', '.join(other.classes)}"
                )
            here, there = (each.provenance.get("classes", {}).get(name, {}).get("events") for each in (self, other))
            if here is None or here != there:
                raise InputError(
                    f"'{name}' is made of {here} events here and of {there} there; expected the same events"
                )
            mine, theirs = self.targets == number, other.targets == other.classes.index(name)
            if max(self.index[mine].max(initial=0), other.index[theirs].max(initial=0)) >= here:
                raise InputError(f"a data set holds rows of '{name}' beyond its {here} events; make it again")
            known = np.full(here, -1, np.int8)
            known[other.index[theirs]] = other.part[theirs]
            found = known[self.index[mine]]
            part[mine] = np.where(found >= 0, found, part[mine])
        return dataclasses.replace(self, part=part, provenance={**self.provenance, "split": {**split, "alike": True}})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the data set, complete or not at all."""
        described = {
            "features": list(self.features),
            "classes": list(self.classes),
            "provenance": self.provenance,
        }
        arrays: dict[str, NDArray[Any]] = {
            "samples": self.samples, "targets": self.targets, "weights": self.weights,
        }  # fmt: skip
        optional = {"part": self.part, "index": self.index}
        arrays |= {name: array for name, array in optional.items() if array is not None}
        archives.write(path, FORMAT, VERSION, described, arrays)


def build(
    classes: Mapping[str, Source | Any],
    representation: Representation | Sequence[str],
    *,
    cuts: str | Sequence[str] = (),
    weights: Mapping[str, str | float | NDArray[np.float64]] | None = None,
    empty: bool = False,
    executor: Executor | None = None,
    show: bool | None = None,
) -> Dataset:
    """Make a data set from the events of each class; targets number the classes in their order (background first).

    Args:
        classes: name of the class to a source, or what `bumpfit.events.open` takes.
        representation: a `Set`, an `Image`, or a list of observables.
        cuts: sentences that an event must pass, all of them.
        weights: per class a number, one value an event, or the name of an observable; 1 by default.
        empty: what `all` of an empty list is in the cuts.
        executor: read files on this executor (`clusters.dask_executor`), whose workers reach them under the same names;
            frames, and weights that are an array, are read here. No number depends on it.
        show: progress bar (None: only on a terminal).

    Raises:
        InputError: a class none of whose events passes, wrong names, cuts or weights.
    """
    shape = representation if isinstance(representation, Set | Image) else Set(tuple(representation))
    cuts = [cuts] if isinstance(cuts, str) else list(cuts)
    names = list(shape.observables) if isinstance(shape, Set) else []
    for cut in cuts:
        language.compile(cut, empty=empty)  # refused before anything is opened
    given = dict(weights or {})
    unknown = sorted(set(given) - set(classes))
    if unknown or not classes:
        raise InputError(f"there are weights for '{unknown[0]}', which is no class" if unknown else "no class is given")
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise InputError(f"the observable '{twice[0]}' is named twice; name it once")
    samples, targets, rows = [], [], []
    factors: list[NDArray[np.float64]] = []
    origin: dict[str, dict[str, Any]] = {}
    for number, (name, events) in enumerate(classes.items()):
        opened = events if isinstance(events, Source) else opening.open(events)
        kept = left_out = 0
        first = len(factors)
        weight = 0.0
        asked = _Asked(shape, tuple(cuts), given.get(name), name, empty)
        here = None if not picklable(asked.weights) else executor
        with bar(f"events of {name}", len(opened), show=show) as advance:
            for events_read, part in over_ranges(_read, opened, asked, here):
                samples.append(part.samples)
                factors.append(part.weights)
                rows.append(part.rows)
                weight += part.weight
                kept += len(part.rows)
                left_out += part.left_out
                advance(events_read)
        if not kept:
            raise InputError(
                f"none of the {len(opened)} events of the class '{name}' passes the cuts ({'; '.join(cuts) or 'none'})"
            )
        _check_weights(np.concatenate(factors[first:]), name)
        targets.append(np.full(kept, number, np.int32))
        origin[name] = {"files": opened.sha256(), "events": len(opened), "weight": weight, "passed": kept}
        if isinstance(shape, Image):
            origin[name]["constituents_left_out"] = left_out
    provenance = {
        "bumpfit": __version__,
        "classes": origin,
        "cuts": list(cuts),
        "all_of_empty": empty,
        "representation": shape.to_dict(),
    }
    return Dataset(
        np.concatenate(samples),
        np.concatenate(targets),
        np.concatenate(factors),
        tuple(names),
        tuple(classes),
        provenance=provenance,
        index=np.concatenate(rows).astype(np.int64),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Asked:
    """What is read of a range of events."""

    shape: Representation
    cuts: tuple[str, ...]
    weights: str | float | NDArray[np.float64] | None
    name: str
    empty: bool


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """The events of a range that passed, the sum of weights of all, and constituents that are in no image."""

    samples: NDArray[np.float32]
    weights: NDArray[np.float64]
    rows: NDArray[np.int64]
    weight: float
    left_out: int


def _read(events: Range[_Asked]) -> _Part:
    asked = events.what
    compiled = [language.compile(cut, empty=asked.empty) for cut in asked.cuts]
    samples, factors, rows = [], [], []
    weight, left_out = 0.0, 0
    for chunk in events.chunks():
        passed = np.ones(len(chunk), bool)
        for cut in compiled:
            passed &= cut(chunk)
        samples.append(asked.shape.read(chunk)[passed].astype(np.float32))
        every = _weights(chunk, asked.weights, asked.name)
        factors.append(every[passed])
        rows.append(chunk.start + np.flatnonzero(passed))
        weight += float(every.sum())
        left_out += asked.shape.left_out(chunk) if isinstance(asked.shape, Image) else 0
    return _Part(np.concatenate(samples), np.concatenate(factors), np.concatenate(rows), weight, left_out)


def _check_weights(weights: NDArray[np.float64], name: str) -> None:
    """Refuse a class whose weights do not add up to something."""
    if weights.sum() > 0:
        return
    negative = int((weights < 0).sum())
    words = f"{negative} of {len(weights)} weights are negative" if negative else "all weights are 0"
    raise InputError(
        f"the weights of the class '{name}' add up to {weights.sum():g} ({words}); expected a positive sum"
    )


def _weights(chunk: Chunk, weights: str | float | NDArray[np.float64] | None, name: str) -> NDArray[np.float64]:
    try:
        return event_weights(chunk, weights)
    except InputError as error:
        raise InputError(f"weights of the class '{name}': {error}") from error


def read(path: str | os.PathLike[str]) -> Dataset:
    """Read a data set that `Dataset.save` or HEP ML Lab (`.ds`) wrote.

    Raises:
        InputError: no such file, not an archive of a data set, damaged, or of a newer version.
    """
    with archives.opened(path, "data set") as archive:
        names = set(archive.namelist())
        if archives.DESCRIPTION in names:
            return _ours(archive)
        if "configs.json" in names:
            return _hml(archive, str(path))
    raise InputError(
        f"{path} is an archive, but not of a data set: it has no bumpfit.json (and no configs.json of hml)"
    )


def _ours(archive: zipfile.ZipFile) -> Dataset:
    described = archives.description(archive, FORMAT, VERSION)
    arrays = {name: archives.array(archive, name) for name in ("samples", "targets", "weights")}
    there = archive.namelist()
    return Dataset(
        arrays["samples"].astype(np.float32, copy=False),
        _targets(arrays["targets"]),
        arrays["weights"].astype(np.float64, copy=False),
        archives.texts(described["features"], "features"),
        archives.texts(described["classes"], "classes"),
        _whole_numbers(archive, "part") if "part.npy" in there else None,
        checked_provenance(described["provenance"]),
        _whole_numbers(archive, "index") if "index.npy" in there else None,
    )


def _targets(found: NDArray[Any]) -> NDArray[np.int32]:
    """Numbers of classes; raises TypeError and ValueError for what is none, which a conversion would round or wrap."""
    if found.dtype.kind not in "iu":
        raise TypeError("its targets are no whole numbers of classes")
    _class_numbers(found)
    return found.astype(np.int32, copy=False)


def _whole_numbers(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    found = archives.array(archive, name)
    if found.dtype.kind != "i" or found.ndim != 1:
        raise TypeError(f"its {name} is no list of whole numbers")
    return found


def checked_provenance(provenance: Any) -> dict[str, Any]:
    """Provenance whose entries are what the code that asks for them expects; raises TypeError where not."""
    wanted: dict[str, type[Any]] = {"classes": dict, "split": dict, "representation": dict, "cuts": list}
    if not isinstance(provenance, dict) or not all(isinstance(provenance.get(k, t()), t) for k, t in wanted.items()):
        raise TypeError("its provenance is damaged")
    archives.texts(provenance.get("cuts", []), "cuts")
    kinds: dict[str, Any] = {"events": int, "passed": int, "weight": (int, float), "files": dict}
    for origin in provenance.get("classes", {}).values():
        if not isinstance(origin, dict) or not all(isinstance(origin[k], kinds[k]) for k in kinds if k in origin):
            raise TypeError("its provenance of the classes is damaged")
    fractions = [provenance.get("split", {}).get(part, 0.0) for part in PARTS]
    if not all(isinstance(fraction, int | float) and 0 <= fraction <= 1 for fraction in fractions):
        raise TypeError("its fractions of the parts are damaged")
    return provenance


def _hml(archive: zipfile.ZipFile, label: str) -> Dataset:
    """The `.ds` format of HEP ML Lab 0.4: configs.json, data.npz, and nested train.ds, test.ds, val.ds when split.

    Classes have only numbers there; images are stored (width, height) and turned to (rows, columns) here.
    """
    configs = parse_json(archive.read("configs.json"), f"{label}: configs.json")
    inner = {"train": "train.ds", "test": "test.ds", "validation": "val.ds"}
    there = {name: file for name, file in inner.items() if file in archive.namelist()}
    pieces = []
    if configs.get("been_split") and there:
        for name, file in there.items():
            with zipfile.ZipFile(BytesIO(archive.read(file))) as nested:
                archives.fits_memory(nested)
                pieces.append((PARTS.index(name), *_hml_arrays(nested)))
    else:
        pieces.append((-1, *_hml_arrays(archive)))
    samples = np.concatenate([piece[1] for piece in pieces])
    targets = np.concatenate([piece[2] for piece in pieces])
    part = np.concatenate([np.full(len(piece[1]), piece[0], np.int8) for piece in pieces])
    image = "observable_configs" not in configs
    if image and samples.ndim != 3:
        raise InputError(f"{label} holds an image data set that is not pixelated; expected images of equal size")
    entries = configs.get("observable_configs", {}).values()
    features = tuple(f"{entry['config']['physics_object']}.{entry['config']['class_name']}" for entry in entries)
    return Dataset(
        samples.transpose(0, 2, 1) if image else samples,
        targets,
        np.ones(len(samples)),
        features,
        tuple(f"class {number}" for number in range(int(targets.max()) + 1)),
        None if (part < 0).all() else part,
        {"hml": configs},
    )


MOST_CLASSES = 10_000
"""Class numbers from here on are no class numbers: every class up to the largest gets a name."""


def _class_numbers(targets: NDArray[Any]) -> None:
    """Raise ValueError when targets are no numbers of classes."""
    if targets.size == 0 or targets.min() < 0 or targets.max() >= MOST_CLASSES:
        low, high = (targets.min(), targets.max()) if targets.size else ("none", "none")
        raise ValueError(f"its targets go from {low} to {high}; expected numbers of classes, 0 to {MOST_CLASSES - 1}")


def _hml_arrays(archive: zipfile.ZipFile) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    with zipfile.ZipFile(BytesIO(archive.read("data.npz"))) as data:
        archives.fits_memory(data)
        samples, targets = (archives.array(data, name) for name in ("samples", "targets"))
        if targets.dtype.kind not in "iufb" or not np.array_equal(targets, np.rint(targets)):
            raise ValueError("its targets are no whole numbers of classes")
        _class_numbers(targets)
        return np.asarray(samples, np.float32), np.asarray(targets, np.int32).reshape(-1)
