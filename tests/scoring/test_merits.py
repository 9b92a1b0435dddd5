import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, roc_auc_score, roc_curve

from bumpfit.errors import InputError
from bumpfit.scoring import accuracy, auc, evaluate, hml_rejection, hml_significance, max_significance, rejection
from bumpfit.scoring.significance import asimov

rows_of_events = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6), st.floats(0.1, 3)), min_size=2, max_size=60)


def separated(n: int, seed: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of the signal class."""
    rng = np.random.default_rng(seed)
    x = np.r_[rng.normal(-1.5, 1.2, n), rng.normal(1.5, 1.2, n)]
    return np.r_[np.zeros(n, int), np.ones(n, int)], 1 / (1 + np.exp(-x))


@settings(max_examples=60, deadline=None)
@given(rows_of_events)
def test_against_scikit_learn(rows: list[tuple[int, int, float]]) -> None:
    y, s, w = (np.array(column) for column in zip(*rows, strict=True))
    assert accuracy(y, s > 3, weights=w).value == pytest.approx(accuracy_score(y, s > 3, sample_weight=w))
    if y.min() == y.max():
        return
    assert auc(y, s, weights=w).value == pytest.approx(roc_auc_score(y, s, sample_weight=w), abs=1e-12)
    fpr, tpr, thresholds = roc_curve(y, s, sample_weight=w, drop_intermediate=False)
    signal, background = 5 * tpr, 40 * fpr
    kept = fpr > 0
    best = max_significance(y, s, weights=w, background_error=0.2, signal=5, background=40)
    assert best.value == pytest.approx(asimov(signal[kept], background[kept], 0.2 * background[kept]).max())
    assert best.threshold in thresholds
    plain = max_significance(y, s, kind="simple", weights=w, signal=5, background=40)
    assert plain.value == pytest.approx((signal / np.sqrt(signal + background + 1e-300))[kept].max())


def test_given_threshold_by_hand() -> None:
    labels, scores = [1, 1, 1, 0, 0, 0], [0.9, 0.8, 0.3, 0.85, 0.2, 0.1]
    found = max_significance(labels, scores, kind="simple", threshold=0.5)
    assert (found.value, found.signal_efficiency, found.threshold) == (pytest.approx(2 / np.sqrt(3)), 2 / 3, 0.8)
    with pytest.raises(InputError, match="at least 0"):
        max_significance(labels, scores, threshold=0.95)
    with pytest.raises(InputError, match="leaves 4 background events; there are 3"):
        max_significance(labels, scores, min_background=4)


def test_errors_of_accuracy_and_auc() -> None:
    """Binomial error; Hanley and McNeil (Radiology 143 (1982) 29) for the area."""
    y, s = separated(1500)
    a = accuracy(y, s > 0.5, bootstrap=200, seed=1)
    assert a.error == pytest.approx(np.sqrt(a.value * (1 - a.value) / len(y)), rel=0.2)
    area = auc(y, s, bootstrap=200, seed=1)
    v, n = area.value, 1500
    q1, q2 = v / (2 - v), 2 * v**2 / (1 + v)
    variance = (v * (1 - v) + (n - 1) * (q1 - v**2) + (n - 1) * (q2 - v**2)) / n**2
    assert area.error == pytest.approx(np.sqrt(variance), rel=0.25)
    assert auc(y, s, bootstrap=20, seed=1) == auc(y, s, bootstrap=20, seed=1)


def test_definitions_of_hml() -> None:
    """Values of hml 0.4.3 itself (keras 3.15 on torch) on the same numbers; 117.804291 = 5419 / 46 is the paper's."""
    y, s = separated(400)
    p = np.column_stack([1 - s, s]).astype("f4")
    values = [hml_rejection(y, p, e) for e in (0.3, 0.5, 0.9, 0.99)]
    np.testing.assert_allclose(values, [np.inf, 266.664794921875, 10.810813903808594, 3.162055015563965], rtol=1e-5)
    assert hml_significance(y, p) == pytest.approx(18.01395606994629, rel=1e-6)
    many = hml_significance(y, p, thresholds=[0.2, 0.5, 0.8, 0.9], cross_sections=(100.0, 2.0), luminosity=10.0)
    assert many == pytest.approx(1.809423804283142, rel=1e-6)
    assert rejection(y, s, 0.99).value == pytest.approx(400 / 131)  # exact, of one class: another number


def test_the_rejection_of_the_paper_is_a_fraction_of_all_events() -> None:
    """117.804291 = 5419 / 46: 46 events of both classes give the other class more than the threshold."""
    y = np.r_[np.zeros(2719, int), np.ones(2700, int)]
    wrong = np.r_[np.arange(2719) < 30, np.arange(2700) < 16]  # 30 of one class and 16 of the other
    own = np.where(wrong, 0.2, 0.7)
    p = np.where(np.arange(2) == y[:, None], own[:, None], 1 - own[:, None])
    assert hml_rejection(y, p, 0.5) == pytest.approx(117.804291, rel=1e-6)  # in 32 bits
    assert rejection(y, p[:, 1], 0.5).value == pytest.approx(2719 / 30)


def test_three_classes() -> None:
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 3000)
    p = rng.dirichlet([1, 1, 1], 3000) + 0.3 * np.eye(3)[y]
    p /= p.sum(axis=1, keepdims=True)
    found = evaluate(y, p, ["qcd", "top", "w"], signal="top", bootstrap=0, efficiencies=[0.6])
    assert found.accuracy.value == pytest.approx(accuracy_score(y, p.argmax(axis=1)))
    assert found.auc.value == pytest.approx(roc_auc_score(y == 1, p[:, 1]))
    assert found.hml is None and set(found.by_class) == {"qcd", "w"}
    two = y != 2
    fpr, tpr, _ = roc_curve(y[two] == 1, p[two, 1], drop_intermediate=False)
    assert found.by_class["qcd"]["0.6"].value == pytest.approx(1 / fpr[np.argmax(tpr >= 0.6)])


def test_expected_events_enter_the_significance_only() -> None:
    y, s = separated(800)
    p = np.column_stack([1 - s, s])
    plain = evaluate(y, p, ["b", "s"], bootstrap=0)
    scaled = evaluate(y, p, ["b", "s"], bootstrap=0, expected={"b": 1e4, "s": 50.0})
    assert (plain.accuracy, plain.auc) == (scaled.accuracy, scaled.auc)
    direct = max_significance(y, s, background_error=0.1, signal=50, background=1e4, min_background=10)
    assert scaled.asimov is not None and scaled.asimov.value == pytest.approx(direct.value)
    assert plain.hml is not None and plain.hml == scaled.hml


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": [0, 0, 0, 0]}, "class 's' has no events"),
        ({"weights": [1, 1, -1, 0.5]}, "class 's' has no events with weight"),
        ({"weights": [-1, -1, -1, 1]}, "add up to -2"),
        ({"weights": [1, 1, np.nan, 1]}, "1 weights are not finite"),
        ({"weights": [0, 0, 1, 1]}, "class 'b' has no events with weight"),
        ({"probabilities": [[1, 0]] * 3}, r"expected \(4, 2\)"),
        ({"signal": "z"}, "no class 'z'"),
        ({"probabilities": [[np.nan, 0.5]] * 4}, "finite"),
    ],
)
def test_refuses(change: dict[str, object], message: str) -> None:
    given_: dict[str, object] = {
        "targets": [0, 0, 1, 1],
        "probabilities": [[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9]],
        "classes": ["b", "s"],
        "bootstrap": 0,
    }
    with pytest.raises(InputError, match=message):
        evaluate(**{**given_, **change})  # type: ignore[arg-type]


def test_tiny_classes_have_no_significance_but_a_note() -> None:
    found = evaluate([0, 0, 1, 1], [[0.8, 0.2], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9]], ["b", "s"], bootstrap=10)
    assert found.asimov is None and "leaves 10 background events" in found.notes[0]
    assert found.auc.value == 1.0


def test_a_rejection_that_rests_on_one_event_says_why_it_has_no_error() -> None:
    y = np.r_[np.zeros(50, int), np.ones(50, int)]
    score = np.r_[np.linspace(0.0, 0.3, 49), 0.6, np.linspace(0.4, 0.99, 50)]
    found = evaluate(y, np.column_stack([1 - score, score]), ["b", "s"], efficiencies=[0.5, 0.9], bootstrap=50)
    assert found.rejections["0.5"].value == np.inf
    assert (found.rejections["0.9"].value, found.rejections["0.9"].error) == (50.0, None)
    assert [note for note in found.notes if "rejection" in note] == [
        "the rejection at 0.9 has no error: some bootstrap replicas are left without background there"
    ]
