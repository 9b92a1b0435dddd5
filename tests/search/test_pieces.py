"""Peaks, signal-like events, template yields, posteriors, spectra and configuration, each against a known answer."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bumpfit.errors import InputError
from bumpfit.search.config import SearchConfig, config_toml, read_config
from bumpfit.search.peaks import fit_peak
from bumpfit.search.posterior import calibrated, combined, ranked, untied
from bumpfit.search.spectrum import smooth_range, spectrum_test
from bumpfit.search.surrogate import Masses, generic, library, signal_like
from bumpfit.search.template import TemplateSettings, fit_yield, in_the_table
from bumpfit.search.template_scores import TemplateScores


def test_peak_positions_cover() -> None:
    """Pulls of a Gaussian peak over an exponential background: mean 0, width 1 (statistical error alone)."""
    rng = np.random.default_rng(2)
    pulls = []
    for _ in range(12):
        data = np.r_[rng.exponential(150, 300) + 50, rng.normal(200, 12, 150)]
        table = rng.exponential(150, 600) + 50
        found = fit_peak("m", data, table, 2.0)
        assert found.valid
        pulls.append((found.mass - 200) / found.error_statistical)
    assert abs(np.mean(pulls)) < 0.9
    assert 0.5 < np.std(pulls) < 1.7
    assert found.error > found.error_statistical


def test_library_gives_the_masses_back() -> None:
    cloud = signal_like(Masses(4000, 200, 700))
    assert cloud.weights.sum() == pytest.approx(1)
    assert not cloud.extrapolated
    light, heavy = cloud.features[:, 0], cloud.features[:, 0] + cloud.features[:, 1]
    for values, expected in ((light, 200), (heavy, 700), (cloud.mass, 4000)):
        counts, edges = np.histogram(values, np.linspace(0.7 * expected, 1.3 * expected, 25), weights=cloud.weights)
        top = int(np.argmax(counts))
        assert 0.5 * (edges[top] + edges[top + 1]) == pytest.approx(expected, rel=0.05)


def test_library_on_its_own_grid_and_beyond() -> None:
    table = library()
    on_grid = signal_like(Masses(4000, 200, 400))  # x = 0.2 and 0.4
    assert len(on_grid.mass) == ((table.x_B == np.float32(0.4)) & (table.x_C == np.float32(0.2))).sum()
    assert signal_like(Masses(4000, 200, 1200)).extrapolated
    part = on_grid.inside(3900, 4100)
    assert part.weights.sum() == pytest.approx(1)
    assert on_grid.fraction_inside(3900, 4100) == pytest.approx(len(part.mass) / len(on_grid.mass), rel=0.2)
    drawn = generic(np.full(50, 3000.0), np.random.default_rng(1))
    assert drawn.features.shape == (50, 4)
    assert (drawn.features[:, 1] >= 0).all()


def test_the_number_in_a_table_does_not_fluctuate() -> None:
    """n = N + Poisson(b) events, b known: S = n - b has the error sqrt(n), the number N of the table sqrt(b).

    Where the fit sees a share of the signal, N = k / share and k is binomial: (b + N share (1 - share)) / share^2.
    """
    n, b, share = 300.0, 100.0, 0.8
    value, error = n - b, np.sqrt(n)
    ends = value - error, value + error, value + 1.645 * error
    assert in_the_table(value, *ends, 0.0) == pytest.approx(
        (value - np.sqrt(b), value + np.sqrt(b), ends[2]), rel=1e-12
    )
    low, high, _ = in_the_table(value, *ends, 0.0, share)
    assert high - value == pytest.approx(np.sqrt(b + value * (1 - share)), rel=1e-12)
    assert value - low == pytest.approx(high - value, rel=1e-12)
    assert in_the_table(value, *ends, 0.1)[1] - value == pytest.approx(np.hypot(np.sqrt(b), 0.1 * value), rel=1e-12)
    assert in_the_table(0.3, 0.0, 2.0, 3.0, 0.0)[0] == 0.0


def toy_scores(rng: np.random.Generator, n_signal: int) -> tuple[TemplateScores, np.ndarray]:
    data = np.r_[rng.normal(0, 1, rng.poisson(20_000)), rng.normal(3, 1, n_signal)]
    return TemplateScores(data, rng.normal(0, 1, 12_000), rng.normal(3, 1, 4_000)), np.full(4_000, 1 / 4_000)


@pytest.mark.parametrize("n_signal", [0, 200, 800])
def test_template_yields_cover(n_signal: int) -> None:
    rng = np.random.default_rng(n_signal)
    cloud = signal_like(Masses(4000, 200, 700))
    statistics_only = TemplateSettings(template_error=0.0)
    covered, values = 0, []
    for _ in range(20):
        scores, weights = toy_scores(rng, n_signal)
        toy = type(cloud)(np.zeros((4000, 4)), np.zeros(4000), weights, np.arange(4000) % 2 + 2)
        found = fit_yield(scores, toy, statistics_only, three_prong_fraction=0.5 if n_signal == 0 else None)
        covered += found.low <= n_signal <= found.high
        values.append(found.n_signal)
        assert found.upper_95 > found.high > found.n_signal >= found.low >= 0
    assert stats.binom.sf(covered - 1, 20, 0.6) > 0.001
    assert stats.binom.cdf(covered, 20, 0.68) > 0.001
    assert abs(np.mean(values) - n_signal) < 40


def test_scores_are_the_signal_fraction() -> None:
    rng = np.random.default_rng(4)
    data = np.r_[rng.uniform(size=20_000), rng.beta(0.2, 8, 1000)]
    found = calibrated(data, 1000, learn=True)
    assert found.sum() == pytest.approx(1000)
    truth = np.arange(len(data)) >= 20_000
    for low, high in ((0, 1e-5), (1e-5, 1e-3), (1e-3, 1e-2), (1e-2, 0.1), (0.1, 1)):
        inside = (data > low) & (data <= high)
        error = np.sqrt(inside.sum() + 1)  # the background under the signal fluctuates too, and is not known
        assert found[inside].sum() == pytest.approx(truth[inside].sum(), abs=min(3 * error, 120))
    assert stats.spearmanr(found, -data).statistic > 0.999


def test_scores_know_that_nothing_was_found() -> None:
    """20 000 events of background, and the yields that a null may have: no event is probably signal."""
    u = np.random.default_rng(5).uniform(size=20_000)
    for n in (0.0, 20.0, 150.0):
        found = untied(calibrated(u, n, learn=False))
        assert found.sum() == pytest.approx(n, abs=0.01) and found.max() < 0.5
        assert len(np.unique(found)) == len(found)
        assert (np.argsort(-found) == np.argsort(u)).all()


def test_evidence_that_tells_more_is_taken() -> None:
    rng = np.random.default_rng(6)
    n, s = 20_000, 300
    background = rng.uniform(size=(2, 10_000))
    noise, good = rng.uniform(size=n + s), np.r_[rng.uniform(size=n), rng.beta(0.1, 10, s)]
    other = np.r_[rng.uniform(size=n), rng.beta(0.1, 10, s)]
    assert combined({"a": (good, background[0]), "b": (noise, background[1])}, s)[0] == "a"
    name, u = combined({"a": (good, background[0]), "b": (other, background[1])}, s)
    assert name == "a and b"
    top = np.argsort(u)[:s]
    alone = np.argsort(good)[:s]
    assert (top >= n).sum() > (alone >= n).sum()


def test_ranks_and_ties() -> None:
    background = np.linspace(1, 9, 9)
    found = ranked(np.array([0.0, 1.0, 5.5, 20.0]), background)
    assert found[1] == pytest.approx(0.1) and found[0] < 0.1 and 0.5 < found[2] < 0.6 and found[3] == pytest.approx(0.9)
    p = untied(np.array([0.5, 1.0, 0.5, 1.0, 0.0]))
    assert len(np.unique(p)) == 5 and p.max() <= 1 and p[4] < p[0] < p[2] < p[1] < p[3]


@pytest.mark.slow
def test_spectrum_with_a_peak_and_without_sidebands() -> None:
    rng = np.random.default_rng(8)
    wide = 2000 * rng.uniform(size=60_000) ** (-1 / 6.0)
    wide = wide[wide < 7000]
    span = smooth_range(wide)
    assert span[0] < 2100
    null = spectrum_test("null", wide, 1.0, span)
    assert null.usable and null.z_global is not None and null.z_global < 3
    peak = spectrum_test("peak", np.r_[wide, rng.normal(3500, 105, 700)], 1.0, span)
    assert peak.mass == pytest.approx(3500, rel=0.03)
    assert peak.z_global is not None and peak.z_global > 4
    assert peak.n_signal == pytest.approx(700, rel=0.35)
    narrow = wide[(wide > 3300) & (wide < 3700)]
    nothing = spectrum_test("narrow", narrow, 1.0, smooth_range(narrow))
    assert not nothing.usable
    assert "no sidebands" in nothing.reason


def test_configuration(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("claim_z = 5\nefficiencies = [0.1, 0.01]\n[trees]\nmodels = 2\n")
    config = read_config(path)
    assert (config.claim_z, config.efficiencies, config.approaches["trees"].models) == (5.0, (0.1, 0.01), 2)
    assert config.quick().approaches["trees"].models == 2  # given, so kept
    assert config.quick().forward.blocks < SearchConfig().forward.blocks
    assert config.forward == SearchConfig().forward


def test_any_approach_can_be_chosen(tmp_path: Path) -> None:
    """Settings of the members of an average are those of their tables; TOML gives the same settings back."""
    path = tmp_path / "c.toml"
    path.write_text(
        "cross_check = 'forest'\n[scoring]\napproach = 'average'\n[average]\nmembers = ['trees', 'extra_trees']\n"
        "[average.settings.trees]\nmodels = 3\n[trees]\niterations = 40\n[extra_trees]\ntrees = 9\n"
    )
    config = read_config(path)
    trees, extra = config.approach.made()  # type: ignore[attr-defined]
    assert (trees.models, trees.iterations, extra.trees) == (3, 40, 9)
    assert config.approach_of("forest").kind == "forest"
    path.write_text(config_toml(config))
    assert read_config(path) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("claimz = 5", "does not exist"),
        ("claim_z = 'high'", "expected a number"),
        ("folds = 2.5", "expected a whole number"),
        ("trees = 3", "expected a table"),
        ("efficiencies = 0.1", "expected a list"),
        ("efficiencies = [2.0]", "lie in"),
        ("[scoring]\napproach = 'oak'", "need one of trees"),
        ("[scoring]\napproach = 'cuts'", "need one of trees"),
        ("[scoring]\napproach = 'forest'\n[forest]\ntrees = 0", "expected 1 or more"),
        ("[scoring]\napproach = 'average'\n[average]\nmembers = ['oak']", "no approach 'oak'"),
        ("[trees]\nkind = 3", "does not exist"),
        ("[trees]\nmodels = 0", "at least one model"),
        ("figures = 'many'", "all or few"),
        ("not toml", "not valid TOML"),
    ],
)
def test_bad_configuration(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_config(path)
