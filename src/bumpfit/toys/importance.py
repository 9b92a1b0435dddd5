"""Importance sampling: small p-values from few toys.

Toys are thrown from worlds with a larger and larger signal, and weighted by how much less likely the hypothesis under
test makes their counts. With a_k the fraction of toys thrown from world k, a toy counts

    w(n) = P(n | hypothesis) / sum_k a_k P(n | world k)

(multiple importance sampling with the balance heuristic: Veach and Guibas, SIGGRAPH 1995), which is never above 1 /
a_0, so the estimate of any tail probability is unbiased and its error is known. The worlds follow the direction in
which the statistic grows fastest: the signal, less what the other parameters absorb of it, in counts and auxiliary
measurements.
"""

from __future__ import annotations

import dataclasses
import math
from concurrent.futures import Executor
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.toys.engine import Batch, Engine, Sendable, digest_of
from bumpfit.toys.histfactory import HistFactoryEngine
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.throw import ToySample, check_run, collect, engine
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

Floats = NDArray[np.float64]

STEP = 1.25
"""Distance between neighbouring worlds in standard deviations of the strength: their toys overlap well."""
REACH = 6.0
"""Significance up to which the worlds go when no larger one was observed."""
FARTHEST = 37.0
"""Significance beyond which p is zero in double precision."""
APART = 1 << 40
"""Toys of different worlds have different numbers, so that they are independent: those of world k begin at k APART."""
DIGITS = 6
"""Of a reach that follows from the observed statistic, which processors agree on."""
LEAST = 0.05
"""No world expects less than this fraction of the hypothesis in a bin, which keeps weights bounded for deficits."""


@dataclasses.dataclass(frozen=True, eq=False)
class TailEngine(Sendable):
    """Weighted toys: toy i is thrown from world i mod W, so that any stretch of toys has equal numbers of all worlds.

    Estimates are unbiased for a multiple of W toys.
    """

    base: Engine
    reach: float

    @property
    def name(self) -> str:
        """The statistic."""
        return self.base.name

    @property
    def thrown(self) -> float:
        """Strength of the hypothesis whose toys are weighted to."""
        return self.base.thrown

    @property
    def tested(self) -> float:
        """Strength under test."""
        return self.base.tested

    @property
    def chunk(self) -> int:
        """Number of toys that takes about a tenth of a second."""
        return self.base.chunk

    @cached_property
    def digest(self) -> str:
        """Hash of the model, the strengths, the statistic and what makes the worlds; not of their last digits, in which
        processors differ.
        """
        return digest_of(engine=self.base.digest, reach=round(self.reach, DIGITS), step=STEP, least=LEAST)

    @cached_property
    def centers(self) -> Floats:
        """Expected data of each world, shape (W, B + A)."""
        return worlds(self.base, self.reach)

    @cached_property
    def sources(self) -> list[Engine]:
        """An engine for each world, with the logarithms of the probability ratios as linear forms."""
        return [self.base.thrown_from(center, self._ratios[0]) for center in self.centers]

    @cached_property
    def _ratios(self) -> tuple[Floats, Floats]:
        return _log_ratios(self.base, self.centers)

    def run(self, first: int, n: int, seed: int) -> Batch:
        """Toys first .. first + n of the seed."""
        count = len(self.centers)
        parts: list[Batch] = []
        places: list[NDArray[np.int64]] = []
        for k, source in enumerate(self.sources):
            begin, end = -((k - first) // count), -((k - first - n) // count)
            if begin < end:
                parts.append(source.run(k * APART + begin, end - begin, seed))
                places.append(np.arange(begin, end) * count + k - first)
        order = np.argsort(np.concatenate(places))
        columns = [field.name for field in dataclasses.fields(Batch) if field.name != "weights"]
        whole = Batch(**{name: np.concatenate([getattr(p, name) for p in parts])[order] for name in columns})
        logs = whole.forms + self._ratios[1]
        largest = logs.max(axis=1)
        weights = np.exp(-largest) / np.mean(np.exp(logs - largest[:, None]), axis=1)
        return dataclasses.replace(whole, forms=np.empty((n, 0)), weights=weights)

    def observed(self) -> float | None:
        """The statistic of the observed data; None without data."""
        return self.base.observed()

    def whole(self, n: int) -> int:
        """The next number of toys with equally many of all worlds."""
        return -(-n // len(self.centers)) * len(self.centers)


def tail_engine(base: Engine, reach: float | None = None) -> TailEngine:
    """Weighted toys of an engine's hypothesis; `reach` as for `tail`.

    Raises InputError where no signal moves the data, so that there is no tail.
    """
    if reach is None:
        reach = reach_of(base.observed())
    if not reach > 0:
        raise InputError(f"the significance to reach is {reach}; expected a positive number")
    if isinstance(base, HistFactoryEngine) and base.model.correlated:
        raise InputError(
            "weighted toys take the constraints of the parameters as independent, but the model has correlated ones; "
            "throw plain toys"
        )
    found = TailEngine(base, min(reach, FARTHEST))
    _ = found.centers
    return found


def reach_of(observed: float | None) -> float:
    """Significance up to which the worlds go for an observed statistic."""
    return min(max(REACH, math.sqrt(max(observed or 0.0, 0.0)) + 1), FARTHEST)


def tail(
    model: Model | LogLinear,
    n: int,
    *,
    statistic: str = "q0",
    mu: float = 0.0,
    reach: float | None = None,
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    test: float | None = None,
    data: Data = None,
    parameter: str | None = None,
    show: bool | None = False,
) -> ToySample:
    """n weighted toys of the hypothesis that the strength is mu, for p-values far into the tail of a statistic; n is
    rounded up to equally many of all worlds.

    `reach`: largest significance that is to be resolved, by default that of the data and at least 6. The other
    arguments are those of `throw`. `p_value` of the result is unbiased at every value of the statistic. For runs that
    survive interruptions give `tail_engine` to `run`.

    Examples:
        >>> weighted = bumpfit.toys.tail(model, 2000, seed=1, reach=5.0)
        >>> p, error = weighted.p_value(25.0)
        >>> 1e-8 < p < 1e-6 and error < 0.2 * p
        True
    """
    check_run(n, seed, workers)
    source = tail_engine(engine(model, statistic=statistic, mu=mu, test=test, data=data, parameter=parameter), reach)
    return collect(source, source.whole(n), seed=seed, workers=workers, executor=executor, show=show)[0]


def worlds(base: Engine, reach: float) -> Floats:
    """Expected data of each world, shape (W, B + A); the first is the hypothesis itself."""
    direction, sigma = _least_favourable(base)
    steps = np.linspace(0, reach, max(2, math.ceil(reach / STEP) + 1))
    if base.name in ("qmu", "qtilde"):
        steps = -steps
    elif base.name in ("tmu", "ttilde"):
        steps = np.concatenate([steps, -steps[1:]])
    moved = base.center + sigma * steps[:, None] * direction
    return np.where(base.width > 0, moved, np.maximum(moved, LEAST * base.center))


def _log_ratios(base: Engine, centers: Floats) -> tuple[Floats, Floats]:
    """Logarithm of P(data | world) / P(data | hypothesis) as linear forms of the data and constants, (W, B + A),
    (W,).
    """
    counted, center = base.width == 0, base.center
    variance = np.where(counted, 1.0, base.width**2)
    safe = np.where(counted & (center > 0), center, 1.0)
    logs = np.log(np.where(counted & (center > 0), centers, 1.0) / safe)
    forms = np.where(counted, logs, (centers - center) / variance)
    constants = np.where(counted, center - centers, (center**2 - centers**2) / (2 * variance))
    return forms, constants.sum(axis=1)


def _least_favourable(base: Engine) -> tuple[Floats, float]:
    """Change of the expected data with the strength that the other parameters do not follow, and the strength's
    error.
    """
    signal, slopes = base.tangent()
    variance = np.where(base.width > 0, base.width**2, base.center)
    inverse = np.where(variance > 0, 1 / np.where(variance > 0, variance, 1.0), 0.0)
    absorbed = np.linalg.pinv((slopes * inverse[:, None]).T @ slopes, hermitian=True) @ (slopes.T @ (inverse * signal))
    direction = signal - slopes @ absorbed
    information = float(direction @ (inverse * signal))
    if not information > 0:
        raise InputError(
            "the background can imitate the signal exactly, or expects nothing where it is, so there is no tail "
            "to sample"
        )
    return direction, 1 / math.sqrt(information)
