"""`bumpfit contour`: two parameters at once, as contours and on a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bumpfit.commands.options import Fitting, Reading, Workspace, grouped
from bumpfit.commands.output import Drawing, Output
from bumpfit.commands.patterns import span
from bumpfit.commands.question import begin
from bumpfit.errors import InputError
from bumpfit.pages import likelihood as show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bumpfit.inference import Surface
    from bumpfit.results import Contour

SAME = 0.01
"""Steps of the grid by which two best fits are one."""


@grouped
def contour(
    workspace: Workspace,
    x: Annotated[str, typer.Argument(help="First parameter.")],
    y: Annotated[str, typer.Argument(help="Second parameter.")],
    reading: Reading,
    fitting: Fitting,
    output: Output,
    drawing: Drawing,
    level: Annotated[list[float] | None, typer.Option(help="Joint level; default: 0.6827 and 0.9545.")] = None,
    points: Annotated[int, typer.Option(help="Points a line.", min=4)] = 40,
    grid: Annotated[
        int | None, typer.Option(metavar="N", help="The profile likelihood on N x N points too.", min=2)
    ] = None,
    x_span: Annotated[
        str | None, typer.Option(metavar="LOW:HIGH", help="Ends of the grid in x; default: 3 errors.")
    ] = None,
    y_span: Annotated[
        str | None, typer.Option(metavar="LOW:HIGH", help="Ends of the grid in y; default: 3 errors.")
    ] = None,
) -> None:
    """Joint confidence regions of two parameters.

    Example: bumpfit contour workspace.json mu spectrum_z0 --grid 21 --figure contour.png
    """
    from bumpfit import inference

    across, along = _side("--x-span", x_span, grid), _side("--y-span", y_span, grid)
    asked = begin(workspace, reading, fitting, output, drawing)
    lines = [
        inference.contour(asked.model, x, y, chosen, asked.data, n_points=points, **asked.settings)
        for chosen in level or (0.6827, 0.9545)
    ]
    result = {**asked.provenance("contour"), "contours": [line.to_dict() for line in lines]}
    found = None
    if grid is not None:
        found = inference.surface(asked.model, x, y, across, along, asked.data, n_points=grid, **asked.settings)
        result["grid"] = found.to_dict()

    def draw() -> Figure:
        from bumpfit.report.profiles import contours

        return contours(lines, found)

    drawing.draw(draw)
    told = show.notes(*lines) if found is None else [*show.notes(*lines, found), *_of_another_best(lines[0], found)]
    output.give(result, lambda: show.contours(lines), told)


def _of_another_best(line: Contour, found: Surface) -> list[str]:
    """What is to be told where the grid reaches beyond a range and has a lower minimum there than the contours."""
    steps = ((places[-1] - places[0]) / (len(places) - 1) for places in (found.x, found.y))
    if all(abs(a - b) < SAME * step for a, b, step in zip(line.best, found.best, steps, strict=True)):
        return []
    best = ", ".join(f"{name} = {value:.5g}" for name, value in zip(found.parameters, found.best, strict=True))
    return [f"the grid rises from its own best fit, {best}, beyond the range of the contours (see --range)"]


def _side(option: str, text: str | None, number: int | None) -> list[float] | None:
    """Points of a side of the grid; None where its ends are not given."""
    if text is None:
        return None
    if number is None:
        raise InputError(f"{option} is a side of the grid; give --grid N too")
    low, high = span(option, text)
    return [low + (high - low) * k / (number - 1) for k in range(number)]


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(contour)
