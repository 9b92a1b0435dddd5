"""The blocks of code in the documents, in the order of a page, and how they are run: small, in this process."""

import glob
import re
import runpy
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from command_line import Run

from bumpfit.search.config import read_config

ROOT = Path(__file__).parents[2]
SHELL = ("bumpfit", "python", "for", "pip", "make", "pytest", "dask")
"""First words of a command."""
SMALL = {
    "-n": 200, "--toys": 200, "--calibrate": 60, "--experiments": 1, "--grid": 3, "--shards": 4, "--workers": 1,
    "--rows": 3000, "--points": 2,
}  # fmt: skip
"""Options whose numbers are made smaller."""


@dataclass(frozen=True)
class Block:
    """What stands in an indented or fenced block below a heading."""

    heading: str
    language: str
    text: str


def pages() -> list[Path]:
    """The README and all documents but those that only name what the docstrings say."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if page.parent.name != "api"]


def blocks(page: Path) -> Iterator[Block]:
    """In order; the language of an indented block is found from its first word."""
    lines = [*page.read_text(encoding="utf-8").splitlines(), ""]
    heading, k = "", 0
    while k < len(lines):
        line = lines[k]
        k += 1
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("```"):
            end = lines.index("```", k)
            yield Block(heading, line.strip("`"), "\n".join(lines[k:end]) + "\n")
            k = end + 1
        elif line.startswith("    ") and (k == 1 or not lines[k - 2].strip() or lines[k - 2].startswith("#")):
            end = next((j for j in range(k, len(lines)) if lines[j][:4].strip()), len(lines))
            text = "\n".join(each[4:] for each in lines[k - 1 : end]).rstrip() + "\n"
            yield Block(heading, language(text), text)
            k = end


def language(text: str) -> str:
    """Of an indented block: shell, python, or text."""
    first = text.split(maxsplit=1)[0]
    if first in SHELL:
        return "shell"
    return "python" if first in ("import", "from") else "text"


def commands(text: str) -> Iterator[str]:
    """Every command of a shell block as one line; loops are taken apart."""
    for line in text.replace("\\\n", " ").splitlines():
        loop = re.fullmatch(r"for (\w+) in (.*?); do (.*); done", line)
        if loop:
            name, values, body = loop.groups()
            for value in values.split():
                yield from commands(re.sub(rf"\${name}\b", value, body))
        else:
            yield from _split(line)


def _split(line: str) -> Iterator[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words: list[str] = []
    for word in (*lexer, ";"):
        if word == ";":
            if words:
                yield shlex.join(words)
            words = []
        else:
            words.append(word)


def small(words: list[str]) -> list[str]:
    """The words with smaller numbers."""
    last = ["", *words]
    return [str(min(int(w), SMALL[o])) if o in SMALL and w.isdigit() else w for o, w in zip(last, words, strict=False)]


@dataclass
class Reader:
    """Reads a page in the working folder."""

    bumpfit: Run
    more: Callable[[str], list[str]]
    """Options that are added to a command to make it smaller."""
    fewer: Mapping[str, str]
    """What is replaced in a command or an example."""
    skipped: Callable[[str], bool]
    names: dict[str, Any] = field(default_factory=dict)

    def read(self, block: Block) -> None:
        """Run what stands in a block."""
        if block.language == "shell":
            for command in commands(block.text):
                if not self.skipped(command):
                    self.command(self.otherwise(command))
        elif block.language == "python" and not self.skipped(block.text):
            self.python(block.text)
        elif block.language == "toml":
            Path("settings.toml").write_text(block.text)
            read_config(Path("settings.toml"))

    def command(self, command: str) -> None:
        """A command of ours, or a script of the checkout."""
        words = [name for word in shlex.split(command) for name in (sorted(glob.glob(word)) or [word])]
        program, *words = small(words)
        if program == "bumpfit":
            done = self.bumpfit(*words, *self.more(command))
            assert done.code == 0, (command, done.err)
            assert "Traceback" not in done.err
            if "--dry" in words:  # tells what it would do
                return
            for option in ("-o", "-m", "--figure", "--report", "--workspace", "--template-figure", "--limits-figure"):
                if option in words and not (option == "-m" and words[0] == "workspace"):
                    written = Path(words[words.index(option) + 1])
                    assert written.exists(), (command, f"{written} was not written")
        else:
            assert program == "python", f"{command}: neither run nor in the list of what is not"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", words)
                runpy.run_path(str(ROOT / words[0]), run_name="__main__")

    def python(self, text: str) -> None:
        """Our own text, from the checkout."""
        text = re.sub(r"\b(?<=Toys\()\d+|\b\d{1,3}(_\d{3})+\b", lambda found: str(min(int(found[0]), 200)), text)
        exec(compile(self.otherwise(text), "document", "exec"), self.names)

    def otherwise(self, text: str) -> str:
        """The text with its replacements."""
        for old, new in self.fewer.items():
            text = text.replace(old, new)
        return text
