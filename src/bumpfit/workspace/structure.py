"""Structure of JSON documents: objects with known keys, lists of numbers, and places in words."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bumpfit.errors import InputError

Path = Sequence[str | int]

_PLAIN = {int, float}


def place(path: Path, spec: Any) -> str:
    """The path in a JSON document in words: channels[0] 'SR' / samples[1] 'ttbar' / data[3]."""
    words: list[str] = []
    node = spec
    for key in path:
        if isinstance(key, int):
            node = node[key] if isinstance(node, list) and key < len(node) else None
            words[-1 if words else 0 :] = [f"{words[-1] if words else ''}[{key}]"]
            if isinstance(node, Mapping) and isinstance(node.get("name"), str):
                words[-1] += f" '{node['name']}'"
        else:
            node = node.get(key) if isinstance(node, Mapping) else None
            words.append(str(key))
    return " / ".join(words) or "the top level"


def fault(path: Path, spec: Any, reason: str) -> InputError:
    """The error for a document that is not a workspace."""
    return InputError(f"not a HistFactory workspace: at {place(path, spec)}: {reason}")


def shown(value: Any) -> str:
    """A value in a message, cut."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_type(value: Any, expected: str, path: Path, spec: Any) -> None:
    """Raise InputError unless the value is an 'object', 'array', 'string', 'number' or 'boolean'."""
    if not _TYPES[expected](value):
        raise fault(path, spec, f"{shown(value)} is not of type '{expected}'")


def check_keys(node: Any, required: Sequence[str], optional: Sequence[str], path: Path, spec: Any) -> None:
    """Raise InputError unless the node is an object with the required keys and no others than the optional ones."""
    check_type(node, "object", path, spec)
    for key in node:
        if key not in required and key not in optional:
            known = ", ".join([*required, *optional])
            raise fault(path, spec, f"unknown key {shown(key)}; known are {known}")
    for key in required:
        if key not in node:
            raise fault(path, spec, f"'{key}' is a required property")


def check_numbers(values: Any, path: Path, spec: Any, least: int = 1) -> None:
    """Raise InputError unless the value is a list of numbers, at least `least` of them."""
    check_type(values, "array", path, spec)
    if len(values) < least:
        raise fault(path, spec, f"{shown(values)} is too short")
    if set(map(type, values)) <= _PLAIN:
        return
    for i, value in enumerate(values):
        check_type(value, "number", [*path, i], spec)


def is_number(value: Any) -> bool:
    """Whether a value is a JSON number."""
    return isinstance(value, numbers.Number) and not isinstance(value, bool | complex)


def finite(value: float) -> bool:
    """Whether a number is finite as a floating-point number."""
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond floating-point numbers
        return False


_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "number": is_number,
    "boolean": lambda v: isinstance(v, bool),
}
