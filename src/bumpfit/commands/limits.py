"""`bumpfit limit`: of one workspace, over mass, and of several analyses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bumpfit.commands.options import Fitting, Masses, Parameter, Reading, Workspaces, by_mass, grouped
from bumpfit.commands.output import Drawing, Output, check_outputs, provenance
from bumpfit.commands.question import common_settings
from bumpfit.commands.throwing import Throwing
from bumpfit.errors import InputError
from bumpfit.pages import likelihood as show
from bumpfit.words import Exclusive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bumpfit.law import Law
    from bumpfit.results import CLs, Limit
    from bumpfit.workspace import Model

Level = Annotated[float, typer.Option(help="Confidence level.")]

SETTINGS = ("fixed", "start", "ranges", "free", "options")
"""Those that prepare a likelihood."""
POINTS, POINTS_OF_TOYS = 30, 20
"""Strengths at which CLs is drawn."""


@grouped
def limit(
    workspaces: Workspaces,
    reading: Reading,
    fitting: Fitting,
    output: Output,
    drawing: Drawing,
    throwing: Throwing,
    parameter: Parameter = None,
    level: Level = 0.95,
    masses: Masses = None,
    names: Annotated[
        str | None,
        typer.Option(
            help="Several analyses in one figure: the name of each workspace's, with commas; over --masses too."
        ),
    ] = None,
    test: Annotated[float | None, typer.Option(metavar="STRENGTH", help="CLs of this strength instead.")] = None,
    statistic: Annotated[Exclusive, typer.Option(help="q-tilde, or q for strengths that may be negative.")] = "qtilde",
    toys: Annotated[
        int | None, typer.Option(metavar="N", help="Throw N toys for each hypothesis: few events.", min=1)
    ] = None,
    bands_at: Annotated[
        float, typer.Option(metavar="STRENGTH", help="The expected values are those of data with this strength.")
    ] = 0.0,
) -> None:
    """Upper limit on the signal strength by CLs, observed and expected; over mass with several workspaces.

    Example: bumpfit limit m3000.json m3500.json --masses 3000,3500 --figure limits.png; several analyses:
    bumpfit limit sr1.json sr2.json both.json --names SR1,SR2,combined --figure limits.png
    """
    from bumpfit import inference

    drawing.check()
    files = [*workspaces, *reading.files, *fitting.files]
    check_outputs(files, output.out, drawing.figure)
    chosen: dict[str, Any] = {"statistic": statistic}
    chosen |= {} if toys is None else {"toys": toys, "seed": throwing.seed}
    chosen |= {} if names is None else {"names": names}
    chosen |= {} if bands_at == 0 else {"bands_at": bands_at}
    head = provenance("limit", files, {**reading.given(), **fitting.given(), **chosen})
    with throwing.law(toys) as law:
        common: dict[str, Any] = {"statistic": statistic, "law": law, "bands_at": bands_at}
        if len(workspaces) == 1 and masses is None and names is None:
            model = reading.model(workspaces[0])
            common |= {"parameter": parameter, **fitting.settings(model)}
            data = fitting.data(model)
            if test is None:
                _of_one(model, data, level, common, head, output, drawing)
            else:
                _of_strength(model, data, test, common, head, output, drawing)
            return
        if test is not None or parameter is not None:
            raise InputError("--test and --parameter take one workspace, without --masses and --names")
        common |= common_settings(fitting, workspaces[0], reading)
        if names is not None:
            _analyses(workspaces, names, masses, reading, common, level, head, output, drawing)
            return
        over = inference.limits(by_mass(workspaces, masses, reading), level, **common)
        drawing.draw(over.plot)
        output.give({**head, **over.to_dict()}, lambda: show.limits(over))


def _of_one(
    model: Model, data: Any, level: float, asked: Mapping[str, Any], head: Mapping[str, Any], output: Output,
    drawing: Drawing,
) -> None:  # fmt: skip
    """The limit of one workspace."""
    from bumpfit import inference
    from bumpfit.toys import Toys

    found = inference.limit(model, data, level, **asked)
    told = list(show.notes(found))
    if drawing.figure is not None and isinstance(law := asked["law"], Toys):
        told.append(f"the figure has CLs of {law.n} toys more at each of {POINTS_OF_TOYS} strengths")
    drawing.draw(lambda: _curve(found, model, data, asked))
    output.give({**head, **found.to_dict()}, lambda: show.limit(found), told)


def _of_strength(
    model: Model, data: Any, test: float, asked: Mapping[str, Any], head: Mapping[str, Any], output: Output,
    drawing: Drawing,
) -> None:  # fmt: skip
    """CLs of one strength."""
    from bumpfit import inference
    from bumpfit.toys import Toys

    law = asked["law"]
    if drawing.figure is not None and not isinstance(law, Toys):
        raise InputError("--test has nothing to draw without --toys; leave out --figure, or give --toys N")
    one = inference.cls(model, test, data, **asked)
    settings = {name: value for name, value in asked.items() if name in SETTINGS}
    drawing.draw(lambda: show.cls_figure(one, inference.prepare(model, data, **settings), law))
    output.give({**head, **one.to_dict()}, lambda: show.cls(one), show.notes(one))


def _curve(found: Limit, model: Model, data: Any, asked: Mapping[str, Any]) -> Figure:
    """CLs over the strength; of toys, the formulae beside."""
    from bumpfit.inference import Asymptotic
    from bumpfit.inference.limit import exclusion
    from bumpfit.report.profiles import cls_curve

    known = [value for value in (found.observed, *found.expected) if value is not None]
    end = next(p.high for p in model.parameters if p.name == found.parameter)
    top = 1.25 * max(known) if known and max(known) > 0 else end  # without a limit, CLs over the whole range

    def curve(law: Law, points: int) -> list[CLs]:
        tests = exclusion(model, data, **{**asked, "law": law})
        return [tests.test(top * (i + 1) / points) for i in range(points)]

    formulae, law = curve(Asymptotic(), POINTS), asked["law"]
    if isinstance(law, Asymptotic):
        return cls_curve(formulae, found.level)
    return cls_curve(curve(law, POINTS_OF_TOYS), found.level, formulae)


def _analyses(
    workspaces: Sequence[Path], names: str, masses: str | None, reading: Reading, common: Mapping[str, Any],
    level: float, head: Mapping[str, Any], output: Output, drawing: Drawing,
) -> None:  # fmt: skip
    """Limits of analyses with names: one of each, or over mass."""
    from bumpfit import inference
    from bumpfit.report.analyses import limits_over_mass, limits_side_by_side

    words = names.split(",")
    if len(words) != len(workspaces) or not all(words):
        raise InputError(f"{len(workspaces)} workspaces need as many --names, got {len(words)}: {names}")
    if masses is None:
        if len(set(words)) < len(words):
            raise InputError(f"--names {names} has a name twice; over mass give --masses too")
        found = {
            word: inference.limit(reading.model(path), None, level, **common)
            for word, path in zip(words, workspaces, strict=True)
        }
        _alike({word: one.parameter for word, one in found.items()})
        drawing.draw(lambda: limits_side_by_side(found))
        rows = [{"name": word, **one.to_dict()} for word, one in found.items()]
        output.give({**head, "analyses": rows}, lambda: show.analyses(found), show.notes(*found.values()))
        return
    numbers = masses.split(",")
    if len(numbers) != len(workspaces):
        raise InputError(f"{len(workspaces)} workspaces need as many --masses, got {len(numbers)}: {masses}")
    over = {}
    for word in dict.fromkeys(words):
        chosen = [k for k, other in enumerate(words) if other == word]
        models = by_mass([workspaces[k] for k in chosen], ",".join(numbers[k] for k in chosen), reading)
        over[word] = inference.limits(models, level, **common)
    known = {word: [one.parameter for one in scan.limits or () if one is not None] for word, scan in over.items()}
    _alike({word: parameters[0] for word, parameters in known.items() if parameters})
    drawing.draw(lambda: limits_over_mass(over))
    rows = [{"name": word, **scan.to_dict()} for word, scan in over.items()]
    output.give({**head, "analyses": rows}, lambda: show.analyses_over_mass(over))


def _alike(parameters: Mapping[str, str]) -> None:
    """Raise InputError where analyses limit different parameters, which no axis shows together."""
    if len(set(parameters.values())) > 1:
        told = ", ".join(f"{name}: {parameter}" for name, parameter in parameters.items())
        raise InputError(f"the analyses limit different parameters ({told}); bring them to one with --poi, or rename")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(limit)
