"""Results of many toys in a small file: exact values above a threshold, counts in narrow bins below it.

The file is a Parquet table of two columns, `value` (statistic) and `toys` (how many), with the provenance as JSON in
the schema's metadata (key `bumpfit`): any Parquet reader opens it, and the p-value at v is the sum of `toys` with
value >= v over all. Weighted toys have two more, `weight` and `weight_squared` (sums over the toys of a row); p is the
sum of `weight` with value >= v over the sum of `toys`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit import __version__
from bumpfit.errors import BumpfitError, InputError
from bumpfit.files import atomic
from bumpfit.foreign import parse_json
from bumpfit.law import estimate, upper_limit
from bumpfit.results import Record
from bumpfit.toys.throw import EXTREME, TIE

Floats = NDArray[np.float64]
Range = tuple[int, int]
Course = tuple[tuple[float, float, float], ...]
Sums = tuple[tuple[float, float], ...]

BIN = 0.01
"""Width of the bins below the threshold."""
SAME = ("model", "statistic", "thrown", "tested", "seed", "keep_above")
"""What has to be equal for results to be merged."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tally(Record):
    """How often a statistic took which value in the toys of `ranges` (first, end) of one seed.

    `value` (V,) ascending and `toys` (V,): above `keep_above` values are exact, below they are lower edges of bins of
    width 0.01 (zero is always exact). `failed` toys have no value.

    `course`: successive groups of toys as (fitted, weight of those at least as extreme as `observed`, their squared
    weights), from which the running p-value is drawn; empty without an observed statistic. `sums`: sum and sum of
    squares, over the fitted toys, of each further number that comes with a toy. `wanted`: toys of the whole run that
    these belong to. `weight` and `squares` (V,): sums of weights and of their squares; None where every toy counts one.

    Examples:
        >>> import numpy as np
        >>> values, counts = np.array([0.0, 1.0, 4.0]), np.array([60, 30, 10])
        >>> tally = bumpfit.toys.Tally("model", "q0", 0.0, 0.0, 1, 0.0, ((0, 100),), 0, values, counts)
        >>> tally.n, round(tally.p_value(4.0)[0], 3)  # the data are one more world: (10 + 1) / (100 + 1)
        (100, 0.109)
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
    weight: Floats | None = None
    squares: Floats | None = None

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
        """Smallest p-value that these toys can give: the data alone of them and the toys."""
        return 1.0 / (self.fitted + 1)

    def p_value(self, observed: float | None = None) -> tuple[float, float]:
        """Fraction of toys at least as extreme as the observed statistic (by default that of the data), and its error.

        Below `keep_above` it is rounded up to the edge of a bin. (h + 1) / (n + 1) with h hits, so the floor where no
        toy is as extreme; of weighted toys the probability of the ten most extreme ones there. Raises BumpfitError when
        there is nothing to compare with or no toy was fitted.
        """
        value = self.observed if observed is None else float(observed)
        if value is None:
            raise BumpfitError("there are no observed data to compare the toys with; give a value of the statistic")
        if math.isnan(value):
            raise InputError("the observed statistic is not a number")
        n = self.fitted
        if n == 0:
            raise BumpfitError("no toy could be fitted, so there is no p-value; look at one toy's fit by itself")
        if self.weight is not None and self.hits(value) == 0:
            enough = np.flatnonzero(np.cumsum(self.toys[::-1]) >= min(EXTREME, n))[0]
            value = float(self.value[self.value.size - 1 - enough])
        return estimate(*self.above(value), n, plain=self.weight is None)

    def above(self, observed: float) -> tuple[float, float]:
        """Sum of the weights, and of their squares, of the toys at least as extreme as a value of the statistic."""
        place = slice(int(np.searchsorted(self.value, threshold(observed, self.keep_above))), None)
        if self.weight is None or self.squares is None:
            hits = float(self.toys[place].sum())
            return hits, hits
        return float(self.weight[place].sum()), float(self.squares[place].sum())

    def hits(self, observed: float) -> int:
        """Number of toys at least as extreme as a value of the statistic; see `p_value` about rounding."""
        return int(self.toys[np.searchsorted(self.value, threshold(observed, self.keep_above)) :].sum())

    def upper(self) -> float | None:
        """What the observed p-value is at most, with 95 % confidence; None of weighted toys, and without an observed
        statistic.
        """
        if self.observed is None or not self.fitted or self.weight is not None:
            return None
        return upper_limit(self.hits(self.observed), self.fitted)

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
            "p_upper": self.upper(),
            "floor": self.floor,
        }

    def _provenance(self) -> dict[str, Any]:
        names = ("version", *SAME, "wanted", "ranges", "failed", "observed")
        return {name: getattr(self, name) for name in names}

    def write(self, path: str | Path) -> None:
        """Write the Parquet file; raises UnfinishedError when the system refuses (disk full)."""
        with atomic(path) as temporary:
            TALLIES.write(temporary, self)


class _TallyForm:
    """A tally as a file, see the head of this module."""

    suffix = ".parquet"

    def write(self, path: Path, piece: Tally) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns: dict[str, Any] = {"value": piece.value, "toys": piece.toys}
        if piece.weight is not None:
            columns["weight"] = piece.weight
        if piece.squares is not None:
            columns["weight_squared"] = piece.squares
        content = {**piece._provenance(), "course": piece.course, "sums": piece.sums}
        table = pa.table(columns).replace_schema_metadata({"bumpfit": json.dumps(content)})
        pq.write_table(table, path, compression="zstd", write_page_checksum=True)

    def read(self, path: Path) -> Tally:
        return read(path)


TALLIES = _TallyForm()


def read(path: str | Path) -> Tally:
    """Read a file that `Tally.write` made; raises InputError for anything else.

    Examples:
        >>> toys = bumpfit.toys.run(bumpfit.toys.engine(model), 200, seed=1, path="toys.parquet")
        >>> bumpfit.toys.read("toys.parquet").n
        200
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not Path(path).is_file():
        raise InputError(f"there is no file {path}; expected a result of 'bumpfit toys'")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        content = provenance(table.schema.metadata, path)
        value, toys = table["value"].cast("float64").to_numpy(), table["toys"].cast("int64").to_numpy()
        weight, squares = (
            table[name].cast("float64").to_numpy() if name in table.column_names else None
            for name in ("weight", "weight_squared")
        )
        ranges = tuple((int(a), int(b)) for a, b in content.pop("ranges", ()))
        course = tuple((float(a), float(b), float(c)) for a, b, c in content.pop("course", ()))
        sums = tuple((float(a), float(b)) for a, b in content.pop("sums", ()))
        found = Tally(
            ranges=ranges, course=course, sums=sums, value=value, toys=toys, weight=weight, squares=squares, **content
        )
        _check(found)
        return found
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError, OverflowError) as error:
        why = "a column or the provenance is missing" if isinstance(error, KeyError) else error
        raise InputError(f"{path} is not a result of 'bumpfit toys' (or it is damaged): {why}") from error


def provenance(metadata: Any, path: str | Path) -> dict[str, Any]:
    """The provenance in a file's metadata; raises KeyError, TypeError or InputError where it is none."""
    content = parse_json((metadata or {})[b"bumpfit"], f"{path}: its provenance")
    if not isinstance(content, dict):
        raise TypeError("its provenance is none")
    return content


def _check(found: Tally) -> None:
    """Raise ValueError where a tally contradicts itself."""
    if not found.ranges or any(not 0 <= a < b for a, b in found.ranges) or joined(found.ranges) != found.ranges:
        raise ValueError("its ranges of toys are none")
    counts = found.failed >= 0 and (found.toys > 0).all() and found.fitted + found.failed == found.n
    if not (counts and all(isinstance(x, int) for x in (found.failed, found.seed, found.wanted))):
        raise ValueError("its numbers of toys do not add up")
    if np.isnan(found.value).any() or (np.diff(found.value) <= 0).any():
        raise ValueError("its values are not in order")
    settings = (found.thrown, found.tested, found.keep_above, 0.0 if found.observed is None else found.observed)
    if not all(isinstance(x, int | float) and not math.isnan(x) for x in settings):
        raise ValueError("a setting is not a number")
    if (found.weight is None) != (found.squares is None):
        raise ValueError("a column of weights is missing")
    for weights in (found.weight, found.squares):
        if weights is not None and not (np.isfinite(weights) & (weights >= 0)).all():
            raise ValueError("a weight is negative or not finite")


def threshold(observed: float, keep_above: float) -> float:
    """Smallest value of a tally that is at least as extreme as the observed one."""
    return (float(lower_edge(np.array(observed))) if 0 < observed <= keep_above else observed) - TIE


def lower_edge(value: Floats) -> Floats:
    """Where a tally puts a value that it keeps in a bin; zero stays, and the first bin begins just above it."""
    edge: Floats = np.maximum(np.floor(value / BIN), 0.5) * BIN
    return np.where(value > 0, edge, value)


def joined(ranges: Sequence[Range]) -> tuple[Range, ...]:
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
