"""Toys of HistFactory models: recognised as log-linear where they are, the same statistic as pyhf everywhere."""

import dataclasses
import json
import math
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pyhf
import pytest
from scipy import optimize, stats
from toy_models import dijet

from bumpfit import toys, workspace
from bumpfit.errors import InputError
from bumpfit.inference import discovery, interval
from bumpfit.toys.engine import GENERAL, NEWTON, LogLinearEngine
from bumpfit.toys.histfactory import HistFactoryEngine
from bumpfit.workspace import build


@pytest.fixture(scope="module")
def portable():
    """The dijet spectrum in plain HistFactory JSON, with data."""
    model = dijet(6000)
    counts = np.random.default_rng(2).poisson(model.rate + 1.0 * model.signal)
    return workspace.read(build.spectrum(counts, model.rate, model.basis, model.signal))


MIXED = {
    "channels": [
        {
            "name": "signal region",
            "samples": [
                {
                    "name": "signal",
                    "data": [2.0, 8.0, 3.0],
                    "modifiers": [
                        {"name": "mu", "type": "normfactor", "data": None},
                        {
                            "name": "jes",
                            "type": "histosys",
                            "data": {"hi_data": [2.3, 8.5, 2.9], "lo_data": [1.8, 7.4, 3.2]},
                        },
                    ],
                },
                {
                    "name": "background",
                    "data": [40.0, 25.0, 15.0],
                    "modifiers": [
                        {"name": "norm", "type": "normsys", "data": {"hi": 1.1, "lo": 0.92}},
                        {"name": "stat", "type": "shapesys", "data": [4.0, 3.0, 2.5]},
                    ],
                },
                {
                    "name": "other",
                    "data": [5.0, 6.0, 7.0],
                    "modifiers": [{"name": "mc", "type": "staterror", "data": [0.8, 0.9, 1.0]}],
                },
            ],
        },
        {
            "name": "control",
            "samples": [
                {
                    "name": "background",
                    "data": [200.0],
                    "modifiers": [{"name": "norm", "type": "normsys", "data": {"hi": 1.08, "lo": 0.93}}],
                }
            ],
        },
    ],
    "observations": [{"name": "signal region", "data": [47.0, 38.0, 24.0]}, {"name": "control", "data": [206.0]}],
    "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    "version": "1.0.0",
}


def test_a_whitened_spectrum_is_recognised_and_exact(portable) -> None:
    fast, slow = toys.engine(portable), toys.engine(portable, general=True)
    assert isinstance(fast, LogLinearEngine)
    assert isinstance(slow, HistFactoryEngine)
    np.testing.assert_allclose(fast.rates, slow.rates, rtol=1e-4)  # two minimisers of the same fit
    np.testing.assert_allclose(fast.general.rates, fast.rates, rtol=1e-12)
    counts, pulls = fast.draw(np.arange(60), seed=0)
    found, expected = fast.fit(counts, pulls), fast.general.fit(counts, pulls)
    assert (found.status == 0).all()
    np.testing.assert_allclose(found.statistic, expected.statistic, atol=3e-7)
    assert toys.throw(portable, 100).observed == pytest.approx(discovery(portable).q0, abs=1e-6)


def test_engines_travel_to_other_processes(portable) -> None:
    for engine in (toys.engine(portable), toys.engine(workspace.read(MIXED), statistic="qtilde", mu=1.0)):
        there = pickle.loads(pickle.dumps(engine))
        assert there.digest == engine.digest
        np.testing.assert_array_equal(there.run(5, 20, 1).statistic, engine.run(5, 20, 1).statistic)


def test_other_statistics_of_a_recognised_model(portable) -> None:
    for name in ("qtilde", "tmu"):
        fast = toys.engine(portable, statistic=name, mu=0.0, test=0.7)
        counts, pulls = fast.draw(np.arange(20), seed=0)
        np.testing.assert_allclose(
            fast.fit(counts, pulls).statistic, fast.general.fit(counts, pulls).statistic, atol=3e-7
        )


def test_toys_that_leave_the_exponential_range_are_fitted_as_general_models() -> None:
    """Few events and a narrow prior: background parameters reach the ends of their ranges."""
    model = dijet(60, parameters=3)
    counts = np.random.default_rng(0).poisson(model.rate)
    narrow = workspace.read(build.spectrum(counts, model.rate, model.basis, model.signal, prior_width=8.0))
    engine = toys.engine(narrow)
    assert isinstance(engine, LogLinearEngine)
    found = engine.run(0, 300, seed=1)
    assert (found.route == GENERAL).any()
    assert (found.status == 0).all()
    toy = np.flatnonzero(found.route == GENERAL)[:5]
    counts, pulls = engine.draw(toy, seed=1)
    np.testing.assert_allclose(engine.general.fit(counts, pulls).statistic, found.statistic[toy], atol=1e-12)


def test_a_model_with_other_modifiers_is_not_log_linear() -> None:
    assert isinstance(toys.engine(workspace.read(MIXED)), HistFactoryEngine)


def test_counting_experiments_are_recognised() -> None:
    spec = build.workspace(
        {"a": [build.sample("s", [3.0], build.modifier("normfactor", "mu", None)), build.sample("b", [5.0])]},
        {"a": [9.0]},
        "mu",
    )
    found = toys.throw(workspace.read(spec), 100_000)
    assert isinstance(toys.engine(workspace.read(spec)), LogLinearEngine)
    assert found.observed == pytest.approx(2 * (9 * math.log(9 / 5) - 4), abs=1e-6)
    p, error = found.p_value()
    assert p == pytest.approx(stats.poisson.sf(8, 5.0), abs=5 * error)


@pytest.mark.parametrize(
    ("name", "pyhf_name", "mu"), [("q0", "q0", 0.0), ("qtilde", "qmu_tilde", 1.3), ("ttilde", "tmu_tilde", 0.8)]
)
def test_statistics_agree_with_pyhf(name: str, pyhf_name: str, mu: float) -> None:
    engine = toys.engine(workspace.read(MIXED), statistic=name, mu=mu)
    data = engine.data(np.arange(12), seed=7)
    found = engine.fit_data(data)
    assert (found.status == 0).all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-4, strategy=1))
        model = pyhf.Workspace(MIXED).model()
        config = model.config
        test = getattr(pyhf.infer.test_statistics, pyhf_name)
        for toy, value in zip(data, found.statistic[:, 0], strict=True):
            expected = test(
                mu, toy.tolist(), model, config.suggested_init(), config.suggested_bounds(), config.suggested_fixed()
            )
            assert value == pytest.approx(float(expected), abs=2e-4)
        pyhf.set_backend("numpy")


def test_auxiliary_measurements_fluctuate_around_the_fit() -> None:
    model = workspace.read(MIXED)
    engine = toys.engine(model)
    data = engine.data(np.arange(4000), seed=1)
    expected = model.asimov(engine.values)
    spread = data.std(axis=0)
    assert (spread > 0)[model.compiled.n_bins :].all()
    assert np.abs((data.mean(axis=0) - expected) / (spread / math.sqrt(4000))).max() < 5
    sigma = model.compiled.normal_sigma
    np.testing.assert_allclose(spread[model.compiled.n_bins + model.compiled.normal_aux], sigma, rtol=0.06)


def test_splits_and_workers_of_general_models() -> None:
    model = workspace.read(MIXED)
    whole = toys.throw(model, 64, statistic="qtilde", mu=1.0, seed=3)
    assert (whole.status == 0).all()
    rest = toys.throw(model, 34, statistic="qtilde", mu=1.0, seed=3, first=30, workers=2)
    np.testing.assert_array_equal(whole.statistic[30:], rest.statistic)


def one_channel(background: list, signal: list, data: list, modifiers: list, low: float = 0.0) -> workspace.Model:
    """Background with modifiers and mu times a signal, which may be negative."""
    samples = [
        {"name": "background", "data": background, "modifiers": modifiers},
        {"name": "signal", "data": signal, "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
    ]
    config = {"poi": "mu", "parameters": [{"name": "mu", "bounds": [[low, 50.0]], "inits": [1.0]}]}
    return workspace.read(
        {
            "channels": [{"name": "c", "samples": samples}],
            "observations": [{"name": "c", "data": data}],
            "measurements": [{"name": "m", "config": config}],
            "version": "1.0.0",
        },
        allow_negative=True,
    )


def test_signals_that_are_negative_somewhere() -> None:
    """Interference: a known background and one parameter, so the statistic is a minimum along a line."""
    model = one_channel([20.0, 30.0, 25.0], [2.0, -1.0, 0.5], [24.0, 26.0, 27.0], [])
    found = toys.throw(model, 200, statistic="q0")
    assert found.valid.all()
    data = toys.engine(model).data(np.arange(200), 0)
    for row, q0 in zip([*data[:20], [24.0, 26.0, 27.0]], [*found.statistic[:20], found.observed], strict=True):

        def cost(mu, row=row):
            rate = np.array([20 + 2 * mu, 30 - mu, 25 + 0.5 * mu])
            return 2 * np.sum(rate - row * np.log(rate))

        low = optimize.minimize_scalar(cost, bounds=(0, 29.9), method="bounded", options={"xatol": 1e-9})
        assert q0 == pytest.approx(max(cost(0) - low.fun, 0.0), abs=1e-6)
    p, error = found.p_value(4.0)
    assert abs(p - stats.norm.sf(2.0)) < 5 * error


@pytest.mark.slow
def test_systematics_that_reach_negative_yields_end() -> None:
    """The likelihood has kinks and walls there; every toy ends, and those with a status of 0 are at a minimum."""
    model = one_channel(
        [5.0, 8.0],
        [1.0, 1.0],
        [9.0, 3.0],
        [{"name": "h", "type": "histosys", "data": {"hi_data": [12.0, 0.0], "lo_data": [-1.0, 16.0]}}],
    )
    found = toys.throw(model, 100, statistic="tmu", mu=1.0)
    assert found.valid.mean() > 0.9
    engine = toys.engine(model, statistic="tmu", mu=1.0)
    data = engine.data(np.arange(100), 0)
    poi = model.index("mu")
    for i in np.flatnonzero(found.valid)[:20]:
        low = []
        for fixed in (False, True):
            best = math.inf
            for shift in (-0.7, 0.0, 0.7):

                def cost(x, fixed=fixed, row=data[i]):
                    values = np.empty(2)
                    values[poi], values[1 - poi] = (1.0, x[0]) if fixed else (x[1], x[0])
                    if not 0 <= values[poi] <= 50:
                        return 1e9
                    return min(model.twice_nll(values, row), 1e9)

                start = [shift] if fixed else [shift, max(found.strength[i], 0.1)]
                best = min(best, optimize.minimize(cost, start, method="Nelder-Mead", tol=1e-9).fun)
            low.append(best)
        assert found.statistic[i] == pytest.approx(low[1] - low[0], abs=1e-4)


@pytest.mark.slow
def test_events_where_the_hypothesis_expects_none_exclude_it() -> None:
    """A bin without background: any event there is a discovery, and P(none) = exp(-signal)."""
    model = one_channel([0.0, 5.0], [1.0, 1.0], [0.0, 7.0], [])
    found = toys.throw(model, 4000, mu=2.0, test=0.0)
    assert found.valid.all()
    certain = np.isinf(found.statistic)
    assert certain.mean() == pytest.approx(1 - math.exp(-2.0), abs=0.03)
    data = toys.engine(model, mu=2.0, test=0.0).data(np.arange(4000), 0)
    assert (data[:, 0] > 0).tolist() == certain.tolist()
    assert (found.route == NEWTON).all()  # none needs the careful way
    # the best strength of n and m events is that where n / mu + m / (5 + mu) = 2
    n, m = data[certain, 0], data[certain, 1]
    half = (n + m - 10) / 4
    np.testing.assert_allclose(found.strength[certain], half + np.sqrt(half**2 + 2.5 * n), rtol=1e-4)
    bands = toys.sensitivity(model, [2.0], 4000)
    assert bands.significance[0][3] == math.inf
    assert bands.power[0] >= certain.mean()
    assert toys.throw(model, 1000).p_value()[0] == 1.0  # the data have none
    assert toys.tail(model, 2000).p_value()[0] <= 1.0


def test_intervals_end_where_strengths_do() -> None:
    """Events of 3 expected: strengths below -3 are no hypothesis, those above 50 are not in the model."""
    few = interval(one_channel([3.0], [1.0], [0.0], [], low=-10.0), level=0.9, law=toys.Toys(500))
    assert few.low == pytest.approx(-3.0, abs=1e-3) and not few.low_at_bound
    many = interval(one_channel([3.0], [1.0], [50.0], []), level=0.9, law=toys.Toys(500))
    assert many.high == 50.0 and many.high_at_bound


def test_bad_models() -> None:
    with pytest.raises(InputError, match="no parameter of interest"):
        toys.throw(
            workspace.read({**MIXED, "measurements": [{"name": "m", "config": {"poi": "", "parameters": []}}]}), 10
        )
    with pytest.raises(InputError, match="no parameter 'nu'"):
        toys.throw(workspace.read(MIXED), 10, parameter="nu")
    held = [{"name": "m", "config": {"poi": "mu", "parameters": [{"name": "mu", "fixed": True}]}}]
    with pytest.raises(InputError, match="held fixed"):
        toys.throw(workspace.read({**MIXED, "measurements": held}), 10)
    with pytest.raises(InputError, match="expected a model"):
        toys.throw("workspace.json", 10)


@pytest.mark.parametrize("spectrum", [True, False])
def test_given_data_are_the_observed_data(portable, spectrum: bool) -> None:
    """A blinded or Asimov question must not look at the model's own data, in counts or in auxiliary measurements."""
    model = portable if spectrum else workspace.read(MIXED)
    rng = np.random.default_rng(4)
    for k in range(4):
        point = model.asimov({model.poi: 0.4 * k})
        data = np.concatenate([rng.poisson(point[: model.compiled.n_bins]), point[model.compiled.n_bins :]])
        if k > 1:
            data[model.compiled.n_bins + model.compiled.normal_aux] += rng.normal(0, model.compiled.normal_sigma)
        for general in (False, True):
            seen = toys.engine(model, data=data, general=general)
            assert seen.observed() == pytest.approx(discovery(model, data).q0, abs=2e-6)
            np.testing.assert_allclose(seen.observed(), seen.fit_data(seen.observed_data()).statistic[0, 0])


HASHES = """
import json, sys
from bumpfit import toys, workspace
from bumpfit.toys.importance import tail_engine
from bumpfit.toys.scan import scan_engine
model = workspace.read(json.load(sys.stdin))
found = toys.engine(model)
print(found.digest, tail_engine(found).digest, scan_engine([model, model], 1.0).digest)
"""


@pytest.mark.slow
def test_processors_agree_on_the_name_of_a_model() -> None:
    """Shards of one run come from machines whose libraries take other instructions, and differ in the last digits."""
    steep = {"name": "steep", "type": "normsys", "data": {"hi": 1.17, "lo": 0.91}}
    spec = json.loads(json.dumps(MIXED))
    for sample in spec["channels"][0]["samples"]:
        sample["modifiers"].append(steep)
    found = set()
    for other in ({}, {"OPENBLAS_CORETYPE": "Prescott"}, {"NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3 AVX512_ICL AVX2"}):
        process = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", HASHES], env={**os.environ, **other}, input=json.dumps(spec),
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.add(process.stdout)
    assert len(found) == 1


def test_the_name_of_a_model_knows_its_data_but_not_the_last_digits_of_their_fit() -> None:
    model = workspace.read(MIXED)
    found = toys.engine(model)
    assert isinstance(found, HistFactoryEngine)
    nearly = dataclasses.replace(found, values=found.values * (1 + 1e-13))
    assert nearly.digest == found.digest
    assert found.observed_data() is not None
    assert toys.engine(model, data=found.observed_data()[0] + 1).digest != found.digest
    given = dict(zip(model.names, found.values.tolist(), strict=True))
    moved = given | {"norm": given["norm"] + 0.1}
    assert toys.engine(model, values=given).digest != toys.engine(model, values=moved).digest
