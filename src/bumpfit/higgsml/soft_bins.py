"""Soft bins of a summary, and two calibrations in them: class posteriors and responses that give the right sums.

Networks are trained on the learners' events; their sums over the templates' events are off by the fluctuations of both
halves. Both calibrations are maximum-likelihood fits whose score equations are equalities of sums over the templates'
events in each soft bin: of the posteriors of a process with its own expected events, and of the reweighted nominal
events with those at the points of the nuisances. A soft bin is a tent over the knots of a region's summary; the tents
of an event sum to 1. Neighbours are one bin for a process that has too few simulated events in them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from bumpfit.higgsml.summary import weighted_quantile

Floats = NDArray[np.float64]
ROUNDS = 400
"""Most steps of the scaling of posteriors."""
CLOSE = 1e-7
"""Largest relative difference of sums that ends it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Tents:
    """Knots of the summary, ascending, one array a region."""

    knots: tuple[Floats, ...]

    @classmethod
    def of(cls, summary: Floats, region: NDArray[np.int64], weights: Floats, regions: int, number: int) -> Tents:
        """At most `number` knots in each region, with equal sums of the weights between them."""
        knots = []
        for place in range(regions):
            inside = region == place
            shares = (np.arange(number) + 0.5) / number
            found = [weighted_quantile(summary[inside], weights[inside], s) for s in shares] if inside.any() else [0.0]
            knots.append(np.unique(found))
        return cls(tuple(knots))

    @property
    def count(self) -> int:
        """Soft bins of all regions."""
        return sum(len(k) for k in self.knots)

    @property
    def owner(self) -> NDArray[np.int64]:
        """The region of each soft bin."""
        return np.repeat(np.arange(len(self.knots)), [len(k) for k in self.knots])

    def __call__(self, summary: Floats, region: NDArray[np.int64]) -> tuple[NDArray[np.int64], Floats]:
        """The two soft bins of each event, (N, 2), and its share in each, (N, 2)."""
        place, share = np.zeros((len(summary), 2), dtype=np.int64), np.zeros((len(summary), 2))
        start = 0
        for number, knots in enumerate(self.knots):
            inside = np.flatnonzero(region == number)
            at = np.interp(summary[inside], knots, np.arange(len(knots), dtype=np.float64))
            left = np.minimum(at.astype(np.int64), max(len(knots) - 2, 0))
            right = np.minimum(left + 1, len(knots) - 1)
            place[inside] = start + np.stack([left, right], axis=1)
            share[inside] = np.stack([1.0 - (at - left), at - left], axis=1)
            start += len(knots)
        return place, share

    def sums(self, place: NDArray[np.int64], share: Floats, values: Floats) -> Floats:
        """Sums of values (N,) in the soft bins."""
        return np.bincount(place.ravel(), (share * values[:, None]).ravel(), minlength=self.count).astype(np.float64)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of a file."""
        return {"knots": np.concatenate(self.knots), "knot_counts": np.array([len(k) for k in self.knots])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], regions: int) -> Tents:
        """Back from `arrays`; raises ValueError when they do not fit."""
        knots, counts = arrays["knots"].astype(np.float64), arrays["knot_counts"]
        if len(counts) != regions or (counts < 1).any() or counts.sum() != len(knots):
            raise ValueError("its soft bins do not fit together")
        parts = np.split(knots, np.cumsum(counts)[:-1])
        if any((np.diff(part) <= 0).any() for part in parts) or not np.isfinite(knots).all():
            raise ValueError("the knots of its soft bins do not ascend")
        return cls(tuple(parts))


def groups(tents: Tents, effective: Floats, enough: float) -> NDArray[np.int64]:
    """What is calibrated together, for one process: the first soft bin of the group of each soft bin, or -1.

    effective (H,): effective simulated events in the soft bins. Neighbours in a region are joined until a group has
    `enough`; a region with fewer has no calibration (-1).
    """
    result = np.full(tents.count, -1, dtype=np.int64)
    for region in range(len(tents.knots)):
        bins = np.flatnonzero(tents.owner == region)
        if effective[bins].sum() < enough:
            continue
        first, held = bins[0], 0.0
        for b in bins:
            if held >= enough and effective[b : bins[-1] + 1].sum() >= enough:
                first, held = b, 0.0
            result[b] = first
            held += effective[b]
    return result


def effective_events(tents: Tents, place: NDArray[np.int64], share: Floats, weights: Floats) -> Floats:
    """Effective simulated events in the soft bins."""
    total, squares = tents.sums(place, share, weights), tents.sums(place, share, weights**2)
    return np.divide(total**2, squares, out=np.zeros_like(total), where=squares > 0)


def scale_posteriors(
    tents: Tents, place: NDArray[np.int64], share: Floats, logits: Floats, process: NDArray[np.int8], weights: Floats,
    enough: float,
) -> Floats:  # fmt: skip
    """Shifts of the logits in the soft bins, (H, 4), so that posteriors sum to the expected events of each process.

    Generalised iterative scaling (Darroch and Ratcliff, Ann. Math. Stat. 43 (1972) 1470).
    """
    target, group = np.zeros((tents.count, 4)), np.zeros((tents.count, 4), dtype=np.int64)
    for p in range(4):
        own = process == p
        target[:, p] = tents.sums(place[own], share[own], weights[own])
        group[:, p] = groups(tents, effective_events(tents, place[own], share[own], weights[own]), enough)
    shift = np.zeros((tents.count, 4))
    for _ in range(ROUNDS):
        posterior = softmax(logits + (share[:, :, None] * shift[place]).sum(axis=1), axis=1)
        worst = 0.0
        for p in range(4):
            found = tents.sums(place, share, weights * posterior[:, p])
            for first in np.unique(group[:, p]):
                bins = group[:, p] == first
                if found[bins].sum() > 0 and target[bins, p].sum() > 0:
                    ratio = target[bins, p].sum() / found[bins].sum()
                    shift[bins, p] += np.log(ratio)
                    worst = max(worst, abs(ratio - 1.0))
        if worst < CLOSE:
            break
    return shift


def fit_response(
    tents: Tents, place: NDArray[np.int64], share: Floats, coefficients: Floats, weights: Floats, terms: Floats,
    wanted: Floats, enough: float,
) -> Floats:  # fmt: skip
    """Additions to the coefficients of one process in the soft bins, (H, 9), so that its sums follow the wanted ones.

    Args:
        tents: soft bins.
        place: of the nominal events of the process.
        share: of them.
        coefficients: of their responses, (N, 9).
        weights: their expected events.
        terms: of the points, (L, 9).
        wanted: expected events in the soft bins at the points, (L, H).
        enough: effective simulated events that a group of soft bins needs.

    The maximum of sum_l [sum_i w_i f_l(x_i at l) - sum_i w_i exp f_l(x_i)], f_l = c . m_l, by Newton steps.
    """
    size = 9
    group = groups(tents, effective_events(tents, place, share, weights), enough)
    scales = np.abs(terms).max(axis=0)
    m = terms / scales
    result = np.zeros((tents.count, size))
    for region in range(len(tents.knots)):
        firsts = np.unique(group[(tents.owner == region) & (group >= 0)])
        if not len(firsts):
            continue
        inside = np.flatnonzero(tents.owner[place[:, 0]] == region)
        number = np.searchsorted(firsts, group[place[inside]])
        h = np.zeros((len(inside), len(firsts)))
        for side in range(2):
            np.add.at(h, (np.arange(len(inside)), number[:, side]), share[inside, side])
        aim = np.stack([wanted[:, group == first].sum(axis=1) for first in firsts], axis=1)
        start = coefficients[inside] @ terms.T
        x = np.zeros((len(firsts), size))
        for _ in range(20):
            rates = weights[inside, None] * np.exp(np.clip(start + h @ x @ m.T, -20.0, 20.0))
            found = rates.T @ h
            slope = np.einsum("lk,lg->gk", m, aim - found)
            flat = _curvature(m, rates, h)
            ridge = 1e-9 * np.trace(flat) * np.eye(len(flat))
            step = np.linalg.solve(flat + ridge, slope.ravel()).reshape(x.shape)
            x += np.clip(step, -1.0, 1.0)
            if np.abs(step).max() < 1e-9:
                break
        for first, row in zip(firsts, x, strict=True):
            result[group == first] = row / scales
    return result


def _curvature(m: Floats, rates: Floats, h: Floats) -> Floats:
    """sum_il h_ig h_ir rates_il m_lk m_lq, (G K, G K): an event is in one group, or in two neighbours."""
    count, size = h.shape[1], m.shape[1]
    result = np.zeros((count, size, count, size))
    for g in range(count):
        for r in range(g, min(g + 2, count)):
            both = h[:, g] * h[:, r]
            rows = np.flatnonzero(both)
            block = m.T @ ((both[rows] @ rates[rows])[:, None] * m)
            result[g, :, r], result[r, :, g] = block, block.T
    return result.reshape(count * size, count * size)
