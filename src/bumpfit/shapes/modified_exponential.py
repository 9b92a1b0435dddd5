"""Modified exponential p0 exp(p1 x^p2 + p3 (1 - x)^p4), x = m / sqrt(s): not linear in its powers.

An alternative to the dijet functions for broad spectra. For given powers it is log-linear, so the start scans the
powers and fits the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.shapes.families import SQRT_S
from bumpfit.shapes.loglinear import LogLinear, Term
from bumpfit.shapes.shape import Bounds, Shape, Values

Array = NDArray[np.float64]

START_POWERS = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Powers that the start tries for p2 and p4."""

POWERS: Bounds = (0.01, 30.0)
"""Powers that a fit may reach: at zero the term is a constant and its factor is undetermined."""


@dataclass(frozen=True)
class _Power:
    """x^k, or (1 - x)^k."""

    k: float
    rest: bool

    def __call__(self, x: Array) -> Array:
        return np.asarray((1 - x if self.rest else x) ** self.k)


@dataclass(frozen=True)
class ModifiedExponential(Shape):
    """p0 exp(p1 x^p2), or with five parameters p0 exp(p1 x^p2 + p3 (1 - x)^p4), in events per GeV.

    Examples:
        >>> shape = bumpfit.shapes.modified_exponential(3, reference=100.0)
        >>> shape.density([100.0], [5.0, -90.0, 1.0]).round(6).tolist()  # p0 at the reference
        [5.0]
    """

    sqrt_s: float
    reference: float | None = None

    @property
    def bounds(self) -> tuple[Bounds, ...]:
        """Positive prefactor, positive powers."""
        return ((0.0, None), (None, None), POWERS, (None, None), POWERS)[: len(self.parameters)]

    @property
    def positive(self) -> tuple[bool, ...]:
        """Only the prefactor."""
        return (True, *(False,) * (len(self.parameters) - 1))

    @property
    def upper(self) -> float | None:
        """sqrt(s)."""
        return self.sqrt_s

    def density(self, x: ArrayLike, parameters: Values) -> Array:
        """Events per GeV, shape (N,)."""
        p = self.array(parameters)
        with np.errstate(over="ignore"):
            return np.asarray(p[0] * np.exp(self._exponent(np.asarray(x, dtype=np.float64), p)[0]))

    def density_gradient(self, x: ArrayLike, parameters: Values) -> Array:
        """Derivatives for all parameters, shape (N, P)."""
        p = self.array(parameters)
        exponent, slopes = self._exponent(np.asarray(x, dtype=np.float64), p)
        with np.errstate(over="ignore"):
            unit = np.exp(exponent)
        return np.stack([unit, *(p[0] * unit * slope for slope in slopes)], axis=-1)

    def _exponent(self, x: Array, p: Array) -> tuple[Array, list[Array]]:
        """The exponent, relative to the reference mass when there is one, and its derivatives for p1, p2, ..."""
        exponent, slopes = self._plain(x, p)
        if self.reference is None:
            return exponent, slopes
        at, at_slopes = self._plain(np.array([self.reference]), p)
        return exponent - at, [slope - constant for slope, constant in zip(slopes, at_slopes, strict=True)]

    def _plain(self, x: Array, p: Array) -> tuple[Array, list[Array]]:
        exponent, slopes = np.zeros_like(x), []
        for k, base in zip(range(1, p.size, 2), (x / self.sqrt_s, 1 - x / self.sqrt_s), strict=False):
            power = base ** p[k + 1]
            exponent = exponent + p[k] * power
            slopes += [power, p[k] * power * np.log(base)]
        return exponent, slopes

    def start(self, edges: ArrayLike, counts: ArrayLike, fixed: Mapping[str, float] | None = None) -> Array:
        """For each pair of start powers the log-linear fit of the rest; the likeliest wins."""
        bins, n = self.check_range(edges), np.asarray(counts, dtype=np.float64)
        best, highest = np.full(len(self.parameters), np.nan), -np.inf
        for powers in product(START_POWERS, repeat=len(self.parameters) // 2):
            terms = tuple(Term(f"p{2 * k + 1}", "", _Power(power, k == 1)) for k, power in enumerate(powers))
            linear = LogLinear(
                self.name, ("p0", *(term.parameter for term in terms)), terms, self.sqrt_s, True, self.reference
            )
            point = linear.start(bins, n)
            if not (np.isfinite(point).all() and point[0] > 0):
                continue
            expected = linear.integrate(bins, point)
            value = float(np.sum(n * np.log(np.maximum(expected, np.finfo(float).tiny)) - expected))
            if value > highest:
                pairs = (pair for one in zip(point[1:], powers, strict=True) for pair in one)
                best, highest = np.array([point[0], *pairs]), value
        return best


def modified_exponential(
    n_parameters: int, *, sqrt_s: float = SQRT_S, reference: float | None = None
) -> ModifiedExponential:
    """p0 exp(p1 x^p2) with 3 parameters, p0 exp(p1 x^p2 + p3 (1 - x)^p4) with 5, the prefactor included.

    With `reference` (a mass) p0 is the density there. Raises InputError for other numbers of parameters.

    Examples:
        >>> bumpfit.shapes.modified_exponential(3).parameters
        ('p0', 'p1', 'p2')
    """
    if n_parameters not in (3, 5):
        raise InputError(f"modified_exponential has 3 or 5 parameters, p0 included; got n_parameters = {n_parameters}")
    if not sqrt_s > 0:
        raise InputError(f"sqrt_s must be a positive energy in the units of the mass, got {sqrt_s:g}")
    names = tuple(f"p{k}" for k in range(n_parameters))
    return ModifiedExponential(f"modified_exponential{n_parameters}", names, float(sqrt_s), reference)
