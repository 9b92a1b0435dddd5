"""Checks of a HistFactory workspace before it is compiled: each failure names the place in one sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema

from bumpfit.errors import InputError

MODIFIER_TYPES = ("histosys", "lumi", "normfactor", "normsys", "shapefactor", "shapesys", "staterror")


@cache
def definitions() -> dict[str, Any]:
    """Definitions of the HistFactory JSON schema 1.0.0 that pyhf packages."""
    package = find_spec("pyhf")
    if package is None or package.origin is None:
        raise InputError(
            "the HistFactory schema comes with the package 'pyhf', which is not installed: pip install pyhf"
        )
    path = Path(package.origin).parent / "schemas" / "1.0.0" / "defs.json"
    loaded: dict[str, Any] = json.loads(path.read_text())["definitions"]
    return loaded


@cache
def schema_validator(*keys: str) -> Any:
    """Validator of one definition; modifiers are left open, each is checked against its own type (see
    `check_schema`).
    """
    book = json.loads(json.dumps(definitions()))
    book["sample"]["properties"]["modifiers"]["items"] = {"type": "object"}
    target: Any = {"$ref": "#/definitions/" + "/".join(keys), "definitions": book}
    extend: Any = jsonschema.validators.extend
    return extend(jsonschema.Draft6Validator, {"items": _items})(target)


def _items(validator: Any, items: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """The keyword `items`, quick for lists of numbers, which are nearly all of a workspace."""
    if items == {"type": "number"} and isinstance(instance, list) and all(type(v) in (float, int) for v in instance):
        return
    yield from jsonschema.Draft6Validator.VALIDATORS["items"](validator, items, instance, schema)


def place(path: Sequence[Any], spec: Any) -> str:
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


def _complain(error: Any, prefix: Sequence[Any], spec: Any) -> InputError:
    message = error.message if len(error.message) < 160 else error.message[:70] + " ... " + error.message[-70:]
    return InputError(f"not a HistFactory workspace: at {place([*prefix, *error.absolute_path], spec)}: {message}")


def check_schema(spec: Any) -> None:
    """Raise InputError where the document departs from the schema (workspace form, or model form without data).

    The first departure in the order of the document is reported.
    """
    if not isinstance(spec, Mapping):
        raise InputError(
            f"not a HistFactory workspace: expected a JSON object with 'channels', got {type(spec).__name__}"
        )
    kind = "workspace" if "measurements" in spec or "observations" in spec or "version" in spec else "model"
    errors = sorted(
        schema_validator(kind).iter_errors(spec), key=lambda error: [str(key) for key in error.absolute_path]
    )
    if errors:
        raise _complain(errors[0], [], spec)
    for path, modifier in walk_modifiers(spec):
        kind = str(modifier.get("type"))
        if kind not in MODIFIER_TYPES:
            raise InputError(
                f"unknown modifier type {kind!r} at {place(path, spec)}; known types are {', '.join(MODIFIER_TYPES)}"
            )
        for error in schema_validator("modifier", kind).iter_errors(modifier):
            raise _complain(error, path, spec)


def walk_modifiers(spec: Mapping[str, Any]) -> Iterator[tuple[list[Any], Mapping[str, Any]]]:
    """Every modifier with its path."""
    for c, channel in enumerate(spec["channels"]):
        for s, sample in enumerate(channel["samples"]):
            for k, modifier in enumerate(sample["modifiers"]):
                yield ["channels", c, "samples", s, "modifiers", k], modifier


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond floating-point numbers
        return False


def _check_numbers(values: Sequence[float], path: Sequence[Any], spec: Any, *, allow_negative: bool, what: str) -> None:
    for i, value in enumerate(values):
        if not _finite(value):
            got = value if isinstance(value, float) else "an integer that is too large"
            raise InputError(f"{what} must be finite, got {got} at {place([*path, i], spec)}")
        if value < 0 and not allow_negative:
            hint = ""
            if what == "a yield":
                hint = "; if it comes from event weights, allow it (--allow-negative, in Python allow_negative=True)"
            raise InputError(f"{what} must not be negative, got {value} at {place([*path, i], spec)}{hint}")


def _unique(names: Sequence[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{what} '{name}' is there twice; names must be unique")
        seen.add(name)


def check_content(spec: Mapping[str, Any], *, allow_negative: bool = False) -> None:
    """Raise InputError on values and lengths that the schema cannot see: NaN, negative yields, mismatching binnings."""
    _unique([channel["name"] for channel in spec["channels"]], "channel")
    for c, channel in enumerate(spec["channels"]):
        _unique([s["name"] for s in channel["samples"]], f"in channel '{channel['name']}' the sample")
        size = len(channel["samples"][0]["data"])
        for s, sample in enumerate(channel["samples"]):
            path = ["channels", c, "samples", s]
            if len(sample["data"]) != size:
                raise InputError(
                    f"mismatching binnings: {place(path, spec)} has {len(sample['data'])} bins but sample "
                    f"'{channel['samples'][0]['name']}' of the same channel has {size}"
                )
            _check_numbers(sample["data"], [*path, "data"], spec, allow_negative=allow_negative, what="a yield")
            for k, modifier in enumerate(sample["modifiers"]):
                _check_modifier(modifier, [*path, "modifiers", k], size, spec)
            _check_repeats(sample, path, spec)
    for o, observation in enumerate(spec.get("observations", ())):
        path = ["observations", o, "data"]
        _check_numbers(observation["data"], path, spec, allow_negative=False, what="observed data")
    _unique([observation["name"] for observation in spec.get("observations", ())], "the observation of channel")
    _unique([measurement["name"] for measurement in spec.get("measurements", ())], "measurement")
    for m, measurement in enumerate(spec.get("measurements", ())):
        _check_settings(measurement["config"]["parameters"], ["measurements", m, "config", "parameters"], spec)
    _check_settings(spec.get("parameters", ()), ["parameters"], spec)


def _check_settings(settings: Sequence[Mapping[str, Any]], path: Sequence[Any], spec: Any) -> None:
    _unique([setting["name"] for setting in settings], "the setting of parameter")
    for k, setting in enumerate(settings):
        for key in ("inits", "auxdata", "sigmas", "factors"):
            where = [*path, k, key]
            _check_numbers(setting.get(key, ()), where, spec, allow_negative=True, what=f"{key} of a parameter")
        for i, ends in enumerate(setting.get("bounds", ())):
            if len(ends) != 2 or any(isinstance(end, float) and math.isnan(end) for end in ends):
                raise InputError(
                    f"bounds are pairs of a lower and an upper end, got {list(ends)} at "
                    f"{place([*path, k, 'bounds', i], spec)}"
                )


def _check_modifier(modifier: Mapping[str, Any], path: Sequence[Any], size: int, spec: Any) -> None:
    data = modifier["data"]
    arrays: dict[str, Sequence[float]] = {}
    if modifier["type"] == "histosys":
        arrays = {"lo_data": data["lo_data"], "hi_data": data["hi_data"]}
    elif modifier["type"] in ("shapesys", "staterror"):
        arrays = {"": data}
    elif modifier["type"] == "normsys":
        for key in ("lo", "hi"):
            if not (_finite(data[key]) and data[key] > 0):
                raise InputError(f"a normsys factor must be positive, got {key} = {data[key]} at {place(path, spec)}")
    for key, values in arrays.items():
        where = [*path, "data", *([key] if key else [])]
        if len(values) != size:
            raise InputError(
                f"mismatching binnings: {place(where, spec)} has {len(values)} bins but its sample has {size}"
            )
        _check_numbers(values, where, spec, allow_negative=modifier["type"] == "histosys", what="an uncertainty")


def _check_repeats(sample: Mapping[str, Any], path: Sequence[Any], spec: Any) -> None:
    """The same modifier twice in a sample is only harmless when both say the same (they then count once, as in
    pyhf).
    """
    seen: dict[tuple[str, str], Any] = {}
    for k, modifier in enumerate(sample["modifiers"]):
        key = (modifier["name"], modifier["type"])
        if key in seen and (seen[key] != modifier["data"] or modifier["type"] == "shapesys"):
            raise InputError(
                f"{modifier['type']} '{modifier['name']}' is there twice with different content at "
                f"{place([*path, 'modifiers', k], spec)}"
            )
        seen[key] = modifier["data"]
