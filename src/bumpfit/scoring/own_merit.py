"""A figure of merit of one's own: a formula of the events that a cut keeps, as a text. Text is never run as code.

Its grammar is that of `bumpfit.workspace.formula`: numbers, + - * / ** ( ), exp, log, sqrt, abs, min, max, ... and the
names of `NAMES`. Examples: "s / sqrt(b + b_error**2)"; "(s / s_total) / (3 / 2 + sqrt(b))", the figure of Punzi for
three standard deviations (arXiv:physics/0308063).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.workspace import formula

Array = NDArray[np.float64]

NAMES = {
    "s": "signal events kept",
    "b": "background events kept",
    "s_error": "statistical error of s (of weighted simulated events)",
    "b_error": "error of b: its relative uncertainty and the statistical one in quadrature",
    "s_total": "signal events before the cut",
    "b_total": "background events before the cut",
}
"""What a figure of merit is made of."""

FUNCTIONS: dict[int, Callable[..., Any]] = {
    formula.ADD: np.add, formula.SUBTRACT: np.subtract, formula.MULTIPLY: np.multiply, formula.DIVIDE: np.divide,
    formula.POWER: np.power, formula.NEGATE: np.negative, formula.EXP: np.exp, formula.LOG: np.log,
    formula.LOG10: np.log10, formula.SQRT: np.sqrt, formula.ABS: np.abs, formula.SIN: np.sin, formula.COS: np.cos,
    formula.TANH: np.tanh,
    formula.MIN: lambda *values: np.min(np.broadcast_arrays(*values), axis=0),
    formula.MAX: lambda *values: np.max(np.broadcast_arrays(*values), axis=0),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class FigureOfMerit:
    """A figure of merit; the largest value is the best.

    Examples:
        >>> merit = bumpfit.scoring.own_merit.FigureOfMerit.read("s / sqrt(s + b)")
        >>> print(merit(s=9.0, b=16.0))
        1.8
    """

    text: str
    expression: formula.Expression

    @classmethod
    def read(cls, text: str) -> FigureOfMerit:
        """From its formula; raises InputError for what is none, unknown names, and one without s."""
        expression = formula.parse(text)
        names = formula.names_in(expression)
        for name in names:
            if name not in NAMES:
                raise InputError(
                    f"the figure of merit '{text}' names '{name}'; expected {', '.join(NAMES)}: "
                    "events kept, their errors, and events before the cut"
                )
        if "s" not in names:
            raise InputError(f"the figure of merit '{text}' does not depend on s, the signal events that are kept")
        return cls(text, expression)

    def __call__(self, **values: Any) -> Array:
        """Its value, broadcast over arrays of `NAMES`; NaN where it does not exist."""
        with np.errstate(all="ignore"):
            found = _value(self.expression, {name: np.asarray(v, dtype=np.float64) for name, v in values.items()})
        return np.where(np.isfinite(found), found, np.nan)


@dataclasses.dataclass(frozen=True)
class Own:
    """A figure of merit of one's own, with the events before any cut."""

    merit: FigureOfMerit
    signal: float
    background: float

    def __call__(self, s: Array, b: Array, s_error: Array, b_error: Array) -> Array:
        """Its value, -1 where it is negative or does not exist."""
        found = self.merit(s=s, b=b, s_error=s_error, b_error=b_error, s_total=self.signal, b_total=self.background)
        return np.where(found >= 0, found, -1.0)


def _value(expression: formula.Expression, values: Mapping[str, Array]) -> Array:
    if isinstance(expression, formula.Number):
        return np.asarray(expression.value)
    if isinstance(expression, formula.Name):
        return values[expression.name]
    return np.asarray(FUNCTIONS[expression.code](*(_value(argument, values) for argument in expression.arguments)))
