"""Which decays a pair of taus gets: many thrown, one kept by its importance, so that rows are made where they matter.

For every event K pairs of decays (one to a lepton, one to hadrons) are drawn from the pool. A pair outside the
acceptance has importance 0, one inside the s of its stratum. One pair is kept with a probability proportional to s, the
event with probability min(1, mean(s) / C), and its weight is max(C, mean(s)) / s. The expected sum of weights of any
kind of events is what plain decays would give: E[w f] = mean over pairs of f inside the acceptance (importance
resampling and Russian roulette, Booth & Hendricks, Nucl. Technol. 60 (1983) 90).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import njit
from bumpfit.simulate.tau_decays import Pool, to_laboratory

Array = NDArray[np.float64]
DRAWS = 7
"""Uniform numbers a pair: which tau is leptonic, helicity, two decays, two turns, one to spare for the choice."""


@dataclasses.dataclass(frozen=True)
class Acceptance:
    """What visible products at the veto scale must have to be worth an event (GeV): softer than the selection by what
    later recoil, underlying event and resolution can add.
    """

    lepton_pt: float = 18.5
    hadronic_pt: float = 15.0
    eta: float = 2.7


@dataclasses.dataclass(frozen=True, eq=False)
class Strata:
    """Importance s by visible mass and recoil (GeV, edges of the bins), and of events with two distant hard partons.

    `level` is C: a smaller one keeps more events a shower, with weights that spread more.
    """

    mass_edges: Array
    recoil_edges: Array
    importance: Array
    forward: float
    level: float

    @property
    def size(self) -> int:
        """Number of strata."""
        return self.importance.size + 1

    def to_dict(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "mass_edges": self.mass_edges.tolist(), "recoil_edges": self.recoil_edges.tolist(),
            "importance": self.importance.tolist(), "forward": self.forward, "level": self.level,
        }  # fmt: skip


ONE = Strata(np.zeros(0), np.zeros(0), np.ones((1, 1)), 1.0, 0.3)
"""No strata."""
LIKE_SIGNAL = Strata(
    np.array([60.0, 70.0, 80.0, 90.0, 100.0]),
    np.array([35.0, 70.0, 100.0, 150.0]),
    np.array(
        [
            [2.5, 5.0, 10.0, 14.0, 25.0],
            [3.0, 10.0, 20.0, 30.0, 50.0],
            [6.0, 20.0, 30.0, 50.0, 100.0],
            [14.0, 40.0, 70.0, 100.0, 200.0],
            [50.0, 100.0, 180.0, 200.0, 250.0],
            [100.0, 180.0, 220.0, 250.0, 250.0],
        ]
    ),
    100.0,
    14.0,
)
"""For ztautau: after 10^4 times the root mean square of the signal to background ratio in the stratum, as a pilot run
with a classifier gave it (weights inverse to it make the error of the measured signal least), but steeper at the upper
end, where templates are thinnest."""


@njit()
def _choose(
    taus: Array, charges: Array, right: float, same: bool, forward: bool, recoil: float, cuts: Any,
    mass_edges: Array, recoil_edges: Array, importance: Array, importance_forward: float,
    leptonic: Array, hadronic: Array, u: Array,
) -> Any:  # pragma: no cover  # fmt: skip
    """See `choose`; returns mean importance, chosen pair (-1: none), its stratum and importance, visible mass."""
    n = u.shape[0]
    total = 0.0
    chosen, stratum, s_chosen, mass_chosen = -1, 0, 0.0, 0.0
    lepton_pt, hadronic_pt, eta_max = cuts
    sinh_max = math.sinh(eta_max)
    column = np.searchsorted(recoil_edges, recoil)
    for k in range(n):
        first = 0 if u[k, 0] < 0.5 else 1
        helicity = 1.0 if u[k, 1] < right else -1.0  # of the tau-
        j = int(u[k, 2] * leptonic.shape[0])
        tau = taus[first]
        sign = _sign(helicity, charges[first], same)
        v = leptonic[j]
        a = to_laboratory(v[0], v[1], v[2], v[3], tau, sign, 2 * math.pi * u[k, 4])
        pt = math.hypot(a[0], a[1])
        if pt < lepton_pt or abs(a[2]) > sinh_max * pt:
            continue
        j = int(u[k, 3] * hadronic.shape[0])
        tau = taus[1 - first]
        sign = _sign(helicity, charges[1 - first], same)
        v = hadronic[j]
        b = to_laboratory(v[0], v[1], v[2], v[3], tau, sign, 2 * math.pi * u[k, 5])
        pt = math.hypot(b[0], b[1])
        if pt < hadronic_pt or abs(b[2]) > sinh_max * pt:
            continue
        square = (a[3] + b[3]) ** 2 - (a[0] + b[0]) ** 2 - (a[1] + b[1]) ** 2 - (a[2] + b[2]) ** 2
        mass = math.sqrt(max(square, 0.0))
        row = np.searchsorted(mass_edges, mass)
        s = importance[row, column]
        place = row * importance.shape[1] + column
        if forward and importance_forward > s:
            s, place = importance_forward, importance.size
        total += s
        # one of all so far, each with probability s / total
        if u[k, 6] * total < s:
            chosen, stratum, s_chosen, mass_chosen = k, place, s, mass
    return total / n, chosen, stratum, s_chosen, mass_chosen


@njit()
def _sign(helicity: float, charge: float, same: bool) -> float:  # pragma: no cover
    """Sign of the pool's decay: a tau+ of helicity h decays like a tau- of helicity -h."""
    if charge < 0:
        return helicity
    return -helicity if same else helicity


@dataclasses.dataclass(frozen=True)
class Choice:
    """Decays of a pair of taus. For tau 0 and tau 1: leptonic, number in the pool, sign, turn.

    weight: of the event; stratum; mass: visible, in GeV, at the veto scale.
    """

    leptonic: tuple[bool, bool]
    which: tuple[int, int]
    sign: tuple[float, float]
    phi: tuple[float, float]
    weight: float
    stratum: int
    mass: float


def choose(
    taus: Array, charges: Array, pool: Pool, strata: Strata, rng: np.random.Generator, *, right: float, same: bool,
    recoil: float = 0.0, forward: bool = False, draws: int = 64, accept: Acceptance = Acceptance(),
) -> Choice | None:  # fmt: skip
    """Decays for a pair of taus, or None where the event is given up.

    Args:
        taus: momenta (2, 4) in the laboratory; charges: -1 and 1 in any order.
        pool: decays; strata: importance; rng: of the choice.
        right: probability that the tau- has helicity +1.
        same: tau- and tau+ have the same helicity (a scalar) or opposite ones (a vector).
        recoil: transverse momentum of the pair in GeV; forward: two distant hard partons are there.
        draws: K, pairs of decays drawn.
        accept: cuts on the visible products.
    """
    u = rng.random((draws, DRAWS))
    mean, k, stratum, s, mass = _choose(
        taus, charges, right, same, forward, recoil, (accept.lepton_pt, accept.hadronic_pt, accept.eta),
        strata.mass_edges, strata.recoil_edges, strata.importance, strata.forward,
        pool.leptonic.visible, pool.hadronic.visible, u,
    )  # fmt: skip
    if k < 0 or rng.random() * strata.level > mean:
        return None
    helicity = 1.0 if u[k, 1] < right else -1.0
    leptonic = (bool(u[k, 0] < 0.5), not u[k, 0] < 0.5)
    places = (int(u[k, 2] * pool.leptonic.size), int(u[k, 3] * pool.hadronic.size))
    turns = (2 * math.pi * float(u[k, 4]), 2 * math.pi * float(u[k, 5]))
    signs = tuple(float(_sign(helicity, charge, same)) for charge in charges)
    which, phi = (places, turns) if leptonic[0] else (places[::-1], turns[::-1])
    return Choice(leptonic, which, (signs[0], signs[1]), phi, max(mean, strata.level) / s, int(stratum), float(mass))
