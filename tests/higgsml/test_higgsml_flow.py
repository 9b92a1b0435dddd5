"""Contrastive flows, and the method `flow` on a small sample."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from higgs_events import table
from scipy.stats import norm

from bumpfit import higgsml
from bumpfit.errors import InputError
from bumpfit.higgsml import method
from bumpfit.higgsml.benchmark import Plan, benchmark
from bumpfit.higgsml.bias import biased
from bumpfit.higgsml.columns import matrix
from bumpfit.higgsml.flows import COORDINATES, FLOOR, Flow, coordinates, jets, plain, train_flow
from bumpfit.higgsml.measurement import Measurement
from bumpfit.higgsml.method_flow import LINE_POINTS, RANGE, FlowMethod, bias_line, published
from bumpfit.higgsml.network import Scaling
from bumpfit.higgsml.network_training import Training, one_thread
from bumpfit.higgsml.split import parts

torch = pytest.importorskip("torch")
zuko = pytest.importorskip("zuko")

SMALL = {
    "transforms": 1, "flow_hidden": (16,), "hidden": (24,), "epochs": 3, "mixtures": 1, "fine": 6, "bins": 12,
    "draws": 2,
}  # fmt: skip


def strong() -> pd.DataFrame:
    """16 000 simulated events for as many expected ones, a tenth of them signal."""
    events = table(16000, 1)
    wanted = {"htautau": 1500.0, "ztautau": 9000.0, "ttbar": 4500.0, "diboson": 1000.0}
    sums = events.groupby("detailed_labels")["weights"].sum()
    factor = events["detailed_labels"].map({name: value / sums[name] for name, value in wanted.items()})
    return events.assign(weights=(events["weights"] * factor).astype(np.float32))


def test_the_arrays_are_zukos_flow() -> None:
    x = np.random.default_rng(0).normal(size=(500, 5)).astype(np.float32)
    with one_thread(3):
        flow = zuko.flows.MAF(5, transforms=3, hidden_features=(16, 16))
        for parameter in flow.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        with torch.no_grad():
            want = flow().log_prob(torch.from_numpy(x)).numpy()
    own = Flow(Scaling(np.zeros(5, np.float32), np.ones(5, np.float32)), plain(flow))
    np.testing.assert_allclose(own(x), want, rtol=1e-3, atol=1e-3)
    again = Flow.from_arrays(own.arrays("f"), "f", 5)
    np.testing.assert_array_equal(again(x), own(x))
    for name, bad in (("f_scaling", np.zeros((2, 5))), ("f_0_1", np.ones((3, 3)))):
        with pytest.raises(ValueError, match="the flow 'f'"):
            Flow.from_arrays({**own.arrays("f"), name: bad}, "f", 5)


def test_a_flow_without_contrast_is_the_density_of_the_signal() -> None:
    """A correlated normal law, which one affine transform can be; with contrast background is less probable."""
    rng = np.random.default_rng(1)
    n = 6000
    signal = np.arange(n) % 2 == 0
    x = rng.normal(size=(n, 2))
    x[:, 1] = np.where(signal, 0.8 * x[:, 0] + 0.6 * x[:, 1], x[:, 1] - 1.0)
    w = np.where(signal, 0.1, 10.0)
    how = Training((16,), 1e-2, 0.0, 15, 256, 15)
    found = {}
    for c in (0.0, 0.5):
        flow, losses = train_flow(x.astype(np.float32), signal, w, np.arange(n) % 5 == 0, c, 2, how, 0)
        found[c] = flow(x.astype(np.float32)) - np.log(np.prod(flow.scaling.spread))
        assert losses[-1] < losses[0]
    truth = norm.logpdf(x[:, 0]) + norm.logpdf(x[:, 1], 0.8 * x[:, 0], 0.6)
    assert np.mean(truth[signal] - found[0.0][signal]) < 0.05  # the Kullback-Leibler divergence
    assert found[0.5][~signal].mean() < found[0.0][~signal].mean() - 0.2
    assert found[0.5].min() > -1e3 and 0.5 * math.log(2 * math.pi * math.e) < FLOOR


def test_coordinates_know_no_rotation_and_no_reflection() -> None:
    x = biased(matrix(table(300, 5))).features
    turned = x.copy()
    for row in (2, 5, 8, 11, 15):
        turned[row] = np.where(x[row] == -25, -25, -((x[row] + 1.0 + np.pi) % (2 * np.pi) - np.pi))
    for row in (1, 4, 7, 10):
        turned[row] = np.where(x[row] == -25, -25, -x[row])
    number = jets(x)
    assert set(number) == {0, 1, 2}
    for category, size in enumerate(COORDINATES, 1):
        rows = number >= category
        one, other = (coordinates(a[:, rows], category) for a in (x, turned))
        assert one.shape[1] == size and np.isfinite(one).all()
        near = np.abs(np.abs(one) - np.pi) > 1e-3  # an angle of pi may turn to - pi
        np.testing.assert_allclose(np.where(near, other, one), one, atol=2e-5)


@pytest.fixture(scope="module")
def fitted() -> FlowMethod:
    return FlowMethod(**SMALL).fit(strong(), 3)


def test_the_strength_is_found_and_kept_in_the_file(fitted: FlowMethod, tmp_path: Path) -> None:
    _, templates = parts(strong())
    found = [fitted.predict(higgsml.experiment(templates, 2.0, {}, seed).table) for seed in range(5)]
    assert all(one.valid and one.low < one.mu_hat < one.high for one in found)
    assert abs(np.mean([(one.mu_hat - 2.0) / one.diagnostics["sigma"] for one in found])) < 1.5
    path = tmp_path / "m.zip"
    method.save(fitted, path)
    events = higgsml.experiment(templates, 2.0, {}, 4).table
    again = method.load(path).predict(events)
    assert dataclasses.replace(again, seconds=0.0).to_dict() == dataclasses.replace(found[4], seconds=0.0).to_dict()
    theirs = FlowMethod(**SMALL, as_published=True)
    theirs.restore(fitted.state())
    answer = theirs.predict(events)
    assert answer.interval_kind.startswith("as published") and RANGE[0] <= answer.low < answer.high <= RANGE[1]


def test_as_published_it_is_compared_with_others(fitted: FlowMethod, tmp_path: Path) -> None:
    theirs = FlowMethod(**SMALL, as_published=True)
    theirs.restore(fitted.state())
    method.save(fitted, tmp_path / "profiled.zip")
    method.save(theirs, tmp_path / "published.zip")
    strong().to_parquet(tmp_path / "events.parquet")
    files = tuple(str(tmp_path / f"{name}.zip") for name in ("profiled", "published"))
    plan = Plan(str(tmp_path / "events.parquet"), files, settings=higgsml.Settings((1.0, 2.0), 2))
    for points in (0, 2):
        found = benchmark(dataclasses.replace(plan, points=points), tmp_path / f"b{points}")
        one, two = found.methods
        assert one.failed == two.failed == 0
        assert one.oracle is not None and two.oracle is None
        lines = [json.loads(line) for line in (tmp_path / f"b{points}/experiments.jsonl").read_text().splitlines()]
        assert all(line["methods"]["published"]["interval_kind"].startswith("as published") for line in lines)


def test_the_same_seed_gives_the_same_score(fitted: FlowMethod) -> None:
    learn, _ = parts(strong())
    for name, array in fitted._learn(learn, 3).arrays().items():
        np.testing.assert_array_equal(array, fitted.state().arrays[name])


def test_the_line_of_the_bias_and_the_flat_prior(fitted: FlowMethod) -> None:
    assert fitted.model is not None
    line = bias_line(fitted.model, 1)
    assert line["line_slope"] == pytest.approx(1.0, abs=0.1) and len(line["line_spread"]) == LINE_POINTS
    exact = {"line_offset": 0.1, "line_slope": 0.9, "line_spread": [0.2] * LINE_POINTS}
    raw = Measurement(1.45, 0.0, 0.0, "", {}, None, True, False, 0.0)
    answer = published(raw, exact)
    z = norm.ppf(0.5 + 0.6827 / 2)
    assert (answer.low, answer.high) == pytest.approx((1.5 - z * 0.2 / 0.9, 1.5 + z * 0.2 / 0.9), abs=2e-3)


def test_bad_input_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="training_rate must be positive"):
        FlowMethod(training_rate=0.0)
    with pytest.raises(InputError, match="transforms, layers"):
        FlowMethod(transforms=0)
    with pytest.raises(InputError, match="take more"):
        FlowMethod(**SMALL).fit(table(400, 1))
    with pytest.raises(InputError, match="no setting 'trees'"):
        method.method("flow", trees=3)
