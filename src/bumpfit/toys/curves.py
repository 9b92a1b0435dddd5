"""Curves that figures of toys show: tail probabilities, how p settles with the number of toys, global against local
p.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import BumpfitError
from bumpfit.results import Record
from bumpfit.toys.look_elsewhere import GlobalToys
from bumpfit.toys.tally import Tally, course
from bumpfit.toys.throw import TIE, Toys

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Curve(Record):
    """p at each x with its statistical error, and what a formula says there (None where there is none)."""

    x: Floats
    p: Floats
    error: Floats
    formula: Floats | None = None


def tail_curve(toys: Toys | Tally, values: ArrayLike) -> Curve:
    """Tail probability of the statistic at each value; `formula` is the asymptotic law of q0 or t.

    q0 and the one-sided tests at their own strength: half of chi2 with one degree of freedom; t: all of it.
    """
    x = np.asarray(values, dtype=np.float64)
    pairs = np.array([toys.p_value(float(v)) for v in x]).reshape(-1, 2)
    name = toys.name if isinstance(toys, Toys) else toys.statistic
    from scipy.special import ndtr  # here, for a quicker start

    formula: Floats | None = ndtr(-np.sqrt(np.maximum(x, 0.0)))
    if name in ("tmu", "ttilde"):
        formula = 2 * np.asarray(formula)
    if toys.thrown != toys.tested:
        formula = None
    return Curve(x, pairs[:, 0], pairs[:, 1], formula)


def convergence(toys: Toys | Tally, observed: float | None = None, points: int = 50) -> Curve:
    """p-value after the first 10, ..., n toys (x), in equal steps of ln n.

    A tally has forgotten the order of its toys but keeps how many of successive groups were as extreme as its observed
    statistic: it has a point at the end of each group, and only for that statistic.

    Raises BumpfitError without an observed statistic or without fitted toys.
    """
    value = toys.observed if observed is None else observed
    good = toys.fitted > 0 if isinstance(toys, Tally) else bool(toys.valid.any())
    if value is None or not good:
        raise BumpfitError("there is no p-value to follow: give an observed statistic, and toys that could be fitted")
    if isinstance(toys, Tally):
        x, hits, squares = np.cumsum(np.array(course([toys], value), dtype=np.float64), axis=0).T
        keep = np.flatnonzero(x >= min(10.0, x[-1]))
        x, hits, squares = x[keep], hits[keep], squares[keep]
        return Curve(x, hits / x, np.sqrt(np.maximum(squares / x - (hits / x) ** 2, 0.0) / x))
    return _convergence(toys, value, points)


def _convergence(toys: Toys, value: float, points: int) -> Curve:
    weights = np.ones(toys.n) if toys.weights is None else toys.weights
    good = toys.valid
    terms = np.where(toys.statistic >= value - TIE, weights, 0.0)[good]
    x = np.unique(np.geomspace(min(10, terms.size), terms.size, points).astype(int))
    mean = np.cumsum(terms)[x - 1] / x
    square = np.cumsum(terms**2)[x - 1] / x
    return Curve(x.astype(np.float64), mean, np.sqrt(np.maximum(square - mean**2, 0.0) / x))


def global_curve(scans: GlobalToys, significances: ArrayLike) -> Curve:
    """Global p-value for each largest local significance; `formula` is the bound of Gross and Vitells."""
    z = np.asarray(significances, dtype=np.float64)
    pairs = np.array([scans.p_value(float(v) ** 2) for v in z]).reshape(-1, 2)
    bound = np.array([scans.gross_vitells(float(v) ** 2)[0] for v in z])
    return Curve(z, pairs[:, 0], pairs[:, 1], bound)
