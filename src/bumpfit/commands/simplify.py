"""`bumpfit workspace simplify`: backgrounds with their covariance in the place of all systematic uncertainties."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from bumpfit.commands.options import Reading, Workspace, grouped
from bumpfit.commands.output import Target, written

Form = Literal["eigenvectors", "total", "covariance"]


@grouped
def simplify(
    workspace: Workspace,
    reading: Reading,
    channel: Annotated[
        list[str],
        typer.Option(
            "-c", "--channel", metavar="CHANNEL",
            help="Signal region, may be repeated; the other channels determine the backgrounds.",
        ),
    ],
    form: Annotated[
        Form,
        typer.Option(
            help="A workspace with the covariance as eigenvectors, or one total uncertainty as ATLAS's simplify; or "
            "the numbers."
        ),
    ] = "eigenvectors",
    out: Target = None,
) -> None:  # fmt: skip
    """Simplified likelihood: the backgrounds of signal regions with their covariance from all other channels.

    Example: bumpfit workspace simplify workspace.json -c SR -o simplified.json
    """
    from bumpfit import inference

    model = reading.model(workspace)
    found = inference.simplified(model, channel)
    written(
        found.to_dict() if form == "covariance" else found.workspace(total=form == "total"), out,
        [workspace, *reading.files],
    )  # fmt: skip
