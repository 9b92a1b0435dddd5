"""`bumpfit workspace ...`: look into workspaces, take them apart, compare them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bumpfit.commands.options import Workspace, grouped
from bumpfit.commands.output import Json, Output, Target, check_outputs, provenance, written
from bumpfit.commands.simplify import simplify
from bumpfit.commands.workspaces import combine
from bumpfit.errors import InputError
from bumpfit.pages.terminal import number, pairs, stacked, table
from bumpfit.words import By, Smoothing, Symmetry

if TYPE_CHECKING:
    from bumpfit.workspace.reshape import Changed
    from bumpfit.workspace.survey import Systematic

app = typer.Typer(
    no_args_is_help=True,
    help="Look into a workspace, prune, rename, decorrelate, simplify, sort, digest, compare, combine.",
)

Names = list[str] | None
Background = Annotated[Path, typer.Argument(help="The background-only workspace, HistFactory JSON.")]


def _spec(path: Path) -> dict[str, Any]:
    from bumpfit.files import require
    from bumpfit.workspace.read import read_spec

    return read_spec(require(path))


def _pairs(texts: Names, option: str) -> dict[str, str]:
    """OLD=NEW as a mapping."""
    result: dict[str, str] = {}
    for text in texts or ():
        old, mark, new = text.partition("=")
        if not (old and mark and new) or old in result:
            raise InputError(f"cannot read --{option} {text}; expected OLD=NEW, each OLD once")
        result[old] = new
    return result


@app.command()
@grouped
def inspect(
    workspace: Workspace,
    output: Output,
    systematics: Annotated[
        bool,
        typer.Option("--systematics", help="Each systematic uncertainty, with flags: one-sided, tiny, huge, noisy."),
    ] = False,
    flagged: Annotated[bool, typer.Option("--flagged", help="Only those with a flag.")] = False,
    tiny: Annotated[float, typer.Option(help="Relative effect up to which one is tiny.")] = 0.005,
    huge: Annotated[float, typer.Option(help="Relative effect from which one is huge.")] = 0.5,
    swings: Annotated[float, typer.Option(help="Ups and downs over the bins from which one is noisy.")] = 3.0,
) -> None:
    """What is in a workspace: channels, samples, parameters, measurements, and systematic uncertainties worth a look.

    Example: bumpfit workspace inspect workspace.json --systematics --flagged
    """
    from bumpfit.workspace.survey import Thresholds, survey

    check_outputs([workspace], output.out)
    spec = _spec(workspace)
    wanted = systematics or flagged
    found = survey(spec, Thresholds(tiny=tiny, huge=huge, swings=swings)) if wanted else []
    shown = [s for s in found if s.flags or not flagged]
    result = {**provenance("workspace inspect", [workspace]), **_contents(spec)}
    if wanted:
        result["systematics"] = [s.to_dict() for s in shown]

    def show() -> Any:
        parts = [
            table("", ["channel", "bins", "samples"],
                  [[c["name"], str(c["bins"]), ", ".join(c["samples"])] for c in result["channels"]]),
            table("", ["measurement", "parameter of interest", "settings"],
                  [[m["name"], m["poi"] or "none", str(len(m["parameters"]))] for m in result["measurements"]]),
            table("", ["parameter", "modifiers"], [[n, ", ".join(types)] for n, types in result["modifiers"].items()]),
        ]  # fmt: skip
        return stacked(*parts, *([_systematics(shown)] if wanted else []))

    output.give(result, show)


def _contents(spec: dict[str, Any]) -> dict[str, Any]:
    """Names of all parts of a workspace."""
    kinds: dict[str, set[str]] = {}
    for channel in spec["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                kinds.setdefault(modifier["name"], set()).add(modifier["type"])
    return {
        "channels": [
            {"name": c["name"], "bins": len(c["samples"][0]["data"]), "samples": [s["name"] for s in c["samples"]]}
            for c in spec["channels"]
        ],
        "samples": sorted({s["name"] for c in spec["channels"] for s in c["samples"]}),
        "modifiers": {name: sorted(types) for name, types in sorted(kinds.items())},
        "measurements": [
            {"name": m["name"], "poi": m["config"]["poi"], "parameters": [p["name"] for p in m["config"]["parameters"]]}
            for m in spec.get("measurements", [])
        ],
    }


def _systematics(shown: list[Systematic]) -> Any:
    """A table of systematic uncertainties."""
    rows = [
        [s.parameter, s.channel, s.sample,
         *(number(v, 3) for v in (s.up, s.down, s.largest_up, s.largest_down)), ", ".join(s.flags)]
        for s in shown
    ]  # fmt: skip
    if not shown:
        return "no systematic uncertainty to list"
    head = ["systematic", "channel", "sample", "up", "down", "largest up", "largest down", "flags"]
    return table("relative effect on the integral, and the largest of a bin", head, rows)


@app.command()
def prune(
    workspace: Workspace,
    channel: Annotated[
        Names, typer.Option("-c", "--channel", metavar="CHANNEL", help="Channel to take out; may be repeated.")
    ] = None,
    sample: Annotated[
        Names, typer.Option("-s", "--sample", metavar="SAMPLE", help="Sample, from all channels.")
    ] = None,
    modifier: Annotated[
        Names, typer.Option("-m", "--modifier", metavar="NAME", help="Modifier, from all samples.")
    ] = None,
    modifier_type: Annotated[
        Names, typer.Option("-t", "--modifier-type", metavar="TYPE", help="All modifiers of a type.")
    ] = None,
    measurement: Annotated[Names, typer.Option(metavar="NAME", help="Measurement.")] = None,
    below: Annotated[
        float | None, typer.Option(metavar="EFFECT", help="All systematics without a bin that changes by more.")
    ] = None,
    out: Target = None,
) -> None:
    """Take channels, samples, modifiers or measurements out of a workspace.

    Example: bumpfit workspace prune workspace.json -c CR -m JES -o smaller.json
    """
    from bumpfit.workspace.edit import take_out
    from bumpfit.workspace.survey import without_small

    result = take_out(
        _spec(workspace), channels=channel or (), samples=sample or (), modifiers=modifier or (),
        modifier_types=modifier_type or (), measurements=measurement or (),
    )  # fmt: skip
    if below is not None:
        result, gone = without_small(result, below)
        written(result, out, [workspace])
        for entry in gone:
            typer.echo(f"{entry.parameter} of {entry.sample} in {entry.channel}: {entry.largest_up:+.2g} "
                       f"{entry.largest_down:+.2g}", err=True)  # fmt: skip
        typer.echo(f"{len(gone)} modifiers taken out", err=True)
        return
    written(result, out, [workspace])


@app.command()
def rename(
    workspace: Workspace,
    channel: Annotated[Names, typer.Option("-c", "--channel", metavar="OLD=NEW", help="May be repeated.")] = None,
    sample: Annotated[Names, typer.Option("-s", "--sample", metavar="OLD=NEW", help="May be repeated.")] = None,
    modifier: Annotated[Names, typer.Option("-m", "--modifier", metavar="OLD=NEW", help="May be repeated.")] = None,
    measurement: Annotated[Names, typer.Option(metavar="OLD=NEW", help="May be repeated.")] = None,
    out: Target = None,
) -> None:
    """Rename channels, samples, modifiers (with their parameters) or measurements.

    Example: bumpfit workspace rename workspace.json -m mu=mu_signal -o renamed.json
    """
    from bumpfit.workspace.edit import rename_parts

    result = rename_parts(
        _spec(workspace), channels=_pairs(channel, "channel"), samples=_pairs(sample, "sample"),
        modifiers=_pairs(modifier, "modifier"), measurements=_pairs(measurement, "measurement"),
    )  # fmt: skip
    written(result, out, [workspace])


@app.command()
def decorrelate(
    workspace: Workspace,
    parameter: Annotated[str, typer.Option("-p", "--parameter", metavar="NAME", help="The parameter that is shared.")],
    by: Annotated[By, typer.Option(help="One parameter for each of these.")] = "channel",
    group: Annotated[
        Names, typer.Option(metavar="NAME=PATTERN,...", help="Channels (or samples) that go on sharing one.")
    ] = None,
    correlation: Annotated[
        float | None, typer.Option(help="Correlation of the Gaussian constraints of the new parameters; default: none.")
    ] = None,
    out: Target = None,
) -> None:
    """Split a parameter that channels or samples share into one for each, independent or partly correlated.

    Example: bumpfit workspace decorrelate w.json -p JES --group run2=SR_2016,SR_2017 --correlation 0.5 -o split.json
    """
    from bumpfit.commands.patterns import groups_of
    from bumpfit.workspace import read
    from bumpfit.workspace.decorrelate import decorrelate as split

    check_outputs([workspace], out)
    result = split(_spec(workspace), parameter, by, groups=groups_of(group), correlation=correlation)
    if correlation is not None:
        read(result, poi="", allow_negative=True)  # whose constraints and matrix are looked at
    written(result, out, [workspace])


ChannelLike = Annotated[Names, typer.Option("-c", "--channel", metavar="PATTERN", help="Only these channels.")]
SampleLike = Annotated[Names, typer.Option("-s", "--sample", metavar="PATTERN", help="Only these samples.")]
ModifierLike = Annotated[Names, typer.Option("-m", "--modifier", metavar="PATTERN", help="Only these systematics.")]


@app.command()
def smooth(
    workspace: Workspace,
    method: Annotated[Smoothing, typer.Option(help="How the ratio to the nominal yields is smoothed.")] = "353qh",
    channel: ChannelLike = None,
    sample: SampleLike = None,
    modifier: ModifierLike = None,
    noisy: Annotated[bool, typer.Option("--noisy", help="Only those that inspect flags as noisy.")] = False,
    span: Annotated[float, typer.Option(help="lowess: part of the bins that a line is fitted to.")] = 0.5,
    slopes: Annotated[int, typer.Option(help="trexfitter: changes of slope at most (MAXVARIATION).")] = 4,
    out: Target = None,
) -> None:
    """Smooth systematic shapes; their sums stay. What changed is printed to standard error.

    Example: bumpfit workspace smooth workspace.json --method lowess --noisy -o smooth.json
    """
    from bumpfit.workspace.reshape import Choice, smooth

    check_outputs([workspace], out)
    choice = Choice(channel or (), sample or (), modifier or (), "noisy" if noisy else None)
    result, changed = smooth(_spec(workspace), method, choice, span=span, slopes=slopes)
    written(result, out, [workspace])
    _told(changed)


@app.command()
def symmetrise(
    workspace: Workspace,
    method: Annotated[
        Symmetry,
        typer.Option(
            help="Half the difference, the larger one mirrored, the mean size, or the larger one of each bin."
        ),
    ] = "twosided",
    channel: ChannelLike = None,
    sample: SampleLike = None,
    modifier: ModifierLike = None,
    one_sided: Annotated[bool, typer.Option("--one-sided", help="Only those that inspect flags as one-sided.")] = False,
    out: Target = None,
) -> None:
    """Make systematic shapes and factors symmetric. What changed is printed to standard error.

    Example: bumpfit workspace symmetrise workspace.json --method maximum --one-sided -o symmetric.json
    """
    from bumpfit.workspace.reshape import Choice, symmetrise

    check_outputs([workspace], out)
    choice = Choice(channel or (), sample or (), modifier or (), "one-sided" if one_sided else None)
    result, changed = symmetrise(_spec(workspace), method, choice)
    written(result, out, [workspace])
    _told(changed)


def _told(changed: list[Changed]) -> None:
    """A table of what changed, on standard error."""
    from bumpfit.console import Console

    rows = [
        [
            c.parameter,
            c.channel,
            c.sample,
            *(f"{v:+.4f}" for v in (c.up, c.down, c.new_up, c.new_down)),
            f"{c.most:.4f}",
        ]
        for c in changed
    ]
    head = ["systematic", "channel", "sample", "up", "down", "new up", "new down", "moved"]
    console = Console(stderr=True)
    if rows:
        console.print(table("largest relative effect of a bin before and after, and how far a bin moved", head, rows))
    console.print(f"{len(changed)} systematics changed", markup=False, highlight=False)


@app.command()
def sort(workspace: Workspace, out: Target = None) -> None:
    """Sort channels, samples, modifiers and measurements by name.

    Example: bumpfit workspace sort w.json -o sorted.json
    """
    from bumpfit.workspace.edit import in_order

    written(in_order(_spec(workspace)), out, [workspace])


@app.command()
def digest(
    workspace: Background,
    algorithm: Annotated[Names, typer.Option("-a", "--algorithm", help="May be repeated; default: sha256.")] = None,
    as_json: Json = False,
) -> None:
    """The digest of a workspace's JSON with sorted keys, as patchsets state it; of another format, that of its JSON.

    Example: bumpfit workspace digest w.json
    """
    from bumpfit.files import require
    from bumpfit.foreign import read_json
    from bumpfit.workspace.edit import digest as of

    content = read_json(require(workspace)) if workspace.suffix.lower() == ".json" else _spec(workspace)
    found = {name: of(content, name) for name in algorithm or ["sha256"]}
    Output(None, as_json).give(found, lambda: pairs([(f"{name}:", value) for name, value in found.items()]))


@app.command()
@grouped
def diff(
    first: Workspace,
    second: Annotated[Path, typer.Argument(help="The other workspace.")],
    output: Output,
    tolerance: Annotated[float, typer.Option(help="Relative difference up to which numbers are the same.")] = 1e-9,
) -> None:
    """Where two workspaces differ, whatever the order of their parts. Exit code 1 where they do.

    Example: bumpfit workspace diff before.json after.json
    """
    from bumpfit.workspace.differences import differences

    check_outputs([first, second], output.out)
    found = differences(_spec(first), _spec(second), tolerance)
    result = {
        **provenance("workspace diff", [first, second]),
        "equal": not found, "differences": [d.to_dict() for d in found],
    }  # fmt: skip

    def cell(value: Any) -> str:
        return "—" if value is None else number(value, 10) if isinstance(value, float) else str(value)

    def show() -> Any:
        if not found:
            return "the workspaces are the same"
        return table("", ["place", "first", "second"], [[d.place, cell(d.first), cell(d.second)] for d in found])

    output.give(result, show)
    if found:
        raise typer.Exit(1)


app.command(name="combine")(combine)
app.command()(simplify)


def add_to(application: typer.Typer) -> None:
    """Add the commands of this module."""
    application.add_typer(app, name="workspace")
