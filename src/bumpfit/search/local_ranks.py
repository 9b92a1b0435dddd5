"""Ranks among events of like mass: what a variable says beyond the dijet mass.

The fraction of events of about the same mass whose value is at least as high is uniform at every mass, whatever the
variable is: a cut at a fraction keeps the mass spectrum, and a classifier that is trained on such fractions cannot
tell a mass from a tilt or from a smooth drift of its inputs. The neighbourhood is a Gaussian in ln m that is centred
on the event itself and wider than a resonance. A variable that is the mass itself, to a resolution much better than
the neighbourhood, still says something of it; `correlations` of the ranks with the mass show that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Array = NDArray[np.float64]

REACH = 4.0
"""Widths of the neighbourhood beyond which no event counts."""

STEPS = 4
"""Grid masses in one width of the neighbourhood; between them the logarithms of fractions are interpolated."""


def local_survival(
    value: Array, mass: Array, width: float, reference: NDArray[np.bool_] | None = None, seed: int = 0
) -> Array:
    """Fraction of reference events near the mass of each event with a value at least as high, shape (N,), in (0, 1].

    Args:
        value, mass: of the events, (N,), mass in GeV.
        width: standard deviation of the neighbourhood in ln m.
        reference: events that are counted, (N,); all where it is not given.
        seed: of the places of equal values, which are random: one place for all would be a function of the mass.

    A value above all reference values has half an event above it.
    """
    log, tied = np.log(mass), np.random.default_rng([seed, 521]).random(len(value))
    counted = np.ones(len(value), np.bool_) if reference is None else reference
    order = np.argsort(-value[counted], kind="stable")
    ordered, places = -value[counted][order], log[counted][order]
    first, last = np.searchsorted(ordered, -value, side="left"), np.searchsorted(ordered, -value, side="right")
    spacing = width / STEPS
    position = (log - log.min()) / spacing
    left = np.floor(position).astype(np.int64)
    share = position - left
    result = np.zeros(len(value))
    for g in range(int(left.max(initial=0)) + 2):
        near = (left == g) | (left == g - 1)
        if not near.any():
            continue
        distance = (places - (log.min() + g * spacing)) / width
        weight = _local_linear(distance)
        # weights below none can make it fall; it is a fraction that rises
        above = np.maximum.accumulate(np.r_[0.0, np.cumsum(weight)])
        total = above[-1]
        one = float((weight**2).sum() / total) if total > 0 else 1.0  # the weight of one event of this neighbourhood
        here = above[first[near]] + tied[near] * (above[last[near]] - above[first[near]])
        fraction = np.log((here + 0.5 * one) / (total + one))
        result[near] += fraction * np.where(left[near] == g, 1 - share[near], share[near])
    return np.asarray(np.minimum(np.exp(result), 1.0))


def _local_linear(distance: Array) -> Array:
    """Weights of events at these distances, in widths, (N,): Gaussian, times the line that makes their mean distance 0.

    That is the weight in a local fit of a straight line (Fan, J. Am. Stat. Assoc. 87 (1992) 998): a fraction that
    changes linearly with the mass has no bias, at an end of the masses or where their density is steep.
    """
    near = np.where(np.abs(distance) < REACH, np.exp(-0.5 * distance**2), 0.0)
    s0, s1, s2 = (float((near * distance**k).sum()) for k in range(3))
    determinant = s0 * s2 - s1**2
    if not determinant > 1e-9 * s0 * s2:  # fewer than two masses
        return np.asarray(near)
    return np.asarray(near * (s2 - s1 * distance) * (s0 / determinant))


def decorrelated(features: Array, mass: Array, width: float, reference: NDArray[np.bool_] | None = None) -> Array:
    """Every feature as its rank among reference events of like mass, shape (N, F)."""
    return np.column_stack(
        [local_survival(column, mass, width, reference, seed=k) for k, column in enumerate(features.T)]
    )


def correlations(features: Array, mass: Array) -> Array:
    """Spearman's rank correlation of every feature with the mass, shape (F,); 0 for a feature that is constant."""
    ranks = rankdata(np.column_stack([features, mass]), axis=0)
    centred = ranks - ranks.mean(axis=0)
    norms = np.linalg.norm(centred, axis=0) * np.linalg.norm(centred[:, -1])
    return np.asarray((centred.T @ centred[:, -1] / np.where(norms > 0, norms, 1.0))[:-1])
