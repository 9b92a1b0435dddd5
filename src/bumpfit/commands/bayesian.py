"""`bumpfit posterior`: Bayesian intervals and limits of a parameter."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from bumpfit.commands.options import Fitting, Parameter, Reading, Seed, Workspace, grouped
from bumpfit.commands.output import Drawing, Output
from bumpfit.commands.question import begin
from bumpfit.words import Prior


@grouped
def posterior(
    workspace: Workspace,
    reading: Reading,
    fitting: Fitting,
    output: Output,
    drawing: Drawing,
    parameter: Parameter = None,
    prior: Annotated[Prior, typer.Option(help="Prior of the parameter within its range.")] = "flat",
    level: Annotated[float, typer.Option(help="Probability below the upper limit.")] = 0.95,
    interval_level: Annotated[float, typer.Option(help="Probability of the intervals.")] = 0.6827,
    samples: Annotated[
        int, typer.Option(metavar="N", help="Points of each integral over the nuisance parameters, a power of two.")
    ] = 128,
    seed: Seed = 0,
) -> None:
    """Bayesian posterior of a parameter: mean, median, central and shortest interval, upper limit.

    Constraints are the priors of the nuisance parameters; that of the parameter is flat within its range (--range),
    or Jeffreys'. Example: bumpfit posterior workspace.json --range mu=0:10 --figure posterior.png
    """
    from bumpfit import inference
    from bumpfit.pages import likelihood as show

    asked = begin(workspace, reading, fitting, output, drawing)
    found = inference.posterior(
        asked.model, parameter, asked.data, prior=prior, levels=(interval_level, level), samples=samples, seed=seed,
        **asked.settings,
    )  # fmt: skip

    def draw() -> Any:
        from bumpfit.report.profiles import posterior as figure

        return figure(found)

    drawing.draw(draw)
    result = {**asked.provenance("posterior", prior=prior, samples=samples, seed=seed), **found.to_dict()}
    output.give(result, lambda: show.posterior(found), show.notes(found))


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(posterior)
