"""The last section of a report: version, inputs and options that its numbers follow from, and what they rest on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from bumpfit.events.suffixes import split_tree
from bumpfit.report.document import Block, Heading, Items, Listing, Paragraph, Table, verbatim


def without_folders(word: str) -> str:
    """A word of a command line in which files are named without their folders, which are the business of nobody else.

    `w.json` of `/a/b/w.json`, `SR=h.root:CR/data` of `SR=b/h.root:CR/data` where there is a folder b; a parameter
    `a/b` and an address stay.
    """
    name, equals, value = word.rpartition("=") if "/" not in word.partition("=")[0] else ("", "", word)
    return f"{name}{equals}" + ",".join(map(_name, value.split(",")))


def _name(text: str) -> str:
    file, inside = split_tree(text)
    path = PurePath(file)
    if "://" not in file and (path.is_absolute() or file.startswith(("~", "..")) or _is_folder(path.parent)):
        file = path.name or file
    return file if inside is None else f"{file}:{inside}"


def _is_folder(path: PurePath) -> bool:
    return path.name != "" and Path(path).is_dir()


def _shown(value: Any) -> str:
    """The value of an option; several stand with commas between them."""
    values = value if isinstance(value, list | tuple) else [value]
    return ", ".join(without_folders(str(one)) for one in values)


def made(result: Mapping[str, Any], method: str, remarks: Sequence[str] = ()) -> list[Block]:
    """How a result was made.

    Args:
        result: the first keys of the command's JSON (command, version, inputs, options).
        method: where the numbers come from, with its source.
        remarks: what has no answer, or does not hold.
    """
    rows = [("bumpfit", str(result["version"]))]
    rows += [(verbatim(Path(one["path"]).name), f"SHA-256 {verbatim(one['sha256'])}") for one in result["inputs"]]
    options = result["options"].items()
    rows += [(verbatim(f"--{name.replace('_', '-')}"), verbatim(_shown(value))) for name, value in options]
    return [
        Heading("How it was made", "made"),
        *([Items(tuple(remarks))] if remarks else []),
        Table("made_with", "Version, inputs, and options that were given.", ("Item", "Value"), tuple(rows)),
        Paragraph(method),
    ]


def repeated(words: Sequence[str]) -> Listing:
    """The command that a page was made by, with the names of its files."""
    return Listing(shlex.join(["bumpfit", *map(without_folders, words)]), "To repeat it, where these files are:")
