"""Curves that figures of toys show: tail probabilities, how p settles with the number of toys, global against local
p.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import BumpfitError
from bumpfit.law import estimate
from bumpfit.results import Record
from bumpfit.toys.look_elsewhere import GlobalToys
from bumpfit.toys.tally import Tally
from bumpfit.toys.tallying import course
from bumpfit.toys.throw import TIE, ToySample

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Curve(Record):
    """p at each x with its statistical error, and what a formula says there (None where there is none).

    Examples:
        >>> import numpy as np
        >>> curve = bumpfit.toys.Curve(np.array([0.0, 1.0]), np.array([0.5, 0.16]), np.array([0.01, 0.01]))
        >>> curve.formula is None
        True
    """

    x: Floats
    p: Floats
    error: Floats
    formula: Floats | None = None


def tail_curve(toys: ToySample | Tally, values: ArrayLike) -> Curve:
    """Tail probability of the statistic at each value; `formula` is the asymptotic law of q0 or t.

    q0 and the one-sided tests at their own strength: half of chi2 with one degree of freedom; t: all of it.

    Examples:
        >>> import numpy as np
        >>> statistic, rest = np.array([0.0, 0.0, 1.0, 4.0]), np.zeros((3, 4), np.int8)
        >>> sample = bumpfit.toys.ToySample("q0", 0.0, 0.0, statistic, *rest, 1, 0, "")
        >>> bumpfit.toys.tail_curve(sample, [1.0, 4.0]).p.tolist()
        [0.6, 0.4]
    """
    x = np.asarray(values, dtype=np.float64)
    pairs = np.array([toys.p_value(float(v)) for v in x]).reshape(-1, 2)
    name = toys.name if isinstance(toys, ToySample) else toys.statistic
    from scipy.special import ndtr  # here, for a quicker start

    formula: Floats | None = ndtr(-np.sqrt(np.maximum(x, 0.0)))
    if name in ("tmu", "ttilde"):
        formula = 2 * np.asarray(formula)
    if toys.thrown != toys.tested:
        formula = None
    return Curve(x, pairs[:, 0], pairs[:, 1], formula)


def convergence(toys: ToySample | Tally, observed: float | None = None, points: int = 50) -> Curve:
    """p-value after the first 10, ..., n toys (x), in equal steps of ln n.

    A tally has forgotten the order of its toys but keeps how many of successive groups were as extreme as its observed
    statistic: it has a point at the end of each group, and only for that statistic.

    Raises BumpfitError without an observed statistic or without fitted toys.

    Examples:
        >>> import numpy as np
        >>> statistic, rest = np.array([0.0, 0.0, 1.0, 4.0]), np.zeros((3, 4), np.int8)
        >>> sample = bumpfit.toys.ToySample("q0", 0.0, 0.0, statistic, *rest, 1, 0, "")
        >>> bumpfit.toys.convergence(sample, observed=1.0).p.tolist()
        [0.6]
    """
    value = toys.observed if observed is None else observed
    good = toys.fitted > 0 if isinstance(toys, Tally) else bool(toys.valid.any())
    if value is None or not good:
        raise BumpfitError("there is no p-value to follow: give an observed statistic, and toys that could be fitted")
    if isinstance(toys, Tally):
        x, hits, squares = np.cumsum(np.array(course([toys], value), dtype=np.float64), axis=0).T
        keep = np.flatnonzero(x >= min(10.0, x[-1]))
        x, hits, squares = x[keep], hits[keep], squares[keep]
        return Curve(x, *estimates(hits, squares, x, plain=toys.weight is None))
    return _convergence(toys, value, points)


def _convergence(toys: ToySample, value: float, points: int) -> Curve:
    weights = np.ones(toys.n) if toys.weights is None else toys.weights
    terms = np.where(toys.statistic >= value - TIE, weights, 0.0)[toys.valid]
    x = np.unique(np.geomspace(min(10, terms.size), terms.size, points).astype(int)).astype(np.float64)
    sums, squares = (np.cumsum(what)[x.astype(int) - 1] for what in (terms, terms**2))
    return Curve(x, *estimates(sums, squares, x, plain=toys.weights is None))


def estimates(sums: Floats, squares: Floats, x: Floats, *, plain: bool) -> tuple[Floats, Floats]:
    """`law.estimate` after each number of toys."""
    pairs = [estimate(float(a), float(b), int(n), plain=plain) for a, b, n in zip(sums, squares, x, strict=True)]
    p, error = np.array(pairs).reshape(-1, 2).T
    return p, error


def global_curve(scans: GlobalToys, significances: ArrayLike) -> Curve:
    """Global p-value for each largest local significance; `formula` is the bound of Gross and Vitells.

    Examples:
        >>> import numpy as np
        >>> spectrum, none, signals, data = np.full(5, 9.0), np.zeros((5, 0)), np.eye(5), [8, 9, 25, 7, 10]
        >>> counting = bumpfit.toys.LogLinear(spectrum, none, signals, (0.0, 100.0), observed=data)
        >>> scans = bumpfit.toys.scan_toys(counting, 2000, seed=1)
        >>> curve = bumpfit.toys.global_curve(scans, [1.0, 2.0, 3.0])
        >>> bool(curve.p[0] > curve.p[1] > curve.p[2])
        True
    """
    z = np.asarray(significances, dtype=np.float64)
    pairs = np.array([scans.p_value(float(v) ** 2) for v in z]).reshape(-1, 2)
    bound = np.array([scans.gross_vitells(float(v) ** 2)[0] for v in z])
    return Curve(z, pairs[:, 0], pairs[:, 1], bound)
