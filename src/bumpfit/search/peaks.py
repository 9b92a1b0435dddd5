"""A mass from the peak of a selected spectrum over the background table in the same selection."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2, norm

from bumpfit.inference.counting import profile_on_off
from bumpfit.results import Record
from bumpfit.shapes import double_crystal_ball

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class PeakSettings:
    """How a peak is fitted.

    `bins`: bins of the spectrum; `sigma`: allowed sigma / mass; `alpha`: range of the Crystal Ball transition points in
    sigmas; `tail`: exponent of both tails, held; `scale_error`: relative uncertainty of the energy scale, added to the
    error of the position (the LHC Olympics detectors and ours agree on peaks to about this); `shape_error`: uncertainty
    of the position from the form of the peak, in units of its sigma (docs/performance.md: fitted against true peaks of
    the asymmetric jet masses in injections).
    """

    bins: int = 60
    sigma: tuple[float, float] = (0.008, 0.15)
    alpha: tuple[float, float] = (0.2, 3.0)
    tail: float = 3.0
    scale_error: float = 0.01
    shape_error: float = 0.25

    def error(self, statistical: float, mass: float, sigma: float) -> float:
        """Error of the position of a peak: statistics, energy scale and form together."""
        return float(np.linalg.norm([statistical, self.scale_error * mass, self.shape_error * sigma]))


@dataclasses.dataclass(frozen=True, eq=False)
class PeakFit(Record):
    """A fitted peak: position `mass` and `error` (statistics of data and background, energy scale, form), in GeV.

    `edges` (B+1,), `data`, `background` (expected from the table), `fitted_background`, `signal` (B,) are what the
    figure shows; `tau`: background table over expected background. `deviance` is -2 ln L against the saturated model
    with `bins_used` bins.
    """

    name: str
    mass: float
    error: float
    error_statistical: float
    sigma: float
    n_signal: float
    n_signal_error: float
    valid: bool
    at_bounds: tuple[str, ...]
    deviance: float
    bins_used: int
    tau: float
    edges: Array
    data: Array
    background: Array
    fitted_background: Array
    signal: Array

    @property
    def goodness_p(self) -> float:
        """Asymptotic chi2 probability of the deviance; five parameters are fitted."""
        return float(chi2.sf(self.deviance, max(self.bins_used - len(NAMES), 1)))


def fit_peak(
    name: str,
    data: Array,
    background: Array,
    tau: float,
    *,
    low: float | None = None,
    high: float | None = None,
    start: float | None = None,
    settings: PeakSettings = PeakSettings(),
) -> PeakFit:
    """Fit a double-sided Crystal Ball over the binned background table, whose every bin is profiled.

    Args:
        name: what the mass is called.
        data, background: masses (GeV) of the selected events, shapes (N,) and (M,).
        tau: events of the background table per background event in the data.
        low, high: range; by default that of the data's central 99 %.
        start: where to look first; by default the largest excess in a sliding window.
    """
    low = float(np.quantile(data, 0.005)) if low is None else low
    high = float(np.quantile(data, 0.995)) if high is None else high
    edges = np.linspace(low, high, settings.bins + 1)
    n, m = np.histogram(data, edges)[0].astype(float), np.histogram(background, edges)[0].astype(float)
    shape = double_crystal_ball()
    centres = 0.5 * (edges[1:] + edges[:-1])

    def signal(p: Array) -> Array:
        return np.maximum(shape.integrate(edges, _dcb_values(shape.parameters, p, settings.tail)), 0.0)

    def cost(p: Array) -> float:
        if not np.isfinite(p).all():  # MIGRAD tries such points after a step with an undefined curvature
            return REJECTED
        return float(profile_on_off(n, m, tau, signal(p))[0].sum())

    found = _lowest(cost, _starts(centres, n - m / tau, start, settings), n, (n - m / tau).sum(), (low, high), settings)
    values = np.array(found.values)
    statistical = _position_error(found)
    s = signal(values)
    deviance, b = profile_on_off(n, m, tau, s)
    return PeakFit(
        name=name,
        mass=float(values[1]),
        error=settings.error(statistical, values[1], values[2]),
        error_statistical=statistical,
        sigma=float(values[2]),
        n_signal=float(values[0]),
        n_signal_error=float(found.errors["n_signal"]),
        valid=bool(found.valid),
        at_bounds=_at_bounds(found),
        deviance=float(deviance.sum()),
        bins_used=int(((n + m) > 0).sum()),
        tau=tau,
        edges=edges,
        data=n,
        background=m / tau,
        fitted_background=b,
        signal=s,
    )


def unordered(light: PeakFit, heavy: PeakFit) -> tuple[float, float]:
    """Masses of two daughters, the lighter first, from the peaks of the lighter and of the heavier jet.

    The jets are ordered by their measured masses. Of two Gaussians d apart, each of width s, the larger one is on
    average E|x| above the smaller one, x ~ N(d, 2 s^2): 1.13 s where the masses are equal. d follows from the distance
    of the peaks and from their widths, s^2 = sigma^2 + (distance^2 - d^2) / 4; it is none where the distance is no more
    than that of equal masses. Far apart, nothing changes.
    """
    low, high = sorted((light.mass, heavy.mass))
    distance, variance = high - low, 0.5 * (light.sigma**2 + heavy.sigma**2)

    def beyond(d: float) -> float:
        """The mean distance of the ordered jets, less the one that is seen."""
        theta = float(np.sqrt(2 * variance + 0.5 * (distance**2 - d**2)))
        return float(d * (2 * norm.cdf(d / theta) - 1) + 2 * theta * norm.pdf(d / theta)) - distance

    if beyond(0.0) >= 0:
        d = 0.0
    elif beyond(distance) <= 0:  # mathematically above it, by less than the rounding where the jets are far apart
        d = distance
    else:
        d = float(brentq(beyond, 0.0, distance))
    return 0.5 * (low + high - d), 0.5 * (low + high + d)


def _lowest(
    cost: Callable[[Array], float],
    starts: list[tuple[float, float]],
    n: Array,
    excess: float,
    span: tuple[float, float],
    settings: PeakSettings,
) -> Minuit:
    """The lowest minimum of the cost, -2 ln L, from all starts (position, relative width), with its errors."""
    found: Minuit | None = None
    for mass, width in starts:
        fit = Minuit(cost, np.array([max(excess, 10.0), mass, width * mass, 1.2, 1.2]), name=NAMES)
        fit.errordef = Minuit.LEAST_SQUARES  # cost is -2 ln L
        fit.limits = [
            (0.0, 2 * n.sum() + 10),
            span,
            (settings.sigma[0] * mass, settings.sigma[1] * mass),
            settings.alpha,
            settings.alpha,
        ]
        fit.migrad()
        if found is None or (fit.fval or np.inf) < (found.fval or np.inf):
            found = fit
    assert found is not None
    if not found.valid:  # a flat direction (tails) confuses the approximate Hessian; compute it, and go on from there
        found.strategy = 2
        found.simplex().migrad()
    found.hesse()
    return found


REJECTED = 1e30
"""Cost of a point that is no point."""

NAMES = ("n_signal", "mass", "sigma", "alpha_low", "alpha_high")


def _dcb_values(names: tuple[str, ...], p: Array, tail: float) -> dict[str, float]:
    """The shape's parameters from those of the fit, `NAMES`."""
    count, mass, sigma, alpha_low, alpha_high = p
    return dict(zip(names, (count, mass, sigma, alpha_low, tail, alpha_high, tail), strict=True))


def _starts(centres: Array, excess: Array, start: float | None, settings: PeakSettings) -> list[tuple[float, float]]:
    """Candidate (position, relative width): the given one, or the largest smoothed excess."""
    places = [start] if start is not None else []
    step = centres[1] - centres[0]
    for relative in (0.04, 0.08):
        width = max(relative * float(np.median(centres)), step)
        kernel = np.exp(-0.5 * ((centres[:, None] - centres[None, :]) / width) ** 2)
        places.append(float(centres[int(np.argmax(kernel @ excess))]))
    return [(place, relative) for place in dict.fromkeys(places) for relative in (0.03, 0.07)]


def _position_error(fit: Minuit) -> float:
    """Half the MINOS interval of the position; the parabolic error where MINOS cannot find one."""
    if fit.valid:
        fit.minos("mass")
        minos = fit.merrors["mass"]
        if minos.is_valid:
            return float(0.5 * (minos.upper - minos.lower))
    return float(fit.errors["mass"])


def _at_bounds(fit: Minuit) -> tuple[str, ...]:
    """Parameters that end within a thousandth of their range from one of its ends."""
    ends = zip(NAMES, fit.values, fit.limits, strict=True)
    return tuple(name for name, v, (low, high) in ends if min(v - low, high - v) < 1e-3 * (high - low))
