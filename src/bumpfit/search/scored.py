"""Tables of scored events: scores and masses, and where they may be looked at."""

from __future__ import annotations

import dataclasses
import math
import os
import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.events.formats import quoted, read_frame
from bumpfit.events.tables import MASS, read

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """Scored events: `score` (N,), `mass` (N,) in GeV (None: not in the table), and what messages call the table."""

    score: Array
    mass: Array | None
    label: str

    def inside(self, low: float | None, high: float | None) -> Scored:
        """The events with low <= mass < high; an end that is None is open."""
        if low is None and high is None:
            return self
        mass = self.masses
        rows = (mass >= (-math.inf if low is None else low)) & (mass < (math.inf if high is None else high))
        if not rows.any():
            raise InputError(
                f"{self.label} has no event from {_end(low)} to {_end(high)} GeV; its masses are "
                f"{mass.min():.6g} to {mass.max():.6g} GeV"
            )
        return Scored(self.score[rows], mass[rows], self.label)

    def outside(self, low: float, high: float) -> Scored:
        """The events that are not in low <= mass < high; raises InputError when none is left."""
        rows = (self.masses < low) | (self.masses >= high)
        if not rows.any():
            raise InputError(f"all events of {self.label} are from {low:g} to {high:g} GeV, which is blinded")
        return Scored(self.score[rows], self.masses[rows], self.label)

    @property
    def masses(self) -> Array:
        """Masses in GeV, shape (N,); raises InputError when there are none."""
        if self.mass is None:
            raise InputError(
                f"{self.label} has no column of masses; give the table that has it with --data, or name the column"
            )
        return self.mass


def read_scored(
    path: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    score: str = "score",
    mass: str = MASS,
    index: str | None = None,
    unit: str | None = None,
) -> Scored:
    """Scores and masses from a scored table (CSV, Parquet, HDF5).

    Masses come from the column `mass` of the table itself, or of `data`, joined by the event index; None when neither
    has them. `index`: column of the event index, as in `events.tables.read`; by default one called index, if there is.
    Raises InputError for missing columns, cells that are not finite numbers, and scored events that `data` has not.
    """
    frame = _frame(path, index)
    if score not in frame.columns:
        raise InputError(f"{path} has no column '{score}' of scores; it has {quoted(frame.columns)}")
    if data is not None:
        other = _frame(data, index)
        if mass not in other.columns:
            raise InputError(f"{data} has no column '{mass}'; it has {quoted(other.columns)}")
        if other.index.has_duplicates:
            raise InputError(f"{data} has repeated values of the event index, so scores cannot be joined to it")
        lost = ~frame.index.isin(other.index)
        if lost.any():
            raise InputError(
                f"{int(lost.sum())} of {len(frame)} scored events are not in {data} (first: index "
                f"{frame.index[lost][0]}); expected the table that was scored"
            )
        frame = frame[[score]].assign(**{mass: other.loc[frame.index, mass].to_numpy()})
    _refuse_weights(frame, str(path))
    for column in [name for name in (score, mass) if name in frame.columns]:
        values = pd.to_numeric(frame[column], errors="coerce").to_numpy(np.float64)
        bad = ~np.isfinite(values)
        if bad.any():
            raise InputError(
                f"{path} has {int(bad.sum())} cells in the column '{column}' that are not finite numbers (first at "
                f"index {frame.index[bad][0]}); correct them, or take these rows out of the table"
            )
    if mass not in frame.columns:
        return Scored(pd.to_numeric(frame[score]).to_numpy(np.float64), None, str(path))
    events = read(frame[[mass, score]], mass=mass, features={"score": score}, unit=unit)
    return Scored(events.column("score"), events.mass, str(path))


WEIGHTS = re.compile(r"(event_?|mc_?|gen_?)?(weights?|wgts?|wt|w)", re.IGNORECASE)


def _refuse_weights(frame: pd.DataFrame, label: str) -> None:
    """Raise InputError for a column of weights: the likelihoods count events."""
    for name in frame.columns:
        if WEIGHTS.fullmatch(str(name)):
            values = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64)
            if not (values == 1).all():
                raise InputError(
                    f"{label} has a column '{name}' of weights, and the likelihood is that of counted events; leave "
                    "the column out if every row is one event, or build a workspace from weighted histograms"
                )


def _frame(path: str | os.PathLike[str], index: str | None) -> pd.DataFrame:
    frame = read_frame(path, index=index)
    return frame.set_index("index") if index is None and "index" in frame.columns else frame


def _end(value: float | None) -> str:
    return "the end" if value is None else f"{value:g}"
