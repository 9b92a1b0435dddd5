"""Rows of a page's tables in another order: what a cell is worth, and the script that sorts.

The page is whole without its script. With it every head of a table becomes a button: rising, falling, as given. The
page allows this script by its hash and no other one, and fetches nothing (Content Security Policy, level 3, W3C).
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Sequence

FEWEST = 3
"""Rows from which a table can be sorted."""

SCRIPT = """
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0], given = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const order = new Intl.Collator(undefined, {numeric: true}).compare;
  const worth = (row, column) => {
    const cell = row.cells[column], text = cell.textContent.trim();
    return "v" in cell.dataset ? Number(cell.dataset.v) : text === "" || text === "—" ? null : text;
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort: rising, falling, as given";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = {ascending: "descending", descending: ""}[head.getAttribute("aria-sort")] ?? "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      const sign = next === "descending" ? -1 : 1, values = new Map(given.map(row => [row, worth(row, column)]));
      const compare = (a, b) => {
        const x = values.get(a), y = values.get(b);
        if (x === null || y === null) return (x === null) - (y === null);
        return sign * (typeof x === "number" ? x - y || 0 : order(x, y));
      };
      body.append(...(next ? [...given].sort(compare) : given));
      if (next) head.setAttribute("aria-sort", next);
    });
  });
}
"""

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-"
    + base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    + "'"
)
"""What the page may do: its own style, figures and script, nothing from elsewhere."""

NUMBER = re.compile(
    r"(?P<sign>[-−+]?)(?P<value>\d[\d\u202f]*(?:\.\d+)?|∞)(?:e(?P<power>[-+]?\d+))?"
    r"(?: (?:±|\+)[^×()]*)?\)?(?: ?× 10\^\{(?P<ten>[-−]?\d+)\})?"
)


def worth(cell: str) -> float | None:
    """The number that a cell begins with: `3502 ± 36 GeV`, `1.2 × 10^{−5}`, `(1.2 ± 0.3) × 10^{−5}`, `< 0.05`.

    Examples:
        >>> from bumpfit.report.sorting import worth
        >>> worth("< 1.2 × 10^{−5}"), worth("12\u202f345 ± 12"), worth("none")
        (1.2e-05, 12345.0, None)
    """
    text = cell.replace("**", "").strip().lstrip("<>≤≥≈~(").lstrip()
    found = NUMBER.match(f"1 × {text}" if text.startswith("10^{") else text)
    if found is None:
        return None
    digits = found["value"].replace("\u202f", "")
    power = (found["power"] or found["ten"] or "0").replace("−", "-")
    value = math.inf if digits == "∞" else float(f"{digits}e{power}")
    return -value if found["sign"] in ("-", "−") else value


def worths(column: Sequence[str]) -> list[float | None]:
    """Of each cell of a column; all None where one that says something is no number: such columns sort as texts."""
    values = [worth(cell) for cell in column]
    said = [value for cell, value in zip(column, values, strict=True) if cell.strip() not in ("", "—")]
    return values if said and None not in said else [None] * len(values)
