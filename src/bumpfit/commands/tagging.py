"""`bumpfit train` and `metrics`: from a data set to a trained approach, its metrics, and on to a likelihood."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bumpfit.commands.options import Seed, grouped
from bumpfit.commands.output import Drawing, Output, Page, check_outputs, provenance
from bumpfit.commands.tagging_data import dataset
from bumpfit.commands.tagging_options import Judging, Likelihood, Repeated, settings
from bumpfit.errors import InputError
from bumpfit.pages.terminal import stacked

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bumpfit.events.dataset import Dataset
    from bumpfit.scoring.merits import Merits
    from bumpfit.tagging import Prospects, Variation

Kind = Literal["cuts", "trees", "forest", "extra_trees", "mlp", "cnn", "average"]
Part = Literal["train", "test", "validation", "all"]
DataFile = Annotated[Path, typer.Argument(metavar="DATASET", help="Data set, as `bumpfit dataset` (or hml) wrote it.")]


@grouped
def train(
    source: DataFile,
    judging: Judging,
    likelihood: Likelihood,
    output: Output,
    drawing: Drawing,
    approach: Annotated[Kind, typer.Option(help="Approach.")] = "trees",
    setting: Annotated[
        Repeated, typer.Option("--set", metavar="NAME=VALUE", help="Setting of the approach; may be repeated.")
    ] = None,
    model: Annotated[Path | None, typer.Option("-m", "--model", help="Write the trained model.")] = None,
    balance: Annotated[bool, typer.Option(help="Give every class the same total weight in training.")] = True,
    negative_weights: Annotated[
        Literal["refuse", "absolute"],
        typer.Option(help="Training on negative weights: refused, or by their absolute value."),
    ] = "refuse",
    seed: Seed = 0,
) -> None:
    """Train an approach on the training part of a data set, and show its metrics on the test part.

    With --workspace, --luminosity, --cross-section, --expected, --observed, --variation or --scale it goes on to a
    likelihood of the score. --figure draws score, significance over threshold, and ROC curve.

    Example: bumpfit train wtag.ds --approach trees -m trees.model --luminosity 139 --cross-section background=600
    --cross-section signal=0.02 --workspace wtag.json --figure trees.png
    """
    from bumpfit.events import dataset as sets
    from bumpfit.scoring import CutAndCount, models, registry

    files = [source, *likelihood.files]
    check_outputs(files, output.out, model, drawing.figure, *likelihood.outputs)
    drawing.check()
    data = sets.read(source)
    if data.part is None:
        raise InputError(f"{source} is not split into training and test events; make it with bumpfit dataset --split")
    made = registry.approach(approach, **settings(registry.APPROACHES[approach], setting))
    likelihood.check(data, judging.check(data), judging.background_error)
    trained = models.train(made, data, seed=seed, balance=balance, source=str(source), negative=negative_weights)
    head = {
        **provenance("train", files, {"seed": seed, "balance": balance, "negative_weights": negative_weights}),
        "approach": approach, "settings": made.get_params(), "model": None if model is None else str(model),
        "cuts": made.sentence(trained.features) if isinstance(made, CutAndCount) else None,
    }  # fmt: skip
    told = [] if head["cuts"] is None else [f"cuts: {head['cuts'] or 'none, as no cut adds enough significance'}"]
    signed = trained.provenance["negative_weights"]
    if signed is not None:
        told.append(f"the training took the absolute value of the weights: {signed['events']} of them are negative")
    if model is not None:
        trained.save(model)
        told.append(f"model written to {model}")
    _answer(trained, data, "test", judging, likelihood, output, drawing, Page(), head, told, seed)


@grouped
def metrics(
    source: DataFile,
    judging: Judging,
    likelihood: Likelihood,
    output: Output,
    drawing: Drawing,
    page: Page,
    model: Annotated[Path | None, typer.Option("-m", "--model", help="Trained model, of `bumpfit train`.")] = None,
    observable: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Go on to a likelihood of this feature of the data set, without a model."),
    ] = None,
    part: Annotated[Part, typer.Option(help="Which events are looked at.")] = "test",
    seed: Seed = 0,
) -> None:
    """Metrics of a trained model on a data set; with a luminosity or expected events also its likelihood.

    Example: bumpfit metrics wtag.ds --model trees.model --luminosity 139 --cross-section background=600
    --cross-section signal=0.02 --template-figure score.png
    """
    from bumpfit.events import dataset as sets
    from bumpfit.scoring import models

    files = [source, *([] if model is None else [model]), *likelihood.files]
    check_outputs(files, output.out, drawing.figure, *page.files, *likelihood.outputs)
    drawing.check()
    if (model is None) == (observable is None):
        raise InputError("give --model or --observable, one of the two")
    if observable is not None and drawing.figure is not None:
        raise InputError("--figure draws a score, and --observable has none; --template-figure draws its histogram")
    data = sets.read(source)
    head = provenance("metrics", files, {"part": part, "seed": seed})
    likelihood.check(data, judging.check(data), judging.background_error)
    if model is None:
        assert observable is not None
        if observable not in data.features:
            raise InputError(
                f"the data set has no '{observable}'; its features are {', '.join(data.features) or 'images'}"
            )
        found = _prospects(data, None, observable, part, judging, likelihood)
        result = {**head, "likelihood": found.to_dict()}
        _page(page, None, found, result, {"templates": partial(_templates, found, observable)}, [*found.notes])
        output.give(result, lambda: _table(found), [*found.notes, *likelihood.written])
        return
    trained = models.read(model)
    if data.part is None and part != "all":
        raise InputError(
            f"{source} is not split; take all its events with --part all, unless the model was trained on them"
        )
    _answer(trained, data, part, judging, likelihood, output, drawing, page, head, [], seed)


def _answer(
    trained: Any,
    data: Dataset,
    part: Part,
    judging: Judging,
    likelihood: Likelihood,
    output: Output,
    drawing: Drawing,
    page: Page,
    head: dict[str, Any],
    told: list[str],
    seed: int,
) -> None:
    """Metrics of a part, the likelihood when asked for, and the output of both."""
    from bumpfit.pages import tagging as show
    from bumpfit.scoring.merits import evaluate

    if data.classes != trained.classes:
        raise InputError(
            f"the model knows the classes {', '.join(trained.classes)}, the data set has {', '.join(data.classes)}"
        )
    chosen = data if part == "all" else data.get(part)
    told = [*told, *_seen(trained, chosen, part)]
    probabilities = trained.probabilities(chosen)
    found = evaluate(
        chosen.targets, probabilities, chosen.classes, weights=chosen.weights, signal=judging.signal,
        background_error=judging.background_error, efficiencies=judging.efficiency or (0.5, 0.99),
        bootstrap=judging.bootstrap, seed=seed, merit=judging.merit,
    )  # fmt: skip
    result = {**head, "part": part, "metrics": found.to_dict(), "likelihood": None}
    shown = [show.merits(found, part)]
    notes = [*found.notes]
    draw = {"performance": partial(_performance, chosen, probabilities, found)}
    asked = None
    if likelihood.wanted:
        asked = _prospects(data, trained, "score", part, judging, likelihood)
        result["likelihood"] = asked.to_dict()
        shown.append(show.likelihood(asked))
        notes += asked.notes
        draw["templates"] = partial(_templates, asked, "score")
    _page(page, found, asked, result, draw, [*notes, *told])
    told = [*told, *likelihood.written]
    if drawing.figure is not None:
        drawing.draw(draw["performance"])
        told = [*told, f"figure written to {drawing.figure}"]
    output.give(result, lambda: stacked(*shown), [*notes, *told])


def _seen(trained: Any, chosen: Dataset, part: Part) -> list[str]:
    """A note that events trained the model; an error where the part should hold none of them."""
    found = ", ".join(f"{n} events of '{name}'" for name, n in trained.trained_on(chosen).items())
    if not found:
        return []
    if part in ("test", "validation"):
        raise InputError(
            f"{found} in the {part} part trained the model, so they would look better separated than others; take the "
            "data set that it was trained on, or make this one with bumpfit dataset --split-as"
        )
    return [f"{found} trained the model: what is shown is better than it would be for others"]


def _page(
    page: Page,
    found: Merits | None,
    asked: Prospects | None,
    result: dict[str, Any],
    draw: Mapping[str, Callable[[], Figure]],
    notes: list[str],
) -> None:
    """The report, when it was asked for."""
    if page.report is not None:
        from bumpfit.pages.metrics_report import document

        name, figures = Path(result["inputs"][0]["path"]).name, {key: make() for key, make in draw.items()}
        page.write(lambda: document(found, asked, name, result, figures, notes))


def _performance(chosen: Dataset, probabilities: Any, found: Merits) -> Figure:
    """The figure of a score."""
    from bumpfit.pages.terminal import measured
    from bumpfit.report.classifiers import performance
    from bumpfit.scoring.curves import curves

    score = probabilities[:, chosen.classes.index(found.signal)]
    lines = curves(
        chosen.targets, score, chosen.classes, weights=chosen.weights, signal=found.signal,
        background_error=found.background_error,
    )  # fmt: skip
    largest = {"significance": found.significance, "asimov": found.asimov}
    marked = {name: merit for name, merit in largest.items() if merit is not None}
    return performance(lines, marked, f"AUC {measured(found.auc.value, found.auc.error)}")


def _templates(found: Prospects, name: str) -> Figure:
    """The histogram of a likelihood."""
    from bumpfit.report.classifiers import templates

    data = found.data if found.has_data else None
    return templates(found.edges, found.yields, found.errors, found.signal, name, data=data, variations=found.totals())


def _prospects(
    data: Dataset, trained: Any, name: str, part: Part, judging: Judging, likelihood: Likelihood
) -> Prospects:
    """The likelihood of a score, or of a feature where there is no model; writes its files when asked for."""
    from bumpfit.events import dataset as sets
    from bumpfit.files import write_json
    from bumpfit.tagging import Variation, Varied, prospects, scaled

    label = judging.check(data)

    def value(events: Dataset, what: str = "the data set has") -> Any:
        if trained is not None:
            return trained.probabilities(events)[:, data.classes.index(label)]
        if name not in events.features:
            raise InputError(f"{what} no '{name}'; the features are {', '.join(events.features) or 'images'}")
        return events.samples[:, events.features.index(name)]

    def varied(events: Dataset) -> Varied:
        return Varied(events, value(events, "a varied data set has"))

    told: list[str] = []
    seen = None
    if likelihood.observed is not None:
        events = sets.read(likelihood.observed)
        seen = value(events, "the observed events have")
        told += _other_cuts(data, events, "the observed events")
        if trained is not None:
            told += [
                f"{n} observed events ('{label}') trained the model" for label, n in trained.trained_on(events).items()
            ]
    variations: dict[str, Variation] = {}
    for title, files in likelihood.varied.items():
        made = [sets.read(file) for file in files]
        told += [
            note for events in made for note in _other_cuts(data, events, f"the events of the variation '{title}'")
        ]
        variations[title] = Variation(*(varied(events) for events in made))
    for feature, error in likelihood.scales.items():
        variations[f"scale_{feature}"] = Variation(*(varied(scaled(data, feature, 1 + d)) for d in (error, -error)))
    found = prospects(
        data, value(data), likelihood.setup(label, judging.background_error), name=name,
        part=None if part == "all" or data.part is None else part, observed=seen, variations=variations,
    )  # fmt: skip
    if likelihood.workspace is not None:
        write_json(likelihood.workspace, found.workspace)
    if likelihood.template_figure is not None:
        Drawing(likelihood.template_figure).draw(partial(_templates, found, name))
    return dataclasses.replace(found, notes=(*found.notes, *dict.fromkeys(told)))


def _other_cuts(data: Dataset, other: Dataset, who: str) -> list[str]:
    """A note where events passed other cuts than those of the data set."""
    mine, theirs = (each.provenance.get("cuts") for each in (data, other))
    if mine is None or theirs is None or list(mine) == list(theirs):
        return []
    return [f"{who} passed other cuts ({'; '.join(theirs) or 'none'}) than the data set ({'; '.join(mine) or 'none'})"]


def _table(found: Prospects) -> Any:
    from bumpfit.pages.tagging import likelihood

    return likelihood(found)


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (dataset, train, metrics):
        app.command()(command)
