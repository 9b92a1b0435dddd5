"""Profile-likelihood interval of one parameter of a spectrum's fit: yield, mass, width, any other.

-2 ln L, minimised over all other parameters, rises by the quantile of chi2(1) above its minimum (Wilks, Ann. Math.
Stat. 9 (1938) 60; MINOS). `bumpfit.inference.interval` asks the same of workspaces; `fit(...).errors` is the curvature.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from scipy.optimize import brentq

from bumpfit.errors import BumpfitError, InputError
from bumpfit.histograms import HistogramLike, as_histogram
from bumpfit.normal import chi2_quantile
from bumpfit.results import Fit, Interval
from bumpfit.shapes.fitting import fit
from bumpfit.shapes.prepare import merged_limits
from bumpfit.shapes.shape import Bounds, Shape

REACH = 30
"""Doublings of the step with which an end of the interval is looked for before the search gives up."""

PRECISION = 1e-3
"""Precision of an end of the interval, in units of the parameter's error."""

LOWER = 1e-4
"""How far below the free fit, in -2 ln L, a profile fit must end to show that the free fit was not the minimum."""

RESTARTS = 5
"""Times the free fit is repeated from a lower point before giving up."""


def interval(
    shape: Shape,
    histogram: HistogramLike,
    parameter: str,
    level: float = 0.6827,
    *,
    fixed: Mapping[str, float] | None = None,
    limits: Mapping[str, Bounds] | None = None,
) -> Interval:
    """Profile-likelihood interval of one parameter at a confidence level; other arguments as for `fit`.

    An end where the profile does not reach the threshold inside the parameter's range is the end of that range,
    flagged at_bound. Raises InputError for an unknown or held parameter or a level outside (0, 1), BumpfitError where
    the fits do not converge or the data do not constrain the parameter.
    """
    if parameter not in shape.parameters:
        raise InputError(f"{shape.name} has no parameter '{parameter}'; it has {', '.join(shape.parameters)}")
    held = dict(fixed or {})
    if parameter in held:
        raise InputError(f"'{parameter}' is fixed, so it has no interval; leave it free")
    if not 0 < level < 1:
        raise InputError(f"the level must lie between 0 and 1, got {level}")
    spectrum = as_histogram(histogram)
    threshold = chi2_quantile(level)
    low_end, high_end = merged_limits(shape, spectrum.edges, limits or {})[shape.parameters.index(parameter)]
    best = _valid(fit(shape, spectrum, fixed=held, limits=limits), "the fit")
    for _ in range(RESTARTS):
        profile = _Profile(shape, spectrum, parameter, best, held, limits)
        step = math.sqrt(threshold) * _first_step(best, parameter, (low_end, high_end))
        try:
            low, high = (
                _end(profile, math.sqrt(threshold), best.values[parameter], sign * step, end)
                for sign, end in ((-1, low_end), (1, high_end))
            )
        except _LowerError as lower:
            best = _valid(fit(shape, spectrum, fixed=held, limits=limits, start=lower.values), "the fit")
            continue
        if low is None and high is None:
            raise BumpfitError(
                f"the data do not constrain '{parameter}': its profile likelihood stays below the {level:g} threshold "
                f"between {low_end} and {high_end}; fix other parameters or widen the range"
            )
        return Interval(
            parameter=parameter,
            low=low_end if low is None else low,
            high=high_end if high is None else high,
            best=best.values[parameter],
            level=level,
            low_at_bound=low is None,
            high_at_bound=high is None,
        )
    raise BumpfitError(
        "the likelihood has several minima and the fit keeps finding lower ones; fix or limit parameters"
    )


def crossing(rise: Callable[[float], float], centre: float, step: float) -> float:
    """Where a rising function becomes positive, on the side of `centre` that the step points to."""
    if not step:
        raise BumpfitError("the fit gives the parameter no error, so the ends of its interval cannot be looked for")
    near = centre
    for doubling in range(REACH):
        far = centre + step * 2**doubling
        if rise(far) > 0:
            return float(brentq(rise, near, far, xtol=PRECISION * 1e-4 * abs(step)))
        near = far
    raise BumpfitError(f"the profile likelihood does not rise enough between {centre:g} and {near:g}")


class _LowerError(Exception):
    """A profile fit ended below the free fit; `values` is where."""

    def __init__(self, values: dict[str, float]) -> None:
        self.values = values


class _Profile:
    """Rise of -2 ln L above the free fit with one parameter held."""

    def __init__(
        self,
        shape: Shape,
        histogram: HistogramLike,
        parameter: str,
        best: Fit,
        fixed: Mapping[str, float],
        limits: Mapping[str, Bounds] | None,
    ) -> None:
        self.shape, self.histogram, self.parameter, self.best = shape, histogram, parameter, best
        self.fixed, self.limits = dict(fixed), limits
        self._known = {best.values[parameter]: 0.0}

    def __call__(self, value: float) -> float:
        if value not in self._known:
            self._known[value] = self._rise(value)
        return self._known[value]

    def _rise(self, value: float) -> float:
        held = {**self.fixed, self.parameter: value}
        found = fit(self.shape, self.histogram, fixed=held, limits=self.limits, start=self.best.values)
        if not found.valid:
            found = fit(self.shape, self.histogram, fixed=held, limits=self.limits)
        _valid(found, f"the fit with {self.parameter} = {value:g}")
        if found.twice_nll < self.best.twice_nll - LOWER:
            raise _LowerError(found.values)
        return found.twice_nll - self.best.twice_nll


def _end(profile: _Profile, z: float, best: float, step: float, end: float | None) -> float | None:
    """One end of the interval; None where the range of the parameter ends first.

    The root of the rise is nearly linear in the parameter, so that its crossing of z takes few fits.
    """

    def above(value: float) -> float:
        return math.sqrt(max(profile(value), 0.0)) - z

    if end is None:
        return crossing(above, best, step)
    if best == end:
        return None
    inner = best
    for doubling in range(REACH + 1):
        outer = best + step * 2**doubling
        if doubling == REACH or (outer - end) * np.sign(step) >= 0:
            outer = end
        if above(outer) > 0:
            return float(brentq(above, inner, outer, xtol=PRECISION * 1e-4 * abs(step)))
        if outer == end:
            break
        inner = outer
    return None


def _first_step(best: Fit, parameter: str, bounds: Bounds) -> float:
    """The error of the fit, or a hundredth of the range where the fit has none, or the size of the value."""
    error = best.errors[parameter]
    if error > 0 and np.isfinite(error):
        return float(error)
    low, high = bounds
    if low is None or high is None:
        return max(1.0, abs(best.values[parameter]))
    return (high - low) / 100


def _valid(found: Fit, what: str) -> Fit:
    if not found.valid:
        raise BumpfitError(f"{what} did not converge: {found.status}")
    return found
