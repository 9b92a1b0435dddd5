"""Score all events: forward for the primary test, cross-fitted for everything else; both resumable."""

from __future__ import annotations

import os
from concurrent.futures import Executor

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2, rankdata

from bumpfit.errors import BumpfitError
from bumpfit.events.tables import Events
from bumpfit.files import atomic
from bumpfit.progress import bar
from bumpfit.runs import Arrays, Run
from bumpfit.scoring import Classifier, ScoredBlock, cross_fit, deal_folds, forward_scores, survival
from bumpfit.scoring.ranks import mean_log_rank
from bumpfit.search.config import SearchConfig
from bumpfit.search.findings import Scores, ShapeCheck
from bumpfit.search.hypotheses import LibraryPart, Tried
from bumpfit.search.posterior import calibrated, untied
from bumpfit.search.two_sample import TwoSampleTest, two_sample_test
from bumpfit.search.windows import InWindows, Window, home_window

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Region = tuple[NDArray[np.bool_], NDArray[np.bool_]]


def regions(data: Events, background: Events, windows: tuple[Window, ...]) -> list[Region]:
    """Masks (data, background) of the events of each window."""
    return [(w.contains(data.mass), w.contains(background.mass)) for w in windows]


def deal_blocks(data: Events, background: Events, config: SearchConfig, seed: int) -> tuple[Ints, Ints]:
    """Block numbers of data (N,) and background (M,); block 0 is only trained on."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 11]))
    return config.forward.deal(len(data), rng), config.forward.deal(len(background), rng)


def mass_windows(data: Events, background: Events, config: SearchConfig, seed: int) -> tuple[Window, ...]:
    """Mass windows, laid out on the background events that are only trained on: the tested ones do not decide."""
    first = deal_blocks(data, background, config, seed)[1] == 0
    return config.windows.windows(background.mass[first], share=config.forward.first)


def primary_test(
    data: Events,
    background: Events,
    windows: tuple[Window, ...],
    approach: Classifier,
    config: SearchConfig,
    *,
    seed: int,
    executor: Executor | None,
    kept: Run,
    library: LibraryPart | None = None,
    name: str = "forward",
) -> tuple[list[list[ScoredBlock]], TwoSampleTest]:
    """Forward scores of all windows, and their test; with the library's part, where it is given."""
    block_d, block_b = deal_blocks(data, background, config, seed)

    def make() -> Arrays:
        arrays: Arrays = {}
        with bar("primary test", total=len(windows) * config.forward.blocks) as advance:
            for w, b in forward_scores(
                data.features, background.features, block_d, block_b, regions(data, background, windows), approach,
                seed=seed, executor=executor,
            ):  # fmt: skip
                arrays[f"{w}_{b.block}_data"], arrays[f"{w}_{b.block}_background"] = b.data, b.background
                advance()
        return arrays

    stored = kept.piece(name, make)
    scored = []
    for w, (in_d, in_b) in enumerate(regions(data, background, windows)):
        scored.append(
            [
                ScoredBlock(
                    block,
                    np.flatnonzero(in_d & (block_d == block)),
                    np.flatnonzero(in_b & (block_b == block)),
                    stored[f"{w}_{block}_data"],
                    stored[f"{w}_{block}_background"],
                )
                for block in range(1, config.forward.blocks + 1)
            ]
        )
    test = two_sample_test(
        scored, windows, config.efficiencies, (data.mass, background.mass),
        min_background=config.min_background, rank=config.rank, library=library, seed=seed,
    )  # fmt: skip
    return scored, test


def forward_survival(
    scored: list[list[ScoredBlock]], data: Events, background: Events, windows: tuple[Window, ...]
) -> tuple[Array, Array]:
    """Background survival fractions of the tested events in their home windows, NaN for the others: (N,) and (M,)."""
    found = []
    for table, of_data in ((data, True), (background, False)):
        home = home_window(table.mass, windows)
        result = np.full(len(table), np.nan)
        for w, blocks in enumerate(scored):
            for block in blocks:
                rows, scores = (block.data_rows, block.data) if of_data else (block.background_rows, block.background)
                mine = home[rows] == w
                result[rows[mine]] = survival(scores, block.background)[mine]
        found.append(result)
    return found[0], found[1]


def cross_fitted(
    data: Events,
    background: Events,
    windows: tuple[Window, ...],
    config: SearchConfig,
    *,
    seed: int,
    executor: Executor | None,
    kept: Run,
    library: LibraryPart | None = None,
) -> tuple[InWindows, InWindows]:
    """Background survival fractions in every window, of data (N events) and background (M).

    With the library's part the mean log rank of both sources is taken, fold by fold.
    """
    fold_d, fold_b = score_folds(data, background, config, seed)
    places = regions(data, background, windows)

    def make() -> Arrays:
        arrays: Arrays = {}
        with bar("event scores", total=len(windows)) as advance:
            raw = cross_fit(
                data.features,
                background.features,
                fold_d,
                fold_b,
                places,
                config.approach,
                seed=seed,
                executor=executor,
            )
            for w, (raw_d, raw_b, _) in enumerate(raw):
                if library is not None:
                    raw_d, raw_b = _with_library(raw_d, raw_b, (fold_d, fold_b), library.windows[w])
                raw_d, raw_b = raw_d[places[w][0]], raw_b[places[w][1]]  # the events inside, alone
                u_d, u_b = np.full(len(raw_d), np.nan), np.full(len(raw_b), np.nan)
                for fold in range(config.folds):
                    d, b = fold_d[places[w][0]] == fold, fold_b[places[w][1]] == fold
                    u_d[d], u_b[b] = survival(raw_d[d], raw_b[b]), survival(raw_b[b], raw_b[b])
                arrays[f"{w}_data"], arrays[f"{w}_background"] = u_d, u_b
                advance()
        return arrays

    stored = kept.piece("cross_fitted_inside", make)
    inside_d, inside_b = zip(*places, strict=True)
    return (
        InWindows(inside_d, tuple(stored[f"{w}_data"] for w in range(len(windows)))),
        InWindows(inside_b, tuple(stored[f"{w}_background"] for w in range(len(windows)))),
    )


def forward_ranks(
    scored: list[list[ScoredBlock]], data: Events, background: Events, windows: tuple[Window, ...]
) -> tuple[Array, Array]:
    """Fraction of the events of its tested block and home window that an event is among the highest of.

    Data (N,) and background (M,) are ranked together, so a rank does not know the label; NaN for events that are not
    tested.
    """
    homes = home_window(data.mass, windows), home_window(background.mass, windows)
    found = np.full(len(data), np.nan), np.full(len(background), np.nan)
    for w, blocks in enumerate(scored):
        for block in blocks:
            mine_d, mine_b = homes[0][block.data_rows] == w, homes[1][block.background_rows] == w
            scores = np.concatenate([block.data[mine_d], block.background[mine_b]])
            rank = rankdata(-scores, method="max") / max(len(scores), 1)
            found[0][block.data_rows[mine_d]] = rank[: mine_d.sum()]
            found[1][block.background_rows[mine_b]] = rank[mine_d.sum() :]
    return found


def score_folds(data: Events, background: Events, config: SearchConfig, seed: int) -> tuple[Ints, Ints]:
    """Folds of the scores of data (N,) and background (M,)."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 12]))
    return deal_folds(len(data), config.folds, rng), deal_folds(len(background), config.folds, rng)


def _with_library(data: Array, background: Array, folds: tuple[Ints, Ints], tried: Tried) -> tuple[Array, Array]:
    """Mean log ranks of learned scores (N,), (M,) and the library's, fold by fold; NaN outside of the window."""
    learned, of_library = np.concatenate([data, background]), np.full(len(data) + len(background), np.nan)
    of_library[tried.rows] = tried.scores
    fold, result = np.concatenate(folds), np.full(len(learned), np.nan)
    inside = ~np.isnan(learned)
    for number in np.unique(fold):
        mine = inside & (fold == number)
        result[mine] = mean_log_rank([learned[mine], of_library[mine]])
    return result[: len(data)], result[len(data) :]


def event_scores(
    u_data: InWindows, u_background: InWindows, data: Events, background: Events, windows: tuple[Window, ...]
) -> Scores:
    """Ranks of all events in their home windows; their probabilities wait for the number of signal events."""
    home_d, home_b = home_window(data.mass, windows), home_window(background.mass, windows)
    return Scores(u_data.each_in(home_d), u_background.each_in(home_b), np.zeros(len(data)))


def first_probability(
    scores: Scores, data: Events, windows: tuple[Window, ...], n_signal: float, *, learn: bool
) -> Array:
    """P(signal) of all data events from their ranks, shape (N,); the sum is `n_signal`.

    Where a signal is claimed (`learn`), the windows share it by their excess in the top of the ranks, and each learns
    what a signal looks like there; otherwise all events are alike but for their rank.
    """
    u = scores.survival
    if not learn:
        return untied(calibrated(u, n_signal, learn=False))
    home = home_window(data.mass, windows)
    inside = [home == w for w in range(len(windows))]
    excess = np.array([max(float((u[d] <= TOP).sum() - TOP * d.sum()), 0.0) for d in inside])
    shares = excess / excess.sum() if excess.sum() > 0 else np.array([d.mean() for d in inside])
    result = np.zeros(len(data))
    for d, share in zip(inside, shares, strict=True):
        result[d] = calibrated(u[d], share * n_signal, learn=True)
    return untied(result)


TOP = 0.03
"""Survival fraction up to which the excesses of the windows are compared."""


def shape_checks(
    mass: Array, survival_background: Array, efficiencies: tuple[float, ...], *, bins: int = 10
) -> tuple[ShapeCheck, ...]:
    """Compare the m_JJ spectrum of selected background events with that of all, at every efficiency.

    Bins hold equal shares of the table; a bin of `selected` out of n is hypergeometric, so chi2 has a factor
    1 / (1 - fraction selected). Efficiencies that leave fewer than 5 events a bin in `bins` bins get fewer bins, at
    least two.
    """
    found = []
    for efficiency in sorted(efficiencies, reverse=True):
        chosen = survival_background <= efficiency
        number = int(min(bins, chosen.sum() // 5))
        if number < 2:
            continue
        edges = np.quantile(mass, np.linspace(0, 1, number + 1))
        edges[-1] = np.nextafter(edges[-1], np.inf)
        total, selected = (np.histogram(m, edges)[0].astype(float) for m in (mass, mass[chosen]))
        expected = total * chosen.mean()
        value = float(((selected - expected) ** 2 / expected).sum() / (1 - chosen.mean()))
        found.append(
            ShapeCheck(efficiency, value, number, float(chi2.sf(value, number - 1)), edges, selected, expected)
        )
    return tuple(found)


def write_scores(path: str | os.PathLike[str], data: Events, probability: Array, *, with_mass: bool = False) -> None:
    """CSV of event index (ascending) and score in [0, 1], and the dijet mass in the unit of the input if asked for."""
    if not np.isfinite(probability).all():
        raise BumpfitError("some scores are not finite numbers; please report this with the tables that cause it")
    frame = pd.DataFrame({"score": np.clip(probability, 0.0, 1.0)}, index=pd.Index(data.index))
    if with_mass:
        frame[data.mass_name] = data.frame(data.unit)[data.mass_name]
    with atomic(path) as temporary:
        frame.sort_index().to_csv(temporary)  # all digits: no two scores tie
