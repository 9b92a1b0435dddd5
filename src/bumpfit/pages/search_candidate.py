"""The part of the report on what was found: masses and number of events of the candidate, or the limit on both."""

from __future__ import annotations

from bumpfit.pages import search_drawings as drawings
from bumpfit.pages.answers import Told
from bumpfit.report.document import Block, Gallery, Heading, Items, Paragraph, Table
from bumpfit.report.rounding import count, interval, measured, significant
from bumpfit.search.findings import Description


def description(findings: Told) -> list[Block]:
    """Masses and number of events of the candidate, or the upper limit when there is none."""
    final, answers = findings.updated or findings.first, findings.answers
    if answers.verdict == "difference":
        return _difference(findings)
    if final is not None:
        return _candidate(findings, final)
    heading = "What the excess is" if answers.claim else "How much signal there can be"
    blocks: list[Block] = [Heading(heading, "description")]
    n = answers.n_signal
    if answers.claim and findings.sidebands is not None:
        blocks.append(
            Paragraph(
                "Masses of daughters are peaks of the jet masses of selected events in the signal region over those of "
                "its sidebands, where both are enough. Simulated decays at these masses, scored by the same "
                "classifiers, give the number of events before the selection and tell two prongs from three; without "
                "the masses and N-subjettiness ratios of two jets the number is that seen in the selection."
            )
        )
    elif answers.claim:
        blocks.append(
            Paragraph(
                "The masses of daughters and a more precise number of events need a background table and the masses "
                "and N-subjettiness ratios of two jets, which this search does not have."
            )
        )
    blocks.append(
        Paragraph(
            f"Signal events: {interval(n.value, n.error_low, n.error_high)} (68% interval; {lowered(n.method)}); "
            f"upper limit {count(answers.n_signal_upper_limit_95)} at 95% confidence level, "
            f"{significant(100 * answers.n_signal_upper_limit_95 / len(findings.data), 2)}% of the data."
        )
    )
    if findings.null_yield is not None:
        blocks.append(drawings.yield_bins(findings.null_yield, "yield_null", "a generic signal"))
    return blocks


def _difference(findings: Told) -> list[Block]:
    """The tables differ, but not like a resonance: nothing is described as a particle."""
    failed = [c for c in findings.answers.checks if c.decisive and c.passed is False]
    return [
        Heading("What differs", "description"),
        Paragraph("Masses and a number of signal events would describe a resonance. These decisive checks say no:"),
        Items(tuple(f"{c.name}: {c.detail}" for c in failed)),
    ]


def _candidate(findings: Told, final: Description) -> list[Block]:
    config = findings.config
    blocks: list[Block] = [
        Heading("What the new physics looks like", "description"),
        Paragraph(
            "**Masses.** Each mass is the position of a peak: a double-sided Crystal Ball over the background table "
            "in the same selection, every bin of which is profiled, by maximum likelihood. Errors hold the statistics "
            f"of data and table (MINOS) and {config.peaks.scale_error:.1%} for the energy scale. Masses are those of "
            "the jets as measured: positions of peaks, not means."
        ),
    ]
    if findings.first is not None and findings.updated is not None:
        blocks.append(_mass_table(findings.first, findings.updated))
    if final.yield_fit is not None:
        fit = final.yield_fit
        blocks.append(
            Paragraph(
                "**Number of events.** The efficiency of a learned selection for an unknown signal is not known, so "
                "the excess after a cut is not the yield before it. Therefore signal-like events at the fitted masses "
                "(a packaged library of simulated two- and three-prong decays) train a classifier against background "
                "events, cross-fitted, and another one two prongs against three; neither sees the data. The whole "
                "spectrum of both scores is then fitted with signal-like and background templates: "
                f"{interval(fit.n_signal, fit.n_signal - fit.low, fit.high - fit.n_signal)} events in "
                f"this table (68.27% interval, including {config.templates.template_error:.0%} for the modelling of "
                "signal-like events; √N more in quadrature for the expectation, as a cross section needs it); upper "
                f"limit {count(fit.upper_95)} at 95%. {_prongs(final)}"
            )
        )
    if findings.answers.decay:
        blocks.append(Paragraph(f"**Decay.** {arrow(findings.answers.decay)}."))
    updated, first = findings.updated, findings.first
    stages = [(part, stage) for part, stage in ((first, "first"), (updated, "updated")) if part is not None]
    if config.figures == "few":
        stages = stages[-1:]
    if len(stages) == 2:
        blocks.append(
            Paragraph(
                "Fits of the first answer come before those after the further steps; the last one of m_{JJ} is "
                "{@mass_resonance_updated}."
            )
        )
    fits = [drawings.peaks(part, stage) for part, stage in stages]
    shown = fits[-1][0].name  # the answer shows it
    blocks.append(Gallery(tuple(p for row in zip(*fits, strict=True) for p in row if p.name != shown)))
    pictures = []
    for stage, part in (("updated", updated), ("first", first)):
        if part is not None and part.yield_fit is not None:
            pictures.append(drawings.yield_bins(part.yield_fit, f"yield_{stage}", "the candidate"))
    if final.yield_fit is not None and final.template_scores is not None:
        pictures.append(drawings.template_distribution(final))
    if pictures:
        blocks.append(Gallery(tuple(pictures)))
    return blocks


def _mass_table(first: Description, updated: Description) -> Table:
    names = (("resonance", "resonance"), ("light", "lighter jet"), ("heavy", "heavier jet"))
    rows = []
    for key, name in names:
        fits = getattr(first, key), getattr(updated, key)
        cells = [cell for fit in fits for cell in (measured(fit.mass, fit.error), f"{fit.sigma:.0f}")]
        rows.append((name, *cells))
    return Table(
        "masses",
        "Masses and widths (sigma of the peak, resolution included) in GeV, of the first answer and after the further "
        "steps.",
        ("Mass", "First", "Width", "Updated", "Width"),
        tuple(rows),
        numeric=(1, 2, 3, 4),
    )


def _prongs(final: Description) -> str:
    fit = final.yield_fit
    assert fit is not None
    text = f"The mixture that fits best has {fit.three_prong_fraction:.0%} three-prong decays"
    if fit.two_prong_preference is None:
        return text + "."
    kind = "two" if fit.two_prong_preference > 0 else "three"
    strength = "which is not decisive" if fit.prongs is None else "which is decisive"
    return f"{text}; all {kind}-prong fits better by 2 Δln L = {abs(fit.two_prong_preference):.1f}, {strength}."


def arrow(text: str) -> str:
    """A decay with its arrow and without a full stop."""
    return text.replace("->", "→").replace("Delta", "Δ").rstrip(".")


def lowered(text: str) -> str:
    """A text that goes on in a sentence: first letter small, no full stop."""
    return text[:1].lower() + text[1:].rstrip(".")
