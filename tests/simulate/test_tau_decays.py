import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bumpfit.errors import InputError
from bumpfit.simulate.tau_decays import (
    LEPTONIC_FRACTION,
    TAU_MASS,
    Decays,
    make_pool,
    packaged_pool,
    products,
    read_pool,
    to_laboratory,
)
from bumpfit.simulate.tau_pairs import LIKE_SIGNAL, ONE, Acceptance, Strata, choose

EVERYTHING = Acceptance(0.0, 0.0, 12.0)
ALL = dataclasses.replace(ONE, level=1e-9)


def cosines(decays: Decays) -> Any:
    """Of tau -> pi nu: direction of the pion to the spin."""
    first = decays.offsets[:-1]
    alone = (np.diff(decays.offsets) == 1) & (np.abs(decays.code[first]) == 211)
    p = decays.momenta[first[alone]]
    return p[:, 2] / np.linalg.norm(p[:, :3], axis=1)


def test_the_pion_follows_the_spin() -> None:
    # <cos theta*> = P / 3 (Tsai 1971), <cos^2 theta*> = 1 / 3
    c = cosines(packaged_pool().hadronic)
    assert c.size > 10_000
    assert abs(c.mean() - 1 / 3) < 3 * np.sqrt((1 / 3 - 1 / 9) / c.size)
    assert abs((c**2).mean() - 1 / 3) < 3 * np.sqrt((1 / 5 - 1 / 9) / c.size)


def test_the_lepton_flies_against_the_spin() -> None:
    # Michel spectrum: <cos> = -P / 9, <x> = 7 / 10; the mass of the muon moves them a little
    v = packaged_pool().leptonic.visible
    cosine = v[:, 2] / np.linalg.norm(v[:, :3], axis=1)
    assert abs(cosine.mean() + 1 / 9) < 3 * np.sqrt(1 / 3 / len(v)) + 0.002  # 0.002: mass of the muon
    x = 2 * v[:, 3] / TAU_MASS
    assert x.mean() == pytest.approx(7 / 10, abs=0.006)


def test_pions_have_the_momentum_of_two_body_decays() -> None:
    decays = packaged_pool().hadronic
    first = decays.offsets[:-1]
    alone = (np.diff(decays.offsets) == 1) & (np.abs(decays.code[first]) == 211)
    p = np.linalg.norm(decays.momenta[first[alone], :3], axis=1)
    assert p == pytest.approx((TAU_MASS**2 - 0.13957**2) / (2 * TAU_MASS), abs=2e-4)


def test_fraction_of_decays_with_one_charged_particle() -> None:
    # PDG: 0.4947 one prong without leptons, 0.1520 three prongs
    decays = packaged_pool().hadronic
    owner = np.repeat(np.arange(decays.size), np.diff(decays.offsets))
    charged = np.bincount(owner, np.isin(np.abs(decays.code), (11, 13, 211, 321)), minlength=decays.size)
    # Dalitz pairs and kaons that decay to pions move a few per cent
    assert np.mean(charged == 1) == pytest.approx(0.4947 / (0.4947 + 0.1520), abs=0.03)


@settings(deadline=None)
@given(
    st.floats(1.0, 500.0), st.floats(-3, 3), st.floats(-3.1, 3.1), st.sampled_from([-1.0, 1.0]), st.floats(0, 6.28),
    st.integers(0, 5000),
)  # fmt: skip
def test_turn_and_boost_keep_masses(pt: float, eta: float, phi: float, sign: float, turn: float, k: int) -> None:
    p = np.array([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), 0.0])
    p[3] = np.sqrt((p[:3] ** 2).sum() + TAU_MASS**2)
    v = packaged_pool().hadronic.visible[k]
    px, py, pz, e = to_laboratory(*v, p, sign, turn)
    mass2 = v[3] ** 2 - (v[:3] ** 2).sum()
    assert e**2 - px**2 - py**2 - pz**2 == pytest.approx(mass2, abs=1e-6 * e**2)
    # E* = p tau . p product / m_tau, and the part along the spin
    dot = p[3] * e - p[0] * px - p[1] * py - p[2] * pz
    assert dot / TAU_MASS == pytest.approx(v[3], rel=1e-5, abs=1e-7 * p[3] * e)
    along = (p[:3] @ np.array([px, py, pz])) / np.linalg.norm(p[:3])
    gamma, boost = p[3] / TAU_MASS, np.linalg.norm(p[:3]) / TAU_MASS
    assert along == pytest.approx(gamma * sign * v[2] + boost * v[3], rel=1e-6, abs=1e-6 * p[3])


def test_products_add_up_to_what_the_pool_says() -> None:
    pool = packaged_pool().hadronic
    which = np.arange(500)
    tau = np.tile([30.0, -20.0, 15.0, np.sqrt(900 + 400 + 225 + TAU_MASS**2)], (500, 1))
    sign, phi = np.where(which % 2, 1.0, -1.0), np.linspace(0, 6, 500)
    owner, code, four = products(pool, tau, np.full(500, -15, np.int32), sign, phi, which, np.random.default_rng(1))
    summed = np.column_stack([np.bincount(owner, four[:, c]) for c in range(4)])
    wanted = [to_laboratory(*pool.visible[k], tau[k], sign[k], phi[k]) for k in which]
    assert summed == pytest.approx(np.array(wanted), rel=1e-6, abs=1e-6)
    assert 111 not in code
    charge = np.where(np.isin(np.abs(code), (211, 321)), np.sign(code), 0) - np.where(
        np.isin(np.abs(code), (11, 13)), np.sign(code), 0
    )
    assert set(np.bincount(owner, charge)) == {1.0}  # of a tau+
    photons = np.flatnonzero((code[:-1] == 22) & (code[1:] == 22) & (owner[:-1] == owner[1:]))
    pairs = four[photons] + four[photons + 1]
    masses = np.sqrt(np.maximum(pairs[:, 3] ** 2 - (pairs[:, :3] ** 2).sum(axis=1), 0))
    assert np.mean(np.abs(masses - 0.135) < 1e-3) > 0.5


def pairs_of(same: bool, n: int) -> Any:
    """Pool signs of both taus of central back-to-back pairs."""
    e = 50.0
    p = np.sqrt(e**2 - TAU_MASS**2)
    taus = np.array([[p, 0.0, 0.0, e], [-p, 0.0, 0.0, e]])
    rng = np.random.default_rng(3)
    made = [
        choose(taus, np.array([-1.0, 1.0]), packaged_pool(), ALL, rng, right=0.5, same=same, draws=1, accept=EVERYTHING)
        for _ in range(n)
    ]
    return np.array([choice.sign for choice in made if choice is not None])


def test_energies_are_shared_alike_in_z_and_against_one_another_in_h() -> None:
    # both to pi nu: x = (1 + cos) / 2, cov(x1, x2) = 1 / 36 (Z: opposite helicities) or -1 / 36 (H: equal ones)
    c = cosines(packaged_pool().hadronic)
    n = 4000
    error = np.sqrt(1 / 144 / n)
    rng = np.random.default_rng(5)
    for same, wanted in ((False, 1 / 36), (True, -1 / 36)):
        signs = pairs_of(same, n)
        assert len(signs) == n
        x = (1 + signs * c[rng.integers(c.size, size=(n, 2))]) / 2
        assert np.cov(x.T)[0, 1] == pytest.approx(wanted, abs=4 * error)


@pytest.mark.slow
def test_pythias_own_correlated_decays_have_the_same_signs() -> None:
    pythia8mc = pytest.importorskip("pythia8mc")
    n = 250
    for lines, wanted in (
        (["WeakSingleBoson:ffbar2gmZ = on", "WeakZ0:gmZmode = 2", "23:onMode = off", "23:onIfMatch = 15 15"], 1 / 36),
        (["HiggsSM:gg2H = on", "25:onMode = off", "25:onIfMatch = 15 15"], -1 / 36),
    ):
        pythia = pythia8mc.Pythia("", False)
        for line in (*lines, "Beams:eCM = 13000.", "Print:quiet = on", "PartonLevel:MPI = off", "PartonLevel:ISR = off",
                     "HadronLevel:Hadronize = off", "15:onMode = off", "15:onIfMatch = 16 211", "Random:setSeed = on",
                     "Random:seed = 4", "PartonLevel:FSR = off", "Check:event = off"):  # fmt: skip
            assert pythia.readString(line)
        assert pythia.init()
        x = []
        while len(x) < n:
            assert pythia.next()
            taus = [q for q in pythia.event if q.idAbs() == 15 and q.status() < 0]
            boson = next(q for q in pythia.event if q.id() in (23, 25) and q.status() == -62)
            row = []
            for tau in taus[-2:]:
                pion = next(pythia.event[i] for i in tau.daughterList() if pythia.event[i].idAbs() == 211)
                row.append((pion.p() * boson.p()) / (tau.p() * boson.p()))
            x.append(row)
        assert np.cov(np.array(x).T)[0, 1] == pytest.approx(wanted, abs=4 * np.sqrt(1 / 144 / n))
        assert np.sign(np.cov(np.array(x).T)[0, 1]) == np.sign(wanted)


def test_boosts_keep_invariants() -> None:
    from bumpfit.simulate.higgs_veto import moved

    old = np.array([10.0, -5.0, 200.0, np.sqrt(100 + 25 + 40000 + 91.0**2)])
    new = np.array([-40.0, 25.0, 180.0, np.sqrt(1600 + 625 + 32400 + 91.0**2)])
    p = np.array([[30.0, 12.0, 80.0, 0.0], [-20.0, -17.0, 120.0, 0.0]])
    p[:, 3] = np.sqrt((p[:, :3] ** 2).sum(axis=1) + TAU_MASS**2)
    after = moved(p, old, new)
    metric = np.array([-1.0, -1.0, -1.0, 1.0])
    assert (after**2 * metric).sum(axis=1) == pytest.approx(TAU_MASS**2, rel=1e-6)
    assert (after * new * metric).sum(axis=1) == pytest.approx((p * old * metric).sum(axis=1), rel=1e-9)
    assert moved(old[None, :], old, new)[0] == pytest.approx(new)


def sums(strata: Strata, draws: int, tries: int, seed: int) -> Any:
    """Mean weight a try, by bins of visible mass and by stratum-free quantities, with errors."""
    e = np.array([95.0, 70.0])
    direction = np.array([[0.9, 0.1, 0.3], [-0.7, 0.2, 0.5]])
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    p = np.sqrt(e**2 - TAU_MASS**2)
    taus = np.column_stack([direction * p[:, None], e])
    rng = np.random.default_rng(seed)
    edges = np.array([0.0, 50.0, 70.0, 90.0, 110.0, 1000.0])
    total, square, kept = np.zeros(5), np.zeros(5), 0
    for _ in range(tries):
        made = choose(
            taus, np.array([1.0, -1.0]), packaged_pool(), strata, rng, right=0.43, same=False, recoil=80.0, draws=draws
        )
        if made is not None:
            k = np.searchsorted(edges, made.mass, "right") - 1
            total[k] += made.weight
            square[k] += made.weight**2
            kept += 1
    return total / tries, np.sqrt(square) / tries, kept


def test_strata_change_no_mean() -> None:
    # plain decays: one pair, weight 1 or 0
    plain, plain_error, _ = sums(dataclasses.replace(ONE, level=1.0), 1, 30_000, 1)
    assert plain.sum() > 0.1
    for level in (3.0, 60.0):
        strata = dataclasses.replace(LIKE_SIGNAL, level=level)
        mean, error, kept = sums(strata, 16, 6_000, 2)
        assert kept > 500
        assert np.all(np.abs(mean - plain) < 4 * np.hypot(error, plain_error) + 1e-9)


def test_pools_are_made_the_same_for_a_seed(tmp_path: Path) -> None:
    pytest.importorskip("pythia8mc")
    a, b, c = tmp_path / "a.npz", tmp_path / "b.npz", tmp_path / "c.npz"
    one = make_pool(a, 30, 20, seed=4)
    make_pool(b, 30, 20, seed=4)
    other = make_pool(c, 30, 20, seed=5)
    assert a.read_bytes() == b.read_bytes()
    assert not np.array_equal(one.leptonic.momenta, other.leptonic.momenta)
    assert (one.leptonic.size, one.hadronic.size) == (30, 20)
    assert set(np.abs(one.leptonic.code)) <= {11, 13, 22}
    with pytest.raises(InputError, match="expected 1 or more"):
        make_pool(a, 0, 3)


def test_what_is_no_pool_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(b"not a pool")
    with pytest.raises(InputError, match="no pool of tau decays"):
        read_pool(path)
    np.savez(path, leptonic_counts=np.array([object()]))
    with pytest.raises(InputError, match="no pool of tau decays"):
        read_pool(path)
    with pytest.raises(InputError, match="no file"):
        read_pool(tmp_path / "absent.npz")


def test_the_packaged_pool_is_small() -> None:
    import bumpfit.data

    folder = Path(next(iter(bumpfit.data.__path__)))
    assert (folder / "tau_decays.npz").stat().st_size < 2_000_000
    assert pytest.approx(0.1782 + 0.1739, abs=0.001) == LEPTONIC_FRACTION
