"""The biasing of one event after the other: shift, round, select and derive in a single pass over the table.

Scaled momenta and thresholds are computed in float32, as the official code does, so that the same events pass; missing
momentum and derived quantities in float64. A jet that the selection took away is absent for the derived quantities,
also when `n_jets` still counts two (three jets or more, of which it takes at most two).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import njit

(
    LEP_PT, LEP_ETA, LEP_PHI, HAD_PT, HAD_ETA, HAD_PHI, J1_PT, J1_ETA, J1_PHI, J2_PT, J2_ETA, J2_PHI, N_JETS, ALL_PT,
    MET, MET_PHI,
) = range(16)  # fmt: skip
PRI, DER = 16, 12
HAD_THRESHOLD, LEP_THRESHOLD, JET_THRESHOLD = 26.0, 20.0, 26.0
"""The post-selection of the challenge, GeV."""

ABSENT = np.float32(-25.0)
CENTRALITY_EPS = 1e-4
"""What the official code adds to the lepton's angle, and to the square of the jets' distance, where it divides by 0."""

THOUSAND = np.float32(1000.0)


@njit(internal=True)
def rounded(x):  # type: ignore[no-untyped-def]
    """Three decimals, as numpy rounds float32."""
    return np.float32(np.rint(np.float32(x) * THOUSAND)) / THOUSAND


@njit(internal=True)
def wrapped(angle):  # type: ignore[no-untyped-def]
    """The angle in [-pi, pi)."""
    return (angle + 3.0 * math.pi) % (2.0 * math.pi) - math.pi


@njit(internal=True)
def sign(x):  # type: ignore[no-untyped-def]
    """-1, 0 or 1."""
    return 1.0 if x > 0.0 else (-1.0 if x < 0.0 else 0.0)


@njit(internal=True)
def met_centrality(met, lep, had):  # type: ignore[no-untyped-def]
    """Where the missing momentum points between lepton and tau; -25 where that says nothing."""
    for shift in (0.0, CENTRALITY_EPS):
        side = sign(math.sin(had - lep - shift))
        a, b = math.sin(met - lep - shift) * side, math.sin(had - met) * side
        size = math.sqrt(a * a + b * b)
        if size != 0.0:
            return (a + b) / size
    return -25.0


@njit(internal=True)
def derive(x, i, d):  # type: ignore[no-untyped-def]
    """Fill column i of d (12, N) from column i of the primary quantities x (16, N)."""
    lep, had, met = float(x[LEP_PT, i]), float(x[HAD_PT, i]), float(x[MET, i])
    lep_eta, had_eta = float(x[LEP_ETA, i]), float(x[HAD_ETA, i])
    lep_phi, had_phi, met_phi = float(x[LEP_PHI, i]), float(x[HAD_PHI, i]), float(x[MET_PHI, i])
    lx, ly, hx, hy = lep * math.cos(lep_phi), lep * math.sin(lep_phi), had * math.cos(had_phi), had * math.sin(had_phi)
    mx, my = met * math.cos(met_phi), met * math.sin(met_phi)
    square = (met + lep) ** 2 - (mx + lx) ** 2 - (my + ly) ** 2
    d[0, i] = math.sqrt(max(square, 0.0))
    square = 2.0 * lep * had * (math.cosh(lep_eta - had_eta) - math.cos(lep_phi - had_phi))
    d[1, i] = math.sqrt(max(square, 0.0))
    hx_all, hy_all = hx + lx + mx, hy + ly + my
    d[2, i] = math.sqrt(hx_all * hx_all + hy_all * hy_all)
    first = x[N_JETS, i] >= 1 and x[J1_PT, i] >= 0
    second = x[N_JETS, i] >= 2 and x[J2_PT, i] >= 0
    p1, p2, e1, e2 = float(x[J1_PT, i]), float(x[J2_PT, i]), float(x[J1_ETA, i]), float(x[J2_ETA, i])
    f1, f2 = float(x[J1_PHI, i]), float(x[J2_PHI, i])
    if first and second:
        d[3, i] = abs(e2 - e1)
        square = 2.0 * p1 * p2 * (math.cosh(e1 - e2) - math.cos(f1 - f2))
        d[4, i] = math.sqrt(max(square, 0.0))
        d[5, i] = e1 * e2
        gap = (e1 - e2) ** 2
        if gap == 0.0:
            gap = CENTRALITY_EPS
        d[11, i] = math.exp(-4.0 / gap * (lep_eta - 0.5 * (e1 + e2)) ** 2)
    else:
        d[3, i] = d[4, i] = d[5, i] = d[11, i] = -25.0
    turn = wrapped(lep_phi - had_phi)
    d[6, i] = math.sqrt((lep_eta - had_eta) ** 2 + turn * turn)
    if first:
        hx_all += p1 * math.cos(f1)
        hy_all += p1 * math.sin(f1)
    if second:
        hx_all += p2 * math.cos(f2)
        hy_all += p2 * math.sin(f2)
    d[7, i] = math.sqrt(hx_all * hx_all + hy_all * hy_all)
    d[8, i] = had + lep + float(x[ALL_PT, i])
    d[9, i] = lep / had
    d[10, i] = met_centrality(met_phi, lep_phi, had_phi)


@njit()
def derive_all(x, d):  # type: ignore[no-untyped-def]
    """Fill d (12, N) from x (16, N)."""
    for i in range(x.shape[1]):
        derive(x, i, d)


@njit(internal=True)
def drop_soft_jet(x, i, jet):  # type: ignore[no-untyped-def]
    """Take the jet whose pt is row `jet` away where it is below the threshold."""
    pt = x[jet, i]
    if 0.0 <= pt <= JET_THRESHOLD:
        x[ALL_PT, i] -= pt
        x[jet, i] = x[jet + 1, i] = x[jet + 2, i] = ABSENT
        x[N_JETS, i] -= np.float32(1.0)


@njit()
def shift(x, tes, jes, noise, out, d, kept, select):  # type: ignore[no-untyped-def]
    """Bias the events x (16, N); fill out (16, N), d (12, N) and kept (N,) up to the number that is returned.

    noise (2, N) is added to the missing momentum; shape (2, 0): none.
    """
    tes32, jes32 = np.float32(tes), np.float32(jes)
    noisy = noise.shape[1] > 0
    n = 0
    for i in range(x.shape[1]):
        for j in range(PRI):
            out[j, n] = x[j, i]
        jets = x[N_JETS, i]
        mx = float(x[MET, i]) * math.cos(float(x[MET_PHI, i]))
        my = float(x[MET, i]) * math.sin(float(x[MET_PHI, i]))
        if tes != 1.0:
            out[HAD_PT, n] = x[HAD_PT, i] * tes32
            moved = (1.0 - tes) * float(x[HAD_PT, i])
            mx += moved * math.cos(float(x[HAD_PHI, i]))
            my += moved * math.sin(float(x[HAD_PHI, i]))
        if jes != 1.0:
            out[ALL_PT, n] = x[ALL_PT, i] * jes32
            for number in range(2):
                jet = J1_PT + 3 * number
                if jets > number:
                    out[jet, n] = x[jet, i] * jes32
                    moved = (1.0 - jes) * float(x[jet, i])
                    mx += moved * math.cos(float(x[jet + 2, i]))
                    my += moved * math.sin(float(x[jet + 2, i]))
        if noisy:
            mx += noise[0, i]
            my += noise[1, i]
        out[MET, n] = math.sqrt(mx * mx + my * my)
        out[MET_PHI, n] = math.atan2(my, mx)
        for j in range(PRI):
            if j != N_JETS:
                out[j, n] = rounded(out[j, n])
        if select:
            if out[HAD_PT, n] < HAD_THRESHOLD or out[LEP_PT, n] < LEP_THRESHOLD:
                continue
            drop_soft_jet(out, n, J2_PT)
            drop_soft_jet(out, n, J1_PT)
        derive(out, n, d)
        kept[n] = i
        n += 1
    return n


Floats = NDArray[np.float32]
