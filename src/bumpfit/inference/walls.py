"""Minimisation along walls: where bins without events expect none, and systematics could drive their rates below zero.

At such a wall -ln L still falls, and the wall is curved where a factor multiplies a systematic. Newton steps with a
barrier follow it in hundreds of small ones, or not at all. Sequential quadratic programming takes the rate of such a
bin as what it is, a condition: it may be crossed on the way (-ln L of no events is the rate, which goes on below zero)
and holds at the end (Kraft 1988, as in scipy).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from bumpfit.inference.newton import EMPTY
from bumpfit.inference.starts import lifted
from bumpfit.likelihood import Floats
from bumpfit.types import Flags
from bumpfit.workspace import Model, kernels
from bumpfit.workspace.vectorised import constraint_terms

STEPS = 100
"""Steps along walls; the end is minimised further by Newton's method, so that few change no answer."""
IMPOSSIBLE = 1e9
"""-ln L where a bin with events expects none: a search along a line turns back."""


class Walled(Protocol):
    """A workspace with data and ranges, as far as the walls of its likelihood need it."""

    @property
    def model(self) -> Model:
        """The workspace."""

    @property
    def main(self) -> Floats:
        """Observed counts, (B,)."""

    @property
    def aux(self) -> Floats:
        """Auxiliary measurements, (A,)."""

    @property
    def low(self) -> Floats:
        """Lower ends of the ranges, (P,)."""

    @property
    def high(self) -> Floats:
        """Upper ends of the ranges, (P,)."""

    @property
    def free(self) -> Flags:
        """Whether each parameter is free, (P,)."""


def along_walls(problem: Walled, x: Floats) -> Floats:
    """Where -ln L is low along the walls of empty bins near x, shape (P,), a little on their possible side."""
    from scipy.optimize import minimize  # here, for a quicker start

    p, c = problem, problem.model.compiled
    free, empty = np.flatnonzero(p.free), np.flatnonzero(p.main < EMPTY)

    def full(z: Floats) -> Floats:
        y = x.copy()
        y[free] = z
        return y

    def value(z: Floats) -> float:
        y = full(z)
        rate = p.model.expected(y)
        below = np.minimum(rate[empty], 0.0)
        rate[empty] -= below
        found = float(kernels.objective(y, p.main, p.aux, c, rate)) + float(below.sum())
        return found if np.isfinite(found) else IMPOSSIBLE

    def slope(z: Floats) -> Floats:
        y = full(z)
        rate = p.model.expected(y)
        ratio = np.divide(p.main, rate, where=(rate > 0) & (p.main >= EMPTY), out=np.zeros_like(rate))
        return np.asarray((p.model.jacobian(y) @ (1.0 - ratio) + constraint_terms(y, p.aux, c)[0])[free])

    possible = {
        "type": "ineq",
        "fun": lambda z: p.model.expected(full(z))[empty],
        "jac": lambda z: p.model.jacobian(full(z))[np.ix_(free, empty)].T,
    }
    ranges = list(zip(p.low[free], p.high[free], strict=True))
    with np.errstate(all="ignore"):
        found = minimize(
            value, x[free], jac=slope, method="SLSQP", bounds=ranges, constraints=[possible] if empty.size else [],
            options={"maxiter": STEPS, "ftol": 1e-10},
        )  # fmt: skip
    end = np.clip(found.x, p.low[free], p.high[free])
    if not np.isfinite(end).all():
        return x
    raised = lifted(p.model, full(end), p.main, p.aux, p.free, p.low, p.high)
    return full(end) if raised is None else raised
