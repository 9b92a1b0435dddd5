"""Breaks the search on purpose: every named change of one line of its sources must fail a fast test.

    python tests/search/mutations.py                 all of them, some minutes
    python tests/search/mutations.py trials error    those with one of these words in their names

The sources are copied to a temporary folder, one change is made at a time, and the fast tests of that file are run on
the copy, in a process that has the libraries loaded. Prints what survives; the exit code is the number of survivors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import multiprocessing
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
SOURCES = HERE.parent / "src"
LONGEST = 120.0
"""Seconds that tests may take."""
PASSED = 40
"""Exit code of a process whose tests pass; one more: they fail. An accident has another one."""
QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
LIBRARIES = (
    "numpy",
    "pandas",
    "scipy.stats",
    "scipy.optimize",
    "sklearn.ensemble",
    "iminuit",
    "boost_histogram",
    "hist",
    "pyarrow.parquet",
    "matplotlib.pyplot",
    "numba",
)


@dataclasses.dataclass(frozen=True)
class Mutation:
    """`old`, which stands once in `file` (below `bumpfit/`), becomes `new`; one of `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


STEPS, CHECKS, DESCRIBE = "search/test_steps.py", "search/test_checks.py", "search/test_describe.py"
CHAIN, SPECTRA, JOINT = "search/test_chain.py", "search/test_selected_spectra.py", "search/test_joint_law.py"
ANSWERS = "pages/test_answers.py"

MUTATIONS = (
    # errors
    Mutation(
        "excess error",
        "search/steps.py",
        "min(seen, error), error, origin), seen + 2 * error",
        "min(seen, 0.6 * error), 0.6 * error, origin), seen + 2 * 0.6 * error",
        STEPS,
    ),
    Mutation(
        "excess error without the table",
        "search/steps.py",
        "float(np.hypot(np.sqrt(best.n_data), best.background_error))",
        "float(np.sqrt(best.n_data))",
        STEPS,
    ),
    Mutation(
        "yield error low",
        "search/steps.py",
        "fitted.n_signal - fitted.low,",
        "0.6 * (fitted.n_signal - fitted.low),",
        STEPS,
    ),
    Mutation(
        "yield error high",
        "search/steps.py",
        "fitted.high - fitted.n_signal,",
        "0.6 * (fitted.high - fitted.n_signal),",
        STEPS,
    ),
    Mutation(
        "mass error of a step", "search/steps.py", "Value(p.mass, p.error)", "Value(p.mass, 0.6 * p.error)", STEPS
    ),
    Mutation(
        "pull error", "search/checks.py", "np.hypot(a.error, b.error)", "(0.6 * np.hypot(a.error, b.error))", CHECKS
    ),
    Mutation("check error", "search/checks.py", "error = float(np.hypot(", "error = 0.6 * float(np.hypot(", CHECKS),
    Mutation(
        "limit of the share",
        "search/describe.py",
        "upper_95=fitted.upper_95 / near.share",
        "upper_95=fitted.upper_95",
        DESCRIBE,
    ),
    Mutation("error of the share", "search/describe.py", "high=fitted.high / near.share", "high=fitted.high", DESCRIBE),
    Mutation("peak error alone", "search/chain.py", "0.5 * (spectrum.peak_high", "0.3 * (spectrum.peak_high", CHAIN),
    Mutation(
        "yield error alone",
        "search/chain.py",
        "spectrum.n_signal_high - spectrum.n_signal,",
        "0.6 * (spectrum.n_signal_high - spectrum.n_signal),",
        CHAIN,
    ),
    Mutation(
        "Fisher error",
        "search/spectrum.py",
        "hermitian=True)[0, 0]) / scale[0])",
        "hermitian=True)[0, 0]) / scale[0] * 0.6)",
        SPECTRA,
    ),
    Mutation(
        "scan error",
        "search/spectrum.py",
        "result[k] = _first_error(design, expected)",
        "result[k] = 0.6 * _first_error(design, expected)",
        SPECTRA,
    ),
    Mutation(
        "scan error high",
        "search/spectrum.py",
        "n_signal_high=number + error",
        "n_signal_high=number + 0.6 * error",
        SPECTRA,
    ),
    Mutation(
        "scan error low", "search/spectrum.py", "number * (1 - 1 / z_global)", "number * (1 - 0.6 / z_global)", SPECTRA
    ),
    Mutation("limit level", "search/spectrum.py", "LEVEL = 0.05", "LEVEL = 0.1", SPECTRA),
    Mutation(
        "background error of a selection",
        "search/two_sample.py",
        "background_error=expected / np.sqrt(m)",
        "background_error=0.6 * expected / np.sqrt(m)",
        JOINT,
    ),
    Mutation(
        "mass error told",
        "pages/answers.py",
        "Value(mass.value, mass.error)",
        "Value(mass.value, 0.6 * mass.error)",
        ANSWERS,
    ),
    Mutation(
        "daughter error told",
        "pages/answers.py",
        "Value(m.value, m.error, name)",
        "Value(m.value, 0.6 * m.error, name)",
        ANSWERS,
    ),
    # trials
    Mutation(
        "trials of the windows",
        "search/permutations.py",
        "np.min([point.log_p(t[:, s]) for s, point in enumerate(points)], axis=0) <=",
        "points[smallest].log_p(t[:, smallest]) <=",
        JOINT,
    ),
    Mutation(
        "trials: only the best window",
        "search/permutations.py",
        "p = math.exp(log_p)\n",
        "p = math.exp(float(local[smallest]))\n",
        JOINT,
    ),
    Mutation(
        "trials of the masses", "search/spectrum.py", "log_local + float(np.log(len(masses)))", "log_local", SPECTRA
    ),
    Mutation(
        "trials of spectra and masses",
        "search/spectra.py",
        "one + float(np.log(len(usable) * (1 if best.masses is None else len(best.masses))))",
        "one",
        SPECTRA,
    ),
    Mutation("trials of spectra", "search/spectra.py", "len(usable) * (1 if", "(1 if", SPECTRA),
    Mutation(
        "trials of a spectrum's masses",
        "search/spectra.py",
        "(1 if best.masses is None else len(best.masses))",
        "1",
        SPECTRA,
    ),
    Mutation(
        "trials of the shape check", "search/checks.py", "worst.p * len(shapes) > LEAST", "worst.p > LEAST", CHECKS
    ),
    Mutation("trials told", "pages/answers.py", "len(found.tested)", "1", ANSWERS),
    Mutation("trials told of a spectrum", "pages/answers.py", "trials = len(spectrum.masses)", "trials = 1", ANSWERS),
    Mutation(
        "global p told as local", "pages/answers.py", "            found.p,\n", "            found.p_local,\n", ANSWERS
    ),
    Mutation(
        "global p of spectra told as local",
        "pages/answers.py",
        '"p_global": found.p_global',
        '"p_global": best.p_global',
        ANSWERS,
    ),
    Mutation(
        "claim by the local significance",
        "search/chain.py",
        "decide(spectrum.z_global,",
        "decide(spectrum.z_local,",
        CHAIN,
    ),
    # starts
    Mutation("start of unbiased masses", "search/describe.py", "                start=before[k].mass,\n", "", DESCRIBE),
    Mutation("start of peaks", "search/peaks.py", "[start] if start is not None else []", "[]", DESCRIBE),
    Mutation(
        "start: the wide kernel",
        "search/peaks.py",
        "for relative in (0.03, 0.07)]",
        "for relative in (0.03,)]",
        DESCRIBE,
    ),
    Mutation(
        "start: window of the best selection",
        "search/steps.py",
        "start = test.windows[test.best]",
        "start = test.windows[0]",
        STEPS,
    ),
    Mutation(
        "start: no move to the nearest window", "search/describe.py", "if nearest == window:", "if True:", DESCRIBE
    ),
    Mutation(
        "start: old masses are not restored",
        "search/steps.py",
        "peaks = (updated.resonance, updated.light, updated.heavy)",
        "pass",
        STEPS,
    ),
    # comparisons
    Mutation(
        "reversed: shape", "search/checks.py", "worst.p * len(shapes) > LEAST", "worst.p * len(shapes) < LEAST", CHECKS
    ),
    Mutation("reversed: largest shape p", "search/checks.py", "worst = min(shapes", "worst = max(shapes", CHECKS),
    Mutation("reversed: sidebands", "search/checks.py", "True if usable else", "True if not usable else", CHECKS),
    Mutation("reversed: range", "search/checks.py", "found.smooth,", "not found.smooth,", CHECKS),
    Mutation("reversed: templates", "search/checks.py", "p > LEAST, numbers", "p < LEAST, numbers", CHECKS),
    Mutation(
        "reversed: yield and excess", "search/checks.py", "<= fitted.high * tested", ">= fitted.high * tested", CHECKS
    ),
    Mutation("untested part", "search/checks.py", "fitted.high * tested", "fitted.high", CHECKS),
    Mutation("reversed: mass fits", "search/checks.py", "not bad,", "bool(bad),", CHECKS),
    Mutation(
        "reversed: masses agree",
        "search/checks.py",
        "for v in pulls.values()) < FAR",
        "for v in pulls.values()) > FAR",
        CHECKS,
    ),
    Mutation("masses agree one-sided", "search/checks.py", "max(abs(v) for v", "max(v for v", CHECKS),
    Mutation(
        "reversed: library",
        "search/checks.py",
        "not near.surrogate.extrapolated",
        "near.surrogate.extrapolated",
        CHECKS,
    ),
    Mutation(
        "reversed: claim", "search/chain.py", "significant = test.overall.z >=", "significant = test.overall.z <", CHAIN
    ),
    Mutation("reversed: claim found", "search/verdict.py", "not z_global >= claim_z", "z_global >= claim_z", CHAIN),
    Mutation("claim in spite of a check", "search/verdict.py", "c.passed is False", "c.passed is None", CHAIN),
    Mutation("reversed: few events", "search/chain.py", "len(table) < needed", "len(table) <= needed", CHAIN),
    Mutation("reversed: beyond the collision energy", "search/chain.py", "max() >= SQRT_S", "max() < SQRT_S", CHAIN),
    Mutation("reversed: worse masses", "search/steps.py", "fitted.z < updated", "fitted.z > updated", STEPS),
    Mutation(
        "reversed: best window", "search/permutations.py", "int(np.argmin(local))", "int(np.argmax(local))", JOINT
    ),
    Mutation(
        "reversed: extreme draws",
        "search/permutations.py",
        "<= local[smallest] + 1e-9",
        ">= local[smallest] - 1e-9",
        JOINT,
    ),
    Mutation("reversed: best spectrum", "search/spectra.py", "best = max(usable", "best = min(usable", SPECTRA),
    Mutation("reversed: selection", "search/spectra.py", "survival <= efficiency", "survival >= efficiency", SPECTRA),
    Mutation(
        "reversed: sidebands of a spectrum",
        "search/spectrum.py",
        "inflation < settings.sidebands",
        "inflation > settings.sidebands",
        SPECTRA,
    ),
    Mutation(
        "reversed: few events of a spectrum",
        "search/spectrum.py",
        "counts.sum() < settings",
        "counts.sum() > settings",
        SPECTRA,
    ),
    Mutation("reversed: ranks", "search/two_sample.py", "kept = u < rank.reach", "kept = u > rank.reach", JOINT),
    Mutation("weights of the blocks", "search/two_sample.py", "math.sqrt(k / len(blocks)) * np.log", "np.log", JOINT),
    Mutation(
        "tested events lay out the windows",
        "search/score_events.py",
        "background.mass[first], share",
        "background.mass, share",
        CHAIN,
    ),
    Mutation(
        "free fraction without a claim",
        "search/steps.py",
        "three_prong_fraction=0.5",
        "three_prong_fraction=None",
        STEPS,
    ),
    Mutation(
        "mass is a feature of its own selection",
        "search/describe.py",
        '{"m_J1": heavy, "m_J2": light}',
        '{"m_J1": light, "m_J2": heavy}',
        DESCRIBE,
    ),
    Mutation(
        "share of all that is produced",
        "search/describe.py",
        "fraction_inside(low, high) / inside",
        "fraction_inside(low, high)",
        DESCRIBE,
    ),
    Mutation("daughters unsorted", "search/verdict.py", "key=lambda peak: peak.mass)", "key=lambda peak: 0)", ANSWERS),
)


def survivors(chosen: tuple[Mutation, ...]) -> list[str]:
    """Names of the changes that no test notices. Raises RuntimeError where tests fail without a change."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src"
        shutil.copytree(SOURCES, copy)
        for tests in sorted({m.tests for m in chosen}):
            if not passes(copy, tests):
                raise RuntimeError(f"{tests} fails without any change")
        for mutation in chosen:
            path = copy / "bumpfit" / mutation.file
            content = path.read_text()
            if content.count(mutation.old) != 1:
                raise RuntimeError(
                    f"{mutation.name}: '{mutation.old}' stands {content.count(mutation.old)} times there"
                )
            path.write_text(content.replace(mutation.old, mutation.new))
            survived = passes(copy, mutation.tests)
            path.write_text(content)
            print(f"{'SURVIVED' if survived else 'noticed':10} {mutation.file:24} {mutation.name}", flush=True)
            if survived:
                found.append(mutation.name)
    return found


def passes(sources: Path, tests: str) -> bool:
    """Whether the tests pass on these sources. Raises RuntimeError where they could not be run."""
    child = multiprocessing.get_context("fork").Process(target=_run, args=(sources, tests))
    child.start()
    child.join(LONGEST)
    if child.exitcode is None:
        child.kill()
        child.join()
        return False  # a test that does not end has noticed
    if child.exitcode not in (PASSED, PASSED + 1):
        raise RuntimeError(f"{tests} could not be run (exit code {child.exitcode})")
    return child.exitcode == PASSED


def _run(sources: Path, tests: str) -> None:
    sys.path.insert(0, str(sources))
    sys.dont_write_bytecode = True
    with tempfile.TemporaryFile("w") as nowhere, contextlib.redirect_stdout(nowhere):
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *QUIET, str(HERE / tests)])
    import bumpfit

    if Path(bumpfit.__file__).is_relative_to(sources):
        sys.exit(PASSED + int(code))


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    words = sys.argv[1:]
    sys.exit(len(survivors(tuple(m for m in MUTATIONS if not words or any(w in m.name for w in words)))))
