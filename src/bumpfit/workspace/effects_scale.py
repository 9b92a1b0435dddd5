"""Effects on the normalisation of a sample: a free factor, the luminosity, an interpolated factor, a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bumpfit.errors import InputError
from bumpfit.types import Floats
from bumpfit.workspace.arrays import CODE1, CODE4, LINEAR
from bumpfit.workspace.effect import Effect, Modifier, Scale, Use, check_positive, numeric
from bumpfit.workspace.formula import names_in, parse
from bumpfit.workspace.parameters import ParameterSet
from bumpfit.workspace.structure import Path, check_keys, fault, place

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from bumpfit.workspace.hs3_read import Reader
    from bumpfit.workspace.hs3_write import Writer
    from bumpfit.workspace.xml import ChannelReader
    from bumpfit.workspace.xml_write import XmlWriter

# Inverse of the conditions of code 4 (value, slope and curvature of lo^-alpha and hi^alpha at alpha = -1 and 1) on a
# sixth-order polynomial without constant term; rows give the coefficients of alpha to alpha^6 (CERN-OPEN-2012-016,
# section 4.1.4)
CODE4_INVERSE = (
    np.array(
        [
            [15, -15, -7, -7, 1, -1],
            [24, 24, -9, 9, 1, 1],
            [-10, 10, 10, 10, -2, 2],
            [-24, -24, 14, -14, -2, -2],
            [3, -3, -3, -3, 1, -1],
            [8, 8, -5, 5, 1, 1],
        ]
    )
    / 16.0
)

LUMINOSITY = "lumi"
"""Name of the only parameter that the luminosity may have."""


def code4_coefficients(lo: float, hi: float) -> Floats:
    """ln(lo), ln(hi) and the polynomial coefficients of interpolation code 4, shape (8,)."""
    log_lo, log_hi = np.log(lo), np.log(hi)
    conditions = [hi - 1.0, lo - 1.0, log_hi * hi, -log_lo * lo, log_hi**2 * hi, log_lo**2 * lo]
    return np.array([log_lo, log_hi, *(CODE4_INVERSE @ conditions)])


class NormFactor(Effect):
    """A free factor, such as a signal strength."""

    kind = "normfactor"
    xml = "NormFactor"
    xml_attributes = ("Name", "Val", "Low", "High", "Const")

    def parameters(self, name: str, uses: Sequence[Use], setting: Mapping[str, Any]) -> ParameterSet:
        """One free parameter between 0 and 10."""
        return ParameterSet(name, True, (1.0,), ((0.0, 10.0),), (False,))

    def part(self, use: Use, code: int) -> Scale:
        """The parameter itself is the factor."""
        return Scale(LINEAR, np.zeros(8))

    def from_hs3(self, raw: Modifier, sample: Mapping[str, Any], channel: str, reader: Reader) -> dict[str, Any]:
        """The parameter's name is the modifier's."""
        return {"name": reader.scalar(raw.get("parameter", raw["name"])), "type": self.kind, "data": None}

    def from_xml(self, element: Element, reader: ChannelReader, yields: list[float]) -> dict[str, Any]:
        """Start and range stand with it; ROOT's defaults are 1 and 1 to 1."""
        name = element.attrib["Name"]
        setting: dict[str, Any] = {"name": name, "inits": [float(element.attrib["Val"])]}
        setting["bounds"] = [[float(element.attrib["Low"]), float(element.attrib["High"])]]
        if reader.flag(element, "Const"):
            setting["fixed"] = True
        if name not in reader.formulas:
            reader.set(name, setting)
            return {"name": name, "type": self.kind, "data": None}
        return {"name": name, "type": NORMFORMULA.kind, "data": {"formula": reader.formulas[name]}}

    def to_xml(self, use: Use, writer: XmlWriter) -> Element:
        """Start and range stand with it."""
        setting = writer.setting(use.modifier["name"])
        low, high = setting.bounds[0]
        return self.element(use, Val=setting.inits[0], Low=low, High=high)


class Lumi(Effect):
    """The luminosity: one constrained factor for all samples that scale with it."""

    kind = "lumi"
    hs3_priority = 1

    def parameters(self, name: str, uses: Sequence[Use], setting: Mapping[str, Any]) -> ParameterSet:
        """One parameter; start, range, auxiliary value and width come from the measurement."""
        if name != LUMINOSITY:
            raise InputError(f"the luminosity's parameter must be called '{LUMINOSITY}', got '{name}'")
        return ParameterSet(name, True, (), (), (False,), "normal", (), ())

    def part(self, use: Use, code: int) -> Scale:
        """The parameter itself is the factor."""
        return Scale(LINEAR, np.zeros(8))

    def reads_hs3(self, raw: Modifier, reader: Reader) -> bool:
        """A free factor with a constraint."""
        return bool(raw["type"] == NormFactor.kind and raw.get("constraint_name") is not None)

    def from_hs3(self, raw: Modifier, sample: Mapping[str, Any], channel: str, reader: Reader) -> dict[str, Any]:
        """Whatever its name, it becomes the luminosity; there can be one."""
        name = raw.get("parameter", raw["name"])
        reader.constraint(raw, name, LUMINOSITY)
        return {"name": LUMINOSITY, "type": self.kind, "data": None}

    def to_hs3(self, use: Use, writer: Writer) -> dict[str, Any]:
        """A free factor with a constraint."""
        return {**super().to_hs3(use, writer), "type": NormFactor.kind}

    def to_xml(self, use: Use, writer: XmlWriter) -> None:
        """The sample's NormalizeByTheory says it."""


class NormSys(Effect):
    """An uncertainty of the normalisation: factors hi and lo at plus and minus one standard deviation."""

    kind = "normsys"
    xml = "OverallSys"
    xml_attributes = ("Name", "Low", "High")
    interpolations: ClassVar[Mapping[str, int]] = {"code4": CODE4, "code1": CODE1}
    hs3_codes: ClassVar[Mapping[int, str]] = {
        5: "code4",
        1: "code1",
        4: "code4",
    }  # FlexibleInterpVar; 4 is RooFit's older number

    def modifier(self, name: str, data: Any = None) -> dict[str, Any]:
        """From the pair of factors (lo, hi)."""
        lo, hi = data
        return super().modifier(name, {"lo": float(lo), "hi": float(hi)})

    def check_structure(self, data: Any, path: Path, spec: Any) -> None:
        """Numbers lo and hi."""
        check_keys(data, ("lo", "hi"), (), path, spec)
        numeric(data, ("lo", "hi"), path, spec)

    def check_content(self, data: Any, path: Path, size: int, spec: Any) -> None:
        """Both positive."""
        check_positive(data, ("lo", "hi"), f"a {self.kind} factor", path[:-1], spec)

    def parameters(self, name: str, uses: Sequence[Use], setting: Mapping[str, Any]) -> ParameterSet:
        """One parameter alpha with a unit Gaussian, which it shares with shapes of the same name."""
        return standard_normal(name)

    def part(self, use: Use, code: int) -> Scale:
        """hi^alpha and lo^-alpha, with a polynomial between (code 4)."""
        data = use.modifier["data"]
        return Scale(code, code4_coefficients(data["lo"], data["hi"]))

    def from_hs3(self, raw: Modifier, sample: Mapping[str, Any], channel: str, reader: Reader) -> dict[str, Any]:
        """The same factors."""
        name, data = reader.constrained(raw), raw["data"]
        reader.code(self, raw)
        return {"name": name, "type": self.kind, "data": {"lo": float(data["lo"]), "hi": float(data["hi"])}}

    def to_hs3(self, use: Use, writer: Writer) -> dict[str, Any]:
        """The same factors, and the interpolation code."""
        number, name = writer.code(self)
        data = use.modifier["data"]
        return {
            **super().to_hs3(use, writer),
            "data": {"lo": data["lo"], "hi": data["hi"], "interpolation": name},
            "interpolation": number,
        }

    def from_xml(self, element: Element, reader: ChannelReader, yields: list[float]) -> dict[str, Any]:
        """The same factors."""
        data = {"lo": float(element.attrib["Low"]), "hi": float(element.attrib["High"])}
        return {"name": element.attrib["Name"], "type": self.kind, "data": data}

    def to_xml(self, use: Use, writer: XmlWriter) -> Element:
        """The same factors."""
        data = use.modifier["data"]
        return self.element(use, Low=float(data["lo"]), High=float(data["hi"]))


class NormFormula(Effect):
    """A factor that is a formula of parameters (Combine's `rateParam`)."""

    kind = "normformula"
    hs3_priority = 0

    def modifier(self, name: str, data: Any = None) -> dict[str, Any]:
        """From the text of the formula."""
        return super().modifier(name, {"formula": data})

    def check_structure(self, data: Any, path: Path, spec: Any) -> None:
        """A formula that can be read."""
        check_keys(data, ("formula",), (), path, spec)
        if not isinstance(data["formula"], str):
            raise fault([*path, "formula"], spec, "a formula is a text")
        try:
            parse(data["formula"])
        except InputError as error:
            raise InputError(f"at {place(path, spec)}: {error}") from error

    def part(self, use: Use, code: int) -> Scale:
        """The formula's value is the factor."""
        return Scale(LINEAR, np.zeros(8))

    def reads_hs3(self, raw: Modifier, reader: Reader) -> bool:
        """A free factor whose parameter is a function."""
        return bool(raw["type"] == NormFactor.kind and raw.get("parameter", raw["name"]) in reader.functions)

    def from_hs3(self, raw: Modifier, sample: Mapping[str, Any], channel: str, reader: Reader) -> dict[str, Any]:
        """The function's expression."""
        name = raw.get("parameter", raw["name"])
        formula = reader.formula(name)
        if "constraint_name" in raw:
            reader.constraint_within(raw, names_in(parse(formula)))
        return {"name": reader.original(name), "type": self.kind, "data": {"formula": formula}}

    def to_hs3(self, use: Use, writer: Writer) -> dict[str, Any]:
        """A free factor whose parameter is a function."""
        text = use.modifier["data"]["formula"]
        name = writer.function(use.modifier["name"], text)
        return {
            "name": name,
            "type": NormFactor.kind,
            "parameter": name,
            **writer.constraint_within(names_in(parse(text))),
        }

    def to_xml(self, use: Use, writer: XmlWriter) -> Element:
        """A free factor with the name of a function; start and range are those of nothing."""
        writer.formula(use.modifier["name"], use.modifier["data"]["formula"])
        return NORMFACTOR.element(use, Val=1.0, Low=0.0, High=10.0)


def standard_normal(name: str) -> ParameterSet:
    """One parameter with a unit Gaussian constraint at 0 and the range [-5, 5]."""
    return ParameterSet(name, True, (0.0,), ((-5.0, 5.0),), (False,), "normal", (1.0,), (0.0,))


NORMFACTOR, LUMI, NORMSYS, NORMFORMULA = NormFactor(), Lumi(), NormSys(), NormFormula()
