"""What is said of the parts of an uncertainty."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bumpfit.inference.breakdown import Breakdown
from bumpfit.pages.terminal import like, measured, table

if TYPE_CHECKING:
    from rich.console import RenderableType


def told(found: Breakdown) -> RenderableType:
    """The parts in both conventions, with the remainder of the one that does not add up."""
    size = 0.1 * found.error
    rows = [[p.group, str(len(p.parameters)), *like(size, p.freezing, p.auxiliary)] for p in found.parts]
    rows.append(["statistical", "", *like(size, found.statistical_freezing, found.statistical_auxiliary)])
    sign = "-" if found.remainder < 0 else ""
    rows.append(["remainder", "", f"{sign}{like(size, math.sqrt(abs(found.remainder)))[0]}", "0"])
    rows.append(["all", "", *like(size, found.error, found.error)])
    title = f"parts of the error of {found.parameter} = {measured(found.best, found.error)}"
    return table(title, ["group", "parameters", "by freezing", "by auxiliary measurements"], rows)
