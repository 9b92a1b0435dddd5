"""What checks, steps, methods and decays of a search are called, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bumpfit.report.rounding import measured, z_value
from bumpfit.results import plain
from bumpfit.search.describe import peak_masses
from bumpfit.search.findings import Check, Description, Findings, SignalEvents, Step
from bumpfit.search.spectra import SpectraTest
from bumpfit.search.surrogate import Masses, decided

ORIGINS = {
    "all events": (
        "yield of a peak in the m_JJ spectrum of all events over that of the background table, bin by bin, at the mass "
        "that the best selection shows, and no fewer events than are seen in that selection, whose efficiency is not "
        "known"
    ),
    "templates": (
        "fit of signal-like (simulated decays at the fitted masses) and background templates to the score of all events"
    ),
    "generic templates": (
        "template fit of a generic signal (all masses of the library alike), chosen before the data were seen; "
        "interval and limit hold on average over the decays of the library"
    ),
    "spectrum": (
        "yield of the peak in the m_JJ spectrum, largest excess of the mass scan; its lower error takes that choice "
        "into account (it reaches zero where the global significance is below one); upper limit by CLs at this mass"
    ),
    "selection": (
        "fit of simulated decays at the masses found (scored by the classifiers of the signal region, which were not "
        "trained on them) to the spectra of its selections; two or three prongs, whichever fits, in the interval"
    ),
    "generic selection": (
        "fit of simulated decays of all kinds of the library at the mass of the largest excess (scored by the "
        "classifiers of the signal region) to the spectra of its selections; interval and limit hold on average over "
        "the decays of the library"
    ),
    "regions": (
        "yield of a peak in the m_JJ spectrum of all events at the mass that the best selection shows, and no fewer "
        "events than are seen in that selection, whose efficiency is not known; upper limit by CLs at this mass"
    ),
}
"""How a number of signal events was had."""

STEPS = {
    "templates": (
        "refined classifier with signal-like templates at the candidate masses",
        "how many signal events a learned cut keeps is not known, and the m_JJ spectrum of all events says little; "
        "signal-like events at the masses found give the whole score spectrum of a signal",
    ),
    "masses": (
        "masses from selections that do not use them",
        "the first selection had learned the masses, so the background below the peaks is shaped like them; "
        "each mass is fitted again after a selection on the other features, and the templates are made again there",
    ),
    "cross-check": (
        "another approach ({approach}) as a cross-check of the primary test",
        "an excess that only one kind of classifier sees would be suspicious; the quoted p-value stays the planned one",
    ),
    "closer look": (
        "a closer look at the most signal-like masses",
        "the best selection is not significant; templates at its masses say how many signal events there could "
        "be (these masses were chosen after looking, so a small positive number is expected without a signal)",
    ),
}
"""What a step does, and why."""


def method(findings: Findings) -> str:
    """How the p-value was had."""
    if findings.sidebands is not None:
        number = len(findings.sidebands.regions)
        beyond = ", its tail extrapolated beyond them" if findings.sidebands.extrapolated else ""
        return (
            f"profile likelihood of a peak over a dijet function in the spectra of all events and of selections in "
            f"{number} signal region{'' if number == 1 else 's'} told from {'its' if number == 1 else 'their'} "
            f"sidebands; joint law by {findings.sidebands.toys} toys{beyond}"
        )
    if findings.test is None:
        return "profile likelihood of a peak over a dijet function, asymptotic; global by union bound over the masses"
    windows = len(findings.test.overall.tested)
    where = "the table as one mass window" if windows == 1 else f"{windows} mass windows"
    sources = " and decays of the library" if "library" in findings.test.overall.z_sources else ""
    return (
        f"ranks of all forward-scored events{sources} in {where}, data against background; "
        "joint law by tilted permutations of the labels"
    )


def spectrum_method(found: SpectraTest) -> str:
    """How the p-value of the mass spectra was had."""
    if not found.permutations:
        return f"asymptotic q0, union bound over {found.usable} spectra and their masses"
    bound = ", an upper bound as none of them reached the data" if found.bound else ""
    return (
        f"data and background table fitted together, {found.usable} spectra and all masses: "
        f"{found.permutations} permutations of the labels{bound}"
    )


def decay(found: Description) -> str:
    """The decay of a candidate, and what is known of the decays of its daughters."""
    preference = None if found.yield_fit is None else found.yield_fit.two_prong_preference
    return decay_of(peak_masses(found.peaks), preference)


def decay_of(masses: Masses, preference: float | None) -> str:
    """The decay at these masses; `preference`: 2 ln L for two prongs over three, None where that is not known."""
    text = (
        f"A ({masses.resonance:.0f} GeV) -> B ({masses.heavy:.0f} GeV) + C ({masses.light:.0f} GeV), both hadronic, "
        "each seen as one large jet"
    )
    kind = decided(preference)
    if preference is None or kind is None:
        return f"{text}; whether B and C decay to two or three prongs is not determined"
    prongs, quarks = {2: ("two", "q q"), 3: ("three", "q q q")}[kind]
    return (
        f"{text}; {prongs}-prong decays B, C -> {quarks} are preferred (2 Delta ln L = {abs(preference):.1f}, with "
        "the modelling error of N-subjettiness)"
    )


def step(taken: Step, approach: str) -> tuple[str, str]:
    """What a step did, and why; `approach` is that of the cross-check."""
    task, reason = STEPS[taken.kind]
    task = task.format(approach=approach)
    if not taken.taken:  # the new masses describe the data less well: they are shown, not taken over
        task += " (not taken over: templates at these masses describe the data less well)"
    return task, reason


def numbers(of_step: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers before or after a step in the form of result.json."""
    return {name: events(v) if isinstance(v, SignalEvents) else plain(v) for name, v in of_step.items()}


def events(found: SignalEvents) -> dict[str, Any]:
    """A number of signal events in the form of result.json."""
    return {
        "value": found.value,
        "error_low": found.error_low,
        "error_high": found.error_high,
        "method": ORIGINS[found.origin],
    }


def check(found: Check) -> tuple[str, str]:
    """What a check looked at, and its numbers."""
    n = found.numbers
    match found.kind:
        case "background shape":
            detail = (
                f"smallest p = {n['p']:.2g} of {n['selections']} selections (at {n['background_efficiency']:.2%}, "
                f"χ² {n['chi2']:.1f} in {n['bins']} bins)"
            )
            return "selected background keeps its m_JJ shape", detail
        case "sidebands":
            return "the m_JJ spectrum can be tested", _sidebands(found)
        case "mass range":
            return "the dijet function describes the range that is searched", _range(n)
        case "features":
            return "features among events of like mass say nothing of the mass", _features(n)
        case "elsewhere":
            largest = "largest excess" if n["candidates"] == 1 else "claimed excesses"
            return f"signal regions away from the {largest} show none", _elsewhere(found)
        case "templates":
            detail = f"p = {n['p']:.2g} (deviance {n['deviance']:.1f} in {n['bins']} bins)"
            return "signal-like and background templates describe the score spectrum", detail
        case "yield and excess":
            detail = (
                f"{measured(n['seen'], n['error'])} in the best selection of the tested {n['tested']:.0%} of the "
                f"data; fitted before any selection: {n['n_signal']:.0f} (local Z of that fit {n['z']:.1f})"
            )
            return "the fitted yield is seen and not below the excess", detail
        case "repeated":
            return "no event is there twice", f"{n['repeated']} of {n['events']} events are repeated"
        case "equality":
            return "the tables are equal where no signal can be", _equality(found)
        case "localisation":
            return "the excess is at one dijet mass, not spread like the background", _localisation(found)
        case "shifts":
            return "no shift of a feature that the other events allow makes the excess", _shifts(found)
        case "further excess":
            return "nothing is left when the particles are removed", _further(n)
        case "mass fits":
            bad = (f"{p['name']} (valid: {p['valid']}, at bounds: {p['at_bounds']})" for p in n["bad"])
            ends = f"; other parameters at an end of their range: {', '.join(n['ends'])}" if n.get("ends") else ""
            return "the mass fits converged, with positions inside their ranges", (", ".join(bad) or "all three") + ends
        case "masses agree":
            moved = (f"{name} moved by {pull:+.1f} σ".replace("-", "−") for name, pull in n["pulls"].items())
            detail = "the steps did not fit the masses again" if found.passed is None else ", ".join(moved)
            return "masses before and after the iterations agree", detail
        case _:
            detail = "mass ratios interpolated" if found.passed else "nearest simulated mass ratio taken"
            return "the candidate lies inside the library of signal-like events", detail


NAMES = {
    "m_JJ": "dijet mass",
    "m_J1": "mass of the lighter jet",
    "m_J2": "mass of the heavier jet",
    "delta_m_J": "mass difference of the jets",
    "tau_2_over_tau_1_J1": "τ21 of the lighter jet",
    "tau_2_over_tau_1_J2": "τ21 of the heavier jet",
}
"""How variables are called in a sentence; others go by their column."""


def variable(name: str) -> str:
    """A column in a sentence."""
    return NAMES.get(name, name)


def differs(worst: Mapping[str, Any]) -> str:
    """What differs between the tables, where, and by how much (the content of a `Deviation`)."""
    return (
        f"{variable(worst['variable'])}: median shifted by "
        f"{measured(100 * worst['shift'], 100 * worst['shift_error'], '%')}; "
        f"from {worst['low']:.4g} to {worst['high']:.4g} the data are "
        f"{measured(worst['ratio'], worst['ratio_error'])} of the table"
    )


def _equality(found: Check) -> str:
    n = found.numbers
    if found.passed is None:
        return f"fewer than {n['fewest']} events are left to compare"
    text = f"p = {n['p']:.2g} ({n['data']} data, {n['background']} table events, {len(n['deviations'])} variables)"
    return f"{text}; {'largest difference: ' if found.passed else ''}{differs(n['deviations'][0])}"


def _localisation(found: Check) -> str:
    if found.passed is None:
        return "too few selected events"
    n = found.numbers
    kind = "peak" if n["preference"] > 0 else "shape of the background"
    return f"a {kind} fits the excess better by 2 Δln L = {abs(n['preference']):.1f} (peak at {n['mass']:.0f} GeV)"


def _shifts(found: Check) -> str:
    if found.passed is None:
        if found.numbers["compared"]:
            return "no excess in a selection of the classifiers alone"
        return "not judged without the comparison of the other events"
    return "; ".join(
        f"{variable(s['feature'])}: {needed(s)} needed, up to {100 * s['allowed']:.1f}% allowed"
        for s in found.numbers["shifts"]
    )


def needed(shift: Mapping[str, Any]) -> str:
    """The shift of a feature that makes the excess (the content of a `Shift`)."""
    if shift["needed"] is None:
        return f"more than ±{100 * shift['largest']:.0f}%"
    return f"{100 * shift['needed']:+.2g}%"


def _further(n: Mapping[str, Any]) -> str:
    text = f"global Z = {z_value(n['z_global'])} in the other events"
    if not n["masses"]:
        return text
    places = ", ".join(f"{mass:.0f}" for mass in n["masses"])
    return f"{text}, masses {places} GeV; no particle: {n['reason']}"


def _range(n: Mapping[str, Any]) -> str:
    """What the range is, what lies outside of it, and how it was judged."""
    text = f"{n['low']:.0f} to {n['high']:.0f} GeV"
    text += " as given" if n["given"] else ""
    text += f"; {n['below']} of {n['events']} events below and {n['above']} above are not searched"
    if not n["smooth"]:
        return text + "; from no low edge on does the function describe the spectrum"
    if n["peaks"]:
        places = " and ".join(f"{mass:.0f}" for mass in sorted(n["peaks"]))
        text += f"; the function describes it without the region{'s' * (len(n['peaks']) > 1)} around {places} GeV"
    return text


def _features(n: Mapping[str, Any]) -> str:
    """The largest rank correlations with the mass."""
    given, ranked = (max(n[key].items(), key=lambda item: abs(item[1])) for key in ("given", "ranked"))
    return (
        f"largest rank correlation with the mass {ranked[1]:+.3f} ({variable(ranked[0])}); of the features as given "
        f"{given[1]:+.3f} ({variable(given[0])}); mean ranks in mass bins away from the excess: p = {n['p']:.2g} "
        f"({variable(n['least'])}); near it they are shifted by {n['beyond']:.2f} of what a signal can do "
        f"({variable(n['furthest'])})"
    ).replace("-", "−")


def _elsewhere(found: Check) -> str:
    n = found.numbers
    if found.passed is None:
        return "every signal region touches the largest excess"
    number = f"{n['regions']} region{'' if n['regions'] == 1 else 's'}"
    return f"p = {n['p']:.2g} of {number}; there the scores tell region from sidebands with AUC ≤ {n['auc']:.3f}"


def _sidebands(found: Check) -> str:
    n = found.numbers
    if "inflation" in n:
        return f"error inflation {n['inflation']:.1f}"
    if not found.passed:
        return str(n["reason"])
    how = "together with the background table, as there are no sidebands" if n["with_table"] else "by their sidebands"
    return f"{n['usable']} of {n['spectra']} spectra, {how}"
