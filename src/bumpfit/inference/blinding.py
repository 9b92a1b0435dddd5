"""Data that nobody looked at: Asimov data and blinded channels."""

from __future__ import annotations

from collections.abc import Collection
from typing import Unpack

import numpy as np

from bumpfit.errors import InputError
from bumpfit.inference.histfactory import FitOptions, Problem, Settings, prepare
from bumpfit.inference.profile import require_valid
from bumpfit.likelihood import Minimum
from bumpfit.types import Floats
from bumpfit.workspace import Model, prune, read
from bumpfit.workspace.combine import bins_over_channels
from bumpfit.workspace.model import Data


def asimov(
    model: Model,
    strength: float,
    data: Data = None,
    *,
    fitted: bool = True,
    parameter: str | None = None,
    options: FitOptions = FitOptions(),
    **settings: Unpack[Settings],
) -> Floats:
    """Asimov data of a signal strength, shape (B + A,): every measurement equal to its expectation.

    With `fitted` the nuisance parameters are those of the fit to `data` at this strength, otherwise their suggested
    values. Raises InputError without a parameter of interest, BumpfitError when the fit does not converge.

    Examples:
        >>> bumpfit.inference.asimov(model, 1.0, fitted=False).tolist()  # the last is the auxiliary measurement of norm
        [55.0, 39.0, 0.0]
    """
    name = model.poi if parameter is None else parameter
    if name is None:
        raise InputError("the model has no parameter of interest; name a parameter")
    if not fitted:
        return model.asimov({name: strength})
    problem = prepare(model, data, options=options, **settings).at(name, strength)
    return model.asimov(require_valid(problem.solve(), f"the fit with {name} = {strength:g}").x)


def blind(model: Model, channels: Collection[str], data: Data = None, *, options: FitOptions = FitOptions()) -> Floats:
    """Data with the named channels replaced by their background-only expectation, shape (B + A,).

    The expectation comes from the fit of all other channels without signal; parameters that only the blinded channels
    determine stay at their suggested values. Auxiliary measurements are kept. Raises InputError for an unknown
    channel, or when no channel is left to look at.

    Examples:
        >>> b, s = build.sample("b", [9.0]), build.sample("s", [5.0], build.modifier("normfactor", "mu"))
        >>> both = build.workspace({"A": [s, b], "B": [s, b]}, {"A": [12], "B": [19]}, "mu")
        >>> bumpfit.inference.blind(bumpfit.workspace.read(both), ["B"]).tolist()
        [12.0, 9.0]
    """
    channels = [channels] if isinstance(channels, str) else channels
    names, _, best = beside(model, channels, data, options=options)
    values = dict(zip(names, map(float, best.x), strict=True))
    expected = model.expected({**values, **({model.poi: 0.0} if model.poi is not None else {})})
    main, aux = model.split(data)
    result = main.copy()
    for channel in model.channels:
        if channel.name in channels:
            result[channel.first : channel.last] = expected[channel.first : channel.last]
    return np.concatenate([result, aux])


def beside(
    model: Model, channels: Collection[str], data: Data = None, *, options: FitOptions = FitOptions()
) -> tuple[list[str], Problem, Minimum]:
    """The fit without signal of all channels but the named ones, and what its parameters are called in the model.

    Raises InputError for an unknown channel, or when no channel is left to look at; BumpfitError where the fit does not
    converge.
    """
    known = {c.name: c for c in model.channels}
    unknown = sorted(set(channels) - set(known))
    if unknown:
        raise InputError(f"there is no channel {', '.join(unknown)}; the model has {', '.join(known)}")
    if len(set(channels)) == len(known):
        raise InputError("all channels would be blinded, so nothing is left to predict them from")
    main, aux = model.split(data)
    visible = read(prune(model.spec, channels), poi="", interpolation=model.interpolation, allow_negative=True)
    seen = {c.name: main[known[c.name].first : known[c.name].last] for c in visible.channels}
    # the bins of some parameters are counted over all their channels
    full = {
        f"{name}[{k}]": f"{name}[{i}]"
        for name, bins in bins_over_channels(model.spec).items()
        for k, i in enumerate(i for i, (channel, _) in enumerate(bins) if channel not in channels)
    }
    names = [full.get(name, name) for name in visible.names]
    position = {p.name: i for i, p in enumerate(_constrained(model))}
    seen_aux = np.array([aux[position[full.get(p.name, p.name)]] for p in _constrained(visible)])
    counts = np.concatenate([seen[c.name] for c in visible.channels])
    held = {model.poi: 0.0} if model.poi in visible.names else {}
    problem = prepare(visible, np.concatenate([counts, seen_aux]), held, options=options)
    best = require_valid(problem.solve(), "the fit of the channels that are not blinded")
    return names, problem, best


def _constrained(model: Model) -> list:  # type: ignore[type-arg]
    return [p for p in model.parameters if p.constraint != "none"]
