"""Files of the challenge that are larger than memory: training rows and pseudo-experiments by one pass over the file.

The random numbers of a bootstrap are those of the table in memory (`pseudo.experiment`): each process has a stream of
its own, and is met in the order of its rows. What is kept are the drawn events, a million an experiment (64 MB), and
one piece of the file.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.events.formats import read_frame
from bumpfit.higgsml.bias import biased, soft_noise
from bumpfit.higgsml.columns import (
    FEATURES,
    LUMINOSITY,
    PRIMARY,
    PROCESS,
    PROCESSES,
    WEIGHTS,
    checked,
    matrix,
    process_index,
)
from bumpfit.higgsml.dataset import Dataset, Part, rescaled
from bumpfit.higgsml.nuisances import Nuisances, random_state
from bumpfit.higgsml.pseudo import ORDER, PseudoExperiment, check_mu

LARGE = 2_000_000
"""Rows from which on a file with metadata is streamed; also the training rows that are drawn from it by default."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A pseudo-experiment to be drawn."""

    mu: float
    nuisances: Nuisances
    seed: int


def large(path: str | os.PathLike[str]) -> bool:
    """Whether a file is streamed: Parquet with its metadata beside it, and more than `LARGE` rows."""
    file = Path(path)
    return _described(file) and Dataset(file).rows > LARGE


def _described(file: Path) -> bool:
    return file.suffix == ".parquet" and file.with_name(f"{file.stem}_metadata.json").exists()


def training(path: str | os.PathLike[str], rows: int | None = None, seed: int = 0) -> pd.DataFrame:
    """Weighted, labelled training events: the whole table, or random rows of it (`rows`; of a large file training rows,
    `LARGE` by default).

    Random rows have weights with the sum of the whole table: they stand for the same luminosity.

    Raises:
        InputError: the metadata beside a Parquet file are those of another one; as `checked`.
    """
    if not large(path):
        if _described(Path(path)):
            Dataset(path).check_sum()
        table = checked(read_frame(path), weights=True, processes=True, what=str(path))
        if rows is None or rows >= len(table):
            return table
        taken = table.iloc[np.sort(np.random.default_rng(seed).choice(len(table), rows, replace=False))]
        total = math.fsum(table[WEIGHTS].to_numpy().tolist())
        return taken.assign(**{WEIGHTS: rescaled(taken[WEIGHTS].to_numpy(), total)})
    dataset = Dataset(path)
    return dataset.sample(min(rows or LARGE, dataset.rows - dataset.test_rows), seed)


@functools.lru_cache(maxsize=4)
def _sum(path: str, part: Part) -> float:
    return math.fsum(math.fsum(piece[WEIGHTS].to_numpy().tolist()) for piece in Dataset(path).stream(part))


def experiments(
    dataset: Dataset, wanted: Sequence[Wanted], part: Part = "test", luminosity: float = LUMINOSITY
) -> Iterator[PseudoExperiment]:
    """Draw several pseudo-experiments in one pass over a part of a file (two where its weights were not summed yet).

    Args:
        dataset: the file.
        wanted: the experiments; each takes memory for its events until it has been given.
        part: rows to draw from.
        luminosity: fb-1.

    Raises:
        InputError: the file is damaged, or an experiment has no event.
    """
    factor = dataset.metadata.sum_weights
    total = _sum(str(dataset.path), part)
    draws = [_Drawing(one) for one in wanted]
    for piece in dataset.stream(part):
        weights = (factor * piece[WEIGHTS].to_numpy()) / total
        if luminosity != LUMINOSITY:
            weights = weights * (luminosity / LUMINOSITY)
        primary, process = matrix(piece), process_index(piece[PROCESS])
        for one in draws:
            one.take(primary, process, weights)
    while draws:
        yield draws.pop(0).made()


class _Drawing:
    """An experiment that is being drawn: a stream of random numbers and the drawn events for each process."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        check_mu(wanted.mu)
        self._most = 0
        self._random, self._events, place = {}, {}, wanted.seed
        for step, name in enumerate(ORDER):
            place += step
            self._random[name] = random_state(place)
            self._events[name] = [np.empty((len(PRIMARY), 0), dtype=np.float32)]

    def take(self, primary: NDArray[np.float32], process: NDArray[np.int8], weights: NDArray[np.floating]) -> None:
        """Draw from the next rows of the file."""
        for name in ORDER:
            rows = np.flatnonzero(process == PROCESSES.index(name))
            norm = self.wanted.mu if name == "htautau" else self.wanted.nuisances.weight(name)
            times = self._random[name].poisson(norm * weights[rows])
            self._most = max(self._most, int(times.max(initial=0)))
            self._events[name].append(np.repeat(primary[:, rows[times > 0]], times[times > 0], axis=1))

    def made(self) -> PseudoExperiment:
        """The experiment, as `pseudo.experiment` makes it."""
        drawn = np.concatenate([piece for name in ORDER for piece in self._events.pop(name)], axis=1)
        if not drawn.shape[1]:
            raise InputError("the bootstrap has no event: the weights of the table sum to next to nothing")
        drawn = drawn[:, random_state(self.wanted.seed).permutation(drawn.shape[1])]
        v = self.wanted.nuisances
        found = biased(drawn, v.tes, v.jes, soft_noise(drawn.shape[1], v.soft_met))
        table = pd.DataFrame(dict(zip(FEATURES, found.features, strict=True)), copy=False)
        return PseudoExperiment(table, self.wanted.mu, v, self.wanted.seed, self._most)
