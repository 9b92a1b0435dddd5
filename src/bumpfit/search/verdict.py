"""What a search says, by rules fixed beforehand: a new resonance, a difference of another kind, or nothing."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bumpfit.events.tables import Events
from bumpfit.search.findings import Check, Description, Particle, SignalEvents, Value, Verdict
from bumpfit.search.peaks import unordered
from bumpfit.search.two_sample import TwoSampleTest
from bumpfit.search.windows import Window


def decide(z_global: float, claim_z: float, checks: Iterable[Check]) -> Verdict:
    """A resonance from `claim_z` on, or a difference where a decisive check fails; below it nothing, or a difference
    where the tables differ by themselves that clearly (a decisive check of their equality fails).
    """
    failed = [c for c in checks if c.decisive and c.passed is False]
    if z_global >= claim_z:
        return "difference" if failed else "resonance"
    return "difference" if any(c.kind == "equality" for c in failed) else "nothing"


def particle(
    test: TwoSampleTest,
    windows: tuple[Window, ...],
    data: Events,
    description: Description | None,
    signal: SignalEvents,
    upper_95: float,
) -> Particle:
    """The resonance that a test found, with the masses of its description."""
    window = windows[test.overall.window]
    resonance, daughters = masses(description)
    return Particle(
        p_local=test.overall.p_local,
        z_local=max(test.overall.z_local),
        p_global=test.overall.p,
        z_global=test.overall.z,
        low=max(window.low, float(data.mass.min())),
        high=min(window.high, float(np.nextafter(data.mass.max(), np.inf))),
        resonance=resonance,
        daughters=daughters,
        signal=signal,
        upper_95=upper_95,
        description=description,
        trials=test.overall.trials,
        draws=test.overall.draws,
        error=test.overall.error,
    )


def masses(description: Description | None) -> tuple[Value | None, tuple[Value, ...]]:
    """Masses of resonance and daughters, the lighter first."""
    if description is None:
        return None, ()
    resonance, *peaks = description.ordered
    daughters = tuple(Value(mass, peak.error) for mass, peak in zip(unordered(*peaks), peaks, strict=True))
    return Value(resonance.mass, resonance.error), daughters
