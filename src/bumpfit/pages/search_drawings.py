"""The figures of a search: what `Findings` hold, drawn by `bumpfit.report`, each with what one should see in it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from bumpfit.events.tables import energy
from bumpfit.histograms import fill, from_counts
from bumpfit.report.distributions import (
    ShapeRatio,
    background_shapes,
    data_and_background,
    probabilities,
    shape_label,
)
from bumpfit.report.document import Picture
from bumpfit.report.embedded import embedded
from bumpfit.report.measurements import Bins, mass_peak, score_bins
from bumpfit.report.rounding import count, measured, probability, relation, rounded, significant, z_value
from bumpfit.report.significance import selection_significances, significance_grid
from bumpfit.report.spectra import ScanLine, scan, spectrum
from bumpfit.search.candidates import signal_of
from bumpfit.search.findings import Description, Findings
from bumpfit.search.peaks import PeakFit
from bumpfit.search.sideband_test import SidebandTest
from bumpfit.search.spectra import combined
from bumpfit.search.spectrum import SpectrumTest
from bumpfit.search.template import YieldFit

Array = NDArray[np.float64]

KNOWN = {
    "m_JJ": "$m_{JJ}$",
    "m_J1": "$m_{J1}$",
    "m_J2": "$m_{J2}$",
    "delta_m_J": r"$\Delta m_J$",
    "tau_2_over_tau_1_J1": r"$\tau_2/\tau_1$ of J1",
    "tau_2_over_tau_1_J2": r"$\tau_2/\tau_1$ of J2",
}
NUMBERS = {2: "two", 3: "three"}

BINS = 40
"""Bins of the figures of inputs and scores."""

PEAK_BINS = 30
"""Bins of the figures of mass fits, whose fits have finer ones, where that many resolve the peak."""

TAIL = 0.001
"""Share of the events beyond each end of the figures of the inputs."""


def axis_label(name: str) -> str:
    """A column as an axis label, with its unit."""
    label = KNOWN.get(name, name.replace("$", r"\$"))
    return f"{label} [GeV]" if energy(name) else label


def inputs(findings: Findings) -> tuple[Picture, ...]:
    """The mass and every feature, the mass alone among few figures: data over background."""
    data, background = findings.data, findings.background
    scale = 1.0 if background is None else len(data) / len(background)
    few = findings.config.figures == "few"
    names = [data.mass_name] if few else list(dict.fromkeys([data.mass_name, *data.names]))
    pictures = []
    taken: set[str] = set()  # file systems that ignore case would let one figure replace another
    for number, name in enumerate(names):
        edges = _range(data.column(name), None if background is None else background.column(name))
        of_data = fill(data.column(name), edges, name=name)
        of_table = None if background is None else fill(background.column(name), edges, name=name)
        beyond = of_data.underflow + of_data.overflow
        text = f"Input `{name}`: data" + (
            "." if of_table is None else f" and the background table scaled by {significant(scale, 3)}."
        )
        if of_table is not None:
            text += " The hatched band is the statistical error of the table."
            if number == 0:
                text += " A small signal is not visible here; a ratio that leaves 1 over a wide range would be a"
                text += " difference between the tables other than a signal."
        if beyond:
            text += f" {count(beyond)} data events lie outside the range shown."
        figure = data_and_background(of_data, of_table, scale, axis_label(name))
        plain = _file(name)
        if plain.lower() in taken:
            plain = f"{plain}_{number}"
        taken.add(plain.lower())
        pictures.append(embedded(f"input_{plain}", figure, text))
    return tuple(pictures)


def score(findings: Findings) -> Picture:
    """Rank of the events in the background: data follow the background but for an excess at its small end."""
    data, table = (
        -np.log10(s[np.isfinite(s)]) for s in (findings.scores.survival, findings.scores.background_survival)
    )
    edges = np.linspace(0.0, float(max(data.max(), table.max(), 1e-3)) * 1.0001, BINS + 1)
    figure = data_and_background(
        fill(data, edges),
        fill(table, edges),
        data.size / table.size,
        r"$-\log_{10}$ (share of background with a higher score)",
    )
    return embedded(
        "score",
        figure,
        "Scores of all events, cross-fitted and put on the scale of the background: 2 means that one background event "
        "in 100 scores higher. Without a signal the ratio is 1 everywhere; a signal shows as an excess at the right "
        "end.",
    )


def updated_score(findings: Findings) -> Picture:
    """P(signal) before and after the iterations."""
    edges = np.linspace(0.0, 1.0, BINS + 1)
    columns = [
        (name, fill(np.minimum(values, 1 - 1e-9), edges))
        for name, values in (
            ("scores.csv", findings.scores.probability),
            ("scores_updated.csv", findings.updated_probability),
        )
    ]
    return embedded(
        "score_updated",
        probabilities(columns, "Score: estimated probability of new physics"),
        "The scores that are handed out, first and after the further steps. Good scores are near 0 for nearly all "
        "events; with a signal some are near 1, without one none should be.",
    )


def selections(findings: Findings) -> Picture:
    """Local significance of all selections."""
    test = findings.test
    assert test is not None
    used = sorted(set(test.windows))
    pairs = zip(test.selections, test.windows, strict=True)
    entries = [(used.index(window), s.background_efficiency, s.z_local) for s, window in pairs]
    efficiencies, z, _ = significance_grid(entries, len(used))
    best = test.selections[test.best]
    place = used.index(test.windows[test.best]), int(np.searchsorted(efficiencies, best.background_efficiency))
    names = [f"{findings.windows[w].centre / 1000:.2f} TeV" for w in used]
    figure = selection_significances(efficiencies, z, names, findings.config.claim_z, place)
    return embedded(
        "selections",
        figure,
        f"Local significance of all {len(test.selections)} selections, all fixed before the data were seen; the best "
        "is marked. A signal that was learned gives large values in neighbouring selections, a fluctuation only in "
        "one.",
    )


def regions(test: SidebandTest, claim_z: float) -> Picture:
    """Local significance of all selections of all signal regions."""
    entries = [(s.region, s.efficiency, np.nan if s.z_local is None else s.z_local) for s in test.selections]
    efficiencies, z, best = significance_grid(entries, len(test.regions))
    names = [f"{region.centre / 1000:.2f} TeV" for region in test.regions]
    figure = selection_significances(efficiencies, z, names, claim_z, best)
    return embedded(
        "selections",
        figure,
        "Local significance of the largest peak inside every signal region, in the spectrum of every selection that "
        "could be tested; the best is marked. A resonance shows in one region and its neighbours, a classifier that "
        "makes peaks everywhere.",
    )


def evidence(findings: Findings) -> tuple[Picture, ...]:
    """What the answer rests on at a glance: the peak in the dijet mass, where one is claimed, and the selections."""
    found = []
    final = findings.final
    if findings.claim and final is not None:
        stage = "updated" if findings.updated is not None else "first"
        found.append(_peak(final.resonance, "resonance", "m_JJ", stage))
    if findings.sidebands is not None:
        claimed = findings.sidebands.candidates(findings.config.claim_z) if findings.claim else (findings.sidebands,)
        for k, one in enumerate(claimed):
            name = "leading" if k == 0 else f"particle_{k + 1}"
            found.append(_spectrum(one.leading, findings.data.mass_name, "all events", name=name))
        if any(s.z_local is not None for s in findings.sidebands.selections):
            found.append(regions(findings.sidebands, findings.config.claim_z))
    if findings.test is not None:
        found.append(selections(findings))
    return tuple(found)


def shapes(findings: Findings) -> Picture:
    """Selected background over its share of the table, in bins of the mass."""
    rows = [
        ShapeRatio(
            shape_label(s.background_efficiency, s.chi2, s.bins, s.p),
            s.edges,
            s.selected / s.expected,
            np.sqrt(s.expected) / s.expected,
        )
        for s in findings.shapes
    ]
    return embedded(
        "background_shape",
        background_shapes(rows, axis_label(findings.data.mass_name)),
        "Tested background after each selection over its share of all of it. Points that scatter about 1 mean that the "
        "selection does not carve a peak into a smooth spectrum; bars show the expected statistical error. The "
        "outermost bins hold the tails and are drawn shortened.",
    )


def spectra(findings: Findings) -> tuple[Picture, ...]:
    """The mass spectrum of every selection with the fitted dijet function; of the most significant one among few."""
    everything = "all events" if findings.test is None else "all events of the tested blocks"
    tests, best = findings.spectra, combined(findings.spectra)
    if findings.config.figures == "few":
        tests = (findings.spectra[0] if best is None else best.best,)
    return tuple(_spectrum(test, findings.data.mass_name, everything) for test in tests)


def _spectrum(test: SpectrumTest, mass: str, everything: str, name: str = "") -> Picture:
    what = everything if test.background_efficiency >= 1 else f"selection {test.name}"
    signal = None
    if test.usable and test.signal is not None and test.n_signal is not None and test.n_signal > 0:
        signal = test.n_signal * test.signal
    figure = spectrum(
        from_counts(test.edges, test.counts),
        test.fitted,
        signal,
        axis_label(mass),
        fit_name=f"Dijet function, {test.n_parameters} parameters",
        signal_name=f"Signal at {test.mass:.0f} GeV" if test.mass else "Signal",
        note=test.name,
        table=None if test.table is None or test.fitted is None else test.table,
    )
    text = f"Mass spectrum, {what}: {count(float(test.counts.sum()))} events"
    if test.fitted is not None and test.table is not None:
        text += (
            f", with the function that describes them and the {count(float(test.table.sum()))} of the background table "
            f"(drawn scaled to the data) without signal: p = {probability(test.goodness_p)} for both added up, which "
            "does not see a difference between them"
        )
    elif test.fitted is not None:
        text += f", fitted without signal (p = {probability(test.goodness_p)})"
    text += "."
    if test.usable and test.mass is not None and test.p_local is not None:
        text += f" Largest excess at {test.mass:.0f} GeV: local {relation('p', probability(test.p_local))}"
        text += f" ({relation('Z', z_value(test.z_local))})."
    else:
        text += f" Not usable as a test: {test.reason}."
    return embedded(f"spectrum_{name or _file(f'{test.background_efficiency:g}')}", figure, text)


def mass_scan(findings: Findings) -> Picture | None:
    """Local p-value of a peak over the mass; None where no spectrum can be tested."""
    lines = [
        ScanLine(test.name, test.masses, norm.sf(np.sqrt(test.q0)))
        for test in findings.spectra
        if test.usable and test.masses is not None and test.q0 is not None
    ]
    if not lines:
        return None
    return embedded(
        "scan",
        scan(lines, axis_label(findings.data.mass_name)),
        "Local p-value of a Gaussian peak over the dijet function against its mass (asymptotic q_{0}), one line a "
        "selection. A resonance gives a dip at the same mass in several lines that deepens as the selection tightens.",
    )


def peaks(description: Description, stage: str) -> tuple[Picture, ...]:
    """The three mass fits of a description; `stage` is `first` or `updated`."""
    fits = {
        "resonance": (description.resonance, "m_JJ"),
        "light": (description.light, "m_J1"),
        "heavy": (description.heavy, "m_J2"),
    }
    return tuple(_peak(fit, name, column, stage) for name, (fit, column) in fits.items())


def _peak(fit: PeakFit, name: str, column: str, stage: str) -> Picture:
    bins = Bins(fit.edges, fit.data, fit.background, fit.fitted_background, fit.signal)
    if (fit.edges[-1] - fit.edges[0]) / PEAK_BINS < fit.sigma:
        bins = bins.rebinned(PEAK_BINS)
    what = {"resonance": "dijet mass (resonance)", "light": "lighter jet", "heavy": "heavier jet"}[name]
    when = {"first": "first selection", "updated": "selection that does not use this mass"}[stage]
    if stage == "updated" and name == "resonance":
        when = "refined selection"
    text = (
        f"Mass fit of the {what}, {when}: peak at {measured(fit.mass, fit.error, 'GeV')}, of which "
        f"{rounded(fit.error_statistical, 0 if fit.error_statistical >= 10 else 1)} GeV statistical."
    )
    if not fit.valid:
        text += " The fit did not converge."
    if fit.at_bounds:
        text += f" At an end of its range (form of the peak): {', '.join(f'`{p}`' for p in fit.at_bounds)}."
    figure = mass_peak(bins, axis_label(column), measured(fit.mass, fit.error, "GeV"))
    return embedded(f"mass_{name}_{stage}", figure, text)


def yield_bins(fit: YieldFit, name: str, what: str) -> Picture:
    """Score bins of the template fit."""
    signal = fit.n_signal * fit.share
    total, table = float(fit.data.sum()), float(fit.background.sum())
    scaled = fit.background * (total - signal) / table
    bins = Bins(fit.edges, fit.data, scaled, scaled, signal * fit.signal)
    place, here = "", significant(signal, 3)
    if fit.share < 1:
        place, here = (
            " around the candidate's mass",
            f"{here} of them, {significant(fit.n_signal, 3)} in the whole table",
        )
    both = int(np.isinf(fit.edges).sum()) > 2
    groups = ("like two prongs", "like three prongs") if both else ()
    apart = "events more like two prongs and more like three stand apart; " if both else ""
    text = (
        f"Template fit of {what}: all {count(total)} events{place}, without selection, in bins of the score of "
        f"signal-like against background events ({apart}below the axis: ln of the density ratio at the bin edges). "
        f"Fitted signal: {here}; distance to the data (deviance) {fit.deviance:.1f} in {fit.bins} bins."
    )
    label = "ln (signal-like / background density), bin edges"
    return embedded(name, score_bins(bins, label, "Fitted signal", groups), text)


def template_distribution(final: Description) -> Picture:
    """The score of the supervised classifier: data, background and the fitted signal; the templates must be there."""
    scores, fit, span = final.template_scores, final.yield_fit, final.span
    assert scores is not None and fit is not None and span is not None
    kind = fit.prongs
    edges = _range(scores.data, scores.background)
    signal = fit.n_signal * fit.share
    of_signal = fill(scores.signal, edges, signal_of(final).inside(*span).weights).counts * signal
    figure = data_and_background(
        fill(scores.data, edges),
        fill(scores.background, edges),
        (len(scores.data) - signal) / len(scores.background),
        "ln (signal-like / background density)",
        signal=of_signal,
        signal_name=f"Signal-like, {significant(signal, 3)} events",
        logarithmic=True,
    )
    return embedded(
        "templates",
        figure,
        f"Score of signal-like{'' if kind is None else f' {NUMBERS[kind]}-prong'} against background events, of "
        "classifiers that never saw the data. The excess of the data at the right end has the shape of the signal-like "
        "events if the candidate is what it is taken for.",
    )


def _range(data: Array, background: Array | None) -> Array:
    """Edges that hold all but the outermost events."""
    pooled = data if background is None else np.concatenate([data, background])
    low, high = (float(q) for q in np.quantile(pooled, [TAIL, 1 - TAIL]))
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1)


def _file(name: str) -> str:
    """A name that is safe for files."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name.replace(".", "p"))
