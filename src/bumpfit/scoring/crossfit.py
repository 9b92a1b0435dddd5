"""Cross-fitted scores: no event is scored by a model that saw it, and the scores of all folds are on one scale."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.scoring.classifier import Array, Classifier
from bumpfit.scoring.forward import Job, Rows, train_and_score


def deal_folds(n: int, folds: int, rng: np.random.Generator) -> Rows:
    """Fold number 0..folds-1 of each of n events, in equal parts at random; raises InputError if n < folds.

    Examples:
        >>> import numpy as np
        >>> np.bincount(bumpfit.scoring.deal_folds(6, 3, np.random.default_rng(0))).tolist()
        [2, 2, 2]
    """
    if n < folds:
        raise InputError(f"a table has {n} events, fewer than the {folds} folds it is dealt into; take fewer folds")
    return rng.permutation(np.arange(n) % folds)


def cross_fit(
    data: Array,
    background: Array,
    data_fold: Rows,
    background_fold: Rows,
    regions: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    approach: Classifier,
    *,
    seed: int,
    extra: Array | None = None,
    executor: Executor | None = None,
) -> Iterator[tuple[Array, Array, Array]]:
    """Per region: log density ratios of data (N,), background (M,) and `extra` events (K,); NaN outside the region.

    `extra` events (for example a simulated signal, never trained on) are scored by all folds and averaged.

    Examples:
        >>> import numpy as np
        >>> from bumpfit.scoring import BoostedTrees, cross_fit, deal_folds
        >>> rng = np.random.default_rng(1)
        >>> data, background = rng.normal(0.5, 1.0, (600, 1)), rng.normal(0.0, 1.0, (600, 1))
        >>> folds = deal_folds(600, 2, rng), deal_folds(600, 2, rng)
        >>> everywhere = [(np.ones(600, bool), np.ones(600, bool))]
        >>> trees = BoostedTrees(models=1)
        >>> [(of_data, of_background, _)] = cross_fit(data, background, *folds, everywhere, trees, seed=1)
        >>> bool(of_data.mean() > of_background.mean())
        True
    """
    folds = int(data_fold.max()) + 1
    none = np.empty((0, data.shape[1]))

    def jobs() -> Iterator[Job]:
        for r, (in_d, in_b) in enumerate(regions):
            for fold in range(folds):
                yield Job(
                    int(np.random.SeedSequence([seed, r, fold]).generate_state(1)[0]),
                    data[in_d & (data_fold != fold)],
                    background[in_b & (background_fold != fold)],
                    (
                        data[in_d & (data_fold == fold)],
                        background[in_b & (background_fold == fold)],
                        none if extra is None else extra,
                    ),
                )

    results = train_and_score(approach, jobs(), executor)
    for in_d, in_b in regions:
        of_data, of_background = np.full(len(data), np.nan), np.full(len(background), np.nan)
        of_extra = np.zeros(0 if extra is None else len(extra))
        for fold in range(folds):
            d, b, e = next(results)
            of_data[in_d & (data_fold == fold)] = d
            of_background[in_b & (background_fold == fold)] = b
            of_extra += e / folds
        yield of_data, of_background, of_extra


SMALLEST = float(np.log(np.finfo(np.float64).tiny))
"""Logarithm of the smallest fraction that is told from 0."""


def survival(scores: Array, background: Array) -> Array:
    """Fraction of background with a score at least as high, shape (N,), strictly between 0 and 1.

    Between background events, and above the highest, scores are told apart by log-linear interpolation of the
    survival function; it is this rank, not the raw score, that is comparable between folds and regions.

    Examples:
        >>> import numpy as np
        >>> background = np.array([0.0, 1.0, 2.0, 3.0])
        >>> bumpfit.scoring.survival(np.array([0.0, 1.5, 9.0]), background).round(3).tolist()
        [0.8, 0.49, 0.002]
    """
    b = np.sort(background)[::-1]
    m = len(b)
    if m == 0:
        raise InputError("scores cannot be ranked: there are no background events in the region")
    log_fraction = np.log((np.arange(m) + 1.0) / (m + 1.0))
    value, first = np.unique(-b, return_index=True)  # ascending in -score: survival rises
    knots = log_fraction[np.r_[first[1:] - 1, m - 1]]
    result = np.interp(-scores, value, knots)
    top = max(1, m // 100)
    scale = max(float(b[0] - b[min(10 * top, m - 1)]), 1e-9) / np.log(10 * top + 1.0)  # tail: exponential, as the last
    above = scores > b[0]
    result[above] = knots[0] - (scores[above] - b[0]) / scale
    return np.asarray(np.exp(np.maximum(result, SMALLEST)), dtype=np.float64)
