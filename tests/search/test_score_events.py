"""Cross-fitted ranks: those of the events inside of the windows are all that is kept, and the numbers stay."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from small_records import events

from bumpfit.runs import nowhere
from bumpfit.scoring import survival
from bumpfit.search import score_events
from bumpfit.search.config import SearchConfig
from bumpfit.search.hypotheses import LibraryPart, Tried
from bumpfit.search.score_events import cross_fitted, score_folds
from bumpfit.search.windows import InWindows, Window, home_window

WINDOWS = (Window(-np.inf, 2900.0, 2600.0), Window(2700.0, 3300.0, 3000.0), Window(3100.0, np.inf, 3400.0))


def same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


@pytest.mark.parametrize("with_library", [False, True])
def test_ranks_are_those_of_all_windows_and_events(monkeypatch: pytest.MonkeyPatch, with_library: bool) -> None:
    rng = np.random.default_rng(5)
    data, background = events(rng.uniform(2500, 3500, 700)), events(rng.uniform(2500, 3500, 400))
    places = [(w.contains(data.mass), w.contains(background.mass)) for w in WINDOWS]
    raw = [tuple(np.where(mask, rng.normal(size=len(mask)).round(1), np.nan) for mask in both) for both in places]

    def scores(*_: Any, **__: Any) -> Iterator[Any]:
        yield from ((d, b, np.zeros(0)) for d, b in raw)

    monkeypatch.setattr(score_events, "cross_fit", scores)
    config, library = SearchConfig(), None
    folds = score_folds(data, background, config, 3)
    if with_library:
        tried = []
        for both in places:
            rows = np.flatnonzero(np.concatenate(both))
            tried.append(Tried(rows, np.ones(len(rows)), rng.normal(size=len(rows)), (3e3, 1e2, 2e2), 1.0))
        library = LibraryPart(np.zeros(1100, int), tuple(tried))
        raw_ranked = [score_events._with_library(d, b, folds, part) for (d, b), part in zip(raw, tried, strict=True)]
    dense = np.full((3, 700), np.nan), np.full((3, 400), np.nan)
    for w, (of_data, of_background) in enumerate(raw_ranked if with_library else raw):
        for fold in range(config.folds):
            d, b = places[w][0] & (folds[0] == fold), places[w][1] & (folds[1] == fold)
            dense[0][w, d] = survival(of_data[d], of_background[b])
            dense[1][w, b] = survival(of_background[b], of_background[b])
    found = cross_fitted(data, background, WINDOWS, config, seed=3, executor=None, kept=nowhere(), library=library)
    for table, ranks, expected in zip((data, background), found, dense, strict=True):
        assert all(same_bits(ranks[w], expected[w]) for w in range(3))
        home = home_window(table.mass, WINDOWS)
        assert same_bits(ranks.each_in(home), expected[home, np.arange(len(table))])
        some = rng.random(len(table)) < 0.4
        assert all(same_bits(ranks.take(some)[w], expected[w, some]) for w in range(3))
        assert sum(v.size for v in ranks.values) == np.isfinite(expected).sum()


def test_a_window_that_does_not_hold_an_event_has_no_value() -> None:
    ranks = InWindows((np.array([True, False]), np.array([True, True])), (np.array([0.5]), np.array([0.2, 0.1])))
    np.testing.assert_array_equal(ranks[0], [0.5, np.nan])
    np.testing.assert_array_equal(ranks.each_in(np.array([1, 0])), [0.2, np.nan])
