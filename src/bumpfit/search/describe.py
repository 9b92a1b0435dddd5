"""Describe a candidate: masses from the peaks of selected spectra, signal events from signal-like templates."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray
from scipy.stats import gaussian_kde

from bumpfit.events.tables import Events
from bumpfit.search.config import SearchConfig
from bumpfit.search.peaks import PeakFit, fit_peak, unordered
from bumpfit.search.surrogate import FEATURES, Masses, Surrogate, signal_like, varied
from bumpfit.search.template import YieldFit, fit_candidate
from bumpfit.search.template_scores import CrossFit, TemplateScores, candidate_scores, template_scores
from bumpfit.search.windows import InWindows, Window

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def best_cut(u_data: Array, u_background: Array, efficiencies: tuple[float, ...]) -> float:
    """The efficiency with the largest expected precision of a peak: S / sqrt(S + B (1 + 1 / tau)), S = n - B.

    Only efficiencies that leave `FEWEST` data events compete; the loosest stands in when none does.
    """
    d, b = u_data[~np.isnan(u_data)], u_background[~np.isnan(u_background)]
    tau = len(b) / len(d)
    merit = []
    for efficiency in efficiencies:
        n, m = float((d <= efficiency).sum()), float((b <= efficiency).sum())
        signal = n - m / tau
        precision = signal / np.sqrt(max(signal, 0.0) + m / tau * (1 + 1 / tau) + 1)
        merit.append(precision if n >= FEWEST else -np.inf)
    return float(efficiencies[int(np.argmax(merit))]) if max(merit) > -np.inf else max(efficiencies)


FEWEST = 20
"""Selected data events below which a peak is not looked for."""

FEWEST_LEFT = 1e-3
"""Least part of a signal that earlier particles are taken to have left: its yield is as uncertain as one over this."""


def has_jets(events: Events) -> bool:
    """Whether the four features that describe two jets are there."""
    return all(name in events.names for name in FEATURES)


def jet_features(events: Events) -> Array:
    """The four features in the order of the signal-like library, shape (N, 4)."""
    return np.column_stack([events.column(name) for name in FEATURES])


def masses_of(
    data: Events, background: Events, tau: float, span: dict[str, float], config: SearchConfig
) -> tuple[PeakFit, PeakFit, PeakFit]:
    """Resonance (within `span`), lighter and heavier daughter from selected events of data and background table."""
    heavy_d = data.column("m_J1") + data.column("delta_m_J")
    heavy_b = background.column("m_J1") + background.column("delta_m_J")
    return (
        fit_peak("m_JJ", data.mass, background.mass, tau, settings=config.peaks, **span),
        fit_peak("m_J1", data.column("m_J1"), background.column("m_J1"), tau, settings=config.peaks),
        fit_peak("m_J2", heavy_d, heavy_b, tau, settings=config.peaks),
    )


def first_masses(
    data: Events,
    background: Events,
    windows: tuple[Window, ...],
    window: int,
    u_data: InWindows,
    u_background: InWindows,
    config: SearchConfig,
) -> tuple[PeakFit, PeakFit, PeakFit]:
    """Masses in the best window of the primary test; moves to the window that is centred nearest to the resonance."""
    for _ in range(len(windows)):
        u_d, u_b = u_data[window], u_background[window]
        cut = best_cut(u_d, u_b, config.efficiencies)
        in_d, in_b = ~np.isnan(u_d), ~np.isnan(u_b)
        tau = in_b.sum() / in_d.sum()
        selected = data.take(u_d <= cut), background.take(u_b <= cut)
        inside = data.mass[in_d]
        span = {"low": float(inside.min()), "high": float(np.nextafter(inside.max(), np.inf))}
        peaks = masses_of(*selected, tau, span, config)
        nearest = int(np.argmin([abs(np.log(w.centre / peaks[0].mass)) for w in windows]))
        if nearest == window:
            break
        window = nearest
    return peaks


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbourhood:
    """Data and background events around a resonance mass, with the share of a signal that is expected inside.

    `low`, `high` in GeV; `data_rows`, `background_rows` are masks over the tables. `survival`: of the signal inside,
    what earlier particles left in the tables; the weights of other events are zero, and `share` is without them.
    """

    low: float
    high: float
    data_rows: Mask
    background_rows: Mask
    surrogate: Surrogate
    share: float
    survival: float = 1.0


def neighbourhood(
    data: Events,
    background: Events,
    masses: Masses,
    windows: tuple[Window, ...],
    config: SearchConfig,
    gone: Callable[[Surrogate], Mask] | None = None,
) -> Neighbourhood:
    """Events in a window centred on the resonance; all of them, when the tables are one narrow window themselves.

    `gone`: which signal-like events left the tables with earlier particles.
    """
    low, high = float(data.mass.min()), float(np.nextafter(data.mass.max(), np.inf))
    cloud = signal_like(masses)
    inside = cloud.fraction_inside(low, high)
    if len(windows) > 1:
        half = np.sqrt(config.windows.ratio)
        low, high = max(low, masses.resonance / half), min(high, masses.resonance * half)
    share = cloud.fraction_inside(low, high) / inside  # of the signal in the table, not of all that is produced
    near, survival = cloud.inside(low, high), 1.0
    if gone is not None:
        left = np.where(gone(near), 0.0, near.weights)
        survival = max(float(left.sum()), FEWEST_LEFT)
        near = dataclasses.replace(near, weights=left / left.sum()) if left.sum() > FEWEST_LEFT else near
    return Neighbourhood(
        low,
        high,
        (data.mass >= low) & (data.mass < high),
        (background.mass >= low) & (background.mass < high),
        near,
        share * survival,
        survival,
    )


def yield_scores(
    data: Array,
    background: Array,
    surrogate: Surrogate,
    config: SearchConfig,
    *,
    seed: int,
    executor: Executor | None = None,
    variants: Sequence[tuple[float, Surrogate]] = (),
) -> TemplateScores:
    """Scores of the templates of a yield, from features (N, 4), (M, 4): of several trainings, as one has its luck."""
    trees = config.template_trees
    trees = dataclasses.replace(trees, models=max(trees.models, config.templates.models))
    return candidate_scores(
        data, background, surrogate, CrossFit(trees, config.templates.folds, seed, executor), variants
    )


def template_yield(
    data: Events,
    background: Events,
    near: Neighbourhood,
    config: SearchConfig,
    *,
    seed: int,
    executor: Executor | None = None,
) -> tuple[TemplateScores, YieldFit]:
    """Signal-like template fit in a neighbourhood, in bins of both scores; the yield is that of the whole table.

    The scores are those of the kind of decay that the fit decides for, or of both where it does not.
    """
    scores = yield_scores(
        jet_features(data.take(near.data_rows)),
        jet_features(background.take(near.background_rows)),
        near.surrogate,
        config,
        seed=seed,
        executor=executor,
        variants=varied(near.surrogate, config.templates.tau_scale, config.templates.tau_spread),
    )
    fitted = fit_candidate(scores, near.surrogate, config.templates, near.share)
    if fitted.prongs is not None and scores.prongs is not None:
        scores = scores.of_kind(fitted.prongs, near.surrogate)
    return scores, dataclasses.replace(
        fitted,
        n_signal=fitted.n_signal / near.share,
        low=fitted.low / near.share,
        high=fitted.high / near.share,
        upper_95=fitted.upper_95 / near.share,
        share=near.share,
    )


def mass_ratio(cloud: Surrogate, background: Array, low: float, high: float) -> Callable[[Array], Array]:
    """ln of the densities of signal-like events and of background events in dijet mass, from `low` to `high` GeV."""
    grid = np.linspace(low, high, 200)
    signal = gaussian_kde(cloud.mass, weights=cloud.weights)(grid)
    table = gaussian_kde(background)(grid)
    log_ratio = np.log(np.maximum(signal, 1e-12)) - np.log(np.maximum(table, 1e-12))
    return lambda mass: np.interp(mass, grid, log_ratio)


@dataclasses.dataclass(frozen=True)
class Around:
    """Masses of resonance, J1 and J2, GeV, and up to which factor from them others are looked for."""

    masses: tuple[float, float, float]
    within: float = np.inf


def unbiased_masses(
    data: Events,
    background: Events,
    near: Neighbourhood,
    before: Around,
    n_signal: float,
    config: SearchConfig,
    *,
    seed: int,
    executor: Executor | None,
) -> tuple[PeakFit, PeakFit, PeakFit]:
    """Each mass from a selection that does not use it, so that the background under the peak is not shaped like it.

    For a daughter the classifier has the other daughter's mass and both N-subjettiness ratios, for the resonance all
    features; the cut has the best expected precision for `n_signal` events. The fits also start at the masses found
    `before`, and stay around them.
    """
    d, b = data.take(near.data_rows), background.take(near.background_rows)
    cloud = near.surrogate
    tau = len(b) / len(d)

    def columns(table: Array, leave_out: str) -> Array:
        light, heavy = table[:, 0], table[:, 0] + table[:, 1]
        keep = {"m_J1": heavy, "m_J2": light}.get(leave_out)
        return table if keep is None else np.column_stack([keep, table[:, 2:]])

    peaks = []
    values = {"m_JJ": (d.mass, b.mass), "m_J1": (d.column("m_J1"), b.column("m_J1"))}
    values["m_J2"] = (values["m_J1"][0] + d.column("delta_m_J"), values["m_J1"][1] + b.column("delta_m_J"))
    for k, (name, (of_d, of_b)) in enumerate(values.items()):
        shrunk = dataclasses.replace(cloud, features=columns(cloud.features, name))
        how = CrossFit(config.template_trees, config.templates.folds, seed + k + 1, executor)
        scores = template_scores(columns(jet_features(d), name), columns(jet_features(b), name), shrunk, how)
        cut = _most_precise(scores, cloud.weights, n_signal * near.share, tau)
        limits = {"low": near.low, "high": near.high} if name == "m_JJ" else {}
        start = before.masses[k]
        if np.isfinite(before.within):
            low, high = start / before.within, start * before.within
            limits = {"low": max(low, limits.get("low", 0.0)), "high": min(high, limits.get("high", np.inf))}
        peaks.append(
            fit_peak(
                name,
                of_d[scores.data > cut],
                of_b[scores.background > cut],
                tau,
                start=start,
                settings=config.peaks,
                **limits,
            )
        )
    return peaks[0], peaks[1], peaks[2]


def _most_precise(scores: TemplateScores, weights: Array, n_signal: float, tau: float) -> float:
    """Score above which S / sqrt(S + B (1 + 1 / tau)) is largest, over 1/2 to 1/1000 of the background."""
    cuts = np.quantile(scores.background, 1 - np.geomspace(0.5, 1e-3, 40))
    signal = np.array([n_signal * weights[scores.signal > c].sum() / weights.sum() for c in cuts])
    noise = np.array([(scores.background > c).sum() / tau * (1 + 1 / tau) for c in cuts])
    return float(cuts[int(np.argmax(signal / np.sqrt(signal + noise + 1)))])


def peak_masses(peaks: tuple[PeakFit, PeakFit, PeakFit]) -> Masses:
    """Detector-level masses of a candidate, the lighter daughter first."""
    return Masses(peaks[0].mass, *unordered(peaks[1], peaks[2]))
