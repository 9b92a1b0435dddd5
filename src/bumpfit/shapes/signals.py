"""Signal shapes with closed-form bin integrals: Gaussian and double-sided Crystal Ball.

The first parameter is the number of signal events over the whole line; a histogram that cuts the peak holds fewer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf, ndtr

from bumpfit.errors import InputError
from bumpfit.shapes.shape import FREE, Bounds, Shape, Values

Array = NDArray[np.float64]

NARROWEST = 0.01
"""Smallest width of a peak in a fit, in units of the finest bin: below it the bins cannot tell widths apart."""

ROOT_2PI = math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class Peak(Shape):
    """A peak with parameters n_signal, mass, sigma and maybe tails; subclasses give its cumulative function."""

    @property
    def bounds(self) -> tuple[Bounds, ...]:
        """The yield is free, mass is free, the width is positive."""
        return (FREE, FREE, (0.0, None))

    def start(self, edges: ArrayLike, counts: ArrayLike, fixed: Mapping[str, float] | None = None) -> Array:
        """Sum of the counts, the centre of the densest bin, and the width at half of that density over 2.355."""
        bins, n = self.check_range(edges), np.asarray(counts, dtype=np.float64)
        if not n.sum() > 0:
            raise InputError(f"cannot fit {self.name}: the histogram holds no events")
        density = n / np.diff(bins)
        peak = int(np.argmax(density))
        below = np.flatnonzero(density < 0.5 * density[peak])
        first = below[below < peak].max(initial=-1) + 1
        last = below[below > peak].min(initial=n.size) - 1
        sigma = (bins[last + 1] - bins[first]) / math.sqrt(8 * math.log(2))
        return np.array([n.sum(), 0.5 * (bins[peak] + bins[peak + 1]), sigma, *self.tails])

    def bounds_in(self, edges: Array) -> tuple[Bounds, ...]:
        """The mass stays between the edges, the width between a hundredth of the finest bin and the whole range."""
        width = (NARROWEST * float(np.diff(edges).min()), float(edges[-1] - edges[0]))
        return (FREE, (float(edges[0]), float(edges[-1])), width, *self.bounds[3:])

    def candidates(self, edges: Array) -> Array:
        """Peaks at every bin centre with widths of 1, 2 and 4 bins, shape (K, P)."""
        centres, widths = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
        rows = [
            (1.0, mass, wide * width, *self.tails)
            for mass, width in zip(centres, widths, strict=True)
            for wide in (1, 2, 4)
        ]
        return np.array([row for row in rows if row[2] < edges[-1] - edges[0]])

    @property
    def tails(self) -> tuple[float, ...]:
        """Start values of the parameters after the width."""
        return ()


@dataclass(frozen=True)
class Gaussian(Peak):
    """n_signal times a normal density of mean `mass` and width `sigma` (GeV)."""

    def density(self, x: ArrayLike, parameters: Values) -> Array:
        """Events per GeV, shape (N,)."""
        number, mass, sigma = _checked(self, parameters)
        t = (np.asarray(x, dtype=np.float64) - mass) / sigma
        return np.asarray(number / (ROOT_2PI * sigma) * np.exp(-0.5 * t * t))

    def density_gradient(self, x: ArrayLike, parameters: Values) -> Array:
        """Derivatives for n_signal, mass, sigma, shape (N, 3)."""
        number, mass, sigma = _checked(self, parameters)
        t = (np.asarray(x, dtype=np.float64) - mass) / sigma
        unit = np.exp(-0.5 * t * t) / (ROOT_2PI * sigma)
        return np.stack([unit, number * unit * t / sigma, number * unit * (t * t - 1) / sigma], axis=-1)

    def integrate(self, edges: ArrayLike, parameters: Values) -> Array:
        """Expected events a bin by differences of the normal integral, taken from the nearer tail, shape (B,)."""
        number, mass, sigma = _checked(self, parameters)
        t = (self.check_range(edges) - mass) / sigma
        return np.asarray(number * _normal(t))

    def gradient(self, edges: ArrayLike, parameters: Values) -> Array:
        """Derivatives of `integrate` for n_signal, mass, sigma, shape (B, 3)."""
        number, mass, sigma = _checked(self, parameters)
        t = (self.check_range(edges) - mass) / sigma
        phi = np.exp(-0.5 * t * t) / ROOT_2PI
        return np.stack([_normal(t), -number * np.diff(phi) / sigma, -number * np.diff(t * phi) / sigma], axis=-1)

    def curvature(self, edges: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """Exact second derivatives of the weighted content along directions, shape (Z, Z)."""
        number, mass, sigma = _checked(self, parameters)
        t = (self.check_range(edges) - mass) / sigma
        phi = np.exp(-0.5 * t * t) / ROOT_2PI
        by_mass, by_width, mass_mass, mass_width, width_width = (
            -float(weights @ np.diff(factor * phi)) for factor in (1.0, t, t, t * t - 1, t**3 - 2 * t)
        )
        return _second(number, sigma, (by_mass, by_width), (mass_mass, mass_width, width_width), directions)

    def density_curvature(self, x: ArrayLike, parameters: Values, weights: Array, directions: Array) -> Array:
        """Exact second derivatives of the weighted density along directions, shape (Z, Z)."""
        number, mass, sigma = _checked(self, parameters)
        t = (np.asarray(x, dtype=np.float64) - mass) / sigma
        unit = weights * np.exp(-0.5 * t * t) / (ROOT_2PI * sigma)
        first = (float((unit * t).sum()), float((unit * (t * t - 1)).sum()))
        second = (t * t - 1, t**3 - 3 * t, t**4 - 5 * t * t + 2)
        return _second(number, sigma, first, tuple(float((unit * factor).sum()) for factor in second), directions)


def _second(
    number: float, sigma: float, first: tuple[float, float], second: tuple[float, ...], directions: Array
) -> Array:
    """Second derivatives for n_signal, mass and sigma from those of one event in units of sigma, along directions."""
    (m, s), (mm, ms, ss) = first, second
    matrix = np.array(
        [
            [0.0, m / sigma, s / sigma],
            [m / sigma, number * mm / sigma**2, number * ms / sigma**2],
            [s / sigma, number * ms / sigma**2, number * ss / sigma**2],
        ]
    )
    return np.asarray(directions.T @ matrix @ directions)


def _normal(t: Array) -> Array:
    """Normal probability between neighbours of t; the tail that is nearer keeps the relative precision."""
    low, high = t[:-1], t[1:]
    upper = low + high > 0
    return np.asarray(np.where(upper, ndtr(-low) - ndtr(-high), ndtr(high) - ndtr(low)))


def _checked(shape: Shape, parameters: Values) -> Array:
    p = shape.array(parameters)
    if not p[2] > 0:
        raise InputError(f"{shape.name} needs a positive width, got sigma = {p[2]:g}")
    return p


def gaussian() -> Gaussian:
    """Gaussian signal with parameters n_signal (events), mass and sigma (GeV).

    Examples:
        >>> bumpfit.shapes.gaussian().integrate([2900.0, 3000.0, 3100.0], [10.0, 3000.0, 100.0]).round(3).tolist()
        [3.413, 3.413]
    """
    return Gaussian("gaussian", ("n_signal", "mass", "sigma"))


@dataclass(frozen=True)
class DoubleCrystalBall(Peak):
    """Gaussian core with a power-law tail on each side (Oreglia, SLAC-236 (1980), app. D, doubled).

    With t = (m - mass) / sigma: exp(-t^2/2) for -alpha_low <= t <= alpha_high, below it
    exp(-alpha_low^2/2) [1 - (alpha_low/n_low)(alpha_low + t)]^-n_low, above it the mirror image. Normalised to n_signal
    over the whole line, which needs n_low, n_high > 1.
    """

    @property
    def bounds(self) -> tuple[Bounds, ...]:
        """Core as the Gaussian; alpha > 0 and n > 1 on both sides."""
        return (FREE, FREE, (0.0, None), (0.0, None), (1.0, None), (0.0, None), (1.0, None))

    @property
    def tails(self) -> tuple[float, ...]:
        """alpha 1.5 and n 5 on both sides: where the tails start to matter, and how fast they fall at first guess."""
        return (1.5, 5.0, 1.5, 5.0)

    def density(self, x: ArrayLike, parameters: Values) -> Array:
        """Events per GeV, shape (N,)."""
        p = _checked_tails(self, parameters)
        t = (np.asarray(x, dtype=np.float64) - p[1]) / p[2]
        return np.asarray(p[0] / p[2] * _core_and_tails(t, p[3:])[0] / _norm(p[3:])[0])

    def density_gradient(self, x: ArrayLike, parameters: Values) -> Array:
        """Derivatives for all seven parameters, shape (N, 7)."""
        p = _checked_tails(self, parameters)
        t = (np.asarray(x, dtype=np.float64) - p[1]) / p[2]
        value, slope, tails = _core_and_tails(t, p[3:])
        norm, norm_tails = _norm(p[3:])
        f = value / (norm * p[2])
        columns = [f, -p[0] * slope / (norm * p[2] ** 2), -p[0] * (f + slope * t / (norm * p[2])) / p[2]]
        columns += [p[0] * (tails[k] / (norm * p[2]) - f * norm_tails[k] / norm) for k in range(4)]
        return np.stack(columns, axis=-1)

    def integrate(self, edges: ArrayLike, parameters: Values) -> Array:
        """Expected events a bin from the closed form of the core and of both tails, shape (B,)."""
        p = _checked_tails(self, parameters)
        t = (self.check_range(edges) - p[1]) / p[2]
        return np.asarray(p[0] * _difference(t, p[3:])[0] / _norm(p[3:])[0])

    def gradient(self, edges: ArrayLike, parameters: Values) -> Array:
        """Derivatives of `integrate` for all seven parameters, shape (B, 7)."""
        p = _checked_tails(self, parameters)
        t = (self.check_range(edges) - p[1]) / p[2]
        content, tails = _difference(t, p[3:])
        norm, norm_tails = _norm(p[3:])
        g = _core_and_tails(t, p[3:])[0] / norm
        part = content / norm
        columns = [part, -p[0] / p[2] * np.diff(g), -p[0] / p[2] * np.diff(t * g)]
        columns += [p[0] * (tails[k] - part * norm_tails[k]) / norm for k in range(4)]
        return np.stack(columns, axis=-1)


def _checked_tails(shape: Shape, parameters: Values) -> Array:
    p = _checked(shape, parameters)
    if not (p[3] > 0 and p[5] > 0 and p[4] > 1 and p[6] > 1):
        raise InputError(
            f"{shape.name} needs alpha > 0 and n > 1 on both sides, got alpha_low = {p[3]:g}, n_low = {p[4]:g}, "
            f"alpha_high = {p[5]:g}, n_high = {p[6]:g}"
        )
    return p


def _tail(t: Array, alpha: float, n: float) -> tuple[Array, Array, Array, Array]:
    """Lower tail at t <= -alpha: its value and the derivatives with respect to t, alpha and n."""
    r = 1 - alpha * (alpha + t) / n
    value = np.exp(-0.5 * alpha * alpha - n * np.log(r))
    return (
        value,
        value * alpha / r,
        value * (-alpha + (2 * alpha + t) / r),
        value * (-np.log(r) - alpha * (alpha + t) / (n * r)),
    )


def _core_and_tails(t: Array, shape: Array) -> tuple[Array, Array, tuple[Array, Array, Array, Array]]:
    """Unnormalised function at t, its slope in t and its derivatives for alpha_low, n_low, alpha_high, n_high."""
    a_low, n_low, a_high, n_high = shape
    low, high = t < -a_low, t > a_high
    value = np.exp(-0.5 * np.clip(t, -a_low, a_high) ** 2)
    slope = -t * value
    left = _tail(np.minimum(t, -a_low), a_low, n_low)
    right = _tail(np.minimum(-t, -a_high), a_high, n_high)
    value = np.where(low, left[0], np.where(high, right[0], value))
    slope = np.where(low, left[1], np.where(high, -right[1], slope))
    zero = np.zeros_like(value)
    return (
        value,
        slope,
        (
            np.where(low, left[2], zero),
            np.where(low, left[3], zero),
            np.where(high, right[2], zero),
            np.where(high, right[3], zero),
        ),
    )


def _tail_total(alpha: float, n: float) -> tuple[float, float, float]:
    """Integral of a whole tail and its derivatives for alpha and n."""
    total = math.exp(-0.5 * alpha * alpha) * n / (alpha * (n - 1))
    return total, total * (-alpha - 1 / alpha), total * (1 / n - 1 / (n - 1))


def _norm(shape: Array) -> tuple[float, tuple[float, float, float, float]]:
    """Integral over the whole line and its derivatives for alpha_low, n_low, alpha_high, n_high."""
    a_low, n_low, a_high, n_high = (float(value) for value in shape)
    left, right = _tail_total(a_low, n_low), _tail_total(a_high, n_high)
    core = math.sqrt(math.pi / 2) * (math.erf(a_low / math.sqrt(2)) + math.erf(a_high / math.sqrt(2)))
    return left[0] + right[0] + core, (
        left[1] + math.exp(-0.5 * a_low**2),
        left[2],
        right[1] + math.exp(-0.5 * a_high**2),
        right[2],
    )


def _cumulative(t: Array, alpha: float, n: float, end: float) -> tuple[Array, Array, Array]:
    """Integral from -infinity to t <= end of lower tail and core, and its derivatives for alpha and n."""
    at = np.minimum(t, -alpha)
    r = 1 - alpha * (alpha + at) / n
    total, by_alpha, by_n = _tail_total(alpha, n)
    tail = total * r ** (1 - n)
    tail_alpha = tail * (by_alpha / total - (1 - n) / r * (2 * alpha + at) / n)
    tail_n = tail * (by_n / total - np.log(r) + (1 - n) / r * alpha * (alpha + at) / (n * n))
    inside = np.clip(t, -alpha, end)
    core = math.sqrt(math.pi / 2) * (erf(inside / math.sqrt(2)) + math.erf(alpha / math.sqrt(2)))
    edge = math.exp(-0.5 * alpha * alpha)
    within = t > -alpha
    return (
        tail + core,
        np.where(within, by_alpha + edge, tail_alpha),
        np.where(within, by_n, tail_n),
    )


def _difference(t: Array, shape: Array) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    """Unnormalised content between neighbours of t and its derivatives for alpha_low, n_low, alpha_high, n_high.

    The line is cut at the peak: what lies below is counted from the low end, what lies above from the high end, so that
    far tails keep their relative precision.
    """
    a_low, n_low, a_high, n_high = (float(value) for value in shape)
    below = _cumulative(np.minimum(t, 0.0), a_low, n_low, 0.0)
    above = _cumulative(np.minimum(-t, 0.0), a_high, n_high, 0.0)
    content = np.diff(below[0]) - np.diff(above[0])
    return content, (np.diff(below[1]), np.diff(below[2]), -np.diff(above[1]), -np.diff(above[2]))


def double_crystal_ball() -> DoubleCrystalBall:
    """Double-sided Crystal Ball with n_signal, mass, sigma, alpha_low, n_low, alpha_high, n_high.

    Examples:
        >>> bumpfit.shapes.double_crystal_ball().parameters
        ('n_signal', 'mass', 'sigma', 'alpha_low', 'n_low', 'alpha_high', 'n_high')
    """
    names = ("n_signal", "mass", "sigma", "alpha_low", "n_low", "alpha_high", "n_high")
    return DoubleCrystalBall("double_crystal_ball", names)
