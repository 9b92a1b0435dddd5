"""A job (process, card, what is kept) and the work of one chunk of it, as a pure function of seed and chunk number."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa

from bumpfit.errors import BumpfitError, InputError
from bumpfit.simulate import content, store
from bumpfit.simulate.card import DELPHES, SEARCH, Card
from bumpfit.simulate.detector import measure
from bumpfit.simulate.generator import CrossSection, Generator, check, chunk_seed, pythia_version
from bumpfit.simulate.processes import Process, boosted_w, qcd_dijets, qcd_jets

BATCH = 250
"""Events at once between Pythia and fastjet: enough that calls of libraries cost nothing, little memory."""
LHE = "Beams:LHEF"
POSITION = "__position__"
"""Column of the parts: which of the generated events of the chunk a row is."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What is simulated and what is kept of it.

    content    "search": a row an event that passes; "collections": every event, named as by Delphes
    pt_min     of the leading large-radius jet in GeV, eta_max its largest |eta| (search only)
    all_flow   keep every measured object, too (collections only)
    chunk      events of a chunk: the unit of seeds, of parallel work and of what an interruption can lose

    Examples:
        >>> from bumpfit.simulate import wtag
        >>> wtag("background").chunk
        500
    """

    process: Process
    card: Card
    content: Literal["search", "collections"]
    pt_min: float = 0.0
    eta_max: float = 0.0
    all_flow: bool = False
    chunk: int = 500

    def __post_init__(self) -> None:
        if isinstance(self.chunk, bool) or self.chunk < 1:
            raise InputError(f"a chunk of {self.chunk} events; expected at least 1")
        if self.content == "search" and not (self.pt_min >= 0 and self.eta_max > 0):
            raise InputError(
                f"the leading jet has pT > {self.pt_min:g} and |eta| < {self.eta_max:g}; expected 0 or more"
            )

    @property
    def name(self) -> str:
        """Of the process."""
        return self.process.name

    @property
    def passing(self) -> str:
        """What an event must have, in words."""
        return f"leading jet pT > {self.pt_min:g} GeV, |eta| < {self.eta_max:g}"

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of the files that can be written."""
        return store.SUFFIXES

    @property
    def inputs(self) -> list[str]:
        """Files of events that Pythia reads."""
        return [line.partition("=")[2].strip() for line in self.process.settings if line.startswith(LHE)]

    def check(self) -> None:
        """Raise InputError where Pythia does not understand a setting."""
        check(self.process.settings)

    def size(self, index: int, n: int | None, generate: int | None) -> int:
        """Events of chunk `index` of a run for n events in the file, or for a number to generate."""
        wanted = generate if generate is not None else n if self.content == "collections" else None
        # a chunk that is left to fill up for events that Pythia gave up on
        return self.chunk if wanted is None else max(min(self.chunk, wanted - index * self.chunk), 0) or self.chunk

    def chunks(self, generate: int) -> int:
        """Chunks of a run that generates so many events."""
        return math.ceil(generate / self.chunk)

    def simulate(self, seed: int, index: int, events: int) -> Piece:
        """Simulate `events` events of chunk `index`; raises BumpfitError where Pythia generates nothing."""
        return _simulate(self, seed, index, events)

    def finished(self, tables: Callable[[], Iterable[pa.Table]]) -> Iterable[pa.Table]:
        """What is written, from what the chunks hold."""
        return tables()

    def numbers(self, parts: Iterable[tuple[int, int, pa.Table]]) -> dict[str, Any]:
        """What the run card says besides, from the chunks: (number, events generated, table)."""
        return {}

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for the run card."""
        kept: dict[str, Any] = {"kind": self.content}
        if self.content == "search":
            kept |= {"pt_min": self.pt_min, "eta_max": self.eta_max}
        else:
            kept |= {"all_flow": self.all_flow}
        return {
            "process": self.process.name, "asked": dict(self.process.asked), "settings": list(self.process.settings),
            "card": self.card.to_dict(), "content": kept, "chunk": self.chunk,
        }  # fmt: skip


class Work(Protocol):
    """What a run needs of a job: chunks that depend on seed and number alone, and what becomes of their tables.

    See `Job` for the meanings.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def passing(self) -> str: ...  # noqa: D102

    @property
    def suffixes(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def inputs(self) -> list[str]: ...  # noqa: D102

    def check(self) -> None: ...  # noqa: D102

    def size(self, index: int, n: int | None, generate: int | None) -> int: ...  # noqa: D102

    def chunks(self, generate: int) -> int: ...  # noqa: D102

    def simulate(self, seed: int, index: int, events: int) -> Piece: ...  # noqa: D102

    def finished(self, tables: Callable[[], Iterable[pa.Table]]) -> Iterable[pa.Table]: ...  # noqa: D102

    def numbers(self, parts: Iterable[tuple[int, int, pa.Table]]) -> dict[str, Any]: ...  # noqa: D102

    def to_dict(self) -> dict[str, Any]: ...  # noqa: D102


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """One chunk: rows of the events that passed, events asked for and generated, cross section (None where the
    generator does not know it), particles dropped.
    """

    index: int
    asked: int
    table: pa.Table
    generated: int
    cross_section: CrossSection | None
    dropped: int


def dijet(
    process: Process | None = None,
    card: Card = SEARCH,
    *,
    pt_min: float = 1200.0,
    eta_max: float = 2.5,
    chunk: int = 500,
) -> Job:
    """The table of the resonance search: QCD dijets by default, or `resonance(...)`.

    Examples:
        >>> from bumpfit.simulate import dijet, resonance
        >>> dijet(resonance(3500.0, 500.0, 100.0)).content
        'search'
    """
    return Job(process or qcd_dijets(), card, "search", pt_min, eta_max, chunk=chunk)


def wtag(
    kind: Literal["signal", "background"],
    card: Card = DELPHES,
    *,
    pt_min: float = 250.0,
    pt_max: float = 300.0,
    mpi: bool = True,
    all_flow: bool = False,
    chunk: int = 500,
) -> Job:
    """W tagging: boosted W -> q q' beside Z -> nu nu (signal), QCD dijets (background), 250 to 300 GeV.

    Examples:
        >>> from bumpfit.simulate import wtag
        >>> wtag("signal").process.name
        'boosted_w'
    """
    made = {"signal": boosted_w, "background": qcd_jets}
    if kind not in made:
        raise InputError(f"the sample is '{kind}'; expected signal or background")
    return general(made[kind](pt_min=pt_min, pt_max=pt_max, mpi=mpi), card, all_flow=all_flow, chunk=chunk)


def general(process: Process, card: Card = DELPHES, *, all_flow: bool = False, chunk: int = 500) -> Job:
    """Every event of a process, in collections named as by Delphes.

    Examples:
        >>> from bumpfit.simulate import from_lines, general
        >>> general(from_lines("top", ["Top:gg2ttbar = on"])).content
        'collections'
    """
    return Job(process, card, "collections", all_flow=all_flow, chunk=chunk)


def versions() -> dict[str, str]:
    """Versions that the numbers depend on.

    Raises:
        MissingExtraError: Pythia is not installed.
    """
    from bumpfit import __version__

    names = ("fastjet", "numpy", "awkward")
    return {"bumpfit": __version__, "pythia": pythia_version(), **{n: importlib.metadata.version(n) for n in names}}


def run_chunk(task: tuple[Work, int, int, int]) -> Piece:
    """Simulate a chunk of a job: task is (job, seed, number of the chunk, events)."""
    job, seed, index, events = task
    return job.simulate(seed, index, events)


def _simulate(job: Job, seed: int, index: int, events: int) -> Piece:
    generator = Generator(job.process.settings, chunk_seed(seed, index), index * job.chunk)
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, index))))
    tables, generated, dropped = [], 0, 0
    for first in range(0, events, BATCH):
        particles = generator.batch(min(BATCH, events - first))
        if not particles.events:
            break
        flow = measure(particles, job.card, rng)
        if job.content == "search":
            rows, columns = content.search_table(flow, particles.weight, job.card, job.pt_min, job.eta_max)
        else:
            number = index * job.chunk + generated
            rows, columns = content.collections(flow, particles.weight, job.card, number, job.all_flow)
        tables.append(_table(columns, rows + generated))
        generated += particles.events
        dropped += flow.dropped
    if not generated:
        raise BumpfitError(
            f"Pythia gave none of the {events} events from {index * job.chunk + 1} on of the process "
            f"{job.process.name}; check its settings, or whether a file of events ends there"
        )
    return Piece(index, events, pa.concat_tables(tables).combine_chunks(), generated, generator.finish(), dropped)


def _table(columns: dict[str, Any], rows: Any) -> pa.Table:
    import awkward as ak

    arrays = {
        name: pa.array(v) if isinstance(v, np.ndarray) else ak.to_arrow(v, extensionarray=False)
        for name, v in columns.items()
    }
    return pa.table({**arrays, POSITION: pa.array(rows.astype(np.int64))})
