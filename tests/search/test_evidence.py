"""What decides between a resonance and another difference, on records made by hand."""

import dataclasses

import numpy as np
import pytest
from small_records import TWO_WINDOWS, events, peak, peaks, template_scores, two_sample, yield_fit

from bumpfit.pages import search_words
from bumpfit.search import evidence
from bumpfit.search.candidates import region, together
from bumpfit.search.config import ParticleSettings, SearchConfig
from bumpfit.search.equality import Equality, compare
from bumpfit.search.findings import Check, Description, Particle, SignalEvents
from bumpfit.search.particles import _no_particle
from bumpfit.search.sensitivity import Shift, shifts
from bumpfit.search.surrogate import library, signal_like
from bumpfit.search.verdict import decide
from bumpfit.search.windows import interval_edges

CONFIG = SearchConfig()


def test_verdicts() -> None:
    good, bad = Check("a", True, {}, True), Check("b", False, {}, True)
    beside, minor = Check("c", None, {}, True), Check("d", False, {})
    assert decide(2.99, 3.0, (bad,)) == decide(float("nan"), 3.0, ()) == "nothing"
    assert decide(3.0, 3.0, (good, beside, minor)) == "resonance"
    assert decide(9.0, 3.0, (good, bad)) == "difference"


@pytest.mark.parametrize(("p", "verdict"), [(0.5, "nothing"), (1e-4, "nothing"), (1e-20, "difference")])
def test_tables_that_differ_by_themselves_are_called_so_without_an_excess(p: float, verdict: str) -> None:
    found = evidence.checks_of(evidence.Evidence(Equality(9000, 9000, 0.0, p, ())), CONFIG, decisive=False)
    assert [check.kind for check in found] == ["equality"]
    assert found[0].passed is (p > 1e-3)
    assert decide(1.0, CONFIG.claim_z, found) == verdict


def test_a_peak_is_told_from_an_excess_like_the_background() -> None:
    rng = np.random.default_rng(1)
    table = 2600 + 800 * rng.beta(1, 2, 4000)
    signal = library().resonance.to_numpy()[rng.integers(50_000, size=300)] * 3000
    like = 2600 + 800 * rng.beta(1, 2, 300)
    background = 2600 + 800 * rng.beta(1, 2, 40)
    found = [
        evidence.localisation(np.r_[excess, background], 20, table, 0.5, (2600.0, 3400.0), peak("m_JJ", 3000.0))
        for excess in (signal, like)
    ]
    assert found[0].preference > 20
    assert found[1].preference < -20
    states = [evidence._localised(f).passed for f in found]
    assert states == [True, False] and evidence._localised(None).passed is None


@pytest.mark.parametrize(("needed", "passed"), [(None, True), (0.05, False), (-0.05, False), (0.5, True)])
def test_shifts_that_the_other_events_allow(needed: float | None, passed: bool) -> None:
    rng = np.random.default_rng(2)
    table = events(3000 + rng.normal(0, 10, 4000))
    mixed = dataclasses.replace(table, features=rng.gamma(4, 50, (4000, 4)))
    equal = compare(mixed.take(np.arange(2000)), mixed.take(np.arange(2000, 4000)), np.zeros(0))
    allowed = abs(equal.of("m_J1").shift) + 3 * equal.of("m_J1").shift_error
    assert 0.05 < allowed < 0.5
    found = evidence._unshifted(evidence.Evidence(equal, None, (Shift("m_J1", needed, 0.1, 0.2),)))
    assert found.passed is passed and found.decisive
    for compared, why in ((equal, "no excess in a selection"), (None, "without the comparison of the other events")):
        unknown = evidence._unshifted(evidence.Evidence(compared))
        assert unknown.passed is None and why in search_words.check(unknown)[1]


def test_a_shift_makes_the_excess() -> None:
    """Ranks follow the first feature, which is uniform: 2 % of the table lie above .98; 6 % would at a shift of 4 %."""
    rng = np.random.default_rng(3)
    x = rng.uniform(size=20_000)
    table = dataclasses.replace(
        events(np.full(20_000, 3000.0)), features=np.column_stack([x, *rng.uniform(size=(3, 20_000))])
    )
    survival = np.maximum(1 - x, 1e-4)
    found = shifts(table, table, survival, survival, 400.0, 800.0)
    assert found[0].feature == "m_J1" and found[0].needed == pytest.approx(0.0426, abs=0.008)
    assert all(other.needed is None for other in found[1:])


def description(n: float = 100.0) -> Description:
    cloud = signal_like(evidence_masses())
    inside = (cloud.mass >= 2900) & (cloud.mass < 3100)
    scores = dataclasses.replace(template_scores(41, 41), signal=np.linspace(-2.9, 4, int(inside.sum())))
    return Description(*peaks(), dataclasses.replace(yield_fit(n), share=0.5), scores, (2900.0, 3100.0))


def evidence_masses():  # type: ignore[no-untyped-def]
    from bumpfit.search.describe import peak_masses

    return peak_masses(peaks())


def test_region_of_a_candidate() -> None:
    """Events in the span above the score that keeps all but a share of the signal; the rest of it is accounted for."""
    data = events(np.linspace(2800, 3200, 81))
    span = (data.mass >= 2900) & (data.mass < 3100)
    one = dataclasses.replace(description(), template_scores=dataclasses.replace(
        description().template_scores, data=np.linspace(-3, 3, int(span.sum())),  # type: ignore[type-var]
        background=np.linspace(-3, 3, int(span.sum())),
    ))  # fmt: skip
    found = region(one, data, data, 0.05)
    assert found is not None
    assert not found.data[~span].any() and (found.data == found.background).all()
    assert 0 < (~found.data[span]).sum() < 10
    cloud = signal_like(evidence_masses())
    inside = (cloud.mass >= 2900) & (cloud.mass < 3100)
    of_table = cloud.weights[(cloud.mass >= 2800) & (cloud.mass <= 3200)].sum()
    expected = 100 * (1 - 0.95 * cloud.weights[inside].sum() / of_table)
    assert found.left.weights.sum() == pytest.approx(expected, rel=0.1)
    both = together([found, found])
    assert len(both.left.weights) == 2 * len(found.left.weights)
    assert region(dataclasses.replace(one, template_scores=None), data, data, 0.05) is None


def test_further_particles_are_others() -> None:
    first = description()
    known = Particle(
        1e-9, 6.0, 1e-9, 6.0, 2900.0, 3100.0, None, (), SignalEvents(100, 10, 10, "templates"), 130.0, first
    )  # fmt: skip
    settings = ParticleSettings()
    assert "earlier" in _no_particle(first, [known], settings)
    assert _no_particle(dataclasses.replace(first, resonance=peak("m_JJ", 3500.0)), [known], settings) == ""
    decays = dataclasses.replace(first, light=peak("m_J1", 300.0), heavy=peak("m_J2", 700.0))
    assert _no_particle(decays, [known], settings) == ""
    one_prong_lost = dataclasses.replace(first, light=peak("m_J1", 50.0))
    assert "earlier" in _no_particle(one_prong_lost, [known], settings)
    far = dataclasses.replace(first, resonance=peak("m_JJ", 3500.0, valid=False))
    assert "converge" in _no_particle(far, [known], settings)
    weak = dataclasses.replace(first, resonance=peak("m_JJ", 3500.0), yield_fit=yield_fit(z=2.9))
    assert "not seen" in _no_particle(weak, [known], settings)


def test_selected_by_the_most_precise_cut() -> None:
    """60 of 1000 data events are among the highest 2 % of the scores, where 20 are expected; one window of two."""
    data, table = (events(np.linspace(2600, 3400, n)) for n in (2000, 1000))
    in_window = [TWO_WINDOWS[1].contains(t.mass) for t in (data, table)]
    survival = np.full(2000, np.nan), np.full(1000, np.nan)
    for u, rows in zip(survival, in_window, strict=True):
        u[rows] = np.linspace(0.001, 1, int(rows.sum()))
    top = np.flatnonzero(in_window[0])[-90:]
    survival[0][top] = 0.015
    config = dataclasses.replace(CONFIG, efficiencies=(0.3, 0.02, 0.001))
    best = evidence.selected(data, table, survival, two_sample(), TWO_WINDOWS, config)
    assert best is not None
    inside = [int(rows.sum()) for rows in in_window]
    assert [int(rows.sum()) for rows in best.tested] == inside and best.tau == inside[1] / inside[0]
    assert (survival[0][best.chosen[0]] <= 0.02).all() and best.chosen[0].sum() == (survival[0] <= 0.02).sum()
    assert best.expected == pytest.approx(best.chosen[1].sum() * inside[0] / inside[1])
    assert best.excess == pytest.approx(best.chosen[0].sum() - best.expected) and best.excess > 60
    assert (best.low, best.high) == (data.mass[in_window[0]].min(), np.nextafter(3400.0, np.inf))
    highest = survival[0], np.maximum(survival[1], 0.05)  # the better the classifiers, the fewer of the table are left
    best = evidence.selected(data, table, highest, two_sample(), TWO_WINDOWS, config)
    assert best is not None and not best.chosen[1].any() and best.chosen[0].sum() == (survival[0] <= 0.02).sum()
    assert best.expected == pytest.approx(inside[0] / inside[1]) and best.excess > 80
    nothing = survival[0], np.full(1000, np.nan)
    assert evidence.selected(data, table, nothing, two_sample(), TWO_WINDOWS, config) is None


def test_interval_edges() -> None:
    """Powers of the ratio inside of the masses, and the edges of the windows."""
    edges = interval_edges(TWO_WINDOWS, 1.05, np.array([2750.0, 2900.0]), np.array([3010.0]))
    grid = [1.05**k for k in range(1, 200) if 2750 < 1.05**k <= 3010]
    assert edges.tolist() == pytest.approx(sorted([*grid, 2800.0, 3000.0]))
