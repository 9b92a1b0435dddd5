"""HDF5 tables through PyTables: frames that pandas wrote (fixed or table format), and plain groups of columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bumpfit.errors import InputError


def read(path: Path, key: str | None = None) -> pd.DataFrame:
    """Read one table of an HDF5 file.

    Understood: a pandas frame; a compound dataset (one field a column); a group of one-dimensional datasets of equal
    length (one a column; `index` is the event index); a two-dimensional dataset whose attribute `columns` names them.

    Args:
        path: the file.
        key: which table ("events", "/group/events"); needed only when the file holds several.

    Raises:
        InputError: not an HDF5 file, no table inside, several and no key, no table of that key.
    """
    import tables

    try:
        with tables.open_file(str(path), "r") as file:
            kinds = _tables(file)
            name = _choose(path, kinds, key)
            if kinds[name] != "pandas":
                return _plain(file.get_node(name), kinds[name])
        frame = pd.read_hdf(path, name)
    except (tables.HDF5ExtError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        words = str(error).strip().splitlines()
        raise InputError(f"{path} cannot be read as HDF5: {words[-1] if words else type(error).__name__}") from error
    if not isinstance(frame, pd.DataFrame):
        raise InputError(f"{path} holds a {type(frame).__name__} at '{name}'; expected a table")
    return frame


def _choose(path: Path, kinds: dict[str, str], key: str | None) -> str:
    names = ", ".join(f"'{name}'" for name in kinds)
    if key is not None:
        name = "/" + key.strip("/")
        if name not in kinds:
            raise InputError(f"{path} has no table '{key}'; it has {names or 'none'}")
        return name
    if not kinds:
        raise InputError(f"{path} holds no table; expected a pandas frame or one-dimensional datasets, one a column")
    if len(kinds) > 1:
        raise InputError(f"{path} holds several tables: {names}; choose one by key")
    return next(iter(kinds))


def _tables(file: Any) -> dict[str, str]:
    """Path and kind of every table of the file."""
    kinds: dict[str, str] = {}
    for group in file.walk_groups("/"):
        where = group._v_pathname
        if any(where.startswith(f"{name}/") and kind == "pandas" for name, kind in kinds.items()):
            continue  # the inside of a pandas frame
        if "pandas_type" in group._v_attrs:
            kinds[where] = "pandas"
            continue
        leaves = list(group._f_iter_nodes("Leaf"))
        for leaf in leaves:
            if leaf.dtype.names or (len(leaf.shape) == 2 and "columns" in leaf._v_attrs):
                kinds[leaf._v_pathname] = "leaf"
        columns = [leaf for leaf in leaves if len(leaf.shape) == 1 and not leaf.dtype.names]
        if columns and len({len(leaf) for leaf in columns}) == 1:
            kinds[where] = "group"
    return kinds


def _plain(node: Any, kind: str) -> pd.DataFrame:
    if kind == "group":
        leaves = [leaf for leaf in node._f_iter_nodes("Leaf") if len(leaf.shape) == 1 and not leaf.dtype.names]
        return _indexed({leaf._v_name: _native(leaf.read()) for leaf in leaves})
    values = node.read()
    if values.dtype.names:
        return _indexed({name: _native(values[name]) for name in values.dtype.names})
    names = [_text(name) for name in np.ravel(node._v_attrs["columns"])]
    if len(names) != values.shape[1]:
        raise ValueError(f"{node._v_pathname} has {values.shape[1]} columns and {len(names)} names")
    return _indexed({name: _native(values[:, place]) for place, name in enumerate(names)})


def _indexed(columns: dict[str, Any]) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    return frame.set_index("index").rename_axis(None) if "index" in frame.columns else frame


def _native(values: Any) -> Any:
    """Bytes to text, big-endian to native: pandas wants both."""
    if values.dtype.kind == "S":
        return np.array([_text(value) for value in values], dtype=object)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
