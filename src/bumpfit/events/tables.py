"""The table of a resonance search: one mass spectrum and the features of every event, checked and in GeV."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.events.formats import pandas_of, quoted, read_frame, sha256_frame
from bumpfit.events.locations import sha256_of

MASS = "m_JJ"
FEATURES = ("m_J1", "delta_m_J", "tau_2_over_tau_1_J1", "tau_2_over_tau_1_J2")
NOT_NEGATIVE = re.compile(r"(delta_)?(m|mass|pt)([_\d]|$)", re.IGNORECASE)
WITH_UNIT = re.compile(r"(delta_)?(m|mass|pt|p[xyz]|e|et|ht|met)([_\d]|$)", re.IGNORECASE)
TEV_BELOW = 50.0
ROUNDING = 1e-6
ROUNDING_32 = 1e-3
SHOWN = 5
GAP = 30.0
"""Ratio of neighbouring masses of a spectrum that only another unit makes (a factor of 1000)."""
STRAY = 1e-3
"""Share of events beyond such a gap that may be anything."""
LARGEST = 1e30
"""Numbers beyond it are an accident: sums of them leave the range of 32-bit floats, in which features are compared."""


@dataclasses.dataclass(frozen=True, eq=False)
class Events:
    """A checked search table of N events and F features; masses and momenta are in GeV whatever the file had.

    `index` (N,) holds the unique event numbers in the order of the input; `mass` (N,) the spectrum that is searched;
    `features` (N, F) the columns `names`. `mass_name` and `unit` ("GeV" or "TeV", of the input) are kept for output,
    as are `path` (None for a frame) and the SHA-256 of the file. `dropped` holds the index of events left out because
    a cell was not a finite number, `rounded` counts masses that were negative by rounding and were set to 0.
    """

    index: NDArray[np.int64]
    mass: NDArray[np.float64]
    features: NDArray[np.float64]
    names: tuple[str, ...]
    mass_name: str = MASS
    unit: str = "GeV"
    path: str | None = None
    sha256: str = ""
    dropped: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    rounded: int = 0

    def __len__(self) -> int:
        return len(self.index)

    @property
    def label(self) -> str:
        """What a message calls this table."""
        return self.path or "the table"

    def column(self, name: str) -> NDArray[np.float64]:
        """One column by name, shape (N,), masses in GeV; raises InputError for a name that is not there."""
        if name == self.mass_name:
            return self.mass
        if name not in self.names:
            raise InputError(f"{self.label} has no column '{name}'; it has {quoted((self.mass_name, *self.names))}")
        return self.features[:, self.names.index(name)]

    def frame(self, unit: str = "GeV") -> pd.DataFrame:
        """The table as a frame indexed by `index`, energies in the unit asked for."""
        factor = gev(unit)
        columns = {name: self.column(name) / (factor if energy(name) else 1.0) for name in self.names}
        return pd.DataFrame({self.mass_name: self.mass / factor, **columns}, index=pd.Index(self.index))

    @property
    def content(self) -> str:
        """SHA-256 of index, mass and features as 32-bit floats: the same for a table as CSV or Parquet."""
        digest = hashlib.sha256(repr((self.mass_name, *sorted(self.names))).encode())
        digest.update(np.ascontiguousarray(self.index).tobytes())
        for name in (self.mass_name, *sorted(self.names)):
            digest.update((self.column(name).astype(np.float32) + 0.0).tobytes())
        return digest.hexdigest()

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Events:
        """The events of these rows (mask, positions or slice)."""
        return dataclasses.replace(self, index=self.index[rows], mass=self.mass[rows], features=self.features[rows])


def read(
    path: str | os.PathLike[str] | pd.DataFrame,
    *,
    mass: str = MASS,
    features: Sequence[str] | Mapping[str, str] = FEATURES,
    unit: str | None = None,
    on_bad: str = "error",
    key: str | None = None,
    index: str | None = None,
) -> Events:
    """Read and check a search table from a file (`formats.read_frame`) or a frame.

    Args:
        path: the file, URL or frame (pandas, polars, Arrow); other columns than those named here are not looked at.
        mass: column of the spectrum that is searched (m_JJ).
        features: feature columns, or a mapping from the name used here to the column of the file
            (`{"m_J1": "mj_light"}`); `m_J1` and `delta_m_J` are those that the daughter masses are fitted in.
        unit: "GeV" or "TeV"; None finds it: a median `mass` below `TEV_BELOW` is in TeV.
        on_bad: what to do with rows that hold a cell that is not a finite number: "error", or "drop" them.
        key: the table inside an HDF5 file that holds several.
        index: column of the event numbers; None takes a first column without a name, else the stored index.

    The mass column and the features called m, mass, pt, px, py, pz, e, et, ht or met (alone, or with `_` or a digit
    after it, and `delta_` before it) carry the unit and are converted to GeV. Masses and transverse momenta may not be
    negative; down to -`ROUNDING` times the mass of the event (-`ROUNDING_32` for columns stored as 32-bit floats) is
    the rounding of sqrt(E^2 - p^2) of massless jets, and becomes 0.

    Raises:
        InputError: no such file or column, no events, cells that are not finite numbers, an index that is not of unique
            whole numbers, negative masses, masses of one table in different units.
    """
    if on_bad not in ("error", "drop"):
        raise InputError(f"on_bad is {on_bad!r}; expected 'error' or 'drop'")
    if unit is not None:
        gev(unit)
    path = path if isinstance(path, str | os.PathLike) else pandas_of(path)
    columns = dict(features) if isinstance(features, Mapping) else {name: name for name in features}
    raw = read_frame(path, key=key, index=index, columns=list(dict.fromkeys([mass, *columns.values()])))
    label = "the table" if isinstance(path, pd.DataFrame) else str(path)
    raw.index = pd.Index(_whole(raw.index, label))
    if mass in columns:
        raise InputError(f"'{mass}' is both the mass that is searched and a feature; name it once")
    frame = _columns(raw, {mass: mass, **columns}, label)
    stored_32 = [dtype in (np.float32, np.float16) for dtype in frame.dtypes]
    frame, dropped = _finite(frame, label, on_bad)
    values = frame.to_numpy(np.float64, copy=True)
    unit = unit or find_unit(values[:, 0])
    rounded = _not_negative(values, list(frame.columns), stored_32, frame.index, label)
    _one_unit(values, list(frame.columns), label)
    values[:, [place for place, name in enumerate(frame.columns) if place == 0 or energy(name)]] *= gev(unit)
    return Events(
        index=frame.index.to_numpy(np.int64),
        mass=values[:, 0].copy(),
        features=np.ascontiguousarray(values[:, 1:]),
        names=tuple(columns),
        mass_name=mass,
        unit=unit,
        path=None if isinstance(path, pd.DataFrame) else str(path),
        sha256=sha256_frame(path) if isinstance(path, pd.DataFrame) else sha256_of(path),
        dropped=dropped.to_numpy(np.int64),
        rounded=rounded,
    )


def find_unit(mass: NDArray[np.float64]) -> str:
    """Unit of resonance masses: "TeV" when the median is below `TEV_BELOW`, else "GeV".

    Resonance searches at colliders look above 50 GeV, and no collider reaches 50 TeV between two jets.
    """
    return "TeV" if float(np.median(mass)) < TEV_BELOW else "GeV"


def gev(unit: str) -> float:
    """GeV in one unit; raises InputError for a unit other than GeV and TeV."""
    try:
        return {"GeV": 1.0, "TeV": 1000.0}[unit]
    except KeyError as error:
        raise InputError(f"the unit is {unit!r}; expected 'GeV' or 'TeV'") from error


def energy(name: str) -> bool:
    """Whether a feature of this name is a mass, momentum or energy, and so carries the unit."""
    return WITH_UNIT.match(name) is not None


def _columns(raw: pd.DataFrame, columns: Mapping[str, str], label: str) -> pd.DataFrame:
    missing = [column for column in columns.values() if column not in raw.columns]
    if missing:
        raise InputError(f"{label} has no column {quoted(missing)}; it has {quoted(raw.columns)}")
    return pd.DataFrame({name: raw[column] for name, column in columns.items()}, index=raw.index)


def _finite(frame: pd.DataFrame, label: str, on_bad: str) -> tuple[pd.DataFrame, pd.Index]:
    """The rows whose cells are all finite numbers, and the index of the others."""
    bad = np.zeros(len(frame), bool)
    found = []
    numbers = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column.dtype) and column.dtype.kind in "iuf":
            value = column.to_numpy(np.float64, na_value=np.nan)
            empty, strange = np.isnan(value), np.zeros(len(frame), bool)
        else:
            words = column.astype(str) if column.dtype.kind in "bcmM" else column
            value = pd.to_numeric(words, errors="coerce").to_numpy(np.float64)
            said_nan = words.astype(str).str.strip().str.lower().isin(["nan", "", "none", "<na>"]).to_numpy(bool)
            empty = np.isnan(value) & said_nan
            strange = np.isnan(value) & ~said_nan
        infinite, huge = np.isinf(value), np.isfinite(value) & (np.abs(value) > LARGEST)
        kinds = (
            ("NaN or empty", empty), ("infinite", infinite), (f"beyond {LARGEST:g}", huge), ("not a number", strange),
        )  # fmt: skip
        found += [f"{name}: {where.sum()} {kind}" for kind, where in kinds if where.any()]
        bad |= empty | infinite | huge | strange
        numbers[name] = value.astype(column.dtype) if column.dtype == np.float32 else value
    clean = pd.DataFrame(numbers, index=frame.index)
    if not bad.any():
        return clean, frame.index[:0]
    if on_bad == "error":
        raise InputError(
            f"{label} has cells that are not finite numbers in {bad.sum()} of {len(frame)} events "
            f"({'; '.join(found)}); {_first(bad, frame.index)}; correct them, or leave these events out with "
            "on_bad='drop' (command line: --drop-bad)"
        )
    if bad.all():
        raise InputError(f"{label} has no event left: every row has a cell that is not a finite number")
    return clean[~bad], frame.index[bad]


def _first(where: NDArray[np.bool_], index: pd.Index) -> str:
    rows = np.flatnonzero(where)
    names = ", ".join(str(index[row]) for row in rows[:SHOWN])
    return f"first at index {names}" + (", ..." if len(rows) > SHOWN else "")


def _not_negative(
    values: NDArray[np.float64], names: list[str], stored_32: list[bool], index: pd.Index, label: str
) -> int:
    rounded = 0
    scale = np.abs(values[:, 0])
    for place, name in enumerate(names):
        column = values[:, place]
        if place == 0:
            negative = column <= 0
            if negative.any():
                raise InputError(
                    f"{label} has {negative.sum()} events with {name} not above 0; {_first(negative, index)}"
                )
        if not NOT_NEGATIVE.match(name):
            continue
        noise = (column < 0) & (column >= -(ROUNDING_32 if stored_32[place] else ROUNDING) * scale)
        negative = (column < 0) & ~noise
        if negative.any():
            why = "expected m_J2 - m_J1 with J1 the lighter jet" if name == "delta_m_J" else "expected 0 or more"
            raise InputError(
                f"{label} has {negative.sum()} events with negative {name} (lowest {column.min():.6g}); {why}; "
                f"{_first(negative, index)}"
            )
        rounded += int(noise.sum())
        column[noise] = 0.0
    return rounded


def _one_unit(values: NDArray[np.float64], names: list[str], label: str) -> None:
    """Raise InputError for masses in two units.

    The jets of an event weigh less than the event: when they do not in most events, the units differ. A spectrum has no
    gap of a factor of `GAP` between two groups of events.
    """
    mass = np.sort(values[:, 0])
    apart = np.flatnonzero(mass[1:] > GAP * mass[:-1])
    groups = [(below + 1, len(mass) - below - 1) for below in apart]
    if any(min(pair) > STRAY * len(mass) for pair in groups):
        below = int(apart[np.argmax([min(pair) for pair in groups])])
        raise InputError(
            f"{label} has {below + 1} events with {names[0]} up to {mass[below]:.4g} and {len(mass) - below - 1} from "
            f"{mass[below + 1]:.4g} on, and none between; expected all masses in the same unit"
        )
    for place, name in enumerate(names):
        if name in ("m_J1", "delta_m_J") and np.mean(values[:, place] > values[:, 0]) > 0.5:
            raise InputError(
                f"{label} has {name} above {names[0]} in most events (medians {np.median(values[:, place]):.4g} and "
                f"{np.median(values[:, 0]):.4g}); expected all masses in the same unit"
            )


def _whole(index: pd.Index, label: str) -> NDArray[np.int64]:
    """Unique whole event numbers."""
    if isinstance(index, pd.MultiIndex):
        raise InputError(f"{label} has an event index of {index.nlevels} levels; expected one whole number an event")
    if index.dtype.kind in "iu":
        wrong = np.asarray(index > np.iinfo(np.int64).max)
    else:
        words = pd.Series(index.astype(str) if index.dtype.kind in "bcmM" else index)
        value = pd.to_numeric(words, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        wrong = ~((np.floor(value) == value) & (np.abs(value) < 2.0**53))
    if wrong.any():
        first = ", ".join(repr(entry) for entry in index[wrong][:SHOWN].tolist())
        raise InputError(
            f"{label} has an event index that is not a whole number in {wrong.sum()} rows (first: {first}); "
            "expected unique whole numbers in the first column, or no index column"
        )
    result = np.asarray(index if index.dtype.kind in "iu" else value, dtype=np.int64)
    repeated = pd.Index(result).duplicated()
    if repeated.any():
        first = ", ".join(str(entry) for entry in result[repeated][:SHOWN])
        raise InputError(
            f"{label} has {repeated.sum()} repeated values of the event index (first: {first}); expected unique ones"
        )
    return result
