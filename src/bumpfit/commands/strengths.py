"""`bumpfit discovery`: is there a signal in any of one or more strengths?"""

from __future__ import annotations

from typing import Annotated

import typer

from bumpfit.commands.options import Fitting, Reading, Workspace, grouped
from bumpfit.commands.output import Output
from bumpfit.commands.question import begin
from bumpfit.commands.throwing import Throwing


@grouped
def discovery(
    workspace: Workspace,
    reading: Reading,
    fitting: Fitting,
    output: Output,
    throwing: Throwing,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", "-p", metavar="NAME",
            help="A strength that is 0 without signal, may be repeated (default: the parameter of interest).",
        ),
    ] = None,
    toys: Annotated[
        int | None, typer.Option(metavar="N", help="Throw N toys instead of the asymptotic law.", min=1)
    ] = None,
) -> None:  # fmt: skip
    """Test of no signal in one or more strengths together: q0, local p-value and significance.

    Example: bumpfit discovery two.json -p mu_a -p mu_b
    """
    from bumpfit import inference
    from bumpfit.pages import likelihood as show

    asked = begin(workspace, reading, fitting, output)
    with throwing.law(toys) as law:
        found = inference.joint_discovery(asked.model, parameter or None, asked.data, law=law, **asked.settings)
    thrown = {} if toys is None else {"toys": toys, "seed": throwing.seed}
    result = {**asked.provenance("discovery", strengths=list(found.strengths), **thrown), **found.to_dict()}
    output.give(result, lambda: show.joint_discovery(found), show.notes(found))


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(discovery)
