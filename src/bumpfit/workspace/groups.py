"""Groups of nuisance parameters, that a measurement names: `{"groups": {"theory": ["a", "b"]}}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bumpfit.workspace.structure import Path, check_type


def check_groups(groups: Any, path: Path, spec: Any) -> None:
    """Raise InputError unless this is an object of lists of names."""
    check_type(groups, "object", path, spec)
    for name, members in groups.items():
        check_type(members, "array", [*path, name], spec)
        for i, member in enumerate(members):
            check_type(member, "string", [*path, name, i], spec)


def groups_of(spec: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The groups that a workspace (its first measurement) or a model states."""
    holder = spec["measurements"][0]["config"] if "measurements" in spec else spec
    return {str(name): tuple(map(str, members)) for name, members in holder.get("groups", {}).items()}
