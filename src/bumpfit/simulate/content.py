"""What is written for an event: the columns of the resonance search, or collections named as in a Delphes file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.simulate.card import Card
from bumpfit.simulate.codes import ELECTRON, MUON, PHOTON
from bumpfit.simulate.detector import ECAL, HCAL, TRACK, Flow
from bumpfit.simulate.jets import Jets, cluster, subjettiness

Array = NDArray[np.float64]
Columns = dict[str, Any]
RAW = ("pt", "eta", "phi", "m")
EFLOW = {"EFlowTrack": TRACK, "EFlowPhoton": ECAL, "EFlowNeutralHadron": HCAL}


def search_table(flow: Flow, weight: Array, card: Card, pt_min: float, eta_max: float) -> tuple[NDArray[Any], Columns]:
    """Columns of the resonance search of the events with two large-radius jets, the leading one above `pt_min` (GeV)
    and within |eta| < `eta_max`: which events these are (positions in the batch), and the columns.

    J1 is the lighter of the two leading jets (`m_J1`, `tau_2_over_tau_1_J1`), J2 the heavier; `pt_j1`, `m_j1`, ... are
    raw values with j1 the leading one in pT. tau_2 / tau_1 is 0 where tau_1 is.
    """
    jets = cluster(flow, card.fat_jets)
    first = np.cumsum(jets.counts) - jets.counts
    there = np.flatnonzero(jets.counts >= 2)
    leading = first[there]
    passed = there[(jets.pt[leading] > pt_min) & (np.abs(jets.eta[leading]) < eta_max)]
    chosen = np.zeros(flow.events, np.bool_)
    chosen[passed] = True
    two = jets[chosen[jets.event] & (jets.rank < 2)]
    tau = subjettiness(flow, two, card.subjettiness).reshape(-1, 2, card.subjettiness.most)
    pair = {name: getattr(two, name).reshape(-1, 2) for name in ("px", "py", "pz", "e", "pt", "eta", "phi", "mass")}
    px, py, pz, e = (pair[name].sum(axis=1) for name in ("px", "py", "pz", "e"))
    ratio = np.divide(tau[:, :, 1], tau[:, :, 0], out=np.zeros(tau.shape[:2]), where=tau[:, :, 0] > 0)
    light = np.argmin(pair["mass"], axis=1)
    rows = np.arange(light.size)
    columns: Columns = {
        "m_JJ": np.sqrt(np.maximum((e + pz) * (e - pz) - px**2 - py**2, 0)),
        "m_J1": pair["mass"][rows, light],
        "delta_m_J": pair["mass"][rows, 1 - light] - pair["mass"][rows, light],
        "tau_2_over_tau_1_J1": ratio[rows, light],
        "tau_2_over_tau_1_J2": ratio[rows, 1 - light],
    }
    sizes = two.sizes.reshape(-1, 2)
    for place in (0, 1):
        columns |= {f"{name}_j{place + 1}": pair[{"m": "mass"}.get(name, name)][:, place] for name in RAW}
        columns |= {f"tau{n + 1}_j{place + 1}": tau[:, place, n] for n in range(card.subjettiness.most)}
        columns[f"n_j{place + 1}"] = sizes[:, place]
    columns["weight"] = weight[passed]
    integers = ("n_j1", "n_j2")
    return passed, {name: v.astype(np.int32 if name in integers else np.float32) for name, v in columns.items()}


def collections(flow: Flow, weight: Array, card: Card, number: int, all_flow: bool) -> tuple[NDArray[Any], Columns]:
    """Collections of every event of a batch, named as by Delphes (`Jet.PT`), as lists of records.

    Event, Jet, FatJet (with Tau1 to TauN, NCharged, NNeutrals), Electron, Muon, Photon (isolated), MissingET, ScalarHT,
    Constituent (what is inside the leading fat jet), and with `all_flow` every measured object with the place of its
    jet and fat jet (-1: none). Jets keep leptons.

    number   of the first event of the batch
    """
    jets, fat = cluster(flow, card.jets), cluster(flow, card.fat_jets)
    events = np.arange(flow.events)
    ones = np.ones(flow.events, np.int64)
    px, py = (np.bincount(flow.event, flow.pt * f(flow.phi), flow.events) for f in (np.cos, np.sin))
    scalar = np.bincount(flow.event, flow.pt, flow.events)
    tau = subjettiness(flow, fat, card.subjettiness)
    more = {f"Tau{n + 1}": tau[:, n] for n in range(card.subjettiness.most)}
    found: Columns = {
        "Event": _lists(ones, {"Number": events + number, "Weight": weight}),
        "Jet": _lists(jets.counts, _jets(flow, jets)),
        "FatJet": _lists(fat.counts, {**_jets(flow, fat), **more}),
        "MissingET": _lists(ones, {"MET": np.hypot(px, py), "Eta": np.zeros(px.size), "Phi": np.arctan2(-py, -px)}),
        "ScalarHT": _lists(ones, {"HT": scalar}),
    }
    for name, kind in (("Electron", ELECTRON), ("Muon", MUON), ("Photon", PHOTON)):
        found[name] = _isolated(flow, card, kind)
    of_fat = _owner(flow, fat)
    inside = of_fat == 0
    found["Constituent"] = _lists(np.bincount(flow.event[inside], minlength=flow.events), _objects(flow, inside))
    if all_flow:
        owners = {"Jet": _owner(flow, jets), "FatJet": of_fat}
        for name, kind in EFLOW.items():
            which = flow.kind == kind
            places = {title: owner[which] for title, owner in owners.items()}
            counts = np.bincount(flow.event[which], minlength=flow.events)
            found[name] = _lists(counts, {**_objects(flow, which), **places})
    return events, found


def _jets(flow: Flow, jets: Jets) -> Columns:
    owner = np.repeat(np.arange(jets.sizes.size), jets.sizes)
    charge = flow.charge[jets.inside]
    charged = np.bincount(owner[charge != 0], minlength=jets.sizes.size)
    return {
        "PT": jets.pt, "Eta": jets.eta, "Phi": jets.phi, "Mass": jets.mass,
        "Charge": np.bincount(owner, charge, jets.sizes.size).astype(np.int64),
        "NCharged": charged, "NNeutrals": jets.sizes - charged,
    }  # fmt: skip


def _objects(flow: Flow, which: NDArray[np.bool_]) -> Columns:
    pt, eta, phi = flow.pt[which], flow.eta[which], flow.phi[which]
    return {
        "PT": pt, "Eta": eta, "Phi": phi, "Mass": np.zeros(pt.size), "Charge": flow.charge[which].astype(np.int64),
    }  # fmt: skip


def _owner(flow: Flow, jets: Jets) -> NDArray[np.int64]:
    """The place in its event of the jet that holds an object, -1 for none."""
    owner = np.full(flow.event.size, -1, np.int64)
    owner[jets.inside] = np.repeat(jets.rank, jets.sizes)
    return owner


def _isolated(flow: Flow, card: Card, kind: int) -> Any:
    """Isolated leptons or photons by falling pT."""
    of = card.leptons
    place = np.flatnonzero((np.abs(flow.code) == kind) & (flow.pt > of.pt_min) & (np.abs(flow.eta) < of.eta_max))
    counts = flow.counts
    first = (np.cumsum(counts) - counts)[flow.event[place]]
    number = counts[flow.event[place]]
    starts = np.cumsum(number) - number
    other = np.repeat(first - starts, number) + np.arange(int(number.sum()))
    mine = np.repeat(np.arange(place.size), number)
    phi = (flow.phi[other] - flow.phi[place[mine]] + np.pi) % (2 * np.pi) - np.pi
    near = (np.hypot(flow.eta[other] - flow.eta[place[mine]], phi) < of.cone) & (other != place[mine])
    around = np.bincount(mine[near], flow.pt[other[near]], place.size)
    kept = place[around < of.isolation * flow.pt[place]]
    kept = kept[np.lexsort((-flow.pt[kept], flow.event[kept]))]
    momentum = {"PT": flow.pt[kept], "Eta": flow.eta[kept], "Phi": flow.phi[kept]}
    charge = {} if kind == PHOTON else {"Charge": flow.charge[kept].astype(np.int64)}
    return _lists(np.bincount(flow.event[kept], minlength=flow.events), {**momentum, **charge})


def _lists(counts: NDArray[np.int64], fields: Columns) -> Any:
    """Lists of records, floats in single and whole numbers in 32 bits, as in Delphes."""
    import awkward as ak

    single = {name: v.astype(np.float32 if v.dtype.kind == "f" else np.int32) for name, v in fields.items()}
    record = ak.contents.RecordArray([ak.contents.NumpyArray(v) for v in single.values()], list(single))
    offsets = ak.index.Index64(np.concatenate([[0], np.cumsum(counts)]))
    return ak.Array(ak.contents.ListOffsetArray(offsets, record))
