"""Binned likelihoods of mu and the nuisances: expectations, fits, profile intervals, information, many at once."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from bumpfit.errors import InputError
from bumpfit.execute import Workers, ordered_map
from bumpfit.higgsml import likelihood_kernel as kernel
from bumpfit.higgsml.expected_kernel import RESPONSE, SUM, Arrays, expected
from bumpfit.higgsml.interval import Calibration, threshold
from bumpfit.higgsml.measurement import Curve, Measurement, failed
from bumpfit.higgsml.nuisances import NAMES, PRIORS
from bumpfit.higgsml.score import LEVEL
from bumpfit.results import Record

Array = NDArray[np.float64]
BLOCK = 500
"""Experiments that share a stream of random numbers; no number depends on the workers that make them."""
CURVE_POINTS, CURVE_REACH = 41, 5.0
"""Points of a profile curve, and how far it goes beyond the minimum in standard deviations."""


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A binned likelihood: compiled arrays, the names of its nuisances, and its number of bins."""

    arrays: Arrays
    nuisances: tuple[str, ...]
    bins: int

    @property
    def names(self) -> tuple[str, ...]:
        """All parameters."""
        return ("mu", *self.nuisances)

    def expected(self, mu: ArrayLike, theta: ArrayLike | None = None) -> tuple[Array, Array]:
        """Expected events, shape (T, B), and their derivatives (T, B, 1 + K), at mu (T,) and theta (T, K)."""
        x = self._points(mu, theta)
        r, d = np.empty((len(x), self.bins)), np.empty((len(x), self.bins, x.shape[1]))
        expected(self.arrays, x, r, d)
        return r, d

    def _points(self, mu: ArrayLike, theta: ArrayLike | None) -> Array:
        mus = np.atleast_1d(np.asarray(mu, dtype=np.float64))
        k = len(self.nuisances)
        thetas = np.zeros((len(mus), k)) if theta is None else np.atleast_2d(np.asarray(theta, dtype=np.float64))
        if thetas.shape != (len(mus), k):
            raise InputError(f"nuisances of the shape {thetas.shape} for {len(mus)} strengths; expected {k} each")
        return np.ascontiguousarray(np.column_stack([mus, thetas]))

    def twice_nll(self, counts: ArrayLike, mu: float, theta: ArrayLike | None = None) -> float:
        """-2 ln L: Poisson probabilities with their factorials, times exp(-theta^2 / 2) for each nuisance.

        Factors of bins with simulated events are profiled; those events' likelihood is 1 where it is largest.
        """
        n = self.counts(counts)
        r = self.expected(mu, theta)[0][0]
        t = np.zeros(len(self.nuisances)) if theta is None else np.asarray(theta, dtype=np.float64)
        if (r < 0).any() or ((r == 0) & (n > 0)).any():
            return math.inf
        m = self.simulated
        g = np.divide(n + m, r + m, out=np.ones_like(r), where=m > 0)
        log = np.log(np.where(r > 0, g * r, 1.0))
        error = m * (g - 1.0 - np.log(g))
        return float(2.0 * np.sum(g * r - n * log + gammaln(n + 1.0) + error) + np.sum(t**2))

    def counts(self, counts: ArrayLike) -> Array:
        """Counts as numbers, shape (B,); raises InputError when they do not fit the bins."""
        try:
            n = np.asarray(counts, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError("the counts are no numbers") from None
        if n.shape != (self.bins,):
            raise InputError(f"there are {n.size} counts for {self.bins} bins")
        if not np.isfinite(n).all() or (n < 0).any():
            raise InputError("the counts are not all finite and 0 or more")
        return n

    @property
    def simulated(self) -> Array:
        """Effective simulated events of the bins (B,), 0 where the error of the simulation is not in the likelihood."""
        return self.arrays.simulated

    def information(self, mu: float, theta: ArrayLike | None = None) -> Array:
        """Fisher information of mu and the nuisances, their priors included, shape (1 + K, 1 + K).

        A bin with m effective simulated events has the variance r + r^2 / m.
        """
        r, d = self.expected(mu, theta)
        good = r[0] > 0
        prior = np.diag([0.0, *np.ones(len(self.nuisances))])
        rates, m = r[0][good], self.simulated[good]
        variance = rates + np.divide(rates**2, m, out=np.zeros_like(rates), where=m > 0)
        return np.asarray(np.einsum("bi,bj,b->ij", d[0][good], d[0][good], 1.0 / variance) + prior)

    def simulations(self, rng: np.random.Generator, n: int) -> Array:
        """Factors of the bins in n worlds whose simulations erred, shape (n, B): Gamma(m) / m, 1 without error.

        The truth relative to templates of m effective events, as the auxiliary likelihood weighs it.
        """
        m = np.where(self.simulated > 0, self.simulated, 1.0)
        drawn = rng.gamma(m, size=(n, self.bins)) / m
        return np.where(self.simulated > 0, drawn, 1.0)

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """theta of n experiments from the prior, shape (n, K), inside the ranges."""
        return np.clip(rng.standard_normal((n, len(self.nuisances))), self.arrays.low, self.arrays.high)


@dataclasses.dataclass(frozen=True, eq=False)
class Fits(Record):
    """Fits of many experiments: best parameters (T, 1 + K), statistic of the true mu, ends of the interval (NaN where
    they were not asked for), minimum of F over mu >= 0, and whether all minimisations converged.
    """

    best: Array
    statistic: Array
    low: Array
    high: Array
    minimum: Array
    valid: NDArray[np.bool_]


def fit_all(
    model: Model, counts: Array, true: ArrayLike = 1.0, *, calibration: Calibration | None = None, ends: bool = True,
    frozen: Sequence[str] = (), start: Array | None = None, level: float = LEVEL, floor: float = 0.0,
) -> Fits:  # fmt: skip
    """Fit experiments, rows of counts (T, B), with profile intervals under a calibration (None: the asymptotic one).

    Args:
        model: the likelihood.
        counts: experiments.
        true: mu whose statistic is wanted, one or (T,).
        calibration: critical values.
        ends: whether to find the ends of the intervals.
        frozen: nuisances that are not fitted.
        start: parameters (1 + K,) where fits begin and frozen ones stay; mu = 1 and no shifts by default.
        level: of the asymptotic interval.
        floor: the lowest mu of statistic and interval; -inf lifts the bound.
    """
    n = np.ascontiguousarray(np.atleast_2d(counts), dtype=np.float64)
    size, total = len(model.names), len(n)
    begin = np.array([1.0, *np.zeros(size - 1)]) if start is None else np.asarray(start, dtype=np.float64)
    held = np.array([name in frozen for name in model.names])
    mus = np.broadcast_to(np.asarray(true, dtype=np.float64), total).copy()
    grid, values = np.zeros(1), np.full(1, threshold(level))
    if calibration is not None:
        grid, values = np.asarray(calibration.grid), np.asarray(calibration.critical)
    hat, out, status = np.empty((total, size)), np.full((total, 4), np.nan), np.zeros(total, dtype=np.int64)
    kernel.measure(model.arrays, n, begin, held, mus, floor, grid, values, ends, hat, out, status)
    return Fits(hat, out[:, 0], out[:, 1], out[:, 2], out[:, 3], status == kernel.CONVERGED)


def profile_curves(model: Model, counts: Array, best: Array, mus: Array, frozen: Sequence[str] = ()) -> Array:
    """F at the points mus for every experiment, nuisances profiled, shape (T, M)."""
    n = np.ascontiguousarray(np.atleast_2d(counts), dtype=np.float64)
    held = np.array([name in frozen for name in model.names])
    out = np.empty((len(n), len(mus)))
    kernel.curves(model.arrays, n, np.ascontiguousarray(np.atleast_2d(best)), held, np.asarray(mus, float), out)
    return out


def measure(
    model: Model, counts: ArrayLike, *, frozen: Sequence[str] = (), level: float = LEVEL, bounded: bool = True
) -> Measurement:
    """One measurement with its profile curve and the asymptotic interval, inside mu >= 0 unless it is not `bounded`."""
    begin = time.perf_counter()
    n = model.counts(counts)
    fits = fit_all(model, n, 0.0, frozen=frozen, level=level, floor=0.0 if bounded else -math.inf)
    if not fits.valid[0]:
        return failed("the fit did not converge", time.perf_counter() - begin)
    best, low, high = fits.best[0], float(fits.low[0]), float(fits.high[0])
    floating = [k for k, name in enumerate(model.names) if name not in frozen]
    information = model.information(max(best[0], 0.0), best[1:])[np.ix_(floating, floating)]
    errors = np.zeros(len(best))
    errors[floating] = np.sqrt(np.diag(np.linalg.pinv(information, hermitian=True)))
    sigma = max(float(errors[0]), 1e-9)
    grid = np.linspace(0.0, max(best[0], 0.0) + CURVE_REACH * sigma, CURVE_POINTS)
    curve = 2.0 * profile_curves(model, n, best, grid, frozen)[0]
    if not np.isfinite(curve).all():
        return failed("the profile did not converge", time.perf_counter() - begin)
    least = 2.0 * fits.minimum[0] if bounded else min(2.0 * fits.minimum[0], curve.min())
    values = zip(model.nuisances, best[1:], errors[1:], model.arrays.low, model.arrays.high, strict=True)
    nuisances = {name: (float(v), float(e)) for name, v, e, _, _ in values}
    bounds = zip(model.nuisances, best[1:], model.arrays.low, model.arrays.high, strict=True)
    return Measurement(
        float(best[0]), low, high, "profile likelihood", nuisances,
        Curve(tuple(grid.tolist()), tuple(np.maximum(curve - least, 0.0).tolist())), True, bounded and low == 0.0,
        time.perf_counter() - begin, ((low, high),),
        {"sigma": sigma, "events": float(n.sum()), "at_ends": [name for name, v, a, b in bounds if not a < v < b]},
    )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Worlds(Record):
    """Pseudo-experiments at template level: true mu (T,), true theta (T, K), and their fits."""

    mu: Array
    theta: Array
    fits: Fits


def throw(
    model: Model, mu: ArrayLike, seed: int, *, truth: Model | None = None, draw: bool = True,
    calibration: Calibration | None = None, ends: bool = False, frozen: Sequence[str] = (), workers: Workers = 1,
) -> Worlds:  # fmt: skip
    """Throw and fit one pseudo-experiment for each mu (T,): nuisances from the prior (or all at 0), Poisson counts.

    Where the truth has simulated events, each experiment has a truth of its own, `Model.simulations`.

    Args:
        model: what is fitted.
        mu: true strengths.
        seed: the same seed gives the same numbers, whatever the workers.
        truth: what the counts are thrown from (default: the model).
        draw: draw the nuisances; otherwise they are at 0.
        calibration: critical values for the ends.
        ends: whether intervals are wanted.
        frozen: nuisances that are not fitted.
        workers: processes, or an executor (`clusters.dask_executor`).
    """
    mus = np.atleast_1d(np.asarray(mu, dtype=np.float64))
    tasks = [
        (model, truth or model, mus[i : i + BLOCK], [seed, i // BLOCK], draw, calibration, ends, tuple(frozen))
        for i in range(0, len(mus), BLOCK)
    ]
    pieces = list(ordered_map(_block, tasks, workers=workers))
    fits = Fits(*(np.concatenate([getattr(p.fits, f.name) for p in pieces]) for f in dataclasses.fields(Fits)))
    return Worlds(mus, np.concatenate([p.theta for p in pieces]), fits)


def poisson(model: Model, rates: Array, rng: np.random.Generator) -> Array:
    """Counts (T, B) of worlds with expected events `rates`, whose simulations erred as the model says."""
    if model.simulated.any():
        rates = rates * model.simulations(rng, len(rates))
    return rng.poisson(rates).astype(np.float64)


def throw_counts(model: Model, mus: Array, rng: np.random.Generator, draw: bool = True) -> tuple[Array, Array]:
    """theta (T, K), from the prior or 0, and Poisson counts (T, B) of one experiment for each mu."""
    theta = model.draw(rng, len(mus))
    if not draw:
        theta = np.zeros_like(theta)
    return theta, poisson(model, model.expected(mus, theta)[0], rng)


def _block(
    task: tuple[Model, Model, Array, list[int], bool, Calibration | None, bool, tuple[str, ...]],
) -> Worlds:
    model, truth, mus, seed, draw, calibration, ends, frozen = task
    theta, counts = throw_counts(truth, mus, np.random.default_rng(seed), draw)
    return Worlds(mus, theta, fit_all(model, counts, mus, calibration=calibration, ends=ends, frozen=frozen))


def response_model(
    yields: Array, response: Array, *, power: bool = False, square: bool = True, reach: float = 5.0,
    simulated: Array | None = None,
) -> Model:  # fmt: skip
    """A model with log-quadratic responses.

    Args:
        yields: nominal expected events, shape (B, 4), processes in their order.
        response: coefficients of (t, j, u, tt, jj, uu, tj, tu, ju), shape (B, 4, 9).
        power: scales of yields are (1 + scale)^theta, not 1 + scale theta.
        square: u = exp(2 theta) with theta = ln(soft_met) up to the clip of its prior; otherwise u = theta.
        reach: range of the other nuisances in standard deviations.
        simulated: effective simulated events of the bins (B,); 0, or None: without the error of the simulation.
    """
    y, c = np.ascontiguousarray(yields, dtype=np.float64), np.ascontiguousarray(response, dtype=np.float64)
    if y.ndim != 2 or y.shape[1] != 4 or c.shape != (*y.shape, 9):
        raise InputError(f"yields {y.shape} and responses {c.shape}; expected (B, 4) and (B, 4, 9)")
    if not (np.isfinite(y).all() and np.isfinite(c).all() and (y >= 0).all()):
        raise InputError("yields and responses must be finite, and yields 0 or more")
    m = np.zeros(len(y)) if simulated is None else np.ascontiguousarray(simulated, dtype=np.float64)
    if m.shape != (len(y),) or not (np.isfinite(m).all() and (m >= 0).all()):
        raise InputError(f"{m.size} numbers of simulated events for {len(y)} bins; expected finite ones, 0 or more")
    scales = np.array([PRIORS[name].sigma for name in ("ttbar_scale", "diboson_scale", "bkg_scale")])
    low, high = np.full(6, -reach), np.full(6, reach)
    if square:
        high[2] = math.log(PRIORS["soft_met"].high)
    if not power:  # 1 + scale theta stays positive inside the range of the prior
        for place, name in ((3, "ttbar_scale"), (4, "diboson_scale"), (5, "bkg_scale")):
            low[place] = max(low[place], PRIORS[name].standard(PRIORS[name].low))
            high[place] = min(high[place], PRIORS[name].standard(PRIORS[name].high))
    none, edge = np.empty((0, 0, 0, 2, 4, 4)), np.empty(0)
    arrays = Arrays(RESPONSE, y, c, scales, power, square, none, edge, edge, low, high, m)
    return Model(arrays, NAMES, len(y))


def sum_model(nominal: Array, effects: Array, *, reach: float = 5.0) -> Model:
    """A model whose nuisances add their effects to the nominal yields, each on its own.

    Args:
        nominal: expected events at mu = 1, signal and background, shape (B, 2).
        effects: coefficients of theta, theta^2, ... for each nuisance (of soft_met itself in GeV), shape (B, 2, 6, D).
        reach: range of the nuisances in standard deviations; soft_met ends at the clip of its prior.

    Raises:
        InputError: other shapes, values that are not finite, negative yields.
    """
    y, c = np.ascontiguousarray(nominal, dtype=np.float64), np.ascontiguousarray(effects, dtype=np.float64)
    if y.ndim != 2 or y.shape[1] != 2 or c.ndim != 4 or c.shape[:3] != (len(y), 2, len(NAMES)):
        raise InputError(f"yields {y.shape} and effects {c.shape}; expected (B, 2) and (B, 2, {len(NAMES)}, D)")
    if not (np.isfinite(y).all() and np.isfinite(c).all() and (y >= 0).all()):
        raise InputError("yields and effects must be finite, and yields 0 or more")
    low, high = np.full(len(NAMES), -reach), np.full(len(NAMES), reach)
    high[NAMES.index("soft_met")] = math.log(PRIORS["soft_met"].high)
    none, edge = np.empty((0, 4, 9)), np.empty(0)
    arrays = Arrays(SUM, y, none, np.zeros(3), False, True, c[None, None], edge, edge, low, high, np.zeros(len(y)))
    return Model(arrays, NAMES, len(y))
