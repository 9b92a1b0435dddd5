"""The second test where the data have no sidebands: spectra of data and background table, fitted together.

A free dijet function absorbs a peak that is as wide as the spectrum. The background table holds the function in
place: one dijet function, times a free ratio of the tables, describes both, and only the data may have a peak. The
order of the function comes from an F-test on data and table added up, and so do the parameters around which the fits
are made: neither knows the labels.

**Law.** Without signal, data and background events with a spectrum in common are exchangeable. Every selection takes
the highest-ranked events of each tested block, data and background together, so an event keeps its selections
whatever its label, and labels dealt anew give the joint law of all masses of all selections: the largest
significance of all is compared with that of `permutations` deals, (h + 1) / (n + 1), without a union bound. Where no
deal reaches the data, that is an upper bound of p, and said to be one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr
from scipy.stats import norm

from bumpfit import toys
from bumpfit.errors import BumpfitError, InputError
from bumpfit.histograms import Histogram, from_counts, mass_edges
from bumpfit.law import estimate
from bumpfit.normal import at_least
from bumpfit.search.falling import free_scan
from bumpfit.search.mass_range import SpectrumSettings, choose, fitted_around, goodness, scan_points
from bumpfit.search.spectrum import SpectrumTest, error_inflation, upper_limits, yield_errors
from bumpfit.shapes import LogLinear
from bumpfit.shapes.order import Order
from bumpfit.workspace.build import spectrum_with_table

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclasses.dataclass(frozen=True, eq=False)
class _Joint:
    """One selection: counts of data and table (B,), the function, and the fit model of both."""

    name: str
    efficiency: float
    pooled: Histogram
    order: Order
    fitness: float
    model: toys.LogLinear
    masses: Array
    signals: Array


def joint_spectra(
    masses: tuple[Array, Array],
    ranks: tuple[Array, Array],
    efficiencies: Sequence[float],
    span: tuple[float, float],
    settings: SpectrumSettings,
    *,
    seed: int,
) -> tuple[SpectrumTest, ...]:
    """Joint tests of all tested events and of every selection; those that cannot be made are not `usable`.

    Args:
        masses: m_JJ of data (N,) and background (M,) in GeV; ranks: of both, `score_events.forward_ranks`.
    """
    edges = mass_edges(*span, resolution=settings.resolution, minimum_bins=12)
    levels = np.array([*sorted(efficiencies), 1.0])
    slices = [_slices(m, r, edges, levels) for m, r in zip(masses, ranks, strict=True)]
    nested = [s.cumsum(axis=0) for s in slices]
    tests: list[SpectrumTest] = []
    made: list[tuple[int, _Joint]] = []
    for k, level in reversed(list(enumerate(levels))):
        name = "no selection" if level == 1 else f"{level:.2%} of all events"
        counts, table = nested[0][k], nested[1][k]
        empty = SpectrumTest(name, float(level), False, "", edges, counts, table=table)
        joint = _joint(name, float(level), edges, counts, table, settings)
        if isinstance(joint, str):
            tests.append(dataclasses.replace(empty, reason=joint))
            continue
        made.append((k, joint))
        tests.append(empty)
    if not made:
        return tuple(tests)
    largest = _dealt(slices, made, settings.permutations, np.random.default_rng([seed, 401]))
    filled = iter(_filled(joint, nested[0][k], nested[1][k], largest) for k, joint in made)
    return tuple(test if test.reason else next(filled) for test in tests)


def _slices(mass: Array, rank: Array, edges: Array, levels: Array) -> Array:
    """Events by the tightest selection that holds them and by bin, shape (K, B)."""
    inside = ~np.isnan(rank) & (mass >= edges[0]) & (mass < edges[-1])
    level = np.minimum(np.searchsorted(levels, rank[inside], side="left"), len(levels) - 1)
    place = np.searchsorted(edges, mass[inside], side="right") - 1
    found = np.zeros((len(levels), len(edges) - 1))
    np.add.at(found, (level, place), 1.0)
    return found


def _joint(
    name: str, efficiency: float, edges: Array, counts: Array, table: Array, settings: SpectrumSettings
) -> _Joint | str:
    """The model of one selection, or why there is none."""
    if min(counts.sum(), table.sum()) < settings.min_events:
        return (
            f"{int(counts.sum())} data and {int(table.sum())} background events are selected; both spectra need "
            f"{settings.min_events}"
        )
    pooled = from_counts(edges, counts + table, name="m_JJ")
    try:
        order = choose(pooled, settings)
        fitness = goodness(pooled, order)[1]
    except (BumpfitError, InputError) as error:
        return f"no dijet function can be fitted to it: {error}"
    masses, signals = scan_points(edges, settings)
    model = _model(pooled, order, signals, counts, table)
    return _Joint(name, efficiency, pooled, order, fitness, model, masses, signals)


def _model(pooled: Histogram, order: Order, signals: Array, counts: Array, table: Array) -> toys.LogLinear:
    """Bins of the data, then of the table; the last parameter is ln of the ratio of the tables."""
    both = fitted_around(pooled, order.shape, order.fit, signals)
    share = counts.sum() / (counts.sum() + table.sum())
    ratio = np.repeat([1 - share, -share], len(counts))
    return toys.LogLinear(
        np.concatenate([share * both.rate, (1 - share) * both.rate]),
        np.column_stack([np.vstack([both.basis, both.basis]), ratio]),
        np.column_stack([signals, np.zeros_like(signals)]),
        (0.0, np.inf),
        observed=np.concatenate([counts, table]),
    )


def _dealt(slices: list[Array], made: list[tuple[int, _Joint]], number: int, rng: np.random.Generator) -> Array:
    """The largest significance of every deal of the labels over all masses of all selections, shape (number,)."""
    pooled = (slices[0] + slices[1]).astype(np.int64)
    data = rng.multivariate_hypergeometric(pooled.ravel(), int(slices[0].sum()), size=number, method="marginals")
    nested = data.reshape(number, *pooled.shape).cumsum(axis=1)
    total = pooled.cumsum(axis=0)
    largest = np.zeros(number)
    for k, joint in made:
        counts = np.concatenate([nested[:, k], total[k] - nested[:, k]], axis=1).astype(np.float64)
        q0 = toys.engine(joint.model).fit_data(counts).statistic
        largest = np.maximum(largest, np.sqrt(np.nanmax(np.maximum(q0, 0.0), axis=1)))
    return largest


def _filled(joint: _Joint, counts: Array, table: Array, largest: Array) -> SpectrumTest:
    """The answer of one selection; `largest` is the law of the largest significance of all selections."""
    found = free_scan(joint.model)
    edges = joint.pooled.edges
    test = SpectrumTest(joint.name, joint.efficiency, False, "", edges, counts, table=table)
    if found is None:
        return dataclasses.replace(test, reason="the signal fits of the mass scan did not converge")
    q0, yields, best = found.q0, found.yields, found.best
    z = float(np.sqrt(max(q0[best], 0.0)))
    hits = int((largest >= z * (1 - 1e-9)).sum())
    p_global, _ = estimate(hits, hits, len(largest), plain=True)
    try:
        errors = yield_errors(found)
    except BumpfitError as failure:
        return dataclasses.replace(test, reason=str(failure))
    limits = upper_limits(joint.model, yields + 2 * errors)
    z_global, n, error = float(norm.isf(p_global)), float(yields[best]), float(errors[best])
    assert isinstance(joint.order.shape, LogLinear)
    size = len(counts)
    return dataclasses.replace(
        test,
        usable=True,
        n_parameters=joint.order.n_parameters,
        fitted=joint.model.rate[:size],
        goodness_p=joint.fitness,
        inflation=error_inflation(joint.model.rate, joint.model.basis, joint.model.signals[best]),
        masses=joint.masses,
        q0=q0,
        yields=yields,
        errors=errors,
        limits=limits,
        mass=float(joint.masses[best]),
        p_local=at_least(float(log_ndtr(-z))),
        z_local=z,
        p_global=p_global,
        z_global=z_global,
        permutations=len(largest),
        bound=hits == 0,
        n_signal=n,
        n_signal_error=error,
        n_signal_low=n * (1 - 1 / z_global) if z_global > 1 else 0.0,
        n_signal_high=n + error,
        limit=float(limits[best]),
        signal=joint.signals[best],
        workspace=spectrum_with_table(
            counts, table, joint.model.rate.reshape(2, size), joint.model.basis.reshape(2, size, -1),
            joint.signals[best],
        ),
    )  # fmt: skip
