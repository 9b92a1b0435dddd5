"""The examples in docstrings do what they show; `model` is that of `bumpfit.workspace.read`."""

import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import bumpfit
from bumpfit.workspace import build

ROOT = Path(bumpfit.__file__).parent
LEAST = 25
"""Functions with an example."""


def examples() -> Iterator[tuple[str, doctest.DocTest]]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    for path in sorted(ROOT.rglob("*.py")):
        if ">>> " in path.read_text():
            name = ".".join(("bumpfit", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
            module = importlib.import_module(name)
            yield from ((test.name, test) for test in finder.find(module, name) if test.examples)


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = dict(examples())
    assert len(found) >= LEAST
    first = found["bumpfit.workspace.read.read"]
    names = {"bumpfit": bumpfit, "build": build}
    for line in first.examples:
        exec(line.source, names)
    told: list[str] = []
    for test in found.values():
        test.globs = dict(names)
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append)
    assert not told, "".join(told)
