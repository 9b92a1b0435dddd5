"""Decorrelate: a parameter that several channels or samples share becomes one a channel, sample or group of them."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Mapping, Sequence
from typing import Any

from bumpfit.errors import InputError
from bumpfit.words import By
from bumpfit.workspace.combine import configs_of, modifiers_of
from bumpfit.workspace.effects import EFFECTS
from bumpfit.workspace.effects_scale import NORMFORMULA
from bumpfit.workspace.formula import Expression, names_in, parse, resolve, written


def decorrelate(
    spec: Mapping[str, Any],
    parameter: str,
    by: By = "channel",
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    correlation: float | None = None,
) -> dict[str, Any]:
    """The workspace with `parameter` as one a channel (or sample), named PARAMETER_CHANNEL.

    `groups`: patterns of channels (or samples) by the name that stands for them; those that no group has stand for
    themselves. The copies have the settings of the parameter; where it was of interest the first copy is.
    `correlation`: of the constraints of the copies, which need Gaussian ones (default: none).

    Raises InputError for a parameter that does not exist or has one value a bin over all channels, for a channel in
    two groups, groups without a member, and names that are there already.
    """
    labels = labels_of(spec, parameter, by, groups)
    copies = {label: f"{parameter}_{label}" for label in dict.fromkeys(labels.values())}
    if len(copies) < 2:
        raise InputError(f"only {by} '{next(iter(labels))}' has '{parameter}', or one group: nothing to decorrelate")
    there = {m["name"] for m in modifiers_of(spec)}
    there |= {entry["name"] for config in configs_of(spec) for entry in config.get("parameters", ())}
    if there & set(copies.values()):
        raise InputError(f"the workspace has a '{min(there & set(copies.values()))}' already; rename it")
    result = copy.deepcopy(dict(spec))
    formulas = _formulas(spec)
    for channel in result["channels"]:
        for sample in channel["samples"]:
            label = labels.get(channel["name"] if by == "channel" else sample["name"])
            for modifier in sample["modifiers"] if label is not None else ():
                _rename(modifier, parameter, copies[str(label)], str(label), formulas)
    _settle(result, parameter, list(copies.values()), correlation)
    return result


def labels_of(
    spec: Mapping[str, Any], parameter: str, by: By = "channel", groups: Mapping[str, Sequence[str]] | None = None
) -> dict[str, str]:
    """Of each channel (or sample) that a parameter has an effect in, in the workspace's order: the name of its group,
    its own where it is in none. Raises InputError as `decorrelate`.
    """
    formulas = _formulas(spec)
    users = list(dict.fromkeys(
        channel["name"] if by == "channel" else sample["name"]
        for channel in spec["channels"]
        for sample in channel["samples"]
        if any(_uses(modifier, parameter, formulas) for modifier in sample["modifiers"])
    ))  # fmt: skip
    if not users:
        raise InputError(f"no modifier has the parameter '{parameter}'; it must be the name of one, without an index")
    for modifier in modifiers_of(spec):
        if modifier["name"] == parameter and EFFECTS[modifier["type"]].covers_channels:
            raise InputError(f"'{parameter}' ({modifier['type']}) has a parameter for each bin, which nothing shares")
    result = {user: user for user in users}
    owner: dict[str, str] = {}
    for group, patterns in (groups or {}).items():
        found = [user for user in users if any(fnmatch.fnmatchcase(user, pattern) for pattern in patterns)]
        if not found:
            raise InputError(
                f"the group '{group}' has no {by} with '{parameter}'; there are {', '.join(users[:8])}"
                f"{', ...' if len(users) > 8 else ''}"
            )
        for user in found:
            if owner.setdefault(user, group) != group:
                raise InputError(f"the {by} '{user}' is in the groups '{owner[user]}' and '{group}'; it belongs to one")
            result[user] = group
    alone = {user for user in users if user not in owner}
    if alone & set(groups or ()):
        raise InputError(f"the group '{min(alone & set(groups or ()))}' has the name of a {by} outside it; rename it")
    return result


def _formulas(spec: Mapping[str, Any]) -> dict[str, Expression]:
    """Formulas by name, those that they name put in."""
    return resolve(
        {m["name"]: parse(m["data"]["formula"]) for m in modifiers_of(spec) if m["type"] == NORMFORMULA.kind}
    )


def _uses(modifier: Mapping[str, Any], parameter: str, formulas: Mapping[str, Expression]) -> bool:
    if modifier["type"] != NORMFORMULA.kind:
        return bool(modifier["name"] == parameter)
    return any(_stem(name) == parameter for name in names_in(formulas[modifier["name"]]))


def _stem(name: str) -> str:
    return name.partition("[")[0]


def _rename(modifier: dict[str, Any], parameter: str, new: str, label: str, formulas: Mapping[str, Expression]) -> None:
    """Put the copy of a parameter in a modifier's place of it; a formula gets a name of its own too."""
    if not _uses(modifier, parameter, formulas):
        return
    if modifier["type"] != NORMFORMULA.kind:
        modifier["name"] = new
        return

    def renamed(name: str) -> str:
        return new + name[len(parameter) :] if _stem(name) == parameter else name

    modifier["data"]["formula"] = written(formulas[modifier["name"]], renamed)
    modifier["name"] = f"{modifier['name']}_{label}"


def _settle(spec: dict[str, Any], parameter: str, copies: list[str], correlation: float | None) -> None:
    """Settings, parameter of interest, groups and correlations of the copies; raises InputError for a parameter whose
    constraint is correlated with others.
    """
    for config in configs_of(spec):
        entries = []
        for entry in config.get("parameters", ()):
            same = entry["name"] == parameter
            entries += [{**copy.deepcopy(entry), "name": name} for name in copies] if same else [entry]
        if "parameters" in config:
            config["parameters"] = entries
        if config.get("poi") == parameter:
            config["poi"] = copies[0]
        for group, members in config.get("groups", {}).items():
            config["groups"][group] = [n for m in members for n in (copies if m == parameter else [m])]
        if any(parameter in entry["parameters"] for entry in config.get("correlations", ())):
            raise InputError(f"the constraint of '{parameter}' is correlated with others, so it cannot be split")
        if correlation is not None:
            size = range(len(copies))
            matrix = [[1.0 if i == j else correlation for j in size] for i in size]
            config.setdefault("correlations", []).append({"parameters": copies, "matrix": matrix})
