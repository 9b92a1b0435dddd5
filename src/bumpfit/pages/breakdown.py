"""What is said of the parts of an uncertainty."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from bumpfit.inference.breakdown import Breakdown
from bumpfit.pages.terminal import number, table

if TYPE_CHECKING:
    from rich.console import RenderableType


def told(found: Breakdown) -> RenderableType:
    """The parts in both conventions, with the remainder of the one that does not add up."""
    rows = [[p.group, str(len(p.parameters)), number(p.freezing), number(p.auxiliary)] for p in found.parts]
    rows.append(["statistical", "", number(found.statistical_freezing), number(found.statistical_auxiliary)])
    sign = "-" if found.remainder < 0 else ""
    rows.append(["remainder", "", f"{sign}{number(math.sqrt(abs(found.remainder)))}", "0"])
    rows.append(["all", "", number(found.error), number(found.error)])
    title = f"parts of the error of {found.parameter} = {number(found.best)}"
    return table(title, ["group", "parameters", "by freezing", "by auxiliary measurements"], rows)
