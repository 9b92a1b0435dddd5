"""Bounded Newton minimisation of a HistFactory likelihood with exact second derivatives.

Projected Newton (Bertsekas 1982): parameters that sit at a bound with the gradient pointing outwards are held, the
others take a Newton step clipped to their ranges. Where the Hessian is not positive definite its bad pivots are
replaced (modified Cholesky); where a step does not lower -ln L a multiple of the diagonal of the Fisher information is
added (Levenberg-Marquardt), so every accepted step goes down; a saddle is left along its falling direction.

One fit runs as it stands here, in Python with numpy; many toys call the same functions compiled.
"""

from __future__ import annotations

import numpy as np

from bumpfit.compiled import njit
from bumpfit.compiled_rows import put, within
from bumpfit.inference.factors import FLAT, ROUNDING, cholesky, downhill, solve_triangular
from bumpfit.workspace.kernels import derivatives, objective, rates

# status of a minimisation
CONVERGED, NO_PROGRESS, TOO_MANY_ITERATIONS, BAD_START = 0, 1, 2, 3

_FIRST_DAMPING = 1e-3  # of the Fisher diagonal; only sets how fast a safe step is found
_LAST_DAMPING = 1e12  # a step this short cannot change x: no progress
# events that stand for none along walls; the last bounds the error of -ln L per bin
WALLS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
BLOCKED = 6  # steps into a wall after which a descent with empty bins is left to `along_walls`
EMPTY = 1e-6  # a bin with fewer events has none: a fit at a wall expects so few, and Asimov data of it hold them
GONE = 1e-6  # lower ends of ranges below this are the zero of a factor (those of bin errors are a little above it)
BENDING = 1.0  # pull times `Effects.lopsided` from which on another minimum beside a parameter is looked for
ALIKE = 1e-9  # places along a curved formula that differ by less, in lengths of the line, are one
NEAR = 1e-7  # where rounding keeps later steps from settling, an answer with this few is good enough
_NO_DAMPING = 1e-7  # below this the step is a plain Newton step
# Along a narrow curved valley (a factor times `staterror`, 1e8 events) a step that is long enough leaves it and raises
# -ln L; damped ones that never do take hundreds. From this iteration on plain steps, and shares of them, are followed
# by steps back into it (second-order correction; Transtrum and Sethna, arXiv:1201.5885)
CURVED = 10
ACROSS = 1e-4
SHARES = (1.0, 0.3, 0.1, 0.03)


@njit(internal=True, plain=True)
def into_the_valley(x, free, low, high, main, aux, m):  # type: ignore[no-untyped-def]
    """Two steps from x, which lies beside a narrow valley, straight into it: returns (y, value there).

    With `ACROSS` of the Fisher diagonal added they leave the direction along the valley alone.
    """
    rate, shifted, factor = np.empty(m.n_bins), np.empty(m.nominal.size), np.empty(m.nominal.size)
    shift, scale = np.empty((m.shift_parameter.size, 6)), np.empty((m.scale_parameter.size, 4))
    jac, matrix = np.empty((x.size, m.n_bins)), np.empty((x.size, x.size))
    grad, diagonal = np.empty(x.size), np.empty(x.size)
    y = x.copy()
    rates(y, m, rate, shifted, factor, shift, scale)
    for _ in range(2):
        derivatives(y, main, aux, m, rate, shifted, factor, shift, scale, jac, grad, matrix, diagonal)
        outward = ((y <= low) & (grad >= 0.0)) | ((y >= high) & (grad <= 0.0))
        active = np.flatnonzero(free & ~outward & ~((diagonal == 0.0) & (grad == 0.0)))[::-1].copy()
        system, lower, step = matrix[active][:, active], np.zeros((active.size, active.size)), grad[active]
        for i in range(active.size):
            system[i, i] += ACROSS * diagonal[active[i]]
        cholesky(system, lower, ROUNDING, diagonal[active])
        if not np.isfinite(solve_triangular(lower, step)):
            return y, np.inf
        put(y, active, np.minimum(np.maximum(y[active] - step, low[active]), high[active]))
        rates(y, m, rate, shifted, factor, shift, scale)
    return y, objective(y, main, aux, m, rate)


@njit(internal=True, plain=True)
def descend(start, free, low, high, main, aux, m, tolerance, max_iterations):  # type: ignore[no-untyped-def]
    """Minimise -ln L over the free parameters within their ranges, where it is smooth at the minimum.

    `start`, `low`, `high` (P,), `free` (P,) of bool, `main` (B,), `aux` (A,), `m` the compiled model, `tolerance` on
    the estimated distance to the minimum of -ln L. Returns (x, value, edm, iterations, evaluations, status); value
    is the objective of `kernels.objective`. With empty bins, steps that lead where a rate would be negative end it
    soon (`BLOCKED`): along a wall it would take hundreds of small ones.
    """
    n_parameters, n_bins = m.n_parameters, m.n_bins
    x = within(start, free, low, high)
    rate, shifted, factor = np.empty(n_bins), np.empty(m.nominal.size), np.empty(m.nominal.size)
    shift, scale = np.empty((m.shift_parameter.size, 6)), np.empty((m.scale_parameter.size, 4))
    jac, matrix = np.empty((n_parameters, n_bins)), np.empty((n_parameters, n_parameters))
    grad, diagonal = np.empty(n_parameters), np.empty(n_parameters)
    rates(x, m, rate, shifted, factor, shift, scale)
    value = objective(x, main, aux, m, rate)
    evaluations = 1
    if not np.isfinite(value):
        return x, value, np.inf, 0, evaluations, BAD_START
    damping = 0.0
    edm = np.inf
    empty, blocked = (main < EMPTY).any(), 0
    for iteration in range(1, max_iterations + 1):
        derivatives(x, main, aux, m, rate, shifted, factor, shift, scale, jac, grad, matrix, diagonal)
        outward = ((x <= low) & (grad >= 0.0)) | ((x >= high) & (grad <= 0.0))
        idle = (diagonal == 0.0) & (grad == 0.0)  # without effect here (a factor on empty bins, or on a strength of 0)
        # parameters of single bins come last and are taken first: most of their rows are zeros (see `cholesky`)
        active = np.flatnonzero(free & ~outward & ~idle)[::-1].copy()
        n_active = active.size
        if n_active == 0:
            return x, value, 0.0, iteration, evaluations, CONVERGED
        bare = matrix[active][:, active]
        low_active, high_active = low[active], high[active]
        lower, repair = np.zeros((n_active, n_active)), diagonal[active]
        least = repair
        if iteration > CURVED:
            damping = 0.0  # each begins with a plain step
            least = FLAT * repair  # where the valley bends down, too
        accepted = False
        plain = False
        met = False
        best = x
        while not accepted:
            system = bare.copy()
            if damping > 0.0:
                for i in range(n_active):
                    system[i, i] += damping * repair[i]
            step = grad[active]
            convex = cholesky(system, lower, ROUNDING, least) == n_active
            square = solve_triangular(lower, step)
            if not np.isfinite(square):
                return x, value, np.inf, iteration, evaluations, NO_PROGRESS
            # with damping the true distance is larger by up to the ratio of the diagonals
            edm = 0.5 * square * (1.0 + damping)
            trial = x.copy()
            put(trial, active, np.minimum(np.maximum(x[active] - step, low_active), high_active))
            rates(trial, m, rate, shifted, factor, shift, scale)
            trial_value = objective(trial, main, aux, m, rate)
            evaluations += 1
            noise = ROUNDING * abs(value)
            # a plain step that was refused (across a kink) is not tried twice
            if edm < tolerance + noise and not (plain and damping > 0.0):
                if damping > 0.0:
                    damping = 0.0  # the last step is a plain one
                    plain = True
                    continue
                # stationary, but perhaps a saddle: where a shape has one side only, its gradient vanishes at the start
                saddle = False
                if not convex:
                    saddle = downhill(bare, step)
                if not saddle:
                    if trial_value <= value:
                        return trial, trial_value, edm, iteration, evaluations, CONVERGED
                    return x, value, edm, iteration, evaluations, CONVERGED
                length = np.sum(step * step * repair)
                below = value - tolerance - noise
                for k in range(4):  # one and a tenth of a standard deviation to either side
                    trial = x.copy()
                    reach = (1.0 if k < 2 else 0.1) * (1.0 if k % 2 == 0 else -1.0) / np.sqrt(length)
                    put(trial, active, np.minimum(np.maximum(x[active] + reach * step, low_active), high_active))
                    rates(trial, m, rate, shifted, factor, shift, scale)
                    trial_value = objective(trial, main, aux, m, rate)
                    evaluations += 1
                    if trial_value < below:
                        below = trial_value
                        best = trial
                        accepted = True
                if not accepted:
                    return x, value, edm, iteration, evaluations, CONVERGED
                x = best
                value = below
                rates(x, m, rate, shifted, factor, shift, scale)
            elif trial_value <= value + noise:
                accepted = True
                damping = 0.1 * damping if damping > _NO_DAMPING else 0.0
                x = trial
                value = trial_value
            else:
                if iteration > CURVED and damping == 0.0:
                    for share in SHARES:
                        best = x.copy()
                        put(best, active, np.minimum(np.maximum(x[active] - share * step, low_active), high_active))
                        best, lowest = into_the_valley(best, free, low, high, main, aux, m)
                        evaluations += 2
                        if lowest < value - noise:
                            accepted = True
                            break
                    if accepted:
                        x, value = best, lowest
                        rates(x, m, rate, shifted, factor, shift, scale)
                        continue
                if empty and not np.isfinite(trial_value) and not met:
                    met = True
                    blocked += 1
                    if blocked > BLOCKED:
                        return x, value, edm, iteration, evaluations, NO_PROGRESS
                damping = max(10.0 * damping, _FIRST_DAMPING)
                if damping > _LAST_DAMPING:
                    return x, value, edm, iteration, evaluations, NO_PROGRESS
    return x, value, edm, max_iterations, evaluations, TOO_MANY_ITERATIONS


@njit(internal=True, plain=True)
def along_walls(start, free, low, high, main, aux, m, tolerance, max_iterations):  # type: ignore[no-untyped-def]
    """As `descend`, for a minimum at which a bin without events expects none.

    Beyond lies a wall: a systematic could drive the rate below zero, and -ln L still falls towards it, so that its
    gradient does not vanish at the minimum. A few events eps in place of none add -eps ln(rate), the barrier of an
    interior-point method (Fiacco and McCormick 1968); at its minimum -ln L is above the one sought by at most eps
    for every bin at its wall. eps is lowered in steps; each starts where the line through the last two answers, as a
    function of eps, leads: close to a wall a plain Newton step would cross it.
    """
    x = start.copy()
    rate, shifted, factor = np.empty(m.n_bins), np.empty(m.nominal.size), np.empty(m.nominal.size)
    shift, scale = np.empty((m.shift_parameter.size, 6)), np.empty((m.scale_parameter.size, 4))
    rates(x, m, rate, shifted, factor, shift, scale)
    walled = (main < EMPTY) & (rate > 0.0)
    edm, iterations, evaluations = np.inf, 0, 1
    if not walled.any():
        return x, objective(x, main, aux, m, rate), edm, iterations, evaluations, NO_PROGRESS
    status = CONVERGED
    before, settled, near = x, x, False
    for k in range(len(WALLS)):
        data = main.copy()
        for b in np.flatnonzero(walled):
            data[b] = max(main[b], WALLS[k])
        ahead = x
        if k > 1:
            ahead = x + (x - before) * (WALLS[k] - WALLS[k - 1]) / (WALLS[k - 1] - WALLS[k - 2])
            ahead = within(ahead, free, low, high)
            rates(ahead, m, rate, shifted, factor, shift, scale)
            if not np.isfinite(objective(ahead, data, aux, m, rate)):
                ahead = x
        before = x
        x, _, edm, more, calls, status = descend(ahead, free, low, high, data, aux, m, tolerance, max_iterations)
        iterations += more
        evaluations += calls
        if status == BAD_START:
            break
        if status == CONVERGED and WALLS[k] <= NEAR:
            settled, near = x, True
    if near and status != CONVERGED:
        x, status = settled, CONVERGED
    rates(x, m, rate, shifted, factor, shift, scale)
    return x, objective(x, main, aux, m, rate), edm, iterations, evaluations, status


@njit(internal=True, plain=True)
def minimise(start, free, low, high, main, aux, m, tolerance, max_iterations):  # type: ignore[no-untyped-def]
    """Minimise -ln L over the free parameters within their ranges: `descend`, and `along_walls` where that fails.

    Arguments and results as for `descend`.
    """
    x, value, edm, iterations, evaluations, status = descend(
        start, free, low, high, main, aux, m, tolerance, max_iterations
    )
    if status in (CONVERGED, BAD_START) or not (main < EMPTY).any():
        return x, value, edm, iterations, evaluations, status
    # from the start, and from a little inside of where the descent ended; of several minima the lower one counts
    above = tolerance + NEAR * np.count_nonzero(main < EMPTY)
    for k in range(2):
        begin = start if k == 0 else x + 0.1 * (start - x)
        y, walled, distance, more, calls, ended = along_walls(
            begin, free, low, high, main, aux, m, tolerance, max_iterations
        )
        iterations += more
        evaluations += calls
        if ended == CONVERGED and walled <= value + above:
            if walled <= value:
                x, value = y, walled
            # the descent may have arrived without knowing it: then its end is as good
            edm, status, above = distance, CONVERGED, 0.0
    return x, value, edm, iterations, evaluations, status
