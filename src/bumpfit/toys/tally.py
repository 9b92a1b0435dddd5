"""Results of many toys in a small file: exact values above a threshold, counts in narrow bins below it.

The file is a Parquet table of two columns, `value` (statistic) and `toys` (how many), with the provenance as JSON in
the schema's metadata (key `bumpfit`): any Parquet reader opens it, and the p-value at v is the sum of `toys` with
value >= v over all. Tallies of different toys of the same model, statistic and seed can be merged.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit import __version__
from bumpfit.errors import BumpfitError, InputError
from bumpfit.files import atomic
from bumpfit.results import Record
from bumpfit.toys.engine import FITTED, Batch, Source
from bumpfit.toys.throw import TIE

Floats = NDArray[np.float64]
Range = tuple[int, int]
Course = tuple[tuple[int, int], ...]
Sums = tuple[tuple[float, float], ...]

BIN = 0.01
"""Width of the bins below the threshold."""
SAME = ("model", "statistic", "thrown", "tested", "seed", "keep_above")
"""What has to be equal for results to be merged."""
STEPS = 10
"""Groups of toys a decade in the course of p."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tally(Record):
    """How often a statistic took which value in the toys of `ranges` (first, end) of one seed.

    `value` (V,) ascending and `toys` (V,): above `keep_above` values are exact, below they are lower edges of bins of
    width 0.01 (zero is always exact). `failed` toys have no value.

    `course`: successive groups of toys as (fitted, at least as extreme as `observed`), from which the running p-value
    is drawn; empty without an observed statistic. `sums`: sum and sum of squares, over the fitted toys, of each further
    number that comes with a toy. `wanted`: toys of the whole run that these belong to.
    """

    model: str
    statistic: str
    thrown: float
    tested: float
    seed: int
    keep_above: float
    ranges: tuple[Range, ...]
    failed: int
    value: Floats
    toys: NDArray[np.int64]
    observed: float | None = None
    version: str = __version__
    course: Course = ()
    sums: Sums = ()
    wanted: int = 0

    @property
    def n(self) -> int:
        """Number of toys thrown."""
        return sum(end - first for first, end in self.ranges)

    @property
    def fitted(self) -> int:
        """Number of toys with a value."""
        return int(self.toys.sum())

    @property
    def floor(self) -> float:
        """Smallest p-value that these toys can give."""
        return 1.0 / max(1, self.fitted)

    def p_value(self, observed: float | None = None) -> tuple[float, float]:
        """Fraction of toys at least as extreme as the observed statistic (by default that of the data), and its error.

        Below `keep_above` it is rounded up to the edge of a bin. Where no toy is, the result is the floor as an upper
        bound. Raises BumpfitError when there is nothing to compare with or no toy was fitted.
        """
        value = self.observed if observed is None else float(observed)
        if value is None:
            raise BumpfitError("there are no observed data to compare the toys with; give a value of the statistic")
        if math.isnan(value):
            raise InputError("the observed statistic is not a number")
        n = self.fitted
        if n == 0:
            raise BumpfitError("no toy could be fitted, so there is no p-value; look at one toy's fit by itself")
        hits = self.hits(value)
        p = hits / n
        return (1 / n, 1 / n) if hits == 0 else (p, math.sqrt(p * max(1 - p, 1 / n) / n))

    def hits(self, observed: float) -> int:
        """Number of toys at least as extreme as a value of the statistic; see `p_value` about rounding."""
        return int(self.toys[np.searchsorted(self.value, _threshold(observed, self.keep_above)) :].sum())

    def quantile(self, level: float) -> float:
        """Value below which a fraction `level` of the toys lie."""
        if not 0 <= level <= 1:
            raise InputError(f"a quantile's level lies between 0 and 1, got {level}")
        if self.fitted == 0:
            raise BumpfitError("no toy could be fitted, so there is no quantile")
        place = int(np.searchsorted(np.cumsum(self.toys), level * self.fitted))
        return float(self.value[min(place, self.value.size - 1)])

    def to_dict(self) -> dict[str, Any]:
        """Summary in plain JSON types, without the values and the course."""
        p, error = self.p_value() if self.observed is not None and self.fitted else (None, None)
        return {
            **self._provenance(),
            "toys": self.n,
            "fitted": self.fitted,
            "p_value": p,
            "p_error": error,
            "floor": self.floor,
        }

    def _provenance(self) -> dict[str, Any]:
        names = ("version", *SAME, "wanted", "ranges", "failed", "observed")
        return {name: getattr(self, name) for name in names}

    def write(self, path: str | Path) -> None:
        """Write the Parquet file; raises BumpfitError when the system refuses (disk full)."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({"value": self.value, "toys": self.toys})
        content = {**self._provenance(), "course": self.course, "sums": self.sums}
        table = table.replace_schema_metadata({"bumpfit": json.dumps(content)})
        try:
            with atomic(path) as temporary:
                pq.write_table(table, temporary, compression="zstd")
        except OSError as error:
            raise BumpfitError(
                f"cannot write {path} ({error.strerror or error}); what was written before is kept"
            ) from error


def read(path: str | Path) -> Tally:
    """Read a file that `Tally.write` made; raises InputError for anything else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not Path(path).is_file():
        raise InputError(f"there is no file {path}; expected a result of 'bumpfit toys'")
    try:
        table = pq.read_table(path)
        content = json.loads((table.schema.metadata or {})[b"bumpfit"])
        value, toys = table["value"].to_numpy(), table["toys"].to_numpy()
        ranges, course = (tuple((int(a), int(b)) for a, b in content.pop(name, ())) for name in ("ranges", "course"))
        sums = tuple((float(a), float(b)) for a, b in content.pop("sums", ()))
        return Tally(ranges=ranges, course=course, sums=sums, value=value, toys=toys, **content)
    except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
        why = "a column or the provenance is missing" if isinstance(error, KeyError) else error
        raise InputError(f"{path} is not a result of 'bumpfit toys' (or it is damaged): {why}") from error


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
    values, ranges, sums = [], [], np.zeros((0, 2))
    for first, batch in batches:
        if batch.statistic.shape[1] != 1:
            raise InputError("these toys hold several signals; a tally holds one statistic")
        values.append(np.where(batch.status == FITTED, batch.statistic[:, 0], np.nan))
        ranges.append((first, first + len(batch.status)))
        further = batch.forms[batch.status == FITTED]
        sums = np.column_stack([further.sum(axis=0), (further**2).sum(axis=0)]) + (sums if sums.size else 0.0)
    thrown = np.concatenate(values) if values else np.zeros(0)
    good = ~np.isnan(thrown)
    value, toys = _counted(thrown[good], keep_above)
    return dataclasses.replace(
        empty(engine, seed, keep_above), ranges=_joined(ranges), failed=int((~good).sum()), value=value, toys=toys,
        observed=observed, course=() if observed is None else _groups(ranges, thrown, keep_above, observed),
        sums=tuple((float(a), float(b)) for a, b in sums),
    )  # fmt: skip


def _groups(ranges: Sequence[Range], statistic: Floats, keep_above: float, observed: float) -> Course:
    """Course of p between the toys 10, 13, 16, ... of a run, in equal steps of their logarithm, in one piece of it."""
    if not statistic.size:
        return ()
    first = ranges[0][0]
    end = first + statistic.size
    low, high = (STEPS * math.log10(max(toy, 10)) for toy in (first, end))
    cuts = np.round(10 ** (np.arange(math.floor(low), math.ceil(high) + 1) / STEPS)).astype(np.int64)
    edges = np.unique(np.concatenate([[first], cuts[(cuts > first) & (cuts < end)]])) - first
    placed = np.where(statistic > keep_above, statistic, _lower_edge(statistic))
    fitted, hits = (
        np.add.reduceat(what.astype(np.int64), edges)
        for what in (~np.isnan(statistic), placed >= _threshold(observed, keep_above))
    )
    return tuple(zip(fitted.tolist(), hits.tolist(), strict=True))


def _threshold(observed: float, keep_above: float) -> float:
    """Smallest value of a tally that is at least as extreme as the observed one."""
    return (float(_lower_edge(np.array(observed))) if 0 < observed <= keep_above else observed) - TIE


def _lower_edge(value: Floats) -> Floats:
    """Where a tally puts a value that it keeps in a bin; zero stays, and the first bin begins just above it."""
    edge: Floats = np.maximum(np.floor(value / BIN), 0.5) * BIN
    return np.where(value > 0, edge, value)


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


def _joined(ranges: Sequence[Range]) -> tuple[Range, ...]:
    """Ranges in order, neighbours joined; raises InputError where two overlap."""
    result: list[Range] = []
    for first, end in sorted(ranges):
        if result and first < result[-1][1]:
            raise InputError(
                f"toys {first} to {min(end, result[-1][1]) - 1} are in more than one result; merge each shard once"
            )
        if result and first == result[-1][1]:
            result[-1] = (result[-1][0], end)
        else:
            result.append((first, end))
    return tuple(result)


def merge(tallies: Sequence[Tally]) -> Tally:
    """All toys of several tallies; raises InputError when they do not belong together or share toys."""
    if not tallies:
        raise InputError("there is nothing to merge; give at least one result file")
    first = tallies[0]
    for other in tallies[1:]:
        for name in SAME:
            if getattr(other, name) != getattr(first, name):
                raise InputError(
                    f"results of different toys cannot be merged: {name} is {getattr(first, name)} in one and "
                    f"{getattr(other, name)} in another"
                )
    values = np.concatenate([t.value for t in tallies])
    counts = np.concatenate([t.toys for t in tallies])
    found, place = np.unique(values, return_inverse=True)
    observed = next((t.observed for t in tallies if t.observed is not None), None)
    total = np.zeros(found.size, np.int64)
    np.add.at(total, place, counts)
    return dataclasses.replace(
        first,
        ranges=_joined([r for t in tallies for r in t.ranges]),
        failed=sum(t.failed for t in tallies),
        value=found,
        toys=total,
        observed=observed,
        course=course(tallies, observed),
        sums=_added([t.sums for t in tallies if t.fitted]),
        wanted=max(t.wanted for t in tallies),
    )


def _added(sums: Sequence[Sums]) -> Sums:
    total = [[math.fsum(column) for column in zip(*entries, strict=True)] for entries in zip(*sums, strict=True)]
    return tuple((a, b) for a, b in total)


def coarser(found: Tally, keep_above: float) -> Tally:
    """The same toys with values up to a higher threshold in bins."""
    if keep_above <= found.keep_above:
        return found
    fine = (found.value > found.keep_above) & (found.value <= keep_above)
    value = np.where(fine, _lower_edge(found.value), found.value)
    edges, place = np.unique(value, return_inverse=True)
    total = np.zeros(edges.size, np.int64)
    np.add.at(total, place, found.toys)
    # what rounding of the observed value makes of a group of toys is not known any more
    known = found.observed is not None and found.observed > keep_above
    return dataclasses.replace(
        found, keep_above=keep_above, value=edges, toys=total, course=found.course if known else ()
    )


def course(tallies: Sequence[Tally], observed: float | None) -> Course:
    """Course of p over several tallies; one that was made for another observed statistic is a single group."""
    if observed is None:
        return ()
    groups: list[tuple[int, int]] = []
    for one in sorted(tallies, key=lambda t: t.ranges[:1]):
        own = one.course if one.observed == observed else ()
        groups += own or ([(one.fitted, one.hits(observed))] if one.fitted else [])
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
