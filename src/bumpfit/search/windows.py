"""Mass windows: overlapping parts of the m_JJ spectrum, each with a classifier of its own."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Window:
    """Events with low <= m_JJ < high (GeV); the outermost windows are open. `centre` is its logarithmic centre."""

    low: float
    high: float
    centre: float

    def contains(self, mass: Array) -> NDArray[np.bool_]:
        """Mask of the events in the window, shape of `mass`."""
        return np.asarray((mass >= self.low) & (mass < self.high))


@dataclasses.dataclass(frozen=True)
class WindowPlan:
    """How the spectrum is divided.

    `ratio`: high / low of a window, wide enough for a narrow resonance with its low-mass tail; `step`: ratio of
    neighbouring centres, so that every mass is well inside some window; `single_below`: a spectrum whose ratio of
    99.9 % to 0.1 % quantile is below this is one window; `min_events`: background events that a window needs.
    """

    ratio: float = 1.22
    step: float = 1.10
    single_below: float = 1.35
    min_events: int = 1000

    def windows(self, background_mass: Array, share: float = 1.0) -> tuple[Window, ...]:
        """Windows for this background spectrum (GeV), which is a `share` of the table's.

        Looking at the background alone keeps them blind to the data.
        """
        least = max(2, round(self.min_events * share))
        low, high = np.quantile(background_mass, [0.001, 0.999])
        if high / low < self.single_below or len(background_mass) < 2 * least:
            return (Window(-np.inf, np.inf, float(np.sqrt(low * high))),)
        ordered = np.sort(background_mass)
        half = np.sqrt(self.ratio)
        centres = [float(np.quantile(background_mass, min(0.5, least / len(ordered)))) / half]
        found: list[Window] = []
        while True:
            centre = centres[-1] * (self.step if found else half)
            inside = np.searchsorted(ordered, [centre / half, centre * half])
            if found and inside[1] - inside[0] < least:
                break
            found.append(Window(centre / half, centre * half, centre))
            centres.append(centre)
        found[0] = dataclasses.replace(found[0], low=-np.inf)
        found[-1] = dataclasses.replace(found[-1], high=np.inf)
        return tuple(found)


@dataclasses.dataclass(frozen=True, eq=False)
class InWindows:
    """A value of every event of a table in each window that holds it: what (windows, N) has without its empty cells.

    `inside`: masks (N,) of the events of each window; `values`: theirs, in the order of the table.
    """

    inside: tuple[Mask, ...]
    values: tuple[Array, ...]

    def __getitem__(self, window: int) -> Array:
        """Values in one window, shape (N,), NaN outside."""
        mask = self.inside[window]
        row = np.full(len(mask), np.nan)
        row[mask] = self.values[window]
        return row

    def each_in(self, window: NDArray[np.int64]) -> Array:
        """The value of each event in a window of its own, shape (N,), NaN where that does not hold it."""
        found = np.full(len(window), np.nan)
        for number, (mask, values) in enumerate(zip(self.inside, self.values, strict=True)):
            mine = window == number
            found[mine & mask] = values[mine[mask]]
        return found

    def take(self, rows: Mask) -> InWindows:
        """Those of the chosen events (mask (N,))."""
        values = (v[rows[mask]] for mask, v in zip(self.inside, self.values, strict=True))
        return InWindows(tuple(mask[rows] for mask in self.inside), tuple(values))


def interval_edges(windows: Sequence[Window], ratio: float, *masses: Array) -> Array:
    """Ends of the mass intervals in which labels may change places, GeV, ascending.

    Powers of `ratio` in the range of all these masses, and the edges of the windows.
    """
    log = np.log(np.maximum(np.concatenate(masses), 1e-9)) / np.log(ratio)
    grid = ratio ** np.arange(np.floor(log.min()) + 1, np.floor(log.max()) + 1)
    return np.unique([*grid, *(x for w in windows for x in (w.low, w.high) if np.isfinite(x))])


def home_window(mass: Array, windows: tuple[Window, ...]) -> NDArray[np.int64]:
    """Number of the window whose centre is nearest in ln m, shape of `mass`: where an event's own score comes from."""
    edges = [float(np.sqrt(a.centre * b.centre)) for a, b in itertools.pairwise(windows)]
    return np.searchsorted(np.asarray(edges), mass, side="right").astype(np.int64)
