"""The nominal and varied templates of the samples of a region: as read, and as sums and products of other samples.

Samples are worked out in the order of the configuration: SubtractSample, AddSample, MultiplyBy, DivideBy, NormToSample,
then SampleUp and SampleDown; a sample that comes later is taken as it is read. Varied templates go the same way: a
parameter that both samples have varies both, and one that only the other has is inherited (SampleHist.cc and
TRExFit::CorrectHistograms of its sources). Errors are those of ROOT's histograms, without correlation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bumpfit.errors import InputError
from bumpfit.types import Floats
from bumpfit.workspace.smoothing_joined import smooth_nominal, smooth_twice
from bumpfit.workspace.templates import Template
from bumpfit.workspace.trexfitter import SMOOTHINGS, Block, applies, others
from bumpfit.workspace.trexfitter_templates import ENDS, TRExTemplates
from bumpfit.workspace.variations import EMPTY, without_empty_bins

UNCHANGED = 1e-4
"""Relative change of a sum from which a variation of a reference sample keeps its own."""


@dataclasses.dataclass(frozen=True, eq=False)
class Varied:
    """One systematic of a sample: its block, the name of its parameter, templates up and down, and their statistical
    errors where they are still those that were read.
    """

    block: Block
    parameter: str
    pair: tuple[Floats, Floats]
    errors: tuple[Floats, Floats] | None = None

    def through(self, change: Callable[[Floats, int], Floats]) -> Varied:
        """The same with both templates changed; `change` is told which one, 0 or 1."""
        return dataclasses.replace(self, pair=(change(self.pair[0], 0), change(self.pair[1], 1)), errors=None)


@dataclasses.dataclass(frozen=True, eq=False)
class Yields:
    """A sample in a region: the nominal template and the varied ones."""

    nominal: Template
    varied: tuple[Varied, ...] = ()

    def of(self, parameter: str) -> Varied | None:
        """What varies with a parameter."""
        return next((part for part in self.varied if part.parameter == parameter), None)


def parameter_of(block: Block) -> str:
    """The name of the nuisance parameter of a systematic."""
    return block.text("NuisanceParameter") or block.name


class RegionSamples:
    """Works out the samples of one region."""

    def __init__(
        self, region: Block, samples: Sequence[Block], kinds: Mapping[str, str], systematics: Sequence[Block],
        templates: TRExTemplates,
    ) -> None:  # fmt: skip
        self.region, self.kinds, self.templates, self.systematics = region, kinds, templates, systematics
        self.blocks: dict[str, Block] = {}
        for block in samples:
            if not applies(region, None, block):
                continue
            if block.name in self.blocks:
                raise block.wrong(f"'{block.name}' is there twice in region '{region.name}'")
            self.blocks[block.name] = block
        self.all = {block.name for block in samples}
        self.raw: dict[str, Yields] = {}
        self.done: dict[str, Yields] = {}

    def worked_out(self) -> dict[str, Yields]:
        """The samples of the region by name, in order; those of type GHOST where another one is made of them."""
        needed = {name for block in self.blocks.values() for name in others(block)}
        needed |= {n for b in self.systematics for key in ("ReferenceSample", "SampleUp", "SampleDown")
                   for n in b.names(key)}  # fmt: skip
        for name, block in self.blocks.items():
            if self.kinds[name] != "GHOST" or name in needed:
                self.done[name] = self._smoothed(block, self._without_empty_bins(block, self._worked_out(block)))
        return {name: found for name, found in self.done.items() if self.kinds[name] != "GHOST"}

    # ------------------------------------------------------------ as read

    def _read(self, block: Block) -> Yields:
        if block.name not in self.raw:
            nominal = self.templates.template(self.region, block)
            self.raw[block.name] = Yields(nominal)  # a reference to itself ends here
            varied = [self._varied(block, systematic, nominal) for systematic in self._applied(block)]
            kind = self.kinds[block.name]
            separate = block.flag("SeparateGammas", False) and kind in ("SIGNAL", "BACKGROUND")
            if separate and self.templates.job.text("MCstatThreshold").upper() != "NONE":
                errors, name = np.nan_to_num(nominal.errors), f"stat_{block.name}"
                own = Block(block.path, "Systematic", name, block.place, {"Type": (block.place, "SHAPE")})
                varied.append(Varied(own, name, (nominal.values + errors, nominal.values)))
            self.raw[block.name] = Yields(nominal, tuple(varied))
        return self.raw[block.name]

    def _uses_systematics(self, block: Block) -> bool:
        kind = self.kinds[block.name]
        return kind != "DATA" and block.flag("UseSystematics", kind != "GHOST")

    def _applied(self, block: Block) -> list[Block]:
        found: dict[str, Block] = {}
        for systematic in self.systematics if self._uses_systematics(block) else ():
            if applies(self.region, block, systematic):
                if systematic.name in found:
                    raise systematic.wrong(
                        f"'{systematic.name}' is there twice for sample '{block.name}' in region '{self.region.name}'"
                    )
                found[systematic.name] = systematic
        return list(found.values())

    def _varied(self, sample: Block, systematic: Block, nominal: Template) -> Varied:
        """A systematic as it is read; the nominal template where there is no varied one."""
        parameter = parameter_of(systematic)
        kind = systematic.word("Type", "HISTO", ("HISTO", "OVERALL", "SHAPE"))
        if kind == "OVERALL":
            up, down = (1.0 + systematic.number(f"Overall{end}", 0.0) for end in ENDS)
            return Varied(systematic, parameter, (nominal.values * up, nominal.values * down))
        if systematic.text("SampleUp") or systematic.text("SampleDown"):
            return Varied(systematic, parameter, (nominal.values, nominal.values))  # when all are worked out
        if not any(self.templates.varies(systematic, end) for end in ENDS):
            raise systematic.wrong(
                f"'{systematic.name}': it names no varied {self.templates.kind.lower()}s, up or down"
            )
        found, errors = [], []
        for end in ENDS:
            values, error = nominal.values, nominal.errors
            if self.templates.varies(systematic, end):
                varied = self.templates.template(self.region, sample, systematic, end)
                if not np.array_equal(varied.edges, nominal.edges):
                    raise systematic.wrong(
                        f"'{systematic.name}': {end} of sample '{sample.name}' in region '{self.region.name}' has "
                        "other bins than the nominal histogram"
                    )
                values, error = self._by_reference(systematic, sample, nominal, varied.values), varied.errors
            found.append(values)
            errors.append(np.nan_to_num(error))
        known = None if systematic.text("ReferenceSample") else (errors[0], errors[1])
        return Varied(systematic, parameter, (found[0], found[1]), known)

    def _by_reference(self, systematic: Block, sample: Block, nominal: Template, varied: Floats) -> Floats:
        """The variation of a reference sample, carried over with its relative change of the sum."""
        name = systematic.text("ReferenceSample")
        if not name:
            return varied
        reference = self._read(self._block(name, systematic, "ReferenceSample")).nominal.values
        if len(reference) != len(varied):
            raise systematic.wrong(
                f"'{systematic.name}': its reference sample '{name}' has {len(reference)} bins, and the variation "
                f"{len(varied)}", "ReferenceSample",
            )  # fmt: skip
        low = reference <= EMPTY
        reference, varied = np.maximum(reference, EMPTY), np.where(low, EMPTY, np.maximum(varied, EMPTY))
        relative, total = varied.sum() / reference.sum(), nominal.values.sum()
        carried: Floats = varied / reference * nominal.values
        if total == 0 or abs(relative - 1.0) <= UNCHANGED or abs(carried.sum() / total - 1.0) <= UNCHANGED:
            return carried
        scaled: Floats = carried * (relative / (carried.sum() / total))
        return scaled

    # ------------------------------------------------------------ sums and products

    def _block(self, name: str, by: Block, key: str) -> Block:
        if name not in self.blocks:
            there = "is not in region" if name in self.all else "does not exist; wanted in region"
            raise by.wrong(f"'{by.name}': {key} names the sample '{name}', which {there} '{self.region.name}'", key)
        return self.blocks[name]

    def _other(self, name: str, by: Block, key: str) -> Yields:
        block = self._block(name, by, key)
        return self.done[name] if name in self.done else self._read(block)

    def _worked_out(self, block: Block) -> Yields:
        found = self._read(block)
        for key, sign in (("SubtractSample", -1.0), ("AddSample", 1.0)):
            setting = f"{key}s" if f"{key}s" in block.settings else key  # the list takes the place of the single one
            for name in block.names(setting):
                if name in self.blocks or name not in self.all:  # one of other regions adds nothing
                    found = self._joined(block, setting, found, name, _Sum(sign))
        for key, way in (("MultiplyBy", _Product()), ("DivideBy", _Quotient())):
            if block.text(key):
                found = self._joined(block, key, found, block.text(key), way)
        if block.text("NormToSample"):
            found = self._scaled(block, found)
        parts = tuple(self._from_samples(part, found.nominal) for part in found.varied)
        return Yields(found.nominal, parts)

    def _joined(self, block: Block, key: str, own: Yields, name: str, way: _Sum | _Product | _Quotient) -> Yields:
        other = self._other(name, block, key)
        if not np.array_equal(other.nominal.edges, own.nominal.edges):
            raise block.wrong(f"'{block.name}': {key}: '{name}' has other bins in region '{self.region.name}'", key)
        nominal = way.nominal(own.nominal, other.nominal)
        if not self._uses_systematics(block):
            return Yields(nominal)
        parts = []
        for part in own.varied:
            theirs = other.of(part.parameter)
            pair = theirs.pair if theirs is not None else (other.nominal.values, other.nominal.values)
            parts.append(part.through(lambda values, i, pair=pair: way.both(values, pair[i])))  # type: ignore[misc]
        for theirs in other.varied:
            if own.of(theirs.parameter) is None:
                inherited = Varied(_as_histograms(theirs), theirs.parameter, theirs.pair)
                parts.append(inherited.through(lambda values, _: way.inherited(own.nominal, other.nominal, values)))
        return Yields(nominal, tuple(parts))

    def _scaled(self, block: Block, own: Yields) -> Yields:
        name = block.text("NormToSample")
        other, total = self._other(name, block, "NormToSample").nominal, own.nominal.values.sum()
        if total == 0:
            raise block.wrong(f"'{block.name}': NormToSample: it has no events in '{self.region.name}'", "NormToSample")
        factor = float(other.values.sum() / total)
        return Yields(own.nominal.scaled(factor), tuple(p.through(lambda v, _: v * factor) for p in own.varied))

    def _from_samples(self, part: Varied, nominal: Template) -> Varied:
        """SampleUp and SampleDown: other samples as the variations."""
        names = [part.block.text(f"Sample{end}") for end in ENDS]
        if not any(names):
            return part
        found, errors = [], []
        for name, end in zip(names, ENDS, strict=True):
            values, error = nominal.values, nominal.errors
            if name:
                other = self._other(name, part.block, f"Sample{end}").nominal
                values, error = other.values, other.errors
                reference = part.block.text("ReferenceSample")
                if reference:
                    theirs = self._other(reference, part.block, "ReferenceSample").nominal.values
                    values = _ratio(values, theirs) * nominal.values
                if len(values) != len(nominal.values):
                    raise part.block.wrong(f"'{part.block.name}': Sample{end} has other bins", f"Sample{end}")
            found.append(values)
            errors.append(np.nan_to_num(error))
        known = None if part.block.text("ReferenceSample") else (errors[0], errors[1])
        return dataclasses.replace(part, pair=(found[0], found[1]), errors=known)

    def _without_empty_bins(self, block: Block, found: Yields) -> Yields:
        if self.kinds[block.name] not in ("BACKGROUND", "GHOST"):
            return found
        if (found.nominal.values > 0).all():
            return found
        guess = self.templates.job.flag("GuessMCStatEmptyBins", True)
        flat = [part for varied in found.varied for part in varied.pair]
        nominal, parts = without_empty_bins(found.nominal, flat, guess)
        return Yields(
            nominal,
            tuple(
                dataclasses.replace(varied, pair=(parts[2 * i], parts[2 * i + 1]), errors=None)
                for i, varied in enumerate(found.varied)
            ),
        )

    def _smoothed(self, block: Block, found: Yields) -> Yields:
        """`Smooth: TRUE`: the nominal template smoothed; of varied ones the small bins raised, OVERALL made again."""
        if not block.flag("Smooth", False) or self.region.flag("SkipSmoothing", False):
            return found
        if self.kinds[block.name] == "DATA":
            raise block.wrong(f"'{block.name}': Smooth of data is not read", "Smooth")
        if self.templates.job.word("SmoothingOption", "MAXVARIATION", SMOOTHINGS) == "TTBARRESONANCE":
            nominal = smooth_twice(found.nominal)
        else:
            nominal = smooth_nominal(found.nominal)
        parts = []
        for part in found.varied:
            kind = part.block.word("Type", "HISTO", ("HISTO", "OVERALL", "SHAPE"))
            if kind == "SHAPE":
                raise block.wrong(
                    f"'{block.name}': Smooth is not read with '{part.block.name}', of type SHAPE or of SeparateGammas",
                    "Smooth",
                )
            if kind == "OVERALL":
                up, down = (1.0 + part.block.number(f"Overall{end}", 0.0) for end in ENDS)
                parts.append(dataclasses.replace(part, pair=(nominal.values * up, nominal.values * down)))
                continue
            errors = part.errors or (found.nominal.errors, found.nominal.errors)
            templates = [
                smooth_nominal(Template(nominal.edges, values, error), 0.0)
                for values, error in zip(part.pair, errors, strict=True)
            ]
            known = (templates[0].errors, templates[1].errors) if part.errors else None
            parts.append(dataclasses.replace(part, pair=(templates[0].values, templates[1].values), errors=known))
        return Yields(nominal, tuple(parts))


def _as_histograms(theirs: Varied) -> Block:
    """The systematic as another sample inherits it: by the parameter's name, and never by numbers."""
    settings = dict(theirs.block.settings)
    if theirs.block.word("Type", "HISTO", ("HISTO", "OVERALL", "SHAPE")) == "OVERALL":
        settings["Type"] = (theirs.block.place, "HISTO")
    for key in ("SampleUp", "SampleDown"):
        settings.pop(key, None)
    return dataclasses.replace(theirs.block, name=theirs.parameter, settings=settings)


def _ratio(a: Floats, b: Floats) -> Floats:
    """a / b, and 0 where b is 0, as ROOT divides histograms."""
    if len(a) != len(b):
        raise InputError(f"samples of {len(a)} and of {len(b)} bins cannot be divided")
    quotient: Floats = np.divide(a, b, out=np.zeros(len(a)), where=b != 0)
    return quotient


class _Sum:
    """own + sign other."""

    def __init__(self, sign: float) -> None:
        self.sign = sign

    def nominal(self, own: Template, other: Template) -> Template:
        return Template(own.edges, own.values + self.sign * other.values, np.hypot(own.errors, other.errors))

    def both(self, own: Floats, other: Floats) -> Floats:
        return own + self.sign * other

    def inherited(self, own: Template, other: Template, varied: Floats) -> Floats:
        return own.values + self.sign * varied


class _Product:
    """own other."""

    def nominal(self, own: Template, other: Template) -> Template:
        errors = np.hypot(own.errors * other.values, other.errors * own.values)
        return Template(own.edges, own.values * other.values, errors)

    def both(self, own: Floats, other: Floats) -> Floats:
        return own * other

    def inherited(self, own: Template, other: Template, varied: Floats) -> Floats:
        return own.values * varied


class _Quotient:
    """own / other; a variation that only the divisor has is carried over as its mirror image."""

    def nominal(self, own: Template, other: Template) -> Template:
        errors = _ratio(np.hypot(own.errors * other.values, other.errors * own.values), other.values**2)
        return Template(own.edges, _ratio(own.values, other.values), errors)

    def both(self, own: Floats, other: Floats) -> Floats:
        return _ratio(own, other)

    def inherited(self, own: Template, other: Template, varied: Floats) -> Floats:
        ratio = _ratio(own.values, other.values)
        return 2.0 * ratio - _ratio(ratio, other.values) * varied
