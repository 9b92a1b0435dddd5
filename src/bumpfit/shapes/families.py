"""The background families of dijet searches whose logarithm is linear in the parameters.

**Counting convention.** `n_parameters` counts all free parameters, the prefactor p0 included, as CMS and ATLAS count
("the four-parameter dijet function" is p0 (1 - x)^p1 / x^(p2 + p3 ln x)). With x = m / sqrt(s), f = dN/dm in events
per GeV:

    dijet(2)   p0 x^-p2                                           CMS, PRD 97 (2018) 072006, two parameters
    dijet(3)   p0 (1 - x)^p1 x^-p2                                same place, three parameters
    dijet(4)   p0 (1 - x)^p1 x^-(p2 + p3 ln x)                    CMS, PRD 91 (2015) 052009, eq. 1
    dijet(5)   p0 (1 - x)^p1 x^-(p2 + p3 ln x + p4 ln^2 x)        with the ln^2 x term of ATLAS searches
    dijet(6)   dijet(5) exp(-p5 x)

With `reference` (a mass) p0 is the density at that mass instead of the prefactor: the same family, a stable p0.
Each is nested in the next, as the F-test wants it. Names are those of the formula: dijet(2) has p0 and p2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.shapes.loglinear import LogLinear, Term

Array = NDArray[np.float64]

SQRT_S = 13000.0
"""Collision energy of LHC Run 2 in GeV, the default of every function here."""


def _log_rest(x: Array) -> Array:
    return np.log1p(-x)


@dataclass(frozen=True)
class _MinusLogPower:
    """-ln^k x."""

    k: int

    def __call__(self, x: Array) -> Array:
        return -(np.log(x) ** self.k)


@dataclass(frozen=True)
class _MinusPower:
    """-x^k."""

    k: int

    def __call__(self, x: Array) -> Array:
        return -(x**self.k)


def _minus_log(parameter: str, k: int) -> Term:
    return Term(parameter, "-log(x)" if k == 1 else f"-log(x)^{k}", _MinusLogPower(k))


def _minus_power(parameter: str, k: int) -> Term:
    return Term(parameter, "-x" if k == 1 else f"-x^{k}", _MinusPower(k))


def _make(name: str, terms: tuple[Term, ...], sqrt_s: float, reference: float | None, ends: bool = True) -> LogLinear:
    if not sqrt_s > 0:
        raise InputError(f"sqrt_s must be a positive energy in the units of the mass, got {sqrt_s:g}")
    if reference is not None and not 0 < reference < sqrt_s:
        raise InputError(f"the reference mass must lie between 0 and sqrt_s = {sqrt_s:g}, got {reference:g}")
    return LogLinear(name, ("p0", *(term.parameter for term in terms)), terms, float(sqrt_s), ends, reference)


def _check_number(family: str, n_parameters: int, low: int, high: int) -> None:
    if n_parameters not in range(low, high + 1):
        raise InputError(
            f"{family} has {low} to {high} parameters, the prefactor p0 included; got n_parameters = {n_parameters}"
        )


_DIJET = (
    _minus_log("p2", 1),
    Term("p1", "log(1-x)", _log_rest),
    _minus_log("p3", 2),
    _minus_log("p4", 3),
    _minus_power("p5", 1),
)
"""Terms in the order in which they join, so that each function is nested in the next."""


def dijet(n_parameters: int, *, sqrt_s: float = SQRT_S, reference: float | None = None) -> LogLinear:
    """Dijet function with `n_parameters` free parameters, the prefactor included: 2 to 5, or 6 with exp(-p5 x).

    Masses in the units of `sqrt_s` (GeV by default), f in events per unit of mass. Raises InputError for other numbers.

    Examples:
        >>> shape = bumpfit.shapes.dijet(3)
        >>> shape.parameters
        ('p0', 'p1', 'p2')
        >>> shape.integrate([2000.0, 3000.0, 4000.0], [1e-4, 9.0, 5.0]).round(1).tolist()  # events a bin
        [79.8, 5.3]
    """
    _check_number("dijet", n_parameters, 2, 6)
    terms = sorted(_DIJET[: n_parameters - 1], key=lambda term: term.parameter)
    return _make(f"dijet{n_parameters}", tuple(terms), sqrt_s, reference)


def ua2(n_parameters: int, *, sqrt_s: float = SQRT_S, reference: float | None = None) -> LogLinear:
    """UA2 / ATLAS form p0 x^-p1 exp(-p2 x - p3 x^2 - ...), 2 to 6 parameters, the prefactor included.

    UA2, Z. Phys. C 49 (1991) 17: p0 m^-p1 exp(-p2 m - p3 m^2).

    Examples:
        >>> bumpfit.shapes.ua2(3).parameters
        ('p0', 'p1', 'p2')
    """
    _check_number("ua2", n_parameters, 2, 6)
    powers = (_minus_power(f"p{k + 1}", k) for k in range(1, n_parameters - 1))
    return _make(f"ua2_{n_parameters}", (_minus_log("p1", 1), *powers), sqrt_s, reference, ends=False)


def exponential(n_parameters: int, *, sqrt_s: float = SQRT_S, reference: float | None = None) -> LogLinear:
    """Exponential of a polynomial, p0 exp(-p1 x - p2 x^2 - ...), 2 to 6 parameters, the prefactor included.

    Examples:
        >>> shape = bumpfit.shapes.exponential(2, reference=100.0)
        >>> shape.density([100.0, 200.0], [5.0, 90.0]).round(2).tolist()  # p0 at the reference
        [5.0, 2.5]
    """
    _check_number("exponential", n_parameters, 2, 6)
    powers = tuple(_minus_power(f"p{k}", k) for k in range(1, n_parameters))
    return _make(f"exponential{n_parameters}", powers, sqrt_s, reference, ends=False)


def power_law(n_parameters: int, *, sqrt_s: float = SQRT_S, reference: float | None = None) -> LogLinear:
    """Running power law p0 x^-(p1 + p2 ln x + p3 ln^2 x + ...), 2 to 6 parameters, the prefactor included.

    Examples:
        >>> shape = bumpfit.shapes.power_law(2, reference=100.0)
        >>> shape.density([100.0, 200.0], [8.0, 3.0]).round(2).tolist()  # p0 at the reference
        [8.0, 1.0]
    """
    _check_number("power_law", n_parameters, 2, 6)
    logs = tuple(_minus_log(f"p{k}", k) for k in range(1, n_parameters))
    return _make(f"power_law{n_parameters}", logs, sqrt_s, reference, ends=False)
