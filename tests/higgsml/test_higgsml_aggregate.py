"""Trees on whole experiments, combinations, and the law of an estimator."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from higgs_events import strong, table
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from bumpfit import higgsml
from bumpfit.errors import InputError
from bumpfit.higgsml import method
from bumpfit.higgsml.belt import Belt
from bumpfit.higgsml.columns import FEATURES, matrix
from bumpfit.higgsml.forest import Forest
from bumpfit.higgsml.interval import threshold
from bumpfit.higgsml.method import Method
from bumpfit.higgsml.method_aggregate import QUANTILES, SHAPE, Aggregate, _Events
from bumpfit.higgsml.method_baseline import Baseline
from bumpfit.higgsml.method_combined import Combined
from bumpfit.higgsml.split import parts

SMALL = {"points": 45, "experiments": 8, "trees": 15, "leaves": 6, "steps": 25}


def saved(fitted: Method, path: Path) -> Method:
    method.save(fitted, path)
    return method.load(path)


def alike(a: Method, b: Method, seed: int = 1) -> None:
    _, templates = parts(strong())
    events = higgsml.experiment(templates, 1.5, {}, seed).table
    one, two = (dataclasses.replace(m.predict(events), seconds=0.0).to_dict() for m in (a, b))
    assert one == two


@pytest.fixture(scope="module")
def aggregate() -> Aggregate:
    return Aggregate(**SMALL).fit(strong(), 3)


@pytest.mark.slow
def test_a_belt_is_the_law_of_the_estimator() -> None:
    rng = np.random.default_rng(0)
    mu = rng.uniform(0, 4, 20_000)
    x = 0.3 + 0.8 * mu + rng.normal(0, 0.2 + 0.05 * mu)
    belt = Belt.of(mu, x)
    for at in (0.0, 1.0, 3.0):
        mean, spread = belt.at(at)
        assert (mean, spread) == (pytest.approx(0.3 + 0.8 * at, abs=0.02), pytest.approx(0.2 + 0.05 * at, rel=0.05))
    found = belt.measurement(0.3 + 0.8 * 1.5)
    assert found.mu_hat == pytest.approx(1.5, abs=0.03)
    sigma = (0.2 + 0.05 * 1.5) / 0.8
    assert found.high - found.low == pytest.approx(2 * sigma * np.sqrt(threshold()), rel=0.08)
    low = belt.measurement(0.3 - 0.8 * 0.5)
    assert low.mu_hat == pytest.approx(-0.5, abs=0.05) and low.low == 0.0 and low.at_bound
    each = [(m, belt.measurement(v)) for m, v in zip(mu[:600], x[:600], strict=True) if m > 1]
    assert np.mean([one.low <= m <= one.high for m, one in each]) == pytest.approx(0.6827, abs=0.07)
    with pytest.raises(InputError, match="does not rise"):
        Belt.of(mu, rng.normal(size=len(mu)) - mu)
    with pytest.raises(InputError, match="30 or more"):
        Belt.of(mu[:10], x[:10])
    with pytest.raises(ValueError, match="finite"):
        Belt.from_arrays({**belt.arrays(), "belt_top": np.array([np.nan])})


def test_numbers_of_an_experiment_are_those_of_its_events() -> None:
    rng = np.random.default_rng(1)
    summaries = rng.normal(size=(300, 29)).astype(np.float32)
    times = rng.poisson(2.0, 300)
    found = _Events(summaries).numbers(times)
    events = np.repeat(summaries, times, axis=0).astype(float)
    s = events[:, 0]
    assert found[0] == len(events) and found[1] == (s > 2).sum()
    d = s - s.mean()
    want = [s.mean(), s.var(), (d**3).mean() / s.std() ** 3, (d**4).mean() / s.var() ** 2]
    np.testing.assert_allclose(found[2:6], want, rtol=1e-6)
    quantiles = np.quantile(s, QUANTILES, method="inverted_cdf")
    np.testing.assert_allclose(found[6:SHAPE], quantiles)
    np.testing.assert_allclose(found[SHAPE:], [*events[:, 1:].mean(0), *events[:, 1:].var(0)], rtol=1e-4, atol=1e-6)


def test_forests_of_classes_and_regressions_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 4))
    y = x[:, 0] + 0.3 * rng.normal(size=900)
    place = np.digitize(y, [-0.5, 0.5])
    x = x.astype(np.float32)
    classes = HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(x, place)
    raw = np.column_stack([Forest.of(classes, k).raw(x) for k in range(3)])
    np.testing.assert_allclose(raw, classes.decision_function(x), atol=1e-6)
    for loss in ({}, {"loss": "quantile", "quantile": 0.16}):
        line = HistGradientBoostingRegressor(max_iter=10, random_state=0, **loss).fit(x, y)
        np.testing.assert_allclose(Forest.of(line).raw(x), line.predict(x), atol=1e-6)


def test_aggregate_finds_the_strength(aggregate: Aggregate, tmp_path: Path) -> None:
    _, templates = parts(strong())
    found = {mu: aggregate.predict(higgsml.experiment(templates, mu, {}, 5).table) for mu in (0.5, 3.0)}
    assert all(one.valid and one.twice_nll is not None for one in found.values())
    assert found[3.0].mu_hat - found[0.5].mu_hat > 1.0
    alike(aggregate, saved(aggregate, tmp_path / "a.zip"))
    # events one by one, or each with the number of times that it appears
    events = higgsml.experiment(templates, 1.0, {}, 2).table
    rows = matrix(events, FEATURES)
    summaries = aggregate.summaries(rows)
    times = np.random.default_rng(0).poisson(1.0, len(events))
    one = aggregate.measure_summaries(summaries[times > 0], times[times > 0])
    two = aggregate.measure(events.iloc[np.repeat(np.arange(len(events)), times)].reset_index(drop=True))
    assert one.mu_hat == pytest.approx(two.mu_hat, abs=1e-9)


def test_aggregate_as_published_knows_the_range(tmp_path: Path) -> None:
    half = strong().iloc[::2].reset_index(drop=True)
    fitted = Aggregate(**SMALL, as_published=True).fit(half, 3)
    assert fitted.uses_range
    _, templates = parts(half)
    for mu in (0.1, 1.5, 3.0):
        found = fitted.predict(higgsml.experiment(templates, mu, {}, 7).table)
        assert found.valid and 0.0 < found.low <= found.high < 3.2
    alike(fitted, saved(fitted, tmp_path / "a.zip"))


@pytest.mark.slow
def test_a_combination_is_not_worse_than_its_members(aggregate: Aggregate, tmp_path: Path) -> None:
    other = Baseline(bins=10, points=7, degree=3, trees=20, leaves=6, draws=2).fit(strong(), 3)
    fitted = Combined(points=20, experiments=8).with_members([aggregate, other]).fit(strong(), 3)
    report = fitted.report
    assert sum(report["weights"]) == pytest.approx(1.0)
    assert report["combined_spread"] < 1.15 * min(report["spread"])
    correlation = np.array(report["correlation"])
    assert np.diag(correlation) == pytest.approx([1.0, 1.0]) and abs(correlation[0, 1]) < 1.0
    # the weights of Lyons, Gibaut and Clifford for two members, from the definition
    c = np.array([[1.0, 0.2], [0.2, 0.5]])
    part = np.linalg.solve(c, np.ones(2))
    assert part[0] / part.sum() == pytest.approx((c[1, 1] - c[0, 1]) / (c[0, 0] + c[1, 1] - 2 * c[0, 1]))
    alike(fitted, saved(fitted, tmp_path / "c.zip"))
    _, templates = parts(strong())
    events = higgsml.experiment(templates, 2.0, {}, 3).table
    found = fitted.predict(events)
    assert set(found.diagnostics["members"]) == {"aggregate", "baseline"} and found.valid
    rows = matrix(events, FEATURES)
    same = fitted.measure_summaries(fitted.summaries(rows), np.ones(len(events), dtype=np.int64))
    assert same.mu_hat == pytest.approx(found.mu_hat, abs=1e-6)
    for one in (fitted, *fitted.members):
        one.luminosity = 1.0
    assert saved(fitted, tmp_path / "one.zip").luminosity == 1.0


def test_what_cannot_be_combined_or_trained_is_told(aggregate: Aggregate) -> None:
    with pytest.raises(InputError, match="--member"):
        Combined().fit(strong())
    with pytest.raises(InputError, match="give two or more"):
        Combined().with_members([aggregate])
    with pytest.raises(InputError, match="not fitted"):
        Combined().with_members([aggregate, Baseline()])
    with pytest.raises(InputError, match="not fitted"):
        Combined().predict(higgsml.bias(table(50, 1)))
    ranged = Aggregate(as_published=True)
    ranged.classifier = aggregate.classifier
    with pytest.raises(InputError, match="a range"):
        Combined().with_members([aggregate, ranged])
    with pytest.raises(InputError, match="points 9"):
        Aggregate(points=3)
    with pytest.raises(InputError, match="take more events"):
        Aggregate(**SMALL).fit(table(200, 1))
