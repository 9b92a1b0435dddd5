"""The library of jet responses: simulated decays A -> B C on a grid of x = 4 m / M, relative to the masses.

What `bumpfit run` scales to signal-like events of any masses; `docs/methods/surrogate.md` has the idea. A row is an
event with both daughters found: `x_B` >= `x_C`, `prongs`, dijet mass over that of the resonance, jet masses over those
of the daughters, both N-subjettiness ratios. All masses have one scale, which puts the peak of the dijet mass (the
median over all points) at the mass of the resonance, as an experiment calibrates its jets.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bumpfit.errors import BumpfitError, InputError
from bumpfit.execute import ordered_map
from bumpfit.files import atomic
from bumpfit.progress import bar
from bumpfit.simulate.processes import resonance
from bumpfit.simulate.task import Job, dijet, run_chunk

Array = NDArray[np.float64]
MASSES = ("resonance", "m_B", "m_C")


@dataclasses.dataclass(frozen=True)
class Library:
    """What was made: grid points (times kinds of decay), rows, events generated."""

    points: int
    events: int
    generated: int


def point(job: Job, seed: int, index: int, n: int) -> tuple[pd.DataFrame, int]:
    """Responses of n generated events of a resonance: columns as in the library, and the number generated."""
    asked = dict(job.process.asked)
    mass, heavy, light = (float(asked[name]) for name in ("mass", "first", "second"))
    piece = run_chunk((job, seed, index, n))
    table = piece.table.to_pandas()
    m = table[["m_J1", "delta_m_J"]].to_numpy(np.float64)
    low, high = m[:, 0], m.sum(axis=1)
    tau_low, tau_high = (table[f"tau_2_over_tau_1_{jet}"].to_numpy() for jet in ("J1", "J2"))
    # which jet is which daughter: the assignment that fits the masses better, as ratios
    straight = np.abs(np.log(_floor(high) / heavy)) + np.abs(np.log(_floor(low) / light))
    swapped = np.abs(np.log(_floor(low) / heavy)) + np.abs(np.log(_floor(high) / light))
    turn = swapped < straight
    frame = pd.DataFrame(
        {
            "x_B": 4 * heavy / mass,
            "x_C": 4 * light / mass,
            "prongs": int(asked["prongs_first"]),
            "resonance": table.m_JJ.to_numpy(np.float64) / mass,
            "m_B": np.where(turn, low, high) / heavy,
            "m_C": np.where(turn, high, low) / light,
            "tau21_B": np.where(turn, tau_low, tau_high),
            "tau21_C": np.where(turn, tau_high, tau_low),
        }
    )
    return frame, piece.generated


def build(
    path: str | os.PathLike[str],
    grid: Sequence[float],
    mass: float = 3500.0,
    n: int = 500,
    *,
    seed: int = 0,
    workers: int = 1,
    executor: Executor | None = None,
    show: bool | None = None,
) -> Library:
    """Simulate the library and write it as Parquet.

    Args:
        path: the file.
        grid: values of x = 4 m / mass of both daughters, in any order.
        mass: of the resonance in GeV.
        n: generated events a point and kind of decay (two and three prongs).
        seed: of every random choice.
        workers: processes; no number depends on it.
        executor: run on this executor instead (`clusters.dask_executor`).
        show: the progress bar.

    Raises:
        InputError: a grid that is empty or does not fit, another suffix.
        MissingExtraError: a package of the extra `simulate` is not installed.
    """
    values = sorted(set(grid))
    if not values or not 0 < values[0] <= values[-1] < 1.6:
        raise InputError(f"the grid is {list(grid)}; expected values of 4 m / M above 0 and below 1.6")
    if not str(path).endswith(".parquet"):
        raise InputError(f"cannot write {path}: expected a name that ends in .parquet")
    tasks = [
        (dijet(resonance(mass, x_b * mass / 4, x_c * mass / 4, prongs=prongs), chunk=n), seed, place, n)
        for place, (x_b, x_c, prongs) in enumerate(
            (x_b, x_c, prongs) for x_b in values for x_c in values if x_c <= x_b for prongs in (2, 3)
        )
    ]
    frames: list[pd.DataFrame] = []
    generated = 0
    with atomic(path) as temporary:  # a place that cannot be written is found before anything is simulated
        with bar("responses", len(tasks), show=show) as advance:
            for frame, tried in ordered_map(_task, tasks, workers=workers, executor=executor):
                frames.append(frame)
                generated += tried
                advance(1)
        table = calibrated(frames).astype(np.float32).astype({"prongs": np.int8})
        table.to_parquet(temporary, compression="zstd", index=False)
    return Library(len(tasks), len(table), generated)


def calibrated(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The points of a library as one table, masses scaled by the inverse of the median peak of the dijet mass."""
    scale = 1 / float(np.median([peak(frame.resonance.to_numpy()) for frame in frames]))
    table = pd.concat(frames, ignore_index=True)
    for name in MASSES:
        table[name] *= scale
    return table


def peak(values: Array) -> float:
    """Midpoint of the narrowest interval that holds 30 % of the values."""
    ordered = np.sort(values)
    held = max(int(0.3 * ordered.size), 1)
    if ordered.size <= held:
        raise BumpfitError(f"{ordered.size} events pass at a grid point, too few for a peak; simulate more of them")
    first = int(np.argmin(ordered[held:] - ordered[:-held]))
    return float(ordered[first] + ordered[first + held]) / 2


def _task(task: tuple[Job, int, int, int]) -> tuple[pd.DataFrame, int]:
    return point(*task)


def _floor(mass: Array) -> Array:
    return np.asarray(np.maximum(mass, 1e-3))
