"""`bumpfit dataset`: events of each class, cut, turned into observables or images, and split into parts."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bumpfit.commands.options import Dask, Seed, Workers, grouped
from bumpfit.commands.output import Drawing, Json, Output, check_outputs
from bumpfit.commands.tagging_options import Repeated, floats, named, numbers
from bumpfit.errors import InputError
from bumpfit.pages.terminal import stacked, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bumpfit.events.dataset import Dataset

Split = Annotated[
    str | None,
    typer.Option(metavar="TRAIN,TEST[,VALIDATION]", help="Fractions of the parts.", show_default="0.7,0.3"),
]


@grouped
def dataset(
    classes: Annotated[
        list[str],
        typer.Option(
            "--class", metavar="NAME=FILE", help="Events of a class, background first; repeat for more files, classes."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Data set to write.")],
    observable: Annotated[
        Repeated, typer.Option(metavar="NAME", help="Name of an observable, e.g. fatjet0.mass; repeat.")
    ] = None,
    cut: Annotated[Repeated, typer.Option(metavar="CUT", help="Cut sentence; may be repeated, all must pass.")] = None,
    weight: Annotated[
        Repeated, typer.Option(metavar="CLASS=NUMBER|OBSERVABLE", help="Event weight of a class; default 1.")
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="CONSTITUENTS",
            help="Images of these objects instead of observables: moved to the hardest kT subjet, turned until the "
            "second lies below it.",
        ),
    ] = None,
    pixels: Annotated[int, typer.Option(help="Rows and columns of an image.", min=1)] = 33,
    extent: Annotated[float, typer.Option(help="An image reaches from minus to plus this in eta and phi.")] = 1.6,
    subjet_radius: Annotated[float, typer.Option(help="Radius of the subjets.")] = 0.3,
    split: Split = None,
    split_as: Annotated[
        Path | None,
        typer.Option(metavar="DATASET", help="Events into the parts that they have there (a variation of its events)."),
    ] = None,
    empty_all: Annotated[bool, typer.Option("--empty-all", help="`all` of an empty list is true in cuts.")] = False,
    tree: Annotated[str | None, typer.Option(metavar="NAME", help="Tree of ROOT files.")] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the observables, or mean images, of each class.")
    ] = None,
    cutflow: Annotated[
        bool, typer.Option("--cutflow", help="Show the cut flow and N-1 tables (reads the events once more).")
    ] = False,
    cutflow_figure: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the cut flow and N-1 (png, pdf or svg).")
    ] = None,
    cutflow_html: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write the cut flow and N-1 tables as HTML.")
    ] = None,
    luminosity: Annotated[
        float | None, typer.Option(help="Luminosity in fb^-1 that the cut flow is scaled to.")
    ] = None,
    cross_section: Annotated[
        Repeated, typer.Option(metavar="CLASS=PB", help="Cross-section before cuts, for the cut flow; repeat.")
    ] = None,
    workers: Workers = None,
    dask: Dask = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Make a data set for training and testing: events of each class, cuts, observables or images, split in parts.

    Example: bumpfit dataset --class background=qcd.root --class signal=w.root --observable fatjet0.mass
    --observable fatjet0.tau21 --observable jet0,jet1.delta_r --cut 'fatjet.size > 0 and jet.size > 1' -o wtag.ds
    """
    from bumpfit.clusters import pool
    from bumpfit.events import cutflow as flow
    from bumpfit.events import dataset as sets
    from bumpfit.events import opening
    from bumpfit.events.representations import Image
    from bumpfit.files import write_text

    files: dict[str, list[str]] = {}
    for name, file in (named("class", text) for text in classes):
        files.setdefault(name, []).append(file)
    inputs = [Path(file) for entries in files.values() for file in entries]
    check_outputs([*inputs, *([] if split_as is None else [split_as])], out, figure, cutflow_figure, cutflow_html)
    for picture in (figure, cutflow_figure):
        Drawing(picture).check()
    if (image is None) == (not observable):
        raise InputError("give --observable (one or more) or --image, one of the two")
    if split is not None and split_as is not None:
        raise InputError("give --split or --split-as, one of the two")
    if not (extent > 0 and math.isfinite(extent)):
        raise InputError(f"--extent is {extent:g}; expected a positive number")
    fractions = _fractions(split or "0.7,0.3")
    wanted = cutflow or cutflow_figure is not None or cutflow_html is not None
    sections = numbers("cross-section", cross_section)
    _check_flow(wanted, cut, sections, luminosity, list(files))
    nominal = None if split_as is None else sets.read(split_as)
    opened = {name: opening.open(entries, tree=tree) for name, entries in files.items()}
    weights: dict[str, str | float] = {}
    for name, value in (named("weight", text) for text in weight or []):
        if name in weights:
            raise InputError(f"--weight {name} is given twice; give it once")
        weights[name] = _number_or_name(value)
    representation: Any = list(observable or [])
    if image is not None:
        size = ((-extent, extent), (-extent, extent))
        made_of = Image(f"{image}.phi", f"{image}.eta", f"{image}.pt").with_subjets(image, "kt", subjet_radius)
        representation = made_of.translate("SubJet0").rotate("SubJet1").pixelate((pixels, pixels), size)
    with pool(workers, dask) as executor:
        made = sets.build(opened, representation, cuts=cut or (), weights=weights, empty=empty_all, executor=executor)
        flows = [
            flow.cutflow(
                events, cut or (), name=name, weights=weights.get(name), cross_section=sections.get(name),
                luminosity=luminosity if name in sections else None, empty=empty_all, executor=executor,
            )
            for name, events in opened.items() if wanted
        ]  # fmt: skip
    made = made.split(*fractions, seed=seed) if nominal is None else made.split_as(nominal, seed=seed)
    made.save(out)
    Drawing(figure).draw(made.plot)
    if cutflow_figure is not None:
        from bumpfit.report.cutflows import cut_flow

        Drawing(cutflow_figure).draw(lambda: cut_flow(flows))
    if cutflow_html is not None:
        write_text(cutflow_html, "\n".join(flow.html(flows, n_minus_1=rest) for rest in (False, True)) + "\n")
    counts = {
        name: {
            **{key: made.provenance["classes"][name][key] for key in ("events", "weight", "passed")},
            **{part: _count(made, number, part) for part in sets.PARTS},
        }
        for number, name in enumerate(made.classes)
    }
    result = {
        "command": "dataset", **made.provenance, "out": str(out), "features": list(made.features),
        "shape": list(made.samples.shape), "counts": counts, "missing": _missing(made),
        "cutflow": [entry.to_dict() for entry in flows],
    }  # fmt: skip
    rows = [[name, *(f"{value:.10g}" for value in entry.values())] for name, entry in counts.items()]

    def show() -> RenderableType:
        from bumpfit.pages.tagging import cut_flow as cut_flow_table

        shown = table("", ["class", "events", "weight", "passed", "train", "test", "validation"], rows)
        return stacked(shown, *(cut_flow_table(entry) for entry in flows))

    notes = [f"{n} events have no {name}" for name, n in _missing(made).items()]
    notes += [
        f"{path} is given {inputs.count(path)} times: its events count as often"
        for path in dict.fromkeys(inputs)
        if inputs.count(path) > 1
    ]
    written = {"data set": out, "figure": figure, "figure of the cut flow": cutflow_figure, "cut flow": cutflow_html}
    notes += [f"{what} written to {path}" for what, path in written.items() if path is not None]
    Output(as_json=as_json).give(result, show, notes)


def _check_flow(
    wanted: bool, cut: list[str] | None, sections: dict[str, float], luminosity: float | None, classes: list[str]
) -> None:
    """Raise InputError for a cut flow that cannot be made, before anything is read."""
    if wanted and not cut:
        raise InputError("there is no --cut to make a cut flow of")
    if (sections or luminosity is not None) and not wanted:
        raise InputError("--luminosity and --cross-section scale the cut flow; ask for it with --cutflow")
    if bool(sections) != (luminosity is not None):
        raise InputError("a cross-section (pb) and a luminosity (fb^-1) are needed together, got one of them")
    for name in classes if sections else ():
        if name not in sections:
            raise InputError(f"there is no --cross-section of '{name}'; a scaled cut flow needs that of every class")
    for name in sections:
        if name not in classes:
            raise InputError(f"there is a cross-section for '{name}'; the classes are {', '.join(classes)}")


def _fractions(text: str) -> tuple[float, float, float]:
    parts = floats("split", text)
    if len(parts) not in (2, 3):
        raise InputError(f"cannot read --split {text}; expected two or three fractions, as in 0.7,0.3")
    return parts[0], parts[1], parts[2] if len(parts) == 3 else 0.0


def _number_or_name(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _count(made: Dataset, number: int, part: str) -> int:
    from bumpfit.events.dataset import PARTS

    assert made.part is not None
    return int(((made.targets == number) & (made.part == PARTS.index(part))).sum())


def _missing(made: Dataset) -> dict[str, int]:
    import numpy as np

    if made.samples.ndim != 2:
        return {}
    counts = np.isnan(made.samples).sum(axis=0)
    return {name: int(n) for name, n in zip(made.features, counts, strict=True) if n}
