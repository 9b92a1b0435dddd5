"""The second test of a search: m_JJ spectra of nested selections, and the smallest p-value over all of them."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from bumpfit.events.tables import Events
from bumpfit.search.config import SearchConfig
from bumpfit.search.spectrum import SpectrumTest, smooth_range, spectrum_test

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class SpectraTest:
    """The usable spectrum with the smallest local p-value, and the union bound over `usable` spectra and masses."""

    best: SpectrumTest
    usable: int
    p_global: float
    z_global: float


def selected_spectra(
    data: Events, background: Events, survival: Array, config: SearchConfig
) -> tuple[SpectrumTest, ...]:
    """Spectra of the forward-tested events: all of them, and every selection from the loosest to the tightest."""
    span = smooth_range(background.mass, config.spectrum)
    tested = ~np.isnan(survival)
    results = [spectrum_test("no selection", data.mass[tested], 1.0, span, config.spectrum)]
    for efficiency in sorted(config.efficiencies, reverse=True):
        chosen = tested & (survival <= efficiency)
        results.append(
            spectrum_test(f"{efficiency:.2%} of background", data.mass[chosen], efficiency, span, config.spectrum)
        )
    return tuple(results)


def combined(spectra: tuple[SpectrumTest, ...]) -> SpectraTest | None:
    """The second p-value of a search; None where no spectrum can be tested."""
    usable = [s for s in spectra if s.usable]
    if not usable:
        return None
    best = min(usable, key=lambda s: 1.0 if s.p_local is None else s.p_local)
    p = min(1.0, len(usable) * (1.0 if best.p_global is None else best.p_global))
    return SpectraTest(best, len(usable), p, float(norm.isf(p)))
