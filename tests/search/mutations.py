"""Changes of the search that fast tests must notice; how they are made: `tests/mutation.py`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from mutation import Mutation, main

STEPS, CHECKS, DESCRIBE = "search/test_steps.py", "search/test_checks.py", "search/test_describe.py"
CHAIN, SPECTRA, JOINT = "search/test_chain.py", "search/test_selected_spectra.py", "search/test_joint_law.py"
ANSWERS, WHOLE = "pages/test_answers.py", "search/test_whole_yield.py"
PEAKS_EVERYWHERE = "search/test_sidebands.py::test_a_classifier_that_makes_peaks_everywhere_is_seen"
FURTHER = "search/test_sidebands.py::test_a_further_resonance_is_found_where_one_is"

# fmt: off
MUTATIONS = tuple(Mutation(*change) for change in (
    # errors
    ("limit from the events seen", "search/whole_yield.py", "value + ONE_SIDED * error",
     "value + 0.6 * ONE_SIDED * error", WHOLE),
    ("excess error without the table", "search/whole_yield.py",
     "float(np.hypot(np.sqrt(best.n_data), best.background_error))",
     "float(np.sqrt(best.n_data))", WHOLE),
    ("interval of a profile", "search/whole_yield.py", "line <= 1.0", "line <= 0.36", WHOLE),
    ("fewer than are seen", "search/whole_yield.py", "max(whole.low, seen.low, 0.0)", "max(whole.low, 0.0)", WHOLE),
    ("yield error low", "search/steps.py", "fitted.n_signal - fitted.low,",
     "0.6 * (fitted.n_signal - fitted.low),", STEPS),
    ("yield error high", "search/steps.py", "fitted.high - fitted.n_signal,",
     "0.6 * (fitted.high - fitted.n_signal),", STEPS),
    ("mass error of a step", "search/steps.py", "Value(p.mass, p.error)", "Value(p.mass, 0.6 * p.error)", STEPS),
    ("pull error", "search/checks.py", "np.hypot(a.error, b.error)", "(0.6 * np.hypot(a.error, b.error))", CHECKS),
    ("check error", "search/checks.py", "error = float(np.hypot(", "error = 0.6 * float(np.hypot(", CHECKS),
    ("limit of the share", "search/describe.py", "upper_95=fitted.upper_95 / near.share",
     "upper_95=fitted.upper_95", DESCRIBE),
    ("error of the share", "search/describe.py", "high=fitted.high / near.share", "high=fitted.high", DESCRIBE),
    ("peak error alone", "search/without_table.py", "0.5 * (spectrum.peak_high", "0.1 * (spectrum.peak_high", CHAIN),
    ("yield error alone", "search/without_table.py", 'high - n, "spectrum")', '0.6 * (high - n), "spectrum")', CHAIN),
    ("Fisher error", "search/spectrum.py", "hermitian=True)[0, 0]) / scale[0])",
     "hermitian=True)[0, 0]) / scale[0] * 0.6)", SPECTRA),
    ("scan error", "search/spectrum.py", "result[k] = _first_error(design, expected)",
     "result[k] = 0.6 * _first_error(design, expected)", SPECTRA),
    ("scan error high", "search/spectrum.py", "n_signal_high=number + error",
     "n_signal_high=number + 0.6 * error", SPECTRA),
    ("scan error low", "search/spectrum.py", "number * (1 - 1 / z_global)", "number * (1 - 0.6 / z_global)", SPECTRA),
    ("limit level", "search/spectrum.py", "LEVEL = 0.05", "LEVEL = 0.1", SPECTRA),
    ("background error of a selection", "search/two_sample.py", "background_error=expected / np.sqrt(m)",
     "background_error=0.6 * expected / np.sqrt(m)", JOINT),
    ("mass error told", "pages/answers.py", "Value(mass.value, mass.error)",
     "Value(mass.value, 0.6 * mass.error)", ANSWERS),
    ("daughter error told", "pages/answers.py", "Value(m.value, m.error, name)",
     "Value(m.value, 0.6 * m.error, name)", ANSWERS),
    # trials
    ("trials of the windows", "search/permutations.py",
     "np.min([point.log_p(t[:, s]) for s, point in enumerate(points)], axis=0) <=",
     "points[smallest].log_p(t[:, smallest]) <=", JOINT),
    ("trials: only the best window", "search/permutations.py", "p = math.exp(log_p)\n",
     "p = math.exp(float(local[smallest]))\n", JOINT),
    ("trials of the masses", "search/spectrum.py", "log_local + float(np.log(len(masses)))", "log_local", SPECTRA),
    ("trials of spectra and masses", "search/spectra.py",
     "one + float(np.log(len(usable) * (1 if best.masses is None else len(best.masses))))",
     "one", SPECTRA),
    ("trials of spectra", "search/spectra.py", "len(usable) * (1 if", "(1 if", SPECTRA),
    ("trials of a spectrum's masses", "search/spectra.py", "(1 if best.masses is None else len(best.masses))",
     "1", SPECTRA),
    ("trials of the shape check", "search/checks.py", "worst.p * len(shapes) > LEAST", "worst.p > LEAST", CHECKS),
    ("trials told", "search/two_sample.py", "or len(self.tested)", "or 1", ANSWERS),
    ("trials told of a spectrum", "pages/answers.py", "trials = len(spectrum.masses)", "trials = 1", ANSWERS),
    ("global p told as local", "pages/answers.py", "            found.p,\n", "            found.p_local,\n", ANSWERS),
    ("global p of spectra told as local", "pages/answers.py", '"p_global": found.p_global',
     '"p_global": best.p_global', ANSWERS),
    ("claim by the local significance", "search/without_table.py", "decide(spectrum.z_global,",
     "decide(spectrum.z_local,", CHAIN),
    ("further resonances beside a classifier that makes peaks", "search/sideband_test.py",
     "if last is not None and last > SCULPTED", "if last is not None", PEAKS_EVERYWHERE),
    ("further resonances with no quiet region", "search/sideband_test.py", "quiet = away if asked is None else _quiet",
     "quiet = away if True else _quiet", FURTHER),
    # starts
    ("start of unbiased masses", "search/describe.py", "                start=before[k].mass,\n", "", DESCRIBE),
    ("start of peaks", "search/peaks.py", "[start] if start is not None else []", "[]", DESCRIBE),
    ("start: the wide kernel", "search/peaks.py", "for relative in (0.03, 0.07)]",
     "for relative in (0.03,)]", DESCRIBE),
    ("start: window of the best selection", "search/steps.py", "start = test.windows[test.best]",
     "start = test.windows[0]", STEPS),
    ("start: no move to the nearest window", "search/describe.py", "if nearest == window:", "if True:", DESCRIBE),
    ("start: old masses are not restored", "search/steps.py",
     "peaks = updated.peaks",
     "pass", STEPS),
    # comparisons
    ("reversed: shape", "search/checks.py", "worst.p * len(shapes) > LEAST", "worst.p * len(shapes) < LEAST", CHECKS),
    ("reversed: largest shape p", "search/checks.py", "worst = min(shapes", "worst = max(shapes", CHECKS),
    ("reversed: sidebands", "search/checks.py", "True if usable else", "True if not usable else", CHECKS),
    ("reversed: range", "search/checks.py", "found.smooth,", "not found.smooth,", CHECKS),
    ("reversed: templates", "search/checks.py", "p > DECISIVE, numbers", "p < DECISIVE, numbers", CHECKS),
    ("reversed: yield and excess", "search/checks.py", "<= fitted.high * tested", ">= fitted.high * tested", CHECKS),
    ("untested part", "search/checks.py", "fitted.high * tested", "fitted.high", CHECKS),
    ("reversed: mass fits", "search/checks.py", "not bad,", "bool(bad),", CHECKS),
    ("reversed: masses agree", "search/checks.py", "for v in pulls.values()) < FAR",
     "for v in pulls.values()) > FAR", CHECKS),
    ("masses agree one-sided", "search/checks.py", "max(abs(v) for v", "max(v for v", CHECKS),
    ("reversed: library", "search/checks.py", "not near.surrogate.extrapolated", "near.surrogate.extrapolated", CHECKS),
    ("reversed: claim", "search/chain.py", "significant = test.overall.z >=", "significant = test.overall.z <", CHAIN),
    ("reversed: claim found", "search/verdict.py", "if z_global >= claim_z", "if z_global < claim_z", CHAIN),
    ("claim in spite of a check", "search/verdict.py", "c.passed is False", "c.passed is None", CHAIN),
    ("reversed: few events", "search/chain.py", "len(table) < needed", "len(table) <= needed", CHAIN),
    ("reversed: beyond the collision energy", "search/chain.py", "max() >= SQRT_S", "max() < SQRT_S", CHAIN),
    ("reversed: worse masses", "search/steps.py", "fitted.z < updated", "fitted.z > updated", STEPS),
    ("reversed: best window", "search/permutations.py", "int(np.argmin(local))", "int(np.argmax(local))", JOINT),
    ("reversed: extreme draws", "search/permutations.py", "<= local[smallest] + 1e-9",
     ">= local[smallest] - 1e-9", JOINT),
    ("reversed: best spectrum", "search/spectra.py", "best = max(usable", "best = min(usable", SPECTRA),
    ("reversed: selection", "search/spectra.py", "survival <= efficiency", "survival >= efficiency", SPECTRA),
    ("reversed: sidebands of a spectrum", "search/spectrum.py", "inflation < settings.sidebands",
     "inflation > settings.sidebands", SPECTRA),
    ("reversed: few events of a spectrum", "search/spectrum.py", "counts.sum() < settings",
     "counts.sum() > settings", SPECTRA),
    ("reversed: ranks", "search/two_sample.py", "kept = u < rank.reach", "kept = u > rank.reach", JOINT),
    ("weights of the blocks", "search/two_sample.py", "math.sqrt(learned) * np.log", "np.log", JOINT),
    ("tested events lay out the windows", "search/score_events.py", "background.mass[first], share",
     "background.mass, share", CHAIN),
    ("free fraction without a claim", "search/template.py", "surrogate, settings, three_prong_fraction=0.5)",
     "surrogate, settings)", "search/test_generic_yield.py"),
    ("only the kind that is seen", "search/template.py", "high=max(quantile(1 - tail, high), mixed.n_signal)",
     "high=mixed.high", "search/test_generic_yield.py"),
    ("mass is a feature of its own selection", "search/describe.py", '{"m_J1": heavy, "m_J2": light}',
     '{"m_J1": light, "m_J2": heavy}', DESCRIBE),
    ("share of all that is produced", "search/describe.py", "fraction_inside(low, high) / inside",
     "fraction_inside(low, high)", DESCRIBE),
    ("daughters unsorted", "search/findings.py", "key=lambda peak: peak.mass)", "key=lambda peak: 0)",
     "search/test_special_masses.py"),
))
# fmt: on

if __name__ == "__main__":
    main(MUTATIONS, sys.argv[1:])
