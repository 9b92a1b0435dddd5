"""The lowest of several minima: fits from the dips of -ln L around those that are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bumpfit.inference.lines import Lines
from bumpfit.inference.screen import LARGEST, MARGIN, Screen
from bumpfit.inference.valleys import EVERY_SIDE, dips, mirrors
from bumpfit.likelihood import Floats, Minimum
from bumpfit.workspace import Model

SAME, BESIDE = 1e-3, 0.3
"""Minima whose parameters differ by less, in units of constraint widths, are one; by less than the second, one that has
moved with a parameter that is held.
"""
FITS = 40
"""After so many fits only the lowest minimum is looked around."""


class _Bending(Protocol):
    """A workspace with data, ranges and a start, as far as its valleys need it."""

    @property
    def model(self) -> Model: ...
    @property
    def main(self) -> Floats: ...
    @property
    def aux(self) -> Floats: ...
    @property
    def start(self) -> Floats: ...
    @property
    def low(self) -> Floats: ...
    @property
    def high(self) -> Floats: ...
    @property
    def free(self) -> NDArray[np.bool_]: ...
    def value(self, x: Floats) -> float: ...


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """Looks for minima along the parameters `bent`, which have a `centre` and a `width`, all (P,)."""

    problem: _Bending
    descend: Callable[[Floats, str], Minimum]
    bent: tuple[int, ...]
    centre: Floats
    width: Floats
    tolerance: float

    def deepest(self, best: Minimum, origin: Floats, valleys: list[Floats]) -> Minimum:
        """The lowest of `best` and the minima that other starts lead to; `valleys` takes up what was found.

        Where many parameters bend, the first fit to these data looks on all their other sides, and later ones (with a
        parameter held) where that has found valleys, and where -ln L dips.
        """
        few = len(self.bent) <= EVERY_SIDE
        everywhere = few or not valleys
        begins = [origin] if everywhere else []
        begins += [np.where(self.problem.free, x, self.problem.start) for x in valleys]
        begins = [x for x in begins if everywhere or self.apart(x, best.x) > BESIDE]
        screened = not few and self._lines(best.x).takes.issuperset(self.bent)
        screened &= self.problem.main.size <= LARGEST and (everywhere or len(self.bent) <= FITS)
        if screened and everywhere:
            begins += mirrors(best.x, self.bent, self.centre, self.width)[:1]
        found, known, fits = [best], list[Minimum](), 0
        while True:
            for x in begins:
                fits += 1
                end = self.descend(x, "another valley")
                if end.valid:
                    found.append(end)
            level = min((m.value for m in known), default=np.inf)
            level += MARGIN if screened and fits < FITS else -self.tolerance
            ahead = min((m for m in found if self._new(m, known)), key=lambda m: m.value, default=None)
            if ahead is None or not ahead.value < level:
                break
            known.append(ahead)
            begins = self._screen(ahead.x, found) if screened else self._around(ahead.x, everywhere)
        lowest = min(found, key=lambda m: m.value)
        self._keep([m.x for m in found if m is not lowest], lowest.x, valleys, everywhere)
        return dataclasses.replace(lowest, attempts=best.attempts)

    def apart(self, x: Floats, y: Floats) -> float:
        """Largest distance in one of the parameters that bend, in widths."""
        places = list(self.bent)
        return float(np.abs((x - y)[places] / self.width[places]).max())

    def _new(self, one: Minimum, known: list[Minimum]) -> bool:
        return all(self.apart(one.x, m.x) > SAME for m in known)

    def _lines(self, x: Floats) -> Lines:
        return Lines(self.problem.model, self.problem.main, self.problem.aux, x)

    def _around(self, x: Floats, everywhere: bool) -> list[Floats]:
        starts = dips(self.problem.value, self._lines(x), x, self.bent, self.centre, self.width)
        return starts + (mirrors(x, self.bent, self.centre, self.width) if everywhere else [])

    def _screen(self, x: Floats, found: list[Minimum]) -> list[Floats]:
        p = self.problem
        starts = Screen(self._lines(x), p.aux, p.free, p.low, p.high).starts(self.bent, self.centre, self.width)
        return [y for y in starts if all(self.apart(y, m.x) > SAME for m in found)]

    def _keep(self, ends: list[Floats], lowest: Floats, valleys: list[Floats], everywhere: bool) -> None:
        """Take up minima; of a later fit those beside its lowest, which is an old one that has moved."""
        if everywhere:
            ends = [lowest, *ends]
        else:
            ends = [x for x in ends if self.apart(x, lowest) > BESIDE]
        for x in ends:
            if all(self.apart(x, y) > (SAME if everywhere else BESIDE) for y in valleys):
                valleys.append(x)
                del valleys[: -2 * EVERY_SIDE]
