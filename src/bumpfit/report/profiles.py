"""Figures of likelihood inference: profile scans, contours, CLs curves and limits over mass."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from bumpfit.console import printable
from bumpfit.errors import BumpfitError
from bumpfit.inference.compatibility import ChannelStrength, Compatibility
from bumpfit.inference.posterior import Posterior
from bumpfit.inference.surface import Surface
from bumpfit.report.rounding import probability, relation
from bumpfit.report.style import BLACK, BLUE, CYCLE, GREY, VERMILION, headroom, own_figure, panels, styled
from bumpfit.results import CLs, Contour, Interval, Limit, MassScan, Scan

Array = NDArray[np.float64]

TOP = 12.0
"""Rise of -2 ln L at which the colours of a grid end: 3 standard deviations of two parameters (11.83)."""

ONE_SIGMA = "#00CC00"
TWO_SIGMA = "#FFCC00"
"""The colours of expected bands that gave the Brazil plot its name."""


def expected_bands(fill: Callable[..., Any], bands: Array) -> None:
    """Draw the bands of expected values at -2, -1, 0, 1, 2 sigma, shape (..., 5); `fill` takes lower and upper ends."""
    for low, high, color, n in ((0, 4, TWO_SIGMA, 2), (1, 3, ONE_SIGMA, 1)):
        fill(bands[..., low], bands[..., high], color=color, linewidth=0, label=rf"Expected $\pm {n}\sigma$")


def signal_in_data(found: CLs | Limit) -> str | None:
    """What data the expected values of a figure are of, as the title of its legend; None where these have no signal."""
    return None if found.bands_at == 0 else f"Expected: data with {plain_text(found.parameter)} = {found.bands_at:g}"


@styled
def profile(scan: Scan, intervals: Sequence[Interval] = ()) -> Figure:
    """Rise of -2 ln L along a parameter, with the levels of 1, 2, 3 ... sigma and the `intervals` shaded; points
    without a fit are left out.

    Examples:
        >>> scan = bumpfit.inference.scan(model, "mu")
        >>> figure = bumpfit.report.profile(scan, [bumpfit.inference.interval(model, "mu")])
        >>> figure.savefig("scan.png")
    """
    figure, (axis,) = panels(right=0.45)
    for found in sorted(intervals, key=lambda one: -one.level):
        ends = (
            scan.points[0] if found.low is None else found.low,
            scan.points[-1] if found.high is None else found.high,
        )
        axis.axvspan(*ends, color=BLUE, alpha=0.14, linewidth=0, zorder=-1, label=f"{found.level:.2%}")
    x = np.array(scan.points)
    y = np.array([np.nan if rise is None else rise for rise in scan.delta_twice_nll])
    axis.plot(x, y, color=BLUE, marker="o", markersize=3)
    axis.axvline(scan.best, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
    top = max(1.0, float(np.nanmax(y, initial=1.0)))
    for z in range(1, int(np.sqrt(top)) + 1):
        axis.axhline(z * z, color=GREY, linewidth=1.0, linestyle=":", zorder=0)
        axis.annotate(f"{z}$\\sigma$", (1.0, z * z), xycoords=("axes fraction", "data"), xytext=(4, 0),
                      textcoords="offset points", va="center", fontsize="small", color=GREY)  # fmt: skip
    axis.set_ylim(0.0, 1.05 * top)
    axis.set_xlim(x.min(), x.max())
    axis.set_xlabel(plain_text(scan.parameter))
    axis.set_ylabel(r"$-2\,\Delta\ln L$")
    if intervals:
        headroom(axis, 0.12)
        axis.legend(loc="upper center", ncols=len(intervals), fontsize="small")
    return figure


@styled
def posterior(found: Posterior) -> Figure:
    """The posterior of a parameter with its central interval shaded and its upper limit."""
    figure, (axis,) = panels()
    x, y = found.points, found.density
    axis.plot(x, y, color=BLUE)
    inside = np.concatenate([[found.low], x[(x > found.low) & (x < found.high)], [found.high]])
    axis.fill_between(inside, np.interp(inside, x, y), color=BLUE, alpha=0.25, label=f"{found.level:.2%} central")
    axis.axvline(found.upper, color=VERMILION, linestyle="--", label=f"{found.limit_level:.2%} upper limit")
    axis.set_xlim(x[0], x[-1])
    axis.set_ylim(0.0, 1.35 * float(y.max()))
    axis.set_xlabel(plain_text(found.parameter))
    axis.set_ylabel("Posterior density")
    axis.legend(loc="upper right")
    return figure


@styled
def compatibility(found: Compatibility) -> Figure:
    """The strength of each channel with its interval, over the band of the common strength.

    A channel whose best value is an end of the range says nothing on the scale: it is a hollow arrow that points out of
    the range, at the edge of the figure where the range goes beyond it, and says the value.
    """
    rows = found.channels
    longest = max(len(row.name) for row in rows)
    figure, (axis,) = panels(height=1.6 + 0.28 * len(rows))
    if own_figure():
        height = figure.get_figheight()
        left = min(0.5, 0.06 + 0.016 * longest)
        axis.set_position((left, 0.6 / height, 0.97 - left, 1 - 0.75 / height))
    places = np.arange(len(rows))[::-1]
    if found.low is not None and found.high is not None:
        axis.fill_betweenx((-0.6, len(rows) - 0.4), found.low, found.high, color=ONE_SIGMA, alpha=0.45, linewidth=0,
                           label="Common strength")  # fmt: skip
    axis.vlines(found.strength, -0.6, len(rows) - 0.4, color=BLACK, linewidth=1.0)
    inside = [(y, row) for y, row in zip(places, rows, strict=True) if not _at_end(row)]
    if inside:
        errors = np.array([
            [0.0 if row.low is None else row.strength - row.low, 0.0 if row.high is None else row.high - row.strength]
            for _, row in inside
        ])  # fmt: skip
        axis.errorbar([row.strength for _, row in inside], [y for y, _ in inside], xerr=errors.T, fmt="o", color=BLUE,
                      label="Channels")  # fmt: skip
    shown = [row for _, row in inside] or list(rows)
    intervals = [(found.strength, found.low, found.high), *((row.strength, row.low, row.high) for row in shown)]
    ends = [value for three in intervals for value in three if value is not None]
    margin = 0.06 * (max(ends) - min(ends)) or 1.0
    axis.set_xlim(min(ends) - margin, max(ends) + margin)
    for y, row in zip(places, rows, strict=True):
        if _at_end(row):
            _arrow(axis, int(y), row)
    axis.set_ylim(-0.6, len(rows) + 1.2)  # the legend stands above the rows
    axis.set_yticks(places, [plain_text(row.name) for row in rows], fontsize="small")
    axis.yaxis.set_minor_locator(NullLocator())
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(plain_text(found.parameter))
    title = f"$t$ = {found.statistic:.3g}, ${relation('p', probability(found.p))}$"
    axis.legend(loc="upper right", ncols=2, fontsize="small",
                title=title, title_fontsize="small")  # fmt: skip
    return figure


def _at_end(row: ChannelStrength) -> bool:
    """Whether the best value of a channel is an end of its range."""
    return row.at_bound and row.strength in (row.low, row.high)


def _arrow(axis: Axes, y: int, row: ChannelStrength) -> None:
    """A best value at an end of the range, with the side of its interval that is there."""
    upwards = row.strength == row.high
    low, high = axis.get_xlim()
    step = 0.015 * (high - low)
    x = min(max(row.strength, low + step), high - step)
    other = row.low if upwards else row.high
    if other is not None:
        axis.hlines(y, min(x, other), max(x, other), color=BLUE)
    axis.plot(x, y, marker=">" if upwards else "<", color=BLUE, markerfacecolor="white", linestyle="none")
    right = x > 0.5 * (low + high)
    axis.annotate(
        f"best at {row.strength:.4g}, the end of the range", (x, y), xytext=(-6 if right else 6, 5),
        textcoords="offset points", ha="right" if right else "left", va="bottom", fontsize="xx-small", color=BLUE,
    )  # fmt: skip


@styled
def contours(lines: Sequence[Contour], surface: Surface | None = None) -> Figure:
    """Joint confidence regions of two parameters and the best fit, over the profile likelihood on a grid.

    Examples:
        >>> figure = bumpfit.report.contours([bumpfit.inference.contour(model, "mu", "norm")])
    """
    figure, (axis,) = panels(right=0.18 if surface is None else 0.95)
    if surface is not None:
        rises = np.array([[np.nan if v is None else v for v in row] for row in surface.delta_twice_nll])
        shown = axis.pcolormesh(surface.x, surface.y, rises, cmap="Blues_r", vmin=0.0, vmax=TOP, shading="nearest")
        scale = figure.colorbar(shown, ax=axis, label=r"$-2\,\Delta\ln L$", fraction=0.05, pad=0.02, extend="max")
        scale.ax.tick_params(labelsize="x-small")
        axis.tick_params(which="both", color=GREY)
    for line, color in zip(lines, (CYCLE if surface is None else CYCLE[1:]) * len(lines), strict=False):
        x, y = (np.append(values, values[0]) for values in (line.x, line.y))
        label = f"{line.level:.2%}" + ("" if line.closed else ", cut by the range")
        axis.plot(x, y, color=color, label=label)
    one = surface or lines[0]
    axis.plot(*one.best, marker="+", color=BLACK, markersize=10, mew=1.5, linestyle="none", label="Best fit")
    axis.margins(0.08)
    axis.set_xlabel(plain_text(one.parameters[0]))
    axis.set_ylabel(plain_text(one.parameters[1]))
    axis.autoscale_view()
    headroom(axis, 0.2 if surface is None else 0.3)
    axis.legend(loc="upper right", ncols=len(lines) + 1 if surface is None else 2, fontsize="small")
    return figure


@styled
def cls_curve(tests: Sequence[CLs], level: float, asymptotic: Sequence[CLs] = ()) -> Figure:
    """CLs over the strength, observed and expected with bands, and the line of the limit.

    `asymptotic`: the curves of the formulae, drawn over those of toys, which then have error bars.

    Examples:
        >>> tests = [bumpfit.inference.cls(model, mu) for mu in (0.5, 1.0, 1.5, 2.0)]
        >>> figure = bumpfit.report.cls_curve(tests, level=0.95)
    """
    figure, (axis,) = panels()
    mu, expected = np.array([t.mu for t in tests]), np.array([t.expected for t in tests])
    expected_bands(functools.partial(axis.fill_between, mu), expected)
    axis.plot(mu, expected[:, 2], color=BLACK, linestyle="--", label="Expected" + (", toys" if asymptotic else ""))
    if all(t.observed is not None for t in tests):
        observed, errors = [t.observed or 0.0 for t in tests], [t.observed_error or 0.0 for t in tests]
        axis.errorbar(mu, observed, errors if any(errors) else None, color=BLACK, marker="o", markersize=3,
                      elinewidth=1.0, label="Observed" + (", toys" if asymptotic else ""))  # fmt: skip
    if asymptotic:
        there = [t.mu for t in asymptotic]
        axis.plot(there, [t.expected[2] for t in asymptotic], color=BLUE, linestyle="--", label="Expected, asymptotic")
        if all(t.observed is not None for t in asymptotic):
            axis.plot(there, [t.observed or 0.0 for t in asymptotic], color=BLUE, label="Observed, asymptotic")
    axis.axhline(1 - level, color=VERMILION, linewidth=1.2, label=f"CLs = {1 - level:.3g}")
    axis.set_xlim(0.0, mu.max())
    axis.set_ylim(0.0, 1.0)
    axis.set_xlabel(plain_text(tests[0].parameter))
    axis.set_ylabel("CLs")
    axis.legend(loc="upper right", fontsize="small" if asymptotic else None, title=signal_in_data(tests[0]))
    return figure


@styled
def brazil(scan: MassScan) -> Figure:
    """Upper limits over mass, observed and expected with bands; masses without a limit are left out.

    Raises BumpfitError when there is no limit at all.

    Examples:
        >>> one = bumpfit.inference.limit(model)
        >>> limits = bumpfit.results.MassScan((1000.0, 1200.0), (one, one), None, ("converged", "converged"))
        >>> figure = bumpfit.report.brazil(limits)
    """
    found: list[tuple[float, Limit]] = [
        (mass, one) for mass, one in zip(scan.masses, scan.limits or (), strict=True) if one is not None
    ]
    if not found:
        raise BumpfitError(f"there is no limit to draw: {scan.status[0]}")
    figure, (axis,) = panels()
    mass = np.array([m for m, _ in found])
    expected = np.array([one.expected for _, one in found], dtype=float)
    expected_bands(functools.partial(axis.fill_between, mass), expected)
    axis.plot(mass, expected[:, 2], color=BLACK, linestyle="--", label="Expected")
    observed = np.array([one.observed for _, one in found], dtype=float)
    axis.plot(mass, observed, color=BLACK, marker="o", markersize=4, label="Observed")
    values = np.append(expected.ravel(), observed)
    if np.nanmax(values) > 20 * np.nanmin(values):
        axis.set_yscale("log")
    else:
        axis.set_ylim(0.0, 1.1 * float(np.nanmax(values)))
    headroom(axis, 0.3 if found[0][1].bands_at == 0 else 0.4)
    if mass.size > 1:
        axis.set_xlim(mass.min(), mass.max())
    axis.set_xlabel("Mass [GeV]")
    axis.set_ylabel(f"{found[0][1].level:.0%} CLs limit on {plain_text(found[0][1].parameter)}")
    axis.legend(loc="upper right", ncols=2, title=signal_in_data(found[0][1]))
    return figure


def plain_text(name: str) -> str:
    """A parameter's name as text: matplotlib reads $ as mathematics, and neither SVG nor fonts have all characters."""
    return printable(name).replace("$", r"\$")


__all__ = ["brazil", "cls_curve", "compatibility", "contours", "expected_bands", "plain_text", "profile"]
