"""What two workspaces do not have in common, place by place."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bumpfit.results import Record

TOLERANCE = 1e-9
"""Relative difference up to which two numbers are the same."""


@dataclasses.dataclass(frozen=True)
class Difference(Record):
    """A place in words and what stands there in both; None where one of them has nothing."""

    place: str
    first: Any
    second: Any


def differences(first: Mapping[str, Any], second: Mapping[str, Any], tolerance: float = TOLERANCE) -> list[Difference]:
    """Where two workspaces differ; the order of channels, samples, modifiers and settings does not count.

    Lists of numbers are compared number by number; the largest relative difference stands in the place.
    """
    return list(_compare(first, second, (), tolerance))


def _named(value: Any) -> bool:
    """Whether this is a list of objects with names."""
    return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) and "name" in v for v in value)


def _by_name(value: Sequence[Mapping[str, Any]]) -> dict[Any, Any]:
    """Entries by name, or by name and type where modifiers share a name."""
    names = [entry["name"] for entry in value]
    if len(set(names)) == len(names) and not any("type" in entry for entry in value):
        return dict(zip(names, value, strict=True))
    return {f"{entry['name']} ({entry.get('type', '')})": entry for entry in value}


def _compare(a: Any, b: Any, place: tuple[str, ...], tolerance: float) -> Iterator[Difference]:
    where = " / ".join(place) or "the top level"
    if (isinstance(a, Mapping) and isinstance(b, Mapping)) or ((_named(a) or a == []) and (_named(b) or b == [])):
        one, other = (dict(v) if isinstance(v, Mapping) else _by_name(v) for v in (a, b))
        for key in dict.fromkeys([*one, *other]):
            inner = (*place, str(key))
            if key not in one or key not in other:
                yield Difference(" / ".join(inner), _short(one.get(key)), _short(other.get(key)))
            elif key != "name" or not place:
                yield from _compare(one[key], other[key], inner, tolerance)
    elif _numbers(a) and _numbers(b) and len(a) == len(b):
        apart = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if not _same(x, y, tolerance)]
        if apart:
            most = max(apart, key=lambda i: abs(a[i] - b[i]) / max(abs(a[i]), abs(b[i])))
            part = f"{where}[{most}]" + (f" and {len(apart) - 1} more" if len(apart) > 1 else "")
            yield Difference(part, a[most], b[most])
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from _compare(x, y, (*place[:-1], f"{place[-1]}[{i}]") if place else (f"[{i}]",), tolerance)
    elif not _same(a, b, tolerance):
        yield Difference(where, _short(a), _short(b))


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)


def _same(a: Any, b: Any, tolerance: float) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b or math.isclose(a, b, rel_tol=tolerance, abs_tol=0.0)
    return bool(a == b)


def _short(value: Any) -> Any:
    """Something for a table: what is large becomes its size."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(map(str, value))}}}"[:80]
    if isinstance(value, list) and len(value) > 4:
        return f"[{len(value)} entries]"
    return value
