"""What commands give back: JSON files and JSON on standard output, tables on the terminal, figures."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from bumpfit.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from bumpfit.report.document import Document

Out = Annotated[
    Path | None, typer.Option("-o", "--out", help="Write the result to this JSON file, or the tables to a .tex file.")
]
Target = Annotated[Path | None, typer.Option("-o", "--out", help="File to write; default: standard output.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
FigureFile = Annotated[Path | None, typer.Option("--figure", metavar="FILE.png", help="Draw it (png, pdf or svg).")]

Pdf = Annotated[bool, typer.Option("--pdf", help="Print the page to a PDF beside it (needs Chromium or Chrome).")]

FORMATS = (".png", ".pdf", ".svg")

TYPED: ContextVar[tuple[str, ...]] = ContextVar("TYPED", default=())
"""The words of the command that runs."""


@dataclasses.dataclass(frozen=True)
class Output:
    """Where a result goes."""

    PANEL: ClassVar[str] = "Output"

    out: Out = None
    as_json: Json = False

    def give(self, result: Mapping[str, Any], show: Callable[[], RenderableType], note: Sequence[str] = ()) -> None:
        """Write the JSON file, then print the result as JSON or as a table with notes below."""
        from bumpfit.files import write_json, write_text
        from bumpfit.results import plain

        if self.out is not None and self.out.suffix.lower() == ".tex":
            from bumpfit.pages.latex import latex

            write_text(self.out, latex(show()))
        elif self.out is not None:
            write_json(self.out, result)
        if self.as_json:
            typer.echo(json.dumps(plain(result), indent=1, allow_nan=False))
            return
        from bumpfit.console import Console, printable

        console = Console()
        console.print(show())
        for line in [*note, *([] if self.out is None else [f"written to {self.out}"])]:
            console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Where a figure goes."""

    PANEL: ClassVar[str] = "Output"

    figure: FigureFile = None
    label: Annotated[
        str | None, typer.Option(metavar="EXPERIMENT", help="Experiment on the figure, as 'CMS' or 'ATLAS Internal'.")
    ] = None
    lumi: Annotated[float | None, typer.Option(help="Integrated luminosity on the figure, in fb^-1.")] = None
    energy: Annotated[float | None, typer.Option(help="Centre-of-mass energy on the figure, in TeV.")] = None

    def check(self, *others: Path | None) -> None:
        """Raise InputError, before anything is computed, for a format or a label that cannot be drawn, and for a label
        without a figure (`others`: that bear it too).
        """
        on_figures = {"--label": self.label, "--lumi": self.lumi, "--energy": self.energy}
        for option, value in on_figures.items():
            if value is not None and not any((self.figure, *others)):
                raise InputError(f"{option} stands on a figure; give --figure too")
        if self.label is not None:
            from bumpfit.report.pictures import experiment_of

            experiment_of(self.label)
        for name, value in (("--lumi", self.lumi), ("--energy", self.energy)):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"{name} {value} is no number above 0")
        if self.figure is not None and self.figure.suffix.lower() not in FORMATS:
            raise InputError(f"cannot draw to {self.figure}: expected a name that ends in {', '.join(FORMATS)}")

    def draw(self, make: Callable[[], Figure]) -> None:
        """Draw and write the figure when it was asked for."""
        if self.figure is None:
            return
        self.check()
        from bumpfit.files import atomic
        from bumpfit.report.style import DOTS_PER_INCH, as_texts, style

        with atomic(self.figure) as temporary, style():
            figure = make()
            if not (self.label is None and self.lumi is None and self.energy is None):
                from bumpfit.report.pictures import headed

                headed(figure, self.label, self.lumi, self.energy)
            as_texts(figure)
            figure.savefig(temporary, dpi=DOTS_PER_INCH)


@dataclasses.dataclass(frozen=True)
class Page:
    """Where a report goes."""

    PANEL: ClassVar[str] = "Output"

    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page: answer, figures, tables, how it was made.")
    ] = None
    pdf: Pdf = False

    @property
    def files(self) -> list[Path]:
        """What is written; raises an error, before anything is computed, where it cannot be."""
        if self.pdf:
            if self.report is None:
                raise InputError("--pdf prints the page that --report FILE.html names; give both")
            from bumpfit.report.paper import browser

            browser()
            return [self.report, self.report.with_suffix(".pdf")]
        return [] if self.report is None else [self.report]

    def write(self, make: Callable[[], Document]) -> None:
        """Write the page when it was asked for; the command stands at its end."""
        if self.report is None:
            return
        from bumpfit.files import write_text
        from bumpfit.pages.origin import repeated
        from bumpfit.report import html

        made = make()
        write_text(self.report, html.render(dataclasses.replace(made, blocks=(*made.blocks, repeated(TYPED.get())))))
        if self.pdf:
            from bumpfit.report.paper import pdf

            pdf(self.report)


def written(content: Any, out: Path | None, inputs: list[Path]) -> None:
    """JSON to a file or to standard output; raises InputError for a number that JSON has not."""
    from bumpfit.files import write_json
    from bumpfit.workspace.structure import place

    check_outputs(inputs, out)
    for path, value in _not_finite(content, ()):
        raise InputError(f"JSON has no number like the {value} at {place(path, content)}; correct it, or take it out")
    if out is None:
        typer.echo(json.dumps(content, indent=1, allow_nan=False))
    else:
        write_json(out, content)


def _not_finite(node: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], float]]:
    """The numbers of a document that are infinite or none, with their places."""
    if isinstance(node, float):
        if not math.isfinite(node):
            yield path, node
    elif isinstance(node, Mapping | list):
        for key, entry in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield from _not_finite(entry, (*path, key))


def check_outputs(inputs: Sequence[str | Path], *outputs: Path | None) -> None:
    """Raise InputError where an output is an input or another output, which would be lost, or cannot be written."""
    from bumpfit.events.suffixes import split_tree
    from bumpfit.files import check_writable

    read = {Path(split_tree(path)[0]).resolve() for path in inputs}
    written: set[Path] = set()
    for path in outputs:
        if path is None:
            continue
        try:
            place, folder = path.resolve(), path.is_dir()
        except OSError as error:
            raise InputError(f"cannot write {path} ({error.strerror}); choose another output") from error
        if place in read:
            raise InputError(f"{path} is an input of this command; choose another name for the output")
        if folder:
            raise InputError(f"{path} is a folder; expected the name of a file to write")
        check_writable(path)
        if place in written and (place.is_file() or not place.exists()):  # a device takes all
            raise InputError(f"{path} is the name of two outputs; choose another name for one of them")
        written.add(place)


def provenance(command: str, inputs: Sequence[str | Path], options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """First keys of every result: command, version, inputs with their SHA-256, and options that were given."""
    from bumpfit import __version__
    from bumpfit.events.locations import sha256_of

    return {
        "command": command,
        "version": __version__,
        "inputs": [{"path": str(path), "sha256": sha256_of(path)} for path in inputs],
        "options": dict(options or {}),
    }
