"""Scores of several sources on one scale: ranks among the events that are compared, and their mean."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bumpfit.errors import InputError

Array = NDArray[np.float64]


def log_rank(scores: Array) -> Array:
    """-ln of the fraction of events at least as high, ties sharing their mean place, shape of `scores`."""
    return np.asarray(-np.log((rankdata(-scores) - 0.5) / max(len(scores), 1)))


def mean_log_rank(sources: Sequence[Array]) -> Array:
    """Mean of the `log_rank` of several scores of the same events: no source outvotes the others by its scale.

    It is Fisher's way to combine probabilities, where each source gives the probability that background ranks as high.
    Raises InputError without a source, and for sources of different lengths.
    """
    if not sources or len({len(scores) for scores in sources}) != 1:
        raise InputError("ranks can be averaged over one or more scores of the same events")
    return np.asarray(np.mean([log_rank(scores) for scores in sources], axis=0))
