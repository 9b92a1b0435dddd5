"""Profile likelihood on a grid of two parameters, all others refitted at every point."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Unpack

import numpy as np

from bumpfit.display import Table
from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.fit import covariance_at, likelihood_of
from bumpfit.inference.histfactory import FitOptions, Settings
from bumpfit.inference.profile import Profile, reaching, require_poi
from bumpfit.likelihood import Floats, Likelihood, Minimum, ZeroLikelihoodError, at_ends, position
from bumpfit.results import Record
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data, numbers

REACH = 3.0
"""Errors of a parameter that a grid reaches to either side of the best fit, where no points are given."""


@dataclasses.dataclass(frozen=True, eq=False)
class Surface(Record):
    """Rise of -2 ln L above its minimum on a grid: `delta_twice_nll[j][i]` at (x[i], y[j]).

    None where a fit did not converge or the likelihood is zero; `failed` counts such points.

    Examples:
        >>> found = bumpfit.inference.surface(model, "mu", "norm", [0.0, 1.0], [-1.0, 1.0])
        >>> len(found.delta_twice_nll), found.failed
        (2, 0)
    """

    parameters: tuple[str, str]
    x: tuple[float, ...]
    y: tuple[float, ...]
    delta_twice_nll: tuple[tuple[float | None, ...], ...]
    best: tuple[float, float]
    failed: int = 0
    at_bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def _table(self) -> Table:
        rows = [
            (x, y, rise)
            for y, row in zip(self.y, self.delta_twice_nll, strict=True)
            for x, rise in zip(self.x, row, strict=True)
        ]
        return (*self.parameters, "rise of -2 ln L"), rows


def surface(
    model: Model | Likelihood,
    x: str,
    y: str,
    x_points: Sequence[float] | None = None,
    y_points: Sequence[float] | None = None,
    data: Data = None,
    *,
    n_points: int = 21,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Surface:
    """Profile likelihood of parameters x and y on a grid.

    Points default to `n_points` over the best fit -/+ three errors within the range; points outside the range extend
    it, for the free fit too. Raises InputError for wrong names and points, BumpfitError when the free fit fails or the
    data do not determine a parameter whose points are not given.

    Examples:
        >>> found = bumpfit.inference.surface(model, "mu", "norm", [0.0, 1.0], [-1.0, 0.0, 1.0])
        >>> [round(rise, 2) for rise in found.delta_twice_nll[1]]
        [4.79, 0.22]
    """
    if x == y:
        raise InputError(f"a grid needs two different parameters, got '{x}' twice")
    if n_points < 2:
        raise InputError(f"a grid needs at least 2 points a side, got {n_points}")
    likelihood = likelihood_of(model, data, options=options, **settings)
    given: list[Floats | None] = []
    for name, points in ((x, x_points), (y, y_points)):
        require_poi(likelihood, name)
        at = None if points is None else np.unique(numbers(points, "the points of a grid"))
        if at is not None:
            if at.size < 2 or not np.isfinite(at).all():
                raise InputError("a grid needs two or more different finite points a side")
            likelihood = reaching(likelihood, name, float(at[0]), float(at[-1]))
        given.append(at)
    profile = Profile(likelihood, x)
    return profile.settled(lambda: _Grid(profile, y, given, n_points).answer())


class _Grid:
    """Fits on a grid, each from its neighbour, outwards from the best fit."""

    def __init__(self, profile: Profile, other: str, given: Sequence[Floats | None], n_points: int) -> None:
        self.profile, self.names = profile, (profile.parameter, other)
        self.places = [position(profile.likelihood, name) for name in self.names]
        self.best = profile.best.x[self.places]
        self.axes = [self._points(k, at, n_points) for k, at in enumerate(given)]

    def _points(self, k: int, given: Floats | None, n_points: int) -> Floats:
        if given is not None:
            return given
        likelihood, i = self.profile.likelihood, self.places[k]
        error = float(covariance_at(likelihood, self.profile.best)[1][i])
        if not (np.isfinite(error) and error > 0):
            raise BumpfitError(f"the data do not determine '{self.names[k]}'; give the points of the grid")
        low, high = float(likelihood.low[i]), float(likelihood.high[i])
        return np.linspace(max(low, self.best[k] - REACH * error), min(high, self.best[k] + REACH * error), n_points)

    def answer(self) -> Surface:
        x, y = self.axes
        columns, rows = (
            np.argsort(np.abs(at - best), kind="stable") for at, best in zip((x, y), self.best, strict=True)
        )
        found: dict[tuple[int, int], Minimum | None] = {}
        for j in rows:
            for i in columns:
                near = [m for m in (found.get((i + a, j + b)) for a, b in ((1, 0), (-1, 0), (0, 1), (0, -1))) if m]
                found[int(i), int(j)] = self._fit(float(x[i]), float(y[j]), near[0] if near else self.profile.best)
        lowest = self.profile.best.value
        rises = tuple(
            tuple(None if (m := found[i, j]) is None else max(2 * (m.value - lowest), 0.0) for i in range(x.size))
            for j in range(y.size)
        )
        likelihood = self.profile.likelihood
        held = likelihood.at(self.names[0], 0.0).at(self.names[1], 0.0)
        valid = [m for m in found.values() if m is not None]
        failed = len(found) - len(valid)
        return Surface(
            self.names, tuple(x.tolist()), tuple(y.tolist()), rises, (float(self.best[0]), float(self.best[1])), failed,
            tuple(dict.fromkeys((*at_ends(likelihood, self.profile.best), *at_ends(held, *valid)))),
            (f"{failed} of {len(found)} points have no fit",) if failed else (),
        )  # fmt: skip

    def _fit(self, x: float, y: float, near: Minimum) -> Minimum | None:
        held = self.profile.likelihood.at(self.names[0], x).at(self.names[1], y)
        try:
            found = held.begin(near.x).solve()
        except ZeroLikelihoodError:
            return None
        if not found.valid:
            return None
        self.profile.compare(found)
        return found
