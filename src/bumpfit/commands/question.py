"""How a command that asks a likelihood a question begins: places, model, data, settings, and the record of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bumpfit.commands.options import Fitting, Reading
from bumpfit.commands.output import Drawing, Output, check_outputs, provenance
from bumpfit.errors import InputError

if TYPE_CHECKING:
    from bumpfit.workspace import Model


@dataclasses.dataclass(frozen=True)
class Question:
    """Model and data of a question, settings of the fits, and what was given."""

    files: list[Path]
    model: Model
    data: Any
    settings: Any
    options: dict[str, Any]

    def provenance(self, command: str, **options: Any) -> dict[str, Any]:
        """The head of the result, with options of this command beside the common ones."""
        return provenance(command, self.files, {**self.options, **options})


def begin(
    workspace: Path, reading: Reading, fitting: Fitting, output: Output, drawing: Drawing | None = None
) -> Question:
    """Look at the places of the results, then read; raises InputError for places and files that are none."""
    if drawing is not None:
        drawing.check()
    files = [workspace, *reading.files, *fitting.files]
    check_outputs(files, output.out, None if drawing is None else drawing.figure)
    model = reading.model(workspace)
    options = {**reading.given(), **fitting.given()}
    return Question(files, model, fitting.data(model), fitting.settings(model), options)


def common_settings(fitting: Fitting, workspace: Path, reading: Reading) -> dict[str, Any]:
    """Settings of parameters that several workspaces share, by the first of them."""
    if fitting.asimov is not None or fitting.blind is not None:
        raise InputError("--asimov and --blind take one workspace, without --masses and --names")
    return fitting.settings(reading.model(workspace))
