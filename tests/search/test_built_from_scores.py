"""The mass scan of `build`: one call of the log-linear engine says what the workspaces of the masses say."""

import numpy as np
import pytest

from bumpfit import histograms, inference, shapes, workspace
from bumpfit.search.from_scores import BuildSettings, Scored, peak, spectrum_workspace
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
