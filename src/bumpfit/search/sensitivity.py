"""Which shift of the background table would make the excess?

The models of the primary test are not kept, so their score is learned once more as a function of the features (a
regression on the ranks that they gave). The table's features are then shifted, and its events above the best selection
are counted again.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor

from bumpfit.events.tables import Events
from bumpfit.results import Record

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class SensitivitySettings:
    """Which shifts are tried: relative ones up to `largest` in both directions, at `steps` sizes.

    `events`: events of the table that are shifted, at most.
    """

    largest: float = 0.2
    steps: int = 8
    events: int = 10_000


@dataclasses.dataclass(frozen=True)
class Shift(Record):
    """The relative shift of a feature of the table that would make the excess; None: none up to `largest` would.

    `at_largest`: the part of the excess that the shifts of `largest` make, the better direction.
    """

    feature: str
    needed: float | None
    at_largest: float
    largest: float


def shifts(
    data: Events,
    background: Events,
    survival_data: Array,
    survival_background: Array,
    expected: float,
    excess: float,
    settings: SensitivitySettings = SensitivitySettings(),
    seed: int = 0,
) -> tuple[Shift, ...]:
    """For every feature the shift of the background table that turns `excess` events into expected ones.

    Args:
        data, background: tested events of the best window.
        survival_data, survival_background: their background survival fractions, shapes (N,), (M,).
        expected: background events expected in the best selection.
        excess: data events above that.
    """
    features = np.concatenate([data.features, background.features])
    target = np.log(np.concatenate([survival_data, survival_background]))
    model = HistGradientBoostingRegressor(max_iter=100, learning_rate=0.2, early_stopping=False, random_state=seed)
    model.fit(features, target)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 17]))
    rows = rng.permutation(len(background))[: settings.events]
    table = background.features[rows]
    value = np.sort(model.predict(table))
    share = expected / len(data)
    cut = float(value[min(len(value) - 1, max(0, round(share * len(value)) - 1))])
    counted = float((value <= cut).sum())
    sizes = settings.largest * np.arange(1, settings.steps + 1) / settings.steps
    found = []
    for k, name in enumerate(data.names):
        best: tuple[float | None, float] = (None, -np.inf)
        for sign in (1.0, -1.0):
            made = [0.0]
            for size in sizes:
                moved = table.copy()
                moved[:, k] *= 1 + sign * size
                passing = float((model.predict(moved) <= cut).sum())
                made.append((passing / counted - 1) * expected / excess)
                if made[-1] >= 1:
                    break
            needed = sign * _crossing(np.r_[0.0, sizes][: len(made)], np.array(made)) if made[-1] >= 1 else None
            nearer = needed is not None and (best[0] is None or abs(needed) < abs(best[0]))
            if nearer or (best[0] is None and made[-1] > best[1]):
                best = (needed, max(made))
        found.append(Shift(name, best[0], best[1], settings.largest))
    return tuple(found)


def _crossing(sizes: Array, made: Array) -> float:
    """Size at which the last step reaches one, interpolated."""
    low, high = made[-2], made[-1]
    return float(sizes[-2] + (1 - low) / (high - low) * (sizes[-1] - sizes[-2]))
