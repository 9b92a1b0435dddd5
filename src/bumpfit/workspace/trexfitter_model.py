"""From a TRExFitter configuration to the HistFactory workspace that TRExFitter builds of it.

A HISTO systematic is smoothed and made symmetric, then split into the change of the sum (`normsys`) and templates that
are scaled to the nominal sum (`histosys`), each left out below its pruning threshold. OVERALL is a `normsys`, SHAPE a
Poisson `shapesys`. Statistical errors are one factor a bin and region with a Poisson constraint, or a Gaussian one. The
luminosity scales templates and is no parameter. Regions of type VALIDATION and samples of type GHOST stay outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bumpfit.errors import InputError
from bumpfit.types import Floats
from bumpfit.workspace.dependents import dependents
from bumpfit.workspace.effects_bins import SHAPEFACTOR, SHAPESYS, STATERROR
from bumpfit.workspace.effects_scale import NORMFACTOR, NORMFORMULA, NORMSYS
from bumpfit.workspace.effects_shape import HISTOSYS
from bumpfit.workspace.formula import names_in, parse
from bumpfit.workspace.smoothing import smooth_variations
from bumpfit.workspace.templates import Template
from bumpfit.workspace.trexfitter import Block, chosen, read_blocks
from bumpfit.workspace.trexfitter_templates import ENDS, TRExTemplates
from bumpfit.workspace.variations import EMPTY, SYMMETRISED, scaled_shift, without_empty_bins

Spec = dict[str, Any]

LARGEST = 100.0
"""Relative effect in a bin from which TRExFitter takes a template for wrong."""


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
        types = {b.name: b.word("Type", "BACKGROUND", ("SIGNAL", "BACKGROUND", "DATA", "GHOST")) for b in of["Sample"]}
        self.types = types
        self.samples = [b for b in of["Sample"] if types[b.name] in ("SIGNAL", "BACKGROUND")]
        self.data = [b for b in of["Sample"] if types[b.name] == "DATA"]
        self.factors, self.shapes = of["NormFactor"], of["ShapeFactor"]
        self.systematics = [b for b in blocks if b.kind == "Systematic"]
        self.settings: dict[str, Spec] = {}
        self.groups: dict[str, list[str]] = {}
        for what, there in (("region to fit", self.regions), ("sample to fit", self.samples)):
            if not there:
                raise job.wrong(f"'{job.name}': there is no {what}")
        if len(self.data) != 1:
            raise job.wrong(f"'{job.name}': there are {len(self.data)} samples of type DATA; expected one")
        self._known({b.name for b in of["Region"]}, set(types))

    def _known(self, regions: set[str], samples: set[str]) -> None:
        """Raise InputError for lists that name nothing."""
        there = {"Regions": regions, "Samples": samples, "Exclude": regions | samples}
        for block in (*self.samples, *self.factors, *self.shapes, *self.systematics):
            for key, names in there.items():
                for pattern in block.names(key):
                    if not any(chosen(name, [pattern]) for name in names) and pattern != "none":
                        raise block.wrong(
                            f"'{block.name}': {key} names '{pattern}'; there are {', '.join(sorted(names))}", key
                        )

    def workspace(self) -> Spec:
        channels = [self._channel(region) for region in self.regions]
        poi = self.job.text("POI")
        parameters = [{"name": name, **setting} for name, setting in self.settings.items()]
        config: Spec = {"parameters": parameters, "poi": poi}
        if self.groups:
            config["groups"] = self.groups
        return {
            "channels": channels,
            "measurements": [{"name": self.job.name, "config": config}],
            "observations": [
                {"name": region.name, "data": self.templates.template(region, self.data[0]).values.tolist()}
                for region in self.regions
            ],
            "version": "1.0.0",
        }

    def _channel(self, region: Block) -> Spec:
        samples = [self._sample(region, sample) for sample in self.samples if self._within(region, None, sample)]
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

    def _sample(self, region: Block, sample: Block) -> Spec:
        nominal = self.templates.template(region, sample)
        systematics = [block for block in self.systematics if self._within(region, sample, block)]
        pairs = {block.name: self._pair(region, sample, block, nominal) for block in systematics}
        if self.types[sample.name] == "BACKGROUND":
            guess = self.job.flag("GuessMCStatEmptyBins", True)
            nominal, parts = without_empty_bins(nominal, [part for pair in pairs.values() for part in pair], guess)
            pairs = {name: (parts[2 * i], parts[2 * i + 1]) for i, name in enumerate(pairs)}
        modifiers: list[Spec] = []
        if self.job.text("MCstatThreshold").upper() != "NONE" and sample.flag("UseMCstat", True):
            data = np.nan_to_num(nominal.errors).tolist()
            modifiers.append({"name": f"staterror_{region.name}", "type": STATERROR.kind, "data": data})
        modifiers += self._factors(region, sample)
        for block in systematics:
            modifiers += self._systematic(region, sample, block, nominal, pairs[block.name])
        return {"name": sample.name, "data": nominal.values.tolist(), "modifiers": modifiers}

    def _within(self, region: Block, sample: Block | None, block: Block) -> bool:
        """Whether a sample (then `sample` is None), a factor or a systematic is in a region, and on a sample."""
        names = [region.name] if sample is None else [region.name, sample.name]
        if any(chosen(name, block.names("Exclude"), empty=False) for name in names):
            return False
        if sample is not None:
            pairs = [pair.partition(":")[::2] for pair in block.names("ExcludeRegionSample")]
            if any(chosen(region.name, [r]) and chosen(sample.name, [s]) for r, s in pairs):
                return False
        return chosen(region.name, block.names("Regions")) and (
            sample is None or chosen(sample.name, block.names("Samples"))
        )

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
            yield {"name": words[0], "type": NORMFACTOR.kind, "data": None}
        for block in self.factors:
            if "Expression" in block.settings:
                if self._within(region, sample, block):
                    yield self._formula(block)
                continue
            if self._within(region, sample, block) and block.name != (words[0] if words else None):
                setting: Spec = {
                    "inits": [block.number("Nominal", 1.0)],
                    "bounds": [[block.number("Min", 0.0), block.number("Max", 10.0)]],
                }
                if block.flag("Constant", False):
                    setting["fixed"] = True
                self._set(block, block.name, setting)
                yield {"name": block.name, "type": NORMFACTOR.kind, "data": None}
        shapes = [*sample.names("ShapeFactor")[:1], *(b.name for b in self.shapes if self._within(region, sample, b))]
        for name in dict.fromkeys(shapes):
            yield {"name": name, "type": SHAPEFACTOR.kind, "data": None}

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

    def _set(self, block: Block, name: str, setting: Spec) -> None:
        if self.settings.setdefault(name, setting) != setting:
            raise block.wrong(f"'{block.name}': '{name}' has another start or range elsewhere")

    # ------------------------------------------------------------ systematics

    def _pair(self, region: Block, sample: Block, block: Block, nominal: Template) -> tuple[Floats, Floats]:
        """The varied templates as they are read; the nominal one where there is none."""
        kind = block.word("Type", "HISTO", ("HISTO", "OVERALL", "SHAPE"))
        if kind == "OVERALL":
            up, down = (1.0 + block.number(f"Overall{end}", 0.0) for end in ENDS)
            return nominal.values * up, nominal.values * down
        if not any(self.templates.varies(block, end) for end in ENDS):
            raise block.wrong(f"'{block.name}': it names no varied {self.templates.kind.lower()}s, up or down")
        found = []
        for end in ENDS:
            varied = nominal
            if self.templates.varies(block, end):
                varied = self.templates.template(region, sample, block, end)
                if not np.array_equal(varied.edges, nominal.edges):
                    raise block.wrong(
                        f"'{block.name}': {end} of sample '{sample.name}' in region '{region.name}' has other bins "
                        "than the nominal histogram"
                    )
            found.append(varied.values)
        return found[0], found[1]

    def _systematic(
        self, region: Block, sample: Block, block: Block, nominal: Template, pair: tuple[Floats, Floats]
    ) -> Iterator[Spec]:
        kind, name = (
            block.word("Type", "HISTO", ("HISTO", "OVERALL", "SHAPE")),
            block.text("NuisanceParameter") or block.name,
        )
        if kind == "SHAPE":
            data = np.abs(pair[0] - nominal.values).tolist()
            yield {"name": f"shape_{name}_{region.name}", "type": SHAPESYS.kind, "data": data}
            return
        where = f"'{block.name}' of sample '{sample.name}' in region '{region.name}'"
        if kind == "HISTO":
            pair = self._checked(block, where, nominal.values, pair)
            pair = self._corrected(region, block, nominal, pair)
        total = _effective(nominal.values)
        if total <= 0:
            raise block.wrong(f"{where}: the sample has no events, so there is no relative effect")
        high, low = (_effective(part) / total for part in pair)
        shapes = [
            part / factor if factor > 0 else nominal.values for part, factor in zip(pair, (high, low), strict=True)
        ]
        named = [region.name, sample.name]
        if kind == "OVERALL":
            high, low = (1.0 + block.number(f"Overall{end}", 0.0) for end in ENDS)
        dropped = {
            key: any(chosen(n, block.names(key), empty=False) for n in named) for key in ("DropNorm", "DropShapeIn")
        }
        least = {key: self.job.number(f"SystPruning{key}", -1.0) for key in ("Norm", "Shape")}
        norm = not dropped["DropNorm"] and max(abs(high - 1.0), abs(low - 1.0)) >= least["Norm"]
        shape = kind == "HISTO" and not dropped["DropShapeIn"] and _has_shape(nominal.values, shapes, least["Shape"])
        if norm:
            yield {"name": name, "type": NORMSYS.kind, "data": {"hi": high, "lo": low}}
        if shape:
            data = {"hi_data": shapes[0].tolist(), "lo_data": shapes[1].tolist()}
            yield {"name": name, "type": HISTOSYS.kind, "data": data}
        group = block.text("SubCategory") or block.text("Category")
        if group and (norm or shape):
            members = self.groups.setdefault(group, [])
            members += [] if name in members else [name]

    def _checked(self, block: Block, where: str, nominal: Floats, pair: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        """Templates without negative bins; raises InputError for those that TRExFitter refuses."""
        repair = self.job.text("HistoChecks").upper() == "NOCRASH"
        fixed = []
        for part, end in zip(pair, ENDS, strict=True):
            if (part < 0).any() and not repair:
                raise block.wrong(f"{where}: {end} has a negative bin; mend it, or set HistoChecks: NOCRASH in Job")
            part = np.where(part < 0, EMPTY, part)
            seen = nominal > 0
            if (np.abs(part[seen] / nominal[seen] - 1.0) >= LARGEST).any():
                raise block.wrong(f"{where}: {end} changes a bin by more than a factor {LARGEST:g}")
            fixed.append(part)
        return fixed[0], fixed[1]

    def _corrected(
        self, region: Block, block: Block, nominal: Template, pair: tuple[Floats, Floats]
    ) -> tuple[Floats, Floats]:
        """Smoothed and made symmetric; one-sided ones in this order, others in the other."""
        word = block.word("Symmetrisation", "NONE", ("NONE", *SYMMETRISED))
        level = block.number("Smoothing", 0.0)
        smooth = level > 0 and not region.flag("SkipSmoothing", False)

        def smoothed(parts: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
            if not smooth:
                return parts
            errors = np.nan_to_num(nominal.errors)
            first, second = (smooth_variations(nominal.values, errors, part, int(level) // 10) for part in parts)
            return first, second

        if word == "ONESIDED":
            pair = smoothed(pair)
        up, down = (
            scaled_shift(nominal.values, part, self._scale(region, block, end))
            for part, end in zip(pair, ENDS, strict=True)
        )
        if word != "NONE":
            up, down = SYMMETRISED[word](nominal.values, up, down)
        return (up, down) if word == "ONESIDED" else smoothed((up, down))

    def _scale(self, region: Block, block: Block, end: str) -> float:
        """ScaleUp or ScaleDown: one number, or REGION:NUMBER for some."""
        for text in block.names(f"Scale{end}"):
            name, colon, number = text.rpartition(":")
            if not colon or chosen(region.name, [name]):
                return block.finite(number, f"Scale{end}")
        return 1.0


def _effective(values: Floats) -> float:
    """The sum of the positive bins."""
    return float(values[values > 0].sum())


def _has_shape(nominal: Floats, shapes: Sequence[Floats], least: float) -> bool:
    """Whether a bin changes by `least` or more, relative to the nominal one."""
    if len(nominal) == 1:
        return False  # scaled to the nominal sum, it has none
    seen = nominal > 0
    return any(bool((np.abs(shape[seen] / nominal[seen] - 1.0) >= least).any()) for shape in shapes)
