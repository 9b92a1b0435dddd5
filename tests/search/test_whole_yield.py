"""Signal events before a selection whose efficiency is not known."""

import numpy as np
import pytest
from small_records import selection

from bumpfit.search.whole_yield import Estimate, before_selection, peak_yield, read_profile

SEEN = Estimate.gaussian(90.0, 16.0)


def test_the_events_seen_by_hand() -> None:
    """150 where 60 +- 10 are expected: 90 +- hypot(sqrt(150), 10), the limit 1.645 errors above."""
    seen = Estimate.seen(selection())
    assert seen.value == 90 and seen.high - seen.value == pytest.approx(15.8114, abs=1e-4)
    assert seen.limit == pytest.approx(116.0097, abs=1e-4)


def test_a_parabola_is_read_by_hand() -> None:
    numbers = np.linspace(0.0, np.sqrt(400.0), 40) ** 2
    found = read_profile(numbers, ((numbers - 150.0) / 30.0) ** 2)
    assert found == pytest.approx((150.0, 120.0, 180.0, 150.0 + 1.645 * 30.0), abs=0.4)


@pytest.mark.parametrize(
    ("whole", "wanted", "limit"),
    [
        (Estimate.gaussian(300.0, 100.0), (300, 200, 400), 464.5),
        (Estimate.gaussian(40.0, 100.0), (90, 74, 140), 204.5),  # no fewer than are seen
        (Estimate.gaussian(-300.0, 100.0), (90, 74, 106), 116.32),
    ],
)
def test_spectrum_and_selection_together(whole: Estimate, wanted: tuple[float, float, float], limit: float) -> None:
    found, upper = before_selection(whole, SEEN, "all events", significant=True)
    assert (found.value, found.value - found.error_low, found.value + found.error_high) == wanted
    assert upper == pytest.approx(limit)
    none, same = before_selection(whole, SEEN, "all events", significant=False)
    assert none.value - none.error_low == 0 and none.value == wanted[0] and same == upper


@pytest.mark.parametrize("top", [8000.0, 3300.0])  # with sidebands, and a slice that has none
def test_a_peak_in_all_events(top: float) -> None:
    """1500 events on 60 000, whatever the form of the background; and as many as in the table, whose peak it is not."""
    rng = np.random.default_rng(7)
    falling = 2750.0 + rng.exponential(400.0, 400_000)
    falling = falling[falling < top]
    peak = rng.normal(3000.0, 75.0, 1500)
    data = np.concatenate([falling[:60_000], peak])
    found, q0 = peak_yield((data, falling[60_000:90_000]), 3000.0, 0.03)
    assert found.low - 150 < 1500 < found.high + 150 < found.limit + 150 and q0 > 6
    both = np.concatenate([falling[60_000:120_000], rng.normal(3000.0, 75.0, 1500)])
    none, of_none = peak_yield((data, both), 3000.0, 0.03)
    assert none.low == 0 and of_none < 6


def test_coverage_of_the_interval_and_of_the_limit() -> None:
    """100 toys of 100 events on 10 000 with a table of 5000: the 68 % interval, and the 95 % limit."""
    rng = np.random.default_rng(11)
    inside = below = 0
    for _ in range(100):
        masses = 3000.0 + rng.exponential(500.0, rng.poisson(10_000))
        data = np.concatenate([masses, rng.normal(3600.0, 90.0, rng.poisson(100))])
        found, _ = peak_yield((data, 3000.0 + rng.exponential(500.0, rng.poisson(5000))), 3600.0, 0.03)
        inside += found.low <= 100 <= found.high
        below += found.limit >= 100
    assert 54 <= inside <= 82 and below >= 88  # three standard deviations
