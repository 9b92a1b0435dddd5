"""Workspaces that bumpfit builds: plain pyhf, bumpfit and a direct iminuit fit find the same minimum."""

import iminuit
import numpy as np
import pyhf
import pytest
from scipy.special import gammaln
from scipy.stats import norm

from bumpfit import shapes
from bumpfit.errors import InputError
from bumpfit.histograms import from_counts
from bumpfit.inference import discovery, fit
from bumpfit.inference.counting import on_off_q0
from bumpfit.poisson import whiten
from bumpfit.workspace import build, combine, read, rename

EDGES = np.linspace(2500.0, 6500.0, 41)
SHAPE = shapes.dijet(4, reference=4000.0)
TRUTH = np.array([1.0, 9.0, 5.0, 0.1])
SIGNAL = 100 * np.diff(norm.cdf(EDGES, 3500, 150))


def spectrum(seed: int, events: float, strength: float) -> np.ndarray:
    background = SHAPE.integrate(EDGES, TRUTH)
    mean = background * events / background.sum() + strength * SIGNAL
    return np.random.default_rng(seed).poisson(mean).astype(float)


def direct(counts: np.ndarray, start: np.ndarray, signal: np.ndarray, strength: float | None = None) -> iminuit.Minuit:
    """iminuit on the dijet function itself (bin integrals), starting at the background fit."""
    basis = SHAPE.log_linear_basis(EDGES, start)
    content = SHAPE.integrate(EDGES, start)
    whitened = whiten((basis * content[:, None]).T @ basis)

    def nll(x: np.ndarray) -> float:
        u = np.array([np.log(start[0]), *start[1:]]) + whitened @ x[1:]
        mean = SHAPE.integrate(EDGES, np.array([np.exp(u[0]), *u[1:]])) + x[0] * signal
        return float(np.sum(mean - counts * np.log(mean) + gammaln(counts + 1)))

    m = iminuit.Minuit(nll, np.array([1.0 if strength is None else strength, 0.0, 0.0, 0.0, 0.0]))
    m.errordef = iminuit.Minuit.LIKELIHOOD
    m.limits[0] = (0, None)
    m.fixed[0] = strength is not None
    m.tol = 1e-4
    m.strategy = 2
    return m.migrad()


@pytest.mark.parametrize(("events", "strength"), [(60_000, 0.0), (60_000, 3.0), (3_000, 1.0)])
@pytest.mark.parametrize("subdivisions", [1, 2])
def test_dijet_spectrum(events: float, strength: float, subdivisions: int) -> None:
    counts = spectrum(1, events, strength)
    histogram = from_counts(EDGES, counts)
    background = shapes.fit(SHAPE, histogram)
    spec = build.spectrum_of(histogram, SHAPE, background.values, SIGNAL, subdivisions=subdivisions)
    model = read(spec)
    ours = discovery(model)
    assert ours.free_fit is not None
    # the same minimum from the function itself: only the prior of four constrained parameters is different
    start = np.array([background.values[name] for name in SHAPE.parameters])
    best, null = direct(counts, start, SIGNAL), direct(counts, start, SIGNAL, 0.0)
    prior = 4 * 0.5 * np.log(2 * np.pi)
    assert ours.free_fit.twice_nll / 2 - prior == pytest.approx(best.fval, abs=1e-3)
    assert ours.mu == pytest.approx(best.values[0], abs=0.01 * max(best.errors[0], 0.1))
    assert ours.q0 == pytest.approx(2 * (null.fval - best.fval), abs=3e-3)
    assert not set(ours.free_fit.at_bounds) - {"mu"}
    # plain pyhf with default settings
    workspace = pyhf.Workspace(spec)
    theirs = workspace.model()
    values, twice_nll = pyhf.infer.mle.fit(workspace.data(theirs), theirs, return_fitted_val=True)
    assert float(twice_nll) / 2 == pytest.approx(ours.free_fit.twice_nll / 2, abs=1e-4)
    assert values[theirs.config.poi_index] == pytest.approx(ours.mu, abs=5e-3)


def test_selection_is_the_on_off_problem() -> None:
    for n, m, tau in [(20.0, 30.0, 3.0), (5.0, 2.0, 1.3), (100.0, 80.0, 1.0), (7.0, 100.0, 10.0)]:
        expected = float(on_off_q0(n, m, tau))
        for constraint in ("control", "shapesys"):
            spec = build.selection([n], [m], tau, [1.0], constraint=constraint)
            found = discovery(read(spec))
            assert found.q0 == pytest.approx(expected, abs=1e-7)
            assert found.mu == pytest.approx(max(n - m / tau, 0.0), abs=1e-5)
            workspace = pyhf.Workspace(spec)
            theirs = workspace.model()
            values, _ = pyhf.infer.mle.fit(workspace.data(theirs), theirs, return_fitted_val=True)
            assert values[theirs.config.poi_index] == pytest.approx(found.mu, abs=0.01 * np.sqrt(n))


def test_selection_without_background_events() -> None:
    spec = build.selection([4.0], [0.0], 3.0, [1.0])
    assert discovery(read(spec)).q0 == pytest.approx(float(on_off_q0(4.0, 0.0, 3.0)), abs=1e-6)
    with pytest.raises(InputError, match="empty"):
        build.selection([4.0], [0.0], 3.0, [1.0], constraint="staterror")


def test_staterror_selection_is_gaussian() -> None:
    n, m, tau = 120.0, 400.0, 4.0
    model = read(build.selection([n], [m], tau, [1.0], constraint="staterror"))
    b, relative = m / tau, 1 / np.sqrt(m)

    def nll(gamma: float) -> float:
        return float(gamma * b - n * np.log(gamma * b) + 0.5 * ((gamma - 1) / relative) ** 2)

    grid = np.linspace(0.8, 1.4, 200_001)
    null = min(nll(g) for g in grid[np.argmin([nll(g) for g in grid[::200]]) * 200 - 300 :][:600])
    best = n - n * np.log(n)
    assert discovery(model).q0 == pytest.approx(2 * (null - best), abs=1e-5)


def test_several_channels_share_the_strength() -> None:
    tight = ([20.0], [30.0], 3.0, [8.0])
    loose = ([200.0, 90.0], [500.0, 240.0], 3.0, [12.0, 9.0])
    with pytest.raises(InputError, match="different bounds"):
        combine([build.selection(*tight, channel="tight"), build.selection(*loose, channel="loose")])
    wide = [
        build.selection(*tight, channel="tight", poi_range=(0, 50)),
        build.selection(*loose, channel="loose", poi_range=(0, 50)),
    ]
    spec = combine(wide)
    model = read(spec)
    assert [c.name for c in model.channels] == ["loose", "loose_background", "tight", "tight_background"]
    parts = [read(w) for w in wide]
    values = {"mu": 0.7, "tight_background[0]": 1.1}
    total = sum(p.twice_nll({name: v for name, v in values.items() if name in p.names}) for p in parts)
    assert model.twice_nll(values) == pytest.approx(total, abs=1e-9)
    joint, single = fit(model), [fit(p) for p in parts]
    assert joint.errors["mu"] < min(s.errors["mu"] for s in single)
    workspace = pyhf.Workspace(spec)
    theirs = workspace.model()
    best, twice_nll = pyhf.infer.mle.fit(workspace.data(theirs), theirs, return_fitted_val=True)
    assert float(twice_nll) == pytest.approx(joint.twice_nll, abs=1e-3)
    assert best[theirs.config.poi_index] == pytest.approx(joint.values["mu"], abs=0.02)
    with pytest.raises(InputError, match="more than one workspace"):
        combine([wide[0], wide[0]])
    with pytest.raises(InputError, match="parameters of interest differ"):
        combine([wide[0], rename(wide[1], parameters={"mu": "nu"})])
    with pytest.raises(InputError, match="at least two"):
        combine([wide[0]])


def test_bad_input_of_the_builders() -> None:
    counts, basis = np.array([5.0, 6.0]), np.ones((2, 1))
    with pytest.raises(InputError, match="mismatching binnings"):
        build.spectrum(counts, [5.0], basis, [1.0, 1.0])
    with pytest.raises(InputError, match="mismatching binnings"):
        build.spectrum(counts, counts, basis, [1.0])
    with pytest.raises(InputError, match="positive and finite"):
        build.spectrum(counts, [5.0, 0.0], basis, [1.0, 1.0])
    with pytest.raises(InputError, match="some of them positive"):
        build.spectrum(counts, counts, basis, [0.0, 0.0])
    with pytest.raises(InputError, match="tau"):
        build.selection([1.0], [1.0], 0.0, [1.0])
    with pytest.raises(InputError, match="mismatching binnings"):
        build.selection([1.0], [1.0, 2.0], 1.0, [1.0])
    with pytest.raises(InputError, match="constraint must be"):
        build.selection([1.0], [1.0], 1.0, [1.0], constraint="poisson")
    with pytest.raises(InputError, match="disagree on the channels"):
        build.workspace({"a": []}, {"b": [1.0]}, "mu")
