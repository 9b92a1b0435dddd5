"""Smoothing of templates: 353QH, twice (J. Friedman, CERN 74-23, p. 292; as ROOT's TH1::Smooth and cabinetry), that
of TRExFitter, and LOWESS.
"""

from __future__ import annotations

import numpy as np

from bumpfit.types import Floats

LEAST = 3
"""Values below which nothing is smoothed."""


def smooth_353qh_twice(values: Floats) -> Floats:
    """Running medians of 3, 5 and 3 values, flat pieces bent to parabolas (Q), running means (H); once more on what is
    left over, which is added (twice).

    values (B,): returned as they are when there are fewer than three. Nothing becomes negative that was not. The first
    and last value after medians of 3 are those of the proceedings (ROOT differs there).
    """
    if len(values) < LEAST:
        return values
    smooth = _pass(values)
    result = smooth + _pass(values - smooth)
    return result if values.min() < 0 else np.maximum(result, 0.0)


def _pass(values: Floats) -> Floats:
    z = values.astype(np.float64)
    for number, width in enumerate((3, 5, 3)):
        _medians(z, width, ends=number == 0)
    return _means(_bent(z))


def _medians(z: Floats, width: int, *, ends: bool) -> None:
    """Running medians in place; values at the ends, which have too few neighbours, as Tukey has them."""
    y, half = z.copy(), width // 2
    if len(z) >= width:
        z[half : len(z) - half] = np.median(np.lib.stride_tricks.sliding_window_view(y, width), axis=1)
    if width == 5:
        z[1] = np.median(y[:3])
        z[-2] = np.median(y[-3:])
    elif ends:
        z[0] = np.median([3 * z[1] - 2 * z[2], y[0], z[1]])
        z[-1] = np.median([z[-2], y[-1], 3 * z[-2] - 2 * z[-3]])


def _bent(z: Floats) -> Floats:
    """Flat pieces of three at a peak or a valley become parabolas."""
    y = z.copy()
    for i in range(2, len(z) - 2):
        if z[i - 1] != z[i] or z[i] != z[i + 1]:
            continue
        left, right = z[i - 2] - z[i], z[i + 2] - z[i]
        if left * right <= 0:
            continue
        step = -1 if abs(right) > abs(left) else 1
        y[i] = -0.5 * z[i - 2 * step] + z[i] / 0.75 + z[i + 2 * step] / 6
        y[i + step] = 0.5 * (z[i + 2 * step] - z[i - 2 * step]) + z[i]
    return y


def _means(y: Floats) -> Floats:
    z = y.copy()
    z[1:-1] = 0.25 * y[:-2] + 0.5 * y[1:-1] + 0.25 * y[2:]
    return z


TOLERANCE = 0.08
"""Relative statistical error below which neighbouring bins need not be joined (TRExFitter's default)."""

SAME = 1e-7
"""Ratios closer than this do not go up or down."""

EQUAL = 1e-5
"""Ratios closer than this are equal, as bins that were joined are."""

MOST_REPEATS = 8
"""How often the ratio is smoothed at most."""


def smooth_variations(nominal: Floats, errors: Floats, varied: Floats, most: int) -> Floats:
    """A varied template with at most `most` changes of slope (TRExFitter's MAXVARIATION; its README, "Smoothing").

    nominal, errors, varied (B,). Neighbouring bins are joined until the nominal error of each group is below
    `TOLERANCE`, which is halved until the ratio changes its slope often enough at most; then 353QH, twice, takes the
    steps away. The sum stays, and nothing is negative.
    """
    if len(nominal) < 2:
        return varied
    tolerance, joined = TOLERANCE, varied
    while True:
        joined, ratios = _joined(nominal, errors, joined, tolerance)
        if _slope_changes(ratios) <= most or tolerance == 0.0:
            break
        tolerance /= 2.0
    repeats = 2 * min(_shortest_run(over(joined, nominal)), MOST_REPEATS // 2)
    return smooth_shift(nominal, joined, varied, repeats, repeats)


def smooth_shift(nominal: Floats, joined: Floats, varied: Floats, repeats: int, bins: int) -> Floats:
    """353QH, twice, takes the steps of joined bins away: `repeats` times, where there are more than `bins` + 1 of them.

    nominal, joined, varied (B,): the sum becomes that of the last, and nothing is negative.
    """
    filled = np.flatnonzero(over(joined, nominal))
    if not filled.size:
        return varied
    first, last = int(filled[0]), int(filled[-1])
    shift = over(joined - nominal, nominal) + 100.0  # 353QH cuts at 0, as ROOT's does
    if bins < last - first:
        for _ in range(repeats):
            shift[first : last + 1] = smooth_353qh_twice(shift[first : last + 1])
    result = (shift - 100.0) * nominal + nominal
    total = float(result.sum())
    if total != 0.0:
        result = result * (float(varied.sum()) / total)
    return np.maximum(result, 0.0)


def over(numerator: Floats, denominator: Floats) -> Floats:
    """The ratio, 0 where the denominator is 0, as ROOT has it."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator != 0)


def _joined(nominal: Floats, errors: Floats, varied: Floats, tolerance: float) -> tuple[Floats, Floats]:
    """The varied template with the ratio of its group in each bin, and the ratios of the groups."""
    group = np.zeros(len(nominal), dtype=np.int64)
    groups, seen, squares, shifted = 0, 0.0, 0.0, 0.0
    start = 0
    for i in range(len(nominal)):
        seen += abs(nominal[i])
        squares += errors[i] ** 2
        shifted += varied[i]
        error = np.sqrt(squares) / seen if seen != 0 and shifted != 0 else np.inf
        error = np.inf if error == 0 else error
        if error <= tolerance or i == len(nominal) - 1:
            if error < tolerance or groups == 0:
                groups += 1
            group[start : i + 1] = groups - 1
            start, seen, squares = i + 1, 0.0, 0.0
    inside = group[:, None] == np.arange(groups)
    ratios = over(varied @ inside, nominal @ inside)
    return nominal * ratios[group], ratios


def _slope_changes(ratios: Floats) -> int:
    """Changes between going up and going down; each right after another counts twice."""
    changes, used, before, last, up_before = 0, 0, False, 0.0, True
    for value in ratios:
        if value == 0:
            continue
        previous, last = last, float(value)
        if abs(last - previous) < SAME:
            continue
        used += 1
        up = last > previous
        changed = used > 2 and up != up_before
        changes += (2 if before else 1) if changed else 0
        before, up_before = changed, up
    return changes


def _shortest_run(ratio: Floats) -> int:
    """The smallest number of neighbouring bins with equal ratios."""
    runs, count, previous = [], 1, 0.0
    for value in ratio[ratio != 0]:
        if previous != 0:
            if abs(previous - value) < EQUAL:
                count += 1
            else:
                runs.append(count)
                count = 1
        previous = float(value)
    return min([*runs, count])


def lowess(values: Floats, weights: Floats, span: float) -> Floats:
    """Locally weighted regression (Cleveland, J. Am. Stat. Assoc. 74 (1979) 829), without its robust iterations.

    values, weights (B,): each value becomes that of a straight line, fitted to the `span` B nearest bins (at least
    three), which count by their weight and by (1 - (d / h)^3)^3, h being half a bin beyond the farthest. Straight lines
    stay what they are.
    """
    size = len(values)
    if size < LEAST:
        return values
    near = min(size, max(LEAST, int(span * size + 1e-9)))
    place, result = np.arange(size, dtype=np.float64), np.empty(size)
    for i in range(size):
        distance = np.abs(place - i)
        reach = np.sort(distance)[near - 1]
        x, w = place - i, weights * np.clip(1.0 - (distance / (reach + 0.5)) ** 3, 0.0, None) ** 3
        sums = [float((w * x**k).sum()) for k in range(3)]
        level, tilt = float((w * values).sum()), float((w * values * x).sum())
        determinant = sums[0] * sums[2] - sums[1] ** 2
        line = determinant > SAME * sums[0] * sums[2]
        result[i] = (sums[2] * level - sums[1] * tilt) / determinant if line else level / sums[0]
    return result
