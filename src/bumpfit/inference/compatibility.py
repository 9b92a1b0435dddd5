"""Are the channels compatible? The fit with one strength a channel against the fit with one for all.

The statistic is t = -2 ln [L(common strength) / L(one strength a channel)]; nuisance parameters are shared and fitted
in both. Where the common strength is true it follows chi2 with one degree of freedom fewer than there are strengths
(Wilks, Ann. Math. Stat. 9 (1938) 60; Combine's ChannelCompatibilityCheck has the same statistic), or its law is that of
toys, thrown at the fit with the common strength.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import numpy as np

from bumpfit.errors import BumpfitError, InputError, InputWarning
from bumpfit.inference.asymptotic import Asymptotic, chi2_tail
from bumpfit.inference.fit import covariance_at
from bumpfit.inference.histfactory import FitOptions, Problem, Settings, prepare
from bumpfit.inference.interval import interval
from bumpfit.inference.profile import require_poi, require_valid
from bumpfit.law import Law, Tail
from bumpfit.likelihood import Likelihood, Minimum, at_ends, position
from bumpfit.results import Record
from bumpfit.types import Floats
from bumpfit.workspace import Model
from bumpfit.workspace.decorrelate import decorrelate, labels_of
from bumpfit.workspace.model import Data
from bumpfit.workspace.read import compile_model


@dataclasses.dataclass(frozen=True)
class ChannelStrength(Record):
    """The strength of one channel, or group of channels, with the interval of 68.27 % of its profile likelihood.

    `low`, `high`: None where there is none; an end of the range is told by `at_bound`. `pull`: distance from the common
    strength in units of the side of the interval that points to it.
    """

    name: str
    channels: tuple[str, ...]
    strength: float
    low: float | None
    high: float | None
    at_bound: bool
    pull: float | None


@dataclasses.dataclass(frozen=True)
class Compatibility(Record):
    """Compatibility of channels: the statistic, its p-value, the common strength (`low` to `high`: 68.27 %) and those
    of the channels. `toys` are those that were fitted.
    """

    parameter: str
    statistic: float
    degrees_of_freedom: int
    p: float
    method: str
    strength: float
    low: float | None
    high: float | None
    channels: tuple[ChannelStrength, ...]
    p_error: float | None = None
    p_upper: float | None = None
    toys: int | None = None
    at_bounds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class OneEach:
    """A likelihood with a common strength, and the same one with a strength a channel, as `law.Nested`.

    `copies` are places of those strengths, `kept` places of the other parameters in the wider likelihood and `common`
    those in the null, `order` the places of the wider one's auxiliary measurements among those of the null.
    """

    null: Problem
    wider: Problem
    parameter: int
    copies: tuple[int, ...]
    kept: tuple[int, ...]
    common: tuple[int, ...]
    order: tuple[int, ...]

    @property
    def freedom(self) -> int:
        """How many parameters the wider likelihood has more."""
        return int(self.wider.free.sum() - self.null.free.sum())

    def tail(self, value: float) -> Tail:
        """Chi-squared with as many degrees of freedom as the wider likelihood has more parameters."""
        return chi2_tail(self.freedom, value)

    def minima(self, toy: Likelihood) -> tuple[Problem, Minimum, Minimum]:
        """The wider likelihood with a toy's data, and the minima of both; the wider one is the lower."""
        assert isinstance(toy, Problem)
        wider = self.wider.facing(toy.main, toy.aux[list(self.order)])
        held = require_valid(toy.solve(), "the fit with a common strength")
        found = require_valid(wider.begin(self.widened(held.x)).solve(), "the fit with a strength a channel")
        return wider, held, found

    def widened(self, x: Floats) -> Floats:
        """Parameters of the null as parameters of the wider likelihood."""
        result = self.wider.start.copy()
        result[list(self.kept)] = x[list(self.common)]
        result[list(self.copies)] = x[self.parameter]
        return result

    def statistic(self, toy: Likelihood) -> float:
        """t of a toy; raises BumpfitError where a fit does not converge."""
        _, held, found = self.minima(toy)
        return max(2 * (held.value - found.value), 0.0)


def compatibility(
    model: Model,
    data: Data = None,
    *,
    parameter: str | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    law: Law = Asymptotic(),
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Compatibility:
    """Compatibility of the channels in a parameter without a constraint (default: of interest).

    groups   patterns of channels that share a strength, by the name of the group; others have one each
    law      asymptotic, or `bumpfit.toys.Toys(n)`

    A range or start of the parameter is that of every strength. Raises InputError for parameters with a constraint and
    fewer than two channels or groups that the parameter changes; BumpfitError when a fit does not converge, or the data
    do not determine a strength.

    Examples:
        >>> signal, background = build.sample("s", [5.0], build.modifier("normfactor", "mu")), build.sample("b", [9.0])
        >>> both = build.workspace({c: [signal, background] for c in "AB"}, {"A": [12], "B": [19]}, "mu")
        >>> found = bumpfit.inference.compatibility(bumpfit.workspace.read(both))
        >>> print(f"{found.channels[0].strength:.1f} and {found.channels[1].strength:.1f}: p = {found.p:.2f}")
        0.6 and 2.0: p = 0.21
    """
    null = prepare(model, data, options=options, **settings)
    name = require_poi(null, parameter)
    nested, members = _nested(model, null, name, groups, settings, options)
    wider, held, found = nested.minima(null)
    value = max(2 * (held.value - found.value), 0.0)
    tail, fitted = law.nested(nested, held, value)
    low, high, _ = _interval(null.begin(held.x), name)
    best = float(held.x[nested.parameter])
    rows = []
    for place, (label, channels) in zip(nested.copies, members.items(), strict=True):
        ends = _interval(wider.begin(found.x), wider.names[place])
        strength = float(found.x[place])
        side = ends[1] if best > strength else ends[0]
        distance = None if side is None or ends[2] else abs(side - strength)
        pull = (strength - best) / distance if distance else None
        rows.append(ChannelStrength(label, channels, strength, *ends, pull))
    return Compatibility(
        name, value, nested.freedom, tail.p, law.method, best, low, high, tuple(rows), tail.error, tail.upper, fitted,
        at_ends(wider, found), _notes(nested, found, law),
    )  # fmt: skip


def _nested(
    model: Model, null: Problem, name: str, groups: Mapping[str, Sequence[str]] | None, settings: Settings,
    options: FitOptions,
) -> tuple[OneEach, dict[str, tuple[str, ...]]]:  # fmt: skip
    """Both likelihoods, and the channels of each strength."""
    if model.parameters[model.index(name)].constraint != "none":
        raise InputError(f"'{name}' has a constraint, which each channel would have for itself; take a free strength")
    stem = name.partition("[")[0]
    labels = labels_of(model.spec, stem, groups=groups)
    if len(set(labels.values())) < 2:
        raise InputError(f"'{name}' changes only '{next(iter(labels.values()))}', which is compatible with itself")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # said when the workspace was read
        split = compile_model(
            decorrelate(model.spec, stem, groups=groups), poi="", interpolation=model.interpolation,
            allow_negative=True,
        )  # fmt: skip
    copies = {label: name.replace(stem, f"{stem}_{label}", 1) for label in labels.values()}
    order = _auxiliary(split, model)
    every: Any = {key: _copied(value, name, stem, copies) for key, value in settings.items()}
    wider = prepare(split, np.concatenate([null.main, null.aux[order]]), options=options, **every)
    places = {label: position(wider, copy) for label, copy in copies.items() if copy not in wider.undetermined}
    if len(places) < 2:
        raise InputError(f"'{name}' changes the expectations of {len(places)} channel or group; two are needed")
    kept = tuple(i for i, other in enumerate(wider.names) if other not in copies.values())
    nested = OneEach(
        null, wider, position(null, name), tuple(places.values()), kept,
        tuple(null.names.index(wider.names[i]) for i in kept), tuple(order),
    )  # fmt: skip
    members = {label: tuple(c for c, own in labels.items() if own == label) for label in places}
    return nested, members


def _copied(value: Any, name: str, stem: str, copies: Mapping[str, str]) -> Any:
    """A setting with the copies in place of the parameter."""
    if isinstance(value, Mapping):
        own = [key for key in value if key in (name, stem)]
        return {k: v for k, v in value.items() if k not in own} | {c: value[k] for k in own for c in copies.values()}
    if value is None:
        return None
    return [n for given in value for n in (copies.values() if given in (name, stem) else (given,))]


def _auxiliary(model: Model, other: Model) -> list[int]:
    """Places of a model's auxiliary measurements among those of another one, by the parameters that they measure."""

    def names(one: Model) -> list[str]:
        c, result = one.compiled, [""] * one.auxdata.size
        for columns, parameters in ((c.normal_aux, c.normal_parameter), (c.poisson_aux, c.poisson_parameter)):
            for column, parameter in zip(columns, parameters, strict=True):
                result[column] = one.names[parameter]
        return result

    there = {name: i for i, name in enumerate(names(other))}
    return [there[name] for name in names(model)]


def _interval(likelihood: Problem, name: str) -> tuple[float | None, float | None, bool]:
    """Ends of the interval of 68.27 %, None where there is none, and whether one is an end of the range."""
    try:
        found = interval(likelihood, name)
    except BumpfitError:  # of one row of a table
        return None, None, False
    return found.low, found.high, found.low_at_bound or found.high_at_bound


def _notes(nested: OneEach, found: Minimum, law: Law) -> tuple[str, ...]:
    """What the answer does not hold for; raises BumpfitError for strengths that the data do not determine."""
    wider = nested.wider
    _, errors, note = covariance_at(wider, found)
    ends = at_ends(wider, found)
    names = [wider.names[i] for i in nested.copies]
    unknown = [n for n, i in zip(names, nested.copies, strict=True) if math.isnan(errors[i]) and n not in ends]
    if unknown and "singular" in note:
        raise BumpfitError(
            f"the data do not determine {', '.join(unknown)} each for itself; put the channel in a group with others, "
            "--group NAME=CHANNEL,CHANNEL"
        )
    walls = [n for n in names if n in ends]
    if not walls or law.method != "asymptotic":
        return ()
    return (
        f"{', '.join(walls)} at an end of the range, where chi2 is no law of the statistic: widen the range "
        f"(--range) or throw toys (--toys 1000)",
    )
