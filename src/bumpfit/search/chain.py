"""The whole search: two tables of events in, findings out."""

from __future__ import annotations

import time
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from bumpfit import __version__
from bumpfit.errors import BumpfitError, InputError
from bumpfit.events.tables import Events
from bumpfit.runs import Run
from bumpfit.search.answers import Answers, Check, Input, PValue, SignalYield, Value
from bumpfit.search.config import SearchConfig
from bumpfit.search.describe import has_jets
from bumpfit.search.findings import Findings, Scores, ShapeCheck
from bumpfit.search.score_events import (
    cross_fitted,
    event_scores,
    forward_survival,
    primary_test,
    shape_checks,
)
from bumpfit.search.spectrum import SpectrumTest, smooth_range, spectrum_test
from bumpfit.search.steps import Searched, Story, describe_candidate, describe_nothing
from bumpfit.search.two_sample import TwoSampleTest, z_of
from bumpfit.shapes import SQRT_S

Array = NDArray[np.float64]


def check_table(table: Events, config: SearchConfig) -> None:
    """The mass is no feature, masses are possible, and every training has two events of each table."""
    if table.mass_name in table.names:
        raise InputError(
            f"'{table.mass_name}' is the mass that is searched and also a feature; leave it out of the features"
        )
    if table.mass.max() >= SQRT_S:
        raise InputError(
            f"{table.label} has masses up to {table.mass.max():.4g} GeV (unit taken: {table.unit}), beyond the "
            f"collision energy of {SQRT_S:g} GeV; check the unit (--unit)"
        )
    needed = 2 * max(config.forward.blocks + 1, config.folds)
    if len(table) < needed:
        raise InputError(
            f"{table.label} has {len(table)} events, fewer than the {needed} for {config.forward.blocks + 1} blocks "
            f"and {config.folds} folds; give more events"
        )


def check_selections(background: Events, config: SearchConfig) -> None:
    """The loosest selection must expect enough background, or nothing can be tested."""
    per_block = len(background) * (1 - config.forward.first) / config.forward.blocks
    kept = config.forward.blocks * int(max(config.efficiencies) * per_block + 0.5)
    if kept < config.min_background:
        raise InputError(
            f"{background.label} has {len(background)} events, too few: the loosest selection keeps {kept} of them and "
            f"{config.min_background} are needed; give a larger background table"
        )


def search(
    data: Events,
    background: Events,
    config: SearchConfig,
    seed: int,
    executor: Executor | None,
    iterations: int,
    kept: Run,
    started: float,
) -> Findings:
    """The two-sample search: primary test, scores, spectra, and what the candidate is."""
    windows = config.windows.windows(background.mass)
    kept.log.write("windows", number=len(windows))
    scored, test = primary_test(
        data, background, windows, config.trees, config, seed=seed, executor=executor, kept=kept
    )
    kept.log.write("primary test", p_global=test.overall.p, z_global=test.overall.z, method=test.overall.method)
    u_data, u_background = cross_fitted(data, background, windows, config, seed=seed, executor=executor, kept=kept)
    scores = event_scores(u_data, u_background, data, background, windows)
    kept.log.write("event scores")
    shapes = shape_checks(background.mass, scores.background_survival, config.efficiencies)
    spectra = _spectra(data, background, forward_survival(scored, data, windows), config)
    kept.log.write("spectra", usable=sum(s.usable for s in spectra))
    claim = test.overall.z >= config.claim_z and has_jets(data)
    known = Searched(
        data, background, windows, test, u_data, u_background, scores, config, seed, executor, iterations, kept
    )
    story = describe_candidate(known) if claim else describe_nothing(known)
    checks = _checks(test, shapes, spectra, story, config)
    answers = _answers(
        data, background, config, seed, started, test, spectra, shapes, story, checks,
        test.overall.z >= config.claim_z,
    )  # fmt: skip
    return Findings(
        answers=answers,
        config=config,
        data=data,
        background=background,
        windows=windows,
        test=test,
        scores=scores,
        updated_probability=story.probability,
        spectra=spectra,
        shapes=shapes,
        window=test.windows[test.best],
        first=story.first,
        updated=story.updated,
        null_yield=story.null_yield,
    )


def _spectra(data: Events, background: Events, survival: Array, config: SearchConfig) -> tuple[SpectrumTest, ...]:
    """Spectra of the forward-tested events: all of them, and every selection from the loosest to the tightest."""
    span = smooth_range(background.mass, config.spectrum)
    tested = ~np.isnan(survival)
    results = [spectrum_test("no selection", data.mass[tested], 1.0, span, config.spectrum)]
    for efficiency in sorted(config.efficiencies, reverse=True):
        chosen = tested & (survival <= efficiency)
        results.append(
            spectrum_test(f"{efficiency:.2%} of background", data.mass[chosen], efficiency, span, config.spectrum)
        )
    return tuple(results)


def _spectrum_answer(spectra: tuple[SpectrumTest, ...]) -> dict[str, Any]:
    """The second p-value: the smallest over the usable spectra, with the union bound over spectra and masses."""
    usable = [s for s in spectra if s.usable]
    summary: dict[str, Any] = {
        "usable": bool(usable),
        "reason": "" if usable else spectra[0].reason,
        "spectra": [s.to_dict() for s in spectra],
    }
    if usable:
        best = min(usable, key=lambda s: s.p_local or 1.0)
        p_global = min(1.0, len(usable) * (best.p_global or 1.0))
        summary |= {
            "selection": best.name,
            "mass": best.mass,
            "p_local": best.p_local,
            "z_local": best.z_local,
            "p_global": p_global,
            "z_global": z_of(p_global),
            "method": f"asymptotic q0, union bound over {len(usable)} spectra and their masses",
            "n_signal": best.n_signal,
            "n_signal_error": best.n_signal_error,
            "n_parameters": best.n_parameters,
        }
    return summary


def _checks(
    test: TwoSampleTest,
    shapes: tuple[ShapeCheck, ...],
    spectra: tuple[SpectrumTest, ...],
    story: Story,
    config: SearchConfig,
) -> tuple[Check, ...]:
    found = []
    if shapes:
        worst = min(shapes, key=lambda s: s.p)
        found.append(
            Check(
                "selected background keeps its m_JJ shape",
                worst.p * len(shapes) > 0.01,
                f"smallest p = {worst.p:.2g} of {len(shapes)} selections (at {worst.background_efficiency:.2%}, "
                f"chi2 {worst.chi2:.1f} in {worst.bins} bins)",
            )
        )
    usable = [s for s in spectra if s.usable]
    found.append(
        Check(
            "the m_JJ spectrum has sidebands",
            bool(usable),
            f"{len(usable)} of {len(spectra)} spectra can be tested" if usable else spectra[0].reason,
        )
    )
    excess = test.selections[test.best]
    if story.yield_fit is not None:
        fitted = story.yield_fit
        p = float(chi2.sf(fitted.deviance, max(fitted.bins - 2, 1)))
        found.append(
            Check(
                "signal-like and background templates describe the score spectrum",
                p > 0.01,
                f"p = {p:.2g} (deviance {fitted.deviance:.1f} in {fitted.bins} bins)",
            )
        )
    if story.claimed and story.yield_fit is not None:
        fitted = story.yield_fit
        seen = excess.n_data - excess.n_background_expected
        share = config.forward.first
        error = np.hypot(np.sqrt(excess.n_data), excess.background_error)
        enough = seen - 2 * error <= fitted.high * (1 - share)
        found.append(
            Check(
                "the fitted yield is not below the excess that is seen",
                bool(enough),
                f"{seen:.0f} +- {error:.0f} in the best selection of the tested {1 - share:.0%} of the data; "
                f"fitted before any selection: {fitted.n_signal:.0f}",
            )
        )
    return (*found, *story.checks)


def _answers(
    data: Events,
    background: Events | None,
    config: SearchConfig,
    seed: int,
    started: float,
    test: TwoSampleTest,
    spectra: tuple[SpectrumTest, ...],
    shapes: tuple[ShapeCheck, ...],
    story: Story,
    checks: tuple[Check, ...],
    claim: bool,
) -> Answers:
    best, overall = test.selections[test.best], test.overall
    final = story.updated or story.first
    resonance, daughters = None, None
    if claim and final is not None:
        resonance = Value(final.resonance.mass, final.resonance.error)
        pair = sorted((final.light, final.heavy), key=lambda p: p.mass)
        daughters = tuple(Value(p.mass, p.error, name) for p, name in zip(pair, ("J1", "J2"), strict=True))
    goodness: dict[str, Any] = {
        "spectra": {s.name: s.goodness_p for s in spectra},
        "background_shape": {f"{s.background_efficiency:g}": s.p for s in shapes},
    }
    if story.yield_fit is not None:
        goodness["templates"] = float(chi2.sf(story.yield_fit.deviance, max(story.yield_fit.bins - 2, 1)))
    if final is not None:
        goodness["peaks"] = {
            p.name: float(chi2.sf(p.deviance, max(p.bins_used - 5, 1)))
            for p in (final.resonance, final.light, final.heavy)
        }
    return Answers(
        version=__version__,
        seed=seed,
        inputs=tuple(Input(t.path, t.sha256, len(t), t.unit) for t in (data, background) if t is not None),
        runtime_s=round(time.monotonic() - started, 2),
        p_value=PValue(
            local=best.p_local,
            overall=overall.p,
            z_local=best.z_local,
            z_global=overall.z,
            method=(
                f"two-sample likelihood in {overall.selections} selections fixed beforehand, forward-trained; "
                f"exact law of each selection; global by {overall.method}"
            ),
            floor=overall.floor,
            trials=overall.selections,
            shuffles=overall.shuffles,
        ),
        claim=claim,
        claim_z=config.claim_z,
        resonance_mass=resonance,
        daughter_masses=daughters,
        decay=story.decay if claim else None,
        n_signal=story.n_signal,
        n_signal_upper_limit_95=story.upper_95,
        signal_percent=100 * story.n_signal.value / len(data),
        selections=tuple(
            {
                "name": s.name,
                "background_efficiency": s.background_efficiency,
                "mass_low": s.mass_low,
                "mass_high": s.mass_high,
                "n_data": s.n_data,
                "n_background_expected": s.n_background_expected,
                "background_error": s.background_error,
                "p_local": s.p_local,
                "z_local": s.z_local,
                "q0": s.q0,
            }
            for s in test.selections
        ),
        mass_spectrum_fit=_spectrum_answer(spectra),
        goodness_of_fit=goodness,
        checks=checks,
        iterations=tuple(story.iterations),
    )


def search_spectrum(data: Events, config: SearchConfig, seed: int, started: float) -> Findings:
    """Without a background table: the peak over the dijet function is the primary test, if there are sidebands."""
    span = smooth_range(data.mass, config.spectrum)
    spectrum = spectrum_test("no selection", data.mass, 1.0, span, config.spectrum)
    if not spectrum.usable:
        raise BumpfitError(
            f"without a background table only the m_JJ spectrum can be tested, and it cannot: {spectrum.reason}; "
            "give a background table (--background)"
        )
    assert spectrum.p_local is not None and spectrum.p_global is not None and spectrum.mass is not None
    assert spectrum.z_local is not None and spectrum.n_signal is not None and spectrum.n_signal_error is not None
    assert spectrum.fitted is not None and spectrum.signal is not None and spectrum.masses is not None
    z_global = z_of(spectrum.p_global)
    claim = z_global >= config.claim_z
    expected = spectrum.fitted + spectrum.n_signal * spectrum.signal
    place = np.clip(np.searchsorted(spectrum.edges, data.mass, side="right") - 1, 0, len(expected) - 1)
    inside = (data.mass >= spectrum.edges[0]) & (data.mass < spectrum.edges[-1])
    probability = np.where(inside, (spectrum.n_signal * spectrum.signal / expected)[place], 0.0)
    resolution = config.spectrum.resolution * spectrum.mass
    error = float(np.hypot(resolution / np.sqrt(max(spectrum.n_signal, 1.0)), config.peaks.scale_error * spectrum.mass))
    upper = spectrum.n_signal + float(norm.ppf(0.95)) * spectrum.n_signal_error
    answers = Answers(
        version=__version__,
        seed=seed,
        inputs=(Input(data.path, data.sha256, len(data), data.unit),),
        runtime_s=round(time.monotonic() - started, 2),
        p_value=PValue(
            spectrum.p_local, spectrum.p_global, spectrum.z_local, z_global,
            "profile likelihood of a peak over a dijet function, asymptotic; global by union bound over the masses",
            0.0, len(spectrum.masses), 0,
        ),
        claim=claim,
        claim_z=config.claim_z,
        resonance_mass=Value(spectrum.mass, error) if claim else None,
        daughter_masses=None,
        decay=None,
        n_signal=SignalYield(
            spectrum.n_signal, min(spectrum.n_signal, spectrum.n_signal_error), spectrum.n_signal_error,
            "yield of the peak in the m_JJ spectrum",
        ),
        n_signal_upper_limit_95=upper,
        signal_percent=100 * spectrum.n_signal / len(data),
        selections=(),
        mass_spectrum_fit=_spectrum_answer((spectrum,)),
        goodness_of_fit={"spectra": {spectrum.name: spectrum.goodness_p}},
        checks=(Check("the m_JJ spectrum has sidebands", True, f"error inflation {spectrum.inflation:.1f}"),),
        iterations=(),
    )  # fmt: skip
    ones = np.ones(len(data))
    return Findings(
        answers, config, data, None, (), None, Scores(ones, np.empty(0), probability), probability, (spectrum,), (),
        None, None, None, None,
    )  # fmt: skip
