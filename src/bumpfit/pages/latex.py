"""The tables of the terminal as LaTeX: `-o FILE.tex` with any command that prints tables.

Numbers are rounded as on the terminal. The tables need no package: `tabular` with `\\hline`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bumpfit.pages.terminal import Sheet

if TYPE_CHECKING:
    from rich.console import RenderableType

SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": "$<$", ">": "$>$", "±": r"$\pm$", "σ": r"$\sigma$",
    "χ": r"$\chi$", "²": "$^2$", "−": "$-$", "∞": r"$\infty$", "—": "--", "√": r"$\surd$", "Δ": r"$\Delta$",
}  # fmt: skip
"""Characters that LaTeX reads otherwise, or that its fonts do not have."""

_POWER = re.compile(r"(?<![\w.])([-−]?\d+(?:\.\d+)?)e([-+]?\d+)(?![\w.])")
_NEGATIVE = re.compile(r"(?<![\w.])[-−](?=[\d.])")


def escaped(text: str) -> str:
    """Text as LaTeX prints it; numbers with signs and powers of ten in mathematics.

    Examples:
        >>> from bumpfit.pages.latex import escaped
        >>> escaped("k_top = -0.12 ± 0.05, p = 2.1e-05")
        'k\\\\_top = $-$0.12 $\\\\pm$ 0.05, p = $2.1\\\\times10^{-5}$'
    """
    parts = []
    end = 0
    for found in _POWER.finditer(text):
        mantissa = found[1].replace("−", "-")
        parts += [_plain(text[end : found.start()]), rf"${mantissa}\times10^{{{int(found[2])}}}$"]
        end = found.end()
    return "".join([*parts, _plain(text[end:])])


def _plain(text: str) -> str:
    return "".join(SPECIAL.get(character, character) for character in _NEGATIVE.sub("−", text))


def latex(shown: RenderableType) -> str:
    """The tables of what the terminal shows, below one another; sentences between them as comments."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    if isinstance(shown, Group):
        return "\n".join(filter(None, map(latex, shown.renderables)))
    if isinstance(shown, Sheet):
        return _tabular(shown.title, shown.columns, shown.rows)
    if isinstance(shown, Table):
        columns = [[cell.plain if isinstance(cell, Text) else str(cell) for cell in one.cells] for one in shown.columns]
        rows = list(zip(*columns, strict=True))
        if any(row[0].strip() for row in rows):
            return _tabular("", (), rows)
        return "".join(f"% {' '.join(row).strip()}\n" for row in rows)  # a sentence below a table
    return "".join(f"% {line}\n" for line in str(shown).splitlines() if line.strip())


def _tabular(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    width = max([len(header), *(len(row) for row in rows)])
    lines = [" & ".join(escaped(" ".join(cell.split())) for cell in row) + r" \\" for row in rows]
    head = [" & ".join(map(escaped, header)) + r" \\", r"\hline"] if header else []
    body = [r"\hline", *head, *lines, r"\hline"]
    begin = [f"% {title}"] if title else []
    return "\n".join([*begin, rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}", *body, r"\end{tabular}", ""])
