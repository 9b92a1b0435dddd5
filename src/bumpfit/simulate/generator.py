"""Pythia 8 (arXiv:2203.11601) as a source of chunks of events: a chunk depends on its seed alone, not on earlier ones.

Starting Pythia takes half a second, so a worker keeps one and gives it a new seed for every chunk; its counters are
reset, and settings by which it would learn from earlier events (`PhaseSpace:increaseMaximum`) or go on in a file
(`Beams:LHEF`) take a new one each time.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError, MissingExtraError
from bumpfit.standard_output import captured

MILLIBARN = 1e9  # in pb
MOST_SEEDS = 900_000_000  # Pythia's range of seeds
QUIET = ("Print:quiet = on", "Print:verbosity = 1", "Stat:reset = on", "Stat:showProcessLevel = off",
         "Stat:showPartonLevel = off", "Stat:showErrors = off")  # fmt: skip

_kept: dict[tuple[str, ...], Any] = {}


@dataclasses.dataclass(frozen=True, eq=False)
class Particles:
    """Stable particles of a batch of events, flat, in the order of the events: momenta in GeV.

    events (number), event (particle -> event), code (PDG), charge (units of e / 3), visible, px, py, pz, e; weight an
    event.
    """

    events: int
    event: NDArray[np.int64]
    code: NDArray[np.int32]
    charge: NDArray[np.int8]
    visible: NDArray[np.bool_]
    px: NDArray[np.float64]
    py: NDArray[np.float64]
    pz: NDArray[np.float64]
    e: NDArray[np.float64]
    weight: NDArray[np.float64]

    def __getitem__(self, keep: NDArray[Any]) -> Particles:
        """Some of the particles of the same events."""
        names = ("event", "code", "charge", "visible", "px", "py", "pz", "e")
        return dataclasses.replace(self, **{name: getattr(self, name)[keep] for name in names})


@dataclasses.dataclass(frozen=True)
class CrossSection:
    """Cross section of a process with its statistical error, in pb."""

    value: float
    error: float


def pythia_version() -> str:
    """Version of Pythia, as 8.317.

    Raises:
        MissingExtraError: it is not installed.
    """
    return f"{_import().Pythia('', False).parm('Pythia:versionNumber'):.3f}"


def check(settings: tuple[str, ...]) -> None:
    """Raise InputError where Pythia does not understand a line."""
    _started(settings, initialise=False)


def chunk_seed(seed: int, index: int) -> int:
    """Pythia's seed for a chunk: different for all chunks of a run, far apart for different runs."""
    base = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])
    return (base + index) % MOST_SEEDS + 1


class Generator:
    """One chunk of events of a process."""

    def __init__(self, settings: tuple[str, ...], seed: int, first: int = 0) -> None:
        fresh = keeps_state(settings)
        if fresh or settings not in _kept:
            _kept.clear()  # one at a time: each takes 100 MB
            _kept[settings] = _started(settings, initialise=True)
        self._pythia = _kept[settings]
        if fresh:
            _kept.clear()
            if first and not self._pythia.LHAeventSkip(first):
                raise BumpfitError(f"the file of events ends before event {first + 1}; ask for fewer events")
        self._pythia.rndm.init(seed)

    def batch(self, n: int) -> Particles:
        """Up to n events (fewer where Pythia gives up on one, or a file of events ends)."""
        return batch_of(self._pythia, n)[0]

    def finish(self) -> CrossSection:
        """Cross section as estimated by the events of this chunk; the counters are reset."""
        info = self._pythia.infoPython()
        found = CrossSection(info.sigmaGen() * MILLIBARN, info.sigmaErr() * MILLIBARN)
        self._pythia.stat()
        return found


def batch_of(pythia: Any, n: int) -> tuple[Particles, NDArray[np.float64]]:
    """Up to n events, and the energies (events, 2) of the partons of each hard process, which tell events apart."""
    import awkward as ak

    events = pythia.nextBatch(n)
    if not len(events):
        none, empty = np.zeros(0, np.int64), np.zeros(0)
        bare = (none.astype(np.int32), none.astype(np.int8), none.astype(np.bool_))
        return Particles(0, none, *bare, empty, empty, empty, empty, empty), np.zeros((0, 2))
    particles = events.prt
    counts = ak.to_numpy(ak.num(particles.id, axis=1))
    energies = ak.to_numpy(particles.p.e[:, 3:5])
    flat = ak.flatten(particles, axis=1)
    stable = ak.to_numpy(flat.status) > 0
    code = ak.to_numpy(flat.id)[stable]
    charge, visible = _species(pythia, code)
    px, py, pz, e = (ak.to_numpy(flat.p[name])[stable] for name in ("px", "py", "pz", "e"))
    weight = ak.to_numpy(ak.firsts(events.info.weights)).astype(np.float64)
    event = np.repeat(np.arange(len(counts)), counts)[stable]
    filled = np.ma.filled(weight, 1.0)
    return Particles(len(counts), event, code, charge, visible, px, py, pz, e, weight=filled), energies


def _species(pythia: Any, code: NDArray[np.int32]) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
    data = pythia.particleData
    kinds, which = np.unique(code, return_inverse=True)
    charge = np.array([data.chargeType(int(kind)) for kind in kinds], dtype=np.int8)
    visible = np.array([data.isVisible(int(kind)) for kind in kinds], dtype=np.bool_)
    return charge[which], visible[which]


def keeps_state(settings: tuple[str, ...]) -> bool:
    """Whether events depend on earlier ones, so that every chunk needs a Pythia of its own."""
    lines = [line.lower().replace(" ", "") for line in settings]
    return any(line.startswith(("phasespace:increasemaximum", "beams:lhef", "beams:frametype")) for line in lines)


def _import() -> Any:
    try:
        import pythia8mc
    except ModuleNotFoundError as error:
        raise MissingExtraError("pythia8mc", "simulate", "generating events") from error
    return pythia8mc


def start(settings: tuple[str, ...], hook: Any = None) -> Any:
    """A Pythia that has started, with a user hook.

    Raises:
        InputError: it does not understand the settings, or cannot start with them.
    """
    return _started(settings, initialise=True, hook=hook)


def _started(settings: tuple[str, ...], *, initialise: bool, hook: Any = None) -> Any:
    with captured() as said:
        pythia = _import().Pythia("", False)
        for line in (*QUIET, *settings):
            if not pythia.readString(line):
                raise InputError(f"Pythia does not understand '{line}'{_reason(said(), line)}")
        # one seed for all: what is found while starting is then the same in every worker
        pythia.readString("Random:setSeed = on")
        pythia.readString("Random:seed = 1")
        if hook is not None:
            pythia.setUserHooksPtr(hook)
        if initialise and not pythia.init():
            raise InputError(f"Pythia cannot start with these settings{_reason(said())}")
    return pythia


def _reason(text: str, line: str = "") -> str:
    """The last sentence of Pythia's own complaints, after a colon."""
    words = [" ".join(row.split()) for row in text.splitlines() if row.strip()]
    words = [row.strip(":").removeprefix("PYTHIA ") for row in words if row != line]
    return f": {words[-1]}" if words else "; check that a process is switched on and that its phase space is not empty"
