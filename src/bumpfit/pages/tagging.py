"""Results of `bumpfit dataset`, `train` and `metrics` as tables on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bumpfit.pages.terminal import measured, pairs, probability, stacked, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bumpfit.events.cutflow import CutFlow
    from bumpfit.results import Limit
    from bumpfit.scoring.merits import Merits
    from bumpfit.scoring.metrics import Merit
    from bumpfit.tagging import Prospects


def merits(found: Merits, part: str) -> RenderableType:
    """The table of metrics."""

    def at(merit: Merit) -> list[str]:
        return [
            measured(merit.value, merit.error), f"{merit.threshold:.4g}", f"{merit.signal_efficiency:.4g}",
            f"{merit.background_efficiency:.3g}",
        ]  # fmt: skip

    rows = [
        [name, measured(m.value, m.error), "", "", ""] for name, m in (("accuracy", found.accuracy), ("AUC", found.auc))
    ]
    if found.significance is not None:
        rows.append(["largest S / sqrt(S + B)", *at(found.significance)])
    if found.asimov is not None:
        rows.append([f"largest Asimov Z, background ± {100 * found.background_error:g} %", *at(found.asimov)])
    if found.own is not None:
        rows.append([f"largest {found.formula}", *at(found.own)])
    rows += [[f"rejection at {e}", *at(merit)] for e, merit in found.rejections.items()]
    rows += [[f"rejection of {c} at {e}", *at(m)] for c, each in found.by_class.items() for e, m in each.items()]
    rows += [[f"hml: {name}", f"{value:.4g}", "", "", ""] for name, value in (found.hml or {}).items()]
    events = ", ".join(f"{n} {name}" for name, n in found.events.items())
    return table(f"{part}: {events}", ["metric", "value", "threshold", "signal eff.", "background eff."], rows)


def likelihood(found: Prospects) -> RenderableType:
    """Yields a bin, and the answers."""
    rows = [
        [f"{low:.4g} to {high:.4g}", *(measured(y[b], found.errors[c][b]) for c, y in found.yields.items()),
         f"{found.data[b]:.6g}"]
        for b, (low, high) in enumerate(zip(found.edges, found.edges[1:], strict=False))
    ]  # fmt: skip
    data = "data" if found.has_data else "background (Asimov)"
    answers = [("expected significance", f"{found.expected.z:.3g} (p = {probability(found.expected.p)})")]
    if found.observed is not None:
        fitted = f"mu = {measured(found.observed.mu, found.observed.mu_error)}"
        p = probability(found.observed.p)
        answers.append(("observed significance", f"{found.observed.z:.3g} (p = {p}), {fitted}"))
    answers.append(("95 % CLs limit on mu", _limit(found.limit)))
    shifts = [
        [name, label, *(_percent(sum(side) / sum(found.yields[label]) - 1) for side in (effect.up, effect.down)),
         _percent(max((u / n - 1 for side in (effect.up, effect.down)
                       for u, n in zip(side, found.yields[label], strict=True) if n > 0), key=abs, default=0.0))]
        for name, affected in found.variations.items()
        for label, effect in affected.items()
    ]  # fmt: skip
    columns = ["systematic uncertainty", "class", "events, +1 sigma", "-1 sigma", "largest change of a bin"]
    parts = [table("", columns, shifts)] if shifts else []
    return stacked(table(found.channel, ["bin", *found.yields, data], rows), *parts, pairs(answers))


def _limit(limit: Limit) -> str:
    numbers = ["-" if value is None else f"{value:.3g}" for value in limit.expected]
    expected = f"expected {numbers[2]} ({numbers[1]} to {numbers[3]} at 1 sigma)"
    return expected if limit.observed is None else f"observed {limit.observed:.3g}, {expected}"


def _percent(change: float) -> str:
    return f"{round(100 * change, 2) + 0.0:+.2f} %"


def cut_flow(found: CutFlow) -> RenderableType:
    """Cut flow and N-1 table of a sample; weighted events where weights or a cross-section were given."""

    def events(value: float, error: float) -> list[str]:
        return [] if found.scale == "one" else [measured(value, error)]

    def share(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.2f} %"

    rows = [["all", str(found.events), *events(found.weighted, found.error), "", "", "", ""]]
    rows += [
        [step.cut, str(step.events), *events(step.weighted, step.error), share(step.efficiency),
         share(step.total_efficiency), str(step.others), share(step.alone)]
        for step in found.steps
    ]  # fmt: skip
    weighted = [] if found.scale == "one" else ["weighted"]
    columns = ["cut", "events", *weighted, "of step before", "of all", "pass all others", "and this"]
    return table(f"cut flow of {found.name}", columns, rows)
