"""Contents of histograms that other libraries made, through the UHI protocol or as UHI JSON.

The protocol (https://uhi.readthedocs.io) is `kind`, `axes` with `traits`, `values()`, `variances()`; boost-histogram,
hist and uproot follow it. What it says is believed: a histogram of means is no spectrum, variances of None are unknown
(the histogram was filled with weights and has not kept their squares), a category axis has no masses, a circular one
has folded into its bins what lies outside, and bins below and above the axis belong to the histogram. UHI JSON (schema
1) is the same in a file: one histogram, or several by name. What contents can be is said here for all readers
(`check_contents`).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError, MissingExtraError
from bumpfit.foreign import read_json

Array = NDArray[np.float64]

SCHEMA = "uhi_schema"

HISTOGRAMS = ("TH1", "TH2", "TH3", "TProfile")
"""Beginnings of classes of ROOT that are looked into; those that are no counts on one axis say so."""

UNKNOWN = (
    "the histogram was filled with weights (or scaled) but keeps no variances, so its errors are unknown; "
    "fill it with storage Weight()"
)
CIRCULAR = (
    "got a histogram with a circular axis, in whose bins lies what was outside of it, too; expected an axis with ends: "
    "fill it without circular=True, or give the pair (counts, edges)"
)


@dataclass(frozen=True, eq=False)
class Content:
    """Edges (B + 1,), and contents and variances with under- and overflow, (B + 2,) each."""

    edges: Array
    counts: Array
    variances: Array


def check_contents(counts: Array, variances: Array, what: str = "the histogram", flow: int = 0) -> None:
    """Raise InputError unless contents and variances of the bins, same shape (B,), are finite and no variance negative.

    Where both are one they are plain counts. `flow`: 1 where the first and the last bin are under- and overflow.
    """
    for name, array in (("content", counts), ("variance", variances)):
        wrong = ~np.isfinite(array) if name == "content" else ~np.isfinite(array) | (array < 0)
        if not wrong.any():
            continue
        at = int(np.argmax(wrong))
        outside = {-1: "the underflow", counts.size - 2 * flow: "the overflow"} if flow else {}
        place = outside.get(at - flow, f"bin {at + 1 - flow}")
        plain = name == "variance" and np.array_equal(counts, variances)
        said = f"got a {'content' if plain else name} of {array[at]:g} in {place} of {what}; expected "
        if not np.isfinite(array[at]):
            raise InputError(said + "finite numbers: fill it again without values and weights that are NaN or infinite")
        if plain:
            raise InputError(said + "counts that are not negative; sums of weights need their variances (Weight())")
        raise InputError(said + "variances that are not negative: the sums of the squared weights (storage Weight())")


def check_errors(counts: Array, variances: Array) -> None:
    """Raise InputError where a bin has contents, shape (B,), and a variance of 0, which no sum of weights has."""
    wrong = (counts != 0) & (variances == 0)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise InputError(
            f"got a variance of 0 in bin {at + 1} of the histogram, which holds {counts[at]:g}; expected the sum of "
            "the squared weights: fill it with storage Weight(), or give the counts without variances"
        )


def follows_protocol(source: Any) -> bool:
    """Whether this is a histogram of the UHI protocol."""
    return all(hasattr(source, name) for name in ("axes", "values", "variances"))


def is_serialised(source: Any) -> bool:
    """Whether this is a histogram in a file (its path), or decoded UHI JSON."""
    return isinstance(source, str | Path) or (isinstance(source, Mapping) and (SCHEMA in source or _named(source)))


def from_protocol(source: Any) -> Content:
    """Contents of a histogram of the UHI protocol.

    Raises InputError for several axes, categories, circular axes, means instead of counts, unknown variances, and
    contents that `check_contents` and `check_errors` refuse.
    """
    axis = one_axis_of_counts(source)
    edges = _edges(axis)
    variances = _flow(source.variances, axis, edges)
    if variances is None:
        raise InputError(UNKNOWN)
    counts = _flow(source.values, axis, edges)
    assert counts is not None
    return _content(edges, counts, variances)


def one_axis_of_counts(source: Any) -> Any:
    """The axis of a histogram of the UHI protocol; raises InputError for several, circular ones, and for means."""
    kind = getattr(source, "kind", "COUNT")
    _counts_only(str(getattr(kind, "value", kind)))
    axes = tuple(source.axes)
    _one_axis(len(axes))
    if getattr(getattr(axes[0], "traits", None), "circular", False):
        raise InputError(CIRCULAR)
    return axes[0]


def _content(edges: Array, counts: Array, variances: Array) -> Content:
    check_contents(counts, variances, flow=1)
    check_errors(counts[1:-1], variances[1:-1])
    return Content(edges, counts, variances)


def from_file(source: str | Path) -> Content:
    """Contents of a histogram in a file, UHI JSON or ROOT: of the only one, or FILE:NAME.

    Raises InputError for a file that cannot be read, a name that it has not, several histograms without a name, and
    what `from_protocol` refuses; MissingExtraError for ROOT files without uproot.
    """
    path, name = split_name(str(source))
    if path.suffix == ".root":
        return in_root(path, name)[1]
    tree = _read(path)
    if name is None:
        return from_json(tree)
    if not _named(tree) or name not in tree:
        has = ", ".join(map(str, tree)) if _named(tree) else "one histogram without a name"
        raise InputError(f"{path} has no histogram '{name}'; it has {has}")
    return from_json(tree[name])


def split_name(text: str) -> tuple[Path, str | None]:
    """File and name of FILE.root:NAME or FILE.json:NAME; no name where there is none."""
    found = re.fullmatch(r"(.+\.(?:root|json)):(.+)", text)
    return (Path(text), None) if found is None else (Path(found[1]), found[2])


def in_root(path: Path, name: str | None, how: str = "FILE:NAME") -> tuple[str, Content]:
    """Name and contents of a histogram of a ROOT file: of the only one of counts, or of that called `name`.

    `how` it is named, for the message. Raises InputError and MissingExtraError as `from_file`.
    """
    try:
        import uproot
    except ImportError as error:
        raise MissingExtraError("uproot", "root", "reading histograms from ROOT files") from error
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        with uproot.open(path) as file:
            kinds = file.classnames(cycle=False, recursive=True)
            known = [key for key, kind in kinds.items() if kind.startswith("TH1")]
            if name is None and len(known) == 1:
                name = known[0]
            found = file[name] if kinds.get(name or "", "").startswith(HISTOGRAMS) else None
    except Exception as error:  # uproot passes on whatever a damaged file makes of it
        said = " ".join(str(error).split())[:200]
        raise InputError(f"cannot read a histogram from {path}: {said}") from error
    if name is None or found is None:
        asked = f"{len(known)} histograms" if name is None else f"no histogram '{name}'"
        has = ", ".join(known[:8]) or "none"
        raise InputError(
            f"{path} has {asked if known else 'no histogram of counts with one axis'}; it has {has}"
            + (f"; name one ({how})" if known else "")
        )
    return name, from_protocol(found)


def from_json(tree: Mapping[str, Any]) -> Content:
    """Contents of a decoded UHI JSON histogram, or of the only one of several by name.

    Raises InputError for several histograms, and what `from_protocol` refuses.
    """
    if SCHEMA not in tree:
        if not _named(tree):
            raise InputError("this is no UHI histogram: it has no key 'uhi_schema'")
        if len(tree) != 1:
            raise InputError(f"there are {len(tree)} histograms ({', '.join(map(str, tree))}); give one of them")
        tree = next(iter(tree.values()))
    if tree[SCHEMA] != 1:
        raise InputError(f"uhi_schema is {tree[SCHEMA]!r}; expected 1")
    axes, storage = tree.get("axes"), tree.get("storage")
    if not isinstance(axes, list | tuple) or not isinstance(storage, Mapping):
        raise InputError("a UHI histogram needs 'axes' (a list) and 'storage' (an object)")
    _one_axis(len(axes))
    if not isinstance(axes[0], Mapping):
        raise InputError("an axis of a UHI histogram is an object with a 'type'")
    edges, below, above = _serialised_axis(axes[0])
    kind = str(storage.get("type"))
    if kind not in ("int", "double", "weighted"):
        _counts_only("MEAN" if "mean" in kind else kind)
    size = edges.size - 1 + below + above
    counts = _stored(storage, "values", size)
    if kind == "weighted":
        variances = _stored(storage, "variances", size)
    elif np.array_equal(counts, np.round(counts), equal_nan=True):
        variances = counts
    else:
        raise InputError(UNKNOWN)
    ends = (1 - below, 1 - above)
    return _content(edges, np.pad(counts, ends), np.pad(variances, ends))


def _read(path: Path) -> Mapping[str, Any]:
    tree = read_json(path, "a histogram in UHI JSON")
    if not isinstance(tree, Mapping):
        raise InputError(f"{path} holds no UHI histogram: expected an object with 'uhi_schema', 'axes' and 'storage'")
    return tree


def _named(tree: Mapping[str, Any]) -> bool:
    return bool(tree) and all(isinstance(entry, Mapping) and SCHEMA in entry for entry in tree.values())


def _one_axis(number: int) -> None:
    if number != 1:
        raise InputError(f"a spectrum has one axis, got a histogram with {number}; project it")


def _counts_only(kind: str) -> None:
    if kind != "COUNT":
        raise InputError(
            f"a spectrum is a histogram of counts, got one of kind {kind}: its values are means (a profile), not events"
        )


def _categories(what: str) -> InputError:
    return InputError(f"a spectrum needs a numeric axis, got {what}: categories have no masses")


def _edges(axis: Any) -> Array:
    """Edges of an axis; a discrete one has them when its bins are consecutive whole numbers."""
    traits = getattr(axis, "traits", None)
    if getattr(traits, "discrete", False):
        items = [axis[i] for i in range(len(axis))]
        numbers = all(isinstance(item, int | np.integer) and not isinstance(item, bool) for item in items)
        ordered = getattr(traits, "ordered", False) and type(axis).__name__ != "Boolean"
        if not (numbers and ordered and all(b - a == 1 for a, b in itertools.pairwise(items))):
            raise _categories(f"{type(axis).__name__} ({', '.join(map(str, items[:3]))}, ...)")
    edges = getattr(axis, "edges", None)
    if edges is None:
        pairs = [axis[i] for i in range(len(axis))]
        edges = [pairs[0][0], *(pair[1] for pair in pairs)]
    return np.asarray(edges() if callable(edges) else edges, dtype=np.float64)


def _flow(method: Any, axis: Any, edges: Array) -> Array | None:
    """What values() or variances() gives, with under- and overflow where the histogram has them, shape (B + 2,)."""
    try:
        values = method(flow=True)
    except TypeError:  # the protocol does not ask for the argument
        values = method()
    if values is None:
        return None
    result = np.asarray(values, dtype=np.float64)
    missing = edges.size + 1 - result.size
    if result.ndim != 1 or missing not in (0, 1, 2):
        raise InputError(f"{edges.size} edges need {edges.size - 1} bins, got contents of shape {result.shape}")
    below = missing == 2 or (missing == 1 and not getattr(getattr(axis, "traits", None), "underflow", False))
    return np.pad(result, (int(below), missing - int(below)))


def _serialised_axis(axis: Mapping[str, Any]) -> tuple[Array, int, int]:
    """Edges, and 1 where there is a bin below and above, of an axis of UHI JSON."""
    kind = axis.get("type")
    try:
        if kind == "regular":
            number = axis["bins"]
            if isinstance(number, bool) or number != int(number) or number < 1:
                raise InputError(f"got {number} bins for the axis of the UHI histogram; expected 1, 2, ...")
            edges = np.linspace(float(axis["lower"]), float(axis["upper"]), int(number) + 1)
        elif kind == "variable":
            edges = np.asarray(axis["edges"], dtype=np.float64)
        else:
            raise _categories(f"one of type {kind!r}")
        below, above = (axis[end] for end in ("underflow", "overflow"))
        if axis.get("circular"):
            raise InputError(CIRCULAR)
    except KeyError as error:
        raise InputError(f"the axis of the UHI histogram has no {error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"the axis of the UHI histogram is not made of numbers: {error}") from error
    return edges, int(bool(below)), int(bool(above))


def _stored(storage: Mapping[str, Any], name: str, size: int) -> Array:
    """Contents of a dense, sparse or empty storage, shape (size,)."""
    if set(storage) == {"type"}:
        return np.zeros(size)
    try:
        values = np.asarray(storage[name], dtype=np.float64)
        if "index" in storage:
            index = np.asarray(storage["index"]).reshape(-1)
            if index.size and (index.min() < 0 or np.unique(index).size < index.size):
                raise ValueError("an index is negative or there twice")
            full = np.zeros(size)
            full[index] = values
            values = full
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"the {name} of the UHI histogram cannot be read: {error}") from error
    if values.shape != (size,):
        raise InputError(f"the UHI histogram has {size} bins with those outside, got {name} of shape {values.shape}")
    return values
