"""The simplified likelihood of a workspace: backgrounds of the signal regions with their covariance.

The covariance is that of the control regions: the fit without signal of all other channels, so that no count is used
twice (CMS NOTE-2017-001; ATL-PHYS-PUB-2021-038). Written as a workspace it is exact for Gaussian uncertainties that are
linear in their parameters: each eigenvector of the covariance is one systematic shape with a unit constraint. The form
of ATLAS's `simplify` has one shape, the total uncertainty, fully correlated over all bins.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from bumpfit.errors import BumpfitError, InputError
from bumpfit.inference.blinding import beside
from bumpfit.inference.fit import covariance_at
from bumpfit.inference.histfactory import FitOptions
from bumpfit.inference.impacts import prefit_width
from bumpfit.results import Record
from bumpfit.types import Floats
from bumpfit.workspace import Model, build
from bumpfit.workspace.effects import correlations_of
from bumpfit.workspace.effects_scale import NORMFACTOR
from bumpfit.workspace.effects_shape import HISTOSYS
from bumpfit.workspace.model import Data

STEP = 1e-4
"""Step of the numerical derivatives in units of each parameter's uncertainty; the error is of order STEP squared."""
NOTHING = 1e-10
"""Part of the largest eigenvalue below which one is rounding."""
LINEAR = 1e-6
"""Relative departure of a signal's yields from a line in the strength that is rounding."""


@dataclasses.dataclass(frozen=True, eq=False)
class Simplified(Record):
    """Backgrounds of B bins, shape (B,), their covariance, shape (B, B), the data, and signals for a strength of 1.

    `channels`: the bins of each channel, in the order of the arrays. `range`: start and ends of the strength.

    Examples:
        >>> b = build.sample("b", [9.0], build.modifier("normfactor", "k"))
        >>> s = build.sample("s", [5.0], build.modifier("normfactor", "mu"))
        >>> two = bumpfit.workspace.read(build.workspace({"SR": [s, b], "CR": [b]}, {"SR": [12], "CR": [16]}, "mu"))
        >>> found = bumpfit.inference.simplified(two, ["SR"])
        >>> found.background.round(6), found.covariance.round(6)
        (array([16.]), array([[16.]]))
    """

    channels: dict[str, int]
    background: Floats
    covariance: Floats
    data: Floats
    signals: dict[str, Floats]
    parameter: str
    range: tuple[float, float, float]

    def workspace(self, *, total: bool = False) -> dict[str, Any]:
        """A HistFactory workspace; `total` as in ATLAS's `simplify`, one systematic for the whole uncertainty."""
        names, shifts = ["totalError"], np.sqrt(np.diag(self.covariance))[np.newaxis]
        if not total:
            values, vectors = np.linalg.eigh(self.covariance)
            kept = np.flatnonzero(values > NOTHING * max(values.max(), 0.0))[::-1]
            shifts = np.sqrt(values[kept])[:, np.newaxis] * vectors[:, kept].T
            names = [f"background_{k}" for k in range(1, len(kept) + 1)]
        first, channels, data = 0, {}, {}
        for channel, size in self.channels.items():
            here = slice(first, first + size)
            nominal = self.background[here]
            moved = [
                build.modifier(HISTOSYS.kind, name, (nominal - shift[here], nominal + shift[here]))
                for name, shift in zip(names, shifts, strict=True)
            ]
            channels[channel] = [build.sample("background", nominal, *moved)] + [
                build.sample(name, values[here], build.modifier(NORMFACTOR.kind, self.parameter))
                for name, values in self.signals.items()
                if values[here].any()
            ]
            data[channel] = self.data[here]
            first += size
        start, low, high = self.range
        setting: Mapping[str, Any] = {"inits": [start], "bounds": [[low, high]]}
        return build.workspace(channels, data, self.parameter, {self.parameter: dict(setting)})


def simplified(
    model: Model, channels: Collection[str], data: Data = None, *, options: FitOptions = FitOptions()
) -> Simplified:
    """The simplified likelihood of the named channels, the signal regions; the others determine their backgrounds.

    Parameters that the other channels know nothing of have the width of their constraint. Signals are those samples
    that the strength scales, without their systematic uncertainties. Raises InputError for unknown channels, where no
    channel is left, for a signal that is not linear in its strength, for backgrounds with a parameter that neither a
    control region nor a constraint determines, and for correlated constraints.

    Examples:
        >>> b = build.sample("b", [9.0], build.modifier("normsys", "rate", (0.9, 1.1)))
        >>> s = build.sample("s", [5.0], build.modifier("normfactor", "mu"))
        >>> two = bumpfit.workspace.read(build.workspace({"A": [s, b], "B": [b]}, {"A": [12], "B": [10]}, "mu"))
        >>> found = bumpfit.inference.simplified(two, ["A"])
        >>> found.parameter, found.background.round(1)
        ('mu', array([9.1]))
    """
    if correlations_of(model.spec):
        raise InputError("the workspace has correlated constraints, which a simplified likelihood does not take up")
    channels = [channels] if isinstance(channels, str) else list(channels)
    poi = model.poi
    if poi is None:
        raise InputError("the model has no parameter of interest; name a parameter")
    names, problem, best = beside(model, channels, data, options=options)
    known, _, note = covariance_at(problem, best)
    if known is None:
        raise BumpfitError(f"the fit of the other channels does not determine the backgrounds: {note}")
    x, i = model.inits.copy(), model.index(poi)
    places = [model.index(name) for name in names]
    x[places] = best.x
    x[i] = 0.0
    kept = [channel for channel in model.channels if channel.name in channels]
    bins = np.concatenate([np.arange(channel.first, channel.last) for channel in kept])
    covariance = np.diag([0.0 if p.fixed else (prefit_width(p) or 0.0) ** 2 for p in model.parameters])
    covariance[np.ix_(places, places)] = known
    covariance[i] = covariance[:, i] = 0.0
    slopes = _slopes(model, x, covariance, bins, i, set(places))
    return Simplified(
        channels={channel.name: channel.last - channel.first for channel in kept},
        background=model.expected(x)[bins],
        covariance=slopes @ covariance @ slopes.T,
        data=model.split(data)[0][bins],
        signals=_signals(model, x, i, channels),
        parameter=poi,
        range=(float(model.inits[i]), float(model.lower[i]), float(model.upper[i])),
    )


def _slopes(model: Model, x: Floats, covariance: Floats, bins: Any, poi: int, seen: Collection[int]) -> Floats:
    """Derivatives of the backgrounds, shape (B, P)."""
    result = np.zeros((bins.size, x.size))
    for k, parameter in enumerate(model.parameters):
        if k == poi or parameter.fixed:
            continue
        step = STEP * (np.sqrt(covariance[k, k]) or 1.0)
        moved = np.zeros_like(x)
        moved[k] = step
        slope = (model.expected(x + moved)[bins] - model.expected(x - moved)[bins]) / (2 * step)
        if slope.any() and covariance[k, k] == 0 and k not in seen:
            raise InputError(
                f"'{parameter.name}' changes the backgrounds of these channels, and neither a constraint nor another "
                "channel determines it; hold it, or leave out a channel that does"
            )
        result[:, k] = slope
    return result


def _signals(model: Model, x: Floats, poi: int, channels: Collection[str]) -> dict[str, Floats]:
    """Yields by sample that the strength adds at 1, over the bins of the channels."""
    at = []
    for strength in (0.0, 1.0, 2.0):
        moved = x.copy()
        moved[poi] = strength
        at.append(model.expected_by_sample(moved))
    none, one, two = at
    names = dict.fromkeys(s for channel in model.channels if channel.name in channels for s in channel.samples)
    result = {}
    for name in names:
        parts = []
        for channel in (c for c in model.channels if c.name in channels):
            zero = np.zeros(channel.last - channel.first)
            first, once, twice = (found[channel.name].get(name, zero) for found in (none, one, two))
            if not np.allclose(twice - first, 2 * (once - first), rtol=LINEAR, atol=LINEAR * np.abs(once).max()):
                raise InputError(f"sample '{name}' of channel '{channel.name}' is not linear in the strength")
            parts.append(once - first)
        whole = np.concatenate(parts)
        if whole.any():
            result[name] = whole
    if not result:
        raise InputError(f"'{model.parameters[poi].name}' changes no yield of these channels, so there is no signal")
    return result
