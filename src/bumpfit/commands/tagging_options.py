"""Options of `bumpfit train` and `metrics`, and how their NAME=VALUE texts are read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from bumpfit.commands.output import Drawing
from bumpfit.errors import InputError

if TYPE_CHECKING:
    from bumpfit.events.dataset import Dataset
    from bumpfit.tagging import Setup

Repeated = list[str] | None


@dataclasses.dataclass(frozen=True)
class Judging:
    """How a classifier is judged."""

    PANEL: ClassVar[str] = "Metrics"

    signal: Annotated[str | None, typer.Option(metavar="CLASS", help="Signal class; default: the last.")] = None
    background_error: Annotated[float, typer.Option(help="Relative uncertainty of the background.")] = 0.1
    efficiency: Annotated[
        list[float] | None, typer.Option(help="Signal efficiency of a rejection; default: 0.5 and 0.99.")
    ] = None
    bootstrap: Annotated[int, typer.Option(help="Bootstrap replicas for the errors; 0 for none.", min=0)] = 100
    merit: Annotated[
        str | None,
        typer.Option(
            metavar="FORMULA",
            help="Largest value over all thresholds of a formula of s, b, s_error, b_error, s_total, "
            "b_total, as 's / sqrt(b + b_error**2)'.",
        ),
    ] = None

    def check(self, data: Dataset) -> str:
        """The signal class; raises InputError for an unknown one, and for numbers out of range."""
        label = data.classes[-1] if self.signal is None else self.signal
        if label not in data.classes:
            raise InputError(f"there is no class '{label}'; the data set has {', '.join(data.classes)}")
        if not 0 <= self.background_error < 1:
            raise InputError(f"--background-error is {self.background_error:g}; expected a fraction from 0 to below 1")
        if self.merit is not None:
            from bumpfit.scoring.own_merit import FigureOfMerit

            FigureOfMerit.read(self.merit)
        for efficiency in self.efficiency or ():
            if not 0 < efficiency <= 1:
                raise InputError(f"the signal efficiency is {efficiency:g}; expected a number above 0 and at most 1")
        return label


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """The step from a score or an observable to a likelihood; any of these options asks for it."""

    PANEL: ClassVar[str] = "Likelihood"

    workspace: Annotated[
        Path | None, typer.Option(help="Write the HistFactory workspace of the score (or --observable).")
    ] = None
    luminosity: Annotated[float | None, typer.Option(help="Luminosity in fb^-1.")] = None
    luminosity_error: Annotated[float, typer.Option(help="Relative.")] = 0.02
    cross_section: Annotated[
        Repeated, typer.Option(metavar="CLASS=PB", help="Cross-section before cuts; may be repeated.")
    ] = None
    cross_section_error: Annotated[
        Repeated, typer.Option(metavar="CLASS=FRACTION", help="Relative; default: that of --background-error.")
    ] = None
    expected: Annotated[
        Repeated, typer.Option(metavar="CLASS=EVENTS", help="Expected events after cuts, instead of a cross-section.")
    ] = None
    observed: Annotated[
        Path | None, typer.Option(help="Data set of observed events (its classes are not looked at).")
    ] = None
    bins: Annotated[int, typer.Option(help="Bins before sparse ones are joined.", min=1)] = 10
    edges: Annotated[str | None, typer.Option(metavar="E0,E1,...", help="Edges instead.")] = None
    variation: Annotated[
        Repeated,
        typer.Option(
            metavar="NAME=UP.ds[,DOWN.ds]",
            help="Systematic uncertainty: data sets at +1 and -1 standard deviation (one alone is mirrored); repeat.",
        ),
    ] = None
    scale: Annotated[
        Repeated,
        typer.Option(metavar="FEATURE=FRACTION", help="Scale uncertainty of a feature of the data set; repeat."),
    ] = None
    shape_only: Annotated[
        bool, typer.Option("--shape-only", help="These uncertainties change shapes, not expected events.")
    ] = False
    template_figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the histogram of the likelihood (png, pdf or svg).")
    ] = None

    @property
    def wanted(self) -> bool:
        """Whether the step was asked for."""
        asked = (
            self.workspace, self.luminosity, self.cross_section, self.expected, self.observed, self.variation,
            self.scale, self.template_figure,
        )  # fmt: skip
        return any(option is not None for option in asked)

    @property
    def files(self) -> list[Path]:
        """Files that are read."""
        varied = [file for files in self.varied.values() for file in files]
        return [*([] if self.observed is None else [self.observed]), *varied]

    @property
    def outputs(self) -> list[Path | None]:
        """Files that are written."""
        return [self.workspace, self.template_figure]

    @property
    def written(self) -> list[str]:
        """What is told of them."""
        files = {"workspace": self.workspace, "figure of the histogram": self.template_figure}
        return [f"{what} written to {path}" for what, path in files.items() if path is not None]

    def check(self, data: Dataset, signal: str, background_error: float) -> None:
        """Raise InputError for what can be told before anything is computed."""
        from bumpfit.files import require
        from bumpfit.tagging import check, scaled

        if self.shape_only and not (self.variation or self.scale):
            raise InputError("--shape-only is about systematic uncertainties; give --variation or --scale")
        if not self.wanted:
            return
        Drawing(self.template_figure).check()
        for file in self.files:
            require(file)
        for feature in self.scales:
            scaled(data, feature, 1.0)
        check(data, self.setup(signal, background_error))

    @property
    def varied(self) -> dict[str, list[Path]]:
        """Files of each systematic variation, upwards and (where given) downwards."""
        found: dict[str, list[Path]] = {}
        for name, text in (named("variation", text) for text in self.variation or []):
            if name in found:
                raise InputError(f"--variation {name} is given twice; give it once, as {name}=UP.ds,DOWN.ds")
            found[name] = [Path(part) for part in text.split(",")]
            if len(found[name]) > 2 or "" in text.split(","):
                raise InputError(
                    f"cannot read --variation {name}={text}; expected one file, or two with a comma between"
                )
        return found

    @property
    def scales(self) -> dict[str, float]:
        """Relative scale uncertainties by feature."""
        found = numbers("scale", self.scale)
        for name, value in found.items():
            if not 0 < value < 1:
                raise InputError(f"the scale uncertainty of '{name}' is {value:g}; expected a fraction between 0 and 1")
        return found

    def setup(self, signal: str, background_error: float) -> Setup:
        """The settings of the step."""
        from bumpfit.tagging import Setup

        return Setup(
            signal=signal,
            luminosity=self.luminosity,
            luminosity_error=self.luminosity_error,
            cross_sections=numbers("cross-section", self.cross_section),
            cross_section_errors=numbers("cross-section-error", self.cross_section_error),
            events=numbers("expected", self.expected),
            background_error=background_error,
            bins=self.bins,
            edges=None if self.edges is None else tuple(floats("edges", self.edges)),
            variation_norms=not self.shape_only,
        )


def named(option: str, text: str) -> tuple[str, str]:
    """Name and value of NAME=VALUE."""
    name, mark, value = text.partition("=")
    if not name or not mark or not value:
        raise InputError(f"cannot read --{option} {text}; expected NAME=VALUE")
    return name, value


def numbers(option: str, texts: Sequence[str] | None) -> dict[str, float]:
    """Numbers by name."""
    found: dict[str, float] = {}
    for name, value in (named(option, text) for text in texts or []):
        if name in found:
            raise InputError(f"--{option} {name} is given twice; give it once")
        try:
            found[name] = float(value)
        except ValueError:
            raise InputError(f"cannot read --{option} {name}={value}: '{value}' is no number") from None
    return found


def floats(option: str, text: str) -> list[float]:
    """Numbers with commas between them."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"cannot read --{option} {text}; expected numbers with commas between them") from None


def settings(approach: Any, texts: Sequence[str] | None) -> dict[str, Any]:
    """Settings of an approach from NAME=VALUE, of the type that the setting has."""
    from bumpfit.scoring.classifier import check_settings

    settings: dict[str, Any] = {}
    for name, value in (named("set", text) for text in texts or []):
        if name in settings:
            raise InputError(f"--set {name} is given twice; give it once")
        check_settings(approach, {name: value})
        default = getattr(approach(), name)
        if isinstance(default, str):
            settings[name] = value
            continue
        if isinstance(default, tuple) and default and isinstance(default[0], str):
            settings[name] = tuple(part.strip() for part in value.split(","))
            continue
        try:
            read = json.loads(f"[{value}]" if isinstance(default, tuple) and "[" not in value else value)
        except (ValueError, RecursionError):
            read = value
        whole = isinstance(read, int) and not isinstance(read, bool)
        fits = {
            "a whole number": isinstance(default, int) and whole,
            "a number": (isinstance(default, float) or default is None) and (whole or isinstance(read, float)),
            "whole numbers with commas between them": isinstance(default, tuple)
            and isinstance(read, list)
            and all(isinstance(entry, int) for entry in read),
            "settings by name of approach, as JSON": isinstance(default, dict) and isinstance(read, dict),
        }
        if not any(fits.values()):
            kinds = {
                int: "a whole number",
                tuple: "whole numbers with commas between them",
                dict: "settings by name of approach, as JSON",
            }
            wanted = kinds.get(type(default), "a number")
            raise InputError(f"cannot read --set {name}={value}; expected {wanted}")
        settings[name] = tuple(read) if isinstance(default, tuple) else read
    return settings
