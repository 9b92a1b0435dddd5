"""Objects of an event by reference, and their four-momenta.

A value is the stored branch if there is one of that name, else it is computed from the four-momentum (pT, eta, phi, m),
where pT may be stored as PT, ET or MET; a mass that is not stored follows from the energy if that is, else it is 0.
What is computed is in double precision and None where it is not finite, like a missing object.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from bumpfit.errors import InputError
from bumpfit.events import references
from bumpfit.events.arrays import Jagged, ak, defined, double, lists, nth
from bumpfit.events.layout import LEPTONS, REFERENCES, SINGLE, Collection, Field
from bumpfit.events.names import Names, Part, normal
from bumpfit.events.source import Chunk

LONGEST = 10_000  # objects of a closed range: as many are kept for every event, None where there are fewer
LARGEST = 2**31 - 1  # position in a list
MASSLESS = 2e-6  # relative difference of E and p in single precision that is rounding: pT, eta and E are rounded alike
MISSING_ENERGY = ("missinget", "genmissinget", "met", "genmet", "puppimissinget", "puppimet")


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which objects of a list: one (`index`), a range (`low`, `high`; open when `high` is None), or all."""

    index: int | None = None
    low: int = 0
    high: int | None = None

    @property
    def single(self) -> bool:
        """Whether one object is meant: no list axis is left."""
        return self.index is not None

    def __str__(self) -> str:
        if self.index is not None:
            return str(self.index)
        return f"{self.low or ''}:{self.high if self.high is not None else ''}" if self.low or self.high else ""

    def take(self, array: Jagged, axis: int) -> Jagged:
        """Apply to one axis; positions that do not exist are None for an index or a closed range."""
        front = (slice(None),) * axis
        if self.index is not None and axis == 1:
            return nth(array, self.index)
        if self.index is not None:
            return ak.pad_none(array, self.index + 1, axis=axis)[(*front, self.index)]
        if self.high is not None:
            cut = array[(*front, slice(self.low, self.high))]
            return ak.pad_none(cut, max(0, self.high - self.low), axis=axis)
        return array[(*front, slice(self.low, None))] if self.low else array


class Objects:
    """One reference (`jet0`, `jet:3`, `jet0.constituents`) in one chunk of events.

    Attribute access gives observables: `jet.pt`, `jet.b_tag`. Arrays have the events as first axis, then one axis for
    every list (a single object has none).
    """

    def __init__(self, chunk: Chunk, parts: tuple[Part, ...]) -> None:
        self._chunk = chunk
        self._leptons = chunk.layout.is_leptons(parts[0])
        if self._leptons:
            self._collection = _leptons(chunk)
            self._first = select(parts[0], parts[0].digits, "lepton")
        else:
            found = chunk.layout.collection(parts[0])
            if found is None:
                raise chunk.layout.unknown_object(parts[0].stem + parts[0].digits)
            self._collection, digits = found
            self._first = select(parts[0], digits, self._collection.name)
        self._inner: str | None = None
        self._second = Selection()
        label = self._collection.name + str(self._first)
        if self._collection.lone and self._first == Selection():
            self._first = Selection(0)
        if len(parts) == 2:
            self._inner, digits = self._nested(parts[1])
            self._second = select(parts[1], digits, self._inner)
            inner = f"{label}.{self._inner}{self._second}"
            axes = ((label,) if not self._first.single else ()) + ((inner,) if not self._second.single else ())
            depth = self._read(self._collection.fields[self._inner]).ndim + self._collection.lone
            if depth == 2:  # one reference an object (TRef)
                if self._second != Selection():
                    raise InputError(f"{inner} has a position, but {self._collection.name} has one {self._inner} each")
                self._second, axes = Selection(0), axes[:-1]
            label = inner
        else:
            axes = () if self._first.single else (label,)
        self.label = label
        self.axes: tuple[str, ...] = axes

    def __getattr__(self, name: str) -> Jagged:
        if name.startswith("_"):
            raise AttributeError(name)
        from bumpfit.events.observables import of_objects

        return of_objects((self,), name)

    def __len__(self) -> int:
        return len(self._chunk)

    @property
    def collection(self) -> Collection:
        """The branch that the (first part of the) reference names."""
        return self._collection

    @property
    def once(self) -> bool:
        """Whether this is all of a branch that has one entry an event (missing energy, scalar HT)."""
        return normal(self._collection.name) in SINGLE and self._first == Selection() and self._inner is None

    def stored(self, observable: str) -> Jagged | None:
        """The stored branch of an observable (normal name), or None."""
        if self._inner is not None:
            array = self._stored_inside(observable)
            if array is None:
                return None
            return self._within(array)
        if self._leptons:
            array = self._stored_lepton(observable)
            return None if array is None else self._first.take(array, 1)
        field = self._collection.find(observable)
        if field is None:
            return None
        return self._taken(self._read(field))

    def size(self) -> Jagged:
        """Number of objects: over the last list, or 1 and 0 for a single object that is there or not."""
        counter = self._collection.counter
        if counter and self._inner is None and self._first == Selection() and not self._leptons:
            return self._chunk.column(counter)
        array = self._any_field()
        present = ~ak.is_none(array, axis=len(self.axes))
        if self._last.single:
            return ak.values_astype(present, np.int64)
        return ak.sum(present, axis=-1)

    def momentum(self) -> tuple[Jagged, Jagged, Jagged, Jagged]:
        """(pt, eta, phi, m) in double precision, NaN for a single object that is missing.

        Raises:
            InputError: the branch has no transverse momentum or angles.
        """
        return self.transverse(), self.rapidity(), self.azimuth(), self.mass()

    def transverse(self) -> Jagged:
        """Transverse momentum."""
        pt = self.stored("pt")
        return double(pt) if pt is not None else np.hypot(self._component("px", "pt"), self._component("py", "pt"))

    def rapidity(self) -> Jagged:
        """Pseudorapidity; 0 for missing energy (Delphes stores a number there)."""
        eta = self.stored("eta")
        if normal(self._collection.name) in MISSING_ENERGY:
            return self.transverse() * 0.0
        return double(eta) if eta is not None else np.arcsinh(self._component("pz", "eta") / self.transverse())

    def azimuth(self) -> Jagged:
        """Azimuthal angle."""
        phi = self.stored("phi")
        if phi is not None:
            return double(phi)
        return np.arctan2(self._component("py", "phi"), self._component("px", "phi"))

    def mass(self) -> Jagged:
        """Mass; where none is stored that of the stored energy, 0 without one."""
        mass = self.stored("m")
        if mass is not None:
            return double(mass)
        energy = self.stored("e")
        pt = self.transverse()
        if energy is None or normal(self._collection.name) in MISSING_ENERGY:
            return pt * 0.0
        single = "float64" not in str(ak.type(energy))
        e, p = double(energy), pt * np.cosh(self.rapidity())
        excess = (e - p) * (e + p)
        massive = excess > (MASSLESS if single else 0.0) * e * e
        return np.sqrt(np.abs(excess) * massive)

    def lacks(self, observable: str) -> InputError:
        """The error for an observable that is neither stored nor computable."""
        from bumpfit.events.layout import unknown_observable
        from bumpfit.events.observables import known

        return unknown_observable(observable, self._described(), known())

    def _component(self, name: str, wanted: str) -> Jagged:
        array = self.stored(name)
        if array is None:
            raise self.lacks(wanted)
        return double(array)

    def _taken(self, array: Jagged) -> Jagged:
        """The selection of the first part; what holds one value an event is a list of one where a position is asked."""
        if self._collection.lone:
            return array if self._first == Selection(0) else self._first.take(lists(array[:, np.newaxis]), 1)
        return array if array.ndim == 1 else self._first.take(array, 1)

    def _within(self, array: Jagged) -> Jagged:
        """Both selections of a nested reference."""
        array = self._taken(array)
        if array.ndim - (not self._first.single) < 2:  # one an object
            return array
        return self._second.take(array, 1 if self._first.single else 2)

    @property
    def _last(self) -> Selection:
        return self._second if self._inner is not None else self._first

    def _read(self, field: Field) -> Jagged:
        array = self._chunk.column(field.column)
        return array if field.member is None else array[field.member]

    def _any_field(self) -> Jagged:
        if self._inner is not None:
            field = self._collection.fields[self._inner]
            array = self._read(field)
            return self._within(array if not ak.fields(array) else array[ak.fields(array)[0]])
        for name in ("pt", "eta", "funiqueid", *self._collection.fields):
            array = self.stored(name)
            if array is not None:
                return array
        raise self.lacks("size")

    def _nested(self, part: Part) -> tuple[str, str]:
        if self._leptons:
            raise InputError("leptons are electrons and muons together; their parts are reached by electron0 and muon0")
        for kept in range(len(part.digits), -1, -1):
            name = part.stem + part.digits[:kept]
            if name in self._collection.fields:
                return name, part.digits[kept:]
        raise self.lacks(part.stem + part.digits)

    def _stored_inside(self, observable: str) -> Jagged | None:
        assert self._inner is not None
        field = self._collection.fields[self._inner]
        array = self._read(field)
        members = ak.fields(array)
        if members:
            found = Collection(self._inner, Names({name: Field(name) for name in members})).find(observable)
            return None if found is None else array[found.column]
        if normal(self._inner) not in REFERENCES:
            raise InputError(f"{self._collection.name}.{self._inner} holds no references to other objects")
        return references.field(self._chunk, references.resolve(self._chunk, field.column), observable)

    def _stored_lepton(self, observable: str) -> Jagged | None:
        order = self._lepton_field("pt")
        values = self._lepton_field(observable)
        return None if values is None else values[ak.argsort(order, axis=1, ascending=False, stable=True)]

    def _lepton_field(self, observable: str) -> Jagged | None:
        there = [self._chunk.layout.collections.get(name) for name in LEPTONS]
        fields = [entry.find(observable) for entry in there if entry is not None]
        if not fields or any(field is None for field in fields):
            return None
        return ak.concatenate([self._read(field) for field in fields if field is not None], axis=1)

    def _described(self) -> Collection:
        if self._inner is None:
            return self._collection
        links = references.resolve(self._chunk, self._collection.fields[self._inner].column)
        used = [links.collections[number].fields.exact for number in links.used()]
        fields = Names({name: field for entry in used for name, field in entry.items()})
        return Collection(f"{self._collection.name}.{self._inner}", fields)


def select(part: Part, digits: str, name: str) -> Selection:
    """What a part selects, given the digits that do not belong to the branch name.

    Raises:
        InputError: digits and brackets, a range that holds nothing or too much, a position that no list has.
    """
    return _sensible(_selected(part, digits, name), name)


def _selected(part: Part, digits: str, name: str) -> Selection:
    if part.index is not None or part.low is not None:
        if digits:
            raise InputError(f"there is no branch '{part.stem}{part.digits}'; did you mean {name}?")
        return Selection(part.index) if part.index is not None else Selection(low=part.low or 0, high=part.high)
    if part.ranged:
        return Selection(low=int(digits or 0), high=part.high)
    return Selection(int(digits)) if digits else Selection()


def _sensible(selection: Selection, name: str) -> Selection:
    """Raise InputError for positions that no list has and ranges that hold nothing or far too much."""
    index, low, high = selection.index, selection.low, selection.high
    if max(index or 0, low, high or 0) > LARGEST:
        raise InputError(f"{name} has a position of {max(index or 0, low, high or 0):.3g}; expected at most {LARGEST}")
    if high is not None and high <= low:
        raise InputError(f"the range {low}:{high} of {name} holds nothing; expected its end above its start")
    if high is not None and high - low > LONGEST:
        raise InputError(f"the range {low}:{high} of {name} is longer than {LONGEST}; leave its end open: {low}:")
    return selection


def _leptons(chunk: Chunk) -> Collection:
    there = [chunk.layout.collections[name] for name in LEPTONS if name in chunk.layout.collections]
    if not there:
        raise chunk.layout.unknown_object("lepton (electrons and muons together)")
    common = set.intersection(*(set(entry.fields) for entry in there))
    return Collection("lepton", Names({name: there[0].fields[name] for name in sorted(common)}))


def finite(function: Callable[..., Jagged]) -> Callable[..., Jagged]:
    """None instead of what is not finite, without NumPy's warnings about how it came about."""

    def wrapped(*objects: Any, **parameters: Any) -> Jagged:
        with np.errstate(all="ignore"):
            return defined(function(*objects, **parameters))

    wrapped.__doc__ = function.__doc__
    wrapped.__name__ = function.__name__
    return wrapped
