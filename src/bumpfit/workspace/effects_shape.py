"""An effect on the shape of a sample: yields at plus and minus one standard deviation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bumpfit.workspace.arrays import CODE0, CODE4P
from bumpfit.workspace.effect import Effect, Modifier, Shift, Use, check_bins, floats
from bumpfit.workspace.effects_scale import standard_normal
from bumpfit.workspace.parameters import ParameterSet
from bumpfit.workspace.structure import Path, check_keys, check_numbers

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from bumpfit.workspace.hs3_read import Reader
    from bumpfit.workspace.hs3_write import Writer
    from bumpfit.workspace.xml import ChannelReader
    from bumpfit.workspace.xml_write import XmlWriter

KEYS = ("lo_data", "hi_data")


class HistoSys(Effect):
    """An uncertainty of the shape: yields of all bins at plus and minus one standard deviation."""

    kind = "histosys"
    xml = "HistoSys"
    xml_attributes = ("Name", *(f"Histo{what}{end}" for end in ("Low", "High") for what in ("File", "Path", "Name")))
    interpolations: ClassVar[Mapping[str, int]] = {"code4p": CODE4P, "code0": CODE0}
    hs3_codes: ClassVar[Mapping[int, str]] = {4: "code4p", 0: "code0"}  # PiecewiseInterpolation

    def modifier(self, name: str, data: Any = None) -> dict[str, Any]:
        """From the pair of yields (lo, hi), shape (B,) each."""
        lo, hi = (floats(np.atleast_1d(values)) for values in data)
        return super().modifier(name, {"lo_data": lo, "hi_data": hi})

    def check_structure(self, data: Any, path: Path, spec: Any) -> None:
        """Lists of numbers lo_data and hi_data."""
        check_keys(data, KEYS, (), path, spec)
        for key in KEYS:
            check_numbers(data[key], [*path, key], spec)

    def check_content(self, data: Any, path: Path, size: int, spec: Any) -> None:
        """One finite number a bin in each."""
        for key in KEYS:
            check_bins(data[key], [*path, key], size, spec, negative=True)

    def parameters(self, name: str, uses: Sequence[Use], setting: Mapping[str, Any]) -> ParameterSet:
        """One parameter alpha with a unit Gaussian, which it shares with normalisations of the same name."""
        return standard_normal(name)

    def part(self, use: Use, code: int) -> Shift:
        """Differences to the yields."""
        data = use.modifier["data"]
        up = np.asarray(data["hi_data"], dtype=np.float64) - use.yields
        return Shift(up, use.yields - np.asarray(data["lo_data"], dtype=np.float64), code)

    def from_hs3(self, raw: Modifier, sample: Mapping[str, Any], channel: str, reader: Reader) -> dict[str, Any]:
        """The same yields."""
        name, data = reader.constrained(raw), raw["data"]
        reader.code(self, raw)
        shapes = {"lo_data": floats(data["lo"]["contents"]), "hi_data": floats(data["hi"]["contents"])}
        return {"name": name, "type": self.kind, "data": shapes}

    def to_hs3(self, use: Use, writer: Writer) -> dict[str, Any]:
        """The same yields, and the interpolation code."""
        number, name = writer.code(self)
        lo, hi = (floats(use.modifier["data"][key]) for key in KEYS)
        data = {"lo": {"contents": lo}, "hi": {"contents": hi}, "interpolation": name}
        return {**super().to_hs3(use, writer), "data": data, "interpolation": number}

    def from_xml(self, element: Element, reader: ChannelReader, yields: list[float]) -> dict[str, Any]:
        """Two histograms."""
        lo, hi = (
            reader.contents(element, f"HistoName{end}", f"HistoPath{end}", f"HistoFile{end}") for end in ("Low", "High")
        )
        return {"name": element.attrib["Name"], "type": self.kind, "data": {"lo_data": lo, "hi_data": hi}}

    def to_xml(self, use: Use, writer: XmlWriter) -> Element:
        """Two histograms."""
        data, words = use.modifier["data"], (use.channel, use.sample, use.modifier["name"])
        low, high = (writer.histogram(data[key], *words, end) for key, end in zip(KEYS, ("low", "high"), strict=True))
        return self.element(use, HistoNameLow=low, HistoNameHigh=high)


HISTOSYS = HistoSys()
