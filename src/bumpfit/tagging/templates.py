"""Templates: how many events of every class are expected in every bin of a score or an observable."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bumpfit.errors import InputError
from bumpfit.events.dataset import Dataset
from bumpfit.histograms import Histogram, check_edges, fill

Array = NDArray[np.float64]
PB_PER_FB = 1000.0  # a cross-section in pb times a luminosity in fb^-1


@dataclasses.dataclass(frozen=True, eq=False)
class Templates:
    """One histogram a class between common `edges`; the classes in the order of the data set. `missing` events had no
    value and are in no bin.

    Examples:
        >>> import numpy as np
        >>> from bumpfit.events.dataset import Dataset
        >>> from bumpfit.tagging import templates
        >>> samples, targets = np.ones((4, 1), np.float32), np.array([0, 0, 1, 1], np.int32)
        >>> dataset = Dataset(samples, targets, np.ones(4), ("m",), ("qcd", "w"))
        >>> values = [0.1, np.nan, 0.8, 0.9]
        >>> templates(dataset, values, [0.0, 0.5, 1.0], {"qcd": 9.0, "w": 1.0}, "score").missing
        {'qcd': 1, 'w': 0}
    """

    name: str
    edges: Array
    histograms: Mapping[str, Histogram]
    missing: Mapping[str, int]


def expected_events(
    dataset: Dataset,
    *,
    luminosity: float | None = None,
    cross_sections: Mapping[str, float] | None = None,
    events: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Expected events of every class after the cuts of the data set.

    A class with a cross-section (pb) expects cross-section x luminosity (fb^-1) x efficiency, the weighted fraction of
    the generated events that passed the cuts, as the data set remembers it. `events` gives the number itself. Otherwise
    the weights of the data set are taken to add up to it.

    Raises:
        InputError: unknown classes, numbers that are not positive, a cross-section without luminosity, or without
            knowledge of the generated events.
    """
    sigma, given = dict(cross_sections or {}), dict(events or {})
    for what, numbers in (("cross-section", sigma), ("number of events", given)):
        for name, value in numbers.items():
            if name not in dataset.classes:
                raise InputError(f"there is a {what} for '{name}'; the classes are {', '.join(dataset.classes)}")
            if not (np.isfinite(value) and value > 0):
                raise InputError(f"the {what} of '{name}' is {value}; expected a positive number")
    both = sorted(set(sigma) & set(given))
    if both:
        raise InputError(f"'{both[0]}' has a cross-section and a number of events; give one of them")
    if luminosity is not None and not (np.isfinite(luminosity) and luminosity > 0):
        raise InputError(f"the luminosity is {luminosity}; expected a positive number of fb^-1")
    if sigma and luminosity is None:
        raise InputError("a cross-section (pb) needs a luminosity (fb^-1)")
    passed = np.bincount(dataset.targets, dataset.weights, minlength=len(dataset.classes))
    result = {}
    for number, name in enumerate(dataset.classes):
        result[name] = given.get(name, float(passed[number]))
        if name in sigma:
            origin = dataset.provenance.get("classes", {}).get(name, {})
            if not origin.get("weight"):
                raise InputError(
                    f"the data set does not say how many events of '{name}' were generated, so a cross-section cannot "
                    "be used; give its number of expected events"
                )
            if not origin["weight"] > 0:
                raise InputError(
                    f"the weights of the generated events of '{name}' add up to {origin['weight']:g}, so a "
                    "cross-section cannot be used; expected a positive sum"
                )
            assert luminosity is not None
            result[name] = sigma[name] * luminosity * PB_PER_FB * float(passed[number]) / float(origin["weight"])
    return result


def score_edges(
    values: Array, signal: NDArray[np.bool_], weights: Array, bins: int, *, least_background: int = 10
) -> Array:
    """Bin edges for a score: fine where signal is, and every bin holds `least_background` background events.

    Edges lie where equal fractions of the signal begin, and where 1, 2, 4, ... times `least_background` background
    events lie above; bins are then joined from the high end until each holds enough. They follow from these two
    distributions, not from any significance. Few different values (as of cuts) get a bin each.

    Examples:
        >>> import numpy as np
        >>> from bumpfit.tagging import score_edges
        >>> values, signal = np.linspace(0.0, 1.0, 41), np.arange(41) > 30
        >>> edges = score_edges(values, signal, np.ones(41), 3)
        >>> len(edges)
        4
    """
    different = np.unique(values)
    if len(different) < 2:
        raise InputError(f"all events have the value {different[0]:g}; there is nothing to bin")
    if len(different) <= bins:
        edges = np.r_[different[0], (different[1:] + different[:-1]) / 2, np.nextafter(different[-1], np.inf)]
    else:
        order = np.argsort(values[signal], kind="stable")
        x, share = values[signal][order], np.maximum.accumulate(np.cumsum(weights[signal][order]))
        total = weights[signal].sum()
        inner = x[np.searchsorted(share, np.arange(1, bins) / bins * total)]
        falling = -np.sort(-values[~signal])
        numbers = least_background * 2 ** np.arange(int(np.log2(max(1, len(falling) // least_background))) + 1)
        purest = falling[numbers[numbers <= len(falling)] - 1]
        edges = np.unique(np.r_[different[0], inner, purest, np.nextafter(different[-1], np.inf)])
    return joined(values[~signal], edges, least_background, weights[~signal])


def equal_edges(
    values: Array, signal: NDArray[np.bool_], bins: int, *, least_background: int = 10, weights: Array | None = None
) -> Array:
    """Equal bins over the range of the values, joined until each holds `least_background` background events."""
    low, high = float(values.min()), float(values.max())
    if not low < high:
        raise InputError(f"all events have the value {low:g}; there is nothing to bin")
    edges = np.linspace(low, np.nextafter(high, np.inf), bins + 1)
    return joined(values[~signal], edges, least_background, None if weights is None else weights[~signal])


def joined(background: Array, edges: Array, least: int, weights: Array | None = None) -> Array:
    """Join bins from the high end until each holds `least` background events.

    Where some of the `weights` are negative these are equivalent events, (sum w)^2 / sum w^2 of a positive sum.
    """
    signed = weights is not None and bool((weights < 0).any())
    filled = fill(background, edges, weights if signed else None)
    counts, squares = filled.counts[::-1], filled.variances[::-1]  # from the high end, where signal is

    def enough(start: int, stop: int) -> bool:
        total = float(counts[start:stop].sum())
        return total > 0 and total**2 >= least * float(squares[start:stop].sum())

    return _from_the_high_end(edges, enough)


def not_negative(values: Array, classes: NDArray[np.integer], weights: Array, edges: Array) -> Array:
    """Join bins from the high end until no class has a negative sum of weights in one.

    Args:
        values, classes, weights: of each event, shape (N,).
        edges: bin edges, shape (B + 1,).
    """
    if not (weights < 0).any():
        return edges
    sums = np.array([fill(values[classes == c], edges, weights[classes == c]).counts[::-1] for c in np.unique(classes)])
    return _from_the_high_end(edges, lambda start, stop: bool((sums[:, start:stop].sum(axis=1) >= 0).all()))


def _from_the_high_end(edges: Array, enough: Callable[[int, int], bool]) -> Array:
    """Join bins from the high end, each as narrow as it is enough; what is left at the low end joins its neighbours.

    Args:
        edges: bin edges, shape (B + 1,).
        enough: whether the bins start to stop, counted from the high end, may be one bin.
    """
    last = len(edges) - 1
    kept = [0]
    for place in range(1, last):
        if enough(kept[-1], place):
            kept.append(place)
    while len(kept) > 1 and not enough(kept[-1], last):
        kept.pop()
    return np.asarray(np.append(edges[::-1][kept], edges[0])[::-1], dtype=np.float64)


def templates(
    dataset: Dataset, values: ArrayLike, edges: Sequence[float] | Array, expected: Mapping[str, float], name: str
) -> Templates:
    """Histograms of `values` (N,), one an event of the data set, scaled to the expected events of each class.

    What lies outside the edges counts in the outermost bins. Events without a value (NaN) count in none, and take their
    share of the expected events with them.

    Raises:
        InputError: lengths that do not match, a class without weight, a bin whose weights add up to less than 0.

    Examples:
        >>> import numpy as np
        >>> from bumpfit.events.dataset import Dataset
        >>> from bumpfit.tagging import templates
        >>> samples, targets = np.ones((4, 1), np.float32), np.array([0, 0, 1, 1], np.int32)
        >>> dataset = Dataset(samples, targets, np.ones(4), ("m",), ("qcd", "w"))
        >>> values, expected = [0.1, 0.9, 0.8, 0.9], {"qcd": 100.0, "w": 10.0}
        >>> made = templates(dataset, values, [0.0, 0.5, 1.0], expected, "score")
        >>> made.histograms["qcd"].counts.tolist()
        [50.0, 50.0]
    """
    x, bins = np.asarray(values, dtype=np.float64), check_edges(edges)
    if x.shape != (len(dataset),):
        raise InputError(f"there are {len(dataset)} samples and values of shape {x.shape}; expected one value a sample")
    inside = np.clip(x, bins[0], np.nextafter(bins[-1], -np.inf))
    histograms, missing = {}, {}
    for number, label in enumerate(dataset.classes):
        mine = dataset.targets == number
        total = float(dataset.weights[mine].sum())
        if total <= 0:
            raise InputError(
                f"the weights of the class '{label}' add up to {total:g}; a template needs events with a positive sum"
            )
        known = mine & ~np.isnan(x)
        scale = expected[label] / total
        histograms[label] = fill(inside[known], bins, dataset.weights[known] * scale, name=name)
        missing[label] = int((mine & np.isnan(x)).sum())
        low = histograms[label].counts.argmin()
        if histograms[label].counts[low] < 0:
            raise InputError(
                f"{label} has a negative yield of {histograms[label].counts[low]:.3g} in the bin {bins[low]:.4g} to "
                f"{bins[low + 1]:.4g} of {name}, from weights of both signs; take wider bins, or more events"
            )
    return Templates(name, bins, histograms, missing)
