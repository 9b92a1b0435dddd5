"""The site builds without a warning, and what the tutorial says happens."""

import importlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from bumpfit import inference, workspace
from bumpfit.cli import Everywhere, UsageError, application

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorials" / "spectrum.md"


@pytest.mark.slow
def test_site_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr
    page = (tmp_path / "site" / "api" / "inference" / "index.html").read_text()
    assert "bumpfit.inference.discovery" in page


@pytest.mark.slow
def test_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = TUTORIAL.read_text()
    commands = re.findall(r"^    ((?:bumpfit|python) .*)$", text, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        first, *words = command.replace("workspaces/", f"{ROOT}/workspaces/").replace("200000", "2000").split()
        start = [sys.executable, "-m", "bumpfit"] if first == "bumpfit" else [sys.executable]
        done = subprocess.run([*start, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stderr)
    model = workspace.read(tmp_path / "spectrum.json")
    found = inference.discovery(model)
    assert f"| mu | {found.mu:.1f} ± {found.mu_error:.1f} |" in text
    assert f"| q0 | {found.q0:.1f} |" in text and f"| local Z | {found.z:.1f} |" in text
    limit = inference.limit(model)
    assert (
        f"the observed limit ({limit.observed:.0f})" in text
        and f"expected without one ({limit.expected[2]:.1f})" in text
    )
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert example is not None
    monkeypatch.chdir(tmp_path)
    exec(compile(example.group(1), "tutorial", "exec"), {})  # our own text, from the checkout


def test_commands_in_documents_exist() -> None:
    from bumpfit.cli import MODULES

    names = {name for part in MODULES.values() for name in part.names}
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for command in re.findall(r"(?:^    |`)bumpfit ([a-z]+)", page.read_text(), re.MULTILINE):
            assert command in names, f"{page.name} names the command {command}, which does not exist"


def commands_of(text: str) -> Iterator[list[str]]:
    """The words of every command that stands in an indented block, comments left out."""
    for line in re.findall(r"^    (bumpfit (?:.*\\\n)*.*)$", text, re.MULTILINE):
        lexer = shlex.shlex(line.replace("\\\n", " "), posix=True, punctuation_chars=";&")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        for word in (*lexer, ";"):
            if set(word) <= set(";&"):
                if words[:1] == ["bumpfit"] and "..." not in words:
                    yield words[1:]
                words = []
            else:
                words.append(word)


def test_commands_in_documents_are_understood() -> None:
    whole: Any = typer.main.get_command(application())
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    found = [(page.name, words) for page in pages for words in commands_of(page.read_text())]
    assert len(found) > 100
    for page, words in found:
        _, left = Everywhere.taken(words)
        command = whole
        while hasattr(command, "commands") and left and left[0] in command.commands:
            command, left = command.commands[left[0]], left[1:]
        try:
            command.make_context("bumpfit", left).close()
        except UsageError as error:
            raise AssertionError(f"{page}: bumpfit {shlex.join(words)}: {error}") from error


@pytest.mark.parametrize("part", ["workspace", "inference", "shapes", "toys", "scoring", "higgsml", "events"])
def test_every_public_name_has_an_entry(part: str) -> None:
    page = (ROOT / "docs" / "api" / f"{part}.md").read_text()
    if f"::: bumpfit.{part}\n" in page:
        return
    entries = set(re.findall(rf"^(?:::: |      heading: )bumpfit\.{part}\.(\w+)", page, re.MULTILINE))
    missing = set(importlib.import_module(f"bumpfit.{part}").__all__) - entries
    assert not missing, f"docs/api/{part}.md lacks {sorted(missing)}"


def test_tests_that_documents_name_exist() -> None:
    tests = {path.name: path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    for page in (ROOT / "docs").rglob("*.md"):
        for name, test in re.findall(r"`(?:tests/)?([\w/]+\.py)::(\w+)`", page.read_text()):
            there = tests.get(name.rpartition("/")[2], "")
            assert f"def {test}(" in there, f"{page.name}: {name}::{test}"
