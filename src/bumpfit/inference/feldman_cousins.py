"""Feldman-Cousins intervals of a Poisson signal over a known background, without approximation.

Feldman, Cousins, Phys. Rev. D 57 (1998) 3873: for each signal s the counts n enter an acceptance region in the order of
P(n | s + b) / P(n | max(0, n - b) + b) until it holds the level; the interval is the set of s that accept the
observed n.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.results import Interval
from bumpfit.types import Floats

GRID = 0.01
"""Steps of signal and background on which ends of intervals are looked for; ends are then refined to 1e-7."""

WINDOW = 3.0
"""How much larger backgrounds are searched for a higher upper end: the ends repeat with a period of about one event."""


def accepts(n: int, signals: Floats, background: float, level: float) -> NDArray[np.bool_]:
    """Whether each signal has `n` in its acceptance region, shape (S,).

    n is in it when the counts that rank before it hold less than the level.
    """
    from scipy.special import gammaln, xlogy  # here, for a quicker start

    mean = signals[:, None] + background
    top = float(mean.max(initial=n))
    counts = np.arange(int(top + 10 * math.sqrt(top + 1) + 10) + 1)
    best = np.maximum(counts, background)
    norm = gammaln(counts + 1.0)
    log_p = xlogy(counts, mean) - mean - norm
    # the factorials cancel in the ratio
    rank = xlogy(counts, mean) - mean - (xlogy(counts, best) - best)
    before = np.exp(log_p) * (rank > rank[:, n : n + 1] + 1e-12)
    return np.asarray(before.sum(axis=1) < level)


def _ends(n: int, background: float, level: float) -> tuple[float, float]:
    """Lowest and highest signal that accept n, for exactly this background."""
    reach = max(n - background, 0.0) + 12 * math.sqrt(n + 1) + 12
    grid = np.arange(0.0, reach, GRID)
    inside = np.flatnonzero(accepts(n, grid, background, level))
    if inside.size == 0:
        # discrete counts can leave no signal at all; the best one stands for the empty set
        best = max(n - background, 0.0)
        return best, best

    def sign(signal: float) -> float:
        return 1.0 if accepts(n, np.array([signal]), background, level)[0] else -1.0

    low, high = float(grid[inside[0]]), float(grid[inside[-1]])
    from scipy.optimize import brentq  # here, for a quicker start

    lower = 0.0 if low == 0 else float(brentq(sign, low - GRID, low, xtol=1e-7))
    return lower, float(brentq(sign, high, high + GRID, xtol=1e-7))


def _raised(n: int, background: float, level: float, high: float) -> float:
    """The highest upper end of this and all larger backgrounds.

    The end falls with the background and now and then jumps up where a count leaves an acceptance region, so the
    highest ends are at jumps, which are found by bisection.
    """

    def higher(b: float) -> bool:
        return bool(accepts(n, np.arange(high, high + WINDOW, GRID)[1:], b, level).any())

    for b in np.arange(background + GRID, background + WINDOW, GRID):
        if higher(float(b)):
            before, after = float(b) - GRID, float(b)
            while after - before > 1e-7:
                middle = 0.5 * (before + after)
                before, after = (before, middle) if higher(middle) else (middle, after)
            high = max(high, _ends(n, after, level)[1])
    return high


def feldman_cousins(n: int, background: float, level: float = 0.9, *, monotone: bool = True) -> Interval:
    """Interval of the signal for `n` observed events over a `background` that is known exactly.

    Where discrete counts make the accepted signals ragged the interval spans all of them. With `monotone`, as in the
    published tables, the upper end is raised where it would otherwise grow with the background (section IV B of the
    paper); coverage only gains. Raises InputError for a negative or fractional count, negative background, or a level
    outside (0, 1).

    Examples:
        >>> found = bumpfit.inference.feldman_cousins(4, 1.0, level=0.9)  # table IV of the paper: 0.74, 7.60
        >>> print(f"{found.low:.2f} to {found.high:.2f}")
        0.74 to 7.60
    """
    if n != int(n) or n < 0:
        raise InputError(f"the observed count must be a whole number that is not negative, got {n}")
    if not (math.isfinite(background) and background >= 0):
        raise InputError(f"the background must be finite and not negative, got {background}")
    if not 0 < level < 1:
        raise InputError(f"the level must lie between 0 and 1, got {level}")
    count = int(n)
    low, high = _ends(count, background, level)
    if monotone:
        high = _raised(count, background, level, high)
    best = max(count - background, 0.0)
    return Interval("signal", low, high, best, level, "Feldman-Cousins", low_at_bound=low == 0.0)
