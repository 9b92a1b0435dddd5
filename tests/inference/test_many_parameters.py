"""Questions of workspaces with about a hundred parameters: steps of searches, blocks of matrices, threads."""

import gc
import itertools
import weakref
from typing import Any

import numpy as np
import pytest
import threadpoolctl
from scipy.stats import norm

from bumpfit import inference, threads, workspace
from bumpfit.inference import factors, histfactory, roots, screen, valley_search, valleys
from bumpfit.inference.limit import exclusion
from bumpfit.inference.lines import Lines
from bumpfit.inference.screen import Screen

CHANNELS, BINS, SYSTEMATICS = 10, 10, 31


def measured(signal: float, scale: float) -> workspace.Model:
    """132 parameters: a strength, systematics of the scale of all samples and channels, and staterror."""
    rng = np.random.default_rng(3)
    channels, observations = [], []
    for c in range(CHANNELS):
        backgrounds = [rng.uniform(0.5, 2.0, BINS) * scale, rng.uniform(0.2, 1.0, BINS) * scale]
        peak = signal * sum(backgrounds) * np.exp(-0.5 * ((np.arange(BINS) - BINS / 2) / 2) ** 2)
        samples: list[dict[str, Any]] = [
            {"name": name, "data": rates.tolist(), "modifiers": _scales(rng, place)}
            for place, (name, rates) in enumerate(zip("sbc", (peak, *backgrounds), strict=True))
        ]
        samples[0]["modifiers"].append({"name": "mu", "type": "normfactor", "data": None})
        for sample, error in zip(samples[1:], (0.02, 0.03), strict=True):
            content = [error * rate for rate in sample["data"]]
            sample["modifiers"].append({"name": f"mc_{c}", "type": "staterror", "data": content})
        channels.append({"name": f"c{c}", "samples": samples})
        observations.append({"name": f"c{c}", "data": rng.poisson(peak + sum(backgrounds)).tolist()})
    measurement = {"name": "m", "config": {"poi": "mu", "parameters": []}}
    return workspace.read(
        {"channels": channels, "observations": observations, "measurements": [measurement], "version": "1.0.0"}
    )


def _scales(rng: np.random.Generator, place: int) -> list[dict[str, Any]]:
    up, down = rng.uniform(1.01, 1.03, SYSTEMATICS), rng.uniform(0.97, 0.99, SYSTEMATICS)
    return [
        {"name": f"a{i}", "type": "normsys", "data": {"hi": up[i], "lo": down[i]}} for i in range(place, SYSTEMATICS, 3)
    ]


def test_the_limit_of_a_well_known_strength_asks_for_no_fit_far_from_the_data() -> None:
    """Twice the best strength is 20 of its uncertainties away, and takes many times the steps of fits nearby."""
    model = measured(1.0, 4000.0)
    best = inference.fit(model)
    tests = exclusion(model)
    median = tests.limit(0.05, 2 * tests.scale, 0)
    observed = tests.observed(0.05, median)
    error = best.errors["mu"]
    assert best.values["mu"] > 15 * error
    assert max(tests.tested) < best.values["mu"] + 3 * error
    # so far from no signal p(b) is 1, and CLs the tail of a normal law at sqrt(q)
    q = inference.fit(model, fixed={"mu": observed}).twice_nll - best.twice_nll
    assert q == pytest.approx(norm.isf(0.05) ** 2, abs=1e-4)


@pytest.mark.parametrize("step", [1e-3, 0.3, 2.0, 500.0])
@pytest.mark.parametrize("guess", [1e-4, 0.9, 1.0, 70.0])
def test_a_root_is_the_same_from_every_guess_with_every_step(guess: float, step: float) -> None:
    asked: list[float] = []

    def curve(x: float) -> float:
        asked.append(x)
        return float(-np.log(x / 1.7))

    assert roots.falling(curve, guess, step, 1e-8) == pytest.approx(1.7, rel=1e-7)
    assert max(asked) <= max(guess, 2 * 1.7 + step)


@pytest.mark.parametrize("side", [-1.0, 1.0])
@pytest.mark.parametrize("step", [1e-6, 0.3, 2.0, 1e9])
def test_an_end_is_the_same_with_every_step(step: float, side: float) -> None:
    end = roots.outward(lambda x: 1.7 - abs(x - 3), 3.0, side * step, side * np.inf, 1e-6)
    assert end == pytest.approx(3 + side * 1.7, abs=1e-5)


@pytest.mark.parametrize("centre", [-3.0, 0.0])
def test_a_search_ends_where_the_centre_is_the_last_possible_value(centre: float) -> None:
    calls = []

    def curve(x: float) -> float:
        calls.append(x)
        return 1.0 if x >= centre else -np.inf

    assert roots.outward(curve, centre, -2.0, -10.0, 1e-3) == pytest.approx(centre, abs=1e-11)
    assert len(calls) < 1000


@pytest.mark.parametrize("n", [2, 63, 64, 65, 130, 300])
def test_matrices_that_lapack_refuses_are_factorised_as_by_single_columns(n: int) -> None:
    rng = np.random.default_rng(n)
    matrix = rng.normal(size=(n, n))
    matrix = matrix + matrix.T + np.diag(rng.uniform(-1, 6, n) * np.sqrt(n))
    repair = np.abs(np.diag(matrix)) + 3 * np.sqrt(n)
    found, wanted = np.zeros((n, n)), np.zeros((n, n))
    assert (
        factors.cholesky(matrix, found, 1e-14, repair) == factors.cholesky.py_func(matrix, wanted, 1e-14, repair) <= n
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())


@pytest.mark.parametrize("n", [1, 63, 64, 65, 130, 300])
def test_systems_are_solved_by_blocks(n: int) -> None:
    rng = np.random.default_rng(n)
    root = rng.normal(size=(n, n))
    matrix, lower, right = root @ root.T + n * np.eye(n), np.zeros((n, n)), rng.normal(size=n)
    assert factors.cholesky(matrix, lower, 1e-14, np.empty(0)) == n
    answer = right.copy()
    square = factors.solve_triangular(lower, answer)
    np.testing.assert_allclose(answer, np.linalg.solve(matrix, right), rtol=1e-9, atol=1e-12)
    assert square == pytest.approx(right @ answer)


def test_linear_algebra_of_middling_size_takes_one_thread() -> None:
    def counted() -> set[int]:
        return {entry["num_threads"] for entry in threadpoolctl.threadpool_info() if entry["user_api"] == "blas"}

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = counted()
        for work, wanted in ((0.5 * threads.LEAST, before), (2 * threads.LEAST, {1}), (2 * threads.MOST, before)):
            with threads.matched(work):
                assert counted() == wanted
        assert counted() == before


def bending(seed: int, shapes: int) -> workspace.Model:
    """Shapes whose two ends move yields differently, most of them to one side, and data that are not at the centre."""
    r = np.random.default_rng(seed)
    b, s = r.uniform(20, 120, 4), r.uniform(2, 15, 4)
    modifiers = [
        workspace.build.modifier(
            "histosys",
            f"h{k}",
            ((b * (1 + r.uniform(0.02, 0.25, 4))).tolist(), (b * r.uniform(0.95, 1.25, 4)).tolist()),
        )
        for k in range(shapes)
    ]
    mu = workspace.build.modifier("normfactor", "mu")
    samples = [workspace.build.sample("s", s, mu), workspace.build.sample("b", b, *modifiers)]
    return workspace.read(workspace.build.workspace({"c": samples}, {"c": r.poisson(b * 1.1 + s)}, "mu"))


@pytest.mark.parametrize("seed", [0, 3])
def test_held_fits_of_many_bending_parameters_are_those_of_a_search_on_all_sides(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = bending(seed, 7)
    problem = histfactory.prepare(model)
    assert len(problem.bent) > valley_search.EVERY_SIDE
    best = problem.solve()
    held = [problem.at("mu", mu).begin(best.x).solve().value for mu in (0.0, 1.0, 3.0)]
    monkeypatch.setattr(valley_search, "EVERY_SIDE", 7)
    monkeypatch.setattr("bumpfit.inference.valleys.EVERY_SIDE", 7)
    whole = histfactory.prepare(model)
    assert best.value == pytest.approx(whole.solve().value, abs=1e-6)
    assert held == pytest.approx([whole.at("mu", mu).solve().value for mu in (0.0, 1.0, 3.0)], abs=1e-6)


def test_a_minimum_two_parameters_away_is_found() -> None:
    """Along each parameter the first minimum is the lowest; another one, a little higher, lies between."""
    held = histfactory.prepare(bending(9, 6)).at("mu", 0.0)
    ends = []
    for sides in itertools.product((-1.0, 1.0), repeat=6):
        x = held.start.copy()
        x[list(held.bent)] = sides
        ends += [m.value for m in [held._newton(x, "a side")] if m.valid]
    assert held.begin(histfactory.prepare(held.model).solve().x).solve().value == pytest.approx(min(ends), abs=1e-6)


def test_profiles_along_a_parameter_are_those_of_fits_where_the_others_are_linear() -> None:
    """Two of three shapes move yields in proportion, and the third is one-sided."""
    mod, b = workspace.build.modifier, np.array([60.0, 80.0, 30.0])
    shapes = [
        mod("histosys", name, ((b * (1 + np.array(up))).tolist(), (b * (1 + np.array(down))).tolist()))
        for name, up, down in (
            ("first", (0.1, -0.05, 0.2), (-0.1, 0.05, -0.2)),
            ("second", (0.05, 0.15, 0.0), (-0.05, -0.15, 0.0)),
            ("bent", (0.3, 0.1, 0.2), (0.2, 0.3, 0.1)),
        )
    ]
    samples = [
        workspace.build.sample("s", [2.0, 3.0, 9.0], mod("normfactor", "mu")),
        workspace.build.sample("b", b, *shapes),
    ]
    data = {"c": [80.0, 95.0, 50.0]}
    model = workspace.read(workspace.build.workspace({"c": samples}, data, "mu"), interpolation={"histosys": "code0"})
    problem = histfactory.prepare(model)
    best = problem.solve()
    i, places = model.index("bent"), np.array([-1.5, -0.4, best.x[model.index("bent")], 1.4])
    screen = Screen(
        Lines(model, problem.main, problem.aux, best.x), problem.aux, problem.free, problem.low, problem.high
    )
    heights, points = screen.profile(i, places)
    fits = [problem.at("bent", place).begin(best.x).solve() for place in places]
    np.testing.assert_allclose(heights - heights[2], [m.value - best.value for m in fits], atol=1e-5)
    np.testing.assert_allclose(points, [m.x for m in fits], atol=2e-3)


def test_profiles_know_bins_that_expect_nothing() -> None:
    """Without signal a bin has no events and expects none; its slope over its rate has no size."""
    b, mod = np.array([50.0, 0.0, 40.0]), workspace.build.modifier
    shapes = [mod("histosys", f"h{k}", ((b * (1.1 + 0.01 * k)).tolist(), (b * 1.05).tolist())) for k in range(6)]
    samples = [
        workspace.build.sample("s", [1.0, 9.0, 2.0], mod("normfactor", "mu")),
        workspace.build.sample("b", b, *shapes),
    ]
    problem = histfactory.prepare(workspace.read(workspace.build.workspace({"c": samples}, {"c": [49, 0, 42]}, "mu")))
    best = problem.solve()
    assert best.valid and best.x[problem.model.index("mu")] == 0.0
    lines = Lines(problem.model, problem.main, problem.aux, best.x)
    screen = Screen(lines, problem.aux, problem.free, problem.low, problem.high)
    assert np.isfinite(screen.strength).all()


def test_many_bending_parameters_are_fitted_only_where_a_profile_dips(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = histfactory.prepare(bending(1, 30))
    starts = []
    descend = histfactory.Problem._newton
    monkeypatch.setattr(histfactory.Problem, "_newton", lambda p, x, label: starts.append(x) or descend(p, x, label))
    assert problem.solve().valid
    assert len(problem.bent) == 30
    assert 3 <= len(starts) < 15


def lopsided(size: int, shapes: int) -> workspace.Model:
    """Waves in a falling spectrum whose lower ends are .9 of the upper ones; the signal goes to zero."""
    rng, x = np.random.default_rng(1), np.linspace(0.0, 1.0, size)
    b, mod = 1000.0 * np.exp(-3.0 * x), workspace.build.modifier
    waves = [0.01 * rng.normal(size=size) * b * np.cos(k * x) for k in range(shapes)]
    modifiers = [mod("histosys", f"h{k}", ((b + w).tolist(), (b - 0.9 * w).tolist())) for k, w in enumerate(waves)]
    signal = (30.0 * np.exp(-0.5 * ((x - 0.3) / 0.05) ** 2)).tolist()
    samples = [
        workspace.build.sample("s", signal, mod("normfactor", "mu"), mod("normsys", "both", (0.9, 1.1))),
        workspace.build.sample("b", b.tolist(), *modifiers, mod("normsys", "both", (0.95, 1.05))),
    ]
    data = rng.poisson(b - 0.5 * np.array(signal)).astype(float).tolist()
    return workspace.read(workspace.build.workspace({"c": samples}, {"c": data}, "mu"))


def test_many_bins_are_no_reason_to_fit_on_the_other_side_of_every_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    """More bins than parameters, and more than a screen of few parameters takes."""
    problem = histfactory.prepare(lopsided(240, 70))
    assert problem.main.size > screen.LARGEST and len(problem.bent) > 50
    starts = []
    descend = histfactory.Problem._newton
    monkeypatch.setattr(histfactory.Problem, "_newton", lambda p, x, label: starts.append(x) or descend(p, x, label))
    best = problem.solve()
    assert best.valid and len(starts) < 15
    for i in problem.bent[::10]:  # no lower minimum with one on its other side
        begin = best.x.copy()
        begin[i] = -begin[i]
        assert descend(problem, begin, "other side").value > best.value - 1e-6


def test_what_takes_the_events_of_a_factor_is_known_without_rates() -> None:
    """A systematic of other samples cannot; that of all samples is asked."""
    model = lopsided(20, 6)
    effects, mu = valleys.effects_of(model), model.index("mu")
    changed, scaled = effects._entries or (None, None)
    assert changed is not None and scaled is not None
    for name in ("h0", "h5", "both"):
        i, x = model.index(name), model.inits.copy()
        x[i] = 2.0
        with_it, without = x.copy(), x.copy()
        with_it[mu], without[mu] = 1.0, 0.0
        moved = (model.expected(with_it) - model.expected(without)).sum()
        x[i] = 0.0
        with_it, without = x.copy(), x.copy()
        with_it[mu], without[mu] = 1.0, 0.0
        still = (model.expected(with_it) - model.expected(without)).sum()
        assert bool((changed[i] & scaled[mu]).any()) == (abs(moved - still) > 1e-9)
        assert not effects.takes(i, mu)


def everywhere(interpolation: dict[str, str]) -> workspace.Model:
    """Parameters that shift, scale or do both, in several samples and channels, beside factors of single bins."""
    r = np.random.default_rng(8)
    mod, smp = workspace.build.modifier, workspace.build.sample

    def shape(name: str, b: list[float]) -> dict[str, Any]:
        low, high = (np.array(b) * (1 + r.uniform(-0.2, 0.3, len(b))) for _ in range(2))
        return mod("histosys", name, (low.tolist(), high.tolist()))

    first, second, other = [60.0, 0.0, 90.0], [20.0, 30.0, 5.0], [50.0, 70.0]
    channels = {
        "c": [smp("s", [5.0, 6.0, 7.0], mod("normfactor", "mu"), mod("normsys", "both", (0.8, 1.3))),
              smp("b", first, shape("shift", first), shape("both", first), mod("normsys", "both", (1.2, 1.3)),
                  mod("staterror", "stat", [6.0, 0.0, 9.0])),
              smp("d", second, mod("normsys", "scale", (0.7, 0.9)), mod("normsys", "both", (0.9, 1.05)))],
        "e": [smp("b", other, shape("shift", other), mod("shapesys", "bins", [5.0, 6.0]), mod("lumi", "lumi"))],
    }  # fmt: skip
    settings = {"lumi": {"auxdata": [1.0], "sigmas": [0.02], "inits": [1.0], "bounds": [[0.5, 1.5]]}}
    spec = workspace.build.workspace(channels, {"c": [90.0, 35.0, 100.0], "e": [55.0, 66.0]}, "mu", settings)
    return workspace.read(spec, interpolation=interpolation)


@pytest.mark.parametrize("codes", [("code0", "code1"), ("code4p", "code4")])
def test_heights_along_a_parameter_are_those_of_the_likelihood(codes: tuple[str, str]) -> None:
    problem = histfactory.prepare(everywhere(dict(zip(("histosys", "normsys"), codes, strict=True))))
    x = problem.start + np.random.default_rng(0).normal(0, 0.1, problem.start.size)
    lines = Lines(problem.model, problem.main, problem.aux, x)
    places = np.linspace(-3, 3, 25)
    assert {problem.names[p] for p in lines.takes} == {"shift", "scale", "both", "lumi"}
    for p in lines.takes:
        heights = []
        for place in places:
            y = x.copy()
            y[p] = place
            heights.append(problem.value(y))
        found = lines.heights(p, places)
        assert (np.isfinite(found) == np.isfinite(heights)).all()
        good = np.isfinite(found)
        np.testing.assert_allclose(found[good] - found[-1], np.array(heights)[good] - heights[-1], atol=1e-9)


def test_a_triangle_with_a_pivot_that_elements_below_dwarf_is_solved() -> None:
    lower = np.array([[1.0, 0.0, 0.0], [1e200, 1e-120, 0.0], [3.0, 1e180, 2.0]])
    with pytest.raises(np.linalg.LinAlgError):
        np.linalg.inv(lower)
    right = np.array([1.0, 2.0, 3.0])
    assert not np.isfinite(factors.solve_triangular(lower, right))  # which ends a descent, and not the program


def test_models_are_not_kept_by_what_was_found_of_them() -> None:
    model = measured(0.1, 100.0)
    problem = histfactory.prepare(model)
    lines = Lines(problem.model, problem.main, problem.aux, problem.start)
    lines.heights(min(lines.takes), np.array([0.5]))
    alive = weakref.ref(model)
    del model, problem, lines
    gc.collect()
    assert alive() is None
