"""Discovery of several strengths against closed forms, the question of one, a search by scipy and toys."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from bumpfit import inference
from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.chi_bar import ChiBar, log_tail
from bumpfit.toys import Toys
from bumpfit.workspace import build, read
from bumpfit.workspace.model import Model

SIGNALS = {"A": (10.0, 50.0, 62), "B": (8.0, 30.0, 41), "C": (6.0, 40.0, 45)}
"""Signal, background and events of independent channels."""
FIRST, SECOND, BACKGROUND = np.array([20.0, 10.0, 3.0]), np.array([4.0, 12.0, 15.0]), np.array([100.0, 90.0, 80.0])


def counting(names: str = "AB", **observed: int) -> Model:
    channels = {
        c: [
            build.sample("signal", [SIGNALS[c][0]], build.modifier("normfactor", f"mu_{c}")),
            build.sample("background", [SIGNALS[c][1]]),
        ]
        for c in names
    }
    bounds = {f"mu_{c}": {"bounds": [[-3, 30]]} for c in names}
    return read(
        build.workspace(channels, {c: [observed.get(c, SIGNALS[c][2])] for c in names}, f"mu_{names[0]}", bounds)
    )


def overlapping(counts: tuple[int, ...] = (118, 101, 96), second: np.ndarray = SECOND) -> Model:
    samples = [
        build.sample("first", list(FIRST), build.modifier("normfactor", "mu_1")),
        build.sample("second", list(second), build.modifier("normfactor", "mu_2")),
        build.sample("background", list(BACKGROUND)),
    ]
    return read(build.workspace({"SR": samples}, {"SR": list(counts)}, "mu_1"))


def deviance(n: np.ndarray, rate: np.ndarray) -> float:
    return float(2 * np.sum(rate - n + n * np.log(n / rate)))


def q0_of(channel: str, n: int) -> float:
    _, b, _ = SIGNALS[channel]
    return 0.0 if n <= b else 2 * (n * math.log(n / b) - n + b)


@pytest.mark.parametrize("n", [62, 41])
@pytest.mark.parametrize("toys", [None, 500])
def test_one_strength_is_the_question_of_discovery(n: int, toys: int | None) -> None:
    model = counting("AB", A=n)
    law = inference.Asymptotic() if toys is None else Toys(toys, seed=3)
    one = inference.discovery(model, parameter="mu_A", law=law)
    for found in (inference.joint_discovery(model, law=law), inference.joint_discovery(model, ["mu_A"], law=law)):
        assert (found.q0, found.p, found.z, found.p_error) == (one.q0, one.p, one.z, one.p_error)
        assert found.strengths == {"mu_A": one.mu} and found.errors == {"mu_A": one.mu_error}
        assert (found.method, found.notes, found.at_bounds) == (one.method, one.notes, one.at_bounds)


@pytest.mark.parametrize(("a", "b"), [(62, 41), (44, 41), (62, 22), (90, 70)])
def test_independent_channels_are_those_of_the_closed_form(a: int, b: int) -> None:
    found = inference.joint_discovery(counting(A=a, B=b), ["mu_A", "mu_B"])
    q0 = q0_of("A", a) + q0_of("B", b)
    assert found.q0 == pytest.approx(q0, abs=1e-6)
    assert found.weights == pytest.approx((0.25, 0.5, 0.25), abs=1e-9)
    p = 0.5 * stats.chi2.sf(q0, 1) + 0.25 * stats.chi2.sf(q0, 2)
    assert found.p == pytest.approx(p, rel=1e-5) and found.z == pytest.approx(stats.norm.isf(p), abs=1e-5)
    assert found.p_error is None and found.weight_errors is None and found.at_bounds == () and found.notes == ()
    for name, n in (("A", a), ("B", b)):
        s, background, _ = SIGNALS[name]
        assert found.strengths[f"mu_{name}"] == pytest.approx(max((n - background) / s, 0.0), abs=1e-5)
        if n > background:
            assert found.errors[f"mu_{name}"] == pytest.approx(math.sqrt(n) / s, rel=1e-4)


def test_no_excess_has_the_p_of_the_shares_above_zero() -> None:
    found = inference.joint_discovery(counting(A=40, B=20), ["mu_A", "mu_B"])
    assert found.q0 == pytest.approx(0.0, abs=1e-9) and found.p == pytest.approx(0.75, abs=1e-4)


def test_three_channels_have_binomial_shares() -> None:
    found = inference.joint_discovery(counting("ABC"), ["mu_A", "mu_B", "mu_C"])
    exact = np.array([1, 3, 3, 1]) / 8
    assert found.weights is not None and found.weight_errors is not None and found.p_error is not None
    assert np.all(np.abs(np.array(found.weights) - exact) < 4 * np.array(found.weight_errors))
    p = sum(w * stats.chi2.sf(found.q0, j) for j, w in enumerate(exact) if j)
    assert abs(found.p - p) < 4 * found.p_error < 0.02 * p


def test_shares_of_three_correlated_strengths() -> None:
    covariance = np.array([[1, 0.6, -0.3], [0.6, 2, 0.2], [-0.3, 0.2, 0.5]])
    law = ChiBar(np.linalg.inv(covariance))
    scale = np.sqrt(np.diag(covariance))
    angles = np.arcsin((covariance / scale[:, None] / scale)[np.triu_indices(3, 1)])
    most = 1 / 8 + angles.sum() / (4 * math.pi)  # all three above zero (Sheppard)
    assert law.weight_errors is not None
    assert abs(law.weights[3] - most) < 4 * law.weight_errors[3]
    assert abs(law.weights[1] - (0.5 - most)) < 4 * law.weight_errors[1]


def test_tails_of_chi2() -> None:
    for freedom in range(1, 8):
        for value in (0.0, 0.3, 5.0, 80.0):
            assert log_tail(freedom, value) == pytest.approx(stats.chi2.logsf(value, freedom), rel=1e-10, abs=1e-14)
    assert ChiBar(np.eye(2)).tail(4000.0).log_p == pytest.approx(-2000 + math.log(0.25), rel=1e-4)


@pytest.mark.parametrize("counts", [(118, 101, 96), (118, 95, 79), (95, 99, 110), (90, 85, 70)])
def test_overlapping_signals_are_those_of_a_search(counts: tuple[int, ...]) -> None:
    found = inference.joint_discovery(overlapping(counts), ["mu_1", "mu_2"])
    n = np.array(counts, dtype=float)
    lowest = min(
        optimize.minimize(
            lambda mu: deviance(n, mu[0] * FIRST + mu[1] * SECOND + BACKGROUND), begin, bounds=[(0, 10)] * 2,
            method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-9},
        ).fun
        for begin in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
    )  # fmt: skip
    assert found.q0 == pytest.approx(deviance(n, BACKGROUND) - lowest, abs=1e-6)
    jacobian = np.array([FIRST, SECOND])
    covariance = np.linalg.inv(jacobian / BACKGROUND @ jacobian.T)
    rho = covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])
    assert found.weights is not None and rho < -0.3
    assert found.weights[0] == pytest.approx(math.acos(rho) / (2 * math.pi), rel=1e-6)
    # normal estimates above zero together: the share of chi2(2)
    both = stats.multivariate_normal([0, 0], covariance).cdf([0, 0])
    assert found.weights[2] == pytest.approx(both, abs=1e-5)


def test_shares_with_a_background_that_is_fitted() -> None:
    samples = [
        build.sample("first", list(FIRST), build.modifier("normfactor", "mu_1")),
        build.sample("second", list(SECOND), build.modifier("normfactor", "mu_2")),
        build.sample("background", list(BACKGROUND), build.modifier("normsys", "xs", (0.9, 1.1))),
    ]
    counts = [118, 101, 96]
    found = inference.joint_discovery(read(build.workspace({"SR": samples}, {"SR": counts}, "mu_1")), ["mu_1", "mu_2"])
    log = math.log(1.1)  # of a symmetric normsys to a percent: the fit without signal gives its place
    theta = optimize.minimize_scalar(
        lambda t: deviance(np.array(counts, dtype=float), BACKGROUND * math.exp(log * t)) + t**2
    ).x
    rate = BACKGROUND * math.exp(log * theta)
    jacobian = np.array([FIRST, SECOND, log * rate])
    covariance = np.linalg.inv(jacobian / rate @ jacobian.T + np.diag([0, 0, 1.0]))
    rho = covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1])
    assert found.weights is not None
    assert found.weights[0] == pytest.approx(math.acos(rho) / (2 * math.pi), abs=0.003)
    held = inference.joint_discovery(overlapping(), ["mu_1", "mu_2"]).weights
    assert held is not None and abs(found.weights[0] - held[0]) > 0.02


def test_toys_of_overlapping_signals_agree_with_the_formula() -> None:
    model = overlapping((111, 98, 90))
    formula = inference.joint_discovery(model, ["mu_1", "mu_2"])
    toys = inference.joint_discovery(model, ["mu_1", "mu_2"], law=Toys(800, seed=1))
    assert toys.q0 == formula.q0 and toys.toys == 800 and toys.weights is None and toys.method == "toys"
    assert toys.p_error is not None and abs(toys.p - formula.p) < 3 * toys.p_error
    assert 0.03 < formula.p < 0.2


def test_wrong_questions_are_one_sentence() -> None:
    model, both = counting(), ["mu_A", "mu_B"]
    with pytest.raises(InputError, match="no parameter 'nu'"):
        inference.joint_discovery(model, ["mu_A", "nu"])
    with pytest.raises(InputError, match="'mu_A' is named twice"):
        inference.joint_discovery(model, ["mu_A", "mu_B", "mu_A"])
    with pytest.raises(InputError, match="'mu_B' is held fixed"):
        inference.joint_discovery(model, both, fixed={"mu_B": 1.0})
    with pytest.raises(InputError, match="ends at 0, with nothing above zero"):
        inference.joint_discovery(model, both, ranges={"mu_B": (-3, 0)})
    with pytest.raises(InputError, match="no strength is named"):
        inference.joint_discovery(model, [])
    with pytest.raises(BumpfitError, match="do not tell mu_1, mu_2 apart"):
        inference.joint_discovery(overlapping(second=2 * FIRST), ["mu_1", "mu_2"])


def test_ranges_begin_at_zero() -> None:
    model, both = counting(), ["mu_A", "mu_B"]
    assert inference.joint_discovery(model, both, ranges={"mu_A": (0.5, 20)}).q0 == pytest.approx(
        inference.joint_discovery(model, both).q0, abs=1e-7
    )


def test_few_events_are_said_of_each_strength() -> None:
    few = build.workspace(
        {
            c: [build.sample("s", [2.0], build.modifier("normfactor", f"mu_{c}")), build.sample("b", [3.0])]
            for c in "AB"
        },
        {"A": [6], "B": [4]},
        "mu_A",
    )
    found = inference.joint_discovery(read(few), ["mu_A", "mu_B"])
    assert len(found.notes) == 2 and all("--toys 10000" in note for note in found.notes)
