"""Figures of `bumpfit fit`: which channels and samples, pulls or ratio, before and after the fit, correlations."""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from bumpfit.commands.options import Fitting
from bumpfit.commands.output import Drawing
from bumpfit.commands.patterns import groups_of
from bumpfit.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bumpfit.results import ChannelYields, Fit, Yields
    from bumpfit.workspace import Model


@dataclasses.dataclass(frozen=True)
class FitFigures:
    """Figures beside that of the fit, and how they look."""

    PANEL: ClassVar[str] = "Figures"

    prefit_figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw data and samples before the fit.")
    ] = None
    correlation_figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the correlation matrix (the 30 strongest).")
    ] = None
    draw: Annotated[
        list[str] | None, typer.Option(metavar="CHANNEL", help="Draw this channel alone; may be repeated.")
    ] = None
    stack: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SAMPLE,...", help="Draw samples as one (* for any letters); may be repeated."),
    ] = None
    ratio: Annotated[bool, typer.Option("--ratio", help="Data / expected below, instead of pulls.")] = False
    summary: Annotated[bool, typer.Option("--summary", help="Draw every channel as one bin.")] = False

    @property
    def files(self) -> tuple[Path | None, Path | None]:
        """Figures to write."""
        return self.prefit_figure, self.correlation_figure

    def check(self, drawing: Drawing) -> None:
        """Raise InputError for formats that cannot be drawn, and for looks of figures that nobody asked for."""
        for path in self.files:
            dataclasses.replace(drawing, figure=path).check(drawing.figure, *self.files)
        groups_of(self.stack, "stack")
        if drawing.figure is None and self.prefit_figure is None:
            for option in ("draw", "stack", "ratio", "summary"):
                if getattr(self, option):
                    raise InputError(f"--{option} is how a figure looks; give --figure or --prefit-figure too")

    def check_names(self, model: Model) -> None:
        """Raise InputError for channels and samples that the workspace does not have."""
        channels = model.spec["channels"]
        known = sorted(channel["name"] for channel in channels)
        for name in self.draw or ():
            if name not in known:
                raise InputError(f"--draw names a channel '{name}'; the workspace has {', '.join(known)}")
        samples = sorted({sample["name"] for channel in channels for sample in channel["samples"]})
        for pattern in (pattern for patterns in groups_of(self.stack, "stack").values() for pattern in patterns):
            if not fnmatch.filter(samples, pattern):
                raise InputError(f"--stack names samples '{pattern}'; the workspace has {', '.join(samples)}")

    def refuse(self) -> None:
        """Raise InputError where one is asked for of a published spectrum, whose figure is another."""
        for field in dataclasses.fields(self):
            if getattr(self, field.name):
                option = field.name.replace("_", "-")
                raise InputError(f"--{option} is for workspaces; a spectrum has --figure and --limits-figure")

    def takes_yields(self, drawing: Drawing) -> bool:
        """Whether yields are drawn."""
        return drawing.figure is not None or self.prefit_figure is not None

    def yields(self, found: Yields, model: Model, fitting: Fitting) -> Figure:
        """The figure of yields; blinded channels and bins have no data."""
        from bumpfit.pages.likelihood import signals
        from bumpfit.report.fitted import in_one_bin, yields

        chosen = self.draw or {channel.name for channel in found.channels}
        hidden = fitting.hidden(model)
        channels = tuple(
            _without(channel, hidden[channel.name]) if channel.name in hidden else channel
            for channel in found.channels
            if channel.name in chosen
        )
        shown = dataclasses.replace(found, channels=channels)
        return yields(
            in_one_bin(shown) if self.summary else shown, signals(model), stacks=groups_of(self.stack, "stack"),
            ratio=self.ratio, data="Data" if fitting.asimov is None else "Asimov data", whole=found,
        )  # fmt: skip

    def write(
        self, drawing: Drawing, best: Fit, tables: tuple[Yields, Yields] | None, model: Model, fitting: Fitting
    ) -> None:
        """Draw what was asked for; `tables` are the yields before and after the fit."""
        if tables is not None:
            before, after = tables
            dataclasses.replace(drawing, figure=self.prefit_figure).draw(lambda: self.yields(before, model, fitting))
            drawing.draw(lambda: self.yields(after, model, fitting))
        dataclasses.replace(drawing, figure=self.correlation_figure).draw(best.plot)


def _without(channel: ChannelYields, bins: list[int] | None) -> ChannelYields:
    """A channel without data in these bins; in all of them where None."""
    if bins is None or channel.data is None:
        return dataclasses.replace(channel, data=None)
    data = tuple(math.nan if k in bins else value for k, value in enumerate(channel.data))
    return dataclasses.replace(channel, data=data)
