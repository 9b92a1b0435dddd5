"""All types of systematic effects, in pyhf's order of their parameters, and the parameters of a model.

To add a type, write its record (`effect.Effect` says what it has) and put it on the list.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bumpfit.errors import InputError
from bumpfit.workspace.correlations import Correlation
from bumpfit.workspace.effect import Effect, Use
from bumpfit.workspace.effects_bins import SHAPEFACTOR, SHAPESYS, STATERROR
from bumpfit.workspace.effects_combine import CONTROLCOUNT, LOGNORMAL
from bumpfit.workspace.effects_scale import LUMI, NORMFACTOR, NORMFORMULA, NORMSYS
from bumpfit.workspace.effects_shape import HISTOSYS
from bumpfit.workspace.formula import Expression, evaluate, names_in, parse, resolve
from bumpfit.workspace.formula_slopes import derivative
from bumpfit.workspace.parameters import ParameterSet, check, override

EFFECTS: dict[str, Effect] = {
    effect.kind: effect
    for effect in (
        HISTOSYS,
        LUMI,
        NORMFACTOR,
        NORMSYS,
        SHAPEFACTOR,
        SHAPESYS,
        STATERROR,
        NORMFORMULA,
        LOGNORMAL,
        CONTROLCOUNT,
    )
}

PYHF_SETTINGS = ("inits", "bounds", "auxdata", "factors", "sigmas", "fixed")
"""Keys that the measurement's settings of a parameter can have in pyhf."""

SETTINGS = (*PYHF_SETTINGS, *dict.fromkeys(key for effect in EFFECTS.values() for key in effect.settings))
"""Keys that the measurement's settings of a parameter can have."""

DEFAULT_INTERPOLATION = {kind: effect.default_code for kind, effect in EFFECTS.items() if effect.interpolations}


def interpolation_codes(interpolation: Mapping[str, str]) -> dict[str, int]:
    """The kernels' code of each type that interpolates; raises InputError for names that do not exist."""
    codes = {}
    for kind, default in DEFAULT_INTERPOLATION.items():
        name, known = interpolation.get(kind, default), EFFECTS[kind].interpolations
        if name not in known:
            raise InputError(f"unknown interpolation '{name}' for {kind}; choose from {', '.join(known)}")
        codes[kind] = known[name]
    return codes


def uses_of(channels: Sequence[Mapping[str, Any]]) -> Iterator[Use]:
    """Every modifier with its place, in pyhf's order: channels, samples and modifiers sorted by name."""
    for channel in sorted(channels, key=lambda c: str(c["name"])):
        for sample in sorted(channel["samples"], key=lambda s: str(s["name"])):
            yields = np.asarray(sample["data"], dtype=np.float64)
            for modifier in sorted(sample["modifiers"], key=lambda m: (str(m["name"]), str(m["type"]))):
                yield Use(channel["name"], sample["name"], yields, modifier)


@dataclasses.dataclass(frozen=True)
class Declared:
    """What a specification declares: parameters in their order, formulas by name, settings without a parameter."""

    sets: dict[str, ParameterSet]
    formulas: dict[str, Expression]
    unused: tuple[str, ...]

    def names(self) -> list[str]:
        """All scalar parameters in their order."""
        return [p.name for group in self.sets.values() for p in group.parameters()]


def declare(channels: Sequence[Mapping[str, Any]], settings: Sequence[Mapping[str, Any]]) -> Declared:
    """The parameters of channels and the settings of a measurement, order and defaults as in pyhf 0.7.6.

    Raises InputError for what contradicts itself.
    """
    users: dict[str, dict[str, list[Use]]] = {kind: {} for kind in EFFECTS}
    for use in uses_of(channels):
        users[use.modifier["type"]].setdefault(use.modifier["name"], []).append(use)
    configs = {config["name"]: config for config in settings}
    defaults: dict[str, ParameterSet] = {}
    taken: dict[str, str] = {}
    for kind, found in users.items():
        if kind == NORMFORMULA.kind:
            continue
        effect = EFFECTS[kind]
        # pyhf numbers those that run over several channels by name
        for name in sorted(found) if effect.covers_channels else found:
            default = effect.parameters(name, found[name], configs.get(name, {}))
            if defaults.setdefault(name, default) != default:
                raise InputError(
                    f"the name '{name}' is used for modifiers whose parameters differ; give them different names"
                )
            taken[name] = kind
    formulas = _formulas(users[NORMFORMULA.kind], defaults, configs)
    if not defaults:
        raise InputError("the workspace has no modifiers, so there is nothing to fit; give the signal a normfactor")
    for name, kind in taken.items():
        for key in configs.get(name, {}):
            if key not in ("name", *PYHF_SETTINGS, *EFFECTS[kind].settings):
                raise InputError(f"the measurement sets '{key}' for parameter '{name}', which has no such setting")
    result = {name: override(default, configs.get(name, {})) for name, default in defaults.items()}
    for entry in result.values():
        check(entry)
    _check_values(formulas, result)
    return Declared(result, formulas, tuple(name for name in configs if name not in result))


def _formulas(
    users: Mapping[str, list[Use]], sets: dict[str, ParameterSet], configs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Expression]:
    """Formulas by name, those that they name put in; parameters that only formulas name are added to `sets`."""
    texts: dict[str, str] = {}
    for name, uses in users.items():
        for use in uses:
            text = use.modifier["data"]["formula"]
            if texts.setdefault(name, text) != text:
                raise InputError(
                    f"the formula '{name}' is there as '{texts[name]}' and as '{text}'; it must be the same"
                )
        if name in sets:
            raise InputError(f"the name '{name}' is used for a formula and for a parameter; give them different names")
    formulas = resolve({name: parse(text) for name, text in texts.items()})
    for name, expression in formulas.items():
        known = {p.name for group in sets.values() if group.inits for p in group.parameters()}
        known |= {group.name for group in sets.values() if group.scalar}
        for wanted in names_in(expression):
            if wanted in known:
                continue
            if not {"inits", "bounds"} <= configs.get(wanted, {}).keys():
                raise InputError(
                    f"the formula '{name}' names '{wanted}', which is no parameter; give it inits and bounds in the "
                    f"measurement, or write one of {', '.join(sorted(known)[:8])}"
                )
            sets[wanted] = _only_in_formulas(wanted, configs[wanted])
            known.add(wanted)
    return formulas


def _only_in_formulas(name: str, config: Mapping[str, Any]) -> ParameterSet:
    """A parameter that only formulas name: free, or with a Gaussian constraint if the measurement gives it a width."""
    free = ParameterSet(name, True, (1.0,), ((0.0, 10.0),), (False,))
    if "sigmas" not in config:
        return free
    return dataclasses.replace(free, constraint="normal", widths=(1.0,), auxdata=(float(config["inits"][0]),))


def _check_values(formulas: Mapping[str, Expression], sets: Mapping[str, ParameterSet]) -> None:
    start = {p.name: p.init for group in sets.values() for p in group.parameters()}
    for name, expression in formulas.items():
        value = evaluate(expression, start)
        at = ", ".join(f"{n} = {start[n]:g}" for n in names_in(expression))
        if not np.isfinite(value):
            raise InputError(f"the formula '{name}' is {value} at the start ({at}); it must be finite there")
        for parameter in names_in(expression):
            if not np.isfinite(evaluate(derivative(expression, parameter), start)):
                raise InputError(
                    f"the formula '{name}' has no slope by '{parameter}' at the start ({at}), where fits begin; give "
                    "another start (inits)"
                )


def correlations_of(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The correlations of nuisance parameters that a workspace (its first measurement) or a model states."""
    holder = spec["measurements"][0]["config"] if "measurements" in spec else spec
    return list(holder.get("correlations", ()))


def with_correlations(declared: Declared, stated: Sequence[Mapping[str, Any]]) -> list[Correlation]:
    """The correlations, checked against the parameters; raises InputError where they do not fit."""
    parameters = {p.name: p for group in declared.sets.values() for p in group.parameters()}
    result: list[Correlation] = []
    taken: set[str] = set()
    for entry in stated:
        found = Correlation.of(entry, parameters)
        again = taken & set(found.parameters)
        if again:
            raise InputError(
                f"the parameter '{min(again)}' is in two correlations; put all that belongs together in one"
            )
        taken |= set(found.parameters)
        result.append(found)
    return result
