"""Representations of events: a set of observables, or an image of what is inside a jet.

    Set(("fatjet0.mass", "fatjet0.tau21", "jet0,jet1.delta_r")).read(source)

    (
        Image("fatjet0.constituents.phi", "fatjet0.constituents.eta", "fatjet0.constituents.pt")
        .with_subjets("fatjet0.constituents", algorithm="kt", r=0.3, min_pt=0)
        .translate(origin="SubJet0")
        .rotate(axis="SubJet1", orientation=-90)
        .pixelate(size=(33, 33), range=((-1.6, 1.6), (-1.6, 1.6)))
        .read(source)
    )

The steps are those of HEP ML Lab (Li, Sun, arXiv:2405.02888): subjets are sorted by falling pT, differences of phi are
wrapped to [-pi, pi), the orientation is the angle in degrees from the width axis to the axis subjet after rotation.
"""

from __future__ import annotations

import dataclasses
import operator
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError, MissingExtraError
from bumpfit.events import names
from bumpfit.events.arrays import Jagged, ak, double, numbers
from bumpfit.events.names import normal
from bumpfit.events.observables import evaluate, over_chunks
from bumpfit.events.source import Chunk, Source
from bumpfit.standard_output import captured

ALGORITHMS = {"kt": "kt_algorithm", "cambridge": "cambridge_algorithm", "antikt": "antikt_algorithm"}
LARGEST = 2048  # pixels a side
WIDEST = 3.2  # radius of subjets: fastjet ends the process above 1000
MOST = 1000  # subjets
_SUBJET = re.compile(r"subjet(\d+)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Set:
    """Observables with one value an event, side by side."""

    observables: Sequence[str]

    def __post_init__(self) -> None:
        if isinstance(self.observables, str) or not self.observables:
            raise InputError("a set needs a list of observables, as in ['jet0.pt', 'jet0.mass']")
        object.__setattr__(self, "observables", tuple(self.observables))

    def read(self, events: Source | Chunk | Any) -> NDArray[np.float64]:
        """Values, shape (events, observables); NaN where an object is missing.

        Raises:
            InputError: unknown names, or an observable that is a list in every event.
        """
        return np.asarray(ak.to_numpy(over_chunks(self._chunk, events)), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for provenance."""
        return {"kind": "set", "observables": list(self.observables)}

    def _chunk(self, chunk: Chunk) -> NDArray[np.float64]:
        columns = []
        for name in self.observables:
            array, axes = evaluate(names.parse(name), chunk, flatten_once=True)
            if axes or array.ndim != 1:
                raise InputError(
                    f"'{name}' is a list in every event; expected one value: name one object and one of its "
                    "values, as in jet0.pt or jet0.tau21"
                )
            if not numbers(array):
                raise InputError(f"'{name}' holds no numbers; expected an observable as jet0.pt")
            columns.append(ak.to_numpy(ak.fill_none(double(array), np.nan)))
        return np.stack(columns, axis=1)


@dataclasses.dataclass(frozen=True)
class Subjets:
    """Jets clustered from constituents: which constituents, algorithm, radius and least pT."""

    constituents: str
    algorithm: str
    r: float
    min_pt: float


@dataclasses.dataclass(frozen=True)
class Pixels:
    """The grid: (rows, columns), and the ranges of height and width."""

    size: tuple[int, int]
    range: tuple[tuple[float, float], tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Image:
    """An image of points at (width, height) weighted by a channel (1 when None); every step returns a new image."""

    height: str
    width: str
    channel: str | None = None
    subjets: Subjets | None = None
    origin: str | None = None
    axis: str | None = None
    orientation: float = -90.0
    pixels: Pixels | None = None

    def with_subjets(self, constituents: str, algorithm: str = "kt", r: float = 0.3, min_pt: float = 0.0) -> Image:
        """Cluster constituents to `SubJet0`, `SubJet1`, ... (needs the extra `simulate`)."""
        if algorithm not in ALGORITHMS:
            raise InputError(f"the algorithm is '{algorithm}'; expected one of {', '.join(ALGORITHMS)}")
        if not 0 < r <= WIDEST or not 0 <= min_pt < np.inf:
            raise InputError(
                f"r is {r} and min_pt {min_pt}; expected a positive radius up to {WIDEST} and a pT of 0 or more"
            )
        return dataclasses.replace(self, subjets=Subjets(constituents, algorithm, float(r), float(min_pt)))

    def translate(self, origin: str = "SubJet0") -> Image:
        """Move a subjet, or any object as `fatjet0`, to the centre."""
        self._needs_subjets(origin)
        return dataclasses.replace(self, origin=origin)

    def rotate(self, axis: str = "SubJet1", orientation: float = -90.0) -> Image:
        """Turn the image about its centre until the axis object lies at the orientation (degrees)."""
        self._needs_subjets(axis)
        if not np.isfinite(orientation):
            raise InputError(f"the orientation is {orientation}; expected degrees")
        if self.origin is None:
            raise InputError("an image is rotated about its centre: translate it first")
        return dataclasses.replace(self, axis=axis, orientation=float(orientation))

    def pixelate(self, size: Sequence[int], range: Sequence[Sequence[float]]) -> Image:
        """Sum the channel in a grid of `size` (rows, columns) over the ranges of height and width."""
        wrong = InputError(
            f"size {size} and range {range}; expected (rows, columns) of 1 to {LARGEST} and two ranges (low, high)"
        )
        try:
            rows, columns = (operator.index(number) for number in size)
            (bottom, top), (left, right) = ((float(low), float(high)) for low, high in range)
        except (TypeError, ValueError):
            raise wrong from None
        finite = -np.inf < bottom < top < np.inf and -np.inf < left < right < np.inf
        if not (finite and 1 <= rows <= LARGEST and 1 <= columns <= LARGEST):
            raise wrong
        return dataclasses.replace(self, pixels=Pixels((rows, columns), ((bottom, top), (left, right))))

    def read(self, events: Source | Chunk | Any) -> NDArray[np.float32]:
        """Images, shape (events, rows, columns); row 0 is the lowest height. An event without points is all zeros.

        Raises:
            InputError: the image has no pixels yet, unknown names.
            MissingExtraError: subjets are asked for and fastjet is not installed.
        """
        if self.pixels is None:
            raise InputError("the image has no pixels: call pixelate, or points for the points themselves")
        return np.asarray(ak.to_numpy(over_chunks(lambda chunk: self._pixelated(chunk), events)), dtype=np.float32)

    def points(self, events: Source | Chunk | Any) -> Jagged:
        """Points with the fields height, width and channel, shape (events, var), after translation and rotation.

        Without the subjet that is the origin an event has no points; without the one that is the axis it is not turned.
        """
        return over_chunks(self._points, events)

    def left_out(self, events: Source | Chunk | Any) -> int:
        """Number of constituents that are not clustered because their momentum is undefined or has no pT."""
        if self.subjets is None:
            return 0
        return int(ak.sum(over_chunks(lambda chunk: ~_clusterable(self._given, chunk)[1], events)))

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for provenance."""
        return {"kind": "image", **dataclasses.asdict(self)}

    @property
    def _given(self) -> Subjets:
        assert self.subjets is not None
        return self.subjets

    def _needs_subjets(self, name: str) -> None:
        match = _SUBJET.fullmatch(name)
        if match and self.subjets is None:
            raise InputError(f"{name} needs subjets: call with_subjets first")
        if match and int(match[1]) >= MOST:
            raise InputError(f"{name} is beyond what a jet holds; expected SubJet0 to SubJet{MOST - 1}")

    def _points(self, chunk: Chunk) -> Jagged:
        (height, of), (width, of_width) = self._list(self.height, chunk), self._list(self.width, chunk)
        channel, of_channel = (ak.ones_like(height), of) if self.channel is None else self._list(self.channel, chunk)
        if not of == of_width == of_channel:
            raise InputError(
                f"the points of an image are of different lists ({', '.join(sorted({*of, *of_width, *of_channel}))}); "
                "expected height, width and channel of the same objects"
            )
        subjets = None if self.subjets is None else _subjets(self.subjets, chunk)
        if self.origin is not None:
            height = self._moved(height, self.height, self._position(self.origin, self.height, chunk, subjets))
            width = self._moved(width, self.width, self._position(self.origin, self.width, chunk, subjets))
        if self.origin is not None and self.axis is not None:
            there, to = self._position(self.origin, self.height, chunk, subjets), self.height
            up = self._moved(self._position(self.axis, to, chunk, subjets), to, there)
            there, to = self._position(self.origin, self.width, chunk, subjets), self.width
            right = self._moved(self._position(self.axis, to, chunk, subjets), to, there)
            angle = ak.fill_none(np.deg2rad(self.orientation) - np.arctan2(up, right), 0.0)
            width, height = (
                np.cos(angle) * width - np.sin(angle) * height,
                np.sin(angle) * width + np.cos(angle) * height,
            )
        placed = ~(ak.is_none(height) | ak.is_none(width))
        height, width, channel = (ak.fill_none(ak.mask(v, placed), [], axis=0) for v in (height, width, channel))
        points = ak.zip({"height": height, "width": width, "channel": channel})
        complete = ~(ak.is_none(height, axis=1) | ak.is_none(width, axis=1) | ak.is_none(channel, axis=1))
        return ak.drop_none(points[complete], axis=1)

    def _list(self, name: str, chunk: Chunk) -> tuple[Jagged, tuple[str, ...]]:
        array, axes = evaluate(names.parse(name), chunk)
        if array.ndim != 2:
            raise InputError(f"'{name}' is not one list an event; expected as in fatjet0.constituents.pt")
        return double(ak.fill_none(array, [], axis=0)), axes

    def _moved(self, values: Jagged, name: str, centre: Jagged) -> Jagged:
        moved = values - centre
        return (moved + np.pi) % (2 * np.pi) - np.pi if names.parse(name).observable.lower() in _PHI else moved

    def _position(self, place: str, name: str, chunk: Chunk, subjets: Jagged | None) -> Jagged:
        observable = names.parse(name).observable
        match = _SUBJET.fullmatch(place)
        if match is None or subjets is None:
            array, axes = evaluate(names.parse(f"{place}.{observable}"), chunk, flatten_once=True)
            if axes:
                raise InputError(f"'{place}' is a list in every event; expected one object, as in fatjet0")
            return double(array)
        key = "phi" if observable.lower() in _PHI else normal(observable)
        if key not in ("eta", "phi"):
            raise InputError(
                f"subjets have eta and phi, not '{observable}'; an image with subjets is drawn in eta and phi"
            )
        index = int(match[1])
        return ak.pad_none(subjets[key], index + 1, axis=1)[:, index]

    def _pixelated(self, chunk: Chunk) -> NDArray[np.float32]:
        assert self.pixels is not None
        points = self._points(chunk)
        (rows, columns), (vertical, horizontal) = self.pixels.size, self.pixels.range
        event = np.repeat(np.arange(len(chunk)), ak.to_numpy(ak.num(points, axis=1)))
        flat = {key: np.asarray(ak.to_numpy(ak.flatten(points[key], axis=1))) for key in ("height", "width", "channel")}
        row = np.floor((flat["height"] - vertical[0]) / (vertical[1] - vertical[0]) * rows)
        column = np.floor((flat["width"] - horizontal[0]) / (horizontal[1] - horizontal[0]) * columns)
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        cell = (event[inside] * rows + row[inside].astype(np.int64)) * columns + column[inside].astype(np.int64)
        summed = np.bincount(cell, flat["channel"][inside], minlength=len(chunk) * rows * columns)
        return summed.reshape(len(chunk), rows, columns).astype(np.float32)


Representation = Set | Image
_PHI = ("phi", "azimuthal_angle", "azimuthalangle")


def _subjets(subjets: Subjets, chunk: Chunk) -> Jagged:
    """Subjets with eta and phi, sorted by falling pT, shape (events, var).

    Constituents whose momentum is not finite or has no pT are left out: fastjet ends the process on the former.
    """
    try:
        import fastjet
    except ModuleNotFoundError as error:
        raise MissingExtraError("fastjet", "simulate", "clustering subjets") from error
    momenta, good = _clusterable(subjets, chunk)
    clean = {key: ak.drop_none(values[good], axis=1) for key, values in momenta.items()}
    occupied = ak.to_numpy(ak.num(clean["e"], axis=1)) > 0
    counts = np.zeros(len(chunk), np.int64)
    empty = ak.unflatten(ak.zip({"eta": np.empty(0), "phi": np.empty(0)}), counts)
    if not occupied.any():
        return empty
    particles = ak.zip(
        {"px": clean["px"], "py": clean["py"], "pz": clean["pz"], "E": clean["e"]}, with_name="Momentum4D"
    )
    definition = fastjet.JetDefinition(getattr(fastjet, ALGORITHMS[subjets.algorithm]), subjets.r)
    with captured():  # fastjet introduces itself on standard output, once
        jets = fastjet.ClusterSequence(ak.to_packed(particles[occupied]), definition).inclusive_jets(subjets.min_pt)
    pt = np.hypot(jets["px"], jets["py"])
    order = ak.argsort(pt, axis=1, ascending=False)
    eta = np.arcsinh(jets["pz"] / pt)[order]
    phi = np.arctan2(jets["py"], jets["px"])[order]
    counts[occupied] = ak.to_numpy(ak.num(eta, axis=1))
    return ak.unflatten(ak.zip({"eta": ak.flatten(eta), "phi": ak.flatten(phi)}), counts)


def _clusterable(subjets: Subjets, chunk: Chunk) -> tuple[dict[str, Jagged], Jagged]:
    """Momenta of the constituents, and which of them fastjet can take."""
    momenta = {}
    for name in ("px", "py", "pz", "e"):
        array, _ = evaluate(names.parse(f"{subjets.constituents}.{name}"), chunk)
        if array.ndim != 2:
            raise InputError(f"'{subjets.constituents}' is not one list an event; expected as in fatjet0.constituents")
        momenta[name] = double(ak.fill_none(array, [], axis=0))
    transverse = np.hypot(momenta["px"], momenta["py"])
    good = ak.fill_none(np.isfinite(momenta["e"]) & np.isfinite(momenta["pz"]) & (transverse > 0), False, axis=1)
    return momenta, good
