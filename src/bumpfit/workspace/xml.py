"""Read HistFactory's XML with ROOT histograms.

The format is that of ROOT's reader (HistFactorySchema.dtd and ConfigParser.cxx of ROOT 6.40); elements and attributes
that are not in it are refused. Where something is absent that ROOT and pyhf 0.7.6, which writes such files too, take
for different things, it is read as pyhf does and told: no StatErrorConfig, no NormalizeByTheory, no ConstraintType.
"""

from __future__ import annotations

import math
import os
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from bumpfit.errors import InputError, InputWarning
from bumpfit.workspace.dependents import dependents, numbered
from bumpfit.workspace.effects import EFFECTS
from bumpfit.workspace.effects_bins import STATERROR
from bumpfit.workspace.effects_scale import LUMI, LUMINOSITY
from bumpfit.workspace.formula import Name, names_in, parse, replaced, written
from bumpfit.workspace.templates import RootHistograms

HISTOGRAM = ("HistoName", "HistoPath", "InputFile")
COMBINATION = ("OutputFilePrefix", "Mode")
MEASUREMENT = ("Name", "Lumi", "LumiRelErr", "BinLow", "BinHigh", "Mode", "ExportOnly")
CHANNEL = ("Name", *HISTOGRAM)
SAMPLE = ("Name", *HISTOGRAM, "NormalizeByTheory")
DATA = ("Name", *HISTOGRAM)
STAT_CONFIG = ("RelErrorThreshold", "ConstraintType")
FUNCTION = ("Name", "Expression", "Dependents")


def read_xml(path: str | Path, folder: str | Path | None = None) -> dict[str, Any]:
    """The HistFactory JSON workspace of a top-level XML file.

    `folder`: where relative file names in it start, by default the first of the XML file's folder, the two above
    and the working folder that has the channel files; names that lead out of it are refused. Raises MissingExtraError
    without uproot, InputError for files that are missing or cannot be read, and for elements that are not known. Warns
    (InputWarning) where defaults of ROOT and pyhf differ.
    """
    source = Path(path)
    root = _folder(source, folder)
    top = _parse(source)
    _known(top, COMBINATION, ("Input", "Measurement", "Function"), source)
    formulas = _functions(top, source)
    told: list[str] = []
    with _Files(root) as reader:
        try:
            channels = [
                ChannelReader(inside(root, (e.text or "").strip(), source), reader, formulas, told)
                for e in top.findall("Input")
            ]
            spec = _workspace(top, channels, source)
        except InputError:
            raise
        except Exception as error:  # uproot passes on whatever a damaged file makes of it
            reason = str(error).strip().splitlines()
            raise InputError(
                f"cannot read the workspace '{path}': {reason[0] if reason else type(error).__name__}"
            ) from error
    for text in dict.fromkeys(told):
        warnings.warn(text, InputWarning, stacklevel=3)
    return spec


class _Files(RootHistograms):
    """ROOT files below a folder, opened once."""

    def __init__(self, root: Path) -> None:
        super().__init__("histograms of XML workspaces")
        self.root = root

    def histogram(self, file: str, folder: str, name: str, where: str) -> tuple[list[float], list[float]]:
        """Contents and errors of a histogram."""
        if not file or not name:
            raise InputError(f"{where} names no histogram: HistoName and InputFile are needed")
        place = inside(self.root, file, where)
        for key in (name, f"{folder.strip('/')}/{name}"):
            found = self.find(place, key.strip("/"), where, file)
            if found is not None:
                return found.values.tolist(), found.errors.tolist()
        raise InputError(f"the histogram '{name}' of {where} is not in '{file}'")


class ChannelReader:
    """Reads the XML file of one channel; the types of effects ask it for histograms, flags and settings."""

    def __init__(self, path: Path, files: _Files, formulas: Mapping[str, str], told: list[str]) -> None:
        self.files, self.formulas, self.told, self.path = files, formulas, told, path
        self.settings: dict[str, dict[str, Any]] = {}
        self.errors: list[float] = []
        self.scales_with_lumi: list[str] = []
        channel = _parse(path)
        _known(channel, CHANNEL, ("Data", "StatErrorConfig", "Sample"), path)
        self.name = _attribute(channel, "Name", path)
        self.defaults = {key: channel.attrib.get(key, "") for key in HISTOGRAM}
        data = channel.find("Data")
        if data is None:
            raise InputError(
                f"channel '{self.name}' of '{path}' has no Data element; bumpfit reads workspaces with data"
            )
        _known(data, DATA, (), path)
        place = {key: data.attrib.get(key, self.defaults[key]) for key in HISTOGRAM}
        where = f"the data of channel '{self.name}'"
        self.data = files.histogram(place["InputFile"], place["HistoPath"], place["HistoName"], where)[0]
        samples = [self._sample(element) for element in channel.findall("Sample")]
        if not samples:
            raise InputError(f"channel '{self.name}' of '{path}' has no samples")
        self.samples = samples
        self.channel = {"name": self.name, "samples": samples}
        configs = channel.findall("StatErrorConfig")
        if len(configs) > 1:
            raise InputError(f"channel '{self.name}' of '{path}' has {len(configs)} StatErrorConfig elements; keep one")
        config = configs[0] if configs else None
        if config is not None:
            _known(config, STAT_CONFIG, (), path)
        STATERROR.finish_xml(self.channel, config, self)

    def _sample(self, element: Element) -> dict[str, Any]:
        tags = {effect.xml: effect for effect in EFFECTS.values() if effect.xml}
        _known(element, SAMPLE, tags, self.path)
        name = _attribute(element, "Name", self.path)
        place = {key: element.attrib.get(key, self.defaults[key]) for key in HISTOGRAM}
        where = f"sample '{name}' of channel '{self.name}'"
        yields, self.errors = self.files.histogram(place["InputFile"], place["HistoPath"], place["HistoName"], where)
        self.place = {"InputFile": place["InputFile"], "HistoPath": place["HistoPath"]}
        modifiers: list[Any] = []
        if self.flag(element, "NormalizeByTheory"):
            modifiers.append({"name": LUMINOSITY, "type": LUMI.kind, "data": None})
        elif "NormalizeByTheory" not in element.attrib:
            self.scales_with_lumi.append(name)
        for child in element:
            effect = tags[child.tag]
            _known(child, effect.xml_attributes, (), self.path)
            try:
                found = effect.from_xml(child, self, yields)
            except KeyError as error:
                raise InputError(f"the {child.tag} element of {where} has no attribute {error}") from error
            except ValueError as error:
                raise InputError(f"the {child.tag} element of {where}: {error}") from error
            if found is not None:
                modifiers.append(found)
        return {"name": name, "data": yields, "modifiers": modifiers}

    # ------------------------------------------------------------ what types of effects ask for

    def contents(self, element: Element, name: str, folder: str, file: str) -> list[float]:
        """Contents of the histogram that three attributes of an element name; file and folder are the sample's if not
        given.
        """
        place = (element.attrib.get(file, self.place["InputFile"]), element.attrib.get(folder, self.place["HistoPath"]))
        where = f"{element.tag} '{element.attrib.get('Name', '')}' of channel '{self.name}'"
        return self.files.histogram(*place, element.attrib[name], where)[0]

    def flag(self, element: Element, name: str) -> bool:
        """A True or False of an element; False where it is absent."""
        return _flag(element, name, self.path)

    def set(self, name: str, setting: Mapping[str, Any]) -> None:
        """Settings of a parameter; raises InputError where they contradict earlier ones."""
        _merge(self.settings, name, setting)

    def tell(self, text: str) -> None:
        """A sentence for the user about a default."""
        self.told.append(text)


def _merge(settings: dict[str, dict[str, Any]], name: str, setting: Mapping[str, Any]) -> None:
    entry = settings.setdefault(name, {"name": name})
    for key, value in setting.items():
        if entry.setdefault(key, value) != value:
            raise InputError(f"the XML files give parameter '{name}' different {key}: {entry[key]} and {value}")


def _workspace(top: Element, channels: list[ChannelReader], source: Path) -> dict[str, Any]:
    settings: dict[str, dict[str, Any]] = {}
    for channel in channels:
        for name, setting in channel.settings.items():
            _merge(settings, name, setting)
    for name, setting in _dependents(top, source).items():
        if name not in settings:
            settings[name] = setting
    measurements = [_measurement(element, settings, channels, source) for element in top.findall("Measurement")]
    if not measurements:
        raise InputError(f"'{source}' has no Measurement element")
    return {
        "channels": [channel.channel for channel in channels],
        "observations": [{"name": channel.name, "data": channel.data} for channel in channels],
        "measurements": measurements,
        "version": "1.0.0",
    }


def _measurement(
    element: Element, found: Mapping[str, Mapping[str, Any]], channels: list[ChannelReader], source: Path
) -> dict[str, Any]:
    """One measurement: the luminosity, settings of the channel files, and its own ones, which come last."""
    _known(element, MEASUREMENT, ("POI", "ParamSetting"), source)
    name = _attribute(element, "Name", source)
    if element.attrib.get("BinLow", "0") != "0" or (
        "BinHigh" in element.attrib and _number(element, "BinHigh", source) < max(len(c.data) for c in channels)
    ):
        raise InputError(
            f"measurement '{name}' of '{source}' leaves out bins (BinLow, BinHigh), which is not supported"
        )
    settings = {key: dict(value) for key, value in found.items()}
    samples = [sample for c in channels for sample in c.samples]
    kinds = {m["name"]: m["type"] for sample in samples for m in sample["modifiers"]}
    if LUMINOSITY in kinds:
        lumi, error = (_number(element, key, source) for key in ("Lumi", "LumiRelErr"))
        width = lumi * error
        settings[LUMINOSITY] = {
            "name": LUMINOSITY, "auxdata": [lumi], "sigmas": [width], "inits": [lumi],
            "bounds": [[lumi - 5 * width, lumi + 5 * width]],
        }  # fmt: skip
    for entry in element.findall("ParamSetting"):
        _known(entry, ("Val", "Const"), (), source)
        for word in (entry.text or "").split():
            parameter = _parameter(word)
            if parameter == LUMINOSITY and LUMINOSITY not in kinds:
                continue
            target = settings.setdefault(parameter, {"name": parameter})
            if _flag(entry, "Const", source):
                target["fixed"] = True
            if "Val" in entry.attrib:
                target["inits"] = [_number(entry, "Val", source)]
    loose = [s for c in channels for s in c.scales_with_lumi]
    if loose and LUMINOSITY in kinds and not settings[LUMINOSITY].get("fixed"):
        channels[0].tell(
            f"the samples {', '.join(dict.fromkeys(loose))} have no NormalizeByTheory; they are read as not scaling "
            "with the "
            "luminosity, as pyhf does, where ROOT lets them scale"
        )
    interest = element.find("POI")
    if interest is None or not (interest.text or "").strip():
        raise InputError(f"measurement '{name}' of '{source}' has no parameter of interest (POI)")
    return {"name": name, "config": {"poi": (interest.text or "").split()[0], "parameters": list(settings.values())}}


def _parameter(word: str) -> str:
    """The parameter that ROOT calls by this name."""
    if word == "Lumi":
        return LUMINOSITY
    if word.startswith("gamma_"):
        raise InputError(f"the parameter '{word}' of a single bin cannot be set from XML; remove its ParamSetting")
    return word.removeprefix("alpha_")


def _functions(top: Element, source: Path) -> dict[str, str]:
    """Formulas of the Function elements by name: an Expression of its Dependents, NAME or NAME[VALUE,LOW,HIGH]."""
    result: dict[str, str] = {}
    for element in top.findall("Function"):
        _known(element, FUNCTION, (), source)
        text = _attribute(element, "Expression", source)
        names = numbered(_attribute(element, "Dependents", source))
        expression = parse(_by_name(text, names))
        unknown = set(names_in(expression)) - set(names)
        if unknown:
            raise InputError(f"the Function '{element.attrib.get('Name')}' names {min(unknown)}, which is no dependent")
        expression = replaced(expression, {name: Name(_parameter(name)) for name in names})
        result[_attribute(element, "Name", source)] = written(expression)
    return result


def _dependents(top: Element, source: Path) -> dict[str, dict[str, Any]]:
    """Start and range of parameters that stand with the dependents of functions."""
    result: dict[str, dict[str, Any]] = {}
    for element in top.findall("Function"):
        for name, setting in dependents(_attribute(element, "Dependents", source)).items():
            if setting is not None:
                value, low, high = setting
                result[name] = {"name": name, "inits": [value], "bounds": [[low, high]]}
    return result


def _by_name(text: str, names: list[str]) -> str:
    """An expression with names in place of RooFit's numbers of dependents, @0 or x[0]."""

    def name(found: re.Match[str]) -> str:
        number = int(found.group(1) or found.group(2))
        if number >= len(names):
            raise InputError(f"the expression '{text}' of a Function has no dependent {found.group()}")
        return f'"{names[number]}"'

    return re.sub(r"@(\d+)|\bx\[(\d+)\]", name, text)


def _flag(element: Element, name: str, source: Path) -> bool:
    word = element.attrib.get(name, "False")
    if word.lower() not in ("true", "false"):
        raise InputError(f"{name} of the {element.tag} element in '{source}' must be True or False, got '{word}'")
    return word.lower() == "true"


def _number(element: Element, name: str, source: Path) -> float:
    word = _attribute(element, name, source)
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{name} of the {element.tag} element in '{source}' must be a number, got '{word}'")
    return value


def _attribute(element: Element, name: str, source: Path) -> str:
    if name not in element.attrib:
        raise InputError(f"the {element.tag} element in '{source}' has no attribute {name}")
    return element.attrib[name]


def _known(element: Element, attributes: Collection[str], children: Collection[str], source: Path) -> None:
    """Raise InputError for attributes and elements that are not known: they could change the likelihood."""
    for name in element.attrib:
        if name not in attributes:
            raise InputError(f"unknown attribute '{name}' of the {element.tag} element in '{source}'")
    for child in element:
        if isinstance(child.tag, str) and child.tag not in children:
            raise InputError(f"cannot read the element {child.tag} within {element.tag} in '{source}'")


def _parse(source: Path) -> Element:
    try:
        return ElementTree.parse(source).getroot()
    except OSError as error:
        raise InputError(f"cannot read '{source}': {error.strerror}") from error
    except ElementTree.ParseError as error:
        raise InputError(f"'{source}' is not valid XML: {error}") from error


def inside(root: Path, name: str, where: object) -> Path:
    """A file that XML names, below `root`; raises InputError for one outside, which another's file could point at."""
    place = Path(os.path.normpath(root / name))
    if not place.absolute().is_relative_to(os.path.abspath(root)):
        raise InputError(
            f"'{where}' names '{name}', which is outside '{root}'; where that is meant, give the folder that holds all "
            "files: --basedir FOLDER"
        )
    return place


def _folder(source: Path, folder: str | Path | None) -> Path:
    """Where the names in the XML file start."""
    inputs = [element.text for element in _parse(source).findall("Input") if element.text]
    if not inputs:
        raise InputError(f"'{source}' is not a top-level HistFactory file: it has no Input elements")
    above = [source.parent, *source.absolute().parents[1:3]]  # TRExFitter writes JOB/RooStats/JOB.xml
    candidates = [Path(folder)] if folder is not None else [*dict.fromkeys([*above, Path()])]
    for candidate in candidates:
        if all(os.path.exists(candidate / name.strip()) for name in inputs):
            return candidate
    raise InputError(
        f"the channel file '{inputs[0].strip()}' of '{source}' is in none of {', '.join(map(str, candidates))}"
    )
