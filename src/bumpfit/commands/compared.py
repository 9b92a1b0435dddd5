"""`bumpfit pulls`: nuisance parameters of several fits side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bumpfit.commands.options import Fitting, Reading, Workspaces, grouped
from bumpfit.commands.output import Drawing, Output, check_outputs, provenance
from bumpfit.commands.question import common_settings
from bumpfit.errors import InputError

if TYPE_CHECKING:
    from bumpfit.results import Fit
    from bumpfit.workspace import Model


@grouped
def pulls(
    workspaces: Workspaces,
    reading: Reading,
    fitting: Fitting,
    output: Output,
    drawing: Drawing,
    names: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="What to call the fits (default: the files).")
    ] = None,
    top: Annotated[int, typer.Option(help="Parameters that are shown and drawn; the result has all.", min=1)] = 20,
) -> None:
    """Pulls and constraints of several fits side by side; of one workspace, with its strength free and held at 0.

    Example: bumpfit pulls a.json b.json --names 2022,2023 --figure pulls.png
    """
    from bumpfit import inference
    from bumpfit.pages.pulls import shown

    drawing.check()
    files = [*workspaces, *reading.files, *fitting.files]
    check_outputs(files, output.out, drawing.figure)
    found = inference.pulls(_fits(workspaces, names, reading, fitting))

    def draw() -> Any:
        from bumpfit.report.beside import pulls_beside

        return pulls_beside(found, top)

    drawing.draw(draw)
    given = {**reading.given(), **fitting.given(), **({} if names is None else {"names": names})}
    output.give({**provenance("pulls", files, given), **found.to_dict()}, lambda: shown(found, top))


def _fits(
    workspaces: Workspaces, names: str | None, reading: Reading, fitting: Fitting
) -> dict[str, tuple[Model, Fit]]:
    """Fits by their names."""
    from bumpfit import inference

    if len(workspaces) == 1:
        if names is not None:
            raise InputError("--names names several workspaces; give two or more")
        model = reading.model(workspaces[0])
        if model.poi is None:
            raise InputError("the workspace has no parameter of interest to hold at 0; give --poi, or two workspaces")
        settings, data = fitting.settings(model), fitting.data(model)
        held = {**settings, "fixed": {**(settings.get("fixed") or {}), model.poi: 0.0}}
        each = {"free": settings, f"{model.poi} = 0": held}
        return {name: (model, inference.fit(model, data, **chosen)) for name, chosen in each.items()}
    called = [path.stem for path in workspaces] if names is None else names.split(",")
    if len(called) != len(workspaces) or len(set(called)) < len(called) or not all(called):
        raise InputError(
            f"{len(workspaces)} workspaces are called {', '.join(called)}; give as many different names (--names)"
        )
    settings = common_settings(fitting, workspaces[0], reading)
    models = [reading.model(path) for path in workspaces]
    return {name: (model, inference.fit(model, **settings)) for name, model in zip(called, models, strict=True)}


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(pulls)
