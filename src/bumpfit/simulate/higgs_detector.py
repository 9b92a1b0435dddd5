"""The detector of the HiggsML challenge: an ATLAS-like parametrisation in the manner of Delphes 3 (arXiv:1307.6346).

Tracks, towers of ECAL and HCAL, energy flow for isolation, missing momentum from towers and muons. Numbers are those of
the ATLAS card of Delphes 3.5 as the challenge uses it. Left out: the way of charged particles below 0.345 GeV (they
curl up and are dropped), the depth of decays, and the correction of hadron tracks by the energy flow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bumpfit.simulate.codes import ELECTRON, MUON, PHOTON
from bumpfit.simulate.generator import Particles

Array = NDArray[np.float64]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]

RADIUS, HALF_LENGTH, FIELD = 1.15, 3.51, 2.0
"""Of the tracker, in m, and its field in T."""
TRACK_ETA, CALORIMETER_ETA, BARREL_ETA = 2.5, 4.9, 1.5
RESOLUTION_ETA = np.array([0.5, 1.5])
RESOLUTION = {
    0: (np.array([0.06, 0.10, 0.25]), np.array([1.3e-3, 1.7e-3, 3.1e-3])),
    ELECTRON: (np.array([0.03, 0.05, 0.15]), np.array([1.3e-3, 1.7e-3, 3.1e-3])),
    MUON: (np.array([0.01, 0.015, 0.025]), np.array([1.0e-4, 1.5e-4, 3.5e-4])),
}
"""Relative resolution of pT in three regions of |eta|: constant, and slope in 1 / GeV, added in quadrature."""
SIGNIFICANCE = 2.0
ECAL_MIN, HCAL_MIN = 0.5, 1.0
ECAL_FINE_ETA, HCAL_FINE_ETA = 2.958, 2.5


@dataclasses.dataclass(frozen=True, eq=False)
class Tracks:
    """Tracks: event, place of the particle, code (absolute), charge, pt (measured), eta, phi, deviation of pt."""

    event: Places
    particle: Places
    code: NDArray[np.int32]
    charge: NDArray[np.int8]
    pt: Array
    eta: Array
    phi: Array
    sigma: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Towers:
    """Towers of a calorimeter that pass the thresholds: event, eta, phi, energy, its deviation; `neutral` is what the
    tracks do not explain (0 where it is not significant), `cell` the tower of each particle that hit it (-1: none).
    """

    event: Places
    eta: Array
    phi: Array
    energy: Array
    sigma: Array
    neutral: Array
    cell: Places


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """A batch of events as the detector sees it; the missing momentum is (mx, my)."""

    events: int
    tracks: Tracks
    ecal: Towers
    hcal: Towers
    mx: Array
    my: Array


def measure(particles: Particles, rng: np.random.Generator) -> Measured:
    """Measure a batch of particles (neutrinos are not visible)."""
    p = particles[particles.visible & (np.hypot(particles.px, particles.py) > 0)]
    pt = np.hypot(p.px, p.py)
    eta, phi = np.arcsinh(p.pz / pt), np.arctan2(p.py, p.px)
    code = np.abs(p.code)
    charge = np.sign(p.charge).astype(np.int8)
    tracks = _tracks(p, code, charge, pt, eta, phi, rng)
    # where it leaves the tracker, and whether it does
    radius = np.minimum(RADIUS, HALF_LENGTH / np.maximum(np.sinh(np.abs(eta)), 1e-3))
    bend = 0.3 * FIELD / 2 * radius * charge / pt
    outside = (np.abs(bend) < 1) & (np.abs(eta) < CALORIMETER_ETA)
    turned = phi - np.arcsin(np.clip(bend, -1.0, 1.0))
    turned = (turned + np.pi) % (2 * np.pi) - np.pi
    to_ecal = _fraction(code)
    to_hcal = np.where(code == MUON, 0.0, 1.0 - to_ecal)
    seen = _Hits(p.event, eta, turned, p.e, outside)
    ecal = _calorimeter(seen, to_ecal, ECAL_MIN, _ecal_cells, _ecal_resolution, tracks, tracks.code == ELECTRON, rng)
    # what an electron deposits is all in the ECAL
    charged = (tracks.code != ELECTRON) & (tracks.code != MUON)
    hcal = _calorimeter(seen, to_hcal, HCAL_MIN, _hcal_cells, _hcal_resolution, tracks, charged, rng)
    tracks = _electrons(tracks, ecal)
    muon = tracks.code == MUON
    event = np.concatenate([ecal.event, hcal.event, tracks.event[muon]])
    sums = np.concatenate([ecal.energy / np.cosh(ecal.eta), hcal.energy / np.cosh(hcal.eta), tracks.pt[muon]])
    angle = np.concatenate([ecal.phi, hcal.phi, tracks.phi[muon]])
    mx = -np.bincount(event, sums * np.cos(angle), minlength=p.events).astype(np.float64)
    my = -np.bincount(event, sums * np.sin(angle), minlength=p.events).astype(np.float64)
    return Measured(p.events, tracks, ecal, hcal, mx, my)


@dataclasses.dataclass(frozen=True, eq=False)
class _Hits:
    event: Places
    eta: Array
    phi: Array
    energy: Array
    inside: Flags


def _fraction(code: NDArray[np.int32]) -> Array:
    """Fraction of the energy that is left in the ECAL."""
    electromagnetic = (code == ELECTRON) | (code == PHOTON) | (code == 111)
    return np.where(electromagnetic, 1.0, np.where((code == 310) | (code == 3122), 0.3, 0.0))


def _tracks(
    p: Particles, code: NDArray[np.int32], charge: NDArray[np.int8], pt: Array, eta: Array, phi: Array,
    rng: np.random.Generator,
) -> Tracks:  # fmt: skip
    which = np.flatnonzero((charge != 0) & (pt > 0.1) & (np.abs(eta) < TRACK_ETA))
    a, t, barrel = code[which], pt[which], np.abs(eta[which]) < BARREL_ETA
    soft = t <= 1.0
    hadron = np.where(barrel, np.where(soft, 0.70, 0.95), np.where(soft, 0.60, 0.85))
    muon = np.where(barrel, np.where(soft, 0.75, 0.99), np.where(soft, 0.70, 0.98))
    electron = np.where(
        barrel, np.where(soft, 0.73, np.where(t > 100, 0.99, 0.95)), np.where(soft, 0.50, np.where(t > 100, 0.90, 0.83))
    )
    efficiency = np.where(a == MUON, muon, np.where(a == ELECTRON, electron, hadron))
    which = which[rng.random(which.size) < efficiency]
    a, t = code[which], pt[which]
    region = np.searchsorted(RESOLUTION_ETA, np.abs(eta[which]))
    relative = np.empty(which.size)
    for kind, (constant, slope) in RESOLUTION.items():
        of = (a == kind) if kind else (a != ELECTRON) & (a != MUON)
        relative[of] = np.hypot(constant[region[of]], slope[region[of]] * t[of])
    measured = _log_normal(t, relative * t, rng)
    return Tracks(p.event[which], which, a, charge[which], measured, eta[which], phi[which], relative * measured)


def _log_normal(mean: Array, sigma: Array, rng: np.random.Generator) -> Array:
    """Random numbers by a log-normal law of this mean and deviation."""
    width = np.sqrt(np.log1p((sigma / mean) ** 2))
    drawn: Array = np.exp(np.log(mean) - width**2 / 2 + width * rng.standard_normal(mean.size))
    return drawn


def _ecal_cells(absolute: Array) -> tuple[Array, Places]:
    fine = absolute < ECAL_FINE_ETA
    return np.where(fine, 0.0174, 0.175), np.where(fine, 360, 36)


def _hcal_cells(absolute: Array) -> tuple[Array, Places]:
    fine = absolute < HCAL_FINE_ETA
    return np.where(fine, 0.1, 0.2), np.where(fine, 36, 18)


def _ecal_resolution(energy: Array, absolute: Array) -> Array:
    central = np.hypot(0.0017 * energy, 0.101 * np.sqrt(energy))
    return np.where(absolute < 3.2, central, np.hypot(0.035 * energy, 0.285 * np.sqrt(energy)))


def _hcal_resolution(energy: Array, absolute: Array) -> Array:
    root = np.sqrt(energy)
    barrel = np.sqrt((0.0302 * energy) ** 2 + (0.5205 * root) ** 2 + 1.59**2)
    end = np.hypot(0.05 * energy, 0.706 * root)
    return np.where(absolute < 1.7, barrel, np.where(absolute < 3.2, end, np.hypot(0.0942 * energy, root)))


def _calorimeter(
    hits: _Hits, fraction: Array, least: float, cells: Callable[[Array], tuple[Array, Places]],
    resolution: Callable[[Array, Array], Array], tracks: Tracks, charged: Flags, rng: np.random.Generator,
) -> Towers:  # fmt: skip
    """Sums over cells, smeared; `charged`: tracks whose momentum is subtracted for the energy flow."""
    which = np.flatnonzero((fraction > 0) & hits.inside)
    event, eta, phi = hits.event[which], hits.eta[which], hits.phi[which]
    width, around = cells(np.abs(eta))
    row = np.floor((eta + 6) / width).astype(np.int64)
    column = np.floor((phi + np.pi) / (2 * np.pi) * around).astype(np.int64)
    # cells of different sizes are different cells: their number around the beam is part of the key
    key = ((event * 512 + around) * 4096 + row) * 512 + column
    _, first, tower = np.unique(key, return_index=True, return_inverse=True)
    energy = np.bincount(tower, (fraction * hits.energy)[which]).astype(np.float64)
    centre = (row[first] + rng.random(first.size)) * width[first] - 6
    angle = (column[first] + rng.random(first.size)) * 2 * np.pi / around[first] - np.pi
    absolute = np.abs(centre)
    measured = _log_normal(energy, resolution(energy, absolute), rng)
    sigma = resolution(measured, absolute)
    good = (measured > least) & (measured > SIGNIFICANCE * sigma)
    place = np.where(good, np.cumsum(good) - 1, -1)
    cell = np.full(hits.event.size, -1, np.int64)
    cell[which] = place[tower]
    kept = np.flatnonzero(good)
    own = cell[tracks.particle[charged]]
    own_inside = own >= 0
    momentum = (tracks.pt * np.cosh(tracks.eta))[charged]
    error = (tracks.sigma * np.cosh(tracks.eta))[charged]
    by_tracks = np.bincount(own[own_inside], momentum[own_inside], minlength=kept.size)
    square = np.bincount(own[own_inside], error[own_inside] ** 2, minlength=kept.size)
    excess = measured[kept] - by_tracks
    significant = (excess > least) & (excess > SIGNIFICANCE * np.sqrt(square + sigma[kept] ** 2))
    return Towers(
        event[first][kept], centre[kept], angle[kept], measured[kept], sigma[kept], np.where(significant, excess, 0.0),
        cell,
    )  # fmt: skip


def _electrons(tracks: Tracks, ecal: Towers) -> Tracks:
    """Electrons with the momentum that tracker and ECAL together say, where the tower has no neutral excess."""
    electron = np.flatnonzero(tracks.code == ELECTRON)
    tower = ecal.cell[tracks.particle[electron]]
    inside = tower >= 0
    electron, tower = electron[inside], tower[inside]
    height = np.cosh(tracks.eta[electron])
    by_tracks = np.bincount(tower, tracks.pt[electron] * height, minlength=ecal.energy.size)
    square = np.bincount(tower, (tracks.sigma[electron] * height) ** 2, minlength=ecal.energy.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        best = (by_tracks / square + ecal.energy / ecal.sigma**2) / (1 / square + 1 / ecal.sigma**2)
        factor = np.where((ecal.neutral == 0) & (by_tracks > 0), best / by_tracks, 1.0)
    pt = tracks.pt.copy()
    pt[electron] *= factor[tower]
    return dataclasses.replace(tracks, pt=pt)
