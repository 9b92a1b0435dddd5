"""Options of the HiggsML commands, and what several of them read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bumpfit.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from bumpfit.higgsml.likelihood import Model

Events = Annotated[Path, typer.Argument(help="Events: Parquet, CSV or HDF5 with the columns of the challenge.")]
Scale = Annotated[float, typer.Option(help="Factor; 1 is none.")]
Soft = Annotated[float, typer.Option(help="Width in GeV of the noise on the missing momentum.")]
Compatible = Annotated[bool, typer.Option("--compatible", help="As the official code, oddities included.")]
TableOut = Annotated[Path, typer.Option("-o", "--out", help="Events are written to this Parquet file.")]
Grid = Annotated[Path | None, typer.Option(help="Template grid: JSON with templates at points (tes, jes).")]
Regions = Annotated[Path | None, typer.Option(help="Region model; default: HEPHY's published one.")]
Eps = Annotated[float, typer.Option(help="Added to the width: 1e-3 in the released code, 1e-2 in the paper.")]
Luminosity = Annotated[float, typer.Option(help="fb-1 of an experiment; weights are expected events in 10.", min=1e-6)]
Drawn = Annotated[str, typer.Option(metavar="all|none|NAME,...", help="Which nuisances are drawn from the prior.")]


def read_events(path: Path) -> pd.DataFrame:
    """A table of events."""
    from bumpfit.events.formats import read_frame

    return read_frame(path)


def model_of(templates: Path | None, regions: Path | None) -> tuple[Model, list[Path]]:
    """The likelihood of templates, or of regions (the published ones when neither is given)."""
    from bumpfit.higgsml.counting import read_regions
    from bumpfit.higgsml.grid import read_grid

    if templates is not None and regions is not None:
        raise InputError("--templates and --regions exclude each other")
    if templates is not None:
        return read_grid(templates), [templates]
    return read_regions(regions)[1], [] if regions is None else [regions]


def true_strengths(settings: Path | None, mu: str | None, n: int) -> list[float]:
    """True strengths of n sets: from the official settings, or as they are given."""
    from bumpfit.foreign import read_json
    from bumpfit.higgsml import Settings

    if (settings is None) == (mu is None):
        raise InputError("give the true mu of the sets: either --settings FILE or --mu MU1,MU2,...")
    if settings is not None:
        mus = list(Settings.of(read_json(settings, "the test settings")).mus)
    else:
        assert mu is not None
        try:
            mus = [float(word) for word in mu.split(",")]
        except ValueError:
            raise InputError(f"cannot read --mu {mu}; expected numbers with commas between them") from None
    if len(mus) != n:
        raise InputError(f"there are {n} result files for {len(mus)} values of mu")
    return mus
