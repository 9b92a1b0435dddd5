"""The primary test: data against the background table in selections fixed beforehand, with exact and global p-values.

A selection is a mass window and a background efficiency. In each tested block of a forward chain the cut sits on a
background order statistic, so under the null hypothesis the number of data events above it follows the negative
hypergeometric law exactly; blocks are independent (see `bumpfit.scoring.forward`), and the sum over blocks has the
convolution of the laws. The smallest p-value over all selections is then turned into a global one by shuffling the
labels data/background inside the cells (block x mass interval), which is exact for one window and needs no retraining,
and, beyond the reach of the shuffles, by the union bound (number of selections) x (smallest p), which always holds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from bumpfit.compiled import njit
from bumpfit.errors import InputError
from bumpfit.inference.counting import on_off_q0, order_statistic_law, sum_of_laws, upper_tail
from bumpfit.results import Record
from bumpfit.scoring import ScoredBlock
from bumpfit.search.windows import Window

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class SelectionResult(Record):
    """Counts and local p-value of one selection.

    `n_data` data events pass where the background table leads one to expect `n_background_expected` +-
    `background_error` (its own statistics); `q0` is the on/off likelihood ratio of the summed counts, `p_local` the
    exact probability of at least `n_data`, `z_local` its one-sided Gaussian equivalent.
    """

    name: str
    mass_low: float | None
    mass_high: float | None
    background_efficiency: float
    n_data: int
    n_background: int
    n_background_expected: float
    background_error: float
    q0: float
    p_local: float
    z_local: float


@dataclasses.dataclass(frozen=True)
class GlobalP(Record):
    """p-value for the whole family of selections: `p`, its Gaussian equivalent, how it was had, and its floor.

    `method` is "shuffles" (with `shuffles` many, `p_error` their Monte Carlo error) or "union bound"; `floor` is the
    smallest value the shuffles alone could give.
    """

    p: float
    z: float
    method: str
    floor: float
    shuffles: int
    p_error: float | None
    p_union: float
    selections: int


@dataclasses.dataclass(frozen=True, eq=False)
class TwoSampleTest:
    """All selections, the one with the smallest p-value (position `best`), and the global p-value.

    `shuffled` holds the smallest p-value of each label shuffle (at least one batch of them), shape (shuffles,).
    """

    selections: tuple[SelectionResult, ...]
    windows: tuple[int, ...]
    best: int
    overall: GlobalP
    shuffled: Array


@dataclasses.dataclass(frozen=True, eq=False)
class _Family:
    """One window with its selections: events above the cuts by efficiency (ascending), and the exact tails."""

    window: int
    efficiencies: Array
    m_of_block: Ints
    n: Ints
    tails: list[Array]
    orders: list[Ints]


def z_of(p: float) -> float:
    """One-sided Gaussian equivalent of a p-value."""
    return float(norm.isf(p))


def two_sample_test(
    scored: Sequence[Sequence[ScoredBlock]],
    windows: Sequence[Window],
    efficiencies: Sequence[float],
    data_mass: Array,
    background_mass: Array,
    data_block: Ints,
    background_block: Ints,
    *,
    min_background: int = 5,
    shuffles: int = 20_000,
    seed: int = 0,
) -> TwoSampleTest:
    """Test every (window, efficiency) and the family.

    Args:
        scored: tested blocks of each window, shape (windows, blocks).
        windows, efficiencies: what was fixed beforehand; a selection for which fewer than `min_background` background
            events are expected above the cut in all blocks together is left out (decided by table sizes alone).
        data_mass, background_mass: m_JJ in GeV, (N,) and (M,); data_block, background_block: their block numbers.
        shuffles: label shuffles for the global p-value; seed: of shuffles and of breaking ties between scores.

    Raises:
        InputError: no selection has enough background events.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 101]))
    families = [
        family
        for w, blocks in enumerate(scored)
        if (family := _family(w, blocks, np.sort(np.asarray(efficiencies)), min_background, rng)) is not None
    ]
    if not families:
        raise InputError(
            f"no selection keeps {min_background} background events at efficiencies {list(efficiencies)}; "
            "use a larger background table or larger efficiencies"
        )
    results: list[SelectionResult] = []
    places: list[int] = []
    for family in families:
        window = windows[family.window]
        for e, efficiency in enumerate(family.efficiencies):
            n, m = int(family.n[:, e].sum()), int(family.m_of_block[:, e].sum())
            expected = sum(
                int(mk) * len(block.data) / len(block.background)
                for mk, block in zip(family.m_of_block[:, e], scored[family.window], strict=True)
                if mk
            )
            p = float(family.tails[e][n])
            span = "" if len(windows) == 1 else f" at {window.centre / 1000:.2f} TeV"
            results.append(
                SelectionResult(
                    name=f"{efficiency:.2%} of background{span}",
                    mass_low=float(window.low) if np.isfinite(window.low) else None,
                    mass_high=float(window.high) if np.isfinite(window.high) else None,
                    background_efficiency=float(efficiency),
                    n_data=n,
                    n_background=m,
                    n_background_expected=expected,
                    background_error=expected / np.sqrt(m),
                    q0=float(on_off_q0(n, m, m / expected)),
                    p_local=p,
                    z_local=z_of(p),
                )
            )
            places.append(family.window)
    best = int(np.argmin([r.p_local for r in results]))
    cells = _Cells.of(families, scored, windows, data_mass, background_mass, data_block, background_block)
    overall, shuffled = _global_p(results[best].p_local, families, cells, shuffles, rng)
    return TwoSampleTest(tuple(results), tuple(places), best, overall, shuffled)


def _family(
    window: int, blocks: Sequence[ScoredBlock], efficiencies: Array, min_background: int, rng: np.random.Generator
) -> _Family | None:
    size = np.array([len(b.background) for b in blocks])
    m = np.minimum(np.floor(np.outer(size, efficiencies) + 0.5), size[:, None]).astype(np.int64)
    use = m.sum(axis=0) >= min_background
    if not use.any():
        return None
    efficiencies, m = efficiencies[use], m[:, use]
    n = np.zeros_like(m)
    orders = []
    for k, block in enumerate(blocks):
        scores = np.concatenate([block.data, block.background])
        order = np.lexsort((rng.random(len(scores)), -scores))  # ties are broken at random
        is_background = order >= len(block.data)
        orders.append(order.astype(np.int64))
        position = np.flatnonzero(is_background)
        for e in range(len(efficiencies)):
            if m[k, e]:
                n[k, e] = position[m[k, e] - 1] - (m[k, e] - 1)
    tails = []
    for e in range(len(efficiencies)):
        laws = [
            order_statistic_law(len(b.data), len(b.background), int(m[k, e])) for k, b in enumerate(blocks) if m[k, e]
        ]
        tails.append(upper_tail(*sum_of_laws(laws), length=sum(len(b.data) for b in blocks) + 1))
    return _Family(window, efficiencies, m, n, tails, orders)


def _global_p(
    smallest: float, families: list[_Family], cells: _Cells, shuffles: int, rng: np.random.Generator
) -> tuple[GlobalP, Array]:
    """Global p-value of the smallest local one, and the smallest local p-values of the shuffles that were made."""
    selections = sum(len(family.efficiencies) for family in families)
    union, floor = min(1.0, selections * smallest), 1.0 / (shuffles + 1)
    minima = np.empty(0)
    # beyond the first batch the shuffles only help where the union bound is not far below their reach
    wanted = shuffles if union > 10 * floor else min(BATCH, shuffles)
    while len(minima) < wanted and _hits(minima, smallest).size < ENOUGH:
        minima = np.concatenate([minima, cells.smallest_p(families, min(BATCH, wanted - len(minima)), rng)])
    hits = _hits(minima, smallest)
    if selections == 1:
        return GlobalP(smallest, z_of(smallest), "exact law", 0.0, 0, None, union, 1), minima
    if len(hits) >= ENOUGH:
        # sequential Monte Carlo test: exact with the number of shuffles up to the last hit that was needed
        done = int(hits[ENOUGH - 1]) + 1
        p = ENOUGH / done
        return GlobalP(p, z_of(p), "shuffles", floor, done, float(p / np.sqrt(ENOUGH)), union, selections), minima
    p = (len(hits) + 1) / (len(minima) + 1)
    if p <= union:
        error = float(np.sqrt(max(len(hits), 1)) / len(minima))
        return GlobalP(p, z_of(p), "shuffles", floor, len(minima), error, union, selections), minima
    return GlobalP(union, z_of(union), "union bound", floor, len(minima), None, union, selections), minima


def _hits(minima: Array, smallest: float) -> Ints:
    """Positions of the shuffles at least as extreme as the data."""
    return np.flatnonzero(minima <= smallest * (1 + 1e-9))


ENOUGH = 100
"""Shuffles at least as extreme as the data after which the sequential test stops (Besag and Clifford, Biometrika 78
(1991) 301): a relative error of 10 %."""

BATCH = 1000
"""Shuffles between two looks at whether that is enough."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Block:
    """One tested block, data and background pooled: mass cell of each event, and the events near or above each cut."""

    cell: Ints
    data_in_cell: Ints
    in_cell: Ints
    relevant: Ints
    order: Ints
    start: Ints
    m: Ints


@dataclasses.dataclass(frozen=True, eq=False)
class _Cells:
    """What shuffling needs: the blocks, and where each family's selections are among the columns of the counts."""

    blocks: tuple[_Block, ...]
    offset: Ints

    @classmethod
    def of(
        cls,
        families: list[_Family],
        scored: Sequence[Sequence[ScoredBlock]],
        windows: Sequence[Window],
        data_mass: Array,
        background_mass: Array,
        data_block: Ints,
        background_block: Ints,
    ) -> _Cells:
        edges = sorted({x for w in windows for x in (w.low, w.high) if np.isfinite(x)})
        blocks = []
        for block in range(1, int(data_block.max()) + 1):
            rows_d, rows_b = np.flatnonzero(data_block == block), np.flatnonzero(background_block == block)
            mass = np.concatenate([data_mass[rows_d], background_mass[rows_b]])
            cell = np.searchsorted(edges, mass, side="right").astype(np.int64)
            place_d, place_b = np.full(len(data_mass), -1, np.int64), np.full(len(background_mass), -1, np.int64)
            place_d[rows_d] = np.arange(len(rows_d))
            place_b[rows_b] = len(rows_d) + np.arange(len(rows_b))
            orders = []
            for family in families:
                here = scored[family.window][block - 1]
                pooled = np.concatenate([place_d[here.data_rows], place_b[here.background_rows]])
                reach = _reach(int(family.m_of_block[block - 1].max()), here)
                orders.append(pooled[family.orders[block - 1][:reach]])
            order = np.concatenate(orders)
            blocks.append(
                _Block(
                    cell=cell,
                    data_in_cell=np.bincount(cell[: len(rows_d)], minlength=len(edges) + 1),
                    in_cell=np.bincount(cell, minlength=len(edges) + 1),
                    relevant=np.unique(order),
                    order=order,
                    start=np.cumsum([0, *(len(o) for o in orders)]),
                    m=np.concatenate([family.m_of_block[block - 1] for family in families]),
                )
            )
        return cls(tuple(blocks), np.cumsum([0, *(len(f.efficiencies) for f in families)]))

    def smallest_p(self, families: list[_Family], shuffles: int, rng: np.random.Generator) -> Array:
        """Smallest p-value over all selections in each of so many shuffles, shape (shuffles,)."""
        total = np.zeros((shuffles, int(self.offset[-1])), np.int64)
        for b in self.blocks:
            total += _shuffle(
                shuffles, rng, b.cell, b.data_in_cell, b.in_cell, b.relevant, b.order, b.start, b.m, self.offset
            )
        tails = [tail for family in families for tail in family.tails]
        return np.asarray(np.min([tail[total[:, e]] for e, tail in enumerate(tails)], axis=0))


def _reach(m: int, block: ScoredBlock) -> int:
    """Highest-scored events among which the m-th background event is found, but for 12 standard deviations."""
    share = len(block.background) / max(len(block.background) + len(block.data), 1)
    return int(np.ceil((m + 12 * np.sqrt(m + 1.0)) / max(share, 1e-9))) + 100


@njit()  # pragma: no cover
def _shuffle(shuffles, rng, cell, data_in_cell, in_cell, relevant, order, start, m, offset):  # type: ignore[no-untyped-def]
    """Counts above every cut when the labels are dealt again inside the cells; shape (shuffles, selections).

    Labels are drawn one after another without replacement, so the number of data events of a cell stays as it is;
    only the `relevant` events, those near or above a cut, need one.
    """
    counts = np.zeros((shuffles, m.size), np.int64)
    is_data = np.empty(cell.size, np.bool_)
    for toy in range(shuffles):
        left_data, left = data_in_cell.copy(), in_cell.copy()
        for i in relevant:
            c = cell[i]
            is_data[i] = rng.random() * left[c] < left_data[c]
            left[c] -= 1
            if is_data[i]:
                left_data[c] -= 1
        for f in range(start.size - 1):
            e, n_data, n_background = offset[f], 0, 0
            while e < offset[f + 1] and m[e] == 0:
                e += 1
            i = start[f]
            while e < offset[f + 1] and i < start[f + 1]:
                if is_data[order[i]]:
                    n_data += 1
                else:
                    n_background += 1
                    while e < offset[f + 1] and m[e] == n_background:
                        counts[toy, e] = n_data
                        e += 1
                i += 1
    return counts
