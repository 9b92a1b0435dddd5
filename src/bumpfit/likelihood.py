"""The likelihood that every question asks, whatever is behind it: a workspace, on/off bins, a spectrum of a shape.

`bumpfit.inference` writes each question (fit, interval, scan, contour, discovery, limit, goodness, impacts) once, on
`Likelihood`. To make something a likelihood, write a frozen record with the members below. Records are never changed:
`at`, `within`, `begin` and `asimov` return another one, mostly by `dataclasses.replace`.

- P parameters stand in one order, that of `names`; every array (P,) follows it. Held parameters are part of it: `free`
  says which are not. A side of a range that is open is -inf or inf.
- `value` is -ln L without a large constant, so that differences keep their digits: for bins half of
  `bumpfit.poisson.deviance`. -2 ln L is `constant + 2 * value`. It is inf where parameters are impossible, never NaN.
- `slope` and `curvature` are exact derivatives of `value` in all parameters, held ones too. Errors and the first steps
  of searches come from `curvature`.
- `solve` finds the lowest minimum over the free parameters within their ranges. Likelihoods have several minima: solve
  from every start that may lead to another one (`start`, which may be the answer of a neighbouring fit; the first
  start, which `begin` must not forget; mirrored one-sided nuisance parameters) and keep the lowest: `lowest` does. A
  minimisation that fails is a value (`Minimum.valid` False, `attempts` says why), not an exception; only when the
  likelihood is zero at every start there is nothing to return, and ZeroLikelihoodError is raised. The first word of an
  attempt names the minimiser.
- `bins` and `pulls` are what a goodness of fit and the warning of few events look at. Unbinned data have no bins: {}.
- Data that were not seen: `asimov(x)` has every measurement, auxiliary ones included, equal to its expectation at x;
  `throw(x, generator)` draws them. Both keep ranges.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError

Floats = NDArray[np.float64]


class ZeroLikelihoodError(BumpfitError):
    """No start of a fit can have made the data."""


@dataclasses.dataclass(frozen=True, eq=False)
class Minimum:
    """Where a minimisation ended: parameters `x`, shape (P,), and -ln L there as `Likelihood.value` gives it.

    `edm` is the estimated distance to the minimum of -ln L, `attempts` what was tried. `covariance`, shape (P, P), for
    parameters in which second derivatives are singular to the precision of the numbers: from others of the minimiser.
    `idle`: free parameters that change no expectation there, as the mass of a peak of no size.
    """

    x: Floats
    value: float
    edm: float
    iterations: int
    evaluations: int
    valid: bool
    attempts: tuple[str, ...]
    covariance: Floats | None = None
    idle: tuple[str, ...] = ()


class Likelihood(Protocol):
    """A likelihood of P parameters with its data, ranges and a start; the module says what each member has to be."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""

    @property
    def poi(self) -> str | None:
        """Parameter of interest; None when there is none."""

    @property
    def start(self) -> Floats:
        """Where a fit starts, shape (P,); held parameters have their value there."""

    @property
    def low(self) -> Floats:
        """Lower ends of the ranges, shape (P,)."""

    @property
    def high(self) -> Floats:
        """Upper ends of the ranges, shape (P,)."""

    @property
    def free(self) -> NDArray[np.bool_]:
        """Which parameters a fit moves, shape (P,)."""

    @property
    def undetermined(self) -> tuple[str, ...]:
        """Parameters that are held because no data depend on them."""

    @property
    def constant(self) -> float:
        """-2 ln L is this plus twice `value`."""

    def value(self, x: Floats) -> float:
        """-ln L relative to `constant` at parameters x, shape (P,)."""

    def slope(self, x: Floats) -> Floats:
        """First derivatives of `value`, shape (P,)."""

    def curvature(self, x: Floats) -> Floats:
        """Second derivatives of `value`, shape (P, P)."""

    def bins(self, x: Floats) -> dict[str, tuple[Floats, Floats]]:
        """Observed and expected counts of the bins that can have events, by channel; empty for unbinned data."""

    def pulls(self, x: Floats) -> Floats:
        """Of each auxiliary measurement of a free parameter: its distance from its expectation in standard deviations
        (of a count the signed root of its deviance).
        """

    def at(self, name: str, value: float) -> Self:
        """The same with one parameter held at a value, which may lie outside its range."""

    def within(self, name: str, low: float, high: float) -> Self:
        """The same with another range of one parameter; a start outside moves to its end."""

    def begin(self, x: Floats) -> Self:
        """The same with another start, shape (P,); held parameters keep their value, the first start is still tried."""

    def solve(self) -> Minimum:
        """The lowest minimum over all starts."""

    def nearest(self) -> Minimum:
        """The minimum that the start leads to, which need not be the lowest; fails as `solve` does."""

    def asimov(self, x: Floats) -> Self:
        """The same with the data that are expected at x, starting there. Raises InputError where there are none."""

    def throw(self, x: Floats, generator: np.random.Generator) -> Self:
        """The same with data drawn at x, auxiliary measurements included, starting there."""

    def events(self, name: str, x: Floats) -> float:
        """Expected events that decide about a parameter: (sum |r'|)^2 / sum(r'^2 / r), r the expectations of bins at
        x and r' the derivatives. A signal over b background events in one bin has b. NaN where it is not known.
        """


def position(likelihood: Likelihood, name: str) -> int:
    """Place of a parameter; raises InputError for a name that does not exist."""
    if name not in likelihood.names:
        shown = ", ".join(likelihood.names[:12]) + (", ..." if len(likelihood.names) > 12 else "")
        raise InputError(f"there is no parameter '{name}'; the likelihood has {shown}")
    return likelihood.names.index(name)


def at_ends(likelihood: Likelihood, *minima: Minimum) -> tuple[str, ...]:
    """Free parameters that end at an end of their range in any of the minima, in the order of the likelihood."""
    ended = np.zeros(len(likelihood.names), dtype=bool)
    for minimum in minima:
        ended |= (minimum.x <= likelihood.low) | (minimum.x >= likelihood.high)
    return tuple(name for name, end in zip(likelihood.names, ended & likelihood.free, strict=True) if end)


def lowest(minima: Iterable[Minimum]) -> Minimum | None:
    """The lowest valid minimum, the lowest of all where none is valid; `attempts` are those of all. None of none."""
    found = list(minima)
    finite = [minimum for minimum in found if np.isfinite(minimum.value)]
    if not finite:
        return None
    best = min(finite, key=lambda minimum: (not minimum.valid, minimum.value))
    return dataclasses.replace(best, attempts=tuple(text for minimum in found for text in minimum.attempts))
