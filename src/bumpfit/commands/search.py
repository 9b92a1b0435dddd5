"""`bumpfit demo`, `run`, `score` and `report`: the resonance search on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bumpfit.commands.options import Dask, Seed, Workers
from bumpfit.commands.output import Pdf, check_outputs
from bumpfit.errors import InputError

if TYPE_CHECKING:
    from bumpfit.search.config import SearchConfig

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA", help="Table of events: CSV, TSV, Parquet, Feather, HDF5 or FILE.root:TREE; a file or URL."
    ),
]
Features = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME=COLUMN,...",
        help="Feature columns, comma separated; NAME=COLUMN renames, as m_J1=light.",
    ),
]
Approach = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Approach that tells data from background: trees, forest, extra_trees, mlp or average."
    ),
]
Config = Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings in TOML (docs/how-to/run.md).")]
Json = Annotated[bool, typer.Option("--json", help="Print the answers as JSON.")]


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (demo, run, score, report):
        app.command()(command)


def demo(
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FOLDER", help="Folder for report, scores and workspaces.")
    ] = None,
    seed: Seed = 0,
    workers: Workers = None,
    quick: Annotated[bool, typer.Option(help="Fewer and smaller trainings.")] = True,
    pdf: Pdf = False,
    as_json: Json = False,
) -> None:
    """The main job on a packaged example: 20 400 simulated dijet events, 400 of them signal, against 12 000.

    Example: bumpfit demo -o demo
    """
    from importlib.resources import as_file, files

    folder = files("bumpfit") / "data"
    with as_file(folder / "example_data.parquet") as data, as_file(folder / "example_background.parquet") as background:
        _run(data, background, out, seed=seed, workers=workers, pdf=pdf, as_json=as_json, quick=quick)


def run(
    data: Data,
    background: Annotated[
        str | None, typer.Option(metavar="FILE", help="Table that is background only, with the same columns.")
    ] = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="FOLDER", help="Folder for everything that is written.")
    ] = Path("out"),
    config: Config = None,
    approach: Approach = None,
    workers: Workers = None,
    dask: Dask = None,
    iterations: Annotated[int, typer.Option(help="Further steps after the first answer.", min=0)] = 2,
    quick: Annotated[bool, typer.Option(help="Fewer and smaller trainings: a valid first look of less power.")] = False,
    seed: Seed = 0,
    mass: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the spectrum that is searched.")] = "m_JJ",
    features: Features = None,
    unit: Annotated[
        str | None, typer.Option(metavar="GeV|TeV", help="GeV or TeV; found from the values when not given.")
    ] = None,
    drop_bad: Annotated[bool, typer.Option("--drop-bad", help="Drop events with cells that are not numbers.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that the folder holds.")] = False,
    pdf: Pdf = False,
    as_json: Json = False,
) -> None:
    """Search a table of dijet events for new particles and write a report.

    Example: bumpfit run data.csv --background background.csv -o out/
    """
    _run(
        data, background, out, seed=seed, workers=workers, dask=dask, as_json=as_json, quick=quick,
        iterations=iterations, config=_config(config, approach), mass=mass, features=features, unit=unit,
        drop_bad=drop_bad, overwrite=overwrite, pdf=pdf,
    )  # fmt: skip


def _run(
    data: str | Path,
    background: str | Path | None,
    out: Path | None,
    *,
    seed: int,
    workers: int | None,
    dask: str | None = None,
    as_json: bool,
    quick: bool,
    iterations: int = 2,
    config: SearchConfig | None = None,
    mass: str = "m_JJ",
    features: str | None = None,
    unit: str | None = None,
    drop_bad: bool = False,
    overwrite: bool = False,
    pdf: bool = False,
) -> None:
    from bumpfit.clusters import pool
    from bumpfit.pages.search_run import run as search

    printer = _printer(out) if pdf else None
    with pool(workers, dask) as executor:
        answers = search(
            data, background, out, seed=seed, workers=1, executor=executor, quick=quick, iterations=iterations,
            config=config, mass=mass, unit=unit,
            on_bad="drop" if drop_bad else "error", overwrite=overwrite,
            **({} if features is None else {"features": columns(features)}),
        )  # fmt: skip
    _show(answers.to_dict(), as_json)
    _reports(out, printer, as_json)


def _printer(out: Path | None) -> str:
    """The browser that prints the page of a run; raises an error before anything is computed."""
    from bumpfit.report.paper import browser

    if out is None:
        raise InputError("--pdf prints the report of an output folder; give one with -o OUT")
    return browser()


def _reports(out: Path | None, printer: str | None, as_json: bool) -> None:
    """Print the page where that was asked for, and say where the reports are."""
    if out is None:
        return
    page = out / "report.html"
    written = [page]
    if printer is not None:
        from bumpfit.files import require
        from bumpfit.report.paper import pdf

        written.append(pdf(require(page), printer))
    if not as_json:
        for path in written:
            typer.echo(f"report: {path}")


def _config(path: Path | None, approach: str | None) -> SearchConfig:
    """Settings of a file, with another approach when one is named."""
    from bumpfit.search.config import SearchConfig, read_config, with_approach

    config = SearchConfig() if path is None else read_config(path)
    return config if approach is None else with_approach(config, approach)


def columns(text: str) -> dict[str, str]:
    """Feature names -> columns from 'a,b=column,c'; raises InputError for empty or repeated names."""
    pairs = [part.strip().partition("=") for part in text.split(",")]
    names = {name.strip(): (column if mark else name).strip() for name, mark, column in pairs}
    if len(names) != len(pairs) or not all(names) or not all(names.values()):
        raise InputError(f"the features '{text}' hold an empty or repeated name; expected NAME,NAME=COLUMN,...")
    return names


def _show(answers: dict[str, Any], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answers, indent=1))
        return
    from bumpfit.console import Console
    from bumpfit.pages.search_terminal import summary

    Console().print(summary(answers))


def score(
    data: Data,
    background: Annotated[
        str, typer.Option(metavar="FILE", help="Table that is background only, with the same columns.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.csv", help="CSV file: index, score, m_JJ.")] = Path(
        "scores.csv"
    ),
    config: Config = None,
    approach: Approach = None,
    seed: Seed = 0,
    workers: Workers = None,
    dask: Dask = None,
    mass: Annotated[str, typer.Option(metavar="COLUMN", help="Column of the spectrum that is searched.")] = "m_JJ",
    features: Features = None,
    unit: Annotated[
        str | None, typer.Option(metavar="GeV|TeV", help="GeV or TeV; found from the values when not given.")
    ] = None,
    drop_bad: Annotated[bool, typer.Option("--drop-bad", help="Drop events with cells that are not numbers.")] = False,
) -> None:
    """Score every event of a table between 0 (background) and 1 (signal); the first link of the chain on its own.

    A score is the fraction of the background, near its mass, that looks less like the excess of the data.

    Example: bumpfit score data.csv --background background.csv -o scores.csv
    """
    from bumpfit.clusters import pool
    from bumpfit.events.pairs import check_pair
    from bumpfit.events.tables import FEATURES, read
    from bumpfit.runs import nowhere
    from bumpfit.search.posterior import untied
    from bumpfit.search.score_events import cross_fitted, event_scores, write_scores

    check_outputs((data, background), out)
    chosen = _config(config, approach)
    names = FEATURES if features is None else columns(features)
    bad = "drop" if drop_bad else "error"
    events, table = (read(path, mass=mass, features=names, unit=unit, on_bad=bad) for path in (data, background))
    check_pair(events, table)
    windows = chosen.windows.windows(table.mass)
    with pool(workers, dask) as executor:
        u_data, u_background = cross_fitted(
            events, table, windows, chosen, seed=seed, executor=executor, kept=nowhere()
        )
    scores = event_scores(u_data, u_background, events, table, windows)
    write_scores(out, events, untied(1 - scores.survival), with_mass=True)
    typer.echo(f"{len(events)} scores written to {out}")


def report(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a finished run.")],
    pdf: Pdf = False,
    as_json: Json = False,
) -> None:
    """Show the answers of a finished run, and where its report is.

    Example: bumpfit report out/ --pdf
    """
    from bumpfit.foreign import read_json

    path = out / "result.json"
    answers = read_json(path, "the result of a run: give the output folder of `bumpfit run`")
    if not isinstance(answers, dict):
        raise InputError(f"{path} is not the result of a run; give the output folder of `bumpfit run`")
    missing = {"p_value", "claim", "n_signal"} - set(answers)
    if missing:
        raise InputError(f"{path} has no {', '.join(sorted(missing))}; give the output folder of `bumpfit run`")
    printer = _printer(out) if pdf else None
    _show(answers, as_json)
    _reports(out, printer, as_json)
