"""Read workspaces: HistFactory JSON with patches and patchsets, HS3 JSON, HistFactory XML, datacards of Combine,
configurations of cabinetry and TRExFitter.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bumpfit.errors import InputError, InputWarning
from bumpfit.foreign import read_json
from bumpfit.workspace.cabinetry import SUFFIXES
from bumpfit.workspace.cabinetry_model import from_cabinetry
from bumpfit.workspace.compile import compile_spec
from bumpfit.workspace.datacard import looks_like_card
from bumpfit.workspace.datacard_model import from_card
from bumpfit.workspace.effects import DEFAULT_INTERPOLATION, correlations_of, declare, with_correlations
from bumpfit.workspace.hs3_read import from_hs3, is_hs3
from bumpfit.workspace.model import Channel, Model
from bumpfit.workspace.patchsets import Patch, apply_patch
from bumpfit.workspace.trexfitter import looks_like_trexfitter
from bumpfit.workspace.trexfitter_model import from_trexfitter
from bumpfit.workspace.validate import check_content, check_schema
from bumpfit.workspace.xml import read_xml

Source = str | Path | Mapping[str, Any]


def load_json(path: str | Path) -> Any:
    """The content of a JSON file in UTF-8, UTF-16 or UTF-32; raises InputError for a missing file or invalid JSON,
    with the line, see `foreign.read_json`.
    """
    return read_json(path)


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def read_spec(source: Source) -> dict[str, Any]:
    """The HistFactory JSON of a file of any format that `read` knows, or of a dict, with its structure checked.

    Raises InputError with the place of the first fault. Values are not looked at, so that a faulty workspace can be
    taken apart.
    """
    spec = _load(source)
    if is_hs3(spec):
        spec, _ = from_hs3(spec, None)
    check_schema(spec)
    assert isinstance(spec, dict)
    return spec


def read(
    source: Source,
    patch: Patch | None = None,
    *,
    patch_name: str | None = None,
    measurement: str | None = None,
    poi: str | None = None,
    interpolation: Mapping[str, str] | None = None,
    allow_negative: bool = False,
    any_workspace: bool = False,
) -> Model:
    """Read a workspace and compile it.

    `source`: a file or a dict, in HistFactory JSON (a workspace, or only its model part) or HS3 JSON; a top-level
    XML file of HistFactory with its ROOT files (`xml.read_xml` takes their folder); a datacard of Combine
    (`from_card` has options for it); or a configuration of cabinetry (`.yml`, `.yaml`) or TRExFitter (`.config`).
    `patch`: a JSON patch or a patchset (file or content), with
    `patch_name` for a patchset; `patch` may also be the pair (patchset, name). `measurement`: its name (HS3:
    analysis), by default the first. `poi`: another parameter of interest, "" for none. `interpolation`: {"normsys":
    "code4" or "code1", "histosys": "code4p" or "code0"}, by default pyhf's codes 4 and 4p. `allow_negative`: accept
    samples with negative yields. `any_workspace`: accept a patchset whose digests are those of another workspace.

    Raises InputError with the place of the first fault. Warns (InputWarning) of settings without a parameter, and of
    what may not be meant.

    Examples:
        >>> from bumpfit.workspace import build
        >>> signal = build.sample("signal", [5.0, 9.0], build.modifier("normfactor", "mu"))
        >>> background = build.sample("background", [50.0, 30.0], build.modifier("normsys", "norm", (0.9, 1.1)))
        >>> spec = build.workspace({"SR": [signal, background]}, {"SR": [58, 41]}, "mu")
        >>> model = bumpfit.workspace.read(spec)
        >>> model.names
        ('mu', 'norm')
    """
    spec = _load(source)
    if patch is not None:
        if isinstance(patch, tuple) and len(patch) == 2 and isinstance(patch[1], str):
            patch, patch_name = patch
        if not isinstance(spec, dict):
            raise InputError("a patch needs a workspace that is a JSON object")
        spec = apply_patch(spec, patch, patch_name, any_workspace=any_workspace)
    elif patch_name is not None:
        raise InputError(f"the patch name '{patch_name}' was given without a patchset")
    if is_hs3(spec):
        spec, codes = from_hs3(spec, measurement)
        interpolation, measurement = {**codes, **(interpolation or {})}, None
    return compile_model(
        spec, measurement=measurement, poi=poi, interpolation=interpolation, allow_negative=allow_negative
    )


def _copy(node: Any) -> Any:
    """A JSON document apart from the caller's (much quicker than copy.deepcopy)."""
    if isinstance(node, Mapping):
        return {key: _copy(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_copy(value) for value in node]
    return node


def _load(source: Source) -> Any:
    if not isinstance(source, str | Path):
        return _copy(source)
    if looks_like_card(source):
        return from_card(source)
    if Path(source).suffix.lower() == ".xml":
        return read_xml(source)
    if Path(source).suffix.lower() in SUFFIXES:
        return from_cabinetry(source)
    if looks_like_trexfitter(source):
        return from_trexfitter(source)
    return load_json(source)


def compile_model(
    spec: Any,
    *,
    measurement: str | None = None,
    poi: str | None = None,
    interpolation: Mapping[str, str] | None = None,
    allow_negative: bool = False,
) -> Model:
    """Check a HistFactory specification (workspace or model form) and compile it; arguments as in `read`."""
    check_schema(spec)
    check_content(spec, allow_negative=allow_negative)
    if "measurements" in spec:
        chosen = _measurement(spec["measurements"], measurement)
        settings = chosen["config"]["parameters"]
        poi = chosen["config"]["poi"] if poi is None else poi
        # what was chosen comes first, so that the specification of the model stands for it
        first = {**chosen, "config": {**chosen["config"], "poi": poi}}
        spec = {**spec, "measurements": [first, *(m for m in spec["measurements"] if m is not chosen)]}
    else:
        settings = spec.get("parameters", [])
        poi = "mu" if poi is None else poi
    channels = sorted(spec["channels"], key=lambda c: str(c["name"]))
    declared = declare(channels, settings)
    sets = declared.sets
    if declared.unused:
        warnings.warn(
            f"the measurement sets {_some(list(declared.unused))}, which no modifier has; a name may be misspelt",
            InputWarning,
            stacklevel=3,
        )
    codes = {**DEFAULT_INTERPOLATION, **(interpolation or {})}
    described, offset = [], 0
    for channel in channels:
        size = len(channel["samples"][0]["data"])
        described.append(
            Channel(channel["name"], offset, offset + size, tuple(sorted(s["name"] for s in channel["samples"])))
        )
        offset += size
    compiled, entries = compile_spec(channels, declared, with_correlations(declared, correlations_of(spec)), codes)
    interest = sets.get(poi) if poi else None
    if interest is not None and not interest.scalar and len(interest.inits) == 1:
        poi = f"{poi}[0]"  # pyhf names it without the index
    model = Model(
        spec=spec,
        channels=tuple(described),
        parameters=tuple(p for group in sets.values() for p in group.parameters()),
        poi=poi or None,
        observed=_observed(spec, described),
        auxdata=np.array([a for group in sets.values() for a in group.auxdata]),
        compiled=compiled,
        sampled=tuple(entries),
        interpolation=codes,
        unused=declared.unused,
    )
    _check_model(model)
    return model


def _measurement(measurements: Sequence[Mapping[str, Any]], name: str | None) -> Mapping[str, Any]:
    if name is None:
        return measurements[0]
    for candidate in measurements:
        if candidate["name"] == name:
            return candidate
    raise InputError(f"there is no measurement '{name}'; the workspace has {_some([m['name'] for m in measurements])}")


def _observed(spec: Mapping[str, Any], channels: Sequence[Channel]) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    if "observations" not in spec:
        return None
    found = {o["name"]: o["data"] for o in spec["observations"]}
    parts = []
    for channel in channels:
        if channel.name not in found:
            raise InputError(f"channel '{channel.name}' has no observation; there are {_some(list(found))}")
        data = found[channel.name]
        if len(data) != channel.last - channel.first:
            raise InputError(
                f"mismatching binnings: channel '{channel.name}' has {channel.last - channel.first} bins but its "
                f"observation has {len(data)}"
            )
        parts.append(np.asarray(data, dtype=np.float64))
    return np.concatenate(parts)


def _check_model(model: Model) -> None:
    if model.poi is not None:
        if model.poi not in model.names:
            raise InputError(
                f"the parameter of interest '{model.poi}' does not exist; no modifier of one parameter has this name "
                f"(there are {_some([p.name for p in model.parameters if '[' not in p.name])}); a patch may be "
                f"missing, "
                'or read with poi="" for a model without one'
            )
        i = model.index(model.poi)
        if model.compiled.touched_first[i] == model.compiled.touched_last[i]:
            users = sorted(
                {
                    sample["name"]
                    for channel in model.spec["channels"]
                    for sample in channel["samples"]
                    if any(m["name"] == model.poi for m in sample["modifiers"])
                }
            )
            raise InputError(
                f"the parameter of interest '{model.poi}' has no effect: sample {_some(users)} predicts no events in "
                f"any bin"
            )
    if model.observed is not None:
        model.split()
