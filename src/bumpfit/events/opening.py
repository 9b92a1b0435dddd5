"""Open events: which file is read by what."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from bumpfit.errors import InputError
from bumpfit.events import formats, suffixes
from bumpfit.events.arrays import Jagged
from bumpfit.events.source import Source, Table
from bumpfit.files import require


def open(
    path: str | os.PathLike[str] | pd.DataFrame | Mapping[str, Jagged] | Sequence[str | os.PathLike[str]],
    *,
    tree: str | None = None,
    key: str | None = None,
) -> Source:
    """Open events: Delphes or flat ROOT files, Parquet, CSV or HDF5 tables, or columns in memory.

    Args:
        path: a file, a list of files with the same columns, a pattern with `*`, a frame, or a mapping from names to
            arrays (NumPy or awkward).
        tree: which tree of a ROOT file; needed only when it holds several and none is called Delphes or Events.
        key: which table of an HDF5 file.

    Raises:
        InputError: missing, damaged or empty file, unknown suffix, files with different columns.
        MissingExtraError: a package of the extra `root` is not installed.
    """
    if isinstance(path, pd.DataFrame):
        return Table({str(name): values.to_numpy() for name, values in path.items()})
    if isinstance(path, Mapping):
        return Table(path)
    paths = _files(path)
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
    frames = [formats.read_frame(name, key=key) for name in paths]
    for name, frame in zip(paths, frames, strict=True):
        if set(frame.columns) != set(frames[0].columns):
            raise InputError(f"{name} has other columns than {paths[0]}; expected files with equal columns")
    whole = pd.concat([frame[list(frames[0].columns)] for frame in frames])
    return Table({str(name): values.to_numpy() for name, values in whole.items()}, paths)


def _files(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> list[str]:
    if not isinstance(path, str | os.PathLike | Sequence):
        raise InputError(f"got {type(path).__name__}; expected a file, a list of files, a frame or columns by name")
    given = [path] if isinstance(path, str | os.PathLike) else list(path)
    found: list[str] = []
    for entry in given:
        name = os.fspath(entry)
        if glob.has_magic(name) and not Path(name).exists():
            matches = sorted(glob.glob(name))
            if not matches:
                raise InputError(f"no file matches {name}; check the pattern (the working folder is {Path.cwd()})")
            found += matches
        else:
            found.append(str(require(name)))
    if not found:
        raise InputError("no files were given; expected at least one")
    return found


def _kind(name: str) -> str:
    lower = name.lower()
    if lower.endswith(".root"):
        return "root"
    if lower.endswith(suffixes.PARQUET):
        return "parquet"
    if lower.endswith(suffixes.CSV + suffixes.HDF5):
        return "table"
    raise InputError(f"{name} has no known suffix; expected one of .root {' '.join(suffixes.SUFFIXES)}")
