"""ROOT files through uproot: Delphes trees and flat trees, read branch by branch."""

from __future__ import annotations

import itertools
import re
import struct
import zlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from bumpfit.errors import InputError, MissingExtraError
from bumpfit.events.arrays import Jagged, ak
from bumpfit.events.layout import build
from bumpfit.events.locations import be_patient, is_remote, local, refusal, sha256_of
from bumpfit.events.source import ReadError, Source
from bumpfit.events.suffixes import kind, split_tree

try:
    import cramjam  # what uproot decompresses with
    import uproot
except ModuleNotFoundError as _error:
    raise MissingExtraError("uproot", "root", "reading ROOT files") from _error

Result = TypeVar("Result")
TREES = ("Delphes", "Events")
KINDS = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
OPEN_FILES = 200
OPEN_BRANCHES = 10_000  # of all open files: what describes a branch takes memory, finding it again takes time
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
    NameError,  # UnboundLocalError
    AssertionError,
    OverflowError,
    NotImplementedError,
    RecursionError,
    MemoryError,
    StopIteration,
    struct.error,
    cramjam.DecompressionError,
    zlib.error,
    uproot.deserialization.DeserializationError,
)
# Branches of classes that uproot does not know, or whose objects have no form as arrays.
UNREADABLE = (uproot.interpretation.identify.UnknownInterpretation, uproot.interpretation.objects.CannotBeAwkward)

_NUMBER = re.compile(r"(std::)?(u?int(8|16|32|64)_t|float|double|bool)")
_LISTS = re.compile(r"\[|\b(vector|array|RVec|list|deque|set|multiset|map|TClonesArray|TRefArray|TObjArray|TArray.)\b")


class RootFiles(Source):
    """One tree in one or more ROOT files. Branches are read when they are needed; few files are open at a time."""

    def __init__(self, paths: Sequence[str], tree: str | None = None) -> None:
        named = {found for _, found in map(split_tree, paths) if found} | ({tree} if tree else set())
        if len(named) > 1:
            raise InputError(f"the files are given with several trees: {', '.join(sorted(named))}; expected one")
        self._tree = named.pop() if named else None
        self._opened: OrderedDict[str, tuple[Any, dict[str, Any]]] = OrderedDict()
        first = self._branches(paths[0])
        starts = [0]
        for path in paths:
            branches = self._branches(path)
            lacking = sorted(set(first) - set(branches))
            if lacking:
                raise InputError(f"{path} has no branch {lacking[0]}, which {paths[0]} has; expected equal branches")
            tree = self._opened_tree(path)
            entries = _damaged(path, lambda tree=tree: int(tree.num_entries))
            if entries < 0:
                raise ReadError(f"{path} cannot be read (cut off or damaged): its tree has {entries} events")
            starts.append(starts[-1] + entries)
        self._starts = starts
        jagged = _damaged(paths[0], _jagged, self._opened_tree(paths[0]), first)
        super().__init__(paths, build(dict.fromkeys(first, None), jagged), starts[-1])

    def read(self, column: str, start: int, stop: int) -> Jagged:
        """The values of one branch for events start to stop, across files.

        Raises:
            ReadError: a file is cut off or damaged.
        """
        pieces = []
        for place, path in enumerate(self.paths):
            low, high = self._starts[place], self._starts[place + 1]
            if (low < stop and high > start) or (start == stop and not place):
                first, last = max(start - low, 0), min(stop, high) - low
                pieces.append(_damaged(path, self._read, path, column, first, last, branch=column))
        array = pieces[0] if len(pieces) == 1 else ak.concatenate(pieces)
        kept = next((name for name in REFERENCES if name in ak.fields(array)), None)
        return array[kept] if kept else array

    def scalars(self) -> list[str]:
        """Branches that hold one plain number an event, by their types."""
        branches = self._branches(self.paths[0])
        return [
            name for name, branch in branches.items() if branch is not None and _NUMBER.fullmatch(branch.typename or "")
        ]

    def sha256(self) -> dict[str, str]:
        """SHA-256 of every file, by path; address and number of events of those that are read from a server."""
        numbers = [stop - start for start, stop in itertools.pairwise(self._starts)]
        return {
            path: f"not hashed: {path}, {n} events" if _streamed(path) else sha256_of(path)
            for path, n in zip(self.paths, numbers, strict=True)
        }

    def _read(self, path: str, column: str, first: int, last: int) -> Jagged:
        array = self._values(path, column, first, last)
        if len(array) != last - first:
            raise ReadError(
                f"{path} cannot be read (cut off or damaged): its branch '{column}' has {len(array)} entries for "
                f"{last - first} events"
            )
        return array

    def _values(self, path: str, column: str, first: int, last: int) -> Jagged:
        branch, tree = self._branches(path)[column], self._opened_tree(path)
        if branch is None:
            raise InputError(
                f"the branch '{column}' stands more than once in the tree of {path}, with one name and path; which of "
                "them is meant cannot be said. Use another branch, or write the tree again with names of their own"
            )
        try:
            if "." in column and not hasattr(tree, "branches") and column in _fields(tree):
                # uproot looks for `b` inside of `a` where a field is called `a.b`
                found = tree.arrays(filter_name=lambda name: name == column, entry_start=first, entry_stop=last)
                return found[column]
            return branch.array(entry_start=first, entry_stop=last)
        except (*UNREADABLE, ValueError) as error:
            if not isinstance(error, UNREADABLE) and "cannot produce Awkward Arrays" not in str(error):
                raise  # damaged
            raise InputError(
                f"the branch '{column}' of {path} holds {branch.typename or 'objects of an unknown kind'}, which "
                "cannot be read as numbers, lists or records; use another branch"
            ) from error

    def _opened_tree(self, path: str) -> Any:
        self._branches(path)
        return self._opened[path][0]

    def _branches(self, path: str) -> dict[str, Any]:
        """Branches of a file by name; the files used last stay open."""
        if path not in self._opened:
            tree = _damaged(path, _open, path, self._tree)
            self._opened[path] = (tree, _damaged(path, _leaves, tree))
            while len(self._opened) > 1 and (
                len(self._opened) > OPEN_FILES
                or sum(len(branches) for _, branches in self._opened.values()) > OPEN_BRANCHES
            ):
                _, (old, _) = self._opened.popitem(last=False)
                old.file.close()
        self._opened.move_to_end(path)
        return self._opened[path][1]


def _damaged(path: str, action: Callable[..., Result], *arguments: Any, branch: str | None = None) -> Result:
    try:
        return action(*arguments)
    except InputError:
        raise
    except DAMAGE as error:
        if is_remote(path):
            raise refusal(path, error) from error
        words = " ".join(str(error).split()) or type(error).__name__
        where = f" in its branch '{branch}'" if branch else ""
        raise ReadError(
            f"{path} cannot be read as a ROOT file (cut off, damaged or of another kind){where}: {words[:200]}"
        ) from error


def _open(path: str, name: str | None) -> Any:
    options: dict[str, Any] = {"array_cache": None, "object_cache": None}
    if _streamed(path):
        file = _opened_remote(split_tree(path)[0], options)
    else:
        file = uproot.open({str(local(path)): None}, handler=uproot.MultithreadedFileSource, **options)
    trees = sorted({key.split(";")[0] for key, kind in file.classnames().items() if kind in KINDS})
    if name is not None and name not in trees:
        raise InputError(f"{path} has no tree '{name}'; it has {', '.join(trees) or 'none'}")
    if not trees:
        raise InputError(f"{path} holds no tree; expected events in a TTree or RNTuple")
    chosen = name or next((known for known in TREES if known in trees), trees[0] if len(trees) == 1 else None)
    if chosen is None:
        raise InputError(f"{path} holds several trees: {', '.join(trees)}; choose one by name")
    return file[chosen]


def _streamed(path: str) -> bool:
    """Whether a file is read in place from a server: packed ones must be fetched whole."""
    return is_remote(path) and not kind(path).endswith(".gz")


def _opened_remote(url: str, options: dict[str, Any]) -> Any:
    be_patient()
    try:
        return uproot.open({url: None}, **options)
    except Exception as error:  # every protocol has exceptions of its own
        raise refusal(url, error) from error


def _leaves(tree: Any) -> dict[str, Any]:
    """Leaves by name: branches that only group others (`Jet` over `Jet.PT`) are left out.

    Where several groups have a leaf of one name, it is called `group.leaf`. Leaves that share the whole path cannot be
    told apart: None.
    """
    if not hasattr(tree, "branches"):  # an RNTuple, whose keys are full paths
        keys = tree.keys()
        return {key: tree[key] for key in keys if not any(other.startswith(f"{key}.") for other in keys)}
    paths: dict[str, list[Any]] = {}
    for path, branch in tree.iteritems(recursive=True, full_paths=True):
        if not len(branch.branches):
            paths.setdefault(path, []).append(branch)
    shared = Counter(same[0].name for same in paths.values())
    return {
        same[0].name if shared[same[0].name] == 1 else path.replace("/", "."): same[0] if len(same) == 1 else None
        for path, same in paths.items()
    }


def _fields(tree: Any) -> dict[str, Any]:
    """Forms of the fields of an RNTuple by name."""
    form, *_ = tree.to_akform()
    return dict(zip(form.fields, form.contents, strict=True))


def _jagged(tree: Any, leaves: dict[str, Any]) -> list[str]:
    """The leaves that hold lists; those with a counter of their own name (`Jet.PT`, `Jet_size`) are not looked at."""
    if not hasattr(tree, "branches"):
        fields = _fields(tree)
        deep = {name for name, inner in fields.items() if inner.purelist_depth > 1}
        return [name for name in leaves if (name if name in fields else name.partition(".")[0]) in deep]
    found = []
    for name, branch in leaves.items():
        title, dot, _ = name.partition(".")
        counted = dot and (f"{title}_size" in leaves or f"n{title}" in leaves)
        if counted or (branch is not None and _LISTS.search(branch.typename or "")):  # to find the type out takes time
            found.append(name)
    return found
