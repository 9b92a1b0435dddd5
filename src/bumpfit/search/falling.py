"""A background that falls: what keeps a flexible function from describing the peak itself.

Three parameters make a dijet function with a maximum. In a selection that is mostly signal such a function follows the
peak, and the largest q0 then stands at another mass, with a signal of some events beside a background of the rest.
Backgrounds of dijet spectra fall above the turn-on. ln f is linear in the parameters, so that this is a set of linear
inequalities, one for every two neighbouring bins, in the fits with and without a signal.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from bumpfit import toys
from bumpfit.errors import BumpfitError
from bumpfit.toys.loglinear import refitted

Array = NDArray[np.float64]

HIDDEN = 0.05
"""Share of the largest signal expectation from which a bin is left out where a background is guessed without it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Scan:
    """q0 and signal events at the masses of a scan, (K,); the backgrounds beside the signals, (K, B), if they fall."""

    q0: Array
    yields: Array
    model: toys.LogLinear
    falling: Array | None = None

    @property
    def best(self) -> int:
        """Place of the strongest signal."""
        return int(np.argmax(self.q0))

    def background(self, k: int) -> Array:
        """The background beside signal k, (B,). Raises BumpfitError when no free one fits the data there."""
        if self.falling is not None:
            return np.asarray(self.falling[k])
        return refitted(self.model.with_signal(self.model.signals[k]), float(self.yields[k]))[0].rate


def peaks_by_itself(background: Array, edges: Array) -> bool:
    """More events above the smallest density at lower masses than the statistical error of the whole background."""
    widths = np.diff(edges)
    above = background - np.minimum.accumulate(background / widths) * widths
    return bool(above.sum() > np.sqrt(background.sum()))


def free_scan(model: toys.LogLinear) -> Scan | None:
    """Any background, all signals of the model in one call of the engine; None where a fit did not converge."""
    assert model.observed is not None
    found = toys.engine(model).fit_data(model.observed[None])
    q0, yields = found.statistic[0], found.strength[0]
    if not np.isfinite(q0).all():
        return None
    return Scan(q0, yields, model)


def scan(model: toys.LogLinear, edges: Array) -> Scan | None:
    """The scan of signals, (K, B), over a background that is free unless it has a peak of its own.

    Where the background without a signal, or that beside the strongest one, does, all fits are made again with one that
    falls. None where a fit did not converge.
    """
    free = None if peaks_by_itself(model.rate, edges) else free_scan(model)
    if free is None:
        return falling_scan(model, edges)
    try:
        fits = not peaks_by_itself(free.background(free.best), edges)
    except BumpfitError:
        fits = False
    return free if fits else falling_scan(model, edges)


def falling_null(model: toys.LogLinear, edges: Array) -> Array | None:
    """The background that falls and fits the data best without a signal, (B,); None where there is no minimum."""
    found = _null(model, np.diff(edges))
    return None if found is None else _rate(model, found[0])


def falling_scan(model: toys.LogLinear, edges: Array) -> Scan | None:
    """The scan with backgrounds that fall from bin to bin; sequential quadratic programming (scipy's SLSQP)."""
    assert model.observed is not None
    widths, counts = np.diff(edges), model.observed
    null = _null(model, widths)
    if null is None:
        return None
    q0, yields, backgrounds = np.zeros(len(model.signals)), np.zeros(len(model.signals)), []
    for k, signal in enumerate(model.signals):
        z = _guess(model, widths, counts, signal)
        starts = [(x, _excess(model, counts, signal, x)) for x in (null[0], z)]
        found = _fitted(model, widths, signal, starts)
        if found is None:
            return None
        q0[k], yields[k] = max(2 * (null[2] - found[2]), 0.0), found[1]
        backgrounds.append(_rate(model, found[0]))
    return Scan(q0, yields, model, np.array(backgrounds))


def _null(model: toys.LogLinear, widths: Array) -> tuple[Array, float, float] | None:
    """`_fitted` without a signal."""
    assert model.observed is not None
    return _fitted(model, widths, None, [(_guess(model, widths, model.observed, None), 0.0)])


def _rate(model: toys.LogLinear, z: Array) -> Array:
    return np.asarray(model.rate * np.exp(model.basis @ model.whitening @ z))


def _excess(model: toys.LogLinear, counts: Array, signal: Array, z: Array) -> float:
    """Events above the background where most of the signal is."""
    core = signal > 0.3 * signal.max()
    return max(float((counts - _rate(model, z))[core].sum() / signal[core].sum()), 0.0)


def _guess(model: toys.LogLinear, widths: Array, counts: Array, signal: Array | None) -> Array:
    """z of the function nearest to the counts' falling regression, without the bins of a signal, shape (K,)."""
    seen = np.ones(len(counts), np.bool_) if signal is None else signal < HIDDEN * signal.max()
    if seen.sum() <= model.basis.shape[1]:
        seen[:] = True
    x = np.arange(len(counts), dtype=float)
    fit = IsotonicRegression(increasing=False, out_of_bounds="clip")
    density = fit.fit(x[seen], (counts / widths)[seen], sample_weight=widths[seen]).predict(x[seen])
    target = np.log(np.maximum(density * widths[seen], 0.1)) - np.log(model.rate[seen])
    weight = np.sqrt(np.maximum(density * widths[seen], 0.1))
    basis = (model.basis @ model.whitening)[seen]
    return np.asarray(np.linalg.lstsq(basis * weight[:, None], target * weight, rcond=None)[0])


def _fitted(
    model: toys.LogLinear, widths: Array, signal: Array | None, starts: list[tuple[Array, float]]
) -> tuple[Array, float, float] | None:
    """Lowest minimum over the starts: z (K,), signal events and -ln L; None where no start leads to one."""
    counts, basis = model.observed, model.basis @ model.whitening
    assert counts is not None
    extra = np.zeros(len(counts)) if signal is None else signal
    size = basis.shape[1]
    scale = max(float(np.sqrt(counts.sum())), 1.0)
    level, slopes = np.diff(np.log(model.rate / widths)), np.diff(basis, axis=0)

    def value(x: Array) -> tuple[float, Array]:
        rate = model.rate * np.exp(np.clip(basis @ x[:size], -200, 200))
        total = rate + scale * x[size] * extra
        pull = 1 - counts / total
        gradient = np.r_[basis.T @ (rate * pull), scale * (extra @ pull)]
        return float(np.sum(total - counts * np.log(total / model.rate))), gradient

    falls = {
        "type": "ineq",
        "fun": lambda x: -(level + slopes @ x[:size]),
        "jac": lambda x: np.column_stack([-slopes, np.zeros(len(slopes))]),
    }
    bounds = [(None, None)] * size + [(0.0, 0.0 if signal is None else None)]
    best = None
    for z, number in starts:
        start = np.r_[z, number / scale]
        found = minimize(
            value, start, jac=True, bounds=bounds, constraints=[falls], method="SLSQP",
            options={"ftol": 1e-10, "maxiter": 400},
        )  # fmt: skip
        inside = bool((level + slopes @ found.x[:size] < 1e-6).all())
        if found.success and np.isfinite(found.fun) and inside and (best is None or found.fun < best[2]):
            best = found.x[:size], float(scale * found.x[size]), float(found.fun)
    return best
