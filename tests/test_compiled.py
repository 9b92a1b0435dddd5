"""The cache of compiled functions: it never mixes sources, and it may fail without harm."""

from __future__ import annotations

import ast
import copy
import importlib
import math
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from bumpfit import compiled, progress

INNER = """
from bumpfit.compiled import njit

@njit(internal=True)
def power(x):
    return x * x
"""
OUTER = """
import sys

from bumpfit import inner
from bumpfit.compiled import njit
from bumpfit.inner import power

@njit()
def twice(x):
    return 2.0 * power(x)

@njit()
def thrice(x):
    return 3.0 * power(x)

if __name__ == "__main__":
    import bumpfit.outer as outer
    print(outer.twice(3.0), outer.thrice(3.0), sum(c for c in outer.twice.dispatcher.stats.cache_hits.values()))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package of two files, one compiled into the other, with the project's `compiled`."""
    package = tmp_path / "bumpfit"
    package.mkdir()
    shutil.copy(Path(compiled.__file__), package / "compiled.py")
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text(INNER)
    (package / "outer.py").write_text(OUTER)
    return tmp_path


def run(tree: Path, **environment: str) -> tuple[list[float], str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA")}
    done = subprocess.run(
        [sys.executable, "-m", "bumpfit.outer"],
        env={**kept, "PYTHONPATH": str(tree), **environment},
        cwd=tree, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [float(word) for word in done.stdout.split()], done.stderr


@pytest.mark.slow
def test_what_lies_on_disk_is_known_before_it_is_loaded(tree: Path) -> None:
    words = "from bumpfit import inner, outer; print(outer.twice.kept, outer.twice(3.0), outer.twice.kept)"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA")}
    for known in ("False", "True"):
        found = subprocess.run(
            [sys.executable, "-B", "-c", words], env={**kept, "PYTHONPATH": str(tree)}, cwd=tree, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        assert found.stdout.split() == [known, "18.0", known]  # one answer as long as a process lasts
        assert not found.stderr


@pytest.mark.slow
def test_an_edit_of_an_inlined_function_reaches_its_callers(tree: Path) -> None:
    assert run(tree, PYTHONDONTWRITEBYTECODE="1")[0] == [18.0, 27.0, 0]
    assert run(tree, PYTHONDONTWRITEBYTECODE="1")[0] == [18.0, 27.0, 1]  # from the cache
    inner = tree / "bumpfit/inner.py"
    before, times = inner.read_text(), inner.stat()
    inner.write_text(before.replace("x * x", "x + x"))
    os.utime(inner, ns=(times.st_atime_ns, times.st_mtime_ns))  # neither size nor time tell (nor do they Python)
    assert run(tree, PYTHONDONTWRITEBYTECODE="1")[0] == [12.0, 18.0, 0]
    stale = [p for p in (tree / "bumpfit/__pycache__").glob("*.nb?") if ".twice." in p.name]
    assert len(stale) == 2  # index and code of one version: what the old sources left is gone


def test_a_folder_that_cannot_be_written_is_no_error(tree: Path) -> None:
    (tree / "bumpfit/__pycache__").write_text("a file where the folder should be")
    values, said = run(tree, HOME=str(tree / "outer"), XDG_CACHE_HOME="/proc/none", PYTHONDONTWRITEBYTECODE="1")
    assert values == [18.0, 27.0, 0]
    assert said.count("NUMBA_CACHE_DIR") == 1
    assert len(said.splitlines()) == 1


def test_kernels_take_constants_from_compiled_sources_only() -> None:
    """The hash of a module covers every number that its functions compile in."""
    sources = compiled._sources()
    for name in sources:
        module = importlib.import_module(name)
        kernels = [
            value
            for value in vars(module).values()
            if isinstance(value, compiled.Kernel) and value.py_func.__module__ == name
        ]
        used = {word for kernel in kernels for word in kernel.py_func.__code__.co_names}
        tree = ast.parse(Path(str(module.__file__)).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bumpfit."):
                taken = {alias.asname or alias.name for alias in node.names} & used
                wrong = {word for word in taken if not isinstance(getattr(module, word), type)}
                known = node.module in sources or all(f"{node.module}.{word}" in sources for word in wrong)
                assert known or not wrong, f"{name} compiles in {sorted(wrong)} of {node.module}"


def test_the_hash_of_a_minimiser_covers_the_rates() -> None:
    assert "bumpfit.workspace.kernels" in compiled._sources()["bumpfit.inference.newton"][1]
    assert compiled.source_hash("bumpfit.inference.newton") != compiled.source_hash("bumpfit.workspace.kernels")


def test_a_user_who_asked_for_silence_gets_it(capsys: pytest.CaptureFixture[str]) -> None:
    said = compiled._Progress()
    with progress.silent(True):
        timer = threading.Thread(target=said.say, args=["compiling, once"])
        timer.start()
        timer.join()
    assert capsys.readouterr().err == ""
    said.say("compiling, once")
    assert capsys.readouterr().err == "bumpfit: compiling, once\n"


@compiled.record
class Fields(NamedTuple):
    numbers: Any
    table: Any
    width: float
    many: int
    closed: bool


@compiled.njit()
def seen(record, result):  # type: ignore[no-untyped-def]
    """Everything that a field of a record can tell."""
    numbers, table = record.numbers, record.table
    rows, columns = table.shape
    result[0], result[1], result[2], result[3] = numbers.size, rows, columns, numbers[numbers.size - 1]
    for i in range(rows):
        for j in range(columns):
            result[4] += (i + 1) * (j + 2) * table[i, j]
    result[5], result[6], result[7] = record.width, record.many, 1.0 if record.closed else 0.0
    for x in numbers:
        result[8] += x
    result[9] = table[1].sum()


def as_seen(record: Fields) -> Any:
    result = np.zeros(10)
    seen(record, result)
    return result


@pytest.mark.parametrize("form", ["C", "F", "sliced", "fixed"])
def test_compiled_functions_see_the_fields_of_a_record(form: str) -> None:
    numbers, table = np.array([3, -4, 7]), np.arange(12.0).reshape(3, 4) - 5.5
    if form == "F":
        table = np.asfortranarray(table)
    if form == "sliced":
        numbers, table = numbers[::-1], table[::2, 1:]
    if form == "fixed":
        table.flags.writeable = False
    record = Fields(numbers, table, -2.5, -(2**40), form == "C")
    seen.py_func(record, expected := np.zeros(10))
    assert as_seen(record) == pytest.approx(expected, rel=1e-14)
    assert as_seen(pickle.loads(pickle.dumps(record))) == pytest.approx(expected, rel=1e-14)
    assert as_seen(copy.deepcopy(record)) == pytest.approx(expected, rel=1e-14)
    other = record._replace(width=math.inf, numbers=np.array([1]))  # has an address of its own
    assert as_seen(other)[[0, 5]].tolist() == [1.0, math.inf]
    assert as_seen(record) == pytest.approx(expected, rel=1e-14)


def test_the_hash_covers_how_records_are_compiled() -> None:
    assert "bumpfit.compiled_records" in compiled._sources()["bumpfit.compiled"][1]


def test_a_field_that_is_neither_array_nor_number_is_named() -> None:
    with pytest.raises(TypeError, match=r"Fields\.width is no array, whole number, float or bool"):
        as_seen(Fields(np.arange(3), np.zeros((3, 4)), "wide", 1, True))  # type: ignore[arg-type]


def test_a_constant_argument_compiles_nothing_new() -> None:
    """Numba would compile a callee for each constant that a compiled caller hands to it."""

    @compiled.njit()
    def callee(x: float, steps: int, held: bool) -> float:
        return x + steps if held else x - steps

    @compiled.njit()
    def caller(x: float, steps: int, held: bool) -> float:
        return callee(x, 200, True) + callee(x, 100, False) + callee(x, steps, held)

    assert caller(1.0, 3, True) == 201.0 - 99.0 + 4.0
    assert len(callee.dispatcher.overloads) == 1
