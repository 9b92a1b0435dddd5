"""Data that nobody looked at: Asimov data, blinded channels and bins."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError
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


Hidden = Collection[str] | Mapping[str, Collection[int] | None]
"""Channels that are blinded, or for each the bins, counted from 0 (None: all)."""

ROUNDS = 100
"""Steps of two fits after which hidden bins must agree with what the others predict."""

SETTLED = 1e-7
"""Largest relative change of what is predicted in the last of these steps."""

TINY = 1e-9
"""Expected events below which changes are not relative."""


def blind(model: Model, channels: Hidden, data: Data = None, *, options: FitOptions = FitOptions()) -> Floats:
    """Data with the named channels, or bins of them, replaced by their background-only expectation, shape (B + A,).

    The expectation comes from the fit of all that is left without signal; parameters that only the blinded bins
    determine stay at their suggested values. Auxiliary measurements are kept. Raises InputError for an unknown channel
    or bin, or when nothing is left to look at; BumpfitError where the fit does not converge.

    Examples:
        >>> b, s = build.sample("b", [9.0]), build.sample("s", [5.0], build.modifier("normfactor", "mu"))
        >>> both = build.workspace({"A": [s, b], "B": [s, b]}, {"A": [12], "B": [19]}, "mu")
        >>> bumpfit.inference.blind(bumpfit.workspace.read(both), ["B"]).tolist()
        [12.0, 9.0]
    """
    if not isinstance(channels, Mapping):
        channels = dict.fromkeys([channels] if isinstance(channels, str) else channels)
    hidden = _hidden(model, channels)
    if any(bins is not None for bins in channels.values()):
        return _predicted(model, hidden, data, options)
    names, _, best = beside(model, channels, data, options=options)
    values = dict(zip(names, map(float, best.x), strict=True))
    expected = model.expected({**values, **({model.poi: 0.0} if model.poi is not None else {})})
    main, aux = model.split(data)
    return np.concatenate([np.where(hidden, expected, main), aux])


def bins_within(model: Model, channel: str, first: int, last: int) -> range:
    """The bins of a channel from one to another, both counted from 0; raises InputError where one does not exist."""
    known = {one.name: one for one in model.channels}
    if channel not in known:
        raise InputError(f"there is no channel {channel}; the model has {', '.join(known)}")
    size = known[channel].last - known[channel].first
    for k in (first, last):
        if not 0 <= k < size:
            raise InputError(f"channel '{channel}' has no bin {k}; its {size} bins are counted from 0")
    return range(first, last + 1)


def _hidden(model: Model, channels: Mapping[str, Collection[int] | None]) -> NDArray[np.bool_]:
    """Which bins of the model are blinded, (B,); raises as `blind`."""
    known = {channel.name: channel for channel in model.channels}
    hidden = np.zeros(model.channels[-1].last, dtype=np.bool_)
    for name, bins in channels.items():
        chosen = sorted(bins or ())
        bins_within(model, name, *((chosen[0], chosen[-1]) if chosen else (0, 0)))
        first, last = known[name].first, known[name].last
        hidden[first:last] |= True if bins is None else np.isin(np.arange(last - first), chosen)
    if hidden.all():
        raise InputError("all channels would be blinded, so nothing is left to predict them from")
    return hidden


def _predicted(model: Model, hidden: NDArray[np.bool_], data: Data, options: FitOptions) -> Floats:
    """Hidden bins that are what the fit to them and the others expects.

    Bins that hold their expectation do not move a maximum: the fit is then that of the others alone (expectation and
    maximisation for missing counts: Dempster, Laird, Rubin, J. R. Stat. Soc. B 39 (1977) 1; steps as long as the
    squared extrapolation of Varadhan and Roland, Scand. J. Stat. 35 (2008) 335, scheme S3).
    """
    main, aux = model.split(data)
    held = {} if model.poi is None else {model.poi: 0.0}

    def expected(counts: Floats) -> Floats:
        """What the fit to these counts of the hidden bins, and to the others as they are, expects in them."""
        whole = np.concatenate([main, aux])
        whole[: hidden.size][hidden] = counts
        best = require_valid(prepare(model, whole, held, options=options).solve(), "the fit of what is not blinded")
        return model.expected(best.x)[hidden]

    counts = model.expected(held)[hidden]
    for _ in range(ROUNDS):
        once = expected(counts)
        step, bend = once - counts, expected(once) - 2 * once + counts
        change = float(np.max(np.abs(step) / np.maximum(np.abs(once), TINY)))
        if change < SETTLED:
            whole = np.concatenate([main, aux])
            whole[: hidden.size][hidden] = once
            return whole
        far = max(float(np.linalg.norm(step)) / max(float(np.linalg.norm(bend)), 1e-300), 1.0)
        jumped = counts + 2 * far * step + far**2 * bend
        counts = np.where(jumped > 0, jumped, once) if np.isfinite(jumped).all() else once
    raise BumpfitError(
        f"blinded bins and the fit of the others do not agree after {2 * ROUNDS} fits (still {change:.1g} apart): the "
        "visible bins say too little about them; blind whole channels, or fewer bins"
    )


def beside(
    model: Model, channels: Collection[str], data: Data = None, *, options: FitOptions = FitOptions()
) -> tuple[list[str], Problem, Minimum]:
    """The fit without signal of all channels but the named ones, and what its parameters are called in the model.

    Raises InputError for an unknown channel, or when no channel is left to look at; BumpfitError where the fit does not
    converge.
    """
    _hidden(model, dict.fromkeys(channels))
    known = {c.name: c for c in model.channels}
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
