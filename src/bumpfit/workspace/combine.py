"""Combine, rename and prune workspaces. In a combination parameters of one name are shared."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bumpfit.errors import InputError


def combine(workspaces: Sequence[Mapping[str, Any]], poi: str | None = None) -> dict[str, Any]:
    """One HistFactory workspace with the channels of all; a parameter name that several use is one parameter.

    The settings of the first measurement of each are merged and must not contradict each other. `poi`: by default the
    parameter of interest they agree on. Raises InputError for a channel name that occurs twice, contradicting settings,
    and different parameters of interest when none is named.
    """
    if len(workspaces) < 2:
        raise InputError(f"a combination needs at least two workspaces, got {len(workspaces)}")
    channels: dict[str, Any] = {}
    observations: list[Any] = []
    settings: dict[str, dict[str, Any]] = {}
    interests: list[str] = []
    for number, spec in enumerate(workspaces, start=1):
        if "measurements" not in spec or "observations" not in spec:
            raise InputError(f"workspace {number} of the combination has no data or no measurement")
        for channel in spec["channels"]:
            if channel["name"] in channels:
                raise InputError(
                    f"channel '{channel['name']}' is in more than one workspace; rename it "
                    "(--rename 2:OLD=NEW, in Python `rename`)"
                )
            channels[channel["name"]] = copy.deepcopy(channel)
        observations += copy.deepcopy(list(spec["observations"]))
        config = spec["measurements"][0]["config"]
        interests.append(config["poi"])
        for entry in config["parameters"]:
            merged = settings.setdefault(entry["name"], {})
            for key, value in entry.items():
                if merged.setdefault(key, copy.deepcopy(value)) != value:
                    raise InputError(
                        f"the workspaces set different {key} for parameter '{entry['name']}' ({merged[key]} and "
                        f"{value}); rename it in one of them (--rename, in Python `rename`) or make them agree"
                    )
    if poi is None:
        if len(set(interests)) > 1:
            raise InputError(
                f"the parameters of interest differ ({', '.join(dict.fromkeys(interests))}); name one as poi"
            )
        poi = interests[0]
    return {
        "channels": list(channels.values()),
        "observations": observations,
        "measurements": [{"name": "combination", "config": {"poi": poi, "parameters": list(settings.values())}}],
        "version": "1.0.0",
    }


def rename(
    spec: Mapping[str, Any],
    *,
    channels: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The workspace with channels or parameters (modifiers and their settings) under new names.

    Raises InputError for a name that does not exist.
    """
    result = copy.deepcopy(dict(spec))
    unknown = set(channels or {}) - {c["name"] for c in result["channels"]}
    modifiers = [m for c in result["channels"] for s in c["samples"] for m in s["modifiers"]]
    unknown |= set(parameters or {}) - {m["name"] for m in modifiers}
    if unknown:
        raise InputError(f"cannot rename {', '.join(sorted(unknown))}: the workspace has no such name")
    for channel in [*result["channels"], *result.get("observations", [])]:
        channel["name"] = (channels or {}).get(channel["name"], channel["name"])
    for entry in modifiers:
        entry["name"] = (parameters or {}).get(entry["name"], entry["name"])
    for measurement in result.get("measurements", []):
        config = measurement["config"]
        config["poi"] = (parameters or {}).get(config["poi"], config["poi"])
        for entry in config["parameters"]:
            entry["name"] = (parameters or {}).get(entry["name"], entry["name"])
    return result


def staterror_bins(spec: Mapping[str, Any]) -> dict[str, list[tuple[str, int]]]:
    """Channel and bin that each parameter of every staterror belongs to, in the order of the parameters."""
    result: dict[str, list[tuple[str, int]]] = {}
    for channel in sorted(spec["channels"], key=lambda c: str(c["name"])):
        names = {m["name"] for s in channel["samples"] for m in s["modifiers"] if m["type"] == "staterror"}
        for name in names:
            bins = range(len(channel["samples"][0]["data"]))
            result.setdefault(name, []).extend((channel["name"], b) for b in bins)
    return result


def prune(spec: Mapping[str, Any], channels: Collection[str]) -> dict[str, Any]:
    """The workspace without these channels, and without settings of parameters that went with them.

    A staterror that covers several channels loses the bins of those that went, and their settings.

    Raises InputError for a channel that does not exist, or when none would be left.
    """
    result = copy.deepcopy(dict(spec))
    unknown = sorted(set(channels) - {c["name"] for c in result["channels"]})
    if unknown:
        raise InputError(f"cannot remove {', '.join(unknown)}: the workspace has no such channel")
    for key in ("channels", "observations"):
        if key in result:
            result[key] = [entry for entry in result[key] if entry["name"] not in channels]
    if not result["channels"]:
        raise InputError("removing these channels leaves none")
    used = {m["name"] for c in result["channels"] for s in c["samples"] for m in s["modifiers"]}
    stat = staterror_bins(spec)
    for measurement in result.get("measurements", []):
        config = measurement["config"]
        config["parameters"] = [entry for entry in config["parameters"] if entry["name"] in used]
        for entry in config["parameters"]:
            bins = stat.get(entry["name"], [])
            for key in {"inits", "bounds", "auxdata", "sigmas"} & entry.keys() if bins else ():
                entry[key] = [v for (channel, _), v in zip(bins, entry[key], strict=True) if channel not in channels]
    return result
