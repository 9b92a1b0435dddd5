"""What one type of systematic effect is: its parameters, what it does to a yield, how files hold it.

A type is one record, a subclass of `Effect` in one of the files effects_*.py; `effects.EFFECTS` lists all of them, and
no other file knows a type by its name. To add one, write its record and put it on that list.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from bumpfit.errors import InputError
from bumpfit.types import Floats
from bumpfit.workspace.parameters import ParameterSet
from bumpfit.workspace.structure import Path, check_keys, check_numbers, fault, finite, is_number, place, shown

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from bumpfit.workspace.hs3_read import Reader
    from bumpfit.workspace.hs3_write import Writer
    from bumpfit.workspace.xml import ChannelReader
    from bumpfit.workspace.xml_write import XmlWriter

Modifier = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Use:
    """One modifier where it stands: the channel, the sample, its yields, shape (B,), and the modifier."""

    channel: str
    sample: str
    yields: Floats
    modifier: Modifier

    @property
    def where(self) -> str:
        """The place in words."""
        return f"sample '{self.sample}' of channel '{self.channel}'"


@dataclasses.dataclass(frozen=True)
class Shift:
    """Adds to the yields, as interpolated by `code`: `up` at alpha = 1, minus `down` at alpha = -1; shape (B,) each."""

    up: Floats
    down: Floats
    code: int


@dataclasses.dataclass(frozen=True)
class Scale:
    """Scales all yields; `coefficients`, shape (8,), as `Compiled.scale_coefficients`."""

    code: int
    coefficients: Floats


@dataclasses.dataclass(frozen=True)
class PerBin:
    """Scales the yield of each bin by a parameter of its own."""


Part = Shift | Scale | PerBin


class Effect:
    """One type of modifier. The methods of this class serve most types of one parameter without data."""

    kind: ClassVar[str]
    """The type in HistFactory JSON."""

    scalar: ClassVar[bool] = True
    """One parameter; False: one a bin, called NAME[0], NAME[1], ..."""

    covers_channels: ClassVar[bool] = False
    """With one parameter a bin: its bins are counted on from channel to channel."""

    settings: ClassVar[tuple[str, ...]] = ()
    """Keys of a parameter's settings that only this type knows, beyond those of pyhf."""

    interpolations: ClassVar[Mapping[str, int]] = {}
    """Names of the interpolation codes with the kernel's codes; the first one is the default."""

    hs3_codes: ClassVar[Mapping[int, str]] = {}
    """Numbers of the interpolation codes in HS3; the first one with a name is written."""

    xml: ClassVar[str | None] = None
    """Element of HistFactory's XML that holds it."""

    xml_attributes: ClassVar[tuple[str, ...]] = ("Name",)

    @property
    def default_code(self) -> str:
        """Name of the default interpolation code."""
        return next(iter(self.interpolations))

    # ------------------------------------------------------------ JSON

    def modifier(self, name: str, data: Any = None) -> dict[str, Any]:
        """A modifier of HistFactory JSON; `data` as each type says, in whatever arrays they come."""
        return {"name": name, "type": self.kind, "data": data}

    def check_structure(self, data: Any, path: Path, spec: Any) -> None:
        """Raise InputError unless the modifier's data have the form that the type asks for."""
        if data is not None:
            raise fault(path, spec, f"{shown(data)} is not of type 'null'")

    def check_content(self, data: Any, path: Path, size: int, spec: Any) -> None:
        """Raise InputError for values that a sample of `size` bins cannot have."""

    # ------------------------------------------------------------ likelihood

    def parameters(self, name: str, uses: Sequence[Use], setting: Mapping[str, Any]) -> ParameterSet:
        """The parameters that modifiers of one name stand for, without the measurement's usual settings.

        `uses` in pyhf's order: by channel, sample, name. `setting` is for the keys of `settings`.
        """
        raise NotImplementedError

    def part(self, use: Use, code: int) -> Part:
        """What it does to the yields; `code` the kernel's interpolation code, for types that have one."""
        raise NotImplementedError

    # ------------------------------------------------------------ HS3

    hs3_priority: ClassVar[int] = 2
    """Types of lower priority numbers are asked first whether an HS3 modifier is theirs."""

    def reads_hs3(self, raw: Modifier, reader: Reader) -> bool:
        """Whether an HS3 modifier is one of this type."""
        return bool(raw["type"] == self.kind)

    def from_hs3(self, raw: Modifier, sample: Mapping[str, Any], channel: str, reader: Reader) -> dict[str, Any]:
        """The modifier of HistFactory JSON; tells `reader` about values, ranges and constraints."""
        raise NotImplementedError

    def to_hs3(self, use: Use, writer: Writer) -> dict[str, Any]:
        """The HS3 modifier."""
        return {"name": writer.word(use.modifier["name"]), "type": self.kind, **writer.one(use.modifier["name"])}

    # ------------------------------------------------------------ XML

    def from_xml(self, element: Element, reader: ChannelReader, yields: list[float]) -> dict[str, Any] | None:
        """The modifier of HistFactory JSON; None for an element without effect."""
        raise NotImplementedError

    def to_xml(self, use: Use, writer: XmlWriter) -> Element | None:
        """The element; None where others hold it. Raises InputError for types that the format does not have."""
        raise InputError(f"HistFactory XML has no {self.kind}, as '{use.modifier['name']}' of {use.where} is")

    def element(self, use: Use, **attributes: str | float) -> Element:
        """An element of this type, with the modifier's name and other attributes."""
        from xml.etree.ElementTree import Element  # rarely needed

        texts = {key: value if isinstance(value, str) else repr(float(value)) for key, value in attributes.items()}
        return Element(str(self.xml), {"Name": use.modifier["name"], **texts})


def check_list(data: Any, path: Path, spec: Any) -> None:
    """Raise InputError unless the data are a list of numbers."""
    check_numbers(data, path, spec)


def check_object(data: Any, keys: Sequence[str], path: Path, spec: Any) -> None:
    """Raise InputError unless the data are an object with exactly these keys."""
    check_keys(data, keys, (), path, spec)


def check_bins(values: Sequence[float], path: Path, size: int, spec: Any, *, negative: bool) -> None:
    """Raise InputError unless there is one finite (and not negative) number a bin."""
    if len(values) != size:
        raise InputError(f"mismatching binnings: {place(path, spec)} has {len(values)} bins but its sample has {size}")
    check_values(values, path, spec, negative=negative, what="an uncertainty")


def check_values(values: Sequence[float], path: Path, spec: Any, *, negative: bool, what: str, hint: str = "") -> None:
    """Raise InputError for numbers that are not finite, or negative where that is not allowed."""
    try:
        array = np.asarray(values, dtype=np.float64)
        if np.isfinite(array).all() and (negative or not (array < 0).any()):
            return
    except OverflowError:  # an integer beyond floating-point numbers, found below
        pass
    for i, value in enumerate(values):
        if not finite(value):
            got = value if isinstance(value, float) else "an integer that is too large"
            raise InputError(f"{what} must be finite, got {got} at {place([*path, i], spec)}")
        if value < 0 and not negative:
            raise InputError(f"{what} must not be negative, got {value} at {place([*path, i], spec)}{hint}")


def check_positive(data: Mapping[str, Any], keys: Iterable[str], what: str, path: Path, spec: Any) -> None:
    """Raise InputError unless these numbers are positive and finite."""
    for key in keys:
        if not (finite(data[key]) and data[key] > 0):
            raise InputError(f"{what} must be positive, got {key} = {data[key]} at {place(path, spec)}")


def numeric(data: Mapping[str, Any], keys: Iterable[str], path: Path, spec: Any) -> None:
    """Raise InputError unless these values are numbers."""
    for key in keys:
        if not is_number(data[key]):
            raise InputError(
                f"not a HistFactory workspace: at {place([*path, key], spec)}: {data[key]!r:.60} is not of type "
                "'number'"
            )


def floats(values: Iterable[float]) -> list[float]:
    """A list of floating-point numbers."""
    return [float(v) for v in values]


def same_numbers(a: float, b: float) -> bool:
    """Equal but for rounding."""
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-300)
