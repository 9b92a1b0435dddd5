"""`binned`: a two-stage classifier, bins placed by information, exact templates, and the profile likelihood.

The learners' events train the summary; the templates' events (others, see `split`) give fine bins, which are merged as
long as little information on mu is lost, and their yields at the points of the nuisances. Data are counted in the bins.
"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml.bias import biased
from bumpfit.higgsml.binning import Bins, fine_bins, merged, region
from bumpfit.higgsml.columns import FEATURES, PROCESS, PROCESSES, WEIGHTS, checked, matrix, process_index
from bumpfit.higgsml.likelihood import Model, measure, response_model
from bumpfit.higgsml.measurement import Measurement
from bumpfit.higgsml.method import Method, State
from bumpfit.higgsml.split import parts
from bumpfit.higgsml.summary import Summary
from bumpfit.higgsml.summary import train as train_summary
from bumpfit.higgsml.templates import Sample, measure_templates, responses

Floats = NDArray[np.float64]


@dataclasses.dataclass
class Binned(Method):
    """The binned profile likelihood.

    bins: most bins of the likelihood. fine: fine bins of a region before they are merged. enough: effective simulated
    background events, and signal events, that a fine bin needs. loose: share of the background that the second stage
    sees. trees, leaves, learning_rate: of both stages. draws: of the soft noise in the templates.
    """

    kind = "binned"
    bins: int = 60
    fine: int = 40
    enough: float = 20.0
    loose: float = 0.03
    trees: int = 150
    leaves: int = 16
    learning_rate: float = 0.06
    draws: int = 8

    def __post_init__(self) -> None:
        if min(self.bins, self.fine, self.trees, self.leaves, self.draws) < 1 or not 0 < self.loose < 1:
            raise InputError("bins, fine, trees, leaves and draws must be 1 or more, and loose between 0 and 1")
        self.summary: Summary | None = None
        self.binning: Bins | None = None
        self.model: Model | None = None
        self.report: dict[str, Any] = {}

    def fit(self, train: pd.DataFrame, seed: int = 0) -> Self:
        """Train on half of the generated events, make templates of the others."""
        begin = time.perf_counter()
        learn, templates = parts(checked(train, weights=True, processes=True))
        self.summary = self._learn(learn, seed)
        sample = Sample.of(templates, self.draws, seed)
        fine = self._fine(sample)
        score = self.summary
        found = measure_templates(sample, lambda x: fine(score(x), region(x)), fine.count)
        response, _ = responses(found)
        rates, slopes = response_model(found.values[0], response).expected(1.0)
        self.binning, place, kept = merged(fine, rates[0], slopes[0], self.bins)
        found = found.merged(place, self.binning.count)
        response, worst = responses(found)
        self.model = response_model(found.values[0], response)
        self.report = {
            "learners": len(learn),
            "templates": len(templates),
            "effective_events": _effective(sample),
            "fine_bins": fine.count,
            "bins": self.binning.count,
            "information_kept": kept,
            "largest_response_deviation": worst,
            "seconds": time.perf_counter() - begin,
        }
        return self

    def _learn(self, table: pd.DataFrame, seed: int) -> Summary:
        found = biased(matrix(table))
        process = process_index(table[PROCESS])[found.rows]
        weights = table[WEIGHTS].to_numpy(np.float64)[found.rows]
        return train_summary(
            found.features, process == 0, weights, loose=self.loose, trees=self.trees, leaves=self.leaves,
            learning_rate=self.learning_rate, seed=seed,
        )  # fmt: skip

    def _fine(self, sample: Sample) -> Bins:
        assert self.summary is not None
        found = biased(sample.primary)
        signal, weights = sample.process[found.rows] == 0, sample.weights[found.rows]
        return fine_bins(self.summary(found.features), region(found.features), signal, weights, self.fine, self.enough)

    def counts(self, events: pd.DataFrame) -> Floats:
        """Events in the bins."""
        if self.summary is None or self.binning is None:
            raise InputError("this method is not fitted")
        x = matrix(events, FEATURES)
        place = self.binning(self.summary(x), region(x))
        return np.bincount(place, minlength=self.binning.count).astype(np.float64)

    def measure(self, events: pd.DataFrame) -> Measurement:
        """Count and fit."""
        begin = time.perf_counter()
        counts = self.counts(events)
        assert self.model is not None
        found = measure(self.model, counts)
        deviation = float(self.report["largest_response_deviation"])
        # not in `valid`: the fit is one, but the templates are not those of the events
        enough = {"largest_response_deviation": deviation, "simulation_large_enough": deviation <= 1.0}
        diagnostics = {**found.diagnostics, **enough}
        return dataclasses.replace(found, diagnostics=diagnostics, seconds=time.perf_counter() - begin)

    def state(self) -> State:
        """Trees, edges, yields and responses."""
        if self.summary is None or self.binning is None or self.model is None:
            raise InputError("this method is not fitted")
        model = {"yields": self.model.arrays.yields, "response": self.model.arrays.response}
        return State(self.report, {**self.summary.arrays(), **self.binning.arrays(), **model})

    def restore(self, state: State) -> None:
        """Take over a state."""
        arrays = state.arrays
        self.summary = Summary.from_arrays(arrays)
        self.binning = Bins.from_arrays(arrays["edges"], arrays["edge_counts"])
        self.model = response_model(arrays["yields"], arrays["response"])
        if self.model.bins != self.binning.count:
            raise ValueError("its templates do not fit its bins")
        self.report = dict(state.description)


def _effective(sample: Sample) -> dict[str, float]:
    """Effective simulated events of each process."""
    result = {}
    for place, name in enumerate(PROCESSES):
        w = sample.weights[sample.process == place]
        result[name] = float(w.sum() ** 2 / (w**2).sum()) if len(w) else 0.0
    return result
