"""Minima of another kind than those of one-sided systematics: two-sided ones of different sizes, two free yields.

Found by fitting random models from many starts. In the first a fit that begins at its neighbour's answer stays where a
normalisation is pulled to its flat side. In the second the free fit goes to strength zero, where the other free yield
has taken the events of the signal, and no held fit that a limit needs lies below it.
"""

from __future__ import annotations

import numpy as np
import pytest

from bumpfit import inference
from bumpfit.inference.histfactory import Problem
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


def lowest(problem: Problem, seed: int) -> float:
    """-ln L at the lowest minimum of many starts."""
    rng, found = np.random.default_rng(seed), []
    constrained = np.array([p.constraint != "none" for p in problem.model.parameters])
    for _ in range(40):
        x = problem.start + np.where(constrained, 0.3, 1.5) * rng.normal(size=problem.start.size)
        alpha = constrained & (problem.start == 0.0)
        x[alpha] *= 4.0
        minimum = problem._newton(np.where(problem.free, x, problem.start), "random")
        found += [minimum.value] if minimum.valid else []
    return min(found)


def test_a_fit_does_not_stay_at_the_flat_side_of_a_normalisation() -> None:
    model = flat_side()
    problem = inference.prepare(model)
    exact = 2 * (lowest(problem.at("mu", 4.0), 1) - lowest(problem, 2))
    assert inference.scan(model, points=[1.7, 4.0]).delta_twice_nll[1] == pytest.approx(exact, abs=1e-5)


def test_a_limit_sees_the_minimum_that_another_free_yield_hides() -> None:
    model = two_yields()
    positive = inference.prepare(model, ranges={"mu": (0.0, np.inf)})
    free = lowest(positive, 3)
    assert positive.solve().value == pytest.approx(free, abs=1e-6)
    found = inference.limit(model)
    test = inference.cls(model, found.observed)
    assert test.statistic == pytest.approx(2 * (lowest(positive.at("mu", found.observed), 4) - free), abs=1e-4)
    assert test.observed == pytest.approx(0.05, abs=1e-6)
