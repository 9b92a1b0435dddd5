"""Events of generators and detectors, particle by particle: LHE (pylhe), HepMC (pyhepmc) and LHCO text.

The files can only be read from the front to the end, so that they are turned into a temporary Parquet file once, in
bounded memory. Names follow Delphes' own converters: `particle.pid`, `particle.pt`, `event.weight`; LHCO gives
`photon`, `electron`, `muon`, `tau`, `jet` and `met`. Energies are in GeV.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import math
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bumpfit.errors import BumpfitError, InputError, MissingExtraError
from bumpfit.events import suffixes
from bumpfit.events.locations import local, made_of
from bumpfit.events.parquet import ParquetFiles
from bumpfit.events.source import ReadError
from bumpfit.standard_output import captured

Event = dict[str, Any]
"""Values of one event by column: numbers by name, or lists of numbers by name."""
ROWS = 20_000
"""Particles of a row group."""

_MOMENTUM = ("Px", "Py", "Pz", "E", "Mass")
_INTEGERS = ("PID", "Status", "Mother1", "Mother2", "ColorLine1", "ColorLine2", "Number", "ProcessID", "Trigger")


class RecordFiles(ParquetFiles):
    """One or more LHE, HepMC or LHCO files, all of one of these kinds; raises InputError for a mixed list."""

    def __init__(self, paths: Sequence[str]) -> None:
        readers = [
            next(read for known, read in READERS.items() if suffixes.kind(path).endswith(known)) for path in paths
        ]
        other = next((path for path, read in zip(paths, readers, strict=True) if read is not readers[0]), None)
        if other is not None:
            raise InputError(f"{paths[0]} and {other} are files of different kinds; open them one kind at a time")
        super().__init__(paths, [_converted(path, readers[0]) for path in paths])


def _converted(name: str, reader: Callable[[Path], Iterator[Event]]) -> Path:
    """The temporary Parquet file of one file."""

    def make(out: IO[bytes]) -> None:
        with captured():
            _convert(name, reader, out)

    return made_of(local(name), f"{reader.__name__}.parquet", make)


def _convert(name: str, reader: Callable[[Path], Iterator[Event]], out: IO[bytes]) -> None:
    """Write the events of one file as Parquet."""
    path = local(name)
    events = _told(name, reader(path))
    first = next(events, None)
    if first is None:
        raise InputError(f"{name} holds no events; expected at least one")
    schema = _schema(first)
    with pq.ParquetWriter(out, schema) as writer:
        group: list[Event] = []
        rows = 0
        for event in itertools.chain([first], events):
            group.append(event)
            rows += sum(len(next(iter(value.values()))) for value in event.values() if _lists(value))
            if rows >= ROWS or len(group) >= ROWS:
                writer.write_table(_table(group, schema))
                group, rows = [], 0
        if group:
            writer.write_table(_table(group, schema))


def _told(name: str, events: Iterator[Event]) -> Iterator[Event]:
    """The events, with every failure of a parser as a sentence that says after how many events."""
    n = 0
    while True:
        try:
            event = next(events)
        except StopIteration:
            return
        except (BumpfitError, MemoryError):
            raise
        except Exception as error:  # the parsers of others raise what they like on damaged files
            words = " ".join(str(error).split()) or type(error).__name__
            raise ReadError(f"{name} cannot be read after {n} events (cut off, or damaged): {words[:200]}") from error
        yield event
        n += 1


def _lists(value: Any) -> bool:
    return isinstance(next(iter(value.values()), None), list | np.ndarray)


def _schema(event: Event) -> pa.Schema:
    def kind(name: str) -> pa.DataType:
        return pa.int64() if name in _INTEGERS else pa.float64()

    def column(value: Any) -> pa.DataType:
        fields = pa.struct([(name, kind(name)) for name in value])
        return pa.list_(fields) if _lists(value) else fields

    return pa.schema([(name, column(value)) for name, value in event.items()])


def _table(events: list[Event], schema: pa.Schema) -> pa.Table:
    columns = []
    for field in schema:
        values = [event[field.name] for event in events]
        listed = pa.types.is_list(field.type)
        inner = field.type.value_type if listed else field.type
        flat = [
            pa.array(
                np.concatenate([value[part.name] for value in values])
                if listed
                else [value[part.name] for value in values],
                type=part.type,
            )
            for part in inner
        ]
        records = pa.StructArray.from_arrays(flat, fields=list(inner))
        if listed:
            counts = [len(next(iter(value.values()))) for value in values]
            records = pa.ListArray.from_arrays(np.r_[0, np.cumsum(counts)].astype(np.int32), records)
        columns.append(records)
    return pa.Table.from_arrays(columns, schema=schema)


def lhe(path: Path) -> Iterator[Event]:
    """Events of a Les Houches file (hep-ph/0609017): particles with mothers and colours, weight and scales.

    Raises ValueError for an event that lacks particles, and for a momentum or weight that is not finite.
    """
    names = {
        "PID": "id", "Status": "status", "Mother1": "mother1", "Mother2": "mother2", "ColorLine1": "color1",
        "ColorLine2": "color2", "Px": "px", "Py": "py", "Pz": "pz", "E": "e", "Mass": "m", "LifeTime": "lifetime",
        "Spin": "spin",
    }  # fmt: skip
    with contextlib.closing(_of_pylhe(path)) as events:
        for number, event in enumerate(events, 1):
            info, particles = event.eventinfo, event.particles
            if int(info.nparticles) != len(particles):
                raise ValueError(f"an event says that it has {int(info.nparticles)} particles and has {len(particles)}")
            for place, particle in enumerate(particles, 1):
                for name in _MOMENTUM:
                    if not math.isfinite(value := getattr(particle, names[name])):
                        raise ValueError(f"{name} of particle {place} of event {number} is {value}; expected a number")
            if not math.isfinite(info.weight):
                raise ValueError(f"the weight of event {number} is {info.weight}; expected a number")
            yield {
                "Event": {
                    "Weight": info.weight, "ProcessID": int(info.pid), "ScalePDF": info.scale,
                    "CouplingQED": info.aqed, "CouplingQCD": info.aqcd,
                },
                "Particle": {name: [getattr(p, field) for p in particles] for name, field in names.items()},
                "Weight": {"Weight": [float(weight) for weight in event.weights.values()]},
            }  # fmt: skip


def _of_pylhe(path: Path) -> Generator[Any, None, None]:
    """The events as pylhe gives them; its warnings are raised, and its file is closed at the end."""
    try:
        import pylhe
    except ModuleNotFoundError as error:
        raise MissingExtraError("pylhe", "generators", "reading LHE files") from error
    events: Any = None
    try:
        while True:
            with warnings.catch_warnings():
                warnings.simplefilter("error", RuntimeWarning)  # all that it says of a file that is cut off or damaged
                events = iter(pylhe.LHEFile.fromfile(str(path)).events) if events is None else events
                event = next(events, None)
            if event is None:
                return
            yield event
    finally:
        if events is not None:
            events.close()


def hepmc(path: Path) -> Iterator[Event]:
    """Events of a HepMC 2 or 3 text file: particles, first weight and all weights; momenta in GeV whatever it had.

    Raises ValueError where a weight or a property of a particle is no number: HepMC reads 0 there, or leaves it out.
    """
    try:
        import pyhepmc
    except ModuleNotFoundError as error:
        raise MissingExtraError("pyhepmc", "generators", "reading HepMC files") from error
    names = {"PID": "pid", "Status": "status", "Px": "px", "Py": "py", "Pz": "pz", "E": "e", "Mass": "generated_mass"}
    with pyhepmc.open(str(path)) as file, contextlib.closing(_faults(path)) as faults:
        for event in file:
            if fault := next(faults, None):
                raise ValueError(fault)
            event.set_units(pyhepmc.Units.GEV, pyhepmc.Units.MM)
            found = event.numpy.particles
            particles = {name: np.array(getattr(found, field)) for name, field in names.items()}
            weights = [float(weight) for weight in event.weights]
            if not np.isfinite([*(particles[name].sum() for name in _MOMENTUM), *weights]).all():
                raise ValueError(f"a momentum or weight of event {event.event_number} is infinite")
            yield {
                "Event": {"Number": int(event.event_number), "Weight": weights[0] if weights else 1.0},
                "Particle": particles,
                "Weight": {"Weight": weights},
            }
        if (fault := next(faults, None)) is not None:  # pyhepmc ends where it cannot read on, and says nothing
            raise ValueError(fault or "the next event is not HepMC")
    if b"END_EVENT_LISTING" not in _tail(path):
        raise ValueError("the end of the event listing is missing")


_HEPMC_LINES = {
    b"Asciiv3": {b"E": (3, 0), b"W": (0, 1), b"P": (9, 0)},
    b"IO_GenEvent": {b"E": (12, 1), b"P": (12, 2)},
}
"""Numbers in lines of events, weights and particles of HepMC 3 and HepMC 2: so many, or any steps more."""


def _fits(line: bytes, least: int, step: int) -> bool:
    """Whether a line holds finite numbers alone behind its first word and before `@`, as many as it should."""
    words = line.partition(b"@")[0].split()[1:]
    more = len(words) - least
    try:
        total = sum(map(float, words))
    except ValueError:
        return False
    return total - total == 0 and b"_" not in line and (more == 0 or (step > 0 and more > 0 and more % step == 0))


def _faults(path: Path) -> Generator[str, None, None]:
    """For each event of a HepMC text a sentence on its first line that holds no numbers, empty where there is none."""
    lines: dict[bytes, tuple[int, int]] = {}
    event, fault = b"", ""
    with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            kind = line[:2].rstrip()
            if kind == b"E" or line.startswith(b"HepMC::"):
                if event:
                    yield fault
                event, fault = b"", ""
            if line.startswith(b"HepMC::"):
                form = line[7:].partition(b"-START")[0]
                lines = _HEPMC_LINES.get(form, {})
            elif kind == b"E":
                event = (line.split()[1:2] or [b"?"])[0]
            known = lines.get(kind)
            if event and known is not None and not fault and not _fits(line, *known):
                at, what = (text.decode("utf-8", "replace").strip()[:60] for text in (event, line))
                fault = f"line {number}, of event {at}, holds {what!r}; expected finite numbers"
    if event:
        yield fault


def _tail(path: Path, size: int = 200) -> bytes:
    """The last bytes of a text, unpacked."""
    if path.suffix.lower() != ".gz":
        with open(path, "rb") as plain:
            plain.seek(max(0, path.stat().st_size - size))
            return plain.read()
    last = b""
    with gzip.open(path, "rb") as packed:
        while piece := packed.read(1 << 20):
            last = (last + piece)[-size:]
    return last


LHCO_OBJECTS = {0: "Photon", 1: "Electron", 2: "Muon", 3: "Tau", 4: "Jet"}
"""Types of objects in LHC Olympics text; 6 is the missing energy."""


def lhco(path: Path) -> Iterator[Event]:
    """Events of an LHC Olympics text file: `# typ eta phi pt jmass ntrk btag had/em dummy dummy`, a line an object.

    The sign of ntrk is the charge of electrons, muons and taus. Raises ValueError for lines that are none of these.
    """
    fields = ("Eta", "Phi", "PT", "Mass", "NTrk", "BTag", "HadOverEm")
    event: Event | None = None
    with _text(path) as file:
        for number, line in enumerate(file, 1):
            words = line.partition("#")[0].split()
            if not words or words[0].lower() in ("typ", "tag"):
                continue
            try:
                values = [float(word) for word in words]
            except ValueError:
                values = [np.nan]
            at = f"line {number}" + ("" if event is None else f", of event {event['Event']['Number']},")
            if not np.isfinite(values[:9]).all():
                raise ValueError(f"{at} holds {line.strip()[:60]!r}; expected finite numbers")
            if values[0] == 0 and len(values) <= 3:
                if event is not None:
                    yield event
                event = _empty_event(values, fields)
            elif event is None or len(values) in (*range(9), 10) or values[1] not in (*LHCO_OBJECTS, 6):
                raise ValueError(f"{at} is no object of LHC Olympics text: {line.strip()[:60]!r}")
            elif values[1] == 6:
                event["MissingET"] = {"MET": values[4], "Phi": values[3]}
            else:
                kind = event[LHCO_OBJECTS[int(values[1])]]
                for name, value in zip(fields, values[2:], strict=False):
                    kind[name].append(value)
                if "Charge" in kind:
                    kind["Charge"].append(float(np.sign(values[6])))
    if event is not None:
        yield event


def _empty_event(values: list[float], fields: tuple[str, ...]) -> Event:
    number, trigger = (int(value) for value in (*values[1:], 0, 0)[:2])
    objects: Event = {
        name: {field: [] for field in (*fields, *(("Charge",) if place in (1, 2, 3) else ()))}
        for place, name in LHCO_OBJECTS.items()
    }
    return {"Event": {"Number": number, "Trigger": trigger}, **objects, "MissingET": {"MET": 0.0, "Phi": 0.0}}


def _text(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return open(path, encoding="utf-8")


READERS: dict[tuple[str, ...], Callable[[Path], Iterator[Event]]] = {
    suffixes.LHE: lhe,
    suffixes.HEPMC: hepmc,
    suffixes.LHCO: lhco,
}
