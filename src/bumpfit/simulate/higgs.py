"""Events of the HiggsML uncertainty challenge: four processes, tau decays from a pool, detector, selection, weights.

A chunk is a number of tries (hard processes) of one process; it depends on seed and number alone. Rows carry weights:
their sums are the official expected events in 10 fb-1, before the cut had_pt > 26 of the pseudo-experiments.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.simulate.generator import Particles, batch_of, chunk_seed, start
from bumpfit.simulate.higgs_detector import measure
from bumpfit.simulate.higgs_veto import Plan, hook, thrown
from bumpfit.simulate.task import POSITION, Piece, versions
from bumpfit.simulate.tau_decays import LEPTONIC_FRACTION, packaged_pool, products
from bumpfit.simulate.tau_pairs import LIKE_SIGNAL
from bumpfit.simulate.tau_selection import PRIMARY, TAG, TAU_ETA, Taus, select

Array = NDArray[np.float64]

EXPECTED = {"htautau": 1015.0, "ztautau": 1_002_395.0, "ttbar": 44_192.0, "diboson": 3_783.0}
"""Official expected events in 10 fb-1 (sums of the weights of the released files), before had_pt > 26."""
CARDS = {
    "ztautau": (
        "WeakSingleBoson:all = on", "WeakZ0:gmZmode = 2", "WeakBosonAndParton:all = off", "24:onMode = off",
        "23:onMode = off", "23:onIfMatch = 15 15",
    ),
    "htautau": ("HiggsSM:all = on", "25:onMode = off", "25:onIfMatch = 15 15"),
    "ttbar": ("Top:all = on",),
    "diboson": ("WeakDoubleBoson:all = on", "WeakZ0:gmZmode = 0"),
}  # fmt: skip
COMMON = ("Beams:eCM = 13000.", "15:mayDecay = off", "Check:epTolErr = 1e-2", "Check:event = off")
TRIES = {"ztautau": 15_000, "htautau": 4_000, "ttbar": 20_000, "diboson": 40_000}
"""Tries of a chunk: half a minute or so of one core."""
SHARES = {"htautau": 10, "ztautau": 20, "ttbar": 4, "diboson": 1}
"""Rows of the processes in a sample of all, relative to one another."""
ROWS = {"ztautau": 700.0, "htautau": 600.0, "ttbar": 200.0, "diboson": 100.0}
"""Rows of a chunk, about: they set how often each process comes, not what is in the sample."""
BATCH = 50
"""Candidates at once between Pythia and the detector."""


@dataclasses.dataclass(frozen=True)
class HiggsJob:
    """What is simulated: one process or several (all of them by default), in chunks of `scale` times TRIES tries.

    Examples:
        >>> from bumpfit.simulate import HiggsJob
        >>> HiggsJob().processes
        ('htautau', 'ztautau', 'ttbar', 'diboson')
    """

    processes: tuple[str, ...] = tuple(SHARES)
    scale: float = 1.0

    def __post_init__(self) -> None:
        wrong = next((name for name in self.processes if name not in CARDS), None)
        if wrong is not None or not self.processes:
            raise InputError(f"unknown process '{wrong}'; expected all, {', '.join(CARDS)}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise InputError(f"the chunks are scaled by {self.scale}; expected a positive number")

    @property
    def name(self) -> str:
        """Of the job, for progress and run card."""
        return self.processes[0] if len(self.processes) == 1 else "higgs"

    @property
    def passing(self) -> str:
        """What an event must have, in words."""
        return "one lepton, one tau-tagged jet of opposite charge"

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of the files that can be written."""
        return (".parquet",)

    @property
    def inputs(self) -> list[str]:
        """No files are read."""
        return []

    def check(self) -> None:
        """Raise MissingExtraError where Pythia or fastjet is not installed."""
        versions()

    def process_of(self, index: int) -> str:
        """Process of a chunk: the one that lags most behind its share."""
        return _schedule(self.processes, index + 1)[index]

    def size(self, index: int, n: int | None, generate: int | None) -> int:
        """Tries of a chunk."""
        return max(round(self.scale * TRIES[self.process_of(index)]), 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain form, for the run card."""
        return {
            "process": self.name, "asked": {"processes": list(self.processes)},
            "settings": {name: [*COMMON, *CARDS[name]] for name in self.processes},
            "content": {"kind": "higgsml", "strata": LIKE_SIGNAL.to_dict()}, "chunk": self.scale,
        }  # fmt: skip

    def chunks(self, generate: int) -> int:
        """There is no run with a number of tries: the processes differ."""
        raise InputError("a number of events to generate means nothing here; give the number in the file by -n")

    def simulate(self, seed: int, index: int, events: int) -> Piece:
        """One chunk of `events` tries."""
        return simulate_chunk(self.process_of(index), seed, index, events)

    def finished(self, tables: Callable[[], Iterable[pa.Table]]) -> Iterator[pa.Table]:
        """Tables with weights whose sums are the expected events of each process."""
        sums = dict.fromkeys(self.processes, 0.0)
        for table in tables():
            for name in self.processes:
                chosen = table.filter(pc.equal(table["detailed_labels"], name))
                sums[name] += math.fsum(chosen["weights"].to_numpy())
        for table in tables():
            names = table["detailed_labels"].to_pylist()
            factor = np.array([EXPECTED[name] / sums[name] for name in names])
            weights = (table["weights"].to_numpy() * factor).astype(np.float32)
            yield table.set_column(table.column_names.index("weights"), "weights", pa.array(weights))

    def numbers(self, parts: Iterable[tuple[int, int, pa.Table]]) -> dict[str, Any]:
        """By process: tries, rows, efficiency with its error, effective rows, rows by stratum.

        parts: (number of the chunk, tries, table with raw weights).
        """
        tries = dict.fromkeys(self.processes, 0)
        weights: dict[str, list[Array]] = {name: [] for name in self.processes}
        for index, generated, table in parts:
            tries[self.process_of(index)] += generated
            weights[self.process_of(index)].append(table["weights"].to_numpy())
        return {"processes": {name: _numbers(name, tries[name], np.concatenate(w)) for name, w in weights.items() if w}}


def higgsml(process: str = "all", *, scale: float = 1.0) -> HiggsJob:
    """The job of `bumpfit simulate higgs`: one process, or `all`.

    Examples:
        >>> from bumpfit.simulate import higgsml
        >>> higgsml("ztautau").processes
        ('ztautau',)
    """
    return HiggsJob(tuple(SHARES) if process == "all" else (process,), scale)


@functools.lru_cache(maxsize=8)
def _schedule(processes: tuple[str, ...], length: int) -> list[str]:
    if length % 256:  # few different lengths are made
        return _schedule(processes, (length // 256 + 1) * 256)
    done = dict.fromkeys(processes, 0)
    order = []
    for _ in range(length):
        name = min(processes, key=lambda p: done[p] * ROWS[p] / SHARES[p])
        done[name] += 1
        order.append(name)
    return order


def _numbers(name: str, tries: int, weights: Array) -> dict[str, Any]:
    forced = 2 * LEPTONIC_FRACTION * (1 - LEPTONIC_FRACTION) if name in ("ztautau", "htautau") else 1.0
    total, square = math.fsum(weights), math.fsum(weights**2)
    factor = TAG * forced / max(tries, 1)
    effective = total**2 / square if square else 0.0
    return {
        "tries": tries, "rows": int(weights.size), "efficiency": factor * total,
        "efficiency_error": factor * math.sqrt(square), "effective_rows": effective,
        "expected": EXPECTED[name], "effective_rows_per_expected": effective / EXPECTED[name],
        "largest_weight_over_median": float(weights.max() / np.median(weights)) if weights.size else 0.0,
    }  # fmt: skip


_sources: dict[str, Any] = {}


def _source(process: str) -> Any:
    """Pythia and its hook of a process, kept for the next chunk; each takes 100 MB."""
    if process not in _sources:
        veto = hook(process, packaged_pool())
        _sources[process] = start((*COMMON, *CARDS[process]), veto), veto
    return _sources[process]


def simulate_chunk(process: str, seed: int, index: int, tries: int) -> Piece:
    """Chunk `index` of a process: `tries` hard processes.

    Raises:
        BumpfitError: Pythia gives up.
        MissingExtraError: Pythia or fastjet is not installed.
    """
    pythia, veto = _source(process)
    for_veto, rng = (np.random.Generator(np.random.Philox(s)) for s in np.random.SeedSequence((seed, index)).spawn(2))
    pythia.rndm.init(chunk_seed(seed, index))
    veto.start(for_veto)
    tables, candidates, last = [], 0, -1
    while veto.tried < tries:
        # at the end only as many candidates as the rest of the tries should give
        rest = math.ceil((tries - veto.tried) * candidates / max(veto.tried, 1)) if candidates else 4
        if veto.tried == last:
            raise BumpfitError(f"Pythia gives no more events of {process}; choose another seed")
        last = veto.tried
        veto.plans.clear()
        particles, keys = batch_of(pythia, min(BATCH, max(rest, 1)))
        plans = [veto.plans.get((float(a), float(b))) for a, b in keys]
        candidates += particles.events
        tables.append(_selected(particles, plans, tries, rng, (process, seed, index)))
    return Piece(index, tries, pa.concat_tables(tables).combine_chunks(), tries, None, 0)


def _selected(
    particles: Particles, plans: list[Plan | None], tries: int, rng: np.random.Generator, of: tuple[str, int, int]
) -> pa.Table:
    decayed, taus = _decayed(particles, plans, rng)
    passed, rows, weights, _ = select(measure(decayed, rng), taus, rng)
    known = [(i, plan) for i in passed.tolist() if (plan := plans[i]) is not None and plan.number < tries]
    keep = np.isin(passed, [i for i, _ in known])
    return _table(rows[keep], weights[keep], [plan for _, plan in known], of)


def _decayed(particles: Particles, plans: list[Plan | None], rng: np.random.Generator) -> tuple[Particles, Taus]:
    """Particles with the taus decayed, and the true hadronic taus."""
    pool = packaged_pool()
    is_tau = np.abs(particles.code) == 15
    place = np.flatnonzero(is_tau)
    left = [list(plan.taus) if plan is not None else [] for plan in plans]
    made = []
    for event, code in zip(particles.event[place].tolist(), particles.code[place].tolist(), strict=True):
        k = next((k for k, tau in enumerate(left[event]) if tau[0] == code), None)
        # a tau of a hadron or of another W decays as it likes
        made.append(left[event].pop(k)[1:] if k is not None else thrown(pool, -1.0, rng))
    leptonic = np.array([m[0] for m in made], np.bool_)
    which = np.array([m[1] for m in made], np.int64)
    sign, phi = (np.array([m[c] for m in made], np.float64) for c in (2, 3))
    momenta = np.column_stack([getattr(particles, c)[place] for c in ("px", "py", "pz", "e")])
    new = [particles[~is_tau]]
    taus = Taus(np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    for decays, kind in ((pool.leptonic, leptonic), (pool.hadronic, ~leptonic)):
        owner, code, four = products(
            decays, momenta[kind], particles.code[place[kind]], sign[kind], phi[kind], which[kind], rng
        )
        new.append(_as_particles(particles, particles.event[place[kind]][owner], code, four))
        if decays is pool.hadronic:
            taus = _taus(particles.event[place[kind]], momenta[kind], owner, four)
    joined: dict[str, Any] = {
        f.name: np.concatenate([getattr(p, f.name) for p in new])
        for f in dataclasses.fields(Particles)
        if f.name not in ("events", "weight")
    }
    return dataclasses.replace(particles, **joined), taus


def _taus(event: NDArray[np.int64], momenta: Array, owner: NDArray[np.int64], four: Array) -> Taus:
    """True taus of momenta (n, 4), by their visible products."""
    px, py, pz = (np.bincount(owner, four[:, c], minlength=event.size) for c in range(3))
    inside = np.abs(momenta[:, 2]) < math.sinh(TAU_ETA) * np.hypot(momenta[:, 0], momenta[:, 1])
    eta, phi = np.arcsinh(pz / np.hypot(px, py)), np.arctan2(py, px)
    return Taus(event[inside], eta[inside], phi[inside])


def _as_particles(base: Particles, event: NDArray[np.int64], code: NDArray[np.int32], four: Array) -> Particles:
    kind, sign = np.abs(code), np.sign(code)
    charged = np.isin(kind, (11, 13, 211, 321))
    charge = np.where(charged, np.where((kind == 11) | (kind == 13), -3, 3) * sign, 0).astype(np.int8)
    px, py, pz, e = four.T
    return Particles(base.events, event, code, charge, np.ones(event.size, np.bool_), px, py, pz, e, base.weight)


def _table(rows: Array, weights: Array, plans: list[Plan], of: tuple[str, int, int]) -> pa.Table:
    process, seed, index = of
    number = np.array([plan.number for plan in plans], np.int64)
    run = (seed % 4096) * len(CARDS) + list(CARDS).index(process)
    columns: dict[str, Any] = {name: np.round(rows[:, i], 3).astype(np.float32) for i, name in enumerate(PRIMARY)}
    columns["weights"] = weights * np.array([plan.weight for plan in plans])
    columns["detailed_labels"] = pa.array([process] * number.size, pa.string())
    columns["labels"] = np.full(number.size, float(process == "htautau"), np.float32)
    columns["stratum"] = np.array([plan.stratum for plan in plans], np.int16)
    columns["hard_event"] = (run << 48) + (index << 24) + number
    columns[POSITION] = number
    return pa.table(columns)
