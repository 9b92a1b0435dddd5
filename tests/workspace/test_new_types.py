"""What bumpfit reads beyond pyhf: shared shapes, constraints of bins, widths, correlations; plain pyhf refuses them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest
from scipy.stats import multivariate_normal, norm, poisson

from bumpfit.errors import InputError, InputWarning
from bumpfit.inference import asimov, blind, fit, impacts
from bumpfit.toys.recognise import as_log_linear
from bumpfit.workspace import build, combine, prune, read, rename, write

DATA = {"SR": [58.0, 47.0], "CR": [101.0, 83.0]}
SIGNAL, BACKGROUND, CONTROL = [5.0, 9.0], [50.0, 40.0], [100.0, 80.0]


def workspace(*modifiers: Any, control: Any = (), settings: Any = None, correlations: Any = None) -> dict[str, Any]:
    spec = build.workspace(
        {
            "SR": [
                build.sample("signal", SIGNAL, build.modifier("normfactor", "mu")),
                build.sample("background", BACKGROUND, *modifiers),
            ],
            "CR": [build.sample("background", CONTROL, *control)],
        },
        DATA,
        "mu",
        settings,
    )
    if correlations:
        spec["measurements"][0]["config"]["correlations"] = correlations
    return spec


def refused_by_pyhf(spec: dict[str, Any]) -> bool:
    try:
        pyhf.Workspace(spec).model()
    except (pyhf.exceptions.InvalidSpecification, pyhf.exceptions.InvalidModel):
        return True
    return False


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pyhf's own use of jsonschema
def test_a_shape_shared_by_channels() -> None:
    """One gamma a bin for both channels, with one constraint: the likelihood written out."""
    one, other = build.modifier("shapesys", "u", [5.0, 8.0]), build.modifier("shapesys", "u", [10.0, 16.0])
    spec = workspace(one, control=[other])
    assert refused_by_pyhf(spec)
    model = read(spec)
    assert model.names == ("mu", "u[0]", "u[1]")
    gamma, tau = np.array([0.93, 1.08]), np.array([100.0, 25.0])
    rates = [0.6 * np.array(SIGNAL) + np.array(BACKGROUND) * gamma, np.array(CONTROL) * gamma]
    expected = sum(poisson.logpmf(DATA[c], r).sum() for c, r in zip(("SR", "CR"), rates, strict=True))
    expected += poisson.logpmf(tau, tau * gamma).sum()
    assert model.twice_nll({"mu": 0.6, "u[0]": 0.93, "u[1]": 1.08}) == pytest.approx(-2 * expected, rel=1e-12)
    with pytest.raises(InputError, match="other relative uncertainties"):
        read(workspace(one, control=[build.modifier("shapesys", "u", [10.0, 20.0])]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("constraint", ["gaussian", "poisson"])
def test_statistical_errors_with_a_constraint_and_a_threshold(constraint: str) -> None:
    settings = {"s": {"constraint": constraint, "threshold": 0.07}}
    spec = workspace(build.modifier("staterror", "s", [4.0, 2.0]), settings=settings)
    assert refused_by_pyhf(spec)
    model = read(spec)
    assert [p.name for p in model.parameters if not p.fixed] == ["mu", "s[0]"]
    gamma, tau = 0.9, (50 / 4) ** 2
    at = {"mu": 0.3, "s[0]": gamma}
    rate = 0.3 * np.array(SIGNAL) + np.array(BACKGROUND) * [gamma, 1.0]
    expected = poisson.logpmf(DATA["SR"], rate).sum() + poisson.logpmf(DATA["CR"], CONTROL).sum()
    if constraint == "gaussian":
        expected += norm.logpdf(1.0, gamma, 4 / 50) + norm.logpdf(0.0)  # a held bin keeps a unit width
    else:
        from scipy.special import gammaln

        expected += tau * np.log(tau * gamma) - tau * gamma - gammaln(tau + 1) - 1.0
    assert model.twice_nll(at) == pytest.approx(-2 * expected, rel=1e-10)
    with pytest.raises(InputError, match="threshold"):
        read(workspace(build.modifier("staterror", "s", [4.0, 2.0]), settings={"s": {"threshold": -1.0}}))
    with pytest.raises(InputError, match="one of gaussian, poisson, got 'gamma'"):
        read(workspace(build.modifier("staterror", "s", [4.0, 2.0]), settings={"s": {"constraint": "gamma"}}))
    with pytest.raises(InputError, match="'threshold' for parameter 'k', which has no such setting"):
        read(workspace(build.modifier("normsys", "k", (0.9, 1.1)), settings={"k": {"threshold": 0.1}}))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_constraints_of_chosen_width() -> None:
    spec = workspace(build.modifier("normsys", "k", (0.8, 1.3)), settings={"k": {"sigmas": [0.4]}})
    assert refused_by_pyhf(spec)
    model, plain = read(spec), read(workspace(build.modifier("normsys", "k", (0.8, 1.3))))
    for x in ({"mu": 1.0, "k": 0.3}, {"mu": 0.2, "k": -1.4}):
        difference = norm.logpdf(x["k"], 0.0, 0.4) - norm.logpdf(x["k"])
        assert model.twice_nll(x) - plain.twice_nll(x) == pytest.approx(-2 * difference, abs=1e-9)


RHO = [[1.0, 0.6, -0.2], [0.6, 1.0, 0.1], [-0.2, 0.1, 1.0]]


def correlated(**more: Any) -> dict[str, Any]:
    modifiers = [build.modifier("normsys", "k1", (0.9, 1.15)), build.modifier("normsys", "k2", (0.85, 1.1)),
                 build.modifier("histosys", "h", ([46.0, 42.0], [53.0, 37.0]))]  # fmt: skip
    settings = {"k2": {"sigmas": [0.5], "auxdata": [0.2]}}
    given = {"control": [build.modifier("normsys", "k1", (0.97, 1.04))], "settings": settings}
    return workspace(
        *modifiers, **given, correlations=[{"parameters": ["k1", "k2", "h"], "matrix": RHO}], **more
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_correlated_constraints_are_a_multivariate_gaussian() -> None:
    spec = correlated()
    assert refused_by_pyhf(spec)
    model, plain = read(spec), read({**spec, "measurements": [_without(spec)]})
    sigma = np.array([1.0, 0.5, 1.0])
    covariance = np.array(RHO) * sigma[:, None] * sigma
    rng = np.random.default_rng(2)
    for _ in range(4):
        values = {"mu": 0.4, **dict(zip(("k1", "k2", "h"), rng.normal(0, 0.7, 3).tolist(), strict=True))}
        x = np.array([values["k1"], values["k2"], values["h"]])
        together = multivariate_normal(np.array([0.0, 0.2, 0.0]), covariance).logpdf(x)
        alone = norm.logpdf(x, [0.0, 0.2, 0.0], sigma).sum()
        assert model.twice_nll(values) - plain.twice_nll(values) == pytest.approx(-2 * (together - alone), abs=1e-9)
        bend = model.hessian(values)
        step = 1e-5 * np.eye(model.inits.size)
        start = model.array(values)
        found = [(model.gradient(start + h) - model.gradient(start - h)) / 2e-5 for h in step]
        assert bend == pytest.approx(np.array(found), rel=1e-6, abs=1e-5)


def _without(spec: dict[str, Any]) -> dict[str, Any]:
    measurement = spec["measurements"][0]
    return {**measurement, "config": {k: v for k, v in measurement["config"].items() if k != "correlations"}}


def test_every_question_takes_formulas_and_correlations() -> None:
    formula = build.modifier("normformula", "f", "1 + 0.05 * t * k1")
    spec = correlated()
    spec["channels"][0]["samples"][1]["modifiers"].append(formula)
    spec["measurements"][0]["config"]["parameters"].append({"name": "t", "inits": [0.5], "bounds": [[0.0, 2.0]],
                                                            "sigmas": [0.3]})  # fmt: skip
    model = read(spec)
    assert as_log_linear(model, "mu", model.inits) is None
    best = fit(model)
    assert best.valid and best.covariance is not None
    expected = asimov(model, 1.0)
    again = fit(model, expected)
    assert again.values["mu"] == pytest.approx(1.0, abs=1e-4)
    assert blind(model, ["SR"]).shape == expected.shape
    assert {row.parameter for row in impacts(model).impacts} >= {"k1", "k2", "h", "t"}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"parameters": ["k1", "nope"], "matrix": [[1, 0], [0, 1]]}, "'nope', which is no parameter"),
        ({"parameters": ["k1", "mu"], "matrix": [[1, 0], [0, 1]]}, "'mu' has no Gaussian constraint"),
        ({"parameters": ["k1", "k1"], "matrix": [[1, 0], [0, 1]]}, "twice"),
        ({"parameters": ["k1", "k2"], "matrix": [[1, 0]]}, "2 rows and columns"),
        ({"parameters": ["k1", "k2"], "matrix": [[1, 0.3], [0.2, 1]]}, "symmetric"),
        ({"parameters": ["k1", "k2"], "matrix": [[1, 1.2], [1.2, 1]]}, "not positive definite"),
        ({"parameters": ["k1", "k2"], "rho": 0.3}, "'rho'"),
    ],
)
def test_correlations_that_are_none(entry: dict[str, Any], words: str) -> None:
    spec = correlated()
    spec["measurements"][0]["config"]["correlations"] = [entry]
    with pytest.raises(InputError, match=words):
        read(spec)


def test_correlations_travel(tmp_path: Path) -> None:
    spec = correlated()
    model = read(spec)
    write(model, tmp_path / "hs3.json", format="hs3")
    renamed = rename(spec, parameters={"k1": "zz"})
    extra = build.workspace({"X": [build.sample("s", [3.0], build.modifier("normfactor", "mu"))]}, {"X": [4.0]}, "mu")
    x = {"mu": 0.7, "k2": -0.3, "h": 0.8}
    for other, name in (
        (read(tmp_path / "hs3.json"), "k1"), (read(renamed), "zz"), (read(prune(combine([spec, extra]), ["X"])), "k1"),
    ):  # fmt: skip
        assert other.twice_nll({**x, name: 0.6}) == pytest.approx(model.twice_nll({**x, "k1": 0.6}), abs=1e-9)
    left = read(prune(spec, ["SR"]), poi="")
    assert left.names == ("k1",) and not left.correlated


def test_settings_without_a_parameter_are_told() -> None:
    with pytest.warns(InputWarning, match="sets Mu, which no modifier has"):
        model = read(workspace(build.modifier("normsys", "k", (0.9, 1.1)), settings={"Mu": {"inits": [1.0]}}))
    assert model.unused == ("Mu",)
