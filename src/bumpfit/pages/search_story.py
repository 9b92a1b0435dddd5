"""The story of a search in words, tables and figures: the answer, the data, and both tests."""

from __future__ import annotations

from pathlib import PurePath

from bumpfit.pages import search_drawings as drawings
from bumpfit.pages import search_regions as regions
from bumpfit.pages.answers import Input, PValue, Searched, Told
from bumpfit.pages.search_candidate import arrow, lowered
from bumpfit.pages.search_terminal import upper_bound, verdict_title
from bumpfit.report.document import Block, Gallery, Heading, Paragraph, Subheading, Table, Verdict, verbatim
from bumpfit.report.rounding import count, interval, measured, probability, relation, significant, z_value
from bumpfit.scoring import Average, Classifier
from bumpfit.search.spectra import with_table
from bumpfit.search.spectrum import SpectrumTest
from bumpfit.search.two_sample import SelectionResult
from bumpfit.search.windows import Window

APPROACH_NAMES = {
    "trees": "Boosted trees",
    "forest": "Random forests",
    "extra_trees": "Extremely randomised trees",
    "mlp": "Multi-layer perceptrons",
}
"""How approaches are called in a sentence; others go by the name in the registry."""

STATISTICS = {
    "learned": "ranks of what was learned",
    "library": "ranks by the library",
    "both": "mean rank of learned and library",
}
"""What a statistic of the primary test is made of."""
WEAK = 2.0
"""Global significance from which the headline speaks of an excess even without a claim."""


def title(findings: Told) -> str:
    """Title of the report."""
    kind = "" if findings.background is not None else ", spectrum only"
    kind = kind if findings.sidebands is None else ", against sidebands"
    return f"Search for a resonance in two-jet events{kind}"


def subtitle(findings: Told) -> str:
    """One line: tables, version, seed."""
    answers = findings.answers
    names = " against ".join(verbatim(file_name(entry)) for entry in answers.inputs)
    return f"{names} · bumpfit {answers.version} · seed {answers.seed}"


def file_name(entry: Input) -> str:
    """What a table is called in the report: its file without folders, which are the user's own."""
    return "data frame" if entry.path is None else PurePath(entry.path).name


def bound(p: PValue) -> tuple[str, str]:
    """Global p-value and significance as text: an upper (lower) bound where the method gives no more than that."""
    limited = upper_bound(p.to_dict())
    return (
        relation("p", probability(p.overall), "<" if limited else "="),
        relation("Z", z_value(p.z_global), ">" if limited else "="),
    )


def local(p: float | None, z: float | None) -> tuple[str, str]:
    """A local p-value and its significance as text."""
    return relation("p", probability(p)), relation("Z", z_value(z))


def answer(findings: Told) -> list[Block]:
    """The headline: verdict, p-values, masses, yield, decay; the evidence at a glance; how to read the p-value."""
    heading, text = _headline(findings)
    verdict = Verdict(heading, text, findings.answers.claim, tuple(_facts(findings)))
    blocks: list[Block] = [Heading("Answer", "answer"), verdict]
    if len(findings.answers.particles) > 1:
        blocks.append(_particle_table(findings))
    pictures = drawings.evidence(findings)
    if pictures:
        blocks.append(Gallery(pictures))
    blocks.append(Paragraph(_reading(findings)))
    if findings.answers.verdict != "difference":
        blocks.append(Paragraph(f"**Signal events.** The number is a {lowered(findings.answers.n_signal.method)}."))
    return blocks


def _headline(findings: Told) -> tuple[str, str]:
    """Title and text of the verdict."""
    answers = findings.answers
    value, z = bound(answers.p_value)
    needs = f"a claim was agreed beforehand to need Z ≥ {answers.claim_z:g}"
    if answers.verdict == "resonance":
        number = len(answers.particles)
        heading = f"New physics is claimed: {z} after all trials"
        if number > 1:
            heading = f"{number} new particles are claimed; the leading one with {z} after all trials"
        text = (
            f"The data differ from the background with {value} ({z}) over everything that was tried; {needs} and no "
            "decisive check to fail."
        )
        if answers.decay:
            text += f" **Decay:** {arrow(answers.decay)}."
        return heading, text
    if answers.verdict == "difference":
        failed = "; ".join(f"{c.name} ({c.detail})" for c in answers.checks if c.decisive and c.passed is False)
        alone = findings.background is None
        heading = verdict_title("difference", len(answers.inputs))
        quoted = "No resonance is claimed, and no masses or signal events are quoted."
        if not answers.p_value.z_global >= answers.claim_z:
            return heading, (
                f"The primary test, of excesses in windows of the dijet mass, gives {value} ({z}); {needs}. But "
                f"decisive checks fail: {failed}. {quoted}"
            )
        return (
            f"{heading}: {z} after all trials",
            f"The data differ from the background{'' if alone else ' table'} with {value} ({z}). Decisive checks fail: "
            f"{failed}. {quoted}",
        )
    text = f"The primary test gives {value} ({z}) over everything that was tried; {needs}."
    n = answers.n_signal
    if n.value - n.error_low > 0:
        text += (
            f" The fit of the number of signal events by itself prefers "
            f"{interval(n.value, n.error_low, n.error_high)}: an excess that is not enough for a claim."
        )
    elif answers.p_value.z_global >= WEAK:
        text += " An excess of this size is worth a look in more data; it is not enough for a claim."
    text += _other_approach(findings)
    text += " Masses and decays are not quoted; the number of signal events is limited instead."
    if answers.searched is None:
        return f"No new physics is claimed: {z} after all trials", text
    text += f" {not_searched(answers.searched, len(findings.data))}"
    where = f"{answers.searched.low:.0f} and {answers.searched.high:.0f} GeV"
    return f"No new physics is claimed between {where}: {z} after all trials", text


def _other_approach(findings: Told) -> str:
    """A cross-check that would have been a claim: it is not kept back, and not chosen after the fact."""
    found = [step.after["z_global"] for step in findings.steps if step.kind == "cross-check"]
    if not found or not max(found) >= findings.answers.claim_z:
        return ""
    return (
        f" The cross-check by another approach gives Z = {z_value(max(found))} by itself. It was not the planned test: "
        "a claim of the larger of two would need a test of its own, on events that were not used here."
    )


def not_searched(found: Searched, events: int) -> str:
    """What p-value and limit do not speak of, where only some masses are searched."""
    outside = f"{count(found.below)} of {count(events)} events lie below and {count(found.above)} above"
    return f"Masses outside of {found.low:.0f} to {found.high:.0f} GeV are neither searched nor limited: {outside}."


def _facts(findings: Told) -> list[tuple[str, str, str]]:
    """Label, value and remark of every number of the answer."""
    answers, p = findings.answers, findings.answers.p_value
    value, z = bound(p)
    smallest, z_smallest = local(p.local, p.z_local)
    facts: list[tuple[str, str, str]] = [
        ("Global p-value", value, f"{z}, {_trials(findings)}"),
        ("Smallest local p-value", smallest, f"{z_smallest}, {_best_name(findings)}"),
    ]
    if answers.resonance_mass is not None:
        mass = answers.resonance_mass
        facts.append(("Resonance mass", measured(mass.value, mass.error, "GeV"), "peak of m_{JJ}"))
    for mass in answers.daughter_masses or ():
        which = {"J1": "lighter jet", "J2": "heavier jet"}.get(mass.name or "", "")
        facts.append((f"Daughter mass, {mass.name}", measured(mass.value, mass.error, "GeV"), which))
    if answers.verdict == "difference":
        return facts
    n, upper = answers.n_signal, count(answers.n_signal_upper_limit_95)
    measured_yield = interval(n.value, n.error_low, n.error_high)
    label = "Signal events before any selection"
    share = f"{significant(answers.signal_percent, 2)}% of the data"
    if answers.claim:
        facts.append((label, measured_yield, f"68% interval; {share}; < {upper} at 95%"))
    else:
        facts += [
            (label, f"< {upper}", f"95% confidence level{_where(answers.searched)}"),
            ("Best value", measured_yield, f"68% interval; {share}"),
        ]
    return facts


def _where(found: Searched | None) -> str:
    return "" if found is None else f", for masses from {found.low:.0f} to {found.high:.0f} GeV"


def _particle_table(findings: Told) -> Table:
    where = "events that do not look like the ones before it"
    if findings.sidebands is not None:
        where = "signal regions that the ones before it do not touch"
    rows = []
    for number, one in enumerate(findings.answers.particles, 1):
        daughters = ", ".join(measured(m.value, m.error) for m in one.daughter_masses or ()) or "—"
        mass = "—" if one.resonance_mass is None else measured(one.resonance_mass.value, one.resonance_mass.error)
        n = one.n_signal
        rows.append(
            (
                str(number),
                probability(one.p_value.overall),
                z_value(one.p_value.z_global),
                mass,
                daughters,
                interval(n.value, n.error_low, n.error_high),
            )
        )
    return Table(
        "particles",
        f"Particles that are claimed, each tested in {where}; masses in GeV.",
        ("", "Global p", "Z", "Resonance", "Daughters", "Signal events"),
        tuple(rows),
        numeric=(1, 2, 3, 4, 5),
    )


def _library(findings: Told) -> str:
    """What the second source is, where it was used."""
    if findings.test is None or "library" not in findings.test.overall.z_sources:
        return ""
    return (
        " Decays of the packaged library, at all masses, are a second source: they order the events of all blocks, the "
        "first one in parts. The mean log rank of both is a third statistic, and one permutation law holds for all."
    )


def _trials(findings: Told) -> str:
    tried = findings.answers.p_value.trials
    if findings.sidebands is not None:
        return f"{tried} masses in all spectra tried"
    if findings.test is None:
        return f"{tried} mass{'' if tried == 1 else 'es'} tried"
    windows = len(findings.test.overall.tested)
    where = f"{windows} mass window{'' if windows == 1 else 's'}"
    return f"{where} tried" if tried == windows else f"{tried} statistics in {where} tried"


def _best_name(findings: Told) -> str:
    if findings.test is not None:
        overall = findings.test.overall
        text = STATISTICS[overall.source]
        return text if len(overall.tested) == 1 else f"{text}, {findings.windows[overall.window].centre:.0f} GeV"
    if findings.sidebands is not None:
        leading = findings.sidebands.leading
        return f"{leading.name}, {leading.mass:.0f} GeV"
    mass = findings.spectra[0].mass if findings.spectra else None
    return f"mass {mass:.0f} GeV" if mass is not None else "of the spectrum"


def _reading(findings: Told) -> str:
    p = findings.answers.p_value
    text = f"**How to read the p-value.** Method: {p.method}. "
    if "union bound" in p.method:
        text += (
            f"The union bound (number of trials, {p.trials}, times the smallest local p-value) always holds, so the "
            "global p-value is quoted as an upper bound. "
        )
    if findings.test is not None:
        text += "The two-sample test was named as the primary one beforehand, and only it decides about a claim. "
    if findings.sidebands is not None:
        text += f"{count(p.draws)} toys were thrown. "
        if findings.sidebands.extrapolated:
            text += (
                "Too few of them reach the data: p is p_{local} + c exp(−Z^{2}/2), whose c comes from the toys (Gross "
                "and Vitells, Eur. Phys. J. C 70 (2010) 525), and its error holds that of c alone. "
            )
    elif p.error is not None:
        text += f"{count(p.draws)} permutations were drawn; they leave p an error of {significant(p.error, 1)}. "
    return text + "Nothing that was chosen after looking at the data enters this p-value."


def data(findings: Told) -> list[Block]:
    """The tables, their units, and every input."""
    answers, events, table = findings.answers, findings.data, findings.background
    rows = []
    for role, entry, source in zip(("data", "background"), answers.inputs, (events, table), strict=False):
        dropped = "—" if source is None else count(len(source.dropped))
        rows.append((role, verbatim(file_name(entry)), count(entry.events), entry.unit, dropped))
    text = (
        f"The search looks at {count(len(events))} events with the mass {verbatim(events.mass_name)} between "
        f"{events.mass.min():.0f} and {events.mass.max():.0f} GeV"
    )
    if findings.sidebands is not None:
        text += (
            ". No background table was given; events of mass regions are told from those of their sidebands by "
            f"{', '.join(verbatim(name) for name in events.names)}."
        )
    elif table is None:
        text += ". No background table was given, so that only the mass spectrum can be tested."
    else:
        text += (
            f" and at {count(len(table))} events of a table that is taken to be background only. The features are "
            f"{', '.join(verbatim(name) for name in events.names)}; the mass is not among them."
        )
    blocks: list[Block] = [
        Heading("Data", "data"),
        Paragraph(text + " The unit of the masses is that given, or found from their values ({@tables})."),
        Table(
            "tables",
            "Input tables. Dropped events had cells that are not finite numbers.",
            ("Role", "File", "Events", "Unit", "Dropped"),
            tuple(rows),
            numeric=(2, 4),
        ),
        Gallery(drawings.inputs(findings)),
    ]
    return blocks


def excess(findings: Told) -> list[Block]:
    """The primary test: scores, selections, global p-value, and whether the selections shape the background."""
    test = findings.test
    if findings.sidebands is not None:
        return regions.against_sidebands(findings, findings.sidebands)
    if test is None:
        return []
    config, best = findings.config, test.selections[test.best]
    p_best, z_best = local(best.p_local, best.z_local)
    forward = config.forward
    blocks: list[Block] = [
        Heading("Primary test: data against background", "excess"),
        Paragraph(
            f"**Scores.** {_approach(config.approach)} learn to tell data from background without "
            "being told which events are signal (classification without labels, JHEP 10 (2017) 174): only a signal "
            f"makes the two differ. The mass is not an input. {_windows(findings.windows)}For the scores that are "
            f"handed out, the tables are dealt into {config.folds} folds and no event is scored by a model that saw "
            f"it ({{@score}})."
        ),
        drawings.score(findings),
        Paragraph(
            f"**Test.** For the p-value the tables are dealt at random into a first block ({forward.first:.0%} of the "
            f"events), on which the models are only trained, and {forward.blocks} blocks that are tested one after "
            f"another, each by models trained on the blocks before it.{_library(findings)} "
            "A selection cuts every block at a fixed fraction of its own "
            "background; without a signal the number of data events above a background order statistic then follows "
            "the negative hypergeometric law exactly, whatever the models have learned, and the blocks add up "
            "independently. The p-value takes every event by its rank in its block: "
            f"an event at the fraction u from the top adds ln(1 + {config.rank.depth:g} / u), up to a constant, where "
            f"u < {config.rank.reach:g}, and later blocks, whose models have learned more, weigh more. "
            "q_{0} is the on/off likelihood ratio of the summed counts (Li and Ma, Astrophys. J. 272 "
            "(1983) 317), with the statistical error of the background table profiled."
        ),
        Paragraph(
            f"**Result.** {_overall(findings)} The best of the selections there, {best.name}, holds "
            f"{count(best.n_data)} data events where {measured(best.n_background_expected, best.background_error)} are "
            f"expected from the table: {p_best} ({z_best}). {{@selection_table}} lists "
            "the selections and {@selections} shows them."
        ),
        _selection_table(test.selections, test.best),
    ]
    if findings.shapes:
        worst = min(findings.shapes, key=lambda shape: shape.p)
        blocks += [
            Subheading("Does a selection shape the background?"),
            Paragraph(
                "A selection that prefers some masses could make a peak of a smooth spectrum. {@background_shape} "
                "compares the mass spectrum of selected background events with that of all tested ones by χ^{2}; the "
                f"smallest of {len(findings.shapes)} probabilities is {probability(worst.p)}."
            ),
            drawings.shapes(findings),
        ]
    return blocks


def _approach(approach: Classifier) -> str:
    if isinstance(approach, Average):
        return f"Averages of {', '.join(approach.members)}"
    name = APPROACH_NAMES.get(approach.kind, f"Models of the approach {verbatim(approach.kind)}")
    return f"{name} ({approach.models} a training)" if approach.models > 1 or approach.kind == "trees" else name


def _windows(windows: tuple[Window, ...]) -> str:
    if len(windows) < 2:
        return "The table is one narrow mass window, searched as a whole. "
    return (
        f"The spectrum is searched in {len(windows)} overlapping mass windows with centres from "
        f"{windows[0].centre:.0f} to {windows[-1].centre:.0f} GeV, each with models of its own. "
    )


def _overall(findings: Told) -> str:
    """The global p-value, and where it comes from."""
    assert findings.test is not None
    overall, p = findings.test.overall, findings.answers.p_value
    value, z = bound(p)
    error = "" if p.error is None else f", Monte Carlo error {significant(p.error, 1)}"
    text = f"Over everything that was tried, {value} ({z}{error}), from permutations of the labels data and background"
    if len(overall.tested) > 1:
        own = ", ".join(local(p.local, p.z_local))
        centre = findings.windows[overall.window].centre
        text += f" inside blocks and mass intervals; the window around {centre:.0f} GeV has {own} by itself"
    return f"{text}."


def _selection_table(selections: tuple[SelectionResult, ...], best: int) -> Table:
    order = list(range(len(selections)))
    note = ""
    if len(order) > regions.ROWS:
        order = sorted(order, key=lambda i: selections[i].p_local)[: regions.ROWS]
        note = f" The {regions.ROWS} with the smallest p-values of {len(selections)}; all are in result.json."
    rows = tuple(
        (
            selections[i].name,
            count(selections[i].n_data),
            measured(selections[i].n_background_expected, selections[i].background_error),
            significant(selections[i].q0, 3),
            probability(selections[i].p_local),
            z_value(selections[i].z_local),
        )
        for i in order
    )
    return Table(
        "selection_table",
        f"Selections, fixed before the data were seen; the best in bold.{note}",
        ("Selection", "Data", "Background", "q_{0}", "Local p", "Local Z"),
        rows,
        numeric=(1, 2, 3, 4, 5),
        strong=(order.index(best),),
    )


def second_test(findings: Told) -> list[Block]:
    """The mass spectrum of every selection over a dijet function; or why it is no test."""
    tests = findings.spectra
    if not tests:
        return []
    usable = [test for test in tests if test.usable]
    primary = findings.test is None and findings.sidebands is None
    blocks: list[Block] = [Heading(_spectra_heading(findings, primary=primary), "spectrum")]
    text = (
        "A peak is searched over the dijet function f(x) = p_{0} (1 − x)^{p1} / x^{p2 + p3 ln x + …} with x = m / 13 "
        "TeV, integrated over the bins; an F-test chooses the number of parameters. The statistic is q_{0} of the "
        "profile likelihood (Cowan et al., Eur. Phys. J. C 71 (2011) 1554) with asymptotic p-values. "
    )
    joint = with_table(tests)
    if joint:
        text += (
            "Without sidebands a free function would follow the peak, so that data and background table are fitted "
            "together: one function times a free ratio of the tables describes both; only the data may have a peak. "
        )
    elif findings.test is not None:
        text += "This test does not use the background table, but to find where the spectrum is smooth. "
    blocks.append(Paragraph(text + _spectrum_result(findings, usable)))
    blocks.append(_spectrum_table(tests, joint=joint))
    scan = drawings.mass_scan(findings)
    if scan is not None:
        blocks.append(scan)
    blocks.append(Gallery(drawings.spectra(findings)))
    return blocks


def _spectra_heading(findings: Told, *, primary: bool) -> str:
    if findings.sidebands is not None:
        return "Mass spectra of the leading region"
    return "Mass spectrum" if primary else "Second test: the mass spectrum"


def _spectrum_result(findings: Told, usable: list[SpectrumTest]) -> str:
    tests = findings.spectra
    if not usable:
        return f"**No spectrum can be tested here**: {tests[0].reason}. No p-value is made of it ({{@spectrum_table}})."
    best = min(usable, key=lambda test: test.p_local if test.p_local is not None else 1.0)
    fit = findings.answers.mass_spectrum_fit
    text = (
        f"{'The spectrum' if len(tests) == 1 else f'{len(usable)} of {len(tests)} spectra'} can be tested. The "
        f"largest excess is at {best.mass:.0f} GeV in the spectrum '{best.name}': local "
        f"{', '.join(local(best.p_local, best.z_local))}; "
    )
    p_global, z_global = fit.get("p_global", best.p_global), fit.get("z_global", best.z_global)
    dealt = best.permutations > 0
    limited = p_global is not None and p_global < 1 and (best.bound or not dealt)
    text += relation("global p", probability(p_global), "<" if limited else "=")
    text += f" ({relation('Z', z_value(z_global), '>' if limited else '=')}; "
    drawn = "permutations of the labels" if findings.sidebands is None else "toys of all regions"
    text += f"{best.permutations} {drawn}, over all" if dealt else "union bound over"
    return text + " masses and spectra). {@scan} shows the scan, {@spectrum_table} the spectra."


def _spectrum_table(tests: tuple[SpectrumTest, ...], *, joint: bool) -> Table:
    rows = []
    for test in tests:
        signal = "—"
        if test.usable and test.n_signal is not None:
            error = test.n_signal_error
            signal = measured(test.n_signal, error) if error is not None else significant(test.n_signal, 3)
        rows.append(
            (
                test.name,
                count(float(test.counts.sum())),
                "—" if test.n_parameters is None else str(test.n_parameters),
                probability(test.goodness_p),
                "—" if test.inflation is None else significant(test.inflation, 2),
                f"{test.mass:.0f}" if test.usable and test.mass is not None else "—",
                signal,
                probability(test.p_local),
                z_value(test.z_local),
            )
        )
    return Table(
        "spectrum_table",
        f"Spectra: fit of the dijet function without a peak{' to data and table added up' if joint else ''} (goodness "
        "of fit p), factor by which the free background inflates the error of a peak's yield, and the largest excess. "
        "A dash: no test.",
        ("Spectrum", "Events", "Parameters", "Fit p", "Inflation", "Mass [GeV]", "Signal", "Local p", "Local Z"),
        tuple(rows),
        numeric=(1, 2, 3, 4, 5, 6, 7, 8),
    )
