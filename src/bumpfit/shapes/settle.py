"""The last steps of a fit of a shape: Newton with exact second derivatives, and along walls.

MIGRAD ends near the minimum; a few Newton steps in whitened coordinates bring the fit to the precision of the numbers
and give the covariance, the inverse of the exact second derivatives.

Where a bin without events would expect less than none, a signal of negative size say, -ln L still falls towards that
wall and its gradient does not vanish at the minimum. A few events eps in place of none add -eps ln(expectation), the
barrier of an interior-point method (Fiacco and McCormick 1968): at its minimum -ln L is above the one sought by at most
eps for every bin at its wall. `bumpfit.inference.newton` does the same for workspaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bumpfit.shapes.coordinates import Coordinates, Measured, coordinates
from bumpfit.shapes.shape import Bounds, Shape

Array = NDArray[np.float64]

CLOSE = 1e-9
"""A fit has settled when its estimated distance to the minimum of -ln L is below this."""

ENOUGH = 1e-6
"""What is left when rounding lets no step go further and is still a minimum, in -ln L."""

STEPS = 100
"""Most Newton steps."""

HALVINGS = 40
"""Most halvings of a step that does not lower -ln L."""

FLAT = 1e-10
"""Curvature relative to the largest one below which a direction is not determined."""

WALLS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9)
"""Events that stand for none along walls; the last bounds the error of -ln L a bin."""

AT_WALL = 1e-3
"""Slope of -ln L against the expectation of a bin (in events of it) that shows that the wall holds the fit."""

INWARDS = (0.05, 0.2, 0.5, 1.0)
"""Parts of the way back to the start at which a descent along walls may begin."""


@dataclass(frozen=True, eq=False)
class Settled:
    """Where Newton's steps ended: values (P,), the coordinates and second derivatives there.

    `active` marks the coordinates that are at no end of their range, `bound` (P,) parameters that are; `walls` counts
    bins without events that hold the fit, `normals` (K, Z) are their derivatives.
    """

    values: Array
    value: float
    edm: float
    steps: int
    evaluations: int
    converged: bool
    space: Coordinates
    hessian: Array
    active: NDArray[np.bool_]
    bound: NDArray[np.bool_]
    normals: Array

    @property
    def walls(self) -> int:
        """Bins without events that the fit expects none in."""
        return len(self.normals)

    def covariance(self) -> Array | None:
        """Inverse of the second derivatives, shape (P, P), with parameters at ends of ranges, and bins at walls, held;
        None when some direction is not determined.
        """
        plane = np.eye(self.active.size)[:, self.active]
        if self.walls and plane.size:
            normals = self.normals @ plane
            normals /= np.linalg.norm(normals, axis=1, keepdims=True)
            values, vectors = np.linalg.svd(normals)[1:]
            plane = plane @ vectors[int((values > FLAT).sum()) :].T
        curvature, axes = np.linalg.eigh(plane.T @ self.hessian @ plane)
        if curvature.size and not curvature[0] > FLAT * max(curvature[-1], 1.0):
            return None
        half = self.space.slope(self.values) @ plane @ (axes / np.sqrt(curvature))
        return np.asarray(half @ half.T)


def settle(
    shape: Shape, likelihood: Measured, values: Array, held: NDArray[np.bool_], limits: Sequence[Bounds]
) -> Settled | None:
    """Newton's steps from values near a minimum, halved until -ln L falls; limits are those of the axes.

    None where the likelihood is zero at the values.
    """
    space = coordinates(shape, likelihood, values, held, limits)
    value = likelihood.value(values)
    if not (np.isfinite(value) and np.isfinite(space.matrix).all()):
        return None
    directions = space.directions
    low, high = space.ends(limits)
    z, best, evaluations, converged = np.zeros(space.free.size), values, 1, False
    active, hessian, edm = np.ones(z.size, dtype=bool), np.zeros((z.size, z.size)), 0.0
    for steps in range(1, STEPS + 1):  # noqa: B007
        slope = (likelihood.slope(best) * shape.units(best)) @ directions
        hessian = likelihood.curvature(best, directions)
        if not (np.isfinite(slope).all() and np.isfinite(hessian).all()):
            edm = np.inf
            break
        active = ~(((z <= low) & (slope >= 0)) | ((z >= high) & (slope <= 0)))
        step = np.zeros(z.size)
        curvature, axes = np.linalg.eigh(hessian[np.ix_(active, active)])
        size = np.maximum(np.abs(curvature), FLAT * np.abs(curvature).max(initial=1e-300))
        along = slope[active] @ axes
        step[active] = -axes @ (along / size)
        edm = 0.5 * float(np.sum(along**2 / size))
        if edm < CLOSE and (curvature > 0).all():
            converged = True
            break
        moved = _lower(likelihood, space, z, step, low, high, value)
        evaluations += moved[3]
        if moved[0] is None:
            break
        z, best, value = moved[0], moved[1], moved[2]
    converged |= edm < ENOUGH and bool(np.linalg.eigvalsh(hessian[np.ix_(active, active)])[:1].min(initial=1.0) > 0)
    bound = np.zeros(values.size, dtype=bool)
    bound[space.free] = (z <= low) | (z >= high)
    best = _at_ends(best, space, z <= low, z >= high, limits)
    return Settled(
        best, value, edm, steps, evaluations, converged, space, hessian, active, bound, np.zeros((0, z.size))
    )


def _at_ends(
    values: Array,
    space: Coordinates,
    lowest: NDArray[np.bool_],
    highest: NDArray[np.bool_],
    limits: Sequence[Bounds],
) -> Array:
    """Values with those at an end of their range exactly there, which the way through z misses by rounding."""
    result = values.copy()
    for marks, side in ((lowest, 0), (highest, 1)):
        for index in space.free[marks]:
            end = limits[index][side]
            assert end is not None
            result[index] = np.exp(end) if space.logarithmic[index] else end
    return result


def _lower(
    likelihood: Measured, space: Coordinates, z: Array, step: Array, low: Array, high: Array, value: float
) -> tuple[Array | None, Array, float, int]:
    """The step halved until -ln L does not rise: coordinates (None: no length helps), values, -ln L, evaluations."""
    noise = 4 * np.finfo(float).eps * abs(value)
    for halving in range(HALVINGS):
        trial = np.clip(z + 0.5**halving * step, low, high)
        point = space.values(trial)
        there = likelihood.value(point)
        if there <= value + noise and not np.array_equal(trial, z):
            return trial, point, there, halving + 1
    return None, z, value, HALVINGS


def along_walls(
    shape: Shape, likelihood: Measured, start: Array, end: Array, held: NDArray[np.bool_], limits: Sequence[Bounds]
) -> Settled | None:
    """Minimum at which bins without events expect none, from a little inside of where a descent ended.

    None where there is no inside between `end` and `start`, or the descent does not settle.
    """
    free = ~held
    for part in INWARDS:
        inner = _between(shape, end, start, part, free)
        expected = likelihood.empty(inner)[0]
        if expected.size and (expected > 0).all() and np.isfinite(likelihood.value(inner)):
            break
    else:
        return None
    before, x = inner, inner
    found: Settled | None = None
    last = WALLS[0]
    steps = evaluations = 0
    for k, events in enumerate(WALLS):
        barrier = likelihood.with_events(events)
        ahead = x
        if k > 1:
            part = (WALLS[k] - WALLS[k - 1]) / (WALLS[k - 1] - WALLS[k - 2])
            ahead = _between(shape, x, before, -part, free)
            if not np.isfinite(barrier.value(ahead)) or (likelihood.empty(ahead)[0] <= 0).any():
                ahead = x
        ended = settle(shape, barrier, ahead, held, limits)
        if ended is None:
            break
        steps, evaluations = steps + ended.steps, evaluations + ended.evaluations
        if not ended.converged and found is not None and events <= ENOUGH:
            break
        before, x, found, last = x, ended.values, ended, events
    if found is None:
        return None
    expected, slopes = likelihood.empty(found.values)
    hold = np.flatnonzero(last / np.maximum(expected, np.finfo(float).tiny) > AT_WALL)
    normals = (slopes[hold] * shape.units(found.values)) @ found.space.directions
    value = likelihood.value(found.values)
    return replace(found, value=value, steps=steps, evaluations=evaluations, normals=normals)


def _between(shape: Shape, first: Array, second: Array, part: float, free: NDArray[np.bool_]) -> Array:
    """A point on the line from the first to the second values, straight along the axes of the shape."""
    logarithmic = np.array(shape.positive) & free
    change = second - first
    change[logarithmic] = np.log(second[logarithmic] / first[logarithmic])
    return shape.moved(first, np.where(free, part * change, 0.0))
