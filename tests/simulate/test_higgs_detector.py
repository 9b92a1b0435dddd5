from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastjet")
pytest.importorskip("awkward")

from bumpfit.simulate.generator import Particles
from bumpfit.simulate.higgs_detector import Measured, measure
from bumpfit.simulate.tau_selection import PRIMARY, Taus, select


def event_of(*particles: tuple[int, int, float, float, float], events: int = 1) -> Particles:
    """The same particles (code, charge in units of e, pt, eta, phi) in many events."""
    one = np.array(particles, dtype=np.float64)
    code, charge, pt, eta, phi = np.tile(one, (events, 1)).T
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return Particles(
        events, np.repeat(np.arange(events), len(one)), code.astype(np.int32), (3 * charge).astype(np.int8),
        np.ones(code.size, np.bool_), px, py, pz, np.sqrt(px**2 + py**2 + pz**2), np.ones(events),
    )  # fmt: skip


def seen(*particles: tuple[int, int, float, float, float], events: int = 1, seed: int = 1) -> Measured:
    return measure(event_of(*particles, events=events), np.random.default_rng(seed))


def passed(made: Measured, eta: float, phi: float, seed: int = 2) -> Any:
    taus = Taus(np.arange(made.events), np.full(made.events, eta), np.full(made.events, phi))
    return select(made, taus, np.random.default_rng(seed))


MUON = (13, -1, 40.0, 0.3, 0.5)
TAU = (211, 1, 60.0, -0.5, -2.4)


def test_cells_of_two_sizes_are_never_one() -> None:
    # same row and column by their own counting: row 45 is eta -1.5 in fine cells and 3.0 in coarse ones
    phi = -np.pi + 0.05
    hcal = seen((2112, 0, 60.0, -1.45, phi), (2112, 0, 20.0, 3.1, phi), events=200).hcal
    assert np.bincount(hcal.event).tolist() == [2] * 200
    central = hcal.eta < 0
    assert np.mean(hcal.energy[central]) == pytest.approx(60 * np.cosh(1.45), rel=0.02)
    assert np.mean(hcal.energy[~central]) == pytest.approx(20 * np.cosh(3.1), rel=0.02)


def test_resolution_and_missing_momentum() -> None:
    n = 4000
    made = seen((22, 0, 50.0, 0.01, 1.0), events=n)
    energy = made.ecal.energy
    assert energy.mean() == pytest.approx(50, abs=0.1)
    assert energy.std() == pytest.approx(np.hypot(0.0017 * 50, 0.101 * np.sqrt(50)), rel=0.05)
    assert np.hypot(made.mx, made.my).mean() == pytest.approx(50, abs=0.2)
    assert np.arctan2(-made.my, -made.mx).mean() == pytest.approx(1.0, abs=0.01)
    tracks = seen((211, 1, 20.0, 0.3, 1.0), events=n).tracks
    assert tracks.event.size / n == pytest.approx(0.95, abs=0.015)
    assert (tracks.pt / 20).std() == pytest.approx(np.hypot(0.06, 20 * 1.3e-3), rel=0.05)


def test_what_tracks_explain_is_not_neutral() -> None:
    alone = seen((2112, 0, 40.0, 0.33, 1.0), events=1000).hcal
    assert np.mean(alone.neutral > 0) > 0.99
    charged = seen((211, 1, 5.0, 0.33, 1.0), events=3000)
    with_track = np.isin(charged.hcal.event, charged.tracks.event)
    assert np.mean(charged.hcal.neutral[with_track] > 0) < 0.12
    assert np.mean(charged.hcal.neutral[~with_track] > 0) > 0.95  # the track was not found


def test_an_electron_is_better_known_by_the_calorimeter() -> None:
    made = seen((11, -1, 50.0, 0.7, 1.0), events=4000).tracks
    # 8.5 % by the track alone, 1.5 % by the ECAL; a part is split off as a photon where the two differ
    assert np.quantile(np.abs(made.pt / 50 - 1), 0.5) < 0.02


def test_a_muon_and_a_pion_pass_as_often_as_the_efficiencies_say() -> None:
    n = 4000
    made = seen(MUON, TAU, events=n)
    places, rows, weights, true = passed(made, -0.5, -2.4)
    # track and identification of the muon, track of the pion, the tag divided out, jet above 20 GeV
    assert weights.sum() / n == pytest.approx(0.99 * 0.95 * 0.95, abs=0.02)
    assert set(weights) == {1.0}
    assert true.all()
    assert np.all(np.diff(places) > 0)
    table = dict(zip(PRIMARY, rows.T, strict=True))
    assert np.median(table["PRI_lep_pt"]) == pytest.approx(40, abs=0.2)
    # the HCAL's energy with the scale factor of the jets
    assert np.median(table["PRI_had_pt"]) == pytest.approx(60 * np.sqrt(2.9**2 / 60 + 1), rel=0.03)
    assert np.all(table["PRI_n_jets"] == 0)
    assert np.all(table["PRI_jet_leading_pt"] == -25)
    assert np.all(table["PRI_jet_all_pt"] == 0)
    assert np.abs(table["PRI_met_phi"]).max() <= np.pi


def test_charge_truth_and_second_leptons_decide() -> None:
    n = 400
    assert passed(seen(MUON, (-211, -1, *TAU[2:]), events=n), -0.5, -2.4)[0].size == 0
    nobody = Taus(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    _, _, weights, true = select(seen(MUON, TAU, events=10 * n), nobody, np.random.default_rng(2))
    assert weights.sum() / (10 * n) == pytest.approx(0.02 / 0.7 * 0.94 * 0.95, rel=0.1)  # mistag of one track
    assert set(weights) == {0.12 / 0.7}
    assert not true.any()
    neutral = seen(MUON, TAU, (-211, -1, 60.0, -0.51, -2.41), events=n)  # charges of +1 and -1 in the jet
    assert passed(neutral, -0.5, -2.4)[0].size / n < 0.2
    second = passed(seen(MUON, TAU, (11, 1, 30.0, 1.0, 2.0), events=n), -0.5, -2.4)[0].size
    assert second / n < 0.3  # only where the electron is lost
    elsewhere = passed(seen(MUON, TAU, events=n), 1.5, 1.0)[0].size  # the jet is no true tau: mistag 0.02 of 0.70
    assert elsewhere / n < 0.06
    three = passed(seen(MUON, TAU, (211, 1, 8.0, -0.51, -2.41), (-211, -1, 8.0, -0.49, -2.39), events=2000), -0.5, -2.4)
    assert three[0].size / 2000 == pytest.approx(0.6 / 0.7 * 0.94 * 0.95**3, abs=0.06)


def test_jets_are_ordered_and_isolation_needs_room() -> None:
    jets = ((2112, 0, 50.0, 1.8, 2.5), (2112, 0, 90.0, -2.0, 2.0))
    _, rows, _, _ = passed(seen(MUON, TAU, *jets, events=300), -0.5, -2.4)
    table = dict(zip(PRIMARY, rows.T, strict=True))
    two = table["PRI_n_jets"] == 2
    assert two.mean() > 0.95
    assert np.all(table["PRI_jet_leading_pt"][two] >= table["PRI_jet_subleading_pt"][two])
    assert np.median(table["PRI_jet_leading_eta"][two]) == pytest.approx(-2.0, abs=0.05)
    summed = table["PRI_jet_leading_pt"] + table["PRI_jet_subleading_pt"]
    assert table["PRI_jet_all_pt"][two] == pytest.approx(summed[two], rel=1e-9)
    crowded = passed(seen(MUON, TAU, (2112, 0, 40.0, 0.5, 0.7), events=300), -0.5, -2.4)
    assert crowded[0].size == 0
