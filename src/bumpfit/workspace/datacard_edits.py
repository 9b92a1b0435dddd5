"""`nuisance edit` lines of a datacard: nuisances added, dropped, renamed, merged, split, flipped or of another type.

Processes, channels and (where nuisances are looked for) names are `*` or regular expressions for the whole word, in
which a `+` of a channel is the character, as in Combine's NuisanceModifier.py. An edit that finds nothing is refused
unless it says `ifexists`; so are edits after which Combine leaves out the effect that they name.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bumpfit.errors import InputError
from bumpfit.workspace.effects_combine import LOGNORMAL

if TYPE_CHECKING:
    from bumpfit.workspace.datacard import Column, Row

Value = float | tuple[float, float] | None

SYNTAX = {
    "add": "PROCESS CHANNEL NAME TYPE VALUE [overwrite|addq]",
    "drop": "PROCESS CHANNEL NAME [ifexists]",
    "rename": "[PROCESS CHANNEL] OLD NEW [ifexists]",
    "changepdf": "NAME TYPE",
    "merge": "PROCESS CHANNEL INTO NAME [ifexists]",
    "split": "PROCESS CHANNEL OLD NEW1 NEW2 VALUE1 VALUE2 [ifexists]",
    "flip": "PROCESS CHANNEL NAME p2n|n2p [ifexists]",
}
"""Edits and what stands after them."""

WORDS = {"add": (5,), "drop": (3,), "rename": (2, 4), "changepdf": (2,), "merge": (4,), "split": (7,), "flip": (3,)}
OPTIONS = {"add": {"overwrite", "addq"}, "changepdf": set[str](), "flip": {"p2n", "n2p", "ifexists"}}
UP_DOWN = ("p2n", "n2p")
"""Options of `flip`: effects above one go below it, those below one above it."""

DIGITS = "theta"
"""What Combine puts before names of lines that begin with a digit, but not before those of edits."""

LOGARITHMIC, LINEAR = (LOGNORMAL.kind, "lnU"), ("trG", "unif")


class Edits:
    """Changes the rows of a card; `value` reads an effect of a type from a word and raises for what is none."""

    def __init__(
        self, rows: Sequence[Row], columns: Sequence[Column], row: type[Row], value: Callable[[str, str, str], Value]
    ) -> None:
        self.rows, self.columns, self.row, self.value = list(rows), columns, row, value

    def apply(self, line: int, verb: str, words: list[str]) -> list[Row]:
        """The rows after an edit; raises InputError for one that cannot be read or finds nothing."""
        if verb not in SYNTAX:
            known = "; ".join(["freeze NAME [ifexists]", *(f"{name} {rest}" for name, rest in SYNTAX.items())])
            raise InputError(f"'nuisance edit {verb}' is not read; known are {known}")
        options = OPTIONS.get(verb, {"ifexists"})
        chosen, given = [w for w in words if w in options], [w for w in words if w not in options]
        if len(given) not in WORDS[verb]:
            raise InputError(f"expected: nuisance edit {verb} {SYNTAX[verb]}")
        getattr(self, f"_{verb}")(line, given, chosen)
        return self.rows

    # ------------------------------------------------------------ edits

    def _add(self, line: int, words: list[str], options: list[str]) -> None:
        process, channel, name, kind, text = words
        if kind not in (*LOGARITHMIC, "trG") and not kind.startswith("shape"):
            raise InputError(f"'{name}' cannot be added with type {kind}; only lnN, lnU, trG and shapes can")
        at = self._columns(process, channel, options)
        value = self.value(name, kind, text)
        self._seen_by_combine(name, kind, [value])
        i = self._row(line, name, kind)
        self._enter(i, at, [value] * len(at), options)

    def _drop(self, line: int, words: list[str], options: list[str]) -> None:
        process, channel, name = words[:3]
        at = self._columns(process, channel, options)
        for i in self._named(name, options):
            self._set(i, at, [None] * len(at))

    def _rename(self, line: int, words: list[str], options: list[str]) -> None:
        process, channel = words[:2] if len(words) >= 4 else ("*", "*")
        old, new = words[2:4] if len(words) >= 4 else words[:2]
        at = self._columns(process, channel, options)
        for i in self._named(re.escape(old), options):
            row = self.rows[i]
            if row.kind not in LOGARITHMIC and not row.kind.startswith("shape"):
                raise InputError(f"'{old}' is of type {row.kind}, which cannot be renamed")
            if row.kind.startswith("shape"):
                raise InputError(f"'{old}' has templates, which keep its name; rename its histograms instead")
            j = self._row(line, new, row.kind)
            self._enter(j, at, [row.effects[k] for k in at], [])
            self._set(i, at, [None] * len(at))

    def _changepdf(self, line: int, words: list[str], options: list[str]) -> None:
        name, kind = words[:2]
        for i in self._named(name, options):
            row = self.rows[i]
            if row.kind in LOGARITHMIC and kind in LOGARITHMIC:
                effects = row.effects
            elif row.kind in LOGARITHMIC and kind == "trG":
                effects = tuple(None if v is None else math.log(self._one(v, row.name)) for v in row.effects)
            elif row.kind == "trG" and kind in LOGARITHMIC:
                if 1.0 in row.effects:
                    raise InputError(f"Combine leaves out the effect 1 of '{row.name}' in this edit; write its {kind}")
                effects = tuple(None if v is None else math.exp(self._one(v, row.name)) for v in row.effects)
            elif row.kind.startswith("shape") and kind.startswith("shape") and kind in ("shape", "shape2", "shapeN"):
                effects = row.effects
            else:
                raise InputError(f"'{row.name}' cannot change from {row.kind} to {kind}")
            self.rows[i] = dataclasses.replace(row, kind=kind, effects=effects)

    def _merge(self, line: int, words: list[str], options: list[str]) -> None:
        process, channel, into, name = words[:4]
        at = self._columns(process, channel, options)
        for i in self._named(name, options):
            row = self.rows[i]
            if row.name == into:
                raise InputError(f"'{into}' would be merged into itself; expected another name")
            self._seen_by_combine(row.name, row.kind, [row.effects[k] for k in at])
            j = self._row(line, into, row.kind)
            self._enter(j, at, [row.effects[k] for k in at], ["addq"])
            self._set(i, at, [None] * len(at))

    def _split(self, line: int, words: list[str], options: list[str]) -> None:
        process, channel, old = words[:3]
        for i in self._named(old, options):
            row = self.rows[i]
            if row.name in words[3:5]:
                raise InputError(f"'{row.name}' would be split into itself; expected other names")
            at = [k for k in self._columns(process, channel, options) if row.effects[k] is not None]
            self._seen_by_combine(row.name, row.kind, [row.effects[k] for k in at])
            for name, text in zip(words[3:5], words[5:7], strict=True):
                value = self.value(name, row.kind, text)
                self._seen_by_combine(name, row.kind, [value])
                self._enter(self._row(line, name, row.kind), at, [value] * len(at), ["overwrite"])
            self._set(i, at, [None] * len(at))

    def _flip(self, line: int, words: list[str], options: list[str]) -> None:
        process, channel, name = words[:3]
        if not set(UP_DOWN) & set(options):
            raise InputError(f"expected: nuisance edit flip {SYNTAX['flip']}")
        at = self._columns(process, channel, options)
        for i in self._named(name, options):
            row = self.rows[i]
            if row.kind != LOGNORMAL.kind:
                raise InputError(f"'{row.name}' is of type {row.kind}; only {LOGNORMAL.kind} is flipped")
            self._set(i, at, [_flipped(row.effects[k], options) for k in at])

    # ------------------------------------------------------------ rows

    def _columns(self, process: str, channel: str, options: list[str]) -> list[int]:
        literal = channel.replace("+", r"\+")
        found = [i for i, c in enumerate(self.columns) if matches(process, c.process) and matches(literal, c.channel)]
        if not found and "ifexists" not in options:
            raise InputError(f"the edit finds no process '{process}' in a channel '{channel}'")
        return found

    def _named(self, pattern: str, options: list[str]) -> list[int]:
        found = [i for i, row in enumerate(self.rows) if matches(pattern, row.name)]
        if not found and "ifexists" not in options:
            called = f"{DIGITS}{pattern}"
            hint = f"; it is called '{called}' here" if any(row.name == called for row in self.rows) else ""
            raise InputError(f"the edit finds no nuisance '{pattern}' among the lines above{hint}")
        return found

    def _row(self, line: int, name: str, kind: str) -> int:
        """The number of the row of a name, which is made where there is none."""
        for i, row in enumerate(self.rows):
            if row.name == name:
                if row.kind != kind:
                    raise InputError(f"'{name}' is there already, of type {row.kind} and not {kind}")
                return i
        if name[:1].isdigit():
            raise InputError(f"'{name}' begins with a digit; a line would be called '{DIGITS}{name}', so say that")
        self.rows.append(self.row(line, name, kind, (), (None,) * len(self.columns)))
        return len(self.rows) - 1

    def _set(self, i: int, at: Sequence[int], values: Sequence[Value]) -> None:
        effects = list(self.rows[i].effects)
        for k, value in zip(at, values, strict=True):
            effects[k] = value
        self.rows[i] = dataclasses.replace(self.rows[i], effects=tuple(effects))

    def _enter(self, i: int, at: Sequence[int], values: Sequence[Value], options: list[str]) -> None:
        """Values where there are none; others stay, are replaced (`overwrite`) or joined in quadrature (`addq`)."""
        row, entered = self.rows[i], []
        for k, value in zip(at, values, strict=True):
            old = row.effects[k]
            if value is None or old is None:
                entered.append(old if value is None else value)
            elif "addq" in options:
                entered.append(_in_quadrature(old, value, row))
            elif "overwrite" in options:
                entered.append(value)
            else:
                column = self.columns[k]
                raise InputError(
                    f"'{row.name}' has an effect on process '{column.process}' in channel '{column.channel}' already; "
                    "say overwrite or addq"
                )
        self._set(i, at, entered)

    def _seen_by_combine(self, name: str, kind: str, values: Sequence[Value]) -> None:
        """Combine takes an effect of one for none, which for templates it is not."""
        if kind.startswith("shape") and 1.0 in values:
            raise InputError(f"Combine leaves out templates '{name}' with the effect 1 in this edit; write their line")

    def _one(self, value: Value, name: str) -> float:
        if not isinstance(value, float):
            raise InputError(f"'{name}' has a pair lo/hi, which cannot become one number")
        return value


def matches(pattern: str, word: str) -> bool:
    """Whether `*` or a regular expression is for the whole of a word; raises InputError for what is none."""
    if pattern == "*":
        return True
    try:
        return re.fullmatch(pattern, word) is not None
    except re.error as error:
        raise InputError(f"'{pattern}' is no regular expression: {error}") from None


def _flipped(value: Value, options: Sequence[str]) -> Value:
    """One over an effect (both numbers of a pair) that goes the way which an option names; the first of a pair says the
    way, as in Combine.
    """
    if value is None:
        return None
    size = 1.0 / value[0] if isinstance(value, tuple) else value
    if size == 1.0 or ("p2n" if size > 1.0 else "n2p") not in options:
        return value
    return (1.0 / value[0], 1.0 / value[1]) if isinstance(value, tuple) else 1.0 / value


def _in_quadrature(old: Value, new: Value, row: Row) -> Value:
    """Two log-normal effects as one, which must go the same way."""
    if row.kind not in LOGARITHMIC:
        raise InputError(
            f"'{row.name}' is of type {row.kind}; only {' and '.join(LOGARITHMIC)} are added in quadrature"
        )
    if isinstance(old, float) and isinstance(new, float):
        a, b = math.log(old), math.log(new)
        if a * b < 0:
            raise InputError(f"'{row.name}': effects {old:g} and {new:g} go different ways and cannot be added")
        return math.exp(math.copysign(math.hypot(a, b), a if a else b))
    pairs = [value if isinstance(value, tuple) else (1.0 / (value or 1.0), value or 1.0) for value in (old, new)]
    low, high = (_in_quadrature(pairs[0][i], pairs[1][i], row) for i in (0, 1))
    if not (isinstance(low, float) and isinstance(high, float)):
        raise InputError(f"'{row.name}': effects cannot be added")
    return low, high
