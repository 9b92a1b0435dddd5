"""Limits of several analyses in one figure: over mass, or one row each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from bumpfit.errors import BumpfitError
from bumpfit.report.profiles import ONE_SIGMA, TWO_SIGMA, plain_text, signal_in_data
from bumpfit.report.rounding import significant
from bumpfit.report.style import BLACK, CYCLE, headroom, own_figure, panels, styled
from bumpfit.results import Limit, MassScan

ROW = 0.42
"""Inches of a row."""


@styled
def limits_over_mass(scans: Mapping[str, MassScan]) -> Figure:
    """Observed limits (lines), expected ones (dashed) with the band of one standard deviation, a colour an analysis.

    Raises BumpfitError when no analysis has a limit.
    """
    figure, (axis,) = panels()
    values: list[float] = []
    masses: list[float] = []
    level, parameter, title = 0.95, "", None
    for (name, scan), color in zip(scans.items(), CYCLE * len(scans), strict=False):
        found = [(m, one) for m, one in zip(scan.masses, scan.limits or (), strict=True) if one is not None]
        if not found:
            continue
        mass = np.array([m for m, _ in found])
        expected = np.array([one.expected for _, one in found], dtype=float)
        observed = np.array([one.observed for _, one in found], dtype=float)
        axis.fill_between(mass, expected[:, 1], expected[:, 3], color=color, alpha=0.18, linewidth=0)
        axis.plot(mass, expected[:, 2], color=color, linestyle="--")
        axis.plot(mass, observed, color=color, marker="o", markersize=4, label=plain_text(name))
        values += [*expected[:, 1:4].ravel(), *observed]
        masses += mass.tolist()
        level, parameter, title = found[0][1].level, found[0][1].parameter, signal_in_data(found[0][1])
    if not masses:
        raise BumpfitError("no analysis has a limit to draw")
    axis.plot([], [], color=BLACK, linestyle="--", label=r"Expected $\pm 1\sigma$")
    if np.nanmax(values) > 20 * np.nanmin(values):
        axis.set_yscale("log")
    else:
        axis.set_ylim(0.0, 1.1 * float(np.nanmax(values)))
    headroom(axis, 0.1 + 0.08 * ((len(scans) + (2 if title is None else 4)) // 2))
    if min(masses) < max(masses):
        axis.set_xlim(min(masses), max(masses))
    axis.set_xlabel("Mass [GeV]")
    axis.set_ylabel(f"{level:.0%} CLs limit on {plain_text(parameter)}")
    axis.legend(loc="upper right", ncols=2, fontsize="small", title=title, title_fontsize="small")
    return figure


@styled
def limits_side_by_side(found: Mapping[str, Limit]) -> Figure:
    """Observed and expected limits, a row an analysis, with their numbers."""
    rows = list(found.items())
    longest = max(len(name) for name, _ in rows)
    figure, (axis,) = panels(height=1.25 + ROW * (len(rows) + 1.6))
    places = np.arange(len(rows))[::-1]
    expected = np.array([one.expected for _, one in rows], dtype=float)
    observed = np.array([one.observed for _, one in rows], dtype=float)
    for low, high, color, n in ((0, 4, TWO_SIGMA, 2), (1, 3, ONE_SIGMA, 1)):
        axis.barh(places, expected[:, high] - expected[:, low], left=expected[:, low], height=0.62, color=color,
                  label=rf"Expected $\pm {n}\sigma$")  # fmt: skip
    for k, place in enumerate(places):
        axis.vlines(expected[k, 2], place - 0.31, place + 0.31, color=BLACK, linestyle="--", linewidth=1.4,
                    label="Expected" if k == 0 else "")  # fmt: skip
    axis.plot(observed, places, color=BLACK, marker="o", linestyle="none", label="Observed")
    known = [float(v) for v in (*expected.ravel(), *observed) if np.isfinite(v)]
    first, last = min([0.0, *known]), max([0.0, *known])
    if not first < last:
        last = first + 1.0
    edge = first + (last - first) * 1.40  # numbers stand beyond the bars
    axis.set_xlim(1.05 * first, first + (last - first) * 1.42)
    for value, row, place in zip(observed, expected, places, strict=True):
        told = [significant(None if np.isnan(number) else number) for number in (value, row[2])]
        axis.text(edge, place, f"{told[0]} ({told[1]})", ha="right", va="center", fontsize="x-small")
    axis.text(edge, len(rows) - 0.35, "observed (expected)", ha="right", va="center", fontsize="xx-small")
    axis.set_ylim(-0.6, len(rows) + 1.2)
    axis.set_yticks(places, [plain_text(name) for name, _ in rows], fontsize="small")
    axis.yaxis.set_minor_locator(NullLocator())
    axis.tick_params(axis="y", length=0)
    if own_figure():
        left, height = min(0.5, 0.06 + 0.016 * longest), figure.get_figheight()
        axis.set_position((left, 0.6 / height, 0.97 - left, 1 - 0.72 / height))
    one = rows[0][1]
    axis.set_xlabel(f"{one.level:.0%} CLs limit on {plain_text(one.parameter)}")
    if (title := signal_in_data(one)) is not None:
        axis.text(first + 0.02 * (last - first), len(rows) - 0.35, title, va="center", fontsize="xx-small")
    axis.legend(loc="upper left", ncols=4, fontsize="xx-small", columnspacing=0.9, handlelength=1.2)
    return figure
