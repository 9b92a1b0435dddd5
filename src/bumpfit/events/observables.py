"""Observables by name: what is stored, what is computed from four-momenta, and how to add your own.

    events.observable("jet0,jet1.delta_r", source)
    events.register("rapidity", lambda jet: np.arctanh(jet.pz / jet.e))
    events.register("scaled_pt", lambda jet, factor=1.0: factor * jet.pt)
    events.observable("jet0.scaled_pt", source, factor=1.02)
    events.observable("fatjet0.taumn", source, m=2, n=1)          # the same as fatjet0.tau21

A single object gives one value an event (None when it is missing), a collection one list an event, two collections
one list of lists. Angles differ by at most pi. Conventions: delta_phi is phi of the first minus phi of the second in
[-pi, pi); inv_mass is the mass of the sum of all objects; ht the scalar and met the negative vectorial sum of their
transverse momenta; mt of two objects is sqrt(2 pT1 pT2 (1 - cos dphi)), of one sqrt(E^2 - pz^2); tau21 is tau2 / tau1.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.events import names, opening
from bumpfit.events.arrays import Jagged, ak, defined, double
from bumpfit.events.layout import FIELDS
from bumpfit.events.names import Name, normal
from bumpfit.events.objects import Objects, finite
from bumpfit.events.source import FIRST_CHUNK, Chunk, Source
from bumpfit.progress import bar


@dataclasses.dataclass(frozen=True)
class Computed:
    """An observable that is computed: the function, and how many objects it takes (least, most)."""

    function: Callable[..., Jagged]
    least: int = 1
    most: int | None = 1


def observable(name: str, events: Source | Chunk | Any, **parameters: Any) -> Jagged:
    """The values of an observable for all events.

    Args:
        name: `<objects>.<observable>` (see `bumpfit.events.names`), or a column of a flat table.
        events: what `bumpfit.events.open` returned, a chunk of it, or anything that `open` takes.
        parameters: of an observable that takes some: `n` of `n_subjettiness`, `m` and `n` of `taumn`, those of
            functions that were registered.

    Returns:
        awkward array, first axis the events: `jet0.pt` (n,), `jet.pt` (n, var), `jet:3.pt` (n, 3 with None for missing
        ones), `jet0.constituents.pt` (n, var), `jet.size` (n,), `jet0,jet1.delta_r` (n,), `jet,muon.delta_r`
        (n, var, var), `jet0,jet1.inv_mass` (n,).

    Raises:
        InputError: not a name, unknown object or observable (the message lists what there is), wrong number of objects.
    """
    parsed = names.parse(name)
    return over_chunks(lambda chunk: evaluate(parsed, chunk, parameters=parameters)[0], events)


def over_chunks(function: Callable[[Chunk], Jagged], events: Source | Chunk | Any) -> Jagged:
    """Apply a function to a chunk, or to every chunk of a source in bounded memory and join the results."""
    if isinstance(events, Chunk):
        return function(events)
    opened = events if isinstance(events, Source) else opening.open(events)
    pieces = []
    with bar(f"reading {opened.label}", len(opened), show=None if len(opened) > FIRST_CHUNK else False) as advance:
        for chunk in opened.chunks():
            pieces.append(function(chunk))
            advance(len(chunk))
    return pieces[0] if len(pieces) == 1 else ak.concatenate(pieces)


def evaluate(
    name: Name, chunk: Chunk, *, flatten_once: bool = False, parameters: Mapping[str, Any] | None = None
) -> tuple[Jagged, tuple[str, ...]]:
    """The values in one chunk, and a label for every list axis (equal labels are equal lists).

    `flatten_once` makes one value an event of branches with one entry an event (missing energy).

    Raises:
        InputError: unknown names, branches that do not fit together, an error inside a function that was registered.
    """
    try:
        return _evaluated(name, chunk, flatten_once, parameters or {})
    except (BumpfitError, MemoryError):
        raise
    except Exception as error:  # of a registered function, or of arrays that do not combine
        words = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        raise InputError(
            f"'{name.text}' cannot be formed from the branches of {chunk.source.label}: {type(error).__name__}"
            f"{': ' * bool(words)}{words[:200]}"
        ) from error


def _evaluated(
    name: Name, chunk: Chunk, flatten_once: bool, parameters: Mapping[str, Any]
) -> tuple[Jagged, tuple[str, ...]]:
    if not name.objects:
        return _column(name, chunk, parameters)
    name = _of_members(name, chunk)
    objects = tuple(Objects(chunk, parts) for parts in name.objects)
    array = of_objects(objects, name.observable, parameters)
    if len(objects) == 1 and objects[0].once and flatten_once and array.ndim == 2:
        return ak.firsts(array, axis=1), ()
    axes = tuple(axis for entry in objects for axis in entry.axes)
    lists = array.ndim - 1
    return array, axes[:lists] + tuple(f"{name.text} axis {place}" for place in range(len(axes), lists))


def of_objects(objects: Sequence[Objects], observable: str, parameters: Mapping[str, Any] | None = None) -> Jagged:
    """An observable of objects: stored, else computed; with parameters always computed."""
    wanted = _ALIASES.get(normal(observable), normal(observable))
    if len(objects) == 1 and not parameters:
        for name in (observable, wanted):
            stored = objects[0].stored(name)
            if stored is not None:
                return stored
        tau = re.fullmatch(r"tau(\d)(\d)?", wanted)
        if tau:
            return _tau(objects[0], tau)
    entry = _COMPUTED.get(wanted)
    if entry is None:
        if len(objects) > 1:
            pairs = sorted(key for key, value in _COMPUTED.items() if value.most is None or value.most > 1)
            raise InputError(f"'{observable}' is not an observable of several objects; those are {', '.join(pairs)}")
        raise objects[0].lacks(observable)
    if len(objects) < entry.least or (entry.most is not None and len(objects) > entry.most):
        expected = str(entry.least) if entry.least == entry.most else f"{entry.least} to {entry.most or 'any number'}"
        few = ": separate them by commas, as in jet0,jet1" if len(objects) < entry.least else ""
        raise InputError(f"{observable} takes {expected} object{'s'[: expected != '1']}, got {len(objects)}{few}")
    array = entry.function(*objects, **(parameters or {}))
    if len(array) != len(objects[0]):
        raise InputError(f"{observable} gives {len(array)} values for {len(objects[0])} events; expected one an event")
    return array


def register(name: str, function: Callable[..., Jagged], *, objects: int | None = 1) -> None:
    """Add an observable, or replace one: `register("rapidity", lambda jet: np.arctanh(jet.pz / jet.e))`.

    Args:
        name: what follows the dot; case and underscores do not matter.
        function: takes `objects` objects, whose attributes are their observables, and returns an array. Further
            arguments are parameters, which `observable` takes by name.
        objects: how many objects; None for any number; 0 for an observable of the event with a bare name, whose
            function takes the events (`lambda events: observable("jet.pt", events)...`).
    """
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise InputError(f"'{name}' cannot name an observable; expected letters, digits and underscores")
    if not callable(function):
        raise InputError(f"{name} is registered with {type(function).__name__}; expected a function of objects")
    if objects is not None and objects < 0:
        raise InputError(f"{name} is registered for {objects} objects; expected 0 or more, or None for any number")
    _COMPUTED[normal(name)] = Computed(finite(function), 1 if objects is None else objects, objects)


def known() -> tuple[str, ...]:
    """Names of the observables that are computed."""
    return (*sorted(_COMPUTED), "tauN", "tauMN")


def _of_members(name: Name, chunk: Chunk) -> Name:
    """`Jets.momentum.x` is the field `momentum.x` of Jets where the file has such a field."""
    if len(name.objects) != 1 or len(name.objects[0]) != 2:
        return name
    first, second = name.objects[0]
    found = chunk.layout.collection(first)
    field = f"{second.stem}{second.digits}.{name.observable}"
    if found is None or second.ranged or second.index is not None or field not in found[0].fields:
        return name
    return dataclasses.replace(name, objects=((first,),), observable=field)


def _column(name: Name, chunk: Chunk, parameters: Mapping[str, Any]) -> tuple[Jagged, tuple[str, ...]]:
    column = chunk.layout.column(name.observable, quoted=name.quoted)
    registered = _COMPUTED.get(normal(name.observable))
    if registered is not None and registered.most == 0 and (column is None or parameters):
        array = registered.function(chunk, **parameters)
        if len(array) != len(chunk):
            raise InputError(f"{name.text} gives {len(array)} values for {len(chunk)} events; expected one an event")
        return array, tuple(f"{name.text} axis {place}" for place in range(array.ndim - 1))
    if column is None:
        raise chunk.layout.unknown_column(name.observable, quoted=name.quoted)
    array = chunk.column(column)
    owners = (c.name for c in chunk.layout.collections.values() if column in [f.column for f in c.fields.values()])
    owner = next(owners, column)
    return array, tuple(owner if place == 0 else f"{column} axis {place}" for place in range(array.ndim - 1))


def _tau(objects: Objects, match: re.Match[str]) -> Jagged:
    """N-subjettiness tau_N, stored as `Tau[5]` (tau_1 first) or `Tau1`, and ratios tau_M / tau_N."""

    def one(n: int) -> Jagged:
        stored = objects.stored(f"tau{n}")
        if stored is not None:
            return stored
        array = objects.stored("tau")
        if array is None:
            raise objects.lacks(f"tau{n}")
        if array.ndim != len(objects.axes) + 2:
            raise InputError(f"{objects.label} stores one tau, not a list of them; tau{n} is not there")
        if not 1 <= n <= 5:
            raise InputError(f"tau{n} is not stored; expected tau1 to tau5")
        return array[..., n - 1]

    first = one(int(match[1]))
    if match[2] is None:
        return first
    return finite(lambda a, b: double(a) / double(b))(first, one(int(match[2])))


def _subjettiness(objects: Objects, n: int | None = None) -> Jagged:
    """N-subjettiness tau_n; all that are stored without n."""
    if n is not None:
        return of_objects((objects,), f"tau{_digit(n)}")
    stored = objects.stored("tau")
    if stored is None:
        raise objects.lacks("n_subjettiness (give n, as in tau1)")
    return stored


def _subjettiness_ratio(objects: Objects, m: int | None = None, n: int | None = None) -> Jagged:
    """tau_m / tau_n."""
    if m is None or n is None:
        raise InputError(f"taumn needs m and n: observable('{objects.label}.taumn', events, m=2, n=1), or tau21")
    return of_objects((objects,), f"tau{_digit(m)}{_digit(n)}")


def _digit(number: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= 9:
        raise InputError(f"the number of subjets is {number!r}; expected 1 to 9")
    return number


def _wrap(angle: Jagged) -> Jagged:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def _pair(a: Objects, b: Objects, quantity: Callable[[Objects], Jagged]) -> tuple[Jagged, Jagged]:
    """Values of two objects, shaped so that lists of different objects span a table."""
    first, second = quantity(a), quantity(b)
    if not a.axes or not b.axes:
        return first, second
    first = ak.flatten(first, axis=2) if len(a.axes) == 2 else first
    second = ak.flatten(second, axis=2) if len(b.axes) == 2 else second
    return first[:, :, np.newaxis], second[:, np.newaxis, :]


def _delta_phi(a: Objects, b: Objects) -> Jagged:
    first, second = _pair(a, b, Objects.azimuth)
    return _wrap(first - second)


def _delta_eta(a: Objects, b: Objects) -> Jagged:
    first, second = _pair(a, b, Objects.rapidity)
    return first - second


def _delta_r(a: Objects, b: Objects) -> Jagged:
    return np.hypot(_delta_eta(a, b), _delta_phi(a, b))


def _min_delta_phi(*objects: Objects) -> Jagged:
    """Smallest |delta phi| of the last object to any of the others; of one collection, between any two of its own."""
    if len(objects) == 1:
        if not objects[0].axes:
            raise InputError(f"min_delta_phi of one object has no pair; expected several, as in jet,{objects[0].label}")
        pairs = ak.combinations(objects[0].azimuth(), 2, axis=-1)
        return ak.min(np.abs(_wrap(pairs["0"] - pairs["1"])), axis=-1)
    smallest = []
    for entry in objects[:-1]:
        gap = np.abs(_delta_phi(entry, objects[-1]))
        smallest.append(defined(_all_lists(gap, ak.min)))
    return ak.min(ak.concatenate([one[:, np.newaxis] for one in smallest], axis=1), axis=1)


def _all_lists(array: Jagged, reduction: Callable[..., Jagged]) -> Jagged:
    while array.ndim > 1:
        array = reduction(array, axis=-1)
    return array


def _transverse_mass(a: Objects, b: Objects | None = None) -> Jagged:
    if b is None:
        return np.hypot(a.transverse(), a.mass())
    first, second = _pair(a, b, Objects.transverse)
    return np.sqrt(2 * first * second * (1 - np.cos(_delta_phi(a, b))))


def _components(objects: Objects) -> tuple[Jagged, Jagged, Jagged, Jagged]:
    pt, eta, phi, mass = objects.momentum()
    return (
        pt * np.cos(phi),
        pt * np.sin(phi),
        pt * np.sinh(eta),
        np.hypot(pt * np.cosh(eta), mass),
    )


def _total(objects: Sequence[Objects]) -> tuple[Jagged, Jagged, Jagged, Jagged]:
    """Sum of four-momenta: over the last list of one object, over everything of several.

    A sum that includes a missing object of a single or a closed range, or no object at all, is None; entries of no
    defined momentum (pT = 0 at infinite |eta|) do not count.
    """
    parts = []
    for entry in objects:
        components = _components(entry)
        if entry.axes:
            missing = ak.any(ak.is_none(components[0], axis=len(entry.axes)), axis=-1)
            nothing = ak.num(components[0], axis=-1) == 0
            components = tuple(
                ak.mask(ak.sum(ak.nan_to_none(value), axis=-1), ~(missing | nothing)) for value in components
            )
            if len(objects) > 1:
                components = tuple(_all_lists(value, ak.sum) for value in components)
        parts.append(components)
    return reduce(lambda a, b: tuple(x + y for x, y in zip(a, b, strict=True)), parts)


def _invariant_mass(*objects: Objects) -> Jagged:
    px, py, pz, energy = _total(objects)
    squared = energy**2 - px**2 - py**2 - pz**2
    return np.sqrt(np.maximum(squared, 0.0))


def _scalar_sum(*objects: Objects) -> Jagged:
    sums = []
    for entry in objects:
        pt = entry.transverse()
        pt = ak.sum(pt, axis=-1) if entry.axes else np.nan_to_num(pt)
        sums.append(_all_lists(pt, ak.sum) if len(objects) > 1 else pt)
    return reduce(lambda a, b: a + b, sums)


def _vector_sum(*objects: Objects) -> Jagged:
    px: list[Jagged] = []
    py: list[Jagged] = []
    for entry in objects:
        pt, phi = entry.transverse(), entry.azimuth()
        for store, value in ((px, pt * np.cos(phi)), (py, pt * np.sin(phi))):
            total = ak.sum(value, axis=-1) if entry.axes else np.nan_to_num(value)
            store.append(_all_lists(total, ak.sum) if len(objects) > 1 else total)
    return np.hypot(reduce(lambda a, b: a + b, px), reduce(lambda a, b: a + b, py))


def _component(place: int) -> Callable[[Objects], Jagged]:
    return lambda objects: _components(objects)[place]


_COMPUTED: dict[str, Computed] = {
    "pt": Computed(finite(Objects.transverse)),
    "eta": Computed(finite(Objects.rapidity)),
    "phi": Computed(finite(Objects.azimuth)),
    "m": Computed(finite(Objects.mass)),
    "px": Computed(finite(_component(0))),
    "py": Computed(finite(_component(1))),
    "pz": Computed(finite(_component(2))),
    "e": Computed(finite(_component(3))),
    "nsubjettiness": Computed(_subjettiness),
    "taumn": Computed(_subjettiness_ratio),
    "size": Computed(lambda objects: objects.size()),
    "deltaphi": Computed(finite(_delta_phi), 2, 2),
    "deltaeta": Computed(finite(_delta_eta), 2, 2),
    "deltar": Computed(finite(_delta_r), 2, 2),
    "mindeltaphi": Computed(finite(_min_delta_phi), 1, None),
    "mt": Computed(finite(_transverse_mass), 1, 2),
    "invmass": Computed(finite(_invariant_mass), 1, None),
    "ht": Computed(finite(_scalar_sum), 1, None),
    "met": Computed(finite(_vector_sum), 1, None),
}
_ALIASES = {
    "transversemomentum": "pt",
    "pseudorapidity": "eta",
    "azimuthalangle": "phi",
    "mass": "m",
    "energy": "e",
    "momentumx": "px",
    "momentumy": "py",
    "momentumz": "pz",
    "invariantmass": "invmass",
    "invm": "invmass",
    "angulardistance": "deltar",
    "dr": "deltar",
    "dphi": "deltaphi",
    "deta": "deltaeta",
    "mindphi": "mindeltaphi",
    "transversemass": "mt",
    "scalarht": "ht",
    "nsubjettinessratio": "taumn",
    "taun": "nsubjettiness",
}
assert set(FIELDS) - {"charge", "btag", "tautag"} <= set(_COMPUTED)
