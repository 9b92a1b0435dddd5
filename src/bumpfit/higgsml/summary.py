"""One number an event that sorts signal from background, also at background efficiencies of a thousandth.

Half of the information on mu is in some hundred events of a million: a classifier trained on all events is good where
they are not. Two stages: trees on all events, then trees on those that survive a loose cut on the first. The summary is
the log-odds of the first stage below the cut, and beyond it those of the second, shifted to follow. The first stage
sees every event and has few trees, which learn faster; where the information is, the second one decides.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.compiled import njit
from bumpfit.higgsml import kernel
from bumpfit.higgsml.bias import biased
from bumpfit.higgsml.columns import PROCESS, WEIGHTS, matrix, process_index
from bumpfit.higgsml.forest import Forest, signal_classifier

Floats = NDArray[np.float64]
FASTEST = 0.3
"""Largest learning rate of the first stage."""
FEW = 200
"""Signal and background events that a stage needs to be trained."""


def inputs(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the trees see of events (28, N): (N, 24) float32, undefined quantities NaN.

    The rotation about the beam and the two reflections carry nothing: only angles between objects and |eta| remain.
    """
    x = np.ascontiguousarray(features, dtype=np.float32)
    result = np.empty((x.shape[1], INPUTS), dtype=np.float32)
    fill(x, result)
    return result


PLAIN = (kernel.LEP_PT, kernel.HAD_PT, kernel.J1_PT, kernel.J2_PT, kernel.N_JETS, kernel.ALL_PT, kernel.MET)
CAN_BE_UNDEFINED = (2, 3)
"""Places of `PLAIN` that an event may lack; derived quantities all may."""


@njit()
def fill(x, out):  # type: ignore[no-untyped-def]
    """Fill out (N, 24) from x (28, N)."""
    none = np.float32(np.nan)
    for i in range(x.shape[1]):
        for place in range(7):
            out[i, place] = x[PLAIN[place], i]
        for place in CAN_BE_UNDEFINED:
            if out[i, place] == kernel.ABSENT:
                out[i, place] = none
        out[i, 7], out[i, 8] = abs(x[kernel.LEP_ETA, i]), abs(x[kernel.HAD_ETA, i])
        lep, had, met = x[kernel.LEP_PHI, i], x[kernel.HAD_PHI, i], x[kernel.MET_PHI, i]
        out[i, 9], out[i, 10], out[i, 11] = apart(lep, had), apart(lep, met), apart(had, met)
        for place in range(12):
            v = x[kernel.PRI + place, i]
            out[i, 12 + place] = none if v == kernel.ABSENT else v


@njit(internal=True)
def apart(a, b):  # type: ignore[no-untyped-def]
    """The angle between two directions, 0 to pi."""
    turn = abs(float(a) - float(b)) % (2.0 * math.pi)
    return np.float32(min(turn, 2.0 * math.pi - turn))


INPUTS = 24


class EventScore(Protocol):
    """A trained score of events (28, N), shape (N,), that rises with the signal, and the arrays of its file."""

    def __call__(self, features: NDArray[np.float32], /) -> Floats:
        """The score."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of a file."""


@dataclasses.dataclass(frozen=True, eq=False)
class Summary:
    """Two trained stages; `cut` is where the first hands over, `floor` the lowest log-odds of the second beyond it."""

    first: Forest
    second: Forest
    cut: float
    floor: float

    def __call__(self, features: NDArray[np.float32]) -> Floats:
        """The summary of events (28, N), shape (N,)."""
        x = inputs(features)
        result = self.first.raw(x)
        beyond = np.flatnonzero(result > self.cut)
        if len(beyond):
            result[beyond] = self.cut + np.maximum(self.second.raw(x[beyond]) - self.floor, 0.0)
        return result

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of a file."""
        own = {"summary": np.array([self.cut, self.floor])}
        return {**self.first.arrays("first"), **self.second.arrays("second"), **own}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Summary:
        """Back from `arrays`."""
        first, second = (Forest.from_arrays(arrays, name, INPUTS) for name in ("first", "second"))
        cut, floor = (float(v) for v in arrays["summary"])
        if not (math.isfinite(cut) and math.isfinite(floor)):
            raise ValueError("its second stage begins nowhere")
        return cls(first, second, cut, floor)


@dataclasses.dataclass(frozen=True)
class Stages:
    """How both stages are trained.

    loose: share of the background (by weight) that passes to the second stage, more where too few events do.
    first_trees: of the first stage, with a learning rate that makes them as strong as those of the second. trees,
    learning_rate: of the second. leaves: largest number of leaves of a tree.
    """

    loose: float
    first_trees: int
    trees: int
    leaves: int
    learning_rate: float


STAGES = Stages(loose=0.03, first_trees=40, trees=150, leaves=16, learning_rate=0.06)
"""The usual ones."""


def train(
    features: NDArray[np.float32], signal: NDArray[np.bool_], weights: Floats, how: Stages, seed: int
) -> Summary:  # fmt: skip
    """Train both stages on weighted events.

    Args:
        features: (28, N).
        signal: which are signal, (N,).
        weights: expected events, (N,).
        how: their settings.
        seed: of the binning of the trees.

    Raises:
        InputError: too few events for a stage.
    """
    x = inputs(features)
    fast = min(how.learning_rate * how.trees / how.first_trees, FASTEST)
    first = _stage(x, signal, weights, how.first_trees, how.leaves, fast, seed)
    score = first.raw(x)
    cut = weighted_quantile(score[~signal], weights[~signal], 1.0 - how.loose)
    for own in (score[signal], score[~signal]):  # as loose as the second stage needs
        cut = min(cut, float(np.nextafter(np.sort(own)[-FEW], -np.inf)))
    passing = score > cut
    rows = np.flatnonzero(passing)
    second = _stage(x[rows], signal[rows], weights[rows], how.trees, how.leaves, how.learning_rate, seed + 1)
    background = passing & ~signal
    floor = weighted_quantile(second.raw(x[background]), weights[background], 0.001)
    return Summary(first, second, cut, floor)


def train_on(
    table: pd.DataFrame,
    how: Stages,
    seed: int,
    wanted: Callable[[NDArray[np.float32]], NDArray[np.bool_]] | None = None,
) -> Summary:
    """`train` on the events of a table that pass at the nominal point, and of these on the `wanted` ones."""
    found = biased(matrix(table))
    features, rows = found.features, found.rows
    if wanted is not None:
        keep = wanted(features)
        features, rows = features[:, keep], rows[keep]
    signal = process_index(table[PROCESS])[rows] == 0
    return train(features, signal, table[WEIGHTS].to_numpy(np.float64)[rows], how, seed)


def _stage(
    x: NDArray[np.float32], signal: NDArray[np.bool_], weights: Floats, trees: int, leaves: int, learning_rate: float,
    seed: int,
) -> Forest:  # fmt: skip
    return signal_classifier(
        x, signal, weights, FEW, max_iter=trees, max_leaf_nodes=leaves, learning_rate=learning_rate, random_state=seed,
        min_samples_leaf=50, l2_regularization=1.0,
    )  # fmt: skip


def weighted_quantile(values: Floats, weights: Floats, share: float) -> float:
    """The value below which a share of the weights lies."""
    order = np.argsort(values, kind="stable")
    held = np.cumsum(weights[order])
    return float(values[order][min(int(np.searchsorted(held, share * held[-1])), len(values) - 1)])
