"""The extended likelihood of mu and six nuisances over single events, compiled: value, gradient and curvature at once.

    F(x) = sum_p f_p N_p(t, j, u) + sum_b r_b - sum_i n_i ln r_i + sum_k theta_k^2 / 2
    r_i  = sum_p f_p g_ip exp(c_ip . m(t, j, u)),   m = (t, j, u, q(t), q(j), uu, tj, tu, ju)

i are events (g their class posteriors times what is common, n how often an event is there) and counted regions b (g
their yields, n their counts); f are the scales (mu; bkg; bkg ttbar; bkg diboson), t and j the energy scales in standard
deviations, u = exp(2 theta_u) the square of soft_met. N_p is the integral of the same g and c over the simulation, a
tensor product of Chebyshev polynomials in (t, j, u). q(t) = t^2 goes on along its tangent beyond the points of the
training: the response grows there as it did, and does not explode. The polynomials have patches that end there.

The curvature that Newton steps use is sum_i n_i r_i' r_i'^T / r_i^2 + 1 and what is missing of the second derivative in
theta_u, as in `likelihood_kernel`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import njit
from bumpfit.higgsml.likelihood_kernel import BKG, CONVERGED, DIBOSON, FAILED, JES, MET, TES, TTBAR, scale, solve

Floats = NDArray[np.float64]
SIZE = 7
"""mu and the nuisances."""
ITERATIONS, HALVINGS = 100, 30
TOLERANCE = 1e-8
"""Of the decrease of F that a further step promises."""
ROUNDING = 1e-6
"""Of the decrease that a step promises, where rounding hides it (F is a sum over a million events)."""
LARGE = 1.2
"""ln(soft_met) of the second start."""


class Arrays(NamedTuple):
    """A likelihood of one data set.

    g (M, 4), c (M, 4, 9) and n (M,): events, then the last `bins` rows counted regions. surface (4, 3, 3, A, B, C):
    Chebyshev coefficients of N_p in patches of t and j, [-reach, -edge, edge, reach], and u on [0, top]. edge: where q
    leaves the square. scales (3,): relative standard deviations of ttbar, diboson, bkg. low, high (6,): ranges of the
    nuisances.
    """

    g: Floats
    c: NDArray[np.float32]
    n: Floats
    bins: int
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


@njit(internal=True)
def density(a, i, point, f, rates, d):  # type: ignore[no-untyped-def]
    """r of row i and its second derivative in theta_u; fills its derivatives d (7,)."""
    t, j, u, qt, dqt, qj, dqj = point
    r = curved = by_t = by_j = by_u = 0.0
    for p in range(4):
        c = a.c[i, p]
        e = a.g[i, p] * math.exp(
            c[0] * t + c[1] * j + c[2] * u + c[3] * qt + c[4] * qj + c[5] * u * u + c[6] * t * j + c[7] * t * u
            + c[8] * j * u
        )  # fmt: skip
        y = f[p] * e
        r += y
        by_t += y * (c[0] + c[3] * dqt + c[6] * j + c[7] * u)
        by_j += y * (c[1] + c[4] * dqj + c[6] * t + c[8] * u)
        rise = 2.0 * u * (c[2] + 2.0 * c[5] * u + c[7] * t + c[8] * j)
        by_u += y * rise
        curved += y * (rise * rise + 2.0 * rise + 8.0 * c[5] * u * u)
        if p == 0:
            d[0] = e
        elif p == 2:
            d[TTBAR] = y * rates[0]
        elif p == 3:
            d[DIBOSON] = y * rates[1]
    d[TES], d[JES], d[MET] = by_t, by_j, by_u
    d[BKG] = (r - f[0] * d[0]) * rates[2]
    return r, curved


@njit(internal=True)
def evaluate(a, x, g, h):  # type: ignore[no-untyped-def]
    """F at x = (mu, theta), infinite where a density is not positive; fills its gradient g and curvature h."""
    t, j = x[TES], x[JES]
    qt, dqt = square(t, a.edge)
    qj, dqj = square(j, a.edge)
    point = (t, j, math.exp(2.0 * x[MET]), qt, dqt, qj, dqj)
    f, rates, d = np.empty(4), np.empty(3), np.empty(SIZE)
    factors(a, x, f, rates)
    g[:] = 0.0
    h[:, :] = 0.0
    total, bend = integral(a, x, f, rates, g)
    counted = a.g.shape[0] - a.bins
    for i in range(a.g.shape[0]):
        r, curved = density(a, i, point, f, rates, d)
        n = a.n[i]
        if not r > 0.0:
            if n > 0.0 or r < 0.0 or r != r:
                return np.inf
            continue
        pull, weight = -n / r, n / (r * r)
        if i < counted:
            total -= n * math.log(r)
        else:
            total += r - n + (n * math.log(n / r) if n > 0.0 else 0.0)
            pull += 1.0
        bend += pull * curved
        for k in range(SIZE):
            g[k] += pull * d[k]
            s = weight * d[k]
            for m in range(k + 1):
                h[k, m] += s * d[m]
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


@njit()
def best(a, x, frozen):  # type: ignore[no-untyped-def]
    """The free fit from x (changed in place), from a small and a large soft_met: F, status."""
    s = room()
    other = x.copy()
    f, status = fit(a, x, False, frozen, s)
    if not frozen[MET]:
        other[MET] = LARGE
        second, state = fit(a, other, False, frozen, s)
        if state == CONVERGED and (status != CONVERGED or second < f):
            f, status = second, state
            x[:] = other
    return f, status


@njit()
def curve(a, x, frozen, mus, out):  # type: ignore[no-untyped-def]
    """F at the points mus (K,), ascending, nuisances profiled outwards from x: out (K,), NaN where it fails."""
    s = room()
    start = int(np.searchsorted(mus, x[0]))
    for way in (1, -1):
        y = x.copy()
        i = start if way == 1 else start - 1
        while 0 <= i < mus.size:
            y[0] = mus[i]
            f, status = fit(a, y, True, frozen, s)
            out[i] = f if status == CONVERGED else np.nan
            i += way


@njit()
def integrals(g, c, w, at, edge, out):  # type: ignore[no-untyped-def]
    """sum_i w_i g_ip exp(c_ip . m) at points at (T, 3) = (t, j, u): out (T, 4)."""
    out[:, :] = 0.0
    for k in range(at.shape[0]):
        t, j, u = at[k]
        qt, qj = square(t, edge)[0], square(j, edge)[0]
        for i in range(g.shape[0]):
            for p in range(4):
                b = c[i, p]
                out[k, p] += w[i] * g[i, p] * math.exp(
                    b[0] * t + b[1] * j + b[2] * u + b[3] * qt + b[4] * qj + b[5] * u * u + b[6] * t * j + b[7] * t * u
                    + b[8] * j * u
                )  # fmt: skip
