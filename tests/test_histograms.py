import boost_histogram as bh
import hist
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bumpfit import histograms
from bumpfit.errors import InputError

EDGES = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])


def test_fill_equals_numpy() -> None:
    rng = np.random.default_rng(3)
    values, weights = rng.normal(3, 2, 5000), rng.uniform(0.5, 2, 5000)
    plain = histograms.fill(values, EDGES)
    np.testing.assert_array_equal(plain.counts, np.histogram(values, EDGES)[0])
    np.testing.assert_array_equal(plain.variances, plain.counts)
    assert not plain.weighted
    assert plain.underflow == (values < 0).sum()
    assert plain.overflow == (values >= 6).sum()
    heavy = histograms.fill(values, EDGES, weights)
    np.testing.assert_allclose(heavy.counts, np.histogram(values, EDGES, weights=weights)[0], rtol=1e-12)
    np.testing.assert_allclose(heavy.variances, np.histogram(values, EDGES, weights=weights**2)[0], rtol=1e-12)
    assert heavy.weighted


def test_to_hist_keeps_everything() -> None:
    original = histograms.fill([0.5, 1.5, 1.6, -3, 99], EDGES, name="m_JJ")
    copy = original.to_hist()
    assert isinstance(copy, hist.Hist)
    assert isinstance(original.storage, bh.Histogram)
    np.testing.assert_array_equal(copy.values(flow=True), [1, 1, 2, 0, 0, 0, 0, 1])
    np.testing.assert_array_equal(copy.variances(), original.variances)
    assert copy.axes[0].name == "m_JJ"


def test_the_record_cannot_be_changed_from_outside() -> None:
    original = histograms.from_counts(EDGES, np.ones(6))
    original.counts[0] = 7.0
    assert original.counts[0] == 1.0


def test_rebin_keeps_the_total_and_joins_the_rest() -> None:
    original = histograms.from_counts(EDGES, [1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7])
    by_four = original.rebin(4)
    np.testing.assert_array_equal(by_four.edges, [0, 6])
    by_two = original.rebin(2)
    np.testing.assert_array_equal(by_two.counts, [3, 7, 11])
    np.testing.assert_array_equal(by_two.variances, [5, 9, 13])


def test_rebin_to_moves_the_outside_to_the_flow() -> None:
    coarse = histograms.from_counts(EDGES, [1, 2, 3, 4, 5, 6]).rebin_to([1, 3, 5])
    np.testing.assert_array_equal(coarse.counts, [5, 9])
    assert (coarse.underflow, coarse.overflow) == (1, 6)
    with pytest.raises(InputError, match=r"2\.5 is not an edge"):
        histograms.from_counts(EDGES, np.ones(6)).rebin_to([1, 2.5])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.integers(1, 20))
def test_merge_until_reaches_the_minimum_and_loses_nothing(counts: list[int], minimum: int) -> None:
    original = histograms.from_counts(np.arange(len(counts) + 1.0), counts)
    merged = original.merge_until(minimum)
    assert merged.total == sum(counts)
    assert merged.edges[0] == 0
    assert merged.edges[-1] == len(counts)
    assert (merged.counts >= minimum).all() or merged.counts.size == 1
    assert set(merged.edges) <= set(original.edges)
    for low, high, content in zip(merged.edges[:-1], merged.edges[1:-1], merged.counts, strict=False):
        # No bin but the last could have ended earlier.
        assert sum(counts[int(low) : int(high) - 1]) < minimum <= content


def test_merge_until_stops_at_blinded_bins() -> None:
    merged = histograms.from_counts(EDGES, [1, 1, 5, 5, 5, 1]).blind(2, 3).merge_until(2)
    np.testing.assert_array_equal(merged.edges, [0, 2, 3, 4, 6])
    np.testing.assert_array_equal(merged.counts, [2, np.nan, 5, 6])


def test_blind_hides_what_overlaps() -> None:
    hidden = histograms.from_counts(EDGES, [1, 2, 3, 4, 5, 6]).blind(1.5, 3.0)
    np.testing.assert_array_equal(hidden.blinded, [False, True, True, False, False, False])
    assert hidden.total == 1 + 4 + 5 + 6
    assert np.isnan(hidden.variances[1])


def test_mass_edges_follow_the_resolution() -> None:
    edges = histograms.mass_edges(2000, 6500, resolution=0.03)
    assert (edges[0], edges[-1]) == (2000, 6500)
    np.testing.assert_allclose(np.diff(edges) / edges[:-1], 0.03, rtol=0.03)
    assert histograms.mass_edges(3300, 3700).size == 9
    assert histograms.mass_edges(3.3, 3.7, bins_per_resolution=10).size == 39


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: histograms.fill([1, np.nan], EDGES), "1 of 2 values"),
        (lambda: histograms.fill([1, 2], EDGES, [1]), "one weight a value"),
        (lambda: histograms.fill([1], EDGES, [np.inf]), "weights are not finite"),
        (lambda: histograms.fill([1], [0]), "at least two"),
        (lambda: histograms.fill([1], [0, 2, 1]), "must increase"),
        (lambda: histograms.fill([1], [0, np.nan]), "finite"),
        (lambda: histograms.from_counts(EDGES, [1, 2]), "need 6 counts"),
        (lambda: histograms.from_counts(EDGES, [-1] * 6), "not negative"),
        (lambda: histograms.from_counts(EDGES, [1] * 6).rebin(0), "1 or larger"),
        (lambda: histograms.from_counts(EDGES, [1] * 6).blind(3, 2), "smaller"),
        (lambda: histograms.mass_edges(0, 3), "0 < low < high"),
        (lambda: histograms.mass_edges(1, 3, resolution=0), "positive"),
    ],
)
def test_bad_input_is_refused(call, message) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_as_histogram_takes_what_users_have() -> None:
    values = np.random.default_rng(1).uniform(0, 6, 100)
    ours = histograms.fill(values, EDGES)
    boost = bh.Histogram(bh.axis.Variable(EDGES)).fill(values)
    for other in (ours, boost, ours.to_hist(), np.histogram(values, EDGES)):
        same = histograms.as_histogram(other)
        np.testing.assert_array_equal(same.counts, ours.counts)
        np.testing.assert_array_equal(same.variances, ours.variances)
        np.testing.assert_array_equal(same.edges, EDGES)
    with pytest.raises(InputError, match="one axis"):
        histograms.as_histogram(bh.Histogram(bh.axis.Regular(2, 0, 1), bh.axis.Regular(2, 0, 1)))
    with pytest.raises(InputError, match="got list for a histogram"):
        histograms.as_histogram([1, 2])


def test_sums_of_weights_of_either_sign() -> None:
    values, weights = [0.5, 0.6, 1.5], [1.0, -3.0, 2.0]
    filled = histograms.fill(values, [0, 1, 2], weights)
    assert filled.counts.tolist() == [-2.0, 2.0] and filled.variances.tolist() == [10.0, 4.0]
    ready = histograms.from_counts([0, 1, 2], [-2.0, 2.0], [10.0, 4.0])
    assert ready.counts.tolist() == filled.counts.tolist() and ready.weighted
    assert histograms.as_histogram(filled.to_hist()).counts.tolist() == [-2.0, 2.0]
    with pytest.raises(InputError, match="weighted histogram"):
        histograms.observed_counts(ready)
