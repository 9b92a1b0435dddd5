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

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.toys.engine import Engine
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.throw import Toys, check_run, collect, engine
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

Floats = NDArray[np.float64]

STEP = 1.25
"""Distance between neighbouring worlds in standard deviations of the strength: their toys overlap well."""
REACH = 6.0
"""Significance up to which the worlds go when no larger one was observed."""
FARTHEST = 37.0
"""Significance beyond which p is zero in double precision."""
LEAST = 0.05
"""No world expects less than this fraction of the hypothesis in a bin, which keeps weights bounded for deficits."""


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
) -> Toys:
    """n weighted toys of the hypothesis that the strength is mu, for p-values far into the tail of a statistic.

    `reach`: largest significance that is to be resolved, by default that of the data and at least 6. The other
    arguments are those of `throw`. `p_value` of the result is unbiased at every value of the statistic.
    """
    base = engine(model, statistic=statistic, mu=mu, test=test, data=data, parameter=parameter)
    check_run(n, seed, workers)
    observed = base.observed()
    if reach is None:
        reach = max(REACH, 0.0 if observed is None else math.sqrt(observed) + 1)
    if not reach > 0:
        raise InputError(f"the significance to reach is {reach}; expected a positive number")
    centers = worlds(base, min(reach, FARTHEST))
    if n < len(centers):
        raise InputError(f"{n} toys are too few for {len(centers)} worlds; throw at least some thousands")
    forms, constants = _log_ratios(base, centers)
    shares = np.diff(np.arange(len(centers) + 1) * n // len(centers))
    parts, weights = [], []
    for k, share in enumerate(shares):
        source = base.thrown_from(centers[k], forms)
        found, sums = collect(source, int(share), seed=seed, first=int(shares[:k].sum()), workers=workers,
                              executor=executor, show=show)  # fmt: skip
        parts.append(found)
        logs = sums + constants
        largest = logs.max(axis=1)
        weights.append(np.exp(-largest) / np.sum(shares / n * np.exp(logs - largest[:, None]), axis=1))
    return dataclasses.replace(
        parts[0],
        statistic=np.concatenate([p.statistic for p in parts]),
        status=np.concatenate([p.status for p in parts]),
        strength=np.concatenate([p.strength for p in parts]),
        route=np.concatenate([p.route for p in parts]),
        weights=np.concatenate(weights),
        digest=base.digest,
        observed=observed,
    )


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
