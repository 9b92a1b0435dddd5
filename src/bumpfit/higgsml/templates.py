"""Templates: expected events in bins x processes at points of the nuisances, and log-quadratic responses through them.

The same simulated events are biased exactly at every point, so that differences between points have little noise. The
soft missing momentum is averaged over several draws of its noise, the same draws at all points. The response of a bin
and process is ln(y(nu) / y(0)) = a . (t, j, u, tt, jj, uu, tj, tu, ju), t and j in standard deviations, u = soft_met^2
(it is even in soft_met), fitted by least squares with the expected events as weights.

The error of the simulation: the generated events are dealt into groups, and the yields of each group are kept. The
effective simulated events of a bin say the error of its expectation; leaving out one group after the other says that of
its response (the jackknife), which is added at one standard deviation of each nuisance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.higgsml.bias import NO_NOISE, biased
from bumpfit.higgsml.columns import LUMINOSITY, PROCESS, PROCESSES, WEIGHTS, matrix, process_index
from bumpfit.higgsml.nuisances import PRIORS
from bumpfit.higgsml.split import groups
from bumpfit.progress import bar

Floats = NDArray[np.float64]
Binning = Callable[[NDArray[np.float32]], NDArray[np.int64]]
"""Bins of events (28, N), shape (N,)."""
SHIFTS = (-3.0, -1.5, 0.0, 1.5, 3.0)
"""Points of tes and jes in standard deviations, all pairs of them."""
GROUPS = 10
"""Groups of generated events of the jackknife."""
SOFT = (1.0, 2.0, 5.0)
"""Points of soft_met in GeV, each without shifts and with one of two standard deviations."""
SOFT_SHIFTS = ((0.0, 0.0), (2.0, 0.0), (-2.0, 0.0), (0.0, 2.0), (0.0, -2.0))
SHIFT = 0.25
"""Largest shift of mu_hat by imperfect responses, in sigma: its variance adds 6 %, which costs 1.5 % of coverage."""
ENOUGH = 25.0
"""Effective simulated events that a response of its own needs; a poorer bin has that of its process in all bins."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Simulated events as arrays: primary quantities (16, N); weights (expected events), processes and groups of the
    jackknife (N,); and draws of unit noise (draws, 2, N).
    """

    primary: NDArray[np.float32]
    weights: Floats
    process: NDArray[np.int8]
    noise: Floats
    group: NDArray[np.int64]

    @classmethod
    def of(cls, table: pd.DataFrame, draws: int, seed: int, luminosity: float = LUMINOSITY) -> Sample:
        """From a table of weighted, labelled events; weights are scaled to the luminosity (fb-1)."""
        unit = np.random.default_rng([seed, 1]).standard_normal((draws, 2, len(table)))
        weights = table[WEIGHTS].to_numpy(np.float64) * (luminosity / LUMINOSITY)
        return cls(matrix(table), weights, process_index(table[PROCESS]), unit, groups(table, GROUPS))

    def at(self, t: float, j: float, soft_met: float) -> Any:
        """Features, weights and rows of the biased events at a point, one a draw of the noise (one without noise)."""
        tes, jes = 1.0 + PRIORS["tes"].sigma * t, 1.0 + PRIORS["jes"].sigma * j
        draws = self.noise if soft_met > 0 else [NO_NOISE]
        for unit in draws:
            found = biased(self.primary, tes, jes, soft_met * unit)
            yield found.features, self.weights[found.rows] / len(draws), found.rows


def points() -> list[tuple[float, float, float]]:
    """All points (t, j, soft_met), the nominal one first."""
    plain = [(t, j, 0.0) for t in SHIFTS for j in SHIFTS if (t, j) != (0.0, 0.0)]
    return [(0.0, 0.0, 0.0), *plain, *((t, j, s) for s in SOFT for t, j in SOFT_SHIFTS)]


def yields(sample: Sample, binning: Binning, bins: int, at: tuple[float, float, float]) -> tuple[Floats, Floats]:
    """Expected events (groups, bins, processes) at a point, and the sums of their squared weights (bins, processes)."""
    size = bins * len(PROCESSES)
    total, squares = np.zeros(GROUPS * size), np.zeros(size)
    for features, weights, rows in sample.at(*at):
        place = binning(features) * len(PROCESSES) + sample.process[rows]
        total += np.bincount(sample.group[rows] * size + place, weights, minlength=len(total))
        squares += np.bincount(place, weights**2, minlength=size)
    return total.reshape(GROUPS, bins, len(PROCESSES)), squares.reshape(bins, len(PROCESSES))


@dataclasses.dataclass(frozen=True, eq=False)
class Templates:
    """Expected events `values` (M, bins, processes) at M points, and the effective events of the nominal point.

    `grouped` (groups, M, bins, processes) are the parts of `values` from the groups of generated events.
    """

    at: tuple[tuple[float, float, float], ...]
    values: Floats
    effective: Floats
    grouped: Floats | None = None

    def scaled(self, factor: float) -> Templates:
        """Templates of another luminosity; simulated events stay what they are."""
        grouped = None if self.grouped is None else factor * self.grouped
        return Templates(self.at, factor * self.values, self.effective, grouped)

    def merged(self, place: NDArray[np.int64], bins: int) -> Templates:
        """Templates of bins that are unions of these, `place` says which."""
        union = np.zeros((bins, len(place)))
        union[place, np.arange(len(place))] = 1.0
        values = union @ self.values
        nominal = self.values[0]
        own = np.divide(nominal**2, self.effective, out=np.zeros_like(nominal), where=self.effective > 0)
        effective = _ratio(values[0] ** 2, union @ own)
        return Templates(self.at, values, effective, None if self.grouped is None else union @ self.grouped)

    def simulated(self) -> Floats:
        """Effective simulated events of the bins (mu = 1) that stand for the error of their expectation and response.

        The relative variance of a bin is that of its nominal expectation plus, by the jackknife over the groups, those
        of its change by one standard deviation of tes, of jes, and by a soft_met of 2 GeV.
        """
        nominal = self.values[0].sum(axis=1)
        square = _ratio(self.values[0] ** 2, self.effective).sum(axis=1)
        relative = _ratio(square, nominal**2)
        if self.grouped is not None:
            relative = relative + self._response_variance()
        return _ratio(np.ones_like(relative), relative)

    def _response_variance(self) -> Floats:
        assert self.grouped is not None
        total = self.grouped.sum(axis=3)
        left = total.sum(axis=0) - total  # (groups, M, bins), each without one group
        log = np.log(np.maximum(left, 1e-300)) * (left > 0)
        place = {at: m for m, at in enumerate(self.at)}
        nominal = log[:, 0]
        changes = [(log[:, place[up]] - log[:, place[down]]) / (2.0 * SHIFTS[3]) for up, down in PAIRS]
        changes.append(log[:, place[(0.0, 0.0, SOFT[1])]] - nominal)
        known = (left > 0).all(axis=(0, 1))
        n = len(left)
        result = np.sum([(n - 1) * change.var(axis=0) for change in changes], axis=0)
        return np.where(known, result, 0.0)


PAIRS = (
    ((SHIFTS[3], 0.0, 0.0), (SHIFTS[1], 0.0, 0.0)),
    ((0.0, SHIFTS[3], 0.0), (0.0, SHIFTS[1], 0.0)),
)
"""Points whose difference is the response to tes and to jes."""


def _ratio(a: Floats, b: Floats) -> Floats:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


def measure_templates(sample: Sample, binning: Binning, bins: int) -> Templates:
    """Yields at all `points`."""
    places = points()
    with bar("templates", len(places)) as advance:
        found = []
        for at in places:
            found.append(yields(sample, binning, bins, at))
            advance()
    grouped = np.stack([values for values, _ in found], axis=1)
    values = grouped.sum(axis=0)
    return Templates(tuple(places), values, _ratio(values[0] ** 2, found[0][1]), grouped)


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
    total = values.sum(axis=2)
    return result, float((np.abs(missed(templates, result)) / np.sqrt(np.maximum(total, 1.0))).max())


def missed(templates: Templates, response: Floats) -> Floats:
    """By how much the expectations of the responses (mu = 1) miss the templates, (M, bins)."""
    at = np.array(templates.at)
    terms = monomials(at[:, 0], at[:, 1], at[:, 2] ** 2)
    model = (templates.values[0] * np.exp(np.einsum("mk,bpk->mbp", terms, response))).sum(axis=2)
    return np.asarray(templates.values.sum(axis=2) - model)


def response_shift(
    templates: Templates, response: Floats, slopes: Floats, variance: Floats, others: Floats | None = None
) -> float:
    """The shift of mu_hat by imperfect responses, in its standard deviations.

    Args:
        templates: the templates.
        response: coefficients of the responses, (bins, processes, 9).
        slopes: derivatives of the expectations in mu and the nuisances, (bins, 1 + K).
        variance: of the bins.
        others: information on mu and the nuisances of other data in the same measurement, (1 + K, 1 + K).

    Returns:
        The root of the mean square, to first order, over the points within 2 standard deviations of tes and jes,
        weighted by their prior.
    """
    weighted = slopes / np.maximum(variance, 1e-300)[:, None]
    covariance = covariance_of(slopes, variance, others)
    shifts = (missed(templates, response) @ weighted @ covariance)[:, 0] / np.sqrt(covariance[0, 0])
    return float(np.sqrt(np.average(shifts**2, weights=near_prior(templates.at))))


def near_prior(at: Sequence[tuple[float, float, float]]) -> Floats:
    """Weights of points (t, j, soft_met), (M,): the prior of tes and jes, within 2 standard deviations of both."""
    scales = np.array(at)[:, :2]
    return np.asarray(np.exp(-0.5 * (scales**2).sum(axis=1)) * (np.abs(scales).max(axis=1) <= 2.0))


def covariance_of(slopes: Floats, variance: Floats, others: Floats | None = None) -> Floats:
    """Covariance of mu and the nuisances (1 + K, 1 + K), of bins: arguments as of `response_shift`."""
    information = (slopes / np.maximum(variance, 1e-300)[:, None]).T @ slopes
    information += np.diag([0.0, *np.ones(slopes.shape[1] - 1)])
    return np.asarray(np.linalg.pinv(information if others is None else information + others, hermitian=True))


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
