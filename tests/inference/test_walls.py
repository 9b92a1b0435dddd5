"""Minima at which a bin without events expects none, because a systematic could drive its yield below zero."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from bumpfit import inference, toys, workspace
from bumpfit.inference import newton
from bumpfit.inference.histfactory import Problem, prepare
from bumpfit.inference.starts import lifted
from bumpfit.toys.histfactory import HistFactoryEngine
from bumpfit.workspace import Model
from study_size import FULL

MANY = 2000 if FULL else 500
"""Toys that are thrown."""


def falling(bins: int, seed: int) -> Model:
    """Two systematics of which each takes a third to all of the background, with statistical errors of 30 %."""
    r = np.random.default_rng(seed)
    b, s = r.uniform(0.5, 6, bins), r.uniform(0.2, 3, bins)
    shapes: list[dict[str, Any]] = [
        {"name": f"h{k}", "type": "histosys", "data": {
            "hi_data": list(b * (1 + r.uniform(0.3, 1.2, bins))), "lo_data": list(b * (1 - r.uniform(0.3, 1.2, bins)))}}
        for k in range(2)
    ]  # fmt: skip
    shapes.append({"name": "stat", "type": "staterror", "data": list(0.3 * b)})
    signal = {"name": "s", "data": list(s), "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]}
    strength = {"name": "mu", "bounds": [[0, 20]], "inits": [1.0]}
    return workspace.read(
        {
            "channels": [{"name": "c", "samples": [signal, {"name": "b", "data": list(b), "modifiers": shapes}]}],
            "observations": [{"name": "c", "data": [float(n) for n in r.poisson(b)]}],
            "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [strength]}}],
            "version": "1.0.0",
        }
    )


def run(kernel: Any, problem: Problem, tolerance: float = 1e-9) -> Any:
    p = problem
    return kernel(p.start, p.free, p.low, p.high, p.main, p.aux, p.model.compiled, tolerance, 200)


def constrained(problem: Problem, start: Any) -> float:
    """-ln L at the minimum that SLSQP finds with every expectation kept from being negative."""
    model, free = problem.model, problem.free

    def full(y: Any) -> Any:
        x = problem.start.copy()
        x[free] = y
        return x

    def value(y: Any) -> float:
        rates = np.maximum(model.expected(full(y)), 1e-12)
        n = problem.main
        logs = n * np.log(np.where(n > 0, rates, 1.0) / np.where(n > 0, n, 1.0))
        pulls = (full(y)[model.compiled.normal_parameter] - problem.aux[model.compiled.normal_aux]) / (
            model.compiled.normal_sigma
        )
        return float(np.sum(rates - n - logs) + 0.5 * np.sum(pulls**2))

    found = minimize(
        value, start[free], method="SLSQP", bounds=list(zip(problem.low[free], problem.high[free], strict=True)),
        constraints={"type": "ineq", "fun": lambda y: model.expected(full(y))}, options={"ftol": 1e-12, "maxiter": 300},
    )  # fmt: skip
    return value(found.x) if (model.expected(full(found.x)) > -1e-9).all() else np.inf


@pytest.mark.parametrize("bins", [1, 2, 5])
def test_minimum_at_a_wall_is_the_constrained_minimum(bins: int) -> None:
    model = falling(bins, 0)
    data = toys.engine(model).data(np.arange(1500), 1)
    empty = data[(data[:, :bins] == 0).any(axis=1)]
    problems = [prepare(model, row).at("mu", 0.0) for row in empty]
    stopped = (p for p in problems if run(newton.descend, p)[5] != newton.CONVERGED)
    walled = list(itertools.islice(stopped, 12))
    assert walled  # otherwise this tests nothing
    lower = 0
    for problem in walled:
        x, value, *_, status = run(newton.minimise, problem)
        assert status == newton.CONVERGED
        rates = model.expected(x)
        assert (rates >= 0).all()
        assert rates[problem.main == 0].min() < 1e-6
        # ours is where SLSQP stays when it starts there; such likelihoods can have other minima
        assert constrained(problem, x) == pytest.approx(value, abs=2e-6)
        lower += constrained(problem, problem.start) < value - 2e-6
    assert lower <= 2


def test_null_fit_does_not_need_the_signal_of_the_free_fit() -> None:
    """A signal on top of a negative background may fit best; without it the likelihood is zero there."""
    model = falling(1, 2)
    data = toys.engine(model, mu=3.0, values={}).data(np.arange(40), 5)
    refused = 0
    for row in data:
        found = inference.discovery(model, row)
        best = np.array(list(found.free_fit.values.values()))
        best[model.index("mu")] = 0.0
        refused += not np.isfinite(model.twice_nll(best, row))
        assert found.null_fit.valid
        assert found.q0 >= 0
    assert refused  # otherwise this tests nothing


@pytest.mark.parametrize(
    ("bins", "compiled"), [*(pytest.param(bins, True, marks=pytest.mark.slow) for bins in (1, 2, 5, 12)), (2, False)]
)
@pytest.mark.parametrize(("statistic", "mu"), [("q0", 0.0), ("qtilde", 1.0)])
def test_no_toy_is_lost_at_a_wall(
    bins: int, compiled: bool, statistic: str, mu: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the careful minimiser as it is compiled for long runs, and as it stands."""
    monkeypatch.setattr(HistFactoryEngine, "uncompiled", 0.0 if compiled else math.inf)
    model, n = falling(bins, 2), MANY if compiled else 100
    assert (toys.throw(model, n, statistic=statistic, mu=mu, seed=3).status == 0).all()
    bare = toys.engine(model, statistic=statistic, mu=mu)
    assert (bare.data(np.arange(n), 3)[:, :bins] == 0).any()  # otherwise this tests nothing


def test_a_descent_along_a_wall_ends_soon() -> None:
    """A descent that took hundreds of small steps along the wall before the barrier was tried cost a second a toy."""
    model = falling(1, 2)
    data = toys.engine(model).data(np.arange(100), 3)
    problems = [prepare(model, row).at("mu", 0.0) for row in data[data[:, 0] == 0]]
    ended = [run(newton.descend, problem) for problem in problems]
    walled = [found for found in ended if found[5] != newton.CONVERGED]
    assert walled
    assert max(found[4] for found in walled) < 120  # evaluations


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bins", "seed", "statistic", "mu", "toy"), [(5, 11, "tmu", 2.0, 575), (8, 11, "qtilde", 1.0, 77)]
)
def test_a_slow_stage_is_not_the_end_of_the_way_to_a_wall(
    bins: int, seed: int, statistic: str, mu: float, toy: int
) -> None:
    """Three of 135 000 toys were lost because one stage of the barrier ran out of iterations; these are two of them."""
    model = falling(bins, seed)
    engine = toys.engine(model, statistic=statistic, mu=mu)
    problem = prepare(model, engine.data(np.array([toy]), seed)[0])
    for one in (problem, problem.at("mu", mu)):
        _, value, *_, status = run(newton.minimise, one)
        assert status == newton.CONVERGED
        assert value < min(constrained(one, one.start), np.inf) + 1e-6
    assert engine.run(toy, 1, seed).status[0] == 0


def test_a_fit_whose_starts_are_impossible_moves_to_the_nearest_possible_one() -> None:
    """Without signal a bin expects fewer than no events unless the shape lifts it by a sixth of its width."""
    mod, smp = workspace.build.modifier, workspace.build.sample
    shape = mod("histosys", "h", ([9.0, -0.07], [11.0, 0.05]))
    samples = [smp("s", [2.0, 0.5], mod("normfactor", "mu")), smp("b", [10.0, -0.01], shape)]
    spec = workspace.build.workspace({"c": samples}, {"c": [12.0, 0.0]}, "mu")
    model = workspace.read(spec, allow_negative=True)
    places = 1 / 6 + np.geomspace(1e-6, 2, 2_001)
    grid = min(model.twice_nll({"mu": 0.0, "h": h}) for h in places)
    null = inference.fit(model, fixed={"mu": 0.0})
    assert null.valid and null.values["h"] > 1 / 6 - 1e-6
    assert null.twice_nll == pytest.approx(grid, abs=1e-4)
    rise = null.twice_nll - inference.fit(model).twice_nll
    assert inference.scan(model, points=[0.0]).delta_twice_nll[0] == pytest.approx(rise, abs=1e-6)
    assert inference.discovery(model).q0 == pytest.approx(rise, abs=1e-6)


def test_the_nearest_possible_start_of_many_bins_is_that_of_few() -> None:
    """A strength far below zero, in 4 bins and the same bins 200 times: the rates of all have to be turned round."""
    mod, smp = workspace.build.modifier, workspace.build.sample
    found = []
    for copies in (1, 200):
        b, s = np.tile([50.0, 40.0, 60.0, 45.0], copies), np.tile([5.0, 6.0, 4.0, 7.0], copies)
        shape = mod("histosys", "h", ((1.1 * b).tolist(), (0.9 * b).tolist()))
        samples = [smp("s", s, mod("normfactor", "mu")), smp("b", b, mod("normfactor", "k"), shape)]
        problem = prepare(workspace.read(workspace.build.workspace({"c": samples}, {"c": b}, "mu")))
        x = problem.start.copy()
        x[problem.model.index("mu")] = -30.0
        low = np.where(problem.low > -40.0, -40.0, problem.low)
        found.append(lifted(problem.model, x, problem.main, problem.aux, problem.free, low, problem.high))
    few, many = found
    assert few is not None and many is not None
    np.testing.assert_allclose(many, few, atol=1e-9)


@pytest.mark.parametrize("bins", [1, 2])
def test_bins_with_next_to_no_events_have_walls_too(bins: int) -> None:
    """Asimov data of a fit at a wall hold what that expects there: 1e-9 events. A limit ended in an error."""
    model = falling(bins, 0)
    data = toys.engine(model).data(np.arange(800), 1)
    problems = [prepare(model, row).at("mu", 0.0) for row in data[(data[:, :bins] == 0).any(axis=1)]]
    walled = [p for p in problems if run(newton.descend, p)[5] != newton.CONVERGED][:4]
    assert walled
    for problem in walled:
        few = problem.facing(np.where(problem.main > 0, problem.main, 1.5e-9), problem.aux)
        _, value, *_, status = run(newton.minimise, few)
        assert status == newton.CONVERGED
        assert value == pytest.approx(run(newton.minimise, problem)[1], abs=2e-6)
