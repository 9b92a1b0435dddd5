"""Take parts out of a workspace, rename them, and put them in order, as pyhf's `prune`, `rename` and `sorted` do."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from bumpfit.errors import InputError
from bumpfit.workspace.combine import configs_of, modifiers_of, rename, settle, without_channels

ALGORITHMS = tuple(sorted(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake")))
"""Algorithms of digests."""


def take_out(
    spec: Mapping[str, Any],
    *,
    channels: Collection[str] = (),
    samples: Collection[str] = (),
    modifiers: Collection[str] = (),
    modifier_types: Collection[str] = (),
    measurements: Collection[str] = (),
) -> dict[str, Any]:
    """The workspace without these parts, and without the settings, groups and correlations of parameters that went.

    A sample or modifier goes from all channels. Raises InputError for a name that does not exist, and where nothing
    would be left of the workspace or of a channel.
    """
    result = copy.deepcopy(dict(spec))
    _exist(result, channels, samples, modifiers, modifier_types, measurements)
    for channel in result["channels"]:
        channel["samples"] = [s for s in channel["samples"] if s["name"] not in samples]
        for sample in channel["samples"]:
            sample["modifiers"] = [
                m for m in sample["modifiers"] if m["name"] not in modifiers and m["type"] not in modifier_types
            ]
        if not channel["samples"] and channel["name"] not in channels:
            raise InputError(f"without these samples nothing is left of channel '{channel['name']}'; take it out too")
    if "measurements" in result:
        result["measurements"] = [m for m in result["measurements"] if m["name"] not in measurements]
        if not result["measurements"]:
            raise InputError("without these measurements none is left, which a workspace needs")
    result = without_channels(result, channels)
    settle(result, spec)
    return result


def _exist(spec: Mapping[str, Any], *wanted: Collection[str]) -> None:
    """Raise InputError for names that the workspace does not have."""
    known = (
        ("channel", {c["name"] for c in spec["channels"]}),
        ("sample", {s["name"] for c in spec["channels"] for s in c["samples"]}),
        ("modifier", {m["name"] for m in modifiers_of(spec)}),
        ("modifier of type", {m["type"] for m in modifiers_of(spec)}),
        ("measurement", {m["name"] for m in spec.get("measurements", ())}),
    )
    for (what, names), asked in zip(known, wanted, strict=True):
        for name in asked:
            if name not in names:
                shown = ", ".join(sorted(names)[:8]) + (", ..." if len(names) > 8 else "")
                raise InputError(f"the workspace has no {what} '{name}'; it has {shown or 'none'}")


def rename_parts(
    spec: Mapping[str, Any],
    *,
    channels: Mapping[str, str] | None = None,
    samples: Mapping[str, str] | None = None,
    modifiers: Mapping[str, str] | None = None,
    measurements: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The workspace with parts under new names; a modifier's name is that of its parameter, its settings go with it.

    Raises InputError for a name that does not exist, and for one that is there already.
    """
    result = rename(spec, channels=channels, parameters=modifiers)
    _exist(result, (), tuple(samples or ()), (), (), tuple(measurements or ()))
    for channel in result["channels"]:
        _renamed(channel["samples"], samples or {}, f"in channel '{channel['name']}' a sample")
    _renamed(result.get("measurements", []), measurements or {}, "a measurement")
    return result


def _renamed(entries: list[dict[str, Any]], new: Mapping[str, str], what: str) -> None:
    names = [new.get(entry["name"], entry["name"]) for entry in entries]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"cannot rename: there is {what} '{twice}' already")
    for entry, name in zip(entries, names, strict=True):
        entry["name"] = name


def in_order(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The workspace with channels, samples, modifiers, measurements, settings and observations sorted by name; its
    likelihood and the order of its parameters are the same.
    """
    result = copy.deepcopy(dict(spec))
    for key in ("channels", "observations", "measurements"):
        result.get(key, []).sort(key=lambda entry: entry["name"])
    for channel in result["channels"]:
        channel["samples"].sort(key=lambda entry: entry["name"])
        for sample in channel["samples"]:
            sample["modifiers"].sort(key=lambda entry: (entry["name"], entry["type"]))
    for config in configs_of(result):
        config.get("parameters", []).sort(key=lambda entry: entry["name"])
    return result


def digest(content: Any, algorithm: str = "sha256") -> str:
    """The digest of JSON content with its keys sorted, as pyhf has it.

    Raises InputError for an unknown algorithm, and for texts with half a character, which have no bytes.
    """
    if algorithm not in ALGORITHMS:
        raise InputError(f"unknown algorithm '{algorithm}'; choose from {', '.join(ALGORITHMS)}")
    try:
        text = json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start].encode("unicode_escape", "surrogatepass").decode()
        raise InputError(f"a text of the JSON holds {half}, half a character, so it has no digest") from error
    return hashlib.new(algorithm, text, usedforsecurity=False).hexdigest()
