"""The report of a classifier: its figures of merit, score and ROC curve, and, when asked for, its likelihood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bumpfit.pages.origin import made
from bumpfit.pages.terminal import measured, number
from bumpfit.report.document import Block, Document, Heading, Table, Verdict, verbatim
from bumpfit.report.embedded import embedded
from bumpfit.report.rounding import count, probability, relation, significant, z_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bumpfit.scoring.merits import Measure, Merits
    from bumpfit.scoring.metrics import Merit
    from bumpfit.tagging import Prospects

METHOD = (
    "Accuracy, AUC, rejections and significances are exact over all thresholds and weighted; errors come from a "
    "Poisson bootstrap of the events. Z_{A} is the Asimov significance with an uncertain background (Cowan, Cranmer, "
    "Gross, Vitells, Eur. Phys. J. C 71 (2011) 1554)."
)
LIKELIHOOD = " Expected results come from Asimov data and asymptotic formulae of the same paper."


def document(
    merits: Merits | None,
    asked: Prospects | None,
    name: str,
    result: Mapping[str, Any],
    figures: Mapping[str, Figure],
    notes: Sequence[str],
) -> Document:
    """The report as data.

    Args:
        merits: of a model; None where an observable stands for a score.
        asked: the likelihood, when it was asked for.
        name: of the data set.
        result: what the command gives as JSON.
        figures: "performance" of the model and "templates" of the likelihood.
        notes: what the command says besides.
    """
    blocks: list[Block] = [_answer(merits, asked)]
    if merits is not None:
        blocks += _model(merits, figures["performance"])
    if asked is not None:
        blocks += _likelihood(asked, figures["templates"])
    method = (METHOD if merits is not None else "") + (LIKELIHOOD if asked is not None else "")
    blocks += made(result, method.strip(), [f"{verbatim(note)}" for note in notes])
    events = [] if merits is None else [f"{count(n)} {verbatim(label)}" for label, n in merits.events.items()]
    told = f"Part of the data set: {', '.join([result['options']['part'], *events])}"
    return Document(f"Separation in {verbatim(name)}", f"bumpfit {result['version']}. {told}.", tuple(blocks))


def _answer(merits: Merits | None, asked: Prospects | None) -> Verdict:
    facts = []
    title = ""
    if merits is not None:
        title = f"AUC = {_value(merits.auc)}"
        facts += [("area under the ROC curve", _value(merits.auc), ""), ("accuracy", _value(merits.accuracy), "")]
        if merits.significance is not None:
            at = f"threshold {number(merits.significance.threshold, 4)}"
            facts.append(("largest S / √(S + B)", _value(merits.significance), at))
    if asked is not None:
        best, words = asked.observed or asked.expected, "observed" if asked.observed else "expected"
        title = title or f"{words.capitalize()} significance Z = {z_value(best.z)}"
        expected = significant(asked.limit.expected[2])
        facts.append((f"{words} significance", z_value(best.z), relation("p", probability(best.p))))
        upper = asked.limit.observed
        shown, remark = (expected, "expected") if upper is None else (significant(upper), f"expected {expected}")
        facts.append(("95 % CLs limit on the strength", shown, remark))
    text = "How well the signal is told from the other classes" + (", and what that is worth." if asked else ".")
    return Verdict(title, text, False, tuple(facts))


def _value(one: Measure | Merit) -> str:
    return number(one.value, 4) if one.error is None else measured(one.value, one.error)


def _model(found: Merits, figure: Figure) -> list[Block]:
    def at(merit: Merit) -> tuple[str, ...]:
        shares = (merit.threshold, merit.signal_efficiency, merit.background_efficiency)
        return (_value(merit), *(number(share, 4) for share in shares))

    rows = [("largest S / √(S + B)", *at(found.significance))] if found.significance is not None else []
    if found.asimov is not None:
        rows.append((f"largest Z_{{A}}, background ± {100 * found.background_error:g} %", *at(found.asimov)))
    if found.own is not None:
        rows.append((f"largest {verbatim(str(found.formula))}", *at(found.own)))
    rows += [(f"rejection of all others at {e}", *at(merit)) for e, merit in found.rejections.items()]
    rows += [
        (f"rejection of {verbatim(label)} at {e}", *at(merit))
        for label, each in found.by_class.items()
        for e, merit in each.items()
    ]
    caption = f"Figures of merit of the probability of {verbatim(found.signal)}, with their thresholds."
    header = ("Figure of merit", "Value", "Threshold", "Signal efficiency", "Background efficiency")
    told = f"Score of {verbatim(found.signal)} in every class, significance over the threshold, and ROC curve."
    blocks: list[Block] = [
        Heading("The score", "score"),
        embedded("performance", figure, told),
        Table("merits", caption, header, tuple(rows), (1, 2, 3, 4)),
    ]
    if found.hml is None:
        return blocks
    theirs = tuple((verbatim(key), number(value, 4)) for key, value in found.hml.items())
    return [*blocks, Table("hml", "The same as HEP ML Lab defines them.", ("Metric", "Value"), theirs, (1,))]


def _likelihood(found: Prospects, figure: Figure) -> list[Block]:
    data = "Data" if found.has_data else "Background (Asimov)"
    rows = tuple(
        (f"{number(low, 4)} to {number(high, 4)}",
         *(measured(y[b], found.errors[label][b]) for label, y in found.yields.items()), number(found.data[b], 6))
        for b, (low, high) in enumerate(zip(found.edges, found.edges[1:], strict=False))
    )  # fmt: skip
    columns = tuple(range(1, len(found.yields) + 2))
    header = ("Bin", *(verbatim(label) for label in found.yields), data)
    answers = [("expected significance", z_value(found.expected.z), probability(found.expected.p))]
    if found.observed is not None:
        answers.append(("observed significance", z_value(found.observed.z), probability(found.observed.p)))
    limit = found.limit
    if limit.observed is not None:
        answers.append(("observed 95 % CLs limit", significant(limit.observed), ""))
    band = ", ".join("—" if value is None else significant(value) for value in limit.expected)
    answers.append(("expected limits at −2, −1, 0, 1, 2 σ", band, ""))
    blocks: list[Block] = [
        Heading("The likelihood", "likelihood"),
        embedded("templates", figure, "Expected events by class, signal on top."),
        Table("answers", "Tests of the strength μ (1 as expected).", ("Quantity", "Value", "p"), tuple(answers)),
        Table("yields", f"Expected events of {verbatim(found.channel)}.", header, rows, columns),
    ]
    if not found.variations:
        return blocks
    shifts = tuple(
        (
            verbatim(name),
            verbatim(label),
            *(_change(sum(side), sum(found.yields[label])) for side in (effect.up, effect.down)),
        )
        for name, affected in found.variations.items()
        for label, effect in affected.items()
    )
    table = ("Uncertainty", "Class", "Events at +1 σ", "Events at −1 σ")
    return [*blocks, Table("variations", "What systematic uncertainties change.", table, shifts, (2, 3))]


def _change(events: float, nominal: float) -> str:
    return f"{round(100 * (events / nominal - 1), 2) + 0.0:+.2f} %" if nominal else "—"
