"""Spectra as they are published: counts between edges from HEPData, YODA, UHI JSON, ROOT and CSV.

A published spectrum is often a density with statistical errors. Errors of Poisson counts say how many events they are
of: a symmetric one is sqrt(n), the asymmetric ones are the central 68.27 % interval of Garwood (Biometrika 28 (1936)
437). From the bins with few events the factor between value and count is found, and the counts of all bins with it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaincinv, ndtr

from bumpfit import foreign_histograms
from bumpfit.errors import InputError
from bumpfit.histograms import Histogram, as_histogram, from_counts, of_content
from bumpfit.published_formats import Table, from_csv, from_yaml, from_yoda

Array = NDArray[np.float64]


FEW = 400.0
"""Events up to which an error tells the exact number of events."""

NEAR = 0.25
"""How far from a whole number a count may be."""

ROUNDING = 3.0
"""Standard deviations of the factor within which the roundest number is taken: published values have few digits."""

TABLES = {".yaml": from_yaml, ".yml": from_yaml, ".yoda": from_yoda, ".csv": from_csv}
"""Readers of tables by suffix."""

UNITS = {"": 1.0, "gev": 1.0, "tev": 1000.0, "mev": 1e-3}
"""Units of the masses in GeV."""

LUMINOSITY_UNITS = {"fb": 1.0, "pb": 1e3, "nb": 1e6, "ab": 1e-3}
"""Units of a cross-section in fb."""


@dataclasses.dataclass(frozen=True, eq=False)
class Published:
    """A spectrum with plain counts (or weighted events), what it is called, and how its counts were found."""

    histogram: Histogram
    name: str
    how: str


def read(
    path: str | Path, chosen: str | None = None, *, luminosity: float | None = None, unit: str | None = None
) -> Published:
    """The spectrum of a file, masses in GeV.

    chosen      name of the table column, histogram or object, where the file has several
    luminosity  integrated luminosity in fb-1, for a density of a cross-section whose errors do not tell the counts
    unit        unit of the masses, GeV or TeV, where the file does not say it

    Raises InputError for files that cannot be read and values that cannot be turned into counts.
    """
    source = Path(path)
    kind = source.suffix.lower()
    if kind in (".json", ".root") and (luminosity is not None or (unit or "GeV").lower() != "gev"):
        raise InputError(f"'{path}' holds the counts of a histogram; --unit and --luminosity belong to tables")
    if kind == ".json":
        file = source if chosen is None else f"{source}:{chosen}"
        return Published(as_histogram(file), chosen or source.stem, "counts of the histogram")
    if kind == ".root":
        name, content = foreign_histograms.in_root(source, chosen, "--object NAME")
        return Published(of_content(content), name, "counts of the histogram")
    if kind not in TABLES:
        raise InputError(f"'{path}' is no published spectrum; known are {', '.join((*TABLES, '.root', '.json'))}")
    found = TABLES[kind](source, chosen)
    said = (unit or found.unit).lower()
    if said not in UNITS:
        raise InputError(f"the masses of '{path}' are in '{unit or found.unit}'; expected GeV or TeV (--unit)")
    counts, how = counts_of(found, luminosity, UNITS[said], str(path))
    return Published(from_counts(found.edges * UNITS[said], counts), found.name or source.stem, how)


def as_written(path: str | Path, chosen: str | None = None) -> Histogram:
    """The values of a table (CSV, HEPData YAML, YODA) between its edges as they are, and any other file as
    `histograms.as_histogram` reads it: counts, or expected events of a model. `chosen` as of `read`.

    Raises InputError for files that cannot be read and negative values.
    """
    source = Path(path)
    reader = TABLES.get(source.suffix.lower())
    if reader is None:
        return as_histogram(str(path) if chosen is None else f"{path}:{chosen}")
    found = reader(source, chosen)
    return from_counts(found.edges, found.values)


def counts_of(table: Table, luminosity: float | None, to_gev: float, where: str) -> tuple[Array, str]:
    """Counts (B,) of a table, and a sentence about how they were found.

    Raises InputError for negative values, and for densities whose counts neither a luminosity nor their errors tell.
    """
    values, widths = table.values, np.diff(table.edges) * to_gev
    if (values < 0).any():
        raise InputError(f"{where} has negative values, which are no counts of events")
    if not values.any():
        raise InputError(f"{where} has no events")
    if luminosity is not None:
        return _by_luminosity(table, luminosity, widths, where)
    if np.array_equal(values, np.round(values)):
        return values, "the values are counts"
    events = events_of(values, table.down, table.up)
    known = np.isfinite(events) & (values > 0)
    if not known.any():
        raise InputError(
            f"the values of {where} are no counts, and there are no errors that tell how many events they are of; give "
            "the luminosity in fb-1 (--luminosity)"
        )
    few = known & (events < FEW) & (np.abs(events - np.round(events)) < NEAR)
    if not few.any():
        raise InputError(f"the errors of {where} are not those of Poisson counts; give the luminosity (--luminosity)")
    whole = np.round(events[few])
    candidates = {"value times width": values * widths, "value": values}
    spreads = {what: float(np.std(whole / v[few]) / np.mean(whole / v[few])) for what, v in candidates.items()}
    best = min(spreads, key=lambda what: spreads[what])
    scale = float(whole.sum() / candidates[best][few].sum())
    scale = roundest(scale, ROUNDING * spreads[best] / float(np.sqrt(few.sum())))
    counts = scale * candidates[best]
    apart = np.abs(counts - np.round(counts))[counts < FEW]
    if apart.size and apart.max() > NEAR:
        raise InputError(
            f"with the factor {scale:.6g} that the errors of {where} tell, a bin has "
            f"{counts[counts < FEW][apart.argmax()]:.3f} "
            "events, which is no whole number; give the luminosity in fb-1 (--luminosity)"
        )
    return np.round(counts), f"counts are {best} times {scale:.6g}, which the statistical errors tell"


def roundest(value: float, error: float) -> float:
    """The number with the fewest digits within the relative `error` of a value."""
    for digits in range(1, 16):
        short = float(f"{value:.{digits}g}")
        if abs(short / value - 1.0) <= error:
            return short
    return value


def _by_luminosity(table: Table, luminosity: float, widths: Array, where: str) -> tuple[Array, str]:
    if not luminosity > 0:
        raise InputError(f"the luminosity must be positive, got {luminosity:g}")
    parts = table.value_unit.lower().replace("$", "").replace("\\", "").split("/")
    if len(parts) != 2 or parts[0] not in LUMINOSITY_UNITS or parts[1] not in UNITS:
        raise InputError(
            f"the values of {where} are in '{table.value_unit}'; a luminosity needs a density of a "
            f"cross-section such as "
            "pb/TeV"
        )
    scale = luminosity * LUMINOSITY_UNITS[parts[0]] / UNITS[parts[1]]
    return np.round(table.values * widths * scale), f"counts are value times width times {luminosity:g} fb-1, rounded"


def events_of(values: Array, down: Array, up: Array) -> Array:
    """How many events Poisson errors of a scaled count are of, (B,); NaN where there are no errors.

    Equal errors are sqrt(n) in units of the value; others belong to Garwood's interval.
    """
    result = np.full(values.size, np.nan)
    for b in np.flatnonzero((values > 0) & np.isfinite(up) & (up > 0)):
        near = (values[b] / up[b]) ** 2
        if abs(up[b] - down[b]) < 1e-3 * up[b] and near < FEW:
            result[b] = near
            continue
        ratio = up[b] / values[b]
        top = 4.0 * near + 10.0
        lower = 0.05
        if _rise(lower) < ratio or _rise(top) > ratio:
            continue
        result[b] = brentq(lambda n, r=ratio: _rise(n) - r, lower, top)
    return result


def _rise(n: float) -> float:
    """The upper error of n events over n, by Garwood."""
    return float(gammaincinv(n + 1.0, ndtr(1.0)) / n - 1.0)
