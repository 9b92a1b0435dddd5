"""Parameters that a formula of HistFactory depends on: NAME or NAME[VALUE,LOW,HIGH], with commas between."""

from __future__ import annotations

import math
import re

from bumpfit.errors import InputError

_DEPENDENT = re.compile(r"[^,\s\[]+(?:\[[^\]]*\])?")


def numbered(text: str) -> list[str]:
    """Names in the order by which RooFit numbers them, @0, @1; one that is repeated has two numbers."""
    return [word.partition("[")[0] for word in _DEPENDENT.findall(text)]


def dependents(text: str) -> dict[str, tuple[float, float, float] | None]:
    """Start, low and high end by name; None where they are not given. Raises InputError for what is none."""
    result: dict[str, tuple[float, float, float] | None] = {}
    for word in _DEPENDENT.findall(text):
        name, bracket, rest = word.partition("[")
        found = None
        if bracket:
            try:
                value, low, high = (float(number) for number in rest.rstrip("]").split(","))
            except ValueError:
                raise InputError(f"cannot read the dependent '{word}'; expected NAME or NAME[VALUE,LOW,HIGH]") from None
            if not (all(map(math.isfinite, (value, low, high))) and low <= value <= high and low < high):
                raise InputError(f"the dependent '{word}' starts outside its range, or has none")
            found = value, low, high
        if name not in result or result[name] is None:
            result[name] = found
        elif found is not None and found != result[name]:
            raise InputError(f"the dependent '{name}' has two starts or ranges")
    return result
