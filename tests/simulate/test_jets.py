import dataclasses
import lzma
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastjet")
pytest.importorskip("uproot")

import awkward as ak
import fastjet

from bumpfit import events
from bumpfit.simulate import card
from bumpfit.simulate.codes import ELECTRON
from bumpfit.simulate.content import collections, search_table
from bumpfit.simulate.detector import HCAL, TRACK, Flow
from bumpfit.simulate.jets import cluster, subjettiness, subjettiness_of

DATA = Path(__file__).parents[1] / "data"


def sprays(events: int, seed: int) -> Flow:
    """Two sprays of 20 objects in every event but the third, which is empty, and soft objects around."""
    rng = np.random.default_rng(seed)
    counts = np.where(np.arange(events) == 2, 0, 60)
    n = int(counts.sum())
    event = np.repeat(np.arange(events), counts)
    centre = rng.integers(0, 3, n)
    eta = np.where(centre == 0, 0.4, np.where(centre == 1, -0.7, rng.uniform(-4, 4, n))) + rng.normal(0, 0.2, n)
    phi = np.where(centre == 0, 3.1, np.where(centre == 1, 0.0, rng.uniform(-3, 3, n))) + rng.normal(0, 0.2, n)
    pt = np.where(centre == 2, rng.exponential(1.0, n), rng.exponential(60.0, n)) + 0.5
    phi = (phi + np.pi) % (2 * np.pi) - np.pi
    kind = rng.choice([TRACK, HCAL], n).astype(np.int8)
    charge = np.where(kind == TRACK, rng.choice([-1, 1], n), 0).astype(np.int8)
    return Flow(events, event, kind, np.full(n, 211, np.int32), charge, pt, eta, phi, 0)


def pseudojets(flow: Flow, event: int) -> list[fastjet.PseudoJet]:
    found = []
    for place in np.flatnonzero(flow.event == event):
        pt, eta, phi = flow.pt[place], flow.eta[place], flow.phi[place]
        entry = fastjet.PseudoJet(pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta))
        entry.set_user_index(int(place))
        found.append(entry)
    return found


def clustered(flow: Flow, event: int, radius: float, pt_min: float) -> list[fastjet.PseudoJet]:
    """Jets of one event by fastjet's own class."""
    sequence = fastjet.ClusterSequence(pseudojets(flow, event), fastjet.JetDefinition(fastjet.antikt_algorithm, radius))
    jets = fastjet.sorted_by_pt(sequence.inclusive_jets(pt_min))
    clustered.kept = sequence  # type: ignore[attr-defined]  # its jets live as long as it does
    return list(jets)


def test_jets_are_fastjets_one_event_after_the_other() -> None:
    flow = sprays(6, 1)
    found = cluster(flow, card.Jets(radius=1.0, pt_min=20.0))
    starts = np.cumsum(found.counts) - found.counts
    ends = np.cumsum(found.sizes)
    for event in range(6):
        theirs = clustered(flow, event, 1.0, 20.0)
        assert found.counts[event] == len(theirs)
        for rank, jet in enumerate(theirs):
            mine = starts[event] + rank
            assert found.rank[mine] == rank
            assert found.pt[mine] == pytest.approx(jet.pt(), rel=1e-9)
            assert found.eta[mine] == pytest.approx(jet.eta(), rel=1e-9)
            assert np.cos(found.phi[mine] - jet.phi()) == pytest.approx(1)
            assert found.mass[mine] == pytest.approx(jet.m(), rel=1e-6)
            inside = found.inside[ends[mine] - found.sizes[mine] : ends[mine]]
            assert sorted(inside) == sorted(entry.user_index() for entry in jet.constituents())


def test_jets_outside_the_range_of_eta_are_left_out() -> None:
    flow = sprays(6, 2)
    whole, narrow = (cluster(flow, card.Jets(pt_min=20.0, eta_max=eta)) for eta in (5.0, 0.5))
    keep = np.abs(whole.eta) < 0.5
    assert 0 < keep.sum() < keep.size
    assert narrow.pt == pytest.approx(whole.pt[keep])
    assert list(narrow.inside) == list(whole.inside[np.repeat(keep, whole.sizes)])


def test_no_objects_no_jets() -> None:
    flow = sprays(1, 3)
    empty = np.zeros(0)
    none = dataclasses.replace(
        flow, events=4, event=np.zeros(0, np.int64), kind=empty.astype(np.int8), code=empty.astype(np.int32),
        charge=empty.astype(np.int8), pt=empty, eta=empty, phi=empty,
    )  # fmt: skip
    jets = cluster(none, card.Jets())
    assert list(jets.counts) == [0, 0, 0, 0]
    assert subjettiness(none, jets, card.Subjettiness()).shape == (0, 5)
    rows, columns = search_table(none, np.ones(4), card.SEARCH, 100.0, 2.5)
    assert rows.size == 0
    assert columns["m_JJ"].shape == (0,)


def test_subjettiness_is_that_which_delphes_stored(tmp_path: Path) -> None:
    path = tmp_path / "pflow.root"
    path.write_bytes(lzma.decompress((DATA / "delphes_pflow.root.xz").read_bytes()))
    source = events.open(path)
    compared = 0
    for name, radius in (("particleflowjet02", 0.2), ("particleflowjet08", 0.8)):
        inside = {
            key: ak.flatten(events.observable(f"{name}.constituents.{key}", source), axis=1)
            for key in ("px", "py", "pz", "e", "pt")
        }
        # objects with pT 0 have no direction
        good = ak.fill_none((inside["pt"] > 0) & np.isfinite(inside["pz"]), False, axis=None)
        inside = {key: ak.drop_none(values[good], axis=1) for key, values in inside.items()}
        sizes = ak.to_numpy(ak.num(inside["pt"]))
        momenta = (ak.to_numpy(ak.flatten(inside[key])).astype(float) for key in ("px", "py", "pz", "e"))
        settings = dataclasses.replace(card.Subjettiness(), radius=radius)
        ours = subjettiness_of(*momenta, sizes, settings)
        for n in range(1, 6):
            stored = ak.to_numpy(ak.flatten(events.observable(f"{name}.tau{n}", source)))
            use = stored > 0
            assert ours[use, n - 1] == pytest.approx(stored[use], rel=1e-3)
            assert np.all(ours[~use, n - 1] == 0)
            compared += int(use.sum())
    assert compared > 1000


def test_the_columns_of_the_search_are_those_of_its_jets() -> None:
    flow = sprays(8, 4)
    weight = np.arange(8.0)
    rows, columns = search_table(flow, weight, card.SEARCH, 600.0, 2.5)
    expected = []
    for event in range(8):
        jets = clustered(flow, event, 1.0, 50.0)
        if len(jets) < 2 or jets[0].pt() <= 600 or abs(jets[0].eta()) >= 2.5:
            continue
        light, heavy = sorted(jets[:2], key=lambda jet: jet.m())
        both = jets[0] + jets[1]
        expected.append((event, both.m(), light.m(), heavy.m() - light.m(), jets[0].pt(), jets[1].m()))
    assert 2 <= len(expected) < 8
    event, m_jj, m_j1, delta, pt_j1, m_j2 = (np.array(column) for column in zip(*expected, strict=True))
    assert list(rows) == list(event)
    assert columns["m_JJ"] == pytest.approx(m_jj, rel=1e-5)
    assert columns["m_J1"] == pytest.approx(m_j1, rel=1e-4)
    assert columns["delta_m_J"] == pytest.approx(delta, rel=1e-3)
    assert columns["pt_j1"] == pytest.approx(pt_j1, rel=1e-5)
    assert columns["m_j2"] == pytest.approx(m_j2, rel=1e-4)
    assert columns["weight"] == pytest.approx(event)
    light_is_first = columns["m_j1"] < columns["m_j2"]
    ratios = [columns[f"tau2_j{j}"] / columns[f"tau1_j{j}"] for j in (1, 2)]
    assert columns["tau_2_over_tau_1_J1"] == pytest.approx(np.where(light_is_first, *ratios), rel=1e-5)
    assert columns["tau_2_over_tau_1_J2"] == pytest.approx(np.where(light_is_first, *ratios[::-1]), rel=1e-5)


def test_tau_of_exclusive_axes_by_its_definition() -> None:
    flow = sprays(4, 5)
    jets = cluster(flow, card.Jets(radius=1.0, pt_min=100.0))
    ours = subjettiness(flow, jets, card.SEARCH.subjettiness)
    assert jets.sizes.size >= 4
    ends = np.cumsum(jets.sizes)
    for jet in range(jets.sizes.size):
        inside = jets.inside[ends[jet] - jets.sizes[jet] : ends[jet]]
        whole = dataclasses.replace(
            flow, events=1, event=np.zeros(inside.size, np.int64),
            **{key: getattr(flow, key)[inside] for key in ("kind", "code", "charge", "pt", "eta", "phi")},
        )  # fmt: skip
        entries = pseudojets(whole, 0)
        definition = fastjet.JetDefinition(fastjet.kt_algorithm, 999.0)
        sequence = fastjet.ClusterSequence(entries, definition)
        for n in (1, 2, 3):
            axes = sequence.exclusive_jets(n)
            nearest = [min(entry.delta_R(axis) for axis in axes) for entry in entries]
            expected = np.sum(whole.pt * nearest) / np.sum(whole.pt)
            assert ours[jet, n - 1] == pytest.approx(expected, rel=1e-6)


def test_collections_hold_jets_constituents_and_missing_energy() -> None:
    flow = sprays(6, 6)
    _, found = collections(flow, np.ones(6), card.DELPHES, 100, True)
    assert ak.to_list(found["Event"]["Number"]) == [[100 + n] for n in range(6)]
    px, py = (np.array([np.sum((flow.pt * f(flow.phi))[flow.event == n]) for n in range(6)]) for f in (np.cos, np.sin))
    met = ak.to_numpy(ak.flatten(found["MissingET"]["MET"]))
    phi = ak.to_numpy(ak.flatten(found["MissingET"]["Phi"]))
    assert met * np.cos(phi) == pytest.approx(-px, abs=1e-3)
    assert met * np.sin(phi) == pytest.approx(-py, abs=1e-3)
    for event in range(6):
        theirs = clustered(flow, event, 0.8, 200.0)
        assert ak.to_list(found["FatJet"]["PT"][event]) == pytest.approx([jet.pt() for jet in theirs], rel=1e-5)
        if not theirs:
            assert len(found["Constituent"][event]) == 0
            continue
        inside = theirs[0].constituents()
        assert sorted(ak.to_list(found["Constituent"]["PT"][event])) == pytest.approx(
            sorted(entry.pt() for entry in inside), rel=1e-5
        )
        charges = [int(flow.charge[entry.user_index()]) for entry in inside]
        assert found["FatJet"]["Charge"][event][0] == sum(charges)
        assert found["FatJet"]["NCharged"][event][0] == sum(map(bool, charges))
    tracks = ak.num(found["EFlowTrack"]["PT"])
    assert list(tracks) == [int(np.sum((flow.event == n) & (flow.kind == TRACK))) for n in range(6)]
    inside = ak.sum(found["EFlowTrack"]["FatJet"] == 0, axis=1) + ak.sum(
        found["EFlowNeutralHadron"]["FatJet"] == 0, axis=1
    )
    assert list(inside) == list(ak.num(found["Constituent"]["PT"]))


def test_leptons_are_isolated() -> None:
    # an electron with 1 GeV beside it, one with 30 GeV beside it, a soft one
    pt = np.array([50.0, 1.0, 50.0, 30.0, 5.0])
    eta = np.array([0.0, 0.1, 1.5, 1.6, -2.0])
    phi = np.array([3.1, -3.1, 0.0, 0.2, 1.0])
    code = np.array([ELECTRON, 211, -ELECTRON, 211, ELECTRON], np.int32)
    charge = np.array([-1, 1, 1, 1, -1], np.int8)
    flow = Flow(1, np.zeros(5, np.int64), np.full(5, TRACK, np.int8), code, charge, pt, eta, phi, 0)
    _, found = collections(flow, np.ones(1), card.DELPHES, 0, False)
    assert ak.to_list(found["Electron"]["PT"]) == [[50.0]]
    assert ak.to_list(found["Electron"]["Charge"]) == [[-1]]
    assert ak.to_list(found["Muon"]["PT"]) == [[]]
