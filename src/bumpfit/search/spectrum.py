"""The second test: a peak over a dijet function in the m_JJ spectrum of a selection.

It does not look at the background table, except to find where the spectrum is smooth, and is honest about narrow
spectra: without sidebands a free dijet function absorbs a peak, and then there is no test.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from bumpfit.errors import BumpfitError
from bumpfit.histograms import Histogram, fill, mass_edges
from bumpfit.inference.discovery import discovery
from bumpfit.results import Record
from bumpfit.shapes import LogLinear, dijet, gaussian
from bumpfit.shapes.order import Order, likelihood_chi2, order_by_f_test
from bumpfit.workspace.build import spectrum_of
from bumpfit.workspace.read import compile_model

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class SpectrumSettings:
    """How the spectrum is binned, fitted and scanned.

    `resolution`: sigma / mass of a narrow resonance, also the width of the bins; `orders`: parameters of the dijet
    function that the F-test chooses among; `min_events`: events that a spectrum needs; `per_sigma`: scan points per
    resolution; `sidebands`: largest factor by which the free background may inflate the error of the yield - beyond
    it the spectrum has no sidebands; `smooth_p`: goodness of fit that the background table must reach above the low
    edge, and above the next `settle` edges.
    """

    resolution: float = 0.03
    orders: tuple[int, ...] = (2, 3, 4, 5)
    min_events: int = 100
    per_sigma: float = 1.0
    sidebands: float = 2.0
    smooth_p: float = 0.05
    settle: int = 3


@dataclasses.dataclass(frozen=True, eq=False)
class SpectrumTest(Record):
    """A mass scan of one selected spectrum.

    `usable` is False when there is no test, for the reason in `reason`; then only the histogram is filled.
    `masses`, `q0`, `yields` (K,) are the scan (signal events at the best fit), `mass` its largest q0 with `p_local`;
    `p_global` is the union bound over the scan points. `goodness_p`: chi2 probability of the background-only fit.
    `inflation`: error of the yield with free over that with fixed background at `mass`. `workspace` is the HistFactory
    JSON of the fit at `mass`.
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
    mass: float | None = None
    p_local: float | None = None
    z_local: float | None = None
    p_global: float | None = None
    z_global: float | None = None
    n_signal: float | None = None
    n_signal_error: float | None = None
    signal: Array | None = None
    workspace: dict[str, Any] | None = dataclasses.field(default=None, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, without the workspace, which is a file of its own."""
        return {key: value for key, value in super().to_dict().items() if key != "workspace"}


def smooth_range(background_mass: Array, settings: SpectrumSettings = SpectrumSettings()) -> tuple[float, float]:
    """Range (low, high) in GeV in which the background table follows a dijet function.

    The high edge leaves 10 events above it. The low edge climbs, bin by bin from the mode, until the fit of the table
    has reached `smooth_p` from `settle` edges before it as well: a turn-on that a flexible function can just follow
    still makes false peaks next to it, so the range starts at the last of these edges. A table that is smooth from its
    lowest mass on is taken whole.
    """
    ordered = np.sort(background_mass)
    high = float(ordered[-min(10, len(ordered))])
    edges = mass_edges(float(ordered[0]), high, resolution=settings.resolution)
    counts = np.histogram(ordered, edges)[0]
    first = int(np.argmax(counts / np.diff(edges)))
    passed = 0
    for start in range(first, max(first + 1, len(counts) - 8)):
        histogram = fill(ordered, edges[start:], name="m_JJ")
        smooth = _goodness(histogram, _order(histogram, settings))[1] > settings.smooth_p
        passed = passed + 1 if smooth else 0
        if passed and (start == 0 or passed > settings.settle):
            return float(edges[start]), high
    return float(edges[first]), high


def spectrum_test(
    name: str,
    mass: Array,
    efficiency: float,
    span: tuple[float, float],
    settings: SpectrumSettings = SpectrumSettings(),
) -> SpectrumTest:
    """Fit the dijet function to selected masses (GeV, shape (N,)) within `span` and scan for a Gaussian peak."""
    edges = mass_edges(*span, resolution=settings.resolution, minimum_bins=12)
    histogram = fill(mass, edges, name="m_JJ")
    counts = histogram.counts
    empty = SpectrumTest(name, efficiency, False, "", edges, counts)
    if counts.sum() < settings.min_events:
        reason = f"{int(counts.sum())} events are selected; a spectrum needs {settings.min_events}"
        return dataclasses.replace(empty, reason=reason)
    order = _order(histogram, settings)
    assert isinstance(order.shape, LogLinear)
    expected = order.shape.integrate(edges, order.fit.values)
    basis = order.shape.log_linear_basis(edges, order.fit.values)
    goodness = _goodness(histogram, order)[1]
    masses = _scan_points(edges, settings)
    signals = np.array([_peak(edges, m, settings) for m in masses])
    inflation = np.array([_inflation(expected, basis, s) for s in signals])
    tested = inflation < settings.sidebands
    filled = dataclasses.replace(empty, n_parameters=order.n_parameters, fitted=expected, goodness_p=goodness)
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
    masses, signals, inflation = masses[tested], signals[tested], inflation[tested]
    q0, yields, errors = np.zeros(len(masses)), np.zeros(len(masses)), np.zeros(len(masses))
    for i, signal in enumerate(signals):
        found = discovery(compile_model(spectrum_of(histogram, order.shape, order.fit.values, signal)))
        q0[i], yields[i], errors[i] = found.q0, found.mu, found.mu_error or np.nan
    best = int(np.argmax(q0))
    p_local = float(norm.sf(np.sqrt(q0[best])))
    p_global = min(1.0, p_local * len(masses))
    return dataclasses.replace(
        filled,
        usable=True,
        reason="",
        inflation=float(inflation[best]),
        masses=masses,
        q0=q0,
        yields=yields,
        mass=float(masses[best]),
        p_local=p_local,
        z_local=float(np.sqrt(q0[best])),
        p_global=p_global,
        z_global=float(norm.isf(p_global)),
        n_signal=float(yields[best]),
        n_signal_error=float(errors[best]),
        signal=signals[best],
        workspace=spectrum_of(histogram, order.shape, order.fit.values, signals[best]),
    )


def _order(histogram: Histogram, settings: SpectrumSettings) -> Order:
    """The dijet function that the F-test chooses; a reference mass inside the spectrum keeps the prefactor finite."""
    middle = float(np.sqrt(histogram.edges[0] * histogram.edges[-1]))
    return order_by_f_test(histogram, lambda n: dijet(n, reference=middle), orders=settings.orders)


def _scan_points(edges: Array, settings: SpectrumSettings) -> Array:
    step = np.log1p(settings.resolution / settings.per_sigma)
    low, high = np.log(edges[0]) + settings.resolution, np.log(edges[-1]) - settings.resolution
    return np.asarray(np.exp(np.linspace(low, high, max(2, round((high - low) / step) + 1))))


def _peak(edges: Array, mass: float, settings: SpectrumSettings) -> Array:
    """One signal event at this mass, shape (B,)."""
    return gaussian().integrate(edges, [1.0, mass, settings.resolution * mass])


def _inflation(expected: Array, basis: Array, signal: Array) -> float:
    """Error of the yield with a free over that with a known background, from the Fisher information."""
    expected = np.maximum(expected, 1e-12)  # far tails of the function underflow
    with_signal = np.column_stack([signal / expected, basis])
    scale = np.sqrt((expected[:, None] * with_signal**2).sum(axis=0))
    information = (with_signal * expected[:, None] / scale).T @ (with_signal / scale)
    return float(np.sqrt(np.linalg.pinv(information, hermitian=True)[0, 0]))


def _goodness(histogram: Histogram, order: Order) -> tuple[float, float]:
    """Likelihood chi2 of the background-only fit in bins of at least 5 events, and its probability."""
    merged = histogram.merge_until(5)
    expected = order.shape.integrate(merged.edges, order.fit.values)
    value = float(np.sum(likelihood_chi2(merged.counts, expected)))
    freedom = len(merged.counts) - order.n_parameters
    if freedom < 1:
        raise BumpfitError(
            f"a spectrum of {int(histogram.total)} events fills {len(merged.counts)} bins, too few for a function of "
            f"{order.n_parameters} parameters; select more events"
        )
    return value, float(chi2.sf(value, freedom))
