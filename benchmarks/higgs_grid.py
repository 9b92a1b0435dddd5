"""A template grid with the information of a winner's: 199 bins of a score, 10 x 10 points of (tes, jes), 4e5 events.

    python benchmarks/higgs_grid.py grid.json
    bumpfit higgsml coverage --templates grid.json -n 20000 --challenge-range --workers 2

Made of formulas: cumulated background and signal from the signal-like end (half of the information on mu in 3 bins with
221 and 61 events, 80 % in 9 bins, 90 % in 18), and smooth effects of both scales that leave 0.062 and 0.083 of their
prior. The Fisher bound on mu, scales profiled, is .176, .192, .206, .218 at mu = .1, 1, 2, 3.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scipy.interpolate import PchipInterpolator

BINS, POINTS, HALF = 199, 10, 0.03
BACKGROUND = ((0, 0), (3, 221), (9, 2182), (18, 6500), (60, 45_000), (BINS, 400_000))
SIGNAL = ((0, 0), (3, 61), (9, 194), (18, 314), (60, 520), (BINS, 880))
"""Events in so many bins from the signal-like end."""


def cumulated(points: tuple[tuple[int, int], ...]) -> np.ndarray:
    x, y = np.array(points, dtype=float).T
    return np.expm1(PchipInterpolator(np.log1p(x), np.log1p(y))(np.log1p(np.arange(BINS + 1))))


def grid() -> dict[str, dict[str, list[float]]]:
    background, signal = (np.diff(cumulated(points))[::-1] for points in (BACKGROUND, SIGNAL))
    u = (np.arange(BINS) + 0.5) / BINS
    result = {}
    for tes in np.linspace(1 - HALF, 1 + HALF, POINTS):
        for jes in np.linspace(1 - HALF, 1 + HALF, POINTS):
            t, j = (tes - 1) / 0.01, (jes - 1) / 0.01
            b = t * (0.0349 - 0.012 * (u - 0.5)) + j * (0.0034 - 0.27 * (u - 0.5) ** 2) + 0.001 * t * j
            s = t * (0.01 + 0.005 * u) + j * (0.004 - 0.002 * u)
            result[f"({tes:.6g}, {jes:.6g})"] = {
                "sig": (signal * np.exp(s)).tolist(), "bg": (background * np.exp(b)).tolist()
            }  # fmt: skip
    return result


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(grid()))
