"""The library's part of a search: which masses each window tries, on which blocks, kept as a piece of the run."""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from bumpfit.events.tables import Events
from bumpfit.progress import bar
from bumpfit.runs import Arrays, Run
from bumpfit.scoring import deal_folds
from bumpfit.search.config import SearchConfig
from bumpfit.search.describe import has_jets, jet_features
from bumpfit.search.hypotheses import LibraryPart, Tried, WindowEvents, daughter_masses, generic_ratio, try_library
from bumpfit.search.score_events import deal_blocks, score_folds
from bumpfit.search.windows import Window

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

EDGE = 0.001
"""Quantile of the masses of a window at which resonances are tried first and last."""


def span_of(window: Window, mass: Array, config: SearchConfig, *, first: bool, last: bool) -> tuple[float, float]:
    """Resonance masses that belong to a window: its home part, and the ends of the spectrum for the outermost ones."""
    low, high = (float(x) for x in np.quantile(mass, [EDGE, 1 - EDGE]))
    half = float(np.sqrt(config.windows.step))
    return low if first else window.centre / half, high if last else window.centre * half


def library_part(
    data: Events,
    background: Events,
    windows: tuple[Window, ...],
    config: SearchConfig,
    *,
    seed: int,
    executor: Executor | None,
    kept: Run,
) -> LibraryPart | None:
    """Try the library in all windows; None where the events are not described by the four jet features.

    No classifier here knows which events are data.
    """
    if not config.library.use or not (has_jets(data) and has_jets(background)):
        return None
    settings = config.library
    rng = np.random.default_rng(np.random.SeedSequence([seed, 14]))
    block = np.concatenate(deal_blocks(data, background, config, seed))
    block = np.where(block == 0, deal_folds(len(block), settings.first_parts, rng), block + settings.first_parts - 1)
    features = np.concatenate([jet_features(data), jet_features(background)])
    mass, fold = (
        np.concatenate([data.mass, background.mass]),
        np.concatenate(score_folds(data, background, config, seed)),
    )
    is_data = np.arange(len(mass)) < len(data)

    def make() -> Arrays:
        arrays: Arrays = {}
        with bar("library", total=len(windows)) as advance:
            for w, window in enumerate(windows):
                rows = np.flatnonzero(window.contains(mass))
                x, of_rows = features[rows], mass[rows]
                span = span_of(window, of_rows, config, first=w == 0, last=w == len(windows) - 1)
                centre = float(np.sqrt(span[0] * span[1]))
                ratio = generic_ratio(
                    x, daughter_masses(centre, settings), centre, config.template_trees, settings,
                    seed=int(np.random.SeedSequence([seed, 300, w]).generate_state(1)[0]), executor=executor,
                )  # fmt: skip
                events = WindowEvents(x, of_rows, is_data[rows], block[rows], fold[rows], rows)
                tried = try_library(events, span, ratio, settings)
                arrays[f"{w}_weights"], arrays[f"{w}_scores"] = tried.weights, tried.scores
                arrays[f"{w}_best"] = np.array([*tried.masses, tried.share])
                advance()
        return arrays

    stored = kept.piece("library", make)
    found = []
    for w, window in enumerate(windows):
        best = stored[f"{w}_best"]
        masses = (float(best[0]), float(best[1]), float(best[2]))
        rows = np.flatnonzero(window.contains(mass))
        found.append(Tried(rows, stored[f"{w}_weights"], stored[f"{w}_scores"], masses, float(best[3])))
    return LibraryPart(block.astype(np.int64), tuple(found))
