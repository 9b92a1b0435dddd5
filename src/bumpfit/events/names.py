"""Names of observables: `<objects>.<observable>`, after HEP ML Lab (Li, Sun, arXiv:2405.02888, section III.B).

`jet0` is the first jet, `jet` all of them, `jet:3` the first three, `jet1:3` the second and third;
`jet0.constituents:10` the first ten constituents of the first jet; `jet0,jet1` two objects. Where digits at the end of
a branch name get in the way, `jet02[0]` and `jet02[1:3]` say the same with brackets. A name without a dot is a flat
column. Case and underscores in names do not matter (`FatJet0.BTag`, `fat_jet0.b_tag`).
"""

from __future__ import annotations

import dataclasses
import re

from bumpfit.errors import InputError

_OBJECT = r"[A-Za-z_]\w*(?:\[(?:\d+|\d*:\d*)\]|:\d*)?"
DOTTED = rf"{_OBJECT}(?:\.{_OBJECT})*"
_PART = re.compile(r"([A-Za-z_]\w*?)(\d*)(?:\[(\d+)\]|\[(\d*):(\d*)\]|(:)(\d*))?")
_NAME = re.compile(rf"{DOTTED}(?:\s*,\s*{DOTTED})*")


@dataclasses.dataclass(frozen=True)
class Part:
    """One step of a reference: the name, the digits at its end (of the name or an index), and what brackets say.

    `index` is the position in brackets; `low` and `high` the limits of a range, `ranged` when there is one. Without
    brackets the digits are an index or the lower limit unless the file has a branch whose name ends in them.
    """

    stem: str
    digits: str = ""
    index: int | None = None
    ranged: bool = False
    low: int | None = None
    high: int | None = None


@dataclasses.dataclass(frozen=True)
class Name:
    """A parsed name: the objects (each one or more parts), the observable, and the text as it was given."""

    objects: tuple[tuple[Part, ...], ...]
    observable: str
    text: str


def normal(name: str) -> str:
    """The form in which names are compared: lower case, no underscores."""
    return name.replace("_", "").lower()


def parse(text: str) -> Name:
    """Parse a name; InputError when it is not of the form `<objects>.<observable>` or a column name."""
    if not isinstance(text, str):
        raise InputError(f"the name of an observable is {type(text).__name__}; expected text as 'jet0.pt'")
    text = text.strip()
    if not _NAME.fullmatch(text):
        raise InputError(
            f"'{text}' is not the name of an observable; expected <objects>.<observable> as jet0.pt, jet:3.eta, "
            "jet0,jet1.delta_r or jet0.constituents.pt, or the name of a column"
        )
    *before, last = [piece.strip() for piece in text.split(",")]
    head, dot, observable = last.rpartition(".")
    if not dot:
        if before or not re.fullmatch(r"\w+", last):
            raise InputError(f"'{text}' names no observable; expected one after a dot, as in jet0,jet1.delta_r")
        return Name((), last, text)
    if not re.fullmatch(r"\w+", observable):
        raise InputError(f"'{text}' ends in '{observable}', which is an object; expected an observable, as in jet0.pt")
    objects = tuple(tuple(_part(piece, text) for piece in item.split(".")) for item in (*before, head))
    if any(len(parts) > 2 for parts in objects):
        raise InputError(f"'{text}' is nested more than once; expected at most jet0.constituents.pt")
    return Name(objects, observable, text)


def _part(piece: str, text: str) -> Part:
    match = _PART.fullmatch(piece)
    if match is None:
        raise InputError(f"'{piece}' in '{text}' is not the name of an object; expected jet, jet0, jet:3 or jet1:3")
    stem, digits, index, low, high, colon, end = match.groups()
    if index is not None:
        return Part(stem, digits, index=int(index))
    if low is not None:
        return Part(stem, digits, ranged=True, low=int(low or 0), high=int(high) if high else None)
    if colon:
        return Part(stem, digits, ranged=True, high=int(end) if end else None)
    return Part(stem, digits)
