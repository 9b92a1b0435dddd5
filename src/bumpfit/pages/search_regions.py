"""The primary test without a background table, in words: signal regions against their sidebands."""

from __future__ import annotations

from bumpfit.normal import upper_tail
from bumpfit.pages.answers import Told
from bumpfit.report.document import Block, Heading, Paragraph, Table
from bumpfit.report.rounding import count, measured, probability, z_value
from bumpfit.search.sideband_test import SidebandTest

ROWS = 20
"""Rows of the table of selections; more are in result.json."""


def against_sidebands(findings: Told, test: SidebandTest) -> list[Block]:
    """How the regions were searched, and what every selection shows."""
    settings, regions = findings.config.sidebands, test.regions
    first, last = regions[0], regions[-1]
    blocks: list[Block] = [
        Heading("Primary test: signal regions against their sidebands", "excess"),
        Paragraph(
            f"**Scores.** {len(regions)} overlapping signal regions have centres from {first.centre:.0f} to "
            f"{last.centre:.0f} GeV, each from {100 * (1 - settings.ratio**-0.5):.1f}% below its centre to "
            f"{100 * (settings.ratio**0.5 - 1):.1f}% above it, with a sideband on each side. In each of them a "
            "classifier learns, without labels, to tell the region from its sidebands (Metodiev, Nachman, Thaler, JHEP "
            "10 (2017) 174; Collins, Howe, Nachman, Phys. Rev. Lett. 121 (2018) 241803). Only a resonance inside makes "
            f"them differ: features are taken as ranks among events of like mass. The events are dealt into "
            f"{settings.folds} folds and none is scored by a model that saw it; the score too is a rank among events "
            "of like mass outside of the region, so that a selection keeps the shape of the spectrum unless it finds "
            "something."
        ),
        Paragraph(
            "**Test.** The dijet function is fitted to the spectrum of every selection, and a peak is looked for "
            "inside the region; the spectrum of all events is searched at all masses. Without a signal the scores "
            f"say nothing of the mass: in {count(test.toys)} toys every event keeps all its scores and gets a mass "
            "from the fitted spectrum of all events. The largest local significance of all is compared with that of "
            "the toys."
        ),
        _selections(test),
    ]
    return blocks


def _selections(test: SidebandTest) -> Table:
    tested = [(k, s) for k, s in enumerate(test.selections) if s.z_local is not None]
    ordered = sorted(tested, key=lambda item: -(item[1].z_local or 0.0))[:ROWS]
    rows = []
    for _, s in ordered:
        assert s.z_local is not None and s.n_background is not None and s.background_error is not None
        rows.append(
            (
                s.name,
                count(s.n_data),
                measured(s.n_background, s.background_error),
                "—" if s.mass is None else f"{s.mass:.0f}",
                probability(upper_tail(s.z_local)),
                z_value(s.z_local),
            )
        )
    best = tuple(place for place, (k, _) in enumerate(ordered) if k == test.best)
    return Table(
        "selection_table",
        f"Selections: events inside the signal region, what the fit without a signal expects there, and the largest "
        f"peak (GeV). The {len(ordered)} with the largest significances of {len(test.selections)}, of which "
        f"{len(tested)} have enough events for a test.",
        ("Selection", "Data", "Background", "Mass", "Local p", "Local Z"),
        tuple(rows),
        numeric=(1, 2, 3, 4, 5),
        strong=best,
    )
