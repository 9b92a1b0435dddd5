"""What HiggsML methods are judged by: `bumpfit higgsml bounds`, `workspace`, `coverage` and `benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bumpfit.commands.higgsml_options import (
    Drawn,
    Eps,
    Grid,
    Luminosity,
    Regions,
    model_of,
    read_events,
    true_strengths,
)
from bumpfit.commands.options import Dask, Seed, Workers, grouped
from bumpfit.commands.output import Json, Output, Pdf, check_outputs, provenance
from bumpfit.errors import InputError

if TYPE_CHECKING:
    from bumpfit.higgsml import Settings
    from bumpfit.higgsml.likelihood import Model


@grouped
def bounds(
    output: Output,
    method: Annotated[Path | None, typer.Option(help="File of a trained method with templates.")] = None,
    templates: Grid = None,
    regions: Regions = None,
    mu: Annotated[str, typer.Option(metavar="MU1,MU2,...", help="True strengths.")] = "0.1,1,2,3",
) -> None:
    """The smallest error that is possible: bumpfit higgsml bounds --templates grid.json (default: HEPHY's regions)."""
    from bumpfit.higgsml.bounds import bound
    from bumpfit.pages.higgsml import bounded

    check_outputs([path for path in (method, templates, regions) if path is not None], output.out)
    model, inputs = _likelihood(method, templates, regions)
    found = [bound(model, value) for value in true_strengths(None, mu, len(mu.split(",")))]
    result = {**provenance("higgsml bounds", inputs), "bounds": [one.to_dict() for one in found]}
    output.give(result, lambda: bounded(found))


def workspace(
    method: Annotated[Path, typer.Argument(help="File of a trained binned method.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The HistFactory workspace is written to this file.")],
    data: Annotated[Path | None, typer.Option(help="Events of an experiment; default: what is expected.")] = None,
    experiments: Annotated[
        int, typer.Option(metavar="N", help="Experiments by which it is compared with the exact response.", min=1)
    ] = 100,
    mu: Annotated[float, typer.Option(help="Their signal strength.")] = 1.0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a binned method as a HistFactory workspace: bumpfit higgsml workspace binned.zip -o workspace.json."""
    from bumpfit.files import write_json
    from bumpfit.higgsml.histfactory import difference
    from bumpfit.higgsml.histfactory import workspace as make
    from bumpfit.higgsml.method import load
    from bumpfit.pages.higgsml import written_workspace

    inputs = [path for path in (method, data) if path is not None]
    check_outputs(inputs, out)
    fitted = load(method)
    if fitted.model is None:
        raise InputError(f"the method in {method} has no binned likelihood")
    counts = None
    if data is not None:
        import numpy as np

        from bumpfit.higgsml.columns import FEATURES, checked, matrix

        place = fitted.summaries(matrix(checked(read_events(data), FEATURES, what=str(data)), FEATURES))
        counts = np.bincount(place, minlength=fitted.model.bins)
    made = make(fitted.model, counts)
    found = difference(fitted.model, experiments, mu, seed)
    write_json(out, made)
    said = {**provenance("higgsml workspace", inputs), "out": str(out), "difference": found.to_dict()}
    Output(None, as_json).give(said, lambda: written_workspace(found, str(out)))


@grouped
def coverage(
    output: Output,
    method: Annotated[Path | None, typer.Option(help="File of a trained method with templates.")] = None,
    templates: Grid = None,
    regions: Regions = None,
    n: Annotated[int, typer.Option("-n", "--experiments", help="Template-level pseudo-experiments.", min=50)] = 10_000,
    calibrate: Annotated[
        int, typer.Option(metavar="N", help="Experiments at each of the 21 strengths of the calibration.", min=50)
    ] = 5000,
    challenge_range: Annotated[
        bool, typer.Option("--challenge-range", help="Also intervals that use that mu is in [0.1, 3].")
    ] = False,
    eps: Eps = 1e-3,
    seed: Seed = 0,
    workers: Workers = None,
) -> None:
    """Coverage, width and score of intervals from templates, mu uniform in [0.1, 3], nuisances drawn and profiled.

    bumpfit higgsml coverage --templates grid.json -n 100000 --challenge-range --workers 2
    """
    from bumpfit.execute import processes
    from bumpfit.higgsml.calibration import template_calibration, template_range_calibration
    from bumpfit.higgsml.ensemble import ensemble
    from bumpfit.pages.higgsml import achieved

    check_outputs([path for path in (method, templates, regions) if path is not None], output.out)
    model, inputs = _likelihood(method, templates, regions)
    calibration = template_calibration(model, calibrate, seed + 1, workers=processes(workers))
    ranged = template_range_calibration(model, 2 * calibrate, seed + 2) if challenge_range else None
    found = ensemble(model, n, seed, calibration, ranged, eps=eps, workers=processes(workers))
    output.give({**provenance("higgsml coverage", inputs), **found.to_dict()}, lambda: achieved(found))


def _likelihood(method: Path | None, templates: Path | None, regions: Path | None) -> tuple[Model, list[Path]]:
    """The binned likelihood of a trained method, of templates, or of regions."""
    if method is None:
        return model_of(templates, regions)
    if templates is not None or regions is not None:
        raise InputError("--method excludes --templates and --regions")
    from bumpfit.higgsml.method import load

    model = getattr(load(method), "model", None)
    if model is None:
        raise InputError(f"the method in {method} has no binned likelihood")
    return model, [method]


def benchmark(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the results; an interrupted run goes on there.")],
    sample: Annotated[Path, typer.Option(help="Weighted events that experiments are drawn from.")],
    methods: Annotated[list[Path] | None, typer.Argument(help="Files of trained methods.")] = None,
    submission: Annotated[
        list[Path] | None, typer.Option(metavar="FILE.py", help="An official entry; may be repeated.")
    ] = None,
    mode: Annotated[
        str, typer.Option(metavar="closure|independent", help="From the templates' events, or from another sample.")
    ] = "closure",
    mu: Annotated[str, typer.Option(metavar="MU1,MU2,...", help="True mu, one a set.")] = "0.1,0.5,1,1.5,2,2.5,3",
    experiments: Annotated[int, typer.Option(help="Pseudo-experiments of a set.", min=1)] = 100,
    nuisances: Drawn = "all",
    settings: Annotated[
        Path | None, typer.Option(help="Official test_settings.json instead of --mu and others.")
    ] = None,
    seed: Annotated[int, typer.Option(help="First seed of the experiments.", min=0)] = 31415,
    eps: Eps = 1e-3,
    challenge_range: Annotated[
        bool, typer.Option("--challenge-range", help="A second table: methods use that mu is in [0.1, 3].")
    ] = False,
    luminosity: Luminosity = 10.0,
    points: Annotated[
        int,
        typer.Option(metavar="K", min=0, help="Draw nuisances at K points only, which is fast; 0: as the challenge."),
    ] = 0,
    workers: Workers = None,
    dask: Dask = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove another run from the folder.")] = False,
    pdf: Pdf = False,
    as_json: Json = False,
) -> None:
    """Compare methods: bumpfit higgsml benchmark binned.zip --sample events.parquet --submission model.py -o bench."""
    from bumpfit.clusters import pool
    from bumpfit.higgsml import benchmark as studies
    from bumpfit.pages import higgsml_benchmark
    from bumpfit.pages.terminal import table
    from bumpfit.report import paper

    chosen = _experiments(settings, mu, experiments, nuisances, seed)
    plan = studies.Plan(
        str(sample), tuple(map(str, methods or ())), tuple(map(str, submission or ())), chosen,
        mode, challenge_range, eps, luminosity, points,  # type: ignore[arg-type]
    )  # fmt: skip
    printer = paper.browser() if pdf else None
    with pool(workers, dask) as executor:
        found = studies.benchmark(plan, out, executor=executor, overwrite=overwrite, write=higgsml_benchmark.write)
    if printer is not None:
        paper.pdf(out / "report.html", printer)
    Output(None, as_json).give(
        {**provenance("higgsml benchmark", [sample, *(methods or []), *(submission or [])]), **found.to_dict()},
        lambda: table("", higgsml_benchmark.COLUMNS, higgsml_benchmark.rows(found)),
        [higgsml_benchmark.told(found), f"written to {out}"],
    )


def _experiments(file: Path | None, mu: str, experiments: int, nuisances: str, seed: int) -> Settings:
    """Which experiments are made: those of the official settings, or of the options."""
    import dataclasses

    from bumpfit.foreign import read_json
    from bumpfit.higgsml import Settings
    from bumpfit.higgsml.nuisances import enabled_names
    from bumpfit.higgsml.pseudo import check_mu

    if file is not None:
        return dataclasses.replace(Settings.of(read_json(file, "the test settings")), seed=seed)
    true = tuple(check_mu(value) for value in mu.split(","))
    named = {"all": "all", "none": ()}.get(nuisances, nuisances.split(","))
    return Settings(true, experiments, enabled_names(named), seed)
