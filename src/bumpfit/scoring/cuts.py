"""Cut and count: rectangular cuts found on training events, as the search of HEP ML Lab does it, and a better one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from bumpfit.errors import InputError
from bumpfit.scoring.classifier import Array, Classifier, Labels, State
from bumpfit.scoring.own_merit import FigureOfMerit, Own
from bumpfit.scoring.significance import asimov

Kind = Literal["none", "below", "above", "between", "outside"]
KINDS: tuple[Kind, ...] = ("below", "above", "between", "outside")  # the order in which hml tries them
EDGES = {"none": 0, "below": 1, "above": 1, "between": 2, "outside": 2}
SEARCHES = {"significance": ("sequential", "parallel"), "hml": ("sequential", "parallel", "previous")}
MOST_BINS = 1000  # all pairs of edges are tried: time and memory go with the square
ROUNDS = 50  # a safety stop: every round must improve the significance, a few do


@dataclasses.dataclass(frozen=True)
class Cut:
    """One feature's cut: x <= low ("below"), x >= low, low <= x <= high, x <= low or x >= high, or none.

    Examples:
        >>> cut = bumpfit.scoring.Cut("between", 80.0, 100.0)
        >>> cut.sentence("mass")
        '80 <= mass <= 100'
    """

    kind: Kind = "none"
    low: float = np.nan
    high: float = np.nan

    def passes(self, x: Array) -> NDArray[np.bool_]:
        """Which values pass; a missing value (NaN) passes no cut."""
        if self.kind == "below":
            return np.asarray(x <= self.low)
        if self.kind == "above":
            return np.asarray(x >= self.low)
        if self.kind == "between":
            return np.asarray((x >= self.low) & (x <= self.high))
        if self.kind == "outside":
            return np.asarray((x <= self.low) | (x >= self.high))
        return np.ones(len(x), bool)

    def sentence(self, name: str) -> str:
        """The cut as a sentence of `bumpfit.events.mask`; empty when there is none."""
        low, high = (f"{edge:.9g}" for edge in (self.low, self.high))
        return {
            "none": "",
            "below": f"{name} <= {low}",
            "above": f"{name} >= {low}",
            "between": f"{low} <= {name} <= {high}",
            "outside": f"({name} <= {low} or {name} >= {high})",
        }[self.kind]


@dataclasses.dataclass(unsafe_hash=True)
class CutAndCount(Classifier):
    """A cut on every feature; an event that passes all of them is signal (the higher class) with probability 1, else 0.

    `search`:
    "significance" finds the cuts with the largest Asimov significance with background uncertainty
        (`significance.asimov` with (background_error b)^2 + sum w^2). One-sided cuts are tried at every value of the
        feature; two-sided ones start from all pairs of `n_bins` quantiles, then each edge moves over every value
        until nothing improves.
    "hml" repeats the search of HEP ML Lab 0.4 (arXiv:2405.02888): edges of `n_bins` equal bins where signal and
        background histograms cross; of all pairs and four kinds of cut the one with the highest accuracy. Its
        quirks are kept: one-sided cuts are never tried at the last crossing; values on an edge count in both bins;
        values are rounded to 32 bits. A feature without a crossing is not cut.

    `topology`: "sequential" optimises every cut for the events that pass all cuts before it (the text of the paper),
    and with "significance" begins with no cuts and with a box that was peeled patiently (`peel`: fraction of the
    events that a slice takes), returns to every feature until nothing improves, and takes the better end; "parallel"
    optimises every cut on all
    events; "previous" (hml only) on the events that pass the one cut before, which is what hml's code does under
    the name sequential.

    `merit`: what "significance" makes as large as possible: "asimov", or a formula of one's own (`own_merit`), as
    "s / (1.5 + sqrt(b))"; cuts where it is negative or does not exist are not considered.

    `least_gain`: what each edge of a cut must add to the significance, relatively; without it cuts follow fluctuations
    of the training events ("outside" a small gap).
    `signal`, `background`: expected events to which the weights of the classes are scaled (None: weights as given);
    `min_background`: training events of background that must be left.

    Examples:
        >>> bumpfit.scoring.CutAndCount(topology="parallel").topology
        'parallel'
    """

    kind: ClassVar[str] = "cuts"
    search: str = "significance"
    topology: str = "sequential"
    n_bins: int = 50
    background_error: float = 0.1
    least_gain: float = 0.01
    peel: float = 0.05
    signal: float | None = None
    background: float | None = None
    min_background: int = 25
    merit: str = "asimov"

    def sentence(self, features: Sequence[str]) -> str:
        """All cuts as one sentence of `bumpfit.events.mask`; empty when nothing is cut."""
        self._require_trained()
        if len(features) != len(self.cuts_):
            raise InputError(f"there are {len(self.cuts_)} features but {len(features)} names")
        said = [cut.sentence(name) for cut, name in zip(self.cuts_, features, strict=True)]
        return " and ".join(text for text in said if text)

    def _train(self, features: Array, index: Labels, weights: Array, seed: int) -> None:
        self._check()
        if self.search == "hml":
            rounded = features.astype(np.float32).astype(np.float64)
            self.cuts_ = _hml(rounded, index, weights, self.n_bins, self.topology)
            return
        scale = np.ones(2)
        for number, wanted in enumerate((self.background, self.signal)):
            if wanted is not None:
                scale[number] = wanted / weights[index == number].sum()
        self.cuts_ = self._significant(features, index == 1, weights * scale[index])

    def _check(self) -> None:
        if len(self.classes_) != 2:
            raise InputError(f"cut and count tells two classes, got {len(self.classes_)}; merge some of them")
        if self.search not in SEARCHES:
            raise InputError(f"the search is '{self.search}'; expected one of {', '.join(SEARCHES)}")
        if self.topology not in SEARCHES[self.search]:
            raise InputError(
                f"the topology is '{self.topology}'; with the search {self.search} expected one of "
                f"{', '.join(SEARCHES[self.search])}"
            )
        if (
            not 2 <= self.n_bins <= MOST_BINS
            or self.min_background < 1
            or not (self.background_error >= 0 and 0 <= self.least_gain < np.inf)
        ):
            raise InputError(
                f"n_bins {self.n_bins}, min_background {self.min_background}, background_error "
                f"{self.background_error}, least_gain {self.least_gain}; expected at least 2 bins (at most "
                f"{MOST_BINS}), at least 1 event, and 0 or more"
            )
        if self.merit != "asimov":
            FigureOfMerit.read(self.merit)
            if self.search == "hml":
                raise InputError("the search of hml has no figure of merit; leave out merit, or take the other search")
        if not 0 < self.peel < 0.5:
            raise InputError(f"peel is {self.peel}; expected a fraction above 0 and below 0.5")
        for name in ("signal", "background"):
            value = getattr(self, name)
            if value is not None and not (np.isfinite(value) and value > 0):
                raise InputError(f"the expected {name} is {value}; expected a positive number of events")

    def _significant(self, features: Array, signal: NDArray[np.bool_], weights: Array) -> tuple[Cut, ...]:
        if (~signal).sum() < self.min_background:
            raise InputError(
                f"there are {(~signal).sum()} background events in training, and min_background says that cuts must "
                f"leave {self.min_background}; lower it, or take more events"
            )
        own = None
        if self.merit != "asimov":
            totals = float(weights[signal].sum()), float(weights[~signal].sum())
            own = Own(FigureOfMerit.read(self.merit), *totals)
        nothing = (Cut(),) * features.shape[1]
        if self.topology == "parallel":
            return tuple(self._best(x, signal, weights, own)[0] for x in features.T)
        starts = [nothing, self._peeled(features, signal, weights, own)]
        climbed = [self._climbed(start, features, signal, weights, own) for start in starts]
        return max(climbed, key=lambda pair: pair[1])[0]

    def _best(self, x: Array, signal: NDArray[np.bool_], weights: Array, own: Own | None) -> tuple[Cut, float]:
        counts = Steps.of(x, signal, weights)
        return counts.best(self.background_error, self.min_background, self.n_bins, 1 + self.least_gain, own)

    def _value(self, kept: NDArray[np.bool_], signal: NDArray[np.bool_], weights: Array, own: Own | None) -> float:
        """Figure of merit of the events that are kept; -1 where too little background is left."""
        none = Steps.of(np.zeros(int(kept.sum())), signal[kept], weights[kept])
        return none.best(self.background_error, self.min_background, self.n_bins, own=own)[1]

    def _climbed(
        self, start: tuple[Cut, ...], features: Array, signal: NDArray[np.bool_], weights: Array, own: Own | None
    ) -> tuple[tuple[Cut, ...], float]:
        """Improve one cut after the other until no change of one of them helps; the cuts and their value."""
        cuts, price = list(start), 1 + self.least_gain
        passed = np.array([cut.passes(x) for cut, x in zip(cuts, features.T, strict=True)])
        edges = sum(EDGES[cut.kind] for cut in cuts)
        best = self._value(np.asarray(passed.all(axis=0)), signal, weights, own) * price**-edges
        for _ in range(ROUNDS):
            before = best
            for f in range(len(cuts)):
                rest = np.asarray(np.delete(passed, f, axis=0).all(axis=0))
                cut, value = self._best(features[rest, f], signal[rest], weights[rest], own)
                value *= price ** -sum(EDGES[other.kind] for place, other in enumerate(cuts) if place != f)
                if value > best * (1 + 1e-9):
                    cuts[f], passed[f], best = cut, cut.passes(features[:, f]), value
            if best <= before * (1 + 1e-9):
                break
        return tuple(cuts), best

    def _peeled(self, features: Array, signal: NDArray[np.bool_], weights: Array, own: Own | None) -> tuple[Cut, ...]:
        """A box found patiently: peel off thin slices, each time the one that leaves the highest purity.

        Patient rule induction, Friedman and Fisher, Stat. Comput. 9 (1999) 123. Tight cuts on the first feature, with
        which a search one feature after the other begins, leave nothing for the others.
        """
        low, high = np.full(features.shape[1], -np.inf), np.full(features.shape[1], np.inf)
        best, box = -1.0, (low.copy(), high.copy())
        kept = np.ones(len(features), bool)
        while (kept & ~signal).sum() >= self.min_background:
            value = self._value(kept, signal, weights, own)
            if value > best:
                best, box = value, (low.copy(), high.copy())
            slices = []
            for f, x in enumerate(features.T):
                inside = x[kept & ~np.isnan(x)]
                if not len(inside) or inside.min() == inside.max():
                    continue
                for side, level in ((low, self.peel), (high, 1 - self.peel)):
                    edge = float(np.quantile(inside, level))
                    left = kept & ((x > edge) if side is low else (x < edge))
                    s, b = float(weights[left & signal].sum()), float(weights[left & ~signal].sum())
                    if s + b > 0:
                        slices.append((s / (s + b), f, side is low, edge, left))
            if not slices:
                break
            _, f, lower, edge, kept = max(slices, key=lambda slice_: slice_[0])
            (low if lower else high)[f] = edge
        return tuple(_box(*edges) for edges in zip(*box, strict=True))

    def _probabilities(self, features: Array) -> Array:
        if self.search == "hml":
            features = features.astype(np.float32).astype(np.float64)
        passed = np.all([cut.passes(x) for cut, x in zip(self.cuts_, features.T, strict=True)], axis=0)
        return np.column_stack([~passed, passed]).astype(np.float64)

    def _state(self) -> State:
        return State(plain={"cuts": [{k: v for k, v in vars(cut).items() if v == v} for cut in self.cuts_]})

    def _restore(self, state: State) -> None:
        self.cuts_ = tuple(Cut(**entry) for entry in state.plain["cuts"])
        if any(cut.kind not in EDGES or np.isnan([cut.low, cut.high][: EDGES[cut.kind]]).any() for cut in self.cuts_):
            raise ValueError("one of its cuts is of no known kind, or has no edge")


def _box(low: float, high: float) -> Cut:
    if np.isfinite(low) and np.isfinite(high):
        return Cut("between", float(low), float(high))
    if np.isfinite(low):
        return Cut("above", float(low))
    return Cut("below", float(high)) if np.isfinite(high) else Cut()


@dataclasses.dataclass(frozen=True, eq=False)
class Steps:
    """What lies below every place between the V different values of a feature: shapes (V + 1,), place k after k values.

    `signal`, `background` sums of weights, `squares` of squared background weights, `entries` background events,
    `signal_squares` of squared signal weights; `missing` the same sums of events without a value, which only "none"
    keeps.
    """

    values: Array
    sums: Array  # (5, V + 1): signal, background, squares, entries, signal_squares
    missing: Array  # (5,)

    @classmethod
    def of(cls, x: Array, signal: NDArray[np.bool_], weights: Array) -> Steps:
        """Sort and add up."""
        columns = np.stack([
            weights * signal, weights * ~signal, weights**2 * ~signal, (~signal).astype(np.float64), weights**2 * signal
        ])  # fmt: skip
        known = ~np.isnan(x)
        values, place = np.unique(x[known], return_inverse=True)
        sums = np.array([np.bincount(place, column[known], minlength=len(values)) for column in columns])
        return cls(values, np.pad(np.cumsum(sums, axis=1), ((0, 0), (1, 0))), columns[:, ~known].sum(axis=1))

    def best(
        self, error: float, least: int, n_bins: int, price: float = 1.0, own: Own | None = None
    ) -> tuple[Cut, float]:
        """The cut with the largest figure of merit (Asimov significance, or one's own), divided by `price` for each of
        its edges, and that value; -1 where there is none.
        """

        def value(kept: Array) -> Array:
            s, b, squares, entries, signal_squares = kept
            s, b = np.maximum(s, 0), np.maximum(b, 0)
            sigma = np.sqrt(np.maximum((error * b) ** 2 + squares, 0))
            z = asimov(s, b, sigma) if own is None else own(s, b, np.sqrt(np.maximum(signal_squares, 0)), sigma)
            return np.where((entries >= least - 0.5) & np.isfinite(z), z, -1.0)

        total, last = self.sums[:, -1:], len(self.values)
        found = [(float(value(total[:, 0] + self.missing)), Cut())]
        if last < 2:
            return found[0][1], found[0][0]
        below, above = value(self.sums), value(total - self.sums)
        k, m = int(below[1:last].argmax()) + 1, int(above[1:last].argmax()) + 1
        found += [(float(below[k]), Cut("below", self._upper(k))), (float(above[m]), Cut("above", self._lower(m)))]
        start = np.unique(np.linspace(0, last, n_bins + 1).round().astype(int))
        i, j = (grid[np.triu_indices(len(start), 1)] for grid in np.meshgrid(start, start, indexing="ij"))
        for kind in ("between", "outside"):

            def kept(i: Any, j: Any, inside: bool = kind == "between") -> Array:
                between = self.sums[:, j] - self.sums[:, i]
                return between if inside else total - between

            first = int(value(kept(i, j)).argmax())
            lo, hi, z = int(i[first]), int(j[first]), float(value(kept(i, j))[first])
            for _ in range(ROUNDS):
                before = z
                lows = value(kept(np.arange(hi), np.full(hi, hi)))
                if lows.max() > z:
                    lo, z = int(lows.argmax()), float(lows.max())
                highs = value(kept(np.full(last - lo, lo), np.arange(lo + 1, last + 1)))
                if highs.max() > z:
                    hi, z = int(highs.argmax()) + lo + 1, float(highs.max())
                if z == before:
                    break
            if lo > 0 and hi < last:  # else it is a one-sided cut, and those were all tried
                edges = (self._lower(lo), self._upper(hi)) if kind == "between" else (self._upper(lo), self._lower(hi))
                found.append((z, Cut("between" if kind == "between" else "outside", *edges)))
        cut, z = max(((cut, z * price ** -EDGES[cut.kind]) for z, cut in found), key=lambda pair: pair[1])
        return cut, z

    def _upper(self, k: int) -> float:
        """An edge that keeps the first k values below or on it: half-way to the next where a number lies between."""
        low, high = self.values[k - 1], self.values[k]
        middle = low + (high - low) / 2
        return float(middle if middle < high else low)

    def _lower(self, k: int) -> float:
        """An edge that keeps what comes after the first k values above or on it."""
        low, high = self.values[k - 1], self.values[k]
        middle = low + (high - low) / 2
        return float(middle if middle > low else high)


def _hml(features: Array, index: Labels, weights: Array, n_bins: int, topology: str) -> tuple[Cut, ...]:
    seen = np.ones(len(features), bool)
    cuts = []
    for x in features.T:
        cut = _most_accurate(x[seen], index[seen] == 1, weights[seen], n_bins)
        cuts.append(cut)
        if topology == "sequential":
            seen &= cut.passes(x)
        elif topology == "previous":
            seen = cut.passes(x)
    if all(cut.kind == "none" for cut in cuts):
        raise InputError(
            "the histograms of signal and background cross in no feature, so the search of hml finds no cut; give both "
            'classes the same total weight, or take search="significance"'
        )
    return tuple(cuts)


def _most_accurate(x: Array, signal: NDArray[np.bool_], weights: Array, n_bins: int) -> Cut:
    """hml's `find_best_cut`: the pair of crossings and the kind of cut with the fewest wrong decisions."""
    known = ~np.isnan(x)
    if not known.any() or x[known].min() == x[known].max():
        return Cut()
    order = np.argsort(x[known], kind="stable")
    values = x[known][order]
    sums = np.pad(
        np.cumsum([(weights * side)[known][order] for side in (signal, ~signal)], axis=1), ((0, 0), (1, 0))
    )  # (2, N + 1): signal and background weight of the lowest k events
    edges = np.linspace(values[0], values[-1], n_bins + 1).astype(np.float32).astype(np.float64)
    edges[0], edges[-1] = values[0], values[-1]

    def up_to(at: Array) -> Array:
        return np.asarray(sums[:, np.searchsorted(values, at, side="right")])

    def before(at: Array) -> Array:
        return np.asarray(sums[:, np.searchsorted(values, at, side="left")])

    s, b = up_to(edges[1:]) - before(edges[:-1])
    crossings = [
        ((more[:-1] ^ more[1:]) & (held[:-1] > 0)) for more, held in ((b > s, b), (s > b, s))
    ]  # where one side stops or starts to be larger, after a bin that holds some of it
    candidates = edges[1:-1][crossings[0] | crossings[1]]
    if len(candidates) == 0:
        return Cut()
    if len(candidates) == 1:
        candidates = np.append(candidates, edges[-1])
    j, i = np.tril_indices(len(candidates), -1)  # hml's order of pairs: (0, 1), (0, 2), (1, 2), ...
    low, high = candidates[i], candidates[j]
    total = sums[:, -1:]
    kept = np.stack(
        [
            up_to(low),
            total - before(low),
            up_to(high) - before(low),
            total - before(high) + up_to(low),
        ]
    )  # (kind, class, pair)
    right = (kept[:, 0] - kept[:, 1]).T  # weight decided rightly, but for the constant background total
    # sums of weights differ in their last digits where decisions are the same; plain counts do not
    best = np.flatnonzero(right.ravel() >= right.max() - 1e-12 * float(total.sum()))[0]
    pair, number = divmod(int(best), len(KINDS))
    kind = KINDS[number]
    return Cut(kind, float(low[pair]), float(high[pair]) if EDGES[kind] == 2 else np.nan)
