"""Results of the likelihood commands as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bumpfit.pages.terminal import (
    NOISE,
    like,
    measured,
    number,
    pairs,
    probability,
    rounded_pair,
    stacked,
    statistic,
    table,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

    from bumpfit.inference.compatibility import Compatibility
    from bumpfit.inference.joint_discovery import JointDiscovery
    from bumpfit.inference.posterior import Posterior
    from bumpfit.law import Law
    from bumpfit.likelihood import Likelihood
    from bumpfit.results import (
        CLs,
        Contour,
        Discovery,
        Fit,
        Goodness,
        Impacts,
        Interval,
        Limit,
        MassScan,
        Record,
        Scan,
        Yields,
    )
    from bumpfit.workspace import Model

SHOWN = 6
"""Parameters at an end of their range that are named."""
STRONG = 0.005
"""Correlations below are left out of the table of correlations."""


def notes(*found: Record, advice: str = " (see --range)") -> list[str]:
    """What answers do not hold for, and the parameters that ended at an end of their range in a fit behind them, with
    what can be done about it.
    """
    ended = list(dict.fromkeys(name for one in found for name in getattr(one, "at_bounds", ())))
    lines = list(dict.fromkeys(note for one in found for note in getattr(one, "notes", ())))
    if ended:
        more = f" and {len(ended) - SHOWN} more" if len(ended) > SHOWN else ""
        lines.insert(0, f"at an end of the range in a fit behind this: {', '.join(ended[:SHOWN])}{more}{advice}")
    return lines


def signals(model: Model) -> frozenset[str]:
    """Samples that the parameter of interest scales."""
    return frozenset(
        sample["name"]
        for channel in model.spec["channels"]
        for sample in channel["samples"]
        if any(modifier["name"] == model.poi for modifier in sample["modifiers"])
    )


def fit(
    best: Fit,
    tested: Discovery | None,
    model: Model,
    *,
    correlation: bool,
    yields: tuple[Yields, Yields] | None,
    rows: Sequence[tuple[str, str]],
) -> RenderableType:
    """Parameters with errors, the discovery test, and what else was asked for."""
    lines = []
    for parameter in model.parameters:
        name = parameter.name
        marks = [
            word
            for word, group in (
                ("fixed", best.fixed),
                ("undetermined", best.undetermined),
                ("at bound", best.at_bounds),
            )
            if name in group
        ]
        constraint = "free" if parameter.constraint == "none" else parameter.constraint
        error = best.errors[name] if name not in (*best.fixed, *best.undetermined) else None
        lines.append([name, *rounded_pair(best.values[name], error), ", ".join([constraint, *marks])])
    parts: list[RenderableType] = [pairs(rows)] if rows else []
    parts.append(table("", ["parameter", "value", "error", "constraint"], lines))
    facts = [("-2 ln L", f"{best.twice_nll:.6f}"), ("status", best.status)]
    if tested is not None:
        facts += [
            (tested.parameter, measured(tested.mu, tested.mu_error)),
            ("q0", statistic(tested.q0)),
            ("local p-value", f"{probability(tested.p)} ({tested.method})"),
            ("local Z", number(tested.z, 4)),
        ]
        if tested.mu < 0 and tested.z_signed is not None:
            facts.append(("signed Z of the deficit", number(tested.z_signed, 4)))
    parts.append(pairs(facts))
    if correlation:
        parts.append(correlations(best))
    for one in yields or ():
        parts += [yields_table(one)]
    return stacked(*parts)


def correlations(best: Fit) -> RenderableType:
    """Correlated pairs, strongest first; a matrix of many parameters fits no terminal."""
    import numpy as np

    matrix = best.correlation
    if matrix is None:
        return table("Correlations: the Hessian is singular", ["pair", "correlation"], [])
    rows, columns = np.triu_indices(len(best.parameters), 1)
    order = np.argsort(-np.abs(matrix[rows, columns]), kind="stable")
    lines = [
        [f"{best.parameters[rows[k]]}, {best.parameters[columns[k]]}", f"{matrix[rows[k], columns[k]]:.3f}"]
        for k in order
        if abs(matrix[rows[k], columns[k]]) >= STRONG
    ]
    return table("Correlations", ["pair", "correlation"], lines)


def yields_table(yields: Yields) -> RenderableType:
    """Events of every sample, a row, in every channel, a column."""
    channels = yields.channels
    of = [{sample.name: sample for sample in channel.samples} for channel in channels]
    lines = []
    for name in dict.fromkeys(sample.name for channel in channels for sample in channel.samples):
        found = (samples.get(name) for samples in of)
        lines.append([name, *("" if one is None else measured(one.sum, one.sum_error) for one in found)])
    lines.append(["total", *(measured(channel.sum, channel.sum_error) for channel in channels)])
    if any(channel.data is not None for channel in channels):
        lines.append(["data", *("" if one.data is None else number(sum(one.data), 10) for one in channels)])
    return table(f"Yields {yields.stage}", ["sample", *(channel.name for channel in channels)], lines)


def scan(found: Scan, intervals: Sequence[Interval]) -> RenderableType:
    """Points of a likelihood scan and the intervals."""
    lines = [
        [number(x, 6), statistic(rise), "" if status == "converged" else status]
        for x, rise, status in zip(found.points, found.delta_twice_nll, found.status, strict=True)
    ]
    scale = half(intervals[0]) if intervals else None
    facts = [("best fit", f"{found.parameter} = {like(scale, found.best)[0]}")]
    facts += [(f"interval at {interval.level:.2%}", bounds(interval)) for interval in intervals]
    return stacked(table("", [found.parameter, "rise of -2 ln L", "status"], lines), pairs(facts))


def posterior(found: Posterior) -> RenderableType:
    """What is known about a parameter, with its prior."""
    mode, median, low, high, shortest_low, shortest_high = like(
        found.deviation, found.mode, found.median, found.low, found.high, found.shortest_low, found.shortest_high
    )
    return pairs([
        ("parameter", f"{found.parameter}, {found.prior} prior from {found.range_low:g} to {found.range_high:g}"),
        ("mode", mode),
        ("mean and standard deviation", measured(found.mean, found.deviation)),
        ("median", median),
        (f"central interval at {found.level:.2%}", f"{low} to {high}"),
        (f"shortest interval at {found.level:.2%}", f"{shortest_low} to {shortest_high}"),
        (f"upper limit at {found.limit_level:.2%}", measured(found.upper, found.upper_error or None)),
    ])  # fmt: skip


def compatibility(found: Compatibility) -> RenderableType:
    """The strengths of the channels beside the common one, and the test of them."""

    def row(name: str, strength: float, low: float | None, high: float | None, pull: float | None) -> list[str]:
        size = _half(strength, low, high)
        return [name, *like(size, strength, low, high), "—" if pull is None else f"{pull:+.2f}"]

    lines = [row(c.name, c.strength, c.low, c.high, c.pull) for c in found.channels]
    lines.append(row("all channels", found.strength, found.low, found.high, None))
    facts = [
        ("-2 ln of the likelihood ratio", statistic(found.statistic)),
        ("degrees of freedom", str(found.degrees_of_freedom)),
        ("p-value", f"{chance(found.p, found.p_error)} ({found.method})"),
    ]
    if found.p_upper is not None:
        facts.append(("at 95 % confidence", f"p < {number(found.p_upper, 3)}"))
    if found.toys is not None:
        facts.append(("toys", str(found.toys)))
    head = ["channel", found.parameter, "low", "high", "pull"]
    return stacked(table("Strengths with intervals at 68.27 %", head, lines), pairs(facts))


def joint_discovery(found: JointDiscovery) -> RenderableType:
    """The strengths at their best fit, and the test of no signal in any of them."""
    lines = [[name, *rounded_pair(best, found.errors[name])] for name, best in found.strengths.items()]
    facts = [
        ("q0", statistic(found.q0)),
        ("local p-value", f"{chance(found.p, found.p_error)} ({found.method})"),
        ("local Z", number(found.z, 4)),
    ]
    if found.p_upper is not None:
        facts.append(("at 95 % confidence", f"p < {number(found.p_upper, 3)}"))
    if found.weights is not None:
        shares = ", ".join(f"{weight:.3f}" for weight in found.weights)
        facts.append((f"shares of chi2(0) to chi2({len(found.weights) - 1})", shares))
    if found.toys is not None:
        facts.append(("toys", str(found.toys)))
    return stacked(table("", ["strength", "value", "error"], lines), pairs(facts))


def bounds(interval: Interval) -> str:
    """The ends of an interval in words, with as many decimal places as its half width has as an error."""
    size = half(interval)
    low, high = (
        (_end(end, size) if error is None else measured(end, error)) + (" (end of the range)" if cut else "")
        for end, error, cut in (
            (interval.low, interval.low_error, interval.low_at_bound),
            (interval.high, interval.high_error, interval.high_at_bound),
        )
    )
    if interval.low is None:
        return f"below {high}"
    return f"above {low}" if interval.high is None else f"{low} to {high}"


def _end(value: float | None, size: float | None) -> str:
    """An end of an interval; one that is not zero is not written as zero."""
    text = like(size, value)[0]
    if value is None or size is None or abs(value) < NOISE * size or text.strip("-0."):
        return text
    return number(value, 2)


def half(interval: Interval) -> float | None:
    """Half the width of an interval, or the distance of its one end from the best value."""
    return _half(interval.best, interval.low, interval.high)


def _half(best: float, low: float | None, high: float | None) -> float | None:
    ends = [end for end in (low, high) if end is not None]
    return (max((best, *ends)) - min((best, *ends))) / max(len(ends), 1) or None


def chance(p: float | None, error: float | None) -> str:
    """A p-value, with its statistical error where it has one."""
    return probability(p) if error is None else measured(p, error)


def with_error(value: float | None, error: float | None, digits: int) -> str:
    """A number with its statistical error, where it has one."""
    return number(value, digits) if error is None else measured(value, error)


def limit(found: Limit) -> RenderableType:
    """Observed and expected limit."""
    size = smallest(found)
    lines = [["observed", _or_like(found.observed, found.observed_error, size)], *_expected(found, size)]
    title = f"Upper limit on {found.parameter} at {found.level:g} ({found.method}{_of_data(found)})"
    return table(title, ["limit", found.parameter], lines)


def _of_data(found: Limit | CLs) -> str:
    """What data the expected values are of, where these have a signal."""
    return "" if found.bands_at == 0 else f"; expected: data with {found.parameter} = {found.bands_at:g}"


def smallest(found: Limit) -> float | None:
    """What limits are rounded to: the size of an error that leaves three digits of the smallest."""
    values = [v for v in (found.observed, *found.expected) if v is not None and v > 0]
    return 0.1 * min(values) if values else None


def _or_like(value: float | None, error: float | None, size: float | None) -> str:
    if error is not None:
        return measured(value, error)
    return number(value, 3) if size is None else like(size, value)[0]


def _expected(found: Limit | CLs, size: float | None = None) -> list[list[str]]:
    from bumpfit.results import BANDS  # here, as it needs numpy, for a quicker --help

    errors = found.expected_errors or (None,) * len(found.expected)
    return [
        [f"expected, {name}", _or_like(value, error, size)]
        for name, value, error in zip(BANDS[1:], found.expected, errors, strict=True)
    ]


def cls(found: CLs) -> RenderableType:
    """CLs of one strength."""
    lines = [["observed", _or_like(found.observed, found.observed_error, None)]]
    lines += [["CLs+b", probability(found.cl_sb)], ["CLb", probability(found.cl_b)], *_expected(found)]
    title = f"CLs of {found.parameter} = {found.mu:g} ({found.method}{_of_data(found)})"
    return table(title, ["CLs of", "value"], lines)


def limits(found: MassScan) -> RenderableType:
    """Limits over mass."""
    from bumpfit.results import BANDS

    lines = []
    for mass, one, status in zip(found.masses, found.limits or (), found.status, strict=True):
        cells = like(smallest(one), one.observed, *one.expected) if one is not None else ["—"] * 6
        lines.append([f"{mass:g}", *cells, "" if one is not None else status])
    known = next((one for one in found.limits or () if one is not None and one.bands_at), None)
    title = "Upper limits" + ("" if known is None else _of_data(known))
    return table(title, ["mass", *BANDS, "status"], lines)


def analyses(found: Mapping[str, Limit]) -> RenderableType:
    """Limits of several analyses."""
    from bumpfit.results import BANDS

    lines = [[name, *like(smallest(one), one.observed, *one.expected)] for name, one in found.items()]
    parameters = dict.fromkeys(one.parameter for one in found.values())
    title = f"Upper limits on {', '.join(parameters)}" + _of_data(next(iter(found.values())))
    return table(title, ["analysis", *BANDS], lines)


def analyses_over_mass(found: Mapping[str, MassScan]) -> RenderableType:
    """Limits of several analyses over mass, a table each."""
    parts: list[RenderableType] = []
    for name, scan in found.items():
        parts += [name, limits(scan)]
    return stacked(*parts)


def discoveries(found: MassScan) -> RenderableType:
    """Local significances over mass."""
    lines = []
    for mass, one, status in zip(found.masses, found.discoveries or (), found.status, strict=True):
        cells = (
            [rounded_pair(one.mu, one.mu_error)[0], statistic(one.q0, 4), probability(one.p), number(one.z, 3)]
            if one is not None
            else ["—"] * 4
        )
        lines.append([f"{mass:g}", *cells, "" if one is not None else status])
    return table("Local significances", ["mass", "strength", "q0", "p", "Z", "status"], lines)


def impacts(found: Impacts, top: int) -> RenderableType:
    """The largest impacts."""
    size = None if found.error is None else 0.1 * found.error
    lines = [
        [
            row.parameter,
            *("—" if v is None else f"{round(v, 3) + 0.0:.3f}" for v in (row.pull, row.constraint)),
            *like(size, row.up, row.down, row.prefit_up, row.prefit_down),
        ]
        for row in found.impacts[:top]
    ]
    columns = ["parameter", "pull", "constraint", "after +", "after -", "before +", "before -"]
    best = f"{found.parameter} = {measured(found.best, found.error)}"
    more = len(found.impacts) - top
    note = [] if more <= 0 else [pairs([("", f"and {more} parameters of smaller impact")])]
    return stacked(table(f"Impacts on {best}, of ±1σ after and before the fit", columns, lines), *note)


def goodness(found: Goodness) -> RenderableType:
    """A goodness of fit and the parts of the channels."""
    rows = [(f"{found.statistic_name} statistic", number(found.statistic))]
    if found.degrees_of_freedom is not None:
        rows.append(("degrees of freedom", str(found.degrees_of_freedom)))
    rows.append(("p-value", f"{chance(found.p, found.p_error)} ({found.method})"))
    if found.p_upper is not None:
        rows.append(("at 95 % confidence", f"p < {number(found.p_upper, 3)}"))
    if found.toys is not None:
        rows.append(("toys", str(found.toys)))
    columns, parts = by_channel(found)
    return stacked(pairs(rows), *([table("", ["channel", *columns], parts)] if parts else []))


def by_channel(found: Goodness) -> tuple[list[str], list[list[str]]]:
    """The parts of a goodness of fit: names of the columns after the first, and rows of channels and constraints."""
    channels = found.channels or {}
    chances = any(one.p is not None for one in channels.values())
    rows = [
        [name, number(one.statistic), *([chance(one.p, one.p_error)] if chances else [])]
        for name, one in channels.items()
    ]
    if found.constraints:
        rows.append(["constraints", number(found.constraints), *(["—"] if chances else [])])
    return [found.statistic_name, *(["p-value"] if chances else [])], rows


def contours(lines: Sequence[Contour]) -> RenderableType:
    """Extent of the regions."""
    x, y = lines[0].parameters
    sizes = [0.5 * (high - low) or None for low, high in lines[0].ranges]
    rows = [
        [
            f"{line.level:.2%}",
            *(" to ".join(like(size, *ends)) for size, ends in zip(sizes, line.ranges, strict=True)),
            "" if line.closed else "cut by the range",
        ]
        for line in lines
    ]
    at = [like(size, best)[0] for size, best in zip(sizes, lines[0].best, strict=True)]
    best = pairs([("best fit", f"{x} = {at[0]}, {y} = {at[1]}")])
    return stacked(best, table("", ["joint level", x, y, ""], rows))


def cls_figure(found: CLs, likelihood: Likelihood, law: Law) -> Figure:
    """The toys of a CLs under both hypotheses: thrown once more, they are the same."""
    from bumpfit.inference.limit import exclusion
    from bumpfit.report.toys import two_hypotheses
    from bumpfit.toys.law import Sampled

    name: Any = found.statistic_name
    toys = exclusion(likelihood, parameter=found.parameter, statistic=name, law=law).distribution
    assert isinstance(toys, Sampled)
    signal, background = toys.values(found.mu, found.mu), toys.values(found.mu, 0.0)
    assert signal is not None
    assert background is not None
    return two_hypotheses(signal, background, found.statistic, name, f"{found.parameter} = {found.mu:g}")
