"""Figures of toys: what is drawn is what the records say."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from scipy.stats import chi2, norm

from bumpfit.report import png
from bumpfit.report.toys import (
    coverage_ladder,
    global_p_value,
    sensitivity_bands,
    tail_probability,
    toy_distribution,
    two_hypotheses,
)
from bumpfit.toys import Coverage, Curve, Sensitivity

N = 20_000
VALUES = np.maximum(np.random.default_rng(1).normal(size=N), 0.0) ** 2
X = np.array([10.0, 100.0, 1000.0, 10_000.0])


def labels(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


def drawn(axis: Axes, label: str) -> np.ndarray:
    """Points (K, 2) of the line, or error bars, with a label."""
    for artist in (*axis.get_lines(), *axis.containers):
        if artist.get_label() == label:
            line = artist if artist in axis.get_lines() else artist.lines[0]  # type: ignore[attr-defined]
            return np.column_stack(line.get_data()).astype(float)
    raise AssertionError(f"no {label} among {labels(axis)}")


def running(p: float, *, hits: bool = True) -> Curve:
    values = np.full(X.size, p if hits else 0.0)
    return Curve(X, values, np.sqrt(values * (1 - values) / X))


def test_distribution_follows_the_law_and_marks_the_data() -> None:
    left, right = toy_distribution(VALUES, np.ones(N), 4.0, "q0", 0.5, running(0.023), norm.sf(2.0)).axes
    points = drawn(left, f"{N} toys")
    width = VALUES.max() / 60
    inside = (points[:, 0] > width) & (points[:, 0] < 6)
    centre, density = points[inside].T
    law = 0.5 * (chi2.cdf(centre + width / 2, 1) - chi2.cdf(centre - width / 2, 1)) / width
    assert np.all(np.abs(density - law) < 5 * np.sqrt(law / N / width))
    assert drawn(left, "Observed: 4")[0, 0] == 4.0
    assert right.get_ylabel() == "p-value [$10^{-2}$]"
    np.testing.assert_allclose(drawn(right, "p-value of the toys"), np.column_stack([X, np.full(4, 2.3)]))
    np.testing.assert_allclose(drawn(right, "Asymptotic law")[:, 1], 100 * norm.sf(2.0))


def test_one_panel_without_data_and_a_bound_without_hits() -> None:
    figure = toy_distribution(VALUES, np.ones(N), None, "ttilde", None)
    assert len(figure.axes) == 1
    assert labels(figure.axes[0]) == [f"{N} toys"]
    far = toy_distribution(VALUES, np.ones(N), 1e4, "q0", 0.5, running(0, hits=False))
    assert "Observed: 1e+04 (beyond)" in labels(far.axes[0])
    assert far.axes[0].get_xlim()[1] == pytest.approx(1.02 * VALUES.max())
    np.testing.assert_allclose(drawn(far.axes[1], "No toy so extreme: p < 1/n")[:, 1], 1 / X)
    assert png(far).startswith(b"\x89PNG")


def test_one_toy_and_toys_that_are_all_zero() -> None:
    for value in (0.0, 3.0):
        single = Curve(np.array([1.0]), np.array([1.0]), np.array([0.0]))
        assert png(toy_distribution(np.array([value]), np.ones(1), value, "q0", 0.5, single, 0.5)).startswith(
            b"\x89PNG"
        )


def test_toys_that_exclude_the_hypothesis_are_counted_not_drawn() -> None:
    values = np.append(VALUES, [np.inf] * 7)
    (axis,) = toy_distribution(values, np.ones(values.size), 1.0, "q0", 0.5).axes
    assert f"{N + 7} toys (7 at infinity)" in labels(axis)
    bands = ((1.0, 2.0, np.inf, np.inf, np.inf),)
    expected = Sensitivity((1.0,), bands, 5.0, (0.5,), 10, bands, (0.2,))
    assert png(sensitivity_bands(expected, "mu")).startswith(b"\x89PNG")
    assert png(two_hypotheses(values, VALUES, 1.5, "qtilde", "mu = 2")).startswith(b"\x89PNG")


def test_global_p_values_beside_the_bound() -> None:
    z = np.linspace(0, 6, 13)
    p = np.array([(z[i] ** 2 <= VALUES).mean() for i in range(13)])
    curve = Curve(z, np.maximum(p, 1 / N), np.sqrt(p / N), np.minimum(1.0, 5 * norm.sf(z)))
    left, right = global_p_value(VALUES, np.ones(N), curve, 9.0).axes
    assert drawn(left, "Observed: 9")[0, 0] == 9.0
    assert drawn(right, "Observed: 3")[0, 0] == 3.0
    points = drawn(right, f"{N} scanned toys")
    assert points[-1, 0] ** 2 <= VALUES.max() < (points[-1, 0] + 0.5) ** 2
    np.testing.assert_allclose(points[:, 1], p[: len(points)])
    np.testing.assert_allclose(drawn(right, "Gross and Vitells")[:, 1], curve.formula)
    np.testing.assert_allclose(drawn(right, "Local p-value")[:, 1], norm.sf(z))


def test_tail_leaves_out_what_no_toy_knows() -> None:
    x = np.array([1.0, 9.0, 25.0, 36.0])
    p = norm.sf(np.sqrt(x))
    curve = Curve(x, p, p * np.array([0.1, 0.1, 0.1, 1.0]), p)
    left, right = tail_probability(curve, 16.0, "q0", running(norm.sf(4.0)), norm.sf(4.0)).axes
    np.testing.assert_allclose(drawn(left, "Weighted toys")[:, 0], x[:3])
    np.testing.assert_allclose(drawn(right, "Asymptotic law")[:, 1], 1e5 * norm.sf(4.0))
    assert right.get_ylabel() == "p-value [$10^{-5}$]"
    assert png(tail_probability(curve, None, "q0", None)).startswith(b"\x89PNG")


def test_coverage_and_the_nominal_level() -> None:
    found = Coverage("upper limit", 0.95, (0.0, 1.0, 2.0), (1.0, 0.96, 0.951), (0.001, 0.002, 0.003), 5000, 0)
    (axis,) = coverage_ladder(found, "mu_$x").axes
    np.testing.assert_allclose(
        drawn(axis, "Upper limit, 5000 toys each"), np.column_stack([found.strengths, found.coverage])
    )
    np.testing.assert_allclose(drawn(axis, "Nominal: 95.00%")[:, 1], 0.95)
    low, high = axis.get_ylim()
    assert low < 0.94 and high > 1.0
    assert png(axis.figure).startswith(b"\x89PNG")  # type: ignore[arg-type]


def test_bands_of_unsorted_strengths() -> None:
    bands = ((3.0, 4.0, 5.0, 6.0, 7.0), (0.0, 0.0, 0.0, 1.0, 2.0))
    axis, below = sensitivity_bands(
        Sensitivity((10.0, 0.0), bands, 5.0, (0.5, 0.0), 400, bands, (0.03, 0.0)), "mu"
    ).axes
    np.testing.assert_allclose(drawn(axis, "Median"), [[0, 0], [10, 5]])
    np.testing.assert_allclose(drawn(axis, r"5$\sigma$")[:, 1], 5.0)
    (bars,) = below.containers
    np.testing.assert_allclose(np.column_stack(bars.lines[0].get_data()), [[0, 0], [10, 0.5]])
    segments = bars.lines[2][0].get_segments()
    assert segments[1][1, 1] - 0.5 == pytest.approx(0.025)  # sqrt(0.5 0.5 / 400)


@pytest.mark.slow
def test_lines_of_observed_values_are_seen_and_stay_clear_of_the_legend() -> None:
    z = np.linspace(0, 6, 13)
    curve = Curve(z, norm.sf(z), 0.01 * norm.sf(z), norm.sf(z))
    for seen in (0.0, 9.0, VALUES.max()):
        axes = [
            *toy_distribution(VALUES, np.ones(N), seen, "q0", 0.5).axes,
            *tail_probability(Curve(z**2, curve.p, curve.error, curve.p), seen, "q0", None).axes,
            *global_p_value(VALUES, np.ones(N), curve, seen).axes,
            *two_hypotheses(VALUES / 2, VALUES, seen, "qtilde", "mu = 2").axes,
        ]
        assert len(axes) == 5
        for axis in axes:
            axis.figure.canvas.draw()
            (line,) = (one for one in axis.get_lines() if str(one.get_label()).startswith("Observed"))
            box = axis.get_legend().get_window_extent()
            assert axis.transAxes.transform((0, line.get_ydata()[1]))[1] < box.y0
            low, high = axis.get_xlim()
            assert low < line.get_xdata()[0] < high
            # points at the edges are drawn whole
            assert high > max((max(points.get_data()[0]) for points in axis.get_lines()), default=0.0)


def test_running_p_begins_where_it_can_be_seen() -> None:
    x = np.geomspace(10, 1e6, 51)
    p = np.where(x > 2e5, 1e-5, 0.0)
    (_, axis) = toy_distribution(VALUES, np.ones(N), 18.0, "q0", 0.5, Curve(x, p, np.sqrt(p / x)), 1e-5).axes
    seen = drawn(axis, "p-value of the toys")
    assert seen[0, 1] == 0.0 and (seen[1:, 1] > 0).all()
    assert axis.get_xlim()[0] == pytest.approx(1e5)


def test_running_p_of_a_single_group_shows_its_error() -> None:
    one = Curve(np.array([6000.0]), np.array([2e-7]), np.array([1e-8]))
    axis = tail_probability(Curve(X, X**-2.0, X**-3.0, None), 25.0, "q0", one).axes[1]
    (bars,) = axis.containers
    low, high = bars.lines[2][0].get_segments()[0][:, 1]  # type: ignore[union-attr]
    assert (low, high) == pytest.approx((1.9, 2.1))  # in units of 1e-7


def test_both_hypotheses_are_normalised() -> None:
    (axis,) = two_hypotheses(VALUES / 2, VALUES, 1.5, "qtilde", "mu = 2").axes
    for patch in axis.patches:
        values, edges, _ = patch.get_data()
        assert np.sum(values * np.diff(edges)) == pytest.approx(1.0)
    assert labels(axis) == [f"Background ({N} toys)", f"mu = 2 ({N} toys)", "Observed: 1.5"]
    values, edges, _ = axis.patches[0].get_data()
    segments = axis.containers[0].lines[2][0].get_segments()
    assert np.ptp(segments[0][:, 1]) / 2 == pytest.approx(np.sqrt(values[0] / N / np.diff(edges)[0]))
