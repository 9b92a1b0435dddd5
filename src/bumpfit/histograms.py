"""One-dimensional histograms: fill, rebin, merge sparse bins, blind. A thin frozen layer over boost-histogram.

`Histogram` holds event counts (or sums of weights) and their variances between increasing edges. Every function returns
a new histogram. Blinded bins hold NaN, so that nothing downstream can look at them by accident; fits leave them out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boost_histogram as bh
import hist
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit import foreign_histograms
from bumpfit.display import Shown, Table
from bumpfit.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Histogram(Shown):
    """Counts between edges. Make one with `fill` or `from_counts`.

    `storage` is the boost-histogram underneath (weighted storage: a sum and a variance a bin; under- and overflow are
    kept there and are no part of `counts`).
    """

    storage: bh.Histogram[bh.storage.Weight] = field(repr=False)
    name: str = "mass"

    def _summary(self) -> dict[str, Any]:
        edges = self.edges
        filled = {"name": self.name, "bins": len(edges) - 1, "range": (float(edges[0]), float(edges[-1]))}
        flow = {"underflow": self.underflow, "overflow": self.overflow, "blinded": int(self.blinded.sum())}
        return {**filled, "total": self.total, **{name: value for name, value in flow.items() if value}}

    def _table(self) -> Table:
        edges = self.edges
        columns = (edges[:-1], edges[1:], self.counts, np.sqrt(self.variances))
        return ("from", "to", "events", "error"), list(zip(*(c.tolist() for c in columns), strict=True))

    @property
    def edges(self) -> Array:
        """Bin edges, increasing, shape (B + 1,), in the units of the values."""
        return np.array(self.storage.axes[0].edges, dtype=np.float64)

    @property
    def counts(self) -> Array:
        """Events (sum of weights) a bin, shape (B,); NaN where blinded."""
        return np.array(self._columns()[0][1:-1], dtype=np.float64)

    @property
    def variances(self) -> Array:
        """Variance of `counts`: sum of squared weights, shape (B,); equal to the counts for plain events."""
        return np.array(self._columns()[1][1:-1], dtype=np.float64)

    @property
    def centres(self) -> Array:
        """Bin centres, shape (B,)."""
        edges = self.edges
        return 0.5 * (edges[1:] + edges[:-1])

    @property
    def widths(self) -> Array:
        """Bin widths, shape (B,)."""
        return np.diff(self.edges)

    @property
    def blinded(self) -> NDArray[np.bool_]:
        """True where a bin is blinded, shape (B,)."""
        return np.isnan(self.counts)

    @property
    def underflow(self) -> float:
        """Sum of weights below the first edge."""
        return float(self._columns()[0][0])

    @property
    def overflow(self) -> float:
        """Sum of weights at or above the last edge."""
        return float(self._columns()[0][-1])

    @property
    def total(self) -> float:
        """Sum of the counts of all bins that are not blinded."""
        return float(np.nansum(self.counts))

    @property
    def weighted(self) -> bool:
        """True when some bin's variance differs from its count, so that counts are not Poisson numbers."""
        seen = ~self.blinded
        return not np.allclose(self.counts[seen], self.variances[seen], rtol=1e-12, atol=0.0)

    def rebin(self, factor: int) -> Histogram:
        """Join every `factor` neighbouring bins; the last bin takes the bins that are left over."""
        if factor < 1:
            raise InputError(f"cannot rebin by a factor of {factor}: it must be 1 or larger")
        starts = np.arange(0, self.counts.size, factor)
        if starts.size > 1 and self.counts.size - starts[-1] < factor:
            starts = starts[:-1]
        return self._joined(starts)

    def rebin_to(self, edges: ArrayLike) -> Histogram:
        """Join bins to coarser edges, each an edge already; bins outside become under- or overflow."""
        wanted, have = check_edges(edges), self.edges
        index = np.searchsorted(have, wanted)
        near = np.minimum(index, have.size - 1)
        previous = np.maximum(near - 1, 0)
        nearest = np.where(np.abs(have[near] - wanted) <= np.abs(have[previous] - wanted), near, previous)
        tolerance = 1e-9 * np.diff(have).min()
        wrong = np.abs(have[nearest] - wanted) > tolerance
        if wrong.any():
            raise InputError(
                f"cannot rebin: the edge {wanted[wrong][0]:g} is not an edge of the histogram; "
                "choose new edges among the present ones or fill again"
            )
        return self._joined(nearest[:-1], int(nearest[-1]))

    def merge_until(self, minimum: float) -> Histogram:
        """Join neighbours from the low edge until every bin holds at least `minimum` events.

        What is left at the high end joins the bin before it. Blinded bins are never joined with others: each stretch
        between them is merged alone, and a stretch with fewer than `minimum` events in total stays one bin.
        """
        counts, blinded = self.counts, self.blinded
        starts: list[int] = []
        fresh, running = True, 0.0
        for i in range(counts.size):
            if blinded[i]:
                _absorb(starts, blinded, running, minimum, fresh)
                starts.append(i)
                fresh, running = True, 0.0
                continue
            if fresh:
                starts.append(i)
                fresh, running = False, 0.0
            running += counts[i]
            if running >= minimum:
                fresh = True
        _absorb(starts, blinded, running, minimum, fresh)
        return self._joined(np.array(starts))

    def blind(self, low: float, high: float) -> Histogram:
        """Hide every bin that overlaps the open interval (low, high): its content becomes NaN."""
        if not low < high:
            raise InputError(f"cannot blind from {low:g} to {high:g}: the first number must be the smaller one")
        edges = self.edges
        hide = (edges[:-1] < high) & (edges[1:] > low)
        counts, variances = self._columns()
        counts[1:-1][hide] = np.nan
        variances[1:-1][hide] = np.nan
        return _make(edges, counts, variances, self.name)

    def to_hist(self) -> hist.Hist[hist.storage.Weight]:
        """The same content as a `hist.Hist` with the axis named as the histogram (for plotting with mplhep)."""
        result = hist.Hist(
            hist.axis.Variable(self.edges, name=self.name, label=self.name), storage=hist.storage.Weight()
        )
        result.view(flow=True)[...] = self.storage.view(flow=True)
        return result

    def _columns(self) -> tuple[Array, Array]:
        """Contents and variances with under- and overflow, shape (B + 2,) each."""
        view = self.storage.view(flow=True)
        return np.array(view["value"], dtype=np.float64), np.array(view["variance"], dtype=np.float64)

    def _joined(self, starts: NDArray[np.intp], stop: int | None = None) -> Histogram:
        """Bins that begin at the indices `starts`; the last ends before bin `stop`."""
        edges = self.edges
        stop = edges.size - 1 if stop is None else stop
        columns = []
        for values in self._columns():
            inner = values[1:-1]
            low = values[0] + inner[: starts[0]].sum()
            high = values[-1] + inner[stop:].sum()
            columns.append(np.concatenate([[low], np.add.reduceat(inner[:stop], starts), [high]]))
        return _make(np.append(edges[starts], edges[stop]), columns[0], columns[1], self.name)


def _absorb(starts: list[int], blinded: NDArray[np.bool_], running: float, minimum: float, fresh: bool) -> None:
    """Let the open last bin join the one before it when it is too small and that one is in the same stretch."""
    if fresh or running >= minimum or len(starts) < 2:
        return
    if not blinded[starts[-2]]:
        starts.pop()


def _make(edges: Array, counts: Array, variances: Array, name: str) -> Histogram:
    storage = bh.Histogram(bh.axis.Variable(edges), storage=bh.storage.Weight())
    view = storage.view(flow=True)
    view.value = counts
    view.variance = variances
    return Histogram(storage, name)


def check_edges(edges: ArrayLike) -> Array:
    """Bin edges as an array, shape (B + 1,); raises InputError unless finite, increasing and at least two."""
    result = np.asarray(edges, dtype=np.float64)
    if result.ndim != 1 or result.size < 2:
        raise InputError(f"bin edges must be a list of at least two numbers, got shape {result.shape}")
    if not np.isfinite(result).all():
        wrong = result[~np.isfinite(result)][0]
        raise InputError(f"bin edges must be finite numbers, got {wrong:g} among them; end that bin at a number")
    if not (np.diff(result) > 0).all():
        at = int(np.argmin(np.diff(result)))
        raise InputError(
            f"bin edges must increase, got {result[at + 1]:g} after {result[at]:g}; give each bin a width above 0"
        )
    return result


def fill(values: ArrayLike, edges: ArrayLike, weights: ArrayLike | None = None, *, name: str = "mass") -> Histogram:
    """Histogram of `values`, shape (N,), between `edges`, shape (B + 1,), with optional `weights`, shape (N,).

    The low edge of a bin belongs to it, the high edge does not. Raises InputError for values or weights that are not
    finite or whose lengths differ.

    Examples:
        >>> bumpfit.histograms.fill([101.0, 103.0, 118.0], [100.0, 110.0, 120.0]).counts.tolist()
        [2.0, 1.0]
    """
    data = np.asarray(values, dtype=np.float64).ravel()
    if not np.isfinite(data).all():
        raise InputError(
            f"cannot fill a histogram: {int((~np.isfinite(data)).sum())} of {data.size} values are not finite"
        )
    storage = bh.Histogram(bh.axis.Variable(check_edges(edges)), storage=bh.storage.Weight())
    if weights is None:
        storage.fill(data)
        return Histogram(storage, name)
    weight = np.asarray(weights, dtype=np.float64).ravel()
    if weight.shape != data.shape:
        raise InputError(f"{data.size} values but {weight.size} weights: give one weight a value")
    if not np.isfinite(weight).all():
        raise InputError(f"cannot fill a histogram: {int((~np.isfinite(weight)).sum())} weights are not finite")
    storage.fill(data, weight=weight)
    return Histogram(storage, name)


def from_counts(
    edges: ArrayLike, counts: ArrayLike, variances: ArrayLike | None = None, *, name: str = "mass"
) -> Histogram:
    """Histogram from ready bin contents, shape (B,); the variances are the counts (Poisson) when not given.

    Counts of NaN mark blinded bins; counts with variances are sums of weights, of either sign. Raises InputError for
    lengths that do not match the edges, infinities, negative counts without variances, and variances that are negative
    or NaN.

    Examples:
        >>> bumpfit.histograms.from_counts([100.0, 110.0, 120.0], [2, 1]).total
        3.0
    """
    bins = check_edges(edges)
    content = np.asarray(counts, dtype=np.float64)
    spread = content if variances is None else np.asarray(variances, dtype=np.float64)
    for what, array in (("counts", content), ("variances", spread)):
        if array.shape != (bins.size - 1,):
            raise InputError(f"{bins.size} edges need {bins.size - 1} {what}, got shape {array.shape}")
    seen = ~np.isnan(content)
    foreign_histograms.check_contents(np.where(seen, content, 0.0), np.where(seen, spread, 0.0))
    return _make(bins, np.pad(content, 1), np.pad(np.where(seen, spread, np.nan), 1), name)


HistogramLike = Any
"""A `Histogram`, an object of the UHI protocol (boost-histogram, hist, uproot), decoded UHI JSON, a file of it or of
ROOT (with several histograms FILE:NAME), or numpy's pair (counts, edges)."""


def as_histogram(source: HistogramLike) -> Histogram:
    """A `Histogram` from what users have: one already, a one-dimensional UHI histogram or its JSON, or (counts, edges).

    Under- and overflow are kept. Raises InputError for anything else: several axes, categories, circular axes, profiles
    (means instead of counts), contents that are not finite (only a `Histogram` has blinded bins), and weighted
    histograms that have not kept their variances.
    """
    if isinstance(source, Histogram):
        return source
    if isinstance(source, tuple) and len(source) == 2:
        made = from_counts(source[1], source[0])
        foreign_histograms.check_contents(made.counts, made.variances)
        return made
    if foreign_histograms.follows_protocol(source):
        return of_content(foreign_histograms.from_protocol(source))
    if foreign_histograms.is_serialised(source):
        in_file = isinstance(source, str | Path)
        return of_content(foreign_histograms.from_file(source) if in_file else foreign_histograms.from_json(source))
    raise InputError(
        f"got {type(source).__name__} for a histogram; expected one of bumpfit.histograms, boost-histogram, hist or "
        "uproot, UHI JSON, a file of it or a ROOT file, or the pair (counts, edges) of numpy.histogram"
    )


def observed_counts(source: HistogramLike) -> Array:
    """Event counts of a histogram as the data of a likelihood, shape (B,).

    Raises InputError for weighted and blinded histograms: their contents are no Poisson numbers.
    """
    histogram = as_histogram(source)
    if histogram.blinded.any():
        raise InputError(f"{int(histogram.blinded.sum())} bins of the data are blinded; give counts for every bin")
    if histogram.weighted:
        raise InputError("the data are a weighted histogram; a likelihood needs plain event counts")
    return histogram.counts


def is_histogram(source: object) -> bool:
    """Whether `as_histogram` would look into this (a path is not: it may be any file)."""
    return (
        isinstance(source, Histogram)
        or foreign_histograms.follows_protocol(source)
        or (not isinstance(source, str | Path) and foreign_histograms.is_serialised(source))
    )


def of_content(content: foreign_histograms.Content) -> Histogram:
    """A `Histogram` of what was read of another library; raises InputError for edges that do not increase."""
    inner = from_counts(content.edges, content.counts[1:-1], content.variances[1:-1])
    return _make(inner.edges, content.counts, content.variances, inner.name)


def mass_edges(
    low: float, high: float, *, resolution: float = 0.03, bins_per_resolution: float = 1.0, minimum_bins: int = 8
) -> Array:
    """Edges from `low` to `high` whose widths grow with the mass as its resolution does, shape (B + 1,).

    The bin width is `resolution` (sigma(m) / m, about 3 % for a dijet mass) times the mass over `bins_per_resolution`,
    so the edges are equally spaced in ln m. A range that would hold fewer than `minimum_bins` is cut finer. Raises
    InputError for an empty range or numbers that are not positive.
    """
    if not (0 < low < high and math.isfinite(high)):
        raise InputError(f"a mass range needs 0 < low < high, got {low:g} to {high:g}")
    if resolution <= 0 or bins_per_resolution <= 0 or minimum_bins < 1:
        raise InputError(
            f"resolution ({resolution:g}), bins_per_resolution ({bins_per_resolution:g}) and minimum_bins "
            f"({minimum_bins}) must be positive"
        )
    number = round(math.log(high / low) / math.log1p(resolution / bins_per_resolution))
    edges = np.geomspace(low, high, max(number, minimum_bins) + 1)
    edges[0], edges[-1] = low, high
    return np.asarray(edges, dtype=np.float64)
