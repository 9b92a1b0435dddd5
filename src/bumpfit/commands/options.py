"""Options that many commands share, declared once.

A command takes a group of options as one argument whose annotation is a dataclass of this module; `grouped` gives
Typer the single options:

    @grouped
    def gof(workspace: Workspace, reading: Reading, fitting: Fitting, output: Output) -> None: ...
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import math
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from bumpfit.errors import InputError
from bumpfit.words import Minimiser

if TYPE_CHECKING:
    from bumpfit.inference import FitOptions
    from bumpfit.workspace import Model
    from bumpfit.workspace.model import Data


Workspace = Annotated[
    Path,
    typer.Argument(
        help="Workspace: HistFactory or HS3 JSON, HistFactory XML, Combine datacard, cabinetry or TRExFitter."
    ),
]
Workspaces = Annotated[
    list[Path],
    typer.Argument(
        help="Workspace (HistFactory or HS3 JSON, HistFactory XML, datacard, configuration), or one a mass."
    ),
]
Masses = Annotated[
    str | None, typer.Option(metavar="M1,M2,...", help="Masses in GeV of several workspaces, in their order.")
]
Parameter = Annotated[
    str | None, typer.Option(metavar="NAME", help="Parameter in question (default: the parameter of interest).")
]
Seed = Annotated[int, typer.Option(help="Seed of every random choice; the same seed gives the same numbers.", min=0)]
Workers = Annotated[
    int | None, typer.Option(help="Processes or threads (default: all cores); no number depends on it.", min=1)
]

Dask = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Work on the workers of a Dask scheduler (how-to: long runs)."),
]

FORMATS = (".json", ".xml", ".yml", ".yaml")

PARSER: dict[str, str] = {
    "fix": "NAME or NAME=VALUE",
    "start": "NAME=VALUE",
    "range": "NAME=LOW:HIGH",
}
"""How the settings of parameters are written."""

NO_CHANGE = 1e-6
"""Difference of -2 ln L that does not tell two minima apart."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a workspace is read."""

    PANEL: ClassVar[str] = "Workspace"

    patch: Annotated[Path | None, typer.Option(help="JSON patch, or patchset, to apply to the workspace.")] = None
    patch_name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the patch in a patchset.")] = None
    measurement: Annotated[
        str | None, typer.Option(metavar="NAME", help="Measurement (HS3: analysis); default: the first.")
    ] = None
    poi: Annotated[str | None, typer.Option(metavar="NAME", help="Take another parameter of interest.")] = None
    patch_any: Annotated[
        bool, typer.Option("--patch-any", help="Accept a patchset whose digests are those of another workspace.")
    ] = False
    allow_negative: Annotated[
        bool, typer.Option("--allow-negative", help="Accept samples with negative yields (from event weights).")
    ] = False

    interpolation: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE=CODE",
            help="Interpolation: normsys=4 or 1, histosys=4p or 0; default: 4 and 4p, or HS3's. May be repeated.",
        ),
    ] = None
    card_strength: Annotated[
        list[str] | None,
        typer.Option(metavar="PROCESS=NAME", help="Datacard: strength of the signals like PROCESS; may be repeated."),
    ] = None
    card_mass: Annotated[
        str | None,
        typer.Option(metavar="MASS", help="Datacard: what stands for $MASS in names of histograms; default: 120."),
    ] = None

    basedir: Annotated[
        Path | None, typer.Option(help="HistFactory XML: the folder at which the names of its files start.")
    ] = None

    def model(self, path: Path) -> Model:
        """The compiled workspace."""
        from bumpfit.compiled import start_alone
        from bumpfit.files import require
        from bumpfit.workspace import from_card, read
        from bumpfit.workspace.datacard import looks_like_card

        start_alone()
        if path.suffix.lower() not in FORMATS:
            from bumpfit.events.suffixes import is_table

            if is_table(path) and not looks_like_card(path):
                raise InputError(f"{path} is a table of events; make a workspace of scored events with bumpfit build")
        source: Any = require(path)
        if looks_like_card(path):
            source = from_card(path, strengths=self._strengths(), mass=self.card_mass or "120")
        else:
            for option, given in (("--card-strength", self.card_strength), ("--card-mass", self.card_mass is not None)):
                if given:
                    raise InputError(f"{option} belongs to a datacard of Combine, which {path} is not")
        if self.basedir is not None:
            from bumpfit.workspace.xml import read_xml

            if path.suffix.lower() != ".xml":
                raise InputError(f"--basedir belongs to HistFactory XML, which names other files; {path} is none")
            source = read_xml(path, self.basedir)
        return read(
            source, None if self.patch is None else require(self.patch), patch_name=self.patch_name,
            measurement=self.measurement, poi=self.poi, allow_negative=self.allow_negative,
            any_workspace=self.patch_any, interpolation=self._codes(),
        )  # fmt: skip

    def _codes(self) -> dict[str, str]:
        """Interpolation codes by type; raises InputError for types that do not interpolate and unknown codes."""
        from bumpfit.workspace.effects import DEFAULT_INTERPOLATION, interpolation_codes

        result: dict[str, str] = {}
        for text in self.interpolation or ():
            kind, mark, code = text.partition("=")
            if kind not in DEFAULT_INTERPOLATION or not (mark and code) or kind in result:
                raise InputError(
                    f"cannot read --interpolation {text}; expected TYPE=CODE, each type once "
                    f"({', '.join(DEFAULT_INTERPOLATION)})"
                )
            result[kind] = code if code.startswith("code") else f"code{code}"
        interpolation_codes(result)
        return result

    def _strengths(self) -> dict[str, str]:
        result: dict[str, str] = {}
        for text in self.card_strength or ():
            process, mark, name = text.partition("=")
            if not (process and mark and name) or process in result:
                raise InputError(f"cannot read --card-strength {text}; expected PROCESS=NAME, each process once")
            result[process] = name
        return result

    def given(self) -> dict[str, Any]:
        """What was asked for, for the record."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in dataclasses.asdict(self).items()
            if value is not None and value is not False
        }

    @property
    def files(self) -> list[Path]:
        """Files that were read beside the workspace."""
        return [] if self.patch is None else [self.patch]


@dataclasses.dataclass(frozen=True)
class Fitting:
    """Which data are fitted, and what is done to the parameters before."""

    PANEL: ClassVar[str] = "Data and parameters"

    fix: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=VALUE]", help="Hold a parameter, at its start or a value; may be repeated."),
    ] = None
    start: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Start of a parameter; may be repeated.")
    ] = None
    range: Annotated[
        list[str] | None, typer.Option(metavar="NAME=LOW:HIGH", help="Range of a parameter; may be repeated.")
    ] = None
    free: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Release a parameter that the workspace holds.")
    ] = None
    counts: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHANNEL=FILE[:NAME]",
            help="Data of a channel from a histogram, UHI JSON or ROOT, instead of the workspace's; may be repeated.",
        ),
    ] = None
    asimov: Annotated[
        float | None,
        typer.Option(metavar="STRENGTH", help="Asimov data of this strength (nuisances fitted) instead of the data."),
    ] = None
    blind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CHANNEL[:FIRST-LAST]",
            help="Replace the data of a channel, or of some of its bins (from 0), by what the others predict; "
            "may be repeated.",
        ),
    ] = None
    minimiser: Annotated[Minimiser, typer.Option(help="Minimiser to begin with.")] = "newton"

    def data(self, model: Model) -> Data:
        """The data to fit; None are those of the workspace."""
        from bumpfit.inference import asimov, blind

        if self.blind is not None and self.asimov is not None:
            raise InputError("--blind and --asimov exclude each other: Asimov data have nothing to hide")
        data = self._counted(model)
        if self.blind is not None:
            return blind(model, self.hidden(model), data, options=self.options)
        if self.asimov is None:
            return data
        fitted = model.observed is not None or data is not None
        return asimov(model, self.asimov, data, fitted=fitted, options=self.options)

    def hidden(self, model: Model) -> dict[str, list[int] | None]:
        """What is blinded, by channel: its bins, or None for all; raises InputError for what does not exist."""
        from bumpfit.inference.blinding import bins_within

        known = {channel.name for channel in model.channels}
        found: dict[str, list[int] | None] = {}
        for text in self.blind or ():
            if text in known:
                found[text] = None
                continue
            window = re.fullmatch(r"(.+):(\d{1,9})(?:-(\d{1,9}))?", text)
            if window is None:
                mass = "; a window of the mass of a scored table is --blind-mass LOW:HIGH" if text[:1].isdigit() else ""
                raise InputError(
                    f"--blind {text}: there is no such channel; the model has {', '.join(sorted(known))}{mass}"
                )
            first, last = int(window[2]), int(window[3] or window[2])
            if last < first:
                raise InputError(f"--blind {text}: the window ends before it begins; expected CHANNEL:FIRST-LAST")
            bins, before = bins_within(model, window[1], first, last), found.get(window[1], [])
            found[window[1]] = None if before is None else [*before, *bins]
        return found

    @property
    def _histograms(self) -> dict[str, str]:
        """Files of histograms by channel; raises InputError for what is not CHANNEL=FILE, and a channel twice."""
        found: dict[str, str] = {}
        for text in self.counts or ():
            channel, equals, file = text.partition("=")
            if not (channel and equals and file):
                raise InputError(f"cannot read --counts {text}; expected CHANNEL=FILE or CHANNEL=FILE:NAME")
            if channel in found:
                raise InputError(f"--counts gives the data of channel '{channel}' twice")
            found[channel] = file
        return found

    @property
    def files(self) -> list[Path]:
        """Files that are read beside the workspace."""
        from bumpfit.foreign_histograms import split_name

        return [split_name(file)[0] for file in self._histograms.values()]

    def _counted(self, model: Model) -> Data:
        """Data with the counts of histograms; None without histograms."""
        given = self._histograms
        if not given:
            return None
        import numpy as np

        from bumpfit.histograms import as_histogram

        known = {channel.name for channel in model.channels}
        for name in given:
            if name not in known:
                raise InputError(f"--counts names a channel '{name}'; the workspace has {', '.join(sorted(known))}")
        counts: dict[str, Any] = {name: as_histogram(file) for name, file in given.items()}
        for channel in model.channels:
            if channel.name not in counts:
                if model.observed is None:
                    raise InputError(
                        f"the workspace has no data; give those of channel '{channel.name}' too (--counts)"
                    )
                counts[channel.name] = model.observed[channel.first : channel.last]
        return np.concatenate(model.split(counts))

    @property
    def options(self) -> FitOptions:
        """Options of the minimisation."""
        from bumpfit.inference import FitOptions

        return FitOptions(minimiser=self.minimiser)

    def settings(self, model: Model) -> dict[str, Any]:
        """The arguments `fixed`, `start`, `ranges`, `free` and `options` of every question.

        Raises InputError for settings that cannot be read or contradict each other, and for ranges that exclude the
        minimum (`_check_ranges`).
        """
        fixed, start, ranges = (
            _settings(kind, texts or (), model)
            for kind, texts in (("fix", self.fix), ("start", self.start), ("range", self.range))
        )
        from bumpfit.inference.histfactory import members

        free = [full for name in self.free or () for full in members(model, name)]
        for name in free:
            if name in fixed:
                raise InputError(f"--fix and --free contradict each other for parameter '{name}'")
        result = {"fixed": fixed, "start": start, "ranges": ranges, "free": free, "options": self.options}
        if ranges:
            _check_ranges(model, self.data(model), result)
        if model.poi is not None and self.asimov is not None:
            # both fits of a ratio see a range that holds the strength of the data
            i = model.index(model.poi)
            low, high = ranges.get(model.poi, (float(model.lower[i]), float(model.upper[i])))
            ranges[model.poi] = (min(low, self.asimov), max(high, self.asimov))
        return result

    def given(self) -> dict[str, Any]:
        """What was asked for, for the record."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value not in (None, "newton")}


def _settings(kind: str, texts: Sequence[str], model: Model) -> dict[str, Any]:
    """Values by parameter; raises InputError when one option sets a parameter twice."""
    result: dict[str, Any] = {}
    for text in texts:
        for name, value in _setting(kind, text, model):
            if name in result:
                raise InputError(f"--{kind} {text} sets parameter '{name}' a second time; give it once")
            result[name] = value
    return result


def _check_ranges(model: Model, data: Data, settings: Mapping[str, Any]) -> None:
    """Raise InputError for a range of `settings` at whose end a fit stops although the minimum lies beyond.

    Two ends are accepted: that of the workspace itself, and zero, where a strength or yield ends by its nature.
    """
    from bumpfit.inference import fit

    best = fit(model, data, **settings)
    for name in best.at_bounds:
        if name not in settings["ranges"]:
            continue
        i, value = model.index(name), best.values[name]
        if value in (0.0, model.lower[i], model.upper[i]):
            continue
        wider = {key: ends for key, ends in settings["ranges"].items() if key != name}
        beyond = fit(model, data, **{**settings, "ranges": wider, "start": {}})
        if beyond.valid and beyond.twice_nll < best.twice_nll - NO_CHANGE:
            low, high = settings["ranges"][name]
            raise InputError(
                f"the range [{low:g}, {high:g}] of parameter '{name}' excludes the minimum, which is at "
                f"{beyond.values[name]:.6g}; widen the range, or hold the parameter: --fix {name}={value:g}"
            )


def _setting(kind: str, text: str, model: Model) -> list[tuple[str, Any]]:
    """(parameter, value) from the text of one option; a name without index stands for all its bins."""
    name, mark, value = text.rpartition("=") if "=" in text else (text, "", "")
    wrong = InputError(f"cannot read --{kind} {text}; expected {PARSER[kind]}")
    if not name or (not mark and kind != "fix"):
        raise wrong
    parts = value.split(":") if kind == "range" else [value]
    if len(parts) != (2 if kind == "range" else 1):
        raise wrong
    try:
        numbers = [float(part) for part in parts] if mark else []
    except ValueError:
        raise wrong from None
    if not all(map(math.isfinite, numbers)):
        raise InputError(f"cannot read --{kind} {text}: the numbers must be finite")
    found: Any = None if not numbers else numbers[0] if kind != "range" else tuple(numbers)
    from bumpfit.inference.histfactory import members

    return [(full, found) for full in members(model, name)]


def by_mass(paths: Sequence[Path], masses: str | None, reading: Reading) -> Mapping[float, Model]:
    """The models of several workspaces by mass; raises InputError unless each has a mass of its own."""
    words = (masses or "").split(",") if masses else []
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        raise InputError(f"cannot read --masses {masses}; expected numbers with commas between them") from None
    if len(numbers) != len(paths) or len(set(numbers)) != len(numbers) or not all(map(math.isfinite, numbers)):
        raise InputError(
            f"{len(paths)} workspaces need as many different --masses, got {len(numbers)}: {masses or 'none'}"
        )
    low = min(numbers, default=1.0)
    if low <= 0:
        raise InputError(f"the mass {low:g} of --masses is not above 0; expected masses in GeV")
    return {mass: reading.model(path) for mass, path in zip(numbers, paths, strict=True)}


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the fields of its dataclass arguments as options of their own, as Typer wants them."""
    hints = typing.get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if not dataclasses.is_dataclass(hints[name]):
            parameters.append(_option(name, hints[name], parameter.default))
            continue
        groups[name] = hints[name]
        own = typing.get_type_hints(hints[name], include_extras=True)
        for field in dataclasses.fields(hints[name]):
            default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
            parameters.append(_option(field.name, _in_panel(own[field.name], hints[name].PANEL), default))

    @functools.wraps(command)
    def call(**values: Any) -> None:
        made = {
            name: group(**{field.name: values.pop(field.name) for field in dataclasses.fields(group)})
            for name, group in groups.items()
        }
        command(**values, **made)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _in_panel(annotation: Any, panel: str) -> Any:
    """The option's annotation with the part of the help that it stands in."""
    kind, *said = typing.get_args(annotation)
    shown = [copy.copy(one) for one in said]
    for one in shown:
        if isinstance(one, typer.models.OptionInfo):
            one.rich_help_panel = panel
    return Annotated[(kind, *shown)]


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
