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
from bumpfit.compiled_rows import add_row, put, within
from bumpfit.types import Floats
from bumpfit.workspace.kernels import SUMS_IN_ANY_ORDER, derivatives, objective, rates

# status of a minimisation
CONVERGED, NO_PROGRESS, TOO_MANY_ITERATIONS, BAD_START = 0, 1, 2, 3

ROUNDING = 1e-14  # relative size of what rounding can leave of a singular pivot, or add to -ln L
FLAT = 1e-8  # negative pivot relative to the diagonal that counts as curvature and not as a flat direction
ENVELOPE = 200  # rows from which on a factorisation looks for leading zeros; below, whole rows by SIMD are quicker
BLOCK = 64  # rows that numpy takes at once where it has no routine for the whole matrix
_FIRST_DAMPING = 1e-3  # of the Fisher diagonal; only sets how fast a safe step is found
_LAST_DAMPING = 1e12  # a step this short cannot change x: no progress
# events that stand for none along walls; the last bounds the error of -ln L per bin
WALLS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
BLOCKED = 6  # steps into a wall after which a descent with empty bins is left to `along_walls`
NEAR = 1e-7  # where rounding keeps later steps from settling, an answer with this few is good enough
_NO_DAMPING = 1e-7  # below this the step is a plain Newton step
# Along a narrow curved valley (a factor times `staterror`, 1e8 events) a step that is long enough leaves it and raises
# -ln L; damped ones that never do take hundreds. From this iteration on plain steps, and shares of them, are followed
# by steps back into it (second-order correction; Transtrum and Sethna, arXiv:1201.5885)
CURVED = 10
ACROSS = 1e-4
SHARES = (1.0, 0.3, 0.1, 0.03)


@njit(internal=True, fastmath=SUMS_IN_ANY_ORDER)
def cholesky(matrix, lower, smallest, repair):  # type: ignore[no-untyped-def]
    """Fill the lower triangle L of matrix = L L^T.

    A pivot is bad when it is not above `smallest` times its diagonal element. With `repair` (n,) it is replaced by its
    absolute value or its element of `repair`, whichever is larger (modified Cholesky factorisation, Gill and Murray
    1974): a positive definite matrix that differs only where the given one is not. With an empty `repair` the
    factorisation ends there and leaves the pivot on the diagonal. Returns the first row with a bad pivot, or n.

    Zeros at the beginning of a row stay zeros of L and cost nothing in large matrices (envelope method; George and
    Liu, Computer Solution of Large Sparse Positive Definite Systems, 1981, chapter 4).
    """
    n = matrix.shape[0]
    bad = n
    begin = np.zeros(n, np.int64)
    for i in range(n):
        while n >= ENVELOPE and begin[i] < i and matrix[i, begin[i]] == 0.0:
            lower[i, begin[i]] = 0.0
            begin[i] += 1
        for j in range(begin[i], i + 1):
            total = matrix[i, j]
            first = max(begin[i], begin[j])
            if first == 0:  # a loop of its own: a variable start would keep it from SIMD
                for k in range(j):
                    total -= lower[i, k] * lower[j, k]
            else:
                for k in range(first, j):
                    total -= lower[i, k] * lower[j, k]
            if i == j:
                if not total > smallest * abs(matrix[i, i]):
                    bad = min(bad, i)
                    if repair.size == 0:
                        lower[i, i] = total
                        return bad
                    total = max(abs(total), repair[i])
                lower[i, i] = np.sqrt(total)
            else:
                lower[i, j] = total / lower[j, j]
    return bad


def _cholesky(matrix: Floats, lower: Floats, smallest: float, repair: Floats) -> int:
    """`cholesky` by LAPACK; a matrix that it refuses column by column, the rest of the matrix after each block."""
    n: int = matrix.shape[0]
    least = smallest * np.abs(np.diag(matrix))
    try:
        found = np.linalg.cholesky(matrix)
        if (np.diag(found) ** 2 > least).all():
            lower[:] = found
            return n
    except np.linalg.LinAlgError:
        pass
    work = matrix.copy()
    with np.errstate(divide="ignore", invalid="ignore"):  # a pivot of 0 ends the fit by nan, as when compiled
        return _by_columns(work, lower, least, repair)


def _by_columns(work: Floats, lower: Floats, least: Floats, repair: Floats) -> int:
    n: int = len(work)
    bad = n
    for first in range(0, n, BLOCK):
        last = min(first + BLOCK, n)
        for i in range(first, last):
            total = work[i, i]
            if not total > least[i]:
                bad = min(bad, i)
                if repair.size == 0:
                    lower[i, i] = total
                    return bad
                total = max(abs(total), repair[i])
            lower[i, i] = np.sqrt(total)
            lower[i + 1 :, i] = work[i + 1 :, i] / lower[i, i]
            work[i + 1 :, i + 1 : last] -= np.outer(lower[i + 1 :, i], lower[i + 1 : last, i])
        work[last:, last:] -= lower[last:, first:last] @ lower[last:, first:last].T
    return bad


cholesky.from_python(_cholesky)


@njit(internal=True, fastmath=SUMS_IN_ANY_ORDER)
def solve_triangular(lower, right):  # type: ignore[no-untyped-def]
    """Solve L L^T y = right in place; returns right^T (L L^T)^-1 right."""
    n = right.size
    square = 0.0
    for i in range(n):
        total = right[i]
        for k in range(i):
            total -= lower[i, k] * right[k]
        right[i] = total / lower[i, i]
        square += right[i] * right[i]
    for i in range(n - 1, -1, -1):
        total = right[i]
        for k in range(i + 1, n):
            total -= lower[k, i] * right[k]
        right[i] = total / lower[i, i]
    return square


def _solve_triangular(lower: Floats, right: Floats) -> float:
    """`solve_triangular` by blocks, of which numpy gives the inverses: scipy's solver takes longer to import."""
    diagonal = np.diag(lower)
    if not (np.isfinite(diagonal) & (diagonal != 0.0)).all():  # as a division by the pivot would end
        right[:] = np.nan
        return float("inf")
    blocks = [slice(first, min(first + BLOCK, right.size)) for first in range(0, right.size, BLOCK)]
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite ends the fit
        inverses = [_inverse(lower[block, block]) for block in blocks]
        for block, inverse in zip(blocks, inverses, strict=True):
            right[block] = inverse @ (right[block] - lower[block, : block.start] @ right[: block.start])
        square = float(right @ right)
        for block, inverse in zip(blocks[::-1], inverses[::-1], strict=True):
            right[block] = (right[block] - right[block.stop :] @ lower[block.stop :, block]) @ inverse
    return square


def _inverse(lower: Floats) -> Floats:
    """Of a triangle. By rows where numpy, which takes it for any matrix and exchanges rows, loses a small pivot above a
    large element.
    """
    try:
        inverse = np.asarray(np.linalg.inv(lower), dtype=np.float64)
    except np.linalg.LinAlgError:
        inverse = np.zeros_like(lower)
        for i in range(len(lower)):
            inverse[i] = -lower[i, :i] @ inverse[:i]
            inverse[i, i] += 1.0
            inverse[i] /= lower[i, i]
    return inverse


solve_triangular.from_python(_solve_triangular)


def invert(matrix: Floats, smallest: float, inverse: Floats) -> bool:
    """Fill `inverse` of a positive definite matrix; False when it is not, as `cholesky` sees it."""
    lower = np.zeros_like(matrix)
    if cholesky(matrix, lower, smallest, np.empty(0)) < matrix.shape[0]:
        return False
    half = np.linalg.inv(lower)
    inverse[:] = half.T @ half
    return True


@njit(internal=True, plain=True, fastmath=SUMS_IN_ANY_ORDER)
def downhill(matrix, direction):  # type: ignore[no-untyped-def]
    """Fill `direction` along which a matrix that is not positive definite bends down; False when it is (semi)definite.

    From the rows before the failing pivot: d_i = 1 and d_j = -(M^-1 m)_j there give d^T matrix d = pivot.
    """
    n = matrix.shape[0]
    lower = np.zeros((n, n))
    i = cholesky(matrix, lower, ROUNDING, np.empty(0))
    direction[:] = 0.0
    if i == n or lower[i, i] > -FLAT * abs(matrix[i, i]):
        return False
    direction[i] = 1.0
    add_row(direction[:i], -1.0, matrix[i, :i])
    solve_triangular(lower[:i, :i], direction[:i])
    return True


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
    empty, blocked = (main == 0.0).any(), 0
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
    walled = (main == 0.0) & (rate > 0.0)
    edm, iterations, evaluations = np.inf, 0, 1
    if not walled.any():
        return x, objective(x, main, aux, m, rate), edm, iterations, evaluations, NO_PROGRESS
    status = CONVERGED
    before, settled, near = x, x, False
    for k in range(len(WALLS)):
        data = main.copy()
        for b in np.flatnonzero(walled):
            data[b] = WALLS[k]
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
    if status in (CONVERGED, BAD_START) or not (main == 0.0).any():
        return x, value, edm, iterations, evaluations, status
    # from the start, and from a little inside of where the descent ended; of several minima the lower one counts
    above = tolerance + NEAR * np.count_nonzero(main == 0.0)
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
