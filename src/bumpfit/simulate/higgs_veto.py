"""The hook in Pythia of the HiggsML processes: tries are counted, taus get their decays, hopeless events end early.

Multi-parton interactions cost 10 ms an event, everything before them 0.5 ms. ztautau and htautau are decided when the
showers have come down to 5 GeV. The resonance is still whole in Pythia's record there; its decay, chosen before, is
boosted with it, as Pythia will do. ttbar and diboson are decided on the hard process, where their W and Z have decayed.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import njit
from bumpfit.errors import MissingExtraError
from bumpfit.simulate.tau_decays import LEPTONIC_FRACTION, Pool, to_laboratory
from bumpfit.simulate.tau_pairs import LIKE_SIGNAL, ONE, Strata, choose

Array = NDArray[np.float64]
SCALE = 5.0
"""pT in GeV at which showers are looked at."""
RIGHT = {23: 0.43, 25: 0.5}
"""Probability that a tau- of a Z or H has helicity +1 (Z: (1 + P) / 2 with P = -0.147, LEP, hep-ex/0509008)."""
WITHOUT_TAU = 5
"""Of events without a hard hadronic tau one in so many is kept, with this weight; the selection has a larger
tag probability for them, so that their rows weigh about as much as the others."""
LOOSE_LEPTON, LOOSE_TAU, LOOSE_ETA = 12.0, 10.0, 3.2
"""Least visible pT (GeV) and largest |eta| in the hard process of ttbar and diboson, before any recoil."""
PARTON_PT, PARTON_MASS = 20.0, 250.0
"""Two partons above the first with a mass above the second (GeV) make an event forward-like."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What was decided on an event: number of the try (from 0), weight, stratum, and for each tau of the hard process
    its PDG code, whether its decay is leptonic, the number of the decay, sign and turn.
    """

    number: int
    weight: float
    stratum: int
    taus: tuple[tuple[int, bool, int, float, float], ...]


def hook(process: str, pool: Pool) -> Any:
    """A hook for a process; `tried` counts hard processes, `plans` holds the plans by `key(event)`.

    `start(rng)` begins a chunk, `clear()` forgets the plans.

    Raises:
        MissingExtraError: Pythia is not installed.
    """
    try:
        import pythia8mc
    except ModuleNotFoundError as error:
        raise MissingExtraError("pythia8mc", "simulate", "generating events") from error
    resonance = {"ztautau": 23, "htautau": 25}.get(process, 0)

    class Hook(pythia8mc.UserHooks):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.tried = 0
            self.plans: dict[tuple[float, float], Plan] = {}
            self.rng = np.random.default_rng(0)
            self.pair: Any = None
            self.key = (0.0, 0.0)

        def start(self, rng: np.random.Generator) -> None:
            self.rng, self.tried = rng, 0
            self.plans.clear()

        def canVetoProcessLevel(self) -> bool:  # noqa: N802
            return True

        def doVetoProcessLevel(self, event: Any) -> bool:  # noqa: N802
            self.tried += 1
            self.key = (event[3].e(), event[4].e())
            if resonance:
                self.pair = tau_pair(event, resonance)
                return self.pair is None
            plan = hard_plan(event, self.tried - 1, pool, self.rng)
            if plan is not None:
                self.plans[self.key] = plan
            return plan is None

        def canVetoPT(self) -> bool:  # noqa: N802
            return bool(resonance)

        def scaleVetoPT(self) -> float:  # noqa: N802
            return SCALE

        def doVetoPT(self, position: int, event: Any) -> bool:  # noqa: N802
            if position >= 5:  # showers of the resonance
                return False
            plan = shower_plan(event, resonance, self.pair, self.tried - 1, pool, self.rng)
            if plan is not None:
                self.plans[self.key] = plan
            return plan is None

    return Hook()


def tau_pair(event: Any, resonance: int) -> tuple[Array, tuple[int, int], Array] | None:
    """Momentum of the resonance (4), codes of its taus, their momenta (2, 4); None where it has none."""
    taus = []
    mother = 0
    for i in range(5, event.size()):
        q = event[i]
        if q.idAbs() == 15 and q.status() > 0 and event[q.mother1()].idAbs() == resonance:
            taus.append(q)
            mother = q.mother1()
    if len(taus) < 2:
        return None
    momenta = np.array([[q.px(), q.py(), q.pz(), q.e()] for q in taus[:2]])
    m = event[mother]
    return np.array([m.px(), m.py(), m.pz(), m.e()]), (taus[0].id(), taus[1].id()), momenta


def shower_plan(
    event: Any, resonance: int, pair: Any, number: int, pool: Pool, rng: np.random.Generator
) -> Plan | None:
    """Plan of a ztautau or htautau event whose showers have come down to SCALE."""
    mother, codes, momenta = pair
    now = None
    for i in range(event.size() - 1, 4, -1):
        q = event[i]
        if q.id() == resonance and q.status() > 0:
            now = np.array([q.px(), q.py(), q.pz(), q.e()])
            break
    if now is None:
        return None
    recoil = math.hypot(now[0], now[1])
    strata: Strata = LIKE_SIGNAL if resonance == 23 else ONE
    forward = resonance == 23 and recoil > PARTON_PT and _distant_partons(event)
    made = choose(
        moved(momenta, mother, now), np.array([-1.0 if code > 0 else 1.0 for code in codes]), pool, strata, rng,
        right=RIGHT[resonance], same=resonance == 25, recoil=recoil, forward=forward,
    )  # fmt: skip
    if made is None:
        return None
    taus = zip(codes, made.leptonic, made.which, made.sign, made.phi, strict=True)
    return Plan(number, made.weight, made.stratum, tuple(taus))


def _distant_partons(event: Any) -> bool:
    hard = []
    for i in range(5, event.size()):
        q = event[i]
        if q.status() > 0 and (q.idAbs() <= 6 or q.idAbs() == 21):
            pt = q.pT()
            if pt > PARTON_PT and abs(q.pz()) < 60 * pt:
                hard.append((pt, q.px(), q.py(), q.pz(), q.e()))
    if len(hard) < 2:
        return False
    a, b = sorted(hard)[-2:]
    _, px, py, pz, e = (x + y for x, y in zip(a, b, strict=True))
    return bool(e * e - px * px - py * py - pz * pz > PARTON_MASS**2)


@njit()
def moved(momenta: Array, old: Array, new: Array) -> Array:  # pragma: no cover
    """Momenta (n, 4) boosted by pure boosts out of the rest frame of `old` into that of `new`: px, py, pz, E."""
    result = momenta.copy()
    for way, by in ((-1.0, old), (1.0, new)):
        bx, by_, bz = way * by[0] / by[3], way * by[1] / by[3], way * by[2] / by[3]
        gamma = 1 / math.sqrt(max(1e-12, 1 - bx * bx - by_ * by_ - bz * bz))
        for i in range(result.shape[0]):
            along = bx * result[i, 0] + by_ * result[i, 1] + bz * result[i, 2]
            factor = gamma * (gamma / (1 + gamma) * along + result[i, 3])
            result[i, 3] = gamma * (result[i, 3] + along)
            result[i, 0] += factor * bx
            result[i, 1] += factor * by_
            result[i, 2] += factor * bz
    return result


def hard_plan(event: Any, number: int, pool: Pool, rng: np.random.Generator) -> Plan | None:
    """Plan of a ttbar or diboson event by its hard process: a lepton is needed, and a hadronic tau or luck."""
    lepton = tau = False
    found = []
    helicity = 1.0 if rng.random() < RIGHT[23] else -1.0
    for i in range(5, event.size()):
        q = event[i]
        if q.status() <= 0 or q.idAbs() not in (11, 13, 15):
            continue
        p = (q.px(), q.py(), q.pz(), q.e())
        leptonic = True
        if q.idAbs() == 15:
            # of a W: left-handed tau-; of a Z: opposite helicities
            sign = helicity if event[q.mother1()].idAbs() == 23 else -1.0
            made = thrown(pool, sign, rng)
            leptonic = made[0]
            found.append((q.id(), *made))
            p = visible(pool, made, np.array(p))
        pt = math.hypot(p[0], p[1])
        within = abs(p[2]) < math.sinh(LOOSE_ETA) * pt
        lepton |= leptonic and within and pt > LOOSE_LEPTON
        tau |= not leptonic and within and pt > LOOSE_TAU
    if not lepton or (not tau and rng.random() * WITHOUT_TAU > 1):
        return None
    return Plan(number, 1.0 if tau else float(WITHOUT_TAU), 0 if tau else 1, tuple(found))


def thrown(pool: Pool, sign: float, rng: np.random.Generator) -> tuple[bool, int, float, float]:
    """A decay of any kind: leptonic, number in the pool, sign, turn."""
    u = rng.random(3)
    leptonic = bool(u[0] < LEPTONIC_FRACTION)
    decays = pool.leptonic if leptonic else pool.hadronic
    return leptonic, int(u[1] * decays.size), sign, 2 * math.pi * float(u[2])


def visible(pool: Pool, made: tuple[bool, int, float, float], tau: Array) -> tuple[float, float, float, float]:
    """Visible momentum of a decay in the laboratory: px, py, pz, E."""
    leptonic, which, sign, phi = made
    x, y, z, e = (pool.leptonic if leptonic else pool.hadronic).visible[which]
    px, py, pz, energy = to_laboratory(x, y, z, e, tau, sign, phi)
    return px, py, pz, energy
