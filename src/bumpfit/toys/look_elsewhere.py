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
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.normal import upper_tail
from bumpfit.results import Record
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.run import run
from bumpfit.toys.scan import LARGEST, LEVEL, scan_engine
from bumpfit.toys.tally import Range, Tally
from bumpfit.toys.throw import TIE
from bumpfit.workspace import Model

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class GlobalToys(Record):
    """Scans of background-only toys.

    `tally`: how often the largest q0 of a scan took which value, with the up-crossings of `level` as its first further
    number. `scan` (M,): q0 of the data for each signal, None without data (and after a merge).

    Examples:
        >>> import numpy as np
        >>> spectrum, none, signals, data = np.full(5, 9.0), np.zeros((5, 0)), np.eye(5), [8, 9, 25, 7, 10]
        >>> counting = bumpfit.toys.LogLinear(spectrum, none, signals, (0.0, 100.0), observed=data)
        >>> scans = bumpfit.toys.scan_toys(counting, 2000, seed=1)
        >>> p, error = scans.p_value()
        >>> bool(scans.observed > 15 and p < 0.01)
        True
    """

    tally: Tally
    level: float = LEVEL
    scan: Floats | None = None

    def __post_init__(self) -> None:
        if not self.tally.statistic.startswith(LARGEST):
            raise InputError(f"these are toys of {self.tally.statistic}, not scans over several signals")

    @property
    def maximum(self) -> Floats:
        """Largest q0 of the toys that could be fitted with all signals, ascending; see `Tally` about bins."""
        return np.repeat(self.tally.value, self.tally.toys)

    @property
    def observed(self) -> float | None:
        """Largest q0 of the data."""
        return self.tally.observed

    @property
    def crossings(self) -> float:
        """Mean number of up-crossings of a scan; NaN where no toy was fitted."""
        return self.tally.sums[0][0] / self.tally.fitted if self.tally.fitted else math.nan

    @property
    def crossings_error(self) -> float:
        """Its error."""
        n = self.tally.fitted
        return math.sqrt(max(0.0, self.tally.sums[0][1] / n - self.crossings**2) / n) if n else math.nan

    def p_value(self, observed: float | None = None) -> tuple[float, float]:
        """Fraction of toys whose largest q0 reaches the observed one, and its error; the floor where none does."""
        self._observed(observed)
        return self.tally.p_value(observed)

    def gross_vitells(self, observed: float | None = None) -> tuple[float, float]:
        """Bound of Gross and Vitells on the global p-value, and its error from the counted crossings."""
        q = self._observed(observed)
        if q <= TIE:  # every scan reaches zero
            return 1.0, 0.0
        decay = math.exp(-(q - self.level) / 2)
        return min(1.0, upper_tail(math.sqrt(q)) + self.crossings * decay), self.crossings_error * decay

    def _observed(self, observed: float | None) -> float:
        value = self.observed if observed is None else float(observed)
        if value is None:
            raise BumpfitError("there are no observed data to compare the scans with; give the largest q0")
        if math.isnan(value):
            raise InputError("the observed statistic is not a number")
        if not self.tally.fitted:
            raise BumpfitError("no toy could be fitted at all signals, so there is no global p-value")
        return value

    def to_dict(self) -> dict[str, Any]:
        """Summary in plain JSON types, without the toys."""
        known = self.observed is not None and self.tally.fitted > 0
        p, error = self.p_value() if known else (None, None)
        bound, bound_error = self.gross_vitells() if known else (None, None)
        about = self.tally.to_dict()
        del about["p_value"], about["p_error"]
        upper = about.pop("p_upper")
        return {
            **about,
            "p_global": p,
            "p_global_error": error,
            "p_global_upper": upper,
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
    path: str | Path | None = None,
    part: Range | None = None,
    until: float | None = None,
    workers: int = 1,
    executor: Executor | None = None,
    show: bool | None = False,
) -> GlobalToys:
    """Throw n background-only toys and fit each with every signal of a scan.

    models   a log-linear model with signals (M, B), or one workspace model a signal: the same channels, background and
             data, only the signal differs. Signals have to be in the order of the scan (ascending mass)
    level    of the up-crossings that are counted for the bound of Gross and Vitells
    path, part, until, workers, executor   as for `run`: a file that an interrupted scan goes on from, shards, a target

    Raises InputError when the models do not share their background.

    Examples:
        >>> import numpy as np
        >>> spectrum, none, signals, data = np.full(5, 9.0), np.zeros((5, 0)), np.eye(5), [8, 9, 25, 7, 10]
        >>> counting = bumpfit.toys.LogLinear(spectrum, none, signals, (0.0, 100.0), observed=data)
        >>> scans = bumpfit.toys.scan_toys(counting, 2000, seed=1)
        >>> scans.tally.n
        2000
    """
    source = scan_engine(models, level)
    found = run(source, n, seed=seed, path=path, part=part, until=until, workers=workers, executor=executor, show=show)
    return GlobalToys(found, source.level, source.scan)
