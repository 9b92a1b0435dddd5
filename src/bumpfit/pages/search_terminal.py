"""Tables for the terminal: the answers of a search, as `result.json` holds them, drawn by rich."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bumpfit.errors import InputError
from bumpfit.report.rounding import count, interval, measured, probability, relation, significant, z_value

SHOWN = 8
"""Selections that the table shows: those with the smallest p-values."""

QUANTITIES = {
    "m_JJ": "resonance mass",
    "m_J1": "lighter jet mass",
    "m_J2": "heavier jet mass",
    "n_signal": "signal events",
    "n_signal_upper_limit_95": "95% upper limit on signal events",
    "z_local": "local Z of the best selection",
    "z_global": "global Z",
    "selection": "best selection",
}
"""How the numbers before and after a step are called in tables."""

VERDICTS = {
    "resonance": ("New physics is claimed", "green"),
    "difference": ("The tables differ, but not like a resonance", "yellow"),
    "nothing": ("No new physics is claimed", "blue"),
}
"""Title and colour of the answer."""

SUPERSCRIPT = str.maketrans("0123456789−-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁻")
NEEDED = ("p_value", "claim", "n_signal", "n_signal_upper_limit_95")


def summary(answers: Mapping[str, Any]) -> RenderableType:
    """What `bumpfit run` prints at its end: the answer, the selections, steps taken, and the checks.

    Args:
        answers: the content of result.json (`Answers.to_dict()`).

    Raises:
        InputError: keys are missing, so that this is no result of a search.
    """
    missing = [key for key in NEEDED if key not in answers]
    if missing:
        raise InputError(
            f"this is no result of a search: it has no {', '.join(missing)}; expected the result.json of a run"
        )
    parts: list[RenderableType] = [_answer(answers)]
    if answers.get("selections"):
        parts.append(_selections(answers["selections"]))
    if answers.get("iterations"):
        parts.append(_iterations(answers["iterations"]))
    if answers.get("checks"):
        parts.append(_checks(answers["checks"]))
    return Group(*parts)


def _answer(answers: Mapping[str, Any]) -> Panel:
    p = answers["p_value"]
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column()
    limited = upper_bound(p)
    rows.add_row("global p-value", _pair(p.get("global"), p.get("z_global"), limited))
    rows.add_row("local p-value", _pair(p.get("local"), p.get("z_local"), False))
    rows.add_row("method", Text(str(p.get("method", ""))))
    if mass := answers.get("resonance_mass"):
        rows.add_row("resonance mass", measured(mass["value"], mass["error"], "GeV"))
    for mass in answers.get("daughter_masses") or ():
        rows.add_row(f"daughter {mass['name']}", measured(mass["value"], mass["error"], "GeV"))
    if answers.get("decay"):
        rows.add_row("decay", Text(str(answers["decay"])))
    verdict = answers.get("verdict") or ("resonance" if answers["claim"] else "nothing")
    if found := answers.get("searched"):
        outside = f"{count(found['below'])} events below and {count(found['above'])} above are not searched"
        rows.add_row("searched", f"masses from {found['low']:.0f} to {found['high']:.0f} GeV; {outside}")
    for name, text in _differing(answers) if verdict == "difference" else _signal(answers):
        rows.add_row(name, text)
    further = list(answers.get("particles") or ())[1:]
    for number, particle in enumerate(further, 2):
        rows.add_row(f"particle {number}", _further(particle))
    title, colour = verdict_title(verdict, len(answers.get("inputs") or ())), VERDICTS[verdict][1]
    if further:
        title = f"{len(further) + 1} new particles are claimed; the leading one:"
    return Panel(rows, title=title, title_align="left", border_style=colour, expand=False)


def _further(particle: Mapping[str, Any]) -> Text:
    """A particle beside the leading one, on one line: masses, significance, events."""
    p, mass, n = particle["p_value"], particle["resonance_mass"], particle["n_signal"]
    parts = [] if mass is None else [measured(mass["value"], mass["error"], "GeV")]
    daughters = [measured(m["value"], m["error"]) for m in particle["daughter_masses"] or ()]
    parts += [f"to {' and '.join(daughters)}"] if daughters else []
    parts.append(_pair(p["global"], p["z_global"], upper_bound(p)))
    parts.append(f"{interval(n['value'], n['error_low'], n['error_high'])} events")
    return Text(", ".join(parts))


def verdict_title(verdict: str, tables: int) -> str:
    """Title of the answer of a search of so many tables; one table differs from none."""
    return "An excess, but not of a resonance" if verdict == "difference" and tables == 1 else VERDICTS[verdict][0]


def _signal(answers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Number of signal events and its upper limit."""
    n, percent = answers["n_signal"], answers.get("signal_percent")
    share = f"   ({significant(percent, 2)}% of the data)" if percent is not None else ""
    number = interval(n["value"], n["error_low"], n["error_high"])
    yield "signal events", f"{number} before any selection{share}"
    limit = answers["n_signal_upper_limit_95"]
    yield "upper limit", "—" if limit is None else f"{count(limit)} signal events at 95%"


def _differing(answers: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    """The decisive checks that fail: why this is called no signal, and what differs instead."""
    for check in answers.get("checks") or ():
        if check.get("decisive") and check["passed"] is False:
            yield "no resonance", Text(f"{check['name']}: {check['detail']}")


def upper_bound(p: Mapping[str, Any]) -> bool:
    """Whether the global p-value of result.json is only an upper bound: by the union bound, or at the floor."""
    value, floor = p.get("global"), p.get("floor") or 0.0
    if value is None or value >= 1:
        return False
    return "union bound" in str(p.get("method", "")) or 0 < value <= floor * (1 + 1e-9)


def _selections(selections: Sequence[Mapping[str, Any]]) -> Table:
    ordered = sorted(selections, key=lambda s: s["p_local"])[:SHOWN]
    more = f" ({SHOWN} of {len(selections)} with the smallest p-values)" if len(selections) > SHOWN else ""
    table = Table(title=f"Selections{more}", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("selection")
    for name in ("data", "background", "local p", "local Z"):
        table.add_column(name, justify="right")
    for s in ordered:
        expected = measured(s["n_background_expected"], s["background_error"])
        table.add_row(
            Text(str(s["name"])),
            count(s["n_data"]),
            expected,
            _powers(probability(s["p_local"])),
            z_value(s["z_local"]),
        )
    return table


def _iterations(steps: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="Further steps", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("step")
    table.add_column("quantity")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    for number, step in enumerate(steps, 1):
        before, after = flat(step.get("before") or {}), flat(step.get("after") or {})
        for row, key in enumerate(dict.fromkeys([*before, *after])):
            task = Text(f"{number} {step['task']}" if row == 0 else "")
            cells = (_powers(numbers.get(key, "—")) for numbers in (before, after))
            table.add_row(task, QUANTITIES.get(key, key), *(Text(cell) for cell in cells))
    return table


def _checks(checks: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title="Checks", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("check")
    table.add_column("numbers", style="dim")
    for check in checks:
        state = {True: ("passed", "green"), False: ("FAILED", "bold red")}.get(check["passed"], ("–", "dim"))
        mark = Text(*state)
        table.add_row(mark, Text(str(check["name"])), Text(str(check["detail"])))
    return table


def flat(numbers: Mapping[str, Any]) -> dict[str, str]:
    """Numbers before or after a step as text: values with errors in one piece, other nests flattened."""
    result: dict[str, str] = {}
    for key, value in numbers.items():
        if isinstance(value, Mapping):
            if value.get("value") is not None and value.get("error_high") is not None:
                result[key] = interval(value["value"], value.get("error_low") or 0.0, value["error_high"])
            elif value.get("value") is not None and value.get("error") is not None:
                result[key] = measured(value["value"], value["error"])
            else:
                result |= {f"{key}, {inner}": text for inner, text in flat(value).items()}
        elif isinstance(value, bool) or value is None:
            result[key] = "—" if value is None else ("yes" if value else "no")
        elif isinstance(value, int | float):
            result[key] = z_value(value) if key.startswith("z_") else significant(float(value), 3)
        else:
            result[key] = str(value)
    return result


def _pair(p: float | None, z: float | None, limited: bool) -> str:
    below, above = ("<", ">") if limited else ("=", "=")
    # result.json has no infinities: a significance that is missing beside a p-value was one
    if z is None and p is not None:
        z = math.inf if p < 0.5 else -math.inf
    significance = z_value(z)
    return f"{_powers(relation('p', probability(p), below))}   {relation('Z', significance, above)}"


def _powers(text: str) -> str:
    """`10^{-5}` with superscript characters."""
    head, *tails = text.split("^{")
    return head + "".join(t.partition("}")[0].translate(SUPERSCRIPT) + t.partition("}")[2] for t in tails)
