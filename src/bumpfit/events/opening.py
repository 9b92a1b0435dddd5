"""Open events: which file is read by what."""

from __future__ import annotations

import glob
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bumpfit.errors import InputError, InputWarning
from bumpfit.events import formats, suffixes
from bumpfit.events.arrays import Jagged, ak
from bumpfit.events.locations import is_remote, local
from bumpfit.events.source import Origin, Source, Table
from bumpfit.files import require


def open(
    path: str | os.PathLike[str] | pd.DataFrame | Mapping[str, Jagged] | Sequence[str | os.PathLike[str]],
    *,
    tree: str | None = None,
    key: str | None = None,
) -> Source:
    """Open events: ROOT files, tables, LHE, HepMC and LHCO files, or columns in memory.

    Args:
        path: a file or URL, a list of files with the same columns, a pattern with `*`, a frame (pandas, polars, Arrow),
            or a mapping from names to arrays (NumPy or awkward).
        tree: which tree of a ROOT file (also as `file.root:tree`); needed only when it holds several and none is called
            Delphes or Events.
        key: which table of an HDF5 file.

    Raises:
        InputError: missing, damaged or empty file, unknown suffix, files with different columns.
        MissingExtraError: a package of the extras `root`, `generators`, `remote` or `xrootd` is not installed.
    """
    source = _opened(path, tree, key)
    atlas = source.layout.in_mev()
    if atlas is not None:
        warnings.warn(
            f"{source.label} is of ATLAS ({atlas}): its momenta and masses are in MeV, and so are those of cuts",
            InputWarning,
            stacklevel=2,
        )
    return source


def _opened(path: Any, tree: str | None, key: str | None) -> Source:
    if isinstance(path, Mapping):
        return Table(path)
    if not isinstance(path, str | os.PathLike | Sequence):
        frame = formats.pandas_of(path)
        formats.distinct("the table", frame.columns)
        return Table({str(name): values.to_numpy() for name, values in frame.items()})
    paths = _files(path)
    source = _of_files(paths, tree, key)
    source.origin = Origin(tuple(name if is_remote(name) else os.path.abspath(name) for name in paths), tree, key)
    return source


def _of_files(paths: list[str], tree: str | None, key: str | None) -> Source:
    kinds = {_kind(name) for name in paths}
    if len(kinds) > 1:
        raise InputError(f"the files are of different kinds: {', '.join(sorted(kinds))}; open them one kind at a time")
    kind = kinds.pop()
    if kind == "root":
        from bumpfit.events.root import RootFiles  # uproot is optional

        return RootFiles(paths, tree)
    if kind == "parquet":
        from bumpfit.events.parquet import ParquetFiles  # pyarrow is slow to import

        return ParquetFiles(paths)
    if kind == "particles":
        from bumpfit.events.records import RecordFiles

        return RecordFiles(paths)
    if kind == "arrow":
        return _arrow(paths)
    frames = [formats.read_frame(name, key=key) for name in paths]
    for name, frame in zip(paths, frames, strict=True):
        if set(frame.columns) != set(frames[0].columns):
            raise InputError(f"{name} has other columns than {paths[0]}; expected files with equal columns")
    whole = pd.concat([frame[list(frames[0].columns)] for frame in frames])
    return Table({str(name): values.to_numpy() for name, values in whole.items()}, paths)


def _arrow(paths: list[str]) -> Table:
    """The columns of Arrow and Feather files, lists and records among them."""
    import pyarrow

    tables = [formats.arrow_table(local(name), name) for name in paths]
    for name, table in zip(paths, tables, strict=True):
        formats.distinct(name, table.column_names)
    try:
        whole = pyarrow.concat_tables(tables)
    except pyarrow.ArrowException as error:
        raise InputError(f"the files cannot be joined: {str(error).splitlines()[0]}") from error
    return Table({name: ak.from_arrow(whole.column(name)) for name in whole.column_names}, paths)


def _files(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    given = [path] if isinstance(path, str | os.PathLike) else list(path)
    found: list[str] = []
    for entry in given:
        name, tree = suffixes.split_tree(entry)
        ending = "" if tree is None else f":{tree}"
        if is_remote(name):
            found.append(name + ending)
        elif glob.has_magic(name) and not Path(name).exists():
            matches = sorted(glob.glob(name))
            if not matches:
                raise InputError(f"no file matches {name}; check the pattern (the working folder is {Path.cwd()})")
            found += [match + ending for match in matches]
        else:
            found.append(str(require(name)) + ending)
    if not found:
        raise InputError("no files were given; expected at least one")
    return found


def _kind(name: str) -> str:
    suffix = suffixes.kind(name)
    kinds = {"root": suffixes.ROOT, "parquet": suffixes.PARQUET, "particles": suffixes.RECORDS, "arrow": suffixes.ARROW,
             "table": (*suffixes.CSV, *suffixes.TSV, *suffixes.HDF5)}  # fmt: skip
    found = next((kind for kind, endings in kinds.items() if suffix.endswith(endings)), None)
    if found is None:
        raise InputError(f"{name} has no known suffix; expected one of {suffixes.SHOWN} .lhe .hepmc .lhco")
    return found
