"""Published spectra in `bumpfit fit`: options, and what becomes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from bumpfit.commands.building import Building
from bumpfit.commands.output import Drawing, Output, provenance
from bumpfit.errors import InputError

if TYPE_CHECKING:
    from bumpfit.inference.spectra import Peak, SpectrumScan
    from bumpfit.published import Published as Spectrum


@dataclasses.dataclass(frozen=True)
class Published:
    """How a published spectrum is read and searched."""

    PANEL: ClassVar[str] = "Published spectrum"

    family: Annotated[
        str | None,
        typer.Option(
            metavar="FAMILY",
            help="Background family, dijet (default), ua2, exponential or power_law; with --envelope several, or all.",
        ),
    ] = None
    envelope: Annotated[
        bool, typer.Option("--envelope", help="Profile the families (discrete profiling); needs --signal.")
    ] = False
    penalty: Annotated[
        float, typer.Option(help="Units of -2 ln L that a parameter of a family costs, with --envelope.")
    ] = 1.0
    order: Annotated[str, typer.Option(metavar="auto|N", help="Number of parameters; auto: F-test.")] = "auto"
    scan_masses: Annotated[
        str | None, typer.Option(metavar="LOW:HIGH:STEP", help="Masses of the peak; default: a width apart.")
    ] = None
    limits: Annotated[bool, typer.Option("--limits", help="Upper limits at each mass too.")] = False
    limits_figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the limits with their bands.")
    ] = None
    object: Annotated[str | None, typer.Option(metavar="NAME", help="Column, histogram or object of the file.")] = None
    luminosity: Annotated[float | None, typer.Option(help="Luminosity in fb-1 that turns a density into counts.")] = (
        None
    )

    def wanted(self, source: Path) -> bool:
        """Whether a file is a published spectrum; raises InputError for options of one where it is none."""
        from bumpfit.published_formats import is_published
        from bumpfit.workspace.cabinetry import looks_like_cabinetry

        if (self.family is not None or is_published(source)) and not looks_like_cabinetry(source):
            return True
        given = [field.name for field in dataclasses.fields(self) if getattr(self, field.name) != field.default]
        if given and looks_like_cabinetry(source):
            raise InputError(f"--{given[0].replace('_', '-')} belongs to a published spectrum, not to {source}")
        if given and source.suffix.lower() == ".root":  # without such an option: a table of events
            return True
        if given:
            raise InputError(f"--{given[0].replace('_', '-')} belongs to a published spectrum; add --family dijet")
        return False

    def masses(self) -> list[float] | None:
        """The masses of --scan-masses."""
        if self.scan_masses is None:
            return None
        try:
            low, high, step = (float(part) for part in self.scan_masses.split(":"))
        except ValueError:
            raise InputError(f"cannot read --scan-masses {self.scan_masses}; expected LOW:HIGH:STEP") from None
        if not (low <= high and step > 0 and (high - low) / step < 10_000):
            raise InputError(
                f"cannot take --scan-masses {self.scan_masses}: LOW to HIGH in at most 10000 steps upwards"
            )
        return [low + i * step for i in range(int((high - low) / step + 1e-9) + 1)]

    def number(self) -> int | None:
        """The number of parameters, None for auto."""
        if self.order == "auto":
            return None
        if not self.order.isdecimal():
            raise InputError(f"cannot read --order {self.order}; expected auto or a number of parameters")
        return int(self.order)

    def families(self) -> list[str]:
        """The families of --family with --envelope."""
        from bumpfit.inference.spectra import FAMILIES

        return list(FAMILIES) if self.family in (None, "all") else str(self.family).split(",")

    def given(self) -> dict[str, Any]:
        """What differs from the defaults, for the record."""
        values = {f.name: (getattr(self, f.name), f.default) for f in dataclasses.fields(self)}
        return {name: str(v) if isinstance(v, Path) else v for name, (v, default) in values.items() if v != default}


def fit_spectrum(source: Path, published: Published, building: Building, output: Output, drawing: Drawing) -> None:
    """`bumpfit fit` of a published spectrum: order, goodness, scan and limits."""
    from bumpfit.files import require
    from bumpfit.inference.spectra import Peak, scan_spectrum
    from bumpfit.pages import spectra as page
    from bumpfit.published import read

    extra = {k: v for k, v in building.given().items() if k not in ("signal", "unit", "sqrt_s")}
    if extra:
        raise InputError(
            f"--{next(iter(extra)).replace('_', '-')} belongs to a table of scored events, not to a spectrum"
        )
    if published.limits_figure is not None and not published.limits:
        raise InputError("--limits-figure needs --limits")
    Drawing(published.limits_figure).check()
    peak = Peak.of(building.signal) if "signal" in building.given() else None
    if peak is None and (published.limits or published.scan_masses):
        raise InputError(
            "limits and scans need the form of the peak: --signal gauss:3% (of the mass) or gauss:100 (GeV)"
        )
    if published.envelope and (peak is None or published.limits):
        raise InputError("--envelope needs --signal, and has no --limits; its intervals are in the table")
    if not published.envelope and (published.family == "all" or "," in (published.family or "")):
        raise InputError(f"--family {published.family} needs --envelope; otherwise give one family")
    found = read(require(source), published.object, luminosity=published.luminosity, unit=building.unit)
    if published.envelope:
        assert peak is not None
        _envelope(source, found, peak, published, building, output, drawing)
        return
    scanned = scan_spectrum(
        found.histogram, family=published.family or "dijet", order=published.number(), peak=peak,
        masses=published.masses(), with_limits=published.limits, sqrt_s=building.sqrt_s,
    )  # fmt: skip
    drawing.draw(lambda: page.figure(scanned, found.name))
    if published.limits_figure is not None:
        limits = scanned.limits
        assert limits is not None
        dataclasses.replace(drawing, figure=published.limits_figure).draw(limits.plot)
    result = {
        **provenance("fit", [source], {**published.given(), **building.given()}),
        "spectrum": {"name": found.name, "how": found.how}, **scanned.to_dict(),
    }  # fmt: skip
    output.give(result, lambda: page.told(scanned), [found.how, *_notes(scanned)])


def _envelope(
    source: Path, found: Spectrum, peak: Peak, published: Published, building: Building, output: Output,
    drawing: Drawing,
) -> None:  # fmt: skip
    """`bumpfit fit --envelope`: signal events at each mass with the background family profiled."""
    from bumpfit.inference.families import functions_of, scan_envelope
    from bumpfit.pages import spectra as page

    shapes = functions_of(found.histogram, published.families(), order=published.number(), sqrt_s=building.sqrt_s)
    scanned = scan_envelope(
        found.histogram, shapes, peak, masses=published.masses(), penalty=published.penalty,
        points=25 if drawing.figure else 0,
    )  # fmt: skip
    drawing.draw(lambda: page.envelope_figure(scanned))
    result = {
        **provenance("fit", [source], {**published.given(), **building.given()}),
        "spectrum": {"name": found.name, "how": found.how}, **scanned.to_dict(),
    }  # fmt: skip
    output.give(result, lambda: page.envelope(scanned), [found.how, *page.envelope_notes(scanned)])


def _notes(scanned: SpectrumScan) -> list[str]:
    return [f"{scanned.n_parameters} parameters: {scanned.reason}", *scanned.notes]
