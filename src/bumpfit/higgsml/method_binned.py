"""`binned`: a two-stage classifier, bins placed by information, exact templates, and the profile likelihood.

The learners' events train the summary; the templates' events (others, see `split`) give fine bins, which are merged as
long as little information on mu is lost, and their yields at the points of the nuisances. Data are counted in the bins.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml.bias import biased
from bumpfit.higgsml.binning import ENOUGH, FINE, Bins, fine_bins, merged, region
from bumpfit.higgsml.columns import LUMINOSITY, PROCESSES, checked
from bumpfit.higgsml.likelihood import Model, measure, response_model
from bumpfit.higgsml.measurement import Measurement
from bumpfit.higgsml.method import Method, State
from bumpfit.higgsml.split import parts
from bumpfit.higgsml.summary import STAGES, EventScore, Stages, Summary, train_on
from bumpfit.higgsml.templates import SHIFT, Sample, Templates, measure_templates, response_shift, responses

Floats = NDArray[np.float64]


MODES = ("closure", "independent")
KEPT = 0.9
"""The bins that hold this share of the information on mu decide whether the simulation is large enough."""
WANTED = 20.0
"""Simulated events for an expected one that an independent measurement needs there: a shift of 0.22 sigma."""


@dataclasses.dataclass
class Binned(Method):
    """The binned profile likelihood.

    bins: most bins of the likelihood. fine: fine bins of a region before they are merged. enough: effective simulated
    background events, and signal events, that a fine bin needs. loose: share of the background that the second stage
    sees, see `Stages`. first_trees: of the first stage. trees, learning_rate: of the second. leaves: of all trees.
    draws: of the soft noise in the templates. luminosity: of the data, fb-1; 0: as high as `WANTED` allows, at most
    that of the weights (`fit` puts the number in its place). mode: `independent` has the error of the simulation in the
    likelihood, `closure` has not.
    """

    kind = "binned"
    bins: int = 60
    fine: int = FINE
    enough: float = ENOUGH
    loose: float = STAGES.loose
    first_trees: int = STAGES.first_trees
    trees: int = STAGES.trees
    leaves: int = STAGES.leaves
    learning_rate: float = STAGES.learning_rate
    draws: int = 8
    luminosity: float = LUMINOSITY
    mode: str = "closure"

    def __post_init__(self) -> None:
        whole = (self.bins, self.fine, self.first_trees, self.trees, self.leaves, self.draws)
        if min(whole) < 1 or not 0 < self.loose < 1:
            raise InputError(
                "bins, fine, first_trees, trees, leaves and draws must be 1 or more, and loose between 0 and 1"
            )
        if self.mode not in MODES:
            raise InputError(f"there is no mode '{self.mode}'; expected closure or independent")
        if not (math.isfinite(self.luminosity) and self.luminosity >= 0.0):
            raise InputError(f"the luminosity is {self.luminosity:g} fb-1; expected a number of 0 or more")
        self.summary: EventScore | None = None
        self.binning: Bins | None = None
        self.model: Model | None = None
        self.report: dict[str, Any] = {}

    def fit(self, train: pd.DataFrame, seed: int = 0) -> Self:
        """Train on half of the generated events, make templates of the others."""
        begin = time.perf_counter()
        learn, rest = parts(checked(train, weights=True, processes=True))
        self.summary = self._learn(learn, seed)
        sample = Sample.of(rest, self.draws, seed)
        fine = self._fine(sample)
        score = self.summary
        found = measure_templates(sample, lambda x: fine(score(x), region(x)), fine.count)
        if self.luminosity == 0.0:
            k = _simulated(found, self._model(found, responses(found)[0]))[0]
            self.luminosity = float(np.clip(LUMINOSITY * k / WANTED, 1e-3, LUMINOSITY))
        found = found.scaled(self.luminosity / LUMINOSITY)
        self.binning, place, kept = self._bins(fine, found)
        found = found.merged(place, self.binning.count)
        response, worst = responses(found)
        self.model = self._model(found, response)
        rates, slopes = self.model.expected(1.0)
        shift = response_shift(found, response, slopes[0], rates[0] + _error(self.model, rates[0]))
        k, least = _simulated(found, self.model)
        self.report = {
            "mode": self.mode,
            "luminosity": self.luminosity,
            "learners": len(learn),
            "templates": len(rest),
            "effective_events": _effective(sample),
            "simulated_per_expected": k,
            "least_simulated_per_expected": least,
            "fine_bins": fine.count,
            "bins": self.binning.count,
            "information_kept": kept,
            "largest_response_deviation": worst,
            "response_shift": shift,
            "seconds": time.perf_counter() - begin,
        }
        return self

    def _model(self, found: Templates, response: Floats) -> Model:
        simulated = found.simulated() if self.mode == "independent" else None
        return response_model(found.values[0], response, simulated=simulated)

    def _bins(self, fine: Bins, found: Templates) -> tuple[Bins, NDArray[np.int64], float]:
        """The bins that are left of fine ones, the places of those in them, and the information that they keep."""
        model = self._model(found, responses(found)[0])
        rates, slopes = model.expected(1.0)
        return merged(fine, rates[0], slopes[0], self.bins, _error(model, rates[0]))

    def _summary_of(self, arrays: Mapping[str, NDArray[Any]]) -> EventScore:
        return Summary.from_arrays(arrays)

    def _learn(self, table: pd.DataFrame, seed: int) -> EventScore:
        how = Stages(self.loose, self.first_trees, self.trees, self.leaves, self.learning_rate)
        return train_on(table, how, seed)

    def _fine(self, sample: Sample) -> Bins:
        assert self.summary is not None
        found = biased(sample.primary)
        signal, weights = sample.process[found.rows] == 0, sample.weights[found.rows]
        return fine_bins(self.summary(found.features), region(found.features), signal, weights, self.fine, self.enough)

    def summaries(self, features: NDArray[np.float32]) -> NDArray[Any]:
        """The bin of each event, (N,)."""
        if self.summary is None or self.binning is None:
            raise InputError("this method is not fitted")
        return self.binning(self.summary(features), region(features))

    def measure_summaries(self, summaries: NDArray[Any], times: NDArray[np.integer]) -> Measurement:
        """Count and fit events that are binned already."""
        begin = time.perf_counter()
        if self.binning is None:
            raise InputError("this method is not fitted")
        return self._measure(np.bincount(summaries, times, self.binning.count).astype(np.float64), begin)

    def _measure(self, counts: Floats, begin: float) -> Measurement:
        assert self.model is not None
        found = measure(self.model, counts)
        # not in `valid`: the fit is one, but the templates are not those of the events
        diagnostics = {**found.diagnostics, **self.simulation}
        return dataclasses.replace(found, diagnostics=diagnostics, seconds=time.perf_counter() - begin)

    @property
    def expected_events(self) -> float | None:
        """Selected events that are expected at mu = 1 and the nominal nuisances."""
        return None if self.model is None else float(np.sum(self.model.expected(1.0)[0][0]))

    @property
    def simulation(self) -> dict[str, Any]:
        """Whether the simulation of the templates is large enough for what the mode promises, and the numbers."""
        names = ("mode", "luminosity", "simulated_per_expected", "largest_response_deviation", "response_shift")
        enough = self.report["response_shift"] <= SHIFT
        if self.mode == "independent":
            enough = enough and self.report["simulated_per_expected"] >= 0.99 * WANTED
        return {**{name: self.report[name] for name in names}, "simulation_large_enough": bool(enough)}

    def state(self) -> State:
        """Trees, edges, yields and responses."""
        if self.summary is None or self.binning is None or self.model is None:
            raise InputError("this method is not fitted")
        model = {"yields": self.model.arrays.yields, "response": self.model.arrays.response,
                 "simulated": self.model.simulated}  # fmt: skip
        return State(self.report, {**self.summary.arrays(), **self.binning.arrays(), **model})

    def restore(self, state: State) -> None:
        """Take over a state."""
        arrays = state.arrays
        self.summary = self._summary_of(arrays)
        self.binning = Bins.from_arrays(arrays["edges"], arrays["edge_counts"])
        self.model = response_model(arrays["yields"], arrays["response"], simulated=arrays["simulated"])
        if self.model.bins != self.binning.count:
            raise ValueError("its templates do not fit its bins")
        self.report = dict(state.description)
        float(self.report["response_shift"]), float(self.report["simulated_per_expected"])


def _effective(sample: Sample) -> dict[str, float]:
    """Effective simulated events of each process."""
    result = {}
    for place, name in enumerate(PROCESSES):
        w = sample.weights[sample.process == place]
        result[name] = float(w.sum() ** 2 / (w**2).sum()) if len(w) else 0.0
    return result


def _error(model: Model, rates: Floats) -> Floats:
    """Variance of the expectations by the simulation, where it is in the likelihood."""
    m = model.simulated
    return np.divide(rates**2, m, out=np.zeros_like(rates), where=m > 0)


def _simulated(found: Templates, model: Model) -> tuple[float, float]:
    """Simulated events for an expected one where the information on mu is, and the least of any bin there.

    The first is such that the error of the simulation shifts mu_hat by sigma / sqrt(k), nuisances known: the harmonic
    mean over the bins that hold `KEPT` of the information on mu = 1, weighted by it.
    """
    rates, slopes = model.expected(1.0)
    information = np.divide(slopes[0, :, 0] ** 2, rates[0], out=np.zeros_like(rates[0]), where=rates[0] > 0)
    order = np.argsort(-information)
    held = order[: int(np.searchsorted(np.cumsum(information[order]), KEPT * information.sum())) + 1]
    k = np.maximum(found.simulated()[held] / rates[0, held], 1e-12)
    return float(information[held].sum() / (information[held] / k).sum()), float(k.min())
