"""The report of toys: the p-value, the statistic in the toys and in the data, how p settled, and how to repeat it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bumpfit.normal import significance
from bumpfit.pages.origin import made
from bumpfit.pages.terminal import measured, number
from bumpfit.report.document import Block, Document, Heading, Table, Verdict, verbatim
from bumpfit.report.embedded import embedded
from bumpfit.report.rounding import MINUS, count, probability, relation, z_value
from bumpfit.toys import convergence
from bumpfit.toys.tally import BIN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from bumpfit.toys import GlobalToys, Tally

LEVELS = (0.5, 0.68, 0.95, 0.99, 0.999, 0.9999)
"""Fractions of the toys whose largest value is told, where at least `ENOUGH` toys are above."""
ENOUGH = 10
SMALL = 1e-3
"""p-values below are written in powers of ten."""
STEPS = 12
"""Rows of the table of the running p-value."""
METHOD = (
    "A p-value is (h + 1) / (n + 1) for h of n toys at least as extreme as the data; its error is the binomial one. "
    "Toy i of a seed is the same however the work is split."
)
WEIGHTED = (
    "Toys were thrown at stronger signals and weighted by their likelihood ratio (importance sampling): p is the sum "
    "of the weights of those at least as extreme as the data over the number of toys, its error that of the weights."
)
SCAN = (
    "The p-value is global: the largest local significance of a scan over all its signals, in toys without a signal, "
    "against that of the data. The bound is that of Gross and Vitells, Eur. Phys. J. C 70 (2010) 525."
)


def document(
    found: Tally | GlobalToys, result: Mapping[str, Any], figure: Figure, names: Sequence[str], notes: Sequence[str]
) -> Document:
    """The report as data.

    Args:
        found: toys of one model, or scans over several.
        result: what the command gives as JSON.
        figure: the drawing of the toys.
        names: the workspaces or result files.
        notes: what the command says besides.
    """
    scan = "p_global" in result
    tally: Tally = getattr(found, "tally", found)  # type: ignore[arg-type]
    weighted = tally.weight is not None
    method = f"{SCAN} {METHOD}" if scan else WEIGHTED if weighted else METHOD
    blocks = [
        _answer(tally, result, notes, scan=scan),
        *_statistic(tally, figure, scan=scan),
        *_course(tally),
        *made(result, method, notes),
    ]
    title = "Toys of " + ", ".join(verbatim(name) for name in names[:3]) + (" and others" if len(names) > 3 else "")
    kind = "scans" if scan else "toys"
    thrown = f"{count(tally.n)} {kind}, seed {tally.seed}, thrown at a strength of {number(tally.thrown)}"
    return Document(title, f"bumpfit {result['version']}. {thrown}.", tuple(blocks))


def _answer(tally: Tally, result: Mapping[str, Any], notes: Sequence[str], *, scan: bool) -> Verdict:
    symbol = "largest q_{0}" if scan else f"observed {_symbol(tally.statistic)}"
    lost = f"{count(tally.failed)} without a fit" if tally.failed else "all fitted"
    toys = ("toys", count(tally.n), lost)
    p = result["p_global" if scan else "p_value"]
    if p is None:
        told = "There is no observed statistic to compare with." if tally.fitted else "No toy could be fitted."
        return Verdict("No p-value", told, False, (toys, (symbol, number(result["observed"]), "")))
    error, upper = (result[f"p_global_{what}" if scan else f"p_{what}"] for what in ("error", "upper"))
    z = result["z_global" if scan else "z"]
    bound = bool(result["p_is_upper_bound"])
    kind = "global " if scan else ""
    thrown = f"Toys thrown at a strength of {number(tally.thrown)}"
    text = f"{thrown} are at least as extreme as the data with a probability of {_written(p, error, bound=bound)}."
    if bound:
        text = f"{thrown}: none is as extreme as the data, so p is a bound."
        text += (
            ""
            if upper is None
            else f" At 95 % confidence p < {probability(upper)}, Z > {z_value(significance(upper))}."
        )
    facts = [
        (f"{kind}p-value", _written(p, error, bound=bound), ""),
        (f"{kind}significance", ("> " if bound else "") + z_value(z), "one-sided"),
        (symbol, number(result["observed"]), ""),
        toys,
    ]
    if scan:
        bounds = _with_error(result["gross_vitells"], result["gross_vitells_error"])
        facts.insert(2, ("bound of Gross and Vitells", bounds, ""))
    elif result.get("p_asymptotic") is not None:
        facts.insert(2, ("asymptotic p-value", probability(result["p_asymptotic"]), "of the same statistic"))
    title = (
        f"{kind.capitalize()}{relation('p', _written(p, None, bound=bound))}, Z {'>' if bound else '='} {z_value(z)}"
    )
    return Verdict(title, " ".join([text, *(f"{note[0].upper()}{note[1:]}." for note in notes)]), False, tuple(facts))


def _written(p: float, error: float | None, *, bound: bool) -> str:
    if bound:
        return f"< {probability(p)}"
    return probability(p) if error is None else _with_error(p, error)


def _with_error(p: float, error: float) -> str:
    """`0.295 ± 0.014`, and `(1.25 ± 0.06) × 10^{-8}` where it is small."""
    if not 0 < error < math.inf:
        return probability(p)
    if p >= SMALL:
        return measured(p, error)
    power = math.floor(math.log10(p))
    return f"({measured(p / 10.0**power, error / 10.0**power)}) × 10^{{{MINUS}{-power}}}"


def _symbol(statistic: str) -> str:
    symbols = {"q0": "q_{0}", "qmu": "q_{μ}", "qtilde": "q̃_{μ}", "tmu": "t_{μ}", "ttilde": "t̃_{μ}"}
    return symbols.get(statistic, verbatim(statistic))


def _statistic(tally: Tally, figure: Figure, *, scan: bool) -> list[Block]:
    told = "The statistic in the toys, with that of the data."
    if scan:
        told = "Largest q_{0} of each scan, and the global p-value over the largest local significance."
    elif tally.weight is not None:
        told = "Probability of a value at least as large, from weighted toys, and p after so many of them."
    elif tally.observed is not None:
        told = "The statistic in the toys with its asymptotic law and that of the data, and p after so many toys."
    blocks: list[Block] = [
        Heading("The statistic", "statistic"),
        embedded("distribution", figure, told),
    ]
    levels = [level for level in LEVELS if (1 - level) * tally.fitted >= ENOUGH]
    if tally.weight is not None or not levels:
        return blocks
    rows = tuple(
        (f"{100 * level:g} %", number(tally.quantile(level)), count(round((1 - level) * tally.fitted)))
        for level in levels
    )
    steps = f", in steps of {BIN:g} up to {number(tally.keep_above)}" if tally.keep_above else ""
    caption = f"Values below which a fraction of the toys lies{steps}."
    return [*blocks, Table("quantiles", caption, ("Toys below", "Statistic", "Toys above"), rows, (1, 2))]


def _course(tally: Tally) -> list[Block]:
    if tally.observed is None or not tally.fitted or not tally.course:
        return []
    curve = convergence(tally)
    places = sorted({round(k * (len(curve.x) - 1) / (STEPS - 1)) for k in range(STEPS)})
    rows = tuple((count(curve.x[k]), _with_error(float(curve.p[k]), float(curve.error[k]))) for k in places)
    return [
        Heading("How p settled", "course"),
        Table("running", "The p-value after so many toys, in the order of their numbers.", ("Toys", "p"), rows, (0, 1)),
    ]
