"""The extended likelihood of mu and six nuisances over single events, compiled: value, gradient and curvature at once.

    F(x) = sum_p f_p N_p(t, j, u) - sum_i n_i ln r_i + sum_b (r_b - n_b - n_b ln(r_b / n_b)) + sum_k theta_k^2 / 2
    r_i  = sum_p f_p g_ip exp(c_ip . m(t, j, u)),   m = (t, j, u, q(t), q(j), uu, tj, tu, ju)

i are events (g their class posteriors times what is common, n how often an event is there), b are counts (g their
yields, n their events; written so that their part is small: a million events would hide in rounding what a step gains);
f are the scales (mu; bkg; bkg ttbar; bkg diboson), t and j the energy scales in standard deviations, u = exp(2 theta_u)
the square of soft_met. N_p is the integral of the same g and c over the simulation, a tensor product of Chebyshev
polynomials in (t, j, u). q(t) = t^2 goes on along its tangent beyond the points of the training: the response grows
there as it did, and does not explode. The polynomials have patches that end there.

The curvature that Newton steps use is sum_i n_i r_i' r_i'^T / r_i^2 + 1 and what is missing of the second derivative in
theta_u, as in `expected_kernel`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import njit, record
from bumpfit.compiled_rows import copy_row
from bumpfit.higgsml.expected_kernel import BKG, DIBOSON, JES, MET, TES, TTBAR, scale
from bumpfit.higgsml.likelihood_kernel import CONVERGED, FAILED, solve

Floats = NDArray[np.float64]
SIZE = 7
"""mu and the nuisances."""
ITERATIONS, HALVINGS = 100, 30
TOLERANCE = 1e-8
"""Of the decrease of F that a further step promises."""
ROUNDING = 1e-6
"""Of the decrease that a step promises, where rounding hides it (F is a sum over a million events)."""
LARGE = 1.6
"""ln(soft_met) of another start."""
ASIDE = 1.5
"""tes, and minus jes, of other starts, in standard deviations."""
STARTS = 3
"""Other starts."""
SAME = 1e-6
"""Difference of F of the same valley."""
BLOCK = 64
"""Rows that are worked on together, so that the compiler can use vectors."""
BOUND = 16.0
"""Largest exponent of a response."""
LOOSE = {"reassoc", "contract", "nsz", "arcp"}
"""Rules of arithmetic that may be broken where sums are long."""


@record
class Arrays(NamedTuple):
    """A likelihood of one data set.

    Events and counts are rows in blocks (see `blocks`): g (B, 4, block), c (B, 4, 9, block), n and `counted` (0 or 1)
    (B, block). surface (4, 3, 3, A, B, C): Chebyshev coefficients of N_p in patches of t and j, [-reach, -edge, edge,
    reach], and u on [0, top]. edge: where q leaves the square. scales (3,): relative standard deviations of ttbar,
    diboson, bkg. low, high (6,): ranges of the nuisances.
    """

    g: Floats
    c: NDArray[np.float32]
    n: Floats
    counted: Floats
    surface: Floats
    reach: float
    top: float
    edge: float
    scales: Floats
    low: Floats
    high: Floats


@njit(internal=True)
def square(t, edge):  # type: ignore[no-untyped-def]
    """q(t) and its derivative."""
    if t > edge:
        return edge * (2.0 * t - edge), 2.0 * edge
    if t < -edge:
        return -edge * (2.0 * t + edge), -2.0 * edge
    return t * t, 2.0 * t


@njit(internal=True)
def chebyshev(x, values, slopes, bends):  # type: ignore[no-untyped-def]
    """T_k(x) and their first and second derivatives."""
    values[0], slopes[0], bends[0] = 1.0, 0.0, 0.0
    values[1], slopes[1], bends[1] = x, 1.0, 0.0
    for k in range(2, values.size):
        values[k] = 2.0 * x * values[k - 1] - values[k - 2]
        slopes[k] = 2.0 * values[k - 1] + 2.0 * x * slopes[k - 1] - slopes[k - 2]
        bends[k] = 4.0 * slopes[k - 1] + 2.0 * x * bends[k - 1] - bends[k - 2]


@njit(internal=True)
def patch(t, edge, reach):  # type: ignore[no-untyped-def]
    """The patch of a value, its centre and half its width."""
    half = 0.5 * (reach - edge)
    if t < -edge:
        return 0, -edge - half, half
    if t > edge:
        return 2, edge + half, half
    return 1, 0.0, edge


@njit(internal=True)
def surface(a, p, t, j, u):  # type: ignore[no-untyped-def]
    """N_p, its derivatives in t, j and u, and the second one in u."""
    na, nb, nc = a.surface.shape[3:]
    ta, sa, tb, sb, tc, sc = (np.empty(na), np.empty(na), np.empty(nb), np.empty(nb), np.empty(nc), np.empty(nc))
    ba, bb, bc = np.empty(na), np.empty(nb), np.empty(nc)
    first, t0, half_t = patch(t, a.edge, a.reach)
    second, j0, half_j = patch(j, a.edge, a.reach)
    half_u = 0.5 * a.top
    chebyshev((t - t0) / half_t, ta, sa, ba)
    chebyshev((j - j0) / half_j, tb, sb, bb)
    chebyshev(u / half_u - 1.0, tc, sc, bc)
    value = by_t = by_j = by_u = by_uu = 0.0
    for i in range(na):
        for k in range(nb):
            row = slope = bend = 0.0
            for m in range(nc):
                coefficient = a.surface[p, first, second, i, k, m]
                row += coefficient * tc[m]
                slope += coefficient * sc[m]
                bend += coefficient * bc[m]
            value += ta[i] * tb[k] * row
            by_t += sa[i] * tb[k] * row
            by_j += ta[i] * sb[k] * row
            by_u += ta[i] * tb[k] * slope
            by_uu += ta[i] * tb[k] * bend
    return value, by_t / half_t, by_j / half_j, by_u / half_u, by_uu / (half_u * half_u)


@njit(internal=True)
def factors(a, x, f, d):  # type: ignore[no-untyped-def]
    """Scales of the processes f (4,) and their logarithmic derivatives: d = (ttbar, diboson, bkg)."""
    ttbar, by_ttbar = scale(x[TTBAR], a.scales[0], False)
    diboson, by_diboson = scale(x[DIBOSON], a.scales[1], False)
    bkg, by_bkg = scale(x[BKG], a.scales[2], False)
    f[0], f[1], f[2], f[3] = x[0], bkg, bkg * ttbar, bkg * diboson
    d[0], d[1], d[2] = by_ttbar / ttbar, by_diboson / diboson, by_bkg / bkg


@njit(internal=True)
def integral(a, x, f, rates, g):  # type: ignore[no-untyped-def]
    """The expected single events and the second derivative in theta_u; adds the gradient to g."""
    u = math.exp(2.0 * x[MET])
    total = bend = 0.0
    for p in range(4):
        value, by_t, by_j, by_u, by_uu = surface(a, p, x[TES], x[JES], u)
        total += f[p] * value
        g[TES] += f[p] * by_t
        g[JES] += f[p] * by_j
        g[MET] += f[p] * by_u * 2.0 * u
        bend += f[p] * (by_u + by_uu * u) * 4.0 * u
        if p == 0:
            g[0] += value
        else:
            g[BKG] += f[p] * value * rates[2]
        if p == 2:
            g[TTBAR] += f[p] * value * rates[0]
        if p == 3:
            g[DIBOSON] += f[p] * value * rates[1]
    return total, bend


@njit(internal=True, fastmath=LOOSE)
def exponentials(x):  # type: ignore[no-untyped-def]
    """exp in place, of exponents cut off at `BOUND`: a Taylor sum of degree 9 of x / 64, squared six times (2e-11)."""
    for i in range(BLOCK):
        y = min(max(x[i], -BOUND), BOUND) / 64.0
        e = 1.0 + y / 9.0
        e = 1.0 + y / 8.0 * e
        e = 1.0 + y / 7.0 * e
        e = 1.0 + y / 6.0 * e
        e = 1.0 + y / 5.0 * e
        e = 1.0 + y / 4.0 * e
        e = 1.0 + y / 3.0 * e
        e = 1.0 + y / 2.0 * e
        e = 1.0 + y * e
        e *= e
        e *= e
        e *= e
        e *= e
        e *= e
        x[i] = e * e


@njit(internal=True, fastmath=LOOSE)
def combine(c, m, out):  # type: ignore[no-untyped-def]
    """The exponents of a block of coefficients c (9, block), and their derivatives in t, j and theta_u: out (4, block).

    m: what `factors_of` gives. Written out, so that every coefficient is read once and the compiler uses vectors.
    """
    for i in range(BLOCK):
        c0, c1, c2, c3, c4 = c[0, i], c[1, i], c[2, i], c[3, i], c[4, i]
        c5, c6, c7, c8 = c[5, i], c[6, i], c[7, i], c[8, i]
        out[0, i] = (
            m[0, 0] * c0 + m[0, 1] * c1 + m[0, 2] * c2 + m[0, 3] * c3 + m[0, 4] * c4 + m[0, 5] * c5 + m[0, 6] * c6
            + m[0, 7] * c7 + m[0, 8] * c8
        )  # fmt: skip
        out[1, i] = c0 + m[1, 3] * c3 + m[1, 6] * c6 + m[1, 7] * c7
        out[2, i] = c1 + m[2, 4] * c4 + m[2, 6] * c6 + m[2, 8] * c8
        out[3, i] = m[3, 2] * c2 + m[3, 5] * c5 + m[3, 7] * c7 + m[3, 8] * c8


@njit(internal=True)
def factors_of(t, j, u, edge):  # type: ignore[no-untyped-def]
    """Factors of the nine coefficients in the exponent, and in its derivatives in t, j and theta_u: (4, 9)."""
    qt, dqt = square(t, edge)
    qj, dqj = square(j, edge)
    m = np.zeros((4, 9))
    m[0] = np.array([t, j, u, qt, qj, u * u, t * j, t * u, j * u])
    m[1, 0], m[1, 3], m[1, 6], m[1, 7] = 1.0, dqt, j, u
    m[2, 1], m[2, 4], m[2, 6], m[2, 8] = 1.0, dqj, t, u
    m[3, 2], m[3, 5], m[3, 7], m[3, 8] = 2.0 * u, 4.0 * u * u, 2.0 * u * t, 2.0 * u * j
    return m


@njit(internal=True, fastmath=LOOSE)
def densities(g, c, m, f, rates, d, s):  # type: ignore[no-untyped-def]
    """Derivatives of r of a block of rows (7, block), then r itself and its second derivative in theta_u: d (9, block).

    g (4, block), c (4, 9, block), m: `factors_of`, f and rates: `factors`. s (4, block): room.
    """
    d[:, :] = 0.0
    r, curved = d[SIZE], d[SIZE + 1]
    e, by_t, by_j, by_u = s[0], s[1], s[2], s[3]
    dt, dj, du = d[TES], d[JES], d[MET]
    bent = 0.5 * m[0, 2] * m[0, 2] * 16.0
    for p in range(4):
        combine(c[p], m, s)
        exponentials(e)
        own, c5, factor = g[p], c[p, 5], f[p]
        if p == 0:
            d0 = d[0]
            for i in range(BLOCK):
                d0[i] = e[i] * own[i]
        for i in range(BLOCK):
            e[i] *= own[i] * factor
            r[i] += e[i]
            dt[i] += e[i] * by_t[i]
            dj[i] += e[i] * by_j[i]
            du[i] += e[i] * by_u[i]
            curved[i] += e[i] * (by_u[i] * by_u[i] + 2.0 * by_u[i] + bent * c5[i])
        if p >= 2:
            scaled, rate = d[TTBAR if p == 2 else DIBOSON], rates[p - 2]
            for i in range(BLOCK):
                scaled[i] = e[i] * rate
    signal, bkg, mu, rate = d[0], d[BKG], f[0], rates[2]
    for i in range(BLOCK):
        bkg[i] = (r[i] - mu * signal[i]) * rate


@njit(internal=True, fastmath=LOOSE)
def product(a, b, w):  # type: ignore[no-untyped-def]
    """sum_i w_i a_i b_i over a block."""
    total = 0.0
    for i in range(BLOCK):
        total += w[i] * a[i] * b[i]
    return total


@njit(internal=True)
def evaluate(a, x, g, h):  # type: ignore[no-untyped-def]
    """F at x = (mu, theta), infinite where a density is not positive; fills its gradient g and curvature h."""
    m = factors_of(x[TES], x[JES], math.exp(2.0 * x[MET]), a.edge)
    f, rates = np.empty(4), np.empty(3)
    d, s, ones = np.empty((SIZE + 2, BLOCK)), np.empty((4, BLOCK)), np.ones(BLOCK)
    r, curved = d[SIZE], d[SIZE + 1]
    pull, weight = np.empty(BLOCK), np.empty(BLOCK)
    factors(a, x, f, rates)
    g[:] = 0.0
    h[:, :] = 0.0
    total, bend = integral(a, x, f, rates, g)
    for b in range(a.n.shape[0]):
        densities(a.g[b], a.c[b], m, f, rates, d, s)
        times, counted = a.n[b], a.counted[b]
        for i in range(BLOCK):
            if not r[i] > 0.0:
                if times[i] > 0.0 or r[i] < 0.0 or r[i] != r[i]:
                    return np.inf
                r[i] = 1.0
            if counted[i] > 0.0:
                more = r[i] - times[i]
                total += more - (times[i] * math.log1p(more / times[i]) if times[i] > 0.0 else 0.0)
            else:
                total -= times[i] * math.log(r[i])
            pull[i], weight[i] = counted[i] - times[i] / r[i], times[i] / (r[i] * r[i])
        bend += product(pull, curved, ones)
        for k in range(SIZE):
            g[k] += product(pull, d[k], ones)
            for q in range(k + 1):
                h[k, q] += product(d[k], d[q], weight)
    for k in range(1, SIZE):
        total += 0.5 * x[k] * x[k]
        g[k] += x[k]
        h[k, k] += 1.0
    h[MET, MET] += bend
    return total


@njit()
def value(a, x, g, h):  # type: ignore[no-untyped-def]
    """`evaluate`, to be called alone."""
    return evaluate(a, x, g, h)


class Space(NamedTuple):
    """Room for a fit: gradient, curvature, its root, a step, a trial, and which parameters are held."""

    g: Floats
    h: Floats
    lower: Floats
    step: Floats
    trial: Floats
    held: NDArray[np.bool_]


@njit(internal=True)
def direction(s, floor):  # type: ignore[no-untyped-def]
    """A descent step: with the whole curvature, or with what makes it positive definite added."""
    add = 0.0
    for _ in range(40):
        for k in range(SIZE):
            s.h[k, k] += add
        if solve(s.h, s.g, s.held, s.step, s.lower):
            return True
        add = floor if add == 0.0 else add * 4.0
    return False


@njit(internal=True)
def fit(a, x, hold, frozen, s):  # type: ignore[no-untyped-def]
    """Minimise F from x (changed in place) over nuisances that are not frozen, and mu unless `hold`: F and status."""
    f = evaluate(a, x, s.g, s.h)
    if not f < np.inf:
        return f, FAILED
    for _ in range(ITERATIONS):
        for k in range(SIZE):
            s.held[k] = frozen[k] or (k == 0 and hold)
            if k and not s.held[k]:
                at_low, at_high = x[k] <= a.low[k - 1], x[k] >= a.high[k - 1]
                s.held[k] = (at_low and s.g[k] > 0.0) or (at_high and s.g[k] < 0.0)
        if not direction(s, 1.0):
            return f, FAILED
        gain = 0.0
        for k in range(SIZE):
            gain -= s.g[k] * s.step[k]
        if gain < TOLERANCE:
            return f, CONVERGED
        part, found = 1.0, np.inf
        for _ in range(HALVINGS):
            for k in range(SIZE):
                s.trial[k] = x[k] + part * s.step[k]
                if k:
                    s.trial[k] = min(max(s.trial[k], a.low[k - 1]), a.high[k - 1])
            found = evaluate(a, s.trial, s.g, s.h)
            if found <= f + 1e-14 * abs(f):
                break
            part *= 0.5
        if not found <= f + 1e-14 * abs(f):
            evaluate(a, x, s.g, s.h)
            return f, CONVERGED if gain < ROUNDING else FAILED
        for k in range(SIZE):
            x[k] = s.trial[k]
        f = found
    return f, FAILED


@njit(internal=True)
def room():  # type: ignore[no-untyped-def]
    """Room for fits."""
    square = np.empty((SIZE, SIZE))
    return Space(
        np.empty(SIZE), square, np.empty((SIZE, SIZE)), np.empty(SIZE), np.empty(SIZE), np.zeros(SIZE, np.bool_)
    )


@njit(internal=True)
def elsewhere(x, start, frozen):  # type: ignore[no-untyped-def]
    """Move x to where another valley may be: the other end of soft_met, tes and jes apart. False where one is held."""
    if start == 0:
        x[MET] = LARGE if x[MET] < 0.5 * LARGE else 0.0
        return not frozen[MET]
    x[TES] = ASIDE if start == 1 else -ASIDE
    x[JES] = -x[TES]
    return not (frozen[TES] or frozen[JES])


@njit()
def best(a, x, frozen):  # type: ignore[no-untyped-def]
    """The free fit from x (changed in place) and from other valleys (`elsewhere`): F, status."""
    s = room()
    first = x.copy()
    f, status = fit(a, x, False, frozen, s)
    for start in range(STARTS):
        other = first.copy()
        if not elsewhere(other, start, frozen):
            continue
        second, state = fit(a, other, False, frozen, s)
        if state == CONVERGED and (status != CONVERGED or second < f):
            f, status = second, state
            copy_row(other, x)
    return f, status


@njit(internal=True)
def followed(f, lines, line, i):  # type: ignore[no-untyped-def]
    """Whether one of the first `line` of lines (L, K) has the value f at point i."""
    return np.any(np.abs(lines[:line, i] - f) < SAME)


@njit()
def curve(a, x, frozen, mus, out):  # type: ignore[no-untyped-def]
    """F at the points mus (K,), ascending, nuisances profiled outwards from x: out (K,), NaN where it fails.

    Other valleys are followed from both ends inwards, until they are one that was followed, and the lowest counts. One
    whose own minimum is above all points cannot be the lower one at any.
    """
    s = room()
    start = int(np.searchsorted(mus, x[0]))
    for way in (1, -1):
        y = x.copy()
        i = start if way == 1 else start - 1
        while 0 <= i < mus.size:
            y[0] = mus[i]
            f, status = fit(a, y, True, frozen, s)
            if status != CONVERGED:  # the last point was a bad start: from the best fit
                copy_row(x, y)
                y[0] = mus[i]
                f, status = fit(a, y, True, frozen, s)
            out[i] = f if status == CONVERGED else np.nan
            i += way
    lines = np.full((1 + 2 * STARTS, mus.size), np.nan)
    lines[0] = out
    line, top = 0, out.max()
    for start in range(STARTS):
        y = x.copy()
        if elsewhere(y, start, frozen):
            f, status = fit(a, y, False, frozen, s)
            if status == CONVERGED and f > top:
                continue
        for end, way in ((0, 1), (mus.size - 1, -1)):
            y = x.copy()
            if not elsewhere(y, start, frozen):
                continue
            line += 1
            i = end
            while 0 <= i < mus.size:
                y[0] = mus[i]
                f, status = fit(a, y, True, frozen, s)
                if status != CONVERGED or followed(f, lines, line, i):
                    break
                lines[line, i] = f
                out[i] = min(f, out[i]) if out[i] == out[i] else f
                i += way


@njit()
def integrals(g, c, w, at, edge, out):  # type: ignore[no-untyped-def]
    """sum_i w_i g_pi exp(c_pi . m) at points at (T, 3) = (t, j, u), rows in blocks as in `Arrays`: out (T, 4)."""
    room = np.empty((4, BLOCK))
    out[:, :] = 0.0
    for b in range(w.shape[0]):
        for k in range(at.shape[0]):
            m = factors_of(at[k, 0], at[k, 1], at[k, 2], edge)
            for p in range(4):
                combine(c[b, p], m, room)
                exponentials(room[0])
                out[k, p] += product(room[0], g[b, p], w[b])


def blocks(g: Floats, c: NDArray[np.float32], n: Floats) -> tuple[Floats, NDArray[np.float32], Floats]:
    """Rows (M, 4), (M, 4, 9) and (M,) in blocks (B, 4, block), (B, 4, 9, block) and (B, block), padded by 0."""
    number = -(-len(n) // BLOCK)
    missing = number * BLOCK - len(n)
    parts = [np.concatenate([part, np.zeros((missing, *part.shape[1:]), part.dtype)]) for part in (g, c, n)]
    cut = [np.moveaxis(part.reshape(number, BLOCK, *part.shape[1:]), 1, -1) for part in parts]
    return np.ascontiguousarray(cut[0]), np.ascontiguousarray(cut[1]), np.ascontiguousarray(cut[2])
