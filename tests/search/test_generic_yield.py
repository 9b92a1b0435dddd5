"""The yield of a signal of unknown kind: its interval allows for kinds that the classifier hardly sees."""

import dataclasses

import numpy as np
import pytest

from bumpfit.search.surrogate import Surrogate, generic
from bumpfit.search.template import TemplateSettings, fit_candidate, fit_generic, fit_yield
from bumpfit.search.template_scores import TemplateScores

PLACES = (3.0, 1.2)
"""Mean scores of two kinds of decays; the background's is 0."""


def toy(n_signal: int, kind: int, kinds: int, seed: int) -> tuple[TemplateScores, Surrogate]:
    rng = np.random.default_rng(seed)
    of_kind = np.arange(4000) % kinds
    cloud = Surrogate(
        np.zeros((4000, 4)), np.zeros(4000), np.full(4000, 1 / 4000), np.arange(4000) // 2 % 2 + 2, kinds=of_kind
    )
    data = np.r_[rng.normal(0, 1, 20_000), rng.normal(PLACES[kind], 1, n_signal)]
    like = rng.normal(np.array(PLACES)[of_kind], 1)
    return TemplateScores(data, rng.normal(0, 1, 12_000), like), cloud


def test_one_kind_is_the_fit_itself() -> None:
    scores, cloud = toy(300, 0, 1, 1)
    settings = TemplateSettings(template_error=0.0)
    alone = fit_yield(scores, cloud, settings, three_prong_fraction=0.5)
    found = fit_generic(scores, cloud, settings)
    assert (found.n_signal, found.fitted) == (alone.n_signal, 1)  # a free mixture of prongs adds positive fluctuations
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=2)
    assert found.upper_95 == pytest.approx(alone.upper_95, abs=2)


@pytest.mark.parametrize("n_signal", [0, 100, 300])
def test_either_kind_is_allowed_for(n_signal: int) -> None:
    """The mixture gives about half of a signal that it hardly sees; interval and limit hold it nevertheless."""
    held = limits = alone = 0
    for seed in range(4):
        for kind in (0, 1):
            scores, cloud = toy(n_signal, kind, 2, 10 + seed)
            found = fit_generic(scores, cloud)
            held += found.low <= n_signal <= found.high
            limits += n_signal <= found.upper_95
            mixed = fit_yield(scores, cloud, three_prong_fraction=0.5)
            alone += mixed.low <= n_signal <= mixed.high
            assert 0 <= found.low <= found.n_signal <= found.high <= found.upper_95
    assert held >= 5 and limits >= 7
    if n_signal == 300:
        assert alone < held


def prongs(n_signal: int, places: tuple[float, float], seed: int) -> tuple[TemplateScores, Surrogate]:
    """Decays with two prongs in the data, both in the template."""
    rng = np.random.default_rng(seed)
    number = np.arange(4000) % 2 + 2
    cloud = Surrogate(np.zeros((4000, 4)), np.zeros(4000), np.full(4000, 1 / 4000), number)
    data = np.r_[rng.normal(0, 1, 20_000), rng.normal(places[0], 1, n_signal)]
    like = rng.normal(np.array(places)[number - 2], 1)
    return TemplateScores(data, rng.normal(0, 1, 12_000), like, ((0.0, like),)), cloud


def test_prongs_that_look_alike_leave_the_fit_as_it_is() -> None:
    scores, cloud = prongs(300, (3.0, 3.0), 1)
    settings = TemplateSettings(template_error=0.0)
    alone, found = fit_yield(scores, cloud, settings, 0.5), fit_candidate(scores, cloud, settings)
    assert found.n_signal == pytest.approx(alone.n_signal, rel=0.03)
    assert (found.low, found.high) == pytest.approx((alone.low, alone.high), rel=0.03)
    assert found.upper_95 == pytest.approx(alone.upper_95, rel=0.03)
    only_two = dataclasses.replace(cloud, prongs=np.full(4000, 2))
    assert (fit_candidate(scores, only_two).fitted, fit_candidate(scores, cloud).fitted) == (1, 2)  # no mixture is free
    assert fit_candidate(scores, only_two, settings).n_signal == pytest.approx(alone.n_signal, rel=0.03)


def test_a_variant_that_costs_much_changes_nothing() -> None:
    scores, cloud = prongs(300, (3.0, 2.0), 3)
    other = dataclasses.replace(scores, varied=(*scores.varied, (400.0, scores.signal - 1.0)))
    assert fit_candidate(other, cloud).n_signal == pytest.approx(fit_candidate(scores, cloud).n_signal, rel=1e-3)
    likely = dataclasses.replace(scores, varied=(*scores.varied, (0.0, scores.signal - 1.0)))
    assert fit_candidate(likely, cloud).high > fit_candidate(scores, cloud).high


def test_the_templates_are_those_of_the_variant_that_fits() -> None:
    """Goodness of fit and figure: a detector that sees the signal elsewhere is no bad fit."""
    scores, cloud = prongs(600, (3.0, 3.0), 4)
    elsewhere = dataclasses.replace(
        scores, signal=scores.signal - 1.5, varied=((0.0, scores.signal - 1.5), (1.0, scores.signal))
    )
    found = fit_candidate(elsewhere, cloud)
    assert found.goodness_p > 0.01 > fit_yield(elsewhere, cloud).goodness_p
    assert found.deviance == pytest.approx(fit_yield(scores, cloud).deviance + 1.0)  # its penalty
    assert found.z**2 == pytest.approx(fit_yield(scores, cloud).z ** 2 - 1.0)  # the penalty of the variant


def test_kinds_of_the_library() -> None:
    drawn = generic(np.full(4000, 3000.0), np.random.default_rng(1))
    assert len(np.unique(drawn.kinds)) == 72
    assert all(len(set(drawn.prongs[drawn.kinds == kind])) == 1 for kind in range(72))
    part = drawn.inside(2900.0, 3100.0)
    assert len(part.kinds) == len(part.mass) < 4000


@pytest.mark.parametrize("n", [6, 12, 30])
def test_few_events_that_exclude_little(n: int) -> None:
    scores, cloud = toy(0, 0, 1, 2)
    few = dataclasses.replace(scores, data=np.sort(scores.data)[-n:], background=scores.background[: 2 * n])
    found = fit_yield(few, cloud, TemplateSettings(), three_prong_fraction=0.5)
    assert np.isfinite([found.low, found.high, found.upper_95]).all()
    assert found.low <= found.n_signal <= found.high <= found.upper_95 and found.upper_95 > 0.5 * n
