"""The steps after the primary test, with fits that answer by hand: what is taken, kept, scaled and asked for."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from small_records import near, peaks, searched, selection, template_scores, two_sample, yield_fit

from bumpfit.search import steps
from bumpfit.search.hypotheses import LibraryPart, Tried
from bumpfit.search.template import YieldFit


class Fits:
    """Stands for the fits: gives out the yields in turn, moves the masses, and notes what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *yields: YieldFit) -> None:
        self.yields, self.seeds, self.around, self.looked_from = list(yields), [], [], []
        self.expected: list[float] = []
        self.within: list[float] = []
        for name in ("first_masses", "neighbourhood", "template_yield", "unbiased_masses", "primary_test"):
            monkeypatch.setattr(steps, name, getattr(self, name))

    def first_masses(self, data: Any, background: Any, windows: Any, window: int, *_: Any) -> Any:
        self.looked_from.append(window)
        return peaks(3000.0)

    def neighbourhood(self, data: Any, background: Any, masses: Any, *_: Any) -> Any:
        self.around.append(masses.resonance)
        return near(data, background)

    def template_yield(self, data: Any, background: Any, around: Any, config: Any, *, seed: int, executor: Any) -> Any:
        self.seeds.append(seed)
        return template_scores(around.data_rows.sum(), around.background_rows.sum()), self.yields.pop(0)

    def unbiased_masses(
        self, data: Any, background: Any, around: Any, before: Any, n: float, config: Any, *, seed: int, executor: Any
    ) -> Any:
        self.seeds.append(seed)
        self.expected.append(n)
        self.within.append(before.within)
        return peaks(before.masses[0] + 20)

    def primary_test(self, *_: Any, name: str, **__: Any) -> Any:
        assert name == "forward_trees"
        return [], two_sample(z=3.5, chosen=selection(z=3.9))


def test_without_iterations_the_spectrum_of_all_events_is_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of the efficiency of the selection: no fewer than the 90 events that are seen in it."""
    fits = Fits(monkeypatch)
    found = steps.describe_candidate(searched(0))
    assert (found.signal.value, found.signal.origin) == (90, "all events")
    assert found.upper_95 >= 90 + 1.645 * 15.81
    assert found.first is not None and found.first.resonance.mass == 3000 and found.updated is None
    assert fits.looked_from == [1]  # the window of the best selection
    assert [c.kind for c in found.checks] == ["mass fits", "library"]


def test_two_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Fits(monkeypatch, yield_fit(100.0), yield_fit(120.0))
    found = steps.describe_candidate(searched(2))
    signal = found.signal
    assert (signal.value, signal.error_low, signal.error_high, signal.origin) == (120, 20, 30, "templates")
    assert found.upper_95 == 180
    assert [(s.kind, s.taken) for s in found.steps] == [("templates", True), ("masses", True)]
    assert found.steps[0].before["n_signal"].value == 90 and found.steps[0].after["n_signal"].value == 100
    assert found.steps[1].before["m_JJ"].value == 3000 and found.steps[1].after["m_JJ"].value == 3020
    assert found.steps[1].before["m_JJ"].error == found.steps[1].after["m_J2"].error == 10
    assert found.updated is not None and found.updated.resonance.mass == 3020
    assert found.yield_fit is not None and found.yield_fit.n_signal == 120
    assert fits.around == [3000, 3020] and fits.expected == [100]
    assert len(set(fits.seeds)) == 2  # masses and templates of one iteration share theirs
    assert [c.kind for c in found.checks] == ["mass fits", "masses agree", "library"]


@pytest.mark.parametrize(
    ("masses", "z", "asked", "taken"),
    [
        ((3000.0, 150.0, 400.0), 9.0, False, False),  # those of the peaks
        ((3010.0, 155.0, 410.0), 9.0, False, False),  # as near as its grid
        ((3500.0, 150.0, 400.0), 6.5, True, True),
        ((3000.0, 150.0, 200.0), 6.5, True, True),
        ((3000.0, 150.0, 200.0), 5.5, True, False),  # not clearly better than 5
    ],
)
def test_masses_of_the_library_where_they_tell_more(
    masses: tuple[float, float, float], z: float, asked: bool, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peaks of two particles in one selection may be no particle's masses; the library looks at all masses together."""
    yields = [yield_fit(100.0), dataclasses.replace(yield_fit(130.0), z=z)] if asked else []
    fits = Fits(monkeypatch, *yields, yield_fit(100.0))
    nothing = np.zeros(0)
    less = Tried(nothing.astype(int), nothing, nothing, (1000.0, 100.0, 100.0), 0.5)
    best = Tried(nothing.astype(int), nothing, nothing, masses, 0.8)
    known = dataclasses.replace(searched(1), library=LibraryPart(nothing.astype(int), (less, best)))
    found = steps.describe_candidate(known)
    assert found.first is not None
    assert found.first.resonance.mass == (masses[0] + 20 if taken else 3000)
    assert fits.expected == ([130] if taken else [])
    assert fits.within == [known.config.library.step] * taken  # near the library's, not the highest peaks again
    assert fits.yields == []


@pytest.mark.parametrize(("z", "taken"), [(4.2, True), (3.8, False)])
def test_masses_that_describe_the_data_less_well(monkeypatch: pytest.MonkeyPatch, z: float, taken: bool) -> None:
    """A loss of more than one in Z: the new masses are shown, not taken over."""
    fits = Fits(monkeypatch, yield_fit(100.0, 5.0), yield_fit(120.0, z))
    found = steps.describe_candidate(searched(2))
    assert found.steps[1].taken is taken
    assert found.steps[1].after["n_signal"].value == 120
    assert found.signal.value == (120 if taken else 100)
    assert found.upper_95 == (180 if taken else 160)
    assert found.updated is not None and found.updated.resonance.mass == (3020 if taken else 3000)
    assert fits.around == ([3000, 3020] if taken else [3000, 3020, 3000])


def test_the_third_iteration_is_another_approach(monkeypatch: pytest.MonkeyPatch) -> None:
    Fits(monkeypatch, yield_fit(100.0), yield_fit(120.0))
    found = steps.describe_candidate(searched(3))
    third = found.steps[2]
    assert third.kind == "cross-check"
    assert third.before == {"z_local": 4.0, "selection": "1 %", "z_global": 4.0}
    assert third.after == {"z_local": 3.9, "selection": "1 %", "z_global": 3.5}


def test_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    fits = Fits(monkeypatch, yield_fit(30.0))
    monkeypatch.setattr(steps, "template_scores", lambda d, b, *_, **__: template_scores(len(d), len(b)))

    monkeypatch.setattr(steps, "fit_generic", lambda *_: yield_fit(12.0))
    none = steps.describe_nothing(searched(0))
    assert (none.signal.value, none.upper_95, none.signal.origin) == (12, 72, "generic templates")
    assert none.probability is None and none.steps == () and none.first is None
    two = steps.describe_nothing(searched(2))
    assert (two.signal.value, two.upper_95) == (12, 72)  # the closer look was chosen after looking: it is only shown
    assert [s.kind for s in two.steps] == ["cross-check", "closer look"]
    assert two.steps[1].before == {"n_signal": 12, "n_signal_upper_limit_95": 72}
    assert (two.steps[1].after["n_signal"], two.steps[1].after["n_signal_upper_limit_95"]) == (30, 90)
    assert fits.looked_from == [1]


def test_no_claim_without_jets() -> None:
    found = steps.describe_nothing(searched(2, names=("m_J1",)))
    assert (found.signal.value, found.signal.origin) == (90, "all events")


def test_updated_scores_sum_to_the_yield() -> None:
    """The part of the yield that lies in the neighbourhood there, the rest elsewhere; templates are the order."""
    known = searched(2)
    around = near(known.data, known.background, share=0.5)
    templates = template_scores(int(around.data_rows.sum()), int(around.background_rows.sum()))
    found = steps._updated(known, around, templates, dataclasses.replace(yield_fit(8.0)))
    assert found[around.data_rows].sum() == pytest.approx(4, abs=1e-6)
    assert found[~around.data_rows].sum() == pytest.approx(4, abs=1e-6)
    assert len(np.unique(found)) == len(found)
