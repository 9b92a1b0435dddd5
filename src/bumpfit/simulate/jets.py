"""Jets and N-subjettiness by fastjet (arXiv:1111.6097) and its contrib, a batch of events in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import MissingExtraError
from bumpfit.simulate import card
from bumpfit.simulate.detector import Flow
from bumpfit.standard_output import captured

Array = NDArray[np.float64]
Places = NDArray[np.int64]

_banner = True


@dataclasses.dataclass(frozen=True, eq=False)
class Jets:
    """Jets of a batch, flat, by falling pT in every event; GeV and radians.

    counts (jets an event), event (jet -> event), px, py, pz, e; `inside`: places of the constituents in the flow, jet
    after jet, and `sizes`: how many each jet has.
    """

    counts: Places
    event: Places
    px: Array
    py: Array
    pz: Array
    e: Array
    inside: Places
    sizes: Places

    @property
    def pt(self) -> Array:
        """Transverse momentum."""
        return np.hypot(self.px, self.py)

    @property
    def eta(self) -> Array:
        """Pseudorapidity."""
        return np.arcsinh(self.pz / self.pt)

    @property
    def phi(self) -> Array:
        """Azimuthal angle."""
        return np.arctan2(self.py, self.px)

    @property
    def mass(self) -> Array:
        """Invariant mass; 0 where rounding makes its square negative."""
        square = (self.e + self.pz) * (self.e - self.pz) - self.px**2 - self.py**2
        return np.sqrt(np.maximum(square, 0.0))

    @property
    def rank(self) -> Places:
        """Position of every jet in its event, from 0."""
        starts = np.cumsum(self.counts) - self.counts
        return np.arange(self.event.size) - np.repeat(starts, self.counts)

    def __getitem__(self, keep: NDArray[np.bool_]) -> Jets:
        """Some of the jets of the same events."""
        constituents = np.repeat(keep, self.sizes)
        return Jets(
            np.bincount(self.event[keep], minlength=self.counts.size), self.event[keep], self.px[keep], self.py[keep],
            self.pz[keep], self.e[keep], self.inside[constituents], self.sizes[keep],
        )  # fmt: skip


def cluster(flow: Flow, definition: card.Jets) -> Jets:
    """Jets of all events above the least pT and within the range of eta."""
    counts = flow.counts
    occupied = np.flatnonzero(counts)
    if not occupied.size:
        none, empty = np.zeros(0, np.int64), np.zeros(0)
        return Jets(counts, none, empty, empty, empty, empty, none, none)
    import awkward as ak

    sequence = _sequence(_momenta(flow), counts[occupied], definition.algorithm, definition.radius)
    jets = sequence.inclusive_jets(min_pt=definition.pt_min)
    inside = sequence.constituent_index(min_pt=definition.pt_min)
    number = ak.to_numpy(ak.num(jets.px, axis=1))
    px, py, pz, e = (ak.to_numpy(ak.flatten(jets[name], axis=1)) for name in ("px", "py", "pz", "E"))
    sizes = ak.to_numpy(ak.flatten(ak.num(inside, axis=2), axis=1))
    places = ak.to_numpy(ak.flatten(ak.flatten(inside, axis=1), axis=1))
    event = np.repeat(occupied, number)
    places = places + np.repeat((np.cumsum(counts) - counts)[event], sizes)
    # by falling pT in every event
    order = np.lexsort((-np.hypot(px, py), event))
    ends = np.cumsum(sizes)
    moved = _ranges((ends - sizes)[order], sizes[order])
    found = Jets(
        np.bincount(event, minlength=flow.events), event[order], px[order], py[order], pz[order], e[order],
        places[moved], sizes[order],
    )  # fmt: skip
    return found[np.abs(found.eta) < definition.eta_max]


def subjettiness(flow: Flow, jets: Jets, settings: card.Subjettiness) -> Array:
    """N-subjettiness of every jet, shape (jets, settings.most), see `subjettiness_of`."""
    px, py, pz, e = (values[jets.inside] for values in _momenta(flow))
    return subjettiness_of(px, py, pz, e, jets.sizes, settings)


def subjettiness_of(px: Array, py: Array, pz: Array, e: Array, sizes: Places, settings: card.Subjettiness) -> Array:
    """N-subjettiness tau_1, tau_2, ... of jets with `sizes` constituents each, whose momenta follow one another.

    Shape (jets, settings.most); tau_N is 0 where a jet has N constituents or fewer. Source: J. Thaler and K. Van
    Tilburg, JHEP 03 (2011) 015, by fastjet-contrib with the normalised measure.
    """
    result = np.zeros((sizes.size, settings.most))
    filled = sizes > 0
    if not filled.any():
        return result
    # the class clusters once when it is made, which the N-subjettiness does not use: the fastest definition will do
    sequence = _sequence((px, py, pz, e), sizes[filled], "antikt", 0.1)
    found = sequence.njettiness(
        measure_definition="NormalizedMeasure", axes_definition=settings.axes, njets=list(range(1, settings.most + 1)),
        beta=settings.beta, R0=settings.radius,
    )  # fmt: skip
    result[filled] = np.asarray(found).reshape(-1, settings.most)
    return np.where(np.arange(1, settings.most + 1) < sizes[:, None], result, 0.0)


def _momenta(flow: Flow) -> tuple[Array, Array, Array, Array]:
    return (
        flow.pt * np.cos(flow.phi), flow.pt * np.sin(flow.phi), flow.pt * np.sinh(flow.eta), flow.pt * np.cosh(flow.eta)
    )  # fmt: skip


def _sequence(momenta: Sequence[Array], counts: Places, algorithm: str, radius: float) -> Any:
    """fastjet's cluster sequences of several events, from flat px, py, pz, E and the number of objects an event."""
    global _banner
    import awkward as ak

    try:
        import fastjet
    except ModuleNotFoundError as error:
        raise MissingExtraError("fastjet", "simulate", "clustering jets") from error
    offsets = ak.index.Index64(np.concatenate([[0], np.cumsum(counts)]))
    record = ak.contents.RecordArray(
        [ak.contents.NumpyArray(values) for values in momenta], ["px", "py", "pz", "E"],
        parameters={"__record__": "Momentum4D"},
    )  # fmt: skip
    definition = fastjet.JetDefinition(getattr(fastjet, card.ALGORITHMS[algorithm]), radius)
    events = ak.Array(ak.contents.ListOffsetArray(offsets, record))
    if _banner:
        _banner = False
        with captured():  # fastjet introduces itself on standard output, once
            return fastjet.ClusterSequence(events, definition)
    return fastjet.ClusterSequence(events, definition)


def _ranges(starts: Places, sizes: Places) -> Places:
    """start, start + 1, ... (size of them) for every start, one after the other."""
    ends = np.cumsum(sizes)
    return np.repeat(starts - (ends - sizes), sizes) + np.arange(ends[-1] if ends.size else 0)
