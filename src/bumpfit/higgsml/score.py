"""The score of the challenge: narrow intervals that cover, per set of pseudo-experiments and merged.

With w the mean width, c the fraction of intervals that hold the true mu, sigma = sqrt(p (1 - p) / N) and p = 0.6827,
the score is -ln((w + eps) f): f = 1 where c is within 2 sigma of p, 1 + d^4 below and 1 + d^3 above, with d the
distance to the corridor in sigmas. eps is 1e-3 in the released code and 1e-2 in the paper.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.results import Record

LEVEL = 0.6827
"""The coverage that is asked for."""

EPS = 1e-3
"""What the released code adds to the width (the paper says 1e-2, which is .02 in the score)."""

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Score(Record):
    """Width, coverage, penalty f and score of N intervals; `reversed`: those with p16 > p84, which never cover.

    Examples:
        >>> from bumpfit.higgsml import score
        >>> found = score([1.0, 1.0], [0.8, 1.1], [1.2, 1.3])
        >>> round(found.width, 3), found.coverage
        (0.3, 0.5)
    """

    width: float
    coverage: float
    penalty: float
    score: float
    n: int
    eps: float
    reversed: int = 0


def penalty(coverage: float, n: int) -> float:
    """The factor f for a coverage measured with n intervals."""
    sigma = math.sqrt((1.0 - LEVEL) * LEVEL * n) / n
    low, high = LEVEL - 2.0 * sigma, LEVEL + 2.0 * sigma
    if coverage < low:
        return 1.0 + abs((coverage - low) / sigma) ** 4
    if coverage > high:
        return 1.0 + abs((coverage - high) / sigma) ** 3
    return 1.0


def score(mu: ArrayLike, p16: ArrayLike, p84: ArrayLike, eps: float = EPS) -> Score:
    """The score of intervals [p16, p84] for true values mu.

    Args:
        mu: true value, one for all or one an interval.
        p16: lower ends, shape (N,).
        p84: upper ends, shape (N,).
        eps: added to the width.

    Raises:
        InputError: no intervals, other numbers of mu, ends that are not finite, a negative eps.

    Examples:
        >>> from bumpfit import higgsml
        >>> found = higgsml.score(1.0, [0.8, 0.9, 1.1], [1.2, 1.3, 1.4])
        >>> round(found.width, 3), round(found.coverage, 3)
        (0.367, 0.667)
    """
    low, high = _numbers(p16, "p16"), _numbers(p84, "p84")
    true = _numbers(mu, "mu")
    if low.size == 0 or low.shape != high.shape or true.size not in (1, low.size):
        raise InputError(
            f"{true.size} values of mu for {low.size} of p16 and {high.size} of p84; expected as many intervals as "
            "values of mu, or one mu for all"
        )
    if not (math.isfinite(eps) and eps >= 0.0):
        raise InputError(f"eps is {eps}; expected 0 or more")
    width = float(np.mean(np.abs(high - low)))
    if width + eps == 0.0:
        raise InputError("all intervals have no width, and eps is 0: the score would be infinite")
    coverage = float(np.mean((true >= low) & (true <= high)))
    factor = penalty(coverage, low.size)
    value = -math.log((width + eps) * factor)
    return Score(width, coverage, factor, value, low.size, float(eps), int((low > high).sum()))


def _numbers(values: ArrayLike, name: str) -> Array:
    try:
        array = np.asarray(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise InputError(f"{name} has values that are no numbers") from None
    if not np.isfinite(array).all():
        raise InputError(f"{name} has {int((~np.isfinite(array)).sum())} values that are not finite")
    return array


@dataclasses.dataclass(frozen=True)
class Scores(Record):
    """The score of each set and of all intervals together, with the error of the merged one from a bootstrap.

    `error`: standard deviation of the merged score when the intervals of every set are drawn again with replacement;
    `low`, `high`: its 2.5 and 97.5 % quantiles. `mean` is the mean over the sets.

    Examples:
        >>> from bumpfit.higgsml import scores
        >>> found = scores([1.0, 2.0], [[0.8, 0.9], [1.7, 2.1]], [[1.2, 1.4], [2.2, 2.5]], replicas=10)
        >>> [one.coverage for one in found.sets]
        [1.0, 0.5]
    """

    sets: tuple[Score, ...]
    merged: Score
    mean: float
    error: float
    low: float
    high: float
    replicas: int
    seed: int


def scores(
    mu: ArrayLike, p16: list[ArrayLike], p84: list[ArrayLike], *, eps: float = EPS, replicas: int = 1000, seed: int = 0
) -> Scores:
    """Scores of sets of intervals: mu (sets,), ends a list of one array a set.

    Raises:
        InputError: as `score`; other numbers of sets.

    Examples:
        >>> from bumpfit.higgsml import scores
        >>> found = scores([1.0, 2.0], [[0.8, 0.9], [1.7, 1.9]], [[1.2, 1.4], [2.2, 2.5]], replicas=10)
        >>> found.merged.n, round(found.merged.width, 3)
        (4, 0.5)
    """
    true = _numbers(mu, "mu")
    if not len(true) == len(p16) == len(p84):
        raise InputError(f"{len(true)} values of mu for {len(p16)} sets of p16 and {len(p84)} of p84")
    each = tuple(score(m, a, b, eps) for m, a, b in zip(true, p16, p84, strict=True))
    mus = np.repeat(true, [one.n for one in each])
    low, high = (np.concatenate([_numbers(one, "ends") for one in ends]) for ends in (p16, p84))
    merged = score(mus, low, high, eps)
    values = bootstrap(mus, low, high, [one.n for one in each], eps, replicas, seed)
    quantiles = np.quantile(values, [0.025, 0.975])
    return Scores(
        each, merged, float(np.mean([one.score for one in each])), float(values.std(ddof=1)), float(quantiles[0]),
        float(quantiles[1]), replicas, seed,
    )  # fmt: skip


def bootstrap(mu: Array, low: Array, high: Array, sizes: list[int], eps: float, replicas: int, seed: int) -> Array:
    """Merged scores of replicas in which every set's intervals are drawn with replacement, shape (replicas,)."""
    if replicas < 2:
        raise InputError(f"{replicas} replicas of the bootstrap; expected 2 or more")
    rng = np.random.default_rng(seed)
    width, covers = np.abs(high - low), (mu >= low) & (mu <= high)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    base, span = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    result = np.empty(replicas)
    for k in range(replicas):
        pick = base + (rng.random(len(base)) * span).astype(np.int64)
        result[k] = -math.log((width[pick].mean() + eps) * penalty(float(covers[pick].mean()), len(pick)))
    return result


def paired_difference(
    mu: Array, first: tuple[Array, Array], second: tuple[Array, Array], *, eps: float = EPS, replicas: int = 1000,
    seed: int = 0,
) -> tuple[float, float, float]:  # fmt: skip
    """Score of the first method minus that of the second on the same experiments, and its central 95 %.

    The interval is from a bootstrap of experiments, both methods together.
    """
    size = [len(mu)]
    a = bootstrap(mu, *first, size, eps, replicas, seed)
    b = bootstrap(mu, *second, size, eps, replicas, seed)
    value = score(mu, *first, eps).score - score(mu, *second, eps).score
    low, high = np.quantile(a - b, [0.025, 0.975])
    return value, float(low), float(high)
