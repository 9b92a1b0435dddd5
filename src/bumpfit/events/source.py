"""Sources of events: files or tables that are read column by column, when a column is needed, in chunks."""

from __future__ import annotations

import abc
import glob
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from bumpfit.errors import InputError
from bumpfit.events import formats, suffixes
from bumpfit.events.arrays import Jagged, ak, lists
from bumpfit.events.layout import Layout, build
from bumpfit.files import require, sha256

CHUNK_BYTES = 64_000_000
FIRST_CHUNK = 1_000
GROWTH = 8


class ReadError(InputError):
    """A file whose content cannot be read (cut off, damaged, of another kind)."""


class Source(abc.ABC):
    """Events of one or more files with equal columns. Nothing is read until a column is asked for."""

    def __init__(self, paths: Sequence[str], layout: Layout, n: int) -> None:
        self.paths = tuple(paths)
        self.layout = layout
        self._n = n

    def __len__(self) -> int:
        return self._n

    @property
    def label(self) -> str:
        """What a message calls this source."""
        return ", ".join(self.paths[:3]) + (", ..." if len(self.paths) > 3 else "") or "the table"

    @abc.abstractmethod
    def read(self, column: str, start: int, stop: int) -> Jagged:
        """The values of one column for events start to stop (not cached), first axis the events."""

    def chunks(self, chunk_bytes: int = CHUNK_BYTES, events: int | None = None) -> Iterator[Chunk]:
        """Split the source into chunks whose columns in use take about `chunk_bytes`, or into chunks of `events`.

        What a chunk has read is measured when the next one is asked for, and the next is sized by it: memory stays
        bounded whatever the columns are.
        """
        step = FIRST_CHUNK if events is None else events
        if step < 1:
            raise InputError(f"a chunk of {step} events; expected at least 1")
        start = 0
        while start < self._n or start == 0:
            stop = min(self._n, start + step)
            chunk = Chunk(self, start, stop)
            yield chunk
            if events is None and chunk.nbytes:
                fitting = int(len(chunk) * chunk_bytes / chunk.nbytes)
                step = max(1, min(fitting, step * GROWTH))
            start = stop
            if not self._n:
                return

    def all(self) -> Chunk:
        """All events as one chunk."""
        return Chunk(self, 0, self._n)

    def sha256(self) -> dict[str, str]:
        """SHA-256 of every file, by path; empty for tables in memory."""
        return {path: sha256(path) for path in self.paths}


class Chunk:
    """A range of events; columns are read once."""

    def __init__(self, source: Source, start: int, stop: int) -> None:
        self.source = source
        self.start = start
        self.stop = stop
        self.cache: dict[object, Jagged] = {}

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def layout(self) -> Layout:
        """Collections and columns of the source."""
        return self.source.layout

    @property
    def nbytes(self) -> int:
        """Bytes of what has been read and kept."""
        return sum(array.nbytes for array in self.cache.values())

    def column(self, name: str) -> Jagged:
        """One column, shape (events, ...), variable-length below the first axis."""
        if name not in self.cache:
            self.cache[name] = lists(self.source.read(name, self.start, self.stop))
        return self.cache[name]


class Table(Source):
    """Columns in memory: a frame or a dictionary of arrays."""

    def __init__(self, columns: Mapping[str, Jagged], paths: Sequence[str] = ()) -> None:
        self._columns = {str(name): _array(str(name), values) for name, values in columns.items()}
        lengths = {len(values) for values in self._columns.values()}
        if len(lengths) > 1:
            raise InputError(f"the columns have different lengths: {sorted(lengths)}; expected one value an event")
        members = {name: tuple(ak.fields(values)) or None for name, values in self._columns.items()}
        jagged = [name for name, values in self._columns.items() if values.ndim > 1]
        super().__init__(paths, build(members, jagged), lengths.pop() if lengths else 0)

    def read(self, column: str, start: int, stop: int) -> Jagged:
        """The values of one column for events start to stop."""
        return self._columns[column][start:stop]


def _array(name: str, values: Jagged) -> Jagged:
    mixed = isinstance(values, np.ndarray) and values.dtype.kind == "O"
    try:
        array = ak.from_iter(values.tolist()) if mixed else ak.Array(values)
    except (TypeError, ValueError) as error:
        raise InputError(f"the column {name} is {type(values).__name__}; expected one value an event") from error
    if array.layout.is_union and not mixed:
        raise InputError(f"the column {name} mixes values and lists; expected one or the other for all events")
    return array


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
        from bumpfit.events.root import RootFiles

        return RootFiles(paths, tree)
    if kind == "parquet":
        from bumpfit.events.parquet import ParquetFiles

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
