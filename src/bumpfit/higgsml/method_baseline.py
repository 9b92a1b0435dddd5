"""`baseline`: the starting kit of the challenge, with its scaling mistake put right, or as published.

Theirs: boosted trees on all 28 features with signal and background of equal weight; equal bins of the score; for each
nuisance on its own, yields at 15 points of its range and a polynomial of degree 5 through them, signal and background;
a Gaussian prior of each nuisance; Minuit.

Their mistake: the expected events are the *mean* of the six templates that each show one nuisance's effect, not the
nominal ones plus the sum of the six effects, so that every effect is six times too small; and the priors are added in
every bin, so that they are as many times too strong as there are bins (their widths are three times those of the
challenge, which makes up for a part). The fit then believes that nothing is known about anything but mu: its interval
is that of known nuisances. `as_published` has it so, with Minuit's error as the interval.

Here effects are added and priors counted once, with the widths of the challenge; soft_met has its lognormal prior; bins
with too few simulated events are merged with their neighbours; the interval is the profile likelihood's, calibrated.
The trees are scikit-learn's instead of XGBoost's.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml.bias import biased
from bumpfit.higgsml.columns import FEATURES, LUMINOSITY, PROCESS, WEIGHTS, checked, matrix, process_index
from bumpfit.higgsml.forest import Forest, signal_classifier
from bumpfit.higgsml.likelihood import Model, measure, sum_model
from bumpfit.higgsml.measurement import Measurement, failed
from bumpfit.higgsml.method import Method, State, check_luminosity
from bumpfit.higgsml.nuisances import NAMES, PRIORS
from bumpfit.higgsml.population import nuisance_points
from bumpfit.higgsml.split import parts
from bumpfit.higgsml.templates import SHIFT, Sample, yields
from bumpfit.progress import bar

Floats = NDArray[np.float64]
WIDER = 3.0
"""How much wider than the challenge's the published priors are."""
CHECKS = 16
"""Points of the nuisances at which templates are compared with their events."""
MOST = 10.0
"""The largest mu of the published fit."""


@dataclasses.dataclass
class Baseline(Method):
    """The starting kit.

    bins: equal bins of the score, before poor ones are merged. points: of each nuisance. degree: of the polynomials.
    trees, leaves, learning_rate: of the classifier. enough: simulated events of signal and of background that a bin
    needs. draws: of the soft noise in the templates. luminosity: of the data, fb-1. as_published: with the mistake, no
    bins merged, one draw.
    """

    kind = "baseline"
    bins: int = 25
    points: int = 15
    degree: int = 5
    trees: int = 100
    leaves: int = 31
    learning_rate: float = 0.1
    enough: int = 20
    draws: int = 4
    luminosity: float = LUMINOSITY
    as_published: bool = False

    def __post_init__(self) -> None:
        if min(self.bins, self.trees, self.degree, self.draws) < 1 or self.leaves < 2 or self.points <= self.degree:
            raise InputError("bins, trees, degree and draws must be 1 or more, leaves 2, and points more than degree")
        check_luminosity(self.luminosity)
        self.forest: Forest | None = None
        self.edges: Floats = np.empty(0)
        self.nominal: Floats = np.empty((0, 2))
        self.effects: Floats = np.empty((0, 2, len(NAMES), 0))
        self.model: Model | None = None
        """The likelihood; None before `fit`, and as published (that interval is not calibrated)."""
        self.report: dict[str, Any] = {}

    def fit(self, train: pd.DataFrame, seed: int = 0) -> Self:
        """Train on half of the generated events, make templates of the others."""
        begin = time.perf_counter()
        learn, templates = parts(checked(train, weights=True, processes=True))
        self.forest = self._classifier(learn, seed)
        sample = Sample.of(templates, 1 if self.as_published else self.draws, seed, self.luminosity)
        self.edges = np.linspace(0.0, 1.0, self.bins + 1)[1:-1] if self.as_published else self._edges(sample)
        self.nominal = _two(self._yields(sample, 0.0, 0.0, 0.0))
        self.effects = self._effects(sample)
        self.model = None if self.as_published else sum_model(self.nominal, self.effects)
        shift, k = self._quality(sample, seed)
        self.report = {
            "learners": len(learn), "templates": len(templates), "bins": len(self.nominal),
            "luminosity": self.luminosity, "response_shift": shift, "simulated_per_expected": k,
            "seconds": time.perf_counter() - begin,
        }  # fmt: skip
        return self

    def _classifier(self, table: pd.DataFrame, seed: int) -> Forest:
        found = biased(matrix(table))
        return signal_classifier(
            found.features.T, process_index(table[PROCESS])[found.rows] == 0,
            table[WEIGHTS].to_numpy(np.float64)[found.rows], 2 * self.leaves, max_iter=self.trees,
            max_leaf_nodes=self.leaves, learning_rate=self.learning_rate, random_state=seed,
        )  # fmt: skip

    def score(self, features: NDArray[np.float32]) -> Floats:
        """The classifier's probability of signal for events (28, N)."""
        if self.forest is None:
            raise InputError("this method is not fitted")
        return np.asarray(1.0 / (1.0 + np.exp(-self.forest.raw(features.T))))

    def _edges(self, sample: Sample) -> Floats:
        """Inner edges: equal bins, from the signal-like end down, each with enough simulated events."""
        found = biased(sample.primary)
        place = np.minimum((self.score(found.features) * self.bins).astype(np.int64), self.bins - 1)
        signal = sample.process[found.rows] == 0
        counts = np.stack([np.bincount(place[chosen], minlength=self.bins) for chosen in (signal, ~signal)])
        kept, held = [], np.zeros(2)
        for b in range(self.bins - 1, 0, -1):
            held += counts[:, b]
            if (held >= self.enough).all():
                kept.append(b / self.bins)
                held[:] = 0.0
        if kept and not (held + counts[:, 0] >= self.enough).all():
            kept.pop()
        return np.array(kept[::-1])

    def _yields(self, sample: Sample, t: float, j: float, soft_met: float) -> Floats:
        """Expected events (bins, processes) at a point."""
        return np.asarray(yields(sample, self.summaries, len(self.edges) + 1, (t, j, soft_met))[0].sum(axis=0))

    def _effects(self, sample: Sample) -> Floats:
        """Coefficients of theta, theta^2, ... (of soft_met itself, in GeV) of each nuisance's effect on the nominal
        yields, shape (bins, 2, nuisances, degree).
        """
        nominal = self._yields(sample, 0.0, 0.0, 0.0)
        result = np.zeros((len(nominal), 2, len(NAMES), self.degree))
        with bar("templates", 3 * self.points) as advance:
            for place, name in enumerate(NAMES[:3]):
                prior = PRIORS[name]
                ends = (prior.low, prior.high) if prior.lognormal else (prior.standard(prior.low),
                                                                        prior.standard(prior.high))  # fmt: skip
                at = np.linspace(*ends, self.points)
                values = []
                for x in at:
                    values.append(_two(self._yields(sample, *(x if k == place else 0.0 for k in range(3)))))
                    advance()
                result[:, :, place] = self._polynomial(at, np.array(values) - _two(nominal))
        sigma = [PRIORS[name].sigma for name in NAMES]
        result[:, 1, 3, 0] = sigma[3] * nominal[:, 2]  # scales of yields: exact
        result[:, 1, 4, 0] = sigma[4] * nominal[:, 3]
        result[:, 1, 5, 0] = sigma[5] * nominal[:, 1:].sum(axis=1)
        return result / (len(NAMES) if self.as_published else 1)

    def _polynomial(self, at: Floats, rise: Floats) -> Floats:
        """Least squares of rise (points, bins, 2) on at, at^2, ...: (bins, 2, degree); no effect at 0."""
        unit = np.abs(at).max()
        powers = np.arange(1, self.degree + 1)
        terms = (at[:, None] / unit) ** powers
        found = np.linalg.lstsq(terms, rise.reshape(len(at), -1), rcond=None)[0]
        return np.asarray((found / unit ** powers[:, None]).T.reshape(*rise.shape[1:], self.degree))

    def _quality(self, sample: Sample, seed: int) -> tuple[float, float]:
        """By how much imperfect templates shift mu_hat, in its error (root mean square over the nuisances' prior), and
        simulated events for an expected one where the information on mu is.
        """
        model = sum_model(self.nominal, self.effects)
        rates, slopes = (a[0] for a in model.expected(1.0))
        weighted = slopes / np.maximum(rates, 1e-10)[:, None]
        covariance = np.linalg.pinv(weighted.T @ slopes + np.diag([0.0, *np.ones(len(NAMES))]), hermitian=True)
        shifts = []
        for values in nuisance_points(CHECKS, seed, NAMES[:3]):
            t, j = (PRIORS[name].standard(getattr(values, name)) for name in NAMES[:2])
            theta = np.array([t, j, math.log(max(values.soft_met, 1e-9)), 0.0, 0.0, 0.0])
            missed = self._yields(sample, t, j, values.soft_met).sum(axis=1) - model.expected(1.0, theta)[0][0]
            shifts.append(float((missed @ weighted @ covariance)[0] / np.sqrt(covariance[0, 0])))
        squares = yields(sample, self.summaries, len(rates), (0.0, 0.0, 0.0))[1].sum(axis=1)
        nominal = self.nominal.sum(axis=1)
        k = np.maximum(nominal / np.maximum(squares, 1e-30), 1e-12)
        information = weighted[:, 0] * slopes[:, 0]
        return float(np.sqrt(np.mean(np.square(shifts)))), float(information.sum() / (information / k).sum())

    @property
    def simulation(self) -> dict[str, Any]:
        """Whether the templates follow their events, and the numbers."""
        if self.as_published or not self.report:
            return {}
        names = ("luminosity", "simulated_per_expected", "response_shift")
        enough = bool(self.report["response_shift"] <= SHIFT)
        return {"mode": self.mode, **{name: self.report[name] for name in names}, "simulation_large_enough": enough}

    def summaries(self, features: NDArray[np.float32]) -> NDArray[np.int64]:
        """The bin of each event (28, N), shape (N,)."""
        return np.searchsorted(self.edges, self.score(features), side="right")

    def measure_summaries(self, summaries: NDArray[Any], times: NDArray[np.integer]) -> Measurement:
        """The measurement of events of which each appears `times` (N,)."""
        counts = np.bincount(summaries, times, len(self.nominal)).astype(np.float64)
        found = self._published(counts) if self.model is None else measure(self.model, counts)
        return dataclasses.replace(found, diagnostics={**found.diagnostics, **self.simulation})

    def _published(self, counts: Floats) -> Measurement:
        """The published fit: priors in every bin, Minuit's error as the interval, no profile."""
        from iminuit import Minuit

        model = sum_model(self.nominal, self.effects)
        priors = [PRIORS[name] for name in NAMES]
        sigma = np.array([WIDER * prior.sigma for prior in priors])
        off = np.array([prior.off for prior in priors])

        def cost(x: Floats) -> float:
            theta = [(v - 1.0) / p.sigma if not p.lognormal else math.log(max(v, 1e-9))
                     for v, p in zip(x[1:], priors, strict=True)]  # fmt: skip
            r = np.maximum(model.expected(x[0], theta)[0][0], 1e-10)
            prior = float(np.sum((x[1:] - off) ** 2 / (2.0 * sigma**2)))
            return float(np.sum(r - counts * np.log(r)) + len(counts) * prior)

        minuit = Minuit(cost, np.array([1.0, *off]), name=("mu", *NAMES))
        minuit.errordef = Minuit.LIKELIHOOD
        minuit.limits["mu"] = (0.0, MOST)
        for prior, width in zip(priors, sigma, strict=True):
            minuit.limits[prior.name] = (prior.low, prior.high)
            minuit.errors[prior.name] = 0.1 * width
        minuit.migrad()
        if not minuit.valid:
            return failed("Minuit did not converge")
        mu, error = float(minuit.values["mu"]), float(minuit.errors["mu"])
        nuisances = {p.name: (float(minuit.values[p.name] - p.off) / p.sigma, float(minuit.errors[p.name]) / p.sigma)
                     for p in priors}  # fmt: skip
        ends = (mu - error, mu + error)
        return Measurement(mu, *ends, "Minuit's error, as published", nuisances, None, True, False, 0.0, (ends,))

    def state(self) -> State:
        """Trees, edges, yields and effects."""
        if self.forest is None:
            raise InputError("this method is not fitted")
        own = {"edges": self.edges, "nominal": self.nominal, "effects": self.effects}
        return State(self.report, {**self.forest.arrays("classifier"), **own})

    def restore(self, state: State) -> None:
        """Take over a state."""
        arrays = state.arrays
        self.forest = Forest.from_arrays(arrays, "classifier", len(FEATURES))
        self.edges, self.nominal, self.effects = (
            np.asarray(arrays[name], dtype=np.float64) for name in ("edges", "nominal", "effects")
        )
        likelihood = sum_model(self.nominal, self.effects)
        self.model = None if self.as_published else likelihood
        if len(self.nominal) != len(self.edges) + 1 or (np.diff(self.edges) <= 0).any():
            raise ValueError("its templates do not fit its bins")
        self.report = dict(state.description)
        float(self.report["response_shift"]), float(self.report["simulated_per_expected"])


def _two(yields: Floats) -> Floats:
    """Signal and background, shape (bins, 2), of yields by process."""
    return np.stack([yields[:, 0], yields[:, 1:].sum(axis=1)], axis=1)
