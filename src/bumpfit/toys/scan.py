"""All signals of a scan fitted on each toy, as one engine: its statistic is the largest q0 of the scan."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.toys.engine import FAILED, FITTED, GENERAL, NEWTON, Batch, Engine, LogLinearEngine, Sendable, digest_of
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.throw import engine
from bumpfit.workspace import Model

Floats = NDArray[np.float64]

LARGEST = "largest q0"
"""Name of the statistic."""
LEVEL = 1.0
"""Level c0 of q0 whose up-crossings are counted: low, so that there are many, yet above most of the noise."""


@dataclasses.dataclass(frozen=True, eq=False)
class ScanEngine(Sendable):
    """Background-only toys, each fitted with all signals: by one engine with all of them, or one engine a signal.

    With each toy comes the number of times q0 rises above `level` along the scan.
    """

    engines: tuple[Engine, ...]
    level: float
    thrown: float = 0.0
    tested: float = 0.0

    @property
    def name(self) -> str:
        """The statistic, with the level where it is not the usual one."""
        return LARGEST if self.level == LEVEL else f"{LARGEST}, crossings of {self.level:g}"

    @property
    def signals(self) -> int:
        """Number of signals."""
        lead = self.engines[0]
        return len(lead.model.signals) if isinstance(lead, LogLinearEngine) else len(self.engines)

    @property
    def chunk(self) -> int:
        """Number of toys that takes about a tenth of a second."""
        return max(8, self.engines[0].chunk // len(self.engines))

    @cached_property
    def digest(self) -> str:
        """Hash of the models and the level."""
        return digest_of(engines=[one.digest for one in self.engines], level=self.level)

    def run(self, first: int, n: int, seed: int) -> Batch:
        """Toys first .. first + n of the seed; `strength` is the signal with the largest q0, `forms` the crossings."""
        if len(self.engines) == 1:
            q = _column(self.engines[0].run(first, n, seed))
        else:
            data = self.engines[0].data(np.arange(first, first + n), seed)
            q = np.hstack([_column(one.fit_data(data, first * len(self.engines))) for one in self.engines])
        rises = (q[:, :-1] < self.level) & (q[:, 1:] >= self.level)
        good = ~np.isnan(q).any(axis=1)
        nothing = np.full((n, 1), np.nan)
        return Batch(
            statistic=q.max(axis=1, keepdims=True),
            strength=np.where(good, np.argmax(q, axis=1), np.nan)[:, None],
            status=np.where(good, FITTED, FAILED).astype(np.int8),
            route=np.full(n, NEWTON if len(self.engines) == 1 else GENERAL, np.int8),
            forms=rises.sum(axis=1, keepdims=True).astype(np.float64),
            free=nothing,
            fixed=nothing,
        )

    @cached_property
    def scan(self) -> Floats | None:
        """q0 of the data for each signal, shape (M,); None without data."""
        lead = self.engines[0]
        if isinstance(lead, LogLinearEngine) and len(self.engines) == 1:
            if lead.model.observed is None:
                return None
            return np.asarray(_column(lead.fit(lead.model.observed, lead.model.observed_pull))[0])
        values = [one.observed() for one in self.engines]
        return None if any(value is None for value in values) else np.array(values, dtype=np.float64)

    def observed(self) -> float | None:
        """Largest q0 of the data; None without data."""
        return None if self.scan is None else float(self.scan.max())


def scan_engine(models: LogLinear | Sequence[Model], level: float) -> ScanEngine:
    """The fastest exact engine for a scan: one kernel for all signals where the models are log-linear.

    Raises InputError when there are no models, or when they do not share their background.
    """
    if not level > 0:
        raise InputError(f"the level of the up-crossings is {level}; expected a positive q0")
    return ScanEngine(tuple(_engines(models)), float(level))


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


def _column(found: Batch) -> Floats:
    """The statistic of all signals, shape (n, M); NaN where a fit failed."""
    return np.where((found.status == FITTED)[:, None], found.statistic, np.nan)
