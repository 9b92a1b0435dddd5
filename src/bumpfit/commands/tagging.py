"""`bumpfit dataset`, `train` and `metrics`: from events to a trained approach, and on to a likelihood."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bumpfit.commands.options import Seed, grouped
from bumpfit.commands.output import Json, Output, check_outputs, pairs, provenance, stacked, table
from bumpfit.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bumpfit.events.dataset import Dataset
    from bumpfit.results import Limit
    from bumpfit.scoring.merits import Merits
    from bumpfit.scoring.metrics import Merit
    from bumpfit.tagging import Prospects, Setup

Kind = Literal["cuts", "trees", "mlp", "cnn"]
Part = Literal["train", "test", "validation", "all"]
DataFile = Annotated[Path, typer.Argument(metavar="DATASET", help="Data set, as `bumpfit dataset` (or hml) wrote it.")]
Split = Annotated[str, typer.Option(metavar="TRAIN,TEST[,VALIDATION]", help="Fractions of the parts.")]
Bootstrap = Annotated[int, typer.Option(help="Bootstrap replicas for the errors; 0 for none.", min=0)]
Repeated = list[str] | None


@dataclasses.dataclass(frozen=True)
class Likelihood:
    """The step from a score or an observable to a likelihood; any of these options asks for it."""

    workspace: Annotated[
        Path | None, typer.Option(help="Write the HistFactory workspace of the score (or --observable).")
    ] = None
    luminosity: Annotated[float | None, typer.Option(help="Luminosity in fb^-1.")] = None
    luminosity_error: Annotated[float, typer.Option(help="Relative.")] = 0.02
    cross_section: Annotated[
        Repeated, typer.Option(metavar="CLASS=PB", help="Cross-section before cuts; may be repeated.")
    ] = None
    cross_section_error: Annotated[
        Repeated, typer.Option(metavar="CLASS=FRACTION", help="Relative; default: that of --background-error.")
    ] = None
    expected: Annotated[
        Repeated, typer.Option(metavar="CLASS=EVENTS", help="Expected events after cuts, instead of a cross-section.")
    ] = None
    observed: Annotated[
        Path | None, typer.Option(help="Data set of observed events (its classes are not looked at).")
    ] = None
    bins: Annotated[int, typer.Option(help="Bins before sparse ones are joined.", min=1)] = 10
    edges: Annotated[str | None, typer.Option(metavar="E0,E1,...", help="Edges instead.")] = None

    @property
    def wanted(self) -> bool:
        """Whether the step was asked for."""
        asked = (self.workspace, self.luminosity, self.cross_section, self.expected, self.observed)
        return any(option is not None for option in asked)

    @property
    def files(self) -> list[Path]:
        """Files that are read."""
        return [] if self.observed is None else [self.observed]

    def setup(self, signal: str | None, background_error: float) -> Setup:
        """The settings of the step."""
        from bumpfit.tagging import Setup

        return Setup(
            signal=signal,
            luminosity=self.luminosity,
            luminosity_error=self.luminosity_error,
            cross_sections=_numbers("cross-section", self.cross_section),
            cross_section_errors=_numbers("cross-section-error", self.cross_section_error),
            events=_numbers("expected", self.expected),
            background_error=background_error,
            bins=self.bins,
            edges=None if self.edges is None else tuple(_floats("edges", self.edges)),
        )


@grouped
def dataset(
    classes: Annotated[
        list[str],
        typer.Option(
            "--class", metavar="NAME=FILE", help="Events of a class, background first; repeat for more files, classes."
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Data set to write.")],
    observable: Annotated[Repeated, typer.Option(help="Name of an observable, e.g. fatjet0.mass; repeat.")] = None,
    cut: Annotated[Repeated, typer.Option(help="Cut sentence; may be repeated, all must pass.")] = None,
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
    split: Split = "0.7,0.3",
    empty_all: Annotated[bool, typer.Option("--empty-all", help="`all` of an empty list is true in cuts.")] = False,
    tree: Annotated[str | None, typer.Option(help="Tree of ROOT files.")] = None,
    cutflow: Annotated[bool, typer.Option("--cutflow", help="Show the cut flow (reads the events once more).")] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Make a data set for training and testing: events of each class, cuts, observables or images, split in parts.

    Example: bumpfit dataset --class background=qcd.root --class signal=w.root --observable fatjet0.mass
    --observable fatjet0.tau21 --observable jet0,jet1.delta_r --cut 'fatjet.size > 0 and jet.size > 1' -o wtag.ds
    """
    from rich.text import Text

    from bumpfit.events import cutflow as flow
    from bumpfit.events import dataset as sets
    from bumpfit.events import source
    from bumpfit.events.representations import Image

    files: dict[str, list[str]] = {}
    for name, file in (_named("class", text) for text in classes):
        files.setdefault(name, []).append(file)
    check_outputs([Path(file) for entries in files.values() for file in entries], out)
    if (image is None) == (not observable):
        raise InputError("give --observable (one or more) or --image, one of the two")
    fractions = _fractions(split)
    opened = {name: source.open(entries, tree=tree) for name, entries in files.items()}
    weights = {name: _number_or_name(value) for name, value in (_named("weight", text) for text in weight or [])}
    representation: Any = list(observable or [])
    if image is not None:
        size = ((-extent, extent), (-extent, extent))
        drawn = Image(f"{image}.phi", f"{image}.eta", f"{image}.pt").with_subjets(image, "kt", subjet_radius)
        representation = drawn.translate("SubJet0").rotate("SubJet1").pixelate((pixels, pixels), size)
    made = sets.build(opened, representation, cuts=cut or (), weights=weights, empty=empty_all)
    made = made.split(*fractions, seed=seed)
    made.save(out)
    flows = []
    if cutflow and cut:
        flows = [
            flow.cutflow(events, cut, name=name, weights=_flow_weight(weights.get(name)), empty=empty_all)
            for name, events in opened.items()
        ]
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
        shown = table("", ["class", "events", "weight", "passed", "train", "test", "validation"], rows)
        return stacked(shown, Text(flow.text(flows), no_wrap=True, overflow="ignore")) if flows else shown

    notes = [f"{n} events have no {name}" for name, n in _missing(made).items()]
    Output(as_json=as_json).give(result, show, [*notes, f"data set written to {out}"])


@grouped
def train(
    source: DataFile,
    likelihood: Likelihood,
    output: Output,
    approach: Annotated[Kind, typer.Option(help="Approach.")] = "trees",
    setting: Annotated[
        Repeated, typer.Option("--set", metavar="NAME=VALUE", help="Setting of the approach; may be repeated.")
    ] = None,
    model: Annotated[Path | None, typer.Option("-m", "--model", help="Write the trained model.")] = None,
    signal: Annotated[str | None, typer.Option(help="Signal class; default: the last.")] = None,
    background_error: Annotated[float, typer.Option(help="Relative uncertainty of the background.")] = 0.1,
    efficiency: Annotated[
        list[float] | None, typer.Option(help="Signal efficiency of a rejection; default: 0.5 and 0.99.")
    ] = None,
    balance: Annotated[bool, typer.Option(help="Give every class the same total weight in training.")] = True,
    bootstrap: Bootstrap = 100,
    seed: Seed = 0,
) -> None:
    """Train an approach on the training part of a data set, and show its metrics on the test part.

    With --workspace, --luminosity, --cross-section, --expected or --observed it goes on to a likelihood of the score.

    Example: bumpfit train wtag.ds --approach trees -m trees.model --luminosity 139 --cross-section background=600
    --cross-section signal=0.02 --workspace wtag.json
    """
    from bumpfit.events import dataset as sets
    from bumpfit.scoring import CutAndCount, models

    check_outputs([source, *likelihood.files], output.out, model, likelihood.workspace)
    data = sets.read(source)
    if data.part is None:
        raise InputError(f"{source} is not split into training and test events; make it with bumpfit dataset --split")
    made = models.classifier(approach, **_settings(models.CLASSIFIERS[approach], setting))
    trained = models.train(made, data, seed=seed, balance=balance, source=str(source))
    if model is not None:
        trained.save(model)
    head = {
        **provenance("train", [source, *likelihood.files], {"seed": seed, "balance": balance}),
        "approach": approach, "settings": made.get_params(), "model": None if model is None else str(model),
        "cuts": made.sentence(trained.features) if isinstance(made, CutAndCount) else None,
    }  # fmt: skip
    told = [f"cuts: {head['cuts']}"] if head["cuts"] else []
    told += [] if model is None else [f"model written to {model}"]
    _answer(
        trained, data, "test", likelihood, output, head, told, signal, background_error, efficiency, bootstrap, seed
    )


@grouped
def metrics(
    source: DataFile,
    likelihood: Likelihood,
    output: Output,
    model: Annotated[Path | None, typer.Option("-m", "--model", help="Trained model, of `bumpfit train`.")] = None,
    observable: Annotated[
        str | None, typer.Option(help="Go on to a likelihood of this feature of the data set, without a model.")
    ] = None,
    part: Annotated[Part, typer.Option(help="Which events are looked at.")] = "test",
    signal: Annotated[str | None, typer.Option(help="Signal class; default: the last.")] = None,
    background_error: Annotated[float, typer.Option(help="Relative uncertainty of the background.")] = 0.1,
    efficiency: Annotated[
        list[float] | None, typer.Option(help="Signal efficiency of a rejection; default: 0.5 and 0.99.")
    ] = None,
    bootstrap: Bootstrap = 100,
    seed: Seed = 0,
) -> None:
    """Metrics of a trained model on a data set; with a luminosity or expected events also its likelihood.

    Example: bumpfit metrics wtag.ds --model trees.model --luminosity 139 --cross-section background=600
    --cross-section signal=0.02
    """
    from bumpfit.events import dataset as sets
    from bumpfit.scoring import models

    files = [source, *([] if model is None else [model]), *likelihood.files]
    check_outputs(files, output.out, likelihood.workspace)
    if (model is None) == (observable is None):
        raise InputError("give --model or --observable, one of the two")
    data = sets.read(source)
    head = provenance("metrics", files, {"part": part, "seed": seed})
    if model is None:
        assert observable is not None
        if observable not in data.features:
            raise InputError(
                f"the data set has no '{observable}'; its features are {', '.join(data.features) or 'images'}"
            )
        found = _prospects(data, None, observable, part, likelihood, signal, background_error)
        output.give(
            {**head, "likelihood": found.to_dict()}, lambda: _shown(found), [*found.notes, *_written(likelihood)]
        )
        return
    trained = models.read(model)
    if data.part is None and part != "all":
        raise InputError(
            f"{source} is not split; take all its events with --part all, unless the model was trained on them"
        )
    _answer(trained, data, part, likelihood, output, head, [], signal, background_error, efficiency, bootstrap, seed)


def _answer(
    trained: Any,
    data: Dataset,
    part: Part,
    likelihood: Likelihood,
    output: Output,
    head: dict[str, Any],
    told: list[str],
    signal: str | None,
    background_error: float,
    efficiency: list[float] | None,
    bootstrap: int,
    seed: int,
) -> None:
    """Metrics of a part, the likelihood when asked for, and the output of both."""
    from bumpfit.scoring.merits import evaluate

    if data.classes != trained.classes:
        raise InputError(
            f"the model knows the classes {', '.join(trained.classes)}, the data set has {', '.join(data.classes)}"
        )
    chosen = data if part == "all" else data.get(part)
    probabilities = trained.probabilities(chosen)
    found = evaluate(
        chosen.targets, probabilities, chosen.classes, weights=chosen.weights, signal=signal,
        background_error=background_error, efficiencies=efficiency or (0.5, 0.99), bootstrap=bootstrap, seed=seed,
    )  # fmt: skip
    result = {**head, "part": part, "metrics": found.to_dict(), "likelihood": None}
    shown = [_merits(found, part)]
    notes = [*found.notes]
    if likelihood.wanted:
        asked = _prospects(data, trained, "score", part, likelihood, signal, background_error)
        result["likelihood"] = asked.to_dict()
        shown.append(_shown(asked))
        notes += [*asked.notes, *_written(likelihood)]
    output.give(result, lambda: stacked(*shown), [*notes, *told])


def _prospects(
    data: Dataset,
    trained: Any,
    name: str,
    part: Part,
    likelihood: Likelihood,
    signal: str | None,
    background_error: float,
) -> Prospects:
    """The likelihood of a score, or of a feature where there is no model; writes the workspace when asked for."""
    from bumpfit.events import dataset as sets
    from bumpfit.files import write_json
    from bumpfit.tagging import prospects

    label = data.classes[-1] if signal is None else signal
    if label not in data.classes:
        raise InputError(f"there is no class '{label}'; the data set has {', '.join(data.classes)}")

    def value(events: Dataset) -> Any:
        if trained is not None:
            return trained.probabilities(events)[:, data.classes.index(label)]
        if name not in events.features:
            raise InputError(
                f"the observed events have no '{name}'; they have {', '.join(events.features) or 'images'}"
            )
        return events.samples[:, events.features.index(name)]

    seen = None if likelihood.observed is None else value(sets.read(likelihood.observed))
    whole = None if part == "all" or data.part is None else part
    found = prospects(
        data, value(data), likelihood.setup(label, background_error), name=name, part=whole, observed=seen
    )
    if likelihood.workspace is not None:
        write_json(likelihood.workspace, found.workspace)
    return found


def _merits(found: Merits, part: str) -> RenderableType:
    """The table of metrics."""

    def plus(value: float, error: float | None) -> str:
        return f"{value:.4g}" + ("" if error is None else f" ± {error:.2g}")

    def at(merit: Merit) -> list[str]:
        return [
            plus(merit.value, merit.error), f"{merit.threshold:.4g}", f"{merit.signal_efficiency:.4g}",
            f"{merit.background_efficiency:.3g}",
        ]  # fmt: skip

    rows = [
        [name, plus(m.value, m.error), "", "", ""] for name, m in (("accuracy", found.accuracy), ("AUC", found.auc))
    ]
    if found.significance is not None:
        rows.append(["largest S / sqrt(S + B)", *at(found.significance)])
    if found.asimov is not None:
        rows.append([f"largest Asimov Z, background ± {100 * found.background_error:g} %", *at(found.asimov)])
    rows += [[f"rejection at {e}", *at(merit)] for e, merit in found.rejections.items()]
    rows += [[f"rejection of {c} at {e}", *at(m)] for c, each in found.by_class.items() for e, m in each.items()]
    rows += [[f"hml: {name}", f"{value:.4g}", "", "", ""] for name, value in (found.hml or {}).items()]
    events = ", ".join(f"{n} {name}" for name, n in found.events.items())
    return table(f"{part}: {events}", ["metric", "value", "threshold", "signal eff.", "background eff."], rows)


def _shown(found: Prospects) -> RenderableType:
    """Yields a bin, and the answers."""
    rows = [
        [f"{low:.4g} to {high:.4g}", *(f"{y[b]:.4g} ± {found.errors[c][b]:.2g}" for c, y in found.yields.items()),
         f"{found.data[b]:.6g}"]
        for b, (low, high) in enumerate(zip(found.edges, found.edges[1:], strict=False))
    ]  # fmt: skip
    data = "data" if found.has_data else "background (Asimov)"
    answers = [("expected significance", f"{found.expected.z:.3g} (p = {found.expected.p:.3g})")]
    if found.observed is not None:
        fitted = f"mu = {found.observed.mu:.3g}" + (
            "" if found.observed.mu_error is None else f" ± {found.observed.mu_error:.2g}"
        )
        answers.append(("observed significance", f"{found.observed.z:.3g} (p = {found.observed.p:.3g}), {fitted}"))
    answers.append(("95 % CLs limit on mu", _limit(found.limit)))
    return stacked(table(found.channel, ["bin", *found.yields, data], rows), pairs(answers))


def _limit(limit: Limit) -> str:
    numbers = ["-" if value is None else f"{value:.3g}" for value in limit.expected]
    expected = f"expected {numbers[2]} ({numbers[1]} to {numbers[3]} at 1 sigma)"
    return expected if limit.observed is None else f"observed {limit.observed:.3g}, {expected}"


def _written(likelihood: Likelihood) -> list[str]:
    return [] if likelihood.workspace is None else [f"workspace written to {likelihood.workspace}"]


def _named(option: str, text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not name or not mark or not value:
        raise InputError(f"cannot read --{option} {text}; expected NAME=VALUE")
    return name, value


def _numbers(option: str, texts: Sequence[str] | None) -> dict[str, float]:
    found = {}
    for name, value in (_named(option, text) for text in texts or []):
        try:
            found[name] = float(value)
        except ValueError:
            raise InputError(f"cannot read --{option} {name}={value}: '{value}' is no number") from None
    return found


def _floats(option: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"cannot read --{option} {text}; expected numbers with commas between them") from None


def _fractions(text: str) -> tuple[float, float, float]:
    parts = _floats("split", text)
    if len(parts) not in (2, 3):
        raise InputError(f"cannot read --split {text}; expected two or three fractions, as in 0.7,0.3")
    return parts[0], parts[1], parts[2] if len(parts) == 3 else 0.0


def _number_or_name(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _flow_weight(weight: str | float | None) -> str | None:
    return weight if isinstance(weight, str) else None


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


def _settings(approach: Any, texts: Sequence[str] | None) -> dict[str, Any]:
    """Settings of an approach from NAME=VALUE, of the type that the setting has."""
    from bumpfit.scoring.classifier import check_settings

    settings: dict[str, Any] = {}
    for name, value in (_named("set", text) for text in texts or []):
        check_settings(approach, {name: value})
        default = getattr(approach(), name)
        if isinstance(default, str):
            settings[name] = value
            continue
        try:
            read = json.loads(f"[{value}]" if isinstance(default, tuple) and "[" not in value else value)
        except json.JSONDecodeError:
            read = value
        whole = isinstance(read, int) and not isinstance(read, bool)
        fits = {
            "a whole number": isinstance(default, int) and whole,
            "a number": (isinstance(default, float) or default is None) and (whole or isinstance(read, float)),
            "whole numbers with commas between them": isinstance(default, tuple)
            and isinstance(read, list)
            and all(isinstance(entry, int) for entry in read),
        }
        if not any(fits.values()):
            kinds = {int: "a whole number", tuple: "whole numbers with commas between them"}
            wanted = kinds.get(type(default), "a number")
            raise InputError(f"cannot read --set {name}={value}; expected {wanted}")
        settings[name] = tuple(read) if isinstance(default, tuple) else read
    return settings


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (dataset, train, metrics):
        app.command()(command)
