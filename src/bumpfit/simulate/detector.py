"""A parametric detector: stable particles to what tracker, ECAL and HCAL measure, all events of a batch at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.simulate.card import Calorimeter, Card
from bumpfit.simulate.codes import ELECTRON, MUON, PHOTON
from bumpfit.simulate.generator import Particles

Array = NDArray[np.float64]
TRACK, ECAL, HCAL = 0, 1, 2


@dataclasses.dataclass(frozen=True, eq=False)
class Flow:
    """Measured objects of a batch (energy flow), flat, in the order of the events; massless, GeV and radians.

    events (number), event (object -> event), kind (TRACK, ECAL, HCAL), code (PDG code of the particle behind it, 0 for
    several), charge (-1, 0, 1), pt, eta, phi; `dropped`: particles left out because their momentum was not finite.
    """

    events: int
    event: NDArray[np.int64]
    kind: NDArray[np.int8]
    code: NDArray[np.int32]
    charge: NDArray[np.int8]
    pt: Array
    eta: Array
    phi: Array
    dropped: int

    @property
    def counts(self) -> NDArray[np.int64]:
        """Number of objects an event."""
        return np.bincount(self.event, minlength=self.events)


def measure(particles: Particles, card: Card, rng: np.random.Generator) -> Flow:
    """What the detector sees of the visible particles.

    Particles with a momentum that is not finite are dropped and counted: fastjet ends the process on them.
    """
    finite = np.isfinite(particles.px + particles.py + particles.pz + particles.e)
    reach = np.sinh(max(card.ecal.eta_max, card.hcal.eta_max, card.tracks.eta_max))
    pt = np.hypot(particles.px, particles.py)
    keep = finite & particles.visible & (pt > 0) & (np.abs(particles.pz) < reach * pt)
    seen, pt = particles[keep], pt[keep]
    eta = np.arcsinh(seen.pz / pt)
    phi = np.arctan2(seen.py, seen.px)
    code = np.abs(seen.code)
    absolute = np.abs(eta)
    track = (seen.charge != 0) & (absolute < card.tracks.eta_max)
    ecal = ~track & ((code == PHOTON) | (code == ELECTRON)) & (absolute < card.ecal.eta_max)
    hcal = ~track & ~ecal & (code != PHOTON) & (code != ELECTRON) & (code != MUON) & (absolute < card.hcal.eta_max)
    parts = [
        _tracks(card, seen, track, pt, eta, phi, rng),
        _calorimeter(card.ecal, ECAL, seen, ecal, eta, phi, rng),
        _calorimeter(card.hcal, HCAL, seen, hcal, eta, phi, rng),
    ]
    event, kind, codes, charge, pts, etas, phis = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(event, kind="stable")
    dropped = int(finite.size - np.count_nonzero(finite))
    return Flow(
        particles.events, event[order], kind[order], codes[order], charge[order], pts[order], etas[order], phis[order],
        dropped,
    )  # fmt: skip


def _tracks(
    card: Card, seen: Particles, which: NDArray[np.bool_], pt: Array, eta: Array, phi: Array, rng: np.random.Generator
) -> tuple[NDArray[Any], ...]:
    of = card.tracks
    place = np.flatnonzero(which)
    efficiency = np.where(
        pt[place] > of.efficiency_pt, of.efficiency, np.where(pt[place] > of.pt_min_found, of.efficiency_low, 0.0)
    )
    place = place[rng.random(place.size) < efficiency]
    true = pt[place]
    measured = true * (1 + np.hypot(of.pt_constant, of.pt_slope * true) * rng.standard_normal(place.size))
    good = measured > of.threshold
    place = place[good]
    kind = np.full(place.size, TRACK, np.int8)
    charge = np.sign(seen.charge[place])
    return seen.event[place], kind, seen.code[place], charge, measured[good], eta[place], phi[place]


def _calorimeter(
    of: Calorimeter, kind: int, seen: Particles, which: NDArray[np.bool_], eta: Array, phi: Array,
    rng: np.random.Generator,
) -> tuple[NDArray[Any], ...]:  # fmt: skip
    place = np.flatnonzero(which)
    event, code = seen.event[place], seen.code[place]
    energy: Array = seen.e[place]
    row = np.floor(eta[place] / of.cell).astype(np.int64)
    column = np.floor(phi[place] / of.cell).astype(np.int64)
    if of.merge:
        event, code, energy, row, column = _towers(event, code, energy, row, column)
    eta = np.asarray((row + 0.5) * of.cell)
    phi = np.asarray((column + 0.5) * of.cell)
    relative = np.sqrt(of.stochastic**2 / energy + of.constant**2 + (of.noise / energy) ** 2)
    measured = energy * (1 + relative * rng.standard_normal(energy.size)) / np.cosh(eta)
    good = measured > of.threshold
    phi = (phi[good] + np.pi) % (2 * np.pi) - np.pi
    kinds, charge = (np.full(phi.size, value, np.int8) for value in (kind, 0))
    return event[good], kinds, code[good], charge, measured[good], eta[good], phi


def _towers(
    event: NDArray[np.int64], code: NDArray[np.int32], energy: Array, row: NDArray[np.int64], column: NDArray[np.int64]
) -> tuple[NDArray[Any], ...]:
    """Sums over the cells of every event, in the order of event and cell."""
    key = ((event << 20) + (row + (1 << 19)) << 20) + (column + (1 << 19))
    _, first, which, number = np.unique(key, return_index=True, return_inverse=True, return_counts=True)
    summed = np.bincount(which, energy)
    return event[first], np.where(number == 1, code[first], 0), summed, row[first], column[first]
