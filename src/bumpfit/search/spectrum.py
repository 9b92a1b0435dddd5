"""The second test: a peak over a dijet function in the m_JJ spectrum of a selection.

It does not look at the background table, except to find where the spectrum is smooth, and is honest about narrow
spectra: without sidebands a free dijet function absorbs a peak, and then there is no test. All masses of the scan are
fitted by one call of the log-linear engine; the workspace is written from the answer.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from bumpfit import inference, shapes, toys
from bumpfit.errors import BumpfitError, InputError
from bumpfit.histograms import Histogram, fill, mass_edges
from bumpfit.normal import at_least, significance_of_log
from bumpfit.results import Record
from bumpfit.search import falling
from bumpfit.search.mass_range import (
    MassRange,
    SpectrumSettings,
    choose,
    fitted_around,
    goodness,
    goodness_of,
    mass_range,
    scan_points,
    smooth_range,
)
from bumpfit.shapes import LogLinear
from bumpfit.shapes.order import Order
from bumpfit.workspace.build import spectrum_of

__all__ = ["MassRange", "SpectrumSettings", "SpectrumTest", "mass_range", "smooth_range", "spectrum_test"]

Array = NDArray[np.float64]

LEVEL = 0.05
"""CLs of an upper limit at 95 %."""

ROUNDS = 60
"""Most tests of upper limits."""

CLOSE = 1e-5
"""Precision of ln CLs at an upper limit, and of the limit."""


@dataclasses.dataclass(frozen=True, eq=False)
class SpectrumTest(Record):
    """A mass scan of one selected spectrum.

    `usable` is False when there is no test, for the reason in `reason`; then only the histogram is filled.
    `masses`, `q0`, `yields`, `errors`, `limits` (K,) are the scan: signal events at the best fit and their error with
    the mass held, and the 95 % CLs upper limit. A background that would have a peak of its own has to fall in the fits
    of the scan (`bumpfit.search.falling`), but where `low` of the settings gives the range; limits and the interval of
    the mass are of the free function. `mass` is that of the largest q0, with `p_local`; `p_global` is the union bound
    over the scan points. A probability below 1e-300 is given as that, an upper bound. `goodness_p`: chi2 probability of
    the background-only fit. `inflation`: error of the yield with free over that with fixed background at `mass`.

    `n_signal` with `n_signal_low` and `n_signal_high` are of the largest excess of the scan. The interval takes the
    choice of the largest one into account: its low end is at none when the global significance is below one (which is
    so in 84 % of spectra without signal), and as many errors of it above none as z_global otherwise. `limit`: upper
    limit at `mass`. `peak_mass`, `peak_low`, `peak_high`: the best mass with a free mass, and the 68.27 % interval of
    its profile likelihood, None where the excess is too small for one. `workspace` is the HistFactory JSON of the fit
    at `mass`.

    `table` (B,): counts of the background table, where it is fitted together with the data; then `p_global` is that of
    the largest significance of all masses and selections in `permutations` deals of the labels, and `bound` says that
    none reached it.
    """

    name: str
    background_efficiency: float
    usable: bool
    reason: str
    edges: Array
    counts: Array
    n_parameters: int | None = None
    fitted: Array | None = None
    goodness_p: float | None = None
    inflation: float | None = None
    masses: Array | None = None
    q0: Array | None = None
    yields: Array | None = None
    errors: Array | None = None
    limits: Array | None = None
    mass: float | None = None
    p_local: float | None = None
    z_local: float | None = None
    p_global: float | None = None
    z_global: float | None = None
    n_signal: float | None = None
    n_signal_error: float | None = None
    n_signal_low: float | None = None
    n_signal_high: float | None = None
    limit: float | None = None
    peak_mass: float | None = None
    peak_low: float | None = None
    peak_high: float | None = None
    signal: Array | None = None
    table: Array | None = None
    permutations: int = 0
    bound: bool = False
    workspace: dict[str, Any] | None = dataclasses.field(default=None, repr=False)

    def nearest(self, mass: float) -> int:
        """Place of the scanned mass that is nearest to this one in ln m."""
        assert self.masses is not None
        return int(np.argmin(np.abs(np.log(self.masses / mass))))

    def at(self, mass: Array, values: Array, outside: float) -> Array:
        """The value of its bin, of `values` (B,), at each of these masses, and another one outside of the range."""
        place = np.searchsorted(self.edges, mass, side="right") - 1
        inside = (place >= 0) & (place < len(values))
        return np.where(inside, values[np.clip(place, 0, len(values) - 1)], outside)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the workspace, which is a file of its own."""
        return {key: value for key, value in super().to_dict().items() if key != "workspace"}


@dataclasses.dataclass(frozen=True, eq=False)
class Scannable:
    """A spectrum with its fitted background, the masses that can be tested, and one signal event at each.

    `empty`: the result without the scan; `order`: the dijet function with its fit; `inflation` (K,): of the errors.
    """

    empty: SpectrumTest
    histogram: Histogram
    order: Order
    model: toys.LogLinear
    masses: Array
    inflation: Array


def spectrum_test(
    name: str,
    mass: Array,
    efficiency: float,
    span: tuple[float, float],
    settings: SpectrumSettings = SpectrumSettings(),
) -> SpectrumTest:
    """Fit the dijet function to selected masses (GeV, shape (N,)) within `span` and scan for a Gaussian peak.

    A test that cannot be made is a result with `usable` False.
    """
    prepared = scannable(name, mass, efficiency, span, settings)
    if isinstance(prepared, SpectrumTest):
        return prepared
    return scanned(prepared, scan_of(prepared, settings), settings)


def scannable(
    name: str,
    mass: Array,
    efficiency: float,
    span: tuple[float, float],
    settings: SpectrumSettings = SpectrumSettings(),
    inside: tuple[float, float] = (0.0, np.inf),
) -> Scannable | SpectrumTest:
    """What `scanned` needs, with the masses that lie `inside` (GeV); a result that says why, where there is no test."""
    edges = mass_edges(*span, resolution=settings.resolution, minimum_bins=12)
    histogram = fill(mass, edges, name="m_JJ")
    counts = histogram.counts
    empty = SpectrumTest(name, efficiency, False, "", edges, counts)
    if counts.sum() < settings.min_events:
        reason = f"{int(counts.sum())} events are selected; a spectrum needs {settings.min_events}"
        return dataclasses.replace(empty, reason=reason)
    try:
        order = choose(histogram, settings)
        fitness = goodness(histogram, order)[1]
    except (BumpfitError, InputError) as error:
        return dataclasses.replace(empty, reason=f"no dijet function can be fitted to it: {error}")
    masses, signals = scan_points(edges, settings)
    model = fitted_around(histogram, order.shape, order.fit, signals)
    if not settings.low and falling.peaks_by_itself(model.rate, edges):
        try:
            order, model, fitness = _without_peak(histogram, masses, signals, settings)
        except (BumpfitError, InputError) as error:
            return dataclasses.replace(empty, reason=f"no falling dijet function can be fitted to it: {error}")
    inflation = np.array([error_inflation(model.rate, model.basis, s) for s in signals])
    filled = dataclasses.replace(empty, n_parameters=order.n_parameters, fitted=model.rate, goodness_p=fitness)
    tested = (inflation < settings.sidebands) & (masses >= inside[0]) & (masses < inside[1])
    if not tested.any():
        return dataclasses.replace(
            filled,
            inflation=float(inflation.min()),
            reason=(
                f"the spectrum from {edges[0]:.0f} to {edges[-1]:.0f} GeV has no sidebands: a free dijet function "
                f"inflates the error of a peak's yield by a factor of {inflation.min():.1f} or more "
                f"(limit {settings.sidebands:g})"
            ),
        )
    return Scannable(filled, histogram, order, model.with_signal(signals[tested]), masses[tested], inflation[tested])


def _without_peak(
    histogram: Histogram, masses: Array, signals: Array, settings: SpectrumSettings
) -> tuple[Order, toys.LogLinear, float]:
    """A background that falls, where the function that is fitted to all bins follows the peak itself.

    The F-test chooses the order without the bins around the largest excess over a falling function of the fewest
    parameters. Returns the order with its fit, the model around that fit, and the goodness of the falling fit without
    a signal.
    """
    simple = choose(histogram, dataclasses.replace(settings, orders=settings.orders[:1]))
    found = falling.falling_scan(fitted_around(histogram, simple.shape, simple.fit, signals), histogram.edges)
    if found is None:
        raise BumpfitError("its fits did not converge")
    peak, width = float(masses[int(np.argmax(found.q0))]), settings.left_out * settings.resolution
    order = choose(histogram.blind(peak * (1 - width), peak * (1 + width)), settings)
    model = fitted_around(histogram, order.shape, order.fit, signals)
    null = falling.falling_null(model, histogram.edges)
    if null is None:
        raise BumpfitError("its fit without a signal did not converge")
    return order, model, goodness_of(histogram, null, order.n_parameters)[1]


def scanned(prepared: Scannable, found: falling.Scan | None, settings: SpectrumSettings) -> SpectrumTest:
    """The result of a scan of a spectrum over its masses; `usable` is False where a fit did not converge (None)."""
    test, histogram, order, model = prepared.empty, prepared.histogram, prepared.order, prepared.model
    masses, inflation = prepared.masses, prepared.inflation
    if found is None:
        return dataclasses.replace(test, reason="the signal fits of the mass scan did not converge")
    q0, yields, best = found.q0, found.yields, found.best
    log_local = float(log_ndtr(-np.sqrt(q0[best])))
    log_global = min(0.0, log_local + float(np.log(len(masses))))
    z_global = significance_of_log(log_global)
    try:
        errors = yield_errors(found)
    except BumpfitError as failure:
        return dataclasses.replace(test, reason=str(failure))
    number, error = float(yields[best]), float(errors[best])
    limits = upper_limits(model, yields + 2 * errors)
    peak = _peak(histogram, order, float(masses[best]), number, float(q0[best]), settings)
    assert isinstance(order.shape, LogLinear)
    return dataclasses.replace(
        test,
        usable=True,
        inflation=float(inflation[best]),
        masses=masses,
        q0=q0,
        yields=yields,
        errors=errors,
        limits=limits,
        mass=float(masses[best]),
        p_local=at_least(log_local),
        z_local=float(np.sqrt(q0[best])),
        p_global=at_least(log_global),
        z_global=z_global,
        n_signal=number,
        n_signal_error=error,
        n_signal_low=number * (1 - 1 / z_global) if z_global > 1 else 0.0,
        n_signal_high=number + error,
        limit=float(limits[best]),
        peak_mass=peak[0],
        peak_low=peak[1],
        peak_high=peak[2],
        signal=model.signals[best],
        workspace=spectrum_of(histogram, order.shape, order.fit.values, model.signals[best]),
    )


def scan_of(prepared: Scannable, settings: SpectrumSettings) -> falling.Scan | None:
    """q0 and signal events at all masses; a background with a peak of its own has to fall, but in a range that is
    given.
    """
    if settings.low:
        return falling.free_scan(prepared.model)
    return falling.scan(prepared.model, prepared.histogram.edges)


def yield_errors(found: falling.Scan) -> Array:
    """Errors of the yields with a free background: Fisher information at the fit with each signal, shape (K,).

    Raises BumpfitError when no background fits the data beside a signal.
    """
    result = np.empty(len(found.yields))
    for k, (signal, number) in enumerate(zip(found.model.signals, found.yields, strict=True)):
        rate = found.background(k)
        design = np.column_stack([signal, rate[:, None] * found.model.basis])
        result[k] = _first_error(design, rate + max(number, 0.0) * signal)
    return result


def _first_error(design: Array, expected: Array) -> float:
    """Error of the first parameter of a linear Poisson model: derivatives (B, P) and expectations (B,)."""
    scaled = design / np.sqrt(expected)[:, None]
    scale = np.linalg.norm(scaled, axis=0)
    scaled = scaled / scale
    return float(np.sqrt(np.linalg.pinv(scaled.T @ scaled, hermitian=True)[0, 0]) / scale[0])


def error_inflation(expected: Array, basis: Array, signal: Array) -> float:
    """Error of the yield with a free over that with a known background, from the Fisher information."""
    design = np.column_stack([signal, expected[:, None] * basis])
    return _first_error(design, expected) / _first_error(signal[:, None], expected)


def upper_limits(model: toys.LogLinear, guess: Array) -> Array:
    """95 % CLs upper limits on the events of every signal (asymptotic q-tilde), shape (K,).

    All signals are tested in one call of the engine, each at its own number of events; regula falsi on ln CLs (the
    Illinois rule), which is smooth in the number of events.
    """
    low, high = 1e-3 * np.maximum(guess, 1.0), np.maximum(guess, 3.0)
    goal = np.log(LEVEL)
    at_low, at_high = _log_cls(model, low) - goal, _log_cls(model, high) - goal
    for _ in range(ROUNDS):
        outside = at_high > 0
        if not outside.any():
            break
        low, at_low = np.where(outside, high, low), np.where(outside, at_high, at_low)
        high = np.where(outside, 2 * high, high)
        at_high = _log_cls(model, high) - goal
    last = np.zeros(guess.size)
    middle = high
    for _ in range(ROUNDS):
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        here = _log_cls(model, middle) - goal
        if (np.abs(here) < CLOSE).all() or (high / low - 1 < CLOSE).all():
            break
        above = here > 0
        # the end that stays twice has its value halved, so that the other one comes nearer
        at_high = np.where(above & (last > 0), 0.5 * at_high, at_high)
        at_low = np.where(~above & (last < 0), 0.5 * at_low, at_low)
        low, at_low = np.where(above, middle, low), np.where(above, here, at_low)
        high, at_high = np.where(above, high, middle), np.where(above, at_high, here)
        last = np.where(above, 1.0, -1.0)
    return np.asarray(middle)


def _log_cls(model: toys.LogLinear, numbers: Array) -> Array:
    """ln CLs of the tested numbers of events, shape (K,): Cowan et al., EPJC 71 (2011) 1554, eqs. 57-66.

    The Asimov data are the fitted background.
    """
    assert model.observed is not None
    # without the data, or the engine would begin at the background that fits them beside the first signal alone
    tested = dataclasses.replace(model, signal=model.signals * numbers[:, None], observed=None)
    engine = toys.engine(tested, statistic="qtilde", mu=1.0)
    q, asimov = np.maximum(engine.fit_data(np.stack([model.observed, model.rate])).statistic, 0.0)
    root = np.sqrt(np.maximum(asimov, 1e-300))
    inside = q <= root**2
    signal = np.where(inside, np.sqrt(q), (q + root**2) / (2 * root))
    without = np.where(inside, np.sqrt(q) - root, (q - root**2) / (2 * root))
    return np.asarray(log_ndtr(-signal) - log_ndtr(-without))


def _peak(
    histogram: Histogram, order: Order, mass: float, number: float, q0: float, settings: SpectrumSettings
) -> tuple[float | None, float | None, float | None]:
    """Mass of the peak with a 68.27 % profile-likelihood interval; None where the likelihood gives no such interval."""
    if q0 < settings.measured**2 or not number > 0:
        return None, None, None
    model = shapes.add(order.shape, shapes.tie(shapes.gaussian(), sigma=(0.0, settings.resolution)))
    width = settings.left_out * settings.resolution * mass
    limits = {"n_signal": (0.0, None), "mass": (mass - width, mass + width)}
    try:
        found = inference.interval(shapes.likelihood(model, histogram, limits=limits), "mass")
    except BumpfitError:
        return None, None, None
    if found.low_at_bound or found.high_at_bound:
        return None, None, None
    return found.best, found.low, found.high
