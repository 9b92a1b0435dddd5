"""Parameters of a HistFactory model: start, range and constraint, and how a measurement sets them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from bumpfit.errors import InputError

Constraint = Literal["none", "normal", "poisson"]


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One scalar parameter. `width` is the Gaussian sigma, or the factor tau of a Poisson constraint P(aux | tau
    theta).

    Examples:
        >>> parameter = model.parameters[1]
        >>> parameter.name, parameter.init, parameter.constraint
        ('norm', 0.0, 'normal')
    """

    name: str
    init: float
    low: float
    high: float
    fixed: bool
    constraint: Constraint = "none"
    width: float | None = None
    auxdata: float | None = None


@dataclasses.dataclass(frozen=True)
class ParameterSet:
    """Parameters that one modifier name stands for (one, or one a bin).

    `starts`: where the bins of each channel begin, when they are counted on from channel to channel.
    """

    name: str
    scalar: bool
    inits: tuple[float, ...]
    bounds: tuple[tuple[float, float], ...]
    fixed: tuple[bool, ...]
    constraint: Constraint = "none"
    widths: tuple[float, ...] = ()
    auxdata: tuple[float, ...] = ()
    starts: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def first(self, channel: str) -> int:
        """Which of the parameters belongs to the first bin of a channel."""
        return self.starts.get(channel, 0)

    def parameters(self) -> list[Parameter]:
        """The scalar parameters, named name[0], name[1], ... when there is one a bin."""
        result = []
        for i, init in enumerate(self.inits):
            constrained = self.constraint != "none"
            result.append(
                Parameter(
                    self.name if self.scalar else f"{self.name}[{i}]",
                    init,
                    *self.bounds[i],
                    self.fixed[i],
                    self.constraint,
                    self.widths[i] if constrained else None,
                    self.auxdata[i] if constrained else None,
                )
            )
        return result


def _settings(name: str, config: Mapping[str, Any], key: str, size: int) -> Any:
    value = config.get(key)
    if isinstance(value, list) and len(value) != size:
        raise InputError(f"the measurement sets {len(value)} {key} for parameter '{name}', expected {size}")
    return value


def _end(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond floating-point numbers
        return math.inf if value > 0 else -math.inf


def override(default: ParameterSet, config: Mapping[str, Any]) -> ParameterSet:
    """Apply the measurement's settings of one parameter."""
    if not default.inits:
        return override(_without_defaults(default, config), config)
    name, size = default.name, len(default.inits)
    changes: dict[str, Any] = {}
    used = {"none": (), "normal": ("auxdata", "sigmas"), "poisson": ("auxdata", "factors")}[default.constraint]
    for key in ("auxdata", "sigmas", "factors"):
        value = _settings(name, config, key, size)
        if value is None:
            continue
        if key not in used:
            raise InputError(f"the measurement sets '{key}' for parameter '{name}', which has no such setting")
        if key != "auxdata" and not all(v > 0 and math.isfinite(v) for v in value):
            raise InputError(f"{key} of parameter '{name}' must be positive, got {value}")
        changes["auxdata" if key == "auxdata" else "widths"] = tuple(map(float, value))
    inits = _settings(name, config, "inits", size)
    if inits is not None:
        changes["inits"] = tuple(map(float, inits))
    bounds = _settings(name, config, "bounds", size)
    if bounds is not None:
        changes["bounds"] = tuple((_end(low), _end(high)) for low, high in bounds)
    held = (bool(config["fixed"]),) * size if config.get("fixed") is not None else default.fixed
    # a range without width holds a parameter, as minimisers read it
    changes["fixed"] = tuple(
        hold or low == high for hold, (low, high) in zip(held, changes.get("bounds", default.bounds), strict=True)
    )
    return dataclasses.replace(default, **changes)


def _without_defaults(default: ParameterSet, config: Mapping[str, Any]) -> ParameterSet:
    """For the luminosity start, range, auxiliary value and error come from the measurement."""
    missing = [key for key in ("inits", "bounds", "auxdata", "sigmas") if key not in config]
    if missing:
        raise InputError(
            f"the parameter '{default.name}' needs {', '.join(missing)} in the measurement, for example "
            f'{{"name": "{default.name}", "auxdata": [1.0], "sigmas": [0.017], "inits": [1.0], "bounds": [[0.9, 1.1]]}}'
        )
    return dataclasses.replace(default, inits=(1.0,))


def check(found: ParameterSet) -> None:
    """Raise InputError for an empty range, a start outside it, and widths that are not positive numbers."""
    for i, (init, (low, high)) in enumerate(zip(found.inits, found.bounds, strict=True)):
        label = found.name if found.scalar else f"{found.name}[{i}]"
        if not low <= high:
            raise InputError(
                f"the range of parameter '{label}' is [{low}, {high}]; the lower end must not be above the upper"
            )
        if found.widths and not (found.widths[i] > 0 and 0 < found.widths[i] * found.widths[i] < math.inf):
            raise InputError(f"the uncertainty of parameter '{label}' is out of the range of floating-point numbers")
        if not low <= init <= high:
            raise InputError(f"the start {init} of parameter '{label}' lies outside its range [{low}, {high}]")
