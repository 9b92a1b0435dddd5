"""HS3 JSON (HEP Statistics Serialization Standard 0.2): HistFactory models to and from it.

The dialect is RooFit's (6.40), which pyhs3 loads too: one `histfactory_dist` a channel; constraints of single
parameters as explicit `gaussian_dist` with constant global observables nom_NAME, so that their values survive; a
parameter a bin is called NAME_bin_I; the luminosity is a constrained `normfactor`; `vals` of a `shapesys` are
relative uncertainties. HistFactory JSON knows no bin edges, so the axes written count bins.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from bumpfit.errors import InputError
from bumpfit.workspace.model import Model
from bumpfit.workspace.parameters import Parameter

NORMSYS_CODES = {"code1": 1, "code4": 5}  # RooFit: FlexibleInterpVar, 5 = polynomial within, exponential outside
HISTOSYS_CODES = {"code0": 0, "code4p": 4}  # RooFit: PiecewiseInterpolation, 4 = polynomial within, linear outside


TINY_ERROR = 1e-9
"""Stands for a relative statistical error of zero; it enters in quadrature."""


def hs3_name(name: str) -> str:
    """A name that RooFit accepts: letters, digits and underscores; x[3] becomes x_bin_3."""
    text = re.sub(r"[^A-Za-z0-9_]", "_", re.sub(r"\[(\d+)\]$", r"_bin_\1", name))
    return text if not text[:1].isdigit() else f"_{text}"


def _names(words: Sequence[str]) -> dict[str, str]:
    """HS3 names of distinct names; raises InputError when two become the same."""
    result: dict[str, str] = {}
    taken: dict[str, str] = {}
    for word in words:
        text = hs3_name(word)
        if taken.setdefault(text, word) != word:
            raise InputError(
                f"the names '{taken[text]}' and '{word}' are the same in HS3 ('{text}'); rename one of them"
            )
        result[word] = text
    return result


def to_hs3(model: Model) -> dict[str, Any]:
    """The model with its data as an HS3 document.

    Raises InputError where HS3's HistFactory cannot hold it: no data or parameter of interest, two `staterror` in one
    channel, staterror or shapesys with constraints that the measurement changed.
    """
    if model.observed is None or model.poi is None:
        raise InputError("HS3 needs observed data and a parameter of interest")
    parameter_names = _names(model.names)
    channel_names = _names([c.name for c in model.channels])
    by_name = {p.name: p for p in model.parameters}
    single = [p for p in model.parameters if p.constraint == "normal" and not p.name.endswith("]")]
    specs = {c["name"]: c for c in model.spec["channels"]}
    stat_offset: dict[str, int] = {}
    distributions: list[dict[str, Any]] = []
    data: list[dict[str, Any]] = []
    for channel in model.channels:
        size = channel.last - channel.first
        axes = [{"name": f"obs_{channel_names[channel.name]}", "min": 0.0, "max": float(size), "nbins": size}]
        stat = {m["name"] for s in specs[channel.name]["samples"] for m in s["modifiers"] if m["type"] == "staterror"}
        if len(stat) > 1:
            raise InputError(
                f"channel '{channel.name}' has the staterrors {', '.join(sorted(stat))}, HS3 holds one a channel"
            )
        errors = [m["data"] for s in specs[channel.name]["samples"] for m in s["modifiers"] if m["type"] == "staterror"]
        uncertain = [any(e[b] > 0 for e in errors) for b in range(size)]
        writer = _SampleWriter(model, by_name, parameter_names, stat_offset, uncertain)
        samples = [writer.sample(s) for s in sorted(specs[channel.name]["samples"], key=lambda s: str(s["name"]))]
        for name in stat:
            stat_offset[name] = stat_offset.get(name, 0) + size
        distribution: dict[str, Any] = {
            "name": f"model_{channel_names[channel.name]}",
            "type": "histfactory_dist",
            "axes": axes,
        }
        if stat:
            distribution["staterror"] = {"constraint_type": "Gauss", "constraint": "Gauss", "relThreshold": 0.0}
        distributions.append({**distribution, "samples": samples})
        contents = [float(v) for v in model.observed[channel.first : channel.last]]
        data.append(
            {"name": f"data_{channel_names[channel.name]}", "type": "binned", "axes": axes, "contents": contents}
        )
    _check_bin_constraints(model)
    channels = list(channel_names.values())
    distributions += [
        {
            "name": f"{parameter_names[p.name]}_constraint",
            "type": "gaussian_dist",
            "x": parameter_names[p.name],
            "mean": f"nom_{parameter_names[p.name]}",
            "sigma": p.width,
        }
        for p in single
    ]
    points = [
        {"name": parameter_names[p.name], "value": p.init, **({"const": True} if p.fixed else {})}
        for p in model.parameters
    ]
    points += [{"name": f"nom_{parameter_names[p.name]}", "value": p.auxdata, "const": True} for p in single]
    ranges = [{"name": parameter_names[p.name], "min": p.low, "max": p.high} for p in model.parameters]
    poi = parameter_names[model.poi]
    return {
        "metadata": {"hs3_version": "0.2", "packages": [{"name": "bumpfit", "version": version("bumpfit")}]},
        "distributions": distributions,
        "data": data,
        "likelihoods": [
            {
                "name": "likelihood",
                "distributions": [f"model_{c}" for c in channels],
                "data": [f"data_{c}" for c in channels],
            }
        ],
        "domains": [
            {"name": "default_domain", "type": "product_domain", "axes": ranges},
            {
                "name": "likelihood_nuisance_parameters",
                "type": "product_domain",
                "axes": [r for r in ranges if r["name"] != poi],
            },
            {
                "name": "likelihood_global_observables",
                "type": "product_domain",
                "axes": [
                    {
                        "name": f"nom_{parameter_names[p.name]}",
                        "min": float(np.floor(_aux(p) - 10)),
                        "max": _aux(p) + 10,
                    }
                    for p in single
                ],
            },
            {
                "name": "likelihood_parameters_of_interest",
                "type": "product_domain",
                "axes": [r for r in ranges if r["name"] == poi],
            },
        ],
        "parameter_points": [{"name": "default_values", "parameters": points}],
        "analyses": [
            {
                "name": "likelihood",
                "likelihood": "likelihood",
                "parameters_of_interest": [poi],
                "domains": [
                    "likelihood_nuisance_parameters",
                    "likelihood_global_observables",
                    "likelihood_parameters_of_interest",
                ],
            }
        ],
        "misc": {
            "ROOT_internal": {
                "ModelConfigs": {"likelihood": {"mcName": "ModelConfig", "pdfName": "simPdf"}},
                "combined_datasets": {
                    "data": {"index_cat": "channelCat", "indices": list(range(len(channels))), "labels": channels}
                },
                "combined_distributions": {
                    "simPdf": {
                        "index_cat": "channelCat",
                        "indices": list(range(len(channels))),
                        "labels": channels,
                        "distributions": [f"model_{c}" for c in channels],
                    }
                },
            }
        },
    }


def _aux(parameter: Parameter) -> float:
    assert parameter.auxdata is not None
    return parameter.auxdata


class _SampleWriter:
    """Writes the samples of one channel."""

    def __init__(
        self,
        model: Model,
        parameters: Mapping[str, Parameter],
        names: Mapping[str, str],
        offsets: Mapping[str, int],
        uncertain: Sequence[bool],
    ) -> None:
        """`offsets`: bins of each staterror in earlier channels; `uncertain`: bins with a statistical error."""
        self.model, self.parameters, self.names, self.offsets = model, parameters, names, offsets
        self.uncertain = uncertain

    def sample(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        contents = [float(v) for v in sample["data"]]
        written: dict[str, Any] = {"contents": contents}
        modifiers = []
        for modifier in {(m["type"], m["name"]): m for m in sample["modifiers"]}.values():
            if modifier["type"] == "staterror":
                # RooFit takes an error of exactly zero for a Poisson error of the content
                written["errors"] = [
                    float(error) or content * TINY_ERROR * uncertain
                    for error, content, uncertain in zip(modifier["data"], contents, self.uncertain, strict=True)
                ]
            modifiers.append(self.modifier(modifier, contents))
        return {"name": hs3_name(sample["name"]), "data": written, "modifiers": modifiers}

    def modifier(self, modifier: Mapping[str, Any], contents: Sequence[float]) -> dict[str, Any]:
        kind, name, data = modifier["type"], modifier["name"], modifier["data"]
        result: dict[str, Any] = {"name": hs3_name(name), "type": kind}
        if kind in ("normfactor", "lumi", "normsys", "histosys"):
            result["parameter"] = self.names[name]
            if self.parameters[name].constraint == "normal":
                result["constraint_name"] = f"{self.names[name]}_constraint"
        if kind == "lumi":
            result["type"] = "normfactor"
        elif kind == "normsys":
            code = self.model.interpolation["normsys"]
            result["data"] = {"lo": data["lo"], "hi": data["hi"], "interpolation": code}
            result["interpolation"] = NORMSYS_CODES[code]
        elif kind == "histosys":
            code = self.model.interpolation["histosys"]
            result["data"] = {
                "lo": {"contents": list(map(float, data["lo_data"]))},
                "hi": {"contents": list(map(float, data["hi_data"]))},
                "interpolation": code,
            }
            result["interpolation"] = HISTOSYS_CODES[code]
        elif kind in ("staterror", "shapesys", "shapefactor"):
            first = self.offsets.get(name, 0) if kind == "staterror" else 0
            result["parameters"] = [self.names[f"{name}[{first + b}]"] for b in range(len(contents))]
            if kind == "staterror":
                result["constraint"] = result["constraint_type"] = "Gauss"
            elif kind == "shapesys":
                relative = [u / n if n > 0 else 0.0 for u, n in zip(data, contents, strict=True)]
                result["data"] = {"vals": relative}
                result["constraint"] = result["constraint_type"] = "Poisson"
        return result


def _check_bin_constraints(model: Model) -> None:
    """staterror and shapesys are written by their uncertainties, so their constraints must follow from these alone."""
    from bumpfit.workspace.parameters import parameter_sets

    channels = sorted(model.spec["channels"], key=lambda c: str(c["name"]))
    lumi = [{"name": "lumi", "auxdata": [1.0], "sigmas": [1.0], "inits": [1.0], "bounds": [[0.0, 2.0]]}]
    plain = [p for group in parameter_sets(channels, lumi).values() for p in group.parameters()]
    for given, default in zip(model.parameters, plain, strict=True):
        if given.name.endswith("]") and (given.width, given.auxdata) != (default.width, default.auxdata):
            raise InputError(
                f"the measurement changes the constraint of '{given.name}', which HS3 derives from the uncertainties"
            )
