"""Parquet files with numbers, lists or records in their columns, read column by column and row group by row group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bumpfit.errors import InputError
from bumpfit.events.arrays import Jagged, ak
from bumpfit.events.layout import build
from bumpfit.events.source import ReadError, Source

_LISTS = tuple(
    getattr(pa.types, f"is_{name}")
    for name in ("list", "large_list", "fixed_size_list", "list_view", "large_list_view")
    if hasattr(pa.types, f"is_{name}")
)


class ParquetFiles(Source):
    """One or more Parquet files with equal columns."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._files = [_file(path) for path in paths]
        schema = self._files[0].schema_arrow
        for path, file in zip(paths, self._files, strict=True):
            if set(file.schema_arrow.names) != set(schema.names):
                raise InputError(f"{path} has other columns than {paths[0]}; expected files with equal columns")
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
        return ak.from_arrow(pa.chunked_array([chunk for piece in pieces for chunk in piece.chunks]))


def _file(path: str) -> Any:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise ReadError(f"{path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


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
