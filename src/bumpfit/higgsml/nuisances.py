"""The six nuisances of the challenge: their prior, their ranges, and one draw.

tes and jes scale the tau and the jets, soft_met is the width in GeV of Gaussian noise on each component of the missing
momentum, the others scale yields: ttbar, diboson, and all backgrounds (bkg). The prior of soft_met is lognormal,
clipped at 5 (5.4 % of the draws are the clip itself); of the others a clipped normal law. "Off" is 1, for soft_met 0.
"""

from __future__ import annotations

import builtins
import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bumpfit.errors import InputError
from bumpfit.results import Record


@dataclasses.dataclass(frozen=True)
class Prior:
    """The prior of one nuisance: centre + sigma z, or exp(z) where `lognormal`, z unit normal, clipped to [low, high].

    `off` is the value without the effect.
    """

    name: str
    centre: float
    sigma: float
    low: float
    high: float
    off: float = 1.0
    lognormal: bool = False

    def value(self, z: float) -> float:
        """The value at z standard deviations."""
        raw = math.exp(self.centre + self.sigma * z) if self.lognormal else self.centre + self.sigma * z
        return min(max(raw, self.low), self.high)

    def standard(self, value: float) -> float:
        """How many standard deviations a value is from the centre."""
        raw = math.log(value) if self.lognormal else value
        return (raw - self.centre) / self.sigma


PRIORS = {
    prior.name: prior
    for prior in (
        Prior("tes", 1.0, 0.01, 0.9, 1.1),
        Prior("jes", 1.0, 0.01, 0.9, 1.1),
        Prior("soft_met", 0.0, 1.0, 0.0, 5.0, off=0.0, lognormal=True),
        Prior("ttbar_scale", 1.0, 0.02, 0.8, 1.2),
        Prior("diboson_scale", 1.0, 0.25, 0.0, 2.0),
        Prior("bkg_scale", 1.0, 0.001, 0.99, 1.01),
    )
}
"""The prior of each nuisance, in the order in which they are drawn."""

NAMES = tuple(PRIORS)


@dataclasses.dataclass(frozen=True)
class Nuisances(Record):
    """Values of the six nuisances; the defaults are those without an effect.

    Examples:
        >>> from bumpfit.higgsml import Nuisances
        >>> Nuisances(tes=1.01)
        Nuisances(tes=1.01)
    """

    tes: float = 1.0
    jes: float = 1.0
    soft_met: float = 0.0
    ttbar_scale: float = 1.0
    diboson_scale: float = 1.0
    bkg_scale: float = 1.0

    @classmethod
    def of(cls, values: Mapping[str, Any] | Nuisances | None) -> Nuisances:
        """From a mapping; a nuisance that is missing or None has no effect.

        Raises:
            InputError: an unknown name, no number, or a value outside its range.
        """
        if values is None:
            return cls()
        if isinstance(values, Nuisances):
            values = values.to_dict()
        if not isinstance(values, Mapping):
            raise InputError(f"got {type(values).__name__} for the nuisances; expected values by name")
        for name in values:
            if name not in PRIORS:
                raise InputError(f"there is no nuisance '{name}'; expected some of {', '.join(NAMES)}")
        return cls(**{name: _number(name, value) for name, value in values.items() if value is not None})

    def weight(self, process: str, compatible: bool = False) -> float:
        """What the nuisances multiply the yield of a process by.

        `compatible`: as the official bootstrap, where bkg_scale reaches ttbar and diboson only when their own scale is
        set (which a scale of exactly 1 is not).
        """
        if process == "htautau":
            return 1.0
        own = {"ttbar": self.ttbar_scale, "diboson": self.diboson_scale}.get(process)
        if own is None:
            return self.bkg_scale
        return 1.0 if compatible and own == 1.0 else own * self.bkg_scale


def _number(name: str, value: Any) -> float:
    prior = PRIORS[name]
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} is {value!r}; expected a number from {prior.low:g} to {prior.high:g}") from None
    if not prior.low <= number <= prior.high:
        raise InputError(f"{name} is {number:g}; expected a number from {prior.low:g} to {prior.high:g}")
    return number


def enabled_names(enabled: Any) -> tuple[str, ...]:
    """Names of the enabled nuisances in their order.

    Args:
        enabled: all ("all", the built-in `all`, None or True), a name, names, or a mapping of name to bool.

    Raises:
        InputError: an unknown name.
    """
    if enabled is None or enabled is True or enabled == "all" or enabled is builtins.all:
        return NAMES
    if enabled is False:
        return ()
    if isinstance(enabled, Mapping):
        wanted = [str(name) for name in enabled]
        on = {str(name) for name, flag in enabled.items() if flag}
    else:
        wanted = [enabled] if isinstance(enabled, str) else _strings(enabled)
        on = set(wanted)
    for name in wanted:
        if name not in PRIORS:
            raise InputError(f"there is no nuisance '{name}'; expected some of {', '.join(NAMES)}")
    return tuple(name for name in NAMES if name in on)


def _strings(names: Any) -> list[str]:
    if not isinstance(names, Iterable):
        raise InputError(f"got {names!r} for the enabled nuisances; expected names")
    return [str(name) for name in names]


def draw_nuisances(seed: int, enabled: Any = builtins.all) -> dict[str, float]:
    """One draw from the prior of the challenge: all six values by name.

    The enabled ones are drawn in the order of `NAMES` from numpy's `RandomState(seed)`, as the official code does; a
    disabled one is not drawn and has no effect (1, soft_met 0).

    Args:
        seed: 0 to 2^32 - 1.
        enabled: which are drawn; see `enabled_names`.

    Raises:
        InputError: unknown names, or a seed that numpy does not take.

    Examples:
        >>> from bumpfit import higgsml
        >>> sorted(higgsml.draw_nuisances(1))
        ['bkg_scale', 'diboson_scale', 'jes', 'soft_met', 'tes', 'ttbar_scale']
        >>> higgsml.draw_nuisances(1, enabled=["tes"])["jes"]
        1.0
    """
    on = enabled_names(enabled)
    state = random_state(seed)
    values = {name: prior.off for name, prior in PRIORS.items()}
    for name in on:
        prior = PRIORS[name]
        draw = state.lognormal if prior.lognormal else state.normal
        values[name] = float(np.clip(draw(prior.centre, prior.sigma), prior.low, prior.high))
    return values


def random_state(seed: Any) -> np.random.RandomState:
    """Numpy's legacy generator, which the official code uses; raises InputError for a seed that it does not take."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise InputError(f"the seed is {seed!r}; expected a whole number from 0 to 2^32 - 1")
    return np.random.RandomState(int(seed))
