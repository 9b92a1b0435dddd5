"""The whole search in one call: tables in, answers out, and a folder with everything that was found."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from pathlib import Path

import pandas as pd

from bumpfit import __version__, runs
from bumpfit.errors import InputError
from bumpfit.events.pairs import check_pair
from bumpfit.events.tables import FEATURES, MASS, read
from bumpfit.execute import worker_pool
from bumpfit.files import write_json
from bumpfit.pages.answers import Answers, Told, told
from bumpfit.search.chain import check_selections, check_table, search
from bumpfit.search.config import SearchConfig
from bumpfit.search.score_events import write_scores
from bumpfit.search.without_table import search_without_table
from bumpfit.search.workspaces import write_workspaces

Table = str | os.PathLike[str] | pd.DataFrame

RESULT = "result.json"
OUTPUTS = ("scores.csv", "scores_updated.csv", "workspaces/", "figures/", "report.html", "report.md", "report.pdf")


def run(
    data: Table,
    background: Table | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    quick: bool = False,
    iterations: int = 2,
    config: SearchConfig | None = None,
    mass: str = MASS,
    features: Sequence[str] | Mapping[str, str] = FEATURES,
    unit: str | None = None,
    on_bad: str = "error",
    overwrite: bool = False,
) -> Answers:
    """Search a table of dijet events for a resonance, given a table that is background only.

    Args:
        data, background: files (CSV, TSV, Parquet, Feather, HDF5, `file.root:tree`), URLs, or frames (pandas, polars,
            Arrow). Without a background table events of mass regions are told from those of their sidebands, where
            there are sidebands, and peaks are searched in the m_JJ spectra.
        out: folder for scores, result.json, report, figures and workspaces; None writes nothing.
        seed: of every random choice; the same seed gives the same answers whatever `workers`.
        workers: processes.
        executor: run on this executor instead (`clusters.dask_executor`).
        quick: fewer and smaller trainings (`SearchConfig.quick`).
        iterations: further steps after the first answer.
        config: settings (default `SearchConfig()`).
        mass, features, unit, on_bad: see `bumpfit.events.tables.read`.
        overwrite: replace what `out` holds of another run.

    Raises:
        InputError: bad tables, options or output folder.
        BumpfitError: no answer could be had.
    """
    started = time.monotonic()
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise InputError(f"the seed is {seed!r}; expected a whole number, 0 or larger")
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 0:
        raise InputError(f"iterations is {iterations!r}; expected a whole number, 0 or larger")
    config = config or SearchConfig()
    config = config.quick() if quick else config
    events = read(data, mass=mass, features=features, unit=unit, on_bad=on_bad)
    table = None if background is None else read(background, mass=mass, features=features, unit=unit, on_bad=on_bad)
    if table is not None:
        check_pair(events, table)
        for each in (events, table):
            check_table(each, config)
        check_selections(table, config)
    columns = dict(features) if isinstance(features, Mapping) else list(features)
    settings = {
        "data": events.content, "background": None if table is None else table.content, "seed": seed,
        "iterations": iterations, "mass": mass, "features": columns, "unit": events.unit,
        "on_bad": on_bad, "config": config,
    }  # fmt: skip
    with runs.in_folder(out, settings, outputs=OUTPUTS, result=RESULT, overwrite=overwrite, started=started) as kept:
        kept.log.write(
            "start", version=__version__, seed=seed, events=len(events), background=0 if table is None else len(table)
        )
        with worker_pool(workers) if executor is None else nullcontext(executor) as chosen:
            if table is None:
                findings = search_without_table(events, config, seed, chosen, kept)
            else:
                findings = search(events, table, config, seed, chosen, iterations, kept)
        found = told(findings, started)
        if kept.folder is not None:
            _write(found, kept.folder, kept.log, started)
            kept.finish()
    return found.answers


def _write(findings: Told, out: Path, log: runs.Log, started: float) -> None:
    """Everything of a run; result.json comes last, so that its presence says that the run is complete."""
    from bumpfit.pages import search as pages  # it draws figures: slow to import, and a run without output needs none

    write_scores(out / "scores.csv", findings.data, findings.scores.probability)
    write_scores(out / "scores_updated.csv", findings.data, findings.updated_probability)
    write_workspaces(findings, out / "workspaces")
    pages.write(findings, out)
    log.write("done", verdict=findings.answers.verdict, z_global=findings.answers.p_value.z_global)
    answers = dataclasses.replace(findings.answers, runtime_s=round(time.monotonic() - started, 2))  # with drawing
    write_json(out / RESULT, answers.to_dict())
