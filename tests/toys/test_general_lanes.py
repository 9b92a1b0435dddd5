"""Toys of general models in SIMD lanes: the minima of the careful minimiser, whatever the neighbours."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from bumpfit import workspace
from bumpfit.inference import prepare
from bumpfit.toys import Toys, careful
from bumpfit.toys.histfactory import COMPILE_AFTER, HistFactoryEngine, fit_carefully
from bumpfit.workspace import Model, build
from bumpfit.workspace.kernels import objective


def general(one_sided: bool) -> Model:
    """Two channels with systematics of every kind; one-sided shapes make several minima."""
    rng = np.random.default_rng(4)
    channels: list[dict[str, Any]] = []
    for name, scale in (("a", 60.0), ("b", 15.0)):
        background = scale * np.array([1.0, 0.6, 0.3])
        modifiers: list[dict[str, Any]] = [
            {"name": "lumi", "type": "lumi", "data": None},
            {"name": f"stat_{name}", "type": "staterror", "data": list(0.1 * background)},
            {"name": "norm", "type": "normsys", "data": {"hi": 1.2, "lo": 0.85}},
        ]
        for k in range(3):
            up, down = rng.uniform(0.05, 0.3, 3), rng.uniform(0.05, 0.3, 3)
            shape = {
                "hi_data": list(background * (1 + up)),
                "lo_data": list(background * (1 + down if one_sided else 1 - down)),
            }
            modifiers.append({"name": f"shape{k}", "type": "histosys", "data": shape})
        free = {"name": "free", "type": "normfactor", "data": None}
        shapesys = {"name": f"more_{name}", "type": "shapesys", "data": [1.0, 1.5, 1.0]}
        signal = [{"name": "mu", "type": "normfactor", "data": None}, modifiers[2]]
        channels.append(
            {
                "name": name,
                "samples": [
                    {"name": "signal", "data": [1.0, 4.0, 6.0], "modifiers": signal},
                    {"name": "main", "data": list(background), "modifiers": modifiers},
                    {
                        "name": "side",
                        "data": [40.0, 8.0, 27.0],
                        "modifiers": [shapesys, *([free] if name == "a" else [])],
                    },
                ],
            }
        )
    settings = [
        {"name": "mu", "bounds": [[0.0, 20.0]], "inits": [1.0]},
        {"name": "lumi", "auxdata": [1.0], "sigmas": [0.03], "inits": [1.0], "bounds": [[0.7, 1.3]]},
    ]
    return workspace.read(
        {
            "channels": channels,
            "observations": [{"name": "a", "data": [105.0, 50.0, 50.0]}, {"name": "b", "data": [55.0, 18.0, 35.0]}],
            "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": settings}}],
            "version": "1.0.0",
        }
    )


def engine(model: Model, mu: float) -> HistFactoryEngine:
    return HistFactoryEngine(model, "mu", model.array({"mu": mu}), name="tmu", thrown=mu, tested=mu)


@pytest.mark.parametrize("mu", [0.0, 1.0])
def test_lanes_find_the_minima_of_the_careful_minimiser(mu: float) -> None:
    one = engine(general(one_sided=False), mu)
    none = np.zeros(0, dtype=np.int64)
    one.__dict__["elsewhere"] = one.elsewhere._replace(along=none, loose=none)  # no toy is handed on to the other
    bins = one.model.compiled.n_bins
    data = one.data(np.arange(60), 3)
    mains, auxs = np.ascontiguousarray(data[:, :bins]), np.ascontiguousarray(data[:, bins:])
    lanes = one._lanes(mains, auxs)
    assert (lanes[:, 3] == 0).mean() > 0.95
    careful, problem = np.full((60, 4), np.inf), one.problem
    fit_carefully(
        one.model.compiled, one.plan, one.poi, one.values, problem.free, problem.low, problem.high, mains, auxs,
        np.arange(60), one.elsewhere, careful,
    )  # fmt: skip
    both = (lanes[:, 3] == 0) & (careful[:, 3] == 0)
    assert both.mean() > 0.95
    above = lanes[both, :2] - careful[both, :2]
    assert (above < 2e-9).all()
    same = (np.abs(above) < 2e-9).all(axis=1)
    assert same.mean() > 0.95  # the lanes have more starts, which may lead to lower minima
    np.testing.assert_allclose(lanes[both, 2][same], careful[both, 2][same], rtol=0, atol=1e-3)


def test_a_toy_does_not_depend_on_its_neighbours() -> None:
    one = engine(general(one_sided=True), 1.0)
    assert len(one.shared.kinds) > 2
    whole = one.run(0, 50, 9)
    parts = [one.run(first, n, 9) for first, n in ((0, 1), (1, 16), (17, 33))]
    for field in ("statistic", "strength", "status", "free", "fixed"):
        pieces = np.concatenate([getattr(part, field) for part in parts])
        np.testing.assert_array_equal(getattr(whole, field), pieces)


@pytest.mark.slow
def test_more_starts_never_end_higher() -> None:
    """Of several minima the lowest counts: further starts can only lower a minimum."""
    one = engine(general(one_sided=True), 1.0)
    few = dataclasses.replace(one)
    few.__dict__["shared"] = one.shared._replace(kinds=one.shared.kinds[:1])
    data = one.data(np.arange(200), 2)
    many, single = one.fit_data(data), few.fit_data(data)
    good = (many.status == 0) & (single.status == 0)
    assert good.mean() > 0.98
    assert (many.fixed[good] <= single.fixed[good] + 1e-7).all()
    assert (many.free[good] <= single.free[good] + 1e-7).all()
    assert (many.fixed[good] < single.fixed[good] - 1e-3).any()  # otherwise this tests nothing


def test_the_careful_minimiser_is_compiled_where_that_is_worth_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the place of a toy in its run: the same toys in one piece and in two, late ones by the compiled form."""
    model = general(False)
    one = HistFactoryEngine(model, "mu", model.array({}))
    one.__dict__["effort"] = 0.5
    assert one.uncompiled == COMPILE_AFTER / 0.5
    calls: list[int] = []

    def form(*arguments: Any) -> None:
        calls.append(arguments[9].size)
        fit_carefully(*arguments)

    def lanes(engine: HistFactoryEngine, mains: Any, auxs: Any) -> Any:
        out = kept(engine, mains, auxs)
        out[mains[:, 0] % 5 == 0, 3] = 1.0
        return out

    kept = HistFactoryEngine._lanes
    monkeypatch.setattr(HistFactoryEngine, "_lanes", lanes)
    monkeypatch.setattr(HistFactoryEngine, "uncompiled", 60)
    monkeypatch.setattr(fit_carefully, "dispatcher", form)
    one = HistFactoryEngine(model, "mu", model.array({}))
    whole = one.run(0, 100, 3)
    first = calls.copy()
    calls.clear()
    again = [one.run(0, 70, 3), one.run(70, 30, 3)]
    assert np.allclose(np.concatenate([b.statistic for b in again]), whole.statistic, atol=1e-9, equal_nan=True)
    lost = one._lanes(*one._split(one.data(np.arange(100), 3)))[:, 3] > 0
    assert sum(calls) == sum(first) == lost[60:].sum() > 0


@pytest.mark.parametrize("couplings", [1, 2])
def test_the_effort_counts_the_lines_along_formulas(monkeypatch: pytest.MonkeyPatch, couplings: int) -> None:
    """Looking for the other sides of parabolas takes most of a toy's time, and is to be compiled soon for it."""
    text = "1 + 0.4 * g + 0.6 * g^2" + (" + 0.3 * h + 0.5 * h^2" if couplings == 2 else "")
    samples = [
        build.sample("s", [10.0, 4.0], build.modifier("normformula", "f", text)),
        build.sample("b", [50.0, 60.0]),
    ]
    ends = {name: {"bounds": [[-6.0, 6.0]], "inits": [0.5]} for name in "gh"[:couplings]}
    model = workspace.read(build.workspace({"a": samples}, {"a": [60.0, 70.0]}, "g", ends))
    one = HistFactoryEngine(model, "g", model.array({"g": 0.0}))
    calls: list[float] = []

    def counted(*arguments: Any) -> float:
        calls.append(objective(*arguments))
        return calls[-1]

    monkeypatch.setattr(careful, "objective", counted)
    one.fit_data(one.data(np.arange(4), 3))
    assert 0.5 * one.effort < len(calls) / 4 < 4 * one.effort


@pytest.mark.slow
def test_a_question_of_many_runs_is_compiled_like_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of few toys that do not pay for a compiler by themselves: together, or where it was compiled before."""
    places: list[float] = []

    def run(engine: HistFactoryEngine, first: int, n: int, seed: int) -> Any:
        places.append(engine.earlier)
        return kept(engine, first, n, seed)

    kept = HistFactoryEngine.run
    monkeypatch.setattr(HistFactoryEngine, "run", run)
    law = Toys(30)
    for on_disk, expected in ((False, [0, 30, 60]), (True, [np.inf] * 3)):
        monkeypatch.setattr(fit_carefully, "kept", on_disk)
        places.clear()
        sampled = law.of(prepare(general(False)), "mu", "q")
        thrown = [sampled.values(mu, mu) for mu in (1.0, 1.5, 2.0)]
        assert places == expected
        assert sampled.values(1.0, 1.0) is thrown[0]
        assert len(places) == 3
