"""Checks of a HistFactory workspace before it is compiled: each failure names the place in one sentence.

The structure is that of the HistFactory JSON schema 1.0.0, extended by what only bumpfit reads: modifier types and
settings of `effects`, and `correlations` and `groups` beside `parameters`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bumpfit.errors import InputError
from bumpfit.workspace.correlations import check_correlations
from bumpfit.workspace.effect import check_values
from bumpfit.workspace.effects import EFFECTS, SETTINGS
from bumpfit.workspace.groups import check_groups
from bumpfit.workspace.structure import Path, check_keys, check_numbers, check_type, fault, place, shown

MODIFIER_TYPES = tuple(sorted(EFFECTS))

VERSION = "1.0.0"
"""Version of the format."""


def check_schema(spec: Any) -> None:
    """Raise InputError where the document departs from the schema (workspace form, or model form without data)."""
    if not isinstance(spec, Mapping):
        raise InputError(
            f"not a HistFactory workspace: expected a JSON object with 'channels', got {type(spec).__name__}"
        )
    whole = "measurements" in spec or "observations" in spec or "version" in spec
    if whole:
        check_keys(spec, ("channels", "measurements", "observations", "version"), (), [], spec)
    else:
        check_keys(spec, ("channels",), ("parameters", "correlations", "groups"), [], spec)
    for c, channel in enumerate(_list(spec["channels"], ["channels"], spec)):
        _check_channel(channel, ["channels", c], spec)
    if not whole:
        _check_parameters(spec.get("parameters", []), ["parameters"], spec)
        check_correlations(spec.get("correlations", []), ["correlations"], spec)
        check_groups(spec.get("groups", {}), ["groups"], spec)
        return
    for m, measurement in enumerate(_list(spec["measurements"], ["measurements"], spec)):
        path: list[str | int] = ["measurements", m]
        check_keys(measurement, ("name", "config"), (), path, spec)
        check_type(measurement["name"], "string", [*path, "name"], spec)
        config, path = measurement["config"], [*path, "config"]
        check_keys(config, ("poi", "parameters"), ("correlations", "groups"), path, spec)
        check_type(config["poi"], "string", [*path, "poi"], spec)
        _check_parameters(config["parameters"], [*path, "parameters"], spec)
        check_correlations(config.get("correlations", []), [*path, "correlations"], spec)
        check_groups(config.get("groups", {}), [*path, "groups"], spec)
    for o, observation in enumerate(_list(spec["observations"], ["observations"], spec)):
        path = ["observations", o]
        check_keys(observation, ("name", "data"), (), path, spec)
        check_type(observation["name"], "string", [*path, "name"], spec)
        check_numbers(observation["data"], [*path, "data"], spec)
    if spec["version"] != VERSION:
        raise fault(["version"], spec, f"{shown(VERSION)} was expected, got {shown(spec['version'])}")


def _list(value: Any, path: Path, spec: Any) -> list[Any]:
    check_type(value, "array", path, spec)
    if not value:
        raise fault(path, spec, "[] is too short")
    return list(value)


def _check_channel(channel: Any, path: list[str | int], spec: Any) -> None:
    check_keys(channel, ("name", "samples"), (), path, spec)
    check_type(channel["name"], "string", [*path, "name"], spec)
    for s, sample in enumerate(_list(channel["samples"], [*path, "samples"], spec)):
        here = [*path, "samples", s]
        check_keys(sample, ("name", "data", "modifiers"), (), here, spec)
        check_type(sample["name"], "string", [*here, "name"], spec)
        check_numbers(sample["data"], [*here, "data"], spec)
        check_type(sample["modifiers"], "array", [*here, "modifiers"], spec)
        for k, modifier in enumerate(sample["modifiers"]):
            there = [*here, "modifiers", k]
            check_type(modifier, "object", there, spec)
            kind = modifier.get("type")
            if not isinstance(kind, str) or kind not in EFFECTS:
                raise InputError(
                    f"unknown modifier type {shown(kind)} at {place(there, spec)}; known types are "
                    f"{', '.join(MODIFIER_TYPES)}"
                )
            check_keys(modifier, ("name", "type", "data"), (), there, spec)
            check_type(modifier["name"], "string", [*there, "name"], spec)
            EFFECTS[kind].check_structure(modifier["data"], [*there, "data"], spec)


def _check_parameters(settings: Any, path: list[str | int], spec: Any) -> None:
    """Settings of parameters, as the measurement has them."""
    check_type(settings, "array", path, spec)
    for k, setting in enumerate(settings):
        here = [*path, k]
        check_keys(setting, ("name",), SETTINGS, here, spec)
        check_type(setting["name"], "string", [*here, "name"], spec)
        for key in ("inits", "auxdata", "factors", "sigmas"):
            if key in setting:
                check_numbers(setting[key], [*here, key], spec)
        if "fixed" in setting:
            check_type(setting["fixed"], "boolean", [*here, "fixed"], spec)
        if "constraint" in setting:
            check_type(setting["constraint"], "string", [*here, "constraint"], spec)
        if "threshold" in setting:
            check_type(setting["threshold"], "number", [*here, "threshold"], spec)
        if "bounds" in setting:
            for i, ends in enumerate(_list(setting["bounds"], [*here, "bounds"], spec)):
                check_numbers(ends, [*here, "bounds", i], spec, least=0)


def _unique(names: Sequence[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InputError(f"{what} '{name}' is there twice; names must be unique")
        seen.add(name)


def check_content(spec: Mapping[str, Any], *, allow_negative: bool = False) -> None:
    """Raise InputError on values and lengths that the schema cannot see: NaN, negative yields, mismatching binnings."""
    _unique([channel["name"] for channel in spec["channels"]], "channel")
    hint = "; if it comes from event weights, allow it (--allow-negative, in Python allow_negative=True)"
    for c, channel in enumerate(spec["channels"]):
        _unique([s["name"] for s in channel["samples"]], f"in channel '{channel['name']}' the sample")
        size = len(channel["samples"][0]["data"])
        for s, sample in enumerate(channel["samples"]):
            path: list[str | int] = ["channels", c, "samples", s]
            if len(sample["data"]) != size:
                raise InputError(
                    f"mismatching binnings: {place(path, spec)} has {len(sample['data'])} bins but sample "
                    f"'{channel['samples'][0]['name']}' of the same channel has {size}"
                )
            check_values(sample["data"], [*path, "data"], spec, negative=allow_negative, what="a yield", hint=hint)
            for k, modifier in enumerate(sample["modifiers"]):
                EFFECTS[modifier["type"]].check_content(modifier["data"], [*path, "modifiers", k, "data"], size, spec)
            _check_repeats(sample, path, spec)
    for o, observation in enumerate(spec.get("observations", ())):
        path = ["observations", o, "data"]
        check_values(observation["data"], path, spec, negative=False, what="observed data")
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
            check_values(setting.get(key, ()), where, spec, negative=True, what=f"{key} of a parameter")
        for i, ends in enumerate(setting.get("bounds", ())):
            if len(ends) != 2 or any(isinstance(end, float) and math.isnan(end) for end in ends):
                raise InputError(
                    f"bounds are pairs of a lower and an upper end, got {list(ends)} at "
                    f"{place([*path, k, 'bounds', i], spec)}"
                )


def _check_repeats(sample: Mapping[str, Any], path: Sequence[Any], spec: Any) -> None:
    """The same modifier twice in a sample is refused: some readers count it once, others as a product."""
    seen: set[tuple[str, str]] = set()
    for k, modifier in enumerate(sample["modifiers"]):
        key = (modifier["name"], modifier["type"])
        if key in seen:
            raise InputError(
                f"{modifier['type']} '{modifier['name']}' is there twice at {place([*path, 'modifiers', k], spec)}; a "
                "modifier counts once in a sample, so give the second one another name, or remove it"
            )
        seen.add(key)
