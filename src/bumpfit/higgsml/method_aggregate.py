"""`aggregate` (HZUME): every event gets a score, every experiment some numbers, and trees tell mu from those.

Theirs: a tree classifier's score of each event; of an experiment the mean, variance, skewness, kurtosis and quantiles
of the score; trees that predict the nuisances from means and variances of the features; a classifier of five bins of mu
where it says that mu is near an end of the range, quantile regression elsewhere. `as_published` has it so: it knows
that mu is in [0.1, 3]. (The number of trees, the quantiles and the bins were not published in detail; these are ours.)

Ours: the same numbers and trees, trained on mu from 0 to 4.5, but the median regression is only an estimator: its law
at each mu is measured in other pseudo-experiments (see `belt`) and inverted, and the interval is calibrated.

Pseudo-experiments are drawn from the templates' events, the classifier is trained on the others.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml.belt import Belt
from bumpfit.higgsml.bias import biased
from bumpfit.higgsml.columns import FEATURES, LUMINOSITY, PROCESS, WEIGHTS, checked, matrix, process_index
from bumpfit.higgsml.forest import Forest, boosted, signal_classifier
from bumpfit.higgsml.interval import STRENGTHS
from bumpfit.higgsml.measurement import Measurement, failed
from bumpfit.higgsml.method import Method, State, check_luminosity
from bumpfit.higgsml.population import Population, nuisance_points
from bumpfit.higgsml.pseudo import MU_RANGE
from bumpfit.higgsml.split import parts
from bumpfit.higgsml.summary import FEW, INPUTS, inputs
from bumpfit.progress import bar

Floats = NDArray[np.float64]
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.997, 0.999)
"""Of the score in an experiment."""
PREDICTED = ("tes", "jes", "soft_met")
"""Nuisances that trees predict; the others change yields only."""
ENDS = (0.16, 0.5, 0.84)
"""Quantiles of mu that are regressed."""
BINS = 5
"""Bins of mu in the range of the challenge that a classifier tells apart."""
SHAPE = 2 + 4 + len(QUANTILES)
"""Numbers of an experiment from the score: events, those of log-odds above `LIKELY`, four moments, quantiles."""
LIKELY = 2.0
LEARNING_RATE = 0.06


@dataclasses.dataclass
class Aggregate(Method):
    """Trees on numbers of whole experiments.

    points: of the nuisances. experiments: pseudo-experiments at each point. trees, leaves: of the events' classifier.
    steps: trees of each regression. luminosity: of the data, fb-1. as_published: intervals by the trees, with the range
    of the challenge.
    """

    kind = "aggregate"
    points: int = 150
    experiments: int = 10
    trees: int = 100
    leaves: int = 16
    steps: int = 150
    luminosity: float = LUMINOSITY
    as_published: bool = False

    def __post_init__(self) -> None:
        if min(self.experiments, self.trees, self.steps) < 1 or self.leaves < 2 or self.points < 9:
            raise InputError("experiments, trees and steps must be 1 or more, leaves 2 or more, points 9 or more")
        check_luminosity(self.luminosity)
        self.uses_range = self.as_published
        self.classifier: Forest | None = None
        self.forests: dict[str, Forest] = {}
        self.belt: Belt | None = None
        self.report: dict[str, Any] = {}

    def fit(self, train: pd.DataFrame, seed: int = 0) -> Self:
        """Train the classifier on half of the generated events, and the regressions on experiments of the others."""
        begin = time.perf_counter()
        learn, templates = parts(checked(train, weights=True, processes=True))
        self.classifier = self._classifier(learn, seed)
        numbers, mu, nuisances, place = self._experiments(Population.of(templates, self.luminosity), seed)
        # thirds of the points: trees of the nuisances, trees of mu, law of the estimator
        for k, name in enumerate(PREDICTED):
            self.forests[name] = self._regression(numbers[place == 0, SHAPE:], nuisances[place == 0, k], None, seed)
        x = self._with_nuisances(numbers)
        for quantile in ENDS:
            self.forests[f"mu{quantile}"] = self._regression(x[place == 1], mu[place == 1], quantile, seed)
        if self.as_published:
            self._train_bins(x[place == 1], mu[place == 1], seed)
        else:
            self.belt = Belt.of(mu[place == 2], self.forests["mu0.5"].raw(x[place == 2]))
        self.report = {
            "learners": len(learn), "templates": len(templates), "pseudo_experiments": len(mu),
            "seconds": time.perf_counter() - begin,
        }  # fmt: skip
        return self

    def _classifier(self, table: pd.DataFrame, seed: int) -> Forest:
        found = biased(matrix(table))
        return signal_classifier(
            inputs(found.features), process_index(table[PROCESS])[found.rows] == 0,
            table[WEIGHTS].to_numpy(np.float64)[found.rows], FEW, max_iter=self.trees, max_leaf_nodes=self.leaves,
            learning_rate=LEARNING_RATE, random_state=seed,
        )  # fmt: skip

    def _experiments(self, population: Population, seed: int) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
        """Numbers, mu, nuisances and third of pseudo-experiments."""
        rng = np.random.default_rng([seed, 41])
        low, high = MU_RANGE if self.as_published else (STRENGTHS[0], STRENGTHS[-1])
        numbers, mus, nuisances, thirds = [], [], [], []
        with bar("points of the nuisances", self.points) as advance:
            for k, values in enumerate(nuisance_points(self.points, seed)):
                point = population.at(values, [seed, 43, k])
                events = _Events(self.summaries(point.features))
                for mu in rng.uniform(low, high, self.experiments):
                    numbers.append(events.numbers(point.times(float(mu), rng)))
                    mus.append(mu)
                    nuisances.append([getattr(values, name) for name in PREDICTED])
                    thirds.append(k % 3)
                advance()
        return np.array(numbers), np.array(mus), np.array(nuisances), np.array(thirds)

    def _regression(self, x: Floats, y: Floats, quantile: float | None, seed: int) -> Forest:
        if quantile is None:
            return Forest.of(boosted("mean", x, y, **self._steps(self.steps, seed)))
        return Forest.of(boosted("quantile", x, y, quantile=quantile, **self._steps(self.steps, seed)))

    @staticmethod
    def _steps(trees: int, seed: int) -> dict[str, Any]:
        return {"max_iter": trees, "max_leaf_nodes": 8, "learning_rate": LEARNING_RATE, "random_state": seed}

    def _train_bins(self, x: Floats, mu: Floats, seed: int) -> None:
        place = np.minimum(((mu - MU_RANGE[0]) / (MU_RANGE[1] - MU_RANGE[0]) * BINS).astype(np.int64), BINS - 1)
        if len(np.unique(place)) < BINS:
            raise InputError("there are too few pseudo-experiments to train a classifier of mu: take more")
        model = boosted("classifier", x, place, **self._steps(self.steps // BINS + 1, seed))
        self.forests |= {f"bin{k}": Forest.of(model, k) for k in range(BINS)}

    def _with_nuisances(self, numbers: Floats) -> Floats:
        """What the trees of mu see: the score's numbers and the nuisances that trees predict from the rest."""
        found = [self.forests[name].raw(numbers[:, SHAPE:]) for name in PREDICTED]
        return np.column_stack([numbers[:, :SHAPE], *found])

    def summaries(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score and features of events (28, N), one row an event."""
        if self.classifier is None:
            raise InputError("this method is not fitted")
        score = self.classifier.raw(inputs(features)).astype(np.float32)
        return np.column_stack([score, features.T])

    def measure_summaries(self, summaries: NDArray[Any], times: NDArray[np.integer]) -> Measurement:
        """The measurement of events of which each appears `times` (N,)."""
        begin = time.perf_counter()
        if int(times.sum()) < 2:
            return failed("there are fewer than two events")
        x = self._with_nuisances(_Events(summaries).numbers(times)[None])
        if self.belt is not None:
            found = self.belt.measurement(float(self.forests["mu0.5"].raw(x)[0]))
        else:
            found = self._published(x)
        return dataclasses.replace(found, seconds=time.perf_counter() - begin)

    def _published(self, x: Floats) -> Measurement:
        """By the classifier near the ends of the range, by the regressions elsewhere."""
        raw = np.array([self.forests[f"bin{k}"].raw(x)[0] for k in range(BINS)])
        share = np.exp(raw - raw.max())
        share /= share.sum()
        if share.argmax() in (0, BINS - 1):
            edges = np.linspace(*MU_RANGE, BINS + 1)
            low, middle, high = np.interp(ENDS, np.concatenate([[0.0], np.cumsum(share)]), edges)
        else:
            low, middle, high = np.sort([self.forests[f"mu{quantile}"].raw(x)[0] for quantile in ENDS])
        ends = (float(low), float(high))
        bound = ends[0] <= MU_RANGE[0] or ends[1] >= MU_RANGE[1]
        return Measurement(
            float(middle), *ends, "quantiles by trees, as published", {}, None, True, bound, 0.0, (ends,)
        )

    def state(self) -> State:
        """Trees and the belt."""
        if self.classifier is None:
            raise InputError("this method is not fitted")
        arrays = self.classifier.arrays("classifier")
        for name, forest in self.forests.items():
            arrays |= forest.arrays(name)
        if self.belt is not None:
            arrays |= self.belt.arrays()
        return State(self.report, arrays)

    def restore(self, state: State) -> None:
        """Take over a state."""
        a = state.arrays
        self.classifier = Forest.from_arrays(a, "classifier", INPUTS)
        self.forests = {name: Forest.from_arrays(a, name, 2 * len(FEATURES)) for name in PREDICTED}
        rest = [f"mu{quantile}" for quantile in ENDS] + [f"bin{k}" for k in range(BINS if self.as_published else 0)]
        self.forests |= {name: Forest.from_arrays(a, name, SHAPE + len(PREDICTED)) for name in rest}
        self.belt = None if self.as_published else Belt.from_arrays(a)
        self.report = dict(state.description)


class _Events:
    """Summaries of events (N, 29), of which experiments take each some times."""

    def __init__(self, summaries: NDArray[np.float32]) -> None:
        self.score = summaries[:, 0].astype(np.float64)
        self.order = np.argsort(self.score, kind="stable")
        self.features = summaries[:, 1:].astype(np.float64)
        self.squares = np.square(self.features)

    def numbers(self, times: NDArray[np.integer]) -> Floats:
        """Numbers of an experiment: of the score, then means and variances of the features."""
        n = times.astype(np.float64)
        total = n.sum()
        s = self.score
        mean = float(n @ s / total)
        d = s - mean
        d2 = d * d
        moments = [float(n @ power / total) for power in (d2, d2 * d, d2 * d2)]
        deviation = max(moments[0], 1e-12) ** 0.5
        held = np.cumsum(n[self.order])
        quantiles = s[self.order[np.searchsorted(held, np.array(QUANTILES) * total)]]
        above = float(n[s > LIKELY].sum())
        means = n @ self.features / total
        variances = n @ self.squares / total - np.square(means)
        score = [total, above, mean, moments[0], moments[1] / deviation**3, moments[2] / deviation**4, *quantiles]
        return np.concatenate([score, means, variances])
