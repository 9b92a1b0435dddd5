"""Goodness of fit: shapes by hand and by scipy, and the parts of the channels."""

import math

import numpy as np
import pytest
from scipy import stats

from bumpfit.errors import InputError
from bumpfit.inference import goodness, prepare
from bumpfit.inference.goodness import PARTS, fitness
from bumpfit.toys import Toys
from bumpfit.workspace import Model, build, read

DATA = {"A": [12.0, 18.0, 9.0, 3.0], "B": [31.0, 14.0, 8.0], "C": [25.0]}


def three(data: dict[str, list[float]] = DATA) -> Model:
    """Three channels, one of a single bin, with a common rate and a constrained shape."""
    rate = build.modifier("normfactor", "rate")
    tilt = build.modifier("histosys", "tilt", ([11.0, 17.0, 9.0, 5.0], [9.0, 19.0, 11.0, 5.0]))
    channels = {
        "A": [build.sample("bkg", [10.0, 18.0, 10.0, 5.0], rate, tilt)],
        "B": [build.sample("bkg", [30.0, 15.0, 5.0], rate)],
        "C": [build.sample("bkg", [20.0], rate)],
    }
    return read(build.workspace(channels, data, "rate"))


def test_anderson_darling_by_hand() -> None:
    """n = 10, S = (.1, .4, 1), F = (.25, .5, 1): 10 [.15^2 / (.25 .75) .25 + .1^2 / (.5 .5) .25]; the last bin none."""
    counts, rate = np.array([1.0, 3.0, 6.0]), np.array([5.0, 5.0, 10.0])
    assert PARTS["ad"](counts, rate) == pytest.approx(10 * (0.0225 / 0.1875 * 0.25 + 0.01 / 0.25 * 0.25), rel=1e-12)
    assert PARTS["ad"](counts, 3 * rate) == pytest.approx(PARTS["ad"](counts, rate), rel=1e-12)
    assert PARTS["ks"](counts, rate) == pytest.approx(0.15, rel=1e-12)
    for name in ("ks", "ad"):
        assert PARTS[name](np.zeros(3), rate) == 0.0
        assert PARTS[name](rate, rate) == 0.0


def test_anderson_darling_of_narrow_bins_is_that_of_the_events() -> None:
    events = np.random.default_rng(3).beta(1.3, 0.9, 60)
    counts, edges = np.histogram(events, 200_000, (0.0, 1.0))
    binned = PARTS["ad"](counts.astype(float), np.diff(edges))
    i, u = np.arange(1, 61), np.sort(events)
    assert binned == pytest.approx(-60 - np.mean((2 * i - 1) * (np.log(u) + np.log1p(-u[::-1]))), rel=1e-3)
    known = {"loc": 0.0, "scale": 1.0}
    theirs = stats.goodness_of_fit(stats.uniform, events, known_params=known, statistic="ad", n_mc_samples=9)
    assert binned == pytest.approx(theirs.statistic, rel=1e-3)


def test_anderson_darling_sees_the_high_end() -> None:
    """Distances of .04 at F = .5 and at F = .98, both after a bin of .48; the same to Kolmogorov and Smirnov."""
    rate = np.array([2.0, 48.0, 48.0, 2.0])
    centre, end = np.array([2.0, 52.0, 44.0, 2.0]), np.array([2.0, 48.0, 44.0, 6.0])
    assert PARTS["ks"](end, rate) == pytest.approx(PARTS["ks"](centre, rate), rel=1e-9)
    assert PARTS["ad"](centre, rate) == pytest.approx(100 * 0.0016 / 0.25 * 0.48, rel=1e-9)
    assert PARTS["ad"](end, rate) == pytest.approx(100 * 0.0016 / (0.98 * 0.02) * 0.48, rel=1e-9)


def test_channels_are_summed_or_the_largest_counts() -> None:
    found = {name: goodness(three(), statistic=name) for name in ("saturated", "chi2", "ks", "ad")}  # type: ignore[arg-type]
    for name in ("saturated", "chi2"):
        one = found[name]
        assert list(one.channels) == ["A", "B", "C"]
        assert one.constraints > 0
        assert sum(c.statistic for c in one.channels.values()) + one.constraints == pytest.approx(one.statistic)
        assert one.channels["A"].p is None
    for name in ("ks", "ad"):
        one = found[name]
        assert one.p is None and one.constraints is None and one.degrees_of_freedom is None
        assert list(one.channels) == ["A", "B"]  # a single bin has no shape
        parts = [c.statistic for c in one.channels.values()]
        assert one.statistic == pytest.approx(max(parts) if name == "ks" else sum(parts), rel=1e-12)
    assert found["ad"].to_dict()["channels"]["B"] == {
        "statistic": found["ad"].channels["B"].statistic, "p": None, "p_error": None, "p_upper": None,
    }  # fmt: skip


@pytest.mark.parametrize("statistic", ["saturated", "ks", "ad"])
def test_channels_have_p_values_from_the_toys_of_the_whole(statistic: str) -> None:
    """The fractions of toys thrown and fitted here; the channel that the fit does not describe is told."""
    model = three({"A": [11.0, 17.0, 9.0, 6.0], "B": [14.0, 15.0, 21.0], "C": [20.0]})
    found = goodness(model, statistic=statistic, law=Toys(60, seed=4), by_channel=True)  # type: ignore[arg-type]
    problem = prepare(model)
    best = problem.solve()
    toys = []
    for i in range(60):
        toy = problem.throw(best.x, np.random.default_rng([4, i]))
        toys.append(fitness(toy, toy.solve().x, statistic))  # type: ignore[arg-type]
    hits = sum(total >= found.statistic for total, _ in toys)
    assert found.p == pytest.approx((hits + 1) / 61)
    for name, one in found.channels.items():
        above = sum(parts[name] >= one.statistic for _, parts in toys)
        assert one.p == pytest.approx((above + 1) / 61)
        assert one.p_error > 0 and one.p <= one.p_upper <= 1
    assert found.channels["B"].p < 0.05 < found.channels["A"].p


def test_saturated_toys_of_the_engines_leave_the_channels_without_p() -> None:
    found = goodness(three(), law=Toys(50))
    slow = goodness(three(), law=Toys(50), by_channel=True)
    assert found.channels["A"].p is None and slow.channels["A"].p is not None
    assert found.channels["A"].statistic == slow.channels["A"].statistic
    assert found.p == pytest.approx(slow.p, abs=5 * math.hypot(found.p_error, slow.p_error))


@pytest.mark.slow
def test_p_of_anderson_darling_is_uniform_where_the_model_is_true() -> None:
    """80 data sets of the model, 25 toys each; of the sum and of one channel."""
    problem = prepare(three(), fixed={"tilt": 0.0})
    best = problem.solve()
    ps = []
    for i in range(80):
        toy = problem.throw(best.x, np.random.default_rng([77, i]))
        found = goodness(toy, statistic="ad", law=Toys(25, seed=i))
        ps.append((found.p, found.channels["A"].p))
    spread = np.random.default_rng(1).uniform(-0.5, 0.5, (80, 2)) / 26
    for column in (np.array(ps) + spread).T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3


def test_shapes_need_two_bins() -> None:
    signal = build.sample("s", [5.0], build.modifier("normfactor", "mu"))
    model = read(build.workspace({"SR": [signal, build.sample("b", [4.0])]}, {"SR": [9.0]}, "mu"))
    for name in ("ks", "ad"):
        with pytest.raises(InputError, match="no channel has two bins"):
            goodness(model, statistic=name, law=Toys(5))
    with pytest.raises(InputError, match="'ks' or 'ad'"):
        goodness(model, statistic="AD")  # type: ignore[arg-type]
