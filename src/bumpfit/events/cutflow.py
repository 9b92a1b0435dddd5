"""Cut flow and N-1 tables of one or several samples, counted and weighted, as text, HTML or numbers for a figure."""

from __future__ import annotations

import dataclasses
import html as markup
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.console import printable
from bumpfit.errors import InputError
from bumpfit.events import cuts as language
from bumpfit.events import names, opening
from bumpfit.events.arrays import ak
from bumpfit.events.observables import evaluate
from bumpfit.events.ranges import Range, over_ranges, picklable
from bumpfit.events.source import Chunk, Source
from bumpfit.progress import bar
from bumpfit.results import Record

PB_PER_FB = 1000.0  # a cross-section in pb times a luminosity in fb^-1


@dataclasses.dataclass(frozen=True, eq=False)
class Step(Record):
    """Events left after a cut and all before it (`events`, `weighted` with its statistical error), and its effect.

    `efficiency` is the weighted fraction of the step before, `total_efficiency` of all events; `others` and
    `others_weighted` are what passes all cuts but this one (N-1), `alone` the fraction of those that passes it too.
    Fractions of nothing, and of weights whose sum is not positive, are None; with weights of both signs the others may
    be negative or above 1.
    """

    cut: str
    sentence: str
    events: int
    weighted: float
    error: float
    efficiency: float | None
    total_efficiency: float | None
    others: int
    others_weighted: float
    alone: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class CutFlow(Record):
    """The cut flow of one sample: all events, and a step for every cut; `scale` says what a weight of one event is."""

    name: str
    events: int
    weighted: float
    error: float
    steps: tuple[Step, ...]
    scale: str

    def bars(self) -> tuple[list[str], list[float], list[float]]:
        """Labels, weighted events and errors of the steps, the first for all events: the data of a figure."""
        return (
            ["all", *(step.cut for step in self.steps)],
            [self.weighted, *(step.weighted for step in self.steps)],
            [self.error, *(step.error for step in self.steps)],
        )


def cutflow(
    events: Source | Any,
    cuts: str | Sequence[str] | Mapping[str, str],
    *,
    name: str = "events",
    weights: str | float | NDArray[np.float64] | None = None,
    cross_section: float | None = None,
    luminosity: float | None = None,
    empty: bool = False,
    executor: Executor | None = None,
) -> CutFlow:
    """Apply cuts one after the other.

    Args:
        events: what `bumpfit.events.open` returned or takes; read in chunks.
        cuts: cut sentences (or one), or a mapping from short labels to sentences.
        name: what the sample is called.
        weights: name of an observable or column, one weight for all, or one an event; 1 by default.
        cross_section: of the sample in pb; needs `luminosity`.
        luminosity: in fb^-1; event weights are then scaled by cross-section x luminosity / sum of weights.
        empty: what `all` of an empty list is.
        executor: read files on this executor (`clusters.dask_executor`), whose workers reach them under the same names;
            frames, and weights that are an array, are read here. No number depends on it.

    Raises:
        InputError: no cuts, a wrong sentence, weights that are not finite, a sum of weights that is not positive with a
            cross-section.

    Examples:
        >>> from bumpfit.events import cutflow
        >>> flow = cutflow.cutflow({"pt": [12.0, 45.0, 80.0]}, ["pt > 30", "pt > 60"])
        >>> [step.events for step in flow.steps]
        [2, 1]
    """
    single = [cuts] if isinstance(cuts, str) else list(cuts)
    twice = [cut for place, cut in enumerate(single) if cut in single[:place]]
    if twice:
        raise InputError(f"the cut '{twice[0]}' is given twice; give it once, or a mapping from labels to sentences")
    sentences = dict(cuts) if isinstance(cuts, Mapping) else {cut: cut for cut in single}
    if not sentences:
        raise InputError("a cut flow needs at least one cut")
    for sentence in sentences.values():
        language.compile(sentence, empty=empty)  # refused before anything is opened
    opened = events if isinstance(events, Source) else opening.open(events)
    if (cross_section is None) != (luminosity is None):
        raise InputError("a cross-section (pb) and a luminosity (fb^-1) are needed together, got one of them")
    for quantity, value in (("cross-section", cross_section), ("luminosity", luminosity)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"the {quantity} is {value}; expected a positive number")
    flow, others = np.zeros((len(sentences) + 1, 3)), np.zeros((len(sentences), 2))  # events, sum w, sum w^2
    asked = _Asked(tuple(sentences.values()), weights, empty)
    with bar(f"cut flow of {name}", len(opened)) as advance:
        for events_read, (mine, rest) in over_ranges(_count, opened, asked, executor if picklable(weights) else None):
            flow += mine
            others += rest
            advance(events_read)
    scale = 1.0
    if cross_section is not None and luminosity is not None:
        if not flow[0, 1] > 0:
            raise InputError(
                f"{opened.label} cannot be scaled to a cross-section: the weights of its {flow[0, 0]:.0f} events "
                f"sum to {flow[0, 1]:g}; expected a positive sum"
            )
        scale = cross_section * luminosity * PB_PER_FB / flow[0, 1]
    return _record(name, sentences, flow, others, scale, weights is not None, cross_section, luminosity)


@dataclasses.dataclass(frozen=True, eq=False)
class _Asked:
    """What is counted in a range of events."""

    sentences: tuple[str, ...]
    weights: str | float | NDArray[np.float64] | None
    empty: bool


def _count(events: Range[_Asked]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Events, sum of weights and of their squares after each cut; events and sum of weights of N-1."""
    asked = events.what
    compiled = [language.compile(sentence, empty=asked.empty) for sentence in asked.sentences]
    n = len(compiled)
    flow, others = np.zeros((n + 1, 3)), np.zeros((n, 2))
    for chunk in events.chunks():
        weight = event_weights(chunk, asked.weights)
        passed = np.array([cut(chunk) for cut in compiled]).reshape(n, len(chunk))
        kept = np.ones(len(chunk), bool)
        for place in range(n + 1):
            if place:
                kept = kept & passed[place - 1]
            flow[place] += (kept.sum(), weight[kept].sum(), (weight[kept] ** 2).sum())
        for place in range(n):
            rest = np.delete(passed, place, axis=0).all(axis=0)
            others[place] += (rest.sum(), weight[rest].sum())
    return flow, others


def event_weights(chunk: Chunk, weights: str | NDArray[np.float64] | float | None) -> NDArray[np.float64]:
    """One weight an event of a chunk: a number, an array for the whole source, or the name of an observable.

    Raises:
        InputError: not one value an event, or not finite.
    """
    if weights is None or isinstance(weights, int | float):
        value = np.full(len(chunk), 1.0 if weights is None else float(weights))
    elif isinstance(weights, str):
        array, axes = evaluate(names.parse(weights), chunk, flatten_once=True)
        if axes:
            raise InputError(
                f"the weight '{weights}' is a list in every event; expected one value, as in event0.weight"
            )
        value = np.asarray(ak.to_numpy(ak.fill_none(array, np.nan)), dtype=np.float64)
    else:
        try:
            whole = np.asarray(weights, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"the weights are no numbers ({error}); expected one for each event, or a name") from error
        if whole.shape != (len(chunk.source),):
            raise InputError(f"the weights have the shape {whole.shape}; expected one for each of {len(chunk.source)}")
        value = whole[chunk.start : chunk.stop]
    bad = ~np.isfinite(value)
    if bad.any():
        first = int(np.argmax(bad))
        raise InputError(
            f"{bad.sum()} of {len(value)} weights are not finite in the events {chunk.start} to "
            f"{chunk.stop - 1} (first at event {chunk.start + first}: {value[first]}); expected finite ones"
        )
    return value


def text(flows: CutFlow | Sequence[CutFlow], *, n_minus_1: bool = False) -> str:
    """The table of one or more samples with the same cuts, in aligned columns."""
    rows = _rows(flows, n_minus_1)
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def html(flows: CutFlow | Sequence[CutFlow], *, n_minus_1: bool = False) -> str:
    """The same table as an HTML `<table>`."""
    head, *body = _rows(flows, n_minus_1)
    lines = "\n".join(f"<tr>{_cells(row, 'td')}</tr>" for row in body)
    return (
        f'<table class="cutflow">\n<thead><tr>{_cells(head, "th")}</tr></thead>\n<tbody>\n{lines}\n</tbody>\n</table>'
    )


def _record(
    name: str,
    sentences: Mapping[str, str],
    flow: NDArray[np.float64],
    others: NDArray[np.float64],
    scale: float,
    weighted: bool,
    cross_section: float | None,
    luminosity: float | None,
) -> CutFlow:
    steps = tuple(
        Step(
            cut=label,
            sentence=sentence,
            events=int(flow[place + 1, 0]),
            weighted=float(flow[place + 1, 1] * scale),
            error=float(np.sqrt(flow[place + 1, 2]) * scale),
            efficiency=_ratio(flow[place + 1, 1], flow[place, 1]),
            total_efficiency=_ratio(flow[place + 1, 1], flow[0, 1]),
            others=int(others[place, 0]),
            others_weighted=float(others[place, 1] * scale),
            alone=_ratio(flow[-1, 1], others[place, 1]),
        )
        for place, (label, sentence) in enumerate(sentences.items())
    )
    said = "event weights" if weighted else "one"
    if cross_section is not None:
        said += f", scaled to {cross_section:g} pb x {luminosity:g} fb^-1"
    return CutFlow(name, int(flow[0, 0]), float(flow[0, 1] * scale), float(np.sqrt(flow[0, 2]) * scale), steps, said)


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None


def _rows(flows: CutFlow | Sequence[CutFlow], n_minus_1: bool) -> list[list[str]]:
    samples = [flows] if isinstance(flows, CutFlow) else list(flows)
    if not samples:
        raise InputError("there is no cut flow to write")
    labels = [step.cut for step in samples[0].steps]
    if any([step.cut for step in sample.steps] != labels for sample in samples):
        raise InputError("the samples were cut differently; expected the same cuts in the same order")
    weighted = any(sample.scale != "one" for sample in samples)
    head = ["all cuts but this one" if n_minus_1 else "cut"]
    rows = [[label] for label in labels] if n_minus_1 else [["all"], *([label] for label in labels)]
    for sample in samples:
        if n_minus_1:
            head += [f"{sample.name}: events", *(["weighted"] if weighted else []), "passes"]
            for row, step in zip(rows, sample.steps, strict=True):
                row += [str(step.others), *([_number(step.others_weighted)] if weighted else []), _percent(step.alone)]
            continue
        head += [f"{sample.name}: events", *(["weighted"] if weighted else []), "step", "total"]
        everything = [f"{_number(sample.weighted)} +- {_number(sample.error)}"] if weighted else []
        rows[0] += [str(sample.events), *everything, "", ""]
        for row, step in zip(rows[1:], sample.steps, strict=True):
            value = [f"{_number(step.weighted)} +- {_number(step.error)}"] if weighted else []
            row += [str(step.events), *value, _percent(step.efficiency), _percent(step.total_efficiency)]
    return [head, *rows]


def _cells(row: Sequence[str], tag: str) -> str:
    return "".join(f"<{tag}>{markup.escape(printable(cell))}</{tag}>" for cell in row)


def _number(value: float) -> str:
    return f"{value:.5g}" if abs(value) < 1e5 else f"{value:.0f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"
