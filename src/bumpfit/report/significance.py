"""Figures of p-values: the significance of every selection."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import NDArray

from bumpfit.report.rounding import rounded
from bumpfit.report.style import BLUE, GREY, HEIGHT, VERMILION, WIDTH, panels, styled

Array = NDArray[np.float64]


def significance_grid(
    entries: Sequence[tuple[int, float, float]], windows: int
) -> tuple[Array, Array, tuple[int, int]]:
    """Background efficiencies (E,), ascending, significances (W, E) and the place of the largest one, of entries
    (number of the window, background efficiency, z); NaN where there is none.
    """
    efficiencies = np.array(sorted({efficiency for _, efficiency, _ in entries}))
    z = np.full((windows, len(efficiencies)), np.nan)
    for window, efficiency, value in entries:
        z[window, int(np.searchsorted(efficiencies, efficiency))] = value
    row, column = np.unravel_index(int(np.nanargmax(z)), z.shape)
    return efficiencies, z, (int(row), int(column))


@styled
def selection_significances(
    efficiencies: Array, z: Array, windows: Sequence[str], threshold: float, best: tuple[int, int]
) -> Figure:
    """Local significances z (W, E) of every window and background efficiency; NaN where nothing was tested.

    One window gives points over the efficiency, several a map with the numbers written in. `threshold` is the global
    significance that a claim needs, `best` (window, efficiency) the selection that is marked.

    Examples:
        >>> import numpy as np
        >>> z = np.array([[1.2, 3.4, 2.9]])
        >>> figure = bumpfit.report.selection_significances(np.array([0.1, 0.01, 0.001]), z, ["all"], 3.0, best=(0, 1))
    """
    if len(windows) == 1:
        return _points(efficiencies, z[0], threshold, best[1])
    height = max(HEIGHT, 1.2 + 0.36 * len(windows))
    figure, (axis,) = panels(height=height, width=WIDTH)
    shown = np.where(np.isfinite(z), z, np.nan)
    reach = max(float(np.nanmax(np.abs(shown), initial=3.0)), 3.0)
    image = axis.imshow(shown, aspect="auto", cmap="PuOr_r", norm=TwoSlopeNorm(0.0, -reach, reach), origin="lower")
    for w, e in zip(*np.nonzero(np.isfinite(shown)), strict=True):
        strong = abs(shown[w, e]) > 0.55 * reach
        axis.text(e, w, rounded(float(shown[w, e]), 1), ha="center", va="center", fontsize="small",
                  color="white" if strong else "black")  # fmt: skip
    axis.add_patch(
        Rectangle((best[1] - 0.5, best[0] - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=2, zorder=3)
    )
    axis.xaxis.set_major_locator(FixedLocator(list(range(len(efficiencies)))))
    axis.xaxis.set_major_formatter(FixedFormatter([f"{e:.2%}" for e in efficiencies]))
    axis.yaxis.set_major_locator(FixedLocator(list(range(len(windows)))))
    axis.yaxis.set_major_formatter(FixedFormatter(list(windows)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_minor_locator(NullLocator())
    axis.tick_params(length=0, which="both")
    axis.set_xlabel("Background efficiency of the selection")
    axis.set_ylabel("Centre of the mass window")
    bar = figure.colorbar(image, ax=axis, pad=0.02)
    bar.set_label("Local significance $Z$")
    return figure


def _points(efficiencies: Array, z: Array, threshold: float, best: int) -> Figure:
    figure, (axis,) = panels()
    seen = np.isfinite(z)
    axis.plot(efficiencies[seen], z[seen], color=BLUE, marker="o", markersize=7, label="Selections (local)")
    if seen[best]:
        axis.plot(efficiencies[best], z[best], marker="o", markersize=14, markerfacecolor="none",
                  markeredgecolor=VERMILION, mew=2, linestyle="none", label="Best selection")  # fmt: skip
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.axhline(threshold, color=GREY, linestyle="--", label=f"Global $Z$ a claim needs: {threshold:g}")
    axis.set_xscale("log")
    axis.set_xlim(float(efficiencies.min()) / 1.7, float(efficiencies.max()) * 1.7)
    values = np.append(z[seen], [0.0, threshold])
    span = float(values.max() - values.min())
    axis.set_ylim(float(values.min()) - 0.12 * span, float(values.max()) + 0.55 * span)
    axis.xaxis.set_major_locator(FixedLocator([float(e) for e in efficiencies]))
    axis.xaxis.set_major_formatter(FixedFormatter([f"{e:.2%}" for e in efficiencies]))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel("Background efficiency of the selection")
    axis.set_ylabel("Local significance $Z$")
    axis.legend(loc="upper right")
    return figure
