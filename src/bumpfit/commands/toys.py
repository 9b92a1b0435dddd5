"""`bumpfit toys`: calibrate p-values with toys, in one go, in shards, or on a cluster; and studies with toys."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bumpfit.commands import toy_studies
from bumpfit.commands.options import Reading, Seed, Workers, grouped
from bumpfit.commands.output import Drawing, Json, Output, Page, check_outputs, provenance
from bumpfit.commands.toy_results import Told, give, give_scan
from bumpfit.errors import BumpfitError, InputError
from bumpfit.pages.terminal import pairs
from bumpfit.words import System

if TYPE_CHECKING:
    from bumpfit.toys.engine import Source

PARQUET = (".parquet", ".pq")


class InterruptionError(BumpfitError):
    """The user stopped the command; the message says how to go on."""

    exit_code = 130


@grouped
def toys(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="WORKSPACE...", help="Workspace; several are a mass scan (global p); result files with --merge."
        ),
    ],
    reading: Reading,
    drawing: Drawing,
    page: Page,
    n: Annotated[int | None, typer.Option("-n", "--number", help="Number of toys; with --until the most.")] = None,
    statistic: Annotated[str, typer.Option(metavar="NAME", help="q0, qmu, qtilde, tmu or ttilde.")] = "q0",
    mu: Annotated[float, typer.Option(help="Strength that toys are thrown at.")] = 0.0,
    test: Annotated[float | None, typer.Option(help="Strength under test; default: 0 for q0, else --mu.")] = None,
    observed: Annotated[float | None, typer.Option(help="Observed statistic; default: that of the data.")] = None,
    until: Annotated[
        float | None, typer.Option(metavar="ERROR", help="Stop when the relative error of p is below this.")
    ] = None,
    tail: Annotated[bool, typer.Option("--tail", help="Importance sampling: small p-values from few toys.")] = False,
    shard: Annotated[str | None, typer.Option(metavar="I/N", help="Throw only part I of N, to be merged.")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Merge result files instead of throwing toys.")] = False,
    submit: Annotated[
        System | None,
        typer.Option(help="Write the job files of a batch system into the folder of -o, and throw nothing."),
    ] = None,
    shards: Annotated[int | None, typer.Option(metavar="N", help="Jobs that --submit splits the toys into.")] = None,
    minutes: Annotated[int, typer.Option(help="Time limit of a job of --submit.")] = 60,
    cores: Annotated[int, typer.Option(help="Cores of a job of --submit.")] = 1,
    seed: Seed = 0,
    workers: Workers = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Throw on the workers of a Dask scheduler.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Result: .parquet (mergeable; an interrupted run goes on) or .json; folder of --submit."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Throw toys and compare a test statistic with that of the data: p-values without asymptotic formulae.

    Toy i of a seed is the same however the work is split. Examples:
    bumpfit toys workspace.json -n 1000000 -o toys.parquet;
    bumpfit toys workspace.json -n 1000000000 --shard 3/100 -o part3.parquet;
    bumpfit toys --merge part1.parquet part2.parquet -o all.parquet;
    bumpfit toys workspace.json -n 1000000000 --submit slurm --shards 100 -o jobs
    """
    drawing.check()
    if observed is not None and not 0 <= observed < math.inf:
        raise InputError(f"the observed statistic is {observed:g}; expected a finite number from 0 on")
    if submit is not None:
        refused = {
            "--merge": merge, "--shard": shard, "--until": until,
            "--dask": dask, "--workers (give --cores)": workers, "--figure": drawing.figure, "--report": page.report,
        }  # fmt: skip
        wrong = [name for name, value in refused.items() if value]
        if wrong:
            raise InputError(
                f"--submit goes without {', '.join(wrong)}; jobs are merged with --merge when they are done"
            )
        kinds = {"statistic": statistic, "mu": mu, "test": test, "observed": observed, "seed": seed,
                 "tail": tail}  # fmt: skip
        if len(files) > 1:
            _check_scan(kinds)
        _submit(submit, files, reading, n, shards, out, kinds, cores, minutes, as_json)
        return
    if shards is not None:
        raise InputError("--shards belongs to --submit; to throw one part here, give --shard I/N")
    check_outputs([*files, *reading.files], drawing.figure, *page.files, out)
    if merge:
        settings = {
            "--until": until is not None, "--shard": shard is not None, "--dask": dask is not None, "--tail": tail,
            "--statistic": statistic != "q0", "--mu": mu != 0, "--test": test is not None, "--seed": seed != 0,
        }  # fmt: skip
        unfit = [name for name, asked in settings.items() if asked]
        if unfit:
            raise InputError(f"--merge joins toys that were thrown; leave out {', '.join(unfit)}")
        _merge(files, n, observed, out, as_json, drawing, page)
        return
    if n is None:
        raise InputError("give the number of toys, for example -n 100000")
    if out is not None and out.suffix.lower() not in (*PARQUET, ".json"):
        raise InputError(f"cannot write {out}: expected a name that ends in .parquet or .json")
    if shard is not None and (out is None or out.suffix.lower() not in PARQUET):
        raise InputError("a shard is merged later, so it needs a result file: -o NAME.parquet")
    from bumpfit.execute import processes

    options = {
        "n": n, "statistic": statistic, "mu": mu, "test": test, "observed": observed, "until": until, "shard": shard,
        "tail": tail, "seed": seed, **dataclasses.asdict(reading),
    }  # fmt: skip
    given = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in options.items()
        if value is not None and value is not False
    }
    head = provenance("toys", [*files, *reading.files], given)
    if len(files) > 1:
        _check_scan({"statistic": statistic, "mu": mu, "test": test, "observed": observed, "tail": tail})
    from bumpfit.toys import GlobalToys, dask_executor, parse_shard, run
    from bumpfit.toys import shard as part_of
    from bumpfit.toys.scan import ScanEngine

    keep = out if out is not None and out.suffix.lower() in PARQUET else None
    output = Output(None if keep is not None else out, as_json)
    with _interruptible(keep), nullcontext() if dask is None else dask_executor(dask) as executor:
        source, n = _source(files, reading, n, statistic, mu, test, observed, tail=tail)
        part = None if shard is None else part_of(n, *parse_shard(shard))
        found = run(
            source, n, seed=seed, workers=processes(workers), executor=executor,
            path=keep, part=part, until=until, observed=observed,
        )  # fmt: skip
    if isinstance(source, ScanEngine):
        give_scan(GlobalToys(found, source.level, source.scan), head, Told(drawing, page, keep, output))
    else:
        give(found, head, Told(drawing, page, keep, output), walls=_walls(source))


def _walls(source: Source) -> tuple[str, ...]:
    """Parameters at an end of their range where the toys are thrown."""
    from bumpfit.toys.histfactory import HistFactoryEngine
    from bumpfit.toys.importance import TailEngine

    base = source.base if isinstance(source, TailEngine) else source
    return base.walls if isinstance(base, HistFactoryEngine) else ()


def _source(
    files: list[Path], reading: Reading, n: int, statistic: str, mu: float, test: float | None, observed: float | None,
    *, tail: bool,
) -> tuple[Source, int]:  # fmt: skip
    """What makes the toys: of a model, weighted ones, or of a scan over several; and how many of them."""
    from bumpfit.toys import engine
    from bumpfit.toys.importance import reach_of, tail_engine
    from bumpfit.toys.scan import LEVEL, scan_engine

    models = [reading.model(path) for path in files]
    if len(models) > 1:
        return scan_engine(models, LEVEL), n
    base = engine(models[0], statistic=statistic, mu=mu, test=test)
    if not tail:
        return base, n
    weighted = tail_engine(base, None if observed is None else reach_of(observed))
    return weighted, weighted.whole(n)


def _check_scan(settings: dict[str, Any]) -> None:
    """Raise InputError for what a mass scan cannot be asked."""
    usual = {"statistic": "q0", "mu": 0.0, "test": None, "observed": None, "tail": False, "seed": settings.get("seed")}
    wrong = [f"--{name}" for name, value in settings.items() if value != usual[name]]
    if wrong:
        raise InputError(
            f"a mass scan compares the largest q0 of background-only toys with that of the data; leave out "
            f"{', '.join(wrong)}"
        )


@contextmanager
def _interruptible(keep: Path | None) -> Iterator[None]:
    """Say on Ctrl-C what is kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        if keep is None:
            raise InterruptionError(
                "interrupted, and nothing was kept; with -o NAME.parquet a run can be interrupted and goes on later"
            ) from None
        if not keep.with_name(keep.name + ".parts").exists():
            raise InterruptionError("interrupted before the first toys were finished; nothing was written") from None
        raise InterruptionError(
            f"interrupted; the toys thrown so far are kept in {keep}.parts, and the same command goes on from there"
        ) from None


def _submit(
    system: System, workspaces: list[Path], reading: Reading, n: int | None, shards: int | None,
    folder: Path | None, kinds: dict[str, Any], cores: int, minutes: int, as_json: bool,
) -> None:  # fmt: skip
    """Write job files, after a look whether toys can be thrown at all."""
    from bumpfit.toys import job_files
    from bumpfit.toys.throw import check_run

    if n is None or shards is None or folder is None:
        raise InputError("--submit needs the number of toys, of jobs and a folder: -n 1000000000 --shards 100 -o jobs")
    check_run(n, kinds["seed"], cores)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; --submit writes into a folder, for example -o jobs")
    _source(workspaces, reading, n, **{key: value for key, value in kinds.items() if key != "seed"})
    options = _options({**kinds, **dataclasses.asdict(reading)})
    written, commands = job_files(system, workspaces, n, shards, folder, options=options, cores=cores, minutes=minutes)
    result = {
        **provenance("toys", [*workspaces, *reading.files], {**kinds, "submit": system, "shards": shards, "n": n}),
        "files": [str(file) for file in written], "commands": commands,
    }  # fmt: skip
    rows = [(f"{n} toys", f"{shards} jobs of {cores} {'core' if cores == 1 else 'cores'}, {minutes} minutes at most")]
    rows += [("written", str(file)) for file in written]
    steps = ["", "submit with:", f"  {commands[0]}", "and when all jobs are done:", f"  {commands[1]}"]
    Output(None, as_json).give(result, lambda: pairs(rows), steps)


def _options(values: dict[str, Any]) -> list[str]:
    """Options of a command line that differ from their defaults, files with their full paths."""
    words: list[str] = []
    for name, value in values.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            words.append(option)
        elif value is not None and value is not False:
            words.append(f"{option}={value.resolve() if isinstance(value, Path) else value}")
    return words


def _merge(
    files: list[Path], n: int | None, observed: float | None, out: Path | None, as_json: bool, drawing: Drawing,
    page: Page,
) -> None:  # fmt: skip
    """Join result files; `n`: how many toys the whole run has."""
    from bumpfit.toys import GlobalToys, merge, read
    from bumpfit.toys.scan import LARGEST
    from bumpfit.toys.tallying import course, missing
    from bumpfit.toys.throw import TIE

    if out is not None and out.suffix.lower() not in (*PARQUET, ".json"):
        raise InputError(f"cannot write {out}: expected a name that ends in .parquet or .json")
    parts = [read(path) for path in files]
    for path, part in zip(files[1:], parts[1:], strict=True):
        try:
            merge([parts[0], part])
        except InputError as error:
            raise InputError(f"{files[0]} and {path}: {error}") from None
    found = merge(parts)
    known = sorted({part.observed for part in parts if part.observed is not None})
    if observed is None and known and known[-1] - known[0] > TIE:
        raise InputError(
            f"these toys were compared with different observed values, from {known[0]:g} to {known[-1]:g}; say with "
            "--observed which one is meant"
        )
    if observed is not None:
        found = dataclasses.replace(found, observed=observed, course=course(parts, observed))
    keep = out if out is not None and out.suffix.lower() in PARQUET else None
    if keep is not None:
        found.write(keep)
    head = provenance("toys", files, {"merge": True})
    end = max(n or 0, found.wanted, *(end for _, end in found.ranges))
    gaps = tuple(f"toys {a} to {b - 1} are missing" for a, b in missing(0, end, found.ranges))
    output = Output(None if keep is not None else out, as_json)
    if found.statistic == LARGEST:
        give_scan(GlobalToys(found), head, Told(drawing, page, keep, output), gaps)
    else:
        give(found, head, Told(drawing, page, keep, output), gaps)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(toys)
    toy_studies.add_to(app)
