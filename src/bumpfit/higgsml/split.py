"""Which simulated events train learners and which make templates: by the generated event, never by the row.

The rule depends on the event alone, so that every method and every benchmark splits a sample alike: pseudo-experiments
of the mode `closure` come from the template events, which no learner has seen.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml.columns import HARD_EVENT, PRIMARY, PROCESS, matrix, process_index
from bumpfit.mixing import mixed

LEARNERS = 0.5
"""Share of the generated events that train learners."""


def learners(table: pd.DataFrame, share: float = LEARNERS) -> NDArray[np.bool_]:
    """Whether an event trains learners, shape (N,).

    A hash of the process and `hard_event` decides; without that column one of the leptons' angles and momenta, which
    rows of one generated event share.

    Raises:
        InputError: a part would be empty.
    """
    result = mixed(_keys(table)) < np.uint64(int(share * 2**64) - 1)
    if result.all() or not result.any():
        raise InputError(f"{len(table)} events are too few to be split into learners' and templates'")
    return np.asarray(result)


def groups(table: pd.DataFrame, number: int) -> NDArray[np.int64]:
    """Groups of generated events, 0 to number - 1, independent of `learners`, shape (N,)."""
    return np.asarray((mixed(mixed(_keys(table))) >> np.uint64(20)) % np.uint64(number), dtype=np.int64)


def _keys(table: pd.DataFrame) -> NDArray[np.uint64]:
    """One number for each generated event."""
    if HARD_EVENT in table.columns:
        keys = table[HARD_EVENT].to_numpy().astype(np.uint64)
        return np.asarray(keys * np.uint64(4) + process_index(table[PROCESS]).astype(np.uint64))
    values = matrix(table, PRIMARY[:3]).view(np.uint32).astype(np.uint64)
    return np.asarray((values[0] << np.uint64(32)) ^ (values[1] << np.uint64(16)) ^ values[2])


def parts(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The learners' and the templates' events, each with the weights of its processes scaled to those of all events."""
    mask = learners(table)
    process = process_index(table[PROCESS])
    weights = table["weights"].to_numpy(np.float64)
    whole = np.bincount(process, weights, minlength=4)
    result = []
    for chosen in (mask, ~mask):
        part = np.bincount(process[chosen], weights[chosen], minlength=4)
        if ((part == 0) & (whole > 0)).any():
            raise InputError("a process has too few events to be split into learners' and templates'")
        factor = np.divide(whole, part, out=np.ones(4), where=part > 0)
        piece = table[chosen].reset_index(drop=True)
        result.append(piece.assign(weights=(weights[chosen] * factor[process[chosen]]).astype(np.float32)))
    return result[0], result[1]
