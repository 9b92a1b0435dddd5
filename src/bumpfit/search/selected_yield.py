"""Signal events before a learned selection: simulated decays say how many of them it keeps.

The models of the leading region score decays of the packaged library, which they were not trained on: those at the
masses found, or all of them at the resonance mass where nothing is claimed. Their ranks and masses are the shape of a
signal event in every layer of the selections, and in the rest where nothing is claimed; one number of signal events,
before any selection, is fitted to the spectra of all layers together, each with a dijet function of its own.
Two and three prongs, each with fifteen variants of the N-subjettiness ratios (`surrogate.varied`), are as many shapes:
-2 ln L is the smallest of all at every number of events, so that the interval holds what is not known of them (discrete
profiling; Dauncey et al., JINST 10 (2015) P04015). Where two and three prongs are not told apart, the interval holds
that of each by itself.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from bumpfit import toys
from bumpfit.errors import BumpfitError
from bumpfit.events.tables import Events
from bumpfit.results import Record
from bumpfit.search.config import SearchConfig
from bumpfit.search.sideband_test import SidebandTest
from bumpfit.search.sidebands import simulated_ranks
from bumpfit.search.spectrum import Scannable, scannable
from bumpfit.search.surrogate import FEATURES, Surrogate, decided, varied
from bumpfit.search.template import in_the_table
from bumpfit.search.whole_yield import LIMIT, POINTS, read_profile
from bumpfit.toys.loglinear import refitted

Array = NDArray[np.float64]

CLOUD = 3000
"""Simulated decays that are scored in every variant, drawn by their weights."""

REACH = 4.0
"""The profile ends at so many times the events seen over the efficiency."""


@dataclasses.dataclass(frozen=True, eq=False)
class SelectedYield(Record):
    """Signal events before any selection, with a 68.27 % interval and a 95 % upper limit; both hold the modelling.

    `efficiency`: of the leading selection for such decays, all masses; `two_prong_preference`: 2 ln L by which two
    prongs fit better than three (None where the library has only one of them). `numbers`, `twice_nll`: the profile,
    its smallest value subtracted.
    """

    value: float
    low: float
    high: float
    upper_95: float
    efficiency: float
    two_prong_preference: float | None
    numbers: Array
    twice_nll: Array


def selected_yield(
    data: Events,
    span: tuple[float, float],
    test: SidebandTest,
    decays: Surrogate,
    config: SearchConfig,
    *,
    rest: bool,
    seed: int,
    executor: Executor | None,
) -> SelectedYield | None:
    """The yield of a resonance that decays so; None where no layer can be fitted, or none of its events is there.

    `rest`: fit the spectrum of the events that no selection takes, too: it tells most where no signal was learned.
    The features of the data are those of the decays, in any order.
    """
    region = test.region
    low, high = float(data.mass.min()), float(np.nextafter(data.mass.max(), np.inf))
    if not decays.fraction_inside(low, high) > 0:
        return None
    drawn = _drawn(decays.inside(low, high), np.random.default_rng([seed, 511]))
    variants = varied(drawn, config.templates.tau_scale, config.templates.tau_spread)
    order = [FEATURES.index(name) for name in data.names]
    features = np.concatenate([each.features[:, order] for _, each in variants])
    every = simulated_ranks(
        data, span, (region, test.regions[region]), (features, np.tile(drawn.mass, len(variants))), config.approach,
        config.sidebands, seed=seed, executor=executor,
    )  # fmt: skip
    spectra, levels = _spectra(data, span, test, config, rest=rest)
    if not spectra:
        return None
    ranks = np.split(every, len(variants), axis=1)
    hypotheses = [
        _Hypothesis(prongs, penalty, _layers(of_variant, drawn, prongs, levels, test))
        for prongs in np.unique(drawn.prongs)
        for (penalty, _), of_variant in zip(variants, ranks, strict=True)
    ]
    efficiency = float((ranks[0] <= test.leading.background_efficiency).mean())
    return _profile(spectra, hypotheses, test, config.templates.template_error, efficiency)


@dataclasses.dataclass(frozen=True, eq=False)
class _Hypothesis:
    """Prongs of the decays, a penalty in -2 ln L, and a signal event by layer and mass bin, (L, B)."""

    prongs: int
    penalty: float
    shape: Array


def _spectra(
    data: Events, span: tuple[float, float], test: SidebandTest, config: SearchConfig, *, rest: bool
) -> tuple[list[toys.LogLinear], Array]:
    """Spectra of the layers of the leading region's selections, (L,), the tightest first, and their ends, (L + 1,).

    Layers whose spectrum cannot be fitted alone are joined with the next one.
    """
    survival = test.survival[test.region]
    found: list[toys.LogLinear] = []
    levels = [0.0]
    ends = sorted(s.efficiency for s in test.selections if s.region == test.region)
    for below in (*ends, 1.0) if rest else ends:
        rows = (survival > levels[-1]) & (survival <= below)
        prepared = scannable(f"up to {below:.2%}", data.mass[rows], below, span, config.spectrum)
        if isinstance(prepared, Scannable):
            found.append(prepared.model)
            levels.append(below)
    return found, np.array(levels)


def _drawn(cloud: Surrogate, rng: np.random.Generator) -> Surrogate:
    rows = rng.choice(len(cloud.mass), min(CLOUD, len(cloud.mass)), p=cloud.weights)
    return dataclasses.replace(
        cloud, features=cloud.features[rows], mass=cloud.mass[rows], weights=np.full(len(rows), 1 / len(rows)),
        prongs=cloud.prongs[rows], kinds=np.zeros(0, np.int64),
    )  # fmt: skip


def _layers(ranks: Array, drawn: Surrogate, prongs: int, levels: Array, test: SidebandTest) -> Array:
    """Expected events of one signal event with so many prongs by layer and mass bin, shape (layers, B)."""
    mine = drawn.prongs == prongs
    edges = test.spectra[0].edges
    place = np.searchsorted(edges, drawn.mass[mine], side="right") - 1
    inside = (place >= 0) & (place < len(edges) - 1)
    found = np.zeros((len(levels) - 1, len(edges) - 1))
    for of_fold in ranks[:, mine]:
        layer = np.searchsorted(levels, of_fold, side="left") - 1
        keep = inside & (layer < len(found))
        np.add.at(found, (layer[keep], place[keep]), 1.0)
    return np.asarray(found / max(ranks.shape[0] * int(mine.sum()), 1))


def _profile(
    spectra: list[toys.LogLinear],
    hypotheses: list[_Hypothesis],
    test: SidebandTest,
    modelling: float,
    efficiency: float,
) -> SelectedYield | None:
    """Interval and limit from the sum over the layers at numbers of events that reach far enough."""
    assert test.leading.n_signal is not None
    reach = REACH * max(test.leading.n_signal, 10.0) / max(efficiency, 0.02)
    numbers, curves = _curves(spectra, hypotheses, reach)
    while np.isfinite(curves).all() and curves[:, -1].min() < curves.min() + 2 * LIMIT:
        reach *= 2
        numbers, curves = _curves(spectra, hypotheses, reach)
    prongs = np.array([each.prongs for each in hypotheses])
    lowest = {int(p): float(curves[prongs == p].min()) for p in np.unique(prongs)}
    preference = lowest[3] - lowest[2] if set(lowest) == {2, 3} else None
    if decided(preference) is None:  # the interval holds those of both
        for p, least in lowest.items():
            curves[prongs == p] += min(lowest.values()) - least
    curve = curves.min(axis=0)
    if not np.isfinite(curve).all():
        return None
    value, first, last, end = read_profile(numbers, curve)
    low, high, upper = in_the_table(value, first, last, end, modelling)
    return SelectedYield(
        value=value,
        low=low,
        high=high,
        upper_95=upper,
        efficiency=efficiency,
        two_prong_preference=preference,
        numbers=numbers,
        twice_nll=curve - curve.min(),
    )


def _curves(spectra: list[toys.LogLinear], hypotheses: list[_Hypothesis], reach: float) -> tuple[Array, Array]:
    """Numbers of events, (K,), and -2 ln L of every hypothesis there, (H, K)."""
    numbers = np.linspace(0.0, np.sqrt(reach), POINTS) ** 2
    return numbers, np.array([[_twice_nll(spectra, each, n) for n in numbers] for each in hypotheses])


def _twice_nll(spectra: list[toys.LogLinear], tried: _Hypothesis, number: float) -> float:
    """-2 ln L of all layers with so many signal events, backgrounds at their best; infinite where a fit fails."""
    total = tried.penalty
    for model, signal in zip(spectra, tried.shape, strict=True):
        try:
            rate = refitted(model.with_signal(signal), number)[0].rate
        except BumpfitError:
            return float("inf")
        assert model.observed is not None
        expected = rate + number * signal
        total += float(2 * (expected - model.observed * np.log(expected)).sum())
    return total
