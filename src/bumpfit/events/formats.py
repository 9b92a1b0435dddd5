"""Tables of events from files and frames: columns by name, and which column is the event index."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bumpfit.errors import InputError
from bumpfit.events import hdf5
from bumpfit.events.locations import is_remote, local
from bumpfit.events.suffixes import ARROW, CSV, PARQUET, RECORDS, ROOT, SHOWN, SUFFIXES, TSV, kind, split_tree
from bumpfit.files import require

PRECISION = {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
"""Numbers to the last digit, which later versions of pandas read by themselves and do not want to be asked for."""


def read_frame(
    path: str | os.PathLike[str] | pd.DataFrame,
    *,
    key: str | None = None,
    index: str | None = None,
    columns: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Read a table as it is: columns in the order of the file, the event index as the frame's index.

    The event index is the column called `index` when given, else the first column if it has no name (as pandas writes
    its index to CSV), else the index that pandas stored in the file, else the row number.

    Args:
        path: file or URL, format by suffix (`SUFFIXES`; `file.root:tree` names a tree), or a frame, which is copied.
        key: the table inside an HDF5 file that holds several.
        index: name of the column that is the event index.
        columns: those that are needed; of a ROOT tree no others are read.

    Raises:
        InputError: no such file, unknown suffix, unreadable content, no rows, columns with equal names.
    """
    if not isinstance(path, str | os.PathLike):
        name, frame = "the table", pandas_of(path).copy()
    else:
        wanted = columns if columns is None or index is None else [*columns, index]
        name, frame = str(path), _load(os.fspath(path), key, wanted)
    frame.columns = distinct(name, frame.columns)
    if index is not None:
        if index not in frame.columns:
            raise InputError(f"{name} has no column '{index}' for the event index; it has {quoted(frame.columns)}")
        frame = frame.set_index(index)
    elif len(frame.columns) and _unnamed(frame.columns[0]):
        frame = frame.set_index(frame.columns[0])
        frame.index.name = None
    if not len(frame):
        raise InputError(f"{name} has no events: expected a header line and at least one row")
    return frame


def pandas_of(frame: Any) -> pd.DataFrame:
    """A pandas frame from one of pandas, from records of awkward with a number a field, or from any library that gives
    Arrow data (polars, pyarrow, DuckDB, narwhals).

    Raises:
        InputError: something else, or columns that cannot be turned into a frame.
    """
    if isinstance(frame, pd.DataFrame):
        return frame
    if type(frame).__module__.partition(".")[0] == "awkward":
        return _of_awkward(frame)
    if not hasattr(frame, "__arrow_c_stream__"):
        lazy = "; collect it first" if hasattr(frame, "collect") else ""
        raise InputError(
            f"got {type(frame).__name__}; expected a file or a table of pandas, polars, Arrow or awkward{lazy}"
        )
    import pyarrow

    try:
        made: pd.DataFrame = pyarrow.table(frame).to_pandas()
    except (pyarrow.ArrowException, ValueError, TypeError) as error:
        raise InputError(f"the {type(frame).__name__} cannot be read as a table: {_sentence(error)}") from error
    return made


def _of_awkward(array: Any) -> pd.DataFrame:
    """One column a field; missing values are NaN."""
    if not array.fields or type(array).__name__ != "Array":
        raise InputError(
            "the awkward array has no fields, or is a single record; expected records with one number a field, as "
            "ak.Array({...})"
        )
    columns = {}
    for name in array.fields:
        try:
            values = np.ma.asarray(array[name].to_numpy(allow_missing=True))
        except (ValueError, TypeError) as error:
            raise InputError(f"field '{name}' of the awkward array is no column: {_sentence(error)}") from error
        if values.ndim != 1 or values.dtype.names:
            raise InputError(f"field '{name}' of the awkward array holds several numbers an event; expected one")
        missing = np.ma.getmaskarray(values).any()
        if missing and values.dtype.kind not in "biuf":
            raise InputError(f"field '{name}' of the awkward array lacks values and holds no numbers; expected numbers")
        columns[name] = np.ma.filled(values.astype(np.float64), np.nan) if missing else np.asarray(values.data)
    return pd.DataFrame(columns)


def sha256_frame(frame: pd.DataFrame) -> str:
    """SHA-256 of the values, index, names and types of a frame, 64 hexadecimal digits."""
    digest = hashlib.sha256(repr([(str(name), str(dtype)) for name, dtype in frame.dtypes.items()]).encode())
    digest.update(np.ascontiguousarray(pd.util.hash_pandas_object(frame, index=True).to_numpy()).tobytes())
    return digest.hexdigest()


SHOWN_NAMES = 12
"""Names that a message lists at most."""


def quoted(names: Sequence[Any] | pd.Index) -> str:
    """Names for a message: 'a', 'b', 'c'; the first ones of many."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(f"'{name}'" for name in names[:SHOWN_NAMES]) + more or "no columns"


def distinct(name: str, columns: Iterable[Any]) -> pd.Index:
    """Names of columns without blanks at their ends.

    Raises:
        InputError: two are equal.
    """
    found = pd.Index([str(column).strip() for column in columns])
    repeated = found[found.duplicated()]
    if len(repeated):
        raise InputError(f"{name} has more than one column called {quoted(repeated.unique())}; rename them")
    return found


def _unnamed(name: str) -> bool:
    return name == "" or name.startswith("Unnamed: ") or name == "__index_level_0__"


def _load(name: str, key: str | None, columns: Sequence[str] | None) -> pd.DataFrame:
    suffix = kind(name)
    if not is_remote(name):
        require(split_tree(name)[0])
    if suffix.endswith(ROOT):
        from bumpfit.events.flat import read  # uproot is optional

        return read(name, columns)
    if suffix.endswith(RECORDS):
        raise InputError(f"{name} holds particles, not a table; make observables of it with bumpfit dataset")
    if not suffix.endswith(SUFFIXES):
        raise InputError(f"{name} has no known suffix; expected one of {SHOWN}")
    path = local(name)
    if suffix.endswith(CSV):
        return _csv(path, name)
    if suffix.endswith(TSV):
        return _csv(path, name, "\t")
    if suffix.endswith(ARROW):
        return _frame(arrow_table(path, name), name)
    return _parquet(path, name) if suffix.endswith(PARQUET) else hdf5.read(path, key, name)


def _csv(path: Path, name: str, mark: str = ",") -> pd.DataFrame:
    try:
        reading: dict[str, Any] = {"sep": mark, "encoding": "utf-8-sig", **PRECISION}
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **reading)
        names = header.iloc[0].tolist()
        _check_header(name, names)
        distinct(name, names)  # before all rows are read
        frame: pd.DataFrame = pd.read_csv(path, low_memory=False, **reading)
    except pd.errors.EmptyDataError as error:
        raise InputError(f"{name} is empty: expected a header line and at least one row") from error
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, EOFError, ValueError) as error:
        raise InputError(f"{name} cannot be read as CSV: {_sentence(error)}{_content(path)}") from error
    if len(names) == len(frame.columns):
        frame.columns = pd.Index(names)  # pandas renames equal and empty names
    if len(names) == 1 and any(other in names[0] for other in ";\t,"):
        marks = "tabs" if mark == "\t" else "commas"
        raise InputError(f"{name} has one column called {names[0]!r}; expected columns separated by {marks}")
    return frame


def _check_header(name: str, names: list[str]) -> None:
    """Raise InputError where the first line cannot be the names of columns."""
    if names and names[0].lstrip().startswith("#"):
        raise InputError(f"{name} begins with a comment ({names[0][:40]!r}); remove it: expected a header line")
    if len(names) > 1 and all(map(_is_number, names)):
        raise InputError(f"{name} has no header line: its first line holds the numbers {', '.join(names[:3])}, ...")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parquet(path: Path, name: str) -> pd.DataFrame:
    import pyarrow
    import pyarrow.parquet

    try:
        distinct(name, pyarrow.parquet.read_schema(path).names)  # two of one name end in an error that does not say so
        return _frame(pyarrow.parquet.read_table(path), name)  # a file: never a folder of partitions
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{name} cannot be read as Parquet: {_sentence(error)}{_content(path)}") from error


def arrow_table(path: Path, name: str) -> Any:
    """The table of an Arrow file or stream, or of a Feather file.

    Args:
        path: the file on this machine.
        name: what messages call it.

    Raises:
        InputError: it is none of them.
    """
    import pyarrow
    import pyarrow.feather

    try:
        try:
            return pyarrow.feather.read_table(path)
        except pyarrow.ArrowInvalid:
            with pyarrow.ipc.open_stream(path) as stream:
                return stream.read_all()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{name} cannot be read as Arrow or Feather: {_sentence(error)}{_content(path)}") from error


def _frame(table: Any, name: str) -> pd.DataFrame:
    import pyarrow

    try:
        frame: pd.DataFrame = table.to_pandas()
    except (pyarrow.ArrowException, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{name} cannot be read as a table: {_sentence(error)}") from error
    return frame


CONTENTS = {
    b"\x1f\x8b": "gzip (a name that ends in .gz)", b"PK\x03\x04": "a ZIP archive", b"PAR1": "Parquet",
    b"\x89HDF": "HDF5", b"root": "a ROOT file", b"ARROW1": "Arrow", b"FEA1": "Feather",
    b"\xff\xfe": "text in UTF-16 (UTF-8 is expected)", b"\xfe\xff": "text in UTF-16 (UTF-8 is expected)",
}  # fmt: skip
"""What the first bytes of a file say that it is."""


def _content(path: Path) -> str:
    """What a file is whose name says something else."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(8)
    except OSError:
        return ""
    found = next((what for mark, what in CONTENTS.items() if head.startswith(mark)), None)
    if found is None and kind(str(path)).endswith(".gz"):
        found = "not compressed (leave out .gz)"
    named: dict[str, tuple[str, ...]] = {"gzip": (".gz",), "Parquet": PARQUET, "Arrow": ARROW, "Feather": ARROW}
    endings = next((ends for word, ends in named.items() if found and found.startswith(word)), ())
    if found is None or kind(str(path)).endswith(endings):
        return ""
    return f"; its content is {found}"


def _sentence(error: Exception) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
