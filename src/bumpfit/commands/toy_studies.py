"""`bumpfit interval`, `coverage` and `sensitivity`: what toys say about intervals and about an experiment to come."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bumpfit.commands.options import Fitting, Parameter, Reading, Workspace, grouped
from bumpfit.commands.output import Drawing, Output, check_outputs, provenance
from bumpfit.commands.question import begin
from bumpfit.commands.throwing import Throwing
from bumpfit.errors import InputError
from bumpfit.pages import likelihood as show
from bumpfit.pages.terminal import like, measured, pairs, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bumpfit.toys import Coverage, Sensitivity
    from bumpfit.workspace import Model

Strengths = Annotated[str, typer.Option(metavar="S1,S2,...", help="True strengths, with commas between them.")]
Number = Annotated[int, typer.Option("-n", "--number", help="Toys at each strength.")]
LEVELS = {"interval": 0.6827, "upper limit": 0.95}


@grouped
def interval(
    workspace: Workspace,
    reading: Reading,
    fitting: Fitting,
    output: Output,
    throwing: Throwing,
    method: Annotated[
        Literal["profile", "feldman-cousins"],
        typer.Option(help="Profile likelihood, or toys at each strength that is tried (Feldman and Cousins)."),
    ] = "profile",
    toys: Annotated[int | None, typer.Option("--toys", metavar="N", help="Toys a strength (default: 2000).")] = None,
    level: Annotated[list[float] | None, typer.Option(help="Level of an interval; default: 0.6827 and 0.9545.")] = None,
    parameter: Parameter = None,
) -> None:
    """Confidence interval of a parameter, asymptotic or with coverage from toys.

    Example: bumpfit interval workspace.json --method feldman-cousins --toys 10000 --level 0.9
    """
    from bumpfit import inference

    asked = begin(workspace, reading, fitting, output)
    levels = level or (0.6827, 0.9545)
    if method == "profile" and toys is not None:
        raise InputError("--toys belongs to --method feldman-cousins")
    n = None if method == "profile" else 2000 if toys is None else toys
    with throwing.law(n) as law:
        found = [
            inference.interval(asked.model, parameter, chosen, asked.data, law=law, **asked.settings)
            for chosen in levels
        ]
    thrown = {} if n is None else {"toys": n, "seed": throwing.seed}
    result = {
        **asked.provenance("interval", method=method, **thrown),
        "parameter": found[0].parameter, "best": found[0].best, "method": found[0].method,
        "intervals": [one.to_dict() for one in found],
    }  # fmt: skip
    best = like(show.half(found[0]), found[0].best)[0]
    rows = [("best fit", f"{found[0].parameter} = {best}"), ("method", found[0].method)]
    rows += [(f"interval at {one.level:.2%}", show.bounds(one)) for one in found]
    output.give(result, lambda: pairs(rows), show.notes(*found))


@grouped
def coverage(
    workspace: Workspace,
    strengths: Strengths,
    reading: Reading,
    output: Output,
    drawing: Drawing,
    throwing: Throwing,
    n: Number = 10_000,
    kind: Annotated[Literal["interval", "upper-limit"], typer.Option(help="What should hold the truth.")] = "interval",
    level: Annotated[float | None, typer.Option(help="Default: 0.6827, for upper limits 0.95.")] = None,
    parameter: Parameter = None,
) -> None:
    """How often do asymptotic intervals, or upper limits, hold the true strength?

    Nuisance parameters are at their fit to the data with the strength held there. Example:
    bumpfit coverage workspace.json --strengths 0,1,2,5 -n 10000 --figure coverage.png
    """
    from bumpfit import toys

    model, common, head = _prepare("coverage", workspace, strengths, reading, output, drawing, throwing)
    what: Any = kind.replace("-", " ")
    level = LEVELS[what] if level is None else level
    with throwing.executor() as executor:
        found = toys.coverage(
            model, _numbers(strengths), n, level, kind=what, parameter=parameter, executor=executor, **common
        )

    def draw() -> Any:
        from bumpfit.report.toys import coverage_ladder

        return coverage_ladder(found, _name(model, parameter))

    drawing.draw(draw)
    result = {**head, "parameter": _name(model, parameter), **found.to_dict()}
    output.give(result, lambda: _coverage_table(found), show.notes(found, advice=""))


@grouped
def sensitivity(
    workspace: Workspace,
    strengths: Strengths,
    reading: Reading,
    output: Output,
    drawing: Drawing,
    throwing: Throwing,
    n: Number = 10_000,
    threshold: Annotated[float, typer.Option(help="Significance that counts as a discovery.")] = 5.0,
    parameter: Parameter = None,
) -> None:
    """Significance of a discovery to expect at each true strength: bands, and how often the threshold is reached.

    Example: bumpfit sensitivity workspace.json --strengths 0,5,10,20 --threshold 3 --figure sensitivity.png
    """
    from bumpfit import toys

    model, common, head = _prepare("sensitivity", workspace, strengths, reading, output, drawing, throwing)
    with throwing.executor() as executor:
        found = toys.sensitivity(
            model, _numbers(strengths), n, threshold=threshold, parameter=parameter, executor=executor, **common
        )

    def draw() -> Any:
        from bumpfit.report.toys import sensitivity_bands

        return sensitivity_bands(found, _name(model, parameter))

    drawing.draw(draw)
    result = {**head, "parameter": _name(model, parameter), **found.to_dict()}
    output.give(result, lambda: _sensitivity_table(found), show.notes(found, advice=""))


def _prepare(
    command: str, workspace: Path, strengths: str, reading: Reading, output: Output, drawing: Drawing,
    throwing: Throwing,
) -> tuple[Model, dict[str, Any], dict[str, Any]]:  # fmt: skip
    """The model, arguments of the study, and the first keys of its result, after all checks that cost nothing."""
    drawing.check()
    _numbers(strengths)
    files = [workspace, *reading.files]
    check_outputs(files, output.out, drawing.figure)
    common = {"seed": throwing.seed, "workers": throwing.threads}
    return reading.model(workspace), common, provenance(command, files, {**reading.given(), "seed": throwing.seed})


def _numbers(text: str) -> list[float]:
    """The strengths of a list with commas; raises InputError for anything else."""
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(map(math.isfinite, found)):
        raise InputError(f"cannot read --strengths {text}; expected numbers with commas between them, such as 0,1,2")
    return found


def _name(model: Model, parameter: str | None) -> str:
    return parameter or model.poi or "strength"


def _coverage_table(found: Coverage) -> RenderableType:
    rows = [
        [f"{mu:g}", measured(share, error)]
        for mu, share, error in zip(found.strengths, found.coverage, found.errors, strict=True)
    ]
    failed = f", {found.failed} not fitted" if found.failed else ""
    title = f"Coverage of the {found.kind} at {found.level:g}, {found.toys} toys a strength{failed}"
    return table(title, ["strength", "coverage"], rows)


def _sensitivity_table(found: Sensitivity) -> RenderableType:
    from bumpfit.results import BANDS  # here, for a quicker --help

    rows = [
        [
            f"{mu:g}",
            *(show.with_error(z, error, 3) for z, error in zip(bands, errors, strict=True)),
            show.with_error(power, spread, 3),
        ]
        for mu, bands, errors, power, spread in zip(
            found.strengths, found.significance, found.significance_errors, found.power, found.power_errors, strict=True
        )
    ]
    columns = ["strength", *BANDS[1:], f"above {found.threshold:g}"]
    return table(f"Expected significance, {found.toys} toys a strength", columns, rows)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (interval, coverage, sensitivity):
        app.command()(command)
