"""The lines of a TRExFitter configuration: files that it includes put in, and names replaced by what a file says.

`INCLUDE: FILE`, seen from the folder of the file it stands in. `ReplacementFile: FILE` has lines `XXX_NAME: VALUE`;
every name is put in once, in alphabetical order, into the lines that have XXX. Lines of that file with % or # in them
are comments (ExpandConfigs, ParseReplacements and ReadFile in ConfigParser.cc of its sources). All of it is text, of
which nothing is run.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bumpfit.errors import InputError

REPLACED = "XXX"
"""What a line has where something is put in."""

MOST = 1_000_000
"""Characters of a line, and lines of a configuration, beyond which it is not one: names and files that double."""

_NAME = re.compile(rf"{REPLACED}\w*")
_SPACE = "\t\r\n "


@dataclasses.dataclass(frozen=True)
class Place:
    """Where something stands."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"line {self.line} of the TRExFitter configuration '{self.path}'"


Line = tuple[Place, str]


def lines_of(path: str | Path) -> list[Line]:
    """All lines; raises InputError for files that cannot be read, circles, and names that are left."""
    source = Path(path)
    values, name = _replacements(_lines(source), source)
    lines = list(itertools.islice(_included(source, values, name, ()), MOST + 1))
    if len(lines) > MOST:
        raise InputError(f"the TRExFitter configuration '{source}' has more than {MOST} lines with what it includes")
    if not values:
        values, name = _replacements(lines, source)
    return [(place, _replaced(text, values, name, place)) for place, text in lines]


def found_beside(file: str, source: Path) -> Path | None:
    """A file as a configuration names it: seen from its folder, the folder above and the working folder."""
    for base in (source.parent, source.parent.parent, Path.cwd()):
        if os.path.isfile(base / file):  # also where no file can have that name
            return base / file
    return None


def _lines(path: Path) -> list[Line]:
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read the TRExFitter configuration '{path}': {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"cannot read the TRExFitter configuration '{path}': line {line} is not text in UTF-8; if it is in "
            "Latin-1, iconv -f latin1 -t utf8 converts it"
        ) from error
    return [(Place(str(path), number), line) for number, line in enumerate(text.splitlines(), start=1)]


def _is_comment(line: str) -> bool:
    return line.lstrip(_SPACE)[:1] in ("%", "#")


def _included(path: Path, values: Mapping[str, str], name: str, above: Sequence[Path]) -> Iterator[Line]:
    """The lines of a file with those of the files that it includes."""
    here = Path(os.path.abspath(path))
    for place, line in _lines(path):
        key, colon, value = line.strip(_SPACE).partition(":")
        if key != "INCLUDE" or not colon:
            yield place, line
            continue
        value = _replaced(value, values, name, place).replace('"', " ").strip(_SPACE)
        if not value:
            raise InputError(f"{place}: INCLUDE names no file")
        inner = path.parent / value
        if Path(os.path.abspath(inner)) in (here, *above):
            raise InputError(f"{place}: INCLUDE names '{value}', which includes this file itself")
        if not os.path.isfile(inner):
            raise InputError(f"{place}: INCLUDE names '{value}', which is not there, seen from '{path.parent}'")
        yield from _included(inner, values, name, (here, *above))


# ---------------------------------------------------------------- names that are replaced


def _replacements(lines: Sequence[Line], source: Path) -> tuple[dict[str, str], str]:
    """The values by name in alphabetical order, and what their file is called; none without a ReplacementFile."""
    for place, line in lines:
        key, colon, value = line.strip(_SPACE).partition(":")
        if key.strip() != "ReplacementFile" or not colon or _is_comment(line):
            continue
        name = value.partition("%")[0].replace('"', " ").strip(_SPACE)
        found = found_beside(name, source) if name else None
        if found is None:
            raise InputError(
                f"{place}: there is no ReplacementFile '{name}', seen from '{source.parent}', the folder above and the "
                "working folder"
            )
        return dict(sorted(_values(found).items())), str(found)
    return {}, ""


def _values(path: Path) -> dict[str, str]:
    values: dict[str, str] = {}
    for place, line in _lines(path):
        if "%" in line or "#" in line or not line.strip(_SPACE):
            continue
        key, colon, value = (part.strip(_SPACE) for part in line.partition(":"))
        key = key.replace('"', " ").strip()
        where = f"line {place.line} of the ReplacementFile '{path}'"
        if not (key and colon and value):
            raise InputError(f"{where}: expected 'XXX_NAME: value', got '{line.strip()[:60]}'")
        if key in values:
            raise InputError(f"{where}: '{key}' is there twice")
        values[key] = value
    return values


def _replaced(line: str, values: Mapping[str, str], name: str, place: Place) -> str:
    """A line with the values put in; raises InputError for names that the file does not have."""
    if not values or REPLACED not in line or _is_comment(line):
        return line
    for word in _NAME.findall(line):
        if word in values and (short := next((key for key in values if key != word and word.startswith(key)), None)):
            raise InputError(
                f"{place}: '{word}' begins with '{short}', which TRExFitter puts in first; rename one in '{name}'"
            )
    for key, value in values.items():
        if len(line) + line.count(key) * (len(value) - len(key)) > MOST:
            raise InputError(f"{place}: with what '{name}' puts in it has more than {MOST} characters")
        line = line.replace(key, value)
    left = _NAME.search(line)
    if left is None:
        return line
    if left[0] in values:
        raise InputError(
            f"{place}: '{left[0]}' is left, for '{name}' names it in the value of another name that comes after it in "
            "the alphabet, or of its own; each is put in once"
        )
    raise InputError(
        f"{place}: '{name}' says nothing for '{left[0]}'; it has {', '.join(values)} (its lines with % or # are "
        "comments)"
    )
