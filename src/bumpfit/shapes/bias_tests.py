"""Is the background function good enough? Spurious signal on simulated spectra, and bias with toys.

Spurious signal (ATLAS, for example PLB 716 (2012) 1, section 5): fit signal plus background to a spectrum without
signal; the fitted number of signal events is the bias that the function causes, to be compared with the statistical
error that the data will have. Bias (CMS): throw toys from another function with a signal in them, fit with the nominal
function, look at the mean pull.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.histograms import Histogram, HistogramLike, as_histogram, from_counts
from bumpfit.results import Record
from bumpfit.shapes.batch import fit_many
from bumpfit.shapes.binned import Binned, spectrum
from bumpfit.shapes.composite import add
from bumpfit.shapes.fitting import fit
from bumpfit.shapes.loglinear import LogLinear
from bumpfit.shapes.prepare import enough_bins
from bumpfit.shapes.shape import Shape, Values

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SpuriousSignal(Record):
    """Fitted signal on a spectrum without any, at each mass, for the data's luminosity; arrays of shape (M,).

    n_spurious        fitted signal events (NaN where the fit failed; `status` says why)
    simulation_error  their error from the finite simulated sample
    sigma             statistical error of a signal in the data
    ratio             n_spurious / sigma
    passed            max |ratio| stays below `threshold`, with each |n_spurious| first lowered by `allowance` times its
                      simulation_error (0: not at all)

    Examples:
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0, 130.0, 140.0], [520, 250, 130, 65])
        >>> peak = bumpfit.shapes.tie(bumpfit.shapes.gaussian(), sigma=(0.0, 0.05))
        >>> found = bumpfit.shapes.spurious_signal(histogram, bumpfit.shapes.exponential(2), peak, [115.0])
        >>> found.n_spurious.shape, found.threshold
        ((1,), 0.5)
    """

    masses: Array
    n_spurious: Array
    simulation_error: Array
    sigma: Array
    ratio: Array
    status: tuple[str, ...]
    threshold: float
    allowance: float
    passed: bool

    @property
    def largest(self) -> float:
        """The signed n_spurious of the largest size: the systematic uncertainty to add when the test is not passed."""
        return float(self.n_spurious[np.nanargmax(np.abs(self.n_spurious))])


def spurious_signal(
    simulated: HistogramLike,
    background: Shape,
    signal: Shape,
    masses: ArrayLike,
    *,
    scale: float = 1.0,
    threshold: float = 0.5,
    allowance: float = 0.0,
    fixed: Mapping[str, float] | None = None,
) -> SpuriousSignal:
    """Spurious signal of a background function on a simulated spectrum without signal.

    `scale` is the data's luminosity over that of the simulation: results are in events of the data. `fixed` holds
    further parameters of the signal (its width, when it is not tied to the mass). Raises InputError for a scale that is
    not positive, masses outside the histogram and no degree of freedom, BumpfitError when the fit fails at every mass.

    Examples:
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0, 130.0, 140.0], [520, 250, 130, 65])
        >>> peak = bumpfit.shapes.tie(bumpfit.shapes.gaussian(), sigma=(0.0, 0.05))
        >>> found = bumpfit.shapes.spurious_signal(histogram, bumpfit.shapes.exponential(2), peak, [115.0])
        >>> found.status, found.passed
        (('converged',), True)
    """
    if not scale > 0:
        raise InputError(f"scale is the data's luminosity over the simulation's and positive, got {scale:g}")
    simulated = as_histogram(simulated)
    points = np.atleast_1d(np.asarray(masses, dtype=np.float64))
    edges = simulated.edges
    if not points.size or (points < edges[0]).any() or (points > edges[-1]).any():
        raise InputError(f"masses must lie in the histogram, {edges[0]:g} to {edges[-1]:g}; got {points.tolist()}")
    scaled = from_counts(edges, scale * simulated.counts, scale**2 * simulated.variances)
    model = add(background, signal)
    enough_bins(model, int((~simulated.blinded).sum()), {"mass", *(fixed or {})}, judged=True)
    alone = fit(background, scaled)
    if not alone.valid:
        raise BumpfitError(f"{background.name} does not fit the simulated spectrum: {alone.status}")
    number = signal.parameters[0]
    rows, status = [], []
    for mass in points:
        held = {**(fixed or {}), "mass": float(mass)}
        result = fit(model, scaled, fixed=held)
        status.append(result.status)
        sigma = expected_error(background, alone.values, signal, {number: 1.0, **held}, scaled)
        rows.append((result.values[number], result.errors[number], sigma) if result.valid else (np.nan, np.nan, sigma))
    spurious, error, sigma_all = np.array(rows).T
    if np.isnan(spurious).all():
        raise BumpfitError(f"signal plus {background.name} could not be fitted at any mass: {status[0]}")
    reduced = np.maximum(np.abs(spurious) - allowance * error, 0.0) / sigma_all
    passed = bool((reduced < threshold).all())
    ratio = spurious / sigma_all
    return SpuriousSignal(points, spurious, error, sigma_all, ratio, tuple(status), threshold, allowance, passed)


def expected_error(background: Shape, values: Values, signal: Shape, peak: Values, histogram: Histogram) -> float:
    """Statistical error of the number of signal events when there is none, for Poisson data of the fitted background.

    From the Fisher information with the background's parameters free and the peak's others held: the residual of the
    peak on the background's derivatives, with weights 1 / b.
    """
    seen = spectrum(histogram).seen
    edges = histogram.edges
    root = np.sqrt(background.integrate(edges, values)[seen])
    basis = background.gradient(edges, values)[seen] / root[:, None]
    orthogonal = np.linalg.qr(basis / np.linalg.norm(basis, axis=0))[0]
    content = signal.gradient(edges, peak)[seen, 0] / root
    content = content - orthogonal @ (orthogonal.T @ content)
    norm = float(content @ content)
    if norm <= 0:
        raise BumpfitError("the signal has no events in the histogram that the background does not absorb")
    return float(norm**-0.5)


@dataclass(frozen=True, eq=False)
class Bias(Record):
    """Pulls (fitted - injected) / error of the number of signal events over toys; failed fits are counted, not used.

    `mean_pull` below about 0.5 in size is usual for a function that is good enough.

    Examples:
        >>> import numpy as np
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0, 130.0, 140.0], [520, 250, 130, 65])
        >>> shape, peak = bumpfit.shapes.exponential(2), {"mass": 115.0, "sigma": 5.0}
        >>> signal, rng = bumpfit.shapes.gaussian(), np.random.default_rng(1)
        >>> found = bumpfit.shapes.bias(histogram, shape, shape, signal, peak, rng, injected=0.0, toys=20)
        >>> abs(found.mean_pull) < 3 * found.mean_pull_error
        True
    """

    injected: float
    mean_pull: float
    mean_pull_error: float
    width: float
    mean_fitted: float
    mean_error: float
    toys: int
    failed: int


def bias(
    histogram: HistogramLike,
    truth: Shape,
    nominal: Shape,
    signal: Shape,
    peak: Mapping[str, float],
    rng: np.random.Generator,
    *,
    injected: float,
    toys: int = 500,
) -> Bias:
    """Pull of the fitted signal when toys come from another background function.

    `truth` is fitted to the histogram and throws the toys, `injected` events of `signal` with the parameters `peak` in
    them; `nominal` plus a signal of free size is fitted to each. A log-linear nominal function is fitted to all toys at
    once, others one by one. Raises InputError when fits of toys have no degree of freedom, BumpfitError when the truth
    does not fit or no toy can be fitted.

    Examples:
        >>> import numpy as np
        >>> histogram = bumpfit.histograms.from_counts([100.0, 110.0, 120.0, 130.0, 140.0], [520, 250, 130, 65])
        >>> shape, peak = bumpfit.shapes.exponential(2), {"mass": 115.0, "sigma": 5.0}
        >>> signal, rng = bumpfit.shapes.gaussian(), np.random.default_rng(1)
        >>> found = bumpfit.shapes.bias(histogram, shape, shape, signal, peak, rng, injected=0.0, toys=20)
        >>> found.toys, found.failed
        (20, 0)
    """
    histogram = as_histogram(histogram)
    if histogram.blinded.any():
        raise InputError("the bias test needs a spectrum without blinded bins")
    enough_bins(add(nominal, signal), histogram.counts.size, set(peak) - {signal.parameters[0]}, judged=True)
    source = fit(truth, histogram)
    if not source.valid:
        raise BumpfitError(f"{truth.name} does not fit the spectrum: {source.status}")
    edges, number = histogram.edges, signal.parameters[0]
    content = signal.integrate(edges, {**peak, number: 1.0})
    mean = truth.integrate(edges, source.values) + injected * content
    if (mean < 0).any():
        raise InputError(f"{injected:g} signal events make the expectation negative")
    counts = rng.poisson(mean, (toys, mean.size))
    if isinstance(nominal, LogLinear):
        batch = fit_many(nominal, edges, counts, signal=content)
        fitted, error, good = batch.n_signal, batch.n_error, batch.converged
    else:
        fitted, error, good = _one_by_one(nominal, signal, peak, edges, counts)
    if not good.any():
        raise BumpfitError(f"signal plus {nominal.name} could not be fitted to any of {toys} toys")
    pulls = (fitted[good] - injected) / error[good]
    return Bias(
        injected=injected,
        mean_pull=float(pulls.mean()),
        mean_pull_error=float(pulls.std() / np.sqrt(pulls.size)),
        width=float(pulls.std()),
        mean_fitted=float(fitted[good].mean()),
        mean_error=float(error[good].mean()),
        toys=toys,
        failed=int((~good).sum()),
    )


def _one_by_one(
    nominal: Shape, signal: Shape, peak: Mapping[str, float], edges: Array, counts: NDArray[np.int64]
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Fitted signal, its error from the expected information, and success for each toy."""
    model, number = add(nominal, signal), signal.parameters[0]
    held = {name: value for name, value in peak.items() if name != number}
    at = model.parameters.index(number)
    free = np.array([name not in held for name in model.parameters])
    fitted, error, good = np.zeros(len(counts)), np.ones(len(counts)), np.zeros(len(counts), dtype=bool)
    for k, row in enumerate(counts):
        histogram = from_counts(edges, row)
        result = fit(model, histogram, fixed=held)
        good[k] = result.valid
        if result.valid:
            used = free & ~np.isin(model.parameters, result.at_bounds)
            information = Binned(model, spectrum(histogram)).information(result.array, np.ones(used.size))[
                np.ix_(used, used)
            ]
            fitted[k] = result.values[number]
            error[k] = np.sqrt(np.linalg.inv(information)[np.cumsum(used)[at] - 1, np.cumsum(used)[at] - 1])
    return fitted, error, good
