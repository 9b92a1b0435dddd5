"""The parameters of a HistFactory model: which exist, in which order, with which start, range and constraint.

Order and defaults are pyhf's (0.7.6): by type of modifier, within a type in the order in which channels, samples and
modifiers sorted by name are met; settings of the measurement override the defaults.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bumpfit.errors import InputError

Constraint = Literal["none", "normal", "poisson"]


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One scalar parameter. `width` is the Gaussian sigma, or the factor tau of a Poisson constraint P(aux | tau
    theta).
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
    """Parameters that one modifier name stands for (one, or one a bin)."""

    name: str
    scalar: bool
    inits: tuple[float, ...]
    bounds: tuple[tuple[float, float], ...]
    fixed: tuple[bool, ...]
    constraint: Constraint = "none"
    widths: tuple[float, ...] = ()
    auxdata: tuple[float, ...] = ()

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


def _normal_scalar(name: str) -> ParameterSet:
    return ParameterSet(name, True, (0.0,), ((-5.0, 5.0),), (False,), "normal", (1.0,), (0.0,))


def _default_shapesys(name: str, nominal: Sequence[float], uncertainty: Sequence[float]) -> ParameterSet:
    valid = [n > 0 and u > 0 for n, u in zip(nominal, uncertainty, strict=True)]
    ratios = [n / u if ok else 1.0 for n, u, ok in zip(nominal, uncertainty, valid, strict=True)]
    factors = tuple(r * r for r in ratios)
    size = len(factors)
    fixed = tuple(not ok for ok in valid)
    return ParameterSet(name, False, (1.0,) * size, ((1e-10, 10.0),) * size, fixed, "poisson", factors, factors)


def _default_staterror(name: str, sigmas: Sequence[float]) -> ParameterSet:
    # a bin without uncertainty keeps a unit Gaussian, which only adds a constant to the likelihood (pyhf does the same)
    fixed = tuple(s == 0 for s in sigmas)
    widths = tuple(1.0 if s == 0 else s for s in sigmas)
    size = len(widths)
    return ParameterSet(name, False, (1.0,) * size, ((1e-10, 10.0),) * size, fixed, "normal", widths, (1.0,) * size)


def staterror_sigmas(name: str, channels: Sequence[Mapping[str, Any]]) -> list[float]:
    """Relative uncertainty of each bin that staterror `name` covers, channels in the given order.

    The absolute uncertainties of the samples are added in quadrature, the yields linearly (Barlow-Beeston light).
    """
    users = {
        sample["name"]: frozenset(
            c["name"]
            for c in channels
            for s in c["samples"]
            if s["name"] == sample["name"] and _find(s, name, "staterror") is not None
        )
        for channel in channels
        for sample in channel["samples"]
        if _find(sample, name, "staterror") is not None
    }
    if len(set(users.values())) > 1:
        raise InputError(
            f"staterror '{name}' covers different channels for different samples ({', '.join(sorted(users))}); "
            "use one name a channel"
        )
    sigmas: list[float] = []
    for channel in channels:
        covering = [s for s in channel["samples"] if _find(s, name, "staterror") is not None]
        if not covering:
            continue
        for b in range(len(covering[0]["data"])):
            total = sum(s["data"][b] for s in covering)
            error = math.hypot(*(_find(s, name, "staterror")["data"][b] for s in covering))  # type: ignore[index]
            sigmas.append(error / total if total > 0 else 0.0)
    return sigmas


def _find(sample: Mapping[str, Any], name: str, kind: str) -> Mapping[str, Any] | None:
    found = None
    for modifier in sample["modifiers"]:
        if modifier["name"] == name and modifier["type"] == kind:
            found = modifier
    return found


def _settings(name: str, config: Mapping[str, Any], key: str, size: int) -> Any:
    value = config.get(key)
    if isinstance(value, list) and len(value) != size:
        raise InputError(f"the measurement sets {len(value)} {key} for parameter '{name}', expected {size}")
    return value


def _end(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond floating-point numbers
        return math.copysign(math.inf, value)


def _override(default: ParameterSet, config: Mapping[str, Any]) -> ParameterSet:
    """Apply the measurement's settings of one parameter."""
    if not default.inits:
        return _override(_lumi(default, config), config)
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


def _lumi(default: ParameterSet, config: Mapping[str, Any]) -> ParameterSet:
    """The luminosity has no defaults: start, range, auxiliary value and error come from the measurement."""
    missing = [key for key in ("inits", "bounds", "auxdata", "sigmas") if key not in config]
    if missing:
        raise InputError(
            f"the modifier 'lumi' needs {', '.join(missing)} for the parameter 'lumi' in the measurement, for example "
            '{"name": "lumi", "auxdata": [1.0], "sigmas": [0.017], "inits": [1.0], "bounds": [[0.9, 1.1]]}'
        )
    return dataclasses.replace(default, inits=(1.0,))


def _check(found: ParameterSet) -> None:
    for i, (init, (low, high)) in enumerate(zip(found.inits, found.bounds, strict=True)):
        label = found.name if found.scalar else f"{found.name}[{i}]"
        if not low <= high:
            raise InputError(
                f"the range of parameter '{label}' is [{low}, {high}]; the lower end must not be above the upper"
            )
        if found.widths and not (math.isfinite(found.widths[i]) and found.widths[i] > 0):
            raise InputError(f"the uncertainty of parameter '{label}' is out of the range of floating-point numbers")
        if not low <= init <= high:
            raise InputError(f"the start {init} of parameter '{label}' lies outside its range [{low}, {high}]")


def parameter_sets(
    channels: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]]
) -> dict[str, ParameterSet]:
    """All parameter sets of channels sorted by name (samples sorted by name), in pyhf's order."""
    by_kind: dict[str, dict[str, ParameterSet]] = {
        kind: {} for kind in ("histosys", "lumi", "normfactor", "normsys", "shapefactor", "shapesys", "staterror")
    }
    owner: dict[str, str] = {}
    for channel in channels:
        for sample in sorted(channel["samples"], key=lambda s: str(s["name"])):
            for modifier in sorted(sample["modifiers"], key=lambda m: (str(m["name"]), str(m["type"]))):
                name, kind, size = modifier["name"], modifier["type"], len(sample["data"])
                found = by_kind[kind]
                if kind == "shapesys":
                    here = f"sample '{sample['name']}' of channel '{channel['name']}'"
                    if name in found and owner[name] != here:
                        raise InputError(
                            f"shapesys '{name}' is used by {owner[name]} and by {here}; it cannot be shared"
                        )
                    owner[name] = here
                    found[name] = _default_shapesys(name, sample["data"], modifier["data"])
                elif kind == "shapefactor":
                    if name not in found:
                        found[name] = ParameterSet(name, False, (1.0,) * size, ((0.0, 10.0),) * size, (False,) * size)
                    elif size > len(found[name].inits):
                        raise InputError(
                            f"shapefactor '{name}' has {len(found[name].inits)} bins in an earlier channel but {size} "
                            f"in channel '{channel['name']}'; mismatching binnings cannot share it"
                        )
                elif name in found:
                    continue
                elif kind == "normfactor":
                    found[name] = ParameterSet(name, True, (1.0,), ((0.0, 10.0),), (False,))
                elif kind in ("histosys", "normsys"):
                    found[name] = _normal_scalar(name)
                elif kind == "lumi":
                    found[name] = ParameterSet(name, True, (), (), (False,), "normal", (), ())
                # staterror needs all channels: below, in the order of the sorted names as in pyhf
    names = sorted(
        {m["name"] for c in channels for s in c["samples"] for m in s["modifiers"] if m["type"] == "staterror"}
    )
    for name in names:
        by_kind["staterror"][name] = _default_staterror(name, staterror_sigmas(name, channels))
    configs = {config["name"]: config for config in settings}
    defaults: dict[str, ParameterSet] = {}
    for found in by_kind.values():
        for name, default in found.items():
            if defaults.setdefault(name, default) != default:
                raise InputError(
                    f"the name '{name}' is used for modifiers whose parameters differ; give them different names"
                )
    if not defaults:
        raise InputError("the workspace has no modifiers, so there is nothing to fit; give the signal a normfactor")
    result = {name: _override(default, configs.get(name, {})) for name, default in defaults.items()}
    for entry in result.values():
        _check(entry)
    return result
