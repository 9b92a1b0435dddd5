"""What a file holds: which columns form collections of objects, and how their names are found."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping

from bumpfit.errors import InputError
from bumpfit.events.names import Part, normal

# The usual other names. An alias is used only when the file has no branch of that very name.
COLLECTIONS: Mapping[str, tuple[str, ...]] = {
    "met": ("missinget",),
    "missingenergy": ("missinget", "met"),
    "missinget": ("met",),
    "genmet": ("genmissinget",),
    "ht": ("scalarht",),
    "ele": ("electron",),
    "mu": ("muon",),
    "gamma": ("photon",),
    "genparticle": ("particle", "genpart"),
    "particle": ("genparticle", "genpart"),
    "largejet": ("fatjet",),
    "flow": ("eflow",),
}
FIELDS: Mapping[str, tuple[str, ...]] = {
    "pt": ("pt", "et", "met"),
    "e": ("e", "energy"),
    "m": ("mass", "m"),
    "px": ("px",),
    "py": ("py",),
    "pz": ("pz",),
    "eta": ("eta",),
    "phi": ("phi",),
    "charge": ("charge", "q"),
    "btag": ("btag",),
    "tautag": ("tautag",),
}
LEPTONS = ("electron", "muon")
REFERENCES = ("constituents", "particles", "particle")  # the fields of Delphes that point to other objects
SINGLE = ("missinget", "genmissinget", "scalarht", "event", "met", "puppimissinget")


@dataclasses.dataclass(frozen=True)
class Field:
    """Where a value is: the column to read, and the field inside it when the column holds records."""

    column: str
    member: str | None = None


@dataclasses.dataclass(frozen=True)
class Collection:
    """Objects of one kind: name as in the file, fields by normal name, and the column that counts them (if any)."""

    name: str
    fields: Mapping[str, Field]
    counter: str | None = None

    def find(self, observable: str) -> Field | None:
        """The stored branch of an observable: of that very name, else of one of its usual names."""
        names = (observable, *FIELDS.get(observable, ()))
        return next((self.fields[name] for name in names if name in self.fields), None)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Collections and flat columns of a source, by normal name."""

    collections: Mapping[str, Collection]
    columns: Mapping[str, str]

    def collection(self, part: Part) -> tuple[Collection, str] | None:
        """The collection that a part names, and the digits left over for an index.

        The longest name that exists wins: `ParticleFlowJet02` is a branch, `jet02` the third jet; in
        `ParticleFlowJet020` the last 0 is the index.
        """
        for kept in range(len(part.digits), -1, -1):
            found = self._named(part.stem + part.digits[:kept])
            if found is not None:
                return found, part.digits[kept:]
        return None

    def is_leptons(self, part: Part) -> bool:
        """Whether the part means electrons and muons together."""
        name = normal(part.stem)
        return name in ("lepton", "leptons") and name not in self.collections

    def column(self, name: str) -> str | None:
        """The flat column of this name, or None."""
        return self.columns.get(name) or self.columns.get(normal(name))

    def _named(self, name: str) -> Collection | None:
        plain = normal(name)
        for candidate in (plain, *COLLECTIONS.get(plain, ())):
            if candidate in self.collections:
                return self.collections[candidate]
        return self._named(name[:-1]) if plain.endswith("s") and len(plain) > 2 else None

    def unknown_object(self, name: str) -> InputError:
        """The error for an object that the file does not have."""
        there = sorted((c.name for c in self.collections.values()), key=str.lower)
        listed = ", ".join(there) if there else "none; columns: " + _some(set(self.columns.values()))
        return InputError(f"there is no branch '{name}'{_close(name, there)}; the file has {listed}")

    def unknown_column(self, name: str) -> InputError:
        """The error for a name without a dot that is no column."""
        there = sorted(set(self.columns.values()), key=str.lower)
        objects = sorted((c.name for c in self.collections.values()), key=str.lower)
        listed = f"the columns {_some(there)}" if there else "no flat columns"
        more = f", and the objects {', '.join(objects)} (as in {objects[0].lower()}0.pt)" if objects else ""
        return InputError(f"there is no column '{name}'{_close(name, there)}; the file has {listed}{more}")


def unknown_observable(name: str, collection: Collection, known: Iterable[str]) -> InputError:
    """The error for an observable that is neither stored nor computable."""
    stored = sorted({field.member or field.column.split(".")[-1] for field in collection.fields.values()})
    computed = sorted(known)
    return InputError(
        f"{collection.name} has no observable '{name}'{_close(name, [*stored, *computed])}; "
        f"stored: {', '.join(stored)}; computed: {', '.join(computed)}"
    )


def build(columns: Mapping[str, tuple[str, ...] | None], jagged: Iterable[str]) -> Layout:
    """Sort columns into collections.

    Understood are `Jet.PT` (Delphes), `Jet_pt` with a counter `nJet` or `Jet_size` or with other lists `Jet_...`
    (NanoAOD), and lists of records. A counter is used for the size only when its name says whose it is.

    Args:
        columns: column name, and the member names when it holds (lists of) records, else None.
        jagged: columns that hold lists.
    """
    fields: dict[str, dict[str, Field]] = {}
    titles: dict[str, str] = {}
    flat: dict[str, str] = {}

    def add(title: str, name: str, field: Field) -> None:
        titles.setdefault(normal(title), title)
        fields.setdefault(normal(title), {}).setdefault(normal(re.sub(r"\[.*\]$", "", name)), field)

    lists = set(jagged)
    counted = {name[1:] for name in columns if re.match(r"n[A-Z]", name)}
    counted |= {name.removesuffix("_size") for name in columns if name.endswith("_size")}
    prefixes = [name.rpartition("_")[0] for name in lists if "." not in name]
    counted |= {prefix for prefix in prefixes if prefix and prefixes.count(prefix) > 1}
    for name, members in columns.items():
        if members is not None:
            for member in members:
                add(name, member, Field(name, member))
            continue
        title, dot, rest = name.partition(".")
        if dot:
            add(title, rest, Field(name))
            continue
        flat[name] = flat[normal(name)] = name
        owners = [title for title in counted if name.startswith(f"{title}_")] if name in lists else []
        if owners:
            title = max(owners, key=len)
            add(title, name[len(title) + 1 :], Field(name))
    counters = {
        key: next((flat[c] for c in (f"{title}_size", f"n{title}") if c in flat and flat[c] not in lists), None)
        for key, title in titles.items()
    }
    return Layout({key: Collection(titles[key], fields[key], counters[key]) for key in fields}, flat)


def _some(names: Iterable[str], most: int = 60) -> str:
    ordered = sorted(names, key=str.lower)
    return ", ".join(ordered[:most]) + (f" and {len(ordered) - most} more" if len(ordered) > most else "")


def _close(name: str, there: Iterable[str]) -> str:
    others = [other for other in there if normal(other) != normal(name)]
    near = difflib.get_close_matches(normal(name), [normal(other) for other in others], 1, 0.75)
    original = next((other for other in others if near and normal(other) == near[0]), None)
    return f" (did you mean {original}?)" if original else ""
