"""The tree of a cut sentence, which the grammar makes and the evaluation walks; its error with the place."""

from __future__ import annotations

import dataclasses

from bumpfit.errors import InputError
from bumpfit.events.names import Name

SHOWN = 100  # characters of a long sentence that an error shows around its place


@dataclasses.dataclass(frozen=True)
class Number:
    """A number; one that is whole is kept exactly."""

    value: float | int
    at: int


@dataclasses.dataclass(frozen=True)
class Observable:
    """An observable by name."""

    name: Name
    at: int


@dataclasses.dataclass(frozen=True)
class Flag:
    """An observable that stands as a condition: its booleans; for others `message` with the caret at `place`."""

    name: Name
    at: int
    message: str
    place: int


@dataclasses.dataclass(frozen=True)
class Operation:
    """Arithmetic: `+`, `-`, `*`, `/`, `**` on one (sign) or two operands."""

    operator: str
    operands: tuple[Node, ...]
    at: int


@dataclasses.dataclass(frozen=True)
class Call:
    """A function of its arguments."""

    function: str
    arguments: tuple[Node, ...]
    at: int


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A chain `a < b <= c`: operands, and the operators between them with their positions."""

    operands: tuple[Node, ...]
    operators: tuple[str, ...]
    at: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Logic:
    """`and` / `or` of several, `not` of one."""

    word: str
    operands: tuple[Node, ...]
    at: int


@dataclasses.dataclass(frozen=True)
class Quantified:
    """`any`, `all` or `veto` of what is inside: one truth value an event."""

    word: str
    inside: Node
    at: int


Node = Number | Observable | Flag | Operation | Call | Comparison | Logic | Quantified
TRUTH = (Comparison, Logic, Quantified, Flag)


class CutError(InputError):
    """A cut sentence that cannot be used; the message shows the place by a caret."""

    def __init__(self, message: str, text: str, at: int) -> None:
        # one column a character: tabs and line ends would move the caret, the others the terminal
        plain = "".join(" " if mark.isspace() else mark if mark.isprintable() else "?" for mark in text)
        at = min(at, len(plain))
        first = 0 if len(plain) <= SHOWN else max(0, min(at - SHOWN // 2, len(plain) - SHOWN))
        shown = plain[first : first + SHOWN]
        before, after = "..." if first else "", "..." if first + SHOWN < len(plain) else ""
        super().__init__(f"{message}\n  {before}{shown}{after}\n  {' ' * (len(before) + at - first)}^")


def start(node: Node) -> int:
    """Position of the first character that belongs to a node (its operator, for arithmetic)."""
    if isinstance(node, Comparison):
        return start(node.operands[0])
    return node.at
