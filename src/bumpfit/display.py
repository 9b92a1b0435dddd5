"""How records look in a notebook or at a prompt: a short line, a table, a figure.

`Shown` is the base of everything that a user holds in hand. What it prints is bounded: a model with a thousand
parameters and a fit of it take a line each. The texts are for eyes; `to_dict` has every digit.
"""

from __future__ import annotations

import dataclasses
import html
import importlib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEW = 4
"""Entries of a list or a mapping that a line shows."""
LONGEST = 60
"""Characters of a text that a line shows."""
LEFT = "style='text-align:left'"
ROWS = 20
"""Rows of a table that a notebook shows."""

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]
"""Names of columns, and rows of values."""


def brief(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, bool | np.bool_) or value is None:
        return str(value)
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else f"{value[: LONGEST - 3]}...")
    if isinstance(value, np.ndarray):
        return f"<array {value.shape}>"
    if isinstance(value, Mapping):
        return "{" + _few([f"{brief(key)}: {brief(entry)}" for key, entry in _first(value.items())], len(value)) + "}"
    if isinstance(value, list | tuple):
        entries = _few([brief(entry) for entry in _first(value)], len(value))
        return f"[{entries}]" if isinstance(value, list) else f"({entries}{',' if len(value) == 1 else ''})"
    if dataclasses.is_dataclass(value):
        return f"<{type(value).__name__}>"
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _first(entries: Any) -> list[Any]:
    return [entry for entry, _ in zip(entries, range(FEW), strict=False)]


def _few(shown: list[str], size: int) -> str:
    return ", ".join([*shown, *([f"... {size - FEW} more"] if size > FEW else [])])


def _default(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a field has its default, so that it says nothing."""
    default = field.default
    return (value is None and default is None) or (
        isinstance(default, str | int | float | tuple) and type(value) is type(default) and bool(value == default)
    )


class Shown:
    """Base of what has a short `repr`, a table for notebooks, and mostly a figure.

    A class may define `_summary`, what its line says, and `_table`, the table that a notebook shows below it.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__repr__" not in cls.__dict__:  # before `dataclass` writes one that prints everything
            cls.__repr__ = Shown.__repr__  # type: ignore[method-assign]

    def _summary(self) -> dict[str, Any]:
        """What the line says: names and values; fields at their defaults say nothing."""
        fields = [field for field in dataclasses.fields(cast(Any, self)) if field.repr]
        values = {field.name: getattr(self, field.name) for field in fields}
        return {field.name: values[field.name] for field in fields if not _default(field, values[field.name])}

    def _table(self) -> Table | None:
        """Columns and rows for a notebook; None: there is nothing that a line cannot say."""
        return None

    def __repr__(self) -> str:
        from bumpfit.console import printable  # here, because rich takes longer to import than a small fit takes

        parts = ", ".join(f"{name}={brief(value)}" for name, value in self._summary().items())
        return printable(f"{type(self).__name__}({parts})")

    def _repr_html_(self) -> str:
        """For notebooks: the line as a table of names and values, and the record's own table below."""
        own = self._table()
        pairs = "".join(
            f"<tr><th {LEFT}>{_text(name)}</th><td {LEFT}>{_text(brief(value))}</td></tr>"
            for name, value in self._summary().items()
            if own is None or not isinstance(value, Mapping | tuple | list | np.ndarray)
        )
        page = f"<table><caption><b>{type(self).__name__}</b></caption>{pairs}</table>"
        if own is None:
            return page
        columns, rows = own
        head = "".join(f"<th>{_text(column)}</th>" for column in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{_text(_cell(cell))}</td>" for cell in row) + "</tr>" for row in rows[:ROWS]
        )
        more = f"<p>... {len(rows) - ROWS} more</p>" if len(rows) > ROWS else ""
        return f"{page}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"

    def plot(self, ax: Axes | Sequence[Axes] | None = None, *, label: str | None = None, **options: Any) -> Figure:
        """Draw the record.

        Args:
            ax: axes to draw on; a new figure in the report's style by default.
            label: experiment's label as mplhep writes it: "CMS", "ATLAS Internal".
            options: what the drawing function in `bumpfit.report.pictures` takes besides; `lumi` (fb^-1) and `com`
                (TeV) go into the label.

        Raises:
            InputError: there is no figure of such a record, an unknown experiment, or another number of axes.
        """
        # The one call upwards of the house: figures stand above records, as a plotting backend does in pandas.
        drawn: Figure = importlib.import_module("bumpfit.report.pictures").plot(self, ax, label=label, **options)
        return drawn


def _cell(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return "—" if math.isnan(value) else f"{value:.5g}"
    return "—" if value is None else str(value)


def _text(value: str) -> str:
    from bumpfit.console import printable

    return html.escape(printable(value))
