"""Every question of the inference against closed forms and published numbers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import chi2, kstest, norm

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference import (
    FitOptions,
    asimov,
    blind,
    cls,
    contour,
    discoveries,
    discovery,
    fit,
    goodness,
    impacts,
    interval,
    limit,
    limits,
    postfit,
    prefit,
    prepare,
    scan,
)
from bumpfit.toys import Toys
from bumpfit.workspace import Model, build, read


def counting(n: float, b: float, s: float = 1.0, poi_range: tuple[float, float] = (0.0, 1000.0)) -> Model:
    """n ~ Poisson(mu s + b) with a known background."""
    spec = build.workspace(
        {"SR": [build.sample("signal", [s], build.modifier("normfactor", "mu")), build.sample("bkg", [b])]},
        {"SR": [n]},
        "mu",
        {"mu": {"bounds": [list(poi_range)], "inits": [1.0]}},
    )
    return read(spec)


def two_rates(n: float, m: float) -> Model:
    """Two independent counts with a free factor each."""
    one = build.sample("a", [10.0], build.modifier("normfactor", "x"))
    two = build.sample("b", [20.0], build.modifier("normfactor", "y"))
    bounds = {"x": {"bounds": [[0.0, 50.0]]}, "y": {"bounds": [[0.0, 50.0]]}}
    return read(build.workspace({"A": [one], "B": [two]}, {"A": [n], "B": [m]}, "x", bounds))


def systematic(n: float, sigma: float) -> Model:
    """n ~ Poisson(100 mu + 400 (1 + 0.1 alpha)), alpha ~ N(0, 1): a linear shift."""
    shift = build.modifier("histosys", "alpha", ([400 * (1 - sigma)], [400 * (1 + sigma)]))
    signal = build.sample("signal", [100.0], build.modifier("normfactor", "mu"))
    return read(
        build.workspace(
            {"SR": [signal, build.sample("bkg", [400.0], shift)]},
            {"SR": [n]},
            "mu",
            {"mu": {"bounds": [[-10.0, 10.0]]}},
        )
    )


@given(st.integers(0, 400), st.floats(0.5, 200), st.floats(0.1, 50))
@settings(max_examples=60, deadline=None)
def test_counting_in_closed_form(n: int, b: float, s: float) -> None:
    model = counting(n, b, s, (0.0, 1e5))
    found = discovery(model)
    expected = 2 * (n * math.log(n / b) - n + b) if n > b else 0.0
    assert found.q0 == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert found.mu == pytest.approx(max(n - b, 0) / s, rel=1e-6, abs=1e-6)
    assert found.p == pytest.approx(norm.sf(math.sqrt(expected)), rel=1e-6)
    assert found.z == pytest.approx(math.sqrt(expected), abs=1e-5)
    best = fit(model)
    assert best.valid
    if n > b:
        assert best.errors["mu"] == pytest.approx(math.sqrt(n) / s, rel=1e-5)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["parameter"] == "mu"


def test_interval_solves_its_equation() -> None:
    n, b = 30.0, 12.0
    model = counting(n, b)

    def rise(mu: float) -> float:
        return 2 * (mu + b - n - n * math.log((mu + b) / n))

    for level in (0.1, 0.6827, 0.95, 0.999):
        found = interval(model, "mu", level)
        assert found.low is not None
        assert found.high is not None
        for end in (found.low, found.high):
            assert rise(end) == pytest.approx(chi2.ppf(level, 1), rel=1e-5)
    upper = interval(model, level=0.95, side="high")
    assert upper.low is None
    assert upper.high is not None
    assert rise(upper.high) == pytest.approx(norm.ppf(0.95) ** 2, rel=1e-5)
    lower = interval(model, level=0.95, side="low")
    assert lower.high is None
    assert lower.low is not None
    assert rise(lower.low) == pytest.approx(norm.ppf(0.95) ** 2, rel=1e-5)


def test_interval_at_a_bound_says_so() -> None:
    found = interval(counting(10.0, 12.0))
    assert (found.low, found.low_at_bound, found.high_at_bound) == (0.0, True, False)
    inside = interval(counting(30.0, 12.0), ranges={"mu": (0.0, 19.0)})
    assert (inside.high, inside.high_at_bound) == (19.0, True)
    with pytest.raises(BumpfitError, match="do not constrain 'mu'"):
        interval(counting(30.0, 12.0), ranges={"mu": (17.5, 18.5)})


def test_scan_is_the_profile() -> None:
    model = counting(30.0, 12.0)
    found = scan(model, points=[0.0, 18.0, 25.0])
    assert found.delta_twice_nll == pytest.approx(
        [discovery(model).q0, 0.0, 2 * (7 - 30 * math.log(37 / 30))], abs=1e-7
    )
    default = scan(model)
    assert len(default.points) == 41
    assert all(s == "converged" for s in default.status)
    assert default.best == pytest.approx(18.0, abs=1e-6)
    with pytest.raises(InputError, match="finite points"):
        scan(model, points=[])


def test_contour_lies_on_the_threshold() -> None:
    model = two_rates(25.0, 70.0)
    found = contour(model, "x", "y", level=0.95, n_points=16)
    assert found.closed
    floor = model.twice_nll({"x": 2.5, "y": 3.5})
    for x, y in zip(found.x, found.y, strict=True):
        assert model.twice_nll({"x": x, "y": y}) - floor == pytest.approx(chi2.ppf(0.95, 2), rel=1e-5)
    for name, (low, high), best in zip("xy", found.ranges, (2.5, 3.5), strict=True):
        for end in (low, high):  # beyond all points that are drawn, where the profile crosses the threshold of both
            assert fit(model, fixed={name: end}).twice_nll - floor == pytest.approx(chi2.ppf(0.95, 2), rel=1e-5)
        drawn = getattr(found, name)
        assert low < best < high and low <= min(drawn) + 1e-6 and high >= max(drawn) - 1e-6
    few = contour(model, "x", "y", level=0.95, n_points=4)
    np.testing.assert_allclose(few.ranges, found.ranges, rtol=1e-5)
    cut = contour(model, "x", "y", ranges={"x": (2.0, 10.0)})
    assert not cut.closed
    assert min(cut.x) == cut.ranges[0][0] == pytest.approx(2.0)
    with pytest.raises(InputError, match="two different"):
        contour(model, "x", "x")


def test_a_contour_that_a_range_cuts_between_its_points_is_not_closed() -> None:
    """The parameters are correlated: of four points none has the largest y."""
    signal, background = [1.0, 6.0, 20.0], [50.0, 60.0, 40.0]
    samples = [
        build.sample("s", signal, build.modifier("normfactor", "x")),
        build.sample("b", background, build.modifier("normfactor", "y")),
    ]
    model = read(build.workspace({"c": samples}, {"c": [56, 70, 60]}, "x"))
    whole = contour(model, "x", "y", n_points=4, ranges={"x": (-10.0, 10.0)})
    assert whole.closed and max(whole.y) < whole.ranges[1][1] - 0.02
    top = whole.ranges[1][1] - 0.01
    cut = contour(model, "x", "y", n_points=4, ranges={"x": (-10.0, 10.0), "y": (0.0, top)})
    assert cut.ranges[1][1] == top and not cut.closed


def test_upper_limit_of_a_counting_experiment() -> None:
    """With one large count the asymptotic CLs limit solves Phi(-(mu - mu_hat) / sigma) = 0.05 Phi(mu_hat / sigma)."""
    b, s = 1e6, 1e3
    n = b + 300.0
    found = limit(counting(n, b, s, (-100.0, 100.0)))
    sigma, best = math.sqrt(b) / s, (n - b) / s
    assert found.observed is not None
    assert norm.sf((found.observed - best) / sigma) / norm.cdf(best / sigma) == pytest.approx(0.05, rel=5e-3)
    median = sigma * norm.isf(0.025)
    assert found.expected[2] == pytest.approx(median, rel=2e-3)
    assert list(found.expected) == sorted(found.expected)


def test_asimov_significance() -> None:
    """Z of the Asimov data: sqrt(2 ((s + b) ln(1 + s / b) - s)), arXiv:1007.1727 eq. 97."""
    s, b = 10.0, 25.0
    model = counting(20.0, b, s)
    expected = math.sqrt(2 * ((s + b) * math.log(1 + s / b) - s))
    assert discovery(model, asimov(model, 1.0)).z == pytest.approx(expected, rel=1e-9)
    assert discovery(model, asimov(model, 1.0, fitted=False)).z == pytest.approx(expected, rel=1e-9)


def test_linear_systematic_in_closed_form() -> None:
    """Count and auxiliary measurement determine both parameters: mu = (n - 400) / 100, var = (n + 40^2) / 100^2."""
    model = systematic(530.0, 0.1)
    result = fit(model)
    assert result.values["mu"] == pytest.approx(1.3, abs=1e-6)
    assert result.values["alpha"] == pytest.approx(0.0, abs=1e-7)
    assert result.errors["mu"] == pytest.approx(math.sqrt(530 + 1600) / 100, rel=1e-6)
    assert result.correlation is not None
    assert result.correlation[0, 1] == pytest.approx(-40 / math.sqrt(530 + 1600), rel=1e-6)
    ranked = impacts(model)
    only = ranked.impacts[0]
    assert (only.pull, only.constraint) == (pytest.approx(0.0, abs=1e-7), pytest.approx(1.0, rel=1e-6))
    assert (only.up, only.down) == (pytest.approx(-0.4, rel=1e-6), pytest.approx(0.4, rel=1e-6))
    assert (only.prefit_up, only.prefit_down) == (pytest.approx(-0.4, rel=1e-6), pytest.approx(0.4, rel=1e-6))
    before, after = prefit(model).channels[0], postfit(model).channels[0]
    assert before.samples[0].errors[0] == pytest.approx(40.0, rel=1e-6)
    assert (before.sum, before.sum_error) == (pytest.approx(500.0), pytest.approx(40.0, rel=1e-6))
    # the fit reproduces the count, with its own uncertainty
    assert (after.sum, after.sum_error) == (pytest.approx(530.0, rel=1e-6), pytest.approx(math.sqrt(530), rel=1e-5))
    assert after.data == (530.0,)


def test_settings_of_parameters() -> None:
    model = systematic(530.0, 0.1)
    held = fit(model, fixed={"alpha": 1.0})
    assert held.values["mu"] == pytest.approx(0.9, abs=1e-6)
    assert held.fixed == ("alpha",)
    assert held.errors["alpha"] == 0
    assert fit(model, fixed={"alpha": None}).values["alpha"] == 0.0
    ranged = fit(model, ranges={"mu": (2.0, 3.0)}, start={"mu": 2.5})
    assert ranged.at_bounds == ("mu",)
    assert ranged.values["mu"] == 2.0
    everything = fit(model, fixed={"alpha": 0.0, "mu": 1.0})
    assert everything.valid
    assert everything.twice_nll == pytest.approx(model.twice_nll({"mu": 1.0}))
    assert discovery(model, fixed={"alpha": 0.0}).q0 > discovery(model).q0
    assert cls(model, 2.0, fixed={"alpha": 0.0}).observed < cls(model, 2.0).observed  # type: ignore[operator]
    for bad in ({"fixed": {"nu": 1.0}}, {"start": {"nu": 1.0}}, {"ranges": {"nu": (0.0, 1.0)}}, {"free": ("nu",)}):
        with pytest.raises(InputError, match="no parameter 'nu'"):
            fit(model, **bad)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="outside its range"):
        fit(model, start={"mu": 99.0})
    with pytest.raises(InputError, match="lower end"):
        fit(model, ranges={"mu": (1.0, 1.0)})
    with pytest.raises(InputError, match="held fixed"):
        discovery(model, fixed={"mu": 1.0})


def test_parameter_that_the_workspace_holds_can_be_released() -> None:
    spec = systematic(530.0, 0.1).spec
    spec["measurements"][0]["config"]["parameters"].append({"name": "alpha", "fixed": True})
    model = read(spec)
    assert fit(model).fixed == ("alpha",)
    assert fit(model, free=["alpha"]).fixed == ()


def test_wrong_questions() -> None:
    model = counting(30.0, 12.0)
    nothing = read(model.spec, poi="")
    for question in (discovery, limit, scan, impacts, interval):
        with pytest.raises(InputError, match="no parameter of interest"):
            question(nothing)
    with pytest.raises(InputError, match="level"):
        interval(model, level=1.2)
    with pytest.raises(InputError, match="level"):
        limit(model, level=0.0)
    with pytest.raises(InputError, match=r"above 0\.5"):
        interval(model, level=0.4, side="high")
    with pytest.raises(InputError, match="side"):
        interval(model, side="left")  # type: ignore[arg-type]
    for mu in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="above 0"):
            cls(model, mu)
    with pytest.raises(InputError, match="unknown goodness"):
        goodness(model, statistic="anderson")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no degree of freedom"):
        goodness(model)
    with pytest.raises(InputError, match="unknown minimiser 'simplex'; choose from newton, minuit"):
        FitOptions(minimiser="simplex")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="tolerance > 0"):
        FitOptions(tolerance=-1.0)
    for options in ({"n_points": 0}, {"n_sigma": math.nan}):
        with pytest.raises(InputError, match="n_points >= 1 and n_sigma > 0"):
            scan(model, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="points of a scan must be numbers"):
        scan(model, points=["a"])  # type: ignore[list-item]
    with pytest.raises(InputError, match="must be two numbers"):
        fit(model, ranges={"mu": (0.0, 1.0, 2.0)})  # type: ignore[dict-item]
    with pytest.raises(InputError, match="data must be numbers"):
        fit(model, ["many"])
    with pytest.raises(InputError, match="parameter 'mu' must be numbers"):
        model.twice_nll({"mu": "one"})


def test_impossible_hypothesis_is_explained() -> None:
    """A bin that only the signal fills makes the background-only likelihood zero."""
    spec = build.workspace(
        {
            "SR": [
                build.sample("signal", [1.0, 1.0], build.modifier("normfactor", "mu")),
                build.sample("bkg", [5.0, 0.0]),
            ]
        },
        {"SR": [5.0, 2.0]},
        "mu",
    )
    model = read(spec)
    assert fit(model).valid
    with pytest.raises(BumpfitError, match=r"bin 1 of channel 'SR' has 2 events and 0 expected") as caught:
        discovery(model)
    assert caught.value.exit_code == 1


def test_flat_directions_are_named() -> None:
    double = build.sample("a", [10.0], build.modifier("normfactor", "x"), build.modifier("normfactor", "y"))
    other = build.sample("b", [10.0], build.modifier("normfactor", "z"))
    model = read(build.workspace({"A": [double], "B": [other]}, {"A": [12.0], "B": [9.0]}, "x"))
    result = fit(model)
    assert result.valid
    assert result.covariance is None
    assert "x, y" in result.status
    assert math.isnan(result.errors["x"])
    assert result.errors["z"] == pytest.approx(0.3, rel=1e-5)
    assert result.to_dict()["errors"]["x"] is None
    assert [channel.sum_error for channel in postfit(model).channels] == [0.0, pytest.approx(3.0, rel=1e-5)]


def test_parameter_without_effect_is_held() -> None:
    empty = build.sample("a", [0.0, 5.0], build.modifier("shapefactor", "free"))
    signal = build.sample("s", [2.0, 2.0], build.modifier("normfactor", "mu"))
    other = build.sample("b", [10.0, 10.0])
    result = fit(read(build.workspace({"A": [empty, signal, other]}, {"A": [14.0, 20.0]}, "mu")))
    assert result.undetermined == ("free[0]",)
    assert result.values["free[0]"] == 1.0
    assert result.valid


def test_newton_that_stops_early_is_helped_by_minuit() -> None:
    result = fit(systematic(700.0, 0.3), options=FitOptions(max_iterations=1))
    assert result.valid
    assert result.minimiser == "newton, minuit"
    assert any("too many iterations" in attempt for attempt in result.attempts)
    assert result.values["mu"] == pytest.approx(3.0, abs=1e-3)


def test_a_saddle_is_left() -> None:
    """A shape with one side only has no gradient at its start; the minima are to both sides."""
    shape = build.modifier("histosys", "alpha", ([130.0, 100.0], [130.0, 100.0]))
    signal = build.sample("signal", [0.0, 10.0], build.modifier("normfactor", "mu"))
    model = read(
        build.workspace({"SR": [build.sample("bkg", [100.0, 100.0], shape), signal]}, {"SR": [140.0, 105.0]}, "mu")
    )
    assert model.gradient({"mu": 0.5})[model.index("alpha")] == 0.0
    problem = prepare(model)
    alone = problem._newton(problem.start, "newton")  # the search for other valleys would leave it as well
    assert alone.valid and abs(alone.x[model.index("alpha")]) > 0.5
    result = fit(model)
    grid = np.linspace(0, 3, 30_001)
    lowest = min(model.twice_nll({"mu": 0.5, "alpha": a}) for a in grid[::100])
    assert result.valid
    assert abs(result.values["alpha"]) > 0.5
    assert result.twice_nll <= lowest
    assert result.values["mu"] == pytest.approx(0.5, abs=1e-5)
    assert result.covariance is not None


def test_saturated_goodness_is_the_deviance() -> None:
    model = two_rates(25.0, 70.0)
    found = goodness(model, fixed={"x": 2.0, "y": 3.0})
    deviance = 2 * sum(m - n + n * math.log(n / m) for n, m in ((25.0, 20.0), (70.0, 60.0)))
    assert found.statistic == pytest.approx(deviance, rel=1e-9)
    assert found.degrees_of_freedom == 2
    assert found.p == pytest.approx(chi2.sf(deviance, 2), rel=1e-9)
    pearson = goodness(model, statistic="chi2", fixed={"x": 2.0, "y": 3.0})
    assert pearson.statistic == pytest.approx(25 / 20 + 100 / 60, rel=1e-9)


def test_goodness_by_toys() -> None:
    """Large counts: the toys follow chi2 with the degrees of freedom, auxiliary measurements included."""
    shift = build.modifier("histosys", "alpha", ([900.0, 1100.0, 1000.0], [1100.0, 900.0, 1000.0]))
    background = build.sample("bkg", [1000.0] * 3, shift, build.modifier("staterror", "stat", [30.0, 20.0, 25.0]))
    signal = build.sample("sig", [10.0, 100.0, 10.0], build.modifier("normfactor", "mu"))
    data = {"SR": [1010.0, 1090.0, 1020.0]}
    model = read(build.workspace({"SR": [background, signal]}, data, "mu", {"mu": {"bounds": [[-20.0, 20.0]]}}))
    found = goodness(model, law=Toys(300, seed=1))
    assert found.toys == 300
    asymptotic = goodness(model)
    assert asymptotic.degrees_of_freedom == 2
    assert found.p == pytest.approx(asymptotic.p, abs=5 * found.p_error)  # type: ignore[operator]
    rng = np.random.default_rng(2)
    centre = model.asimov(fit(model).values)
    ps = []
    for _ in range(200):
        toy = np.concatenate(
            [rng.poisson(centre[:3]), centre[3:] + rng.normal(size=4) * np.array([1, 0.03, 0.02, 0.025])]
        )
        ps.append(goodness(model, toy).p)
    assert kstest(ps, "uniform").pvalue > 0.01
    distance = goodness(model, statistic="ks", law=Toys(100))
    assert goodness(model, statistic="ks").p is None
    assert 0 < distance.p <= 1  # type: ignore[operator]


def test_blinding_predicts_from_the_other_channels() -> None:
    signal = build.sample("signal", [5.0], build.modifier("normfactor", "mu"))
    rate = build.modifier("normfactor", "rate")
    channels = {"CR": [build.sample("bkg", [100.0], rate)], "SR": [signal, build.sample("bkg", [10.0], rate)]}
    model = read(build.workspace(channels, {"CR": [130.0], "SR": [99.0]}, "mu"))
    assert blind(model, ["SR"]).tolist() == pytest.approx([130.0, 13.0], rel=1e-6)
    with pytest.raises(InputError, match="no channel XR"):
        blind(model, ["XR"])
    with pytest.raises(InputError, match="all channels"):
        blind(model, ["CR", "SR"])


@pytest.mark.parametrize("errors", [[3.0, 2.0, 1.0, 40.0], [0.3, 0.2, 0.1, 4.0]])
def test_blinded_bins_are_predicted_by_the_others(errors: list[float]) -> None:
    """As where the bins are not in the model: a channel of the others alone, its parameters shared."""
    signal = build.sample("signal", [5.0, 5.0, 5.0, 900.0], build.modifier("normfactor", "mu"))
    shape = build.modifier("histosys", "tilt", ([80.0, 62.0, 45.0, 4400.0], [124.0, 80.0, 44.0, 3600.0]))
    scale = build.modifier("normfactor", "rate")
    rest = [build.modifier("staterror", "stat", errors), scale, shape]
    background = [100.0, 70.0, 45.0, 4000.0]
    data = [131.0, 90.0, 61.0, 9999.0]
    whole = read(build.workspace({"SR": [signal, build.sample("bkg", background, *rest)]}, {"SR": data}, "mu"))
    hidden = blind(whole, {"SR": [1, 3]})
    assert hidden[[0, 2]].tolist() == [131.0, 61.0]
    seen = [build.modifier("staterror", "stat", [errors[0], errors[2]]), scale]
    seen.append(build.modifier("histosys", "tilt", ([80.0, 45.0], [124.0, 44.0])))
    left = build.workspace({"SR": [build.sample("bkg", [100.0, 45.0], *seen)]}, {"SR": [131.0, 61.0]}, "rate")
    best = fit(read(left)).values
    values = {"mu": 0.0, "rate": best["rate"], "tilt": best["tilt"]}
    wanted = whole.expected({**values, **{f"stat[{k}]": 1.0 for k in range(4)}})
    assert hidden[[1, 3]].tolist() == pytest.approx(wanted[[1, 3]], rel=1e-5)
    for wrong, words in (([4], "has no bin 4"), ([-1], "has no bin -1"), ([0, 1, 2, 3], "nothing is left")):
        with pytest.raises(InputError, match=words):
            blind(whole, {"SR": wrong})


def test_blinding_with_a_staterror_of_several_channels() -> None:
    """The error of the bins of CR must not move those of SR, which has the first parameters of `stat`."""
    signal = build.sample("signal", [5.0, 5.0], build.modifier("normfactor", "mu"))
    channels = {
        "CR": [build.sample("bkg", [100.0], build.modifier("staterror", "stat", [10.0]))],
        "A": [signal, build.sample("bkg", [10.0, 20.0], build.modifier("staterror", "stat", [1.0, 1.0]))],
    }
    settings = {"stat": {"inits": [1.0, 1.0, 1.1], "auxdata": [1.0, 1.0, 1.0]}}
    model = read(build.workspace(channels, {"CR": [130.0], "A": [99.0, 99.0]}, "mu", settings))
    hidden = blind(model, ["A"])
    assert hidden.tolist() == pytest.approx([10.0, 20.0, 130.0, 1.0, 1.0, 1.0])
    # 130 ln(gamma) - 100 gamma - 50 (gamma - 1)^2 is largest at gamma^2 = 1.3
    assert fit(model, hidden, {"mu": 0.0}).values["stat[2]"] == pytest.approx(math.sqrt(1.3), rel=1e-6)


def test_many_parameters() -> None:
    """250 bins with a staterror each and a common normalisation: profiled by hand, and beyond the size for LAPACK."""
    rng = np.random.default_rng(3)
    b, relative = rng.uniform(50, 200, 250), rng.uniform(0.02, 0.1, 250)
    n = rng.poisson(b).astype(float)
    stat, signal = build.modifier("staterror", "stat", b * relative), build.modifier("normfactor", "mu")
    samples = [build.sample("bkg", b, stat), build.sample("signal", 0.1 * b, signal)]
    ranges = {"mu": {"bounds": [[-5.0, 5.0]]}}
    best = fit(read(build.workspace({"SR": samples}, {"SR": n}, "mu", ranges)))
    assert best.valid

    def profile(mu: float) -> float:
        """-2 ln L without constants, each factor gamma from its own quadratic equation."""
        s = 0.1 * mu * b
        # d/dgamma: b - n b / (b gamma + s) + (gamma - 1) / relative^2 = 0
        r2 = relative**2
        p, q = s / b + b * r2 - 1, s * r2 - s / b - n * r2
        gamma = (-p + np.sqrt(p**2 - 4 * q)) / 2
        rate = b * gamma + s
        return float(np.sum(2 * (rate - n * np.log(rate)) + ((gamma - 1) / relative) ** 2))

    centre = minimize_scalar(profile, bracket=(-1.0, 1.0), tol=1e-12)
    assert best.values["mu"] == pytest.approx(centre.x, abs=1e-5)
    step = 1e-2
    bend = (profile(centre.x + step) + profile(centre.x - step) - 2 * centre.fun) / step**2
    assert best.errors["mu"] == pytest.approx(math.sqrt(2 / bend), rel=1e-4)


def test_mass_scans_keep_going() -> None:
    broken = read(
        build.workspace(
            {"SR": [build.sample("signal", [1.0], build.modifier("normfactor", "mu"))]}, {"SR": [3.0]}, "mu"
        )
    )
    models = {200.0: counting(30.0, 25.0, 3.0), 100.0: counting(30.0, 25.0, 9.0), 300.0: broken}
    found = limits(models)
    assert found.masses == (100.0, 200.0, 300.0)
    assert found.limits is not None
    assert found.limits[0] is not None
    assert found.limits[1] is not None
    assert found.limits[1].observed == pytest.approx(3 * found.limits[0].observed, rel=1e-5)  # type: ignore[operator]
    assert found.limits[2] is None
    assert "likelihood is zero" in found.status[2]
    locals_ = discoveries(models)
    assert locals_.discoveries is not None
    assert locals_.discoveries[0].q0 == pytest.approx(locals_.discoveries[1].q0, rel=1e-6)  # type: ignore[union-attr]
    with pytest.raises(InputError, match="at least one mass"):
        limits({})


@pytest.mark.parametrize("n", [80.0, 100.0, 121.0])
def test_signed_significance_counts_deficits(n: float) -> None:
    """sign(n - b) sqrt(2 (n ln(n / b) - n + b)) of a count over a known background."""
    found = discovery(counting(n, 100.0, poi_range=(-90.0, 1000.0)))
    exact = math.copysign(math.sqrt(2 * max(n * math.log(n / 100.0) - n + 100.0, 0.0)), n - 100.0)
    assert found.z_signed == pytest.approx(exact, abs=1e-5)
    assert found.z == pytest.approx(max(exact, 0.0), abs=1e-5)
    assert (discovery(counting(80.0, 100.0)).z_signed or 0.0) == pytest.approx(0.0, abs=1e-6)  # the range ends at 0
