"""HiggsML on the terminal: what was written, measurements, scores, bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bumpfit.higgsml.bounds import Bound
from bumpfit.higgsml.ensemble import Ensemble
from bumpfit.higgsml.histfactory import Difference
from bumpfit.higgsml.measurement import Measurement
from bumpfit.higgsml.score import Scores
from bumpfit.pages.terminal import measured as pair
from bumpfit.pages.terminal import number, pairs, stacked, table

if TYPE_CHECKING:
    from rich.console import RenderableType


def written(said: Mapping[str, Any]) -> RenderableType:
    """A table of events that was written."""
    rows = [("events", f"{said['written']}" + (f" of {said['events']}" if "events" in said else ""))]
    if "mu" in said:
        drawn = ", ".join(f"{name} {value:.5g}" for name, value in said["nuisances"].items())
        rows += [("mu", number(said["mu"])), ("nuisances", drawn)]
        rows += [("most frequent event", f"repeated {said['largest_multiplicity']} times")]
    return pairs([*rows, ("written to", said["out"])])


def trained(said: Mapping[str, Any]) -> RenderableType:
    """A method that was trained."""
    report = said["report"]
    rows = [("method", said["method"])]
    if "information_kept" in report:
        kept = f"{100 * report['information_kept']:.1f} % of {report['fine_bins']} fine ones"
        rows.append(("bins", f"{report['bins']}, which keep the information of {kept}"))
        effective = ", ".join(f"{name} {value:.0f}" for name, value in report["effective_events"].items())
        rows.append(("effective events of the templates", effective))
        worst = report["largest_response_deviation"]
        rows.append(("largest deviation of the responses", f"{worst:.2g} Poisson errors of a bin"))
    if report.get("information_kept_in_counts") is not None:
        kept = f"{100 * report['information_kept_in_counts']:.1f} % of the information of fine ones"
        rows.append(("bins of the counted events", f"{report['counts']}, which keep {kept}"))
    known = said.get("simulation", {})
    if known:
        if "luminosity" in known:
            rows.append(("made for", f"{known['luminosity']:.4g} fb-1, mode {known['mode']}"))
        if "simulated_per_expected" in known:
            rows.append(
                ("simulated for one expected", f"{known['simulated_per_expected']:.3g} where the information is")
            )
        if "response_shift" in known:
            rows.append(("imperfect responses", f"shift mu by {known['response_shift']:.2g} of its error"))
        if not known["simulation_large_enough"]:
            how = "--luminosity 0" if "information_kept" in report else "--luminosity"  # others do not find it
            rows.append(("do not believe it", f"the simulation is too small: lower the luminosity ({how})"))
    by = f"yes, by pseudo-experiments from {said['calibrated_with']}"
    rows.append(("calibrated", by if said["calibrated"] else "no: its intervals are asymptotic"))
    return pairs([*rows, ("written to", said["out"])])


def shortcomings(known: Mapping[str, Any]) -> str:
    """What is known of a simulation that is too small, to follow a sentence about it."""
    told = ""
    if "response_shift" in known:
        told += f": imperfect responses shift mu by {number(known['response_shift'], 3)} of its error"
    if "simulated_per_expected" in known:
        told += f", {number(known['simulated_per_expected'], 3)} simulated events for an expected one where the "
        told += "information is"
    return told


def measured(found: Measurement) -> RenderableType:
    """One measurement."""
    if not found.valid:
        return pairs([("measurement", f"failed: {found.diagnostics.get('reason', 'the interval is empty')}")])
    parts = " and ".join(f"[{low:.5g}, {high:.5g}]" for low, high in found.pieces)
    rows = [("mu", number(found.mu_hat)), ("68.27 % interval", parts), ("made by", found.interval_kind)]
    if found.diagnostics.get("simulation_large_enough") is False:
        known = found.diagnostics
        where = f" at {known['luminosity']:.3g} fb-1 ({known['mode']})" if "luminosity" in known else ""
        rows.append(("do not believe it", f"the simulation is too small{where}{shortcomings(known)}"))
    if found.at_bound:
        rows.append(("bound", "the interval begins or ends at the bound of mu"))
    rows += [(name, f"{pair(value, error)} standard deviations") for name, (value, error) in
             found.nuisances.items()]  # fmt: skip
    return pairs(rows)


def written_workspace(found: Difference, out: str) -> RenderableType:
    """A workspace and how far it is from the exact response."""
    values = list(next(iter(found.expected.values())))
    rows = [(name, *(number(v, 2) for v in differences.values())) for name, differences in found.expected.items()]
    title = "largest difference of a bin from the exact response, in Poisson errors"
    columns = ("nuisance", *(f"at {value}" for value in values[:-1]), "at 2 (soft_met: at its clip)")
    told = pairs([
        ("mu_hat", f"differs by {pair(found.shift, found.spread)} of its error in {found.n - found.failed} "
                   f"experiments at mu = {found.mu:g}"),
        ("error of mu", f"{found.error_ratio:.3f} of the exact one"),
        ("fits that failed", str(found.failed)),
        ("written to", out),
    ])  # fmt: skip
    return stacked(table(title, columns, rows), told)


def scored(mus: Sequence[float], found: Scores) -> RenderableType:
    """Scores of sets and merged."""
    rows = [
        (f"mu = {mu:g}", number(one.width, 4), number(one.coverage, 4), number(one.penalty, 4), number(one.score, 4))
        for mu, one in zip(mus, found.sets, strict=True)
    ]
    m = found.merged
    rows.append(("all intervals", number(m.width, 4), number(m.coverage, 4), number(m.penalty, 4), number(m.score, 4)))
    note = pairs([
        ("merged score", f"{pair(m.score, found.error)} (bootstrap), N = {m.n}, eps = {m.eps:g}"),
    ])  # fmt: skip
    return stacked(table("", ("set", "width", "coverage", "penalty", "score"), rows), note)


def bounded(found: Sequence[Bound]) -> RenderableType:
    """Fisher bounds."""
    names = list(found[0].one_known)
    columns = ("mu", "nuisances known", "profiled", *(f"{name} known" for name in names))
    rows = [
        (f"{one.mu:g}", number(one.known, 4), number(one.profiled, 4), *(number(one.one_known[n], 4) for n in names))
        for one in found
    ]
    return table("smallest standard deviation of mu", columns, rows)


def achieved(found: Ensemble) -> RenderableType:
    """What intervals of templates achieve."""
    rows = [
        (way.name, number(way.score.width, 4), pair(way.score.coverage, way.coverage_error),
         number(way.score.penalty, 4), number(way.score.score, 4), "yes" if way.uses_range else "no")
        for way in found.ways
    ]  # fmt: skip
    value, error = found.statistic
    note = pairs([
        ("experiments", f"{found.n} from the templates, mu uniform in [{found.low:g}, {found.high:g}], nuisances drawn "
                        f"and profiled, {found.failed} failed"),
        ("68.27 % quantile of the statistic", pair(value, error)),
        ("eps of the score", f"{found.ways[0].score.eps:g}"),
    ])  # fmt: skip
    columns = ("interval", "width", "coverage", "penalty", "score", "knows the range")
    return stacked(table("mode closure, at template level", columns, rows), note)
