"""`bumpfit toys`: calibrate p-values with toys, in one go, in shards, or on a cluster; and studies with toys."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bumpfit.commands import toy_studies
from bumpfit.commands.options import Reading, Seed, grouped
from bumpfit.commands.output import Drawing, Json, Output, check_outputs, pairs, provenance
from bumpfit.commands.show import number
from bumpfit.errors import BumpfitError, InputError
from bumpfit.normal import significance, upper_tail

if TYPE_CHECKING:
    from bumpfit.toys import Curve, Tally, Toys

PARQUET = (".parquet", ".pq")
AT_ZERO = {"q0": 0.5, "qmu": 0.5, "qtilde": 0.5, "tmu": 0.0}
"""What the asymptotic law of a statistic has at zero; t~ has no simple law."""
POINTS = 40
"""Points of the curves in figures."""
FARTHEST = 37.0
"""Largest significance that --tail looks for: beyond it a p-value is below the smallest double-precision number."""


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
    n: Annotated[int | None, typer.Option("-n", "--number", help="Number of toys; with --until the most.")] = None,
    statistic: Annotated[str, typer.Option(help="q0, qmu, qtilde, tmu or ttilde.")] = "q0",
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
        Literal["slurm", "htcondor"] | None,
        typer.Option(help="Write the job files of a batch system into the folder of -o, and throw nothing."),
    ] = None,
    shards: Annotated[int | None, typer.Option(metavar="N", help="Jobs that --submit splits the toys into.")] = None,
    minutes: Annotated[int, typer.Option(help="Time limit of a job of --submit.")] = 60,
    cores: Annotated[int, typer.Option(help="Cores of a job of --submit.")] = 1,
    seed: Seed = 0,
    workers: Annotated[
        int | None, typer.Option(help="Threads (default: all cores); no number depends on it.", min=1)
    ] = None,
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
            "several workspaces": len(files) > 1, "--merge": merge, "--shard": shard, "--until": until,
            "--tail": tail, "--dask": dask, "--workers (give --cores)": workers, "--figure": drawing.figure,
        }  # fmt: skip
        wrong = [name for name, value in refused.items() if value]
        if wrong:
            raise InputError(
                f"--submit goes without {', '.join(wrong)}; jobs are merged with --merge when they are done"
            )
        kinds = {"statistic": statistic, "mu": mu, "test": test, "observed": observed, "seed": seed}
        _submit(submit, files[0], reading, n, shards, out, kinds, cores, minutes, as_json)
        return
    if shards is not None:
        raise InputError("--shards belongs to --submit; to throw one part here, give --shard I/N")
    check_outputs([*files, *reading.files], drawing.figure, out)
    others = {"--until": until, "--shard": shard, "--dask": dask}
    unfit = [name for name, value in others.items() if value is not None]
    if merge:
        unfit += ["--tail"] if tail else []
        if unfit:
            raise InputError(f"--merge joins toys that were thrown; leave out {', '.join(unfit)}")
        _merge(files, n, observed, out, as_json, drawing)
        return
    if n is None:
        raise InputError("give the number of toys, for example -n 100000")
    if out is not None and out.suffix.lower() not in (*PARQUET, ".json"):
        raise InputError(f"cannot write {out}: expected a name that ends in .parquet or .json")
    if shard is not None and (out is None or out.suffix.lower() not in PARQUET):
        raise InputError("a shard is merged later, so it needs a result file: -o NAME.parquet")
    if (len(files) > 1 or tail) and (unfit or (out is not None and out.suffix.lower() in PARQUET)):
        what = "a mass scan" if len(files) > 1 else "--tail"
        raise InputError(f"{what} goes without {', '.join([*unfit, 'a Parquet result'])}; take -o NAME.json")
    from bumpfit.execute import available_cores

    options = {
        "n": n, "statistic": statistic, "mu": mu, "test": test, "observed": observed, "until": until, "shard": shard,
        "tail": tail or None, "seed": seed, **dataclasses.asdict(reading),
    }  # fmt: skip
    given = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in options.items()
        if value is not None and value is not False
    }
    head = provenance("toys", [*files, *reading.files], given)
    common: dict[str, Any] = {"seed": seed, "workers": workers or available_cores()}
    if len(files) > 1:
        if statistic != "q0" or mu != 0 or test is not None or tail:
            raise InputError(
                "a mass scan compares q0 of background-only toys; leave out --statistic, --mu, --test, --tail"
            )
        with _interruptible(None, "such results are written at the end"):
            _scan(files, reading, n, observed, common, head, drawing, Output(out, as_json))
        return
    if tail:
        with _interruptible(None, "such results are written at the end"):
            model = reading.model(files[0])
            _tail(model, n, statistic, mu, test, observed, common, head, drawing, Output(out, as_json))
        return
    from bumpfit.toys import dask_executor, engine, parse_shard, run
    from bumpfit.toys import shard as part_of

    part = None if shard is None else part_of(n, *parse_shard(shard))
    keep = out if out is not None and out.suffix.lower() in PARQUET else None
    with _interruptible(keep):
        chosen = engine(reading.model(files[0]), statistic=statistic, mu=mu, test=test)
        with nullcontext() if dask is None else dask_executor(dask) as executor:
            found = run(chosen, n, path=keep, part=part, until=until, observed=observed, executor=executor, **common)
    _give(found, head, drawing, keep, Output(None if keep is not None else out, as_json))


@contextmanager
def _interruptible(
    keep: Path | None, advice: str = "with -o NAME.parquet a run can be interrupted and goes on later"
) -> Iterator[None]:
    """Say on Ctrl-C what is kept and how to go on; `advice` where nothing is."""
    try:
        yield
    except KeyboardInterrupt:
        if keep is None:
            raise InterruptionError(f"interrupted, and nothing was kept; {advice}") from None
        if not keep.with_name(keep.name + ".parts").exists():
            raise InterruptionError("interrupted before the first toys were finished; nothing was written") from None
        raise InterruptionError(
            f"interrupted; the toys thrown so far are kept in {keep}.parts, and the same command goes on from there"
        ) from None


def _submit(
    system: Literal["slurm", "htcondor"], workspace: Path, reading: Reading, n: int | None, shards: int | None,
    folder: Path | None, kinds: dict[str, Any], cores: int, minutes: int, as_json: bool,
) -> None:  # fmt: skip
    """Write job files, after a look whether toys can be thrown at all."""
    from bumpfit.toys import engine, job_files
    from bumpfit.toys.throw import check_run

    if n is None or shards is None or folder is None:
        raise InputError("--submit needs the number of toys, of jobs and a folder: -n 1000000000 --shards 100 -o jobs")
    check_run(n, kinds["seed"], cores)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; --submit writes into a folder, for example -o jobs")
    chosen = {key: kinds[key] for key in ("statistic", "mu", "test")}
    engine(reading.model(workspace), **chosen)
    options = _options({**kinds, **dataclasses.asdict(reading)})
    written, commands = job_files(system, workspace, n, shards, folder, options=options, cores=cores, minutes=minutes)
    result = {
        **provenance("toys", [workspace, *reading.files], {**kinds, "submit": system, "shards": shards, "n": n}),
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


def _give(
    found: Tally, head: dict[str, Any], drawing: Drawing, keep: Path | None, output: Output, notes: tuple[str, ...] = ()
) -> None:
    """Give a tally: p-value with its error, the asymptotic one beside it; distribution and running p as a figure."""
    result = {**head, **found.to_dict(), **_significance(found)}

    def draw() -> Any:
        from bumpfit.report.toys import toy_distribution

        if found.fitted == 0:
            raise BumpfitError("no toy could be fitted, so there is no distribution to draw")
        law = AT_ZERO.get(found.statistic) if found.thrown == found.tested else None
        return toy_distribution(
            found.value,
            found.toys.astype(float),
            found.observed,
            found.statistic,
            law,
            _running(found),
            result["p_asymptotic"],
        )

    drawing.draw(draw)
    written = [] if keep is None else [f"toys written to {keep}"]
    output.give(result, lambda: pairs(_rows(result)), [*notes, *_lost(found), *written])


def _lost(found: Tally) -> list[str]:
    """How far toys without a fit could move the p-value."""
    if not found.failed or found.observed is None:
        return []
    most = (found.hits(found.observed) + found.failed) / found.n
    return [f"{found.failed} toys could not be fitted; were they all as extreme as the data, p would be {number(most)}"]


def _running(found: Tally | Toys) -> Curve | None:
    """p after so many toys, None where there is nothing to compare with."""
    from bumpfit.toys import convergence

    return None if found.observed is None else convergence(found)


def _significance(found: Tally) -> dict[str, Any]:
    """z of the p-value, whether p is an upper bound because no toy is as extreme, and the asymptotic p of q0."""
    if found.observed is None or found.fitted == 0:
        return {"z": None, "p_is_upper_bound": None, "p_asymptotic": None}
    p = found.p_value()[0]
    plain = found.statistic == "q0" and found.thrown == 0
    return {
        "z": significance(p),
        "p_is_upper_bound": found.hits(found.observed) == 0,
        "p_asymptotic": upper_tail(max(found.observed, 0.0) ** 0.5) if plain else None,
    }


def _rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (
            "toys",
            f"{result['toys']} ({result['fitted']} fitted) of {result['statistic']}, thrown at {result['thrown']:g}",
        ),
        ("observed", number(result["observed"])),
    ]
    if result["p_value"] is not None:
        bound = "< " if result["p_is_upper_bound"] else ""
        error = "" if bound else f" ± {number(result['p_error'], 2)}"
        rows.append(("p-value", f"{bound}{number(result['p_value'])}{error}"))
        rows.append(("Z", f"{'> ' if bound else ''}{number(result['z'], 4)}"))
    if result.get("p_asymptotic") is not None:
        rows.append(("asymptotic p-value", number(result["p_asymptotic"])))
    return rows


def _merge(
    files: list[Path], n: int | None, observed: float | None, out: Path | None, as_json: bool, drawing: Drawing
) -> None:
    """Join result files; `n`: how many toys the whole run has."""
    from bumpfit.toys import merge, read
    from bumpfit.toys.tally import course, missing

    if out is not None and out.suffix.lower() not in (*PARQUET, ".json"):
        raise InputError(f"cannot write {out}: expected a name that ends in .parquet or .json")
    parts = [read(path) for path in files]
    for path, part in zip(files[1:], parts[1:], strict=True):
        try:
            merge([parts[0], part])
        except InputError as error:
            raise InputError(f"{files[0]} and {path}: {error}") from None
    found = merge(parts)
    if observed is not None:
        found = dataclasses.replace(found, observed=observed, course=course(parts, observed))
    keep = out if out is not None and out.suffix.lower() in PARQUET else None
    if keep is not None:
        found.write(keep)
    head = provenance("toys", files, {"merge": True})
    end = max((end for _, end in found.ranges), default=0)
    gaps = [f"toys {a} to {b - 1} are missing" for a, b in missing(0, max(end, n or 0), found.ranges)]
    _give(found, head, drawing, keep, Output(None if keep is not None else out, as_json), tuple(gaps))


def _tail(
    model: Any, n: int, statistic: str, mu: float, test: float | None, observed: float | None,
    common: dict[str, Any], head: dict[str, Any], drawing: Drawing, output: Output,
) -> None:  # fmt: skip
    """A p-value by importance sampling."""
    import numpy as np

    from bumpfit.toys import tail, tail_curve
    from bumpfit.toys.throw import TIE

    reach = None if observed is None else _reach(observed)
    found = tail(model, n, statistic=statistic, mu=mu, test=test, reach=reach, show=None, **common)
    if observed is not None:
        found = dataclasses.replace(found, observed=observed)
    result = {**head, **found.to_dict()}
    p, q = result["p_value"], result["observed"]
    result |= {
        "z": None if p is None else significance(p),
        "p_is_upper_bound": None if q is None else not bool((found.statistic[found.valid] >= q - TIE).any()),
        "p_asymptotic": upper_tail(q**0.5) if q is not None and statistic == "q0" and mu == 0 else None,
        "method": "importance sampling",
    }  # fmt: skip

    def draw() -> Any:
        from bumpfit.report.toys import tail_probability

        finite = found.statistic[np.isfinite(found.statistic)]
        if finite.size == 0:
            raise BumpfitError("no toy could be fitted, so there is no tail to draw")
        # beyond the worlds that were thrown there are chance toys only, whose errors cannot be trusted
        end = min(float(finite.max()), _reach(found.observed) ** 2)
        curve = tail_curve(found, np.linspace(0.0, end, POINTS))
        return tail_probability(curve, found.observed, found.name, _running(found), result["p_asymptotic"])

    drawing.draw(draw)
    output.give(result, lambda: pairs(_rows(result)))


def _reach(observed: float | None) -> float:
    """Significance up to which worlds of importance sampling go for an observed statistic."""
    from bumpfit.toys.importance import REACH

    return min(max(REACH, math.sqrt(observed or 0.0) + 1), FARTHEST)


def _scan(
    files: list[Path], reading: Reading, n: int, observed: float | None, common: dict[str, Any],
    head: dict[str, Any], drawing: Drawing, output: Output,
) -> None:  # fmt: skip
    """Global p-value of a scan over the signals of several workspaces."""
    import numpy as np

    from bumpfit.toys import global_curve, scan_toys

    if observed is not None:
        raise InputError("a mass scan takes its observed q0 from the data; leave out --observed")
    found = scan_toys([reading.model(path) for path in files], n, show=None, **common)
    result: dict[str, Any] = {**head, **found.to_dict()}
    p = result["p_global"]
    result["z_global"] = None if p is None else significance(p)

    def draw() -> Any:
        from bumpfit.report.toys import global_p_value

        good = found.maximum[found.valid]
        if good.size == 0:
            raise BumpfitError("no toy could be fitted at all signals, so there is nothing to draw")
        highest = max(float(good.max()), found.observed or 0.0) ** 0.5
        return global_p_value(good, global_curve(found, np.linspace(0.0, 1.1 * highest, POINTS)), found.observed)

    drawing.draw(draw)
    rows = [
        ("toys", f"{result['toys']} ({result['fitted']} fitted), each scanned with {len(files)} signals"),
        ("largest q0", number(result["observed"])),
        ("global p-value", f"{number(p)} ± {number(result['p_global_error'], 2)}"),
        ("global Z", number(result["z_global"], 4)),
        ("Gross-Vitells bound", f"{number(result['gross_vitells'])} ± {number(result['gross_vitells_error'], 2)}"),
    ]
    output.give(result, lambda: pairs(rows))


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command()(toys)
    toy_studies.add_to(app)
