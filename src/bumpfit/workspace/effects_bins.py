"""Effects with one parameter a bin: free factors, and uncertainties of single bins."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bumpfit.errors import InputError
from bumpfit.types import Floats
from bumpfit.workspace.effect import Effect, Modifier, PerBin, Use, check_bins, check_list, floats, same_numbers
from bumpfit.workspace.parameters import ParameterSet
from bumpfit.workspace.structure import Path

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from bumpfit.workspace.hs3_read import Reader
    from bumpfit.workspace.hs3_write import Writer
    from bumpfit.workspace.xml import ChannelReader
    from bumpfit.workspace.xml_write import XmlWriter

CONSTRAINTS = {"gaussian": "Gauss", "poisson": "Poisson"}
"""Constraints that the parameters of bins can have, and their names in HS3."""

BIN_RANGE = (1e-10, 10.0)
"""Range of a constrained factor of a bin, as in pyhf."""

TINY_ERROR = 1e-9
"""Stands in HS3 for a relative statistical error of zero; it enters in quadrature."""

GAUSSIAN = re.compile("Gauss(ian)?")


class ShapeFactor(Effect):
    """A free factor for each bin."""

    kind = "shapefactor"
    hs3_priority = 1
    scalar = False
    xml = "ShapeFactor"

    def parameters(self, name: str, uses: Sequence[Use], setting: Mapping[str, Any]) -> ParameterSet:
        """As many free parameters as the first channel has bins."""
        size = uses[0].yields.size
        for use in uses:
            if use.yields.size > size:
                raise InputError(
                    f"{self.kind} '{name}' has {size} bins in an earlier channel but {use.yields.size} in channel "
                    f"'{use.channel}'; mismatching binnings cannot share it"
                )
        return ParameterSet(name, False, (1.0,) * size, ((0.0, 10.0),) * size, (False,) * size)

    def part(self, use: Use, code: int) -> PerBin:
        """One factor a bin."""
        return PerBin()

    def reads_hs3(self, raw: Modifier, reader: Reader) -> bool:
        """RooFit writes free factors as an uncertainty of the bins with a Gaussian constraint and without values."""
        if raw["type"] == ShapeSys.kind:
            return hs3_constraint(raw) == "gaussian" and not any(raw["data"]["vals"])
        return super().reads_hs3(raw, reader)

    def from_hs3(self, raw: Modifier, sample: Mapping[str, Any], channel: str, reader: Reader) -> dict[str, Any]:
        """The group of parameters."""
        return {"name": reader.group(raw, channel), "type": self.kind, "data": None}

    def to_hs3(self, use: Use, writer: Writer) -> dict[str, Any]:
        """The names of the parameters."""
        name = use.modifier["name"]
        return {"name": writer.word(name), "type": self.kind, "parameters": writer.bins(use)}

    def from_xml(self, element: Element, reader: ChannelReader, yields: list[float]) -> dict[str, Any]:
        """Free factors."""
        return {"name": element.attrib["Name"], "type": self.kind, "data": None}

    def to_xml(self, use: Use, writer: XmlWriter) -> Element:
        """The name alone."""
        return self.element(use)


class BinErrors(Effect):
    """Absolute uncertainties of the bins of a sample."""

    scalar = False

    def modifier(self, name: str, data: Any = None) -> dict[str, Any]:
        """From the absolute uncertainties, shape (B,)."""
        return super().modifier(name, floats(np.atleast_1d(data)))

    def check_structure(self, data: Any, path: Path, spec: Any) -> None:
        """A list of numbers."""
        check_list(data, path, spec)

    def check_content(self, data: Any, path: Path, size: int, spec: Any) -> None:
        """One number a bin, none of them negative."""
        check_bins(data, path, size, spec, negative=False)


class ShapeSys(BinErrors):
    """An uncertainty of each bin of a sample, by itself; samples and channels may share it when their relative
    uncertainties are the same.
    """

    kind = "shapesys"
    settings = ("constraint",)
    xml = "ShapeSys"
    xml_attributes = ("Name", "HistoName", "HistoPath", "InputFile", "ConstraintType")

    def parameters(self, name: str, uses: Sequence[Use], setting: Mapping[str, Any]) -> ParameterSet:
        """Factors with tau = (yield / uncertainty)^2 expected events at 1 (Poisson) or this width (Gaussian).

        A bin without yield or uncertainty is held.
        """
        sigmas = self._relative(uses[0])
        for use in uses[1:]:
            here = self._relative(use)
            if len(here) != len(sigmas):
                raise InputError(
                    f"{self.kind} '{name}' is used by {uses[0].where} and by {use.where}, which have other binnings, "
                    "so it cannot be shared"
                )
            for b, (a, c) in enumerate(zip(sigmas, here, strict=True)):
                if a and c and not same_numbers(a, c):
                    raise InputError(
                        f"{self.kind} '{name}' is used by {uses[0].where} and by {use.where} with other relative "
                        f"uncertainties ({a:g} and {c:g} in bin {b}), so it cannot be shared"
                    )
                sigmas[b] = a or c
        return constrained_bins(name, sigmas, chosen_constraint(name, setting, "poisson"))

    @staticmethod
    def _relative(use: Use) -> list[float]:
        pairs = zip(use.modifier["data"], use.yields.tolist(), strict=True)
        return [u / n if u > 0 and n > 0 else 0.0 for u, n in pairs]

    def part(self, use: Use, code: int) -> PerBin:
        """One factor a bin."""
        return PerBin()

    def from_hs3(self, raw: Modifier, sample: Mapping[str, Any], channel: str, reader: Reader) -> dict[str, Any]:
        """Relative uncertainties become absolute ones."""
        name, contents = reader.group(raw, channel), sample["data"]["contents"]
        values = floats(raw["data"]["vals"])
        if len(values) != len(contents):
            raise InputError(f"the {self.kind} '{raw['name']}' has {len(values)} values for {len(contents)} bins")
        if max(values) > 1:
            reader.tell(
                f"the {self.kind} '{raw['name']}' of channel '{channel}' has a relative uncertainty of "
                f"{max(values):g}; "
                "HS3 counts them relative to the yields, so absolute ones have to be divided by them"
            )
        constraint = hs3_constraint(raw) or "poisson"
        if constraint != "poisson":
            reader.set(name, "constraint", constraint)
        return {"name": name, "type": self.kind, "data": [v * n for v, n in zip(values, contents, strict=True)]}

    def to_hs3(self, use: Use, writer: Writer) -> dict[str, Any]:
        """Relative uncertainties, as the widths of the parameters are."""
        widths = writer.widths(use)
        values = [
            s if n > 0 and u > 0 else 0.0 for s, n, u in zip(widths, use.yields, use.modifier["data"], strict=True)
        ]
        word = CONSTRAINTS[writer.constraint(use)]
        return {
            "name": writer.word(use.modifier["name"]), "type": self.kind, "parameters": writer.bins(use),
            "data": {"vals": values}, "constraint": word, "constraint_type": word,
        }  # fmt: skip

    def from_xml(self, element: Element, reader: ChannelReader, yields: list[float]) -> dict[str, Any]:
        """A histogram of relative uncertainties."""
        name = element.attrib["Name"]
        relative = reader.contents(element, "HistoName", "HistoPath", "InputFile")
        word = element.attrib.get("ConstraintType")
        if word is None:
            reader.tell(
                f"{self.xml} '{name}' of channel '{reader.name}' has no ConstraintType; it is read as Poisson, as pyhf "
                "does, where ROOT takes Gaussian"
            )
        elif xml_constraint(word, f"{self.xml} '{name}'") == "gaussian":
            reader.set(name, {"name": name, "constraint": "gaussian"})
        return {"name": name, "type": self.kind, "data": [r * n for r, n in zip(relative, yields, strict=True)]}

    def to_xml(self, use: Use, writer: XmlWriter) -> Element:
        """A histogram of relative uncertainties."""
        name = use.modifier["name"]
        found = writer.histogram(self._relative(use), use.channel, use.sample, name)
        word = "Gaussian" if writer.setting(name).constraint == "normal" else "Poisson"
        return self.element(use, HistoName=found, ConstraintType=word)


class StatError(BinErrors):
    """The statistical uncertainty of simulated samples, of their sum in each bin (Barlow-Beeston light).

    Of its samples in a channel the absolute uncertainties are added in quadrature, the yields linearly.
    """

    kind = "staterror"
    covers_channels = True
    settings = ("constraint", "threshold")
    xml = "StatError"
    xml_attributes = ("Activate", "HistoName", "HistoPath", "InputFile", "HistoFile")

    def parameters(self, name: str, uses: Sequence[Use], setting: Mapping[str, Any]) -> ParameterSet:
        """Factors of the bins of all channels in their order; a bin without uncertainty, or with a relative one below
        the setting `threshold`, is held.
        """
        covered: dict[str, frozenset[str]] = {}
        channels: dict[str, list[Use]] = {}
        for use in uses:
            covered[use.sample] = covered.get(use.sample, frozenset()) | {use.channel}
            channels.setdefault(use.channel, []).append(use)
        if len(set(covered.values())) > 1:
            raise InputError(
                f"{self.kind} '{name}' covers different channels for different samples ({', '.join(sorted(covered))}); "
                "use one name a channel"
            )
        threshold = checked_threshold(setting.get("threshold", 0.0), f"the threshold of '{name}'")
        sigmas: list[float] = []
        starts: dict[str, int] = {}
        for channel, members in channels.items():
            starts[channel] = len(sigmas)
            relative = relative_errors([u.yields for u in members], [u.modifier["data"] for u in members])
            sigmas += [s if s >= threshold else 0.0 for s in relative]
        return constrained_bins(name, sigmas, chosen_constraint(name, setting, "gaussian"), starts)

    def part(self, use: Use, code: int) -> PerBin:
        """One factor a bin."""
        return PerBin()

    def from_hs3(self, raw: Modifier, sample: Mapping[str, Any], channel: str, reader: Reader) -> dict[str, Any]:
        """The errors stand with the sample's contents; threshold and constraint with the channel.

        As in RooFit the channel's block decides; without one the modifier's constraint does, or the Gaussian one.
        """
        name = reader.group(raw, channel)
        block = reader.channel_block(self.kind)
        constraint = hs3_constraint(block) or hs3_constraint(raw) or "gaussian"
        if hs3_constraint(raw) not in (None, constraint):
            reader.tell(
                f"the {self.kind} '{raw['name']}' of channel '{channel}' is {hs3_constraint(raw)}, but the channel "
                "says "
                f"{constraint}, which holds as in RooFit"
            )
        if constraint != "gaussian":
            reader.set(name, "constraint", constraint)
        if "errors" not in sample["data"]:
            reader.tell(
                f"sample '{sample['name']}' of channel '{channel}' has a {self.kind} but no errors; they are read as "
                "zero"
            )
        errors = sample["data"].get("errors") or [0.0] * len(sample["data"]["contents"])
        for error, content in zip(errors, sample["data"]["contents"], strict=True):
            if error > abs(content) > 0:
                reader.tell(
                    f"sample '{sample['name']}' of channel '{channel}' has a statistical error of {error:g} on "
                    f"{content:g} "
                    "events, a relative error above 1"
                )
                break
        return {"name": name, "type": self.kind, "data": floats(errors)}

    def finish(self, channel: Mapping[str, Any], given: object) -> None:
        """Set the errors of bins to zero whose relative error is below a channel's threshold."""
        threshold = checked_threshold(given, f"the threshold of the statistical errors of channel '{channel['name']}'")
        names = {m["name"] for s in channel["samples"] for m in s["modifiers"] if m["type"] == self.kind}
        for name in names:
            uses = [
                (s, m)
                for s in channel["samples"]
                for m in s["modifiers"]
                if (m["type"], m["name"]) == (self.kind, name)
            ]
            relative = relative_errors([s["data"] for s, _ in uses], [m["data"] for _, m in uses])
            for _, m in uses:
                m["data"] = [e if s >= threshold else 0.0 for e, s in zip(m["data"], relative, strict=True)]

    def to_hs3(self, use: Use, writer: Writer) -> dict[str, Any]:
        """The names of the parameters; errors and the channel's block go by the way of `writer`."""
        word = CONSTRAINTS[writer.constraint(use)]
        writer.channel_block(self.kind, {"constraint_type": word, "constraint": word, "relThreshold": 0.0})
        return {
            "name": writer.word(use.modifier["name"]), "type": self.kind, "parameters": writer.bins(use),
            "constraint": word, "constraint_type": word,
        }  # fmt: skip

    def hs3_errors(self, uses: Sequence[Use], writer: Writer) -> list[list[float]]:
        """The statistical errors of the samples of one channel, which give the widths of the parameters.

        RooFit takes an error of exactly zero for a Poisson error of the content.
        """
        widths = writer.widths(uses[0])
        relative = relative_errors([u.yields for u in uses], [u.modifier["data"] for u in uses])
        scale = [w / r if r > 0 and w > 0 else 1.0 for w, r in zip(widths, relative, strict=True)]
        return [
            [
                (0.0 if w == 0 else e * f) or n * TINY_ERROR * (w > 0)
                for e, n, f, w in zip(use.modifier["data"], use.yields.tolist(), scale, widths, strict=True)
            ]
            for use in uses
        ]

    def from_xml(self, element: Element, reader: ChannelReader, yields: list[float]) -> dict[str, Any] | None:
        """The histogram's own errors, or a histogram of relative ones; one name a channel."""
        if not reader.flag(element, "Activate"):
            return None
        if element.attrib.get("HistoName"):
            file = "InputFile" if "InputFile" in element.attrib else "HistoFile"
            relative = reader.contents(element, "HistoName", "HistoPath", file)
            errors = [r * n for r, n in zip(relative, yields, strict=True)]
        else:
            errors = reader.errors
        return {"name": f"{self.kind}_{reader.name}", "type": self.kind, "data": errors}

    def to_xml(self, use: Use, writer: XmlWriter) -> Element:
        """The errors are those of the sample's histogram, its name that of the channel."""
        from xml.etree.ElementTree import Element  # rarely needed

        return Element(str(self.xml), Activate="True")

    def finish_xml(self, channel: Mapping[str, Any], config: Element | None, reader: ChannelReader) -> None:
        """The channel's StatErrorConfig: ROOT's defaults of its attributes are a threshold of 0.05 and Poisson."""
        used = {m["name"] for s in channel["samples"] for m in s["modifiers"] if m["type"] == self.kind}
        if not used:
            return
        if config is None:
            reader.tell(
                f"channel '{reader.name}' has no StatErrorConfig; its statistical errors are read as pyhf does "
                "(Gaussian, "
                "all bins), where ROOT takes Poisson from a relative error of 0.05 on"
            )
            return
        self.finish(channel, config.attrib.get("RelErrorThreshold", 0.05))
        if xml_constraint(config.attrib.get("ConstraintType", "Poisson"), "StatErrorConfig") == "poisson":
            for name in used:
                reader.set(name, {"name": name, "constraint": "poisson"})


def relative_errors(yields: Sequence[Floats | list[float]], errors: Sequence[list[float]]) -> list[float]:
    """Relative error of the sum of samples in each bin: errors in quadrature over the sum; 0 where that is 0."""
    total = np.sum(np.asarray(yields, dtype=np.float64), axis=0)
    error = np.sqrt(np.sum(np.square(np.asarray(errors, dtype=np.float64)), axis=0))
    return [float(e / t) if t > 0 else 0.0 for e, t in zip(error, total, strict=True)]


def checked_threshold(given: Any, where: str) -> float:
    """A number, or the text of one, from 0 on; raises InputError for anything else."""
    try:
        threshold = float(given)
    except (TypeError, ValueError):
        threshold = math.nan
    if not 0 <= threshold < math.inf:
        raise InputError(f"{where} must be a relative error from 0 on, got {given!r}")
    return threshold


def chosen_constraint(name: str, setting: Mapping[str, Any], default: str) -> str:
    """The constraint that the measurement chose for the parameters of bins."""
    word = setting.get("constraint", default)
    if word not in CONSTRAINTS:
        raise InputError(f"the constraint of '{name}' must be one of {', '.join(CONSTRAINTS)}, got {word!r}")
    return str(word)


def constrained_bins(
    name: str, sigmas: Sequence[float], constraint: str, starts: Mapping[str, int] = {}
) -> ParameterSet:
    """Factors with relative uncertainties; a bin without one is held.

    It then keeps a constraint with a unit width, which adds a constant to the likelihood (pyhf does the same).
    """
    size = len(sigmas)
    fixed, ranges = tuple(s == 0 for s in sigmas), (BIN_RANGE,) * size
    if constraint == "poisson":
        factors = tuple(1.0 if s == 0 else (1 / s) * (1 / s) for s in sigmas)
        return ParameterSet(name, False, (1.0,) * size, ranges, fixed, "poisson", factors, factors, dict(starts))
    widths = tuple(1.0 if s == 0 else s for s in sigmas)
    return ParameterSet(name, False, (1.0,) * size, ranges, fixed, "normal", widths, (1.0,) * size, dict(starts))


def hs3_constraint(raw: Mapping[str, Any]) -> Literal["gaussian", "poisson"] | None:
    """The constraint that an HS3 object names; None when it names none."""
    word = raw.get("constraint_type", raw.get("constraint"))
    if word is None:
        return None
    if word == "Poisson":
        return "poisson"
    if GAUSSIAN.fullmatch(str(word)):
        return "gaussian"
    raise InputError(
        f"cannot read the {word!r} constraint of '{raw.get('name', 'a channel')}'; known are Gauss and Poisson"
    )


def xml_constraint(word: str, where: str) -> str:
    """The constraint that an attribute of HistFactory's XML names."""
    if word in ("Poisson", "Pois"):
        return "poisson"
    if GAUSSIAN.fullmatch(word):
        return "gaussian"
    raise InputError(f"cannot read the ConstraintType {word!r} of {where}; known are Gaussian and Poisson")


SHAPEFACTOR, SHAPESYS, STATERROR = ShapeFactor(), ShapeSys(), StatError()
