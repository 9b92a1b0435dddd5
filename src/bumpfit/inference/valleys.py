"""Where else a likelihood may have a minimum: one-sided systematics on their other sides.

A systematic whose both ends move a yield the same way gives -ln L a valley to either side. `bends` finds such
parameters, `mirrors` the starts that lead into the other valleys; single fits and toys take the same.
"""

from __future__ import annotations

import dataclasses
import itertools
import weakref
from collections.abc import Callable
from functools import cached_property

import numpy as np

from bumpfit.inference.lines import Lines
from bumpfit.inference.newton import ALIKE
from bumpfit.likelihood import Floats
from bumpfit.types import Flags
from bumpfit.workspace import Model
from bumpfit.workspace.arrays import LINEAR
from bumpfit.workspace.formula import PARAMETER
from bumpfit.workspace.vectorised import layout_of

FLUCTUATION = 5.0
"""Standard deviations that counts may be away from their expectation where one-sided systematics are looked for."""
ALONG = (-3.0, -2.5, -2.0, -1.5, -1.25, -1.0, -0.8, -0.6, -0.45, -0.3, -0.15, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25,
         1.5, 2.0, 2.5, 3.0)  # fmt: skip
"""Standard deviations of a one-sided parameter at which its line is looked at for dips."""
TAKEN = 0.5
"""Part of the events of a factor from which on a systematic may take its place where it is zero."""
STRAIGHT, NEARER = 33, 32
"""Places along parameters of curved formulas: so many evenly over the range, and so many to each side, from half of the
range on, each 1.4 times nearer than the one before.
"""
TOGETHER = 16
"""Directions in which several such parameters are looked along together."""
FAR = 10.0
"""What stands for the length of a range without an end, in units of the parameter's size, at least 1."""
EVERY_SIDE = 4
"""Up to this many one-sided parameters start on all combinations of their sides, more are mirrored one by one."""


def bends(model: Model, main: Floats) -> tuple[int, ...]:
    """Parameters that can give the likelihood of counts `main`, shape (B,), several minima.

    -ln L bends down along a constrained parameter where the second derivative of the rates, sum_b (1 - n / r) r'',
    outweighs the constraint's. Only interpolations with different slopes at both sides have r'' of that sign: here it
    is at most twice the difference of the two shifts, and n is within `FLUCTUATION` of r or where the data are.
    """
    c = model.compiled
    rate = np.maximum(model.expected(model.inits), 0.0)
    away = FLUCTUATION / np.sqrt(np.maximum(rate, 1.0)) + np.abs(main - rate) / np.maximum(rate, 1.0)
    strength = np.zeros(c.n_parameters)
    for e in range(c.entry_bin.size):
        size, yields = c.entry_size[e], slice(c.entry_start[e], c.entry_start[e] + c.entry_size[e])
        bins = slice(c.entry_bin[e], c.entry_bin[e] + size)
        for k in range(c.shift_pointer[e], c.shift_pointer[e + 1]):
            shift = slice(c.shift_start[k], c.shift_start[k] + size)
            bend = np.abs(c.shift_up[shift] - c.shift_down[shift])
            strength[c.shift_parameter[k]] += 2 * float(bend @ away[bins])
        for k in range(c.scale_pointer[e], c.scale_pointer[e + 1]):
            if c.scale_code[k] != LINEAR:
                low, high = np.exp(np.clip(c.scale_coefficients[k, :2], -50, 50))
                # exponentials are convex in -ln L; only what is one-sided counts
                bend = max(0.0, (low - 1) * (high - 1)) ** 0.5
                strength[c.scale_parameter[k]] += 2 * bend * float(np.abs(c.nominal[yields]) @ away[bins])
    needed = np.full(c.n_parameters, np.inf)
    needed[c.normal_parameter] = c.normal_sigma**-2.0
    return tuple(int(i) for i in np.flatnonzero(strength > needed))


@dataclasses.dataclass(frozen=True, eq=False)
class Effects:
    """What the effects of parameters on their two sides are, found once for a model (`effects_of`)."""

    model: Model
    known: dict[tuple[int, int], bool] = dataclasses.field(default_factory=dict)

    @cached_property
    def lopsided(self) -> Floats:
        """How much the effects of a parameter differ between its sides, relative to those below and above zero, (2, P).

        Where a parameter that is pulled by alpha has less of an effect there than on its other side, -ln L may bend
        down in between: by the pull times this. 0 of parameters without such effects.
        """
        c, at = self.model.compiled, layout_of(self.model.compiled)
        sums = np.zeros((3, c.n_parameters))  # below, above, difference
        owner = c.shift_parameter[at.element_shift]
        for row, size in zip(sums, (c.shift_down, c.shift_up, c.shift_up - c.shift_down), strict=True):
            np.add.at(row, owner, np.abs(size))
        exponential = np.flatnonzero(c.scale_code != LINEAR)
        events = np.zeros(c.entry_bin.size)
        np.add.at(events, at.yield_entry, np.abs(c.nominal))
        weight = events[at.scale_entry[exponential]]
        below, above = -c.scale_coefficients[exponential, 0], c.scale_coefficients[exponential, 1]
        for row, size in zip(sums, (below, above, above - below), strict=True):
            np.add.at(row, c.scale_parameter[exponential], weight * np.abs(size))
        ratio = np.divide(sums[2], sums[:2], out=np.full((2, c.n_parameters), np.inf), where=sums[:2] > 0)
        return np.where(sums[2] > 0, ratio, 0.0)

    @cached_property
    def curved(self) -> tuple[int, ...]:
        """Parameters in which a formula is not linear: its slope has the parameter in it."""
        c, found = self.model.compiled, set[int]()
        for k, first in enumerate(c.program_first):
            names = c.formula_parameter[c.formula_pointer[k] : c.formula_pointer[k + 1]]
            for number, p in enumerate(names.tolist(), start=int(first) + 1):
                steps = slice(c.program_pointer[number], c.program_pointer[number + 1])
                if (c.program_argument[steps][c.program_code[steps] == PARAMETER] == p).any():
                    found.add(p)
        return tuple(sorted(found))

    @cached_property
    def straight(self) -> Flags:
        """Parameters in which all rates are linear, so that -ln L along one of them has a single dip, (P,)."""
        c = self.model.compiled
        linear = np.ones(c.n_parameters, dtype=np.bool_)
        for used in (c.shift_parameter, c.scale_parameter[c.scale_code != LINEAR], c.formula_parameter):
            linear[used[used < c.n_parameters]] = False
        return linear

    @cached_property
    def _entries(self) -> tuple[Flags, Flags] | None:
        """Samples in channels, (P, E), that parameters change in any way, and that they scale; None with formulas."""
        c, at = self.model.compiled, layout_of(self.model.compiled)
        if c.program_first.size:
            return None
        changed, scaled = (np.zeros((c.n_parameters, c.entry_bin.size), dtype=np.bool_) for _ in range(2))
        scaled[c.scale_parameter, at.scale_entry] = True
        changed[c.shift_parameter, at.shift_entry] = True
        changed[c.gamma_parameter], scaled[c.gamma_parameter] = True, False  # one for each bin: not told apart
        return changed | scaled, scaled

    def takes(self, i: int, factor: int) -> bool:
        """Whether parameter i, within the places of `dips`, can take more than `TAKEN` of the events of a factor."""
        if self._entries is not None:
            changed, scaled = self._entries
            if scaled[factor].any() and not (changed[i] & scaled[factor]).any():
                return False
        if (i, factor) not in self.known:
            c, x = self.model.compiled, self.model.inits.copy()
            sigma = dict(zip(c.normal_parameter.tolist(), c.normal_sigma.tolist(), strict=True)).get(i, 1.0)

            def events(place: float) -> float:
                x[i] = place
                with_it, without = x.copy(), x.copy()
                with_it[factor], without[factor] = 1.0, 0.0
                return float((self.model.expected(with_it) - self.model.expected(without)).sum())

            centre = float(self.model.inits[i])
            least = min(events(centre + sigma * ALONG[0]), events(centre + sigma * ALONG[-1]))
            self.known[i, factor] = i != factor and least < (1 - TAKEN) * events(centre)
        return self.known[i, factor]


_EFFECTS: weakref.WeakKeyDictionary[Model, Effects] = weakref.WeakKeyDictionary()


def effects_of(model: Model) -> Effects:
    """The effects of a model, kept as long as it is."""
    if model not in _EFFECTS:
        _EFFECTS[model] = Effects(weakref.proxy(model))
    return _EFFECTS[model]


def dips(
    value: Callable[[Floats], float], lines: Lines, x: Floats, bent: tuple[int, ...], centre: Floats, width: Floats
) -> list[Floats]:
    """Starts in valleys that lie along one-sided parameters `bent`, all others where they are in x, shape (P,).

    A mirrored start may be beyond a near valley, and Newton steps from there lead back over it; -ln L (`value`, or
    `lines` for parameters that it takes) at `ALONG` widths from the `centre` shows where it dips.
    """
    result = []
    for i in bent:
        places = np.sort(np.append(centre[i] + width[i] * np.array(ALONG), x[i]))
        line = np.repeat(x[None, :], places.size, axis=0)
        line[:, i] = places
        inside = lines.heights(i, places) if i in lines.takes else [value(y) for y in line]
        result += _dips(line, np.array(inside), places != x[i])
    return result


def turns(values: Callable[[Floats], Floats], x: Floats, steps: Floats, low: Floats, high: Floats) -> list[Floats]:
    """Starts in valleys that lie beside x, (P,), along `steps` in the parameters of curved formulas, (D, P).

    A parabola has the same value on both sides of its turning point, so that -ln L may have a minimum on each.
    `values` gives -ln L at rows of parameters.
    """
    result: list[Floats] = []
    for step in steps:
        places = along_step(x, step, low, high)
        line = np.where(step != 0.0, np.clip(x + places[:, None] * step, low, high), x)
        heights = values(line)
        result += _dips(line, heights, places != 0.0) + _shoulders(line, heights, places)
    return result


def curved_steps(curved: tuple[int, ...], x: Floats, low: Floats, high: Floats) -> Floats:
    """Where to look from x, (P,), along parameters of curved formulas: one by one, and several of them together, as
    their minima may lie around a circle; steps as long as the ranges, (D, P).
    """
    places = np.array(curved, dtype=np.intp)
    alone, few = np.eye(places.size), places.size > 1
    together = np.random.default_rng(0).normal(size=(TOGETHER * few, places.size))
    ends = np.where(np.isfinite(high - low), high - low, FAR * np.maximum(1.0, np.abs(x)))
    steps = np.zeros((len(alone) + len(together), x.size))
    steps[:, places] = np.vstack([alone, together]) * ends[places]
    return steps


def ends_of(x: Floats, curved: tuple[int, ...], low: Floats, high: Floats) -> list[Floats]:
    """Starts at the ends of the ranges of such parameters, all others where they are in x: a minimum that systematics
    make there rises along the line through x.
    """
    result = []
    for i in curved:
        for end in (low[i], high[i]):
            if np.isfinite(end) and end != x[i]:
                y = x.copy()
                y[i] = end
                result.append(y)
    return result


def along_step(x: Floats, step: Floats, low: Floats, high: Floats) -> Floats:
    """Places within the ranges, in lengths of the step, x itself being at 0: `STRAIGHT` over all of them and `NEARER`
    to each side, ascending.
    """
    moved = step != 0.0
    with np.errstate(invalid="ignore"):
        ends = np.sort((np.vstack([low, high]) - x)[:, moved] / step[moved], axis=0)
    first, last = max(-1.0, float(ends[0].max())), min(1.0, float(ends[1].min()))
    nearer = 0.5 * (last - first) * 2.0 ** (-0.5 * np.arange(NEARER))
    places = np.concatenate([np.linspace(first, last, STRAIGHT), -nearer, nearer, [0.0]])
    places = np.unique(np.clip(places, first, last))
    apart = np.diff(places, prepend=-np.inf) > ALIKE * (last - first)
    return np.asarray(places[apart])


def _dips(line: Floats, inside: Floats, apart: Flags) -> list[Floats]:
    """Points of a line, (T, P), that lie `apart` and lower than their neighbours."""
    heights = np.array([np.inf, *np.where(np.isnan(inside), np.inf, inside), np.inf])
    return list(line[(heights[1:-1] < heights[:-2]) & (heights[1:-1] <= heights[2:]) & apart])


def _shoulders(line: Floats, heights: Floats, places: Floats) -> list[Floats]:
    """Points of a line, (T, P), where -ln L rises less steeply than nearer its minimum: a dip that others fill up."""
    with np.errstate(invalid="ignore"):
        slope = np.diff(heights) / np.diff(places)
    low = int(np.argmin(np.where(np.isnan(heights), np.inf, heights)))
    result = []
    for side, end in ((slope[low:], line[low + 1 :]), (-slope[:low][::-1], line[:low][::-1])):
        least = (side[1:-1] < side[:-2]) & (side[1:-1] <= side[2:]) & (side[1:-1] > 0.0)
        result += list(end[1:-1][least])
    return result


def mirrors(x: Floats, bent: tuple[int, ...], centre: Floats, width: Floats, single: bool = False) -> list[Floats]:
    """Starts in the other valleys than that of x, shape (P,): one-sided parameters `bent` on their other sides.

    A parameter goes to where it is mirrored at its `centre`, at least a `width` away. Up to `EVERY_SIDE` parameters
    take all combinations of sides, more are mirrored one by one and all together; `single`: the first of them, one by
    one. Toys take the same starts.
    """
    places = np.array(bent[:EVERY_SIDE] if single else bent, dtype=np.intp)
    if not places.size:
        return []
    away = np.maximum(np.abs(x[places] - centre[places]), width[places])
    side = np.where(x[places] >= centre[places], 1.0, -1.0)
    n = places.size
    if single:
        flips = list(1.0 - 2.0 * np.eye(n))
    elif n <= EVERY_SIDE:
        flips = [np.array(signs) for signs in itertools.product((1.0, -1.0), repeat=n)][1:]
    else:
        flips = [-np.ones(n), *(np.where(np.arange(n) == i, -1.0, 1.0) for i in range(n))]
    result = []
    for flip in flips:
        y = x.copy()
        moved = flip < 0
        y[places[moved]] = (centre[places] - side * away)[moved]
        result.append(y)
    return result
