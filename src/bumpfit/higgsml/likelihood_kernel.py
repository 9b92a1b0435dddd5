"""The extended binned likelihood of mu and the nuisances, and its fits, compiled: one experiment after the other.

Half of -2 ln L without the constant: F = sum_b (r_b - n_b + n_b ln(n_b / r_b)) + sum_k theta_k^2 / 2, with r_b the
expected events and theta in standard deviations of the prior. Three kinds of expected events:

- `RESPONSE`: r_b = sum_p f_p y_bp exp(a_bp . m(t, j, u)), processes p in the order of `columns.PROCESSES`, f the scales
  (mu; bkg; bkg ttbar; bkg diboson), m = (t, j, u, tt, jj, uu, tj, tu, ju), t and j the energy scales in standard
  deviations, u the soft missing momentum: theta_u itself, or exp(2 theta_u) (its square, for a lognormal prior).
- `GRID`: r_b = mu S_b(t, j) + B_b(t, j), both splines through templates on a grid.
- `SUM`: r_b = mu (S_b + sum_k p_bk(theta_k)) + B_b + sum_k q_bk(theta_k), polynomials without constant (that of the
  soft missing momentum in exp(theta)), not below `LEAST`.

Where templates have m_b effective simulated events (0: their error is left out), a factor g_b of each bin is profiled
too, with the likelihood of m_b auxiliary events (one factor a bin of Barlow and Beeston, Comput. Phys. Commun. 77
(1993) 219; Poisson constraint): F gains sum_b m_b (g_b - 1 - ln g_b), and g_b = (n_b + m_b) / (r_b + m_b).

The minimum is found by Newton steps with the curvature sum_b n_b / r_b^2 r_b' r_b'^T + 1 (positive definite; exact but
for r'', of which only the second derivative in soft_met is large and added where it helps), halved until F falls,
inside the ranges of the nuisances. soft_met may have two minima: the free fit begins at a small and at a large one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import njit, record

Floats = NDArray[np.float64]

RESPONSE, GRID, SUM = 0, 1, 2
TES, JES, MET, TTBAR, DIBOSON, BKG = 1, 2, 3, 4, 5, 6
"""Places of the nuisances among the parameters, after mu."""
ITERATIONS, HALVINGS = 200, 40
LEAST = 1e-10
"""Expected events of a bin where a sum of effects is below."""
LARGE = 1.2
"""ln(soft_met) of the second start."""
TOLERANCE = 1e-10
"""Of the decrease of F that a further step promises."""
ROUNDING = 1e-8
"""Of the decrease that a step promises, where rounding hides it."""
ENDS = 40
"""Steps towards an end of an interval."""
SEARCHES = 60
"""Times that the distance from the minimum is doubled to leave an interval."""
CLOSE = 1e-8
"""Of an end of an interval."""
WALL = 1e-6
"""Expectation of an empty bin at which a negative mu has gone as far as it can."""
CONVERGED, FAILED = 0, 1


@record
class Arrays(NamedTuple):
    """A model as arrays; those of the other kind are empty.

    yields (B, P), response (B, P, 9): nominal expectations and log-quadratic coefficients. scales (3,): relative
    standard deviations of ttbar, diboson, bkg. power: scales are (1 + scale)^theta instead of 1 + scale theta. square:
    u = exp(2 theta). cells (T, J, B, 2, 4, 4): coefficients of x^a y^b in a cell, signal and background, x and y from
    its lower corner. t_edges (T + 1,), j_edges (J + 1,). low, high (K,): ranges of the nuisances. simulated (B,):
    effective simulated events of the bins, 0 where the error of the simulation is left out. Of sums,
    yields (B, 2) are signal and background, and cells (1, 1, B, 2, K, D) the coefficients of theta_k to theta_k^D.
    """

    kind: int
    yields: Floats
    response: Floats
    scales: Floats
    power: bool
    square: bool
    cells: Floats
    t_edges: Floats
    j_edges: Floats
    low: Floats
    high: Floats
    simulated: Floats


@njit(internal=True)
def scale(theta, sigma, power):  # type: ignore[no-untyped-def]
    """A factor of a yield and its derivative."""
    if power:
        value = math.exp(theta * math.log1p(sigma))
        return value, value * math.log1p(sigma)
    return 1.0 + sigma * theta, sigma


@njit(internal=True)
def expect_response(a, x, r, d, bend):  # type: ignore[no-untyped-def]
    """Fill r (B,), d (B, 7) and bend (B,), the second derivative in soft_met, at x = (mu, theta)."""
    mu, t, j = x[0], x[TES], x[JES]
    u, du, ddu = x[MET], 1.0, 0.0
    if a.square:
        u = math.exp(2.0 * x[MET])
        du, ddu = 2.0 * u, 4.0 * u
    tt, dtt = scale(x[TTBAR], a.scales[0], a.power)
    vv, dvv = scale(x[DIBOSON], a.scales[1], a.power)
    bk, dbk = scale(x[BKG], a.scales[2], a.power)
    for b in range(a.yields.shape[0]):
        for k in range(7):
            d[b, k] = 0.0
        total = bend[b] = 0.0
        for p in range(4):
            y = a.yields[b, p]
            if y == 0.0:
                continue
            c = a.response[b, p]
            y *= math.exp(
                c[0] * t + c[1] * j + c[2] * u + c[3] * t * t + c[4] * j * j + c[5] * u * u + c[6] * t * j
                + c[7] * t * u + c[8] * j * u
            )  # fmt: skip
            f = mu
            if p == 0:
                d[b, 0] = y
            elif p == 1:
                f = bk
                d[b, BKG] += y * dbk
            elif p == 2:
                f = bk * tt
                d[b, BKG] += y * dbk * tt
                d[b, TTBAR] = y * bk * dtt
            else:
                f = bk * vv
                d[b, BKG] += y * dbk * vv
                d[b, DIBOSON] = y * bk * dvv
            y *= f
            total += y
            d[b, TES] += y * (c[0] + 2.0 * c[3] * t + c[6] * j + c[7] * u)
            d[b, JES] += y * (c[1] + 2.0 * c[4] * j + c[6] * t + c[8] * u)
            rise = c[2] + 2.0 * c[5] * u + c[7] * t + c[8] * j
            d[b, MET] += y * rise * du
            bend[b] += y * (rise * rise * du * du + 2.0 * c[5] * du * du + rise * ddu)
        r[b] = total


@njit(internal=True)
def cell(edges, value):  # type: ignore[no-untyped-def]
    """The cell of a grid that holds a value, the outer ones for values beyond."""
    i = int(np.searchsorted(edges, value, side="right")) - 1
    return min(max(i, 0), edges.size - 2)


@njit(internal=True)
def expect_grid(a, x, r, d):  # type: ignore[no-untyped-def]
    """Fill r (B,) and d (B, 3) at x = (mu, t, j)."""
    i, k = cell(a.t_edges, x[1]), cell(a.j_edges, x[2])
    s, q = x[1] - a.t_edges[i], x[2] - a.j_edges[k]
    for b in range(r.size):
        r[b] = d[b, 0] = d[b, 1] = d[b, 2] = 0.0
        for part in range(2):
            c = a.cells[i, k, b, part]
            value = by_s = by_q = 0.0
            for m in range(3, -1, -1):
                row = ((c[m, 3] * q + c[m, 2]) * q + c[m, 1]) * q + c[m, 0]
                slope = (3.0 * c[m, 3] * q + 2.0 * c[m, 2]) * q + c[m, 1]
                by_s = by_s * s + value
                value = value * s + row
                by_q = by_q * s + slope
            f = x[0] if part == 0 else 1.0
            if part == 0:
                d[b, 0] = value
            r[b] += f * value
            d[b, 1] += f * by_s
            d[b, 2] += f * by_q


@njit(internal=True)
def expect_sum(a, x, r, d, bend):  # type: ignore[no-untyped-def]
    """Fill r (B,), d (B, 1 + K) and bend (B,), the second derivative in soft_met, at x = (mu, theta)."""
    degree = a.cells.shape[5]
    for b in range(r.size):
        for k in range(x.size):
            d[b, k] = 0.0
        bend[b] = r[b] = 0.0
        for part in range(2):
            f = x[0] if part == 0 else 1.0
            total = a.yields[b, part]
            for k in range(1, x.size):
                y = math.exp(x[k]) if k == MET else x[k]
                value = slope = curve = 0.0
                for m in range(degree - 1, -1, -1):
                    curve = curve * y + 2.0 * slope
                    slope = slope * y + value
                    value = value * y + a.cells[0, 0, b, part, k - 1, m]
                curve = curve * y + 2.0 * slope
                slope = slope * y + value
                total += value * y
                if k == MET:
                    bend[b] += f * (curve * y * y + slope * y)
                    slope *= y
                d[b, k] += f * slope
            if part == 0:
                d[b, 0] = total
            r[b] += f * total
        if r[b] < LEAST:
            r[b] = LEAST
            bend[b] = 0.0
            for k in range(x.size):
                d[b, k] = 0.0


@njit(internal=True)
def expect(a, x, r, d, bend):  # type: ignore[no-untyped-def]
    """Expected events r (B,), their derivatives d (B, 1 + K), and the second one in soft_met, bend (B,)."""
    if a.kind == RESPONSE:
        expect_response(a, x, r, d, bend)
    elif a.kind == SUM:
        expect_sum(a, x, r, d, bend)
    else:
        expect_grid(a, x, r, d)


@njit()
def expected(a, x, r, d):  # type: ignore[no-untyped-def]
    """`expect` for many points x (T, 1 + K): r (T, B), d (T, B, 1 + K)."""
    bend = np.empty(r.shape[1])
    for i in range(x.shape[0]):
        expect(a, x[i], r[i], d[i], bend)


@njit(internal=True)
def factor(n, r, m):  # type: ignore[no-untyped-def]
    """The profiled factor of a bin with m effective simulated events; 1 without their error."""
    return (n + m) / (r + m) if m > 0.0 else 1.0


@njit(internal=True)
def value(a, n, x, r):  # type: ignore[no-untyped-def]
    """F, infinite where an expectation is not positive (an empty bin may have none)."""
    f = 0.0
    for b in range(n.size):
        if r[b] > 0.0:
            m = a.simulated[b]
            g = factor(n[b], r[b], m)
            e = g * r[b]
            f += e - n[b] + (n[b] * math.log(n[b] / e) if n[b] > 0.0 else 0.0)
            if m > 0.0:
                f += m * (g - 1.0 - math.log(g))
        elif n[b] > 0.0 or r[b] < 0.0:
            return np.inf
    for k in range(1, x.size):
        f += 0.5 * x[k] * x[k]
    return f


@njit(internal=True)
def at_wall(n, r):  # type: ignore[no-untyped-def]
    """Whether an empty bin expects next to nothing: a negative best mu is not sought beyond."""
    least = np.inf
    for b in range(n.size):
        if n[b] == 0.0 and r[b] > 0.0:
            least = min(least, r[b])
    return least < WALL


@njit(internal=True)
def derivatives(a, n, x, r, d, g, h):  # type: ignore[no-untyped-def]
    """Gradient g and the positive definite part h of the curvature of F."""
    size = x.size
    for k in range(size):
        g[k] = x[k] if k else 0.0
        for m in range(size):
            h[k, m] = 1.0 if k == m and k else 0.0
    for b in range(n.size):
        if r[b] <= 0.0:
            continue
        m0 = a.simulated[b]
        pull, weight = factor(n[b], r[b], m0) - n[b] / r[b], n[b] / (r[b] * r[b])
        if m0 > 0.0:
            weight = max(m0 * (n[b] * (m0 + 2.0 * r[b]) - r[b] * r[b]), 0.0) / (r[b] * (r[b] + m0)) ** 2
        for k in range(size):
            g[k] += pull * d[b, k]
            for m in range(k + 1):
                h[k, m] += weight * d[b, k] * d[b, m]


@njit(internal=True)
def solve(h, g, held, step, lower):  # type: ignore[no-untyped-def]
    """step = -h^-1 g over the parameters that are not held; False where h is not positive definite."""
    size = g.size
    for k in range(size):
        for m in range(k + 1):
            v = 0.0
            if held[k] or held[m]:
                v = 1.0 if k == m else 0.0
            else:
                v = h[k, m]
            for i in range(m):
                v -= lower[k, i] * lower[m, i]
            if k == m:
                if not v > 0.0:
                    return False
                lower[k, k] = math.sqrt(v)
            else:
                lower[k, m] = v / lower[m, m]
    for k in range(size):
        v = 0.0 if held[k] else -g[k]
        for i in range(k):
            v -= lower[k, i] * step[i]
        step[k] = v / lower[k, k]
    for k in range(size - 1, -1, -1):
        v = step[k]
        for i in range(k + 1, size):
            v -= lower[i, k] * step[i]
        step[k] = v / lower[k, k]
    return True


class Space(NamedTuple):
    """Room for a fit."""

    r: Floats
    d: Floats
    bend: Floats
    g: Floats
    h: Floats
    lower: Floats
    step: Floats
    trial: Floats
    held: NDArray[np.bool_]
    frozen: NDArray[np.bool_]


@njit(internal=True)
def fit(a, n, x, hold, s):  # type: ignore[no-untyped-def]
    """Minimise F from x (changed in place) over nuisances that are not frozen, and mu unless `hold`: F and status."""
    size = x.size
    expect(a, x, s.r, s.d, s.bend)
    f = value(a, n, x, s.r)
    if not f < np.inf:
        for k in range(1, size):
            x[k] = x[k] if s.frozen[k] else 0.0
        expect(a, x, s.r, s.d, s.bend)
        f = value(a, n, x, s.r)
        if not f < np.inf:
            return f, FAILED
    for _ in range(ITERATIONS):
        if not hold and x[0] < 0.0 and at_wall(n, s.r):
            return f, CONVERGED
        derivatives(a, n, x, s.r, s.d, s.g, s.h)
        for k in range(size):
            s.held[k] = s.frozen[k] or (k == 0 and hold)
            if k and not s.held[k]:
                at_low, at_high = x[k] <= a.low[k - 1], x[k] >= a.high[k - 1]
                s.held[k] = (at_low and s.g[k] > 0.0) or (at_high and s.g[k] < 0.0)
        extra = 0.0
        if a.kind != GRID and not s.held[MET]:
            for b in range(n.size):
                if s.r[b] > 0.0:
                    extra += (factor(n[b], s.r[b], a.simulated[b]) - n[b] / s.r[b]) * s.bend[b]
            s.h[MET, MET] += extra
        good = solve(s.h, s.g, s.held, s.step, s.lower)
        if not good and extra < 0.0:
            s.h[MET, MET] -= extra
            good = solve(s.h, s.g, s.held, s.step, s.lower)
        if not good:
            s.h[0, 0] += 1.0  # no event where the signal is: only mu has no prior
            if not solve(s.h, s.g, s.held, s.step, s.lower):
                return f, FAILED
        gain = 0.0
        for k in range(size):
            gain -= s.g[k] * s.step[k]
        if gain < TOLERANCE:
            return f, CONVERGED
        part, found = 1.0, np.inf
        for _ in range(HALVINGS):
            for k in range(size):
                s.trial[k] = x[k] + part * s.step[k]
                if k:
                    s.trial[k] = min(max(s.trial[k], a.low[k - 1]), a.high[k - 1])
            expect(a, s.trial, s.r, s.d, s.bend)
            found = value(a, n, s.trial, s.r)
            if found <= f + 1e-14 * abs(f):
                break
            part *= 0.5
        if not found <= f + 1e-14 * abs(f):
            expect(a, x, s.r, s.d, s.bend)
            return f, CONVERGED if gain < ROUNDING else FAILED
        for k in range(size):
            x[k] = s.trial[k]
        f = found
    return f, FAILED


@njit(internal=True)
def critical(mu, grid, values):  # type: ignore[no-untyped-def]
    """The critical value at mu, and its slope."""
    i = int(np.searchsorted(grid, mu, side="right")) - 1
    if i < 0:
        return values[0], 0.0
    if i >= grid.size - 1:
        return values[grid.size - 1], 0.0
    slope = (values[i + 1] - values[i]) / (grid[i + 1] - grid[i])
    return values[i] + slope * (mu - grid[i]), slope


@njit(internal=True)
def profile(a, n, mu, x, s):  # type: ignore[no-untyped-def]
    """F at mu with the nuisances profiled from x (changed in place), its slope in mu, and the status."""
    x[0] = mu
    f, status = fit(a, n, x, True, s)
    slope = 0.0
    for b in range(n.size):
        if s.r[b] > 0.0:
            slope += (factor(n[b], s.r[b], a.simulated[b]) - n[b] / s.r[b]) * s.d[b, 0]
    return f, slope, status


@njit(internal=True)
def end(a, n, least, inside, outside, x, grid, values, s):  # type: ignore[no-untyped-def]
    """Where 2 (F(mu) - least) crosses the critical value between `inside` and `outside`, by safeguarded Newton steps in
    the root of the statistic.
    """
    mu = 0.5 * (inside + outside)
    for _ in range(ENDS):
        f, slope, status = profile(a, n, mu, x, s)
        t = 2.0 * (f - least)
        c, by = critical(mu, grid, values)
        if not f < np.inf:  # no expectation is positive there
            outside = mu
            mu = 0.5 * (inside + outside)
            continue
        if status != CONVERGED:
            return mu, status
        if t <= c:
            inside = mu
        else:
            outside = mu
        root = math.sqrt(max(t, 1e-300))
        change = slope / root - (0.5 * by / math.sqrt(c) if c > 0.0 else 0.0)
        new = mu - (root - math.sqrt(c)) / change if change != 0.0 else np.inf
        if not min(inside, outside) < new < max(inside, outside):
            new = 0.5 * (inside + outside)
        if abs(new - mu) < CLOSE * (1.0 + abs(mu)):
            return new, CONVERGED
        mu = new
    return mu, FAILED


@njit(internal=True)
def room(bins, size, frozen):  # type: ignore[no-untyped-def]
    """Room for fits."""
    return Space(
        np.empty(bins), np.empty((bins, size)), np.zeros(bins), np.empty(size), np.empty((size, size)),
        np.empty((size, size)), np.empty(size), np.empty(size), np.zeros(size, np.bool_), frozen,
    )  # fmt: skip


@njit(internal=True)
def side(a, n, least, best, way, floor, reached, x, grid, values, s):  # type: ignore[no-untyped-def]
    """The end of the interval on one side (way -1 or 1) of the minimum `best`, at `floor` where it reaches that."""
    far, inside = max(0.3, 0.3 * abs(best)), best
    for _ in range(SEARCHES):
        mu = best + way * far
        if mu <= floor:
            mu = floor
        x[:] = reached
        f, _, state = profile(a, n, mu, x, s)
        if not (f < np.inf and state == CONVERGED and 2.0 * (f - least) <= critical(mu, grid, values)[0]):
            x[:] = reached
            return end(a, n, least, inside, mu, x, grid, values, s)
        if mu == floor:
            return floor, CONVERGED
        inside = mu
        far *= 2.0
    return best + way * far, FAILED


@njit()
def measure(a, counts, start, frozen, true, floor, grid, values, ends, hat, out, status):  # type: ignore[no-untyped-def]
    """Fit every experiment (row of counts).

    start (1 + K,): where fits begin, frozen parameters stay there. true (T,): the mu whose statistic is wanted. floor:
    the lowest mu that is allowed (of the statistic and the interval, not of the best fit). grid, values: critical
    values. ends: whether intervals are wanted. Fills hat (T, 1 + K), out (T, 4): t(true), low, high and the minimum of
    F over mu >= floor; status (T,).
    """
    size = start.size
    s = room(counts.shape[1], size, frozen)
    x, reached = np.empty(size), np.empty(size)
    for i in range(counts.shape[0]):
        n = counts[i]
        hat[i] = start
        f, state = fit(a, n, hat[i], False, s)
        if a.kind != GRID and a.square and not frozen[MET]:
            x[:] = start
            x[MET] = LARGE
            other, second = fit(a, n, x, False, s)
            if second == CONVERGED and (other < f or state != CONVERGED):
                f, state = other, second
                hat[i] = x
        status[i] = state
        best = hat[i, 0]
        x[:] = hat[i]
        if best < floor:
            f, _, state = profile(a, n, floor, x, s)
            status[i] |= state
            best = floor
        out[i, 3] = least = f
        reached[:] = x
        f, _, state = profile(a, n, true[i], x, s)
        status[i] |= state
        out[i, 0] = max(2.0 * (f - least), 0.0)
        if ends:
            out[i, 1] = floor
            if best > floor:
                out[i, 1], state = side(a, n, least, best, -1.0, floor, reached, x, grid, values, s)
                status[i] |= state
            out[i, 2], state = side(a, n, least, best, 1.0, floor, reached, x, grid, values, s)
            status[i] |= state


@njit()
def curves(a, counts, hats, frozen, mus, out):  # type: ignore[no-untyped-def]
    """F at the points mus (M,), ascending, nuisances profiled from hats (T, 1 + K): out (T, M), NaN where it fails.

    A point where the fit from its neighbour does not converge is fitted again from the centres of the nuisances.
    """
    size = hats.shape[1]
    s = room(counts.shape[1], size, frozen)
    x = np.empty(size)
    for i in range(counts.shape[0]):
        x[:] = hats[i]
        for m in range(mus.size):
            f, _, state = profile(a, counts[i], mus[m], x, s)
            if state != CONVERGED:
                for k in range(1, size):
                    x[k] = hats[i, k] if frozen[k] else 0.0
                f, _, state = profile(a, counts[i], mus[m], x, s)
            out[i, m] = f if state == CONVERGED else np.nan
            if state != CONVERGED:
                x[:] = hats[i]
