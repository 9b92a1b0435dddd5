"""Signal of a candidate that leaves the tables with an earlier particle near it is counted and put into its yield."""

import dataclasses

import numpy as np
import pytest
from small_records import peak, yield_fit

from bumpfit.events.tables import Events
from bumpfit.scoring import BoostedTrees
from bumpfit.search import describe
from bumpfit.search.candidates import alike, region
from bumpfit.search.config import SearchConfig
from bumpfit.search.findings import Description
from bumpfit.search.peaks import PeakFit
from bumpfit.search.surrogate import FEATURES, Masses, Surrogate, generic, signal_like
from bumpfit.search.windows import Window

CONFIG = dataclasses.replace(
    SearchConfig().quick(), template_trees=BoostedTrees(models=1, learning_rate=0.2, iterations=40)
)
FIRST, SECOND = Masses(4000.0, 450.0, 640.0), Masses(4233.0, 301.0, 705.0)
EVERYWHERE = (Window(-np.inf, np.inf, 4000.0),)


def table_of(mass: np.ndarray, features: np.ndarray) -> Events:
    return Events(np.arange(len(mass)), mass, features, FEATURES)


def drawn(cloud: Surrogate, n: int, rng: np.random.Generator) -> Events:
    rows = rng.choice(len(cloud.mass), n, p=cloud.weights)
    return table_of(cloud.mass[rows], cloud.features[rows])


def joined(*parts: Events) -> Events:
    mass, features = (np.concatenate([getattr(part, name) for part in parts]) for name in ("mass", "features"))
    return table_of(mass, features)


def background(n: int, rng: np.random.Generator) -> Events:
    """Two jets of falling masses, and N-subjettiness like that of one prong."""
    light, heavy = np.sort(rng.gamma(2.0, 90.0, (n, 2)), axis=1).T
    tau = rng.normal(0.65, 0.12, (n, 2))
    return table_of(3600 + 900 * rng.beta(1, 2, n), np.column_stack([light, heavy - light, tau]))


def fits(masses: Masses) -> tuple[PeakFit, PeakFit, PeakFit]:
    return peak("m_JJ", masses.resonance), peak("m_J1", masses.light), peak("m_J2", masses.heavy)


def candidate(masses: Masses, kind: float, near: describe.Neighbourhood, data: Events, table: Events) -> Description:
    scores = describe.yield_scores(
        describe.jet_features(data.take(near.data_rows)), describe.jet_features(table.take(near.background_rows)),
        near.surrogate, CONFIG, seed=5,
    )  # fmt: skip
    fitted = dataclasses.replace(yield_fit(300.0), two_prong_preference=kind)
    scores = scores.of_kind(2 if kind > 0 else 3, near.surrogate)
    return Description(*fits(masses), fitted, scores, (near.low, near.high))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [-30.0, 30.0])
def test_what_leaves_with_a_particle_is_known_beforehand(kind: float) -> None:
    """The share of another signal that is like the first, from trainings done again, is that of injected events."""
    rng = np.random.default_rng(1)
    other = signal_like(SECOND).inside(3600.0, 4500.0)
    table, data = background(3000, rng), joined(background(3000, rng), drawn(other, 2000, rng))
    near = describe.neighbourhood(data, table, FIRST, EVERYWHERE, CONFIG)
    first = candidate(FIRST, kind, near, data, table)
    removed = region(first, data, table, CONFIG.particles.leftover)
    assert removed is not None
    seen = removed.data[3000:].mean()
    gone = alike(first, table, other, CONFIG, seed=9)
    expected = float(other.weights[gone].sum())
    assert 0.02 < expected < 0.98
    assert seen == pytest.approx(expected, abs=0.04)
    own = signal_like(FIRST).of_kind(2 if kind > 0 else 3).inside(near.low, near.high)
    assert own.weights[alike(first, table, own, CONFIG, seed=9)].sum() == pytest.approx(0.99, abs=0.02)
    away = dataclasses.replace(other, mass=other.mass + 9000.0)
    assert not alike(first, table, away, CONFIG, seed=9).any()


def test_the_yield_is_that_before_the_removal() -> None:
    """A third of the signal is left: the templates are those of what is left, and the yield three times the fit's."""
    rng = np.random.default_rng(2)
    cloud = signal_like(SECOND)
    table = background(6000, rng)

    def gone(events: Surrogate) -> np.ndarray:
        return np.asarray(events.features[:, 0] < 290.0)  # by the lighter mass: what is left looks otherwise

    inside = cloud.inside(3600.0, 4500.0)
    signal = drawn(inside, 900, rng)
    left = signal.take(signal.features[:, 0] >= 290.0)
    data = joined(background(6000, rng), left)
    near = describe.neighbourhood(data, table, SECOND, EVERYWHERE, CONFIG, gone)
    assert near.survival == pytest.approx(float(inside.weights[~gone(inside)].sum()), rel=0.02)
    assert near.share == pytest.approx(near.survival, rel=0.02) and near.surrogate.weights.sum() == pytest.approx(1.0)
    fitted = describe.template_yield(data, table, near, CONFIG, seed=3)[1]
    assert fitted.n_signal * near.share == pytest.approx(len(left), rel=0.15)
    assert fitted.low < 900 < fitted.high
    nothing = describe.neighbourhood(
        data, table, SECOND, EVERYWHERE, CONFIG, lambda events: np.ones(len(events.mass), dtype=bool)
    )
    assert nothing.survival == describe.FEWEST_LEFT and nothing.surrogate.weights.sum() == pytest.approx(1.0)
    one = describe.neighbourhood(
        data, table, SECOND, EVERYWHERE, CONFIG, lambda events: np.arange(len(events.mass)) > 0
    )  # of a single event no density is known, in dijet mass or else
    assert one.survival == describe.FEWEST_LEFT and (one.surrogate.weights > 0).all()
    assert np.isfinite(describe.mass_ratio(one.surrogate, table.mass, one.low, one.high)(table.mass)).all()


def test_events_of_the_generic_signal_have_no_candidate() -> None:
    cloud = generic(np.full(500, 4000.0), np.random.default_rng(3))
    none = Description(peak("m_JJ", 4000.0), peak("m_J1", 300.0), peak("m_J2", 600.0), None, None)
    assert not alike(none, background(100, np.random.default_rng(4)), cloud, CONFIG, seed=1).any()
