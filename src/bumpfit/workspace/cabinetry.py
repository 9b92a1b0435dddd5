"""A cabinetry configuration: which YAML is one, and its checks.

The format is that of cabinetry 0.6 (https://cabinetry.readthedocs.io, "Configuration schema"). A key that is not known
is refused, for it could change the likelihood; what the keys mean for it is in `cabinetry_model`.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bumpfit.errors import InputError
from bumpfit.foreign import head_of, read_yaml

SUFFIXES = (".yml", ".yaml")
"""Endings of the names of configurations."""

SMOOTHING = "353QH, twice"
"""The one algorithm of cabinetry."""

Entry = Mapping[str, Any]

_GENERAL = re.compile(r"""^["']?General["']?\s*:""", re.MULTILINE)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_names(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and bool(value) and all(map(_is_text, value)))


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) >= 2 and all(map(_is_number, value))


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


KINDS: Mapping[Callable[[Any], bool], str] = {
    _is_text: "a text", _is_number: "a number (1.0e-3, not 1e-3, in YAML)", _is_flag: "True or False",
    _is_names: "a name or a list of names", _is_numbers: "a list of numbers", _is_table: "a table of keys",
    _is_list: "a list",
}  # fmt: skip

PLACES = {"Regions": _is_names, "Samples": _is_names}
TREES = {"Tree": _is_text, "Filter": _is_text, "Weight": _is_text, "SamplePath": _is_names}
KEYS: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "General": {
        "Measurement": _is_text, "POI": _is_text, "InputPath": _is_text, "HistogramFolder": _is_text,
        "Fixed": _is_list, "VariationPath": _is_text,
    },
    "Fixed": {"Name": _is_text, "Value": _is_number},
    "Regions": {
        "Name": _is_text, "Variable": _is_text, "Binning": _is_numbers, "Filter": _is_text, "RegionPath": _is_text
    },
    "Samples": {
        "Name": _is_text, **TREES, "Data": _is_flag, "DisableStaterror": _is_flag, "Regions": _is_names
    },
    "NormFactors": {"Name": _is_text, **PLACES, "Nominal": _is_number, "Bounds": _is_numbers},
    "Systematics": {
        "Name": _is_text, "Type": _is_text, "Up": _is_table, "Down": _is_table, **PLACES, "Smoothing": _is_table,
        "ModifierName": _is_text,
    },
    "Up": {
        **TREES, "Variable": _is_text, "RegionPath": _is_text, "Normalization": _is_number, "Symmetrize": _is_flag,
        "VariationPath": _is_text,
    },
    "Smoothing": {"Algorithm": _is_text, **PLACES},
}  # fmt: skip
"""Keys of each table, and what they hold; the template `Down` has those of `Up`."""

NEEDED = {
    "General": ("Measurement", "InputPath", "HistogramFolder"), "Fixed": ("Name", "Value"), "Regions": ("Name",),
    "Samples": ("Name",), "NormFactors": ("Name",), "Systematics": ("Name", "Type", "Up", "Down"),
    "Smoothing": ("Algorithm",),
}  # fmt: skip
LISTS = ("Regions", "Samples", "NormFactors", "Systematics")


def looks_like_cabinetry(path: str | Path) -> bool:
    """Whether a file is a cabinetry configuration: by its ending, and a key `General` at the top."""
    return _GENERAL.search(head_of(path, SUFFIXES)) is not None


def read_cabinetry(path: str | Path) -> dict[str, Any]:
    """The checked content of a configuration: its tables as they are, the list `Systematics` always there.

    Raises InputError with the place of the first fault.
    """
    return _Checks(str(path)).configuration(read_yaml(path, "a cabinetry configuration"))


def chosen(name: str, entry: Entry, key: str) -> bool:
    """Whether the list `key` (Regions, Samples) of an entry has a name; without the list it has all."""
    names = entry.get(key, name)
    return name in ([names] if isinstance(names, str) else names)


class _Checks:
    """Raises InputError where a configuration departs from the format."""

    def __init__(self, path: str) -> None:
        self.path = path

    def wrong(self, where: str, reason: str) -> InputError:
        return InputError(f"{where} of the cabinetry configuration '{self.path}': {reason}")

    def configuration(self, content: Any) -> dict[str, Any]:
        if not isinstance(content, Mapping) or not isinstance(content.get("General"), Mapping):
            raise InputError(
                f"'{self.path}' is no cabinetry configuration: it has no table General (a published spectrum is for "
                "bumpfit fit)"
            )
        for key in content:
            if key not in ("General", *LISTS):
                raise self.wrong(f"the key '{key}'", f"it is not known; expected General, {', '.join(LISTS)}")
        self.table("General", content["General"], "General")
        for i, entry in enumerate(content["General"].get("Fixed", [])):
            self.table("Fixed", entry, f"Fixed[{i}]")
        found: dict[str, Any] = {"General": content["General"], "Systematics": []}
        for key in LISTS:
            if key in content or key != "Systematics":
                found[key] = self.entries(key, content.get(key))
        self.data(found["Samples"])
        self.names(found)
        for i, systematic in enumerate(found["Systematics"]):
            self.systematic(systematic, f"Systematics[{i}] '{systematic['Name']}'")
        return found

    def table(self, kind: str, entry: Any, where: str) -> None:
        if not isinstance(entry, Mapping):
            raise self.wrong(where, f"expected a table of keys, got {type(entry).__name__}")
        keys = KEYS["Up" if kind == "Down" else kind]
        for key, value in entry.items():
            if key not in keys:
                raise self.wrong(where, f"the key '{key}' is not known; known are {', '.join(keys)}")
            if not keys[key](value):
                raise self.wrong(where, f"{key} must be {KINDS[keys[key]]}, got {str(value)[:50]!r}")
        for key in NEEDED.get(kind, ()):
            if key not in entry:
                raise self.wrong(where, f"the key '{key}' is missing")

    def entries(self, kind: str, content: Any) -> list[Entry]:
        if not isinstance(content, list) or (not content and kind != "Systematics"):
            raise self.wrong(kind, "expected a list of one or more tables")
        for i, entry in enumerate(content):
            name = entry.get("Name") if isinstance(entry, Mapping) else None
            self.table(kind, entry, f"{kind}[{i}]" + (f" '{name}'" if name else ""))
        names = [entry["Name"] for entry in content]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise self.wrong(kind, f"the name '{twice}' is there twice")
        for i, entry in enumerate(content):
            where = f"{kind}[{i}] '{entry['Name']}'"
            edges = entry.get("Binning", [])
            if any(a >= b for a, b in itertools.pairwise(edges)):
                raise self.wrong(where, "the edges of Binning must increase")
            bounds = entry.get("Bounds", [0, 1])
            if len(bounds) != 2 or not bounds[0] < bounds[1]:
                raise self.wrong(where, f"Bounds must be two numbers, the lower first, got {bounds}")
        return content

    def data(self, samples: list[Entry]) -> None:
        names = [sample["Name"] for sample in samples if sample.get("Data", False)]
        if len(names) != 1:
            shown = f": {', '.join(names)}" if names else ""
            raise self.wrong("Samples", f"expected exactly one with Data: True, got {len(names)}{shown}")

    def names(self, found: Mapping[str, Any]) -> None:
        """Lists name regions and samples that exist."""
        known = {key: {entry["Name"] for entry in found[key]} for key in ("Regions", "Samples")}
        for kind in ("Samples", "NormFactors", "Systematics"):
            for i, entry in enumerate(found[kind]):
                for part, of in ((entry, ""), (entry.get("Smoothing", {}), "Smoothing: ")):
                    for key, there in known.items():
                        names = part.get(key, [])
                        for name in [names] if isinstance(names, str) else names:
                            if name not in there:
                                raise self.wrong(
                                    f"{kind}[{i}] '{entry['Name']}'",
                                    f"{of}{key} names '{name}'; there are {', '.join(sorted(there))}",
                                )

    def systematic(self, entry: Entry, where: str) -> None:
        for end in ("Up", "Down"):
            self.table(end, entry[end], f"{end} of {where}")
        if "Smoothing" in entry:
            self.table("Smoothing", entry["Smoothing"], f"Smoothing of {where}")
            if entry["Smoothing"]["Algorithm"] != SMOOTHING:
                raise self.wrong(
                    f"Smoothing of {where}", f"unknown algorithm '{entry['Smoothing']['Algorithm']}'; "
                    f"expected '{SMOOTHING}'",
                )  # fmt: skip
        if entry["Type"] == "Normalization":
            for end in ("Up", "Down"):
                if list(entry[end]) != ["Normalization"]:
                    raise self.wrong(f"{end} of {where}", "the type Normalization needs the key Normalization only")
        elif entry["Type"] == "NormPlusShape":
            if any("Normalization" in entry[end] for end in ("Up", "Down")):
                raise self.wrong(where, "the key Normalization belongs to the type Normalization")
            if entry["Up"].get("Symmetrize", False):
                raise self.wrong(where, "Symmetrize belongs to Down")
            if entry["Down"].get("Symmetrize", False) and len(entry["Down"]) > 1:
                raise self.wrong(where, "Down is symmetrised and names a template; leave one of them out")
        else:
            raise self.wrong(where, f"unknown Type '{entry['Type']}'; expected Normalization or NormPlusShape")
