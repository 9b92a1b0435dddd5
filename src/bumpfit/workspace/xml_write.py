"""Write HistFactory's XML with ROOT histograms: TOP.xml, TOP_CHANNEL.xml for each channel, and TOP.root beside it.

ROOT's hist2workspace and pyhf read them, and `xml` gives the same likelihood. What the format has no place for is
refused: correlated constraints, Combine's types, chosen widths, settings of single bins. Ranges of constrained
parameters, groups and the name of statistical errors are left out and told.
"""

from __future__ import annotations

import copy
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from bumpfit.errors import InputError, InputWarning, MissingExtraError
from bumpfit.files import atomic, write_text
from bumpfit.types import Floats
from bumpfit.workspace.effect import Use, same_numbers
from bumpfit.workspace.effects import EFFECTS, correlations_of, declare
from bumpfit.workspace.effects_bins import STATERROR
from bumpfit.workspace.effects_scale import LUMI, LUMINOSITY, NORMFORMULA
from bumpfit.workspace.formula import names_in, parse, written
from bumpfit.workspace.parameters import ParameterSet

SCHEMA = "HistFactorySchema.dtd"
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has not, escaped or not."""
WORD = re.compile(r"[A-Za-z_]\w*")


def write_xml(spec: Mapping[str, Any], path: str | Path) -> list[Path]:
    """Write a workspace with data and measurements; gives the files that were written, the top one last.

    Raises InputError for what the format cannot hold, MissingExtraError without uproot. Warns (InputWarning) of what is
    left out.
    """
    try:
        import uproot
    except ImportError as error:
        raise MissingExtraError("uproot", "root", "writing XML workspaces") from error
    target = Path(path)
    writer = XmlWriter(spec, target.stem)
    files = {target.with_name(name): _text(element) for name, element in writer.channels.items()}
    top = _text(writer.top)
    root = target.with_name(writer.file)
    with atomic(root) as temporary, uproot.recreate(temporary) as file:
        for name, (values, errors) in writer.histograms.items():
            file[name] = _histogram(values, errors)
    for place, text in (*files.items(), (target, top)):
        write_text(place, text)
    for note in dict.fromkeys(writer.told):
        warnings.warn(note, InputWarning, stacklevel=3)
    return [root, *files, target]


def _histogram(values: Floats, errors: Floats) -> Any:
    import hist

    histogram = hist.Hist(hist.axis.Regular(values.size, 0.0, float(values.size)), storage=hist.storage.Weight())
    histogram.view()["value"] = values
    histogram.view()["variance"] = errors**2
    return histogram


def _text(element: Element) -> str:
    for word in (value for part in element.iter() for value in (*part.attrib.values(), part.text or "")):
        if NO_XML.search(word):
            raise InputError(f"XML has no place for a character of '{word}'; rename it (bumpfit workspace rename)")
    ElementTree.indent(element)
    body = ElementTree.tostring(element, encoding="unicode")
    return f"<!DOCTYPE {element.tag} SYSTEM '{SCHEMA}'>\n\n{body}\n"


class XmlWriter:
    """Makes the elements and histograms; the types of effects ask it for names and histograms."""

    def __init__(self, spec: Mapping[str, Any], stem: str) -> None:
        if correlations_of(spec):
            raise InputError("HistFactory XML has no correlated constraints; try format='hs3'")
        self.stem, self.file = stem, f"{stem}.root"
        self.told: list[str] = []
        self.histograms: dict[str, tuple[Floats, Floats]] = {}
        self.functions: dict[str, str] = {}
        self.channels: dict[str, Element] = {}
        configs = [measurement["config"] for measurement in spec["measurements"]]
        self.sets = [declare(spec["channels"], config["parameters"]).sets for config in configs]
        self.modified = {
            m["name"] for c in spec["channels"] for s in c["samples"] for m in s["modifiers"]
            if m["type"] != NORMFORMULA.kind
        }  # fmt: skip
        self.statistical = {entry["name"]: entry for entry in configs[0]["parameters"]}
        self.defaults = declare(spec["channels"], _kept(configs[0]["parameters"], self.modified)).sets
        self.free = {name: group for name, group in self.sets[0].items() if group.constraint == "none"}
        self._check(configs)
        observed = {entry["name"]: entry["data"] for entry in spec["observations"]}
        for channel in spec["channels"]:
            name = self._unused(f"{stem}_{_plain(channel['name'])}", self.channels, ".xml")
            self.channels[name] = self._channel(channel, observed[channel["name"]])
        self.top = self._top(spec["measurements"])

    # ------------------------------------------------------------ what types of effects ask for

    def histogram(self, values: Sequence[float], *words: str, errors: Sequence[float] | None = None) -> str:
        """The name of a new histogram of these contents, made from words."""
        name = self._unused("_".join(map(_plain, words)), self.histograms)
        contents = np.asarray(values, dtype=np.float64)
        self.histograms[name] = contents, np.zeros_like(contents) if errors is None else np.asarray(errors, np.float64)
        return name

    def setting(self, name: str) -> ParameterSet:
        """Start, range and constraint of a parameter in the first measurement."""
        return self.sets[0][name]

    def formula(self, name: str, text: str) -> None:
        """A Function element of this name."""
        self.functions[name] = text

    # ------------------------------------------------------------ parts

    def _channel(self, channel: Mapping[str, Any], observed: Sequence[float]) -> Element:
        channel = copy.deepcopy(dict(channel))
        result = Element("Channel", Name=channel["name"], InputFile=self.file)
        SubElement(result, "Data", HistoName=self.histogram(observed, channel["name"], "data"))
        kind = STATERROR.kind
        names = {m["name"] for s in channel["samples"] for m in s["modifiers"] if m["type"] == kind}
        if len(names) > 1:
            raise InputError(
                f"channel '{channel['name']}' has the statistical errors {', '.join(sorted(names))}; HistFactory XML "
                "has one for each channel"
            )
        for name in names:
            setting = self.statistical.get(name, {})
            STATERROR.finish(channel, setting.get("threshold", 0.0))
            word = "Poisson" if setting.get("constraint") == "poisson" else "Gaussian"
            SubElement(result, "StatErrorConfig", RelErrorThreshold="0", ConstraintType=word)
            if name != f"{kind}_{channel['name']}":
                self.told.append(
                    f"the statistical errors '{name}' of channel '{channel['name']}' are called "
                    f"'{kind}_{channel['name']}' when the XML files are read"
                )
        for sample in channel["samples"]:
            result.append(self._sample(channel["name"], sample))
        return result

    def _sample(self, channel: str, sample: Mapping[str, Any]) -> Element:
        modifiers = sample["modifiers"]
        errors = next((m["data"] for m in modifiers if m["type"] == STATERROR.kind), None)
        result = Element(
            "Sample", Name=sample["name"], NormalizeByTheory=str(any(m["type"] == LUMI.kind for m in modifiers)),
            HistoName=self.histogram(sample["data"], channel, sample["name"], errors=errors),
        )  # fmt: skip
        yields = np.asarray(sample["data"], dtype=np.float64)
        for modifier in modifiers:
            element = EFFECTS[modifier["type"]].to_xml(Use(channel, sample["name"], yields, modifier), self)
            if element is not None:
                result.append(element)
        return result

    def _top(self, measurements: Sequence[Mapping[str, Any]]) -> Element:
        top = Element("Combination", OutputFilePrefix=f"./{self.stem}")
        for name, text in self.functions.items():
            expression = parse(text)
            dependents = [self._dependent(word) for word in names_in(expression)]
            SubElement(top, "Function", Name=name, Expression=written(expression, self._word),
                       Dependents=",".join(dependents))  # fmt: skip
        for name in self.channels:
            SubElement(top, "Input").text = f"./{name}"
        for measurement, sets in zip(measurements, self.sets, strict=True):
            top.append(self._measurement(measurement, sets))
        return top

    def _measurement(self, measurement: Mapping[str, Any], sets: Mapping[str, ParameterSet]) -> Element:
        lumi = sets.get(LUMINOSITY)
        level, width = (1.0, 0.1) if lumi is None else (lumi.auxdata[0], lumi.widths[0])
        result = Element("Measurement", Name=measurement["name"], Lumi=repr(level), LumiRelErr=repr(width / level))
        SubElement(result, "POI").text = self._word(measurement["config"]["poi"])
        if lumi is None:
            SubElement(result, "ParamSetting", Const="True").text = "Lumi"
        for name, group in sets.items():
            if not group.scalar:
                continue
            there = level if name == LUMINOSITY else self.free.get(name, self.defaults[name]).inits[0]
            attributes = {"Val": repr(group.inits[0])} if group.inits[0] != there else {}
            if group.fixed[0]:
                attributes["Const"] = "True"
            if attributes:
                SubElement(result, "ParamSetting", attributes).text = self._word(name)
        return result

    # ------------------------------------------------------------ names

    def _word(self, name: str) -> str:
        """What ROOT calls a parameter."""
        if name == LUMINOSITY:
            return "Lumi"
        if not WORD.fullmatch(name) or name.startswith(("alpha_", "gamma_")):
            raise InputError(
                f"HistFactory XML cannot set the parameter '{name}': its name must be a word that does not begin with "
                "alpha_ or gamma_; rename it (bumpfit workspace rename)"
            )
        return name if name in self.free else f"alpha_{name}"

    def _dependent(self, name: str) -> str:
        """A parameter of a function, with start and range where nothing else gives them."""
        group = self.sets[0].get(name)
        if group is None:
            raise InputError(f"HistFactory XML has no formulas of single bins, and one names '{name}'")
        if name not in self.free and name not in self.modified:
            raise InputError(f"HistFactory XML has no constraint of '{name}', which only a formula has")
        if name in self.modified:
            return self._word(name)
        low, high = group.bounds[0]
        return f"{self._word(name)}[{group.inits[0]!r},{low!r},{high!r}]"

    @staticmethod
    def _unused(stem: str, taken: Mapping[str, Any], end: str = "") -> str:
        name, number = f"{stem}{end}", 1
        while name in taken:
            number += 1
            name = f"{stem}_{number}{end}"
        return name

    # ------------------------------------------------------------ what the format has no place for

    def _check(self, configs: Sequence[Mapping[str, Any]]) -> None:
        """Raise InputError for settings that the format cannot hold; collect what is left out."""
        for config, sets in zip(configs, self.sets, strict=True):
            if config.get("groups"):
                self.told.append("groups of parameters have no place in HistFactory XML and are left out")
            for name, group in sets.items():
                default = self.defaults[name]
                if group.constraint != default.constraint or (
                    name != LUMINOSITY and not _same_constraint(group, default)
                ):
                    raise InputError(
                        f"HistFactory XML cannot hold the auxiliary value or width of '{name}'; try format='hs3'"
                    )
                if not group.scalar and (group.inits, group.fixed) != (default.inits, default.fixed):
                    raise InputError(f"HistFactory XML cannot set start or hold of the bins of '{name}'")
                if name in self.free and group.scalar:
                    if group.bounds != self.free[name].bounds:
                        raise InputError(f"the measurements give '{name}' different ranges; HistFactory XML has one")
                elif group.bounds != (_lumi_bounds(group) if name == LUMINOSITY else default.bounds):
                    self.told.append(f"the range of '{name}' has no place in HistFactory XML and is left out")


def _plain(word: str) -> str:
    """A word for names of files and histograms."""
    return re.sub(r"\W", "_", word)


def _same_constraint(one: ParameterSet, other: ParameterSet) -> bool:
    pairs = zip((*one.auxdata, *one.widths), (*other.auxdata, *other.widths), strict=True)
    return all(same_numbers(a, b) for a, b in pairs)


def _lumi_bounds(group: ParameterSet) -> tuple[tuple[float, float], ...]:
    """The range that a reader gives the luminosity of a measurement."""
    (level,), (width,) = group.auxdata, group.widths
    return ((level - 5 * width, level + 5 * width),)


def _kept(entries: Sequence[Mapping[str, Any]], modified: Collection[str]) -> list[dict[str, Any]]:
    """Settings without those that ParamSetting holds: kinds of constraints, the luminosity, what only formulas name."""
    result = []
    for entry in entries:
        name = entry["name"]
        if name == LUMINOSITY:
            result.append({key: value for key, value in entry.items() if key != "fixed"})
        elif name in modified:
            result.append({key: entry[key] for key in ("name", "constraint", "threshold") if key in entry})
        else:
            result.append(dict(entry))
    return result
