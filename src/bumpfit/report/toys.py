"""Figures of toys: distributions, running and global p-values, coverage, expected significance, CLs."""

from __future__ import annotations

import functools
import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import chi2

from bumpfit.errors import BumpfitError
from bumpfit.report.profiles import expected_bands, plain_text
from bumpfit.report.style import BLACK, BLUE, GREY, HEIGHT, VERMILION, beside, headroom, panels, styled
from bumpfit.toys.coverage import Coverage, Sensitivity
from bumpfit.toys.curves import Curve, global_curve
from bumpfit.toys.look_elsewhere import GlobalToys
from bumpfit.toys.tally import Tally

Array = NDArray[np.float64]

POINTS = 40
"""Points of a curve of p-values."""

FAR = 1.6
"""How far beyond the largest toy, relative to it, an observed value is still drawn."""
BINS = 60
LEGEND = 0.27
"""Share of the height above the data that is kept for the legend; lines of observed values end below it."""
SYMBOLS = {
    "q0": "$q_0$",
    "qmu": r"$q_\mu$",
    "qtilde": r"$\tilde{q}_\mu$",
    "tmu": r"$t_\mu$",
    "ttilde": r"$\tilde{t}_\mu$",
}


AT_ZERO = {"q0": 0.5, "qmu": 0.5, "qtilde": 0.5, "tmu": 0.0}
"""What the asymptotic law of a statistic has at zero; t~ has no simple law."""


def law_at_zero(statistic: str, thrown: float, tested: float) -> float | None:
    """What the asymptotic law of toys thrown at one strength and tested at another has at zero; None: no simple law."""
    return AT_ZERO.get(statistic) if thrown == tested else None


def tally(found: Tally, running: Curve | None = None, expected: float | None = None) -> Figure:
    """`toy_distribution` of toys that were counted, with the law of their statistic where it has one.

    Raises BumpfitError when no toy could be fitted.
    """
    if found.fitted == 0:
        raise BumpfitError("no toy could be fitted, so there is no distribution to draw")
    law = law_at_zero(found.statistic, found.thrown, found.tested)
    toys = found.toys.astype(np.float64)
    return toy_distribution(found.value, toys, found.observed, found.statistic, law, running, expected)


@styled
def toy_distribution(
    value: Array,
    toys: Array,
    observed: float | None,
    name: str,
    at_zero: float | None,
    running: Curve | None = None,
    expected: float | None = None,
) -> Figure:
    """Density of a test statistic of toys with its asymptotic law and the observed value; beside it the running p.

    `value`, `toys` (V,): values and how many toys have them. `at_zero`: what the law has at zero (0.5 for one-sided
    statistics, 0 for two-sided ones), the rest being chi2(1); None: there is no law to draw. `running`: p after so many
    toys, with the asymptotic p `expected`; None: no second panel.

    Examples:
        >>> import numpy as np
        >>> values, toys = np.array([0.0, 0.5, 2.0, 4.5]), np.array([500, 300, 150, 50])
        >>> figure = bumpfit.report.toy_distribution(values, toys, observed=3.1, name="q0", at_zero=0.5)
    """
    figure, axes = beside(1 if running is None else 2)
    _density(axes[0], value, toys, observed, name, at_zero)
    if running is not None:
        _running(axes[1], running, expected)
    return figure


@styled
def tail_probability(
    tail: Curve, observed: float | None, name: str, running: Curve | None, expected: float | None = None
) -> Figure:
    """Probability of a statistic at least as large, from weighted toys, with its asymptotic law; beside it running p
    with the asymptotic p `expected`.

    Points whose error is as large as they are say nothing and are left out.

    Examples:
        >>> import numpy as np
        >>> tail = bumpfit.toys.Curve(np.array([9.0, 16.0]), np.array([1.4e-3, 3.2e-5]), np.array([1e-5, 4e-7]))
        >>> figure = bumpfit.report.tail_probability(tail, observed=12.0, name="q0", running=None)
    """
    figure, axes = beside(1 if running is None else 2)
    axis = axes[0]
    known = tail.error < tail.p
    _band(axis, tail.x[known], tail.p[known], tail.error[known], "Weighted toys")
    if tail.formula is not None:
        axis.plot(tail.x, tail.formula, color=BLUE, linestyle="--", label="Asymptotic law")
    _mark(axis, observed, float(tail.x.max()))
    axis.set_yscale("log")
    axis.set_ylim(0.3 * float(tail.p[known].min(initial=1.0)), 3.0)
    headroom(axis, LEGEND)
    axis.set_xlabel(SYMBOLS.get(name, plain_text(name)))
    axis.set_ylabel("Probability of a value at least as large")
    axis.legend(loc="upper right")
    if running is not None:
        _running(axes[1], running, expected)
    return figure


@styled
def global_p_value(value: Array, toys: Array, curve: Curve, observed: float | None) -> Figure:
    """Largest q0 of each scan, and the global p-value over the largest local significance with the bound of Gross and
    Vitells.

    `value` (V,): largest q0 and how many toys have it, `toys` (V,); `curve`: `toys.global_curve`. Significances that no
    toy reaches have no point.

    Examples:
        >>> import numpy as np
        >>> spectrum, none, signals, data = np.full(5, 9.0), np.zeros((5, 0)), np.eye(5), [8, 9, 25, 7, 10]
        >>> counting = bumpfit.toys.LogLinear(spectrum, none, signals, (0.0, 100.0), observed=data)
        >>> scans = bumpfit.toys.scan_toys(counting, 2000, seed=1)
        >>> curve = bumpfit.toys.global_curve(scans, np.linspace(1.0, 4.0, 7))
        >>> figure = bumpfit.report.global_p_value(scans.tally.value, scans.tally.toys, curve, scans.observed)
    """
    figure, (left, right) = beside(2)
    _density(left, value, toys, observed, "Largest $q_0$ of a scan", None)
    seen = curve.x**2 <= value.max(initial=0.0)
    right.errorbar(curve.x[seen], curve.p[seen], curve.error[seen], fmt="o", color=BLACK, elinewidth=1.0,
                   label=f"{int(toys.sum())} scanned toys")  # fmt: skip
    if curve.formula is not None:
        right.plot(curve.x, curve.formula, color=BLUE, label="Gross and Vitells")
    right.plot(curve.x, 0.5 * chi2.sf(curve.x**2, 1), color=GREY, linestyle=":", label="Local p-value")
    z = None if observed is None else math.sqrt(max(observed, 0.0))
    _mark(right, z, float(curve.x.max()))
    right.set_yscale("log")
    lowest = 0.3 / max(1.0, float(toys.sum()))
    if curve.formula is not None:
        lowest = min(lowest, 0.3 * float(curve.formula.min()))
    right.set_ylim(lowest, 2.0)
    headroom(right, LEGEND)
    right.set_xlabel("Largest local significance")
    right.set_ylabel("Global p-value")
    right.legend(loc="upper right")
    return figure


def global_scan(found: GlobalToys) -> Figure:
    """`global_p_value` of scans, up to a tenth above the largest significance of toys and data.

    Raises BumpfitError when no toy could be fitted with all signals.
    """
    tally = found.tally
    if tally.fitted == 0:
        raise BumpfitError("no toy could be fitted at all signals, so there is nothing to draw")
    highest = max(float(tally.value.max()), found.observed or 0.0) ** 0.5
    curve = global_curve(found, np.linspace(0.0, 1.1 * highest, POINTS))
    return global_p_value(tally.value, tally.toys.astype(np.float64), curve, found.observed)


@styled
def coverage_ladder(found: Coverage, parameter: str) -> Figure:
    """Coverage at each true strength with its error, and the nominal level.

    Examples:
        >>> shares, errors = (0.71, 0.68), (0.01, 0.01)
        >>> found = bumpfit.toys.Coverage("interval", 0.6827, (0.0, 1.0), shares, errors, toys=2000, failed=0)
        >>> figure = bumpfit.report.coverage_ladder(found, "mu")
    """
    figure, (axis,) = panels()
    coverage, errors = np.array(found.coverage), np.array(found.errors)
    axis.axhline(found.level, color=VERMILION, linestyle="--", label=f"Nominal: {found.level:.2%}")
    axis.errorbar(found.strengths, coverage, errors, fmt="o", color=BLACK, elinewidth=1.0,
                  label=f"{found.kind.capitalize()}, {found.toys} toys each")  # fmt: skip
    low, high = min(found.level, (coverage - errors).min()), max(found.level, (coverage + errors).max())
    room = max(0.3 * (high - low), 0.01)
    axis.set_ylim(max(0.0, low - room), high + room)
    headroom(axis, 0.2)
    axis.margins(x=0.08)
    axis.set_xlabel(f"True {plain_text(parameter)}")
    axis.set_ylabel("Coverage")
    axis.legend(loc="upper right", ncols=2)
    return figure


@styled
def sensitivity_bands(found: Sensitivity, parameter: str) -> Figure:
    """Expected significance of a discovery over the true strength with its bands, and below how often the threshold is
    reached.

    Examples:
        >>> bands, errors = ((0.3, 1.1, 2.0, 3.0, 4.1),) * 2, ((0.1,) * 5,) * 2
        >>> found = bumpfit.toys.Sensitivity((1.0, 2.0), bands, 3.0, (0.16, 0.4), 1000, errors, (0.01, 0.02))
        >>> figure = bumpfit.report.sensitivity_bands(found, "mu")
    """
    figure, (axis, below) = panels((2.2, 1.0), height=1.25 * HEIGHT)
    order = np.argsort(found.strengths)
    # infinite where the background cannot make such data: a line that leaves the figure
    x, bands = np.array(found.strengths)[order], np.array(found.significance)[order]
    beyond = np.nan_to_num(bands, posinf=1e6)
    expected_bands(functools.partial(axis.fill_between, x), beyond)
    axis.plot(x, beyond[:, 2], color=BLACK, marker="o", markersize=3, linestyle="--", label="Median")
    axis.axhline(found.threshold, color=VERMILION, linewidth=1.2, label=f"{found.threshold:g}$\\sigma$")
    top = 1.05 * max(found.threshold, float(bands.max(initial=0.0, where=np.isfinite(bands))))
    axis.set_ylim(0.0, top)
    headroom(axis, 0.25)
    axis.set_ylabel("Significance")
    axis.legend(loc="upper left", ncols=2)
    power = np.array(found.power)[order]
    below.errorbar(x, power, np.sqrt(power * (1 - power) / found.toys), fmt="o", color=BLACK, elinewidth=1.0)
    below.set_ylim(-0.05, 1.05)
    below.set_ylabel(f"Power ({found.threshold:g}$\\sigma$)")
    below.set_xlabel(f"True {plain_text(parameter)}")
    return figure


@styled
def two_hypotheses(with_signal: Array, without: Array, observed: float | None, name: str, label: str) -> Figure:
    """Distributions of a statistic under signal and background and under background alone, (n,) each.

    `label`: the strength under test in words.

    Examples:
        >>> import numpy as np
        >>> rng = np.random.default_rng(1)
        >>> with_signal, without = rng.chisquare(1, 1000), rng.noncentral_chisquare(1, 4.0, 1000)
        >>> figure = bumpfit.report.two_hypotheses(with_signal, without, 3.0, "qtilde", "mu = 1")
    """
    figure, (axis,) = panels()
    top = max(float(np.max(v, initial=1.0, where=np.isfinite(v))) for v in (with_signal, without))
    edges = np.linspace(0.0, top, BINS + 1)
    lowest = 1.0
    for values, color, words in ((without, BLUE, "Background"), (with_signal, VERMILION, label)):
        counts = np.histogram(values[np.isfinite(values)], edges)[0]
        unit = max(1, values.size) * (edges[1] - edges[0])
        density, seen = counts / unit, counts > 0
        axis.stairs(density, edges, color=color, label=f"{words} ({values.size} toys)")
        axis.errorbar(0.5 * (edges[1:] + edges[:-1])[seen], density[seen], np.sqrt(counts[seen]) / unit, fmt="none",
                      ecolor=color, elinewidth=0.8)  # fmt: skip
        lowest = min(lowest, float(density[density > 0].min(initial=1.0)))
    _mark(axis, observed, top, BLACK)
    axis.set_yscale("log")
    axis.set_ylim(0.5 * lowest, None)
    headroom(axis, LEGEND)
    axis.set_xlabel(SYMBOLS.get(name, plain_text(name)))
    axis.set_ylabel("Toys / unit (normalised)")
    axis.legend(loc="upper right")
    return figure


def _density(axis: Axes, value: Array, toys: Array, observed: float | None, name: str, at_zero: float | None) -> None:
    total = max(1.0, float(toys.sum()))
    value, toys, label = *_finite(value, toys), f"{int(toys.sum())} toys"
    if toys.sum() < total:
        label += f" ({total - toys.sum():.0f} at infinity)"
    highest_toy = max(1.0, float(value.max(initial=1.0)))
    edges = np.linspace(0.0, highest_toy, BINS + 1)
    counts = np.histogram(value, edges, weights=toys)[0]
    width = edges[1] - edges[0]
    seen = counts > 0
    centres = 0.5 * (edges[1:] + edges[:-1])
    axis.errorbar(centres[seen], counts[seen] / total / width, np.sqrt(counts[seen]) / total / width, fmt="o",
                  color=BLACK, elinewidth=1.0, label=label)  # fmt: skip
    highest = float(counts.max()) / total
    if at_zero is not None:
        law = np.diff(chi2.cdf(edges, 1)) * (1 - at_zero)
        law[0] += at_zero
        highest = max(highest, float(law.max()))
        axis.stairs(law / width, edges, color=BLUE, label="Asymptotic law")
    _mark(axis, observed, highest_toy)
    axis.set_yscale("log")
    axis.set_ylim(0.3 / total / width, 2 * highest / width)
    headroom(axis, LEGEND)
    axis.set_xlabel(SYMBOLS.get(name, name))
    axis.set_ylabel("Toys / unit (normalised)")
    axis.legend(loc="upper right")


def _finite(value: Array, toys: Array) -> tuple[Array, Array]:
    """Without toys that the hypothesis cannot have made, whose statistic is infinite."""
    finite = np.isfinite(value)
    return value[finite], toys[finite]


def _mark(axis: Axes, observed: float | None, end: float, color: str = VERMILION) -> None:
    """The line of an observed value on an axis from 0 to `end`; one far beyond is told, not drawn."""
    axis.set_xlim(0.0, 1.02 * end)
    if observed is None:
        return
    far = observed > FAR * end
    axis.axvline(observed, ymax=0.98 - LEGEND, color=color, linestyle="--",
                 label=f"Observed: {observed:.4g}{' (beyond)' if far else ''}")  # fmt: skip
    if not far:
        # a line on the frame would not be seen
        axis.set_xlim(-0.02 * end if observed < 0.01 * end else 0.0, max(1.02 * end, 1.05 * observed))


def _running(axis: Axes, running: Curve, expected: float | None) -> None:
    """p over the number of toys with its error; where no toy was as extreme, the bound that follows."""
    begin = max(0, int(np.argmax(running.p > 0)) - 1)  # before, there is nothing to see
    x, p, error = running.x[begin:], running.p[begin:], running.error[begin:]
    axis.set_xlabel("Toys")
    axis.set_xscale("log")
    # whole decades have room for their labels
    axis.set_xlim(10.0 ** math.floor(math.log10(x[0])), 1.1 * x[-1])
    if p[-1] == 0:
        axis.plot(x, 1 / x, color=BLACK, label="No toy so extreme: p < 1/n")
        axis.set_yscale("log")
        axis.set_ylabel("p-value")
        axis.legend(loc="upper right")
        return
    power = min(0, math.floor(math.log10(p[-1])) + (p[-1] >= 0.1))
    unit = 10.0**power
    _band(axis, x, p / unit, error / unit, "p-value of the toys")
    axis.axhline(p[-1] / unit, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    highest = p[-1] + 3 * error[-1]
    if expected is not None:
        axis.axhline(expected / unit, color=BLUE, linestyle="--", label="Asymptotic law")
        highest = max(highest, 1.2 * expected)
    # the first toys scatter far and wide; the scale is that of the later ones
    settled = x >= 0.01 * x[-1]
    highest = max(highest, float((p + error)[settled].max()), 1.5 * p[-1])
    axis.set_ylim(0.0, highest / unit)
    headroom(axis, 0.2)
    axis.set_ylabel("p-value" + (f" [$10^{{{power}}}$]" if power < 0 else ""))
    axis.legend(loc="upper right")


def _band(axis: Axes, x: Array, p: Array, error: Array, label: str) -> None:
    if x.size == 1:  # a band of one point has no width
        axis.errorbar(x, p, error, fmt="o", color=BLACK, markersize=2.5, elinewidth=1.0, label=label)
        return
    axis.fill_between(x, np.maximum(p - error, 0.0), p + error, color=GREY, alpha=0.35, linewidth=0)
    axis.plot(x, p, color=BLACK, marker="o", markersize=2.5, linewidth=1.0, label=label)


__all__ = [
    "coverage_ladder",
    "global_p_value",
    "sensitivity_bands",
    "tail_probability",
    "toy_distribution",
    "two_hypotheses",
]
