"""Parquet files with numbers, lists or records in their columns, read column by column and row group by row group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bumpfit.errors import InputError
from bumpfit.events.arrays import Jagged, ak
from bumpfit.events.formats import distinct
from bumpfit.events.layout import build
from bumpfit.events.locations import local
from bumpfit.events.source import ReadError, Source

_LISTS = tuple(
    getattr(pa.types, f"is_{name}")
    for name in ("list", "large_list", "fixed_size_list", "list_view", "large_list_view")
    if hasattr(pa.types, f"is_{name}")
)


class ParquetFiles(Source):
    """One or more Parquet files with equal columns.

    Args:
        paths: what messages call the files, and what is hashed.
        tables: the Parquet files on this machine; those of `paths` when None.

    Raises:
        InputError: a file that is no Parquet, or columns that differ in name or kind (numbers, texts, lists, records).
    """

    def __init__(self, paths: Sequence[str], tables: Sequence[Path] | None = None) -> None:
        places = [local(path) for path in paths] if tables is None else tables
        self._files = [_file(path, place) for path, place in zip(paths, places, strict=True)]
        schema = self._files[0].schema_arrow
        for path, file in zip(paths, self._files, strict=True):
            distinct(path, file.schema_arrow.names)
            _check_equal(path, file.schema_arrow, paths[0], schema)
        groups = [
            (place, group, file.metadata.row_group(group).num_rows)
            for place, file in enumerate(self._files)
            for group in range(file.metadata.num_row_groups)
        ]
        self._groups = groups
        self._starts = [sum(rows for *_, rows in groups[:place]) for place in range(len(groups) + 1)]
        inner = {field.name: _inner(field.type) for field in schema if not field.name.startswith("__index_level_")}
        members = {
            name: tuple(kind.field(i).name for i in range(kind.num_fields)) if pa.types.is_struct(kind) else None
            for name, (kind, _) in inner.items()
        }
        super().__init__(paths, build(members, [name for name, (_, deep) in inner.items() if deep]), self._starts[-1])

    def read(self, column: str, start: int, stop: int) -> Jagged:
        """The values of one column for events start to stop, across row groups and files."""
        pieces = []
        for low, (place, group, rows) in zip(self._starts, self._groups, strict=False):
            if low >= stop or low + rows <= start:
                continue
            try:
                table = self._files[place].read_row_group(group, columns=[column])
            except (pa.ArrowException, OSError) as error:
                raise ReadError(
                    f"{self.paths[place]} cannot be read as Parquet: {str(error).splitlines()[0]}"
                ) from error
            pieces.append(table.column(column).slice(max(start - low, 0), min(stop - low, rows) - max(start - low, 0)))
        if not pieces:
            empty = self._files[0].schema_arrow.field(column).type
            return ak.from_arrow(pa.chunked_array([], type=empty))
        if all(piece.type == pieces[0].type for piece in pieces):
            return ak.from_arrow(pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks]))
        return ak.concatenate([ak.from_arrow(piece) for piece in pieces])  # numbers of different sizes


def _file(path: str, place: Path) -> Any:
    try:
        return pq.ParquetFile(place)
    except (pa.ArrowException, OSError) as error:
        raise ReadError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _check_equal(path: str, schema: Any, first: str, expected: Any) -> None:
    """Raise InputError where the columns of two files cannot be joined."""
    if set(schema.names) != set(expected.names):
        raise InputError(f"{path} has other columns than {first}; expected files with equal columns")
    for field in expected:
        mine = schema.field(field.name).type
        if mine != field.type and _kind(mine) != _kind(field.type):
            raise InputError(
                f"the column '{field.name}' holds {_shown(mine)} in {path} and {_shown(field.type)} in {first}; "
                "expected files with equal columns"
            )


def _kind(kind: Any) -> Any:
    """What must be equal in files that are read as one: lists, members of records, numbers or something else."""
    inner, deep = _inner(kind)
    if pa.types.is_struct(inner):
        return deep, {inner.field(i).name: _kind(inner.field(i).type) for i in range(inner.num_fields)}
    return deep, "number" if pa.types.is_floating(inner) or pa.types.is_integer(inner) else str(inner)


def _shown(kind: Any) -> str:
    text = str(kind)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _inner(kind: Any) -> tuple[Any, bool]:
    """The type below lists and extensions (as awkward and pandas write them), and whether there are lists."""
    deep = False
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif any(listed(kind) for listed in _LISTS):
            kind, deep = kind.value_type, True
        else:
            return kind, deep
