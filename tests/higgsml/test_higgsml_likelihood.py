"""Counting, template grids and bounds: MINOS, closed forms, finite differences."""

import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from iminuit import Minuit
from scipy.special import gammaln
from scipy.stats import beta, poisson

from bumpfit.errors import InputError
from bumpfit.higgsml.bounds import bound, kept, unbinned_information
from bumpfit.higgsml.calibration import template_calibration
from bumpfit.higgsml.counting import published, read_regions
from bumpfit.higgsml.ensemble import ensemble
from bumpfit.higgsml.grid import grid_model, read_grid
from bumpfit.higgsml.interval import RangeCalibration
from bumpfit.higgsml.likelihood import Model, fit_all, measure, response_model, throw

TES = np.linspace(0.97, 1.03, 5)
JES = np.linspace(0.96, 1.03, 4)


def grid(bins: int = 30) -> dict[str, dict[str, list[float]]]:
    """Score-like templates: 60 000 background events, few of them under the signal."""
    edges = np.linspace(0, 1, bins + 1)
    result = {}
    for t in TES:
        for j in JES:
            x, y = (t - 1) / 0.01, (j - 1) / 0.01
            signal = np.diff(beta.cdf(edges, 3.2 * (1 + 0.01 * x), 1.6 * (1 - 0.01 * y))) * 800 * (1 + 0.01 * x)
            background = np.diff(0.97 * beta.cdf(edges, 1 + 0.004 * x, 9) + 0.03 * beta.cdf(edges, 1.2, 2.2))
            background *= 6e4 * (1 + 0.012 * x + 0.02 * y)
            result[f"({t:.6g}, {j:.6g})"] = {"sig": signal.tolist(), "bg": background.tolist()}
    return result


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("grid") / "grid.json"
    path.write_text(json.dumps(grid()))
    return read_grid(path)


def regions_twice_nll(counts: np.ndarray, x: np.ndarray) -> float:
    """-2 ln L of the region model, from its file and its formulas alone."""
    content = json.loads(published().read_text())
    mu, t, j, m, tt, vv, bk = x
    terms = np.array([t, j, m, t * t, j * j, m * m, t * j, t * m, j * m])
    alpha = content["alpha"]
    norm = {"htautau": mu, "ztautau": (1 + alpha["bkg"]) ** bk}
    norm["ttbar"] = norm["ztautau"] * (1 + alpha["tt"]) ** tt
    norm["diboson"] = norm["ztautau"] * (1 + alpha["diboson"]) ** vv
    rates = [
        sum(norm[p] * v["nominal_yield"] * math.exp(terms @ v["icp_DeltaA"]) for p, v in region.items())
        for region in content["regions"].values()
    ]
    return float(-2 * poisson.logpmf(counts, rates).sum() + np.sum(x[1:] ** 2))


def test_counting_has_the_published_likelihood() -> None:
    _, regions = read_regions()
    rng = np.random.default_rng(0)
    counts = rng.poisson(regions.expected(1.0)[0][0])
    for _ in range(20):
        x = np.concatenate([[rng.uniform(0, 3)], rng.normal(0, 1, 6)])
        assert regions.twice_nll(counts, x[0], x[1:]) == pytest.approx(regions_twice_nll(counts, x), abs=1e-4, rel=1e-9)


def twice_nll(model: Model, counts: np.ndarray, x: np.ndarray) -> float:
    return model.twice_nll(counts, x[0], x[1:])


@pytest.mark.parametrize(("mu", "shift"), [(1.0, 0.0), (6.0, 1.0)])
def test_the_profile_interval_is_that_of_minos(mu: float, shift: float) -> None:
    _, regions = read_regions()
    counts = np.random.default_rng(3).poisson(regions.expected(mu, [shift, 0.5, 0.0, -0.3, 0.2, 0.0])[0][0])
    minuit = Minuit(lambda x: regions_twice_nll(counts, x), np.array([1.0, *np.zeros(6)]))
    minuit.strategy = 2
    minuit.tol = 1e-5
    minuit.migrad()
    minuit.minos("x0")
    found = measure(regions, counts, bounded=False)
    ends = minuit.merrors["x0"]
    assert found.mu_hat == pytest.approx(minuit.values[0], abs=2e-3)
    assert found.low == pytest.approx(minuit.values[0] + ends.lower, abs=1e-3)
    assert found.high == pytest.approx(minuit.values[0] + ends.upper, abs=1e-3)
    for end in (found.low, found.high):  # the ends by their definition
        held = Minuit(lambda x: regions_twice_nll(counts, x), np.array([end, *np.zeros(6)]))
        held.fixed[0] = True
        held.strategy = 2
        held.tol = 1e-6
        rise = held.migrad().fval - minuit.fval
        assert rise == pytest.approx(1.0, abs=2e-4)
    bounded = measure(regions, counts)
    assert bounded.low >= 0.0 and bounded.at_bound == (found.low < 0.0)


def test_six_counts_cannot_measure_mu() -> None:
    _, regions = read_regions()
    found = bound(regions, 1.0)
    assert found.known == pytest.approx(0.80, abs=0.005)
    assert found.profiled == pytest.approx(3.30, abs=0.01)
    assert found.one_known["jes"] == pytest.approx(1.27, abs=0.005)
    assert found.one_known["tes"] == pytest.approx(1.37, abs=0.005)


@pytest.mark.parametrize("square", [False, True])
def test_derivatives_are_those_of_finite_differences(square: bool) -> None:
    rng = np.random.default_rng(1)
    model = response_model(rng.uniform(10, 100, (5, 4)), rng.normal(0, 0.01, (5, 4, 9)), square=square)
    x = np.array([1.3, 0.4, -0.7, 0.3, 0.2, -0.5, 0.8])
    r, d = model.expected(x[0], x[1:])
    for k in range(7):
        step = 1e-5 * np.eye(7)[k]
        (up, _), (down, _) = (model.expected(y[0], y[1:]) for y in (x + step, x - step))
        np.testing.assert_allclose(d[0, :, k], (up[0] - down[0]) / 2e-5, rtol=1e-6, atol=1e-6)
    scales = r[0]
    assert (scales > 0).all()


def test_the_grid_is_itself_at_its_points(model: Model) -> None:
    for key, templates in grid().items():
        tes, jes = (float(v) for v in key.strip("()").split(","))
        r, _ = model.expected(1.7, [(tes - 1) / 0.01, (jes - 1) / 0.01])
        np.testing.assert_allclose(r[0], 1.7 * np.array(templates["sig"]) + templates["bg"], rtol=1e-9)
    x = np.array([0.8, 0.37, -1.21])
    _, d = model.expected(x[0], x[1:])
    for k in range(3):
        step = 1e-5 * np.eye(3)[k]
        (up, _), (down, _) = (model.expected(y[0], y[1:]) for y in (x + step, x - step))
        np.testing.assert_allclose(d[0, :, k], (up[0] - down[0]) / 2e-5, rtol=1e-5, atol=1e-4)


def test_a_spline_that_would_be_negative_is_linear() -> None:
    axis = np.linspace(0.97, 1.03, 7)
    templates = np.full((7, 7, 2, 3), 50.0)
    templates[:, :, 1, 1] = np.where(np.arange(7) % 3 == 0, 40.0, 0.0)[:, None]  # a cubic spline swings below 0
    model = grid_model(axis, axis, templates)
    theta = np.random.default_rng(0).uniform(-3, 3, (500, 2))
    rates = model.expected(np.zeros(500), theta)[0]
    assert (rates >= -1e-12).all()
    assert rates[:, 1] == pytest.approx(np.interp(theta[:, 0], (axis - 1) / 0.01, templates[:, 0, 1, 1]))
    assert rates[:, 0] == pytest.approx(50.0)
    assert throw(model, np.ones(50), 1).fits.valid.any()


def test_fits_of_the_grid_are_those_of_minuit(model: Model) -> None:
    worlds = throw(model, [0.1, 1.0, 2.5], 5, ends=True)
    rng = np.random.default_rng([5, 0])
    theta = model.draw(rng, 3)
    counts = rng.poisson(model.expected(worlds.mu, theta)[0])
    np.testing.assert_array_equal(theta, worlds.theta)
    for n, hat, low, high, t, mu in zip(
        counts, worlds.fits.best, worlds.fits.low, worlds.fits.high, worlds.fits.statistic, worlds.mu, strict=True
    ):
        minuit = Minuit(functools.partial(twice_nll, model, n), np.array([1.0, 0.0, 0.0]), name=("mu", "tes", "jes"))
        minuit.strategy, minuit.tol = 2, 1e-5
        minuit.migrad()
        assert hat == pytest.approx(np.array(minuit.values), abs=2e-4)
        minuit.minos("mu")
        assert low == pytest.approx(max(0.0, minuit.values[0] + minuit.merrors["mu"].lower), abs=2e-4)
        assert high == pytest.approx(minuit.values[0] + minuit.merrors["mu"].upper, abs=2e-4)
        best = minuit.fval
        minuit.values[0], minuit.fixed[0] = mu, True
        assert t == pytest.approx(minuit.migrad().fval - best, abs=1e-3)


@pytest.mark.slow
def test_intervals_of_templates_in_the_ensemble(model: Model) -> None:
    calibration = template_calibration(model, 400, 1)
    ranged = RangeCalibration(0.1, 3.0, 0.66, 0.6827, 100, 2, "templates")
    found = ensemble(model, 2000, 9, calibration, ranged)
    assert found.failed == 0 and len(found.ways) == 5
    by_name = {way.name: way.score for way in found.ways}
    plain, clipped = by_name["profile likelihood"], by_name["profile likelihood, clipped"]
    assert plain.coverage == pytest.approx(0.6827, abs=0.035)
    # a fit at the wall: clipping only narrows, and the true mu is never outside
    assert clipped.width < plain.width and clipped.coverage == plain.coverage
    # the ends are where the statistic says that the true mu is covered, and the quantile of it is that coverage
    assert (found.statistic[0] < 1.0) == (plain.coverage > 0.6827)
    # with the true prior a flat-prior posterior of 68.27 % covers exactly, and more credibility covers more
    prior = by_name["flat prior on the range"]
    assert prior.coverage == pytest.approx(0.6827, abs=0.035) and prior.width < plain.width
    assert by_name["flat prior on the range, calibrated"].width < prior.width
    again = ensemble(model, 700, 9, calibration, workers=2)
    assert len(again.ways) == 2
    np.testing.assert_allclose(again.statistic, ensemble(model, 700, 9, calibration).statistic, rtol=0)
    for bad, says in ((1, "that of a calibration"), (2, "that of a calibration")):
        with pytest.raises(InputError, match=says):
            ensemble(model, 100, bad, calibration, ranged)
    with pytest.raises(InputError, match="50 or more"):
        ensemble(model, 10, 9, calibration)


def test_a_negative_fit_keeps_the_interval_at_zero(model: Model) -> None:
    counts = model.expected(-0.05)[0][0]
    found = measure(model, counts)
    assert found.mu_hat == pytest.approx(-0.05, abs=1e-6)
    assert found.low == 0.0 and found.at_bound and found.twice_nll is not None
    assert found.twice_nll.at(0.0) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.slow
def test_no_number_depends_on_workers(model: Model) -> None:
    mus = np.linspace(0.1, 3.0, 1100)
    one, two = throw(model, mus, 3), throw(model, mus, 3, workers=2)
    np.testing.assert_array_equal(one.fits.statistic, two.fits.statistic)
    np.testing.assert_array_equal(throw(model, mus[:500], 3).fits.best, one.fits.best[:500])


def test_coverage_near_the_asymptotic_one(model: Model) -> None:
    mus = np.random.default_rng(0).uniform(0.5, 3.0, 4000)
    worlds = throw(model, mus, 4, ends=True)
    covers = (worlds.fits.low <= mus) & (mus <= worlds.fits.high)
    assert worlds.fits.valid.all()
    assert covers.mean() == pytest.approx(0.6827, abs=0.03)
    assert (covers == (worlds.fits.statistic <= 1.0)).mean() > 0.999
    widths = np.mean(worlds.fits.high - worlds.fits.low)
    assert widths == pytest.approx(np.mean([2 * bound(model, mu).profiled for mu in np.linspace(0.5, 3, 6)]), rel=0.05)


def test_bounds_of_a_counting_experiment() -> None:
    yields, none = np.array([[10.0, 90.0, 0.0, 0.0]]), np.zeros((1, 4, 9))
    found = bound(response_model(yields, none), 1.0)
    assert found.known == pytest.approx(math.sqrt(100) / 10)
    assert found.profiled == pytest.approx(math.sqrt(100 + (0.001 * 90) ** 2) / 10)
    assert found.post_fit["tes"] == pytest.approx(1.0)
    gradient = np.column_stack([np.repeat([0.1, 0.0], 50), np.zeros(100)])
    assert unbinned_information(np.ones(100), gradient)[0, 0] == pytest.approx(0.5)
    assert kept(np.diag([1.0, 1.0]), np.diag([4.0, 1.0])) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda g: g.pop("(1, 1.03)"), "has a gap in its grid"),
        (lambda g: g.update({"(1, 1.03)": {"sig": [1.0], "bg": [1.0]}}), "expected equal numbers"),
        (lambda g: g.update({"(1, 1.03)": {"sig": [1.0]}}), "no lists 'sig' and 'bg'"),
        (lambda g: g.update({"(1, 1.03)": {"sig": [-1.0] * 30, "bg": [1.0] * 30}}), "negative"),
        (lambda g: g.update({"(1)": {"sig": [1.0], "bg": [1.0]}}), "expected '\\(tes, jes\\)'"),
        (lambda g: g.update({"(1.0, 1.03)": g["(1, 1.03)"]}), "more than once"),
        (lambda g: g.clear(), "no template grid"),
        (lambda g: [v["bg"].__setitem__(4, 0.0) or v["sig"].__setitem__(4, 0.0) for v in g.values()], "in bin 4"),
    ],
)
def test_bad_grids_are_told(change: object, says: str, tmp_path: Path) -> None:
    content = grid()
    change(content)  # type: ignore[operator]
    path = tmp_path / "grid.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=says):
        read_grid(path)


def test_bad_counts_are_told(model: Model) -> None:
    for counts, says in ((np.ones(3), "3 counts for 30 bins"), (-np.ones(30), "0 or more"), (["a"] * 30, "no numbers")):
        with pytest.raises(InputError, match=says):
            measure(model, counts)
    with pytest.raises(InputError, match="strengths"):
        model.expected([1.0, 2.0], [0.0, 0.0])
    assert fit_all(model, np.ones((2, 30)), ends=False).valid.all()


def simulated_model(m: float = 40.0) -> Model:
    """Five bins with signal and Z, of which each has m effective simulated events."""
    yields = np.zeros((5, 4))
    yields[:, 0], yields[:, 1] = [2, 4, 8, 12, 10], [400, 200, 80, 30, 10]
    response = np.zeros((5, 4, 9))
    response[:, 1, 0] = [0.01, 0.02, -0.01, 0.03, 0.0]
    return response_model(yields, response, simulated=np.full(5, m))


def test_factors_of_bins_are_profiled_as_iminuit_does() -> None:
    model = simulated_model()
    n, m = np.array([430.0, 180.0, 95.0, 35.0, 30.0]), 40.0
    r = model.expected(1.4, [0.5, 0, 0, 0, 0, 0])[0][0]

    def cost(g: np.ndarray) -> float:
        return float(2 * np.sum(g * r - n * np.log(g * r) + gammaln(n + 1) + m * (g - 1) - m * np.log(g)) + 0.25)

    minuit = Minuit(cost, np.ones(5))
    minuit.errordef, minuit.strategy, minuit.tol = 1.0, 2, 1e-4
    minuit.migrad()
    assert model.twice_nll(n, 1.4, [0.5, 0, 0, 0, 0, 0]) == pytest.approx(minuit.fval, abs=1e-5)
    full = Minuit(lambda x: model.twice_nll(n, x[0], x[1:]), np.array([1.0, *np.zeros(6)]))
    full.errordef, full.strategy, full.limits = (
        1.0,
        2,
        [(None, None), *zip(model.arrays.low, model.arrays.high, strict=True)],
    )
    full.tol = 1e-4
    full.migrad()
    found = fit_all(model, n, full.values[0])
    assert found.best[0, 0] == pytest.approx(full.values[0], abs=2e-3)
    assert found.statistic[0] == pytest.approx(0.0, abs=1e-4)
    empty = fit_all(model, np.array([[300.0, 150.0, 60.0, 20.0, 0.0], [0.0] * 5]), 0.0)  # mu as low as it can be
    assert empty.valid.all() and (empty.best[:, 0] < -0.9).all() and (empty.low == 0.0).all()


def test_the_error_of_the_simulation_widens_the_interval_and_covers() -> None:
    model, without = simulated_model(20.0), simulated_model(0.0)
    assert (without.simulated == 0).all()
    assert bound(model, 1.0).profiled > 1.2 * bound(without, 1.0).profiled
    mus = np.full(600, 2.0)
    covered = {}
    for name, fitted in (("with", model), ("without", without)):
        worlds = throw(fitted, mus, 5, truth=model, ends=True)
        covered[name] = float(np.mean((worlds.fits.low <= 2.0) & (worlds.fits.high >= 2.0)))
    assert covered["with"] == pytest.approx(0.68, abs=0.07) and covered["without"] < covered["with"] - 0.1
    with pytest.raises(InputError, match="simulated events for 5 bins"):
        response_model(np.ones((5, 4)), np.zeros((5, 4, 9)), simulated=np.ones(4))
