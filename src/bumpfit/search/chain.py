"""The whole search: two tables of events in, findings out."""

from __future__ import annotations

import dataclasses
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.events.tables import Events
from bumpfit.runs import Run
from bumpfit.scoring import ScoredBlock
from bumpfit.search import checks
from bumpfit.search.config import SearchConfig
from bumpfit.search.describe import has_jets
from bumpfit.search.evidence import (
    Evidence,
    Selected,
    checks_of,
    equality,
    localised,
    selected,
    selected_peak,
    sensitivity,
)
from bumpfit.search.findings import (
    Check,
    Findings,
    Further,
    Particle,
    Scores,
    ShapeCheck,
    Value,
    Verdict,
)
from bumpfit.search.library_part import library_part
from bumpfit.search.particles import further_particles
from bumpfit.search.peaks import PeakFit
from bumpfit.search.posterior import untied
from bumpfit.search.score_events import (
    cross_fitted,
    event_scores,
    first_probability,
    forward_ranks,
    forward_survival,
    mass_windows,
    primary_test,
    shape_checks,
)
from bumpfit.search.spectra import selected_spectra
from bumpfit.search.spectrum import SpectrumTest
from bumpfit.search.steps import Described, Searched, describe_candidate, describe_nothing
from bumpfit.search.two_sample import TwoSampleTest
from bumpfit.search.verdict import decide, particle
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
) -> Findings:
    """The two-sample search: primary test, scores, spectra, and what the candidate is."""
    windows = mass_windows(data, background, config, seed)
    kept.log.write("windows", number=len(windows))
    library = library_part(data, background, windows, config, seed=seed, executor=executor, kept=kept)
    scored, test = primary_test(
        data, background, windows, config.approach, config, seed=seed, executor=executor, kept=kept, library=library
    )
    kept.log.write("primary test", p_global=test.overall.p, z_global=test.overall.z, draws=test.overall.draws)
    u_data, u_background = cross_fitted(
        data, background, windows, config, seed=seed, executor=executor, kept=kept, library=library
    )
    scores = event_scores(u_data, u_background, data, background, windows)
    kept.log.write("event scores")
    survival = forward_survival(scored, data, background, windows)
    tested = np.isfinite(survival[1])  # by the scores that select the spectra: those with the library know the mass
    shapes = shape_checks(background.mass[tested], survival[1][tested], config.efficiencies)
    ranks = forward_ranks(scored, data, background, windows)
    spectra = selected_spectra(data, background, survival[0], ranks, config, seed)
    kept.log.write("spectra", usable=sum(s.usable for s in spectra))
    significant = test.overall.z >= config.claim_z
    best = selected(data, background, survival, test, windows, config) if significant else None
    known = Searched(
        data, background, windows, test, u_data, u_background, scores, config, seed, executor, iterations, kept,
        library, selected_peak(data, background, best, config),
    )  # fmt: skip
    described = describe_candidate(known) if significant and has_jets(data) else describe_nothing(known)
    found = (checks.repeated(data, background), *_checks(test, shapes, spectra, described, config))
    verdict, particles, found, of_others = _judged(known, scored, survival, described, best, found)
    first, updated = _probabilities(scores, known, described, verdict, particles, of_others)
    return Findings(
        config=config,
        data=data,
        background=background,
        windows=windows,
        test=test,
        scores=dataclasses.replace(scores, probability=first),
        updated_probability=updated,
        spectra=spectra,
        shapes=shapes,
        first=described.first,
        updated=described.updated,
        null_yield=described.null_yield,
        seed=seed,
        verdict=verdict,
        particles=particles,
        signal=described.signal,
        upper_95=described.upper_95,
        checks=found,
        steps=described.steps,
    )


def _probabilities(
    scores: Scores,
    known: Searched,
    described: Described,
    verdict: Verdict,
    particles: tuple[Particle, ...],
    of_others: Array,
) -> tuple[Array, Array]:
    """P(signal) of all data events, first and updated; tables that differ in another way have no signal to find."""
    total = sum(p.signal.value for p in particles) if particles else described.signal.value
    if verdict == "difference":
        total = 0.0
    first = first_probability(scores, known.data, known.windows, total, learn=verdict == "resonance")
    if described.probability is None or verdict == "difference":
        return first, first
    return first, untied(1 - (1 - described.probability) * (1 - of_others))


def _judged(
    known: Searched,
    scored: list[list[ScoredBlock]],
    ranks: tuple[Array, Array],
    described: Described,
    best: Selected | None,
    found: tuple[Check, ...],
) -> tuple[Verdict, tuple[Particle, ...], tuple[Check, ...], Array]:
    """The verdict, all particles, all checks, and the probabilities of the data to be of a further particle.

    The checks are those `found` before, and those that need the other events.
    """
    data, windows, test, config = known.data, known.windows, known.test, known.config
    significant = decide(test.overall.z, config.claim_z, ()) != "nothing"
    latest = described.updated or described.first
    leading = particle(test, windows, data, latest, described.signal, described.upper_95)
    peak = known.peak
    if peak is not None and latest is None:  # features that tell no more than the dijet mass
        leading = dataclasses.replace(leading, resonance=Value(peak.mass, peak.error))
    others: tuple[Particle, ...] = ()
    further: Further | None = None
    of_others = np.zeros(len(data))
    if decide(test.overall.z, config.claim_z, found) == "resonance":
        others, of_others, further = further_particles(known, scored, leading)
    evidence = _evidence(known, ranks, (leading, *others), best, peak, significant)
    inside = all(c.passed is not False for c in found if c.kind == "library")
    found = (*found, *checks_of(evidence, config, inside=inside, decisive=significant), *checks.of_further(further))
    verdict = decide(test.overall.z, config.claim_z, found)
    return verdict, (leading, *others) if verdict == "resonance" else (), found, of_others


def _evidence(
    known: Searched,
    ranks: tuple[Array, Array],
    particles: tuple[Particle, ...],
    best: Selected | None,
    peak: PeakFit | None,
    significant: bool,
) -> Evidence:
    """What decides between a resonance and another difference; the equality of all events where nothing is claimed."""
    data, background, windows, config = known.data, known.background, known.windows, known.config
    if not significant:
        return Evidence(equality(data, background, windows, (), ranks, None, config))
    final = particles[0].description
    descriptions = [p.description for p in particles if p.description is not None]
    return Evidence(
        equality(data, background, windows, descriptions, ranks, peak, config),
        localised(data, background, best, peak if final is None else final.resonance),
        sensitivity(data, background, ranks, best, config, known.seed),
    )


def _checks(
    test: TwoSampleTest,
    shapes: tuple[ShapeCheck, ...],
    spectra: tuple[SpectrumTest, ...],
    described: Described,
    config: SearchConfig,
) -> tuple[Check, ...]:
    found = [checks.background_shape(shapes)] if shapes else []
    found.append(checks.sidebands(spectra))
    fitted = described.yield_fit
    if fitted is not None:
        found.append(checks.templates(fitted))
        if described.first is not None:
            found.append(checks.yield_covers_excess(test.selections[test.best], fitted, config))
    return (*found, *described.checks)
