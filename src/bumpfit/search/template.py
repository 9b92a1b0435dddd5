"""Number of signal events from a fit of signal-like and background templates to all events of the window.

The classifier here is supervised: signal-like events at the candidate masses against background events. It never sees
the data, so the data's score is unbiased by training, and because the fit uses the whole score spectrum there is no cut
whose efficiency would have to be known: what is fitted is the number of events before any selection.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_trapezoid
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import chi2, norm

from bumpfit.inference.counting import profile_on_off
from bumpfit.results import Record
from bumpfit.search.surrogate import Surrogate, decided
from bumpfit.search.template_scores import ScoreBins, TemplateScores, Variants

Array = NDArray[np.float64]

MIXTURES = 9
"""Mixtures of two- and three-prong decays of which the mean is taken."""
NEGLIGIBLE = 1e-9
"""Of the largest likelihood."""


@dataclasses.dataclass(frozen=True)
class TemplateSettings:
    """How the yield is fitted.

    `fractions`: background fractions that bound the score bins, where at least `min_background` events are left (half
    as many in each of two classes); `folds`: of the cross-fit; `template_error`: relative uncertainty of the modelling
    of signal-like events, from yields found on other simulations and on real LHC Olympics events
    (docs/methods/surrogate.md); `tau_scale`, `tau_spread`: relative uncertainty of the N-subjettiness ratios of
    signal-like events and of their spread, from the same events, which two against three prongs must survive;
    `generic_events`: events of the generic signal that stands in where nothing is claimed; `models`: trainings of which
    the score of the yield is the mean (at least those of `template_trees`), as one has luck of its own.
    """

    fractions: tuple[float, ...] = (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005, 0.003, 0.002, 0.001, 5e-4)
    min_background: int = 15
    folds: int = 3
    template_error: float = 0.07
    tau_scale: float = 0.10
    tau_spread: float = 0.20
    generic_events: int = 10_000
    models: int = 4


@dataclasses.dataclass(frozen=True, eq=False)
class YieldFit(Record):
    """Signal events before any selection: best value, 68.27 % profile-likelihood interval, 95 % upper limit.

    `z` is the square root of q0 of this fit, which knows the candidate masses: no p-value is made of it.
    `three_prong_fraction` is the profiled mixture, `two_prong_preference` -2 ln L(all three-prong) + 2 ln L(all
    two-prong). `edges` (B+1,) bound the score bins, infinite at the ends and between events like two prongs and like
    three; `data`, `background` (table, unscaled) and `signal` (fractions) are their contents, `deviance` the distance
    to the saturated model, with the penalty of the variant that is fitted. `share`: fraction of the table's signal that
    is expected among the fitted events; the yields are those of the whole table. `fitted`: the yield, and the mixture
    where it is free.
    """

    n_signal: float
    low: float
    high: float
    upper_95: float
    z: float
    three_prong_fraction: float
    two_prong_preference: float | None
    deviance: float
    bins: int
    edges: Array
    data: Array
    background: Array
    signal: Array
    share: float = 1.0
    fitted: int = 2

    @property
    def prongs(self) -> int | None:
        """Prongs of the kind of decay that is decided for; None where neither is."""
        return decided(self.two_prong_preference)

    @property
    def goodness_p(self) -> float:
        """Asymptotic chi2 probability of the deviance: `fitted` parameters, and the totals agree."""
        return float(chi2.sf(self.deviance, max(self.bins - 1 - self.fitted, 1)))


def fit_yield(
    scores: TemplateScores,
    surrogate: Surrogate,
    settings: TemplateSettings = TemplateSettings(),
    three_prong_fraction: float | None = None,
) -> YieldFit:
    """Maximum likelihood of the number of signal events in all data, profiled over background and kind of decay.

    The signal template is a mixture of two- and three-prong decays. Their fraction is free, or held where it is given:
    a search for a small signal must hold it, as a free fraction, undefined without signal, adds positive fluctuations.
    Every bin of the background is profiled; the background of N data events is N - S, so the table is tau = M / (N - S)
    times as large. The interval includes the statistics of the templates and `settings.template_error`.
    """
    bins = ScoreBins.of(scores, settings.fractions, settings.min_background)
    return _fitted(bins, bins.kinds_of(scores, surrogate), surrogate, settings, three_prong_fraction)


def _fitted(
    bins: ScoreBins,
    kinds: tuple[Array, Array],
    surrogate: Surrogate,
    settings: TemplateSettings,
    three_prong_fraction: float | None = None,
) -> YieldFit:
    """`fit_yield` with these templates of two- and three-prong decays."""
    n, m = bins.data, bins.background
    total, top = n.sum(), 0.5 * n.sum()

    def template(three: float) -> Array:
        return np.asarray((1 - three) * kinds[0] + three * kinds[1])

    def cost_at(signal: float, three: float) -> float:
        return float(profile_on_off(n, m, m.sum() / (total - signal), signal * template(three))[0].sum())

    def profiled(signal: float) -> tuple[float, float]:
        if three_prong_fraction is not None:
            return cost_at(signal, three_prong_fraction), three_prong_fraction
        inner = minimize_scalar(lambda f: cost_at(signal, f), bounds=(0.0, 1.0), method="bounded")
        return min((float(inner.fun), float(inner.x)), (cost_at(signal, 0.0), 0.0), (cost_at(signal, 1.0), 1.0))

    def cost(signal: float) -> float:
        return profiled(signal)[0]

    best, none = minimize_scalar(cost, bounds=(0.0, top), method="bounded", options={"xatol": 0.01}), cost(0.0)
    value, lowest = (float(best.x), float(best.fun)) if best.fun < none else (0.0, none)
    q0 = max(none - lowest, 0.0)

    def rise(level: float) -> Callable[[float], float]:
        return lambda signal: cost(signal) - lowest - level

    def end(level: float) -> float:
        """Where -2 ln L has risen so much; all events, where half of them as signal are not excluded (few events)."""
        over = rise(level)
        return float(brentq(over, value, top)) if over(top) > 0 else float(total)

    one = float(chi2.ppf(0.6827, 1))
    low = float(brentq(rise(one), 0.0, value)) if value > 0 and q0 > one else 0.0
    high, upper = end(one), end(float(norm.ppf(0.95)) ** 2)
    t = template(three := profiled(value)[1])
    relative = float(np.hypot(_template_statistics(value, t, n, surrogate.weights), settings.template_error))
    low, high, upper = in_the_table(value, low, high, upper, relative)
    return YieldFit(
        n_signal=value,
        low=low,
        high=high,
        upper_95=upper,
        z=float(np.sqrt(q0)),
        three_prong_fraction=three,
        two_prong_preference=_preference(bins, ((0.0, kinds),)) if value > 0 else None,
        deviance=lowest,
        bins=len(n),
        edges=bins.edges,
        data=n,
        background=m,
        signal=t,
        fitted=2 if three_prong_fraction is None and all(kind.any() for kind in kinds) else 1,
    )


def fit_candidate(
    scores: TemplateScores, surrogate: Surrogate, settings: TemplateSettings = TemplateSettings(), share: float = 1.0
) -> YieldFit:
    """The yield of a signal whose masses are known and whose prongs are not: mean over what its decays may be.

    The three-prong fraction of `fit_yield` is often at an end of its range, where its best value is biased inwards;
    three prongs look more like background, so the yield of two-prong decays rises with it (by 5 to 17 %). Here the
    likelihood of the yield is the mean over all decays with two, all with three, and any mixture, a third each, and
    over the variants of the events (`scores.varied`) with their penalties. The yield is the median, the interval has
    15.87 % on both sides, the upper end 5 % above it, with a flat prior of the yield; the errors of the templates are
    added as in `fit_yield`. The rest of the record is the fit's of the variant that fits best, and the preference of
    two prongs that of the best fits of either kind. `share`: of the table's signal in these events.
    """
    bins = ScoreBins.of(scores, settings.fractions, settings.min_background)
    n, m = bins.data, bins.background
    total = n.sum()
    shares, fractions = _decays(surrogate)
    variants = bins.variants(scores, surrogate)
    shapes = np.array([[(1 - f) * two + f * three for f in fractions] for _, (two, three) in variants])  # (V, F, B)
    penalties = np.array([penalty for penalty, _ in variants])

    def rises(signal: Array) -> Array:
        """-2 ln L of numbers of signal events (S,) with each variant and fraction, (V, F, S), penalties included."""
        tau = (m.sum() / (total - signal))[:, None]
        expected = (signal[:, None] * templates[:, None, :] for templates in shapes)
        costs = np.array([profile_on_off(n, m, tau, each)[0].sum(axis=-1) for each in expected])
        return np.asarray(costs + penalties[:, None, None])

    rough = np.linspace(0.0, 0.5 * total, 1000)
    costs = rises(rough)
    lowest = float(costs.min())
    penalty, kinds = variants[int(costs.min(axis=(1, 2)).argmin())]
    best = _fitted(bins, kinds, surrogate, settings)

    def law(costs: Array) -> Array:
        """Mean likelihood over variants and decays, (S,), relative to the largest."""
        return np.asarray(np.einsum("f,vfs->s", shares, np.exp(-0.5 * (costs - lowest))))

    found = law(costs)
    seen = np.flatnonzero(found > NEGLIGIBLE * found.max())
    points = np.linspace(rough[max(seen[0] - 1, 0)], rough[min(seen[-1] + 1, rough.size - 1)], 1000)
    rising = cumulative_trapezoid(law(rises(points)), points, initial=0.0)
    tail = float(norm.sf(1.0))
    low, value, high, upper = np.interp(np.array([tail, 0.5, 1 - tail, 0.95]) * rising[-1], rising, points).tolist()
    relative = float(np.hypot(_template_statistics(value, best.signal, n, surrogate.weights), settings.template_error))
    low, high, upper = in_the_table(value, low, high, upper, relative, share)
    preference = _preference(bins, variants) if best.n_signal > 0 else None
    z = math.sqrt(max(best.z**2 - penalty, 0.0))  # without signal no variant costs anything
    return dataclasses.replace(
        best, n_signal=value, low=low, high=high, upper_95=upper, z=z, two_prong_preference=preference,
        deviance=best.deviance + penalty,
    )  # fmt: skip


def in_the_table(
    value: float, low: float, high: float, upper: float, relative: float, share: float = 1.0
) -> tuple[float, float, float]:
    """Ends of a 68 % interval of the signal events in a table, and a 95 % limit, from those of an expectation S.

    What is asked is the number N of this table, which does not fluctuate. Of S a likelihood tells no more than N does,
    S given N being a Gamma variable of variance N + 1, so var(N | data) = var(S | data) - E(N | data): the Poisson
    error of the signal itself is taken off in quadrature. The limit stays that of S, which is above that of N. A
    `relative` error of the templates is added. `share`: of the table's signal among the events that were fitted, whose
    numbers these are; what fluctuates there at a fixed N is the less, the smaller it is.
    """
    error, own = relative * value, share * value

    def side(distance: float) -> float:
        return math.hypot(math.sqrt(max(distance**2 - own, 0.0)), error)

    return (
        max(0.0, value - side(value - low)) if low > 0 else 0.0,
        value + side(high - value),
        value + math.hypot(upper - value, float(norm.ppf(0.95)) * error),
    )


def _decays(surrogate: Surrogate) -> tuple[Array, Array]:
    """Prior weights and three-prong fractions: all two, all three, any mixture; one kind where there is no other."""
    there = [float(surrogate.weights[surrogate.prongs == prongs].sum()) > 0 for prongs in (2, 3)]
    if not all(there):
        return np.ones(1), np.array([float(there[1])])
    inner = (np.arange(MIXTURES) + 0.5) / MIXTURES
    return np.r_[1.0, 1.0, np.full(MIXTURES, 1 / MIXTURES)] / 3, np.r_[0.0, 1.0, inner]


def fit_generic(
    scores: TemplateScores, surrogate: Surrogate, settings: TemplateSettings = TemplateSettings()
) -> YieldFit:
    """The yield of a signal of unknown kind: the fit of all kinds mixed, and an interval that allows for each of them.

    The classifier sees some kinds of decays better than others, so a fit with the mixture is wrong for each by a
    factor. Every kind of `surrogate.kinds` is therefore fitted alone, and low, high and upper end are quantiles of the
    mixture of these results, every kind as likely as it is in the library: normal laws with the errors of each fit on
    both sides, cut at zero. On average over the decays of the library the interval covers 68.27 %.
    """
    mixed = fit_yield(scores, surrogate, settings, three_prong_fraction=0.5)
    centres, below, above, tops, shares = [], [], [], [], []
    for kind in np.unique(surrogate.kinds):
        weights = np.where(surrogate.kinds == kind, surrogate.weights, 0.0)
        one = dataclasses.replace(surrogate, weights=weights / weights.sum())
        three = float((one.weights * (one.prongs == 3)).sum())
        fitted = fit_yield(scores, one, settings, three_prong_fraction=three)
        centres.append(fitted.n_signal)
        below.append(max(fitted.n_signal - fitted.low, 1e-3))
        above.append(max(fitted.high - fitted.n_signal, 1e-3))
        tops.append(max(fitted.upper_95 - fitted.n_signal, 1e-3) / float(norm.ppf(0.95)))
        shares.append(float(weights.sum()))
    if not centres:
        return mixed
    mu, low, high, top, w = (np.array(v) for v in (centres, below, above, tops, shares))

    def probability(x: float, width: Array) -> float:
        """That the number is below x, with these errors above the fits."""
        z = (x - mu) / np.where(x < mu, low, width)
        return float((w * norm.cdf(z)).sum() / w.sum())

    end = float((mu + 8 * np.maximum(high, top)).max())

    def quantile(level: float, width: Array) -> float:
        if probability(0.0, width) >= level:
            return 0.0
        return float(brentq(lambda x: probability(x, width) - level, 0.0, end))

    tail = float(norm.sf(1.0))
    return dataclasses.replace(
        mixed,
        low=min(quantile(tail, high), mixed.n_signal),
        high=max(quantile(1 - tail, high), mixed.n_signal),
        upper_95=max(quantile(0.95, top), mixed.n_signal),
    )


def _preference(bins: ScoreBins, variants: Variants) -> float | None:
    """-2 ln L of three prongs less that of two, each with its best yield and its best variant of the events.

    None where there are signal-like events of one kind only.
    """
    if any(not sum(float(kinds[which].sum()) for _, kinds in variants) > 0 for which in (0, 1)):
        return None
    n, m = bins.data, bins.background
    lowest = {}
    for place, prongs in enumerate((2, 3)):
        costs = []
        for penalty, shapes in variants:
            shape = shapes[place]

            def cost(signal: float, shape: Array = shape) -> float:
                return float(profile_on_off(n, m, m.sum() / (n.sum() - signal), signal * shape)[0].sum())

            found = minimize_scalar(cost, bounds=(0.0, 0.5 * n.sum()), method="bounded")
            costs.append(penalty + float(found.fun))
        lowest[prongs] = min(costs)
    return lowest[3] - lowest[2]


def _template_statistics(value: float, template: Array, n: Array, weights: Array) -> float:
    """Relative binomial error of the signal fraction in the bins where a signal is seen over the noise."""
    effective = weights.sum() ** 2 / (weights**2).sum()
    seen = min(float(template[value * template > 0.1 * np.sqrt(n + 1)].sum()) or 1.0, 1.0)
    return float(np.sqrt((1 - seen) / seen / effective))
