"""Ranges of events: one function over all events of a source, here or by workers, with the same bits.

A source is taken apart at fixed places, so that sums do not depend on who reads. Workers open the files themselves:
they must reach them under the same names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, Generic, TypeVar

from bumpfit.events import opening
from bumpfit.events.source import Chunk, Origin, Source
from bumpfit.execute import ordered_map

What = TypeVar("What")
Result = TypeVar("Result")

EVENTS = 100_000
"""Events of a range: enough to make up for opening the files, few enough for many workers."""

_opened: dict[Origin, Source] = {}


@dataclasses.dataclass(frozen=True)
class Range(Generic[What]):
    """Events `start` to `stop` of a source, or of what a worker opens, and what is asked of them."""

    events: Source | Origin
    start: int
    stop: int
    what: What

    def chunks(self) -> Iterator[Chunk]:
        """The events, in chunks of bounded memory."""
        source = self.events
        if not isinstance(source, Source):
            if source not in _opened:
                _opened.clear()  # the next range is mostly of the same files
                _opened[source] = opening.open(source.paths, tree=source.tree, key=source.key)
            source = _opened[source]
        return source.chunks(start=self.start, stop=self.stop)


def over_ranges(
    function: Callable[[Range[What]], Result], source: Source, what: What, executor: Executor | None = None
) -> Iterator[tuple[int, Result]]:
    """Number of events and `function(range)` of every range of a source, in order.

    Args:
        function: of a module, so that workers find it.
        source: of files where an executor is given; what has no files is read in this process.
        what: passed on in every range; must be picklable for an executor.
        executor: see `execute.ordered_map`.
    """
    places = [(start, min(start + EVENTS, len(source))) for start in range(0, max(len(source), 1), EVENTS)]
    away = executor is not None and source.origin is not None
    events = source.origin if away and source.origin is not None else source
    ranges = (Range(events, start, stop, what) for start, stop in places)
    made = ordered_map(function, ranges, executor=executor if away else None)
    for (start, stop), result in zip(places, made, strict=True):
        yield stop - start, result


def picklable(weights: Any) -> bool:
    """Whether weights are a number or a name, which a worker understands, and no array of all events."""
    return weights is None or isinstance(weights, str | int | float)
