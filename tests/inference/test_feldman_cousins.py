"""Feldman-Cousins intervals against the published tables and their defining property."""

import numpy as np
import pytest
from scipy.stats import poisson

from bumpfit.errors import InputError
from bumpfit.inference.feldman_cousins import accepts, feldman_cousins

# Review of Particle Physics, table "unified confidence intervals for a Poisson variable without background"
NINETY = [(0, 2.44), (0.11, 4.36), (0.53, 5.91), (1.10, 7.42), (1.47, 8.60), (1.84, 9.99), (2.21, 11.47), (3.56, 12.53),
          (3.96, 13.99), (4.36, 15.30), (5.50, 16.50)]  # fmt: skip
NINETY_FIVE = [(0, 3.09), (0.05, 5.14), (0.36, 6.72), (0.82, 8.25), (1.37, 9.76), (1.84, 11.26), (2.21, 12.75),
               (2.58, 13.81), (2.94, 15.29), (4.36, 16.77), (4.75, 17.82)]  # fmt: skip


@pytest.mark.parametrize(("level", "table"), [(0.9, NINETY), (0.95, NINETY_FIVE)])
def test_table_without_background(level: float, table: list[tuple[float, float]]) -> None:
    for n, (low, high) in enumerate(table):
        found = feldman_cousins(n, 0.0, level, monotone=False)
        assert found.low == pytest.approx(low, abs=0.006)
        assert found.high == pytest.approx(high, abs=0.006)


def test_no_events_over_background() -> None:
    """First row of table IV of the paper: upper ends at 90 % for n = 0, where the ends must not grow with b."""
    published = {0.0: 2.44, 1.0: 1.61, 2.0: 1.26, 2.5: 1.18, 3.0: 1.08, 3.5: 1.06, 5.0: 0.98}
    for background, high in published.items():
        assert feldman_cousins(0, background).high == pytest.approx(high, abs=0.01)
    assert feldman_cousins(0, 3.0, monotone=False).high < 1.0


def test_many_events_are_nearly_gaussian() -> None:
    found = feldman_cousins(900, 100.0, 0.6827, monotone=False)
    assert found.low == pytest.approx(770.0, abs=1.0) and found.high == pytest.approx(830.0, abs=1.0)


def test_coverage_is_exact_or_above() -> None:
    counts = np.arange(60)
    for background in (0.0, 1.7):
        for signal in (0.0, 0.4, 3.3, 9.1):
            region = np.array([accepts(int(n), np.array([signal]), background, 0.9)[0] for n in counts])
            assert poisson.pmf(counts, signal + background)[region].sum() >= 0.9


def test_bad_questions() -> None:
    with pytest.raises(InputError, match="whole number"):
        feldman_cousins(-1, 0.0)
    with pytest.raises(InputError, match="whole number"):
        feldman_cousins(1.5, 0.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="background"):
        feldman_cousins(1, float("nan"))
    with pytest.raises(InputError, match="level"):
        feldman_cousins(1, 0.0, 1.0)
    for n in (float("nan"), float("inf"), "3", None, [3]):
        with pytest.raises(InputError, match="whole number"):
            feldman_cousins(n, 1.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="background"):
        feldman_cousins(3, None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="level"):
        feldman_cousins(3, 1.0, "0.9")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at most 1000 events"):
        feldman_cousins(100_000, 1e5)
