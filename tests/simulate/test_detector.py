import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bumpfit.simulate.card import DELPHES, Card
from bumpfit.simulate.detector import ECAL, HCAL, TRACK, Flow, measure
from bumpfit.simulate.generator import Particles


def particles(
    code: int, charge: int, pt: Any, eta: Any, phi: Any, *, mass: float = 0.0, visible: bool = True, events: int = 1
) -> Particles:
    pt, eta, phi = (np.asarray(v, dtype=np.float64) for v in np.broadcast_arrays(pt, eta, phi))
    n = pt.size
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return Particles(
        events, np.arange(n) * events // n, np.full(n, code, np.int32), np.full(n, charge, np.int8),
        np.full(n, visible), px, py, pz, np.sqrt(px**2 + py**2 + pz**2 + mass**2), np.ones(events),
    )  # fmt: skip


def seen(made: Particles, card: Card = DELPHES, seed: int = 1) -> Flow:
    return measure(made, card, np.random.default_rng(seed))


def spread(flow: Flow) -> float:
    return float(np.std(flow.pt * np.cosh(flow.eta)))


def test_resolutions_are_those_of_the_card() -> None:
    n = 20_000
    phi = np.random.default_rng(5).uniform(-np.pi, np.pi, n)
    photon = seen(particles(22, 0, 50.0, 0.01, phi))
    assert set(photon.kind) == {ECAL}
    assert spread(photon) == pytest.approx(50 * np.sqrt(0.07**2 / 50 + 0.0055**2), rel=0.02)
    neutron = seen(particles(2112, 0, 400.0, 0.01, phi, mass=0.94))
    assert set(neutron.kind) == {HCAL}
    assert spread(neutron) == pytest.approx(400 * np.sqrt(1.5**2 / 400 + 0.05**2), rel=0.02)
    pion = seen(particles(211, 3, 100.0, 0.0, phi, mass=0.14))
    assert set(pion.kind) == {TRACK}
    assert np.std(pion.pt) == pytest.approx(100 * np.hypot(0.01, 0.015), rel=0.02)
    assert np.mean(pion.pt) == pytest.approx(100, rel=1e-3)


def test_tracks_are_found_with_their_efficiency() -> None:
    n = 20_000
    assert len(seen(particles(-211, -3, np.full(n, 50.0), 0.3, 0.2)).pt) / n == pytest.approx(0.95, abs=0.005)
    low = dataclasses.replace(DELPHES, tracks=dataclasses.replace(DELPHES.tracks, threshold=0.0))
    found = seen(particles(-211, -3, np.full(n, 0.8), 0.3, 0.2), low)
    assert len(found.pt) / n == pytest.approx(0.70, abs=0.01)
    assert set(found.charge) == {-1}
    assert len(seen(particles(211, 3, np.full(n, 0.09), 0.3, 0.2), low).pt) == 0


@pytest.mark.parametrize(
    ("code", "charge", "eta", "kind"),
    [
        (211, 3, 2.4, TRACK),
        (211, 3, 2.6, HCAL),
        (11, -3, 2.6, ECAL),
        (22, 0, 4.9, ECAL),
        (130, 0, -4.9, HCAL),
        (13, -3, 2.4, TRACK),
        (13, -3, 2.6, None),  # a muon outside the tracker leaves nothing
        (22, 0, 5.1, None),
        (130, 0, -5.1, None),
    ],
)
def test_who_measures_what(code: int, charge: int, eta: float, kind: int | None) -> None:
    flow = seen(particles(code, charge, np.full(200, 100.0), eta, 1.0))
    assert set(flow.kind) == (set() if kind is None else {kind})


def test_what_is_invisible_leaves_nothing() -> None:
    assert seen(particles(12, 0, np.full(10, 100.0), 0.0, 0.0, visible=False)).pt.size == 0


def exact(merge: bool) -> Card:
    hcal = dataclasses.replace(DELPHES.hcal, stochastic=0.0, constant=0.0, merge=merge, threshold=5.0)
    return dataclasses.replace(DELPHES, hcal=hcal)


def test_calorimeters_have_cells_and_thresholds() -> None:
    cell = DELPHES.hcal.cell
    made = particles(130, 0, [10.0, 20.0, 3.0, 4.0], [0.01, 0.02, 0.3, 0.31], [-np.pi + 0.01, -np.pi + 0.02, 1.0, 1.01])
    alone = seen(made, exact(merge=False))
    assert alone.eta == pytest.approx([cell / 2] * 2)
    phi = (np.floor((-np.pi + 0.01) / cell) + 0.5) * cell
    assert np.cos(alone.phi - phi) == pytest.approx([1, 1])
    assert np.all(np.abs(alone.phi) <= np.pi)
    energy = made.e[:2]
    assert alone.pt == pytest.approx(energy / np.cosh(cell / 2))
    merged = seen(made, exact(merge=True))
    # 3 and 4 GeV are in one cell: together they are above the threshold of 5
    assert merged.pt == pytest.approx([energy.sum() / np.cosh(cell / 2), made.e[2:].sum() / np.cosh(3.5 * cell)])
    assert list(merged.code) == [0, 0]


def test_cells_of_different_events_stay_apart() -> None:
    flow = seen(particles(130, 0, np.full(4, 10.0), 0.01, 0.01, events=2), exact(merge=True))
    assert list(flow.counts) == [1, 1]
    assert flow.pt == pytest.approx([20 * np.cosh(0.01) / np.cosh(0.0435)] * 2)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_momenta_that_are_not_finite_are_dropped_and_counted(wrong: float) -> None:
    made = particles(22, 0, np.full(6, 30.0), 0.1, 0.3, events=3)
    momenta: NDArray[np.float64] = made.pz.copy()
    momenta[[1, 4, 5]] = wrong
    flow = seen(dataclasses.replace(made, pz=momenta))
    assert flow.dropped == 3
    assert list(flow.counts) == [1, 2, 0]
    assert np.isfinite(flow.pt).all()
