"""Options of building a workspace from a table of scored events, shared by `bumpfit build` and `bumpfit fit`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from bumpfit.commands.patterns import span
from bumpfit.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bumpfit.search.from_scores import Built


@dataclasses.dataclass(frozen=True)
class Building:
    """Selection, histogram, background and signal; masses in GeV whatever the unit of the table."""

    PANEL: ClassVar[str] = "From a scored table"

    data: Annotated[
        Path | None, typer.Option(help="Table with the masses, joined by event index, when SCORED has none.")
    ] = None
    background: Annotated[
        Path | None,
        typer.Option(help="Background table scored alike: count against it instead of fitting a spectrum."),
    ] = None
    cut: Annotated[float | None, typer.Option(metavar="SCORE", help="Lowest score that is kept.")] = None
    keep: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help="Fraction of the events (of the background table, if given) that the cut keeps; default: 0.03, or as "
            "much as holds 500 events.",
        ),
    ] = None
    below: Annotated[
        float | None, typer.Option(metavar="SCORE", help="Leave out scores from here on (exclusive categories).")
    ] = None
    low: Annotated[
        float | None, typer.Option(help="Low end of the spectrum in GeV; default: where low scores are smooth.")
    ] = None
    high: Annotated[float | None, typer.Option(help="High end in GeV; default: 10 low-score events above it.")] = None
    bins: Annotated[int | None, typer.Option(help="Number of equal bins; default: bins as wide as the resolution.")] = (
        None
    )
    parameters: Annotated[
        int | None, typer.Option(help="Parameters of the dijet function, 2 to 6; default: 2 to 5 by F-test.")
    ] = None
    mass: Annotated[
        float | None, typer.Option(help="Mass of the signal in GeV; default: where a scan has the largest q0.")
    ] = None
    width: Annotated[
        float | None, typer.Option(help="Gaussian sigma of the signal in GeV; default: resolution times mass.")
    ] = None
    signal: Annotated[
        str,
        typer.Option(metavar="EVENTS|gauss:3%", help="Signal events at strength 1; of a published spectrum: its form."),
    ] = "1"
    strength: Annotated[
        str | None, typer.Option(metavar="LOW:HIGH", help="Range of the strength; default: 0 to all events.")
    ] = None
    blind_mass: Annotated[
        str | None,
        typer.Option(metavar="LOW:HIGH", help="Leave out all bins in this window of the mass in GeV, and hide them."),
    ] = None
    resolution: Annotated[float, typer.Option(help="Mass resolution, sigma / mass.")] = 0.03
    sqrt_s: Annotated[float, typer.Option("--sqrt-s", help="Collision energy in GeV.")] = 13000.0
    channel: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the channel; default: spectrum, or selection with --background."),
    ] = None
    unit: Annotated[
        str | None, typer.Option(metavar="GeV|TeV", help="Unit of the table, GeV or TeV; default: from its values.")
    ] = None
    score_column: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the scores.")] = "score"
    mass_column: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the masses.")] = "m_JJ"
    index_column: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Column of the event index; default: a first column without name, or 'index'."
        ),
    ] = None

    def build(self, scored: str | Path) -> Built:
        """The workspace of a scored table."""
        from bumpfit.search.from_scores import BuildSettings, selection_workspace, spectrum_workspace
        from bumpfit.search.scored import read_scored

        settings = BuildSettings(
            strength=None if self.strength is None else span("--strength", self.strength),
            blind_mass=None if self.blind_mass is None else span("--blind-mass", self.blind_mass),
            **{
                field.name: getattr(self, field.name)
                for field in dataclasses.fields(BuildSettings)
                if field.name not in ("strength", "signal", "blind_mass")
            },
            signal=_events(self.signal),
        )
        columns: dict[str, Any] = {
            "score": self.score_column, "mass": self.mass_column, "index": self.index_column, "unit": self.unit,
        }  # fmt: skip
        table = read_scored(scored, data=self.data, **columns)
        if self.background is None:
            return spectrum_workspace(table, settings)
        return selection_workspace(table, read_scored(self.background, **columns), settings)

    @property
    def files(self) -> list[Path]:
        """Files that are read beside the scored table."""
        return [path for path in (self.data, self.background) if path is not None]

    def given(self) -> dict[str, Any]:
        """What differs from the defaults, for the record."""
        fields = dataclasses.fields(self)
        return {
            f.name: str(value) if isinstance(value, Path) else value
            for f, value in ((f, getattr(self, f.name)) for f in fields)
            if value != f.default
        }


def _events(text: str) -> float:
    """A number of events; raises InputError for anything else."""
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"cannot read --signal {text}; expected a number of events (gauss:3% belongs to a "
            f"published spectrum, --family)"
        ) from None


def described(built: Built) -> list[tuple[str, str]]:
    """What was built, as names and values."""
    from bumpfit.pages.terminal import probability

    rows = [("events", f"{built.n_selected} of {built.n_total} with scores from {built.cut:.6g} on")]
    if built.kind == "selection":
        assert built.tau is not None
        rows += [("background table", f"{built.background_selected} selected, tau = {built.tau:.5g}")]
    if built.edges is not None:
        rows += [("spectrum", f"{built.edges.size - 1} bins from {built.edges[0]:.6g} to {built.edges[-1]:.6g} GeV")]
    if built.blinded is not None:
        rows += [("blinded", f"all bins from {built.blinded[0]:.6g} to {built.blinded[1]:.6g} GeV are left out")]
    if built.n_parameters is not None:
        goodness = "" if built.goodness_p is None else f", goodness of fit p = {probability(built.goodness_p)}"
        rows += [("background", f"dijet function of {built.n_parameters} parameters{goodness}")]
    if built.mass is not None:
        found = "" if built.q0 is None else f", the largest q0 of {built.q0.size} masses: a local significance"
        rows += [("signal", f"Gaussian at {built.mass:.6g} GeV, sigma {built.width:.4g} GeV{found}")]
    if built.inflation is not None:
        few = "; the range has hardly any sidebands" if built.inflation > 2 else ""
        rows += [("free background", f"makes the error of the strength {built.inflation:.3g} times larger{few}")]
    return rows


def drawn(built: Built) -> Figure:
    """The spectrum with its background fit, or the selected counts over the scaled background table."""
    from bumpfit.histograms import from_counts
    from bumpfit.report.distributions import data_and_background
    from bumpfit.report.spectra import spectrum

    if built.edges is None or built.counts is None or built.fitted is None:
        raise InputError(
            "a selection of one bin has no spectrum to draw; give --bins and --mass, or leave out --figure"
        )
    counts, label = from_counts(built.edges, built.counts), "$m_{JJ}$ [GeV]"
    if built.kind == "spectrum":
        return spectrum(counts, built.fitted, None, label)
    assert built.tau is not None
    return data_and_background(counts, from_counts(built.edges, built.fitted * built.tau), 1 / built.tau, label)
