"""Further particles: the primary test once more on the events that do not look like those found before.

The scores stay as they are; events of the earlier candidates leave both tables, and the ranks of the others are tested
by the permutation law again. A further particle is looked for only after the earlier ones are claimed, each at the full
level: the probability of any false one among all of them is then that of a single test (a fixed sequence of tests).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.scoring import ScoredBlock
from bumpfit.search.candidates import alike, region, together
from bumpfit.search.config import ParticleSettings
from bumpfit.search.findings import Description, Further, Particle
from bumpfit.search.hypotheses import Tried
from bumpfit.search.steps import Searched, describe_candidate
from bumpfit.search.surrogate import Surrogate
from bumpfit.search.two_sample import TwoSampleTest, two_sample_test
from bumpfit.search.verdict import particle

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def further_particles(
    known: Searched, scored: Sequence[Sequence[ScoredBlock]], leading: Particle
) -> tuple[tuple[Particle, ...], Array, Further | None]:
    """All further particles, the probability of each data event to be one of theirs, and an excess that is none."""
    config, settings = known.config, known.config.particles
    found: list[Particle] = [leading]
    last: Further | None = None
    none_of_them = np.ones(len(known.data))
    while len(found) < settings.most:
        parts = [
            region(p.description, known.data, known.background, settings.leftover)
            for p in found
            if p.description is not None
        ]
        regions = [part for part in parts if part is not None]
        if len(regions) < len(found):
            break
        gone = together(regions)
        test = test_without(known, scored, gone.data, gone.background)
        if test is None or test.overall.z < config.claim_z:
            last = None if test is None else Further(test.overall.z, test.overall.p, (), "not significant")
            break
        rest = dataclasses.replace(
            without(known, test, gone.data, gone.background), gone=functools.partial(_gone, known, tuple(found))
        )
        one = describe_candidate(rest)
        final = one.updated or one.first
        assert final is not None
        reason = _no_particle(final, found, settings)
        if reason:
            last = Further(test.overall.z, test.overall.p, tuple(peak.mass for peak in final.peaks), reason)
            break
        scores = final.template_scores
        if scores is not None:  # templates of all events, so that it can be removed like the first
            final = _on_all_events(final, known, gone.data, gone.background)
        if one.probability is not None:
            none_of_them[~gone.data] *= 1 - one.probability
        found.append(particle(test, known.windows, known.data, final, one.signal, one.upper_95))
        known.kept.log.write("further particle", mass=final.resonance.mass, z_global=test.overall.z)
    return tuple(found[1:]), 1 - none_of_them, last


def _gone(known: Searched, found: Sequence[Particle], events: Surrogate) -> Mask:
    """Which signal-like events are like one of the particles found, and have left the tables with it."""
    taken = np.zeros(len(events.mass), dtype=bool)
    for k, each in enumerate(found):
        if each.description is not None:
            taken |= alike(
                each.description, known.background, events, known.config, seed=known.seed + k, executor=known.executor
            )  # fmt: skip
    return taken


def test_without(
    known: Searched, scored: Sequence[Sequence[ScoredBlock]], gone_data: Mask, gone_background: Mask
) -> TwoSampleTest | None:
    """The primary test of the events that are not gone; None where too few are left."""
    config = known.config
    kept = [[_rest(block, gone_data, gone_background) for block in blocks] for blocks in scored]
    library = known.library
    if library is not None:
        gone = np.concatenate([gone_data, gone_background])
        library = dataclasses.replace(library, windows=tuple(_others(tried, gone) for tried in library.windows))
    try:
        return two_sample_test(
            kept, known.windows, config.efficiencies, (known.data.mass, known.background.mass),
            min_background=config.min_background, rank=config.rank, library=library, seed=known.seed,
        )  # fmt: skip
    except InputError:  # no selection keeps enough background
        return None


def _others(tried: Tried, gone: Mask) -> Tried:
    left = ~gone[tried.rows]
    return dataclasses.replace(
        tried, rows=tried.rows[left], weights=tried.weights[left], scores=tried.scores[left]
    )  # fmt: skip


def _rest(block: ScoredBlock, gone_data: Mask, gone_background: Mask) -> ScoredBlock:
    d, b = ~gone_data[block.data_rows], ~gone_background[block.background_rows]
    return ScoredBlock(
        block.block, block.data_rows[d], block.background_rows[b], block.data[d], block.background[b]
    )  # fmt: skip


def without(known: Searched, test: TwoSampleTest, gone_data: Mask, gone_background: Mask) -> Searched:
    """The search of the other events."""
    d, b = ~gone_data, ~gone_background
    scores = dataclasses.replace(
        known.scores,
        survival=known.scores.survival[d],
        background_survival=known.scores.background_survival[b],
        probability=known.scores.probability[d],
    )
    return dataclasses.replace(
        known,
        data=known.data.take(d),
        background=known.background.take(b),
        test=test,
        u_data=known.u_data.take(d),
        u_background=known.u_background.take(b),
        scores=scores,
        iterations=min(known.iterations, 2),
        peak=None,
    )


def _on_all_events(final: Description, known: Searched, gone_data: Mask, gone_background: Mask) -> Description:
    """The same description with scores of all events near it: those of earlier particles count as nothing like it."""
    scores, fitted = final.template_scores, final.yield_fit
    assert scores is not None and fitted is not None
    assert final.span is not None
    low, high = final.span
    near_d, near_b = ((t.mass >= low) & (t.mass < high) for t in (known.data, known.background))
    d, b = np.full(len(known.data), -np.inf), np.full(len(known.background), -np.inf)
    d[np.flatnonzero(near_d & ~gone_data)] = scores.data
    b[np.flatnonzero(near_b & ~gone_background)] = scores.background
    whole = dataclasses.replace(scores, data=d[near_d], background=b[near_b])
    return dataclasses.replace(final, template_scores=whole)


def _no_particle(final: Description, found: Sequence[Particle], settings: ParticleSettings) -> str:
    """Why an excess with these masses is no further particle; empty where it is one."""
    peaks = final.ordered
    if any(not peak.valid for peak in peaks):
        return "its mass fits do not converge"
    fitted = final.yield_fit
    if fitted is None or fitted.z < settings.seen:
        return "signal-like events at its masses are not seen"
    for earlier in found:
        known = earlier.description
        assert known is not None
        apart = [
            abs(a.mass - b.mass) > settings.apart * np.hypot(a.error, b.error) and abs(a.mass - b.mass) > b.sigma
            for a, b in zip(peaks, known.ordered, strict=True)
        ]
        if not apart[0] and not (apart[1] and apart[2]):
            return "its masses are those of an earlier particle"
    return ""


__all__ = ["Further", "further_particles", "test_without", "without"]
