"""Toys counted in a tally, and tallies of different toys of the same model, statistic and seed merged."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.toys.engine import FITTED, Batch, Source
from bumpfit.toys.tally import BIN, SAME, Course, Floats, Range, Sums, Tally, joined, lower_edge, threshold
from bumpfit.toys.throw import TIE

STEPS = 10
"""Groups of toys a decade in the course of p."""


def empty(engine: Source, seed: int, keep_above: float) -> Tally:
    """No toys yet of an engine."""
    return Tally(
        model=engine.digest,
        statistic=engine.name,
        thrown=engine.thrown,
        tested=engine.tested,
        seed=seed,
        keep_above=keep_above,
        ranges=(),
        failed=0,
        value=np.zeros(0),
        toys=np.zeros(0, np.int64),
    )


def tally(
    engine: Source,
    batches: Iterable[tuple[int, Batch]],
    seed: int,
    keep_above: float,
    observed: float | None = None,
) -> Tally:
    """Count the toys of batches (first toy, results), and the course of p where there is an observed statistic."""
    values, ranges, weights, sums = [], [], [], np.zeros((0, 2))
    for first, batch in batches:
        if batch.statistic.shape[1] != 1:
            raise InputError("these toys hold several signals; a tally holds one statistic")
        values.append(np.where(batch.status == FITTED, batch.statistic[:, 0], np.nan))
        ranges.append((first, first + len(batch.status)))
        weights += [] if batch.weights is None else [batch.weights]
        further = batch.forms[batch.status == FITTED]
        sums = np.column_stack([further.sum(axis=0), (further**2).sum(axis=0)]) + (sums if sums.size else 0.0)
    thrown = np.concatenate(values) if values else np.zeros(0)
    good = ~np.isnan(thrown)
    value, toys = _counted(thrown[good], keep_above)
    weight = np.concatenate(weights) if weights else None
    place = np.searchsorted(value, _placed(thrown[good], keep_above))
    return dataclasses.replace(
        empty(engine, seed, keep_above), ranges=joined(ranges), failed=int((~good).sum()), value=value, toys=toys,
        observed=observed, course=() if observed is None else _groups(ranges, thrown, weight, keep_above, observed),
        weight=None if weight is None else _summed(place, weight[good], value.size),
        squares=None if weight is None else _summed(place, weight[good] ** 2, value.size),
        sums=tuple((float(a), float(b)) for a, b in sums),
    )  # fmt: skip


def _summed(place: NDArray[np.intp], what: NDArray[Any], size: int) -> Floats:
    """Sum of the entries at each place, shape (size,)."""
    return np.bincount(place, what.astype(np.float64), size).astype(np.float64)


def _groups(
    ranges: Sequence[Range], statistic: Floats, weight: Floats | None, keep_above: float, observed: float
) -> Course:
    """Course of p between the toys 10, 13, 16, ... of a run, in equal steps of their logarithm, in one piece of it."""
    if not statistic.size:
        return ()
    first = ranges[0][0]
    end = first + statistic.size
    low, high = (STEPS * math.log10(max(toy, 10)) for toy in (first, end))
    cuts = np.round(10 ** (np.arange(math.floor(low), math.ceil(high) + 1) / STEPS)).astype(np.int64)
    edges = np.unique(np.concatenate([[first], cuts[(cuts > first) & (cuts < end)]])) - first
    above = (_placed(statistic, keep_above) >= threshold(observed, keep_above)) * (1.0 if weight is None else weight)
    columns = (
        np.add.reduceat(what, edges).tolist() for what in ((~np.isnan(statistic)).astype(float), above, above**2)
    )
    return tuple(zip(*columns, strict=True))


def _placed(statistic: Floats, keep_above: float) -> Floats:
    """Where a tally puts values."""
    return np.where(statistic > keep_above, statistic, lower_edge(statistic))


def _counted(values: Floats, keep_above: float) -> tuple[Floats, NDArray[np.int64]]:
    """Distinct values with their numbers, those between 0 and the threshold moved to the lower edge of their bin."""
    zeros = np.count_nonzero(values == 0)
    exact, counts = np.unique(values[values > keep_above], return_counts=True)
    inside = values[(values > 0) & (values <= keep_above)]
    binned = np.bincount((inside / BIN).astype(np.int64)) if inside.size else np.zeros(0, np.int64)
    used = np.flatnonzero(binned)
    # the first bin begins just above 0, where toys of the value 0 are
    edges = np.maximum(used, 0.5) * BIN
    found = np.concatenate([[0.0] if zeros else [], edges, exact])
    return found, np.concatenate([[zeros] if zeros else [], binned[used], counts]).astype(np.int64)


def merge(tallies: Sequence[Tally]) -> Tally:
    """All toys of several tallies; raises InputError when they do not belong together or share toys.

    Examples:
        >>> import dataclasses
        >>> import numpy as np
        >>> values, counts = np.array([0.0, 1.0, 4.0]), np.array([2, 1, 1])
        >>> tally = bumpfit.toys.Tally("model", "q0", 0.0, 0.0, 1, 0.0, ((0, 4),), 0, values, counts)
        >>> rest = dataclasses.replace(tally, ranges=((4, 8),))
        >>> bumpfit.toys.merge([tally, rest]).n
        8
    """
    if not tallies:
        raise InputError("there is nothing to merge; give at least one result file")
    first = tallies[0]
    for other in tallies[1:]:
        if first.n and other.n and (first.weight is None) != (other.weight is None):
            raise InputError(
                "results of different toys cannot be merged: one holds toys that are weighted (--tail), one plain ones"
            )
        for name in SAME:
            if getattr(other, name) != getattr(first, name):
                raise InputError(
                    f"results of different toys cannot be merged: {name} is {getattr(first, name)} in one and "
                    f"{getattr(other, name)} in another"
                )
    observed = next((t.observed for t in tallies if t.observed is not None), None)
    weighted = any(t.weight is not None for t in tallies)
    weights = np.concatenate([t.toys if t.weight is None else t.weight for t in tallies]) if weighted else None
    squares = np.concatenate([t.toys if t.squares is None else t.squares for t in tallies]) if weighted else None
    return dataclasses.replace(
        first,
        **_grouped(
            np.concatenate([t.value for t in tallies]), np.concatenate([t.toys for t in tallies]), weights, squares
        ),
        ranges=joined([r for t in tallies for r in t.ranges]),
        failed=sum(t.failed for t in tallies),
        observed=observed,
        course=course(tallies, observed),
        sums=_added([t.sums for t in tallies if t.fitted]),
        wanted=max(t.wanted for t in tallies),
    )


def _grouped(
    value: Floats, toys: NDArray[np.int64], weight: NDArray[Any] | None, squares: NDArray[Any] | None
) -> dict[str, Any]:
    """Columns of a tally with one row for each value."""
    found, place = np.unique(value, return_inverse=True)
    total = np.zeros(found.size, np.int64)
    np.add.at(total, place, toys)
    sums = {"weight": weight, "squares": squares}
    summed = {name: None if what is None else _summed(place, what, found.size) for name, what in sums.items()}
    return {"value": found, "toys": total, **summed}


def _added(sums: Sequence[Sums]) -> Sums:
    total = [[math.fsum(column) for column in zip(*entries, strict=True)] for entries in zip(*sums, strict=True)]
    return tuple((a, b) for a, b in total)


def coarser(found: Tally, keep_above: float) -> Tally:
    """The same toys with values up to a higher threshold in bins."""
    if keep_above <= found.keep_above:
        return found
    fine = (found.value > found.keep_above) & (found.value <= keep_above)
    value = np.where(fine, lower_edge(found.value), found.value)
    # what rounding of the observed value makes of a group of toys is not known any more
    known = found.observed is not None and found.observed > keep_above
    return dataclasses.replace(
        found,
        keep_above=keep_above,
        course=found.course if known else (),
        **_grouped(value, found.toys, found.weight, found.squares),
    )


def course(tallies: Sequence[Tally], observed: float | None) -> Course:
    """Course of p over several tallies; one that was made for another observed statistic is a single group."""
    if observed is None:
        return ()
    groups: list[tuple[float, float, float]] = []
    for one in sorted(tallies, key=lambda t: t.ranges[:1]):
        own = one.course if one.observed is not None and abs(one.observed - observed) <= TIE else ()
        groups += own or ([(float(one.fitted), *one.above(observed))] if one.fitted else [])
    return tuple(groups)


def missing(n_first: int, n_end: int, done: Sequence[Range]) -> list[Range]:
    """Ranges of toys n_first to n_end (exclusive) that are not done."""
    result, begin = [], n_first
    for first, end in sorted(done):
        if first > begin:
            result.append((begin, min(first, n_end)))
        begin = max(begin, end)
        if begin >= n_end:
            break
    if begin < n_end:
        result.append((begin, n_end))
    return [(a, b) for a, b in result if a < b]
