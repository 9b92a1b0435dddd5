"""Bins placed by information: regions of events, many fine bins of a summary in each, merged where little is lost."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.higgsml import kernel as k

Floats = NDArray[np.float64]

REGIONS = ("no_jet", "jets", "vbf", "high_mt")
"""lepton-MET transverse mass above 70 GeV; below it: two jets above 50 and 30 GeV, other events with jets, without."""
HIGH_MT, LEADING, SUBLEADING = 70.0, 50.0, 30.0

FINE, ENOUGH = 40, 20.0
"""The usual fine bins of a region, and the effective simulated events that each needs."""


def region(features: NDArray[np.float32]) -> NDArray[np.int64]:
    """Place of each event's region in `REGIONS`, events (28, N)."""
    x = features
    result: NDArray[np.int64] = (x[k.N_JETS] > 0).astype(np.int64)
    result[(x[k.J1_PT] > LEADING) & (x[k.J2_PT] > SUBLEADING)] = 2
    result[x[k.PRI] > HIGH_MT] = 3
    return result


@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
    """Inner edges of the summary, ascending, one array a region; bins are counted region by region."""

    edges: tuple[Floats, ...]

    @property
    def count(self) -> int:
        """Bins of all regions."""
        return sum(len(e) + 1 for e in self.edges)

    def __call__(self, summary: Floats, regions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bin of each event."""
        result = np.empty(len(summary), dtype=np.int64)
        start = 0
        for place, edges in enumerate(self.edges):
            inside = regions == place
            result[inside] = start + np.searchsorted(edges, summary[inside], side="right")
            start += len(edges) + 1
        return result

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays of a file."""
        return {
            "edges": np.concatenate(self.edges),
            "edge_counts": np.array([len(e) for e in self.edges], dtype=np.int64),
        }

    @classmethod
    def from_arrays(cls, edges: Floats, counts: NDArray[np.int64], regions: int = len(REGIONS)) -> Bins:
        """Back from `arrays`, of so many regions; raises ValueError when they do not fit together."""
        if len(counts) != regions or (counts < 0).any() or counts.sum() != len(edges):
            raise ValueError("its bins do not fit together")
        parts = np.split(edges.astype(np.float64), np.cumsum(counts)[:-1])
        if any((np.diff(part) <= 0).any() or not np.isfinite(part).all() for part in parts):
            raise ValueError("the edges of its bins do not ascend")
        return cls(tuple(parts))


def fine_bins(
    summary: Floats, regions: NDArray[np.int64], signal: NDArray[np.bool_], weights: Floats, number: int, enough: float,
    names: tuple[str, ...] = REGIONS,
) -> Bins:  # fmt: skip
    """Fine bins: from the signal-like end down, each with at least a share of the signal and enough simulated events.

    Args:
        summary: of the template events, (N,).
        regions: their regions.
        signal: which are signal.
        weights: expected events.
        number: bins that the signal of a region would fill evenly.
        enough: effective simulated background events, and signal events, in a bin.
        names: of the regions.

    Raises:
        InputError: a region has no events, or too few for one bin.
    """
    edges = []
    for place, name in enumerate(names):
        inside = np.flatnonzero(regions == place)
        if not len(inside) or not signal[inside].any() or signal[inside].all():
            raise InputError(f"the region '{name}' has no signal or no background among {len(inside)} simulated events")
        order = inside[np.argsort(-summary[inside], kind="stable")]
        edges.append(_edges(summary[order], signal[order], weights[order], number, enough))
    return Bins(tuple(edges))


def _edges(s: Floats, signal: NDArray[np.bool_], w: Floats, number: int, enough: float) -> Floats:
    """Edges for events in falling order of the summary."""
    share = w[signal].sum() / number
    background, squares = np.cumsum(np.where(signal, 0.0, w)), np.cumsum(np.where(signal, 0.0, w**2))
    signals, rows = np.cumsum(np.where(signal, w, 0.0)), np.cumsum(signal)
    result: list[float] = []
    start = np.zeros(4)
    for i in range(len(s) - 1):
        if signals[i] - start[2] < share and background[i] - start[0] < 0.02 * background[-1]:
            continue
        total, square = background[i] - start[0], squares[i] - start[1]
        if square <= 0 or total**2 / square < enough or rows[i] - start[3] < enough or s[i] == s[i + 1]:
            continue
        result.append(0.5 * (s[i] + s[i + 1]))
        start = np.array([background[i], squares[i], signals[i], rows[i]])
    rest: float = squares[-1] - start[1]
    if result and (rest <= 0 or (background[-1] - start[0]) ** 2 / rest < enough or rows[-1] - start[3] < enough):
        result.pop()
    return np.unique(np.array(result))


def merged(
    bins: Bins, rates: Floats, slopes: Floats, most: int, error: Floats | None = None
) -> tuple[Bins, NDArray[np.int64], float]:
    """Merge neighbours, each time those that cost least information on mu after profiling, until `most` bins are left.

    Args:
        bins: fine bins.
        rates: their expected events, (B,).
        slopes: derivatives in mu and the nuisances (B, 1 + K).
        most: bins to keep.
        error: variance of the expected events by the simulation (B,); None: 0.

    Returns:
        The bins, the place of each fine bin in them, and the share of the information of the fine ones that they keep.
    """
    owner = np.repeat(np.arange(len(bins.edges)), [len(e) + 1 for e in bins.edges])
    r, d = rates.copy() if error is None else rates + error, slopes.copy()
    first = np.arange(len(r))
    parts = d[:, :, None] * d[:, None, :] / np.maximum(r, 1e-300)[:, None, None]
    information = parts.sum(axis=0) + np.diag([0.0, *np.ones(d.shape[1] - 1)])
    whole = np.linalg.inv(information)[0, 0]
    cuts = [e.tolist() for e in bins.edges]
    while len(r) > max(most, len(bins.edges)):
        pairs = np.flatnonzero(owner[1:] == owner[:-1])
        if not len(pairs):
            break
        rr, dd = r[pairs] + r[pairs + 1], d[pairs] + d[pairs + 1]
        together = dd[:, :, None] * dd[:, None, :] / np.maximum(rr, 1e-300)[:, None, None]
        trial = information - parts[pairs] - parts[pairs + 1] + together
        best = int(np.argmin(np.linalg.inv(trial)[:, 0, 0]))
        i = int(pairs[best])
        information = trial[best]
        r[i], d[i], parts[i] = rr[best], dd[best], together[best]
        cuts[owner[i]].pop(i - int(np.flatnonzero(owner == owner[i])[0]))
        r, d, parts = (np.delete(a, i + 1, axis=0) for a in (r, d, parts))
        owner, first = np.delete(owner, i + 1), np.delete(first, i + 1)
    place = np.searchsorted(first, np.arange(bins.count), side="right") - 1
    return Bins(tuple(np.array(c) for c in cuts)), place, float(whole / np.linalg.inv(information)[0, 0])
