"""Nuisance parameters in several fits side by side: with and without signal, of other data, of other models.

The pull is the distance of the fitted value from the centre of the constraint, the constraint the error after the fit,
both in units of the width before it. Fits of the same data are correlated, so that a difference of two pulls has no
significance of its own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from bumpfit.display import Table
from bumpfit.errors import InputError
from bumpfit.inference.impacts import prefit_centre, prefit_width
from bumpfit.results import Fit, Record
from bumpfit.workspace import Model


@dataclasses.dataclass(frozen=True)
class Pull(Record):
    """One nuisance parameter: its pull and constraint in every fit, None where a fit does not have it free.

    Examples:
        >>> (row,) = bumpfit.inference.pulls({"all": (model, bumpfit.inference.fit(model))}).rows
        >>> row.parameter, round(row.pulls[0], 2)
        ('norm', 0.08)
    """

    parameter: str
    pulls: tuple[float | None, ...]
    constraints: tuple[float | None, ...]

    @property
    def spread(self) -> float:
        """Largest difference of two pulls; 0 where fewer than two fits have one."""
        known = [pull for pull in self.pulls if pull is not None]
        return max(known) - min(known) if known else 0.0


@dataclasses.dataclass(frozen=True)
class Pulls(Record):
    """Pulls of all constrained parameters in the named fits, the largest difference first.

    `at_bounds`: parameters that end at an end of their range in any of the fits.

    Examples:
        >>> fits = {"free": bumpfit.inference.fit(model), "mu = 0": bumpfit.inference.fit(model, fixed={"mu": 0.0})}
        >>> found = bumpfit.inference.pulls({name: (model, one) for name, one in fits.items()})
        >>> found.fits
        ('free', 'mu = 0')
    """

    fits: tuple[str, ...]
    rows: tuple[Pull, ...]
    at_bounds: tuple[str, ...] = ()

    def _table(self) -> Table:
        names = ("parameter", *(f"{what} ({name})" for name in self.fits for what in ("pull", "constraint")))
        rows = [
            (row.parameter, *(v for pair in zip(row.pulls, row.constraints, strict=True) for v in pair))
            for row in self.rows
        ]
        return names, rows


def pulls(fits: Mapping[str, tuple[Model, Fit]]) -> Pulls:
    """Pulls and constraints of fits side by side.

    Args:
        fits: by the name of each, its model and its result (`inference.fit`).

    Raises:
        InputError: no fit, one that did not converge, or no parameter with a constraint.

    Examples:
        >>> found = bumpfit.inference.pulls({"free": (model, bumpfit.inference.fit(model))})
        >>> [row.parameter for row in found.rows]
        ['norm']
    """
    if not fits:
        raise InputError("there is no fit to compare; give one or more")
    for name, (_, one) in fits.items():
        if not one.valid:
            raise InputError(f"the fit '{name}' is {one.status}: its pulls mean nothing")
    each = [_of(model, one) for model, one in fits.values()]
    parameters = dict.fromkeys(name for found in each for name in found)
    if not parameters:
        raise InputError("no free parameter of these fits has a constraint, so there are no pulls")
    rows = [Pull(name, *zip(*(found.get(name, (None, None)) for found in each), strict=True)) for name in parameters]
    rows.sort(key=lambda row: (-row.spread, -max(abs(pull or 0.0) for pull in row.pulls)))
    ends = dict.fromkeys(name for _, one in fits.values() for name in one.at_bounds)
    return Pulls(tuple(fits), tuple(rows), tuple(ends))


def _of(model: Model, one: Fit) -> dict[str, tuple[float, float | None]]:
    """Pull and constraint of every free parameter that has one."""
    found: dict[str, tuple[float, float | None]] = {}
    for p in model.parameters:
        width, centre = prefit_width(p), prefit_centre(p)
        if p.name in (*one.fixed, *one.undetermined) or width is None or centre is None:
            continue
        error = one.errors[p.name]
        found[p.name] = (one.values[p.name] - centre) / width, error / width if math.isfinite(error) else None
    return found
