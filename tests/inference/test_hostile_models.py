"""Models that are legal and made to be difficult: every question is a minimum over many starts, and none ends in an
error.

One or two channels of a few bins, effects whose two sides have one sign or other sizes, up to three free yields, bin
errors of 100 %, ranges that end at walls, bins without signal or background, data that are zero or far away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bumpfit.errors import BumpfitError
from bumpfit.inference import contour, discovery, fit, impacts, interval, limit, prepare, scan
from bumpfit.inference.histfactory import Problem
from bumpfit.inference.walls import along_walls
from bumpfit.normal import chi2_quantile
from bumpfit.workspace import Model, build, read
from study_size import FULL


def seeds(first: int, every: int) -> list[Any]:
    """Models that are tried: all up to 40 in studies, else some of them, the first in the quick tests, too."""
    return [first, *(pytest.param(s, marks=pytest.mark.slow) for s in range(first + 1, 40, 1 if FULL else every))]


def effect(rng: np.random.Generator, name: str, b: Any) -> dict[str, Any]:
    if rng.random() < 0.5:
        side = rng.choice([-1, 1])
        ends = 1 + side * rng.uniform(0.02, 0.5, (2, b.size))
        ends = ends if rng.random() < 0.6 else 1 + np.array([[-0.1], [1.0]]) * rng.uniform(0.1, 1.0, (2, b.size))
        return build.modifier("histosys", name, ((b * ends[0]).tolist(), (b * ends[1]).tolist()))
    side = rng.choice([-1, 1])
    ends = 1 + side * rng.uniform(0.01, 0.6, 2) if rng.random() < 0.5 else rng.uniform((0.5, 1.01), (0.99, 1.9))
    return build.modifier("normsys", name, (float(ends[0]), float(ends[1])))


def hostile(seed: int) -> Model:
    rng = np.random.default_rng([seed, 3])
    alphas, yields = [f"a{i}" for i in range(rng.integers(1, 4))], ["k2", "k3"][: rng.integers(0, 3)]
    scale, m, channels, data = 10.0 ** rng.uniform(0.5, 2.5), build.modifier, {}, {}
    for c in range(int(rng.integers(1, 3))):
        bins = int(rng.integers(1, 4))
        signal, total = scale * rng.uniform(0.05, 0.6, bins), np.zeros(bins)
        signal[rng.random(bins) < 0.15 * c] = 0.0
        few = [effect(rng, a, signal) for a in alphas if rng.random() < 0.2]
        samples = [build.sample("s", signal, m("normfactor", "mu"), *few)]
        for k in range(int(rng.integers(1, 3))):
            b = scale * rng.uniform(0.1, 2.0, bins)
            mods = [effect(rng, a, b) for a in alphas if rng.random() < 0.6]
            mods += [m("normfactor", yields[k])] if k < len(yields) else []
            errors = b if rng.random() < 0.2 else b * rng.uniform(0.05, 0.4, bins)
            mods += [m("staterror", f"st{c}", errors.tolist())] if rng.random() < 0.5 else []
            samples.append(build.sample(f"b{k}", b, *mods))
            total += b
        far = rng.uniform(0.3, 3.0, bins) if rng.random() < 0.4 else np.ones(bins)
        data[f"c{c}"] = rng.poisson(total * far) * (rng.random(bins) > 0.15)
        channels[f"c{c}"] = samples
    ends = {a: {"bounds": [[-rng.uniform(0.5, 2), rng.uniform(0.5, 2)]]} for a in alphas if rng.random() < 0.2}
    used = {x["name"] for samples in channels.values() for s in samples for x in s["modifiers"]}
    return read(build.workspace(channels, data, "mu", {a: x for a, x in ends.items() if a in used}))


def lowest(problem: Problem, starts: int = 16) -> float:
    """-ln L at the lowest end of random starts."""
    rng, best = np.random.default_rng(1), np.inf
    constrained = np.array([p.constraint != "none" for p in problem.model.parameters])
    nuisance = constrained & (problem.model.inits == 0.0)
    for k in range(starts):
        x = np.where(nuisance, (1 + k % 3) * rng.normal(size=problem.start.size), problem.start)
        x = np.where(constrained, x, rng.uniform(0.0, 3.0, x.size))
        x = np.where(problem.free, np.clip(x, problem.low, problem.high), problem.start)
        found = problem._newton(x, "random").value
        best = min(best, found if np.isfinite(found) else np.inf)
    return best


@pytest.mark.parametrize("seed", seeds(0, 3))
def test_all_questions_of_a_hostile_model_see_its_lowest_minima(seed: int) -> None:
    model = hostile(seed)
    problem = prepare(model)
    free = lowest(problem)
    assert fit(model).twice_nll < problem.constant + 2 * free + 1e-3
    found = scan(model, points=[0.0, 1.0, 3.0])
    for mu, rise in zip(found.points, found.delta_twice_nll, strict=True):
        held = lowest(problem.at("mu", mu))
        assert np.isinf(held) if rise is None else found.twice_nll_min + rise < problem.constant + 2 * held + 1e-3
    at_zero = problem.at("mu", 0.0).solve()
    ended = limit(model)
    positive = problem.within("mu", 0.0, np.inf)
    assert at_zero.valid and ended.observed > 0 and ended.scan_cls
    free = min(lowest(positive), at_zero.value)
    statistic = 2 * (positive.at("mu", ended.observed).solve().value - free)
    assert statistic <= 2 * (lowest(positive.at("mu", ended.observed)) - free) + 1e-3


BAD = [(79, None), (153, 3.0), *([(76, None), (76, 0.0), (76, 1.0), (91, 3.0)] if FULL else [])]


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "mu"), BAD)
def test_fits_that_describe_the_data_badly_start_far_away(seed: int, mu: float | None) -> None:
    """A scan in which several parameters have to move far together, along the wall of an empty bin."""
    model = hostile(seed)
    problem = prepare(model)
    held = problem if mu is None else problem.at("mu", mu)
    witness = problem.constant + 2 * lowest(held, 30)
    if mu is None:
        assert fit(model).twice_nll < witness + 1e-3
    else:
        found = scan(model, points=[0.0, mu] if mu else [0.0])
        rise = found.delta_twice_nll[-1]
        assert rise is not None
        assert found.twice_nll_min + rise < witness + 1e-3


def test_walls_are_followed_where_newton_steps_get_stuck() -> None:
    """A lower end without events that no step improves leads to a minimum, lower still."""
    problem = prepare(hostile(91)).at("mu", 3.0)
    x = np.array([-0.549, 4.348, 0.0, 10.0, 3.0, -1.611, 0.217, 0.0])
    stuck = problem.value(x)
    assert problem.names == ("a2", "a1", "k2", "k3", "mu", "a0", "st0[0]", "st0[1]")
    end = along_walls(problem, x)
    rate = problem.model.expected(end)
    assert rate[0] >= 0.0
    assert rate[0] < 0.1
    assert problem.value(end) < stuck - 10.0
    assert problem.value(end) == pytest.approx(10.1793, abs=0.05)  # of 300 random starts one ends there


@pytest.mark.parametrize("seed", [9, 17])
def test_contours_stand_on_the_lowest_minima(seed: int) -> None:
    problem = prepare(hostile(seed))
    other = next(name for name in problem.names if name.startswith("a"))
    found = contour(problem, "mu", other, n_points=8)
    free = problem.solve().value
    for x, y in zip(found.x, found.y, strict=True):
        rise = 2 * (lowest(problem.at("mu", x).at(other, y), 8) - free)
        at, places = np.array([x, y]), [problem.names.index(name) for name in ("mu", other)]
        inside = np.all((at > problem.low[places] + 1e-9) & (at < problem.high[places] - 1e-9))
        assert rise > chi2_quantile(0.6827, 2) - 1e-3 if inside else rise < chi2_quantile(0.6827, 2) + 1e-3


def ends(model: Model) -> list[tuple[float, bool]]:
    """The ends of the interval of mu, and whether each is open; those of the range where the data say nothing."""
    try:
        found = interval(model, "mu")
    except BumpfitError as error:
        assert "do not constrain 'mu'" in str(error)
        return [(0.0, True), (10.0, True)]
    return [(found.low, found.low_at_bound), (found.high, found.high_at_bound)]


@pytest.mark.parametrize("seed", seeds(1, 6))
def test_intervals_discoveries_and_impacts_stand_on_the_lowest_minima(seed: int) -> None:
    model = hostile(seed)
    problem = prepare(model)
    free, null, constant = lowest(problem, 8), lowest(problem.at("mu", 0.0), 8), problem.constant
    found = discovery(model)
    assert found.free_fit.twice_nll < constant + 2 * free + 1e-3
    assert found.null_fit.twice_nll < constant + 2 * null + 1e-3
    assert found.q0 == pytest.approx(found.null_fit.twice_nll - found.free_fit.twice_nll, abs=1e-5)
    free = min(free, (found.free_fit.twice_nll - constant) / 2)
    for end, open_ in ends(model):
        rise = 2 * (lowest(problem.at("mu", end), 8) - free)
        assert (rise < 1 + 2e-3) if open_ else rise > 1 - 2e-3  # a lower fit there would move the end outwards
    table = impacts(model)
    for row in table.impacts:
        for sign, shift in ((1, row.up), (-1, row.down)):
            if shift is None or row.error is None:
                continue
            held = problem.at(row.parameter, row.value + sign * row.error)
            there = lowest(held.at("mu", table.best + shift), 8)  # where the impact says the signal is
            assert there < lowest(held, 8) + 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("mu", [1.0, 3.0])
def test_systematics_are_looked_at_where_all_factors_are_gone(mu: float) -> None:
    """Without an event a signal is best hidden by a background that two systematics together make negative."""
    free = prepare(hostile(112))
    problem = free.at("mu", mu).begin(free.solve().x)  # as in a scan
    grid = [np.array([5.0, 0.0, mu, a, g]) for a in np.linspace(-5, 0, 101) for g in np.linspace(0.1, 3, 30)]
    assert problem.names == ("a0", "k2", "mu", "a1", "st0[0]")
    assert problem.solve().value < min(problem.value(x) for x in grid)
