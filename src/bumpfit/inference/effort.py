"""How the fits of small models run: as they stand, and compiled where a question needs many.

An evaluation of a small model takes numpy half a millisecond, nearly all of it for calls, and compiled code some
microseconds; but that has to be loaded, or compiled first. Both forms reach the same minima to rounding.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from bumpfit.compiled import njit
from bumpfit.inference import newton

SMALL = 1e5
"""Bins times squared parameters up to which calls take most of the time of an evaluation in numpy."""
LOAD_AFTER, COMPILE_AFTER = 500, 25_000
"""Evaluations of one question (with the same data) after which compiled code is used where it lies on disk, and after
which it is compiled, once, for all times: about what loading and compiling it take.
"""


@njit()
def _quickly(start, free, low, high, main, aux, m, tolerance, max_iterations):  # type: ignore[no-untyped-def]
    """`newton.minimise`, compiled for Python."""
    return newton.minimise(start, free, low, high, main, aux, m, tolerance, max_iterations)


@dataclasses.dataclass
class Effort:
    """Evaluations that a question has needed so far; with `alone` it stays uncompiled however many."""

    evaluations: int = 0
    alone: bool = False

    def minimise(self, *given: Any) -> Any:
        """As `newton.minimise`, with its arguments and results."""
        *arrays, m, tolerance, max_iterations = given
        small = m.n_bins * m.n_parameters**2 <= SMALL and not self.alone
        if small and self.evaluations >= LOAD_AFTER and (self.evaluations >= COMPILE_AFTER or _quickly.kept):
            # of one layout, for which it is compiled once
            found = _quickly(*(np.array(a, order="C") for a in arrays), m, tolerance, max_iterations)
        else:
            found = newton.minimise(*given)
        self.evaluations += found[4]
        return found
