"""What a search is worth: further steps before and after, checks, limits of validity, proposals, and how to repeat."""

from __future__ import annotations

import numpy as np

from bumpfit.pages import search_drawings as drawings
from bumpfit.pages.answers import Check, Told
from bumpfit.pages.search_command import CONFIG, command
from bumpfit.pages.search_story import file_name, not_searched
from bumpfit.pages.search_terminal import QUANTITIES, flat
from bumpfit.pages.search_words import needed, variable
from bumpfit.report.document import Block, Heading, Items, Listing, Paragraph, Subheading, Table, verbatim
from bumpfit.report.rounding import count, rounded, significant
from bumpfit.search.config import config_toml


def iterations(findings: Told) -> list[Block]:
    """The further steps that were taken, with the numbers before and after each."""
    steps = findings.answers.iterations
    blocks: list[Block] = [Heading("Further steps that were taken", "iterations")]
    if not steps:
        return [*blocks, Paragraph("None: this search ends with its first answer.")]
    if findings.answers.verdict == "difference":
        return [
            *blocks,
            Paragraph(
                "The steps looked for the masses of a resonance. As a decisive check fails, their numbers describe no "
                "particle; they stand in result.json."
            ),
        ]
    blocks.append(
        Paragraph(
            "Each step was chosen from what was found before it. The p-value of the answer is not changed by them: "
            "what is chosen after looking is not quoted as if it had been planned."
        )
    )
    entries = tuple(f"**Step {k}: {step.task}.** Why: {step.reason}." for k, step in enumerate(steps, 1))
    rows: list[tuple[str, ...]] = []
    for number, step in enumerate(steps, 1):
        before, after = flat(step.before), flat(step.after)
        rows += [
            (str(number), QUANTITIES.get(key, key), before.get(key, "—"), after.get(key, "—"))
            for key in dict.fromkeys([*before, *after])
        ]
    blocks += [
        Items(entries),
        Table(
            "before_after",
            "Numbers before and after each step; masses in GeV; signal events are those before any selection.",
            ("Step", "Quantity", "Before", "After"),
            tuple(rows),
            numeric=(2, 3),
        ),
    ]
    if findings.test is not None:
        blocks.append(drawings.updated_score(findings))
    return blocks


MARKS = {"passed": "✓ passed", "failed": "✗ failed", "not applicable": "– not applicable"}
"""States of checks in the table."""


def checks(findings: Told) -> list[Block]:
    """Every check of the chain, passed or not, and the goodness of the fits."""
    entries = findings.answers.checks
    blocks: list[Block] = [Heading("Checks", "checks")]
    if not entries:
        return [*blocks, Paragraph("No checks apply to this search.")]
    failed = [i for i, check in enumerate(entries) if check.passed is False]
    beside = sum(check.passed is None for check in entries)
    text = f"{len(entries) - len(failed) - beside} of {len(entries)} checks are passed ({{@check_table}})."
    if beside:
        text += f" {beside} {'does' if beside == 1 else 'do'} not apply here, which is no failure."
    if failed:
        text += " Those that failed limit what the answer is worth: see {@limitations}."
    text += " No resonance is claimed while a decisive check fails."
    blocks.append(Paragraph(text))
    blocks.append(
        Table(
            "check_table",
            "Checks of the search; those that failed in bold.",
            ("Check", "Decisive", "Result", "Numbers"),
            tuple((c.name, "yes" if c.decisive else "no", MARKS[c.state], c.detail) for c in entries),
            strong=tuple(failed),
        )
    )
    return blocks


POOR_FIT = 0.01
"""Goodness of fit below which the report warns about a mass spectrum."""


def limitations(findings: Told) -> list[Block]:
    """What the answer rests on and where it ends."""
    answers, config = findings.answers, findings.config
    entries = []
    if findings.background is not None:
        entries.append(
            "The background table is taken to be background only and to follow the law of the background in the data. "
            "A difference of another kind (simulation, detector, trigger) counts as an excess in the p-value; the "
            "decisive checks look for it in the other events. " + _sensitivity(findings)
        )
        if not answers.claim:
            entries.append(
                "The data must differ from the table enough for a classifier to learn it: a few hundred signal events "
                "among 10^{5} are about the least. No claim does not mean no signal; see the upper limit."
            )
    else:
        entries += _of_one_table(findings)
    if "union bound" in answers.p_value.method:
        entries.append(
            "The global p-value is an upper bound; the true one is smaller, as neighbouring trials are correlated."
        )
    if findings.test is not None and len(findings.windows) > 1:
        entries.append(
            "With several mass windows the labels are permuted inside blocks and mass intervals (a fixed grid and the "
            "edges of the windows); the permutations keep the trained models as they are."
        )
    entries += _of_spectra(findings)
    entries += [f"A check failed: {check.name} ({check.detail})." for check in _failed(findings)]
    if findings.final is not None:
        entries.append(
            f"Masses are peak positions of reconstructed jets. Their errors hold {config.peaks.scale_error:.1%} for "
            "the energy scale, and no correction to the masses of particles is applied."
        )
        entries.append(
            "The number of signal events rests on simulated decays into two or three prongs at the fitted masses "
            f"({config.templates.template_error:.0%} modelling error). Another kind of jet (one prong, many prongs, "
            "very asymmetric decays) would be counted with another efficiency."
        )
    elif findings.null_yield is not None:
        entries.append(
            "The upper limit is for a generic signal, all masses of the packaged library alike; for a signal of known "
            "masses the limit can be stronger or weaker."
        )
    return [Heading("Limitations", "limitations"), Items(tuple(entries))]


def _of_one_table(findings: Told) -> list[str]:
    """Where a search without a background table ends."""
    entries, found = [], findings.answers.searched
    if found is not None:
        why = (
            " The dijet function does not follow the spectrum below: there it turns on, or has a peak so close to that "
            "edge that nothing beside it tells the two apart. A background table, or a range that is known to be "
            "smooth (`low` of `[spectrum]`), opens it."
        )
        entries.append(not_searched(found, len(findings.data)) + why * (found.below > 0 and not found.given))
    if findings.sidebands is None:
        return [
            *entries,
            "Without a background table everything rests on the dijet function: a spectrum that it does not follow "
            "looks like a signal or hides one.",
        ]
    entries += [
        "Without a background table everything rests on the dijet function, and on features that change slowly with "
        "the mass: a feature that jumps at a mass, in the detector or by a trigger, looks like a resonance there. The "
        "checks of the features and of the regions elsewhere look for that; a jump that shifts a feature no more than "
        "a signal can is not seen by them.",
        "The toys keep the trained models and the scores as they are. Masses without a sideband on each side are "
        "searched in the spectrum of all events only.",
    ]
    if findings.signal.origin in ("selection", "generic selection"):
        entries.append(
            "The number of signal events rests on simulated decays into two or three prongs, and holds "
            f"{findings.config.templates.template_error:.0%} for their modelling. Another kind of jet would be counted "
            "with another efficiency."
        )
    return entries


def _of_spectra(findings: Told) -> list[str]:
    """Where the tests of the mass spectra end."""
    entries = []
    if not any(test.usable for test in findings.spectra) and findings.spectra:
        entries.append(f"The mass spectrum alone is no test here: {findings.spectra[0].reason}.")
    if any(test.usable for test in findings.spectra):
        permuted = any(test.permutations for test in findings.spectra)
        entries.append(
            f"{'Local p-values' if permuted else 'p-values'} of the mass spectrum are asymptotic; with few events "
            "(about 10 in the peak region) they are only a guide."
            + (f" The global one is from {'permutations' if findings.sidebands is None else 'toys'}." * permuted)
        )
    poor = [t.name for t in findings.spectra if t.usable and t.goodness_p is not None and t.goodness_p < POOR_FIT]
    if poor:
        entries.append(
            f"The dijet function alone does not describe the spectrum (p < {POOR_FIT:g}) of: {', '.join(poor)}. Where "
            "a signal is not the reason, the p-value of a peak there is not to be trusted."
        )
    return entries


def _failed(findings: Told) -> list[Check]:
    """Checks that failed."""
    return [check for check in findings.answers.checks if check.passed is False]


def next_steps(findings: Told) -> list[Block]:
    """Proposals that follow from what was found."""
    entries: list[str] = []
    if findings.test is not None:
        entries += _more_data(findings)
    entries += _measure_better(findings) if findings.answers.claim else []
    if findings.spectra and not any(test.usable and test.table is None for test in findings.spectra):
        entries.append(
            "Take events outside of this mass window too: with sidebands the mass spectrum becomes a second test that "
            "does not need the background table."
        )
    if findings.background is None:
        entries.append(
            "Give a table of background events (`--background`): the two-sample test needs no sidebands, and compares "
            "all features of both tables where no signal can be."
            if findings.sidebands is not None
            else "Give a table of background events (`--background`): the two-sample test uses the features of the "
            "jets and is far stronger than the spectrum alone."
        )
    if not entries:
        entries.append("Nothing in these findings asks for a further step.")
    return [
        Heading("Proposals for next steps", "proposals"),
        Items(tuple(entries)),
        Subheading("What would give deeper insight, and with which packages"),
        Items(_deeper(findings)),
    ]


def _sensitivity(findings: Told) -> str:
    """Which shift of a feature would make the excess, in words; empty where that was not looked at."""
    shifts = next((c.numbers.get("shifts") for c in findings.checks if c.kind == "shifts"), None)
    if not shifts:
        return ""
    parts = (f"{variable(s['feature'])} {needed(s)} (others allow {100 * s['allowed']:.1f}%)" for s in shifts)
    return f"A shift of one feature in the whole table that would make this excess: {'; '.join(parts)}."


def _deeper(findings: Told) -> tuple[str, ...]:
    """Two or three lines that follow from the findings: what other information would tell, and by which packages."""
    answers = findings.answers
    if answers.verdict == "resonance":
        return (
            "The constituents of the selected jets tell two from three prongs, quarks from gluons, and charges: read "
            "them with `uproot` and `awkward`, recluster and groom with `fastjet`, and train on them as point clouds "
            "with `torch` (ParticleNet, energy flow networks in `energyflow`).",
            "Simulate the candidate at the fitted masses in the experiment's own detector (`pythia8mc` or MadGraph, "
            "Delphes or Geant4) and with another generator (Herwig): masses, yield and kind of decay then hold its "
            "modelling, and calorimeter images can be compared.",
            "Unfold the spectra of the selected events (`omnifold`, RooUnfold) for masses and rates that others can "
            "compare with models; combine channels in one HistFactory workspace (`pyhf`, `cabinetry`).",
        )
    if answers.verdict == "difference" and findings.background is None:
        return (
            "Leave out the features that the failed checks name (`--features`), or give the end of the range where the "
            "spectrum falls (`[spectrum] low` in the settings), and search again.",
            "A background table, simulated (`pythia8mc`, MadGraph with Delphes) or measured where no signal can be, "
            "tells a resonance from a feature that follows the mass.",
        )
    if answers.verdict == "difference":
        return (
            "Make the table again with other settings (another generator with `pythia8mc` or Herwig, another tune, "
            "another detector simulation with Delphes) and see which of them removes the difference that is named "
            "above.",
            "Correct the table in control regions (reweighting with `scikit-learn` or `hep_ml`, `omnifold`) where no "
            "signal can be, and search again with the corrected one.",
        )
    return (
        "More about each jet is the way to more sensitivity: constituents (`uproot`, `awkward`, `fastjet`), "
        "τ_{3}/τ_{2} and energy correlators (`energyflow`), or learned features (`torch`).",
        "A larger background table, simulated (`pythia8mc`, MadGraph with Delphes) or learned from sidebands "
        "(CATHODE and its kind, `nflows`), lowers the error of the background in every selection.",
    )


def _more_data(findings: Told) -> list[str]:
    test = findings.test
    assert test is not None and findings.background is not None
    best = test.selections[test.best]
    entries = []
    if findings.answers.claim:
        entries.append(
            f"Confirm on events that were not used here: train on all present events, fix the selection {best.name}, "
            "and count once, with no trials to correct for. Expect less than its local Z of "
            f"{rounded(best.z_local, 1)} in an equally large sample: an excess that was chosen for its "
            "size is too large on average."
        )
    elif best.z_local > 1:
        factor = (findings.config.claim_z / best.z_local) ** 2
        entries.append(
            f"The best selection, {best.name}, has a local Z of {rounded(best.z_local, 1)}. Fix it now and count it "
            f"once in new data, with no trials to correct for. {significant(factor, 2)} times as many events give "
            f"Z = {findings.config.claim_z:g} if the excess is real and as large as seen; as it was chosen for its "
            "size, more will be needed on average."
        )
    else:
        entries.append(
            "No selection shows an excess that is worth following up; a stronger search needs more data or features "
            "that tell more about the jets."
        )
    poisson = float(np.sqrt(best.n_background_expected))
    if best.background_error > 0.5 * poisson:
        entries.append(
            f"Enlarge the background table ({count(len(findings.background))} events for {count(len(findings.data))} "
            f"of data): in the best selection its error is {significant(best.background_error, 2)} events, beside "
            f"{significant(poisson, 2)} from the fluctuation of the background itself; four times the table halves it."
        )
    return entries


def _measure_better(findings: Told) -> list[str]:
    final = findings.updated or findings.first
    if final is None:
        return []
    config, entries = findings.config, []
    scales: list[str] = []
    for name, fit in (("resonance", final.resonance), ("lighter jet", final.light), ("heavier jet", final.heavy)):
        scale = config.peaks.scale_error * fit.mass
        stuck = [parameter for parameter in fit.at_bounds if parameter in ("mass", "sigma")]
        if stuck:
            entries.append(
                f"Widen the ranges of the {name} mass fit, whose {' and '.join(verbatim(p) for p in stuck)} ended at "
                "one end, and fit again."
            )
        if scale > fit.error_statistical:
            scales.append(
                f"{significant(scale, 2)} GeV to the error of the {name} mass (statistics "
                f"{significant(fit.error_statistical, 2)} GeV)"
            )
    if scales:
        entries.append(f"Calibrate the energy scale (W, Z or top peaks): it contributes {', '.join(scales)}.")
    fitted = final.yield_fit
    if fitted is not None:
        if fitted.prongs is None:
            entries.append(
                "Add a feature that tells two from three prongs (τ_{3}/τ_{2} of both jets): the present ones do not "
                "determine the kind of decay."
            )
        half = 0.5 * (fitted.high - fitted.low)
        model = config.templates.template_error * fitted.n_signal
        if fitted.n_signal > 0 and model > 0.5 * half:
            entries.append(
                f"Simulate the candidate in the experiment's own detector: the modelling of signal-like events "
                f"contributes {significant(model, 2)} of the ±{significant(half, 2)} events of the yield."
            )
    return entries


def provenance(findings: Told) -> list[Block]:
    """Version, seed, inputs with hashes, settings, and the command to repeat it."""
    answers = findings.answers
    rows = [
        ("bumpfit", answers.version),
        ("seed", str(answers.seed)),
        ("time before drawing", f"{answers.runtime_s:.1f} s"),
    ]
    rows += [
        (verbatim(file_name(entry)), f"{count(entry.events)} events, SHA-256 {verbatim(entry.sha256)}")
        for entry in answers.inputs
    ]
    return [
        Heading("Provenance", "provenance"),
        Table("made_with", "What this report was made from.", ("Item", "Value"), tuple(rows)),
        Listing(
            command(findings),
            f"To repeat it, save the settings below as {verbatim(CONFIG)}; the answers are the same for any number "
            "of workers.",
        ),
        Listing(config_toml(findings.config), "Settings of this run:"),
    ]
