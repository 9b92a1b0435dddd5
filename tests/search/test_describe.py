"""Cuts, neighbourhoods, yields and masses of a candidate on hand-made records."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from small_records import events, near, peak, peaks, surrogate, template_scores, yield_fit

from bumpfit.search import describe
from bumpfit.search import peaks as peak_fits
from bumpfit.search.config import SearchConfig
from bumpfit.search.surrogate import Masses
from bumpfit.search.template_scores import TemplateScores
from bumpfit.search.windows import InWindows, Window

CONFIG = SearchConfig()


def test_best_cut_by_hand() -> None:
    """100 of each; 40 data events below .1 where 10 are expected: 30 / sqrt(50 + 10 + 1); below .5: 25 / sqrt(126)."""
    background = (np.arange(100) + 0.5) / 100
    data = np.r_[np.full(40, 0.05), np.full(35, 0.3), np.full(25, 0.9)]
    assert describe.best_cut(data, background, (0.5, 0.1)) == 0.1
    shy = np.r_[np.full(12, 0.005), np.full(60, 0.3), np.full(28, 0.9)]
    assert describe.best_cut(shy, background, (0.5, 0.01)) == 0.5  # 12 events are too few for a peak
    assert describe.best_cut(shy[:15], background, (0.05, 0.01)) == 0.05
    assert describe.best_cut(np.r_[data, np.full(500, np.nan)], background, (0.5, 0.1)) == 0.1


def test_a_large_table_is_scaled() -> None:
    """Ten background events for one in the data: unscaled, the looser cut would have no signal at all."""
    background = (np.arange(1000) + 0.5) / 1000
    data = np.r_[np.full(30, 0.005), np.full(40, 0.05), np.full(30, 0.5)]
    assert describe.best_cut(data, background, (0.1, 0.01)) == 0.1


def test_most_precise_cut_by_hand() -> None:
    """Half of the background is at 0, the signal at 1 and 3: where both are kept S / sqrt(S + B (1 + 1 / tau) + 1)."""
    background = np.r_[np.zeros(900), np.full(90, 1.0), np.full(10, 3.0)]
    signal, weights = np.r_[np.full(50, 1.5), np.full(50, 3.5)], np.full(100, 0.01)
    for n in (20.0, 2000.0):
        cut = describe._most_precise(TemplateScores(signal, background, signal), weights, n, 2.0)
        merits = {
            c: s * n / np.sqrt(s * n + (background > c).sum() / 2 * 1.5 + 1)
            for c, s in ((0.5, 1.0), (1.2, 1.0), (3.2, 0.5))
        }
        best = max(merits, key=lambda c: merits[c])
        passed = (signal > cut).mean(), (background > cut).sum()
        assert passed == ((signal > best).mean(), (background > best).sum())


@pytest.mark.parametrize("windows", [1, 2])
def test_neighbourhood(monkeypatch: pytest.MonkeyPatch, windows: int) -> None:
    cloud = surrogate(400)
    monkeypatch.setattr(describe, "signal_like", lambda masses: cloud)
    data, background = events(np.linspace(2000, 4000, 201)), events(np.linspace(2000, 4000, 101))
    spans = (Window(-np.inf, np.inf, 3000.0),) * windows
    found = describe.neighbourhood(data, background, Masses(3000.0, 150.0, 400.0), spans, CONFIG)
    half = np.sqrt(CONFIG.windows.ratio) if windows > 1 else np.inf
    low, high = max(2000.0, 3000 / half), min(4000.0, 3000 * half)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.data_rows.sum() == ((data.mass >= low) & (data.mass <= high)).sum()
    assert found.background_rows.sum() == ((background.mass >= low) & (background.mass <= high)).sum()
    assert found.share == pytest.approx(1.0, abs=0.01)
    narrow = events(np.linspace(2990, 3010, 21))
    part = describe.neighbourhood(narrow, narrow, Masses(3000.0, 150.0, 400.0), spans, CONFIG)
    assert part.share == pytest.approx(1.0)  # of the signal in the table, not of all that is produced


def test_share_of_the_signal_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = dataclasses.replace(surrogate(10), mass=np.r_[2500.0, 3000.0, np.full(8, 5000.0)])
    monkeypatch.setattr(describe, "signal_like", lambda masses: cloud)
    table = events(np.linspace(2000, 4000, 101))
    two = (Window(-np.inf, 3000.0, 2750.0), Window(2800.0, np.inf, 3250.0))
    found = describe.neighbourhood(table, table, Masses(3000.0, 150.0, 400.0), two, CONFIG)
    assert found.share == pytest.approx(0.5)  # one of the two events that lie in the table
    assert found.surrogate.weights.sum() == pytest.approx(1)


def test_yield_of_the_whole_table(monkeypatch: pytest.MonkeyPatch) -> None:
    data = events(np.linspace(2600, 3400, 81))
    monkeypatch.setattr(describe, "template_scores", lambda d, b, *_, **__: template_scores(len(d), len(b)))
    monkeypatch.setattr(describe, "fit_candidate", lambda *_: yield_fit(100.0))
    around = near(data, data, share=0.5)
    scores, found = describe.template_yield(data, data, around, CONFIG, seed=1)
    assert (found.n_signal, found.low, found.high, found.upper_95) == (200, 160, 260, 320)
    assert (found.share, found.z) == (0.5, 5.0)
    assert len(scores.data) == around.data_rows.sum()


@pytest.mark.parametrize(("trees", "templates", "wanted"), [(1, 4, 4), (6, 4, 6), (2, 1, 2)])
def test_the_yield_is_of_several_trainings(
    trees: int, templates: int, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One training's luck is in the yield; the trees of other questions may be quicker."""
    config = dataclasses.replace(
        CONFIG,
        template_trees=dataclasses.replace(CONFIG.template_trees, models=trees),
        templates=dataclasses.replace(CONFIG.templates, models=templates),
    )
    used: list[int] = []

    def scored(d: Any, b: Any, cloud: Any, how: Any, *_: Any) -> Any:
        used.append(how.approach.models)
        return template_scores(len(d), len(b))

    data = events(np.linspace(2600, 3400, 81))
    monkeypatch.setattr(describe, "candidate_scores", scored)
    monkeypatch.setattr(describe, "fit_candidate", lambda *_: yield_fit(100.0))
    describe.template_yield(data, data, near(data, data, share=0.5), config, seed=1)
    assert used == [wanted]


def test_first_masses_go_to_the_nearest_window(monkeypatch: pytest.MonkeyPatch) -> None:
    windows = tuple(Window(2000 + 300 * k, 2600 + 300 * k, 2300 + 300 * k) for k in range(4))
    data = events(np.linspace(2000, 3499, 300))
    inside = tuple(w.contains(data.mass) for w in windows)
    u = InWindows(inside, tuple(np.full(mask.sum(), 0.05) for mask in inside))
    every_other = np.arange(300) % 2 == 0
    seen: list[tuple[float, float, float]] = []

    def masses(d: Any, b: Any, tau: float, span: dict[str, float], config: Any) -> Any:
        seen.append((tau, span["low"], d.mass.min()))
        return peaks(2850.0)

    monkeypatch.setattr(describe, "masses_of", masses)
    found = describe.first_masses(data, data.take(every_other), windows, 0, u, u.take(every_other), CONFIG)
    assert found[0].mass == 2850 and len(seen) == 2  # window 0, and then the one that is centred nearest
    assert seen[0][1] == pytest.approx(2000) and seen[1][1] == pytest.approx(2600, abs=6)
    assert all(tau == pytest.approx(0.5, abs=0.01) and low == first for tau, low, first in seen)


def test_masses_without_their_own_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    data = events(np.linspace(2600, 3400, 81))
    around = near(data, data, share=0.5)
    trained: list[tuple[np.ndarray, int]] = []
    fits: list[dict[str, Any]] = []
    expected: list[float] = []

    def scores(d: Any, b: Any, cloud: Any, how: Any) -> TemplateScores:
        assert d.shape[1] == cloud.features.shape[1]
        trained.append((d, how.seed))
        return template_scores(len(d), len(b))

    def fit(name: str, d: Any, b: Any, tau: float, **options: Any) -> Any:
        fits.append({"name": name, "tau": tau, **options})
        return peak(name, 1.0)

    def precise(found: Any, weights: Any, n: float, tau: float) -> float:
        expected.append(n)
        return 0.0

    monkeypatch.setattr(describe, "template_scores", scores)
    monkeypatch.setattr(describe, "fit_peak", fit)
    monkeypatch.setattr(describe, "_most_precise", precise)
    describe.unbiased_masses(
        data, data, around, describe.Around((3000.0, 150.0, 400.0)), 100.0, CONFIG, seed=50, executor=None
    )
    light = data.column("m_J1")[around.data_rows]
    assert [t[0].shape[1] for t in trained] == [4, 3, 3]
    np.testing.assert_array_equal(trained[1][0][:, 0], light + 200)  # the heavier mass for the lighter one
    np.testing.assert_array_equal(trained[2][0][:, 0], light)
    assert [seed for _, seed in trained] == [51, 52, 53]
    assert [(f["name"], f["start"]) for f in fits] == [("m_JJ", 3000.0), ("m_J1", 150.0), ("m_J2", 400.0)]
    assert [(f.get("low"), f.get("high")) for f in fits] == [(2900.0, 3100.0), (None, None), (None, None)]
    assert expected == [50, 50, 50]
    describe.unbiased_masses(
        data, data, around, describe.Around((3000.0, 150.0, 400.0), 1.25), 100.0, CONFIG, seed=50, executor=None
    )
    assert [(f.get("low"), f.get("high")) for f in fits[3:]] == [(2900.0, 3100.0), (120.0, 187.5), (320.0, 500.0)]


def test_starts_of_a_peak() -> None:
    """The given place, and the largest excess in a narrow and a wide kernel; two widths each."""
    centres, settings = np.linspace(105, 295, 20), CONFIG.peaks
    excess = np.where(np.abs(centres - 205) < 1, 50.0, 0.0)
    assert peak_fits._starts(centres, excess, None, settings) == [(205.0, 0.03), (205.0, 0.07)]
    assert peak_fits._starts(centres, excess, 150.0, settings)[:2] == [(150.0, 0.03), (150.0, 0.07)]
    assert len(peak_fits._starts(centres, excess, 150.0, settings)) == 4


def test_the_lighter_daughter_is_first() -> None:
    found = describe.peak_masses((peak("m_JJ", 3000.0), peak("m_J1", 420.0), peak("m_J2", 180.0)))
    assert (found.resonance, found.light, found.heavy) == pytest.approx((3000, 180, 420))
