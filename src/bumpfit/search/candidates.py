"""Where the signal of a candidate lies, and the events where it does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bumpfit.events.tables import Events
from bumpfit.search.describe import mass_ratio, peak_masses
from bumpfit.search.equality import Left
from bumpfit.search.findings import Description
from bumpfit.search.surrogate import FEATURES, decided, signal_like

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


def region(
    description: Description,
    data: Events,
    background: Events,
    leftover: float,
) -> Region | None:
    """The events in the span of the candidate whose signal-like score keeps all but `leftover` of the signal there.

    The score has the dijet mass in it, and is that of the kind of decay that is decided for.
    None where the candidate has no templates.
    """
    scores, fitted, span = description.template_scores, description.yield_fit, description.span
    if scores is None or fitted is None or span is None:
        return None
    cloud = signal_like(peak_masses(description.peaks))
    kind = decided(fitted.two_prong_preference)
    cloud = cloud if kind is None else cloud.of_kind(kind)
    inside = (cloud.mass >= span[0]) & (cloud.mass < span[1])
    rows_d, rows_b = ((t.mass >= span[0]) & (t.mass < span[1]) for t in (data, background))
    log_mass = mass_ratio(cloud.inside(*span), background.mass[rows_b], *span)
    like = scores.signal + log_mass(cloud.mass[inside])
    order = np.argsort(like)
    share = np.cumsum(cloud.weights[inside][order]) / cloud.weights[inside].sum()
    cut = float(like[order[min(int(np.searchsorted(share, leftover)), len(order) - 1)]])
    for rows, table, score in ((rows_d, data, scores.data), (rows_b, background, scores.background)):
        rows[rows] = score + log_mass(table.mass[rows]) >= cut
    outside = ~inside & (cloud.mass >= data.mass.min()) & (cloud.mass <= data.mass.max())
    outside[np.flatnonzero(inside)[like < cut]] = True
    weights = cloud.weights[outside] * fitted.n_signal * fitted.share / max(float(cloud.weights[inside].sum()), 1e-9)
    values = {name: cloud.features[outside, k] for k, name in enumerate(FEATURES)}
    values["m_J2"] = values["m_J1"] + values["delta_m_J"]
    return Region(rows_d, rows_b, Left(values, cloud.mass[outside], weights))


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
