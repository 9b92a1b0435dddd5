"""Toys of models with formulas and correlated constraints: thrown with the covariance, fitted as single worlds are."""

import numpy as np
import pytest

from bumpfit.errors import InputError
from bumpfit.inference import fit
from bumpfit.toys import throw
from bumpfit.toys.histfactory import HistFactoryEngine
from bumpfit.toys.importance import tail_engine
from bumpfit.toys.recognise import as_log_linear
from bumpfit.toys.throw import values_at
from bumpfit.workspace import Model, build, read

CORRELATION = [[1.0, 0.7], [0.7, 1.0]]


def model(*, correlated: bool, formula: bool) -> Model:
    modifiers = [build.modifier("normsys", "k1", (0.9, 1.15)), build.modifier("normsys", "k2", (0.85, 1.1))]
    if formula:
        modifiers.append(build.modifier("normformula", "f", "1 + 0.1 * t * exp(-0.3 * k1)"))
    spec = build.workspace(
        {
            "SR": [
                build.sample("signal", [5.0, 9.0], build.modifier("normfactor", "mu")),
                build.sample("background", [50.0, 40.0], *modifiers),
            ],
            "CR": [build.sample("background", [100.0, 80.0], build.modifier("normsys", "k1", (0.97, 1.04)))],
        },
        {"SR": [58, 47], "CR": [101, 83]},
        "mu",
        {"mu": {"bounds": [[-8.0, 12.0]]}, "k2": {"sigmas": [0.5]}}
        | ({"t": {"inits": [0.5], "bounds": [[-4.0, 4.0]], "sigmas": [0.3]}} if formula else {}),
    )
    if correlated:
        spec["measurements"][0]["config"]["correlations"] = [{"parameters": ["k1", "k2"], "matrix": CORRELATION}]
    return read(spec)


def engine_of(found: Model) -> HistFactoryEngine:
    return HistFactoryEngine(found, "mu", values_at(found, "mu", 1.0, None), "tmu", 1.0, 1.0)


@pytest.mark.parametrize(("correlated", "formula"), [(True, False), (False, True), (True, True)])
def test_a_toy_is_fitted_as_a_single_world(correlated: bool, formula: bool) -> None:
    found = model(correlated=correlated, formula=formula)
    assert as_log_linear(found, "mu", found.inits) is None
    toys = throw(found, 40, statistic="tmu", mu=1.0, seed=5)
    data = engine_of(found).data(np.arange(40), 5)
    for i in range(0, 40, 8):
        free, held = fit(found, data[i]), fit(found, data[i], {"mu": 1.0})
        assert toys.statistic[i] == pytest.approx(held.twice_nll - free.twice_nll, abs=1e-5)


def test_auxiliary_measurements_fluctuate_with_the_covariance() -> None:
    found = model(correlated=True, formula=False)
    c = found.compiled
    data = engine_of(found).data(np.arange(4000), 3)[:, c.n_bins :]
    place = [int(np.flatnonzero(c.normal_parameter == found.index(name))[0]) for name in ("k1", "k2")]
    sigma = np.array([1.0, 0.5])
    expected = np.array(CORRELATION) * sigma[:, None] * sigma
    assert np.cov(data[:, c.normal_aux[place]].T) == pytest.approx(expected, abs=0.06)


def test_weighted_toys_refuse_correlated_constraints() -> None:
    with pytest.raises(InputError, match="throw plain toys"):
        tail_engine(engine_of(model(correlated=True, formula=False)), 3.0)
