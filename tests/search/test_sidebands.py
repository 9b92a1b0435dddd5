"""Signal regions against their sidebands: ranks among like events, the law of the largest peak, and whole searches."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest, norm
from small_records import events

import bumpfit
from bumpfit.runs import nowhere
from bumpfit.scoring import ExtraTrees
from bumpfit.search import checks
from bumpfit.search.config import SearchConfig
from bumpfit.search.local_ranks import correlations, decorrelated, local_survival
from bumpfit.search.sideband_test import SidebandTest, sideband_test, tail
from bumpfit.search.sidebands import Region, SidebandSettings, region_ranks, signal_regions
from bumpfit.search.spectrum import SpectrumSettings, SpectrumTest
from bumpfit.search.surrogate import FEATURES, Masses, signal_like
from study_size import FULL

SPAN = (2000.0, 6000.0)
SPECTRUM = SpectrumSettings(low=SPAN[0], high=SPAN[1])
QUICK = dataclasses.replace(
    SearchConfig().quick(), approaches={"extra_trees": ExtraTrees(trees=8, leaf_events=30)}, spectrum=SPECTRUM
)


def falling(rng: np.random.Generator, n: int) -> np.ndarray:
    """Masses that fall with the sixth power, which a dijet function of two parameters follows."""
    low, high = SPAN
    u = rng.uniform(size=n)
    return (low**-5 + u * (high**-5 - low**-5)) ** (-1 / 5)


def table(seed: int, n: int = 12_000, signal: int = 0, at: float = 3000.0) -> pd.DataFrame:
    """Two features that grow with the mass, and a resonance where both are unusual."""
    rng = np.random.default_rng(seed)
    mass = falling(rng, n)
    features = {"a": mass * rng.beta(2, 5, n), "b": rng.normal(size=n)}
    background = pd.DataFrame({"m_JJ": mass, **features})
    m = rng.normal(at, 0.03 * at, signal)
    found = pd.DataFrame({"m_JJ": m, "a": m * rng.normal(0.75, 0.03, signal), "b": rng.normal(2.2, 0.3, signal)})
    return pd.concat([background, found]).sample(frac=1, random_state=seed).reset_index(drop=True)


def test_ranks_are_uniform_at_every_mass() -> None:
    """Features that follow the mass in any way have the same law of ranks in every slice of it."""
    rng = np.random.default_rng(1)
    mass = falling(rng, 20_000)
    for value in (
        mass * rng.beta(2, 5, mass.size),
        rng.normal(size=mass.size) / mass,
        mass**2 + rng.normal(size=mass.size),
    ):
        rank = local_survival(value, mass, 0.1)
        assert (rank > 0).all() and (rank <= 1).all()
        slices = [rank[(mass > low) & (mass < 1.1 * low)].mean() for low in (2700, 3200, 3600)]
        assert max(slices) - min(slices) < 0.03


def test_ranks_are_fits_of_a_straight_line() -> None:
    """At a mass of the grid the rank is the local fit of a line to 0 and 1, half of a weight for the event itself."""
    rng = np.random.default_rng(5)
    mass = np.r_[3000.0, rng.uniform(3000, 3600, 200)]
    value = rng.normal(size=mass.size)
    distance = np.log(mass / 3000.0) / 0.1
    weight = np.exp(-0.5 * distance**2)
    for reference in (np.ones(mass.size, np.bool_), np.arange(mass.size) > 0):
        design = np.column_stack([np.ones(mass.size), distance])[reference]
        w = weight[reference]
        line = np.linalg.inv(design.T @ (w[:, None] * design)) @ (design * w[:, None]).T
        row = line[0] * w.sum()
        one = (row**2).sum() / row.sum()
        above = (value[reference] > value[0]) + np.random.default_rng([0, 521]).random() * (
            value[reference] == value[0]
        )
        expected = (row @ above + 0.5 * one) / (row.sum() + one)
        found = local_survival(value, mass, 0.1, reference)[0]
        assert found == pytest.approx(expected, abs=0.01)  # the fraction is made to rise with the value


def test_correlations_with_the_mass_are_gone() -> None:
    data = table(3)
    mass, features = data.m_JJ.to_numpy(), data[["a", "b"]].to_numpy()
    ranked = correlations(decorrelated(features, mass, 0.1), mass)
    assert correlations(features, mass)[0] > 0.2 and np.abs(ranked).max() < 0.005
    assert correlations(np.ones((mass.size, 1)), mass)[0] == 0


def test_regions_overlap_and_have_sidebands_inside_the_range() -> None:
    mass = falling(np.random.default_rng(2), 40_000)
    settings = SidebandSettings()
    found = signal_regions(mass, SPAN, settings)
    assert found[0].below == pytest.approx(SPAN[0]) and len(found) > 5
    for region in found:
        assert region.high / region.low == pytest.approx(1.13) and region.below >= SPAN[0] - 1e-6
        assert region.above <= SPAN[1]
        lower, upper = region.beside(mass)
        assert region.inside(mass).sum() >= 500 and (lower | upper).sum() >= 500
        assert not (region.inside(mass) & (lower | upper)).any()
    assert all(b.low < a.high for a, b in itertools.pairwise(found))
    assert signal_regions(mass[:300], SPAN, settings) == ()
    assert signal_regions(mass, (3000.0, 3400.0), settings) == ()


@pytest.mark.parametrize("z", [1.5, 3.0, 4.5, 6.0])
def test_tail_of_a_maximum(z: float) -> None:
    """Of 40 independent signed roots the law of the largest is known: 1 - Phi^40."""
    rng = np.random.default_rng(4)
    largest = np.maximum(rng.standard_normal((4000, 40)), 0).max(axis=1)
    log_p, error, beyond = tail(largest, z)
    exact = -np.expm1(40 * norm.logcdf(z))
    assert beyond is (z > 3.2) and error is not None
    # beyond the toys the form is an upper bound for independent trials, whose number does not grow with z
    assert exact * (0.7 if beyond else 0.85) < np.exp(log_p) < exact * (4.0 if beyond else 1.15)


@pytest.mark.statistics
def test_scores_that_know_nothing_give_a_uniform_p() -> None:
    """Uniform ranks: the largest of all selections has its law from the toys."""
    settings = dataclasses.replace(SidebandSettings(), toys=200, step=1.13)
    p = []
    for seed in range(200 if FULL else 5):
        rng = np.random.default_rng([5, seed])
        mass = falling(rng, 8000)
        regions = signal_regions(mass, SPAN, settings)
        ranks = rng.uniform(size=(len(regions), mass.size))
        found = sideband_test(mass, SPAN, regions, ranks, (0.1, 0.03), SPECTRUM, settings, seed=seed)
        assert isinstance(found, SidebandTest) and found.toys == 200 and found.trials > 50
        p.append(found.p_global)
    assert kstest(p, "uniform").pvalue > 0.01 and min(p) > 1e-3


def test_a_classifier_that_makes_peaks_everywhere_is_seen() -> None:
    """Scores that prefer every region itself: all regions show a peak, and those elsewhere say so."""
    settings = dataclasses.replace(SidebandSettings(), toys=200, step=1.13)
    rng = np.random.default_rng(6)
    mass = falling(rng, 40_000)
    regions = signal_regions(mass, SPAN, settings)
    ranks = rng.uniform(size=(len(regions), mass.size))
    for k, region in enumerate(regions):
        ranks[k, region.inside(mass)] *= 0.6
    found = sideband_test(mass, SPAN, regions, ranks, (0.1,), SPECTRUM, settings, seed=1)
    assert isinstance(found, SidebandTest) and found.z_global > 3
    assert found.away and found.elsewhere is not None and found.elsewhere <= 0.01
    assert min(found.auc) > 0.6
    assert found.further is not None and found.further.z_global > 3
    assert found.candidates(3.0) == (found,) and checks.elsewhere(found, 3.0).passed is False


@pytest.mark.parametrize("masses", [(3000.0,), (3000.0, 4200.0), (2750.0, 3650.0)])
def test_a_further_resonance_is_found_where_one_is(masses: tuple[float, ...]) -> None:
    """Both were taken for the work of a classifier that makes peaks: no resonance could be claimed.

    In the last case every region touches one of the two; some hold neither.
    """
    settings = dataclasses.replace(SidebandSettings(), toys=200, step=1.065)
    rng = np.random.default_rng(8)
    peaks = [rng.normal(m, 0.02 * m, 250) for m in masses]
    mass = np.concatenate([falling(rng, 40_000), *peaks])
    regions = signal_regions(mass, SPAN, settings)
    ranks = rng.uniform(size=(len(regions), mass.size))
    for k, region in enumerate(regions):
        for begin, peak in zip((40_000, 40_250), peaks, strict=False):
            if region.inside(peak).mean() > 0.5:  # learned there
                ranks[k, begin : begin + 250] *= 0.1
    found = sideband_test(mass, SPAN, regions, ranks, (0.1, 0.03), SPECTRUM, settings, seed=1)
    assert isinstance(found, SidebandTest)
    candidates = found.candidates(3.0)
    assert sorted(one.leading.mass or 0.0 for one in candidates) == pytest.approx(masses, rel=0.03)
    assert checks.elsewhere(found, 3.0).passed


def test_no_event_is_scored_by_what_it_taught() -> None:
    """Features that grow with the mass, without a signal: held-out events of a region are not told from others."""
    data = table(7, 16_000)
    mass, names = data.m_JJ.to_numpy(), ("a", "b")
    of = dataclasses.replace(events(mass), names=names, features=data[list(names)].to_numpy())
    settings = dataclasses.replace(SidebandSettings(), folds=3, step=1.13, toys=100)
    regions = signal_regions(mass, SPAN, settings)
    approach = ExtraTrees(trees=10, leaf_events=20)
    ranks = region_ranks(of, SPAN, regions, approach, settings, seed=1, executor=None, kept=nowhere())
    assert np.isnan(ranks[:, (mass < SPAN[0]) | (mass >= SPAN[1])]).all()
    found = sideband_test(mass, SPAN, regions, ranks, (0.1,), SPECTRUM, settings, seed=1)
    assert isinstance(found, SidebandTest)
    for auc, region in zip(found.auc, regions, strict=True):
        n, m = (float(x.sum()) for x in (region.inside(mass), np.logical_or(*region.beside(mass))))
        assert abs(auc - 0.5) < 4 * np.sqrt((n + m + 1) / (12 * n * m))
    assert found.z_global < 3


@pytest.mark.parametrize("kind", ["the mass", "a step", "a wave"])
def test_a_feature_that_knows_the_mass_forbids_a_claim(kind: str) -> None:
    data = table(11)
    m, noise = data.m_JJ, np.random.default_rng(1).normal(size=len(data))
    data["a"] = {"the mass": m * (1 + 0.01 * noise), "a step": 1.0 * (m > 3000), "a wave": np.sin(m / 60) + noise / 3}[
        kind
    ]
    answers = bumpfit.run(data, features=["a", "b"], config=QUICK, seed=1).to_dict()
    (check,) = (c for c in answers["checks"] if "say nothing of the mass" in c["name"])
    assert check["passed"] is False and check["decisive"] and answers["verdict"] != "resonance"


def test_features_of_few_values_say_nothing_of_the_mass() -> None:
    """Equal values have random places: one place for all would grow with their share, which follows the mass."""
    data = table(12)
    mass = data.m_JJ.to_numpy()
    value = 1.0 * (np.random.default_rng(2).random(mass.size) < mass / 6000)
    rank = local_survival(value, mass, 0.1)
    assert len(np.unique(rank)) > 0.9 * mass.size
    assert abs(correlations(rank[:, None], mass)[0]) < 0.03
    assert kstest(rank, "uniform").pvalue > 1e-3


def test_repeated_rows_and_a_range_that_is_not_smooth_are_told() -> None:
    data = table(13, 6000)
    twice = bumpfit.run(pd.concat([data, data], ignore_index=True), features=[], config=QUICK).to_dict()
    assert twice["checks"][0]["passed"] is False and "6000 of 12000" in twice["checks"][0]["detail"]
    assert twice["verdict"] != "resonance"
    coarse = bumpfit.run(data.assign(m_JJ=data.m_JJ.round(-2)), features=[], config=QUICK).to_dict()
    assert coarse["verdict"] != "resonance"
    assert {c["name"]: c["passed"] for c in coarse["checks"]}[
        "the dijet function describes the range that is searched"
    ] is False


@pytest.mark.slow
def test_a_resonance_without_a_background_table() -> None:
    """150 events that the spectrum alone hardly shows are found, with mass, yield and scores."""
    data = table(8, signal=150)
    answers = bumpfit.run(data, features=["a", "b"], config=QUICK, seed=1)
    found = answers.to_dict()
    assert found["verdict"] == "resonance" and found["p_value"]["z_global"] > 5
    assert found["p_value"]["draws"] == 500 and "toys" in found["p_value"]["method"]
    mass, n = found["resonance_mass"], found["n_signal"]
    assert mass["value"] == pytest.approx(3000, abs=3 * mass["error"]) and mass["error"] < 60
    assert n["value"] - 2 * n["error_low"] < 150 < n["value"] + 2 * n["error_high"]
    assert found["n_signal_upper_limit_95"] > 100
    plain = found["mass_spectrum_fit"]["spectra"][0]
    assert plain["name"] == "no selection" and plain["z_local"] < found["p_value"]["z_local"] - 1
    assert found["mass_spectrum_fit"]["p_global"] == found["p_value"]["global"]
    assert {c["name"]: c["passed"] for c in found["checks"]}[
        "features among events of like mass say nothing of the mass"
    ]


@pytest.mark.slow
def test_decays_of_the_library_give_yield_and_prongs() -> None:
    """200 simulated two-prong decays of 3500 GeV to 400 and 250 GeV, beside jets of quarks."""
    rng = np.random.default_rng(3)
    n = 14_000
    mass = falling(rng, n)
    cloud = signal_like(Masses(3500.0, 250.0, 400.0))
    rows = rng.choice(np.flatnonzero(cloud.prongs == 2), 200, p=_normal(cloud.weights[cloud.prongs == 2]))
    background = np.column_stack([rng.exponential(90, n), rng.exponential(110, n), *rng.beta(6, 4, (2, n))])
    features = np.concatenate([background, cloud.features[rows]])
    data = pd.DataFrame(features, columns=list(FEATURES)).assign(m_JJ=np.r_[mass, cloud.mass[rows]])
    answers = bumpfit.run(data.sample(frac=1, random_state=1).reset_index(drop=True), config=QUICK, seed=1).to_dict()
    assert answers["verdict"] == "resonance"
    found = answers["n_signal"]
    assert found["method"].startswith("fit of simulated decays")
    assert found["value"] - 2 * found["error_low"] < 200 < found["value"] + 2 * found["error_high"]
    assert found["error_high"] < 100 and answers["n_signal_upper_limit_95"] > 200
    light, heavy = answers["daughter_masses"]
    assert light["value"] == pytest.approx(250, rel=0.05) and heavy["value"] == pytest.approx(400, rel=0.05)
    assert "two-prong" in answers["decay"]


def _normal(weights: np.ndarray) -> np.ndarray:
    return weights / weights.sum()


def test_without_a_signal_nothing_is_claimed() -> None:
    answers = bumpfit.run(table(9), features=["a", "b"], config=QUICK, seed=1).to_dict()
    assert answers["verdict"] == "nothing" and answers["p_value"]["global"] > 0.01
    assert answers["n_signal"]["value"] - answers["n_signal"]["error_low"] == pytest.approx(0, abs=30)


def test_a_spectrum_without_a_test_says_why() -> None:
    mass = falling(np.random.default_rng(1), 60)
    regions = (Region(2500.0, 2800.0, 2200.0, 3100.0),)
    found = sideband_test(mass, SPAN, regions, np.full((1, 60), 0.5), (0.1,), SPECTRUM, SidebandSettings(), seed=1)
    assert isinstance(found, SpectrumTest) and not found.usable and "60 events" in found.reason
