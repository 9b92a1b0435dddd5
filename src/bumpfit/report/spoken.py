"""A figure in words for those who do not see it: axes with their ranges, and what every line, bar and point says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

from bumpfit.console import printable
from bumpfit.report.rounding import count, significant

Array = NDArray[np.float64]

LONGEST = 700
"""Characters; whole sentences beyond are left out."""
FEW = 6
"""Points up to which every one is told."""
LETTERS = {
    "tau": "τ", "Delta": "Δ", "mu": "μ", "sigma": "σ", "theta": "θ", "hat": "", "alpha": "α", "epsilon": "ε", "pm": "±",
    "sqrt": "√", "leq": "≤", "geq": "≥", "times": "×", "infty": "∞", "chi": "χ", "Phi": "Φ", "pi": "π", "rho": "ρ",
}  # fmt: skip
LEFT_OUT = re.compile(r"\\(?:mathrm|mathit|rm|text|left|right|,|;|!)\s*")


def spoken(figure: Figure) -> str:
    """What a figure shows, in sentences with numbers: panel by panel, line by line."""
    said = ""
    for panel in figure.axes:
        if not panel.get_visible() or not panel.axison or panel.get_label() == "<colorbar>":
            continue
        for sentence in _panel(panel):
            if len(said) + len(sentence) >= LONGEST:
                return said.strip()
            said += f"{sentence} "
    return said.strip()


def words(label: str) -> str:
    """A label without the signs of its formulas.

    Examples:
        >>> from bumpfit.report.spoken import words
        >>> words(r"$\\tau_2/\\tau_1$ of J1"), words("$m_{JJ}$ [GeV]")
        ('τ_2/τ_1 of J1', 'm_JJ [GeV]')
    """
    text = LEFT_OUT.sub("", label.replace(r"\$", "\0"))
    text = re.sub(r"\\([A-Za-z]+)", lambda found: LETTERS.get(found[1], found[1]), text)
    return printable(" ".join(re.sub(r"[${}]", "", text).replace("\0", "$").split()))


def _panel(panel: Axes) -> Iterator[str]:
    x, y = (_extent(axis) for axis in (panel.xaxis, panel.yaxis))
    if x or y:
        yield f"{y or 'Values'} against {x}." if x else f"{y}."
    named = list(zip(*panel.get_legend_handles_labels(), strict=True))
    labelled: list[tuple[Any, str]] = [(handle, words(str(label))) for handle, label in named]
    if not labelled:  # what has no name is told where nothing has one
        lines = [line for line in panel.lines if not _is_guide(line)]
        drawn: list[Any] = [*(panel.containers or lines or panel.patches)]
        labelled = [(handle, "") for handle in drawn]
    names = _names(panel.xaxis), _names(panel.yaxis)
    for handle, label in labelled:
        told = _series(handle, names)
        if told:
            first = told[0] if names[1] else told[0].upper()  # a name keeps its letters
            yield f"{label}: {told}." if label else f"{first}{told[1:]}."
    for image in panel.images:
        values = np.ma.filled(np.ma.asarray(image.get_array(), dtype=np.float64), np.nan)
        if values.ndim == 2 and np.isfinite(values).any():
            rows, columns = values.shape
            row, column = divmod(int(np.nanargmax(values)), columns)
            where = f"column {_place(column, names[0])}, row {_place(row, names[1])}"
            low, high = _number(np.nanmin(values)), _number(np.nanmax(values))
            yield f"{columns} × {rows} cells from {low} to {high} ({where})."


def _extent(axis: Axis) -> str:
    """`m_JJ [GeV] from 2000 to 6000`; empty without a label."""
    label = words(axis.get_label_text())
    if not label:
        return ""
    if _names(axis) or not axis.get_ticklocs().size:
        return label
    low, high = axis.get_view_interval()
    return f"{label} from {_number(float(low))} to {_number(float(high))}"


def _names(axis: Axis) -> dict[float, str]:
    """Names that stand at places of an axis instead of numbers."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return {}
    places = axis.get_ticklocs()
    shown = axis.get_major_formatter().format_ticks(list(places))
    return {float(at): words(name) for at, name in zip(places, shown, strict=True) if name}


def _series(handle: Any, names: tuple[dict[float, str], dict[float, str]]) -> str:
    if isinstance(handle, ErrorbarContainer):
        line = handle.lines[0]
        return "" if line is None else _points(*_data(line), names)
    if isinstance(handle, BarContainer):
        bars = [bar.get_bbox() for bar in handle.patches]
        if handle.orientation == "horizontal":
            return _points(np.array([b.x1 if b.x1 != 0 else b.x0 for b in bars]),
                           np.array([(b.y0 + b.y1) / 2 for b in bars]), names)  # fmt: skip
        return _points(np.array([(b.x0 + b.x1) / 2 for b in bars]),
                       np.array([b.y1 if b.y1 != 0 else b.y0 for b in bars]), names)  # fmt: skip
    if isinstance(handle, StepPatch):
        top, edges, base = handle.get_data()
        values = np.asarray(top, dtype=np.float64) - np.asarray(base)
        middle = 0.5 * (np.asarray(edges)[1:] + np.asarray(edges)[:-1])
        if np.any(base):  # a band
            return _points(middle, values, names, "bins, upper less lower edge", few="upper less lower edge ")
        if handle.get_fill():  # of a stack it stands on the others
            return _points(middle, values, names, "bins, upper edge", few="upper edge ")
        return _points(middle, values, names, "bins")
    if isinstance(handle, Line2D):
        x, y = _data(handle)
        if x.size == 2 and x[0] == x[1]:
            return f"at {_number(float(x[0]))}"
        if x.size == 2 and y[0] == y[1]:
            return f"at a height of {_number(float(y[0]))}"
        return _points(x, y, names)
    if isinstance(handle, Collection) and np.shape(handle.get_offsets())[0] > 1:
        offsets = np.ma.filled(np.ma.asarray(handle.get_offsets(), dtype=np.float64), np.nan)
        return _points(offsets[:, 0], offsets[:, 1], names)
    return ""


def _data(line: Line2D) -> tuple[Array, Array]:
    x, y = (np.ma.filled(np.ma.asarray(v, dtype=np.float64), np.nan) for v in (line.get_xdata(), line.get_ydata()))
    return x, y


def _points(
    x: Array, y: Array, names: tuple[dict[float, str], dict[float, str]], kind: str = "points", few: str = ""
) -> str:
    """All of few points; of many how many, between what they lie, and where the smallest and largest are."""
    shown = np.isfinite(x) & np.isfinite(y)
    x, y = x[shown], y[shown]
    if not x.size:
        return "nothing to see"

    if names[1]:  # rows with names: what stands in each of the first ones
        rows = [f"{_place(b, names[1])} {_number(a)}" for a, b in zip(x[:FEW], y[:FEW], strict=True)]
        return ", ".join(rows) + (f" and {count(x.size - FEW)} more" if x.size > FEW else "")
    if x.size <= FEW:
        return few + ", ".join(f"{_number(b)} at {_place(a, names[0])}" for a, b in zip(x, y, strict=True))
    low, high = int(np.argmin(y)), int(np.argmax(y))
    if y[low] == y[high]:
        return f"{count(x.size)} {kind}, all {_number(y[low])}"
    ends = (f"{_number(y[k])} (at {_place(x[k], names[0])})" for k in (low, high))
    return f"{count(x.size)} {kind} from " + " to ".join(ends)


def _place(value: float, known: dict[float, str]) -> str:
    """A place on an axis, by its name where it has one."""
    near = min(known, key=lambda at: abs(at - value), default=None)
    return known[near] if near is not None and abs(near - value) < 0.5 else _number(value, 4)


def _is_guide(handle: Any) -> bool:
    """Whether it is a line across the panel."""
    if not isinstance(handle, Line2D):
        return False
    x, y = _data(handle)
    return x.size == 2 and (x[0] == x[1] or y[0] == y[1])


def _number(value: float, digits: int = 3) -> str:
    """Digits without zeros at the end of a fraction."""
    text = re.sub(r"[{}]", "", significant(float(value), digits))
    return re.sub(r"(\.\d*?)0+(?!\d)", r"\1", text).replace(". ", " ").removesuffix(".")


__all__ = ["spoken", "words"]
