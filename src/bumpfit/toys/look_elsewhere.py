"""The look-elsewhere effect: how often does background alone show such a peak anywhere in a scan?

Every toy of the background is fitted with every signal of the scan, and the largest q0 of each toy compared with the
largest of the data. The cheap alternative is the bound of Gross and Vitells (Eur. Phys. J. C 70 (2010) 525, eq. 3):
with the mean number N(c0) of upward crossings of a low level c0 along the scan, counted on few toys,

    p_global <= P(chi2_1 > c) / 2 + N(c0) exp(-(c - c0) / 2) .
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.execute import ordered_map
from bumpfit.normal import upper_tail
from bumpfit.progress import bar
from bumpfit.results import Record
from bumpfit.toys.engine import FITTED, Batch, Engine, LogLinearEngine
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.throw import TIE, check_run, engine, fraction
from bumpfit.workspace import Model

Floats = NDArray[np.float64]

LEVEL = 1.0
"""Level c0 of q0 whose up-crossings are counted: low, so that there are many, yet above most of the noise."""


@dataclasses.dataclass(frozen=True, eq=False)
class GlobalToys(Record):
    """Scans of n background-only toys over M signals.

    `maximum` (n,): largest q0 of each toy (NaN where a fit failed), `where` (n,): the signal that has it, `crossings`:
    mean number of up-crossings of `level` in a scan, with its error. `scan` (M,): q0 of the data, None without data.
    """

    maximum: Floats
    where: NDArray[np.int16]
    level: float
    crossings: float
    crossings_error: float
    seed: int
    scan: Floats | None = None

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Toys whose fits converged, shape (n,)."""
        return np.asarray(np.isfinite(self.maximum))

    @property
    def observed(self) -> float | None:
        """Largest q0 of the data."""
        return None if self.scan is None else float(self.scan.max())

    def p_value(self, observed: float | None = None) -> tuple[float, float]:
        """Fraction of toys whose largest q0 reaches the observed one, and its error; the floor where none does."""
        return fraction(self.maximum[self.valid] >= self._observed(observed) - TIE)

    def gross_vitells(self, observed: float | None = None) -> tuple[float, float]:
        """Bound of Gross and Vitells on the global p-value, and its error from the counted crossings."""
        q = self._observed(observed)
        if q <= TIE:  # every scan reaches zero
            return 1.0, 0.0
        decay = math.exp(-(q - self.level) / 2)
        local = upper_tail(math.sqrt(max(q, 0.0)))
        return min(1.0, local + self.crossings * decay), self.crossings_error * decay

    def _observed(self, observed: float | None) -> float:
        value = self.observed if observed is None else float(observed)
        if value is None:
            raise BumpfitError("there are no observed data to compare the scans with; give the largest q0")
        if math.isnan(value):
            raise InputError("the observed statistic is not a number")
        if not self.valid.any():
            raise BumpfitError("no toy could be fitted at all signals, so there is no global p-value")
        return value

    def to_dict(self) -> dict[str, object]:
        """Summary in plain JSON types, without the toys."""
        known = self.observed is not None
        p, error = self.p_value() if known else (None, None)
        bound, bound_error = self.gross_vitells() if known else (None, None)
        return {
            "toys": len(self.maximum),
            "fitted": int(self.valid.sum()),
            "seed": self.seed,
            "observed": self.observed,
            "p_global": p,
            "p_global_error": error,
            "gross_vitells": bound,
            "gross_vitells_error": bound_error,
            "level": self.level,
            "crossings": self.crossings,
            "crossings_error": self.crossings_error,
        }


def scan_toys(
    models: LogLinear | Sequence[Model],
    n: int,
    *,
    seed: int = 0,
    level: float = LEVEL,
    workers: int = 1,
    executor: Executor | None = None,
    show: bool | None = False,
) -> GlobalToys:
    """Throw n background-only toys and fit each with every signal of a scan.

    models   a log-linear model with signals (M, B), or one workspace model a signal: the same channels, background and
             data, only the signal differs. Signals have to be in the order of the scan (ascending mass)
    level    of the up-crossings that are counted for the bound of Gross and Vitells

    Raises InputError when the models do not share their background.
    """
    check_run(n, seed, workers)
    if not level > 0:
        raise InputError(f"the level of the up-crossings is {level}; expected a positive q0")
    engines = _engines(models)
    lead = engines[0]
    signals = len(engines) if len(engines) > 1 else len(lead.model.signals) if isinstance(lead, LogLinearEngine) else 1
    size = max(8, lead.chunk // len(engines))
    tasks = ((engines, first, min(size, n - first), seed, level) for first in range(0, n, size))
    maximum, where, crossed = np.empty(n), np.empty(n, np.int16), np.empty(n)
    pool = ThreadPoolExecutor(workers) if executor is None and workers > 1 else nullcontext(executor)
    with pool as chosen, bar(f"scans of {signals} signals", n, show=show) as advance:
        first = 0
        for top, place, ups in ordered_map(_scan, tasks, executor=chosen):
            here = slice(first, first + len(top))
            maximum[here], where[here], crossed[here] = top, place, ups
            advance(len(top))
            first += len(top)
    good = np.isfinite(maximum)
    ups = crossed[good]
    return GlobalToys(
        maximum=maximum,
        where=where,
        level=level,
        crossings=float(ups.mean()) if ups.size else math.nan,
        crossings_error=float(ups.std() / math.sqrt(ups.size)) if ups.size else math.nan,
        seed=seed,
        scan=_observed(engines),
    )


def _engines(models: LogLinear | Sequence[Model]) -> list[Engine]:
    if isinstance(models, LogLinear):
        return [engine(models)]
    if not models:
        raise InputError("the scan has no models")
    engines = [engine(model) for model in models]
    lead = engines[0]
    for other in engines[1:]:
        if other.center.shape != lead.center.shape or not np.allclose(other.center, lead.center, rtol=1e-5, atol=1e-8):
            raise InputError("the models of a scan must share their background and data; only the signal may differ")
    if all(isinstance(e, LogLinearEngine) for e in engines):
        fast = [e for e in engines if isinstance(e, LogLinearEngine)]
        base = fast[0].model
        signals = [e.model.signals * k for e in fast if (k := _scale(e.model.bounds, base.bounds)) is not None]
        if all(np.allclose(e.model.basis, base.basis) for e in fast) and len(signals) == len(fast):
            joined = base.with_signal(np.concatenate(signals))
            # a toy that leaves the log-linear range would need the general models one by one
            if all(e.general is None for e in fast) or _far(joined):
                return [LogLinearEngine(joined)]
    return [e.general if isinstance(e, LogLinearEngine) and e.general is not None else e for e in engines]


def _scale(own: tuple[float, float], other: tuple[float, float]) -> float | None:
    """Factor of a signal with which a strength in the range `other` means what it meant in its `own`; None: there is
    none.

    q0 looks at strengths from 0 on only, and at a signal only through strength times yield.
    """
    (low, high), (other_low, other_high) = ((max(0.0, low), high) for low, high in (own, other))
    scale = 1.0 if high == other_high else high / other_high
    return scale if 0 < scale < math.inf and math.isclose(scale * other_low, low) else None


def _far(model: LogLinear) -> bool:
    """Whether the ends of the parameters' ranges are so far (20 standard deviations) that no toy gets there."""
    if model.limits is None or model.pull is None:
        return True
    width = np.sqrt(np.sum((model.pull @ model.whitening) ** 2, axis=1))
    return bool((np.abs(model.limits) > 20 * width[:, None]).all())


def _scan(task: tuple[list[Engine], int, int, int, float]) -> tuple[Floats, NDArray[np.intp], Floats]:
    """Largest q0, its signal and the number of up-crossings of toys first .. first + n."""
    engines, first, n, seed, level = task
    q = _statistics(engines, first, n, seed)
    below, above = q[:, :-1] < level, q[:, 1:] >= level
    with np.errstate(invalid="ignore"):
        place = np.argmax(np.where(np.isnan(q), -1.0, q), axis=1)
    return q.max(axis=1), place, np.sum(below & above, axis=1).astype(np.float64)


def _statistics(engines: list[Engine], first: int, n: int, seed: int) -> Floats:
    lead = engines[0]
    if len(engines) == 1:
        return lead.run(first, n, seed).statistic
    data = lead.data(np.arange(first, first + n), seed)
    return np.column_stack([_column(e.fit_data(data)) for e in engines])


def _column(found: Batch) -> Floats:
    return np.where(found.status == FITTED, found.statistic[:, 0], np.nan)


def _observed(engines: list[Engine]) -> Floats | None:
    lead = engines[0]
    if len(engines) == 1 and isinstance(lead, LogLinearEngine):
        if lead.model.observed is None:
            return None
        return np.asarray(lead.fit(lead.model.observed, lead.model.observed_pull).statistic[0])
    values = [e.observed() for e in engines]
    return None if any(v is None for v in values) else np.array(values, dtype=np.float64)
