"""Runs: chunks on all cores, kept until the run is finished, then joined in one file with its run card.

A run with the result file FILE keeps finished chunks in FILE.parts/. Started again it simulates only what is missing;
its events are the same for any number of workers and interruptions, because every chunk has seeds of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bumpfit.errors import BumpfitError, InputError
from bumpfit.execute import ordered_map
from bumpfit.files import atomic
from bumpfit.progress import bar
from bumpfit.results import plain
from bumpfit.simulate import store
from bumpfit.simulate.generator import CrossSection, check
from bumpfit.simulate.task import POSITION, Job, Piece, digest, run_chunk, versions

PATIENCE = 20_000
"""Events after which a run without one that passes is given up."""
PART = "part-{index:08d}.parquet"
KEY = b"bumpfit.part"


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run made: events in the file, events generated for them, cross section before the selection in pb, and
    particles dropped because their momentum was not finite; `card` is the whole run card.
    """

    events: int
    generated: int
    cross_section: CrossSection
    dropped: int
    card: dict[str, Any]

    @property
    def efficiency(self) -> float:
        """Fraction of the generated events that is in the file."""
        return self.events / self.generated

    def to_dict(self) -> dict[str, Any]:
        """Plain form: the run card."""
        return self.card


def events(
    job: Job,
    n: int | None,
    path: str | os.PathLike[str],
    *,
    generate: int | None = None,
    seed: int = 0,
    workers: int = 1,
    show: bool | None = None,
) -> Summary:
    """Simulate a job and write it to a Parquet or ROOT file.

    Args:
        job: see `dijet`, `wtag`, `general`.
        n: events in the file; or give
        generate: events to generate, of which those that pass are in the file.
        path: .parquet or .root; finished chunks are kept in PATH.parts/ until the run is done.
        seed: of every random choice.
        workers: processes; no number depends on it.
        show: the progress bar (None: when standard error is a terminal).

    Raises:
        InputError: wrong numbers, suffix or settings, or parts of another run beside the file.
        MissingExtraError: a package of the extra `simulate` is not installed.
        BumpfitError: no event passes, or Pythia gives up.
    """
    file = Path(path)
    _check(n, generate, file, seed)
    check(job.process.settings)
    run = digest(job, seed)
    used: list[_Part] = []
    total = n if generate is None else generate
    with _folder(file) as folder, bar(job.process.name, total, show=show) as advance:
        for part in _parts(job, n, generate, seed, workers, folder, run, _found(folder, run, job)):
            used.append(part)
            done = sum(p.generated for p in used)
            passed = sum(p.rows for p in used)
            advance(part.rows if generate is None else part.generated, f"{passed} of {done} events")
    # what was generated after the last event of the file does not count
    summary = _summary(job, seed, used, n)
    tables = (_trimmed(part, n, sum(p.rows for p in used[:place])) for place, part in enumerate(used))
    with atomic(file) as temporary:
        store.write(temporary, tables, summary.card)
    _remove(folder)
    return summary


def run_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The run card of a file of simulated events; raises InputError when it has none."""
    return store.run_card(path)


@contextlib.contextmanager
def _folder(file: Path) -> Iterator[Path]:
    """The folder of finished chunks, made before anything is simulated; gone again where no chunk came to be."""
    folder = file.with_name(file.name + ".parts")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder} ({error.strerror}); choose another output") from error
    if not os.access(folder, os.W_OK):
        raise InputError(f"cannot write into the folder {folder} (permission denied); choose another output")
    try:
        yield folder
    except BaseException:
        with contextlib.suppress(OSError):  # it holds chunks
            folder.rmdir()
        raise


def _remove(folder: Path) -> None:
    """Chunks that are joined, those that a killed run left half-written, and the folder unless it holds other files."""
    for pattern in ("part-*.parquet", ".*.part-*.parquet"):
        for path in folder.glob(pattern):
            path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


@dataclasses.dataclass(frozen=True)
class _Part:
    """A finished chunk on disk."""

    path: Path
    index: int
    asked: int
    rows: int
    generated: int
    cross_section: CrossSection
    dropped: int


def _parts(
    job: Job, n: int | None, generate: int | None, seed: int, workers: int, folder: Path, run: str,
    have: dict[int, _Part],
) -> Iterator[_Part]:  # fmt: skip
    """Chunks in their order until there are enough events; what is not there yet is simulated and kept."""

    def size(index: int) -> int:
        wanted = generate if generate is not None else n if job.content == "collections" else None
        # a chunk that is left to fill up for events that Pythia gave up on
        return job.chunk if wanted is None else max(min(job.chunk, wanted - index * job.chunk), 0) or job.chunk

    ready = {index: part for index, part in have.items() if part.asked == size(index)}
    last = math.ceil(generate / job.chunk) if generate is not None else None
    tasks = ((job, seed, index, size(index)) for index in _numbers(last) if index not in ready)
    new = ordered_map(run_chunk, tasks, workers=workers)
    rows = generated = 0
    for index in _numbers(last):
        part = ready[index] if index in ready else _keep(folder, run, next(new))
        yield part
        rows, generated = rows + part.rows, generated + part.generated
        if n is not None and rows >= n:
            return
        if not rows and generated >= PATIENCE:
            raise BumpfitError(
                f"none of {generated} generated events passes (leading jet pT > {job.pt_min:g} GeV, |eta| < "
                f"{job.eta_max:g}); loosen the selection or change the process"
            )


def _numbers(last: int | None) -> Iterator[int]:
    return iter(range(last)) if last is not None else itertools.count()


def _check(n: int | None, generate: int | None, path: Path, seed: int) -> None:
    if (n is None) == (generate is None):
        raise InputError("give the number of events in the file or the number to generate, one of the two")
    wanted = n if n is not None else generate
    assert wanted is not None
    if isinstance(wanted, bool) or wanted != int(wanted) or wanted < 1:
        raise InputError(f"the number of events is {wanted}; expected a whole number of at least 1")
    if isinstance(seed, bool) or seed != int(seed) or seed < 0:
        raise InputError(f"the seed is {seed}; expected a whole number from 0 on")
    if path.suffix.lower() not in store.SUFFIXES:
        raise InputError(f"cannot write {path}: expected a name that ends in {' or '.join(store.SUFFIXES)}")
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected the name of a file to write")
    if path.suffix.lower() == ".root":
        store.uproot()


def _keep(folder: Path, run: str, piece: Piece) -> _Part:
    path = folder / PART.format(index=piece.index)
    facts = {
        "run": run, "index": piece.index, "asked": piece.asked, "generated": piece.generated,
        "cross_section": [piece.cross_section.value, piece.cross_section.error], "dropped": piece.dropped,
    }  # fmt: skip
    with atomic(path) as temporary:
        pq.write_table(piece.table.replace_schema_metadata({KEY: json.dumps(plain(facts))}), temporary)
    return _part(path, facts, piece.table.num_rows)


def _part(path: Path, facts: dict[str, Any], rows: int) -> _Part:
    cross_section = CrossSection(*facts["cross_section"])
    return _Part(path, facts["index"], facts["asked"], rows, facts["generated"], cross_section, facts["dropped"])


def _found(folder: Path, run: str, job: Job) -> dict[int, _Part]:
    """Finished chunks of an earlier start; raises InputError when they are of another run."""
    found = {}
    for path in sorted(folder.glob("part-*.parquet")):
        try:
            file = pq.ParquetFile(path)
            facts = json.loads((file.schema_arrow.metadata or {})[KEY])
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise InputError(f"{path} is no finished chunk of a simulation; remove {folder}") from error
        if facts["run"] != run:
            raise InputError(
                f"{folder} holds chunks of a run with other settings, another seed or other versions; "
                "remove it or choose another output"
            )
        found[facts["index"]] = _part(path, facts, file.metadata.num_rows)
    return found


def _trimmed(part: _Part, n: int | None, before: int) -> pa.Table:
    table = pq.read_table(part.path).replace_schema_metadata(None).drop_columns([POSITION])
    return table if n is None else table.slice(0, max(n - before, 0))


def _summary(job: Job, seed: int, used: list[_Part], n: int | None) -> Summary:
    rows = sum(part.rows for part in used)
    generated = sum(part.generated for part in used)
    weights = [part.generated / generated for part in used]
    value = math.fsum(w * p.cross_section.value for w, p in zip(weights, used, strict=True))
    error = math.sqrt(math.fsum((w * p.cross_section.error) ** 2 for w, p in zip(weights, used, strict=True)))
    if n is not None and rows > n:
        last = used[-1]
        place = last.rows - (rows - n) - 1
        position = pq.read_table(last.path, columns=[POSITION]).column(0)[place].as_py()
        generated += position + 1 - last.generated
        rows = n
    dropped = sum(part.dropped for part in used)
    card = {
        **job.to_dict(), "seed": seed, "versions": versions(), "events": rows, "generated": generated,
        "efficiency": rows / generated, "cross_section_pb": value, "cross_section_error_pb": error,
        "cross_section_of_events_pb": value * rows / generated, "dropped_particles": dropped,
    }  # fmt: skip
    return Summary(rows, generated, CrossSection(value, error), dropped, card)
