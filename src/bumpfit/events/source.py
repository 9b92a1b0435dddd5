"""Sources of events: files or tables that are read column by column, when a column is needed, in chunks."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bumpfit.errors import InputError
from bumpfit.events.arrays import Jagged, ak, lists
from bumpfit.events.layout import Layout, build
from bumpfit.events.locations import sha256_of

CHUNK_BYTES = 64_000_000
FIRST_CHUNK = 1_000
GROWTH = 8


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a source was opened from: files with full paths, tree or key."""

    paths: tuple[str, ...]
    tree: str | None
    key: str | None


class ReadError(InputError):
    """A file whose content cannot be read (cut off, damaged, of another kind)."""


class Source(abc.ABC):
    """Events of one or more files with equal columns. Nothing is read until a column is asked for.

    `origin` says how another process opens the same events; None for what is in memory only.
    """

    origin: Origin | None = None

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

    def chunks(
        self, chunk_bytes: int = CHUNK_BYTES, events: int | None = None, *, start: int = 0, stop: int | None = None
    ) -> Iterator[Chunk]:
        """Split the events start to stop into chunks whose columns in use take about `chunk_bytes`, or of `events`.

        What a chunk has read is measured when the next one is asked for, and the next is sized by it: memory stays
        bounded whatever the columns are. No events are one empty chunk.
        """
        step = FIRST_CHUNK if events is None else events
        if step < 1:
            raise InputError(f"a chunk of {step} events; expected at least 1")
        end = self._n if stop is None else stop
        place = start
        while place < end or place == start:
            chunk = Chunk(self, place, min(end, place + step))
            yield chunk
            if events is None and chunk.nbytes:
                fitting = int(len(chunk) * chunk_bytes / chunk.nbytes)
                step = max(1, min(fitting, step * GROWTH))
            place = chunk.stop
            if place == start:
                return

    def all(self) -> Chunk:
        """All events as one chunk."""
        return Chunk(self, 0, self._n)

    def sha256(self) -> dict[str, str]:
        """SHA-256 of every file, by path; empty for tables in memory."""
        return {path: sha256_of(path) for path in self.paths}


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
            array = self.source.read(name, self.start, self.stop)
            try:
                self.cache[name] = lists(array)
            except (ValueError, TypeError, AttributeError) as error:
                kind = str(getattr(array, "type", type(array).__name__))
                raise InputError(
                    f"the branch '{name}' of {self.source.label} holds {kind[:200]}; expected numbers, lists or records"
                ) from error
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
