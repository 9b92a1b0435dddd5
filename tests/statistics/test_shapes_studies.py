"""Statistical properties of the shape studies over seeded toys; with -s they print the tables of the documentation."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bumpfit import histograms, shapes
from study_size import FULL

pytestmark = pytest.mark.statistics

ORDERS = (2, 3, 4, 5)
EDGES = histograms.mass_edges(2900.0, 7500.0)
TRUTHS = {2: [1.0, 6.0], 3: [1.0, 11.0, 1.0], 4: [1.0, 4.6, 10.3, 2.75]}
SIGNAL = shapes.tie(shapes.gaussian(), sigma=(0.0, 0.03))
MASSES = np.arange(3200.0, 6300.0, 300.0)


def shared_data() -> Path:
    """Folder of the development data; the test is skipped where there is none."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("BUMPFIT_SHARED_DATA", default))
    if not (folder / "dijet" / "full_null" / "data.parquet").exists():
        pytest.skip("development data not found: set BUMPFIT_SHARED_DATA")
    return folder


def expected(order: int, total: float) -> np.ndarray:
    content = shapes.dijet(order).integrate(EDGES, TRUTHS[order])
    return total * content / content.sum()


@pytest.mark.parametrize("order", [2, 3, 4])
def test_f_test_overshoots_at_its_nominal_rate(order: int) -> None:
    """On toys of a known order the next one is taken in 5 % (threshold) of them, and a lower one almost never."""
    toys = 4000 if FULL else 1000
    mean = expected(order, 200_000.0)
    bins = histograms.from_counts(EDGES, mean).merge_until(5).edges
    starts = np.searchsorted(EDGES, bins[:-1])
    counts = np.random.default_rng(100 + order).poisson(np.add.reduceat(mean, starts), (toys, bins.size - 1))
    fits = [shapes.fit_many(shapes.dijet(k), bins, counts) for k in ORDERS]
    good = np.all([fit.converged for fit in fits], axis=0)
    chi2 = np.stack([fit.deviance for fit in fits], axis=1)[good]
    chosen = np.array(ORDERS)[shapes.choose_order(chi2, ORDERS, bins.size - 1)]
    p = shapes.f_test(chi2[:, order - 2], bins.size - 1 - order, chi2[:, order - 1], bins.size - 2 - order)[1]
    shares = {k: round(float((chosen == k).mean()), 4) for k in ORDERS}
    print(
        f"\n| {order} | {toys} | {1 - good.mean():.4f} | {shares} | {(p < 0.05).mean():.4f} | {(p < 0.01).mean():.4f} |"
    )
    assert good.mean() > 0.995
    for threshold in (0.05, 0.01):
        error = np.sqrt(threshold * (1 - threshold) / good.sum())
        assert (p < threshold).mean() == pytest.approx(threshold, abs=4 * error)
    assert (chosen < order).mean() < 0.01


def test_order_by_f_test_on_single_spectra() -> None:
    """The whole function, data-driven merging included: 4 of 4 parameters in about 95 % of the toys."""
    toys = 200 if FULL else 40
    rng = np.random.default_rng(7)
    mean = expected(4, 200_000.0)
    chosen = [
        shapes.order_by_f_test(histograms.from_counts(EDGES, rng.poisson(mean))).n_parameters for _ in range(toys)
    ]
    share = np.mean(np.array(chosen) == 4)
    print(f"\n| order_by_f_test | 4 | {toys} | {share:.3f} |")
    assert share == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / toys))


def test_pulls_of_the_signal_are_normal_when_the_function_is_right() -> None:
    toys = 5000 if FULL else 1000
    data = histograms.from_counts(EDGES, expected(3, 50_000.0))
    for injected in (0.0, 200.0):
        study = shapes.bias(
            data,
            shapes.dijet(3),
            shapes.dijet(3),
            SIGNAL,
            {"mass": 4200.0},
            np.random.default_rng(3),
            injected=injected,
            toys=toys,
        )
        print(
            f"\n| {injected:.0f} | {toys} | {study.mean_pull:+.3f} +- {study.mean_pull_error:.3f} | {study.width:.3f} |"
        )
        assert study.failed == 0
        assert abs(study.mean_pull) < max(0.05, 4 * study.mean_pull_error)
        assert study.width == pytest.approx(1.0, abs=0.05)


def test_spurious_signal_and_bias_on_the_simulated_spectrum() -> None:
    """Full-range simulated dijets without signal: the F-test's order passes where a stiffer function does not."""
    folder = shared_data() / "dijet" / "full_null"
    tables = [pd.read_parquet(folder / name, columns=["m_JJ"]) for name in ("data.parquet", "background.parquet")]
    spectrum = histograms.fill(np.concatenate([table["m_JJ"].to_numpy() for table in tables]), EDGES)
    order = shapes.order_by_f_test(spectrum, mass=4200.0)
    print(f"\n{spectrum.total:.0f} simulated events in {EDGES[0]:.0f}-{EDGES[-1]:.0f} GeV; {order.reason}")
    for trial in order.trials:
        f_p = "" if trial.p_f is None else f"{trial.f:.2f} | {trial.p_f:.2g}"
        print(f"| {trial.n_parameters} | {trial.chi2:.1f}/{trial.degrees_of_freedom} | {trial.p_chi2:.2g} | {f_p} |")
    assert order.n_parameters >= 4
    passed = {}
    for number in ORDERS:
        study = shapes.spurious_signal(spectrum, shapes.dijet(number), SIGNAL, MASSES, scale=0.1, threshold=0.5)
        lenient = shapes.spurious_signal(
            spectrum, shapes.dijet(number), SIGNAL, MASSES, scale=0.1, threshold=0.5, allowance=1.0
        )
        passed[number] = lenient.passed
        ratios = " ".join(f"{ratio:+.2f}" for ratio in study.ratio)
        print(f"| dijet({number}) | {ratios} | {np.abs(study.ratio).max():.2f} | {study.passed} | {lenient.passed} |")
    assert not passed[2]
    assert not passed[3]
    assert passed[order.n_parameters]
    truth = shapes.power_law(4)
    for nominal in (shapes.dijet(3), shapes.dijet(4), shapes.dijet(5)):
        for injected in (0.0, 300.0):
            study = shapes.bias(
                spectrum, truth, nominal, SIGNAL, {"mass": 4200.0}, np.random.default_rng(1), injected=injected
            )
            print(
                f"| {truth.name} | {nominal.name} | {injected:.0f} | "
                f"{study.mean_pull:+.2f} +- {study.mean_pull_error:.2f} | {study.width:.2f} |"
            )
