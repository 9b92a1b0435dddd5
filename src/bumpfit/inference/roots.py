"""Where a curve crosses zero: ends of intervals, contours and limits, for smooth curves and for those of toys."""

from __future__ import annotations

import math
from collections.abc import Callable

from bumpfit.errors import BumpfitError

Curve = Callable[[float], float]
DOUBLINGS = 60
"""Steps of a search before it gives up."""
NEAR = 0.1
"""Part of the first step: a crossing closer than that is looked for again, with a step that suits it."""
SAME = 1e-12
"""Relative difference of numbers that are taken for equal."""


def outward(curve: Curve, centre: float, step: float, end: float, precision: float) -> float | None:
    """Where a curve, positive at `centre`, turns negative in the direction of `step`; None when `end` comes first.

    `precision` is relative to the distance from the centre. Raises BumpfitError where the curve stays positive over
    `DOUBLINGS` steps, each twice the last.
    """
    inner = centre
    for _ in range(DOUBLINGS):
        outer = centre + step
        if (outer - end) * step >= 0:
            outer = end
        if outer == inner:
            return None
        if curve(outer) < 0:
            found = _between(curve, inner, outer, precision * abs(outer - centre))
            smallest = max(SAME * abs(centre), SAME * abs(step))  # closer, the crossing is the centre itself
            while inner == centre and abs(found - centre) < NEAR * abs(outer - centre) > NEAR * smallest:
                # the precision was not that of the distance
                middle = centre + NEAR * (outer - centre)
                inner, outer = (inner, middle) if curve(middle) < 0 else (middle, outer)
                found = _between(curve, inner, outer, precision * abs(outer - centre))
            return found
        if outer == end:
            return None
        inner, step = outer, 2 * step
    raise BumpfitError(f"values as far as {inner:g} are accepted; is the parameter determined by the data?")


def with_slope(
    curve: Callable[[float], tuple[float, float]], step: float, end: float, precision: float
) -> float | None:
    """The distance from 0 to `end` at which a curve that is positive at 0 turns negative, from its value and slope.

    Newton's method between bounds, which begins at `step`; it ends with a step so small, relative to the distance, that
    the one after it, which is about its square, is below `precision`. None when `end` comes first.
    """
    inner, outer, at = 0.0, math.inf, min(step, end)
    for _ in range(2 * DOUBLINGS):
        value, slope = curve(at)
        if value < 0:
            outer = at
        elif at == end:
            return None
        else:
            inner = at
        if outer - inner <= precision * inner:
            return inner
        following = at - value / slope if slope < 0 and math.isfinite(value) else math.nan
        if abs(following - at) <= math.sqrt(precision) / 30 * at and inner <= following <= min(outer, end):
            return following
        if not inner < following < outer:
            following = 2 * at if outer == math.inf else 0.5 * (inner + outer)
        at = min(following, 3 * at, end)
    raise BumpfitError(f"values as far as {inner:g} are accepted; is the parameter determined by the data?")


def falling(curve: Curve, guess: float, step: float, precision: float) -> float:
    """Where a falling curve of positive numbers crosses zero; `precision` is relative. Raises BumpfitError where it
    does not cross.

    The search goes up from the guess in steps, each twice the last, of which the first is `step`, and down by halves. A
    step is a measure of how fast the curve falls: where the crossing is close to the guess, twice the guess may be a
    long way.
    """
    low = high = guess
    for _ in range(DOUBLINGS):
        if curve(high) <= 0:
            break
        low, high, step = high, high + step, 2 * step
    else:
        raise BumpfitError(
            f"no strength up to {high:g} is excluded, and a limit needs yields that grow without end; "
            "where a formula bounds them, as sin does, take bumpfit interval or bumpfit scan"
        )
    for _ in range(DOUBLINGS):
        if curve(low) > 0:
            break
        low, high = low / 2, low
    else:
        raise BumpfitError(f"every signal strength down to {low:g} is excluded")
    return _between(curve, low, high, precision * low)


def _between(curve: Curve, a: float, b: float, tolerance: float) -> float:
    """A crossing of zero between a and b, at whose ends the signs differ."""
    from scipy.optimize import brentq  # here, for a quicker start

    # a curve may be infinite outside (an impossible hypothesis), which interpolation cannot use
    return float(brentq(lambda x: min(max(curve(x), -1e3), 1e3), a, b, xtol=max(tolerance, 1e-300), rtol=1e-12))
