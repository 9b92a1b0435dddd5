"""TRExFitter's other smoothings of a varied template: of bins that are joined while their ratio is a fluctuation.

TTBARRESONANCE, COMMONTOOLSMOOTHMONOTONIC and COMMONTOOLSMOOTHPARABOLIC, as in TRExTools.cxx (Smooth_Ttres) and
SmoothHist.cxx (smoothHistogram) of the CommonSystSmoothingTool that TRExFitter calls (HistoTools::SmoothHistograms);
and the smoothing of nominal templates (Common::SmoothHistogram). They compute in single precision there.
"""

from __future__ import annotations

import numpy as np

from bumpfit.types import Floats
from bumpfit.workspace.smoothing import over, smooth_353qh_twice, smooth_shift
from bumpfit.workspace.templates import Template
from bumpfit.workspace.variations import EMPTY

STATISTICAL = 0.05
"""Relative statistical error of joined bins above which more are joined (the tool's default)."""

STEP = 1e-6
"""Ratios closer than this do not go up or down, and smaller ones are passed over."""

WORST = 99999.0
"""Chi-squared of a flat ratio from which a range is not the best one; where all are, it is the first."""

TINY = 1e-16
"""What stands for an empty bin in a ratio."""

REACH = 2.0
"""Statistical errors by which smoothing may move a bin of a nominal template."""

PASSES = 5
"""How often a nominal template is smoothed."""

INDEPENDENT_PASSES = 4
"""How often the ratio of statistically independent templates is smoothed."""


def smooth_nominal(found: Template, reach: float = REACH) -> Template:
    """353QH, twice, five times, of which only moves within `reach` statistical errors stay; the sum and its error stay.

    With a reach of 0, as TRExFitter smooths varied templates (its flag "flat" takes the place of the number), bins
    below `EMPTY` are raised to it and nothing else moves.
    """
    values = found.values
    total, error = float(values.sum()), float(np.sqrt((found.errors**2).sum()))
    for _ in range(PASSES):
        moved = smooth_353qh_twice(values)
        stays = np.abs(moved - values) <= reach * found.errors
        values = np.maximum(np.where(stays, moved, values), EMPTY)
        if not stays.any():
            break
    if values.sum() > 0:
        values = values * (total / float(values.sum()))
    errors = error * np.sqrt(np.maximum(values, 0.0) / total) if total > 0 else found.errors
    return Template(found.edges, values, errors)


def smooth_twice(found: Template) -> Template:
    """353QH, twice, two times; the sum stays (Common::SmoothHistogramTtres)."""
    values = smooth_353qh_twice(smooth_353qh_twice(found.values))
    factor = float(found.values.sum() / values.sum()) if values.sum() != 0 else 1.0
    return Template(found.edges, values, found.errors).scaled(factor)


# ---------------------------------------------------------------- TTBARRESONANCE


def smooth_resonance(nominal: Template, varied: Template, *, independent: bool) -> Floats:
    """Neighbours are joined while the step of the relative change between any two is within their statistical errors:
    first those with changes beyond 100%, then those with the largest error over step; then 353QH, twice.

    The error is the larger one of both templates, or both in quadrature where they are `independent`; then the ratio is
    smoothed four times. The sum stays, and nothing is negative.
    """
    n, s = list(nominal.values), list(varied.values)
    n2, s2 = list(np.square(nominal.errors)), list(np.square(varied.errors))
    group = list(range(len(n)))

    def change(k: int) -> float:
        return float((s[k] - (n[k] or TINY)) / (n[k] or TINY))

    def error2(k: int) -> float:
        size = n2[k] + s2[k] if independent else max(n2[k], s2[k])
        return float(size / (n[k] or TINY) ** 2)

    def join(first: int) -> None:
        for values in (n, s, n2, s2):
            values[first] += values.pop(first + 1)
        group[:] = [g - (g > first) for g in group]

    while len(n) > 1:
        steps = np.array([abs(change(k) - change(k - 1)) for k in range(1, len(n))])
        errors = np.sqrt([error2(k) + error2(k - 1) for k in range(1, len(n))])
        if not (steps < errors).any():
            break
        large = next((k for k in range(len(n)) if abs(s[k] - n[k]) >= n[k]), None)
        if large is not None:
            before = large == len(n) - 1 or (large > 0 and error2(large - 1) > error2(large + 1))
            join(large - 1 if before else large)
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            join(int(np.argmax(np.nan_to_num(errors / steps, nan=0.0, posinf=np.inf))))
    joined = nominal.values * over(np.array(s), np.array(n))[group]
    return smooth_shift(nominal.values, joined, varied.values, INDEPENDENT_PASSES if independent else 1, 1)


# ---------------------------------------------------------------- MONOTONIC, PARABOLIC


def smooth_extrema(nominal: Template, varied: Floats, most: int) -> Floats:
    """Bins are joined until the ratio has at most `most` extrema between its ends (0 "monotonic", 1 "parabolic"), the
    ones that fit a flat ratio best first, and until their statistical error is below 5%; then the ratio is averaged
    with its neighbours, 1:2:1. The sum stays.
    """
    values, errors = nominal.values, nominal.errors
    total, error = float(values.sum()), float(np.sqrt((errors**2).sum()))
    if total > 0 and abs(error / total) > STATISTICAL:
        edges = [0, len(values)]
    else:
        edges = list(range(len(values) + 1))
        extrema = _extrema(_ratios(values, varied, edges))
        while len(extrema) > most + 2:
            flattest = _flattest(nominal, varied, extrema)
            low, high = extrema[flattest], extrema[flattest + 1]
            kept = [edge for edge in edges if not low < edge <= high]
            if len(kept) == len(edges):
                break  # it would not end
            edges = kept
            extrema = _extrema(_ratios(values, varied, edges))
        edges = _joined_until_known(values, errors, edges)
    ratio = _ratios(values, varied, edges)
    if len(ratio) > 2:
        ratio[1:-1] = (2.0 * ratio[1:-1] + ratio[:-2] + ratio[2:]) / 4.0
    result = np.where(values != 0, ratio * values, 0.0)
    return result * (float(varied.sum()) / result.sum()) if result.sum() != 0 else varied


def _ratios(nominal: Floats, varied: Floats, edges: list[int]) -> Floats:
    """The ratio of the sums of each group of bins, in every one of them."""
    sums = [np.add.reduceat(part, edges[:-1]) for part in (varied, nominal)]
    return np.repeat(over(sums[0], sums[1]), np.diff(edges))


def _extrema(ratio: Floats) -> list[int]:
    """The first bin, those before which the ratio turns, and the last."""
    found, way, last = [0], 0, float(ratio[0])
    for i in range(1, len(ratio)):
        value = float(ratio[i])
        if value < STEP:
            continue
        now = -1 if value < last - STEP else 1 if value > last + STEP else 0
        if way and now == -way:
            found.append(i - 1)
        way, last = now or way, value
    return [*found, len(ratio) - 1]


def _flattest(nominal: Template, varied: Floats, extrema: list[int]) -> int:
    """Between which two extrema a flat ratio fits best."""
    best, least = 0, WORST
    for k in range(len(extrema) - 1):
        inside = slice(extrema[k], extrema[k + 1] + 1)
        n, s, e = nominal.values[inside], varied[inside], nominal.errors[inside]
        seen = n != 0
        with np.errstate(divide="ignore", invalid="ignore"):
            pulls = (s[seen] / n[seen] - s.sum() / n.sum()) / (e[seen] / n[seen])
        chi2 = float((pulls**2).sum())
        if chi2 < least:
            best, least = k, chi2
    return best


def _joined_until_known(values: Floats, errors: Floats, edges: list[int]) -> list[int]:
    """From the end, groups with a large statistical error are joined to those before; the first is as it is."""
    kept, last = [edges[-1]], len(edges) - 1
    for first in range(len(edges) - 2, 0, -1):
        group = slice(edges[first], edges[last])
        total = float(values[group].sum())
        if total != 0 and np.sqrt((errors[group] ** 2).sum()) / abs(total) <= STATISTICAL:
            kept.append(edges[first])
            last = first
    return [edges[0], *reversed(kept)]
