"""From the varied templates of a TRExFitter configuration to modifiers of HistFactory: smoothed, symmetric, pruned.

A HISTO systematic becomes the change of the sum (`normsys`) and templates that are scaled to the nominal sum
(`histosys`), each left out below its pruning threshold; OVERALL is a `normsys`, SHAPE a Poisson `shapesys`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bumpfit.types import Floats
from bumpfit.workspace.effects_bins import SHAPESYS
from bumpfit.workspace.effects_scale import NORMSYS
from bumpfit.workspace.effects_shape import HISTOSYS
from bumpfit.workspace.smoothing import smooth_variations
from bumpfit.workspace.smoothing_joined import smooth_extrema, smooth_resonance
from bumpfit.workspace.templates import Template
from bumpfit.workspace.trexfitter import SMOOTHINGS, Block, chosen
from bumpfit.workspace.trexfitter_samples import Varied, Yields
from bumpfit.workspace.trexfitter_templates import ENDS
from bumpfit.workspace.variations import EMPTY, SYMMETRISED, errors_of_symmetric, scaled_shift

Spec = dict[str, Any]

LARGEST = 100.0
"""Relative effect in a bin from which TRExFitter takes a template for wrong."""

KINDS = ("HISTO", "OVERALL", "SHAPE")


@dataclasses.dataclass(frozen=True, eq=False)
class Effects:
    """Factors up and down of the sum, templates with the nominal sum, and which of both stay after pruning."""

    factors: tuple[float, float]
    shapes: tuple[Floats, Floats]
    norm: bool
    shape: bool


class Systematics:
    """Makes the modifiers; `groups` collects the parameters of each category."""

    def __init__(self, job: Block) -> None:
        self.job = job
        self.groups: dict[str, list[str]] = {}

    def modifiers(self, region: Block, sample: Block, yields: Mapping[str, Yields]) -> Iterator[Spec]:
        """Those of a sample in a region, of which `yields` holds all samples by name."""
        for varied in yields[sample.name].varied:
            yield from self._of(region, sample, varied, yields)

    def _of(self, region: Block, sample: Block, varied: Varied, yields: Mapping[str, Yields]) -> Iterator[Spec]:
        block, nominal = varied.block, yields[sample.name].nominal
        split = block.word("Decorrelate", "NONE", ("NONE", "REGION", "SAMPLE", "SHAPEACC"))
        suffix = {"REGION": f"_{region.name}", "SAMPLE": f"_{sample.name}"}.get(split, "")
        name = varied.parameter + suffix
        if block.word("Type", "HISTO", KINDS) == "SHAPE":
            data = np.abs(varied.pair[0] - nominal.values).tolist()
            yield {"name": f"shape_{name}_{region.name}", "type": SHAPESYS.kind, "data": data}
            return
        effects = self._effects(region, sample, varied, nominal)
        norm, shape = effects.norm, effects.shape
        model = block.text("ReferencePruning")
        if model:
            theirs = yields[model].of(varied.parameter) if model in yields else None
            if theirs is None:
                raise block.wrong(
                    f"'{block.name}': ReferencePruning names '{model}', which does not have it in region "
                    f"'{region.name}'", "ReferencePruning",
                )  # fmt: skip
            reference = self._effects(region, sample, theirs, yields[model].nominal)
            norm, shape = reference.norm, reference.shape
        names = (f"{name}_Acc", f"{name}_Shape") if split == "SHAPEACC" else (name, name)
        if norm:
            high, low = effects.factors
            yield {"name": names[0], "type": NORMSYS.kind, "data": {"hi": high, "lo": low}}
        if shape:
            up, down = effects.shapes
            yield {"name": names[1], "type": HISTOSYS.kind, "data": {"hi_data": up.tolist(), "lo_data": down.tolist()}}
        group = block.text("SubCategory") or block.text("Category")
        for part in dict.fromkeys(n for n, there in zip(names, (norm, shape), strict=True) if there and group):
            members = self.groups.setdefault(group, [])
            members += [] if part in members else [part]

    def _effects(self, region: Block, sample: Block, varied: Varied, nominal: Template) -> Effects:
        block, pair = varied.block, varied.pair
        kind = block.word("Type", "HISTO", KINDS)
        where = f"'{block.name}' of sample '{sample.name}' in region '{region.name}'"
        if kind == "HISTO":
            pair = self._checked(block, where, nominal.values, pair)
            pair = self._corrected(region, varied, nominal, pair)
        total = _effective(nominal.values)
        if total <= 0:
            raise block.wrong(f"{where}: the sample has no events, so there is no relative effect")
        high, low = (_effective(part) / total for part in pair)
        shapes = [
            part / factor if factor > 0 else nominal.values for part, factor in zip(pair, (high, low), strict=True)
        ]
        if kind == "OVERALL":
            high, low = (1.0 + block.number(f"Overall{end}", 0.0) for end in ENDS)
        norm, shape = self._kept(region, sample, block, nominal, (high, low), shapes)
        return Effects((high, low), (shapes[0], shapes[1]), norm, shape and kind == "HISTO")

    def _kept(
        self, region: Block, sample: Block, block: Block, nominal: Template, factors: tuple[float, float],
        shapes: Sequence[Floats],
    ) -> tuple[bool, bool]:  # fmt: skip
        """Whether the change of the sum and that of the shape stay."""
        named, pruned = [region.name, sample.name], not block.flag("NoPruning", False)
        dropped = {
            key: any(chosen(n, block.names(key), empty=False) for n in named) for key in ("DropNorm", "DropShapeIn")
        }
        size = max(abs(factor - 1.0) for factor in factors)
        large = self.job.number("SystLarge", -1.0)
        if pruned and 0.0 <= large < size and self.job.flag("RemoveLargeSyst", True):
            return False, False
        least = {key: self.job.number(f"SystPruning{key}", -1.0) if pruned else -1.0 for key in ("Norm", "Shape")}
        norm = not dropped["DropNorm"] and size >= least["Norm"]
        return norm, not dropped["DropShapeIn"] and _has_shape(nominal.values, shapes, least["Shape"])

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
        self, region: Block, varied: Varied, nominal: Template, pair: tuple[Floats, Floats]
    ) -> tuple[Floats, Floats]:
        """Smoothed and made symmetric; one-sided ones in this order, others in the other."""
        block = varied.block
        word = block.word("Symmetrisation", "NONE", ("NONE", *SYMMETRISED))
        option = block.word("SmoothingOption", self.job.text("SmoothingOption", SMOOTHINGS[0]).upper(), SMOOTHINGS)
        level = int(block.number("Smoothing", 0.0))
        if level <= 0 or len(pair[0]) < 2 or region.flag("SkipSmoothing", False):
            level = 0
        exact = Template(nominal.edges, nominal.values, np.nan_to_num(nominal.errors))
        errors = self._errors(varied, option) if level else (exact.errors, exact.errors)
        if word == "ONESIDED":
            pair = self._smoothed(block, option, level, exact, pair, errors)
        scales = [self._scale(region, block, end) for end in ENDS]
        up, down = (scaled_shift(exact.values, part, scale) for part, scale in zip(pair, scales, strict=True))
        if word == "ONESIDED":
            return SYMMETRISED[word](exact.values, up, down)
        e = tuple(abs(scale) * error for scale, error in zip(scales, errors, strict=True))
        if word != "NONE":
            parts = Template(exact.edges, up, e[0]), Template(exact.edges, down, e[1])
            up, down = SYMMETRISED[word](exact.values, up, down)
            e = errors_of_symmetric(word, exact, *parts, up)
        return self._smoothed(block, option, level, exact, (up, down), (e[0], e[1]))

    def _errors(self, varied: Varied, option: str) -> tuple[Floats, Floats]:
        """Statistical errors of the varied templates; zeros for smoothings that do not look at them."""
        if option != "TTBARRESONANCE":
            return np.zeros_like(varied.pair[0]), np.zeros_like(varied.pair[1])
        if varied.errors is None:
            raise varied.block.wrong(
                f"'{varied.block.name}': {option} needs the statistical errors of its templates, which are not known "
                "where they come from several samples or had empty bins mended; take another SmoothingOption",
                "Smoothing",
            )
        return varied.errors

    def _smoothed(
        self, block: Block, option: str, level: int, nominal: Template, pair: tuple[Floats, Floats],
        errors: tuple[Floats, Floats],
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Both templates, smoothed as the option and its level say."""
        if not level:
            return pair
        if option == "TTBARRESONANCE" and not 10 <= level < 1000:
            raise block.wrong(
                f"'{block.name}': Smoothing with {option} is 10 to 99 (correlated with the nominal one) or 100 to 999 "
                f"(independent), got {level}", "Smoothing",
            )  # fmt: skip

        def one(values: Floats, error: Floats) -> Floats:
            if option == "MAXVARIATION":
                return smooth_variations(nominal.values, nominal.errors, values, level // 10)
            if option == "TTBARRESONANCE":
                return smooth_resonance(nominal, Template(nominal.edges, values, error), independent=level >= 100)
            return smooth_extrema(nominal, values, int(option == "COMMONTOOLSMOOTHPARABOLIC"))

        return one(pair[0], errors[0]), one(pair[1], errors[1])

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
