"""ROOT files through uproot: Delphes trees and flat trees, read branch by branch."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from bumpfit.errors import InputError, MissingExtraError
from bumpfit.events.arrays import Jagged, ak
from bumpfit.events.layout import build
from bumpfit.events.source import ReadError, Source

try:
    import uproot
except ModuleNotFoundError as _error:
    raise MissingExtraError("uproot", "root", "reading ROOT files") from _error

Result = TypeVar("Result")
TREES = ("Delphes", "Events")
KINDS = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
REFERENCES = ("refs", "ref")  # the numbers inside TRefArray and TRef
# What uproot and the decompressors raise on files that are cut off, overwritten or no ROOT files.
DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    NotImplementedError,
    struct.error,
    zlib.error,
    uproot.deserialization.DeserializationError,
)


class RootFiles(Source):
    """One tree in one or more ROOT files. Files are opened once, branches read when they are needed."""

    def __init__(self, paths: Sequence[str], tree: str | None = None) -> None:
        self._trees = [_damaged(path, lambda path=path: _tree(path, tree)) for path in paths]  # type: ignore[misc]
        self._branches = [_branches(entry) for entry in self._trees]
        for path, branches in zip(paths, self._branches, strict=True):
            lacking = sorted(set(self._branches[0]) - set(branches))
            if lacking:
                raise InputError(f"{path} has no branch {lacking[0]}, which {paths[0]} has; expected equal branches")
        first = self._branches[0]
        jagged = [name for name, branch in first.items() if "." not in name and _lists(branch)]
        sizes = [int(entry.num_entries) for entry in self._trees]
        self._starts = [sum(sizes[:place]) for place in range(len(sizes) + 1)]
        super().__init__(paths, build(dict.fromkeys(first, None), jagged), self._starts[-1])

    def read(self, column: str, start: int, stop: int) -> Jagged:
        """The values of one branch for events start to stop, across files.

        Raises:
            ReadError: a file is cut off or damaged.
        """
        pieces = []
        for place, path in enumerate(self.paths):
            low, high = self._starts[place], self._starts[place + 1]
            if low >= stop or high <= start:
                continue
            branch = self._branches[place][column]
            first, last = max(start - low, 0), min(stop, high) - low
            pieces.append(_damaged(path, lambda b=branch, f=first, t=last: b.array(entry_start=f, entry_stop=t)))  # type: ignore[misc]
        if not pieces:
            pieces = [self._branches[0][column].array(entry_start=0, entry_stop=0)]
        array = pieces[0] if len(pieces) == 1 else ak.concatenate(pieces)
        kept = next((name for name in REFERENCES if name in ak.fields(array)), None)
        return array[kept] if kept else array


def _damaged(path: str, action: Callable[[], Result]) -> Result:
    try:
        return action()
    except InputError:
        raise
    except DAMAGE as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise ReadError(
            f"{path} cannot be read as a ROOT file (cut off, damaged or of another kind): {words[:200]}"
        ) from error


def _tree(path: str, name: str | None) -> Any:
    file = uproot.open(path, array_cache=None, object_cache=None)
    trees = sorted({key.split(";")[0] for key, kind in file.classnames().items() if kind in KINDS})
    if name is not None and name not in trees:
        raise InputError(f"{path} has no tree '{name}'; it has {', '.join(trees) or 'none'}")
    if not trees:
        raise InputError(f"{path} holds no tree; expected events in a TTree or RNTuple")
    chosen = name or next((known for known in TREES if known in trees), trees[0] if len(trees) == 1 else None)
    if chosen is None:
        raise InputError(f"{path} holds several trees: {', '.join(trees)}; choose one by name")
    return file[chosen]


def _branches(tree: Any) -> dict[str, Any]:
    """Leaves by name: branches that only group others (`Jet` over `Jet.PT`) are left out."""
    if not hasattr(tree, "branches"):  # an RNTuple, whose keys are full paths
        keys = tree.keys()
        return {key: tree[key] for key in keys if not any(other.startswith(f"{key}.") for other in keys)}
    return {branch.name: branch for branch in tree.itervalues(recursive=True) if not len(branch.branches)}


def _lists(branch: Any) -> bool:
    """Whether a branch holds lists (asked only where the name does not say whose it is: finding out takes time)."""
    kind = branch.typename or ""
    return "[]" in kind or kind.startswith(("std::vector", "vector<"))
