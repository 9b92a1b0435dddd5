"""What a file holds: which columns form collections of objects, and how their names are found."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from bumpfit.errors import InputError
from bumpfit.events.names import Names, Part, normal

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
    "pt": ("pt", "et", "met", "fcoordinates.fpt"),
    "e": ("e", "energy", "fcoordinates.fe"),
    "m": ("mass", "m", "fcoordinates.fm"),
    "px": ("px", "momentum.x", "fcoordinates.fx"),
    "py": ("py", "momentum.y", "fcoordinates.fy"),
    "pz": ("pz", "momentum.z", "fcoordinates.fz"),
    "eta": ("eta", "fcoordinates.feta"),
    "phi": ("phi", "fcoordinates.fphi"),
    "charge": ("charge", "q"),
    "btag": ("btag",),
    "tautag": ("tautag",),
}
LEPTONS = ("electron", "muon")
REFERENCES = ("constituents", "particles", "particle")  # the fields of Delphes that point to other objects
ATLAS = ("auxdyn", "aux")
"""What the collections of ATLAS derivations end in; their momenta and masses are in MeV."""
SINGLE = ("missinget", "genmissinget", "scalarht", "event", "met", "puppimissinget")


@dataclasses.dataclass(frozen=True)
class Field:
    """Where a value is: the column to read, and the field inside it when the column holds records."""

    column: str
    member: str | None = None


@dataclasses.dataclass(frozen=True)
class Collection:
    """Objects of one kind: name as in the file, fields by name, and the column that counts them (if any).

    `lone` says that every event has one object and its fields hold one value an event.
    """

    name: str
    fields: Names[Field]
    counter: str | None = None
    lone: bool = False

    def find(self, observable: str) -> Field | None:
        """The stored branch of an observable: of that very name, else of one of its usual names.

        Raises:
            InputError: the name fits several branches, none of them exactly.
        """
        names = (observable, *FIELDS.get(normal(observable), ()))
        return next((self.fields[name] for name in names if name in self.fields), None)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Collections, groups of scalar columns with one prefix, flat columns, and all columns of a source, by name."""

    collections: Names[Collection]
    groups: Names[Collection]
    columns: Names[str]
    branches: Names[str]

    def collection(self, part: Part) -> tuple[Collection, str] | None:
        """The collection that a part names, and the digits left over for an index.

        An exact name comes first, then the longest that exists: `ParticleFlowJet02` is a branch, `jet02` the third jet;
        in `ParticleFlowJet020` the last 0 is the index. Groups of scalars (`MET_pt`, `MET_phi`) come after collections.

        Raises:
            InputError: the name fits several, none of them exactly.
        """
        lengths = range(len(part.digits), -1, -1)
        for kinds in (self.collections, self.groups):
            for kept in lengths:
                if part.stem + part.digits[:kept] in kinds.exact:
                    return kinds.exact[part.stem + part.digits[:kept]], part.digits[kept:]
        for kept in lengths:
            found = self._named(part.stem + part.digits[:kept])
            if found is not None:
                return found, part.digits[kept:]
        return None

    def is_leptons(self, part: Part) -> bool:
        """Whether the part means electrons and muons together."""
        name = normal(part.stem)
        return name in ("lepton", "leptons") and name not in self.collections

    def column(self, name: str, *, quoted: bool = False) -> str | None:
        """The flat column of this name (quoted: any column), or None.

        Raises:
            InputError: the name fits several columns, none of them exactly.
        """
        return (self.branches if quoted else self.columns).get(name)

    def _named(self, name: str) -> Collection | None:
        plain = normal(name)
        for candidate in (name, *COLLECTIONS.get(plain, ()), f"{plain}s", *(f"{plain}{ending}" for ending in ATLAS)):
            for kinds in (self.collections, self.groups):
                if candidate in kinds:
                    return kinds[candidate]
        return self._named(name[:-1]) if plain.endswith("s") and len(plain) > 2 else None

    def in_mev(self) -> str | None:
        """A collection of an ATLAS derivation that stores momenta, whose unit is MeV; None where there is none."""
        atlas = (entry for entry in self.collections.values() if normal(entry.name).endswith(ATLAS))
        return next((entry.name for entry in atlas if entry.find("pt") or entry.find("m")), None)

    def unknown_object(self, name: str) -> InputError:
        """The error for an object that the file does not have."""
        there = [entry.name for entry in self.collections.values()]
        listed = nearest(name, there) if there else "none; columns: " + nearest(name, self.columns.exact)
        groups = [entry.name for entry in self.groups.values()]
        return InputError(f"there is no branch '{name}'{_close(name, [*there, *groups])}; the file has {listed}")

    def unknown_column(self, name: str, *, quoted: bool = False) -> InputError:
        """The error for a name without a dot that is no column."""
        there = list(self.branches if quoted else self.columns.exact)
        objects = [entry.name for entry in self.collections.values()]
        listed = f"the columns {nearest(name, there)}" if there else "no flat columns"
        first = min(objects, key=str.lower, default="").lower()
        more = f", and the objects {nearest(name, objects)} (as in {first}0.pt)" if objects else ""
        return InputError(f"there is no column '{name}'{_close(name, there)}; the file has {listed}{more}")


def unknown_observable(name: str, collection: Collection, known: Iterable[str]) -> InputError:
    """The error for an observable that is neither stored nor computable."""
    stored = list(collection.fields.exact)
    computed = sorted(known)
    return InputError(
        f"{collection.name} has no observable '{name}'{_close(name, [*stored, *computed])}; "
        f"stored: {nearest(name, stored)}; computed: {nearest(name, computed)}"
    )


def build(columns: Mapping[str, tuple[str, ...] | None], jagged: Iterable[str]) -> Layout:
    """Sort columns into collections.

    Understood are `Jet.PT` (Delphes), `Jet_pt` with a counter `nJet` or `Jet_size` or with other lists `Jet_...`
    (NanoAOD), lists of records, and what trees become as RNTuples (`_collection0.Jet_pt`). A prefix with a counter owns
    all lists that begin with it; lists without one belong to every prefix that they share with others. A counter is
    used for the size only when its name says whose it is. Scalars with a prefix (`MET_pt`) are groups.

    Args:
        columns: column name, and the member names when it holds (lists of) records, else None.
        jagged: columns that hold lists.
    """
    lists = set(jagged)
    fields: dict[str, dict[str, Field]] = {}
    groups: dict[str, dict[str, Field]] = {}
    flat: dict[str, str] = {}
    counted, shared = _prefixes(columns, lists)

    def add(there: dict[str, dict[str, Field]], title: str, name: str, field: Field) -> None:
        there.setdefault(title, {}).setdefault(re.sub(r"\[[^\]]*\]$", "", name) or name, field)

    for name, members in columns.items():
        title, dot, rest = _split(name)
        if members is not None:
            for member in members:
                add(fields, *(_imported(title, member, counted) or (name, member)), Field(name, member))
        elif dot:
            add(fields, *(_imported(title, rest, counted) or (title, rest)), Field(name))
            if _IMPORTED.fullmatch(title):
                flat.setdefault(rest, name)
        else:
            flat[name] = name
            if name not in lists:
                for place in (found.start() for found in re.finditer("_", name[:-1])):
                    if place:
                        add(groups, name[:place], name[place + 1 :], Field(name))
            elif owners := [title for title in counted if name.startswith(f"{title}_")]:
                title = max(owners, key=len)
                add(fields, title, name[len(title) + 1 :], Field(name))
            else:
                for title in sorted((title for title in shared if name.startswith(f"{title}_")), key=len):
                    add(fields, title, name[len(title) + 1 :], Field(name))
    return Layout(
        Names({title: _collection(title, found, flat, lists) for title, found in fields.items()}),
        Names({title: Collection(title, Names(found), lone=True) for title, found in groups.items()}),
        Names(flat),
        Names({**flat, **{name: name for name in columns}}),
    )


def _split(name: str) -> tuple[str, str, str]:
    """Collection and field of `Jet.PT`, and of `AnalysisJets:pt` as ATLAS calls it in RNTuples."""
    mark = ":" if "." not in name and "::" not in name else "."
    return name.partition(mark)


_IMPORTED = re.compile(r"_collection\d+")  # what ROOT's importer calls the collections that shared a counter


def _imported(title: str, name: str, counted: Iterable[str]) -> tuple[str, str] | None:
    """Collection and field of `Muon_pt` inside `_collection0`; None for collections with names of their own."""
    if not _IMPORTED.fullmatch(title) or "_" not in name:
        return None
    prefix = max((one for one in counted if name.startswith(f"{one}_")), key=len, default=name.partition("_")[0])
    return prefix, name[len(prefix) + 1 :]


def _prefixes(columns: Mapping[str, Any], lists: set[str]) -> tuple[set[str], set[str]]:
    """Prefixes that have a counter, and those without one that several lists share."""
    counted = {name[1:] for name in columns if re.match(r"n[A-Z]", name) and name not in lists}
    counted |= {name.removesuffix("_size") for name in columns if name.endswith("_size") and name not in lists}
    prefixes = [name.rpartition("_")[0] for name in lists if "." not in name]
    dotted = {name.partition(".")[0] for name in lists if "." in name}
    return counted, {prefix for prefix in prefixes if prefix and (prefix in dotted or prefixes.count(prefix) > 1)}


def _collection(title: str, fields: dict[str, Field], flat: Mapping[str, str], lists: set[str]) -> Collection:
    counter = next((flat[c] for c in (f"{title}_size", f"n{title}") if c in flat and flat[c] not in lists), None)
    lone = counter is None and not any(field.column in lists for field in fields.values())
    return Collection(title, Names(fields), counter, lone)


def nearest(name: str, there: Iterable[str], most: int = 12) -> str:
    """At most 12 names for a message: by alphabet where they are few, else the nearest to what was asked."""
    names = sorted(set(there), key=str.lower)
    if len(names) <= most:
        return ", ".join(names)
    wanted = normal(name)
    match = difflib.SequenceMatcher(b=wanted, autojunk=False)

    def distance(other: str) -> float:
        match.set_seq1(normal(other))
        return -match.ratio()

    return f"{', '.join(sorted(names, key=distance)[:most])} and {len(names) - most} more"


def _close(name: str, there: Iterable[str]) -> str:
    others = [other for other in there if normal(other) != normal(name)]
    near = difflib.get_close_matches(normal(name), [normal(other) for other in others], 1, 0.75)
    original = next((other for other in others if near and normal(other) == near[0]), None)
    return f" (did you mean {original}?)" if original else ""
