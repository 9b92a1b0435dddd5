"""`bumpfit toys`: calibrate p-values with toys, in one go, in shards, or on a cluster."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from bumpfit.commands.options import Reading, Seed, grouped
from bumpfit.commands.output import Drawing, Json, Output, check_outputs, pairs, provenance
from bumpfit.commands.show import number
from bumpfit.errors import BumpfitError, InputError

PARQUET = (".parquet", ".pq")
AT_ZERO = {"q0": 0.5, "qmu": 0.5, "qtilde": 0.5, "tmu": 0.0}
"""What the asymptotic law of a statistic has at zero; t~ has no simple law."""


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
    seed: Seed = 0,
    workers: Annotated[
        int | None, typer.Option(help="Threads (default: all cores); no number depends on it.", min=1)
    ] = None,
    dask: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Throw on the workers of a Dask scheduler.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Result: .parquet (mergeable; an interrupted run goes on) or .json."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Throw toys and compare a test statistic with that of the data: p-values without asymptotic formulae.

    Toy i of a seed is the same however the work is split. Examples:
    bumpfit toys workspace.json -n 1000000 -o toys.parquet;
    bumpfit toys workspace.json -n 1000000000 --shard 3/100 -o part3.parquet;
    bumpfit toys --merge part1.parquet part2.parquet -o all.parquet
    """
    drawing.check()
    check_outputs([*files, *reading.files], drawing.figure, None if not merge and out is None else out)
    if merge:
        _merge(files, observed, out, as_json, drawing)
        return
    if n is None:
        raise InputError("give the number of toys, for example -n 100000")
    if out is not None and out.suffix.lower() not in (*PARQUET, ".json"):
        raise InputError(f"cannot write {out}: expected a name that ends in .parquet or .json")
    if shard is not None and (out is None or out.suffix.lower() not in PARQUET):
        raise InputError("a shard is merged later, so it needs a result file: -o NAME.parquet")
    if len(files) > 1 or tail:
        wrong = [
            name for name, value in (("--until", until), ("--shard", shard), ("--dask", dask)) if value is not None
        ]
        if wrong or (out is not None and out.suffix.lower() in PARQUET):
            what = "a mass scan" if len(files) > 1 else "--tail"
            raise InputError(f"{what} goes without {', '.join([*wrong, 'a Parquet result'])}; take -o NAME.json")
    from bumpfit.execute import available_cores

    head = provenance("toys", [*files, *reading.files])
    common: dict[str, Any] = {"seed": seed, "workers": workers or available_cores()}
    if len(files) > 1:
        if statistic != "q0" or mu != 0 or test is not None or tail:
            raise InputError(
                "a mass scan compares q0 of background-only toys; leave out --statistic, --mu, --test, --tail"
            )
        _scan(files, reading, n, observed, common, head, drawing, Output(out, as_json))
        return
    model = reading.model(files[0])
    if tail:
        _tail(model, n, statistic, mu, test, observed, common, head, drawing, Output(out, as_json))
        return
    from bumpfit.toys import dask_executor, engine, run
    from bumpfit.toys import shard as part_of

    chosen = engine(model, statistic=statistic, mu=mu, test=test)
    part = None if shard is None else part_of(n, *_fraction(shard))
    keep = out if out is not None and out.suffix.lower() in PARQUET else None
    with nullcontext() if dask is None else dask_executor(dask) as executor:
        found = run(chosen, n, path=keep, part=part, until=until, observed=observed, executor=executor, **common)
    _give(found, head, drawing, keep, Output(None if keep is not None else out, as_json))


def _fraction(text: str) -> tuple[int, int]:
    try:
        index, shards = (int(word) for word in text.split("/"))
    except ValueError:
        raise InputError(f"cannot read --shard {text}; expected I/N, for example 3/100") from None
    return index, shards


def _give(found: Any, head: dict[str, Any], drawing: Drawing, keep: Path | None, output: Output) -> None:
    """Give a tally: p-value with its error, the asymptotic one beside it, and the distribution as a figure."""
    result = {**head, **found.to_dict(), **_significance(found)}

    def draw() -> Any:
        from bumpfit.report.profiles import toy_distribution

        if found.fitted == 0:
            raise BumpfitError("no toy could be fitted, so there is no distribution to draw")
        law = AT_ZERO.get(found.statistic) if found.thrown == found.tested else None
        return toy_distribution(found.value, found.toys, found.observed, found.statistic, law)

    drawing.draw(draw)
    note = [] if keep is None else [f"toys written to {keep}"]
    output.give(result, lambda: pairs(_rows(result)), note)


def _significance(found: Any) -> dict[str, Any]:
    """z of the p-value, whether p is an upper bound because no toy is as extreme, and the asymptotic p of q0."""
    from scipy.stats import norm

    if found.observed is None or found.fitted == 0:
        return {"z": None, "p_is_upper_bound": None, "p_asymptotic": None}
    p = found.p_value()[0]
    plain = found.statistic == "q0" and found.thrown == 0
    return {
        "z": float(norm.isf(p)),
        "p_is_upper_bound": found.hits(found.observed) == 0,
        "p_asymptotic": float(norm.sf(max(found.observed, 0.0) ** 0.5)) if plain else None,
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


def _merge(files: list[Path], observed: float | None, out: Path | None, as_json: bool, drawing: Drawing) -> None:
    import dataclasses

    from bumpfit.toys import merge, read

    if out is not None and out.suffix.lower() not in (*PARQUET, ".json"):
        raise InputError(f"cannot write {out}: expected a name that ends in .parquet or .json")
    found = merge([read(path) for path in files])
    if observed is not None:
        found = dataclasses.replace(found, observed=observed)
    keep = out if out is not None and out.suffix.lower() in PARQUET else None
    if keep is not None:
        found.write(keep)
    head = provenance("toys", files, {"merge": True})
    _give(found, head, drawing, keep, Output(None if keep is not None else out, as_json))


def _tail(
    model: Any, n: int, statistic: str, mu: float, test: float | None, observed: float | None,
    common: dict[str, Any], head: dict[str, Any], drawing: Drawing, output: Output,
) -> None:  # fmt: skip
    """A p-value by importance sampling."""
    import dataclasses

    from scipy.stats import norm

    from bumpfit.toys import tail

    if drawing.figure is not None:
        raise InputError("toys of --tail have weights and no distribution to draw; leave out --figure, or --tail")
    reach = None if observed is None or observed <= 0 else max(6.0, observed**0.5 + 1)
    found = tail(model, n, statistic=statistic, mu=mu, test=test, reach=reach, show=None, **common)
    if observed is not None:
        found = dataclasses.replace(found, observed=observed)
    result = {**head, **found.to_dict()}
    p, q = result["p_value"], result["observed"]
    result |= {
        "z": None if p is None else float(norm.isf(p)),
        "p_is_upper_bound": None if q is None else not bool((found.statistic[found.valid] >= q).any()),
        "p_asymptotic": float(norm.sf(q**0.5)) if q is not None and statistic == "q0" and mu == 0 else None,
        "method": "importance sampling",
    }  # fmt: skip
    output.give(result, lambda: pairs(_rows(result)))


def _scan(
    files: list[Path], reading: Reading, n: int, observed: float | None, common: dict[str, Any],
    head: dict[str, Any], drawing: Drawing, output: Output,
) -> None:  # fmt: skip
    """Global p-value of a scan over the signals of several workspaces."""
    import numpy as np
    from scipy.stats import norm

    from bumpfit.toys import scan_toys

    found = scan_toys([reading.model(path) for path in files], n, show=None, **common)
    if observed is not None:
        raise InputError("a mass scan takes its observed q0 from the data; leave out --observed")
    result: dict[str, Any] = {**head, **found.to_dict()}
    p = result["p_global"]
    result["z_global"] = None if p is None else float(norm.isf(p))

    def draw() -> Any:
        from bumpfit.report.profiles import toy_distribution

        good = found.maximum[found.valid]
        return toy_distribution(good, np.ones(good.size), found.observed, "largest q0 of a scan", None)

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
    """Register the command."""
    app.command()(toys)
