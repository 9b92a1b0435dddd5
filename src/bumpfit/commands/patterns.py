"""Groups of names on the command line: NAME=PATTERN,PATTERN."""

from __future__ import annotations

from collections.abc import Sequence

from bumpfit.errors import InputError


def groups_of(texts: Sequence[str] | None, option: str = "group") -> dict[str, list[str]]:
    """NAME=PATTERN,PATTERN as a mapping; raises InputError for what is none, and a name twice."""
    result: dict[str, list[str]] = {}
    for text in texts or ():
        name, mark, patterns = text.partition("=")
        if not (name and mark and all(patterns.split(","))) or name in result:
            raise InputError(f"cannot read --{option} {text}; expected NAME=PATTERN,PATTERN, each name once")
        result[name] = patterns.split(",")
    return result
