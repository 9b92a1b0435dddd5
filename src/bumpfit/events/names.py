"""Names of observables: `<objects>.<observable>`, after HEP ML Lab (Li, Sun, arXiv:2405.02888, section III.B).

`jet0` is the first jet, `jet` all of them, `jet:3` the first three, `jet1:3` the second and third;
`jet0.constituents:10` the first ten constituents of the first jet; `jet0,jet1` two objects. Where digits at the end of
a branch name get in the way, `jet02[0]` and `jet02[1:3]` say the same with brackets. A name without a dot is a flat
column. Backticks hold a name that is no word: `` `Jets:all`0.pt ``, `` jet0.`b tag` ``, and alone, `` `Jet.PT` ``, any
branch of the file. A backtick of the name itself is doubled there.

A name that the file has exactly so is meant; else case and underscores do not matter (`FatJet0.BTag`,
`fat_jet0.b_tag`), and a name that then fits several is an error.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from bumpfit.errors import InputError

_QUOTED = r"`(?:[^`]|``)+`(?!`)"
_OBJECT = rf"(?:[A-Za-z_]\w*|{_QUOTED}\d*)(?:\[(?:\d+|\d*:\d*)\]|:\d*)?"
DOTTED = rf"{_OBJECT}(?:\.{_OBJECT})*"
_PART = re.compile(rf"([A-Za-z_]\w*?|{_QUOTED})(\d*)(?:\[(\d+)\]|\[(\d*):(\d*)\]|(:)(\d*))?")
_LAST = re.compile(rf"\w+|{_QUOTED}")
Value = TypeVar("Value")
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
    """A parsed name: the objects (each one or more parts), the observable, and the text as it was given.

    `quoted` says that the observable stood in backticks.
    """

    objects: tuple[tuple[Part, ...], ...]
    observable: str
    text: str
    quoted: bool = False


class Names(Mapping[str, Value]):
    """Values by the names of a file: the exact name first, else the only one that is equal in its normal form.

    Iteration gives normal forms where they are unique, and the names themselves where several share one.
    """

    def __init__(self, values: Mapping[str, Value] | Iterable[tuple[str, Value]] = ()) -> None:
        self.exact: dict[str, Value] = dict(values)
        self._forms: dict[str, list[str]] = {}
        for name in self.exact:
            self._forms.setdefault(normal(name), []).append(name)

    def __getitem__(self, name: str) -> Value:
        """The value of a name; KeyError without one, InputError when its normal form belongs to several."""
        if name in self.exact:
            return self.exact[name]
        same = self._forms[normal(name)]
        if len(same) > 1:
            raise InputError(f"'{name}' fits {' and '.join(same[:12])}; write one of them exactly")
        return self.exact[same[0]]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self.exact or normal(name) in self._forms)

    def __iter__(self) -> Iterator[str]:
        for form, same in self._forms.items():
            yield from [form] if len(same) == 1 else same

    def __len__(self) -> int:
        return len(self.exact)


def normal(name: str) -> str:
    """The form in which names are compared: lower case, no underscores."""
    return name.replace("_", "").lower()


def parse(text: str) -> Name:
    """Parse a name; InputError when it is not of the form `<objects>.<observable>` or a column name."""
    if not isinstance(text, str):
        raise InputError(f"the name of an observable is {type(text).__name__}; expected text as 'jet0.pt'")
    return _parsed(text.strip())


@functools.lru_cache(1000)  # long sentences name the same few observables again and again
def _parsed(text: str) -> Name:
    if not _NAME.fullmatch(text):
        raise InputError(
            f"'{text}' is not the name of an observable; expected <objects>.<observable> as jet0.pt, jet:3.eta, "
            "jet0,jet1.delta_r or jet0.constituents.pt, or the name of a column"
        )
    *before, last = [piece.strip() for piece in split(text, ",")]
    *head, observable = split(last, ".")
    marked = observable.startswith("`")
    if not head:
        if before or not _LAST.fullmatch(last):
            raise InputError(f"'{text}' names no observable; expected one after a dot, as in jet0,jet1.delta_r")
        return Name((), unquoted(last), text, marked)
    if not _LAST.fullmatch(observable):
        raise InputError(f"'{text}' ends in '{observable}', which is an object; expected an observable, as in jet0.pt")
    items = (*(split(item, ".") for item in before), head)
    objects = tuple(tuple(_part(piece, text) for piece in item) for item in items)
    if any(len(parts) > 2 for parts in objects):
        raise InputError(f"'{text}' is nested more than once; expected at most jet0.constituents.pt")
    return Name(objects, unquoted(observable), text, marked)


def in_backticks(name: str) -> str:
    """A name in backticks, those of its own doubled."""
    return "`" + name.replace("`", "``") + "`"


def unquoted(piece: str) -> str:
    """The name that a piece of a reference spells: itself, or what stands in its backticks."""
    return piece[1:-1].replace("``", "`") if piece.startswith("`") else piece


def split(text: str, mark: str) -> list[str]:
    """The pieces of a name between commas or dots, except those in backticks."""
    pieces, inside = [""], False
    for letter in text:
        inside ^= letter == "`"
        if letter == mark and not inside:
            pieces.append("")
        else:
            pieces[-1] += letter
    return pieces


def _part(piece: str, text: str) -> Part:
    match = _PART.fullmatch(piece)
    if match is None:
        raise InputError(f"'{piece}' in '{text}' is not the name of an object; expected jet, jet0, jet:3 or jet1:3")
    stem, digits, index, low, high, colon, end = match.groups()
    stem = unquoted(stem)
    if index is not None:
        return Part(stem, digits, index=int(index))
    if low is not None:
        return Part(stem, digits, ranged=True, low=int(low or 0), high=int(high) if high else None)
    if colon:
        return Part(stem, digits, ranged=True, high=int(end) if end else None)
    return Part(stem, digits)
