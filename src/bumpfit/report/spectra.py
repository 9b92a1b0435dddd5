"""Figures of mass spectra: a smooth function with pulls, and the scan of local p-values over the mass."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray
from scipy.stats import norm

from bumpfit.errors import BumpfitError
from bumpfit.histograms import Histogram
from bumpfit.report.style import (
    BLACK,
    BLUE,
    CYCLE,
    GREY,
    VERMILION,
    event_scale,
    headroom,
    hidden,
    observed,
    panels,
    pulls,
    stairs,
    styled,
)
from bumpfit.results import Discovery, MassScan
from bumpfit.shapes import Envelope

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class ScanLine:
    """Local p-values over the mass: `masses`, `p` (K,).

    Examples:
        >>> import numpy as np
        >>> line = bumpfit.report.ScanLine("observed", np.array([100.0, 200.0]), np.array([0.5, 0.01]))
        >>> line.label
        'observed'
    """

    label: str
    masses: Array
    p: Array


@styled
def spectrum(
    counts: Histogram,
    fitted: Array | None,
    signal: Array | None,
    label: str,
    *,
    fit_name: str = "Background fit",
    signal_name: str = "Signal",
    note: str = "",
    table: Array | None = None,
) -> Figure:
    """Events a bin with the fitted background and signal, shapes (B,), and pulls against the background-only fit.

    Pulls are (data - fit) / sqrt(fit), where events are expected. Without a fit there is one panel. `table` are counts
    of background alone, which are drawn with as many events as the data.

    Examples:
        >>> import numpy as np
        >>> counts = bumpfit.histograms.from_counts([2000.0, 2500.0, 3000.0, 3500.0], [90, 61, 20])
        >>> fitted, signal = np.array([88.0, 45.0, 23.0]), np.array([0.0, 15.0, 1.0])
        >>> figure = bumpfit.report.spectrum(counts, fitted, signal, "m [GeV]")
    """
    figure, axes = panels((1.0,) if fitted is None else (3.0, 1.15))
    main, edges, n = axes[0], counts.edges, counts.counts
    if fitted is not None:
        stairs(main, fitted, edges, color=BLUE, label=fit_name)
    if signal is not None:
        stairs(main, signal, edges, color=VERMILION, linestyle="--", label=signal_name)
    if table is not None and table.sum() > 0:
        stairs(main, table * n.sum() / table.sum(), edges, color=BLUE, linestyle=":", label="Background table, scaled")
    main.set_ylabel("Events / bin")
    drawn = n if fitted is None else np.concatenate([n, np.maximum(fitted, 0.3)])
    event_scale(main, drawn if signal is None else np.append(drawn, signal.max()))
    observed(main, n, edges)
    hidden(main, n, edges)
    headroom(main, 0.4 if note else 0.3)
    main.set_xlim(edges[0], edges[-1])
    main.legend(loc="upper right", title=note or None, alignment="right")
    if fitted is not None:
        pulls(axes[1], np.where(fitted > 0, (n - fitted) / np.sqrt(np.maximum(fitted, 1e-9)), np.nan), edges)
        if signal is not None:
            stairs(axes[1], signal / np.sqrt(np.maximum(fitted, 1e-9)), edges, color=VERMILION, linestyle="--")
    axes[-1].set_xlabel(label)
    return figure


@styled
def envelope(found: Envelope, note: str = "") -> Figure:
    """The rise of -2 ln L with the number of signal events, for each family and for the likeliest of all."""
    figure, (axis,) = panels()
    known = [value for value in found.envelope if value is not None]
    if not known:
        raise BumpfitError("no family has a curve of -2 ln L to draw")
    x = np.array(found.points)
    for (name, curve), color in zip(found.curves.items(), CYCLE * len(found.curves), strict=False):
        axis.plot(x, _rise(curve, min(known)), color=color, linestyle="--", label=name)
    axis.plot(x, _rise(found.envelope, min(known)), color=BLACK, label="Envelope")
    top = float(np.nanmax(_rise(found.envelope, min(known))))
    axis.set_ylim(0.0, 1.4 * max(top, 1.0))
    axis.set_xlim(x.min(), x.max())
    axis.set_xlabel("Signal events")
    axis.set_ylabel(r"$-2\,\Delta\ln L$ with penalty")
    axis.legend(loc="upper center", ncols=2, fontsize="small", title=note or None)
    return figure


def _rise(curve: Sequence[float | None], least: float) -> Array:
    return np.array([np.nan if value is None else value - least for value in curve])


@styled
def window(counts: Histogram, expected: Array, low: float, high: float, label: str, note: str = "") -> Figure:
    """A spectrum over what is expected, (B,), with the window `low` to `high` of a BumpHunter shaded."""
    figure = spectrum(counts, expected, None, label, fit_name="Background", note=note)
    for axis in figure.axes:
        axis.axvspan(low, high, color=VERMILION, alpha=0.15, linewidth=0)
    return figure


@styled
def scan(lines: Sequence[ScanLine], label: str) -> Figure:
    """Local p-value over the mass, one line a selection, with the levels of 1, 2, 3 ... sigma.

    Examples:
        >>> import numpy as np
        >>> masses = np.linspace(2000.0, 3000.0, 11)
        >>> line = bumpfit.report.ScanLine("all events", masses, np.full(11, 0.2))
        >>> figure = bumpfit.report.scan([line], "m [GeV]")
    """
    figure, (axis,) = panels(right=0.45)
    lowest = min(float(line.p.min()) for line in lines)
    lowest = max(lowest, 1e-300)
    for line, color, mark in zip(lines, CYCLE * 2, "osD^vP" * 2, strict=False):
        axis.plot(line.masses, np.maximum(line.p, 1e-300), color=color, marker=mark, label=line.label)
    axis.set_yscale("log")
    top = min(max(int(np.ceil(norm.isf(lowest))), 3), 37)  # the last before floating-point numbers end
    axis.set_ylim(float(norm.sf(top)) / 3, 2.0)
    headroom(axis, 0.06 + 0.06 * -(-len(lines) // 2))
    axis.set_yticks([tick for tick in axis.get_yticks() if axis.get_ylim()[0] < tick <= 1.0])
    axis.yaxis.set_minor_locator(NullLocator())
    sigma_lines(axis, top)
    axis.axhline(1.0, color=GREY, linewidth=0.6)
    axis.set_xlabel(label)
    axis.set_ylabel("Local p-value")
    axis.legend(loc="upper left", ncols=2, fontsize="x-small", borderaxespad=0.2)
    return figure


def p_values(found: MassScan) -> Figure:
    """Local p-values of the data over mass; masses without one are left out.

    Raises BumpfitError when there is none at all.
    """
    good: list[tuple[float, Discovery]] = [
        (mass, one) for mass, one in zip(found.masses, found.discoveries or (), strict=True) if one is not None
    ]
    if not good:
        raise BumpfitError(f"there is no p-value to draw: {found.status[0]}")
    masses, tests = zip(*good, strict=True)
    return scan([ScanLine("Observed", np.array(masses), np.array([one.p for one in tests]))], "Mass [GeV]")


def sigma_lines(axis: Axes, top: int) -> None:
    """Dotted lines at the p-values of 1 .. `top` sigma, named at the right end."""
    step = 1 if top <= 8 else int(np.ceil(top / 8))
    for z in range(step, top + 1, step):
        axis.axhline(float(norm.sf(z)), color=GREY, linestyle=":", linewidth=1.0, zorder=0)
        axis.annotate(
            f"{z}$\\sigma$", (1.0, float(norm.sf(z))), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize="small", color=GREY, annotation_clip=False,
        )  # fmt: skip
