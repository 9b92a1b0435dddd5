"""The extended likelihood of single events and counted regions: values, fits, profile curves, information.

The compiled part is in `unbinned_kernel`.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.higgsml import unbinned_kernel as kernel
from bumpfit.higgsml.likelihood import Model
from bumpfit.higgsml.likelihood_kernel import CONVERGED
from bumpfit.higgsml.nuisances import NAMES, PRIORS
from bumpfit.higgsml.surrogate import EDGE, REACH, TOP

Floats = NDArray[np.float64]
SCALES = ("ttbar_scale", "diboson_scale", "bkg_scale")


def ranges() -> tuple[Floats, Floats]:
    """The range of each nuisance in a fit, in standard deviations: `REACH`, inside the clips of the prior."""
    low, high = np.full(6, -REACH), np.full(6, REACH)
    for place, name in enumerate(NAMES):
        prior = PRIORS[name]
        if name in SCALES:
            low[place], high[place] = max(-REACH, prior.standard(prior.low)), min(REACH, prior.standard(prior.high))
    high[NAMES.index("soft_met")] = math.log(PRIORS["soft_met"].high)
    # a scale of 0 has no logarithmic derivative
    low[NAMES.index("diboson_scale")] += 1e-6
    return low, high


@dataclasses.dataclass(frozen=True, eq=False)
class Events:
    """What the likelihood needs of events: posteriors g (N, 4), coefficients c (N, 4, 9), multiplicities n (N,)."""

    g: Floats
    c: NDArray[np.float32]
    n: Floats


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """Best parameters (mu, theta), F there and at the best mu >= 0, and whether all minimisations converged."""

    best: Floats
    least: float
    bounded: float
    valid: bool


class Likelihood:
    """The likelihood of one data set; F is half of -2 ln L up to a constant.

    Args:
        events: single events.
        surface: integrals of their densities, see `surrogate.surface`.
        regions: counted regions as a binned model (its yields and responses are used).
        counts: events in them.
    """

    names = ("mu", *NAMES)

    def __init__(self, events: Events, surface: Floats, regions: Model | None, counts: ArrayLike) -> None:
        n = np.asarray(counts, dtype=np.float64)
        low, high = ranges()
        yields = np.empty((0, 4)) if regions is None else regions.arrays.yields
        response = np.empty((0, 4, 9)) if regions is None else regions.arrays.response
        times = np.concatenate([events.n, n])
        coefficients = np.concatenate([events.c, response], dtype=np.float32, casting="same_kind")
        rows = kernel.blocks(np.concatenate([events.g, yields]), coefficients, times)
        counted = np.zeros(rows[2].size)
        counted[len(events.n) : len(times)] = 1.0
        self.arrays = kernel.Arrays(
            *rows, counted.reshape(rows[2].shape), surface, REACH, TOP, EDGE,
            np.array([PRIORS[name].sigma for name in SCALES]), low, high,
        )  # fmt: skip

    def value(self, x: ArrayLike) -> tuple[float, Floats, Floats]:
        """F at x = (mu, theta), its gradient (7,) and curvature (7, 7)."""
        g, h = np.empty(7), np.empty((7, 7))
        f = kernel.value(self.arrays, np.array(x, dtype=np.float64), g, h)
        return float(f), g, np.tril(h) + np.tril(h, -1).T

    def _frozen(self, frozen: tuple[str, ...]) -> NDArray[np.bool_]:
        return np.array([name in frozen for name in self.names])

    def fit(self, frozen: tuple[str, ...] = (), start: ArrayLike | None = None) -> Fit:
        """The free fit; `frozen` parameters stay at `start` (default: mu = 1 and no shifts)."""
        x = np.array([1.0, *np.zeros(6)]) if start is None else np.array(start, dtype=np.float64)
        f, status = kernel.best(self.arrays, x, self._frozen(frozen))
        bounded = f if x[0] >= 0.0 else float(self.curve(x, np.zeros(1), frozen)[0])
        return Fit(x, float(f), bounded, status == CONVERGED and math.isfinite(bounded))

    def curve(self, best: Floats, mus: Floats, frozen: tuple[str, ...] = ()) -> Floats:
        """F at ascending mu (K,), nuisances profiled from the best fit outwards; NaN where that fails."""
        out = np.empty(len(mus))
        kernel.curve(self.arrays, np.array(best), self._frozen(frozen), np.asarray(mus, dtype=np.float64), out)
        return out
