import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bumpfit.errors import InputError
from bumpfit.events import mask
from bumpfit.scoring import Cut, CutAndCount
from bumpfit.scoring.cuts import Steps
from bumpfit.scoring.significance import asimov


def sample(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    s = np.column_stack([rng.normal(80, 10, n), rng.beta(2, 5, n), rng.exponential(0.6, n)])
    b = np.column_stack([rng.exponential(60, n), rng.beta(4, 3, n), rng.normal(2.4, 0.8, n)])
    return np.r_[b, s].astype("f4"), np.r_[np.zeros(n, int), np.ones(n, int)]


# found by hml 0.4.3 (keras 3.15 on torch) on `sample`: (case, left, right) and the accuracy
HML = {
    (1, 1500, 20, "parallel"): (
        [(2, 58.80659103, 117.54626465), (0, 0.43359572, 0), (2, -0.18098518, 1.23827922)],
        0.8456666666666667,
    ),
    (1, 1500, 20, "previous"): (
        [(2, 58.80659103, 117.54626465), (0, 0.56817663, 0), (2, -0.21767886, 1.51243556)],
        0.916,
    ),
    (2, 1500, 50, "parallel"): (
        [(2, 56.36854935, 103.29934692), (0, 0.41839999, 0), (0, 1.32196593, 0)],
        0.843,
    ),
    (3, 300, 50, "previous"): (
        [(2, 56.15576553, 104.88842773), (0, 0.65681028, 0), (0, 1.31456995, 0)],
        0.94,
    ),
}
CASES = {0: "below", 1: "above", 2: "between", 3: "outside"}


@pytest.mark.parametrize("key", HML)
def test_the_search_of_hml(key: tuple[int, int, int, str]) -> None:
    seed, n, bins, topology = key
    cuts, accuracy = HML[key]
    x, y = sample(seed, n)
    found = CutAndCount(search="hml", topology=topology, n_bins=bins).fit(x, y)
    assert [cut.kind for cut in found.cuts_] == [CASES[case] for case, _, _ in cuts]
    for cut, (case, low, high) in zip(found.cuts_, cuts, strict=True):
        assert cut.low == pytest.approx(low, rel=1e-6)
        if case == 2:
            assert cut.high == pytest.approx(high, rel=1e-6)
    assert (found.predict(x) == y).mean() == pytest.approx(accuracy, abs=1e-12)


def test_sequential_follows_all_cuts_before() -> None:
    """The text of the paper: repeat it with the search of single features on what is left by hand."""
    x, y = sample(1, 1500)
    whole = CutAndCount(search="hml").fit(x, y)
    left = np.ones(len(y), bool)
    for f, cut in enumerate(whole.cuts_):
        alone = CutAndCount(search="hml").fit(x[left][:, [f]], y[left])
        assert alone.cuts_[0] == cut or (alone.cuts_[0].kind, alone.cuts_[0].low) == (cut.kind, cut.low)
        left &= cut.passes(x[:, f].astype(float))
    previous = CutAndCount(search="hml", topology="previous").fit(x, y)
    assert (whole.predict(x) == y).mean() > (previous.predict(x) == y).mean() + 0.01


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 6), st.booleans(), st.sampled_from([0.5, 1.0, 2.0])), min_size=4, max_size=30
    )
)
def test_the_best_cut_against_all_cuts(rows: list[tuple[int, bool, float]]) -> None:
    """Few values, as many starts: every interval is tried by hand."""
    x, signal, weights = (np.array(column) for column in zip(*rows, strict=True))
    values = np.unique(x).astype(float)
    edges = np.r_[values[0] - 1, (values[1:] + values[:-1]) / 2, values[-1] + 1]

    def z(kept: np.ndarray) -> float:
        b = kept & ~signal
        if b.sum() < 1:
            return -1.0
        error = np.sqrt((0.2 * weights[b].sum()) ** 2 + (weights[b] ** 2).sum())
        return float(asimov(weights[kept & signal].sum(), weights[b].sum(), error))

    best = max(
        z(inside == (edges[i] <= x) & (x <= edges[j]))
        for i, j in itertools.combinations(range(len(edges)), 2)
        for inside in (np.ones(len(x), bool), np.zeros(len(x), bool))
    )
    cut, value = Steps.of(x.astype(float), signal, weights).best(0.2, 1, 50)
    assert value == pytest.approx(max(best, z(np.ones(len(x), bool))), abs=1e-9)
    assert z(cut.passes(x.astype(float))) == pytest.approx(value, abs=1e-9)


def test_default_beats_hml_in_significance_and_ignores_what_says_nothing() -> None:
    x, y = sample(1, 1500)
    noise = np.random.default_rng(5).normal(size=len(y))
    x = np.column_stack([x, noise])
    weights = np.where(y == 1, 0.2, 10.0)  # 300 signal events over 15 000

    def z(model: CutAndCount) -> float:
        fresh, label = sample(11, 4000)
        fresh = np.column_stack([fresh, np.random.default_rng(6).normal(size=len(label))])
        passed = model.predict(fresh) == 1
        b = 15_000 * passed[label == 0].mean()
        return float(asimov(300 * passed[label == 1].mean(), b, 0.1 * b))

    ours = CutAndCount().fit(x, y, weights)
    theirs = CutAndCount(search="hml").fit(x, y)
    assert z(ours) > 1.2 * z(theirs)
    assert ours.cuts_[3].kind == "none"
    same = CutAndCount(signal=300, background=15_000).fit(x, y)
    assert repr(same.cuts_) == repr(ours.cuts_)  # ends that a cut has not are NaN
    parallel = CutAndCount(topology="parallel").fit(x, y, weights)
    alone = tuple(CutAndCount().fit(x[:, [f]], y, weights).cuts_[0] for f in range(3))
    assert repr(parallel.cuts_[:3]) == repr(alone)


def test_missing_values_pass_no_cut() -> None:
    x, y = sample(2, 500)
    x[::7, 1] = np.nan
    for search in ("hml", "significance"):
        model = CutAndCount(search=search).fit(x, y)
        assert any(cut.kind != "none" for cut in model.cuts_)
        assert model.cuts_[1].kind == "none" or not model.predict(x)[::7].any()
        assert set(np.unique(model.predict_proba(x))) == {0.0, 1.0}


def test_sentence_is_understood_by_the_cut_language() -> None:
    x, y = sample(3, 300)
    for settings_ in ({"search": "hml"}, {}, {"search": "hml", "n_bins": 20, "topology": "parallel"}):
        model = CutAndCount(**settings_).fit(x, y)  # type: ignore[arg-type]
        table = dict(zip("abc", x.astype("f8").T, strict=True))
        np.testing.assert_array_equal(mask(model.sentence(["a", "b", "c"]), table), model.predict(x) == 1)
    assert Cut("outside", 1.0, 2.0).sentence("jet0.pt") == "(jet0.pt <= 1 or jet0.pt >= 2)"
    with pytest.raises(InputError, match="3 features but 1 names"):
        model.sentence(["a"])


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"search": "best"}, "expected one of significance, hml"),
        ({"topology": "previous"}, "with the search significance"),
        ({"n_bins": 1}, "at least 2 bins"),
        ({"background_error": -0.1}, "0 or more"),
        ({"peel": 0.5}, "below 0.5"),
        ({"signal": 0.0}, "positive number of events"),
    ],
)
def test_refuses(settings_: dict[str, object], message: str) -> None:
    x, y = sample(3, 30)
    with pytest.raises(InputError, match=message):
        CutAndCount(**settings_).fit(x, y)  # type: ignore[arg-type]


def test_little_signal_is_no_case_for_the_search_of_hml() -> None:
    x, y = sample(3, 300)
    keep = (y == 0) | (np.arange(len(y)) % 100 == 0)
    with pytest.raises(InputError, match="cross in no feature"):
        CutAndCount(search="hml", n_bins=5).fit(np.column_stack([x[keep, 1]]), y[keep])
    assert CutAndCount().fit(x[keep], y[keep]).sentence("abc")


def test_too_few_background_events_for_any_cut() -> None:
    x, y = sample(3, 30)
    few = int((y == 0).sum())
    with pytest.raises(InputError, match=f"there are {few} background events in training"):
        CutAndCount(min_background=few + 1).fit(x, y)
