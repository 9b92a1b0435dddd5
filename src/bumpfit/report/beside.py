"""Figure of the nuisance parameters of several fits side by side."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bumpfit.inference.pulls import Pulls
from bumpfit.report.profiles import plain_text
from bumpfit.report.style import CYCLE, GREY, WIDTH, own_figure, panels, styled

ROW, SHIFT = 0.24, 0.55
"""Height of a row in inches, and the part of it that the fits are spread over."""


@styled
def pulls_beside(found: Pulls, top: int = 20) -> Figure:
    """Pulls with constraints of every fit, the parameter whose pulls differ most at the top.

    Examples:
        >>> fits = {"free": bumpfit.inference.fit(model), "mu = 0": bumpfit.inference.fit(model, fixed={"mu": 0.0})}
        >>> found = bumpfit.inference.pulls({name: (model, one) for name, one in fits.items()})
        >>> figure = bumpfit.report.pulls_beside(found)
    """
    rows = found.rows[:top]
    legend = 0.3 + 0.2 * ((len(found.fits) + 1) // 2)
    height = 0.9 + ROW * (len(rows) + 1) + legend
    figure, (axis,) = panels(height=height, width=WIDTH)
    if own_figure():
        left, bottom = min(0.5, 0.05 + 0.0135 * max(len(row.parameter) for row in rows)), 0.58 / height
        axis.set_position((left, bottom, 0.97 - left, 1 - bottom - 0.1 / height))
    places = np.arange(len(rows))[::-1]
    reach = 2.0
    for k, (name, color) in enumerate(zip(found.fits, CYCLE * len(found.fits), strict=False)):
        offset = SHIFT * (0.5 - (k + 0.5) / len(found.fits))
        here = [(y + offset, row.pulls[k], row.constraints[k] or 0.0) for y, row in zip(places, rows, strict=True)]
        drawn = [(y, pull, error) for y, pull, error in here if pull is not None]
        axis.errorbar([pull for _, pull, _ in drawn], [y for y, _, _ in drawn], xerr=[e for _, _, e in drawn], fmt="o",
                      color=color, markersize=3.5, elinewidth=1.1, label=plain_text(name))  # fmt: skip
        reach = max([reach, *(1.1 * (abs(pull) + error) for _, pull, error in drawn)])
    for z in (-1, 0, 1):  # not through the legend above the rows
        axis.vlines(z, -0.7, len(rows) - 0.3, color=GREY, linewidth=0.8, linestyle="-" if z == 0 else ":", zorder=0)
    axis.set_xlim(-reach, reach)
    axis.set_ylim(-0.7, len(rows) - 0.3 + legend / ROW)
    axis.set_yticks(places, [plain_text(row.parameter) for row in rows], fontsize="x-small")
    axis.yaxis.set_minor_locator(NullLocator())
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(r"Pull, $(\hat\theta - \theta_0)/\sigma_0$")
    axis.legend(loc="upper right", ncols=2, fontsize="small")
    return figure
