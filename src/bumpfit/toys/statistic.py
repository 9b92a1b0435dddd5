"""Test statistics of a signal strength, from the minima of -ln L with the strength free and fixed.

Cowan, Cranmer, Gross and Vitells, Eur. Phys. J. C 71 (2011) 1554: q0 (eq. 12), q_mu (eq. 14), q~_mu (eq. 16), t_mu
(eq. 8) and t~_mu (eq. 11, the ordering of Feldman and Cousins).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bumpfit.compiled import record
from bumpfit.errors import InputError

Floats = NDArray[np.float64]
Name = Literal["q0", "qmu", "qtilde", "tmu", "ttilde"]

NAMES: tuple[Name, ...] = ("q0", "qmu", "qtilde", "tmu", "ttilde")
ALIASES: dict[str, Name] = {
    "q_0": "q0",
    "q": "qmu",
    "q_mu": "qmu",
    "q~": "qtilde",
    "q~_mu": "qtilde",
    "qtilde_mu": "qtilde",
    "t": "tmu",
    "t_mu": "tmu",
    "t~": "ttilde",
    "t~_mu": "ttilde",
    "ttilde_mu": "ttilde",
}


@record
class Plan(NamedTuple):
    """The two fits that a statistic needs of a toy."""

    mu: float  # strength under test
    low: float  # range of the free fit
    high: float
    positive: bool  # the free fit matters only where the best strength is above zero (q0, q~, t~)
    conditional: bool  # a fit at mu is needed beside the one at zero


def canonical(name: str) -> Name:
    """The name of a statistic from the ways it is written; raises InputError for an unknown one."""
    found = ALIASES.get(name.lower(), name.lower())
    for known in NAMES:
        if found == known:
            return known
    raise InputError(f"unknown test statistic '{name}'; known are {', '.join(NAMES)}")


def plan(name: Name, mu: float, bounds: tuple[float, float]) -> Plan:
    """Fits for a statistic that tests strength mu in a model where it ranges over `bounds`, taken as far as mu.

    q0, q~ and t~ compare with strengths from 0 on, whatever the lower end (as `inference.discovery` and `limit`).
    Raises InputError when the statistic and the strength or the range do not go together.
    """
    if not np.isfinite(mu):
        raise InputError(f"the strength under test must be a finite number, got {mu}")
    low, high = min(float(bounds[0]), float(mu)), max(float(bounds[1]), float(mu))
    if name == "q0" and mu != 0:
        raise InputError(f"q0 tests strength 0, not {mu}; take qmu, qtilde, tmu or ttilde to test other strengths")
    if name in ("q0", "qtilde", "ttilde"):
        if high <= 0:
            raise InputError(f"{name} needs a strength that can be positive; its range is [{bounds[0]}, {bounds[1]}]")
        if name != "q0" and mu < 0:
            raise InputError(f"{name} tests strengths from 0 on, got {mu}")
        return Plan(float(mu), 0.0, high, True, bool(mu != 0))
    return Plan(float(mu), low, high, False, bool(mu != 0))


def evaluate(name: Name, mu: float, free: Floats, fixed: Floats, best: Floats) -> Floats:
    """The statistic from minima of -ln L (free, fixed at mu) and the best strength, any shape."""
    value = np.maximum(2.0 * (fixed - free), 0.0)
    if name == "q0":
        return np.where(best > 0, value, 0.0)
    if name in ("qmu", "qtilde"):
        return np.where(best <= mu, value, 0.0)
    return value
