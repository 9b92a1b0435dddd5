"""`unbinned`: the extended likelihood of single events with learned posteriors and responses (HEPHY's method).

Two networks are trained on the learners' events (see `split`), calibrated on the templates' events, and give every
event of three regions its class posteriors and the coefficients of its response; the others are counted (see
`counted`). The inclusive yields are integrals of the same surrogate over the templates' events. All six nuisances are
profiled.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml.bias import NO_NOISE, biased
from bumpfit.higgsml.columns import FEATURES, LUMINOSITY, checked, matrix
from bumpfit.higgsml.counted import Counted, Scored, Split, counts, places, scored
from bumpfit.higgsml.interval import with_interval
from bumpfit.higgsml.likelihood import Model, response_model
from bumpfit.higgsml.measurement import Curve, Measurement, failed
from bumpfit.higgsml.method import Method, State
from bumpfit.higgsml.network import Inputs, Network, inputs
from bumpfit.higgsml.network_training import Pair, Training, train_posteriors, train_response
from bumpfit.higgsml.nuisances import NAMES, PRIORS
from bumpfit.higgsml.regions import REGIONS, UNBINNED, group
from bumpfit.higgsml.split import learners, parts
from bumpfit.higgsml.surrogate import EDGE, Chosen, Surrogate, calibrated, surface, terms
from bumpfit.higgsml.templates import SHIFT, Sample, Templates, near_prior, points, responses
from bumpfit.higgsml.unbinned_likelihood import Events, Likelihood

Floats = NDArray[np.float64]
FEW = 100
"""Rows of a process that training needs."""
CLASSIFIED = (*UNBINNED, "high_mt_diboson")
"""Regions whose events the classifier is trained on."""
NOISES = 2
"""Draws of the noise of soft_met with which the shift of mu by imperfect responses is measured."""
CURVE_POINTS, CURVE_REACH = 41, 5.0
"""Points of a profile curve, and how far it goes beyond the minimum in standard deviations."""
WIDENED, CLIPPED = 1.045, (0.09, 3.01)
"""What HEPHY's published interval was multiplied with by hand, and where it ends."""


@dataclasses.dataclass
class Unbinned(Method):
    """The unbinned profile likelihood.

    hidden: widths of the layers of both networks. epochs, batch, patience, learning_rate, decay: of their training.
    knots: soft bins of a region in the calibration, or two or four times as many (what closes best, see
    `surrogate.closure`). enough: effective simulated events of a process in one. bins: of the counted events, at most;
    0: the three counts of HEPHY's method, as `as_published` is trained in any case. draws: of the soft noise in the
    templates. luminosity: of the data, fb-1 (weights are expected events in 10). as_published: the interval with the
    nuisances frozen at the best fit, times 1.045 and clipped to [0.09, 3.01], in place of the profile.
    """

    kind = "unbinned"
    hidden: tuple[int, ...] = (128, 128)
    epochs: int = 60
    batch: int = 1024
    patience: int = 6
    learning_rate: float = 1e-3
    decay: float = 1e-4
    knots: int = 8
    enough: float = 100.0
    bins: int = 40
    draws: int = 8
    luminosity: float = LUMINOSITY
    as_published: bool = False

    def __post_init__(self) -> None:
        whole = (*self.hidden, self.epochs, self.batch, self.patience, self.knots, self.draws)
        if not self.hidden or min(whole) < 1 or not self.learning_rate > 0 or self.decay < 0 or not self.enough > 0:
            raise InputError(
                "hidden, epochs, batch, patience, knots and draws must be 1 or more, learning_rate and enough positive"
            )
        if self.bins < 0 or self.bins == 1:
            raise InputError(f"there are {self.bins} bins of the counted events; expected 2 or more, or 0")
        if not (np.isfinite(self.luminosity) and self.luminosity > 0):
            raise InputError(f"the luminosity is {self.luminosity:g} fb-1; expected a positive number")
        self.uses_range = self.as_published
        self.surrogate: Surrogate | None = None
        self.surface: Floats | None = None
        self.counting: Counted | None = None
        self.regions: Model | None = None
        self.report: dict[str, Any] = {}

    def fit(self, train: pd.DataFrame, seed: int = 0) -> Self:
        """Train on half of the generated events, calibrate and integrate on the others."""
        begin = time.perf_counter()
        table = checked(train, weights=True, processes=True)
        learn, rest = parts(table)
        posterior, change, losses = self._learn(learn, seed)
        sample = Sample.of(rest.assign(weights=rest["weights"] * (self.luminosity / LUMINOSITY)), self.draws, seed)
        trained = time.perf_counter()
        nominal = next(chosen(sample, points()[0]))
        shifted = ((at, events) for at in points()[1:] for events in chosen(sample, at))
        self.surrogate, closed = calibrated(
            posterior, change, nominal, shifted, points()[1:], len(UNBINNED), self.knots, self.enough
        )  # fmt: skip
        g, c = self.surrogate(nominal.x, nominal.region)
        self.surface, deviation = surface(g, c, nominal.weights)
        single = Likelihood(Events(g, c, nominal.weights), self.surface, None, []).value([1.0, *np.zeros(6)])[2]
        single -= np.diag([0.0, *np.ones(6)])  # the constraints, which are there once
        if self.bins and not self.as_published:
            self.counting, found, kept = scored(learn, sample, self.bins, seed, single)
        else:
            self.counting, kept = Split(posterior), None
            found = counts(sample, self.counting)
        response, worst = responses(found)
        self.regions = response_model(found.values[0], response)
        self.report = {
            "counts": self.counting.count, "information_kept_in_counts": kept,
            "response_shift": self._shift(sample, found),
            "learners": len(learn), "templates": len(rest), "unbinned_events": float(nominal.weights.sum()),
            "unbinned_rows": len(nominal.x), "soft_bins": self.surrogate.tents.count, **losses,
            "closure_at_0": closed[0], "closure_at_3": closed[1],
            "integral_deviation": deviation, "largest_response_deviation": worst,
            "seconds_of_training": trained - begin, "seconds": time.perf_counter() - begin,
        }  # fmt: skip
        return self

    def _learn(self, table: pd.DataFrame, seed: int) -> tuple[Network, Network, dict[str, float]]:
        how = Training(self.hidden, self.learning_rate, self.decay, self.epochs, self.batch, self.patience)
        sample = Sample.of(table, 1, seed)
        held = learners(table, 0.1)  # a fifth of the learners: their hashes are below a half
        rng = np.random.default_rng([seed, 2])
        wide = next(chosen(sample, points()[0], CLASSIFIED))
        if any((wide.process[~held[wide.rows]] == p).sum() < FEW for p in (0, 1)):
            raise InputError(f"fewer than {FEW} signal or Z events are in the unbinned regions: take more events")
        posterior, first = train_posteriors(wide.x, wide.process, wide.weights, held[wide.rows], how, seed)
        at = points()[1:]

        def pair(k: int) -> Pair:
            t, j, s = at[k]
            noise = s * rng.standard_normal((2, len(table))) if s > 0 else NO_NOISE
            x, rows, _ = inside(sample, t, j, noise, UNBINNED)
            return Pair(x, rows, terms(np.array([t]), np.array([j]), np.array([s * s]))[0])

        x, rows, _ = inside(sample, 0.0, 0.0, NO_NOISE, UNBINNED)
        zero = Pair(x, rows, np.zeros(9))
        change, second = train_response(zero, pair, len(at), sample.process, sample.weights, held, how, seed)
        losses = {"posterior_loss": min(first), "posterior_epochs": len(first) - 1, "response_loss": min(second),
                  "response_epochs": len(second) - 1}  # fmt: skip
        return posterior, change, losses

    def _shift(self, sample: Sample, found: Templates) -> float:
        """The shift of mu_hat by imperfect responses, as `templates.response_shift`: of events and counts together."""
        assert self.surrogate is not None and self.surface is not None
        few = dataclasses.replace(sample, noise=sample.noise[:NOISES])
        prior = near_prior(found.at)
        shifts = np.zeros(len(prior))
        for k in np.flatnonzero(prior):
            events = list(chosen(few, found.at[k]))
            made = [self.surrogate(e.x, e.region) for e in events]
            g, c = (np.concatenate(parts) for parts in zip(*made, strict=True))
            n = np.concatenate([e.weights for e in events])
            counted = found.values[k].sum(axis=1)
            shifts[k] = shift_at(Likelihood(Events(g, c, n), self.surface, self.regions, counted), found.at[k])
        return float(np.sqrt(np.average(shifts**2, weights=prior)))

    def _placed(self, features: NDArray[np.float32]) -> tuple[Surrogate, NDArray[np.int64], int]:
        """The surrogate, the place of every event (28, N), and the number of places."""
        if self.surrogate is None or self.counting is None:
            raise InputError("this method is not fitted")
        return self.surrogate, places(self.counting)(features), len(UNBINNED) + self.counting.count

    def summaries(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Place, posteriors and coefficients of each event, (N, 1 + 4 + 36); the latter are 0 where it is counted."""
        surrogate, place, _ = self._placed(features)
        result = np.zeros((features.shape[1], 1 + 4 + 36), dtype=np.float32)
        result[:, 0] = place
        single = np.flatnonzero(place < len(UNBINNED))
        g, c = surrogate(inputs(features[:, single]), place[single])
        result[single, 1:5], result[single, 5:] = g, c.reshape(-1, 36)
        return result

    def data(self, features: NDArray[np.float32]) -> Likelihood:
        """The likelihood of events (28, N)."""
        surrogate, place, number = self._placed(features)
        assert self.surface is not None
        single = np.flatnonzero(place < len(UNBINNED))
        g, c = surrogate(inputs(features[:, single]), place[single])
        n = np.bincount(place, minlength=number)[len(UNBINNED) :]
        g = g.astype(np.float32).astype(np.float64)  # as in `summaries`
        return Likelihood(Events(g, c, np.ones(len(single))), self.surface, self.regions, n)

    def measure(self, events: pd.DataFrame) -> Measurement:
        """Evaluate the surrogate for the events and fit."""
        begin = time.perf_counter()
        return self._measured(self.data(matrix(events, FEATURES)), begin)

    def measure_summaries(self, summaries: NDArray[Any], times: NDArray[np.integer]) -> Measurement:
        """Fit events whose surrogate is evaluated already, of which each appears `times` (N,)."""
        begin = time.perf_counter()
        return self._measured(self._of_summaries(summaries, times), begin)

    def statistic(self, summaries: NDArray[Any], times: NDArray[np.integer], mu: float) -> tuple[float, float]:
        """mu_hat, and -2 ln L at `mu` above its minimum, in a third of the time of the whole curve."""
        if self.as_published:
            return super().statistic(summaries, times, mu)
        data = self._of_summaries(summaries, times)
        found = data.fit()
        if not found.valid:
            return np.nan, np.nan
        rise = 2.0 * float(data.curve(found.best, np.array([mu]))[0] - found.bounded)
        return (float(found.best[0]), max(rise, 0.0)) if np.isfinite(rise) else (np.nan, np.nan)

    def _of_summaries(self, summaries: NDArray[Any], times: NDArray[np.integer]) -> Likelihood:
        if self.surface is None or self.regions is None:
            raise InputError("this method is not fitted")
        place = summaries[:, 0].astype(np.int64)
        n = np.bincount(place, times, len(UNBINNED) + self.regions.bins)[len(UNBINNED) :]
        single = place < len(UNBINNED)
        g, c = summaries[single, 1:5].astype(np.float64), summaries[single, 5:].reshape(-1, 4, 9)
        return Likelihood(Events(g, c, times[single].astype(np.float64)), self.surface, self.regions, n)

    def _measured(self, data: Likelihood, begin: float) -> Measurement:
        found = measure(data, self.as_published)
        # not in `valid`: the fit is one, but the regions' responses are not those of the events
        diagnostics = {**found.diagnostics, **self.simulation}
        return dataclasses.replace(found, diagnostics=diagnostics, seconds=time.perf_counter() - begin)

    @property
    def expected_events(self) -> float | None:
        """Selected events that are expected at mu = 1 and the nominal nuisances."""
        if self.regions is None:
            return None
        return float(self.report["unbinned_events"]) + float(np.sum(self.regions.expected(1.0)[0][0]))

    @property
    def simulation(self) -> dict[str, Any]:
        """Whether the counts follow their responses: the root mean square of the shift of mu is below `SHIFT`."""
        names = ("largest_response_deviation", "response_shift")
        known = {name: self.report[name] for name in names}
        of = {"mode": self.mode, "luminosity": self.luminosity}
        return {**of, **known, "simulation_large_enough": bool(known["response_shift"] <= SHIFT)}

    def state(self) -> State:
        """Networks, calibrations, integrals, and bins, yields and responses of the counted events."""
        if self.surrogate is None or self.surface is None or self.counting is None or self.regions is None:
            raise InputError("this method is not fitted")
        arrays = {"surface": self.surface, "yields": self.regions.arrays.yields,
                  "region_response": self.regions.arrays.response}  # fmt: skip
        return State(self.report, {**self.surrogate.arrays(), **self.counting.arrays(), **arrays})

    def restore(self, state: State) -> None:
        """Take over a state."""
        arrays = state.arrays
        self.surrogate = Surrogate.from_arrays(arrays, len(UNBINNED))
        self.surface = np.ascontiguousarray(arrays["surface"], dtype=np.float64)
        form = self.surface.ndim == 6 and self.surface.shape[:3] == (4, 3, 3) and min(self.surface.shape) >= 2
        if not form or not np.isfinite(self.surface).all():
            raise ValueError("its integrals have another form, or are not finite")
        self.regions = response_model(arrays["yields"], arrays["region_response"])
        self.counting = Scored.from_arrays(arrays) if "edges" in arrays else Split(self.surrogate.posterior)
        if self.regions.bins != self.counting.count:
            raise ValueError("its templates do not fit its counts")
        self.report = dict(state.description)
        float(self.report["largest_response_deviation"]), float(self.report["response_shift"])


def shift_at(data: Likelihood, at: tuple[float, float, float]) -> float:
    """By how much data without fluctuations, of mu = 1 and a point (t, j, soft_met), shift mu_hat, in its errors.

    To first order: by the slope of the likelihood there, without that of the constraints, which are about 0.
    """
    t, j, s = at
    theta = np.array([t, j, np.log(s) if s > 0 else data.arrays.low[NAMES.index("soft_met")], 0.0, 0.0, 0.0])
    _, slope, curvature = data.value([1.0, *theta])
    slope[1:] -= theta
    covariance = np.linalg.pinv(curvature, hermitian=True)
    return float(-(covariance @ slope)[0] / np.sqrt(covariance[0, 0]))


def inside(
    sample: Sample, t: float, j: float, noise: Floats, regions: tuple[str, ...]
) -> tuple[Inputs, NDArray[np.int64], NDArray[np.int64]]:
    """Inputs, rows and regions of the biased events that are in some regions."""
    found = biased(sample.primary, 1.0 + PRIORS["tes"].sigma * t, 1.0 + PRIORS["jes"].sigma * j, noise)
    place = group(found.features)
    here = np.flatnonzero(np.isin(place, [REGIONS.index(name) for name in regions]))
    return inputs(found.features[:, here]), found.rows[here], place[here]


def chosen(sample: Sample, at: tuple[float, float, float], regions: tuple[str, ...] = UNBINNED) -> Iterator[Chosen]:
    """The biased events in some regions, one a draw of the noise (one without noise); weights share the draws."""
    t, j, s = at
    draws = [s * unit for unit in sample.noise] if s > 0 else [NO_NOISE]
    for noise in draws:
        x, rows, place = inside(sample, t, j, noise, regions)
        yield Chosen(x, place, sample.process[rows], sample.weights[rows] / len(draws), rows)


def measure(data: Likelihood, as_published: bool = False) -> Measurement:
    """One measurement with its profile curve and the asymptotic interval; `as_published`: HEPHY's interval instead."""
    begin = time.perf_counter()
    found = data.fit()
    if not found.valid:
        return failed("the fit did not converge", time.perf_counter() - begin)
    best = found.best
    errors = errors_of(data, best)
    if errors is None:
        return failed("the likelihood has no minimum where the fit ended", time.perf_counter() - begin)
    sigma = max(float(errors[0]), 1e-9)
    grid = np.linspace(0.0, max(best[0], 0.0) + CURVE_REACH * sigma, CURVE_POINTS)
    curve = 2.0 * (data.curve(best, grid, NAMES if as_published else ()) - found.bounded)
    if not np.isfinite(curve).all():
        return failed("the profile did not converge", time.perf_counter() - begin)
    values = zip(NAMES, best[1:], errors[1:], strict=True)
    nuisances = {name: (float(v), float(e)) for name, v, e in values}
    far = [name for name in ("tes", "jes") if abs(nuisances[name][0]) > EDGE]
    low, high = data.arrays.low, data.arrays.high
    ends = [name for name, v, a, b in zip(NAMES, best[1:], low, high, strict=True) if not a < v < b]
    line = Curve(tuple(grid.tolist()), tuple(np.maximum(curve, 0.0).tolist()))
    raw = Measurement(
        float(best[0]), 0.0, 0.0, "", nuisances, line, True, False, time.perf_counter() - begin, (),
        {"sigma": sigma, "events": float(data.arrays.n.sum()), "at_ends": ends, "beyond_training": far},
    )  # fmt: skip
    return published(raw) if as_published else with_interval(raw)


def errors_of(data: Likelihood, best: Floats) -> Floats | None:
    """Errors (7,) by the curvature; None where it is not that of a minimum.

    At an end of a range it need not be one along that nuisance, which is then held: its error is 0.
    """
    curvature = data.value(best)[2]
    inside = np.r_[True, (data.arrays.low < best[1:]) & (best[1:] < data.arrays.high)]
    for floating in (np.ones(len(best), dtype=bool), inside):
        values, vectors = np.linalg.eigh(curvature[np.ix_(floating, floating)])
        if values[0] > 0.0:
            errors = np.zeros(len(best))
            errors[floating] = np.sqrt((vectors**2 / values).sum(axis=1))
            return errors
    return None


def published(found: Measurement) -> Measurement:
    """HEPHY's interval: where the curve with frozen nuisances rises by 1, widened about mu_hat by hand, clipped."""
    ends = with_interval(found)
    low, high = (
        min(max(found.mu_hat + WIDENED * (end - found.mu_hat), CLIPPED[0]), CLIPPED[1]) for end in (ends.low, ends.high)
    )
    bound = low == CLIPPED[0] or high == CLIPPED[1]
    return dataclasses.replace(
        ends, low=low, high=high, pieces=((low, high),), at_bound=bound, interval_kind="as published: frozen nuisances"
    )
