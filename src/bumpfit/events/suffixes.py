"""Suffixes of the files that hold tables; nothing is imported here, so that to ask costs nothing."""

from __future__ import annotations

import os

CSV = (".csv", ".csv.gz", ".csv.bz2", ".csv.xz", ".csv.zip")
PARQUET = (".parquet", ".pq")
HDF5 = (".h5", ".hdf5", ".hdf")
SUFFIXES = CSV + PARQUET + HDF5


def is_table(path: str | os.PathLike[str]) -> bool:
    """Whether the suffix is one of a table that `formats.read_frame` reads."""
    return str(path).lower().endswith(SUFFIXES)
