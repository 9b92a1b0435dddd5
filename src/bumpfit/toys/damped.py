"""The careful way for the few toys that plain Newton steps do not settle: damping, then iminuit.

With a handful of events a toy's likelihood may be far from a parabola, or its background maximum may lie at infinity
(all events in a few bins): the steps are then damped towards those of the expected information (Levenberg and
Marquardt), and the fit has converged when no more than the tolerance can be gained.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import njit
from bumpfit.compiled_rows import copy_row
from bumpfit.inference import newton
from bumpfit.toys.loglinear_batch import CLOSED, OUTSIDE, UNSETTLED, Results
from bumpfit.toys.loglinear_kernel import Arrays
from bumpfit.toys.statistic import Plan

Floats = NDArray[np.float64]

# counts of an empty bin: keep its expectation positive where a negative signal would drive it below zero
EMPTY = 1e-10
# and the counts that lead there step by step where that alone does not settle (see `newton.along_walls`)
WALLS = (*newton.WALLS, EMPTY)
ITERATIONS = 300
CLIP = 600.0  # of an exponent: beyond it the likelihood is as good as zero


@njit()
def objective(arrays, signal, n, t, z, mu, empty, e):  # type: ignore[no-untyped-def]
    """f of `loglinear_kernel` over the n.size real bins at (z, mu), infinite where an expectation is not positive.

    An empty bin counts `empty` events. Fills the background rates e.
    """
    size, f = z.size, 0.0
    for b in range(n.size):
        exponent = 0.0
        for k in range(size):
            exponent += arrays.basis[b, k] * z[k]
        if exponent > CLIP:
            return np.inf
        e[b] = arrays.rate[b] * math.exp(max(exponent, -CLIP))
        total = e[b] + mu * signal[b]
        if not total > 0.0:
            return np.inf
        f += total
        if signal[b] != 0.0:
            f -= (n[b] if n[b] > 0.0 else empty) * math.log(total / e[b])
    for j in range(size):
        f -= t[j] * z[j]
        for k in range(size):
            f += 0.5 * arrays.prior[j, k] * z[j] * z[k]
    return f


@njit()
def derivatives(arrays, signal, n, t, z, mu, empty, e, g, h, info):  # type: ignore[no-untyped-def]
    """Downhill gradient g, Hessian h and expected information, mu last."""
    size = z.size
    for j in range(size + 1):
        g[j] = t[j] if j < size else 0.0
        for k in range(size + 1):
            h[j, k] = 0.0
            info[j, k] = 0.0
    for b in range(n.size):
        s, count = signal[b], (n[b] if n[b] > 0.0 or signal[b] == 0.0 else empty)
        total = e[b] + mu * s
        r = count / total
        slope = e[b] + (count - e[b] * r if s != 0.0 else 0.0)
        bend = e[b] * (1.0 - r) + e[b] * e[b] * r / total if s != 0.0 else e[b]
        for j in range(size):
            g[j] -= slope * arrays.basis[b, j]
            h[j, size] += e[b] * r / total * s * arrays.basis[b, j]
            info[j, size] += e[b] / total * s * arrays.basis[b, j]
            for k in range(j, size):
                pair = arrays.basis[b, j] * arrays.basis[b, k]
                h[j, k] += bend * pair
                info[j, k] += e[b] * e[b] / total * pair
        g[size] += s * (r - 1.0)
        h[size, size] += r / total * s * s
        info[size, size] += s * s / total
    for j in range(size):
        for k in range(size):
            g[j] -= arrays.prior[j, k] * z[k]
            if k >= j:
                h[j, k] += arrays.prior[j, k]
                info[j, k] += arrays.prior[j, k]


@njit(internal=True)
def solve(h, info, damping, g, size, step, lower):  # type: ignore[no-untyped-def]
    """step = (h + damping diag(info))^-1 g over the first `size` rows; False where the matrix is not positive
    definite.
    """
    for j in range(size):
        for k in range(j + 1):
            value = h[k, j]
            if j == k:
                value += damping * max(info[j, j], 1e-12)
            for i in range(k):
                value -= lower[j, i] * lower[k, i]
            if j == k:
                if not value > 0.0:
                    return False
                lower[j, j] = math.sqrt(value)
            else:
                lower[j, k] = value / lower[k, k]
    for j in range(size):
        value = g[j]
        for i in range(j):
            value -= lower[j, i] * step[i]
        step[j] = value / lower[j, j]
    for j in range(size - 1, -1, -1):
        value = step[j]
        for i in range(j + 1, size):
            value -= lower[i, j] * step[i]
        step[j] = value / lower[j, j]
    return True


@njit(internal=True)
def minimise(arrays, signal, n, t, low, high, z, mu, empty):  # type: ignore[no-untyped-def]
    """Minimum over z (changed in place) and mu in [low, high]: f, mu, and whether it is within the tolerance."""
    size = z.size
    e, g, step = np.empty(n.size), np.empty(size + 1), np.empty(size + 1)
    h, info = np.zeros((size + 1, size + 1)), np.zeros((size + 1, size + 1))
    lower, shifted, trial = np.zeros((size + 1, size + 1)), np.empty(size + 1), np.empty(size)
    f = objective(arrays, signal, n, t, z, mu, empty, e)
    if not f < np.inf:
        return f, mu, False
    damping = 0.0
    derivatives(arrays, signal, n, t, z, mu, empty, e, g, h, info)
    for _ in range(ITERATIONS):
        held = low == high or (mu <= low and g[size] < 0.0) or (mu >= high and g[size] > 0.0)
        rows = size if held else size + 1
        if not solve(h, info, damping, g, rows, step, lower):
            damping = max(10.0 * damping, 1e-4)
            if damping > 1e12:
                return f, mu, False
            continue
        if held:
            step[size] = 0.0
        elif not low <= mu + step[size] <= high:
            # with mu at its bound the best z follows from the rows of z alone
            by = (low if mu + step[size] < low else high) - mu
            for j in range(size):
                shifted[j] = g[j] - h[j, size] * by
            if not solve(h, info, damping, shifted, size, step, lower):
                damping = max(10.0 * damping, 1e-4)
                continue
            step[size] = by
        gain = 0.0
        for j in range(size + 1):
            gain += g[j] * step[j]
        for j in range(size):
            trial[j] = z[j] + step[j]
        moved = min(max(mu + step[size], low), high)
        value = objective(arrays, signal, n, t, trial, moved, empty, e)
        if value <= f + 1e-12 * abs(f):
            for j in range(size):
                z[j] = trial[j]
            mu = moved
            f = min(f, value)
            if 0.5 * gain * (1.0 + damping) < arrays.tolerance:
                return f, mu, True
            damping = 0.1 * damping if damping > 1e-6 else 0.0
            derivatives(arrays, signal, n, t, z, mu, empty, e, g, h, info)
        else:
            if 0.5 * gain * (1.0 + damping) < arrays.tolerance:
                return f, mu, True
            damping = max(10.0 * damping, 1e-4)
            if damping > 1e12:
                return f, mu, False
    return f, mu, False


@njit(internal=True)
def settle(arrays, signal, n, t, low, high, z, mu):  # type: ignore[no-untyped-def]
    """As `minimise`; where that fails, with a wall that is lowered in steps, each starting where the line through the
    last two answers leads.
    """
    begin, first = z.copy(), mu
    f, mu, good = minimise(arrays, signal, n, t, low, high, z, mu, EMPTY)
    if good or not (low < 0.0 and (n == 0.0).any()):
        return f, mu, good
    copy_row(begin, z)
    mu = first
    before, before_mu, ahead, e = z.copy(), mu, z.copy(), np.empty(n.size)
    for k in range(len(WALLS)):
        place = mu
        copy_row(z, ahead)
        if k > 1:
            reach = (WALLS[k] - WALLS[k - 1]) / (WALLS[k - 1] - WALLS[k - 2])
            ahead += reach * (z - before)
            place = min(max(mu + reach * (mu - before_mu), low), high)
            if not objective(arrays, signal, n, t, ahead, place, WALLS[k], e) < np.inf:
                copy_row(z, ahead)
                place = mu
        copy_row(z, before)
        before_mu = mu
        copy_row(ahead, z)
        f, mu, good = minimise(arrays, signal, n, t, low, high, z, place, WALLS[k])
    return f, mu, good


@njit(internal=True)
def inside(arrays, z):  # type: ignore[no-untyped-def]
    """Whether the constrained parameters are in their range."""
    for j in range(arrays.limits.shape[0]):
        value = 0.0
        for k in range(z.size):
            value += arrays.pull[j, k] * z[k]
        if value < arrays.limits[j, 0] or value > arrays.limits[j, 1]:
            return False
    return True


@njit()
def repair(arrays, plan, counts, pulls, toys, results):  # type: ignore[no-untyped-def]
    """Fit the listed toys (row i of counts and pulls is toy toys[i]) again, all hypotheses, and set their states."""
    size = arrays.basis.shape[1]
    t, z0, z = np.empty(size), np.empty(size), np.empty(size)
    for i in range(toys.size):
        toy, n = toys[i], counts[i]
        for k in range(size):
            t[k] = 0.0
            for j in range(pulls.shape[1]):
                t[k] += arrays.pull[j, k] * pulls[i, j]
            for b in range(n.size):
                t[k] += arrays.basis[b, k] * n[b]
            z0[k] = 0.0
        # with mu held at 0 the signal plays no part
        f0, _, fine = minimise(arrays, arrays.signals[0], n, t, 0.0, 0.0, z0, 0.0, EMPTY)
        within = inside(arrays, z0)
        for m in range(arrays.signals.shape[0]):
            signal, total = arrays.signals[m], 0.0
            for b in range(n.size):
                total += signal[b]
            fixed, free, best = f0, np.inf, 0.0
            found = False
            # at plan.mu; then with mu free from the background fit, and from one expected signal event
            for attempt in range(3):
                if attempt == 0 and not plan.conditional:
                    continue
                for k in range(size):
                    z[k] = 0.0 if attempt == 2 else z0[k]
                low, high = (plan.mu, plan.mu) if attempt == 0 else (plan.low, plan.high)
                start = min(max(1.0 / total if attempt == 2 else 0.0, low), high)
                value, mu, good = settle(arrays, signal, n, t, low, high, z, start)
                within = within and inside(arrays, z)
                if attempt == 0:
                    fixed, fine = value, fine and good
                elif good and (not found or value < free):
                    free, best, found = value, mu, True
            fine = fine and found
            results.free[toy, m] = free
            results.fixed[toy, m] = fixed
            results.best[toy, m] = best
        results.open[toy] = OUTSIDE if not within else CLOSED if fine else UNSETTLED


def last_retry(
    arrays: Arrays, plan: Plan, counts: Floats, pulls: Floats, toys: NDArray[np.int64], results: Results
) -> None:
    """Fit the listed toys once more with iminuit; the flags of those that it cannot fit either stay."""
    from iminuit import Minuit

    size, n_bins = arrays.basis.shape[1], arrays.bins
    e, g = np.empty(n_bins), np.empty(size + 1)
    h, info = np.zeros((size + 1, size + 1)), np.zeros((size + 1, size + 1))
    for i, toy in enumerate(toys):
        n = counts[i]
        t = arrays.basis[:n_bins].T @ n + arrays.pull.T @ pulls[i]

        def fit(signal: Floats, low: float, high: float, n: Floats = n, t: Floats = t) -> tuple[float, float, bool]:
            def value(x: Floats) -> float:
                found = float(objective(arrays, signal, n, t, x[:size].copy(), x[size], EMPTY, e))
                return found if found < np.inf else 1e30

            def gradient(x: Floats) -> Floats:
                objective(arrays, signal, n, t, x[:size].copy(), x[size], EMPTY, e)
                derivatives(arrays, signal, n, t, x[:size].copy(), x[size], EMPTY, e, g, h, info)
                return -g

            start = min(max(0.0, low), high)
            minuit = Minuit(value, np.append(np.zeros(size), start), grad=gradient)
            minuit.errordef = Minuit.LIKELIHOOD
            minuit.limits[size] = None if low == high else (low, high)
            minuit.fixed[size] = low == high
            minuit.strategy = 2
            minuit.migrad(ncall=10_000)
            assert minuit.fval is not None
            return minuit.fval, minuit.values[size], minuit.valid

        f0, _, fine = fit(arrays.signals[0], 0.0, 0.0)
        for m, signal in enumerate(arrays.signals):
            results.fixed[toy, m], results.free[toy, m] = f0, f0
            if plan.conditional:
                results.fixed[toy, m], _, good = fit(signal, plan.mu, plan.mu)
                fine = fine and good
            results.free[toy, m], results.best[toy, m], good = fit(signal, plan.low, plan.high)
            fine = fine and good
        results.open[toy] = CLOSED if fine else UNSETTLED
