"""The page of a HiggsML benchmark: table, figures, and what the numbers are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bumpfit.files import atomic, write_text
from bumpfit.higgsml.benchmark import Benchmark
from bumpfit.higgsml.score import LEVEL
from bumpfit.pages.terminal import number
from bumpfit.report import html, markdown
from bumpfit.report.document import Document, Heading, Paragraph, Picture, Table
from bumpfit.report.style import png, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("method", "score", "width", "coverage", "width / bound", "failed", "s a prediction")
SET_COLUMNS = ("method", "mu", "width", "coverage", "score", "bias", "spread")
LADDER = 40
"""Intervals of a set that the ladder shows."""


def rows(found: Benchmark) -> tuple[tuple[str, ...], ...]:
    """The table of a benchmark, one row a method."""
    return tuple(
        (
            one.name, f"{one.scores.merged.score:.3f} ± {one.scores.error:.3f}", number(one.scores.merged.width, 4),
            number(one.scores.merged.coverage, 4), number(one.width_over_bound, 4), str(one.failed),
            number(one.seconds, 3),
        )
        for one in found.methods
    )  # fmt: skip


def told(found: Benchmark) -> str:
    """What the numbers are about, in one paragraph."""
    plan = found.plan
    n = found.methods[0].scores.merged.n + found.methods[0].failed
    k = ", ".join(f"{name} {value:.3g}" for name, value in found.simulated.items())
    meaning = {
        "closure": "experiments come from the events of the templates, learners saw others: the error of the "
        "simulation is not in these numbers",
        "independent": "experiments come from another sample than the templates: they have the error of the simulation",
    }[plan.mode]
    known = f"the range of mu is {'used (flat prior, calibrated)' if plan.challenge_range else 'not used'}"
    nuisances = ", ".join(plan.settings.enabled) or "none"
    return (
        f"Mode {plan.mode}: {meaning}. Luminosity {found.luminosity:g} fb-1, N = {n}, eps = {plan.eps:g}, {known}. "
        f"Nuisances drawn: {nuisances}. Simulated events for one expected: {k}; the most frequent event appears "
        f"{found.largest_multiplicity} times in an experiment. Numbers from other events than the official ones cannot "
        "be compared with those of the challenge."
    )


def coverage_figure(found: Benchmark) -> Figure:
    """Coverage and width against mu."""
    from matplotlib.figure import Figure as Canvas

    figure = Canvas(figsize=(7.0, 6.0), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True)
    mus = np.array(found.plan.settings.mus)
    order = np.argsort(mus)
    for one in found.methods:
        c = np.array([s.coverage for s in one.scores.sets])[order]
        n = np.array([s.n for s in one.scores.sets])[order]
        w = np.array([s.width for s in one.scores.sets])[order]
        top.errorbar(mus[order], c, np.sqrt(np.maximum(c * (1 - c), 1e-9) / n), fmt="o-", ms=3, label=one.name)
        bottom.plot(mus[order], w, "o-", ms=3, label=one.name)
    top.axhline(LEVEL, color="black", lw=0.8)
    top.set_ylabel("coverage")
    bottom.set_ylabel("mean width")
    bottom.set_xlabel("mu")
    bottom.legend(frameon=False)
    return figure


def ladder_figure(found: Benchmark, lines: Sequence[Mapping[str, Any]]) -> Figure:
    """Intervals of the first experiments of the middle set, one column a method."""
    from matplotlib.figure import Figure as Canvas

    chosen = len(found.plan.settings.mus) // 2
    names = found.plan.names
    figure = Canvas(figsize=(3.0 * len(names) + 1.0, 5.0), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(names), sharey=True))
    mu = found.plan.settings.mus[chosen]
    for axis, name in zip(axes, names, strict=True):
        some = [line["methods"][name] for line in lines if line["set"] == chosen][:LADDER]
        for place, answer in enumerate(some):
            if answer["valid"]:
                holds = answer["low"] <= mu <= answer["high"]
                axis.plot([answer["low"], answer["high"]], [place] * 2, color="C0" if holds else "C3", lw=1.5)
        axis.axvline(mu, color="black", lw=0.8)
        axis.set_title(name)
        axis.set_xlabel("mu")
    axes[0].set_ylabel("pseudo-experiment")
    return figure


def write(found: Benchmark, lines: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """report.md, report.html and figures/ of a benchmark."""
    figures = []
    with style():
        for name, caption, figure in (
            ("coverage", "Coverage with its binomial error, and mean width of the intervals.", coverage_figure(found)),
            ("ladder", "Intervals of the middle set; red ones do not hold the true mu.", ladder_figure(found, lines)),
        ):
            content = png(figure)
            (folder / "figures").mkdir(exist_ok=True)
            with atomic(folder / "figures" / f"{name}.png") as temporary:
                temporary.write_bytes(content)
            figures.append(Picture(name, caption, f"figures/{name}.png", content))
    sets = tuple(
        (one.name, f"{mu:g}", number(s.width, 4), number(s.coverage, 4), number(s.score, 4), number(b, 3), number(d, 3))
        for one in found.methods
        for mu, s, b, d in zip(found.plan.settings.mus, one.scores.sets, one.bias, one.spread, strict=True)
    )
    names = found.plan.names
    related = tuple((a, *(number(v, 3) for v in row)) for a, row in zip(names, found.correlation, strict=True))
    page = Document(
        "HiggsML benchmark", f"{len(names)} methods on the same pseudo-experiments",
        (
            Heading("Scores", "scores"), Paragraph(told(found)),
            Table("methods", "All intervals of all sets together; errors by bootstrap.", COLUMNS, rows(found),
                  tuple(range(1, len(COLUMNS)))),
            *figures,
            Heading("Sets", "sets"),
            Table("per_set", "Each set of experiments.", SET_COLUMNS,
                  sets, (1, 2, 3, 4, 5, 6)),
            Heading("Correlation", "related"),
            Table("correlation", "Correlation of mu_hat - mu between methods.", ("", *names), related,
                  tuple(range(1, len(names) + 1))),
        ),
    )  # fmt: skip
    write_text(folder / "report.md", markdown.render(page))
    write_text(folder / "report.html", html.render(page))
