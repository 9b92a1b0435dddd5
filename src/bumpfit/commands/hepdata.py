"""`bumpfit hepdata`: results as a submission to HEPData."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bumpfit.commands.output import check_outputs
from bumpfit.errors import InputError

WHEN = (1980, 1, 1, 0, 0, 0)
"""Time of all files in the archive, so that the same results are the same bytes."""


def hepdata(
    results: Annotated[
        list[Path],
        typer.Argument(
            help="Results in JSON (-o FILE.json) of fit, limit, scan, impacts; of dataset --cutflow --json."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Archive to write, as submission.zip.")],
    energy: Annotated[
        float | None, typer.Option(metavar="NUMBER", help="Centre-of-mass energy in TeV, as a keyword.")
    ] = None,
    comment: Annotated[str, typer.Option(help="What the submission says of itself.")] = "Made with bumpfit.",
) -> None:
    """Tables of HEPData from results: limits, scans, parameters, correlations, events by bin, impacts, cut flows.

    Example: bumpfit hepdata fit.json limit.json -o submission.zip --energy 13
    """
    import zipfile

    from bumpfit.files import atomic, require
    from bumpfit.foreign import read_json
    from bumpfit.pages.hepdata import submission

    check_outputs(results, out)
    if out.suffix.lower() != ".zip":
        raise InputError(f"a submission is a .zip archive; got {out}")
    found = {}
    for path in results:
        content = read_json(require(path), "a result of bumpfit")
        if not isinstance(content, dict):
            raise InputError(f"{path} is no result of bumpfit: expected a JSON object, got {type(content).__name__}")
        if path.stem in found:
            raise InputError(f"two results are named {path.stem}; tables carry the names of their files")
        found[path.stem] = content
    files = submission(found, comment, None if energy is None else 1000 * energy)
    with atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name, WHEN), text)
    typer.echo(f"{len(files) - 1} tables written to {out}")


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(hepdata)
