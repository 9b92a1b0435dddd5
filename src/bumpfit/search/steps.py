"""After the primary test: describe what was found, take further steps, and keep the numbers before and after.

Nothing here changes the p-value: every step uses what was seen (candidate masses, best selection), so its
significance is not quoted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.events.tables import Events
from bumpfit.runs import Run
from bumpfit.search.checks import of_candidate
from bumpfit.search.config import SearchConfig
from bumpfit.search.describe import (
    Around,
    Neighbourhood,
    first_masses,
    has_jets,
    jet_features,
    mass_ratio,
    neighbourhood,
    peak_masses,
    template_yield,
    unbiased_masses,
)
from bumpfit.search.findings import Check, Description, Origin, Scores, SignalEvents, Step, Value
from bumpfit.search.hypotheses import LibraryPart
from bumpfit.search.peaks import PeakFit
from bumpfit.search.posterior import calibrated, combined, ranked, untied
from bumpfit.search.score_events import primary_test
from bumpfit.search.surrogate import Masses, Surrogate, generic
from bumpfit.search.template import YieldFit, fit_generic, in_the_table
from bumpfit.search.template_scores import CrossFit, TemplateScores, template_scores
from bumpfit.search.two_sample import TwoSampleTest
from bumpfit.search.whole_yield import Estimate, before_selection, peak_yield
from bumpfit.search.windows import InWindows, Window

Array = NDArray[np.float64]

WORSE = 1.0
"""Loss in significance of the template fit from which new masses are not taken over."""


@dataclasses.dataclass(frozen=True, eq=False)
class Described:
    """What the steps led to; `probability` (N,) are the updated scores, None where nothing updates the first."""

    signal: SignalEvents
    upper_95: float
    probability: Array | None = None
    first: Description | None = None
    updated: Description | None = None
    null_yield: YieldFit | None = None
    steps: tuple[Step, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def yield_fit(self) -> YieldFit | None:
        """The latest yield fit."""
        final = self.updated or self.first
        return self.null_yield if final is None else final.yield_fit


@dataclasses.dataclass(frozen=True, eq=False)
class Searched:
    """What is known after the primary test: tables, test, scores of all events, and how to go on.

    `peak`: in m_JJ, of the best selection, where there is a significant one. `gone`: which signal-like events of a
    candidate left the tables with earlier particles.
    """

    data: Events
    background: Events
    windows: tuple[Window, ...]
    test: TwoSampleTest
    u_data: InWindows
    u_background: InWindows
    scores: Scores
    config: SearchConfig
    seed: int
    executor: Executor | None
    iterations: int
    kept: Run
    library: LibraryPart | None = None
    peak: PeakFit | None = None
    gone: Callable[[Surrogate], NDArray[np.bool_]] | None = None


def describe_candidate(known: Searched) -> Described:
    """Masses, yield and further steps for a claimed excess."""
    data, background, windows, config = known.data, known.background, known.windows, known.config
    test, seed, executor, log = known.test, known.seed, known.executor, known.kept.log
    start = test.windows[test.best]
    peaks = first_masses(data, background, windows, start, known.u_data, known.u_background, config)
    if known.iterations:
        peaks = _or_the_library(known, peaks)
    log.write("first masses", **{p.name: p.mass for p in peaks})
    first = Description(*peaks, None, None)
    signal, upper = _before_selection(known, peaks[0])
    steps: list[Step] = []
    updated: Description | None = None
    near = neighbourhood(data, background, peak_masses(peaks), windows, config, known.gone)
    probability: Array | None = None
    for number in range(known.iterations):
        before = {**_masses(peaks), "n_signal": signal}
        if number == 1:
            peaks = unbiased_masses(
                data, background, near, Around((peaks[0].mass, peaks[1].mass, peaks[2].mass)), signal.value, config,
                seed=seed + 100 * number, executor=executor,
            )  # fmt: skip
            near = neighbourhood(data, background, peak_masses(peaks), windows, config, known.gone)
        elif number >= 2 and number % 2 == 0:
            steps.append(_cross_check(data, background, windows, test, config, seed, executor, known.kept))
            continue
        templates, fitted = template_yield(data, background, near, config, seed=seed + 100 * number, executor=executor)
        after = {**_masses(peaks), "n_signal": _events(fitted, "templates")}
        worse = updated is not None and updated.yield_fit is not None and fitted.z < updated.yield_fit.z - WORSE
        if worse and updated is not None:  # the new masses describe the data less well: they are shown, not taken over
            peaks = updated.peaks
            near = neighbourhood(data, background, peak_masses(peaks), windows, config, known.gone)
        else:
            signal = _events(fitted, "templates")
            upper = fitted.upper_95
            updated = Description(*peaks, fitted, templates, (near.low, near.high))
            probability = _updated(known, near, templates, fitted)
        steps.append(Step("masses" if number else "templates", before, after, taken=not worse))
        log.write("iteration", task=steps[-1].kind, taken=not worse, n_signal=signal.value)
    return Described(
        signal, upper, probability, first, updated, steps=tuple(steps), checks=of_candidate(first, updated, near)
    )


def _or_the_library(known: Searched, peaks: tuple[PeakFit, PeakFit, PeakFit]) -> tuple[PeakFit, PeakFit, PeakFit]:
    """These masses, or those of a probable decay of the library, if its templates see clearly more signal there.

    Each mass is the highest of its peaks, and with two particles in a selection they may be those of both: masses that
    no particle has. The library takes all masses together; of each window the decay is asked that has more than half
    of the probability there, and other masses.
    """
    config, once = known.config, peak_masses(peaks)
    found = () if known.library is None else known.library.windows
    others = [Masses(*tried.masses) for tried in found if tried.share > 0.5 and _apart(tried.masses, once, config)]
    if not others:
        return peaks
    fits = []
    for masses in (once, *others):
        near = neighbourhood(known.data, known.background, masses, known.windows, config, known.gone)
        at = template_yield(known.data, known.background, near, config, seed=known.seed, executor=known.executor)[1]
        fits.append((at.z, masses, near, at.n_signal))
    z, masses, near, n_signal = max(fits[1:], key=lambda fit: fit[0])
    taken = z > fits[0][0] + WORSE
    known.kept.log.write("masses of the library", taken=taken, z=[fit[0] for fit in fits])
    if not taken:
        return peaks
    around = Around((masses.resonance, masses.light, masses.heavy), config.library.step)
    return unbiased_masses(
        known.data, known.background, near, around, n_signal, config, seed=known.seed, executor=known.executor
    )


def _apart(masses: tuple[float, float, float], once: Masses, config: SearchConfig) -> bool:
    """Whether a mass of a decay of the library is another one, by more than a step of its grid."""
    ratios = np.array(masses) / (once.resonance, once.light, once.heavy)
    return bool(np.abs(np.log(ratios)).max() > np.log(config.library.step))


def _masses(peaks: tuple[PeakFit, PeakFit, PeakFit]) -> dict[str, Any]:
    return {p.name: Value(p.mass, p.error) for p in peaks}


def _events(fitted: YieldFit, origin: Origin) -> SignalEvents:
    return SignalEvents(fitted.n_signal, fitted.n_signal - fitted.low, fitted.high - fitted.n_signal, origin)


def _before_selection(known: Searched, peak: PeakFit | None) -> tuple[SignalEvents, float]:
    """Yield and limit without simulated decays: of the peak, or of the largest excess in the best window."""
    test, masses, resolution = known.test, (known.data.mass, known.background.mass), known.config.spectrum.resolution
    best = test.selections[test.best]
    if peak is not None:
        whole = peak_yield(masses, peak.mass, resolution)[0]
    else:
        window = known.windows[test.windows[test.best]]
        low, high = max(window.low, float(masses[0].min())), min(window.high, float(masses[0].max()))
        places = np.geomspace(low, high, 3 + int(np.log(high / low) / resolution))[1:-1]
        whole = max((peak_yield(masses, m, resolution) for m in places), key=lambda found: found[1])[0]
    whole = Estimate(whole.value, *in_the_table(*whole, known.config.templates.template_error))
    return before_selection(whole, Estimate.seen(best), "all events", significant=test.overall.z > 1)


def _updated(
    known: Searched, near: Neighbourhood, templates: TemplateScores, fitted: YieldFit, *, learn: bool = True
) -> Array:
    """P(signal) of all events, shape (N,); the sum is the fitted yield, without what left with earlier particles.

    Near the candidate's mass from the ranks of the data-driven score, of the templates (dijet mass included), or of
    both (`posterior.combined` chooses); elsewhere from the ranks of the
    score alone, for the part of the signal that is expected there.
    """
    data, background = known.data, known.background
    log_mass = mass_ratio(near.surrogate, background.mass[near.background_rows], near.low, near.high)
    of_d, of_b = (
        -(scores + log_mass(t.mass[rows]))
        for t, rows, scores in (
            (data, near.data_rows, templates.data),
            (background, near.background_rows, templates.background),
        )
    )
    u_d, u_b = known.scores.survival[near.data_rows], known.scores.background_survival[near.background_rows]
    evidence = {"score": (u_d, u_b), "templates": (ranked(of_d, of_b), ranked(of_b, of_b))}
    inside = max(fitted.n_signal * near.share, 0.0)
    which, u = combined(evidence, max(inside, 1.0), known.seed)
    known.kept.log.write("updated scores", evidence=which)
    result = np.zeros(len(data))
    result[near.data_rows] = calibrated(u, inside, learn=learn)
    rest = ~near.data_rows
    if rest.any():
        outside = fitted.n_signal * (1 - near.share / near.survival)
        result[rest] = calibrated(known.scores.survival[rest], outside, learn=False)
    return untied(result)


def _cross_check(
    data: Events,
    background: Events,
    windows: tuple[Window, ...],
    test: TwoSampleTest,
    config: SearchConfig,
    seed: int,
    executor: Executor | None,
    kept: Run,
) -> Step:
    """The primary test once more with another approach; a check, not another p-value to choose from."""
    other = primary_test(
        data, background, windows, config.approach_of(config.cross_check), config,
        seed=seed, executor=executor, kept=kept, name=f"forward_{config.cross_check}",
    )[1]  # fmt: skip
    numbers = [
        {"z_local": t.selections[t.best].z_local, "selection": t.selections[t.best].name, "z_global": t.overall.z}
        for t in (test, other)
    ]
    return Step("cross-check", numbers[0], numbers[1])


def describe_nothing(known: Searched) -> Described:
    """No claim: yield and upper limit of a generic signal, and steps that look closer at the best selection.

    The templates of the generic signal were fixed before the data were seen (all masses of the library alike), so its
    yield is not biased upwards by the choice of a candidate.
    """
    data, background, windows, config = known.data, known.background, known.windows, known.config
    test, seed, executor, log = known.test, known.seed, known.executor, known.kept.log
    steps: list[Step] = []
    if not has_jets(data):
        return Described(*_before_selection(known, known.peak))
    rng = np.random.default_rng(np.random.SeedSequence([seed, 13]))
    low, high = float(data.mass.min()), float(np.nextafter(data.mass.max(), np.inf))
    centres = np.array([w.centre for w in windows])
    cloud = generic(centres[rng.integers(len(centres), size=config.templates.generic_events)], rng)
    cloud = cloud.inside(low, high)
    how = CrossFit(config.template_trees, config.templates.folds, seed, executor)
    templates = template_scores(jet_features(data), jet_features(background), cloud, how)
    fitted = fit_generic(templates, cloud, config.templates)
    if known.iterations >= 1:
        steps.append(_cross_check(data, background, windows, test, config, seed, executor, known.kept))
        log.write("iteration", task=steps[-1].kind)
    probability: Array | None = None
    if known.iterations >= 2:
        peaks = first_masses(
            data, background, windows, test.windows[test.best], known.u_data, known.u_background, config
        )
        near = neighbourhood(data, background, peak_masses(peaks), windows, config, known.gone)
        candidate, at = template_yield(data, background, near, config, seed=seed + 100, executor=executor)
        held = dataclasses.replace(at, n_signal=fitted.n_signal)  # the generic yield, not that of masses chosen now
        probability = _updated(known, near, candidate, held, learn=False)
        steps.append(
            Step(
                "closer look",
                {"n_signal": fitted.n_signal, "n_signal_upper_limit_95": fitted.upper_95},
                {**_masses(peaks), "n_signal": at.n_signal, "n_signal_upper_limit_95": at.upper_95},
            )
        )
        log.write("iteration", task=steps[-1].kind, n_signal=at.n_signal)
    return Described(
        _events(fitted, "generic templates"), fitted.upper_95, probability, null_yield=fitted, steps=tuple(steps)
    )
