"""From a TRExFitter configuration to the HistFactory workspace that TRExFitter builds of it.

Statistical errors are one factor a bin and region with a Poisson constraint, or a Gaussian one. The luminosity scales
templates and is no parameter. Samples with `Morphing` are weighted by piecewise linear functions of a parameter.
Regions of type VALIDATION and samples of type GHOST stay outside; systematics are in `trexfitter_systematics`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bumpfit.errors import InputError, InputWarning
from bumpfit.workspace.dependents import dependents
from bumpfit.workspace.effects_bins import SHAPEFACTOR, STATERROR
from bumpfit.workspace.effects_scale import NORMFACTOR, NORMFORMULA
from bumpfit.workspace.formula import names_in, parse
from bumpfit.workspace.trexfitter import Block, applies, chosen, fit_is_blind, read_blocks
from bumpfit.workspace.trexfitter_samples import RegionSamples, Yields
from bumpfit.workspace.trexfitter_systematics import Systematics
from bumpfit.workspace.trexfitter_templates import TRExTemplates

Spec = dict[str, Any]


def from_trexfitter(path: str | Path) -> Spec:
    """The HistFactory workspace of a configuration.

    Relative paths in it start at its folder, the folder above or the working folder. Raises InputError with the line of
    the first fault; MissingExtraError without uproot.
    """
    blocks = read_blocks(path)
    job = next(block for block in blocks if block.kind == "Job")
    with TRExTemplates(Path(path), job) as templates:
        return _Builder(blocks, job, templates).workspace()


class _Builder:
    """Puts the workspace together."""

    def __init__(self, blocks: Sequence[Block], job: Block, templates: TRExTemplates) -> None:
        self.job, self.templates = job, templates
        kinds = ("SIGNAL", "CONTROL", "VALIDATION")
        of = {kind: [b for b in blocks if b.kind == kind] for kind in ("Region", "Sample", "NormFactor", "ShapeFactor")}
        self.regions = [b for b in of["Region"] if b.word("Type", "SIGNAL", kinds) != "VALIDATION"]
        types: dict[str, str] = {}
        for block in of["Sample"]:
            kind = block.word("Type", "BACKGROUND", ("SIGNAL", "BACKGROUND", "DATA", "GHOST"))
            if types.setdefault(block.name, kind) != kind:
                raise block.wrong(f"'{block.name}' is there twice, with different types")
        self.types, self.blocks = types, of["Sample"]
        self.samples = [b for b in of["Sample"] if types[b.name] in ("SIGNAL", "BACKGROUND")]
        self.factors, self.shapes = of["NormFactor"], of["ShapeFactor"]
        self.constraints = {b.name: _constraint(b) for b in self.factors if b.number("Tau", 0.0) != 0.0}
        self.varied = [b for b in blocks if b.kind == "Systematic"]
        self.systematics = Systematics(job)
        self.settings: dict[str, Spec] = {}
        self.regularised: dict[str, str] = {}
        self.fit = next((b for b in blocks if b.kind == "Fit" and fit_is_blind([b])), None)
        for what, there in (("region to fit", self.regions), ("sample to fit", self.samples)):
            if not there:
                raise job.wrong(f"'{job.name}': there is no {what}")
        self._known({b.name for b in of["Region"]}, set(types))

    def _known(self, regions: set[str], samples: set[str]) -> None:
        """Raise InputError for lists that name nothing."""
        there = {"Regions": regions, "Samples": samples, "Exclude": regions | samples}
        for block in (*self.samples, *self.factors, *self.shapes, *self.varied):
            for key, names in there.items():
                for pattern in block.names(key):
                    if not any(chosen(name, [pattern]) for name in names) and pattern != "none":
                        raise block.wrong(
                            f"'{block.name}': {key} names '{pattern}'; there are {', '.join(sorted(names))}", key
                        )

    def workspace(self) -> Spec:
        channels, observations = [], []
        for region in self.regions:
            samples = RegionSamples(region, self.blocks, self.types, self.varied, self.templates)
            data = [name for name in samples.blocks if self.types[name] == "DATA"]
            if self.fit is None and len(data) != 1:
                raise self.job.wrong(
                    f"'{self.job.name}': there are {len(data)} samples of type DATA in region '{region.name}'; "
                    "expected one"
                )
            yields = samples.worked_out()
            channels.append(self._channel(region, yields))
            if self.fit is None:
                observations.append({"name": region.name, "data": yields[data[0]].nominal.values.tolist()})
        if self.fit is not None:
            observations = self._expected(self.fit, channels)
        parameters = [{"name": name, **setting} for name, setting in self.settings.items()]
        config: Spec = {"parameters": parameters, "poi": self.job.text("POI")}
        if self.systematics.groups:
            config["groups"] = self.systematics.groups
        return {
            "channels": channels,
            "measurements": [{"name": self.job.name, "config": config}],
            "observations": observations,
            "version": "1.0.0",
        }

    def _expected(self, fit: Block, channels: Sequence[Spec]) -> list[Spec]:
        """The data of a blind fit: all parameters at their nominal values, the POI at `POIAsimov`."""
        poi = self.job.text("POI")
        at = {name: setting["inits"][0] for name, setting in self.settings.items() if "inits" in setting}
        at[poi] = fit.number("POIAsimov", at.get(poi, 1.0))
        warnings.warn(
            f"FitBlind is TRUE in {fit.settings['FitBlind'][0]}: the data of all regions are "
            f"those expected with {poi} = {at[poi]:g}, for limits and significances too",
            InputWarning,
            stacklevel=2,
        )
        observations = []
        for channel in channels:
            total = np.zeros(len(channel["samples"][0]["data"]))
            for sample in channel["samples"]:
                kinds = {m["name"]: m["type"] for m in sample["modifiers"]}
                for name in kinds.keys() & self.regularised.keys():
                    del kinds[name]
                    kinds[self.regularised[name]] = NORMFACTOR.kind
                if NORMFORMULA.kind in kinds.values():
                    raise fit.wrong(f"'{fit.name}': FitBlind is not read with Expression or Morphing", "FitBlind")
                scale = math.prod(at[name] for name, kind in kinds.items() if kind == NORMFACTOR.kind)
                total += scale * np.array(sample["data"])
            observations.append({"name": channel["name"], "data": total.tolist()})
        return observations

    def _channel(self, region: Block, yields: Mapping[str, Yields]) -> Spec:
        samples = [self._sample(region, block, yields) for block in self.samples if applies(region, None, block)]
        if not samples:
            raise region.wrong(f"'{region.name}': no sample is in this region")
        threshold = self.job.text("MCstatThreshold", "0")
        name = f"staterror_{region.name}"
        if any(m["name"] == name for s in samples for m in s["modifiers"]):
            self.settings[name] = {}
            if self.job.word("MCstatConstraint", "POISSON", ("POISSON", "GAUSSIAN")) == "POISSON":
                self.settings[name]["constraint"] = "poisson"
            if self.job.finite(threshold, "MCstatThreshold") > 0:
                self.settings[name]["threshold"] = float(threshold)
        return {"name": region.name, "samples": samples}

    def _sample(self, region: Block, sample: Block, yields: Mapping[str, Yields]) -> Spec:
        nominal = yields[sample.name].nominal
        modifiers: list[Spec] = []
        separate = sample.flag("SeparateGammas", False)
        if self.job.text("MCstatThreshold").upper() != "NONE" and sample.flag("UseMCstat", not separate):
            data = np.nan_to_num(nominal.errors).tolist()
            modifiers.append({"name": f"staterror_{region.name}", "type": STATERROR.kind, "data": data})
        modifiers += self._factors(region, sample)
        modifiers += self._morphed(sample)
        modifiers += self.systematics.modifiers(region, sample, yields)
        return {"name": sample.name, "data": nominal.values.tolist(), "modifiers": modifiers}

    # ------------------------------------------------------------ factors

    def _factors(self, region: Block, sample: Block) -> Iterator[Spec]:
        words = sample.names("NormFactor")
        if words:
            if not 4 <= len(words) <= 5:
                raise sample.wrong(f"'{sample.name}': expected NormFactor: NAME,START,MIN,MAX[,TRUE]", "NormFactor")
            start, low, high = (sample.finite(word, "NormFactor") for word in words[1:4])
            held = len(words) == 5 and words[4].upper() == "TRUE"
            self._set(
                sample, words[0], {"inits": [start], "bounds": [[low, high]], **({"fixed": True} if held else {})}
            )
            formula = next((b for b in self.factors if b.name == words[0] and "Expression" in b.settings), None)
            if formula is not None:
                raise formula.wrong(
                    f"'{formula.name}': the sample '{sample.name}' has it as a factor too", "Expression"
                )
            yield self._factor(words[0])
        for block in self.factors:
            if "Expression" in block.settings:
                if applies(region, sample, block):
                    yield self._formula(block)
                continue
            if applies(region, sample, block) and block.name != (words[0] if words else None):
                setting: Spec = {
                    "inits": [block.number("Nominal", 1.0)],
                    "bounds": [[block.number("Min", 0.0), block.number("Max", 10.0)]],
                }
                if block.flag("Constant", False):
                    setting["fixed"] = True
                self._set(block, block.name, setting)
                yield self._factor(block.name)
        shapes = [*sample.names("ShapeFactor")[:1], *(b.name for b in self.shapes if applies(region, sample, b))]
        for name in dict.fromkeys(shapes):
            yield {"name": name, "type": SHAPEFACTOR.kind, "data": None}

    def _factor(self, name: str) -> Spec:
        """A free factor; one with a constraint is a formula, for HistFactory's free factors have none."""
        if name not in self.constraints:
            return {"name": name, "type": NORMFACTOR.kind, "data": None}
        self.regularised[f"{name}_regularised"] = name
        return {"name": f"{name}_regularised", "type": NORMFORMULA.kind, "data": {"formula": f"'{name}'"}}

    def _formula(self, block: Block) -> Spec:
        """A factor that is an expression of others, EXPRESSION:NAME[START,LOW,HIGH],NAME[...]."""
        text, colon, names = (part.strip(' "') for part in block.text("Expression").rpartition(":"))
        if not colon:
            raise block.wrong(f"'{block.name}': Expression: expected FORMULA:NAME[START,LOW,HIGH],...", "Expression")
        try:
            there, expression = dependents(names), parse(text)
            unknown = set(names_in(expression)) - set(there)
            if unknown:
                raise InputError(f"it names {min(unknown)}, which is not on its list of names")
        except InputError as error:
            raise block.wrong(f"'{block.name}': Expression: {error}", "Expression") from None
        if block.name in there:
            raise block.wrong(f"'{block.name}': Expression: it depends on itself", "Expression")
        if block.name == self.job.text("POI"):
            raise block.wrong(f"'{block.name}': Expression: the POI of the job is no parameter then", "Expression")
        for factor in self.factors:
            if factor.name in there and "Expression" in factor.settings:
                raise block.wrong(f"'{block.name}': Expression: '{factor.name}' is an expression too", "Expression")
        for name, setting in there.items():
            if setting is not None and name in names_in(expression):
                value, low, high = setting
                self._set(block, name, {"inits": [value], "bounds": [[low, high]]})
        return {"name": block.name, "type": NORMFORMULA.kind, "data": {"formula": text}}

    # ------------------------------------------------------------ morphing

    def _morphed(self, sample: Block) -> Iterator[Spec]:
        """The weight of a template: 1 at its value of the parameter, and down to 0 at the values beside it."""
        if "Morphing" not in sample.settings:
            return
        name, value = self._place(sample)
        there = sorted({self._place(b)[1] for b in self.samples if b.names("Morphing")[:1] == [name]})
        if len(there) < 2:
            raise sample.wrong(f"'{sample.name}': Morphing needs templates at two values of '{name}'", "Morphing")
        block = next((b for b in self.factors if b.name == name), None)
        low, high, start = there[0], there[-1], there[0]
        if block is not None:
            start = block.number("Nominal", 1.0)
            bounds = block.number("Min", 0.0), block.number("Max", 10.0)
            if not (low <= bounds[0] <= start <= bounds[1] <= high):
                raise block.wrong(
                    f"'{name}': Min, Nominal and Max must be in this order and between the templates, {low:g} and "
                    f"{high:g}, for nothing is known outside"
                )
            low, high = bounds
        setting: Spec = {"inits": [start], "bounds": [[low, high]]}
        if block is not None and block.flag("Constant", False):
            setting["fixed"] = True
        self._set(block or sample, name, setting)
        text = f"{value:g}".replace("-", "m").replace(".", "p")
        weight = hat(name, there, there.index(value))
        yield {"name": f"morph_{name}_{text}", "type": NORMFORMULA.kind, "data": {"formula": weight}}

    def _place(self, sample: Block) -> tuple[str, float]:
        words = sample.names("Morphing")
        if len(words) != 2:
            raise sample.wrong(f"'{sample.name}': expected Morphing: PARAMETER,VALUE", "Morphing")
        return words[0], sample.finite(words[1], "Morphing")

    def _set(self, block: Block, name: str, setting: Spec) -> None:
        setting = {**setting, **self.constraints.get(name, {})}
        if self.settings.setdefault(name, setting) != setting:
            raise block.wrong(f"'{block.name}': '{name}' has another start or range elsewhere")


def _constraint(block: Block) -> Spec:
    """The Gaussian of `Tau` (Tikhonov's regularisation): around the nominal value, 1 / Tau wide.

    TRExFitter puts it into the likelihood of its fits (FitUtils::ApplyExternalConstraints in FitUtils.cc).
    """
    if "Expression" in block.settings:
        raise block.wrong(f"'{block.name}': Tau of a factor that is an Expression is not read", "Tau")
    return {"auxdata": [block.number("Nominal", 1.0)], "sigmas": [1.0 / abs(block.number("Tau", 0.0))]}


def hat(name: str, values: Sequence[float], i: int) -> str:
    """The formula of a piecewise linear function that is 1 at `values[i]` and 0 at the others, which increase."""
    sides = []
    if i > 0:
        sides.append(f"('{name}' - ({values[i - 1]!r})) / {values[i] - values[i - 1]!r}")
    if i + 1 < len(values):
        sides.append(f"(({values[i + 1]!r}) - '{name}') / {values[i + 1] - values[i]!r}")
    return f"max(0, min(1, {', '.join(sides)}))"
