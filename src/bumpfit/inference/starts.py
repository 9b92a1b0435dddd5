"""Starts of a fit where the given one expects fewer than no events, or none in a bin with events."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bumpfit.types import Floats
from bumpfit.workspace import Model
from bumpfit.workspace.vectorised import constraint_terms

STEPS = 20
"""Steps of `lifted`: yields are not linear in all parameters."""
SHARE = 0.1
"""Of the events of a bin, what a lifted start expects there at least."""


def lifted(
    model: Model, x: Floats, main: Floats, aux: Floats, free: NDArray[np.bool_], low: Floats, high: Floats
) -> Floats | None:
    """The nearest start to x (P,), in widths of the constraints, at which every bin has a possible rate; None where x
    is one already, and where none is found.

    Bins whose rate is impossible with counts `main` (B,) are asked for as much above zero as they are below it, at
    least for `SHARE` of their events: the smallest step does that, as often as it takes.
    """
    x = np.where(free, np.clip(x, low, high), x)
    information = constraint_terms(x, aux, model.compiled)[1]
    widths = np.where(free, 1.0 / np.sqrt(np.where(information > 0.0, information, 1.0)), 0.0)
    for step in range(STEPS):
        rate = model.expected(x)
        bad = (rate < 0.0) | ((rate <= 0.0) & (main > 0.0))
        if not bad.any():
            return x if step else None
        slopes = model.jacobian(x)[:, bad]
        if not np.isfinite(slopes).all():
            return None
        wanted = np.maximum(SHARE * main[bad], -rate[bad]) - rate[bad]
        move = widths * np.linalg.lstsq((widths[:, None] * slopes).T, wanted, rcond=None)[0]  # of least norm
        moved = np.where(free, np.clip(x + move, low, high), x)
        if np.array_equal(moved, x):
            return None
        x = moved
    return None
