"""The text of a TRExFitter configuration as blocks of settings, each with its line.

The format is that of TRExFitter's README and `jobSchema.config`: blocks `Kind: "name"` with lines `Key: value` below, a
blank line between blocks, comments from % on (and lines that begin with #). A setting that is not known, or has a value
that is not read, is refused with its line, for it could change the likelihood. What the settings mean for it is in
`trexfitter_model`.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bumpfit.errors import InputError
from bumpfit.foreign import head_of
from bumpfit.workspace.trexfitter_lines import Line, Place, lines_of

SUFFIXES = (".config", ".cfg", ".conf", ".txt")
"""Endings of the names of configurations."""

KINDS = (
    "Job", "Fit", "Limit", "Significance", "Options", "Region", "Sample", "NormFactor", "ShapeFactor", "Systematic",
)  # fmt: skip
"""Blocks that are read."""

PLACES = tuple(f"{what}{form}" for what in ("File", "Name", "Path") for form in ("", "s", "Suff", "Suffs"))
SOURCES = (*(f"Histo{place}" for place in PLACES), *(f"Ntuple{place}" for place in PLACES))
VARIED = tuple(
    f"{kind}{what}{form}{end}"
    for kind in ("Histo", "Ntuple") for what in ("File", "Name", "Path") for form in ("", "s", "Suf")
    for end in ("Up", "Down")
)  # fmt: skip

READ: Mapping[str, tuple[str, ...]] = {
    "Job": (
        "POI", "ReadFrom", *SOURCES, "MCweight", "Selection", "Lumi", "LumiScale", "SystPruningShape",
        "SystPruningNorm", "MCstatThreshold", "MCstatConstraint", "HistoChecks", "GuessMCStatEmptyBins",
        "MergeUnderOverFlow", "SystLarge", "RemoveLargeSyst", "ReplacementFile", "SmoothingOption",
    ),
    "Region": (
        "Type", *SOURCES, "Variable", "Selection", "MCweight", "Rebin", "Rebinning", "Binning", "SkipSmoothing",
    ),
    "Sample": (
        "Type", *SOURCES, "NormFactor", "ShapeFactor", "NormalizedByTheory", "MCweight", "Selection", "Regions",
        "Exclude", "LumiScale", "LumiScales", "UseMCstat", "Morphing", "UseSystematics", "SeparateGammas", "AddSample",
        "AddSamples", "SubtractSample", "SubtractSamples", "MultiplyBy", "DivideBy", "NormToSample", "Smooth",
    ),
    "Fit": ("FitBlind", "POIAsimov"),
    "NormFactor": ("Samples", "Regions", "Exclude", "Nominal", "Min", "Max", "Constant", "Expression", "Tau"),
    "ShapeFactor": ("Samples", "Regions", "Exclude"),
    "Systematic": (
        "Samples", "Regions", "Exclude", "ExcludeRegionSample", "Type", "NuisanceParameter", "Category", "SubCategory",
        *VARIED, "WeightUp", "WeightDown", "WeightSufUp", "WeightSufDown", "Symmetrisation", "Smoothing", "OverallUp",
        "OverallDown", "ScaleUp", "ScaleDown", "DropShapeIn", "DropNorm", "ReferenceSample", "ReferencePruning",
        "SampleUp", "SampleDown", "Decorrelate", "NoPruning", "SmoothingOption",
    ),
}  # fmt: skip
"""Settings that the likelihood is made of."""

LOOKS: Mapping[str, tuple[str, ...]] = {
    "Job": (
        "Label*", "Legend*", "POIUnit", "DebugLevel", "Logo", "YIELDS", "NORMSIG", "NOSIG", "OVERSIG", "CHI2",
        "PREFITONPOSTFIT", "NOXERR", "STANDALONE", "FOOTNOTESIZE", "LANDSCAPE", "Syst*Plots", "CorrelationThreshold",
        "SignalRegionsPlot", "LumiLabel", "CmeLabel", "SplitHistoFiles", "BlindingThreshold", "BlindSRs",
        "KeepPrefitBlindedBins", "Ranking*", "ImageFormat", "SystErrorBars", "SummaryErrorbars", "OutputDir",
        "AtlasLabel", "CleanTables", "SystCategoryTables", "Summary*", "Ratio*", "GetChi2", "UseGamma*", "Do*Plot",
        "DoSyst*Plots", "LogX*", "DoTables", "SuppressNegativeBinWarnings", "RunROOTMacros", "PlotOptions*",
        "RegionGroups", "LogScale", "TableOptions", "Suffix", "SaveSuffix", "HideNP", "POIPrecision",
        "UseATLASRounding*", "IntCode*", "HEPDataFormat", "FixNPforStatOnly",
    ),
    "Fit": (
        "doLHscan", "UseMinos", "SetRandomInitialNPval*", "NumCPU", "GetGoodnessOfFit", "FitToys", "ToysHisto*",
        "LHscan*", "NPValues", "SaturatedModel",
    ),
    "Limit": ("POIAsimov", "SignalInjection*", "Param*", "OutputPrefixName"),
    "Significance": ("POIAsimov", "Param*", "OutputPrefixName"),
    "Options": ("*",),
    "Region": (
        "*Title", "*Label", "LogScale", "Y*", "Ratio*", "BinWidth", "BinLabels", "Group", "XaxisRange",
    ),
    "Sample": ("Title", "TexTitle", "Group", "FillColor*", "LineColor*", "BuildPullTable"),
    "NormFactor": ("Title", "TexTitle", "Category", "SubCategory"),
    "ShapeFactor": ("Title", "TexTitle", "Category", "SubCategory"),
    "Systematic": ("Title", "TexTitle", "StoredName"),
}  # fmt: skip
"""Settings of figures, tables and other tasks, which leave the likelihood as it is (patterns)."""

ONLY: Mapping[tuple[str, str], tuple[str, str]] = {
    ("Job", "StatOnly"): ("FALSE", "hold the parameters with --fix"),
    ("Job", "CorrectNormForNegativeIntegral"): ("FALSE", ""),
    ("Job", "TtresSmoothing"): ("FALSE", "set SmoothingOption: TTBARRESONANCE"),
    ("Job", "SmoothMorphingTemplates"): ("FALSE", ""),
    ("Job", "PropagateSystsForMorphing"): ("FALSE", ""),
    ("Job", "AllowWrongRegionSample"): ("FALSE", "take out names that do not exist"),
    ("Job", "KeepPruning"): ("FALSE", ""),
    ("Job", "RemoveSystOnEmptySample"): ("FALSE", ""),
    ("Job", "PruningType"): ("SEPARATESAMPLE", ""),
    ("Job", "PruningShapeOption"): ("MAXBIN", ""),
    ("Fit", "FitType"): ("SPLUSB", "hold the signal with --fix NAME=0"),
    ("Fit", "FitRegion"): ("CRSR", "take regions out with bumpfit workspace prune -c"),
    ("Fit", "TemplateInterpolationOption"): ("LINEAR", "the others approximate it"),
    ("Fit", "StatOnlyFit"): ("FALSE", "hold the parameters with --fix"),
    ("Fit", "DoNonProfileFit"): ("FALSE", ""),
    ("Limit", "LimitType"): ("ASYMPTOTIC", "take --toys N"),
    ("Limit", "ConfidenceLevel"): ("0.95", "take --level"),
    ("Limit", "LimitBlind"): ("FALSE", "blind with --asimov or --blind"),
    ("Significance", "SignificanceBlind"): ("FALSE", "blind with --asimov or --blind"),
    ("Region", "DataType"): ("DATA", "blind with --blind"),
    ("Sample", "IgnoreSelection"): ("FALSE", ""),
    ("Systematic", "IsFreeParameter"): ("FALSE", ""),
    ("Systematic", "PreSmoothing"): ("FALSE", ""),
    ("Systematic", "SubtractRefSampleVar"): ("FALSE", ""),
}
"""Settings that are read with one value only (block, setting: value), and what to do instead of another."""

SMOOTHINGS = ("MAXVARIATION", "TTBARRESONANCE", "COMMONTOOLSMOOTHMONOTONIC", "COMMONTOOLSMOOTHPARABOLIC")
"""Values of SmoothingOption that are read: not TCHANNEL, and not KERNEL..., which depend on the version of ROOT."""

BLINDING = (("Limit", "LimitBlind"), ("Significance", "SignificanceBlind"), ("Region", "DataType"))
"""Settings that hide nothing more where the fit is blind."""

OTHERS = (
    "AddSample", "AddSamples", "SubtractSample", "SubtractSamples", "MultiplyBy", "DivideBy", "NormToSample",
)  # fmt: skip
"""Settings of a sample that name others whose histograms are added to, taken from or multiplied with its own."""

_JOB = re.compile(r"^[ \t]*(?:Job|INCLUDE)[ \t]*:", re.MULTILINE)
_ITEM = re.compile(r'(?:"[^"]*"|[^,"])+')


@dataclasses.dataclass(frozen=True)
class Block:
    """One object: its settings by name, with the line of each; `copies` numbers those that share a block."""

    path: str
    kind: str
    name: str
    place: Place
    settings: Mapping[str, tuple[Place, str]]
    copy: tuple[int, int] = (0, 1)

    def wrong(self, reason: str, key: str | None = None) -> InputError:
        """An error at the line of a setting, or of the block."""
        place = self.settings[key][0] if key is not None and key in self.settings else self.place
        return InputError(f"{place}, {self.kind} {reason}")

    def raw(self, key: str) -> str:
        """A value as it is written; of several blocks in one, that of this one."""
        value = self.settings[key][1]
        if self.copy[1] > 1 and ";" in value:
            parts = value.split(";")
            if len(parts) != self.copy[1]:
                raise self.wrong(f"'{self.name}': {key} has {len(parts)} values for {self.copy[1]} names", key)
            value = parts[self.copy[0]]
        return value.strip()

    def text(self, key: str, default: str = "") -> str:
        """A value without its quotes."""
        return self.raw(key).strip('"') if key in self.settings else default

    def names(self, *keys: str) -> list[str]:
        """A list with commas between; the first of the settings that is there."""
        for key in keys:
            if key in self.settings:
                return [part.strip().strip('"').strip() for part in _ITEM.findall(self.raw(key)) if part.strip()]
        return []

    def number(self, key: str, default: float) -> float:
        """A finite number; raises InputError for anything else."""
        if key not in self.settings:
            return default
        return self.finite(self.text(key), key)

    def finite(self, text: str, key: str) -> float:
        """A number that is part of a setting."""
        try:
            value = float(text)
        except ValueError:
            raise self.wrong(f"'{self.name}': {key} must be a number, got '{text[:40]}'", key) from None
        if not math.isfinite(value):
            raise self.wrong(f"'{self.name}': {key} must be finite, got '{text}'", key)
        return value

    def flag(self, key: str, default: bool) -> bool:
        """TRUE or FALSE."""
        word = self.text(key, str(default)).upper()
        if word not in ("TRUE", "FALSE"):
            raise self.wrong(f"'{self.name}': {key} must be TRUE or FALSE, got '{word}'", key)
        return word == "TRUE"

    def word(self, key: str, default: str, known: Sequence[str]) -> str:
        """One of the `known` words, whatever its case."""
        word = self.text(key, default).upper()
        if word not in known:
            raise self.wrong(f"'{self.name}': {key} is '{word}'; expected {', '.join(known)}", key)
        return word


def chosen(name: str, patterns: Sequence[str], *, empty: bool = True) -> bool:
    """Whether a list of patterns names something; an empty list, and `all`, name everything (`empty`: the former)."""
    return empty if not patterns else any(p == "all" or fnmatch.fnmatchcase(name, p) for p in patterns)


def applies(region: Block, sample: Block | None, block: Block) -> bool:
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


def others(sample: Block, *keys: str) -> list[str]:
    """The samples that a sample is made of besides its own histograms (`keys`: those settings only)."""
    return [name for key in keys or OTHERS for name in sample.names(key)]


def looks_like_trexfitter(path: str | Path) -> bool:
    """Whether a file is a TRExFitter configuration: by its ending, and a block `Job` or `INCLUDE`."""
    return _JOB.search(head_of(path, SUFFIXES)) is not None


def read_blocks(path: str | Path) -> list[Block]:
    """The checked blocks of a configuration; raises InputError with the line of the first fault."""
    blocks = [block for found in _split(lines_of(path), str(path)) for block in _copies(found)]
    needed = {name for block in blocks for name in (*others(block), *block.names("ReferenceSample"))}
    needed |= {name for block in blocks for end in ("Up", "Down") for name in block.names(f"Sample{end}")}
    blinded = fit_is_blind(blocks)
    for block in blocks:
        if not (block.kind == "Sample" and block.text("Type").upper() == "GHOST") or block.name in needed:
            _check(block, blinded)
    for kind in KINDS:
        if kind in ("Sample", "Systematic"):
            continue  # may be there again for other regions
        names = [block.name for block in blocks if block.kind == kind]
        twice = next((block for block in blocks if block.kind == kind and names.count(block.name) > 1), None)
        if twice is not None:
            raise twice.wrong(f"'{twice.name}' is there twice")
    jobs = [block for block in blocks if block.kind == "Job"]
    if len(jobs) != 1:
        raise InputError(f"the TRExFitter configuration '{path}' has {len(jobs)} blocks Job; expected one")
    return blocks


def _split(lines: Sequence[Line], path: str) -> Iterator[Block]:
    """The blocks: one begins with its kind, and where kind and setting have the same name, after a blank line."""
    found: Block | None = None
    settings: dict[str, tuple[Place, str]] = {}
    blank = True
    for place, raw in lines:
        line = _without_comment(raw)
        if not line.strip():
            blank = blank or not raw.strip()
            continue
        key, colon, value = (part.strip() for part in line.partition(":"))
        if not colon:
            raise InputError(f"{place}: expected 'Key: value', got '{line.strip()[:60]}'")
        ambiguous = key in ("NormFactor", "ShapeFactor")
        if key in KINDS and (blank or not ambiguous):
            if found is not None:
                yield found
            settings = {}
            found = Block(path, key, value, place, settings)
        elif found is None or (blank and not raw[:1].isspace()):
            raise InputError(f"{place}: unknown block '{key}'; known are {', '.join(KINDS)}")
        elif key in settings:
            raise found.wrong(f"{found.name}: {key} is there twice", key)
        else:
            settings[key] = (place, value)
        blank = False
    if found is not None:
        yield found


def _without_comment(line: str) -> str:
    if line.lstrip().startswith("#"):
        return ""
    quoted = False
    for i, character in enumerate(line):
        if character == '"':
            quoted = not quoted
        elif character == "%" and not quoted:
            return line[:i]
    return line


def _copies(block: Block) -> Iterator[Block]:
    """The blocks that "a";"b" stands for."""
    names = [name.strip().strip('"') for name in block.name.split(";")]
    for i, name in enumerate(names):
        yield dataclasses.replace(block, name=name, copy=(i, len(names)))


def fit_is_blind(blocks: Sequence[Block]) -> bool:
    """Whether the fit takes expected data in the place of the observed ones, in all regions."""
    return any(block.kind == "Fit" and block.flag("FitBlind", False) for block in blocks)


def _check(block: Block, blinded: bool) -> None:
    """Raise InputError for settings that are not known, and values that are not read."""
    for key in block.settings:
        if blinded and (block.kind, key) in BLINDING:
            continue
        if key in READ.get(block.kind, ()) or any(fnmatch.fnmatchcase(key, p) for p in LOOKS.get(block.kind, ())):
            if (block.kind, key) == ("Options", "RandomizeMC"):
                raise block.wrong(f"{block.name}: RandomizeMC changes the templates, which is not read", key)
            continue
        if (block.kind, key) in ONLY:
            value, instead = ONLY[block.kind, key]
            if block.text(key).upper() != value:
                raise block.wrong(
                    f"'{block.name}': {key} is read as {value} only, got '{block.text(key)[:40]}'"
                    + (f"; {instead}" if instead else ""), key,
                )  # fmt: skip
            continue
        raise block.wrong(f"'{block.name}': the setting '{key}' is not read, and could change the likelihood", key)
