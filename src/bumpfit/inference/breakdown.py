"""The uncertainty of a parameter of interest by groups of nuisance parameters, in two conventions.

Freezing: what a group contributes is sqrt(s^2 - s_g^2), with s the error of the fit and s_g the error with the group
held at its best values; statistical is what is left when all constrained parameters are held. Such parts do not add up
in quadrature where groups are correlated: the remainder is given (negative where the parts exceed the whole).

Auxiliary measurements: the parameter of interest moves by d_k when the auxiliary measurement of nuisance k moves by its
standard deviation, and a group contributes sqrt(sum d_k^2); statistical is what the data contribute. These parts add up
exactly (Pinto et al., Eur. Phys. J. C 84 (2024) 593). Both come from the covariance of the fit.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from collections.abc import Mapping, Sequence
from typing import Unpack

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.fit import covariance_at, likelihood_of
from bumpfit.inference.histfactory import FitOptions, Settings
from bumpfit.inference.profile import Profile, require_poi
from bumpfit.results import Record
from bumpfit.types import Floats
from bumpfit.workspace import Model
from bumpfit.workspace.groups import groups_of
from bumpfit.workspace.model import Data

TEMPLATES, OTHERS = "template statistics", "other systematics"
"""Groups of the constrained parameters that no group names: those of single bins, and the others."""


@dataclasses.dataclass(frozen=True)
class Part(Record):
    """What a group of parameters contributes to the error, by freezing and by auxiliary measurements."""

    group: str
    parameters: tuple[str, ...]
    freezing: float
    auxiliary: float


@dataclasses.dataclass(frozen=True)
class Breakdown(Record):
    """Parts of the error of a parameter; `remainder` is error^2 less the squares of all parts by freezing."""

    parameter: str
    best: float
    error: float
    parts: tuple[Part, ...]
    statistical_freezing: float
    statistical_auxiliary: float
    remainder: float

    @property
    def by_freezing(self) -> dict[str, float]:
        """The parts by freezing, those of the data's fluctuations last."""
        return {**{part.group: part.freezing for part in self.parts}, "statistical": self.statistical_freezing}


def breakdown(
    model: Model,
    data: Data = None,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    parameter: str | None = None,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Breakdown:
    """The error of `parameter` (default: of interest) by groups.

    `groups`: names or patterns of constrained parameters by group, beside the groups that the workspace states (one of
    the same name replaces it); a name without index stands for all its bins.
    Raises InputError for groups without a member, groups that share a parameter and correlated constraints,
    BumpfitError where the fit does not determine the errors.

    Examples:
        >>> found = bumpfit.inference.breakdown(model)
        >>> print(f"{found.parameter} = {found.best:.1f} +- {found.error:.1f}, {len(found.parts)} part")
        mu = 1.3 +- 0.8, 1 part
    """
    if model.correlated:
        raise InputError("the constraints of some parameters are correlated, so that their parts cannot be told apart")
    likelihood = likelihood_of(model, data, options=options, **settings)
    name = require_poi(likelihood, parameter)
    profile = Profile(likelihood, name)
    covariance, errors, _ = covariance_at(likelihood, profile.best)
    error = float(errors[profile.index])
    if covariance is None or not (math.isfinite(error) and error > 0):
        raise BumpfitError(f"the fit does not determine the error of {name}, so it has no parts")
    free = np.flatnonzero(np.asarray(likelihood.free) & (np.diag(covariance) > 0))
    constrained = {
        p.name: i for i, p in enumerate(model.parameters) if p.constraint != "none" and i in free and p.name != name
    }
    chosen = _grouped({**groups_of(model.spec), **(groups or {})}, constrained)
    shifts = _shifts(model, covariance, profile.best.x, profile.index)
    hessian = np.linalg.inv(covariance[np.ix_(free, free)])
    at = int(np.flatnonzero(free == profile.index)[0])

    def held(members: Sequence[str]) -> float:
        """Variance with these parameters held."""
        kept = [k for k, i in enumerate(free) if model.names[i] not in members]
        return float(np.linalg.inv(hessian[np.ix_(kept, kept)])[kept.index(at), kept.index(at)])

    parts = tuple(
        Part(
            group, members, math.sqrt(max(0.0, error**2 - held(members))),
            math.sqrt(sum(shifts[constrained[m]] ** 2 for m in members)),
        )
        for group, members in chosen.items()
    )  # fmt: skip
    statistical = held(tuple(constrained))
    from_data = max(0.0, error**2 - sum(p.auxiliary**2 for p in parts))
    remainder = error**2 - statistical - sum(p.freezing**2 for p in parts)
    return Breakdown(
        name, profile.estimate, error, tuple(sorted(parts, key=lambda p: -p.freezing)), math.sqrt(statistical),
        math.sqrt(from_data), remainder,
    )  # fmt: skip


def _grouped(groups: Mapping[str, Sequence[str]], constrained: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """The members of each group, and what no group names."""
    result: dict[str, tuple[str, ...]] = {}
    owner: dict[str, str] = {}
    for group, patterns in groups.items():
        members = tuple(n for n in constrained if any(_fits(n, pattern) for pattern in patterns))
        if not members:
            raise InputError(f"the group '{group}' has no free constrained parameter like {', '.join(patterns)}")
        for member in members:
            if owner.setdefault(member, group) != group:
                raise InputError(
                    f"the groups '{owner[member]}' and '{group}' share the parameter '{member}'; a part of the error "
                    "belongs to one group"
                )
        result[group] = members
    left = [n for n in constrained if n not in owner]
    for rest, names in ((TEMPLATES, [n for n in left if "[" in n]), (OTHERS, [n for n in left if "[" not in n])):
        if names:
            result[rest] = tuple(names)
    return result


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or name.partition("[")[0] == pattern or fnmatch.fnmatchcase(name, pattern)


def _shifts(model: Model, covariance: Floats, x: Floats, index: int) -> Floats:
    """Shift of a parameter when each auxiliary measurement moves by its standard deviation, shape (P,).

    Of N(a | theta, sigma): C / sigma; of P(a | tau theta): the gradient moves by 1 / theta an event, and a by
    sqrt(tau theta).
    """
    result = np.zeros(len(model.parameters))
    for i, p in enumerate(model.parameters):
        if p.width is None:
            continue
        if p.constraint == "normal":
            result[i] = covariance[index, i] / p.width
        elif p.constraint == "poisson" and x[i] > 0:
            result[i] = covariance[index, i] * math.sqrt(p.width / x[i])
    return result
