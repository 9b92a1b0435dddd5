"""Breaks sources on purpose: every named change of one place must fail a fast test.

The sources are copied to a temporary folder, one change is made at a time, and the tests named with it are run on the
copy, in a process that has the libraries loaded. `search/mutations.py` and `inference/inference_mutations.py` list
changes:

    python tests/search/mutations.py                 all of them, some minutes
    python tests/search/mutations.py trials error    those with one of these words in their names

Prints what survives; the exit code is the number of survivors.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import multiprocessing
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parent / "src"
LONGEST = 120
"""CPU seconds that tests may take."""
PASSED = 40
"""Exit code of a process whose tests pass; one more: they fail. An accident has another one."""
QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
LIBRARIES = (
    "numpy", "pandas", "scipy.stats", "scipy.optimize", "sklearn.ensemble", "iminuit", "boost_histogram", "hist",
    "pyarrow.parquet", "matplotlib.pyplot", "numba",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Mutation:
    """`old`, which stands once in `file` (below `bumpfit/`), becomes `new`; one of `tests`, with blanks between them,
    must fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str


def check(changes: tuple[Mutation, ...]) -> None:
    """That the lines are still there, once each, and do change."""
    for mutation in changes:
        assert (SOURCES / "bumpfit" / mutation.file).read_text().count(mutation.old) == 1, mutation.name
        assert mutation.old != mutation.new
    assert len({mutation.name for mutation in changes}) == len(changes)


def survivors(chosen: Iterable[Mutation]) -> list[str]:
    """Names of the changes that no test notices. Raises RuntimeError where tests fail without a change."""
    changes, found = tuple(chosen), []
    check(changes)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "src"
        shutil.copytree(SOURCES, copy)
        for tests in sorted({m.tests for m in changes}):
            if not passes(copy, tests):
                raise RuntimeError(f"{tests} fails without any change")
        for mutation in changes:
            path = copy / "bumpfit" / mutation.file
            content = path.read_text()
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
    child.join()
    if child.exitcode == -signal.SIGXCPU:
        return False  # a test that does not end has noticed
    if child.exitcode not in (PASSED, PASSED + 1):
        raise RuntimeError(f"{tests} could not be run (exit code {child.exitcode})")
    return child.exitcode == PASSED


def _run(sources: Path, tests: str) -> None:
    used = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime)
    resource.setrlimit(resource.RLIMIT_CPU, (used + LONGEST, resource.RLIM_INFINITY))
    sys.path.insert(0, str(sources))
    sys.dont_write_bytecode = True
    paths = [str(HERE / test) for test in tests.split()]
    with tempfile.TemporaryFile("w") as nowhere, contextlib.redirect_stdout(nowhere):
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *QUIET, *paths])
    import bumpfit

    if Path(bumpfit.__file__).is_relative_to(sources):
        sys.exit(PASSED + int(code))


def few_noticed(script: Path, words: tuple[str, ...]) -> None:
    """That the script that lists changes finds no survivor among those that have one of the words in their names."""
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("noticed") >= len(words)


def main(changes: tuple[Mutation, ...], words: list[str]) -> None:
    """Make the changes that have one of the words in their names, all without words, and end with the survivors."""
    for library in LIBRARIES:
        importlib.import_module(library)
    sys.exit(len(survivors(m for m in changes if not words or any(word in m.name for word in words))))
