"""The page of a HiggsML benchmark: tables, figures, and what the numbers are about."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bumpfit import __version__
from bumpfit.files import write_text
from bumpfit.higgsml.benchmark import Benchmark, Compared, Difference, Plan
from bumpfit.higgsml.score import Scores
from bumpfit.pages import higgsml_figures as draw
from bumpfit.pages.higgsml import shortcomings
from bumpfit.pages.terminal import measured, number
from bumpfit.report import embedded, html, markdown
from bumpfit.report.document import Document, Heading, Listing, Paragraph, Picture, Table, Verdict
from bumpfit.report.style import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("method", "score", "width", "coverage", "width / own bound", "width / best bound", "failed",
           "s a prediction")  # fmt: skip
SET_COLUMNS = ("method", "mu", "N", "width", "coverage", "score", "bias", "spread", "bound")
MANY = 10
"""Repetitions of an event in an experiment from which on the page speaks of them."""


def rows(found: Benchmark, ranged: bool = False) -> tuple[tuple[str, ...], ...]:
    """The table of a benchmark: one row a method, and the yardsticks below.

    `ranged`: of the intervals that use the range of the challenge.
    """
    result = []
    for one in found.methods:
        values = one.ranged if ranged else one.scores
        if values is not None:
            name = f"{one.name} (uses the range)" if one.uses_range and not ranged else one.name
            result.append(_row(found, name, values, one, str(one.failed), number(one.seconds, 3)))
    result += [
        _row(found, f"oracle: {one.name}, nuisances known", one.oracle, one, "—", "—")
        for one in found.methods if one.oracle is not None and not ranged
    ]  # fmt: skip
    for one in found.methods:
        if one.bounds and not ranged:
            for name, key in (("statistics only", "known"), ("nuisances profiled", "profiled")):
                width = 2.0 * float(np.mean([getattr(b, key) for b in one.bounds]))
                own = 2.0 * float(np.mean([b.profiled for b in one.bounds]))
                cells = (number(width, 4), "—", number(width / own, 4), _over(found, width), "—", "—")
                result.append((f"bound of {one.name}: {name}", "—", *cells))
    return tuple(result)


def _row(found: Benchmark, name: str, values: Scores, one: Compared, failed: str, seconds: str) -> tuple[str, ...]:
    width = values.merged.width
    own = None
    if one.bounds:
        own = width / (2.0 * float(np.mean([b.profiled for b in one.bounds])))
    return (
        name, measured(values.merged.score, values.error), number(width, 4), number(values.merged.coverage, 4),
        number(own, 4), _over(found, width), failed, seconds,
    )  # fmt: skip


def _over(found: Benchmark, width: float) -> str:
    return "—" if found.best_bound is None else number(width / found.best_bound, 4)


def warnings(found: Benchmark) -> tuple[str, ...]:
    """What makes the numbers unfit to be believed, one sentence each."""
    result = []
    for name in found.too_small:
        s = next(one.simulation for one in found.methods if one.name == name)
        told = f"the simulation of {name} is too small at {found.luminosity:g} fb-1 ({s.get('mode', '')})"
        result.append(told + shortcomings(s))
    if found.largest_multiplicity > MANY:
        result.append(
            f"the experiments repeat simulated events up to {found.largest_multiplicity} times: their fluctuations are "
            "those of few events"
        )
    return tuple(result)


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
    known = "used in a table of its own (flat prior, calibrated)" if plan.challenge_range else "not used"
    nuisances = ", ".join(plan.settings.enabled) or "none"
    drawn = f" at {plan.points} points that the sets share" if plan.points else " anew in every experiment"
    words = "".join(f" **{sentence[0].upper()}{sentence[1:]}.**" for sentence in warnings(found))
    return (
        f"Mode {plan.mode}: {meaning}. Luminosity {found.luminosity:g} fb-1, N = {n}, eps = {plan.eps:g}, the range of "
        f"mu is {known}. Nuisances drawn{drawn}: {nuisances}. Simulated events for one expected: {k}; the most "
        f"frequent event appears {found.largest_multiplicity} times in an experiment. Numbers from other events than "
        f"the official ones cannot be compared with those of the challenge.{words}"
    )


def _pictures(found: Benchmark, lines: Sequence[Mapping[str, Any]]) -> dict[str, Picture]:
    wanted: tuple[tuple[str, str, Callable[[], Figure | None]], ...] = (
        ("scores", "Score of all intervals with its bootstrap error.", lambda: draw.scores(found)),
        ("ladder", "Intervals of the middle set, best fits as ticks; red ones do not hold the true mu.",
         lambda: draw.ladder(found, lines)),
        ("coverage", "Coverage with its binomial error, and mean width of the intervals; dashed: twice the profiled "
         "bound.", lambda: draw.coverage(found)),
        ("nuisances", "Pulls of the nuisances (mean and standard deviation over the experiments), and their mean error "
         "after the fit in units of the prior.", lambda: draw.nuisances(found)),
        ("impacts", "What each nuisance adds to the bound of mu.", lambda: draw.impacts(found)),
        ("related", "Correlation of mu_hat - mu between methods.", lambda: draw.correlation(found)),
    )  # fmt: skip
    with style():
        drawn = [(name, caption, make()) for name, caption, make in wanted]
        return {name: embedded.embedded(name, figure, caption) for name, caption, figure in drawn if figure is not None}


def _differences(name: str, caption: str, pairs: Sequence[Difference]) -> Table:
    cells = tuple(
        (f"{one.first} − {one.second}", number(one.value, 3), f"{number(one.low, 3)} to {number(one.high, 3)}")
        for one in pairs
    )
    return Table(name, caption, ("methods", "difference of the scores", "central 95 %"), cells, (1, 2))


def page(found: Benchmark, pictures: Mapping[str, Picture]) -> Document:
    """The document."""
    numbers = tuple(range(1, len(COLUMNS)))
    blocks: list[Any] = []
    if warnings(found):
        text = " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in warnings(found))
        blocks.append(Verdict("Do not believe these numbers", text, False, ()))
    blocks += [Heading("Scores", "scores_section"), Paragraph(told(found))]
    caption = "Without the range of mu. All intervals of all sets together; errors by bootstrap."
    blocks.append(Table("methods", caption, COLUMNS, rows(found), numbers))
    if found.plan.challenge_range:
        caption = "All methods use that mu is in [0.1, 3]. Only rows of the same table can be compared."
        blocks.append(Table("ranged", caption, COLUMNS, rows(found, True), numbers))
    if found.differences:
        blocks.append(_differences("paired", "Pairs on the same experiments.", found.differences))
    if found.ranged_differences:
        blocks.append(_differences("paired_ranged", "Pairs when the range is used.", found.ranged_differences))
    blocks += [pictures[name] for name in ("scores", "ladder", "coverage") if name in pictures]
    some = [pictures[name] for name in ("nuisances", "impacts") if name in pictures]
    if some:
        blocks += [Heading("Nuisances", "nuisances_section"), *some]
    if "related" in pictures:
        blocks += [Heading("Correlation", "correlation_section"), pictures["related"]]
    sets = tuple(
        (one.name, f"{mu:g}", str(s.n), number(s.width, 4), number(s.coverage, 4), number(s.score, 4), number(b, 3),
         number(d, 3), number(one.bounds[k].profiled, 4) if one.bounds else "—")
        for one in found.methods
        for k, (mu, s, b, d) in enumerate(
            zip(found.plan.settings.mus, one.scores.sets, one.bias, one.spread, strict=True))
    )  # fmt: skip
    caption = "Each set of experiments: bias and spread of mu_hat, and the profiled bound of its standard deviation."
    blocks += [Heading("Sets", "sets"), Table("per_set", caption, SET_COLUMNS, sets, tuple(range(1, 9)))]
    reasons = tuple(
        (one.name, reason, str(count)) for one in found.methods for reason, count in one.reasons.items()
    )  # fmt: skip
    if reasons:
        blocks += [Heading("Failures", "failures"),
                   Table("reasons", "Failed experiments.", ("method", "reason", "number"), reasons, (2,))]  # fmt: skip
    blocks += [Heading("How it was made", "made"), Listing(command(found.plan), "To repeat it, where these files are:")]
    subtitle = f"bumpfit {__version__}. {len(found.plan.names)} methods on the same pseudo-experiments"
    return Document("HiggsML benchmark", subtitle, tuple(blocks))


def command(plan: Plan) -> str:
    """The command that makes a benchmark, with the names of its files."""
    chosen = plan.settings
    entries = [word for path in plan.submissions for word in ("--submission", Path(path).name)]
    return shlex.join([
        "bumpfit", "higgsml", "benchmark", *(Path(path).name for path in plan.methods), *entries,
        "--sample", Path(plan.sample).name, "--mode", plan.mode, "--mu", ",".join(map(str, chosen.mus)),
        "--experiments", str(chosen.experiments), "--nuisances", ",".join(chosen.enabled) or "none",
        "--seed", str(chosen.seed), "--eps", str(plan.eps), "--luminosity", str(plan.luminosity),
        "--points", str(plan.points), *(["--challenge-range"] if plan.challenge_range else []), "-o", "OUT",
    ])  # fmt: skip


def write(found: Benchmark, lines: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """report.md, report.html and figures/ of a benchmark."""
    made = page(found, _pictures(found, lines))
    embedded.write(made.pictures(), folder)
    write_text(folder / "report.md", markdown.render(made))
    write_text(folder / "report.html", html.render(made))
