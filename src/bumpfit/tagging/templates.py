"""Templates: how many events of every class are expected in every bin of a score or an observable."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

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
    """
    different = np.unique(values)
    if len(different) < 2:
        raise InputError(f"all events have the value {different[0]:g}; there is nothing to bin")
    if len(different) <= bins:
        edges = np.r_[different[0], (different[1:] + different[:-1]) / 2, np.nextafter(different[-1], np.inf)]
    else:
        order = np.argsort(values[signal], kind="stable")
        x, share = values[signal][order], np.cumsum(weights[signal][order])
        inner = x[np.searchsorted(share, np.arange(1, bins) / bins * share[-1])]
        falling = -np.sort(-values[~signal])
        numbers = least_background * 2 ** np.arange(int(np.log2(max(1, len(falling) // least_background))) + 1)
        purest = falling[numbers[numbers <= len(falling)] - 1]
        edges = np.unique(np.r_[different[0], inner, purest, np.nextafter(different[-1], np.inf)])
    return joined(values[~signal], edges, least_background)


def equal_edges(values: Array, signal: NDArray[np.bool_], bins: int, *, least_background: int = 10) -> Array:
    """Equal bins over the range of the values, joined until each holds `least_background` background events."""
    low, high = float(values.min()), float(values.max())
    if not low < high:
        raise InputError(f"all events have the value {low:g}; there is nothing to bin")
    return joined(values[~signal], np.linspace(low, np.nextafter(high, np.inf), bins + 1), least_background)


def joined(background: Array, edges: Array, least: int) -> Array:
    """Join bins from the high end until each holds `least` background events."""
    counts = fill(background, edges).counts[::-1]  # from the high end, where signal is
    kept, running = [0], 0.0
    for place, count in enumerate(counts):
        running += count
        if running >= least and place + 1 < len(counts):
            kept.append(place + 1)
            running = 0.0
    if running < least and len(kept) > 1:
        kept.pop()
    return np.asarray(np.append(edges[::-1][kept], edges[0])[::-1], dtype=np.float64)


def templates(
    dataset: Dataset, values: ArrayLike, edges: Sequence[float] | Array, expected: Mapping[str, float], name: str
) -> Templates:
    """Histograms of `values` (N,), one an event of the data set, scaled to the expected events of each class.

    What lies outside the edges counts in the outermost bins. Events without a value (NaN) count in none, and take their
    share of the expected events with them.

    Raises:
        InputError: lengths that do not match, or a class without weight.
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
            raise InputError(f"the class '{label}' has no events with weight to make a template of")
        known = mine & ~np.isnan(x)
        scale = expected[label] / total
        histograms[label] = fill(inside[known], bins, dataset.weights[known] * scale, name=name)
        missing[label] = int((mine & np.isnan(x)).sum())
    return Templates(name, bins, histograms, missing)
