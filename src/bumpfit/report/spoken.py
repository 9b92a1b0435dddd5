"""A figure in words for those who do not see it: axes with their ranges, and what every line, bar and point says."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import Collection
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch
from matplotlib.ticker import FixedLocator, LogFormatter, NullFormatter, ScalarFormatter
from numpy.typing import NDArray

from bumpfit.console import printable
from bumpfit.report.rounding import count, significant

Array = NDArray[np.float64]

LONGEST = 700
"""Characters; whole sentences beyond are left out."""
FEW = 6
"""Points up to which every one is told."""
NOTHING = "nothing to see"
LETTERS = {
    "tau": "τ", "Delta": "Δ", "mu": "μ", "sigma": "σ", "theta": "θ", "hat": "", "alpha": "α", "epsilon": "ε", "pm": "±",
    "sqrt": "√", "leq": "≤", "geq": "≥", "times": "×", "infty": "∞", "chi": "χ", "Phi": "Φ", "pi": "π", "rho": "ρ",
}  # fmt: skip
LEFT_OUT = re.compile(r"\\(?:mathrm|mathit|rm|text|left|right|,|;|!)\s*")


@dataclasses.dataclass(frozen=True)
class _Side:
    """How numbers along an axis are told."""

    names: dict[float, str]
    """Names that stand at places instead of numbers."""
    invisible: float
    """What is nearer to zero cannot be told from it in the figure: rounding, most often."""

    def number(self, value: float, digits: int = 3) -> str:
        return _number(0.0 if abs(value) < self.invisible else value, digits)

    def place(self, value: float) -> str:
        """A place, by its name where it has one: the nearest within half of the way to the next."""
        if self.names:
            known = sorted(self.names)
            near = min(known, key=lambda at: abs(at - value))
            gap = min((b - a for a, b in pairwise(known)), default=1.0)
            if abs(near - value) < 0.5 * gap:
                return self.names[near]
        return self.number(value, 4)


def _side(axis: Axis) -> _Side:
    low, high = axis.get_view_interval()
    return _Side(_names(axis), 1e-6 * abs(high - low) if axis.get_scale() == "linear" else 0.0)


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
    sides = _side(panel.xaxis), _side(panel.yaxis)
    if x or y:
        rows = not y and sides[1].names  # whose names are told below
        yield f"{y or 'Values'} against {x}." if x and not rows else f"{x or y}."
    named = list(zip(*panel.get_legend_handles_labels(), strict=True))
    labelled: list[tuple[Any, str]] = [(handle, words(str(label))) for handle, label in named]
    if not labelled:  # what has no name is told where nothing has one
        lines = [line for line in panel.lines if not _is_guide(line)]
        drawn: list[Any] = [*(panel.containers or lines or panel.patches)]
        labelled = [(handle, "") for handle in drawn]
    for handle, label in labelled:
        told = _series(handle, sides)
        if told:
            first = told[0] if sides[1].names and told != NOTHING else told[0].upper()  # a name keeps its letters
            yield f"{label}: {told}." if label else f"{first}{told[1:]}."
    for image in panel.images:
        values = np.ma.filled(np.ma.asarray(image.get_array(), dtype=np.float64), np.nan)
        if values.ndim == 2 and np.isfinite(values).any():
            rows, columns = values.shape
            row, column = divmod(int(np.nanargmax(values)), columns)
            where = f"column {sides[0].place(column)}, row {sides[1].place(row)}"
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
    numbers = ScalarFormatter, LogFormatter, NullFormatter  # ticks that were chosen, with their numbers
    if not isinstance(axis.get_major_locator(), FixedLocator) or isinstance(axis.get_major_formatter(), numbers):
        return {}
    places = axis.get_ticklocs()
    shown = axis.get_major_formatter().format_ticks(list(places))
    return {float(at): words(name) for at, name in zip(places, shown, strict=True) if name}


def _series(handle: Any, sides: tuple[_Side, _Side]) -> str:
    if isinstance(handle, ErrorbarContainer):
        line = handle.lines[0]
        return "" if line is None else _points(*_data(line), sides)
    if isinstance(handle, BarContainer):
        return _bars(handle, sides)
    if isinstance(handle, StepPatch):
        top, edges, base = handle.get_data()
        values = np.asarray(top, dtype=np.float64) - (0.0 if base is None else np.asarray(base))  # None: a line
        middle = 0.5 * (np.asarray(edges)[1:] + np.asarray(edges)[:-1])
        if base is not None and np.any(base):  # a band
            return _points(middle, values, sides, "bins, upper less lower edge", few="upper less lower edge ")
        if handle.get_fill():  # of a stack it stands on the others
            return _points(middle, values, sides, "bins, upper edge", few="upper edge ")
        return _points(middle, values, sides, "bins")
    if isinstance(handle, Line2D):
        x, y = _data(handle)
        if x.size == 2 and x[0] == x[1]:
            return f"at {_number(float(x[0]))}"
        if x.size == 2 and y[0] == y[1]:
            return f"at a height of {_number(float(y[0]))}"
        return _points(x, y, sides)
    if isinstance(handle, Collection) and np.shape(handle.get_offsets())[0] > 1:
        offsets = np.ma.filled(np.ma.asarray(handle.get_offsets(), dtype=np.float64), np.nan)
        return _points(offsets[:, 0], offsets[:, 1], sides)
    return ""


def _bars(handle: BarContainer, sides: tuple[_Side, _Side]) -> str:
    """Where bars end; of those that do not stand on zero also where they begin."""
    boxes = [bar.get_bbox() for bar in handle.patches]
    lying = handle.orientation == "horizontal"
    along = sides[0] if lying else sides[1]
    middle = np.array([(b.y0 + b.y1) / 2 if lying else (b.x0 + b.x1) / 2 for b in boxes])
    ends = np.array([(b.x0, b.x1) if lying else (b.y0, b.y1) for b in boxes]).reshape(-1, 2)
    bases = ends[np.isfinite(ends).all(axis=1), 0]
    if not np.any(np.abs(bases) > along.invisible):
        return _points(ends[:, 1], middle, sides) if lying else _points(middle, ends[:, 1], sides)
    low, high = ends.min(axis=1), ends.max(axis=1)
    if len(boxes) > FEW and not sides[1 if lying else 0].names:
        length = high - low
        return _points(length, middle, sides) if lying else _points(middle, length, sides, "bars, upper less lower end")
    across = sides[1] if lying else sides[0]
    told = [
        f"{along.number(a)} to {along.number(b)}" if np.isfinite(a + b) else "none"
        for a, b in zip(low, high, strict=True)
    ]
    places = [across.place(at) for at in middle]
    rows = [f"{at} {what}" if across.names else f"{what} at {at}" for at, what in zip(places, told, strict=True)][:FEW]
    return ", ".join(rows) + (f" and {count(middle.size - FEW)} more" if middle.size > FEW else "")


def _data(line: Line2D) -> tuple[Array, Array]:
    x, y = (np.ma.filled(np.ma.asarray(v, dtype=np.float64), np.nan) for v in (line.get_xdata(), line.get_ydata()))
    return x, y


def _points(x: Array, y: Array, sides: tuple[_Side, _Side], kind: str = "points", few: str = "") -> str:
    """All of few points; of many how many, between what they lie, and where the smallest and largest are."""
    shown = np.isfinite(x) & np.isfinite(y)
    x, y = x[shown], y[shown]
    if not x.size:
        return NOTHING
    across, up = sides
    if up.names:  # rows with names: what stands in each of the first ones
        rows = [f"{up.place(b)} {across.number(a)}" for a, b in zip(x[:FEW], y[:FEW], strict=True)]
        return ", ".join(rows) + (f" and {count(x.size - FEW)} more" if x.size > FEW else "")
    if x.size <= FEW:
        return few + ", ".join(f"{up.number(b)} at {across.place(a)}" for a, b in zip(x, y, strict=True))
    low, high = int(np.argmin(y)), int(np.argmax(y))
    if y[high] - y[low] <= up.invisible:
        return f"{count(x.size)} {kind}, all {up.number(y[low])}"
    ends = (f"{up.number(y[k])} (at {across.place(x[k])})" for k in (low, high))
    return f"{count(x.size)} {kind} from " + " to ".join(ends)


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
