"""Feldman-Cousins intervals of a Poisson signal over a known background, without approximation.

Feldman, Cousins, Phys. Rev. D 57 (1998) 3873: for each signal s the counts n enter an acceptance region in the order of
P(n | s + b) / P(n | max(0, n - b) + b) until it holds the level; the interval is the set of s that accept the
observed n.
"""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.results import Interval
from bumpfit.types import Floats

GRID = 0.01
"""Steps of signal and background on which ends of intervals are looked for; ends are then refined to 1e-7."""

AT_ONCE = 256
"""Signals whose counts, 10 standard deviations to either side, are summed at once."""
LARGEST = 1000
"""Largest count and background: beyond, the sums over single counts take long and approximations are good."""

WINDOW = 3.0
"""How much larger backgrounds are searched for a higher upper end: the ends repeat with a period of about one event."""


def accepts(n: int, signals: Floats, background: float, level: float) -> NDArray[np.bool_]:
    """Whether each signal has `n` in its acceptance region, shape (S,).

    n is in it when the counts that rank before it hold less than the level.
    """
    from scipy.special import gammaln, xlogy  # here, for a quicker start

    def rank(count: Floats, mean: Floats) -> Floats:
        """ln of the ratio by which counts are ordered; the factorials cancel."""
        best = np.maximum(count, background)
        return np.asarray(xlogy(count, mean) - mean - (xlogy(count, best) - best))

    result = np.empty(signals.size, dtype=np.bool_)
    for first in range(0, signals.size, AT_ONCE):
        here = slice(first, first + AT_ONCE)
        mean = signals[here, None] + background
        low, high = float(mean.min()), float(mean.max())
        reach = [int(m + sign * (10 * math.sqrt(m + 1) + 10)) for m, sign in ((low, -1), (high, 1))]
        counts = np.arange(max(reach[0], 0), reach[1] + 1, dtype=np.float64)
        probability = np.exp(xlogy(counts, mean) - mean - gammaln(counts + 1.0))
        before = probability * (rank(counts, mean) > rank(np.array([float(n)]), mean) + 1e-12)
        result[here] = before.sum(axis=1) < level
    return result


def _ends(n: int, background: float, level: float) -> tuple[float, float]:
    """Lowest and highest signal that accept n, for exactly this background."""
    best, reach = max(n - background, 0.0), 12 * math.sqrt(n + 1) + 12
    steps = np.arange(math.floor(max(best - reach, 0.0) / GRID), math.ceil((best + reach) / GRID), dtype=np.float64)
    grid: Floats = GRID * steps
    inside = np.flatnonzero(accepts(n, grid, background, level))
    if inside.size == 0:
        # discrete counts can leave no signal at all; the best one stands for the empty set
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


def _finite(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def feldman_cousins(n: int, background: float, level: float = 0.9, *, monotone: bool = True) -> Interval:
    """Interval of the signal for `n` observed events over a `background` that is known exactly.

    Where discrete counts make the accepted signals ragged the interval spans all of them. With `monotone`, as in the
    published tables, the upper end is raised where it would otherwise grow with the background (section IV B of the
    paper); coverage only gains. Raises InputError for a negative or fractional count, negative background, a level
    outside (0, 1), or more than `LARGEST` events.

    Examples:
        >>> found = bumpfit.inference.feldman_cousins(4, 1.0, level=0.9)  # table IV of the paper: 0.74, 7.60
        >>> print(f"{found.low:.2f} to {found.high:.2f}")
        0.74 to 7.60
    """
    if not (_finite(n) and n == int(n) and n >= 0):
        raise InputError(f"the observed count must be a whole number that is not negative, got {n!r}")
    if not (_finite(background) and background >= 0):
        raise InputError(f"the background must be finite and not negative, got {background!r}")
    if not (_finite(level) and 0 < level < 1):
        raise InputError(f"the level must lie between 0 and 1, got {level!r}")
    if max(n, background) > LARGEST:
        raise InputError(
            f"the exact construction is for at most {LARGEST} events, got {n:g} over {background:g}; take the profile "
            "likelihood (bumpfit.inference.interval)"
        )
    count = int(n)
    low, high = _ends(count, background, level)
    if monotone:
        high = _raised(count, background, level, high)
    best = max(count - background, 0.0)
    return Interval("signal", low, high, best, level, "Feldman-Cousins", low_at_bound=low == 0.0)
