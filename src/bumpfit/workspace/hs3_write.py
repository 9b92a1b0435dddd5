"""HS3 JSON (HEP Statistics Serialization Standard 0.2): HistFactory models to and from it.

The dialect is RooFit's (6.40), which pyhs3 loads too: one `histfactory_dist` a channel; constraints of single
parameters as explicit `gaussian_dist` (correlated ones as `multivariate_normal_dist`) with constant global observables
nom_NAME, so that their values survive; formulas as `generic_function`; a parameter a bin is called NAME_bin_I; the
luminosity is a constrained free factor; uncertainties of bins are relative. HistFactory JSON knows no bin edges, so the
axes written count bins. Names that RooFit cannot hold are changed, told, and kept under `misc`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from bumpfit.errors import InputError, InputWarning
from bumpfit.workspace.effect import Effect, Use
from bumpfit.workspace.effects import EFFECTS, correlations_of, declare, uses_of
from bumpfit.workspace.effects_bins import STATERROR
from bumpfit.workspace.formula import names_in, parse, written
from bumpfit.workspace.model import Model
from bumpfit.workspace.parameters import Parameter, ParameterSet

RESERVED_WORDS = {"exp", "log", "log10", "sqrt", "abs", "sin", "cos", "tanh", "pow", "min", "max", "x", "pi", "e"}
"""Names that RooFit's formulas would take for something else."""


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


class Writer:
    """What the types of effects ask for when they are written."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.declared = declare(sorted(model.spec["channels"], key=lambda c: str(c["name"])), _settings(model))
        self.names = _names([*model.names, *self.declared.formulas])
        self.parameters = {p.name: p for p in model.parameters}
        self.correlated = {
            name: "_and_".join(self.names[n] for n in entry["parameters"][:2]) + f"_correlated_{k}"
            for k, entry in enumerate(correlations_of(model.spec))
            for name in entry["parameters"]
        }
        self.functions: dict[str, str] = {}
        self.changed: dict[str, str] = {}
        self.blocks: dict[str, Any] = {}
        self.single = [
            p
            for name, group in self.declared.sets.items()
            if group.scalar and (p := self.parameters[name]).constraint == "normal"
        ]
        for name in (*self.declared.sets, *self.declared.formulas):
            self.word(name)

    def word(self, name: str) -> str:
        """The HS3 name of a channel, sample, modifier or parameter."""
        text = hs3_name(name)
        if text != name and self.changed.setdefault(text, name) != name:
            raise InputError(
                f"the names '{self.changed[text]}' and '{name}' are the same in HS3 ('{text}'); rename one"
            )
        return text

    def constraint_name(self, name: str) -> str:
        """The name of the constraint of a parameter."""
        return f"{self.correlated.get(name, self.names[name])}_constraint"

    def one(self, name: str) -> dict[str, Any]:
        """Parameter and constraint of a modifier of one parameter."""
        result = {"parameter": self.names[name]}
        if self.parameters[name].constraint == "normal":
            result["constraint_name"] = self.constraint_name(name)
        return result

    def _members(self, use: Use) -> list[Parameter]:
        name = use.modifier["name"]
        first = self.declared.sets[name].first(use.channel)
        return [self.parameters[f"{name}[{first + b}]"] for b in range(use.yields.size)]

    def bins(self, use: Use) -> list[str]:
        """Names of the parameters of the bins."""
        return [self.names[p.name] for p in self._members(use)]

    def constraint(self, use: Use) -> str:
        """The constraint of parameters of bins, "gaussian" or "poisson"."""
        return "poisson" if self._members(use)[0].constraint == "poisson" else "gaussian"

    def widths(self, use: Use) -> list[float]:
        """Relative uncertainties that give the constraints of the parameters of bins; 0 where there is none.

        Raises InputError where the measurement chose other auxiliary values than these constraints have.
        """
        result = []
        for p, natural in zip(self._members(use), self._natural(use), strict=True):
            assert p.width is not None
            aux = p.width if p.constraint == "poisson" else 1.0
            if natural and p.auxdata != aux:
                raise InputError(
                    f"the measurement sets the auxiliary value of '{p.name}' to {p.auxdata}, which HS3 derives from "
                    "the "
                    "uncertainty of the bin"
                )
            width = p.width if p.constraint == "normal" else p.width**-0.5
            result.append(width if natural else 0.0)
        return result

    def _natural(self, use: Use) -> list[bool]:
        """Which bins have an uncertainty of their own."""
        group = self.plain[use.modifier["name"]]
        return [not group.fixed[group.first(use.channel) + b] for b in range(use.yields.size)]

    @cached_property
    def plain(self) -> dict[str, ParameterSet]:
        """The parameters of bins without the measurement's usual settings, which change none of their uncertainties."""
        special = {key for effect in EFFECTS.values() for key in effect.settings} | {"name"}
        bins = {name for name, group in self.declared.sets.items() if not group.scalar}
        settings = [
            {k: v for k, v in entry.items() if k in special} if entry["name"] in bins else entry
            for entry in _settings(self.model)
        ]
        return declare(self.model.spec["channels"], settings).sets

    def code(self, effect: Effect) -> tuple[int, str]:
        """Number and name of the interpolation code of a type."""
        name = self.model.interpolation[effect.kind]
        return next(number for number, known in effect.hs3_codes.items() if known == name), name

    def function(self, name: str, text: str) -> str:
        """The name of the function that a formula becomes."""
        expression = parse(text)
        for used in names_in(expression):
            if self.names[used] in RESERVED_WORDS:
                raise InputError(f"RooFit's formulas cannot have a parameter called '{used}'; rename it")
        self.functions[self.names[name]] = written(expression, lambda n: self.names[n])
        return self.names[name]

    def constraint_within(self, names: Sequence[str]) -> dict[str, str]:
        """The constraint of a parameter that only formulas name, which goes with one of them."""
        modified = {use.modifier["name"] for use in uses_of(self.model.spec["channels"])}
        single = {p.name for p in self.single}
        wanted = [n for n in names if n not in modified and n in single]
        if len(wanted) > 1:
            raise InputError(
                f"HS3 holds the constraint of one parameter beside a formula, this one has {', '.join(wanted)}; scale "
                "a "
                "sample by the others themselves, or write a formula for each"
            )
        return {"constraint_name": self.constraint_name(wanted[0])} if wanted else {}

    def channel_block(self, kind: str, block: Mapping[str, Any]) -> None:
        """What a type puts beside the samples of the channel that is written."""
        if self.blocks.setdefault(kind, block) != block:
            raise InputError(f"HS3 holds one {kind} constraint a channel")


def _settings(model: Model) -> list[dict[str, Any]]:
    spec = model.spec
    return list(
        spec["measurements"][0]["config"]["parameters"] if "measurements" in spec else spec.get("parameters", [])
    )


def to_hs3(model: Model) -> dict[str, Any]:
    """The model with its data as an HS3 document.

    Raises InputError where HS3's HistFactory cannot hold it: no data or parameter of interest, two groups of
    statistical errors in one channel, auxiliary values of bins that the measurement changed. Warns (InputWarning) of
    names that had to be changed.
    """
    if model.observed is None or model.poi is None:
        raise InputError("HS3 needs observed data and a parameter of interest")
    writer = Writer(model)
    channel_names = _names([c.name for c in model.channels])
    distributions, data = [], []
    for channel in model.channels:
        size = channel.last - channel.first
        name = channel_names[channel.name]
        writer.word(channel.name)
        axes = [{"name": f"obs_{name}", "min": 0.0, "max": float(size), "nbins": size}]
        samples = _samples(writer, channel.name)
        distributions.append(
            {"name": f"model_{name}", "type": "histfactory_dist", "axes": axes, **writer.blocks, "samples": samples}
        )
        contents = [float(v) for v in model.observed[channel.first : channel.last]]
        data.append({"name": f"data_{name}", "type": "binned", "axes": axes, "contents": contents})
    distributions += _constraints(writer)
    document = _document(writer, list(channel_names.values()), distributions, data)
    if writer.changed:
        pairs = ", ".join(f"'{old}' is '{new}'" for new, old in list(writer.changed.items())[:8])
        more = "" if len(writer.changed) <= 8 else f", ... ({len(writer.changed)} in all)"
        warnings.warn(
            f"names were changed, because RooFit takes letters, digits and underscores only: {pairs}{more}; the "
            "document "
            "keeps the old ones under misc, where bumpfit finds them",
            InputWarning,
            stacklevel=3,
        )
    return document


def _samples(writer: Writer, channel: str) -> list[dict[str, Any]]:
    """The samples of a channel; leaves the channel's blocks with the writer."""
    writer.blocks = {}
    uses: dict[str, list[Use]] = {}
    for use in uses_of([next(c for c in writer.model.spec["channels"] if c["name"] == channel)]):
        uses.setdefault(use.sample, []).append(use)
    stat = [use for found in uses.values() for use in found if use.modifier["type"] == STATERROR.kind]
    names = sorted({use.modifier["name"] for use in stat})
    if len(names) > 1:
        raise InputError(f"channel '{channel}' has the {STATERROR.kind}s {', '.join(names)}, HS3 holds one a channel")
    errors = dict(zip((use.sample for use in stat), STATERROR.hs3_errors(stat, writer) if stat else [], strict=True))
    result = []
    (spec,) = [c for c in writer.model.spec["channels"] if c["name"] == channel]
    for sample in sorted(spec["samples"], key=lambda s: str(s["name"])):
        content: dict[str, Any] = {"contents": [float(v) for v in sample["data"]]}
        if sample["name"] in errors:
            content["errors"] = errors[sample["name"]]
        modifiers = [EFFECTS[use.modifier["type"]].to_hs3(use, writer) for use in uses.get(sample["name"], [])]
        result.append({"name": writer.word(sample["name"]), "data": content, "modifiers": modifiers})
    return result


def _constraints(writer: Writer) -> list[dict[str, Any]]:
    """Gaussian constraints of single parameters, correlated ones together."""
    result: list[dict[str, Any]] = [
        {
            "name": writer.constraint_name(p.name), "type": "gaussian_dist", "x": writer.names[p.name],
            "mean": f"nom_{writer.names[p.name]}", "sigma": p.width,
        }
        for p in writer.single
        if p.name not in writer.correlated
    ]  # fmt: skip
    for entry in correlations_of(writer.model.spec):
        names = entry["parameters"]
        if any(name not in writer.declared.sets for name in names):
            raise InputError("HS3 cannot hold correlations of parameters of single bins")
        sigmas = np.array([writer.parameters[name].width for name in names])
        covariance = np.asarray(entry["matrix"]) * sigmas[:, None] * sigmas
        result.append({
            "name": writer.constraint_name(names[0]), "type": "multivariate_normal_dist",
            "x": [writer.names[name] for name in names], "mean": [f"nom_{writer.names[name]}" for name in names],
            "covariances": covariance.tolist(),
        })  # fmt: skip
    return result


def _document(
    writer: Writer, channels: list[str], distributions: list[dict[str, Any]], data: list[dict[str, Any]]
) -> dict[str, Any]:
    model, names = writer.model, writer.names
    single = writer.single
    points: list[dict[str, Any]] = [
        {"name": names[p.name], "value": p.init, **({"const": True} if p.fixed else {})} for p in model.parameters
    ]
    points += [{"name": f"nom_{names[p.name]}", "value": p.auxdata, "const": True} for p in single]
    ranges = [{"name": names[p.name], "min": p.low, "max": p.high} for p in model.parameters]
    assert model.poi is not None
    poi = names[model.poi]
    nominal = [
        {"name": f"nom_{names[p.name]}", "min": float(np.floor(_aux(p) - 10)), "max": _aux(p) + 10} for p in single
    ]
    axes = {
        "nuisance_parameters": [r for r in ranges if r["name"] != poi],
        "global_observables": nominal,
        "parameters_of_interest": [r for r in ranges if r["name"] == poi],
    }
    functions = [
        {"name": name, "type": "generic_function", "expression": text} for name, text in writer.functions.items()
    ]
    return {
        "metadata": {"hs3_version": "0.2", "packages": [{"name": "bumpfit", "version": version("bumpfit")}]},
        "distributions": distributions,
        **({"functions": functions} if functions else {}),
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
            *({"name": f"likelihood_{key}", "type": "product_domain", "axes": found} for key, found in axes.items()),
        ],
        "parameter_points": [{"name": "default_values", "parameters": points}],
        "analyses": [
            {
                "name": "likelihood",
                "likelihood": "likelihood",
                "parameters_of_interest": [poi],
                "domains": [f"likelihood_{key}" for key in axes],
            }
        ],
        "misc": _bookkeeping(channels) | ({"bumpfit": {"names": writer.changed}} if writer.changed else {}),
    }


def _bookkeeping(channels: list[str]) -> dict[str, Any]:
    """What RooFit wants to know besides, to make its own objects."""
    combined = {"index_cat": "channelCat", "indices": list(range(len(channels))), "labels": channels}
    return {
        "ROOT_internal": {
            "ModelConfigs": {"likelihood": {"mcName": "ModelConfig", "pdfName": "simPdf"}},
            "combined_datasets": {"data": combined},
            "combined_distributions": {"simPdf": {**combined, "distributions": [f"model_{c}" for c in channels]}},
        }
    }


def _aux(parameter: Parameter) -> float:
    assert parameter.auxdata is not None
    return parameter.auxdata
