"""Delphes references: which stored object each entry of `Jet.Constituents` and its like points to.

ROOT gives every referenced object a number, kept in its `fUniqueID`; the upper 8 bits of `fUniqueID` hold the process
id and are absent in the stored references, so both are compared in their lower 24 bits, within one event, over all
branches whose objects can be referenced.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.events.arrays import Jagged, ak
from bumpfit.events.layout import Collection
from bumpfit.events.source import Chunk

BITS = 24
MASK = (1 << BITS) - 1
# Branches that Delphes cards fill with referenced objects, most specific first; others with an id follow.
CANDIDATES = ("eflowtrack", "eflowphoton", "eflowneutralhadron", "track", "tower", "particle")
ZERO = ("charge", "m")  # calorimeter objects store neither: neutral and massless


@dataclasses.dataclass(frozen=True, eq=False)
class Links:
    """Resolved references: `branch` (which collection, -1 for none) and `place` (position in it), both flat.

    `counts` holds the numbers of references: per event for TRef, per event and per object for TRefArray.
    """

    branch: NDArray[np.int8]
    place: NDArray[np.int64]
    counts: tuple[NDArray[np.int64], ...]
    collections: tuple[Collection, ...]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self.branch.nbytes + self.place.nbytes + sum(count.nbytes for count in self.counts))

    def used(self) -> tuple[int, ...]:
        """Numbers of the collections that are pointed to."""
        return tuple(int(number) for number in np.unique(self.branch) if number >= 0)


def resolve(chunk: Chunk, column: str) -> Links:
    """Find what the references in one column point to; a reference to something that is not in the file stays open.

    Raises:
        InputError: the column holds no references, or no branch has ids.
    """
    key = ("links", column)
    if key not in chunk.cache:
        chunk.cache[key] = _resolve(chunk, column)
    links: Links = chunk.cache[key]
    return links


def field(chunk: Chunk, links: Links, observable: str) -> Jagged | None:
    """A stored value of the referenced objects, shape (events, objects, references); open references are None.

    None when a collection that is pointed to does not store it (charge and mass are then 0 for that collection, if
    another one stores them).
    """
    found = {number: links.collections[number].find(observable) for number in links.used()}
    if not any(found.values()) or (None in found.values() and observable not in ZERO):
        return None if found else _nest(ak.Array(np.empty(len(links.branch))), links)
    values = np.zeros(len(links.branch))
    for number, where in found.items():
        if where is not None:
            here = links.branch == number
            flat = ak.to_numpy(ak.flatten(chunk.column(where.column), axis=1))
            if flat.ndim == 1:
                values[here] = flat[links.place[here]]
    return _nest(ak.mask(ak.Array(values), links.branch >= 0), links)


def _nest(array: Jagged, links: Links) -> Jagged:
    for counts in reversed(links.counts):
        array = ak.unflatten(array, counts)
    return array


def _resolve(chunk: Chunk, column: str) -> Links:
    references = chunk.column(column)
    if references.ndim < 2 or ak.fields(references):
        raise InputError(f"the branch {column} holds no references to other objects")
    counts: list[NDArray[np.int64]] = []
    flat, events = references, np.arange(len(chunk))
    for _ in range(references.ndim - 1):
        number = ak.to_numpy(ak.num(flat, axis=1)).astype(np.int64)
        counts.append(number)
        events = np.repeat(events, number)
        flat = ak.flatten(flat, axis=1)
    wanted = _keys(events, ak.to_numpy(flat))
    branch = np.full(len(wanted), -1, np.int8)
    place = np.zeros(len(wanted), np.int64)
    candidates = _candidates(chunk)
    if not candidates:
        raise InputError(f"{column} points to other objects, but no branch of the file has a fUniqueID")
    open_ = (wanted & MASK) != 0
    for number, collection in enumerate(candidates):
        if not open_.any():
            break
        ids = chunk.column(collection.fields["funiqueid"].column)
        owners = np.repeat(np.arange(len(chunk)), ak.to_numpy(ak.num(ids, axis=1)))
        keys = _keys(owners, ak.to_numpy(ak.flatten(ids, axis=1)))
        if not len(keys):
            continue
        order = np.argsort(keys, kind="stable")
        nearest = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
        hit = open_ & (keys[nearest] == wanted)
        branch[hit], place[hit] = number, nearest[hit]
        open_ &= ~hit
    return Links(branch, place, tuple(counts), candidates)


def _keys(events: NDArray[Any], ids: NDArray[Any]) -> NDArray[np.int64]:
    return (events.astype(np.int64) << BITS) | (ids.astype(np.int64) & MASK)


def _candidates(chunk: Chunk) -> tuple[Collection, ...]:
    with_id = {name: entry for name, entry in chunk.layout.collections.items() if "funiqueid" in entry.fields}
    first = [with_id[name] for name in CANDIDATES if name in with_id]
    rest = [entry for name, entry in with_id.items() if name not in CANDIDATES and "constituents" not in entry.fields]
    return (*first, *rest)
