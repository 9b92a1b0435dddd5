"""The grammar of cut sentences: text to a tree. Nothing is ever evaluated as Python.

    sentence   = ["veto" | "any" | "all"] clause (("and" | "or") clause)*
    clause     = ["veto"] "not"* condition ["[any]" | "[all]"]
    condition  = sum (("<" | "<=" | ">" | ">=" | "==" | "!=") sum)*
    sum        = product (("+" | "-") product)*        product = sign (("*" | "/") sign)*
    sign       = ("+" | "-")* power                    power   = atom [("**" | "^") sign]
    atom       = number | observable | function "(" sentence, ... ")" | "(" sentence ")"

An observable that holds booleans is a condition. Backticks hold any name (`bumpfit.events.names`), its own doubled.

`and` binds tighter than `or`; `&`, `&&`, `|`, `||`, `!`, `~` are the same as the words. `veto`, `any` and `all` at the
front of a sentence or bracket hold for all of it; written as functions (`any(jet.pt > 50)`) for their bracket. `[any]`
and `[all]` hold for everything before them in their sentence or bracket, back to the one before.
"""

from __future__ import annotations

import contextlib
import decimal
import re
from collections.abc import Iterator
from typing import NamedTuple

from bumpfit.errors import InputError
from bumpfit.events import names
from bumpfit.events.layout import REFERENCES
from bumpfit.events.names import DOTTED
from bumpfit.events.sentence_tree import (
    TRUTH,
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

COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")
FUNCTIONS = {  # least and most numbers of arguments
    **dict.fromkeys(("abs", "sqrt", "exp", "log", "log10", "sin", "cos", "tan", "sinh", "cosh", "tanh"), (1, 1)),
    **dict.fromkeys(("sum", "count"), (1, 1)),
    **dict.fromkeys(("min", "max"), (1, None)),
}
DEEPEST = 60

_TOKEN = re.compile(
    rf"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))|(?P<name>{DOTTED})"
    r"|(?P<quantifier>\[\s*(?:any|all)\s*\])|(?P<symbol><=|>=|==|!=|&&|\|\||\*\*|[<>()+\-*/^&|!~,])",
    re.IGNORECASE,
)
# `jet0.pt > 100` between `and`, `or` and brackets: one token, for sentences of thousands of conditions.
_SIMPLE = re.compile(
    rf"(?P<name>{DOTTED})\s*(?P<operator><=|>=|==|!=|<|>)\s*"
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))(?=\s*(?:(?:and|or)\b|[&|)]|$))",
    re.IGNORECASE,
)
_WORDS = {
    "and": "and",
    "or": "or",
    "not": "not",
    "&": "and",
    "&&": "and",
    "|": "or",
    "||": "or",
    "!": "not",
    "~": "not",
}
_FRONT = ("veto", "any", "all")
_RESERVED = frozenset((*_WORDS, *_FRONT))


class _Token(NamedTuple):
    kind: str  # number, name, word, quantifier, symbol, simple (a whole comparison, with its node), end
    text: str
    at: int
    node: Comparison | None = None

    @property
    def end(self) -> int:
        return self.at + len(self.text)


def parse(text: str) -> Node:
    """Parse a cut sentence.

    Raises:
        CutError: not a sentence of the grammar, or not a condition; the message shows where.
    """
    if not isinstance(text, str):
        raise InputError(f"the cut is {type(text).__name__}; expected a sentence as 'jet0.pt > 100'")
    return _Parser(text).whole()


def parse_value(text: str) -> Node:
    """Parse an expression that is a number, as `0.7 * weight`; raises CutError as `parse`, for conditions too."""
    if not isinstance(text, str):
        raise InputError(f"the expression is {type(text).__name__}; expected a text as '0.7 * weight'")
    return _Parser(text).alone()


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        if not found or found[-1].kind == "word" or found[-1].text == "(":
            simple = _simple(text, at)
            if simple is not None:
                found.append(simple)
                at = simple.end
                continue
        match = _TOKEN.match(text, at)
        if match is None:
            if text[at] == "=" and text[at + 1 : at + 2] in ("<", ">"):
                raise CutError(f"'={text[at + 1]}' is written '{text[at + 1]}='", text, at)
            if text[at] == "=":
                raise CutError("'=' compares nothing; write '==' for equal", text, at)
            if text[at] == "`":
                raise CutError(
                    "this backtick begins no name; expected one more behind the name (its own are doubled)",
                    text,
                    at,
                )
            if text[at].isdigit():
                raise CutError("this is neither a number nor a name (names start with a letter)", text, at)
            hint = "; a name that holds it goes between backticks" if text[at].isalpha() or text[at] in "#@$:?" else ""
            raise CutError(f"{text[at]!r} is not part of the cut language{hint}", text, at)
        kind, word = match.lastgroup or "", match.group()
        if (small := word.lower()) in _RESERVED:
            kind, word = "word", _WORDS.get(small, small)
        elif kind == "symbol" and word == "^":
            word = "**"
        found.append(_Token(kind, word, at))
        at = match.end()
    return [*found, _Token("end", "", len(text))]


def _simple(text: str, at: int) -> _Token | None:
    """The comparison of an observable with a number that begins here and stands alone, or None."""
    match = _SIMPLE.match(text, at)
    if match is None or match["name"].lower() in _RESERVED:
        return None
    try:
        name = names.parse(match["name"])
    except InputError:  # told with its place, when it is read word by word
        return None
    operands = (Observable(name, at), Number(_number(match["number"]), match.start("number")))
    return _Token("simple", match.group(), at, Comparison(operands, (match["operator"],), (match.start("operator"),)))


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.place = 0
        self.depth = 0
        self.in_call = False

    @property
    def token(self) -> _Token:
        return self.tokens[self.place]

    def next(self, ahead: int = 1) -> _Token:
        return self.tokens[min(self.place + ahead, len(self.tokens) - 1)]

    def fail(self, message: str, token: _Token | None = None) -> CutError:
        return CutError(message, self.text, (token or self.token).at)

    def take(self) -> _Token:
        token = self.token
        self.place += 1
        return token

    @contextlib.contextmanager
    def deeper(self, what: str) -> Iterator[None]:
        """One level further in; what Python's own stack holds is limited."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.fail(f"more than {DEEPEST} {what}")
        try:
            yield
        finally:
            self.depth -= 1

    def is_(self, *texts: str) -> bool:
        token = self.tokens[self.place]
        return token.text in texts and token.kind in ("word", "symbol")

    def whole(self) -> Node:
        if self.token.kind == "end":
            raise self.fail("the cut is empty; expected a condition as jet0.pt > 100")
        node = self.to_the_end()
        return self.truth(
            node, "this is a value, not a condition; compare it to something, as in jet0.pt > 100", self.tokens[0].at
        )

    def alone(self) -> Node:
        if self.token.kind == "end":
            raise self.fail("the expression is empty; expected a value as 0.7 * weight")
        return self.value(self.to_the_end())

    def to_the_end(self) -> Node:
        node = self.sentence()
        if self.token.kind != "end":
            if self.is_(")"):
                raise self.fail("this bracket closes nothing")
            raise self.fail(f"'{self.token.text}' is not expected here; missing 'and', 'or' or an operator before it")
        return node

    def sentence(self) -> Node:
        with self.deeper("brackets inside each other"):
            word = self.token
            glued = self.next().text == "(" and self.next().at == word.end
            if word.kind == "word" and word.text in _FRONT and not glued:
                self.take()
                return Quantified(word.text, self.condition_of(self.sentence(), word), word.at)
            return self.clauses()

    def clauses(self) -> Node:
        """Clauses with `and` and `or` between; quantifiers gather what stands before them."""
        items: list[Node] = [self.clause()]
        words: list[_Token] = []
        gathered = 0  # items before this one belong to earlier quantifiers
        while True:
            if self.token.kind == "quantifier":
                token = self.take()
                inside = self.condition_of(_join(items[gathered:], words[gathered:]), token)
                items[gathered:] = [Quantified(token.text.strip("[] ").lower(), inside, token.at)]
                del words[gathered:]
                gathered += 1
                if self.token.kind == "quantifier":
                    raise self.fail("two quantifiers stand one after the other; keep one")
            if not self.is_("and", "or"):
                return _join(items, words)
            token = self.take()
            items[-1] = self.condition_of(items[-1], token)
            words.append(token)
            items.append(self.condition_of(self.clause(), token))

    def clause(self) -> Node:
        token = self.token
        if self.is_("not"):
            self.take()
            with self.deeper("words one inside the other"):
                return Logic("not", (self.condition_of(self.clause(), token),), token.at)
        if self.is_(*_FRONT):
            return self.fronted()
        return self.comparison()

    def fronted(self) -> Node:
        """`any(...)`, `all(...)`, `veto(...)` as functions; `veto` of one clause after `and` or `or`."""
        token = self.take()
        if self.is_("("):
            if self.token.at != token.end and token.text != "veto":
                raise self.fail(
                    f"'{token.text}' stands inside a sentence; write {token.text}(...) without a blank", token
                )
            return Quantified(token.text, self.condition_of(self.atom(), token), token.at)
        if token.text != "veto":
            raise self.fail(
                f"'{token.text}' stands inside a sentence; put its part in brackets: {token.text}(...)", token
            )
        with self.deeper("words one inside the other"):
            inside = self.condition_of(self.clause(), token)
        if self.token.kind == "quantifier":
            mark = self.take()
            inside = Quantified(mark.text.strip("[] ").lower(), inside, mark.at)
        return Quantified("veto", inside, token.at)

    def condition_of(self, node: Node, token: _Token) -> Node:
        word = token.text.strip("[] ") or token.text
        return self.truth(node, f"'{word}' needs a condition; this is a value without a comparison", start(node))

    def truth(self, node: Node, message: str, place: int) -> Node:
        """A condition; an observable may be one, which its values will tell."""
        if isinstance(node, Observable):
            return Flag(node.name, node.at, message, place)
        if not isinstance(node, TRUTH):
            raise CutError(message, self.text, place)
        return node

    def comparison(self) -> Node:
        if self.token.node is not None:
            node = self.token.node
            self.place += 1
            return node
        operands, operators, places = [self.sum()], [], []
        while self.is_(*COMPARISONS):
            token = self.take()
            operators.append(token.text)
            places.append(token.at)
            operands.append(self.sum())
        if not operators:
            return operands[0]
        for operand in operands:
            if isinstance(operand, TRUTH):
                raise CutError("a condition is compared here; compare values", self.text, start(operand))
        return Comparison(tuple(operands), tuple(operators), tuple(places))

    def sum(self) -> Node:
        node = self.product()
        while self.is_("+", "-"):
            token = self.take()
            node = Operation(token.text, (self.value(node), self.value(self.product())), token.at)
        return node

    def product(self) -> Node:
        node = self.sign()
        while self.is_("*", "/"):
            token = self.take()
            node = Operation(token.text, (self.value(node), self.value(self.sign())), token.at)
        return node

    def sign(self) -> Node:
        if not self.is_("+", "-"):
            return self.power()
        token = self.take()
        with self.deeper("signs in a row"):
            inside = self.value(self.sign())
        if token.text == "+":
            return inside
        return Number(-inside.value, token.at) if isinstance(inside, Number) else Operation("-", (inside,), token.at)

    def power(self) -> Node:
        node = self.atom()
        if not self.is_("**"):
            return node
        token = self.take()
        with self.deeper("powers in a row"):
            return Operation("**", (self.value(node), self.value(self.sign())), token.at)

    def value(self, node: Node) -> Node:
        if isinstance(node, TRUTH):
            raise CutError("a condition stands where a value is expected", self.text, start(node))
        return node

    def atom(self) -> Node:
        token = self.token
        if token.kind == "number":
            return Number(_number(self.take().text), token.at)
        if self.is_("("):
            self.take()
            outer, self.in_call = self.in_call, False
            node = self.sentence()
            self.in_call = outer
            self.close(token)
            return node
        if token.kind == "name":
            if self.next().text == "(":
                return self.call()
            return self.observable()
        if token.kind == "end":
            raise self.fail("the cut ends here; expected a number, an observable or a bracket")
        raise self.fail(f"'{token.text}' stands where a number, an observable or a bracket is expected")

    def close(self, opened: _Token) -> None:
        if not self.is_(")"):
            if self.token.kind == "end":
                raise self.fail("this bracket is not closed", opened)
            raise self.fail(f"'{self.token.text}' is not expected here; expected ')' or an operator")
        self.take()

    def call(self) -> Node:
        token = self.take()
        word = token.text.lower()
        if word not in FUNCTIONS:
            raise self.fail(f"'{token.text}' is not a function; those are {', '.join(FUNCTIONS)}, any, all", token)
        opened = self.take()
        outer, self.in_call = self.in_call, True
        arguments = [self.sentence()]
        while self.is_(","):
            self.take()
            arguments.append(self.sentence())
        self.in_call = outer
        self.close(opened)
        least, most = FUNCTIONS[word]
        if len(arguments) < least or (most is not None and len(arguments) > most):
            raise self.fail(f"{word} takes {most} argument, got {len(arguments)}", token)
        if word != "count":
            arguments = [self.value(argument) for argument in arguments]
        else:
            arguments = [self.truth(arguments[0], "count takes a condition, as in count(jet.pt > 30)", token.at)]
        return Call(word, tuple(arguments), token.at)

    def observable(self) -> Node:
        """An observable; commas join several objects (in a function's brackets only where no value stands before)."""
        token = self.take()
        text, end = token.text, token.end
        while self.is_(",") and self.next().kind == "name" and self._joins(text, end):
            self.take()
            name = self.take()
            text, end = f"{text},{name.text}", name.end
        try:
            return Observable(names.parse(text), token.at)
        except InputError as error:
            raise self.fail(str(error), token) from error

    def _joins(self, text: str, end: int) -> bool:
        if not self.in_call:
            return True
        last = names.split(names.split(text, ",")[-1], ".")[-2:]
        is_object = len(last) == 1 or re.sub(r"\d*(\[.*\]|:\d*)?$", "", last[1]).lower() in REFERENCES
        close = self.token.at == end and self.next().at == self.token.end
        following = self.place + 1
        while self.tokens[following].kind == "name" and self.tokens[following + 1].text == ",":
            following += 2
        return is_object and close and len(names.split(self.tokens[following].text, ".")) > 1


def _join(items: list[Node], words: list[_Token]) -> Node:
    """`a or b and c` as `a or (b and c)`."""
    groups: list[list[Node]] = [[items[0]]]
    for word, item in zip(words, items[1:], strict=True):
        if word.text == "or":
            groups.append([item])
        else:
            groups[-1].append(item)
    joined = [group[0] if len(group) == 1 else Logic("and", tuple(group), start(group[0])) for group in groups]
    return joined[0] if len(joined) == 1 else Logic("or", tuple(joined), start(joined[0]))


def _number(text: str) -> float | int:
    """A number of a sentence: whole ones exactly as long as 64 bits hold them."""
    value = float(text)
    if not value.is_integer() or value > 2.0**64:
        return value
    exact = decimal.Decimal(text)
    return int(exact) if exact == exact.to_integral_value() else value
