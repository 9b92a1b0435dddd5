"""CLs and upper limits from toys, for counts too small for asymptotic formulae.

Statistic q~ (q where the strength may be negative), as in `bumpfit.inference.limit`; CLs = p(s + b) / p(b) of Read,
J. Phys. G 28 (2002) 2693, both from toys with the nuisance parameters at their fits to the data under each hypothesis.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.normal import upper_tail
from bumpfit.results import CLs, Limit
from bumpfit.toys.loglinear import LogLinear
from bumpfit.toys.throw import TIE, Toys, engine, throw
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

Floats = NDArray[np.float64]

SIGMAS = (-2, -1, 0, 1, 2)
STEPS = 40
"""Most strengths tried on the way to a limit."""
PRECISION = 1e-3
"""Relative width of the bracket of a limit at which the search ends; toys of one seed make CLs smooth in the
strength.
"""


@dataclasses.dataclass(frozen=True)
class Throwing:
    """How toys are thrown: `n` for each hypothesis and strength."""

    n: int
    seed: int = 0
    workers: int = 1
    executor: Executor | None = None
    data: Data = None
    parameter: str | None = None

    def toys(self, model: Model | LogLinear, statistic: str, mu: float, test: float) -> Toys:
        """Toys at strength mu, tested at strength `test`."""
        return throw(
            model, self.n, statistic=statistic, mu=mu, test=test, seed=self.seed, workers=self.workers,
            executor=self.executor, data=self.data, parameter=self.parameter,
        )  # fmt: skip


def cls(
    model: Model | LogLinear,
    mu: float,
    n: int,
    *,
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    data: Data = None,
    parameter: str | None = None,
) -> CLs:
    """Observed and expected CLs of strength mu from n toys of each hypothesis; arguments as for `throw`.

    Expected values are those of background-only data at -2 .. 2 standard deviations. Where no toy with signal is as
    extreme, the result is what one toy would give, an upper bound. Raises InputError for a strength that is not
    positive.
    """
    found, floors = _cls(model, mu, Throwing(n, seed, workers, executor, data, parameter))
    observed = None if found.observed is None else max(found.observed, floors[-1])
    expected = _falling(max(value, floor) for value, floor in zip(found.expected, floors, strict=False))
    return dataclasses.replace(found, observed=observed, expected=expected)


def _cls(model: Model | LogLinear, mu: float, throwing: Throwing) -> tuple[CLs, list[float]]:
    """CLs, zero where no toy with signal is as extreme, and what one such toy would make of the expected and the
    observed.
    """
    if not (math.isfinite(mu) and mu > 0):
        raise InputError(f"CLs tests a signal strength above 0, got {mu}")
    name = "qtilde" if bounds(model, throwing.parameter)[0] >= 0 else "qmu"
    signal = throwing.toys(model, name, mu, mu)
    background = throwing.toys(model, name, 0.0, mu)
    seen = signal.observed
    with_signal, without = signal.statistic[signal.valid], background.statistic[background.valid]
    if with_signal.size == 0 or without.size == 0:
        raise BumpfitError(f"no toy could be fitted at strength {mu:g}, so there is no CLs")
    values = [float(np.quantile(without, upper_tail(sigma), method="inverted_cdf")) for sigma in SIGMAS]
    parts = [_ratio_parts(with_signal, without, value) for value in (*values, *([] if seen is None else [seen]))]
    floors = [min(1.0, 1 / with_signal.size / max(part[3], 1 / without.size)) for part in parts]
    expected = _falling(part[0] for part in parts[: len(SIGMAS)])
    observed, error, clsb, clb = (None,) * 4 if seen is None else parts[-1]
    found = CLs(
        mu=mu,
        observed=observed,
        expected=expected,
        cl_sb=clsb,
        cl_b=clb,
        statistic=seen,
        statistic_name=name,
        method="toys",
        observed_error=error,
    )
    return found, floors


def _falling(expected: Iterable[float]) -> tuple[float, ...]:
    """Expected CLs at `SIGMAS` without what chance toys add: CLs never grows with the statistic."""
    return tuple(np.minimum.accumulate(list(expected)[::-1])[::-1].tolist())


def _ratio_parts(with_signal: Floats, without: Floats, value: float) -> tuple[float, float, float, float]:
    """CLs, its error, CLs+b and CLb at a value of the statistic."""
    clsb, clb = float(np.mean(with_signal >= value - TIE)), float(np.mean(without >= value - TIE))
    ratio = min(1.0, clsb / max(clb, 1 / without.size))
    relative = math.hypot(
        math.sqrt((1 - clsb) / max(clsb * with_signal.size, 1)), math.sqrt((1 - clb) / max(clb * without.size, 1))
    )
    return ratio, max(ratio * relative, 1 / with_signal.size), clsb, clb


def bounds(model: Model | LogLinear, parameter: str | None) -> tuple[float, float]:
    """Range of the strength; raises InputError when the model has none."""
    if isinstance(model, LogLinear):
        return model.bounds
    name = model.poi if parameter is None else parameter
    if name is None:
        raise InputError("the model has no parameter of interest; name a parameter")
    place = model.index(name)
    return float(model.lower[place]), float(model.upper[place])


def limit(
    model: Model | LogLinear,
    n: int,
    level: float = 0.95,
    *,
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    data: Data = None,
    parameter: str | None = None,
) -> Limit:
    """Upper limit on the strength where CLs from n toys a hypothesis falls to 1 - level; arguments as for `throw`.

    Observed (None without data) and expected at -2 .. 2 standard deviations of background-only data. Raises InputError
    for a level outside (0, 1), BumpfitError when no strength is excluded.
    """
    if not 0 < level < 1:
        raise InputError(f"the level must lie between 0 and 1, got {level}")
    throwing = Throwing(n, seed, workers, executor, data, parameter)
    if n * (1 - level) < 10:
        raise InputError(
            f"{n} toys cannot resolve a CLs of {1 - level:g}; throw at least {math.ceil(10 / (1 - level))}"
        )
    known: dict[float, CLs] = {}

    def at(mu: float) -> CLs:
        if mu not in known:
            known[mu] = _cls(model, mu, throwing)[0]
        return known[mu]

    start = _first_guess(model, throwing)
    curves = [lambda mu, k=k: at(mu).expected[k] for k in range(len(SIGMAS))]
    expected = [_crossing(curve, 1 - level, start) for curve in curves]
    has_data = at(start).observed is not None
    found = _crossing(lambda mu: at(mu).observed or 0.0, 1 - level, expected[2]) if has_data else None
    points = sorted(known)
    return Limit(
        observed=found,
        expected=tuple(expected),
        level=level,
        method="CLs, toys",
        scan_mu=tuple(points),
        scan_cls=tuple(known[mu].observed or 0.0 for mu in points) if has_data else None,
    )


def _first_guess(model: Model | LogLinear, throwing: Throwing) -> float:
    """Twice the error of the strength on background-only data."""
    base = engine(model, statistic="tmu", mu=0.0, data=throwing.data, parameter=throwing.parameter)
    strengths = base.run(0, min(throwing.n, 200), throwing.seed)
    good = strengths.strength[strengths.status == 0, 0]
    spread = float(np.std(good)) if good.size else 1.0
    return 2 * spread if spread > 0 else 1.0


def _crossing(curve, target: float, guess: float) -> float:  # type: ignore[no-untyped-def]
    """Where a falling curve crosses the target: bracket by doubling, then regula falsi in ln curve."""
    low = high = guess
    for _ in range(STEPS):
        if curve(high) <= target:
            break
        low, high = high, 2 * high
    else:
        raise BumpfitError(f"no signal strength up to {high:g} is excluded; is there enough signal in the model?")
    for _ in range(STEPS):
        if curve(low) > target:
            break
        low, high = low / 2, low
    else:
        raise BumpfitError(f"every signal strength down to {low:g} is excluded")
    for step in range(STEPS):
        if high - low < PRECISION * high:
            break
        top, bottom = math.log(curve(low) / target), math.log(max(curve(high), 1e-12) / target)
        share = 0.5 if step % 3 == 2 else min(max(top / (top - bottom), 0.1), 0.9)
        middle = low + share * (high - low)
        if curve(middle) > target:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
