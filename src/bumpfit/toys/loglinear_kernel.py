"""Fits of many toys of a log-linear background plus a signal, eight toys at a time.

Expected events in bin b: lambda_b = e_b + mu s_b with e_b = r_b exp(Z_b z). Its negative log likelihood, up to
constants of the toy and with the linear parts of the logarithms collected in t = Z^T n (and of constraint terms in R,
t),

    f(z, mu) = sum_b lambda_b - sum_b n_b ln(1 + mu s_b / e_b) - t z + z R z / 2 .

Newton's method in z and mu, one toy in each SIMD lane:

1. Start of the fit at mu = 0: the basis is whitened (Z^T r Z + R = 1), so the first step is d = t - Z^T r itself; the
   third and fourth cumulants of the expected likelihood, tables of a few numbers, correct it to order d^4.
2. Passes over all bins until the Newton decrement h^2 = g H^-1 g is so small that the error of the minimum after its
   own quadratic correction f - h^2 / 2, which is below `curvature` h^3, falls under the tolerance: mostly one pass.
3. The step from there to the fit with a free mu needs sums over the signal's bins only; its sign is the sign of the
   best mu. The third derivatives of the expected likelihood correct it (Chebyshev's method); passes as in 2 follow.

A lane that has converged keeps its point and its result while others of its block go on, so that no number depends on a
toy's neighbours. Lanes that have not converged after `PASSES` are left to the damped minimiser.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import njit, record
from bumpfit.toys.lanes import WIDTH, exp, fma, load, log, splat, spread, sqrt, store, where_less

Floats = NDArray[np.float64]

TILE = 4  # bins summed together in a pass; the number of bins is padded to a multiple with empty bins
PASSES = 8  # Newton passes before a lane is left to the damped minimiser; few toys need more than 2
SHIFT = 0.5  # largest correction of a start in standard deviations; where it would be larger, its series is no good
LARGEST_DECREMENT = 0.1  # of h^2: above it the quadratic correction is not trusted, whatever the curvature

# Rows of the work space of eight toys (an array of shape (rows, 8)) that do not depend on the model.
F, SQUARE, OPEN, DOWN, CURVE, MU = range(6)


@record
class Rows(NamedTuple):
    """First rows of the other quantities; a toy's fixed part (mu, t, z, n) comes in one piece for the queues."""

    t: int  # K: linear term
    z: int  # K: background parameters
    n: int  # B: counts
    e: int  # B: background rates
    weight: int  # 2 B: of the bins in the sums for slopes and Hessian
    sums: int  # 1 + K + K (K + 1) / 2 of the design: f, slopes, Hessian in z
    g: int  # K + 1: downhill gradient, mu last
    h: int  # packed Hessian, mu last
    chol: int  # packed factors
    y: int  # K + 1: L^-1 g
    step: int  # K + 1
    cross: int  # K: of `signal_score`
    work: int  # 2 (K + 1)
    size: int  # of the work space


def rows_of(bins: int, size: int) -> Rows:
    """Layout of the work space for B (padded) bins and K background parameters."""
    full = size + 1
    half = full * (full + 1) // 2
    sizes = (
        size,
        size,
        bins,
        bins,
        2 * bins,
        1 + size + size * full // 2,
        full,
        half,
        half,
        full,
        full,
        size,
        2 * full,
    )
    starts = np.cumsum([MU + 1, *sizes]).tolist()
    return Rows(*starts)


@record
class Arrays(NamedTuple):
    """A whitened log-linear model as the kernels take it; B bins (padded), K background parameters, M signals.

    Constraints: J unit Gaussians with mean `pull` z, of which R = pull^T pull; `bins` of the B bins are real. Packed
    pairs and triples are those with j <= k <= l; a derivative counts there as often as its permutations.
    """

    rate: Floats  # (B,)
    basis: Floats  # (B, K)
    design: Floats  # (B, 1 + K + K (K + 1) / 2): 1, Z_k, Z_j Z_k
    prior: Floats  # (K, K)
    pull: Floats  # (J, K)
    limits: Floats  # (J, 2) range of pull z; no rows where there is none
    third: Floats  # (K, pairs): third cumulants / 2
    fourth: Floats  # (K, triples): fourth cumulants / 6
    signals: Floats  # (M, B)
    first: NDArray[np.int64]  # (M,) bins of each signal
    last: NDArray[np.int64]
    bend: Floats  # (M, K + 1, pairs with mu): third derivatives / 2 of the expected likelihood with mu, at mu = 0
    curvature: Floats  # (1 + M,): bounds on the third derivatives / 6, of the background alone and with each signal
    tolerance: float  # of a minimum of f
    bins: int


@njit(inline=True)
def packed(j, k, size):  # type: ignore[no-untyped-def]
    """Place of element (j, k), j <= k, in the packed upper rows of a symmetric matrix."""
    return j * size - (j * (j - 1)) // 2 + (k - j)


@njit(internal=True)
def rates(rate, basis, x, z_row, e_row):  # type: ignore[no-untyped-def]
    """Background rates e_b = r_b exp(Z_b z)."""
    n_bins, size = basis.shape
    for b in range(n_bins):
        exponent = splat(0.0)
        for k in range(size):
            exponent = fma(spread(basis, b * size + k), load(x, z_row + k), exponent)
        store(x, e_row + b, spread(rate, b) * exp(exponent))


@njit(internal=True)
def contract(design, x, weight, first, last, out):  # type: ignore[no-untyped-def]
    """x[out + c] = sum_b design[b, c] x[weight + b] for columns first to last (exclusive)."""
    for c in range(first, last):
        store(x, out + c, splat(0.0))
    columns = design.shape[1]
    for b in range(0, design.shape[0], TILE):
        w0, w1, w2, w3 = load(x, weight + b), load(x, weight + b + 1), load(x, weight + b + 2), load(x, weight + b + 3)
        at0, at1, at2, at3 = b * columns, (b + 1) * columns, (b + 2) * columns, (b + 3) * columns
        for c in range(first, last):
            total = fma(spread(design, at0 + c), w0, load(x, out + c))
            total = fma(spread(design, at1 + c), w1, total)
            total = fma(spread(design, at2 + c), w2, total)
            store(x, out + c, fma(spread(design, at3 + c), w3, total))


@njit(internal=True)
def finish(prior, constrained, x, at):  # type: ignore[no-untyped-def]
    """Add the linear term and the constraints to the sums over bins: f, downhill gradient, Hessian in the sums."""
    size = prior.shape[0]
    f = load(x, at.sums)
    for j in range(size):
        t, z = load(x, at.t + j), load(x, at.z + j)
        f = f - t * z
        down = t - load(x, at.sums + 1 + j)
        if constrained:
            pulled = splat(0.0)
            for k in range(size):
                pulled = fma(spread(prior, j * size + k), load(x, at.z + k), pulled)
            down = down - pulled
            f = fma(splat(0.5) * pulled, z, f)
            for k in range(j, size):
                row = at.sums + 1 + size + packed(j, k, size)
                store(x, row, load(x, row) + spread(prior, j * size + k))
        store(x, at.g + j, down)
    store(x, F, f)


@njit(internal=True)
def factorise(x, h, size, chol):  # type: ignore[no-untyped-def]
    """Cholesky factors of packed symmetric matrices, with the inverse of the diagonal on the diagonal."""
    for j in range(size):
        for k in range(j, size):
            place = packed(j, k, size)
            value = load(x, h + place)
            for i in range(j):
                value = value - load(x, chol + packed(i, j, size)) * load(x, chol + packed(i, k, size))
            if k == j:
                store(x, chol + place, splat(1.0) / sqrt(value))
            else:
                store(x, chol + place, value * load(x, chol + packed(j, j, size)))


@njit(internal=True)
def forward(x, chol, size, g, y):  # type: ignore[no-untyped-def]
    """y = L^-1 g."""
    for j in range(size):
        value = load(x, g + j)
        for i in range(j):
            value = value - load(x, chol + packed(i, j, size)) * load(x, y + i)
        store(x, y + j, value * load(x, chol + packed(j, j, size)))


@njit(internal=True)
def backward(x, chol, size, rows, y, step):  # type: ignore[no-untyped-def]
    """Solve L^T step = y for the first `rows` of `size` rows; later rows of step are given."""
    for j in range(rows - 1, -1, -1):
        value = load(x, y + j)
        for i in range(j + 1, size):
            value = value - load(x, chol + packed(j, i, size)) * load(x, step + i)
        store(x, step + j, value * load(x, chol + packed(j, j, size)))


@njit(internal=True)
def settled(x, curvature, tolerance):  # type: ignore[no-untyped-def]
    """Close the lanes whose minimum is known to the tolerance; returns whether all lanes are closed."""
    square, zero, one = load(x, SQUARE), splat(0.0), splat(1.0)
    error = splat(curvature) * square * sqrt(square)
    # a decrement that is not a number, or negative, compares false: such a lane stays open
    wide = where_less(square, splat(LARGEST_DECREMENT), where_less(error, splat(tolerance), zero, one), one)
    store(x, OPEN, where_less(wide, splat(0.5), zero, load(x, OPEN)))
    left = 0.0
    for lane in range(WIDTH):
        left += x[OPEN, lane]
    return left == 0.0


@njit(internal=True)
def move(x, point, step, rows):  # type: ignore[no-untyped-def]
    """Take the step in the lanes that are open."""
    still = load(x, OPEN)
    for k in range(rows):
        here = load(x, point + k)
        store(x, point + k, where_less(splat(0.5), still, here + load(x, step + k), here))


@njit(internal=True)
def open_outside(pull, limits, x, at):  # type: ignore[no-untyped-def]
    """Open the lanes whose constrained parameters have left their range."""
    size = pull.shape[1]
    still, one = load(x, OPEN), splat(1.0)
    for j in range(limits.shape[0]):
        value = splat(0.0)
        for k in range(size):
            value = fma(spread(pull, j * size + k), load(x, at.z + k), value)
        still = where_less(value, spread(limits, 2 * j), one, still)
        still = where_less(spread(limits, 2 * j + 1), value, one, still)
    store(x, OPEN, still)


@njit(internal=True)
def quadratic(table, x, point, size, j):  # type: ignore[no-untyped-def]
    """sum over k <= l of table[j, (k, l)] p_k p_l."""
    value, place = splat(0.0), j * table.shape[1]
    for k in range(size):
        for m in range(k, size):
            value = fma(spread(table, place) * load(x, point + k), load(x, point + m), value)
            place += 1
    return value


@njit(internal=True)
def linear_start(rate, basis, design, third, fourth, x, at):  # type: ignore[no-untyped-def]
    """t += Z^T n, and the start z = d - K3(p, p) / 2 - K4(d, d, d) / 6 with d = t - Z^T r and p = d - K3(d, d) / 2.

    t comes in with the constraints' part.
    """
    n_bins, size = basis.shape
    first, second = at.work, at.work + size
    contract(design, x, at.n, 1, 1 + size, at.sums)
    for k in range(size):
        shift = 0.0
        for b in range(n_bins):
            shift += basis[b, k] * rate[b]
        total = load(x, at.t + k) + load(x, at.sums + 1 + k)
        store(x, at.t + k, total)
        store(x, first + k, total - splat(shift))
    length = splat(0.0)
    for j in range(size):
        correction = quadratic(third, x, first, size, j)
        store(x, second + j, load(x, first + j) - correction)
        length = fma(correction, correction, length)
    for j in range(size):
        start, place = load(x, first + j) - quadratic(third, x, second, size, j), j * fourth.shape[1]
        for k in range(size):
            for m in range(k, size):
                pair = load(x, first + k) * load(x, first + m)
                for i in range(m, size):
                    start = start - spread(fourth, place) * pair * load(x, first + i)
                    place += 1
        store(x, at.z + j, where_less(length, splat(SHIFT * SHIFT), start, load(x, first + j)))


@njit(internal=True)
def fit_background(rate, basis, design, prior, constrained, third, fourth, curvature, tolerance, x, at):  # type: ignore[no-untyped-def]
    """Minimum over z at mu = 0, left as the expansion at the last point: z, e, gradient, Hessian, factors and y = L^-1
    g.

    F is the minimum (quadratic correction included); OPEN is 1 in the lanes that have not converged.
    """
    size, columns = basis.shape[1], design.shape[1]
    linear_start(rate, basis, design, third, fourth, x, at)
    store(x, OPEN, splat(1.0))
    for attempt in range(PASSES):
        rates(rate, basis, x, at.z, at.e)
        contract(design, x, at.e, 0, columns, at.sums)
        finish(prior, constrained, x, at)
        factorise(x, at.sums + 1 + size, size, at.chol)
        forward(x, at.chol, size, at.g, at.y)
        square = splat(0.0)
        for k in range(size):
            square = fma(load(x, at.y + k), load(x, at.y + k), square)
        store(x, SQUARE, square)
        if settled(x, curvature, tolerance) or attempt == PASSES - 1:
            break
        backward(x, at.chol, size, size, at.y, at.step)
        move(x, at.z, at.step, size)
    store(x, F, fma(splat(-0.5), load(x, SQUARE), load(x, F)))


@njit(internal=True)
def signal_score(basis, signal, first, last, x, at):  # type: ignore[no-untyped-def]
    """Newton step in mu of a signal from the expansion of `fit_background`, over the signal's bins only.

    At mu = 0 the Hessian in z is the background's own, so its factors serve. cross = L^-1 H_(z, mu); DOWN is the
    gradient in mu and CURVE the Hessian, both after profiling z.
    """
    size = basis.shape[1]
    down, curve = splat(0.0), splat(0.0)
    for k in range(size):
        store(x, at.cross + k, splat(0.0))
    for b in range(first, last):
        s = spread(signal, b)
        ratio = s / load(x, at.e + b)
        pulled = ratio * load(x, at.n + b)
        down = down + (pulled - s)
        curve = fma(pulled, ratio, curve)
        for k in range(size):
            store(x, at.cross + k, fma(spread(basis, b * size + k), pulled, load(x, at.cross + k)))
    forward(x, at.chol, size, at.cross, at.cross)
    for k in range(size):
        value = load(x, at.cross + k)
        down = down - value * load(x, at.y + k)
        curve = curve - value * value
    store(x, DOWN, down)
    store(x, CURVE, curve)


@njit(inline=True)
def between(value, low, high):  # type: ignore[no-untyped-def]
    """The value limited to [low, high]; a value that is not a number becomes an end."""
    value = where_less(value, splat(high), value, splat(high))
    return where_less(splat(low), value, value, splat(low))


@njit(internal=True)
def signal_start(bend, low, high, x, at):  # type: ignore[no-untyped-def]
    """MU and the step in z (in at.step) from the expansion of `fit_background`: Newton's and its third-order
    correction.

    The step in mu is limited to [low, high].
    """
    size = bend.shape[0] - 1
    full = size + 1
    step, slope, extra = at.step, at.work, at.work + full
    down, curve = load(x, DOWN), load(x, CURVE)
    mu = between(down / curve, low, high)
    store(x, step + size, mu)
    for k in range(size):
        store(x, extra + k, load(x, at.y + k) - load(x, at.cross + k) * mu)
    backward(x, at.chol, size, size, extra, step)
    for j in range(full):
        store(x, slope + j, quadratic(bend, x, step, full, j))
    forward(x, at.chol, size, slope, extra)
    change = load(x, slope + size)
    for k in range(size):
        change = change - load(x, at.cross + k) * load(x, extra + k)
    length = change * change / curve
    for k in range(size):
        length = fma(load(x, extra + k), load(x, extra + k), length)
    used = where_less(length, splat(SHIFT * SHIFT), splat(1.0), splat(0.0))
    mu = between((down - used * change) / curve, low, high)
    store(x, MU, mu)
    for k in range(size):
        rest = load(x, at.y + k) - used * load(x, extra + k)
        store(x, extra + k, rest - load(x, at.cross + k) * mu)
    backward(x, at.chol, size, size, extra, step)


@njit(internal=True)
def signal_pass(rate, basis, design, prior, constrained, signal, first, last, x, at):  # type: ignore[no-untyped-def]
    """Likelihood F, downhill gradient and packed Hessian (mu last in both) at (z, MU); F is NaN where lambda <= 0.

    Slopes and Hessian are sums over all bins with a weight each: the background's rates outside the signal's bins.
    """
    n_bins, size = basis.shape
    columns, full = design.shape[1], size + 1
    slopes, bends = at.weight, at.weight + n_bins
    rates(rate, basis, x, at.z, at.e)
    for b in range(n_bins):
        e = load(x, at.e + b)
        store(x, slopes + b, e)
        store(x, bends + b, e)
    mu, one, extra_f, down_mu, h_mu = load(x, MU), splat(1.0), splat(0.0), splat(0.0), splat(0.0)
    for k in range(size):
        store(x, at.h + packed(k, size, full), splat(0.0))
    for b in range(first, last):
        e, n, s = load(x, at.e + b), load(x, at.n + b), spread(signal, b)
        total = fma(mu, s, e)
        inverse = one / total
        r = n * inverse
        pulled = e * r
        mixed = pulled * inverse
        # beyond the sum of the slopes' weights, which counts e + n - e r in this bin, f has lambda - n ln(lambda / e)
        extra_f = extra_f + (fma(mu, s, pulled - n) - n * log(total / e))
        store(x, slopes + b, e + (n - pulled))
        store(x, bends + b, fma(e, mixed, e - pulled))
        down_mu = fma(s, r - one, down_mu)
        h_mu = fma(r * inverse, s * s, h_mu)
        mixed = mixed * s
        for k in range(size):
            place = at.h + packed(k, size, full)
            store(x, place, fma(spread(basis, b * size + k), mixed, load(x, place)))
    contract(design, x, slopes, 0, 1 + size, at.sums)
    contract(design, x, bends, 1 + size, columns, at.sums)
    store(x, at.sums, load(x, at.sums) + extra_f)
    store(x, at.g + size, down_mu)
    store(x, at.h + packed(size, size, full), h_mu)
    finish(prior, constrained, x, at)
    for j in range(size):
        for k in range(j, size):
            store(x, at.h + packed(j, k, full), load(x, at.sums + 1 + size + packed(j, k, size)))


@njit(internal=True)
def bounded_step(x, at, size, low, high):  # type: ignore[no-untyped-def]
    """Step in mu, kept inside [low, high], and SQUARE: twice the decrease of the quadratic model with that step in
    mu.
    """
    square = splat(0.0)
    for k in range(size):
        square = fma(load(x, at.y + k), load(x, at.y + k), square)
    inverse, own, mu = load(x, at.chol + packed(size, size, size + 1)), load(x, at.y + size), load(x, MU)
    by = between(fma(own, inverse, mu), low, high) - mu
    a = by / inverse
    f = load(x, F)
    store(x, at.step + size, by)
    # a strength that stays gains nothing, also where its curvature is 0 and the factors are infinite
    gain = where_less(splat(0.0), by * by, a * (splat(2.0) * own - a), splat(0.0))
    store(x, SQUARE, square + gain + (f - f))  # not a number where f is none


@njit(internal=True)
def fit_signal(  # type: ignore[no-untyped-def]
    rate, basis, design, prior, constrained, signal, first, last, curvature, tolerance, low, high, x, at
):
    """Minimum over z and mu in [low, high] from the point (z, MU); lanes with OPEN 0 are not looked at.

    F and MU become those of the minimum; OPEN stays 1 in the lanes that have not converged.
    """
    size = basis.shape[1]
    full = size + 1
    for attempt in range(PASSES):
        signal_pass(rate, basis, design, prior, constrained, signal, first, last, x, at)
        factorise(x, at.h, full, at.chol)
        forward(x, at.chol, full, at.g, at.y)
        bounded_step(x, at, size, low, high)
        if settled(x, curvature, tolerance) or attempt == PASSES - 1:
            break
        backward(x, at.chol, full, size, at.y, at.step)
        move(x, at.z, at.step, size)
        move(x, MU, at.step + size, 1)
    store(x, F, fma(splat(-0.5), load(x, SQUARE), load(x, F)))
    store(x, MU, load(x, MU) + load(x, at.step + size))
