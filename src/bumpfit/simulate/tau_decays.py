"""Decays of taus from a pool: polarised decays in the tau's rest frame, turned and boosted to any tau.

Spin-correlated decays cost Pythia 15 ms an event, more than the rest of a Z event. So taus stay stable in Pythia, and a
decay of the pool takes their place. The pool holds decays of a tau- with its spin along +z (helicity +1 when it is
boosted along +z). Turned by pi it is one of helicity -1; by CP a tau+ of helicity -1 decays like a tau- of helicity +1
(Tsai, Phys. Rev. D 4 (1971) 2821: in tau- -> pi- nu the pion goes along cos theta* by (1 + P cos theta*) / 2); that CP
also mirrors the decay across its plane is left out. Neutrinos are not kept.

File: a compressed npz without pickle; momenta as 16-bit integers in units of `UNIT`.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import io
import math
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.archives import DAMAGE
from bumpfit.compiled import njit
from bumpfit.errors import BumpfitError, InputError, MissingExtraError
from bumpfit.files import atomic, require

Array = NDArray[np.float64]
TAU_MASS = 1.77686
UNIT = 2.0**-15
"""Unit of the momenta in the file, GeV: no decay product is faster than m_tau / 2."""
LEPTONIC_FRACTION = 0.352
"""Branching fraction to e or mu (PDG 2024: 0.1782 + 0.1739)."""
BEAM = 45.0
"""Energy of the taus of the tau gun in GeV; the rest frame does not depend on it."""
NEUTRINOS = (12, 14, 16)
_LIGHT = {11: 0.000511, 13: 0.105658, 22: 0.0, 111: 0.134977, 211: 0.139570}
MASSES = {**_LIGHT, 321: 0.493677, 130: 0.497611, 310: 0.497611}
"""By absolute PDG code, GeV."""
PACKAGED = "tau_decays.npz"
HADRONS = "111 211 311 321 310 130 213 20213 323 221 223"


@dataclasses.dataclass(frozen=True, eq=False)
class Decays:
    """Decays of one kind: products one after the other, `offsets` (n + 1) where each decay begins.

    code (PDG, of a tau-), momenta (products, 4): px, py, pz, E in GeV in the rest frame; visible (n, 4): their sums.
    """

    offsets: NDArray[np.int64]
    code: NDArray[np.int32]
    momenta: Array
    visible: Array

    @property
    def size(self) -> int:
        """Number of decays."""
        return self.offsets.size - 1


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """Leptonic and hadronic decays of a tau- whose spin is along +z."""

    leptonic: Decays
    hadronic: Decays


def make_pool(path: str | os.PathLike[str], leptonic: int, hadronic: int, seed: int = 0) -> Pool:
    """Make a pool by Pythia's polarised tau decays (1.2 ms each) and write it.

    Raises:
        InputError: numbers that are not positive.
        MissingExtraError: Pythia is not installed.
    """
    if leptonic < 1 or hadronic < 1:
        raise InputError(f"the pool shall hold {leptonic} leptonic and {hadronic} hadronic decays; expected 1 or more")
    arrays: dict[str, Any] = {}
    for kind, n, place in (("leptonic", leptonic, 1), ("hadronic", hadronic, 2)):
        counts, code, momenta = _gun(n, kind == "leptonic", (2 * seed + place) % 900_000_000)
        arrays |= {f"{kind}_counts": counts, f"{kind}_code": code, f"{kind}_momenta": momenta}
    with atomic(path) as temporary:
        content = io.BytesIO()  # numpy adds a suffix to names
        np.savez_compressed(content, **arrays)
        temporary.write_bytes(content.getvalue())
    return read_pool(path)


def read_pool(path: str | os.PathLike[str]) -> Pool:
    """A pool of a file; raises InputError when there is none in it."""
    try:
        with np.load(require(path), allow_pickle=False) as content:
            kinds = [
                _decays(*(content[f"{kind}_{name}"] for name in ("counts", "code", "momenta")))
                for kind in ("leptonic", "hadronic")
            ]
    except DAMAGE as error:
        raise InputError(f"{path} is no pool of tau decays ({error}); make one with bumpfit simulate taus") from error
    return Pool(*kinds)


@functools.cache
def packaged_pool() -> Pool:
    """The pool of the package."""
    with importlib.resources.as_file(importlib.resources.files("bumpfit.data") / PACKAGED) as path:
        return read_pool(path)


def _gun(n: int, leptonic: bool, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int16], NDArray[np.int16]]:
    """Visible products of n decays in the rest frame: number a decay, codes, momenta in units of UNIT."""
    try:
        import pythia8mc
    except ModuleNotFoundError as error:
        raise MissingExtraError("pythia8mc", "simulate", "decaying taus") from error
    pythia = pythia8mc.Pythia("", False)
    lines = (
        "ProcessLevel:all = off", "Print:quiet = on", "Random:setSeed = on", f"Random:seed = {seed}",
        "TauDecays:mode = 3", "TauDecays:tauPolarization = 1", "111:mayDecay = off", "Check:event = off",
        "15:onMode = off", f"15:onIfAny = {'11 13' if leptonic else HADRONS}",
    )  # fmt: skip
    for line in lines:
        pythia.readString(line)
    if not pythia.init():
        raise BumpfitError("Pythia cannot start for decays of taus")
    mass = pythia.particleData.m0(15)
    momentum = math.sqrt(BEAM**2 - mass**2)
    gamma, beta = BEAM / mass, momentum / BEAM
    counts: list[int] = []
    codes: list[int] = []
    momenta: list[tuple[float, float, float]] = []
    while len(counts) < n:
        pythia.event.reset()
        pythia.event.append(15, 23, 0, 0, 0.0, 0.0, momentum, BEAM, mass)
        if not pythia.next():
            continue
        seen = [q for q in pythia.event if q.isFinal() and q.idAbs() not in NEUTRINOS]
        counts.append(len(seen))
        codes += [q.id() for q in seen]
        momenta += [(q.px(), q.py(), gamma * (q.pz() - beta * q.e())) for q in seen]
    whole = np.rint(np.array(momenta) / UNIT).astype(np.int16)
    return np.array(counts, np.uint8), np.array(codes, np.int16), whole


def _decays(counts: NDArray[Any], code: NDArray[Any], momenta: NDArray[Any]) -> Decays:
    if counts.min() < 1 or counts.sum() != code.size or momenta.shape != (code.size, 3):
        raise ValueError("numbers of products do not fit")
    masses = np.array([MASSES[int(abs(c))] for c in code])
    three = momenta * UNIT
    four = np.column_stack([three, np.sqrt((three**2).sum(axis=1) + masses**2)])
    offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    return Decays(offsets, code.astype(np.int32), four, np.add.reduceat(four, offsets[:-1], axis=0))


@njit()
def to_laboratory(x: float, y: float, z: float, e: float, tau: Any, sign: float, phi: float) -> Any:  # pragma: no cover
    """Momentum (px, py, pz, E) of a product whose tau moves with `tau` (px, py, pz, E).

    sign -1 turns the spin against the direction of flight; phi turns the decay around it.
    """
    c, s = math.cos(phi), math.sin(phi)
    x, y = c * x - s * y, s * x + c * y
    if sign < 0:
        y, z = -y, -z
    p = math.sqrt(tau[0] ** 2 + tau[1] ** 2 + tau[2] ** 2)
    mass = math.sqrt(max(tau[3] ** 2 - p * p, 1e-6))
    gamma, boost = tau[3] / mass, p / mass
    e, z = gamma * e + boost * z, gamma * z + boost * e
    across = math.hypot(tau[0], tau[1])
    cos_theta, sin_theta = tau[2] / p, across / p
    cos_phi, sin_phi = (tau[0] / across, tau[1] / across) if across > 0 else (1.0, 0.0)
    x, z = cos_theta * x + sin_theta * z, -sin_theta * x + cos_theta * z
    return cos_phi * x - sin_phi * y, sin_phi * x + cos_phi * y, z, e


@njit()
def _products(
    tau: Array, code: NDArray[np.int32], sign: Array, phi: Array, which: NDArray[np.int64], offsets: NDArray[np.int64],
    codes: NDArray[np.int32], momenta: Array, uniform: Array,
) -> Any:  # pragma: no cover  # fmt: skip
    """Products of taus[i] by decay which[i]; a pi0 becomes two photons along a direction by two uniform numbers."""
    most = 0
    for i in range(which.size):
        most += 2 * (offsets[which[i] + 1] - offsets[which[i]])
    owner, made, four = np.empty(most, np.int64), np.empty(most, np.int32), np.empty((most, 4))
    n = 0
    drawn = 0
    for i in range(which.size):
        for k in range(offsets[which[i]], offsets[which[i] + 1]):
            kind = codes[k] if code[i] > 0 else -codes[k]
            v = to_laboratory(momenta[k, 0], momenta[k, 1], momenta[k, 2], momenta[k, 3], tau[i], sign[i], phi[i])
            if abs(kind) != 111:
                owner[n], made[n] = i, 22 if abs(kind) == 22 else kind
                four[n] = v
                n += 1
                continue
            # in the rest frame of the pi0, along (ct, f) to its direction of flight
            p = math.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)
            mass = math.sqrt(max(v[3] ** 2 - p * p, 1e-9))
            ct, f = 2 * uniform[drawn, 0] - 1, 2 * math.pi * uniform[drawn, 1]
            drawn += 1
            st = math.sqrt(1 - ct * ct)
            half = mass / 2
            first = to_laboratory(half * st * math.cos(f), half * st * math.sin(f), half * ct, half, v, 1.0, 0.0)
            owner[n : n + 2], made[n : n + 2] = i, 22
            four[n] = first
            for c in range(4):
                four[n + 1, c] = v[c] - first[c]
            n += 2
    return owner[:n], made[:n], four[:n]


def products(
    decays: Decays, tau: Array, code: NDArray[np.int32], sign: Array, phi: Array, which: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int32], Array]:  # fmt: skip
    """Visible products of taus in the laboratory.

    Args:
        decays: leptonic or hadronic ones.
        tau: momenta (n, 4): px, py, pz, E in GeV; code: 15 or -15.
        sign: +1 for a tau- of helicity +1 or a tau+ of helicity -1, else -1.
        phi: turn of the decay around the direction of flight.
        which: number of the decay in the pool.
        rng: of the directions of photons from pi0.

    Returns:
        For each product the place of its tau, its PDG code, and its momentum (px, py, pz, E).
    """
    most = int(np.sum(decays.offsets[which + 1] - decays.offsets[which]))
    uniform = rng.random((most, 2))
    found: tuple[NDArray[np.int64], NDArray[np.int32], Array] = _products(
        np.ascontiguousarray(tau), code, sign, phi, which, decays.offsets, decays.code, decays.momenta, uniform
    )
    return found
