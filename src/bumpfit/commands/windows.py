"""`bumpfit bumphunter`: the window of a spectrum with the least probable excess over a known background."""

from __future__ import annotations

import dataclasses
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from bumpfit.commands.options import Seed, grouped
from bumpfit.commands.output import Drawing, Output, check_outputs, provenance
from bumpfit.commands.patterns import span
from bumpfit.errors import InputError

if TYPE_CHECKING:
    from bumpfit.histograms import Histogram

NAMED = re.compile(r"(.+\.(?:root|json|csv|ya?ml|yoda)):(.+)", re.IGNORECASE)
"""FILE:NAME of a histogram, column or tree."""

MOST = 1_000_000
"""Bins that events are filled into."""


@dataclasses.dataclass(frozen=True)
class Events:
    """How tables of events become histograms."""

    PANEL: ClassVar[str] = "Tables of events instead of histograms"

    bins: Annotated[
        int | None, typer.Option(help="Fill the events of both tables into bins of equal width.", min=1, max=MOST)
    ] = None
    range: Annotated[str | None, typer.Option(metavar="LOW:HIGH", help="The first and the last edge.")] = None
    column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column, or expression of columns; default: the only one.")
    ] = None

    def edges(self) -> list[float] | None:
        """The edges, None for files of histograms; raises InputError for options that miss each other."""
        if self.bins is None and self.range is None and self.column is None:
            return None
        if self.bins is None or self.range is None:
            raise InputError("tables of events need both --bins and --range")
        low, high = span("--range", self.range)
        return [low + (high - low) * i / self.bins for i in range(self.bins)] + [high]

    def filled(self, file: str, edges: list[float]) -> Histogram:
        """The histogram of a table, unweighted."""
        import numpy as np

        from bumpfit import events
        from bumpfit.events.cuts import values
        from bumpfit.events.names import in_backticks
        from bumpfit.histograms import fill

        source = events.open(file)
        column = self.column
        if column is None:
            names = list(source.layout.branches.exact)
            if len(names) != 1:
                raise InputError(f"{file} has the columns {', '.join(names[:8])}; name one with --column")
            column = in_backticks(names[0])
        return fill(values(column, source), np.asarray(edges))


@grouped
def bumphunter(
    data: Annotated[
        str, typer.Argument(help="Counts: ROOT, UHI JSON, CSV, HEPData YAML, YODA; one of several as FILE:NAME.")
    ],
    background: Annotated[str, typer.Argument(help="What is expected in the same bins, in one of these formats.")],
    events: Events,
    output: Output,
    drawing: Drawing,
    narrowest: Annotated[int, typer.Option(help="Bins of the narrowest window.", min=1)] = 1,
    widest: Annotated[int | None, typer.Option(help="Bins of the widest window; default: half of them.", min=1)] = None,
    scale: Annotated[float, typer.Option(help="Times the background.")] = 1.0,
    sidebands: Annotated[
        bool, typer.Option("--sidebands", help="Scale the background to the data outside of each window.")
    ] = False,
    deficits: Annotated[bool, typer.Option("--deficits", help="Look for too few events instead.")] = False,
    toys: Annotated[int, typer.Option(metavar="N", help="Toys of the background.", min=1)] = 100_000,
    seed: Seed = 0,
) -> None:
    """The window of a spectrum with the least probable excess over a known background (BumpHunter), with its local
    p-value and, from toys that are scanned alike, its global one.

    Example: bumpfit bumphunter data.root:data data.root:bkg --bins 60 --range 0:20 --narrowest 2 --widest 6

    The background is taken as exactly known. For a fitted background see bumpfit fit --family.
    """
    from bumpfit.histograms import from_counts
    from bumpfit.inference import bump_hunter
    from bumpfit.pages import spectra as page

    drawing.check()
    files = [_split(text)[0] for text in (data, background)]
    check_outputs(files, output.out, drawing.figure)
    if not (scale > 0 and math.isfinite(scale)):
        raise InputError(f"--scale must be positive, got {scale:g}")
    edges = events.edges()
    counts, expected = (
        _histogram(text) if edges is None else events.filled(text, edges) for text in (data, background)
    )
    expected = from_counts(expected.edges, expected.counts * scale, expected.variances * scale**2)
    asked: dict[str, Any] = {
        "narrowest": narrowest, "widest": widest, "sidebands": sidebands, "deficits": deficits, "toys": toys,
        "seed": seed,
    }  # fmt: skip
    found = bump_hunter(counts, expected, **asked)

    def draw() -> Any:
        from bumpfit.report.spectra import window

        return window(counts, expected.counts, found.low, found.high, events.column or "Mass")

    drawing.draw(draw)
    given = {name: value for name, value in dataclasses.asdict(events).items() if value is not None}
    options = {**asked, "scale": scale, **given}
    result = {**provenance("bumphunter", list(dict.fromkeys(files)), options), **found.to_dict()}
    output.give(result, lambda: page.bump(found, deficits=deficits), page.bump_notes(found))


def _split(text: str) -> tuple[str, str | None]:
    """File and name of FILE:NAME; no name where none is given, or where there is a file of that whole name."""
    found = NAMED.fullmatch(text)
    return (text, None) if found is None or Path(text).exists() else (found[1], found[2])


def _histogram(text: str) -> Histogram:
    from bumpfit.files import require
    from bumpfit.published import as_written

    file, name = _split(text)
    require(file)
    return as_written(file, name)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(bumphunter)
