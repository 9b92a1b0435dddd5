"""Smoothing of templates: 353QH, twice (J. Friedman, CERN 74-23, p. 292; as ROOT's TH1::Smooth and cabinetry)."""

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
