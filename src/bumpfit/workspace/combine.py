"""Combine, rename and prune workspaces. In a combination parameters of one name are shared."""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from bumpfit.errors import InputError
from bumpfit.workspace.effects import EFFECTS, PYHF_SETTINGS, declare
from bumpfit.workspace.effects_scale import LUMI, LUMINOSITY, NORMFORMULA
from bumpfit.workspace.formula import names_in, parse, written
from bumpfit.workspace.parameters import ParameterSet


def combine(workspaces: Sequence[Mapping[str, Any]], poi: str | None = None) -> dict[str, Any]:
    """One HistFactory workspace with the channels of all; a parameter name that several use is one parameter.

    The settings and correlations of the first measurement of each are merged and must not contradict each other. `poi`:
    by default the parameter of interest they agree on. Raises InputError for a channel name that occurs twice,
    contradicting settings, and different parameters of interest when none is named.

    Examples:
        >>> other = bumpfit.workspace.rename(spec, channels={"SR": "CR"})
        >>> [channel["name"] for channel in bumpfit.workspace.combine([spec, other])["channels"]]
        ['SR', 'CR']
    """
    if len(workspaces) < 2:
        raise InputError(f"a combination needs at least two workspaces, got {len(workspaces)}")
    workspaces = _counted_on(workspaces)
    channels: dict[str, Any] = {}
    observations: list[Any] = []
    settings: dict[str, dict[str, Any]] = {}
    correlations: list[Any] = []
    groups: dict[str, list[str]] = {}
    interests: list[str] = []
    for spec in workspaces:
        for channel in spec["channels"]:
            if channel["name"] in channels:
                raise InputError(
                    f"channel '{channel['name']}' is in more than one workspace; rename it "
                    "(--rename 2:OLD=NEW, in Python `rename`)"
                )
            channels[channel["name"]] = channel
        observations += spec["observations"]
        config = spec["measurements"][0]["config"]
        interests.append(config["poi"])
        correlations += [c for c in config.get("correlations", []) if c not in correlations]
        for name, members in config.get("groups", {}).items():
            groups[name] = list(dict.fromkeys([*groups.get(name, []), *members]))
        for entry in config["parameters"]:
            _merge(settings.setdefault(entry["name"], {}), entry)
    _check_shared(workspaces, settings)
    if poi is None:
        if len(set(interests)) > 1:
            raise InputError(
                f"the parameters of interest differ ({', '.join(dict.fromkeys(interests))}); name one as poi"
            )
        poi = interests[0]
    chosen: dict[str, Any] = {"poi": poi, "parameters": list(settings.values())}
    if correlations:
        chosen["correlations"] = correlations
    if groups:
        chosen["groups"] = groups
    return {
        "channels": list(channels.values()),
        "observations": observations,
        "measurements": [{"name": "combination", "config": chosen}],
        "version": "1.0.0",
    }


def _counted_on(workspaces: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copies in which bins that are counted on from channel to channel have their number in the combination.

    Raises InputError for a workspace without data or measurement.
    """
    for number, spec in enumerate(workspaces, start=1):
        if "measurements" not in spec or "observations" not in spec:
            raise InputError(f"workspace {number} of the combination has no data or no measurement")
    after = bins_over_channels({"channels": [channel for spec in workspaces for channel in spec["channels"]]})
    copies = [copy.deepcopy(dict(spec)) for spec in workspaces]
    for spec in copies:
        moved = _numbers(bins_over_channels(spec), after)
        _refer(spec, lambda name, moved=moved: moved.get(name, name))  # type: ignore[misc]
    for name, bins in after.items():
        users = [spec for spec in copies if name in bins_over_channels(spec)]
        if len(users) > 1:
            _set_all_bins(name, bins, users)
    return copies


def _settings_of(config: dict[str, Any], name: str) -> dict[str, Any]:
    """The settings of a parameter in a configuration, new and empty where it has none."""
    entries: list[dict[str, Any]] = config.setdefault("parameters", [])
    for entry in entries:
        if entry["name"] == name:
            return entry
    entries.append({"name": name})
    return entries[-1]


def _set_all_bins(name: str, bins: Sequence[tuple[str, int]], users: Sequence[dict[str, Any]]) -> None:
    """Settings that some workspaces give the bins of a parameter become, in each, those of all bins.

    Bins have one parameter each, so that nothing can be contradicted; `bins` are those of the combination.
    """
    entries = [_settings_of(spec["measurements"][0]["config"], name) for spec in users]
    keys = {key for entry in entries for key in set(PYHF_SETTINGS) & entry.keys() if isinstance(entry[key], list)}
    if not keys:
        return
    found: dict[tuple[str, int], tuple[ParameterSet, int]] = {}
    for spec in users:
        group = declare(spec["channels"], spec["measurements"][0]["config"]["parameters"]).sets[name]
        found |= {where: (group, i) for i, where in enumerate(bins_over_channels(spec)[name])}
    values: dict[str, list[Any]] = {key: [] for key in keys}
    for group, i in map(found.__getitem__, bins):
        every = {
            "inits": group.inits, "bounds": [list(b) for b in group.bounds],
            "auxdata": group.auxdata, "sigmas": group.widths, "factors": group.widths,
        }  # fmt: skip
        for key in keys:
            values[key].append(every[key][i])
    for entry in entries:
        entry |= copy.deepcopy(values)


def _merge(merged: dict[str, Any], entry: Mapping[str, Any]) -> None:
    for key, value in entry.items():
        if merged.setdefault(key, copy.deepcopy(value)) != value:
            raise _differ(key, entry["name"], merged[key], value)


def _differ(key: str, name: str, one: Any, other: Any) -> InputError:
    return InputError(
        f"the workspaces set different {key} for parameter '{name}' ({one} and {other}); rename it in one of them "
        "(--rename, in Python `rename`) or make them agree"
    )


def _check_shared(workspaces: Sequence[Mapping[str, Any]], settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise InputError where one workspace sets a parameter that another one has with its defaults: the combination has
    one parameter, which one of them did not mean.
    """
    for spec in workspaces:
        own = {entry["name"]: entry for entry in spec["measurements"][0]["config"]["parameters"]}
        for name in {m["name"] for m in modifiers_of(spec)} & settings.keys():
            for key in ("fixed", "auxdata", "sigmas", "factors", "constraint", "threshold"):
                if key in settings[name] and key not in own.get(name, {}) and settings[name][key] is not False:
                    raise _differ(key, name, settings[name][key], "none")


def modifiers_of(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """All modifiers of a specification."""
    for channel in spec["channels"]:
        for sample in channel["samples"]:
            yield from sample["modifiers"]


def rename(
    spec: Mapping[str, Any],
    *,
    channels: Mapping[str, str] | None = None,
    parameters: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The workspace with channels or parameters (modifiers, their settings, formulas and correlations) under new names.

    Raises InputError for a name that does not exist, for one that is there already, and for the luminosity's.

    Examples:
        >>> other = bumpfit.workspace.rename(spec, parameters={"norm": "scale"})
        >>> bumpfit.workspace.read(other).names
        ('mu', 'scale')
    """
    result = copy.deepcopy(dict(spec))
    present = {c["name"] for c in result["channels"]}
    names = _parameter_names(result)
    unknown = (set(channels or {}) - present) | (set(parameters or {}) - names)
    if unknown:
        raise InputError(f"cannot rename {', '.join(sorted(unknown))}: the workspace has no such name")
    if any(m["type"] == LUMI.kind and m["name"] in (parameters or {}) for m in modifiers_of(result)):
        raise InputError(f"cannot rename {LUMINOSITY}: the luminosity's parameter must be called so")
    for given, known, what in ((channels, present, "channel"), (parameters, names, "parameter")):
        left = known - set(given or {})
        for old, new in (given or {}).items():
            if new in left:
                raise InputError(f"cannot rename {old}: the workspace has a {what} '{new}' already")
            left.add(new)
    before = bins_over_channels(result)
    for key in ("channels", "observations"):
        for entry in result.get(key, []):
            entry["name"] = (channels or {}).get(entry["name"], entry["name"])
    _reorder(result, before, bins_over_channels(result), lambda c: (channels or {}).get(c, c))
    _rename_parameters(result, dict(parameters or {}))
    return result


def _rename_parameters(spec: dict[str, Any], new: Mapping[str, str]) -> None:
    def renamed(name: str) -> str:
        stem, bracket, index = name.partition("[")
        return new.get(name, new.get(stem, stem) + bracket + index)

    for modifier in modifiers_of(spec):
        modifier["name"] = new.get(modifier["name"], modifier["name"])
    for config in configs_of(spec):
        for entry in config.get("parameters", []):
            entry["name"] = new.get(entry["name"], entry["name"])
    _refer(spec, renamed)


def _refer(spec: dict[str, Any], new: Callable[[str], str]) -> None:
    """Formulas, parameters of interest, correlations and groups name parameters, and their bins, by new names."""
    for modifier in modifiers_of(spec):
        if modifier["type"] == NORMFORMULA.kind:
            text = modifier["data"]["formula"]
            if any(new(name) != name for name in names_in(parse(text))):
                modifier["data"]["formula"] = written(parse(text), new)
    for config in configs_of(spec):
        if "poi" in config:
            config["poi"] = new(config["poi"])
        for entry in config.get("correlations", []):
            entry["parameters"] = [new(name) for name in entry["parameters"]]
        for group, members in config.get("groups", {}).items():
            config["groups"][group] = [new(name) for name in members]


def _parameter_names(spec: Mapping[str, Any]) -> set[str]:
    """Names of modifiers and of what formulas name."""
    names = {m["name"] for m in modifiers_of(spec)}
    for modifier in modifiers_of(spec):
        if modifier["type"] == NORMFORMULA.kind:
            names |= {name.partition("[")[0] for name in names_in(parse(modifier["data"]["formula"]))}
    return names


def configs_of(spec: Mapping[str, Any]) -> list[Any]:
    """What holds settings: the configuration of each measurement, or the model itself."""
    return [m["config"] for m in spec["measurements"]] if "measurements" in spec else [spec]


def bins_over_channels(spec: Mapping[str, Any]) -> dict[str, list[tuple[str, int]]]:
    """Channel and bin that each parameter belongs to, for those of bins that are counted on from channel to channel, in
    the order of the parameters.
    """
    result: dict[str, list[tuple[str, int]]] = {}
    for channel in sorted(spec["channels"], key=lambda c: str(c["name"])):
        kinds = {m["name"]: m["type"] for s in channel["samples"] for m in s["modifiers"]}
        for name, kind in kinds.items():
            if EFFECTS[kind].covers_channels:
                bins = range(len(channel["samples"][0]["data"]))
                result.setdefault(name, []).extend((channel["name"], b) for b in bins)
    return result


def _numbers(
    before: Mapping[str, list[tuple[str, int]]],
    after: Mapping[str, list[tuple[str, int]]],
    now: Callable[[str], str] = str,
) -> dict[str, str]:
    """The new name of each bin that is still there; `now` is a channel's new name."""
    result: dict[str, str] = {}
    for name, bins in before.items():
        place = {where: i for i, where in enumerate(after.get(name, []))}
        for i, (channel, b) in enumerate(bins):
            if (now(channel), b) in place:
                result[f"{name}[{i}]"] = f"{name}[{place[now(channel), b]}]"
    return result


def _reorder(
    spec: dict[str, Any],
    before: Mapping[str, list[tuple[str, int]]],
    after: Mapping[str, list[tuple[str, int]]],
    now: Callable[[str], str],
) -> None:
    """Settings of parameters of bins in the order of the channels' new names, and what names bins by number."""
    for name, bins in before.items():
        place = {(now(channel), b): i for i, (channel, b) in enumerate(bins)}
        order = [place[where] for where in after[name]]
        for config in configs_of(spec):
            for entry in config.get("parameters", []):
                for key in set(PYHF_SETTINGS) & entry.keys() if entry["name"] == name else ():
                    if isinstance(entry[key], list):
                        entry[key] = [entry[key][i] for i in order]
    moved = _numbers(before, after, now)
    _refer(spec, lambda name: moved.get(name, name))


def prune(spec: Mapping[str, Any], channels: Collection[str]) -> dict[str, Any]:
    """The workspace without these channels, and without settings of parameters that went with them (`settle`).

    Raises InputError for a channel that does not exist, or when none would be left.

    Examples:
        >>> both = bumpfit.workspace.combine([spec, bumpfit.workspace.rename(spec, channels={"SR": "CR"})])
        >>> [channel["name"] for channel in bumpfit.workspace.prune(both, ["CR"])["channels"]]
        ['SR']
    """
    result = without_channels(spec, channels)
    settle(result, spec)
    return result


def without_channels(spec: Mapping[str, Any], channels: Collection[str]) -> dict[str, Any]:
    """A copy without these channels and their observations, settings as they are; raises InputError as `prune`."""
    result = copy.deepcopy(dict(spec))
    unknown = sorted(set(channels) - {c["name"] for c in result["channels"]})
    if unknown:
        raise InputError(f"cannot remove {', '.join(unknown)}: the workspace has no such channel")
    for key in ("channels", "observations"):
        if key in result:
            result[key] = [entry for entry in result[key] if entry["name"] not in channels]
    if not result["channels"]:
        raise InputError("removing these channels leaves none")
    return result


def settle(rest: dict[str, Any], whole: Mapping[str, Any]) -> None:
    """Settings, correlations and groups of what is left of a workspace, for the parameters that are left.

    Parameters of bins that run over several channels lose the bins of those that went, and their settings; what names
    the others by number follows. Correlated parameters that went leave the covariance of the others as it is.

    Raises InputError where a formula or the parameter of interest names a bin that went.
    """
    before = bins_over_channels(whole)
    left = _numbers(before, bins_over_channels(rest))
    used = _parameter_names(rest)
    gone = {f"{name}[{i}]" for name, bins in before.items() for i in range(len(bins))} - left.keys()

    def there(name: str) -> bool:
        return name not in gone and name.partition("[")[0] in used

    for config, as_it_was in zip(configs_of(rest), _configs_kept(rest, whole), strict=True):
        if "parameters" in config:
            config["parameters"] = [entry for entry in config["parameters"] if entry["name"] in used]
        _keep_constraints(config, rest, whole, as_it_was)
        for entry in config.get("parameters", []):
            for key in set(PYHF_SETTINGS) & entry.keys() if entry["name"] in before else ():
                if isinstance(entry[key], list):
                    entry[key] = [v for i, v in enumerate(entry[key]) if f"{entry['name']}[{i}]" in left]
        if "correlations" in config:
            config["correlations"] = _correlations_left(config["correlations"], there)
        if "groups" in config:
            kept = {
                group: [m for m in members if there(m) or any(fnmatch.fnmatchcase(n, m) for n in used)]
                for group, members in config["groups"].items()
            }
            config["groups"] = {group: members for group, members in kept.items() if members}

    def new(name: str) -> str:
        if name in gone:
            raise InputError(f"'{name}' goes with its channel, but a formula or the parameter of interest names it")
        return left.get(name, name)

    _refer(rest, new)


def _configs_kept(rest: Mapping[str, Any], whole: Mapping[str, Any]) -> list[Any]:
    """The configurations in the whole workspace of those that are left, in their order."""
    if "measurements" not in rest:
        return configs_of(whole)
    by_name = {m["name"]: m["config"] for m in whole["measurements"]}
    return [by_name[m["name"]] for m in rest["measurements"]]


def _keep_constraints(
    config: dict[str, Any], rest: Mapping[str, Any], whole: Mapping[str, Any], as_it_was: Mapping[str, Any]
) -> None:
    """Write start, range and constraint of parameters whose modifiers went while formulas still name them.

    Raises InputError for one a bin, whose number of bins nothing tells any more, and for a Poisson constraint.
    """
    orphans = _parameter_names(rest) - {m["name"] for m in modifiers_of(rest)}
    had = {m["name"] for m in modifiers_of(whole)}
    lost = sorted(orphans & had)
    if not lost:
        return
    sets = declare(whole["channels"], as_it_was.get("parameters", [])).sets
    for name in lost:
        group = sets[name]
        if not group.scalar or group.constraint == "poisson":
            raise InputError(
                f"the modifiers of '{name}' go, but a formula names it; keep one of them, or take out both"
            )
        entry = _settings_of(config, name)
        entry |= {"inits": list(group.inits), "bounds": [list(b) for b in group.bounds]}
        if group.constraint == "normal":
            entry |= {"auxdata": list(group.auxdata), "sigmas": list(group.widths)}


def _correlations_left(entries: Sequence[Mapping[str, Any]], there: Callable[[str], bool]) -> list[dict[str, Any]]:
    """Correlations between two or more parameters that are left."""
    result = []
    for entry in entries:
        kept = [i for i, name in enumerate(entry["parameters"]) if there(name)]
        if len(kept) > 1:
            matrix = [[entry["matrix"][i][j] for j in kept] for i in kept]
            result.append({"parameters": [entry["parameters"][i] for i in kept], "matrix": matrix})
    return result
