"""HDF5 tables: frames that pandas wrote (fixed or table format), and plain groups of columns; no content is executed.

pandas and PyTables keep Python objects as serialised instructions, which run when they are rebuilt. Here they are never
rebuilt: lists of column names are taken out of them as texts, and what would have to run is refused.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from bumpfit.errors import InputError
from bumpfit.foreign import check_memory

RUNS = frozenset(
    ("GLOBAL", "STACK_GLOBAL", "REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD", "PERSID", "BINPERSID", "EXT1",
     "EXT2", "EXT4")
)  # fmt: skip
"""Instructions that call something."""
TEXTS = frozenset(("STRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"))
RECALLS = frozenset(("GET", "BINGET", "LONG_BINGET"))
REMEMBERS = frozenset(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"))


def read(path: Path, key: str | None = None, name: str | None = None) -> pd.DataFrame:
    """Read one table of an HDF5 file.

    Understood: a pandas frame; a compound dataset (one field a column); a group of one-dimensional datasets of equal
    length (one a column; `index` is the event index); a two-dimensional dataset whose attribute `columns` names them.

    Args:
        path: the file.
        key: which table ("events", "/group/events"); needed only when the file holds several.
        name: what messages call the file.

    Raises:
        InputError: not an HDF5 file, no table inside, several and no key, no table of that key, columns or attributes
            of Python objects, data in other files, more data than memory.
    """
    label = str(path) if name is None else name
    try:
        with h5py.File(path, "r") as file:
            kinds = _tables(file)
            chosen = _choose(label, kinds, key)
            node = file[chosen]
            _refuse_code(label, node)
            if kinds[chosen] == "pandas":
                return _pandas(label, node)
            return _plain(node, kinds[chosen])
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, MemoryError) as error:
        words = str(error).strip().splitlines()
        raise InputError(f"{label} cannot be read as HDF5: {words[-1] if words else type(error).__name__}") from error


def _choose(label: str, kinds: dict[str, str], key: str | None) -> str:
    names = ", ".join(f"'{name}'" for name in kinds)
    if key is not None:
        name = "/" + key.strip("/")
        if name not in kinds:
            raise InputError(f"{label} has no table '{key}'; it has {names or 'none'}")
        return name
    if not kinds:
        raise InputError(
            f"{label} holds no table; expected a pandas frame or one-dimensional datasets of equal length, one a column"
        )
    if len(kinds) > 1:
        raise InputError(f"{label} holds several tables: {names}; choose one by key")
    return next(iter(kinds))


def _tables(file: Any) -> dict[str, str]:
    """Path and kind of every table of the file."""
    kinds: dict[str, str] = {}
    for where, group in _groups(file):
        if any(where.startswith(f"{name}/") and kind == "pandas" for name, kind in kinds.items()):
            continue  # the inside of a pandas frame
        if "pandas_type" in group.attrs:
            kinds[where] = "pandas"
            continue
        leaves = list(_leaves(group))
        for leaf in leaves:
            if leaf.dtype.names or (len(leaf.shape) == 2 and "columns" in leaf.attrs):
                kinds[leaf.name] = "leaf"
        columns = [leaf for leaf in leaves if len(leaf.shape) == 1 and not leaf.dtype.names]
        if columns and len({len(leaf) for leaf in columns}) == 1:
            kinds[where] = "group"
    return kinds


def _groups(file: Any) -> Iterator[tuple[str, Any]]:
    yield "/", file["/"]
    found: list[Any] = []
    # links to other places and other files are not followed
    file.visititems(lambda _, node: found.append(node) if isinstance(node, h5py.Group) else None)
    for group in found:
        yield group.name, group


def _leaves(group: Any) -> Iterator[Any]:
    for name in group:
        if isinstance(group.get(name, getlink=True), h5py.HardLink) and isinstance(group[name], h5py.Dataset):
            yield group[name]


def _plain(node: Any, kind: str) -> pd.DataFrame:
    if kind == "group":
        leaves = [leaf for leaf in _leaves(node) if len(leaf.shape) == 1 and not leaf.dtype.names]
        return _indexed({leaf.name.rsplit("/", 1)[-1]: _native(_values(leaf)) for leaf in leaves})
    values = _values(node)
    if isinstance(values, dict):
        return _indexed({name: _native(column) for name, column in values.items()})
    noted = node.attrs["columns"]
    names = _names(noted) if isinstance(noted, bytes) else [_text(name) for name in np.ravel(noted)]
    if len(names) != values.shape[1]:
        raise ValueError(f"{node.name} has {values.shape[1]} columns and {len(names)} names")
    return _indexed({name: _native(values[:, place]) for place, name in enumerate(names)})


def _pandas(label: str, group: Any) -> pd.DataFrame:
    """A frame in one of the two layouts of pandas."""
    kind = _text(group.attrs["pandas_type"])
    if kind == "frame":
        return _fixed(label, group)
    if kind == "frame_table":
        return _table(group)
    raise InputError(f"{label} holds a pandas {kind} at '{group.name}'; expected a table")


def _fixed(label: str, group: Any) -> pd.DataFrame:
    """Blocks of columns of one type each: `axis0` names, `axis1` index, `block<i>_items` and `block<i>_values`."""
    index = _axis(label, group, "axis1")
    columns: dict[str, Any] = {}
    for block in range(int(group.attrs["nblocks"])):
        items = [str(item) for item in _axis(label, group, f"block{block}_items")]
        leaf = _own(group, f"block{block}_values")
        if _is_object(leaf):
            raise _objects(label, f"the columns {', '.join(items[:12])}")
        values = _values(leaf)
        values = values if leaf.attrs.get("transposed", False) else values.T
        if values.ndim != 2 or values.shape != (len(index), len(items)):
            raise ValueError(f"the block {block} of columns has the shape {values.shape}")
        kind = _text(leaf.attrs.get("value_type", ""))
        for place, item in enumerate(items):
            columns[item] = values[:, place].view(kind) if kind.startswith("datetime64") else _native(values[:, place])
    names = [str(name) for name in _axis(label, group, "axis0")]
    return pd.DataFrame({name: columns[name] for name in names}, index=pd.Index(index), columns=names)


def _axis(label: str, group: Any, name: str) -> Any:
    leaf = _own(group, name) if name in group else None
    if leaf is None and any(_is_object(each) for each in _leaves(group)):
        raise _objects(label, f"a part of '{group.name}'")
    if leaf is None and f"{name}_level0" in group:
        raise InputError(f"{label} has an index of several levels; expected one column")
    if leaf is None:
        raise ValueError(f"'{group.name}' has no '{name}', which a pandas frame needs")
    if _text(leaf.attrs.get("kind", "")) == "object" or _is_object(leaf):
        raise _objects(label, "its index")
    return _native(_values(leaf))


def _own(group: Any, name: str) -> Any:
    """A dataset of this file: links to other places and other files are not followed."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"'{name}' of '{group.name}' is a link, or is not there; links are not followed")
    return group[name]


def _table(group: Any) -> pd.DataFrame:
    """One compound dataset: `index`, blocks of columns whose names are an attribute, and columns of their own."""
    leaf = _own(group, "table")
    values = _values(leaf)
    columns: dict[str, Any] = {}
    for name, field in values.items():
        if name == "index":
            continue
        kind = leaf.attrs.get(f"{name}_kind")
        names = _names(kind) if isinstance(kind, bytes) else [name]
        for place, column in enumerate(names if field.ndim == 2 else names[:1]):
            columns[column] = _native(field[:, place] if field.ndim == 2 else field)
    order = _order(group, list(columns))
    index = pd.Index(_native(values["index"])) if "index" in values else None
    return pd.DataFrame(columns, index=index, columns=order)


def _order(group: Any, have: list[str]) -> list[str]:
    """The columns in the order that pandas noted, where it is there."""
    noted = group.attrs.get("non_index_axes")
    names = _names(noted) if isinstance(noted, bytes) else []
    return names if sorted(names) == sorted(have) else have


def _values(leaf: Any) -> Any:
    """The content of a dataset of this file, if memory holds it; columns by name where it has fields."""
    if leaf.external or leaf.is_virtual:
        raise ValueError(f"'{leaf.name}' has its data in other files, which are not opened")
    check_memory(leaf.size * leaf.dtype.itemsize)
    if _is_object(leaf):
        raise ValueError(f"'{leaf.name}' holds Python objects; write it as numbers")
    values, kind = leaf[()], leaf.id.get_type()
    if values.dtype.names is None:
        return values.astype(bool) if _is_flag(kind) else values
    flags = {name for place, name in enumerate(values.dtype.names) if _is_flag(kind.get_member_type(place))}
    return {name: values[name].astype(bool) if name in flags else values[name] for name in values.dtype.names}


def _is_flag(kind: Any) -> bool:
    """Whether a type is that in which PyTables keeps booleans."""
    inner = kind.get_super() if kind.get_class() == h5py.h5t.ARRAY else kind
    return bool(inner.get_class() == h5py.h5t.BITFIELD)


def _is_object(leaf: Any) -> bool:
    """Whether the rows are serialised objects (or anything of varying length that is no text)."""
    texts = h5py.check_string_dtype(leaf.dtype) is not None
    return "PSEUDOATOM" in leaf.attrs or (leaf.dtype.kind == "O" and not texts)


def _objects(label: str, what: str) -> InputError:
    return InputError(
        f"{label} holds {what} as Python objects, which only running code from the file could read; write numbers, or "
        "leave them out"
    )


def _refuse_code(label: str, node: Any) -> None:
    """Raise InputError when an attribute of the table is an object that only running code could rebuild."""
    leaves = [node, *_leaves(node)] if isinstance(node, h5py.Group) else [node]
    for each in leaves:
        for name in each.attrs:
            content = each.attrs[name]
            if isinstance(content, bytes) and _runs(bytes(content)):
                raise _objects(label, f"the attribute '{name}'")


def _runs(content: bytes) -> bool:
    """Whether bytes are serialised instructions of which one calls something."""
    try:
        operations = [operation.name for operation, _, _ in pickletools.genops(content)]
    except Exception:  # the parser fails in many ways; then they are no instructions but a text
        return False
    return not RUNS.isdisjoint(operations)


def _names(content: bytes) -> list[str]:
    """The texts in a serialised list, which is looked through and not rebuilt."""
    found: list[str] = []
    known: dict[Any, str] = {}
    last: str | None = None
    try:
        for operation, argument, _ in pickletools.genops(bytes(content)):
            if operation.name in TEXTS:
                last = str(argument)
                found.append(last)
            elif operation.name in REMEMBERS:
                if last is not None:
                    known[len(known) if argument is None else argument] = last
            elif operation.name in RECALLS and argument in known:
                found.append(known[argument])
            if operation.name not in REMEMBERS and operation.name not in TEXTS:
                last = None
    except Exception as error:  # as above
        raise ValueError("the names of the columns cannot be read") from error
    return found


def _indexed(columns: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    return frame.set_index("index").rename_axis(None) if "index" in frame.columns else frame


def _native(values: Any) -> Any:
    """Bytes to text, big-endian to native: pandas wants both."""
    if values.dtype.kind in "SO":
        return np.array([_text(value) for value in values], dtype=object)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
