"""Files of simulated events: Parquet or ROOT, with the run card inside."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bumpfit.errors import InputError, MissingExtraError
from bumpfit.files import require
from bumpfit.foreign import parse_json
from bumpfit.results import plain

SUFFIXES = (".parquet", ".root")
KEY = "bumpfit.run_card"
ROOT_KEY = "RunCard"
NUMBERS = ("events", "generated", "efficiency", "cross_section_pb", "cross_section_error_pb", "dropped_particles")


def uproot() -> Any:
    """The package that reads and writes ROOT files; raises MissingExtraError when it is not installed."""
    try:
        import uproot as package
    except ModuleNotFoundError as error:
        raise MissingExtraError("uproot", "simulate", "writing ROOT files") from error
    return package


def write(path: Path, tables: Iterable[pa.Table], card: dict[str, Any]) -> None:
    """Write tables one after the other: a row group or a basket each.

    Parquet: the run card is JSON under the key `bumpfit.run_card` of the file's metadata. ROOT: the tree `Delphes`
    (collections) or `Events` (one value an event), the tree `Run` with one entry (cross section, numbers of events),
    and the run card as a string `RunCard`.
    """
    text = json.dumps(plain(card), sort_keys=True)
    if path.suffix.lower() == ".root":
        _write_root(path, tables, card, text)
        return
    writer = None
    try:
        for table in tables:
            table = table.replace_schema_metadata({KEY: text})
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def run_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The run card of a file of simulated events; raises InputError when it has none."""
    file = require(path)
    text = None
    if file.suffix.lower() == ".root":
        from bumpfit.events.root import DAMAGE

        try:
            with uproot().open(file) as content:
                text = str(content[ROOT_KEY]) if ROOT_KEY in content else None
        except DAMAGE as error:
            raise InputError(f"{path} cannot be read as a ROOT file: {error}") from error
    else:
        try:
            text = (pq.read_schema(file).metadata or {}).get(KEY.encode())
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} cannot be read as Parquet: {error}") from error
    if text is None:
        raise InputError(f"{path} has no run card; expected a file that bumpfit simulate wrote")
    card = parse_json(text, f"{path}: its run card")
    if not isinstance(card, dict):
        raise InputError(f"{path} has a run card that is none; expected a file that bumpfit simulate wrote")
    return card


def _write_root(path: Path, tables: Iterable[pa.Table], card: dict[str, Any], text: str) -> None:
    import numpy as np

    with uproot().recreate(path) as file:
        tree = None
        for table in tables:
            columns = _columns(table)
            if tree is None:
                tree = _tree(file, columns)
            tree.extend(columns)
        run = {name: np.array([card[name]], dtype=np.float64) for name in NUMBERS}
        file.mktree("Run", dict.fromkeys(run, np.float64)).extend(run)
        file[ROOT_KEY] = text


def _columns(table: pa.Table) -> dict[str, Any]:
    import awkward as ak

    return {
        name: ak.from_arrow(column) if pa.types.is_nested(column.type) else column.to_numpy()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }


def _tree(file: Any, columns: dict[str, Any]) -> Any:
    import awkward as ak

    kinds = {}
    for name, values in columns.items():
        kinds[name] = ak.type(values).content if isinstance(values, ak.Array) else values.dtype
    nested = any(isinstance(values, ak.Array) for values in columns.values())
    return file.mktree(
        "Delphes" if nested else "Events",
        kinds,
        counter_name=lambda name: f"{name}_size",
        field_name=lambda outer, inner: f"{outer}.{inner}" if inner else outer,
    )
