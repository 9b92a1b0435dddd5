"""Tables of a spectrum in the formats of HEPData (YAML, CSV), YODA and plain CSV: edges, values and errors."""

from __future__ import annotations

import csv
import dataclasses
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.foreign import read_yaml
from bumpfit.foreign_histograms import SCHEMA, check_contents

Array = NDArray[np.float64]

SUFFIXES = (".yaml", ".yml", ".yoda")
"""Endings of files that can only be published spectra; CSV, JSON and ROOT may be."""

LARGEST = 50_000_000
"""Bytes a file of a spectrum may have."""

YODA_KINDS = ("HISTO1D", "SCATTER2D", "ESTIMATE1D", "BINNEDESTIMATE<D>")
"""Objects of YODA that are read."""

LOW_NAMES = ("low", "xlow", "x_low", "left", "lower", "mass_low", "edge_low", "m_low")
HIGH_NAMES = ("high", "xhigh", "x_high", "right", "upper", "mass_high", "edge_high", "m_high")
VALUE_NAMES = ("count", "counts", "n", "events", "entries", "value", "data", "observed", "y")
ERROR_NAMES = ("error", "err", "stat", "sigma", "uncertainty")


def is_published(path: Path) -> bool:
    """Whether a file can only be a published spectrum, by its ending or (JSON) by its content."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        return SCHEMA.encode() in file.read(100_000)


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Edges (B + 1,) in the unit `unit` ("" when not said), values (B,), and errors downwards and upwards (B,), both
    positive; NaN where there are none. `name` and `value_unit` as the file says.
    """

    edges: Array
    values: Array
    down: Array
    up: Array
    name: str
    unit: str
    value_unit: str


def text_of(path: Path) -> str:
    """The text of a file; raises InputError for one that is missing, too large or no text."""
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} has more than {LARGEST} bytes, which is no table of a spectrum")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' is not a text file in UTF-8") from error


def number(text: Any, where: str) -> float:
    """A finite number; raises InputError for anything else."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        raise InputError(f"{where}: expected a number, got '{str(text)[:40]}'") from None
    except OverflowError:  # a whole number of 309 digits
        value = math.inf
    if not math.isfinite(value):
        raise InputError(f"{where}: numbers must be finite, got '{str(text)[:40]}'")
    return value


def table(
    low: Sequence[float], high: Sequence[float], values: Sequence[float],
    errors: tuple[Sequence[float], Sequence[float]], where: str, *,
    name: str = "", unit: str = "", value_unit: str = "",
) -> Table:  # fmt: skip
    """Rows in the order of their bins as a table, with errors downwards and upwards; raises InputError for bins that
    overlap or leave gaps.
    """
    if not low:
        raise InputError(f"{where} has no bins")
    order = np.argsort(low, kind="stable")
    lows, highs = np.asarray(low, dtype=np.float64)[order], np.asarray(high, dtype=np.float64)[order]
    if not (lows < highs).all():
        b = int(np.argmin(highs - lows))
        raise InputError(f"{where}: a bin goes from {lows[b]:g} to {highs[b]:g}")
    apart = np.abs(lows[1:] - highs[:-1]) > 1e-6 * np.minimum(highs[1:] - lows[1:], highs[:-1] - lows[:-1])
    if apart.any():
        b = int(np.argmax(apart))
        raise InputError(
            f"{where}: the bins {lows[b]:g} to {highs[b]:g} and {lows[b + 1]:g} to {highs[b + 1]:g} "
            f"do not touch; a spectrum "
            "needs bins without gaps"
        )
    v, d, u = (np.asarray(column, dtype=np.float64)[order] for column in (values, *errors))
    check_contents(v, np.abs(v), where)
    return Table(np.append(lows, highs[-1]), v, np.abs(d), np.abs(u), name, unit, value_unit)


def unit_in(header: str) -> str:
    """The unit in brackets at the end of a header: "m(jj) [TeV]"."""
    found = re.search(r"[\[(]\s*([^\[\]()]*)\s*[\])]\s*$", header.strip())
    return found[1].strip() if found else ""


# ---------------------------------------------------------------- CSV


def from_csv(path: Path, chosen: str | None) -> Table:
    """A CSV of HEPData, or columns of low and high edges, counts and maybe errors."""
    lines = [line for line in text_of(path).splitlines() if line.strip()]
    title = next((line.split(":", 2)[2].strip() for line in lines if line.startswith("#: name:")), "")
    rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    if not rows:
        raise InputError(f"'{path}' holds no rows")
    head = [cell.strip() for cell in rows[0]]
    if all(_is_number(cell) for cell in head):
        return _plain(rows, path, title)
    body = rows[1:]
    # HEPData writes several tables below one another: the first one ends where the next header begins
    end = next((i for i, row in enumerate(body) if not _is_number(row[0] if row else "")), len(body))
    body = body[:end]
    lows = [i for i, cell in enumerate(head) if cell.upper().endswith(" LOW") or cell.lower() in LOW_NAMES]
    highs = [i for i, cell in enumerate(head) if cell.upper().endswith(" HIGH") or cell.lower() in HIGH_NAMES]
    if not (lows and highs):
        raise InputError(
            f"the columns of '{path}' name no low and high edges of bins ({', '.join(head[:6])}); expected HEPData's "
            f"'... LOW' and '... HIGH', or columns low, high, count"
        )
    low, high = lows[0], highs[0]
    taken = {low, high, *([low - 1] if head[low].upper().endswith(" LOW") else [])}
    errors = [i for i, cell in enumerate(head) if re.search(r"[+-]\s*$", cell) or cell.lower() in ERROR_NAMES]
    named = [i for i in range(len(head)) if i not in taken and i not in errors]
    if all(head[i].lower() not in VALUE_NAMES for i in named) and not head[low].upper().endswith(" LOW"):
        raise InputError(
            f"no column of '{path}' has counts ({', '.join(head)}); call it one of {', '.join(VALUE_NAMES)}"
        )
    plain = [i for i in named if head[i].lower() in VALUE_NAMES] or named
    value = _chosen([head[i] for i in plain], chosen, str(path), plain)
    after = [i for i in errors if i > value and not any(value < j < i for j in named)]
    columns = [_column(body, i, head[i], path) for i in (low, high, value)]
    down, up = _errors(body, head, after, path)
    return table(
        columns[0], columns[1], columns[2], (down, up), f"'{path}'", name=title or head[value],
        unit=unit_in(re.sub(r" LOW$", "", head[low], flags=re.IGNORECASE)),
        value_unit=unit_in(head[value]),
    )  # fmt: skip


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column(rows: list[list[str]], i: int, name: str, path: Path) -> list[float]:
    found = []
    for k, row in enumerate(rows):
        if i >= len(row):
            raise InputError(f"row {k + 1} of '{path}' has no column '{name}'")
        found.append(number(row[i], f"column '{name}' of row {k + 1} of '{path}'"))
    return found


def _errors(rows: list[list[str]], head: list[str], columns: list[int], path: Path) -> tuple[list[float], list[float]]:
    """Statistical errors downwards and upwards: the first pair of columns, or one column for both."""
    if not columns:
        return [math.nan] * len(rows), [math.nan] * len(rows)
    first = columns[0]
    pair = columns[1] if len(columns) > 1 and head[columns[1]].rstrip().endswith(("-", "+")) else first
    plus, minus = (first, pair) if not head[first].rstrip().endswith("-") else (pair, first)
    return _column(rows, minus, head[minus], path), _column(rows, plus, head[plus], path)


def _plain(rows: list[list[str]], path: Path, title: str) -> Table:
    """Numbers without a header: low, high, count and maybe an error."""
    width = len(rows[0])
    if width not in (3, 4, 5):
        raise InputError(
            f"'{path}' has {width} columns of numbers; expected low, high, count and maybe one or two errors"
        )
    columns = [[number(row[i] if i < width else "", f"row {k + 1} of '{path}'") for k, row in enumerate(rows)
                if len(row) == width or _ragged(path, k)] for i in range(width)]  # fmt: skip
    none = [math.nan] * len(rows)
    down, up = {3: (none, none), 4: (columns[-1], columns[-1]), 5: (columns[-2], columns[-1])}[width]
    return table(columns[0], columns[1], columns[2], (down, up), f"'{path}'", name=title)


def _ragged(path: Path, k: int) -> bool:
    raise InputError(f"row {k + 1} of '{path}' has another number of columns than the first one")


def _chosen(names: list[str], chosen: str | None, where: str, numbers: list[int]) -> int:
    """The position of the column or object that was asked for, or of the only one."""
    if chosen is None:
        if len(names) > 1:
            raise InputError(f"{where} holds {len(names)} spectra ({', '.join(names[:6])}); name one with --object")
        if not names:
            raise InputError(f"{where} holds no spectrum: beside the edges of its bins there are no values")
        return numbers[0]
    fits = [i for name, i in zip(names, numbers, strict=True) if name == chosen or name.split(" [")[0] == chosen]
    if not fits:
        raise InputError(f"{where} has no '{chosen}'; it has {', '.join(names[:8])}")
    return fits[0]


# ---------------------------------------------------------------- HEPData YAML


def from_yaml(path: Path, chosen: str | None) -> Table:
    """A table of HEPData: one independent variable with low and high ends, one of its dependent variables."""
    content = read_yaml(path, "a table of HEPData")
    if not (isinstance(content, dict) and isinstance(content.get("independent_variables"), list)
            and isinstance(content.get("dependent_variables"), list)):  # fmt: skip
        raise InputError(f"'{path}' is no table of HEPData: it has no independent_variables and dependent_variables")
    if len(content["independent_variables"]) != 1:
        raise InputError(
            f"'{path}' has {len(content['independent_variables'])} independent variables; a spectrum has one"
        )
    axis, dependent = content["independent_variables"][0], content["dependent_variables"]
    if not all(isinstance(variable, dict) for variable in (axis, *dependent)):
        raise InputError(f"'{path}' has a variable that is no object with header and values")
    names = [str(_header(v).get("name", "")) for v in dependent]
    which = dependent[_chosen(names, chosen, f"'{path}'", list(range(len(names))))]
    low, high, values, down, up = [], [], [], [], []
    bins, cells = axis.get("values") or [], which.get("values") or []
    if not (isinstance(bins, list) and isinstance(cells, list)):
        raise InputError(f"'{path}' has values that are no list")
    if len(cells) != len(bins):
        raise InputError(f"'{path}' has {len(bins)} bins but {len(cells)} values")
    for k, (bin_, cell) in enumerate(zip(bins, cells, strict=True)):
        where = f"bin {k + 1} of '{path}'"
        if not isinstance(bin_, dict) or not {"low", "high"} <= bin_.keys():
            raise InputError(f"{where} has no low and high end; a spectrum needs the edges of its bins")
        value = cell.get("value") if isinstance(cell, dict) else None
        if value == "-" or value is None:
            raise InputError(f"{where} has no value; leave the bin out of the table")
        low.append(number(bin_["low"], where))
        high.append(number(bin_["high"], where))
        values.append(number(value, where))
        a, b = _yaml_errors(cell.get("errors") or [], where)
        down.append(a)
        up.append(b)
    return table(
        low, high, values, (down, up), f"'{path}'", name=str(_header(which).get("name", "")),
        unit=str(_header(axis).get("units") or unit_in(str(_header(axis).get("name", "")))),
        value_unit=str(_header(which).get("units") or unit_in(str(_header(which).get("name", "")))),
    )  # fmt: skip


def _header(variable: Any) -> dict[str, Any]:
    header = variable.get("header") if isinstance(variable, dict) else None
    return header if isinstance(header, dict) else {}


def _yaml_errors(errors: Any, where: str) -> tuple[float, float]:
    """The statistical error downwards and upwards: the one with 'stat' in its label, or the only one."""
    if not isinstance(errors, list) or not errors:
        return math.nan, math.nan
    statistical = [e for e in errors if isinstance(e, dict) and "stat" in str(e.get("label", "")).lower()]
    entry = (statistical or errors)[0]
    if not isinstance(entry, dict):
        raise InputError(f"{where} has an error that is no object with symerror or asymerror")
    if "symerror" in entry:
        value = number(entry["symerror"], where)
        return value, value
    both = entry.get("asymerror")
    if not isinstance(both, dict) or not {"plus", "minus"} <= both.keys():
        raise InputError(f"{where} has an error without symerror and without asymerror of plus and minus")
    return number(both["minus"] or 0.0, where), number(both["plus"] or 0.0, where)


# ---------------------------------------------------------------- YODA


def from_yoda(path: Path, chosen: str | None) -> Table:
    """A histogram (HISTO1D of YODA 1 and 2), scatter or estimate of a YODA file, which is not compressed."""
    blocks = re.findall(r"BEGIN YODA_(\w+?)(?:_V(\d))? (\S+)\n(.*?)\nEND YODA", text_of(path), flags=re.DOTALL)
    wanted = [block for block in blocks if block[0] in YODA_KINDS and not block[2].startswith("/RAW")]
    if not wanted:
        raise InputError(f"'{path}' holds no one-dimensional histogram, scatter or estimate of YODA")
    at = _chosen([name for _, _, name, _ in wanted], chosen, f"'{path}'", list(range(len(wanted))))
    kind, _, name, text = wanted[at]
    where = f"{name} of '{path}'"
    edges = re.search(r"^Edges\(A1\):\s*\[(.*?)\]", text, flags=re.MULTILINE)
    rows = [line.split() for line in text.splitlines() if re.match(r"[-+]?\.?\d", line.strip())]
    numbers = [[math.nan if cell in ("---", "nan") else number(cell, where) for cell in row] for row in rows]
    least = {"HISTO1D": 2 if edges else 4, "SCATTER2D": 6}.get(kind, 1)
    if any(len(row) < least for row in numbers):
        raise InputError(f"{where} has a row of fewer than {least} numbers")
    if edges is not None:
        ends = [number(cell, where) for cell in edges[1].split(",")]
        inner = numbers[1:-1] if len(numbers) == len(ends) + 1 else numbers
        if len(inner) != len(ends) - 1:
            raise InputError(f"{where} has {len(ends) - 1} bins but {len(inner)} rows")
        if kind == "HISTO1D":
            errors = _roots([row[0] for row in inner], [row[1] for row in inner], where)
            return table(ends[:-1], ends[1:], [row[0] for row in inner], (errors, errors), where, name=name)
        down = [row[1] if len(row) > 2 else math.nan for row in inner]
        up = [row[2] if len(row) > 2 else math.nan for row in inner]
        return table(ends[:-1], ends[1:], [row[0] for row in inner], (down, up), where, name=name)
    if kind == "HISTO1D":
        errors = _roots([row[2] for row in numbers], [row[3] for row in numbers], where)
        return table(
            [r[0] for r in numbers],
            [r[1] for r in numbers],
            [r[2] for r in numbers],
            (errors, errors),
            where,
            name=name,
        )
    low, high = [r[0] - r[1] for r in numbers], [r[0] + r[2] for r in numbers]
    return table(
        low, high, [r[3] for r in numbers], ([r[4] for r in numbers], [r[5] for r in numbers]), where, name=name
    )


def _roots(sums: list[float], squares: list[float], where: str) -> list[float]:
    """Errors of sums of weights; raises InputError where they or the squares are none."""
    check_contents(np.array(sums), np.array(squares), where)
    return [math.sqrt(square) for square in squares]
