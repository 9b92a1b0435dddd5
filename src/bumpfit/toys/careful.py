"""Toys that the lanes leave over, and those that may have a lower minimum elsewhere: exact second derivatives, and the
starts of single fits (`inference.valley_search`): dips along one-sided and lopsided effects, also with factors that had
gone to zero, and free yields that have changed places.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from bumpfit.compiled import njit, record
from bumpfit.inference import newton
from bumpfit.inference.histfactory import Problem
from bumpfit.inference.newton import ALIKE, BENDING, GONE
from bumpfit.inference.valleys import ALONG, EVERY_SIDE, FLUCTUATION, NEARER, STRAIGHT, curved_steps, effects_of
from bumpfit.toys.loglinear_batch import DISAGREEMENT
from bumpfit.types import Flags, Floats, Integers
from bumpfit.workspace import Model
from bumpfit.workspace.arrays import LINEAR
from bumpfit.workspace.kernels import objective, rates

TOLERANCE = 1e-9
"""Estimated distance to a minimum of -ln L at which a fit has converged."""
ITERATIONS = 200
REFLECTED, LEAST_BEND = 5, 0.01
"""So many systematics are reflected, one by one, in search of other minima; how much each must bend (`reflections`).

In a published likelihood (ATLAS sbottom A) 5 % of the toys end in a higher minimum from one start, 1.2 % from two, and
0.3 % with five reflections more, as measured by a hundred starts.
"""
PLACES = np.array(ALONG)
EVENLY, CLOSER = np.linspace(0.0, 1.0, STRAIGHT), 0.5 * 2.0 ** (-0.5 * np.arange(NEARER))


@record
class Elsewhere(NamedTuple):
    """Where the toys of a model may have other minima: Q parameters with a constraint whose sides differ, L yields."""

    along: Integers  # (Q,) parameters
    aux: Integers  # (Q,) their auxiliary measurements
    width: Floats  # (Q,) of the constraints
    below: Floats  # (Q,) how much an effect below zero differs from that above, relative to it (`Effects.lopsided`)
    above: Floats  # (Q,)
    bent: Flags  # (Q,) looked at whatever the pull
    one_sided: Flags  # (Q,) for which the lanes have starts
    loose: Integers  # (L,) free yields without a constraint, where one may end at its range in place of another
    poi: int
    steps: Floats  # (D, P) along parameters of curved formulas, first one by one (`valleys.curved_steps`)
    sides: Integers  # those of the Q parameters on whose other sides formulas are looked along, too


def elsewhere(problem: Problem, poi: int, values: Floats, information: Floats, free: Integers) -> Elsewhere:
    """What of a model can make other minima in toys thrown at `values`, (P,), with their expected `information`, (K,
    K), of the parameters `free`, (K,).

    Pulls are not beyond `FLUCTUATION`. Yields exchange their places where one that is not the strength is within
    `FLUCTUATION` of its errors of its lowest.
    """
    c, (below, above) = problem.model.compiled, effects_of(problem.model).lopsided
    bent = np.zeros(c.n_parameters, dtype=np.bool_)
    bent[list(problem.bent)] = True
    p = c.normal_parameter
    chosen = problem.free[p] & (bent[p] | (np.maximum(below[p], above[p]) * FLUCTUATION > BENDING))
    p = p[chosen]
    errors = np.sqrt(np.diag(np.linalg.inv(information)))
    near = np.zeros(c.n_parameters, dtype=np.bool_)
    near[free] = values[free] - problem.low[free] < FLUCTUATION * errors
    loose = [i for i, q in enumerate(problem.model.parameters) if problem.free[i] and q.constraint == "none"]
    curved = tuple(i for i in effects_of(problem.model).curved if problem.free[i])
    able = any(near[i] for i in loose if i != poi)
    return Elsewhere(
        along=p.astype(np.int64), aux=c.normal_aux[chosen].astype(np.int64), width=c.normal_sigma[chosen],
        below=below[p], above=above[p], bent=bent[p], one_sided=problem.model.one_sided[p],
        loose=np.array([i for i in loose if i == poi or near[i]] if able else [], dtype=np.int64), poi=poi,
        steps=curved_steps(curved, values, problem.low, problem.high),
        sides=np.flatnonzero(bent[p])[: EVERY_SIDE].astype(np.int64),
    )  # fmt: skip


def reflections(model: Model, values: Floats, free: Flags) -> Flags:
    """The systematics that bend the expectation most, one a row, shape (S, P): starts with one reflected find minima
    that others miss.

    How much: the change of the expectations at +1 and -1 standard deviation taken together, squared, in units of their
    variance.
    """
    c, nominal = model.compiled, model.expected(values)
    systematic = np.zeros(c.input_first.size, dtype=bool)
    systematic[c.shift_parameter] = True
    systematic[c.scale_parameter[c.scale_code != LINEAR]] = True
    bends = np.zeros(c.n_parameters)
    for p in np.flatnonzero(systematic[: c.n_parameters] & free):
        step = np.zeros(c.n_parameters)
        step[p] = 1.0
        both = model.expected(values + step) + model.expected(values - step) - 2 * nominal
        bends[p] = np.sum(both**2 / np.maximum(nominal, 1.0))
    chosen = np.argsort(-bends, kind="stable")[:REFLECTED]
    return np.eye(c.n_parameters, dtype=bool)[chosen[bends[chosen] > LEAST_BEND]]


@njit(internal=True, plain=True)
def dips(begin, k, free, main, aux, m, e, starts):  # type: ignore[no-untyped-def]
    """Fill rows of `starts` with the places along parameter k of `e` at which -ln L dips, and return how many."""
    p, shifted, factor = e.along[k], np.empty(m.nominal.size), np.empty(m.nominal.size)
    shift, scale = np.empty((m.shift_parameter.size, 6)), np.empty((m.scale_parameter.size, 4))
    rate, y = np.empty(m.n_bins), begin.copy()
    places = np.sort(np.append(aux[e.aux[k]] + e.width[k] * PLACES, begin[p]))
    heights = np.full(places.size + 2, np.inf)
    for i in range(places.size):
        y[p] = places[i]
        rates(y, m, rate, shifted, factor, shift, scale)
        heights[i + 1] = objective(y, main, aux, m, rate)
    n = 0
    for i in range(places.size):
        if heights[i + 1] < heights[i] and heights[i + 1] <= heights[i + 2] and places[i] != begin[p]:
            starts[n] = begin
            starts[n, p] = places[i]
            n += 1
    return n


@njit(internal=True, plain=True)
def turns(begin, step, low, high, main, aux, m, starts):  # type: ignore[no-untyped-def]
    """Fill rows of `starts` with dips and shoulders of -ln L along a step, and return how many (`valleys.turns`)."""
    first, last = -1.0, 1.0
    for p in range(begin.size):
        if step[p] != 0.0:
            one, other = (low[p] - begin[p]) / step[p], (high[p] - begin[p]) / step[p]
            first, last = max(first, min(one, other)), min(last, max(one, other))
    nearer = (last - first) * CLOSER
    places = np.concatenate((first + (last - first) * EVENLY, -nearer, nearer, np.zeros(1)))
    places = np.unique(np.minimum(np.maximum(places, first), last))
    places = places[np.append(np.ones(1, np.bool_), places[1:] - places[:-1] > ALIKE * (last - first))]
    shifted, factor, rate = np.empty(m.nominal.size), np.empty(m.nominal.size), np.empty(m.n_bins)
    shift, scale = np.empty((m.shift_parameter.size, 6)), np.empty((m.scale_parameter.size, 4))
    heights = np.full(places.size + 2, np.inf)
    line = np.empty((places.size, begin.size))
    for i in range(places.size):
        line[i] = begin
        for p in range(begin.size):
            if step[p] != 0.0:
                line[i, p] = min(max(begin[p] + places[i] * step[p], low[p]), high[p])
        rates(line[i], m, rate, shifted, factor, shift, scale)
        height = objective(line[i], main, aux, m, rate)
        heights[i + 1] = np.inf if np.isnan(height) else height
    n = 0
    for i in range(places.size):
        if heights[i + 1] < heights[i] and heights[i + 1] <= heights[i + 2] and places[i] != 0.0:
            starts[n] = line[i]
            n += 1
    slope, lowest = (heights[2:-1] - heights[1:-2]) / (places[1:] - places[:-1]), np.argmin(heights) - 1
    for i in range(1, places.size - 2):  # shoulders: between places i and i + 1 it rises less than on both sides
        up = 1 if i >= lowest else -1
        rise, inner, outer = up * slope[i], up * slope[i - up], up * slope[i + up]
        if i != lowest and i != lowest - 1 and 0.0 < rise < inner and rise <= outer:
            starts[n] = line[i + 1 if up > 0 else i]
            n += 1
    return n


@njit(internal=True, plain=True)
def _ends(x, p, low, high, n, starts):  # type: ignore[no-untyped-def]
    """Fill rows of `starts` from the n-th on with the ends of the range of parameter p, and return how many there are
    (`valleys.ends_of`).
    """
    for end in (low[p], high[p]):
        if np.isfinite(end) and end != x[p]:
            starts[n] = x
            starts[n, p] = end
            n += 1
    return n


def looked_at(e: Elsewhere, free: Flags) -> int:
    """Evaluations of the likelihood along curved formulas around a minimum, as `_turned` makes them; free (P,)."""
    moved = (e.steps != 0.0) & free
    several = np.count_nonzero(moved.any(axis=0)) > 1
    lines = moved.any(axis=1) & (several | (np.count_nonzero(e.steps, axis=1) < 2))
    alone = np.count_nonzero(lines & (np.count_nonzero(e.steps, axis=1) < 2))
    beside = np.count_nonzero(free[e.along[e.sides]]) * alone
    return (EVENLY.size + 2 * CLOSER.size + 1) * int(np.count_nonzero(lines) + beside)


@njit(internal=True, plain=True)
def _mirrored(x, which, aux, e):  # type: ignore[no-untyped-def]
    """x with the parameters of `Elsewhere.sides` whose bit is set on their other sides (`valleys.mirrors`)."""
    y = x.copy()
    for j in range(e.sides.size):
        if (which >> j) & 1:
            k = e.sides[j]
            p, centre = e.along[k], aux[e.aux[k]]
            away = max(abs(x[p] - centre), e.width[k])
            y[p] = centre - away if x[p] >= centre else centre + away
    return y


@njit(internal=True, plain=True)
def _turned(x, value, free, low, high, main, aux, m, e):  # type: ignore[no-untyped-def]
    """(x, value) of the lowest minimum on all sides of curved formulas, or of the given one."""
    starts = np.empty((EVENLY.size + 2 * CLOSER.size + 3, x.size))
    several = 0
    for p in range(x.size):
        if free[p] and np.any(e.steps[:, p] != 0.0):
            several += 1
    y, best, lower = x, value, True
    while lower:
        begin, lower = y, False
        for side in range(1 + e.sides.size):  # none on its other side, then one
            if side > 0 and not free[e.along[e.sides[side - 1]]]:
                continue
            around = _mirrored(begin, (1 << side) >> 1, aux, e)
            for k in range(e.steps.shape[0]):
                step = np.where(free, e.steps[k], 0.0)
                if not step.any() or ((several < 2 or side > 0) and np.count_nonzero(e.steps[k]) > 1):
                    continue
                n = turns(around, step, low, high, main, aux, m, starts)
                if side == 0 and np.count_nonzero(e.steps[k]) == 1:
                    n = _ends(around, np.argmax(step != 0.0), low, high, n, starts)
                for i in range(n):
                    z, height, _, _, _, status = newton.minimise(
                        starts[i], free, low, high, main, aux, m, TOLERANCE, ITERATIONS
                    )
                    if status == newton.CONVERGED and height < best - TOLERANCE:
                        y, best, lower = z, height, True
    return y, best


@njit(internal=True, plain=True)
def _beside(x, value, free, low, high, main, aux, m, e):  # type: ignore[no-untyped-def]
    """(x, value) of the lowest minimum along systematics and of yields that have changed places, or of the given."""
    starts = np.empty((PLACES.size + 1, x.size))
    shown = x.copy()
    gone = False
    for p in range(x.size):
        if free[p] and x[p] <= low[p] and 0.0 <= low[p] < GONE:
            shown[p] = min(1.0, high[p])
            gone = True
    begin, y, best = x, x, value
    for turn in range(2 if gone else 1):
        for k in range(e.along.size):
            p = e.along[k]
            pull = (begin[p] - aux[e.aux[k]]) / e.width[k]
            ratio = e.below[k] if pull < 0.0 else e.above[k]
            if not (free[p] and (e.bent[k] or (turn == 0 and abs(pull) * ratio > BENDING))):
                continue
            for i in range(dips(begin, k, free, main, aux, m, e, starts)):
                z, height, _, _, _, status = newton.minimise(
                    starts[i], free, low, high, main, aux, m, TOLERANCE, ITERATIONS
                )
                if status == newton.CONVERGED and height < best - TOLERANCE:
                    y, best = z, height
        begin = shown
    swapped = y.copy()
    ended = False
    for k in range(e.loose.size):
        p = e.loose[k]
        if free[p] and (y[p] <= low[p] or y[p] >= high[p]):
            swapped[p] = min(max(1.0, low[p]), high[p])
            ended = True
    if ended:
        base = y
        for k in range(e.loose.size):
            p = e.loose[k]
            if free[p] and low[p] < base[p] < high[p] and np.isfinite(low[p]):
                starts[0] = swapped
                starts[0, p] = low[p]
                z, height, _, _, _, status = newton.minimise(
                    starts[0], free, low, high, main, aux, m, TOLERANCE, ITERATIONS
                )
                if status == newton.CONVERGED and height < best - TOLERANCE:
                    y, best = z, height
    return y, best


@njit(internal=True, plain=True)
def _lower(x, value, free, low, high, main, aux, m, e):  # type: ignore[no-untyped-def]
    """(x, value) of the lowest minimum that the starts of other minima lead to, or of the given one."""
    while True:
        y, best = _beside(x, value, free, low, high, main, aux, m, e)
        if e.steps.shape[0] == 0:  # the lanes have been on other sides
            return y, best
        begin = y
        for which in range(1, 1 << e.sides.size):
            z, height, _, _, _, status = newton.minimise(
                np.where(free, _mirrored(begin, which, aux, e), begin),
                free, low, high, main, aux, m, TOLERANCE, ITERATIONS,
            )  # fmt: skip
            if status == newton.CONVERGED and height < best - TOLERANCE:
                y, best = z, height
        y, best = _turned(y, best, free, low, high, main, aux, m, e)
        if best == value:
            return y, best
        x, value = y, best


@njit(plain=True)
def fit_carefully(m, compiled_plan, poi, start, free, low, high, mains, auxs, toys, e, out):  # type: ignore[no-untyped-def]
    """Fit the listed toys, rows of mains and auxs, with exact second derivatives; columns of `out`, shape (n, 4):
    minimum free, minimum fixed, best strength, failed. Minima are relative to the saturated model.

    With effects along parameters each fit is repeated from the auxiliary measurements of the toy, and the lowest
    minimum of all starts kept.
    """
    mu, bottom, top = compiled_plan.mu, compiled_plan.low, compiled_plan.high
    held = free.copy()
    held[poi] = False
    low_free, high_free = low.copy(), high.copy()
    low_free[poi], high_free[poi] = bottom, top
    for i in toys:
        main, aux = mains[i], auxs[i]
        fixed, best, known, found = np.inf, np.inf, start, start
        for k in range(2 if e.along.size else 1):
            begin = start.copy()
            if k == 1:
                for j in range(m.normal_aux.size):
                    p = m.normal_parameter[j]
                    if free[p]:
                        begin[p] = min(max(aux[m.normal_aux[j]], low[p]), high[p])
            begin[poi] = mu
            x, value, _, _, _, status = newton.minimise(begin, held, low, high, main, aux, m, TOLERANCE, ITERATIONS)
            if status == newton.CONVERGED and value < fixed:
                known, fixed = x, value
            y, value, _, _, _, status = newton.minimise(
                x, free, low_free, high_free, main, aux, m, TOLERANCE, ITERATIONS
            )
            if status == newton.CONVERGED and value < best:
                found, best = y, value
        if (e.along.size or e.loose.size or e.steps.size) and fixed < np.inf and best < np.inf:
            known, fixed = _lower(known, fixed, held, low, high, main, aux, m, e)
            found, best = _lower(found, best, free, low_free, high_free, main, aux, m, e)
            for k in range(2):  # each from the other's end
                begin = known.copy() if k == 0 else found.copy()
                if k == 1:
                    begin[poi] = mu
                x, value, _, _, _, status = newton.minimise(
                    begin, free if k == 0 else held, low_free if k == 0 else low, high_free if k == 0 else high,
                    main, aux, m, TOLERANCE, ITERATIONS,
                )  # fmt: skip
                if status == newton.CONVERGED and value < (best if k == 0 else fixed):
                    if k == 0:
                        found, best = x, value
                    else:
                        known, fixed = x, value
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = best, fixed, found[poi], 0.0
        if best == np.inf or fixed == np.inf or (bottom <= mu <= top and best > fixed + DISAGREEMENT):
            out[i, 3] = 1.0
