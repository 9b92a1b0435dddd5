"""Figures of a fitted workspace: yields of all channels against the data, and the ranking of nuisance parameters."""

from __future__ import annotations

import dataclasses
import fnmatch
import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError
from bumpfit.report.profiles import plain_text
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
    observed,
    own_figure,
    panels,
    points,
    poisson_errors,
    pulls,
    stairs,
    styled,
)
from bumpfit.results import Impact, Impacts, Yields

Array = NDArray[np.float64]

FILLS = (SKY, "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#0072B2")
CHANNELS = 10.0
"""Ratio of the events of bins from which on several channels, side by side, have a logarithmic axis."""

MOST = 6
"""Samples with a colour of their own; smaller ones share the last."""


@styled
def yields(
    found: Yields,
    signals: Collection[str] = (),
    *,
    stacks: Mapping[str, Collection[str]] | None = None,
    ratio: bool = False,
    data: str = "Data",
    whole: Yields | None = None,
) -> Figure:
    """Stacked samples of all channels side by side and data, below them pulls or the ratio to what is expected.

    Channels without data, as blinded ones, have no points. Samples that differ only in a number at the end of the
    name, as those of a parametric background, are drawn as one.

    Args:
        found: yields before or after a fit.
        signals: samples drawn on top in red, those in `stacks` excepted.
        stacks: samples drawn as one, by the name to give them; * and ? in a sample's name stand for any letters.
        ratio: data / expected below, with the uncertainty, instead of pulls (data - expected) / sqrt(expected).
        data: what the points are called, as "Asimov data".
        whole: yields of all channels, where `found` are some of them: their samples decide order and colours, so that
            figures of one fit agree.

    Examples:
        >>> from bumpfit.inference.yields import prefit
        >>> figure = bumpfit.report.yields(prefit(model), signals=("signal",), ratio=True)
    """
    size = sum(len(channel.total) for channel in found.channels)
    figure, (main, lower) = panels((3.0, 1.15), width=WIDTH if size <= 60 else 1.5 * WIDTH)
    edges = np.arange(size + 1, dtype=np.float64)
    backgrounds, signal = _stacks(found, size, signals, stacks or {}, found if whole is None else whole)
    total = np.concatenate([channel.total for channel in found.channels])
    error = np.concatenate([channel.total_errors for channel in found.channels])
    top = np.zeros(size)
    layers = []
    for (name, values), color in zip(backgrounds.items(), FILLS, strict=False):
        if values.any():
            top = top + values
            layers.append((top, color, name))
    if signal.any():
        layers.append((top + signal, VERMILION, "Signal"))
    for values, color, name in reversed(layers):
        stairs(main, values, edges, histtype="fill", color=color, label=plain_text(name))
    band(main, np.maximum(total - error, 0.0), total + error, edges, label="Uncertainty")
    main.set_ylabel("Events / bin")
    main.set_xlim(0, size)
    side_by_side = {"ratio": CHANNELS} if len(found.channels) > 1 else {}
    counts = np.concatenate([
        np.full(len(channel.total), np.nan) if channel.data is None else np.array(channel.data)
        for channel in found.channels
    ])  # fmt: skip
    event_scale(main, np.append(total, counts), **side_by_side)
    if np.isfinite(counts).any():
        observed(main, counts, edges, label=data)
    if ratio:
        _ratio(lower, counts, total, error, edges)
    else:
        pulls(lower, (counts - total) / np.sqrt(np.maximum(total, 1e-9)), edges)
    share = 0.08 * (1 + (len(layers) + 3) // 2)
    headroom(main, share)
    _channels(main, lower, found, 0.92 - share)
    main.legend(loc="upper right", ncols=2, fontsize="small", title=found.stage, alignment="right")
    return figure


def in_one_bin(found: Yields) -> Yields:
    """Every channel as one bin, with the errors of its sums."""
    return dataclasses.replace(
        found,
        channels=tuple(
            dataclasses.replace(
                channel,
                samples=tuple(
                    dataclasses.replace(one, yields=(one.sum,), errors=(one.sum_error,)) for one in channel.samples
                ),
                total=(channel.sum,),
                total_errors=(channel.sum_error,),
                data=None if channel.data is None else (float(sum(channel.data)),),
            )
            for channel in found.channels
        ),
    )


def _ratio(axis: Axes, counts: Array, total: Array, error: Array, edges: Array) -> None:
    """Data over what is expected, and the relative uncertainty of that; nothing where nothing is expected."""
    inverse = np.divide(1.0, total, out=np.full_like(total, np.nan), where=total > 0)
    share = np.nan_to_num(error * inverse)
    band(axis, 1 - share, 1 + share, edges)
    axis.axhline(1.0, color=BLACK, linewidth=0.8)
    bars = poisson_errors(counts) * inverse
    points(axis, counts * inverse, bars, edges)
    # the bars of nine bins of ten are seen whole, whatever few bins with hardly an event do
    ends = [part[np.isfinite(part)] for part in (1 - counts * inverse + bars[0], counts * inverse + bars[1] - 1)]
    below, above = (float(np.quantile(part, 0.9)) if part.size else 0.0 for part in ends)
    least = max(0.1, 1.3 * float(np.median(share)))
    seen = float(np.nanmax(np.abs(counts * inverse - 1), initial=0.0))
    axis.set_ylim(max(1 - max(1.1 * below, least, min(1.3 * seen, 1.0)), 0.0),
                  1 + max(1.1 * above, least, min(1.3 * seen, 1.0)))  # fmt: skip
    axis.set_ylabel("Ratio", loc="center")


def _stacks(
    found: Yields, size: int, signals: Collection[str], stacks: Mapping[str, Collection[str]], whole: Yields
) -> tuple[dict[str, Array], Array]:
    """Backgrounds by name, those smallest in the whole first, shape (B,) each, and the signal."""
    sums: dict[str, float] = {}
    for channel in whole.channels:
        for sample in channel.samples:
            name = _stack(sample.name, stacks)
            if sample.name not in signals or name != sample.name:
                sums[name] = sums.get(name, 0.0) + float(np.sum(sample.yields))
    order = sorted(sums, key=lambda name: -sums[name])
    own = order[: len(order) if len(order) <= MOST else MOST - 1]
    backgrounds = {name: np.zeros(size) for name in reversed([*own, *(["Others"] if order[len(own) :] else [])])}
    signal = np.zeros(size)
    first = 0
    for channel in found.channels:
        here = slice(first, first + len(channel.total))
        for sample in channel.samples:
            name = _stack(sample.name, stacks)
            if sample.name in signals and name == sample.name:
                signal[here] += sample.yields
            else:
                backgrounds[name if name in own else "Others"][here] += sample.yields
        first = here.stop
    return backgrounds, signal


def _stack(sample: str, stacks: Mapping[str, Collection[str]]) -> str:
    """What a sample is drawn as."""
    for name, patterns in stacks.items():
        if any(fnmatch.fnmatchcase(sample, pattern) for pattern in patterns):
            return name
    return re.sub(r"(_\d+)+$", "", sample) or sample


def _channels(main: Axes, lower: Axes, found: Yields, top: float) -> None:
    """Lines between channels up to the legend at `top`, and their names below the axis; one channel needs neither."""
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))  # bins are counted
    lower.xaxis.set_minor_locator(NullLocator())
    if len(found.channels) == 1:
        lower.set_xlabel(f"Bin of {plain_text(found.channels[0].name)}")
        return
    first, size = 0, sum(len(channel.total) for channel in found.channels)
    for channel in found.channels:
        width = len(channel.total)
        if first:
            for axis, end in ((main, top), (lower, 1.0)):
                axis.axvline(first, ymax=end, color=GREY, linewidth=0.8, linestyle="--")
        turned = width < 0.16 * size
        lower.annotate(
            plain_text(channel.name), (first + 0.5 * width, -0.25), xycoords=("data", "axes fraction"),
            ha="right" if turned else "center", va="top", rotation=20 if turned else 0,
            fontsize="xx-small" if turned else "small", annotation_clip=False,
        )  # fmt: skip
        first += width


ROW, LINE = 0.24, 0.18
"""Inches of a row of a ranking, and of a line of the legend above its rows."""

COLUMN = 1.25
"""Inches of a column of that legend."""


@styled
def ranking(found: Impacts, top: int, groups: Mapping[str, float] | None = None) -> Figure:
    """Pulls with constraints (points, lower axis) and impacts on the parameter of interest (bars, upper axis).

    Parameters without a constraint have no pull. `groups`: parts of the error of the parameter of interest by the name
    of a group, drawn above the parameters. Raises BumpfitError when there is no nuisance parameter.

    Examples:
        >>> figure = bumpfit.report.ranking(bumpfit.inference.impacts(model), top=20)
    """
    rows = found.impacts[:top]
    if not rows:
        raise BumpfitError("the model has no free nuisance parameter, so there is no ranking to draw")
    parts = groups or {}
    longest = max(*(len(row.parameter) for row in rows), *map(len, parts), 0)
    lines = len(rows) + len(parts)
    left = min(0.5, 0.05 + 0.0135 * longest)
    columns = 3 if parts and (0.97 - left) * WIDTH > 3 * COLUMN else 2
    legend = 0.06 + LINE * (3 if parts and columns == 2 else 2)
    height = 1.24 + ROW * (lines + 0.4) + legend
    figure, (axis,) = panels(height=height, width=WIDTH)
    places = np.arange(len(rows))[::-1]
    shifts = axis.twiny()
    bottom, top_margin = 0.58 / height, 0.66 / height
    if own_figure():
        axis.set_position((left, bottom, 0.97 - left, 1 - bottom - top_margin))
    _bars(shifts, rows)
    if parts:
        _parts(axis, shifts, len(rows), parts)
    pulled = [(y, row) for y, row in zip(places, rows, strict=True) if row.pull is not None]
    axis.errorbar([row.pull or 0.0 for _, row in pulled], [y for y, _ in pulled],
                  xerr=[row.constraint or 0.0 for _, row in pulled], fmt="o", color=BLACK, elinewidth=1.2)  # fmt: skip
    reach = max([2.0, *(1.1 * (abs(row.pull or 0.0) + (row.constraint or 0.0)) for row in rows)])
    axis.set_xlim(-reach, reach)
    sizes = [v for row in rows for v in (row.up, row.down, row.prefit_up, row.prefit_down) if v]
    half = 1.15 * max(map(abs, (*sizes, *parts.values(), 1e-12)))
    shifts.set_xlim(-half, half)
    bottom, top_row = -0.7, lines - 0.3
    for z in (-1, 0, 1):  # not through the legend above the rows
        axis.vlines(z, bottom, top_row, color=GREY, linewidth=0.8, linestyle="-" if z == 0 else ":", zorder=0)
    axis.set_ylim(bottom, top_row + legend / ROW)
    names = [*parts, *(row.parameter for row in rows)]
    axis.set_yticks(np.arange(lines)[::-1], [plain_text(name) for name in names], fontsize="x-small")
    axis.yaxis.set_minor_locator(NullLocator())
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", top=False, which="both")
    shifts.tick_params(axis="x", bottom=False, which="both")
    axis.set_zorder(shifts.get_zorder() + 1)
    axis.patch.set_visible(False)
    axis.set_xlabel(r"Pull, $(\hat\theta - \theta_0)/\sigma_0$")
    shifts.set_xlabel(f"Impact on {plain_text(found.parameter)}")
    if shifts.get_legend_handles_labels()[0]:  # an end of a range lets none move
        shifts.legend(loc="upper center", ncols=columns, fontsize="xx-small", columnspacing=1.0, handlelength=1.4)
    return figure


def _bars(shifts: Axes, rows: Sequence[Impact]) -> None:
    """Impacts of +1 and -1 standard deviation, before the fit hollow."""
    places = np.arange(len(rows))[::-1]
    for hollow in (True, False):
        for k, (color, sign) in enumerate(((BLUE, "+"), (VERMILION, "-"))):
            pairs = [(row.prefit_up, row.prefit_down) if hollow else (row.up, row.down) for row in rows]
            lengths = np.array([pair[k] or 0.0 for pair in pairs])
            if not lengths.any():
                continue
            label = rf"{sign}1$\sigma$ {'before' if hollow else 'after'} the fit"
            shifts.barh(places, lengths, height=0.72, label=label, edgecolor=color, zorder=1,
                        **({"facecolor": "none"} if hollow else {"facecolor": color, "alpha": 0.45}))  # fmt: skip


def _parts(axis: Axes, shifts: Axes, first: int, parts: Mapping[str, float]) -> None:
    """Parts of the error by group, as bars of both signs, above a line."""
    sizes = np.array(list(parts.values()))
    places = np.arange(first, first + len(parts))[::-1]
    shifts.barh(
        places, 2 * sizes, left=-sizes, height=0.72, facecolor=GREY, alpha=0.35, label="part of a group", zorder=1
    )
    axis.axhline(first - 0.5, color=BLACK, linewidth=0.8)
