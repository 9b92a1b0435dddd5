"""BumpHunter: the window of a spectrum with the least probable excess over a known background (arXiv:1101.0390).

A window of neighbouring bins with d events, where b are expected, has P = P(n >= d | b) if d > b and 1 otherwise
(section 2.1 there; Gamma(d, b) in its equation 9). The statistic is t = -log(smallest P of all windows); its law under
the background follows from Poisson toys of the background, scanned alike, so that the trials are accounted for.
"""

from __future__ import annotations

import dataclasses

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
    """The window `low` to `high` with the least probable excess, `bins` wide.

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
    toys: int = 10_000,
    seed: int = 0,
) -> Bump:
    """The largest local excess of a spectrum over a background, with its global p-value.

    Args:
        data, background: spectra with the same edges, B bins; of the background what is expected, without an error.
        narrowest, widest: bins of a window; all widths between, at every position. `widest` is B // 2 when None.
        sidebands: scale the background in each window to the data outside of it.
        toys: Poisson spectra of the background.
        seed: of the toys.

    Raises:
        InputError: other edges, a bin without expected events, counts that are not whole, wrong widths or numbers.

    Examples:
        >>> spectrum, expected = ([10, 30, 11, 9], [0, 1, 2, 3, 4]), ([10.0, 10.0, 10.0, 10.0], [0, 1, 2, 3, 4])
        >>> bumpfit.inference.bump_hunter(spectrum, expected, toys=1000).bins
        1
    """
    expected = as_histogram(background)
    counts, mean, edges = observed_counts(data), expected.counts, expected.edges
    if not np.array_equal(as_histogram(data).edges, edges):
        raise InputError("the spectrum and its background have different edges; expected the same bins")
    if (~(mean > 0)).any():
        raise InputError(f"{int((~(mean > 0)).sum())} bins of the background expect no events; join or leave out bins")
    most = max(len(mean) // 2, 1) if widest is None else widest
    if not 1 <= narrowest <= most <= len(mean):
        raise InputError(
            f"windows of {narrowest} to {most} bins; expected 1 or more, at most the {len(mean)} there are"
        )
    if sidebands and most == len(mean):
        raise InputError("a window of all bins leaves none to scale the background to; give a smaller widest")
    if isinstance(toys, bool) or toys < 1 or seed < 0:
        raise InputError(
            f"there are {toys} toys with the seed {seed}; expected at least 1 toy, and a seed of 0 or more"
        )
    widths = range(narrowest, most + 1)
    t, place, width = _scan(counts[None, :], mean, widths, sidebands)
    exceeding = 0
    for chunk, start in enumerate(range(0, toys, CHUNK)):
        random = np.random.default_rng([seed, chunk])
        thrown = random.poisson(mean, (min(CHUNK, toys - start), len(mean))).astype(np.float64)
        exceeding += int((_scan(thrown, mean, widths, sidebands)[0] >= t[0]).sum())
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


def _scan(
    counts: Floats, mean: Floats, widths: range, sidebands: bool
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """t, first bin and number of bins of the best window of each spectrum; counts (N, B), mean (B,), results (N,)."""
    n = len(counts)
    sums = np.concatenate([np.zeros((n, 1)), np.cumsum(counts, axis=1)], axis=1)
    below = np.concatenate([[0.0], np.cumsum(mean)])
    t, place, best = np.zeros(n), np.zeros(n, np.int64), np.full(n, widths[0], np.int64)
    for width in widths:
        inside, expected = sums[:, width:] - sums[:, :-width], below[width:] - below[:-width]
        if sidebands:
            expected = expected * (sums[:, -1:] - inside) / (below[-1] - expected)
        mine = -_log_tail(inside, np.broadcast_to(expected, inside.shape))
        largest = mine.argmax(axis=1)
        value = mine[np.arange(n), largest]
        better = value > t
        t[better], place[better], best[better] = value[better], largest[better], width
    return t, place, best


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
