"""Result records: what every question of the likelihood chain answers with.

All records are frozen; `to_dict` gives plain JSON types (numbers, strings, lists, dicts, None). A quantity that was not
asked for or that does not exist is `None`; NaN and infinities become `None` in the JSON form.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.display import Shown, Table

Array = NDArray[np.float64]


BANDS = ("observed", "-2 sigma", "-1 sigma", "median", "+1 sigma", "+2 sigma")
"""Columns of a limit: observed, and expected without signal."""


def plain(value: Any) -> Any:
    """Turn a record, an array, a number or a nest of them into plain JSON types (non-finite numbers become None)."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Sequence | set | frozenset):
        return [plain(entry) for entry in value]
    raise TypeError(f"a result holds {type(value).__name__}, which has no JSON form")


class Record(Shown):
    """Base of all result records.

    Two fields are common to all answers: `at_bounds`, free parameters that end at an end of their range in a fit behind
    the answer, and `notes`, sentences about what the answer does not hold for.
    """

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, keys in the order of the fields."""
        result = plain(self)
        assert isinstance(result, dict)
        return result


@dataclasses.dataclass(frozen=True, eq=False)
class Fit(Record):
    """A maximum-likelihood fit.

    `parameters` lists all parameters in the model's order; `values` and `errors` (from the inverse Hessian, 1 sigma)
    have one entry each. `covariance`, shape (P, P), is None when the Hessian is singular (the parameters concerned
    have error NaN); `fixed` parameters, and those `undetermined` because they change no expectation, have zero rows.
    `at_bounds` lists free parameters that ended at the end of their range. `twice_nll` is -2 ln L in the
    normalisation of the model, `edm` the estimated distance to the minimum of -ln L, `attempts` what the minimisers
    tried.
    """

    parameters: tuple[str, ...]
    values: dict[str, float]
    errors: dict[str, float]
    covariance: Array | None
    twice_nll: float
    valid: bool
    status: str
    fixed: tuple[str, ...] = ()
    undetermined: tuple[str, ...] = ()
    at_bounds: tuple[str, ...] = ()
    minimiser: str = ""
    iterations: int | None = None
    evaluations: int | None = None
    edm: float | None = None
    attempts: tuple[str, ...] = ()

    @property
    def correlation(self) -> Array | None:
        """Correlation matrix, shape (P, P): unit diagonal, zero where there is no error; None without a covariance."""
        if self.covariance is None:
            return None
        sigma = np.sqrt(np.diag(self.covariance))
        inverse = np.divide(1.0, sigma, out=np.zeros_like(sigma), where=sigma > 0)
        result = self.covariance * np.outer(inverse, inverse)
        np.fill_diagonal(result, 1.0)
        return np.asarray(result, dtype=np.float64)

    @property
    def array(self) -> Array:
        """Values in the order of `parameters`, shape (P,)."""
        return np.array([self.values[name] for name in self.parameters])

    def _table(self) -> Table:
        rows = [(name, self.values[name], self.errors.get(name), name in self.fixed) for name in self.parameters]
        return ("parameter", "value", "error", "fixed"), rows

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, the correlation matrix included."""
        return {**super().to_dict(), "correlation": plain(self.correlation)}


@dataclasses.dataclass(frozen=True, eq=False)
class Discovery(Record):
    """Test of the background-only hypothesis: q0, its one-sided p-value, z = Phi^-1(1 - p) and the best-fit strength.

    q0 is that of strengths of 0 and more; `mu`, the best of all, is positive where the data do not tell signs apart.
    `z_signed`: the root of -2 ln of the likelihood ratio of `mu` and 0, with the sign of `mu`, so that deficits count
    too (the significance of many events). `method` says where p comes from ("asymptotic" or "toys"); `p_error` is the
    statistical error of p from toys and `p_upper` what p is at most with 95 % confidence. With `p_is_upper_bound` p is
    smaller than any floating-point number and only bounded.
    """

    q0: float
    p: float
    z: float
    mu: float
    mu_error: float | None = None
    parameter: str = "mu"
    method: str = "asymptotic"
    p_error: float | None = None
    free_fit: Fit | None = None
    null_fit: Fit | None = None
    p_upper: float | None = None
    p_is_upper_bound: bool = False
    z_signed: float | None = None
    at_bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Interval(Record):
    """An interval for one parameter. `low` or `high` is None when the interval is one-sided or open there.

    `low_at_bound` / `high_at_bound`: the interval ends at the parameter's own bound, not at a crossing. `low_error`,
    `high_error`: statistical errors of the ends from toys.
    """

    parameter: str
    low: float | None
    high: float | None
    best: float
    level: float
    method: str = "profile likelihood"
    low_at_bound: bool = False
    high_at_bound: bool = False
    low_error: float | None = None
    high_error: float | None = None
    at_bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class CLs(Record):
    """CLs at one signal strength: observed, and expected at -2, -1, 0, 1, 2 sigma of data with strength `bands_at`.

    `observed_error`, `expected_errors`: their statistical errors from toys.
    """

    mu: float
    observed: float | None
    expected: tuple[float, ...]
    cl_sb: float | None = None
    cl_b: float | None = None
    statistic: float | None = None
    statistic_name: str = "qtilde"
    method: str = "asymptotic"
    parameter: str = "mu"
    observed_error: float | None = None
    expected_errors: tuple[float, ...] | None = None
    bands_at: float = 0.0
    at_bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def _table(self) -> Table:
        return BANDS, [(self.observed, *self.expected)]


@dataclasses.dataclass(frozen=True, eq=False)
class Limit(Record):
    """Upper limit: observed, and expected at -2, -1, 0, 1, 2 sigma of data with strength `bands_at`.

    `observed_error`, `expected_errors`: their statistical errors from toys. `scan_mu`, `scan_cls`: strengths that were
    tested on the way, and their observed CLs. Expected values that too few toys reach are None.
    """

    observed: float | None
    expected: tuple[float | None, ...]
    level: float
    method: str = "asymptotic CLs"
    parameter: str = "mu"
    scan_mu: tuple[float, ...] | None = None
    scan_cls: tuple[float, ...] | None = None
    statistic_name: str = "qtilde"
    observed_error: float | None = None
    expected_errors: tuple[float | None, ...] | None = None
    bands_at: float = 0.0
    at_bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def _table(self) -> Table:
        return BANDS, [(self.observed, *self.expected)]


@dataclasses.dataclass(frozen=True, eq=False)
class Scan(Record):
    """Profile likelihood along one parameter: rise of -2 ln L above its minimum at each point, nuisances profiled.

    `delta_twice_nll` is None at a point whose fit did not converge; `status` says why. `twice_nll_min` is -2 ln L at
    `best`.
    """

    parameter: str
    points: tuple[float, ...]
    delta_twice_nll: tuple[float | None, ...]
    best: float
    twice_nll_min: float
    status: tuple[str, ...] = ()
    at_bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def _table(self) -> Table:
        return (self.parameter, "rise of -2 ln L"), list(zip(self.points, self.delta_twice_nll, strict=True))


@dataclasses.dataclass(frozen=True, eq=False)
class Contour(Record):
    """Two-parameter confidence region: the line of points (x, y) where the profile likelihood crosses the threshold.

    `ranges` are the ends of the region in x and in y: where the likelihood that is profiled over the other parameter
    too crosses the threshold, or the end of the range.
    """

    parameters: tuple[str, str]
    level: float
    x: tuple[float, ...]
    y: tuple[float, ...]
    best: tuple[float, float]
    ranges: tuple[tuple[float, float], tuple[float, float]]
    closed: bool = True
    at_bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelGoodness(Record):
    """What one channel adds to a goodness of fit; the p-values are those of toys, None without them or not asked for.

    Examples:
        >>> one = bumpfit.inference.goodness(model).channels["SR"]
        >>> one.statistic >= 0, one.p
        (True, None)
    """

    statistic: float
    p: float | None = None
    p_error: float | None = None
    p_upper: float | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Goodness(Record):
    """Goodness of fit: the statistic and its p-value (None when only toys would know it and none were thrown).

    `channels`: the part of each; their sum and `constraints`, the squared pulls of the auxiliary measurements, are the
    statistic. Of ks it is the largest part; ks and ad have no constraints (None) and no part of a channel of one bin.
    """

    statistic_name: str
    statistic: float
    p: float | None
    degrees_of_freedom: int | None = None
    method: str = "asymptotic"
    p_error: float | None = None
    toys: int | None = None
    channels: dict[str, ChannelGoodness] | None = None
    constraints: float | None = None
    p_upper: float | None = None
    p_is_upper_bound: bool = False
    at_bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Impact(Record):
    """One nuisance parameter: fitted value and error, pull and constraint in units of its prior, and its impacts.

    `up`, `down`: shift of the parameter of interest with this one at its best value plus and minus `error`;
    `prefit_up`, `prefit_down`: plus and minus its prior width. None where there is no prior, or no valid fit.
    """

    parameter: str
    value: float
    error: float | None
    pull: float | None
    constraint: float | None
    up: float | None
    down: float | None
    prefit_up: float | None
    prefit_down: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class Impacts(Record):
    """Pulls and impacts on one parameter, largest post-fit impact first."""

    parameter: str
    best: float
    error: float | None
    impacts: tuple[Impact, ...]
    at_bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def _table(self) -> Table:
        names = ("parameter", "pull", "constraint", "up", "down")
        return names, [tuple(getattr(row, name) for name in names) for row in self.impacts]


@dataclasses.dataclass(frozen=True, eq=False)
class SampleYields(Record):
    """Expected events of a sample in a channel, a bin and in all, with uncertainties."""

    name: str
    yields: tuple[float, ...]
    errors: tuple[float, ...]
    sum: float
    sum_error: float


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelYields(Record):
    """Expected events of a channel by sample and in total, and the data (None when there are none)."""

    name: str
    samples: tuple[SampleYields, ...]
    total: tuple[float, ...]
    total_errors: tuple[float, ...]
    sum: float
    sum_error: float
    data: tuple[float, ...] | None


@dataclasses.dataclass(frozen=True, eq=False)
class Yields(Record):
    """Expected events of all channels; `stage` is "pre-fit" or "post-fit"."""

    stage: str
    channels: tuple[ChannelYields, ...]

    def _table(self) -> Table:
        rows: list[tuple[Any, ...]] = []
        for channel in self.channels:
            rows += [(channel.name, sample.name, sample.sum, sample.sum_error) for sample in channel.samples]
            rows.append((channel.name, "total", channel.sum, channel.sum_error))
            if channel.data is not None:
                rows.append((channel.name, "data", float(sum(channel.data)), None))
        return ("channel", "sample", "events", "uncertainty"), rows


@dataclasses.dataclass(frozen=True, eq=False)
class MassScan(Record):
    """One question asked at several masses: limits (observed, expected bands) or discoveries, in the order of `masses`.

    A mass whose answer could not be obtained has None and says why in `status`.
    """

    masses: tuple[float, ...]
    limits: tuple[Limit | None, ...] | None
    discoveries: tuple[Discovery | None, ...] | None
    status: tuple[str, ...]

    def _table(self) -> Table:
        if self.limits is not None:
            found = [(one.observed, *one.expected) if one else (None,) * 6 for one in self.limits]
            return ("mass", *BANDS), [(mass, *row) for mass, row in zip(self.masses, found, strict=True)]
        tests = [(one.q0, one.p, one.z, one.mu) if one else (None,) * 4 for one in self.discoveries or ()]
        return ("mass", "q0", "p", "z", "mu"), [(m, *row) for m, row in zip(self.masses, tests, strict=True)]
