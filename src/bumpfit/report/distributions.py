"""Figures of distributions: data against background, scores, and the shape of selected background."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bumpfit.histograms import Histogram
from bumpfit.report.rounding import probability
from bumpfit.report.style import (
    BLACK,
    BLUE,
    GREY,
    SKY,
    VERMILION,
    WIDTH,
    band,
    event_scale,
    headroom,
    hidden,
    panels,
    points,
    poisson_errors,
    stairs,
    styled,
)

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class ShapeRatio:
    """Selected background over its share of the whole table: `edges` (B+1,), `ratio`, `error` (B,), and chi2 text.

    Examples:
        >>> import numpy as np
        >>> bumpfit.report.ShapeRatio("chi2 = 1.2", np.arange(3.0), np.ones(2), np.full(2, 0.1)).ratio.tolist()
        [1.0, 1.0]
    """

    label: str
    edges: Array
    ratio: Array
    error: Array


@styled
def data_and_background(
    data: Histogram,
    background: Histogram | None,
    scale: float,
    label: str,
    *,
    signal: Array | None = None,
    signal_name: str = "Signal",
    logarithmic: bool | None = None,
) -> Figure:
    """Data points over the background table times `scale`, with their ratio below when there is a table.

    `signal` (B,) events are drawn as an outline. `logarithmic` None chooses by the range of the contents.

    Examples:
        >>> data = bumpfit.histograms.from_counts([0.0, 1.0, 2.0, 3.0], [52, 31, 14])
        >>> table = bumpfit.histograms.from_counts([0.0, 1.0, 2.0, 3.0], [101, 58, 19])
        >>> figure = bumpfit.report.data_and_background(data, table, 0.5, "m [GeV]")
    """
    figure, axes = panels((1.0,) if background is None else (3.0, 1.0))
    main = axes[0]
    counts, edges = data.counts, data.edges
    if background is not None:
        expected, error = background.counts * scale, np.sqrt(background.variances) * scale
        stairs(main, expected, edges, histtype="fill", color=SKY, alpha=0.75, label="Background table, scaled")
        band(main, expected - error, expected + error, edges)
    if signal is not None:
        stairs(main, signal, edges, color=VERMILION, linestyle="--", label=signal_name)
    points(main, counts, poisson_errors(counts), edges, label="Data")
    hidden(main, counts, edges)
    highest = counts if background is None else np.maximum(counts, expected)
    if logarithmic is None:
        event_scale(main, highest)
    else:
        event_scale(main, highest, ratio=0.0 if logarithmic else np.inf)
    headroom(main, 0.25)
    main.set_ylabel("Events / bin")
    main.legend(loc="upper right", ncols=2)
    main.set_xlim(edges[0], edges[-1])
    if background is not None:
        safe = np.where(expected > 0, expected, np.nan)
        band(axes[1], 1 - error / safe, 1 + error / safe, edges)
        shown = counts > 0
        ratio = np.where(shown, counts / safe, np.nan)
        points(axes[1], ratio, poisson_errors(counts) / safe, edges)
        _around_one(axes[1], ratio, poisson_errors(counts)[1] / safe)
        _mark_beyond(axes[1], ratio, edges)
        axes[1].set_ylabel("Data / bkg.", loc="center")
    axes[-1].set_xlabel(label)
    return figure


@styled
def probabilities(histograms: Sequence[tuple[str, Histogram]], label: str) -> Figure:
    """Outlines of several histograms over one axis, events on a logarithmic axis (scores before and after).

    Examples:
        >>> before = bumpfit.histograms.from_counts([0.0, 0.5, 1.0], [900, 12])
        >>> after = bumpfit.histograms.from_counts([0.0, 0.5, 1.0], [895, 17])
        >>> figure = bumpfit.report.probabilities([("first", before), ("updated", after)], "score")
    """
    figure, (axis,) = panels()
    for (name, histogram), (color, line) in zip(histograms, ((BLUE, "-"), (VERMILION, "--")), strict=False):
        stairs(axis, histogram.counts, histogram.edges, color=color, linestyle=line, label=name)
    event_scale(axis, np.concatenate([histogram.counts for _, histogram in histograms]), ratio=0.0)
    headroom(axis, 0.2)
    axis.set_xlim(histograms[0][1].edges[0], histograms[0][1].edges[-1])
    axis.set_xlabel(label)
    axis.set_ylabel("Events / bin")
    axis.legend(loc="upper right")
    return figure


@styled
def background_shapes(shapes: Sequence[ShapeRatio], label: str) -> Figure:
    """One panel a selection: selected over expected background in bins of the mass, with the line at 1.

    Outermost bins that are far wider than their neighbours are drawn shortened.

    Examples:
        >>> import numpy as np
        >>> edges, values = np.arange(4.0), np.array([1.1, 0.9, 1.0])
        >>> ratio = bumpfit.report.ShapeRatio("1 % of background", edges, values, np.full(3, 0.1))
        >>> figure = bumpfit.report.background_shapes([ratio], "m [GeV]")
    """
    figure, axes = panels((1.0,) * len(shapes), height=0.7 + 0.95 * len(shapes), width=WIDTH)
    for axis, shape in zip(axes, shapes, strict=True):
        axis.axhline(1.0, color=GREY, linewidth=1.0)
        points(axis, shape.ratio, shape.error, _shortened(shape.edges), color=BLUE, xerr=True)
        _around_one(axis, shape.ratio, shape.error, line=False)
        axis.annotate(shape.label, (0.015, 0.9), xycoords="axes fraction", va="top", fontsize="x-small")
        low, high = axis.get_ylim()
        axis.set_ylim(low, high + 0.5 * (high - low))
    shown = [_shortened(shape.edges) for shape in shapes]
    axes[0].set_xlim(min(edges[0] for edges in shown), max(edges[-1] for edges in shown))
    figure.supylabel("Selected / expected", x=0.02, fontsize="medium")
    axes[-1].set_xlabel(label)
    return figure


def _shortened(edges: Array) -> Array:
    """Edges whose outermost bins, which hold the tails, are at most three times as wide as their neighbours."""
    if edges.size < 4:
        return edges
    low = max(edges[0], edges[1] - 3 * (edges[2] - edges[1]))
    high = min(edges[-1], edges[-2] + 3 * (edges[-2] - edges[-3]))
    return np.concatenate([[low], edges[1:-1], [high]])


def shape_label(efficiency: float, chi2: float, bins: int, p: float) -> str:
    """Text in a panel of `background_shapes`."""
    value = probability(p).replace("{", "").replace("}", "")
    power = f"${value.replace('× 10^', chr(92) + 'times 10^{').replace('−', '-')}}}$" if "^" in value else value
    return f"{efficiency:.2%} of background: $\\chi^2$ = {chi2:.1f} in {bins} bins, p = {power}"


def _mark_beyond(axis: Axes, ratio: Array, edges: Array) -> None:
    """Triangles at the upper end of a ratio panel where points lie beyond it."""
    top = axis.get_ylim()[1]
    beyond = np.nan_to_num(ratio, nan=0.0) > top
    centres = 0.5 * (edges[1:] + edges[:-1])
    height = np.full(int(beyond.sum()), 0.93)
    axis.plot(
        centres[beyond], height, "^", color=VERMILION, markersize=5, transform=axis.get_xaxis_transform(), clip_on=False
    )


def _around_one(axis: Axes, ratio: Array, error: Array, *, line: bool = True) -> None:
    """A range of a ratio panel that shows what is precise, at least 0.9 to 1.1 and at most 0 to 2.5."""
    seen = np.isfinite(ratio) & np.isfinite(error)
    reach = np.abs(ratio[seen] - 1) + error[seen]
    half = float(np.clip(1.1 * reach.max() if reach.size else 0.5, 0.1, 1.5))
    axis.set_ylim(max(1 - half, 0.0), 1 + half)
    axis.yaxis.set_major_locator(MaxNLocator(3, prune="both" if line else None))
    if line:
        axis.axhline(1.0, color=BLACK, linewidth=0.8)
