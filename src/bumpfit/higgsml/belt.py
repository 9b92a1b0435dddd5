"""The likelihood of one estimator of mu, from pseudo-experiments: its mean and spread as functions of the true mu.

A method that ends in a number x (a regression, a combination) has no likelihood of its own. Pseudo-experiments, the
nuisances drawn from the prior, give the law of x at each mu, taken as normal with a smooth mean and a smooth spread:
-2 ln L(mu) = ((x - m(mu)) / s(mu))^2 + 2 ln s(mu). The calibration of the interval mends what is not normal about it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml.interval import with_interval
from bumpfit.higgsml.measurement import Curve, Measurement

Array = NDArray[np.float64]
DEGREE, SPREAD_DEGREE = 3, 2
"""Of the polynomials through the mean and through the logarithm of the spread."""
FEW = 30
"""Pseudo-experiments that a belt needs."""
CURVE_POINTS, REACH = 61, 5.0
"""Points of a curve, and how far it goes beyond the estimate in standard deviations."""


@dataclasses.dataclass(frozen=True, eq=False)
class Belt:
    """Coefficients of mean and log-spread, powers of mu ascending, and the largest mu that was simulated.

    Beyond that the mean goes on along its tangent and the spread is constant; the mean also below 0.
    """

    mean: Array
    spread: Array
    top: float

    @classmethod
    def of(cls, mu: ArrayLike, x: ArrayLike) -> Belt:
        """From pseudo-experiments: true mu (T,) and the estimator (T,).

        Raises:
            InputError: too few experiments, or an estimator that does not rise with mu.
        """
        true, found = np.asarray(mu, dtype=np.float64), np.asarray(x, dtype=np.float64)
        good = np.isfinite(found)
        true, found = true[good], found[good]
        if len(true) < FEW:
            raise InputError(f"{len(true)} pseudo-experiments have an estimate; expected {FEW} or more")
        mean = _coefficients(true, found, DEGREE)
        rest = found - Polynomial(mean)(true)
        floor = 1e-3 * max(float(rest.std()), 1e-9)
        # E ln chi^2_1 = -gamma - ln 2: the logarithm of a squared deviation is that much below that of the variance
        logs = np.log(np.maximum(rest**2, floor**2)) + np.euler_gamma + math.log(2.0)
        spread = 0.5 * _coefficients(true, logs, SPREAD_DEGREE)
        scale = np.sqrt(np.mean((rest / np.exp(Polynomial(spread)(true))) ** 2))
        spread[0] += math.log(scale)
        belt = cls(mean, spread, float(true.max()))
        line = belt.at(np.linspace(0.0, belt.top, 101))[0]
        if not (line[-1] > line[0] and (np.diff(line) > -1e-9 * abs(line[-1])).mean() > 0.9):
            raise InputError("the estimator does not rise with mu in pseudo-experiments: nothing is measured")
        return belt

    def at(self, mu: ArrayLike) -> tuple[Array, Array]:
        """Mean and spread of the estimator at mu."""
        value = np.asarray(mu, dtype=np.float64)
        inside = np.clip(value, 0.0, self.top)
        mean = Polynomial(self.mean)
        line = mean(inside) + mean.deriv()(inside) * (value - inside)
        return line, np.exp(Polynomial(self.spread)(inside))

    def measurement(self, x: float, seconds: float = 0.0) -> Measurement:
        """The measurement of an estimate, with its curve and the asymptotic interval."""
        grid = np.linspace(-self.top, 3.0 * self.top, 1601)
        line, spread = self.at(grid)
        mu_hat = float(grid[np.argmin(((x - line) / spread) ** 2)])
        slope = float(np.gradient(line, grid)[np.argmin(np.abs(grid - mu_hat))])
        sigma = float(self.at(mu_hat)[1]) / max(slope, 0.1)
        points = np.linspace(0.0, max(mu_hat, 0.0) + REACH * sigma, CURVE_POINTS)
        line, spread = self.at(points)
        rise = ((x - line) / spread) ** 2 + 2.0 * np.log(spread)
        fine = Curve(tuple(points), tuple(rise - rise.min()))
        least = fine.at(np.linspace(0.0, points[-1], 2001)).min()
        curve = Curve(fine.mu, tuple(np.maximum(np.asarray(fine.rise) - least, 0.0).tolist()))
        raw = Measurement(mu_hat, math.nan, math.nan, "", {}, curve, True, False, seconds)
        return with_interval(raw)

    def arrays(self) -> dict[str, Array]:
        """The arrays of a file."""
        return {"belt_mean": self.mean, "belt_spread": self.spread, "belt_top": np.array([self.top])}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Belt:
        """Back from `arrays`; raises ValueError for what is no belt."""
        mean, spread, top = (np.asarray(arrays[f"belt_{name}"], dtype=np.float64) for name in ("mean", "spread", "top"))
        if mean.ndim != 1 or spread.ndim != 1 or top.shape != (1,):
            raise ValueError("its belt is none")
        if not (np.isfinite(mean).all() and np.isfinite(spread).all() and 0 < top[0] < math.inf):
            raise ValueError("its belt is not finite")
        return cls(mean, spread, float(top[0]))


def _coefficients(x: Array, y: Array, degree: int) -> Array:
    """Least squares of y on the powers of x, ascending, shape (degree + 1,)."""
    found = np.asarray(Polynomial.fit(x, y, degree).convert().coef, dtype=np.float64)
    return np.pad(found, (0, degree + 1 - len(found)))
