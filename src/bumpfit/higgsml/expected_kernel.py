"""Expected events of the bins as functions of mu and the nuisances, with their derivatives, compiled.

Three kinds of expected events:

- `RESPONSE`: r_b = sum_p f_p y_bp exp(a_bp . m(t, j, u)), processes p in the order of `columns.PROCESSES`, f the scales
  (mu; bkg; bkg ttbar; bkg diboson), m = (t, j, u, tt, jj, uu, tj, tu, ju), t and j the energy scales in standard
  deviations, u the soft missing momentum: theta_u itself, or exp(2 theta_u) (its square, for a lognormal prior).
- `GRID`: r_b = mu S_b(t, j) + B_b(t, j), both splines through templates on a grid.
- `SUM`: r_b = mu (S_b + sum_k p_bk(theta_k)) + B_b + sum_k q_bk(theta_k), polynomials without constant (that of the
  soft missing momentum in exp(theta)), not below `LEAST`.
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
LEAST = 1e-10
"""Expected events of a bin where a sum of effects is below."""


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
