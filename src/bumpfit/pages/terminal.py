"""Tables and numbers on the terminal."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bumpfit.normal import SMALLEST
from bumpfit.report.rounding import MINUS, decimals, rounded

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult


NOISE = 1e-7
"""Differences of -2 ln L that a minimisation does not know."""


def number(value: float | None, digits: int = 5) -> str:
    """A number for a table; a dash where there is none."""
    return "—" if value is None or not math.isfinite(value) else f"{value + 0.0:.{digits}g}"


SPREAD = 5
"""Decimal places up to which a value is written out beside its error."""
KNOWN = 15
"""Digits that a number in double precision has."""


def rounded_pair(value: float | None, error: float | None) -> tuple[str, str]:
    """A value and its error, the error with two digits and the value with as many decimal places."""
    if value is None or error is None or not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return number(value), number(error)
    places = decimals(error)
    digits = places + 1 + (math.floor(math.log10(abs(value))) if value else 0)
    if not -SPREAD < places <= SPREAD or digits > KNOWN:
        return number(value, min(max(2, digits), KNOWN)), number(error, 2)
    return tuple(rounded(one, places).replace(MINUS, "-") for one in (value, error))  # type: ignore[return-value]


def measured(value: float | None, error: float | None) -> str:
    """`20.5 ± 4.8`; the value alone without an error."""
    return number(value) if error is None else " ± ".join(rounded_pair(value, error))


def like(size: float | None, *values: float | None) -> list[str]:
    """Values with the decimal places of an error of this size; without a size by themselves.

    Examples:
        >>> from bumpfit.pages.terminal import like
        >>> like(0.397, 0.268091, 1.06806, None, 3e-17)
        ['0.27', '1.07', '—', '0.00']
    """
    return [number(value) if size is None else rounded_pair(value, size)[0] for value in values]


def statistic(value: float | None, digits: int = 5) -> str:
    """A test statistic; what is below the accuracy of a minimisation is zero."""
    return number(0.0 if value is not None and abs(value) < NOISE else value, digits)


def probability(value: float | None) -> str:
    """A p-value with two digits, as on a page; beyond 37 standard deviations there is no such double-precision number.

    Examples:
        >>> from bumpfit.pages.terminal import probability
        >>> probability(8.4148e-12), probability(0.0)
        ('8.4e-12', '< 1e-300')
    """
    return "< 1e-300" if value is not None and value <= SMALLEST else number(value, 2)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    """A table whose first column is text and whose others are numbers.

    Where the columns are too many for the terminal, they go into several tables with the same first column: numbers and
    words of the header are never folded.
    """
    from bumpfit.console import printable

    return Sheet(
        printable(title),
        tuple(printable(c) for c in columns),
        tuple(tuple(printable(cell) for cell in row) for row in rows),
    )


FIRST = 0.4
"""Largest share of the width that the first column takes when others need it: its text is wrapped."""
NAMES = 0.7
"""The same where one of its words, such as a name, is longer."""
HEADER = 9
"""Characters up to which a header stays on one line."""
GAP = 3
"""Width between two columns."""


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A table that knows the width only when it is drawn."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        widths = [
            max(_longest(c.split()), min(_longest([c]), HEADER), _longest(self._cells(k)))
            for k, c in enumerate(self.columns)
        ]
        natural = max(_longest(self._cells(0)), _longest([self.columns[0]]))
        word = _longest(w for text in (self.columns[0], *self._cells(0)) for w in text.split())
        room = options.max_width - 2
        first = natural
        if natural + sum(w + GAP for w in widths[1:]) > room:
            first = min(natural, max(int(FIRST * room), min(word, int(NAMES * room))))
        for number, chosen in enumerate(_chunks(widths, room - first)):
            if self.title and number == 0:  # above, not in the table: rich folds a title to the width of its table
                yield Text(self.title, style="bold")
            sheet = Table(box=box.SIMPLE_HEAD, pad_edge=False)
            left = room - sum(widths[k] + GAP for k in chosen)
            sheet.add_column(Text(self.columns[0]), overflow="fold", max_width=max(left, 1))
            for k in chosen:
                header = "\n".join(textwrap.wrap(self.columns[k], max(widths[k], 1), break_long_words=False))
                sheet.add_column(Text(header), justify="right", no_wrap=widths[k] <= room - GAP, overflow="fold")
            for row in self.rows:
                sheet.add_row(*(Text(row[k]) for k in (0, *chosen) if k < len(row)))
            yield sheet

    def _cells(self, k: int) -> list[str]:
        return [line for row in self.rows if k < len(row) for line in row[k].splitlines()]


def _longest(texts: Iterable[str]) -> int:
    from rich.cells import cell_len

    return max((cell_len(text) for text in texts), default=0)


def _chunks(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns after the first one in groups whose widths, with gaps, fit into the room; one at least in each."""
    found: list[list[int]] = [[]]
    used = 0
    for k, width in enumerate(widths[1:], 1):
        if found[-1] and used + width + GAP > room:
            found.append([])
            used = 0
        found[-1].append(k)
        used += width + GAP
    return found


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
