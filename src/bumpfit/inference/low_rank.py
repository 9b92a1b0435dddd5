"""Minimisation with thousands of constrained parameters over few bins.

With n parameters and B bins the Fisher information is D + J W J^T: D, diagonal, are the constraints, J (n, B) the
derivatives of the rates and W = max(1, counts / rate) / rate. A step solves with it at the cost of n B^2 (Woodbury's
identity: (D + A A^T)^-1 = D^-1 - D^-1 A (1 + A^T D^-1 A)^-1 A^T D^-1) instead of n^3 / 3 with the exact Hessian; what
this leaves out, the curvature of the rates, vanishes at a fit that describes the data. Elsewhere the steps and changes
of slope that were seen make up for it (Nocedal, Math. Comp. 35 (1980) 773: BFGS with this matrix to begin with).
The end is checked with the exact Hessian: an answer is a minimum, to the tolerance, by the same measure as others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bumpfit.inference import newton
from bumpfit.inference.factors import ROUNDING
from bumpfit.threads import matched
from bumpfit.types import Floats
from bumpfit.workspace import kernels
from bumpfit.workspace.arrays import Compiled
from bumpfit.workspace.model import scratch
from bumpfit.workspace.vectorised import constraint_terms, rate_slopes

MANY = 150
"""Free parameters from which on steps are taken this way."""

BINS = 0.5
"""Largest number of bins per free parameter; with more the exact Hessian is as quick."""

UNCONSTRAINED = 1e-6
"""What stands for a constraint of parameters without one, relative to their Fisher information; it slows their steps by
this much and changes no answer.
"""

REMEMBERED = 8
"""Steps and changes of slope that are remembered."""

CURVED = 1e-8
"""Cosine between a step and its change of slope from which on it says something about the curvature."""

STEPS = 100
"""Steps after which the exact Hessian takes over."""

Result = tuple[Floats, float, float, int, int, int]


def minimise(
    start: Floats, free: NDArray[np.bool_], low: Floats, high: Floats, main: Floats, aux: Floats, m: Compiled,
    tolerance: float, max_iterations: int, few: Callable[..., Result] = newton.minimise,
) -> Result:  # fmt: skip
    """As `newton.minimise`, with its arguments and results; quick for many parameters over few bins.

    `few`: the minimiser of other models, with the same arguments.
    """
    with matched(float(m.n_parameters) ** 2 * max(m.n_parameters, m.n_bins)):
        return _minimise(start, free, low, high, main, aux, m, tolerance, max_iterations, few)


def _minimise(
    start: Floats, free: NDArray[np.bool_], low: Floats, high: Floats, main: Floats, aux: Floats, m: Compiled,
    tolerance: float, max_iterations: int, few: Callable[..., Result],
) -> Result:  # fmt: skip
    plain = m.program_first.size == 0 and m.n_independent == m.normal_aux.size
    if not plain or np.count_nonzero(free) < max(MANY, m.n_bins / BINS):
        return few(start, free, low, high, main, aux, m, tolerance, max_iterations)
    begin = np.where(free, np.clip(start, low, high), start)
    x, steps = approach(begin, free, low, high, main, aux, m, tolerance)
    found = check(x, free, low, high, main, aux, m, tolerance)
    if found is None:
        found = newton.minimise(x, free, low, high, main, aux, m, tolerance, max_iterations)
    y, value, edm, iterations, evaluations, status = found
    return y, value, edm, iterations + steps, evaluations + steps, status


class _Point:
    """Rates, what their derivatives need, and -ln L at x."""

    def __init__(self, x: Floats, main: Floats, aux: Floats, m: Compiled) -> None:
        self.rate, self.state = np.empty(m.n_bins), scratch(m)
        kernels.rates(x, m, self.rate, *self.state)
        self.value = float(kernels.objective(x, main, aux, m, self.rate))


def approach(
    x: Floats, free: NDArray[np.bool_], low: Floats, high: Floats, main: Floats, aux: Floats, m: Compiled,
    tolerance: float,
) -> tuple[Floats, int]:  # fmt: skip
    """Where steps with the Fisher information settle, and how many there were; not yet known to be a minimum."""
    point = _Point(x, main, aux, m)
    if not np.isfinite(point.value):
        return x, 0
    strength = constraint_terms(x, aux, m)[1]
    damping, seen, before = 0.0, _Seen(), None
    for step in range(STEPS):
        jac = rate_slopes(x, m, *point.state)
        grad = gradient(x, main, aux, m, point.rate, jac)
        active = movable(x, free, low, high, grad)
        weight = np.maximum(1.0, np.divide(main, point.rate, where=point.rate > 0, out=np.zeros_like(main)))
        weight = np.divide(weight, point.rate, where=point.rate > 0, out=np.zeros_like(main))
        fisher = strength + (jac * jac) @ weight
        active &= (fisher > 0) | (grad != 0)
        if not active.any():
            return x, step
        if before is not None:
            seen.add(x - before[0], grad - before[1], active)
        root = jac[active] * np.sqrt(weight)
        while True:
            solve = _inverse(np.maximum(strength, UNCONSTRAINED * fisher)[active] + damping * fisher[active], root)
            move = seen.step(grad[active], solve) if damping == 0.0 else solve(grad[active])
            edm = 0.5 * float(grad[active] @ move) * (1 + damping)
            trial = x.copy()
            trial[active] = np.clip(x[active] - move, low[active], high[active])
            there = _Point(trial, main, aux, m)
            noise = ROUNDING * abs(point.value)
            if there.value <= point.value + noise:
                break
            if seen.pairs and damping == 0.0:
                seen.pairs.clear()
                continue
            if edm < tolerance or damping > 1e6:
                return x, step
            damping = max(10 * damping, 1e-3)
        before = x, grad
        x, point = trial, there
        damping = 0.1 * damping if damping > 1e-7 else 0.0
        if edm < 0.01 * tolerance + noise and damping == 0.0:
            return x, step + 1
    return x, STEPS


def _inverse(diagonal: Floats, root: Floats) -> Callable[[Floats], Floats]:
    """Solves with D + A A^T, D the diagonal (n,) and A the root (n, B)."""
    scaled = root / diagonal[:, None]
    small = np.eye(root.shape[1]) + root.T @ scaled

    def solve(slope: Floats) -> Floats:
        move = slope / diagonal
        return np.asarray(move - scaled @ np.linalg.solve(small, root.T @ move))

    return solve


@dataclasses.dataclass
class _Seen:
    """Steps and changes of slope among the same parameters, (n,) each."""

    pairs: list[tuple[Floats, Floats]] = dataclasses.field(default_factory=list)
    active: NDArray[np.bool_] | None = None

    def add(self, step: Floats, change: Floats, active: NDArray[np.bool_]) -> None:
        """Take up a step; those among other parameters are forgotten."""
        if self.active is None or not np.array_equal(active, self.active):
            self.pairs.clear()
            self.active = active
        s, y = step[active], change[active]
        if s @ y > CURVED * np.sqrt((s @ s) * (y @ y)):
            self.pairs = [*self.pairs[1 - REMEMBERED :], (s, y)]

    def step(self, slope: Floats, solve: Callable[[Floats], Floats]) -> Floats:
        """The step of BFGS."""
        slope, parts = slope.copy(), []
        for s, y in reversed(self.pairs):
            parts.append(float(s @ slope) / float(s @ y))
            slope -= parts[-1] * y
        move = solve(slope)
        for (s, y), part in zip(self.pairs, reversed(parts), strict=True):
            move += s * (part - float(y @ move) / float(s @ y))
        return move


def gradient(x: Floats, main: Floats, aux: Floats, m: Compiled, rate: Floats, jac: Floats) -> Floats:
    """First derivatives of -ln L, shape (P,), from the rates and their slopes (P, B)."""
    slope: Floats = jac @ (1.0 - np.divide(main, rate, where=main > 0, out=np.zeros_like(main)))
    return slope + constraint_terms(x, aux, m)[0]


def movable(x: Floats, free: NDArray[np.bool_], low: Floats, high: Floats, grad: Floats) -> NDArray[np.bool_]:
    """Free parameters but those at an end of their range with -ln L falling outwards, shape (P,)."""
    return np.asarray(free & ~((x <= low) & (grad >= 0)) & ~((x >= high) & (grad <= 0)))


def check(
    x: Floats, free: NDArray[np.bool_], low: Floats, high: Floats, main: Floats, aux: Floats, m: Compiled,
    tolerance: float,
) -> Result | None:  # fmt: skip
    """One plain step with the exact Hessian; None when that is not positive definite, or the step is no last one."""
    point = _Point(x, main, aux, m)
    value = point.value
    if not np.isfinite(value):
        return None
    jac, hess = np.empty((m.n_parameters, m.n_bins)), np.empty((m.n_parameters, m.n_parameters))
    grad, diagonal = np.empty(m.n_parameters), np.empty(m.n_parameters)
    kernels.derivatives(x, main, aux, m, point.rate, *point.state, jac, grad, hess, diagonal)
    active = movable(x, free, low, high, grad)
    active &= (jac != 0).any(axis=1) | (grad != 0) | (np.diag(hess) != 0)
    if not active.any():
        return x, value, 0.0, 1, 1, newton.CONVERGED
    from scipy.linalg import cho_factor, cho_solve  # here, for a quicker start

    try:
        move = cho_solve(cho_factor(hess[np.ix_(active, active)], lower=True, overwrite_a=True), grad[active])
    except np.linalg.LinAlgError:
        return None
    edm = 0.5 * float(grad[active] @ move)
    trial = x.copy()
    trial[active] = np.clip(x[active] - move, low[active], high[active])
    there = _Point(trial, main, aux, m).value
    if not edm < tolerance + ROUNDING * abs(value):
        return None
    if there <= value:
        return trial, there, edm, 1, 2, newton.CONVERGED
    return x, value, edm, 1, 2, newton.CONVERGED
