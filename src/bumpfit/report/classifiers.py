"""Figures of a classifier: its score, what every threshold does, the ROC curve, and the templates of a likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import NDArray

from bumpfit.report.fitted import FILLS
from bumpfit.report.profiles import plain_text
from bumpfit.report.style import (
    BLACK,
    BLUE,
    CYCLE,
    GREY,
    HEIGHT,
    ORANGE,
    VERMILION,
    WIDTH,
    Canvas,
    band,
    event_scale,
    headroom,
    observed,
    panels,
    points,
    poisson_errors,
    stairs,
    styled,
)
from bumpfit.scoring.curves import Curves
from bumpfit.scoring.metrics import Merit

Array = NDArray[np.float64]

NARROW = 1 / 50
"""Bins narrower than this share of the range are drawn side by side with equal widths instead of to scale."""


@styled
def performance(found: Curves, largest: Mapping[str, Merit], auc: str) -> Figure:
    """Score by class, above the significance over the threshold with the maxima `largest` ("significance", "asimov")
    marked; beside both the background rejection over the signal efficiency, with the `auc` written in.

    Examples:
        >>> from bumpfit.scoring import max_significance
        >>> from bumpfit.scoring.curves import curves
        >>> labels, scores = [0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.8, 0.9]
        >>> found = curves(labels, scores, ("background", "signal"), min_background=1)
        >>> best = {"significance": max_significance(labels, scores)}
        >>> figure = bumpfit.report.performance(found, best, "AUC 0.89")
        >>> figure.savefig("performance.png")
    """
    width, height = 2 * WIDTH, 1.05 * HEIGHT
    figure = Canvas(figsize=(width, height))
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        2, 2, left=0.75 / width, right=1 - 0.2 / width, bottom=0.6 / height, top=1 - 0.15 / height, wspace=0.22,
        hspace=0.06, height_ratios=(1.25, 1.0),
    )  # fmt: skip
    score = figure.add_subplot(grid[0, 0])
    significance, roc = figure.add_subplot(grid[1, 0], sharex=score), figure.add_subplot(grid[:, 1])
    _scores(score, found)
    _significances(significance, found, largest)
    _roc(roc, found, auc)
    return figure


def _colors(found: Curves) -> dict[str, str]:
    """Vermilion for the signal, the other colours in turn."""
    rest = (color for color in CYCLE * len(found.distributions) if color != VERMILION)
    return {label: VERMILION if label == found.name else next(rest) for label in found.distributions}


def _scores(axis: Axes, found: Curves) -> None:
    for label, color in _colors(found).items():
        stairs(axis, found.distributions[label], found.edges, color=color, label=plain_text(label))
    event_scale(axis, np.concatenate(list(found.distributions.values())))
    if axis.get_yscale() == "linear":  # fractions have no counting errors above them
        axis.set_ylim(0.0, 1.05 * max(float(values.max()) for values in found.distributions.values()))
    headroom(axis, 0.14 * (1 + len(found.distributions) // 4))
    axis.set_xlim(found.edges[0], found.edges[-1])
    axis.tick_params(labelbottom=False)
    axis.set_ylabel("Fraction of class")
    axis.legend(loc="upper center", ncols=3, fontsize="small")


def _significances(axis: Axes, found: Curves, largest: Mapping[str, Merit]) -> None:
    lines = {
        "significance": (found.significance, BLUE, "-", "$S$ / √($S+B$)"),
        "asimov": (found.asimov, ORANGE, "--", f"$Z_A$, background $\\pm${100 * found.background_error:g}%"),
    }
    top = max([float(np.nanmax(values, initial=0.0)) for values, *_ in lines.values()])
    for name, (values, color, line, label) in lines.items():
        # between two scores a threshold keeps what the higher one does
        axis.plot(found.threshold[::-1], values[::-1], color=color, linestyle=line, label=label, drawstyle="steps-pre")
        if name in largest:
            best = largest[name]
            axis.plot(best.threshold, best.value, marker="o", color=color, markersize=6, clip_on=False, zorder=5)
    axis.set_ylim(0.0, 1.1 * (top or 1.0))
    headroom(axis, 0.22)
    axis.set_xlabel(f"Score of {plain_text(found.name)}, or threshold on it")
    axis.set_ylabel("Significance")
    axis.legend(loc="upper center", ncols=2, fontsize="small")


def _roc(axis: Axes, found: Curves, auc: str) -> None:
    colors, high = {"all others": BLACK, **_colors(found)}, 1.0
    for label, passed in found.backgrounds.items():
        seen = passed > 0
        # an efficiency between two thresholds is kept by the looser one, as in `rejection`
        efficiency, kept = found.signal[seen], 1 / passed[seen]
        if seen.size and seen[0]:
            efficiency, kept = np.r_[0.0, efficiency], np.r_[kept[:1], kept]
        axis.plot(efficiency, kept, color=colors[label], label=plain_text(label), drawstyle="steps-pre")
        high = max(high, float((1 / passed[seen]).max(initial=1.0)))
    grid = np.linspace(0.002, 1.0, 200)
    axis.plot(grid, 1 / grid, color=GREY, linestyle=":", label="no separation")
    axis.set_yscale("log")
    axis.set_xlim(0.0, 1.0)
    axis.set_ylim(0.8, 3 * max(high, 10.0))
    axis.set_xlabel(f"Efficiency of {plain_text(found.name)}")
    axis.set_ylabel("Background rejection 1 / efficiency")
    axis.legend(loc="upper right", title=auc, alignment="right", fontsize="small")


@styled
def templates(
    edges: Sequence[float],
    yields: Mapping[str, Sequence[float]],
    errors: Mapping[str, Sequence[float]],
    signal: str,
    name: str,
    *,
    data: Sequence[float] | None = None,
    variations: Mapping[str, tuple[Array, Array]] | None = None,
) -> Figure:
    """Expected events by class stacked with their statistical error, the signal on top in red, and data if there are.

    Below: data over expected, and the totals at +1 (full) and -1 (broken) of each systematic uncertainty, `variations`
    (B,) each, over expected. Bins that are too narrow to see are drawn side by side, with their edges written below.

    Examples:
        >>> yields = {"background": [80.0, 20.0], "signal": [2.0, 8.0]}
        >>> errors = {"background": [4.0, 2.0], "signal": [0.1, 0.2]}
        >>> figure = bumpfit.report.templates([0.0, 0.5, 1.0], yields, errors, "signal", "score", data=[79, 31])
    """
    limits = np.asarray(edges, dtype=np.float64)
    inner = np.array([np.sum([e**2 for e in column]) for column in zip(*errors.values(), strict=True)])
    others = sorted((label for label in yields if label != signal), key=lambda label: float(np.sum(yields[label])))
    total, layers = np.zeros(len(limits) - 1), []
    for label, color in zip([*others, signal], [*(FILLS * len(others))[: len(others)], VERMILION], strict=True):
        total = total + np.asarray(yields[label])
        layers.append((label, total, color))
    lower = data is not None or bool(variations)
    figure, axes = panels((3.0, 1.15) if lower else (1.0,))
    main, error = axes[0], np.sqrt(inner)
    narrow = bool((np.diff(limits) < NARROW * (limits[-1] - limits[0])).any())
    drawn = np.arange(len(limits), dtype=np.float64) if narrow else limits
    for label, values, color in reversed(layers):
        stairs(main, values, drawn, histtype="fill", color=color, label=plain_text(label))
    band(main, np.maximum(total - error, 0.0), total + error, drawn, label="Statistics")
    counts = None if data is None else np.asarray(data, dtype=np.float64)
    event_scale(main, np.concatenate([layers[0][1], total] + ([] if counts is None else [counts])))
    if counts is not None:
        observed(main, counts, drawn)
    headroom(main, 0.07 * (2 + (len(layers) + 1) // 2))
    main.set_xlim(drawn[0], drawn[-1])
    main.set_ylabel("Events / bin")
    main.legend(loc="upper right", ncols=2, fontsize="small")
    if lower:
        _ratios(axes[1], total, error, drawn, counts, variations or {})
    if narrow:
        _written(axes[-1], limits)
    axes[-1].set_xlabel(plain_text(name))
    return figure


def _ratios(
    axis: Axes,
    total: Array,
    error: Array,
    edges: Array,
    data: Array | None,
    variations: Mapping[str, tuple[Array, Array]],
) -> None:
    """Data and shifted totals over the expected total."""
    safe = np.where(total > 0, total, np.nan)
    band(axis, 1 - error / safe, 1 + error / safe, edges)
    reach = [0.05, *np.abs(error / safe)]
    for (name, shifted), color in zip(variations.items(), (BLUE, ORANGE, *CYCLE[2:]) * len(variations), strict=False):
        for values, line in zip(shifted, ("-", "--"), strict=True):
            axis.stairs(values / safe, edges, baseline=None, color=color, linestyle=line, linewidth=1.4,
                        label=f"{plain_text(name)} $\\pm1\\sigma$" if line == "-" else None)  # fmt: skip
            reach += list(np.abs(values / safe - 1))
    if data is not None:
        bars = poisson_errors(data) / safe
        points(axis, data / safe, bars, edges)
        reach += list(np.abs(data / safe - 1) + bars.max(axis=0))
    half = min(1.15 * float(np.nanmax(reach)), 1.5)
    low, high = max(1 - half, 0.0), 1 + half
    axis.set_ylim(low, high)
    if data is not None:  # points beyond the axis
        centres, ratio = (edges[1:] + edges[:-1]) / 2, data / safe
        for beyond, place, mark in ((ratio > high, high, "^"), (ratio < low, low, "v")):
            axis.plot(centres[beyond], np.full(int(beyond.sum()), place), mark, color=BLACK, clip_on=False, zorder=5)
    axis.axhline(1.0, color=BLACK, linewidth=0.8)
    axis.set_ylabel("Ratio", loc="center")
    if variations:
        headroom(axis, 0.3)
        axis.legend(loc="upper left", ncols=3, fontsize="xx-small")


def _written(axis: Axes, edges: Array) -> None:
    """The inner edges below bins that are drawn with equal widths, as many as there is place for."""
    step = -(-(len(edges) - 2) // 9) or 1
    inner = list(range(1, len(edges) - 1, step))
    axis.xaxis.set_major_locator(FixedLocator(inner))
    axis.xaxis.set_major_formatter(FixedFormatter([f"{edges[place]:.3g}".replace("-", "−") for place in inner]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.tick_params(axis="x", labelsize="x-small")
