"""Cut sentences on events: evaluation of the grammar's tree (`bumpfit.events.grammar`).

    events.mask("jet.size > 1 and fatjet0.tau21 < 0.6", source)
    events.mask("jet.pt > 30 and abs(jet.eta) < 2.5 [any]", source)
    events.mask("veto muon.pt > 10 [any]", source)

Rules: a comparison with None (a missing object, an undefined value as 1 / 0) is False. One value an event and a list
combine: the event's value holds for every entry. Lists combine with equal lists only (`jet.pt > 30 and jet.eta < 2`,
not `jet.pt > muon.pt`). What is still a list at the end must hold for all entries; `[any]` or `any` and `[all]` or
`all` say which is meant. `all` of an empty list is False, as in the paper (an event without jets has no jets that
pass); `empty=True` makes it True, as in logic. `any` of an empty list is False. `veto` keeps the events that do not
pass what follows it; of a list, those in which not all entries pass: write `veto muon.pt > 10 [any]` against any muon.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.events import grammar
from bumpfit.events.arrays import Jagged, ak, double, fill_false, filled, numbers, unequal
from bumpfit.events.observables import evaluate, over_chunks
from bumpfit.events.sentence_tree import (
    Call,
    Comparison,
    CutError,
    Flag,
    Logic,
    Node,
    Number,
    Observable,
    Operation,
    Quantified,
    start,
)
from bumpfit.events.source import Chunk, ReadError, Source

EXACT = 2**53  # a double holds every whole number below it
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: (a < b) | (a > b),  # False with NaN, like the others
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    name: getattr(np, name)
    for name in ("abs", "sqrt", "exp", "log", "log10", "sin", "cos", "tan", "sinh", "cosh", "tanh")
}


@dataclasses.dataclass(frozen=True)
class Cut:
    """A parsed cut sentence; `empty` is what `all` of an empty list is."""

    text: str
    tree: Node
    empty: bool = False

    def __call__(self, events: Source | Chunk | Any) -> NDArray[np.bool_]:
        """Which events pass, shape (n,)."""
        passed = over_chunks(lambda chunk: _Evaluation(self, chunk).event(self.tree), events)
        return np.asarray(ak.to_numpy(passed), dtype=np.bool_)


@functools.lru_cache(maxsize=128)  # every range of events asks again
def compile(text: str, *, empty: bool = False) -> Cut:
    """Parse a cut sentence once for many sources; CutError (an InputError) shows the place of a mistake by a caret."""
    return Cut(text, grammar.parse(text), empty)


def mask(text: str | Cut, events: Source | Chunk | Any, *, empty: bool = False) -> NDArray[np.bool_]:
    """Which events pass a cut sentence.

    Args:
        text: the sentence.
        events: what `bumpfit.events.open` returned, a chunk of it, or anything that `open` takes.
        empty: what `all` of an empty list is.

    Returns:
        booleans, shape (n,).

    Raises:
        CutError: a mistake in the sentence, an unknown name, or lists that cannot be combined.
    """
    cut = text if isinstance(text, Cut) else compile(text, empty=empty)
    return cut(events)


def values(text: str, events: Source | Chunk | Any) -> NDArray[np.float64]:
    """The value of an expression, as `0.7 * weight`, for every event; `events` as of `mask`.

    Returns:
        numbers, shape (n,); NaN where one is missing or not finite.

    Raises:
        CutError: a mistake in the expression, a condition, an unknown name, or a list of values an event.
    """
    cut = Cut(text, grammar.parse_value(text))

    def of_chunk(chunk: Chunk) -> Jagged:
        value = _Evaluation(cut, chunk).node(cut.tree)
        if value.axes:
            raise CutError(f"{value.of} is a list; expected one value an event, as jet0.pt", text, 0)
        return np.broadcast_to(np.asarray(_wide(value.array)), (len(chunk),))

    return np.asarray(ak.to_numpy(over_chunks(of_chunk, events)), dtype=np.float64)


@dataclasses.dataclass(frozen=True)
class _Value:
    array: Jagged
    axes: tuple[str, ...] = ()
    of: str = ""  # the first observable in it that is a list, for messages


class _Evaluation:
    """One cut on one chunk."""

    def __init__(self, cut: Cut, chunk: Chunk) -> None:
        self.cut = cut
        self.chunk = chunk
        self.values: dict[str, _Value] = {}  # observables by name: read once, however often a sentence names them

    def event(self, node: Node) -> Jagged:
        """One truth value an event."""
        return self.reduced("all", self.node(node)).array

    def node(self, node: Node) -> _Value:
        match node:
            case Number():
                return _Value(_number(node.value))
            case Observable():
                return self.observable(node)
            case Flag():
                return self.flag(node)
            case Operation():
                return self.operation(node)
            case Call():
                return self.call(node)
            case Comparison():
                return self.comparison(node)
            case Logic():
                return self.logic(node)
            case Quantified():
                inside = self.node(node.inside)
                if node.word == "veto":
                    return _Value(~self.reduced("all", inside).array)
                return self.reduced(node.word, inside)

    def observable(self, node: Observable) -> _Value:
        text = node.name.text
        if text not in self.values:
            array, axes = self.stored(node)
            self.values[text] = _Value(_entries(array) if array.ndim == 1 else array, axes, text if axes else "")
        return self.values[text]

    def flag(self, node: Flag) -> _Value:
        array, axes = self.stored(node)
        if not _booleans(array):
            raise CutError(node.message, self.cut.text, node.place)
        found = fill_false(array)
        return _Value(found if axes else np.asarray(ak.to_numpy(found)), axes, node.name.text if axes else "")

    def stored(self, node: Observable | Flag) -> tuple[Jagged, tuple[str, ...]]:
        try:
            array, axes = evaluate(node.name, self.chunk, flatten_once=True)
        except ReadError:
            raise
        except InputError as error:
            raise CutError(str(error), self.cut.text, node.at) from error
        if not numbers(array):
            raise CutError(f"'{node.name.text}' holds no numbers", self.cut.text, node.at)
        return array, axes

    def operation(self, node: Operation) -> _Value:
        if len(node.operands) == 1:
            value = self.node(node.operands[0])
            return _Value(-_wide(value.array), value.axes, value.of)
        left: Node = node
        later: list[Operation] = []
        while isinstance(left, Operation) and len(left.operands) == 2:  # a long sum is a deep tree on its left side
            later.append(left)
            left = left.operands[0]
        value = self.node(left)
        for step in reversed(later):
            other = self.node(step.operands[1])
            first, second, axes = self.aligned(value, other, step.at)
            with np.errstate(all="ignore"):
                result = _known(_ARITHMETIC[step.operator](_wide(first), _wide(second)))
            value = _Value(result, axes, value.of or other.of)
        return value

    def call(self, node: Call) -> _Value:
        values = [self.node(argument) for argument in node.arguments]
        value = values[0]
        if node.function == "count" or (node.function in ("min", "max", "sum") and len(values) == 1):
            if not value.axes:
                raise CutError(f"{node.function} of one value takes a list, as jet.pt", self.cut.text, node.at)
            array = value.array if node.function == "count" else _wide(value.array)
            reduction = {"min": ak.min, "max": ak.max}.get(node.function, ak.sum)
            reduced = reduction(array, axis=-1)
            return _Value(reduced if len(value.axes) > 1 else filled(reduced), value.axes[:-1], value.of)
        with np.errstate(all="ignore"):
            if node.function in ("min", "max"):
                smaller = node.function == "min"
                for other in values[1:]:
                    first, second, axes = self.aligned(value, other, node.at)
                    first, second = _wide(first), _wide(second)
                    chosen = np.minimum(first, second) if smaller else np.maximum(first, second)
                    value = _Value(chosen, axes, value.of or other.of)
                return value
            return _Value(_known(_FUNCTIONS[node.function](_wide(value.array))), value.axes, value.of)

    def comparison(self, node: Comparison) -> _Value:
        values = [self.node(operand) for operand in node.operands]
        links = []
        for place, operator in enumerate(node.operators):
            first, second, axes = self.aligned(values[place], values[place + 1], node.at[place])
            result = _COMPARE[operator](first, second)
            if isinstance(result, bool | np.bool_):  # two numbers
                result = np.full(len(self.chunk), bool(result))
            of = values[place].of or values[place + 1].of
            links.append(_Value(fill_false(result) if axes else result, axes, of))
        joined = links[0]
        for link, at in zip(links[1:], node.at[1:], strict=True):
            joined = self.joined("and", joined, link, at)
        return joined

    def logic(self, node: Logic) -> _Value:
        if node.word == "not":
            inside = self.node(node.operands[0])
            return _Value(~inside.array, inside.axes, inside.of)
        operands = _tightest(node)
        joined = self.node(operands[0])
        said = {_key(operands[0])}
        for operand in operands[1:]:
            key = _key(operand)
            if key is None or key not in said:  # a condition that is repeated changes nothing
                joined = self.joined(node.word, joined, self.node(operand), start(operand))
                said.add(key)
        return joined

    def joined(self, word: str, a: _Value, b: _Value, at: int) -> _Value:
        first, second, axes = self.aligned(a, b, at)
        return _Value(first & second if word == "and" else first | second, axes, a.of or b.of)

    def aligned(self, a: _Value, b: _Value, at: int) -> tuple[Jagged, Jagged, tuple[str, ...]]:
        """Both values, and the axes of their combination: one's axes must begin with the other's."""
        longer = a.axes if len(a.axes) >= len(b.axes) else b.axes
        shorter = b.axes if longer is a.axes else a.axes
        if longer[: len(shorter)] != shorter:
            raise CutError(
                f"lists of {_of(a.axes)} and of {_of(b.axes)} cannot be combined entry by entry; "
                "reduce one by [any] or [all] (or min, max, count), or name one object, as in jet0.pt",
                self.cut.text,
                at,
            )
        event = unequal(a.array, b.array) if shorter else None
        if event is not None:
            raise CutError(
                f"the lists of {a.of} and of {b.of} have different lengths in event {self.chunk.start + event} "
                "(counted from 0); only branches with equal lists combine entry by entry",
                self.cut.text,
                at,
            )
        return a.array, b.array, longer

    def reduced(self, word: str, value: _Value) -> _Value:
        array = value.array
        if not value.axes:
            return value
        while array.ndim > 2:
            array = ak.flatten(array, axis=2)
        result = ak.any(array, axis=1) if word == "any" else ak.all(array, axis=1)
        if word == "all" and not self.cut.empty:
            result = result & (ak.num(array, axis=1) > 0)
        return _Value(filled(result))


def _tightest(node: Logic) -> list[Node]:
    """The conditions of a list, of `x > 1 and x > 3` only the one that decides, at the place of the first."""
    kept: list[Node] = []
    places: dict[tuple[str, str], int] = {}
    for operand in node.operands:
        bound = _bound(operand)
        if bound is None:
            kept.append(operand)
            continue
        name, operator, number = bound
        place = places.setdefault((name, operator), len(kept))
        if place == len(kept):
            kept.append(operand)
            continue
        other = _bound(kept[place])
        assert other is not None
        larger = (operator[0] == ">") == (node.word == "and")
        if number > other[2] if larger else number < other[2]:
            kept[place] = operand
    return kept


def _bound(node: Node) -> tuple[str, str, float | int] | None:
    """Observable, operator and number of `x > 3`, None for other conditions."""
    if not isinstance(node, Comparison) or len(node.operators) != 1 or node.operators[0] in ("==", "!="):
        return None
    first, second = node.operands
    if not isinstance(first, Observable) or not isinstance(second, Number):
        return None
    return first.name.text, node.operators[0], second.value


def _key(node: Node) -> object:
    """What is equal for equal simple conditions (comparisons of observables and numbers), None for others."""
    match node:
        case Number():
            return node.value
        case Observable() | Flag():
            return node.name.text
        case Comparison():
            keys = tuple(_key(operand) for operand in node.operands)
            return None if None in keys else (node.operators, keys)
        case Quantified():
            inside = _key(node.inside)
            return None if inside is None else (node.word, inside)
        case _:
            return None


def _of(axes: tuple[str, ...]) -> str:
    return " and ".join(axes) or "single values"


def _number(value: float | int) -> Any:
    """A number as NumPy compares it exactly: whole ones in 64 bits."""
    if isinstance(value, float):
        return np.float64(value)
    if -(2**63) <= value < 2**63:
        return np.int64(value)
    return np.uint64(value) if 0 <= value < 2**64 else np.float64(value)


def _booleans(array: Jagged) -> bool:
    return array.dtype.kind == "b" if isinstance(array, np.ndarray) else "bool" in str(ak.type(array))


def _entries(array: Jagged) -> NDArray[Any]:
    """One value an event, NaN where it is missing; integers with gaps keep all their digits."""
    values: Any = array if isinstance(array, np.ndarray) else ak.to_numpy(array)
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "iu":
        known = values.compressed()
        if len(known) and max(-int(known.min()), int(known.max())) >= EXACT:
            wide: Any = values.astype(np.longdouble)
            return np.asarray(wide.filled(np.nan))
    return filled(values)


def _wide(array: Jagged) -> Jagged:
    """Double precision for arithmetic: integers neither wrap around nor divide to integers."""
    return np.float64(array) if isinstance(array, np.number) else double(array)


def _known(array: Jagged) -> Jagged:
    """NaN, which every comparison refuses, for results that are not finite (division by zero, overflow)."""
    if isinstance(array, np.ndarray | float):
        return np.where(np.isfinite(array), array, np.nan)[()]
    flat = ak.to_numpy(ak.flatten(array, axis=None), allow_missing=True)
    return array if np.isfinite(flat).all() else ak.where(np.isfinite(array), array, np.nan)
