"""Selection of the HiggsML challenge: one electron or muon, one tau-tagged jet of opposite charge; a row an event.

Instead of one throw of the tag of every jet, the probability of exactly one tag is computed: the event is kept with
this probability over the largest one, and one jet is drawn as the tau.

As in TrackCountingTauTagging of Delphes 3.5 the charge of a jet is the sum of the charges of its tracks, for true taus
and others alike: a mistagged jet has the opposite charge of the lepton in fewer than half of the cases, and a tau
among other tracks is lost.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import njit
from bumpfit.errors import MissingExtraError
from bumpfit.simulate.card import Jets as Definition
from bumpfit.simulate.codes import ELECTRON, MUON
from bumpfit.simulate.detector import ECAL, HCAL, TRACK, Flow
from bumpfit.simulate.higgs_detector import Measured, Places
from bumpfit.simulate.jets import Jets, cluster

Array = NDArray[np.float64]
UNDEFINED = -25.0
PRIMARY = (
    "PRI_lep_pt", "PRI_lep_eta", "PRI_lep_phi", "PRI_had_pt", "PRI_had_eta", "PRI_had_phi", "PRI_jet_leading_pt",
    "PRI_jet_leading_eta", "PRI_jet_leading_phi", "PRI_jet_subleading_pt", "PRI_jet_subleading_eta",
    "PRI_jet_subleading_phi", "PRI_n_jets", "PRI_jet_all_pt", "PRI_met", "PRI_met_phi",
)  # fmt: skip
"""Columns of the selected events, as in the official files."""
TAG = 0.70
"""Tag probability of a true tau with one track; 0.60 with more, a mistag 0.02 and 0.01, none without tracks."""
TAGS = (TAG, 0.60, 0.02, 0.01)
MISTAG_SCALE = 0.12
"""In events without a true tau the probability of exactly one tag is divided by this instead of by TAG."""
TAG_CONE, TAG_TRACK_PT, TAU_ETA = 0.2, 1.0, 2.5
"""Distance of a jet to its tracks and to the visible part of a tau, least pT (GeV) of tracks, range of true taus."""
ISOLATION = {ELECTRON: 0.12, MUON: 0.25}
PHOTON_ISOLATION = 0.12
CONE, CONE_MIN = 0.5, 0.5
"""Radius of the isolation cone and least pT (GeV) of what counts in it."""
OBJECT_PT = 10.0
VETO_PT, LEPTON_PT, JET_PT = 15.0, 20.0, 20.0
"""Leptons above the first count as second ones; the others are the cuts on lepton and jets (GeV)."""
JETS = Definition("antikt", 0.6, 20.0, 10.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Taus:
    """True hadronic taus of a batch within TAU_ETA, by event: event, and eta, phi of their visible part."""

    event: Places
    eta: Array
    phi: Array


def select(seen: Measured, taus: Taus, rng: np.random.Generator) -> tuple[Places, Array, Array, NDArray[np.bool_]]:
    """Events that pass.

    Returns:
        Their places, rows (n, 16) of the columns PRIMARY, weights (of the tag, in units of 1 / TAG), and whether the
        tagged jet is a true tau.
    """
    leptons, photons = _isolated(seen, rng)
    jets = _jets(seen, leptons, photons)
    tracks = seen.tracks
    hard = np.flatnonzero(tracks.pt > TAG_TRACK_PT)
    hard = hard[np.argsort(tracks.event[hard], kind="stable")]
    jet_pt = jets.pt
    jet_pt = jet_pt * np.sqrt((3 - 0.2 * np.abs(jets.eta)) ** 2 / jet_pt + 1)
    order = np.lexsort((-jet_pt, jets.event))
    kept = leptons[tracks.pt[leptons] > VETO_PT]
    kept = kept[np.argsort(tracks.event[kept], kind="stable")]
    ends = [_ends(values, seen.events) for values in (tracks.event[kept], jets.event, tracks.event[hard], taus.event)]
    columns = (
        tracks.pt[kept], tracks.eta[kept], tracks.phi[kept], tracks.code[kept], tracks.charge[kept],
        jet_pt[order], jets.eta[order], jets.phi[order], tracks.eta[hard], tracks.phi[hard], tracks.charge[hard],
        taus.eta, taus.phi,
    )  # fmt: skip
    rows, weights, true = _rows(*ends, *columns, seen.mx, seen.my, rng.random((seen.events, 2)))
    passed = np.flatnonzero(weights > 0)
    return passed, rows[passed], weights[passed], true[passed]


def _ends(event: Places, events: int) -> Places:
    """Where the entries of each event begin, and the end, of a sorted column."""
    return np.searchsorted(event, np.arange(events + 1)).astype(np.int64)


def _isolated(seen: Measured, rng: np.random.Generator) -> tuple[Places, Places]:
    """Places of identified, isolated electrons and muons among the tracks, and of photons among the ECAL towers."""
    tracks, ecal, hcal = seen.tracks, seen.ecal, seen.hcal
    hadron = (tracks.code != ELECTRON) & (tracks.code != MUON)
    photon = ecal.neutral / np.cosh(ecal.eta)
    neutral = hcal.neutral / np.cosh(hcal.eta)
    event = np.concatenate([tracks.event[hadron], ecal.event, hcal.event])
    eta = np.concatenate([tracks.eta[hadron], ecal.eta, hcal.eta])
    phi = np.concatenate([tracks.phi[hadron], ecal.phi, hcal.phi])
    pt = np.concatenate([tracks.pt[hadron], photon, neutral])
    order = np.flatnonzero(pt > CONE_MIN)
    order = order[np.argsort(event[order], kind="stable")]
    around = (_ends(event[order], seen.events), eta[order], phi[order], pt[order])

    def identified(eta: Array, pt: Array) -> NDArray[np.bool_]:
        efficiency = np.where(np.abs(eta) < 1.5, 0.95, np.where(np.abs(eta) < 2.5, 0.85, 0.0))
        return np.asarray((rng.random(eta.size) < efficiency) & (pt > OBJECT_PT))

    lepton = np.flatnonzero(~hadron)
    lepton = lepton[identified(tracks.eta[lepton], tracks.pt[lepton])]
    sums = _cones(tracks.event[lepton], tracks.eta[lepton], tracks.phi[lepton], *around)
    most = np.where(tracks.code[lepton] == ELECTRON, ISOLATION[ELECTRON], ISOLATION[MUON])
    lepton = lepton[sums < most * tracks.pt[lepton]]
    gamma = np.flatnonzero(photon > OBJECT_PT)
    gamma = gamma[identified(ecal.eta[gamma], photon[gamma])]
    sums = _cones(ecal.event[gamma], ecal.eta[gamma], ecal.phi[gamma], *around) - photon[gamma]
    return lepton, gamma[sums < PHOTON_ISOLATION * photon[gamma]]


@njit()
def _distance(eta: float, phi: float) -> float:  # pragma: no cover
    phi = (phi + math.pi) % (2 * math.pi) - math.pi
    return math.hypot(eta, phi)


@njit()
def _cones(
    event: Places, eta: Array, phi: Array, ends: Places, other_eta: Array, other_phi: Array, other_pt: Array
) -> Array:  # pragma: no cover
    """Sum of pT around each direction."""
    sums = np.zeros(event.size)
    for i in range(event.size):
        for k in range(ends[event[i]], ends[event[i] + 1]):
            if _distance(eta[i] - other_eta[k], phi[i] - other_phi[k]) < CONE:
                sums[i] += other_pt[k]
    return sums


def _jets(seen: Measured, leptons: Places, photons: Places) -> Jets:
    """Jets of towers and muons without those that share a tower or a muon with an isolated object."""
    tracks, ecal, hcal = seen.tracks, seen.ecal, seen.hcal
    muon = np.flatnonzero(tracks.code == MUON)
    event = np.concatenate([ecal.event, hcal.event, tracks.event[muon]])
    shared = np.zeros(event.size, np.bool_)
    shared[photons] = True
    electron = leptons[tracks.code[leptons] == ELECTRON]
    tower = ecal.cell[tracks.particle[electron]]
    shared[tower[tower >= 0]] = True
    shared[ecal.event.size + hcal.event.size :] = np.isin(muon, leptons)
    pt = np.concatenate([ecal.energy / np.cosh(ecal.eta), hcal.energy / np.cosh(hcal.eta), tracks.pt[muon]])
    kind = np.repeat(np.array([ECAL, HCAL, TRACK], np.int8), [ecal.event.size, hcal.event.size, muon.size])
    order = np.argsort(event, kind="stable")
    flow = Flow(
        seen.events, event[order], kind[order], np.zeros(event.size, np.int32), np.zeros(event.size, np.int8),
        pt[order],
        np.concatenate([ecal.eta, hcal.eta, tracks.eta[muon]])[order],
        np.concatenate([ecal.phi, hcal.phi, tracks.phi[muon]])[order], 0,
    )  # fmt: skip
    jets = cluster(flow, JETS)
    owner = np.repeat(np.arange(jets.event.size), jets.sizes)
    return jets[np.bincount(owner, shared[order][jets.inside], minlength=jets.event.size) == 0]


@njit()
def _rows(
    lepton_ends: Places, jet_ends: Places, track_ends: Places, tau_ends: Places,
    lepton_pt: Array, lepton_eta: Array, lepton_phi: Array, lepton_code: Any, lepton_charge: Any,
    jet_pt: Array, jet_eta: Array, jet_phi: Array, track_eta: Array, track_phi: Array, track_charge: Any,
    tau_eta: Array, tau_phi: Array, mx: Array, my: Array, u: Array,
) -> Any:  # pragma: no cover  # fmt: skip
    """Rows of all events with weight 0 where the event fails; jets by falling pT, entries of an event between ends."""
    n = mx.size
    rows = np.full((n, 16), UNDEFINED)
    weights = np.zeros(n)
    true = np.zeros(n, np.bool_)
    for i in range(n):
        electrons = muons = 0
        for k in range(lepton_ends[i], lepton_ends[i + 1]):
            if lepton_code[k] == ELECTRON:
                electrons += 1
            else:
                muons += 1
        lep = lepton_ends[i]
        if electrons + muons != 1 or lepton_pt[lep] < LEPTON_PT:
            continue
        begin, jets = jet_ends[i], jet_ends[i + 1] - jet_ends[i]
        probability = np.zeros(jets)
        charge = np.zeros(jets, np.int64)
        real = np.zeros(jets, np.bool_)
        for j in range(jets):
            k = begin + j
            if jet_pt[k] < JET_PT:
                continue
            near = 0
            for t in range(track_ends[i], track_ends[i + 1]):
                if _distance(jet_eta[k] - track_eta[t], jet_phi[k] - track_phi[t]) < TAG_CONE:
                    near += 1
                    charge[j] += track_charge[t]
            for t in range(tau_ends[i], tau_ends[i + 1]):
                if _distance(jet_eta[k] - tau_eta[t], jet_phi[k] - tau_phi[t]) < TAG_CONE:
                    real[j] = True
            if near > 0:
                probability[j] = TAGS[(0 if real[j] else 2) + (0 if near == 1 else 1)]
        none = 1.0
        for j in range(jets):
            none *= 1 - probability[j]
        total = 0.0
        for j in range(jets):
            total += none * probability[j] / (1 - probability[j])
        top = TAG if tau_ends[i + 1] > tau_ends[i] else MISTAG_SCALE
        if total == 0 or u[i, 0] * top >= total:
            continue
        chosen, reached = -1, 0.0
        for j in range(jets):
            reached += none * probability[j] / (1 - probability[j])
            if chosen < 0 and probability[j] > 0 and u[i, 1] * total <= reached:
                chosen = j
        if chosen < 0 or charge[chosen] + lepton_charge[lep] != 0:
            continue
        weights[i] = max(top, total) / TAG
        true[i] = real[chosen]
        _fill(rows[i], lepton_pt[lep], lepton_eta[lep], lepton_phi[lep], chosen, jet_pt[begin : begin + jets],
              jet_eta[begin : begin + jets], jet_phi[begin : begin + jets], mx[i], my[i])  # fmt: skip
    return rows, weights, true


@njit()
def _fill(
    row: Array, lepton_pt: float, lepton_eta: float, lepton_phi: float, chosen: int, pt: Array, eta: Array, phi: Array,
    mx: float, my: float,
) -> None:  # pragma: no cover  # fmt: skip
    row[0], row[1], row[2] = lepton_pt, lepton_eta, lepton_phi
    row[3], row[4], row[5] = pt[chosen], eta[chosen], phi[chosen]
    others, summed = 0, 0.0
    for j in range(pt.size):
        if j == chosen or pt[j] < JET_PT:
            continue
        if others < 2:
            row[6 + 3 * others], row[7 + 3 * others], row[8 + 3 * others] = pt[j], eta[j], phi[j]
        others += 1
        summed += pt[j]
    row[12], row[13] = others, summed
    row[14], row[15] = math.hypot(mx, my), math.atan2(my, mx)


def fastjet_version() -> str:
    """Version of fastjet; raises MissingExtraError when it is not installed."""
    try:
        import fastjet
    except ModuleNotFoundError as error:
        raise MissingExtraError("fastjet", "simulate", "clustering jets") from error
    return str(fastjet.__version__)
