"""A published spectrum from end to end: how many parameters, does the function fit, a peak at each mass, and limits.

The background is a log-linear family of `shapes`, chosen by F-test. A peak of fixed form is added at each mass, and the
sum is a HistFactory workspace that is exact for such functions (`workspace.build`), so that all questions are those of
`inference`. The global p-value is estimated by the formula of Gross and Vitells (Eur. Phys. J. C 70 (2010) 525, eq. 3),
with the up-crossings of the scan of the data (at least one) for their mean.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc

from bumpfit.errors import InputError
from bumpfit.histograms import HistogramLike, as_histogram
from bumpfit.inference.masses import discoveries, limits
from bumpfit.normal import significance
from bumpfit.results import Fit, MassScan, Record
from bumpfit.shapes import (
    LogLinear,
    Order,
    Shape,
    add,
    dijet,
    exponential,
    gaussian,
    likelihood_chi2,
    order_by_f_test,
    power_law,
    tie,
    ua2,
)
from bumpfit.shapes.prepare import enough_bins
from bumpfit.types import Floats
from bumpfit.workspace import Model, build
from bumpfit.workspace.read import compile_model

FAMILIES: dict[str, Callable[..., LogLinear]] = {
    "dijet": dijet, "ua2": ua2, "exponential": exponential, "power_law": power_law,
}  # fmt: skip
"""Families whose logarithm is linear in the parameters."""

ORDERS = (2, 3, 4, 5)
"""Numbers of parameters that the F-test tries."""

EDGE = 2.0
"""Widths of the peak between the ends of the spectrum and the first and last mass of a scan."""


@dataclasses.dataclass(frozen=True)
class Peak:
    """A Gaussian peak whose width is `relative` times the mass plus `absolute` (GeV)."""

    relative: float
    absolute: float

    @classmethod
    def of(cls, text: str) -> Peak:
        """From gauss:3% or gauss:100 (GeV); raises InputError for anything else."""
        found = re.fullmatch(r"gauss:(\d+(?:\.\d*)?)(%?)", text.strip())
        if found is None or not float(found[1]) > 0:
            raise InputError(f"cannot read the signal '{text}'; expected gauss:3% (of the mass) or gauss:100 (GeV)")
        return cls(float(found[1]) / 100, 0.0) if found[2] else cls(0.0, float(found[1]))

    def width(self, mass: float) -> float:
        """Its sigma at a mass."""
        return self.relative * mass + self.absolute

    def shape(self) -> Shape:
        """A Gaussian with this width at every mass; its parameters are `n_signal` and `mass`."""
        return tie(gaussian(), sigma=(self.absolute, self.relative))

    def content(self, edges: Floats, mass: float) -> Floats:
        """The part of its events in each bin, shape (B,)."""
        return np.asarray(gaussian().integrate(edges, {"n_signal": 1.0, "mass": mass, "sigma": self.width(mass)}))


@dataclasses.dataclass(frozen=True, eq=False)
class Trial(Record):
    """One number of parameters: deviance of all bins (Baker-Cousins), degrees of freedom, p, and the F-test against the
    order before it in bins merged to hold enough events (`shapes.order_by_f_test`; None for the first).
    """

    n_parameters: int
    deviance: float
    degrees_of_freedom: int
    p: float
    p_f: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class SpectrumScan(Record):
    """A spectrum with its background function and the scan for a peak.

    `expected` (B,): the background function in the bins. Strengths of `scan` and `limits` are events of the whole peak.
    What belongs to the scan is None without one.
    """

    family: str
    n_parameters: int
    reason: str
    trials: tuple[Trial, ...]
    fit: Fit
    edges: Floats
    counts: Floats
    expected: Floats
    scan: MassScan | None
    limits: MassScan | None
    best_mass: float | None
    p_local: float | None
    z_local: float | None
    p_global: float | None
    z_global: float | None
    crossings: int | None
    notes: tuple[str, ...] = ()


def scan_spectrum(
    histogram: HistogramLike,
    *,
    family: str = "dijet",
    order: int | None = None,
    peak: Peak | None = None,
    masses: ArrayLike | None = None,
    with_limits: bool = False,
    sqrt_s: float = 13000.0,
) -> SpectrumScan:
    """Fit a family to plain counts, and scan for a peak.

    `order`: the number of parameters, by default chosen by F-test among `ORDERS`. `peak`: its form (None: no scan).
    `masses`: where it is looked for, by default one width apart. Strengths are events of the whole peak.
    Raises InputError for unknown families, weighted histograms, too few bins and masses outside, BumpfitError where no
    order fits.
    """
    histogram = as_histogram(histogram)
    shape_of = functions(family, histogram.edges, sqrt_s)
    chosen = order_by_f_test(histogram, shape_of, ORDERS if order is None else (order,))
    assert isinstance(chosen.shape, LogLinear)
    shape = chosen.shape
    expected = shape.integrate(histogram.edges, chosen.fit.values)
    trials = tuple(_trial(shape_of(t.n_parameters), t.fit, t.p_f, histogram) for t in chosen.trials)
    found: MassScan | None = None
    bounds: MassScan | None = None
    if peak is not None:
        enough_bins(add(shape, peak.shape()), int((~histogram.blinded).sum()), ("mass",), judged=True)
        points = masses_of(histogram.edges, peak, masses)
        models = {mass: _model(histogram, shape, chosen, peak, mass) for mass in points}
        found = discoveries(models)
        bounds = limits(models) if with_limits else None
    return SpectrumScan(
        family, chosen.n_parameters, chosen.reason, trials, chosen.fit, histogram.edges, histogram.counts, expected,
        found, bounds, **_significance(found),
    )  # fmt: skip


def functions(family: str, edges: Floats, sqrt_s: float) -> Callable[[int], LogLinear]:
    """The functions of a family over a spectrum, by their number of parameters.

    Raises InputError for unknown families and masses outside 0 to sqrt(s).
    """
    if family not in FAMILIES:
        raise InputError(f"unknown family '{family}'; choose from {', '.join(FAMILIES)}")
    if not edges[0] > 0 or edges[-1] > sqrt_s:
        raise InputError(
            f"the spectrum goes from {edges[0]:g} to {edges[-1]:g}; masses must lie between 0 and "
            f"sqrt(s) = {sqrt_s:g} (--sqrt-s)"
        )
    middle = float(np.sqrt(edges[0] * edges[-1]))
    return lambda number: FAMILIES[family](number, sqrt_s=sqrt_s, reference=middle)


def _trial(shape: Shape, fit: Fit, p_f: float | None, histogram: Any) -> Trial:
    seen = ~histogram.blinded
    expected = shape.integrate(histogram.edges, fit.values)[seen]
    value = float(likelihood_chi2(histogram.counts[seen], expected))
    left = int(seen.sum()) - len(shape.parameters)
    return Trial(len(shape.parameters), value, left, float(chdtrc(left, value)), p_f)


def masses_of(edges: Floats, peak: Peak, wanted: ArrayLike | None) -> tuple[float, ...]:
    """Masses a width apart, with the peak inside the spectrum; or those that were asked for."""
    if wanted is not None:
        points = tuple(float(m) for m in np.atleast_1d(np.asarray(wanted, dtype=np.float64)))
        outside = [m for m in points if not edges[0] < m < edges[-1]]
        if outside or not points:
            raise InputError(
                f"the masses must lie in the spectrum, {edges[0]:g} to {edges[-1]:g}; got "
                f"{outside[0] if outside else 'none'}"
            )
        return points
    mass = float(edges[0])
    while mass - EDGE * peak.width(mass) < edges[0]:
        mass += 0.1 * peak.width(mass)
    result = []
    while mass + EDGE * peak.width(mass) <= edges[-1]:
        result.append(mass)
        mass += peak.width(mass)
    if not result:
        raise InputError("the peak is wider than the spectrum; give a narrower --signal, or --scan-masses")
    return tuple(round(m, 6) for m in result)


def _model(histogram: Any, shape: LogLinear, chosen: Order, peak: Peak, mass: float) -> Model:
    """The background function with a peak whose strength counts events."""
    content = peak.content(histogram.edges, mass)
    near = content > 0.01 * content.max()
    # at most all events where the peak is
    seen = np.where(histogram.blinded, 0.0, np.nan_to_num(histogram.counts))
    top = float(seen[near].sum()) + 10.0
    spec = build.spectrum_of(histogram, shape, chosen.fit.values, content, poi="n_signal", poi_range=(0.0, top))
    return compile_model(spec)


def _significance(found: MassScan | None) -> dict[str, Any]:
    """The most significant mass, its local p-value, and the estimate of the global one."""
    nothing = dict.fromkeys(("best_mass", "p_local", "z_local", "p_global", "z_global", "crossings"))
    if found is None:
        return nothing
    known = [(m, d) for m, d in zip(found.masses, found.discoveries or (), strict=True) if d is not None]
    if not known:
        return nothing
    mass, best = max(known, key=lambda entry: entry[1].q0)
    q = [d.q0 for _, d in known]
    crossings = _upcrossings(q)
    p_global = min(1.0, best.p + max(crossings, 1) * math.exp(-0.5 * (best.q0 - LEVEL))) if best.q0 > LEVEL else 1.0
    notes: tuple[str, ...] = (
        f"the global p-value is an estimate by the formula of Gross and Vitells, with the {crossings} up-crossings of "
        f"q0 = {LEVEL:g} in the scan of the data (at least 1) for their mean; toys (bumpfit toys of the workspaces) "
        "know it better",
    )
    return {
        "best_mass": mass, "p_local": best.p, "z_local": best.z, "p_global": p_global,
        "z_global": max(0.0, significance(p_global)), "crossings": crossings, "notes": notes,
    }  # fmt: skip


LEVEL = 0.5
"""Level of q0 whose upward crossings are counted."""


def _upcrossings(q: Sequence[float]) -> int:
    return sum(a <= LEVEL < b for a, b in itertools.pairwise(q)) + (q[0] > LEVEL)
