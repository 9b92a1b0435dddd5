"""Whether a data table can be compared with a background table: units, column by column, and events in both."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError, InputWarning
from bumpfit.events.formats import quoted
from bumpfit.events.tables import Events, gev
from bumpfit.mixing import mixed

Array = NDArray[np.float64]

FACTOR = 100.0
"""Between two tables of one selection no typical value of a column differs by so much; units differ by 1000."""
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles that are compared."""
OUTSIDE = 0.01
"""Share of a column that may lie a factor `FACTOR` outside of the range of the other table."""
SIGNAL = 0.1
"""Largest share of signal that is taken to be possible."""
REPEATED = 0.01
"""Share of repeated or shared events above which tables are refused."""
SAME_BY_CHANCE = 0.05
"""Share of unrelated events with equal features above which features are so coarse that repetition says nothing."""
CELLS = 300.0
"""Cells of a column's quartile distance in which events count as equal but for rounding."""
UNLIKELY = 5.0
"""Times what is expected by chance from which shared cells are no chance."""
SEVERAL = 20
"""Events that must share cells with the other table before it is refused."""


def check_pair(data: Events, background: Events) -> None:
    """Check that a background table can be compared with the data.

    Refused are other columns, other units, mass ranges that do not overlap, columns whose typical values differ by a
    factor of `FACTOR`, columns that are constant in one of the tables only, events that are in both tables (by content
    and but for rounding, whatever their index) or more than once in one. A column whose distributions differ by more
    than `SIGNAL`, which is the least share of signal that could explain it, is told in an InputWarning.

    Raises:
        InputError: as said.
    """
    if (data.mass_name, set(data.names)) != (background.mass_name, set(background.names)):
        raise InputError(
            f"the background has the columns {quoted((background.mass_name, *background.names))}, the data have "
            f"{quoted((data.mass_name, *data.names))}; expected the same"
        )
    if data.unit != background.unit:
        raise InputError(
            f"the background is in {background.unit} and the data in {data.unit} (median {data.mass_name} "
            f"{_median(background):.4g} {background.unit} and {_median(data):.4g} {data.unit}); "
            "expected the same unit: convert one of them"
        )
    low, high = max(data.mass.min(), background.mass.min()), min(data.mass.max(), background.mass.max())
    if low > high:
        raise InputError(
            f"the ranges of {data.mass_name} do not overlap: data {_range(data)}, background {_range(background)}; "
            "expected a background table of the same selection and the same unit"
        )
    if data.content == background.content:
        raise InputError("data and background are the same table; expected a background table of other events")
    for name in (data.mass_name, *data.names):
        _check_scale(name, data.column(name), background.column(name))
    rows, others = (np.unique(_rows(table, data.names), return_counts=True) for table in (data, background))
    _check_repeated(data, rows[1])
    _check_repeated(background, others[1])
    _check_shared(data, background, np.intersect1d(rows[0], others[0], assume_unique=True).size)
    _check_rounded(data, background)
    for name in data.names:
        _check_shape(name, data.column(name), background.column(name))


def _check_scale(name: str, data: Array, background: Array) -> None:
    """Typical values of a column must not differ by orders of magnitude, and it must vary in both tables."""
    values = {"data": data, "background": background}
    constant = [which for which, column in values.items() if column.min() == column.max()]
    if len(constant) == 1 or (len(constant) == 2 and data[0] != background[0]):
        raise InputError(
            f"the column '{name}' is {values[constant[0]][0]:g} in all events of the {constant[0]} and not in the "
            "other table, so it tells the tables apart and not a signal; leave it out of the features (--features)"
        )
    if constant and name == "m_J1":
        raise InputError(
            f"the column 'm_J1' is {data[0]:g} in all events, so no mass of a jet can be found in it; leave it out "
            "of the features (--features)"
        )
    if constant:
        warnings.warn(
            f"the column '{name}' is {data[0]:g} in all events, so it tells nothing", InputWarning, stacklevel=3
        )
    for level, one, other in zip(LEVELS, *(np.quantile(column, LEVELS) for column in values.values()), strict=True):
        if one * other > 0 and not 1 / FACTOR < one / other < FACTOR:
            raise InputError(
                f"the column '{name}' differs by a factor of {max(one / other, other / one):.3g} between the tables "
                f"({level:.0%} quantile {one:.4g} in the data, {other:.4g} in the background); expected the same unit "
                "and selection"
            )
    for which, column in values.items():
        rest = values["background" if which == "data" else "data"]
        if rest.min() > 0 and column.min() > 0:
            share = float(np.mean((column < rest.min() / FACTOR) | (column > rest.max() * FACTOR)))
            if share > OUTSIDE:
                raise InputError(
                    f"{share:.1%} of the values of '{name}' in the {which} lie a factor of {FACTOR:g} or more outside "
                    f"of {rest.min():.4g} to {rest.max():.4g}, the range of the other table; expected one unit"
                )


def _rows(events: Events, names: tuple[str, ...]) -> NDArray[np.uint64]:
    """A number for the content of every event in the precision of 32-bit floats, shape (N,)."""
    columns = (events.column(name).astype(np.float32) + np.float32(0) for name in (events.mass_name, *names))
    return _of_rows((column.view(np.uint32) for column in columns), len(events))


def _of_rows(columns: Iterable[NDArray[Any]], n: int) -> NDArray[np.uint64]:
    """One number of 64 bits a row: those of different rows are equal by chance once in 10^19 pairs."""
    found = np.zeros(n, np.uint64)
    for column in columns:
        found = mixed(found ^ column.astype(np.uint64))
    return found


def _check_rounded(data: Events, background: Events) -> None:
    """Refuse tables of which one holds events of the other rounded, as a file with a few digits has them.

    Space is cut into cells of 1 / `CELLS` of the quartile distance of every column. Unrelated events share a cell as
    often as events of one table do, whatever they are rounded to.
    """
    cells = []
    for table in (data, background):
        columns = []
        for name in (data.mass_name, *data.names):
            low, high = np.quantile(background.column(name), [0.25, 0.75])
            if high > low:
                place = np.floor((table.column(name) - low) / (high - low) * CELLS)
                columns.append(np.clip(place, -(2.0**62), 2.0**62).astype(np.int64))
        cells.append(np.unique(_of_rows(columns, len(table)), return_counts=True))
    (few, many) = sorted(cells, key=lambda table: int(table[1].sum()))
    both = np.isin(few[0], many[0], assume_unique=True)
    shared, size = int(few[1][both].sum()), int(few[1].sum())
    by_chance = float(many[1][many[1] > 1].sum() / many[1].sum())
    if shared > max(REPEATED, UNLIKELY * by_chance) * size and shared >= SEVERAL:
        raise InputError(
            f"{shared} events ({shared / size:.1%} of the smaller table) are in the data and in the background but for "
            "rounding; expected a background table of other events"
        )


def _coarse(events: Events) -> bool:
    """Whether unrelated events often have equal features, so that equal events may be different ones."""
    others = events.features[np.random.default_rng(0).permutation(len(events))]
    return float(np.mean((events.features == others).all(axis=1))) > SAME_BY_CHANCE


def _check_repeated(events: Events, counts: NDArray[np.intp]) -> None:
    repeated = len(events) - counts.size
    if not repeated:
        return
    words = f"{events.label} has {repeated} events ({repeated / len(events):.1%}) that repeat others in all columns"
    if repeated > REPEATED * len(events) and not _coarse(events):
        raise InputError(f"{words}; no p-value is right for repeated events: give every event once")
    warnings.warn(f"{words}; if they are the same events, the p-value is too small", InputWarning, stacklevel=3)


def _check_shared(data: Events, background: Events, shared: int) -> None:
    if not shared:
        return
    share = shared / min(len(data), len(background))
    words = f"{shared} events ({share:.1%} of the smaller table) are in the data and in the background"
    if share > REPEATED and not (_coarse(data) and _coarse(background)):
        raise InputError(f"{words}; expected a background table of other events")
    warnings.warn(f"{words}; shared events hide a signal", InputWarning, stacklevel=3)


def _check_shape(name: str, data: Array, background: Array) -> None:
    """Tell distributions that differ by more than any small signal makes.

    A data distribution (1 - f) B + f S differs from B by at most f in its cumulative form, whatever S is.
    """
    points = np.sort(np.concatenate([data, background]))
    below = [np.searchsorted(np.sort(column), points, side="right") / column.size for column in (data, background)]
    difference = float(np.abs(below[0] - below[1]).max())
    # the Kolmogorov distance of two samples of one law is below this but once in 10^4
    noise = 2.23 * float(np.sqrt(1 / data.size + 1 / background.size))
    if difference > SIGNAL + noise:
        warnings.warn(
            f"the distributions of '{name}' differ by {difference:.2g} between data and background: more than "
            f"{difference - noise:.0%} of the data would have to be signal; are both tables of one selection?",
            InputWarning,
            stacklevel=3,
        )


def _median(events: Events) -> float:
    return float(np.median(events.mass)) / gev(events.unit)


def _range(events: Events) -> str:
    return f"{events.mass.min():.6g} to {events.mass.max():.6g} GeV"
