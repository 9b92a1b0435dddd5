"""Forward scoring: a chain of blocks in which every block is scored by models trained on the blocks before it.

Why forward and not k-fold: in k-fold scoring each event is also a training event of other folds, the folds' counts are
correlated, and p-values built from their sum are anti-conservative. In a forward chain the model of block k is a
function of blocks 0..k-1 alone. Under the null hypothesis the labels data/background inside block k are exchangeable
given everything before, so the count of data events above a background order statistic has an exactly known law
(negative hypergeometric) whatever the model is, and the counts of different blocks are independent: the conditional
law does not depend on the past. Training may be as clever as it likes; no retraining on pseudo-data is needed.
(Dawid's prequential principle, J. R. Stat. Soc. A 147 (1984) 278; applied to classifier two-sample tests.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.execute import ordered_map
from bumpfit.scoring.approaches import Array, log_ratios
from bumpfit.scoring.classifier import Classifier

Rows = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class ForwardPlan:
    """How the events are dealt out: a first block that is only trained on, then `blocks` equal ones that are tested.

    Examples:
        >>> bumpfit.scoring.ForwardPlan(first=0.5, blocks=5)
        ForwardPlan(first=0.5, blocks=5)
    """

    first: float = 0.3
    blocks: int = 7

    def deal(self, n: int, rng: np.random.Generator) -> Rows:
        """Block number 0..`blocks` of each of n events, dealt at random; shape (n,).

        Raises:
            InputError: fewer events than blocks.
        """
        if n < self.blocks + 1:
            raise InputError(f"a table has {n} events, fewer than the {self.blocks + 1} blocks it is dealt into")
        ends = np.round(n * (self.first + (1 - self.first) * np.arange(self.blocks + 1) / self.blocks)).astype(int)
        block = np.empty(n, np.int64)
        block[rng.permutation(n)] = np.searchsorted(ends, np.arange(n), side="right")
        return block


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredBlock:
    """Scores of one tested block in one region: rows (positions in the tables) and scores of data and background.

    Examples:
        >>> import numpy as np
        >>> rows, scores = np.arange(3), np.array([0.2, -0.1, 1.4])
        >>> bumpfit.scoring.ScoredBlock(1, rows, rows, scores, scores).data.tolist()
        [0.2, -0.1, 1.4]
    """

    block: int
    data_rows: Rows
    background_rows: Rows
    data: Array
    background: Array


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
    """Train `positive` against `negative` (with relative `weights` of the events of each), then score tables.

    Examples:
        >>> import numpy as np
        >>> bumpfit.scoring.Job(1, np.ones((5, 2)), np.zeros((4, 2)), tables=(np.ones((3, 2)),)).weights is None
        True
    """

    seed: int
    positive: Array
    negative: Array
    tables: tuple[Array, ...]
    weights: Array | None = None
    negative_weights: Array | None = None


def _train_and_score(task: tuple[Classifier, Job]) -> tuple[Array, ...]:
    approach, job = task
    return log_ratios(approach, job.positive, job.negative, job.tables, job.seed, job.weights, job.negative_weights)


def train_and_score(
    approach: Classifier, jobs: Iterable[Job], executor: Executor | None = None
) -> Iterator[tuple[Array, ...]]:
    """For each job: train, then score its tables; in the order of the jobs.

    Examples:
        >>> import numpy as np
        >>> from bumpfit.scoring import BoostedTrees, Job, train_and_score
        >>> rng = np.random.default_rng(1)
        >>> positive, negative = rng.normal(1.0, 1.0, (500, 1)), rng.normal(-1.0, 1.0, (500, 1))
        >>> job = Job(1, positive, negative, tables=(np.array([[-1.0], [1.0]]),))
        >>> [(scores,)] = train_and_score(BoostedTrees(models=1), [job])
        >>> bool(scores[0] < 0 < scores[1])
        True
    """
    return ordered_map(_train_and_score, ((approach, job) for job in jobs), executor=executor)


def forward_scores(
    data: Array,
    background: Array,
    data_block: Rows,
    background_block: Rows,
    regions: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]],
    approach: Classifier,
    *,
    seed: int,
    executor: Executor | None = None,
) -> Iterator[tuple[int, ScoredBlock]]:
    """Score every tested block in every region by models trained on the earlier blocks of that region.

    Args:
        data, background: features, shapes (N, F) and (M, F).
        data_block, background_block: block numbers from `ForwardPlan.deal`.
        regions: masks (data, background) of the regions (mass windows) that have a classifier each.

    Yields (region number, scored block), regions outermost.

    Examples:
        >>> import numpy as np
        >>> from bumpfit.scoring import BoostedTrees, ForwardPlan, forward_scores
        >>> rng = np.random.default_rng(1)
        >>> data, background = rng.normal(0.5, 1.0, (600, 1)), rng.normal(0.0, 1.0, (600, 1))
        >>> plan = ForwardPlan(first=0.5, blocks=2)
        >>> blocks, everywhere = (plan.deal(600, rng), plan.deal(600, rng)), [(np.ones(600, bool), np.ones(600, bool))]
        >>> found = forward_scores(data, background, *blocks, everywhere, BoostedTrees(models=1), seed=1)
        >>> [(region, scored.block, len(scored.data)) for region, scored in found]
        [(0, 1, 150), (0, 2, 150)]
    """
    places: list[tuple[int, int, Rows, Rows]] = []

    def jobs() -> Iterator[Job]:
        for r, (in_data, in_background) in enumerate(regions):
            for block in range(1, int(data_block.max()) + 1):
                now_d = np.flatnonzero(in_data & (data_block == block))
                now_b = np.flatnonzero(in_background & (background_block == block))
                places.append((r, block, now_d, now_b))
                yield Job(
                    int(np.random.SeedSequence([seed, r, block]).generate_state(1)[0]),
                    data[in_data & (data_block < block)],
                    background[in_background & (background_block < block)],
                    (data[now_d], background[now_b]),
                )

    for done, (scores_d, scores_b) in enumerate(train_and_score(approach, jobs(), executor)):
        r, block, rows_d, rows_b = places[done]
        yield r, ScoredBlock(block, rows_d, rows_b, scores_d, scores_b)
