"""Templates: expected events in bins x processes at points of the nuisances, and log-quadratic responses through them.

The same simulated events are biased exactly at every point, so that differences between points have little noise. The
soft missing momentum is averaged over several draws of its noise, the same draws at all points. The response of a bin
and process is ln(y(nu) / y(0)) = a . (t, j, u, tt, jj, uu, tj, tu, ju), t and j in standard deviations, u = soft_met^2
(it is even in soft_met), fitted by least squares with the expected events as weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.higgsml.bias import NO_NOISE, biased
from bumpfit.higgsml.columns import PROCESS, PROCESSES, WEIGHTS, matrix, process_index
from bumpfit.higgsml.nuisances import PRIORS
from bumpfit.progress import bar

Floats = NDArray[np.float64]
Binning = Callable[[NDArray[np.float32]], NDArray[np.int64]]
"""Bins of events (28, N), shape (N,)."""
SHIFTS = (-3.0, -1.5, 0.0, 1.5, 3.0)
"""Points of tes and jes in standard deviations, all pairs of them."""
SOFT = (1.0, 2.0, 5.0)
"""Points of soft_met in GeV, each without shifts and with one of two standard deviations."""
SOFT_SHIFTS = ((0.0, 0.0), (2.0, 0.0), (-2.0, 0.0), (0.0, 2.0), (0.0, -2.0))
ENOUGH = 25.0
"""Effective simulated events that a response of its own needs; a poorer bin has that of its process in all bins."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Simulated events as arrays: primary quantities (16, N), weights and processes (N,), and draws of unit noise."""

    primary: NDArray[np.float32]
    weights: Floats
    process: NDArray[np.int8]
    noise: Floats

    @classmethod
    def of(cls, table: pd.DataFrame, draws: int, seed: int) -> Sample:
        """From a table of weighted, labelled events."""
        unit = np.random.default_rng([seed, 1]).standard_normal((draws, 2, len(table)))
        weights = table[WEIGHTS].to_numpy(np.float64)
        return cls(matrix(table), weights, process_index(table[PROCESS]), unit)

    def at(self, t: float, j: float, soft_met: float) -> Any:
        """Biased events, weights and processes at a point, one a draw of the noise (one without noise)."""
        tes, jes = 1.0 + PRIORS["tes"].sigma * t, 1.0 + PRIORS["jes"].sigma * j
        draws = self.noise if soft_met > 0 else [NO_NOISE]
        for unit in draws:
            found = biased(self.primary, tes, jes, soft_met * unit)
            yield found.features, self.weights[found.rows] / len(draws), self.process[found.rows]


def points() -> list[tuple[float, float, float]]:
    """All points (t, j, soft_met), the nominal one first."""
    plain = [(t, j, 0.0) for t in SHIFTS for j in SHIFTS if (t, j) != (0.0, 0.0)]
    return [(0.0, 0.0, 0.0), *plain, *((t, j, s) for s in SOFT for t, j in SOFT_SHIFTS)]


def yields(sample: Sample, binning: Binning, bins: int, at: tuple[float, float, float]) -> tuple[Floats, Floats]:
    """Expected events (bins, processes) at a point, and the sums of their squared weights."""
    total, squares = np.zeros((2, bins * len(PROCESSES)))
    for features, weights, process in sample.at(*at):
        place = binning(features) * len(PROCESSES) + process
        total += np.bincount(place, weights, minlength=len(total))
        squares += np.bincount(place, weights**2, minlength=len(total))
    shape = (bins, len(PROCESSES))
    return total.reshape(shape), squares.reshape(shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Templates:
    """Expected events `values` (M, bins, processes) at M points, and the effective events of the nominal point."""

    at: tuple[tuple[float, float, float], ...]
    values: Floats
    effective: Floats

    def merged(self, place: NDArray[np.int64], bins: int) -> Templates:
        """Templates of bins that are unions of these, `place` says which."""
        values = np.zeros((len(self.at), bins, self.values.shape[2]))
        for i, row in enumerate(self.values):
            np.add.at(values[i], place, row)
        nominal = self.values[0]
        squares = np.zeros(values.shape[1:])
        own = np.divide(nominal**2, self.effective, out=np.zeros_like(nominal), where=self.effective > 0)
        np.add.at(squares, place, own)
        effective = np.divide(values[0] ** 2, squares, out=np.zeros_like(squares), where=squares > 0)
        return Templates(self.at, values, effective)


def measure_templates(sample: Sample, binning: Binning, bins: int) -> Templates:
    """Yields at all `points`."""
    places = points()
    with bar("templates", len(places)) as advance:
        found = []
        for at in places:
            found.append(yields(sample, binning, bins, at))
            advance()
    nominal, squares = found[0]
    effective = np.divide(nominal**2, squares, out=np.zeros_like(nominal), where=squares > 0)
    return Templates(tuple(places), np.array([values for values, _ in found]), effective)


def monomials(t: Floats, j: Floats, u: Floats) -> Floats:
    """The nine terms, shape (M, 9)."""
    return np.stack([t, j, u, t * t, j * j, u * u, t * j, t * u, j * u], axis=-1)


def responses(templates: Templates) -> tuple[Floats, float]:
    """Coefficients (bins, processes, 9), and the largest deviation of the fit in units of the Poisson error of a bin.

    The deviation is that of the total expectation of a bin (mu = 1) at any of the points.
    """
    at = np.array(templates.at)
    terms = monomials(at[:, 0], at[:, 1], at[:, 2] ** 2)
    values, nominal = templates.values, templates.values[0]
    together = _fit(terms, values.sum(axis=1))
    own = _fit(terms, values.reshape(len(at), -1)).reshape(*nominal.shape, 9)
    good = (templates.effective >= ENOUGH) & (values > 0).all(axis=0)
    result = np.where(good[:, :, None], own, together[None])
    model = (nominal * np.exp(np.einsum("mk,bpk->mbp", terms, result))).sum(axis=2)
    total = values.sum(axis=2)
    worst = np.abs(model - total) / np.sqrt(np.maximum(total, 1.0))
    return result, float(worst.max())


def _fit(terms: Floats, values: Floats) -> Floats:
    """Least squares of ln(values / values[0]) on the terms, shape (columns, 9); 0 where values are not all positive."""
    result = np.zeros((values.shape[1], terms.shape[1]))
    for column in range(values.shape[1]):
        y = values[:, column]
        if (y <= 0).any():
            continue
        root = np.sqrt(y / y[0])
        result[column] = np.linalg.lstsq(terms * root[:, None], np.log(y / y[0]) * root, rcond=None)[0]
    return result
