"""The whole search where there is no background table: signal regions against their sidebands, or the spectrum alone.

Signal regions need a range of masses with sidebands and enough events. Where there are none, the peak over the dijet
function in the spectrum of all events is the test.
"""

from __future__ import annotations

from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError
from bumpfit.events.tables import Events
from bumpfit.runs import Run
from bumpfit.search import checks
from bumpfit.search.config import SearchConfig
from bumpfit.search.describe import FEWEST, has_jets
from bumpfit.search.findings import Check, Findings, Origin, Particle, Scores, SignalEvents, Value, Verdict
from bumpfit.search.mass_range import MassRange, mass_range
from bumpfit.search.peaks import fit_peak, unordered
from bumpfit.search.posterior import TINY, calibrated, density_ratio, learned_law, scaled, untied
from bumpfit.search.selected_yield import SelectedYield, selected_yield
from bumpfit.search.sideband_test import SidebandTest, sideband_test
from bumpfit.search.sidebands import region_ranks, signal_regions
from bumpfit.search.spectrum import SpectrumTest, spectrum_test
from bumpfit.search.surrogate import FEATURES, Masses, generic, signal_like
from bumpfit.search.verdict import decide
from bumpfit.search.whole_yield import Estimate, before_selection

Array = NDArray[np.float64]

NOWHERE = 1e-9
"""Density of signal over background at masses where no signal is."""


def search_without_table(
    data: Events, config: SearchConfig, seed: int, executor: Executor | None, kept: Run
) -> Findings:
    """Findings of one table alone.

    Raises:
        BumpfitError: not even the spectrum of all events can be tested.
    """
    found = mass_range(data.mass, config.spectrum)
    span = found.low, found.high
    regions = signal_regions(data.mass, span, config.sidebands) if data.names else ()
    kept.log.write("signal regions", number=len(regions))
    if not regions:
        spectrum = spectrum_test("no selection", data.mass, 1.0, span, config.spectrum)
        return _of_spectrum(data, spectrum, found, config, seed)
    ranks = region_ranks(
        data, span, regions, config.approach, config.sidebands, seed=seed, executor=executor, kept=kept
    )
    test = sideband_test(
        data.mass, span, regions, ranks, config.efficiencies, config.spectrum, config.sidebands, seed=seed
    )
    if isinstance(test, SpectrumTest):
        return _of_spectrum(data, test, found, config, seed)
    kept.log.write("sideband test", p_global=test.p_global, z_global=test.z_global, toys=test.toys)
    return _of_regions(data, test, found, config, seed, executor)


def _of_spectrum(data: Events, spectrum: SpectrumTest, span: MassRange, config: SearchConfig, seed: int) -> Findings:
    """The peak over the dijet function is the primary test, if there are sidebands."""
    if not spectrum.usable:
        raise BumpfitError(
            f"without a background table only the m_JJ spectrum can be tested, and it cannot: {spectrum.reason}; "
            "give a background table (--background)"
        )
    assert spectrum.p_local is not None and spectrum.p_global is not None and spectrum.limit is not None
    assert spectrum.z_global is not None and spectrum.z_local is not None and spectrum.masses is not None
    found = (
        checks.repeated(data),
        Check("sidebands", True, {"inflation": spectrum.inflation}),
        checks.fitted_range(span, len(data)),
    )
    verdict = decide(spectrum.z_global, config.claim_z, found)
    only = Particle(
        spectrum.p_local, spectrum.z_local, spectrum.p_global, spectrum.z_global, float(spectrum.edges[0]),
        float(spectrum.edges[-1]), _position(spectrum, config), (), _yield(spectrum), spectrum.limit,
        trials=len(spectrum.masses),
    )  # fmt: skip
    scores = Scores(np.ones(len(data)), np.empty(0), _by_mass(data, spectrum))
    return _findings(data, config, seed, verdict, (only,), scores, found, (spectrum,))


def _findings(
    data: Events,
    config: SearchConfig,
    seed: int,
    verdict: Verdict,
    candidates: tuple[Particle, ...],
    scores: Scores,
    found: tuple[Check, ...],
    spectra: tuple[SpectrumTest, ...],
    sidebands: SidebandTest | None = None,
) -> Findings:
    """Findings of one table, whose candidates, the leading one first, are particles where the verdict says so."""
    return Findings(
        config=config,
        data=data,
        background=None,
        windows=(),
        test=None,
        scores=scores,
        updated_probability=scores.probability,
        spectra=spectra,
        shapes=(),
        first=None,
        updated=None,
        null_yield=None,
        seed=seed,
        verdict=verdict,
        particles=candidates if verdict == "resonance" else (),
        signal=candidates[0].signal,
        upper_95=candidates[0].upper_95,
        checks=found,
        steps=(),
        sidebands=sidebands,
    )


def _of_regions(
    data: Events, test: SidebandTest, span: MassRange, config: SearchConfig, seed: int, executor: Executor | None
) -> Findings:
    whole = test.spectra[0]
    found = (
        checks.repeated(data),
        Check("sidebands", True, {"inflation": whole.inflation}),
        checks.fitted_range(span, len(data)),
        checks.of_features(data, span, test, config),
        checks.elsewhere(test, config.claim_z),
    )
    verdict = decide(test.z_global, config.claim_z, found)
    tests = test.candidates(config.claim_z) if verdict == "resonance" else (test,)
    candidates = tuple(_candidate(data, one, span, verdict, config, seed, executor) for one in tests)
    none_of_them = np.ones(len(data))
    for one, candidate in zip(tests, candidates, strict=True):
        total = 0.0 if verdict == "difference" else candidate.signal.value
        none_of_them *= 1 - _probability(data, one, _survival(one), total, learn=verdict == "resonance")
    probability = 1 - none_of_them
    scores = Scores(_survival(test), np.empty(0), untied(probability) if len(tests) > 1 else probability)
    return _findings(data, config, seed, verdict, candidates, scores, found, test.spectra, test)


def _survival(test: SidebandTest) -> Array:
    """Ranks of the scores of the candidate's region, 1 outside of the range."""
    ranks: Array = test.survival[test.region]
    return np.where(np.isnan(ranks), 1.0, ranks)


def _candidate(
    data: Events, test: SidebandTest, span: MassRange, verdict: Verdict, config: SearchConfig, seed: int,
    executor: Executor | None,
) -> Particle:  # fmt: skip
    region = test.regions[test.region]
    daughters = _daughters(data, test, config) if verdict == "resonance" else ()
    claimed = verdict == "resonance" and test.best is not None
    preference = None
    fitted = _fitted_yield(data, span, test, daughters, config, seed, executor) if daughters or not claimed else None
    if fitted is not None:
        yields, limit = _told(fitted, test, claimed=bool(daughters)), fitted.upper_95
        preference = fitted.two_prong_preference if daughters else None
    else:
        yields, limit = _before_selection(test)
    return Particle(
        test.p_local, test.z_local, test.p_global, test.z_global, region.low, region.high,
        _position(test.leading, config), daughters, yields, limit, trials=test.trials, draws=test.toys,
        error=test.error, two_prong_preference=preference,
    )  # fmt: skip


def _yield(spectrum: SpectrumTest) -> SignalEvents:
    """Events of the largest excess; the choice of it is in the low end."""
    n, low, high = spectrum.n_signal, spectrum.n_signal_low, spectrum.n_signal_high
    assert n is not None and low is not None and high is not None
    return SignalEvents(n, n - low, high - n, "spectrum")


def _before_selection(test: SidebandTest) -> tuple[SignalEvents, float]:
    """Signal events before any selection, and their 95 % limit, at the mass of the largest significance."""
    whole, leading = test.spectra[0], test.leading
    if test.best is None:
        assert whole.limit is not None
        return _yield(whole), whole.limit
    assert whole.yields is not None and whole.errors is not None and whole.limits is not None
    assert leading.n_signal is not None and leading.n_signal_error is not None
    assert leading.mass is not None and leading.limit is not None
    here = whole.nearest(leading.mass)
    of_all = Estimate.gaussian(*(float(each[here]) for each in (whole.yields, whole.errors, whole.limits)))
    seen = Estimate.gaussian(leading.n_signal, leading.n_signal_error, leading.limit)
    return before_selection(of_all, seen, "regions", significant=test.z_global > 1)


def _fitted_yield(
    data: Events,
    span: MassRange,
    test: SidebandTest,
    daughters: tuple[Value, ...],
    config: SearchConfig,
    seed: int,
    executor: Executor | None,
) -> SelectedYield | None:
    """The yield of simulated decays at the masses found; of all decays of the library at the mass without daughters.

    None where the features do not describe two jets, and nothing else.
    """
    if not has_jets(data) or len(data.names) > len(FEATURES):
        return None
    mass = _position(test.leading, config).value
    if daughters:
        decays = signal_like(Masses(mass, daughters[0].value, daughters[1].value))
    else:
        rng = np.random.default_rng(np.random.SeedSequence([seed, 531]))
        decays = generic(np.full(config.templates.generic_events, mass), rng)
    return selected_yield(
        data, (span.low, span.high), test, decays, config, rest=not daughters, seed=seed, executor=executor
    )


def _told(found: SelectedYield, test: SidebandTest, *, claimed: bool) -> SignalEvents:
    """Without a claim the mass is that of the largest excess: the low end is at none where that is not significant."""
    low = found.low if claimed or test.z_global > 1 else 0.0
    origin: Origin = "selection" if claimed else "generic selection"
    return SignalEvents(found.value, found.value - low, found.high - found.value, origin)


def _position(spectrum: SpectrumTest, config: SearchConfig) -> Value:
    """Where the peak is; its error holds the energy scale and the form of the peak, as that of a fitted peak does."""
    assert spectrum.mass is not None
    mass, statistical = spectrum.mass, config.spectrum.resolution * spectrum.mass
    if spectrum.peak_mass is not None and spectrum.peak_low is not None and spectrum.peak_high is not None:
        mass, statistical = spectrum.peak_mass, 0.5 * (spectrum.peak_high - spectrum.peak_low)
    return Value(mass, config.peaks.error(statistical, mass, config.spectrum.resolution * mass))


def _by_mass(data: Events, spectrum: SpectrumTest) -> Array:
    """P(signal) of every event from its mass alone, shape (N,)."""
    assert spectrum.fitted is not None and spectrum.n_signal is not None and spectrum.signal is not None
    signal = spectrum.n_signal * spectrum.signal
    return spectrum.at(data.mass, signal / (spectrum.fitted + signal), 0.0)


def _probability(data: Events, test: SidebandTest, survival: Array, n_signal: float, *, learn: bool) -> Array:
    """P(signal) of every event, from its rank and, where a peak is claimed, from its mass; the sum is `n_signal`.

    The density of signal in the rank is learned from the events of the signal region.
    """
    if not learn:
        return untied(calibrated(survival, n_signal, learn=False))
    leading, whole = test.leading, test.spectra[0]
    assert whole.fitted is not None and leading.signal is not None
    density = leading.signal / np.maximum(whole.fitted, 1e-300) * whole.fitted.sum()
    ratio = whole.at(data.mass, np.maximum(density, NOWHERE), NOWHERE)
    region = test.regions[test.region].inside(data.mass)
    law = learned_law(survival[region], min(n_signal, 0.5 * float(region.sum())))
    wanted = min(max(n_signal, TINY), 0.5 * len(data))
    return untied(scaled(np.log(density_ratio(survival, law)) + np.log(ratio) + np.log(wanted / len(data)), wanted))


def _daughters(data: Events, test: SidebandTest, config: SearchConfig) -> tuple[Value, ...]:
    """Masses of the daughters, the lighter first: peaks of selected events of the region over those of its sidebands.

    Where these are few, all selected events outside of the region are taken.

    Empty where the features do not describe two jets, or no selection leads.
    """
    if test.best is None or not has_jets(data):
        return ()
    chosen, region = test.selections[test.best], test.regions[test.region]
    passed = test.survival[test.region] <= chosen.efficiency
    lower, upper = region.beside(data.mass)
    there, beside = passed & region.inside(data.mass), passed & (lower | upper)
    if beside.sum() < FEWEST:
        beside = passed & ~region.inside(data.mass)
    if there.sum() < FEWEST or beside.sum() < FEWEST:
        return ()
    assert chosen.n_background is not None
    tau = float(beside.sum()) / max(chosen.n_background, 1.0)
    light = data.column("m_J1")
    heavy = light + data.column("delta_m_J")
    peaks = [
        fit_peak(name, values[there], values[beside], tau, settings=config.peaks)
        for name, values in (("m_J1", light), ("m_J2", heavy))
    ]
    if not all(peak.valid and "mass" not in peak.at_bounds for peak in peaks):
        return ()
    masses = unordered(*peaks)
    return tuple(Value(mass, peak.error) for mass, peak in zip(masses, peaks, strict=True))
