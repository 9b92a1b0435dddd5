"""Tables and numbers on the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bumpfit.normal import SMALLEST
from bumpfit.report.rounding import MINUS, decimals, rounded

if TYPE_CHECKING:
    from rich.console import RenderableType


NOISE = 1e-7
"""Differences of -2 ln L that a minimisation does not know."""


def number(value: float | None, digits: int = 5) -> str:
    """A number for a table; a dash where there is none."""
    return "—" if value is None or not math.isfinite(value) else f"{value:.{digits}g}"


SPREAD = 5
"""Decimal places up to which a value is written out beside its error."""


def rounded_pair(value: float | None, error: float | None) -> tuple[str, str]:
    """A value and its error, the error with two digits and the value with as many decimal places."""
    if value is None or error is None or not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return number(value), number(error)
    places = decimals(error)
    if not -SPREAD < places <= SPREAD:
        return number(value, max(2, places + 1 + (math.floor(math.log10(abs(value))) if value else 0))), number(
            error, 2
        )
    return tuple(rounded(one, places).replace(MINUS, "-") for one in (value, error))  # type: ignore[return-value]


def measured(value: float | None, error: float | None) -> str:
    """`20.5 ± 4.8`."""
    return " ± ".join(rounded_pair(value, error))


def statistic(value: float | None, digits: int = 5) -> str:
    """A test statistic; what is below the accuracy of a minimisation is zero."""
    return number(0.0 if value is not None and abs(value) < NOISE else value, digits)


def probability(value: float | None) -> str:
    """A p-value for a table; beyond 37 standard deviations there is no such double-precision number."""
    return "< 1e-300" if value is not None and value <= SMALLEST else number(value)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    """A table whose first column is text and whose others are numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from bumpfit.console import printable

    result = Table(
        title=printable(title) or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for number, column in enumerate(columns):
        result.add_column(printable(column), justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        result.add_row(*(Text(printable(cell)) for cell in row))
    return result


def pairs(rows: Sequence[tuple[str, str]]) -> RenderableType:
    """Names and values below one another."""
    from rich.table import Table
    from rich.text import Text

    from bumpfit.console import printable

    result = Table.grid(padding=(0, 2))
    result.add_column(style="dim")
    result.add_column()
    for name, value in rows:
        result.add_row(Text(printable(name)), Text(printable(value)))
    return result


def stacked(*parts: RenderableType) -> RenderableType:
    """Several things below one another."""
    from rich.console import Group

    return Group(*parts)
