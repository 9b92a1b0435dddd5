"""How many parameters: F-test between neighbouring orders of a family, with a guard against over-fitting.

F = [(chi2_a - chi2_b) / (nu_a - nu_b)] / (chi2_b / nu_b) for nested fits a, b with nu degrees of freedom (Fisher; as
used by CMS dijet searches). chi2 is the Poisson likelihood chi-square (Baker and Cousins, NIM 221 (1984) 437) in bins
merged until each holds enough events. An order is taken over the one before it while p_F is below the threshold, the
fit converges, and the error of the function at the mass of interest stays below a share of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, fdtrc

from bumpfit.errors import BumpfitError, InputError
from bumpfit.histograms import Histogram, HistogramLike, as_histogram
from bumpfit.poisson import deviance
from bumpfit.results import Fit, Record
from bumpfit.shapes.bands import propagated_band
from bumpfit.shapes.families import dijet
from bumpfit.shapes.fitting import fit
from bumpfit.shapes.prepare import enough_bins
from bumpfit.shapes.shape import Shape

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Trial(Record):
    """One order: its fit, chi2 in the merged bins and p-values; p_f compares with the order before it (None: first).

    Examples:
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0, 130.0, 140.0], [520, 250, 130, 65])
        >>> found = bumpfit.shapes.order_by_f_test(histogram, bumpfit.shapes.exponential, (2, 3))
        >>> found.trials[0].degrees_of_freedom, found.trials[0].p_f
        (2, None)
    """

    n_parameters: int
    chi2: float
    degrees_of_freedom: int
    p_chi2: float
    f: float | None
    p_f: float | None
    relative_error: float
    fit: Fit


@dataclass(frozen=True, eq=False)
class Order(Record):
    """The order chosen, its shape and fit, all trials, and why the next order was not taken.

    Examples:
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0, 130.0, 140.0], [520, 250, 130, 65])
        >>> found = bumpfit.shapes.order_by_f_test(histogram, bumpfit.shapes.exponential, (2, 3))
        >>> [trial.n_parameters for trial in found.trials]
        [2, 3]
    """

    n_parameters: int
    shape: Shape
    fit: Fit
    trials: tuple[Trial, ...]
    reason: str

    def to_dict(self) -> dict[str, object]:
        """Plain JSON types; the shape by its name."""
        trials = [trial.to_dict() for trial in self.trials]
        return {
            "n_parameters": self.n_parameters,
            "shape": self.shape.name,
            "fit": self.fit.to_dict(),
            "trials": trials,
            "reason": self.reason,
        }


def likelihood_chi2(counts: ArrayLike, expected: ArrayLike) -> Array:
    """2 sum (mu - n + n ln(n / mu)) over the last axis: (..., B) -> (...).

    Examples:
        >>> bumpfit.shapes.likelihood_chi2([9.0, 4.0], [9.0, 4.0]).item()
        0.0
        >>> round(bumpfit.shapes.likelihood_chi2([0.0], [1.5]).item(), 6)
        3.0
    """
    return np.asarray(deviance(counts, expected).sum(axis=-1))


def f_test(chi2_a: ArrayLike, nu_a: int, chi2_b: ArrayLike, nu_b: int) -> tuple[Array, Array]:
    """F and its p-value for a fit b with more parameters than a (nu_b < nu_a); arrays work element by element.

    Examples:
        >>> f, p = bumpfit.shapes.f_test(30.0, 20, 22.0, 19)
        >>> print(f"F = {f:.2f}, p = {p:.3f}")
        F = 6.91, p = 0.017
    """
    if not 0 < nu_b < nu_a:
        raise InputError(f"the F-test needs 0 < nu_b < nu_a degrees of freedom, got nu_a = {nu_a} and nu_b = {nu_b}")
    a, b = np.asarray(chi2_a, dtype=np.float64), np.asarray(chi2_b, dtype=np.float64)
    value = np.maximum((a - b) / (nu_a - nu_b), 0.0) / (b / nu_b)
    return value, np.asarray(fdtrc(nu_a - nu_b, nu_b, value))


def choose_order(chi2: ArrayLike, orders: Sequence[int], bins: int, threshold: float = 0.05) -> NDArray[np.intp]:
    """Index of the order that successive F-tests choose for each toy: chi2 of shape (T, K) -> (T,).

    Examples:
        >>> bumpfit.shapes.choose_order([[90.0, 21.0, 20.9]], (2, 3, 4), bins=24).tolist()
        [1]
    """
    table = np.asarray(chi2, dtype=np.float64)
    chosen = np.zeros(table.shape[0], dtype=np.intp)
    going = np.ones(table.shape[0], dtype=bool)
    for k in range(1, len(orders)):
        p = f_test(table[:, k - 1], bins - orders[k - 1], table[:, k], bins - orders[k])[1]
        going &= p < threshold
        chosen[going] = k
    return chosen


def order_by_f_test(
    histogram: HistogramLike,
    family: Callable[[int], Shape] = dijet,
    orders: Sequence[int] = (2, 3, 4, 5),
    *,
    threshold: float = 0.05,
    mass: float | None = None,
    largest_error: float = 0.5,
    minimum: float = 5.0,
) -> Order:
    """Choose the number of parameters of a family for a spectrum.

    histogram      plain event counts, in bins of about the mass resolution; blinded bins are left out
    family         n_parameters -> shape, each nested in the next
    orders         numbers of parameters to try, rising
    threshold      an order is taken when the F-test against the one before it gives p below this
    mass           where the error of the function is judged; None: in the worst bin
    largest_error  relative error of the function there above which an order is not taken
    minimum        events that a bin of the chi2 holds at least

    Raises InputError for weighted histograms, fewer merged bins than parameters, a mass outside the histogram, and
    BumpfitError when the lowest order cannot be fitted.

    Examples:
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0, 130.0, 140.0], [520, 250, 130, 65])
        >>> found = bumpfit.shapes.order_by_f_test(histogram, bumpfit.shapes.exponential, (2, 3))
        >>> found.n_parameters
        2
    """
    histogram, orders = as_histogram(histogram), tuple(orders)
    if not orders or any(b <= a for a, b in itertools.pairwise(orders)):
        raise InputError(f"orders must rise, got {orders}")
    if histogram.weighted:
        raise InputError("the F-test needs plain event counts, got a weighted histogram")
    edges = histogram.edges
    if mass is not None and not edges[0] <= mass <= edges[-1]:
        raise InputError(f"the mass {mass:g} lies outside the histogram, {edges[0]:g} to {edges[-1]:g}")
    merged = histogram.merge_until(minimum)
    seen = ~merged.blinded
    bins = int(seen.sum())
    trials: list[Trial] = []
    shapes: list[Shape] = []
    reason = "no higher order was asked for"
    for number in orders:
        if bins <= number:
            if not trials:
                what = f"the histogram (merged to {minimum:g} events a bin or more)"
                enough_bins(family(number), bins, judged=True, what=what)
            reason = f"{bins} bins are too few for {number} parameters"
            break
        shape = family(number)
        result = fit(shape, histogram)
        if not result.valid:
            if not trials:
                raise BumpfitError(f"the fit of {shape.name} failed: {result.status}")
            reason = f"the fit with {number} parameters failed: {result.status}"
            break
        trial = _trial(shape, result, histogram, merged, seen, mass, trials[-1] if trials else None)
        trials.append(trial)
        if trial.p_f is not None and trial.p_f >= threshold:
            reason = f"{number} parameters do not describe the spectrum better: p_F = {trial.p_f:.3g}"
            break
        if shapes and trial.relative_error > largest_error:
            reason = f"with {number} parameters the error is {100 * trial.relative_error:.0f} % of the function"
            break
        shapes.append(shape)
    best = trials[len(shapes) - 1]
    return Order(best.n_parameters, shapes[-1], best.fit, tuple(trials), reason)


def _trial(
    shape: Shape,
    result: Fit,
    histogram: Histogram,
    merged: Histogram,
    seen: NDArray[np.bool_],
    mass: float | None,
    before: Trial | None,
) -> Trial:
    expected = shape.integrate(merged.edges, result.values)[seen]
    value = float(likelihood_chi2(merged.counts[seen], expected))
    nu = expected.size - len(shape.parameters)
    band = propagated_band(shape, result, histogram, edges=merged.edges)
    error = 0.5 * (band.high - band.low) / band.expected
    f = p = None
    if before is not None:
        f, p = (float(number) for number in f_test(before.chi2, before.degrees_of_freedom, value, nu))
    if mass is None:
        relative = float(error[seen].max())
    else:
        relative = float(error[np.clip(np.searchsorted(merged.edges, mass, side="right") - 1, 0, error.size - 1)])
    return Trial(len(shape.parameters), value, nu, float(chdtrc(nu, value)), f, p, relative, result)
