"""The events that an unbinned measurement counts: in bins of a score, placed by information; or HEPHY's three regions.

Most events are where little of the signal is, too many to be measured one by one. A single count of them says nothing
on mu once the energy scales are profiled; the few signal-like ones among them hold a third of the information.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.higgsml.bias import biased
from bumpfit.higgsml.binning import ENOUGH, FINE, Bins, fine_bins, merged
from bumpfit.higgsml.likelihood import response_model
from bumpfit.higgsml.network import Network, inputs
from bumpfit.higgsml.regions import COUNTED, UNBINNED, group
from bumpfit.higgsml.summary import STAGES, Summary, train_on
from bumpfit.higgsml.templates import Sample, Templates, covariance_of, measure_templates, response_shift, responses

Floats = NDArray[np.float64]
GROUPS = ("low_mt_soft", "high_mt")
"""Counted groups of events: at high transverse mass the two counted regions are one."""
WORTH = 1.04
"""Times the least variance of mu for which fewer bins are taken: 2 % of its error."""


class Counted(Protocol):
    """Which of `count` counts an event belongs to, and the arrays of a file."""

    @property
    def count(self) -> int:
        """Number of counts."""

    def __call__(self, features: NDArray[np.float32], groups: NDArray[np.int64], /) -> NDArray[np.int64]:
        """The count of each event (28, N) of these `GROUPS`, (N,)."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of a file."""


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """HEPHY's three regions: high transverse mass is split by the posteriors of diboson and ttbar."""

    posterior: Network

    @property
    def count(self) -> int:
        """The three regions."""
        return len(COUNTED)

    def __call__(self, features: NDArray[np.float32], groups: NDArray[np.int64]) -> NDArray[np.int64]:
        """The region of each event."""
        place = groups.copy()
        high = np.flatnonzero(groups == 1)
        logits = self.posterior(inputs(features[:, high]))
        place[high[logits[:, 2] > logits[:, 3]]] += 1
        return place

    def arrays(self) -> dict[str, NDArray[Any]]:
        """None of its own."""
        return {}


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """Bins of a score of trees in both groups."""

    score: Summary
    bins: Bins

    @property
    def count(self) -> int:
        """Bins of both groups."""
        return self.bins.count

    def __call__(self, features: NDArray[np.float32], groups: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bin of each event."""
        return self.bins(self.score(features), groups)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Trees and edges."""
        return {**self.score.arrays(), **self.bins.arrays()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Scored:
        """Back from `arrays`; raises ValueError when they do not fit together."""
        bins = Bins.from_arrays(arrays["edges"], arrays["edge_counts"], len(GROUPS))
        return cls(Summary.from_arrays(arrays), bins)


def places(counted: Counted) -> Callable[[NDArray[np.float32]], NDArray[np.int64]]:
    """The place of every event (28, N): the unbinned regions in their order, then the counts."""

    def place(features: NDArray[np.float32]) -> NDArray[np.int64]:
        result = group(features)
        rest = np.flatnonzero(result >= len(UNBINNED))
        result[rest] = len(UNBINNED) + counted(features[:, rest], result[rest] - len(UNBINNED))
        return result

    return place


def counts(sample: Sample, counted: Counted) -> Templates:
    """The templates of the counts."""
    found = measure_templates(sample, places(counted), len(UNBINNED) + counted.count)
    assert found.grouped is not None
    return Templates(
        found.at, found.values[:, len(UNBINNED) :], found.effective[len(UNBINNED) :],
        found.grouped[:, :, len(UNBINNED) :],
    )  # fmt: skip


def scored(
    learn: pd.DataFrame, sample: Sample, most: int, seed: int, others: Floats
) -> tuple[Scored, Templates, float]:
    """Bins of the counted events, at most so many.

    Where simulated events are few, many bins know more on mu than they can keep: the smooth responses do not follow
    single events that cross an edge. `most` bins, a half, a quarter, ... are tried, and the fewest taken for which the
    variance of mu, that of the imperfect responses included, is within `WORTH` of the least.

    Args:
        learn: the learners' events, which train the score.
        sample: the templates' events, which place the bins where little information on mu is lost.
        most: bins.
        seed: of the trees.
        others: information on mu and the nuisances of the events that are not counted, (7, 7).

    Returns:
        The bins, their templates, and the share of the information of fine bins that they keep.

    Raises:
        InputError: too few events.
    """
    score = train_on(learn, STAGES, seed, lambda features: group(features) >= len(UNBINNED))
    found = biased(sample.primary)
    here = group(found.features) - len(UNBINNED)
    mine = here >= 0
    rows = found.rows[mine]
    signal, weights = sample.process[rows] == 0, sample.weights[rows]
    fine = fine_bins(score(found.features[:, mine]), here[mine], signal, weights, FINE, ENOUGH, GROUPS)
    templates = counts(sample, Scored(score, fine))
    rates, slopes = response_model(templates.values[0], responses(templates)[0]).expected(1.0)
    tried, number = [], most
    while number >= len(GROUPS):
        bins, place, kept = merged(fine, rates[0], slopes[0], number)
        one = templates.merged(place, bins.count)
        tried.append((variance(one, others), Scored(score, bins), one, kept))
        number //= 2
    least = min(each[0] for each in tried)
    _, bins_of, chosen, kept = [each for each in tried if each[0] <= WORTH * least][-1]
    return bins_of, chosen, kept


def variance(templates: Templates, others: Floats) -> float:
    """Variance of mu by the counts and other information, with what imperfect responses of the counts add."""
    response = responses(templates)[0]
    rates, slopes = response_model(templates.values[0], response).expected(1.0)
    shift = response_shift(templates, response, slopes[0], rates[0], others)
    return float(covariance_of(slopes[0], rates[0], others)[0, 0]) * (1.0 + shift**2)
