"""The method `binned` on a small sample, and its parts."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from higgs_events import strong, table
from sklearn.ensemble import HistGradientBoostingClassifier

from bumpfit import higgsml
from bumpfit.errors import InputError
from bumpfit.higgsml import method
from bumpfit.higgsml.bias import biased
from bumpfit.higgsml.binning import Bins, merged, region
from bumpfit.higgsml.bounds import bound
from bumpfit.higgsml.calibration import template_calibration, template_coverage, template_range_calibration
from bumpfit.higgsml.columns import FEATURES, matrix
from bumpfit.higgsml.forest import Forest, signal_classifier
from bumpfit.higgsml.likelihood import response_model
from bumpfit.higgsml.method_binned import Binned
from bumpfit.higgsml.split import learners, parts
from bumpfit.higgsml.summary import inputs, weighted_quantile
from bumpfit.higgsml.templates import (
    Sample,
    Templates,
    measure_templates,
    monomials,
    points,
    response_shift,
    responses,
    yields,
)  # fmt: skip

SMALL = {"first_trees": 12, "trees": 15, "leaves": 6, "fine": 6, "bins": 12, "draws": 2, "loose": 0.3}


@pytest.fixture(scope="module")
def fitted() -> Binned:
    return Binned(**SMALL).fit(strong(), 3)


def test_a_binned_measurement_finds_the_strength(fitted: Binned, tmp_path: Path) -> None:
    _, templates = parts(strong())
    hats = []
    for seed in range(6):
        one = higgsml.experiment(templates, 2.0, {}, seed)
        found = fitted.predict(one.table)
        assert found.valid and found.low < found.mu_hat < found.high
        hats.append((found.mu_hat - 2.0) / bound(fitted.model, 2.0).profiled)  # type: ignore[arg-type]
    assert abs(np.mean(hats)) < 2.0
    assert fitted.report["information_kept"] > 0.7 and fitted.report["bins"] <= 12
    path = tmp_path / "m.zip"
    method.save(fitted, path)
    again = method.load(path).predict(one.table)
    assert dataclasses.replace(again, seconds=0.0).to_dict() == dataclasses.replace(found, seconds=0.0).to_dict()


def test_data_of_another_luminosity_are_refused(fitted: Binned) -> None:
    events = higgsml.experiment(parts(strong())[1], 1.0, {}, 1).table
    assert fitted.expected_events == pytest.approx(len(events), rel=0.05)
    for other in (pd.concat([events] * 3, ignore_index=True), events.iloc[::3]):
        with pytest.raises(InputError, match=r"made for 10 fb-1, expects .* about (29|30|3).* fb-1"):
            fitted.predict(other)


def test_the_same_seed_gives_the_same_method(fitted: Binned) -> None:
    learn, _ = parts(strong())
    again = fitted._learn(learn, 3)
    for name, array in again.arrays().items():
        np.testing.assert_array_equal(array, fitted.state().arrays[name])


def test_templates_are_the_yields_of_the_templates_events(fitted: Binned) -> None:
    _, templates = parts(strong())
    events = higgsml.bias(templates)
    for place, name in enumerate(("htautau", "ztautau", "ttbar", "diboson")):
        chosen = events[events["detailed_labels"] == name]
        x = matrix(chosen, FEATURES)
        bins = fitted.binning(fitted.summary(x), region(x))  # type: ignore[misc]
        want = np.bincount(bins, chosen["weights"], minlength=fitted.binning.count)  # type: ignore[union-attr]
        np.testing.assert_allclose(fitted.model.arrays.yields[:, place], want, rtol=1e-5)  # type: ignore[union-attr]


def test_calibrated_coverage_at_template_level(fitted: Binned) -> None:
    assert fitted.model is not None
    found = template_calibration(fitted.model, 200, 1)
    coverage = template_coverage(fitted.model, [0.1, 1.0, 2.0, 3.0], 300, 2, found)
    assert coverage.merged.coverage == pytest.approx(0.6827, abs=0.05)
    with pytest.raises(InputError, match="that of the calibration"):
        template_coverage(fitted.model, [1.0], 10, 1, found)
    assert 0.3 < template_range_calibration(fitted.model, 100).credibility < 0.95


def test_the_forest_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 5)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    y = np.nansum(x[:, :2], axis=1) + rng.normal(size=2000) > 0
    model = HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=8, random_state=0).fit(x, y)
    forest = Forest.of(model)
    np.testing.assert_allclose(forest.raw(x), model.decision_function(x), atol=1e-6)
    again = Forest.from_arrays(forest.arrays("a"), "a", 5)
    np.testing.assert_array_equal(again.raw(x), forest.raw(x))
    bad = {**forest.arrays("a"), "a_left": np.zeros_like(forest.left)}
    with pytest.raises(ValueError, match="no child can be"):
        Forest.from_arrays(bad, "a", 5)
    with pytest.raises(ValueError, match="does not exist"):
        Forest.from_arrays(forest.arrays("a"), "a", 1)


def test_bins_of_weighted_events_are_scikit_learns() -> None:
    """Sorted once a feature, not once a bin: the same trees; a few values, many ties, and missing ones among them."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3000, 4)).astype(np.float32)
    x[:, 1], x[:, 2] = np.round(x[:, 1], 1), rng.integers(0, 300, 3000)
    x[rng.random(x.shape) < 0.1] = np.nan
    signal = np.nansum(x[:, :2], axis=1) + rng.normal(size=3000) > 0
    weights = rng.exponential(size=3000)
    settings = {"max_iter": 20, "max_leaf_nodes": 12, "random_state": 0}
    shares = np.where(signal, weights / weights[signal].sum(), weights / weights[~signal].sum()) * 1500
    model = HistGradientBoostingClassifier(early_stopping=False, **settings).fit(x, signal, sample_weight=shares)
    found = signal_classifier(x, signal, weights, 10, **settings)
    np.testing.assert_allclose(found.raw(x), model.decision_function(x), atol=1e-6)
    assert found.threshold == pytest.approx(Forest.of(model).threshold, rel=1e-12)


def test_rotations_and_reflections_do_not_matter() -> None:
    x = biased(matrix(table(300, 5))).features
    turned = x.copy()
    phis, etas = [2, 5, 8, 11, 15], [1, 4, 7, 10]
    for row in phis:
        turned[row] = np.where(x[row] == -25, -25, -((x[row] + 1.0 + np.pi) % (2 * np.pi) - np.pi))
    for row in etas:
        turned[row] = np.where(x[row] == -25, -25, -x[row])
    np.testing.assert_allclose(inputs(turned)[:, :12], inputs(x)[:, :12], atol=1e-5)


def test_splits_keep_hard_events_together() -> None:
    events = table(400, 6).assign(hard_event=np.arange(400) // 4)
    events["detailed_labels"] = np.repeat(events["detailed_labels"].to_numpy()[::4], 4)
    mask = learners(events)
    assert (mask.reshape(-1, 4).sum(axis=1) % 4 == 0).all() and 0.3 < mask.mean() < 0.7
    shuffled = events.sample(frac=1, random_state=1)
    np.testing.assert_array_equal(learners(shuffled), mask[shuffled.index])
    learn, rest = parts(table(3000, 7))
    for part in (learn, rest):
        sums = [t.groupby("detailed_labels")["weights"].sum() for t in (part, table(3000, 7))]
        np.testing.assert_allclose(*sums, rtol=1e-4)


def test_merging_bins_of_equal_purity_costs_nothing() -> None:
    bins = Bins((np.array([1.0, 2.0, 3.0]), np.array([]), np.array([]), np.array([])))
    yields = np.zeros((7, 4))
    yields[:, 0], yields[:, 1] = [1, 2, 10, 5, 1, 1, 1], [100, 200, 100, 50, 1000, 1000, 1000]
    rates, slopes = response_model(yields, np.zeros((7, 4, 9))).expected(1.0)
    found, place, kept = merged(bins, rates[0], slopes[0], 5)
    assert found.edges[0].tolist() == [2.0] and place.tolist() == [0, 0, 1, 1, 2, 3, 4]
    assert kept == pytest.approx(1.0)


def test_log_quadratic_responses_are_found() -> None:
    rng = np.random.default_rng(2)
    at = np.array(points())
    want = rng.normal(0, 0.005, (3, 4, 9)) * np.array([1, 1, 0.1, 0.3, 0.3, 0.01, 0.3, 0.01, 0.01])
    terms = monomials(at[:, 0], at[:, 1], at[:, 2] ** 2)
    values = rng.uniform(10, 100, (3, 4)) * np.exp(np.einsum("mk,bpk->mbp", terms, want))
    templates = Templates(tuple(points()), values, np.full((3, 4), 1e3))
    found, worst = responses(templates)
    np.testing.assert_allclose(found, want, atol=1e-8)
    assert worst < 1e-6
    # a bin that is the signal's alone: a miss of 10 events at one point shifts mu by 10 / (d rate / d mu)
    at = [m for m, (t, j, s) in enumerate(points()) if abs(t) <= 2 and abs(j) <= 2]
    values[at[1:], 0, 0] += 10.0
    slopes = np.zeros((3, 7))
    slopes[0, 0] = 50.0
    weights = np.exp([-0.5 * (points()[m][0] ** 2 + points()[m][1] ** 2) for m in at])
    want_shift = 10.0 / 50.0 / (np.sqrt(100.0) / 50.0) * np.sqrt(1.0 - weights[0] / weights.sum())
    assert response_shift(templates, want, slopes, np.full(3, 100.0)) == pytest.approx(want_shift, rel=1e-6)
    # other data that know mu three times as well: mu moves by a quarter, its error is half as large
    others = np.diag([3.0 * 50.0**2 / 100.0, *np.zeros(6)])
    found_shift = response_shift(templates, want, slopes, np.full(3, 100.0), others)
    assert found_shift == pytest.approx(want_shift / 2, rel=1e-6)


def test_too_few_events_are_told() -> None:
    with pytest.raises(InputError, match="take more events"):
        Binned(**SMALL).fit(table(200, 1))
    with pytest.raises(InputError, match="loose between"):
        Binned(loose=2.0)
    with pytest.raises(InputError, match="not fitted"):
        Binned().predict(pd.DataFrame(higgsml.bias(table(50, 1))))
    assert weighted_quantile(np.array([3.0, 1.0, 2.0]), np.array([1.0, 1.0, 2.0]), 0.5) == 2.0


@pytest.mark.slow
def test_effective_events_of_the_simulation_are_those_of_a_bootstrap() -> None:
    rng = np.random.default_rng(3)
    n = 40_000
    events = table(n, 9).assign(hard_event=np.arange(n))
    events["weights"] = np.where(rng.random(n) < 0.3, 3.0, 0.5).astype(np.float32)
    sample = Sample.of(events, 1, 0)

    def bins(x: np.ndarray) -> np.ndarray:
        return (x[16] > 40).astype(np.int64) + (x[16] > 90)

    found = measure_templates(sample, bins, 3)
    relative = 1.0 / found.simulated()
    changes = []
    for _ in range(150):
        again = dataclasses.replace(sample, weights=sample.weights * rng.poisson(1.0, n))
        total = [yields(again, bins, 3, at)[0].sum(axis=(0, 2)) for at in ((0, 0, 0), (1.5, 0, 0), (-1.5, 0, 0))]
        changes.append([np.log(total[0]), np.log(total[1] / total[2]) / 3])
    spread = np.var(changes, axis=0)
    assert (relative >= spread[0] * 0.7).all() and (relative <= 3 * (spread.sum(axis=0))).all()
    jackknife = found._response_variance()
    assert (jackknife > 0.3 * spread[1]).all()
    assert found.scaled(0.1).simulated() == pytest.approx(found.simulated())


def test_the_error_of_the_simulation_is_in_an_independent_measurement(fitted: Binned, tmp_path: Path) -> None:
    other = Binned(**SMALL, mode="independent", luminosity=0.0).fit(strong(), 3)
    assert other.model is not None and (other.model.simulated > 0).all() and 0 < other.luminosity < 10
    found = other.simulation
    assert found["mode"] == "independent" and found["luminosity"] == other.luminosity
    assert fitted.model is not None and not fitted.model.simulated.any()
    method.save(other, tmp_path / "m.zip")
    again = method.load(tmp_path / "m.zip")
    assert (again.luminosity, again.mode) == (other.luminosity, "independent")
    np.testing.assert_array_equal(again.model.simulated, other.model.simulated)  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="expected closure or independent"):
        Binned(mode="both")


def test_summaries_measure_as_single_events_do(fitted: Binned) -> None:
    _, templates = parts(strong())
    x = biased(matrix(templates)).features
    times = np.random.default_rng(1).poisson(0.7, x.shape[1])
    table_of = pd.DataFrame(dict(zip(FEATURES, np.repeat(x, times, axis=1), strict=True)))
    one, two = fitted.measure(table_of), fitted.measure_summaries(fitted.summaries(x), times)
    plain = method.Method.measure_summaries(fitted, method.Method.summaries(fitted, x), times)
    assert one.mu_hat == two.mu_hat == plain.mu_hat and one.twice_nll.rise == two.twice_nll.rise  # type: ignore[union-attr]
