"""Programs of formulas, run by compiled functions: a stack machine whose codes are those of `workspace.formula`."""

from __future__ import annotations

import numpy as np

from bumpfit.compiled import njit


@njit(internal=True, plain=True)
def run_program(m, number, x):  # type: ignore[no-untyped-def]
    """The value of one program of a formula at parameters x; NaN where it does not exist. Codes: `formula`."""
    stack = np.empty(m.program_pointer[number + 1] - m.program_pointer[number])
    top = 0
    for i in range(m.program_pointer[number], m.program_pointer[number + 1]):
        code = m.program_code[i]
        if code <= 1:  # a constant or a parameter
            stack[top] = m.program_argument[i] if code == 0 else x[int(m.program_argument[i])]
            top += 1
            continue
        if code == 18:  # x where a <= b, else y
            top -= 4
            stack[top] = stack[top + 2] if stack[top] <= stack[top + 1] else stack[top + 3]
        elif 7 <= code <= 15:
            top -= 1
            stack[top] = _of_one(code, stack[top])
        else:
            top -= 2
            stack[top] = _of_two(code, stack[top], stack[top + 1])
        top += 1
    return stack[0]


@njit(internal=True, plain=True)
def _of_one(code, a):  # type: ignore[no-untyped-def]
    """A function of one argument."""
    if code == 7:
        return -a
    if code == 8:
        return np.exp(a)
    if code == 9:
        return np.log(a)
    if code == 10:
        return np.log10(a)
    if code == 11:
        return np.sqrt(a)
    if code == 12:
        return abs(a)
    if code == 13:
        return np.sin(a)
    return np.cos(a) if code == 14 else np.tanh(a)


@njit(internal=True, plain=True)
def _of_two(code, a, b):  # type: ignore[no-untyped-def]
    """An operation on two arguments."""
    if code == 2:
        return a + b
    if code == 3:
        return a - b
    if code == 4:
        return a * b
    if code == 5:
        return a / b
    if code == 6:
        return a**b
    return min(a, b) if code == 16 else max(a, b)
