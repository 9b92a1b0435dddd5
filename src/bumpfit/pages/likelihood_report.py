"""The report of a workspace: the answer, what was fitted, parameters, the strength, and how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bumpfit.inference.summary import Summary
from bumpfit.pages.likelihood import by_channel, notes, signals
from bumpfit.pages.origin import made
from bumpfit.pages.terminal import measured, number, rounded_pair, statistic
from bumpfit.report import pictures
from bumpfit.report.document import (
    Block,
    Document,
    Gallery,
    Heading,
    Paragraph,
    Table,
    Verdict,
    verbatim,
)
from bumpfit.report.embedded import embedded
from bumpfit.report.rounding import probability, relation, significant, z_value
from bumpfit.workspace import Model

NAMES = {
    "prefit": "yields before the fit",
    "postfit": "yields after the fit",
    "discovery": "test of no signal",
    "interval": "interval",
    "limit": "upper limit",
    "scan": "profile",
    "impacts": "impacts",
    "goodness": "goodness of fit",
}
METHOD = (
    "Errors come from the second derivatives of −ln L at the best fit, tests and limits from asymptotic formulae "
    "(Cowan, Cranmer, Gross, Vitells, Eur. Phys. J. C 71 (2011) 1554)."
)
MANY = 40
"""Parameters in the table, those that the fit moved most first."""


def document(found: Summary, model: Model, name: str, result: Mapping[str, Any]) -> Document:
    """The report as data; `result`: the first keys of the command's JSON (version, inputs, options)."""
    blocks = [
        _answer(found),
        *_fitted(found, model),
        *_parameters(found, model),
        *_strength(found),
        *made(result, METHOD, [f"No {NAMES[name]}: {verbatim(why)}" for name, why in found.refused.items()]),
    ]
    size = f"Channels: {len(model.channels)}, bins: {model.compiled.n_bins}, parameters: {len(model.parameters)}"
    return Document(f"Fit of {verbatim(name)}", f"bumpfit {result['version']}. {size}.", tuple(blocks))


def _answer(found: Summary) -> Verdict:
    best, test, upper, fitness = found.fit, found.discovery, found.limit, found.goodness
    facts = []
    if found.parameter is not None:
        value = measured(best.values[found.parameter], best.errors[found.parameter])
        ends = found.interval
        remark = "" if ends is None else f"{100 * ends.level:g} %: {significant(ends.low)} to {significant(ends.high)}"
        facts.append((verbatim(found.parameter), value, remark))
    if test is not None:
        facts.append(("local significance", z_value(test.z), f"{relation('p', probability(test.p))}, {test.method}"))
    if upper is not None:
        expected = significant(upper.expected[2])
        facts.append((f"upper limit at {100 * upper.level:g} %", significant(upper.observed), f"expected {expected}"))
    if fitness is not None and fitness.p is not None:
        facts.append(("goodness of fit", relation("p", probability(fitness.p)), fitness.statistic_name))
    told = " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in _notes(found))
    title = "The data were fitted" if found.parameter is None else f"{verbatim(found.parameter)} = {facts[0][1]}"
    return Verdict(title, told or "The fit converged, no parameter is at an end of its range.", False, tuple(facts))


def _notes(found: Summary) -> list[str]:
    answers = (found.fit, found.discovery, found.limit, found.interval)
    return [sentence.rstrip(".") for sentence in notes(*(one for one in answers if one is not None))]


def _fitted(found: Summary, model: Model) -> list[Block]:
    blocks: list[Block] = [Heading("What was fitted", "fitted")]
    after, before = found.postfit, found.prefit
    if after is None:
        return [*blocks, Paragraph(f"There are no yields: {verbatim(found.refused['postfit'])}")]
    rows = []
    for place, channel in enumerate(after.channels):
        earlier = None if before is None else before.channels[place]
        for k, sample in enumerate(channel.samples):
            then = "—" if earlier is None else measured(earlier.samples[k].sum, earlier.samples[k].sum_error)
            rows.append((verbatim(channel.name), verbatim(sample.name), then, measured(sample.sum, sample.sum_error)))
        then = "—" if earlier is None else measured(earlier.sum, earlier.sum_error)
        rows.append((verbatim(channel.name), "all", then, measured(channel.sum, channel.sum_error)))
        if channel.data is not None:
            rows.append((verbatim(channel.name), "data", "", number(sum(channel.data), 7)))
    drawn = pictures.plot(after, signals=signals(model))
    header = ("Channel", "Sample", "Before", "After")
    return [
        *blocks,
        embedded("yields", drawn, "Data and expected events after the fit, and pulls."),
        Table("sums", "Expected events before and after the fit.", header, tuple(rows), (2, 3)),
        *_by_channel(found),
    ]


def _by_channel(found: Summary) -> list[Block]:
    if found.goodness is None:
        return []
    columns, rows = by_channel(found.goodness)
    caption = "Parts of the goodness of fit in the channels and in the constraints of parameters."
    cells = tuple((verbatim(name), *rest) for name, *rest in rows)
    return [Table("fitness", caption, ("Channel", *columns), cells, tuple(range(1, 1 + len(columns))))]


def _parameters(found: Summary, model: Model) -> list[Block]:
    best = found.fit
    ranked = {one.parameter: place for place, one in enumerate(found.impacts.impacts if found.impacts else ())}
    chosen = sorted(model.parameters, key=lambda one: ranked.get(one.name, -1))[:MANY]
    rows = []
    for one in chosen:
        held = one.name in (*best.fixed, *best.undetermined)
        marks = [word for word, group in (("fixed", best.fixed), ("undetermined", best.undetermined),
                                          ("at an end of its range", best.at_bounds)) if one.name in group]  # fmt: skip
        constraint = "free" if one.constraint == "none" else one.constraint
        value, error = rounded_pair(best.values[one.name], None if held else best.errors[one.name])
        rows.append((verbatim(one.name), value, error, ", ".join([constraint, *marks])))
    left = len(model.parameters) - len(chosen)
    caption = "Parameters at the best fit, by their impact." + (f" {left} more are left out." if left else "")
    blocks: list[Block] = [Heading("Parameters", "parameters")]
    if found.impacts is not None and found.impacts.impacts:
        told = "Pulls and impacts of the nuisance parameters, largest first."
        blocks.append(embedded("impacts", pictures.plot(found.impacts), told))
    return [*blocks, Table("values", caption, ("Parameter", "Value", "Error", "Constraint"), tuple(rows), (1, 2))]


def _strength(found: Summary) -> list[Block]:
    if found.parameter is None:
        return []
    told = []
    if found.scan is not None:
        caption = "-2 ln L above its minimum, all other parameters fitted at every point."
        told.append(embedded("scan", pictures.plot(found.scan), caption))
    if found.limit is not None:
        caption = "CLs of the strengths that were tested, the limit and its expected band."
        told.append(embedded("limit", pictures.plot(found.limit), caption))
    rows = []
    if found.discovery is not None:
        rows += [("q_{0}", statistic(found.discovery.q0)), ("local p-value", probability(found.discovery.p))]
    if found.limit is not None:
        expected = ", ".join(significant(value) for value in found.limit.expected)
        rows.append(("expected limits at −2, −1, 0, 1, 2 σ", expected))
    if found.goodness is not None:
        rows.append((f"goodness of fit, {found.goodness.statistic_name}", statistic(found.goodness.statistic)))
    blocks: list[Block] = [Heading(f"The strength {verbatim(found.parameter)}", "strength")]
    blocks += [Gallery(tuple(told))] if told else []
    return [*blocks, Table("tests", "Tests by asymptotic formulae.", ("Quantity", "Value"), tuple(rows))]
