"""Global p-values, limits, intervals, goodness of fit and coverage against closed forms, enumeration and other code."""

import dataclasses
import importlib
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from test_histfactory import MIXED
from toy_models import dijet

from bumpfit import inference, toys, workspace
from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.feldman_cousins import accepts
from bumpfit.runs.pieces import Pieces
from bumpfit.toys import LogLinear
from bumpfit.toys.law import _misfits, _saturated
from bumpfit.toys.scan import ScanEngine, _engines
from bumpfit.workspace import build
from study_size import FULL

runs = importlib.import_module("bumpfit.toys.run")
SEEDS = 24 if FULL else 12


def counting(background: float, n: float | None, high: float = 100.0) -> LogLinear:
    observed = None if n is None else np.array([n])
    return LogLinear(np.array([background]), np.zeros((1, 0)), np.array([1.0]), (0.0, high), observed=observed)


def scan(masses, events: float = 60_000, observed=None) -> LogLinear:
    model = dijet(events)
    signals = np.stack([dijet(events, peak=m, width=120.0).signal for m in masses])
    return dataclasses.replace(model, signal=signals, observed=observed)


def test_independent_bins_have_a_known_global_p_value() -> None:
    """Without background parameters and with one bin a signal, the largest q0 of M bins is that of M experiments."""
    model = LogLinear(np.full(20, 9.0), np.zeros((20, 0)), np.eye(20), bounds=(0.0, 1e3))
    found = toys.scan_toys(model, 20_000, seed=1)
    for n in (14, 17, 20):
        q = 2 * (n * math.log(n / 9) - (n - 9))
        p, error = found.p_value(q)
        assert p == pytest.approx(1 - stats.poisson.cdf(n - 1, 9.0) ** 20, abs=4.5 * error)
    counts = 2 * (np.arange(10, 40) * np.log(np.arange(10, 40) / 9) - (np.arange(10, 40) - 9))
    passes = stats.poisson.sf(np.arange(10, 40)[counts >= 1.0][0] - 1, 9.0)
    assert found.crossings == pytest.approx(19 * passes * (1 - passes), abs=5 * found.crossings_error)


def test_every_scan_reaches_zero() -> None:
    found = toys.scan_toys(scan([3000.0, 4000.0]), 500)
    assert found.gross_vitells(0.0) == (1.0, 0.0)
    assert found.p_value(0.0)[0] == 1.0


def test_gross_vitells_bounds_the_toys() -> None:
    masses = np.linspace(2900, 6000, 40)
    found = toys.scan_toys(scan(masses), 30_000, workers=2)
    assert found.tally.failed == 0
    local = stats.norm.sf(3.0)
    p, error = found.p_value(9.0)
    bound, bound_error = found.gross_vitells(9.0)
    assert 3 * local < p < bound + 4 * math.hypot(error, bound_error)
    assert bound < 1.6 * p


def test_the_scan_of_the_data_and_its_maximum() -> None:
    masses = np.linspace(2900, 6000, 32)
    counts = np.random.default_rng(1).poisson(dijet(60_000).rate + 3 * dijet(60_000, peak=4000.0, width=120.0).signal)
    model = scan(masses, observed=counts)
    found = toys.scan_toys(model, 2000)
    assert masses[np.argmax(found.scan)] == pytest.approx(4000, abs=150)
    alone = toys.throw(model.with_signal(model.signals[5]), 10)
    assert found.scan[5] == pytest.approx(alone.observed, abs=1e-7)
    summary = found.to_dict()
    assert summary["p_global"] == found.p_value()[0]
    for workers in (2, 3):
        again = toys.scan_toys(model, 2000, workers=workers)
        np.testing.assert_array_equal(again.maximum, found.maximum)


def test_scans_go_on_after_an_interruption_and_come_in_shards(tmp_path: Path, monkeypatch) -> None:
    model = scan(np.linspace(2900, 6000, 12), observed=dijet(60_000).rate.round())
    monkeypatch.setattr(ScanEngine, "chunk", 40)
    whole = toys.scan_toys(model, 1500, seed=3)
    files = [tmp_path / f"{i}.parquet" for i in (1, 2, 3)]
    for i, file in enumerate(files, start=1):
        toys.scan_toys(model, 1500, seed=3, part=toys.shard(1500, i, 3), path=file)
    merged = toys.GlobalToys(toys.merge([toys.read(file) for file in reversed(files)]))
    np.testing.assert_array_equal(merged.maximum, whole.maximum)
    assert merged.p_value() == whole.p_value()
    assert merged.gross_vitells() == whole.gross_vitells()
    path, kept = tmp_path / "scan.parquet", []
    keep = Pieces.keep

    def interrupted(pieces: Pieces, name: str, piece: toys.Tally) -> None:
        keep(pieces, name, piece)
        kept.append(piece.n)
        if len(kept) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Pieces, "keep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        toys.scan_toys(model, 1500, seed=3, path=path)
    again = toys.scan_toys(model, 1500, seed=3, path=path)
    assert sum(kept) == 1500
    np.testing.assert_array_equal(again.maximum, whole.maximum)
    assert again.crossings == whole.crossings
    with pytest.raises(InputError, match="not scans"):
        toys.GlobalToys(runs.run(toys.engine(dijet(6000)), 100))
    other = toys.scan_toys(model, 100, seed=3, level=2.0)
    assert other.tally.statistic == "largest q0, crossings of 2"
    assert other.crossings < whole.crossings


def test_a_scan_of_workspaces_is_the_scan_of_the_spectrum() -> None:
    model = dijet(6000)
    counts = np.random.default_rng(3).poisson(model.rate)
    signals = [dijet(6000, peak=m).signal for m in (3000.0, 3600.0, 4200.0)]
    models = [workspace.read(build.spectrum(counts, model.rate, model.basis, s)) for s in signals]
    found = toys.scan_toys(models, 300)
    expected = np.max([toys.throw(m, 300).statistic for m in models], axis=0)
    np.testing.assert_allclose(found.maximum, np.sort(expected), atol=1e-6)
    assert found.scan[1] == pytest.approx(inference.discovery(models[1]).q0, abs=1e-5)
    with pytest.raises(InputError, match="share their background"):
        toys.scan_toys(
            [models[0], workspace.read(build.spectrum(counts[::-1], model.rate, model.basis, signals[0]))], 10
        )


def test_ranges_of_the_strengths_do_not_matter_to_a_scan() -> None:
    """Workspaces of `bumpfit build` allow as many signal events as lie in the range, a number that changes with the
    mass; such a scan stays as fast as one of equal ranges.
    """
    model = dijet(6000)
    counts = np.random.default_rng(3).poisson(model.rate)
    signals = [dijet(6000, peak=m).signal for m in (3000.0, 3600.0, 4200.0)]

    def models(*ranges):
        return [
            workspace.read(build.spectrum(counts, model.rate, model.basis, signal, poi_range=ends))
            for signal, ends in zip(signals, ranges, strict=True)
        ]

    unequal = models((0.0, 100.0), (-3.0, 200.0), (0.0, 131.7))
    assert len(_engines(unequal)) == 1
    assert len(_engines(models((0.0, 100.0), (0.5, 200.0), (0.0, 131.7)))) == 3
    same, other = (toys.scan_toys(m, 300, seed=2) for m in (models(*[(0.0, 100.0)] * 3), unequal))
    np.testing.assert_allclose(other.maximum, same.maximum, atol=1e-6)
    np.testing.assert_allclose(other.scan, same.scan, atol=1e-6)
    # ranges that hold the strengths back
    short = models((0.0, 1.0), (0.0, 0.3), (0.0, 0.1))
    assert len(_engines(short)) == 1
    expected = np.max([toys.throw(m, 300, seed=2).statistic for m in short], axis=0)
    np.testing.assert_allclose(toys.scan_toys(short, 300, seed=2).maximum, np.sort(expected), atol=1e-6)


def test_a_scan_of_general_models() -> None:
    other = {**MIXED, "channels": [dict(MIXED["channels"][0]), MIXED["channels"][1]]}
    samples = [dict(s) for s in other["channels"][0]["samples"]]
    samples[0] = {**samples[0], "data": [8.0, 2.0, 1.0], "modifiers": samples[0]["modifiers"][:1]}
    other["channels"][0]["samples"] = samples
    models = [workspace.read(MIXED), workspace.read(other)]
    with pytest.raises(InputError, match="share their background"):
        toys.scan_toys(models, 10)  # the jes of the first signal changes the fit of the nuisance parameters
    found = toys.scan_toys([models[0], models[0]], 20)
    np.testing.assert_allclose(found.maximum, np.sort(toys.throw(models[0], 20).statistic), atol=1e-9)


def enumerated_cls(n: int, background: float, mu: float) -> float:
    """CLs of a counting experiment: q~ falls with n, so its tail is the lower tail of n."""
    return stats.poisson.cdf(n, mu + background) / stats.poisson.cdf(n, background)


def counted(background: float, n: float, high: float = 100.0) -> workspace.Model:
    """The same as a workspace."""
    signal = build.sample("s", [1.0], build.modifier("normfactor", "mu"))
    ranges = {"mu": {"bounds": [[0.0, high]]}}
    return workspace.read(
        build.workspace({"a": [signal, build.sample("b", [background])]}, {"a": [n]}, "mu", ranges), allow_negative=True
    )


@pytest.mark.parametrize(("n", "background"), [(0, 3.0), (4, 3.0), (9, 5.5)])
def test_cls_of_a_counting_experiment(n: int, background: float) -> None:
    found = inference.cls(counted(background, n), 6.0, law=toys.Toys(40_000, seed=1))
    assert found.observed == pytest.approx(enumerated_cls(n, background, 6.0), abs=4.5 * found.observed_error)
    median = int(stats.poisson.median(background))
    assert found.expected[2] == pytest.approx(enumerated_cls(median, background, 6.0), rel=0.1)
    assert list(found.expected) == sorted(found.expected)


def test_cls_that_no_toy_reaches_is_a_bound_and_never_grows_with_the_statistic() -> None:
    """b = 4, mu = 20: P(N <= n | 24) is below 1e-5 up to n = 6, so 500 toys know no more than 1 / 501 / CLb."""
    found = inference.cls(counted(4.0, 2.0), 20.0, law=toys.Toys(500))
    exact = stats.poisson.cdf(2, 24.0) / stats.poisson.cdf(2, 4.0)
    assert found.cl_sb == pytest.approx(1 / 501)
    assert exact < found.observed == pytest.approx(1 / 501 / stats.poisson.cdf(2, 4.0), rel=0.3)
    assert found.expected[0] > 0
    assert np.all(np.diff(found.expected) >= 0)
    for seed in range(20):
        law = toys.Toys(2000, seed)
        assert np.all(np.diff(inference.cls(counted(4.0, 9.0), 10.0, law=law).expected) >= 0)


def test_upper_limit_without_events_is_three() -> None:
    found = inference.limit(counted(2.0, 0), law=toys.Toys(20_000, seed=2))
    assert found.observed == pytest.approx(-math.log(0.05), abs=4 * found.observed_error)
    assert found.observed_error < 0.15
    assert found.expected == tuple(sorted(found.expected))
    asymptotic = inference.limit(counted(200.0, 200.0, 500.0))
    many = inference.limit(counted(200.0, 200.0, 500.0), law=toys.Toys(8_000, seed=3))
    assert many.observed == pytest.approx(asymptotic.observed, rel=0.04)
    assert many.expected[2] == pytest.approx(asymptotic.expected[2], rel=0.04)
    assert asymptotic.notes == ()
    assert "only 2 expected background events" in inference.limit(counted(2.0, 0)).notes[0]


@pytest.mark.slow
def test_the_error_of_a_limit_is_its_spread_over_seeds() -> None:
    """Few toys: CLs has few distinct values, and the limit an error that says so (exact: 5.395)."""
    found = [inference.limit(counted(3.0, 3.0), law=toys.Toys(400, seed)) for seed in range(SEEDS)]
    limits = np.array([one.observed for one in found])
    exact = brentq(lambda mu: enumerated_cls(3, 3.0, mu) - 0.05, 1, 20)
    spread, quoted = limits.std(ddof=1), np.mean([one.observed_error for one in found])
    assert limits.mean() == pytest.approx(exact, abs=4 * spread / math.sqrt(SEEDS))
    assert 0.6 < quoted / spread < 1.6


@pytest.mark.parametrize(("n", "background", "level"), [(6, 3.0, 0.9), (2, 1.5, 0.6827), (0, 3.0, 0.9)])
def test_feldman_cousins_of_a_counting_experiment(n: int, background: float, level: float) -> None:
    """The exact construction decides which strengths accept n; toys must agree away from its edges."""
    found = inference.interval(counted(background, n), level=level, law=toys.Toys(20_000, seed=4))
    grid = np.linspace(0.0, 15.0, 1501)
    inside = grid[accepts(n, grid, background, level)]
    assert found.low == pytest.approx(inside.min(), abs=0.15)
    assert found.high == pytest.approx(inside.max(), abs=0.25)
    assert found.low_at_bound == (inside.min() == 0)


def test_coverage_of_a_counting_experiment_by_enumeration() -> None:
    background, strengths = 20.0, (0.0, 5.0, 12.0)
    found = toys.coverage(counting(background, None), strengths, 40_000, seed=5)
    n = np.arange(0, 120)
    for mu, value, error in zip(strengths, found.coverage, found.errors, strict=True):
        best = np.maximum(n - background, 0)
        t = 2 * (mu - best - n * np.log((mu + background) / (best + background)))
        exact = stats.poisson.pmf(n, mu + background)[t <= stats.chi2.ppf(0.6827, 1)].sum()
        assert value == pytest.approx(exact, abs=4.5 * error)
    limit = toys.coverage(counting(background, None), [5.0], 20_000, 0.95, kind="upper limit", seed=6)
    assert limit.coverage[0] == pytest.approx(0.95, abs=0.02)


def test_coverage_of_a_spectrum_is_nominal(spectrum: LogLinear) -> None:
    found = toys.coverage(spectrum, [0.0, 2.0], 20_000)
    assert found.failed == 0
    assert np.abs(np.array(found.coverage) - 0.6827).max() < 0.012


def test_sensitivity_follows_the_asimov_data(spectrum: LogLinear) -> None:
    found = toys.sensitivity(spectrum, [0.0, 3.0], 5000, threshold=3.0)
    engine = toys.engine(spectrum)
    asimov = math.sqrt(engine.fit(spectrum.rate + 3.0 * spectrum.signal).statistic[0, 0])
    assert found.significance[1][2] == pytest.approx(asimov, abs=0.05)
    assert found.significance[1][3] - found.significance[1][1] == pytest.approx(2.0, abs=0.1)
    assert found.power[0] < 0.01 < found.power[1]


def scaled(counts: list[float]) -> workspace.Model:
    """Two regions with the background scale of 30 % in common, of which the signal is in one."""
    scale = {"name": "scale", "type": "normsys", "data": {"hi": 1.3, "lo": 0.75}}
    channels = []
    for name, yields, signal in (("SR", [50.0, 30.0], [6.0, 12.0]), ("CR", [80.0], [0.0])):
        own = [{"name": "b", "data": yields, "modifiers": [scale]}]
        strength = {"name": "mu", "type": "normfactor", "data": None}
        channels.append({"name": name, "samples": [{"name": "s", "data": signal, "modifiers": [strength]}, *own]})
    observations = [{"name": "SR", "data": counts[:2]}, {"name": "CR", "data": counts[2:]}]
    poi = [{"name": "mu", "bounds": [[0.0, 20.0]], "inits": [1.0]}]
    return workspace.read(
        {
            "channels": channels, "observations": observations,
            "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": poi}}], "version": "1.0.0",
        }
    )  # fmt: skip


@pytest.mark.parametrize("made", [0.0, 1.0, 0.7])
@pytest.mark.parametrize("true", [1.0, 2.5])
def test_sensitivity_of_asimov_data_is_that_of_what_they_were_made_with(made: float, true: float) -> None:
    """Thrown at a fit with the signal held, toys would have a background pulled down by a signal not there."""
    model = scaled([50.0 + 6 * made, 30.0 + 12 * made, 80.0])
    asimov = inference.discovery(model, inference.asimov(model, true, fitted=False)).z
    for found in (toys.sensitivity(model, [true], 3000, seed=2), toys.sensitivity(scaled([47, 33, 84]), [true], 3000,
                  data=model.observed, seed=2)):  # fmt: skip
        assert found.significance[0][2] == pytest.approx(asimov, abs=0.12)
        assert "Asimov" in found.notes[0]
    fitted = toys.sensitivity(scaled([47.0, 33.0, 84.0]), [true], 100)
    assert fitted.notes == () and fitted.at_bounds == ()


def test_studies_tell_of_parameters_at_their_ends() -> None:
    assert toys.coverage(scaled([51.0, 33.0, 76.0]), [19.0], 200).at_bounds == ("mu",)
    assert toys.sensitivity(scaled([51.0, 33.0, 76.0]), [19.0], 200).at_bounds == ("mu",)
    assert toys.sensitivity(scaled([51.0, 33.0, 76.0]), [1.0], 200).at_bounds == ()
    assert toys.sensitivity(counting(10.0, None, high=8.0), [7.0], 200).at_bounds == ("strength",)
    assert toys.sensitivity(scaled([900.0, 700.0, 1900.0]), [1.0], 50).at_bounds == ("scale",)


@pytest.mark.slow
def test_goodness_of_fit() -> None:
    """Toys of the engines follow chi2, and agree with toys that are fitted one by one."""
    model = workspace.read(MIXED)
    for fixed in ({}, {"mu": 0.0}, {"jes": 0.5}):
        asymptotic = inference.goodness(model, fixed=fixed)
        fast = inference.goodness(model, law=toys.Toys(300, seed=1), fixed=fixed)
        assert fast.statistic == asymptotic.statistic
        assert fast.p == pytest.approx(asymptotic.p, abs=0.15)
        problem, law = inference.prepare(model, fixed=fixed), toys.Toys(300, seed=2)
        slow, _ = _misfits(problem, problem.solve(), "saturated", law)
        quick = _saturated(problem, problem.solve(), law)
        assert stats.ks_2samp(slow, quick).pvalue > 1e-3
    counts = np.random.default_rng(8).poisson(dijet(6000).rate)
    wavy = np.random.default_rng(8).poisson(dijet(6000).rate * (1 + 0.2 * np.sin(np.arange(40))))
    for data, low, high in ((counts, 0.02, 1.0), (wavy, 0.0, 0.02)):
        read = workspace.read(build.spectrum(data, dijet(6000).rate, dijet(6000).basis, dijet(6000).signal))
        found = inference.goodness(read, law=toys.Toys(2000, seed=1))
        assert low < found.p < high
        assert found.p_upper > found.p


@pytest.mark.statistics
def test_p_values_over_data_of_the_model_are_uniform() -> None:
    """Data thrown from the model, each with its own fit and its own toys: goodness of fit, and q0 below its zeros."""
    model = workspace.read(MIXED)
    data = toys.engine(model, statistic="tmu").data(np.arange(300 if FULL else 200), 4242)
    fits = np.array([inference.goodness(model, row, law=toys.Toys(200, i)).p for i, row in enumerate(data)])
    spread = np.random.default_rng(1).uniform(-0.0025, 0.0025, fits.size)
    assert stats.kstest(fits + spread, "uniform").pvalue > 1e-3
    found = np.array([toys.throw(model, 200, data=row, seed=i).p_value()[0] for i, row in enumerate(data)])
    for level in (0.1, 0.2, 0.3):
        assert np.mean(found <= level) == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / found.size))


def test_misuse_is_said(spectrum: LogLinear) -> None:
    with pytest.raises(InputError, match="above 0"):
        inference.cls(counted(3.0, 2), 0.0, law=toys.Toys(100))
    with pytest.raises(InputError, match="between 0 and 1"):
        inference.limit(counted(3.0, 2), level=1.0, law=toys.Toys(1000))
    with pytest.raises(InputError, match="cannot resolve"):
        inference.limit(counted(3.0, 2), law=toys.Toys(50))
    with pytest.raises(InputError, match="cannot resolve"):
        inference.interval(counted(3.0, 2), level=0.95, law=toys.Toys(50))
    with pytest.raises(InputError, match="unknown kind"):
        toys.coverage(spectrum, [1.0], 10, kind="credible")
    with pytest.raises(InputError, match="at least one"):
        toys.coverage(spectrum, [], 10)
    with pytest.raises(InputError, match="positive q0"):
        toys.scan_toys(scan([3000.0, 3500.0]), 10, level=0.0)
    with pytest.raises(InputError, match="no models"):
        toys.scan_toys([], 10)
    with pytest.raises(BumpfitError, match="no observed data"):
        toys.scan_toys(scan([3000.0, 3500.0]), 10).p_value()
    with pytest.raises(InputError, match="several signals"):
        toys.throw(scan([3000.0, 3500.0]), 10).p_value(1.0)
