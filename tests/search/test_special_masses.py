"""Masses at which descriptions go wrong: daughters of equal masses, a resonance at the edge of the table."""

import dataclasses

import numpy as np
import pytest
from small_records import peak, peaks, yield_fit

from bumpfit.events.tables import FEATURES, Events
from bumpfit.search.candidates import region
from bumpfit.search.config import ParticleSettings, SearchConfig
from bumpfit.search.describe import masses_of, neighbourhood, peak_masses
from bumpfit.search.findings import Description, Particle, SignalEvents
from bumpfit.search.particles import _no_particle
from bumpfit.search.peaks import fit_peak, unordered
from bumpfit.search.surrogate import Masses, signal_like
from bumpfit.search.template_scores import TemplateScores
from bumpfit.search.verdict import masses
from bumpfit.search.windows import Window

CONFIG = SearchConfig()
EVERYTHING = (Window(-np.inf, np.inf, 3000.0),)


def selected(true: Masses, n: int, low: float, rng: np.random.Generator) -> tuple[Events, Events]:
    """Events of a selection above a mass: n of the signal in the data, and smooth background in both tables."""
    cloud = signal_like(true).inside(low, 6000.0)
    rows = rng.choice(len(cloud.mass), size=n, p=cloud.weights)
    smooth = [np.column_stack([rng.gamma(2, 60, k), rng.gamma(2, 70, k), rng.beta(4, 3, (k, 2))]) for k in (200, 400)]
    mass = [low + rng.exponential(400, k) for k in (200, 400)]
    features = np.concatenate([cloud.features[rows], smooth[0]])
    return (
        Events(np.arange(n + 200), np.r_[cloud.mass[rows], mass[0]], features, FEATURES),
        Events(np.arange(400), mass[1], smooth[1], FEATURES),
    )


@pytest.mark.parametrize("distance", [0.0, 30.0, 60.0, 300.0])
def test_ordered_jets_of_gaussian_peaks(distance: float) -> None:
    """Means and spreads of the smaller and the larger of two Gaussians give back their true distance."""
    x = np.random.default_rng(1).normal([300.0, 300.0 + distance], 25.0, (400_000, 2))
    low, high = (dataclasses.replace(peak("m", float(v.mean())), sigma=float(v.std())) for v in (x.min(1), x.max(1)))
    light, heavy = unordered(low, high)
    # where the masses are the same, their distance is the root of what the sample leaves
    assert heavy - light == pytest.approx(distance, abs=4.0 if distance == 0 else 1.0)
    assert 0.5 * (light + heavy) == pytest.approx(300 + distance / 2, abs=0.2)


def test_peaks_far_apart_are_the_daughters() -> None:
    """At eight widths the difference that is solved for is as small as its rounding, of either sign."""
    for width in np.linspace(4.0, 60.0, 400):
        for mass, distance in ((99.7, 201.3), (203.2, 207.5)):
            low, high = (dataclasses.replace(peak("m", m), sigma=float(width)) for m in (mass, mass + distance))
            light, heavy = unordered(low, high)
            assert light + heavy == pytest.approx(low.mass + high.mass, rel=1e-12)
            assert 0 <= heavy - light <= distance
            assert distance < 8 * width or heavy - light == pytest.approx(distance, rel=1e-9)


@pytest.mark.parametrize("true", [Masses(3000.0, 300.0, 300.0), Masses(3000.0, 200.0, 420.0)])
def test_masses_of_daughters(true: Masses) -> None:
    """Two daughters of one mass are a pair at that mass, and not two particles at the masses of ordered jets."""
    data, table = selected(true, 400, 2500.0, np.random.default_rng(2))
    fits = masses_of(data, table, 2.0, {"low": 2500.0, "high": 5000.0}, CONFIG)
    description = Description(*fits, yield_fit(400.0, z=9.0), None)
    resonance, (light, heavy) = masses(description)
    assert resonance is not None and abs(resonance.value - 3000) < 2 * resonance.error
    for found, mass in ((light, true.light), (heavy, true.heavy)):
        assert abs(found.value - mass) < 2 * found.error
    if true.light == true.heavy:
        assert heavy.value - light.value < 0.5 * (fits[2].mass - fits[1].mass)
    once = peak_masses(fits)
    assert (once.light, once.heavy) == (light.value, heavy.value)
    swapped = dataclasses.replace(description, light=fits[2], heavy=fits[1])
    assert masses(swapped) == masses(description)
    signal = SignalEvents(400, 20, 20, "templates")
    known = Particle(1e-9, 6.0, 1e-9, 6.0, 2500.0, 5000.0, None, (), signal, 450.0, description)
    assert "earlier" in _no_particle(swapped, [known], ParticleSettings())


def test_a_resonance_at_the_edge_of_the_table() -> None:
    """Half of the peak is cut off: the mass is that of the edge or one with an error, the yield that of the table."""
    mass, low = 2530.0, 2500.0
    true = Masses(mass, 150.0, 400.0)
    data, table = selected(true, 400, low, np.random.default_rng(3))
    found_peak = fit_peak("m_JJ", data.mass, table.mass, 2.0, low=low, high=float(data.mass.max()))
    fits = (found_peak, *peaks()[1:])
    assert fits[0].valid and abs(fits[0].mass - mass) < 2 * fits[0].error
    near = neighbourhood(data, table, peak_masses(fits), EVERYTHING, CONFIG)
    assert near.share == pytest.approx(1.0)  # of the signal in the table
    assert near.surrogate.mass.min() >= low
    cloud = signal_like(peak_masses(fits))
    inside = (cloud.mass >= near.low) & (cloud.mass < near.high)
    scores = TemplateScores(np.full(600, 9.0), np.full(400, 9.0), np.linspace(0, 2, int(inside.sum())))
    found = region(Description(*fits, yield_fit(400.0), scores, (near.low, near.high)), data, table, 0.05)
    assert found is not None and found.data.sum() >= 590  # all but those far from the mass
    assert found.left.weights.sum() == pytest.approx(0.05 * 400, rel=0.2)  # nothing is expected beyond the edge
