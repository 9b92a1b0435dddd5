"""Figures of merit of one's own: formulas against numpy, and cuts against all cuts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bumpfit.errors import InputError
from bumpfit.scoring import CutAndCount, evaluate, max_significance
from bumpfit.scoring.own_merit import NAMES, FigureOfMerit
from bumpfit.scoring.significance import simple
from bumpfit.workspace import formula

FORMULAS = (
    "s / sqrt(s + b)", "(s / s_total) / (1.5 + sqrt(b))", "min(s, b, 3) - max(b_error, s_error) ** 2",
    "log(1 + s / b) + exp(-b_total) - abs(sin(s)) * cos(b) + tanh(s) - log10(s)", "pow(s, 0.5) / -(b - 2)", "s^2/b + 3",
)  # fmt: skip
EVENTS = st.fixed_dictionaries(dict.fromkeys(NAMES, st.floats(0.0, 1e3)))


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENTS, min_size=1, max_size=5), st.sampled_from(FORMULAS))
def test_arrays_are_the_formula_event_by_event(rows: list[dict[str, float]], text: str) -> None:
    found = FigureOfMerit.read(text)(**{name: np.array([row[name] for row in rows]) for name in NAMES})
    expected = [formula.evaluate(formula.parse(text), row) for row in rows]
    expected = [value if np.isfinite(value) else np.nan for value in expected]
    assert np.broadcast_to(found, len(rows)) == pytest.approx(expected, rel=1e-12, nan_ok=True)


def sample(n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and weights."""
    rng = np.random.default_rng(4)
    y = rng.integers(0, 2, n)
    return y, rng.normal(1.2 * y, 1.0), rng.uniform(0.5, 1.5, n)


def test_the_largest_value_over_all_thresholds() -> None:
    y, x, w = sample()
    best = max_significance(
        y, x, kind="s / sqrt(b + b_error**2 + s_error**2)", background_error=0.1, signal=20, background=300, weights=w,
        min_background=5,
    )  # fmt: skip
    values = []
    scale_s, scale_b = 20 / w[y == 1].sum(), 300 / w[y == 0].sum()
    for threshold in x:
        kept = x >= threshold
        if (kept & (y == 0)).sum() >= 5:
            s, b = scale_s * w[kept & (y == 1)].sum(), scale_b * w[kept & (y == 0)].sum()
            errors = (scale_s**2 * (w[kept & (y == 1)] ** 2).sum(), scale_b**2 * (w[kept & (y == 0)] ** 2).sum())
            values.append((s / np.sqrt(b + (0.1 * b) ** 2 + sum(errors)), threshold))
    assert (best.value, best.threshold) == pytest.approx(max(values))
    plain = max_significance(y, x, kind="simple", weights=w)
    assert max_significance(y, x, kind="s / sqrt(s + b)", weights=w) == plain
    punzi = max_significance(y, x, kind="s / s_total / (1.5 + sqrt(b))", weights=w, signal=3)
    assert punzi.value == pytest.approx(
        max_significance(y, x, kind="s / s_total / (1.5 + sqrt(b))", weights=w, signal=300).value
    )


def test_thresholds_without_a_value_are_not_considered() -> None:
    y, x, w = sample()
    found = max_significance(y, x, kind="s / sqrt(b - 20)", weights=w)
    left = x >= found.threshold
    assert w[left & (y == 0)].sum() > 20 and np.isfinite(found.value)
    lost = max_significance(y, x, kind="s / 1000 - b", weights=w)  # negative everywhere, and still the largest
    assert lost.value < 0
    with pytest.raises(InputError, match="has a value at no threshold"):
        max_significance(y, x, kind="log(-s)", weights=w)


def test_a_cut_is_the_best_of_all_cuts() -> None:
    y, x, w = sample(120)
    made = CutAndCount(merit="s / (1.5 + sqrt(b))", background=200, signal=10, min_background=3, least_gain=0.0)
    made.fit(x[:, None], y, w, seed=0)
    passed = made.predict(x[:, None]) == 1
    scale = np.where(y == 1, 10 / w[y == 1].sum(), 200 / w[y == 0].sum()) * w

    def value(kept: np.ndarray) -> float:
        s, b = scale[kept & (y == 1)].sum(), scale[kept & (y == 0)].sum()
        return s / (1.5 + np.sqrt(b)) if (kept & (y == 0)).sum() >= 3 else -1.0

    edges = np.sort(x)
    boxes = max(value((x >= low) & (x <= high)) for i, low in enumerate(edges) for high in edges[i:])
    assert value(passed) == pytest.approx(boxes, rel=0.02)  # two-sided cuts climb from quantiles
    assert value(passed) >= max(value(x >= t) for t in edges) - 1e-12
    plain = CutAndCount(merit="s / sqrt(s + b)").fit(x[:, None], y, w, seed=0)
    s, b = (w[(plain.predict(x[:, None]) == 1) & (y == k)].sum() for k in (1, 0))
    assert simple(s, b) >= simple(w[y == 1].sum(), w[y == 0].sum())


def test_metrics_have_it() -> None:
    y, x, w = sample()
    p = 1 / (1 + np.exp(-x))
    found = evaluate(y, np.column_stack([1 - p, p]), ("b", "s"), weights=w, bootstrap=5, merit="s / sqrt(b)")
    assert found.own is not None and found.own.error is not None and found.formula == "s / sqrt(b)"
    assert evaluate(y, np.column_stack([1 - p, p]), ("b", "s"), weights=w, bootstrap=0).own is None
    none = evaluate(y, np.column_stack([1 - p, p]), ("b", "s"), weights=w, bootstrap=0, merit="log(-s)")
    assert none.own is None and "no figure of merit" in none.notes[-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [("s / sqrt(x)", "names 'x'; expected s, b"), ("b + 1", "does not depend on s"), ("s /", "cannot read the formula"),
     ("__import__('os')", "cannot read the formula"), ("", "must be a text"), ("speed", "names 'speed'")],
)  # fmt: skip
def test_what_is_none_is_refused(text: str, message: str) -> None:
    y, x, w = sample()
    with pytest.raises(InputError, match=message):
        max_significance(y, x, kind=text)
    with pytest.raises(InputError, match=message):
        CutAndCount(merit=text).fit(x[:, None], y, w)
    with pytest.raises(InputError, match="hml has no figure of merit"):
        CutAndCount(search="hml", merit="s").fit(x[:, None], y, w)
