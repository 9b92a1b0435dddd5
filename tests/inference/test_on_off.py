"""Questions of on/off bins against Li and Ma, the binomial test, closed forms and workspaces that say the same."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2

from bumpfit.errors import InputError
from bumpfit.inference import (
    cls,
    contour,
    discovery,
    fit,
    goodness,
    impacts,
    interval,
    limit,
    on_off,
    prepare,
    scan,
)  # fmt: skip
from bumpfit.likelihood import ZeroLikelihoodError
from bumpfit.toys import Toys
from bumpfit.workspace import build, read

N, M, TAU, SIGNAL = [25.0, 9.0, 3.0], [40.0, 31.0, 2.0], [4.0, 4.0, 2.5], [8.0, 4.0, 2.0]


def workspace(n: Any, m: Any, tau: Any, signal: Any, low: float = 0.0) -> Any:
    """The same as a workspace: control regions with a free factor for each background."""
    channels, counts = {}, {}
    for i, (a, b, t, s) in enumerate(zip(n, m, tau, signal, strict=True)):
        rate = build.modifier("normfactor", f"b{i}")
        channels[f"on{i}"] = [
            build.sample("s", [s], build.modifier("normfactor", "mu")), build.sample("b", [1.0], rate)
        ]  # fmt: skip
        channels[f"off{i}"] = [build.sample("b", [t], rate)]
        counts |= {f"on{i}": [a], f"off{i}": [b]}
    spans = {f"b{i}": {"bounds": [[0.0, 1e4]], "inits": [5.0]} for i in range(len(n))}
    return read(build.workspace(channels, counts, "mu", {"mu": {"bounds": [[low, 1e4]]}, **spans}))


@given(st.integers(0, 300), st.integers(1, 300), st.floats(0.1, 20.0))
@settings(max_examples=25, deadline=None)
def test_significance_is_that_of_li_and_ma(n: int, m: int, tau: float) -> None:
    """Eq. 17 with alpha = 1 / tau."""
    alpha, total = 1 / tau, n + m
    on = n * math.log((1 + alpha) / alpha * n / total) if n else 0.0
    z = math.sqrt(max(0.0, 2 * (on + m * math.log((1 + alpha) * m / total)))) if n > alpha * m else 0.0
    found = discovery(on_off(n, m, tau))
    assert found.z == pytest.approx(z, abs=1e-6)
    assert found.mu == pytest.approx(max(0.0, n - alpha * m), abs=1e-6)
    free = fit(on_off(n, m, tau), ranges={"mu": (-1e4, 1e4)})
    assert free.values["mu"] == pytest.approx(n - alpha * m, abs=1e-6)
    if n:
        assert free.errors["mu"] == pytest.approx(math.sqrt(n + alpha**2 * m), rel=1e-6)


def test_p_values() -> None:
    """Of the example of Cousins, Linnemann and Tucker (table 1, 178 on, 188 off at 11 times the exposure)."""
    one = on_off(178, 2109, 11.21)
    assert one.binomial_p == pytest.approx(binom.sf(177, 178 + 2109, 1 / 12.21), rel=1e-9)
    toys = discovery(on_off(16, 40, 4.0), law=Toys(400, seed=1))
    assert toys.p == pytest.approx(on_off(16, 40, 4.0).binomial_p, abs=4 * toys.p_error)
    with pytest.raises(InputError, match="single bin"):
        _ = on_off(N, M, TAU).binomial_p


@pytest.mark.parametrize("size", [1, 3])
def test_all_questions_are_those_of_the_workspace(size: int) -> None:
    ours = on_off(N[:size], M[:size], TAU[:size], SIGNAL[:size])
    theirs = workspace(N[:size], M[:size], TAU[:size], SIGNAL[:size])
    one, two = fit(ours), fit(theirs)
    assert (one.valid, one.at_bounds) == (True, two.at_bounds)
    assert one.twice_nll == pytest.approx(two.twice_nll, abs=1e-6)
    assert list(one.values.values()) == pytest.approx([two.values[n] for n in sorted(two.values, reverse=True)][:1] + [
        two.values[f"b{i}"] for i in range(size)], rel=1e-5)  # fmt: skip
    assert one.errors["mu"] == pytest.approx(two.errors["mu"], rel=1e-5)
    assert discovery(ours).q0 == pytest.approx(discovery(theirs).q0, abs=1e-6)
    for question in (interval, lambda likelihood: interval(likelihood, level=0.95, side="high")):
        found, want = question(ours), question(theirs)
        assert (found.low, found.high) == (
            want.low if want.low is None else pytest.approx(want.low, abs=1e-4), pytest.approx(want.high, abs=1e-4)
        )  # fmt: skip
    assert limit(ours).observed == pytest.approx(limit(theirs).observed, rel=1e-4)
    assert limit(ours).expected == pytest.approx(limit(theirs).expected, rel=1e-4)
    assert cls(ours, 1.0).observed == pytest.approx(cls(theirs, 1.0).observed, rel=1e-4)
    points = [0.0, 1.0, 3.0]
    assert scan(ours, points=points).delta_twice_nll == pytest.approx(
        scan(theirs, points=points).delta_twice_nll, abs=1e-6)  # fmt: skip
    fitted, wanted = goodness(ours, fixed={"mu": 0.0}), goodness(theirs, fixed={"mu": 0.0})
    assert (fitted.statistic, fitted.degrees_of_freedom) == (pytest.approx(wanted.statistic, abs=1e-6), size)
    row, other = impacts(ours).impacts[0], impacts(theirs).impacts[0]
    assert (row.up, row.down) == (pytest.approx(other.up, abs=1e-4), pytest.approx(other.down, abs=1e-4))
    region = contour(ours, "mu", "b[0]", n_points=4, ranges={"mu": (-50.0, 50.0)})
    floor = fit(ours, ranges={"mu": (-50.0, 50.0)}).twice_nll
    for x, y in zip(region.x, region.y, strict=True):
        rise = fit(ours, fixed={"mu": x, "b[0]": y}).twice_nll - floor
        assert rise == pytest.approx(chi2.ppf(0.6827, 2), rel=1e-4)


@given(st.integers(0, 10_000))
@settings(max_examples=12, deadline=None)
def test_the_minimum_has_no_lower_neighbours(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 4))
    n, m, tau = rng.poisson(rng.choice([1, 8]), size), rng.poisson(rng.choice([1, 12]), size), rng.uniform(0.3, 5, size)
    likelihood = on_off(n, m, tau, rng.uniform(0.5, 6, size))
    if rng.random() < 0.3:
        likelihood = likelihood.at("b[0]", 4.0)
    if rng.random() < 0.7:
        likelihood = likelihood.within("mu", *((-1.0, 1.5) if rng.random() < 0.5 else (-20.0, 20.0)))
    best = likelihood.solve()
    x = best.x + rng.uniform(0.1, 0.5, best.x.size)
    step = 1e-5 * np.eye(x.size)
    slopes = [(likelihood.value(x + e) - likelihood.value(x - e)) / 2e-5 for e in step]
    assert likelihood.slope(x) == pytest.approx(slopes, abs=1e-6)
    bends = np.array([(likelihood.slope(x + e) - likelihood.slope(x - e)) / 2e-5 for e in step])
    assert likelihood.curvature(x) == pytest.approx(bends, abs=1e-5)
    for size in (1e-3, 1e-2, 0.1, 1.0, 5.0):  # -ln L is convex, so what is lowest nearby is the minimum
        for move in rng.normal(0, size, (30, x.size)):
            near = np.clip(best.x + move, likelihood.low, likelihood.high)
            assert likelihood.value(np.where(likelihood.free, near, likelihood.start)) >= best.value - 1e-10


def test_toys_and_walls() -> None:
    likelihood = on_off(3, 4, 2.0)
    band = interval(likelihood, level=0.6827, law=Toys(100, seed=3))
    assert 0 <= band.low < 1.0 < band.high < 12
    assert "only 2.3 expected background events" in discovery(likelihood).notes[0]
    assert limit(on_off(0, 0, 1.0)).observed == pytest.approx(
        limit(workspace([0], [0], [1.0], [1.0])).observed, rel=1e-3
    )
    drawn = likelihood.throw(np.array([2.0, 3.0]), np.random.default_rng(1))
    assert drawn.names == ("mu", "b[0]") and drawn.n[0] == round(drawn.n[0])
    with pytest.raises(ZeroLikelihoodError, match="held parameters"):
        likelihood.at("mu", 0.0).at("b[0]", 0.0).solve()
    assert prepare(workspace([3], [4], [2.0], [1.0])).events("mu", np.array([2.0, 0.0])) == pytest.approx(
        likelihood.events("mu", np.array([0.0, 2.0])))  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([1, 2], [1, 2, 3], 2.0), "as many n, m, tau"),
        ((-1, 2, 2.0), "n of on/off bins must be finite and not negative"),
        ((1, 2, 0.0), "tau of on/off bins must be finite and positive"),
        ((1, math.nan, 1.0), "m of on/off bins"),
        ((1, 2, 1.0, 0.0), "signal of all on/off bins is zero"),
        (([], [], 1.0), "n of on/off bins"),
    ],
)
def test_wrong_bins(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        on_off(*arguments)
