"""Where the signal of a candidate lies, and the events where it does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
from numpy.typing import NDArray

from bumpfit.events.tables import Events
from bumpfit.search.config import SearchConfig
from bumpfit.search.describe import jet_features, mass_ratio, peak_masses, yield_scores
from bumpfit.search.equality import Left
from bumpfit.search.findings import Description
from bumpfit.search.surrogate import FEATURES, Surrogate, signal_like

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class Region:
    """Events that look like a candidate: masks over data (N,) and background (M,), and the signal left outside.

    `left`: signal-like events outside, with weights that sum to their expected number.
    """

    data: Mask
    background: Mask
    left: Left


@dataclasses.dataclass(frozen=True, eq=False)
class Likeness:
    """What is like a candidate: score and dijet mass together, above a cut in its span, GeV.

    `cloud`: the candidate's signal-like events at all masses; those outside the span have no score.
    """

    span: tuple[float, float]
    cloud: Surrogate
    cut: float
    log_mass: Callable[[Array], Array]

    def inside(self, mass: Array) -> Mask:
        """Whether events are in the span."""
        return np.asarray((mass >= self.span[0]) & (mass < self.span[1]))

    def holds(self, score: Array, mass: Array) -> Mask:
        """Whether events in the span, with these scores, are like the candidate."""
        return np.asarray(score + self.log_mass(mass) >= self.cut)


def signal_of(description: Description) -> Surrogate:
    """Signal-like events at a candidate's masses; of one kind of decay only, where that is decided."""
    cloud = signal_like(peak_masses(description.peaks))
    return cloud if description.prongs is None else cloud.of_kind(description.prongs)


def likeness(description: Description, background: Events, leftover: float) -> Likeness | None:
    """The cut that keeps all but `leftover` of the signal in the span of the candidate.

    The score has the dijet mass in it, and is that of the kind of decay that is decided for.
    None where the candidate has no templates.
    """
    scores, fitted, span = description.template_scores, description.yield_fit, description.span
    if scores is None or fitted is None or span is None:
        return None
    cloud = signal_of(description)
    near = cloud.inside(*span)
    log_mass = mass_ratio(near, background.mass[(background.mass >= span[0]) & (background.mass < span[1])], *span)
    like = scores.signal + log_mass(near.mass)
    order = np.argsort(like)
    share = np.cumsum(near.weights[order])
    cut = float(like[order[min(int(np.searchsorted(share, leftover)), len(order) - 1)]])
    return Likeness(span, cloud, cut, log_mass)


def region(description: Description, data: Events, background: Events, leftover: float) -> Region | None:
    """The events that are like a candidate, of all but `leftover` of its signal; None where it has no templates."""
    scores, fitted, like = (
        description.template_scores,
        description.yield_fit,
        likeness(description, background, leftover),
    )
    if scores is None or fitted is None or like is None:
        return None
    cloud = like.cloud
    inside, rows_d, rows_b = (like.inside(mass) for mass in (cloud.mass, data.mass, background.mass))
    rows_d[rows_d] = like.holds(scores.data, data.mass[rows_d])
    rows_b[rows_b] = like.holds(scores.background, background.mass[rows_b])
    in_table = (cloud.mass >= data.mass.min()) & (cloud.mass <= data.mass.max())
    outside = ~inside & in_table
    outside[inside] = ~like.holds(scores.signal, cloud.mass[inside])
    weights = cloud.weights[outside] * fitted.n_signal / max(float(cloud.weights[in_table].sum()), 1e-9)
    values = {name: cloud.features[outside, k] for k, name in enumerate(FEATURES)}
    values["m_J2"] = values["m_J1"] + values["delta_m_J"]
    return Region(rows_d, rows_b, Left(values, cloud.mass[outside], weights))


def alike(
    description: Description, background: Events, events: Surrogate, config: SearchConfig, *, seed: int,
    executor: Executor | None = None,
) -> Mask:  # fmt: skip
    """Which signal-like events of another candidate are like this one, and leave the tables with it, shape (K,).

    They are scored by trainings like those of this candidate's templates, done again.
    """
    found = np.zeros(len(events.mass), dtype=bool)
    like = likeness(description, background, config.particles.leftover)
    if like is None or not (rows := like.inside(events.mass)).any():
        return found
    near = signal_like(peak_masses(description.peaks)).inside(*like.span)
    table = jet_features(background.take(like.inside(background.mass)))
    scores = yield_scores(events.features[rows], table, near, config, seed=seed, executor=executor)
    if description.prongs is not None and scores.prongs is not None:
        scores = scores.of_kind(description.prongs, near)
    found[rows] = like.holds(scores.data, events.mass[rows])
    return found


def together(regions: Sequence[Region]) -> Region:
    """All events of these regions, and the signal outside of each."""
    names = regions[0].left.values
    left = Left(
        {name: np.concatenate([r.left.values[name] for r in regions]) for name in names},
        np.concatenate([r.left.mass for r in regions]),
        np.concatenate([r.left.weights for r in regions]),
    )
    data = np.any([r.data for r in regions], axis=0)
    return Region(data, np.any([r.background for r in regions], axis=0), left)
