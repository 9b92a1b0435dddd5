"""Long runs of toys: in pieces that survive an interruption, on workers, an executor or Dask, until p is known well
enough.

A run of n toys with a result file FILE keeps finished pieces in FILE.parts/ and joins them at the end. Started again,
it throws only what is missing, and its numbers are those of a run without interruption, because toy i of a seed is the
same toy wherever it is made.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from bumpfit import runs
from bumpfit.errors import InputError
from bumpfit.execute import ordered_map
from bumpfit.law import estimate
from bumpfit.progress import bar
from bumpfit.toys.engine import Source
from bumpfit.toys.tally import SAME, TALLIES, Range, Tally, read
from bumpfit.toys.tallying import coarser, course, empty, merge, missing, tally
from bumpfit.toys.throw import check_run

CHUNKS = 8
"""Chunks of an engine in one piece: less than a second or so of work is lost by an interruption."""
KEEP = ((10_000_000, 0.0), (100_000_000, 4.0))
MOST = 9.0
"""What is kept exactly: all statistics of up to 10^7 toys, those above 4 of up to 10^8, those above 9 of more."""
PART = "{first:015d}-{end:015d}"

_engines: dict[str, Source] = {}


def _piece(task: tuple[Source, int, int, int, float, float | None]) -> Tally:
    """Throw toys first to end of an engine; an engine that comes again in a worker keeps its tables."""
    engine, first, end, seed, keep_above, observed = task
    if engine.digest not in _engines:
        _engines.clear()
    known = _engines.setdefault(engine.digest, engine)
    size = known.chunk
    runs = ((begin, known.run(begin, min(size, end - begin), seed)) for begin in range(first, end, size))
    return tally(known, runs, seed, keep_above, observed)


def shard(n: int, index: int, shards: int) -> Range:
    """Toys of shard `index` (from 1) of `shards` in a run of n toys.

    Raises InputError when there is no such shard, or none of its toys.

    Examples:
        >>> bumpfit.toys.shard(1000, 2, 4)
        (250, 500)
    """
    if shards < 1 or not 1 <= index <= shards:
        raise InputError(f"there is no shard {index}/{shards}; shards are numbered 1/{max(shards, 1)} to the last")
    if n < shards:
        raise InputError(f"{n} toys cannot be split into {shards} shards; ask for at most as many shards as toys")
    return n * (index - 1) // shards, n * index // shards


def parse_shard(text: str) -> tuple[int, int]:
    """Index and number of shards from "3/8"; raises InputError for anything else.

    Examples:
        >>> bumpfit.toys.parse_shard("3/8")
        (3, 8)
    """
    index, _, shards = text.partition("/")
    if not (index.isascii() and index.isdigit() and shards.isascii() and shards.isdigit()):
        raise InputError(f"'{text}' is not a shard; expected its number and how many there are, such as 3/8")
    shard(int(shards), int(index), int(shards))
    return int(index), int(shards)


def run(
    engine: Source,
    n: int,
    *,
    seed: int = 0,
    path: str | Path | None = None,
    part: Range | None = None,
    keep_above: float | None = None,
    until: float | None = None,
    observed: float | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    show: bool | None = None,
) -> Tally:
    """Throw n toys (or those of `part`, a shard's range) and count the values of the statistic.

    path        result file; finished pieces are kept beside it, and a run that starts again continues
    keep_above  statistics above are kept exactly, those below in bins of 0.01; by default see `KEEP` (what earlier,
                shorter runs kept in more detail is put into bins then)
    until       stop when the relative error of the observed p-value is below this
    observed    statistic to compare with; by default that of the model's data
    workers     threads; or an `executor` of any kind

    Raises InputError for wrong settings and for a result file of other toys; BumpfitError when the disk is full.

    Examples:
        >>> engine = bumpfit.toys.engine(model)
        >>> first = bumpfit.toys.run(engine, 400, seed=1, part=bumpfit.toys.shard(400, 1, 2))
        >>> rest = bumpfit.toys.run(engine, 400, seed=1, part=bumpfit.toys.shard(400, 2, 2))
        >>> bumpfit.toys.merge([first, rest]).n
        400
    """
    check_run(n, seed, workers)
    if until is not None and not 0 < until < 1:
        raise InputError(f"the target of the relative error of p is {until}; expected a number between 0 and 1")
    first, end = (0, n) if part is None else part
    if keep_above is None:
        keep_above = next((value for most, value in KEEP if n <= most), MOST)
    if not keep_above >= 0:
        raise InputError(f"keep_above is {keep_above}; expected a value of the statistic from 0 on")
    known = engine.observed() if observed is None else observed
    if until is not None and known is None:
        raise InputError("there are no observed data, so the error of p has no target; give the observed statistic")
    done = [dataclasses.replace(empty(engine, seed, keep_above), observed=known, wanted=n)]
    settings = {name: getattr(done[0], name) for name in SAME if name != "keep_above"}
    with runs.beside(path, settings) as kept:
        parts = kept.pieces(TALLIES)
        done += [] if path is None else _found(Path(path), parts, done[0])
        left = missing(first, end, _ranges(done, first, end))
        count = Count(known)
        with bar("toys", end - first, show=show) as advance:
            for piece in done:
                count.add(piece, new=False)
                advance(piece.n, count.note())
            if not count.settled(until):
                for piece in _pieces(engine, left, seed, keep_above, known, workers, executor):
                    parts.keep(PART.format(first=piece.ranges[0][0], end=piece.ranges[0][1]), piece)
                    done.append(piece)
                    count.add(piece, new=True)
                    advance(piece.n, count.note())
                    if count.settled(until):
                        break
        total = dataclasses.replace(merge(done), observed=known, course=course(done, known))
        if path is not None:
            total.write(path)
            kept.finish()
    return total


@dataclasses.dataclass
class Count:
    """Running p-value of a run: toys, and those at least as extreme as the observed statistic; and their rate."""

    observed: float | None
    toys: int = 0
    hits: float = 0.0
    squares: float = 0.0
    new: int = 0
    started: float = dataclasses.field(default_factory=time.monotonic)

    def add(self, piece: Tally, *, new: bool) -> None:
        """Count the toys of a piece, thrown now or found."""
        self.toys += piece.fitted
        self.new += piece.n if new else 0
        if self.observed is not None:
            hits, squares = piece.above(self.observed)
            self.hits, self.squares = self.hits + hits, self.squares + squares

    def settled(self, until: float | None) -> bool:
        """Whether the relative error of p is below the target."""
        return until is not None and self.hits > 0 and self.squares / self.hits**2 - 1 / self.toys < until**2

    def note(self) -> str:
        """Toys a second and the p-value so far, for the progress bar."""
        rate = f"{self.new / max(time.monotonic() - self.started, 1e-9):,.0f} toys/s" if self.new else ""
        if self.observed is None or self.toys == 0:
            return rate
        p, error = estimate(self.hits, self.squares, self.toys, plain=self.squares == self.hits)
        return f"{rate}  p = {p:.3g} ± {error:.1g}".strip()


def _pieces(
    engine: Source,
    ranges: list[Range],
    seed: int,
    keep_above: float,
    observed: float | None,
    workers: int,
    executor: Executor | None,
) -> Iterator[Tally]:
    size = CHUNKS * engine.chunk
    tasks = (
        (engine, begin, min(begin + size, end), seed, keep_above, observed)
        for first, end in ranges
        for begin in range(first, end, size)
    )
    pool = ThreadPoolExecutor(workers) if executor is None and workers > 1 else nullcontext(executor)
    with pool as chosen:
        yield from ordered_map(_piece, tasks, executor=chosen)


def _found(path: Path, parts: runs.Pieces[Tally], mine: Tally) -> list[Tally]:
    """What earlier runs left; raises InputError when the result file belongs to other toys."""
    result: list[Tally] = []
    for name in ([None] if path.exists() else []) + list(parts.names()):
        found = read(path) if name is None else parts.found(name)
        if found is None or not found.ranges:
            continue
        piece = coarser(found, mine.keep_above)
        try:
            merge([mine, piece])
        except InputError as error:
            raise InputError(
                f"{path if name is None else parts.path(name)} holds other toys than asked for; choose another file or "
                f"remove it: {error}"
            ) from error
        # a run that was stopped between joining its pieces and removing them left both
        if not missing(*_span(piece), [r for other in result for r in other.ranges]):
            continue
        result.append(piece)
    return result


def _span(piece: Tally) -> Range:
    return piece.ranges[0][0], piece.ranges[-1][1]


def _ranges(done: list[Tally], first: int, end: int) -> list[Range]:
    """What is done already; raises InputError when it reaches beyond this run."""
    ranges = [r for piece in done for r in piece.ranges]
    for a, b in ranges:
        if a < first or b > end:
            raise InputError(
                f"the result file holds toys {a} to {b - 1}, this run is of toys {first} to {end - 1}; "
                "choose another file, or ask for at least as many toys"
            )
    return ranges
