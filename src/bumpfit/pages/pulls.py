"""Pulls of several fits side by side on the terminal."""

from __future__ import annotations

from rich.console import RenderableType

from bumpfit.inference.pulls import Pulls
from bumpfit.pages.terminal import pairs, stacked, table
from bumpfit.report.rounding import measured


def shown(found: Pulls, top: int) -> RenderableType:
    """The parameters whose pulls differ most, as pull ± constraint."""
    lines = [
        [row.parameter, *(_cell(*pair) for pair in zip(row.pulls, row.constraints, strict=True)), f"{row.spread:.2f}"]
        for row in found.rows[:top]
    ]
    notes = []
    if len(found.rows) > top:
        notes.append(("", f"and {len(found.rows) - top} parameters whose pulls differ less"))
    if found.at_bounds:
        notes.append(("at an end of the range", ", ".join(found.at_bounds)))
    told = table("Pulls ± constraints, in units of the widths before the fit",
                 ["parameter", *found.fits, "difference"], lines)  # fmt: skip
    return stacked(told, *([pairs(notes)] if notes else []))


def _cell(pull: float | None, constraint: float | None) -> str:
    if pull is None:
        return "—"
    return f"{pull:+.2f}" if constraint is None else measured(pull, constraint)
