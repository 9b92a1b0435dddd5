"""Small hand-made records of a search: round numbers, no trainings, no fits."""

import numpy as np

from bumpfit.events.tables import FEATURES, Events
from bumpfit.runs import nowhere
from bumpfit.search.config import SearchConfig
from bumpfit.search.describe import Neighbourhood
from bumpfit.search.findings import Scores
from bumpfit.search.peaks import PeakFit
from bumpfit.search.spectrum import SpectrumTest
from bumpfit.search.steps import Searched
from bumpfit.search.surrogate import Surrogate
from bumpfit.search.template import YieldFit
from bumpfit.search.template_scores import TemplateScores
from bumpfit.search.two_sample import GlobalP, SelectionResult, TwoSampleTest
from bumpfit.search.windows import InWindows, Window

TWO_WINDOWS = (Window(-np.inf, 3000.0, 2750.0), Window(2800.0, np.inf, 3250.0))


def events(mass: np.ndarray, names: tuple[str, ...] = FEATURES) -> Events:
    rows = np.arange(len(mass))
    columns = np.column_stack([100.0 + rows, 200.0 + 0 * rows, np.full(len(mass), 0.5), np.full(len(mass), 0.4)])
    return Events(rows, np.asarray(mass, dtype=float), columns[:, : len(names)], names)


def peak(
    name: str, mass: float, error: float = 10.0, *, valid: bool = True, at_bounds: tuple[str, ...] = ()
) -> PeakFit:
    bins = np.ones(4)
    return PeakFit(
        name, mass, error, 0.5 * error, 30.0, 50.0, 9.0, valid, at_bounds, 4.0, 10, 1.0, np.arange(5.0), bins, bins,
        bins, bins,
    )  # fmt: skip


def peaks(resonance: float = 3000.0, error: float = 10.0) -> tuple[PeakFit, PeakFit, PeakFit]:
    return peak("m_JJ", resonance, error), peak("m_J1", 150.0, error), peak("m_J2", 400.0, error)


def yield_fit(n: float = 100.0, z: float = 5.0, deviance: float = 5.0) -> YieldFit:
    fractions = np.full(7, 1 / 7)
    return YieldFit(
        n, n - 20, n + 30, n + 60, z, 0.2, 1.0, deviance, 7, np.arange(8.0), fractions, fractions, fractions
    )


def selection(n_data: int = 150, expected: float = 60.0, error: float = 10.0, z: float = 4.0) -> SelectionResult:
    return SelectionResult("1 %", None, None, 0.01, n_data, 36, expected, error, 40.0, 3e-5, z)


def two_sample(z: float = 4.0, chosen: SelectionResult | None = None) -> TwoSampleTest:
    """Two windows; the best selection is the second one, in the second window."""
    found = GlobalP(1e-4, z, 1e-5, 4000, (0, 1), (1.0, 4.5), 1, 2e-5)
    return TwoSampleTest((selection(20, 18.0, 3.0, 0.4), chosen or selection()), (0, 1), 1, found)


def surrogate(n: int = 40, *, extrapolated: bool = False) -> Surrogate:
    rng = np.random.default_rng(1)
    features = np.column_stack([rng.normal(150, 9, n), rng.normal(250, 9, n), rng.uniform(size=(n, 2))])
    return Surrogate(features, rng.normal(3000, 60, n), np.full(n, 1 / n), np.arange(n) % 2 + 2, extrapolated)


def near(data: Events, background: Events, *, share: float = 0.5, extrapolated: bool = False) -> Neighbourhood:
    low, high = 2900.0, 3100.0
    inside = [(t.mass >= low) & (t.mass < high) for t in (data, background)]
    return Neighbourhood(low, high, *inside, surrogate(extrapolated=extrapolated), share)


def template_scores(n: int, m: int) -> TemplateScores:
    return TemplateScores(np.linspace(-3, 3, n), np.linspace(-3, 1, m), np.linspace(-1, 4, 40))


def spectrum(
    name: str = "all",
    *,
    usable: bool = True,
    z_local: float = 3.0,
    z_global: float = 2.0,
    peak_mass: float | None = None,
) -> SpectrumTest:
    """Four bins from 2000 to 6000 GeV; 20 (-10, +8) events of a peak in the second and third one."""
    edges, counts = np.linspace(2000.0, 6000.0, 5), np.array([40.0, 40.0, 20.0, 10.0])
    if not usable:
        return SpectrumTest(name, 1.0, False, "too narrow", edges, counts)
    return SpectrumTest(
        name, 1.0, True, "", edges, counts, 2, np.array([40.0, 30.0, 10.0, 10.0]), 0.4, 1.2, np.linspace(2500, 5500, 5),
        np.arange(5.0), np.arange(5.0), np.ones(5), np.arange(5.0), 3500.0, 1e-3, z_local, 5e-3, z_global, 20.0, 8.0,
        10.0, 28.0, 36.0, peak_mass, None if peak_mass is None else peak_mass - 30.0,
        None if peak_mass is None else peak_mass + 50.0, np.array([0.0, 0.5, 0.5, 0.0]),
    )  # fmt: skip


def searched(iterations: int, *, names: tuple[str, ...] = FEATURES, test: TwoSampleTest | None = None) -> Searched:
    data, background = events(np.linspace(2600, 3400, 81), names), events(np.linspace(2600, 3400, 41), names)
    u_data, u_background = (InWindows((np.ones(n, bool),) * 2, (np.full(n, 0.5),) * 2) for n in (81, 41))
    scores = Scores(np.full(81, 0.5), np.full(41, 0.5), np.full(81, 0.25))
    return Searched(
        data, background, TWO_WINDOWS, test or two_sample(), u_data, u_background, scores, SearchConfig(), 7, None,
        iterations, nowhere(),
    )  # fmt: skip
