"""Curves for figures, against counts by hand and the metrics at the same thresholds."""

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from bumpfit.errors import InputError
from bumpfit.scoring.curves import POINTS, curves
from bumpfit.scoring.merits import max_significance


def sample(n: int = 900) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    y = np.repeat([0, 1, 2], n)
    s = np.round(rng.beta(1.5 + y, 3.0, len(y)), 3)
    return y, s, rng.uniform(0.5, 1.5, len(y))


def test_efficiencies_are_those_of_sklearn() -> None:
    y, s, w = sample()
    found = curves(y, s, ("qcd", "top", "w"), weights=w)
    false, true, thresholds = roc_curve(y == 2, s, sample_weight=w, drop_intermediate=False)
    at = np.searchsorted(-thresholds, -found.threshold, side="right") - 1
    np.testing.assert_allclose(found.signal, true[at])
    np.testing.assert_allclose(found.backgrounds["all others"], false[at])
    assert len(found.threshold) <= POINTS and (np.diff(found.threshold) < 0).all()
    for number, name in enumerate(("qcd", "top")):
        mine = y == number
        by_hand = [w[mine & (s >= t)].sum() / w[mine].sum() for t in found.threshold]
        np.testing.assert_allclose(found.backgrounds[name], by_hand)
    assert list(curves(y[y > 0] - 1, s[y > 0], ("top", "w")).backgrounds) == ["top"]


def test_distributions_and_significance() -> None:
    y, s, w = sample()
    found = curves(y, s, ("qcd", "top", "w"), weights=w, signal="top", background_error=0.2, min_background=40, bins=20)
    for number, name in enumerate(("qcd", "top", "w")):
        counts, _ = np.histogram(s[y == number], found.edges, weights=w[y == number])
        np.testing.assert_allclose(found.distributions[name], counts / w[y == number].sum())
    best = max_significance(y == 1, s, weights=w, kind="asimov", background_error=0.2, min_background=40)
    assert np.nanmax(found.asimov) == pytest.approx(best.value, rel=1e-3)
    left = [(y != 1)[s >= t].sum() for t in found.threshold]
    np.testing.assert_array_equal(np.isnan(found.significance), np.array(left) < 40)


def test_refusals() -> None:
    y, s, _ = sample(5)
    with pytest.raises(InputError, match="no class 'z'"):
        curves(y, s, ("a", "b", "c"), signal="z")
    with pytest.raises(InputError, match="both must be positive"):
        curves(y[:5], s[:5], ("a", "b"))
