"""Findings of searches that were never run: small invented numbers in the form of the real ones."""

import dataclasses

import numpy as np
from scipy.stats import norm

from bumpfit.events.tables import FEATURES, Events
from bumpfit.pages.answers import Answers, Check, Input, Iteration, PValue, SignalYield, Told, Value
from bumpfit.search.candidates import signal_of
from bumpfit.search.config import SearchConfig
from bumpfit.search.findings import Description, Particle, Scores, ShapeCheck, SignalEvents
from bumpfit.search.findings import Value as SearchValue
from bumpfit.search.peaks import PeakFit
from bumpfit.search.spectrum import SpectrumTest
from bumpfit.search.template import YieldFit
from bumpfit.search.template_scores import TemplateScores
from bumpfit.search.two_sample import GlobalP, SelectionResult, TwoSampleTest
from bumpfit.search.verdict import masses
from bumpfit.search.windows import Window

PEAK = SignalEvents(60.0, 21.0, 21.0, "spectrum")
NO_SIDEBANDS = "the spectrum from 2800 to 3200 GeV has no sidebands: a free dijet function absorbs a peak (limit 2)"
RANKS = "ranks of all forward-scored events; joint law by tilted permutations of the labels"


def events(n: int, seed: int, signal: int = 0, names: tuple[str, ...] = FEATURES, path: str | None = None) -> Events:
    rng = np.random.default_rng(seed)
    mass = rng.uniform(2800, 3200, n)
    light, delta = rng.exponential(80, n), rng.exponential(120, n)
    tau = rng.beta(4, 3, (n, 2))
    mass[:signal] = rng.normal(3000, 90, signal).clip(2800, 3199)
    light[:signal], delta[:signal] = rng.normal(200, 12, signal), rng.normal(200, 20, signal)
    columns = np.column_stack([light, delta, tau])
    return Events(np.arange(n), mass, columns, names, unit="TeV", path=path, sha256="ab" * 32)


def peak(name: str, mass: float, sigma: float, low: float, high: float, bins: int = 60) -> PeakFit:
    rng = np.random.default_rng(int(mass))
    edges = np.linspace(low, high, bins + 1)
    shape = np.diff(norm.cdf(edges, mass, sigma))
    background = np.full(bins, 4.0)
    return PeakFit(
        name, mass, 0.011 * mass, 0.004 * mass, sigma, 200.0, 20.0, True, ("alpha_low",), 55.0, bins, 0.6,
        edges, rng.poisson(background + 200 * shape).astype(float), background, background * 1.05, 200 * shape,
    )  # fmt: skip


def yield_fit(n_signal: float, n: int, m: int, share: float = 1.0) -> YieldFit:
    fractions = np.array([0.5, 0.2, 0.15, 0.1, 0.03, 0.015, 0.005])
    signal = np.array([0.02, 0.03, 0.05, 0.1, 0.1, 0.2, 0.5])
    data = np.round((n - n_signal * share) * fractions + n_signal * share * signal)
    data[0] += n - data.sum()
    return YieldFit(
        n_signal, 0.85 * n_signal, 1.2 * n_signal + 20, 1.4 * n_signal + 60, 6.0, 0.2, 1.5, 7.7, 7,
        np.array([-np.inf, -2.0, 0.1, 1.2, 2.2, 3.1, 4.0, np.inf]), data, np.round(m * fractions), signal, share,
    )  # fmt: skip


def spectrum(efficiency: float, *, usable: bool, fitted: bool = True, reason: str = NO_SIDEBANDS) -> SpectrumTest:
    rng = np.random.default_rng(int(1000 * efficiency))
    edges = np.geomspace(2000, 6000, 31)
    expected = 4e4 * efficiency * np.exp(-np.arange(30) / 4)
    name = "no selection" if efficiency == 1 else f"{efficiency:.2%} of background"
    counts = rng.poisson(expected).astype(float)
    test = SpectrumTest(name, efficiency, usable, "" if usable else reason, edges, counts)
    if fitted:
        test = dataclasses.replace(test, n_parameters=3, fitted=expected, goodness_p=0.4, inflation=1.2)
    if usable:
        masses = np.geomspace(2200, 5500, 20)
        q0 = 9.5 * np.exp(-0.5 * ((masses - 3000) / 150) ** 2)
        test = dataclasses.replace(
            test,
            masses=masses,
            q0=q0,
            yields=np.sqrt(q0) * 10,
            mass=3000.0,
            p_local=0.001,
            z_local=3.09,
            p_global=0.02,
            z_global=2.05,
            n_signal=60.0,
            n_signal_error=21.0,
            signal=np.diff(norm.cdf(edges, 3000, 90)),
        )
    return test


def two_sample(smallest: float, overall: float, windows: int = 1) -> TwoSampleTest:
    rng = np.random.default_rng(3)
    results, places = [], []
    for w in range(windows):
        for e, efficiency in enumerate((0.001, 0.003, 0.01, 0.03, 0.1)):
            best = w == windows // 2 and efficiency == 0.01
            p = smallest if best else float(min(1.0, max(rng.uniform(), 2 * smallest)))
            span = "" if windows == 1 else f" at {2 + 0.3 * w:.2f} TeV"
            if windows > 1 and w == 0 and e == 0:
                continue  # too few events there
            z = float(norm.isf(p))
            name = f"{efficiency:.2%} of background{span}"
            results.append(SelectionResult(name, None, None, efficiency, 150, 36, 60.0, 10.0, 40.0, p, z))
            places.append(w)
    best_place = int(np.argmin([r.p_local for r in results]))
    return TwoSampleTest(
        tuple(results),
        tuple(places),
        best_place,
        GlobalP(
            overall,
            float(norm.isf(overall)),
            0.05 * overall,
            4000,
            tuple(range(windows)),
            tuple(rng.normal(size=windows)),
            windows // 2,
            smallest,
        ),
    )


def particle(description: Description, test: TwoSampleTest) -> Particle:
    """A claimed resonance with the masses of the description."""
    p = test.overall
    return Particle(
        p.p_local, max(p.z_local), p.p, p.z, 2800.0, 3200.0, *masses(description),
        SignalEvents(310.0, 46.4, 82.1, "templates"), 494.0, description, p.trials, p.draws, p.error,
    )  # fmt: skip


def claimed(*, windows: int = 1, data_path: str | None = "data.csv", share: float = 1.0) -> Told:
    """A discovery: two steps taken, all checks but one passed."""
    n, m = 3000, 2000
    data, background = events(n, 1, 300, path=data_path), events(m, 2, path="background.csv")
    smallest = 1e-12
    count = 5 if windows == 1 else 5 * windows - 1
    test = two_sample(smallest, count * smallest, windows)
    rng = np.random.default_rng(4)
    survival = np.concatenate([10 ** -rng.uniform(1, 3, 300), rng.uniform(1e-3, 1, n - 300)])
    probability = np.clip(1 - survival * 5, 0.0, 1.0)
    first = Description(
        peak("m_JJ", 2990, 90, 2800, 3200), peak("m_J1", 201, 12, 20, 500), peak("m_J2", 398, 20, 100, 900), None, None
    )
    fitted = yield_fit(310.0, n, m, share)
    span = (2500.0, 3500.0)
    like = signal_of(first).inside(*span)
    templates = TemplateScores(rng.normal(-1, 1.5, n), rng.normal(-1, 1.5, m), rng.normal(3, 1, len(like.mass)))
    updated = dataclasses.replace(first, yield_fit=fitted, template_scores=templates, span=span)
    value = Value(2990.0, 33.0)
    before = {
        "m_JJ": {"value": 2990.0, "error": 33.0},
        "n_signal": {"value": 150.0, "error_low": 20.0, "error_high": 20.0},
    }
    after = {
        "m_JJ": {"value": 3001.0, "error": 31.0},
        "n_signal": {"value": 310.0, "error_low": 46.0, "error_high": 82.0, "method": "templates"},
    }
    answers = Answers(
        "0.1.0", 7, (Input(data_path, "ab" * 32, n, "TeV"), Input("background.csv", "cd" * 32, m, "TeV")), 12.3,
        PValue(smallest, count * smallest, 7.03, 6.8, RANKS, 0.0, windows, 4000, 0.05 * count * smallest),
        "resonance", True, 3.0, (), value,
        (Value(201.4, 2.31, "J1"), Value(398.2, 4.44, "J2")), "A (2990 GeV) -> B (398 GeV) + C (201 GeV)",
        SignalYield(310.0, 46.4, 82.1, "fit of templates"), 494.0, 10.3, tuple(r.to_dict() for r in test.selections),
        {"usable": True}, {}, (Check("shape is kept", True, "p = 0.4"), Check("yield | limit", False, "2 < 3")),
        (Iteration("templates", "the yield is not known", before, after), Iteration("masses", "as learned", after, {})),
    )  # fmt: skip
    shapes = tuple(
        ShapeCheck(
            e, 8.0, 4, p, np.array([2800.0, 2900, 3000, 3100, 3200]), np.array([12.0, 9, 11, 8]), np.full(4, 10.0)
        )
        for e, p in ((0.1, 0.5), (0.01, 3e-5))
    )
    spans = tuple(Window(1500 + 300 * w, 2500 + 300 * w, 2000 + 300 * w) for w in range(windows))
    if windows == 1:
        spans = (Window(-np.inf, np.inf, 3000.0),)
    spectra = (
        spectrum(1, usable=True),
        spectrum(0.1, usable=True),
        spectrum(0.01, usable=False, fitted=False, reason="9 events"),
    )
    return Told(
        SearchConfig(), data, background, spans, test,
        Scores(survival, np.random.default_rng(5).uniform(1e-3, 1, m), probability), probability**2,
        spectra,
        shapes, first, updated, None, 7, "resonance", (particle(updated, test),),
        SignalEvents(310.0, 46.4, 82.1, "templates"), 494.0, (), (), answers=answers,
    )  # fmt: skip


def nothing(overall: float = 0.4) -> Told:
    """No claim: an upper limit of a generic signal, and a spectrum without sidebands."""
    found = claimed()
    test = two_sample(0.1, overall)
    answers = dataclasses.replace(
        found.answers, verdict="nothing", claim=False, resonance_mass=None, daughter_masses=None, decay=None,
        p_value=PValue(0.1, overall, 1.28, float(norm.isf(overall)), RANKS, 0.0, 1, 2000, 0.01),
        n_signal=SignalYield(0.0, 0.0, 40.0, "template fit of a generic signal"), n_signal_upper_limit_95=66.0,
        signal_percent=0.0, mass_spectrum_fit={"usable": False}, iterations=(),
        checks=(Check("the m_JJ spectrum can be tested", None, NO_SIDEBANDS),),
    )  # fmt: skip
    return dataclasses.replace(
        found, answers=answers, test=test, verdict="nothing", particles=(), first=None, updated=None,
        null_yield=yield_fit(0.0, 3000, 2000),
        spectra=(spectrum(1, usable=False), spectrum(0.001, usable=False, fitted=False)), shapes=(),
    )  # fmt: skip


def spectrum_only(*, claim: bool = False) -> Told:
    """No background table: the spectrum is the primary test."""
    found = nothing()
    p = PValue(3e-7 if claim else 1e-3, 6e-6 if claim else 0.02, 5.0, 4.4, "asymptotic; union bound", 0.0, 20, 0)
    answers = dataclasses.replace(
        found.answers, inputs=found.answers.inputs[:1], p_value=p, claim=claim,
        verdict="resonance" if claim else "nothing",
        selections=(), checks=(),
        resonance_mass=Value(3000.0, 41.0) if claim else None, mass_spectrum_fit={"usable": True},
        n_signal=SignalYield(60.0, 21.0, 21.0, "yield of the peak"),
    )  # fmt: skip
    n = len(found.data)
    return dataclasses.replace(
        found, answers=answers, background=None, verdict="resonance" if claim else "nothing",
        particles=(Particle(3e-7, 5.0, 6e-6, 4.4, 2000.0, 6000.0, SearchValue(3000.0, 41.0), (), PEAK, 96.0),) * claim,
        windows=(), test=None, null_yield=None,
        scores=Scores(np.ones(n), np.empty(0), np.zeros(n)), updated_probability=np.zeros(n),
        spectra=(spectrum(1, usable=True),),
    )  # fmt: skip
