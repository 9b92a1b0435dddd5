import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

import bumpfit
from bumpfit.errors import InputError
from bumpfit.scoring import rejection, significance_improvement


def test_names_of_the_package() -> None:
    assert bumpfit.scoring.significance_improvement is significance_improvement


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6), st.floats(0.1, 3)), min_size=2, max_size=60))
def test_against_the_roc_curve_of_scikit_learn(rows: list[tuple[int, int, float]]) -> None:
    labels, scores, weights = (np.array(c) for c in zip(*rows, strict=True))
    if labels.min() == labels.max():
        return
    fpr, tpr, _ = roc_curve(labels, scores, sample_weight=weights, drop_intermediate=False)
    kept = fpr > 0
    best = significance_improvement(labels, scores, min_background=1, weights=weights)
    assert best.value == pytest.approx((tpr[kept] / np.sqrt(fpr[kept])).max(), rel=1e-9)
    target = 0.5
    at = rejection(labels, scores, target, weights=weights)
    expected = fpr[np.argmax(tpr >= target * (1 - 1e-12))]
    assert at.value == pytest.approx(1 / expected if expected > 0 else np.inf)


def test_fixed_background_efficiency_and_minimum() -> None:
    labels = np.r_[np.ones(4), np.zeros(100)]
    scores = np.r_[10.0, 9, 8, 0.5, np.arange(100) / 100]
    found = significance_improvement(labels, scores, background_efficiency=0.04)
    assert (found.signal_efficiency, found.background_efficiency) == (0.75, 0.04)
    best = significance_improvement(labels, scores, min_background=25)
    assert best.background_events == 25
    assert best.value == pytest.approx(0.75 / np.sqrt(0.25))


def test_bootstrap_error_of_a_binomial() -> None:
    rng = np.random.default_rng(1)
    labels = np.r_[np.ones(2000, int), np.zeros(2000, int)]
    scores = np.r_[rng.normal(1, 1, 2000), rng.normal(0, 1, 2000)]
    found = rejection(labels, scores, 0.5, bootstrap=100, seed=3)
    b = found.background_events
    assert found.error == pytest.approx(found.value / np.sqrt(b), rel=0.5)


@pytest.mark.parametrize(
    ("labels", "scores", "weights", "message"),
    [
        ([0, 1, 2], [1, 2, 3], None, "expected 0"),
        ([0, 1], [1, 2, 3], None, "expected one length"),
        ([0, 1], [1, float("nan")], None, "finite"),
        ([0, 1], [1, 2], [1, -1], "both must be positive"),
        ([1, 1], [1, 2], None, "both must be positive"),
    ],
)
def test_bad_input(labels: list[int], scores: list[float], weights: list[float] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        significance_improvement(labels, scores, weights=weights)
    with pytest.raises(InputError, match=message):
        rejection(labels, scores, 0.5, weights=weights)


def test_bad_efficiency() -> None:
    with pytest.raises(InputError, match="signal efficiency is 0"):
        rejection([0, 1], [0, 1], 0.0)
