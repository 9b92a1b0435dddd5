"""Which other sides of many one-sided systematics are worth a fit: the profile of -ln L along each, at once.

Along parameter i all others are profiled, with the rates linear in them: r = r_i(t) + J^T d. At the minimum over d of

    sum_b (r_b - n_b ln r_b) + c d + d D d / 2,        D, c: information and slope of the constraints at x,

D d = -c - J f', f' = 1 - n / r, so that r + K f' = r_i(t) - J^T D^-1 c with K = J^T D^-1 J: one equation a bin for
every place t, whatever the number of parameters. All places are solved together, by Newton's method with the matrix of
the minimum, 1 + K n / r^2, whose inverse is known once; leaving out parameter i changes it by one product of vectors
(Sherman and Morrison, Ann. Math. Stat. 21 (1950) 124).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bumpfit.inference.lines import Lines
from bumpfit.inference.low_rank import UNCONSTRAINED, movable
from bumpfit.poisson import deviance
from bumpfit.types import Floats
from bumpfit.workspace.vectorised import constraint_terms, rate_slopes

PLACES = np.array([-3.0, -2.3, -1.7, -1.2, -0.8, -0.5, -0.25, 0.25, 0.5, 0.8, 1.2, 1.7, 2.3, 3.0])
"""Widths of a parameter from its centre at which its profile is looked at."""
STEPS, SETTLED = 16, 1e-9
"""Most steps for the rates at each place, and how far, relative to them, the last one goes: they need not be more
precise than rates that are linear."""
MARGIN = 1.0
"""Dips that are expected so much above the minimum, in -ln L, are fitted: rates are not quite linear."""
LEAST = 1e-3
"""Smallest rate of a bin that is taken."""
LARGEST, EACH = 200, 4
"""Bins up to which this is quicker than fits, and for each free parameter."""


class Screen:
    """Profiles along the parameters that `lines` takes, around the minimum that they start from."""

    def __init__(self, lines: Lines, aux: Floats, free: NDArray[np.bool_], low: Floats, high: Floats) -> None:
        c, x = lines.model.compiled, lines.x
        self.lines, self.low, self.high = lines, low, high
        self.jac = rate_slopes(x, c, *lines.state)
        rate = np.maximum(lines.rate, LEAST)
        fisher = (self.jac * self.jac) @ (np.maximum(1.0, lines.main / rate) / rate)
        self.pull, information = constraint_terms(x, aux, c)
        self.strength = np.maximum(information, UNCONSTRAINED * fisher)
        slope = self.pull + self.jac @ (1.0 - lines.main / rate)
        self.active = movable(x, free, low, high, slope) & (self.strength > 0)
        scaled = self.jac[self.active] / self.strength[self.active, None]
        self.kernel, self.push = scaled.T @ self.jac[self.active], scaled.T @ self.pull[self.active]
        self.weight = lines.main / rate**2
        self.inverse = np.linalg.inv(np.eye(rate.size) + self.kernel * self.weight)

    def profile(self, i: int, places: Floats) -> tuple[Floats, Floats]:
        """-ln L, (T,), up to a constant, with parameter i at the places, and all parameters there, (T, P)."""
        lines, main = self.lines, self.lines.main
        bins, moved = lines.rates(i, places)
        rate = np.repeat(lines.rate[None, :], places.size, axis=0)
        rate[:, bins] = moved
        kernel, push, solved = self.kernel, self.push, self.inverse
        if self.active[i]:
            alone, weighted = self.jac[i] / self.strength[i], self.jac[i] * self.weight
            kernel, push = kernel - np.outer(alone, self.jac[i]), push - alone * self.pull[i]
            lost = solved @ alone
            solved = solved + np.outer(lost, weighted @ solved) / (1.0 - weighted @ lost)
        goal, rate = rate - push, np.maximum(rate, LEAST)
        for _ in range(STEPS):
            step = (rate + (1.0 - main / rate) @ kernel - goal) @ solved.T
            rate = np.maximum(rate - step, 0.1 * rate)
            if np.all(np.abs(step) <= SETTLED * rate):
                break
        slope = 1.0 - main / rate
        heights = 0.5 * deviance(main, rate).sum(axis=1) + 0.5 * np.sum((slope @ kernel) * slope, axis=1)
        others = self.active & (np.arange(lines.x.size) != i)
        points = np.repeat(lines.x[None, :], places.size, axis=0)
        points[:, others] -= (self.pull[others] + slope @ self.jac[others].T) / self.strength[others]
        points[:, i] = places
        return heights + lines.penalty(i, places), np.clip(points, self.low, self.high)

    def starts(self, bent: tuple[int, ...], centre: Floats, width: Floats) -> list[Floats]:
        """Starts in valleys along the parameters: first all that lie lower at once, then one by one, lowest first."""
        x = self.lines.x
        found: list[tuple[float, Floats]] = []
        together = x.copy()
        for i in bent:
            places = np.sort(np.append(centre[i] + width[i] * PLACES, x[i]))
            heights, points = self.profile(i, places)
            here = int(np.searchsorted(places, x[i]))
            rise = heights - heights[here]
            around = np.array([np.inf, *rise, np.inf])
            dips = (rise < around[:-2]) & (rise <= around[2:]) & (rise < MARGIN)
            dips[here] = False
            found += [(float(rise[k]), points[k]) for k in np.flatnonzero(dips)]
            lower = int(np.argmin(np.where(dips, rise, np.inf)))
            if dips[lower] and rise[lower] < 0:
                together[i] = places[lower]
        starts = [point for _, point in sorted(found, key=lambda one: one[0])]
        return starts if np.array_equal(together, x) else [together, *starts]
