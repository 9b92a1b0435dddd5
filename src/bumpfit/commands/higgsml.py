"""`bumpfit higgsml`: the HiggsML uncertainty challenge; biasing, pseudo-experiments, methods, score, bounds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bumpfit.commands.higgsml_options import (
    Compatible,
    Drawn,
    Eps,
    Events,
    Grid,
    Luminosity,
    Regions,
    Scale,
    Soft,
    TableOut,
    model_of,
    read_events,
    true_strengths,
)
from bumpfit.commands.higgsml_studies import benchmark, bounds, coverage, workspace
from bumpfit.commands.options import Seed, Workers, grouped
from bumpfit.commands.output import Json, Output, check_outputs, provenance
from bumpfit.commands.throwing import Throwing
from bumpfit.errors import InputError

if TYPE_CHECKING:
    from bumpfit.higgsml.method import Method

app = typer.Typer(
    help="Measure a signal strength under systematic bias: the HiggsML uncertainty challenge.", no_args_is_help=True
)
CalibrateWith = Annotated[
    str,
    typer.Option(
        metavar="auto|templates|events",
        help="Draw them from templates (binned methods), or from events at 100 points of the nuisances (a tenth as "
        "many). auto: from templates where there are some that follow their events.",
    ),
]
NoRange = Annotated[
    bool,
    typer.Option(
        "--no-challenge-range",
        help="Do not calibrate for mu in [0.1, 3], too; with events that costs three times the rest.",
    ),
]


@app.command()
def sample(
    out: TableOut,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Write the packaged simulated events and their metadata: bumpfit higgsml sample -o events.parquet."""
    from bumpfit.higgsml.dataset import write_packaged
    from bumpfit.pages.higgsml import written

    rows, metadata = write_packaged(out, overwrite)
    said = {**provenance("higgsml sample", []), "written": rows, "metadata": str(metadata), "out": str(out)}
    Output(None, as_json).give(said, lambda: written(said))


@app.command()
def bias(
    data: Events,
    out: TableOut,
    tes: Scale = 1.0,
    jes: Scale = 1.0,
    soft_met: Soft = 0.0,
    ttbar_scale: Scale = 1.0,
    diboson_scale: Scale = 1.0,
    bkg_scale: Scale = 1.0,
    seed: Annotated[int, typer.Option(help="Of the noise; the default is the official one.", min=0)] = 31415,
    selection: Annotated[bool, typer.Option(help="Apply the selection (tau above 26 GeV, ...).")] = True,
    compatible: Compatible = False,
    as_json: Json = False,
) -> None:
    """Shift events to other nuisances: bumpfit higgsml bias events.parquet --tes 1.02 -o biased.parquet."""
    from bumpfit.files import atomic
    from bumpfit.higgsml import bias as shift
    from bumpfit.pages.higgsml import written

    check_outputs([data], out)
    table = read_events(data)
    result = shift(
        table, tes=tes, jes=jes, soft_met=soft_met, ttbar_scale=ttbar_scale, diboson_scale=diboson_scale,
        bkg_scale=bkg_scale, seed=seed, selection=selection, compatible=compatible,
    )  # fmt: skip
    with atomic(out) as temporary:
        result.to_parquet(temporary)
    said = {**provenance("higgsml bias", [data]), "events": len(table), "written": len(result), "out": str(out)}
    Output(None, as_json).give(said, lambda: written(said))


@app.command()
def pseudo(
    data: Events,
    out: TableOut,
    mu: Annotated[float, typer.Option(help="Signal strength.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the nuisances and the bootstrap.", min=0)] = 31415,
    nuisances: Drawn = "all",
    luminosity: Luminosity = 10.0,
    closure: Annotated[
        bool, typer.Option("--closure", help="Only events that make templates, as benchmark in the mode closure.")
    ] = False,
    compatible: Compatible = False,
    as_json: Json = False,
) -> None:
    """Make one pseudo-experiment from weighted events: bumpfit higgsml pseudo events.parquet --mu 1 -o data.parquet."""
    from bumpfit.files import atomic
    from bumpfit.higgsml import Nuisances, draw_nuisances, experiment
    from bumpfit.higgsml.columns import LUMINOSITY
    from bumpfit.higgsml.dataset import Dataset
    from bumpfit.higgsml.split import parts
    from bumpfit.higgsml.streamed import Wanted, experiments, large, training
    from bumpfit.pages.higgsml import written

    check_outputs([data], out)
    enabled = {"all": "all", "none": ()}.get(nuisances, nuisances.split(","))
    values = draw_nuisances(seed, enabled)
    if large(data):
        if closure:
            raise InputError(f"{data} is streamed, and methods never see its test part; leave --closure out")
        if compatible:
            raise InputError(f"{data} is streamed, and --compatible needs the whole table in memory; leave it out")
        made = next(experiments(Dataset(data), [Wanted(mu, Nuisances.of(values), seed)], "test", luminosity))
    else:
        table = parts(training(data))[1] if closure else training(data)
        if luminosity != LUMINOSITY:
            table = table.assign(weights=table["weights"] * (luminosity / LUMINOSITY))
        made = experiment(table, mu, values, seed, compatible)
    with atomic(out) as temporary:
        made.table.to_parquet(temporary)
    said = {
        **provenance("higgsml pseudo", [data]), "mu": made.mu, "seed": seed, "nuisances": made.nuisances.to_dict(),
        "written": len(made.table), "largest_multiplicity": made.largest_multiplicity, "out": str(out),
    }  # fmt: skip
    Output(None, as_json).give(said, lambda: written(said))


@app.command()
@grouped
def train(
    method: Annotated[str, typer.Argument(help="Name of the method, for example binned.")],
    data: Events,
    out: Annotated[Path, typer.Option("-o", "--out", help="The trained method is written to this file.")],
    throwing: Throwing,
    calibrate: Annotated[
        int, typer.Option(metavar="N", help="Pseudo-experiments at each strength of the calibration; 0: none.", min=0)
    ] = 5000,
    calibrate_with: CalibrateWith = "auto",
    no_challenge_range: NoRange = False,
    mode: Annotated[
        str | None,
        typer.Option(metavar="closure|independent", help="Whether the simulation's error is in the interval."),
    ] = None,
    luminosity: Annotated[
        float | None, typer.Option(help="fb-1 of the data; 0: as high as the simulation allows, at most 10.", min=0)
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting of the method; may be repeated.")
    ] = None,
    member: Annotated[
        list[Path] | None, typer.Option(help="File of a trained method that `combined` takes; give two or more.")
    ] = None,
    rows: Annotated[int | None, typer.Option(help="Random events to train with.", min=1)] = None,
    export: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Also write an entry of the challenge.")] = None,
    as_json: Json = False,
) -> None:
    """Train and calibrate a method: bumpfit higgsml train binned events.parquet -o binned.zip."""
    from bumpfit.clusters import pool
    from bumpfit.higgsml.method import save
    from bumpfit.higgsml.population import calibrated
    from bumpfit.higgsml.streamed import training
    from bumpfit.higgsml.submission import export as write_entry
    from bumpfit.pages.higgsml import trained

    if export is not None and export.exists():
        raise InputError(f"{export} is there already; choose a new folder for the entry")
    check_outputs([data, *(member or [])], out, export)
    if calibrate_with not in ("auto", "templates", "events"):
        raise InputError(f"--calibrate-with is '{calibrate_with}'; expected auto, templates or events")
    made = _made(method, option or [], mode, luminosity, member or [])
    seed = throwing.seed
    table = training(data, rows, seed)
    with pool(throwing.workers, throwing.dask) as executor:  # a scheduler that is not there is told before the training
        fitted = made.fit(table, seed)
        by = None
        if calibrate and not fitted.as_published:
            by = calibrated(
                fitted, table, calibrate, seed, calibrate_with, challenge_range=not no_challenge_range,
                workers=executor or 1,
            )  # fmt: skip
    save(fitted, out)
    if export is not None:
        write_entry(out, export)
    said = {
        **provenance("higgsml train", [data]), "method": method, "seed": seed, "events": len(table),
        "report": getattr(fitted, "report", {}), "simulation": fitted.simulation,
        "calibrated": fitted.calibration is not None, "calibrated_with": by, "out": str(out),
    }  # fmt: skip
    Output(None, as_json).give(said, lambda: trained(said))


def _made(method: str, options: list[str], mode: str | None, luminosity: float | None, members: list[Path]) -> Method:
    """The method with its settings, and with the members of a combination."""
    from bumpfit.higgsml.method import load, settings_of
    from bumpfit.higgsml.method import method as make
    from bumpfit.higgsml.method_combined import Combined

    settings, own = _settings(options), settings_of(method)
    asked = {name: value for name, value in (("mode", mode), ("luminosity", luminosity)) if value is not None}
    made = make(method, **settings | {name: value for name, value in asked.items() if name in own})
    if isinstance(made, Combined):
        made.with_members([load(file) for file in members])
    elif members:
        raise InputError(f"--member goes with the method combined, not with {made.kind}")
    for name, value in asked.items():
        if value != getattr(made, name):
            whose = "its members are" if isinstance(made, Combined) else f"the method '{method}' is"
            raise InputError(f"--{name} is {value}, and {whose} for {getattr(made, name)}")
    return made


def _settings(given: list[str]) -> dict[str, Any]:
    """NAME=VALUE as settings: numbers, true and false, lists of numbers, otherwise words."""
    import json

    result: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or not name:
            raise InputError(f"cannot read --set {one}; expected NAME=VALUE")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        result[name] = tuple(value) if isinstance(value, list) else value
    return result


@app.command()
@grouped
def fit(
    output: Output,
    data: Annotated[Path | None, typer.Argument(help="Events of an experiment, for a trained method.")] = None,
    method: Annotated[Path | None, typer.Option(help="File of a trained method.")] = None,
    templates: Grid = None,
    regions: Regions = None,
    counts: Annotated[
        str | None,
        typer.Option(metavar="FILE|N1,N2,...", help="Counts in the bins: a JSON or text file, or numbers."),
    ] = None,
    calibrate: Annotated[
        int, typer.Option(metavar="N", help="Calibrate templates with N pseudo-experiments at each strength.", min=0)
    ] = 0,
    seed: Seed = 0,
    workers: Workers = None,
    unbounded: Annotated[bool, typer.Option("--unbounded", help="Let the interval go below mu = 0.")] = False,
    challenge_range: Annotated[
        bool, typer.Option("--challenge-range", help="Use that mu is in [0.1, 3]: flat prior, calibrated.")
    ] = False,
) -> None:
    """Measure mu: events with a trained method, or counts with templates or regions.

    bumpfit higgsml fit data.parquet --method binned.zip; bumpfit higgsml fit --templates grid.json --counts counts.json
    """
    from bumpfit.pages.higgsml import measured

    if (data is None) == (counts is None):
        raise InputError("give either events with --method, or --counts with --templates or --regions")
    check_outputs([path for path in (data, method, counts, templates, regions) if path is not None], output.out)
    if data is not None:
        if method is None:
            raise InputError("events need the file of a trained method: --method FILE")
        from bumpfit.higgsml.method import load

        found = load(method).predict(read_events(data), challenge_range=challenge_range)
        inputs = [data, method]
    else:
        assert counts is not None
        found, inputs = _fit_counts(counts, templates, regions, calibrate, seed, workers, unbounded, challenge_range)
    result = {**provenance("higgsml fit", inputs), "measurement": found.to_dict()}
    output.give(result, lambda: measured(found))


def _fit_counts(
    counts: str, templates: Path | None, regions: Path | None, calibrate: int, seed: int, workers: int | None,
    unbounded: bool, challenge_range: bool,
) -> tuple[Any, list[Path]]:  # fmt: skip
    from bumpfit.execute import processes
    from bumpfit.higgsml.calibration import template_calibration, template_range_calibration
    from bumpfit.higgsml.interval import with_interval
    from bumpfit.higgsml.likelihood import measure

    model, inputs = model_of(templates, regions)
    numbers, more = _counts(counts)
    if unbounded and (calibrate or challenge_range):
        raise InputError("--unbounded goes with neither --calibrate nor --challenge-range")
    if challenge_range and not calibrate:
        raise InputError("--challenge-range needs a calibration: --calibrate N")
    found = measure(model, numbers, bounded=not unbounded)
    if challenge_range:
        found = with_interval(found, template_range_calibration(model, max(calibrate, 50), seed + 2))
    elif calibrate:
        by = template_calibration(model, calibrate, seed + 1, workers=processes(workers))
        found = with_interval(found, by)
    return found, [*inputs, *more]


def _counts(text: str) -> tuple[list[float], list[Path]]:
    """Counts from a file (JSON list, or numbers separated by commas or spaces) or from the option itself."""
    from bumpfit.files import require
    from bumpfit.foreign import parse_json

    inputs: list[Path] = []
    if re.fullmatch(r"[-+.,eE\d\s]+", text) is None:
        path = require(text)
        inputs = [path]
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read as text: {error}") from error
    listed = text.lstrip().startswith("[")
    content = parse_json(text, "the counts", "a list of numbers") if listed else text.replace(",", " ").split()
    try:
        return [float(value) for value in content], inputs
    except (ValueError, TypeError) as error:
        raise InputError(f"cannot read the counts {text[:60].strip()!r}: expected numbers ({error})") from error


@app.command()
@grouped
def score(
    output: Output,
    results: Annotated[list[Path], typer.Argument(help="Files result_0.json, ... of a submission, one a set.")],
    settings: Annotated[Path | None, typer.Option(help="test_settings.json with the true mu of the sets.")] = None,
    mu: Annotated[str | None, typer.Option(metavar="MU1,MU2,...", help="True mu of the sets.")] = None,
    eps: Eps = 1e-3,
    seed: Seed = 0,
) -> None:
    """Score intervals: bumpfit higgsml score result_0.json result_1.json --settings test_settings.json."""
    from bumpfit.higgsml import scores
    from bumpfit.pages.higgsml import scored

    check_outputs([*results, *([settings] if settings else [])], output.out)
    true = true_strengths(settings, mu, len(results))
    low, high = zip(*(_ends(path) for path in results), strict=True)
    found = scores(true, list(low), list(high), eps=eps, seed=seed)
    if found.merged.reversed:
        raise InputError(f"{found.merged.reversed} intervals have p16 above p84; mend the results")
    inputs = [*results, *([settings] if settings else [])]
    output.give({**provenance("higgsml score", inputs), **found.to_dict()}, lambda: scored(true, found))


def _ends(path: Path) -> tuple[Any, Any]:
    from bumpfit.foreign import read_json

    content = read_json(path, "results of a set")
    names = ("p16", "p84") if isinstance(content, dict) and "p16" in content else ("p16s", "p84s")
    if not isinstance(content, dict) or not all(isinstance(content.get(name), list) for name in names):
        raise InputError(f"{path} has no lists 'p16' and 'p84' (or 'p16s' and 'p84s')")
    return content[names[0]], content[names[1]]


for _command in (bounds, workspace, coverage, benchmark):
    app.command()(_command)


def add_to(application: typer.Typer) -> None:
    """Add the commands of this module."""
    application.add_typer(app, name="higgsml")
