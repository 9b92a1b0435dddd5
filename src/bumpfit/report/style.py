"""How figures look: mplhep's HEP style at the size of a page column, without an experiment's name.

Figures are made without pyplot, so nothing has to be closed, no display is needed, and settings that a user made for
their own figures stay as they were.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec

import matplotlib.style
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text
from numpy.typing import NDArray

from bumpfit.errors import InputError

Array = NDArray[np.float64]
Call = ParamSpec("Call")

BLACK = "#000000"
BLUE = "#0072B2"
SKY = "#56B4E9"
GREEN = "#009E73"
ORANGE = "#E69F00"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#6b6b6b"
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
"""Colours that people with any colour vision tell apart (Okabe and Ito, 2008)."""

WIDTH = 5.6
HEIGHT = 4.1
DOTS_PER_INCH = 170

OWN = {
    "figure.figsize": (WIDTH, HEIGHT),
    "figure.facecolor": "white",
    "font.size": 12.0,
    "xtick.minor.ndivs": 2,
    "ytick.minor.ndivs": 2,
    "lines.linewidth": 1.6,
    "axes.linewidth": 1.0,
    "legend.handlelength": 1.6,
    "legend.labelspacing": 0.35,
    "errorbar.capsize": 0.0,
    "lines.markersize": 4.0,
    **{f"{axis}tick.{which}.{key}": value
       for axis in "xy"
       for which, key, value in (
           ("major", "size", 6.0), ("minor", "size", 3.0), ("major", "width", 0.9), ("minor", "width", 0.7))},
}  # fmt: skip


class Canvas(Figure):
    """A figure that a notebook shows without pyplot, and that has its style also where it is drawn later."""

    def draw(self, renderer: RendererBase) -> None:
        """In the style that its texts were made for: matplotlib would look for other fonts of their formulas."""
        with style():
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        return png(self)


_given: contextvars.ContextVar[tuple[Axes, ...]] = contextvars.ContextVar("axes", default=())


@contextlib.contextmanager
def drawing_on(axes: Axes | Sequence[Axes]) -> Iterator[None]:
    """Inside the block drawing functions use these axes, one a panel, in the style of their owner.

    Examples:
        >>> import matplotlib.pyplot as plt
        >>> figure, axis = plt.subplots()
        >>> with bumpfit.report.drawing_on(axis):
        ...     same = bumpfit.report.profile(bumpfit.inference.scan(model, "mu"))
        >>> same is figure
        True
    """
    token = _given.set((axes,) if isinstance(axes, Axes) else tuple(axes))
    try:
        yield
    finally:
        _given.reset(token)


def own_figure() -> bool:
    """Whether a drawing function makes its figure, so that it may lay it out."""
    return not _given.get()


def _taken(number: int) -> tuple[Figure, list[Axes]] | None:
    """The given axes and their figure; None: there are none, and a figure has to be made."""
    axes = _given.get()
    if axes and len(axes) != number:
        raise InputError(
            f"this figure has {number} panel{'s' * (number > 1)}, got {len(axes)} axes; give ax one a panel"
        )
    if not axes:
        return None
    figure = axes[0].get_figure()
    assert figure is not None
    return figure.get_figure(root=True), list(axes)


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Use the report's style inside the block; afterwards matplotlib is set as before.

    A letter that no font has is drawn as an empty box; matplotlib's warnings of each such letter are left out.
    """
    import mplhep

    look = {key: value for key, value in mplhep.style.ROOT.items() if value is not None}
    log = logging.getLogger("matplotlib.mathtext")
    log.addFilter(_no_glyphs)
    try:
        with (
            warnings.catch_warnings(),
            matplotlib.style.context(["default", {**look, **OWN, "axes.prop_cycle": cycler(color=CYCLE)}]),
        ):
            warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
            yield
    finally:
        log.removeFilter(_no_glyphs)


def _no_glyphs(record: logging.LogRecord) -> bool:
    return "does not have a glyph" not in record.getMessage()


def styled(draw: Callable[Call, Figure]) -> Callable[Call, Figure]:
    """Make a drawing function use `style`."""

    @functools.wraps(draw)
    def drawn(*args: Call.args, **kwargs: Call.kwargs) -> Figure:
        if _given.get():
            return draw(*args, **kwargs)
        with style():
            return draw(*args, **kwargs)

    return drawn


def panels(
    heights: tuple[float, ...] = (1.0,), *, width: float = WIDTH, height: float = HEIGHT, right: float = 0.18
) -> tuple[Figure, list[Axes]]:
    """A figure with panels above one another that share their x axis; `right` is the margin there in inches.

    Margins are fixed, which draws twice as fast as a layout that is solved for and lines figures up with each other.
    """
    if (taken := _taken(len(heights))) is not None:
        return taken
    figure = Canvas(figsize=(width, height))
    FigureCanvasAgg(figure)
    left, bottom, top, between = 0.85, 0.58, 0.12, 0.09
    axes = figure.subplots(
        len(heights),
        1,
        sharex=True,
        squeeze=False,
        gridspec_kw={
            "height_ratios": heights,
            "left": left / width,
            "right": 1 - right / width,
            "bottom": bottom / height,
            "top": 1 - top / height,
            "hspace": between * len(heights) / (height - bottom - top - between * (len(heights) - 1)),
        },
    )
    return figure, list(axes[:, 0])


def beside(
    number: int,
    *,
    width: float | None = None,
    height: float = HEIGHT,
    shares: Sequence[float] | None = None,
    **sides: float,
) -> tuple[Figure, list[Axes]]:
    """A figure with `number` panels beside one another, by default each as large as a figure of one panel.

    `shares`: relative widths, with a common y axis. `sides`: margins left, right, bottom, top in inches, and `between`
    panels as a share of their width.
    """
    if (taken := _taken(number)) is not None:
        return taken
    width = number * WIDTH if width is None else width
    left, right, bottom, top = (
        sides.get(name, inches) for name, inches in (("left", 0.85), ("right", 0.18), ("bottom", 0.58), ("top", 0.12))
    )
    figure = Canvas(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, number, squeeze=False, sharey=shares is not None, gridspec_kw={
        "left": left / width, "right": 1 - right / width, "bottom": bottom / height, "top": 1 - top / height,
        "wspace": sides.get("between", (left + right) / (WIDTH - left - right)), "width_ratios": shares,
    })  # fmt: skip
    return figure, list(axes[0])


def grid(number: int, *, columns: int = 3, width: float = 4.0, height: float = 3.3) -> tuple[Figure, list[Axes]]:
    """A figure with `number` panels in rows of `columns`, each with axes of its own and `width` x `height` inches."""
    if (taken := _taken(number)) is not None:
        return taken
    columns = min(columns, number)
    figure = Canvas(figsize=(width * columns, height * -(-number // columns)), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(-(-number // columns), columns, place + 1) for place in range(number)]


def event_scale(axis: Axes, contents: Array, *, ratio: float = 50.0) -> None:
    """Scale the events axis by what is drawn, `contents` of any shape.

    Logarithmic where the filled bins differ by more than `ratio`, with the smallest above the lower end; else linear
    from 0. The upper end leaves room for error bars.
    """
    filled = contents[np.isfinite(contents) & (contents > 0)]
    low, high = (float(filled.min()), float(filled.max())) if filled.size else (1.0, 1.0)
    if high > ratio * low:
        axis.set_yscale("log")
        axis.set_ylim(0.4 * max(low, 1e-6 * high), 1.1 * (high + 2 * np.sqrt(high)))
    else:
        axis.set_ylim(0.0, high + 2 * np.sqrt(high))


def headroom(axis: Axes, share: float = 0.3) -> None:
    """Raise the upper end of the y axis so that a legend fits above the data in `share` of its height."""
    low, high = axis.get_ylim()
    if axis.get_yscale() == "log":
        decades = (np.log10(high) - np.log10(low)) / (1 - share)
        axis.set_ylim(low, 10 ** min(np.log10(low) + decades, 300.0))
    else:
        axis.set_ylim(low, low + (high - low) / (1 - share))


def stairs(axis: Axes, values: Array, edges: Array, **how: Any) -> None:
    """A histogram outline or filled area drawn by mplhep."""
    import mplhep

    mplhep.histplot(values, edges, ax=axis, yerr=False, flow="none", **how)


def points(axis: Axes, values: Array, errors: Array, edges: Array, **how: Any) -> None:
    """Data points with error bars at the bin centres, drawn by mplhep."""
    import mplhep

    look = {"color": BLACK, "markersize": 6.5, "elinewidth": 1.0, **how}
    mplhep.histplot(values, edges, yerr=errors, ax=axis, histtype="errorbar", flow="none", **look)


def observed(axis: Axes, counts: Array, edges: Array, **how: Any) -> None:
    """Counts with their Poisson errors; a logarithmic axis has no place for bins without events."""
    shown = np.where(counts > 0, counts, np.nan) if axis.get_yscale() == "log" else counts
    points(axis, shown, poisson_errors(counts), edges, **{"label": "Data", **how})


def hidden(axis: Axes, counts: Array, edges: Array) -> None:
    """Shade the bins whose contents are NaN, which are blinded."""
    ends = np.flatnonzero(np.diff(np.concatenate([[False], np.isnan(counts), [False]])))
    for k, (first, last) in enumerate(ends.reshape(-1, 2)):
        label = None if k else "Blinded"
        axis.axvspan(edges[first], edges[last], color=GREY, alpha=0.2, linewidth=0, zorder=0, label=label)


def band(axis: Axes, low: Array, high: Array, edges: Array, **how: Any) -> None:
    """Hatched band of an uncertainty."""
    axis.stairs(
        high, edges, baseline=low, fill=True, facecolor="none", edgecolor=GREY, hatch="/////", linewidth=0, **how
    )


def pulls(axis: Axes, values: Array, edges: Array) -> None:
    """A panel of pulls, with lines at 0 and +-2; NaN where there is none."""
    stairs(axis, values, edges, histtype="fill", color=GREY, alpha=0.55)
    known = values[np.isfinite(values)]
    axis.set_ylim(min(-3.0, 1.15 * float(known.min(initial=0.0))), max(3.0, 1.15 * float(known.max(initial=0.0))))
    axis.axhline(0.0, color=BLACK, linewidth=0.8)
    for z in (-2, 2):
        axis.axhline(z, color=GREY, linestyle=":", linewidth=1.0)
    axis.set_ylabel("Pull", loc="center")


def poisson_errors(counts: Array) -> Array:
    """68.27 % central intervals of Poisson counts as error bars, shape (2, B) (Garwood, Biometrika 28 (1936) 437)."""
    from scipy.stats import chi2

    tail = 0.15865525393145707
    n = np.asarray(counts, dtype=np.float64)
    low = np.where(n > 0, 0.5 * chi2.ppf(tail, 2 * np.maximum(n, 0.5)), 0.0)
    return np.stack([n - low, 0.5 * chi2.isf(tail, 2 * (n + 1)) - n])


def as_texts(figure: Figure) -> None:
    """Draw labels as they are that are no formula, as names of files with a dollar sign in them.

    A label with an even number of dollar signs is a formula to matplotlib, and one that it cannot parse breaks the
    whole figure.
    """
    parser = MathTextParser("path")
    for label in figure.findobj(Text):
        text = str(label.get_text())
        if "$" in text:
            try:
                parser.parse(text)
            except ValueError:
                label.set_parse_math(False)


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes, the same for the same figure (no date inside).

    Examples:
        >>> figure = bumpfit.inference.scan(model, "mu").plot()
        >>> bumpfit.report.png(figure)[:4]
        b'\\x89PNG'
    """
    stream = io.BytesIO()
    with style():
        as_texts(figure)
        figure.savefig(stream, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return stream.getvalue()
