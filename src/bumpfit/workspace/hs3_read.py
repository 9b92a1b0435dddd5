"""Read HS3 JSON: HistFactory models as RooFit (6.40) and `hs3_write` write them.

Keys of a channel, sample, modifier or constraint that are not known here are refused, since they can change the
likelihood.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from bumpfit.errors import InputError, InputWarning
from bumpfit.workspace.effect import Effect, floats
from bumpfit.workspace.effects import DEFAULT_INTERPOLATION, EFFECTS, declare
from bumpfit.workspace.effects_bins import STATERROR
from bumpfit.workspace.effects_scale import LUMINOSITY
from bumpfit.workspace.formula import Name as FormulaName
from bumpfit.workspace.formula import names_in, parse, replaced, written

CHANNEL_KEYS = ("name", "type", "axes", "samples", *EFFECTS)
SAMPLE_KEYS = ("name", "data", "modifiers")
DATA_KEYS = ("contents", "errors", "axes")
MODIFIER_KEYS = (
    "name", "type", "data", "parameter", "parameters", "constraint", "constraint_type", "constraint_name",
    "interpolation",
)  # fmt: skip
MODIFIER_DATA_KEYS = ("lo", "hi", "vals", "interpolation", "errors")
BLOCK_KEYS = ("relThreshold", "constraint", "constraint_type")
GAUSSIAN_KEYS = ("name", "type", "x", "mean", "sigma")
JOINT_KEYS = ("name", "type", "x", "mean", "covariances")
FUNCTION_KEYS = ("name", "type", "expression")
COMMENTS = ("comment", "title", "tags")
"""Keys that can stand anywhere without a meaning for the likelihood."""


def is_hs3(document: Any) -> bool:
    """True for a JSON object that looks like HS3 (and not like HistFactory JSON)."""
    return isinstance(document, Mapping) and "distributions" in document and "channels" not in document


def from_hs3(document: Mapping[str, Any], analysis: str | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    """The HistFactory specification of an HS3 document, and its interpolation codes.

    `analysis`: by default the first whose data are not Asimov data. Raises InputError for anything that is not a
    HistFactory model: other distributions, other constraints than Gaussian and Poisson ones, mixed interpolation
    codes, unknown keys, missing parts. Warns (InputWarning) of what is read, but unlikely to be meant.
    """
    try:
        reader = Reader(document)
        result = reader.read(analysis)
    except KeyError as error:
        raise InputError(f"not a complete HS3 model: {error} is missing") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise InputError(f"not a valid HS3 model: {error}") from error
    for text in dict.fromkeys(reader.told):
        warnings.warn(text, InputWarning, stacklevel=3)
    return result


class Reader:
    """Reads one document; the types of effects ask it for names, values and constraints."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.distributions = {d["name"]: d for d in self._list(document, "distributions")}
        self.data = {d["name"]: d for d in self._list(document, "data")}
        self.likelihoods = {d["name"]: d for d in self._list(document, "likelihoods")}
        self.analyses = self._list(document, "analyses")
        self.domains = {d["name"]: d for d in document.get("domains") or []}
        self.functions = {f["name"]: f for f in document.get("functions") or []}
        self.values: dict[str, Mapping[str, Any]] = {}
        for points in reversed(document.get("parameter_points") or []):
            for entry in points.get("parameters") or []:
                self.values[entry["name"]] = entry
        own = (document.get("misc") or {}).get("bumpfit") or {}
        self.old_names: dict[str, str] = dict(own.get("names") or {})
        self.codes: dict[str, str] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.members: dict[str, list[str]] = {}
        self.sources: dict[str, str] = {}
        self.joint: dict[str, dict[str, Any]] = {}
        self.constraints: set[str] = set()
        self.told: list[str] = []
        self.distribution: Mapping[str, Any] = {}

    @staticmethod
    def _list(document: Mapping[str, Any], key: str) -> list[Any]:
        found = document.get(key)
        if not isinstance(found, list) or not all(isinstance(d, Mapping) and "name" in d for d in found):
            raise InputError(f"not an HS3 model: '{key}' must be a list of named objects")
        return found

    def read(self, analysis: str | None) -> tuple[dict[str, Any], dict[str, str]]:
        """The specification and the interpolation codes of one analysis."""
        chosen = self._analysis(analysis)
        likelihood = self.likelihoods.get(chosen.get("likelihood", ""))
        if likelihood is None:
            raise InputError(f"the HS3 analysis '{chosen['name']}' names a likelihood that does not exist")
        interests = chosen.get("parameters_of_interest", [])
        if not interests:
            raise InputError(f"the HS3 analysis '{chosen['name']}' has no parameter of interest")
        channels, observations = [], []
        for name, data_name in zip(likelihood["distributions"], likelihood["data"], strict=True):
            distribution = self.distributions.get(name, {})
            if distribution.get("type") != "histfactory_dist":
                raise InputError(
                    f"cannot read the HS3 distribution '{name}' of type {distribution.get('type')!r}; "
                    "only histfactory_dist can become a HistFactory model"
                )
            label = self.original(name.removeprefix("model_"))
            channels.append(self._channel(distribution, label))
            observed = self.data.get(data_name, {})
            if observed.get("type") != "binned":
                raise InputError(f"the HS3 data '{data_name}' of '{name}' must be binned")
            observations.append({"name": label, "data": floats(observed["contents"])})
        self._refuse_other_constraints(likelihood)
        self._ranges(chosen)
        config: dict[str, Any] = {"poi": self._interest(interests[0]), "parameters": self._parameters(channels)}
        if self.joint:
            config["correlations"] = list(self.joint.values())
        spec = {
            "channels": channels,
            "observations": observations,
            "measurements": [{"name": chosen["name"], "config": config}],
            "version": "1.0.0",
        }
        return spec, {**DEFAULT_INTERPOLATION, **self.codes}

    def _refuse_other_constraints(self, likelihood: Mapping[str, Any]) -> None:
        """A likelihood can hold further constraints that belong to no modifier; HistFactory cannot."""
        for name in likelihood.get("aux_distributions") or []:
            if name not in self.constraints:
                raise InputError(f"cannot read the auxiliary distribution '{name}', which belongs to no modifier")

    def _analysis(self, name: str | None) -> Mapping[str, Any]:
        if name is not None:
            for candidate in self.analyses:
                if candidate["name"] == name:
                    return dict(candidate)
            names = ", ".join(a["name"] for a in self.analyses)
            raise InputError(f"there is no HS3 analysis '{name}'; the document has {names}")
        real = [a for a in self.analyses if "asimov" not in a["name"].lower()]
        if not self.analyses:
            raise InputError("not an HS3 model: it has no analyses")
        return dict((real or self.analyses)[0])

    def _interest(self, name: str) -> str:
        for group, members in self.members.items():
            if name in members:
                return f"{group}[{members.index(name)}]"
        target = next((target for target, source in self.sources.items() if source == name), name)
        return self.original(target)

    # ------------------------------------------------------------ channels

    def _channel(self, distribution: Mapping[str, Any], label: str) -> dict[str, Any]:
        known(distribution, CHANNEL_KEYS, f"the HS3 channel '{label}'")
        self.distribution = distribution
        block = self.channel_block(STATERROR.kind)
        known(block, BLOCK_KEYS, f"the {STATERROR.kind} block of the HS3 channel '{label}'")
        samples = [self._sample(s, label) for s in distribution["samples"]]
        channel = {"name": label, "samples": samples}
        STATERROR.finish(channel, block.get("relThreshold", 0.0))
        return channel

    def channel_block(self, kind: str) -> Mapping[str, Any]:
        """What the channel that is read says about a type."""
        return dict(self.distribution.get(kind) or {})

    def _sample(self, sample: Mapping[str, Any], channel: str) -> dict[str, Any]:
        where = f"sample '{sample['name']}' of the HS3 channel '{channel}'"
        known(sample, SAMPLE_KEYS, where)
        known(sample["data"], DATA_KEYS, f"the data of {where}")
        contents = floats(sample["data"]["contents"])
        modifiers = []
        for raw in sample.get("modifiers") or []:
            here = f"modifier '{raw['name']}' of {where}"
            effect = next((e for e in _READING_ORDER if e.reads_hs3(raw, self)), None)
            if effect is None:
                raise InputError(
                    f"unknown HS3 modifier type {raw['type']!r} in sample '{sample['name']}' of '{channel}'"
                )
            known(raw, MODIFIER_KEYS, here)
            if isinstance(raw.get("data"), Mapping):
                known(raw["data"], MODIFIER_DATA_KEYS, f"the data of {here}")
            modifiers.append(effect.from_hs3(raw, sample, channel, self))
        return {"name": self.original(sample["name"]), "data": contents, "modifiers": modifiers}

    # ------------------------------------------------------------ what types of effects ask for

    def tell(self, text: str) -> None:
        """A sentence for the user about something that is read but may not be meant."""
        self.told.append(text)

    def original(self, name: str) -> str:
        """The name before RooFit's rules changed it, as far as bumpfit wrote the document."""
        return self.old_names.get(name, name)

    def scalar(self, name: str) -> str:
        """The name of a parameter in HistFactory JSON."""
        result = self.original(name)
        self.sources[result] = name
        return result

    def set(self, name: str, key: str, value: Any) -> None:
        """A setting of a parameter; raises InputError where it contradicts an earlier one."""
        entry = self.settings.setdefault(name, {})
        if entry.setdefault(key, value) != value:
            raise InputError(f"the HS3 document gives '{name}' the {key} {entry[key]} and {value}")

    def group(self, raw: Mapping[str, Any], channel: str) -> str:
        """The name that the parameters of the bins share."""
        parameters = raw.get("parameters") or []
        stems = {re.sub(r"_bin_?\d+$", "", p) for p in parameters}
        name = self.original(stems.pop()) if len(stems) == 1 else f"{self.original(raw['name'])}_{channel}"
        members = self.members.setdefault(name, [])
        members += [p for p in parameters if p not in members]
        return name

    def constrained(self, raw: Mapping[str, Any]) -> str:
        """The name of the parameter of a modifier, whose constraint is noted; without a named one it is the unit "
        "one."""
        name = raw.get("parameter", raw["name"])
        if "constraint_name" in raw:
            self.constraint(raw, name, self.original(name))
        return self.scalar(name)

    def constraint(self, raw: Mapping[str, Any], name: str, target: str) -> None:
        """Note the constraint of a modifier's parameter `name`, which becomes `target` in HistFactory JSON."""
        found = self.distributions.get(raw["constraint_name"])
        if found is None:
            raise InputError(f"the constraint '{raw['constraint_name']}' of modifier '{raw['name']}' does not exist")
        self.constraints.add(found["name"])
        if self.sources.setdefault(target, name) != name:
            raise InputError(
                f"HistFactory JSON holds one luminosity, the document has '{self.sources[target]}' and '{name}'"
            )
        if found.get("type") == "multivariate_normal_dist":
            self._joint(found)
        elif found.get("type") == "gaussian_dist":
            known(found, GAUSSIAN_KEYS, f"the constraint '{found['name']}'")
            other = found["mean"] if found["x"] == name else found["x"]
            if name not in (found["x"], found["mean"]):
                raise InputError(f"the constraint '{found['name']}' of modifier '{raw['name']}' is not one of '{name}'")
            self._set_constraint(target, self._number(other), self._number(found["sigma"]))
        else:
            raise InputError(f"cannot read the constraint '{found['name']}' of type {found.get('type')!r}")

    def constraint_within(self, raw: Mapping[str, Any], names: Sequence[str]) -> None:
        """Note the constraint of a modifier that scales with a formula, of one of the parameters in it."""
        found = self.distributions.get(raw["constraint_name"], {})
        ends = [found.get("x"), found.get("mean")]
        for target in names:
            if self.sources.get(target) in ends:
                return self.constraint(raw, self.sources[target], target)
        raise InputError(f"the constraint '{raw['constraint_name']}' of modifier '{raw['name']}' is not one of its own")

    def _set_constraint(self, target: str, aux: float, sigma: float) -> None:
        self.set(target, "auxdata", [aux])
        if sigma != 1 or target == LUMINOSITY:
            self.set(target, "sigmas", [sigma])

    def _joint(self, found: Mapping[str, Any]) -> None:
        """A Gaussian constraint of several parameters."""
        known(found, JOINT_KEYS, f"the constraint '{found['name']}'")
        if found["name"] in self.joint:
            return
        covariance = np.array(found["covariances"], dtype=np.float64)
        if covariance.shape != (len(found["x"]), len(found["mean"])) or not (np.diag(covariance) > 0).all():
            raise InputError(f"the covariances of the constraint '{found['name']}' are no matrix of its parameters")
        sigmas = np.sqrt(np.diag(covariance))
        names = []
        for x, mean, sigma in zip(found["x"], found["mean"], sigmas.tolist(), strict=True):
            name, other = (x, mean) if not str(x).startswith("nom_") else (mean, x)
            names.append(self.scalar(name))
            self._set_constraint(names[-1], self._number(other), sigma)
        matrix = covariance / sigmas[:, None] / sigmas
        np.fill_diagonal(matrix, 1.0)
        self.joint[found["name"]] = {"parameters": names, "matrix": matrix.tolist()}

    def code(self, effect: Effect, raw: Mapping[str, Any]) -> None:
        """Note the interpolation code of a modifier; one code serves all of a type."""
        code = raw["data"].get("interpolation")
        if code is None:
            numbers = {name: number for number, name in effect.hs3_codes.items()}
            code = effect.hs3_codes.get(int(raw.get("interpolation", numbers[effect.default_code])))
        if code not in effect.interpolations:
            raise InputError(
                f"cannot read the interpolation code of {effect.kind} '{raw['name']}'; known are "
                f"{', '.join(effect.interpolations)}"
            )
        if self.codes.setdefault(effect.kind, code) != code:
            raise InputError(
                f"the {effect.kind} modifiers mix the interpolation codes {self.codes[effect.kind]} and {code}"
            )

    def formula(self, name: str) -> str:
        """The expression of a function, with the functions that it names put in, and names of HistFactory JSON."""
        return written(self._expression(name, ()), lambda n: n)

    def _expression(self, name: str, chain: tuple[str, ...]) -> Any:
        found = self.functions[name]
        if name in chain:
            raise InputError(f"the HS3 functions {' -> '.join([*chain, name])} name each other in a loop")
        if found.get("type") != "generic_function":
            raise InputError(f"cannot read the HS3 function '{name}' of type {found.get('type')!r}")
        known(found, FUNCTION_KEYS, f"the HS3 function '{name}'")
        expression = parse(found["expression"])
        values = {}
        for used in names_in(expression):
            inner = (
                self._expression(used, (*chain, name)) if used in self.functions else FormulaName(self._member(used))
            )
            values[used] = inner
        return replaced(expression, values)

    def _member(self, name: str) -> str:
        """A parameter in HistFactory JSON's words: one of bins by its number."""
        stem, _, number = name.rpartition("_bin_")
        if stem and number.isdigit() and any(name in members for members in self.members.values()):
            return f"{self.original(stem)}[{number}]"
        return self.scalar(name)

    def _number(self, value: Any) -> float:
        if isinstance(value, str):
            if value not in self.values:
                raise InputError(f"the HS3 parameter '{value}' has no value")
            return float(self.values[value]["value"])
        return float(value)

    # ------------------------------------------------------------ settings

    def _ranges(self, chosen: Mapping[str, Any]) -> None:
        names = ["default_domain", *chosen.get("domains", [])]
        self.ranges = {
            axis["name"]: (axis["min"], axis["max"])
            for name in names
            for axis in self.domains.get(name, {}).get("axes") or []
            if "min" in axis and "max" in axis
        }

    def _parameters(self, channels: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Measurement settings of all parameters, from values, ranges, constraints and what is constant."""
        result: list[dict[str, Any]] = []
        for name, source in self.sources.items():
            entry: dict[str, Any] = {"name": name, **self.settings.get(name, {})}
            if source in self.values:
                entry["inits"] = [float(self.values[source]["value"])]
                if self.values[source].get("const"):
                    entry["fixed"] = True
            if source in self.ranges:
                entry["bounds"] = [floats(self.ranges[source])]
            result.append(entry)
        special = {key for effect in EFFECTS.values() for key in effect.settings}
        groups: dict[str, dict[str, Any]] = {
            name: {"name": name, **self.settings.get(name, {})} for name in self.members
        }
        plain = declare(
            channels, [*result, *({k: v for k, v in g.items() if k in special or k == "name"} for g in groups.values())]
        )
        for name, entry in groups.items():
            members = self.members[name]
            if members and all(p in self.values for p in members):
                self._set_bins(entry, members, plain.sets[name].fixed)
            if len(entry) > 1:
                result.append(entry)
        return result

    def _set_bins(self, entry: dict[str, Any], members: Sequence[str], held: Sequence[bool]) -> None:
        """Start, range and what is constant of the parameters of bins; `held` are those that no uncertainty moves.

        HistFactory JSON fixes all parameters of a group or none: single ones get a range without width.
        """
        if len(held) != len(members):
            raise InputError(
                f"the HS3 document names {len(members)} parameters of '{entry['name']}' for {len(held)} bins"
            )
        entry["inits"] = [float(self.values[p]["value"]) for p in members]
        constant = [bool(self.values[p].get("const")) for p in members]
        extra = [c and not h for c, h in zip(constant, held, strict=True)]
        if all(p in self.ranges for p in members):
            entry["bounds"] = [floats(self.ranges[p]) for p in members]
        if all(c or h for c, h in zip(constant, held, strict=True)) and any(extra):
            entry["fixed"] = True
        elif any(extra):
            bounds = entry.get("bounds") or [[min(1e-10, v), max(10.0, v)] for v in entry["inits"]]
            entry["bounds"] = [[v, v] if e else b for v, e, b in zip(entry["inits"], extra, bounds, strict=True)]


_READING_ORDER = sorted(EFFECTS.values(), key=lambda effect: effect.hs3_priority)


def known(node: Any, keys: Collection[str], where: str) -> None:
    """Raise InputError for a key that could change the likelihood and is not known."""
    for key in node:
        if key not in keys and key not in COMMENTS:
            raise InputError(f"unknown key '{key}' in {where}; what it means for the likelihood is not known here")
