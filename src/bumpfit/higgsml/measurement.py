"""What every method answers with: the strength, its interval, and how the likelihood rises from its minimum."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline

from bumpfit.results import Record

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Curve(Record):
    """-2 ln L above its minimum over mu >= 0 on a grid of mu, nuisances profiled.

    `mu` ascends from 0; `rise` is 0 at the minimum up to interpolation.
    """

    mu: tuple[float, ...]
    rise: tuple[float, ...]

    def at(self, mu: ArrayLike) -> Array:
        """The rise at mu, by a cubic spline; beyond the grid the parabola of the last point goes on."""
        x, y = np.asarray(self.mu), np.asarray(self.rise)
        spline = CubicSpline(x, y, bc_type="natural" if len(x) < 4 else "not-a-knot")
        at = np.asarray(mu, dtype=np.float64)
        inside = np.clip(at, x[0], x[-1])
        beyond = at - inside
        slope, bend = spline(inside, 1), np.maximum(spline(inside, 2), 0.0)
        return np.asarray(spline(inside) + slope * beyond + 0.5 * bend * beyond**2)

    @classmethod
    def of(
        cls, profile: Callable[[float], float], mu_hat: float, sigma: float, points: int = 41, reach: float = 5.0
    ) -> Curve:
        """The curve of -2 ln L(mu), asked for at `points` values of mu up to mu_hat + reach sigma."""
        top = max(mu_hat, 0.0) + reach * sigma
        grid = np.linspace(max(0.0, mu_hat - reach * sigma), top, points)
        if grid[0] > 0.0:
            grid = np.concatenate([[0.0], grid])
        best = max(mu_hat, 0.0)
        values = np.array([profile(float(mu)) for mu in grid])
        return cls(tuple(grid.tolist()), tuple((values - profile(best)).tolist()))

    @classmethod
    def parabola(cls, mu_hat: float, sigma: float) -> Curve:
        """The curve of a Gaussian measurement; the minimum is at 0 where mu_hat is below."""
        best = max(mu_hat, 0.0)
        grid = np.linspace(0.0, best + 5.0 * sigma, 41)
        rise = ((grid - mu_hat) ** 2 - (best - mu_hat) ** 2) / sigma**2
        return cls(tuple(grid.tolist()), tuple(rise.tolist()))


@dataclasses.dataclass(frozen=True, eq=False)
class Measurement(Record):
    """A measured strength.

    `mu_hat` is the fit without a bound (it may be negative); the interval [low, high] is inside mu >= 0. `pieces` are
    its parts: one, several (then low and high are its outer ends), or none (the interval is empty, low and high NaN).
    `interval_kind` says how it was made. `nuisances` are (value, error) by name. `twice_nll` is the profile curve.
    `at_bound`: the interval begins at the bound mu = 0 (or ends at one of a range that was used). A measurement that
    failed is not `valid`, and `diagnostics` say why.
    """

    mu_hat: float
    low: float
    high: float
    interval_kind: str
    nuisances: Mapping[str, tuple[float, float]]
    twice_nll: Curve | None
    valid: bool
    at_bound: bool
    seconds: float
    pieces: tuple[tuple[float, float], ...] = ()
    diagnostics: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def sigma(self) -> float:
        """Half the width of the interval."""
        return 0.5 * (self.high - self.low)

    def official(self) -> dict[str, float]:
        """What the challenge asks of a submission."""
        return {"mu_hat": self.mu_hat, "delta_mu_hat": self.high - self.low, "p16": self.low, "p84": self.high}


def failed(reason: str, seconds: float = math.nan) -> Measurement:
    """A measurement that could not be made."""
    return Measurement(math.nan, math.nan, math.nan, "none", {}, None, False, False, seconds, (), {"reason": reason})
