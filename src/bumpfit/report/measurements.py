"""Figures of measurements: a mass from a peak, the number of signal events from score bins."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import NDArray

from bumpfit.report.style import (
    BLACK,
    BLUE,
    SKY,
    VERMILION,
    event_scale,
    headroom,
    panels,
    points,
    poisson_errors,
    stairs,
    styled,
)

Array = NDArray[np.float64]

LABELS = 15
"""Edges of bins that find room below an axis; of more, every second is written."""


@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
    """Contents of bins, all (B,) events: data, background of the table, fitted background, fitted signal.

    Examples:
        >>> import numpy as np
        >>> bins = bumpfit.report.Bins(np.arange(5.0), *np.ones((4, 4)))
        >>> bins.rebinned(2).data.tolist()
        [2.0, 2.0]
    """

    edges: Array
    data: Array
    table: Array
    background: Array
    signal: Array

    def rebinned(self, most: int) -> Bins:
        """Neighbouring bins joined, so that at most `most` are left."""
        step = -(-self.data.size // most)
        starts = np.arange(0, self.data.size, step)
        joined = (np.add.reduceat(x, starts) for x in (self.data, self.table, self.background, self.signal))
        return Bins(np.append(self.edges[starts], self.edges[-1]), *joined)


@styled
def mass_peak(bins: Bins, label: str, position: str) -> Figure:
    """A mass spectrum with its fit: background and signal stacked, the table as it is, and data minus background.

    Examples:
        >>> import numpy as np
        >>> contents = np.array([[9, 14, 21, 8], [8, 9, 9, 8], [8, 8, 9, 8], [0, 5, 12, 1.0]])
        >>> bins = bumpfit.report.Bins(np.linspace(90.0, 110.0, 5), *contents)
        >>> figure = bumpfit.report.mass_peak(bins, "m [GeV]", "100.4 ± 1.2 GeV")
    """
    figure, (main, lower) = panels((2.6, 1.2))
    _stacked(main, bins, bins.edges, "Fitted signal")
    main.set_xlim(bins.edges[0], bins.edges[-1])
    event_scale(main, np.maximum(bins.data, bins.background + bins.signal), ratio=np.inf)
    headroom(main, 0.37)
    main.legend(loc="upper right", ncols=2, title=position, alignment="right", fontsize="small")
    points(lower, bins.data - bins.background, poisson_errors(bins.data), bins.edges)
    stairs(lower, bins.signal, bins.edges, color=VERMILION)
    lower.axhline(0.0, color=BLACK, linewidth=0.8)
    lower.set_ylabel("Data − bkg.", loc="center")
    lower.set_xlabel(label)
    return figure


@styled
def score_bins(bins: Bins, label: str, signal_name: str, groups: Sequence[str] = ()) -> Figure:
    """Bins of unequal and open range drawn side by side: events on a logarithmic axis, and the excess in sigma.

    `bins.edges` may be infinite at the ends and between groups of bins, whose names are `groups`; the others are
    written below the axis.

    Examples:
        >>> import numpy as np
        >>> contents = np.array([[90, 44, 18], [92, 41, 9], [90, 40, 9], [0, 4, 9.0]])
        >>> bins = bumpfit.report.Bins(np.array([-np.inf, 0.5, 0.9, np.inf]), *contents)
        >>> figure = bumpfit.report.score_bins(bins, "score", "Signal-like")
    """
    figure, (main, lower) = panels((2.6, 1.2))
    number = bins.data.size
    places = np.arange(number + 1, dtype=np.float64)
    _stacked(main, bins, places, signal_name)
    event_scale(main, bins.data, ratio=0.0)
    headroom(main, 0.33)
    main.set_xlim(0, number)
    main.legend(loc="upper right", ncols=2, fontsize="small")
    error = np.sqrt(np.maximum(bins.data, 1.0))
    points(lower, (bins.data - bins.background) / error, np.ones(number), places)
    stairs(lower, bins.signal / error, places, color=VERMILION)
    lower.axhline(0.0, color=BLACK, linewidth=0.8)
    lower.set_ylabel("(Data − bkg.)\n/ √data", loc="center", fontsize="small")
    inner = [i for i in range(1, number) if np.isfinite(bins.edges[i])]
    inner = inner[:: 1 + len(inner) // LABELS]
    between = [i for i in range(1, number) if not np.isfinite(bins.edges[i])]
    for axis in (main, lower):
        for place in between:
            axis.axvline(place, color=BLACK, linewidth=0.8, linestyle="--")
    for name, start in zip(groups, (0, *between), strict=True) if groups else ():
        main.text(start + 0.2, 0.03, name, transform=main.get_xaxis_transform(), fontsize="small")
    lower.xaxis.set_major_locator(FixedLocator(inner))
    lower.xaxis.set_major_formatter(FixedFormatter([f"{bins.edges[i]:.1f}".replace("-", "−") for i in inner]))
    lower.xaxis.set_minor_locator(NullLocator())
    lower.tick_params(axis="x", labelsize="x-small")
    lower.set_xlabel(label)
    return figure


def _stacked(axis: Axes, bins: Bins, edges: Array, signal_name: str) -> None:
    """Fitted background and signal stacked, the table as it is, and data, between `edges` of the drawing."""
    total = bins.background + bins.signal
    stairs(axis, total, edges, histtype="fill", color=VERMILION, alpha=0.55, label=signal_name)
    stairs(axis, bins.background, edges, histtype="fill", color=SKY, label="Fitted background")
    stairs(axis, bins.table, edges, color=BLUE, linestyle=":", linewidth=1.2, label="Background table, scaled")
    points(axis, bins.data, poisson_errors(bins.data), edges, label="Data")
    axis.set_ylabel("Events / bin")
