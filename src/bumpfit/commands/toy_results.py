"""What `bumpfit toys` tells and draws of toys that were thrown or read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bumpfit.commands.output import Drawing, Output, Page
from bumpfit.normal import significance, upper_tail
from bumpfit.pages.terminal import measured, number, pairs, probability, statistic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bumpfit.toys import Curve, GlobalToys, Tally

POINTS = 40
"""Points of the curves in figures."""


@dataclasses.dataclass(frozen=True)
class Told:
    """Where what is told of toys goes; `keep`: the file of toys that was written."""

    drawing: Drawing
    page: Page
    keep: Path | None
    output: Output

    def give(
        self, found: Tally | GlobalToys, result: dict[str, Any], draw: Callable[[], Figure],
        rows: list[tuple[str, str]], notes: list[str],
    ) -> None:  # fmt: skip
        """Figure, report, and the answer."""
        self.drawing.draw(draw)
        if self.page.report is not None:
            from bumpfit.pages.toys_report import document

            names = [Path(one["path"]).name for one in result["inputs"]]
            self.page.write(lambda: document(found, result, draw(), names, notes))
        written = [] if self.keep is None else [f"toys written to {self.keep}"]
        self.output.give(result, lambda: pairs(rows), [*notes, *written])


def give(
    found: Tally, head: dict[str, Any], told: Told, notes: tuple[str, ...] = (), walls: tuple[str, ...] | None = None
) -> None:
    """Give a tally: p-value with its error, the asymptotic one beside it; as a figure the distribution (of weighted
    toys the tail probability) and running p. `walls`: parameters at an end of their range where the toys are thrown,
    None where that is not known.
    """
    result = {**head, **found.to_dict(), **_significance(found)}
    if walls is not None:
        result["at_bounds"] = list(walls)
    if walls:
        notes = (*notes, f"{', '.join(walls[:6])} at an end of the range where the toys are thrown, as then in most of "
                 "them: the toys know this wall, an asymptotic p-value does not")  # fmt: skip
    if found.weight is not None:
        result["method"] = "importance sampling"

    def draw() -> Any:
        from bumpfit.report.toys import tally

        if found.fitted and found.weight is not None:
            return _tail_probability(found, result["p_asymptotic"])
        return tally(found, _running(found) if found.fitted else None, result["p_asymptotic"])

    told.give(found, result, draw, _rows(result), [*notes, *_lost(found)])


def _tail_probability(found: Tally, expected: float | None) -> Any:
    import numpy as np

    from bumpfit.report.toys import tail_probability
    from bumpfit.toys import tail_curve
    from bumpfit.toys.importance import reach_of

    finite = found.value[np.isfinite(found.value)]
    # beyond the worlds that were thrown there are chance toys only, whose errors cannot be trusted
    end = min(float(finite.max(initial=0.0)), reach_of(found.observed) ** 2)
    curve = tail_curve(found, np.linspace(0.0, end, POINTS))
    return tail_probability(curve, found.observed, found.statistic, _running(found), expected)


def _lost(found: Tally) -> list[str]:
    """How far toys without a fit could move the p-value."""
    if not found.failed or found.observed is None or found.weight is not None:
        return []
    most = (found.hits(found.observed) + found.failed) / found.n
    return [f"{found.failed} toys could not be fitted; were they all as extreme as the data, p would be {number(most)}"]


def _running(found: Tally) -> Curve | None:
    """p after so many toys, None where there is nothing to compare with."""
    from bumpfit.toys import convergence

    return None if found.observed is None else convergence(found)


def _significance(found: Tally) -> dict[str, Any]:
    """z of the p-value, whether p is an upper bound because no toy is as extreme, and the asymptotic p of q0."""
    if found.observed is None or found.fitted == 0:
        return {"z": None, "p_is_upper_bound": None, "p_asymptotic": None}
    p = found.p_value()[0]
    plain = found.statistic == "q0" and found.thrown == 0
    return {
        "z": significance(p),
        "p_is_upper_bound": found.hits(found.observed) == 0,
        "p_asymptotic": upper_tail(max(found.observed, 0.0) ** 0.5) if plain else None,
    }


def _rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (
            "toys",
            f"{result['toys']} ({result['fitted']} fitted) of {result['statistic']}, thrown at {result['thrown']:g}",
        ),
        ("observed", statistic(result["observed"])),
    ]
    if result["p_value"] is not None:
        rows += _p_and_z("", result["p_value"], result["p_error"], result["p_upper"], bound=result["p_is_upper_bound"])
    if result.get("p_asymptotic") is not None:
        rows.append(("asymptotic p-value", probability(result["p_asymptotic"])))
    return rows


def _p_and_z(kind: str, p: float, error: float, upper: float | None, *, bound: bool) -> list[tuple[str, str]]:
    """A p-value with its error and significance; where no toy is as extreme also what it is at most."""
    if bound and upper is None:  # weighted toys: of the most extreme ones
        return [(f"{kind}p-value", f"< {number(p)}"), (f"{kind}Z", f"> {number(significance(p), 4)}")]
    rows = [(f"{kind}p-value", measured(p, error)), (f"{kind}Z", number(significance(p), 4))]
    if bound and upper is not None:
        most = f"p < {number(upper, 3)}, Z > {number(significance(upper), 3)} at 95 % confidence"
        rows.append(("no toy is as extreme", most))
    return rows


def give_scan(found: GlobalToys, head: dict[str, Any], told: Told, notes: tuple[str, ...] = ()) -> None:
    """Give scans: global p-value and the bound of Gross and Vitells; both over the largest significance as a figure."""
    result: dict[str, Any] = {**head, **found.to_dict()}
    p, tally = result["p_global"], found.tally
    bound = None if p is None or found.observed is None else tally.hits(found.observed) == 0
    result |= {"z_global": None if p is None else significance(p), "p_is_upper_bound": bound}
    rows = [
        ("toys", f"{result['toys']} ({result['fitted']} fitted with all signals of the scan)"),
        ("largest q0", number(result["observed"])),
    ]
    if p is not None:
        rows += _p_and_z("global ", p, result["p_global_error"], result["p_global_upper"], bound=bool(bound))
        rows.append(("Gross-Vitells bound", measured(result["gross_vitells"], result["gross_vitells_error"])))
    told.give(found, result, found.plot, rows, [*notes, *_lost(tally)])
