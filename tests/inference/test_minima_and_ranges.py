"""Several minima and ranges: all questions see the same likelihood, the lowest minimum and the same range."""

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bumpfit.inference import (
    asimov,
    cls,
    contour,
    discovery,
    fit,
    goodness,
    impacts,
    interval,
    limit,
    prepare,
    scan,
)
from bumpfit.inference.histfactory import Problem
from bumpfit.inference.profile import LowerMinimumError, Profile
from bumpfit.toys import Toys
from bumpfit.workspace import Model, build, read
from study_size import FULL


def coupled(channels: int) -> Model:
    """pyhf's validation model of one histosys in two channels (validation/data/2bin_2channel_coupledhisto.json)."""

    def shape(low: list[float], high: list[float]) -> dict[str, Any]:
        return build.modifier("histosys", "shape", (low, high))

    signal = build.sample("signal", [30.0, 35.0], build.modifier("normfactor", "mu"))
    one = build.sample("bkg1", [100.0, 100.0], shape([90.0, 90.0], [110.0, 110.0]))
    two = build.sample("bkg2", [50.0, 120.0], shape([45.0, 45.0], [55.0, 55.0]))
    control = build.sample("bkg1", [105.0, 100.0], shape([95.0, 90.0], [110.0, 115.0]))
    spec = {"signal": [signal, one, two], "control": [control]}
    data = {"signal": [170.0, 220.0], "control": [110.0, 105.0]}
    names = list(spec)[:channels]
    return read(build.workspace({n: spec[n] for n in names}, {n: data[n] for n in names}, "mu"))


def excess(high: float = 10.0, n: float = 30.0) -> Model:
    """n events over 10 +- 10 %, signal 1."""
    signal = build.sample("sig", [1.0], build.modifier("normfactor", "mu"))
    background = build.sample("bkg", [10.0], build.modifier("normsys", "k", (0.9, 1.1)))
    return read(build.workspace({"SR": [signal, background]}, {"SR": [n]}, "mu", {"mu": {"bounds": [[0.0, high]]}}))


def deficit(low: float) -> Model:
    """Fewer events than expected, the background from a control region with some signal."""
    rate, mu = build.modifier("normfactor", "nb"), build.modifier("normfactor", "mu")
    channels = {
        "SR": [build.sample("sig", [5.0], mu), build.sample("bkg", [50.0], rate)],
        "CR": [build.sample("sig", [2.0], mu), build.sample("bkg", [500.0], rate)],
    }
    return read(build.workspace(channels, {"SR": [40.0], "CR": [520.0]}, "mu", {"mu": {"bounds": [[low, 20.0]]}}))


def one_sided(seed: int, n_shapes: int) -> Model:
    """Random background with shapes that move every bin to one side, and data that are not at the nominal one."""
    rng = np.random.default_rng(seed)
    bins = int(rng.integers(1, 4))
    b, s = rng.uniform(30, 200, bins), rng.uniform(2, 30, bins)
    shapes = []
    for i in range(n_shapes):
        side = rng.choice([-1, 1])
        ends = [b * (1 + side * rng.uniform(0.02, 0.5, bins)) for _ in range(2)]
        shapes.append(build.modifier("histosys", f"h{i}", (list(ends[0]), list(ends[1]))))
    samples = [build.sample("s", s, build.modifier("normfactor", "mu")), build.sample("b", b, *shapes)]
    data = rng.poisson(b * rng.uniform(0.6, 1.5, bins)).astype(float)
    return read(build.workspace({"a": samples}, {"a": data}, "mu", {"mu": {"bounds": [[0.0, 60.0]]}}))


def lowest(problem: Problem) -> float:
    """-ln L at the lowest minimum that a grid of starts leads to."""
    shapes = [i for i, name in enumerate(problem.names) if name.startswith("h") and problem.free[i]]
    mu, found = problem.names.index("mu"), []
    for sides in itertools.product((-2.5, -1.0, -0.2, 0.2, 1.0, 2.5), repeat=len(shapes)):
        for strength in (0.0, 1.0, 4.0) if problem.free[mu] else (problem.start[mu],):
            x = problem.start.copy()
            x[shapes], x[mu] = sides, strength
            minimum = problem._newton(x, "grid")
            found += [minimum.value] if minimum.valid else []
    return min(found)


def test_all_questions_see_the_lower_of_two_minima() -> None:
    model = coupled(1)
    statistic = fit(model, fixed={"mu": 1.5}).twice_nll - fit(model).twice_nll
    assert statistic == pytest.approx(1.5154, abs=1e-4)
    assert cls(model, 1.5).statistic == pytest.approx(statistic, abs=1e-7)
    assert scan(model, points=[1.5]).delta_twice_nll[0] == pytest.approx(statistic, abs=1e-7)
    end = interval(model).high
    assert fit(model, fixed={"mu": end}).twice_nll - fit(model).twice_nll == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("start", [-1.2, 1.2])
def test_a_fit_looks_into_the_other_valley(start: float) -> None:
    """Both ends of the shape raise the yield: a fit that begins at the upper one ends in the higher valley."""
    shape = build.modifier("histosys", "h", ([130.0], [120.0]))
    samples = [build.sample("sig", [1.0], build.modifier("normfactor", "mu")), build.sample("bkg", [100.0], shape)]
    model = read(build.workspace({"SR": samples}, {"SR": [130.0]}, "mu"))
    grid = min(model.twice_nll({"mu": 0.0, "h": h}) for h in np.linspace(-1.2, -0.8, 401))
    found = fit(model, fixed={"mu": 0.0}, start={"h": start})
    assert found.twice_nll == pytest.approx(grid, abs=1e-4)
    assert found.values["h"] < 0


def test_limits_of_pyhf_validation_model_are_those_of_the_lowest_minima() -> None:
    """A grid and brute force agree on these; pyhf's optimisers stay in one valley and say CLs(1) = .278."""
    model = coupled(2)
    assert cls(model, 1.0).observed == pytest.approx(0.11404, abs=2e-5)
    found = limit(model)
    assert found.observed == pytest.approx(1.3194, abs=2e-4)
    assert found.expected[2] == pytest.approx(0.9788, abs=2e-4)


@given(st.integers(0, 10_000), st.integers(1, 2))
@example(3731, 1)  # the other valley lies nearer than a width
@settings(max_examples=20 if FULL else 4, deadline=None)
def test_one_sided_shapes_agree_with_brute_force(seed: int, n_shapes: int) -> None:
    model = one_sided(seed, n_shapes)
    problem = prepare(model)
    free, null, two = (lowest(p) for p in (problem, problem.at("mu", 0.0), problem.at("mu", 2.0)))
    assert problem.solve().value <= free + 1e-6
    assert discovery(model).q0 == pytest.approx(2 * (null - free), abs=1e-5)
    assert scan(model, points=[0.0, 2.0]).delta_twice_nll == pytest.approx(
        [2 * (null - free), 2 * (two - free)], abs=1e-5
    )
    strength = fit(model).values["mu"]
    assert cls(model, 2.0).statistic == pytest.approx(2 * (two - free) if strength <= 2 else 0.0, abs=1e-5)
    ends = interval(model)
    for end, at_bound in ((ends.low, ends.low_at_bound), (ends.high, ends.high_at_bound)):
        rise = 2 * (lowest(problem.at("mu", end)) - free)
        assert rise < 1 if at_bound else rise == pytest.approx(1.0, abs=2e-3)
    # no side is nearer to the data than a minimum along it: an impact is the shift of the lowest of held fits
    for row in impacts(model).impacts:
        for distance, shift in ((row.error, row.up), (None if row.error is None else -row.error, row.down)):
            if distance is not None and shift is not None:
                held = problem.at(row.parameter, row.value + distance)
                assert held.solve().value <= lowest(held) + 1e-6
                assert shift == pytest.approx(held.solve().x[model.index("mu")] - strength, abs=1e-4)


def test_a_range_is_seen_by_all_fits_of_a_ratio() -> None:
    model = excess()
    found = limit(model)
    assert found.observed == pytest.approx(30.06, abs=0.005)
    assert "beyond its range [0, 10]" in found.notes[0]
    assert cls(model, 30.0).observed == pytest.approx(0.0509, abs=1e-4)
    data = asimov(model, 30.0)
    assert discovery(model, data, ranges={"mu": (0.0, 30.0)}).z == pytest.approx(6.65, abs=0.005)
    assert discovery(model, data).at_bounds == ("mu",)
    assert fit(model).at_bounds == ("mu",)
    toys = limit(model, law=Toys(2000, seed=1))
    # exactly, summing over n and integrating over the auxiliary measurement: CLs is .0547 at 30.0 and .0476 at 30.4
    assert toys.observed == pytest.approx(30.27, abs=3 * toys.observed_error)  # type: ignore[operator]
    assert scan(model, points=[0.0, 20.0, 30.0]).best == pytest.approx(20.0, abs=1e-5)


def test_a_nuisance_parameter_at_its_end_is_told_by_all_answers() -> None:
    """The control region has 25 times the expected events, and the range of the factor ends at 10."""
    rate = build.modifier("normfactor", "nb")
    signal = build.sample("sig", [5.0], build.modifier("normfactor", "mu"))
    channels = {"SR": [signal, build.sample("bkg", [5.0], rate)], "CR": [build.sample("bkg", [20.0], rate)]}
    model = read(build.workspace(channels, {"SR": [125.0], "CR": [500.0]}, "mu"))
    for answer in (
        fit(model),
        discovery(model),
        cls(model, 1.0),
        limit(model),
        interval(model),
        scan(model, n_points=3),
        goodness(model, fixed={"mu": 1.0}),
        impacts(model),
    ):
        assert "nb" in answer.to_dict()["at_bounds"], type(answer)
    assert limit(model, ranges={"nb": (0.0, 200.0)}).at_bounds == ()


@pytest.mark.parametrize("low", [-20.0, -5.0, 0.0])
def test_q_tilde_compares_with_zero_whatever_the_range(low: float) -> None:
    assert limit(deficit(low)).observed == pytest.approx(1.9464, abs=1e-4)
    if low < 0:
        assert limit(deficit(low), statistic="q").observed == pytest.approx(1.9126, abs=1e-4)


@given(st.floats(12, 40), st.floats(1.0, 8.0))
@settings(max_examples=8, deadline=None)
def test_no_answer_changes_when_an_inactive_range_gets_wider(n: float, factor: float) -> None:
    n = round(n)
    narrow, wide = (
        {"mu": (0.0, 45.0), "k": (-5.0, 5.0)},
        {"mu": (0.0, 45.0 * factor), "k": (-5.0 * factor, 5 * factor)},
    )

    def answers(ranges: dict[str, tuple[float, float]]) -> list[float | None]:
        model = excess(100.0, n)
        low_high = interval(model, ranges=ranges)
        region = contour(model, "mu", "k", n_points=4, ranges=ranges)
        ranked = impacts(model, ranges=ranges).impacts[0]
        found = limit(model, ranges=ranges)
        return [
            discovery(model, ranges=ranges).q0,
            found.observed,
            *found.expected,
            cls(model, 12.0, ranges=ranges).observed,
            low_high.high,
            low_high.low,
            *region.x,
            ranked.up,
            ranked.down,
            *scan(model, points=[3.0, 9.0], ranges=ranges).delta_twice_nll,
            goodness(model, fixed={"mu": 3.0}, ranges=ranges).statistic,
            goodness(model, fixed={"mu": 3.0}, ranges=ranges).p,
        ]

    assert answers(narrow) == pytest.approx(answers(wide), rel=1e-5, abs=1e-6)


def test_pulls_are_in_units_of_the_constraint() -> None:
    """10 known to 10 %, and 13 seen in the control region: the parameter at its best, over a width of one."""
    shift = build.modifier("normsys", "k", (0.9, 1.1))
    channels = {
        "SR": [build.sample("sig", [1.0], build.modifier("normfactor", "mu")), build.sample("bkg", [10.0], shift)],
        "CR": [build.sample("bkg", [100.0], shift)],
    }
    model = read(build.workspace(channels, {"SR": [12.0], "CR": [115.0]}, "mu"))
    best, (only,) = fit(model), impacts(model).impacts
    assert best.values["k"] > 0.5
    assert only.pull == pytest.approx(best.values["k"], abs=1e-6)
    assert only.constraint == pytest.approx(best.errors["k"], abs=1e-6)
    assert goodness(model).degrees_of_freedom == 1  # two bins and a constraint of two parameters


def test_q0_of_a_deficit_is_zero() -> None:
    for low in (-20.0, 0.0):
        assert discovery(deficit(low)).q0 == 0
        assert discovery(deficit(low)).p == 0.5


def test_q0_of_a_range_without_zero() -> None:
    found = discovery(excess(), ranges={"mu": (25.0, 40.0)})
    assert found.q0 == pytest.approx(discovery(excess(50.0)).q0, rel=1e-6)


def test_a_lower_held_fit_repeats_the_free_one() -> None:
    profile = Profile(prepare(excess(50.0)), "mu")
    right = profile.rise(12.0)
    stale = Profile(prepare(excess(50.0)), "mu")
    stale.best = dataclasses.replace(stale.best, value=stale.best.value + 3.0)
    with pytest.raises(LowerMinimumError):
        stale.held(12.0)
    assert stale.best.value == pytest.approx(profile.best.value, abs=1e-9)
    stale.best = dataclasses.replace(stale.best, value=stale.best.value + 3.0)
    assert stale.settled(lambda: stale.rise(12.0)) == pytest.approx(right, abs=1e-6)


def test_a_fit_that_begins_where_nothing_is_possible_goes_back_to_its_first_start() -> None:
    """A neighbour ended where, without its signal, a bin with events expects none."""
    shape = build.modifier("histosys", "h", ([0.0], [14.0]))
    signal = build.sample("sig", [5.0], build.modifier("normfactor", "mu"))
    model = read(build.workspace({"SR": [signal, build.sample("bkg", [7.0], shape)]}, {"SR": [9.0]}, "mu"))
    problem = prepare(model, start={"h": -0.5}).at("mu", 0.0)
    begin = problem.start.copy()
    begin[model.index("h")] = -1.5
    found = problem.begin(begin).solve()
    assert found.valid
    assert found.attempts[1].startswith("newton from the first start")
    assert found.value == pytest.approx(problem.solve().value, abs=1e-9)


def test_probabilities_that_underflow_are_bounds() -> None:
    signal = build.sample("sig", [1.0], build.modifier("normfactor", "mu"))
    spec = build.workspace(
        {"SR": [signal, build.sample("bkg", [100.0])]}, {"SR": [5000.0]}, "mu", {"mu": {"bounds": [[0.0, 1e5]]}}
    )
    found = discovery(read(spec))
    assert (found.p, found.p_is_upper_bound) == (1e-300, True)
    assert found.z > 100
    bad = goodness(read(spec), fixed={"mu": 0.0})
    assert (bad.p, bad.p_is_upper_bound) == (1e-300, True)


def test_what_does_not_exist_is_none() -> None:
    """Without events the likelihood of a strength has no curvature; a bin without anything has no 0 / 0."""
    signal = build.sample("sig", [3.0], build.modifier("normfactor", "mu"))
    best = fit(read(build.workspace({"SR": [signal, build.sample("bkg", [0.4])]}, {"SR": [0.0]}, "mu")))
    assert math.isnan(best.errors["mu"])
    assert best.to_dict()["errors"]["mu"] is None
    empty = [build.sample("sig", [0.0, 2.0], build.modifier("normfactor", "mu")), build.sample("bkg", [0.0, 6.0])]
    model = read(build.workspace({"SR": empty}, {"SR": [0.0, 6.0]}, "mu"))
    assert goodness(model, fixed={"mu": 0.0}).statistic == 0.0


def test_stems_stand_for_all_bins() -> None:
    stat = build.modifier("staterror", "stat", [1.0, 2.0])
    samples = [
        build.sample("sig", [3.0, 1.0], build.modifier("normfactor", "mu")),
        build.sample("bkg", [10.0, 20.0], stat),
    ]
    model = read(build.workspace({"SR": samples}, {"SR": [15.0, 22.0]}, "mu"))
    assert fit(model, fixed={"stat": None}).fixed == ("stat[0]", "stat[1]")


def test_few_events_and_sparse_bins_are_told() -> None:
    signal = build.sample("sig", [1.0], build.modifier("normfactor", "mu"))
    model = read(build.workspace({"SR": [signal, build.sample("bkg", [2.0])]}, {"SR": [4.0]}, "mu"))
    for answer in (discovery(model), limit(model), cls(model, 3.0), interval(model)):
        assert "only 2 expected background events" in answer.notes[0] or "only 4 " in answer.notes[0]
        assert "bumpfit " in answer.notes[0]
    assert "fewer than 5 events" in goodness(model, fixed={"mu": 0.0}).notes[0]
    assert limit(excess(n=12.0)).notes == ()


def test_a_strength_that_is_held_at_the_end_of_its_range_is_no_alarm() -> None:
    channel = {"name": "c", "samples": [
        {"name": "s", "data": [5.0, 3.0], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
        {"name": "b", "data": [50.0, 30.0],
         "modifiers": [{"name": "n", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}]},
    ]}  # fmt: skip
    model = read(
        {
            "channels": [channel],
            "observations": [{"name": "c", "data": [55, 33]}],
            "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
            "version": "1.0.0",
        }
    )
    assert discovery(model).at_bounds == ()  # the null is mu = 0, an end of the default range, by its own definition


def many_events() -> Model:
    """1e8 events a bin, nuisance parameters that move them by tens of percent and a signal of some thousand."""
    mu, stat = build.modifier("normfactor", "mu"), build.modifier("staterror", "st0", [3.2e6, 2.1e7, 4.0e7])
    first = build.modifier("histosys", "a", ([1.0e8, 1.2e8, 2.4e8], [9.6e7, 1.1e8, 2.1e8]))  # one-sided
    second = build.modifier("histosys", "b", ([7.5e7, 1.5e8, 3.2e8], [1.4e8, 1.0e8, 2.1e8]))
    channels = {
        "c0": [build.sample("s", [600.0, 16500.0, 16000.0], mu),
               build.sample("b", [1.06e8, 1.25e8, 2.68e8], first, second, stat)],
        "c1": [build.sample("s", [4400.0], mu),
               build.sample("b", [2.23e8], build.modifier("staterror", "st1", [5.6e7]),
                            build.modifier("normfactor", "nb"))],
    }  # fmt: skip
    return read(build.workspace(channels, {"c0": [1.15e8, 1.35e8, 2.89e8], "c1": [2.74e8]}, "mu"))


@pytest.mark.parametrize("mu", [0.0, 3000.0])
def test_narrow_curved_valleys_are_followed_to_their_end(mu: float) -> None:
    model = many_events()
    open_range = {"mu": (0.0, 1e5)}
    best = fit(model, fixed={"mu": mu}, ranges=open_range)
    x = np.array([best.values[name] for name in model.names])
    free = [i for i, name in enumerate(model.names) if name != "mu"]
    curvature = np.asarray(model.hessian(x))[np.ix_(free, free)]
    scale = np.sqrt(np.diag(curvature))
    assert np.linalg.eigvalsh(curvature).min() > 0.0
    slope = np.linalg.solve(np.linalg.cholesky(curvature), np.asarray(model.gradient(x))[free])
    assert float(slope @ slope) < 1e-5 and scale.min() > 0.5
    for seed in range(2):
        start = dict(zip(("a", "b"), np.random.default_rng(seed).normal(0.0, 0.7, 2), strict=True))
        again = fit(model, fixed={"mu": mu}, start=start, ranges=open_range)
        assert again.twice_nll == pytest.approx(best.twice_nll, abs=1e-4)
