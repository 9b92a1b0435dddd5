"""Varied templates made symmetric around the nominal one, and repaired where bins are empty, as TRExFitter does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bumpfit.types import Floats
from bumpfit.workspace.templates import Template

EMPTY = 1e-6
"""What an empty bin gets, so that its likelihood exists (TRExFitter's number)."""

Pair = tuple[Floats, Floats]


def mirrored(nominal: Floats, varied: Floats) -> Floats:
    """2 nominal - varied, not below 0."""
    return np.maximum(2.0 * nominal - varied, 0.0)


def one_sided(nominal: Floats, up: Floats, down: Floats) -> Pair:
    """The one that differs more from the nominal template, and its mirror image."""
    if np.abs(up - nominal).sum() >= np.abs(down - nominal).sum():
        return up, mirrored(nominal, up)
    return mirrored(nominal, down), down


def two_sided(nominal: Floats, up: Floats, down: Floats) -> Pair:
    """Half the difference of both, up and down."""
    return _around(nominal, (up - down) / 2.0)


def mean_size(nominal: Floats, up: Floats, down: Floats) -> Pair:
    """The mean of the sizes of both, upwards and downwards."""
    return _around(nominal, (np.abs(up - nominal) + np.abs(down - nominal)) / 2.0)


def largest(nominal: Floats, up: Floats, down: Floats) -> Pair:
    """In each bin the larger of both, and its mirror image."""
    return _around(nominal, np.where(np.abs(up - nominal) < np.abs(down - nominal), down, up) - nominal)


SYMMETRISED: Mapping[str, Callable[[Floats, Floats, Floats], Pair]] = {
    "ONESIDED": one_sided, "TWOSIDED": two_sided, "ABSMEAN": mean_size, "MAXIMUM": largest,
}  # fmt: skip
"""TRExFitter's words for these."""


def errors_of_symmetric(
    word: str, nominal: Template, up: Template, down: Template, result: Floats
) -> tuple[Floats, Floats]:
    """Statistical errors of templates that were made symmetric, as ROOT's histograms carry them on without correlation.

    Of TWOSIDED, ABSMEAN and MAXIMUM; the mirror image has those of the other one (InvertShift in HistoTools.cc of
    TRExFitter). `result` is upwards.
    """
    n, seen = nominal.values, nominal.values != 0
    squares = []
    for part in (up, down):
        ratio = np.divide(part.values, n, out=np.zeros_like(n), where=seen)
        scaled = np.divide(np.hypot(part.errors, ratio * nominal.errors), n, out=np.zeros_like(n), where=seen)
        squares.append(scaled**2)
    square = squares[0] if word == "MAXIMUM" else (squares[0] + squares[1]) / 4.0
    ratio = np.divide(result, n, out=np.zeros_like(n), where=seen)
    own = np.sqrt(square * n**2 + (ratio * nominal.errors) ** 2)
    return own, own


def _around(nominal: Floats, shift: Floats) -> Pair:
    up = np.where(nominal != 0, np.maximum(nominal + shift, 0.0), 0.0)  # a ratio to 0 is 0 there
    return up, mirrored(nominal, up)


def scaled_shift(nominal: Floats, varied: Floats, factor: float) -> Floats:
    """The difference to the nominal template times a factor, not below 0."""
    return varied if factor == 1.0 else np.maximum(nominal + factor * (varied - nominal), 0.0)


def without_empty_bins(nominal: Template, varied: list[Floats], guess: bool) -> tuple[Template, list[Floats]]:
    """Templates with `EMPTY` where the nominal one has no or negative events, their sums kept where they are positive.

    Such a bin without an error takes the smallest one of the other bins (`guess`), or `EMPTY`.
    """
    empty = nominal.values <= 0
    if not empty.any():
        return nominal, varied
    values, errors = np.where(empty, EMPTY, nominal.values), np.nan_to_num(nominal.errors)
    known = errors[~empty & (errors > 0)]
    errors = np.where(empty & (errors <= 0), known.min() if guess and known.size else EMPTY, errors)
    total = float(nominal.values.sum())
    fixed = Template(nominal.edges, values * (total / values.sum()) if total > 0 else values, errors)
    return fixed, [_kept(part, np.where(empty & (part <= 0), EMPTY, part)) for part in varied]


def _kept(before: Floats, after: Floats) -> Floats:
    return after * (float(before.sum()) / float(after.sum())) if after.sum() > 0 and before.sum() > 0 else after
