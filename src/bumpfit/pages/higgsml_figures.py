"""Figures of a HiggsML benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from bumpfit.higgsml.benchmark import Benchmark, Compared
from bumpfit.higgsml.nuisances import NAMES
from bumpfit.higgsml.score import LEVEL
from bumpfit.report.style import BLACK, BLUE, CYCLE, GREY, VERMILION

LADDER = 40
"""Intervals of a set that the ladder shows."""
ROWS = 0.32
"""Inches of a row of a figure that has one row a method."""


def scores(found: Benchmark) -> Figure:
    """Merged score of each method with its bootstrap error, and of the oracles."""
    rows: list[tuple[str, Any, str]] = []
    for one in found.methods:
        rows.append((one.name, one.scores, BLUE))
        if one.ranged is not None:
            rows.append((f"{one.name}, range used", one.ranged, VERMILION))
        if one.oracle is not None:
            rows.append((f"{one.name}, nuisances known", one.oracle, GREY))
    figure = Figure(figsize=(7.0, 1.4 + ROWS * len(rows)), layout="constrained")
    axis = figure.subplots()
    for place, (_, values, colour) in enumerate(rows):
        axis.errorbar([values.merged.score], [-place], xerr=[values.error], fmt="o", color=colour)
    axis.set_yticks([-place for place in range(len(rows))], [name for name, _, _ in rows])
    axis.set_ylim(-len(rows) + 0.4, 0.6)
    axis.tick_params(axis="y", which="both", length=0)
    axis.minorticks_off()
    axis.set_xlabel("score")
    return figure


def coverage(found: Benchmark) -> Figure:
    """Coverage and mean width against mu, with twice the bound of each method that has one."""
    figure = Figure(figsize=(7.0, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    mus = np.array(found.plan.settings.mus)
    order = np.argsort(mus)
    for k, one in enumerate(found.methods):
        colour = CYCLE[k % len(CYCLE)]
        c, n, w = (np.array([getattr(s, key) for s in one.scores.sets])[order] for key in ("coverage", "n", "width"))
        error = np.sqrt(np.maximum(c * (1 - c), 1e-9) / n)
        top.errorbar(mus[order] + 0.01 * k, c, error, fmt="o-", ms=3, color=colour, label=one.name)
        bottom.plot(mus[order], w, "o-", ms=3, color=colour, label=one.name)
        if one.bounds:
            limit = 2.0 * np.array([b.profiled for b in one.bounds])[order]
            bottom.plot(mus[order], limit, "--", lw=1.0, color=colour, label=f"{one.name}: twice its bound")
    top.axhline(LEVEL, color=BLACK, lw=0.8)
    top.set_ylabel("coverage")
    bottom.set_ylabel("mean width")
    bottom.set_xlabel(r"$\mu$")
    bottom.set_ylim(bottom=0.0)
    bottom.legend(frameon=False, fontsize=9)
    return figure


def ladder(found: Benchmark, lines: Sequence[Mapping[str, Any]]) -> Figure:
    """Intervals of the first experiments of the middle set, one column a method."""
    chosen = len(found.plan.settings.mus) // 2
    names = found.plan.names
    figure = Figure(figsize=(2.6 * len(names) + 1.2, 5.0), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(names), sharey=True))
    mu = found.plan.settings.mus[chosen]
    for axis, name in zip(axes, names, strict=True):
        some = [line["methods"][name] for line in lines if line["set"] == chosen][:LADDER]
        for place, answer in enumerate(some):
            if answer["valid"]:
                holds = answer["low"] <= mu <= answer["high"]
                axis.plot([answer["low"], answer["high"]], [place] * 2, color=BLUE if holds else VERMILION, lw=1.5)
                axis.plot([answer["mu_hat"]], [place], "|", color=BLACK, ms=3)
        axis.axvline(mu, color=BLACK, lw=0.8)
        axis.set_title(name)
        axis.set_xlabel(r"$\mu$")
    axes[0].set_ylabel("pseudo-experiment")
    return figure


def nuisances(found: Benchmark) -> Figure | None:
    """Pulls of the nuisances and their errors after the fit; None where no method has them."""
    methods = [one for one in found.methods if one.pulls]
    if not methods:
        return None
    figure = Figure(figsize=(7.0, 6.0), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    for k, one in enumerate(methods):
        colour, at = CYCLE[k % len(CYCLE)], [NAMES.index(name) + 0.12 * k for name in one.pulls]
        mean, spread, error = np.array(list(one.pulls.values())).T
        top.errorbar(at, mean, spread, fmt="o", color=colour, label=one.name)
        bottom.plot(at, error, "o", color=colour)
    top.axhspan(-1, 1, color=GREY, alpha=0.15, lw=0)
    top.axhline(0, color=BLACK, lw=0.8)
    top.set_ylabel("(fitted - true) / error")
    top.legend(frameon=False, fontsize=9)
    bottom.axhline(1, color=GREY, lw=0.8, ls="--")
    bottom.set_ylim(bottom=0.0)
    bottom.set_ylabel("error / prior's")
    bottom.set_xticks(range(len(NAMES)), NAMES)
    bottom.tick_params(axis="x", which="minor", length=0)
    return figure


def impact(one: Compared, mus: Sequence[float]) -> dict[str, float]:
    """What each nuisance adds to the bound of mu in quadrature, at the set whose mu is nearest 1."""
    limit = one.bounds[int(np.argmin(np.abs(np.asarray(mus) - 1.0)))]
    return {name: float(np.sqrt(max(limit.profiled**2 - known**2, 0.0))) for name, known in limit.one_known.items()}


def impacts(found: Benchmark) -> Figure | None:
    """Impacts of the nuisances; None where no method has a bound."""
    methods = [one for one in found.methods if one.bounds]
    if not methods:
        return None
    figure = Figure(figsize=(7.0, 3.8), layout="constrained")
    axis = figure.subplots()
    for k, one in enumerate(methods):
        values = impact(one, found.plan.settings.mus)
        at = np.array([NAMES.index(name) for name in values]) + 0.8 * (k - 0.5 * (len(methods) - 1)) / len(methods)
        axis.barh(-at, list(values.values()), 0.7 / len(methods), color=CYCLE[k % len(CYCLE)], label=one.name)
    axis.set_yticks([-place for place in range(len(NAMES))], NAMES)
    axis.tick_params(axis="y", which="both", length=0)
    axis.set_xlabel(r"share of $\sigma(\mu)$ (in quadrature), $\mu \approx 1$")
    axis.legend(frameon=False, fontsize=9)
    return figure


def correlation(found: Benchmark) -> Figure | None:
    """Correlation of the errors of mu_hat; None for one method."""
    names = found.plan.names
    if len(names) < 2:
        return None
    values = np.array(found.correlation)
    side = 2.2 + 0.7 * len(names)
    figure = Figure(figsize=(side, side), layout="constrained")
    axis = figure.subplots()
    axis.imshow(values, vmin=-1, vmax=1, cmap="RdBu_r")
    for i, row in enumerate(values):
        for k, value in enumerate(row):
            axis.text(k, i, f"{value:.2f}", ha="center", va="center", color="white" if abs(value) > 0.6 else BLACK)
    axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axis.set_yticks(range(len(names)), names)
    axis.tick_params(which="both", length=0)
    axis.minorticks_off()
    return figure
