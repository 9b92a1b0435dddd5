"""Small grammars of the command line: groups NAME=PATTERN,PATTERN and spans LOW:HIGH."""

from __future__ import annotations

import math
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


def span(option: str, text: str) -> tuple[float, float]:
    """LOW:HIGH as two finite numbers that increase; raises InputError for anything else."""
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise InputError(f"cannot read {option} {text}; expected LOW:HIGH") from None
    if not (low < high and math.isfinite(high - low)):
        raise InputError(f"cannot take {option} {text}; expected LOW:HIGH with LOW below HIGH, both finite")
    return low, high
