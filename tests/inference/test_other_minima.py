"""Minima of other kinds: two-sided systematics of different sizes, two free yields, what a factor at zero hides.

Found by fitting random models from many starts. In the first a fit that begins at its neighbour's answer stays where a
normalisation is pulled to its flat side. In the second the free fit goes to strength zero, where the other free yield
has taken the events of the signal, and no held fit that a limit needs lies below it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from iminuit import Minuit
from scipy.stats import chi2, poisson

from bumpfit import inference, toys
from bumpfit.errors import BumpfitError
from bumpfit.inference import contour, discovery, fit, interval, scan
from bumpfit.inference.histfactory import Problem, prepare
from bumpfit.inference.interval import parts
from bumpfit.inference.profile import Profile
from bumpfit.toys.histfactory import HistFactoryEngine
from bumpfit.workspace import Model, build, read


def flat_side() -> Model:
    m = build.modifier
    signal = build.sample("s", [98.48, 79.13, 49.43], m("normfactor", "mu"), m("normsys", "a2", (0.96, 1.32)))
    background = build.sample(
        "b", [272.09, 217.09, 206.4], m("normsys", "a1", (0.71, 1.41)), m("staterror", "st0", [65.3, 83.3, 66.19])
    )
    spec = build.workspace({"c": [signal, background]}, {"c": [307.0, 271.0, 209.0]}, "mu", {"a1": {"fixed": True}})
    return read(spec)


def two_yields() -> Model:
    m = build.modifier
    lumi = {"auxdata": [1.0], "sigmas": [0.05], "inits": [1.0], "bounds": [[0.5, 1.5]]}
    first = [
        build.sample("s0", [11.1625], m("normfactor", "mu"), m("histosys", "a0", ([12.8877], [14.7380])),
                     m("normsys", "a1", (0.6813, 1.2020)), m("histosys", "h1", ([11.0722], [9.9743])),
                     m("lumi", "lumi")),
        build.sample("s1", [55.3636], m("normfactor", "mu2"), m("histosys", "h0", ([51.4107], [38.5872])),
                     m("normsys", "a1", (0.83424, 1.03724)), m("normsys", "a2", (0.6204, 1.1020)),
                     m("staterror", "st0", [12.9575])),
        build.sample("s2", [20.6991], m("normsys", "a1", (0.8875, 1.40203)), m("staterror", "st0", [1.3760])),
    ]  # fmt: skip
    second = [
        build.sample("s0", [6.06625, 9.01539], m("normfactor", "mu"),
                     m("histosys", "a1", ([6.9048, 7.18457], [6.40978, 6.66039]))),
        build.sample("s1", [27.1398, 40.4162], m("normfactor", "mu2"), m("normsys", "a0", (0.74897, 0.98054)),
                     m("histosys", "a1", ([34.17638, 34.7128], [26.7324, 47.38187])),
                     m("staterror", "st1", [4.23508, 3.41715])),
    ]  # fmt: skip
    settings = {"lumi": lumi, "a0": {"bounds": [[-1.0, 0.7]]}, "mu": {"bounds": [[-5.0, 10.0]]}}
    return read(build.workspace({"c0": first, "c1": second}, {"c0": [125.0], "c1": [37.0, 45.0]}, "mu", settings))


def lowest(problem: Problem, seed: int, wide: float = 4.0) -> float:
    """-ln L at the lowest minimum of many starts."""
    rng, found = np.random.default_rng(seed), []
    constrained = np.array([p.constraint != "none" for p in problem.model.parameters])
    for _ in range(40):
        x = problem.start + np.where(constrained, 0.3, 1.5) * rng.normal(size=problem.start.size)
        alpha = constrained & (problem.start == 0.0)
        x[alpha] *= wide
        minimum = problem._newton(np.where(problem.free, x, problem.start), "random")
        found += [minimum.value] if minimum.valid else []
    return min(found)


def test_a_fit_does_not_stay_at_the_flat_side_of_a_normalisation() -> None:
    model = flat_side()
    problem = inference.prepare(model)
    exact = 2 * (lowest(problem.at("mu", 4.0), 1) - lowest(problem, 2))
    assert inference.scan(model, points=[1.7, 4.0]).delta_twice_nll[1] == pytest.approx(exact, abs=1e-5)


@pytest.mark.slow
def test_a_limit_sees_the_minimum_that_another_free_yield_hides() -> None:
    model = two_yields()
    positive = inference.prepare(model, ranges={"mu": (0.0, np.inf)})
    free = lowest(positive, 3)
    assert positive.solve().value == pytest.approx(free, abs=1e-6)
    found = inference.limit(model)
    test = inference.cls(model, found.observed)
    assert test.statistic == pytest.approx(2 * (lowest(positive.at("mu", found.observed), 4) - free), abs=1e-4)
    assert test.observed == pytest.approx(0.05, abs=1e-6)


def test_toys_see_the_minimum_that_another_free_yield_hides() -> None:
    """Of 60 toys nine ended too high, by up to 2.75; these are three of them."""
    model = two_yields()
    engine = HistFactoryEngine(model, "mu", model.array({"mu": 0.0}), name="q0")
    data = engine.data(np.array([16, 37, 47]), 1)
    found = engine.fit_data(data)
    assert (found.status == 0).all()
    for row, free in zip(data, found.free[:, 0], strict=True):
        positive = inference.prepare(model, row, ranges={"mu": (engine.plan.low, engine.plan.high)})
        assert free == pytest.approx(lowest(positive, 5), abs=1e-6)


def test_only_toys_that_may_have_other_minima_are_fitted_again() -> None:
    """A normalisation of other sizes at both ends counts where it is pulled far, a free yield where it may be zero."""
    engine = HistFactoryEngine(flat_side(), "mu", flat_side().array({"mu": 1.0}), "qtilde", 1.0, 1.0)
    again = engine._lanes(*engine._split(engine.data(np.arange(60), 1)))[:, 3] > 0
    assert 0.05 < again.mean() < 0.5
    m = build.modifier
    known = build.sample("b", [400.0, 40.0], m("normfactor", "k"), m("normsys", "n", (1 / 1.1, 1.1)))
    signal = build.sample("s", [0.0, 9.0], m("normfactor", "mu"))
    model = read(build.workspace({"c": [signal, known]}, {"c": [390.0, 45.0]}, "mu"))
    plain = HistFactoryEngine(model, "mu", model.array({"mu": 0.0}))
    assert plain.elsewhere.along.size == plain.elsewhere.loose.size == 0
    assert not plain._lanes(*plain._split(plain.data(np.arange(60), 1)))[:, 3].any()


def hidden_by_a_bin_error() -> Model:
    m = build.modifier
    lead = [
        build.sample("s", [80.3, 97.8, 91.6], m("normfactor", "mu")),
        build.sample(
            "b",
            [126.9, 211.0, 281.8],
            m("normsys", "a0", (0.628, 1.0196)),
            m("normsys", "a1", (0.7, 1.16)),
            m("histosys", "a2", ([156.8, 256.7, 299.0], [121.3, 179.4, 387.8])),
        ),
    ]
    empty = [
        build.sample("s", [92.1], m("normfactor", "mu")),
        build.sample("b", [202.6], m("normsys", "a2", (0.952, 1.443)), m("histosys", "a2", ([162.0], [239.6])),
                     m("staterror", "st", [22.46])),
    ]  # fmt: skip
    return read(build.workspace({"c0": lead, "c1": empty}, {"c0": [153.0, 228.0, 266.0], "c1": [0.0]}, "mu"))


def hidden_by_a_yield() -> Model:
    m = build.modifier
    signal = build.sample("s", [45.1], m("normfactor", "mu"), m("staterror", "st", [9.23]))
    other = build.sample(
        "b", [203.7], m("normfactor", "mu2"), m("histosys", "a1", ([166.0], [114.2])), m("staterror", "st", [14.8])
    )
    return read(build.workspace({"c": [signal, other]}, {"c": [339.0]}, "mu"))


def test_a_bin_error_at_zero_does_not_hide_a_systematic_that_can_empty_the_bin() -> None:
    model = hidden_by_a_bin_error()
    without = inference.prepare(model).at("mu", 0.0)
    exact = lowest(without, 1, wide=12.0)
    assert without.solve().value == pytest.approx(exact, abs=1e-6)
    begun = without.start.copy()
    begun[model.index("st[0]")] = 0.0
    assert without._newton(begun, "with the bin error at zero").value > exact + 1


def test_an_expected_limit_sees_what_a_yield_at_zero_hides() -> None:
    model = hidden_by_a_yield()
    null = inference.prepare(model).at("mu", 0.0).solve()
    asimov = inference.prepare(model).asimov(null.x)
    held, cold = asimov.at("mu", 10.0), inference.prepare(model).facing(asimov.main, asimov.aux).at("mu", 10.0)
    assert held.solve().value == pytest.approx(lowest(cold, 1, wide=12.0), abs=1e-6)


def test_no_impacts_on_a_strength_that_another_yield_replaces() -> None:
    found = inference.impacts(hidden_by_a_yield())
    assert found.error is None
    assert {(row.up, row.down, row.prefit_up, row.prefit_down) for row in found.impacts} == {(None, None, None, None)}
    assert "do not determine mu2, mu" in found.notes[0]


COUPLING = {"a": (8.0, 60.0, 1.2, 1.1), "b": (20.0, 90.0, -0.9, 0.6), "c": (30.0, 150.0, 0.4, 0.5)}
"""Signal, background, and what interference and square add for a coupling."""


def interfering(start: float) -> Model:
    """Yields that are parabolas of a coupling, as of an operator that interferes; the data of 1.8, rounded."""
    spec: dict[str, Any] = {}
    data: dict[str, Any] = {}
    for name, (s, b, one, two) in COUPLING.items():
        parabola = build.modifier("normformula", f"f_{name}", f"1 + {one} * g + {two} * g^2")
        spec[name] = [build.sample("s", [s], parabola), build.sample("b", [b])]
        data[name] = [round(b + s * (1 + one * 1.8 + two * 1.8**2))]
    return read(build.workspace(spec, data, "g", {"g": {"bounds": [[-6.0, 6.0]], "inits": [start]}}))


def parabolas(g: Any, counts: Sequence[float]) -> Any:
    """-2 ln L of couplings, written out."""
    total = np.zeros_like(g)
    for (s, b, one, two), n in zip(COUPLING.values(), counts, strict=True):
        total -= 2 * poisson.logpmf(n, b + s * (1 + one * g + two * g**2))
    return total


@pytest.mark.parametrize("start", [-5.0, -1.0, 0.5, 4.0])
def test_fits_and_toys_see_both_sides_of_a_formula(start: float) -> None:
    model, grid = interfering(start), np.linspace(-6.0, 6.0, 120_001)
    counts = model.split()[0].tolist()
    line = parabolas(grid, counts)
    best = fit(model)
    assert best.twice_nll == pytest.approx(line.min(), abs=1e-6)
    assert best.values["g"] == pytest.approx(grid[line.argmin()], abs=1e-3)
    found = interval(model)
    assert found.best == pytest.approx(best.values["g"], abs=1e-4)
    for end in (found.low, found.high):
        assert end is not None
        assert parabolas(np.array([end]), counts)[0] - line.min() == pytest.approx(1.0, abs=1e-3)
    assert scan(model, points=[-2.0]).delta_twice_nll[0] == pytest.approx(
        parabolas(np.array([-2.0]), counts)[0] - line.min(), abs=1e-3
    )
    engine = HistFactoryEngine(model, "g", model.array({"g": 1.8}), "tmu", 1.8, -2.0)
    toys = engine.data(np.arange(5), 3)
    for toy, t in zip(toys, engine.fit_data(toys).statistic[:, 0], strict=True):
        line = parabolas(grid, toy.tolist())
        assert t == pytest.approx(parabolas(np.array([-2.0]), toy.tolist())[0] - line.min(), abs=1e-3)


@pytest.mark.parametrize(("n", "parts"), [(80.0, 2), (40.0, 1)])
def test_an_interval_says_where_another_part_of_the_region_is(n: float, parts: int) -> None:
    """n events over 50 + 10 (1 + g^2 / 2): as likely with g as with -g; one part where they expect too many."""
    parabola = build.modifier("normformula", "f", "1 + 0.5 * g^2")
    samples = [build.sample("s", [10.0], parabola), build.sample("b", [50.0])]
    settings = {"g": {"bounds": [[-6.0, 6.0]], "inits": [1.0]}}
    found = interval(read(build.workspace({"a": samples}, {"a": [n]}, "g", settings)))
    grid = np.linspace(-6.0, 6.0, 240_001)
    line = -2 * poisson.logpmf(n, 60.0 + 5.0 * grid**2)
    inside = grid[line < line.min() + 1.0]
    regions = np.split(inside, np.flatnonzero(np.diff(inside) > 1e-3) + 1)
    assert len(regions) == parts
    assert any([found.low, found.high] == pytest.approx([one[0], one[-1]], abs=1e-3) for one in regions)
    told = [note for note in found.notes if "several parts" in note]
    assert len(told) == parts - 1
    assert all(f"g = {-found.best:.4g} are" in note for note in told)


def test_a_contour_says_where_another_part_of_the_region_is() -> None:
    """60 + 5 g^2 + 5 h^2 and 60 + 10 g^2 + 3 h events: as likely with g as with -g."""
    yields = {"a": ("1 + 0.5 * g^2 + 0.5 * h^2", 85.0), "b": ("1 + g^2 + 0.3 * h", 100.0)}
    spec = {
        name: [build.sample("s", [10.0], build.modifier("normformula", f"f_{name}", text)), build.sample("b", [50.0])]
        for name, (text, _) in yields.items()
    }
    ends = {name: {"bounds": [[-6.0, 6.0]], "inits": [0.5]} for name in ("g", "h")}
    found = contour(read(build.workspace(spec, {name: [n] for name, (_, n) in yields.items()}, "g", ends)), "g", "h")
    g, h = np.meshgrid(np.linspace(-6.0, 6.0, 601), np.linspace(-6.0, 6.0, 601), indexing="ij")
    rates = 60.0 + 5.0 * g**2 + 5.0 * h**2, 60.0 + 10.0 * g**2 + 3.0 * h
    height = -2 * sum(poisson.logpmf(n, rate) for (_, n), rate in zip(yields.values(), rates, strict=True))
    inside = height < height.min() + chi2(2).ppf(found.level)
    assert inside[g > 0.0].any() and inside[g < 0.0].any() and not inside[g == 0.0].any()
    sign = np.sign(found.best[0])
    region = inside & (sign * g > 0.0)
    assert found.ranges[0] == pytest.approx((g[region].min(), g[region].max()), abs=0.04)
    assert found.ranges[1] == pytest.approx((h[region].min(), h[region].max()), abs=0.04)
    assert any(f"g = {-found.best[0]:.4g} are within" in note for note in found.notes)


def interference(start: float, n: float = 80.0, linear: float = 0.0) -> Model:
    """n events over 60 + 10 linear g + 5 g^2."""
    parabola = build.modifier("normformula", "f", f"1 + {linear} * g + 0.5 * g^2")
    samples = [build.sample("s", [10.0], parabola), build.sample("b", [50.0])]
    return read(build.workspace({"a": samples}, {"a": [n]}, "g", {"g": {"bounds": [[-6.0, 6.0]], "inits": [start]}}))


def engine_of(model: Model) -> HistFactoryEngine:
    """Toys without a signal."""
    return HistFactoryEngine(model, "g", model.array({"g": 0.0}), "q0", 0.0, 0.0)


@pytest.mark.parametrize("start", [-5.0, -1.0, 0.0, 1.0, 5.0])
def test_q0_does_not_depend_on_the_sign_that_the_fit_ends_at(start: float) -> None:
    """80 events over 60 + 5 g^2: as likely with g = -2 as with 2."""
    model = interference(start)
    found = discovery(model)
    height = -2 * (poisson.logpmf(80.0, 60.0) - poisson.logpmf(80.0, 80.0))
    assert found.q0 == pytest.approx(height, abs=1e-6)
    assert found.mu == pytest.approx(2.0, abs=1e-4)
    assert found.z_signed == pytest.approx(np.sqrt(height), abs=1e-6)
    assert any("g = -2, of the other sign" in note for note in found.notes)
    assert engine_of(model).observed() == pytest.approx(height, abs=1e-6)


@pytest.mark.parametrize("linear", [-0.2, 0.2])
@pytest.mark.parametrize("start", [-1.0, 1.0])
def test_q0_is_that_of_strengths_from_zero_on_in_data_and_toys(start: float, linear: float) -> None:
    """60 +- 2 g + 5 g^2: the best strength has either sign, and q0 of each data set is that of the positive ones."""
    grid = np.linspace(0.0, 6.0, 60_001)
    model = interference(start, linear=linear)
    toys = engine_of(model).data(np.arange(40), 5)
    rates = 60.0 + 10.0 * linear * grid + 5.0 * grid**2
    for toy in (model.split()[0], *toys):
        line = -2 * poisson.logpmf(toy[0], rates)
        found = discovery(model, toy[:1])
        assert found.q0 == pytest.approx(line[0] - line.min(), abs=1e-5)
        assert engine_of(interference(start, float(toy[0]), linear)).observed() == pytest.approx(found.q0, abs=1e-6)
        one_by_one = Profile(prepare(model, toy[:1]), "g").statistic("q0", 0.0)  # the way of toys without an engine
        assert one_by_one == pytest.approx(found.q0, abs=1e-6)


def test_a_negative_strength_is_no_discovery() -> None:
    """40 events, fewer than the 59.8 that 60 - 2 g + 5 g^2 has at least: the deficit is described by g = .2 best."""
    found = discovery(interference(1.0, 40.0, 0.2))
    assert found.mu == pytest.approx(-0.2, abs=1e-4)
    assert found.q0 == 0.0
    assert found.z_signed is not None and found.z_signed < 0.0
    assert not any("other sign" in note for note in found.notes)


def shoulder() -> Model:
    """Parabolas of a coupling whose other minimum is none on the line through the near one: systematics fill it up."""
    m = build.modifier
    first = [
        build.sample("s", [6.1, 27.2], m("normformula", "f0", "1 + 0.716 * g + 0.103 * g^2")),
        build.sample("b", [61.5, 140.7], m("normsys", "k", (0.877, 1.11)), m("staterror", "st", [3.07, 7.03]),
                     m("histosys", "h", ([64.57, 147.71], [59.04, 135.05]))),
    ]  # fmt: skip
    second = [
        build.sample("s", [24.4, 20.9], m("normformula", "f1", "1 + 0.558 * g + 0.321 * g^2"),
                     m("normsys", "l", (0.9, 1.1))),
        build.sample("b", [93.5, 59.5]),
    ]  # fmt: skip
    ends = {"g": {"bounds": [[-6.0, 6.0]], "inits": [1.27]}}
    return read(build.workspace({"c0": first, "c1": second}, {"c0": [75.0, 146.0], "c1": [114.0, 88.0]}, "g", ends))


def test_fits_and_toys_see_a_minimum_that_systematics_fill_up_on_the_line() -> None:
    """The lowest by iminuit from places along the coupling; a fit that looked for dips alone ended 1.26 above."""
    model = shoulder()
    lowest_of, places = [], []
    for g in np.linspace(-4.0, 4.0, 9):
        begin = model.array({"g": float(g)})
        minuit = Minuit(lambda x: model.twice_nll(np.asarray(x)), begin, name=list(model.names))
        minuit.limits = list(zip(model.lower, model.upper, strict=True))
        minuit.migrad()
        lowest_of.append(minuit.fval)
        places.append(minuit.values["g"])
    assert fit(model).twice_nll == pytest.approx(min(lowest_of), abs=1e-3)
    below = discovery(model)
    assert below.mu == pytest.approx(places[int(np.argmin(lowest_of))], abs=0.01)
    assert below.q0 == 0.0
    engine = HistFactoryEngine(model, "g", model.array({"g": -0.2}), "tmu", -0.2, -0.2)
    found = engine.fit_data(np.concatenate(model.split())[None, :])
    free = 2 * float(found.free[0, 0]) + model.saturated_twice_nll()
    assert free == pytest.approx(min(lowest_of), abs=1e-3)


SIDES = {
    "another side of a systematic first": (
        (-0.341, 0.121), [5.51, 3.82, 6.96], [65.7, 110.2, 60.6], [90.0, 123.0, 67.0],
        [("normsys", (0.83, 1.028)), ("histosys", ([77.5, 121.4, 66.4], [71.6, 116.7, 54.6]))],
    ),
    "a systematic again beside another side of the formula": (
        (-0.41, 0.443), [8.89, 22.36, 5.7], [23.3, 22.95, 70.15], [45.0, 62.0, 93.0],
        [("normsys", (0.8336, 0.9485)), ("normsys", (1.0457, 1.3449))],
    ),
}  # fmt: skip
"""Interference and square, signal, background, data, and systematics of the background, both of whose ends move it the
same way.
"""


def both_sided(kind: str) -> Model:
    """A coupling over a background with one-sided systematics."""
    (linear, square), signal, background, data, systematics = SIDES[kind]
    m = build.modifier
    moved = [m(how, f"n{i}", ends) for i, (how, ends) in enumerate(systematics)]
    parabola = m("normformula", "f", f"1 + ({linear}) * g + {square} * g^2")
    spec = [build.sample("s", signal, parabola), build.sample("b", background, *moved)]
    ends = {"g": {"bounds": [[-6.0, 6.0]], "inits": [-1.0]}}
    return read(build.workspace({"c": spec}, {"c": data}, "g", ends))


@pytest.mark.parametrize("kind", SIDES)
def test_q0_where_a_formula_and_systematics_have_other_sides(kind: str) -> None:
    """The lowest by iminuit from places along the coupling and on both sides of each systematic."""
    model = both_sided(kind)
    nuisances = [name for name in model.names if name != "g"]

    def lowest_of(places: Sequence[float], low: float) -> float:
        found = []
        for g, *sides in itertools.product(places, *((-0.8, 0.8) for _ in nuisances)):
            begin = model.array({"g": float(g), **dict(zip(nuisances, sides, strict=True))})
            minuit = Minuit(lambda x: model.twice_nll(np.asarray(x)), begin, name=list(model.names))
            minuit.limits = [(low, 6.0) if name == "g" else (-5.0, 5.0) for name in model.names]
            minuit.fixed["g"] = g == 0.0
            minuit.migrad()
            found.append(minuit.fval)
        return min(found)

    null, positive = lowest_of([0.0], -6.0), lowest_of([0.7, 2.3, 4.7], 0.0)
    assert discovery(model).q0 == pytest.approx(null - positive, abs=2e-3)
    assert engine_of(model).observed() == pytest.approx(discovery(model).q0, abs=1e-5)


def test_data_far_from_every_fit_have_one_q0_on_all_roads() -> None:
    """36 events over 63.7 + (25.5 + shape) (1 + .12 g + .4 g^2): the lowest has a shape of +3.7 and g at its end."""
    m = build.modifier
    moved = m("histosys", "shape", ([26.0], [18.1]))
    signal = build.sample("s", [25.5], m("normformula", "f", "1 + 0.12 * g + 0.4 * g^2"), moved)
    ends = {"g": {"bounds": [[-6.0, 6.0]], "inits": [1.0]}}
    model = read(build.workspace({"c": [signal, build.sample("b", [63.7])]}, {"c": [36.0]}, "g", ends))
    g, shape = np.meshgrid(np.linspace(0.0, 6.0, 241), np.linspace(-5.0, 5.0, 2001), indexing="ij")
    points = np.column_stack([x.ravel() for x in ((shape, g) if model.names[0] == "shape" else (g, shape))])
    height = 2 * prepare(model).values(points).reshape(g.shape)
    q0 = np.nanmin(height[0]) - np.nanmin(height)
    assert g.ravel()[np.nanargmin(height)] == 6.0
    assert discovery(model).q0 == pytest.approx(q0, abs=1e-3)
    engine = engine_of(model)
    assert engine.observed() == pytest.approx(discovery(model).q0, abs=1e-6)
    as_toy = engine.fit_data(np.concatenate(model.split())[None, :])
    assert as_toy.statistic[0, 0] == pytest.approx(discovery(model).q0, abs=1e-6)


def test_a_limit_of_yields_that_a_formula_bounds_names_the_questions_that_fit() -> None:
    """52 +- 7 events over 50 + 10 sin(c): no value is excluded, however large."""
    samples = [build.sample("s", [10.0], build.modifier("normformula", "f", "sin(c)")), build.sample("b", [50.0])]
    model = read(build.workspace({"a": samples}, {"a": [52.0]}, "c", {"c": {"bounds": [[-1.5, 1.5]], "inits": [0.5]}}))
    with pytest.raises(BumpfitError, match=r"grow without end; .* take bumpfit interval or bumpfit scan"):
        inference.limit(model)
    height = -2 * poisson.logpmf(52, 50 + 10 * np.sin(-0.5)) + 2 * poisson.logpmf(52, 52)
    assert scan(model, points=[-0.5]).delta_twice_nll[0] == pytest.approx(height, abs=1e-6)


def test_no_other_part_of_a_region_is_looked_for_along_linear_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """-ln L of Poisson counts is convex where rates are linear, so 97 more points of it can show nothing."""
    plain, curved = hidden_by_a_yield(), interference(1.0)
    problem = prepare(plain)
    line = np.tile(problem.start, (200, 1))
    line[:, plain.index("mu")] = np.linspace(0.1, 9.0, 200)
    assert (np.diff([problem.value(x) for x in line], 2) > -1e-9).all()
    looked: list[int] = []
    kept = Problem.value

    def value(self: Problem, x: Any) -> float:
        looked.append(1)
        return kept(self, x)

    for model, name, some in ((plain, "mu", False), (plain, "a1", True), (curved, "g", True)):
        profile = Profile(prepare(model), name)
        with monkeypatch.context() as patched:
            patched.setattr(Problem, "value", value)
            looked.clear()
            parts(profile, 1.0, None, profile.estimate + 0.1)
        assert (len(looked) > 0) is some


@pytest.mark.parametrize("low", [-10.0, 0.0, 1.0])
@pytest.mark.parametrize("n", [51.0, 54.0, 62.0])
def test_q0_of_a_range_without_zero_is_the_same_in_data_and_toys(low: float, n: float) -> None:
    """A strength from 1 on: q0 compares 0 with the best strength from 0 on, also where that is below 1."""
    samples = [build.sample("s", [10.0], build.modifier("normfactor", "mu")), build.sample("b", [50.0])]
    settings = {"mu": {"bounds": [[low, 10.0]], "inits": [2.0]}}
    model = read(build.workspace({"a": samples}, {"a": [n]}, "mu", settings))
    height = -2 * (poisson.logpmf(n, 50.0) - poisson.logpmf(n, max(n, 50.0)))
    assert discovery(model).q0 == pytest.approx(height, abs=1e-6)
    engine = HistFactoryEngine(model, "mu", model.array({"mu": 0.0}), "q0", 0.0, 0.0)
    assert engine.observed() == pytest.approx(height, abs=1e-6)
    assert toys.engine(model, statistic="q0", mu=0.0).observed() == pytest.approx(height, abs=1e-6)
