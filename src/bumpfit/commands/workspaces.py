"""`bumpfit build`, `convert`, `combine` and `validate`: make, translate, join and check workspaces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bumpfit.commands.building import Building, described, drawn
from bumpfit.commands.options import Reading, Workspace, grouped
from bumpfit.commands.output import Drawing, Json, Output, check_outputs, provenance
from bumpfit.errors import InputError
from bumpfit.pages.terminal import pairs, stacked, table
from bumpfit.words import Format

Target = Annotated[Path, typer.Option("-o", "--out", help="Workspace to write.")]


@grouped
def build(
    scored: Annotated[str, typer.Argument(help="Table of scored events, as `bumpfit score` writes it.")],
    out: Target,
    building: Building,
    drawing: Drawing,
    as_json: Json = False,
) -> None:
    """Build a HistFactory workspace from scored events: a peak over a dijet function, or a count over a background.

    The strength mu counts signal events, unless --signal says how many there are at strength 1. Plain pyhf loads and
    fits what is written.

    Example: bumpfit build scores.csv -o spectrum.json --keep 0.01 --mass 3500
    """
    from bumpfit.files import write_json

    drawing.check()
    check_outputs([scored, *building.files], out, drawing.figure)
    built = building.build(scored)
    drawing.draw(lambda: drawn(built))
    write_json(out, built.workspace)
    result = {**provenance("build", [scored, *building.files], building.given()), **built.to_dict()}
    Output(as_json=as_json).give(result, lambda: pairs(described(built)), [f"workspace written to {out}"])


@grouped
def convert(
    source: Annotated[
        Path,
        typer.Argument(metavar="IN", help="HistFactory or HS3 JSON, HistFactory XML, datacard, cabinetry, TRExFitter."),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Workspace to write.")],
    to: Annotated[Format, typer.Option(help="Format to write.")],
    reading: Reading,
) -> None:
    """Convert a workspace between HistFactory JSON, XML with ROOT, HS3 JSON and datacards; from cabinetry, TRExFitter.

    Example: bumpfit convert workspace.json workspace_hs3.json --to hs3
    """
    from bumpfit.workspace import write

    check_outputs([source, *reading.files], target)
    write(reading.model(source), target, format=to)
    typer.echo(f"histograms written to {target}" if to == "uhi" else f"{to} workspace written to {target}")


@grouped
def combine(
    workspaces: Annotated[list[Path], typer.Argument(help="Two or more workspaces.")],
    out: Target,
    reading: Reading,
    rename: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N:OLD=NEW",
            help="Rename a channel or parameter of workspace N (from 1): to tell equal names apart, or to share.",
        ),
    ] = None,
) -> None:
    """Combine workspaces: all channels, and one parameter for every name that several of them use.

    Example: bumpfit combine tight.json loose.json -o both.json --rename 2:SR=SR_loose
    """
    from bumpfit.files import write_json
    from bumpfit.workspace import combine as join
    from bumpfit.workspace import rename as renamed
    from bumpfit.workspace.read import compile_model
    from bumpfit.workspace.write import histfactory

    check_outputs([*workspaces, *reading.files], out)
    if reading.patch is not None:
        raise InputError("a patch belongs to one workspace; apply it first: bumpfit convert IN OUT --to histfactory")
    specs: list[Any] = [histfactory(reading.model(path)) for path in workspaces]
    for text in rename or ():
        number, old, new = _renaming(text, len(specs))
        spec = specs[number]
        kind = "channels" if old in {channel["name"] for channel in spec["channels"]} else "parameters"
        specs[number] = renamed(spec, **{kind: {old: new}})
    joined = join(specs, poi=reading.poi)
    model = compile_model(joined, allow_negative=reading.allow_negative)
    write_json(out, joined)
    typer.echo(f"{len(model.channels)} channels and {len(model.parameters)} parameters written to {out}")


def _renaming(text: str, number: int) -> tuple[int, str, str]:
    place, _, names = text.partition(":")
    old, _, new = names.partition("=")
    if not (place.isdecimal() and 1 <= int(place) <= number and old and new):
        raise InputError(f"cannot read --rename {text}; expected N:OLD=NEW with N from 1 to {number}")
    return int(place) - 1, old, new


@grouped
def validate(workspace: Workspace, reading: Reading, output: Output) -> None:
    """Check a workspace against the schema and for faults that the schema cannot see, and say what is in it.

    Example: bumpfit validate workspace.json
    """
    check_outputs([workspace, *reading.files], output.out)
    model = reading.model(workspace)
    counts = None if model.observed is None else model.observed
    channels: list[dict[str, Any]] = [
        {
            "name": channel.name,
            "bins": channel.last - channel.first,
            "samples": list(channel.samples),
            "data": None if counts is None else float(counts[channel.first : channel.last].sum()),
            "expected": float(model.expected(model.inits)[channel.first : channel.last].sum()),
        }
        for channel in model.channels
    ]
    kinds = {
        "free": [p.name for p in model.parameters if p.constraint == "none" and not p.fixed],
        "constrained": [p.name for p in model.parameters if p.constraint != "none" and not p.fixed],
        "fixed": [p.name for p in model.parameters if p.fixed],
    }
    result = {
        **provenance("validate", [workspace, *reading.files], reading.given()),
        "valid": True, "poi": model.poi, "channels": channels, "parameters": kinds,
        "settings_without_parameter": list(model.unused),
    }  # fmt: skip

    def show() -> Any:
        rows = [
            [
                c["name"], str(c["bins"]), str(len(c["samples"])), f"{c['expected']:.6g}",
                "—" if c["data"] is None else f"{c['data']:.6g}",
            ]
            for c in channels
        ]  # fmt: skip
        return stacked(
            table("", ["channel", "bins", "samples", "expected at start", "data"], rows),
            pairs([
                ("parameter of interest", model.poi or "none"),
                *((f"{kind} parameters", str(len(names))) for kind, names in kinds.items()),
                *[("settings without a parameter", ", ".join(model.unused))] * bool(model.unused),
            ]),
        )  # fmt: skip

    output.give(result, show, ["the workspace is valid"])


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (build, convert, combine, validate):
        app.command()(command)
