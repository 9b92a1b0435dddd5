"""The primary test: data against the background table, with a p-value that is exact at any depth.

Every tested event counts by its rank: in block k of a forward chain the events of a mass window are ordered by the
score that models of the earlier blocks give them, data and background together, and the data event at place u (as a
fraction) adds w_k ln((1 + d / u) / (1 + d / r)) to the statistic of the window, where u < r. This is the logarithm of a
likelihood ratio in which a signal of the size d lies at the top of the order; d, r (`RankSettings`) and
w_k = sqrt(k / K), by which blocks count more whose models have learned more, are fixed beforehand. The ranks do not
know the labels, and without signal the labels are exchangeable inside each cell (block x mass interval):
`bumpfit.search.permutations` has the law of the smallest p-value of all windows.

Where the events are described by two jets, the decays of the packaged library are a second source (`bumpfit.search.
hypotheses`), and the two together, by the mean of their log ranks, a third: each window has three statistics then. The
library's statistic takes the events of the first block as well.

Selections illustrate where the excess is. In each block the cut sits on a background order statistic, so under the null
hypothesis the number of data events above it follows the negative hypergeometric law exactly; blocks are independent
(see `bumpfit.scoring.forward`), and the sum over blocks has the convolution of the laws.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri_exp
from scipy.stats import norm

from bumpfit.errors import InputError
from bumpfit.inference.counting import on_off_q0, order_statistic_law, sum_of_laws, upper_tail
from bumpfit.results import Record
from bumpfit.scoring import ScoredBlock
from bumpfit.scoring.ranks import mean_log_rank
from bumpfit.search.hypotheses import LibraryPart, Tried
from bumpfit.search.permutations import Labelled, PermutationP, smallest_p
from bumpfit.search.windows import Window, interval_edges

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Source = Literal["learned", "library", "both"]
SOURCES: tuple[Source, ...] = ("learned", "library", "both")
"""What gives the scores of a statistic: classifiers that learn from the data, decays of the library, both together."""


@dataclasses.dataclass(frozen=True)
class RankSettings:
    """The statistic of the primary test, and how well its p-value is known.

    `depth`: fraction of the events at which ranks begin to count much (d above); `reach`: fraction of the
    highest-ranked events that count at all (r); `interval`: ratio of the ends of the mass intervals inside of which
    labels change places; `error`: relative Monte Carlo error of the p-value; `draws`: permutations at most.
    """

    depth: float = 0.003
    reach: float = 0.2
    interval: float = 1.05
    error: float = 0.05
    draws: int = 100_000


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
    """p-value of the smallest p-value of all windows, by their joint permutation law.

    `p` with its Monte Carlo `error` from `draws` permutations, `z` its one-sided Gaussian equivalent, which does not
    underflow; `tested`: numbers of the windows that were tested, `z_local` the largest of each; `window`: the one with
    the largest of all, `source` the statistic that has it, and `p_local` its own p-value (saddle point). `z_sources`:
    by source, `z_local` of the tested windows (NaN where a window has none).
    """

    p: float
    z: float
    error: float
    draws: int
    tested: tuple[int, ...]
    z_local: tuple[float, ...]
    window: int
    p_local: float
    source: Source = "learned"
    z_sources: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)

    @property
    def trials(self) -> int:
        """Statistics that were tried: of every source in every tested window that has it."""
        return sum(math.isfinite(z) for each in self.z_sources.values() for z in each) or len(self.tested)


@dataclasses.dataclass(frozen=True, eq=False)
class TwoSampleTest:
    """All selections with the windows they are in, the best one (position `best`) of the window with the smallest
    p-value, and the global p-value.
    """

    selections: tuple[SelectionResult, ...]
    windows: tuple[int, ...]
    best: int
    overall: GlobalP


@dataclasses.dataclass(frozen=True, eq=False)
class _Family:
    """One window with its selections: events above the cuts by efficiency (ascending), and the exact tails."""

    window: int
    efficiencies: Array
    m_of_block: Ints
    n: Ints
    tails: list[Array]


def z_of(p: float) -> float:
    """One-sided Gaussian equivalent of a p-value."""
    return float(norm.isf(p))


def two_sample_test(
    scored: Sequence[Sequence[ScoredBlock]],
    windows: Sequence[Window],
    efficiencies: Sequence[float],
    masses: tuple[Array, Array],
    *,
    min_background: int = 5,
    rank: RankSettings = RankSettings(),
    library: LibraryPart | None = None,
    seed: int = 0,
) -> TwoSampleTest:
    """Test all windows together, and look at every (window, efficiency).

    Args:
        scored: tested blocks of each window, shape (windows, blocks).
        windows, efficiencies: what was fixed beforehand; a selection for which fewer than `min_background` background
            events are expected above the cut in all blocks together is left out (decided by table sizes alone).
        masses: m_JJ of data (N,) and background (M,) in GeV.
        rank: the statistic; library: the second source, if there is one; seed: of permutations and of breaking ties
            between scores.

    Raises:
        InputError: no selection has enough background events.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, 101]))
    shown = (
        scored
        if library is None
        else [_both(b, t, len(masses[0])) for b, t in zip(scored, library.windows, strict=True)]
    )
    families = [
        family
        for w, blocks in enumerate(shown)
        if (family := _family(w, blocks, np.sort(np.asarray(efficiencies)), min_background, rng)) is not None
    ]
    if not families:
        raise InputError(
            f"no selection keeps {min_background} background events at efficiencies {list(efficiencies)}; "
            "use a larger background table or larger efficiencies"
        )
    overall = _global_p(scored, shown, windows, masses, rank, library, seed, rng)
    results = [r for family in families for r in _results(family, shown[family.window], windows)]
    places = [family.window for family in families for _ in family.efficiencies]
    of_window = [i for i, place in enumerate(places) if place == overall.window] or list(range(len(results)))
    best = min(of_window, key=lambda i: results[i].p_local)
    return TwoSampleTest(tuple(results), tuple(places), best, overall)


def _results(family: _Family, blocks: Sequence[ScoredBlock], windows: Sequence[Window]) -> list[SelectionResult]:
    """Counts and local p-values of the selections of one window."""
    window = windows[family.window]
    span = "" if len(windows) == 1 else f" at {window.centre / 1000:.2f} TeV"
    found = []
    for e, efficiency in enumerate(family.efficiencies):
        n, m = int(family.n[:, e].sum()), int(family.m_of_block[:, e].sum())
        shares = zip(family.m_of_block[:, e], blocks, strict=True)
        expected = sum(int(mk) * len(block.data) / len(block.background) for mk, block in shares if mk)
        p = float(family.tails[e][n])
        found.append(
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
    return found


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
    for k, block in enumerate(blocks):
        scores = np.concatenate([block.data, block.background])
        order = np.lexsort((rng.random(len(scores)), -scores))  # ties are broken at random
        is_background = order >= len(block.data)
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
    return _Family(window, efficiencies, m, n, tails)


def _both(blocks: Sequence[ScoredBlock], tried: Tried, n_data: int) -> list[ScoredBlock]:
    """The blocks of a window with the mean log rank of their scores and of the library's weights."""
    place = np.full(int(tried.rows.max(initial=-1)) + 1, -1)
    place[tried.rows] = np.arange(len(tried.rows))
    found = []
    for block in blocks:
        rows = np.concatenate([block.data_rows, n_data + block.background_rows])
        scores = mean_log_rank([np.concatenate([block.data, block.background]), tried.weights[place[rows]]])
        n = len(block.data)
        found.append(dataclasses.replace(block, data=scores[:n], background=scores[n:]))
    return found


def _global_p(
    scored: Sequence[Sequence[ScoredBlock]],
    both: Sequence[Sequence[ScoredBlock]],
    windows: Sequence[Window],
    masses_of: tuple[Array, Array],
    rank: RankSettings,
    library: LibraryPart | None,
    seed: int,
    rng: np.random.Generator,
) -> GlobalP:
    """The joint permutation p-value of all statistics of all windows."""
    masses, n_data = np.concatenate(masses_of), len(masses_of[0])
    number = np.full(len(masses), -1)
    if library is not None:
        for tried in library.windows:
            number[tried.rows] = library.block[tried.rows]
    else:
        for block in (block for blocks in scored for block in blocks):
            number[np.concatenate([block.data_rows, n_data + block.background_rows])] = block.block
    edges = interval_edges(windows, rank.interval, masses)
    cell = number * (len(edges) + 1) + np.searchsorted(edges, masses, side="right")
    tested = np.flatnonzero(number >= 0)
    place = np.full(len(masses), -1)
    place[tested] = np.arange(len(tested))
    is_data, cell = tested < n_data, np.unique(cell[tested], return_inverse=True)[1].astype(np.int64)
    taken: list[tuple[int, Source]] = []
    rows, values = [], []
    for w, blocks in enumerate(scored):
        parts: list[tuple[Source, Ints, Array]] = [("learned", *_ranked(blocks, n_data, rank, rng))]
        if library is not None:
            parts.append(("library", *_tried(library.windows[w], library.block, rank, rng)))
            parts.append(("both", *_ranked(both[w], n_data, rank, rng)))
        for source, events, weights in parts:
            if _varies(cell, is_data, place[events], weights):
                taken.append((w, source))
                rows.append(place[events])
                values.append(weights)
    if not taken:
        raise InputError(
            "no mass window has data and background events that could change places; give a larger background table"
        )
    found = smallest_p(
        Labelled(cell, is_data, tuple(rows), tuple(values)), error=rank.error, most=rank.draws, seed=[seed, 102]
    )
    return _told(found, taken)


def _told(found: PermutationP, taken: Sequence[tuple[int, Source]]) -> GlobalP:
    """The p-value with what each window and source has."""
    z = dict(zip(taken, (float(z) for z in -ndtri_exp(found.log_local)), strict=True))
    tested = tuple(dict.fromkeys(w for w, _ in taken))
    sources = [source for source in SOURCES if any(of == source for _, of in taken)]
    return GlobalP(
        p=found.p,
        z=float(-ndtri_exp(found.log_p)),
        error=found.error,
        draws=found.draws,
        tested=tested,
        z_local=tuple(max(z[w, of] for of in sources if (w, of) in z) for w in tested),
        window=taken[found.smallest][0],
        p_local=math.exp(found.log_local[found.smallest]),
        source=taken[found.smallest][1],
        z_sources={of: tuple(z.get((w, of), math.nan) for w in tested) for of in sources},
    )


def _tried(tried: Tried, block: Ints, rank: RankSettings, rng: np.random.Generator) -> tuple[Ints, Array]:
    """The events of every block that the library puts first, and their weights by rank.

    Ranks and not the weights of the library: these depend on the labels of earlier blocks, and a sum of them would have
    a law that does so too.
    """
    events, weights = [], []
    numbers = np.unique(block[tried.rows])
    for k, number in enumerate(numbers, start=1):
        mine = np.flatnonzero(block[tried.rows] == number)
        kept, value = _by_rank(tried.weights[mine], k / len(numbers), rank, rng)
        events.append(tried.rows[mine[kept]])
        weights.append(value)
    return np.concatenate(events), np.concatenate(weights)


def _by_rank(scores: Array, learned: float, rank: RankSettings, rng: np.random.Generator) -> tuple[Ints, Array]:
    """Positions of the highest scores of a block, and their weights; `learned`: share of the blocks seen so far."""
    order = np.lexsort((rng.random(len(scores)), -scores))  # ties are broken at random
    u = (np.arange(len(order)) + 0.5) / max(len(order), 1)
    kept = u < rank.reach
    value = math.sqrt(learned) * np.log((1 + rank.depth / u[kept]) / (1 + rank.depth / rank.reach))
    return order[kept], value


def _ranked(
    blocks: Sequence[ScoredBlock], n_data: int, rank: RankSettings, rng: np.random.Generator
) -> tuple[Ints, Array]:
    """The highest-ranked events of all blocks of a window (background rows follow the data rows), and their weights."""
    events, weights = [], []
    for k, block in enumerate(blocks, start=1):
        rows = np.concatenate([block.data_rows, n_data + block.background_rows])
        kept, value = _by_rank(np.concatenate([block.data, block.background]), k / len(blocks), rank, rng)
        events.append(rows[kept])
        weights.append(value)
    return np.concatenate(events), np.concatenate(weights)


def _varies(cell: Ints, is_data: NDArray[np.bool_], rows: Ints, weights: Array) -> bool:
    """Whether labels can change a statistic: a cell with labels of both kinds has events of different weights."""
    total = np.bincount(cell)
    data = np.bincount(cell, weights=is_data)
    mixed = (data > 0) & (data < total)
    return bool((mixed[cell[rows]] & (weights > 0)).any())
