"""Tails of statistics whose labels data/background are exchangeable: saddle point, and tilted permutations.

Events lie in cells (tested block x mass interval). Without signal the labels of a cell are a random choice of its N
data events among its n events, whatever the classifiers of the past are. A statistic is a sum of fixed weights over the
data events, T_s = sum_i a_si L_i; several of them (mass windows, depths) are looked at together, and the smallest of
their p-values is the one that counts.

**Saddle point.** Given the cells, T_s is a sum over samples without replacement: independent labels with odds
exp(lambda_c + theta a_i), conditioned on the number of data events of each cell. Its tail is the double saddle point
approximation of Skovgaard (J. Appl. Probab. 24 (1987) 875), with the formula of Lugannani and Rice. It turns each T_s
into a number that can be compared with the others; no p-value that is reported rests on its accuracy.

**Tilted permutations.** The joint tail P(min_s p_s <= p_observed) is had by importance sampling. A draw chooses one
statistic s, gives the events of large weight independent labels with the odds above, at the theta that makes the
observed p_s typical, and deals the rest of each cell without replacement. The weight of a draw is the probability of
its labels under plain dealing divided by that under the mixture of all statistics (and plain dealing): an unbiased
estimate at any depth. The observed labels count as one more draw, with their own weight, so that the p-value is valid
for any number of draws (Harrison, Biometrika 99 (2012) 57).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, gammaln, log_ndtr, logit

from bumpfit.compiled import njit
from bumpfit.errors import InputError

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

DEEPEST = 700.0
"""-ln p to which saddle points are tabulated."""
GRID = 48
"""Tilts at which the upper tail is tabulated; a quarter as many serve the lower one, where no claim is."""
PLAIN_SHARE = 0.1
"""Share of draws without a tilt: it bounds every weight by ten, and serves p-values that are not small."""
NO_TILT = 0.02
"""ln of the odds ratio below which an event is dealt with the rest of its cell: the weights vary less."""
BATCH = 2000
"""Draws between two looks at whether the error is small enough."""
COUNTS = 4_000_000
"""Counts by statistic and cell of all draws of a batch, at most: they are kept in memory."""
PIECE = 400_000
"""Counts of the draws whose weights are computed at one time, which takes some twenty numbers a count."""


@dataclasses.dataclass(frozen=True, eq=False)
class Labelled:
    """Events of all cells with their labels, and the statistics.

    `cell` (n,): number of the cell of each event; `is_data` (n,): its label; `rows` and `values`: of each statistic the
    events with a weight, positions (k,) and weights (k,).

    Raises InputError for shapes that do not fit, events listed twice and weights that are not finite.
    """

    cell: Ints
    is_data: NDArray[np.bool_]
    rows: tuple[Ints, ...]
    values: tuple[Array, ...]

    def __post_init__(self) -> None:
        if not self.rows or len(self.rows) != len(self.values) or self.cell.shape != self.is_data.shape:
            raise InputError("a permutation test needs cells and labels of the same events, and at least one statistic")
        for rows, values in zip(self.rows, self.values, strict=True):
            if rows.shape != values.shape or len(np.unique(rows)) != len(rows) or not np.isfinite(values).all():
                raise InputError("a statistic needs one finite weight for each of its events, and each event once")

    def observed(self) -> Array:
        """The statistics of these labels, shape (S,)."""
        pairs = zip(self.rows, self.values, strict=True)
        return np.array([float(values[self.is_data[rows]].sum()) for rows, values in pairs])


@dataclasses.dataclass(frozen=True, eq=False)
class PermutationP:
    """p-value of the smallest of several p-values.

    `p` with its Monte Carlo `error` from `draws` permutations; `log_p` is ln p, which does not underflow; `smallest`
    is the number of the statistic that has the smallest p-value, `log_local` (S,) ln of each one's own (saddle point).
    """

    p: float
    error: float
    log_p: float
    draws: int
    smallest: int
    log_local: Array


class SaddlePoint:
    """The tail of one statistic: mean and tilted means, cumulants and ln p on a grid of tilts."""

    def __init__(self, events: Labelled, s: int) -> None:
        cells = int(events.cell.max()) + 1
        total = np.bincount(events.cell, minlength=cells)
        chosen = np.bincount(events.cell, weights=events.is_data, minlength=cells)
        rows = events.rows[s]
        cell = events.cell[rows]
        # cells without a weight, or with one label only, have one outcome
        here = (np.bincount(cell, minlength=cells) > 0) & (chosen > 0) & (chosen < total)
        number = np.cumsum(here) - 1
        mixed = here[cell]
        self.cell, self.value = number[cell[mixed]], events.values[s][mixed]
        fixed = events.values[s][~mixed]
        self.certain = float(fixed[chosen[cell[~mixed]] > 0].sum())
        self.cells = np.flatnonzero(here)
        self.total, self.chosen = total[here].astype(float), chosen[here].astype(float)
        self.rest = self.total - np.bincount(self.cell, minlength=len(self.cells))
        self._tabulate()

    def cell_tilts(self, theta: float, start: Array) -> Array:
        """The lambda of each cell at a tilt, shape (C,): the tilted labels of a cell sum to its data events."""
        shift = start.copy()
        for _ in range(100):
            p = expit(shift[self.cell] + theta * self.value)
            q = expit(shift)
            excess = np.bincount(self.cell, p, len(shift)) + self.rest * q - self.chosen
            slope = np.bincount(self.cell, p * (1 - p), len(shift)) + self.rest * q * (1 - q)
            step = np.clip(excess / slope, -2.0, 2.0)
            shift -= step
            if np.abs(excess).max() < 1e-9 * self.total.max():
                break
        return shift

    def _cumulants(self, theta: float, shift: Array) -> tuple[float, float, float, float]:
        """K, its slope in theta, the conditional variance of T, and the sum of the ln variances of the cells."""
        size = len(shift)
        exponent = shift[self.cell] + theta * self.value
        p, q = expit(exponent), expit(shift)
        k = np.logaddexp(0, exponent).sum() + (self.rest * np.logaddexp(0, shift) - self.chosen * shift).sum()
        variance = np.bincount(self.cell, p * (1 - p), size) + self.rest * q * (1 - q)
        mixed = np.bincount(self.cell, p * (1 - p) * self.value, size)
        spread = float((p * (1 - p) * self.value**2).sum() - (mixed**2 / variance).sum())
        return float(k), float((p * self.value).sum()), spread, float(np.log(variance).sum())

    def _tabulate(self) -> None:
        none = logit(self.chosen / self.total)
        k0, mean, variance, logs0 = self._cumulants(0.0, none) if len(none) else (0.0, 0.0, 0.0, 0.0)
        self.mean, self.sd = mean + self.certain, math.sqrt(max(variance, 0.0))
        if not self.sd > 1e-12 * (1 + abs(mean)):
            raise InputError("a statistic takes one value only, whatever the labels; leave it out")
        tilts: list[float] = []
        at: list[float] = []
        log_p: list[float] = []
        shifts: list[Array] = []
        largest = 60.0 / np.abs(self.value).max()
        for sign in (1.0, -1.0):
            shift = none
            for theta in sign * np.geomspace(
                min(0.02 / self.sd, largest / 2), largest, GRID if sign > 0 else GRID // 4
            ):
                shift = self.cell_tilts(theta, shift)
                k, t, spread, logs = self._cumulants(theta, shift)
                w2 = 2 * (theta * t - (k - k0))
                if not (spread > 0 and w2 > 0):
                    break
                w = sign * math.sqrt(w2)
                u = theta * math.sqrt(spread) * math.exp(0.5 * (logs - logs0))
                tail = _lugannani_rice(w, u)
                if not np.isfinite(tail) or (at and (t + self.certain - at[-1]) * sign <= 0):
                    break
                tilts.append(theta)
                at.append(t + self.certain)
                log_p.append(tail)
                shifts.append(shift)
                if tail < -DEEPEST or sign * w < -6:
                    break
        order = np.argsort(at)
        self.tilt, self.at = np.array(tilts)[order], np.array(at)[order]
        self.table = np.minimum.accumulate(np.minimum(np.array(log_p)[order], 0.0))
        self.shifts = np.array(shifts)[order]

    def log_p(self, t: Array | float) -> Array:
        """ln P(T >= t), interpolated, shape of `t`; beyond the table its last slope goes on."""
        t = np.asarray(t, dtype=np.float64)
        inside = np.interp(t, self.at, self.table)
        slope = (self.table[-1] - self.table[-2]) / (self.at[-1] - self.at[-2])
        return np.where(t > self.at[-1], self.table[-1] + slope * (t - self.at[-1]), inside)

    def tilted_to(self, log_p: float) -> tuple[float, Array]:
        """The tilt (theta, lambda of each of `cells`) that makes values with this ln p typical."""
        rising = -self.table
        theta = float(np.interp(-log_p, rising, self.tilt))
        theta = max(theta, 0.0)
        nearest = int(np.argmin(np.abs(self.tilt - theta)))
        return theta, self.cell_tilts(theta, self.shifts[nearest])


def _lugannani_rice(w: float, u: float) -> float:
    """ln of 1 - Phi(w) + phi(w) (1 / u - 1 / w), without underflow."""
    log_phi = -0.5 * w * w - 0.5 * math.log(2 * math.pi)
    if w > 0:
        mills = math.exp(float(log_ndtr(-w)) - log_phi)
        inner = mills + 1 / u - 1 / w
        return log_phi + math.log(inner) if inner > 0 else -math.inf
    p = math.exp(float(log_ndtr(-w))) + math.exp(log_phi) * (1 / u - 1 / w)
    return math.log(p) if p > 0 else -math.inf


def smallest_p(
    events: Labelled, *, error: float = 0.05, most: int = 200_000, seed: int | Sequence[int] = 0
) -> PermutationP:
    """p-value of the smallest p-value of all statistics, by their joint permutation law.

    Draws permutations until the relative error is below `error`, at most `most`. Raises InputError for a statistic that
    no labels change.
    """
    points = [SaddlePoint(events, s) for s in range(len(events.rows))]
    local = np.array([float(point.log_p(t)) for point, t in zip(points, events.observed(), strict=True)])
    smallest = int(np.argmin(local))
    dealer = _Dealer.of(events, points, float(local[smallest]))
    rng = np.random.default_rng(seed)
    own = dealer.log_weight(events.is_data)
    logs: list[Array] = []
    draws, log_p, relative = 0, 0.0, math.inf
    batch = max(100, min(BATCH, COUNTS // dealer.tilted_in_cell.size))
    while draws < most and relative > error:
        t, log_weight = dealer.draw(min(batch, most - draws), rng)
        extreme = np.min([point.log_p(t[:, s]) for s, point in enumerate(points)], axis=0) <= local[smallest] + 1e-9
        logs.append(np.where(extreme, log_weight, -np.inf))
        draws += len(t)
        log_p, relative = _mean(np.concatenate([[own], *logs]))
    log_p = min(log_p, 0.0)
    p = math.exp(log_p)
    return PermutationP(p, relative * p, log_p, draws, smallest, local)


def _mean(logs: Array) -> tuple[float, float]:
    """ln of the mean of exp(logs), and its relative error; the first is the observed one, which always counts."""
    top = float(logs.max())
    scaled = np.exp(logs - top)
    mean = float(scaled.mean())
    spread = float(scaled[1:].std()) / math.sqrt(max(len(scaled) - 1, 1))
    return top + math.log(mean), spread / mean


@dataclasses.dataclass(frozen=True, eq=False)
class _Dealer:
    """Draws labels from the mixture. Events of any statistic are `relevant`; the others only fill the cells."""

    cell: Ints  # (R,) of the relevant events
    relevant: Ints  # (R,) their positions among all events
    total: Ints  # (C,) events of each cell
    chosen: Ints  # (C,) data events of each cell
    start: Ints  # (R + 1,) first entry of each event in the two below
    statistic: Ints  # (E,) number of the statistic
    value: Array  # (E,) weight
    exponent: Array  # (E,) ln odds of a data label in the tilt of that statistic; NaN where it is dealt
    tilted: tuple[Ints, ...]  # of each statistic the relevant events that its tilt labels
    tilted_in_cell: Ints  # (S, C) their number in each cell
    share: Array  # (S + 1,) of the draws; plain dealing last

    @classmethod
    def of(cls, events: Labelled, points: list[SaddlePoint], log_p: float) -> _Dealer:
        cells = int(events.cell.max()) + 1
        relevant = np.unique(np.concatenate(events.rows))
        place = np.full(len(events.cell), -1, np.int64)
        place[relevant] = np.arange(len(relevant))
        who, number, value, exponent, tilted = [], [], [], [], []
        tilted_in_cell = np.zeros((len(points), cells), np.int64)
        for s, point in enumerate(points):
            rows, weight = events.rows[s], events.values[s]
            theta, shift = point.tilted_to(log_p)
            lambdas = np.full(cells, np.nan)
            lambdas[point.cells] = shift
            odds = lambdas[events.cell[rows]] + theta * weight
            odds[np.abs(theta * weight) < NO_TILT] = np.nan
            mine = np.flatnonzero(np.isfinite(odds))
            tilted.append(place[rows[mine]])
            tilted_in_cell[s] = np.bincount(events.cell[rows[mine]], minlength=cells)
            who.append(place[rows])
            number.append(np.full(len(rows), s))
            value.append(weight)
            exponent.append(odds)
        everyone = np.concatenate(who)
        order = np.argsort(everyone, kind="stable")
        plain = PLAIN_SHARE if log_p < math.log(0.5) else 1.0
        share = np.r_[np.full(len(points), (1 - plain) / len(points)), plain]
        return cls(
            cell=events.cell[relevant],
            relevant=relevant,
            total=np.bincount(events.cell, minlength=cells),
            chosen=np.bincount(events.cell, weights=events.is_data, minlength=cells).astype(np.int64),
            start=np.r_[0, np.cumsum(np.bincount(everyone, minlength=len(relevant)))],
            statistic=np.concatenate(number)[order],
            value=np.concatenate(value)[order],
            exponent=np.concatenate(exponent)[order],
            tilted=tuple(tilted),
            tilted_in_cell=tilted_in_cell,
            share=share,
        )

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """The statistics of n draws, shape (n, S), and ln of their weights, (n,)."""
        component = rng.choice(len(self.share), n, p=self.share)
        first = np.r_[0, np.cumsum([len(rows) for rows in self.tilted])]
        t = np.empty((n, len(self.tilted)))
        tilted, inside = np.empty_like(t), np.empty((n, *self.tilted_in_cell.shape), np.int64)
        possible = _deal(
            rng, component, self.cell, self.total, self.chosen, self.start, self.statistic, self.value, self.exponent,
            np.concatenate(self.tilted), first, t, tilted, inside,
        )  # fmt: skip
        pieces = np.array_split(np.arange(n), max(1, inside.size // PIECE))
        weight = np.concatenate([self._log_weight(tilted[some], inside[some]) for some in pieces])
        return t, np.where(possible, weight, -np.inf)

    def log_weight(self, is_data: NDArray[np.bool_]) -> float:
        """ln of the weight of given labels of all events."""
        size, label = self.tilted_in_cell.shape, is_data[self.relevant].astype(float)
        event = np.repeat(np.arange(len(self.relevant)), np.diff(self.start))
        mine = np.isfinite(self.exponent)
        where, cell = self.statistic[mine], self.cell[event[mine]]
        tilted = np.bincount(where, label[event[mine]] * self.exponent[mine], minlength=size[0]).astype(np.float64)
        inside = np.zeros(size, np.int64)
        np.add.at(inside, (where, cell), label[event[mine]].astype(np.int64))
        return float(self._log_weight(tilted[None], inside[None])[0])

    def _log_weight(self, tilted: Array, inside: Ints) -> Array:
        """-ln of the mixture's probability of the labels relative to plain dealing, shape (n,).

        `tilted` (n, S): sum of the exponents of the data events, `inside` (n, S, C): tilted events labelled data.
        """
        mine = np.isfinite(self.exponent)
        norm = np.bincount(self.statistic[mine], np.logaddexp(0, self.exponent[mine]), minlength=tilted.shape[1])
        rest, left = self.total - self.tilted_in_cell, self.chosen - inside  # (S, C), (n, S, C)
        with np.errstate(invalid="ignore"):
            dealt = _log_choose(rest, left) - _log_choose(self.total, self.chosen)
        # ln (tilted probability / plain probability) of the labels
        ratio = tilted - norm - np.where(self.tilted_in_cell > 0, dealt, 0.0).sum(axis=2)
        parts = np.concatenate([ratio, np.zeros((len(tilted), 1))], axis=1)
        with np.errstate(divide="ignore"):
            return np.asarray(-np.logaddexp.reduce(parts + np.log(self.share), axis=1))


def _log_choose(n: Ints, k: Ints) -> Array:
    """ln of the binomial coefficient, -infinity where it is 0."""
    possible = (k >= 0) & (k <= n)
    safe = np.where(possible, k, 0)
    return np.where(possible, gammaln(n + 1.0) - gammaln(safe + 1.0) - gammaln(n - safe + 1.0), -np.inf)


@njit()  # pragma: no cover
def _deal(  # type: ignore[no-untyped-def]
    rng, component, cell, total, chosen, start, statistic, value, exponent, tilted_rows, first, t, tilted, inside
):
    """Draw labels and fill the statistics t (n, S), the exponents of data events (n, S), and data events among the
    tilted ones by cell (n, S, C). Returns whether each draw is possible: no cell has dealt more than it has.
    """
    n, signals = t.shape
    possible = np.ones(n, np.bool_)
    label = np.empty(cell.size, np.int8)
    for toy in range(n):
        left, left_data = total.copy(), chosen.copy()
        t[toy] = 0.0
        tilted[toy] = 0.0
        inside[toy] = 0
        label[:] = -1
        s = component[toy]
        if s < signals:
            for k in range(first[s], first[s + 1]):
                i = tilted_rows[k]
                odds = 0.0
                for e in range(start[i], start[i + 1]):
                    if statistic[e] == s:
                        odds = exponent[e]
                label[i] = rng.random() * (1.0 + np.exp(-odds)) < 1.0
                left[cell[i]] -= 1
                left_data[cell[i]] -= label[i]
            for c in range(total.size):
                if left_data[c] < 0 or left_data[c] > left[c]:
                    possible[toy] = False
        if not possible[toy]:
            continue
        for i in range(cell.size):
            c = cell[i]
            if label[i] < 0:
                label[i] = rng.random() * left[c] < left_data[c]
                left[c] -= 1
                left_data[c] -= label[i]
            if label[i]:
                for e in range(start[i], start[i + 1]):
                    t[toy, statistic[e]] += value[e]
                    if not np.isnan(exponent[e]):
                        tilted[toy, statistic[e]] += exponent[e]
                        inside[toy, statistic[e], c] += 1
    return possible
