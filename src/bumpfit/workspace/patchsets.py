"""JSON patches and patchsets: many signals for one background-only workspace, as pyhf has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bumpfit.errors import InputError
from bumpfit.foreign import read_json
from bumpfit.workspace.edit import ALGORITHMS, digest

Patch = str | Path | Sequence[Any] | Mapping[str, Any]


def apply_patch(
    spec: dict[str, Any], patch: Patch, name: str | None = None, *, any_workspace: bool = False
) -> dict[str, Any]:
    """The specification with a JSON patch (a list of operations, or its file) or one patch of a patchset applied.

    Raises InputError for a patch that does not fit, for a patchset without `name` or with an unknown one, and, unless
    `any_workspace`, for one whose digests are those of another workspace.
    """
    import jsonpatch

    content: Any = read_json(patch) if isinstance(patch, str | Path) else patch
    if isinstance(content, Mapping):
        chosen = patch_of(content, name)
        if not any_workspace:
            check_digests(content, spec)
        content = chosen["patch"]
    elif name is not None:
        raise InputError(f"the patch is a single one, so it has no patch named '{name}'")
    try:
        result = jsonpatch.JsonPatch(content).apply(spec)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"the patch does not fit the workspace: {reason[:200]}") from error
    if not isinstance(result, dict):
        raise InputError("the patch does not fit the workspace: what is left of it is not a JSON object")
    return result


def digests_of(patchset: Mapping[str, Any]) -> dict[str, str]:
    """The digests of the workspace that a patchset was made for, by algorithm, in lower case.

    Raises InputError for what is no digest, and for algorithms that are not known: it would not be checked.
    """
    metadata = patchset.get("metadata")
    digests = (metadata.get("digests") if isinstance(metadata, Mapping) else None) or {}
    if not isinstance(digests, Mapping) or not all(isinstance(value, str) for value in digests.values()):
        raise InputError(f"the digests of a patchset are hexadecimal texts by algorithm, got {digests!r}")
    found = {str(name).lower(): str(value).strip().lower() for name, value in digests.items()}
    unknown = [name for name in found if name not in ALGORITHMS]
    if unknown:
        raise InputError(
            f"the patchset's digest by {', '.join(unknown)} cannot be checked; known are {', '.join(ALGORITHMS)}; if "
            "the workspace is the right one, allow it (--patch-any, in Python any_workspace=True)"
        )
    return found


def check_digests(patchset: Mapping[str, Any], spec: Mapping[str, Any]) -> None:
    """Raise InputError when the patchset names other digests (of the JSON with sorted keys, as pyhf has it) than the
    workspace's.
    """
    for algorithm, expected in digests_of(patchset).items():
        found = digest(spec, algorithm)
        if found != expected:
            raise InputError(
                f"the patchset was made for another workspace: its {algorithm} is {expected}, that of this workspace "
                f"{found}; if that is meant, allow it (--patch-any, in Python any_workspace=True)"
            )


VERSION = "1.0.0"
"""Version of patchsets that are read; one that states none is taken for it."""


def patches_of(content: Mapping[str, Any]) -> list[Any]:
    """The patches of a patchset; raises InputError for anything else, and for what pyhf refuses as ambiguous: two
    patches of one name or with the same values, and another number of values than labels.
    """
    patches = content.get("patches")
    if not isinstance(patches, list) or not all(
        isinstance(p, Mapping) and isinstance(p.get("metadata"), Mapping) and "name" in p["metadata"] and "patch" in p
        for p in patches
    ):
        raise InputError("not a patch: expected a list of JSON patch operations or a patchset with named 'patches'")
    if not patches:
        raise InputError("the patchset holds no patches")
    if content.get("version", VERSION) != VERSION:
        raise InputError(f"the patchset has the version {content['version']!r}; known is {VERSION}")
    metadata = content.get("metadata")
    labels = metadata.get("labels") if isinstance(metadata, Mapping) else None
    names: set[str] = set()
    points: dict[tuple[Any, ...], str] = {}
    for patch in patches:
        name, values = str(patch["metadata"]["name"]), _values(patch)
        if name in names:
            raise InputError(f"the patchset has two patches of one name, '{name}'")
        names.add(name)
        if isinstance(labels, list) and values is not None and len(values) != len(labels):
            raise InputError(
                f"patch '{name}' has {len(values)} values for {len(labels)} labels, {', '.join(map(str, labels))}"
            )
        if values and points.setdefault(values, name) != name:
            raise InputError(f"the patches '{points[values]}' and '{name}' have the same values, {list(values)}")
    return patches


def _values(patch: Mapping[str, Any]) -> tuple[float | str, ...] | None:
    """The values of a patch, None where it states none; raises InputError for what is no list of numbers and texts."""
    values = patch["metadata"].get("values")
    if values is None:
        return None
    if not isinstance(values, list | tuple) or not all(isinstance(v, int | float | str) for v in values):
        raise InputError(
            f"the values of patch '{patch['metadata']['name']}' must be a list of numbers and texts, got "
            f"{str(values)[:60]}"
        )
    return tuple(values)


def _some(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")


def described(patchset: Mapping[str, Any]) -> list[tuple[str, tuple[Any, ...]]]:
    """Name and values of each patch of a patchset; raises InputError as `patches_of`."""
    return [(str(patch["metadata"]["name"]), _values(patch) or ()) for patch in patches_of(patchset)]


def patch_of(patchset: Mapping[str, Any], name: str | None = None) -> Mapping[str, Any]:
    """One patch with its metadata; without a name the only one. Raises InputError where there is none of this name,
    where a name is needed, and as `patches_of`.
    """
    found: dict[str, Mapping[str, Any]] = {str(p["metadata"]["name"]): p for p in patches_of(patchset)}
    names = _some(list(found))
    if name is None and len(found) > 1:
        raise InputError(f"the patchset holds {len(found)} patches; name one of {names}")
    if name is not None and name not in found:
        raise InputError(f"there is no patch '{name}' in the patchset; it has {names}")
    return next(iter(found.values())) if name is None else found[name]
