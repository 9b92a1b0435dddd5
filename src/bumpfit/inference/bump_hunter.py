"""BumpHunter: the window of a spectrum with the least probable excess over a known background (arXiv:1101.0390).

A window of neighbouring bins with d events, where b are expected, has P = P(n >= d | b) if d > b and 1 otherwise
(section 2.1 there; Gamma(d, b) in its equation 9); a deficit has P(n <= d | b). The statistic is t = -log(smallest P
of all windows); its law under the background follows from Poisson toys of the background, scanned alike, so that the
trials are accounted for. A window of a toy is as extreme as the data when it has at least as many events as the
smallest number with this t, which is known beforehand: toys need no p-values, unless the background is scaled in each.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.histograms import HistogramLike, as_histogram, observed_counts
from bumpfit.law import estimate
from bumpfit.normal import at_least, significance, significance_of_log
from bumpfit.results import Record

Floats = NDArray[np.float64]

CHUNK = 1_000
"""Toys at a time, each chunk with random numbers of its own: memory stays bounded."""
SERIES = 1e-280
"""Below this tail probability its logarithm follows from the first term and the ratio of the rest to it."""


@dataclasses.dataclass(frozen=True)
class Bump(Record):
    """The window `low` to `high` with the least probable excess (or deficit), `bins` wide.

    `data` events are there and `background` are expected. `p_local`, `z_local`: of this window alone. `t` = -log p.
    `p`, `error`, `z`: of the largest excess anywhere, from `toys` of the background, `exceeding` of which have at least
    this t: p = (exceeding + 1) / (toys + 1), which is never 0 (Davison, Hinkley, 1997, section 4.2).
    """

    low: float
    high: float
    bins: int
    data: float
    background: float
    t: float
    p_local: float
    z_local: float
    p: float
    error: float
    z: float
    exceeding: int
    toys: int
    seed: int


def bump_hunter(
    data: HistogramLike,
    background: HistogramLike,
    *,
    narrowest: int = 1,
    widest: int | None = None,
    sidebands: bool = False,
    deficits: bool = False,
    toys: int = 10_000,
    seed: int = 0,
) -> Bump:
    """The largest local excess of a spectrum over a background, with its global p-value.

    Args:
        data, background: spectra with the same edges, B bins; of the background what is expected, without an error.
        narrowest, widest: bins of a window; all widths between, at every position. `widest` is B // 2 when None.
        sidebands: scale the background in each window to the data outside of it.
        deficits: look for too few events instead.
        toys: Poisson spectra of the background.
        seed: of the toys.

    Raises:
        InputError: other edges, events in windows where none are expected, counts that are not whole, wrong widths or
            numbers.

    Examples:
        >>> spectrum, expected = ([10, 30, 11, 9], [0, 1, 2, 3, 4]), ([10.0, 10.0, 10.0, 10.0], [0, 1, 2, 3, 4])
        >>> bumpfit.inference.bump_hunter(spectrum, expected, toys=1000).bins
        1
    """
    expected = as_histogram(background)
    counts, mean, edges = observed_counts(data), expected.counts, expected.edges
    if not np.array_equal(as_histogram(data).edges, edges):
        raise InputError("the spectrum and its background have different edges; expected the same bins")
    most = max(len(mean) // 2, 1) if widest is None else widest
    _check(counts, mean, edges, narrowest, most, sidebands)
    if isinstance(toys, bool) or toys < 1 or seed < 0:
        raise InputError(
            f"there are {toys} toys with the seed {seed}; expected at least 1 toy, and a seed of 0 or more"
        )
    hunter = _Hunter(mean, range(narrowest, most + 1), sidebands, deficits)
    t, place, width = hunter.scan(counts[None, :])
    exceeding = hunter.exceeding(float(t[0]), toys, seed)
    p, error = estimate(exceeding, exceeding, toys, plain=True)
    first, last = int(place[0]), int(place[0] + width[0])
    inside, there = counts[first:last].sum(), mean[first:last].sum()
    if sidebands:
        there *= (counts.sum() - inside) / (mean.sum() - there)
    return Bump(
        float(edges[first]), float(edges[last]), int(width[0]), float(inside), float(there), float(t[0]),
        at_least(-float(t[0])), significance_of_log(-float(t[0])) if t[0] > 0 else 0.0, p,
        error, significance(p), exceeding, toys, seed,
    )  # fmt: skip


def _check(counts: Floats, mean: Floats, edges: Floats, narrowest: int, most: int, sidebands: bool) -> None:
    """Raise InputError for windows that cannot be, and for those that have no p-value."""
    if not np.array_equal(counts, np.round(counts)):
        raise InputError("the data are no whole numbers of events; expected counts")
    if not (mean >= 0).all():
        raise InputError(f"{int((~(mean >= 0)).sum())} bins of the background expect a negative number or are blinded")
    if not 1 <= narrowest <= most <= len(mean):
        raise InputError(
            f"windows of {narrowest} to {most} bins; expected 1 or more, at most the {len(mean)} there are"
        )
    if sidebands and most == len(mean):
        raise InputError("a window of all bins leaves none to scale the background to; give a smaller widest")
    filled, seen = (np.concatenate([[0], np.cumsum(part > 0)]) for part in (mean, counts))
    impossible = (filled[narrowest:] == filled[:-narrowest]) & (seen[narrowest:] > seen[:-narrowest])
    if impossible.any():
        first = int(np.flatnonzero(impossible)[0])
        raise InputError(
            f"no events are expected from {edges[first]:g} to {edges[first + narrowest]:g}, but some are there: "
            "join or leave out bins of the background, or widen the narrowest window"
        )
    if sidebands and (filled[most:] - filled[:-most] == filled[-1]).any():
        raise InputError(f"outside of some window of {most} bins no events are expected, so nothing can be scaled")


@dataclasses.dataclass(frozen=True, eq=False)
class _Hunter:
    """All windows over a background `mean` (B,)."""

    mean: Floats
    widths: range
    sidebands: bool
    deficits: bool

    def scan(self, counts: Floats) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
        """t, first bin and number of bins of the best window of each spectrum; counts (N, B), results (N,)."""
        n = len(counts)
        t, place, best = np.zeros(n), np.zeros(n, np.int64), np.full(n, self.widths[0], np.int64)
        for width, inside, expected in self._windows(counts):
            mine = -self._log_tail(inside, np.broadcast_to(expected, inside.shape))
            largest = mine.argmax(axis=1)
            value = mine[np.arange(n), largest]
            better = value > t
            t[better], place[better], best[better] = value[better], largest[better], width
        return t, place, best

    def exceeding(self, t: float, toys: int, seed: int) -> int:
        """How many of the toys have a statistic of at least t."""
        if t <= 0.0:
            return toys
        critical = None if self.sidebands else self._critical(t)
        found = 0
        for chunk, start in enumerate(range(0, toys, CHUNK)):
            random = np.random.default_rng([seed, chunk])
            thrown = random.poisson(self.mean, (min(CHUNK, toys - start), len(self.mean))).astype(np.float64)
            if critical is None:
                found += int((self.scan(thrown)[0] >= t).sum())
                continue
            extreme = np.zeros(len(thrown), dtype=np.bool_)
            for (_, inside, _), bound in zip(self._windows(thrown), critical, strict=True):
                extreme |= (inside <= bound if self.deficits else inside >= bound).any(axis=1)
            found += int(extreme.sum())
        return found

    def _windows(self, counts: Floats) -> Iterator[tuple[int, Floats, Floats]]:
        """Width, events (N, W) and expected events (W,) or (N, W) of the windows of each width."""
        sums = np.concatenate([np.zeros((len(counts), 1)), np.cumsum(counts, axis=1)], axis=1)
        below = np.concatenate([[0.0], np.cumsum(self.mean)])
        for width in self.widths:
            inside, expected = sums[:, width:] - sums[:, :-width], below[width:] - below[:-width]
            if self.sidebands:
                expected = expected * (sums[:, -1:] - inside) / (below[-1] - expected)
            yield width, inside, expected

    def _critical(self, t: float) -> list[Floats]:
        """The number of events (W,) from which on a window has at least t, for each width: the smallest one, or for
        deficits the largest (-1 where no number has).
        """
        found = []
        for _, _, expected in self._windows(np.zeros((1, len(self.mean)))):
            if self.deficits:  # from `low`, which has t, to `high`, which has not
                low, high = np.full(expected.shape, -1.0), np.ceil(expected)
            else:
                low, high = np.ceil(expected + 10.0 * (t + np.sqrt(expected * t)) + 1.0), np.floor(expected)
            while (np.abs(high - low) > 1).any():
                middle = np.floor((low + high) / 2.0)
                has = -self._log_tail(np.maximum(middle, 0.0), expected) >= t
                low, high = np.where(has, middle, low), np.where(has, high, middle)
            found.append(np.where(expected > 0, low, -1.0 if self.deficits else np.inf))
        return found

    def _log_tail(self, counts: Floats, mean: Floats) -> Floats:
        return _log_lower_tail(counts, mean) if self.deficits else _log_tail(counts, mean)


def _log_lower_tail(counts: Floats, mean: Floats) -> Floats:
    """log P(n <= counts | mean) where counts are below the mean, and 0 elsewhere."""
    from scipy.special import gammaincc, gammaln

    result = np.zeros(counts.shape)
    deficit = counts < mean
    d, b = counts[deficit], mean[deficit]
    tail = gammaincc(d + 1, b)
    far = tail < SERIES
    logs = np.log(np.where(far, 1.0, tail))
    for i in np.flatnonzero(far):  # the sum of d! / (d - k)! b^-k over k
        ratios = np.arange(d[i], 0.0, -1.0) / b[i]
        logs[i] = d[i] * np.log(b[i]) - b[i] - gammaln(d[i] + 1) + np.log1p(np.cumprod(ratios).sum())
    result[deficit] = logs
    return result


def _log_tail(counts: Floats, mean: Floats) -> Floats:
    """log P(n >= counts | mean) where counts exceed a positive mean, and 0 elsewhere."""
    from scipy.special import gammainc, gammaln, hyp1f1

    result = np.zeros(counts.shape)
    excess = (counts > mean) & (mean > 0)
    d, b = counts[excess], mean[excess]
    tail = gammainc(d, b)
    far = tail < SERIES
    logs = np.log(np.where(far, 1.0, tail))
    # the sum of b^k d! / (d + k)! over k is 1F1(1; d + 1; b), at most (d + 1) / (d + 1 - b)
    logs[far] = d[far] * np.log(b[far]) - b[far] - gammaln(d[far] + 1) + np.log(hyp1f1(1.0, d[far] + 1, b[far]))
    result[excess] = logs
    return result
