"""`bumpfit compatibility`: do the channels agree on the strength of the signal?"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bumpfit.commands.options import Fitting, Parameter, Reading, Workspace, grouped
from bumpfit.commands.output import Drawing, Output
from bumpfit.commands.patterns import groups_of
from bumpfit.commands.question import begin
from bumpfit.commands.throwing import Throwing


@grouped
def compatibility(
    workspace: Workspace,
    reading: Reading,
    fitting: Fitting,
    output: Output,
    drawing: Drawing,
    throwing: Throwing,
    parameter: Parameter = None,
    group: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATTERN,...", help="Channels that share a strength; may be repeated."),
    ] = None,
    toys: Annotated[
        int | None, typer.Option(metavar="N", help="Throw N toys instead of the asymptotic law.", min=1)
    ] = None,
) -> None:
    """Compatibility of channels: the fit with one strength a channel against the common strength.

    Example: bumpfit compatibility workspace.json --range mu=-10:10 --group low=SR1,SR2 --figure channels.png
    """
    from bumpfit import inference
    from bumpfit.pages import likelihood as show

    asked = begin(workspace, reading, fitting, output, drawing)
    groups = groups_of(group)
    with throwing.law(toys) as law:
        found = inference.compatibility(
            asked.model, asked.data, parameter=parameter, groups=groups, law=law, **asked.settings
        )

    def draw() -> Any:
        from bumpfit.report.profiles import compatibility as figure

        return figure(found)

    drawing.draw(draw)
    thrown = {} if toys is None else {"toys": toys, "seed": throwing.seed}
    result = {**asked.provenance("compatibility", groups=groups, **thrown), **found.to_dict()}
    output.give(result, lambda: show.compatibility(found), show.notes(found))


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(compatibility)
