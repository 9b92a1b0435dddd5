"""Equality of the tables where no signal can be: its law without a difference, and its power with one."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import kstest

from bumpfit.events.tables import FEATURES, Events
from bumpfit.search.equality import EqualitySettings, Left, compare


def table(n: int, rng: np.random.Generator) -> Events:
    mass = 2500 + rng.exponential(500, n)
    columns = np.column_stack(
        [rng.gamma(2, 60, n), rng.gamma(2, 90, n) * (mass / 3000) ** 3, rng.beta(4, 3, n), rng.beta(4, 3, n)]
    )
    return Events(np.arange(n), mass, columns, FEATURES)


def test_equal_tables_have_uniform_p_values() -> None:
    rng = np.random.default_rng(1)
    p, trends = [], []
    for _ in range(150):
        found = compare(table(3000, rng), table(2000, rng), np.array([2800.0, 3200.0]))
        p.append(found.of("tau_2_over_tau_1_J1").p)
        trends.append(found.of("m_J1").z_trend)
    assert kstest(trends, "norm").pvalue > 0.01
    assert np.mean(np.array(p) < 0.1) < 0.2  # two looks, counted twice: conservative


@pytest.mark.parametrize(("column", "name"), [(2, "tau_2_over_tau_1_J1"), (0, "m_J1")])
def test_a_shift_is_found_and_measured(column: int, name: str) -> None:
    rng = np.random.default_rng(2)
    data, background = table(20_000, rng), table(15_000, rng)
    features = data.features.copy()
    features[:, column] *= 1.05
    found = compare(dataclasses.replace(data, features=features), background, np.array([3000.0]))
    assert found.p < 1e-3 and found.deviations[0].variable == name
    assert found.deviations[0].z_trend > 4
    assert found.deviations[0].shift == pytest.approx(0.05, abs=3 * found.deviations[0].shift_error)
    assert 0 < found.deviations[0].shift_error < 0.02


def test_a_spectrum_that_differs_is_the_mass() -> None:
    """The table is scaled to the data in mass intervals, so features that follow the mass do not differ."""
    rng = np.random.default_rng(3)
    data, background = table(20_000, rng), table(20_000, rng)
    keep = rng.uniform(size=20_000) < np.where(data.mass > 3000, 0.6, 1.0)
    found = compare(data.take(keep), background, np.array([3000.0]))
    assert found.deviations[0].variable == "m_JJ" and found.p < 1e-6
    assert found.of("delta_m_J").p > 1e-3
    whole = compare(data.take(keep), background, np.zeros(0))
    assert whole.of("delta_m_J").z_trend < -4 < found.of("delta_m_J").z_trend


def test_expected_signal_is_subtracted() -> None:
    rng = np.random.default_rng(4)
    data, background = table(10_000, rng), table(10_000, rng)
    n = 500
    signal = np.column_stack([rng.normal(200, 5, n), rng.normal(200, 5, n), rng.beta(2, 6, (n, 2))])
    mass = rng.normal(3000, 50, n)
    both = Events(
        np.arange(10_000 + n), np.r_[data.mass, mass], np.concatenate([data.features, signal]), FEATURES
    )  # fmt: skip
    values = {name: signal[:, k] for k, name in enumerate(FEATURES)}
    values["m_J2"] = values["m_J1"] + values["delta_m_J"]
    left = Left(values, mass, np.full(n, 1.0))
    assert compare(both, background, np.zeros(0)).p < 1e-6
    known = compare(both, background, np.zeros(0), left)
    assert known.p > 0.01 and known.signal == n


def test_few_events_and_constant_columns() -> None:
    rng = np.random.default_rng(5)
    data, background = table(40, rng), table(30, rng)
    assert compare(data, background, np.array([2700.0])).p > 0
    flat = data.features.copy()
    flat[:, 2] = 0.5
    same = [dataclasses.replace(t, features=flat[: len(t)]) for t in (data, background)]
    found = compare(*same, np.zeros(0), None, EqualitySettings(bins=5))
    assert found.of("tau_2_over_tau_1_J1").p == 1 and np.isfinite(found.p)


def test_features_that_the_library_lacks_are_compared() -> None:
    rng = np.random.default_rng(6)
    tables = [table(4000, rng) for _ in range(2)]
    more = [
        Events(t.index, t.mass, np.column_stack([t.features, rng.normal(size=len(t))]), (*FEATURES, "missing_energy"))
        for t in tables
    ]
    known = {name: np.full(50, 0.5) for name in (*FEATURES, "m_J2")}
    left = Left(known, np.full(50, 3000.0), np.full(50, 0.1))
    found = compare(*more, np.array([3000.0]), left)
    assert found.of("missing_energy").p == compare(*more, np.array([3000.0])).of("missing_energy").p
    assert found.signal == pytest.approx(5.0)
