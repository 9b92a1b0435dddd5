"""Suffixes of the files that hold tables and events; nothing is imported here, so that to ask costs nothing."""

from __future__ import annotations

import os
import re

_PACKED = ("", ".gz", ".bz2", ".xz", ".zip")
CSV = tuple(f".csv{packed}" for packed in _PACKED)
TSV = tuple(f".tsv{packed}" for packed in _PACKED)
PARQUET = (".parquet", ".pq")
HDF5 = (".h5", ".hdf5", ".hdf")
ARROW = (".feather", ".arrow", ".ipc")
ROOT = (".root", ".root.gz")
LHE = (".lhe", ".lhe.gz")
HEPMC = (".hepmc", ".hepmc2", ".hepmc3", ".hepmc.gz", ".hepmc2.gz", ".hepmc3.gz")
LHCO = (".lhco", ".lhco.gz")
SUFFIXES = (*CSV, *TSV, *PARQUET, *HDF5, *ARROW, *ROOT)
"""Tables: one row an event."""
SHOWN = ".root .csv .tsv .parquet .h5 .feather .arrow"
"""What messages name of them."""
RECORDS = (*LHE, *HEPMC, *LHCO)
"""Events of generators and detectors, particle by particle."""

_TREE = re.compile(r"(.*\.root(?:\.gz)?):([^:]+)", re.IGNORECASE)


def split_tree(name: str | os.PathLike[str]) -> tuple[str, str | None]:
    """File and tree of `data.root:Events`; no tree where none is named, or where there is a file of that whole name."""
    text = os.fspath(name)
    match = _TREE.fullmatch(text)
    return (match[1], match[2]) if match and not os.path.exists(text) else (text, None)


def kind(name: str | os.PathLike[str]) -> str:
    """The suffix by which a file is read, in lower case, without its tree and the query of a URL."""
    file, _ = split_tree(name)
    return (file.partition("?")[0] if "://" in file else file).lower()


def is_table(path: str | os.PathLike[str]) -> bool:
    """Whether the suffix is one of a table that `formats.read_frame` reads."""
    return kind(path).endswith(SUFFIXES)
