"""The lowest of several minima: fits from the dips of -ln L around those that are known, along one-sided systematics,
beside lopsided ones, with free yields that have changed places, with factors that had gone to zero, and on all sides of
curved formulas.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property
from typing import Protocol

import numpy as np

from bumpfit.inference.lines import Lines
from bumpfit.inference.newton import BENDING, GONE
from bumpfit.inference.screen import EACH, LARGEST, MARGIN, Screen
from bumpfit.inference.valleys import EVERY_SIDE, curved_steps, dips, effects_of, ends_of, mirrors, turns
from bumpfit.inference.walls import Walled, along_walls
from bumpfit.likelihood import Floats, Minimum
from bumpfit.types import Flags

SAME, BESIDE = 1e-3, 0.3
"""Minima whose parameters differ by less, in units of constraint widths, are one; by less than the second, one that has
moved with a parameter that is held.
"""
MOST_PULLED = 12
"""The most pulled parameters that are looked at."""
MOST_EXCHANGED = 4
"""Free yields that are tried at their end in place of one that is there."""
IMPLAUSIBLE = 12.5
"""How far above half the number of bins -ln L, relative to the saturated model, is with data that no parameters
describe well (five standard deviations): there all that bend are looked at, not only those that a factor hides.
"""
SUSPECT, SCATTERED = 4.5, 40
"""The same (three standard deviations) from which on a fit also starts far away, in all parameters at once, and from
how many places, twice as many for the first fit to the data; models of more parameters go without. The lowest minimum
may be where several have moved far together, which no line through a known one shows.
"""
AGAIN = 2.0
"""Where that found nothing lower, fits to the same data do it again when -ln L is this many times as far above."""
SEVERAL = 8
"""Up to so many parameters that bend all fits look on their other sides, and not only the first one to the data."""
TRIED = 8
"""Places among which the lowest is a start far away, for half of them."""
STUCK = 5
"""Ends that lie lower than the lowest minimum but are none, and are followed along walls."""
FITS = 40
"""After so many fits only the lowest minimum is looked around."""


class _Tolerant(Protocol):
    @property
    def tolerance(self) -> float: ...


class _Bending(Walled, Protocol):
    """The same with a start, as far as its valleys need it."""

    @property
    def start(self) -> Floats: ...
    @property
    def origin(self) -> Floats: ...
    @property
    def bent(self) -> tuple[int, ...]: ...
    @property
    def valleys(self) -> list[Floats]: ...
    @property
    def looked(self) -> list[float]: ...
    @property
    def options(self) -> _Tolerant: ...
    def value(self, x: Floats) -> float: ...
    def values(self, points: Floats) -> Floats: ...


@dataclasses.dataclass(frozen=True, eq=False)
class Search:
    """Looks for minima below one of the problem; `descend` leads from a start to a minimum."""

    problem: _Bending
    descend: Callable[[Floats, str], Minimum]

    @cached_property
    def bent(self) -> tuple[int, ...]:
        """Free parameters that can make several minima."""
        return tuple(i for i in self.problem.bent if self.problem.free[i])

    @cached_property
    def loose(self) -> Flags:
        """Free parameters without a constraint, (P,)."""
        unconstrained = np.array([p.constraint == "none" for p in self.problem.model.parameters], dtype=np.bool_)
        return np.asarray(self.problem.free & unconstrained)

    @cached_property
    def centre(self) -> Floats:
        """Centres of the constraints, (P,); 0 of parameters without one."""
        c, centre = self.problem.model.compiled, np.zeros(self.problem.start.size)
        centre[c.normal_parameter] = self.problem.aux[c.normal_aux]
        return centre

    @cached_property
    def width(self) -> Floats:
        """Widths of the constraints, (P,); 1 of parameters without one."""
        c, width = self.problem.model.compiled, np.ones(self.problem.start.size)
        width[c.normal_parameter] = c.normal_sigma
        return width

    def lowest(self, best: Minimum) -> Minimum:
        """The lowest of a minimum and those that all other starts lead to."""
        while True:
            found = self.deepest(best) if self.bent else best
            shown = self.shown(found)
            if shown is not found:
                found = self.deepest(shown)
            found = self.exchanged(self.beside(found))
            best = self.turned(found)
            if best is found:  # else one-sided systematics may have other sides there
                return best

    def shown(self, best: Minimum) -> Minimum:
        """The lowest of the minimum and those that a factor hides which has gone to zero.

        There its yields are gone, and a systematic that could take them instead seems to have no effect: it is looked
        at along its line with the factor at one. Where the data are described badly all that bend are.
        """
        p = self.problem
        badly = best.value > 0.5 * p.main.size + IMPLAUSIBLE
        gone = np.flatnonzero(p.free & (best.x <= p.low) & (p.low >= 0.0) & (p.low < GONE)) if self.bent else ()
        places = tuple(i for i in self.bent if any(badly or effects_of(p.model).takes(i, int(z)) for z in gone))
        if not places:
            return best
        begin = best.x.copy()
        begin[gone] = np.clip(1.0, p.low[gone], p.high[gone])
        for start in dips(p.value, self._lines(begin), begin, places, self.centre, self.width):
            best = self._lower(best, start, "a factor that is not zero")
        return best

    def exchanged(self, best: Minimum) -> Minimum:
        """The lowest of the minimum and those in which another free yield is the one that has gone to its end.

        Where one of two signals or normalisations has gone to an end of its range the other has taken its events; the
        other way round there may be another minimum.
        """
        p = self.problem
        ended = self.loose & ((best.x <= p.low) | (best.x >= p.high))
        if not ended.any():
            return best
        for i in np.flatnonzero(self.loose & ~ended & np.isfinite(p.low))[:MOST_EXCHANGED]:
            begin = np.where(ended, np.clip(1.0, p.low, p.high), best.x)
            begin[i] = p.low[i]
            best = self._lower(best, begin, "another yield at its end")
        return best

    def beside(self, best: Minimum) -> Minimum:
        """The lowest of the minimum and those that dips along far pulled parameters lead to.

        Effects of another size on either side make -ln L bend down between them, where a pull is far enough.
        """
        p, pull = self.problem, (best.x - self.centre) / self.width
        with np.errstate(invalid="ignore"):  # a pull of zero where there is no effect
            bend = np.abs(pull) * np.where(pull < 0, *effects_of(p.model).lopsided)
        constrained = np.zeros(pull.size, dtype=np.bool_)
        constrained[p.model.compiled.normal_parameter] = True
        far = [int(i) for i in np.flatnonzero(constrained & p.free & (bend > BENDING)) if i not in p.bent]
        far = sorted(far, key=lambda i: -bend[i])[:MOST_PULLED]
        for begin in dips(p.value, self._lines(best.x), best.x, tuple(far), self.centre, self.width) if far else ():
            best = self._lower(best, begin, "another valley")
        return best

    def turned(self, best: Minimum) -> Minimum:
        """The lowest of the minimum and those on other sides of a curved formula, as of a parabola; looked at from the
        minimum, and along single parameters with each one-sided systematic on its other side, where the formula may
        have sides of its own.
        """
        p = self.problem
        curved = tuple(i for i in effects_of(p.model).curved if p.free[i])
        lower = None if curved else best
        while lower is not best:
            lower = best
            begins = turns(p.values, lower.x, curved_steps(curved, lower.x, p.low, p.high), p.low, p.high)
            begins += ends_of(lower.x, curved, p.low, p.high)
            for x in mirrors(lower.x, self.bent, self.centre, self.width, single=True):
                alone = curved_steps(curved, x, p.low, p.high)[: len(curved)]
                begins += turns(p.values, x, alone, p.low, p.high)
            for begin in begins:
                best = self._lower(best, begin, "another side of a formula")
        return best

    def _lower(self, best: Minimum, start: Floats, what: str) -> Minimum:
        """The minimum below another start where that is lower by more than the tolerance."""
        found = self.descend(start, what)
        if not (found.valid and found.value < best.value - self.problem.options.tolerance):
            return best
        return dataclasses.replace(found, attempts=best.attempts)

    def deepest(self, best: Minimum) -> Minimum:
        """The lowest of `best` and the minima along the parameters that bend; the problem's valleys take up what was
        found.

        Where many parameters bend, the first fit to these data looks on all their other sides, and later ones (with a
        parameter held) where that has found valleys, and where -ln L dips.
        """
        origin, valleys = self.problem.origin, self.problem.valleys
        few = len(self.bent) <= EVERY_SIDE
        everywhere = len(self.bent) <= SEVERAL or not valleys
        begins = [origin] if everywhere else []
        begins += [np.where(self.problem.free, x, self.problem.start) for x in valleys]
        begins = [x for x in begins if everywhere or self.apart(x, best.x) > BESIDE]
        far = few and np.count_nonzero(self.problem.free) <= SCATTERED
        screened = not few and self._lines(best.x).takes.issuperset(self.bent)
        screened &= self.problem.main.size <= max(LARGEST, EACH * int(np.count_nonzero(self.problem.free)))
        screened &= everywhere or len(self.bent) <= FITS
        if screened and everywhere:
            begins += mirrors(best.x, self.bent, self.centre, self.width)[:1]
        found, known, stuck, fits = [best], list[Minimum](), list[Minimum](), 0
        before = np.inf
        while True:
            for x in begins:
                fits += 1
                end = self.descend(x, "another valley")
                (found if end.valid else stuck).append(end)
            level = min((m.value for m in known), default=np.inf)
            level += MARGIN if screened and fits < FITS else -self.problem.options.tolerance
            ahead = min((m for m in found if self._new(m, known)), key=lambda m: m.value, default=None)
            if ahead is not None and ahead.value < level:
                known.append(ahead)
                begins = self._screen(ahead.x, found) if screened else self._around(ahead.x, everywhere)
                continue
            lowest = min(found, key=lambda m: m.value)
            begins, ends = [], self._followed(stuck, lowest.value)
            stuck.clear()
            found += ends
            if far and not ends and self._suspect(lowest.value):
                far, before, begins = False, lowest.value, self._scattered(lowest.x, 1 if valleys else 2)
            if not ends and not begins:
                break
        if lowest.value > before - SAME:
            self.problem.looked.append(self._excess(lowest.value))
        self._keep([m.x for m in found if m is not lowest], lowest.x, valleys, everywhere)
        return dataclasses.replace(lowest, attempts=best.attempts)

    def _followed(self, stuck: list[Minimum], level: float) -> list[Minimum]:
        """Minima to which walls lead from the lowest ends below a level that are none."""
        lower = sorted((m for m in stuck if m.value < level - SAME), key=lambda m: m.value)
        ends = [self.descend(along_walls(self.problem, m.x), "along walls") for m in lower[:STUCK]]
        return [m for m in ends if m.valid]

    def _scattered(self, x: Floats, times: int) -> list[Floats]:
        """Starts far away: from x with the parameters that bend one to three widths away, factors that are gone at one,
        and free yields up to a few times theirs; and from the model's values with all systematics so, the lowest of
        some.
        """
        p, rng = self.problem, np.random.default_rng(0)
        gone = p.free & ~self.loose & (x <= p.low) & (p.low >= 0.0) & (p.low < GONE)
        bent, systematic = (np.zeros(x.size, dtype=np.bool_) for _ in range(2))
        bent[list(self.bent)], systematic[p.model.compiled.normal_parameter] = True, True
        systematic &= p.model.inits == 0.0  # factors with such a constraint begin at one

        def start(y: Floats, moved: Flags, k: int) -> Floats:
            away = self.centre + (1 + k % 3) * rng.normal(size=y.size) * self.width
            factors = np.maximum(np.abs(y), 1.0) * 10.0 ** rng.uniform(-1.0, 1.0, y.size)
            y = np.where(self.loose, factors, np.where(moved, away, y))
            return np.where(p.free, np.clip(y, p.low, p.high), p.start)

        near, half = np.where(gone, 1.0, x), range(times * SCATTERED // 2)
        far = [min((start(p.model.inits, systematic, k) for _ in range(TRIED)), key=p.value) for k in half]
        return [*(start(near, bent, k) for k in half), *far]

    def _excess(self, value: float) -> float:
        """How far -ln L is above that of data that are described."""
        return value - 0.5 * self.problem.main.size

    def _suspect(self, value: float) -> bool:
        """Whether a fit that ended there should start far away, too."""
        return self._excess(value) > max([SUSPECT, *(AGAIN * known for known in self.problem.looked)])

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
