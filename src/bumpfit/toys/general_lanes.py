"""Fits of many toys of a general HistFactory model, eight at a time: a quasi-Newton descent in each SIMD lane.

A lane that has converged takes the next fit; a lane's numbers do not depend on its neighbours. Fits that leave the
ranges of other parameters, meet a rate that cannot be, or need more than `PASSES` passes are left to the careful
minimiser.
"""

from __future__ import annotations

import numpy as np

from bumpfit.compiled import njit
from bumpfit.inference.newton import BENDING
from bumpfit.mixing import GOLDEN
from bumpfit.toys.general_descent import START, accept, aim, direct
from bumpfit.toys.general_likelihood import ACTIVE, GAIN, HIGH, LOW, MADE, MEMORY, SLOPE, F, T, evaluate
from bumpfit.toys.lanes import WIDTH
from bumpfit.toys.poisson import alias_draw, normal, stream

PASSES = 60  # evaluations of a fit before it is left to the careful minimiser
TOLERANCE = 1e-10  # expected gain of -ln L at which a fit has converged, in the metric of its last steps
SAME_GAIN, SAME_DISTANCE = 0.05, 0.01  # below both a fit is in a minimum that is known already: gain, squared distance

# kinds of starts of a toy's two fits
THROWN, MEASURED, MIRRORED = 0, 1, 2
"""The values thrown at; the toy's auxiliary measurements; from there on, the best fit at the tested strength with the
parameters of row kind - MIRRORED of `Shared.mirrored` reflected.
"""


@njit(internal=True)
def draw(m, tables, mean, seed, toy, main, aux):  # type: ignore[no-untyped-def]
    """Counts of the main measurement, shape (B,), and auxiliary measurements, shape (A,), of one toy.

    `tables` holds the bins, then the Poisson constraints.
    """
    independent, bins, n_normal, n_poisson = m.n_independent, main.size, mean.size, m.poisson_aux.size
    state = stream(seed, toy, bins + n_poisson + 2 * n_normal)
    for i in range(bins + n_poisson):
        state += GOLDEN
        count = alias_draw(state, tables.cells, tables.start[i], tables.bits[i], tables.low[i])
        if i < bins:
            main[i] = count
        else:
            aux[m.poisson_aux[i - bins]] = count
    for j in range(n_normal):
        state += GOLDEN + GOLDEN
        width = m.normal_sigma[j] if j < independent else 1.0
        aux[m.normal_aux[j]] = mean[j] + width * normal(state)
    for i in range(n_normal - independent - 1, -1, -1):  # correlated: rows of a lower triangle, so the last one first
        shift = 0.0
        for k in range(m.joint_pointer[i], m.joint_pointer[i + 1]):
            column = m.joint_column[k]
            shift += m.joint_lower[k] * (aux[m.normal_aux[column]] - mean[column])
        aux[m.normal_aux[independent + i]] = mean[independent + i] + shift


@njit()
def draw_toys(m, tables, mean, seed, toys, mains, auxs):  # type: ignore[no-untyped-def]
    """Fill rows of counts and auxiliary measurements with the listed toys."""
    for i in range(toys.size):
        draw(m, tables, mean, seed, toys[i], mains[i], auxs[i])


@njit(internal=True)
def begin(m, shared, w, at, lane, kind, free, mu, low, high, fixed_x):  # type: ignore[no-untyped-def]
    """Put a fit into a lane: of the start `kind` at strength mu, or (`free`) from where that fit has ended."""
    if not free:
        for p in range(m.n_parameters):
            value = shared.start[p]
            if kind >= MIRRORED:
                value = fixed_x[p, lane]
                if shared.mirrored[kind - MIRRORED, p]:  # to the other side, at least a width away
                    value = -max(value, 1.0) if value > 0.0 else max(-value, 1.0)
            w[at.x + p, lane] = value
        if kind == MEASURED:
            for i in range(m.normal_parameter.size):
                if shared.free[m.normal_parameter[i]]:
                    w[at.x + m.normal_parameter[i], lane] = w[at.aux + m.normal_aux[i], lane]
        for j in range(shared.order.size):
            p = shared.order[j]
            w[at.x + p, lane] = min(max(w[at.x + p, lane], shared.low[p]), shared.high[p])
        for p in range(m.n_parameters):
            w[at.trial + p, lane] = w[at.x + p, lane]
        low = high = mu
    start = min(max(mu if not free else w[at.x + shared.poi, lane], low), high)
    w[at.x + shared.poi, lane] = start
    for p in range(m.n_parameters):
        w[at.trial + p, lane] = w[at.x + p, lane]
    w[LOW, lane], w[HIGH, lane] = low, high
    w[F, lane], w[T, lane], w[SLOPE, lane], w[ACTIVE, lane] = START, 0.0, 0.0, 1.0
    w[GAIN, lane] = 0.0
    for i in range(shared.order.size):
        w[at.d + i, lane] = w[at.v + i, lane] = 0.0
    for j in range(MEMORY):
        w[at.rho + j, lane] = 0.0


@njit(internal=True)
def _distance(shared, w, at, lane, place):  # type: ignore[no-untyped-def]
    """Squared distance from a point, in units of the expected errors of the single parameters."""
    total = 0.0
    for j in range(shared.order.size):
        p = shared.order[j]
        step = w[at.x + p, lane] - place[p, lane]
        total += shared.straight[j] * step * step
    return total


@njit(internal=True)
def _forget(w, at, lane):  # type: ignore[no-untyped-def]
    """Clear what a fit that was given up has left in a lane: it may not be a number."""
    for row in range(at.v, at.size):
        w[row, lane] = 0.0


@njit(internal=True)
def _enter(m, w, at, lane, main, aux, row):  # type: ignore[no-untyped-def]
    """Put the measurements of a toy into a lane."""
    for b in range(m.n_bins):
        w[at.main + b, lane] = main[b]
    for i in range(aux.size):
        w[at.aux + i, lane] = aux[i]
    row[0], row[1], row[2], row[3] = np.inf, np.inf, 0.0, 0.0


@njit(internal=True)
def suspicious(e, w, at, lane, fixed_x, free_x, low, high):  # type: ignore[no-untyped-def]
    """Whether a toy in a lane may have a lower minimum beside a pulled parameter, or with yields exchanged."""
    for k in range(e.along.size):
        if e.one_sided[k]:
            continue  # other starts are for these
        p, centre = e.along[k], w[at.aux + e.aux[k], lane]
        for place in (fixed_x, free_x):
            pull = (place[p, lane] - centre) / e.width[k]
            if abs(pull) * (e.below[k] if pull < 0.0 else e.above[k]) > BENDING:
                return True
    return e.loose.size > 0 and (free_x[e.poi, lane] <= low or free_x[e.poi, lane] >= high)


@njit()
def fit_toys(m, shared, e, at, w, mu, low, high, mains, auxs, out):  # type: ignore[no-untyped-def]
    """Fit toys, rows of mains and auxs; columns of `out`, shape (n, 4): minimum free, minimum fixed at mu, best
    strength in [low, high], fits that have not converged or may have a lower minimum as `e` knows. Minima are of
    `evaluate`.
    """
    n_toys, kinds = mains.shape[0], shared.kinds.size
    toy, stage, passes = np.empty(WIDTH, np.int64), np.zeros(WIDTH, np.int64), np.zeros(WIDTH, np.int64)
    fixed_x, free_x = np.zeros((m.n_parameters, WIDTH)), np.zeros((m.n_parameters, WIDTH))
    coming, running, slot = 0, 0, 0
    for lane in range(WIDTH):
        w[F, lane] = START
        toy[lane] = -1
        if coming < n_toys:
            toy[lane] = coming
            _enter(m, w, at, lane, mains[coming], auxs[coming], out[coming])
            free = stage[lane] % 2 == 1
            begin(m, shared, w, at, lane, shared.kinds[0], free, mu, low, high, fixed_x)
            coming += 1
            running += 1
    while running > 0:
        slot = (slot + 1) % MEMORY
        evaluate(m, shared, w, at)
        accept(shared, w, at, slot)
        direct(shared, w, at, slot)
        for lane in range(WIDTH):
            i = toy[lane]
            if i < 0:
                continue
            passes[lane] += 1
            made = w[MADE, lane] > 0.0
            converged = made and abs(w[GAIN, lane]) < 2.0 * TOLERANCE
            known = out[i, 1] if stage[lane] % 2 == 0 else out[i, 0]
            if made and abs(w[GAIN, lane]) < SAME_GAIN and abs(w[F, lane] - known) < SAME_GAIN:
                place = fixed_x if stage[lane] % 2 == 0 else free_x
                if _distance(shared, w, at, lane, place) < SAME_DISTANCE:
                    # a fit at the tested strength leads to the same free fit too
                    stage[lane] += 1 if stage[lane] % 2 == 0 else 0
                    converged = True
                    w[F, lane] = np.inf
            lost = passes[lane] >= PASSES or (not made and w[F, lane] == START)
            if not (converged or lost):
                continue
            free = stage[lane] % 2 == 1
            value = w[F, lane] if converged else np.inf
            if lost and not converged:
                out[i, 3] += 1.0
            if free and value < out[i, 0]:
                out[i, 0] = value
                out[i, 2] = w[at.x + shared.poi, lane]
                for p in range(m.n_parameters):
                    free_x[p, lane] = w[at.x + p, lane]
            if not free and value < out[i, 1]:
                out[i, 1] = value
                for p in range(m.n_parameters):
                    fixed_x[p, lane] = w[at.x + p, lane]
            stage[lane] += 1
            passes[lane] = 0
            if lost and not converged:
                _forget(w, at, lane)
                stage[lane] += stage[lane] % 2  # no free fit from there
            if stage[lane] >= 2 * kinds or out[i, 3] > 0.0:
                stage[lane] = 0
                out[i, 3] += suspicious(e, w, at, lane, fixed_x, free_x, low, high)
                if coming == n_toys:
                    toy[lane] = -1
                    running -= 1
                    continue
                toy[lane] = coming
                _enter(m, w, at, lane, mains[coming], auxs[coming], out[coming])
                coming += 1
            next_free = stage[lane] % 2 == 1
            begin(m, shared, w, at, lane, shared.kinds[stage[lane] // 2], next_free, mu, low, high, fixed_x)
        # lanes with a new fit try their start, with a step of zero
        aim(shared, w, at)
