"""What is said of a published spectrum: the orders, the fit, the scan and the limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bumpfit.inference.bump_hunter import Bump
from bumpfit.inference.families import EnvelopeScan
from bumpfit.inference.spectra import SpectrumScan
from bumpfit.law import upper_limit
from bumpfit.pages.likelihood import bounds, discoveries, half, limits
from bumpfit.pages.terminal import like, measured, number, pairs, probability, rounded_pair, stacked, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType


FEW = 10
"""Toys as extreme as the data below which the global p-value is said to be at most something."""


def told(found: SpectrumScan) -> RenderableType:
    """Tables of the orders, the parameters, the scan and the limits."""
    orders = [
        [str(t.n_parameters), number(t.deviance, 7), str(t.degrees_of_freedom), probability(t.p),
         "—" if t.p_f is None else probability(t.p_f), "chosen" if t.n_parameters == found.n_parameters else ""]
        for t in found.trials
    ]  # fmt: skip
    parts = [
        table(f"{found.family} function", ["parameters", "deviance", "bins left", "p", "p of F-test", ""], orders),
        table("", ["parameter", "value", "error"],
              [[n, *rounded_pair(found.fit.values[n], found.fit.errors[n])] for n in found.fit.parameters]),
    ]  # fmt: skip
    if found.scan is not None:
        parts.append(discoveries(found.scan))
        if found.best_mass is not None:
            parts.append(
                pairs([
                    ("most significant mass", f"{found.best_mass:.6g} GeV"),
                    ("local p-value", f"{probability(found.p_local)}, Z = {number(found.z_local, 4)}"),
                    ("global p-value", f"{probability(found.p_global)}, Z = {number(found.z_global, 4)} (estimate)"),
                ])
            )  # fmt: skip
    if found.limits is not None:
        parts.append(limits(found.limits))
    return stacked(*parts)


def envelope(found: EnvelopeScan) -> RenderableType:
    """A row for each mass: events of the peak, their interval, the likeliest function, and the test of no peak."""
    rows = [
        [f"{peak.mass:.6g}", *like(half(peak.interval), peak.interval.best), bounds(peak.interval), peak.family,
         number(peak.q0, 4), probability(peak.p), number(peak.z, 3)]
        for peak in found.peaks
    ]  # fmt: skip
    head = ["mass [GeV]", "events", f"{found.level:.2%} interval", "function", "q0", "local p", "Z"]
    return table("background family profiled", head, rows)


def envelope_notes(found: EnvelopeScan) -> list[str]:
    """Which functions were profiled, and what the p-values do not know."""
    return [
        f"functions: {', '.join(found.functions)}; a parameter costs {found.penalty:g} units of -2 ln L",
        "p-values are local and asymptotic",
    ]


def envelope_figure(found: EnvelopeScan) -> Figure:
    """The curves of all families at the most significant mass."""
    from bumpfit.report.spectra import envelope as draw

    return draw(found.best.envelope, f"{found.best.mass:.6g} GeV")


def bump(found: Bump, *, deficits: bool = False) -> RenderableType:
    """The window of a BumpHunter with its p-values."""
    return pairs([
        ("deficit" if deficits else "excess", f"{found.low:.6g} to {found.high:.6g} ({found.bins} bins)"),
        ("events", f"{found.data:.10g}, expected {found.background:.6g}"),
        ("local p-value", f"{probability(found.p_local)}, Z = {number(found.z_local, 4)}"),
        ("global p-value", f"{measured(found.p, found.error)}, Z = {number(found.z, 4)}"),
        ("toys", f"{found.exceeding} of {found.toys} at least as extreme"),
    ])  # fmt: skip


def bump_notes(found: Bump) -> list[str]:
    """What the global p-value does not hold for."""
    if found.exceeding >= FEW:
        return []
    most = upper_limit(found.exceeding, found.toys)
    return [f"{found.exceeding} toys are few: at 95 % the global p-value is at most {probability(most)}; give more"]


def figure(found: SpectrumScan, name: str) -> Figure:
    """The spectrum with the fitted function, and the most significant peak if one was looked for."""
    from bumpfit.histograms import from_counts
    from bumpfit.report.spectra import spectrum

    return spectrum(from_counts(found.edges, found.counts), found.expected, None, "Mass [GeV]", note=name[:60])
