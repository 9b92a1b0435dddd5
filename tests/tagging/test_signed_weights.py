"""Weights of either sign: sums by hand, equivalence to a sample without them, and what training does."""

import numpy as np
import pytest

from bumpfit.errors import InputError
from bumpfit.events.dataset import Dataset, read
from bumpfit.scoring import BoostedTrees, models
from bumpfit.scoring.curves import curves
from bumpfit.scoring.merits import auc, evaluate
from bumpfit.scoring.metrics import curve, rejection
from bumpfit.tagging import Setup, prospects, score_edges, templates
from bumpfit.tagging.templates import expected_events, joined, not_negative


def signed(n: int = 3000, seed: int = 1) -> Dataset:
    """Two classes of which a tenth of the events has the weight -1, as of a generator at next-to-leading order."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n).astype("i4")
    x = rng.normal(np.where(y == 1, 1.0, -1.0), 1.0)[:, None].astype("f4")
    weights = np.where(rng.random(2 * n) < 0.1, -1.0, 1.0)
    origin = {name: {"events": 2 * n, "weight": 1.6 * n} for name in ("qcd", "new")}
    return Dataset(x, y, weights, ("x",), ("qcd", "new"), provenance={"classes": origin}).split(0.5, 0.5, seed=2)


def test_a_file_keeps_the_signs(tmp_path) -> None:
    signed(50).save(tmp_path / "a.ds")
    np.testing.assert_array_equal(read(tmp_path / "a.ds").weights, signed(50).weights)


def test_yields_and_templates_sum_the_signs() -> None:
    data = signed()
    found = expected_events(data, luminosity=1.0, cross_sections={"qcd": 2.0}, events={"new": 7.0})
    assert found["qcd"] == pytest.approx(2000 * data.weights[data.targets == 0].sum() / 4800)
    part = data.get("test")
    values = part.samples[:, 0].astype(float)
    made = templates(part, values, [-9.0, 0.0, 9.0], {"qcd": 10.0, "new": 1.0}, "x").histograms["qcd"]
    mine = part.targets == 0
    low, total = (part.weights[mine & chosen].sum() for chosen in (values < 0, np.isfinite(values)))
    assert made.counts.tolist() == pytest.approx([10 * low / total, 10 * (total - low) / total])
    assert made.variances[0] == pytest.approx((mine & (values < 0)).sum() * (10 / total) ** 2)


def test_bins_are_joined_until_none_is_negative() -> None:
    values, classes = np.array([0.5, 1.5, 2.5, 3.5]), np.zeros(4, int)
    edges = np.arange(5.0)
    assert not_negative(values, classes, np.ones(4), edges).tolist() == edges.tolist()
    assert not_negative(values, classes, np.array([2.0, 1, -2, 3]), edges).tolist() == [0, 3, 4]
    for weights in np.random.default_rng(3).choice([-1.0, 1.0, 1.0], (200, 4)):
        if weights.sum() < 0:
            continue
        found = not_negative(values, classes, weights, edges)
        assert np.histogram(values, found, weights=weights)[0].min() >= 0
        assert (found[0], found[-1]) == (0, 4)
    rng = np.random.default_rng(4)
    signal = np.repeat([False, True], 2000)
    score = np.where(signal, rng.beta(6, 2, 4000), rng.beta(2, 6, 4000))
    weights = np.where(rng.random(4000) < 0.2, -1.0, 1.0)
    found = score_edges(score, signal, weights, 10, least_background=10)
    sums = np.histogram(score[~signal], found, weights=weights[~signal])[0]
    counts = np.histogram(score[~signal], found)[0]
    assert (sums > 0).all() and (sums**2 >= 10 * counts).all()


def test_what_is_left_at_the_low_end_takes_as_many_bins_as_it_needs() -> None:
    values, edges, classes = np.array([0.5, 1.5, 2.5, 3.5]), np.arange(5.0), np.zeros(4, int)
    for weights, positive, zero_too in (([-3.0, 1, 1, 4], [0, 4], [0, 4]), ([-3.0, 1, 2, 1], [0, 4], [0, 3, 4])):
        assert joined(values, edges, 0, np.array(weights)).tolist() == positive
        assert not_negative(values, classes, np.array(weights), edges).tolist() == zero_too


def test_a_negative_bin_is_refused() -> None:
    data = Dataset(
        np.array([[0.5], [1.5], [1.6], [0.5], [1.5]], "f4"), np.array([0, 0, 0, 1, 1], "i4"),
        np.array([3.0, 1.0, -2.0, 1.0, 1.0]), ("x",), ("b", "s"),
    )  # fmt: skip
    with pytest.raises(InputError, match="b has a negative yield of -1 in the bin 1 to 2"):
        templates(data, data.samples[:, 0], [0, 1, 2], {"b": 2.0, "s": 2.0}, "x")


def test_the_likelihood_is_that_of_the_sums() -> None:
    data = signed()
    setup = Setup(luminosity=1.0, cross_sections={"qcd": 1.0}, events={"new": 20.0}, bins=4)
    found = prospects(data, data.samples[:, 0], setup, name="x")
    assert min(min(y) for y in found.yields.values()) >= 0
    assert sum(found.yields["new"]) == pytest.approx(20.0)
    assert found.expected.z > 0


def test_metrics_of_events_that_cancel() -> None:
    """An event and its negative twin are no event: AUC, efficiencies and rejections are those without the pair."""
    rng = np.random.default_rng(5)
    y = np.repeat([0, 1], 400)
    s = rng.normal(y, 1.0)
    again, twins = rng.integers(0, 800, 50), rng.integers(0, 800, 50)
    labels, scores = np.r_[y, y[again], y[again]], np.r_[s, s[twins], s[twins]]
    weights = np.r_[np.ones(800), np.ones(50), -np.ones(50)]
    assert auc(labels, scores, weights=weights).value == pytest.approx(auc(y, s).value)
    mixed, plain = curve(labels, scores, weights), curve(y, s)
    at = np.isin(mixed.threshold, plain.threshold)
    np.testing.assert_allclose(mixed.signal[at], plain.signal, atol=1e-9)
    np.testing.assert_allclose(mixed.background[at], plain.background, atol=1e-9)
    assert rejection(labels, scores, 0.5, weights=weights).value == pytest.approx(rejection(y, s, 0.5).value)
    assert (mixed.background_entries <= np.maximum(mixed.background, 0) + 1e-9).all()


def test_a_whole_evaluation_and_its_curves_are_finite() -> None:
    data = signed(400)
    score = 1 / (1 + np.exp(-2.0 * data.samples[:, 0].astype(float)))
    found = evaluate(data.targets, np.column_stack([1 - score, score]), data.classes, weights=data.weights, bootstrap=5)
    assert found.asimov is not None and np.isfinite(found.asimov.value) and found.asimov.value > 0
    lines = curves(data.targets, score, data.classes, weights=data.weights)
    assert np.nanmin(lines.significance) >= 0


def test_training_refuses_or_takes_absolute_values() -> None:
    data = signed(300)
    with pytest.raises(InputError, match=r"of 300 training events have negative weights.*--negative-weights absolute"):
        models.train(BoostedTrees(models=1), data)
    with pytest.raises(InputError, match="refuse, absolute"):
        models.train(BoostedTrees(models=1), data, negative="ignore")
    one = models.train(BoostedTrees(models=1), data, negative="absolute")
    positive = Dataset(
        data.samples, data.targets, np.abs(data.weights), data.features, data.classes, data.part, data.provenance
    )
    other = models.train(BoostedTrees(models=1), positive)
    np.testing.assert_array_equal(one.probabilities(data), other.probabilities(data))
    assert one.provenance["negative_weights"]["events"] == int((data.get("train").weights < 0).sum())
