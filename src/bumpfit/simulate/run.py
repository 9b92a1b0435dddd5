"""Runs: chunks on all cores, kept until the run is finished, then joined in one file with its run card.

A run with the result file FILE keeps finished chunks in FILE.parts/. Started again it simulates only what is missing;
its events are the same for any number of workers and interruptions, because every chunk has seeds of its own.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import os
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bumpfit import runs
from bumpfit.errors import BumpfitError, InputError
from bumpfit.execute import ordered_map
from bumpfit.files import atomic, sha256
from bumpfit.foreign import parse_json
from bumpfit.progress import bar
from bumpfit.results import plain
from bumpfit.simulate import store
from bumpfit.simulate.generator import CrossSection
from bumpfit.simulate.task import POSITION, Piece, Work, run_chunk, versions

PATIENCE = 20_000
"""Events after which a run without one that passes is given up."""
NAME = "{index:08d}"
KEY = b"bumpfit.part"


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a run made: events in the file, events generated for them, cross section before the selection in pb (None:
    not known), and particles dropped because their momentum was not finite; `card` is the whole run card.

    Examples:
        >>> made = bumpfit.simulate.Summary(950, 1000, None, 0, {})
        >>> made.events / made.generated
        0.95
    """

    events: int
    generated: int
    cross_section: CrossSection | None
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
    job: Work,
    n: int | None,
    path: str | os.PathLike[str],
    *,
    generate: int | None = None,
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
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
        executor: run on this executor instead (`clusters.dask_executor`).
        show: the progress bar (None: when standard error is a terminal).

    Raises:
        InputError: wrong numbers, suffix or settings, or parts of another run beside the file.
        MissingExtraError: a package of the extra `simulate` is not installed.
        BumpfitError: no event passes, or Pythia gives up.

    Examples:
        >>> from bumpfit import simulate
        >>> made = simulate.events(simulate.wtag("signal", mpi=False), 2, "w.parquet", seed=1)
        >>> len(bumpfit.events.open("w.parquet"))
        2
    """
    file = Path(path)
    _check(n, generate, file, seed, job.suffixes)
    job.check()
    used: list[_Part] = []
    total = n if generate is None else generate
    with runs.beside(file, _settings(job, seed)) as kept, bar(job.name, total, show=show) as advance:
        chunks = kept.pieces(_ChunkForm())
        for part in _parts(job, n, generate, seed, workers, executor, chunks):
            used.append(part)
            done = sum(p.generated for p in used)
            passed = sum(p.rows for p in used)
            advance(part.rows if generate is None else part.generated, f"{passed} of {done} events")
        # what was generated after the last event of the file does not count
        summary = _summary(job, seed, used, n, chunks)
        with atomic(file) as temporary:
            store.write(temporary, job.finished(lambda: _tables(chunks, used, n)), summary.card)
        kept.finish()
    return summary


def _settings(job: Work, seed: int) -> dict[str, Any]:
    """What the events follow from: job, seed, versions, and the content of files of events that Pythia reads."""
    return {**job.to_dict(), "seed": seed, "versions": versions(), "events": [sha256(name) for name in job.inputs]}


def run_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The run card of a file of simulated events; raises InputError when it has none.

    Examples:
        >>> from bumpfit import simulate
        >>> made = simulate.events(simulate.dijet(simulate.resonance(3500, 500, 100)), 2, "dijet.parquet", seed=1)
        >>> simulate.run_card("dijet.parquet")["seed"]
        1
    """
    return store.run_card(path)


@dataclasses.dataclass(frozen=True)
class _Part:
    """What is remembered of a finished chunk."""

    index: int
    asked: int
    rows: int
    generated: int
    cross_section: CrossSection | None
    dropped: int

    @property
    def name(self) -> str:
        return NAME.format(index=self.index)


class _ChunkForm:
    """A chunk as a Parquet table with checksums; its numbers are JSON under the key `bumpfit.part`."""

    suffix = ".parquet"

    def write(self, path: Path, piece: Piece) -> None:
        facts = {
            "index": piece.index, "asked": piece.asked, "generated": piece.generated,
            "cross_section": piece.cross_section and dataclasses.astuple(piece.cross_section),
            "dropped": piece.dropped,
        }  # fmt: skip
        table = piece.table.replace_schema_metadata({KEY: json.dumps(plain(facts))})
        pq.write_table(table, path, write_page_checksum=True)

    def read(self, path: Path) -> Piece:
        try:
            table = pq.read_table(path, page_checksum_verification=True)
            facts = parse_json((table.schema.metadata or {})[KEY], str(path))
            known = facts["cross_section"]
            cross_section = None if known is None else CrossSection(*known)
            return Piece(facts["index"], facts["asked"], table, facts["generated"], cross_section, facts["dropped"])
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is no finished chunk of a simulation, or it is damaged") from error


def _parts(
    job: Work,
    n: int | None,
    generate: int | None,
    seed: int,
    workers: int,
    executor: Executor | None,
    chunks: runs.Pieces[Piece],
) -> Iterator[_Part]:
    """Chunks in their order until there are enough events; what is not there yet is simulated and kept."""

    there = (_remembered(piece) for piece in map(chunks.found, list(chunks.names())) if piece is not None)
    ready = {part.index: part for part in there if part.asked == job.size(part.index, n, generate)}
    last = job.chunks(generate) if generate is not None else None
    missing = (index for index in _numbers(last) if index not in ready)
    tasks = ((job, seed, index, job.size(index, n, generate)) for index in missing)
    new = ordered_map(run_chunk, tasks, workers=workers, executor=executor)
    rows = generated = 0
    for index in _numbers(last):
        if index in ready:
            part = ready[index]
        else:
            piece = next(new)
            part = _remembered(piece)
            chunks.keep(part.name, piece)
        yield part
        rows, generated = rows + part.rows, generated + part.generated
        if n is not None and rows >= n:
            return
        if not rows and generated >= PATIENCE:
            raise BumpfitError(
                f"none of {generated} generated events passes ({job.passing}); loosen the selection or change the "
                "process"
            )


def _remembered(piece: Piece) -> _Part:
    return _Part(piece.index, piece.asked, piece.table.num_rows, piece.generated, piece.cross_section, piece.dropped)


def _numbers(last: int | None) -> Iterator[int]:
    return iter(range(last)) if last is not None else itertools.count()


def _check(n: int | None, generate: int | None, path: Path, seed: int, suffixes: tuple[str, ...]) -> None:
    if (n is None) == (generate is None):
        raise InputError("give the number of events in the file or the number to generate, one of the two")
    wanted = n if n is not None else generate
    assert wanted is not None
    if isinstance(wanted, bool) or wanted != int(wanted) or wanted < 1:
        raise InputError(f"the number of events is {wanted}; expected a whole number of at least 1")
    if isinstance(seed, bool) or seed != int(seed) or seed < 0:
        raise InputError(f"the seed is {seed}; expected a whole number from 0 on")
    if path.suffix.lower() not in suffixes:
        raise InputError(f"cannot write {path}: expected a name that ends in {' or '.join(suffixes)}")
    if path.is_dir():
        raise InputError(f"{path} is a folder; expected the name of a file to write")
    if path.suffix.lower() == ".root":
        store.uproot()


def _tables(chunks: runs.Pieces[Piece], used: list[_Part], n: int | None) -> Iterator[pa.Table]:
    before = 0
    for part in used:
        yield _trimmed(chunks, part, n, before)
        before += part.rows


def _trimmed(chunks: runs.Pieces[Piece], part: _Part, n: int | None, before: int) -> pa.Table:
    table = pq.read_table(chunks.path(part.name)).replace_schema_metadata(None).drop_columns([POSITION])
    return table if n is None else table.slice(0, max(n - before, 0))


def _summary(job: Work, seed: int, used: list[_Part], n: int | None, chunks: runs.Pieces[Piece]) -> Summary:
    rows = sum(part.rows for part in used)
    generated = sum(part.generated for part in used)
    cross_section = _average(used)
    last_generated = used[-1].generated
    if n is not None and rows > n:
        last = used[-1]
        place = last.rows - (rows - n) - 1
        position = pq.read_table(chunks.path(last.name), columns=[POSITION]).column(0)[place].as_py()
        generated += position + 1 - last.generated
        last_generated, rows = position + 1, n
    dropped = sum(part.dropped for part in used)
    card = {
        **job.to_dict(), "seed": seed, "versions": versions(), "events": rows, "generated": generated,
        "efficiency": rows / generated, "dropped_particles": dropped,
    }  # fmt: skip
    if cross_section is not None:
        card |= {
            "cross_section_pb": cross_section.value, "cross_section_error_pb": cross_section.error,
            "cross_section_of_events_pb": cross_section.value * rows / generated,
        }  # fmt: skip
    sizes = [*(part.generated for part in used[:-1]), last_generated]
    numbers = [part.index for part in used]
    card |= job.numbers(zip(numbers, sizes, _tables(chunks, used, n), strict=True))
    return Summary(rows, generated, cross_section, dropped, card)


def _average(used: list[_Part]) -> CrossSection | None:
    """Average over the chunks by their events; None where the generator knows none."""
    generated = sum(part.generated for part in used)
    known = [(part.generated / generated, part.cross_section) for part in used if part.cross_section is not None]
    if len(known) < len(used):
        return None
    return CrossSection(
        math.fsum(w * c.value for w, c in known), math.sqrt(math.fsum((w * c.error) ** 2 for w, c in known))
    )
