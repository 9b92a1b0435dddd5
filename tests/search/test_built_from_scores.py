"""The mass scan of `build`: one call of the log-linear engine says what the workspaces of the masses say."""

import dataclasses

import numpy as np
import pytest

from bumpfit import histograms, inference, shapes, workspace
from bumpfit.errors import InputError
from bumpfit.search.from_scores import BuildSettings, peak, selection_workspace, spectrum_workspace
from bumpfit.search.scored import Scored
from bumpfit.workspace.build import spectrum_of

SETTINGS = BuildSettings(keep=0.2, low=3000.0, high=6000.0, parameters=3)


def test_a_scan_is_the_discovery_of_each_mass() -> None:
    rng = np.random.default_rng(3)
    masses = np.concatenate([3000 - 500 * np.log1p(-rng.random(20_000) * (1 - np.exp(-6))), rng.normal(4200, 126, 80)])
    scores = np.concatenate([rng.random(20_000), rng.uniform(0.9, 1.0, 80)])
    found = spectrum_workspace(Scored(scores, masses, "table"), SETTINGS)
    assert found.masses is not None and found.q0 is not None and found.edges is not None
    assert found.mass == pytest.approx(4200, abs=150)
    histogram = histograms.from_counts(found.edges, found.counts)
    shape = shapes.dijet(3, reference=float(np.sqrt(found.edges[0] * found.edges[-1])))
    background = shapes.fit(shape, histogram)
    for k in (2, int(np.argmax(found.q0)), found.q0.size - 3):
        signal = peak(found.edges, float(found.masses[k]), SETTINGS)
        model = workspace.read(spectrum_of(histogram, shape, background.values, signal))
        assert found.q0[k] == pytest.approx(inference.discovery(model).q0, abs=1e-3)
    model = workspace.read(found.workspace)
    information = model.information({model.poi: 0.0})
    unit = np.sqrt(np.diag(information))
    error = np.sqrt(np.linalg.inv(information / np.outer(unit, unit))[model.index(model.poi)][model.index(model.poi)])
    assert found.inflation == pytest.approx(error, rel=1e-4)


def table(extra: int) -> Scored:
    """Falling masses, and `extra` events with high scores from 4050 to 4300 GeV."""
    rng = np.random.default_rng(3)
    masses = 3000 - 500 * np.log1p(-rng.random(20_000) * (1 - np.exp(-6)))
    scores = rng.random(20_000)
    return Scored(
        np.concatenate([scores, np.full(extra, 0.95)]),
        np.concatenate([masses, rng.uniform(4050.0, 4300.0, extra)]),
        "table",
    )


BLIND = dataclasses.replace(SETTINGS, blind_mass=(4000.0, 4400.0), mass=4500.0)


def test_nothing_depends_on_events_in_a_blinded_window() -> None:
    """The workspace is the same with 500 more events in the window, its bins are those outside, and the background is
    that of the fit to them."""
    found, other = (spectrum_workspace(table(extra), BLIND) for extra in (0, 500))
    assert found.workspace == other.workspace and found.n_selected == other.n_selected and found.cut == other.cut
    assert found.edges is not None and found.counts is not None and found.blinded is not None
    low, high = found.blinded
    assert low <= 4000 and high >= 4400 and {low, high} <= set(found.edges)
    hidden = (found.edges[:-1] >= low) & (found.edges[1:] <= high)
    np.testing.assert_array_equal(np.isnan(found.counts), hidden)
    model = workspace.read(found.workspace)
    assert len(model.observed) == (~hidden).sum() and model.observed.sum() == found.n_selected
    histogram = histograms.from_counts(found.edges, found.counts)
    shape = shapes.dijet(3, reference=float(np.sqrt(found.edges[0] * found.edges[-1])))
    background = shapes.fit(shape, histogram)
    np.testing.assert_allclose(found.fitted, shape.integrate(found.edges, background.values), rtol=1e-9)
    scanned = [spectrum_workspace(table(extra), dataclasses.replace(BLIND, mass=None)) for extra in (0, 500)]
    assert scanned[0].masses is not None and not ((scanned[0].masses > low) & (scanned[0].masses < high)).any()
    np.testing.assert_array_equal(scanned[0].q0, scanned[1].q0)


@pytest.mark.parametrize("bins", [None, 12])
def test_a_count_leaves_out_a_blinded_window(bins: int | None) -> None:
    settings = dataclasses.replace(BLIND, bins=bins, low=3000.0, high=6000.0)
    found, other = (selection_workspace(table(extra), table(0), settings) for extra in (0, 500))
    assert found.workspace == other.workspace and found.tau == other.tau == 1.0
    plain = selection_workspace(table(0), table(0), dataclasses.replace(settings, blind_mass=None))
    assert found.n_selected < plain.n_selected
    if bins is not None and found.counts is not None:
        assert np.isnan(found.counts).sum() == 2 and found.blinded == (4000.0, 4500.0)


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((1000.0, 2000.0), "hides no bin of the spectrum, which is from 3000"),
        ((1000.0, 9000.0), "hides every bin"),
        ((3600.0, 5600.0), "hidden whole by the blinded window"),
    ],
)
def test_windows_that_cannot_be_blinded_are_refused(window: tuple[float, float], message: str) -> None:
    settings = dataclasses.replace(BLIND, blind_mass=window, mass=4600.0, width=30.0)
    with pytest.raises(InputError, match=message):
        spectrum_workspace(table(0), settings)
