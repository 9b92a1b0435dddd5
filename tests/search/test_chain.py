"""How the pieces of a search are put together; every piece answers by hand."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from small_records import TWO_WINDOWS, events, peaks, spectrum, two_sample, yield_fit

from bumpfit.errors import BumpfitError, InputError
from bumpfit.runs import nowhere
from bumpfit.search import chain, without_table
from bumpfit.search.config import SearchConfig
from bumpfit.search.findings import Check, Description, Findings, Scores, ShapeCheck, SignalEvents
from bumpfit.search.mass_range import MassRange
from bumpfit.search.score_events import deal_blocks, mass_windows
from bumpfit.search.steps import Described

CONFIG = SearchConfig()
SHAPES = (ShapeCheck(0.1, 9.0, 5, 0.5, np.arange(6.0), np.ones(5), np.ones(5)),)


def test_tested_events_do_not_decide_the_windows() -> None:
    rng = np.random.default_rng(1)
    data, background = (events(2000 + rng.exponential(600, n).clip(max=3000)) for n in (4000, 6000))
    config = dataclasses.replace(CONFIG, windows=dataclasses.replace(CONFIG.windows, min_events=300))
    tested = deal_blocks(data, background, config, 3)[1] > 0
    found = mass_windows(data, background, config, 3)
    assert len(found) > 2
    for rows, same in ((tested, True), (~tested, False)):
        mass = np.where(rows, 0.5 * (background.mass + 2000), background.mass)
        moved = mass_windows(data, dataclasses.replace(background, mass=mass), config, 3)
        assert (moved == found) is same


def found(monkeypatch: pytest.MonkeyPatch, z: float, names: tuple[str, ...] | None = None) -> Findings:
    """Findings of a search whose primary test has this significance."""
    data, background = events(np.linspace(2600, 3400, 81)), events(np.linspace(2600, 3400, 41))
    if names is not None:
        data, background = (
            dataclasses.replace(t, names=names, features=t.features[:, : len(names)]) for t in (data, background)
        )
    scores = Scores(np.full(81, 0.5), np.full(41, 0.5), np.full(81, 0.25))
    first = Description(*peaks(), None, None)
    fitted = dataclasses.replace(first, yield_fit=yield_fit(40.0))
    told = Described(
        SignalEvents(40, 20, 30, "templates"), 100.0, np.full(81, 0.9), first, fitted,
        checks=(Check("mass fits", True, {}),),
    )  # fmt: skip
    none = Described(SignalEvents(5, 5, 9, "generic templates"), 23.0, np.full(81, 0.1), null_yield=yield_fit(5.0))
    stands: dict[str, Any] = {
        "mass_windows": TWO_WINDOWS, "primary_test": ([], two_sample(z)),
        "cross_fitted": (np.full((2, 81), 0.5), np.full((2, 41), 0.5)), "event_scores": scores, "shape_checks": SHAPES,
        "forward_survival": (np.full(81, 0.5), np.full(41, 0.5)), "selected_spectra": (spectrum(),),
        "describe_candidate": told, "describe_nothing": none,
    }  # fmt: skip
    for name, answer in stands.items():
        monkeypatch.setattr(chain, name, lambda *_, _answer=answer, **__: _answer)
    return chain.search(data, background, CONFIG, 7, None, 2, nowhere())


@pytest.mark.parametrize(("z", "claim"), [(3.0, True), (2.99, False)])
def test_a_claim_is_described(monkeypatch: pytest.MonkeyPatch, z: float, claim: bool) -> None:
    answer = found(monkeypatch, z)
    assert answer.verdict == ("difference" if claim else "nothing") and not answer.particles
    assert answer.signal.value == (40 if claim else 5)
    assert answer.upper_95 == (100 if claim else 23)
    if claim:  # tables that differ, but not like a resonance, have no signal to find
        assert answer.updated_probability.sum() == pytest.approx(1e-3, rel=1e-3)
    else:
        assert answer.updated_probability == pytest.approx(np.full(81, 0.1))
    assert answer.scores.probability.sum() == pytest.approx(1e-3 if claim else 5, rel=1e-3)
    assert (answer.first is not None) is claim and (answer.null_yield is None) is claim
    kinds = [c.kind for c in answer.checks]
    assert kinds == [
        "repeated",
        "background shape",
        "sidebands",
        "templates",
        *(("yield and excess", "mass fits") if claim else ()),
        "equality",
        *(("localisation", "shifts") if claim else ()),
    ]
    if claim:  # 90 +- 16 events are seen in the tested half, 40 (at most 70) are fitted
        assert not answer.checks[4].passed


def test_a_claim_without_jets_has_no_masses(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = found(monkeypatch, 5.0, names=("m_J1",))
    assert answer.claim and answer.first is None and answer.signal.value == 5


def alone(monkeypatch: pytest.MonkeyPatch, **changed: Any) -> Findings:
    monkeypatch.setattr(without_table, "mass_range", lambda *_: MassRange(2000.0, 6000.0, 0, 1))
    monkeypatch.setattr(without_table, "spectrum_test", lambda *_: spectrum(**changed))
    table = events(np.array([1500.0, 2500, 3500, 4500, 5500, 6500]))
    return without_table.search_without_table(table, CONFIG, 7, None, nowhere())


def test_a_spectrum_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 (-10, +8) events of a peak: P(signal) is its share of a bin, 10 of 40, 10 of 20, and none elsewhere."""
    answer = alone(monkeypatch)
    assert answer.scores.probability == pytest.approx([0, 0, 0.25, 0.5, 0, 0])
    assert (answer.signal.value, answer.signal.error_low, answer.signal.error_high) == (20, 10, 8)
    assert answer.upper_95 == 36 and not answer.claim and answer.particles == ()
    assert [c.kind for c in answer.checks] == ["repeated", "sidebands", "mass range"]


@pytest.mark.parametrize(("z", "claim"), [(3.0, True), (2.99, False)])
def test_a_spectrum_claims_by_its_global_significance(monkeypatch: pytest.MonkeyPatch, z: float, claim: bool) -> None:
    answer = alone(monkeypatch, z_local=5.0, z_global=z, peak_mass=3450.0)
    assert answer.claim is claim
    if claim:
        (found,) = answer.particles
        assert found.resonance is not None
        beside = np.hypot(0.01, 0.25 * 0.03)  # energy scale, and form of a peak of 3 %
        assert found.resonance.value == 3450
        assert found.resonance.error == pytest.approx(np.hypot(40, beside * 3450))  # half of 3420 to 3500
        (wide,) = alone(monkeypatch, z_local=5.0, z_global=z).particles
        assert wide.resonance is not None and wide.resonance.value == 3500
        assert wide.resonance.error == pytest.approx(np.hypot(0.03, beside) * 3500)
    with pytest.raises(BumpfitError, match="too narrow"):
        alone(monkeypatch, usable=False)


def test_tables_that_cannot_be_searched() -> None:
    good = events(np.linspace(2600, 3400, 81))
    chain.check_table(good, CONFIG)
    needed = 2 * max(CONFIG.forward.blocks + 1, CONFIG.folds)
    chain.check_table(events(np.full(needed, 3000.0)), CONFIG)
    for table, words in (
        (dataclasses.replace(good, mass_name="m_J1"), "also a feature"),
        (events(np.full(81, 13_000.0)), "collision energy"),
        (events(np.full(needed - 1, 3000.0)), f"fewer than the {needed}"),
    ):
        with pytest.raises(InputError, match=words):
            chain.check_table(table, CONFIG)
    chain.check_selections(good, dataclasses.replace(CONFIG, min_background=3))
    with pytest.raises(InputError, match="loosest selection keeps 0"):
        chain.check_selections(events(np.full(10, 3000.0)), CONFIG)
