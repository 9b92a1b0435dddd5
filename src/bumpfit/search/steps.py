"""After the primary test: describe what was found, take further steps, and keep the numbers before and after.

Nothing here changes the p-value: every step uses what was seen (candidate masses, best selection), so its
significance is not quoted.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from bumpfit.events.tables import Events
from bumpfit.results import plain
from bumpfit.runs import Run
from bumpfit.scoring import approach
from bumpfit.search.answers import Check, Iteration, SignalYield
from bumpfit.search.config import SearchConfig
from bumpfit.search.describe import (
    Neighbourhood,
    first_masses,
    has_jets,
    jet_features,
    neighbourhood,
    peak_masses,
    template_yield,
    unbiased_masses,
)
from bumpfit.search.findings import Description, Scores
from bumpfit.search.peaks import PeakFit
from bumpfit.search.posterior import posterior_from_templates
from bumpfit.search.score_events import primary_test
from bumpfit.search.surrogate import generic
from bumpfit.search.template import TemplateScores, YieldFit, fit_yield, template_scores
from bumpfit.search.two_sample import TwoSampleTest
from bumpfit.search.windows import Window

Array = NDArray[np.float64]

TEMPLATE_METHOD = (
    "fit of signal-like (simulated decays at the fitted masses) and background templates to the score of all events"
)
WORSE = 1.0
"""Loss in significance of the template fit from which new masses are not taken over."""

DECISIVE = 4.0
"""Difference in -2 ln L (2 sigma) from which one kind of decay is said to be preferred."""


@dataclasses.dataclass(frozen=True, eq=False)
class Story:
    """What the steps led to; `probability` (N,) are the updated scores."""

    claimed: bool
    first: Description | None
    updated: Description | None
    null_yield: YieldFit | None
    n_signal: SignalYield
    upper_95: float
    decay: str | None
    probability: Array
    iterations: tuple[Iteration, ...]
    checks: tuple[Check, ...]

    @property
    def yield_fit(self) -> YieldFit | None:
        """The latest yield fit."""
        final = self.updated or self.first
        return self.null_yield if final is None else final.yield_fit


@dataclasses.dataclass(frozen=True, eq=False)
class Searched:
    """What is known after the primary test: tables, test, scores of all events, and how to go on."""

    data: Events
    background: Events
    windows: tuple[Window, ...]
    test: TwoSampleTest
    u_data: Array
    u_background: Array
    scores: Scores
    config: SearchConfig
    seed: int
    executor: Executor | None
    iterations: int
    kept: Run


def describe_candidate(known: Searched) -> Story:
    """Masses, yield and further steps for a claimed excess."""
    data, background, windows, config = known.data, known.background, known.windows, known.config
    test, scores, seed, executor, log = known.test, known.scores, known.seed, known.executor, known.kept.log
    start = test.windows[test.best]
    peaks = first_masses(data, background, windows, start, known.u_data, known.u_background, config)
    log.write("first masses", **{p.name: p.mass for p in peaks})
    first = Description(*peaks, None, None)
    excess = test.selections[test.best]
    seen = excess.n_data - excess.n_background_expected
    error = float(np.hypot(np.sqrt(excess.n_data), excess.background_error))
    signal = SignalYield(seen, min(seen, error), error, "excess in the best selection: a lower bound, not corrected")
    upper = seen + 2 * error
    steps: list[Iteration] = []
    updated: Description | None = None
    near = neighbourhood(data, background, peak_masses(peaks), windows, config)
    probability = scores.probability
    for number in range(known.iterations):
        before = {**_masses(peaks), "n_signal": plain(dataclasses.asdict(signal))}
        if number == 1:
            peaks = unbiased_masses(
                data, background, near, peaks, signal.value, config, seed=seed + 100 * number, executor=executor
            )
            near = neighbourhood(data, background, peak_masses(peaks), windows, config)
        elif number >= 2 and number % 2 == 0:
            steps.append(_cross_check(data, background, windows, test, config, seed, executor, known.kept))
            continue
        templates, fitted = template_yield(data, background, near, config, seed=seed + 100 * number, executor=executor)
        after = {**_masses(peaks), "n_signal": plain(dataclasses.asdict(_yield_of(fitted, TEMPLATE_METHOD)))}
        task, reason = _TASKS[min(number, 1)]
        worse = updated is not None and updated.yield_fit is not None and fitted.z < updated.yield_fit.z - WORSE
        if worse and updated is not None:  # the new masses describe the data less well: they are shown, not taken over
            task += " (not taken over: templates at these masses describe the data less well)"
            peaks = (updated.resonance, updated.light, updated.heavy)
            near = neighbourhood(data, background, peak_masses(peaks), windows, config)
        else:
            signal = _yield_of(fitted, TEMPLATE_METHOD)
            upper = fitted.upper_95
            updated = Description(*peaks, fitted, templates)
            probability = _updated(data, background, near, templates, fitted)
        steps.append(Iteration(task, reason, before, after))
        log.write("iteration", task=task, n_signal=signal.value)
    checks = _candidate_checks(first, updated, near)
    return Story(
        True, first, updated, None, signal, upper, _decay(updated or first), probability, tuple(steps), checks
    )  # fmt: skip


_TASKS = (
    (
        "refined classifier with signal-like templates at the candidate masses",
        "the excess in a selection is not the yield before it, as the efficiency of a learned cut is unknown; "
        "signal-like events at the masses found give the whole score spectrum of a signal",
    ),
    (
        "masses from selections that do not use them",
        "the first selection had learned the masses, so the background below the peaks is shaped like them; "
        "each mass is fitted again after a selection on the other features, and the templates are made again there",
    ),
)


def _masses(peaks: tuple[PeakFit, PeakFit, PeakFit]) -> dict[str, Any]:
    return {p.name: {"value": p.mass, "error": p.error} for p in peaks}


def _yield_of(fitted: YieldFit, method: str) -> SignalYield:
    return SignalYield(fitted.n_signal, fitted.n_signal - fitted.low, fitted.high - fitted.n_signal, method)


def _updated(
    data: Events, background: Events, near: Neighbourhood, templates: TemplateScores, fitted: YieldFit
) -> Array:
    """P(signal) of all events from templates, dijet mass included; 0 outside the neighbourhood, shape (N,)."""
    mass = data.mass[near.data_rows]
    grid = np.linspace(near.low, near.high, 200)
    signal = gaussian_kde(near.surrogate.mass, weights=near.surrogate.weights)(grid)
    table = gaussian_kde(background.mass[near.background_rows])(grid)
    log_mass = np.interp(mass, grid, np.log(np.maximum(signal, 1e-12)) - np.log(np.maximum(table, 1e-12)))
    result = np.zeros(len(data))
    result[near.data_rows] = posterior_from_templates(
        templates.data + log_mass, max(fitted.n_signal * near.share, 1.0), len(mass)
    )
    return result


def _decay(final: Description) -> str:
    heavy, light = sorted((final.heavy.mass, final.light.mass), reverse=True)
    text = (
        f"A ({final.resonance.mass:.0f} GeV) -> B ({heavy:.0f} GeV) + C ({light:.0f} GeV), each seen as one large jet"
    )
    preference = None if final.yield_fit is None else final.yield_fit.two_prong_preference
    if preference is None or abs(preference) < DECISIVE:
        return f"{text}; whether B and C decay to two or three prongs is not determined"
    prongs = "two" if preference > 0 else "three"
    return f"{text}; {prongs}-prong decays of B and C are preferred (2 Delta ln L = {abs(preference):.1f})"


def _candidate_checks(first: Description, updated: Description | None, near: Neighbourhood) -> tuple[Check, ...]:
    final = updated or first
    checks = []
    bad = [p for p in (final.resonance, final.light, final.heavy) if not p.valid or "mass" in p.at_bounds]
    checks.append(
        Check(
            "the mass fits converged inside their ranges",
            not bad,
            "all three"
            if not bad
            else ", ".join(f"{p.name} (valid: {p.valid}, at bounds: {p.at_bounds})" for p in bad),
        )
    )
    if updated is not None:
        pulls = {
            b.name: (b.mass - a.mass) / np.hypot(a.error, b.error)
            for a, b in zip(
                (first.resonance, first.light, first.heavy),
                (updated.resonance, updated.light, updated.heavy),
                strict=True,
            )
        }
        checks.append(
            Check(
                "masses before and after the iterations agree",
                bool(max(abs(v) for v in pulls.values()) < 3),
                ", ".join(f"{name} moved by {v:+.1f} sigma" for name, v in pulls.items()),
            )
        )
    checks.append(
        Check(
            "the candidate lies inside the library of signal-like events",
            not near.surrogate.extrapolated,
            "nearest simulated mass ratio taken" if near.surrogate.extrapolated else "mass ratios interpolated",
        )
    )
    return tuple(checks)


def _cross_check(
    data: Events,
    background: Events,
    windows: tuple[Window, ...],
    test: TwoSampleTest,
    config: SearchConfig,
    seed: int,
    executor: Executor | None,
    kept: Run,
) -> Iteration:
    """The primary test once more with another approach; a check, not another p-value to choose from."""
    other = primary_test(
        data, background, windows, approach(config.cross_check), config,
        seed=seed, executor=executor, kept=kept, name=f"forward_{config.cross_check}",
    )[1]  # fmt: skip
    numbers = [
        {"z_local": t.selections[t.best].z_local, "selection": t.selections[t.best].name, "z_global": t.overall.z}
        for t in (test, other)
    ]
    return Iteration(
        f"another approach ({config.cross_check}) as a cross-check of the primary test",
        "an excess that only one kind of classifier sees would be suspicious; the quoted p-value stays the planned one",
        numbers[0],
        numbers[1],
    )


def describe_nothing(known: Searched) -> Story:
    """No claim: yield and upper limit of a generic signal, and steps that look closer at the best selection.

    The templates of the generic signal were fixed before the data were seen (all masses of the library alike), so its
    yield is not biased upwards by the choice of a candidate.
    """
    data, background, windows, config = known.data, known.background, known.windows, known.config
    test, scores, seed, executor, log = known.test, known.scores, known.seed, known.executor, known.kept.log
    steps: list[Iteration] = []
    if not has_jets(data):
        excess = test.selections[test.best]
        seen = max(excess.n_data - excess.n_background_expected, 0.0)
        error = float(np.hypot(np.sqrt(excess.n_data), excess.background_error))
        method = (
            "excess in the best selection: a lower bound, not corrected (the jet features of the library are absent)"
        )
        return Story(
            False, None, None, None, SignalYield(seen, min(seen, error), error, method), seen + 2 * error, None,
            scores.probability, (), (),
        )  # fmt: skip
    rng = np.random.default_rng(np.random.SeedSequence([seed, 13]))
    low, high = float(data.mass.min()), float(np.nextafter(data.mass.max(), np.inf))
    centres = np.array([w.centre for w in windows])
    cloud = generic(centres[rng.integers(len(centres), size=config.templates.generic_events)], rng)
    cloud = cloud.inside(low, high)
    templates = template_scores(
        jet_features(data), jet_features(background), cloud, config.template_trees,
        folds=config.templates.folds, seed=seed, executor=executor,
    )  # fmt: skip
    fitted = fit_yield(templates, cloud, config.templates, three_prong_fraction=0.5)
    method = "template fit of a generic signal (all masses of the library alike), chosen before the data were seen"
    if known.iterations >= 1:
        steps.append(_cross_check(data, background, windows, test, config, seed, executor, known.kept))
        log.write("iteration", task=steps[-1].task)
    probability = scores.probability
    if known.iterations >= 2:
        peaks = first_masses(
            data, background, windows, test.windows[test.best], known.u_data, known.u_background, config
        )
        near = neighbourhood(data, background, peak_masses(peaks), windows, config)
        candidate, at = template_yield(data, background, near, config, seed=seed + 100, executor=executor)
        probability = _updated(data, background, near, candidate, at)
        steps.append(
            Iteration(
                "a closer look at the most signal-like masses",
                "the best selection is not significant; templates at its masses say how many signal events there could "
                "be (these masses were chosen after looking, so a small positive number is expected without a signal)",
                {"n_signal": fitted.n_signal, "n_signal_upper_limit_95": fitted.upper_95},
                {**_masses(peaks), "n_signal": at.n_signal, "n_signal_upper_limit_95": at.upper_95},
            )
        )
        log.write("iteration", task=steps[-1].task, n_signal=at.n_signal)
    return Story(
        False, None, None, fitted, _yield_of(fitted, method), fitted.upper_95, None, probability, tuple(steps), ()
    )
