"""The examples in docstrings do what they show; `model` is that of `bumpfit.workspace.read`."""

import doctest
import functools
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bumpfit
from bumpfit.workspace import build

ROOT = Path(bumpfit.__file__).parent
PACKAGES = (
    "inference", "workspace", "toys", "shapes", "events", "scoring", "report", "simulate", "higgsml", "tagging",
)  # fmt: skip
"""Packages whose public functions and classes all have an example."""


@functools.cache
def examples() -> dict[str, doctest.DocTest]:
    found = {}
    finder = doctest.DocTestFinder(exclude_empty=True)
    for path in sorted(ROOT.rglob("*.py")):
        if ">>> " in path.read_text():
            name = ".".join(("bumpfit", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
            module = importlib.import_module(name)
            found |= {test.name: test for test in finder.find(module, name) if test.examples}
    return found


def test_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = examples()
    first = found["bumpfit.workspace.read.read"]
    names = {"bumpfit": bumpfit, "build": build}
    for line in first.examples:
        exec(line.source, names)
    told: list[str] = []
    for test in found.values():
        test.globs = dict(names)
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append)
    assert not told, "".join(told)


def public() -> Iterator[tuple[str, Any]]:
    """Name and object of the functions and classes in `__all__`."""
    for package in PACKAGES:
        module = importlib.import_module(f"bumpfit.{package}")
        for name in sorted(module.__all__):
            if callable(thing := getattr(module, name)):
                yield f"{package}.{name}", thing


def test_public_names_have_an_example() -> None:
    run = examples()
    named = {name: f"{thing.__module__}.{thing.__qualname__}" for name, thing in public()}
    assert len(named) > 200
    assert not [name for name, place in named.items() if place not in run]
