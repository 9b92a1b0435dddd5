"""Figure of cut flows: events after each cut, and what each cut keeps of the events that pass all others (N-1)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bumpfit.errors import BumpfitError
from bumpfit.events.cutflow import CutFlow
from bumpfit.report.profiles import plain_text
from bumpfit.report.style import CYCLE, GREY, WIDTH, beside, styled

LETTERS = 34
"""Longest line of a cut's label."""


@styled
def cut_flow(flows: Sequence[CutFlow]) -> Figure:
    """Samples with the same cuts: on the left weighted events with errors after each cut and all before it, on the
    right the fraction of the events passing all other cuts that each cut keeps; steps with nothing left have no bar.

    Raises BumpfitError when the samples were cut differently.

    Examples:
        >>> from pathlib import Path
        >>> Path("jets.csv").write_text("mass,score\\n91.0,0.2\\n80.4,0.9\\n70.1,0.7\\n") > 0
        True
        >>> from bumpfit.events.cutflow import cutflow
        >>> events = bumpfit.events.open("jets.csv")
        >>> flow = cutflow(events, ["score > 0.5", "mass > 75"])
        >>> figure = bumpfit.report.cut_flow([flow])
    """
    cuts = [step.cut for step in flows[0].steps]
    if any([step.cut for step in flow.steps] != cuts for flow in flows):
        raise BumpfitError("the samples were cut differently; a figure needs the same cuts in the same order")
    labels = ["\n".join(textwrap.wrap(plain_text(cut), LETTERS)) or cut for cut in ["all", *cuts]]
    lines = sum(label.count("\n") + 1 for label in labels)
    left = 0.3 + 0.068 * max(len(line) for label in labels for line in label.split("\n"))
    width, height = left + 1.05 * WIDTH, 1.35 + 0.19 * lines + 0.28 * len(labels) * (0.6 + 0.4 * len(flows))
    top = 0.30 + 0.25 * -(-len(flows) // 4)
    figure, (flow, alone) = beside(
        2, width=width, height=height, shares=(1.6, 1.0), left=left, right=0.25, bottom=0.62, top=top, between=0.08
    )
    thick = 0.8 / len(flows)
    contents = []
    for number, (sample, color) in enumerate(zip(flows, CYCLE * len(flows), strict=False)):
        places = np.arange(len(labels)) - 0.4 + (number + 0.5) * thick
        _, events, errors = sample.bars()
        flow.barh(places, events, height=thick, color=color, alpha=0.75, label=plain_text(sample.name))
        flow.errorbar(events, places, xerr=errors, fmt="none", ecolor="black", elinewidth=1.0)
        kept = [np.nan if step.alone is None else step.alone for step in sample.steps]
        alone.barh(places[1:], kept, height=thick, color=color, alpha=0.75)
        contents += [value for value in events if value > 0]
    _events(flow, contents, all(sample.scale == "one" for sample in flows))
    flow.set_yticks(range(len(labels)), labels, fontsize="small")
    flow.set_ylim(len(labels) - 0.5, -0.5)
    alone.set_xlim(0.0, 1.12)
    alone.set_xticks([0.0, 0.5, 1.0])
    alone.axvline(1.0, color=GREY, linewidth=0.8, linestyle=":")
    alone.set_xlabel("Passes, of N − 1")
    for axis in (flow, alone):
        axis.yaxis.set_minor_locator(NullLocator())
        axis.tick_params(axis="y", length=0)
        for edge in np.arange(len(labels) - 1) + 0.5:
            axis.axhline(edge, color=GREY, linewidth=0.4)
    figure.legend(*flow.get_legend_handles_labels(), loc="upper left", ncols=4, fontsize="small",
                  bbox_to_anchor=(left / width, 1.0), borderaxespad=0.2)  # fmt: skip
    return figure


def _events(axis: Axes, contents: Sequence[float], counted: bool) -> None:
    """The axis of events: logarithmic where steps differ by more than 50."""
    low, high = (min(contents), max(contents)) if contents else (1.0, 1.0)
    if high > 50 * low:
        axis.set_xscale("log")
        axis.set_xlim(0.4 * low, 3 * high)
    else:
        axis.set_xlim(0.0, 1.15 * high)
    axis.set_xlabel("Events" if counted else "Weighted events")
