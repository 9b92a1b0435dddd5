"""Minimum of a likelihood of a shape: MIGRAD with analytic gradients in whitened parameters, then Newton's last steps.

MIGRAD finds the valley, `settle` ends the descent with exact second derivatives, and `along_walls` finds minima at
which bins without events expect none. What MIGRAD is asked for continues smoothly into impossible values, so that it
can come back from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import iminuit
import numpy as np
from numpy.typing import NDArray

from bumpfit.shapes.coordinates import Coordinates, Measured, coordinates, scaled_limits
from bumpfit.shapes.settle import ENOUGH, WALLS, Settled, along_walls, settle
from bumpfit.shapes.shape import FREE, Bounds, Shape

Array = NDArray[np.float64]

TOLERANCE = 1e-4
"""MIGRAD's tolerance: it stops at an expected distance of 0.002 TOLERANCE 0.5 = 1e-7 in -ln L from the minimum."""

LARGEST = 1e250
"""Positive parameters start between 1 / LARGEST and LARGEST: beyond, derivatives leave the floating-point numbers."""

HUGE = 1e300
"""Stands for a likelihood that is no number (overflow far from the minimum), so that MIGRAD turns back."""

UNDETERMINED = (
    "the spectrum does not determine the parameters, one left the range of floating-point numbers: "
    "take fewer parameters, a wider range or a reference mass"
)


@dataclass(frozen=True, eq=False)
class Ended:
    """Where a fit ended: values (P,), -ln L there without its constant, and what is wrong with it (nothing: valid).

    `bound` (P,) marks parameters at an end of their range, `walls` counts bins without events that the fit expects none
    in; the covariance holds both.
    """

    values: Array
    value: float
    edm: float | None
    covariance: Array | None
    bound: NDArray[np.bool_]
    walls: int
    problems: tuple[str, ...]
    attempts: tuple[str, ...] = ()
    steps: int = 0
    evaluations: int = 0


def minimise(
    shape: Shape, likelihood: Measured, start: Array, held: NDArray[np.bool_], limits: Sequence[Bounds]
) -> Ended:
    """The minimum that lies below the start.

    MIGRAD works in whitened coordinates made at the start, and where Newton's steps do not settle after it, again from
    those made where it ended, at higher strategies. `held` marks fixed parameters; start values on or outside their
    limits are moved inside by a hundredth of the range (or of their size).
    """
    positive = np.array(shape.positive) & ~held
    if not np.isfinite(start).all() or not ((start > 1 / LARGEST) & (start < LARGEST))[positive].all():
        return _impossible(start)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # Overflow far from the minimum is met on the way and judged at the end: every result is checked to be finite.
        return _descend(shape, likelihood, inside(start, limits, held), held, scaled_limits(shape, limits))


def _descend(
    shape: Shape, likelihood: Measured, start: Array, held: NDArray[np.bool_], limits: Sequence[Bounds]
) -> Ended:
    attempts: list[str] = []
    evaluations = 0
    values, best = start, None
    for strategy in (0, 1, 2):
        space = coordinates(shape, likelihood, values, held, limits)
        if not np.isfinite(space.matrix).all():
            return _impossible(values)
        if space.free.size:
            minuit = _migrad(likelihood, space, limits, strategy)
            values = space.values(np.array(minuit.values))
            evaluations += minuit.nfcn + minuit.ngrad
            attempts.append(f"migrad strategy {strategy}: {'valid' if minuit.valid else 'not valid'}")
        found, told = _settled(shape, likelihood, start, values, held, limits)
        attempts += told
        best = found if best is None else best
        if found is not None:
            best, values = found, found.values
            evaluations += found.evaluations
            if found.converged:
                break
    return _ended(likelihood, values, best, tuple(attempts), evaluations)


def _settled(
    shape: Shape,
    likelihood: Measured,
    start: Array,
    end: Array,
    held: NDArray[np.bool_],
    limits: Sequence[Bounds],
) -> tuple[Settled | None, list[str]]:
    """Newton's steps from where MIGRAD ended, and along walls where these do not settle; the lower one."""
    found = settle(shape, likelihood, end, held, limits)
    told = [f"newton: {_word(found)}"]
    if (found is None or not found.converged) and likelihood.empty(start)[0].size:
        walled = along_walls(shape, likelihood, start, end, held, limits)
        if walled is None:
            inner = _within_walls(shape, likelihood, start, held, limits)
            walled = along_walls(shape, likelihood, inner, inner, held, limits)
        told.append(f"along walls: {_word(walled)}")
        above = ENOUGH * likelihood.empty(start)[0].size
        if walled is not None and (found is None or (walled.converged and walled.value <= found.value + above)):
            return walled, told
    return found, told


def _within_walls(
    shape: Shape, likelihood: Measured, start: Array, held: NDArray[np.bool_], limits: Sequence[Bounds]
) -> Array:
    """Values at which bins without events expect some, where the start does not have them: they are given some."""
    barrier = likelihood.with_events(WALLS[0])
    space = coordinates(shape, likelihood, start, held, limits)
    if not (space.free.size and np.isfinite(space.matrix).all()):
        return start
    return space.values(np.array(_migrad(barrier, space, limits, 0).values))


def _word(found: Settled | None) -> str:
    return (
        "no likelihood" if found is None else "converged" if found.converged else f"not converged (edm {found.edm:.2g})"
    )


def inside(start: Array, limits: Sequence[Bounds], held: NDArray[np.bool_]) -> Array:
    """Start values moved off and inside their limits, where MIGRAD's transformation has a slope."""
    result = start.copy()
    for k, (low, high) in enumerate(limits):
        if held[k] or (low is None and high is None):
            continue
        size = max(abs(start[k]), 1.0) if low is None or high is None else high - low
        if low is not None:
            result[k] = max(result[k], low + 0.01 * size if result[k] <= low else low)
        if high is not None:
            result[k] = min(result[k], high - 0.01 * size if result[k] >= high else high)
    return result


def _migrad(likelihood: Measured, space: Coordinates, limits: Sequence[Bounds], strategy: int) -> iminuit.Minuit:
    """MIGRAD on -ln L(z), with limits for the bounded parameters."""

    def nll(z: Array) -> float:
        value = likelihood.soft(space.values(z))
        return value if np.isfinite(value) else HUGE

    def gradient(z: Array) -> Array:
        values = space.values(z)
        result = likelihood.soft_slope(values) @ space.slope(values)
        return result if np.isfinite(result).all() else np.zeros(z.size)

    minuit = iminuit.Minuit(nll, np.zeros(space.free.size), grad=gradient)
    minuit.errordef = iminuit.Minuit.LIKELIHOOD
    minuit.tol = TOLERANCE
    minuit.errors = 1.0
    for z, (index, low, high) in enumerate(zip(space.free, *space.ends(limits), strict=True)):
        if limits[index] != FREE:
            minuit.limits[z] = (low, high)
    minuit.strategy = strategy
    return minuit.migrad()


def _ended(
    likelihood: Measured, values: Array, found: Settled | None, attempts: tuple[str, ...], evaluations: int
) -> Ended:
    problems = likelihood.problems(values)
    covariance = None if found is None else found.covariance()
    if found is None:
        problems.append("MIGRAD ended where the likelihood is zero")
    elif not found.converged:
        problems.append(f"the fit did not converge (edm {found.edm:.2g})")
    if found is not None and covariance is None:
        problems.append("the Hessian could not be inverted")
    elif covariance is not None and not (np.isfinite(values).all() and np.isfinite(covariance).all()):
        covariance = None
        problems.append(UNDETERMINED)
    return Ended(
        values=values,
        value=likelihood.value(values),
        edm=None if found is None else found.edm,
        covariance=covariance,
        bound=np.zeros(values.size, dtype=bool) if found is None else found.bound,
        walls=0 if found is None else found.walls,
        problems=tuple(problems),
        attempts=attempts,
        steps=0 if found is None else found.steps,
        evaluations=evaluations,
    )


def _impossible(values: Array) -> Ended:
    """The fit that has no start: the spectrum leaves the parameters undetermined over hundreds of powers of ten."""
    nowhere = np.zeros(values.size, dtype=bool)
    return Ended(values, float("nan"), None, None, nowhere, 0, (UNDETERMINED,))
