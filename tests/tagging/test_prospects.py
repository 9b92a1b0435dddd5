"""Templates against sums by hand, the likelihood against pyhf."""

import warnings

import numpy as np
import pyhf
import pytest

from bumpfit.errors import InputError
from bumpfit.events.dataset import Dataset
from bumpfit.scoring.significance import asimov
from bumpfit.tagging import Setup, prospects, score_edges, templates
from bumpfit.tagging.templates import expected_events


def dataset(n: int = 2000, seed: int = 1) -> Dataset:
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1, 2], [n, n, n // 2]).astype("i4")
    x = rng.normal([-1.0, 0.0, 1.5], 1.0, (len(y), 3))[np.arange(len(y)), y][:, None].astype("f4")
    origin = {name: {"events": 4 * n, "weight": 4.0 * n} for name in ("qcd", "top", "new")}
    weights = np.where(y == 1, 0.5, 1.0)
    made = Dataset(x, y, weights, ("x",), ("qcd", "top", "new"), provenance={"classes": origin})
    return made.split(0.5, 0.5, seed=2)


SETUP = Setup(
    luminosity=10.0,
    cross_sections={"qcd": 0.4, "top": 0.1},
    events={"new": 30.0},
    cross_section_errors={"top": 0.06},
    bins=6,
)


def test_expected_events_by_hand() -> None:
    found = expected_events(dataset(), luminosity=10, cross_sections={"qcd": 0.4, "top": 0.1}, events={"new": 30})
    assert found == pytest.approx({"qcd": 0.4 * 1e4 * 2000 / 8000, "top": 0.1 * 1e4 * 1000 / 8000, "new": 30})
    assert expected_events(dataset()) == pytest.approx({"qcd": 2000, "top": 1000, "new": 1000})


def test_templates_by_hand() -> None:
    data = dataset().get("test")
    values = data.samples[:, 0].astype(float)
    values[:5] = np.nan
    values[5:8] = 99.0
    made = templates(data, values, [-1.0, 0.5, 3.0], {"qcd": 100.0, "top": 7.0, "new": 3.0}, "x")
    qcd = data.targets == 0
    upper = int((values[qcd] >= 0.5).sum())
    assert made.histograms["qcd"].counts.tolist() == pytest.approx([100 * (1000 - 5 - upper) / 1000, upper / 10])
    assert made.histograms["qcd"].variances[1] == pytest.approx(upper / 100)
    assert made.missing == {"qcd": 5, "top": 0, "new": 0}
    assert made.histograms["top"].counts.sum() == pytest.approx(7.0)


def test_edges_of_a_score() -> None:
    rng = np.random.default_rng(3)
    signal = np.repeat([False, True], 3000)
    values = np.where(signal, rng.beta(6, 2, 6000), rng.beta(2, 6, 6000))
    edges = score_edges(values, signal, np.ones(6000), 10, least_background=20)
    counts = np.histogram(values[~signal], edges)[0]
    assert counts.min() >= 20 and counts.sum() == 3000
    assert np.histogram(values[signal], edges)[0].sum() == 3000
    top = values >= edges[-2]
    assert (top & ~signal).sum() == 20 and (top & signal).sum() > 1000  # as pure as the background allows
    alike = np.where(signal, rng.beta(3, 2, 6000), rng.beta(2, 2, 6000))
    quarters = np.quantile(alike[signal], [0.25, 0.5, 0.75])
    found = score_edges(alike, signal, np.ones(6000), 4, least_background=1)
    assert all(np.abs(found - quarter).min() < 0.01 for quarter in quarters)
    yes_no = score_edges((values > 0.5).astype(float), signal, np.ones(6000), 10)
    assert len(yes_no) == 3 and 0 < yes_no[1] < 1


def test_against_pyhf() -> None:
    data = dataset()
    found = prospects(data, data.samples[:, 0], SETUP, name="score")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = pyhf.Workspace(found.workspace).model()
        parameters = np.array(model.config.suggested_init())
        strength = model.config.poi_index
        with_signal = parameters.copy()
        with_signal[strength] = 1.0
        toy = model.expected_data(with_signal)
        p = pyhf.infer.hypotest(0.0, toy, model, test_stat="q0")
        data_of = list(found.data) + list(model.config.auxdata)
        excluded = [
            pyhf.infer.hypotest(found.limit.expected[band], data_of, model, return_expected_set=True)[1][band]
            for band in (2, 4)
        ]
    assert found.expected.p == pytest.approx(float(p), rel=1e-3)
    np.testing.assert_allclose(np.array(excluded, float), 0.05, rtol=0.01)  # CLs of pyhf at our limits
    assert found.limit.observed is None and found.observed is None and not found.has_data
    total = sum(map(sum, found.yields.values()))
    assert total == pytest.approx(1000 + 125 + 30)


def test_classes_without_given_yields_are_told() -> None:
    data = dataset()
    some = prospects(data, data.samples[:, 0], Setup(luminosity=10.0, cross_sections={"qcd": 0.4}), name="x", part=None)
    assert any("for new (1000 events), top (1000 events): its weights are taken" in note for note in some.notes)
    for setup in (SETUP, Setup()):
        assert not any("weights are taken" in note for note in prospects(data, data.samples[:, 0], setup).notes)


def test_one_bin_is_the_counting_formula() -> None:
    """No luminosity error, many simulated events: the Asimov significance with background uncertainty."""
    data = dataset(60_000)
    setup = Setup(
        luminosity_error=0, events={"qcd": 80.0, "top": 1e-9, "new": 25.0}, background_error=0.1, edges=(-10, 10)
    )
    found = prospects(data, data.samples[:, 0], setup, name="x", part=None)
    assert found.expected.z == pytest.approx(float(asimov(25, 80, 8)), rel=0.03)  # Poisson against normsys constraint


def test_observed_data_are_counted_and_fitted() -> None:
    data = dataset()
    rng = np.random.default_rng(9)
    seen = np.r_[rng.normal(-1, 1, 500), rng.normal(0, 1, 125), rng.normal(1.5, 1, 60), np.nan]
    found = prospects(data, data.samples[:, 0], SETUP, observed=seen)
    assert sum(found.data) == 685 and found.has_data
    assert any("1 observed events have no value" in note for note in found.notes)
    assert found.observed is not None and found.observed.mu == pytest.approx(2.0, abs=1.2)
    assert found.limit.observed is not None and found.limit.observed > found.limit.expected[2]
    plain = found.to_dict()
    assert "workspace" not in plain and "free_fit" not in plain["expected"]


@pytest.mark.parametrize(
    ("setup", "message"),
    [
        (Setup(signal="old"), "no class 'old'"),
        (Setup(cross_sections={"qcd": 1.0}), "needs a luminosity"),
        (Setup(luminosity=-1.0, cross_sections={"qcd": 1.0}), "luminosity is -1"),
        (Setup(luminosity=1.0, cross_sections={"qcd": 0.0}), "expected a positive number"),
        (Setup(luminosity=1.0, cross_sections={"qcd": 1.0}, events={"qcd": 1.0}), "give one of them"),
        (Setup(events={"w": 1.0}), "the classes are qcd, top, new"),
        (Setup(background_error=1.5), "from 0 to below 1"),
        (Setup(cross_section_errors={"w": 0.1}), "no class 'w'"),
        (Setup(bins=0), "at least one bin"),
        (Setup(edges=(1.0, 0.0)), "must increase"),
    ],
)
def test_refuses(setup: Setup, message: str) -> None:
    data = dataset(50)
    with pytest.raises(InputError, match=message):
        prospects(data, data.samples[:, 0], setup)


def test_refuses_values() -> None:
    data = dataset(50)
    with pytest.raises(InputError, match="one value a sample"):
        prospects(data, [1.0, 2.0])
    with pytest.raises(InputError, match="no event has a value"):
        prospects(data, np.full(len(data), np.nan))
    with pytest.raises(InputError, match="nothing to bin"):
        prospects(data, np.ones(len(data)))
    foreign = Dataset(data.samples, data.targets, data.weights, data.features, data.classes)
    with pytest.raises(InputError, match="does not say how many events"):
        prospects(foreign, data.samples[:, 0], Setup(luminosity=1.0, cross_sections={"qcd": 1.0}))
    whole = prospects(foreign, data.samples[:, 0])
    assert any("not split" in note for note in whole.notes)
