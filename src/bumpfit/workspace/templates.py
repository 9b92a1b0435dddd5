"""Template histograms of other tools' configurations: out of ROOT files, and filled from trees."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from bumpfit.errors import InputError, MissingExtraError
from bumpfit.foreign_histograms import check_contents, one_axis_of_counts
from bumpfit.types import Floats


@dataclasses.dataclass(frozen=True, eq=False)
class Template:
    """Edges (B + 1,), contents (B,) and their errors (B,)."""

    edges: Floats
    values: Floats
    errors: Floats

    def scaled(self, factor: float) -> Template:
        """Contents and errors times a factor."""
        return Template(self.edges, self.values * factor, self.errors * abs(factor))

    @property
    def total(self) -> float:
        """The sum of the contents, from the first bin to the last."""
        return float(sum(self.values))  # in this order, so that other tools' numbers are met to the last digit


class RootHistograms:
    """Histograms of ROOT files, each opened once, in a `with` block; `what` asks for them (for messages)."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.stack = contextlib.ExitStack()
        self.files: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.close()

    def find(self, path: Path, name: str, where: str, shown: str = "") -> Template | None:
        """The histogram `name` of a file; None if it is not there.

        `where` names what asks for it and `shown` the file, for messages. Raises InputError for files that cannot be
        read, objects that are no histograms of counts with one axis, and contents that `check_contents` refuses. Errors
        may be NaN: those of negative contents without squares of weights are not defined.
        """
        shown = shown or str(path)
        opened = self._open(path, shown, where)
        try:
            if name not in opened:
                return None
            histogram = opened[name]
            if not hasattr(histogram, "axes") or not hasattr(histogram, "variances"):
                raise InputError(f"it is no histogram, but {type(histogram).__name__}")
            axis = one_axis_of_counts(histogram)
            edges, values, squares = (
                np.asarray(part, dtype=np.float64) for part in (axis.edges(), histogram.values(), histogram.variances())
            )
            # contents without squares of weights have errors where they are not negative
            check_contents(values, squares if histogram.weighted else np.abs(values))
        except InputError as error:
            raise InputError(f"the histogram '{name}' of '{shown}' ({where}): {error}") from error
        except Exception as error:  # uproot passes on whatever a damaged file makes of it
            raise InputError(f"cannot read '{name}' of '{shown}' ({where}): {str(error)[:200]}") from error
        return Template(edges, values, np.sqrt(np.where(squares < 0, np.nan, squares)))

    def _open(self, path: Path, shown: str, where: str) -> Any:
        key = str(path)
        if key not in self.files:
            try:
                import uproot
            except ImportError as error:
                raise MissingExtraError("uproot", "root", f"reading the {self.what}") from error
            try:
                self.files[key] = self.stack.enter_context(uproot.open(path))
            except (OSError, ValueError) as error:
                raise InputError(f"cannot open the file '{shown}' of {where}: {str(error)[:200]}") from error
        return self.files[key]


def filled(
    paths: Sequence[str],
    variable: str,
    edges: Floats,
    *,
    weight: str | None = None,
    selection: str | None = None,
    with_flow: bool = False,
) -> Template:
    """A histogram of an expression of the branches of trees.

    paths       files as `file.root:tree`; patterns match several
    variable    expression of branches with one number an event, in the grammar of cut sentences (`events.grammar`)
    edges       (B + 1,); a bin holds its lower edge
    weight      expression of the events' weights; 1 without one
    selection   cut sentence
    with_flow   put what is below the first edge into the first bin, and what is above the last one into the last

    Raises InputError for what cannot be read; MissingExtraError without uproot.
    """
    import boost_histogram as bh

    from bumpfit import events
    from bumpfit.events.cuts import values

    source = events.open(list(paths))
    taken = np.ones(len(source), dtype=np.bool_) if selection is None else events.mask(selection, source)
    filling = bh.Histogram(bh.axis.Variable(edges), storage=bh.storage.Weight())
    weights = None if weight is None else values(weight, source)[taken]
    filling.fill(values(variable, source)[taken], weight=weights)
    sums, squares = (np.array(filling.view(flow=True)[part]) for part in ("value", "variance"))
    if with_flow:
        for part in (sums, squares):
            part[1] += part[0]
            part[-2] += part[-1]
    return Template(np.asarray(edges, dtype=np.float64), sums[1:-1], np.sqrt(squares[1:-1]))
