"""Columns of the HiggsML uncertainty challenge: official names, those of the paper, and what a table must satisfy.

An undefined quantity (of a jet that is not there) is -25. Weights are expected events in 10 fb-1; labels are 1 for
htautau and 0 for the backgrounds.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError

PRIMARY = (
    "PRI_lep_pt", "PRI_lep_eta", "PRI_lep_phi", "PRI_had_pt", "PRI_had_eta", "PRI_had_phi", "PRI_jet_leading_pt",
    "PRI_jet_leading_eta", "PRI_jet_leading_phi", "PRI_jet_subleading_pt", "PRI_jet_subleading_eta",
    "PRI_jet_subleading_phi", "PRI_n_jets", "PRI_jet_all_pt", "PRI_met", "PRI_met_phi",
)  # fmt: skip
"""What the detector measures, in the order of the official files (GeV, radians)."""

DERIVED = (
    "DER_mass_transverse_met_lep", "DER_mass_vis", "DER_pt_h", "DER_deltaeta_jet_jet", "DER_mass_jet_jet",
    "DER_prodeta_jet_jet", "DER_deltar_had_lep", "DER_pt_tot", "DER_sum_pt", "DER_pt_ratio_lep_had",
    "DER_met_phi_centrality", "DER_lep_eta_centrality",
)  # fmt: skip
"""What follows from them, in the order of the official files."""

FEATURES = PRIMARY + DERIVED
WEIGHTS, PROCESS, LABEL = "weights", "detailed_labels", "labels"
PROCESSES = ("htautau", "ztautau", "ttbar", "diboson")
"""The processes, the signal first: the order of every array that has an axis of processes."""

LUMINOSITY = 10.0
"""fb-1 in which weights are expected events."""

UNDEFINED = -25.0
HARD_EVENT, STRATUM = "hard_event", "stratum"
"""Columns of simulated samples: the generated event a row comes from, and the stratum of the generation."""

ALIASES = {
    "PRI_jet_num": "PRI_n_jets",
    "PRI_tau_pt": "PRI_had_pt",
    "PRI_tau_eta": "PRI_had_eta",
    "PRI_tau_phi": "PRI_had_phi",
    "DER_pt_ratio_lep_tau": "DER_pt_ratio_lep_had",
    "DER_deltar_tau_lep": "DER_deltar_had_lep",
    "Weight": WEIGHTS,
    "Label": LABEL,
    "DetailedLabel": PROCESS,
}
"""Names of the challenge paper and of its forerunner, and what the official files call them."""

Array = NDArray[np.float64]


def official(table: pd.DataFrame, what: str = "the table") -> pd.DataFrame:
    """The table under official names; nothing is copied when all are official already.

    Raises:
        InputError: a column twice (also under two names).
    """
    if not isinstance(table, pd.DataFrame):
        raise InputError(f"got {type(table).__name__} for {what}; expected a pandas DataFrame")
    names = [ALIASES.get(str(name).strip(), str(name).strip()) for name in table.columns]
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise InputError(f"{what} has column '{twice[0]}' more than once (under its own or the paper's name); keep one")
    if names == list(table.columns):
        return table
    renamed = table.copy(deep=False)
    renamed.columns = pd.Index(names)
    return renamed


def checked(
    table: pd.DataFrame, wanted: Sequence[str] = PRIMARY, *, weights: bool = False, processes: bool = False,
    what: str = "the table",
) -> pd.DataFrame:  # fmt: skip
    """The table under official names, with every column that is wanted: numbers, all finite.

    Args:
        table: events.
        wanted: the columns that must be there.
        weights: weights must be there too: finite, none negative, not all zero.
        processes: the column `detailed_labels` must be there too, with known processes only.
        what: what to call the table in messages.

    Raises:
        InputError: a column is missing, there twice, no number, or has a value that is not finite.
    """
    table = official(table, what)
    needed = [*wanted, *([WEIGHTS] if weights else []), *([PROCESS] if processes else [])]
    for name in needed:
        if name not in table.columns:
            raise InputError(f"{what} has no column '{name}'{_nearest(name, table.columns)}")
    if not len(table):
        raise InputError(f"{what} has no events")
    for name in [*wanted, *([WEIGHTS] if weights else [])]:
        _check_numbers(table[name], what)
    if weights:
        check_weights(table[WEIGHTS].to_numpy(), what)
    if processes:
        process_index(table[PROCESS], what)
    return table


def _nearest(name: str, names: Any) -> str:
    near = difflib.get_close_matches(name, [str(known) for known in names], 1, 0.8)
    return f"; '{near[0]}' is the nearest that it has, rename it if it is the same" if near else "; it is required"


def _check_numbers(column: pd.Series, what: str) -> None:
    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        raise InputError(f"column '{column.name}' of {what} has the type {column.dtype}; expected numbers")
    values = column.to_numpy()
    if values.dtype == object:  # numbers with missing ones among them
        values = column.to_numpy(dtype=float, na_value=np.nan)
    if values.dtype.kind == "c":
        raise InputError(f"column '{column.name}' of {what} has complex numbers; expected real ones")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise InputError(
            f"column '{column.name}' of {what} is not finite in {len(bad)} of {len(values)} rows, first in row "
            f"{bad[0]}; an undefined quantity is written -25"
        )


def check_weights(weights: NDArray[Any], what: str = "the table") -> None:
    """Raise InputError for negative weights and for weights that are all zero."""
    bad = np.flatnonzero(weights < 0)
    if len(bad):
        raise InputError(f"{what} has {len(bad)} negative weights, first in row {bad[0]} ({weights[bad[0]]:g})")
    if not (weights > 0).any():
        raise InputError(f"all weights of {what} are zero; expected expected events")


def process_index(labels: pd.Series, what: str = "the table") -> NDArray[np.int8]:
    """The place of each event's process in `PROCESSES`; raises InputError for an unknown one."""
    codes, names = pd.factorize(labels)
    places = {name: place for place, name in enumerate(PROCESSES)}
    unknown = [str(name) for name in names if name not in places]
    if unknown or (codes < 0).any():
        got = f"'{unknown[0]}'" if unknown else "a missing label"
        raise InputError(f"{what} has the process {got} in '{PROCESS}'; expected one of {', '.join(PROCESSES)}")
    return np.array([places[name] for name in names], dtype=np.int8)[codes]


def matrix(table: pd.DataFrame, names: Sequence[str] = PRIMARY) -> NDArray[np.float32]:
    """The columns as rows of a float32 matrix, shape (columns, N)."""
    result = np.empty((len(names), len(table)), dtype=np.float32)
    for place, name in enumerate(names):
        result[place] = table[name].to_numpy()
    return result
