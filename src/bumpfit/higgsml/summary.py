"""One number an event that sorts signal from background, also at background efficiencies of a thousandth.

Half of the information on mu is in some hundred events of a million: a classifier trained on all events is good where
they are not. Two stages: trees on all events, then trees on those that survive a loose cut on the first. The summary is
the log-odds of the first stage below the cut, and beyond it those of the second, shifted to follow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml import kernel as k
from bumpfit.higgsml.columns import UNDEFINED
from bumpfit.higgsml.forest import Forest

Floats = NDArray[np.float64]
FEW = 200
"""Signal and background events that a stage needs to be trained."""


def inputs(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the trees see of events (28, N): (N, 24) float32, undefined quantities NaN.

    The rotation about the beam and the two reflections carry nothing: only angles between objects and |eta| remain.
    """
    x = features
    lep, had, met = x[k.LEP_PHI], x[k.HAD_PHI], x[k.MET_PHI]
    derived = x[k.PRI :]
    columns = [
        x[k.LEP_PT], x[k.HAD_PT], x[k.J1_PT], x[k.J2_PT], x[k.N_JETS], x[k.ALL_PT], x[k.MET],
        np.abs(x[k.LEP_ETA]), np.abs(x[k.HAD_ETA]), apart(lep, had), apart(lep, met), apart(had, met), *derived,
    ]  # fmt: skip
    result = np.stack(columns, axis=1)
    undefined = result == UNDEFINED
    undefined[:, [4, 5, 6, 7, 8, 9, 10, 11]] = False
    result[undefined] = np.nan
    return np.ascontiguousarray(result)


def apart(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """The angle between two directions, 0 to pi."""
    return np.asarray(np.abs((a - b + 3 * np.pi) % (2 * np.pi) - np.pi), dtype=np.float32)


INPUTS = 24


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
        return cls(first, second, cut, floor)


def train(
    features: NDArray[np.float32], signal: NDArray[np.bool_], weights: Floats, *, loose: float, trees: int, leaves: int,
    learning_rate: float, seed: int,
) -> Summary:  # fmt: skip
    """Train both stages on weighted events.

    Args:
        features: (28, N).
        signal: which are signal, (N,).
        weights: expected events, (N,).
        loose: share of the background (by weight) that passes to the second stage.
        trees: of each stage.
        leaves: largest number of leaves of a tree.
        learning_rate: of the boosting.
        seed: of the binning of the trees.

    Raises:
        InputError: too few events for a stage.
    """
    x = inputs(features)
    first = _stage(x, signal, weights, trees, leaves, learning_rate, seed)
    score = first.raw(x)
    cut = weighted_quantile(score[~signal], weights[~signal], 1.0 - loose)
    passing = score > cut
    second = _stage(x[passing], signal[passing], weights[passing], trees, leaves, learning_rate, seed + 1)
    background = passing & ~signal
    floor = weighted_quantile(second.raw(x[background]), weights[background], 0.001)
    return Summary(first, second, cut, floor)


def _stage(
    x: NDArray[np.float32], signal: NDArray[np.bool_], weights: Floats, trees: int, leaves: int, learning_rate: float,
    seed: int,
) -> Forest:  # fmt: skip
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    if min(signal.sum(), (~signal).sum()) < FEW:
        raise InputError(
            f"{signal.sum()} signal and {(~signal).sum()} background events are left to train a stage; expected {FEW} "
            "or more of each: take more events"
        )
    w = np.where(signal, weights / weights[signal].sum(), weights / weights[~signal].sum())
    model = HistGradientBoostingClassifier(
        max_iter=trees, max_leaf_nodes=leaves, learning_rate=learning_rate, early_stopping=False, random_state=seed,
        min_samples_leaf=50, l2_regularization=1.0,
    )  # fmt: skip
    with threadpool_limits(1):  # two threads that wait for each other are slower than one on a busy machine
        model.fit(x, signal, sample_weight=w * len(x) / 2.0)
    return Forest.of(model)


def weighted_quantile(values: Floats, weights: Floats, share: float) -> float:
    """The value below which a share of the weights lies."""
    order = np.argsort(values, kind="stable")
    held = np.cumsum(weights[order])
    return float(values[order][min(int(np.searchsorted(held, share * held[-1])), len(values) - 1)])
