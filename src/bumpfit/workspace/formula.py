"""Formulas of parameters: a small grammar and an expression tree (`formula_slopes`: its derivatives).

    sum     = product (("+" | "-") product)*
    product = signed (("*" | "/") signed)*
    signed  = ("+" | "-") signed | power
    power   = atom [("**" | "^") signed]               binds tighter than a sign on its left, associates to the right
    atom    = number | name | function "(" sum ("," sum)* ")" | "(" sum ")"
    name    = letters, digits, "_" and ".", with [number] for one of the parameters of bins; or anything in quotes

Functions: exp, log, log10, sqrt, abs, sin, cos, tanh of one argument, pow of two, min and max of two or more. Text is
never run as code.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from bumpfit.errors import InputError

LONGEST = 100_000
"""Characters a formula may have."""

MOST_WORDS = 20_000
"""Signs, names and numbers a formula may have."""

FEW = 16
"""Sums of more terms are made of halves, so that they are not deep."""

DEEPEST = 60
"""How deep a formula may be nested."""

MOST_TERMS = 300
"""How many operations may stand below each other in a formula, those that it names included."""

# codes of the instructions; `formula_kernel.run_program` knows them by the same numbers
CONSTANT, PARAMETER, ADD, SUBTRACT, MULTIPLY, DIVIDE, POWER, NEGATE = range(8)
EXP, LOG, LOG10, SQRT, ABS, SIN, COS, TANH, MIN, MAX, SELECT = range(8, 19)

FUNCTIONS = {
    "exp": EXP, "log": LOG, "log10": LOG10, "sqrt": SQRT, "abs": ABS, "sin": SIN, "cos": COS, "tanh": TANH,
    "pow": POWER, "min": MIN, "max": MAX,
}  # fmt: skip
BINARY = {"+": ADD, "-": SUBTRACT, "*": MULTIPLY, "/": DIVIDE}


@dataclasses.dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclasses.dataclass(frozen=True)
class Name:
    """A parameter."""

    name: str


@dataclasses.dataclass(frozen=True)
class Call:
    """An operation on other expressions; SELECT(a, b, x, y) is x where a <= b, else y."""

    code: int
    arguments: tuple[Expression, ...]

    @cached_property
    def names(self) -> frozenset[str]:
        """Names in it."""
        parts = [a.names if isinstance(a, Call) else {a.name} if isinstance(a, Name) else () for a in self.arguments]
        return frozenset().union(*parts)


Expression = Number | Name | Call

ZERO, ONE = Number(0.0), Number(1.0)

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_.]*(?:\[\d+\])?)"
    r"|'(?P<single>[^']+)'|\"(?P<double>[^\"]+)\""
    r"|(?P<sign>\*\*|[-+*/^(),]))"
)


class _Parser:
    """Reads one formula."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0
        self.tokens = list(self._split(text))

    def _split(self, text: str) -> Iterator[tuple[str, str]]:
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                raise self.error(f"unexpected {text[place:].strip()[:1]!r}")
            kind = str(found.lastgroup)
            yield ("quoted" if kind in ("single", "double") else kind), str(found.group(kind))
            place = found.end()

    def error(self, reason: str) -> InputError:
        shown = self.text if len(self.text) <= 80 else f"{self.text[:77]}..."
        return InputError(
            f"cannot read the formula '{shown}': {reason}; a formula has numbers, names, + - * / ** ( ) and "
            f"{', '.join(FUNCTIONS)}"
        )

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def take(self, *signs: str) -> str | None:
        kind, text = self.peek()
        if kind == "sign" and text in signs:
            self.at += 1
            return text
        return None

    def expect(self, sign: str) -> None:
        if self.take(sign) is None:
            raise self.error(f"expected '{sign}', got {self.peek()[1] or 'the end'!r}")

    def whole(self) -> Expression:
        if len(self.tokens) > MOST_WORDS:
            raise self.error(f"it has more than {MOST_WORDS} signs, names and numbers; write several shorter ones")
        result = self.sum()
        if self.at < len(self.tokens):
            raise self.error(f"unexpected {self.peek()[1]!r}")
        if _depth(result) > MOST_TERMS:
            raise self.error(f"more than {MOST_TERMS} operations stand below each other; write several shorter ones")
        return result

    def sum(self) -> Expression:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.error(f"it is nested more than {DEEPEST} deep")
        terms = [(ADD, self.product())]
        while sign := self.take("+", "-"):
            terms.append((BINARY[sign], self.product()))
        self.depth -= 1
        return _total(terms)

    def product(self) -> Expression:
        result = self.signed()
        for factors in itertools.count(2):
            if not (sign := self.take("*", "/")):
                break
            if factors > MOST_TERMS:
                raise self.error(f"a product has more than {MOST_TERMS} factors; write several shorter ones")
            result = operate(BINARY[sign], result, self.signed())
        return result

    def signed(self) -> Expression:
        signs = 0
        while sign := self.take("+", "-"):
            signs += sign == "-"
        result = self.power()
        return operate(NEGATE, result) if signs % 2 else result

    def power(self) -> Expression:
        base = self.atom()
        if self.take("**", "^"):
            self.depth += 1
            if self.depth > DEEPEST:
                raise self.error(f"it is nested more than {DEEPEST} deep")
            base = operate(POWER, base, self.signed())
            self.depth -= 1
        return base

    def atom(self) -> Expression:
        kind, text = self.peek()
        self.at += 1
        if kind == "number":
            return Number(self._finite(float(text), text))
        if kind == "quoted":
            return Name(text)
        if kind == "name":
            return self.function(text) if self.peek() == ("sign", "(") else Name(text)
        if (kind, text) == ("sign", "("):
            result = self.sum()
            self.expect(")")
            return result
        raise self.error(f"expected a number or a name, got {text or 'the end'!r}")

    def function(self, name: str) -> Expression:
        if name not in FUNCTIONS:
            raise self.error(f"there is no function '{name}'")
        self.expect("(")
        arguments = [self.sum()]
        while self.take(","):
            arguments.append(self.sum())
        self.expect(")")
        least, most = {POWER: (2, 2), MIN: (2, 99), MAX: (2, 99)}.get(FUNCTIONS[name], (1, 1))
        if not least <= len(arguments) <= most:
            raise self.error(f"{name} takes {'two or more' if most > 2 else least} arguments, got {len(arguments)}")
        result = arguments[0]
        if most == 1:
            return operate(FUNCTIONS[name], result)
        for argument in arguments[1:]:
            result = operate(FUNCTIONS[name], result, argument)
        return result

    def _finite(self, value: float, text: str) -> float:
        if not math.isfinite(value):
            raise self.error(f"the number {text} is too large")
        return value


def parse(text: str) -> Expression:
    """The expression that a formula stands for; raises InputError with what is wrong in it."""
    if not isinstance(text, str) or not text.strip():
        raise InputError("a formula must be a text with an expression, such as 'mu * efficiency'")
    if len(text) > LONGEST:
        raise InputError(f"a formula may have {LONGEST} characters, got {len(text)}")
    return _Parser(text).whole()


def _total(terms: Sequence[tuple[int, Expression]]) -> Expression:
    """The sum of terms with their signs; of many the sum of two halves."""
    if len(terms) > FEW:
        half = len(terms) // 2
        return operate(ADD, _total(terms[:half]), _total(terms[half:]))
    code, result = terms[0]
    if code == SUBTRACT:
        result = operate(NEGATE, result)
    for code, term in terms[1:]:
        result = operate(code, result, term)
    return result


def names_in(expression: Expression) -> tuple[str, ...]:
    """Names in the order in which they first occur."""
    found: dict[str, None] = {}

    def visit(node: Expression) -> None:
        if isinstance(node, Name):
            found.setdefault(node.name)
        elif isinstance(node, Call):
            for argument in node.arguments:
                visit(argument)

    visit(expression)
    return tuple(found)


def _depth(expression: Expression) -> int:
    if not isinstance(expression, Call):
        return 1
    return 1 + max(map(_depth, expression.arguments))


def replaced(expression: Expression, values: Mapping[str, Expression]) -> Expression:
    """The expression with other expressions in place of names."""
    if isinstance(expression, Name):
        return values.get(expression.name, expression)
    if isinstance(expression, Call):
        return operate(expression.code, *(replaced(argument, values) for argument in expression.arguments))
    return expression


def resolve(formulas: Mapping[str, Expression]) -> dict[str, Expression]:
    """Formulas with the formulas that they name put in; raises InputError where they name each other in a loop."""
    done: dict[str, Expression] = {}

    def visit(name: str, chain: tuple[str, ...]) -> Expression:
        if name in chain:
            raise InputError(
                f"the formulas {' -> '.join([*chain[chain.index(name) :], name])} name each other in a loop"
            )
        if len(chain) > DEEPEST:
            raise InputError(f"the formulas {chain[0]} -> {chain[1]} -> ... name each other more than {DEEPEST} deep")
        if name not in done:
            inner = {n: visit(n, (*chain, name)) for n in names_in(formulas[name]) if n in formulas}
            depth = _depth(formulas[name]) + max(map(_depth, inner.values()), default=0)
            if depth > MOST_TERMS:
                raise InputError(f"the formula '{name}' has too many terms with those that it names")
            done[name] = replaced(formulas[name], inner)
        return done[name]

    for name in formulas:
        visit(name, ())
    return done


# ---------------------------------------------------------------- values

_NUMERIC: dict[int, Callable[..., float]] = {
    ADD: lambda a, b: a + b, SUBTRACT: lambda a, b: a - b, MULTIPLY: lambda a, b: a * b, DIVIDE: lambda a, b: a / b,
    POWER: lambda a, b: a**b, NEGATE: lambda a: -a, EXP: math.exp, LOG: math.log, LOG10: math.log10, SQRT: math.sqrt,
    ABS: abs, SIN: math.sin, COS: math.cos, TANH: math.tanh, MIN: min, MAX: max,
    SELECT: lambda a, b, x, y: x if a <= b else y,
}  # fmt: skip


def _apply(code: int, values: Sequence[float]) -> float:
    """The value of an operation on numbers; NaN where it does not exist."""
    try:
        result = _NUMERIC[code](*values)
    except (ArithmeticError, ValueError):
        return math.nan
    return result if isinstance(result, float) else math.nan  # a power of a negative number is complex


def evaluate(expression: Expression, values: Mapping[str, float]) -> float:
    """The value of an expression; NaN where it does not exist."""
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Name):
        return float(values[expression.name])
    return _apply(expression.code, [evaluate(argument, values) for argument in expression.arguments])


def operate(code: int, *arguments: Expression) -> Expression:
    """An operation, with constants folded and zeros and ones left out."""
    if all(isinstance(argument, Number) for argument in arguments):
        value = _apply(code, [argument.value for argument in arguments if isinstance(argument, Number)])
        if math.isfinite(value):
            return Number(value)
    first, last = arguments[0], arguments[-1]
    if code == ADD and ZERO in (first, last):
        return last if first == ZERO else first
    if code == SUBTRACT and last == ZERO:
        return first
    if code == MULTIPLY:
        if ZERO in (first, last):
            return ZERO
        if ONE in (first, last):
            return last if first == ONE else first
    if (code in (DIVIDE, POWER)) and last == ONE:
        return first
    if code == DIVIDE and first == ZERO:
        return ZERO
    if code == SELECT and arguments[2] == arguments[3]:
        return arguments[2]
    return Call(code, arguments)


# ---------------------------------------------------------------- text

_SIGNS = {ADD: "+", SUBTRACT: "-", MULTIPLY: "*", DIVIDE: "/"}
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*(\[\d+\])?")


def written(expression: Expression, rename: Callable[[str], str] | None = None) -> str:
    """A formula that `parse` reads as this expression; powers are written pow(a, b), which RooFit reads as well."""
    if isinstance(expression, Number):
        return repr(expression.value) if expression.value >= 0 else f"({expression.value!r})"
    if isinstance(expression, Name):
        name = expression.name if rename is None else rename(expression.name)
        return name if _PLAIN.fullmatch(name) else f'"{name}"' if '"' not in name else f"'{name}'"
    texts = [written(argument, rename) for argument in expression.arguments]
    if expression.code in _SIGNS:
        return f"({texts[0]} {_SIGNS[expression.code]} {texts[1]})"
    if expression.code == NEGATE:
        return f"(-{texts[0]})"
    name = next(word for word, code in FUNCTIONS.items() if code == expression.code)
    return f"{name}({', '.join(texts)})"
