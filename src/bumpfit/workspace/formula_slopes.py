"""Exact derivatives of formulas, and the programs that the kernels run.

Derivatives are trees as well, made by the rules of differentiation; where min, max and abs have a kink, the derivative
is that of the first argument (of the argument itself for abs).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bumpfit.errors import InputError
from bumpfit.workspace.formula import (
    ABS,
    ADD,
    CONSTANT,
    COS,
    DIVIDE,
    EXP,
    LOG,
    LOG10,
    MAX,
    MIN,
    MULTIPLY,
    NEGATE,
    ONE,
    PARAMETER,
    POWER,
    SELECT,
    SIN,
    SQRT,
    SUBTRACT,
    TANH,
    ZERO,
    Call,
    Expression,
    Name,
    Number,
    names_in,
    operate,
)

LARGEST_PROGRAM = 100_000
"""Instructions that a formula and its derivatives may take."""


def derivative(expression: Expression, name: str) -> Expression:
    """The exact derivative in one parameter."""
    if isinstance(expression, Number):
        return ZERO
    if isinstance(expression, Name):
        return ONE if expression.name == name else ZERO
    if name not in expression.names:
        return ZERO
    code, a = expression.code, expression.arguments
    slopes = [derivative(argument, name) for argument in a]
    if code in (ADD, SUBTRACT, NEGATE):
        return operate(code, *slopes)
    if code == MULTIPLY:
        return operate(ADD, operate(MULTIPLY, slopes[0], a[1]), operate(MULTIPLY, a[0], slopes[1]))
    if code == DIVIDE:
        falling = operate(DIVIDE, operate(MULTIPLY, a[0], slopes[1]), operate(MULTIPLY, a[1], a[1]))
        return operate(SUBTRACT, operate(DIVIDE, slopes[0], a[1]), falling)
    if code == POWER:
        return _slope_of_power(expression, slopes)
    if code in (MIN, MAX):
        ends = (a[0], a[1]) if code == MIN else (a[1], a[0])
        return operate(SELECT, *ends, slopes[0], slopes[1])
    if code == SELECT:
        return operate(SELECT, a[0], a[1], slopes[2], slopes[3])
    if code == ABS:
        return operate(SELECT, ZERO, a[0], slopes[0], operate(NEGATE, slopes[0]))
    return operate(MULTIPLY, _outer_slope(expression), slopes[0])


def _slope_of_power(expression: Call, slopes: Sequence[Expression]) -> Expression:
    base, exponent = expression.arguments
    lower = operate(POWER, base, operate(SUBTRACT, exponent, ONE))
    from_base = operate(MULTIPLY, operate(MULTIPLY, exponent, lower), slopes[0])
    if slopes[1] == ZERO:
        return from_base
    from_exponent = operate(MULTIPLY, operate(MULTIPLY, expression, operate(LOG, base)), slopes[1])
    return operate(ADD, from_base, from_exponent)


def _outer_slope(expression: Call) -> Expression:
    """The derivative of a function of one argument in its argument."""
    code, inner = expression.code, expression.arguments[0]
    if code == EXP:
        return expression
    if code == LOG:
        return operate(DIVIDE, ONE, inner)
    if code == LOG10:
        return operate(DIVIDE, Number(1 / math.log(10)), inner)
    if code == SQRT:
        return operate(DIVIDE, Number(0.5), expression)
    if code == SIN:
        return operate(COS, inner)
    if code == COS:
        return operate(NEGATE, operate(SIN, inner))
    assert code == TANH
    return operate(SUBTRACT, ONE, operate(MULTIPLY, expression, expression))


def program(expression: Expression, positions: Mapping[str, int]) -> list[tuple[int, float]]:
    """Instructions (code, argument) in postfix order; `positions`: where each parameter stands in the array."""
    if isinstance(expression, Number):
        return [(CONSTANT, expression.value)]
    if isinstance(expression, Name):
        return [(PARAMETER, float(positions[expression.name]))]
    result = [step for argument in expression.arguments for step in program(argument, positions)]
    if len(result) > LARGEST_PROGRAM:
        raise InputError("a formula has derivatives that are too long; write it as several shorter ones")
    return [*result, (expression.code, 0.0)]


def programs(expression: Expression, positions: Mapping[str, int]) -> list[list[tuple[int, float]]]:
    """Programs of the value, of its slopes in the names of `names_in`, and of the second derivatives (i, j), j <= i."""
    names = names_in(expression)
    slopes = [derivative(expression, name) for name in names]
    bends = [derivative(slope, name) for i, slope in enumerate(slopes) for name in names[: i + 1]]
    return [program(tree, positions) for tree in (expression, *slopes, *bends)]
