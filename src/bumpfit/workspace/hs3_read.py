"""Read HS3 JSON: HistFactory models as RooFit (6.40) and `hs3_write` write them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bumpfit.errors import InputError
from bumpfit.workspace.compile import DEFAULT_INTERPOLATION
from bumpfit.workspace.hs3_write import HISTOSYS_CODES, NORMSYS_CODES


def is_hs3(document: Any) -> bool:
    """True for a JSON object that looks like HS3 (and not like HistFactory JSON)."""
    return isinstance(document, Mapping) and "distributions" in document and "channels" not in document


def from_hs3(document: Mapping[str, Any], analysis: str | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    """The HistFactory specification of an HS3 document, and its interpolation codes.

    `analysis`: by default the first whose data are not Asimov data. Raises InputError for anything that is not a
    HistFactory model: other distributions, other constraints than a unit Gaussian (except for one luminosity), mixed
    interpolation codes, missing parts.
    """
    try:
        return _Reader(document).read(analysis)
    except KeyError as error:
        raise InputError(f"not a complete HS3 model: {error} is missing") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise InputError(f"not a valid HS3 model: {error}") from error


class _Reader:
    def __init__(self, document: Mapping[str, Any]) -> None:
        self.distributions = {d["name"]: d for d in self._list(document, "distributions")}
        self.data = {d["name"]: d for d in self._list(document, "data")}
        self.likelihoods = {d["name"]: d for d in self._list(document, "likelihoods")}
        self.analyses = self._list(document, "analyses")
        self.domains = {d["name"]: d for d in document.get("domains") or []}
        self.values: dict[str, Mapping[str, Any]] = {}
        for points in reversed(document.get("parameter_points") or []):
            for entry in points.get("parameters") or []:
                self.values[entry["name"]] = entry
        self.codes: dict[str, str] = {}
        self.settings: dict[str, dict[str, Any]] = {}

    @staticmethod
    def _list(document: Mapping[str, Any], key: str) -> list[Any]:
        found = document.get(key)
        if not isinstance(found, list) or not all(isinstance(d, Mapping) and "name" in d for d in found):
            raise InputError(f"not an HS3 model: '{key}' must be a list of named objects")
        return found

    def read(self, analysis: str | None) -> tuple[dict[str, Any], dict[str, str]]:
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
            label = name.removeprefix("model_")
            samples = [self._sample(s, label) for s in distribution["samples"]]
            channels.append({"name": label, "samples": samples})
            observed = self.data.get(data_name, {})
            if observed.get("type") != "binned":
                raise InputError(f"the HS3 data '{data_name}' of '{name}' must be binned")
            observations.append({"name": label, "data": list(map(float, observed["contents"]))})
        self._ranges(chosen)
        spec = {
            "channels": channels,
            "observations": observations,
            "measurements": [
                {
                    "name": chosen["name"],
                    "config": {"poi": interests[0], "parameters": self._parameters(channels)},
                }
            ],
            "version": "1.0.0",
        }
        return spec, {**DEFAULT_INTERPOLATION, **self.codes}

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

    def _sample(self, sample: Mapping[str, Any], channel: str) -> dict[str, Any]:
        contents = list(map(float, sample["data"]["contents"]))
        modifiers = [m for raw in sample.get("modifiers") or [] for m in self._modifier(raw, sample, contents, channel)]
        return {"name": sample["name"], "data": contents, "modifiers": modifiers}

    def _modifier(
        self, raw: Mapping[str, Any], sample: Mapping[str, Any], contents: Sequence[float], channel: str
    ) -> list[dict[str, Any]]:
        kind = raw["type"]
        if kind in ("normfactor", "normsys", "histosys"):
            name = raw.get("parameter", raw["name"])
            self._constraint(raw, name, kind)
            if kind == "normfactor":
                lumi = raw.get("constraint_name") is not None
                return [{"name": "lumi" if lumi else name, "type": "lumi" if lumi else kind, "data": None}]
            data = raw["data"]
            self._code(kind, raw)
            if kind == "normsys":
                return [{"name": name, "type": kind, "data": {"lo": data["lo"], "hi": data["hi"]}}]
            shapes = {"lo_data": data["lo"]["contents"], "hi_data": data["hi"]["contents"]}
            return [{"name": name, "type": kind, "data": shapes}]
        if kind in ("staterror", "shapesys", "shapefactor"):
            name = self._group(raw, channel)
            constraint = raw.get("constraint_type", raw.get("constraint", "Poisson" if kind == "shapesys" else "Gauss"))
            if kind == "shapefactor" or (constraint == "Gauss" and kind == "shapesys" and not any(raw["data"]["vals"])):
                # RooFit writes a free factor a bin as a shapesys without uncertainties
                return [{"name": name, "type": "shapefactor", "data": None}]
            if (kind, constraint) not in (("staterror", "Gauss"), ("shapesys", "Poisson")):
                raise InputError(
                    f"cannot read the {kind} '{raw['name']}' with a {constraint} constraint as HistFactory JSON"
                )
            if kind == "staterror":
                errors = sample["data"].get("errors", [0.0] * len(contents))
                return [{"name": name, "type": kind, "data": list(map(float, errors))}]
            absolute = [v * n for v, n in zip(raw["data"]["vals"], contents, strict=True)]
            return [{"name": name, "type": kind, "data": absolute}]
        raise InputError(f"unknown HS3 modifier type {kind!r} in sample '{sample['name']}' of '{channel}'")

    def _group(self, raw: Mapping[str, Any], channel: str) -> str:
        """The name that the parameters of the bins share, and their settings."""
        parameters = raw.get("parameters") or []
        stems = {re.sub(r"_bin_?\d+$", "", p) for p in parameters}
        name = stems.pop() if len(stems) == 1 else f"{raw['name']}_{channel}"
        if parameters and all(p in self.values for p in parameters):
            entry = self.settings.setdefault(name, {"name": name, "members": []})
            entry["members"] += [p for p in parameters if p not in entry["members"]]
        return name

    def _code(self, kind: str, raw: Mapping[str, Any]) -> None:
        table = NORMSYS_CODES if kind == "normsys" else HISTOSYS_CODES
        code = raw["data"].get("interpolation")
        if code is None:
            number = raw.get("interpolation", table[DEFAULT_INTERPOLATION[kind]])
            inverse: dict[int, str] = {value: key for key, value in table.items()}
            if kind == "normsys":
                inverse[4] = "code4"  # RooFit's older number for it
            code = inverse.get(int(number))
        if code not in table:
            raise InputError(
                f"cannot read the interpolation code of {kind} '{raw['name']}'; known are {', '.join(table)}"
            )
        if self.codes.setdefault(kind, code) != code:
            raise InputError(f"the {kind} modifiers mix the interpolation codes {self.codes[kind]} and {code}")

    def _number(self, value: Any) -> float:
        if isinstance(value, str):
            if value not in self.values:
                raise InputError(f"the HS3 parameter '{value}' has no value")
            return float(self.values[value]["value"])
        return float(value)

    def _constraint(self, raw: Mapping[str, Any], name: str, kind: str) -> None:
        found = self.distributions.get(raw.get("constraint_name", ""))
        if found is None:
            if "constraint_name" in raw:
                raise InputError(
                    f"the constraint '{raw['constraint_name']}' of modifier '{raw['name']}' does not exist"
                )
            return
        if found.get("type") != "gaussian_dist":
            raise InputError(f"cannot read the constraint '{found['name']}' of type {found.get('type')!r}")
        other = found["mean"] if found["x"] == name else found["x"]
        aux, sigma = self._number(other), self._number(found["sigma"])
        target = "lumi" if kind == "normfactor" else name
        entry = self.settings.setdefault(target, {"name": target})
        entry["auxdata"] = [aux]
        entry["source"] = name
        if kind == "normfactor":
            if entry.setdefault("lumi", name) != name:
                raise InputError(
                    f"HistFactory JSON holds one luminosity, the document has '{entry['lumi']}' and '{name}'"
                )
            entry["sigmas"] = [sigma]
        elif sigma != 1:
            raise InputError(f"the constraint of '{name}' has width {sigma}; HistFactory JSON holds unit widths only")

    def _ranges(self, chosen: Mapping[str, Any]) -> None:
        names = ["default_domain", *chosen.get("domains", [])]
        self.ranges = {
            axis["name"]: (axis["min"], axis["max"])
            for name in names
            for axis in self.domains.get(name, {}).get("axes") or []
            if "min" in axis and "max" in axis
        }

    def _parameters(self, channels: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Measurement settings of all parameters, from values and ranges."""
        result: list[dict[str, Any]] = []
        scalars = {
            m["name"]: m["type"]
            for c in channels
            for s in c["samples"]
            for m in s["modifiers"]
            if m["type"] in ("normfactor", "lumi", "normsys", "histosys")
        }
        for name in scalars:
            given = self.settings.get(name, {})
            source = given.get("source", name)
            entry: dict[str, Any] = {"name": name, **{k: given[k] for k in ("auxdata", "sigmas") if k in given}}
            if source in self.values:
                entry["inits"] = [float(self.values[source]["value"])]
                if self.values[source].get("const"):
                    entry["fixed"] = True
            if source in self.ranges:
                entry["bounds"] = [list(map(float, self.ranges[source]))]
            result.append(entry)
        for name, given in self.settings.items():
            members = given.get("members")
            if not members:
                continue
            entry = {"name": name, "inits": [float(self.values[p]["value"]) for p in members]}
            if all(p in self.ranges for p in members):
                entry["bounds"] = [list(map(float, self.ranges[p])) for p in members]
            result.append(entry)
        return result
