"""The second test of a search: m_JJ spectra of nested selections, and the smallest p-value over all of them."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from bumpfit.events.tables import Events
from bumpfit.normal import at_least, significance_of_log
from bumpfit.search.config import SearchConfig
from bumpfit.search.joint_spectra import joint_spectra
from bumpfit.search.spectrum import SpectrumTest, smooth_range, spectrum_test

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class SpectraTest:
    """The usable spectrum with the smallest local p-value, and the p-value over `usable` spectra and masses.

    It is a union bound, or, where data and background table are fitted together, had by `permutations` of the labels
    (`bound`: none of them reached the data, and it is an upper bound).
    """

    best: SpectrumTest
    usable: int
    p_global: float
    z_global: float
    permutations: int = 0
    bound: bool = False


def selected_spectra(
    data: Events,
    background: Events,
    survival: Array,
    ranks: tuple[Array, Array],
    config: SearchConfig,
    seed: int,
) -> tuple[SpectrumTest, ...]:
    """Spectra of the forward-tested events: all of them, and every selection from the loosest to the tightest.

    Where none has sidebands, data and background table are fitted together (`bumpfit.search.joint_spectra`); `ranks`
    are the `pooled_ranks` of data (N,) and background (M,).
    """
    span = smooth_range(background.mass, config.spectrum)
    tested = ~np.isnan(survival)
    results = [spectrum_test("no selection", data.mass[tested], 1.0, span, config.spectrum)]
    for efficiency in sorted(config.efficiencies, reverse=True):
        chosen = tested & (survival <= efficiency)
        results.append(
            spectrum_test(f"{efficiency:.2%} of background", data.mass[chosen], efficiency, span, config.spectrum)
        )
    if any(test.usable for test in results):
        return tuple(results)
    joint = joint_spectra((data.mass, background.mass), ranks, config.efficiencies, span, config.spectrum, seed=seed)
    return joint if any(test.usable for test in joint) else tuple(results)


def with_table(spectra: tuple[SpectrumTest, ...]) -> bool:
    """Whether the spectra have no sidebands and are fitted together with those of the background table."""
    return any(test.table is not None for test in spectra)


def combined(spectra: tuple[SpectrumTest, ...]) -> SpectraTest | None:
    """The second p-value of a search; None where no spectrum can be tested."""
    usable = [s for s in spectra if s.usable]
    if not usable:
        return None
    best = max(usable, key=lambda s: -np.inf if s.z_local is None else s.z_local)
    if best.permutations:
        assert best.p_global is not None and best.z_global is not None
        return SpectraTest(best, len(usable), best.p_global, best.z_global, best.permutations, best.bound)
    # through logarithms: the strongest peaks have p-values below all numbers
    one = -np.inf if best.z_local is None else float(log_ndtr(-best.z_local))
    log = min(0.0, one + float(np.log(len(usable) * (1 if best.masses is None else len(best.masses)))))
    return SpectraTest(best, len(usable), at_least(log), significance_of_log(log))
