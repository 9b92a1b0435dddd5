"""Where else a peak of free mass may be: -ln L has a minimum at every fluctuation, and a descent ends in the nearest.

From the fit without a peak a quadratic form in the number of its events foretells -ln L at each mass.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bumpfit.shapes.binned import Binned

Array = NDArray[np.float64]

STEPS = 1000
"""Most masses that are tried; steps are widths of the peak where these are fewer."""

LOOKS = 2
"""Minima of the foretold -ln L that are descended from: the quadratic form may confuse two of nearly the same depth."""


def starts_elsewhere(
    measured: Binned, null: Array, background: NDArray[np.bool_], size: int, mass: int, ends: tuple[Array, Array]
) -> list[Array]:
    """Starts with the peak at other masses, the most promising first.

    `null`: values of the fit without a peak; `background`: what is free in it; `size`, `mass`: places of the
    number of events and of the mass; `ends`: lowest and highest values of all parameters.
    """
    low, high = ends
    tried: list[Array] = []
    foretold: list[float] = []
    place = low[mass]
    while not tried or tried[-1][mass] < high[mass]:
        at = null.copy()
        at[mass] = place
        at[size], gain, width = _peak(measured, at, background, size, mass, (low[size], high[size]))
        tried.append(at)
        foretold.append(gain)
        place = min(place + max(width, (high[mass] - low[mass]) / STEPS), high[mass])
    depth = np.array([np.inf, *foretold, np.inf])
    inside = depth[1:-1]
    lowest = np.flatnonzero((inside <= depth[:-2]) & (inside < depth[2:]))
    best = sorted(lowest, key=lambda i: foretold[i])[:LOOKS]
    return [tried[i] for i in best if tried[i][size] != 0]


def _peak(
    measured: Binned, at: Array, background: NDArray[np.bool_], size: int, mass: int, ends: tuple[float, float]
) -> tuple[float, float, float]:
    """Events of a peak at a mass, the -ln L foretold relative to none, and the mass over which the peak changes."""
    ones = np.ones_like(at)
    slope = measured.slope(at)[size]
    information = measured.information(at, ones)
    background = background & (np.diag(information) > 0)
    scale = np.sqrt(np.diag(information)[background])
    among = information[np.ix_(background, background)] / np.outer(scale, scale)
    along = information[background, size] / scale
    own = information[size, size]
    left = own - along @ np.linalg.lstsq(among, along, rcond=None)[0]
    single = at.copy()
    single[size] = 1.0
    moved = measured.information(single, ones)[mass, mass]
    width = float(np.sqrt(own / moved)) if moved > 0 else np.inf
    if not left > 0:
        return 0.0, 0.0, width
    events = float(np.clip(-slope / left, *ends))
    return events, float(events * slope + left * events**2 / 2), width
