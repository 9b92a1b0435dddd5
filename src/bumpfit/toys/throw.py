"""Throw toys of a model and keep a test statistic of each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.execute import ordered_map
from bumpfit.law import estimate
from bumpfit.progress import bar
from bumpfit.results import Record
from bumpfit.toys.engine import FAILED, FITTED, Batch, Engine, LogLinearEngine, Source
from bumpfit.toys.loglinear import LogLinear, refitted
from bumpfit.toys.recognise import as_log_linear
from bumpfit.toys.statistic import canonical
from bumpfit.workspace import Model
from bumpfit.workspace.model import Data

Floats = NDArray[np.float64]

EXTREME = 10
"""Number of weighted toys whose probability bounds that of values which none of them reached."""
TIE = 1e-6
"""Statistics that differ by less are equal: with few events whole groups of toys share a value with the data."""


@dataclasses.dataclass(frozen=True, eq=False)
class ToySample(Record):
    """Test statistics of n toys.

    `statistic` (n,) is NaN where no fit converged and infinite where the tested strength cannot have made the toy
    (events in a bin that expects none), `status` (n,) is 0 for a fitted toy and 1 for a failed one, `strength` (n,) the
    best strength, `route` (n,) says how it was fitted (0 Newton, 1 damped, 2 iminuit, 3 general
    model). `thrown` and `tested` are the strengths of the toys and of the hypothesis, `observed` is the statistic of
    the data (None without data). `weights` (n,): for importance sampling, None for plain toys. With several signals the
    statistic has a second axis.

    Examples:
        >>> import numpy as np
        >>> statistic, rest = np.array([0.0, 0.0, 1.0, 4.0]), np.zeros((3, 4), np.int8)
        >>> sample = bumpfit.toys.ToySample("q0", 0.0, 0.0, statistic, *rest, 1, 0, "")
        >>> sample.n, sample.p_value(1.0)[0]
        (4, 0.6)
    """

    name: str
    thrown: float
    tested: float
    statistic: Floats
    status: NDArray[np.int8]
    strength: Floats
    route: NDArray[np.int8]
    seed: int
    first: int
    digest: str
    observed: float | None = None
    weights: Floats | None = None

    @property
    def n(self) -> int:
        """Number of toys."""
        return len(self.status)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Toys whose fits converged, shape (n,)."""
        return np.asarray(self.status == FITTED)

    @property
    def floor(self) -> float:
        """Smallest p-value that these toys can give: the data alone of them and the toys."""
        return 1.0 / (int(self.valid.sum()) + 1)

    def p_value(self, observed: float | None = None) -> tuple[float, float]:
        """Fraction of toys at least as extreme as the observed statistic (by default that of the data), and its error.

        (h + 1) / (n + 1) with h hits (`estimate`), so the floor where no toy is as extreme; of weighted toys the
        probability of the ten most extreme ones there. Raises BumpfitError when there is nothing to compare with or no
        toy was fitted, InputError for a value that is not a number.
        """
        value = self.observed if observed is None else float(observed)
        if value is None:
            raise BumpfitError("there are no observed data to compare the toys with; give a value of the statistic")
        if math.isnan(value):
            raise InputError("the observed statistic is not a number")
        if self.statistic.ndim != 1:
            raise InputError("these toys hold several signals; compare one column, or use bumpfit.toys.scan_toys")
        good = self.valid
        n = int(good.sum())
        if n == 0:
            raise BumpfitError("no toy could be fitted, so there is no p-value; look at one toy's fit by itself")
        above = self.statistic[good] >= value - TIE
        if self.weights is None:
            return fraction(above)
        if not above.any():
            above = self.statistic[good] >= np.sort(self.statistic[good])[-min(EXTREME, n)]
        return fraction(above, self.weights[good])

    def to_dict(self) -> dict[str, Any]:
        """Summary in plain JSON types: settings, numbers of toys, quantiles; not the toys themselves."""
        good = self.statistic[self.valid]
        p = self.p_value() if self.observed is not None and good.ndim == 1 and good.size else (None, None)
        levels = (0.025, 0.16, 0.5, 0.84, 0.975)
        return {
            "statistic": self.name,
            "thrown": self.thrown,
            "tested": self.tested,
            "toys": self.n,
            "fitted": int(self.valid.sum()),
            "routes": {
                label: int(np.sum(self.route == i)) for i, label in enumerate(("newton", "damped", "minuit", "general"))
            },
            "seed": self.seed,
            "first": self.first,
            "model": self.digest,
            "observed": self.observed,
            "p_value": p[0],
            "p_error": p[1],
            "floor": self.floor,
            "quantiles": {str(q): float(np.quantile(good, q, method="inverted_cdf")) for q in levels}
            if good.size and good.ndim == 1
            else None,
        }


def fraction(above: NDArray[np.bool_], weights: Floats | None = None) -> tuple[float, float]:
    """Estimate and standard error of the probability of `above`, shape (n,)."""
    if weights is None:
        return estimate(hits := float(np.count_nonzero(above)), hits, len(above), plain=True)
    return estimate(float(weights[above].sum()), float((weights[above] ** 2).sum()), len(above), plain=False)


def engine(
    model: Model | LogLinear,
    *,
    statistic: str = "q0",
    mu: float = 0.0,
    test: float | None = None,
    data: Data = None,
    values: Mapping[str, float] | None = None,
    parameter: str | None = None,
    general: bool = False,
) -> Engine:
    """The fastest exact engine for a model.

    mu          strength that the toys are thrown at
    test        strength under test; by default `mu`, and 0 for q0
    data        data that fix the nuisance parameters (by default the model's own; without data their start values)
    values      parameters to throw at, by name, instead of a fit
    parameter   name of the strength (by default the parameter of interest)
    general     do not look for a log-linear model

    Raises InputError when there is no strength, when it is fixed, or when expectations are not positive; BumpfitError
    when the fit to the data fails.

    Examples:
        >>> type(bumpfit.toys.engine(model)).__name__
        'HistFactoryEngine'
    """
    name = canonical(statistic)
    tested = (0.0 if name == "q0" else mu) if test is None else test
    if not (math.isfinite(mu) and math.isfinite(tested)):
        raise InputError(f"signal strengths must be finite numbers, got {mu} and {tested}")
    if isinstance(model, LogLinear):
        centred = model if data is None else dataclasses.replace(model, observed=np.asarray(data, dtype=np.float64))
        found = LogLinearEngine(refitted(centred, mu)[0], name, float(mu), float(tested))
        _ = found.plan, found.rates
        return found
    if not isinstance(model, Model):
        raise InputError(f"expected a model from bumpfit.workspace.read or a LogLinear, got {type(model).__name__}")
    from bumpfit.inference.profile import require_poi
    from bumpfit.toys.histfactory import HistFactoryEngine

    poi = model.poi if parameter is None else parameter
    if poi is None:
        raise InputError("the model has no parameter of interest; name a parameter")
    if model.parameters[model.index(poi)].fixed:
        raise InputError(f"parameter '{poi}' is held fixed, so toys can learn nothing about it")
    if data is not None:
        main, aux = model.split(data)
        model = dataclasses.replace(model, observed=main, auxdata=aux)
    fitted = values is None and model.observed is not None
    special = None if general else _log_linear(model, poi, mu, values)
    if special is not None:
        fast, point = special
        full = HistFactoryEngine(model, poi, point, name, float(mu), float(tested), fitted=fitted)
        found = LogLinearEngine(fast, name, float(mu), float(tested), general=full)
        _ = found.plan, found.rates
        return found
    point = values_at(model, poi, mu, values)
    full = HistFactoryEngine(model, poi, point, name, float(mu), float(tested), fitted=fitted)
    require_poi(full.problem, poi)
    _ = full.plan, full.rates
    return full


def _log_linear(
    model: Model, poi: str, mu: float, values: Mapping[str, float] | None
) -> tuple[LogLinear, Floats] | None:
    """The model as a log-linear one around the parameters to throw at, and those parameters, shape (P,)."""
    point = model.array({**(values or {}), poi: mu})
    found = as_log_linear(model, poi, point)
    if found is None or values is not None or model.observed is None:
        return None if found is None else (found[0], point)
    special, parameters = found
    special, shift = refitted(special, mu)
    assert special.limits is not None
    if not ((special.limits[:, 0] < 0) & (special.limits[:, 1] > 0)).all():
        return None
    point[parameters] += shift
    return special, point


def check_run(n: int, seed: int, workers: int) -> None:
    """Raise InputError for a number of toys, a seed or a number of workers that cannot be."""
    if not (isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0):
        raise InputError(f"the number of toys is {n!r}; expected a whole number of at least 1")
    if n >= 2**63:
        raise InputError(f"the number of toys is {n}; toys are numbered up to 2^63")
    if isinstance(workers, bool) or int(workers) != workers or workers < 1:
        raise InputError(f"workers is {workers!r}; expected a whole number of at least 1")
    if not 0 <= seed < 2**63:
        raise InputError(f"the seed is {seed}; expected a whole number from 0 to 2^63 - 1")


def batches(
    engine: Source, first: int, n: int, seed: int, *, workers: int = 1, executor: Executor | None = None
) -> Iterator[tuple[int, Batch]]:
    """Run toys first .. first + n in chunks, in order: (index of the first toy, results).

    `workers` are threads (the compiled loops release Python's lock); an executor may be of any kind.
    """
    check_run(n, seed, workers)
    size = engine.chunk
    starts = range(first, first + n, size)
    tasks = ((engine, begin, min(size, first + n - begin), seed) for begin in starts)
    if executor is None and workers > 1:
        with ThreadPoolExecutor(workers) as pool:
            yield from zip(starts, ordered_map(_run, tasks, executor=pool), strict=True)
    else:
        yield from zip(starts, ordered_map(_run, tasks, executor=executor), strict=True)


def _run(task: tuple[Source, int, int, int]) -> Batch:
    engine, first, n, seed = task
    return engine.run(first, n, seed)


def throw(
    model: Model | LogLinear,
    n: int,
    *,
    statistic: str = "q0",
    mu: float = 0.0,
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    test: float | None = None,
    first: int = 0,
    data: Data = None,
    values: Mapping[str, float] | None = None,
    parameter: str | None = None,
    show: bool | None = False,
) -> ToySample:
    """Throw n toys of a model and compute a test statistic of each.

    statistic   "q0", "qmu", "qtilde", "tmu" or "ttilde" (Cowan et al., Eur. Phys. J. C 71 (2011) 1554)
    mu, test    strengths of the toys and of the tested hypothesis (by default `mu`; q0 always tests 0)
    seed, first toys first .. first + n of this seed: toy i is the same whatever the split, workers or machine
    workers     threads; or an `executor` of any kind
    show        progress bar: True, False, or None (when there is a terminal)

    Nuisance parameters are at their fit to the data with the strength at mu; auxiliary measurements fluctuate. Other
    arguments as for `engine`. Raises InputError for wrong settings and models that cannot be thrown.

    Examples:
        >>> toys = bumpfit.toys.throw(model, 1000, seed=1)
        >>> p, error = toys.p_value(2.0)
        >>> round(p, 3), round(error, 3)
        (0.066, 0.008)
    """
    chosen = engine(model, statistic=statistic, mu=mu, test=test, data=data, values=values, parameter=parameter)
    return collect(chosen, n, seed=seed, first=first, workers=workers, executor=executor, show=show)[0]


def collect(
    engine: Source,
    n: int,
    *,
    seed: int = 0,
    first: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    show: bool | None = False,
) -> tuple[ToySample, Floats]:
    """Toys first .. first + n of an engine in one record, and the linear forms it was asked for, shape (n, F)."""
    runs = batches(engine, first, n, seed, workers=workers, executor=executor)
    begin, batch = next(runs)
    signals = batch.statistic.shape[1]
    statistic, strength = np.empty((n, signals)), np.empty((n, signals))
    status, route = np.full(n, FAILED, np.int8), np.empty(n, np.int8)
    forms = np.empty((n, batch.forms.shape[1]))
    weights = None if batch.weights is None else np.empty(n)
    with bar("toys", n, show=show) as advance:
        while True:
            here = slice(begin - first, begin - first + len(batch.status))
            statistic[here], strength[here] = batch.statistic, batch.strength
            status[here], route[here], forms[here] = batch.status, batch.route, batch.forms
            if weights is not None:
                weights[here] = batch.weights
            advance(len(batch.status))
            try:
                begin, batch = next(runs)
            except StopIteration:
                break
    one = signals == 1
    found = ToySample(
        name=engine.name,
        thrown=engine.thrown,
        tested=engine.tested,
        statistic=statistic[:, 0] if one else statistic,
        status=status,
        strength=strength[:, 0] if one else strength,
        route=route,
        seed=seed,
        first=first,
        digest=engine.digest,
        observed=engine.observed(),
        weights=weights,
    )
    return found, forms


def values_at(model: Model, poi: str, mu: float, values: Mapping[str, float] | None) -> Floats:
    """Parameters to throw at: given, or fitted to the data with the strength held at mu, or their start values.

    Raises InputError when the data say nothing about the strength, BumpfitError when the fit fails.
    """
    from bumpfit.inference.histfactory import prepare
    from bumpfit.inference.profile import require_poi, require_valid

    if values is not None:
        return model.array({**values, poi: mu})
    if model.observed is None:
        return model.array({poi: mu})
    problem = prepare(model)
    require_poi(problem, poi)
    return require_valid(problem.at(poi, mu).solve(), f"the fit of the nuisance parameters at {poi} = {mu:g}").x
