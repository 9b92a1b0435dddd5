"""The extended binned likelihood of mu and the nuisances, and its fits, compiled: one experiment after the other.

Half of -2 ln L without the constant: F = sum_b (r_b - n_b + n_b ln(n_b / r_b)) + sum_k theta_k^2 / 2, with r_b the
expected events (`expected_kernel`) and theta in standard deviations of the prior.

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

from bumpfit.compiled import njit
from bumpfit.compiled_rows import copy_row
from bumpfit.higgsml.expected_kernel import GRID, MET, expect

Floats = NDArray[np.float64]

ITERATIONS, HALVINGS = 200, 40
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
        copy_row(reached, x)
        f, _, state = profile(a, n, mu, x, s)
        if not (f < np.inf and state == CONVERGED and 2.0 * (f - least) <= critical(mu, grid, values)[0]):
            copy_row(reached, x)
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
            copy_row(start, x)
            x[MET] = LARGE
            other, second = fit(a, n, x, False, s)
            if second == CONVERGED and (other < f or state != CONVERGED):
                f, state = other, second
                hat[i] = x
        status[i] = state
        best = hat[i, 0]
        copy_row(hat[i], x)
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
        copy_row(hats[i], x)
        for m in range(mus.size):
            f, _, state = profile(a, counts[i], mus[m], x, s)
            if state != CONVERGED:
                for k in range(1, size):
                    x[k] = hats[i, k] if frozen[k] else 0.0
                f, _, state = profile(a, counts[i], mus[m], x, s)
            out[i, m] = f if state == CONVERGED else np.nan
            if state != CONVERGED:
                copy_row(hats[i], x)
